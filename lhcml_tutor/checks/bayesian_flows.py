"""Exercises of tutorial 06b, Bayesian flows: each with the package's own answer and the mistakes it knows."""

import math

import torch
from torch import distributions

from .exercises import NotYet, diagnose, exercise, expect, gradient

LOG_2_PI = math.log(2 * math.pi)


def flow_nll_reference(z, log_det):
    """Return the mean negative log-density of events whose places in the Gaussian are z (n, d)."""
    return (0.5 * z**2 + 0.5 * LOG_2_PI).sum(dim=1).mean() - log_det.mean()


@exercise(reference=flow_nll_reference)
def flow_nll(answer):
    """An affine map of three features, whose density is a Gaussian of torch.distributions."""
    generator = torch.Generator().manual_seed(21)
    x = torch.randn(40, 3, dtype=torch.float64, generator=generator)
    shift, scale = torch.tensor([0.3, -0.2, 1.0]).double(), torch.tensor([0.5, 2.0, 3.0]).double()
    z, log_det = (x - shift) / scale, -scale.log().sum().expand(40) + 0.1 * x[:, 0]
    base = distributions.Normal(torch.zeros(3).double(), 1.0).log_prob(z)  # (n, d)
    each = -(base.sum(1) + log_det)
    hint = diagnose(
        [
            ("The sign of log_det: it is log|det dz/dx|, and log p(x) = log p(z) + log_det.",
             -(base.sum(1) - log_det).mean()),
            ("log_det is missing: without it the flow can pull all events to z = 0.", -base.sum(1).mean()),
            ("The features are averaged: densities of independent features multiply, so sum over the axis of features.",
             -(base.mean(1) + log_det).mean()),
            ("That is the log-likelihood; the loss is minus it.", -each.mean()),
            ("That is the sum over the events; take the mean.", each.sum()),
            ("That is one number for each event; take the mean.", each),
            ("The constant d log(2 pi) / 2 is missing: the gap in nats needs it.", each.mean() - 1.5 * LOG_2_PI),
            ("The constant counts once for each feature.", each.mean() - LOG_2_PI),
            ("The factor 1/2 of the square is missing.", (z**2 + LOG_2_PI / 2).sum(1).mean() - log_det.mean()),
        ],
        "The mean over events of the sum over features of z^2 / 2 + log(2 pi) / 2, minus log_det.",
    )  # fmt: skip
    expect("the negative log-likelihood", answer(z.clone(), log_det.clone()), each.mean(), 1e-6, hint, tensor=True)
    free = log_det.clone().requires_grad_()
    slope = gradient("the loss", answer(z, free), free)
    expect("its gradient in log_det", slope, torch.full((40,), -1 / 40), 1e-6, "Is something detached?")
    return "it is that of torch.distributions, and so is its gradient"


def bayesian_loss_reference(log_prob, divergences, n_train):
    """Return the negative ELBO per event of a batch log_prob (batch,), with the KL of each layer."""
    return -log_prob.mean() + sum(divergences) / n_train


@exercise(reference=bayesian_loss_reference)
def bayesian_loss(answer):
    """A batch of 64 events out of 10,000, and three layers."""
    generator = torch.Generator().manual_seed(22)
    log_prob = torch.randn(64, dtype=torch.float64, generator=generator) - 1
    kls, n = [torch.tensor(value, dtype=torch.float64) for value in (120.0, 35.0, 7.0)], 10_000
    wanted, total = -log_prob.mean() + sum(kls) / n, sum(kls)
    hint = diagnose(
        [
            ("The KL is divided by the number of events of the whole training sample, not of the batch.",
             -log_prob.mean() + total / 64),
            ("The KL must be divided by the number of training events: the prior is there once, not for each event.",
             -log_prob.mean() + total),
            ("The divergences of independent layers add up; do not average them.", -log_prob.mean() + total / 3 / n),
            ("The KL must be paid: it comes with a plus in the loss.", -log_prob.mean() - total / n),
            ("The loss wants large densities: minus the mean of log_prob.", log_prob.mean() + total / n),
            ("Take the mean of log_prob over the batch, not the sum.", -log_prob.sum() + total / n),
            ("The KL is missing: then all widths shrink.", -log_prob.mean()),
            ("Both are sums over the sample in the ELBO: only the mean over the batch goes with KL / n.",
             -log_prob.sum() + total),
        ],
        "Minus the mean of log_prob over the batch, plus the sum of the divergences over n_train.",
    )  # fmt: skip
    value = answer(log_prob.clone(), [kl.clone() for kl in kls], n)
    expect("the loss", value, wanted, 1e-6, hint, tensor=True)
    more = -log_prob.mean() + total / 40_000
    fourfold = answer(log_prob.clone(), [kl.clone() for kl in kls], 4 * n)
    expect("the loss with four times as many training events", fourfold, more, 1e-6,
           "Only the KL changes, by a quarter.")  # fmt: skip
    free = torch.tensor(35.0, dtype=torch.float64, requires_grad=True)
    slope = gradient("the loss", answer(log_prob, [kls[0], free], n), free)
    expect("its gradient in the KL of one layer", slope, 1 / n, 1e-6, "Is something detached?")
    return "likelihood per event and KL / n"


def density_pull_reference(log_probs, true_log_prob):
    """Return the pull of the mean density of draws log_probs (M, n), and its relative error, each (n,)."""
    draws, truth = log_probs.exp(), true_log_prob.exp()
    return (draws.mean(dim=0) - truth) / draws.std(dim=0), draws.std(dim=0) / truth


@exercise(reference=density_pull_reference)
def density_pull(answer):
    """Twelve draws whose densities scatter by half, so that the mean of the density is not that of its logarithm."""
    generator = torch.Generator().manual_seed(23)
    truth = torch.randn(30, dtype=torch.float64, generator=generator)
    logs = truth + 0.5 * torch.randn(12, 30, dtype=torch.float64, generator=generator) + 0.2
    result = answer(logs, truth)
    if not isinstance(result, (tuple, list)) or len(result) != 2:
        raise NotYet("return two tensors: the pull, and the relative error of the density.")
    p, t = logs.exp(), truth.exp()
    mean, std = p.mean(0), p.std(0)
    if torch.is_tensor(result[1]) and result[1].shape == t.shape and torch.allclose(result[1], p.std(0, False) / t):
        std = p.std(0, False)  # over M instead of M - 1: as good an answer
    known = [
        ("The draws are logarithms: average the densities, exp(log p), not their logarithms.",
         (logs.mean(0) - truth) / logs.std(0)),
        ("The prediction is the mean of the densities, not the exponential of the mean logarithm.",
         (logs.mean(0).exp() - t) / std),
        ("The sign: prediction minus truth.", (t - mean) / std),
        ("sigma is the spread of one draw: that is what the posterior allows. Do not divide by sqrt(M).",
         (mean - t) / std * math.sqrt(12)),
        ("Divide by the standard deviation, not by the variance.", (mean - t) / std**2),
        ("That is the relative deviation; the pull is in units of sigma.", (mean - t) / t),
        ("Scatter over the draws, which are the first axis.", (p.mean(1)[:, None] - t) / p.std(1)[:, None]),
    ]  # fmt: skip
    expect("the pull", result[0], (mean - t) / std, 1e-6,
           diagnose(known, "(mean of the densities - truth) / standard deviation of the densities, over the draws."),
           tensor=True)  # fmt: skip
    known = [
        ("Relative to the truth: divide by it.", std),
        ("That is the relative variance.", std**2 / t**2),
        ("Divide by the true density, not by its logarithm.", std / truth),
    ]
    expect("the relative error", result[1], std / t, 1e-6,
           diagnose(known, "The standard deviation of the densities over the true density."), tensor=True)  # fmt: skip
    return "mean and spread of the densities, not of their logarithms"


def fit_error_reference(x, power, n):
    """Return the relative error of the density x^power (1 - x)^0 whose two exponents are fitted to n events."""
    one = torch.ones((), dtype=torch.float64)
    alpha, total = (power + 1) * one, (power + 2) * one  # of the beta distribution, beta = 1
    scores = torch.stack([
        x.double().log() - torch.digamma(alpha) + torch.digamma(total),
        (1 - x.double()).log() - torch.digamma(one) + torch.digamma(total),
    ])  # (2, n): derivatives of log p in the exponents  # fmt: skip
    common = torch.polygamma(1, total)
    information = torch.diag(torch.stack([torch.polygamma(1, alpha), torch.polygamma(1, one)])) - common
    covariance = torch.linalg.inv(information) / n
    return (scores * (covariance @ scores)).sum(dim=0).sqrt()


@exercise(reference=fit_error_reference)
def fit_error(answer):
    """The wedge and the kicker, with the information matrix by an integral instead of a formula."""
    u = (torch.arange(200_000, dtype=torch.float64) + 0.5) / 200_000
    x = torch.tensor([0.02, 0.2, 0.5, 0.8, 0.97], dtype=torch.float64)
    for power, n in ((1, 1000), (2, 4000)):
        sample = u ** (1 / (power + 1))  # events of the ramp, evenly in probability
        raw = torch.stack([sample.log(), (-torch.expm1(u.log() / (power + 1))).log()])
        mean = raw.mean(1, keepdim=True)
        information = (raw - mean) @ (raw - mean).T / len(u)
        logs = torch.stack([x.log(), (1 - x).log()])
        scores = logs - mean

        def of(scores, matrix):
            return (scores * (torch.linalg.inv(matrix) @ scores)).sum(0)

        right = of(scores, information)
        known = [
            ("The normalisation moves with the exponents: subtract the means of log x and log(1 - x).",
             (of(logs, information) / n).sqrt()),
            ("The two exponents are correlated: invert the whole matrix, not its diagonal alone.",
             (of(scores, torch.diag(information.diag())) / n).sqrt()),
            ("That is the variance; take its root.", right / n),
            ("n events carry n times the information: the error falls like 1 / sqrt(n).", right.sqrt()),
            ("The information adds up over n events: divide the variance by n, not the error.", right.sqrt() / n),
            ("The covariance is the inverse of the information matrix.",
             (of(scores, torch.linalg.inv(information)) / n).sqrt()),
            ("That is with one exponent alone.", (scores[0] ** 2 / information[0, 0] / n).sqrt()),
            ("That is the error of p itself; return that of p over p.",
             (right / n).sqrt() * (power + 1) * x**power),
        ]  # fmt: skip
        hint = _diagnose_closely(known, "sqrt(s^T I^-1 s / n) with the scores s and their covariance I.")
        expect(f"the relative error for x^{power}", answer(x, power, n), (right / n).sqrt(), 2e-4, hint, tensor=True)
    return "it is the error of a fit with two exponents, for both ramps"


def _diagnose_closely(known, otherwise):
    """Return a hint for `expect`, for known answers that come from an integral over a sample."""

    def hint(value, wanted):
        for text, wrong in known:
            wrong = torch.as_tensor(wrong, dtype=torch.float64)
            if value.shape == wrong.shape and torch.allclose(value.double(), wrong, rtol=2e-3, atol=1e-9):
                return text
        return otherwise

    return hint


def augmentation_weight_reference(pt, a):
    """Return the weight 1 + a ((pT - 15 GeV) / 100 GeV)^2 of each event."""
    return 1 + a * ((pt - 15) / 100) ** 2


@exercise(reference=augmentation_weight_reference)
def augmentation_weight(answer):
    """Weights of events, each with its own a."""
    pt = torch.tensor([15.0, 25.0, 65.0, 115.0, 315.0], dtype=torch.float64)
    a = torch.tensor([7.0, 0.0, 2.0, 10.0, 4.0], dtype=torch.float64)
    t = (pt - 15) / 100
    wanted = 1 + a * t**2
    hint = diagnose(
        [
            ("The 1 is missing: at a = 0 nothing may change.", a * t**2),
            ("Shift by 15 GeV before the square.", 1 + a * (pt / 100) ** 2),
            ("The bracket is squared.", 1 + a * t),
            ("a is not squared.", 1 + (a * t) ** 2),
            ("Divide by 100 GeV before the square.", 1 + a * (pt - 15) ** 2 / 100),
            ("Each event has its own a: multiply event by event.", (1 + a[:, None] * t**2)),
            ("Do not divide by the sum: an event at a = 0 keeps weight 1.", wanted / wanted.sum()),
            ("Do not divide by the mean: an event at a = 0 keeps weight 1.", wanted / wanted.mean()),
        ],
        "1 + a ((pT - 15) / 100)^2, pT in GeV.",
    )
    given = pt.clone()
    value = answer(given, a)
    if not torch.equal(given, pt):
        raise NotYet("the momenta that you were given were changed in place, and the notebook goes on with them; copy.")
    expect("the weight", value, wanted, 1e-6, hint, tensor=True)
    return "it is 1 at a = 0 and rises with pT"


MISTAKES = {
    "flow_nll": [
        (lambda z, j: (z**2 / 2 + LOG_2_PI / 2).sum(1).mean() + j.mean(), "sign of log_det"),
        (lambda z, j: (z**2 / 2 + LOG_2_PI / 2).mean() - j.mean(), "features are averaged"),
        (lambda z, j: (z**2 / 2 + LOG_2_PI / 2).sum(1).mean(), "log_det is missing"),
        (lambda z, j: -flow_nll_reference(z, j), "minus it"),
        (lambda z, j: (z**2 / 2).sum(1).mean() - j.mean(), "constant d log(2 pi) / 2"),
        (lambda z, j: flow_nll_reference(z, j).detach(), "no gradient"),
    ],
    "bayesian_loss": [
        (lambda p, k, n: -p.mean() + sum(k) / len(p), "not of the batch"),
        (lambda p, k, n: -p.mean() + sum(k), "divided by the number of training events"),
        (lambda p, k, n: -p.mean() + sum(k) / len(k) / n, "do not average"),
        (lambda p, k, n: -p.mean() - sum(k) / n, "must be paid"),
        (lambda p, k, n: -p.sum() + sum(k) / n, "not the sum"),
        (lambda p, k, n: -p.mean() + sum(k) / 10_000, "by a quarter"),
    ],
    "density_pull": [
        (lambda q, t: ((q.mean(0) - t) / q.std(0), q.std(0)), "not their logarithms"),
        (lambda q, t: (density_pull_reference(q, t)[0] * len(q) ** 0.5, q.exp().std(0) / t.exp()), "sqrt(M)"),
        (lambda q, t: (-density_pull_reference(q, t)[0], q.exp().std(0) / t.exp()), "prediction minus truth"),
        (lambda q, t: (density_pull_reference(q, t)[0], q.exp().std(0)), "Relative to the truth"),
        (lambda q, t: density_pull_reference(q, t)[0], "two tensors"),
    ],
    "fit_error": [
        (lambda x, k, n: n**0.5 * fit_error_reference(x, k, n), "n times the information"),
        (lambda x, k, n: fit_error_reference(x, k, n) ** 2, "take its root"),
        (lambda x, k, n: fit_error_reference(x, k, n) / n**0.5, "not the error"),
        (lambda x, k, n: fit_error_reference(x, k, n) * (k + 1) * x**k, "p itself"),
        (lambda x, k, n: (1 + (k + 1) * x.log()).abs() / n**0.5, "one exponent alone"),
    ],
    "augmentation_weight": [
        (lambda pt, a: a * ((pt - 15) / 100) ** 2, "1 is missing"),
        (lambda pt, a: 1 + a * (pt / 100) ** 2, "15 GeV before"),
        (lambda pt, a: 1 + a * (pt - 15) / 100, "bracket is squared"),
        (lambda pt, a: 1 + a * (pt - 15) ** 2 / 100, "100 GeV before"),
    ],
}  # fmt: skip
