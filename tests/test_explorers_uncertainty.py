"""The explorers of lecture 02 against what can be worked out by hand."""

import math

import numpy as np
import pytest
import torch

from lhcml_tutor.explorers import uncertainty
from lhcml_tutor.explorers.uncertainty import KINDS, unit_noise, unit_noise_log_prob

EULER = 0.5772156649015329


def draws(kind, n=400_000):
    return unit_noise(kind, n, torch.Generator().manual_seed(7))


@pytest.mark.parametrize("kind", KINDS)
def test_noise_has_mean_zero_and_width_one(kind):
    t = draws(kind)
    kurtosis = float((t**4).mean())
    assert t.shape == (400_000, 1) and t.dtype == torch.float64
    assert abs(float(t.mean())) < 5 / math.sqrt(len(t))
    assert abs(float(t.std()) - 1) < 5 * math.sqrt((kurtosis - 1) / 4 / len(t))


@pytest.mark.parametrize("kind", KINDS)
def test_the_density_is_that_of_the_draws(kind):
    """Fractions in boxes agree with integrals of the density; a density of another kind does not."""
    t, edges = draws(kind)[:, 0].numpy(), np.linspace(-3, 2, 11)
    counts = np.histogram(t, edges)[0]

    def worst(density):
        grid = torch.linspace(-3, 2, 10_001, dtype=torch.float64)
        cumulative = torch.cumulative_trapezoid(unit_noise_log_prob(density, grid).exp(), grid)
        expected = np.diff([0.0, *cumulative[999::1000].tolist()]) * len(t)
        return float((np.abs(counts - expected) / np.sqrt(np.maximum(expected, 1))).max())

    assert worst(kind) < 5
    assert all(worst(other) > 20 for other in KINDS if other != kind)


def test_entropies_are_those_of_the_lecture():
    by_hand = {
        "Gaussian": math.log(2 * math.pi * math.e) / 2,
        "tail": EULER + 1 - math.log(math.pi / math.sqrt(6)),
        "two peaks": math.log(0.28) + math.log(2 * math.pi * math.e) / 2 - 0.2 * math.log(0.2) - 0.8 * math.log(0.8),
    }
    for kind, entropy in by_hand.items():
        log_prob = unit_noise_log_prob(kind, draws(kind))
        assert -float(log_prob.mean()) == pytest.approx(entropy, abs=5 * float(log_prob.std()) / math.sqrt(400_000))


def test_an_unknown_kind_of_noise_says_so():
    with pytest.raises(ValueError, match="'Gaussian', 'tail', 'two peaks', not 'Cauchy'"):
        unit_noise("Cauchy", 10, torch.Generator())


def test_the_gaussian_loss_finds_a_width_that_the_mse_cannot():
    def off(result):
        return float((result.sigma / result.width).log().square().mean().sqrt())

    found = uncertainty.noise.compute(shape="growing", points=3000, loss="Gaussian")
    blind = uncertainty.noise.compute(shape="growing", points=3000, loss="MSE")
    assert off(found) < 0.1 < 0.5 < off(blind)
    assert -3 * found.gap_error < found.gap < 0.02 and blind.gap > 0.2
    assert float(blind.pulls.std()) == pytest.approx(1, abs=0.1)  # the trap: the width alone does not see it
    assert float((blind.pulls**4).mean()) > 5  # of a Gaussian: 3


def test_a_mixture_closes_the_gap_that_one_gaussian_must_have():
    one = uncertainty.noise.compute(shape="two peaks", points=3000, loss="Gaussian")
    three = uncertainty.noise.compute(shape="two peaks", points=3000, loss="mixture")
    assert one.gap == pytest.approx(0.7726, abs=0.05)  # entropy of the Gaussian minus that of the noise
    assert three.gap < 0.06
    skew = [abs(float((result.pulls**3).mean())) for result in (one, three)]  # of the noise: 1.3, of a Gaussian: 0
    assert skew[1] < 0.5 < 1 < skew[0]


def test_few_points_make_errors_too_small():
    result = uncertainty.noise.compute(shape="growing", points=30, loss="Gaussian")
    assert float(result.pulls.std()) > 1.5 and result.gap > 0.5


@pytest.mark.parametrize(("factor", "shift"), [(0.5, 0.0), (0.8, 0.0), (1.3, 0.5), (2.0, -1.0)])
def test_pulls_have_the_width_and_the_mean_that_were_planted(factor, shift):
    result = uncertainty.judge.compute(factor=factor, shift=shift, shape="Gaussian", n=100_000)
    assert float(result.pulls.std()) == pytest.approx(1 / factor, rel=5 / math.sqrt(200_000))
    assert float(result.pulls.mean()) == pytest.approx(shift / factor, abs=5 / factor / math.sqrt(100_000))
    expected = [
        0.5 * (math.erf((z * factor - shift) / math.sqrt(2)) + math.erf((z * factor + shift) / math.sqrt(2)))
        for z in math.sqrt(2) * torch.erfinv(torch.tensor(uncertainty.LEVELS)).numpy()
    ]
    assert np.abs(result.covered - expected).max() < 5 * 0.5 / math.sqrt(100_000)


def test_a_constant_sigma_passes_the_width_and_fails_the_coverage():
    result = uncertainty.judge.compute(factor=1.0, shift=0.0, shape="sigma varies", n=100_000)
    assert float(result.pulls.std()) == pytest.approx(1, abs=0.02)
    assert np.abs(result.covered - uncertainty.LEVELS).max() > 0.1


def test_the_plain_loss_starves_where_noise_is_small_and_not_where_it_is_large():
    plain = uncertainty.starving.compute(beta=0.0, noise=0.01, steps=800)
    cured = uncertainty.starving.compute(beta=0.5, noise=0.01, steps=800)
    assert plain.error > 3 * cured.error
    noisy = [uncertainty.starving.compute(beta=beta, noise=0.3, steps=800).error for beta in (0.0, 0.5)]
    assert noisy[0] < 1.5 * noisy[1]


def test_where_the_mean_starves_sigma_is_the_misfit():
    result = uncertainty.starving.compute(beta=0.0, noise=0.01, steps=800)
    misfit = (result.mean - result.truth).abs()
    starved = misfit > 0.3
    ratio = (result.sigma[starved] / (misfit[starved] ** 2 + 0.01**2).sqrt()).log()
    assert starved.sum() > 50 and float(ratio.abs().mean()) < 0.3


def test_the_line_of_numbers_is_there_for_every_setting_of_the_judge():
    lines = [uncertainty.judge.summary(result) for _, result in uncertainty.judge.sweep()]
    assert all(lines) and "nan" not in " ".join(lines)
