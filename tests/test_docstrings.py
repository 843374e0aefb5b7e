"""Docstrings of the package: each public function and class says what it does and shows an example that runs."""

import ast
import doctest
import importlib
import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "lhcml_tutor"
FILES = sorted(path for path in PACKAGE.rglob("*.py") if path.name != "__main__.py")
# modules whose functions take tensors, so that a reader needs their shapes
WITH_SHAPES = re.compile(
    r"^(kinematics|layers|bijections/.*|likelihoods|physics/.*|metrics|judges|calibration|ensembles|flows"
    r"|flow_matching/.*|diffusion|classification|taggers/.*|explain/(?!expressions).*)\.py$"
)


def name_of(path):
    return path.relative_to(PACKAGE).as_posix()


def definitions(tree):
    """Return the functions and classes of a module whose names are not private."""
    kinds = (ast.FunctionDef, ast.ClassDef)
    return [node for node in tree.body if isinstance(node, kinds) and not node.name.startswith("_")]


def offered(path):
    """Return the names that a folder's __init__ offers to readers; None: a module of its own offers all it has."""
    if path.parent == PACKAGE:
        return None
    folder = importlib.import_module(".".join(("lhcml_tutor", *path.parent.relative_to(PACKAGE).parts)))
    return set(getattr(folder, "__all__", ()))


def faults(text, name, names=None):
    """Return what the docstrings of one module lack."""
    found, tree = [], ast.parse(text)
    if not ast.get_docstring(tree):
        found.append("the module has no docstring")
    for node in definitions(tree):
        doc = ast.get_docstring(node) or ""
        if not doc.partition("\n\n")[0].rstrip().endswith((".", ":")):
            found.append(f"{node.name}: its docstring must start with a sentence")
        if (names is None or node.name in names) and not _only_holds(node):
            found += _gaps(node, doc, name)
    return found


def _gaps(node, doc, name):
    if not re.search("Example: lhcml " if name.endswith("commands.py") else r"Examples?:\n\s+>>> ", doc):
        yield f"{node.name}: its docstring has no Example that runs"
    if WITH_SHAPES.match(name) and _arguments(node) and not re.search(r"Shapes:|shape|\((\.\.\.|n|d)\b", doc):
        yield f"{node.name}: its docstring does not state the Shapes"


def _arguments(node):
    if isinstance(node, ast.ClassDef):
        return [
            part for part in node.body if isinstance(part, ast.FunctionDef) and part.name in ("forward", "__call__")
        ]
    return node.args.posonlyargs + node.args.args + node.args.kwonlyargs


def _only_holds(node):
    """Tell an exception or a record of fields, which has nothing to show."""
    if not isinstance(node, ast.ClassDef):
        return False
    is_error = any(ast.unparse(base).endswith(("Error", "Exception")) for base in node.bases)
    return is_error or not any(isinstance(part, ast.FunctionDef) for part in node.body)


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_docstrings_are_complete(path):
    problems = faults(path.read_text(), name_of(path), offered(path))
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_examples_run(path, monkeypatch):
    monkeypatch.setenv("LHCML_STRICT", "0")  # examples also show what is not a PASS
    name = ".".join(("lhcml_tutor", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")
    module = importlib.import_module(name)
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    said = []
    runner = doctest.DocTestRunner(optionflags=flags)
    for test in doctest.DocTestFinder(exclude_empty=True).find(module, name):
        runner.run(test, out=said.append, clear_globs=True)
    assert not runner.failures, "".join(said)


@pytest.mark.parametrize(
    ("text", "name", "said"),
    [
        ("def f(x):\n    pass", "metrics.py", "a sentence"),
        ('"""M."""\ndef f(x):\n    """Return x, shape (n,)."""', "metrics.py", "no Example"),
        ('"""M."""\ndef f(x):\n    """Return x.\n\n    Example:\n        >>> f(1)\n    """', "metrics.py", "Shapes"),
        ("def f(x):\n    pass", "plots/a.py", "the module has no docstring"),
    ],
)
def test_a_planted_gap_is_found(text, name, said):
    assert any(said in problem for problem in faults(text, name))


def test_a_planted_wrong_example_is_found():
    test = doctest.DocTestParser().get_doctest(">>> 1 + 1\n3\n", {}, "planted", None, 0)
    runner = doctest.DocTestRunner()
    runner.run(test, out=lambda _: None)
    assert runner.failures == 1
