"""Explorers of lecture 08: points on their way from noise to a toy, and what the steps of a solver cost.

lt.explorers.flow_matching.paths.show()      time, toy and kind of path against points, velocity field and density
lt.explorers.flow_matching.solvers.show()    method, steps and toy against trajectories and their error

Nothing is trained: for a mixture of Gaussians the velocity of flow matching is known by formula.
"""

import math
from functools import cache
from types import SimpleNamespace

import torch

from ..datasets.toy_densities import GaussianMixture
from ..datasets.toys import eight_gaussians, grid_of_gaussians, two_moons
from ..flow_matching import integrate, linear_path
from ..flow_matching.trajectories import METHODS
from ..plots import COLOURS
from .shell import Choice, Explorer, Slider

POINTS = 80  # on their way in the picture of paths
FINE = 80  # steps of their trajectories
REACH = 3.2  # half the side of a picture
STEPS = [1, 2, 3, 5, 10, 20, 50, 100, 200]  # of the solvers
EVALUATIONS = {"euler": 1, "midpoint": 2, "rk4": 4}  # of the velocity, a step
AXES = {"steps": "steps", "evaluations": "evaluations of the velocity"}


def toy_means(name):
    """Return the centres (k, 2) and the common width of a toy that is a mixture of round Gaussians.

    Example:
        >>> means, width = toy_means("eight Gaussians")
        >>> means.shape, width
        (torch.Size([8, 2]), 0.2)
    """
    width = {"eight Gaussians": 0.2, "two moons": 0.1, "grid": 0.1}[name]
    if name == "two moons":
        return 1.5 * (two_moons(width / 1.5).means - torch.tensor([0.5, 0.25], dtype=torch.float64)), width
    return (eight_gaussians(width=width) if name == "eight Gaussians" else grid_of_gaussians(width=width)).means, width


def mixture_velocity(means, width, x, t):
    """Velocity of flow matching from N(0, 1) to a mixture of round Gaussians of one width, by formula.

        component k at time t:  N(t mean_k, s_t^2),      s_t^2 = (1 - t)^2 + t^2 width^2
        v(x, t) = E[x_1 - x_0 | x_t = x] = sum_k r_k(x) [mean_k + (t width^2 - (1 - t)) / s_t^2 (x - t mean_k)]

    with r_k(x) the probability that x_t = x belongs to component k.

    Shapes:
        means (k, d), x (n, d), one number t -> (n, d)
    Example:
        >>> mixture_velocity(torch.tensor([[3.0]]), 1.0, torch.tensor([[0.0], [1.0]]), 0.0)     # mean - x
        tensor([[3.],
                [2.]])
    """
    variance = (1 - t) ** 2 + t**2 * width**2
    offset = x[:, None] - t * means  # (n, k, d)
    responsibility = torch.softmax(-offset.square().sum(2) / (2 * variance), dim=1)[:, :, None]
    return (responsibility * (means + (t * width**2 - (1 - t)) / variance * offset)).sum(1)


def mixture_at(means, width, t):
    """Return the density of x_t = (1 - t) x_0 + t x_1, again a mixture, at one time t.

    Shapes:
        means (k, d) -> a toy with log_prob(x), x (n, d) -> (n,)
    Example:
        >>> mixture_at(torch.tensor([[3.0]]), 1.0, 0.5).means
        tensor([[1.5000]], dtype=torch.float64)
    """
    return GaussianMixture(t * means, math.sqrt((1 - t) ** 2 + t**2 * width**2))


def _noise(n, seed):
    return torch.randn(n, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def _trajectories(field, x, steps, method="rk4"):
    """Return the points at the ends of all steps, (steps + 1, n, 2)."""
    track = [x]
    for i in range(steps):
        track.append(integrate(field, track[-1], i / steps, (i + 1) / steps, 1, method))
    return torch.stack(track)


def _compute_paths(time, toy, follow):
    """Carry noise to the toy, along the field or on straight lines to random partners."""
    means, width = toy_means(toy)

    def field(x, t):
        return mixture_velocity(means, width, x, t)

    x_0, until = _noise(POINTS, seed=1), round(time * FINE)
    if follow == "field":
        track = _trajectories(field, x_0, FINE)
    else:
        x_1 = GaussianMixture(means, width).sample(POINTS, torch.Generator().manual_seed(2))
        track = torch.stack([linear_path(x_0, x_1, i / FINE)[0] for i in range(FINE + 1)])
    arrows = torch.cartesian_prod(*[torch.linspace(-2.8, 2.8, 13, dtype=torch.float64)] * 2)
    side = torch.linspace(-REACH, REACH, 121, dtype=torch.float64)
    density = mixture_at(means, width, time).log_prob(torch.cartesian_prod(side, side)).exp().reshape(121, 121).T
    so_far = track[: until + 1]
    return SimpleNamespace(
        track=so_far, arrows=arrows, velocity=field(arrows, time), density=density / density.max(), time=time,
        length=so_far.diff(dim=0).norm(dim=2).sum(0).mean(), direct=(so_far[-1] - x_0).norm(dim=1).mean(),
        follow=follow,
    )  # fmt: skip


def _square(ax):
    ax.set(
        xlabel="first coordinate [1]",
        ylabel="second coordinate [1]",
        xlim=(-REACH, REACH),
        ylim=(-REACH, REACH),
        aspect="equal",
    )


def _draw_paths(axes, result):
    points, density = axes
    colour = COLOURS[0] if result.follow == "field" else COLOURS[1]
    points.quiver(
        *result.arrows.T, *result.velocity.T, angles="xy", scale_units="xy", scale=10, color="0.7", width=4e-3
    )
    points.plot(result.track[:, :, 0], result.track[:, :, 1], color=colour, linewidth=0.9, linestyle="-")
    points.plot(*result.track[0].T, "o", color="0.55", markersize=2.5, zorder=3)
    points.plot(*result.track[-1].T, "o", color="black", markersize=3.5, zorder=4)
    density.imshow(result.density, origin="lower", extent=(-REACH, REACH) * 2, cmap="Greys", vmin=0, vmax=1)
    density.plot(*result.track[-1].T, "o", color=colour, markersize=3.5)
    for ax in axes:
        _square(ax)
        ax.text(0.03, 0.94, f"$t = {result.time:g}$", transform=ax.transAxes, bbox={"color": "white", "pad": 1})


def _say_paths(result):
    way = "along the field" if result.follow == "field" else "on straight lines"
    detour = f", {result.length / result.direct:.2f} times the distance" if result.direct > 0 else ""
    return f"t = {result.time:g}: points have gone {result.length:.2f} {way}{detour}"


paths = Explorer(
    "From noise to data",
    {
        "time": Slider(0.0, 1.0, 0.05, 0.6, "time t"),
        "toy": Choice(["eight Gaussians", "two moons", "grid"], "eight Gaussians", "data"),
        "follow": Choice(["field", "straight lines"], "field", "points follow"),
    },
    _compute_paths,
    _draw_paths,
    summary=_say_paths,
    columns=2,
    size=(10.0, 5.0),
)


@cache
def _errors(toy):
    """Return starts, exact ends, and for each method the mean distance from these for all numbers of steps."""
    means, width = toy_means(toy)

    def field(x, t):
        return mixture_velocity(means, width, x, t)

    x_0 = _noise(100, seed=3)
    exact = integrate(field, x_0, 0.0, 1.0, 500)
    return x_0, exact, {
        name: torch.stack([(integrate(field, x_0, 0.0, 1.0, n, name) - exact).norm(dim=1).mean() for n in STEPS])
        for name in METHODS
    }  # fmt: skip


def _compute_solvers(method, steps, toy, count):
    """Solve with each method and number of steps, and compare where points end with a solution in 500 steps."""
    means, width = toy_means(toy)
    x_0, exact, error = _errors(toy)
    track = _trajectories(lambda x, t: mixture_velocity(means, width, x, t), x_0[:40], steps, method)
    cost = {name: [EVALUATIONS[name] * n if count == "evaluations" else n for n in STEPS] for name in METHODS}
    return SimpleNamespace(track=track, exact=exact[:40], error=error, cost=cost, method=method, steps=steps,
                           count=count, chosen=error[method][STEPS.index(steps)])  # fmt: skip


def _draw_solvers(axes, result):
    points, curve = axes
    colour = COLOURS[list(METHODS).index(result.method)]
    points.plot(result.track[:, :, 0], result.track[:, :, 1], color=colour, linewidth=0.8, linestyle="-", alpha=0.7)
    points.plot(*result.exact.T, "o", color="white", markeredgecolor="black", markersize=6, label="exact end")
    points.plot(*result.track[-1].T, "x", color=colour, markersize=6, zorder=4, label="end of the steps")
    _square(points)
    points.legend(loc="upper center", fontsize=11, ncols=2, handlelength=1.0)
    for i, name in enumerate(METHODS):
        look = {"color": COLOURS[i], "linestyle": ("-", "--", "-.")[i], "marker": "os^"[i]}
        curve.plot(result.cost[name], result.error[name].clamp(min=1e-8), label=name, **look)
    at = result.cost[result.method][STEPS.index(result.steps)]
    curve.plot([at], [result.chosen.clamp(min=1e-8)], "o", markersize=14, markerfacecolor="none", color="black")
    curve.set(xlabel=AXES[result.count], ylabel="mean error of the end [1]", xscale="log", yscale="log",
              ylim=(5e-9, 5))  # fmt: skip
    curve.legend(loc="lower left", fontsize=12)


def _say_solvers(result):
    calls = EVALUATIONS[result.method] * result.steps
    return (
        f"{result.method}, {result.steps} steps, {calls} evaluations of the velocity: "
        f"points end {result.chosen:.2g} from where they should"
    )


solvers = Explorer(
    "Steps of a solver",
    {
        "method": Choice(list(METHODS), "euler", "method"),
        "steps": Choice(STEPS, 5, "steps"),
        "toy": Choice(["eight Gaussians", "two moons", "grid"], "eight Gaussians", "data"),
        "count": Choice(list(AXES), "steps", "count"),
    },
    _compute_solvers,
    _draw_solvers,
    summary=_say_solvers,
    columns=2,
    size=(10.0, 5.0),
)
