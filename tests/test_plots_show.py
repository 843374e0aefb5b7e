"""Showing a figure: nothing leaves without labels, units and words, and it can be read from the last row."""

import io
import itertools
import subprocess
import sys

import matplotlib
import matplotlib.colors
import numpy as np
import pytest
from PIL import Image

import lhcml_tutor as lt
from lhcml_tutor import plots

ALT = "A line that rises from zero to one hundred"


def simple(xlabel="x", ylabel="y"):
    fig, ax = plots.figure()
    ax.plot([0, 1], [0, 100])
    ax.set(xlabel=xlabel, ylabel=ylabel)
    return fig, ax


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("LHCML_FIGURES", str(tmp_path))
    plots.figures._save.count.clear()
    return tmp_path


# show -----------------------------------------------------------------------------------------------------------------

BAD_UNITS = (
    "$p_T$", "pT", r"$p_{\rm T}$", r"$p_{T,Z}$", r"$p_\mathrm{T}$", "$p_x$", "$m_{jj}$", "invariant mass", "E", "$E$",
    "energy of the jet", r"$\sqrt{s}$", r"$\sqrt{\hat{s}}$", "momentum", "mass (GeV)", "$E_T$", "$H_T$", 
    "cross section", "mass []", "GeV", "$p_T$ [rad]",
)  # fmt: skip
GOOD_UNITS = (
    "$p_T$ [GeV]", r"$m_{\mu\mu}$ [TeV]", r"$\sqrt{s}$ [GeV]", r"$m^2$ [GeV$^2$]", "density [1/GeV]", "events / 2 GeV",
    "mass ratio [1]", r"$\Delta E / E$ [1]", "rapidity $y$", r"$\phi$ [rad]", "loss", r"$p_\theta(x)$", "$p_z(z)$",
    "cross section [pb]", "training steps", "E[x]", "number_of items", r"$\Delta$", "density",
)  # fmt: skip


@pytest.mark.parametrize("label", BAD_UNITS)
@pytest.mark.parametrize("axis", ["xlabel", "ylabel"])
def test_a_dimension_needs_its_unit(folder, label, axis):
    fig, _ = simple(**{axis: label})
    with pytest.raises(ValueError, match="names a quantity with a dimension"):
        lt.show(fig, ALT)
    assert not list(folder.iterdir())


@pytest.mark.parametrize("label", GOOD_UNITS)
def test_units_and_dimensionless_labels_pass(label):
    fig, _ = simple(xlabel=label)
    plots.figures._check_labels(fig)


def test_an_axis_with_names_for_numbers_needs_no_label():
    fig, ax = simple(ylabel="")
    ax.set_yticks([0.2, 0.6], ["coordinates = mass", "n_train = 30000"])
    plots.figures._check_labels(fig)
    ax.set_yticks([0.2, 0.6], ["coordinates = mass", r"$\mathdefault{10^{3}}$"])
    with pytest.raises(ValueError, match="the y axis has no label"):
        plots.figures._check_labels(fig)


def test_axes_that_show_numbers_need_labels():
    check = plots.figures._check_labels
    fig, ax = simple(ylabel="")
    with pytest.raises(ValueError, match="the y axis has no label"):
        check(fig)
    fig, axes = plots.figure(columns=2)
    axes[0].plot([1, 2])
    axes[0].set(xlabel="x", ylabel="y")
    check(fig)  # an empty panel needs none
    axes[1].imshow(np.eye(3))
    axes[1].set_title("kernel")
    with pytest.raises(ValueError, match="the x axis of the panel 'kernel'"):
        check(fig)
    axes[1].axis("off")
    check(fig)
    fig, axes = plots.figure(columns=2, sharey=True)
    for panel in axes:
        panel.plot([1, 2])
        panel.set_xlabel("x")
    axes[0].set_ylabel("y")
    check(fig)  # the right panel hides its numbers
    fig, ax = simple()
    twin = ax.twinx()
    twin.plot([0, 1], [5, 6])
    with pytest.raises(ValueError, match="the y axis"):
        check(fig)
    twin.set_ylabel("z")
    check(fig)
    fig, ax = simple()
    bar = fig.colorbar(ax.scatter([0, 1], [0, 1], c=[0, 1]))
    with pytest.raises(ValueError, match="the y axis"):
        check(fig)
    bar.set_label("mass [GeV]")
    check(fig)


@pytest.mark.parametrize("alt", ["", "histogram", " " * 30, None])
def test_alt_text_is_a_sentence(folder, alt):
    with pytest.raises(ValueError, match="alt text"):
        lt.show(simple()[0], alt)


def test_a_script_saves_numbered_files_with_their_words(folder, capsys):
    assert lt.show(simple()[0], ALT + " μ") is None
    lt.show(simple()[0], ALT)
    assert sorted(path.name for path in folder.iterdir()) == ["01.png", "02.png"]
    assert capsys.readouterr().out.splitlines() == [f"figure: {folder / '01.png'}", f"figure: {folder / '02.png'}"]
    picture = Image.open(folder / "01.png")
    assert picture.text["Description"] == ALT + " μ" and picture.size == (910, 585)


def test_other_ranks_of_torchrun_draw_nothing(folder, monkeypatch, capsys):
    monkeypatch.setenv("RANK", "1")
    assert lt.show(simple()[0], ALT) is None
    assert not list(folder.iterdir()) and not capsys.readouterr().out


def test_figures_made_by_pyplot_are_closed(folder):
    import matplotlib.pyplot as plt

    fig, ax = plt.subplots()
    ax.plot([1, 2])
    ax.set(xlabel="x", ylabel="y")
    lt.show(fig, ALT)
    assert not plt.get_fignums()


def test_plots_never_open_a_window():
    """Figures do without pyplot, so that no display, no toolkit and no blocking window can be in the way."""
    code = (
        "import sys, lhcml_tutor as lt; fig, ax = lt.plots.figure(ratio=True)\n"
        "lt.plots.histogram({'x': [1., 2.]}, 2, ax=ax); lt.plots.png(fig)\n"
        "sys.exit('matplotlib.pyplot' in sys.modules or 'IPython' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


# style ----------------------------------------------------------------------------------------------------------------


def test_a_typical_figure_is_small_and_sharp():
    rng = np.random.default_rng(1)
    fig, ax = plots.figure(ratio=True)
    samples = {"truth": rng.exponential(60, 20_000), "network": rng.exponential(61, 20_000)}
    plots.histogram(samples, np.linspace(0, 400, 41), ax=ax, xlabel="$p_T$ [GeV]", log=True)
    picture = plots.png(fig)
    assert len(picture) <= 45_000, len(picture)
    assert Image.open(io.BytesIO(picture)).width >= 900


def test_text_and_lines_are_readable_from_the_last_row():
    simple()
    sizes = [matplotlib.rcParams[key] for key in ("font.size", "axes.labelsize", "xtick.labelsize", "legend.fontsize")]
    assert min(sizes) >= 13 and matplotlib.rcParams["lines.linewidth"] >= 2


def lab(colour, blind):
    """Return CIE L, a, b of a colour as seen through a colour-blindness matrix (linear RGB)."""
    rgb = np.array(matplotlib.colors.to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    linear = np.clip(blind @ linear, 0, 1)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    x, y, z = np.cbrt(to_xyz @ linear / [0.9505, 1.0, 1.089])
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


# Machado, Oliveira, Fernandes 2009, severity 1.0
DEUTERANOPIA = np.array(
    [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
)
PROTANOPIA = np.array(
    [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
)


@pytest.mark.parametrize("blind", [np.eye(3), DEUTERANOPIA, PROTANOPIA], ids=["normal", "deuteranopia", "protanopia"])
def test_the_first_colours_stay_apart_for_every_eye(blind):
    def apart(one, two):
        return np.linalg.norm(lab(one, blind) - lab(two, blind))

    assert min(apart(*pair) for pair in itertools.combinations((*plots.COLOURS[:4], "black"), 2)) > 15
    if blind is DEUTERANOPIA:
        assert apart("#c0504d", "#7f8c3a") < 15  # a red and a green, which this test is there to refuse
    looks = list(zip(plots.COLOURS[:4], plots.LINES[:4], strict=True))
    assert len({line for _, line in looks}) == 4  # in greyscale the line style tells them apart


def test_few_colours_keep_white_and_every_colour_of_the_style():
    fig, panels = plots.figure(columns=2)
    for panel in panels:
        panel.scatter(
            np.linspace(0, 1, 300), np.linspace(0, 1, 300), color=[(g, g, 1 - g) for g in np.linspace(0, 1, 300)]
        )
        panel.set(xlabel="x", ylabel="y")
    for i, colour in enumerate(plots.COLOURS):
        panels[0].plot([0.1 * i], [0.9], "s", color=colour, markersize=4)
    picture = Image.open(io.BytesIO(plots.png(fig)))
    seen = {colour for _, colour in picture.convert("RGB").getcolors(1 << 24)}
    wanted = {tuple(round(255 * part) for part in matplotlib.colors.to_rgb(colour)) for colour in (*plots.COLOURS, "w")}
    assert wanted <= seen and len(seen) <= 40


def test_a_figure_of_many_rows_stays_within_the_pixels():
    fig, _ = plots.figure(rows=4, columns=2)
    width, height = Image.open(io.BytesIO(plots.png(fig))).size
    assert width * height <= 1.01 * plots.figures.MOST_PIXELS[1]
