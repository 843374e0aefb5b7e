"""Jets: anti-kT against a brute-force loop, recombination in torch against fastjet, sums of constituents."""

import math

import pytest
import torch

from lhcml_tutor import kinematics
from lhcml_tutor.physics import recombination
from lhcml_tutor.physics.jets import cluster, subjets

NEEDS = 'needs pip install "lhcml-tutor[simulation]"'


def random_particles(n, particles, seed=1, spread=0.35):
    """Return massive particles (n, particles, 4) with a steep spectrum; events of different length, zero-padded."""
    generator = torch.Generator().manual_seed(seed)
    pt = 0.5 / torch.rand(n, particles, generator=generator, dtype=torch.float64).clamp(min=0.005)
    eta, phi = spread * torch.randn(2, n, particles, generator=generator, dtype=torch.float64)
    momenta = kinematics.from_pt_eta_phi_mass(pt, eta, phi + 3.0, 0.14)  # across the seam at phi = pi
    number = torch.randint(particles // 2, particles + 1, (n, 1), generator=generator)
    return momenta * (torch.arange(particles) < number)[..., None]


def brute_force(particles, radius, power):
    """Return pT of all jets and their members, from the definition: all distances anew in each step."""
    objects, jets = [(p, {i}) for i, p in enumerate(particles)], []
    while objects:
        best = (math.inf, 0, 0)
        for i, (p, _) in enumerate(objects):
            pt = math.hypot(p[1], p[2])
            best = min(best, (pt ** (2 * power), i, i))
            for j, (q, _) in enumerate(objects[:i]):
                turn = abs(math.atan2(p[2], p[1]) - math.atan2(q[2], q[1]))
                y = 0.5 * math.log((p[0] + p[3]) * (q[0] - q[3]) / ((p[0] - p[3]) * (q[0] + q[3])))
                square = y**2 + min(turn, 2 * math.pi - turn) ** 2
                smaller = min(pt ** (2 * power), math.hypot(q[1], q[2]) ** (2 * power))
                best = min(best, (smaller * square / radius**2, i, j))
        _, i, j = best
        p, members = objects.pop(i)
        if i == j:
            jets.append((math.hypot(p[1], p[2]), members))
        else:
            q, others = objects[j]
            objects[j] = ([a + b for a, b in zip(p, q)], members | others)
    return sorted(jets, key=lambda jet: -jet[0])


def as_events(momenta):
    ak = pytest.importorskip("awkward", reason=NEEDS)
    pytest.importorskip("fastjet", reason=NEEDS)
    rows = [[dict(zip(("E", "px", "py", "pz"), p)) for p in event if p[0] > 0] for event in momenta.tolist()]
    empty = [{"E": 1.0, "px": 1.0, "py": 0.0, "pz": 0.0}]
    return ak.Array([*rows, empty])[: len(rows)]  # the extra row gives the type where all events are empty


@pytest.mark.parametrize(("algorithm", "power"), [("anti-kt", -1), ("cambridge", 0), ("kt", 1)])
def test_jets_are_those_of_the_definition(algorithm, power):
    momenta = random_particles(20, 24, spread=0.7)
    jets, indices = cluster(as_events(momenta), radius=0.5, pt_min=2.0, algorithm=algorithm)
    wrong = 0
    for event in range(20):
        particles = [p for p in momenta[event].tolist() if p[0] > 0]
        expected = [jet for jet in brute_force(particles, 0.5, power) if jet[0] > 2]
        assert [set(members) for members in indices[event].tolist()] == [members for _, members in expected]
        assert jets.pt[event].tolist() == pytest.approx([pt for pt, _ in expected], rel=1e-10)
        other = [jet for jet in brute_force(particles, 0.5, -power or 1) if jet[0] > 2]
        wrong += [members for _, members in expected] != [members for _, members in other]
    assert wrong >= 5, "the control: another power would give other jets"


def test_constituents_add_up_to_the_jet_and_jets_fall_in_pt():
    momenta = random_particles(50, 60, spread=1.0)
    jets, indices = cluster(as_events(momenta), radius=0.4, pt_min=5.0)
    for event in range(50):
        assert (jets.pt[event].to_numpy()[:-1] >= jets.pt[event].to_numpy()[1:]).all()
        assert len({i for members in indices[event].tolist() for i in members}) == sum(
            len(members) for members in indices[event].tolist()
        ), "a particle in two jets"
        for number, members in enumerate(indices[event].tolist()):
            total = momenta[event][members].sum(0).tolist()
            jet = [float(jets[event][number][name]) for name in ("E", "px", "py", "pz")]
            assert jet == pytest.approx(total, rel=1e-10, abs=1e-10)


def test_an_event_without_particles_has_no_jets():
    jets, indices = cluster(as_events(torch.cat([torch.zeros(1, 8, 4).double(), random_particles(1, 8)])), pt_min=0.1)
    assert len(jets[0]) == len(indices[0]) == 0 < len(jets[1])


def test_bad_input_to_cluster_is_named():
    events = as_events(random_particles(2, 5))
    for arguments, message in (
        ({"algorithm": "siscone"}, "anti-kt, cambridge, kt"),
        ({"radius": 0}, "must be positive"),
    ):
        with pytest.raises(ValueError, match=message):
            cluster(events, **arguments)
    broken = random_particles(2, 5)
    broken[0, 0, 1] = math.nan
    with pytest.raises(ValueError, match="NaN or infinity"):
        cluster(as_events(broken))


@pytest.mark.parametrize("winner_takes_all", [False, True])
@pytest.mark.parametrize("algorithm", ["kt", "cambridge"])
def test_subjets_are_those_of_fastjet(algorithm, winner_takes_all, monkeypatch):
    fastjet = pytest.importorskip("fastjet", reason=NEEDS)
    monkeypatch.setattr(recombination, "PAIRS", 7 * 30**2)  # many portions
    momenta = random_particles(60, 30)
    scheme = fastjet.WTA_pt_scheme if winner_takes_all else fastjet.E_scheme
    definition = fastjet.JetDefinition(getattr(fastjet, f"{algorithm}_algorithm"), 100.0, scheme)  # no beam
    for n_subjets in (1, 3):
        found = subjets(momenta, n_subjets, algorithm, winner_takes_all)
        coordinates = torch.stack([kinematics.pt(found), kinematics.rapidity(found), kinematics.phi(found)], dim=-1)
        for event in range(60):
            particles = [fastjet.PseudoJet(*p[1:], p[0]) for p in momenta[event].tolist() if p[0] > 0]
            sequence = fastjet.ClusterSequence(particles, definition)
            expected = sorted(sequence.exclusive_jets(n_subjets), key=lambda jet: -jet.pt())
            expected = torch.tensor([[j.pt(), j.rap(), j.phi_std()] for j in expected], dtype=torch.float64)
            assert torch.allclose(coordinates[event], expected, rtol=1e-7, atol=1e-7)


def test_subjets_add_up_to_the_jet_and_do_not_depend_on_order_or_padding():
    momenta = random_particles(40, 30)
    found = subjets(momenta, 3)
    assert torch.allclose(found.sum(1), momenta.sum(1), rtol=1e-10)
    shuffled = torch.nn.functional.pad(momenta, (0, 0, 5, 3))[:, torch.randperm(38)]
    assert torch.allclose(subjets(shuffled, 3), found, rtol=1e-9, atol=1e-9)


def test_fewer_constituents_than_subjets_and_no_jets():
    pair = random_particles(1, 2, seed=3)[:, :1].repeat(1, 2, 1) * torch.tensor([1.0, 2.0])[:, None]
    found = subjets(pair, 4)
    assert torch.allclose(found[0, :2], pair[0].flip(0)) and not found[0, 2:].any()
    assert subjets(torch.zeros(3, 5, 4), 2).abs().sum() == 0
    assert subjets(torch.zeros(0, 5, 4), 2).shape == (0, 2, 4)
    assert subjets(pair.float(), 2).dtype == torch.float32


def test_back_to_back_particles_can_be_merged():
    pair = torch.tensor([[[5.0, 3, 4, 0], [5, -3, -4, 0]]])
    assert subjets(pair, 1).tolist() == [[[10, 0, 0, 0]]]


def test_winner_takes_the_direction_and_all_pt():
    hard, soft = torch.tensor([[[5.0, 3, 4, 0], [4, 4, 0, 0]]]).unbind(1)
    axis = subjets(torch.stack([soft, hard], dim=1), 1, winner_takes_all=True)[:, 0]
    assert torch.allclose(axis, hard * 9 / 5)


@pytest.mark.parametrize(
    ("momenta", "arguments", "message"),
    [
        (torch.full((1, 2, 4), math.nan), (2,), "NaN or infinity"),
        (torch.ones(2, 4), (2,), r"\(n, particles, 4\)"),
        (torch.ones(1, 2, 4, dtype=torch.long), (2,), "floating point"),
        (torch.tensor([[[0.0, 1, 1, 1]]]), (1,), "no positive energy"),
        (torch.ones(1, 2, 4), (0,), "at least 1"),
        (torch.ones(1, 2, 4), (1, "anti-kt"), "kt, cambridge"),
    ],
)
def test_bad_input_to_subjets_is_named(momenta, arguments, message):
    with pytest.raises(ValueError, match=message):
        subjets(momenta, *arguments)
