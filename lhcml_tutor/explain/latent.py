"""What a network has learned: its latent space by principal components, and a latent space that is made to be read.

latent = model.pooled(features, mask)                        # (n, d), what a tagger knows of a jet
components = principal_components(latent)                    # fitted on some jets, applied to others
z = components(latent)                                       # (n, d), uncorrelated, largest variance first
read_out(z_train, label_train, z_test, label_test)           # how many of them does the classification need?
correlation_table(z[:, :5], {"n_pf": n_pf, ...})             # what are they?
"""

import math
from typing import NamedTuple

import numpy as np
import torch
from scipy.stats import rankdata
from torch.nn.functional import binary_cross_entropy_with_logits

from ..layers import MLP
from ..metrics import Estimate, rejection
from ..metrics import _two_classes as check_two_classes
from ..scale import device
from ..training import fit
from .classifiers import auc_with_error


class PrincipalComponents(NamedTuple):
    """Directions of largest variance of a latent space; made by `principal_components`.

    mean, scale (d,): of the latent numbers; directions (k, d): a unit vector each; share (k,): of the total variance.

    Example:
        >>> found = PrincipalComponents(torch.zeros(2), torch.ones(2), torch.eye(2), torch.tensor([0.9, 0.1]))
        >>> found(torch.tensor([[1.0, 2.0]]))
        tensor([[1., 2.]])
    """

    mean: torch.Tensor
    scale: torch.Tensor
    directions: torch.Tensor
    share: torch.Tensor

    def __call__(self, latent):
        """Return the components of events, (n, d) -> (n, k)."""
        return ((latent.detach().to(self.mean) - self.mean) / self.scale) @ self.directions.T


def principal_components(latent, standardised=True):
    """Fit the principal components of a latent space.

        z = ((latent - mean) / scale) V^T,      V C V^T diagonal, C the covariance, falling variance

    Standardised, every latent number counts alike (C is the correlation matrix); otherwise those that are large.
    The largest entry of each direction is positive, so that a sign means something.

    Arguments:
        standardised: whether scale is the standard deviation, or 1. Numbers that never change get 1, too.
    Shapes:
        latent (n, d) -> PrincipalComponents of d components, float64 on the CPU
    Raises:
        ValueError: another shape, not more events than latent numbers, numbers that are not finite or all constant.
    Example:
        >>> x = torch.randn(1000, 2, generator=torch.Generator().manual_seed(1))
        >>> found = principal_components(x @ torch.tensor([[3.0, 3.0], [1.0, -1.0]]), standardised=False)
        >>> found.share.round(decimals=1), found.directions[0].round(decimals=1)
        (tensor([0.9000, 0.1000], dtype=torch.float64), tensor([0.7000, 0.7000], dtype=torch.float64))

    Reference: Jolliffe, Cadima 2016, doi:10.1098/rsta.2015.0202.
    """
    from sklearn.decomposition import PCA

    latent = _matrix(latent, "latent").cpu().double()
    if len(latent) <= latent.shape[1]:
        raise ValueError(f"{latent.shape[1]} components need more events than {len(latent)}")
    deviation = latent.std(0, correction=0)
    changing = deviation > 1e-12 * latent.abs().amax(0)
    if not changing.any():
        raise ValueError("every latent number is the same for all events: there is no variance to look at")
    scale = torch.where(changing & torch.tensor(standardised), deviation, 1.0)
    mean = latent.mean(0)
    found = PCA().fit(((latent - mean) / scale).numpy())
    directions = torch.from_numpy(found.components_)
    largest = directions.gather(1, directions.abs().argmax(1, keepdim=True))
    return PrincipalComponents(
        mean, scale, directions * largest.sign(), torch.from_numpy(found.explained_variance_ratio_)
    )


class ReadOut(NamedTuple):
    """What the first k numbers are worth: AUC, rejection, and its ratio to that of all numbers; an Estimate each."""

    k: int
    auc: Estimate
    rejection: Estimate
    share: Estimate


def network_scores(train, label, test, hidden=(64, 64), steps=1000, seed=1):
    """Train a small network to tell two classes and return its logits for other events.

    A fifth of the training events chooses the best weights.

    Shapes:
        train (n, k), label (n,), test (m, k) -> (m,)
    Example:
        >>> x = torch.linspace(-1, 1, 200)[:, None]
        >>> scores = network_scores(x, (x[:, 0] > 0).float(), torch.tensor([[-0.5], [0.5]]), steps=100)
        >>> bool(scores[0] < 0 < scores[1])
        True
    """
    mean, width = train.mean(0), train.std(0).clamp(min=1e-12)
    x, y = ((train - mean) / width).float(), label.float()
    chosen = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed)).to(x.device)
    valid, rest = chosen[: len(x) // 5], chosen[len(x) // 5 :]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = MLP(x.shape[1], 1, hidden)

    def loss(model, batch):
        return binary_cross_entropy_with_logits(model(batch["x"])[:, 0], batch["y"])

    data, held_out = ({"x": x[rows], "y": y[rows]} for rows in (rest, valid))
    fit(model, loss, data, held_out, steps=steps, batch_size=256, learning_rate=2e-3, seed=seed, progress=False)
    with torch.no_grad():
        return model(((test - mean) / width).float().to(device()))[:, 0].cpu()


def tree_scores(train, label, test, seed=1):
    """Train boosted trees to tell two classes and return their logits for other events; the judge without a network.

    Shapes:
        train (n, k), label (n,), test (m, k) -> (m,)
    Example:
        >>> x = torch.linspace(-1, 1, 200)[:, None]
        >>> scores = tree_scores(x, x[:, 0] > 0, torch.tensor([[-0.5], [0.5]]))
        >>> bool(scores[0] < 0 < scores[1])
        True
    """
    from sklearn.ensemble import HistGradientBoostingClassifier

    trees = HistGradientBoostingClassifier(learning_rate=0.05, max_iter=200, random_state=seed)
    trees.fit(train.cpu().numpy(), label.cpu().numpy())
    return torch.from_numpy(trees.decision_function(test.cpu().numpy()))


def read_out(
    train, train_label, test, test_label, sizes=(1, 2, 3, 4, 5), scores=network_scores, efficiency=0.5, seed=1
):
    """Measure how well the first k of some numbers tell two classes, against all of them.

        share = rejection(first k) / rejection(all),      its error from drawing the test events 100 times anew

    Arguments:
        train, test: events with numbers in the order of importance, such as principal components.
        sizes: values of k; all numbers are added at the end.
        scores: function of (train, label, test, seed=...), gives a score of the test events.
        efficiency: of the signal at which the background rejection is taken.
        seed: of the read-out.
    Shapes:
        train (n, d), train_label (n,), test (m, d), test_label (m,) -> list of ReadOut
    Raises:
        ValueError: the numbers of events or columns do not fit, numbers are not finite, or k is not from 1 to d.
    Example:
        >>> label = torch.arange(2000) % 2
        >>> x = torch.randn(2000, 3, generator=torch.Generator().manual_seed(1))
        >>> x = x + label[:, None] * torch.tensor([1.0, 1.0, 0.0])
        >>> found = read_out(x[:1000], label[:1000], x[1000:], label[1000:], sizes=(1, 2), scores=tree_scores)
        >>> [one.k for one in found], found[0].auc.value < found[1].auc.value
        ([1, 2, 3], True)
    """
    train, test = _matrix(train, "train"), _matrix(test, "test")
    d = train.shape[1]
    if test.shape[1] != d or len(train_label) != len(train) or len(test_label) != len(test):
        raise ValueError(
            f"train (n, d), train_label (n,), test (m, d), test_label (m,) do not fit: {tuple(train.shape)}, "
            f"{tuple(train_label.shape)}, {tuple(test.shape)}, {tuple(test_label.shape)}"
        )
    if any(not 1 <= k <= d for k in sizes):
        raise ValueError(f"sizes are numbers of columns from 1 to {d}, not {tuple(sizes)}")
    for label in (train_label, test_label):
        check_two_classes(label)
    sizes = [*(k for k in sizes if k < d), d]
    found = [scores(train[:, :k], train_label, test[:, :k], seed=seed) for k in sizes]
    label = test_label.cpu()
    return [
        ReadOut(
            k,
            auc_with_error(score, label),
            rejection(score, label, efficiency),
            _share(score, found[-1], label, efficiency, seed),
        )
        for k, score in zip(sizes, found, strict=True)
    ]


def _share(score, full, label, efficiency, seed):
    """Return the ratio of two rejections on the same events."""

    def ratio(rows):
        some, all_of_them = (rejection(values[rows], label[rows], efficiency).value for values in (score, full))
        return some / all_of_them if math.isfinite(all_of_them) else math.nan

    generator = torch.Generator().manual_seed(seed)
    n = len(label)
    drawn = [ratio(torch.randint(n, (n,), generator=generator)) for _ in range(100)]
    return Estimate(ratio(torch.arange(n)), float(np.std(drawn, ddof=1)))


class Correlation(NamedTuple):
    """Correlation coefficients of an observable with k components, and their standard errors; (k,) each."""

    pearson: torch.Tensor
    pearson_error: torch.Tensor
    spearman: torch.Tensor
    spearman_error: torch.Tensor


def correlation_table(components, observables, repeats=100, seed=1):
    """Correlate components with observables.

        Pearson: cov(z, o) / (sigma_z sigma_o), for lines;      Spearman: the same of the ranks, for any rising curve

    Errors are from drawing the events `repeats` times anew.

    Arguments:
        observables: name -> column.
    Shapes:
        components (n, k), each observable (n,) -> {name: Correlation of (k,)}
    Raises:
        ValueError: shapes do not fit, numbers are not finite, or a column is constant.
    Example:
        >>> z = torch.linspace(-1, 1, 101)[:, None]
        >>> found = correlation_table(z, {"cube": z[:, 0] ** 3})["cube"]
        >>> found.pearson.round(decimals=2), found.spearman.round(decimals=2)
        (tensor([0.9200], dtype=torch.float64), tensor([1.], dtype=torch.float64))
    """
    z = _matrix(components, "components").cpu().double().numpy()
    names = list(observables)
    columns = [torch.as_tensor(observables[name]).detach().cpu().double().numpy() for name in names]
    for name, column in [
        *zip(names, columns, strict=True),
        *((f"component {i + 1}", z[:, i]) for i in range(z.shape[1])),
    ]:
        if column.shape != (len(z),):
            raise ValueError(f"{name} must be ({len(z)},) like the components, not {column.shape}")
        if not np.isfinite(column).all():
            raise ValueError(f"{name} is not finite in {int((~np.isfinite(column)).sum())} events: leave them out")
        if np.ptp(column) == 0:
            raise ValueError(f"{name} is the same in all events: it has no correlation with anything; leave it out")
    o, random = np.stack(columns, axis=1), np.random.default_rng(seed)
    drawn = [random.integers(len(z), size=len(z)) for _ in range(repeats)]
    values = []
    for of in (lambda x: x, lambda x: rankdata(x, axis=0)):
        values += [
            _correlation(of(z), of(o)),
            np.std([_correlation(of(z[rows]), of(o[rows])) for rows in drawn], axis=0, ddof=1),
        ]
    return {
        name: Correlation(*(torch.from_numpy(value[:, j].copy()) for value in values)) for j, name in enumerate(names)
    }


def _correlation(z, o):
    """Return Pearson's coefficients, (n, k), (n, m) -> (k, m)."""
    z, o = ((x - x.mean(0)) / x.std(0) for x in (z, o))
    return z.T @ o / len(z)


def _matrix(x, name):
    """Return events with their numbers, checked."""
    if x.ndim != 2 or not len(x):
        raise ValueError(f"{name} must be (n, d), one row for each event, not {tuple(x.shape)}")
    if not torch.isfinite(x).all():
        raise ValueError(
            f"{int((~torch.isfinite(x)).any(1).sum())} of {len(x)} rows of {name} are not finite: leave them out"
        )
    return x.detach()
