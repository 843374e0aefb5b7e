"""Invertible networks: coupling layers that bend a Gaussian into the density of the events.

    log p(x|c) = log N(z; 0, 1) + log|det dz/dx|,      z = flow(x, c)

Training is the likelihood, a line for the notebook: -flow.log_prob(x, c).mean(). The same network generates: draw z,
invert. Both directions take one pass through each layer.
"""

import torch
from torch import nn

from .bijections import AffineCoupling, SplineCoupling
from .bijections.couplings import check_condition, present_features
from .layers import normal_noise
from .likelihoods import LOG_SQRT_2_PI


class CouplingFlow(nn.Module):
    """Coupling flow: blocks of couplings, each moving another half of the features.

    Blocks come in pairs: one moves a random half of the features, the next one the other half.

    Arguments:
        features: number d of features.
        condition: number c of features of the condition, 0 for none.
        blocks: number of coupling layers.
        hidden: widths of the network of each.
        kind: "spline" or "affine".
        bins, bound: of the splines, see `bijections.SplineCoupling`.
        preprocess: bijection from the events to the space of the layers, taking (x, condition); it has its share in
            the density, so log_prob is that of x in its own units.
        present: which features an event has, shape (c, d), bool, for a condition that is one-hot in c classes; a class
            then has a density in fewer dimensions, and its missing features are zero. None: all have all.
        linear, activation: of the networks, see `layers.MLP`; BayesianLinear makes the flow Bayesian.
        seed: of the choice of the halves.
    Shapes:
        log_prob: x (n, d), condition (n, c), (c,) or None -> (n,); sample: -> (n, d)
    Raises:
        ValueError: an unknown kind, fewer than two features, a condition that does not fit, or events with NaN.
    Example:
        >>> flow = CouplingFlow(features=2, condition=1)
        >>> x, condition = torch.randn(5, 2), torch.ones(5, 1)
        >>> flow.log_prob(x, condition).shape, flow.sample(7, torch.tensor([1.0])).shape
        (torch.Size([5]), torch.Size([7, 2]))

    Reference: Dinh et al. 2016, arXiv:1605.08803 (affine); Durkan et al. 2019, arXiv:1906.04032 (spline).
    """

    def __init__(
        self, features, condition=0, blocks=6, hidden=(64, 64), kind="spline", bins=10, bound=5.0, preprocess=None,
        present=None, linear=nn.Linear, activation=nn.SiLU, seed=1,
    ):  # fmt: skip
        super().__init__()
        if kind not in ("spline", "affine"):
            raise ValueError(f"kind is 'spline' or 'affine', not {kind!r}")
        if features < 2 or blocks < 1:
            raise ValueError(f"couplings need two features or more, and one block or more, not {features=}, {blocks=}")
        self.features, self.condition = features, condition
        self.preprocess = preprocess
        self.register_buffer("present", None if present is None else torch.as_tensor(present, dtype=torch.bool))
        if present is not None and self.present.shape != (condition, features):
            raise ValueError(f"present must be (condition, features), not {tuple(self.present.shape)}")
        generator = torch.Generator().manual_seed(seed)
        layers = []
        for block in range(blocks):
            if block % 2 == 0:
                stays = torch.zeros(features, dtype=torch.bool)
                stays[torch.randperm(features, generator=generator)[: features // 2]] = True
            options = {"condition": condition, "hidden": hidden, "linear": linear, "activation": activation}
            if kind == "spline":
                layers.append(SplineCoupling(stays, bins=bins, bound=bound, **options))
            else:
                layers.append(AffineCoupling(stays, **options))
            stays = ~stays
        self.layers = nn.ModuleList(layers)

    def forward(self, x, condition=None):
        """Return z (n, d) and log|det dz/dx| (n,) of events x (n, d)."""
        condition, present = self._given(x, condition)
        total = x.new_zeros(len(x))
        if self.preprocess is not None:
            x, total = self.preprocess(x, condition)
        for layer in self.layers:
            x, log_det = layer(x, condition, present)
            total = total + log_det
        return x, total

    def inverse(self, z, condition=None):
        """Return x (n, d) and log|det dx/dz| (n,) of points z (n, d) of the Gaussian."""
        condition, present = self._given(z, condition)
        total = z.new_zeros(len(z))
        for layer in reversed(self.layers):
            z, log_det = layer.inverse(z, condition, present)
            total = total + log_det
        if self.preprocess is not None:
            z, log_det = self.preprocess.inverse(z, condition)
            total = total + log_det
        return z, total

    def log_prob(self, x, condition=None):
        """Return log p(x|condition) of events, (n,); by the inverse unit of x to the power of its dimension."""
        z, log_det = self(x, condition)
        log_base = -0.5 * z.square() - LOG_SQRT_2_PI
        if self.present is not None:
            condition = check_condition(condition, self.condition, len(x))
            log_base = torch.where(present_features(self.present, condition, x), log_base, 0.0)
        return log_base.sum(1) + log_det

    @torch.no_grad()
    def sample(self, n, condition=None, generator=None, batch_size=8192):
        """Return n events (n, d), not connected to the graph of the gradients.

        Arguments:
            condition: (n, c), or (c,) for all.
            generator: of the random numbers; on the device of the flow.
            batch_size: events at once; it bounds the memory.
        """
        like = next(self.parameters())
        condition = check_condition(condition, self.condition, n)
        z = normal_noise((n, self.features), like, generator)
        if self.present is not None:
            z = torch.where(present_features(self.present, condition, z), z, 0.0)
        rows = torch.arange(n, device=like.device).split(batch_size)
        return torch.cat([self.inverse(z[r], None if condition is None else condition[r])[0] for r in rows])

    def _given(self, x, condition):
        """Return the condition row by row, and which features are there, or None for both where there are none."""
        if x.ndim != 2 or x.shape[1] != self.features:
            raise ValueError(f"this flow takes (n, {self.features}), one row per event, not {tuple(x.shape)}")
        if not torch.isfinite(x).all():
            rows = int((~torch.isfinite(x)).any(1).sum())
            raise ValueError(f"{rows} of {len(x)} events hold NaN or inf, which has no density; leave them out first")
        condition = check_condition(condition, self.condition, len(x))
        if condition is not None:
            condition = condition.to(x)
        return condition, present_features(self.present, condition, x)
