"""The explorers of lecture 00 against what can be worked out by hand."""

import math

import pytest
import torch

from lhcml_tutor.explorers import events


@pytest.mark.parametrize("width", [0.2, 0.5, 2.0, 10.0])
def test_breit_wigner_proposal_has_the_variance_derived_in_the_lecture(width):
    result = events.integration.compute(family="Breit-Wigner", width=width, points=100_000, seed=3)
    known = abs(1 - width) / math.sqrt(2 * width * 100_000)
    assert abs(result.estimate[-1] - 1) < 4 * known
    assert result.error[-1] == pytest.approx(known, rel=0.03)
    assert result.effective == pytest.approx(2 * width / (1 + width**2), rel=0.03)
    assert result.unweighting == pytest.approx(min(width, 1 / width), rel=0.03)


def test_the_right_proposal_has_no_error():
    result = events.integration.compute(family="Breit-Wigner", width=1.0, points=1000, seed=1)
    assert result.estimate[-1] == pytest.approx(1)
    assert result.error[-1] < 1e-7
    assert result.unweighting == pytest.approx(1)


def test_the_gaussian_proposal_of_the_lecture_is_too_sure_of_itself():
    pulls = []
    for seed in range(1, 21):
        result = events.integration.compute(family="Gaussian", width=5.0, points=10_000, seed=seed)
        pulls.append((result.estimate[-1] - 1) / result.error[-1])
    assert sum(pull < -2 for pull in pulls) >= 5  # a unit Gaussian would give one in 44
    assert pulls[0] == pytest.approx(-3.2, abs=0.2)  # "three of its own errors too low", as the lecture says


@pytest.mark.parametrize("mass", [0.0, 180.0])
def test_a_boost_shifts_every_rapidity(mass):
    result = events.boost.compute(rapidity=-1.25, mass=mass, pt=20.0)
    assert torch.allclose(result.shift_y, torch.full_like(result.shift_y, -1.25))
    same = torch.allclose(result.shift_eta, result.shift_y)
    assert same if mass == 0 else not same


@pytest.mark.parametrize("explorer", [events.boost, events.integration])
def test_the_line_of_numbers_is_there_for_every_setting(explorer):
    lines = [explorer.summary(result) for _, result in explorer.sweep()]
    assert all(lines) and "nan" not in " ".join(lines)
