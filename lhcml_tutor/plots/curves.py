"""Curves: losses against steps, residuals against a variable, accuracy against the size of the training set."""

import numpy as np
from matplotlib.ticker import NullFormatter

from ..metrics import power_law_fit
from .figures import COLOURS, LINES
from .histograms import MARKERS, as_array, with_error


def loss_curves(history, ax, *, log=None, xlabel="training steps", ylabel="loss"):
    """Draw training and validation loss against the number of training steps.

    Arguments:
        history: what `fit` returns, or {"label": losses} or {"label": (steps, losses)} from a loop by hand.
        ax: panel.
        log: logarithmic y axis; by default where all losses are positive and span more than a factor ten.
    Returns:
        ax
    Raises:
        ValueError: there are no losses.
    Example:
        >>> from lhcml_tutor.plots import figure
        >>> fig, ax = figure()
        >>> loss_curves({"training": [3.0, 2.0, 1.0], "validation": ([1, 3], [3.1, 1.4])}, ax).get_ylabel()
        'loss'
    """
    curves = {label: _curve(curve) for label, curve in _losses(history).items()}
    curves = {label: (steps, losses) for label, (steps, losses) in curves.items() if len(losses)}
    if not curves:
        raise ValueError("there are no losses to draw: did the training run?")
    for i, (label, (steps, losses)) in enumerate(curves.items()):
        colour, line = COLOURS[i % len(COLOURS)], LINES[i % len(LINES)]
        if len(losses) > 400:  # single steps are noise: draw them faintly, and their running mean on top
            ax.plot(*_thin(steps, losses, 400), color=colour, linestyle="-", linewidth=0.8, alpha=0.35)
            steps, losses = _thin(steps, losses, 80)
        marker = "o" if len(losses) < 40 else None
        ax.plot(steps, losses, color=colour, linestyle=line, marker=marker, markersize=5, label=label)
    every = np.concatenate([losses for _, losses in curves.values()])
    every = every[np.isfinite(every)]
    if log or (log is None and len(every) and every.min() > 0 and every.max() > 10 * every.min()):
        ax.set_yscale("log")
    ax.set_xlabel(xlabel)
    ax.set_ylabel(ylabel)
    ax.legend(loc="best")
    return ax


def residuals(x, delta, bins, ax, *, xlabel="", ylabel=r"$\Delta$", colour=COLOURS[0], label="median"):
    """Draw the median of delta and the bands that hold 68% and 95% of it, in bins of x.

    The bar on each median is its statistical error, sqrt(pi/2) times the half-width of the 68% band over sqrt(n).
    Bins with fewer than ten entries stay empty.

    Arguments:
        x, delta: tensors or arrays of shape (n,).
        bins: edges, or a number of bins with equally many entries.
        ax: panel.
    Returns:
        ax
    Raises:
        ValueError: shapes differ, there are no entries, some are not finite, or no bin has ten entries.
    Example:
        >>> from lhcml_tutor.plots import figure
        >>> fig, ax = figure()
        >>> ax = residuals(np.arange(100.0), np.arange(100.0) / 100, 5, ax, xlabel="E [GeV]")
    """
    x, delta = as_array(x), as_array(delta)
    if x.shape != delta.shape or x.ndim != 1 or not len(x):
        raise ValueError(f"x {x.shape} and delta {delta.shape} must both have the shape (n,) with n > 0")
    if bad := np.count_nonzero(~np.isfinite(x) | ~np.isfinite(delta)):
        raise ValueError(f"{bad} of {len(x)} residuals are not finite: find their cause, or drop them and say so")
    edges = np.unique(np.quantile(x, np.linspace(0, 1, bins + 1))) if np.isscalar(bins) else as_array(bins)
    which = np.clip(np.searchsorted(edges, x, side="right") - 1, 0, len(edges) - 2)
    inside = (x >= edges[0]) & (x <= edges[-1])
    rows = []
    for i in range(len(edges) - 1):
        here = delta[inside & (which == i)]
        rows.append(np.quantile(here, [0.025, 0.16, 0.5, 0.84, 0.975]) if len(here) >= 10 else np.full(5, np.nan))
    low95, low68, median, high68, high95 = np.array(rows).T
    if np.isnan(median).all():
        raise ValueError(f"none of the {len(edges) - 1} bins has ten entries: use fewer bins or more events")
    n = np.maximum(np.bincount(which[inside], minlength=len(edges) - 1), 1)
    error = np.sqrt(np.pi / 2) * (high68 - low68) / 2 / np.sqrt(n)
    steps = np.repeat(edges, 2)[1:-1]
    for low, high, alpha, share in ((low95, high95, 0.18, "95%"), (low68, high68, 0.38, "68%")):
        ax.fill_between(
            steps, np.repeat(low, 2), np.repeat(high, 2), color=colour, alpha=alpha, linewidth=0, label=share
        )
    ax.stairs(median, edges, baseline=None, color=colour, linewidth=2.4, label=label)
    ax.errorbar((edges[1:] + edges[:-1]) / 2, median, error, color=colour, linestyle="none", linewidth=1.8)
    ax.axhline(0, color="black", linewidth=1.2, linestyle="--")
    ax.set_xlim(edges[0], edges[-1])
    ax.set_xlabel(xlabel)
    ax.set_ylabel(ylabel)
    ax.legend(loc="best", ncols=3)
    return ax


def learning_curve(x, curves, ax, *, xlabel="training events", ylabel="error", fit=True):
    """Draw accuracy against the size of the training (or steps, parameters) on log axes, with fitted power laws.

        y = a x^b

    Arguments:
        x: sizes, shape (k,).
        curves: {"label": values}, values of shape (k,) or (k, seeds): point and bar are the mean over seeds and its
            standard error.
        ax: panel.
        fit: draw the power law and state its exponent b, where there are at least three sizes.
    Returns:
        ax
    Raises:
        ValueError: shapes differ, or values are not positive.
    Example:
        >>> from lhcml_tutor.plots import figure
        >>> fig, ax = figure()
        >>> ax = learning_curve([1e3, 1e4, 1e5], {"MLP": [[0.1, 0.11], [0.03, 0.033], [0.01, 0.009]]}, ax)
        >>> ax.get_xscale(), ax.get_yscale()
        ('log', 'log')
    """
    x = as_array(x)
    ax.set_xscale("log")
    ax.set_yscale("log")
    for i, (label, values) in enumerate(curves.items()):
        values = as_array(values)
        values = values[:, None] if values.ndim == 1 else values  # (k, seeds)
        if values.ndim != 2 or len(values) != len(x):
            raise ValueError(f"{label!r}: values {values.shape} must have the shape (k, seeds) with k = {len(x)} sizes")
        if not (np.isfinite(values) & (values > 0)).all() or not (x > 0).all():
            raise ValueError(f"{label!r}: a log axis and a power law need positive, finite sizes and values")
        y = values.mean(1)
        error = values.std(1, ddof=1) / np.sqrt(values.shape[1]) if values.shape[1] > 1 else np.zeros(len(x))
        colour = COLOURS[i % len(COLOURS)]
        if fit and len(x) > 2:
            law = power_law_fit(x, y, error if error.all() else None)
            grid = np.geomspace(x.min(), x.max(), 50)
            power = law.prefactor * grid**law.exponent
            ax.plot(grid, power, color=colour, linestyle=LINES[i % len(LINES)], linewidth=1.8)
            label = f"{label}: $b =$ {with_error(law.exponent, law.error)}"
        ax.errorbar(x, y, error, color=colour, linestyle="none", marker=MARKERS[i % len(MARKERS)], label=label)
    ax.set_xticks(x, [f"{size:,g}" if size < 1e6 else f"{size:.0e}" for size in x])
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_xlabel(xlabel)
    ax.set_ylabel(ylabel)
    ax.legend(loc="best")
    return ax


def _losses(history):
    """Return {label: losses or (steps, losses)} of a History, of {label: History}, or of such a dict itself."""
    if isinstance(history, dict):
        found = {}
        for label, curve in history.items():
            more = _losses(curve) if hasattr(curve, "valid_loss") else {None: curve}
            found |= {f"{label}, {part}" if part else label: values for part, values in more.items()}
        return found
    found = {"training": (history.steps, history.loss)}
    if history.valid_loss is not None:
        found["validation"] = (history.valid_steps, history.valid_loss)
    return found


def _curve(curve):
    """Return steps and losses as arrays; losses alone are counted from step 1."""
    steps, losses = curve if isinstance(curve, tuple) else (None, curve)
    losses = as_array(losses)
    steps = np.arange(1, len(losses) + 1) if steps is None else as_array(steps)
    if steps.shape != losses.shape:
        raise ValueError(f"steps {steps.shape} and losses {losses.shape} must have the same shape")
    return steps, losses


def _thin(steps, losses, points):
    """Average a long curve over blocks of steps."""
    blocks = np.array_split(np.arange(len(losses)), min(points, len(losses)))
    return np.array([steps[block].mean() for block in blocks]), np.array([losses[block].mean() for block in blocks])
