"""`lhcml doctor`: what this machine and environment have, what they lack, and what to do about it.

It needs the standard library alone and changes nothing: it works where nothing else is installed, or too little is.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from . import __version__

ROOT = Path(__file__).resolve().parents[1]
GIB = 2**30
PROBE = """
import json, torch
cuda = torch.cuda.is_available()
gpus = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count() if cuda else 0)]
about = {"version": torch.__version__, "cuda": torch.version.cuda, "threads": torch.get_num_threads()}
print(json.dumps(about | {"gpus": [[gpu.name, gpu.total_memory] for gpu in gpus]}))
"""


class Finding(NamedTuple):
    """One line of the report: grade "ok", "note" (works without) or "FAIL", and the remedy of the latter two."""

    grade: str
    topic: str
    text: str
    remedy: str = ""


def main(arguments=()) -> int:
    """Print the report; return 0, or 1 where something must be put right.

    Example:
        >>> main(["--unknown"])
        usage: lhcml doctor (it has no options)
        2
    """
    if arguments:
        print("usage: lhcml doctor (it has no options)")
        return 0 if set(arguments) <= {"-h", "--help"} else 2
    print(f"lhcml-tutor {__version__} in {ROOT}")
    findings = examine()
    for finding in findings:
        print(f"{finding.grade:5} {finding.topic:10} {finding.text}")
        if finding.remedy:
            print(f"{'':16} -> {finding.remedy}")
    failures = sum(finding.grade == "FAIL" for finding in findings)
    notes = sum(finding.grade == "note" for finding in findings)
    print(f"{failures or 'no'} problem{'s' * (failures != 1)}, {notes or 'no'} note{'s' * (notes != 1)}")
    return 1 if failures else 0


def examine() -> list[Finding]:
    """Return every finding, in the order of the report.

    Example:
        >>> [finding.topic for finding in examine()][:2]
        ['Python', 'torch']
    """
    examined = (_python, _torch, _memory, _disk, _packages, _data, _kernel, _writing)
    if sys.version_info < (3, 11):  # noqa: UP036 - this is where it is said
        examined = (_python,)
    return [finding for examination in examined for finding in examination()]


def requirements() -> dict[str, list[str]]:
    """Return what the package asks for: "" -> the core, then each extra by name.

    It is read from pyproject.toml beside the package, or from the metadata of the installed package.

    Example:
        >>> requirements()[""][0].startswith("torch")
        True
    """
    if (ROOT / "pyproject.toml").exists():
        project = _toml(ROOT / "pyproject.toml")["project"]
        return {"": project["dependencies"], **project["optional-dependencies"]}
    found = {"": []}
    for line in importlib.metadata.requires("lhcml-tutor") or []:
        requirement, _, marker = line.partition(";")
        extra = re.search(r"extra == [\"']([\w-]+)[\"']", marker)
        found.setdefault(extra[1] if extra else "", []).append(requirement.strip())
    return found


def cache_folder() -> Path:
    """Return the folder of fetched and made samples, as `datasets` does, which this module cannot import.

    Example:
        >>> cache_folder().is_absolute()
        True
    """
    if chosen := os.environ.get("LHCML_CACHE", "").strip():
        return Path(chosen).expanduser().resolve()
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "lhcml-tutor"


def _toml(path):
    import tomllib  # Python 3.11; an older one shall still be told that it is too old

    return tomllib.loads(path.read_text(encoding="utf-8"))


def _command(*words):
    return " ".join(f'"{word}"' if re.search(r"[^\w./-]", str(word)) else str(word) for word in words)


def _install(*what):
    """The command that installs something into this very Python."""
    return _command(sys.executable, "-m", "pip", "install", *what)


def _numbers(version):
    """The release of a version as integers: "2.13.0+cpu" -> (2, 13)."""
    release = [int(part) for part in re.match(r"[\d.]*", version)[0].strip(".").split(".") if part]
    while release and release[-1] == 0:
        release.pop()
    return tuple(release)


def _python():
    version = platform.python_version()
    text = f"{version} ({sys.executable}), {platform.system()} {platform.machine()}"
    if sys.version_info < (3, 11):  # noqa: UP036
        yield Finding("FAIL", "Python", text, "install Python 3.11 or newer: https://www.python.org/downloads")
    else:
        yield Finding("ok", "Python", text)


def _torch():
    if importlib.util.find_spec("torch") is None:
        return  # the packages say so, and how to install it
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    try:  # in a process of its own: a torch that does not fit the machine can end the process that imports it
        command = [sys.executable, "-c", PROBE]
        ran = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
        about = json.loads(ran.stdout.splitlines()[-1]) if ran.returncode == 0 else None
        reason = ran.stderr.strip().splitlines()[-1:] or [f"its process ended with status {ran.returncode}"]
    except (OSError, subprocess.TimeoutExpired, ValueError, IndexError) as problem:
        about, reason = None, [str(problem)]
    if about is None:
        remedy = f"install it again: {_install('--force-reinstall', *_wanted('torch'))}"
        yield Finding("FAIL", "torch", f"does not import: {reason[0][:160]}", remedy)
        return
    text = f"{about['version']}, {about['threads']} threads, CUDA "
    if about["gpus"]:
        gpus = ", ".join(f"{name} ({memory / GIB:.0f} GiB)" for name, memory in about["gpus"])
        yield Finding("ok", "torch", f"{text}{about['cuda']}: {gpus}; runs default to the scale gpu")
        return
    text += "no; runs default to the scale laptop"
    remedy = "there is an NVIDIA driver, but this torch has no CUDA: see https://pytorch.org/get-started/locally"
    if about["cuda"]:
        remedy = f"it is built for CUDA {about['cuda']} but sees no GPU: does `nvidia-smi` run?"
    driver = shutil.which("nvidia-smi")
    yield Finding("note", "torch", text, remedy) if driver else Finding("ok", "torch", text)


def _memory():
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        table = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines}
        free, text = table["MemAvailable"], f" free of {table['MemTotal'] / GIB:.1f} GiB"
    except (OSError, ValueError, KeyError):  # not Linux
        if "SC_PHYS_PAGES" not in getattr(os, "sysconf_names", {}):
            return
        free, text = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), ""
    remedy = "little for a training: close other programs, or work on Colab" if free < 2 * GIB else ""
    yield Finding("note" if remedy else "ok", "memory", f"{free / GIB:.1f} GiB{text}", remedy)


def _disk():
    free = shutil.disk_usage(ROOT).free
    remedy = "runs, figures and samples need some space: free at least 1 GiB" if free < GIB else ""
    yield Finding("FAIL" if remedy else "ok", "disk", f"{free / GIB:.1f} GiB free at {ROOT}", remedy)


def _wanted(name):
    lines = (line for group in requirements().values() for line in group)
    return [line for line in lines if re.split(r"[^\w.-]", line)[0] == name][:1] or [name]


def _judge(requirement):
    """Return name, version and trouble (None, "missing" or "too old ...") of one requirement, "numpy>=2.0"."""
    name, floors = re.match(r"([\w.-]+)(?:\[[^\]]*\])?([^;]*)", requirement).groups()
    try:
        version = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return name, None, "missing"
    for sign, floor in re.findall(r"(>=|==)\s*([\w.+]+)", floors):
        if sign == ">=" and _numbers(version) < _numbers(floor):
            return name, version, f"{version} is older than {floor}"
        if sign == "==" and _numbers(version) != _numbers(floor):
            return name, version, f"{version} is not {floor}"
    return name, version, None


def _packages():
    for extra, lines in requirements().items():
        lines = [line for line in lines if not line.startswith("lhcml-tutor[")]
        if extra in ("test", "site") or not lines:
            continue  # for maintainers: their command says what is missing
        judged = [(line, *_judge(line)) for line in lines]
        missing = [name for _, name, version, _ in judged if version is None]
        wrong = [(line, name, trouble) for line, name, version, trouble in judged if version and trouble]
        present = ", ".join(f"{name} {version}" for _, name, version, trouble in judged if not trouble)
        if present:
            yield Finding("ok", extra or "packages", present)
        if wrong:
            text = ", ".join(f"{name} {trouble}" for _, name, trouble in wrong)
            yield Finding("FAIL", extra or "packages", text, _install(*(line for line, _, _ in wrong)))
        if missing and not extra:
            wanted = [line for line, name, _, _ in judged if name in missing]
            yield Finding("FAIL", "packages", f"missing: {', '.join(missing)}", _install(*wanted))
        elif missing:
            what = ("-e", f"{ROOT}[{extra}]") if (ROOT / "pyproject.toml").exists() else (f"lhcml-tutor[{extra}]",)
            yield Finding("note", extra, f"missing: {', '.join(missing)} (optional)", _install(*what))
    if _judge("lhcml-tutor")[1] is None:
        remedy = _install("--no-deps", "-e", ROOT)
        yield Finding("note", "packages", f"lhcml-tutor is not installed: only what runs in {ROOT} finds it", remedy)


def _data():
    path = Path(__file__).parent / "datasets" / "manifest.toml"
    try:
        samples = _toml(path)
    except (OSError, ValueError) as problem:
        yield Finding("FAIL", "data", f"no list of samples: {problem}", _command("git", "-C", ROOT, "restore", path))
        return
    restore, intact, absent = _command("git", "-C", ROOT, "restore", "data"), [], []
    for name, sample in samples.items():
        files, hashes = ([part] if isinstance(part, str) else part for part in (sample["file"], sample["sha256"]))
        places = [[folder / file for file in files] for folder in (ROOT / "data", cache_folder())]
        found = next((paths for paths in places if all(path.is_file() for path in paths)), None)
        if found is None:
            absent.append(name)
            continue
        sums = [hashlib.sha256(path.read_bytes()).hexdigest() for path in found]
        damaged = [path for path, sha256, known in zip(found, sums, hashes) if sha256 != known]
        intact += [] if damaged else [name]
        for path in damaged:
            remedy = restore if found == places[0] else "delete it: it is fetched or made again"
            yield Finding("FAIL", "data", f"{path} is damaged: its sha256 is not that of the manifest", remedy)
    if intact:
        yield Finding("ok", "data", f"{len(intact)} of {len(samples)} samples here and intact: {', '.join(intact)}")
    if absent and (ROOT / ".git").exists():
        yield Finding("FAIL", "data", f"missing from data/: {', '.join(absent)}", restore)
    elif absent:
        remedy = "nothing: they are fetched or made when a notebook first asks for them"
        yield Finding("note", "data", f"not here: {', '.join(absent)}", remedy)


def _kernel():
    if importlib.util.find_spec("ipykernel") is None:
        return  # the extra `notebooks` says so
    spec = Path(sys.prefix) / "share" / "jupyter" / "kernels" / "python3" / "kernel.json"
    remedy = _command(sys.executable, "-m", "ipykernel", "install", "--sys-prefix")
    try:
        program = json.loads(spec.read_text(encoding="utf-8"))["argv"][0]
    except (OSError, ValueError, KeyError, IndexError):
        yield Finding("FAIL", "kernel", f"no Jupyter kernel python3 at {spec}", remedy)
        return
    if os.path.isabs(program) and not os.path.exists(program):
        yield Finding("FAIL", "kernel", f"the kernel python3 starts {program}, which is not there", remedy)
    else:
        yield Finding("ok", "kernel", f"python3 at {spec.parent}")


def _writing():
    for folder in (Path.cwd(), cache_folder()):
        there = next(place for place in (folder, *folder.parents) if place.exists())
        try:
            with tempfile.TemporaryFile(dir=there):
                pass
        except OSError as problem:
            remedy = "work in a folder of your own" if folder == Path.cwd() else "set LHCML_CACHE to another folder"
            yield Finding("FAIL", "writing", f"cannot write to {there}: {problem.strerror}", remedy)
        else:
            yield Finding("ok", "writing", str(folder))
