"""Numbers that judge a trained model, with their statistical errors.

Every function takes tensors, arrays or lists and computes in float64 on the CPU.
"""

import math
from typing import NamedTuple

import numpy as np
import torch

GAUSSIAN_68 = 0.6826894921370859  # fraction of a Gaussian within one standard deviation


class Estimate(NamedTuple):
    """A number and its standard error.

    Example:
        >>> width = Estimate(1.02, 0.01)
        >>> f"{width.value} +- {width.error}"
        '1.02 +- 0.01'
    """

    value: float
    error: float


def auc(score, label, weights=None):
    """Area under the ROC curve: the probability that a signal event scores higher than a background event.

    Arguments:
        score: larger for signal, shape (n,).
        label: 1 or True for signal, 0 or False for background, shape (n,).
        weights: of the events, shape (n,); None: all 1.
    Raises:
        ValueError: only one of the two classes is there, or a score is not finite.
    Example:
        >>> auc([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1])
        0.75
    """
    from sklearn.metrics import roc_auc_score

    score, label = _flat(score=score, label=label)
    _two_classes(label)
    if weights is not None:
        _, weights = _flat(score=score, weights=weights)
    return float(roc_auc_score(label, score, sample_weight=weights))


def rejection(score, label, signal_efficiency=0.3):
    """Background rejection 1 / eps_B at the cut on the score that keeps the fraction eps_S of the signal.

        error = (1 / eps_B) * sqrt((1 - eps_B) / (eps_B n_B)),    binomial in the background alone

    Arguments:
        score: larger for signal, shape (n,).
        label: 1 for signal, 0 for background, shape (n,).
        signal_efficiency: eps_S, between 0 and 1.
    Raises:
        ValueError: a class is missing, or eps_S is outside (0, 1].
    Example:
        >>> rejection([0.9, 0.8, 0.1, 0.7, 0.3, 0.2, 0.1, 0.0], [1, 1, 1, 0, 0, 0, 0, 0], signal_efficiency=0.9)
        Estimate(value=1.25, error=0.27950849718747367)
    """
    score, label = _flat(score=score, label=label)
    _two_classes(label)
    if not 0 < signal_efficiency <= 1:
        raise ValueError(f"signal_efficiency is a fraction of the signal, 0 < eps_S <= 1, not {signal_efficiency}")
    signal, background = np.sort(score[label == 1])[::-1], score[label == 0]
    cut = signal[math.ceil(signal_efficiency * len(signal) - 1e-9) - 1]  # at least eps_S of the signal passes
    passed = int((background >= cut).sum())
    if passed == 0:
        return Estimate(math.inf, math.inf)
    efficiency = passed / len(background)
    return Estimate(1 / efficiency, math.sqrt((1 - efficiency) / (efficiency * len(background))) / efficiency)


def relative_error(prediction, truth):
    """Relative deviation of each event, Delta = prediction / truth - 1.

    Shapes:
        prediction (n,) or (n, 1), truth the same -> (n,) float64
    Raises:
        ValueError: shapes differ ((n,) against (n, 1) would give (n, n)), or a truth is zero.
    Example:
        >>> relative_error([1.5, 2.0], [1.0, 2.0]).tolist()
        [0.5, 0.0]
    """
    prediction, truth = _flat(prediction=prediction, truth=truth)
    if (truth == 0).any():
        raise ValueError(f"{int((truth == 0).sum())} true values are zero: their relative error is not defined")
    return torch.from_numpy(prediction / truth - 1)


def quantile_summary(delta):
    """Median, 68% and 99% quantile of |Delta|: the typical error, its spread and its tail.

    Shapes:
        delta (n,) or (n, 1) -> {"median": number, "68%": number, "99%": number}
    Example:
        >>> quantile_summary(torch.linspace(-1, 1, 2001, dtype=torch.float64))
        {'median': 0.5, '68%': 0.68, '99%': 0.99}
    """
    (delta,) = _flat(delta=delta)
    values = np.quantile(np.abs(delta), [0.5, 0.68, 0.99])
    return {name: round(float(value), 12) for name, value in zip(("median", "68%", "99%"), values, strict=True)}


def pulls(prediction, sigma, truth):
    """Deviation in units of the predicted standard deviation, (prediction - truth) / sigma.

    Where sigma is right, pulls follow a Gaussian of mean 0 and width 1.

    Shapes:
        prediction, sigma, truth (n,) or (n, 1) -> (n,) float64
    Raises:
        ValueError: shapes differ, or a sigma is not positive.
    Example:
        >>> pulls([1.0, 4.0], [0.5, 2.0], [0.0, 5.0]).tolist()
        [2.0, -0.5]
    """
    prediction, sigma, truth = _flat(prediction=prediction, sigma=sigma, truth=truth)
    if (sigma <= 0).any():
        raise ValueError(f"{int((sigma <= 0).sum())} of {len(sigma)} sigmas are not positive")
    return torch.from_numpy((prediction - truth) / sigma)


def pull_width(pulls):
    """Width of the pulls, robust against tails: half the distance between the 15.9% and the 84.1% quantile.

        w = (q_84.1% - q_15.9%) / 2,    error of w = 0.96 w / sqrt(n)  where the pulls are Gaussian

    Beside it stands the standard deviation s, which the tails do enter; its error is s sqrt((k - 1) / (4 n)) with the
    kurtosis k of the sample (k = 3 for a Gaussian).

    Returns:
        {"robust": Estimate, "std": Estimate}
    Raises:
        ValueError: fewer than 10 pulls.
    Example:
        >>> widths = pull_width(torch.linspace(-1, 1, 1001) * 2)
        >>> round(widths["robust"].value, 2), round(widths["std"].value, 2)
        (1.37, 1.16)
    """
    (pulls,) = _flat(pulls=pulls)
    n = len(pulls)
    if n < 10:
        raise ValueError(f"{n} pulls are too few for a width; use at least 10")
    p = (1 - GAUSSIAN_68) / 2
    low, high = np.quantile(pulls, [p, 1 - p])
    robust = (high - low) / 2
    density = math.exp(-0.5) / math.sqrt(2 * math.pi)  # of a unit Gaussian at one standard deviation
    # Variance of half the difference of two quantiles with covariance p(1-p), p^2 over n times the density squared.
    robust_error = robust / density * math.sqrt((p * (1 - p) - p * p) / (2 * n))
    std = pulls.std(ddof=1)
    kurtosis = ((pulls - pulls.mean()) ** 4).mean() / max(pulls.var() ** 2, 1e-300)
    std_error = std * math.sqrt(max(kurtosis - 1, 0) / (4 * n))
    return {"robust": Estimate(float(robust), float(robust_error)), "std": Estimate(float(std), float(std_error))}


def coverage(pulls, level=GAUSSIAN_68):
    """Fraction of events whose truth lies inside the central Gaussian interval of this probability.

        fraction of |pull| < sqrt(2) erfinv(level),    error = sqrt(level (1 - level) / n)

    Arguments:
        pulls: (n,).
        level: 0 < level < 1; 0.683 is one standard deviation. A calibrated sigma covers this fraction.
    Raises:
        ValueError: level is outside (0, 1).
    Example:
        >>> coverage([0.5, -0.9, 1.5, 0.1]).value
        0.75
    """
    (pulls,) = _flat(pulls=pulls)
    if not 0 < level < 1:
        raise ValueError(f"level is a probability, 0 < level < 1, not {level}")
    width = math.sqrt(2) * float(torch.erfinv(torch.tensor(level, dtype=torch.float64)))
    return Estimate(float((np.abs(pulls) < width).mean()), math.sqrt(level * (1 - level) / len(pulls)))


def bootstrap(statistic, *columns, repeats=200, seed=1):
    """Value of a statistic and its standard error from samples drawn with replacement.

    Arguments:
        statistic: function of columns (n, ...) -> number.
        columns: tensors of equal length; rows are drawn together.
        repeats: how many samples are drawn; the error itself is known to 1 / sqrt(2 repeats).
        seed: of the draws.
    Raises:
        ValueError: columns differ in length.
    Example:
        >>> mean = bootstrap(lambda x: x.mean(), torch.arange(100.0))
        >>> mean.value, round(mean.error)
        (49.5, 3)
    """
    columns = [torch.as_tensor(column) for column in columns]
    if len({len(column) for column in columns}) != 1:
        raise ValueError(f"columns differ in length: {[len(column) for column in columns]}")
    generator = torch.Generator().manual_seed(seed)
    n = len(columns[0])
    drawn = []
    for _ in range(repeats):
        rows = torch.randint(n, (n,), generator=generator)
        drawn.append(float(statistic(*(column[rows.to(column.device)] for column in columns))))
    return Estimate(float(statistic(*columns)), float(np.std(drawn, ddof=1)))


class PowerLaw(NamedTuple):
    """y = prefactor * x^exponent with the standard error of the exponent."""

    exponent: float
    error: float
    prefactor: float


def power_law_fit(x, y, y_error=None):
    """Fit y = a x^k by a straight line in log y against log x.

        log y = log a + k log x,    weights (y / y_error)^2

    Arguments:
        x, y: positive, shape (n,), at least three different x (two with y_error).
        y_error: standard errors of y. The error of k follows from them; without them from the scatter around the line.
    Returns:
        PowerLaw(exponent, error, prefactor)
    Raises:
        ValueError: too few points, or numbers that have no logarithm.
    Example:
        >>> law = power_law_fit([1e3, 1e4, 1e5], [1.0, 0.1, 0.01])
        >>> round(law.exponent, 6), round(law.prefactor, 3)
        (-1.0, 1000.0)
    """
    x, y = _flat(x=x, y=y)
    needed = 3 if y_error is None else 2
    if len(np.unique(x)) < needed:
        raise ValueError(f"a power law needs at least {needed} different x, here are {len(np.unique(x))}")
    if (x <= 0).any() or (y <= 0).any():
        raise ValueError("a power law needs positive x and y: their logarithm is fitted")
    weight = np.ones_like(y)
    if y_error is not None:
        _, y_error = _flat(y=y, y_error=y_error)
        if (y_error <= 0).any():
            raise ValueError("every y_error must be positive; leave y_error out to use the scatter of the points")
        weight = (y / y_error) ** 2
    log_x, log_y = np.log(x), np.log(y)
    mean_x, mean_y = np.average(log_x, weights=weight), np.average(log_y, weights=weight)
    spread = (weight * (log_x - mean_x) ** 2).sum()
    exponent = (weight * (log_x - mean_x) * (log_y - mean_y)).sum() / spread
    variance = 1.0
    if y_error is None:
        residual = log_y - mean_y - exponent * (log_x - mean_x)
        variance = (residual**2).sum() / (len(x) - 2)
    prefactor = math.exp(mean_y - exponent * mean_x)
    return PowerLaw(float(exponent), float(math.sqrt(variance / spread)), float(prefactor))


def _flat(**columns):
    """Return float64 arrays (n,) of tensors, arrays or lists of equal shape (n,) or (n, 1)."""
    arrays = []
    for name, values in columns.items():
        values = torch.as_tensor(values).detach().to("cpu", torch.float64).numpy()
        if values.size == 0:
            raise ValueError(f"{name} is empty")
        if values.ndim != 1 and values.shape != (len(values), 1):
            raise ValueError(f"{name} must have the shape (n,) or (n, 1), not {values.shape}")
        if not np.isfinite(values).all():
            raise ValueError(f"{name} has {int((~np.isfinite(values)).sum())} of {len(values)} values not finite")
        arrays.append(values)
    shapes = {name: array.shape for name, array in zip(columns, arrays, strict=True)}
    if len(set(shapes.values())) > 1:
        shown = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise ValueError(f"shapes differ: {shown}; between (n,) and (n, 1) use .squeeze(-1) or [:, None]")
    return [array.reshape(-1) for array in arrays]


def _two_classes(label):
    found = sorted(set(label.tolist()))
    if found != [0.0, 1.0]:
        raise ValueError(f"label must hold both 0 (background) and 1 (signal), it holds {found[:5]}")
