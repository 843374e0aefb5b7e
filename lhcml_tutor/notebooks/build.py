"""From source to notebook: lectures/*.ipynb, tutorials/*.ipynb for students, tutorials/solutions/*.ipynb.

Only the sources are edited. Outputs of an existing notebook stay as long as its code has not changed.
"""

import hashlib
import posixpath
import re
from pathlib import Path

from . import colab, data_readme, readme
from .files import dump, load, write_text
from .sources import find, read
from .student import stub

LINK = re.compile(r"(\]\(|(?:href|src)=\")(?![a-z]+:|#|/)([^)\s\"]+)")
CELL_METADATA = ("tags", "cellView", "slideshow")
KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}


def complete(source):
    """Return the notebook of a source, solutions included, without outputs.

    Arguments:
        source: from `sources.get`.
    Returns:
        nbformat notebook; its metadata `lhcml.code` is the hash of the code.
    """
    cells = read(source.text).cells
    if source.student:  # it stands one folder deeper than its source, and so do its links
        for cell in cells:
            if cell.cell_type == "markdown":
                cell.source = LINK.sub(lambda link: f"{link[1]}{_from_solutions(link[2])}", cell.source)
    return _finish(source, cells, code=source.code)


def student(source):
    """Return the student notebook of a tutorial: solutions replaced by stubs, no outputs."""
    cells = read(source.text).cells
    for cell in cells:
        if "solution" in cell.metadata.get("tags", []):
            cell.source = stub(cell.source)
            cell.metadata["tags"] = ["exercise" if tag == "solution" else tag for tag in cell.metadata["tags"]]
    return _finish(source, cells)


def expected(source):
    """Return {path: notebook} of what is built from one source, kept outputs included."""
    notebooks = {source.complete: keep_outputs(complete(source), load(source.complete))}
    if source.student:
        notebooks[source.student] = student(source)
    return notebooks


def keep_outputs(notebook, old):
    """Copy the outputs of an older notebook, cell by cell, if it has the same code; return the notebook.

    Example:
        >>> keep_outputs("new", None)
        'new'
    """
    if not old or old.metadata.get("lhcml", {}).get("code") != notebook.metadata["lhcml"]["code"]:
        return notebook
    new_cells, old_cells = ([cell for cell in nb.cells if cell.cell_type == "code"] for nb in (notebook, old))
    if len(new_cells) == len(old_cells):
        for new, before in zip(new_cells, old_cells):
            new.outputs, new.execution_count = before.outputs, before.execution_count
        if scale := old.metadata["lhcml"].get("scale"):
            notebook.metadata["lhcml"]["scale"] = scale
    return notebook


def build(at=None) -> list[Path]:
    """Write what has changed: every notebook, the tables of README.md, and data/README.md. Return the files written.

    Example:
        >>> build("/no such folder")
        []
    """
    written = []
    for path, text in _wanted(at):
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            write_text(path, text)
            written.append(path)
    return written


def drifted(at=None) -> list[str]:
    """Return a line for each file that `build` would write, and for each notebook that has no source.

    Example:
        >>> drifted("/no such folder")
        []
    """
    problems, known = [], set()
    for path, text in _wanted(at):
        known.add(path)
        if not path.exists():
            problems.append(f"{path} is missing; run `lhcml build`")
        elif path.read_text(encoding="utf-8") != text:
            problems.append(f"{path} differs from its source; run `lhcml build`")
    sources = find(at).values()
    for folder in {source.root for source in sources}:
        problems += data_readme.missing(folder)
        for pattern in ("lectures/*.ipynb", "tutorials/*.ipynb", "tutorials/solutions/*.ipynb"):
            strays = sorted(set(folder.glob(pattern)) - known)
            problems += [f"{path} has no source (.py) beside it; remove it" for path in strays]
    return problems


def _wanted(at):
    sources = find(at)
    for source in sources.values():
        for path, notebook in expected(source).items():
            yield path, dump(notebook)
    for source in list(sources.values())[:1]:
        path = source.root / "README.md"
        if path.exists():
            yield path, readme.filled(path.read_text(encoding="utf-8"), sources)
        yield from data_readme.expected(source.root).items()


def _from_solutions(target):
    path, hash_, anchor = target.partition("#")
    return posixpath.relpath(posixpath.join("tutorials", path), "tutorials/solutions") + hash_ + anchor


def _finish(source, cells, **extra):
    import nbformat

    cells = list(cells)
    title, newline, rest = cells[0].source.partition("\n")
    cells[0].source = f"{title}\n\n{colab.badge(source.opened)}\n{newline}{rest.lstrip(chr(10))}".rstrip("\n")
    setup = nbformat.v4.new_code_cell(colab.setup_cell(source.key, source.header["extras"]))
    setup.metadata.update(tags=["setup"], cellView="form")
    if source.is_lecture:
        setup.metadata["slideshow"] = {"slide_type": "skip"}
    cells.insert(1, setup)
    for cell in cells:
        cell.metadata = {name: cell.metadata[name] for name in CELL_METADATA if name in cell.metadata}
    header = source.header
    kept = {"title": header["title"], "kind": header["kind"], "extras": header["extras"], "minutes": header["minutes"]}
    metadata = {"kernelspec": KERNEL, "language_info": {"name": "python"}}
    if header["gpu"]:
        metadata |= {"accelerator": "GPU", "colab": {"gpuType": "T4"}}
    metadata["lhcml"] = {"id": source.key, **kept, **extra}
    notebook = nbformat.v4.new_notebook(metadata=metadata, cells=cells)
    notebook.nbformat_minor = 5
    seen = {}
    for cell in cells:
        text = f"{source.key}\n{cell.cell_type}\n{cell.source}"
        seen[text] = seen.get(text, 0) + 1
        cell.id = hashlib.sha256(f"{text}\n{seen[text]}".encode()).hexdigest()[:8]
    return notebook
