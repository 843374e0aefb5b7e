"""Toys whose density is known: what a generator, a density estimator or a tagger can be held against.

toy = make_toy("camel")
x = toy.sample(10_000, torch.Generator().manual_seed(1))      # (10000, 1), float64
toy.log_prob(x)                                               # (10000,), exact, differentiable
entropy(toy)                                                  # nats: no model has a smaller mean of -log_prob

camel               d = 1   two Gaussians, means -4 and 4, width 1 (arXiv:2008.06545)
one_over_x          d = 1   1/x from 1 to 100; offset=0.1 adds a constant (event subtraction, arXiv:1912.08824)
ring                d = 2   radius Gaussian (4, 1), angle flat (arXiv:2008.06545)
gaussian_ring       d = 2   the same in the upper half plane (Bayesian networks, arXiv:2104.04543)
smooth_ring         d = 2   exp(-(r - 4)^2 / 2) in the plane, without the 1/r at the centre
wedge_ramp          d = 2   2 x on the unit square (arXiv:2104.04543)
kicker_ramp         d = 2   3 x^2 on the unit square (arXiv:2104.04543)
two_moons           d = 2   two half circles, smeared by a Gaussian
eight_gaussians     d = 2   on a circle
grid_of_gaussians   d = 2   5 x 5
gaussian_mixture    any d   five Gaussians with correlations, drawn once
double_peak         any d   two narrow peaks on the diagonal of the unit cube (importance sampling)
"""

import inspect
import math
from functools import partial

import torch

from ..physics.toy_shower import ToyShower
from .columns import whole_number
from .events import Events
from .toy_densities import DoublePeak, GaussianMixture, OneOverX, Ramp, Ring


def make_toy(name, **settings):
    """Return a toy distribution by its name: dimension, log_prob(x) and sample(n, generator).

    Arguments:
        name: one of the table at the head of this module.
        settings: of the distribution, such as dimension=10 for "double_peak" or offset=0.1 for "one_over_x".
    Shapes:
        log_prob: x (n, d) -> (n,); sample: -> (n, d) float64
    Raises:
        ValueError: an unknown name, or settings out of range. TypeError: a setting that the toy does not have.
    Example:
        >>> toy = make_toy("wedge_ramp")
        >>> toy.log_prob(torch.tensor([[0.5, 0.3]])).exp()
        tensor([1.])
    """
    if name not in TOYS:
        raise ValueError(f"there is no toy {name!r}; the toys are: {', '.join(TOYS)}")
    signature = inspect.signature(TOYS[name])
    if unknown := set(settings) - set(signature.parameters):
        takes = ", ".join(signature.parameters) or "no settings"
        raise TypeError(f"the toy {name!r} has no setting {', '.join(sorted(unknown))}; it takes: {takes}")
    return TOYS[name](**settings)


def load_toy(name, n, seed=1, **settings):
    """Return n points of a toy distribution as events with one column x (n, d), float64, without unit.

    Arguments:
        name, settings: as in `make_toy`.
        seed: integer >= 0; the same seed gives the same points.
    Shapes:
        x (n, d)
    Raises:
        ValueError: an unknown name, n < 1, a negative seed, settings out of range. TypeError: an unknown setting.
    Example:
        >>> load_toy("double_peak", n=1000, seed=1, dimension=4)
        Events(1,000 events: x (n, 4) 1)
    """
    toy = make_toy(name, **settings)
    provenance = {"what": f"toy distribution {name}", "settings": settings, "seed": seed}
    return Events({"x": toy.sample(n, _generator(seed))}, {"x": "1"}, provenance)


def load_toy_shower(n, seed=1, **settings):
    """Return n jets of the toy shower, each a quark or a gluon with equal odds, with the exact likelihood ratio.

    Arguments:
        settings: of `physics.toy_shower.ToyShower`, such as pt=500.0 or alpha_s=0.2.
    Shapes:
        constituents (n, particles, 4): (E, px, py, pz) [GeV], ordered in pT, zero-padded; label (n,): 1 quark, 0 gluon;
        emissions (n, particles - 1, 3): ln(R / theta), ln(kT / GeV), phi, ordered in angle, zero-padded;
        mask (n, particles - 1): True for an emission; log_likelihood_ratio (n,): log p(quark) - log p(gluon)
    Raises:
        ValueError: n < 1, a negative seed, settings out of range.
    Example:
        >>> events = load_toy_shower(n=1000, seed=1)
        >>> events["constituents"].shape[0], events["label"].unique()
        (1000, tensor([0, 1]))
    """
    shower, generator, n = ToyShower(**settings), _generator(seed), whole_number("n", n, 1)
    label = torch.randint(2, (n,), generator=generator)
    emissions = shower.sample(label, generator)
    columns = {
        "constituents": shower.constituents(emissions).float(),
        "label": label,
        "emissions": emissions,
        "mask": shower.present(emissions),
        "log_likelihood_ratio": shower.log_likelihood_ratio(emissions),
    }
    units = {name: "GeV" if name == "constituents" else "1" for name in columns}
    return Events(columns, units, {"what": "toy shower; label 1 quark, 0 gluon", "settings": settings, "seed": seed})


def entropy(toy, n=2**18, seed=1):
    """Return the entropy of a toy in nats and its error: no model has a smaller mean of -log_prob on new points.

        H = -integral p(x) log p(x) dx

    Ramps: by formula. Rings: adaptive quadrature over the radius. One dimension: the mean over n equally likely points,
    the error its change when n is halved. Else: the mean over n random points, the error its standard deviation.

    Shapes:
        two numbers
    Example:
        >>> value, error = entropy(make_toy("wedge_ramp"))          # 1/2 - log 2
        >>> round(value, 4), error
        (-0.1931, 0.0)
    """
    if hasattr(toy, "entropy"):
        return toy.entropy()
    if toy.dimension == 1 and hasattr(toy, "quantile"):
        fine, coarse = (_mean_surprise(toy, points) for points in (n, n // 2))
        return fine, abs(fine - coarse)
    surprise = -toy.log_prob(toy.sample(n, _generator(seed)))
    return float(surprise.mean()), float(surprise.std() / n**0.5)


def _mean_surprise(toy, n):
    u = (torch.arange(n, dtype=torch.float64) + 0.5) / n  # x = quantile(u) turns the integral into one over (0, 1)
    return -float(toy.log_prob(toy.quantile(u)[:, None]).mean())


def two_moons(width=0.1, components=32):
    """Return two half circles of radius 1, each a row of Gaussians so close that no ripple is left.

        ripple = 2 exp(-2 pi^2 (width components / pi)^2) = 3e-9 for the defaults

    Shapes:
        d = 2, as in `GaussianMixture`
    Raises:
        ValueError: components so few that the density has a ripple of some percent.
    Example:
        >>> two_moons().sample(3, torch.Generator().manual_seed(1)).shape
        torch.Size([3, 2])
    """
    if width * components < 1.6:
        raise ValueError(f"{components} components of width {width:g} leave gaps; take at least {1.6 / width:.0f}")
    phi = (torch.arange(components, dtype=torch.float64) + 0.5) * math.pi / components
    upper = torch.stack([phi.cos(), phi.sin()], dim=1)
    lower = torch.stack([1 - phi.cos(), 0.5 - phi.sin()], dim=1)
    return GaussianMixture(torch.cat([upper, lower]), width)


def gaussian_mixture(dimension=4, components=5, spread=3.0, seed=1):
    """Return Gaussians with correlations: means of width `spread`, covariances 1/4 + A A^T / d with A drawn once.

    Shapes:
        any d, as in `GaussianMixture`
    Example:
        >>> gaussian_mixture(dimension=10).dimension
        10
    """
    draw = partial(torch.randn, dtype=torch.float64, generator=_generator(seed))
    means, a = spread * draw(components, dimension), draw(components, dimension, dimension)
    return GaussianMixture(
        means, torch.eye(dimension, dtype=torch.float64) / 4 + a @ a.mT / dimension, range(1, components + 1)
    )


def eight_gaussians(radius=2.0, width=0.2):
    """Return eight Gaussians on a circle.

    Shapes:
        d = 2, as in `GaussianMixture`
    Example:
        >>> eight_gaussians().means.shape
        torch.Size([8, 2])
    """
    phi = torch.arange(8, dtype=torch.float64) * math.pi / 4
    return GaussianMixture(radius * torch.stack([phi.cos(), phi.sin()], dim=1), width)


def grid_of_gaussians(side=5, spacing=1.0, width=0.1):
    """Return side x side Gaussians on a square grid around zero.

    Shapes:
        d = 2, as in `GaussianMixture`
    Example:
        >>> grid_of_gaussians().means.shape
        torch.Size([25, 2])
    """
    line = spacing * (torch.arange(side, dtype=torch.float64) - (side - 1) / 2)
    return GaussianMixture(torch.cartesian_prod(line, line), width)


def _camel(distance=8.0, width=1.0):
    return GaussianMixture([[-distance / 2], [distance / 2]], width)


def _ring(radius=4.0, width=1.0):
    return Ring(radius, width)


def _gaussian_ring(radius=4.0, width=1.0):
    return Ring(radius, width, angle=math.pi)


def _smooth_ring(radius=4.0, width=1.0):
    return Ring(radius, width, power=1)


def _wedge_ramp():
    return Ramp(1)


def _kicker_ramp():
    return Ramp(2)


TOYS = {
    "camel": _camel,
    "one_over_x": OneOverX,
    "ring": _ring,
    "gaussian_ring": _gaussian_ring,
    "smooth_ring": _smooth_ring,
    "wedge_ramp": _wedge_ramp,
    "kicker_ramp": _kicker_ramp,
    "two_moons": two_moons,
    "eight_gaussians": eight_gaussians,
    "grid_of_gaussians": grid_of_gaussians,
    "gaussian_mixture": gaussian_mixture,
    "double_peak": DoublePeak,
}


def _generator(seed):
    return torch.Generator().manual_seed(whole_number("seed", seed, 0))
