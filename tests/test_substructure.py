"""Substructure of jets against closed formulas, sums by hand, fastjet's clustering and symmetries."""

import collections
import itertools
import math

import pytest
import torch

from lhcml_tutor import kinematics
from lhcml_tutor.physics import recombination, substructure
from lhcml_tutor.physics.grooming import soft_drop
from lhcml_tutor.physics.jet_contents import (
    charged_fraction,
    entropy,
    identity_entropy,
    jet_charge,
    multiplicity,
    pt_dispersion,
)
from lhcml_tutor.physics.substructure import (
    correlator_ratios,
    energy_correlators,
    girth,
    jet_mass,
    n_subjettiness,
    observables,
    subjettiness_ratio,
)


def jet(pt, y, phi=0.0, padding=2):
    """Return one jet (1, particles, 4) of massless constituents, zero-padded in front and behind."""
    pt, y = torch.tensor(pt, dtype=torch.float64), torch.tensor(y, dtype=torch.float64)
    momenta = kinematics.from_pt_eta_phi_mass(pt, y, torch.as_tensor(phi, dtype=torch.float64), 0.0)
    return torch.nn.functional.pad(momenta, (0, 0, 1, padding))[None]


def random_jets(n=300, particles=40, seed=1, softest=0.01):
    generator = torch.Generator().manual_seed(seed)
    pt = 0.5 / torch.rand(n, particles, generator=generator, dtype=torch.float64).clamp(min=softest)
    y, phi = 0.25 * torch.randn(2, n, particles, generator=generator, dtype=torch.float64)
    number = torch.randint(1, particles + 1, (n, 1), generator=generator)
    return kinematics.from_pt_eta_phi_mass(pt, y, phi, 0.14) * (torch.arange(particles) < number)[..., None]


@pytest.mark.parametrize("axes", ["winner", "kt"])
@pytest.mark.parametrize("prongs", [1, 2, 3, 4])
def test_tau_vanishes_for_as_many_prongs_as_axes_and_not_before(prongs, axes):
    tau = n_subjettiness(jet([50.0, 40, 30, 20][:prongs], [0.0, 0.4, -0.3, 0.2][:prongs], 0.2), axes=axes)[0]
    assert (tau[prongs - 1 :].abs() < 1e-7).all() and (tau[: prongs - 1] > 0.02).all()


@pytest.mark.parametrize("beta", [1.0, 2.0])
def test_tau_of_two_collinear_prongs_in_closed_form(beta):
    """Each prong is a pair at distance d with fraction z of its pT; the prongs lie D apart and share pT as w, 1 - w."""
    d, D, z, w, R = 0.02, 0.5, 0.3, 0.4, 0.8
    pt = [w * (1 - z), w * z, (1 - w) * (1 - z), (1 - w) * z]
    pair = jet([100 * share for share in pt], [0.0, d, D, D + d])
    tau = n_subjettiness(pair, 2, beta, R)[0]
    one = (w * (1 - z) * D**beta + w * z * (D - d) ** beta + (1 - w) * z * d**beta) / R**beta  # from the hardest
    two = z * (d / R) ** beta
    assert tau.tolist() == pytest.approx([one, two], rel=1e-9)
    assert subjettiness_ratio(tau[None], 2).item() == pytest.approx(two / one, rel=1e-9)


def test_axes_that_add_momenta_lie_between_the_prongs():
    """Two prongs at d, z and 1 - z: the sum lies z d from the harder one for small d, so tau_1 = 2 z (1 - z) d / R."""
    z, d = 0.3, 1e-3
    tau = n_subjettiness(jet([70.0, 30.0], [0.0, d]), 1, radius=1.0, axes="kt")
    assert tau.item() == pytest.approx(2 * z * (1 - z) * d, rel=1e-3)
    winner = n_subjettiness(jet([70.0, 30.0], [0.0, d]), 1, radius=1.0)
    assert winner.item() == pytest.approx(z * d, rel=1e-6)


@pytest.mark.parametrize("beta", [0.5, 1.0, 2.0])
def test_correlators_against_sums_over_pairs_and_triplets(beta):
    pair = jet([60.0, 40.0], [0.1, 0.4], [0.0, 0.4])
    e_2, e_3 = energy_correlators(pair, beta)
    assert e_2.item() == pytest.approx(0.6 * 0.4 * 0.5**beta, rel=1e-9) and e_3.item() == 0
    jets = random_jets(5, 8)
    for event, e_2, e_3 in zip(jets, *energy_correlators(jets, beta)):
        p = event[event[:, 0] > 0]
        z = kinematics.pt(p) / kinematics.pt(p).sum()
        y, phi = kinematics.rapidity(p), kinematics.phi(p)
        R = {
            (i, j): math.hypot(y[i] - y[j], phi[i] - phi[j]) ** beta
            for i, j in itertools.combinations(range(len(p)), 2)
        }
        two = sum(z[i] * z[j] * R[i, j] for i, j in R)
        triplets = itertools.combinations(range(len(p)), 3)
        three = sum(z[i] * z[j] * z[k] * R[i, j] * R[i, k] * R[j, k] for i, j, k in triplets)
        assert [e_2.item(), e_3.item()] == pytest.approx([float(two), float(three)], rel=1e-9, abs=1e-15)


def test_correlator_ratios_of_three_equal_prongs_in_a_triangle():
    """z = 1/3 and all sides a: e_2 = 3 a / 9, e_3 = a^3 / 27, so C_2 = a / 3 and D_2 = 1."""
    a = 0.3
    triangle = jet([10.0, 10, 10], [0.0, a, a / 2], [0.0, 0.0, a * math.sqrt(3) / 2])
    c_2, d_2 = correlator_ratios(*energy_correlators(triangle))
    assert [c_2.item(), d_2.item()] == pytest.approx([a / 3, 1.0], rel=1e-9)


@pytest.mark.parametrize("k", [1, 2, 7])
def test_k_equal_particles(k):
    jets = jet([5.0] * k, torch.linspace(-0.3, 0.3, k).tolist())
    assert pt_dispersion(jets).item() == pytest.approx(k**-0.5)
    assert entropy(jets).item() == pytest.approx(math.log(k), abs=1e-12)
    assert multiplicity(jets).item() == k
    charge = torch.zeros(jets.shape[:2])
    charge[0, 1 : k + 1] = 1
    assert jet_charge(jets, charge, kappa=0.3).item() == pytest.approx(k * k**-0.3)
    assert jet_charge(jets, -charge).item() == pytest.approx(-(k**0.5))


def test_contents_of_jets_by_counting():
    """Fractions and entropies against collections.Counter and plain loops."""
    jets = random_jets(50, 12)
    generator = torch.Generator().manual_seed(3)
    kinds = torch.tensor([211, -211, 22, 130, 321])
    pdg_id = kinds[torch.randint(5, (50, 12), generator=generator)] * (jets[..., 0] > 0)
    charge = (pdg_id.abs() == 211) * pdg_id.sign() + (pdg_id.abs() == 321) * pdg_id.sign()
    fraction, mixed = charged_fraction(jets, charge), identity_entropy(jets, pdg_id)
    assert observables(jets, charge)["charged_fraction"].equal(fraction)
    for i in range(50):
        there = [k for k in range(12) if jets[i, k, 0] > 0]
        pt = {k: math.hypot(jets[i, k, 1], jets[i, k, 2]) for k in there}
        assert fraction[i].item() == pytest.approx(sum(pt[k] for k in there if charge[i, k]) / sum(pt.values()))
        counted = collections.Counter(pdg_id[i, k].item() for k in there)
        parts = [number / len(there) for number in counted.values()]
        assert mixed[i].item() == pytest.approx(-sum(f * math.log(f) for f in parts))
    assert identity_entropy(jets[:1] * 0, pdg_id[:1] * 0).item() == 0


def test_girth_and_mass_of_two_prongs():
    pair = jet([50.0, 50.0], [1.0, 1.6])
    assert girth(pair).item() == pytest.approx(0.3) and girth(pair, 2.0).item() == pytest.approx(0.09)
    assert jet_mass(pair).item() == pytest.approx(math.sqrt(2 * 50 * 50 * (math.cosh(0.6) - 1)))
    across = jet([50.0, 50.0], [0.0, 0.0], [math.pi - 0.1, -math.pi + 0.1])
    assert girth(across).item() == pytest.approx(0.1), "the seam at phi = pi"


def test_soft_drop_on_a_jet_made_by_hand():
    """Two prongs, and a soft particle further out: the first splitting has z = 5 / 105 and fails, the second passes."""
    jets = jet([60.0, 40.0, 5.0], [0.0, 0.2, -0.6])
    momentum, z, distance = soft_drop(jets)
    assert kinematics.mass(momentum).item() == pytest.approx(math.sqrt(2 * 60 * 40 * (math.cosh(0.2) - 1)))
    assert [z.item(), distance.item()] == pytest.approx([0.4, 0.2])
    kept, z, distance = soft_drop(jets, z_cut=0.04)
    assert torch.allclose(kept, jets.sum(1)) and z.item() == pytest.approx(5 / 105, rel=1e-2) and distance > 0.6
    single, z, _ = soft_drop(jets, z_cut=0.45)
    assert torch.allclose(single[0], jets[0, 1]) and z.item() == 0, "no splitting passes: the hardest constituent"
    wide = soft_drop(jets, z_cut=0.1, beta=2.0, radius=2.0)[0]  # 0.1 (0.68 / 2)^2 = 0.012: everything passes
    assert torch.allclose(wide, jets.sum(1))


@pytest.mark.parametrize(("softest", "z_cut", "beta"), [(0.01, 0.15, 1.0), (0.7, 0.47, 0.0)])
def test_soft_drop_against_the_history_of_fastjet(softest, z_cut, beta, monkeypatch):
    """Where all constituents are about as hard, the hardest one is mostly dropped, and many splittings fail."""
    fastjet = pytest.importorskip("fastjet", reason='needs pip install "lhcml-tutor[simulation]"')
    monkeypatch.setattr(recombination, "PAIRS", 11 * 40**2)
    jets = random_jets(120, softest=softest)
    momentum, z, distance = soft_drop(jets, z_cut, beta)
    for event in range(120):
        particles = [fastjet.PseudoJet(*p[1:], p[0]) for p in jets[event].tolist() if p[0] > 0]
        definition = fastjet.JetDefinition(fastjet.cambridge_algorithm, 100.0)
        sequence = fastjet.ClusterSequence(particles, definition)  # owns the history: it must outlive the jets
        now, expected = sequence.exclusive_jets(1)[0], None
        while now.has_parents(a := fastjet.PseudoJet(), b := fastjet.PseudoJet()):
            share, apart = min(a.pt(), b.pt()) / (a.pt() + b.pt()), a.delta_R(b)
            if share > z_cut * (apart / 0.8) ** beta:
                expected = [now.e(), now.px(), now.py(), now.pz(), share, apart]
                break
            now = a if a.pt() > b.pt() else b
        if expected is None:
            assert z[event] == 0 and distance[event] == 0
        else:
            found = [*momentum[event].tolist(), z[event].item(), distance[event].item()]
            assert found == pytest.approx(expected, rel=1e-7, abs=1e-7)


def test_rotation_in_phi_boost_along_the_beam_and_scale():
    jets, charge = random_jets(100), torch.randint(-1, 2, (100, 40))
    plain = observables(jets, charge)
    z_axis = torch.tensor([0.0, 0, 1], dtype=torch.float64)
    turned = observables(kinematics.transform(kinematics.rotation_matrix(z_axis, 2.9), jets), charge)
    boosted = observables(kinematics.boost(jets, 0.8 * z_axis), charge)
    scaled = observables(3 * jets, charge)
    for name, values in plain.items():
        unit = 3 if "mass" in name else 1
        for other in (turned[name], boosted[name], scaled[name] / unit):
            assert torch.allclose(other, values, rtol=1e-6, atol=1e-7), name
    across = observables(kinematics.boost(jets, torch.tensor([0.5, 0, 0]).double()), charge)
    assert not torch.allclose(across["e_2"], plain["e_2"], rtol=1e-2), "the control: a boost that must change angles"


def test_order_padding_portions_and_type_do_not_matter(monkeypatch):
    jets, charge = random_jets(60), torch.randint(-1, 2, (60, 40))
    plain = observables(jets, charge)
    order = torch.randperm(45, generator=torch.Generator().manual_seed(2))
    shuffled = torch.nn.functional.pad(jets, (0, 0, 0, 5))[:, order]
    monkeypatch.setattr(recombination, "PAIRS", 3 * 40**2)
    other = observables(shuffled, torch.nn.functional.pad(charge, (0, 5))[:, order])
    single = observables(jets.float(), charge)
    for name, values in plain.items():
        assert torch.allclose(other[name], values, rtol=1e-8, atol=1e-9), name
        assert single[name].dtype == torch.float32 and values.dtype == torch.float64
        assert torch.allclose(single[name].double(), values, rtol=1e-2, atol=2e-2), name


def test_jets_with_no_or_one_constituent_have_finite_numbers():
    jets = torch.cat([torch.zeros(1, 4, 4).double(), jet([50.0], [0.7], padding=2)])
    table = observables(jets, torch.ones(2, 4))
    assert all(values.isfinite().all() for values in table.values())
    assert all(values[0] == 0 for values in table.values())
    assert [table[name][1].item() for name in ("multiplicity", "pt_dispersion", "charge")] == pytest.approx([1, 1, 1])
    for name in ("tau_1", "tau_21", "tau_32", "e_2", "C_2", "D_2", "entropy"):
        assert table[name][1].item() == pytest.approx(0, abs=1e-9), name
    assert len(observables(torch.zeros(0, 4, 4))["mass"]) == 0


def test_bad_input_is_named():
    jets = random_jets(2, 4)
    broken = jets.clone()
    broken[0, 0, 2] = math.nan
    one_argument = (
        "jet_mass",
        "multiplicity",
        "n_subjettiness",
        "energy_correlators",
        "girth",
        "pt_dispersion",
        "entropy",
    )
    for name in (*one_argument, "soft_drop", "observables"):
        with pytest.raises(ValueError, match="NaN or infinity"):
            getattr(substructure, name)(broken)
        with pytest.raises(ValueError, match=r"\(n, particles, 4\)"):
            getattr(substructure, name)(jets[0])
    for call, message in (
        (lambda: jet_charge(jets, torch.ones(2, 3)), "one charge for each"),
        (lambda: jet_charge(jets, torch.ones(2, 4), kappa=0.0), "kappa must be positive"),
        (lambda: charged_fraction(jets, torch.ones(2, 3)), "one charge for each"),
        (lambda: identity_entropy(jets, torch.ones(3, 4)), "one pdg_id for each"),
        (lambda: n_subjettiness(jets, axes="one-pass"), "kt, winner"),
        (lambda: n_subjettiness(jets, 0), "at least 1"),
        (lambda: subjettiness_ratio(torch.ones(1, 3), 4), "2 to 3"),
        (lambda: energy_correlators(jets, 0.0), "positive"),
        (lambda: soft_drop(jets, z_cut=0.7), "0 to 0.5"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
