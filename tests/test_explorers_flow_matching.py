"""The explorers of lecture 08: the velocity by formula against the continuity equation, and the solvers' errors."""

import math

import pytest
import torch

import lhcml_tutor as lt
from lhcml_tutor.datasets.toy_densities import GaussianMixture
from lhcml_tutor.explorers import flow_matching as explorers
from lhcml_tutor.flow_matching import exact_divergence, integrate_with_divergence

TOYS = ["eight Gaussians", "two moons", "grid"]


def noise(n, seed=1):
    return torch.randn(n, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("toy", TOYS)
@pytest.mark.parametrize("t", [0.0, 0.3, 0.9])
def test_velocity_and_density_fulfil_the_continuity_equation(toy, t):
    means, width = explorers.toy_means(toy)
    x = GaussianMixture(t * means, math.sqrt((1 - t) ** 2 + t**2 * width**2)).sample(
        50, torch.Generator().manual_seed(2)
    )
    x.requires_grad_()
    log_p = explorers.mixture_at(means, width, t).log_prob(x)
    (slope,) = torch.autograd.grad(log_p.sum(), x)
    x = x.detach()
    step = 1e-5
    later, earlier = (explorers.mixture_at(means, width, t + sign * step).log_prob(x) for sign in (1, -1))

    def field(y, time):
        return explorers.mixture_velocity(means, width, y, time)

    rate = (later - earlier) / (2 * step)
    flow = exact_divergence(field, x, t) + (field(x, t) * slope).sum(1)  # (div p v) / p
    torch.testing.assert_close(rate, -flow, rtol=1e-4, atol=1e-4)
    assert (rate.abs() > 0.1).any()
    assert not torch.allclose(rate, flow, rtol=1e-2, atol=1e-2)  # negative control: the sign


@pytest.mark.parametrize("toy", TOYS)
def test_the_field_carries_noise_to_the_toy(toy):
    means, width = explorers.toy_means(toy)
    x_0 = noise(100, seed=3)
    x, integral = integrate_with_divergence(
        lambda y, t: explorers.mixture_velocity(means, width, y, t), x_0, 0.0, 1.0, 150
    )
    log_p = -0.5 * x_0.square().sum(1) - math.log(2 * math.pi) - integral
    torch.testing.assert_close(log_p, GaussianMixture(means, width).log_prob(x), rtol=0, atol=1e-4)


def test_the_toys_are_those_of_the_package():
    for name, toy in (("eight Gaussians", "eight_gaussians"), ("grid", "grid_of_gaussians")):
        means, width = explorers.toy_means(name)
        package = lt.datasets.toys.make_toy(toy)
        assert torch.equal(means, package.means)
        assert torch.allclose(package.cholesky, width * torch.eye(2, dtype=torch.float64))


@pytest.mark.parametrize("follow", ["field", "straight lines"])
def test_both_kinds_of_path_have_the_same_density(follow):
    """Of very many points; what differs is who goes where."""
    explorers_points, explorers.POINTS = explorers.POINTS, 4000
    try:
        result = explorers.paths.compute(time=0.5, toy="eight Gaussians", follow=follow)
    finally:
        explorers.POINTS = explorers_points
    means, width = explorers.toy_means("eight Gaussians")
    p = explorers.mixture_at(means, width, 0.5)
    x = result.track[-1]
    log_p = p.log_prob(x)
    other = p.log_prob(p.sample(100_000, torch.Generator().manual_seed(5)))
    assert abs(log_p.mean() - other.mean()) < 5 * other.std() / math.sqrt(4000)


def test_time_runs_from_noise_to_the_toy():
    start, end = (explorers.paths.compute(time=t, toy="grid", follow="field") for t in (0.0, 1.0))
    assert len(start.track) == 1 and torch.equal(start.track[0], end.track[0])
    means, _ = explorers.toy_means("grid")
    assert torch.cdist(end.track[-1], means).min(1).values.max() < 0.5
    assert "nan" not in explorers.paths.summary(start)
    straight = explorers.paths.compute(time=1.0, toy="grid", follow="straight lines")
    assert float(straight.length / straight.direct) == pytest.approx(1.0)
    assert end.length / end.direct > 1.01  # the field bends
    assert straight.length > end.length  # and saves way


def test_errors_of_solvers_fall_as_they_should():
    result = explorers.solvers.compute(method="rk4", steps=10, toy="eight Gaussians", count="steps")
    steps = explorers.STEPS
    i, j = steps.index(100), steps.index(200)
    for name, order in (("euler", 1), ("midpoint", 2), ("rk4", 4)):
        exponent = math.log2(result.error[name][i] / result.error[name][j])
        assert exponent > 0.8 * order, (name, exponent)
    assert result.error["rk4"][j] < 1e-5 < result.error["euler"][j]
    again = explorers.solvers.compute(method="rk4", steps=10, toy="eight Gaussians", count="evaluations")
    assert again.cost["rk4"] == [4 * n for n in steps] and torch.equal(again.error["rk4"], result.error["rk4"])
    end = (result.track[-1] - result.exact).norm(dim=1).mean()  # 40 of the 100 points
    assert float(end) == pytest.approx(float(result.chosen), rel=2)


def test_the_random_numbers_of_the_notebook_go_on():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    for explorer in (explorers.paths, explorers.solvers):
        explorer.compute(**explorer.defaults)
    assert torch.equal(torch.rand(3), expected)
