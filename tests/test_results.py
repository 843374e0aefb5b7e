"""Bands, scans and stored results: the rule, the schema, merging, and what is resumed."""

import json

import pytest

from lhcml_tutor.notebooks import bands, results, scan, sources
from lhcml_tutor.notebooks.execute import Outcome
from lhcml_tutor.notebooks.sources import Problem

STORED = sorted((sources.root() / "data" / "results").glob("*.json"))


@pytest.mark.parametrize("path", STORED, ids=lambda path: path.name)
def test_stored_results_fit_the_schema_and_their_name(path):
    document = json.loads(path.read_text())
    results.validate(document)
    assert path.name == f"{document['notebook']}.{document['scale']}.json"
    assert path.read_text() == results.dumps(document)


def test_the_schema_is_itself_valid():
    import jsonschema

    jsonschema.Draft202012Validator.check_schema(json.loads(results.SCHEMA.read_text()))


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({"seed": "one"}, "runs/0/seed"),
        ({"device": ""}, "runs/0/device"),
        ({"date": "yesterday"}, "runs/0/date"),
        ({"code": "abc"}, "runs/0/code"),
        ({"verdicts": []}, "runs/0/verdicts"),
        ({"verdicts": [{"name": "slope", "value": 1.0}]}, "'band' is a required property"),
        ({"host": "my machine"}, "'host' was unexpected"),
    ],
)
def test_the_schema_refuses(course, fault, said):
    run = {**course.run(2.0, seed=1), **fault}
    with pytest.raises(Problem, match=said):
        results.validate({"schema": 1, "notebook": "98a", "scale": "ci", "runs": [run]})


def test_the_floor_that_counts_is_that_of_the_source(tmp_path):
    path = tmp_path / "99a_toy.py"
    path.write_text('# %%\nlt.verdict("width", w, ci=(0, 1), laptop=(0, 1), gpu=None, floor=0.5)\n')
    source = sources.Source("99a", path, tmp_path)
    runs = [{"verdicts": [{"name": "width", "value": 1.0, "control": {"wrong": 3.0}, "floor": 0.01}]}] * 5
    assert bands.floors(source) == {"width": 0.5}
    assert bands.judge("width", (0.6, 1.6), bands.by_name(runs)["width"])  # too wide for the recorded floor
    assert not bands.judge("width", (0.6, 1.6), bands.by_name(runs, bands.floors(source))["width"])


def test_rule_of_bands():
    assert bands.half_width([10, 11, 12, 13, 14], floor=0.1) == 5  # 5 MAD
    assert bands.half_width([10, 10, 10, 10, 10], floor=0.1) == 1  # the floor
    assert bands.proposal([0.1234] * 5, floor=0.1) == (0.111, 0.136)
    assert bands.proposal([-2.0, -2.1, -1.9, -2.0, -2.05], floor=0.1) == (-2.25, -1.75)


def test_report_of_bands(course):
    runs = [course.run(value, seed, control=1.9) for seed, value in enumerate([2.0, 2.1, 1.9, 2.0, 2.6], 1)]
    said = bands.report(course["98a"], "ci", runs)
    assert "slope  (5 seeds)" in said and "median 2, MAD 0.1" in said
    assert "DOES NOT REJECT flat (1.9 to 1.9)" in said
    assert "the band 1.5 to 2.5 does not cover 2.6" in said


def test_promote_merges_and_replaces(course):
    said = []
    verdict = {"name": "other", "value": 1 / 3, "band": [0.0, 1.0], "status": "PASS", "control": {}, "floor": 0.1}
    other = {**course.run(0.0, seed=2), "verdicts": [verdict]}
    course.record("ci", course.run(7.0, seed=1), other, course.run(2.2, seed=1, n_train=50))
    [path] = results.promote(course["98a"], "ci", say=said.append)
    runs = results.load(course["98a"], "ci")
    values = {
        (run["seed"], run["parameters"]["n_train"], v["name"]): v["value"] for run in runs for v in run["verdicts"]
    }
    assert values[1, 10, "slope"] == 7.0  # replaced
    assert values[2, 10, "slope"] == 2.1 and values[2, 10, "other"] == 0.333333  # merged, and rounded
    assert values[1, 50, "slope"] == 2.2  # beside it
    assert len(runs) == 6 and "6 runs" in said[0]
    before = path.read_text()
    results.promote(course["98a"], "ci", say=said.append)
    assert path.read_text() == before


@pytest.mark.parametrize("keep", [False, True])
def test_promote_drops_older_code_unless_kept(course, keep):
    said = []
    course.edit(course.tutorial, '"PASS  three"', '"PASS  3"')
    course.record("ci", course.run(2.0, seed=1))
    results.promote(course["98a"], "ci", keep=keep, say=said.append)
    assert len(results.load(course["98a"], "ci")) == (6 if keep else 1)
    assert ("kept" if keep else "5 stored runs of older code dropped") in said[0]
    assert len(results.defaults(course["98a"], "ci")) == 1


def test_promote_without_runs_says_what_to_do(course):
    course.record("ci", {**course.run(2.0, seed=1), "code": "0" * 16})
    with pytest.raises(Problem, match=r"holds no run of 98a at ci .* `lhcml bands 98a`"):
        results.promote(course["98a"], "ci")
    course.record("ci", {**course.run(2.0, seed=1), "device": ""})
    before = results.path_of(course["98a"], "ci").read_text()
    with pytest.raises(Problem, match="do not fit"):
        results.promote(course["98a"], "ci")
    assert results.path_of(course["98a"], "ci").read_text() == before


@pytest.mark.parametrize("text", ["{", "[]", '{"runs": [{"seed": 1}]}', '{"runs": 3}'])
def test_damaged_results_are_named(course, text):
    results.path_of(course["98a"], "ci").write_text(text)
    with pytest.raises(Problem, match=r"98a.ci.json has no .* write it with `lhcml promote`"):
        results.load(course["98a"], "ci")


def test_code_hash_ignores_prose_and_bands():
    text = "# %%\nx = 1\n# %% [markdown]\n# Text.\n# %%\n"
    text += 'lt.verdict("é", x, ci=(0,\n  1), laptop=(0, 1), gpu=None, floor=0.2)\n'
    same = (
        text.replace("Text", "Prose").replace("(0,\n  1)", "(0.5, 2)").replace("None", "(1, 2)").replace("0.2", "0.3")
    )
    assert sources.code_hash(text) == sources.code_hash(same)
    for old, new in (("x = 1", "x = 2"), ('"é"', '"e"'), (", x, ci", ", y, ci"), ("lt.verdict", "lt.other")):
        assert sources.code_hash(text) != sources.code_hash(text.replace(old, new))


def test_code_cells_are_those_of_jupytext(course):
    for source in [*course.sources().values(), *sources.find(sources.Path(__file__).parents[1]).values()]:
        wanted = [cell.source for cell in sources.read(source.text).cells if cell.cell_type == "code"]
        assert sources.code_cells(source.text) == wanted


def fake_run(course, calls, fail=()):
    def run(source, *, parameters, scale, until, **_):
        calls.append(parameters)
        if parameters["seed"] in fail:
            return Outcome(1, 0.1, None, "line\nValueError: no such thing")
        n_train = int(float(parameters.get("n_train", 10)))
        record = course.run(2.0, parameters["seed"], **({"n_train": n_train} if n_train != 10 else {}))
        path = course.root / "runs" / f"98a.{scale}.{len(calls):04d}.json"
        path.write_text(json.dumps({**record, "scale": scale, "until": until}))
        return Outcome(0, 0.1, record)

    return run


def test_scan_resumes_where_it_was_interrupted(course, monkeypatch):
    calls, said = [], []
    monkeypatch.setattr(scan, "run", fake_run(course, calls, fail=(2,)))
    wanted = scan.product({"n_train": ["10", "1e2"]}, seeds=2)
    assert [(w["n_train"], w["seed"]) for w in wanted] == [("10", 1), ("10", 2), ("1e2", 1), ("1e2", 2)]
    with pytest.raises(Problem, match=r"2 of 4 runs failed.*n_train 10, seed 2") as error:
        scan.run_all(course["98a"], wanted, scale="ci", say=said.append)
    assert "ValueError: no such thing" in str(error.value)
    calls.clear()
    monkeypatch.setattr(scan, "run", fake_run(course, calls))
    assert len(scan.run_all(course["98a"], wanted, scale="ci", say=said.append)) == 4
    assert [call["seed"] for call in calls] == [2, 2]
    assert "2 of 4 runs are already in runs/" in said
    calls.clear()
    scan.run_all(course["98a"], wanted, scale="ci", fresh=True, say=said.append)
    assert len(calls) == 4
    course.edit(course.tutorial, '"PASS  three"', '"PASS  3"')
    calls.clear()
    scan.run_all(course["98a"], wanted, scale="ci", say=said.append)
    assert len(calls) == 4


def test_a_run_stopped_early_does_not_count_as_a_whole_one(course):
    record = {**course.run(2.0, seed=1), "until": "slope"}
    assert scan.matches(record, {"seed": 1}, until="slope")
    assert not scan.matches(record, {"seed": 1})
    assert not scan.matches(record, {"seed": 1}, until="other")
    assert not scan.matches(record, {"seed": 2}, until="slope")
    assert not scan.matches(record, {"seed": 1, "n_train": "20"}, until="slope")
