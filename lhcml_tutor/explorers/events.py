"""Explorers of lecture 00: a boost along the beam, and an integral by Monte Carlo.

lt.explorers.events.boost.show()            rapidity moves as a whole, pseudorapidity does not
lt.explorers.events.integration.show()      how the proposal decides over error and unweighting
"""

import math
from types import SimpleNamespace

import matplotlib
import numpy as np
import torch

from .. import kinematics
from ..plots import COLOURS
from .shell import Choice, Explorer, Slider

FAN = torch.linspace(-1.5, 1.5, 7, dtype=torch.float64)  # rapidities of the particles that are drawn
SHADES = matplotlib.colormaps["cividis"]
FINE = torch.linspace(-4, 4, 161, dtype=torch.float64)


def _boosted(y, pt, mass, rapidity):
    """Return momenta of given rapidities y, before and after a boost of the given rapidity along the beam."""
    mt = math.hypot(mass, pt)
    before = torch.stack([mt * y.cosh(), torch.full_like(y, pt), torch.zeros_like(y), mt * y.sinh()], dim=-1)
    beta = torch.tensor([0.0, 0.0, math.tanh(rapidity)], dtype=torch.float64)
    return before, kinematics.boost(before, beta)


def _compute_boost(rapidity, mass, pt):
    before, after = _boosted(FINE, pt, mass, rapidity)
    shift_y = kinematics.rapidity(after) - kinematics.rapidity(before)
    shift_eta = kinematics.eta(after) - kinematics.eta(before)
    fan = [p[:, [3, 1]] / p[:, 1:].norm(dim=-1, keepdim=True) for p in _boosted(FAN, pt, mass, rapidity)]
    return SimpleNamespace(rapidity=rapidity, fan=fan, shift_y=shift_y, shift_eta=shift_eta)


def _draw_boost(axes, result):
    directions, shifts = axes
    for fan, side, word in ((result.fan[0], 1, "before"), (result.fan[1], -1, "after")):
        for i, (along, across) in enumerate(fan.tolist()):
            look = {"color": SHADES(i / (len(FAN) - 1)), "marker": "o", "linestyle": "-", "linewidth": 3}
            directions.plot([0, along], [0, side * across], **look)
        directions.text(0, side * 1.22, word, ha="center", va="center", fontsize=16)
    directions.axhline(0, color="black", linewidth=1.2)
    directions.set(xlim=(-1.15, 1.15), ylim=(-1.4, 1.4), xlabel="$p_z/|p|$ [1]", ylabel=r"$\pm p_T/|p|$ [1]")
    shifts.plot(FINE, result.shift_y, label="rapidity $y$")
    shifts.plot(FINE, result.shift_eta, label=r"pseudorapidity $\eta$")
    highest = max(float(result.shift_eta.max()), result.rapidity, 0.0)
    lowest = min(float(result.shift_eta.min()), result.rapidity, 0.0)
    margin = 0.15 * (highest - lowest) + 0.2
    shifts.set(xlabel="rapidity before the boost", ylabel="shift", xlim=(-4, 4))
    shifts.set_ylim(lowest - margin, highest + 2 * margin)
    shifts.legend(loc="upper center", ncols=2)


def _say_boost(result):
    low, high = float(result.shift_eta.min()), float(result.shift_eta.max())
    return f"rapidities shift by {result.rapidity:.2f} each, pseudorapidities by {low:.2f} to {high:.2f}"


boost = Explorer(
    "A boost along the beam",
    {
        "rapidity": Slider(-3.0, 3.0, 0.25, 1.0, "rapidity of the boost"),
        "mass": Slider(0.0, 180.0, 5.0, 90.0, "mass in GeV"),
        "pt": Slider(10.0, 200.0, 5.0, 40.0, "transverse momentum in GeV"),
    },
    _compute_boost,
    _draw_boost,
    summary=_say_boost,
    columns=2,
)


def _target(x):
    return 1 / (math.pi * (1 + x**2))


def _proposal(family, width, x):
    if family == "Breit-Wigner":
        return width / (math.pi * (width**2 + x**2))
    return np.exp(-(x**2) / (2 * width**2)) / (math.sqrt(2 * math.pi) * width)


def _compute_integration(family, width, points, seed):
    """Integrate a Breit-Wigner peak of area 1 with points from a proposal q: w = f/q, I = mean(w)."""
    rng = np.random.default_rng(seed)
    x = width * (rng.standard_cauchy(points) if family == "Breit-Wigner" else rng.standard_normal(points))
    w = _target(x) / _proposal(family, width, x)
    n = np.arange(1, points + 1)
    estimate = np.cumsum(w) / n
    variance = np.maximum(np.cumsum(w**2) / n - estimate**2, 0)
    error = np.sqrt(variance / np.maximum(n - 1, 1))
    known = abs(1 - width) / math.sqrt(2 * width) if family == "Breit-Wigner" else None
    return SimpleNamespace(
        family=family, width=width, n=n, estimate=estimate, error=error, known=known,
        unweighting=w.mean() / w.max(), effective=w.mean() ** 2 / np.mean(w**2),
    )  # fmt: skip


def _draw_integration(axes, result):
    curves, running = axes
    x = np.linspace(-12, 12, 481)
    curves.plot(x, _target(x), color="black", linestyle="-", label="peak $f$")
    curves.plot(x, _proposal(result.family, result.width, x), color=COLOURS[1], linestyle="--", label="proposal $q$")
    curves.set(yscale="log", ylim=(3e-4, 20), xlim=(-12, 12))
    curves.set(xlabel="distance from the peak $x$ [1]", ylabel="density")
    curves.legend(loc="upper center", ncols=2)
    show = np.unique(np.geomspace(10, len(result.n), 120).astype(int)) - 1
    n, estimate, error = result.n[show], result.estimate[show], result.error[show]
    running.axhline(1, color="black", linewidth=1.4, linestyle="-")
    running.plot(n, estimate, color=COLOURS[0], linestyle="-", label="estimate")
    band = {"color": COLOURS[0], "alpha": 0.3, "linewidth": 0, "label": "its own error"}
    running.fill_between(n, estimate - error, estimate + error, **band)
    if result.known is not None:
        for sign in (1, -1):
            label = r"1 $\pm\ \sqrt{V/n}$" if sign == 1 else None
            running.plot(n, 1 + sign * result.known / np.sqrt(n), color=COLOURS[1], linestyle="--", label=label)
    running.set(xscale="log", xlabel="number of points $n$", ylabel="integral", ylim=(0.4, 1.8), xlim=(10, n[-1]))
    running.legend(loc="upper right")


def _say_integration(result):
    text = f"integral {result.estimate[-1]:.4f} +- {result.error[-1]:.4f}"
    known = "infinite" if result.known is None else f"{result.known / math.sqrt(len(result.n)):.4f}"
    rates = f"unweighting efficiency {100 * result.unweighting:.1f}%, worth {100 * result.effective:.0f}% of the points"
    return f"{text} (exact error {known}), {rates}"


integration = Explorer(
    "Monte Carlo integration of a resonance",
    {
        "family": Choice(["Breit-Wigner", "Gaussian"], "Breit-Wigner", "shape of the proposal"),
        "width": Choice([0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0], 5.0, "width of proposal / width of peak"),
        "points": Choice([100, 300, 1_000, 3_000, 10_000, 30_000, 100_000], 10_000, "number of points"),
        "seed": Slider(1, 20, 1, 1, "seed"),
    },
    _compute_integration,
    _draw_integration,
    summary=_say_integration,
    columns=2,
)
