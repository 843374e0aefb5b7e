"""How big a run is: its scale, device, seed and parameters.

A notebook states every size three times, where the number is used:

    scale = lt.scale()                                   # LHCML_SCALE=ci|laptop|gpu
    p = lt.parameters(n_train=scale.pick(ci=20_000, laptop=100_000, gpu=1_000_000), seed=1)

This module needs the standard library alone until torch is really used.
"""

import json
import os
import random
import sys
import time
from pathlib import Path
from types import SimpleNamespace

SCALES = ("ci", "laptop", "gpu")


class Scale(str):
    """One of "ci", "laptop", "gpu"; picks the number that belongs to it.

    Example:
        >>> Scale("laptop").pick(ci=300, laptop=8_000, gpu=50_000)
        8000
    """

    def pick(self, *, ci, laptop, gpu):
        """Return the argument that is named like this scale."""
        return {"ci": ci, "laptop": laptop, "gpu": gpu}[self]


def scale() -> Scale:
    """Return the scale of this run: LHCML_SCALE, or "gpu" where CUDA is, or "laptop".

    Raises:
        ValueError: LHCML_SCALE is set to something else.
    Example:
        >>> scale() in ("ci", "laptop", "gpu")
        True
    """
    name = os.environ.get("LHCML_SCALE", "").strip().lower()
    if name and name not in SCALES:
        raise ValueError(f"LHCML_SCALE={name!r} is not a scale; set it to one of {', '.join(SCALES)}, or unset it")
    return Scale(name or ("gpu" if device().type == "cuda" else "laptop"))


def device():
    """Return the torch device of this run: LHCML_DEVICE, or CUDA (this process's own GPU under torchrun), or the CPU.

    Raises:
        ValueError: LHCML_DEVICE names a device that this machine does not have.
    Example:
        >>> device().type in ("cpu", "cuda")
        True
    """
    import torch

    name = os.environ.get("LHCML_DEVICE", "").strip()
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError(f"LHCML_DEVICE={name} but torch sees no GPU; unset it, or run `lhcml doctor` to see why")
    if not name and torch.cuda.is_available():
        name = f"cuda:{os.environ.get('LOCAL_RANK', 0)}"
    return torch.device(name or "cpu")


def seed_everything(seed: int) -> None:
    """Seed python, numpy and torch (every device) with one integer.

    Example:
        >>> seed_everything(1)
    """
    import numpy as np
    import torch

    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - for libraries that draw from it
    torch.manual_seed(seed)


def is_main_process() -> bool:
    """Tell whether this process may print, plot and write: always, except on the other ranks of torchrun.

    Example:
        >>> is_main_process()
        True
    """
    return os.environ.get("RANK", "0") == "0"


def notebook_name() -> str:
    """Return the identifier of the running notebook ("01a", "L00"), or "interactive" where none can be told.

    It is LHCML_NOTEBOOK where `lhcml run` set it, else read off the file that runs.

    Example:
        >>> os.environ["LHCML_NOTEBOOK"] = "01a"; notebook_name()
        '01a'
        >>> del os.environ["LHCML_NOTEBOOK"]
    """
    if name := os.environ.get("LHCML_NOTEBOOK"):
        return name
    path = Path(os.environ.get("JPY_SESSION_NAME") or sys.argv[0])
    key = path.stem.split("_")[0]
    if not key[:2].isdigit():
        return "interactive"
    return f"L{key}" if path.resolve().parent.name == "lectures" else key


class Parameters(SimpleNamespace):
    """The numbers a run can be started with, as attributes: p.n_train, p.seed."""


def parameters(seed: int = 1, **defaults) -> Parameters:
    """Return this run's parameters, seed everything and say what was chosen.

    The defaults stand in the notebook; `lhcml run 06a -p n_train=1000` (or LHCML_PARAMETERS, a JSON object)
    changes any of them without an edit. A value takes the type of its default.

    Raises:
        ValueError: a parameter from outside that this notebook does not have, or of the wrong type.
    Example:
        >>> p = parameters(n_train=1000, coordinates="mass", seed=3)    # doctest: +ELLIPSIS
        scale ..., n_train 1000, coordinates mass, seed 3
        >>> p.n_train, p.coordinates
        (1000, 'mass')
    """
    values = {**defaults, "seed": seed}
    outside = json.loads(os.environ.get("LHCML_PARAMETERS") or "{}")
    for name, value in outside.items():
        if name not in values:
            known = ", ".join(values)
            raise ValueError(f"this notebook has no parameter {name!r}; it has: {known}")
        values[name] = _like(values[name], value, name)
    seed_everything(values["seed"])
    if is_main_process():
        shown = ", ".join(f"{name} {value}" for name, value in values.items())
        print(f"scale {scale()}, device {device()}, {shown}")
    chosen = Parameters(**values)
    parameters.current, parameters.started = dict(values), time.perf_counter()
    parameters.changed = sorted(name for name in defaults if values[name] != defaults[name])
    return chosen


parameters.current, parameters.started = {}, time.perf_counter()
parameters.changed = []  # names of those that differ from the notebook's own, the seed aside


def _like(default, value, name):
    """Convert a value from outside to the type of its default: "1e5" to 100000 where the default is an integer."""
    try:
        if isinstance(default, bool):
            return {"true": True, "false": False, "1": True, "0": False}[str(value).lower()]
        if isinstance(default, int):
            if float(value) != int(float(value)):
                raise ValueError
            return int(float(value))
        if isinstance(default, float):
            return float(value)
        return type(default)(value)
    except (KeyError, TypeError, ValueError):
        kind = type(default).__name__
        raise ValueError(f"parameter {name}={value!r} must be of type {kind}, like its default {default!r}") from None
