"""environment.yml: each line is a spec that conda can read, with the floors of pyproject.toml.

conda itself is not run here: its solve needs the network and minutes.
"""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from rattler import MatchSpec

import lhcml_tutor

ROOT = Path(__file__).parents[1]
ENVIRONMENT = yaml.safe_load((ROOT / "environment.yml").read_text())
CONDA = [line for line in ENVIRONMENT["dependencies"] if isinstance(line, str)]
(PIP,) = [line["pip"] for line in ENVIRONMENT["dependencies"] if isinstance(line, dict)]
PYPI = {"pytorch-gpu": "torch"}  # names that differ between conda-forge and PyPI


def wanted():
    """Everything that `pip install .[course]` asks for: name -> specifier."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras, lines, found = project["optional-dependencies"], [*project["dependencies"], "lhcml-tutor[course]"], {}
    while lines:
        requirement = Requirement(lines.pop())
        if requirement.name == "lhcml-tutor":
            lines += [line for extra in requirement.extras for line in extras[extra]]
        else:
            found[requirement.name] = str(requirement.specifier)
    return found | {"python": project["requires-python"]}


@pytest.mark.parametrize("line", CONDA)
def test_spec(line):
    spec = MatchSpec(line, strict=True)
    assert spec.name.normalized == line.split(">")[0]


def test_judge_of_specs_has_power():
    with pytest.raises(Exception, match=r"numpy|version"):
        MatchSpec("numpy>=2.0,<", strict=True)


def test_floors_are_those_of_pyproject():
    specs = {spec.name.normalized: str(spec.version) for spec in map(MatchSpec, CONDA) if spec.version}
    assert {PYPI.get(name, name): floor for name, floor in specs.items()} == wanted()


def test_torch_has_cuda_and_conda_has_pip():
    assert ENVIRONMENT["name"] == "lhcml" and ENVIRONMENT["channels"][0] == "conda-forge"
    assert "pip" in CONDA and any(line.startswith("pytorch-gpu") for line in CONDA)


def test_pip_part_asks_for_nothing_that_conda_did_not_install():
    assert PIP == ["-e .[course]"]
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--no-index", "--no-build-isolation"]
    words = [word for line in PIP for word in line.split()]
    ran = subprocess.run([*command, *words], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    would = [line for line in ran.stdout.splitlines() if line.startswith("Would install")]
    assert would in ([], [f"Would install lhcml-tutor-{lhcml_tutor.__version__}"])
