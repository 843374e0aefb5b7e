"""Exercises of tutorial 14a, the latent space: each with the package's own answer and the mistakes it knows."""

import torch

from .exercises import diagnose, exercise, expect, gradient, untouched


def explained_variance_reference(x):
    """Return the share of the variance along each principal component, the largest first; x (n, d) -> (d,)."""
    centred = x - x.mean(0)
    variances = torch.linalg.eigvalsh(centred.T @ centred / len(x)).flip(0)
    return variances / variances.sum()


@exercise(reference=explained_variance_reference)
def explained_variance(answer):
    """A cloud with known directions and widths, not centred."""
    generator = torch.Generator().manual_seed(3)
    turn = torch.linalg.qr(torch.randn(4, 4, dtype=torch.float64, generator=generator))[0]
    widths = torch.tensor([3.0, 2.0, 1.0, 0.5], dtype=torch.float64)
    x = torch.randn(400, 4, dtype=torch.float64, generator=generator) * widths @ turn.T + 5
    centred = x - x.mean(0)
    S = torch.linalg.svdvals(centred)
    wanted = S**2 / (S**2).sum()
    raw = torch.linalg.svdvals(x)
    columns = centred.square().mean(0).sort(descending=True).values
    hint = diagnose(
        [
            ("The cloud is not centred: subtract the mean of each feature.", raw**2 / (raw**2).sum()),
            ("Those are widths; a variance is their square.", S / S.sum()),
            ("Those are the variances of the features, not of the directions of the cloud.", columns / columns.sum()),
            ("The largest comes first.", wanted.flip(0)),
            ("Divide by the sum, so that all shares together are 1.", S**2 / len(x)),
            ("That is the sum of the first 1, 2, ... shares.", wanted.cumsum(0)),
        ],
        "The eigenvalues of the covariance matrix of the centred features, divided by their sum.",
    )
    given = x.clone()
    found = answer(given)
    untouched([given], [x], "x")
    expect("the shares", found, wanted, 1e-8, hint, tensor=True)
    return "they are the eigenvalues of the covariance, and add up to one"


def covariance_penalty_reference(z):
    """Return the sum of the squared off-diagonal entries of the correlation matrix of z (n, d), a scalar."""
    z = (z - z.mean(0)) / z.std(0, correction=0)
    R = z.T @ z / len(z)
    return (R - torch.diag(R.diag())).square().sum()


@exercise(reference=covariance_penalty_reference)
def covariance_penalty(answer):
    """Latent features with known correlations; and the gradient that training needs."""
    generator = torch.Generator().manual_seed(4)
    z = torch.randn(50, 3, dtype=torch.float64, generator=generator)
    z = z @ torch.tensor([[1.0, 0.8, 0.0], [0.0, 1.0, -0.5], [0.0, 0.0, 2.0]], dtype=torch.float64) + 1
    R = torch.corrcoef(z.T)
    off = ~torch.eye(3, dtype=torch.bool)
    wanted = R[off].square().sum()
    cov = torch.cov(z.T, correction=0)
    hint = diagnose(
        [
            ("The diagonal is in it: each feature correlates with itself.", R.square().sum()),
            ("Entries of both signs cancel: square them.", R[off].sum()),
            ("Features must be scaled to width 1, or the penalty only makes them small.", cov[off].square().sum()),
            ("That is the mean of the entries; the sum is asked for.", R[off].square().mean()),
            ("Each pair counts twice, above and below the diagonal.", wanted / 2),
            ("Subtract the means first.", _uncentred(z)),
        ],
        "Standardise the columns of z, R = z^T z / n, leave out the diagonal, square, add up.",
    )
    expect("the penalty", answer(z.clone()), wanted, 1e-8, hint)
    free = z.clone().requires_grad_()
    slope = gradient("the penalty", answer(free), free)
    own = z.clone().requires_grad_()
    expect("its gradient", slope, torch.autograd.grad(covariance_penalty_reference(own), own)[0], 1e-8)
    return "it vanishes for features that do not correlate"


def residual_reference(observable, count):
    """Return what is left of an observable (n,) when its best cubic polynomial in the count (n,) is taken away."""
    x = (count - count.mean()) / count.std()
    powers = torch.stack([x**k for k in range(4)], dim=1)  # (n, 4)
    return observable - powers @ torch.linalg.lstsq(powers, observable[:, None]).solution[:, 0]


@exercise(reference=residual_reference)
def residual(answer):
    """An observable that is a curve in the count, and something else."""
    generator = torch.Generator().manual_seed(5)
    count = torch.randint(10, 80, (300,), generator=generator).double()
    own = torch.randn(300, dtype=torch.float64, generator=generator)
    observable = 2 + count.log() + 0.1 * own
    wanted = residual_reference(observable, count)
    hint = diagnose(
        [
            ("That is the polynomial; what is left is the observable minus it.", observable - wanted),
            ("The sign: the observable minus the polynomial.", -wanted),
            ("A straight line leaves the curve behind: take powers up to the third.", _rest(observable, count, 1)),
            ("A parabola leaves some of the curve behind: take powers up to the third.",
             _rest(observable, count, 2)),
            ("The constant is missing among the powers.", _rest(observable, count, 3, first=1)),
            ("That takes the mean away, and nothing else.", observable - observable.mean()),
        ],
        "Powers 0 to 3 of the standardised count as columns, torch.linalg.lstsq, observable minus the fit.",
    )  # fmt: skip
    arguments = observable.clone(), count.clone()
    found = answer(*arguments)
    untouched(arguments, [observable, count], "an argument")
    expect("what is left", found, wanted, 1e-6, hint, tensor=True)
    return "a cubic in the count explains none of what is left"


def _rest(observable, count, last, first=0):
    x = (count - count.mean()) / count.std()
    powers = torch.stack([x**k for k in range(first, last + 1)], dim=1)
    return observable - powers @ torch.linalg.lstsq(powers, observable[:, None]).solution[:, 0]


def _uncentred(z):
    z = z / z.std(0, correction=0)
    R = z.T @ z / len(z)
    return (R - torch.diag(R.diag())).square().sum()


def _widths(x):
    return explained_variance_reference(x).sqrt()


MISTAKES = {
    "residual": [
        (lambda o, n: o - residual_reference(o, n), "That is the polynomial"),
        (lambda o, n: _rest(o, n, 1), "A straight line"),
        (lambda o, n: _rest(o, n, 3, first=1), "constant is missing"),
        (lambda o, n: -residual_reference(o, n), "The sign"),
    ],
    "explained_variance": [
        (lambda x: torch.linalg.svdvals(x) ** 2 / (torch.linalg.svdvals(x) ** 2).sum(), "not centred"),
        (lambda x: _widths(x) / _widths(x).sum(), "Those are widths"),
        (lambda x: explained_variance_reference(x).flip(0), "largest comes first"),
        (lambda x: x.var(0).sort(descending=True).values / x.var(0).sum(), "not of the directions"),
    ],
    "covariance_penalty": [
        (lambda z: torch.corrcoef(z.T).square().sum(), "diagonal is in it"),
        (lambda z: covariance_penalty_reference(z) / 2, "counts twice"),
        (lambda z: torch.cov(z.T, correction=0).fill_diagonal_(0).square().sum(), "scaled to width 1"),
        (lambda z: covariance_penalty_reference(z).detach(), "has no gradient"),
    ],
}  # fmt: skip
