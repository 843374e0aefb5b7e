"""Exercises of tutorial 14b, Shapley values and formulas: each with the package's own answer and known mistakes."""

import torch

from .exercises import diagnose, exercise, expect


def two_players_reference(nobody, first, second, both):
    """Return the Shapley values of two players from the worth of the four coalitions."""
    return ((first - nobody) + (both - second)) / 2, ((second - nobody) + (both - first)) / 2


@exercise(reference=two_players_reference)
def two_players(answer):
    """Games whose sharing is known: independent players, a pair of gloves, and a game that is worth something empty."""
    for what, worth, wanted in (
        ("players who do not need each other", (0.0, 3.0, 5.0, 8.0), (3.0, 5.0)),
        ("one glove each", (0.0, 0.0, 0.0, 1.0), (0.5, 0.5)),
        ("an empty room that is worth 2", (2.0, 3.0, 7.0, 12.0), (3.0, 7.0)),
    ):
        nobody, first, second, both = worth
        hint = diagnose(
            [
                (
                    "That is what each is worth alone; what they win together is not shared out.",
                    (first - nobody, second - nobody),
                ),
                (
                    "That is what each adds when coming last; take the mean of both orders.",
                    (both - second, both - first),
                ),
                (
                    "The worth of nobody has to be subtracted.",
                    ((first + both - second) / 2, (second + both - first) / 2),
                ),
                ("That halves the whole; players differ.", ((both - nobody) / 2, (both - nobody) / 2)),
                ("The players are exchanged.", wanted[::-1]),
            ],
            "The mean over both orders of coming in of what a player adds.",
        )  # fmt: skip
        found = answer(*worth)
        expect(f"the values, {what}", torch.as_tensor(found, dtype=torch.float64), torch.tensor(wanted), 1e-9, hint)
    return "what they win together is halved, what they win alone is their own"


def marginal_worth_reference(function, x, background, known):
    """Return v(S): the mean of function (k, d) -> (k,), known features of x (d,), others of the background (m, d)."""
    return function(torch.where(known, x, background)).mean()


@exercise(reference=marginal_worth_reference)
def marginal_worth(answer):
    """A function with a product, whose mean over the background is not its value at the mean background."""
    x = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    background = torch.tensor([[0.0, 1, 2], [4, 0, 1], [2, 2, 0], [1, 5, 1]], dtype=torch.float64)

    def function(rows):
        return rows[:, 0] * rows[:, 1] ** 2 + rows[:, 2]

    for known in ([True, False, False], [False, True, True], [False] * 3, [True] * 3):
        known = torch.tensor(known)
        wanted = function(torch.where(known, x, background)).mean()
        mean = background.mean(0)
        hint = diagnose(
            [
                ("Known and unknown are exchanged.", function(torch.where(known, background, x)).mean()),
                ("That is the function at the mean background; take the mean of the function.",
                 function(torch.where(known, x, mean)[None])[0]),
                ("Unknown features are set to zero; they come from the background.",
                 function(torch.where(known, x, 0.0)[None])[0]),
                ("That is the sum; v is the mean over the background.",
                 function(torch.where(known, x, background)).sum()),
            ],
            "torch.where(known, x, background) has a row for each event of the background.",
        )  # fmt: skip
        found = answer(function, x.clone(), background.clone(), known)
        expect(f"the worth with {int(known.sum())} known features", found, wanted, 1e-9, hint)
    return "known features from the event, the others from all events of the background"


def conditional_mean_reference(x, mean, covariance, known):
    """Return the mean (d - k,) of the unknown features given the k known ones of x (d,), all of them Gaussian."""
    slope = covariance[~known][:, known] @ torch.linalg.inv(covariance[known][:, known])
    return mean[~known] + slope @ (x[known] - mean[known])


@exercise(reference=conditional_mean_reference)
def conditional_mean(answer):
    """Features of different widths and means, one or two of them known."""
    x = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    mean = torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64)
    covariance = torch.tensor([[4.0, 1.0, -0.6], [1.0, 1.0, 0.3], [-0.6, 0.3, 2.25]], dtype=torch.float64)
    for known in ([True, False, False], [False, True, True], [True, False, True]):
        known = torch.tensor(known)
        rest, shift = ~known, x[known] - mean[known]
        across, inside = covariance[rest][:, known], covariance[known][:, known]
        slope = across @ torch.linalg.inv(inside)
        hint = diagnose(
            [
                ("That is their mean whatever is known: the marginal answer.", mean[rest]),
                ("The mean of the unknown features is missing.", slope @ shift),
                ("Subtract the mean of the known features from x.", mean[rest] + slope @ x[known]),
                ("Divide by the covariance of the known ones: its inverse is missing.", mean[rest] + across @ shift),
                ("Off the diagonal the known features count, too: take the inverse of the matrix.",
                 mean[rest] + across / inside.diagonal() @ shift),
            ],
            "mean_R + C_RS C_SS^-1 (x_S - mean_S), S known and R unknown; C_RS is covariance[~known][:, known].",
        )  # fmt: skip
        found = answer(x.clone(), mean.clone(), covariance.clone(), known)
        expect(f"the mean given {int(known.sum())} known features", found, mean[rest] + slope @ shift, 1e-9, hint)
    return "the unknown features follow the known ones, along the regression line"


MISTAKES = {
    "two_players": [
        (lambda n, a, b, ab: (a - n, b - n), "worth alone"),
        (lambda n, a, b, ab: (ab - b, ab - a), "coming last"),
        (lambda n, a, b, ab: ((a + ab - b) / 2, (b + ab - a) / 2), "worth of nobody"),
    ],
    "marginal_worth": [
        (lambda f, x, b, k: f(torch.where(k, b, x)).mean(), "exchanged"),
        (lambda f, x, b, k: f(torch.where(k, x, b.mean(0))[None])[0], "at the mean background"),
        (lambda f, x, b, k: f(torch.where(k, x, b)).sum(), "That is the sum"),
    ],
    "conditional_mean": [
        (lambda x, m, C, k: m[~k], "the marginal answer"),
        (lambda x, m, C, k: C[~k][:, k] @ torch.linalg.inv(C[k][:, k]) @ (x[k] - m[k]), "unknown features is missing"),
        (lambda x, m, C, k: m[~k] + C[~k][:, k] @ (x[k] - m[k]), "its inverse is missing"),
        (lambda x, m, C, k: m[~k] + C[~k][:, k] / C[k][:, k].diagonal() @ (x[k] - m[k]), "Off the diagonal"),
    ],
}  # fmt: skip
