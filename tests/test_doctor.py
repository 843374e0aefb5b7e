"""`lhcml doctor` in bare and in damaged environments: it needs the standard library alone and names each remedy."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lhcml_tutor import doctor

ROOT = Path(__file__).parents[1]
CORE = dict.fromkeys(("torch", "numpy", "scipy", "scikit-learn", "matplotlib", "tqdm", "typer", "lhcml-tutor"), "99.0")


@pytest.fixture
def course(tmp_path):
    """A copy of the course with one sample, and of nothing else."""
    folder = tmp_path / "a course"
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "lhcml_tutor", folder / "lhcml_tutor", ignore=ignore)
    shutil.copy(ROOT / "pyproject.toml", folder)
    (folder / ".git").mkdir()
    (folder / "data").mkdir()
    (folder / "data" / "sample.npz").write_bytes(b"events")
    known = hashlib.sha256(b"events").hexdigest()
    manifest = f'[sample]\nfile = "sample.npz"\nsha256 = "{known}"\n'
    (folder / "lhcml_tutor" / "datasets" / "manifest.toml").write_text(manifest)
    return folder


def examine(course, versions, *, modules=(), **environment):
    """Run the doctor in a Python that has the standard library, the course, and packages of these versions."""
    site = course.parent / "site"
    for name, version in versions.items():
        about = site / f"{name.replace('-', '_')}-{version}.dist-info"
        about.mkdir(parents=True)
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    for name, text in dict(modules).items():
        (site / f"{name}.py").write_text(text)
    start = f"import sys, runpy; sys.path[:0] = [{str(course)!r}, {str(site)!r}]; sys.argv[1:] = ['doctor']; "
    command = [sys.executable, "-I", "-S", "-B", "-c", start + "runpy.run_module('lhcml_tutor', run_name='__main__')"]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("LHCML_")}
    environment = clean | {"LHCML_CACHE": str(course.parent / "cache")} | environment
    ran = subprocess.run(command, cwd=course, env=environment, capture_output=True, text=True, timeout=60)
    assert not ran.stderr, ran.stderr
    return ran.returncode, ran.stdout


def test_bare_python(course):
    status, said = examine(course, {})
    assert status == 1
    assert "FAIL  packages   missing: torch, numpy, scipy, scikit-learn, matplotlib, tqdm, typer" in said
    assert '-m pip install "torch>=2.6" "numpy>=2.0"' in said
    assert "note  simulation missing: pythia8mc" in said and "1 of 1 samples here and intact: sample" in said
    assert len(said.splitlines()) <= 30, "one screen"


def test_complete_core(course):
    status, said = examine(course, CORE)
    assert status == 0, said
    assert "no problems" in said and "FAIL" not in said


def test_too_old_package(course):
    status, said = examine(course, CORE | {"numpy": "1.26.4"})
    assert status == 1
    assert "FAIL  packages   numpy 1.26.4 is older than 2.0" in said
    assert '-m pip install "numpy>=2.0"' in said and "torch 99.0" in said


def test_wrong_version_of_an_extra(course):
    status, said = examine(course, CORE | {"pythia8mc": "8.316.0"})
    assert status == 1 and "FAIL  simulation pythia8mc 8.316.0 is not 8.317.2" in said


@pytest.mark.parametrize(
    "torch, said",
    [
        ("raise OSError('libcudart.so.12: cannot open')", "does not import: OSError: libcudart.so.12: cannot open"),
        ("import os; os.abort()", "does not import: its process ended with status -6"),
    ],
)
def test_torch_that_does_not_import(course, torch, said):
    status, report = examine(course, CORE, modules={"torch": torch})
    assert status == 1
    assert said in report and '--force-reinstall "torch>=2.6"' in report


@pytest.mark.parametrize(
    "gpus, built, driver, said",
    [
        (1, "12.6", True, "ok    torch      9.9, 1 threads, CUDA 12.6: H (80 GiB); runs default to the scale gpu"),
        (0, "12.6", True, "sees no GPU: does `nvidia-smi` run?"),
        (0, None, True, "this torch has no CUDA: see https://pytorch.org"),
        (0, None, False, "ok    torch      9.9, 1 threads, CUDA no; runs default to the scale laptop"),
    ],
)
def test_gpu(course, gpus, built, driver, said):
    torch = f"""
from types import SimpleNamespace as space
__version__, version, get_num_threads = "9.9", space(cuda={built!r}), lambda: 1
cuda = space(is_available=lambda: {gpus} > 0, device_count=lambda: {gpus},
             get_device_properties=lambda i: space(name="H", total_memory=80 * 2**30))
"""
    programs = course.parent / "bin"
    programs.mkdir()
    if driver:
        (programs / "nvidia-smi").write_text("#!/bin/sh\n")
        (programs / "nvidia-smi").chmod(0o755)
    status, report = examine(course, CORE, modules={"torch": torch}, PATH=str(programs))
    assert status == 0 and said in report, report


def test_damaged_sample(course):
    (course / "data" / "sample.npz").write_bytes(b"evens")
    status, said = examine(course, CORE)
    assert status == 1
    assert "sample.npz is damaged" in said and f'git -C "{course}" restore data' in said


def test_missing_sample(course):
    (course / "data" / "sample.npz").unlink()
    status, said = examine(course, CORE)
    assert status == 1 and "missing from data/: sample" in said
    shutil.rmtree(course / ".git")
    status, said = examine(course, {})
    assert "note  data       not here: sample" in said, "outside a checkout it can be fetched"


def test_sample_in_the_cache(course):
    cache = course.parent / "cache"
    cache.mkdir()
    (course / "data" / "sample.npz").rename(cache / "sample.npz")
    assert examine(course, CORE)[0] == 0


def test_folder_that_cannot_be_written(course):
    (course.parent / "file").write_text("")
    status, said = examine(course, CORE, LHCML_CACHE=str(course.parent / "file"))
    assert status == 1 and "set LHCML_CACHE to another folder" in said


def test_this_environment_is_well():
    findings = doctor.examine()
    assert {"Python", "torch", "memory", "disk", "packages", "data", "kernel", "writing"} <= {f.topic for f in findings}
    assert not [finding for finding in findings if finding.grade == "FAIL"]


def test_cache_folder_is_that_of_the_samples(monkeypatch, tmp_path):
    from lhcml_tutor.datasets import storage

    for name in ("LHCML_CACHE", "XDG_CACHE_HOME"):
        assert doctor.cache_folder() == storage.cache_folder()
        monkeypatch.setenv(name, str(tmp_path / name))
        assert doctor.cache_folder() == storage.cache_folder()
        monkeypatch.delenv(name)


@pytest.mark.parametrize(
    "version, numbers", [("2.13.0+cpu", (2, 13)), ("2.10", (2, 10)), ("3.0.0rc1", (3,)), ("8.317.2", (8, 317, 2))]
)
def test_versions_are_numbers(version, numbers):
    assert doctor._numbers(version) == numbers


def find(topic, findings):
    return next(finding for finding in findings if finding.topic == topic)


def test_kernel_that_is_missing_or_starts_nothing(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    lost = find("kernel", doctor._kernel())
    assert lost.grade == "FAIL" and "-m ipykernel install --sys-prefix" in lost.remedy
    spec = tmp_path / "share" / "jupyter" / "kernels" / "python3" / "kernel.json"
    spec.parent.mkdir(parents=True)
    for program, grade in (("/no such python", "FAIL"), (sys.executable, "ok"), ("python", "ok")):
        spec.write_text(json.dumps({"argv": [program, "-m", "ipykernel_launcher"]}))
        assert find("kernel", doctor._kernel()).grade == grade, program


def test_small_machine(monkeypatch):
    monkeypatch.setattr(doctor, "GIB", 2**60)
    assert find("memory", doctor._memory()).grade == "note"
    assert find("disk", doctor._disk()).grade == "FAIL"


def test_old_python_hears_of_nothing_else(monkeypatch):
    monkeypatch.setattr(sys, "version_info", (3, 10, 13))
    (finding,) = doctor.examine()
    assert finding.grade == "FAIL" and "Python 3.11 or newer" in finding.remedy
