"""Exercises of tutorial 08b, direct diffusion: each with the package's own answer and the mistakes it knows."""

import math

import torch

from ..flow_matching import linear_path
from . import diffusion_board
from .exercises import NotYet, diagnose, exercise, expect, gradient, untouched


def breit_wigner_cdf_reference(mass, pole, width):
    """Return the share of a relativistic Breit-Wigner in m^2 that lies below a mass."""
    return 0.5 + torch.atan((mass**2 - pole**2) / (pole * width)) / math.pi


@exercise(reference=breit_wigner_cdf_reference)
def breit_wigner_cdf(answer):
    """Values near the pole and far from it, and the slope against the Breit-Wigner itself."""
    mass = torch.tensor([120.0, 165.0, 172.57, 173.3, 190.0, 400.0], dtype=torch.float64)
    pole, width = 172.57, 1.42
    distance = (mass**2 - pole**2) / (pole * width)
    angle = torch.atan(distance)
    wanted, at_zero = 0.5 + angle / math.pi, 0.5 - math.atan(pole / width) / math.pi
    from_zero = (wanted - at_zero) / (1 - at_zero)
    hint = diagnose(
        [
            ("The 1/2 is missing: half of the events lie below the pole.", angle / math.pi),
            ("Divide the arctangent by pi: the share must run from 0 to 1.", 0.5 + angle),
            ("That is the share above the mass.", 0.5 - angle / math.pi),
            ("That is the share for a Breit-Wigner in m, not in m^2: the numerator is m^2 - M^2.",
             0.5 + torch.atan(2 * (mass - pole) / width) / math.pi),
            ("The denominator is M Gamma, the half-width in m^2.",
             0.5 + torch.atan((mass**2 - pole**2) / width) / math.pi),
            ("The width enters once, not squared: M Gamma.",
             0.5 + torch.atan((mass**2 - pole**2) / (pole * width) ** 2) / math.pi),
            ("That is the density; integrate it.", 1 / (math.pi * (1 + distance**2))),
            ("That is the density; integrate it.", 1 / (math.pi * (1 + distance**2) * pole * width)),
            ("Normalise over the whole line of m^2, from -infinity on, not from 0 on.", from_zero),
        ],
        "1/2 + arctan((m^2 - M^2) / (M Gamma)) / pi.",
    )  # fmt: skip
    given = mass.clone()
    expect("the share below these masses", answer(given, pole, width), wanted, 3e-6, hint, tensor=True)
    untouched([given], [mass], "mass")
    free = mass.clone().requires_grad_()
    slope = gradient("the share", answer(free, pole, width), free)
    density = 2 * mass * pole * width / math.pi / ((mass**2 - pole**2) ** 2 + (pole * width) ** 2)
    expect("its slope in m", slope, density, 1e-5, "Is something detached?")
    return "its slope is the Breit-Wigner, and half of it lies below the pole"


@exercise(reference=linear_path)
def path_batch(answer):
    """A point and a velocity for pairs of events: at both ends and in between."""
    diffusion_board.check_path(answer)
    return "both ends are met, and the speed is constant"


runge_kutta_step = diffusion_board.runge_kutta_step  # the same exercise


def transport_pairs_reference(x_0, x_1):
    """Return the row of x_0 that each row of x_1 is paired with, (n,), at the least sum of squared distances."""
    from scipy.optimize import linear_sum_assignment

    cost = torch.cdist(x_1, x_0).square().cpu().numpy()  # (x_1, x_0)
    return torch.as_tensor(linear_sum_assignment(cost)[1], device=x_0.device)


@exercise(reference=transport_pairs_reference)
def transport_pairs(answer):
    """Pairs of small batches: each start used once, the cost that of all permutations' best, squares not distances."""
    from itertools import permutations

    corner = torch.tensor([[0.0, 0.0], [1.0, 0.4], [2.0, 0.0], [0.3, 1.5], [1.9, 1.6]], dtype=torch.float64)
    generator = torch.Generator().manual_seed(25)
    x_0, x_1 = corner, corner[[3, 0, 4, 2, 1]] + 0.9 * torch.randn(5, 2, dtype=torch.float64, generator=generator)
    given = [x_0.clone(), x_1.clone()]
    found = answer(*given)
    if not torch.is_tensor(found) or found.is_floating_point() or found.shape != (5,):
        raise NotYet("return one whole number for each row of x_1, a tensor of shape (n,): the row of its partner.")
    every = torch.tensor(list(permutations(range(5))))

    def best(cost):
        return every[cost[torch.arange(5), every].sum(1).argmin()]

    distance = torch.cdist(x_1, x_0)
    wanted = best(distance.square())
    hint = diagnose(
        [
            ("Those are the rows of x_1 for each row of x_0; the notebook looks up x_0[rows].", wanted.argsort()),
            ("Some starts are used twice: each takes part once, or the start has another density.", distance.argmin(1)),
            ("That minimises the sum of the distances; the cost is their square.", best(distance)),
            ("That maximises the cost.", best(-distance.square())),
            ("These are the pairs as they came.", torch.arange(5)),
        ],
        "linear_sum_assignment of the squared distances, rows x_1, columns x_0; take the columns.",
    )
    expect("the partners", found, wanted, 0, hint)
    untouched(given, (x_0, x_1), "x_0 x_1")
    return "no other way to pair them costs less"


def tail_ratio_reference(true, generated, pole, distance):
    """Return share generated over share true beyond |m - pole| > distance, and its standard error."""
    f, g = (((mass - pole).abs() > distance).double().mean().item() for mass in (true, generated))
    return g / f, g / f * math.sqrt((1 - f) / (f * len(true)) + (1 - g) / (g * len(generated)))


@exercise(reference=tail_ratio_reference)
def tail_ratio(answer):
    """Samples with known numbers of events in both tails."""
    n, m, k, j = 1000, 4000, 100, 480
    true = torch.cat([torch.full((60,), 160.0), torch.full((40,), 190.0), torch.full((n - k,), 172.0)]).double()
    generated = torch.cat([torch.full((180,), 160.0), torch.full((300,), 190.0), torch.full((m - j,), 173.0)]).double()
    result = answer(true, generated, 172.5, 5.0)
    try:
        first, second = result  # a tuple, a list, an array: the notebook unpacks it
    except (TypeError, ValueError):
        raise NotYet("return two numbers: the ratio and its error.") from None
    f, g = k / n, j / m
    ratio = g / f
    hint = diagnose(
        [
            ("That is the ratio of the counts; divide by the number of events of each sample first.", j / k),
            ("That is true over generated; the truth belongs into the denominator.", f / g),
            ("That is the upper tail alone; |m - M| has two sides.", (300 / m) / (40 / n)),
            ("That is the lower tail alone; |m - M| has two sides.", (180 / m) / (60 / n)),
            ("That is the relative deviation; return the ratio itself.", ratio - 1),
            ("That is the difference of the shares; divide them.", g - f),
            ("That is the ratio inside, not beyond.", (1 - g) / (1 - f)),
        ],
        "The share of generated events with |m - M| > distance, divided by that of the true ones.",
    )
    expect("the ratio", first, ratio, 1e-6, hint)
    relative = math.sqrt((1 - f) / k + (1 - g) / j)
    hint = diagnose(
        [
            ("That is the relative error; multiply it by the ratio.", relative),
            ("The error of the true sample is missing; it is the larger one.", ratio * math.sqrt((1 - g) / j)),
            ("The error of the generated sample is missing.", ratio * math.sqrt((1 - f) / k)),
            ("That is the variance; take its root.", ratio**2 * relative**2),
            ("Relative errors add in squares.", ratio * (math.sqrt((1 - f) / k) + math.sqrt((1 - g) / j))),
        ],
        "ratio * sqrt((1 - f) / (f n) + (1 - g) / (g m)), with the shares f, g of n true and m generated events.",
    )

    def close(value, other):
        return not isinstance(value, str) and abs(float(value) - other) < 3e-4

    poisson = ratio * math.sqrt(1 / k + 1 / j)  # Poisson counts: as good for a small tail
    error = poisson if close(second, poisson) else ratio * relative
    expect("its error", second, error, 3e-4, hint)  # n or n - 1: all the same
    return "a ratio of shares, with an error that the smaller sample rules"


def _assigned(cost):
    from scipy.optimize import linear_sum_assignment

    return torch.as_tensor(linear_sum_assignment(cost.numpy())[1])


MISTAKES = {
    "breit_wigner_cdf": [
        (lambda m, M, w: torch.atan((m**2 - M**2) / (M * w)) / math.pi, "1/2 is missing"),
        (lambda m, M, w: 0.5 + torch.atan((m**2 - M**2) / (M * w)), "Divide the arctangent by pi"),
        (lambda m, M, w: 0.5 + torch.atan(2 * (m - M) / w) / math.pi, "in m, not in m^2"),
        (lambda m, M, w: 0.5 + torch.atan((m**2 - M**2) / w) / math.pi, "denominator is M Gamma"),
        (lambda m, M, w: 1 - breit_wigner_cdf_reference(m, M, w), "share above"),
        (lambda m, M, w: breit_wigner_cdf_reference(m, M, w).detach(), "no gradient"),
    ],
    "path_batch": diffusion_board.MISTAKES["path_and_velocity"],
    "runge_kutta_step": diffusion_board.MISTAKES["runge_kutta_step"],
    "transport_pairs": [
        (lambda a, b: transport_pairs_reference(a, b).argsort(), "rows of x_1 for each row of x_0"),
        (lambda a, b: torch.cdist(b, a).argmin(1), "used twice"),
        (lambda a, b: torch.arange(len(b)), "as they came"),
        (lambda a, b: _assigned(torch.cdist(b, a)), "sum of the distances"),
        (lambda a, b: _assigned(-torch.cdist(b, a).square()), "maximises"),
        (lambda a, b: a[transport_pairs_reference(a, b)], "one whole number"),
    ],
    "tail_ratio": [
        (lambda a, b, M, d: (float(((b - M).abs() > d).sum() / ((a - M).abs() > d).sum()), 0.1), "ratio of the counts"),
        (lambda a, b, M, d: tail_ratio_reference(b, a, M, d), "true over generated"),
        (lambda a, b, M, d: (((b - M > d).double().mean() / (a - M > d).double().mean()), 0.1), "upper tail alone"),
        (lambda a, b, M, d: (1.2, tail_ratio_reference(a, b, M, d)[1] / 1.2), "relative error"),
        (lambda a, b, M, d: (1.2, 1.2 * math.sqrt(0.88 / 480)), "error of the true sample is missing"),
    ],
}  # fmt: skip
