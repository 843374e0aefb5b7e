"""Gluon amplitudes against the textbook, Parke and Taylor, symmetries and the collinear limit."""

import itertools

import pytest
import torch

from lhcml_tutor import kinematics
from lhcml_tutor.physics import gluons as gluons_module
from lhcml_tutor.physics.amplitudes import transverse_polarisations
from lhcml_tutor.physics.gluons import colour_matrix, gluons, kleiss_kuijf
from lhcml_tutor.physics.phase_space import rambo

CA = 3.0
BEAMS = torch.tensor([[0.5, 0, 0, 0.5], [0.5, 0, 0, -0.5]], dtype=torch.float64)


def points(n_out, n=40, energy=1000.0, seed=1):
    final, _ = rambo(n_out, 0.0, energy, 4 * n, torch.Generator().manual_seed(seed))
    keep = (kinematics.pt(final) > 20).all(1)
    for i, j in itertools.combinations(range(n_out), 2):
        keep &= kinematics.delta_r(final[:, i], final[:, j]) > 0.2
    return torch.cat([(energy * BEAMS).expand(4 * n, 2, 4), final], 1)[keep][:n]


def off(value, truth):
    return (value / truth - 1).abs().max().item()


def invariants(momenta):
    """Return s_ij = (k_i + k_j)^2 with all legs outgoing, (n, legs, legs)."""
    k = torch.cat([-momenta[:, :2], momenta[:, 2:]], 1)
    return 2 * kinematics.dot(k[:, :, None], k[:, None])


def parke_taylor(momenta):
    """Return N^(n-2) (N^2 - 1) sum_ij s_ij^4 sum_orders 1 / (s_12 s_23 ... s_n1), twice from five gluons on.

    Up to four gluons, two negative helicities are the same as two positive ones.
    """
    s, n = invariants(momenta), momenta.shape[1]
    numerator = sum(s[:, i, j] ** 4 for i, j in itertools.combinations(range(n), 2))
    circles = [
        torch.stack([s[:, a, b] for a, b in zip((0, *w), (*w, 0))]).prod(0) for w in itertools.permutations(range(1, n))
    ]
    return min(n - 3, 2) * CA ** (n - 2) * 8 * numerator * sum(1 / circle for circle in circles)


@pytest.mark.parametrize("colour", ["full", "leading"])
def test_four_gluons_equal_the_textbook(colour):
    momenta = points(2, n=200)
    s, t, u = kinematics.mandelstam(momenta)
    textbook = 16 * 4 * 9 / 2 * 4 * (3 - t * u / s**2 - s * u / t**2 - s * t / u**2)
    assert off(gluons(momenta, colour), textbook) < 1e-11


@pytest.mark.parametrize("n_out", [2, 3])
def test_four_and_five_gluons_equal_parke_taylor_in_full_and_in_leading_colour(n_out):
    momenta = points(n_out)
    assert off(gluons(momenta), parke_taylor(momenta)) < 1e-9
    assert off(gluons(momenta, "leading"), parke_taylor(momenta)) < 1e-9


def test_six_gluons_have_more_than_parke_taylor_and_colour_beyond_the_leading():
    momenta = points(4)
    full, leading = gluons(momenta), gluons(momenta, "leading")
    missing = parke_taylor(momenta) / full  # helicities + + + - - - are not in it
    assert missing.max() < 0.999 and 0.55 < missing.mean() < 0.8
    ratio = leading / full
    assert 0.9 < ratio.mean() < 0.999 and ratio.max() < 1.0001 and ratio.min() > 0.75


@pytest.mark.parametrize("n_out", [2, 3, 4])
@pytest.mark.parametrize("gluon", [0, 1, -2, -1])
def test_gauge_invariance(n_out, gluon):
    momenta = points(n_out, n=10)
    vectors = transverse_polarisations(momenta)
    truth = gluons(momenta)
    vectors[:, gluon] = (momenta[:, gluon] / momenta[:, gluon, :1])[:, None]
    assert (gluons(momenta, polarisations=vectors) / truth).max() < 1e-20
    vectors[:, gluon, :, 0] += 0.01  # negative control: not quite the momentum
    assert (gluons(momenta, polarisations=vectors) / truth).median() > 1e-7


@pytest.mark.parametrize("n_out", [3, 4])
@pytest.mark.parametrize("colour", ["full", "leading"])
def test_bose_symmetry_though_first_and_last_gluon_are_special(n_out, colour):
    momenta = points(n_out, n=10)
    truth, last = gluons(momenta, colour), n_out + 1
    swaps = [(0, 1), (2, last), (last - 1, last), (2, 3)]
    for i, j in swaps:
        order = list(range(last + 1))
        order[i], order[j] = j, i
        assert off(gluons(momenta[:, order], colour), truth) < 1e-10


def test_bose_symmetry_sees_a_wrong_colour_matrix(monkeypatch):
    momenta = points(3, n=10)
    diagonal = torch.diag(colour_matrix(5).diag())
    monkeypatch.setattr(gluons_module, "colour_matrix", lambda n, colour: diagonal)
    assert off(gluons(momenta[:, [1, 0, 2, 3, 4]]), gluons(momenta)) > 0.01


@pytest.mark.parametrize("n_out", [2, 3])
def test_boosts_and_rotations(n_out):
    momenta = points(n_out)
    lorentz = kinematics.random_lorentz(len(momenta), torch.Generator().manual_seed(2), max_rapidity=1.5)
    assert off(gluons(kinematics.transform(lorentz, momenta)), gluons(momenta)) < 1e-8


def collinear_ratio(mass, z, n=10, n_azimuths=8):
    """Return |M_6|^2, averaged over the azimuth of a pair, over 2/s P_gg(z) |M_5|^2; another gluon recoils."""
    born = points(3, n=n)
    first, second = born[:, 2], born[:, 3]
    share = (mass**2 / (2 * kinematics.dot(first, second)))[:, None]
    pair = first + share * second
    rest = torch.cat([born[:, :2], ((1 - share) * second)[:, None], born[:, 4:]], 1)
    flight = pair[:, 1:] / pair[:, 1:].norm(dim=-1, keepdim=True)
    frame = transverse_polarisations(pair)[..., 1:]  # two unit vectors orthogonal to its flight
    average = 0.0
    for azimuth in torch.arange(n_azimuths) * (2 * torch.pi / n_azimuths):
        across = frame[:, 0] * azimuth.cos() + frame[:, 1] * azimuth.sin()
        k = mass / 2 * ((2 * z - 1) * flight + 2 * (z * (1 - z)) ** 0.5 * across)
        energy = torch.full((n, 1), mass / 2, dtype=torch.float64)
        at_rest = torch.stack([torch.cat([energy, k], 1), torch.cat([energy, -k], 1)], 1)
        two = kinematics.boost(at_rest, kinematics.velocity(pair)[:, None])
        average = average + gluons(torch.cat([rest, two], 1)) / n_azimuths
    splitting = 2 * CA * (z / (1 - z) + (1 - z) / z + z * (1 - z))
    return average / (2 / mass**2 * splitting * gluons(born))


@pytest.mark.parametrize("z", [0.2, 0.5])
def test_collinear_gluons_factorise(z):
    far, near, nearer = ((collinear_ratio(m, z) - 1).abs().median().item() for m in (30.0, 1.0, 0.1))
    assert near < 1e-2 and nearer < 1e-3 and near < far / 10


def test_colour_matrix_equals_explicit_structure_constants():
    f = torch.zeros(8, 8, 8, dtype=torch.float64)
    root = 3**0.5 / 2
    for a, b, c, value in ((1, 2, 3, 1), (1, 4, 7, 0.5), (1, 6, 5, 0.5), (2, 4, 6, 0.5), (2, 5, 7, 0.5), (3, 4, 5, 0.5),
                           (3, 7, 6, 0.5), (4, 5, 8, root), (6, 7, 8, root)):  # fmt: skip
        for (x, y, z), sign in zip(itertools.permutations((a, b, c)), (1, -1, -1, 1, 1, -1)):
            f[x - 1, y - 1, z - 1] = sign * value
    chains = {
        w: torch.einsum("pqx,xry,ysn->pqrsn", f, f, f).permute(0, *(w.index(i) + 1 for i in range(3)), 4)
        for w in itertools.permutations(range(3))
    }
    truth = [[(v * w).sum().item() for w in chains.values()] for v in chains.values()]
    assert torch.allclose(colour_matrix(5), torch.tensor(truth).double(), atol=1e-10)


def test_kleiss_kuijf_gives_the_orders_that_a_direct_computation_gives():
    momenta = points(3, n=5)
    k = torch.cat([-momenta[:, :2], momenta[:, 2:]], 1)
    e = transverse_polarisations(k)
    A = gluons_module.orders(k, e)
    last = 4
    for row, word in zip(kleiss_kuijf(5), itertools.permutations(range(1, 5))):
        order = [0, *word]  # relabel so that this order is the plain one of another assignment
        direct = gluons_module.orders(k[:, order], e[:, order])[0]
        axes = [order.index(i) for i in range(last + 1)]
        assert torch.allclose(direct.permute(*axes, 5), torch.tensordot(row, A, 1), atol=1e-9 * A.abs().max())


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda p: p[:, :3], "n_gluons >= 4"),
        (lambda p: p.numpy(), "must be a tensor"),
        (lambda p: torch.where(torch.arange(4) == 1, torch.nan, p), "NaN or infinity"),
        (lambda p: -p, "energies must be positive"),
        (lambda p: p[:, [2, 3, 0, 1]] * torch.tensor([1.0, 1, 1, 1.1]), "not conserved|has a mass"),
        (lambda p: torch.cat([p[:, :2] * 2, p[:, 2:]], 1), "not conserved"),
        (lambda p: p * torch.tensor([1.2, 1, 1, 1]), "has a mass"),
    ],
)
def test_bad_input(spoil, message):
    with pytest.raises(ValueError, match=message):
        gluons(spoil(points(2, n=3)))


def test_unknown_colour():
    with pytest.raises(ValueError, match="'full' or 'leading'"):
        gluons(points(2, n=1), colour="planar")


def test_gradients_and_batch_shapes():
    momenta = points(2, n=6).reshape(2, 3, 4, 4).requires_grad_()
    value = gluons(momenta)
    value.sum().backward()
    assert value.shape == (2, 3) and momenta.grad.isfinite().all()
    assert gluons(points(2, n=6)[:0]).shape == (0,)
