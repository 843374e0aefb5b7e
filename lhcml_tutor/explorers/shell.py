"""The shell of an explorer: its controls, its static figures, its widgets and its sweep."""

import html
from dataclasses import dataclass
from numbers import Integral, Number

from ..plots.figures import PIXELS_PER_INCH, WIDEST, figure, in_jupyter, png
from ..scale import is_main_process


@dataclass(frozen=True)
class Slider:
    """A control for a number between min and max; it counts in integers where min, max and step are integers.

    Example:
        >>> Slider(1, 9, 1, 3, "degree").stops
        [1, 5, 9]
    """

    min: float
    max: float
    step: float
    value: float
    label: str = ""

    def __post_init__(self):
        if not (self.min < self.max and 0 < self.step <= self.max - self.min and self.min <= self.value <= self.max):
            raise ValueError(f"{self}: needs min < max, a step that fits between them, and min <= value <= max")

    @property
    def stops(self):
        """Return minimum, middle (on a step) and maximum."""
        half = round((self.max - self.min) / 2 / self.step)
        return [self.min, self.on_step(self.min + half * self.step), self.max]

    def on_step(self, value):
        """Return the value without the rounding noise of adding steps."""
        whole = all_integers(self.min, self.max, self.step, self.value)
        return round(value) if whole else float(f"{value:.10g}")

    def check(self, name, value):
        if not isinstance(value, Number) or not self.min <= value <= self.max:
            raise ValueError(f"{name}={value!r} must be a number from {self.min} to {self.max}")

    def widget(self, name, **look):
        import ipywidgets

        kind, look["readout_format"] = ipywidgets.IntSlider, "d"
        if not all_integers(self.min, self.max, self.step, self.value):
            digits = len(f"{self.step:.10f}".rstrip("0").partition(".")[2])
            kind, look["readout_format"] = ipywidgets.FloatSlider, f".{digits}f"
        return kind(
            value=self.value, min=self.min, max=self.max, step=self.step, description=self.label or name,
            continuous_update=False, **look,
        )  # fmt: skip


@dataclass(frozen=True)
class Choice:
    """A control for one of several options: a slider over the options where they are numbers, else a drop-down list.

    Example:
        >>> Choice(["ReLU", "SiLU", "tanh"], "SiLU", "activation").stops
        ['ReLU', 'SiLU', 'tanh']
    """

    options: list
    value: object
    label: str = ""

    def __post_init__(self):
        if len(self.options) < 2 or self.value not in self.options:
            raise ValueError(f"{self}: needs at least two options, and a value that is one of them")

    @property
    def stops(self):
        """Return the first, the middle and the last option."""
        options = list(self.options)
        return [options[i] for i in sorted({0, len(options) // 2, len(options) - 1})]

    def check(self, name, value):
        if value not in self.options:
            raise ValueError(f"{name}={value!r} must be one of {', '.join(map(repr, self.options))}")

    def widget(self, name, **look):
        import ipywidgets

        if len(self.options) > 2 and [option for option in self.options if isinstance(option, Number)] == list(
            self.options
        ):
            look["continuous_update"] = False
            kind = ipywidgets.SelectionSlider
        else:
            kind = ipywidgets.Dropdown
        options = [(f"{o:g}" if isinstance(o, Number) else str(o), o) for o in self.options]
        return kind(options=options, value=self.value, description=self.label or name, **look)


def all_integers(*values):
    """Tell whether all values are integers."""
    return not [value for value in values if not isinstance(value, Integral)]


class Explorer:
    """A figure that depends on a few controls: a pure computation and a drawing of its result.

        picture(controls) = draw(axes, compute(**controls))

    Arguments:
        title: what can be explored, in words.
        controls: {"name": Slider(min, max, step, value, "label") or Choice(options, value, "label")}.
        compute: f(**values of the controls) -> result; no drawing, same values give the same result.
        draw: g(axes, result); axes as `plots.figure` returns it for ratio and columns.
        summary: h(result) -> one line of text with the key numbers, shown under the sliders; optional.
        ratio, columns, size: layout of the figure, as in `plots.figure`.
    Raises:
        ValueError: a value outside its control, or a control of that name does not exist.
    Example:
        >>> import numpy as np
        >>> x = np.linspace(0, 6, 100)
        >>> def draw(ax, y):
        ...     ax.plot(x, y)
        ...     ax.set(xlabel="x", ylabel="y")
        >>> wave = Explorer("A wave", {"k": Slider(1, 5, 1, 2, "wave number")}, lambda k: np.sin(k * x), draw)
        >>> fig = wave.figure(k=3)
        >>> fig = wave.figures({"k": 1}, {"k": 5})
        >>> [values for values, result in wave.sweep()]
        [{'k': 2}, {'k': 1}, {'k': 3}, {'k': 5}]
        >>> wave.show()
        (explorer "A wave": open this notebook in Jupyter to move its sliders)
    """

    def __init__(self, title, controls, compute, draw, *, summary=None, ratio=False, columns=1, size=None):
        if not controls:
            raise ValueError(f"the explorer {title!r} has no controls: give it at least one Slider or Choice")
        self.title, self.controls, self.compute, self.draw, self.summary = title, controls, compute, draw, summary
        self.layout = {"ratio": ratio, "columns": columns, "size": size}
        self.name = title
        self.errors = []  # exceptions of live widgets, which a notebook would only print

    def __repr__(self):
        return f"<Explorer {self.title!r}: {', '.join(self.controls)}>"

    @property
    def defaults(self):
        """Return {name: value} with which the explorer starts."""
        return {name: control.value for name, control in self.controls.items()}

    def values(self, chosen):
        """Return the defaults with some values changed; ValueError where a value is not possible."""
        for name, value in chosen.items():
            if name not in self.controls:
                raise ValueError(f"{self.title!r} has no control {name!r}; it has: {', '.join(self.controls)}")
            self.controls[name].check(name, value)
        return {**self.defaults, **chosen}

    def figure(self, **chosen):
        """Return the figure for some values of the controls, defaults for the others."""
        return self._drawn(self.compute(**self.values(chosen)))

    def figures(self, *settings, size=None, sharey=True):
        """Return one figure with a panel for each setting, titled by what is set; for `lt.show(fig, alt)`.

        Arguments:
            settings: dicts {name: value}; controls that a setting leaves out keep their defaults.
            sharey: one y axis for all panels, where an explorer has a single panel.
        """
        if not settings:
            raise ValueError("give at least one setting, such as {'" + next(iter(self.controls)) + "': ...}")
        results = [self.compute(**self.values(chosen)) for chosen in settings]
        own = self.layout["columns"]
        if own == 1:
            share = sharey and not self.layout["ratio"]
            fig, axes = figure(self.layout["ratio"], columns=len(settings), size=size, sharey=share)
            panels = [axes] if len(settings) == 1 else axes
        else:
            fig, axes = figure(self.layout["ratio"], columns=own, rows=len(settings), size=size)
            panels = [axes[own * i : own * (i + 1)] for i in range(len(settings))]
        for i, (panel, chosen, result) in enumerate(zip(panels, settings, results, strict=True)):
            self.draw(panel, result)
            first = panel[0] if isinstance(panel, (list, tuple)) else panel
            first = first[0] if isinstance(first, tuple) else first
            if len(settings) > 1:
                first.set_title(", ".join(f"{self.controls[k].label or k}: {_text(v)}" for k, v in chosen.items()))
            if own == 1 and sharey and not self.layout["ratio"] and i:
                first.set_ylabel("")
        return fig

    def sweep(self):
        """Compute with the defaults, then with each control at its minimum, middle and maximum.

        Returns:
            list of (values, result); exceptions pass through.
        """
        settings = [self.defaults]
        settings += [{**self.defaults, name: stop} for name, control in self.controls.items() for stop in control.stops]
        return [(values, self.compute(**values)) for values in settings]

    def widget(self):
        """Return live widgets: the controls, a line with the key numbers, and the picture.

        They are core ipywidgets alone, the picture is an Image that gets new bytes: so it works the same in
        JupyterLab, Notebook, Colab and VS Code. A slider acts when it is let go, or on each press of an arrow key.
        An error is shown in place of the key numbers, kept in `errors`, and raised.

        Returns:
            VBox with the attributes controls {name: widget}, line (the key numbers) and picture.
        """
        import ipywidgets

        longest = max(len(control.label or name) for name, control in self.controls.items())
        look = {"style": {"description_width": f"{0.62 * longest + 1:.0f}em"}, "layout": {"width": "min(100%, 44em)"}}
        sliders = {name: control.widget(name, **look) for name, control in self.controls.items()}
        line = ipywidgets.HTML(layout={"min_height": "2em"})
        width = min(WIDEST, figure(**self.layout)[0].get_figwidth() * PIXELS_PER_INCH)
        picture = ipywidgets.Image(format="png", layout={"max_width": "100%", "width": f"{width:.0f}px"})

        def redraw(_change=None):
            line.value = "<i>computing ...</i>"
            try:
                values = {name: slider.value for name, slider in sliders.items()}
                result = self.compute(**values)
                picture.value = png(self._drawn(result))
                text = self.summary(result) if self.summary else ", ".join(f"{k} {_text(v)}" for k, v in values.items())
            except Exception as problem:
                self.errors.append(problem)
                line.value = _red(f"{type(problem).__name__}: {problem}")
                raise
            line.value = html.escape(text)

        redraw()
        for slider in sliders.values():
            slider.observe(redraw, names="value")
        heading = ipywidgets.HTML(f"<b>{html.escape(self.title)}</b>")
        box = ipywidgets.VBox([heading, *sliders.values(), line, picture])
        box.controls, box.line, box.picture = sliders, line, picture
        box.add_class("lhcml-explorer")
        return box

    def show(self):
        """Display the live widgets in Jupyter; elsewhere print one line that says why not."""
        if not is_main_process():
            return
        try:
            import ipywidgets  # noqa: F401
        except ModuleNotFoundError as problem:
            if problem.name != "ipywidgets":
                raise
            print("SKIPPED (pip install ipywidgets)")
            return
        if not in_jupyter():
            print(f'(explorer "{self.title}": open this notebook in Jupyter to move its sliders)')
            return
        from IPython.display import display

        display(self.widget())

    def _drawn(self, result):
        fig, axes = figure(**self.layout)
        self.draw(axes, result)
        return fig


def _text(value):
    return f"{value:g}" if isinstance(value, Number) and not isinstance(value, bool) else str(value)


def _red(text):
    return f'<span style="color: #b00020; font-weight: bold">{html.escape(text)}</span>'
