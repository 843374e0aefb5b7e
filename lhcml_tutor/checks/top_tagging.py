"""Exercises of tutorial 04a, top tagging: each with the package's own answer and the mistakes it knows."""

import math

import torch

from .exercises import NotYet, diagnose, exercise, expect, untouched


def long_axis_reference(pt, eta, phi):
    """Return the angle of the long axis of each jet to the eta axis [rad], (n,)."""
    weight = pt / pt.sum(1, keepdim=True)
    eta = eta - (weight * eta).sum(1, keepdim=True)
    phi = phi - (weight * phi).sum(1, keepdim=True)
    S = [(weight * a * b).sum(1) for a, b in ((eta, eta), (eta, phi), (phi, phi))]
    return torch.atan2(2 * S[1], S[0] - S[2]) / 2


def _axis(pt, eta, phi, centred=True, weighted=True, half=True, swapped=False):
    """Return the angle as someone finds it who leaves out one of the steps."""
    weight = pt / pt.sum(1, keepdim=True) if weighted else (pt > 0) / (pt > 0).sum(1, keepdim=True)
    if centred:
        eta, phi = (a - (weight * a).sum(1, keepdim=True) for a in (eta, phi))
    if swapped:
        eta, phi = phi, eta
    S = [(weight * a * b).sum(1) for a, b in ((eta, eta), (eta, phi), (phi, phi))]
    return torch.atan2(2 * S[1], S[0] - S[2]) / (2 if half else 1)


@exercise(reference=long_axis_reference)
def long_axis(answer):
    """The axis of jets that lie on a line, and of jets in general, as an eigenvector says it; an axis has no sign."""
    angle = torch.tensor([0.0, 0.4, 1.2, -0.7, 1.5], dtype=torch.float64)
    along = torch.tensor([0.5, -0.3, 0.1, 0.0], dtype=torch.float64)
    pt = torch.tensor([30.0, 50.0, 20.0, 0.0], dtype=torch.float64).expand(5, 4).clone()
    eta, phi = angle.cos()[:, None] * along + 0.2 * (along != 0), angle.sin()[:, None] * along - 0.1 * (along != 0)
    generator = torch.Generator().manual_seed(5)
    cloud = torch.rand(3, 6, 4, dtype=torch.float64, generator=generator) - 0.5
    cloud[0] = 100 * cloud[0].abs()
    for (p, e, f), wanted in (((pt, eta, phi), angle), (cloud, _by_eigenvector(*cloud))):
        hint = diagnose(
            [
                (text, _both(_axis(p, e, f, **change)))
                for text, change in (
                    (
                        "The jet is not centred: subtract the pT-weighted means of eta and phi first.",
                        {"centred": False},
                    ),
                    (
                        "Every constituent counts alike; the hard ones must count more, weight with pT.",
                        {"weighted": False},
                    ),
                    ("That is twice the angle: tan(2 angle) is what the formula gives.", {"half": False}),
                    ("That is the angle to the phi axis.", {"swapped": True}),
                )
            ],
            "tan(2 angle) = 2 S_01 / (S_00 - S_11), with atan2, which knows the quadrant.",
        )
        given = [a.clone() for a in (p, e, f)]
        found = answer(*given)
        untouched(given, (p, e, f), "pt eta phi")
        if not torch.is_tensor(found) or found.shape != wanted.shape:
            expect("the angle", found, wanted, 1e-6, hint, tensor=True)
        # the same axis at angle + pi: compare cos and sin of twice the angle
        expect("cos and sin of twice the angle", _both(found), _both(wanted), 1e-6, hint, tensor=True)
    return "it is the eigenvector of the larger eigenvalue"


def _both(angle):
    return torch.stack([(2 * angle).cos(), (2 * angle).sin()])


def _by_eigenvector(pt, eta, phi):
    weight = pt / pt.sum(1, keepdim=True)
    place = torch.stack([eta, phi], dim=-1)
    place = place - (weight[..., None] * place).sum(1, keepdim=True)
    _, vectors = torch.linalg.eigh((weight[..., None] * place).mT @ place)
    return torch.atan2(vectors[:, 1, 1], vectors[:, 0, 1])


def masked_mean_reference(x, mask):
    """Return the mean over the constituents of each jet; x (n, particles, d), mask (n, particles) -> (n, d)."""
    total = torch.where(mask[..., None], x, 0.0).sum(1)
    return total / mask.sum(1, keepdim=True).clamp(min=1)


@exercise(reference=masked_mean_reference)
def masked_mean(answer):
    """Means of jets of different lengths, with nonsense in the padding."""
    x = torch.arange(24, dtype=torch.float64).reshape(2, 4, 3) ** 1.5
    mask = torch.tensor([[True, True, False, False], [True, True, True, False]])
    x = torch.where(mask[..., None], x, 7.0)
    wanted = torch.stack([x[0, :2].mean(0), x[1, :3].mean(0)])
    zeroed = torch.where(mask[..., None], x, 0.0)
    hint = diagnose(
        [
            (
                "Padding is counted: the sum is right, but you divide by all rows and not by those that are there.",
                zeroed.mean(1),
            ),
            ("The padding is in the mean: it is no particle.", x.mean(1)),
            ("That is the sum; divide by the number of constituents.", zeroed.sum(1)),
            ("The padding is in the sum; its values mean nothing.", x.sum(1) / mask.sum(1, keepdim=True)),
            ("You divide by the number of constituents of all jets together.", zeroed.sum(1) / mask.sum()),
        ],
        "Put zeros where mask is False, add up over the constituents, divide by mask.sum(1).",
    )
    given = [x.clone(), mask.clone()]
    found = answer(*given)
    untouched(given, [x, mask], "x mask")
    expect("the mean", found, wanted, 1e-9, hint, tensor=True)
    broken = torch.where(mask[..., None], x, math.nan)
    hint = "NaN in the padding comes through: NaN * 0 is NaN, so choose with torch.where and do not multiply."
    expect("the mean with NaN in the padding", answer(broken, mask), wanted, 1e-9, hint)
    nothing = answer(x, torch.zeros_like(mask))
    if not torch.isfinite(nothing).all():
        raise NotYet("a jet without constituents gives NaN: divide by at least one, with .clamp(min=1).")
    return "padding has no say, whatever stands there"


def edge_features_reference(x, index):
    """Return (x_i, x_j - x_i) of each constituent i and its neighbours j; (c, d), (c, k) -> (c, k, 2 d)."""
    neighbours = x[index]
    own = x[:, None].expand_as(neighbours)
    return torch.cat([own, neighbours - own], dim=-1)


@exercise(reference=edge_features_reference)
def edge_features(answer):
    """Features of five constituents with two neighbours each."""
    x = torch.arange(10, dtype=torch.float64).reshape(5, 2) ** 1.3
    index = torch.tensor([[1, 2], [0, 3], [4, 4], [2, 0], [3, 4]])
    near, own = x[index], x[:, None].expand(5, 2, 2)
    wanted = torch.cat([own, near - own], dim=-1)
    hint = diagnose(
        [
            ("The sign is reversed: neighbour minus own.", torch.cat([own, own - near], dim=-1)),
            (
                "That is the neighbour itself; the difference does not change when the jet moves.",
                torch.cat([own, near], dim=-1),
            ),
            ("Own features come first, the difference second.", torch.cat([near - own, own], dim=-1)),
            ("The first half should be the constituent's own features.", torch.cat([near, near - own], dim=-1)),
            ("Only the difference is there: the network would not know where the pair is.", near - own),
        ],
        "x[index] are the neighbours (c, k, d); x[:, None].expand_as(x[index]) is the constituent itself.",
    )
    given = [x.clone(), index.clone()]
    found = answer(*given)
    untouched(given, [x, index], "x index")
    expect("the features of edges", found, wanted, 1e-9, hint, tensor=True)
    return "own features, and what the neighbour has more"


def rejection_at_reference(score, label, efficiency):
    """Return 1 / eps_B at the cut that keeps the fraction efficiency of the signal; score, label (n,)."""
    cut = torch.quantile(score[label == 1], 1 - efficiency)
    return 1 / (score[label == 0] >= cut).double().mean()


@exercise(reference=rejection_at_reference)
def rejection_at(answer):
    """Rejections of scores whose densities are known, at two efficiencies."""
    n = 2000
    u = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    score, label = torch.cat([u**0.5, u]), torch.cat([torch.ones(n), torch.zeros(n)])  # signal 2 s, background 1
    for efficiency in (0.5, 0.3):
        cut = math.sqrt(1 - efficiency)
        wanted = 1 / (1 - cut)
        swapped = 1 / (1 - (1 - efficiency) ** 2)  # at the cut that keeps so much of the background: 1 / eps_S
        below = 1 / math.sqrt(efficiency)  # of the background below the cut that leaves so much of the signal below
        known = [
            ("Axes are swapped: that is 1 / eps_S at a fixed background efficiency.", swapped),
            ("That is eps_B itself; the rejection is 1 / eps_B.", 1 - cut),
            ("That keeps the events below the cut; signal has the larger score.", below),
            ("The cut keeps 1 - eps_S of the signal: take the quantile 1 - eps_S.", 1 / (1 - math.sqrt(efficiency))),
            ("That is 1 / (1 - eps_B), of the background that is cut away.", 1 / cut),
            (
                "The cut is at that quantile of all events; take that of the signal.",
                _from_all(score, label, efficiency),
            ),
        ]

        def hint(value, _, known=known):
            for text, wrong in known:
                if abs(float(value) / wrong - 1) < 5e-3:
                    return text
            return "Find the cut from the signal alone, then count the background above it."

        found = answer(score.clone(), label.clone(), efficiency)
        expect(f"the rejection at eps_S = {efficiency:g}", found, wanted, 5e-3, hint)
    return "the cut is made on the signal, and counted in the background"


def _from_all(score, label, efficiency):
    cut = torch.quantile(score, 1 - efficiency)
    return float(1 / (score[label == 0] >= cut).double().mean())


MISTAKES = {
    "long_axis": [
        (lambda pt, eta, phi: _axis(pt, eta, phi, centred=False), "not centred"),
        (lambda pt, eta, phi: _axis(pt, eta, phi, weighted=False), "weight with pT"),
        (lambda pt, eta, phi: _axis(pt, eta, phi, half=False), "twice the angle"),
        (lambda pt, eta, phi: _axis(pt, eta, phi, swapped=True), "to the phi axis"),
    ],
    "masked_mean": [
        (lambda x, mask: torch.where(mask[..., None], x, 0.0).mean(1), "Padding is counted"),
        (lambda x, mask: x.mean(1), "it is no particle"),
        (lambda x, mask: torch.where(mask[..., None], x, 0.0).sum(1), "That is the sum"),
        (lambda x, mask: (x * mask[..., None]).sum(1) / mask.sum(1, keepdim=True), "NaN in the padding"),
        (
            lambda x, mask: torch.where(mask[..., None], x, 0.0).sum(1) / mask.sum(1, keepdim=True),
            "without constituents",
        ),
    ],
    "edge_features": [
        (lambda x, index: torch.cat([x[:, None].expand_as(x[index]), x[:, None] - x[index]], -1), "sign is reversed"),
        (lambda x, index: torch.cat([x[:, None].expand_as(x[index]), x[index]], -1), "neighbour itself"),
        (lambda x, index: x[index] - x[:, None], "Only the difference"),
    ],
    "rejection_at": [
        (lambda s, y, e: 1 / (s[y == 1] >= torch.quantile(s[y == 0], 1 - e)).double().mean(), "Axes are swapped"),
        (lambda s, y, e: (s[y == 0] >= torch.quantile(s[y == 1], 1 - e)).double().mean(), "eps_B itself"),
        (lambda s, y, e: 1 / (s[y == 0] <= torch.quantile(s[y == 1], e)).double().mean(), "below the cut"),
        (lambda s, y, e: _from_all(s, y, e), "of all events"),
    ],
}
