"""Explorers of lecture 02: noise that depends on x, a judge for error bars, and a mean that starves.

lt.explorers.uncertainty.noise.show()       shape of the noise, number of points, loss: the band and its pulls
lt.explorers.uncertainty.judge.show()       what wrong error bars do to pulls and coverage
lt.explorers.uncertainty.starving.show()    the Gaussian loss gives up a peak, beta-NLL does not
"""

import math
from types import SimpleNamespace

import numpy as np
import torch

from ..layers import MLP
from ..metrics import coverage, pull_width
from ..plots import COLOURS
from ..plots import pulls as plot_pulls
from .fitting import resonance
from .shell import Choice, Explorer, Slider

EULER = 0.5772156649015329  # mean of a Gumbel random number
GUMBEL = math.pi / math.sqrt(6)  # its standard deviation
LOST, STEP = 0.2, 2.4  # two peaks: this share of the points lies that many standard deviations below the others
PEAK = math.sqrt(1 - LOST * (1 - LOST) * STEP**2)  # width of each peak, so that the standard deviation is 1
KINDS = ("Gaussian", "tail", "two peaks")


def unit_noise(kind, n, generator):
    """Return random numbers of mean 0 and standard deviation 1, shape (n, 1) in float64.

    Arguments:
        kind: "Gaussian"; "tail" (a Gumbel distribution with its long tail to negative values); or "two peaks".
    Example:
        >>> t = unit_noise("tail", 100_000, torch.Generator().manual_seed(1))
        >>> bool(t.mean().abs() < 0.02), bool((t.std() - 1).abs() < 0.02), bool((t**3).mean() < -1)
        (True, True, True)
    """
    if kind not in KINDS:
        raise ValueError(f"the kind of noise must be one of {', '.join(map(repr, KINDS))}, not {kind!r}")
    draws = {"size": (n, 1), "generator": generator, "dtype": torch.float64}
    if kind == "tail":
        return (EULER + (-(1 - torch.rand(**draws)).log()).log()) / GUMBEL
    if kind == "two peaks":
        low = torch.rand(**draws) < LOST
        return LOST * STEP - STEP * low + PEAK * torch.randn(**draws)
    return torch.randn(**draws)


def unit_noise_log_prob(kind, t):
    """Return the logarithm of the density of `unit_noise`, in nats; same shape as t.

    Example:
        >>> t = torch.linspace(-12, 6, 20_001, dtype=torch.float64)
        >>> [round(float(torch.trapezoid(unit_noise_log_prob(kind, t).exp(), t)), 4) for kind in KINDS]
        [1.0, 1.0, 1.0]
    """
    if kind == "tail":
        g = EULER - GUMBEL * t
        return math.log(GUMBEL) - g - torch.exp(-g)
    if kind == "two peaks":
        parts = [(1 - LOST, LOST * STEP), (LOST, -(1 - LOST) * STEP)]
        terms = [math.log(share / PEAK) - ((t - place) / PEAK) ** 2 / 2 for share, place in parts]
        return torch.logaddexp(*terms) - math.log(2 * math.pi) / 2
    return -(t**2) / 2 - math.log(2 * math.pi) / 2


def _train(outputs, loss, data, steps, batch, rate, seed):
    """Train a small network, cosine schedule, and return it; the random numbers of the notebook go on unchanged."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = MLP(1, outputs, hidden=(32, 32))
        optimiser = torch.optim.Adam(network.parameters(), betas=(0.9, 0.95), fused=True)
        n, order, at = len(data[0]), None, math.inf
        for step in range(steps):
            if at + batch > n:
                order, at = torch.randperm(n), 0
            chosen, at = order[at : at + batch], at + batch
            optimiser.param_groups[0]["lr"] = rate * (1 + math.cos(math.pi * step / steps)) / 2
            optimiser.zero_grad()
            loss(network(data[0][chosen]), data[1][chosen]).backward()
            optimiser.step()
    return network


# noise that depends on x ----------------------------------------------------------------------------------------------

NOISES = {  # name: (kind, width as a function of x)
    "constant": ("Gaussian", lambda x: torch.full_like(x, 0.2)),
    "growing": ("Gaussian", lambda x: 0.05 * torch.exp(1.2 * (x + 1))),
    "window": ("Gaussian", lambda x: torch.where(x.abs() < 0.3, 0.4, 0.05)),
    "tail": ("tail", lambda x: 0.05 * torch.exp(1.2 * (x + 1))),
    "two peaks": ("two peaks", lambda x: 0.05 * torch.exp(1.2 * (x + 1))),
}


def _points(name, n, seed):
    kind, width = NOISES[name]
    generator = torch.Generator().manual_seed(seed)
    x = 2 * torch.rand(n, 1, generator=generator, dtype=torch.float64) - 1
    t = unit_noise(kind, n, generator)
    return x, torch.sin(math.pi * x) + width(x) * t, unit_noise_log_prob(kind, t) - width(x).log()


def _log_prob(outputs, f):
    """Return log p(f|x), shape (n,), of a mixture; outputs (n, 3 k): shares, means and log sigmas; f (n, 1)."""
    share, mean, log_sigma = outputs.chunk(3, dim=1)
    t = (f - mean) * torch.exp(-log_sigma)
    return torch.logsumexp(torch.log_softmax(share, dim=1) - t**2 / 2 - log_sigma, dim=1) - math.log(2 * math.pi) / 2


def _compute_noise(shape, points, loss):
    """Train a network on noisy points: a mixture of one or three Gaussians, or one with a constant width."""
    x, f, _ = _points(shape, points, seed=2)
    parts = 3 if loss == "mixture" else 1
    apart = torch.linspace(1 - parts, parts - 1, parts) / 4  # the components start apart, or they stay together
    offset = torch.cat([torch.zeros(parts), apart, torch.zeros(parts)])
    mask = torch.tensor([0.0, 1.0, 0.0]) if loss == "MSE" else torch.ones(3 * parts)

    def nats(outputs, f):
        return -_log_prob(outputs * mask + offset, f).mean()

    network = _train(3 * parts, nats, (x.float(), f.float()), 600, min(256, points), 0.02, seed=4)
    with torch.no_grad():
        if loss == "MSE":  # sigma = 1 while training, then the root of the MSE
            offset[2] = (f - network(x.float())[:, 1:2]).square().mean().log() / 2
        grid = torch.linspace(-1, 1, 201, dtype=torch.float64)[:, None]
        x_test, f_test, truth = _points(shape, 4000, seed=3)
        outputs, curve = ((network(x.float()) * mask + offset).double() for x in (x_test, grid))
    share, means, log_sigmas = curve.chunk(3, dim=1)
    mean = (torch.softmax(share, 1) * means).sum(1, keepdim=True)
    variance = (torch.softmax(share, 1) * (torch.exp(2 * log_sigmas) + (means - mean) ** 2)).sum(1)
    share, means, log_sigmas = outputs.chunk(3, dim=1)
    below = (torch.softmax(share, 1) * torch.special.ndtr((f_test - means) * torch.exp(-log_sigmas))).sum(1)
    gap = truth[:, 0] - _log_prob(outputs, f_test)
    return SimpleNamespace(
        x=x[:, 0], f=f[:, 0], grid=grid[:, 0], mean=mean[:, 0], sigma=variance.sqrt(),
        width=NOISES[shape][1](grid)[:, 0], pulls=torch.special.ndtri(below.clamp(1e-15, 1 - 1e-15)),
        truth=float(truth.mean()), gap=float(gap.mean()), gap_error=float(gap.std()) / math.sqrt(len(gap)),
    )  # fmt: skip


def _draw_pulls(ax, pulls):
    plot_pulls(pulls, ax, xlabel="pull $t$")
    ax.set_ylim(0, max(0.7, 1.35 * ax.get_ylim()[1]))
    ax.legend(loc="upper left", fontsize=12, handlelength=1.6, borderaxespad=0.3)


def _draw_noise(axes, result):
    band, right = axes
    band.plot(result.x[:400], result.f[:400], "o", color="0.6", markersize=2.5, label="training points", zorder=1)
    low, high = result.mean - result.sigma, result.mean + result.sigma
    band.fill_between(result.grid, low, high, color=COLOURS[0], alpha=0.35, linewidth=0, zorder=2)
    band.plot(result.grid, result.mean, color=COLOURS[0], linestyle="-", label=r"network $f_\theta \pm \sigma_\theta$")
    for width, label in ((result.width, r"truth $\bar f \pm s$"), (-result.width, None)):
        edge = torch.sin(math.pi * result.grid) + width
        band.plot(result.grid, edge, color=COLOURS[1], linestyle="--", label=label)
    band.set(xlabel="input $x$ [1]", ylabel="target $f$", xlim=(-1, 1), ylim=(-1.9, 2.7))
    band.legend(loc="upper left", fontsize=12)
    _draw_pulls(right, result.pulls)


def _say_noise(result):
    ratio = (result.sigma / result.width).log()
    width = pull_width(result.pulls)["robust"]
    return (
        f"held-out log-likelihood {result.truth - result.gap:.3f} nats, of the truth {result.truth:.3f}: gap "
        f"{result.gap:.3f} +- {result.gap_error:.3f}; sigma is typically off by "
        f"{100 * float(ratio.square().mean().sqrt()):.0f}%; robust width of the pulls {width.value:.2f}"
    )


noise = Explorer(
    "Noise that depends on x",
    {
        "shape": Choice(list(NOISES), "growing", "noise"),
        "points": Choice([30, 100, 300, 1000, 3000], 1000, "points"),
        "loss": Choice(["MSE", "Gaussian", "mixture"], "Gaussian", "loss"),
    },
    _compute_noise,
    _draw_noise,
    summary=_say_noise,
    columns=2,
)

# a judge for error bars -----------------------------------------------------------------------------------------------

LEVELS = np.linspace(0.02, 0.99, 98)


def _compute_judge(factor, shift, shape, n):
    """Make pulls of targets with noise of width 1 from a network that claims the width `factor`."""
    generator = torch.Generator().manual_seed(5)
    if shape == "sigma varies":  # between 1/3 and 3, root mean square 1; the network claims a constant
        spread = torch.exp(math.log(9) * (torch.rand(n, 1, generator=generator, dtype=torch.float64) - 0.5))
        residual = unit_noise("Gaussian", n, generator) * spread / math.sqrt((9 - 1 / 9) / (2 * math.log(9)))
    else:
        residual = unit_noise(shape, n, generator)
    pulls = ((residual + shift) / factor)[:, 0]
    covered = np.array([coverage(pulls, level).value for level in LEVELS])
    return SimpleNamespace(pulls=pulls, covered=covered, far=float((pulls.abs() > 3).double().mean()), n=n)


def _draw_judge(axes, result):
    left, right = axes
    _draw_pulls(left, result.pulls)
    error = np.sqrt(LEVELS * (1 - LEVELS) / result.n)
    look = {"color": "0.8", "linewidth": 0, "label": r"$\pm 2$ stat. errors"}
    right.fill_between(LEVELS, -2 * error, 2 * error, **look)
    right.axhline(0, color="black", linewidth=1.2, linestyle="-")
    right.plot(LEVELS, result.covered - LEVELS, color=COLOURS[0], linestyle="-", label="coverage")
    reach = max(0.05, 2.2 * float(error.max()), 1.15 * float(np.abs(result.covered - LEVELS).max()))
    right.set(xlabel="stated coverage", ylabel="found minus stated", xlim=(0, 1), ylim=(-reach, 1.6 * reach))
    right.legend(loc="upper left", fontsize=12, ncols=2, columnspacing=1.0)


def _say_judge(result):
    width, one, two = pull_width(result.pulls), coverage(result.pulls), coverage(result.pulls, 0.9545)
    return (
        f"mean {float(result.pulls.mean()):.3f}, width {width['std'].value:.3f} +- {width['std'].error:.3f} (robust "
        f"{width['robust'].value:.3f}); covered at 1 sigma {100 * one.value:.1f}% (68.3% +- {100 * one.error:.1f}%), "
        f"at 2 sigma {100 * two.value:.1f}% (95.4%); beyond 3 sigma {100 * result.far:.2g}% (0.27%)"
    )


judge = Explorer(
    "A judge for error bars",
    {
        "factor": Slider(0.5, 2.0, 0.1, 0.8, "claimed sigma / true width"),
        "shift": Slider(-1.0, 1.0, 0.25, 0.0, "bias in true widths"),
        "shape": Choice([*KINDS, "sigma varies"], "Gaussian", "noise"),
        "n": Choice([100, 1_000, 10_000, 100_000], 10_000, "test points"),
    },
    _compute_judge,
    _draw_judge,
    summary=_say_judge,
    columns=2,
)

# a mean that starves --------------------------------------------------------------------------------------------------


def _compute_starving(beta, noise, steps):
    """Train mean and log sigma on the resonance of lecture 01 with the weight sigma^(2 beta) on each point."""
    generator = torch.Generator().manual_seed(2)
    x = 2 * torch.rand(1000, 1, generator=generator, dtype=torch.float32) - 1
    f = resonance(x) + noise * torch.randn(1000, 1, generator=generator, dtype=torch.float32)

    def loss(outputs, f):
        mean, log_sigma = outputs.chunk(2, dim=1)
        nats = ((f - mean) * torch.exp(-log_sigma)) ** 2 / 2 + log_sigma
        return (torch.exp(2 * beta * log_sigma.detach()) * nats).mean()

    network = _train(2, loss, (x, f), steps, 256, 0.005, seed=4)
    grid = torch.linspace(-1, 1, 401, dtype=torch.float32)[:, None]
    with torch.no_grad():
        mean, log_sigma = network(grid).chunk(2, dim=1)
    return SimpleNamespace(
        grid=grid[:, 0], truth=resonance(grid)[:, 0], mean=mean[:, 0], sigma=log_sigma.exp()[:, 0], noise=noise,
        error=float((mean - resonance(grid)).square().mean().sqrt()), x=x[:, 0], f=f[:, 0],
    )  # fmt: skip


def _draw_starving(axes, result):
    fit, sizes = axes
    fit.plot(result.x[:300], result.f[:300], "o", color="0.6", markersize=2.5, label="training points", zorder=1)
    fit.plot(result.grid, result.truth, color=COLOURS[1], linestyle="--", label=r"truth $\bar f$")
    low, high = result.mean - result.sigma, result.mean + result.sigma
    fit.fill_between(result.grid, low, high, color=COLOURS[0], alpha=0.3, linewidth=0)
    fit.plot(result.grid, result.mean, color=COLOURS[0], linestyle="-", label=r"network $f_\theta \pm \sigma_\theta$")
    fit.set(xlabel="distance from the peak $x$ [1]", ylabel="target $f$", xlim=(-1, 1), ylim=(-2.6, 2.2))
    fit.legend(loc="lower right", fontsize=12)
    misfit = (result.mean - result.truth).abs().clamp(min=1e-6)
    sizes.plot(result.grid, misfit, color=COLOURS[1], linestyle="--", label=r"misfit $|f_\theta - \bar f|$")
    sizes.plot(result.grid, result.sigma, color=COLOURS[0], linestyle="-", label=r"$\sigma_\theta$")
    sizes.axhline(result.noise, color="black", linewidth=1.6, linestyle=":", label="noise $s$")
    sizes.set(xlabel="distance from the peak $x$ [1]", ylabel="size", yscale="log", xlim=(-1, 1), ylim=(3e-4, 30))
    sizes.legend(loc="upper left", ncols=3, fontsize=12, handlelength=1.5, columnspacing=1.0)


def _say_starving(result):
    return (
        f"rms misfit of the mean {result.error:.3f}, {result.error / result.noise:.2g} times the noise; "
        f"sigma from {float(result.sigma.min()):.3g} to {float(result.sigma.max()):.3g}, truth {result.noise:g}"
    )


starving = Explorer(
    "A mean that starves",
    {
        "beta": Slider(0.0, 1.0, 0.25, 0.0, "beta"),
        "noise": Choice([0.003, 0.01, 0.03, 0.1, 0.3], 0.01, "noise"),
        "steps": Choice([100, 200, 400, 800], 800, "training steps"),
    },
    _compute_starving,
    _draw_starving,
    summary=_say_starving,
    columns=2,
)
