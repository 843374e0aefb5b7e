"""Bad input to Events, its files and the storage: each message names the cause and the remedy."""

import io
import json
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from lhcml_tutor.datasets import BadSample, Events, cache, load_first_events, storage

GOOD = torch.arange(1.0, 6.0)
UNIT = {"x": "GeV"}


def events():
    return Events({"pt_z": GOOD, "count": torch.arange(5)}, {"pt_z": "GeV", "count": "1"})


def with_nan():
    x = torch.ones(5, 4)
    x[3, 2] = float("nan")
    return Events({"momentum": x}, {"momentum": "GeV"})


def saved(folder, change=lambda data: data):
    """A good file, changed as bytes."""
    path = Path(folder) / "sample.npz"
    Events({"x": torch.arange(1000.0)}, UNIT).save(path, compress=False)
    path.write_bytes(change(path.read_bytes()))
    return path


def forged(folder, arrays, about=None, raw=None):
    """A file as somebody else might write it: numpy arrays, any text in `about`, raw bytes as members."""
    path = Path(folder) / "forged.npz"
    members = {}
    if about is not None:
        text = about if isinstance(about, str) else json.dumps(about)
        arrays = {"about": np.frombuffer(text.encode(), dtype=np.uint8), **arrays}
    for name, array in arrays.items():
        buffer = io.BytesIO()
        np.lib.format.write_array(buffer, array, allow_pickle=True)
        members[name] = buffer.getvalue()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in {**members, **(raw or {})}.items():
            archive.writestr(f"{name}.npy", data)
    return path


def about(shape=(3,), dtype="float64", units=UNIT, **more):
    columns = {"x": {"shape": list(shape), "dtype": dtype}}
    return {"format": 1, "columns": columns, "units": units, "provenance": {}, **more}


def huge_header():
    """A member whose header announces 8 TB and whose body has eight bytes."""
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "<f8", "fortran_order": False, "shape": (10**12,)})
    return buffer.getvalue() + bytes(8)


class Bomb:
    """What a pickle can do to whoever reads it: this one only leaves a trace."""

    def __reduce__(self):
        return (Path.touch, (Path("pickle_was_read"),))


def file_of_pickles(folder):
    objects = np.array([Bomb(), None, None], dtype=object)
    return forged(folder, {"x": objects}, about(dtype="object"))


# what is done -> (function of a folder, error, words of the cause, words of the remedy)
EVENTS = {
    "columns of unequal length": (
        lambda _: Events({"x": GOOD, "y": GOOD[:3]}, {"x": "GeV", "y": "GeV"}),
        ValueError, "lengths of the columns are: x 5, y 3", "one row per event",
    ),
    "no columns": (lambda _: Events({}, {}), TypeError, "not an empty one", "at least one entry"),
    "a tensor instead of columns": (lambda _: Events(GOOD, UNIT), TypeError, "not Tensor", "must be a dict of name"),
    "no events": (lambda _: Events({"x": GOOD[:0]}, UNIT), ValueError, "hold no events", "look at the cut or file"),
    "NaN in the data": (
        lambda _: with_nan(),
        ValueError, "column 'momentum' has nan in row 3; NaN or inf stand in 1 of 5", "torch.isfinite",
    ),
    "inf in the data": (
        lambda _: Events({"x": GOOD / (GOOD - 2)}, UNIT),
        ValueError, "column 'x' has inf in row 1", "mend their source",
    ),
    "a list of texts": (
        lambda _: Events({"x": ["a", "b"]}, UNIT),
        TypeError, "column 'x' must be a tensor or array of numbers, not list", "number texts",
    ),
    "rows of unequal length": (
        lambda _: Events({"x": [[1.0], [1.0, 2.0]]}, UNIT), TypeError, "column 'x'", "pad rows of unequal length",
    ),
    "complex numbers": (
        lambda _: Events({"x": torch.ones(3, dtype=torch.complex64)}, UNIT),
        TypeError, "has the type complex64", "use one of bool",
    ),
    "a single number": (
        lambda _: Events({"x": 3.0}, UNIT),
        ValueError, "column 'x' is a single number", "one row per event, shape (n,)",
    ),
    "a column without a unit": (
        lambda _: Events({"x": GOOD}, {}), ValueError, "no unit for x", "'1' for pure numbers",
    ),
    "a unit without a column": (
        lambda _: Events({"x": GOOD}, {"x": "GeV", "pt": "GeV"}),
        ValueError, "units for pt", "the only columns are: x; take them out",
    ),
    "a name that is no name": (
        lambda _: Events({"p T": GOOD}, {"p T": "GeV"}), TypeError, "'p T' cannot name", "such as 'pt_z'",
    ),
    "provenance that JSON cannot hold": (
        lambda _: Events({"x": GOOD}, UNIT, {"seed": GOOD}), TypeError, "Tensor is not JSON", "a dict of plain numbers",
    ),
    "an unknown column": (
        lambda _: events()["pt_Z"], KeyError, "no column 'pt_Z'; the columns are: pt_z, count", "Did you mean 'pt_z'?",
    ),
    "two columns between the brackets": (
        lambda _: events()["pt_z", "count"], TypeError, "one column by name", "events.stack(",
    ),
    "an event that is not there": (lambda _: events()[5], IndexError, "no event 5", "there are 5, counted from 0"),
    "a mask of another length": (
        lambda _: events()[GOOD[:3] > 1],
        IndexError, "the mask has the shape (3,)", "it must be (5,), one entry per event",
    ),
    "a mask of numbers": (
        lambda _: events()[GOOD], TypeError, "not torch.float32 (5,)", "takes a mask (bool) or indices",
    ),
    "fractions above 1": (
        lambda _: events().split(0.8, 0.3), ValueError, "(0.8, 0.3) add up to 1.1", "together they may be at most 1",
    ),
    "counts instead of fractions": (
        lambda _: events().split(4, 1), ValueError, "not (4, 1)", "such as split(0.8, 0.1, 0.1)",
    ),
    "too few events to split": (
        lambda _: events().split(0.8, 0.05), ValueError, "5 events are too few", "take more",
    ),
    "stacking different types": (
        lambda _: events().stack("pt_z", "count"), TypeError, "pt_z float32, count int64", "events[name].float()",
    ),
    "stacking a column that was cut behind the back": (
        lambda _: (e := events(), e.columns.update(pt_z=GOOD[:2]), e.stack("pt_z"))[2],
        ValueError, "lengths of the columns are: pt_z 2, count 5", "one row per event",
    ),
    "a type too small for the numbers": (
        lambda _: Events({"x": GOOD * 1e5}, UNIT).to(dtype=torch.float16),
        ValueError, "'x' has inf in row 0", "torch.float16 is too small for these numbers, keep a larger type",
    ),
    "joining samples with other units": (
        lambda _: Events.join([Events({"x": GOOD}, UNIT), Events({"x": GOOD}, {"x": "TeV"})]),
        ValueError, "sample 1 is Events(5 events: x (n,) TeV)", "convert before you join",
    ),
}  # fmt: skip

FILES = {
    "a file that is not there": (
        lambda f: Events.load(f / "no.npz"), FileNotFoundError, "there is no file", "lhcml data list",
    ),
    "a folder": (lambda f: Events.load(f), BadSample, "is a folder", "give the path of one .npz file"),
    "an empty file": (lambda f: Events.load(saved(f, lambda d: b"")), BadSample, "is empty", "delete it"),
    "a web page under the name of a sample": (
        lambda f: Events.load(saved(f, lambda d: b"<html>")), BadSample, "is not an npz file", "delete it",
    ),
    "a file cut short": (
        lambda f: Events.load(saved(f, lambda d: d[:2000])), BadSample, "is cut short or changed", "lhcml data verify",
    ),
    "one flipped bit": (
        lambda f: Events.load(saved(f, lambda d: d[:2000] + bytes([d[2000] ^ 1]) + d[2001:])),
        BadSample, "is cut short or changed (Bad CRC-32", "delete it",
    ),
    "another sha256": (
        lambda f: Events.load(saved(f), "0" * 64), BadSample, "its sha256 is", "git checkout -- data",
    ),
    "a plain npz without units": (
        lambda f: Events.load(forged(f, {"x": np.ones(3)})),
        BadSample, "no units and provenance (it holds 'x.npy')", "numpy.load",
    ),
    "units missing": (
        lambda f: Events.load(forged(f, {"x": np.ones(3)}, about(units=None))),
        BadSample, "its units are missing", "save again",
    ),
    "a unit missing": (
        lambda f: Events.load(forged(f, {"x": np.ones(3)}, about(units={}))),
        BadSample, "no unit for x", "give one for each",
    ),
    "an unreadable description": (
        lambda f: Events.load(forged(f, {"x": np.ones(3)}, "{")), BadSample, "are not JSON", "write it again",
    ),
    "the format of a later version": (
        lambda f: Events.load(forged(f, {"x": np.ones(3)}, about(format=2))),
        BadSample, "file format 2", "update lhcml-tutor",
    ),
    "a column that is gone": (
        lambda f: Events.load(forged(f, {}, about())), BadSample, "lost its column 'x'", "lhcml data verify",
    ),
    "a column of another shape": (
        lambda f: Events.load(forged(f, {"x": np.ones(4)}, about())),
        BadSample, "says it is (4,) float64", "write it again",
    ),
    "Python objects": (
        lambda f: Events.load(file_of_pickles(f)), BadSample, "holds Python objects", "save it as numbers",
    ),
    "a bare pickle": (
        lambda f: Events.load(saved(f, lambda d: pickle.dumps(Bomb()))), BadSample, "is not an npz file", "delete it",
    ),
    "NaN in the file": (
        lambda f: Events.load(forged(f, {"x": np.array([1.0, np.nan, 1.0])}, about())),
        BadSample, "column 'x' has nan in row 1", "mend their source",
    ),
    "eight terabytes announced": (
        lambda f: Events.load(forged(f, {}, about(shape=(10**12,)), {"x": huge_header()})),
        BadSample, "says it is (1000000000000,) float64", "write it again",
    ),
    "text in place of an array": (
        lambda f: Events.load(forged(f, {}, about(), {"x": b"hello, world"})),
        BadSample, "is not a numpy array", "write it again",
    ),
    "saving under a foreign name": (
        lambda f: events().save(f / "sample.csv"), ValueError, "saved as .npz", "sample.npz",
    ),
    "saving a NaN": (
        lambda f: (e := events(), e.columns["pt_z"].fill_(float("nan")), e.save(f / "a.npz")),
        ValueError, "column 'pt_z' has nan in row 0", "torch.isfinite",
    ),
}  # fmt: skip

STORAGE = {
    "an unknown sample": (lambda _: storage.find("higgs"), ValueError, "no sample 'higgs'", "the samples are: z_mumu"),
    "unknown first events": (
        lambda _: load_first_events("Z"), ValueError, "no sample 'Z'", "the first events are: z_mumu",
    ),
    "more events than there are": (
        lambda _: load_first_events("ttbar", n=10**9),
        ValueError, "n = 1000000000, but the sample 'ttbar' has", "make_first_events(",
    ),
    "no events asked for": (
        lambda _: load_first_events("ttbar", n=0),
        ValueError, "n = 0", "must be at least 1, or left out for all",
    ),
    "a maker that returns NaN": (
        lambda _: cache.cached("bad", with_nan), ValueError, "'momentum' has nan in row 3", "torch.isfinite",
    ),
    "a maker that returns a dict": (
        lambda _: cache.cached("bad", lambda: {"x": GOOD}),
        TypeError, "the maker of 'bad' returned dict", "must return Events",
    ),
    "a tensor as argument of a cached sample": (
        lambda _: cache.cached("bad", with_nan, x=GOOD),
        TypeError, "Tensor is not JSON", "must be plain numbers, texts and lists",
    ),
    "shards without events": (
        lambda _: cache.cached_shards("bad", with_nan, n=0, per_shard=10), ValueError, "n=0", "must be at least 1",
    ),
}  # fmt: skip

CASES = {**EVENTS, **FILES, **STORAGE}


def answer(case, folder, monkeypatch):
    """Do it, and return the error's type and words."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("LHCML_CACHE", str(folder / "cache"))
    with pytest.raises(Exception) as problem:  # the type is compared by the caller
        CASES[case][0](folder)
    return problem.type, str(problem.value)


@pytest.mark.parametrize("case", CASES)
def test_cause_and_remedy_are_named(case, tmp_path, monkeypatch):
    _, error, cause, remedy = CASES[case]
    found, words = answer(case, tmp_path, monkeypatch)
    assert issubclass(found, error) and found.__module__.split(".")[0] in ("builtins", "lhcml_tutor"), found
    assert cause in words and remedy in words, words
    assert len(words) < 400 + 2 * len(str(tmp_path))
    assert not (tmp_path / "pickle_was_read").exists() and not list(tmp_path.glob("cache/made/*"))


def test_the_planted_pickle_would_have_run(tmp_path, monkeypatch):
    """The control: numpy with allow_pickle=True runs the code in the file that Events refuses."""
    monkeypatch.chdir(tmp_path)
    np.load(file_of_pickles(tmp_path), allow_pickle=True)["x"]
    assert (tmp_path / "pickle_was_read").exists()
