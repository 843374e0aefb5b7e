"""The Makefile, with a stand-in for Python that notes what it is asked: what is installed when, and what is said."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PYTHON = r"""#!/bin/sh
# A stand-in for Python: notes its arguments and does what matters here of venv and pip
case "$*" in
  *version_info*) echo good; exit;;
  --version) echo Python 3.11.0; exit;;
  *"open("*) cat .venv/.course; exit;;
  *"import pip"*) [ -e .venv/lib/python3.11/site-packages/pip-1.dist-info ]; exit;;
esac
echo "$*" >>log
case "$*" in
  "-m venv --clear .venv")
    rm -rf .venv; site=.venv/lib/python3.11/site-packages; mkdir -p .venv/bin $site/pip-1.dist-info
    touch $site/pip-1.dist-info/INSTALLER; cp "$0" .venv/bin/python;;
  *" install "*)
    mkdir -p .venv/lib/python3.11/site-packages/numpy-2.dist-info
    [ -z "$BREAK" ] || exit 1
    touch .venv/lib/python3.11/site-packages/numpy-2.dist-info/INSTALLER;;
esac
"""
VENV = "-m venv --clear .venv"
COURSE = "-m lhcml_tutor course"


def install(extra):
    pip = "-m pip --disable-pip-version-check install -c constraints.txt"
    return [f"{pip} torch", f"{pip} -e .[{extra}]"]


@pytest.fixture
def checkout(tmp_path):
    """A checkout in a path with spaces and other characters that shells and make care for, and its stand-in Python."""
    folder = tmp_path / "my course, it's (1)"
    folder.mkdir()
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, folder)
    return folder


def make(folder, *arguments, python=PYTHON, name="python3", path="", **environment):
    """Run make with `python` as the only Python on the PATH; return status, output and what Python was asked."""
    programs = folder / "bin"
    programs.mkdir(exist_ok=True)
    if python:
        (programs / name).write_text(python)
        (programs / name).chmod(0o755)
    for tool in (
        "make",
        "sh",
        "rm",
        "mkdir",
        "touch",
        "cp",
        "cat",
        "pwd",
        "sed",
        "id",
        "printf",
        "uname",
        "env",
        *path.split(),
    ):
        if (found := shutil.which(tool)) and not (programs / tool).exists():
            (programs / tool).symlink_to(found)
    (folder / "log").unlink(missing_ok=True)
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "PYTHON", "CI", "MFLAGS"))}
    environment = clean | {"PATH": str(programs)} | environment
    command = ["make", *arguments]
    ran = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60)
    log = folder / "log"
    return ran.returncode, ran.stdout + ran.stderr, log.read_text().splitlines() if log.exists() else []


def test_first_run_installs_and_second_does_not(checkout):
    status, output, asked = make(checkout, "course")
    assert (status, asked) == (0, [VENV, *install("course"), COURSE]), output
    assert make(checkout, "course")[2] == [COURSE]


def test_the_tests_bring_their_own_packages_and_those_of_the_course(checkout):
    with_browser = checkout / "bin" / "chromium"
    with_browser.parent.mkdir()
    with_browser.write_text("#!/bin/sh\n")
    with_browser.chmod(0o755)
    status, output, asked = make(checkout, "test")
    assert status == 0 and asked[:3] == [VENV, *install("test")] and "-m pytest" in asked[3], output
    assert make(checkout, "test")[2] == asked[3:], "a second run must install nothing"
    assert make(checkout, "course")[2] == [COURSE]


@pytest.mark.parametrize("changed", ["pyproject.toml", "constraints.txt"])
def test_changed_requirements_are_installed(checkout, changed):
    make(checkout, "course")
    later = (checkout / ".venv" / ".course").stat().st_mtime + 10
    os.utime(checkout / changed, (later, later))
    assert make(checkout, "course")[2] == [*install("course"), COURSE]


def test_interrupted_install_is_repaired(checkout):
    half = checkout / ".venv" / "lib" / "python3.11" / "site-packages" / "numpy-2.dist-info"
    status, _, asked = make(checkout, "course", BREAK="1")
    assert status != 0 and COURSE not in asked and half.exists()
    status, output, asked = make(checkout, "course", BREAK="1")
    assert status != 0 and asked == install("course")[:1], output
    half.joinpath("METADATA").touch()
    assert make(checkout, "course")[2] == [*install("course"), COURSE], "what is whole is kept"
    assert not half.joinpath("METADATA").exists(), "a half-installed package must be forgotten, or pip believes in it"


def test_interrupted_environment_is_made_again(checkout):
    (checkout / ".venv" / "bin").mkdir(parents=True)
    (checkout / ".venv" / "bin" / "python").symlink_to(checkout / "no such python")
    assert make(checkout, "course")[2] == [VENV, *install("course"), COURSE]


def test_moved_checkout_is_installed_again(checkout):
    make(checkout, "course")
    moved = checkout.rename(checkout.with_name("moved to"))
    assert make(moved, "course")[2] == [*install("course"), COURSE]
    assert make(moved, "course")[2] == [COURSE]


def test_failed_install_of_the_tests_keeps_the_course(checkout):
    make(checkout, "course")
    status, _, asked = make(checkout, "test", BREAK="1")
    assert status != 0 and VENV not in asked
    assert make(checkout, "course")[2] == [*install("course"), COURSE]


@pytest.mark.parametrize(
    "state, said",
    [("old", "python3 is older than 3.11"), ("bare", "apt install python3-venv"), (None, "python3 is not here")],
)
def test_a_python_that_will_not_do(checkout, state, said):
    python = PYTHON.replace("echo good", f"echo {state}") if state else None
    status, output, asked = make(checkout, "course", python=python)
    assert status != 0 and not asked
    assert said in output and "PYTHON=/path/to/python3" in output
    assert not (checkout / ".venv" / ".course").exists()


@pytest.mark.parametrize(
    "before, state",
    [
        ("pass", "good"),
        ("sys.version_info = (3, 10, 13)", "old"),
        ("util.find_spec = lambda name: None if name == 'ensurepip' else name", "bare"),
        ("util.find_spec = lambda name: None if name == 'venv' else name", "bare"),
    ],
)
def test_what_a_python_is_asked(before, state):
    (code,) = re.findall(r"'(import sys, importlib\.util as util; .*?)'", (ROOT / "Makefile").read_text(), re.DOTALL)
    code = f"import sys, importlib.util as util\n{before}\n" + re.sub(r"\\\n\s*", "", code)
    assert subprocess.check_output([sys.executable, "-c", code], text=True, timeout=60).strip() == state


def test_another_python_can_be_named(checkout):
    make(checkout, "help", python=PYTHON, name="my python")
    named = checkout / "bin" / "my python"
    status, output, asked = make(checkout, "course", f"PYTHON={named}", python=PYTHON.replace("good", "old"))
    assert (status, asked) == (0, [VENV, *install("course"), COURSE]), output


@pytest.mark.parametrize("ci, status", [("", 0), ("true", 2)])
def test_no_browser_is_an_error_in_ci_alone(checkout, ci, status):
    found, output, _ = make(checkout, "browser", CI=ci)
    assert found == status
    assert "browser tests are skipped" in output


def test_browser_is_installed_where_the_user_may(checkout):
    make(checkout, "help")
    for name, text in {"id": "echo 0", "apt-get": 'echo "$*" >>log', "true": "exit 0"}.items():
        program = checkout / "bin" / name
        program.unlink(missing_ok=True)
        program.write_text(f"#!/bin/sh\n{text}\n")
        program.chmod(0o755)
    status, output, asked = make(checkout, "browser")
    assert status == 0, output
    assert asked == ["update -qq", "install -qq -y --no-install-recommends chromium"]


def test_constraints_are_exact_and_above_the_floors():
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in lines), "no address, no path, no +cpu"
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    pins = {canonicalize_name(name): version for name, version in (line.split("==") for line in lines)}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [
        *project["dependencies"],
        *(line for extra in project["optional-dependencies"].values() for line in extra),
    ]
    for requirement in map(Requirement, wanted):
        if requirement.name != "lhcml-tutor":
            assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)]), requirement


def test_ci_calls_the_test_command_and_nothing_else():
    lines = (ROOT / ".ci" / "run").read_text().splitlines()
    assert lines == ["#!/bin/sh", 'cd "$(dirname "$0")/.." && exec make test']
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
