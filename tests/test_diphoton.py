"""g g -> gamma gamma against the unitarity cut, crossing and its symmetries."""

import math

import numpy as np
import pytest
import torch

from lhcml_tutor import kinematics
from lhcml_tutor.physics.diphoton import gg_to_gamma_gamma, helicity_amplitude
from lhcml_tutor.physics.phase_space import rambo

METRIC = np.diag([1.0, -1, -1, -1])
PAULI = [np.array([[0, 1], [1, 0]]), np.array([[0, -1j], [1j, 0]]), np.diag([1, -1])]
GAMMA = [np.kron([[0, 1], [1, 0]], np.eye(2))] + [np.kron([[0, 1], [-1, 0]], sigma) for sigma in PAULI]


def points(n=100):
    final, _ = rambo(2, 0.0, 200.0, n, torch.Generator().manual_seed(1))
    beams = torch.tensor([[100.0, 0, 0, 100], [100, 0, 0, -100]], dtype=torch.float64)
    return torch.cat([beams.expand(n, 2, 4), final], 1)


def slash(v):
    return np.einsum("m,...m,mij->...ij", np.diag(METRIC), v, np.array(GAMMA))


def momentum(theta, phi=0.0):
    theta, phi = np.broadcast_arrays(theta, phi)
    sine = np.sin(theta)
    return 0.5 * np.stack([np.ones_like(sine), sine * np.cos(phi), sine * np.sin(phi), np.cos(theta)], -1)


def polarisation(theta, helicity):
    return np.array([0, -helicity * np.cos(theta), -1j, helicity * np.sin(theta)]) / 2**0.5


def two_vectors_to_quarks(k1, e1, k2, e2, quark):
    """Return the two tree diagrams of V V -> q qbar without the outer spinors."""
    propagator = lambda p: slash(p) / np.einsum("nm,mk,nk->n", p, METRIC, p)[:, None, None]  # noqa: E731
    return slash(e1) @ propagator(quark - k1) @ slash(e2) + slash(e2) @ propagator(quark - k2) @ slash(e1)


def unitarity_cut(theta, helicities, nodes=200):
    """Return 1/2 int dPhi_2 sum_spins M(g g -> q qbar) M(gamma gamma -> q qbar)^*, colour 1/2, couplings one."""
    angles = (0.0, math.pi, theta, math.pi + theta)
    k = [momentum(angle) for angle in angles]
    e = [polarisation(angle, helicity) for angle, helicity in zip(angles, helicities)]
    cosines, weights = np.polynomial.legendre.leggauss(nodes)
    azimuths = 2 * math.pi * (np.arange(nodes) + 0.5) / nodes
    cosine, azimuth = (grid.ravel() for grid in np.meshgrid(cosines, azimuths, indexing="ij"))
    quark = momentum(np.arccos(cosine), azimuth)
    antiquark = np.array([1.0, 0, 0, 0]) - quark
    first = two_vectors_to_quarks(k[0], e[0], k[1], e[1], quark)
    second = two_vectors_to_quarks(k[2], e[2], k[3], e[3], quark)
    second = GAMMA[0] @ second.conj().swapaxes(1, 2) @ GAMMA[0]
    trace = np.einsum("nij,njk,nkl,nli->n", slash(quark), first, slash(antiquark), second, optimize=True).real
    return (np.repeat(weights, nodes) * trace).sum() * 2 * math.pi / nodes / (32 * math.pi**2) / 2 / 2


@pytest.mark.parametrize("theta", [0.9, 1.7])
def test_imaginary_part_equals_the_unitarity_cut(theta):
    s, t = 1.0, -(1 - math.cos(theta)) / 2
    u = -s - t
    tensors = lambda *values: [torch.tensor(v, dtype=torch.float64) for v in values]  # noqa: E731
    for helicities, channel in (((1, 1, -1, -1), (s, t, u)), ((1, -1, 1, -1), (u, t, s)), ((1, -1, -1, 1), (t, s, u))):
        amplitude = helicity_amplitude(*tensors(*channel)).imag.item() / (4 * math.pi**2)
        assert unitarity_cut(theta, helicities) == pytest.approx(amplitude, abs=1e-6 + 2e-3 * abs(amplitude))
    assert abs(unitarity_cut(theta, (1, 1, 1, -1))) < 1e-12  # rational amplitudes have no cut
    assert abs(unitarity_cut(theta, (1, 1, 1, 1))) < 1e-12


def test_the_cut_sees_a_wrong_sign_of_the_logarithm():
    s, t = 1.0, -0.3
    u = -s - t
    X = math.log(t / u)
    wrong = abs(-0.5 * (t**2 + s**2) / u**2 * 2 * math.pi * X) / (4 * math.pi**2)
    theta = math.acos(1 + 2 * t)
    assert abs(unitarity_cut(theta, (1, -1, 1, -1))) != pytest.approx(wrong, rel=0.05)


def test_exchange_of_photons_and_of_gluons():
    momenta = points()
    truth = gg_to_gamma_gamma(momenta)
    for order in ([0, 1, 3, 2], [1, 0, 2, 3], [2, 3, 0, 1]):
        assert torch.allclose(gg_to_gamma_gamma(momenta[:, order]), truth, rtol=1e-10)


def test_depends_on_the_angle_alone():
    momenta = points()
    lorentz = kinematics.random_lorentz(len(momenta), torch.Generator().manual_seed(2), max_rapidity=1.5)
    moved = kinematics.transform(lorentz, 7.0 * momenta)
    assert torch.allclose(gg_to_gamma_gamma(moved), gg_to_gamma_gamma(momenta), rtol=1e-7)


def test_charges_and_their_sum():
    momenta = points(5)
    both, up = gg_to_gamma_gamma(momenta), gg_to_gamma_gamma(momenta, charges=(2 / 3,))
    assert torch.allclose(both / up, torch.full_like(up, (11 / 9 / (4 / 9)) ** 2))


def test_bad_input():
    with pytest.raises(ValueError, match="two gluons, two photons"):
        gg_to_gamma_gamma(points(2)[:, :3])
    beams = torch.tensor([[50.0, 0, 0, 50], [50, 0, 0, -50]])
    with pytest.raises(ValueError, match="flies along a gluon"):
        gg_to_gamma_gamma(torch.cat([beams, beams]))
