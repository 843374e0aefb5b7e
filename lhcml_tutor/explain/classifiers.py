"""Which of two classifiers is better on the same events? The area under the ROC curve, with its error.

auc_with_error(score, label)                       # by DeLong, no bootstrap
auc_difference(first, second, label)               # of two scores of the same events: most of the error drops out
"""

import math

import numpy as np
from scipy.stats import rankdata

from ..metrics import Estimate
from ..metrics import _flat as flat
from ..metrics import _two_classes as check_two_classes


def auc_with_error(score, label):
    """Area under the ROC curve and its standard error.

        AUC = mean of V over the signal,     V = share of the background below a signal event (ties count half)
        error^2 = var V_signal / n_signal + var V_background / n_background

    Shapes:
        score, label (n,) -> Estimate
    Raises:
        ValueError: as in `metrics.auc`; fewer than two events of a class.
    Example:
        >>> auc_with_error([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1])
        Estimate(value=0.75, error=0.3535533905932738)

    Reference: DeLong, DeLong, Clarke-Pearson 1988, doi:10.2307/2531595.
    """
    signal, background = _placements(score, label)
    return _estimate(signal, background)


def auc_difference(first, second, label):
    """Difference of the AUC of two scores of the same events, and its standard error, which is far below that of each.

        error^2 = var(V_first - V_second)_signal / n_signal + the same of the background,      V as in `auc_with_error`

    Shapes:
        first, second, label (n,) -> Estimate of AUC(first) - AUC(second)
    Raises:
        ValueError: as in `auc_with_error`.
    Example:
        >>> auc_difference([0.1, 0.4, 0.35, 0.8], [0.2, 0.8, 0.7, 1.6], [0, 0, 1, 1])      # the same order
        Estimate(value=0.0, error=0.0)

    Reference: DeLong, DeLong, Clarke-Pearson 1988, doi:10.2307/2531595.
    """
    (signal, background), (other_signal, other_background) = (_placements(score, label) for score in (first, second))
    return _estimate(signal - other_signal, background - other_background)


def _placements(score, label):
    """Return for each signal event the share of background below it, for each background event that of signal above."""
    score, label = flat(score=score, label=label)
    check_two_classes(label)
    signal, background = score[label == 1], score[label == 0]
    n, m = len(signal), len(background)
    if min(n, m) < 2:
        raise ValueError(f"an error needs two events or more of each class, not {n} and {m}")
    rank = rankdata(np.r_[signal, background])
    below = (rank[:n] - rankdata(signal)) / m
    above = 1 - (rank[n:] - rankdata(background)) / n
    return below, above


def _estimate(signal, background):
    variance = signal.var(ddof=1) / len(signal) + background.var(ddof=1) / len(background)
    return Estimate(float(signal.mean()), math.sqrt(variance))
