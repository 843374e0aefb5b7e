"""Explorers of lecture 14: the principal axes of a cloud of two classes, and formulas, rough ones and long ones.

lt.explorers.explainability.principal_axes.show()    variance and class along each axis, and what a unit does to both
lt.explorers.explainability.formulas.show()          the best formula of each length, refitted to noisy points

Nothing is trained: Gaussians have closed forms, and all formulas of seven terms are few enough to try each.
"""

import itertools
import math
from types import SimpleNamespace

import torch
from torch.special import ndtr

from ..plots import COLOURS
from .shell import Choice, Explorer, Slider

REAL = {"dtype": torch.float64}
SHOWN = 400  # points of each class in the picture
COMPONENTS = ("first", "second", "both")

TERMS = {  # name: (function, LaTeX, nodes)
    "1": (lambda x, y: torch.ones_like(x), "", 0),
    "x": (lambda x, y: x, "x", 1),
    "y": (lambda x, y: y, "y", 1),
    "tanh": (lambda x, y: x.tanh(), r"\tanh x", 2),
    "xy": (lambda x, y: x * y, "x y", 3),
    "x2": (lambda x, y: x**2, "x^2", 3),
    "y2": (lambda x, y: y**2, "y^2", 3),
}
FORMULAS = [names for k in range(1, len(TERMS) + 1) for names in itertools.combinations(TERMS, k)]  # 127
TARGETS = {
    "product": lambda x, y: 1.5 * x - x * y,
    "saturating": lambda x, y: 3 * x.tanh() - 0.5 * y,
    "quotient": lambda x, y: 3 * x / (1 + y**2),  # none of the formulas
}
SMALLEST = 1e-3  # error in the picture
FRESH = 4000  # points for the error that nobody sees in real life


def auc_along(direction, difference, covariance):
    """Return the AUC of the component of two Gaussian classes of one covariance along a direction.

        AUC = Phi( |v . delta| / sqrt(2 v^T C v) )

    Shapes:
        direction (d,), difference of the means (d,), covariance (d, d) -> number
    Example:
        >>> C = torch.eye(2, dtype=torch.float64)
        >>> round(auc_along(C[0], C[0], C), 4), auc_along(C[1], C[0], C)
        (0.7602, 0.5)
    """
    along = (direction @ difference).abs() / (2 * direction @ covariance @ direction).sqrt()
    return float(ndtr(along))


def _compute_principal_axes(correlation, scale, angle, distance, standardised):
    """Find the axes of both classes together, and say how well the component along each tells them apart."""
    covariance = torch.tensor([[1.0, correlation], [correlation, 1.0]], **REAL)
    radians = math.radians(angle)
    difference = distance * torch.tensor([math.cos(radians), math.sin(radians)], **REAL)
    noise = torch.randn(2, SHOWN, 2, generator=torch.Generator().manual_seed(1), **REAL)
    points = noise @ torch.linalg.cholesky(covariance).T + torch.stack([difference, -difference])[:, None] / 2
    unit = torch.tensor([1.0, scale], **REAL)
    if standardised == "yes":
        unit = (1 + difference**2 / 4) ** -0.5  # whatever the scale was
    covariance = unit[:, None] * covariance * unit
    difference, points = unit * difference, unit * points
    variance, axes = torch.linalg.eigh(covariance + torch.outer(difference, difference) / 4)
    variance, axes = variance.flip(0), axes.flip(1).T  # the largest first, a row each
    best = torch.linalg.solve(covariance, difference)  # Fisher's direction
    return SimpleNamespace(
        points=points, variance=variance, axes=axes, share=(variance / variance.sum()).tolist(), unit=unit,
        auc=[auc_along(v, difference, covariance) for v in (*axes, best)], standardised=standardised == "yes",
    )  # fmt: skip


def _draw_principal_axes(axes, result):
    cloud, bars = axes
    for points, colour, marker, name in zip(result.points, COLOURS, "o^", ("class 1", "class 0"), strict=False):
        cloud.plot(*points.T, linestyle="none", marker=marker, markersize=2.5, color=colour, alpha=0.6, label=name)
    for k, (line, name) in enumerate((("-", "first axis"), ("--", "second axis"))):
        end = 2 * result.variance[k].sqrt() * result.axes[k]
        cloud.plot([-end[0], end[0]], [-end[1], end[1]], color="black", linestyle=line, linewidth=2.5, label=name)
    half = 4.5 * float(result.unit.max())
    unit = ", standardised" if result.standardised else ""
    cloud.set(xlabel=f"first feature{unit} [1]", ylabel=f"second feature{unit} [1]", aspect="equal")
    cloud.set(xlim=(-half, half), ylim=(-half, half))
    cloud.legend(loc="upper left", fontsize=11, ncols=2, handlelength=1.6, columnspacing=0.8)
    place = torch.arange(3)
    looks = ((result.share, "share of the variance", COLOURS[2], "//"), (result.auc, "AUC", COLOURS[3], ""))
    for shift, (values, name, colour, hatch) in zip((-0.2, 0.2), looks, strict=True):
        values = [*values, 1.0][:3]
        bars.bar(place + shift, values, 0.38, color=colour, hatch=hatch, edgecolor="white", label=name)
        for x, value in zip((place + shift).tolist(), values, strict=True):
            bars.text(x, value + 0.02, f"{value:.2f}", ha="center", fontsize=12)
    bars.axhline(0.5, color="black", linestyle=":", linewidth=1.4, label="AUC of a guess")
    bars.set_xticks(place.tolist(), COMPONENTS)
    bars.set(xlabel="component", ylabel="share, AUC [1]", ylim=(0, 1.5), yticks=(0, 0.25, 0.5, 0.75, 1))
    bars.legend(loc="upper left", fontsize=12)


def _say_principal_axes(result):
    return (
        f"variance along the axes {100 * result.share[0]:.1f}% and {100 * result.share[1]:.1f}%; AUC of the first "
        f"component {result.auc[0]:.3f}, of the second {result.auc[1]:.3f}, of the best combination {result.auc[2]:.3f}"
    )


principal_axes = Explorer(
    "Is the longest axis the important one?",
    {
        "correlation": Slider(-0.9, 0.9, 0.1, 0.8, "correlation in a class"),
        "scale": Choice([0.1, 0.3, 1.0, 3.0, 10.0], 1.0, "scale of the second feature"),
        "angle": Slider(0, 180, 15, 120, "direction of the class difference [degrees]"),
        "distance": Slider(0.5, 3.0, 0.25, 1.0, "size of the class difference"),
        "standardised": Choice(["no", "yes"], "no", "standardised"),
    },
    _compute_principal_axes,
    _draw_principal_axes,
    summary=_say_principal_axes,
    columns=2,
    size=(10.6, 5.0),
)


def nodes(names):
    """Return the complexity of a sum of terms: constants, variables, operations and functions.

    Example:
        >>> nodes(("1", "x")), nodes(("x", "xy"))                      # a + b x, and a x + b x y
        (5, 9)
    """
    return sum(1 + (1 + TERMS[name][2] if TERMS[name][2] else 0) for name in names) + len(names) - 1


def fitted(columns, target):
    """Return the constants of a sum of columns that fit a target best in the mean square.

    Shapes:
        columns (n, k), target (n,) -> (k,)
    Example:
        >>> x = torch.linspace(0, 1, 9, dtype=torch.float64)
        >>> fitted(torch.stack([torch.ones_like(x), x], 1), 2 * x + 1)
        tensor([1.0000, 2.0000], dtype=torch.float64)
    """
    return torch.linalg.lstsq(columns, target[:, None], driver="gelsd").solution[:, 0]


def written(names, constants):
    """Return a sum of terms as LaTeX, with two digits.

    Example:
        >>> written(("1", "x", "tanh"), [0.5, -1.0, 2.034])
        '0.5 - x + 2 \\\\tanh x'
    """
    words = []
    for name, value in zip(names, constants, strict=True):
        sign = "-" if value < 0 else "+"
        number, term = f"{float(f'{abs(value):.2g}'):.3g}", TERMS[name][1]
        words.append(f"{sign} {'' if number == '1' and term else number} {term}".strip().replace("  ", " "))
    return " ".join(words).removeprefix("+ ")


def table(x, y):
    """Return all terms of points, (n,), (n,) -> (n, 7)."""
    return torch.stack([function(x, y) for function, _, _ in TERMS.values()], dim=1)


def cloud(n, correlation, seed):
    """Return n points of two Gaussian features of width 1, (n,), (n,)."""
    x, other = torch.randn(n, 2, generator=torch.Generator().manual_seed(seed), **REAL).T
    return x, correlation * x + math.sqrt(1 - correlation**2) * other


def _compute_formulas(target, longest, noise, points, correlation):
    """Fit all formulas to noisy points, and keep those that no shorter one is as good as."""
    truth, order = TARGETS[target], list(TERMS)
    x, y = cloud(points, correlation, seed=3)
    wanted = truth(x, y) + noise * torch.randn(points, generator=torch.Generator().manual_seed(4), **REAL)
    fresh_x, fresh_y = cloud(FRESH, correlation, seed=5)
    columns, fresh, fresh_truth = table(x, y), table(fresh_x, fresh_y), truth(fresh_x, fresh_y)
    spread = float(fresh_truth.std())
    found = []
    for names in FORMULAS:
        here = [order.index(name) for name in names]
        constants = fitted(columns[:, here], wanted)
        seen = float((columns[:, here] @ constants - wanted).square().mean().sqrt()) / spread
        true = float((fresh[:, here] @ constants - fresh_truth).square().mean().sqrt()) / spread
        found.append((nodes(names), seen, true, names, constants))
    front = []
    for one in sorted(found, key=lambda one: one[:2]):
        if not front or one[1] + 1e-9 < 0.995 * front[-1][1]:
            front.append(one)
    chosen = [one for one in front if one[0] <= longest][-1]
    t = torch.linspace(-2.5, 2.5, 101, **REAL)
    here = [order.index(name) for name in chosen[3]]
    curves = [(truth(t, sign * t), table(t, sign * t)[:, here] @ chosen[4]) for sign in (1, -1)]
    return SimpleNamespace(
        complexity=[one[0] for one in found], seen=[one[1] for one in found], front=[one[:3] for one in front],
        chosen=chosen[:3], constants=chosen[4], names=chosen[3], t=t, curves=curves, noise=noise / spread,
        x=x[:200], y=wanted[:200], longest=longest,
    )  # fmt: skip


def _draw_formulas(axes, result):
    front, curve = axes
    front.plot(result.complexity, [max(e, SMALLEST) for e in result.seen], ".", color="0.7", linestyle="none",
               markersize=5, label="all 127 formulas")  # fmt: skip
    for column, colour, line, marker, name in ((1, COLOURS[0], "-", "o", "best, on these points"),
                                               (2, COLOURS[1], "--", "^", "the same, true error")):  # fmt: skip
        front.plot([one[0] for one in result.front], [max(one[column], SMALLEST) for one in result.front], color=colour,
                   linestyle=line, marker=marker, markersize=6, label=name)  # fmt: skip
        front.plot([result.chosen[0]], [max(result.chosen[column], SMALLEST)], marker=marker, markersize=13,
                   linestyle="none", markerfacecolor="none", markeredgecolor="black", markeredgewidth=1.8)  # fmt: skip
    front.axvline(result.longest, color="0.4", linestyle=":", linewidth=1.4)
    front.set(xlabel="complexity [1]", ylabel="error / spread of the target [1]", yscale="log", xlim=(0, 33))
    front.set(ylim=(SMALLEST / 1.4, 80))
    front.legend(loc="upper right", fontsize=11, handlelength=1.8)
    for (truth, formula), colour, name in zip(result.curves, COLOURS[2:4], ("$y = x$", "$y = -x$"), strict=True):
        curve.plot(result.t, truth, color=colour, linestyle="-", linewidth=4, alpha=0.45, label=f"target, {name}")
        curve.plot(result.t, formula, color=colour, linestyle="--", linewidth=2, label=f"formula, {name}")
    curve.set(xlabel="$x$ [1]", ylabel="target, formula [1]", xlim=(-2.5, 2.5), ylim=(-8, 12))
    curve.legend(loc="upper center", fontsize=11, ncols=2, columnspacing=0.8, handlelength=1.8)
    half = math.ceil(len(result.names) / 2) if len(result.names) > 4 else len(result.names)
    parts = [written(result.names[:half], result.constants[:half])]
    if half < len(result.names):
        rest = written(result.names[half:], result.constants[half:])
        parts.append(rest if rest.startswith("-") else "+ " + rest)
    curve.set_title("\n".join(f"${part}$" for part in parts), fontsize=13)


def _say_formulas(result):
    complexity, seen, true = result.chosen
    return (
        f"best formula of at most {result.longest} nodes: complexity {complexity}, error {seen:.3f} of the spread on "
        f"these points (noise alone {result.noise:.3f}), {true:.3f} from the target; the front has {len(result.front)}"
    )


formulas = Explorer(
    "How long must a formula be?",
    {
        "longest": Slider(1, 32, 1, 9, "longest formula allowed"),
        "target": Choice(list(TARGETS), "product", "target"),
        "noise": Slider(0.0, 2.0, 0.1, 0.3, "noise"),
        "points": Choice([10, 20, 50, 200, 1000, 5000], 200, "points"),
        "correlation": Slider(-0.95, 0.95, 0.05, 0.5, "correlation of x and y"),
    },
    _compute_formulas,
    _draw_formulas,
    summary=_say_formulas,
    columns=2,
    size=(11.6, 5.0),
)
