"""Events: selection, splitting, stacking, files. What must be refused is in test_bad_input_data.py."""

import errno
import hashlib
import multiprocessing
import os
import signal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lhcml_tutor.datasets import Events
from lhcml_tutor.datasets.files import write_whole


def sample(n=100):
    x = torch.arange(n, dtype=torch.float64)
    columns = {
        "x": x,
        "double": 2 * x,
        "momenta": x[:, None, None] + torch.arange(8.0).reshape(2, 4),
        "count": x.long(),
    }
    return Events(
        columns, {"x": "GeV", "double": "GeV", "momenta": "GeV", "count": "1"}, {"generator": "toy", "seed": 1}
    )


def aligned(events):
    """The rows of all columns still belong together."""
    same = torch.equal(events["double"], 2 * events["x"]) and torch.equal(events["count"], events["x"].long())
    return same and torch.equal(events["momenta"][:, 0, 0], events["x"])


def test_columns_units_and_words():
    events = sample(1000)
    assert len(events) == 1000 and events.units["x"] == "GeV" and events.provenance["seed"] == 1
    assert list(events.columns) == ["x", "double", "momenta", "count"] and "x" in events and "y" not in events
    assert repr(events) == "Events(1,000 events: x (n,) GeV, double (n,) GeV, momenta (n, 2, 4) GeV, count (n,) 1)"


@pytest.mark.parametrize(
    ("key", "rows"),
    [
        (slice(2, 5), [2, 3, 4]),
        (7, [7]),
        (-1, [99]),
        (np.int64(3), [3]),
        ([5, 1, 5], [5, 1, 5]),
        (torch.tensor([-1, 0]), [99, 0]),
        (np.array([4, 2]), [4, 2]),
        (torch.arange(100) > 97, [98, 99]),
        ([i == 4 for i in range(100)], [4]),
        (torch.zeros(100, dtype=torch.bool), []),
    ],
)
def test_selection_takes_the_same_rows_of_every_column(key, rows):
    chosen = sample()[key]
    assert chosen["x"].tolist() == rows and aligned(chosen)
    assert chosen.units == sample().units and chosen.provenance == sample().provenance


@given(n=st.integers(10, 300), seed=st.integers(0, 2**31), parts=st.lists(st.floats(0.1, 0.33), min_size=1, max_size=3))
@settings(max_examples=50, deadline=None)
def test_split_is_disjoint_and_keeps_rows_together(n, seed, parts):
    events = sample(n)
    pieces = events.split(*parts, seed=seed)
    seen = torch.cat([piece["count"] for piece in pieces])
    assert len(seen.unique()) == len(seen) and all(map(aligned, pieces))
    for piece, part in zip(pieces, parts, strict=True):
        assert abs(len(piece) - part * n) <= 1


def test_split_uses_every_event_once_and_follows_the_seed():
    parts = sample(1001).split(0.8, 0.1, 0.1, seed=1)
    assert sum(map(len, parts)) == 1001
    again, other = sample(1001).split(0.8, 0.1, 0.1, seed=1), sample(1001).split(0.8, 0.1, 0.1, seed=2)
    assert torch.equal(parts[1]["x"], again[1]["x"]) and not torch.equal(parts[1]["x"], other[1]["x"])
    state = torch.get_rng_state()
    sample().split(0.5)
    assert torch.equal(state, torch.get_rng_state()), "splitting must not move the global generator"


def test_stack_puts_columns_side_by_side_in_the_order_of_the_names():
    assert sample().stack("double", "x")[3].tolist() == [6.0, 3.0]
    assert sample().stack("x", "double")[3].tolist() == [3.0, 6.0]
    assert sample().stack("x", "momenta").shape == (100, 9)


def test_to_changes_floating_columns_only():
    events = sample().to("cpu", torch.float32)
    assert events["x"].dtype == events["momenta"].dtype == torch.float32 and events["count"].dtype == torch.int64
    assert sample().to(torch.float16)["x"].dtype == torch.float16 and sample().to("cpu")["x"].dtype == torch.float64


def test_new_columns_and_joined_samples_leave_the_old_ones_alone():
    events = sample()
    wider = events.with_column("square", events["x"] ** 2, "GeV^2")
    assert wider.units["square"] == "GeV^2" and "square" not in events
    longer = Events.join([events, events[:10]])
    assert len(longer) == 110 and aligned(longer)


@pytest.mark.parametrize("compress", [True, False])
def test_a_saved_sample_comes_back(tmp_path, compress):
    kinds = (
        torch.bool,
        torch.uint8,
        torch.int16,
        torch.int32,
        torch.int64,
        torch.float16,
        torch.float32,
        torch.float64,
    )
    columns = {f"c{i}": (torch.arange(12) % 2).to(kind) for i, kind in enumerate(kinds)}
    columns |= {"strided": torch.rand(4, 12).T, "file": torch.rand(12, 2, 4)}  # not in the order of the alphabet
    events = Events(columns, dict.fromkeys(columns, "GeV/c²"), {"settings": ["a = 1"], "nested": {"x": [1, 2.5, None]}})
    sha256 = events.save(tmp_path / "new" / "sample.npz", compress=compress)
    data = (tmp_path / "new" / "sample.npz").read_bytes()
    assert sha256 == hashlib.sha256(data).hexdigest()
    back = Events.load(tmp_path / "new" / "sample.npz", sha256)
    assert list(back.columns) == list(columns), "in the order in which they were given"
    assert back.units == events.units and back.provenance == events.provenance
    for name, column in columns.items():
        assert back[name].dtype == column.dtype and torch.equal(back[name], column)
    assert set(np.load(tmp_path / "new" / "sample.npz", allow_pickle=False)) == {*columns, "about"}, (
        "numpy reads it, too"
    )


def test_the_same_sample_gives_the_same_bytes(tmp_path):
    assert sample().save(tmp_path / "a.npz") == sample().save(tmp_path / "b.npz")
    assert sample().save(tmp_path / "a.npz") != sample(99).save(tmp_path / "b.npz")


def test_a_loaded_sample_can_be_written_to(tmp_path):
    sample().save(tmp_path / "a.npz")
    Events.load(tmp_path / "a.npz")["x"][0] = 5.0  # numpy's read-only memory would warn or crash here


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    old = sample().save(tmp_path / "a.npz")

    def full(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(
        OSError, match=r"could not write .*a.npz .*No space left on device; nothing was left.*Free some"
    ):
        sample(5000).save(tmp_path / "a.npz")
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]
    assert len(Events.load(tmp_path / "a.npz", old)) == 100


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a child process that can limit itself")
def test_a_write_that_really_breaks_off_leaves_nothing(tmp_path):
    """The kernel stops the write in the middle: a limit of 4 kB on the size of files."""
    words, child = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(target=write_under_a_limit, args=(tmp_path / "a.npz", child))
    process.start()
    assert words.poll(60), "the child said nothing"
    assert "File too large; nothing was left behind. Free some space" in words.recv()
    process.join(10)
    assert list(tmp_path.iterdir()) == []


def write_under_a_limit(path, words):
    import resource

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
    try:
        write_whole(path, bytes(100_000))
        words.send("written")
    except OSError as problem:
        words.send(str(problem))


def test_whoever_reads_during_a_write_sees_the_old_file(tmp_path, monkeypatch):
    old, seen = sample().save(tmp_path / "a.npz"), []
    monkeypatch.setattr(os, "fsync", lambda _: seen.append(len(Events.load(tmp_path / "a.npz", old))))
    sample(5000).save(tmp_path / "a.npz")
    assert seen == [100] and len(Events.load(tmp_path / "a.npz")) == 5000


def test_an_interrupt_while_writing_leaves_nothing(tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        sample().save(tmp_path / "a.npz")
    assert list(tmp_path.iterdir()) == []
