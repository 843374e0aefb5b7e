"""Scores of classifiers against closed formulas, scikit-learn and toys whose probability of signal is known."""

import ast
import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.calibration import calibration_curve
from sklearn.metrics import accuracy_score, log_loss, roc_auc_score

from lhcml_tutor import classification
from lhcml_tutor.metrics import rejection


def gaussians(n, distance=2.0, seed=1):
    """Return exact logits and labels of two Gaussians of width 1: log r = distance x, x measured from the middle."""
    generator = torch.Generator().manual_seed(seed)
    label = (torch.arange(n) % 2).double()
    x = distance * (label - 0.5) + torch.randn(n, dtype=torch.float64, generator=generator)
    return distance * x, label


def test_reliability_is_that_of_scikit_learn():
    logit, label = gaussians(10_000)
    curve = classification.reliability(logit, label, bins=8)
    observed, stated = calibration_curve(label, logit.sigmoid(), n_bins=8, strategy="quantile")
    assert np.allclose(curve.observed, observed, atol=2e-3) and np.allclose(curve.stated, stated, atol=2e-3)
    assert curve.events.sum() == 10_000


def test_exact_probabilities_are_calibrated_and_others_are_not():
    logit, label = gaussians(100_000)
    limit = classification.calibration_limit(logit)
    assert 0.3 * limit < classification.calibration_error(logit, label) < 2 * limit
    for wrong in (2 * logit, logit / 2, logit + 1, -logit):
        assert classification.calibration_error(wrong, label) > 10 * limit


def test_pulls_of_a_calibrated_curve_have_width_one():
    pulls = []
    for seed in range(40):
        curve = classification.reliability(*gaussians(2000, seed=seed))
        pulls.extend((curve.observed - curve.stated) / curve.error)
    assert abs(np.mean(pulls)) < 0.2 and 0.9 < np.std(pulls) < 1.1
    limits = [classification.calibration_limit(gaussians(2000, seed=seed)[0]) for seed in range(40)]
    errors = [classification.calibration_error(*gaussians(2000, seed=seed)) for seed in range(40)]
    assert 0.9 < np.mean(errors) / np.mean(limits) < 1.1


@pytest.mark.parametrize("factor", [0.3, 1.0, 5.0])
def test_temperature_is_found_and_leaves_the_order_alone(factor):
    logit, label = gaussians(50_000)
    found = classification.fit_temperature(factor * logit, label)
    assert abs(found / factor - 1) < 0.03
    assert roc_auc_score(label, factor * logit / found) == roc_auc_score(label, logit)


def test_score_of_two_gaussians():
    """Accuracy Phi(d / 2), AUC Phi(d / sqrt 2), within the errors that it states."""
    logit, label = gaussians(40_000)
    row = classification.score(logit, label, efficiencies=(0.5,))
    phi = lambda x: 0.5 * (1 + math.erf(x / math.sqrt(2)))  # noqa: E731
    assert abs(row["accuracy"].value - phi(1)) < 4 * row["accuracy"].error
    assert abs(row["AUC"].value - phi(math.sqrt(2))) < 4 * row["AUC"].error
    assert abs(row["Rej50"].value - 1 / phi(-2)) < 4 * row["Rej50"].error
    assert row["accuracy"].value == pytest.approx(accuracy_score(label, logit > 0))
    assert row["cross entropy"].value == pytest.approx(log_loss(label, logit.sigmoid()))
    binomial = rejection(logit, label, 0.5).error
    assert 0.8 * binomial < row["Rej50"].error < 1.6 * binomial  # it holds the error of the cut on the signal, too


def test_errors_are_those_of_many_samples():
    rows = [classification.score(*gaussians(2000, seed=seed), efficiencies=(0.5,), repeats=40) for seed in range(30)]
    for name in ("accuracy", "AUC", "Rej50", "cross entropy"):
        spread = np.std([row[name].value for row in rows], ddof=1)
        assert 0.65 < np.mean([row[name].error for row in rows]) / spread < 1.5


def test_a_rejection_that_few_events_decide_is_not_stated():
    logit, label = gaussians(2000, distance=4.0)
    row = classification.score(logit, label, efficiencies=(0.99, 0.3))
    assert math.isnan(row["Rej30"].value) and row["Rej99"].value > 1


@pytest.mark.parametrize(
    ("logit", "label", "message"),
    [
        (torch.zeros(3, 1), torch.zeros(3), r"both \(n,\)"),
        (torch.tensor([0.0, math.nan]), torch.tensor([0, 1]), "1 of 2 logits are NaN"),
        (torch.zeros(3), torch.tensor([0, 1, 2]), "0 .background. or 1"),
        (torch.zeros(3), torch.tensor([0, 1, 1]), "10 bins need"),
    ],
)
def test_wrong_input_is_named(logit, label, message):
    with pytest.raises(ValueError, match=message):
        classification.reliability(logit, label)


def test_the_benchmark_of_rejections_finds_the_trainings_in_the_tutorial():
    root = Path(__file__).parents[1]
    benchmark = (root / "benchmarks" / "rejection.py").read_text(encoding="utf-8")
    code, board, _ = (root / "tutorials" / "04a_top_tagging.py").read_text(encoding="utf-8").partition("\nboard = {")
    assert board
    tree = list(ast.walk(ast.parse(code)))
    defined = {node.id for node in tree if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    defined |= {node.name for node in tree if isinstance(node, ast.FunctionDef)}
    wanted = set(re.findall(r'cells\["(\w+)"\]', benchmark))
    assert len(wanted) == 7 and wanted <= defined, wanted - defined
