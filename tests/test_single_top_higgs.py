"""b q -> t H q' against Dirac matrices, unitarity, CP, derivatives and the width of the top."""

import math

import numpy as np
import pytest
import torch

from lhcml_tutor import kinematics
from lhcml_tutor.physics.constants import HIGGS_MASS, TOP_MASS, TOP_WIDTH, W_MASS, W_WIDTH
from lhcml_tutor.physics.phase_space import Decay, chain, rambo, two_body
from lhcml_tutor.physics.single_top_higgs import VACUUM, bq_to_thq

PAULI = [np.array([[0, 1], [1, 0]]), np.array([[0, -1j], [1j, 0]]), np.diag([1, -1])]
GAMMA = np.array([np.kron([[0, 1], [1, 0]], np.eye(2))] + [np.kron([[0, 1], [-1, 0]], sigma) for sigma in PAULI])
GAMMA_5 = np.diag([-1, -1, 1, 1]).astype(complex)
METRIC = np.diag([1.0, -1, -1, -1])
W = Decay(0.0, 0.0, mass=W_MASS, width=W_WIDTH)


def points(n=100, energy=800.0, seed=1):
    final, _ = rambo(3, [TOP_MASS, HIGGS_MASS, 0.0], energy, n, torch.Generator().manual_seed(seed))
    beams = torch.tensor([[energy / 2, 0, 0, energy / 2], [energy / 2, 0, 0, -energy / 2]], dtype=torch.float64)
    return torch.cat([beams.expand(n, 2, 4), final], 1)


def decayed(momenta, seed=2):
    """Return events with the top decayed, and the weights of the decay's phase space."""
    products, weights = chain(momenta[:, 2], Decay(0.0, W), torch.Generator().manual_seed(seed))
    return torch.cat([momenta[:, :2], products, momenta[:, 3:]], 1), weights


def off(value, truth):
    return (value / truth - 1).abs().max().item()


def dirac(event, angle, antiquark=False):
    """Return sum |M|^2 of one event by traces of four-by-four matrices, the W propagators in unitary gauge."""
    b, q, t, h, jet = event.numpy()
    slash = lambda p: np.einsum("m,mij->ij", METRIC @ p, GAMMA)  # noqa: E731
    square = lambda p: p @ METRIC @ p  # noqa: E731
    left = (np.eye(4) - GAMMA_5) / 2
    propagator = lambda p: (METRIC - np.outer(p, p) / W_MASS**2) / (square(p) - W_MASS**2)  # noqa: E731, upper indices
    first, second, top = q - jet, q - jet - h, t + h
    coupling, weak = TOP_MASS / VACUUM, 2 * W_MASS / VACUUM
    both = weak * W_MASS * propagator(first) @ METRIC @ propagator(second)
    yukawa = math.cos(angle) * np.eye(4) + 2j / 3 * math.sin(angle) * GAMMA_5
    inner = yukawa @ (slash(top) + TOP_MASS * np.eye(4)) / (square(top) - TOP_MASS**2) * coupling
    lower = np.einsum("mn,nij->mij", METRIC, GAMMA)
    line = [
        sum(both[m, n] * lower[n] @ left for n in range(4))
        + inner @ sum(propagator(first)[m, n] * lower[n] @ left for n in range(4))
        for m in range(4)
    ]  # upper index m, contracted with the light line's lower one
    ends = (jet, q) if not antiquark else (q, jet)
    total = 0.0
    for m in range(4):
        for n in range(4):
            bar = GAMMA[0] @ line[n].conj().T @ GAMMA[0]
            heavy = np.trace((slash(t) + TOP_MASS * np.eye(4)) @ line[m] @ slash(b) @ bar)
            light = np.trace(slash(ends[0]) @ lower[m] @ left @ slash(ends[1]) @ lower[n] @ left)
            total += heavy * light
    return 9 * (weak**2 / 2) ** 2 * total.real


@pytest.mark.parametrize("antiquark", [False, True])
@pytest.mark.parametrize("angle", [0.0, 0.7, math.pi / 2, math.pi, -2.0])
def test_equals_dirac_traces(angle, antiquark):
    momenta = points(4)
    truth = torch.tensor([dirac(event, angle, antiquark) for event in momenta])
    assert off(bq_to_thq(momenta, angle, antiquark), truth) < 1e-9


def test_traces_see_a_wrong_sign_between_the_diagrams(monkeypatch):
    momenta = points(4)
    truth = torch.tensor([dirac(event, 0.0) for event in momenta])
    assert off(bq_to_thq(momenta, math.pi), truth) > 0.5


def test_standard_model_cancels_at_high_energy():
    """A longitudinal W and b make t H; what grows with energy cancels between the two diagrams for angle 0 alone."""
    ratios = []
    for energy in (1e3, 1e4, 1e5):
        beams = torch.tensor([[energy / 2, 0, 0, energy / 2], [energy / 2, 0, 0, -energy / 2]], dtype=torch.float64)
        along = (energy / 4) ** 2 - 40.0**2  # the light jet keeps half of the quark's energy, pT = 40 GeV
        jet = torch.tensor([energy / 4, 40.0, 0.0, -(along**0.5)], dtype=torch.float64)
        u = torch.tensor([[0.5], [0.25]], dtype=torch.float64)
        pair, _ = two_body((beams.sum(0) - jet)[None], TOP_MASS, HIGGS_MASS, u)
        event = torch.cat([beams, pair[0], jet[None]])
        ratios.append((bq_to_thq(event, math.pi) / bq_to_thq(event, 0.0)).item())
    assert ratios[1] > 10 * ratios[0] and ratios[2] > 10 * ratios[1]


def test_boosts_and_rotations():
    momenta = points()
    lorentz = kinematics.random_lorentz(len(momenta), torch.Generator().manual_seed(2), max_rapidity=1.5)
    for angle in (0.0, 1.0):
        assert off(bq_to_thq(kinematics.transform(lorentz, momenta), angle), bq_to_thq(momenta, angle)) < 1e-9


def test_mirror_image_has_the_opposite_angle():
    momenta = points()
    mirror = momenta * torch.tensor([1.0, -1, 1, 1], dtype=torch.float64)
    assert off(bq_to_thq(mirror, -0.8), bq_to_thq(momenta, 0.8)) < 1e-11
    assert off(bq_to_thq(mirror, 0.8), bq_to_thq(momenta, 0.8)) > 1e-3  # an asymmetry that only CP violation makes


def test_derivative_in_the_angle_equals_finite_differences():
    momenta, step = points(50), 1e-5
    angle = torch.full((50,), 0.6, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(bq_to_thq(momenta, angle).log().sum(), angle)
    difference = (bq_to_thq(momenta, 0.6 + step).log() - bq_to_thq(momenta, 0.6 - step).log()) / (2 * step)
    assert torch.allclose(slope, difference, rtol=1e-6, atol=1e-7)


def test_decay_integrates_to_the_partial_width_of_the_top():
    """For narrow widths, int dPhi |M|^2 -> |M(t H q')|^2 2 m_t Gamma(t -> b l nu) / (m_t Gamma_t)^2."""
    momenta = points(1).expand(40_000, 5, 4)
    events, weights = decayed(momenta)
    integral = (bq_to_thq(events, 0.7) * weights).mean() / bq_to_thq(momenta[:1], 0.7)[0]
    partial = integral.item() * (TOP_MASS * TOP_WIDTH) ** 2 / (2 * TOP_MASS)
    x = W_MASS**2 / TOP_MASS**2
    to_w = TOP_MASS**3 / (16 * math.pi * VACUUM**2) * (1 - x) ** 2 * (1 + 2 * x)
    to_leptons = W_MASS**3 / (12 * math.pi * VACUUM**2) / W_WIDTH
    assert partial / (to_w * to_leptons) == pytest.approx(0.985, abs=0.01)  # the W is 1.5% off its mass shell's value


def test_top_polarisation_shows_in_the_lepton():
    """Single tops are polarised: in the rest frame of the top, leptons follow the light jet."""
    momenta = points(20_000)
    events, weights = decayed(momenta)
    weights = weights * bq_to_thq(events)
    velocity = -kinematics.velocity(momenta[:, 2])
    lepton, jet = kinematics.boost(events[:, 3], velocity), kinematics.boost(events[:, 6], velocity)
    cosine = torch.nn.functional.cosine_similarity(lepton[:, 1:], jet[:, 1:])
    assert (weights * cosine).sum() / weights.sum() > 0.15


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda p: p[:, :4], "momenta must be a tensor"),
        (lambda p: torch.full_like(p, torch.nan), "NaN or infinity"),
        (lambda p: -p, "energies must be positive"),
        (lambda p: p[:, [0, 1, 2, 4, 3]], "has a mass"),
        (lambda p: torch.cat([2 * p[:, :1], p[:, 1:]], 1), "not conserved"),
    ],
)
def test_bad_input(spoil, message):
    with pytest.raises(ValueError, match=message):
        bq_to_thq(spoil(points(3)))
