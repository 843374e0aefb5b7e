"""The floors of the package: a module imports only what stands above it. Outside libraries are core or local."""

import ast
import io
import sys
import tokenize
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "lhcml_tutor"
FLOORS = [
    ["scale", "kinematics"],
    ["extras", "layers", "likelihoods", "bijections"],
    ["physics", "datasets"],
    ["training", "metrics", "judges", "calibration", "classification", "ensembles"],
    ["flows", "flow_matching", "diffusion", "gan", "transformers", "taggers", "lorentz"],
    ["unfolding", "matrix_element_method", "integration", "explain"],
    ["plots", "explorers"],
    ["checks", "notebooks", "doctor", "data_commands", "commands", "cli", "__main__"],
]
ORDER = [name for floor in FLOORS for name in floor]
CORE = {"torch", "numpy", "scipy", "sklearn", "matplotlib", "tqdm", "typer"}
STANDARD_LIBRARY_ONLY = ["doctor", "cli", "scale"]
FILES = sorted(PACKAGE.rglob("*.py"))
LONGEST_FILE = 300
MOST_LINES_OF_CODE = 12_000  # tools, training, plots and two chapters take 4,400; the course will have fifteen chapters


def names_of(path):
    """Return the module a file belongs to ("checks") and its place for relative imports (["checks", "verdicts"])."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return parts[0], list(parts)


def imports(tree, place, is_package=False):
    """Yield (line, module of the package or None, outside module or None, whether at the top of the file)."""
    top = set(map(id, tree.body))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, None, alias.name.split(".")[0], id(node) in top
        elif isinstance(node, ast.ImportFrom):
            if not node.level:
                yield node.lineno, None, node.module.split(".")[0], id(node) in top
                continue
            base = place[: len(place) - node.level + is_package]
            path = base + (node.module.split(".") if node.module else [])
            for alias in node.names:
                target = path or [alias.name]
                if target[0] in ORDER:
                    yield node.lineno, target[0], None, id(node) in top


def faults(text, place, is_package=False):
    """Return what the imports of one file break."""
    found, here = [], place[0]
    for line, inside, outside, at_top in imports(ast.parse(text), place, is_package):
        if inside and inside != here and ORDER.index(inside) > ORDER.index(here):
            found.append(f"line {line}: {here} imports {inside}, which stands below it")
        if outside and at_top and outside not in CORE | sys.stdlib_module_names | {"lhcml_tutor"}:
            found.append(f"line {line}: {outside} is an extra; import it where it is used")
        if outside and at_top and here in STANDARD_LIBRARY_ONLY and outside not in sys.stdlib_module_names:
            found.append(f"line {line}: {here} needs the standard library alone, and imports {outside}")
        if outside == "lhcml_tutor" or (inside and here == "doctor"):
            found.append(f"line {line}: {here} must not import the package")
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_imports_only_what_stands_above(path):
    here, place = names_of(path)
    if here != "__init__":
        assert here in ORDER, f"{here} has no place in the order of modules"
        is_package = path.name == "__init__.py"
        problems = faults(path.read_text(), place[:-1] if is_package else place, is_package)
        assert not problems, "\n".join(problems)


@pytest.mark.parametrize(
    ("text", "place", "said"),
    [
        ("from ..plots import histogram", ["physics", "phase_space"], "physics imports plots"),
        ("from .. import plots", ["physics", "phase_space"], "physics imports plots"),
        ("def f():\n    from . import checks", ["training"], "training imports checks"),
        ("from .kinematics import pt", ["scale"], "scale imports kinematics"),
        ("import pooch", ["datasets", "storage"], "pooch is an extra"),
        ("import numpy", ["doctor"], "standard library alone"),
        ("from . import scale", ["doctor"], "must not import the package"),
    ],
)
def test_a_planted_import_is_found(text, place, said):
    assert any(said in problem for problem in faults(text, place))


def test_allowed_imports_are_allowed():
    assert faults("import torch\nfrom ..scale import device\nfrom .verdicts import verdict", ["checks", "toy"]) == []
    assert faults("def f():\n    import pooch", ["datasets", "storage"]) == []
    assert faults("from .verdicts import verdict", ["checks"], is_package=True) == []


def test_no_file_is_too_long_or_named_utils():
    lengths = {path.relative_to(PACKAGE).as_posix(): len(path.read_text().splitlines()) for path in FILES}
    assert not {name: length for name, length in lengths.items() if length > LONGEST_FILE}
    assert not [name for name in lengths if name.endswith("utils.py")]


def test_the_package_stays_small():
    total = sum(lines_of_code(path.read_text()) for path in FILES if path.parent.name != "checks")
    assert total <= MOST_LINES_OF_CODE, f"the package has {total} lines of code without checks/"
    assert (
        lines_of_code('"""Text."""\n\n# why\nx = 1\n\ndef f():\n    """Text.\n\n    More.\n    """\n    return 1\n')
        == 3
    )


def lines_of_code(text):
    """Count lines without docstrings, comments and blank lines."""
    lines = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT):
            lines |= set(range(token.start[0], token.end[0] + 1)) if token.string else set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            lines -= set(range(node.lineno, node.end_lineno + 1))
    return len(lines)


def test_importing_the_package_loads_nothing_heavy():
    import subprocess

    code = (
        "import sys, lhcml_tutor, lhcml_tutor.cli; print([m for m in ('torch', 'numpy', 'typer') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"
