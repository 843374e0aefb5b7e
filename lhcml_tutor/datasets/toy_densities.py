"""Densities in closed form, with samples drawn from them: the classes behind `toys`.

Each has dimension, log_prob(x) of x (n, d) -> (n,), and sample(n, generator) -> (n, d) float64.
"""

import math

import torch
from scipy.integrate import quad
from torch.special import ndtr, ndtri

from .columns import whole_number

TWO_PI = 2 * math.pi


class GaussianMixture:
    """A sum of Gaussians in d dimensions.

        p(x) = sum_k w_k N(x; mean_k, covariance_k)

    Arguments:
        means: (k, d); covariances: (k, d, d), or one width for all; weights: (k,), equal without.
    Shapes:
        log_prob: x (n, d) -> (n,); sample: -> (n, d); cdf, quantile (d = 1 alone): (n,) -> (n,)
    Raises:
        ValueError: widths or weights that are not positive, or x of another dimension.
    Example:
        >>> toy = GaussianMixture([[-4.0], [4.0]], 1.0)
        >>> round(float(toy.log_prob(torch.tensor([[4.0]])).exp()), 5)     # 1 / (2 sqrt(2 pi))
        0.19947
    """

    def __init__(self, means, covariances, weights=None):
        self.means = torch.as_tensor(means, dtype=torch.float64)
        k, self.dimension = self.means.shape
        covariances = torch.as_tensor(covariances, dtype=torch.float64)
        weights = torch.as_tensor([1.0] * k if weights is None else weights, dtype=torch.float64)
        if not (weights > 0).all() or (covariances.ndim == 0 and not covariances > 0):
            raise ValueError(f"weights and widths must be positive, not {weights.tolist()}, {covariances.tolist()}")
        if covariances.ndim == 0:
            covariances = (covariances**2 * torch.eye(self.dimension, dtype=torch.float64)).expand(k, -1, -1)
        self.weights = weights / weights.sum()
        self.cholesky = torch.linalg.cholesky(covariances)

    def log_prob(self, x):
        """Return log p(x); x (n, d) -> (n,)."""
        x = _points(x, self.dimension)
        root = self.cholesky.to(x)
        z = torch.linalg.solve_triangular(root, (x - self.means.to(x)[:, None]).transpose(1, 2), upper=False)
        log_volume = root.diagonal(dim1=1, dim2=2).log().sum(1) + self.dimension / 2 * math.log(TWO_PI)
        return torch.logsumexp((self.weights.log().to(x) - log_volume)[:, None] - (z**2).sum(1) / 2, dim=0)

    def sample(self, n, generator):
        """Return n points (n, d)."""
        place, n = generator.device, whole_number("n", n, 1)
        which = torch.multinomial(self.weights.to(place), n, replacement=True, generator=generator)
        z = torch.randn(n, self.dimension, dtype=torch.float64, generator=generator, device=place)
        return self.means.to(place)[which] + (self.cholesky.to(place)[which] @ z[:, :, None])[:, :, 0]

    def cdf(self, x):
        """Return P(X < x) in one dimension; x (n,) -> (n,)."""
        if self.dimension != 1:
            raise ValueError(f"cdf and quantile are there in one dimension, not in {self.dimension}")
        return ndtr((x[:, None] - self.means[:, 0].to(x)) / self.cholesky[:, 0, 0].to(x)) @ self.weights.to(x)

    def quantile(self, u):
        """Return x with P(X < x) = u in one dimension; u (n,) -> (n,)."""
        reach = 9 * float(self.cholesky[:, 0, 0].max())
        return _invert(self.cdf, u, float(self.means.min()) - reach, float(self.means.max()) + reach)


class Ring:
    """A Gaussian ring in the plane; angle < 2 pi keeps the sector 0 < phi < angle.

        p(x, y) = r^(power - 1) exp(-(r - radius)^2 / (2 width^2)) / (angle norm),        r = sqrt(x^2 + y^2)
        norm = width sqrt(2 pi) Phi(radius / width)                                             for power 0,
        norm = width^2 exp(-radius^2 / (2 width^2)) + radius width sqrt(2 pi) Phi(radius / width)    for power 1

    Power 0: the radius is a Gaussian, cut at r = 0. Power 1: the density in the plane is a Gaussian of the radius.

    Shapes:
        log_prob: x (n, 2) -> (n,), -inf outside the sector; sample: -> (n, 2); cdf: radius, any shape
    Raises:
        ValueError: radius or width not positive, power not 0 or 1, angle not in (0, 2 pi].
    Example:
        >>> toy = Ring(radius=4.0, width=1.0)
        >>> round(float(toy.log_prob(torch.tensor([[0.0, 4.0]], dtype=torch.float64))), 4)
        -4.1431
    """

    dimension = 2

    def __init__(self, radius=4.0, width=1.0, power=0, angle=TWO_PI):
        if not (radius > 0 and width > 0 and power in (0, 1) and 0 < angle <= TWO_PI):
            raise ValueError(f"{radius=}, {width=} must be positive, {power=} must be 0 or 1, {angle=} in (0, 2 pi]")
        self.radius, self.width, self.power, self.angle, self.norm = radius, width, power, angle, 1.0
        self.norm = float(self.cdf(torch.tensor(radius + 40 * width, dtype=torch.float64)))

    def cdf(self, r):
        """Return P(radius < r); any shape."""
        z, first = (r - self.radius) / self.width, -self.radius / self.width
        area = self.width * math.sqrt(TWO_PI) * (ndtr(z) - ndtr(torch.full_like(z, first)))
        if self.power:
            area = self.width**2 * (math.exp(-(first**2) / 2) - (-(z**2) / 2).exp()) + self.radius * area
        return area / self.norm

    def log_prob(self, x):
        """Return log p(x); x (n, 2) -> (n,)."""
        x = _points(x, 2)
        r = torch.linalg.vector_norm(x, dim=1)
        value = -(((r - self.radius) / self.width) ** 2) / 2 - math.log(self.norm * self.angle)
        if not self.power:
            value = value - r.log()
        return _inside(torch.atan2(x[:, 1], x[:, 0]) % TWO_PI <= self.angle, value)

    def sample(self, n, generator):
        """Return n points (n, 2)."""
        u = _uniform(n, 2, generator)
        r, phi = _invert(self.cdf, u[:, 0], 0.0, self.radius + 9 * self.width), self.angle * u[:, 1]
        return torch.stack([r * phi.cos(), r * phi.sin()], dim=1)

    def entropy(self):
        """Return -<log p> in nats and its error, by adaptive quadrature over the radius."""

        def term(r):
            log_p = float(self.log_prob(torch.tensor([[r, 0.0]], dtype=torch.float64)))
            return -self.angle * r * math.exp(log_p) * log_p

        low, high = max(self.radius - 12 * self.width, 1e-12), self.radius + 12 * self.width
        return quad(term, low, high, points=[self.radius], limit=200)


class Ramp:
    """A density on the unit square that rises in x and is flat in y.

        p(x, y) = (power + 1) x^power,      entropy = power / (power + 1) - log(power + 1)

    Shapes:
        log_prob: x (n, 2) -> (n,), -inf outside the square; sample: -> (n, 2)
    Raises:
        ValueError: a power that is not positive.
    Example:
        >>> Ramp(1).log_prob(torch.tensor([[0.5, 0.1], [0.5, 2.0]]))
        tensor([0., -inf])
    """

    dimension = 2

    def __init__(self, power=1):
        if not power > 0:
            raise ValueError(f"power={power} must be positive; 1 is the wedge, 2 the kicker")
        self.power = power

    def log_prob(self, x):
        """Return log p(x); x (n, 2) -> (n,)."""
        x = _points(x, 2)
        value = math.log(self.power + 1) + self.power * x[:, 0].clamp(min=torch.finfo(x.dtype).tiny).log()
        return _inside(((x >= 0) & (x <= 1)).all(1), value)

    def sample(self, n, generator):
        """Return n points (n, 2)."""
        u = _uniform(n, 2, generator)
        return torch.stack([u[:, 0] ** (1 / (self.power + 1)), u[:, 1]], dim=1)

    def entropy(self):
        """Return -<log p> in nats and its error, by formula."""
        return self.power / (self.power + 1) - math.log(self.power + 1), 0.0


class OneOverX:
    """A falling line on an interval; two of them, with and without the offset, are what event subtraction subtracts.

        p(x) = (1/x + offset) / integral,      integral = log(high / low) + offset (high - low)

    Numbers of events that are as the integrals stand for the curves themselves, and their difference is the offset.

    Shapes:
        log_prob: x (n, 1) -> (n,), -inf outside the interval; sample: -> (n, 1); cdf, quantile: (n,) -> (n,)
    Raises:
        ValueError: a negative offset, or no interval above zero.
    Example:
        >>> round(OneOverX(offset=0.1, low=1.0, high=100.0).integral, 4)
        14.5052
    """

    dimension = 1

    def __init__(self, offset=0.0, low=1.0, high=100.0):
        if not (offset >= 0 and 0 < low < high < math.inf):
            raise ValueError(f"{offset=} must be >= 0, and 0 < {low=} < {high=}")
        self.offset, self.low, self.high = offset, low, high
        self.integral = math.log(high / low) + offset * (high - low)

    def log_prob(self, x):
        """Return log p(x); x (n, 1) -> (n,)."""
        x = _points(x, 1)[:, 0]
        value = (1 / x.clamp(self.low, self.high) + self.offset).log() - math.log(self.integral)
        return _inside((x >= self.low) & (x <= self.high), value)

    def cdf(self, x):
        """Return P(X < x); (n,) -> (n,)."""
        x = x.clamp(self.low, self.high)
        return ((x / self.low).log() + self.offset * (x - self.low)) / self.integral

    def quantile(self, u):
        """Return x with P(X < x) = u; (n,) -> (n,)."""
        return _invert(self.cdf, u, self.low, self.high)

    def sample(self, n, generator):
        """Return n points (n, 1)."""
        return self.quantile(_uniform(n, 1, generator)[:, 0])[:, None]


class DoublePeak:
    """Narrow peaks on the diagonal of the unit cube: coordinate by coordinate it looks like 2^d peaks.

        p(x) = 1/2 sum_c prod_i N(x_i; c, width) / (Phi((1 - c) / width) - Phi(-c / width)),     0 < x_i < 1

    An importance sampler that treats the coordinates as independent, as VEGAS does, wastes all but 2 of the 2^d peaks.

    Shapes:
        log_prob: x (n, d) -> (n,), -inf outside the cube; sample: -> (n, d)
    Raises:
        ValueError: no dimension, a width that is not positive, or a centre outside the cube.
    Example:
        >>> DoublePeak(dimension=8).sample(5, torch.Generator().manual_seed(1)).shape
        torch.Size([5, 8])
    """

    def __init__(self, dimension=2, centres=(0.25, 0.75), width=0.07):
        if not (dimension >= 1 and width > 0 and all(0 < centre < 1 for centre in centres)):
            raise ValueError(f"{dimension=} must be >= 1, {width=} positive, {centres=} between 0 and 1")
        self.dimension, self.width = dimension, width
        self.centres = torch.tensor(centres, dtype=torch.float64)
        self.ends = ndtr(-self.centres / width), ndtr((1 - self.centres) / width)

    def log_prob(self, x):
        """Return log p(x); x (n, d) -> (n,)."""
        x = _points(x, self.dimension)
        norm = (self.ends[1] - self.ends[0]).log() + math.log(self.width * math.sqrt(TWO_PI))
        z = (x[:, None] - self.centres.to(x)[:, None]) / self.width
        value = torch.logsumexp(-(z**2).sum(2) / 2 - self.dimension * norm.to(x), dim=1) - math.log(len(self.centres))
        return _inside(((x >= 0) & (x <= 1)).all(1), value)

    def sample(self, n, generator):
        """Return n points (n, d)."""
        u = _uniform(n, self.dimension + 1, generator)
        which = (u[:, 0] * len(self.centres)).long()
        low, high = (end.to(u)[which, None] for end in self.ends)
        return (self.centres.to(u)[which, None] + self.width * ndtri(low + u[:, 1:] * (high - low))).clamp(0, 1)


def _points(x, dimension):
    if x.ndim != 2 or x.shape[1] != dimension:
        raise ValueError(f"x must have the shape (n, {dimension}), one row per point, not {tuple(x.shape)}")
    return x


def _uniform(n, d, generator):
    return torch.rand(whole_number("n", n, 1), d, dtype=torch.float64, generator=generator, device=generator.device)


def _inside(mask, value):
    return torch.where(mask, value, torch.full_like(value, -math.inf))


def _invert(cdf, u, low, high):
    """Return x in [low, high] with cdf(x) = u, by 60 halvings of the interval."""
    low, high = torch.full_like(u, low), torch.full_like(u, high)
    for _ in range(60):
        middle = (low + high) / 2
        below = cdf(middle) < u
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return (low + high) / 2
