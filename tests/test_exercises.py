"""Each exercise of each tutorial four ways: stub, solution, package's own, and the mistakes it must diagnose."""

import ast
import contextlib
import importlib

import pytest

import lhcml_tutor as lt
from lhcml_tutor.notebooks import sources, student


def exercises():
    """Yield (tutorial, number of the solution cell, name, module of its check)."""
    for key, source in sources.find().items():
        cells = [] if source.is_lecture else [c for c in sources.read(source.text).cells if c.cell_type == "code"]
        for number, cell in enumerate(cells):
            if "solution" in cell.metadata.get("tags", []):
                for name, module in checks_of(cells[number + 1].source if number + 1 < len(cells) else ""):
                    yield pytest.param(key, number, name, module, id=f"{key}-{name}")


def checks_of(cell):
    """Yield the calls lt.checks.<module>.<name>(...) of the cell below a solution."""
    for node in ast.walk(ast.parse(cell)):
        if isinstance(node, ast.Call) and (path := ast.unparse(node.func).split("."))[:2] == ["lt", "checks"]:
            yield path[3], path[2]


EXERCISES = list(exercises())


def check_of(module, name):
    return getattr(importlib.import_module(f"lhcml_tutor.checks.{module}"), name)


def answer(key, number, name, stub):
    """Return the answer of a solution cell, or of its stub, given the imports and functions above it alone."""
    cells = [cell for cell in sources.read(sources.get(key).text).cells if cell.cell_type == "code"]
    names = {"lt": lt}
    for cell in cells[:number]:
        definitions = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef)
        for node in ast.parse(cell.source).body:
            if isinstance(node, definitions):
                with contextlib.suppress(NameError):  # a default value that only a whole run of the notebook has
                    exec(compile(ast.Module([node], []), key, "exec"), names)
    text = cells[number].source
    exec(compile(student.stub(text) if stub else text, key, "exec"), names)
    return names[name]


@pytest.mark.parametrize(("key", "number", "name", "module"), EXERCISES)
def test_stub_is_not_attempted(key, number, name, module, capsys):
    check = check_of(module, name)
    assert check(answer(key, number, name, stub=True)) is check.reference
    assert capsys.readouterr().out.startswith(f"NOT ATTEMPTED  {name}")


@pytest.mark.parametrize(("key", "number", "name", "module"), EXERCISES)
def test_solution_passes(key, number, name, module, capsys):
    solution = answer(key, number, name, stub=False)
    assert check_of(module, name)(solution) is solution
    assert capsys.readouterr().out.startswith(f"PASS  {name}")


@pytest.mark.parametrize(("key", "number", "name", "module"), EXERCISES)
def test_reference_passes(key, number, name, module, capsys):
    check = check_of(module, name)
    check(check.reference)
    assert capsys.readouterr().out.startswith(f"PASS  {name}")


@pytest.mark.parametrize(("key", "number", "name", "module"), EXERCISES)
def test_mistakes_get_their_hints(key, number, name, module, capsys, monkeypatch):
    monkeypatch.setenv("LHCML_STRICT", "0")
    mistakes = importlib.import_module(f"lhcml_tutor.checks.{module}").MISTAKES[name]
    assert len(mistakes) >= 2
    for wrong, hint in mistakes:
        check_of(module, name)(wrong)
        said = capsys.readouterr().out
        assert said.startswith(f"NOT YET  {name}") and hint in said, f"{hint!r} is not in {said!r}"


def test_every_solution_has_a_check():
    """A solution whose next code cell calls no check would be left out above."""
    for key, source in sources.find().items():
        cells = [cell for cell in sources.read(source.text).cells if cell.cell_type == "code"]
        solutions = [number for number, cell in enumerate(cells) if "solution" in cell.metadata.get("tags", [])]
        tested = {param.values[1] for param in EXERCISES if param.values[0] == key}
        assert set(solutions) == tested, f"{key}: code cells {set(solutions) - tested} have no check in the next cell"


def test_every_mistake_belongs_to_an_exercise():
    for module in {param.values[3] for param in EXERCISES}:
        known = {param.values[2] for param in EXERCISES if param.values[3] == module}
        assert set(importlib.import_module(f"lhcml_tutor.checks.{module}").MISTAKES) == known
