"""Every number that judges an uncertainty: a known answer, and a planted miscalibration that it must see."""

import math

import numpy as np
import pytest
import torch

from lhcml_tutor import calibration, likelihoods
from lhcml_tutor.calibration import calibration_error, coverage_curve, pull_fit, sample_cdf, tail_fraction
from lhcml_tutor.metrics import pulls

N = 20_000


def gaussian(n=N, seed=1):
    return torch.randn(n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def heavy(n=N, seed=1):
    """A Student-t of three degrees of freedom, scaled to variance 1: a smaller core and heavy tails."""
    return torch.from_numpy(np.random.default_rng(seed).standard_t(3, n)) / math.sqrt(3)


def sigmas_away(estimate, truth):
    return (estimate.value - truth) / estimate.error


def calibrated(n=N, sigma_factor=1.0, shift=0.0, noise=gaussian):
    """Prediction, sigma and truth of n events; right by default, else wrong in a known way."""
    prediction, sigma = gaussian(n, 11), 0.5 + gaussian(n, 12).abs()
    truth = prediction + sigma * noise(n, 13) + shift * sigma
    return prediction, sigma_factor * sigma, truth


def test_fit_of_calibrated_pulls_is_zero_and_one():
    fit = pull_fit(pulls(*calibrated()))
    assert abs(sigmas_away(fit.mean, 0)) < 4
    assert abs(sigmas_away(fit.width, 1)) < 4
    assert fit.mean.error < 0.01 and fit.width.error < 0.02


@pytest.mark.parametrize(
    ("planted", "mean", "width"),
    [({"sigma_factor": 1.5}, 0, 1 / 1.5), ({"sigma_factor": 1 / 1.5}, 0, 1.5), ({"shift": 0.1}, -0.1, 1)],
)
def test_fit_sees_a_wrong_width_and_a_shift(planted, mean, width):
    fit = pull_fit(pulls(*calibrated(**planted)))
    assert abs(sigmas_away(fit.mean, mean)) < 4
    assert abs(sigmas_away(fit.width, width)) < 4
    assert max(abs(sigmas_away(fit.mean, 0)), abs(sigmas_away(fit.width, 1))) > 10


def test_fit_measures_the_core_and_not_the_tails():
    """Planted and red: the plain mean and standard deviation of all pulls; the density without its cut."""
    core, tail = gaussian(N), 30 + 5 * gaussian(200, 2)  # 1% far on one side
    fit = pull_fit(torch.cat([core, tail]))
    assert fit.mean.value == pytest.approx(0, abs=0.03)
    assert fit.width.value == pytest.approx(1, abs=0.04)
    both = torch.cat([core, tail])
    assert both.mean() > 0.2 and both.std() > 2, "what a plain fit would say"


@pytest.mark.parametrize("window", [1.5, 2.0, 3.0])
def test_errors_of_the_fit_are_the_scatter_over_samples(window):
    fits = [pull_fit(gaussian(1000, seed), window) for seed in range(150)]
    for name in ("mean", "width"):
        found = np.array([getattr(fit, name) for fit in fits])  # (150, 2): value, error
        assert found[:, 0].mean() == pytest.approx(float(name == "width"), abs=5 * found[:, 0].std() / math.sqrt(150))
        assert found[:, 1].mean() == pytest.approx(found[:, 0].std(), rel=0.2)


def test_tails_of_a_gaussian_and_of_heavy_noise():
    right = tail_fraction(gaussian(200_000))
    assert right.expected == pytest.approx(0.0026998, abs=1e-7)
    assert abs(sigmas_away(right.observed, right.expected)) < 4
    wrong = tail_fraction(heavy())
    assert sigmas_away(wrong.observed, wrong.expected) > 10  # planted: variance 1, but heavy tails
    too_sure = tail_fraction(pulls(*calibrated(sigma_factor=1 / 1.5)))
    assert sigmas_away(too_sure.observed, too_sure.expected) > 10  # planted: sigma too small


def test_without_any_event_in_the_tail_the_error_is_that_of_one():
    tails = tail_fraction(torch.zeros(100), beyond=2.0)
    assert tails.observed.value == 0
    assert tails.observed.error == pytest.approx(0.01, rel=0.01)
    assert tails.expected == pytest.approx(0.0455, abs=1e-4)


PREDICTIONS = {
    "gaussian": lambda p, s, y: likelihoods.gaussian_cdf(p, s.log(), y),
    "mixture": lambda p, s, y: likelihoods.mixture_cdf(
        torch.zeros(len(p), 2), p[:, None].expand(-1, 2), s.log()[:, None].expand(-1, 2), y[:, None]
    ),
    "samples": lambda p, s, y: sample_cdf(p + s * gaussian(20 * len(p), 21).view(20, -1), y),
}


@pytest.mark.parametrize("kind", PREDICTIONS)
@pytest.mark.parametrize(
    ("planted", "seen"),
    [({}, False), ({"sigma_factor": 1.5}, True), ({"shift": 0.3}, True), ({"noise": heavy}, True)],
    ids=["calibrated", "factor 1.5", "shifted", "heavy tails"],
)
def test_coverage_is_the_nominal_one_where_calibrated_and_sees_what_is_planted(kind, planted, seen):
    curve = coverage_curve(PREDICTIONS[kind](*calibrated(**planted)))
    away = ((curve.observed - curve.levels) / curve.error).abs().max()
    error = calibration_error(curve)
    if seen:
        assert away > 6
        assert error.value > 5 * error.expected
    else:
        assert away < 4
        assert error.value < 2.5 * error.expected


def test_coverage_with_a_wrong_sigma_is_the_closed_form():
    curve = coverage_curve(PREDICTIONS["gaussian"](*calibrated(sigma_factor=1.5)))
    normal = torch.distributions.Normal(0.0, 1.0)
    exact = 2 * normal.cdf(1.5 * normal.icdf((1 + curve.levels) / 2)) - 1
    assert ((curve.observed - exact) / curve.error).abs().max() < 4


def test_coverage_of_a_mixture_with_two_peaks():
    """A Gaussian of the same mean and variance fails where the mixture is right."""
    n = N
    logits = torch.tensor([1.0, -0.5], dtype=torch.float64).expand(n, 2)
    means = torch.stack([gaussian(n, 2), gaussian(n, 2) + 4], dim=1)
    log_sigmas = torch.tensor([-0.5, 0.3], dtype=torch.float64).expand(n, 2)
    component = torch.multinomial(logits.softmax(1), 1, generator=torch.Generator().manual_seed(3))  # (n, 1)
    truth = means.gather(1, component) + log_sigmas.exp().gather(1, component) * gaussian(n, 4)[:, None]
    right = calibration_error(coverage_curve(likelihoods.mixture_cdf(logits, means, log_sigmas, truth)))
    assert right.value < 2.5 * right.expected
    weights = logits.softmax(1)
    mean = (weights * means).sum(1, keepdim=True)
    variance = (weights * (log_sigmas.exp() ** 2 + means**2)).sum(1, keepdim=True) - mean**2
    wrong = calibration_error(coverage_curve(likelihoods.gaussian_cdf(mean, variance.log() / 2, truth)))
    assert wrong.value > 10 * wrong.expected
    best, worse = (
        calibration.mean_log_likelihood(log_prob)
        for log_prob in (
            likelihoods.mixture_log_prob(logits, means, log_sigmas, truth),
            likelihoods.gaussian_log_prob(mean, variance.log() / 2, truth),
        )
    )
    assert best.value - worse.value > 10 * (best.error + worse.error)


def test_coverage_of_evidential_regression():
    n = N
    generator = np.random.default_rng(5)
    nu, alpha, beta = (torch.full((n, 1), value, dtype=torch.float64) for value in (2.0, 1.5, 0.7))
    gamma = gaussian(n, 6)[:, None]
    variance = torch.from_numpy(0.7 / generator.gamma(1.5, size=(n, 1)))  # inverse gamma
    mean = gamma + (variance / 2).sqrt() * torch.from_numpy(generator.normal(size=(n, 1)))
    truth = mean + variance.sqrt() * torch.from_numpy(generator.normal(size=(n, 1)))
    right = likelihoods.Evidence(gamma, nu, alpha, beta)
    error = calibration_error(coverage_curve(likelihoods.evidential_cdf(right, truth)))
    assert error.value < 2.5 * error.expected
    wrong = right._replace(beta=1.5**2 * beta)  # planted: sigma too large by 1.5
    error = calibration_error(coverage_curve(likelihoods.evidential_cdf(wrong, truth)))
    assert error.value > 5 * error.expected


@pytest.mark.parametrize("members", [3, 30])
def test_rank_among_few_samples_is_uniform(members):
    """Planted and red: rank / M, whose steps put truths at 0 and 1."""
    u = sample_cdf(gaussian(members * N, 3).view(members, N), gaussian(N, 4))
    counts = np.histogram(u, np.linspace(0, 1, 21))[0]
    chi2 = ((counts - N / 20) ** 2 / (N / 20)).sum()
    assert chi2 < 19 + 5 * math.sqrt(2 * 19)
    assert torch.equal(u, sample_cdf(gaussian(members * N, 3).view(members, N), gaussian(N, 4)))  # seeded


def test_expected_calibration_error_is_its_mean_over_calibrated_samples():
    errors = [calibration_error(coverage_curve(torch.special.ndtr(gaussian(500, seed)))) for seed in range(200)]
    assert np.mean([error.value for error in errors]) == pytest.approx(errors[0].expected, rel=0.12)


def test_sharpness_is_the_root_mean_square_and_its_error_the_scatter():
    found = [calibration.sharpness(0.5 + gaussian(400, seed).abs()) for seed in range(300)]
    exact = math.sqrt(0.25 + math.sqrt(2 / math.pi) + 1)
    values = np.array(found)
    assert values[:, 0].mean() == pytest.approx(exact, rel=0.01)
    assert values[:, 1].mean() == pytest.approx(values[:, 0].std(), rel=0.15)
    assert calibration.sharpness(1.5 * torch.ones(10)).value == pytest.approx(1.5)


def test_held_out_likelihood_of_gaussians_is_minus_the_entropy_and_drops_by_the_divergence():
    prediction, sigma, truth = calibrated()
    exact = (-sigma.log() - 0.5 * math.log(2 * math.pi) - 0.5).mean().item()
    right = calibration.mean_log_likelihood(likelihoods.gaussian_log_prob(prediction, sigma.log(), truth))
    assert abs(sigmas_away(right, exact)) < 4
    wrong = likelihoods.gaussian_log_prob(prediction, (1.5 * sigma).log(), truth)  # planted: a factor 1.5
    loss = calibration.mean_log_likelihood(likelihoods.gaussian_log_prob(prediction, sigma.log(), truth) - wrong)
    assert abs(sigmas_away(loss, math.log(1.5) + 0.5 / 1.5**2 - 0.5)) < 4
    assert sigmas_away(loss, 0) > 10


def test_the_right_family_has_the_larger_likelihood_for_heavy_tails():
    """A Student-t of three degrees of freedom against the Gaussian of its variance, both in closed form."""
    truth = heavy()[:, None]
    t = likelihoods.Evidence(
        *(torch.full_like(truth, value) for value in (0.0, 1.0, 1.5, 0.25))  # scale^2 = 0.25 * 2 / 1.5 = 1/3
    )
    zero = torch.zeros_like(truth)
    difference = likelihoods.evidential_log_prob(t, truth) - likelihoods.gaussian_log_prob(zero, zero, truth)
    gain = calibration.mean_log_likelihood(difference)
    exact = torch.distributions.Normal(0.0, 1.0).entropy() - (
        torch.distributions.StudentT(3.0).entropy() - 0.5 * math.log(3)
    )
    assert abs(sigmas_away(gain, exact.item())) < 4
    assert sigmas_away(gain, 0) > 8


def test_variance_splits_into_what_members_disagree_on_and_what_each_of_them_sees():
    """Planted and red: 1/M in place of 1/(M-1), at M = 4; the mean of sigma in place of sigma^2."""
    members, n = 4, N
    predictions = 5 + 0.3 * gaussian(members * n, 2).view(members, n)
    sigmas = torch.tensor([0.5, 1.0, 1.0, 1.5])[:, None, None].expand(members, n, 1)
    split = calibration.split_uncertainty(predictions[..., None], sigmas)
    assert split.prediction.shape == (n,)
    assert split.statistical.square().mean().item() == pytest.approx(0.09, rel=0.05)
    assert torch.allclose(split.systematic, torch.tensor((0.25 + 1 + 1 + 2.25) / 4, dtype=torch.float64).sqrt())
    assert torch.allclose(split.total**2, split.statistical**2 + split.systematic**2)
    spread = split.statistical.std() / split.statistical.mean()
    assert spread.item() == pytest.approx(1 / math.sqrt(2 * (members - 1)), rel=0.1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: pull_fit([1.0] * 5), "at least 10"),
        (lambda: pull_fit([1.0] * 50), "84.1% quantile of the pulls are equal"),
        (lambda: pull_fit(np.repeat([-1.9, -1.0, 1.0, 1.9], [15, 35, 35, 15])), "no peak"),
        (lambda: tail_fraction([1.0], beyond=0), "positive number of standard deviations"),
        (lambda: coverage_curve([0.5, 1.5]), "1 of 2 probabilities u"),
        (lambda: coverage_curve([0.5], levels=[68]), "between 0 and 1"),
        (lambda: sample_cdf(torch.zeros(5, 3), [0.0, 1.0]), "of 3 events, the truth of 2"),
        (lambda: calibration.sharpness([1.0, -1.0]), "1 of 2 sigmas"),
        (lambda: calibration.mean_log_likelihood([1.0]), "at least two events"),
        (lambda: calibration.split_uncertainty(torch.zeros(5, 3), torch.ones(5, 3, 1)), "differ in shape"),
        (lambda: calibration.split_uncertainty(torch.zeros(1, 3), torch.ones(1, 3)), "M >= 2"),
        (lambda: calibration.split_uncertainty(torch.zeros(4, 3), torch.zeros(4, 3)), "12 of 12 sigmas"),
    ],
)
def test_bad_input_says_what_is_wrong(call, message):
    with pytest.raises(ValueError, match=message):
        call()
