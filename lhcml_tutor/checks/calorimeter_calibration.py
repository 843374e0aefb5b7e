"""Exercises of tutorial 03b, a calorimeter: each with the package's own answer and the mistakes it knows."""

import math
import re
import warnings
from itertools import pairwise

import numpy as np
import torch

from ..physics.response import log_response, topo_clusters
from .exercises import NotYet, diagnose, exercise, expect


def _log_likelihood(measured, rapidity, fraction, density, grid):
    """Return the Gaussian of log(measured / E) on a grid of log E without its constant, and its log s: (n, points)."""
    mean, s = log_response(grid.exp(), rapidity[:, None], fraction[:, None], density[:, None])
    return -(((measured.log()[:, None] - grid - mean) / s) ** 2) / 2 - s.log(), s.log()


def log_posterior_reference(measured, rapidity, fraction, density, grid):
    """Return log p(log E | x) on a grid of log E, normalised, shape (n, points)."""
    log_likelihood, _ = _log_likelihood(measured, rapidity, fraction, density, grid)
    return torch.log_softmax(log_likelihood, dim=1) - (grid[1] - grid[0]).log()


@exercise(reference=log_posterior_reference)
def log_posterior(answer):
    """Posteriors of a few clusters, their sum over the grid, and far from the peak."""
    clusters = topo_clusters(40, torch.Generator().manual_seed(3))
    seen = [clusters[k] for k in ("measured", "rapidity", "electromagnetic_fraction", "pile_up_density")]
    grid = torch.linspace(0.002, math.log(1000), 700, dtype=torch.float64)
    step = grid[1] - grid[0]
    likelihood, log_s = _log_likelihood(*seen, grid)
    wanted = torch.log_softmax(likelihood, dim=1) - step.log()
    mean, s = log_response(grid.exp(), *(part[:, None] for part in seen[1:]))
    flipped = -(((grid - seen[0].log()[:, None] - mean) / s) ** 2) / 2 - s.log()
    squared = -(((seen[0].log()[:, None] - grid - mean) / s**2) ** 2) / 2 - 2 * s.log()
    per_energy = torch.log_softmax(likelihood - grid, dim=1) - step.log()
    hint = diagnose(
        [
            ("The step is missing: probabilities of cells are not a density; subtract log(step).", wanted + step.log()),
            ("It is not normalised: divide by the sum over the grid times its step.", likelihood),
            ("-log s is missing. s depends on E, so it does not drop out of the ratio.",
             torch.log_softmax(likelihood + log_s, dim=1) - step.log()),
            ("The width is s, not s^2.", torch.log_softmax(squared, dim=1) - step.log()),
            ("The response is measured over true energy: log m - log E - mean, not the other way round.",
             torch.log_softmax(flipped, dim=1) - step.log()),
            ("It is normalised over the clusters, not over the grid: dim=1.",
             torch.log_softmax(likelihood, dim=0) - step.log()),
            ("That is even in E. The prior of the sample is even in log E: no factor 1/E.", per_energy),
        ],
        "log N(log m - log E | lambda, s) on the grid, minus the logarithm of its sum times the step.",
    )  # fmt: skip
    found = answer(*seen, grid)
    if torch.is_tensor(found) and torch.isinf(found).any():
        raise NotYet("exp() has underflowed far from the peak: stay in logarithms, log_softmax or logsumexp.")
    expect("log p", found, wanted, 1e-8, hint, tensor=True)
    return "it integrates to 1 and agrees with Bayes' theorem"


def bin_of_reference(values, edges):
    """Return the bin of each value, those outside in the outermost bins."""
    return np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)


@exercise(reference=bin_of_reference)
def bin_of(answer):
    """Bins of values inside, on edges and outside."""
    edges = np.array([1.0, 3.0, 10.0, 40.0, 100.0])
    values = np.array([0.2, 1.0, 2.9, 3.0, 9.0, 10.0, 35.0, 40.0, 99.0, 100.0, 500.0, -7.0])
    wanted = bin_of_reference(values, edges)
    right, left = (np.searchsorted(edges, values, side=side) for side in ("right", "left"))
    hint = diagnose(
        [
            ("It counts from 1: subtract 1, then clip.", right),
            ("Values outside have no bin yet: -1 takes the last bin in Python; clip to 0 and len(edges) - 2.",
             right - 1),
            ("Values above the last edge need the last bin, len(edges) - 2: there is one bin less than edges.",
             np.clip(right - 1, 0, len(edges) - 1)),
            ('A value on an inner edge belongs to the bin that begins there: side="right".',
             np.clip(left - 1, 0, len(edges) - 2)),
        ],
        'np.searchsorted(edges, values, side="right") - 1, clipped to 0 ... len(edges) - 2.',
    )  # fmt: skip
    found = answer(values, edges)
    expect("the bin", found, wanted, 1e-9, hint)
    if not np.issubdtype(np.asarray(found).dtype, np.integer):
        raise NotYet("bins are indices: return integers.")
    return "values inside, on edges and outside find their bins"


def split_reference(means, sigmas):
    """Return statistical, systematic and total standard deviation of M draws."""
    statistical, systematic = means.var(dim=0), (sigmas**2).mean(dim=0)
    return statistical.sqrt(), systematic.sqrt(), (statistical + systematic).sqrt()


@exercise(reference=split_reference)
def split(answer):
    """Parts of the uncertainty of 12 draws and 30 clusters."""
    generator = torch.Generator().manual_seed(4)
    means = torch.randn(12, 30, dtype=torch.float64, generator=generator)
    sigmas = 0.2 + 2 * torch.rand(12, 30, dtype=torch.float64, generator=generator)
    result = answer(means, sigmas)
    if not isinstance(result, (tuple, list)) or len(result) != 3:
        raise NotYet("return three tensors: statistical, systematic, total.")
    wanted = split_reference(means, sigmas)
    stat, syst, _ = wanted
    hints = (
        [
            ("That is the variance; take the root.", stat**2),
            ("Divide by M - 1: the mean was taken from the same draws.", means.std(dim=0, correction=0)),
            ("The draws scatter by this much; do not divide by sqrt(M), that is the error of their mean.",
             stat / math.sqrt(12)),
            ("That is the scatter of the clusters; the spread is over the draws, dim=0.", means.std(dim=1)),
        ],
        [("That is the mean of the sigmas; variances are averaged, then the root.", sigmas.mean(dim=0))],
        [("Variances add, not standard deviations.", stat + syst)],
    )  # fmt: skip
    for name, value, right, known in zip(("statistical", "systematic", "total"), result, wanted, hints):
        expect(name, value, right, 1e-9, diagnose(known, "Variance over the draws; mean of sigma^2; their sum."),
               tensor=True)  # fmt: skip
    return "two parts, and their sum in quadrature"


def closure_reference(predicted, true, edges):
    """Return the median of predicted / true in bins of the predicted energy."""
    which = np.searchsorted(edges, predicted, side="right") - 1
    return np.array([np.median((predicted / true)[which == i]) for i in range(len(edges) - 1)])


@exercise(reference=closure_reference)
def closure(answer):
    """Median ratios of skewed predictions, where mean, median and kinds of bins differ."""
    random = np.random.default_rng(5)
    true = np.exp(random.uniform(0, math.log(100), 6000))
    predicted = true * np.exp(0.3 * random.standard_normal(6000) + 0.1 * random.exponential(size=6000))
    edges = np.array([1.0, 4.0, 20.0, 100.0])
    inside = [(predicted >= a) & (predicted < b) for a, b in pairwise(edges)]
    in_true = [(true >= a) & (true < b) for a, b in pairwise(edges)]
    ratio = predicted / true
    hint = diagnose(
        [
            ("Bins of the *true* energy; use those of the predicted one. Section 6 says why.",
             [np.median(ratio[mask]) for mask in in_true]),
            ("That is the mean, which tails pull away; take the median.", [ratio[mask].mean() for mask in inside]),
            ("The ratio is upside down: predicted over true.", [np.median(1 / ratio[mask]) for mask in inside]),
            ("That is the ratio of the medians; take the median of the ratios.",
             [np.median(predicted[mask]) / np.median(true[mask]) for mask in inside]),
            ("Clusters outside all bins do not count; here they are in the outermost ones.",
             [np.median(ratio[bin_of_reference(predicted, edges) == i]) for i in range(3)]),
        ],
        "np.median of predicted / true, over the clusters with edges[i] <= predicted < edges[i + 1].",
    )  # fmt: skip
    found = answer(predicted, true, edges)
    expect("the median ratio", found, closure_reference(predicted, true, edges), 1e-6, hint)
    if not isinstance(found, np.ndarray):
        raise NotYet(f"the notebook computes with the result: return a numpy array, yours is a {type(found).__name__}.")
    return "medians in bins of the predicted energy"


def warn_outside_reference(clusters, ranges):
    """Return which clusters lie outside the training range (n,), and warn of each column with such clusters."""
    outside = torch.zeros_like(next(iter(clusters.values())), dtype=torch.bool)
    for name, (low, high) in ranges.items():
        beyond = ~((clusters[name] >= low) & (clusters[name] <= high))
        if beyond.any():
            told = f"{int(beyond.sum())} of {len(beyond)} clusters are outside the training range"
            warnings.warn(f"{name}: {told} {low:.4g} to {high:.4g}", stacklevel=2)
        outside |= beyond
    return outside


def _warned(answer, clusters, ranges):
    """Return the mask and the texts of the warnings of an answer."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        given = {name: column.clone() for name, column in clusters.items()}
        mask = answer(given, dict(ranges))
    for name, column in clusters.items():
        expect(f"the column {name}", given[name].nan_to_num(), column.nan_to_num(), hint="Only mark clusters.")
    return mask, [str(warning.message) for warning in caught]


@exercise(reference=warn_outside_reference)
def warn_outside(answer):
    """Masks and warnings for clusters inside, outside on either side, outside twice, and not a number."""
    ranges = {"measured": (0.5, 1010.0), "rapidity": (-2.5, 2.5), "pile_up_density": (0.0, 30.0)}
    good = {"measured": [0.5, 20.0, 1010.0, 40.0, 7.0, 9.0], "rapidity": [-2.5, 2.4, 0.0, 1.0, -1.0, 2.5],
            "pile_up_density": [0.0, 30.0, 10.0, 5.0, 1.0, 2.0], "energy": [1.0, 20, 5000, 40, 7, 9]}  # fmt: skip
    good = {name: torch.tensor(values, dtype=torch.float64) for name, values in good.items()}
    bad = {name: column.clone() for name, column in good.items()}
    bad["measured"][1], bad["measured"][2], bad["pile_up_density"][2] = 0.1, 2500.0, 60.0
    bad["rapidity"][0], bad["measured"][4] = -3.0, math.nan
    mask, texts = _warned(answer, good, ranges)
    none = torch.zeros(6, dtype=torch.bool)
    expect("the mask of clusters that are all inside", mask, none, tensor=True,
           hint="Both ends belong to the range; only the columns named in ranges count.")  # fmt: skip
    if texts:
        raise NotYet("clusters inside the range give a warning, too: who is always warned stops reading.")
    mask, texts = _warned(answer, bad, ranges)
    wanted = torch.tensor([1, 1, 1, 0, 1, 0], dtype=torch.bool)
    hint = diagnose(
        [
            ("NaN is missed: every comparison with it is False. Ask for what is inside, then negate.",
             [1, 1, 1, 0, 0, 0]),
            ("A range has two ends: the lower one is missed.", [0, 0, 1, 0, 1, 0]),
            ("A cluster is outside if *one* of its columns is: or, not and.", [0, 0, 0, 0, 0, 0]),
        ],
        "Outside is what is not low <= value <= high, in any column; one entry for each cluster, none left out.",
    )  # fmt: skip
    expect("the mask", mask, wanted, hint=hint)
    for name, count in (("measured", 3), ("rapidity", 1), ("pile_up_density", 1)):
        about = [text for text in texts if name in text]
        if not about:
            raise NotYet(f"clusters outside in {name!r} give no warning with its name: use warnings.warn.")
        pattern = r"(?<!\w)(?<!\w\.)-?\d+(?:\.\d+)?(?:e[+-]?\d+)?"
        numbers = [float(number) for number in re.findall(pattern, " ".join(about))]
        for what, number in (("how many clusters are outside", count), ("the lower end of the range", ranges[name][0]),
                             ("the upper end of the range", ranges[name][1])):  # fmt: skip
            if not any(abs(found - number) <= 0.01 * abs(number) for found in numbers):
                raise NotYet(f"the warning about {name!r} does not say {what}, {number:g}: {about[0]!r}.")
    if len(texts) != 3:
        raise NotYet(f"3 columns have clusters outside, and there are {len(texts)} warnings: one for each, please.")
    return "marked and warned of, and silent for clusters inside"


def _wrong_warning(inside=None, text=None, combine=torch.logical_or, start=False, always=False):
    """Return warn_outside with one mistake."""

    def wrong(clusters, ranges):
        outside = torch.full((len(clusters["measured"]),), start)
        for name, (low, high) in ranges.items():
            beyond = (inside or (lambda x, a, b: ~((x >= a) & (x <= b))))(clusters[name], low, high)
            if always or (beyond.any() and text != ""):
                told = text or "{count} outside {low} to {high}"
                warnings.warn(f"{name}: " + told.format(count=int(beyond.sum()), low=low, high=high), stacklevel=2)
            outside = combine(outside, beyond)
        return outside

    return wrong


def _normalised(change):
    """Return log_posterior with one mistake: change(log likelihood, log s, log step, grid)."""
    return lambda *given: change(*_log_likelihood(*given), (given[4][1] - given[4][0]).log(), given[4])


def _in_bins(statistic, by):
    """Return closure with another statistic, or other bins."""

    def wrong(predicted, true, edges):
        which = np.searchsorted(edges, by(predicted, true), side="right") - 1
        return np.array([statistic(predicted[which == i], true[which == i]) for i in range(len(edges) - 1)])

    return wrong


MISTAKES = {
    "log_posterior": [
        (_normalised(lambda like, log_s, log_step, grid: like.log_softmax(1)), "step is missing"),
        (_normalised(lambda like, log_s, log_step, grid: like), "not normalised"),
        (_normalised(lambda like, log_s, step, _: (like + log_s).log_softmax(1) - step), "-log s is missing"),
        (_normalised(lambda like, log_s, log_step, grid: like.log_softmax(0) - log_step), "over the clusters"),
        (_normalised(lambda like, log_s, log_step, grid: (like - grid).log_softmax(1) - log_step), "even in E"),
    ],
    "bin_of": [
        (lambda x, edges: np.searchsorted(edges, x, side="right"), "counts from 1"),
        (lambda x, edges: np.digitize(x, edges) - 1, "have no bin yet"),
        (lambda x, edges: np.clip(np.searchsorted(edges, x) - 1, 0, len(edges) - 2), "inner edge"),
        (lambda x, edges: np.clip(np.digitize(x, edges) - 1, 0, len(edges) - 1), "one bin less"),
    ],
    "split": [
        (lambda f, s: (f.std(0), s.mean(0), (f.var(0) + s.mean(0) ** 2).sqrt()), "variances are averaged"),
        (lambda f, s: (f.std(0), (s**2).mean(0).sqrt(), f.std(0) + (s**2).mean(0).sqrt()), "Variances add"),
        (lambda f, s: (f.std(0) / len(f) ** 0.5, (s**2).mean(0).sqrt(), s.mean(0)), "do not divide by sqrt(M)"),
        (lambda f, s: (f.var(0), (s**2).mean(0), f.var(0) + (s**2).mean(0)), "take the root"),
    ],
    "closure": [
        (_in_bins(lambda a, b: np.median(a / b), lambda a, b: b), "Bins of the *true* energy"),
        (_in_bins(lambda a, b: np.mean(a / b), lambda a, b: a), "take the median"),
        (_in_bins(lambda a, b: np.median(b / a), lambda a, b: a), "upside down"),
        (_in_bins(lambda a, b: np.median(a) / np.median(b), lambda a, b: a), "median of the ratios"),
    ],
    "warn_outside": [
        (_wrong_warning(inside=lambda x, a, b: (x < a) | (x > b)), "NaN is missed"),
        (_wrong_warning(inside=lambda x, a, b: ~(x <= b)), "two ends"),
        (_wrong_warning(combine=torch.logical_and, start=True), "or, not and"),
        (_wrong_warning(text=""), "give no warning"),
        (_wrong_warning(text="clusters outside {low} to {high}"), "how many"),
        (_wrong_warning(text="{count} outside"), "end of the range"),
        (_wrong_warning(always=True), "stops reading"),
        (lambda clusters, ranges: torch.tensor([False] * 4), "shape"),
    ],
}
