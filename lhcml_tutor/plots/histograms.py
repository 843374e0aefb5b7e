"""Histograms with their statistical error, a ratio panel, and pulls against a unit Gaussian."""

import math
import re

import numpy as np

from .figures import COLOURS, LINES

REFERENCE = "black"  # the sample that others are divided by
MARKERS = ("o", "s", "D", "^", "v", "P")


def histogram(
    samples,
    bins,
    *,
    ax,
    reference=None,
    xlabel="",
    ylabel=None,
    density=False,
    log=False,
    ratio_range=None,
    legend="best",
):
    """Draw samples as steps with their statistical error, and their ratio to one of them in a second panel.

        height = sum w / (N width),      error = sqrt(sum w^2) / (N width),      N = 1, or all of sum w if density

    The ratio panel has the reference's own relative error as a band around 1 and each other sample's error on it;
    triangles mark ratios outside the panel. Events outside the bins are not drawn (there is no overflow bin), but
    they count in N, so that a density is (1/sigma) dsigma/dx and does not change with the range that is shown.

    Arguments:
        samples: {"label": values} or {"label": (values, weights)}; tensors or arrays of shape (n,).
        bins: edges, or a number of equally wide bins between the smallest and the largest value.
        ax: one panel, or the pair (main, ratio).
        reference: label of the sample in the denominator; by default the first one.
        xlabel: quantity with its unit, "$p_T$ [GeV]"; the default y label takes the unit from here.
        density: divide by the number of events and the bin width.
        log: logarithmic y axis.
        ratio_range: (low, high) of the ratio panel; by default wide enough for the points with small errors.
        legend: its place, as in matplotlib's `loc`; None: no legend.
    Returns:
        ax, as it was given.
    Raises:
        ValueError: a sample is empty or has values that are not finite, or the reference is not among the samples.
    Example:
        >>> from lhcml_tutor.plots import figure
        >>> fig, ax = figure(ratio=True)
        >>> ax = histogram({"truth": np.arange(100.0), "model": np.arange(50.0)}, 10, xlabel="m [GeV]", ax=ax)
        >>> ax[0].get_ylabel()
        'events / 9.9 GeV'
    """
    main, low = ax if isinstance(ax, (tuple, list)) else (ax, None)
    data = {label: _entries(label, sample) for label, sample in samples.items()}
    if not data:
        raise ValueError("there are no samples to draw: samples must be {'label': values, ...}")
    reference = next(iter(data)) if reference is None else reference
    if reference not in data:
        raise ValueError(f"the reference {reference!r} is not one of the samples: {', '.join(data)}")
    edges = np.histogram_bin_edges(np.concatenate([values for values, _ in data.values()]), bins)
    bars = {label: _bars(*entries, edges, density) for label, entries in data.items()}
    looks = _looks(bars, reference if low is not None else None)
    for label, (height, error) in bars.items():
        colour, line = looks[label]
        look = {"fill": True, "facecolor": "0.87", "edgecolor": colour, "zorder": 0.5}
        if label != reference or low is None:
            look = {"baseline": None, "color": colour}
        main.stairs(height, edges, linestyle=line, linewidth=2.2, label=label, **look)
        _band(main, edges, height - error, height + error, colour)
    _scale_y(main, bars, log)
    main.set_xlim(edges[0], edges[-1])
    main.set_ylabel(_y_label(xlabel, edges, density) if ylabel is None else ylabel)
    if legend:
        main.legend(loc=legend)
    (main if low is None else low).set_xlabel(xlabel)
    if low is not None:
        _ratio(low, edges, bars, looks, reference, ratio_range)
    return ax


def pulls(values, ax, *, bins=None, xlabel=r"pull $(x_{\rm pred}-x_{\rm true})/\sigma$"):
    """Draw pulls against the unit Gaussian they should follow, with their mean and width.

        t = (prediction - truth) / sigma,      t ~ N(0, 1) if sigma is right

    Arguments:
        values: pulls, shape (n,); those beyond the outermost bins (+-5 by default) are counted in the legend.
        ax: panel.
    Returns:
        ax
    Raises:
        ValueError: fewer than two pulls, or some not finite.
    Example:
        >>> from lhcml_tutor.plots import figure
        >>> fig, ax = figure()
        >>> pulls(np.linspace(-2, 2, 101), ax).get_ylabel()
        'density'
    """
    values, weights = _entries("pulls", values)
    if len(values) < 2:
        raise ValueError("one pull has no width: give at least two")
    edges = np.linspace(-5, 5, 41) if bins is None else np.histogram_bin_edges(values, bins)
    height, error = _bars(values, weights, edges, density=True)
    mean, width, n = values.mean(), values.std(ddof=1), len(values)
    width_error = math.sqrt(max(np.mean((values - mean) ** 4) - width**4, 0.0) / n) / (2 * width) if width else 0.0
    outside = np.mean((values < edges[0]) | (values > edges[-1]))
    label = f"mean {with_error(mean, width / math.sqrt(n))}\nwidth {with_error(width, width_error)}"
    label += f"\n{100 * outside:.2g}% beyond" if outside else ""
    ax.stairs(height, edges, baseline=None, color=COLOURS[0], linewidth=2.2, label=label)
    _band(ax, edges, height - error, height + error, COLOURS[0])
    t = np.linspace(edges[0], edges[-1], 300)
    gauss = np.exp(-(t**2) / 2) / math.sqrt(2 * math.pi)
    ax.plot(t, gauss, color="black", linestyle="--", label="unit Gaussian")
    ax.set_xlim(edges[0], edges[-1])
    ax.set_ylim(0, 1.5 * max(gauss.max(), (height + error).max()))
    ax.set_xlabel(xlabel)
    ax.set_ylabel("density")
    ax.legend(loc="upper right")
    return ax


def _entries(label, sample):
    """Return values and weights of a sample as float64 arrays (n,), or say what is wrong with it."""
    values, weights = sample if isinstance(sample, tuple) else (sample, None)
    values = as_array(values)
    weights = np.ones(values.shape) if weights is None else as_array(weights)
    if values.ndim != 1 or values.shape != weights.shape:
        raise ValueError(f"{label!r}: values {values.shape} and weights {weights.shape} must both have the shape (n,)")
    if not len(values):
        raise ValueError(f"{label!r} has no events: was the cut before it too hard?")
    bad = np.count_nonzero(~np.isfinite(values) | ~np.isfinite(weights))
    if bad:
        raise ValueError(
            f"{label!r}: {bad} of {len(values)} events have a value or weight that is not finite; "
            "find where they come from, or keep x[isfinite(x)] and say so"
        )
    return values, weights


def as_array(values):
    """Return a tensor (on any device, with or without gradient), array or list as a float64 array.

    Example:
        >>> as_array([1, 2]).dtype.name
        'float64'
    """
    return np.asarray(values.detach().cpu() if hasattr(values, "detach") else values, dtype=np.float64)


def _bars(values, weights, edges, density):
    norm = weights.sum() * np.diff(edges) if density else 1.0
    height, _ = np.histogram(values, edges, weights=weights)
    error, _ = np.histogram(values, edges, weights=weights**2)
    return height / norm, np.sqrt(error) / np.abs(norm)


def _looks(bars, reference):
    """Give each sample its colour and line style; the reference is black and solid."""
    others = [label for label in bars if label != reference]
    looks = {label: (COLOURS[i % len(COLOURS)], LINES[i % len(LINES)]) for i, label in enumerate(others)}
    return {reference: (REFERENCE, "-"), **looks}


def _band(ax, edges, low, high, colour, hatch=None):
    """Fill between two step functions."""
    x = np.repeat(edges, 2)[1:-1]
    look = {"alpha": 0.25, "facecolor": colour, "linewidth": 0}
    if hatch:
        look = {"facecolor": "none", "edgecolor": "0.55", "hatch": hatch, "linewidth": 0}
    ax.fill_between(x, np.repeat(low, 2), np.repeat(high, 2), zorder=1, **look)


def _scale_y(ax, bars, log):
    top = max(np.max(height + error) for height, error in bars.values())
    positive = np.concatenate([height[height > 0] for height, _ in bars.values()])
    if not len(positive):
        raise ValueError("all events lie outside the bins (or all weights are negative): choose other edges")
    if log:
        bottom = positive.min() / 2
        ax.set_yscale("log")
        ax.set_ylim(bottom, top * (top / bottom) ** 0.25)
    else:
        ax.set_ylim(min(0, min(np.min(height - error) for height, error in bars.values())), 1.25 * top)


def _y_label(xlabel, edges, density):
    unit = re.search(r"\[([^\]]+)\]", xlabel or "")
    unit = unit[1] if unit and unit[1] != "1" else ""
    if density:
        return f"density [1/{unit}]" if unit else "density"
    widths = np.diff(edges)
    if not np.allclose(widths, widths[0]):
        return "events / bin"
    return f"events / {widths[0]:.3g} {unit}".rstrip()


def _ratio(ax, edges, bars, looks, reference, limits):
    below, error = bars[reference]
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = {k: (h / below, e / np.abs(below)) for k, (h, e) in bars.items() if k != reference}
        own = error / np.abs(below)
    low, high = limits or _ratio_range(ratios, own)
    _band(ax, edges, 1 - own, 1 + own, "0.5", hatch="////")
    ax.axhline(1, color=REFERENCE, linewidth=1.2, linestyle="-", zorder=1.5)
    centres, widths = (edges[1:] + edges[:-1]) / 2, np.diff(edges)
    for i, (label, (ratio, error)) in enumerate(ratios.items()):
        x = centres + widths * 0.2 * (i - (len(ratios) - 1) / 2)  # side by side, or error bars hide each other
        look = {"color": looks[label][0], "linestyle": "none", "marker": MARKERS[i % len(MARKERS)]}
        ax.errorbar(x, ratio, error, linewidth=1.6, markersize=4.5, **look)
        margin = 0.07 * (high - low)
        for mark, outside, y in (("^", ratio > high, high - margin), ("v", ratio < low, low + margin)):
            ax.plot(x[outside], np.full(np.count_nonzero(outside), y), **{**look, "marker": mark}, markersize=9)
    ax.set_ylim(low, high)
    ax.set_ylabel("ratio")


def _ratio_range(ratios, own):
    """Return a range symmetric around 1 that holds the points whose errors are small enough to say something."""
    reach = [0.0]
    for ratio, error in ratios.values():
        telling = np.isfinite(ratio) & (error < 0.25) & (own < 0.25)
        reach += list(np.abs(ratio[telling] - 1) + error[telling])
    reach = np.quantile(reach, 0.95)
    half = next((half for half in (0.02, 0.05, 0.1, 0.2, 0.3, 0.5) if half >= reach), 0.8)
    return 1 - 1.1 * half, 1 + 1.1 * half


def with_error(value, error):
    """Write a number with two digits of its error, for a label.

    Example:
        >>> with_error(1.23456, 0.0789)
        '$1.235 \\\\pm 0.079$'
    """
    digits = max(0, min(6, 1 - math.floor(math.log10(float(f"{error:.1e}"))))) if error > 0 else 2
    return f"${value:.{digits}f} \\pm {error:.{digits}f}$"
