"""Toy distributions: the density is that of the samples, integrates to one, and can be differentiated."""

import math
import re

import pytest
import torch
from scipy import stats
from scipy.integrate import quad

from lhcml_tutor.datasets import toy_densities, toys
from lhcml_tutor.datasets.toys import TOYS, entropy, load_toy, make_toy

TWO = ["ring", "gaussian_ring", "smooth_ring", "wedge_ramp", "kicker_ramp", "two_moons"]
TWO += ["eight_gaussians", "grid_of_gaussians", "double_peak"]
BOX = {
    "wedge_ramp": (0, 1, 0, 1),
    "kicker_ramp": (0, 1, 0, 1),
    "two_moons": (-2, 3, -1.5, 2),
    "gaussian_ring": (-9, 9, 0, 9),
}
SMALL = {"eight_gaussians": (-3.2, 3.2, -3.2, 3.2), "grid_of_gaussians": (-3, 3, -3, 3), "double_peak": (0, 1, 0, 1)}


def generator(seed=1):
    return torch.Generator().manual_seed(seed)


def grid(name, cells):
    """Return the centres of cells x cells squares (n, 2) that hold the toy, and the area of one."""
    left, right, bottom, top = (BOX | SMALL).get(name, (-9, 9, -9, 9))
    x = left + (right - left) * (torch.arange(cells, dtype=torch.float64) + 0.5) / cells
    y = bottom + (top - bottom) * (torch.arange(cells, dtype=torch.float64) + 0.5) / cells
    return torch.cartesian_prod(x, y), (right - left) * (top - bottom) / cells**2


@pytest.mark.parametrize(("name", "settings"), [("camel", {}), ("one_over_x", {}), ("one_over_x", {"offset": 0.1})])
def test_one_dimension_against_an_integral_of_the_density(name, settings):
    toy = make_toy(name, **settings)
    low, high = (-13.0, 13.0) if name == "camel" else (toy.low, toy.high)
    nodes = torch.linspace(low, high, 40_001, dtype=torch.float64)
    p = toy.log_prob(nodes[:, None]).exp()
    integral = torch.cat([torch.zeros(1), torch.cumulative_trapezoid(p, nodes)])
    assert float(integral[-1]) == pytest.approx(1, abs=2e-6)
    x = toy.sample(400_000, generator())[:, 0]
    place = torch.searchsorted(nodes, x).clamp(1, len(nodes) - 1)
    share = (x - nodes[place - 1]) / (nodes[place] - nodes[place - 1])
    u = integral[place - 1] + share * (integral[place] - integral[place - 1])
    assert stats.kstest(u.numpy(), "uniform").pvalue > 0.001
    assert torch.allclose(toy.cdf(nodes), integral, atol=2e-6)
    assert torch.allclose(toy.cdf(toy.quantile(nodes.new_tensor([0.1, 0.5, 0.9]))), nodes.new_tensor([0.1, 0.5, 0.9]))


@pytest.mark.parametrize("name", TWO)
def test_two_dimensions_chi2_on_a_grid_and_integral_one(name):
    toy, cells, fine = make_toy(name), 24, 20
    points, area = grid(name, cells * fine)
    density = toy.log_prob(points).exp()
    # rings with 1 / r: the midpoint rule converges slowly around the centre, where there is little
    assert float(density.sum() * area) == pytest.approx(1, abs=2e-4 if "ring" in name else 2e-5)
    expected = (density * area).reshape(cells, fine, cells, fine).sum((1, 3)).flatten()
    n = 100_000
    x = toy.sample(n, generator(2))
    left, right, bottom, top = (BOX | SMALL).get(name, (-9, 9, -9, 9))
    column = ((x[:, 0] - left) / (right - left) * cells).long().clamp(0, cells - 1)
    row = ((x[:, 1] - bottom) / (top - bottom) * cells).long().clamp(0, cells - 1)
    found = torch.bincount(column * cells + row, minlength=cells**2).double()
    full = expected * n > 10
    chi2 = ((found - n * expected)[full] ** 2 / (n * expected)[full]).sum()
    assert stats.chi2.sf(float(chi2), int(full.sum()) - 1) > 0.001


@pytest.mark.parametrize("name", ["gaussian_mixture", "double_peak"])
@pytest.mark.parametrize("dimension", [1, 3, 8])
def test_any_dimension_integrates_to_one(name, dimension):
    toy = make_toy(name, dimension=dimension)
    x = toy.sample(100_000, generator(3))
    assert x.shape == (100_000, dimension)
    # a wider density q of the same shape: <p / q>_q = 1
    if name == "double_peak":
        wide = toy_densities.DoublePeak(dimension, width=0.1)
    else:
        wide = toy_densities.GaussianMixture(toy.means, 1.5 * toy.cholesky @ toy.cholesky.mT)
    ratio = (toy.log_prob(y := wide.sample(100_000, generator(4))) - wide.log_prob(y)).exp()
    assert float(ratio.mean()) == pytest.approx(1, abs=5 * float(ratio.std()) / 100_000**0.5)
    inverse = (wide.log_prob(x) - toy.log_prob(x)).exp()  # and samples of p: <q / p>_p = 1
    assert float(inverse.mean()) == pytest.approx(1, abs=max(5 * float(inverse.std()) / 100_000**0.5, 1e-6))


@pytest.mark.parametrize("name", TOYS)
def test_gradients_are_finite_and_those_of_differences(name):
    toy = make_toy(name)
    x = toy.sample(200, generator()).requires_grad_()
    value = toy.log_prob(x)
    assert value.dtype == torch.float64 and value.shape == (200,) and value.isfinite().all()
    (gradient,) = torch.autograd.grad(value.sum(), x)
    assert gradient.isfinite().all()
    step = 1e-6 * torch.eye(toy.dimension, dtype=torch.float64)[0]
    up, down = toy.log_prob(x.detach() + step), toy.log_prob(x.detach() - step)
    inside = up.isfinite() & down.isfinite()
    difference = (up - down)[inside] / 2e-6
    assert inside.sum() > 150 and torch.allclose(difference, gradient[inside, 0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", TOYS)
def test_same_seed_same_points_and_single_precision(name):
    first, second, other = load_toy(name, 300, seed=3), load_toy(name, 300, seed=3), load_toy(name, 300, seed=4)
    assert torch.equal(first["x"], second["x"]) and not torch.equal(first["x"], other["x"])
    assert first["x"].dtype == torch.float64 and first.units == {"x": "1"} and first.provenance["seed"] == 3
    toy = make_toy(name)
    value = toy.log_prob(first["x"].float())
    assert value.dtype == torch.float32 and torch.allclose(value.double(), toy.log_prob(first["x"]), atol=2e-2)


def test_closed_forms():
    camel, ring, wedge = (make_toy(name) for name in ("camel", "ring", "wedge_ramp"))
    at = torch.tensor([[4.0], [0.0]], dtype=torch.float64)
    both = [(stats.norm.pdf(x - 4) + stats.norm.pdf(x + 4)) / 2 for x in (4.0, 0.0)]
    assert camel.log_prob(at).exp().tolist() == pytest.approx(both)
    assert float(ring.log_prob(torch.tensor([[0.0, -3.0]])).exp()) == pytest.approx(
        stats.norm.pdf(1) / (6 * math.pi), rel=1e-4
    )
    assert wedge.log_prob(torch.tensor([[0.25, 0.5]])).exp().tolist() == pytest.approx([0.5])
    assert make_toy("gaussian_ring").log_prob(torch.tensor([[0.0, -4.0]])).tolist() == [-math.inf]
    line = make_toy("one_over_x", offset=0.1)
    assert line.integral == pytest.approx(quad(lambda x: 1 / x + 0.1, 1, 100)[0])


@pytest.mark.parametrize("power", [0, 1])
def test_a_wide_ring_is_cut_at_its_centre(power):
    ring, n = toy_densities.Ring(1.0, 1.0, power), 50_000

    def density(r):
        return 2 * math.pi * r * float(ring.log_prob(torch.tensor([[r, 0.0]], dtype=torch.float64)).exp())

    assert quad(density, 0, 12)[0] == pytest.approx(1, abs=1e-8)
    radius = torch.linalg.vector_norm(ring.sample(n, generator()), dim=1)
    mean = quad(lambda r: r * density(r), 0, 12)[0]
    assert abs(float(radius.mean()) - mean) < 4 * float(radius.std()) / n**0.5


def test_event_subtraction_leaves_the_constant():
    both, one = make_toy("one_over_x", offset=0.1), make_toy("one_over_x")
    x = torch.linspace(1, 100, 50, dtype=torch.float64)[:, None]
    left = both.integral * both.log_prob(x).exp() - one.integral * one.log_prob(x).exp()
    assert torch.allclose(left, torch.full_like(left, 0.1), atol=1e-12)


def test_the_double_peak_is_correlated_and_its_margins_are_alike():
    x = make_toy("double_peak", dimension=4).sample(100_000, generator())
    assert torch.corrcoef(x.T)[0, 3] > 0.9 and torch.allclose(x.mean(0), x.new_full((4,), 0.5), atol=0.005)


@pytest.mark.parametrize("name", TOYS)
def test_entropy_is_the_mean_surprise(name):
    toy = make_toy(name)
    value, error = entropy(toy)
    surprise = -toy.log_prob(toy.sample(200_000, generator(9)))
    assert error < 0.01 and abs(value - float(surprise.mean())) < 5 * (float(surprise.std()) / 200_000**0.5 + error)


def test_entropy_of_one_gaussian_and_of_a_line():
    one = toy_densities.GaussianMixture([[0.0]], 2.0)
    assert entropy(one)[0] == pytest.approx(0.5 * math.log(2 * math.pi * math.e * 4), abs=1e-4)
    line = make_toy("one_over_x")  # p = 1 / (x L): H = log L + L / 2
    assert entropy(line)[0] == pytest.approx(math.log(math.log(100)) + math.log(100) / 2, abs=1e-6)
    assert entropy(make_toy("kicker_ramp")) == (2 / 3 - math.log(3), 0.0)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: load_toy("dromedary", 10), r"no toy 'dromedary'; the toys are: camel, one_over_x"),
        (lambda: load_toy("camel", -5), "n must be an integer >= 1, not -5"),
        (lambda: load_toy("camel", 0), "n must be an integer >= 1, not 0"),
        (lambda: load_toy("camel", 2.5), r"n must be an integer >= 1, not 2.5"),
        (lambda: load_toy("camel", 5, seed=-1), "seed must be an integer >= 0, not -1"),
        (lambda: make_toy("double_peak", width=0), r"width=0 positive"),
        (lambda: make_toy("one_over_x", low=0.0), r"low=0"),
        (lambda: make_toy("ring", width=-1.0), r"width=-1.0 must be positive"),
        (lambda: make_toy("two_moons", components=4), r"leave gaps; take at least 16"),
        (lambda: toy_densities.Ramp(0), r"power=0 must be positive"),
        (lambda: toy_densities.GaussianMixture([[0.0]], 0.0), r"must be positive"),
        (lambda: make_toy("camel").log_prob(torch.zeros(5)), r"shape \(n, 1\).*not \(5,\)"),
        (lambda: make_toy("two_moons").cdf(torch.zeros(5)), r"in one dimension, not in 2"),
    ],
)
def test_what_cannot_be_is_named(call, said):
    with pytest.raises(ValueError, match=said):
        call()


def test_an_unknown_setting_is_named():
    with pytest.raises(TypeError, match=r"'camel' has no setting dimension; it takes: distance, width"):
        make_toy("camel", dimension=3)


def test_the_table_of_the_docstring_has_every_toy():
    assert all(re.search(rf"\n *{name} ", toys.__doc__) for name in TOYS)
