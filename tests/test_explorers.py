"""Explorers: every control of every one works from end to end of its range, and a broken one cannot hide."""

import math
from numbers import Number
from types import SimpleNamespace

import nbformat
import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from nbclient import NotebookClient

from lhcml_tutor import explorers
from lhcml_tutor.explorers import Choice, Explorer, Slider
from lhcml_tutor.plots import figures

X = np.linspace(0, 1, 30)


def draw(ax, result):
    ax.plot(X, result["curve"])
    ax.set(xlabel="x", ylabel="y")


def toy(compute=None, **controls):
    controls = controls or {"k": Slider(0, 4, 1, 1, "wave number"), "shape": Choice(["sine", "line"], "sine")}
    return Explorer("A toy", controls, compute or curve, draw, summary=lambda result: f"top {result['top']:.2f}")


def curve(k=1, shape="sine", **_):
    y = np.sin(k * X) if shape == "sine" else k * X
    return {"curve": y, "top": y.max()}


def numbers(result):
    """Walk through a result and yield every array of numbers in it."""
    if isinstance(result, torch.Tensor):
        result = result.detach().numpy()
    if isinstance(result, SimpleNamespace):
        result = vars(result)
    if isinstance(result, dict):
        result = list(result.values())
    if isinstance(result, (list, tuple)):
        for part in result:
            yield from numbers(part)
    elif isinstance(result, (np.ndarray, Number)) and np.asarray(result).dtype.kind in "iufc":
        yield np.asarray(result)


def walk(explorer):
    """Move every control of the live widgets through its range; return the names of those that change no picture."""
    results, compute = {}, explorer.compute

    def once(**values):  # so that the way back to a default costs no second training
        key = tuple(values.values())
        results[key] = results[key] if key in results else compute(**values)
        return results[key]

    explorer.compute = once
    try:
        box = explorer.widget()
        start, dead = box.picture.value, []
        for name, control in explorer.controls.items():
            pictures = set()
            for stop in control.stops:
                box.controls[name].value = stop
                pictures.add(box.picture.value)
                assert box.line.value and "computing" not in box.line.value, (name, stop, box.line.value)
            if pictures == {start}:
                dead.append(name)
            box.controls[name].value = control.value
            assert box.picture.value == start, f"{name} back at its default gives another picture than before"
    finally:
        explorer.compute = compute
    assert not explorer.errors
    for result in results.values():
        assert all(np.isfinite(array).all() for array in numbers(result)), "not finite"
    first, again = (
        list(numbers(result)) for result in (results[tuple(explorer.defaults.values())], compute(**explorer.defaults))
    )
    assert first, "no numbers in the result"
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, other, err_msg="the same settings gave other numbers")
    return dead


@pytest.fixture
def quick(monkeypatch):
    """Draw roughly: the full picture, with its layout and minor ticks, is the business of test_plots."""

    def rough(fig):
        fig.set_layout_engine("none")
        fig.dpi = 50
        canvas = FigureCanvasAgg(fig)
        canvas.draw()
        return bytes(canvas.buffer_rgba())

    monkeypatch.setattr(explorers.shell, "png", rough)
    for axis in "xy":
        monkeypatch.setitem(figures.STYLE, f"{axis}tick.minor.visible", False)


ALL = explorers.all()


def test_the_course_has_explorers():
    assert {explorer.name.split(".")[0] for explorer in ALL} >= {"events", "fitting"}
    assert len({explorer.title for explorer in ALL}) == len(ALL)


@pytest.mark.parametrize("explorer", ALL, ids=lambda explorer: explorer.name)
def test_every_control_of_every_explorer_changes_its_picture(explorer, quick):
    assert walk(explorer) == []


@pytest.mark.parametrize("explorer", ALL, ids=lambda explorer: explorer.name)
def test_controls_say_what_they_are(explorer):
    assert all(control.label for control in explorer.controls.values())
    assert explorer.summary is not None


# planted faults: what the walk is there to find -----------------------------------------------------------------------


def test_walk_passes_a_sound_explorer(quick):
    assert walk(toy()) == []


def test_walk_finds_a_control_that_does_nothing(quick):
    controls = {"k": Slider(0, 4, 1, 1), "forgotten": Slider(0.0, 1.0, 0.1, 0.5)}
    assert walk(toy(**controls)) == ["forgotten"]


@pytest.mark.parametrize("where", [0, 2, 4])
def test_walk_and_sweep_let_an_exception_in_a_callback_through(where, quick):
    def broken(k, shape):
        if k == where:
            raise ZeroDivisionError("k cannot be this")
        return curve(k, shape)

    explorer = toy(broken)
    with pytest.raises(ZeroDivisionError):
        explorer.sweep()
    with pytest.raises(ZeroDivisionError):
        walk(explorer)


def test_walk_finds_a_broken_drawing(quick):
    explorer = toy()
    explorer.draw = lambda ax, result: ax.plot(X, result["curve"][: -1 if result["top"] > 0.9 else None])
    with pytest.raises(ValueError, match="same first dimension"):
        walk(explorer)


def test_walk_finds_results_that_are_not_finite(quick):
    explorer = toy(
        lambda k, shape: {**curve(k, shape), "list": [SimpleNamespace(a=torch.tensor(math.inf if k > 3 else 1))]}
    )
    with pytest.raises(AssertionError, match="not finite"):
        walk(explorer)


def test_walk_finds_randomness_without_a_seed(quick):
    rng = np.random.default_rng()
    explorer = toy(lambda k, shape: {"curve": rng.random(30), "top": 1.0})
    with pytest.raises(AssertionError, match="other numbers"):
        walk(explorer)


# the shell ------------------------------------------------------------------------------------------------------------


def test_an_error_is_shown_kept_and_raised_and_goes_away():
    explorer = toy(lambda k, shape: curve(k, shape) if k != 2 else 1 / 0)
    box = explorer.widget()
    picture, words = box.picture.value, box.line.value
    with pytest.raises(ZeroDivisionError):
        box.controls["k"].value = 2
    assert "ZeroDivisionError: division by zero" in box.line.value and box.picture.value == picture
    assert [type(error) for error in explorer.errors] == [ZeroDivisionError]
    box.controls["k"].value = 1
    assert box.line.value == words and box.picture.value == picture


def test_widgets_of_the_controls():
    controls = {
        "whole": Slider(0, 4, 1, 1),
        "real": Slider(0.0, 1.0, 0.25, 0.5, "real number"),
        "powers": Choice([1, 10, 100], 10),
        "names": Choice(["a", "b"], "b"),
    }
    box = toy(lambda **_: curve(), **controls).widget()
    kinds = {name: type(widget).__name__ for name, widget in box.controls.items()}
    assert kinds == {"whole": "IntSlider", "real": "FloatSlider", "powers": "SelectionSlider", "names": "Dropdown"}
    assert box.controls["real"].description == "real number" and box.controls["real"].readout_format == ".2f"
    assert not any(getattr(widget, "continuous_update", False) for widget in box.controls.values())
    assert box.picture.value[1:4] == b"PNG"
    assert [control.stops for control in controls.values()] == [[0, 2, 4], [0.0, 0.5, 1.0], [1, 10, 100], ["a", "b"]]


def test_words_of_a_summary_are_not_html():
    explorer = toy()
    explorer.summary = lambda result: "p < 0.05 <script>"
    assert explorer.widget().line.value == "p &lt; 0.05 &lt;script&gt;"


def test_sweep_visits_minimum_middle_and_maximum_of_each_control():
    values = [tuple(values.values()) for values, _ in toy().sweep()]
    assert values == [(1, "sine"), (0, "sine"), (2, "sine"), (4, "sine"), (1, "sine"), (1, "line")]


def test_static_figures_stand_side_by_side():
    fig = toy().figures({"k": 1}, {"k": 4, "shape": "line"})
    assert [ax.get_title() for ax in fig.axes] == ["wave number: 1", "wave number: 4, shape: line"]
    assert [ax.get_ylabel() for ax in fig.axes] == ["y", ""] and fig.axes[0].get_ylim() == fig.axes[1].get_ylim()
    pair = Explorer("Two", {"k": Slider(0, 4, 1, 1)}, curve, lambda axes, r: [draw(ax, r) for ax in axes], columns=2)
    assert [ax.get_title() for ax in pair.figures({"k": 1}, {"k": 4}).axes] == ["k: 1", "", "k: 4", ""]
    ratio = Explorer(
        "Ratio", {"k": Slider(0, 4, 1, 1)}, curve, lambda axes, r: [draw(ax, r) for ax in axes], ratio=True
    )
    assert [ax.get_title() for ax in ratio.figures({"k": 1}, {"k": 4}).axes] == ["k: 1", "", "k: 4", ""]


@pytest.mark.parametrize(
    ("attempt", "message"),
    [
        (lambda: toy().figure(q=1), "no control 'q'; it has: k, shape"),
        (lambda: toy().figure(k=5), "k=5 must be a number from 0 to 4"),
        (lambda: toy().figure(k="two"), "k='two' must be a number"),
        (lambda: toy().figure(shape="cosine"), "must be one of 'sine', 'line'"),
        (lambda: toy().figures(), "at least one setting, such as {'k': ...}"),
        (lambda: Slider(0, 4, 1, 9), "min <= value <= max"),
        (lambda: Slider(4, 0, 1, 2), "min < max"),
        (lambda: Slider(0, 1, 2, 0), "a step that fits"),
        (lambda: Choice(["a"], "a"), "at least two options"),
        (lambda: Choice(["a", "b"], "c"), "one of them"),
        (lambda: Explorer("Nothing", {}, curve, draw), "has no controls"),
    ],
)
def test_bad_input_says_so(attempt, message):
    with pytest.raises(ValueError, match=message):
        attempt()


def test_without_ipywidgets_or_jupyter_it_says_why(monkeypatch, capsys):
    toy().show()
    assert capsys.readouterr().out == '(explorer "A toy": open this notebook in Jupyter to move its sliders)\n'
    monkeypatch.setitem(__import__("sys").modules, "ipywidgets", None)
    toy().show()
    assert capsys.readouterr().out == "SKIPPED (pip install ipywidgets)\n"
    monkeypatch.setenv("RANK", "1")
    toy().show()
    assert capsys.readouterr().out == ""


def test_in_a_kernel_a_figure_is_one_picture_with_words_and_an_explorer_is_live(tmp_path):
    """Run a notebook: show() gives a PNG with alternative text, explorer.show() a widget."""
    figure = """
        import lhcml_tutor as lt
        import matplotlib.pyplot as plt
        for fig, ax in (lt.plots.figure(), plt.subplots()):
            ax.plot([1, 2]); ax.set(xlabel="x", ylabel="y")
            lt.show(fig, "A line that rises from one to \\"two\\"")
    """
    live = """
        draw = lambda ax, y: ax.plot([0, y])
        explorer = lt.explorers.Explorer("T", {"k": lt.explorers.Slider(0, 3, 1, 0)}, lambda k: k, draw)
        explorer.show()
    """
    cells = [nbformat.v4.new_code_cell("if True:" + source) for source in (figure, live)]
    notebook = nbformat.v4.new_notebook(cells=cells)
    where = {"metadata": {"path": tmp_path}}
    NotebookClient(notebook, timeout=300, startup_timeout=300, kernel_name="python3", resources=where).execute()
    pictures, widget = (cell.outputs for cell in notebook.cells)
    assert len(pictures) == 2 and len(widget) == 1
    for output in pictures:
        assert output.data["text/plain"] == 'A line that rises from one to "two"'
        assert output.metadata["image/png"]["alt"] == 'A line that rises from one to "two"'
        assert output.data["image/png"].startswith("iVBORw0KGgo")
    assert "application/vnd.jupyter.widget-view+json" in widget[0].data
    assert not list(tmp_path.iterdir())
