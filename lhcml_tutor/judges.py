"""Judges of generated events: a classifier that tries to tell them from true ones, and histograms.

A judge proves nothing before it has found something. Plant a defect of known size in a copy of the true events, and
state what the same judge, trained in the same way, makes of it: `classifier_test(true, spoiled)`.
"""

import math
from typing import NamedTuple

import numpy as np
import torch

from .metrics import auc


class Judgement(NamedTuple):
    """What a classifier found: area under the ROC curve with its standard error, and the logits of both samples.

    logit = log D / (1 - D), from a classifier that did not see the event. With n true and m generated events

        p_true / p_generated = exp(logit) m / n,      with weights, which are scaled to a sum of n, exp(logit) alone
    """

    auc: float
    error: float
    logit_true: torch.Tensor
    logit_generated: torch.Tensor


def classifier_test(true, generated, weights=None, folds=2, seed=1, **settings):
    """Train boosted trees to tell true from generated events, and judge each event by trees that did not see it.

        AUC = P(score of a true event > score of a generated one),      0.5: cannot be told apart
        error of the AUC at 0.5:  sqrt((n + m + 1) / (12 n m))

    Trees are the judge, not a network, since they are quick and see spikes and edges that a smooth function misses.
    With few events they underestimate a difference; they do not invent one, since no event is judged by its own trees.

    Arguments:
        true, generated: observables of the events, whatever should be compared; NaN for what an event does not have.
        weights: of the generated events, (m,), such as those of an earlier judgement; None: all 1.
        folds: parts that are judged by the trees trained on the others.
        seed: of the folds and the trees.
        settings: of sklearn's HistGradientBoostingClassifier, such as max_iter.
    Shapes:
        true (n, d), generated (m, d) -> Judgement with logits (n,) and (m,)
    Raises:
        ValueError: the samples have different observables, or fewer than 100 events.
    Example:
        >>> x = torch.randn(2000, 2, generator=torch.Generator().manual_seed(1))
        >>> found = classifier_test(x[:1000], x[1000:] + torch.tensor([1.0, 0.0]))
        >>> found.auc > 0.7, found.logit_true.shape
        (True, torch.Size([1000]))
    """
    from sklearn.ensemble import HistGradientBoostingClassifier

    if true.ndim != 2 or generated.ndim != 2 or true.shape[1] != generated.shape[1]:
        raise ValueError(f"true and generated must be (n, d) and (m, d), not {true.shape} and {generated.shape}")
    n, m = len(true), len(generated)
    if min(n, m) < 100:
        raise ValueError(f"a judge needs 100 events or more of each kind, not {n} and {m}")
    x = torch.cat([true.cpu().double(), generated.cpu().double()]).numpy()
    label = np.r_[np.ones(n), np.zeros(m)]
    weight = None  # not ones: with weights the trees take seconds for the quantiles of their bins
    if weights is not None:
        weight = torch.as_tensor(weights).cpu().double().numpy()
        weight = np.r_[np.ones(n), weight * (n / weight.sum())]
    random = np.random.default_rng(seed)
    fold = np.r_[random.permutation(n) % folds, random.permutation(m) % folds]
    score = np.zeros(n + m)
    options = {"max_iter": 400, "learning_rate": 0.05, "early_stopping": True, "n_iter_no_change": 20} | settings
    for k in range(folds):
        trees = HistGradientBoostingClassifier(random_state=seed + k, **options)
        trees.fit(x[fold != k], label[fold != k], sample_weight=None if weight is None else weight[fold != k])
        score[fold == k] = trees.decision_function(x[fold == k])
    logit = torch.from_numpy(score)
    return Judgement(auc(score, label, weight), math.sqrt((n + m + 1) / (12 * n * m)), logit[:n], logit[n:])


class Agreement(NamedTuple):
    """Agreement of two histograms over the bins with enough events; deviations in percent of the true ones.

    limit is the mean deviation that two samples of these sizes from one and the same density would show.
    """

    chi2: float
    deviation: float
    limit: float
    bins: int


def histogram_test(true, generated, weights=None, bins=30, share=0.01, low=0.001, high=0.99):
    """Compare one observable of two samples where most of the events are.

        chi2 per bin = mean of (t - g)^2 / (sigma_t^2 + sigma_g^2),      deviation = mean of |t - g| / t
        limit = mean of sqrt(2 / pi) sqrt(sigma_t^2 + sigma_g^2) / t

    over equally wide bins between two quantiles of the true events that hold at least `share` of them. The numbers of
    events are scaled to each other.

    Arguments:
        true, generated: one observable.
        weights: of the generated events, (m,); None: all 1.
        low, high: quantiles.
    Shapes:
        true (n,), generated (m,) -> Agreement
    Raises:
        ValueError: an observable that is not finite, or no bin with enough events.
    Example:
        >>> x = torch.randn(20_000, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        >>> found = histogram_test(x[:10_000], x[10_000:])
        >>> 0.3 < found.chi2 < 2, found.limit > 1
        (True, True)
    """
    t, g = true.detach().cpu().double().numpy(), generated.detach().cpu().double().numpy()
    w = np.ones(len(g)) if weights is None else torch.as_tensor(weights).cpu().double().numpy()
    if not (np.isfinite(t).all() and np.isfinite(g).all() and np.isfinite(w).all()):
        raise ValueError("the observable or a weight is not finite in some events; leave them out, and say how many")
    edges = np.linspace(*np.quantile(t, [low, high]), bins + 1)
    count, _ = np.histogram(t, edges)
    height, _ = np.histogram(g, edges, weights=w)
    square, _ = np.histogram(g, edges, weights=w * w)
    norm = len(t) / w.sum()
    bulk = count >= share * len(t)
    if not bulk.any():
        raise ValueError(f"no bin holds {100 * share:g}% of the events; use fewer bins than {bins}")
    t, g, variance = count[bulk], norm * height[bulk], count[bulk] + norm**2 * square[bulk]
    deviation, limit = 100 * np.abs(t - g) / t, 100 * math.sqrt(2 / math.pi) * np.sqrt(variance) / t
    chi2 = ((t - g) ** 2 / variance).mean()
    return Agreement(float(chi2), float(deviation.mean()), float(limit.mean()), int(bulk.sum()))
