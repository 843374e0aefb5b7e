"""The detector against its own table: efficiencies, widths, conserved energy, who becomes what."""

import math

import pytest
import torch

from lhcml_tutor import kinematics
from lhcml_tutor.physics.detector import (
    ATLAS,
    CHARGES,
    KINDS,
    detect,
    energy_resolution,
    tower_of,
    towers,
    track_resolution,
    tracking_efficiency,
)

PERFECT = {
    **ATLAS,
    "efficiency": dict.fromkeys(ATLAS["efficiency"], ((1.0,) * 3,) * 2),
    "track_resolution": dict.fromkeys(ATLAS["track_resolution"], ((0.0, 0.0),) * 3),
    **{
        name: {**ATLAS[name], "resolution": ((4.9, 0.0, 0.0, 0.0),), "energy_min": 1e-6, "significance": 0.0}
        for name in ("electromagnetic", "hadronic")
    },
}


def seeded(seed=1):
    return torch.Generator().manual_seed(seed)


def particles(n, pt, eta, number, mass=0.0, seed=5):
    """Return n events of one particle (n, 1, 4) at random azimuths, and its numbers."""
    phi = 2 * math.pi * torch.rand(n, 1, generator=seeded(seed), dtype=torch.float64)
    pt, eta = torch.full((n, 1), pt, dtype=torch.float64), torch.full((n, 1), eta, dtype=torch.float64)
    return kinematics.from_pt_eta_phi_mass(pt, eta, phi, mass), torch.full((n, 1), number)


def random_events(n=50, size=60, seed=3, eta_max=4.5):
    generator = seeded(seed)
    pt = 0.3 / torch.rand(n, size, generator=generator, dtype=torch.float64).clamp(min=0.003)
    eta = eta_max * (2 * torch.rand(n, size, generator=generator, dtype=torch.float64) - 1)
    phi = 2 * math.pi * torch.rand(n, size, generator=generator, dtype=torch.float64)
    kinds = torch.tensor([211, -211, 22, 22, 130, 321, -2212, 2112, 310, 11, -13, 14])
    number = kinds[torch.randint(len(kinds), (n, size), generator=generator)]
    number[:, size // 2 :] *= torch.rand(n, size - size // 2, generator=generator) < 0.5  # padding in between
    momenta = kinematics.from_pt_eta_phi_mass(pt, eta, phi, 0.14) * (number != 0)[..., None]
    return momenta, number


def within(measured, expected, error, sigmas=5):
    return abs(measured - expected) < sigmas * error


@pytest.mark.parametrize(
    ("number", "pt", "eta", "expected"),
    [  # of the ATLAS card
        (211, 0.05, 0.0, 0.0), (211, 0.5, 1.0, 0.70), (-321, 50.0, 1.0, 0.95), (2212, 0.5, -2.0, 0.60),
        (211, 5.0, 2.0, 0.85), (211, 5.0, 2.6, 0.0), (11, 0.5, 0.0, 0.73), (-11, 50.0, 2.2, 0.83),
        (11, 200.0, 0.3, 0.99), (13, 0.5, 0.0, 0.75), (-13, 50.0, -2.4, 0.98), (13, 50.0, 3.0, 0.0),
    ],
)  # fmt: skip
def test_tracks_are_found_as_often_as_asked(number, pt, eta, expected):
    n = 20_000
    seen = detect(*particles(n, pt, eta, number), seeded())
    kind = {11: "electron", 13: "muon"}.get(abs(number), "charged hadron")
    found = (seen["kind"] == KINDS.index(kind)).any(1).double().mean().item() if seen["kind"].numel() else 0.0
    assert within(found, expected, math.sqrt(expected * (1 - expected) / n)) or found == expected == 0
    nearby = expected - 0.02
    assert expected == 0 or not within(found, nearby, math.sqrt(nearby * (1 - nearby) / n)), "the control"
    stated = tracking_efficiency(kind, torch.tensor([pt]), torch.tensor([eta])).item()
    assert stated == pytest.approx(expected)


@pytest.mark.parametrize(
    ("number", "pt", "eta", "sigma"),
    [  # sqrt(a^2 + (b pT)^2) of the ATLAS card
        (211, 20.0, 0.2, math.hypot(0.06, 0.026)), (211, 200.0, 1.0, math.hypot(0.10, 0.34)),
        (-211, 200.0, -2.0, math.hypot(0.25, 0.62)), (11, 50.0, 0.0, math.hypot(0.03, 0.065)),
        (13, 100.0, 0.0, math.hypot(0.01, 0.01)), (13, 500.0, 2.2, math.hypot(0.025, 0.175)),
    ],
)  # fmt: skip
def test_tracks_are_smeared_as_asked(number, pt, eta, sigma):
    n, mass = 20_000, 0.13957
    momenta, numbers = particles(n, pt, eta, number, mass)
    seen = detect(momenta, numbers, seeded())
    tracks = seen["charge"] != 0
    measured, count = kinematics.pt(seen["momenta"][tracks]), int(tracks.sum())
    assert within(measured.std().item(), sigma, sigma / math.sqrt(2 * count))
    assert within(measured.mean().item(), pt, sigma / math.sqrt(count))
    assert not within(measured.std().item(), 1.05 * sigma, sigma / math.sqrt(2 * count)), "the control"
    assert kinematics.mass(seen["momenta"][tracks]).sub(mass).abs().max() < 1e-3
    assert kinematics.eta(seen["momenta"][tracks]).sub(eta).abs().max() < 1e-9
    charge = {211: 1, 11: -1, 13: -1}[abs(number)] * (1 if number > 0 else -1)
    assert (seen["charge"][tracks] == charge).all()
    stated = track_resolution(KINDS[int(seen["kind"][tracks][0])], torch.tensor([pt]).double(), torch.tensor([eta]))
    assert stated.item() == pytest.approx(sigma, rel=1e-6)


@pytest.mark.parametrize("energy", [10.0, 50.0, 400.0])
@pytest.mark.parametrize(
    ("number", "eta", "resolution"),
    [
        (22, 0.5, (0.101, 0.0017, 0.0)), (22, 4.0, (0.285, 0.0350, 0.0)), (130, 1.0, (0.5205, 0.0302, 1.59)),
        (2112, -2.0, (0.706, 0.0500, 0.0)), (130, 4.0, (1.0, 0.0942, 0.0)),
    ],
)  # fmt: skip
def test_calorimeters_resolve_as_asked(number, eta, resolution, energy):
    """a / sqrt(E) (+) b (+) c / E; towers below the threshold are lost, so none may be near it."""
    a, b, c = resolution
    n, sigma = 20_000, math.sqrt(a**2 * energy + (b * energy) ** 2 + c**2)
    name, kind = ("electromagnetic", "photon") if number == 22 else ("hadronic", "neutral hadron")
    stated = energy_resolution(torch.tensor([energy]).double(), torch.tensor([eta]), ATLAS[name])
    assert stated.item() == pytest.approx(sigma, rel=1e-6)
    momenta, numbers = particles(n, energy / math.cosh(eta), eta, number)
    event = torch.arange(n)
    free = {**ATLAS[name], "energy_min": 0.0, "significance": 0.0}
    hit = towers(event, momenta[:, 0], momenta[:, 0, 0], seeded(), free)
    measured = hit["energy"]
    assert len(measured) == n and torch.equal(hit["event"], event)
    spread = 2 * sigma / math.sqrt(n)  # of the standard deviation; log-normal numbers have tails
    assert within(measured.std().item(), sigma, spread, 4)
    assert within(measured.mean().item(), energy, sigma / math.sqrt(n))
    assert not within(measured.std().item(), 1.15 * sigma, spread, 4), "the control"
    seen = detect(momenta, numbers, seeded())
    assert set(seen["kind"].unique().tolist()) <= {0, KINDS.index(kind)} and not seen["charge"].any()


def test_towers_are_where_the_particles_are():
    for name in ("electromagnetic", "hadronic"):
        momenta, _ = random_events(1, 2000)
        momenta = momenta[0][momenta[0, :, 0] > 0]
        free = {**ATLAS[name], "resolution": ((4.9, 0.0, 0.0, 0.0),), "energy_min": 0.0, "significance": 0.0}
        hit = towers(torch.arange(len(momenta)), momenta, momenta[:, 0], seeded(), free)  # an event for each
        turn = kinematics.delta_phi(hit["phi"], kinematics.phi(momenta)).abs()
        central = kinematics.eta(momenta).abs() < ATLAS[name]["towers"][0][0]
        (_, size, around), (_, wide, few) = ATLAS[name]["towers"]
        apart = (hit["eta"] - kinematics.eta(momenta)).abs()
        assert (apart[central] < 1.01 * size).all() and (turn[central] < 2 * math.pi / around).all()
        assert (apart < 1.1 * wide).all() and (turn < 2 * math.pi / few).all()
        assert apart[central].max() > 0.8 * size, "the control: places are spread over the tower"


def test_the_grid_has_the_towers_of_the_card():
    eta = torch.linspace(-4.8999, 4.8999, 4001, dtype=torch.float64)
    phi = torch.linspace(-math.pi, math.pi, 721, dtype=torch.float64)[:-1]
    momenta = kinematics.from_pt_eta_phi_mass(torch.tensor(1.0), eta[:, None], phi + 1e-4, 0.0).double()
    number = tower_of(momenta.reshape(-1, 4), ATLAS["hadronic"]["towers"]).unique()
    assert len(number) == 50 * 36 + 2 * 12 * 18 and number[0] == 0 and number[-1] == len(number) - 1


def test_energy_is_conserved_without_smearing_and_thresholds():
    """All candidates together have the energy that came in, but for neutrinos and muons outside the tracker."""
    momenta, number = random_events()
    seen = detect(momenta, number, seeded(), PERFECT)
    invisible = (number.abs() == 14) | ((number.abs() == 13) & (kinematics.eta(momenta).abs() > 2.5))
    visible = momenta[..., 0] * ~invisible
    assert torch.allclose(seen["momenta"][..., 0].sum(1), visible.sum(1), rtol=1e-5)
    lost = detect(momenta, number, seeded())
    assert not torch.allclose(lost["momenta"][..., 0].sum(1), visible.sum(1), rtol=1e-3), "the control"


def test_every_kind_of_candidate_has_the_energy_of_its_particles():
    momenta, number = random_events(eta_max=2.4)
    seen = detect(momenta, number, seeded(), PERFECT)
    for kind, numbers in (("muon", (13,)), ("electron", (11,)), ("charged hadron", (211, 321, 2212))):
        same = torch.isin(number.abs(), torch.tensor(numbers))
        found = seen["momenta"] * (seen["kind"] == KINDS.index(kind))[..., None]
        assert torch.allclose(found.sum(1), (momenta * same[..., None]).sum(1), rtol=1e-9, atol=1e-9), kind
    photons = (number == 22) + 0.3 * (number == 310)
    found = (seen["momenta"][..., 0] * (seen["kind"] == KINDS.index("photon"))).sum(1)
    assert torch.allclose(found, (momenta[..., 0] * photons).sum(1), rtol=1e-6)


def test_energy_flow_subtracts_tracks_from_the_tower_they_point_to():
    """A charged and a neutral hadron in one tower: the track is taken away; without track all is neutral."""
    pion = torch.tensor([[[20.0, 20.0, 0.01, 0.01], [30.0, 30.0, 0.02, 0.02]]]).double()
    pion[..., 0] = pion[..., 1:].norm(dim=-1)
    numbers = torch.tensor([[211, 130]])
    seen = detect(pion, numbers, seeded(), PERFECT)
    assert [KINDS[kind] for kind in seen["kind"][0]] == ["neutral hadron", "charged hadron"]
    assert seen["momenta"][0, :, 0].tolist() == pytest.approx([30.0, 20.0], rel=1e-5)
    blind = {**PERFECT, "efficiency": dict.fromkeys(ATLAS["efficiency"], ((0.0,) * 3,) * 2)}
    seen = detect(pion, numbers, seeded(), blind)
    assert [KINDS[kind] for kind in seen["kind"][0]] == ["neutral hadron"]
    assert seen["momenta"][0, 0, 0].item() == pytest.approx(50.0, rel=1e-5)
    electron = detect(pion, torch.tensor([[11, 22]]), seeded(), blind)
    assert [KINDS[kind] for kind in electron["kind"][0]] == ["photon"] * len(electron["kind"][0])


@pytest.mark.parametrize(("energy", "photons"), [(0.4, 0), (0.6, 1)])
def test_what_tracks_leave_in_a_tower_must_pass_the_threshold_too(energy, photons):
    direction = torch.tensor([math.sqrt(1.0002), 1.0, 0.01, 0.01], dtype=torch.float64)
    pair = torch.stack([20 * direction, energy * direction])[None]  # an electron, and a photon in its tower
    table = {**PERFECT, "electromagnetic": {**PERFECT["electromagnetic"], "energy_min": 0.5}}
    seen = detect(pair, torch.tensor([[11, 22]]), seeded(), table)
    assert int((seen["kind"] == KINDS.index("photon")).sum()) == photons


def test_thresholds_take_soft_towers_away():
    for pt, kept in ((0.2, 0), (5.0, 200)):
        seen = detect(*particles(200, pt, 0.0, 22), seeded())
        assert int((seen["kind"] == KINDS.index("photon")).sum()) == kept
    momenta = particles(2000, 2.0, 0.0, 130)[0][:, 0]
    hit = towers(torch.arange(2000), momenta, momenta[:, 0], seeded(), ATLAS["hadronic"])
    assert (hit["energy"] > 2 * hit["sigma"]).all() and len(hit["energy"]) < 600
    seen = detect(*particles(2000, 2.0, 0.0, 130), seeded())  # 2 GeV with a noise of 1.59 GeV is rarely significant
    assert (seen["kind"] != 0).double().mean() < 0.3


def test_the_same_generator_gives_the_same_and_another_does_not():
    momenta, number = random_events()
    first, again, other = (detect(momenta, number, seeded(seed)) for seed in (1, 1, 2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert first["momenta"].shape != other["momenta"].shape or not torch.equal(first["momenta"], other["momenta"])


def test_candidates_fall_in_pt_and_padding_comes_last():
    momenta, number = random_events()
    seen = detect(momenta.float(), number, seeded())
    pt = kinematics.pt(seen["momenta"])
    assert (pt[:, 1:] <= pt[:, :-1]).all() and ((pt > 0) == (seen["kind"] > 0)).all()
    assert (seen["kind"] > 0).sum(1).max() == seen["kind"].shape[1] and seen["momenta"].dtype == torch.float32
    charged = seen["charge"] != 0
    assert (charged == ((seen["kind"] > 0) & (seen["kind"] <= 3))).all()


def test_empty_events_and_no_events():
    for n in (0, 3):
        seen = detect(torch.zeros(n, 5, 4), torch.zeros(n, 5, dtype=torch.long), seeded())
        assert seen["momenta"].shape == (n, 0, 4) and seen["kind"].shape == (n, 0)
    one, number = random_events(1)
    both = detect(torch.cat([torch.zeros_like(one), one]), torch.cat([0 * number, number]), seeded())
    assert not both["kind"][0].any() and both["kind"][1].all()


def test_bad_input_is_named():
    momenta, number = random_events(2, 4)
    broken = momenta.clone()
    broken[0, 0, 0] = math.nan
    for arguments, message in (
        ((broken, number), "NaN or infinity"),
        ((momenta, number.double()), "pdg_id integers"),
        ((momenta, number[:, 1:]), r"\(n, particles\)"),
        ((momenta, torch.full_like(number, 21)), r"particles \[21\] do not reach"),
        ((0 * momenta, torch.full_like(number, 22)), "no energy"),
    ):
        with pytest.raises(ValueError, match=message):
            detect(*arguments, seeded())
    with pytest.raises(ValueError, match="charged hadron, electron, muon"):
        tracking_efficiency("photon", torch.ones(1), torch.ones(1))


def test_charges_are_those_of_the_particle_data_group():
    pythia = pytest.importorskip("pythia8mc", reason='needs pip install "lhcml-tutor[simulation]"').Pythia("", False)
    assert {number: pythia.particleData.charge(number) for number in CHARGES} == CHARGES
