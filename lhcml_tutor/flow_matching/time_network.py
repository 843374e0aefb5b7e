"""The network of flow matching and of diffusion: one output per feature, from a point, a time and a condition."""

import math
from contextlib import nullcontext

import torch
from torch import nn

from ..bijections.couplings import check_condition, present_features
from ..layers import MLP, BayesianLinear, fixed_weights


def time_features(t, frequencies):
    """A time between 0 and 1 as a network likes to see it.

        (t, cos(pi t), sin(pi t), cos(2 pi t), ..., sin(frequencies pi t))

    Arguments:
        frequencies: how many; 0 leaves t alone.
    Shapes:
        t (n,) -> (n, 1 + 2 frequencies)
    Example:
        >>> time_features(torch.tensor([0.0, 1.0]), frequencies=1).round(decimals=4)
        tensor([[ 0.,  1.,  0.],
                [ 1., -1., -0.]])
    """
    angle = math.pi * torch.arange(1, frequencies + 1, dtype=t.dtype, device=t.device) * t[:, None]
    return torch.cat([t[:, None], torch.stack([angle.cos(), angle.sin()], dim=2).flatten(1)], dim=1)


class TimeNetwork(nn.Module):
    """Multilayer perceptron of a point, a time and a condition, with one output for each feature of the point.

        MLP(x, time features of t, condition)

    Arguments:
        features: number d of features of x.
        condition: number c of its conditions, 0 for none.
        hidden: width of each hidden layer.
        linear: class of the linear maps; BayesianLinear, or a functools.partial of it, makes it Bayesian.
        frequencies: of the time features; 0 gives the network t alone.
        present: which features an event has, shape (c, d), bool, for a condition that is one-hot in c classes; the
            others are neither seen nor moved: the network has zeros there. None: all have all.
    Shapes:
        x (n, d), t (n,) or a number, condition (n, c), (c,) for all rows, or None -> (n, d)
    Raises:
        ValueError: x, condition or present has another shape or type than the network, or there is one condition too
            few or too many.
    Example:
        >>> network = TimeNetwork(features=4, condition=2, hidden=(32, 32))
        >>> network(torch.zeros(10, 4), 0.5, torch.tensor([91.2, 1.0])).shape
        torch.Size([10, 4])
    """

    def __init__(self, features, condition=0, hidden=(256,) * 4, linear=nn.Linear, frequencies=4, present=None):
        for name, value in (("condition", condition), ("frequencies", frequencies)):
            if not isinstance(value, int) or value < 0:
                raise ValueError(f"{name} is a number of inputs, an integer from 0 on, not {value!r}")
        super().__init__()
        self.features, self.condition, self.frequencies = features, condition, frequencies
        self.register_buffer("present", None if present is None else torch.as_tensor(present, dtype=torch.bool))
        if present is not None and self.present.shape != (condition, features):
            raise ValueError(f"present must be (condition, features), not {tuple(self.present.shape)}")
        self.mlp = MLP(features + 1 + 2 * frequencies + condition, features, hidden, linear=linear)

    def forward(self, x, t, condition=None):
        t = t.to(x).expand(len(x)) if isinstance(t, torch.Tensor) else x.new_full((len(x),), t)
        parts = [self.keep(x, condition), time_features(t, self.frequencies)]
        if (rows := self.rows(condition, len(x))) is not None:
            parts.append(rows)
        return self.keep(self.mlp(torch.cat(parts, dim=1)), condition)

    def there(self, condition, n):
        """Return which features n events have, (n, d) bool, or None where all have all."""
        if self.present is None:
            return None
        return present_features(self.present, self.rows(condition, n), condition)

    def keep(self, x, condition):
        """Return x (n, d) with zeros where an event has no such feature."""
        there = self.there(condition, len(x))
        return x if there is None else torch.where(there, x, 0.0)

    def rows(self, condition, n):
        """Return the condition row by row (n, c), or None where the network has none."""
        return check_condition(condition, self.condition, n)

    def check(self, **tensors):
        """Raise ValueError where tensors are not (n, d) numbers of the network's type, all finite."""
        like = next(self.parameters())
        for name, values in tensors.items():
            if values is None or (name == "condition" and not isinstance(values, torch.Tensor)):
                continue  # what a condition has to be, `rows` says
            if name != "condition" and (not isinstance(values, torch.Tensor) or values.shape[1:] != (self.features,)):
                found = tuple(values.shape) if isinstance(values, torch.Tensor) else type(values).__name__
                raise ValueError(f"{name} must be a tensor of shape (n, {self.features}), not {found}")
            if values.dtype != like.dtype:
                to = "float" if like.dtype == torch.float32 else "double"
                raise ValueError(f"{name} is {values.dtype}, the model {like.dtype}: pass {name}.{to}()")
            if not torch.isfinite(values).all():
                bad = int((~torch.isfinite(values)).sum())
                raise ValueError(
                    f"{name} has {bad} of {values.numel()} values that are NaN or inf: cut them away first"
                )

    def as_one_function(self, generator=None):
        """Return a context in which a Bayesian network has one set of weights; a draw, unless one is fixed already."""
        free = [part for part in self.modules() if isinstance(part, BayesianLinear) and part.fixed is None]
        return fixed_weights(self, generator) if free else nullcontext()
