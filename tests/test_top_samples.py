"""Tops on and off their mass shells, and t H q' with its decays: masses, spins, balance, loaders."""

import math

import pytest
import torch

from lhcml_tutor import datasets, kinematics
from lhcml_tutor.datasets.top_samples import PARTONS, make_thj
from lhcml_tutor.physics import hard_processes
from lhcml_tutor.physics.constants import HIGGS_MASS, TOP_MASS, W_MASS
from lhcml_tutor.physics.hard_processes import TopHiggsJet
from lhcml_tutor.physics.on_shell import on_shell


@pytest.fixture(scope="module")
def pairs():
    return {m: datasets.load_ttbar(n=3000, seed=2, masses=m) for m in ("natural", "on-shell")}


@pytest.fixture(scope="module")
def thj():
    return make_thj(2000, math.pi, seed=3)


def sums(events, names):
    return sum(events[name].double() for name in names)


def test_on_shell_events_have_the_masses_and_the_momenta_of_their_twins(pairs):
    natural, moved = pairs["natural"], pairs["on-shell"]
    for i in (0, 3):
        top, w = PARTONS[i : i + 3], PARTONS[i + 1 : i + 3]
        assert (kinematics.mass(sums(moved, top)) - TOP_MASS).abs().max() < 0.02
        assert (kinematics.mass(sums(moved, w)) - W_MASS).abs().max() < 0.02
        assert (sums(moved, top) - sums(natural, top))[:, 1:].abs().max() < 0.01
        assert kinematics.mass(sums(natural, top)).std() > 1.0  # a control: the twins do have widths


def test_moving_twice_changes_nothing_and_directions_stay(pairs):
    partons = [pairs["natural"][name].double() for name in PARTONS[:3]]
    once = on_shell(*partons)
    assert all(torch.allclose(a, b, atol=1e-8) for a, b in zip(on_shell(*once), once))

    def angle(b, q, qbar):
        """Return the cosine of the quark's direction in the rest frame of the W, relative to the flight of the W."""
        rest = -kinematics.velocity(b + q + qbar)
        w, q = kinematics.boost(q + qbar, rest), kinematics.boost(q, rest)
        inner = kinematics.boost(q, -kinematics.velocity(w))
        return torch.nn.functional.cosine_similarity(inner[:, 1:], w[:, 1:])

    assert torch.allclose(angle(*once), angle(*partons), atol=1e-9)


def test_impossible_masses():
    b, q, qbar = torch.tensor([[[60.0, 60, 0, 0]], [[70, 0, 70, 0]], [[50, 0, 0, 50]]])
    with pytest.raises(ValueError, match="cannot decay"):
        on_shell(b, q, qbar, top_mass=70.0)
    with pytest.raises(ValueError, match="'natural' or 'on-shell'"):
        datasets.load_ttbar(n=5, masses="heavy")


def test_thj_decays_add_up(thj):
    assert torch.allclose(sums(thj, ("b", "lepton", "neutrino")), thj["top"], atol=1e-6)
    assert torch.allclose(sums(thj, ("photon_1", "photon_2")), thj["higgs"], atol=1e-6)
    assert (kinematics.mass(thj["top"]) - TOP_MASS).abs().max() < 1e-3
    assert (kinematics.mass(thj["higgs"]) - HIGGS_MASS).abs().max() < 1e-3
    w = kinematics.mass(sums(thj, ("lepton", "neutrino")))
    assert abs(w.median().item() - W_MASS) < 0.2 and 0.5 < ((w - W_MASS).abs() < 2.085).double().mean() < 0.8
    assert kinematics.pt(thj["top"] + thj["higgs"] + thj["jet"]).max() < 1e-6


def test_measured_momenta_scatter_around_the_true_ones(thj):
    for name in ("b", "lepton", "photon_1", "photon_2", "jet"):
        ratio = thj[f"{name}_measured"][:, 0] / thj[name][:, 0]
        assert abs(ratio.median().item() - 1) < 0.06 and ratio.std() > 0.005
    neutrino = thj["neutrino"][:, 1:3]
    assert (thj["missing"] - neutrino).norm(dim=1).median() < 40
    assert (thj["missing"] * neutrino).sum() > 0


def test_spins_of_the_decay_are_those_of_the_amplitude(thj):
    """Leptons follow the light jet in the rest frame of the top; without correlations the mean would be zero."""
    rest = -kinematics.velocity(thj["top"])
    lepton, jet = kinematics.boost(thj["lepton"], rest), kinematics.boost(thj["jet"], rest)
    cosine = torch.nn.functional.cosine_similarity(lepton[:, 1:], jet[:, 1:])
    assert abs(cosine.mean().item()) > 5 * cosine.std().item() / len(cosine) ** 0.5


def test_no_decay_weighs_more_than_the_bound(monkeypatch):
    """With a larger bound the same distribution must come out: the mean energy of the lepton does not move."""
    process = TopHiggsJet(math.pi)
    momenta = process.sample(1500, torch.Generator().manual_seed(1))

    def energies():
        events = process.decayed(momenta, torch.Generator().manual_seed(2))
        at_rest = kinematics.boost(events[:, 2], -kinematics.velocity(events[:, 1:4].sum(1)))
        return at_rest[:, 0]

    usual = energies()
    monkeypatch.setattr(hard_processes, "MOST_DECAY", 0.007)
    wide = energies()
    assert abs(usual.mean() - wide.mean()) < 4 * (usual.std() / 1500**0.5 * 2**0.5)
    monkeypatch.setattr(hard_processes, "MOST_DECAY", 0.0003)  # control: weights above the bound are cut off
    assert abs(energies().mean() - wide.mean()) > 4 * (usual.std() / 1500**0.5 * 2**0.5)


def test_loader_keeps_the_sample(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("LHCML_CACHE", str(tmp_path))
    one = datasets.load_thj(n=30, cp_angle=math.pi, seed=4)
    assert "made on the spot" in capsys.readouterr().out
    two = datasets.load_thj(n=30, cp_angle=math.pi, seed=4)
    assert "from the cache" in capsys.readouterr().out and torch.equal(one["b"], two["b"])
    assert one.provenance["cp_angle"] == math.pi


@pytest.mark.parametrize("wrong", [{"n": 0}, {"cp_angle": math.nan}, {"cp_angle": "pi"}, {"seed": -1}])
def test_bad_arguments(wrong):
    with pytest.raises(ValueError, match="must be"):
        datasets.load_thj(**{"n": 5, **wrong})


def test_clusters():
    clusters = datasets.load_calorimeter_clusters(n=2000, seed=1)
    assert (clusters["measured"] > 0).all() and clusters.units["measured"] == "GeV"
    assert torch.equal(clusters["energy"], datasets.load_calorimeter_clusters(n=2000, seed=1)["energy"])
    with pytest.raises(ValueError, match="n must be an integer >= 1"):
        datasets.load_calorimeter_clusters(n=0)
