"""Coupling layers: one part of the features stays, and tells a network how to move the other part.

The part that stays is there in both directions, so the network is never inverted, and the Jacobian is a triangle: its
determinant is the product of the slopes of the moved features.
"""

import torch
from torch import nn

from ..layers import MLP
from .maps import _check_shape
from .splines import rational_quadratic, spline_knots


class _Coupling(nn.Module):
    """What couplings share: which features stay, the network, and features that not all events have."""

    def __init__(self, stays, numbers, condition, hidden, linear, activation):
        super().__init__()
        stays = torch.as_tensor(stays)
        if stays.dtype != torch.bool or stays.ndim != 1 or stays.all() or not (stays.any() or condition):
            raise ValueError(f"stays says of each feature whether it stays; some must move, not {stays.tolist()}")
        self.features, self.condition = len(stays), condition
        self.register_buffer("stays", stays.nonzero().flatten())
        self.register_buffer("moves", (~stays).nonzero().flatten())
        self.register_buffer("back", torch.cat([self.stays, self.moves]).argsort())
        self.numbers = numbers
        self.network = MLP(len(self.stays) + condition, len(self.moves) * numbers, hidden, activation, linear)
        for parameter in list(self.network.layers[-1].parameters())[:2]:  # weight and bias: start near the identity
            parameter.data.mul_(0.1)

    def forward(self, x, condition=None, present=None):
        return self._apply_to(x, condition, present, False)

    def inverse(self, z, condition=None, present=None):
        return self._apply_to(z, condition, present, True)

    def _apply_to(self, x, condition, present, inverse):
        _check_shape(x, self.features)
        fixed, moved = x[:, self.stays], x[:, self.moves]  # (n, a), (n, b)
        seen = fixed
        if self.condition:
            seen = torch.cat([fixed, check_condition(condition, self.condition, len(x)).to(x)], dim=1)
        elif condition is not None:
            check_condition(condition, 0, len(x))
        raw = self.network(seen).unflatten(1, (self.numbers, len(self.moves))).transpose(0, 1)  # (numbers, n, b)
        y, log_slope = self._move(moved, raw, inverse)  # (n, b)
        if present is not None:
            there = present[:, self.moves]
            y, log_slope = torch.where(there, y, moved), torch.where(there, log_slope, 0.0)
        return torch.cat([fixed, y], dim=1)[:, self.back], log_slope.sum(1)


class AffineCoupling(_Coupling):
    """Affine coupling layer: one part of x is scaled and shifted by a network of the other.

        z_moved = x_moved exp(s) + t,      (s, t) = network(x_stays, c),      log|det dz/dx| = sum s

    The scale is kept between exp(-limit) and exp(limit) by s -> limit tanh(s / limit).

    Arguments:
        stays: which features stay as they are, shape (d,), bool.
        condition: number c of features of the condition.
        hidden: widths of the network.
        limit: largest |s|.
        linear, activation: of the network, see `layers.MLP`; BayesianLinear makes the layer Bayesian.
    Shapes:
        x (n, d), condition (n, c), (c,) or None, present (n, d) bool or None -> z (n, d), log_det (n,). Features that
        are not present are left alone.
    Raises:
        ValueError: no feature moves, x has another number of features, or the condition does not fit.
    Example:
        >>> layer = AffineCoupling(torch.tensor([True, False]))
        >>> x = torch.tensor([[1.0, 2.0]])
        >>> z, log_det = layer(x)
        >>> bool(z[0, 0] == 1), torch.allclose(layer.inverse(z)[0], x)
        (True, True)

    Reference: Dinh et al. 2016, arXiv:1605.08803.
    """

    def __init__(self, stays, condition=0, hidden=(64, 64), limit=3.0, linear=nn.Linear, activation=nn.SiLU):
        super().__init__(stays, 2, condition, hidden, linear, activation)
        self.limit = limit

    def _move(self, moved, raw, inverse):
        s, t = self.limit * (raw[0] / self.limit).tanh(), raw[1]
        return ((moved - t) * (-s).exp(), -s) if inverse else (moved * s.exp() + t, s)


class SplineCoupling(_Coupling):
    """Spline coupling layer: each moved feature goes through a rational-quadratic spline of its own.

        z_i = spline(x_i; knots and slopes from network(x_stays, c)),      log|det dz/dx| = sum_i log slope_i

    Outside of [-bound, bound] a feature stays as it is.

    Arguments:
        stays, condition, hidden, linear, activation: as in `AffineCoupling`.
        bins: K, of each spline.
        bound: half of the interval in which features are moved.
    Shapes:
        x (n, d), condition (n, c), (c,) or None, present (n, d) bool or None -> z (n, d), log_det (n,)
    Raises:
        ValueError: as in `AffineCoupling`, or bins < 2.
    Example:
        >>> layer = SplineCoupling(torch.tensor([True, False]), bins=8)
        >>> x = torch.tensor([[1.0, 2.0]])
        >>> z, log_det = layer(x)
        >>> torch.allclose(layer.inverse(z)[0], x, atol=1e-5)
        True

    Reference: Durkan et al. 2019, arXiv:1906.04032.
    """

    def __init__(self, stays, condition=0, hidden=(64, 64), bins=10, bound=5.0, linear=nn.Linear, activation=nn.SiLU):
        if not isinstance(bins, int) or bins < 2 or not bound > 0:
            raise ValueError(f"a spline needs two bins or more and a positive bound, not {bins=}, {bound=}")
        super().__init__(stays, 3 * bins - 1, condition, hidden, linear, activation)
        self.bound = bound

    def _move(self, moved, raw, inverse):
        return rational_quadratic(moved, *spline_knots(raw, self.bound), inverse=inverse)


class Permute(nn.Module):
    """Put the features into another order.

        z_i = x_order[i],      log|det dz/dx| = 0

    Arguments:
        order: of the d features, each from 0 to d - 1 once.
    Shapes:
        x (n, d) -> z (n, d), log_det (n,), zeros
    Raises:
        ValueError: a feature is missing or there twice.
    Example:
        >>> Permute([2, 0, 1])(torch.tensor([[1.0, 2.0, 3.0]]))[0]
        tensor([[3., 1., 2.]])
    """

    def __init__(self, order):
        super().__init__()
        order = torch.as_tensor(order)
        if order.tolist() != order.argsort().argsort().tolist() or sorted(order.tolist()) != list(range(len(order))):
            raise ValueError(f"an order of d features holds 0 to d - 1 once each, not {order.tolist()}")
        self.register_buffer("order", order)
        self.register_buffer("back", order.argsort())

    def forward(self, x, condition=None):
        _check_shape(x, len(self.order))
        return x[:, self.order], x.new_zeros(len(x))

    def inverse(self, z, condition=None):
        _check_shape(z, len(self.order))
        return z[:, self.back], z.new_zeros(len(z))


def present_features(present, condition, like):
    """Return which features each event has.

    Arguments:
        present: of each class, (c, d) bool; None: all have all.
        condition: one-hot in the class, row by row.
        like: tensor with the type and the place of the events.
    Shapes:
        condition (n, c) -> (n, d) bool, or None
    Example:
        >>> present = torch.tensor([[True, False], [True, True]])
        >>> present_features(present, torch.tensor([[1.0, 0.0]]), torch.zeros(1, 2))
        tensor([[ True, False]])
    """
    return None if present is None else condition.to(like) @ present.to(like) > 0.5


def check_condition(condition, features, n):
    """Return the condition row by row, (n, features), or say what is wrong with it.

    Shapes:
        condition (n, features), or (features,) for all rows, or None where there are none -> (n, features) or None
    Raises:
        ValueError: it is missing, not wanted, or of another shape.
    Example:
        >>> check_condition(torch.tensor([1.0, 0.0]), 2, 3).shape
        torch.Size([3, 2])
    """
    if not features:
        if condition is not None:
            raise ValueError("this model was made without a condition (condition=0) and takes none")
        return None
    if condition is None:
        raise ValueError(f"this model needs a condition of {features} features: (n, {features}) or ({features},)")
    if not isinstance(condition, torch.Tensor) or condition.shape not in ((n, features), (features,)):
        found = tuple(condition.shape) if isinstance(condition, torch.Tensor) else type(condition).__name__
        shapes = f"({n}, {features}), row by row, or ({features},) for all rows"
        raise ValueError(f"the condition must be a tensor of the shape {shapes}, not {found}")
    return condition.expand(n, features)
