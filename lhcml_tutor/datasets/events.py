"""Events: equally long tensors with names, units and a provenance.

    events = Events({"pt_z": pt_z, "momenta": momenta}, units={"pt_z": "GeV", "momenta": "GeV"})
    events["pt_z"], events.units["pt_z"]        # tensor (n,), "GeV"
    events[events["pt_z"] > 50]                 # the events that pass
    train, valid, test = events.split(0.8, 0.1, 0.1, seed=1)

There is no Dataset and no DataLoader: the columns live on the device, and `fit` takes `events.columns`.
"""

import difflib
import itertools
from pathlib import Path

import numpy as np
import torch

from .columns import as_tensor, check_finite, checked_provenance, checked_units, kind
from .files import BadSample, pack, read, unpack, write_whole


class Events:
    """A sample of n events as columns of equal length.

    Arguments:
        columns: name -> tensor or array (n,), (n, k) or (n, k, 4), numbers only, all finite.
        units: name -> unit, one for each column: "GeV", "rad", and "1" for pure numbers.
        provenance: where the events come from (generator, version, settings, seed), anything that JSON can hold.
    Raises:
        ValueError: columns of unequal length, no events, NaN or inf (names the column and the first row), a missing
            unit; TypeError: something that is not numbers.
    Example:
        >>> events = Events({"pt_z": torch.tensor([3.0, 40.0])}, units={"pt_z": "GeV"})
        >>> events
        Events(2 events: pt_z (n,) GeV)
        >>> events[events["pt_z"] > 10]["pt_z"]
        tensor([40.])
    """

    def __init__(self, columns, units, provenance=None):
        if not isinstance(columns, dict) or not columns:
            found = kind(columns) if not isinstance(columns, dict) else "an empty one"
            raise TypeError(f"columns must be a dict of name -> tensor with at least one entry, not {found}")
        self.columns = {name: as_tensor(name, values) for name, values in columns.items()}
        self.units = checked_units(units, self.columns)
        self.provenance = checked_provenance(provenance)
        self._check_lengths()
        if len(self) == 0:
            raise ValueError(f"the columns {', '.join(columns)} hold no events; look at the cut or file they come from")
        for name, column in self.columns.items():
            check_finite(name, column)

    def _check_lengths(self):
        lengths = {name: len(column) for name, column in self.columns.items()}
        if len(set(lengths.values())) > 1:
            text = ", ".join(f"{name} {length}" for name, length in lengths.items())
            raise ValueError(f"the lengths of the columns are: {text}; all must have one row per event")

    def _like(self, columns):
        """Return events with the same units and provenance, without looking at every number again."""
        other = object.__new__(Events)
        other.columns, other.units, other.provenance = columns, dict(self.units), dict(self.provenance)
        return other

    def __len__(self):
        return len(next(iter(self.columns.values())))

    def __contains__(self, name):
        return name in self.columns

    def __iter__(self):
        raise TypeError("Events is no sequence; use events.columns for the columns, events[i] for single events")

    def __repr__(self):
        shapes = {name: ", ".join(["n", *map(str, c.shape[1:])]) for name, c in self.columns.items()}
        text = ", ".join(f"{k} ({s}{',' if s == 'n' else ''}) {self.units[k]}" for k, s in shapes.items())
        return f"Events({len(self):,} events: {text})"

    def __getitem__(self, key):
        """Return a column (key: its name) or the chosen events (key: bool mask, slice, index or indices)."""
        if isinstance(key, str):
            return self.columns[self._known(key)]
        if isinstance(key, tuple):
            raise TypeError(
                "one column by name, events['pt_z'], or several as one tensor: events.stack('pt_z', 'eta_z')"
            )
        rows = _rows(key, len(self))
        return self._like({name: _take(column, rows) for name, column in self.columns.items()})

    def _known(self, name):
        if name in self.columns:
            return name
        near = difflib.get_close_matches(str(name), self.columns, n=1, cutoff=0.5)
        guess = f" Did you mean {near[0]!r}?" if near else ""
        raise NoColumn(f"there is no column {name!r}; the columns are: {', '.join(self.columns)}.{guess}")

    def with_column(self, name, values, unit):
        """Return events with one column more, or another in its place.

        Example:
            >>> events = Events({"x": torch.ones(2)}, {"x": "GeV"})
            >>> events.with_column("x_squared", events["x"] ** 2, "GeV^2")
            Events(2 events: x (n,) GeV, x_squared (n,) GeV^2)
        """
        return Events({**self.columns, name: values}, {**self.units, name: unit}, self.provenance)

    def split(self, *fractions, seed=1):
        """Return disjoint random parts, one per fraction; the same seed gives the same parts.

        Arguments:
            fractions: of all events, each > 0, together at most 1; what they leave over is in no part.
        Raises:
            ValueError: fractions not in (0, 1], together above 1, or so small that a part has no event.
        Example:
            >>> events = Events({"x": torch.arange(10.0)}, {"x": "1"})
            >>> [len(part) for part in events.split(0.8, 0.1, 0.1)]
            [8, 1, 1]
        """
        if not fractions or not all(isinstance(f, (int, float)) and 0 < f <= 1 for f in fractions):
            raise ValueError(f"split takes fractions between 0 and 1, such as split(0.8, 0.1, 0.1), not {fractions}")
        if sum(fractions) > 1 + 1e-9:
            raise ValueError(f"the fractions {fractions} add up to {sum(fractions):g}; together they may be at most 1")
        edges = [round(len(self) * sum(fractions[:i])) for i in range(len(fractions) + 1)]
        if any(low == high for low, high in itertools.pairwise(edges)):
            raise ValueError(
                f"{len(self)} events are too few for the fractions {fractions}: a part would be empty; take more"
            )
        order = torch.randperm(len(self), generator=torch.Generator().manual_seed(seed))
        return tuple(self[order[low:high]] for low, high in itertools.pairwise(edges))

    def stack(self, *names):
        """Return columns side by side as one tensor of features; (n, k, 4) counts as 4k of them.

        Shapes:
            columns (n,), (n, k) or (n, k, 4) -> (n, d)
        Raises:
            ValueError: columns of different length; TypeError: of different type.
        Example:
            >>> events = Events({"x": torch.ones(3), "p": torch.zeros(3, 4)}, {"x": "1", "p": "GeV"})
            >>> events.stack("x", "p").shape
            torch.Size([3, 5])
        """
        if not names:
            raise ValueError(f"stack needs the names of columns; there are: {', '.join(self.columns)}")
        columns = {name: self[name] for name in map(self._known, names)}
        self._check_lengths()
        types = {name: str(column.dtype).removeprefix("torch.") for name, column in columns.items()}
        if len(set(types.values())) > 1:
            text = ", ".join(f"{name} {of}" for name, of in types.items())
            raise TypeError(f"columns of different type cannot be stacked: {text}; convert them, events[name].float()")
        return torch.cat([column.flatten(1) if column.ndim > 1 else column[:, None] for column in columns.values()], 1)

    def to(self, device=None, dtype=None):
        """Return the events on another device, and columns of floating point in another type.

        Raises:
            ValueError: numbers that the smaller type cannot hold. TypeError: dtype is not float16, float32 or float64.
        Example:
            >>> Events({"x": torch.ones(3)}, {"x": "1"}).to("cpu", torch.float64)["x"].dtype
            torch.float64
        """
        if isinstance(device, torch.dtype):
            device, dtype = None, device
        if dtype not in (None, torch.float16, torch.float32, torch.float64):
            raise TypeError(f"dtype must be torch.float16, torch.float32 or torch.float64, not {dtype}")
        columns = {k: c.to(device, dtype if c.is_floating_point() else None) for k, c in self.columns.items()}
        if dtype in (torch.float16, torch.float32):
            for name, column in columns.items():
                check_finite(name, column, f"{dtype} is too small for these numbers, keep a larger type")
        return self._like(columns)

    @classmethod
    def join(cls, parts):
        """Return the events of several samples one after the other, with the provenance of the first.

        Raises:
            ValueError: no parts, or parts with other columns, shapes or units.
        Example:
            >>> half = Events({"x": torch.ones(3)}, {"x": "GeV"})
            >>> len(Events.join([half, half]))
            6
        """
        parts = list(parts)
        if not parts:
            raise ValueError("join needs at least one sample")
        first = parts[0]
        for i, part in enumerate(parts):
            if part.units != first.units or any(part[k].shape[1:] != c.shape[1:] for k, c in first.columns.items()):
                raise ValueError(f"convert before you join: sample {i} is {part!r}, the first one {first!r}")
        return first._like({name: torch.cat([part[name] for part in parts]) for name in first.columns})

    def save(self, path, *, compress=True):
        """Write the sample as npz, whole or not at all, and return its sha256.

        Arguments:
            compress: smaller and slower; the sample read back is the same.
        Raises:
            ValueError: no events, a NaN, or unequal lengths. OSError: full disk, no permission; nothing is left behind.
        Example:
            >>> import tempfile
            >>> path = Path(tempfile.mkdtemp()) / "sample.npz"
            >>> sha256 = Events({"x": torch.ones(3)}, {"x": "GeV"}).save(path)
            >>> Events.load(path, sha256)
            Events(3 events: x (n,) GeV)
        """
        path = Path(path)
        if path.suffix != ".npz":
            raise ValueError(f"a sample is saved as .npz; call it {path.with_suffix('.npz')}")
        return write_whole(path, self.packed(compress=compress))

    def packed(self, *, compress=True):
        """Return the sample as the bytes of the file that `save` writes.

        Example:
            >>> Events({"x": torch.ones(3)}, {"x": "GeV"}).packed()[:2]
            b'PK'
        """
        whole = Events(self.columns, self.units, self.provenance)  # checks what may have been changed since
        arrays = {name: column.detach().cpu().contiguous().numpy() for name, column in whole.columns.items()}
        return pack(arrays, whole.units, whole.provenance, compress=compress)

    @classmethod
    def load(cls, path, sha256=None):
        """Return a sample from a file that `save` wrote, held against its sha256 where one is given.

        Arguments:
            path: of one file, or a list: the parts of one sample, in order.
        Raises:
            FileNotFoundError: there is no such file.
            BadSample: another sha256, cut short, changed, not an npz, pickled objects, units missing, NaN inside.
        Example:
            >>> Events.load("no_such_sample.npz")
            Traceback (most recent call last):
            FileNotFoundError: there is no file no_such_sample.npz; ...
        """
        if isinstance(path, (list, tuple)):
            return cls.join([cls.load(part) for part in path])
        columns, units, provenance = unpack(read(path, sha256), source=path)
        try:
            return cls(columns, units, provenance)
        except (ValueError, TypeError) as problem:
            raise BadSample(f"{path}: {problem}") from problem


class NoColumn(KeyError):
    """A column that the sample does not have; KeyError alone would print the message with its quotes escaped."""

    def __str__(self):
        return self.args[0]


def _rows(key, n):
    """Return a slice or an index tensor for n rows out of whatever may stand between the brackets."""
    if isinstance(key, slice):
        return key
    if isinstance(key, (int, np.integer)) and not isinstance(key, bool):
        if not -n <= key < n:
            raise IndexError(f"there is no event {key}; there are {n}, counted from 0")
        return slice(int(key) % n, int(key) % n + 1)
    try:
        rows = torch.as_tensor(key)
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(f"events[...] takes a name, a mask, a slice or indices, not {kind(key)}") from None
    if rows.dtype == torch.bool:
        if rows.shape != (n,):
            raise IndexError(f"the mask has the shape {tuple(rows.shape)}; it must be ({n},), one entry per event")
        return rows
    if rows.ndim != 1 or (rows.is_floating_point() and len(rows)) or rows.is_complex():
        raise TypeError(
            f"events[...] takes a mask (bool) or indices (int) of shape (m,), not {rows.dtype} {tuple(rows.shape)}"
        )
    if len(rows) and (rows.min() < -n or rows.max() >= n):
        raise IndexError(f"indices from {int(rows.min())} to {int(rows.max())}, but there are {n} events")
    return rows.long()


def _take(column, rows):
    return column[rows if isinstance(rows, slice) else rows.to(column.device)]
