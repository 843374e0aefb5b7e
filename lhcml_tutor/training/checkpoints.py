"""One file that an interrupted training goes on from: tensors and plain numbers only, never code."""

import io
import os
import pickle
import zipfile
from pathlib import Path

import torch

FORMAT = 1


class CheckpointError(ValueError):
    """A checkpoint cannot be read, or is of another training than the one that is started."""


def save(path, content):
    """Write a checkpoint so that a killed process leaves the old one or the new one, never half of one."""
    path = Path(path)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            torch.save({"format": FORMAT, **content}, file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def load(path, settings, model):
    """Return the content of a checkpoint of this very training, or None where there is none yet.

    Arguments:
        settings: {name: number or text} that must be equal in the file.
        model: whose parameters must have the names and shapes in the file.
    Raises:
        CheckpointError: the file is damaged, or belongs to another training; the message says what differs.
    """
    path = Path(path)
    if path.is_dir():
        raise CheckpointError(f"checkpoint={str(path)!r} is a folder; name a file in it, such as {path / 'fit.pt'}")
    if not path.exists():
        return None
    remedy = "delete it to train from the start, or name another file"
    data = io.BytesIO(path.read_bytes())
    try:
        if name := zipfile.ZipFile(data).testzip():  # torch does not look at the checksums
            raise ValueError(f"bytes of {name} have changed")
        data.seek(0)
        content = torch.load(data, map_location="cpu", weights_only=True)
    except Exception as problem:  # which one depends on where the damage is
        reason = str(problem).partition("\n")[0] or type(problem).__name__
        if isinstance(problem, pickle.UnpicklingError):
            reason = "it holds more than tensors and numbers"
        raise CheckpointError(f"the checkpoint {path} is damaged or no checkpoint ({reason}); {remedy}") from problem
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise CheckpointError(f"{path} is not a checkpoint of fit in format {FORMAT}; {remedy}")
    if text := _differences(_shapes(content["model"]), _shapes(model.state_dict())):
        raise CheckpointError(f"the checkpoint {path} is of another model: {text}; {remedy}")
    if text := _differences(content["settings"], settings):
        raise CheckpointError(f"the checkpoint {path} is of another training: {text}; {remedy}")
    return content


def fingerprint(data, label):
    """Return a number per tensor that changes when its rows do, so that no training goes on with other data.

    Example:
        >>> first, other = torch.tensor([1.0, 2.0]), torch.tensor([2.0, 1.0])
        >>> fingerprint({"x": first}, "data") == fingerprint({"x": other}, "data")
        False
    """
    shown = {}
    for name, values in data.items():
        rows = (torch.view_as_real(values) if values.is_complex() else values).reshape(len(values), -1)
        rows = rows.sum(1, dtype=torch.float64).cpu()  # (n,)
        weights = torch.linspace(1, 2, len(rows), dtype=torch.float64)  # so that the order of the rows counts
        shape = "x".join(map(str, values.shape))
        shown[f"{label}[{name!r}]"] = f"{shape} {values.dtype}, checksum {float(rows @ weights):.9e}"
    return shown


def _shapes(state):
    return {
        f"parameter {name}": "x".join(map(str, values.shape)) or "scalar"
        for name, values in state.items()
        if isinstance(values, torch.Tensor)
    }


def _differences(stored, wanted, most=3):
    names = [name for name in {**stored, **wanted} if stored.get(name) != wanted.get(name)]
    shown = [f"{name} is {stored.get(name, 'absent')} there, {wanted.get(name, 'absent')} here" for name in names]
    more = f" and {len(shown) - most} more" if len(shown) > most else ""
    return ", ".join(shown[:most]) + more
