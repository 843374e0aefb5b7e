"""Exercises of tutorial 00, first events: each with the package's own answer and the mistakes it knows."""

import math

import torch

from .. import kinematics
from .exercises import NotYet, diagnose, exercise, expect


def _parts(result, names):
    """Unpack what a student returned into as many tensors as there are names."""
    if not isinstance(result, (tuple, list)) or len(result) != len(names):
        raise NotYet(f"return {len(names)} tensors: {', '.join(names)}.")
    return result


def _known_momenta():
    """Return momenta (400, 4) in GeV, and the pT, rapidity, phi and mass they were built from."""
    generator = torch.Generator().manual_seed(11)
    uniform = torch.rand(4, 400, generator=generator, dtype=torch.float64)
    pt, y = 5 + 95 * uniform[0], 6 * uniform[1] - 3
    phi, mass = 2 * math.pi * uniform[2] - math.pi, 175 * uniform[3]
    mt = torch.sqrt(mass**2 + pt**2)
    return torch.stack([mt * y.cosh(), pt * phi.cos(), pt * phi.sin(), mt * y.sinh()], dim=-1), pt, y, phi, mass


def pt_and_rapidity_reference(momenta):
    """Return pT = sqrt(px^2 + py^2) in GeV and y = 1/2 log((E + pz) / (E - pz)) of momenta (..., 4)."""
    return kinematics.pt(momenta), kinematics.rapidity(momenta)


@exercise(reference=pt_and_rapidity_reference)
def pt_and_rapidity(answer):
    """Transverse momentum and rapidity of particles that were built from both."""
    momenta, pt, y, _, _ = _known_momenta()
    result_pt, result_y = _parts(answer(momenta), ("pt", "rapidity"))
    energy, pz = momenta[:, 0], momenta[:, 3]
    expect(
        "the transverse momentum",
        result_pt,
        pt,
        1e-9,
        diagnose(
            [
                ("That is |p| with all three components. Transverse means px and py only.", (pt**2 + pz**2).sqrt()),
                ("That is pT squared: take the square root.", pt**2),
                ("That is the transverse mass; pT contains neither energy nor mass.", (energy**2 - pz**2).sqrt()),
            ],
            "pT = sqrt(px^2 + py^2); a momentum is stored as (E, px, py, pz), so px has index 1.",
        ),
    )
    expect(
        "the rapidity",
        result_y,
        y,
        1e-9,
        diagnose(
            [
                (
                    "That is the pseudorapidity: it has |p| where the rapidity has E. They agree only at zero mass.",
                    torch.asinh(pz / pt),
                ),
                ("The sign is reversed: y grows with pz.", -y),
                ("The factor 1/2 in front of the logarithm is missing.", 2 * y),
                ("Use the natural logarithm, torch.log.", y / math.log(10)),
                ("That is the velocity along the beam, pz / E; the rapidity is its artanh.", y.tanh()),
            ],
            "y = 1/2 log((E + pz) / (E - pz)).",
        ),
    )
    return "both agree with the numbers the particles were built from"


def pair_mass_reference(p, q):
    """Return m = sqrt((p + q)^2) in GeV of two momenta (..., 4)."""
    return kinematics.mass(p + q)


@exercise(reference=pair_mass_reference)
def pair_mass(answer):
    """Mass of a pair, against m^2 = m1^2 + m2^2 + 2 (mT1 mT2 cosh(y1 - y2) - pT1 pT2 cos(phi1 - phi2))."""
    momenta, pt, y, phi, mass = (x.view(2, 200, *x.shape[1:]) for x in _known_momenta())
    p, q = momenta
    mt = torch.sqrt(mass**2 + pt**2)
    dot = mt[0] * mt[1] * (y[0] - y[1]).cosh() - pt[0] * pt[1] * (phi[0] - phi[1]).cos()
    wanted = torch.sqrt(mass[0] ** 2 + mass[1] ** 2 + 2 * dot)
    total = p + q
    hint = diagnose(
        [
            ("That is the sum of the two masses. Add the four-momenta first, then take one mass.", mass[0] + mass[1]),
            ("That is m^2: take the square root.", wanted**2),
            ("All four squares are added. The metric is (+,-,-,-): m^2 = E^2 - |p|^2.", total.square().sum(-1).sqrt()),
            (
                "The momenta are added as lengths, |p1| + |p2|. They are vectors: add px, py, pz each, then square.",
                (total[:, 0] ** 2 - (p[:, 1:].norm(dim=-1) + q[:, 1:].norm(dim=-1)) ** 2).clamp(min=0).sqrt(),
            ),
            (
                "pz is missing: that is the mass of the pair in the transverse plane.",
                (total[:, 0] ** 2 - total[:, 1] ** 2 - total[:, 2] ** 2).sqrt(),
            ),
        ],
        "Add the four-momenta, then m = sqrt(E^2 - px^2 - py^2 - pz^2) of the sum.",
    )
    expect("the mass of the pair", answer(p, q), wanted, 1e-9, hint)
    return "it agrees with the formula in pT, y and phi"


def monte_carlo_reference(weights):
    """Return the estimate mean(w) of an integral and its standard error std(w) / sqrt(n)."""
    return weights.mean(), weights.std() / math.sqrt(len(weights))


@exercise(reference=monte_carlo_reference)
def monte_carlo(answer):
    """Estimate and error of the integral of 4/(1 + x^2) over 0..1, which is pi, from one fixed sample."""
    x = torch.rand(4000, generator=torch.Generator().manual_seed(13), dtype=torch.float64)
    weights = 4 / (1 + x**2)
    n, mean, std = len(weights), weights.mean(), weights.std()
    estimate, error = _parts(answer(weights), ("estimate", "error"))
    hint = diagnose(
        [("That is the sum. The integral is the mean of the weights: divide by n.", weights.sum())],
        "The estimate is the mean of the weights.",
    )
    expect("the estimate", estimate, mean, 1e-9, hint)
    hint = diagnose(
        [
            ("That is the scatter of single weights. The mean of n of them scatters less, by 1/sqrt(n).", std),
            ("Divided by n instead of sqrt(n): it is the variance that falls like 1/n.", std / n),
            ("That is the variance of the mean: take its square root.", std**2 / n),
            (
                "mean / sqrt(n) would be the Poisson error of counted events; here the weights are averaged.",
                mean / math.sqrt(n),
            ),
        ],
        "The error of the mean is std(w) / sqrt(n).",
    )
    expect("the error", error, std / math.sqrt(n), 1e-5, hint)  # 1e-5 lets both 1/n and 1/(n - 1) pass
    return f"4000 points give {float(mean):.3f} +- {float(std) / math.sqrt(n):.3f} for an integral that is pi"


def weighted_histogram_reference(values, weights, edges):
    """Return per bin the sum of the weights and its error, the square root of the sum of their squares."""
    inside = (values >= edges[0]) & (values < edges[-1])
    index = torch.bucketize(values[inside], edges, right=True) - 1
    empty = torch.zeros(len(edges) - 1, dtype=weights.dtype)
    content = empty.index_add(0, index, weights[inside])
    return content, empty.index_add(0, index, weights[inside] ** 2).sqrt()


@exercise(reference=weighted_histogram_reference)
def weighted_histogram(answer):
    """Three bins small enough to fill with a pencil; one value below the range and one above."""
    values = torch.tensor([-0.5, 0.2, 0.4, 0.8, 1.1, 1.9, 2.5, 3.7], dtype=torch.float64)
    weights = torch.tensor([9.0, 1.0, 3.0, 2.0, 0.5, 1.5, 4.0, 7.0], dtype=torch.float64)
    edges = torch.tensor([0.0, 1.0, 2.0, 3.0], dtype=torch.float64)
    content, error = _parts(answer(values, weights, edges), ("content", "error"))
    counts = torch.tensor([3.0, 2.0, 1.0])
    wanted, squares = torch.tensor([6.0, 2.0, 4.0]), torch.tensor([14.0, 2.5, 16.0])
    hint = diagnose(
        [
            ("Those are the numbers of events: add their weights instead.", counts),
            ("The contents are divided by their sum; keep the weights as they are.", wanted / wanted.sum()),
            (
                "Values outside the range were counted in the first or last bin: leave them out.",
                torch.tensor([15.0, 2.0, 11.0]),
            ),
        ],
        "The content of a bin is the sum of the weights of the events in it.",
    )
    expect("the content", content, wanted, 1e-9, hint)
    hint = diagnose(
        [
            ("sqrt(N) is right only if all weights are 1.", counts.sqrt()),
            ("That is sqrt(sum w). The variance is the sum of the *squared* weights.", wanted.sqrt()),
            ("That is the variance: take its square root.", squares),
            (
                "That is sum w / sqrt(N): right for equal weights, too small where a few large ones dominate.",
                wanted / counts.sqrt(),
            ),
        ],
        "The error is sqrt(sum of w^2) of the events in the bin.",
    )
    expect("the error", error, squares.sqrt(), 1e-6, hint)
    return "contents and errors agree with the three bins filled by pencil"


def ratio_with_error_reference(a, error_a, b, error_b):
    """Return a/b of two independent measurements and its error, relative errors added in quadrature."""
    ratio = a / b
    return ratio, ratio.abs() * torch.sqrt((error_a / a) ** 2 + (error_b / b) ** 2)


@exercise(reference=ratio_with_error_reference)
def ratio_with_error(answer):
    """Ratio of two histograms and its error, in three bins."""
    a, error_a = torch.tensor([[100.0, 50.0, 8.0], [10.0, 10.0, 2.0]], dtype=torch.float64)
    b, error_b = torch.tensor([[80.0, 100.0, 4.0], [4.0, 5.0, 1.0]], dtype=torch.float64)
    ratio, error = _parts(answer(a, error_a, b, error_b), ("ratio", "error"))
    hint = diagnose([("The ratio is upside down: divide the first by the second.", b / a)], "The ratio is a / b.")
    expect("the ratio", ratio, a / b, 1e-9, hint)
    relative_a, relative_b = error_a / a, error_b / b
    hint = diagnose(
        [
            (
                "Independent errors add in quadrature, sqrt(x^2 + y^2), not linearly.",
                a / b * (relative_a + relative_b),
            ),
            ("That is the relative error: multiply it by the ratio.", (relative_a**2 + relative_b**2).sqrt()),
            ("For a ratio the *relative* errors are added, not the absolute ones.", (error_a**2 + error_b**2).sqrt()),
            ("The error of the denominator is missing.", a / b * relative_a),
        ],
        "(error of the ratio / ratio)^2 = (error_a / a)^2 + (error_b / b)^2.",
    )
    expect("the error of the ratio", error, a / b * (relative_a**2 + relative_b**2).sqrt(), 1e-6, hint)
    return "relative errors added in quadrature"


def _mistaken_histogram(error):
    def histogram(values, weights, edges):
        content, _ = weighted_histogram_reference(values, weights, edges)
        counts, _ = weighted_histogram_reference(values, torch.ones_like(weights), edges)
        return content, error(content, counts)

    return histogram


def _mistaken_overflow(values, weights, edges):
    return weighted_histogram_reference(values.clamp(edges[0], edges[-1] - 1e-9), weights, edges)


def _pt(p):
    return torch.hypot(p[:, 1], p[:, 2])


MISTAKES = {
    "pt_and_rapidity": [
        (lambda p: (_pt(p), torch.asinh(p[:, 3] / _pt(p))), "pseudorapidity"),
        (lambda p: (p[:, 1:].norm(dim=-1), kinematics.rapidity(p)), "all three components"),
        (lambda p: (_pt(p), 0.5 * torch.log((p[:, 0] - p[:, 3]) / (p[:, 0] + p[:, 3]))), "sign is reversed"),
        (lambda p: (_pt(p), torch.log((p[:, 0] + p[:, 3]) / (p[:, 0] - p[:, 3]))), "factor 1/2"),
        (lambda p: _pt(p), "return 2 tensors"),
    ],
    "pair_mass": [
        (lambda p, q: kinematics.mass(p) + kinematics.mass(q), "sum of the two masses"),
        (lambda p, q: kinematics.mass(p + q) ** 2, "square root"),
        (lambda p, q: (p + q).square().sum(-1).sqrt(), "metric"),
        (
            lambda p, q: (
                ((p + q)[:, 0] ** 2 - (p[:, 1:].norm(dim=-1) + q[:, 1:].norm(dim=-1)) ** 2).clamp(min=0).sqrt()
            ),
            "vectors",
        ),
    ],
    "monte_carlo": [
        (lambda w: (w.mean(), w.std()), "scatters less"),
        (lambda w: (w.sum(), w.std() * len(w) ** 0.5), "divide by n"),
        (lambda w: (w.mean(), w.var() / len(w)), "variance of the mean"),
        (lambda w: (w.mean(), w.mean() / len(w) ** 0.5), "Poisson"),
    ],
    "weighted_histogram": [
        (_mistaken_histogram(lambda content, counts: counts.sqrt()), "all weights are 1"),
        (_mistaken_histogram(lambda content, counts: content.sqrt()), "squared"),
        (_mistaken_histogram(lambda content, counts: content / counts.sqrt()), "dominate"),
        (_mistaken_overflow, "outside the range"),
    ],
    "ratio_with_error": [
        (lambda a, ea, b, eb: (a / b, a / b * (ea / a + eb / b)), "quadrature"),
        (lambda a, ea, b, eb: (a / b, (ea**2 + eb**2).sqrt()), "relative"),
        (lambda a, ea, b, eb: (b / a, b / a * ((ea / a) ** 2 + (eb / b) ** 2).sqrt()), "upside down"),
    ],
}
