"""The first events of a file of a public reference set, as arrays; nothing is unpickled, unpacked to disk or executed.

Each reader takes the path and n (None: all) and returns columns as numpy arrays; only these events are in memory.
"""

import contextlib
import math
import tarfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath

import numpy as np

from ..extras import require
from ..physics.constants import STABLE
from .files import BadSample

ROWS = 20_000  # events in memory beyond those returned
TOP_PARTICLES = 200
JET_CLASSES = ("QCD", "Hbb", "Hcc", "Hgg", "H4q", "Hqql", "Zqq", "Wqq", "Tbqq", "Tbl")
KINDS = {"ChargedHadron": 211, "NeutralHadron": 130, "Photon": 22, "Electron": 11, "Muon": 13}


def read_top_tagging(path, n=None, particles=None):
    """Return constituents (n, particles, 4) and label (n,) of an h5 file of the top-tagging reference set.

    The file is a pandas table: group "table", dataset "table", each row with the blocks values_block_0 (floats) and
    values_block_1 (integers). The names of the columns are stored as pickles and not looked at; their documented order
    is E_0, PX_0, PY_0, PZ_0, ..., PZ_199, truthE, truthPX, truthPY, truthPZ | ttv, is_signal_new.

    Example:
        >>> read_top_tagging("no_such.h5")
        Traceback (most recent call last):
        FileNotFoundError: ...
    """
    h5py = require("h5py", extra="public")
    with contextlib.suppress(ImportError):
        import hdf5plugin  # noqa: F401  (brings filters that h5py lacks, if it is installed)
    try:
        with h5py.File(path, "r") as file:
            table = file.get("table/table")
            names = getattr(table, "dtype", np.dtype("f4")).names or ()
            if not {"values_block_0", "values_block_1"} <= set(names):
                raise BadSample(f"{path} is not a pandas table with two blocks of values; it has {names or list(file)}")
            blocks = [table.dtype[f"values_block_{k}"] for k in (0, 1)]
            shapes = [(kind.base.kind, kind.shape) for kind in blocks]
            if shapes[0] != ("f", (4 * TOP_PARTICLES + 4,)) or shapes[1][0] not in "iu" or shapes[1][1] != (2,):
                raise BadSample(f"{path} has blocks {shapes}; expected 804 floats and 2 integers per jet")
            n, k = _enough(path, n, len(table)), min(particles or TOP_PARTICLES, TOP_PARTICLES)
            momenta, label = np.empty((n, k, 4), np.float32), np.empty(n, np.int64)
            for low in range(0, n, ROWS):
                rows = table[low : min(low + ROWS, n)]
                part = rows["values_block_0"][:, : 4 * TOP_PARTICLES].reshape(len(rows), TOP_PARTICLES, 4)
                momenta[low : low + len(rows)] = _ordered(part)[0][:, :k]
                label[low : low + len(rows)] = rows["values_block_1"][:, 1]
    except FileNotFoundError:
        raise
    except OSError as problem:
        remedy = "delete it and fetch it again; if a filter is missing, pip install hdf5plugin"
        raise BadSample(f"{path} cannot be read as HDF5 ({problem}); {remedy}") from problem
    return {"constituents": momenta, "label": label}


def read_quark_gluon(path, n=None, particles=None):
    """Return constituents, pdg_id (n, particles) and label (n,): 1 quark, 0 gluon, of an npz file of quark-gluon jets.

        X (n, particles, 4): pT, rapidity, phi, pdg id;  y (n,);  E = sqrt(pT^2 + m^2) cosh y, m by the pdg id

    Example:
        >>> read_quark_gluon("no_such.npz")
        Traceback (most recent call last):
        FileNotFoundError: ...
    """
    arrays = read_npz(path, n, ("X", "y"))
    if arrays["X"].ndim != 3 or arrays["X"].shape[2] != 4:
        raise BadSample(f"{path}: X has the shape {arrays['X'].shape}; expected (n, particles, 4): pT, y, phi, pdg id")
    pt, y, phi, number = np.moveaxis(arrays["X"].astype(np.float64), 2, 0)
    mass = np.zeros_like(pt)
    for code, value in STABLE.items():
        mass[np.abs(number) == code] = value
    transverse = np.where(pt > 0, np.hypot(pt, mass), 0)
    momenta = np.stack([transverse * np.cosh(y), pt * np.cos(phi), pt * np.sin(phi), transverse * np.sinh(y)], axis=2)
    momenta, number = _ordered(momenta, number)
    columns = {"constituents": momenta, "pdg_id": number.astype(np.int64), "label": arrays["y"].astype(np.int64)}
    return {name: a[:, :particles] if a.ndim > 1 else a for name, a in columns.items()}


def read_omnifold(path, n=None, particles=None):
    """Return gen_ and sim_ observables (n,) of an npz file of Z + jets before and after Delphes.

    Example:
        >>> read_omnifold("no_such.npz")
        Traceback (most recent call last):
        FileNotFoundError: ...
    """
    single = {"mults": "multiplicity", "widths": "width", "tau2s": "tau_2", "zgs": "z_g", "sdms": "groomed_mass",
              "lhas": "angularity"}  # fmt: skip
    names = [f"{level}_{name}" for level in ("gen", "sim") for name in ("jets", *single)]
    arrays, columns = read_npz(path, n, names), {}
    for level in ("gen", "sim"):
        jets = arrays[f"{level}_jets"]
        if jets.ndim != 2 or jets.shape[1] < 4:
            raise BadSample(f"{path}: {level}_jets has the shape {jets.shape}; expected (n, 4): pT, y, phi, mass")
        columns |= {f"{level}_{name}": jets[:, k] for k, name in enumerate(("pt", "rapidity", "phi", "mass"))}
        columns |= {f"{level}_{name}": arrays[f"{level}_{key}"] for key, name in single.items()}
    return {name: array.astype(np.float32) for name, array in columns.items()}


def read_jet_class(path, n=None, particles=128):
    """Return constituents, pdg_id and label (n,), the place in JET_CLASSES, of a tar of ROOT files, not unpacked.

    The ten processes take turns, so that the first events are a balanced sample.
    The detector tells five kinds of particles apart; pdg_id is 211, 130, 22, 11 or 13 with the sign of the charge.

    Example:
        >>> read_jet_class("no_such.tar")
        Traceback (most recent call last):
        FileNotFoundError: ...
    """
    uproot = require("uproot", extra="public")
    try:
        with tarfile.open(path, "r:") as archive:
            members = safe_members(archive, path)
            files = {}  # by process: HToBB_120.root, HToBB_121.root, ...
            for member in members:
                files.setdefault(PurePosixPath(member.name).name.rsplit("_", 1)[0], []).append(member)
            if not files:
                raise BadSample(f"{path} holds no ROOT file; delete it and fetch it again")
            share, parts, turns = math.inf if n is None else -(-n // len(files)), [], []
            for of_process in files.values():
                found = 0
                for member in of_process:
                    if found < share:
                        with uproot.open(archive.extractfile(member)) as file:
                            parts.append(_jets_of_tree(file["tree"], share - found, particles))
                        found += len(parts[-1]["label"])
                turns.append(np.arange(found))
    except FileNotFoundError:
        raise
    except (tarfile.TarError, OSError, KeyError, ValueError) as problem:
        if isinstance(problem, BadSample):
            raise
        text = f"{path} is not a tar of ROOT files with the tree of JetClass"
        raise BadSample(f"{text} ({type(problem).__name__}: {problem}); delete it and fetch it again") from problem
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    n = _enough(path, n, len(columns["label"]))
    order = np.concatenate(turns).argsort(kind="stable")[:n]
    return {name: column[order] for name, column in columns.items()}


def safe_members(archive, path):
    """Return the ROOT files of a tar, in order of their names, after a look at where every member wants to go.

    Raises:
        BadSample: a member with a path outside the archive's folder, a link or a device.
    Example:
        >>> import io
        >>> safe_members(tarfile.open(fileobj=io.BytesIO(), mode="w"), "empty.tar")
        []
    """
    for member in archive:
        name = PurePosixPath(member.name.replace("\\", "/"))
        if name.is_absolute() or ".." in name.parts or ":" in member.name or not (member.isfile() or member.isdir()):
            raise BadSample(f"{path}: member {member.name!r} lies outside the archive or is no plain file; delete it")
    roots = [member for member in archive.getmembers() if member.isfile() and member.name.endswith(".root")]
    return sorted(roots, key=lambda member: member.name)


def read_npz(path, n, names):
    """Return the first n rows of arrays of an npz file, reading no further than that.

    Raises:
        BadSample: not an npz, an array missing, pickled objects. ValueError: fewer than n rows.
    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "line.npz"
        >>> np.savez(path, x=np.arange(10))
        >>> read_npz(path, 3, ["x"])["x"]
        array([0, 1, 2])
    """
    arrays = {}
    try:
        with zipfile.ZipFile(path) as archive:
            if missing := [name for name in names if f"{name}.npy" not in archive.namelist()]:
                raise BadSample(f"{path} has no {', '.join(missing)}; it has {', '.join(archive.namelist())[:300]}")
            for name in names:
                with archive.open(f"{name}.npy") as file:
                    arrays[name] = _first_rows(file, n, path, name)
    except FileNotFoundError:
        raise
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError) as problem:
        raise BadSample(
            f"{path} is cut short or not an npz file ({problem}); delete it and fetch it again"
        ) from problem
    if len({len(array) for array in arrays.values()}) != 1:
        raise BadSample(f"{path}: its arrays have {[len(array) for array in arrays.values()]} rows; fetch it again")
    return arrays


def _first_rows(file, n, path, name):
    version = np.lib.format.read_magic(file)
    header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    try:
        shape, fortran, dtype = header(file)
    except (ValueError, SyntaxError) as problem:
        raise BadSample(f"{path}: {name} is not a numpy array ({problem}); fetch it again") from problem
    if dtype.hasobject:
        raise BadSample(f"{path}: {name} holds Python objects, which only pickle can read, and pickle can run any code")
    if fortran or not shape:
        raise BadSample(f"{path}: {name} of shape {shape} is not stored event by event; it cannot be read in part")
    rows = _enough(path, n, shape[0])
    size = rows * math.prod(shape[1:]) * dtype.itemsize
    data = file.read(size)
    if len(data) != size:
        raise BadSample(
            f"{path}: {name} ends after {len(data):,} of {size:,} bytes; delete the file and fetch it again"
        )
    return np.frombuffer(bytearray(data), dtype).reshape(rows, *shape[1:])


def _jets_of_tree(tree, n, particles):
    awkward = require("awkward", extra="public")
    names = [f"part_{name}" for name in ("energy", "px", "py", "pz", "charge", *(f"is{kind}" for kind in KINDS))]
    rows, parts = int(min(n, tree.num_entries)), []
    for low in range(0, rows, ROWS):
        jets = tree.arrays(
            [*names, *(f"label_{name}" for name in JET_CLASSES)], entry_start=low, entry_stop=min(low + ROWS, rows)
        )
        wide = int(awkward.max(awkward.num(jets["part_px"]))) if len(jets) else 1
        padded = awkward.fill_none(awkward.pad_none(jets[names], wide, clip=True), 0)
        column = {name: awkward.to_numpy(padded[name]).astype(np.float64) for name in names}
        momenta = np.stack([column[f"part_{name}"] for name in ("energy", "px", "py", "pz")], axis=2)
        identity = sum(code * (column[f"part_is{kind}"] > 0) for kind, code in KINDS.items())
        sign = np.where(np.isin(identity, (11, 13)), -1, 1) * np.where(column["part_charge"] < 0, -1, 1)
        momenta, identity = _ordered(momenta, identity * sign)
        hot = np.stack([awkward.to_numpy(jets[f"label_{name}"]) for name in JET_CLASSES], axis=1)
        if not (hot.sum(1) == 1).all():
            raise BadSample("a jet of the file has not exactly one of the ten labels")
        parts.append((_padded(momenta, particles), _padded(identity, particles).astype(np.int64), hot.argmax(1)))
    momenta, identity, label = (np.concatenate(columns) for columns in zip(*parts))
    return {"constituents": momenta, "pdg_id": identity, "label": label}


def _padded(array, particles):
    """Return (n, particles, ...), cut or filled with zeros."""
    array = array[:, :particles]
    return np.pad(array, [(0, 0), (0, particles - array.shape[1])] + [(0, 0)] * (array.ndim - 2))


def _ordered(momenta, *others):
    """Return momenta in float32, and what goes with them, in order of falling pT; zeros stay last."""
    order = np.argsort(-np.hypot(momenta[..., 1], momenta[..., 2]), axis=1, kind="stable")
    taken = np.take_along_axis(momenta, order[..., None], axis=1).astype(np.float32)
    return taken, *(np.take_along_axis(other, order, axis=1) for other in others)


def _enough(path, n, there):
    if n is None:
        return there
    if n > there:
        raise ValueError(f"n = {n}, but {Path(path).name} has {there} events; ask for fewer or for another part")
    return n
