"""What must hold for each notebook. A gate takes a source and returns the list of its problems.

They read the stored files and run nothing; `tests/test_gates.py` plants a fault for each of them.
"""

import re

from . import bands as band_rules
from . import build, results
from .execute import MOST_BYTES
from .files import load
from .sources import Problem
from .student import split

CHECKED = "# NBVAL_CHECK_OUTPUT"
FEWEST_CHECKED, LONGEST_CELL, SHORTEST_ALT = 3, 40, 20
# four digits until 2014, five since; archive/YYMMNNN until March 2007
ARXIV = re.compile(
    r"^(?:(?:0[7-9]|1[0-4])(\d\d)\.\d{4}|(?:1[5-9]|[2-8]\d)(\d\d)\.\d{5}|[a-z.-]+/[90]\d(\d\d)\d{3})(?:v\d+)?$", re.I
)
LINK = re.compile(r"\]\(([^)\s#]+)[^)]*\)|(?:href|src)=\"([^\"#]+)[^\"]*\"")


def pair(source) -> list[str]:
    """Source and notebooks agree in type, text and metadata of each cell, outputs aside."""
    problems = []
    for path, wanted in build.expected(source).items():
        stored = load(path)
        if stored is None:
            problems.append(f"{path.name} is missing; run `lhcml build`")
        elif _bare(stored) != _bare(wanted):
            pairs = zip(_bare(stored)["cells"], _bare(wanted)["cells"])
            number = next((i for i, (old, new) in enumerate(pairs, 1) if old != new), "count or header")
            problems.append(f"{path.name} differs from its source (cell {number}); run `lhcml build`")
    return problems


def stale(source) -> list[str]:
    """The outputs of the executed notebook come from the code that its source has now."""
    stored = load(source.complete)
    if stored is None or stored.metadata.get("lhcml", {}).get("code") == source.code:
        return []
    return [f"the outputs of {source.complete.name} come from other code; run `lhcml execute {source.key}`"]


def executed(source) -> list[str]:
    """Each code cell was executed once, from top to bottom: nbval passes over a cell whose count is null."""
    counts = [cell.execution_count for cell in _code(source.complete)]
    if counts == list(range(1, len(counts) + 1)):
        return []
    return [f"execution counts of {source.complete.name} are {counts}; run `lhcml execute {source.key}`"]


def errors(source) -> list[str]:
    """No cell shows an error, nor a verdict that did not pass."""
    problems = []
    for number, output in _outputs(source.complete):
        text = output.get("text", "")
        if output.output_type == "error":
            problems.append(f"output {number} of {source.complete.name} is an error: {output.ename}")
        for line in text.splitlines():
            if line.startswith(("OUTSIDE ", "BLIND ", "NOT YET ", "NOT ATTEMPTED ")):
                problems.append(f"output {number} of {source.complete.name} says {line!r}")
    return problems


def checked(source) -> list[str]:
    """At least three cells are compared by nbval, each has an output to compare, none a picture or a widget."""
    cells = [cell for cell in _code(source.complete) if CHECKED in cell.source]
    problems = []
    if len(cells) < FEWEST_CHECKED:
        problems.append(f"{source.complete.name} has {len(cells)} cells with {CHECKED}, the least is {FEWEST_CHECKED}")
    for cell in cells:
        first = cell.source.removeprefix(CHECKED).strip().partition("\n")[0]
        if not cell.source.startswith(CHECKED) or "explorer" in cell.metadata.get("tags", []):
            problems.append(f"{CHECKED} must be the first line, and not of a cell with an explorer: {first!r}")
        if cell.execution_count and not cell.outputs:
            problems.append(f"the checked cell {first!r} prints nothing, so it cannot fail")
        if any(output.output_type == "display_data" for output in cell.outputs):
            problems.append(f"the checked cell {first!r} shows a picture, which nbval does not compare")
    return problems


def hidden(source) -> list[str]:
    """No line of a solution is left in the student notebook, and nothing has been executed in it."""
    if source.is_lecture:
        return []
    complete = [cell for cell in build.complete(source).cells if cell.cell_type == "code"]
    solutions = [cell for cell in complete if "solution" in cell.metadata.get("tags", [])]
    open_lines = [line for cell in complete if cell not in solutions for line in cell.source.splitlines()]
    cut = set()
    for cell in solutions:
        kept, lines = split(cell.source)
        open_lines += kept.splitlines()
        cut |= {line.strip() for line in lines if len(line.strip()) >= 8}
    count = {line: sum(line in other for other in open_lines) for line in cut}
    stored = _code(source.student)
    lines = [line for cell in stored for line in cell.source.splitlines()]
    problems = [f"{source.student.name} gives away {line!r}" for line in sorted(cut)
                if sum(line in other for other in lines) > count[line]]  # fmt: skip
    if any(cell.outputs or cell.execution_count for cell in stored):
        problems.append(f"{source.student.name} has outputs; run `lhcml build`")
    return problems


def bands(source) -> list[str]:
    """Each band covers what five or more seeds gave, rejects each control, and is at most twice as wide as the rule."""
    try:
        stated = band_rules.stated(source)
    except Problem as problem:
        return [str(problem)]
    problems = []
    for at in ("ci", "laptop", "gpu"):
        entries = band_rules.by_name(results.defaults(source, at), band_rules.floors(source))
        for name, limits in stated.items():
            if limits[at] is not None:
                found = band_rules.judge(name, limits[at], entries.get(name, []))
                problems += [f"{source.key} at {at}: {problem}" for problem in found]
    return problems


def references(source) -> list[str]:
    """Each arXiv number is well-formed."""
    return malformed(source.text, source.path.name)


def malformed(text, name) -> list[str]:
    """Return the malformed arXiv numbers of a text.

    Example:
        >>> malformed("arXiv:1605.08803, arXiv:hep-ph/9605323", "text")
        []
    """
    found = re.findall(r"arxiv(?:\.org/(?:abs|pdf)/|:\s?| )([\w./-]*\d[\w./-]*)", text, re.IGNORECASE)
    problems = []
    for number in found:
        match = ARXIV.match(number.rstrip("./-"))
        if not match or not 1 <= int(match[match.lastindex]) <= 12:
            problems.append(f"{name}: 'arXiv:{number}' is not an arXiv number (YYMM.NNNNN or archive/YYMMNNN)")
    return problems


def figures(source) -> list[str]:
    """Each picture has an alt text, and the notebook has at most 0.4 MB."""
    problems = []
    for number, output in _outputs(source.complete):
        if "image/png" in output.get("data", {}):
            alt = output.metadata.get("image/png", {}).get("alt", "")
            if len(alt) < SHORTEST_ALT:
                problems.append(f"output {number} of {source.complete.name} has no alt text; show it with `lt.show`")
    if source.complete.exists() and (size := source.complete.stat().st_size) > MOST_BYTES:
        problems.append(f"{source.complete.name} has {size / 1e6:.2f} MB, the limit is 0.4 MB")
    return problems


def links(source) -> list[str]:
    """Each Colab badge and each relative link of the stored notebooks points to a file that exists."""
    problems = []
    for path in filter(None, (source.complete, source.student)):
        stored = load(path)
        text = "\n".join(cell.source for cell in stored.cells if cell.cell_type == "markdown") if stored else ""
        problems += broken_links(text, path, source.root)
        if stored and "colab.research.google.com" not in text:
            problems.append(f"{path.name} has no Colab badge")
    return problems


def broken_links(text, path, root) -> list[str]:
    """Return the badges and relative links of a markdown text that lead nowhere.

    Arguments:
        path: file that the text stands in.
        root: the checkout.
    Example:
        >>> from pathlib import Path
        >>> broken_links("[lecture](no_such_file.ipynb)", Path("README.md"), Path())
        ["README.md links to 'no_such_file.ipynb', which does not exist"]
    """
    problems = []
    for target in (a or b for a, b in LINK.findall(text)):
        if badge := re.match(r"https://colab\.research\.google\.com/github/[^/]+/[^/]+/blob/[^/]+/(.+)", target):
            if not (root / badge[1]).is_file():
                problems.append(f"{path.name} has a badge for {badge[1]!r}, which does not exist")
        elif not re.match(r"[a-z]+:", target) and not (path.parent / target).exists():
            problems.append(f"{path.name} links to {target!r}, which does not exist")
    return problems


def cells(source) -> list[str]:
    """No code cell has more than 40 lines, may raise, or asks for the scale with an `if`."""
    problems = []
    for cell in build.complete(source).cells:
        if "raises-exception" in cell.metadata.get("tags", []):
            problems.append(f"{source.key}: the tag raises-exception lets a cell pass that does not raise")
        if cell.cell_type == "code" and "setup" not in cell.metadata.get("tags", []):
            first, lines = cell.source.partition("\n")[0], cell.source.count("\n") + 1
            if lines > LONGEST_CELL:
                problems.append(f"{source.key}: the cell {first!r} has {lines} lines, the limit is {LONGEST_CELL}")
            if re.search(r"\b(scale\s*(==|!=|in\b)|LHCML_SCALE|if CI\b)", cell.source):
                problems.append(f"{source.key}: the cell {first!r} asks for the scale; use scale.pick")
    return problems


GATES = {
    gate.__name__: gate
    for gate in (pair, stale, executed, errors, checked, hidden, bands, references, figures, links, cells)
}


def _bare(notebook):
    header = {
        name: value for name, value in notebook.metadata.get("lhcml", {}).items() if name not in ("code", "scale")
    }
    cells = [(cell.cell_type, cell.source, dict(cell.metadata), cell.get("id")) for cell in notebook.cells]
    return {"cells": cells, "metadata": {**notebook.metadata, "lhcml": header}}


def _code(path):
    stored = load(path)
    return [cell for cell in stored.cells if cell.cell_type == "code"] if stored else []


def _outputs(path):
    return list(enumerate((output for cell in _code(path) for output in cell.outputs), 1))
