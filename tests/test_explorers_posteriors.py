"""The explorers of lecture 03 against posteriors that can be worked out another way."""

import math

import pytest
import torch

from lhcml_tutor.explorers import posteriors
from lhcml_tutor.explorers.fitting import noisy_points


@pytest.mark.parametrize("settings", [{"points": 2}, {"points": 48, "width": 0.3}, {"points": 0}])
def test_the_line_is_the_posterior_of_its_two_parameters(settings):
    result = posteriors.gap.compute(**{**posteriors.gap.defaults, **settings})
    width = settings.get("width", posteriors.gap.defaults["width"])

    def design(x):
        return torch.stack([torch.ones_like(x), x], dim=1)

    phi, at = design(result.x), design(result.grid)
    covariance = torch.linalg.inv(phi.T @ phi / posteriors.NOISE**2 + torch.eye(2, dtype=torch.float64) / width**2)
    mean = covariance @ phi.T @ result.y / posteriors.NOISE**2
    torch.testing.assert_close(result.line.mean, at @ mean, rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(result.line.band, ((at @ covariance) * at).sum(1).sqrt(), rtol=1e-5, atol=1e-8)


def test_the_kernel_is_the_covariance_of_wide_networks():
    generator = torch.Generator().manual_seed(1)
    x, networks, units, width = torch.tensor([-1.0, 0.1, 0.8], dtype=torch.float64), 20_000, 50, 2.0
    slopes, offsets, last = (
        torch.randn(networks, units, 1, generator=generator, dtype=torch.float64) for _ in range(3)
    )
    f = (last * torch.erf(posteriors.SLOPES * slopes * x + posteriors.OFFSETS * offsets)).sum(1)
    f = width / math.sqrt(units) * f
    f = f + posteriors.CONSTANT * torch.randn(networks, 1, generator=generator, dtype=torch.float64)
    kernel = posteriors.network_kernel(x, x, width)
    error = (kernel.diag()[:, None] * kernel.diag() + kernel**2).sqrt() / math.sqrt(networks)
    assert ((f.T @ f / networks - kernel).abs() < 5 * error).all()


def test_without_points_every_posterior_is_its_prior():
    result = posteriors.gap.compute(**{**posteriors.gap.defaults, "points": 0})
    assert torch.allclose(result.exact.mean, torch.zeros_like(result.grid))
    prior = posteriors.network_kernel(result.grid, result.grid, 1.0).diag().sqrt()
    torch.testing.assert_close(result.exact.band, prior, rtol=1e-6, atol=1e-8)
    assert (result.network.band / prior - 1).abs().max() < 0.25  # 30 units, 300 draws, a short training
    assert result.network.mean.abs().max() < 0.3
    assert "0 points" in posteriors.gap.summary(result) and "nan" not in posteriors.gap.summary(result)


def test_the_exact_posterior_is_calibrated_over_truths_from_the_prior():
    generator = torch.Generator().manual_seed(2)
    x, _ = posteriors.points_beside_a_gap(24, gap=0.8)
    grid = torch.tensor([0.0, 0.7], dtype=torch.float64)  # in the gap, at the points
    both, toys = torch.cat([x, grid]), 4000
    root = torch.linalg.cholesky(posteriors.network_kernel(both, both, 1.0) + 1e-10 * torch.eye(26))
    curves = root @ torch.randn(26, toys, generator=generator, dtype=torch.float64)
    y = curves[:24] + posteriors.NOISE * torch.randn(24, toys, generator=generator, dtype=torch.float64)
    blocks = [posteriors.network_kernel(a, b, 1.0) for a, b in ((grid, grid), (grid, x), (x, x))]
    mean, band = posteriors._gaussian_posterior(*blocks, y)
    pulls = (curves[24:] - mean) / band[:, None]
    assert (pulls.square().mean(1) - 1).abs().max() < 5 * math.sqrt(2 / toys)


def test_mean_field_is_too_wide_at_the_points_and_too_narrow_in_the_gap():
    result = posteriors.gap.compute(**{**posteriors.gap.defaults, "points": 48})
    ratio = result.network.band / result.exact.band
    at_points = (result.grid.abs() > 0.4) & (result.grid.abs() < 1)
    assert ratio[at_points].mean() > 1.5
    assert ratio[result.grid.abs() < 0.1].mean() < 1.1


@pytest.mark.parametrize("points", [0, 1, 2, 5, 96])
@pytest.mark.parametrize("gap", [0.0, 1.6])
def test_no_point_lies_in_the_gap(points, gap):
    x, y = posteriors.points_beside_a_gap(points, gap)
    assert x.shape == y.shape == (points,)
    assert ((x.abs() >= gap / 2) & (x.abs() <= 1)).all()


def test_the_square_of_the_pull_falls_by_the_spread():
    x, y = noisy_points(60, noise=0.1, seed=1)
    f, sigma = posteriors.train_members(x, y, steps=30, seed=1, members=8)(x)
    averaged, mixture = posteriors.pull_widths(f, sigma, y[:, 0], members=8)
    variance, spread = sigma.square().mean(0), f.var(0, correction=0)
    members = ((y[:, 0] - f).square().mean(0) / variance).mean()
    assert averaged**2 == pytest.approx(float(members - (spread / variance).mean()), rel=1e-4)
    assert mixture < averaged


def test_pull_widths_average_over_all_groups():
    generator = torch.Generator().manual_seed(3)
    f, sigma, y = torch.randn(4, 500, generator=generator), torch.ones(4, 500), torch.zeros(500)
    pairs = [posteriors.pull_widths(f[i : i + 2], sigma[i : i + 2], y, members=2) for i in (0, 2)]
    both = posteriors.pull_widths(f, sigma, y, members=2)
    assert both == pytest.approx([sum(parts) / 2 for parts in zip(*pairs, strict=True)])
    single = posteriors.pull_widths(f, sigma, y, members=1)
    assert single[0] == single[1]  # a single member has no spread


def test_an_ensemble_of_poor_networks_is_too_wide_and_the_mixture_wider():
    result = posteriors.members.compute(members=32, steps=50, points=100, noise=0.1)
    averaged, mixture = result.widths.T
    assert averaged[0] == pytest.approx(mixture[0])
    assert averaged[-1] < averaged[0] - 0.1 and mixture[-1] < averaged[-1] - 0.05
    late = posteriors.members.compute(members=32, steps=400, points=50, noise=0.1)
    assert late.at[0] > late.at[1] > 1.1  # overfitted: both too narrow, the mixture less so
    assert "too wide" in posteriors.members.summary(result) and "too narrow" in posteriors.members.summary(late)


def test_members_do_not_depend_on_how_many_are_shown():
    results = [posteriors.members.compute(members=n, steps=20, points=50, noise=0.1) for n in (1, 32)]
    assert torch.equal(results[0].widths, results[1].widths)


def test_the_random_numbers_of_the_notebook_go_on():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    posteriors.gap.compute(points=2, width=1.0, gap=0.8)
    posteriors.members.compute(members=2, steps=20, points=30, noise=0.1)
    assert torch.equal(torch.rand(3), expected)
