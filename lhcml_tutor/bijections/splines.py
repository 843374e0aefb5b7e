"""Rational-quadratic splines: monotonic curves through given points with given slopes, and their inverse.

A spline holds K bins between K + 1 knots (x_k, y_k) with slopes d_k > 0. In a bin, with w = x_(k+1) - x_k,
h = y_(k+1) - y_k, s = h / w and u = (x - x_k) / w,

    y = y_k + h (s u^2 + d_k u (1 - u)) / D,                  D = s + (d_k + d_(k+1) - 2 s) u (1 - u)
    dy/dx = s^2 (d_(k+1) u^2 + 2 s u (1 - u) + d_k (1 - u)^2) / D^2

whose ends are y_k and y_(k+1), with slopes d_k and d_(k+1). Outside of the knots it is the identity, so the outermost
knots lie on the diagonal and their slopes are 1. The knots stand on the *first* axis: sums over a short last axis
would take most of the time of a flow.
"""

import math

import torch
from torch.nn.functional import softmax, softplus

SLOPE_OFFSET = math.log(math.e - 1)  # softplus of it is 1


def spline_knots(raw, bound, smallest=1e-3):
    """Turn the free numbers of a network into the knots and slopes of a spline on the square [-bound, bound].

        widths, heights = softmax of K numbers each, at least `smallest` of the whole
        inner slopes = softplus of K - 1 numbers, at least `smallest`; the outer two are 1

    All free numbers at zero give the identity.

    Arguments:
        raw: 3 K - 1 free numbers for each spline.
        bound: half of the side of the square.
        smallest: share of the square that each bin has at least, and the least slope.
    Shapes:
        raw (3 K - 1, ...) -> knots in x, knots in y, slopes, each (K + 1, ...)
    Raises:
        ValueError: the first axis is not 3 K - 1 long.
    Example:
        >>> x, y, slopes = spline_knots(torch.zeros(5), bound=1.0)
        >>> x, slopes
        (tensor([-1.,  0.,  1.]), tensor([1., 1., 1.]))

    Reference: Durkan et al. 2019, arXiv:1906.04032.
    """
    bins, rest = divmod(len(raw) + 1, 3)
    if rest or bins < 1:
        raise ValueError(f"a spline of K bins has 3 K - 1 free numbers; {len(raw)} does not fit any K")
    shares = softmax(raw[: 2 * bins].unflatten(0, (2, bins)), dim=1)  # (2, K, ...)
    inner = (smallest + (1 - smallest * bins) * shares[:, :-1]).cumsum(1)
    edge = torch.full_like(inner[:, :1], bound)
    x, y = torch.cat([-edge, 2 * bound * inner - bound, edge], dim=1)
    slopes = smallest + (1 - smallest) * softplus(raw[2 * bins :] + SLOPE_OFFSET)
    one = torch.ones_like(x[:1])
    return x, y, torch.cat([one, slopes, one])


def rational_quadratic(x, knots_x, knots_y, slopes, inverse=False):
    """Evaluate rational-quadratic splines, or their inverses, with the logarithm of the slope.

    Arguments:
        x: where; outside of the knots it is returned as it is.
        knots_x, knots_y: rising.
        slopes: positive.
        inverse: True takes x as a value y and returns the place.
    Shapes:
        x (...), the others (K + 1, ...) -> y (...), log of the slope of what was done (...)
    Raises:
        ValueError: the shapes do not belong together.
    Example:
        >>> knots, slopes = torch.tensor([-1.0, 0.0, 1.0]), torch.tensor([1.0, 4.0, 1.0])
        >>> y, log_slope = rational_quadratic(torch.tensor(0.0), knots, knots, slopes)
        >>> y, log_slope.exp()
        (tensor(0.), tensor(4.))

    Reference: Gregory and Delbourgo 1982; Durkan et al. 2019, arXiv:1906.04032.
    """
    if not (knots_x.shape == knots_y.shape == slopes.shape and knots_x.shape[1:] == x.shape):
        shown = [tuple(part.shape) for part in (x, knots_x, knots_y, slopes)]
        raise ValueError(f"splines take x (...) and knots and slopes (K + 1, ...), not {shown}")
    given = knots_y if inverse else knots_x
    inside = (x > given[0]) & (x < given[-1])
    safe = torch.where(inside, x, (given[0] + given[-1]) / 2)  # no bin for what is outside, and no NaN
    k = (safe >= given[1:-1]).sum(0, keepdim=True)
    both = torch.stack([knots_x, knots_y, slopes], dim=1)  # one gather for all
    k = k[:, None].expand(1, 3, *x.shape)
    (x_0, y_0, d_0), (x_1, y_1, d_1) = both.gather(0, k)[0], both.gather(0, k + 1)[0]
    width, height = x_1 - x_0, y_1 - y_0
    s = height / width
    bend = d_0 + d_1 - 2 * s
    if inverse:  # y = ... is a quadratic equation in u; this form of its root loses no digits
        rise = safe - y_0
        a = height * (s - d_0) + rise * bend
        b = height * d_0 - rise * bend
        c = s * rise
        u = (2 * c / (b + (b * b + 4 * a * c).clamp(min=0).sqrt())).clamp(0, 1)  # rounding may leave the bin
    else:
        u = (safe - x_0) / width
    v = u * (1 - u)
    bottom = s + bend * v
    log_slope = 2 * (s / bottom).log() + (d_1 * u * u + 2 * s * v + d_0 * (1 - u) ** 2).log()
    y = x_0 + width * u if inverse else y_0 + height * (s * u * u + d_0 * v) / bottom
    return torch.where(inside, y, x), torch.where(inside, -log_slope if inverse else log_slope, 0.0)
