"""Coordinates of Z with jets: exact inverses and Jacobians on real events, cuts, and what they promise."""

import math

import numpy as np
import pytest
import torch

from lhcml_tutor import datasets, kinematics
from lhcml_tutor.bijections import (
    Z_JETS_PRESENT,
    ZJetCoordinates,
    beyond_muon_cut,
    mirror_images,
    z_jet_features,
    z_jet_momenta,
)
from lhcml_tutor.bijections.decays import close_hole, open_hole
from lhcml_tutor.bijections.z_jets import COORDINATES
from lhcml_tutor.physics.z_jet_observables import z_jet_observables


@pytest.fixture(scope="module")
def events():
    return datasets.load_z_jets(n=6000)


@pytest.fixture(scope="module")
def rows(events):
    return z_jet_features(*(events[k].double() for k in ("muon_minus", "muon_plus", "jets")), events["n_jets"])


def test_features_go_back_to_the_same_event(events, rows):
    """Invariants of the momenta, which do not see the azimuth, are those of the sample."""
    x, condition = rows
    p, jets = z_jet_momenta(x), events["jets"].double()
    mass = kinematics.mass(events["muon_minus"].double() + events["muon_plus"].double())
    assert ((kinematics.mass(p[:, 0] + p[:, 1]) - mass).abs() < 0.02).all()  # muons are massless here
    assert torch.allclose(kinematics.pt(p[:, 2:]), kinematics.pt(jets), atol=1e-3)
    balance = kinematics.pt(p.sum(1))
    wanted = kinematics.pt(events["muon_minus"].double() + events["muon_plus"].double() + jets.sum(1))
    assert torch.allclose(balance, wanted, atol=2e-3)
    assert (condition.argmax(1) + 1 == events["n_jets"]).all()


@pytest.mark.parametrize("name", COORDINATES)
def test_inverse_and_jacobian(name, rows):
    x, condition = rows
    coordinates = ZJetCoordinates.fit(x, condition, name)
    z, log_det = coordinates(x, condition)
    again, back = coordinates.inverse(z, condition)
    assert (again - x).abs().max() < 1e-8 and (log_det + back).abs().max() < 1e-8
    there = condition @ Z_JETS_PRESENT.double() > 0.5
    assert (z[~there] == 0).all()
    assert torch.allclose(z.sum(0) / there.sum(0), torch.zeros(14).double(), atol=1e-9)
    assert torch.allclose((z**2).sum(0) / there.sum(0), torch.ones(14).double(), atol=1e-9)
    for jets in range(3):
        for row in (condition[:, jets] > 0).nonzero()[:3, 0].tolist():
            some, c = there[row], condition[row : row + 1]
            for call, at, log in ((coordinates, x, log_det), (coordinates.inverse, z, back)):
                jacobian = torch.autograd.functional.jacobian(lambda v, c=c, f=call: f(v[None], c)[0][0], at[row])
                found = torch.linalg.slogdet(jacobian[some][:, some]).logabsdet
                assert abs(found - log[row]) < 1e-7, (name, jets, row)


def test_generated_points_come_back(rows):
    """The other way round, from Gaussian points: wherever the event passes the cuts, its coordinates are the point."""
    x, condition = rows
    coordinates = ZJetCoordinates.fit(x, condition)
    z = torch.randn(len(x), 14, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    z = torch.where(condition @ Z_JETS_PRESENT.double() > 0.5, z, 0.0)
    x, log_det = coordinates.inverse(z, condition)
    inside = coordinates.inside(x, condition)
    assert 0.5 < inside.double().mean() < 1
    again, back = coordinates(x[inside], condition[inside])
    assert (again - z[inside]).abs().max() < 1e-6 and (log_det[inside] + back).abs().max() < 1e-6
    with pytest.raises(ValueError, match="cut the events first"):
        coordinates(x, condition)


def test_mass_and_recoil_are_coordinates(rows):
    """A change of one coordinate of the Z changes its own observable alone."""
    x, condition = rows
    coordinates = ZJetCoordinates.fit(x, condition)
    z, _ = coordinates(x, condition)
    p = z_jet_momenta(x)
    pair = p[:, 0] + p[:, 1]
    for column, same, other in ((2, kinematics.pt, kinematics.mass), (0, kinematics.mass, kinematics.pt)):
        moved = z_jet_momenta(coordinates.inverse(z + 0.1 * torch.eye(14)[column].double(), condition)[0])
        pair_moved = moved[:, 0] + moved[:, 1]
        assert torch.allclose(same(pair_moved), same(pair), rtol=1e-6)
        assert ((other(pair_moved) / other(pair) - 1).abs() > 1e-5).double().mean() > 0.99


def test_the_hole_between_jets_is_closed():
    generator = torch.Generator().manual_seed(1)
    eta = 8 * torch.rand(20_000, generator=generator, dtype=torch.float64) - 4
    phi = 2 * math.pi * torch.rand(20_000, generator=generator, dtype=torch.float64) - math.pi
    far = (eta**2 + phi**2).sqrt() > 0.385
    new_eta, new_phi, log_det = close_hole(eta[far], phi[far])
    back_eta, back_phi, back = open_hole(new_eta, new_phi)
    assert torch.allclose(back_eta, eta[far], atol=1e-9) and torch.allclose(back_phi, phi[far], atol=1e-9)
    assert torch.allclose(log_det, -back, atol=1e-9) and (new_phi.abs() <= math.pi).all()
    assert (new_eta**2 + new_phi**2).sqrt().min() < 0.15  # no hole left


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda x, c: (x.index_fill(1, torch.tensor([2]), -1.0), c), r"row 0: mu\+ has pT = -1"),
        (lambda x, c: (x.index_fill(1, torch.tensor([6]), 5.0), c), r"jet 1 .* eta = 5"),
        (lambda x, c: (x[:, :13], c), "14 features"),
        (lambda x, c: (x, None), "needs a condition"),
        (lambda x, c: (x.index_fill(1, torch.tensor([5]), 20.5), c), "hardest first"),
    ],
)
def test_events_outside_the_cuts_are_named(change, text, rows):
    x, condition = rows
    many = condition[:, 2] > 0
    with pytest.raises(ValueError, match=text):
        ZJetCoordinates("physics")(*change(x[many], condition[many]))


def test_unknown_coordinates_and_numbers_of_jets(events):
    with pytest.raises(ValueError, match="plain, circle, mass, physics"):
        ZJetCoordinates("polar")
    with pytest.raises(ValueError, match="1, 2 or 3 jets"):
        z_jet_features(*(events[k] for k in ("muon_minus", "muon_plus", "jets")), events["n_jets"] + 1)


def test_a_muon_below_its_cut_belongs_to_plain_coordinates_no_more(rows):
    x, condition = rows
    low = x.index_fill(1, torch.tensor([0]), 9.0)
    for name in ("plain", "circle", "mass"):
        with pytest.raises(ValueError, match="row 0: mu- has pT = 9"):
            ZJetCoordinates(name)(low, condition)
    assert not ZJetCoordinates("physics").inside(low, condition).any()


def test_events_beyond_the_cut_continue_the_density(events):
    """The same Z, and as many events in the GeV below the cut as a line through the ten above it says."""
    events = datasets.load_z_jets(n=150_000)
    x, _ = z_jet_features(*(events[k].double() for k in ("muon_minus", "muon_plus", "jets")), events["n_jets"])
    beyond, rows = beyond_muon_cut(x, torch.Generator().manual_seed(1))
    least, least_beyond = x[:, [0, 2]].amin(1), beyond[:, [0, 2]].amin(1)
    assert (least_beyond < 10).all() and (beyond[:, [1, 3]].abs() < 2.5).all()
    pair, pair_beyond = (z_jet_momenta(e)[:, :2].sum(1) for e in (x[rows], beyond))
    assert torch.allclose(kinematics.pt(pair), kinematics.pt(pair_beyond), rtol=1e-6)
    assert torch.allclose(kinematics.mass(pair), kinematics.mass(pair_beyond), rtol=1e-6)
    balance, balance_beyond = (kinematics.pt(z_jet_momenta(e).sum(1)) for e in (x[rows], beyond))
    assert torch.allclose(balance, balance_beyond, atol=1e-6)  # the jets have turned with the Z
    above, _ = np.histogram(least.numpy(), np.arange(10, 21))
    line = np.polyfit(np.arange(10.5, 20.5), above, 1, w=above**-0.5)
    below = int((least_beyond > 9).sum()) / np.polyval(line, 9.5)
    assert 0.9 < below < 1.1  # 0.96 to 1.06 over 12 seeds; a decay without spin gives 0.77 to 0.86


def test_observables_are_those_of_the_momenta(events, rows):
    """Against the kinematics of the sample's own momenta, before any azimuth was turned."""
    x, condition = rows
    found = z_jet_observables(x)
    muons, jets = [events[k].double() for k in ("muon_minus", "muon_plus")], events["jets"].double()
    z = sum(muons)
    assert torch.allclose(found["pt_z"], kinematics.pt(z), atol=2e-3)
    assert torch.allclose(found["balance"], kinematics.pt(z + jets.sum(1)), atol=2e-3)
    assert torch.allclose(found["dr_mumu"], kinematics.delta_r(*muons), atol=1e-4)
    two = condition[:, 0] == 0
    assert found["dr_j1j2"][~two].isnan().all() and not found["dr_j1j2"][two].isnan().any()
    assert torch.allclose(found["dr_j1j2"][two], kinematics.delta_r(jets[two, 0], jets[two, 1]), atol=1e-4)
    assert (found["phi_j1"][condition[:, 0] > 0].abs() > 2).double().mean() > 0.8  # it recoils against the Z


def test_mirror_images_have_the_observables_of_the_event(rows):
    x, condition = rows
    images = mirror_images(x)
    assert len(images) == 4 * len(x) and torch.equal(images[: len(x)], x)
    even = ("m_mumu", "pt_z", "balance", "dr_mumu", "dr_j1j2", "pt_j1", "phi_mumu")
    for part in images.split(len(x)):
        for name in even:
            first, second = z_jet_observables(x)[name], z_jet_observables(part)[name]
            assert torch.allclose(first, second, equal_nan=True), name
    coordinates = ZJetCoordinates.fit(x, condition)
    log_dets = [coordinates(part, condition)[1] for part in images.split(len(x))]
    assert all(torch.allclose(log_dets[0], other, atol=1e-8) for other in log_dets)
