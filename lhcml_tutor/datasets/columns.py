"""What a column of a sample may be, and the words for what it may not be."""

import json

import numpy as np
import torch

from .files import ABOUT, KINDS


def kind(value) -> str:
    """Return the type of a value in a word.

    Example:
        >>> kind([1, 2])
        'list'
    """
    return type(value).__name__


def as_tensor(name, values):
    """Return the values of a column as a tensor; name and values are held against what a column may be.

    Shapes:
        (n,), (n, k) or (n, k, 4), as given
    Raises:
        TypeError: a name that is no identifier, or values that are not numbers. ValueError: a single number.
    Example:
        >>> as_tensor("pt_z", [1.0, 2.0])
        tensor([1., 2.])
    """
    if not isinstance(name, str) or not name.isidentifier() or name == ABOUT:
        raise TypeError(f"{name!r} cannot name a column; use letters, digits and _, such as 'pt_z'")
    try:
        column = torch.as_tensor(values)
    except (TypeError, ValueError, RuntimeError) as problem:
        text = f"column {name!r} must be a tensor or array of numbers, not {kind(values)} ({problem})"
        raise TypeError(f"{text}; pad rows of unequal length, number texts") from None
    number = str(column.dtype).removeprefix("torch.")
    if number not in KINDS:
        raise TypeError(f"column {name!r} has the type {number}; use one of {', '.join(KINDS)}")
    if column.ndim == 0:
        raise ValueError(f"column {name!r} is a single number; it must have one row per event, shape (n,) or (n, ...)")
    return column


def checked_units(units, columns) -> dict:
    """Return the units in the order of the columns, one for each.

    Raises:
        TypeError: units is not a dict. ValueError: a column without a unit, or a unit without a column.
    Example:
        >>> checked_units({"x": "GeV"}, ["x"])
        {'x': 'GeV'}
    """
    if not isinstance(units, dict):
        raise TypeError(f"units must be a dict of column name -> unit, not {kind(units)}")
    missing = [name for name in columns if not isinstance(units.get(name), str) or not units[name].strip()]
    if missing:
        remedy = "give one for each column: 'GeV', 'rad', '1' for pure numbers"
        raise ValueError(f"no unit for {', '.join(missing)}; {remedy}")
    if extra := [name for name in units if name not in columns]:
        raise ValueError(
            f"units for {', '.join(map(str, extra))}, but the only columns are: {', '.join(columns)}; take them out"
        )
    return {name: units[name] for name in columns}


def checked_provenance(provenance) -> dict:
    """Return the provenance as a dict that a file can hold as JSON.

    Raises:
        TypeError: it is not a dict, or JSON cannot hold it.
    Example:
        >>> checked_provenance({"generator": "toy", "seed": 1})
        {'generator': 'toy', 'seed': 1}
    """
    provenance = {} if provenance is None else provenance
    try:
        if not isinstance(provenance, dict):
            raise TypeError(f"it is a {kind(provenance)}")
        json.dumps(provenance, allow_nan=False)
    except (TypeError, ValueError) as problem:
        text = "provenance must be a dict of plain numbers, texts, lists and dicts, as JSON can hold them"
        raise TypeError(f"{text}: {problem}") from None
    return dict(provenance)


def check_finite(name, column, remedy="mend their source, or cut them away with torch.isfinite first") -> None:
    """Demand that a column has no NaN and no inf.

    Raises:
        ValueError: names the column, the first such row and how many there are.
    Example:
        >>> check_finite("pt", torch.tensor([1.0, float("nan")]))
        Traceback (most recent call last):
        ValueError: column 'pt' has nan in row 1; NaN or inf stand in 1 of 2 rows; ...
    """
    if not column.is_floating_point():
        return
    bad = ~torch.isfinite(column.flatten(1) if column.ndim > 1 else column[:, None]).all(1)
    if bad.any():
        first = int(bad.nonzero()[0])
        what = "nan" if torch.isnan(column[first]).any() else "inf"
        text = f"column {name!r} has {what} in row {first}; NaN or inf stand in {int(bad.sum())} of {len(bad)} rows"
        raise ValueError(f"{text}; {remedy}")


def whole_number(name, value, least) -> int:
    """Return a number of events or a seed as a plain integer, or say what is wrong with it.

    Example:
        >>> whole_number("n", 1e3, 1)
        1000
    """
    number = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
    if not number or value % 1 != 0 or value < least:
        raise ValueError(f"{name} must be an integer >= {least}, not {value!r}")
    return int(value)
