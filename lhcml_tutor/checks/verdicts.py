"""Verdicts: does a measured number lie in the band that was measured for it, and does its control lie outside?

Every verdict is recorded with its provenance in the ignored folder runs/ (LHCML_RUNS moves it);
`lhcml promote` merges such runs into data/results/, which the notebooks read back with `stored_runs`.
"""

import json
import math
import os
import platform
import sys
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from ..scale import device, is_main_process, notebook_name, parameters, scale

ROOT = Path(__file__).resolve().parents[2]  # the checkout


class OutsideBand(AssertionError):
    """A verdict is outside its band, or its control inside, in a run that must not let that pass."""


def verdict(name, value, *, ci, laptop, gpu, control=None, floor=0.1):
    """Print and record whether a number lies in the band of this scale, and its negative control outside.

    Arguments:
        name: what was measured, in words; the same at every scale.
        value: the number.
        ci, laptop, gpu: the band (low, high) of each scale, both ends included; None: never measured there.
        control: {"untrained network": number, ...}; each of these must fall outside the band.
        floor: smallest half-width of the band relative to its median, used by `lhcml bands`.
    Raises:
        ValueError: a band is missing for ci or laptop, or has low > high.
        OutsideBand: where LHCML_STRICT=1 and the verdict is not PASS.
    Example:
        >>> verdict("width of the pull", 1.02, ci=(0.6, 1.7), laptop=(0.85, 1.2), gpu=(0.9, 1.1))
        PASS  width of the pull is in its measured band
    """
    bands = {"ci": ci, "laptop": laptop, "gpu": gpu}
    for at, limits in bands.items():
        if limits is None and at != "gpu":
            raise ValueError(f"verdict {name!r} has no band at scale {at}; measure one with `lhcml bands`")
        if limits is not None and not limits[0] <= limits[1]:
            raise ValueError(f"verdict {name!r}: the band {limits} at scale {at} is not (low, high)")
    value = float(value)
    control = {what: float(number) for what, number in (control or {}).items()}
    band = bands[scale()]
    status = _judge(value, band, control)
    if is_main_process():
        _record(name, value, band, control, status, floor)
        _say(name, value, band, control, status)
    if status not in ("PASS", "NOT YET MEASURED") and os.environ.get("LHCML_STRICT") == "1":
        raise OutsideBand(f"{name}: value {value:.6g}, band {band}, control {control}")
    if name == os.environ.get("LHCML_UNTIL"):  # `lhcml scan --until` needs no more of this run
        raise SystemExit(0)


def _judge(value, band, control):
    if band is None:
        return "NOT YET MEASURED"
    if not band[0] <= value <= band[1]:  # false for NaN, too
        return "OUTSIDE"
    return "BLIND" if any(band[0] <= number <= band[1] for number in control.values()) else "PASS"


def _say(name, value, band, control, status):
    if status == "PASS":
        outside = f", and outside it: {', '.join(control)}" if control else ""
        print(f"PASS  {name} is in its measured band{outside}")
    elif status == "NOT YET MEASURED":
        print(f"NOT YET MEASURED  {name}: no run of this scale has set a band; here it is {value:.4g}")
    elif status == "OUTSIDE":
        print(f"OUTSIDE  {name} is {value:.4g}, its measured band is {band[0]:g} to {band[1]:g}")
    else:
        inside = ", ".join(f"{what} {number:.4g}" for what, number in control.items())
        print(f"BLIND  {name} cannot tell: inside its band {band[0]:g} to {band[1]:g} is also a control ({inside})")


def _record(name, value, band, control, status, floor):
    run = _record.run
    key = (notebook_name(), str(scale()), json.dumps(parameters.current, sort_keys=True))
    if run is None or run["key"] != key:
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
        run = _record.run = {"key": key, "file": f"{key[0]}.{key[1]}.{stamp}-{os.getpid()}.json", "verdicts": []}
    finite = {what: number if math.isfinite(number) else None for what, number in control.items()}
    entry = {"name": name, "value": value if math.isfinite(value) else None, "band": list(band) if band else None}
    run["verdicts"] = [old for old in run["verdicts"] if old["name"] != name]
    run["verdicts"].append({**entry, "status": status, "control": finite, "floor": floor})
    document = {
        "schema": 1,
        "notebook": key[0],
        "scale": key[1],
        "device": _device_name(),
        "seed": parameters.current.get("seed"),
        "parameters": {k: v for k, v in parameters.current.items() if k != "seed"},
        "changed": parameters.changed,
        "until": os.environ.get("LHCML_UNTIL") or None,
        "seconds": round(time.perf_counter() - parameters.started, 1),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "code": os.environ.get("LHCML_CODE") or None,
        "versions": {"python": platform.python_version(), "torch": version("torch")},
        "verdicts": run["verdicts"],
    }
    folder = Path(os.environ.get("LHCML_RUNS") or _home() / "runs")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        part = folder / f".{run['file']}.part"
        part.write_text(json.dumps(document, indent=1) + "\n")
        part.replace(folder / run["file"])
    except OSError as problem:
        print(f"(this verdict could not be recorded in {folder}: {problem})", file=sys.stderr)


_record.run = None


def _device_name():
    import torch

    return torch.cuda.get_device_name() if device().type == "cuda" else f"cpu, {torch.get_num_threads()} threads"


def _home():
    """Return the checkout this package runs from, or the working folder where it was installed without one."""
    return ROOT if (ROOT / "pyproject.toml").exists() else Path.cwd()


def stored_runs(notebook, at=None, **chosen):
    """Return the measured runs of a notebook that are stored in data/results/, those with the chosen parameters.

    Arguments:
        notebook: identifier such as "01a".
        at: scale; this run's own where it has stored runs, else "laptop".
        chosen: parameter values to select, such as coordinates="invariants"; callables are predicates.
    Returns:
        list of dicts with seed, parameters, seconds and values {verdict name: number}.
    Example:
        >>> stored_runs("no such notebook")
        []
    """
    folder = ROOT / "data" / "results"
    at = at or (scale() if (folder / f"{notebook}.{scale()}.json").exists() else "laptop")
    path = folder / f"{notebook}.{at}.json"
    runs = json.loads(path.read_text())["runs"] if path.exists() else []
    for run in runs:
        run["values"] = {entry["name"]: entry["value"] for entry in run["verdicts"]}

    def matches(run):
        values = {**run["parameters"], "seed": run["seed"]}
        return all(want(values.get(k)) if callable(want) else values.get(k) == want for k, want in chosen.items())

    return [run for run in runs if matches(run)]


def show_full_scale(notebook, name):
    """Print what the stored GPU runs gave for a verdict that no CPU can reach; never asserted here.

    Example:
        >>> show_full_scale("no such notebook", "accuracy")
        SHOWN AT FULL SCALE  accuracy: not yet run on a GPU
    """
    values = [run["values"][name] for run in stored_runs(notebook, "gpu") if run["values"].get(name) is not None]
    if not values:
        print(f"SHOWN AT FULL SCALE  {name}: not yet run on a GPU")
    else:
        middle = sorted(values)[len(values) // 2]
        print(f"SHOWN AT FULL SCALE  {name}: {middle:.4g} (median of {len(values)} GPU runs)")
