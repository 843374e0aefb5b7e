"""Is a predicted uncertainty right? Pulls, coverage, calibration error, and how small the uncertainty is.

Every function takes tensors, arrays or lists and computes in float64 on the CPU. Coverage goes through one number per
event: the probability that the prediction gave to values below the truth. It is uniform from 0 to 1 where the
prediction is calibrated, whatever its shape:

    u = gaussian_cdf(prediction, log_sigma, truth)      # of likelihoods; or mixture_cdf, evidential_cdf; or sample_cdf
    curve = coverage_curve(u)
    calibration_error(curve)
"""

import math
from typing import NamedTuple

import numpy as np
import torch

from .metrics import Estimate, pull_width
from .metrics import _flat as flat


class PullFit(NamedTuple):
    """Mean and width of the Gaussian core of the pulls, each an Estimate."""

    mean: Estimate
    width: Estimate


def pull_fit(pulls, window=2.0):
    """Mean and width of the Gaussian core of the pulls, by maximum likelihood inside a window; tails stay outside.

        window: |t - median| < 2 w, with half the distance w of the 15.9% and the 84.1% quantile
        p(t) = N(t | mean, width) / integral of N over the window,  inside = exp(a t + b t^2) / Z(a, b)

    The Gaussian is cut off at the ends as the pulls are, so that its width is not made smaller by the cut. The
    likelihood is concave in a = mean / width^2 and b = -1 / (2 width^2); errors are from its second derivatives.

    Arguments:
        pulls: of a calibrated prediction they follow a Gaussian of mean 0 and width 1.
        window: half its size in units of w.
    Shapes:
        pulls (n,) or (n, 1) -> PullFit(mean, width)
    Raises:
        ValueError: fewer than 10 pulls, most of them equal, or no peak in the window.
    Example:
        >>> pulls = torch.special.ndtri(torch.linspace(0.001, 0.999, 999, dtype=torch.float64))
        >>> fit = pull_fit(1 + 2 * pulls)
        >>> round(fit.mean.value, 2), round(fit.width.value, 2), round(fit.width.error, 2)
        (1.0, 1.99, 0.07)
    """
    (pulls,) = flat(pulls=pulls)
    unit, median = pull_width(pulls)["robust"].value, np.median(pulls)
    if not unit > 0:
        raise ValueError("the 15.9% and the 84.1% quantile of the pulls are equal: there is no width to fit")
    t = (pulls - median) / unit
    t = t[np.abs(t) < window]
    seen = np.array([t.mean(), (t**2).mean()])  # all that the likelihood needs
    grid = np.linspace(-window, window, 2001)
    powers = np.stack([grid, grid**2])
    a_b = np.array([0.0, -0.5])
    for _ in range(50):  # Newton
        exponent = a_b @ powers
        weights = np.exp(exponent - exponent.max())
        weights[[0, -1]] /= 2  # ends of the trapezoidal rule
        information = np.cov(powers, aweights=weights, ddof=0)
        if not np.linalg.cond(information) < 1e12:
            break
        step = np.linalg.solve(information, seen - powers @ weights / weights.sum())
        a_b = a_b + step
        if np.abs(step).max() < 1e-10:
            break
    a, b = a_b
    if not (b < 0 and abs(a / (2 * b)) < window and np.linalg.cond(information) < 1e12):
        raise ValueError("the pulls have no peak that a Gaussian could be fitted to; draw their histogram")
    mean, width = -a / (2 * b), math.sqrt(-1 / (2 * b))
    slopes = np.array([[-1 / (2 * b), a / (2 * b**2)], [0, width**3]])  # of mean and width in a and b
    error_mean, error_width = np.sqrt(np.diag(slopes @ np.linalg.inv(len(t) * information) @ slopes.T)).tolist()
    return PullFit(Estimate(float(median + unit * mean), unit * error_mean), Estimate(unit * width, unit * error_width))


class Tails(NamedTuple):
    """Fraction of the pulls beyond a bound, and what a Gaussian of mean 0 and width 1 has there."""

    observed: Estimate
    expected: float


def tail_fraction(pulls, beyond=3.0):
    """Fraction of the pulls with |t| > 3, and the 0.27% that a Gaussian has there.

        error = sqrt(f (1 - f) / n),      with f = 1 / n where no pull is beyond

    Divide by the fitted width first to ask for the shape of the tails alone.

    Shapes:
        pulls (n,) or (n, 1) -> Tails(observed, expected)
    Raises:
        ValueError: the bound is not positive.
    Example:
        >>> tails = tail_fraction([0.0] * 99 + [5.0])
        >>> tails.observed.value, round(tails.expected, 5)
        (0.01, 0.0027)
    """
    (pulls,) = flat(pulls=pulls)
    if not beyond > 0:
        raise ValueError(f"beyond is a positive number of standard deviations, not {beyond!r}")
    n, count = len(pulls), int((np.abs(pulls) > beyond).sum())
    fraction = max(count, 1) / n
    error = math.sqrt(fraction * (1 - fraction) / n)
    return Tails(Estimate(count / n, error), math.erfc(beyond / math.sqrt(2)))


def sample_cdf(samples, truth, seed=1):
    """Probability below the truth that M samples of a prediction give, from the rank of the truth among them.

        u = (rank + r) / (M + 1),      r uniform between 0 and 1

    Where truth and samples follow one distribution, the rank takes its M + 1 values equally often; r fills the steps
    between them, so that u is uniform at any M. The samples must be of what is measured: to predictions that only
    scatter by the statistical uncertainty the systematic one has to be added as noise.

    Shapes:
        samples (M, n) or (M, n, 1), truth (n,) or (n, 1) -> (n,) float64
    Raises:
        ValueError: the numbers of events differ.
    Example:
        >>> u = sample_cdf(torch.arange(99.0)[:, None], [49.5])
        >>> 0.50 <= u.item() <= 0.51
        True
    """
    (truth,) = flat(truth=truth)
    samples = torch.as_tensor(samples).detach().to("cpu", torch.float64)
    samples = samples.reshape(len(samples), -1).numpy()
    if samples.shape[1] != len(truth):
        raise ValueError(f"samples are of {samples.shape[1]} events, the truth of {len(truth)}")
    rank = (samples < truth).sum(0)  # (n,)
    within = np.random.default_rng(seed).uniform(size=len(truth))
    return torch.from_numpy((rank + within) / (len(samples) + 1))


class Coverage(NamedTuple):
    """Fraction of events inside the central interval of each probability; all (levels,) float64."""

    levels: torch.Tensor
    observed: torch.Tensor
    error: torch.Tensor


def coverage_curve(u, levels=None):
    """Fraction of events whose truth lies inside the central interval of each nominal probability.

        observed(L) = fraction of |u - 1/2| < L / 2,      error = sqrt(L (1 - L) / n)

    Errors are those of a calibrated prediction; the points of one curve share their events.

    Arguments:
        u: probability below the truth, from a `..._cdf` or, for Gaussian pulls, torch.special.ndtr(pulls).
        levels: nominal probabilities; None takes 0.05, 0.10 ... 0.95.
    Shapes:
        u (n,), levels (k,) -> Coverage of three (k,)
    Raises:
        ValueError: a u is outside 0 to 1, or a level is not inside.
    Example:
        >>> curve = coverage_curve((torch.arange(1000) + 0.5) / 1000, levels=[0.5, 0.9])
        >>> curve.observed
        tensor([0.5000, 0.9000], dtype=torch.float64)
    """
    (u,) = flat(u=u)
    (levels,) = flat(levels=np.arange(1, 20) / 20 if levels is None else levels)
    if (u < 0).any() or (u > 1).any():
        raise ValueError(f"{int(((u < 0) | (u > 1)).sum())} of {len(u)} probabilities u are outside 0 to 1")
    if (levels <= 0).any() or (levels >= 1).any():
        raise ValueError(f"levels are probabilities, between 0 and 1, not {levels.tolist()}")
    observed = (2 * np.abs(u - 0.5) < levels[:, None]).mean(1)
    error = np.sqrt(levels * (1 - levels) / len(u))
    return Coverage(*(torch.from_numpy(part) for part in (levels, observed, error)))


class CalibrationError(NamedTuple):
    """A calibration error, and what a calibrated prediction has on average with as many events."""

    value: float
    expected: float


def calibration_error(curve):
    """Mean distance between observed and nominal coverage.

        value = < |observed - L| >,      expected = < sqrt(2 / pi) error >  of a calibrated prediction

    Shapes:
        curve: Coverage of (levels,) -> CalibrationError(value, expected)
    Example:
        >>> error = calibration_error(coverage_curve((torch.arange(1000) + 0.5) / 1000))
        >>> round(error.value, 4), round(error.expected, 4)
        (0.0, 0.0103)

    Reference: Kuleshov et al. 2018, arXiv:1807.00263 (there with squares).
    """
    value = (curve.observed - curve.levels).abs().mean()
    return CalibrationError(float(value), float(math.sqrt(2 / math.pi) * curve.error.mean()))


def sharpness(sigma):
    """Root mean square of the predicted standard deviations: of two calibrated predictions the sharper one is better.

        s = sqrt(< sigma^2 >),      error = std(sigma^2) / (2 s sqrt(n))

    Shapes:
        sigma (n,) or (n, 1) -> Estimate, in the unit of sigma
    Raises:
        ValueError: a sigma is not positive.
    Example:
        >>> sharpness([3.0, 4.0, 5.0]).value ** 2
        16.666666666666668

    Reference: Kuleshov et al. 2018, arXiv:1807.00263 (there the mean variance).
    """
    (sigma,) = flat(sigma=sigma)
    if (sigma <= 0).any():
        raise ValueError(f"{int((sigma <= 0).sum())} of {len(sigma)} sigmas are not positive")
    value = math.sqrt((sigma**2).mean())
    return Estimate(value, float((sigma**2).std() / (2 * value * math.sqrt(len(sigma)))))


def mean_log_likelihood(log_prob):
    """Mean of the log-likelihood over held-out events, in nats per event; the better prediction has the larger one.

    Compare two predictions by the mean of their difference event by event: its error is the smaller one.

    Arguments:
        log_prob: with all constants, from gaussian_log_prob, mixture_log_prob or evidential_log_prob.
    Shapes:
        log_prob (n,) or (n, 1) -> Estimate
    Raises:
        ValueError: fewer than two events.
    Example:
        >>> mean_log_likelihood([-1.0, -3.0])
        Estimate(value=-2.0, error=1.0)
    """
    (log_prob,) = flat(log_prob=log_prob)
    if len(log_prob) < 2:
        raise ValueError("an error of the mean needs at least two events")
    return Estimate(float(log_prob.mean()), float(log_prob.std(ddof=1) / math.sqrt(len(log_prob))))


class Uncertainties(NamedTuple):
    """Prediction of each event and its standard deviations, all (n,) float64."""

    prediction: torch.Tensor
    statistical: torch.Tensor
    systematic: torch.Tensor
    total: torch.Tensor


def split_uncertainty(predictions, sigmas):
    """Split the predictive variance of M members, or samples of a Bayesian network, into two parts.

        sigma_stat^2 = 1/(M-1) sum_m (f_m - <f>)^2,      sigma_syst^2 = 1/M sum_m sigma_m^2,      total^2 = their sum

    The statistical part is what the members disagree about, and falls with more training events; the systematic part
    is the spread that each of them sees in the data. M members know sigma_stat to 1 / sqrt(2 (M - 1)).

    Shapes:
        predictions, sigmas (M, n) or (M, n, 1) -> Uncertainties of four (n,)
    Raises:
        ValueError: shapes differ, fewer than two members, or a sigma is not positive.
    Example:
        >>> split = split_uncertainty([[0.0], [2.0], [4.0]], [[1.5], [1.5], [1.5]])
        >>> split.statistical.item(), split.systematic.item(), split.total.item()
        (2.0, 1.5, 2.5)

    Reference: Bahl et al. 2024, arXiv:2412.12069.
    """
    predictions, sigmas = (torch.as_tensor(x).detach().to("cpu", torch.float64) for x in (predictions, sigmas))
    if predictions.shape != sigmas.shape:
        raise ValueError(f"predictions {tuple(predictions.shape)} and sigmas {tuple(sigmas.shape)} differ in shape")
    if predictions.ndim not in (2, 3) or predictions.shape[2:] not in ((), (1,)) or len(predictions) < 2:
        raise ValueError(f"predictions are (M, n) or (M, n, 1) with M >= 2, not {tuple(predictions.shape)}")
    if not (sigmas > 0).all():
        raise ValueError(f"{int((~(sigmas > 0)).sum())} of {sigmas.numel()} sigmas are not positive")
    predictions, sigmas = (x.reshape(len(x), -1) for x in (predictions, sigmas))
    statistical, systematic = predictions.var(dim=0), sigmas.square().mean(dim=0)
    return Uncertainties(
        predictions.mean(dim=0), statistical.sqrt(), systematic.sqrt(), (statistical + systematic).sqrt()
    )
