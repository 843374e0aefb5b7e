"""Judges: samples of one density agree, planted defects are found, weights are density ratios."""

import math

import pytest
import torch

from lhcml_tutor.judges import classifier_test, histogram_test


def gaussian(n, seed, shift=0.0, width=1.0, d=2):
    x = torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    x[:, 0] = shift + width * x[:, 0]
    return x


def test_two_samples_of_one_density_cannot_be_told_apart():
    found = [classifier_test(gaussian(4000, seed), gaussian(4000, 100 + seed)) for seed in range(4)]
    pulls = torch.tensor([(one.auc - 0.5) / one.error for one in found])
    assert pulls.abs().max() < 4, pulls
    assert abs(found[0].error - 1 / math.sqrt(6 * 4000)) < 1e-5


def test_the_auc_of_a_shift_is_that_of_the_closed_form():
    """Two Gaussians a shift s apart: the best AUC is Phi(s / sqrt 2)."""
    shift = 0.5
    best = 0.5 * (1 + math.erf(shift / 2))
    found = classifier_test(gaussian(20_000, 1, shift), gaussian(20_000, 2))
    assert best - 0.015 < found.auc < best + 4 * found.error


def test_weights_are_ratios_of_densities_and_repair_the_sample():
    shift = 0.5
    true, generated = gaussian(40_000, 1, shift), gaussian(40_000, 2)
    found = classifier_test(true, generated)
    exact = shift * generated[:, 0] - shift**2 / 2
    middle = generated[:, 0].abs() < 1.5
    assert (found.logit_generated - exact)[middle].abs().mean() < 0.08
    weights = found.logit_generated.exp()
    assert abs((weights * generated[:, 0]).sum() / weights.sum() - shift) < 0.05
    after = classifier_test(true, generated, weights=weights, seed=7)
    assert after.auc - 0.5 < 0.2 * (found.auc - 0.5)
    before, repaired = (histogram_test(true[:, 0], generated[:, 0], weights=w) for w in (None, weights))
    assert before.chi2 > 20 and repaired.chi2 < before.chi2 / 5


def test_a_missing_observable_is_allowed():
    true, generated = gaussian(2000, 1), gaussian(2000, 2)
    true[:1000, 1] = math.nan  # this alone tells them apart
    assert classifier_test(true, generated).auc > 0.6


def test_chi2_per_bin_is_one_and_the_limit_is_met_for_equal_densities():
    found = [histogram_test(gaussian(20_000, s)[:, 0], gaussian(20_000, 50 + s)[:, 0]) for s in range(20)]
    chi2 = torch.tensor([one.chi2 for one in found])
    assert abs(chi2.mean() - 1) < 0.15
    ratio = torch.tensor([one.deviation / one.limit for one in found])
    assert abs(ratio.mean() - 1) < 0.08
    assert histogram_test(gaussian(20_000, 1)[:, 0], gaussian(20_000, 2, 0.1)[:, 0]).chi2 > 3  # control


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: classifier_test(torch.zeros(200, 2), torch.zeros(200, 3)), "true and generated"),
        (lambda: classifier_test(torch.zeros(20, 2), torch.zeros(200, 2)), "100 events"),
        (lambda: histogram_test(torch.full((500,), math.nan), torch.zeros(500)), "not finite"),
        (lambda: histogram_test(torch.rand(5000), torch.rand(5000), bins=1000), "fewer bins"),
    ],
)
def test_bad_input_is_named(call, text):
    with pytest.raises(ValueError, match=text):
        call()
