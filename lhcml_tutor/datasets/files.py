"""One sample in one file: npz without pickle, written whole or not at all, and never trusted when read.

The file holds one array per column and the member `about`: units, provenance and what to expect of each column,
as JSON. Reading opens the members that `about` lists, by name, and holds each against its entry before any memory
is taken for it.
"""

import contextlib
import hashlib
import io
import json
import math
import os
import tempfile
import zipfile
import zlib
from pathlib import Path

import numpy as np

FORMAT = 1
ABOUT = "about"
KINDS = ("bool", "uint8", "int16", "int32", "int64", "float16", "float32", "float64")
MAX_ABOUT = 2**20  # bytes; JSON of units and settings, a few kB
MAX_BYTES = 2**35  # 32 GiB unpacked: more than any sample of the course, less than a file built to fill the memory


class BadSample(ValueError):
    """A sample file is not what it should be; the message says what is wrong and what to do."""


def pack(columns: dict, units: dict, provenance: dict, *, compress: bool = True) -> bytes:
    """Return a sample as the bytes of an npz file; the same sample gives the same bytes.

    Arguments:
        columns: name -> array of numpy type bool, integer or float.
        compress: with bzip2, which makes jets a tenth smaller than deflate does; reads 30 MB/s.
    Example:
        >>> data = pack({"x": np.arange(3.0)}, {"x": "GeV"}, {})
        >>> unpack(data)[0]["x"]
        array([0., 1., 2.])
    """
    about = {
        "format": FORMAT,
        "columns": {name: {"shape": list(array.shape), "dtype": array.dtype.name} for name, array in columns.items()},
        "units": units,
        "provenance": provenance,
    }
    text = np.frombuffer(json.dumps(about, allow_nan=False).encode(), dtype=np.uint8)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_BZIP2 if compress else zipfile.ZIP_STORED) as archive:
        for name, array in {ABOUT: text, **columns}.items():
            member = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))  # same sample, same bytes
            member.compress_type = archive.compression
            with archive.open(member, "w", force_zip64=True) as file:
                np.lib.format.write_array(file, array, version=(1, 0), allow_pickle=False)
    return buffer.getvalue()


def write_whole(path, data: bytes) -> str:
    """Write a file so that it is there whole or not at all, and return its sha256.

    Raises:
        OSError: the file could not be written (full disk, no permission); nothing half-written stays.
    Example:
        >>> path = Path(tempfile.mkdtemp()) / "sample.npz"
        >>> write_whole(path, b"abc")[:8]
        'ba7816bf'
    """
    path = Path(path)
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)  # mkstemp's 0600 would hide a shared cache from colleagues
        os.replace(temporary, path)
    except BaseException as problem:
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
        if not isinstance(problem, OSError):
            raise
        text = (
            f"could not write {path} ({len(data) / 1e6:.1f} MB): {problem.strerror or problem}; nothing was left "
            "behind. Free some space or choose another folder (LHCML_CACHE is the folder of the data cache)"
        )
        raise OSError(problem.errno, text) from problem
    return hashlib.sha256(data).hexdigest()


def read(path, sha256: str | None = None) -> bytes:
    """Return the bytes of a file, held against its sha256 where one is known.

    Raises:
        FileNotFoundError: there is no such file.
        BadSample: it is empty, a folder, or its sha256 is another.
    Example:
        >>> read(__file__, sha256="0" * 64)
        Traceback (most recent call last):
        lhcml_tutor.datasets.files.BadSample: ...
    """
    path = Path(path)
    if path.is_dir():
        raise BadSample(f"{path} is a folder; give the path of one .npz file in it")
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise FileNotFoundError(
            f"there is no file {path}; `lhcml data list` shows the samples and where they are"
        ) from None
    if not data:
        raise BadSample(f"{path} is empty; delete it and run `lhcml data verify`")
    if sha256 is not None and (found := hashlib.sha256(data).hexdigest()) != sha256.lower():
        raise BadSample(
            f"{path} is damaged or another version: its sha256 is {found[:12]}..., expected {sha256[:12]}...; "
            "delete it and run `lhcml data verify`, or in a checkout `git checkout -- data`"
        )
    return data


def unpack(data: bytes, source="these bytes") -> tuple[dict, dict, dict]:
    """Return columns, units and provenance of the bytes of a sample file.

    Arguments:
        source: what error messages call the file.
    Raises:
        BadSample: not an npz of this course, cut short, changed, or with arrays that only pickle could read.
    Example:
        >>> unpack(b"not a zip file")
        Traceback (most recent call last):
        lhcml_tutor.datasets.files.BadSample: ...
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            total = sum(member.file_size for member in archive.infolist())
            if total > MAX_BYTES:
                raise BadSample(f"{source} unpacks to {total / 1e9:.0f} GB, more than any sample here; do not trust it")
            about = _read_about(archive, source)
            columns = {name: _read_member(archive, name, want, source) for name, want in about["columns"].items()}
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError) as problem:
        what = "is cut short or changed" if data[:2] == b"PK" else "is not an npz file"
        remedy = "delete it and run `lhcml data verify`, or write it again with Events.save"
        raise BadSample(f"{source} {what} ({problem}); {remedy}") from problem
    return columns, about["units"], about["provenance"]


def _read_about(archive, source):
    foreign = f"{source} is not a sample written by Events.save"
    names = archive.namelist()
    if f"{ABOUT}.npy" not in names:
        held = ", ".join(repr(name) for name in names[:5]) or "nothing"
        remedy = "read it with numpy.load and make Events(columns, units) of its arrays"
        raise BadSample(f"{foreign}: it has no units and provenance (it holds {held}); {remedy}")
    try:
        about = json.loads(bytes(_read_member(archive, ABOUT, {"dtype": "uint8"}, source, most=MAX_ABOUT)))
    except ValueError as problem:
        if isinstance(problem, BadSample):
            raise
        raise BadSample(f"{foreign}: its units and provenance are not JSON ({problem}); write it again") from problem
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        version = about.get("format") if isinstance(about, dict) else None
        raise BadSample(f"{source} has the file format {version}, this version reads {FORMAT}; update lhcml-tutor")
    for part in ("columns", "units", "provenance"):
        if not isinstance(about.get(part), dict):
            raise BadSample(
                f"{foreign}: its {part} are missing; make Events(columns, units) of its arrays and save again"
            )
    return about


def _read_member(archive, name, want, source, most=MAX_BYTES):
    """Return one array after its header was held against the size of the member and what `about` says of it."""
    try:
        member = archive.getinfo(f"{name}.npy")
    except KeyError:
        raise BadSample(f"{source} has lost its column {name!r}; delete it and run `lhcml data verify`") from None
    with archive.open(member) as file:
        try:
            version = np.lib.format.read_magic(file)
            header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
            shape, fortran, dtype = header(file)
        except (ValueError, KeyError, SyntaxError) as problem:
            raise BadSample(f"{source}: member {name!r} is not a numpy array ({problem}); write it again") from problem
        if dtype.hasobject:
            raise BadSample(
                f"{source}: column {name!r} holds Python objects, which only pickle can read, and pickle can run any "
                "code; save it as numbers"
            )
        if dtype.name not in KINDS or dtype.byteorder == ">" or fortran:
            raise BadSample(f"{source}: column {name!r} has the type {dtype}; save it as one of {', '.join(KINDS)}")
        size = math.prod(shape) * dtype.itemsize
        if size > min(most, member.file_size) or any(
            found != want[key] for key, found in (("dtype", dtype.name), ("shape", list(shape))) if key in want
        ):
            raise BadSample(
                f"{source}: column {name!r} says it is {shape} {dtype}, which the file does not hold; write it again"
            )
        data = file.read()  # to the end of the member: only then has zipfile compared its checksum
    if len(data) != size:
        raise BadSample(
            f"{source}: column {name!r} has {len(data)} bytes, {size} expected; delete it and make it again"
        )
    return np.frombuffer(bytearray(data), dtype=dtype).reshape(shape)
