"""Kinematics against closed values, the `vector` library, and the group laws of Lorentz transformations."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lhcml_tutor import kinematics as k

G = torch.diag(torch.tensor([1.0, -1.0, -1.0, -1.0], dtype=torch.float64))
INF = math.inf


def particles(n=2000, seed=1, largest_mass=10.0, dtype=torch.float64):
    """Return momenta of every size, direction and mass."""
    generator = torch.Generator().manual_seed(seed)
    p = torch.randn(n, 3, dtype=torch.float64, generator=generator) * 10 ** torch.linspace(-1, 3, n).double()[:, None]
    m = largest_mass * torch.rand(n, dtype=torch.float64, generator=generator)
    return torch.cat([((p**2).sum(-1) + m**2).sqrt()[:, None], p], dim=-1).to(dtype)


def test_closed_values():
    p = torch.tensor([13.0, 3.0, 4.0, 0.0], dtype=torch.float64)
    assert (k.energy(p), k.pt(p), k.mass(p), k.mass_squared(p)) == (13, 5, 12, 144)
    assert k.phi(p).item() == pytest.approx(math.atan2(4, 3))
    assert k.eta(p) == k.rapidity(p) == 0
    q = torch.tensor([5.0, 0.0, 3.0, 4.0], dtype=torch.float64)
    assert k.eta(q).item() == pytest.approx(math.log(3))  # -log tan(theta / 2) with cos(theta) = 4 / 5
    assert k.rapidity(q).item() == pytest.approx(0.5 * math.log(9))
    assert k.dot(p, q) == 13 * 5 - 4 * 3
    assert k.delta_r(p, q).item() == pytest.approx(math.hypot(math.log(3), math.pi / 2 - math.atan2(4, 3)))
    assert torch.equal(k.velocity(q), torch.tensor([0, 0.6, 0.8], dtype=torch.float64))


def test_agrees_with_the_vector_library():
    vector = pytest.importorskip("vector")
    p, q = particles(), particles(seed=2)
    to_vector = lambda p: vector.array(dict(zip(("E", "px", "py", "pz"), p.T.numpy())))  # noqa: E731
    P, Q = to_vector(p), to_vector(q)
    for name in ("pt", "eta", "phi", "mass", "rapidity"):
        assert np.allclose(getattr(k, name)(p), getattr(P, name), rtol=1e-6, atol=1e-6), name  # mass: E - |p| cancels
    assert np.allclose(k.dot(p, q), P.dot(Q), rtol=1e-9)
    assert np.allclose(k.delta_r(p, q), P.deltaR(Q), rtol=1e-9)
    assert np.allclose(k.delta_phi(k.phi(p), k.phi(q)), P.deltaphi(Q), atol=1e-9)
    beta = k.velocity(q)
    pushed = P.boost_beta3(vector.array(dict(zip("xyz", beta.T.numpy()))))
    there = torch.tensor(np.stack([pushed.E, pushed.px, pushed.py, pushed.pz], -1))
    assert torch.allclose(k.boost(p, beta), there, rtol=1e-6, atol=1e-6 * k.energy(p).max().item())
    turned = P.rotate_axis(vector.obj(x=1.0, y=2.0, z=-0.5), 0.7)
    matrix = k.rotation_matrix(torch.tensor([1.0, 2.0, -0.5], dtype=torch.float64), 0.7)
    assert np.allclose(k.transform(matrix, p), np.stack([turned.E, turned.px, turned.py, turned.pz], -1), atol=1e-9)


@pytest.mark.parametrize(
    ("p", "eta", "rapidity"),
    [
        ((5.0, 0.0, 0.0, 5.0), INF, INF),
        ((5.0, 0.0, 0.0, -5.0), -INF, -INF),
        ((0.0, 0.0, 0.0, 0.0), 0.0, 0.0),
        ((5.0, 0.0, 0.0, 0.0), 0.0, 0.0),
        ((5.0, 0.0, 0.0, 3.0), INF, math.log(2)),
        ((5.0, 0.0, 0.0, -3.0), -INF, -math.log(2)),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_along_the_beam_and_at_rest(p, eta, rapidity, dtype):
    p = torch.tensor(p, dtype=dtype)
    assert k.eta(p) == eta and k.eta(p).dtype == dtype
    assert k.rapidity(p).item() == pytest.approx(rapidity)
    assert k.delta_r(p, p) == 0 and k.phi(p) == 0 and k.mass(p).isfinite()


def test_single_precision_keeps_eta_and_rapidity_finite_and_equal_for_massless_particles():
    eta = torch.linspace(-12, 12, 241)
    p = k.from_pt_eta_phi_mass(torch.tensor(2.0), eta, torch.tensor(0.5), 0.0)
    assert torch.allclose(k.eta(p), eta, rtol=1e-5, atol=1e-6)
    assert (k.rapidity(p).abs() <= k.eta(p).abs() + 1e-5).all()
    inside = eta.abs() < 5
    assert torch.allclose(k.rapidity(p)[inside], eta[inside], rtol=1e-2, atol=1e-5)
    assert k.mass(p).isfinite().all()


@given(
    pt=st.floats(1e-3, 1e4), eta=st.floats(-6, 6), phi=st.floats(-3.14, 3.14), mass=st.floats(0, 1e3),
)  # fmt: skip
@settings(max_examples=100, deadline=None)
def test_from_pt_eta_phi_mass_and_back(pt, eta, phi, mass):
    p = k.from_pt_eta_phi_mass(torch.tensor(pt, dtype=torch.float64), eta, phi, mass)
    back = [f(p).item() for f in (k.pt, k.eta, k.phi)]
    assert back == pytest.approx([pt, eta, phi], rel=1e-9, abs=1e-9)
    assert k.mass(p).item() == pytest.approx(mass, rel=1e-6, abs=1e-6 * p[0].item())


@given(a=st.floats(-50, 50), b=st.floats(-50, 50))
@settings(max_examples=200, deadline=None)
def test_delta_phi_is_the_way_around_the_circle(a, b):
    d = k.delta_phi(torch.tensor(a, dtype=torch.float64), torch.tensor(b, dtype=torch.float64)).item()
    assert -math.pi <= d <= math.pi
    assert math.cos(d) == pytest.approx(math.cos(a - b), abs=1e-9)
    assert math.sin(d) == pytest.approx(math.sin(a - b), abs=1e-9)


def test_random_lorentz_matrices_are_lorentz_matrices():
    L = k.random_lorentz(500, torch.Generator().manual_seed(1), max_rapidity=3.0)
    assert L.shape == (500, 4, 4) and L.dtype == torch.float64
    assert (L.mT @ G @ L - G).abs().max() < 1e-11
    assert torch.allclose(torch.linalg.det(L), torch.ones(500, dtype=torch.float64))  # no reflection
    assert (L[:, 0, 0] >= 1).all()  # no reversal of time
    y = torch.acosh(L[:, 0, 0])  # even in [0, 3]
    assert y.max() < 3 + 1e-9 and abs(y.mean() - 1.5) < 0.15
    assert L[:, 0, 1:].mean(0).abs().max() / L[:, 0, 1:].std() < 0.2  # no direction is preferred
    assert torch.equal(L, k.random_lorentz(500, torch.Generator().manual_seed(1), max_rapidity=3.0))
    wrong = L.clone()
    wrong[:, 1] *= 1.001  # negative control
    assert (wrong.mT @ G @ wrong - G).abs().max() > 1e-4


def test_without_boost_random_lorentz_gives_even_rotations():
    R = k.random_lorentz(4000, torch.Generator().manual_seed(2), max_rapidity=0.0)
    assert (R[:, 0, 0] == 1).all() and R[:, 0, 1:].abs().max() == 0
    R = R[:, 1:, 1:]
    assert (R @ R.mT - torch.eye(3, dtype=torch.float64)).abs().max() < 1e-12
    assert R.mean(0).abs().max() < 5 / (3 * 4000) ** 0.5  # each entry: mean 0, variance 1/3
    assert (R**2).mean(0).sub(1 / 3).abs().max() < 0.03
    trace = R.diagonal(dim1=-2, dim2=-1).sum(-1)  # 1 + 2 cos(angle): mean 0 and variance 1 over the rotation group
    assert abs(trace.mean()) < 0.08 and abs(trace.var() - 1) < 0.1


def test_boosts():
    beta = torch.tensor([0.3, -0.5, 0.6], dtype=torch.float64)
    L = k.boost(torch.eye(4, dtype=torch.float64), beta).mT
    p = particles()
    assert (L.mT @ G @ L - G).abs().max() < 1e-13
    assert torch.allclose(k.transform(L, p), k.boost(p, beta), rtol=1e-12, atol=1e-10)
    assert torch.allclose(k.boost(k.boost(p, beta), -beta), p, rtol=1e-10, atol=1e-9)
    at_rest = k.boost(p, -k.velocity(p))
    assert (at_rest[:, 1:].abs() < 1e-6 * p[:, :1]).all()
    moving = k.boost(torch.tensor([2.0, 0, 0, 0], dtype=torch.float64), beta)
    assert torch.allclose(k.velocity(moving), beta, rtol=1e-14)
    along_z = torch.tensor([0, 0, math.tanh(0.7)], dtype=torch.float64)
    assert torch.allclose(k.rapidity(k.boost(p, along_z)) - k.rapidity(p), torch.tensor(0.7).double(), atol=1e-6)
    assert torch.equal(k.boost(p, torch.zeros(3, dtype=torch.float64)), p)


def test_rotations():
    z = torch.tensor([0.0, 0.0, 2.0], dtype=torch.float64)
    x = torch.tensor([[1.0, 1.0, 0.0, 0.0]], dtype=torch.float64)
    quarter = k.transform(k.rotation_matrix(z, math.pi / 2), x)
    assert torch.allclose(quarter, torch.tensor([[1.0, 0, 1, 0]], dtype=torch.float64))  # x turns into y, not -y
    many = k.rotation_matrix(torch.randn(5, 1, 3), torch.linspace(0, 3, 4))
    assert many.shape == (5, 4, 4, 4)


@given(seed=st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_invariants_do_not_change(seed):
    generator = torch.Generator().manual_seed(seed)
    p, L = particles(40, seed).reshape(10, 4, 4), k.random_lorentz(10, generator)
    pairs = k.dot(p[:, :, None], p[:, None])
    moved = k.transform(L, p)
    scale = moved[..., 0].amax(-1)[:, None, None] ** 2
    assert ((k.dot(moved[:, :, None], moved[:, None]) - pairs).abs() < 1e-12 * scale).all()


def test_mandelstam():
    a, b = torch.tensor([[50.0, 0, 0, 50], [50, 0, 0, -50]], dtype=torch.float64)
    m = 30.0
    E = (100.0**2 + m**2) / 200
    size = 100 - E
    c = torch.tensor([E, 0.6 * size, 0, 0.8 * size], dtype=torch.float64)
    s, t, u = k.mandelstam(torch.stack([a, b, c, a + b - c]).expand(3, 2, 4, 4))
    assert s.shape == t.shape == u.shape == (3, 2)
    assert torch.allclose(s + t + u, torch.tensor(m**2, dtype=torch.float64))
    assert t[0, 0].item() == pytest.approx(m**2 - 2 * 50 * (E - 0.8 * size))
    assert u[0, 0].item() == pytest.approx(-2 * 50 * size * (1 + 0.8))


def test_gradients_are_finite_off_the_beam():
    p = particles(50).requires_grad_()
    for f in (k.pt, k.eta, k.phi, k.rapidity, k.mass, k.mass_squared):
        (gradient,) = torch.autograd.grad(f(p).sum(), p)
        assert gradient.isfinite().all() and (gradient != 0).any(), f.__name__
    assert torch.autograd.gradcheck(k.eta, particles(5).requires_grad_())


def test_arrays_and_integers_are_taken():
    assert k.pt(np.array([[13.0, 3.0, 4.0, 12.0]])).tolist() == [5.0]
    assert k.mass(torch.tensor([5, 0, 0, 3])) == 4
    assert k.boost(np.array([4, 0, 0, 0]), torch.tensor([0, 0, 0.6])).tolist() == pytest.approx([5, 0, 0, 3])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: k.pt(torch.ones(5, 3)), r"\(..., 4\) = \(E, px, py, pz\), not \(5, 3\)"),
        (lambda: k.eta(torch.tensor(1.0)), r"not \(\)"),
        (lambda: k.mandelstam(torch.ones(5, 3, 4)), r"four momenta"),
        (lambda: k.boost(torch.ones(4), torch.tensor([0.0, 0.8, 0.7])), r"\|beta\| < 1, but the largest here is 1.06"),
        (lambda: k.boost(torch.ones(4), torch.tensor([0.0, math.nan, 0.0])), r"\|beta\| < 1"),
        (lambda: k.transform(k.random_lorentz(5), torch.ones(5, 4)), r"p\[:, None\]"),
        (lambda: k.transform(torch.eye(3), torch.ones(5, 4)), r"takes \(..., 4, 4\)"),
        (lambda: k.random_lorentz(5, max_rapidity=-1.0), r"max_rapidity"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
