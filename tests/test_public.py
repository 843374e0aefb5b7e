"""Public reference sets: files of their formats from a server of our own; what is cut, wrong or hostile is refused."""

import hashlib
import http.server
import io
import json
import pickle
import re
import socket
import sys
import tarfile
import threading

import numpy as np
import pytest
import torch

from lhcml_tutor import kinematics
from lhcml_tutor.datasets import public, public_readers, zenodo
from lhcml_tutor.datasets.files import BadSample

h5py, uproot = pytest.importorskip("h5py"), pytest.importorskip("uproot")
pytest.importorskip("pooch")

NOWHERE = "http://127.0.0.1:9"  # the discard port: nobody listens
TOP, OMNIFOLD, JETS, QUARKS = 2603256, 3548091, 6619768, 3164691


class Zenodo:
    """A server that answers as Zenodo does, cuts connections when told to, and remembers what it was asked."""

    def __init__(self):
        self.files, self.asked, self.cuts, self.checksums, self.ranges = {}, [], [], {}, True
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def do_GET(self):
                outer.answer(self)

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        self.address = f"http://127.0.0.1:{self.server.server_port}"

    def put(self, record, key, data):
        self.files[record, key] = data

    def answer(self, request):
        start = re.fullmatch(r"bytes=(\d+)-", request.headers.get("Range", ""))
        self.asked.append((request.path, int(start[1]) if start else 0))
        if found := re.fullmatch(r"/api/records/(\d+)", request.path):
            files = {key: data for (record, key), data in self.files.items() if record == int(found[1])}
            if not files:
                return request.send_error(404)
            return self.send(request, json.dumps({"files": [self.entry(k, d) for k, d in files.items()]}).encode())
        found = re.fullmatch(r"/api/records/(\d+)/files/([^/]+)/content", request.path)
        data = self.files.get((int(found[1]), found[2])) if found else None
        if data is None:
            return request.send_error(404)
        self.send(request, data, int(start[1]) if start and self.ranges else 0, self.cuts.pop(0) if self.cuts else None)

    def entry(self, key, data):
        checksum = self.checksums.get(key, f"md5:{hashlib.md5(data).hexdigest()}")
        return {"key": key, "size": len(data), "checksum": checksum, "links": {"self": "http://elsewhere.invalid/"}}

    def send(self, request, data, first=0, cut=None):
        request.send_response(206 if first else 200)
        if first:
            request.send_header("Content-Range", f"bytes {first}-{len(data) - 1}/{len(data)}")
        request.send_header("Content-Length", str(len(data) - first))
        request.end_headers()
        request.wfile.write(data[first:][:cut])
        if cut is not None:
            request.wfile.flush()
            request.connection.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A Zenodo of our own and an empty cache."""
    local = Zenodo()
    monkeypatch.setattr(zenodo, "BLOCK", 100)
    monkeypatch.setenv("LHCML_ZENODO", local.address)
    monkeypatch.setenv("LHCML_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield local
    local.server.shutdown()


class Trap:
    """Unpickling this would end the test."""

    def __reduce__(self):
        return (sys.exit, ("unpickled",))


def top_momenta(n, seed=1):
    """Massless momenta (n, 200, 4) with ten particles, hardest first."""
    pt, eta, phi = np.random.default_rng(seed).uniform(0.1, 1, (3, n, 10))
    pt = -np.sort(-pt * 50, axis=1)
    momenta = np.zeros((n, 200, 4), np.float32)
    momenta[:, :10] = np.stack([pt * np.cosh(eta), pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)], axis=2)
    return momenta


def top_file(folder, momenta, label, **names):
    """An h5 file laid out as pandas' to_hdf(format="table") does, its names as pickles, one of them a trap."""
    n = len(momenta)
    kind = [("index", "<i8"), ("values_block_0", "<f4", (804,)), ("values_block_1", "<i8", (2,))]
    rows = np.zeros(n, kind)
    rows["index"] = np.arange(n)[::-1]
    rows["values_block_0"] = np.concatenate([momenta.reshape(n, 800), np.full((n, 4), -1.0)], axis=1)
    rows["values_block_1"] = np.stack([np.full(n, 2), label], axis=1)  # ttv, is_signal_new
    path = folder / "made.h5"
    with h5py.File(path, "w") as file:
        group = file.create_group(names.get("group", "table"))
        group.attrs["pandas_type"] = "frame_table"
        table = group.create_dataset("table", data=rows, chunks=(min(16, n),), compression="gzip")
        table.attrs["values_block_0_kind"] = np.void(pickle.dumps(Trap()))
        table.attrs["values_block_1_kind"] = np.void(pickle.dumps(["ttv", "is_signal_new"]))
        group.create_group("_i_table")
    return path.read_bytes()


def as_npz(**arrays):
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def root_file(folder, n, label, seed=1):
    """A ROOT file with the branches of JetClass; returns its bytes and the momenta of its jets, as lists."""
    import awkward

    random = np.random.default_rng(seed)
    counts = random.integers(1, 140, n)
    pt, eta, phi = (random.uniform(low, high, counts.sum()) for low, high in ((0.5, 50), (-1, 1), (-3, 3)))
    which = random.integers(0, 5, counts.sum())
    charge = np.where(np.isin(which, (1, 2)), 0, random.choice([-1, 1], counts.sum()))
    flat = {
        "part_px": pt * np.cos(phi), "part_py": pt * np.sin(phi), "part_pz": pt * np.sinh(eta),
        "part_energy": pt * np.cosh(eta), "part_charge": charge,
    }  # fmt: skip
    flat |= {f"part_is{kind}": (which == i).astype(np.int32) for i, kind in enumerate(public_readers.KINDS)}
    jagged = {
        k: awkward.unflatten(v if k.startswith("part_is") else v.astype(np.float32), counts) for k, v in flat.items()
    }
    labels = {f"label_{name}": np.full(n, name == label, np.int32) for name in public_readers.JET_CLASSES}
    path = folder / "made.root"
    with uproot.recreate(path) as file:
        file.mktree("tree", {**{k: v.type for k, v in jagged.items()}, **{k: v.dtype for k, v in labels.items()}})
        file["tree"].extend({**jagged, **labels})
    return path.read_bytes(), jagged


def as_tar(members):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def offer_top(server, folder, n=50):
    momenta, label = top_momenta(n), np.arange(n) % 2
    data = top_file(folder, momenta, label)
    server.put(TOP, "val.h5", data)
    return momenta, label, data


def test_top_tagging_comes_in_our_columns(server, tmp_path, capsys):
    momenta, _, data = offer_top(server, tmp_path)
    events = public.fetch("top_tagging", n=20, part="val")
    assert (
        torch.equal(events["constituents"], torch.as_tensor(momenta[:20])) and events["label"].tolist() == [0, 1] * 10
    )
    assert events.units == {"constituents": "GeV", "label": "1"} and events["constituents"].dtype == torch.float32
    assert events.provenance["file"] == "val.h5" and "1902.09914" in events.provenance["reference"]
    said = capsys.readouterr().out
    assert f"val.h5: {len(data) / 1e6:,.1f} MB from {server.address}" in said
    number = len(server.asked)
    assert public.fetch("top_tagging", n=50, part="val", particles=3)["constituents"].shape == (50, 3, 4)
    assert len(server.asked) == number  # from the cache, no word to the server


def test_constituents_are_put_in_order_of_pt(server, tmp_path):
    momenta = top_momenta(4)
    server.put(TOP, "test.h5", top_file(tmp_path, momenta[:, ::-1], np.zeros(4)))
    assert torch.equal(public.fetch("top_tagging", part="test")["constituents"], torch.as_tensor(momenta))


def test_quark_and_gluon_jets_have_masses_by_pdg_id(server):
    X = np.zeros((5, 6, 4))
    X[:, 0], X[:, 1], X[:, 2] = (10, 1.5, 6.0, 22), (30, -0.5, 1.0, -211), (20, 0.3, 2.0, 2212)
    server.put(QUARKS, "QG_jets.npz", as_npz(X=X, y=np.array([1.0, 0, 1, 0, 1])))
    events = public.fetch("quark_gluon", n=4)
    jets = events["constituents"].double()
    assert events["pdg_id"][0].tolist() == [-211, 2212, 22, 0, 0, 0] and events["label"].tolist() == [1, 0, 1, 0]
    assert kinematics.pt(jets)[0].tolist() == pytest.approx([30, 20, 10, 0, 0, 0], rel=1e-6)
    assert kinematics.rapidity(jets)[0, :3].tolist() == pytest.approx([-0.5, 0.3, 1.5], rel=1e-6)
    assert kinematics.mass(jets)[0, :2].tolist() == pytest.approx([0.13957, 0.938272], rel=1e-2)
    assert jets[0, 3:].abs().sum() == 0 and events["pdg_id"].dtype == torch.int64


def test_omnifold_has_both_levels(server):
    arrays, n = {}, 30
    for shift, level in enumerate(("gen", "sim")):
        arrays[f"{level}_jets"] = np.arange(4.0 * n).reshape(n, 4) + shift
        for k, name in enumerate(("mults", "widths", "tau2s", "zgs", "sdms", "lhas")):
            arrays[f"{level}_{name}"] = np.full(n, 10.0 * k + shift)
    arrays["gen_particles"] = np.array([[1, 2], [3]], dtype=object)  # pickled, and never read
    server.put(OMNIFOLD, "Pythia26_Zjet_pTZ-200GeV_0.npz", as_npz(**arrays))
    events = public.fetch("omnifold", n=7)
    assert events["gen_mass"].tolist() == [3.0 + 4 * i for i in range(7)] and events["sim_pt"][0] == 1
    assert (
        events["sim_multiplicity"][0] == 1 and events["gen_groomed_mass"][0] == 40 and events["sim_angularity"][0] == 51
    )
    assert events.units["sim_groomed_mass"] == "GeV" and len(events.columns) == 20


def test_jet_class_takes_turns_and_unpacks_nothing(server, tmp_path):
    top, jets = root_file(tmp_path, 12, "Tbqq")
    more = root_file(tmp_path, 12, "Tbqq", seed=2)[0]
    qcd = root_file(tmp_path, 30, "QCD", seed=3)[0]
    members = {"val_5M/TTBar_120.root": top, "val_5M/TTBar_121.root": more, "val_5M/ZJetsToNuNu_120.root": qcd}
    server.put(JETS, "JetClass_Pythia_val_5M.tar", as_tar(members))
    events = public.fetch("jet_class", n=30)
    assert events["label"].tolist() == [8, 0] * 15 and events["constituents"].shape == (30, 128, 4)
    pt = kinematics.pt(events["constituents"])
    assert (pt[:, 1:] <= pt[:, :-1]).all()
    hard = np.sort(np.hypot(jets["part_px"][0].to_numpy(), jets["part_py"][0].to_numpy()))[::-1][:128]
    assert pt[0, : len(hard)].tolist() == pytest.approx(hard.tolist(), rel=1e-5)
    first = int(np.argmax(np.hypot(jets["part_px"][0].to_numpy(), jets["part_py"][0].to_numpy())))
    kind = next(code for name, code in public_readers.KINDS.items() if jets[f"part_is{name}"][0][first])
    negative = jets["part_charge"][0][first] < 0
    assert events["pdg_id"][0, 0] == kind * ((-1) ** (negative != (kind in (11, 13))) if kind not in (22, 130) else 1)
    assert torch.equal(events["pdg_id"] != 0, pt > 0)
    assert sorted(path.name for path in (tmp_path / "cache").rglob("*") if path.is_file()) == [
        "JetClass_Pythia_val_5M.tar"
    ]


def test_a_cut_connection_goes_on_where_it_stopped(server, tmp_path):
    _, _, data = offer_top(server, tmp_path)
    server.cuts = [1000, 2000]
    assert len(public.fetch("top_tagging", part="val")) == 50
    assert [first for path, first in server.asked if path.endswith("/content")] == [0, 1000, 3000]
    assert (tmp_path / "cache" / "public" / "top_tagging" / "val.h5").read_bytes() == data


def test_an_interrupted_call_is_taken_up_by_the_next(server, tmp_path, capsys):
    offer_top(server, tmp_path)
    server.cuts = [500] * zenodo.TRIES
    with pytest.raises(OSError, match=r"stopped at 2,000 of [\d,]+ bytes; they are kept, call again to go on"):
        public.fetch("top_tagging", part="val")
    folder = tmp_path / "cache" / "public" / "top_tagging"
    assert [path.name for path in folder.iterdir()] == ["val.h5.part"]
    assert len(public.fetch("top_tagging", part="val")) == 50 and server.asked[-1][1] == 2000
    assert [path.name for path in folder.iterdir()] == ["val.h5"]


def test_a_server_that_cannot_resume_starts_over(server, tmp_path):
    _, _, data = offer_top(server, tmp_path)
    server.cuts, server.ranges = [1000], False
    public.fetch("top_tagging", part="val")
    assert (tmp_path / "cache" / "public" / "top_tagging" / "val.h5").read_bytes() == data


@pytest.mark.parametrize("given", [None, "md5:" + "0" * 32, "sha256:" + "0" * 64])
def test_a_wrong_checksum_is_refused_and_nothing_kept(server, tmp_path, given):
    offer_top(server, tmp_path)
    if given is None:
        server.checksums["val.h5"] = "md5:" + "1" * 32
    with pytest.raises(BadSample, match=r"checksum is not (md5|sha256):[01]+; nothing was kept"):
        public.fetch("top_tagging", part="val", checksum=given)
    assert list((tmp_path / "cache" / "public" / "top_tagging").iterdir()) == []


def test_a_given_checksum_counts_for_a_cached_file_too(server, tmp_path):
    _, _, data = offer_top(server, tmp_path)
    right = f"sha256:{hashlib.sha256(data).hexdigest()}"
    assert len(public.fetch("top_tagging", part="val", checksum=right)) == 50
    with pytest.raises(BadSample, match=r"has the sha256 [0-9a-f]+, not 000"):
        public.fetch("top_tagging", part="val", checksum="sha256:" + "0" * 64)


def test_more_bytes_than_the_record_says_are_refused(server, tmp_path):
    offer_top(server, tmp_path)
    entry = server.entry
    server.entry = lambda key, data: {**entry(key, data), "size": 1000}
    with pytest.raises(BadSample, match="sends more than the 1,000 bytes"):
        public.fetch("top_tagging", part="val")


def test_what_is_not_there_is_said(server, tmp_path):
    with pytest.raises(OSError, match=r"/api/records/2603256 answers 404: there is no such record"):
        public.fetch("top_tagging", part="val")
    offer_top(server, tmp_path)
    with pytest.raises(ValueError, match=r"record 2603256 has no file 'train.h5'; it has: val.h5"):
        public.fetch("top_tagging", part="train")


def test_an_answer_that_is_no_record_is_said(server, monkeypatch):
    monkeypatch.setattr(server, "answer", lambda request: server.send(request, b"<html>maintenance</html>"))
    with pytest.raises(BadSample, match="does not answer with the files of a record"):
        public.fetch("top_tagging")
    hostile = json.dumps({"files": [{"key": "train.h5", "size": -1, "checksum": "md5:x"}]}).encode()
    monkeypatch.setattr(server, "answer", lambda request: server.send(request, hostile))
    with pytest.raises(BadSample, match="size -1"):
        public.fetch("top_tagging")


def test_no_network_says_so(server, monkeypatch):
    monkeypatch.setenv("LHCML_ZENODO", NOWHERE)
    with pytest.raises(OSError, match="cannot be read; is there a network"):
        public.fetch("top_tagging", part="val")


def test_a_full_disk_is_said_before_the_download(server, tmp_path, monkeypatch):
    offer_top(server, tmp_path)
    monkeypatch.setattr(zenodo.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 10}))
    with pytest.raises(OSError, match=r"val.h5 needs .* MB .* free some, set LHCML_CACHE"):
        public.fetch("top_tagging", part="val")
    assert not any(path.endswith("/content") for path, _ in server.asked)


def test_more_events_than_there_are_is_said(server, tmp_path):
    offer_top(server, tmp_path)
    server.put(QUARKS, "QG_jets_3.npz", as_npz(X=np.ones((5, 2, 4)), y=np.ones(5)))
    for name, part, there in (("top_tagging", "val", 50), ("quark_gluon", "3", 5)):
        with pytest.raises(ValueError, match=rf"n = 51, but .* has {there} events; ask for fewer or for another part"):
            public.fetch(name, n=51, part=part)


@pytest.mark.parametrize(
    "name", ["../../outside.root", "/etc/outside.root", "a/../../outside.root", "link", "C:\\x.root"]
)
def test_an_archive_that_reaches_outside_is_refused(tmp_path, name):
    path = tmp_path / "hostile.tar"
    if name == "link":
        with tarfile.open(path, "w") as archive:
            member = tarfile.TarInfo("val_5M/TTBar_120.root")
            member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
            archive.addfile(member)
    else:
        path.write_bytes(as_tar({name: b"root"}))
    with pytest.raises(BadSample, match="lies outside the archive or is no plain file"):
        public.fetch("jet_class", path=path)


@pytest.mark.parametrize(
    ("name", "make", "said"),
    [
        ("top_tagging", lambda folder: b"not HDF5", "cannot be read as HDF5"),
        (
            "top_tagging",
            lambda folder: top_file(folder, top_momenta(3), np.zeros(3), group="other"),
            "not a pandas table",
        ),
        ("quark_gluon", lambda folder: b"PK\x03\x04 cut", "cut short or not an npz file"),
        ("quark_gluon", lambda folder: as_npz(X=np.ones((3, 4))), r"has no y; it has X.npy"),
        ("quark_gluon", lambda folder: as_npz(X=np.ones((3, 4)), y=np.ones(3)), r"shape \(3, 4\); expected"),
        ("quark_gluon", lambda folder: as_npz(X=np.array([Trap()]), y=np.ones(1)), "only pickle can read"),
        ("jet_class", lambda folder: b"no tar", "is not a tar of ROOT files"),
        ("jet_class", lambda folder: as_tar({"a/README": b""}), "holds no ROOT file"),
        ("jet_class", lambda folder: as_tar({"a/TTBar_1.root": b"no ROOT"}), "is not a tar of ROOT files"),
    ],
)
def test_a_file_of_another_format_is_refused(tmp_path, name, make, said):
    path = tmp_path / "file"
    path.write_bytes(make(tmp_path))
    with pytest.raises(BadSample, match=said):
        public.fetch(name, path=path)


def test_only_the_wanted_events_are_read(server, tmp_path, monkeypatch):
    """A short read of an npz whose end is damaged: what comes after the wanted rows is never looked at."""
    random = np.random.default_rng(1).uniform(1, 2, (4000, 6, 4))
    data = bytearray(as_npz(y=np.ones(4000), X=random))
    data[len(data) // 2] ^= 255
    path = tmp_path / "QG_jets.npz"
    path.write_bytes(data)
    assert len(public.fetch("quark_gluon", n=100, path=path)) == 100
    with pytest.raises(BadSample):
        public.fetch("quark_gluon", path=path)


def test_without_the_extra_the_command_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ImportError, match=r'h5py is not installed; run: pip install "lhcml-tutor\[public\]"'):
        public.fetch("top_tagging", path=tmp_path / "val.h5")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"name": "tops"}, "no public set 'tops'; the sets are: top_tagging, quark_gluon, omnifold, jet_class"),
        ({"name": "top_tagging", "part": "valid"}, "no part 'valid'; its parts are: train, val, test"),
        ({"name": "top_tagging", "n": 0}, "n = 0; it must be an integer of at least 1"),
        ({"name": "top_tagging", "particles": -1}, "particles = -1; it must be"),
        ({"name": "top_tagging", "checksum": "abc"}, "'abc' must read md5:"),
    ],
)
def test_wrong_words_are_named(tmp_path, monkeypatch, settings, said):
    monkeypatch.setenv("LHCML_CACHE", str(tmp_path))
    with pytest.raises(ValueError, match=said):
        public.fetch(**settings)


def test_the_table_names_each_set_and_its_columns():
    for name in public.names():
        described = public.describe(name)
        assert f"{name} " in public.__doc__ and str(described["record"]) in public.__doc__
        assert next(iter(described["parts"].values())) in public.__doc__ or name == "jet_class"
    described["parts"].clear()
    assert public.describe(name)["parts"]  # a copy: nobody changes the table
