"""Explorers of lecture 03: what a posterior knows between the data, and what an ensemble of poor networks claims.

lt.explorers.posteriors.gap.show()          points, prior and gap against the posterior of a line and of a network
lt.explorers.posteriors.members.show()      members, training and points against two widths of an ensemble
"""

import math
from types import SimpleNamespace

import torch

from ..plots import COLOURS
from .fitting import noisy_points, resonance
from .shell import Choice, Explorer, Slider

NOISE = 0.1  # of the measured points behind the gap explorer, in per cent
UNITS = 30  # hidden units of its network
SLOPES, OFFSETS, CONSTANT = 4.0, 2.0, 0.5  # prior widths of the network's first layer and of its last bias
STEPS = 400  # of its training
MOST = 32  # members of the ensemble that is trained; smaller ones are parts of it
HIDDEN = 12  # units of each member


def uniformity(x):
    """Return a toy response of a calorimeter module along its length, as a deviation in per cent.

    Arguments:
        x: position [m], any shape.
    Example:
        >>> round(float(uniformity(torch.tensor(0.0))), 3)
        0.312
    """
    return 0.8 * torch.sin(2.5 * torch.as_tensor(x) + 0.4)


def points_beside_a_gap(points, gap, seed=5):
    """Return positions that leave out |x| < gap / 2, evenly spaced on both sides, and noisy values there, (points,).

    Example:
        >>> x, y = points_beside_a_gap(4, gap=0.8)
        >>> [round(place, 2) for place in x.tolist()]
        [-0.85, -0.55, 0.55, 0.85]
    """
    generator = torch.Generator().manual_seed(seed)
    left = points // 2
    half = 1 - gap / 2
    sides = [-1 + half * (torch.arange(left) + 0.5) / max(left, 1),
             gap / 2 + half * (torch.arange(points - left) + 0.5) / max(points - left, 1)]  # fmt: skip
    x = torch.cat(sides).double()
    return x, uniformity(x) + NOISE * torch.randn(points, generator=generator, dtype=torch.float64)


def network_kernel(a, b, width):
    """Covariance of a network of infinitely many erf units between two places.

        f(x) = b + sum_j v_j erf(u_j x + c_j),    prior of v_j: width / sqrt(units)

        k(x, x') = s_b^2 + width^2 (2 / pi) asin(2 q(x, x') / sqrt((1 + 2 q(x, x)) (1 + 2 q(x', x')))),
        q(x, x') = s_u^2 x x' + s_c^2

    Shapes:
        a (n,), b (m,) -> (n, m)
    Example:
        >>> network_kernel(torch.zeros(1), torch.zeros(1), 1.0).shape
        torch.Size([1, 1])
    """
    inner = SLOPES**2 * a[:, None] * b + OFFSETS**2
    norm = (1 + 2 * (SLOPES**2 * a**2 + OFFSETS**2))[:, None] * (1 + 2 * (SLOPES**2 * b**2 + OFFSETS**2))
    return CONSTANT**2 + width**2 * 2 / math.pi * torch.asin(2 * inner / norm.sqrt())


def _gaussian_posterior(prior_here, prior_between, prior_there, y):
    """Return mean and standard deviation where prior_here is the covariance, given y with noise elsewhere."""
    noisy = prior_there + NOISE**2 * torch.eye(len(y), dtype=torch.float64)
    gain = torch.linalg.solve(noisy, prior_between.T).T  # (grid, n)
    return gain @ y, (prior_here.diagonal() - (gain * prior_between).sum(1)).clamp(min=0).sqrt()


def _mean_field(x, y, width, grid):
    """Train a mean-field Bayesian network by the ELBO; return mean and standard deviation of its curves."""
    generator = torch.Generator().manual_seed(6)
    priors = [torch.tensor([[SLOPES], [OFFSETS]]), torch.tensor([[width / math.sqrt(UNITS)]] * UNITS + [[CONSTANT]])]
    means = [torch.randn(*shape, generator=generator).requires_grad_() for shape in ((2, UNITS), (UNITS + 1, 1))]
    logs = [torch.full_like(mean, -3.0).requires_grad_() for mean in means]
    optimiser = torch.optim.Adam([*means, *logs], betas=(0.9, 0.95), fused=True)

    def with_one(h):
        return torch.cat([h, torch.ones_like(h[..., :1])], dim=-1)

    x, y = x.float()[:, None], y.float()[:, None]
    for step in range(STEPS):
        optimiser.param_groups[0]["lr"] = 0.015 * (1 + math.cos(math.pi * step / STEPS))
        h = x
        for prior, mean, log in zip(priors, means, logs, strict=True):  # noise on sums, not on weights
            one = with_one(h if h is x else torch.erf(h))
            centre, variance = one @ (prior * mean), one.square() @ (prior * log.exp()).square()
            h = centre + variance.sqrt() * torch.randn(centre.shape, generator=generator)
        divergence = sum((0.5 * (mean**2 + (2 * log).exp()) - log - 0.5).sum() for mean, log in zip(means, logs))
        optimiser.zero_grad()
        ((h - y).square().sum() / (2 * NOISE**2) + divergence).backward()
        optimiser.step()
    with torch.no_grad():
        h = grid.float()[:, None]
        for layer, (prior, mean, log) in enumerate(zip(priors, means, logs, strict=True)):
            draws = torch.randn(300, *mean.shape, generator=generator)
            h = with_one(torch.erf(h) if layer else h) @ (prior * (mean + log.exp() * draws))
    return h[..., 0].mean(0).double(), h[..., 0].std(0).double()


def _compute_gap(points, width, gap):
    """Compute both exact posteriors and train the network; the same settings give the same numbers."""
    grid = torch.linspace(-1.4, 1.4, 141, dtype=torch.float64)
    x, y = points_beside_a_gap(points, gap)

    def line(a, b):
        return width**2 * (1 + a[:, None] * b)

    def exact(a, b):
        return network_kernel(a, b, width)

    posteriors = {name: _gaussian_posterior(prior(grid, grid), prior(grid, x), prior(x, x), y)
                  for name, prior in (("line", line), ("exact", exact))}  # fmt: skip
    posteriors["network"] = _mean_field(x, y, width, grid)
    return SimpleNamespace(
        grid=grid, x=x, y=y, truth=uniformity(grid), gap=gap,
        **{name: SimpleNamespace(mean=mean, band=band) for name, (mean, band) in posteriors.items()},
    )  # fmt: skip


def _draw_gap(axes, result):
    labels = {"line": r"line, exact $\pm\sigma$", "network": "network, mean-field"}
    for ax, (name, label) in zip(axes, labels.items(), strict=True):
        fit = getattr(result, name)
        ax.axvspan(-result.gap / 2, result.gap / 2, color="0.92", linewidth=0, zorder=0)
        ax.fill_between(result.grid, fit.mean - fit.band, fit.mean + fit.band, color=COLOURS[0], alpha=0.3, linewidth=0)
        ax.plot(result.grid, fit.mean, color=COLOURS[0], linestyle="-", label=label)
        if name == "network":
            low, high = result.exact.mean - result.exact.band, result.exact.mean + result.exact.band
            ax.plot(result.grid, low, color="black", linestyle=":", linewidth=1.8, label=r"network, exact $\pm\sigma$")
            ax.plot(result.grid, high, color="black", linestyle=":", linewidth=1.8)
        ax.plot(result.grid, result.truth, color=COLOURS[1], linestyle="--", label="truth")
        ax.plot(result.x, result.y, "o", color="0.35", markersize=4, zorder=3)
        ax.set(xlabel="position [m]", ylabel="response, deviation [%]", xlim=(-1.4, 1.4), ylim=(-2.2, 2.2))
        ax.legend(loc="lower right", fontsize=12, handlelength=1.8)


def _say_gap(result):
    middle = len(result.grid) // 2
    at = {name: float(getattr(result, name).band[middle]) for name in ("line", "network", "exact")}
    off = (float(result.line.mean[middle]) - float(result.truth[middle])) / max(at["line"], 1e-9)
    return (
        f"{len(result.x)} points. Width of the band at x = 0: line {at['line']:.3f}%, network {at['network']:.3f}%, "
        f"exact {at['exact']:.3f}%. There the line is {off:+.1f} of its own errors from the truth"
    )


gap = Explorer(
    "What is known between the data?",
    {
        "points": Choice([0, 2, 6, 12, 24, 48, 96], 24, "points"),
        "width": Choice([0.1, 0.3, 1.0, 3.0, 10.0], 1.0, "prior width"),
        "gap": Slider(0.0, 1.6, 0.2, 0.8, "gap"),
    },
    _compute_gap,
    _draw_gap,
    summary=_say_gap,
    columns=2,
)


def train_members(x, y, steps, seed, members=MOST, learning_rate=0.02):
    """Train many small networks side by side on the same points; each gives a prediction and its logarithmic sigma.

        loss of one member: mean of (y - f)^2 / (2 sigma^2) + log sigma

    Arguments:
        steps: of Adam, on all points at once.
        members: how many networks; they differ in their start alone.
    Shapes:
        x (n, 1), y (n, 1) -> function of x (m, 1) that returns f (members, m) and sigma (members, m)
    Example:
        >>> x, y = noisy_points(20, noise=0.1, seed=1)
        >>> f, sigma = train_members(x, y, steps=3, seed=1, members=5)(x)
        >>> f.shape, bool((sigma > 0).all())
        (torch.Size([5, 20]), True)
    """
    generator = torch.Generator().manual_seed(seed)
    first = torch.randn(members, 2, HIDDEN, generator=generator) * torch.tensor([[3.0], [2.0]])
    last = torch.randn(members, HIDDEN + 1, 2, generator=generator) * torch.tensor([1.0, 0.1]) / math.sqrt(HIDDEN)
    weights = [first.requires_grad_(), last.requires_grad_()]
    optimiser = torch.optim.Adam(weights, betas=(0.9, 0.95), fused=True)

    def predict(x):
        h = torch.tanh(torch.baddbmm(first[:, 1:], x.expand(members, -1, -1), first[:, :1]))  # (members, n, units)
        outputs = torch.baddbmm(last[:, HIDDEN:], h, last[:, :HIDDEN])
        return outputs[..., 0], outputs[..., 1].clamp(-5, 3).exp()

    for step in range(steps):
        optimiser.param_groups[0]["lr"] = learning_rate * (1 + math.cos(math.pi * step / steps)) / 2
        f, sigma = predict(x)
        optimiser.zero_grad()
        (((y[:, 0] - f) / sigma).square() / 2 + sigma.log()).mean(1).sum().backward()
        optimiser.step()
    return torch.no_grad()(predict)


def pull_widths(f, sigma, y, members):
    """Width of (y - mean of the members) / width, for two widths, averaged over all disjoint groups of members.

        averaged: mean of sigma_i^2,      mixture: the same plus the variance of the f_i

    Shapes:
        f (all, n), sigma (all, n), y (n,) -> (averaged, mixture), two numbers
    Example:
        >>> f = torch.zeros(4, 100)
        >>> pull_widths(f, f + 2.0, f[0] + 1.0, members=2)
        (0.5, 0.5)
    """
    f, sigma = (part[: len(part) // members * members].unflatten(0, (-1, members)) for part in (f, sigma))
    averaged = sigma.square().mean(1)
    mixture = averaged + f.var(1, correction=0)
    residual = y - f.mean(1)  # (groups, n)
    return tuple(float((residual**2 / variance).mean(1).sqrt().mean()) for variance in (averaged, mixture))


def _compute_members(members, steps, points, noise):
    """Train the whole ensemble, then look at parts of it; the same settings give the same numbers."""
    x, y = noisy_points(points, noise, seed=2)
    x_test, y_test = noisy_points(1000, noise, seed=3)
    predict = train_members(x, y, steps, seed=4)
    f, sigma = predict(x_test)
    sizes = [1, 2, 4, 8, 16, 32]
    widths = torch.tensor([pull_widths(f, sigma, y_test[:, 0], size) for size in sizes])
    grid = torch.linspace(-1, 1, 201)[:, None]
    f, sigma = (part[:members] for part in predict(grid))
    averaged = sigma.square().mean(0)
    return SimpleNamespace(
        x=x[:, 0], y=y[:, 0], grid=grid[:, 0], truth=resonance(grid)[:, 0], mean=f.mean(0), averaged=averaged.sqrt(),
        mixture=(averaged + f.var(0, correction=0)).sqrt(), sizes=sizes, widths=widths, members=members,
        at=widths[sizes.index(members)],
    )  # fmt: skip


def _draw_members(axes, result):
    fit, pulls = axes
    for band, colour, alpha in ((result.mixture, COLOURS[1], 0.3), (result.averaged, COLOURS[0], 0.4)):
        fit.fill_between(result.grid, result.mean - band, result.mean + band, color=colour, alpha=alpha, linewidth=0)
    fit.plot(result.x, result.y, "o", color="0.35", markersize=3, label="training points", zorder=3)
    fit.plot(result.grid, result.truth, color="black", linestyle="--", linewidth=1.6, label="truth")
    fit.plot(result.grid, result.mean, color=COLOURS[0], linestyle="-", label="mean of the members")
    fit.set(xlabel="distance from the peak $x$ [1]", ylabel="$y$", xlim=(-1, 1), ylim=(-3.4, 2.2))
    fit.legend(loc="lower right", fontsize=12, handlelength=1.8)
    for i, name in enumerate((r"averaged $\sigma$", "mixture")):
        look = {"color": COLOURS[i], "linestyle": ("-", "--")[i], "marker": "os"[i]}
        pulls.plot(result.sizes, result.widths[:, i].clamp(max=2.9), label=name, **look)
    pulls.axhline(1, color="black", linewidth=1.2, linestyle="-")
    pulls.axvline(result.members, color="0.6", linewidth=1.2, linestyle=":")
    pulls.set(xlabel="members", ylabel="pull width", xscale="log", ylim=(0.4, 2.0), xlim=(0.9, 36))
    pulls.set_xticks(result.sizes, [str(size) for size in result.sizes])
    pulls.minorticks_off()
    pulls.legend(loc="upper right", fontsize=12)


def _say_members(result):
    averaged, mixture = result.at.tolist()
    verdict = "too wide" if averaged < 0.95 else "too narrow" if averaged > 1.05 else "about right"
    return (
        f"{result.members} members: pull width {averaged:.2f} with the averaged sigma ({verdict}), "
        f"{mixture:.2f} with the variance of the mixture"
    )


members = Explorer(
    "How wide is an ensemble?",
    {
        "members": Choice([1, 2, 4, 8, 16, 32], 16, "members"),
        "steps": Choice([20, 50, 100, 200, 400], 50, "training steps"),
        "points": Choice([30, 50, 100, 200], 100, "points"),
        "noise": Slider(0.05, 0.45, 0.05, 0.1, "noise"),
    },
    _compute_members,
    _draw_members,
    summary=_say_members,
    columns=2,
)
