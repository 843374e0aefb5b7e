"""Maps that give a density room: an interval becomes the whole line, a ring becomes a rectangle."""

import torch
from torch import nn

from ..likelihoods import LOG_SQRT_2_PI
from .maps import _check_domain, _check_shape

END = 1e-7  # of the interval: float32 rounds onto the ends, where the quantiles are infinite


class Quantile(nn.Module):
    """Open an interval by the quantiles of a Gaussian: what was flat between its ends becomes a standard Gaussian.

        u = (x - low) / (high - low),      z = Phi^-1(u)
        log|det dz/dx| = sum [ z^2 / 2 + log(2 pi) / 2 - log(high - low) ]

    Inside, in float64. Closer to an end than 1e-7 of the interval all points share one z.

    Arguments:
        low, high: ends of the interval, for all features.
    Shapes:
        x (n, d) -> z (n, d), log_det (n,)
    Raises:
        ValueError: low >= high, or x outside the interval (names column, row and value).
    Example:
        >>> z, log_det = Quantile(0.0, 2.0)(torch.tensor([[1.0]]))
        >>> z, log_det.exp()                   # sqrt(2 pi) / 2
        (tensor([[0.]]), tensor([1.2533]))
    """

    def __init__(self, low=0.0, high=1.0):
        super().__init__()
        if not low < high:
            raise ValueError(f"low must be below high, not low={low}, high={high}")
        self.register_buffer("low", torch.tensor(low, dtype=torch.float64))
        self.register_buffer("width", torch.tensor(high - low, dtype=torch.float64))

    def forward(self, x, condition=None):
        _check_shape(x, None)
        u = (x.double() - self.low.double()) / self.width.double()
        ends = f"{float(self.low):g} to {float(self.low + self.width):g}"
        _check_domain(x, (u > -END) & (u < 1 + END), f"Quantile takes the interval {ends}; cut, or choose another")
        z = torch.special.ndtri(u.clamp(END, 1 - END))
        return z.to(x), self._log_slope(z).to(x)

    def inverse(self, z, condition=None):
        _check_shape(z, None)
        exact = z.double()
        x = self.low.double() + self.width.double() * torch.special.ndtr(exact)
        return x.to(z), -self._log_slope(exact).to(z)

    def _log_slope(self, z):
        return (0.5 * z**2 + LOG_SQRT_2_PI - self.width.double().log()).sum(1)


class Polar(nn.Module):
    """Take a point of the plane to its radius and angle, so that the hole of a ring is no hole any more.

        r = sqrt(x^2 + y^2),    phi = atan2(y, x) from -pi to pi,      log|det dz/dx| = - log r

    Put LogShift(0.0) on r behind it if the density reaches the origin. Without, a model may come back with r < 0; it
    gets the point on the other side.

    Shapes:
        x (n, 2) -> z (n, 2) = (r, phi), log_det (n,)
    Raises:
        ValueError: another number of features, or the origin itself.
    Example:
        >>> z, log_det = Polar()(torch.tensor([[0.0, 2.0]]))
        >>> z, log_det.exp()
        (tensor([[2.0000, 1.5708]]), tensor([0.5000]))
    """

    def forward(self, x, condition=None):
        _check_shape(x, 2)
        r = x.norm(dim=1)
        _check_domain(x, (r > 0)[:, None].expand_as(x), "Polar has no angle for the origin; cut it away")
        return torch.stack([r, torch.atan2(x[:, 1], x[:, 0])], dim=1), -r.log()

    def inverse(self, z, condition=None):
        _check_shape(z, 2)
        r, phi = z.unbind(dim=1)
        return torch.stack([r * phi.cos(), r * phi.sin()], dim=1), r.abs().log()
