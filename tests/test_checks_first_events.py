"""The exercises of tutorial 00: stub, solution and every registered mistake get the line they should."""

import inspect

import numpy as np
import pytest
import torch

from lhcml_tutor import checks
from lhcml_tutor.checks import first_events

NAMES = sorted(first_events.MISTAKES)
MISTAKES = [(name, *mistake) for name in NAMES for mistake in first_events.MISTAKES[name]]


def test_every_exercise_has_two_mistakes():
    exercises = {name for name, value in vars(first_events).items() if hasattr(value, "reference")}
    assert exercises == set(NAMES)
    assert all(len(mistakes) >= 2 for mistakes in first_events.MISTAKES.values())


@pytest.mark.parametrize("name", NAMES)
def test_stub_is_not_attempted(name, capsys):
    check = getattr(first_events, name)
    assert check(lambda *args: checks.TODO) is check.reference
    assert capsys.readouterr().out.startswith(f"NOT ATTEMPTED  {name}")


@pytest.mark.parametrize("name", NAMES)
def test_reference_passes(name, capsys):
    check = getattr(first_events, name)
    assert check(check.reference) is check.reference
    assert capsys.readouterr().out.startswith(f"PASS  {name}")


@pytest.mark.parametrize("name, wrong, piece", MISTAKES)
def test_mistake_gets_its_hint(name, wrong, piece, capsys, monkeypatch):
    monkeypatch.delenv("LHCML_STRICT", raising=False)
    check = getattr(first_events, name)
    assert check(wrong) is check.reference
    said = capsys.readouterr().out
    assert said.startswith(f"NOT YET  {name}") and piece in said, said


def _by_asinh(p):
    energy, px, py, pz = p.unbind(dim=-1)
    return (px**2 + py**2).sqrt(), torch.asinh(pz / (energy**2 - pz**2).sqrt())


def _by_numpy(values, weights, edges):
    values, weights, edges = values.numpy(), weights.numpy(), edges.numpy()
    content, _ = np.histogram(values, edges, weights=weights)
    return content, np.sqrt(np.histogram(values, edges, weights=weights**2)[0])


def _by_dot(p, q):
    metric = torch.tensor([1.0, -1, -1, -1], dtype=p.dtype)
    return ((metric * p * p).sum(-1) + (metric * q * q).sum(-1) + 2 * (metric * p * q).sum(-1)).sqrt()


def _by_second_moment(w):
    return w.sum() / len(w), (((w**2).mean() - w.mean() ** 2) / len(w)).sqrt()


def _by_derivatives(a, error_a, b, error_b):
    return a / b, ((error_a / b) ** 2 + (a * error_b / b**2) ** 2).sqrt()


@pytest.mark.parametrize(
    "name, other",
    [
        ("pt_and_rapidity", _by_asinh),
        ("pair_mass", _by_dot),
        ("monte_carlo", _by_second_moment),
        ("weighted_histogram", _by_numpy),
        ("ratio_with_error", _by_derivatives),
    ],
)
def test_another_correct_solution_passes(name, other, capsys):
    getattr(first_events, name)(other)
    assert capsys.readouterr().out.startswith(f"PASS  {name}")


@pytest.mark.parametrize("name", NAMES)
def test_an_answer_that_raises_is_told_so(name, capsys, monkeypatch):
    monkeypatch.delenv("LHCML_STRICT", raising=False)
    check = getattr(first_events, name)

    def broken(*args):
        raise RuntimeError("shapes do not match")

    assert check(broken) is check.reference
    assert "raised RuntimeError" in capsys.readouterr().out


def test_mistakes_take_the_arguments_of_the_reference():
    for name in NAMES:
        wanted = len(inspect.signature(getattr(first_events, name).reference).parameters)
        for wrong, _ in first_events.MISTAKES[name]:
            assert len(inspect.signature(wrong).parameters) == wanted
