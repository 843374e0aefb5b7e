"""`lhcml data list, make, fetch, verify`, the commit module and data/README.md."""

import json
import shutil
import sys
from pathlib import Path

import pytest
import torch

from lhcml_tutor.cli import main
from lhcml_tutor.datasets import commit as committing
from lhcml_tutor.datasets import public, registry, storage
from lhcml_tutor.datasets import verify as verifying
from lhcml_tutor.datasets.events import Events
from lhcml_tutor.notebooks import build, data_readme

ROOT = Path(__file__).parents[1]


def call(capsys, *arguments):
    """Return exit status, standard output and standard error of one call of `lhcml data`."""
    with pytest.raises(SystemExit) as stop:
        main(["data", *map(str, arguments)])
    said = capsys.readouterr()
    return stop.value.code or 0, said.out, said.err


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LHCML_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("LHCML_REPOSITORY", "http://127.0.0.1:9")
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def committed(tmp_path_factory):
    """A folder with data/ and a manifest, in which the sample "toy" is committed."""
    folder = tmp_path_factory.mktemp("committed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LHCML_CACHE", str(folder / "cache"))
        committing.commit("toy", folder=folder / "checkout" / "data", path=folder / "manifest.toml")
    return folder


@pytest.fixture
def checkout(committed, tmp_path, monkeypatch):
    """A checkout of its own with the sample "toy"; what was made for it is in the cache."""
    shutil.copytree(committed, tmp_path, dirs_exist_ok=True)
    root = tmp_path / "checkout"
    monkeypatch.setattr(storage, "ROOT", root)
    monkeypatch.setattr(verifying, "ROOT", root)
    monkeypatch.setattr(storage, "MANIFEST", tmp_path / "manifest.toml")
    return root


def rewrite(checkout, change):
    """Change the entry of "toy" in the manifest."""
    entries = storage.manifest()
    change(entries["toy"])
    storage.MANIFEST.write_text(committing.toml(entries))


def test_list_says_what_where_and_how(checkout, cache, capsys):
    status, said, _ = call(capsys, "list")
    lines = {line.split()[0]: " ".join(line.split()) for line in said.splitlines()}
    assert status == 0 and lines["toy"].endswith("checkout intact nothing") and lines["toy"].startswith("toy 1,000 0.0")
    assert lines["ttbar"].endswith("- made simulation")
    (checkout / "data" / "toy.npz").write_bytes(b"PK damaged")
    assert "checkout DAMAGED" in " ".join(call(capsys, "list")[1].split())
    (checkout / "data" / "toy.npz").unlink()
    assert "toy 1,000 0.01 MB - absent" in " ".join(call(capsys, "list")[1].split())


def test_make_says_the_file_its_sha256_and_whether_it_is_the_committed_one(checkout, tmp_path, capsys):
    output = tmp_path / "new.npz"
    status, said, _ = call(capsys, "make", "toy", "--events", 1000, "--seed", 1, "--output", output)
    sha256 = storage.manifest()["toy"]["sha256"]
    assert status == 0 and said.splitlines()[-2:] == [str(output), f"sha256 {sha256} (the committed file)"]
    assert output.read_bytes() == (checkout / "data" / "toy.npz").read_bytes()
    status, said, _ = call(capsys, "make", "toy", "-p", "slope=20")
    assert status == 0 and "committed file" not in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["make", "jts"], "lhcml: there is no sample 'jts' that can be made; did you mean 'jets'"),
        (["make", "toy", "--events", "0"], "lhcml: events = 0; it must be an integer from 1"),
        (["make", "toy", "--events", "-3"], "lhcml: events = -3"),
        (["make", "toy", "--events", "1000000000000"], "lhcml: events = 1000000000000"),
        (["make", "toy", "--events", "many"], "Invalid value for '--events'"),
        (["make", "toy", "--workers", "0"], "Invalid value for '--workers'"),
        (["make", "toy", "--seed", "0"], "lhcml: seed = 0"),
        (["make", "toy", "-p", "slop=1"], "lhcml: the sample 'toy' has no setting 'slop'; it has: slope, threshold"),
        (["make", "toy", "-p", "slope"], "lhcml: slope='': it must be of type float"),
        (["make", "toy", "-p", "seed=2"], "lhcml: seed is no setting of a sample but an option"),
        (["make", "toy", "-p", "slope=-1"], "lhcml: shard 0 of 'toy' failed three times (ValueError: slope = -1.0 GeV"),
        (["make", "toy", "--scheduler", "nowhere"], "lhcml: 'nowhere' is no address of a Dask scheduler"),
        (["make", "toy", "--output", "toy.txt"], "lhcml: the output toy.txt is no .npz file"),
        (["fetch", "nothing"], "lhcml: there is no sample 'nothing' to be fetched; there are: z_mumu"),
        (["verify", "nothing"], "lhcml: there is no sample 'nothing' in the manifest; it has: z_mumu"),
    ],
    ids=" ".join,
)
def test_wrong_call(capsys, arguments, said):
    status, _, error = call(capsys, *arguments)
    assert status == 2 and said in error and "Traceback" not in error


def test_make_without_the_generator(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "pythia8mc", None)
    status, _, error = call(capsys, "make", "ttbar")
    assert status == 2 and 'lhcml: pythia8mc is not installed; run: pip install "lhcml-tutor[simulation]"' in error


def test_fetch_a_public_data_set(capsys, monkeypatch):
    monkeypatch.setattr(public, "fetch", lambda name, n=None, part=None: f"{n} events of {name}, {part}")
    asked = ("fetch", "top_tagging", "--events", 5, "--part", "val")
    assert call(capsys, *asked) == (0, "5 events of top_tagging, val\n", "")
    assert "top_tagging - - network public public" in " ".join(call(capsys, "list")[1].split())


def test_fetch_a_sample_of_the_course(checkout, capsys):
    status, said, _ = call(capsys, "fetch", "toy")
    assert status == 0 and "0.0 MB from http://127.0.0.1:9/raw" in said and str(checkout / "data" / "toy.npz") in said


def test_the_committed_samples_are_green_without_the_generator(capsys, monkeypatch):
    for package in ("pythia8mc", "fastjet", "awkward", "distributed"):
        monkeypatch.setitem(sys.modules, package, None)
    status, said, _ = call(capsys, "verify")
    assert status == 0 and said.count("ok    ") == len(storage.manifest()) and "FAIL" not in said


def spoil(path, how):
    """Change a stored sample: its bytes, or what it holds."""
    if how == "bytes":
        path.write_bytes(path.read_bytes()[:-50])
    elif how == "gone":
        path.unlink()


@pytest.mark.parametrize(
    ("how", "said"), [("bytes", "toy.npz is damaged or another version"), ("gone", "toy: not here")]
)
def test_verify_finds_a_damaged_file(checkout, capsys, how, said):
    assert call(capsys, "verify")[0] == 0
    spoil(checkout / "data" / "toy.npz", how)
    status, out, _ = call(capsys, "verify", "toy")
    assert status == 1 and len(out.splitlines()) == 1 and out.startswith("FAIL  ") and said in out


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda entry: entry["columns"]["pt"].update(unit="MeV"), "column 'pt' is {'shape': [1000], "),
        (lambda entry: entry["columns"]["pt"].update(dtype="float64"), "column 'pt'"),
        (lambda entry: entry["columns"]["phi"].update(shape=[999]), "column 'phi'"),
        (lambda entry: entry["columns"].pop("phi"), "column 'phi'"),
        (lambda entry: entry["columns"].update(eta=entry["columns"]["phi"]), "column 'eta' is None"),
        (lambda entry: entry.update(bytes=5), "the manifest says 5"),
        (lambda entry: entry.update(sha256="0" * 64), "is damaged or another version"),
    ],
)
def test_verify_finds_columns_that_are_not_those_of_the_manifest(checkout, capsys, change, said):
    rewrite(checkout, change)
    status, out, _ = call(capsys, "verify")
    assert status == 1 and said in out and len(out.splitlines()) == 1


def test_verify_looks_into_the_cache_as_well(checkout, cache, capsys):
    shutil.copyfile(checkout / "data" / "toy.npz", cache / "toy.npz")
    assert call(capsys, "verify")[1].count("ok    toy in ") == 2
    (cache / "toy.npz").write_bytes(b"tampered")
    status, out, _ = call(capsys, "verify")
    assert status == 1 and "ok    toy in data" in out and "FAIL  toy in the cache" in out


def test_nan_in_a_file_is_found(checkout, monkeypatch, capsys):
    events = Events.load(storage.find("toy"))
    events.columns["pt"][7] = float("nan")
    monkeypatch.setattr("lhcml_tutor.datasets.events.check_finite", lambda *_: None)
    sha256 = events.save(checkout / "data" / "toy.npz")
    monkeypatch.undo()
    monkeypatch.setattr(storage, "ROOT", checkout)
    monkeypatch.setattr(verifying, "ROOT", checkout)
    monkeypatch.setattr(storage, "MANIFEST", checkout.parent / "manifest.toml")
    rewrite(checkout, lambda entry: entry.update(sha256=sha256))
    status, out, _ = call(capsys, "verify")
    assert status == 1 and "column 'pt' has nan in row 7" in out


def test_remake_is_exact_with_the_same_versions(checkout, capsys):
    status, said, _ = call(capsys, "verify", "--remake")
    assert status == 0 and "toy: 1 of 3 shards made again and compared exactly: the same" in said


def test_remake_finds_one_wrong_number(checkout, capsys):
    events = Events.load(storage.find("toy"))
    for row in (3, 600, -3):  # in each of the three shards
        events["phi"][row] += 0.001
    sha256 = events.save(checkout / "data" / "toy.npz")
    rewrite(checkout, lambda entry: entry.update(sha256=sha256, bytes=(checkout / "data" / "toy.npz").stat().st_size))
    status, said, _ = call(capsys, "verify", "--remake")
    assert status == 1 and "FAIL" in said and "phi differs in 1 of" in said and "by up to 0.000" in said


def test_remake_is_statistical_with_other_versions(checkout, capsys):
    rewrite(checkout, lambda entry: entry["versions"].update(numpy="1.0"))
    status, said, _ = call(capsys, "verify", "--remake")
    assert status == 0 and "compared statistically, for the versions differ (numpy 2" in said
    rewrite(checkout, lambda entry: entry["settings"].update(slope=20.0))
    status, said, _ = call(capsys, "verify", "--remake")
    assert status == 1 and "pt: p = " in said and "phi" not in said, "a spectrum with another slope must be noticed"


def test_the_statistical_comparison_seldom_errs_and_has_power():
    random = torch.Generator().manual_seed(3)

    def draw(n, width=1.0):
        return Events({"p": width * torch.randn(n, 4, generator=random)}, {"p": "GeV"})

    assert sum(bool(verifying.unlike(draw(1000), draw(500))) for _ in range(100)) <= 2
    assert sum(bool(verifying.unlike(draw(5000), draw(2500, width=1.2))) for _ in range(20)) >= 18


def test_remake_without_the_generator_names_the_extra(capsys, monkeypatch):
    pytest.importorskip("pythia8mc", reason='needs pip install "lhcml-tutor[simulation]"')
    monkeypatch.setitem(sys.modules, "pythia8mc", None)
    status, said, _ = call(capsys, "verify", "--remake", "ttbar")
    assert status == 1 and 'pip install "lhcml-tutor[simulation]"' in said


def test_commit_writes_file_figure_and_entry(checkout):
    entry = storage.manifest()["toy"]
    assert entry["command"] == "lhcml data make toy --events 1000 --seed 1" and entry["licence"] == "CC BY 4.0"
    assert (
        sum(entry["shards"]) == 1000 and entry["per_shard"] == 1000 and set(entry["versions"]) == {"numpy", "platform"}
    )
    figure = (checkout / "data" / "figures" / "toy.png").read_bytes()
    assert figure[:4] == b"\x89PNG" and len(figure) <= 40_000
    events = Events.load(storage.find("toy"))
    assert entry["provenance"] == events.provenance and entry["columns"] == committing.columns(events)


def test_a_large_sample_lies_in_parts_and_is_found(checkout, capsys, monkeypatch):
    whole = Events.load(storage.find("toy"))
    monkeypatch.setattr(committing.split, "__defaults__", (6000,))
    committing.commit("toy", folder=checkout / "data", path=storage.MANIFEST)
    entry, parts = storage.manifest()["toy"], sorted(path.name for path in (checkout / "data").glob("*.npz"))
    assert parts == entry["file"] == ["toy.0.npz", "toy.1.npz"]
    assert max((checkout / "data" / part).stat().st_size for part in parts) <= 6000
    again = Events.load(storage.find("toy"))
    assert torch.equal(again["pt"], whole["pt"]) and again.provenance == whole.provenance
    assert call(capsys, "verify", "--remake")[0] == 0
    assert "checkout intact" in " ".join(call(capsys, "list")[1].split())
    (checkout / "data" / "toy.1.npz").write_bytes(b"PK")
    status, said, _ = call(capsys, "verify")
    assert status == 1 and "toy.1.npz is damaged" in said
    (checkout / "data" / "toy.1.npz").unlink()
    assert call(capsys, "verify")[0] == 1


def test_the_manifest_is_what_commit_would_write():
    text = storage.MANIFEST.read_text(encoding="utf-8")
    assert text == committing.toml(storage.manifest())
    for name, entry in storage.manifest().items():
        sample = registry.sample(name)
        assert (
            entry["events"] == sample.events
            and {c: about["unit"] for c, about in entry["columns"].items()} == sample.units
        )
        assert entry["provenance"]["what"] == sample.what and entry["licence"] == "CC BY 4.0"
        assert sum(entry.get("shards", [entry["events"]])) == entry["events"]
        assert json.loads(json.dumps(entry)) == entry


def test_the_readme_of_the_data_says_all_and_is_gated(tmp_path, monkeypatch):
    text = (ROOT / "data" / "README.md").read_text(encoding="utf-8")
    assert text == data_readme.expected(ROOT)[ROOT / "data" / "README.md"] and not data_readme.missing(ROOT)
    for name, entry in storage.manifest().items():
        for part in (
            f"## {name}",
            entry["command"],
            entry["licence"],
            f"(figures/{name}.png)",
            f"{entry['events']:,d}",
        ):
            assert part in text, (name, part)
        assert all(f"| `{column}` |" in text for column in entry["columns"])
        assert (ROOT / "data" / "figures" / f"{name}.png").stat().st_size <= 40_000
    changed = tmp_path / "manifest.toml"
    changed.write_text(
        storage.MANIFEST.read_text(encoding="utf-8").replace('licence = "CC BY 4.0"', 'licence = "none"')
    )
    monkeypatch.setattr(data_readme, "MANIFEST", changed)
    assert any("data/README.md differs" in problem.replace("\\", "/") for problem in build.drifted(ROOT))


def test_a_figure_that_is_missing_or_left_over_is_found(checkout):
    (checkout / "data" / "README.md").write_text("")
    assert not data_readme.missing(checkout, storage.MANIFEST)
    (checkout / "data" / "figures" / "toy.png").rename(checkout / "data" / "figures" / "old.png")
    problems = data_readme.missing(checkout, storage.MANIFEST)
    assert (
        "toy.png is missing; run `python -m lhcml_tutor.datasets.commit toy`" in problems[0]
        and "old.png" in problems[1]
    )


def test_a_sample_that_cannot_be_split_is_made_whole(capsys):
    pytest.importorskip("pythia8mc", reason='needs pip install "lhcml-tutor[simulation]"')
    status, said, _ = call(capsys, "make", "jets_display", "--events", 1)
    made = Events.load(said.splitlines()[-2])
    assert status == 0 and (made["event"] == 0).all() and made.provenance["seed"] == 1
    committed = Events.load(storage.find("jets_display"))
    assert torch.allclose(made["momentum"], committed["momentum"][committed["event"] == 0], rtol=1e-5, atol=1e-4)
