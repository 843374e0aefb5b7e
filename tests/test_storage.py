"""Where samples come from: the order of places, what is said, and that nothing damaged is ever used."""

import functools
import http.server
import multiprocessing
import os
import sys
import threading

import pytest
import torch

from lhcml_tutor.datasets import Events, cache, first_events, storage
from lhcml_tutor.datasets.files import BadSample
from lhcml_tutor.extras import MissingExtra

NOWHERE = "http://127.0.0.1:9"  # the discard port: nobody listens


def line(n, shift=0.0):
    return Events({"x": torch.arange(float(n)) + shift}, {"x": "GeV"}, {"generator": "toy"})


@pytest.fixture
def places(tmp_path, monkeypatch):
    """A checkout without samples, an empty cache, no network, and one known sample `line` of 5 events."""
    checkout, store = tmp_path / "checkout", tmp_path / "cache"
    (checkout / "data").mkdir(parents=True)
    sha256 = line(5).save(tmp_path / "line.npz")
    manifest = tmp_path / "manifest.toml"
    manifest.write_text(f'[line]\nfile = "line.npz"\nsha256 = "{sha256}"\nbytes = 700\nevents = 5\n')
    monkeypatch.setattr(storage, "ROOT", checkout)
    monkeypatch.setattr(storage, "MANIFEST", manifest)
    monkeypatch.setenv("LHCML_CACHE", str(store))
    monkeypatch.setenv("LHCML_REPOSITORY", NOWHERE)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return tmp_path


def put(places, where, damaged=False):
    data = (places / "line.npz").read_bytes()
    target = places / where / "line.npz"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(data[:-40] + bytes(40) if damaged else data)
    return target


def offer_maker(places, monkeypatch):
    with open(places / "manifest.toml", "a") as file:
        file.write('maker = "toy_maker:line"\nsettings = { n = 5 }\n')
    monkeypatch.setitem(sys.modules, "toy_maker", sys.modules[__name__])


@pytest.fixture
def network(places, monkeypatch):
    """A server with the repository's files; returns the folder it serves."""
    folder = places / "network"
    data = folder / "raw" / f"v{storage.__version__}" / "data"
    data.mkdir(parents=True)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("LHCML_REPOSITORY", f"http://127.0.0.1:{server.server_port}")
    yield data
    server.shutdown()


def test_committed_before_cached_before_downloaded_before_made(places, network, monkeypatch, capsys):
    offer_maker(places, monkeypatch)
    path = storage.find("line")
    assert path.parent.name == "made" and "made on the spot and kept" in capsys.readouterr().out
    assert len(Events.load(path)) == 5

    put(places, network.relative_to(places))
    assert storage.find("line") == places / "cache" / "line.npz"
    assert "downloaded from http://127.0.0.1" in capsys.readouterr().out

    (network / "line.npz").unlink()
    assert storage.find("line") == places / "cache" / "line.npz"
    assert capsys.readouterr().out == "sample line: from the cache (line.npz)\n"

    put(places, "checkout/data")
    assert storage.find("line") == places / "checkout" / "data" / "line.npz"
    assert capsys.readouterr().out == "sample line: committed with the course (data/line.npz)\n"


def test_a_damaged_committed_file_is_refused_with_the_way_back(places):
    put(places, "checkout/data", damaged=True)
    with pytest.raises(BadSample, match=r"line.npz is damaged .*its sha256 is .*git checkout -- data"):
        storage.find("line")


def test_a_damaged_cached_file_is_moved_aside_and_fetched_anew(places, network, capsys):
    stored = put(places, "cache", damaged=True)
    put(places, network.relative_to(places))
    path = storage.find("line")
    said = capsys.readouterr().out
    assert "is damaged" in said and "line.npz.damaged" in said and "downloaded from" in said
    assert path == stored and len(Events.load(path)) == 5 and (places / "cache" / "line.npz.damaged").exists()


@pytest.mark.parametrize("content", [b"<html>404</html>", b"", None], ids=["a web page", "empty", "not there"])
def test_a_wrong_download_is_not_kept(places, network, content):
    if content is not None:
        (network / "line.npz").write_bytes(content)
    with pytest.raises(storage.SampleNotFound, match="not downloaded: "):
        storage.find("line")
    assert list((places / "cache").glob("*")) == []


def test_no_network_says_so_and_lists_every_place(places):
    with pytest.raises(storage.SampleNotFound) as problem:
        storage.find("line")
    text = str(problem.value)
    for part in (
        "'line' cannot be had",
        "not committed: ",
        "not in the cache: ",
        "is there a network",
        "not made on the spot",
    ):
        assert part in text


def test_without_pooch_the_command_that_installs_it_is_named(places, monkeypatch):
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(
        storage.SampleNotFound, match=r'pooch is not installed; run: pip install "lhcml-tutor\[download\]"'
    ):
        storage.find("line")


def test_without_pythia_the_command_that_installs_it_is_named(places, monkeypatch):
    monkeypatch.setitem(sys.modules, "pythia8mc", None)
    with pytest.raises(MissingExtra, match=r'run: pip install "lhcml-tutor\[simulation\]"'):
        first_events.make_first_events("ttbar", n=1)


def test_the_address_is_the_repository_of_pyproject_at_this_version(monkeypatch):
    monkeypatch.delenv("LHCML_REPOSITORY", raising=False)
    here = storage.address("z_mumu")
    assert here.startswith("https://") and here.endswith(f"/raw/v{storage.__version__}/data/z_mumu.npz")
    monkeypatch.setattr(storage, "ROOT", storage.ROOT / "nowhere")  # installed without a checkout
    assert storage.address("z_mumu") == here


def test_status_looks_and_touches_nothing(places):
    assert storage.status()[0]["intact"] is None and "lhcml data make line" in storage.status()[0]["problem"]
    stored = put(places, "cache", damaged=True)
    row = storage.status()[0]
    assert row["where"] == "cache" and row["intact"] is False and "sha256" in row["problem"] and stored.exists()
    put(places, "checkout/data")
    assert storage.status()[0]["where"] == "checkout" and storage.status()[0]["intact"] is True


def test_cached_makes_once_per_argument_and_per_code(places, monkeypatch, capsys):
    calls = []

    def make(n, shift=0.0):
        calls.append(n)
        return line(n, shift)

    first, second = storage.cached("toy", make, n=4), storage.cached("toy", make, n=4)
    assert calls == [4] and torch.equal(first["x"], second["x"]) and first.provenance == second.provenance
    said = capsys.readouterr().out.splitlines()
    assert "made on the spot and kept" in said[0] and "from the cache" in said[1]
    storage.cached("toy", make, n=4, shift=1.0)
    assert calls == [4, 4]

    def other(n):
        calls.append(-n)
        return line(n, 7.0)

    assert storage.cached("toy", other, n=4)["x"][0] == 7 and calls == [4, 4, -4]
    monkeypatch.setattr(cache, "_physics", lambda: "the physics was changed")
    storage.cached("toy", make, n=4)
    assert calls == [4, 4, -4, 4]


def test_a_damaged_sample_in_the_cache_is_made_again(places, capsys):
    storage.cached("toy", line, n=1000)
    (kept,) = (places / "cache" / "made").glob("*.npz")
    data = bytearray(kept.read_bytes())
    data[len(data) // 2] ^= 1  # one flipped bit among the numbers: the checksum of the member must see it
    kept.write_bytes(data)
    assert torch.equal(storage.cached("toy", line, n=1000)["x"], line(1000)["x"])
    said = capsys.readouterr().out
    assert "is cut short or changed" in said and ".damaged" in said
    kept.write_bytes(bytes(data[:500]))
    assert len(storage.cached("toy", line, n=1000)) == 1000


def test_a_folder_that_cannot_be_written_costs_a_message_only(places, monkeypatch, capsys):
    (places / "file").write_text("")
    monkeypatch.setenv("LHCML_CACHE", str(places / "file"))
    assert len(storage.cached("toy", line, n=3)) == 3
    assert "made on the spot, not kept: could not write" in capsys.readouterr().out


def test_shards_go_on_where_an_interrupted_run_stopped(places):
    made, interrupts = [], [2]

    def make(n, shard):
        if shard in interrupts:
            interrupts.remove(shard)
            raise KeyboardInterrupt
        made.append(shard)
        return line(n, shift=shard * n)

    with pytest.raises(KeyboardInterrupt):
        storage.cached_shards("toy", make, n=11, per_shard=3)
    assert storage.cached_shards("toy", make, n=11, per_shard=3)["x"].tolist() == list(range(11))
    assert made == [0, 1, 2, 3]
    assert storage.cached_shards("toy", make, n=4, per_shard=3)["x"].tolist() == list(range(4)) and made == [0, 1, 2, 3]


def make_slowly(n):
    return line(n)


def ask(barrier, words):
    barrier.wait(60)
    for _ in range(5):
        events = cache.cached("race", make_slowly, n=200_000)
        words.put((len(events), float(events["x"].double().sum())))
        for path in cache.cache_folder().glob("made/race-*.npz"):
            path.unlink(missing_ok=True)  # so that the others must make it while it is being read


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_processes_at_once_never_read_half_a_file(places):
    context = multiprocessing.get_context("fork")
    barrier, words = context.Barrier(3), context.Queue()
    processes = [context.Process(target=ask, args=(barrier, words)) for _ in range(3)]
    for process in processes:
        process.start()
    answers = [words.get(timeout=120) for _ in range(15)]
    for process in processes:
        process.join(30)
    assert set(answers) == {(200_000, 200_000 * 199_999 / 2)}
    assert not list((places / "cache").glob("made/*.damaged")) and not list((places / "cache").glob("made/.*"))
