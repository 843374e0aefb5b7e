"""Flow matching with a network: a sampler, a density, and a map from any distribution to another."""

import math

import torch
from torch import nn

from ..layers import normal_noise
from .time_network import TimeNetwork
from .trajectories import integrate, integrate_with_divergence


def linear_path(x_0, x_1, t):
    """Point on the straight line from x_0 to x_1, and its velocity: the target of the regression.

        x_t = (1 - t) x_0 + t x_1,      dx_t/dt = x_1 - x_0

    Shapes:
        x_0, x_1 (n, d), t (n,) or a number -> x_t (n, d), velocity (n, d)
    Example:
        >>> linear_path(torch.zeros(1, 2), torch.tensor([[4.0, 8.0]]), torch.tensor([0.25]))
        (tensor([[1., 2.]]), tensor([[4., 8.]]))

    Reference: Lipman et al. 2022, arXiv:2210.02747; Albergo and Vanden-Eijnden 2022, arXiv:2209.15571;
    Liu et al. 2022, arXiv:2209.03003.
    """
    t = t[:, None] if isinstance(t, torch.Tensor) and t.ndim else t
    return (1 - t) * x_0 + t * x_1, x_1 - x_0


class FlowMatching(nn.Module):
    """Generative model of events: a velocity field, integrated from noise to data.

        z = preprocess(x),      dz/dt = v(z, t, condition),      t = 0 noise N(0, 1),   t = 1 data
        log p(x) = log N(z(0); 0, 1) - integral of div v dt from 0 to 1 + log|det dz/dx|

    Train it with `path_batch`. A Bayesian network (linear=BayesianLinear) takes one set of weights for all
    trajectories of a call: the one of a with block of `layers.fixed_weights`, else a draw from its posterior.

    Arguments:
        features: number d of features of an event.
        condition: number c of its conditions, 0 for none.
        hidden: width of each hidden layer.
        linear: class of the linear maps.
        preprocess: bijection from events to the space of the network, such as `bijections.Standardise.fit(x)`.
        frequencies: of the time features; 0 gives the network t alone.
        present: which features an event has, shape (c, d), bool, for a condition that is one-hot in c classes; a class
            then has a density in fewer dimensions. Its missing features are zero, without noise and velocity. None:
            all have all.
    Shapes:
        velocity(x, t, condition): x (n, d) in the space of the network, t (n,) or a number -> (n, d)
        sample(n, condition) -> (n, d); log_prob(x, condition): x (n, d) -> (n,); transport(x, condition) -> (n, d)
        condition row by row (n, c), or (c,) for all rows
    Raises:
        ValueError: x or condition of a wrong shape or type, NaN in them, a condition too few or too many.
    Example:
        >>> model = FlowMatching(features=2, hidden=(32, 32))
        >>> x_t, t, target = model.path_batch(torch.randn(10, 2))
        >>> loss = (model.velocity(x_t, t) - target).square().mean()
        >>> x = model.sample(5)
        >>> x.shape, model.log_prob(x).shape
        (torch.Size([5, 2]), torch.Size([5]))

    Reference: Lipman et al. 2022, arXiv:2210.02747; Chen et al. 2018, arXiv:1806.07366 (density); Butter et al. 2023,
    arXiv:2305.10475 (LHC events, Bayesian); Butter et al. 2023, arXiv:2311.17175 (transport).
    """

    def __init__(
        self, features, condition=0, hidden=(256,) * 4, linear=nn.Linear, preprocess=None, frequencies=4, present=None
    ):  # fmt: skip
        super().__init__()
        self.features, self.preprocess = features, preprocess
        self.network = TimeNetwork(features, condition, hidden, linear, frequencies, present)

    def velocity(self, x, t, condition=None):
        """Return v (n, d) at points x (n, d) in the space of the network and times t, (n,) or a number."""
        return self.network(x, t, condition)

    def path_batch(self, x_1, x_0=None, condition=None, generator=None):
        """Draw what the loss compares: a random point on the path of each event, its time, and the target velocity.

        Arguments:
            x_1: events at t = 1, (n, d).
            x_0: their partners at t = 0, events like x_1; without: Gaussian noise.
            condition: needed by `present`, and by a preprocess that depends on it.
        Returns:
            x_t (n, d) in the space of the network, t (n,), x_1 - x_0 there (n, d); both are zero for features that are
            missing, so that a sum of squares has nothing of them. For a mean over features, divide it by the number of
            those that are there, as `flow_matching_loss` does.
        """
        self.network.check(x_1=x_1, x_0=x_0)
        z_1 = self._to_network(x_1, condition)[0]
        if x_0 is None:
            z_0 = self.network.keep(normal_noise(z_1.shape, z_1, generator), condition)
        elif len(x_0) != len(x_1):
            raise ValueError(f"each event needs one partner: x_0 has {len(x_0)} rows, x_1 {len(x_1)}")
        else:
            z_0 = self._to_network(x_0, condition)[0]
        place = generator.device if generator else z_1.device
        t = torch.rand(len(z_1), generator=generator, dtype=z_1.dtype, device=place).to(z_1.device)
        x_t, target = linear_path(z_0, z_1, t)
        return x_t, t, target

    @torch.no_grad()
    def sample(self, n, condition=None, steps=20, generator=None, method="rk4", batch_size=8192):
        """Return n events (n, d): noise, carried from t = 0 to t = 1."""
        if not isinstance(n, int) or n < 1:
            raise ValueError(f"n is how many events to draw, a positive integer, not {n!r}")
        z = self.network.keep(normal_noise((n, self.features), next(self.parameters()), generator), condition)
        return self._carried(z, condition, 0.0, 1.0, steps, method, batch_size, generator)

    @torch.no_grad()
    def transport(self, x, condition=None, steps=20, t_0=0.0, t_1=1.0, method="rk4", batch_size=8192, generator=None):
        """Carry events x (n, d) from t_0 to t_1, both in the space of events: direct diffusion, t_0=1, t_1=0 back."""
        self.network.check(x=x, condition=condition)
        z = torch.cat([self._to_network(*part)[0] for part in self._parts(x, condition, batch_size)])
        return self._carried(z, condition, t_0, t_1, steps, method, batch_size, generator)

    def log_prob(self, x, condition=None, steps=20, divergence="exact", probes=1, method="rk4", batch_size=8192,
                 generator=None, gradients=False):  # fmt: skip
        """Return log p(x) (n,) of events x (n, d), in their units, by integrating backwards from t = 1 to t = 0.

        Arguments:
            divergence: "exact" (d derivatives), or "hutchinson" with so many probes (unbiased, noisy).
            batch_size: events that are integrated at once; it bounds the memory, not the result.
            gradients: keep what is needed to differentiate the result, which takes much memory.
        """
        self.network.check(x=x, condition=condition)
        found = []
        with torch.set_grad_enabled(gradients), self.network.as_one_function(generator):
            for part, c in self._parts(x, condition, batch_size):
                z, log_det = self._to_network(part, c)
                z, integral = integrate_with_divergence(
                    lambda y, t, c=c: self.velocity(y, t, c), z, 1.0, 0.0, steps, method, divergence, probes, generator
                )
                there = self.network.there(c, len(z))
                dimensions = self.features if there is None else there.sum(1)
                log_noise = -0.5 * z.square().sum(1) - 0.5 * dimensions * math.log(2 * math.pi)
                found.append(log_noise + integral + log_det)
        return torch.cat(found)

    def _carried(self, z, condition, t_0, t_1, steps, method, batch_size, generator):
        self.network.check(condition=condition)
        found = []
        with self.network.as_one_function(generator):
            for part, c in self._parts(z, condition, batch_size):
                part = integrate(lambda y, t, c=c: self.velocity(y, t, c), part, t_0, t_1, steps, method)
                found.append(part if self.preprocess is None else self.preprocess.inverse(part, c)[0])
        return torch.cat(found)

    def _parts(self, x, condition, batch_size):
        """Return pairs of x and condition, or None, of at most batch_size rows."""
        rows = self.network.rows(condition, len(x))
        parts = x.split(batch_size)
        return zip(parts, [None] * len(parts) if rows is None else rows.split(batch_size), strict=True)

    def _to_network(self, x, condition):
        z, log_det = (x, x.new_zeros(len(x))) if self.preprocess is None else self.preprocess(x, condition)
        return self.network.keep(z, condition), log_det


def mean_square(error, there=None):
    """Return the mean of squares over the features that are there.

    Shapes:
        error (n, d), there (n, d) bool or None for all -> scalar ()
    Example:
        >>> mean_square(torch.tensor([[2.0, 0.0]]), torch.tensor([[True, False]]))
        tensor(4.)
    """
    return error.square().mean() if there is None else (error.square() * there).sum() / there.sum()


def flow_matching_loss(model, x_1, condition=None, x_0=None, generator=None):
    """Conditional flow matching: the mean square between the velocity and that of random straight paths.

        L = E |v(x_t, t, c) - (x_1 - x_0)|^2 / d,      x_t = (1 - t) x_0 + t x_1,   t uniform in (0, 1)

    With `present`, d is the mean number of features that the events of the batch have.

    Shapes:
        x_1, x_0 (n, d), condition (n, c) -> scalar ()
    Example:
        >>> flow_matching_loss(FlowMatching(features=2, hidden=(32,)), torch.randn(10, 2)).shape
        torch.Size([])

    Reference: Lipman et al. 2022, arXiv:2210.02747.
    """
    x_t, t, target = model.path_batch(x_1, x_0, condition, generator)
    return mean_square(model.velocity(x_t, t, condition) - target, model.network.there(condition, len(x_t)))
