"""Explorers of lecture 06: points on their way through coupling layers, and one spline with its knots in hand.

lt.explorers.flows.push.show()       events become a Gaussian, or a Gaussian events, layer by layer
lt.explorers.flows.spline.show()     heights, a width and slopes, and the density that they make
"""

import functools
import math
from types import SimpleNamespace

import torch

from ..bijections import Standardise, rational_quadratic
from ..datasets.toys import make_toy
from ..flows import CouplingFlow
from ..likelihoods import LOG_SQRT_2_PI
from ..plots import COLOURS
from ..training import fit
from .shell import Choice, Explorer, Slider

TOYS = {"two moons": "two_moons", "ring": "ring", "grid": "grid_of_gaussians"}
FORWARD, INVERSE = "forward", "inverse"  # events to Gaussian, Gaussian to events
LAYERS, STEPS, BATCH, LEARNING_RATE = 6, 160, 256, 0.01
POINTS, SHOWN = 4000, 1200  # for the numbers, and in the picture
SECTORS = 6  # of the Gaussian, each with a colour
BOUND = 3.0  # half of the side of the square of the spline explorer


@functools.cache
def trained_flow(name, steps=STEPS):
    """Return a small spline flow trained on a toy; the same name gives the same flow.

    Arguments:
        name: of the toy, as `datasets.make_toy` knows it.
    Example:
        >>> flow = trained_flow("two_moons", steps=2)
        >>> flow.log_prob(torch.zeros(3, 2)).shape
        torch.Size([3])
    """
    generator = torch.Generator().manual_seed(1)
    x = make_toy(name).sample(20_000, generator).float()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        flow = CouplingFlow(2, blocks=LAYERS, hidden=(32,), bins=8, bound=4.0, preprocess=Standardise.fit(x))
    with torch.random.fork_rng(devices=[]):
        fit(flow, lambda flow, batch: -flow.log_prob(batch["x"]).mean(), {"x": x}, steps=steps, batch_size=BATCH,
            learning_rate=LEARNING_RATE, warmup=0, seed=1, progress=False)  # fmt: skip
    return flow.cpu()


@torch.no_grad()
def through_layers(flow, x, layers, back=False):
    """Take points through the first layers of a flow; or, from the Gaussian, back through its last ones.

    Arguments:
        layers: how many; the shift and scale in front of them belong to the events and are left out.
    Shapes:
        x (n, 2) -> y (n, 2), log|det dy/dx| (n,)
    Example:
        >>> flow = trained_flow("two_moons", steps=2)
        >>> y, log_det = through_layers(flow, torch.ones(3, 2), layers=6)
        >>> torch.allclose(through_layers(flow, y, layers=6, back=True)[0], torch.ones(3, 2), atol=1e-4)
        True
    """
    total = torch.zeros(len(x))
    chosen = reversed(flow.layers[len(flow.layers) - layers :]) if back else flow.layers[:layers]
    for layer in chosen:
        x, log_det = layer.inverse(x) if back else layer(x)
        total = total + log_det
    return x, total


def _normal(z):
    return (-0.5 * z.square() - LOG_SQRT_2_PI).sum(1)


def _lines(half=3.0, lines=13, points=121):
    """Return a square grid as lines, shape (2 lines, points, 2)."""
    along, places = torch.linspace(-half, half, points), torch.linspace(-half, half, lines)
    upright = torch.stack([places[:, None].expand(-1, points), along.expand(lines, -1)], dim=2)
    return torch.cat([upright, upright.flip(2)])


def _compute_push(toy, layers, direction):
    """Push points and a grid through some layers, and say how far the density is from the goal."""
    flow, truth = trained_flow(TOYS[toy]), make_toy(TOYS[toy])
    generator, back = torch.Generator().manual_seed(2), direction == INVERSE
    with torch.no_grad():
        if back:
            start = torch.randn(POINTS, 2, generator=generator)
            place = start  # in the Gaussian
            y, log_det = through_layers(flow, start, layers, back=True)
            x, scale = flow.preprocess.inverse(y)
            log_ratio = _normal(start) - log_det - scale - truth.log_prob(x.double())
        else:
            x = truth.sample(POINTS, generator).float()
            start, scale = flow.preprocess(x)
            place = through_layers(flow, start, LAYERS)[0]
            y, log_det = through_layers(flow, start, layers)
            log_ratio = truth.log_prob(x.double()) - _normal(y) - log_det - scale
    grid = _lines()
    bent = through_layers(flow, grid.flatten(0, 1), layers, back)[0].reshape(grid.shape)
    return SimpleNamespace(
        start=start, y=y, log_det=log_det, place=place, grid=bent, layers=layers, back=back, toy=toy,
        gap=float(log_ratio.mean()), error=float(log_ratio.std()) / math.sqrt(POINTS),
    )  # fmt: skip


def _draw_push(axes, result):
    points, grid = axes
    angle = torch.atan2(result.place[:SHOWN, 1], result.place[:SHOWN, 0])
    sector = (angle / (2 * math.pi) * SECTORS).floor().long() % SECTORS
    for i in range(SECTORS):
        y = result.y[:SHOWN][sector == i]
        points.plot(y[:, 0], y[:, 1], linestyle="none", marker="o^svDP"[i], color=COLOURS[i], markersize=2.6)
    half = len(result.grid) // 2
    for line in result.grid[:half]:
        grid.plot(line[:, 0], line[:, 1], color=COLOURS[0], linestyle="-", linewidth=0.9)
    for line in result.grid[half:]:
        grid.plot(line[:, 0], line[:, 1], color=COLOURS[1], linestyle="-", linewidth=0.9)
    for ax in axes:
        ax.set(xlabel="first feature [1]", ylabel="second feature [1]", xlim=(-3.4, 3.4), ylim=(-3.4, 3.4))
        ax.set_aspect("equal")
    points.set_title(f"{result.layers} of {LAYERS} layers")


def _say_push(result):
    way = "undone, from the Gaussian" if result.back else "applied to the events"
    goal = "events" if result.back else "Gaussian"
    return (
        f"{result.toy}, {result.layers} of {LAYERS} layers {way}: {result.gap:.3f} +- {result.error:.3f} nats from "
        f"the {goal}; log|det| of these layers {float(result.log_det.mean()):+.2f} on average"
    )


push = Explorer(
    "What does each coupling layer do?",
    {
        "toy": Choice(list(TOYS), "two moons", "toy"),
        "layers": Slider(0, LAYERS, 1, 3, "layers"),
        "direction": Choice([FORWARD, INVERSE], FORWARD, "direction"),
    },
    _compute_push,
    _draw_push,
    summary=_say_push,
    columns=2,
    size=(9.6, 4.9),
)


def spline_by_hand(height_1, height_2, width, slope_1, slope_2):
    """Return knots and slopes of a spline of three bins on the square, each (4,).

    Arguments:
        height_1, height_2: shares of the first two bins of the total height; the third has the rest.
        width: share of the bin in the middle of the total width; the others are equally wide.
        slope_1, slope_2: at the two inner knots; at the ends it is 1.
    Example:
        >>> x, y, slopes = spline_by_hand(0.25, 0.5, 0.5, 1.0, 2.0)
        >>> x.tolist(), y.tolist(), slopes.tolist()
        ([-3.0, -1.5, 1.5, 3.0], [-3.0, -1.5, 1.5, 3.0], [1.0, 1.0, 2.0, 1.0])
    """
    side = 2 * BOUND
    x = torch.tensor([0, (1 - width) / 2, (1 + width) / 2, 1], dtype=torch.float64) * side - BOUND
    y = torch.tensor([0, height_1, height_1 + height_2, 1], dtype=torch.float64) * side - BOUND
    return x, y, torch.tensor([1.0, slope_1, slope_2, 1.0], dtype=torch.float64)


def _compute_spline(height_1, height_2, width, slope_1, slope_2):
    """Evaluate curve, slope and density on a grid that holds the knots."""
    knots = spline_by_hand(height_1, height_2, width, slope_1, slope_2)
    outside = torch.linspace(BOUND, 6.0, 200, dtype=torch.float64)
    inner = [torch.linspace(float(a), float(b), 401, dtype=torch.float64)
             for a, b in zip(knots[0], knots[0][1:])]  # fmt: skip
    x = torch.cat([-outside.flip(0), *inner, outside]).unique()  # (grid,)
    z, log_slope = rational_quadratic(x, *(part[:, None].expand(-1, len(x)) for part in knots))
    density = (-0.5 * z.square() - LOG_SQRT_2_PI + log_slope).exp()
    gaussian = (-0.5 * x.square() - LOG_SQRT_2_PI).exp()
    return SimpleNamespace(
        x=x, z=z, slope=log_slope.exp(), density=density, gaussian=gaussian, knots=knots,
        integral=float(torch.trapezoid(density, x)),
    )  # fmt: skip


def _draw_spline(axes, result):
    curve, slope, density = axes
    x, y, slopes = result.knots
    curve.plot(result.x, result.x, color="0.6", linestyle=":", label="identity")
    curve.plot(result.x, result.z, color=COLOURS[0], linestyle="-", label="$z(x)$")
    curve.plot(x, y, "o", color="black", markersize=7, label="knots", zorder=3)
    curve.set(xlabel="$x$ [1]", ylabel="$z$ [1]", xlim=(-4, 4), ylim=(-4, 4))
    slope.plot(result.x, result.slope, color=COLOURS[1], linestyle="--", label=r"d$z$/d$x$")
    slope.plot(x, slopes, "o", color="black", markersize=7, label="at the knots", zorder=3)
    slope.set(xlabel="$x$ [1]", ylabel=r"slope d$z$/d$x$ [1]", xlim=(-4, 4), yscale="log", ylim=(0.02, 80))
    density.fill_between(result.x, 0, result.density, color=COLOURS[2], alpha=0.4, linewidth=0, label="density of $x$")
    density.plot(result.x, result.gaussian, color="black", linestyle="-", linewidth=1.4, label="Gaussian")
    density.set(xlabel="$x$ [1]", ylabel="density [1]", xlim=(-4, 4), ylim=(0, max(0.6, 1.05 * result.density.max())))
    for ax in axes:
        ax.legend(loc="upper left" if ax is not slope else "upper right", fontsize=11, handlelength=1.6)


def _say_spline(result):
    return (
        f"slope from {float(result.slope.min()):.2f} to {float(result.slope.max()):.2f}; the density has the integral "
        f"{result.integral:.4f} and its highest value {float(result.density.max()):.2f}"
    )


spline = Explorer(
    "One spline, and the density that it makes",
    {
        "height_1": Slider(0.05, 0.45, 0.05, 0.45, "height of bin 1"),
        "height_2": Slider(0.05, 0.45, 0.05, 0.1, "height of bin 2"),
        "width": Slider(0.1, 0.8, 0.1, 0.4, "width of bin 2"),
        "slope_1": Choice([0.1, 0.2, 0.5, 1.0, 2.0, 5.0], 0.2, "slope at knot 1"),
        "slope_2": Choice([0.1, 0.2, 0.5, 1.0, 2.0, 5.0], 0.2, "slope at knot 2"),
    },
    _compute_spline,
    _draw_spline,
    summary=_say_spline,
    columns=3,
)
