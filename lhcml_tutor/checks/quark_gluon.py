"""Exercises of tutorial 04b, quarks and gluons: each with the package's own answer and the mistakes it knows."""

import math

import torch

from .exercises import NotYet, diagnose, exercise, expect


def posterior_reference(log_signal, log_background, share):
    """Return the probability of signal from two log-densities (n,) and the share of signal among all events."""
    return torch.sigmoid(log_signal - log_background + math.log(share / (1 - share)))


@exercise(reference=posterior_reference)
def posterior(answer):
    """Two Gaussians and their mixture, by Bayes' theorem; then densities that are too small for a float."""
    x = torch.linspace(-3, 3, 13, dtype=torch.float64)
    share = 0.2
    log_s, log_b = -0.5 * (x - 1) ** 2, -0.5 * ((x + 1) / 2) ** 2 - math.log(2)  # both without 1 / sqrt(2 pi)
    s, b = log_s.exp(), log_b.exp()
    wanted = share * s / (share * s + (1 - share) * b)
    hint = diagnose(
        [
            ("That is for equal shares; the prior odds share / (1 - share) are missing.", s / (s + b)),
            ("The odds are upside down: signal has the share, background the rest.",
             (1 - share) * s / ((1 - share) * s + share * b)),
            ("That is the probability of background.", 1 - wanted),
            ("That is the likelihood ratio; a probability is between 0 and 1.", s / b),
            ("That is the logit; the probability is its sigmoid.", (wanted / (1 - wanted)).log()),
            ("The arguments are logs of densities: take the exponential first, or better, work with their difference.",
             share * log_s / (share * log_s + (1 - share) * log_b)),
            ("The difference of the logs gets the share itself, not the log of the odds.",
             torch.sigmoid(log_s - log_b + share)),
        ],
        "The logit is log p_S - log p_B + log(share / (1 - share)).",
    )  # fmt: skip
    expect("the probability of signal", answer(log_s.clone(), log_b.clone(), share), wanted, 1e-9, hint, tensor=True)
    far = answer(log_s - 2000, log_b - 2000, share)
    if not torch.isfinite(far).all():
        raise NotYet("densities of exp(-2000) give 0 / 0: use the difference of the logs, never the densities.")
    expect("the same, with densities of exp(-2000)", far, wanted, 1e-9, hint)
    return "it is Bayes' theorem, and densities may be as small as they like"


def binned_ratio_reference(signal, background, bins):
    """Return log(n_S / n_B) in each bin, with one event added to each count, for samples of equal size; (bins,)."""
    counts = [torch.bincount(numbers, minlength=bins).double() + 1 for numbers in (signal, background)]
    return (counts[0] / counts[0].sum()).log() - (counts[1] / counts[1].sum()).log()


@exercise(reference=binned_ratio_reference)
def binned_ratio(answer):
    """Numbers of particles in two samples of different size."""
    signal = torch.tensor([0, 1, 1, 2, 2, 2, 3])
    background = torch.tensor([1, 2, 3, 3, 3, 4, 4, 4, 4, 4, 3, 2])
    bins = 6
    n_s, n_b = (torch.bincount(numbers, minlength=bins).double() for numbers in (signal, background))
    wanted = ((n_s + 1) / (n_s + 1).sum()).log() - ((n_b + 1) / (n_b + 1).sum()).log()
    hint = diagnose(
        [
            ("The samples differ in size: divide each histogram by its sum.", (n_s + 1).log() - (n_b + 1).log()),
            ("Empty bins give log(0): add one event to each bin of both.",
             (n_s / n_s.sum()).log() - (n_b / n_b.sum()).log()),
            ("The sign is reversed: signal over background.", -wanted),
            ("That is the ratio; its logarithm is asked for.", wanted.exp()),
            ("The one event is added after the normalisation; add it to the counts.",
             (n_s / n_s.sum() + 1).log() - (n_b / n_b.sum() + 1).log()),
        ],
        "torch.bincount(numbers, minlength=bins) + 1, each divided by its sum, then the difference of the logs.",
    )  # fmt: skip
    expect("the log-ratio", answer(signal.clone(), background.clone(), bins), wanted, 1e-9, hint, tensor=True)
    return "both histograms are normalised, and no bin is empty"


def other_mixture_reference(logit, trained, actual):
    """Return the logits for a sample with another share of signal than that of the training; shares in 0 ... 1."""
    return logit + math.log(actual / (1 - actual)) - math.log(trained / (1 - trained))


@exercise(reference=other_mixture_reference)
def other_mixture(answer):
    """A classifier of equal classes on a sample with one signal in a hundred, and one of unequal classes."""
    logit = torch.linspace(-4, 4, 9, dtype=torch.float64)
    for trained, actual in ((0.5, 0.01), (0.2, 0.6)):
        odds = [math.log(share / (1 - share)) for share in (trained, actual)]
        wanted = logit + odds[1] - odds[0]
        hint = diagnose(
            [
                ("The sign is reversed: a rarer signal has smaller logits.", logit - odds[1] + odds[0]),
                ("The odds of the training are still in: take them out.", logit + odds[1]),
                ("The odds of the training are taken out, those of the sample are missing.", logit - odds[0]),
                ("Shares are no odds: log(share / (1 - share)).", logit + math.log(actual) - math.log(trained)),
                ("A logit is shifted, not multiplied.", logit * actual / trained),
                ("That is the probability; return the logit.", wanted.sigmoid()),
            ],
            "logit + log odds of the sample - log odds of the training.",
        )
        found = answer(logit.clone(), trained, actual)
        expect(f"the logits, {trained:g} in training, {actual:g} in the sample", found, wanted, 1e-9, hint, tensor=True)
    return "only a constant changes, and so no ROC curve"


def _logs(numbers, bins):
    return (torch.bincount(numbers, minlength=bins) + 1.0).log()


MISTAKES = {
    "posterior": [
        (lambda s, b, share: torch.sigmoid(s - b), "for equal shares"),
        (lambda s, b, share: torch.sigmoid(b - s - math.log(share / (1 - share))), "of background"),
        (lambda s, b, share: s - b + math.log(share / (1 - share)), "That is the logit"),
        (lambda s, b, share: share * s.exp() / (share * s.exp() + (1 - share) * b.exp()), "0 / 0"),
    ],
    "binned_ratio": [
        (lambda s, b, n: _logs(s, n) - _logs(b, n), "differ in size"),
        (lambda s, b, n: -binned_ratio_reference(s, b, n), "sign is reversed"),
        (lambda s, b, n: binned_ratio_reference(s, b, n).exp(), "That is the ratio"),
    ],
    "other_mixture": [
        (lambda x, old, new: x - math.log(new / (1 - new)) + math.log(old / (1 - old)), "sign is reversed"),
        (lambda x, old, new: x + math.log(new) - math.log(old), "Shares are no odds"),
        (lambda x, old, new: x * new / old, "not multiplied"),
    ],
}  # fmt: skip
