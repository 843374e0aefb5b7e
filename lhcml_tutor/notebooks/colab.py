"""What makes a notebook run on Colab: its badge and its set-up cell, built from the repository's one address.

`python -m lhcml_tutor.notebooks.colab simulation` adds an extra and leaves every installed version as it is.
"""

import importlib.metadata
import re
import subprocess
import sys
import tempfile
import tomllib
from functools import cache
from pathlib import Path

from .. import __version__

SETUP = """\
# @title Set-up: fetches the course where it is not installed, as on Colab; elsewhere it does nothing
import importlib.util, os, subprocess, sys

if importlib.util.find_spec("lhcml_tutor") is None:
    source = os.environ.get("LHCML_REPOSITORY", "{repository}")
    clone = ["git", "clone", "--quiet", "--depth=1", "--branch", os.environ.get("LHCML_TAG", "{tag}")]
    try:
        if not os.path.isdir("lhcml-tutor"):
            subprocess.run([*clone, source, "lhcml-tutor"], check=True)
        install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "-e", "lhcml-tutor"]
        subprocess.run(install, check=True)  # --no-deps: what is installed stays as it is
{extras}    except (OSError, subprocess.CalledProcessError) as problem:
        raise RuntimeError(f"no course from {{source}}: check git and the network, then run this again") from problem
    sys.path.insert(0, os.path.abspath("lhcml-tutor"))"""
EXTRAS = """\
        add = [sys.executable, "-m", "lhcml_tutor.notebooks.colab", {names}]
        subprocess.run(add, check=True, cwd="lhcml-tutor")
"""


@cache
def project() -> dict:
    """Return what pyproject.toml says of the repository's address and the extras, or the installed package's metadata.

    Example:
        >>> sorted(project())
        ['extras', 'repository']
    """
    path = Path(__file__).resolve().parents[2] / "pyproject.toml"
    if path.exists():
        table = tomllib.loads(path.read_text(encoding="utf-8"))["project"]
        return {"repository": table["urls"]["Repository"], "extras": table["optional-dependencies"]}
    about = importlib.metadata.metadata("lhcml-tutor")
    urls = dict(url.split(", ", 1) for url in about.get_all("Project-URL"))
    extras = {name: [] for name in about.get_all("Provides-Extra") or []}
    for line in about.get_all("Requires-Dist") or []:
        requirement, _, marker = line.partition(";")
        if named := re.search(r"extra == [\"']([\w-]+)[\"']", marker):
            extras[named[1]].append(requirement.strip())
    return {"repository": urls["Repository"], "extras": extras}


def repository() -> str:
    """Return the address of the repository, [project.urls] Repository of pyproject.toml.

    Example:
        >>> repository().startswith("https://github.com/")
        True
    """
    return project()["repository"].rstrip("/")


def badge(path) -> str:
    """Return the markdown of the badge that opens a notebook on Colab, at the tag of this version.

    Arguments:
        path: of the notebook, relative to the root of the checkout.
    Example:
        >>> "tutorials/01a_amplitude_regression.ipynb" in badge("tutorials/01a_amplitude_regression.ipynb")
        True
    """
    address = repository().removeprefix("https://github.com/")
    image = "https://colab.research.google.com/assets/colab-badge.svg"
    return f"[![Open in Colab]({image})](https://colab.research.google.com/github/{address}/blob/v{__version__}/{path})"


def setup_cell(notebook_id, extras) -> str:
    """Return the code of the set-up cell of one notebook.

    It clones the repository at the tag of this version, so that `data/` comes along, and installs it beside what is
    there. LHCML_REPOSITORY and LHCML_TAG name another source.

    Arguments:
        notebook_id: as in "01a", for the message about an extra that is none.
        extras: names of the extras in pyproject.toml that the notebook uses.
    Raises:
        ValueError: an extra that pyproject.toml does not have.
    Example:
        >>> "git" in setup_cell("01a", [])
        True
    """
    for name in extras:
        if name not in project()["extras"]:
            known = ", ".join(project()["extras"])
            raise ValueError(f"notebook {notebook_id} asks for the extra {name!r}; pyproject.toml has: {known}")
    names = ", ".join(f'"{name}"' for name in extras)
    return SETUP.format(
        repository=repository(), tag=f"v{__version__}", extras=EXTRAS.format(names=names) if extras else ""
    )


def requirements(extra) -> list[str]:
    """Return what an extra asks for, extras of extras included.

    Example:
        >>> requirements("download")[0].startswith("pooch")
        True
    """
    found = []
    for requirement in project()["extras"][extra]:
        inner = re.match(r"lhcml-tutor\[([\w,-]+)\]", requirement)
        found += [line for name in inner[1].split(",") for line in requirements(name)] if inner else [requirement]
    return found


def install_extras(names) -> None:
    """Install extras; whatever is installed keeps its version.

    Raises:
        SystemExit: pip could not; the message holds what pip said.
    Example:
        >>> install_extras([])
    """
    wanted = [requirement for name in names for requirement in requirements(name)]
    if not wanted:
        return
    pip = [sys.executable, "-m", "pip"]
    installed = subprocess.run([*pip, "list", "--format=freeze"], check=True, capture_output=True, text=True).stdout
    with tempfile.TemporaryDirectory() as folder:
        keep = Path(folder) / "installed.txt"
        keep.write_text(installed, encoding="utf-8")
        ran = subprocess.run([*pip, "install", "-c", str(keep), *wanted], capture_output=True, text=True)
    if ran.returncode:
        print(ran.stdout, ran.stderr, sep="\n", file=sys.stderr)
        sys.exit(f"pip could not install {', '.join(wanted)} beside what is installed; nothing was changed")


if __name__ == "__main__":
    install_extras(sys.argv[1:])
