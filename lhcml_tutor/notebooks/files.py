"""The files that are written: notebooks, texts, and the folder of records."""

import os
from pathlib import Path


def load(path):
    """Return a stored notebook, or None where there is none.

    Example:
        >>> load("no such notebook.ipynb")
    """
    import nbformat

    return nbformat.read(path, as_version=4) if Path(path).exists() else None


def dump(notebook) -> str:
    """Return the text of a notebook, the same for the same content.

    Example:
        >>> import nbformat
        >>> dump(nbformat.v4.new_notebook()).startswith("{")
        True
    """
    import nbformat

    return nbformat.writes(notebook).rstrip("\n") + "\n"


def write_text(path, text) -> None:
    """Write a file at once, so that an interruption leaves the old one.

    Example:
        >>> import tempfile
        >>> folder = tempfile.TemporaryDirectory()
        >>> write_text(Path(folder.name) / "new" / "file.txt", "text")
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    part.write_text(text, encoding="utf-8", newline="\n")
    part.replace(path)


def runs_folder(root) -> Path:
    """Return the folder of the records of runs: LHCML_RUNS, else runs/ of the checkout.

    Example:
        >>> runs_folder("course").name != ""
        True
    """
    return Path(os.environ.get("LHCML_RUNS") or Path(root) / "runs")
