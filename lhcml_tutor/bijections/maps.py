"""General maps, feature by feature, and how to put maps together."""

import warnings

import torch
from torch import nn


class Standardise(nn.Module):
    """Shift and scale each feature to mean 0 and standard deviation 1 on the events it was fitted on.

        z = (x - mean) / std,      log|det dz/dx| = - sum log std

    Fit it on the training set alone: whoever fits it on all events has looked at the test set.

    Arguments:
        features: number d of features; it changes nothing until it is fitted or loaded.
    Shapes:
        x (n, d) -> z (n, d), log_det (n,)
    Raises:
        ValueError: x does not have d features.
    Example:
        >>> x = torch.tensor([[1.0, 10.0], [3.0, 30.0]])
        >>> z, log_det = Standardise.fit(x)(x)
        >>> z.mean(0), z.std(0)
        (tensor([0., 0.]), tensor([1., 1.]))
    """

    def __init__(self, features):
        super().__init__()
        self.register_buffer("mean", torch.zeros(features, dtype=torch.float64))
        self.register_buffer("std", torch.ones(features, dtype=torch.float64))

    @classmethod
    def fit(cls, x, names=None):
        """Return the map for the mean and standard deviation of these events.

        A feature that never changes gets the scale 1 and a warning: dividing by its rounding error would blow
        up whatever else it is some day.

        Arguments:
            names: of the features, for messages.
        Raises:
            ValueError: fewer than two events, or NaN or inf among them.
        Example:
            >>> Standardise.fit(torch.tensor([[1.0], [3.0]])).mean
            tensor([2.], dtype=torch.float64)
        """
        _check_shape(x, None)
        if len(x) < 2:
            raise ValueError(f"a standard deviation needs at least two events, here are {len(x)}")
        _check_domain(x, torch.isfinite(x), "only finite numbers can be standardised; cut them away first", names)
        bijection = cls(x.shape[1]).to(x.device)
        exact = x.detach().double()
        bijection.mean, std = exact.mean(0), exact.std(0)
        dead = std <= 8 * torch.finfo(x.dtype).eps * exact.abs().amax(0)  # nothing but the rounding of a constant
        if dead.any():
            which = ", ".join(_name(names, i) for i in dead.nonzero().flatten().tolist())
            warnings.warn(f"{which}: the same in all events; scaled by 1, better left out", stacklevel=2)
        bijection.std = torch.where(dead, 1.0, std)
        return bijection

    def forward(self, x, condition=None):
        _check_shape(x, len(self.mean))
        mean, std = self.mean.to(x.dtype), self.std.to(x.dtype)
        return (x - mean) / std, -std.log().sum().expand(len(x))

    def inverse(self, z, condition=None):
        _check_shape(z, len(self.mean))
        mean, std = self.mean.to(z.dtype), self.std.to(z.dtype)
        return z * std + mean, std.log().sum().expand(len(z))


class Logit(nn.Module):
    """Open an interval to the whole line.

        u = eps + (1 - 2 eps) (x - low) / (high - low),      z = log u - log(1 - u)
        log|det dz/dx| = sum [ log((1 - 2 eps) / (high - low)) - log u - log(1 - u) ]

    Arguments:
        low, high: ends of the interval, for all features or one each, shape (d,).
        eps: with 0 the ends themselves are excluded; above 0 they are mapped to finite z, and the inverse can
            leave the interval by eps / (1 - 2 eps) of its width.
    Shapes:
        x (n, d) -> z (n, d), log_det (n,)
    Raises:
        ValueError: low >= high, eps not in [0, 0.5), or x outside the interval (names column, row and value).
    Example:
        >>> z, log_det = Logit(0.0, 1.0, eps=0.0)(torch.tensor([[0.5]]))
        >>> z, log_det.exp()
        (tensor([[0.]]), tensor([4.]))
    """

    def __init__(self, low, high, eps=1e-6):
        super().__init__()
        self.register_buffer("low", torch.as_tensor(low, dtype=torch.float64))
        self.register_buffer("high", torch.as_tensor(high, dtype=torch.float64))
        self.register_buffer("eps", torch.as_tensor(eps, dtype=torch.float64))
        if not (self.low < self.high).all():
            raise ValueError(f"low must be below high everywhere, not low={low}, high={high}")
        if not 0 <= eps < 0.5:
            raise ValueError(f"eps must be at least 0 and below 0.5, not {eps}; 1e-6 keeps the ends finite")

    def _constants(self, x):
        _check_shape(x, self.low.numel() if self.low.ndim else None)
        return (constant.to(x.dtype) for constant in (self.low, self.high, self.high - self.low, self.eps))

    def forward(self, x, condition=None):
        low, high, width, eps = self._constants(x)
        inside = (x > low) & (x < high) if eps == 0 else (x >= low) & (x <= high)
        ends = "without its ends" if eps == 0 else "with its ends"
        text = f"Logit takes the interval {_text(self.low)} to {_text(self.high)} {ends}; cut, or choose another"
        _check_domain(x, inside, text)
        log_u = (eps + (1 - 2 * eps) * (x - low) / width).log()
        log_v = (eps + (1 - 2 * eps) * (high - x) / width).log()  # log(1 - u), exact near the upper end, too
        return log_u - log_v, (((1 - 2 * eps) / width).log() - log_u - log_v).sum(1)

    def inverse(self, z, condition=None):
        low, _, width, eps = self._constants(z)
        x = low + width * (z.sigmoid() - eps) / (1 - 2 * eps)
        log_uv = nn.functional.logsigmoid(z) + nn.functional.logsigmoid(-z)
        return x, ((width / (1 - 2 * eps)).log() + log_uv).sum(1)


class LogShift(nn.Module):
    """Take the logarithm above a threshold, such as a transverse momentum above its cut.

        z = log(x - shift),      log|det dz/dx| = - sum z

    Arguments:
        shift: the threshold, for all features or one each, shape (d,); in the unit of x.
    Shapes:
        x (n, d) -> z (n, d), log_det (n,)
    Raises:
        ValueError: x at or below the threshold (names column, row and value).
    Example:
        >>> z, log_det = LogShift(20.0)(torch.tensor([[21.0]]))      # pT > 20 GeV
        >>> z
        tensor([[0.]])
    """

    def __init__(self, shift):
        super().__init__()
        self.register_buffer("shift", torch.as_tensor(shift, dtype=torch.float64))

    def forward(self, x, condition=None):
        shift = self._shift(x)
        _check_domain(x, x > shift, f"LogShift takes values above {_text(self.shift)}; cut, or lower the shift")
        z = (x - shift).log()
        return z, -z.sum(1)

    def inverse(self, z, condition=None):
        return z.exp() + self._shift(z), z.sum(1)

    def _shift(self, x):
        _check_shape(x, self.shift.numel() if self.shift.ndim else None)
        return self.shift.to(x.dtype)


class OnColumns(nn.Module):
    """Apply a bijection to some features and leave the others as they are.

    Arguments:
        columns: positions of the features, such as [0, 3].
        bijection: of as many features.
    Shapes:
        x (n, d) -> z (n, d), log_det (n,)
    Raises:
        ValueError: a position that x does not have, or twice the same.
    Example:
        >>> OnColumns([1], LogShift(20.0))(torch.tensor([[-3.0, 21.0]]))[0]
        tensor([[-3.,  0.]])
    """

    def __init__(self, columns, bijection):
        super().__init__()
        if len(set(columns)) < len(columns) or min(columns) < 0:
            raise ValueError(f"columns must be different positions from 0 on, not {list(columns)}")
        self.columns, self.bijection = list(columns), bijection

    def forward(self, x, condition=None):
        return self._apply_to(self.bijection, x, condition)

    def inverse(self, z, condition=None):
        return self._apply_to(self.bijection.inverse, z, condition)

    def _apply_to(self, bijection, x, condition):
        _check_shape(x, None)
        if max(self.columns) >= x.shape[1]:
            raise ValueError(f"there is no column {max(self.columns)} in x of shape {tuple(x.shape)}")
        part, log_det = bijection(x[:, self.columns], condition)
        return x.index_copy(1, torch.tensor(self.columns, device=x.device), part), log_det


class Compose(nn.Module):
    """One bijection after the other.

        z = f_k( ... f_2(f_1(x))),      log|det dz/dx| = sum of the log_dets along the way

    Shapes:
        x (n, d) -> z (n, d), log_det (n,)
    Raises:
        ValueError: no bijections.
    Example:
        >>> x = torch.tensor([[21.0], [30.0], [60.0]])
        >>> log = LogShift(20.0)
        >>> b = Compose(log, Standardise.fit(log(x)[0]))
        >>> x_again, _ = b.inverse(b(x)[0])
        >>> torch.allclose(x_again, x)
        True
    """

    def __init__(self, *bijections):
        super().__init__()
        if not bijections:
            raise ValueError("Compose needs at least one bijection")
        self.bijections = nn.ModuleList(bijections)

    def forward(self, x, condition=None):
        return self._chain(x, condition, self.bijections)

    def inverse(self, z, condition=None):
        return self._chain(z, condition, [bijection.inverse for bijection in reversed(self.bijections)])

    def _chain(self, x, condition, steps):
        total = 0.0
        for step in steps:
            x, log_det = step(x, condition)
            total = total + log_det
        return x, total


def _check_shape(x, features):
    if not isinstance(x, torch.Tensor) or x.ndim != 2 or not x.is_floating_point():
        found = f"{x.dtype} {tuple(x.shape)}" if isinstance(x, torch.Tensor) else type(x).__name__
        raise ValueError(f"a bijection takes a floating tensor of shape (n, d), not {found}; events.stack makes one")
    if features is not None and x.shape[1] != features:
        raise ValueError(f"this bijection has {features} features, x has the shape {tuple(x.shape)}")


def _check_domain(x, inside, text, names=None):
    if not inside.all():
        row, column = (int(i) for i in (~inside).nonzero()[0])
        raise ValueError(f"{_name(names, column)} has the value {x[row, column]:.6g} in row {row}; {text}")


def _name(names, column):
    return f"column {column}" + (f" ({names[column]})" if names else "")


def _text(value):
    return f"{value.item():g}" if value.ndim == 0 else str(value.tolist())
