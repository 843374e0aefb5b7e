"""Making a figure and showing it: in a notebook as a picture with alt text, in a plain script as a file."""

import base64
import io
import os
import re
import sys
from collections import Counter
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from ..scale import is_main_process, notebook_name

PACKAGE = Path(__file__).resolve().parents[1]
STYLE = matplotlib.rc_params_from_file(PACKAGE / "lhcml.mplstyle", use_default_template=False)
COLOURS = tuple(entry["color"] for entry in STYLE["axes.prop_cycle"])
LINES = tuple(entry["linestyle"] for entry in STYLE["axes.prop_cycle"])

PIXELS_PER_INCH = 100  # on the page; the picture itself has SHARPNESS times as many
SHARPNESS = 1.3
WIDEST = 1000  # pixels, wider figures are scaled down
MOST_PIXELS = 640_000, 470_000  # of a picture; of one that is larger than two panels on the page

# A label that names one of these has a dimension and needs a unit in brackets.
DIMENSIONFUL = re.compile(
    r"\bmass(es)?\b|\bmomentum\b|\bmomenta\b|\benerg(y|ies)\b|\bcross[ -]section\b"
    r"|\bp_?T\b|(?<![A-Za-z])[pEH]_\{?(\\?(mathrm|rm|text|perp|parallel)\b\s*\{?)?\s*[Txyz](?![A-Za-z(])(?!\}\()"
    r"|(?<![A-Za-z\\])[mM]_|(?<![A-Za-z\\])E(?![A-Za-z(\[])|\\sqrt\s*\{?\\?(hat)?\s*\{?s\b|\bGeV\b|\bTeV\b|\bMeV\b",
)
UNIT = re.compile(r"\[[^\]]*(eV|\b[fpn]b\b)[^\]]*\]|\[1\]")
WORD, COMMAND = re.compile("[A-Za-z]{3}"), re.compile(r"\\[A-Za-z]+")  # tick labels; a command of mathtext is no word
PER_BIN = re.compile(r"/\s*[\d.]*\s*[kMGT]eV\b")  # "events / 2 GeV"


def figure(ratio=False, columns=1, rows=1, size=None, sharey=False):
    """Make a figure in the course's style.

    Arguments:
        ratio: put a low panel for ratios under each panel, with the same x axis.
        columns, rows: number of panels beside and above each other.
        size: (width, height) in inches; by default 7 x 4.5 for one panel.
        sharey: the panels of a row have one y axis, labelled on the left.
    Returns:
        fig, axes. One panel: axes is the panel, or the pair (main, ratio); several: a list of these, row by row.
    Raises:
        ValueError: no panels.
    Example:
        >>> fig, ax = figure()
        >>> fig, (main, ratio) = figure(ratio=True)
        >>> fig, [(main, ratio), (main2, ratio2)] = figure(ratio=True, columns=2)
    """
    if columns < 1 or rows < 1:
        raise ValueError(f"a figure needs at least one panel, not {rows} rows of {columns}")
    matplotlib.rcParams.update(STYLE)
    width, height = {1: (7.0, 4.5), 2: (10.0, 4.2)}.get(columns, (4.3 * columns, 4.0))
    fig = Figure(figsize=size or (width, height * rows + (0.8 if ratio else 0) * rows), layout="constrained")
    if ratio:
        fig.get_layout_engine().set(hspace=0.0, h_pad=0.03)
    grid = fig.add_gridspec(rows * (2 if ratio else 1), columns, height_ratios=(3, 1) * rows if ratio else None)
    panels = []
    for row in range(rows):
        first = None
        for column in range(columns):
            main = fig.add_subplot(grid[row * (2 if ratio else 1), column], sharey=first if sharey else None)
            if sharey and first is not None:
                main.tick_params(labelleft=False)
            first = first or main
            if ratio:
                low = fig.add_subplot(grid[2 * row + 1, column], sharex=main)
                main.tick_params(labelbottom=False)
            panels.append((main, low) if ratio else main)
    return fig, panels[0] if len(panels) == 1 else panels


def png(fig):
    """Return the figure as the bytes of a PNG with a palette of some 30 colours: small and sharp.

    Example:
        >>> png(figure()[0])[1:4]
        b'PNG'
    """
    from PIL import Image  # matplotlib brings it

    before, small = (fig.canvas, fig.dpi), io.BytesIO()
    try:
        pixels = fig.get_figwidth() * fig.get_figheight() * PIXELS_PER_INCH**2
        most = MOST_PIXELS[int(pixels > 450_000)]
        fig.dpi = PIXELS_PER_INCH * min(SHARPNESS, (most / pixels) ** 0.5)
        canvas = FigureCanvasAgg(fig)
        canvas.draw()  # savefig would draw it twice to lay it out
        picture = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    finally:
        fig.canvas, fig.dpi = before
    mapped = fig.findobj(lambda artist: getattr(artist, "get_array", lambda: None)() is not None)
    picture = _commonest(picture, 128) if mapped else _few_colours(picture)
    picture.save(small, format="png", optimize=True)
    return small.getvalue()


def _commonest(picture, colours):
    from PIL import Image

    return picture.quantize(colours, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)


def _few_colours(picture):
    """Return the picture with its commonest colours and those of the style, which thin lines and few points need."""
    from PIL import Image

    common = _commonest(picture, 20).getpalette()[:60]
    named = [255 * part for colour in ("w", "k", *COLOURS) for part in to_rgb(colour)]
    palette = np.array([*named, *common]).round().reshape(-1, 3)
    packed, which = np.unique(np.asarray(picture).astype(int) @ [1 << 16, 1 << 8, 1], return_inverse=True)
    colours = np.stack([packed >> 16, packed >> 8 & 255, packed & 255], axis=1)
    nearest = ((colours[:, None] - palette) ** 2).sum(-1).argmin(1).astype(np.uint8)
    few = Image.fromarray(nearest[which].reshape(picture.height, picture.width), mode="P")
    few.putpalette(palette.astype(np.uint8).flatten().tolist())
    return few


def show(fig, alt):
    """Show a figure: in Jupyter as an output with alternative text, in a plain script as a numbered file.

    Scripts write figures/<notebook>/01.png, 02.png, ...; the environment variable LHCML_FIGURES moves that folder.
    Nothing happens on the ranks of torchrun other than the first.

    Arguments:
        fig: a figure with labels and units on every axis that shows data and numbers.
        alt: what the picture shows, for those who cannot see it; at least 20 characters.
    Raises:
        ValueError: the alt text is too short, a label is missing, or a label with a dimension has no [unit].
    Example:
        >>> fig, ax = figure()
        >>> line = ax.plot([0, 100], [0, 1])
        >>> label = ax.set_xlabel("$p_T$"), ax.set_ylabel("efficiency")
        >>> show(fig, "Efficiency rises linearly with transverse momentum")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        ValueError: the x label '$p_T$' names a quantity with a dimension: add its unit, as in '$p_T$ [GeV]' ...
    """
    if not is_main_process():
        return _close(fig)
    if not isinstance(alt, str) or len(alt.strip()) < 20:
        raise ValueError(f"the alt text {alt!r} is too short: say in a sentence what the picture shows")
    try:
        _check_labels(fig)
        picture = png(fig)
    finally:
        _close(fig)
    if in_jupyter():
        from IPython.display import display

        width = min(WIDEST, round(fig.get_figwidth() * PIXELS_PER_INCH))
        data = {"image/png": base64.b64encode(picture).decode(), "text/plain": alt}
        display(data, metadata={"image/png": {"alt": alt, "width": width}}, raw=True)
    else:
        print(f"figure: {_save(picture, alt)}")


def in_jupyter():
    """Tell whether this process is the kernel of a notebook, so that pictures and widgets can be seen.

    Example:
        >>> in_jupyter()
        False
    """
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return getattr(shell, "kernel", None) is not None


def _close(fig):
    """Take a figure made by pyplot off its list, or the notebook's backend would show it a second time."""
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close(fig)


def _save(picture, alt):
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    home = PACKAGE.parent if (PACKAGE.parent / "pyproject.toml").exists() else Path.cwd()
    folder = Path(os.environ.get("LHCML_FIGURES") or home / "figures" / notebook_name())
    folder.mkdir(parents=True, exist_ok=True)
    _save.count[folder] += 1
    path = folder / f"{_save.count[folder]:02d}.png"
    about = PngInfo()
    about.add_itxt("Description", alt)
    Image.open(io.BytesIO(picture)).save(path, format="png", pnginfo=about)
    return path


_save.count = Counter()


def _check_labels(fig):
    """Demand a label, and a unit where there is a dimension, on each axis that shows numbers beside data."""
    common = {"x": fig.get_supxlabel(), "y": fig.get_supylabel()}
    for panel in fig.axes:
        if not (panel.get_visible() and panel.axison and panel.has_data()) or panel.name == "polar":
            continue
        for name, axis in panel._axis_map.items():
            label = axis.label.get_text() if axis.label.get_visible() else ""
            if axis.get_visible() and not (label or common.get(name)) and _shows_numbers(axis):
                where = f" of the panel {panel.get_title()!r}" if panel.get_title() else ""
                raise ValueError(f"the {name} axis{where} has no label: set one with ax.set_{name}label(...)")
            _check_unit(name, label or common.get(name, ""))


def _shows_numbers(axis):
    """Tell whether an axis has visible tick labels that are no words; slow, since it computes their places."""
    shown = [tick.get_text() for tick in axis.get_ticklabels() if tick.get_visible() and tick.get_text()]
    return any(not WORD.search(COMMAND.sub("", text)) for text in shown)


def _check_unit(name, label):
    plain = PER_BIN.sub("", label)
    if DIMENSIONFUL.search(UNIT.sub("", plain)) and not UNIT.search(plain):
        example = re.sub(r"\s*[(/]\s*[kMGT]eV\s*\)?", "", label).strip() + " [GeV]"
        raise ValueError(
            f"the {name} label {label!r} names a quantity with a dimension: add its unit, as in {example!r} "
            "([1] for a ratio or a standardised quantity)"
        )
