"""How good a classifier is: one line of a scoreboard, and whether its probabilities can be believed.

    row = score(logit, label)                     # accuracy, AUC, rejections, calibration, each with an error
    curve = reliability(logit, label)             # frequency of signal against the stated probability
    temperature = fit_temperature(logit, label)   # on events that have not been trained on

A logit is log(p / (1 - p)) of the stated probability p of signal.
"""

import math
from typing import NamedTuple

import numpy as np
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from .metrics import Estimate, auc, bootstrap, rejection


class Reliability(NamedTuple):
    """A calibration curve: per bin the mean stated probability, the frequency of signal, its error, the events.

    Example:
        >>> curve = Reliability(np.array([0.2]), np.array([0.3]), np.array([0.05]), np.array([84]))
        >>> curve.observed[0]
        np.float64(0.3)
    """

    stated: np.ndarray
    observed: np.ndarray
    error: np.ndarray
    events: np.ndarray


def reliability(logit, label, bins=10):
    """Return how often events are signal, in bins of equal numbers of events in the stated probability.

        observed = n_signal / n,    error = sqrt(p (1 - p) / n) at the stated p

    Arguments:
        label: 1 for signal, 0 for background; bins: how many.
    Shapes:
        logit (n,), label (n,) -> Reliability of (bins,)
    Raises:
        ValueError: shapes differ, a logit is NaN, labels other than 0 and 1, fewer events than bins.
    Example:
        >>> logit = torch.linspace(-3, 3, 10_001)
        >>> label = torch.rand(10_001, generator=torch.Generator().manual_seed(1)) < logit.sigmoid()
        >>> curve = reliability(logit, label)
        >>> bool((abs(curve.observed - curve.stated) < 4 * curve.error).all())
        True

    Reference: Guo et al. 2017, arXiv:1706.04599.
    """
    logit, label = _pair(logit, label)
    if not 1 <= bins <= len(logit):
        raise ValueError(f"{bins} bins need at least as many events, not {len(logit)}")
    order = logit.argsort()
    parts = [(logit[rows].sigmoid().mean(), label[rows].mean(), len(rows)) for rows in order.tensor_split(bins)]
    stated, observed, events = (np.array([float(values) for values in column]) for column in zip(*parts))
    return Reliability(stated, observed, np.sqrt(stated * (1 - stated) / events), events.astype(int))


def calibration_error(logit, label, bins=10):
    """Return the expected calibration error: the mean distance between stated probability and frequency of signal.

        ECE = sum_bins n_bin / n |observed - stated|

    A perfect classifier has not 0 but some 0.8 times the mean statistical error of a bin: see `calibration_limit`.

    Shapes:
        logit (n,), label (n,) -> a number
    Example:
        >>> calibration_error(torch.tensor([0.0, 0.0, 0.0, 0.0]), torch.tensor([1, 1, 1, 0]), bins=1)
        0.25

    Reference: Guo et al. 2017, arXiv:1706.04599, eq. 3, here with bins of equal numbers of events.
    """
    curve = reliability(logit, label, bins)
    return float((curve.events * np.abs(curve.observed - curve.stated)).sum() / curve.events.sum())


def calibration_limit(logit, bins=10):
    """Return the calibration error that statistics alone gives a classifier whose every probability is right.

        <|observed - p|> = sqrt(2 / pi) sqrt(p (1 - p) / n) in each bin

    Shapes:
        logit (n,) -> a number
    Example:
        >>> round(calibration_limit(torch.zeros(1000)), 4)       # sqrt(2 / pi) sqrt(1 / 4 / 100)
        0.0399
    """
    curve = reliability(logit, torch.zeros_like(torch.as_tensor(logit)), bins)
    return float(math.sqrt(2 / math.pi) * (curve.events * curve.error).sum() / curve.events.sum())


def fit_temperature(logit, label):
    """Return the number T that makes logit / T fit best; above 1 for a classifier that is too sure of itself.

        T = argmin sum -log p(label | logit / T)

    It moves no event past another: ROC curve and AUC stay as they are. Fit it on events that nobody trained on.

    Shapes:
        logit (n,), label (n,) -> a number
    Raises:
        ValueError: as in `reliability`.
    Example:
        >>> logit = torch.linspace(-3, 3, 10_001)
        >>> label = torch.rand(10_001, generator=torch.Generator().manual_seed(1)) < logit.sigmoid()
        >>> round(fit_temperature(2 * logit, label), 1)
        2.0

    Reference: Guo et al. 2017, arXiv:1706.04599, section 4.2.
    """
    from scipy.optimize import minimize_scalar

    logit, label = _pair(logit, label)

    def loss(log_temperature):
        return float(binary_cross_entropy_with_logits(logit / math.exp(log_temperature), label))

    return math.exp(minimize_scalar(loss, bounds=(math.log(0.02), math.log(50)), method="bounded").x)


def score(logit, label, efficiencies=(0.5, 0.3), repeats=100, seed=1):
    """Return one line of a scoreboard, each number with its error from a bootstrap over the events.

    Accuracy at the logit 0, area under the ROC curve, background rejection at these signal efficiencies, calibration
    error, and the cross entropy in nats. A rejection that only a few background events decide has no useful error; it
    is NaN where fewer than ten of them survive.

    Shapes:
        logit (n,), label (n,) -> dict of name -> Estimate
    Raises:
        ValueError: as in `reliability`, or a class is missing.
    Example:
        >>> label = torch.arange(2000) % 2
        >>> logit = 2.0 * label - 1 + torch.randn(2000, generator=torch.Generator().manual_seed(1))
        >>> row = score(logit, label)
        >>> list(row), abs(row["AUC"].value - 0.921) < 4 * row["AUC"].error      # Phi(2 / sqrt 2)
        (['accuracy', 'AUC', 'Rej50', 'Rej30', 'calibration error', 'cross entropy'], True)
    """
    logit, label = _pair(logit, label)
    statistics = {"accuracy": lambda x, y: ((x > 0) == (y > 0.5)).double().mean(), "AUC": auc}
    for efficiency in efficiencies:
        statistics[f"Rej{100 * efficiency:g}"] = lambda x, y, at=efficiency: rejection(x, y, at).value
    row = {}
    for name, statistic in statistics.items():
        few = name.startswith("Rej") and float((label == 0).sum()) < 10 * statistic(logit, label)
        nothing = Estimate(math.nan, math.nan)
        row[name] = nothing if few else bootstrap(statistic, logit, label, repeats=repeats, seed=seed)
    row["calibration error"] = Estimate(calibration_error(logit, label), calibration_limit(logit))
    loss = binary_cross_entropy_with_logits(logit, label, reduction="none")
    row["cross entropy"] = Estimate(float(loss.mean()), float(loss.std()) / math.sqrt(len(loss)))
    return row


def _pair(logit, label):
    logit = torch.as_tensor(logit).detach().cpu().double()
    label = torch.as_tensor(label).detach().cpu().double()
    if logit.ndim != 1 or logit.shape != label.shape:
        raise ValueError(f"logit and label are both (n,), not {tuple(logit.shape)} and {tuple(label.shape)}")
    if logit.isnan().any():
        raise ValueError(f"{int(logit.isnan().sum())} of {len(logit)} logits are NaN")
    if not ((label == 0) | (label == 1)).all():
        raise ValueError("labels must be 0 (background) or 1 (signal)")
    return logit, label
