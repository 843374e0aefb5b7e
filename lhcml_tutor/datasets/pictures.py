"""One small picture per sample: its main distributions, with units."""

import io
import math

import numpy as np

from .cache import PACKAGE

MOST_BYTES = 40_000
PANELS = 6
BINS = 40
PARTS = {"pt": ("$p_T$", "GeV"), "eta": (r"$\eta$", "1"), "phi": (r"$\varphi$", "rad"), "mass": ("mass", "GeV")}


def picture(events, shown=()) -> bytes:
    """Return the distributions of a sample as the bytes of a PNG of at most 40 kB.

    Four-momenta are drawn as their transverse momentum, other columns as they are. Where a column holds pT, eta, phi
    and perhaps a mass side by side, NAME is its pT, NAME.eta, NAME.phi and NAME.mass are the others.

    Arguments:
        events: Events.
        shown: names of columns; by default the first six.
    Example:
        >>> from .spectrum import make_spectrum
        >>> picture(make_spectrum(1000, seed=1))[1:4]
        b'PNG'
    """
    import matplotlib.style
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from PIL import Image  # matplotlib brings it

    names = list(shown or list(events.columns)[:PANELS])
    rows, columns = math.ceil(len(names) / 3), min(len(names), 3)
    with matplotlib.style.context(PACKAGE / "lhcml.mplstyle"):
        figure = Figure(figsize=(4.2 * columns, 3.4 * rows), dpi=80, layout="constrained")
        for ax, name in zip(figure.subplots(rows, columns, squeeze=False).flat, names):
            _draw(ax, name, events)
        for ax in list(figure.axes)[len(names) :]:
            ax.remove()
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
    whole = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    for colours in (32, 16, 8, 4):
        small = io.BytesIO()
        whole.quantize(colours, dither=Image.Dither.NONE).save(small, format="png", optimize=True)
        if small.tell() <= MOST_BYTES:
            return small.getvalue()
    raise ValueError(f"the picture takes {small.tell() / 1e3:.0f} kB, at most 40 are allowed; show fewer columns")


def quantity(name: str, events):
    """Return what is drawn of a column: the values (m,), and their label with the unit.

    Example:
        >>> from .events import Events
        >>> values, label = quantity("top", Events({"top": np.array([[5.0, 3.0, 4.0, 0.0]])}, {"top": "GeV"}))
        >>> float(values[0]), label
        (5.0, '$p_T$ of top [GeV]')
    """
    name, _, part = name.partition(".")
    column, unit = events[name].detach().cpu().numpy(), events.units[name]
    said = name.replace("_", " ")
    if unit.startswith("GeV, 1, rad"):
        symbol, own = PARTS[part or "pt"]
        real = column[..., 0] > 0  # rows of zeros fill up what is not there
        values = column[..., list(PARTS).index(part or "pt")][real].astype(float)
        return values, f"{symbol} of {said}" + (f" [{own}]" if own != "1" else "")
    if column.ndim > 1 and column.shape[-1] == 4 and unit == "GeV":
        values = np.hypot(column[..., 1], column[..., 2]).ravel().astype(float)
        real = (column != 0).any(-1).ravel()  # rows of zeros fill up what is not there
        return values[real], f"$p_T$ of {said} [GeV]"
    return column.ravel().astype(float), said if unit == "1" else f"{said} [{unit}]"


def _draw(ax, name, events):
    values, label = quantity(name, events)
    ends = [0.002 if values.min() < 0 else 0, 0.998]  # the last two entries in a thousand would squeeze the rest
    low, high = np.quantile(values, ends)
    if (values == np.round(values)).all() and high - low < 10 * BINS:
        step = max(1, math.ceil((high - low + 1) / BINS))
        edges = np.arange(low - 0.5, high + 0.5 + step, step)
    else:
        edges = np.linspace(low, high if high > low else low + 1, BINS + 1)
    heights, edges = np.histogram(values, edges)
    ax.stairs(heights, edges)
    ax.set_xlabel(label)
    ax.set_ylabel("entries")
    if heights.max() > 50 * max(heights[-5:].mean(), 1):
        ax.set_yscale("log")
