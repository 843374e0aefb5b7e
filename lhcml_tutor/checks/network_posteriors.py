"""Exercises of tutorial 03a, network posteriors: each with the package's own answer and the mistakes it knows."""

import math

import torch
from torch import distributions

from .exercises import NotYet, diagnose, exercise, expect, gradient


def gaussian_kl_reference(mean, log_sigma, prior_width):
    """Return KL(q || p) of independent Gaussians to a prior of mean zero, summed over the weights."""
    ratio = (torch.exp(2 * log_sigma) + mean**2) / (2 * prior_width**2)
    return (math.log(prior_width) - log_sigma + ratio - 0.5).sum()


@exercise(reference=gaussian_kl_reference)
def gaussian_kl(answer):
    """Sum over a weight matrix, against torch.distributions, for a prior that is not of width one."""
    generator = torch.Generator().manual_seed(11)
    mean, log_sigma = torch.randn(2, 4, 3, dtype=torch.float64, generator=generator)
    tau, sigma = 0.7, log_sigma.exp()
    posterior, prior = distributions.Normal(mean, sigma), distributions.Normal(0 * mean, tau + 0 * sigma)
    each = distributions.kl_divergence(posterior, prior)
    wanted, logs, half = each.sum(), (math.log(tau) - log_sigma).sum(), 0.5 * each.numel()
    hint = diagnose(
        [
            ("The arguments are swapped: that is KL(p || q). Average under the posterior q, not under the prior.",
             distributions.kl_divergence(prior, posterior).sum()),
            ("The constant -1/2 of each weight is missing: KL must vanish where q equals p.", wanted + half),
            ("The logarithm log(tau / sigma) is missing: without it all widths would shrink to zero.", wanted - logs),
            ("The logarithm has the wrong sign: log(tau / sigma), large for a narrow posterior.", wanted - 2 * logs),
            ("The factor 1/2 of the squares is missing.",
             (math.log(tau) - log_sigma + (sigma**2 + mean**2) / tau**2 - 0.5).sum()),
            ("That is the mean over the weights; the KLs of independent weights add up.", each.mean()),
            ("That is one number for each weight; take the sum.", each),
            ("prior_width is the standard deviation tau, not the variance.",
             (math.log(tau) / 2 - log_sigma + (sigma**2 + mean**2) / (2 * tau) - 0.5).sum()),
            ("sigma must be squared: exp(2 log sigma).",
             (math.log(tau) - log_sigma + (sigma + mean**2) / (2 * tau**2) - 0.5).sum()),
        ],
        "The sum over the weights of log(tau / sigma) + (sigma^2 + mean^2) / (2 tau^2) - 1/2.",
    )  # fmt: skip
    expect("the KL divergence", answer(mean, log_sigma, tau), wanted, 1e-6, hint, tensor=True)
    for name, slope in (("mean", mean / tau**2), ("log sigma", sigma**2 / tau**2 - 1)):
        free = {"mean": mean.clone(), "log sigma": log_sigma.clone()}
        free[name].requires_grad_()
        found = gradient(f"the KL in {name}", answer(*free.values(), tau), free[name])
        expect(f"its gradient in {name}", found, slope, 1e-6, "Is something detached?")
    return "it agrees with torch.distributions, and so does its gradient"


def output_moments_reference(x, weight, bias, log_sigma_weight, log_sigma_bias):
    """Return mean and variance, each (n, outputs), of a linear layer with independent Gaussian weights."""
    mean = x @ weight.T + bias
    return mean, x**2 @ torch.exp(2 * log_sigma_weight).T + torch.exp(2 * log_sigma_bias)


@exercise(reference=output_moments_reference)
def output_moments(answer):
    """Mean and variance of a small layer, against the sum written out weight by weight."""
    generator = torch.Generator().manual_seed(12)
    real = {"dtype": torch.float64, "generator": generator}
    x, (weight, log_s) = torch.randn(6, 4, **real), torch.randn(2, 3, 4, **real)
    bias, log_b = torch.randn(2, 3, **real)
    result = answer(x, weight, bias, log_s, log_b)
    if not isinstance(result, (tuple, list)) or len(result) != 2:
        raise NotYet("return two tensors: mean and variance.")
    s, b = log_s.exp(), log_b.exp()
    mean = torch.stack([(x * w).sum(1) + c for w, c in zip(weight, bias)], dim=1)
    variance = torch.stack([(x**2 * w**2).sum(1) + c**2 for w, c in zip(s, b)], dim=1)
    expect("the mean", result[0], mean, 1e-9,
           diagnose([("The bias is missing.", mean - bias)], "x W^T + b with the means of the weights."),
           tensor=True)  # fmt: skip
    hint = diagnose(
        [
            ("x must be squared as well: the variance of x w is x^2 sigma^2.", x @ (s**2).T + b**2),
            ("Variances add, not widths: square the sigmas of weights and bias.", x**2 @ s.T + b),
            ("The variance of the bias is missing.", variance - b**2),
            ("That is the standard deviation; return the variance.", variance.sqrt()),
            ("Widths do not add; their squares do.", (x.abs() @ s.T + b) ** 2),
            ("The logarithms were taken for the widths.", x**2 @ (log_s**2).T + log_b**2),
        ],
        "Sum over the inputs of x^2 sigma_W^2, plus sigma_b^2.",
    )
    expect("the variance", result[1], variance, 1e-9, hint, tensor=True)
    free = log_s.clone().requires_grad_()
    slope = gradient("the variance", answer(x, weight, bias, free, log_b)[1], free)
    expect("the gradient of the variance", slope, 2 * s**2 * (x**2).sum(0), 1e-9, "Is something detached?")
    return "it agrees with the sum written out weight by weight"


def split_variance_reference(means, sigmas):
    """Return the statistical and the systematic standard deviation, each (n,), of members (M, n)."""
    return means.std(dim=0), (sigmas**2).mean(dim=0).sqrt()


@exercise(reference=split_variance_reference)
def split_variance(answer):
    """Members whose means and sigmas are known, with the statistical part the smaller one."""
    generator = torch.Generator().manual_seed(13)
    means = 0.3 * torch.randn(12, 7, dtype=torch.float64, generator=generator)
    sigmas = 0.5 + 2 * torch.rand(12, 7, dtype=torch.float64, generator=generator)
    result = answer(means, sigmas)
    if not isinstance(result, (tuple, list)) or len(result) != 2:
        raise NotYet("return two tensors: the statistical and the systematic standard deviation.")
    statistical, systematic = means.std(0), sigmas.square().mean(0).sqrt()
    biased = means.std(0, correction=0)  # over M instead of M - 1: as good an answer
    if torch.is_tensor(result[0]) and result[0].shape == biased.shape and torch.allclose(result[0].double(), biased):
        statistical = biased
    known = [
        ("The two are swapped: the statistical part is what the members disagree about.", systematic),
        ("That is a variance; take its root.", means.var(0)),
        ("That is a variance; take its root.", means.var(0, correction=0)),
        ("That is the scatter of the sigmas; the statistical part is the scatter of the means.", sigmas.std(0)),
        ("Scatter over the members, which are the first axis.", means.std(1)),
    ]
    expect("the statistical part", result[0], statistical, 1e-9,
           diagnose(known, "The standard deviation of the means over the members."), tensor=True)  # fmt: skip
    known = [
        ("Average the variances, not the sigmas: the root of the mean of sigma^2.", sigmas.mean(0)),
        ("That is a variance; take its root.", sigmas.square().mean(0)),
        ("That is the total; leave the statistical part out.", (statistical**2 + systematic**2).sqrt()),
        ("Average over the members, which are the first axis.", sigmas.square().mean(1).sqrt()),
    ]
    expect("the systematic part", result[1], systematic, 1e-9,
           diagnose(known, "The root of the mean of sigma^2 over the members."), tensor=True)  # fmt: skip
    return "variance of the means and mean of the variances"


def evidential_log_prob_reference(gamma, nu, alpha, beta, y):
    """Return the logarithm of the evidential density, a Student-t, at y, event by event."""
    width = 2 * beta * (1 + nu) / nu
    norm = torch.lgamma(alpha + 0.5) - torch.lgamma(alpha) - 0.5 * torch.log(math.pi * width)
    return norm - (alpha + 0.5) * torch.log1p((y - gamma) ** 2 / width)


@exercise(reference=evidential_log_prob_reference)
def evidential_log_prob(answer):
    """The evidential density against the Student-t of torch.distributions, with its gradient, and far out."""
    generator = torch.Generator().manual_seed(14)
    gamma, y = torch.randn(2, 50, dtype=torch.float64, generator=generator)
    nu, alpha, beta = 0.3 + 2 * torch.rand(3, 50, dtype=torch.float64, generator=generator)
    alpha = alpha + 1
    c = (1 + nu) / nu
    wanted = distributions.StudentT(2 * alpha, gamma, (beta * c / alpha).sqrt()).log_prob(y)

    def t(alpha, beta, c, power):
        norm = torch.lgamma(alpha + 0.5) - torch.lgamma(alpha) - 0.5 * torch.log(2 * math.pi * beta * c)
        return norm - power * torch.log1p((y - gamma) ** 2 / (2 * beta * c))

    gammas = torch.lgamma(alpha + 0.5) - torch.lgamma(alpha)
    hint = diagnose(
        [
            ("The exponent is alpha + 1/2.", t(alpha, beta, c, alpha)),
            ("The exponent is alpha + 1/2, not alpha + 1.", t(alpha, beta, c, alpha + 1)),
            ("The factor c = 1 + 1/nu is missing: the mean is uncertain as well.",
             t(alpha, beta, torch.ones_like(nu), alpha + 0.5)),
            ("c is 1 + 1/nu, not 1 + nu.", t(alpha, beta, 1 + nu, alpha + 0.5)),
            ("The Gamma functions are missing; they depend on alpha, which the network predicts.", wanted - gammas),
            ("log(2 pi beta c) / 2 is missing: without it beta grows without bound.",
             wanted + 0.5 * torch.log(2 * math.pi * beta * c)),
            ("That is minus the logarithm; return log p itself.", -wanted),
            ("That is the density; return its logarithm.", wanted.exp()),
            ("That is the mean over the events; return one number for each.", wanted.mean()),
        ],
        "lgamma(alpha + 1/2) - lgamma(alpha) - log(2 pi beta c) / 2 - (alpha + 1/2) log(1 + Delta^2 / (2 beta c)).",
    )  # fmt: skip
    expect("log p", answer(gamma, nu, alpha, beta, y), wanted, 1e-9, hint, tensor=True)
    free = gamma.clone().requires_grad_()
    slope = gradient("log p", answer(free, nu, alpha, beta, y), free)
    expect("the gradient in gamma", slope, (2 * alpha + 1) * (y - gamma) / (2 * beta * c + (y - gamma) ** 2), 1e-9,
           "Is something detached?")  # fmt: skip
    far = [torch.full((2,), value, dtype=torch.float64) for value in (0.0, 1.0, 200.0, 0.01, 30.0)]
    expect("log p of an outlier", answer(*far), evidential_log_prob_reference(*far), 1e-9,
           "Add logarithms: powers and Gamma functions leave the range of the numbers.")  # fmt: skip
    return "it is a Student-t with 2 alpha degrees of freedom"


def coverage_curve_reference(u, levels):
    """Return the fraction of u inside the central interval of each level."""
    return ((u[:, None] - 0.5).abs() < levels / 2).double().mean(dim=0)


@exercise(reference=coverage_curve_reference)
def coverage_curve(answer):
    """Coverage of Gaussian pulls of width 1.5 around 0.2, whose u and coverage are known."""
    normal, wide = distributions.Normal(0.0, 1.0), distributions.Normal(0.2, 1.5)
    steps = (torch.arange(4000, dtype=torch.float64) + 0.5) / 4000
    u = normal.cdf(wide.icdf(steps))
    levels = torch.tensor([0.1, 0.38, 0.683, 0.9, 0.95], dtype=torch.float64)
    edge = normal.icdf((1 + levels) / 2)
    wanted = wide.cdf(edge) - wide.cdf(-edge)
    distance = (u[:, None] - 0.5).abs()
    hint = diagnose(
        [
            ("That is the fraction below the level; the central interval has half of the rest on each side.",
             (u[:, None] < levels).double().mean(0)),
            ("An interval of probability L reaches L/2 to each side of the median u = 1/2.",
             (distance < levels).double().mean(0)),
            ("That is the part outside the interval.", (distance >= levels / 2).double().mean(0)),
            ("Measure from the middle, u = 1/2.", (u[:, None] < levels / 2).double().mean(0)),
        ],
        "The mean of |u - 1/2| < L / 2, level by level.",
    )  # fmt: skip
    expect("the coverage", answer(u, levels), wanted, 1e-3, hint, tensor=True)
    return "the curve of a sigma that is a third too small is recovered"


MISTAKES = {
    "gaussian_kl": [
        (lambda m, s, t: (s - math.log(t) + (t**2 + m**2) / (2 * torch.exp(2 * s)) - 0.5).sum(), "swapped"),
        (lambda m, s, t: (math.log(t) - s + (torch.exp(2 * s) + m**2) / (2 * t**2)).sum(), "constant -1/2"),
        (lambda m, s, t: ((torch.exp(2 * s) + m**2) / (2 * t**2) - 0.5).sum(), "logarithm log(tau / sigma) is missing"),
        (lambda m, s, t: gaussian_kl_reference(m, s, t) / m.numel(), "mean over the weights"),
        (lambda m, s, t: gaussian_kl_reference(m, s, t).detach(), "no gradient"),
        (lambda m, s, t: gaussian_kl_reference(m.detach(), s, t), "no gradient"),
        (lambda m, s, t: gaussian_kl_reference(m, s, t**0.5), "not the variance"),
    ],
    "output_moments": [
        (lambda x, w, b, s, c: (x @ w.T + b, x @ torch.exp(2 * s).T + torch.exp(2 * c)), "x must be squared"),
        (lambda x, w, b, s, c: (x @ w.T + b, x**2 @ torch.exp(s).T + torch.exp(c)), "Variances add"),
        (lambda x, w, b, s, c: (x @ w.T + b, x**2 @ torch.exp(2 * s).T), "variance of the bias is missing"),
        (lambda x, w, b, s, c: (x @ w.T, x**2 @ torch.exp(2 * s).T), "bias is missing"),
        (lambda x, w, b, s, c: x @ w.T + b, "two tensors"),
    ],
    "split_variance": [
        (lambda f, s: ((s**2).mean(0).sqrt(), f.std(0)), "swapped"),
        (lambda f, s: (f.std(0), s.mean(0)), "Average the variances"),
        (lambda f, s: (f.var(0), (s**2).mean(0)), "take its root"),
        (lambda f, s: (f.std(0), (f.var(0) + (s**2).mean(0)).sqrt()), "leave the statistical part out"),
    ],
    "evidential_log_prob": [
        (lambda g, n, a, b, y: evidential_log_prob_reference(g, 1e15 * n, a, b, y), "mean is uncertain"),
        (lambda g, n, a, b, y: evidential_log_prob_reference(g, 1 / n, a, b, y), "not 1 + nu"),
        (lambda g, n, a, b, y: -evidential_log_prob_reference(g, n, a, b, y), "minus the logarithm"),
        (lambda g, n, a, b, y: evidential_log_prob_reference(g, n, a, b, y).mean(), "mean over the events"),
        (lambda g, n, a, b, y: evidential_log_prob_reference(g, n, a, b, y).exp().log(), "Add logarithms"),
    ],
    "coverage_curve": [
        (lambda u, q: (u[:, None] < q).double().mean(0), "below the level"),
        (lambda u, q: ((u[:, None] - 0.5).abs() < q).double().mean(0), "to each side"),
        (lambda u, q: ((u[:, None] - 0.5).abs() > q / 2).double().mean(0), "outside the interval"),
    ],
}  # fmt: skip
