"""Exercises of tutorial 02a, learned uncertainty: each with the package's own answer and the mistakes it knows."""

import math

import torch
from torch import distributions

from .exercises import diagnose, exercise, expect, gradient


def _gaussians(n=200, seed=5):
    """Return means, logarithms of widths and targets, each (n,), float64; widths from 0.2 to 3."""
    generator = torch.Generator().manual_seed(seed)
    mean, spread, noise = torch.randn(3, n, dtype=torch.float64, generator=generator)
    log_sigma = (0.2 + 2.8 * torch.rand(n, dtype=torch.float64, generator=generator)).log()
    return mean + spread, log_sigma, mean + log_sigma.exp() * noise


def heteroscedastic_loss_reference(mean, log_sigma, target):
    """Return the mean over the events of (y - f)^2 / (2 sigma^2) + log sigma."""
    return (((target - mean) * torch.exp(-log_sigma)) ** 2 / 2 + log_sigma).mean()


@exercise(reference=heteroscedastic_loss_reference)
def heteroscedastic_loss(answer):
    """Loss of Gaussians of known widths, against torch.distributions without the constant; and its gradient."""
    mean, log_sigma, target = _gaussians()
    sigma, square = log_sigma.exp(), (target - mean) ** 2
    constant = math.log(2 * math.pi) / 2
    wanted = -distributions.Normal(mean, sigma).log_prob(target).mean() - constant
    hint = diagnose(
        [
            ("log sigma is missing: then the best sigma is infinite.", (square / (2 * sigma**2)).mean()),
            ("sigma stands where sigma^2 belongs: square the whole pull.", (square / (2 * sigma) + log_sigma).mean()),
            ("That is the sum over the events; take the mean, so that the step does not depend on the batch size.",
             (square / (2 * sigma**2) + log_sigma).sum()),
            ("The factor 1/2 in front of the square is missing.", (square / sigma**2 + log_sigma).mean()),
            ("log sigma was taken for sigma: the network gives the logarithm, exponentiate it.",
             (square / (2 * log_sigma**2) + log_sigma).mean()),
            ("The sign of log sigma is reversed: a large sigma must cost something.",
             (square / (2 * sigma**2) - log_sigma).mean()),
            ("log sigma^2 = 2 log sigma: with sigma^2 in the square it is log sigma once.",
             (square / (2 * sigma**2) + 2 * log_sigma).mean()),
            ("That is right, but leave the constant log(2 pi) / 2 out: it does not depend on the network.",
             wanted + constant),
        ],
        "(y - f)^2 / (2 sigma^2) + log sigma, the mean over the events.",
    )  # fmt: skip
    expect("the loss", answer(mean, log_sigma, target), wanted, 1e-9, hint, tensor=True)
    tiny = answer(mean, log_sigma - 8, mean + (target - mean) * math.exp(-8))
    expect("the loss of small sigmas", tiny, wanted - 8, 1e-9, "Is sigma or its square bounded from below?")
    for name, slope in (("mean", (mean - target) / sigma**2), ("log_sigma", 1 - square / sigma**2)):
        free = {"mean": mean, "log_sigma": log_sigma}
        free[name] = free[name].clone().requires_grad_()
        loss = answer(free["mean"], free["log_sigma"], target)
        slope_found = gradient(f"the loss in {name}", loss, free[name])
        expect(f"the gradient in {name}", slope_found, slope / len(mean), 1e-9, "Is something detached?")
    return "value and gradient agree with the Gaussian likelihood"


def mean_amplitude_reference(mean, sigma):
    """Return the mean of A when log A is Gaussian, exp(f + sigma^2 / 2)."""
    return torch.exp(mean + sigma**2 / 2)


@exercise(reference=mean_amplitude_reference)
def mean_amplitude(answer):
    """Means of log-normal numbers, against quadrature with the Gaussian weight."""
    mean = torch.linspace(-1, 2, 7, dtype=torch.float64)
    sigma = torch.linspace(0.05, 0.8, 7, dtype=torch.float64)
    grid = torch.linspace(-10, 10, 40_001, dtype=torch.float64)[:, None]
    weight = torch.exp(-(grid**2) / 2) / math.sqrt(2 * math.pi)
    wanted = torch.trapezoid(torch.exp(mean + sigma * grid) * weight, grid, dim=0)
    hint = diagnose(
        [
            ("That is the median of A. The long tail to the right moves the mean up.", mean.exp()),
            ("The sign is reversed: the mean of A lies above exp(f).", torch.exp(mean - sigma**2 / 2)),
            ("The factor 1/2 is missing.", torch.exp(mean + sigma**2)),
            ("sigma must be squared.", torch.exp(mean + sigma / 2)),
            ("That is the mean of log A; you are asked for the mean of A: exponentiate.", mean + sigma**2 / 2),
        ],
        "Complete the square: y - (y - f)^2 / (2 sigma^2) has its maximum at y = f + sigma^2.",
    )
    expect("the mean of A", answer(mean, sigma), wanted, 1e-7, hint, tensor=True)
    return "it agrees with the integral over the Gaussian"


def pull_reference(prediction, sigma, truth):
    """Return (prediction - truth) / sigma."""
    return (prediction - truth) / sigma


@exercise(reference=pull_reference)
def pull(answer):
    """Pulls of Gaussians of known widths."""
    prediction, log_sigma, truth = _gaussians(seed=6)
    sigma, difference = log_sigma.exp(), prediction - truth
    hint = diagnose(
        [
            ("The sign is reversed: prediction minus truth, so that a pull above 0 is a prediction too high.",
             -difference / sigma),
            ("sigma^2 stands where sigma belongs: a pull has no unit.", difference / sigma**2),
            ("That is the relative deviation; divide by sigma, not by the truth.", difference / truth),
            ("log sigma stands where sigma belongs.", difference / log_sigma),
            ("Keep the sign: without it a bias could not be seen.", difference.abs() / sigma),
        ],
        "(prediction - truth) / sigma.",
    )  # fmt: skip
    expect("the pulls", answer(prediction, sigma, truth), difference / sigma, 1e-9, hint, tensor=True)
    return "prediction minus truth in units of sigma"


def coverage_curve_reference(pulls, levels):
    """Return the fraction of pulls inside the central Gaussian interval of each level."""
    return (pulls.abs()[:, None] < math.sqrt(2) * torch.erfinv(levels)).double().mean(dim=0)


@exercise(reference=coverage_curve_reference)
def coverage_curve(answer):
    """Coverage of pulls that lie at the quantiles of a Gaussian of width 1.5 around 0.2, where it is known."""
    u = (torch.arange(2000, dtype=torch.float64) + 0.5) / 2000
    pulls = 0.2 + 1.5 * math.sqrt(2) * torch.erfinv(2 * u - 1)
    levels = torch.tensor([0.1, 0.38, 0.683, 0.9, 0.95], dtype=torch.float64)
    z = math.sqrt(2) * torch.erfinv(levels)
    wide = distributions.Normal(0.2, 1.5)
    wanted = wide.cdf(z) - wide.cdf(-z)

    def inside(values, edge):
        return (values[:, None] < edge).double().mean(dim=0)

    hint = diagnose(
        [
            ("Take |pull|: an interval ends on both sides.", inside(pulls, z)),
            ("The factor sqrt(2) is missing: erf(z / sqrt(2)) is the probability within z.",
             inside(pulls.abs(), torch.erfinv(levels))),
            ("That is the part outside the interval.", 1 - inside(pulls.abs(), z)),
            ("The level itself was taken for the edge of the interval.", inside(pulls.abs(), levels)),
            ("That is the one-sided quantile; the central interval leaves half of the rest on each side.",
             inside(pulls.abs(), distributions.Normal(0.0, 1.0).icdf(levels))),
        ],
        "The mean of |pull| < sqrt(2) erfinv(level), level by level.",
    )  # fmt: skip
    expect("the coverage", answer(pulls, levels), wanted, 2e-3, hint, tensor=True)
    return "the curve of a sigma that is a third too small is recovered"


def mixture_log_likelihood_reference(log_weights, means, log_sigmas, target):
    """Return log p(y|x) of a mixture of Gaussians."""
    pulls = (target[:, None] - means) * torch.exp(-log_sigmas)
    return torch.logsumexp(log_weights - pulls**2 / 2 - log_sigmas - math.log(2 * math.pi) / 2, dim=1)


@exercise(reference=mixture_log_likelihood_reference)
def mixture_log_likelihood(answer):
    """Mixtures of three Gaussians against torch.distributions, also far from all of them."""
    generator = torch.Generator().manual_seed(7)
    logits, means, log_sigmas = torch.randn(3, 100, 3, dtype=torch.float64, generator=generator)
    log_weights = torch.log_softmax(logits, dim=1)
    target = torch.randn(100, dtype=torch.float64, generator=generator)
    parts = distributions.Normal(means, log_sigmas.exp())
    wanted = distributions.MixtureSameFamily(distributions.Categorical(logits=logits), parts).log_prob(target)
    gaussians = parts.log_prob(target[:, None])
    constant = math.log(2 * math.pi) / 2
    hint = diagnose(
        [
            ("The weights are missing: each Gaussian counts a_k times.", gaussians.logsumexp(1)),
            ("That is the mean of the logarithms; the logarithm of a sum is not the sum of logarithms.",
             (log_weights.exp() * gaussians).sum(1)),
            ("The constant log(2 pi) / 2 is missing, which counts when models are compared.", wanted + constant),
            ("log sigma is missing in the Gaussians.", (log_weights + gaussians + log_sigmas).logsumexp(1)),
            ("That is minus the logarithm; return log p itself.", -wanted),
            ("That is the mean over the events; return one number for each.", wanted.mean()),
        ],
        "logsumexp over k of log a_k - (y - f_k)^2 / (2 sigma_k^2) - log sigma_k - log(2 pi) / 2.",
    )  # fmt: skip
    expect("log p", answer(log_weights, means, log_sigmas, target), wanted, 1e-9, hint, tensor=True)
    free = means.clone().requires_grad_()
    slope = gradient("log p", answer(log_weights, free, log_sigmas, target), free)
    shares = torch.softmax(log_weights + gaussians, dim=1)
    expect("the gradient in the means", slope, shares * (target[:, None] - means) / (2 * log_sigmas).exp(), 1e-9,
           "Is something detached?")  # fmt: skip
    narrow = distributions.Normal(means[:5], (log_sigmas[:5] - 3).exp())
    beyond = distributions.MixtureSameFamily(distributions.Categorical(logits=logits[:5]), narrow)
    expect("log p far from all Gaussians", answer(log_weights[:5], means[:5], log_sigmas[:5] - 3, target[:5] + 500),
           beyond.log_prob(target[:5] + 500), 1e-9,
           "There exp underflows to 0, and its logarithm is -inf or what bounds it; use torch.logsumexp.")  # fmt: skip
    return "it agrees with torch.distributions, also far away"


MISTAKES = {
    "heteroscedastic_loss": [
        (lambda f, s, y: ((y - f) ** 2 / (2 * torch.exp(2 * s))).mean(), "log sigma is missing"),
        (lambda f, s, y: ((y - f) ** 2 / (2 * torch.exp(s)) + s).mean(), "sigma^2 belongs"),
        (lambda f, s, y: ((y - f) ** 2 / (2 * torch.exp(2 * s)) + s).sum(), "take the mean"),
        (lambda f, s, y: ((y - f) ** 2 / torch.exp(2 * s) + s).mean(), "factor 1/2"),
        (lambda f, s, y: ((y - f) ** 2 / (2 * s**2) + s).mean(), "exponentiate"),
        (lambda f, s, y: ((y - f) ** 2 / (2 * torch.exp(2 * s)) + s).mean().detach(), "no gradient"),
        (lambda f, s, y: ((y - f.detach()) ** 2 / (2 * torch.exp(2 * s)) + s).mean(), "no gradient"),
        (lambda f, s, y: ((y - f) ** 2 / (2 * torch.exp(2 * s).clamp(min=1e-6)) + s).mean(), "bounded from below"),
        (lambda f, s, y: ((y - f) ** 2 / (2 * torch.exp(2 * s)) + s).float().mean(), "float32"),
    ],
    "mean_amplitude": [
        (lambda f, s: f.exp(), "median"),
        (lambda f, s: torch.exp(f - s**2 / 2), "sign"),
        (lambda f, s: torch.exp(f + s**2), "factor 1/2"),
    ],
    "pull": [
        (lambda f, s, y: (y - f) / s, "sign is reversed"),
        (lambda f, s, y: (f - y) / s**2, "no unit"),
        (lambda f, s, y: (f - y) / y, "relative deviation"),
        (lambda f, s, y: ((f - y) / s).tolist(), "torch tensor"),
    ],
    "coverage_curve": [
        (lambda t, q: (t[:, None] < math.sqrt(2) * torch.erfinv(q)).double().mean(0), "both sides"),
        (lambda t, q: (t.abs()[:, None] < torch.erfinv(q)).double().mean(0), "sqrt(2)"),
        (lambda t, q: (t.abs()[:, None] > math.sqrt(2) * torch.erfinv(q)).double().mean(0), "outside"),
    ],
    "mixture_log_likelihood": [
        (lambda w, f, s, y: distributions.Normal(f, s.exp()).log_prob(y[:, None]).logsumexp(1), "weights are missing"),
        (lambda w, f, s, y: (w.exp() * distributions.Normal(f, s.exp()).log_prob(y[:, None])).sum(1), "mean of the"),
        (
            lambda w, f, s, y: (w.exp() * distributions.Normal(f, s.exp()).log_prob(y[:, None]).exp()).sum(1).log(),
            "logsumexp",
        ),
    ],
}  # fmt: skip
