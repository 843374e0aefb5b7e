"""Explorers of lecture 01: how much a network can hold, and how long Adam remembers.

lt.explorers.fitting.capacity.show()        width, depth, noise and number of points against over- and underfitting
lt.explorers.fitting.memory.show()          Adam in a valley: what beta2 and the learning rate do
"""

import math
from types import SimpleNamespace

import numpy as np
import torch

from ..layers import MLP
from ..plots import COLOURS
from .shell import Choice, Explorer, Slider

STEPS = 400  # of the training behind the capacity explorer
TRACK = 2000  # of the walk in the valley


def resonance(x):
    """Return the logarithm of a resonance that interferes with a flat background, a curve with a peak and a dip.

        g(x) = log |1 + c / (x + i w)|,    c = 0.4, w = 0.12

    Arguments:
        x: distance from the peak, any shape.
    Example:
        >>> round(float(resonance(torch.tensor(0.0))), 3)
        1.247
    """
    x = torch.as_tensor(x)
    return 0.5 * torch.log(((x + 0.4) ** 2 + 0.12**2) / (x**2 + 0.12**2))


def noisy_points(points, noise, seed):
    """Return x uniform in (-1, 1) and y = g(x) + noise, each of shape (points, 1).

    Example:
        >>> x, y = noisy_points(10, noise=0.0, seed=1)
        >>> bool((y == resonance(x)).all())
        True
    """
    generator = torch.Generator().manual_seed(seed)
    x = 2 * torch.rand(points, 1, generator=generator, dtype=torch.float32) - 1
    return x, resonance(x) + noise * torch.randn(points, 1, generator=generator, dtype=torch.float32)


def _compute_capacity(width, depth, noise, points):
    """Train one small network on all points at once; the same settings give the same network."""
    x, y = noisy_points(points, noise, seed=2)
    x_valid, y_valid = noisy_points(400, noise, seed=3)
    with torch.random.fork_rng(devices=[]):  # the random numbers of the notebook go on as if nothing had happened
        torch.manual_seed(4)
        network = MLP(1, 1, hidden=(width,) * depth)
    optimiser = torch.optim.Adam(network.parameters(), betas=(0.9, 0.95), fused=True)
    steps, train, valid = [], [], []
    for step in range(1, STEPS + 1):
        optimiser.param_groups[0]["lr"] = 0.01 * (1 + math.cos(math.pi * (step - 1) / STEPS))
        optimiser.zero_grad()
        (network(x) - y).square().mean().backward()
        optimiser.step()
        if step == 1 or step % 20 == 0:
            with torch.no_grad():
                steps.append(step)
                train.append(float((network(x) - y).square().mean()))
                valid.append(float((network(x_valid) - y_valid).square().mean()))
    grid = torch.linspace(-1, 1, 401, dtype=torch.float32)[:, None]
    with torch.no_grad():
        curve = network(grid)
    return SimpleNamespace(
        x=x[:, 0], y=y[:, 0], grid=grid[:, 0], truth=resonance(grid)[:, 0], curve=curve[:, 0], noise=noise,
        steps=np.array(steps), train=np.array(train), valid=np.array(valid),
        error=float((curve - resonance(grid)).square().mean().sqrt()),
        parameters=sum(weight.numel() for weight in network.parameters()),
    )  # fmt: skip


def _draw_capacity(axes, result):
    fit, losses = axes
    fit.plot(result.x, result.y, "o", color="0.35", markersize=4, label="training points", zorder=3)
    fit.plot(result.grid, result.truth, color=COLOURS[1], linestyle="--", label="truth $g(x)$")
    fit.plot(result.grid, result.curve, color=COLOURS[0], linestyle="-", label="network")
    fit.set(xlabel="distance from the peak $x$ [1]", ylabel="$y$", xlim=(-1, 1), ylim=(-2.6, 2.2))
    fit.legend(loc="lower right", fontsize=12, handlelength=1.8)
    losses.plot(result.steps, result.train, color=COLOURS[0], linestyle="-", label="training")
    losses.plot(result.steps, result.valid, color=COLOURS[1], linestyle="--", label="validation")
    if result.noise > 0:
        losses.axhline(result.noise**2, color="black", linewidth=1.6, linestyle=":", label=r"noise $\sigma^2$")
    losses.set(xlabel="training steps", ylabel="MSE", yscale="log", ylim=(1e-5, 3), xlim=(0, STEPS))
    losses.legend(loc="lower left", fontsize=12)


def _say_capacity(result):
    return (
        f"{result.parameters} parameters, {len(result.x)} points: training MSE {result.train[-1]:.2g}, validation "
        f"{result.valid[-1]:.2g}, noise {result.noise**2:.2g}; rms distance to the truth {result.error:.3f}"
    )


capacity = Explorer(
    "How much can a network hold?",
    {
        "width": Choice([1, 2, 4, 8, 16, 32, 64], 16, "width"),
        "depth": Slider(1, 4, 1, 2, "hidden layers"),
        "noise": Slider(0.0, 0.5, 0.05, 0.2, "noise"),
        "points": Choice([10, 20, 40, 80, 160, 320], 80, "points"),
    },
    _compute_capacity,
    _draw_capacity,
    summary=_say_capacity,
    columns=2,
)


def valley_walk(beta2, learning_rate, ratio, steps=TRACK, fresh=None):
    """Walk with Adam down a straight valley that lies across both coordinates, cosine schedule, no noise.

        L = (e_1^2 + e_2^2 / ratio) / 2,    e_1, e_2 = (theta_1 -+ theta_2) / sqrt(2),    start at e = (1, 1)

    Arguments:
        beta2: decay of Adam's memory of squared gradients, below 1.
        learning_rate: at the first step; it falls to zero along a cosine.
        ratio: curvature across the valley over curvature along it.
        fresh: step at which the memory of squared gradients is emptied once; None: never.
    Shapes:
        -> theta (steps + 1, 2), gradient (steps, 2), memory (steps, 2): bias-corrected v of each step; arrays
    Example:
        >>> theta, gradient, memory = valley_walk(0.95, 0.01, 1000.0)
        >>> theta.shape, memory.shape, bool(abs(theta[-1]).max() < 1e-3)
        ((2001, 2), (2000, 2), True)
    """
    across, along = (1 + 1 / ratio) / 2, (1 - 1 / ratio) / 2
    a, b = math.sqrt(2), 0.0  # theta of e = (1, 1)
    m_a = m_b = v_a = v_b = 0.0
    theta, gradient, memory, since = [(a, b)], [], [], 0
    for k in range(steps):  # plain numbers: ten times faster than arrays of two
        g_a, g_b = across * a - along * b, across * b - along * a
        if k == fresh:
            v_a = v_b = 0.0
            since = 0
        since += 1
        m_a, m_b = 0.9 * m_a + 0.1 * g_a, 0.9 * m_b + 0.1 * g_b
        v_a, v_b = beta2 * v_a + (1 - beta2) * g_a * g_a, beta2 * v_b + (1 - beta2) * g_b * g_b
        first, second = 1 - 0.9 ** (k + 1), 1 - beta2**since
        rate = learning_rate * (1 + math.cos(math.pi * k / steps)) / 2 / first
        a -= rate * m_a / (math.sqrt(v_a / second) + 1e-12)
        b -= rate * m_b / (math.sqrt(v_b / second) + 1e-12)
        theta.append((a, b))
        gradient.append((g_a, g_b))
        memory.append((v_a / second, v_b / second))
    return np.array(theta), np.array(gradient), np.array(memory)


def _compute_memory(beta2, learning_rate, ratio):
    theta, gradient, memory = valley_walk(beta2, learning_rate, ratio)
    e = np.stack([theta[:, 0] - theta[:, 1], theta[:, 0] + theta[:, 1]], axis=1) / math.sqrt(2)
    stale = memory[:-1].sum(1) / np.maximum((gradient[1:] ** 2).sum(1), 1e-30)
    return SimpleNamespace(
        beta2=beta2, ratio=ratio, theta=theta, steep=e[:, 0] ** 2 / 2, valley=e[:, 1] ** 2 / 2 / ratio, left=e[-1, 1],
        stale=float(np.exp(np.median(np.log(stale)))),
    )  # fmt: skip


def _draw_memory(axes, result):
    plane, parts = axes
    edge = np.array([-0.55, 1.75])
    for loss, grey in ((0.4, "0.95"), (0.1, "0.9"), (0.01, "0.83")):  # (theta_1 - theta_2)^2 / 4 is the wall's part
        half = 2 * math.sqrt(loss)
        plane.fill_between(edge, edge - half, edge + half, color=grey, linewidth=0, antialiased=False)
    plane.plot([0], [0], marker="*", color=COLOURS[1], markersize=16, linestyle="none", label="minimum")
    plane.plot(*result.theta.T, color=COLOURS[0], linestyle="-", linewidth=1.6, label="Adam")
    plane.plot(*result.theta[-1], marker="s", color=COLOURS[0], markersize=9, linestyle="none", label="its end")
    plane.set(xlabel=r"$\theta_1$", ylabel=r"$\theta_2$", xlim=(-0.55, 1.75), ylim=(-0.75, 1.25))
    plane.legend(loc="lower right", fontsize=12)
    k = np.arange(len(result.steep))
    parts.plot(k, np.maximum(result.valley, 1e-20), color=COLOURS[1], linestyle="--", label="along the valley")
    smooth = np.maximum.accumulate(result.steep[::-1])[::-1]  # envelope: the largest value still to come
    parts.plot(k, np.maximum(smooth, 1e-20), color=COLOURS[0], linestyle="-", label="across it")
    parts.set(xlabel="steps", ylabel="part of the loss", yscale="log", ylim=(1e-12, 1e2), xlim=(0, k[-1]))
    parts.legend(loc="upper right", ncols=2, fontsize=12)


def _say_memory(result):
    memory = f"memory of {1 / (1 - result.beta2):.0f} steps"
    left = abs(result.left)
    way = f"{100 * left:.2g}% of the way along the valley is left" if left > 1e-6 else "the whole valley is behind it"
    return f"{memory}: {way}; v is typically {result.stale:.2g} times the squared gradient"


memory = Explorer(
    "Adam in a valley",
    {
        "beta2": Choice([0.5, 0.8, 0.9, 0.95, 0.99, 0.999, 0.9999], 0.95, "beta2"),
        "learning_rate": Choice([0.001, 0.003, 0.01, 0.03, 0.1], 0.01, "learning rate"),
        "ratio": Choice([10, 100, 1_000, 10_000], 1_000, "curvature ratio"),
    },
    _compute_memory,
    _draw_memory,
    summary=_say_memory,
    columns=2,
)
