"""Samples made in shards: the same file by any number of workers, after any kind of death, and by two at once."""

import errno
import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import toy_shards

from lhcml_tutor.datasets import cluster, files, locks, registry, shards
from lhcml_tutor.datasets.events import Events
from lhcml_tutor.datasets.shards import ShardFailed, make_sample
from lhcml_tutor.extras import MissingExtra

TESTS = Path(__file__).parent
EVENTS = 4000  # of "toy": eight shards of a thousand tries, in three rounds


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache folder, and the samples of toy_shards."""
    monkeypatch.setenv("LHCML_CACHE", str(tmp_path / "cache"))
    for name, sample in toy_shards.SAMPLES.items():
        monkeypatch.setitem(registry.SAMPLES, name, sample)
    return tmp_path / "cache"


def sha256(path):
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def stored(cache, name):
    return sorted(path for path in cache.glob(f"shards/{name}-*/*.npz"))


def start(cache, name, events, workers=1):
    """Make a sample in a process of its own."""
    paths = os.pathsep.join([str(TESTS.parent), str(TESTS)])
    command = [sys.executable, str(TESTS / "toy_shards.py"), name, str(events), str(workers)]
    gate = str(cache.parent / "gate")
    environment = {**os.environ, "LHCML_CACHE": str(cache), "PYTHONPATH": paths, "GATE": gate, "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@pytest.fixture(scope="module")
def dask_cluster():
    """Two processes with a scheduler on loopback."""
    distributed = pytest.importorskip("distributed", reason='needs pip install "lhcml-tutor[simulation]"')
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, host="127.0.0.1", dashboard_address="127.0.0.1:0"
    ) as running:
        yield running.scheduler_address


def reference(name, events):
    """Return the sample by the definition: shard after shard, cut after `events`."""
    sample, parts, shard = registry.SAMPLES[name], [], 0
    while sum(map(len, parts)) < events:
        made = registry.function(sample.make)(sample.per_shard, 1000 + shard, **sample.settings)
        parts += [made] if made is not None else []
        shard += 1
    return Events.join(parts)[:events]


def test_the_first_events_of_the_shards_in_order(cache):
    made, wanted = Events.load(make_sample("toy", EVENTS)), reference("toy", EVENTS)
    assert len(made) == EVENTS and made.provenance["seed"] == 1
    assert all((made[name] == wanted[name]).all() for name in wanted.columns)
    pt = made["pt"].double().numpy()
    assert pt.min() > 20 and abs((pt - 20).mean() - 30) < 5 * 30 / EVENTS**0.5, "an exponential has no memory"
    assert len(np.unique(pt)) > 0.99 * EVENTS, "no two shards have the same seed"
    other = Events.load(make_sample("toy", EVENTS, seed=2))
    assert not (made["pt"] == other["pt"]).any()


@pytest.mark.parametrize("workers", [2, 4])
def test_the_same_file_for_any_number_of_workers(cache, monkeypatch, workers):
    pytest.importorskip("distributed", reason='needs pip install "lhcml-tutor[simulation]"')
    alone = sha256(make_sample("toy", EVENTS))
    monkeypatch.setenv("LHCML_CACHE", str(cache / "other"))
    assert sha256(make_sample("toy", EVENTS, workers=workers)) == alone


def test_the_same_file_from_a_cluster(cache, monkeypatch, dask_cluster):
    alone = sha256(make_sample("toy", EVENTS))
    monkeypatch.setenv("LHCML_CACHE", str(cache / "other"))
    assert sha256(make_sample("toy", EVENTS, scheduler=dask_cluster)) == alone


def test_the_work_is_done_by_other_processes_of_one_thread(cache, dask_cluster):
    made = Events.load(make_sample("where", 40, scheduler=dask_cluster))
    processes = set(made["process"].tolist())
    assert os.getpid() not in processes and len(processes) == 2
    assert set(made["threads"].tolist()) == {1}
    assert set(Events.load(make_sample("where", 10, seed=2))["process"].tolist()) == {os.getpid()}


def test_only_the_shards_that_are_needed_and_always_the_same_ones(cache, monkeypatch, dask_cluster):
    make_sample("toy", 5000)
    alone = [path.name for path in stored(cache, "toy")]
    counts = [len(Events.load(path)) for path in stored(cache, "toy")]
    assert sum(counts) >= 5000 > sum(counts[:-2]), "at most one shard too many"
    monkeypatch.setenv("LHCML_CACHE", str(cache / "other"))
    make_sample("toy", 5000, scheduler=dask_cluster)
    assert [path.name for path in stored(cache / "other", "toy")] == alone


def test_a_larger_sample_begins_with_a_smaller_one_and_uses_its_shards(cache, capsys):
    few = Events.load(make_sample("toy", 700))
    before = {path: path.stat().st_mtime_ns for path in stored(cache, "toy")}
    many = Events.load(make_sample("toy", 3000))
    assert (many["pt"][:700] == few["pt"]).all()
    assert f"{len(before)} shards of an earlier run found" in capsys.readouterr().out
    assert before == {path: path.stat().st_mtime_ns for path in before}


def test_a_second_call_reads_the_file(cache, monkeypatch, capsys):
    path = make_sample("toy", 300)
    monkeypatch.setattr(shards, "make_shard", None)
    assert make_sample("toy", 300) == path and "sample toy: from the cache (toy-300-" in capsys.readouterr().out


def test_settings_seed_and_code_make_another_sample(cache, monkeypatch):
    paths = {make_sample("toy", 300), make_sample("toy", 300, seed=2), make_sample("toy", 300, slope=20.0)}
    assert Events.load(make_sample("toy", 300, slope=20.0)).provenance["settings"]["slope"] == 20
    monkeypatch.setattr("lhcml_tutor.datasets.cache._physics", lambda: "the physics was changed")
    assert len({*paths, make_sample("toy", 300)}) == 4


def test_shards_in_which_nothing_passes(cache):
    made, wanted = Events.load(make_sample("rare", 500)), reference("rare", 500)
    assert (made["pt"] == wanted["pt"]).all()
    number = len(stored(cache, "rare"))
    assert Events.load(make_sample("rare", 400))["pt"].tolist() == wanted["pt"][:400].tolist()
    assert len(stored(cache, "rare")) == number


def test_a_sample_that_never_passes_ends(cache, monkeypatch):
    monkeypatch.setattr(registry, "MOST_SHARDS", 20)
    with pytest.raises(ValueError, match=r"only 0 of 500 events of 'never' after 20 shards .* another seed"):
        make_sample("never", 500)


def wait_for(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert condition()


def test_kill_9_in_the_middle_and_the_next_run_goes_on(cache, tmp_path, capsys, monkeypatch):
    pytest.importorskip("distributed", reason='needs pip install "lhcml-tutor[simulation]"')
    process = start(cache, "slow", 2000, workers=2)
    wait_for(lambda: len(stored(cache, "slow")) == 5 or process.poll() is not None)
    process.kill()  # -9 where there are signals
    process.communicate()
    kept = {path: path.stat().st_mtime_ns for path in stored(cache, "slow")}
    assert [path.stem for path in kept] == [f"{shard:05d}" for shard in range(5)] and not list(cache.glob("made/*.npz"))
    (stored(cache, "slow")[0].parent / ".00009.npz.abc.part").write_bytes(b"half")  # as if killed while it wrote
    path = make_sample("slow", 2000)
    assert "5 shards of an earlier run found, going on from there" in capsys.readouterr().out
    assert kept == {path: path.stat().st_mtime_ns for path in kept} and not list(cache.glob("shards/*/.*"))
    monkeypatch.setenv("LHCML_CACHE", str(tmp_path / "another cache"))
    assert sha256(path) == sha256(make_sample("slow", 2000))


def test_two_at_once_make_it_once(cache, tmp_path):
    first = start(cache, "slow", 2000)
    wait_for(lambda: len(stored(cache, "slow")) == 5 or first.poll() is not None)
    second = start(cache, "slow", 2000)
    said = second.stdout.readline()
    assert said == "sample slow: another process is making it; waiting for its file\n"
    (tmp_path / "gate").write_text("")
    first_said, second_said = (process.communicate(timeout=60)[0].splitlines() for process in (first, second))
    assert "made of" in first_said[0] and len(first_said) == 2
    assert "where another process has just put it" in second_said[0] and first_said[1] == second_said[1]


def test_a_lock_dies_with_its_owner(tmp_path):
    code = f"import time; from lhcml_tutor.datasets.locks import locked\nwith locked({str(tmp_path / 'lock')!r}):\n"
    code += "    print('held', flush=True); time.sleep(60)"
    environment = {**os.environ, "PYTHONPATH": str(TESTS.parent)}
    owner = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment)
    assert owner.stdout.readline() == "held\n"
    with open(tmp_path / "lock", "a+b") as file:
        assert locks._try(file) is None
        owner.kill()
        owner.wait()
        assert locks._try(file) == "locked"


def test_a_worker_that_dies_is_replaced(cache, tmp_path, monkeypatch):
    pytest.importorskip("distributed", reason='needs pip install "lhcml-tutor[simulation]"')
    path = make_sample("dying", 800, workers=2, folder=str(tmp_path))
    assert (tmp_path / "been here").exists()
    monkeypatch.setenv("LHCML_CACHE", str(tmp_path / "another cache"))
    assert sha256(path) == sha256(make_sample("dying", 800, folder=str(tmp_path)))


@pytest.mark.parametrize("where", ["here", "cluster"])
def test_a_shard_that_fails_three_times_stops_with_its_own_error(cache, request, where):
    scheduler = request.getfixturevalue("dask_cluster") if where == "cluster" else None
    text = r"shard 3 of 'bad' failed three times \(ZeroDivisionError: the third shard\); the finished shards are kept"
    with pytest.raises(ShardFailed, match=text) as problem:
        make_sample("bad", 1000, scheduler=scheduler)
    assert isinstance(problem.value.__cause__, ZeroDivisionError)
    assert {"00000.npz", "00001.npz", "00002.npz"} <= {path.name for path in stored(cache, "bad")} or scheduler
    assert "00003.npz" not in {path.name for path in stored(cache, "bad")} and not list(cache.glob("made/*"))


@pytest.mark.parametrize("where", ["here", "cluster"])
def test_a_shard_that_fails_twice_is_made_at_the_third_try(cache, tmp_path, request, where):
    scheduler = request.getfixturevalue("dask_cluster") if where == "cluster" else None
    made = Events.load(make_sample("third", 400, scheduler=scheduler, folder=str(tmp_path)))
    assert (made["pt"] == reference("slow", 400)["pt"]).all() and len(list(tmp_path.glob("try *"))) == 2


def test_a_call_is_tried_three_times():
    calls = []

    def third_time_lucky(x):
        calls.append(x)
        if len(calls) < 3:
            raise OSError("not yet")
        return x

    with cluster.pool() as run:
        assert list(run(third_time_lucky, {"a": (7,)})) == [("a", 7)] and calls == [7, 7, 7]


def test_a_worker_with_other_code_is_refused():
    with pytest.raises(RuntimeError, match="other versions of lhcml-tutor or of its packages; install the same ones"):
        shards.make_shard("toy_shards:make_slowly", 10, 1, {}, toy_shards.UNITS, (), "another code")


def test_units_that_are_not_those_of_the_registry(cache):
    with pytest.raises(ShardFailed, match=r"returned columns with the units .*MeV.*; the registry says .*GeV"):
        make_sample("units", 10)


@pytest.mark.parametrize("spoil", [lambda data: data[: len(data) // 2], lambda data: b"", lambda data: b"<html>"])
def test_a_damaged_shard_is_made_again(cache, capsys, spoil):
    before = sha256(make_sample("toy", 1200))
    for path in (stored(cache, "toy")[1], *cache.glob("made/*.npz")):
        path.write_bytes(spoil(path.read_bytes()))
    assert sha256(make_sample("toy", 1200)) == before
    said = capsys.readouterr().out
    assert "it is made again" in said and ".damaged" in said


def test_a_full_disk_leaves_nothing_half_written(cache, monkeypatch):
    synced, sync = [], os.fsync

    def full(handle):
        synced.append(handle)
        if len(synced) > 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(handle)

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError, match=r"could not write .*00002.npz .*No space left on device.*Free some space"):
        make_sample("toy", 5000)
    assert len(stored(cache, "toy")) == 2 and not list(cache.glob("shards/*/.*")) and not list(cache.glob("made/*"))
    monkeypatch.undo()


def test_a_cache_that_cannot_be_written(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LHCML_CACHE", str(tmp_path / "file"))
    with pytest.raises(OSError, match=r"cannot be written .*; set LHCML_CACHE to a folder that can, or .*--output"):
        make_sample("toy", 300)
    path = make_sample("toy", 300, output=tmp_path / "new" / "toy.npz")
    assert path == tmp_path / "new" / "toy.npz" and len(Events.load(path)) == 300
    assert "the shards are kept in a temporary folder until the end" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"name": "tyo"}, "there is no sample 'tyo' that can be made; did you mean 'toy'"),
        ({"events": 0}, "events = 0; it must be an integer from 1 to 1000000"),
        ({"events": -5}, "events = -5"),
        ({"events": 1.5}, "events = 1.5"),
        ({"events": True}, "events = True"),
        ({"events": 10**12}, "events = 1000000000000; it must be .*the shards of one seed hold no more"),
        ({"seed": 0}, "seed = 0; it must be an integer from 1 to 899000"),
        ({"seed": 900_000}, "other seeds would share the shards"),
        ({"workers": 0}, "workers = 0; at least one"),
        ({"slop": 3}, "the sample 'toy' has no setting 'slop'; it has: slope, threshold"),
        ({"slope": "steep"}, "slope='steep': it must be of type float, as 30.0"),
        ({"output": "toy.csv"}, "the output toy.csv is no .npz file"),
        ({"scheduler": "localhost"}, "'localhost' is no address of a Dask scheduler; it looks like tcp://"),
    ],
    ids=str,
)
def test_bad_words(cache, arguments, said):
    with pytest.raises(ValueError, match=said):
        make_sample(**{"name": "toy", "events": 100, **arguments})
    assert not list(cache.glob("made/*"))


def test_a_scheduler_that_does_not_answer(cache):
    pytest.importorskip("distributed", reason='needs pip install "lhcml-tutor[simulation]"')
    started = time.monotonic()
    with pytest.raises(
        OSError, match=r"no Dask scheduler answers at tcp://127.0.0.1:9; start it with `dask scheduler`"
    ):
        make_sample("toy", 300, scheduler="tcp://127.0.0.1:9")
    assert time.monotonic() - started < 10


def test_a_setting_that_the_maker_refuses(cache):
    with pytest.raises(ShardFailed, match=r"ValueError: slope = -3\.0 GeV; it must be above 0"):
        make_sample("toy", 100, slope=-3)


@pytest.mark.parametrize("missing", ["pythia8mc", "fastjet"])
def test_without_the_generator_its_extra_is_named(cache, monkeypatch, missing):
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(
        MissingExtra, match=rf'{missing} is not installed; run: pip install "lhcml-tutor\[simulation\]"'
    ):
        make_sample("ttbar", 10)


def test_without_dask_one_process_works_and_more_name_the_extra(cache, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert len(Events.load(make_sample("toy", 300))) == 300
    with pytest.raises(
        MissingExtra, match=r'distributed is not installed; run: pip install "lhcml-tutor\[simulation\]"'
    ):
        make_sample("toy", 900, workers=2)


def test_pythia_shards_are_the_committed_events(cache, monkeypatch, dask_cluster):
    """Few tries, so that it is quick: the first shard begins with the committed events, on a worker as well."""
    pythia = pytest.importorskip("pythia8mc", reason='needs pip install "lhcml-tutor[simulation]"')
    from dataclasses import replace

    from lhcml_tutor.datasets import storage
    from lhcml_tutor.datasets.one_shard import versions

    assert pythia
    monkeypatch.setitem(registry.SAMPLES, "ttbar", replace(registry.SAMPLES["ttbar"], per_shard=50))
    made = Events.load(make_sample("ttbar", 80, scheduler=dask_cluster))
    committed = Events.load(storage.find("ttbar"))
    if versions(registry.PYTHIA) != storage.manifest()["ttbar"]["versions"]:
        pytest.skip("made with other versions")
    assert made.provenance == committed.provenance and made.units == committed.units
    for name, column in committed.columns.items():
        assert (made[name][:50] == column[:50]).all() and not (made[name][50:80] == column[50:80]).all()
