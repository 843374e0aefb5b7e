"""Verdicts and exercises: what they print, record, raise and hand back."""

import json

import pytest
import torch

import lhcml_tutor as lt
from lhcml_tutor.checks import verdicts
from lhcml_tutor.checks.exercises import NotYet, exercise, expect

BANDS = {"ci": (0.8, 1.2), "laptop": (0.9, 1.1), "gpu": None}


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """An empty folder of records and a forgiving environment; call it for the latest record."""
    monkeypatch.setenv("LHCML_RUNS", str(tmp_path))
    monkeypatch.setenv("LHCML_STRICT", "0")
    monkeypatch.setenv("LHCML_SCALE", "ci")
    monkeypatch.setenv("LHCML_NOTEBOOK", "98a")
    monkeypatch.setattr(verdicts._record, "run", None)

    def latest():
        [path] = tmp_path.glob("98a.*.json")
        return json.loads(path.read_text())

    return latest


def test_same_words_at_every_scale(runs, capsys, monkeypatch):
    for scale in ("ci", "laptop"):
        monkeypatch.setenv("LHCML_SCALE", scale)
        lt.verdict("width", 1.05, **BANDS, control={"untrained network": 3.0})
    first, second = capsys.readouterr().out.splitlines()
    assert first == second == "PASS  width is in its measured band, and outside it: untrained network"


@pytest.mark.parametrize(
    ("scale", "value", "control", "said"),
    [
        ("ci", 1.3, 3.0, "OUTSIDE  width is 1.3, its measured band is 0.8 to 1.2"),
        ("laptop", 1.15, 3.0, "OUTSIDE  width is 1.15"),
        ("ci", float("nan"), 3.0, "OUTSIDE  width is nan"),
        ("ci", 1.0, 1.1, "BLIND  width cannot tell"),
        ("gpu", 1.0, 3.0, "NOT YET MEASURED  width"),
    ],
)
def test_what_is_not_a_pass(runs, capsys, monkeypatch, scale, value, control, said):
    monkeypatch.setenv("LHCML_SCALE", scale)
    lt.verdict("width", value, **BANDS, control={"untrained network": control})
    assert capsys.readouterr().out.startswith(said)
    monkeypatch.setenv("LHCML_STRICT", "1")
    if scale != "gpu":
        with pytest.raises(lt.checks.OutsideBand, match="width"):
            lt.verdict("width", value, **BANDS, control={"untrained network": control})


def test_ends_of_the_band_belong_to_it(runs, capsys):
    lt.verdict("low", 0.8, **BANDS)
    lt.verdict("high", 1.2, **BANDS)
    assert capsys.readouterr().out.count("PASS") == 2


@pytest.mark.parametrize("bands", [{"ci": None, "laptop": (0, 1)}, {"ci": (0, 1), "laptop": (2, 1)}])
def test_bands_that_are_none(bands):
    with pytest.raises(ValueError, match="band"):
        lt.verdict("width", 1.0, **bands, gpu=None)


def test_the_record(runs, monkeypatch):
    monkeypatch.setenv("LHCML_PARAMETERS", '{"n_train": "20", "seed": 3}')
    monkeypatch.setenv("LHCML_CODE", "0123456789abcdef")
    lt.parameters(n_train=10, depth=2, seed=1)
    lt.verdict("width", 1.0, **BANDS, control={"untrained": float("inf")}, floor=0.2)
    lt.verdict("width", 1.1, **BANDS)
    lt.verdict("tail", float("nan"), **BANDS)
    record = runs()
    assert (record["seed"], record["parameters"], record["changed"]) == (3, {"n_train": 20, "depth": 2}, ["n_train"])
    assert record["code"] == "0123456789abcdef" and record["scale"] == "ci" and record["seconds"] >= 0
    assert [(v["name"], v["value"], v["status"]) for v in record["verdicts"]] == [
        ("width", 1.1, "PASS"),
        ("tail", None, "OUTSIDE"),
    ]


def test_until_stops_a_run_after_its_verdict(runs, monkeypatch):
    monkeypatch.setenv("LHCML_UNTIL", "tail")
    lt.verdict("width", 1.0, **BANDS)
    with pytest.raises(SystemExit) as stop:
        lt.verdict("tail", 9.0, **BANDS)
    assert stop.value.code == 0 and [v["name"] for v in runs()["verdicts"]] == ["width", "tail"]


def test_other_ranks_are_silent(runs, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("RANK", "1")
    lt.verdict("width", 1.0, **BANDS)
    assert capsys.readouterr().out == "" and not list(tmp_path.glob("*.json"))


@pytest.fixture
def double():
    @exercise(reference=lambda x: 2 * x)
    def double(answer):
        hint = lambda value, wanted: "Did you square?" if value == 9 else "Try pen and paper."  # noqa: E731
        expect("twice 3", answer(3.0), 6.0, hint=hint)
        return "twice 3 is 6"

    return double


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda x: lt.TODO, "NOT ATTEMPTED  double"),
        (lambda x: (lt.TODO, x), "NOT ATTEMPTED  double"),
        (lt.TODO, "NOT ATTEMPTED  double"),
        (lambda x: x * x, "NOT YET  double: twice 3: yours 9, expected 6 (tolerance 1e-06). Did you square?"),
        (lambda x: x, "NOT YET  double: twice 3: yours 3, expected 6 (tolerance 1e-06). Try pen and paper."),
        (lambda x: None, "NOT YET  double: your function returned nothing"),
        (lambda x: x.shape, "NOT YET  double: your function raised AttributeError"),
        (lambda x: "six", "NOT YET  double: twice 3 should be numbers"),
        (lambda x: torch.tensor([6.0, 6.0]), "NOT YET  double: twice 3 has the shape (2,), expected ()"),
        (lambda x: torch.tensor(float("nan")), "NOT YET  double: twice 3: yours nan"),
    ],
)
def test_answers(double, capsys, monkeypatch, answer, said):
    monkeypatch.setenv("LHCML_STRICT", "0")
    assert double(answer) is double.reference
    assert capsys.readouterr().out.startswith(said)


def test_right_answer_is_handed_back(double, capsys):
    def answer(x):
        return torch.tensor(x + x, requires_grad=True)

    assert double(answer) is answer
    assert capsys.readouterr().out == "PASS  double: twice 3 is 6\n"


def test_wrong_answer_raises_where_it_must(double, monkeypatch):
    monkeypatch.setenv("LHCML_STRICT", "1")
    with pytest.raises(NotYet):
        double(lambda x: x)


def test_an_unknown_module_of_checks():
    with pytest.raises(AttributeError, match="no checks named 'nothing'"):
        _ = lt.checks.nothing
