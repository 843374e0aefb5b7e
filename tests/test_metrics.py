"""Every metric on a case with a known answer, and beside it a planted fault that it must see."""

import math

import numpy as np
import pytest
import torch

from lhcml_tutor import metrics


def gaussian(n, seed=1):
    return torch.randn(n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_auc_of_two_shifted_gaussians_is_the_closed_form():
    n = 40_000
    score = torch.cat([gaussian(n, 1) + 1, gaussian(n, 2)])
    label = torch.cat([torch.ones(n), torch.zeros(n)])
    exact = 0.5 * (1 + math.erf(0.5))  # Phi(d / sqrt 2) for distance d = 1
    assert metrics.auc(score, label) == pytest.approx(exact, abs=0.006)
    assert metrics.auc(-score, label) == pytest.approx(1 - exact, abs=0.006)  # planted: sign of the score
    shuffled = label[torch.randperm(2 * n, generator=torch.Generator().manual_seed(3))]
    assert metrics.auc(score, shuffled) == pytest.approx(0.5, abs=0.01)  # planted: shuffled labels


def test_auc_counts_ties_as_one_half():
    assert metrics.auc([1.0, 1.0], [0, 1]) == 0.5


def test_rejection_of_uniform_scores_is_the_closed_form():
    n = 200_000
    uniform = torch.rand(2 * n, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    label = torch.cat([torch.ones(n), torch.zeros(n)])
    score = torch.where(label == 1, uniform.sqrt(), uniform)  # signal density 2s: eps_S = 1 - c^2, eps_B = 1 - c
    exact = 1 / (1 - math.sqrt(0.7))
    result = metrics.rejection(score, label, signal_efficiency=0.3)
    assert abs(result.value - exact) < 5 * result.error
    assert result.error < 0.01 * exact
    wrong = metrics.rejection(score, 1 - label, signal_efficiency=0.3)  # planted: classes exchanged
    assert abs(wrong.value - exact) > 100 * result.error


def test_error_of_the_rejection_is_the_scatter_over_samples():
    found = []
    for seed in range(300):
        generator = torch.Generator().manual_seed(seed)
        score = torch.cat([torch.linspace(0, 1, 1001), torch.rand(1000, generator=generator)])
        found.append(metrics.rejection(score, torch.cat([torch.ones(1001), torch.zeros(1000)]), 0.2))
    scatter = np.std([result.value for result in found])
    assert np.median([result.error for result in found]) == pytest.approx(scatter, rel=0.15)


def test_rejection_without_background_is_infinite():
    assert metrics.rejection([0.9, 0.1], [1, 0], 1.0).value == math.inf


def test_relative_error_refuses_shapes_that_would_broadcast():
    prediction = torch.ones(5, 1)
    assert metrics.relative_error(prediction, 2 * torch.ones(5, 1)).tolist() == [-0.5] * 5
    with pytest.raises(ValueError, match=r"squeeze\(-1\)"):
        metrics.relative_error(prediction, torch.ones(5))
    with pytest.raises(ValueError, match="1 true values are zero"):
        metrics.relative_error([1.0, 1.0], [0.0, 1.0])


def test_quantiles_of_a_gaussian():
    summary = metrics.quantile_summary(gaussian(200_000))
    assert summary["median"] == pytest.approx(0.6745, abs=0.01)
    assert summary["68%"] == pytest.approx(0.9945, abs=0.01)
    assert summary["99%"] == pytest.approx(2.5758, abs=0.03)
    signed = np.quantile(gaussian(200_000).numpy(), 0.5)  # planted: without the absolute value
    assert abs(signed - 0.6745) > 0.5


def test_pulls_of_a_calibrated_prediction_and_of_one_that_is_too_sure():
    n = 50_000
    truth, sigma = gaussian(n, 1), 0.5 + gaussian(n, 2).abs()
    prediction = truth + sigma * gaussian(n, 3)
    calibrated = metrics.pulls(prediction, sigma, truth)
    width = metrics.pull_width(calibrated)
    assert abs(width["robust"].value - 1) < 5 * width["robust"].error
    assert abs(width["std"].value - 1) < 5 * width["std"].error
    covered = metrics.coverage(calibrated)
    assert abs(covered.value - metrics.GAUSSIAN_68) < 5 * covered.error

    too_sure = metrics.pulls(prediction, 0.9 * sigma, truth)  # planted: sigma 10% too small
    width = metrics.pull_width(too_sure)
    assert width["robust"].value - 1 > 5 * width["robust"].error
    assert width["std"].value - 1 > 5 * width["std"].error
    covered = metrics.coverage(too_sure)
    assert metrics.GAUSSIAN_68 - covered.value > 5 * covered.error


def test_the_robust_width_does_not_feel_tails_that_the_std_feels():
    values = torch.cat([gaussian(20_000), torch.full((100,), 50.0, dtype=torch.float64)])
    width = metrics.pull_width(values)
    assert width["robust"].value == pytest.approx(1, abs=0.03)
    assert width["std"].value > 3


def test_errors_of_the_widths_are_the_scatter_over_samples():
    found = [metrics.pull_width(gaussian(500, seed)) for seed in range(400)]
    for name in ("robust", "std"):
        scatter = np.std([width[name].value for width in found])
        assert np.mean([width[name].error for width in found]) == pytest.approx(scatter, rel=0.12)


@pytest.mark.parametrize("level", [0.5, 0.95])
def test_coverage_at_other_levels(level):
    covered = metrics.coverage(gaussian(40_000), level)
    assert abs(covered.value - level) < 5 * covered.error
    assert covered.error == pytest.approx(math.sqrt(level * (1 - level) / 40_000))


def test_bootstrap_finds_the_error_of_a_mean_and_keeps_rows_together():
    x = gaussian(2000)
    estimate = metrics.bootstrap(torch.mean, x)
    assert estimate.value == pytest.approx(float(x.mean()))
    assert estimate.error == pytest.approx(float(x.std()) / math.sqrt(2000), rel=0.2)
    together = metrics.bootstrap(lambda a, b: (a - b).abs().max(), x, x.clone())
    assert together == (0.0, 0.0)  # rows drawn apart would give a difference
    assert metrics.bootstrap(torch.mean, x) == estimate  # seeded


def test_power_law_is_exact_without_noise():
    x = torch.tensor([1e3, 3e3, 1e4, 1e5])
    law = metrics.power_law_fit(x, 5 * x.double() ** -0.7)
    assert law.exponent == pytest.approx(-0.7, abs=1e-6)
    assert law.prefactor == pytest.approx(5, rel=1e-5)
    assert law.error < 1e-6


@pytest.mark.parametrize("given", [True, False])
def test_error_of_the_exponent_is_the_scatter_over_samples(given):
    x = np.geomspace(1e2, 1e5, 10)
    found = []
    for seed in range(400):
        noise = np.random.default_rng(seed).normal(size=10)
        y = 2 * x**-0.5 * np.exp(0.1 * noise)
        found.append(metrics.power_law_fit(x, y, 0.1 * y if given else None))
    scatter = np.std([law.exponent for law in found])
    assert np.mean([law.exponent for law in found]) == pytest.approx(-0.5, abs=5 * scatter / 20)
    assert np.mean([law.error for law in found]) == pytest.approx(scatter, rel=0.12)


def test_power_law_weights_points_by_their_errors():
    x, y = [1.0, 10.0, 100.0], [1.0, 0.1, 1.0]
    law = metrics.power_law_fit(x, y, [0.001, 0.0001, 1000.0])  # the third point says nothing
    assert law.exponent == pytest.approx(-1, abs=1e-3)
    assert metrics.power_law_fit(x, y).exponent == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: metrics.auc([0.1, 0.2], [1, 1]), "both 0"),
        (lambda: metrics.auc([0.1, float("nan")], [0, 1]), "score has 1 of 2 values not finite"),
        (lambda: metrics.rejection([0.1, 0.2], [0, 1], 30), "fraction of the signal"),
        (lambda: metrics.pulls([1.0], [0.0], [1.0]), "1 of 1 sigmas are not positive"),
        (lambda: metrics.pull_width([1.0, 2.0]), "at least 10"),
        (lambda: metrics.coverage([1.0], 68), "probability"),
        (lambda: metrics.bootstrap(torch.mean, torch.ones(3), torch.ones(4)), "differ in length"),
        (lambda: metrics.power_law_fit([1.0, 2.0], [1.0, 2.0]), "at least 3"),
        (lambda: metrics.power_law_fit([1.0, 2.0, 3.0], [1.0, -2.0, 1.0]), "positive"),
        (lambda: metrics.power_law_fit([1.0, 2.0], [1.0, 2.0], [0.1, 0.0]), "every y_error must be positive"),
        (lambda: metrics.quantile_summary([]), "delta is empty"),
        (lambda: metrics.quantile_summary(torch.ones(3, 2)), r"shape \(n,\) or \(n, 1\)"),
    ],
)
def test_bad_input_says_what_is_wrong(call, message):
    with pytest.raises(ValueError, match=message):
        call()
