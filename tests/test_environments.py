"""The course where little is installed: with the core alone, and on Colab.

Both environments are made without network: a new virtual environment whose packages are links to the ones here.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import lhcml_tutor as lt
from lhcml_tutor.notebooks import colab, sources

ROOT = Path(__file__).parents[1]
CORE = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
COLAB = [*CORE, "ipywidgets", "ipykernel", "pip", "setuptools"]
TINY = {"n_": 2000, "steps": 60, "draws": 4, "batch": 256, "width": 64}  # by the beginning of a parameter's name
STUDENT = sorted(ROOT.glob("tutorials/[0-9]*.ipynb"))
OFFLINE = {"PIP_NO_INDEX": "1", "PIP_NO_BUILD_ISOLATION": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
VERSIONS = "import importlib.metadata as m, json; print(json.dumps({d.name: d.version for d in m.distributions()}))"


def closure(requirements):
    """Return the installed distributions that requirements ask for, and what those ask for: name -> distribution."""
    found, waiting = {}, [Requirement(text) for text in requirements]
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        if name in found:
            continue
        found[name] = distribution(name)
        for inner in map(Requirement, found[name].requires or []):
            extras = requirement.extras or {""}
            if inner.marker is None or any(inner.marker.evaluate({"extra": extra}) for extra in extras):
                waiting.append(inner)
    return found


def environment(folder, requirements):
    """Make a virtual environment that has these requirements, by links, and nothing else; return its Python."""
    venv.create(folder, symlinks=True, with_pip=False)
    (site,) = folder.glob("lib/python3*/site-packages")
    for found in closure(requirements).values():
        tops = {file.parts[0] for file in found.files} - {"..", "__pycache__"}
        for top in tops:
            if not (site / top).exists():
                (site / top).symlink_to(Path(found.locate_file(top)).resolve())
    return folder / "bin" / "python"


def run(python, *arguments, cwd, check=True, timeout=300, **variables):
    """Run a Python with the settings of tests, and nothing of the caller's own Python; return what it said."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("LHCML_", "PYTHON", "JPY_"))}
    folders = {f"LHCML_{name}": str(Path(cwd) / name.lower()) for name in ("RUNS", "FIGURES", "CACHE")}
    settings = {"OMP_NUM_THREADS": "1", "LHCML_SCALE": "ci", "LHCML_STRICT": "1", "MPLBACKEND": "agg"}
    command = [str(python), *map(str, arguments)]
    ran = subprocess.run(
        command, cwd=cwd, env=clean | settings | folders | variables, capture_output=True, text=True, timeout=timeout
    )
    assert not check or ran.returncode == 0, ran.stdout[-2000:] + ran.stderr[-4000:]
    return ran


@pytest.fixture(scope="module")
def core(tmp_path_factory):
    """A Python with the core dependencies and this checkout."""
    folder = tmp_path_factory.mktemp("core only")
    python = environment(folder / "environment", CORE)
    (site,) = folder.glob("environment/lib/python3*/site-packages")
    (site / "course.pth").write_text(f"{ROOT}\n")
    return python


def test_core_has_nothing_else(core, tmp_path):
    for name in ("IPython", "ipywidgets", "jupytext", "nbformat", "pooch", "pandas", "pythia8mc", "pytest"):
        assert "ModuleNotFoundError" in run(core, "-c", f"import {name}", cwd=tmp_path, check=False).stderr, name


@pytest.mark.parametrize("source", sources.find().values(), ids=lambda source: source.key)
def test_source_runs_as_a_plain_script_with_the_core_alone(core, source, tmp_path):
    """At ci scale; where there are settings for a GPU at these, made small: no GPU is needed to run them to the end."""
    small = {"LHCML_SCALE": "ci"}
    if source.header.get("gpu"):
        names = sources.parameters_of(source.text)
        tiny = {name: size for name in names for beginning, size in TINY.items() if name.startswith(beginning)}
        assert tiny, "nothing to make smaller"
        small = {"LHCML_SCALE": "gpu", "LHCML_PARAMETERS": json.dumps(tiny)}
    said = run(core, source.path, cwd=tmp_path, **small).stdout
    assert not re.findall(r"^(?:OUTSIDE|BLIND|NOT YET(?! MEASURED)|NOT ATTEMPTED) .*", said, re.MULTILINE)
    if "lt.verdict(" in source.text:
        assert re.search(r"^(?:PASS|NOT YET MEASURED) ", said, re.MULTILINE), said[-3000:]
    pictures = list((tmp_path / "figures").rglob("*.png"))
    assert pictures and all(picture.read_bytes()[:4] == b"\x89PNG" for picture in pictures)
    if "explorer.show()" in source.text:
        assert re.search(r"^SKIPPED .*pip install", said, re.MULTILINE), said[-3000:]


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """A repository of this checkout as it stands, committed and tagged; return its address."""
    folder = tmp_path_factory.mktemp("repository") / "the course"
    folder.mkdir()
    listing = ["git", "-C", ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, check=True, capture_output=True, text=True, timeout=60).stdout
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
    git = ["git", "-C", folder, "-c", "user.name=test", "-c", "user.email=test@example.org"]
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "test"], ["tag", f"v{lt.__version__}"]):
        subprocess.run([*git, *words], check=True, timeout=60)
    return folder.as_uri()


@pytest.fixture(scope="module")
def basics(tmp_path_factory):
    """A Python with what Colab has, before anybody set anything up."""
    return environment(tmp_path_factory.mktemp("colab") / "environment", COLAB)


@pytest.fixture(scope="module")
def setup_cell():
    """The code of the set-up cell of a built student notebook."""
    cells = json.loads(STUDENT[0].read_text())["cells"]
    (cell,) = [cell for cell in cells if "setup" in cell["metadata"].get("tags", [])]
    return "".join(cell["source"])


def versions(python, cwd):
    return json.loads(run(python, "-c", VERSIONS, cwd=cwd).stdout)


def test_every_set_up_cell_is_short_and_harmless_here(tmp_path):
    for notebook in STUDENT:
        key = notebook.stem.split("_")[0]
        extras = json.loads(notebook.read_text())["metadata"]["lhcml"]["extras"]
        code = colab.setup_cell(key, extras)
        assert len(code.splitlines()) <= 16
        run(sys.executable, "-c", code, cwd=tmp_path, LHCML_REPOSITORY="file:///nowhere", PYTHONPATH=str(ROOT))
    assert not (tmp_path / "lhcml-tutor").exists()


def test_extra_that_does_not_exist_is_named():
    with pytest.raises(ValueError, match=r"notebook 01a asks for the extra 'pythia'; pyproject.toml has: notebooks"):
        colab.setup_cell("01a", ["pythia"])


def test_set_up_cell_says_what_is_missing(basics, setup_cell, tmp_path):
    for variables in ({"LHCML_REPOSITORY": "file:///nowhere"}, {"PATH": str(tmp_path)}, {"LHCML_TAG": "v0.0.0"}):
        settings = {"LHCML_REPOSITORY": ROOT.as_uri()} | variables
        ran = run(basics, "-c", setup_cell, cwd=tmp_path, check=False, **settings)
        assert ran.returncode == 1
        assert "check git and the network, then run this again" in ran.stderr.splitlines()[-1]


def test_set_up_cell_on_colab(basics, setup_cell, repository, tmp_path):
    before = versions(basics, tmp_path)
    assert "lhcml-tutor" not in before
    use = "\nimport lhcml_tutor as lt\nprint(lt.__file__, len(lt.datasets.load_first_events('z_mumu')))"
    said = run(basics, "-c", setup_cell + use, cwd=tmp_path, LHCML_REPOSITORY=repository, **OFFLINE).stdout
    assert str(tmp_path / "lhcml-tutor" / "lhcml_tutor" / "__init__.py") in said
    assert "committed with the course" in said
    after = versions(basics, tmp_path)
    assert after.pop("lhcml-tutor") == lt.__version__
    assert after == before, "nothing that was installed may change its version"
    again = run(basics, "-c", setup_cell + use, cwd=tmp_path.parent, LHCML_REPOSITORY="file:///nowhere").stdout
    assert again == said, "after a restart, or run twice, it does nothing"


def wheel(folder, name, version, *requires):
    """Write a wheel that holds nothing."""
    about = f"{name}-{version}.dist-info"
    lines = [
        f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}",
        *(f"Requires-Dist: {line}" for line in requires),
    ]
    members = {
        f"{about}/METADATA": "\n".join(lines) + "\n",
        f"{about}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        for member, text in members.items():
            archive.writestr(member, text)
        archive.writestr(f"{about}/RECORD", "".join(f"{member},,\n" for member in [*members, f"{about}/RECORD"]))


def test_extras_leave_every_installed_version(basics, tmp_path):
    wheel(tmp_path, "modest", "1.0", "numpy>=2.0")
    wheel(tmp_path, "greedy", "1.0", "tqdm>=99")
    wheel(tmp_path, "tqdm", "99.0")
    code = "from lhcml_tutor.notebooks import colab; colab.requirements = lambda name: [name]; "
    code += "colab.install_extras([{!r}])"
    before = versions(basics, tmp_path)
    settings = OFFLINE | {"PIP_FIND_LINKS": str(tmp_path), "PYTHONPATH": str(ROOT)}
    run(basics, "-c", code.format("modest"), cwd=tmp_path, **settings)
    ran = run(basics, "-c", code.format("greedy"), cwd=tmp_path, check=False, **settings)
    assert ran.returncode == 1
    assert "greedy 1.0 depends on tqdm>=99" in ran.stderr and "nothing was changed" in ran.stderr.splitlines()[-1]
    after = versions(basics, tmp_path)
    assert after.pop("modest") == "1.0"
    assert after == before
