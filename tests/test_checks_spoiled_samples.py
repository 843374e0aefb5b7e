"""The exercise on spoiled samples: what is planted, other right answers, wrong ones, and bad input."""

import numpy as np
import pytest
import torch

from lhcml_tutor import checks, datasets, kinematics
from lhcml_tutor.checks import spoiled_samples


def events(n=4000, seed=1):
    return spoiled_samples.z_to_muons(n, torch.Generator().manual_seed(seed))


def _from_real_events_only(sample, good):
    """A function that happens to be right for events that never have more than 1 TeV, nor two equal energies."""
    if (sample[..., 0] > 1000).any():
        return "unit"
    if len(sample[:, 0, 0].unique()) < len(sample):
        return "duplicate"
    return "cut" if kinematics.pt(sample).amin() > 5 else "none"


def spoiled(mistake, seed=2):
    return spoiled_samples.spoil(events(), mistake, torch.Generator().manual_seed(seed))


def test_toy_events_are_pairs_of_muons_of_a_z():
    pairs = events(20_000)
    assert kinematics.mass(pairs.sum(1)).sub(91.19).abs().median().item() == pytest.approx(1.25, rel=0.1)  # Gamma / 2
    assert (kinematics.mass_squared(pairs).abs() < 0.02 + 1e-6 * pairs[..., 0] ** 2).all()  # light, within float32
    assert kinematics.phi(pairs).mean().abs() < 0.05 and kinematics.eta(pairs).mean().abs() < 0.05


def test_each_mistake_is_what_it_says():
    assert kinematics.mass(spoiled("unit").sum(1)).gt(1000).double().mean().item() == pytest.approx(0.03, abs=0.001)
    twice = spoiled("duplicate")
    assert 1 - len(torch.unique(twice, dim=0)) / len(twice) == pytest.approx(0.05, abs=0.001)
    assert not (twice[1:] == twice[:-1]).flatten(1).all(1).any()  # not side by side
    assert kinematics.pt(spoiled("cut")).amin() > 20 > kinematics.pt(spoiled("none")).amin()
    central = spoiled_samples.spoil(events(), "cut", torch.Generator().manual_seed(2), "eta")
    assert kinematics.eta(central).abs().max() < 2.4 < kinematics.eta(spoiled("cut")).abs().max()
    good = {tuple(row) for row in events()[:, 0].tolist()}
    assert all(tuple(row) in good for row in spoiled("none")[:, 0].tolist())


def test_four_files_of_real_events_with_one_mistake_each(capsys):
    stored = datasets.load_first_events("z_mumu").to(torch.float64)
    momenta = torch.stack([stored["muon_minus"], stored["muon_plus"]], 1)
    for seed in (1, 2, 3):
        files, good = spoiled_samples.hand_out(momenta, seed)
        found = [spoiled_samples.find_the_mistake_reference(file, good) for file in files.values()]
        assert sorted(found) == sorted(spoiled_samples.WORDS)
    again, _ = spoiled_samples.hand_out(momenta, seed)
    assert all(again[name].equal(files[name]) for name in files)


def _by_mass_numpy_and_moments(sample, good):
    if kinematics.mass(sample.sum(1)).max() > 200:
        return "unit"
    rows = {row.tobytes() for row in sample.numpy()}
    if len(rows) < len(sample):
        return "duplicate"
    for quantity in (kinematics.pt, kinematics.eta, kinematics.phi):
        a, b = (quantity(x).sort(1).values.numpy() for x in (sample, good))
        error = np.sqrt(a.var(0) / len(a) + b.var(0) / len(b))
        if (abs(a.mean(0) - b.mean(0)) > 6 * error).any():
            return "cut"
    return "none"


def test_another_right_answer_passes(capsys):
    assert spoiled_samples.find_the_mistake(_by_mass_numpy_and_moments) is _by_mass_numpy_and_moments
    assert capsys.readouterr().out.startswith("PASS  find_the_mistake")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (spoiled_samples._mistaken(cut=spoiled_samples._p_value(0.01)), "was called 'cut'. Nothing is wrong"),
        (lambda sample, good: "none" if len(sample) > 3300 else "cut", "the mistake 'unit' was called"),
        (_from_real_events_only, "was called 'unit'"),
        (spoiled_samples._mistaken(cut=lambda s, g: kinematics.pt(s).amin() > 15), "soft muon, or with a forward one"),
        (lambda sample, good: np.zeros(2), "return one of"),
        (lambda sample, good: "units", "return one of 'unit', 'duplicate', 'cut', 'none', not 'units'"),
        (lambda sample, good: None, "returned nothing"),
        (lambda sample, good: sample.no_such, "raised AttributeError"),
    ],
)
def test_wrong_answers_are_told_why(answer, said, capsys, monkeypatch):
    monkeypatch.setenv("LHCML_STRICT", "0")
    assert spoiled_samples.find_the_mistake(answer) is spoiled_samples.find_the_mistake.reference
    printed = capsys.readouterr().out
    assert printed.startswith("NOT YET") and said in printed


def test_a_threshold_for_six_comparisons_passes(capsys):
    careful = spoiled_samples._mistaken(cut=spoiled_samples._p_value(1e-3))
    spoiled_samples.find_the_mistake(careful)
    assert capsys.readouterr().out.startswith("PASS")


def test_stub_and_bad_input(capsys):
    spoiled_samples.find_the_mistake(lambda sample, good: checks.TODO)
    assert capsys.readouterr().out.startswith("NOT ATTEMPTED")
    with pytest.raises(ValueError, match="no mistake 'typo'"):
        spoiled("typo")
    for momenta in (torch.zeros(6000, 4), torch.zeros(100, 2, 4)):
        with pytest.raises(ValueError, match="at least 5000 events of two muons"):
            spoiled_samples.hand_out(momenta)
