"""Amplitudes against closed formulas, Feynman diagrams, symmetries and limits; each with a fault it must see."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lhcml_tutor import kinematics
from lhcml_tutor.physics import amplitudes
from lhcml_tutor.physics.amplitudes import estimate_z_gluons, qqbar_to_z_gluons, transverse_polarisations
from lhcml_tutor.physics.phase_space import rambo

MASS_Z, CF, CA = 91.1876, 4 / 3, 3.0
BEAMS = torch.tensor([[0.5, 0, 0, 0.5], [0.5, 0, 0, -0.5]], dtype=torch.float64)


def points(n_gluons, n=200, energy=500.0, seed=1, min_pt=10.0):
    """Return phase-space points of q qbar -> Z + gluons with gluons off the beam and apart."""
    masses = [MASS_Z] + [0.0] * n_gluons
    final, _ = rambo(n_gluons + 1, masses, energy, 2 * n, torch.Generator().manual_seed(seed))
    keep = (kinematics.pt(final[:, 1:]) > min_pt).all(-1)
    for i, j in itertools.combinations(range(1, n_gluons + 1), 2):
        keep &= kinematics.delta_r(final[:, i], final[:, j]) > 0.1
    return torch.cat([(energy * BEAMS).expand(2 * n, 2, 4), final], dim=1)[keep][:n]


def decay(total, masses, direction):
    """Return the two momenta into which `total` (n, 4) decays; the first goes along `direction` (n, 3) at rest."""
    m = kinematics.mass(total)
    energy = (m**2 + masses[0] ** 2 - masses[1] ** 2) / (2 * m)
    k = (energy**2 - masses[0] ** 2).sqrt()[:, None] * direction
    at_rest = torch.stack([torch.cat([energy[:, None], k], -1), torch.cat([(m - energy)[:, None], -k], -1)], 1)
    return kinematics.boost(at_rest, kinematics.velocity(total)[:, None])


def directions(n, seed=3):
    v = torch.randn(n, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return v / v.norm(dim=-1, keepdim=True)


def zg_formula(momenta):
    s, t, u = kinematics.mandelstam(momenta)
    return 32 * (t**2 + u**2 + 2 * s * MASS_Z**2) / (t * u)


def off(value, truth):
    return (value / truth - 1).abs().max().item()


# ------------------------------------------------------------------------------------------- exact numbers


@given(energy=st.floats(100, 13_000), cosine=st.floats(-0.999, 0.999), azimuth=st.floats(-3.14, 3.14))
@settings(max_examples=40, deadline=None)
def test_one_gluon_equals_the_closed_formula(energy, cosine, azimuth):
    sine = (1 - cosine**2) ** 0.5
    direction = torch.tensor([[sine * np.cos(azimuth), sine * np.sin(azimuth), cosine]], dtype=torch.float64)
    beams = energy * BEAMS[None]
    momenta = torch.cat([beams, decay(beams.sum(1), (MASS_Z, 0.0), direction)], dim=1)
    assert off(qqbar_to_z_gluons(momenta), zg_formula(momenta)) < 1e-10


def test_one_gluon_to_twelve_digits():
    momenta = points(1)
    assert off(qqbar_to_z_gluons(momenta), zg_formula(momenta)) < 1e-12


def test_couplings_enter_as_the_sum_of_their_squares():
    momenta = points(2, n=20)
    both = qqbar_to_z_gluons(momenta)
    assert torch.equal(qqbar_to_z_gluons(momenta, left=0.5, right=-2.0), both * (0.25 + 4.0) / 2)


def test_wrong_metric_in_the_polarisation_sum_is_seen():
    momenta = points(1)
    p = momenta.movedim(0, -1)[:, :, None]
    vectors = transverse_polarisations(momenta[:, 3]).movedim(0, -1).movedim(0, 1)
    V = amplitudes.currents(p[0], p[1], [p[3]], [vectors])[0].abs() ** 2
    right = -2 * 4 * torch.einsum("m,mpn->n", amplitudes.METRIC, V)
    flipped = 2 * 4 * torch.einsum("m,mpn->n", amplitudes.METRIC.abs(), V)
    assert off(right, zg_formula(momenta)) < 1e-12
    assert ((flipped / zg_formula(momenta) - 1).abs() > 0.01).double().mean() > 0.9


def feynman_diagrams(momenta):
    """Return |M|^2 of q qbar -> Z g g for one event from its eight Feynman diagrams, with Dirac matrices."""
    one, pauli = np.eye(2), amplitudes.SIGMA[1:].numpy()
    gamma = [np.kron([[0, 1], [1, 0]], one)] + [np.kron([[0, 1], [-1, 0]], s) for s in pauli]
    metric = np.diag([1.0, -1, -1, -1])
    slash = lambda v: sum(metric[m, m] * v[m] * gamma[m] for m in range(4))  # noqa: E731
    p1, p2, _, k1, k2 = momenta.numpy()
    propagator = lambda k: slash(k) / (k @ metric @ k)  # noqa: E731
    T = gell_mann()
    commutators = np.einsum("aij,bjk->abik", T, T) - np.einsum("bij,ajk->abik", T, T)  # i f^abc T^c
    product = np.einsum("aij,bjk->abik", T, T)
    rotate = lambda e: e[0] + 1j * e[1]  # noqa: E731, circular polarisation
    total = 0.0
    circular = [rotate(transverse_polarisations(torch.tensor(k)).numpy()) / 2**0.5 for k in (k1, k2)]
    for a, b in itertools.product((circular[0], circular[0].conj()), (circular[1], circular[1].conj())):
        e1, e2 = slash(a), slash(b)
        K = k1 + k2
        pair = ((a @ metric @ b) * (k2 - k1) + 2 * (k1 @ metric @ b) * a - 2 * (k2 @ metric @ a) * b) / (K @ metric @ K)
        tensor = np.zeros((4, 8, 8, 3, 3, 4, 4), dtype=complex)
        for m in range(4):
            orders = []
            for (x, kx), (y, ky) in (((e1, k1), (e2, k2)), ((e2, k2), (e1, k1))):  # x is emitted first
                orders.append(
                    y @ propagator(ky - p2) @ x @ propagator(K - p2) @ gamma[m]
                    + y @ propagator(ky - p2) @ gamma[m] @ propagator(p1 - kx) @ x
                    + gamma[m] @ propagator(p1 - K) @ y @ propagator(p1 - kx) @ x
                )
            three = slash(pair) @ propagator(K - p2) @ gamma[m] + gamma[m] @ propagator(p1 - K) @ slash(pair)
            tensor[m] = (
                np.einsum("baij,st->abijst", product, orders[0])
                + np.einsum("abij,st->abijst", product, orders[1])
                + np.einsum("abij,st->abijst", commutators, three)
            )
        bar = np.einsum("st,mabijut,uv->mabijsv", gamma[0], tensor.conj(), gamma[0])
        spins = np.einsum(
            "ps,mabijst,tq,mabijqp,m->", slash(p2), tensor, slash(p1), bar, -np.diag(metric), optimize=True
        )
        total += spins.real
    return total


def gell_mann():
    """Return T^a = lambda^a / 2 (8, 3, 3), typed in by hand."""
    T = np.zeros((8, 3, 3), dtype=complex)
    T[0][0, 1] = T[0][1, 0] = T[3][0, 2] = T[3][2, 0] = T[5][1, 2] = T[5][2, 1] = 1
    T[1][0, 1] = T[4][0, 2] = T[6][1, 2] = -1j
    T[1][1, 0] = T[4][2, 0] = T[6][2, 1] = 1j
    T[2] = np.diag([1, -1, 0])
    T[7] = np.diag([1, 1, -2]) / 3**0.5
    return T / 2


def test_two_gluons_equal_the_sum_of_feynman_diagrams():
    momenta = points(2, n=3)
    truth = torch.tensor([feynman_diagrams(event) for event in momenta])
    assert off(qqbar_to_z_gluons(momenta), truth) < 1e-10


def test_colour_of_three_gluons_equals_explicit_traces():
    T = gell_mann()
    orders = list(itertools.permutations(range(3)))
    words = [np.einsum("aij,bjk,ckl->abcil", T, T, T).transpose(*np.argsort(w), 3, 4) for w in orders]
    truth = [[np.einsum("abcij,abcij->", v, w.conj()).real for w in words] for v in words]
    assert np.allclose(amplitudes.colour_matrix(3).numpy(), truth, atol=1e-12)


# ---------------------------------------------------------------------------------------------- symmetries


@pytest.mark.parametrize(("n_gluons", "gluon"), [(1, 0), (2, 0), (2, 1), (3, 0), (3, 1), (3, 2)])
def test_gauge_invariance(n_gluons, gluon):
    momenta = points(n_gluons, n=50)
    vectors = transverse_polarisations(momenta[:, 3:])
    assert off(qqbar_to_z_gluons(momenta, vectors), qqbar_to_z_gluons(momenta)) < 1e-14
    vectors[:, gluon] = (momenta[:, 3 + gluon] / momenta[:, 3 + gluon, :1])[:, None]
    assert (qqbar_to_z_gluons(momenta, vectors) / qqbar_to_z_gluons(momenta)).abs().max() < 1e-22  # amplitude: 1e-11
    vectors[:, gluon, :, 0] += 0.01  # negative control: a vector that is not quite the momentum
    assert (qqbar_to_z_gluons(momenta, vectors) / qqbar_to_z_gluons(momenta)).median() > 1e-6


def test_polarisation_basis_does_not_matter():
    momenta = points(2)
    linear = transverse_polarisations(momenta[:, 3:])
    circular = torch.stack([linear[..., 0, :] + 1j * linear[..., 1, :], linear[..., 0, :] - 1j * linear[..., 1, :]], -2)
    shifted = circular / 2**0.5 + 0.3 * (momenta[:, 3:] / momenta[:, 3:, :1])[:, :, None]
    assert off(qqbar_to_z_gluons(momenta, shifted), qqbar_to_z_gluons(momenta)) < 1e-10


@pytest.mark.parametrize("n_gluons", [2, 3])
def test_bose_symmetry(n_gluons):
    momenta = points(n_gluons, n=50)
    for order in itertools.permutations(range(3, 3 + n_gluons)):
        assert off(qqbar_to_z_gluons(momenta[:, [0, 1, 2, *order]]), qqbar_to_z_gluons(momenta)) < 1e-12


@pytest.mark.parametrize("n_gluons", [1, 2])
def test_boosts_rotations_reflections_and_charge_conjugation(n_gluons):
    momenta = points(n_gluons)
    truth = qqbar_to_z_gluons(momenta)
    lorentz = kinematics.random_lorentz(len(momenta), torch.Generator().manual_seed(2), max_rapidity=2.0)
    assert off(qqbar_to_z_gluons(kinematics.transform(lorentz, momenta)), truth) < 1e-9
    mirror = torch.tensor([1.0, -1, 1, 1], dtype=torch.float64)
    assert off(qqbar_to_z_gluons(momenta * mirror), truth) < 1e-12
    swapped = momenta[:, [1, 0, *range(2, 3 + n_gluons)]]
    assert off(qqbar_to_z_gluons(swapped), truth) < 1e-12


# -------------------------------------------------------------------------------------------------- limits


def soft_ratio(softness, n=100):
    """Return |M(Zgg)|^2 over eikonal factor times |M(Zg)|^2; the second gluon has `softness` of the total energy.

    |M|^2 -> -g^2 sum_{i != j} T_i.T_j  p_i.p_j / (p_i.k p_j.k) |M_0|^2,   T_q.T_qbar = CA/2 - CF,  T_q.T_g = -CA/2
    """
    energy = 500.0
    beams = (energy * BEAMS).expand(n, 2, 4)
    at = directions(n, seed=4)
    soft = softness * energy * torch.cat([torch.ones(n, 1), at], -1).double()
    hard = decay(beams.sum(1) - soft, (MASS_Z, 0.0), directions(n))
    momenta = torch.cat([beams, hard, soft[:, None]], 1)
    born = torch.cat([beams, decay(beams.sum(1), (MASS_Z, 0.0), directions(n))], 1)
    q, qbar, g = momenta[:, 0], momenta[:, 1], momenta[:, 3]
    S = lambda a, b: kinematics.dot(a, b) / kinematics.dot(a, soft) / kinematics.dot(b, soft)  # noqa: E731
    eikonal = (2 * CF - CA) * S(q, qbar) + CA * (S(q, g) + S(qbar, g))
    return qqbar_to_z_gluons(momenta) / (eikonal * qqbar_to_z_gluons(born))


def test_soft_gluon_factorises():
    far, near, nearer = ((soft_ratio(x) - 1).abs().quantile(0.9).item() for x in (1e-2, 1e-4, 1e-6))
    assert near < 1e-2 and nearer < 1e-4 and near < far / 30


def test_soft_limit_sees_a_wrong_colour_factor(monkeypatch):
    wrong = amplitudes.colour_matrix(2).abs()
    monkeypatch.setattr(amplitudes, "colour_matrix", lambda n: wrong if n == 2 else torch.tensor([[4.0]]).double())
    assert (soft_ratio(1e-6) - 1).abs().median() > 0.05


def gluon_pair_ratio(mass, fraction, n=20, n_azimuths=8):
    """Return |M(Zgg)|^2, averaged over the azimuth of the pair, over 2/s P_gg(z) |M(Zg)|^2.

    P_gg(z) = 2 CA [z/(1-z) + (1-z)/z + z(1-z)]
    """
    beams, z = (500.0 * BEAMS).expand(n, 2, 4), fraction
    born = torch.cat([beams, decay(beams.sum(1), (MASS_Z, 0.0), directions(n))], 1)
    hard = decay(beams.sum(1), (MASS_Z, mass), directions(n))
    pair = hard[:, 1]
    frame = transverse_polarisations(pair)[..., 1:]  # two unit vectors orthogonal to its flight
    flight = pair[:, 1:] / pair[:, 1:].norm(dim=-1, keepdim=True)
    total = 0.0
    for azimuth in torch.arange(n_azimuths) * (2 * torch.pi / n_azimuths):
        across = frame[:, 0] * azimuth.cos() + frame[:, 1] * azimuth.sin()
        gluons = decay(pair, (0.0, 0.0), (2 * z - 1) * flight + 2 * (z * (1 - z)) ** 0.5 * across)
        total = total + qqbar_to_z_gluons(torch.cat([beams, hard[:, :1], gluons], 1)) / n_azimuths
    splitting = 2 * CA * (z / (1 - z) + (1 - z) / z + z * (1 - z))
    return total / (2 / mass**2 * splitting * qqbar_to_z_gluons(born))


@pytest.mark.parametrize("fraction", [0.1, 0.35, 0.5])
def test_collinear_gluons_factorise(fraction):
    far, near, nearer = ((gluon_pair_ratio(m, fraction) - 1).abs().median().item() for m in (30.0, 1.0, 0.1))
    assert near < 1e-2 and nearer < 1e-3 and near < far / 10


def initial_state_ratio(angle, x, leg, n=50):
    """Return |M(Zgg)|^2 over P_qq(x) / (x p.k) |M(Zg; x p)|^2 for a gluon along an incoming leg.

    P_qq(x) = CF (1 + x^2) / (1 - x),   x = the part of its energy that the quark keeps
    """
    beams = (500.0 * BEAMS).expand(n, 2, 4).clone()
    sign = 1 - 2 * leg
    unit = torch.tensor([1.0, np.sin(angle), 0.0, sign * np.cos(angle)], dtype=torch.float64)
    gluon = ((1 - x) * 250.0 * unit).expand(n, 4)
    momenta = torch.cat([beams, decay(beams.sum(1) - gluon, (MASS_Z, 0.0), directions(n)), gluon[:, None]], 1)
    slower = beams.clone()
    slower[:, leg] = x * beams[:, leg]
    born = torch.cat([slower, decay(slower.sum(1), (MASS_Z, 0.0), directions(n))], 1)
    splitting = CF * (1 + x**2) / (1 - x) / x / kinematics.dot(beams[:, leg], gluon)
    return qqbar_to_z_gluons(momenta) / (splitting * qqbar_to_z_gluons(born))


@pytest.mark.parametrize("leg", [0, 1])
@pytest.mark.parametrize("x", [0.3, 0.8])
def test_gluon_along_an_incoming_quark_factorises(x, leg):
    far, near, nearer = ((initial_state_ratio(a, x, leg) - 1).abs().median().item() for a in (0.1, 1e-3, 1e-5))
    assert near < 1e-2 and nearer < 1e-3 and near < far / 10


# ------------------------------------------------------------------------------------------------- estimates


@pytest.mark.parametrize(("n_gluons", "draws"), [(1, 40_000), (2, 40_000), (3, 30_000)])
def test_mean_of_the_estimates_is_the_exact_value(n_gluons, draws):
    momenta = points(n_gluons, n=3)
    for event, truth in zip(momenta, qqbar_to_z_gluons(momenta)):
        estimates = estimate_z_gluons(event.expand(draws, *event.shape), torch.Generator().manual_seed(4)) / truth
        error = (estimates.std() / draws**0.5).item()
        assert estimates.mean().item() == pytest.approx(1, abs=4 * error) and error < 0.015


def test_estimates_see_a_missing_colour(monkeypatch):
    event = points(2, n=1)[0]
    truth = qqbar_to_z_gluons(event)
    matrix = amplitudes.colour_matrix(2)
    monkeypatch.setattr(amplitudes, "colour_matrix", lambda n: torch.diag(matrix.diag()))
    estimates = estimate_z_gluons(event.expand(40_000, 5, 4), torch.Generator().manual_seed(4)) / truth
    assert abs(estimates.mean().item() - 1) > 6 * (estimates.std() / 200).item()
