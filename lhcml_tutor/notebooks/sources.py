"""The sources of the notebooks: where they stand, what their headers say, and the hash of their code.

A source is a py:percent file in lectures/ or tutorials/. What only needs its text (finding it, its code cells,
their hash) works with the standard library alone, so that `lhcml run` needs no Jupyter.
"""

import ast
import hashlib
import os
import re
from copy import deepcopy
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

from ..scale import _like as like

FOLDERS = ("lectures", "tutorials")
MARKER = re.compile(r"^# %%(?P<title>[^\[{=]*?)(?P<kind>\s\[(?:markdown|md|raw)\])?(?P<metadata>\s.*)?$")
JUDGES = ("ci", "laptop", "gpu", "floor", "control")  # of a verdict: what judges its number, not what makes it


class Problem(ValueError):
    """Something the reader of the message can put right; `lhcml` prints it without a traceback.

    Example:
        >>> raise Problem("no notebook '99z'; known are 00, 01a")
        Traceback (most recent call last):
        lhcml_tutor.notebooks.sources.Problem: no notebook '99z'; known are 00, 01a
    """


@dataclass(frozen=True)
class Source:
    """One source file and the notebooks that are built from it.

    Example:
        >>> source = Source("01a", Path("course/tutorials/01a_amplitude_regression.py"), Path("course"))
        >>> source.complete.as_posix(), source.student.as_posix()   # doctest: +NORMALIZE_WHITESPACE
        ('course/tutorials/solutions/01a_amplitude_regression.ipynb',
         'course/tutorials/01a_amplitude_regression.ipynb')
    """

    key: str
    path: Path
    root: Path

    @property
    def is_lecture(self):
        """Tell a lecture from a tutorial."""
        return self.path.parent.name == "lectures"

    @property
    def complete(self):
        """Path of the notebook that is executed: with solutions and outputs."""
        folder = self.path.parent if self.is_lecture else self.path.parent / "solutions"
        return folder / f"{self.path.stem}.ipynb"

    @property
    def student(self):
        """Path of the student notebook; None for a lecture, which has nothing to hide."""
        return None if self.is_lecture else self.path.with_suffix(".ipynb")

    @property
    def opened(self):
        """Path of the notebook that badges open, relative to the root."""
        return (self.student or self.complete).relative_to(self.root).as_posix()

    @cached_property
    def text(self):
        """The source itself."""
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def header(self):
        """The entries under `lhcml` in the header: title, kind, extras, gpu, minutes."""
        header = read(self.text).metadata.get("lhcml", {})
        kind = "lecture" if self.is_lecture else "tutorial"
        if header.get("kind") != kind or not header.get("title") or not isinstance(header.get("minutes"), dict):
            wanted = '{title: "...", kind: ' + kind + ", extras: [], gpu: false, minutes: {laptop: 1, gpu: 1}}"
            raise Problem(f"{self.path.relative_to(self.root)}: its header needs a line `lhcml: {wanted}`")
        return {"extras": [], "gpu": False, **header}

    @cached_property
    def code(self):
        """Hash of the code cells, see `code_hash`."""
        return code_hash(self.text)


def root() -> Path:
    """Return the checkout that is worked on: LHCML_ROOT, the one this package stands in, or the working folder.

    Example:
        >>> root().is_dir()
        True
    """
    checkout = Path(__file__).resolve().parents[2]
    chosen = os.environ.get("LHCML_ROOT") or (checkout if (checkout / "pyproject.toml").exists() else Path.cwd())
    return Path(chosen).resolve()


def find(at=None) -> dict[str, Source]:
    """Return every source under a checkout by its identifier, in the order of the course: L00, 00, L01, 01a.

    Example:
        >>> find("/no such folder")
        {}
    """
    at = Path(at).resolve() if at else root()
    found = {}
    for folder in FOLDERS:
        for path in sorted((at / folder).glob("[0-9][0-9]*_*.py")):
            key = path.stem.split("_")[0]
            found[f"L{key}" if folder == "lectures" else key] = path
    order = sorted(found, key=lambda key: (key.lstrip("L")[:2], not key.startswith("L"), key))
    return {key: Source(key, found[key], at) for key in order}


def get(key, at=None) -> Source:
    """Return one source by its identifier or the name of its file.

    Raises:
        Problem: there is none; the message lists those there are.
    Example:
        >>> get("01a", "/none")
        Traceback (most recent call last):
        lhcml_tutor.notebooks.sources.Problem: no notebook '01a'; there are none in /none/lectures or tutorials
    """
    found = find(at)
    for name, source in found.items():
        if str(key).lower() == name.lower() or Path(key).stem == source.path.stem:
            return source
    at = Path(at) if at else root()
    known = f"known are {', '.join(found)}" if found else f"there are none in {at}/lectures or tutorials"
    raise Problem(f"no notebook {str(key)!r}; {known}")


def read(text):
    """Return a py:percent text as a notebook (nbformat), as jupytext reads it.

    Example:
        >>> [cell.cell_type for cell in read("# %% [markdown]\\n# # Title\\n\\n# %%\\nx = 1\\n").cells]
        ['markdown', 'code']
    """
    return deepcopy(_read(text))


@cache
def _read(text):
    try:
        import jupytext
    except ModuleNotFoundError:
        raise Problem("this needs jupytext; install it with `pip install 'lhcml-tutor[notebooks]'`") from None
    return jupytext.reads(text, fmt="py:percent")


def code_cells(text) -> list[str]:
    """Return the code cells of a py:percent text.

    Example:
        >>> code_cells("# %% [markdown]\\n# Title\\n\\n# %% tags=[\\"solution\\"]\\nx = 1\\n\\n# %%\\ny = 2\\n")
        ['x = 1', 'y = 2']
    """
    cells, current = [], None
    for line in text.splitlines():
        if marker := MARKER.match(line):
            current = None if marker["kind"] else []
            if current is not None:
                cells.append(current)
        elif current is not None:
            current.append(line)
    return [cell for cell in ("\n".join(lines).strip("\n") for lines in cells) if cell.strip()]


def code_hash(text) -> str:
    """Return 16 hexadecimal digits that change with any code cell of a py:percent text.

    Prose, comments and layout do not count, nor do bands and controls of verdicts: setting a band after its runs
    leaves their numbers valid. What a control gave is recorded with each run, and a band is held to that.

    Example:
        >>> one = code_hash('# %%\\nlt.verdict("width", w, ci=(0, 1), laptop=(0, 1), gpu=None)')
        >>> one == code_hash('# %%\\nlt.verdict("width", w, ci=(0, 2), laptop=(0, 3), gpu=(1, 2))')
        True
        >>> one == code_hash('# %%\\nlt.verdict("width", v, ci=(0, 1), laptop=(0, 1), gpu=None)')
        False
    """
    joined = "\n# %%\n".join(_without_judges(cell) for cell in code_cells(text))
    return hashlib.sha256(joined.encode()).hexdigest()[:16]


def verdict_calls(cell) -> list[ast.Call]:
    """Return the calls of `verdict` in a code cell; none where it is not plain Python.

    Example:
        >>> [call.args[0].value for call in verdict_calls('lt.verdict("width", w, ci=(0, 1), laptop=(0, 1), gpu=None)')]
        ['width']
    """
    return _calls(cell, "verdict")


def parameters_of(text) -> dict:
    """Return the parameters of a source with the default each has at scale ci; None where it is not a plain number.

    Example:
        >>> parameters_of("# %%\\np = lt.parameters(n=scale.pick(ci=10, laptop=20, gpu=30), coordinates='mass')")
        {'seed': 1, 'n': 10, 'coordinates': 'mass'}
    """
    found = {"seed": 1}
    for cell in code_cells(text):
        for call in _calls(cell, "parameters"):
            for word in call.keywords:
                picked = [part.value for part in getattr(word.value, "keywords", []) if part.arg == "ci"]
                try:
                    found[word.arg] = ast.literal_eval(picked[0] if picked else word.value)
                except ValueError:
                    found[word.arg] = None
    return found


def check_parameters(source, chosen) -> None:
    """Demand that a notebook has the parameters chosen for it, and that their values are of the right type.

    Raises:
        Problem: it has not, or they are not.
    Example:
        >>> check_parameters(Source("01a", Path("tutorials/01a.py"), Path()), {})
    """
    known = parameters_of(source.text) if chosen else {}
    for name, value in chosen.items():
        if name not in known:
            raise Problem(f"{source.key} has no parameter {name!r}; it has: {', '.join(known)}")
        if known[name] is not None:
            try:
                like(known[name], value, name)
            except ValueError as error:
                raise Problem(f"{source.key}: {error}") from None


def _calls(cell, name):
    try:
        tree = ast.parse(cell)
    except SyntaxError:  # a cell with a magic
        return []
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return [call for call in calls if getattr(call.func, "attr", getattr(call.func, "id", "")) == name]


def _without_judges(cell):
    """Return a cell without comments, layout and what judges its verdicts; as it stands if it is not plain Python."""
    try:
        tree = ast.parse(cell)
    except SyntaxError:
        return cell
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) == "verdict":
            node.keywords = [word for word in node.keywords if word.arg not in JUDGES]
    return ast.unparse(tree)
