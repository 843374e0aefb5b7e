"""RAMBO against closed and one-dimensional volumes, conservation laws and the flat Dalitz plot."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import kstest

from lhcml_tutor import kinematics
from lhcml_tutor.kinematics import mass, mass_squared
from lhcml_tutor.physics import phase_space
from lhcml_tutor.physics.phase_space import Decay, chain, massless_volume, rambo


def seeded(seed=1):
    return torch.Generator().manual_seed(seed)


def two_body_volume(s, m1, m2):
    """Return Phi_2 = sqrt(lambda(s, m1^2, m2^2)) / (8 pi s)."""
    return max((s - (m1 + m2) ** 2) * (s - (m1 - m2) ** 2), 0.0) ** 0.5 / (8 * math.pi * s)


def three_body(energy, m1, m2, m3, f=lambda m12: 1.0):
    """Return int dPhi_3 f(m12) = int dm12^2 / (2 pi) Phi_2(s; m12, m3) Phi_2(m12^2; m1, m2) f(m12)."""

    def integrand(m):
        return m / math.pi * two_body_volume(energy**2, m, m3) * two_body_volume(m * m, m1, m2) * f(m)

    return quad(integrand, m1 + m2, energy - m3, epsrel=1e-9)[0]


@given(
    n_final=st.integers(2, 6),
    masses=st.lists(st.floats(0, 200), min_size=6, max_size=6),
    excess=st.floats(1e-3, 1e4),
    seed=st.integers(0, 1000),
)
@settings(max_examples=60, deadline=None)
def test_momentum_is_conserved_and_on_shell(n_final, masses, excess, seed):
    masses = masses[:n_final]
    energy = sum(masses) + excess
    momenta, weights = rambo(n_final, masses, energy, 20, seeded(seed))
    total = torch.tensor([energy, 0, 0, 0], dtype=torch.float64)
    assert ((momenta.sum(1) - total).abs() < 1e-10 * energy).all()
    off_shell = mass_squared(momenta) - torch.tensor(masses, dtype=torch.float64) ** 2
    assert (off_shell.abs() < 1e-10 * energy**2).all()
    assert weights.isfinite().all() and (weights > 0).all()


@pytest.mark.parametrize(
    ("n_final", "volume"), [(2, 1 / (8 * math.pi)), (3, 1 / (256 * math.pi**3)), (4, 1 / (24576 * math.pi**5))]
)
def test_massless_weights_are_the_closed_volume(n_final, volume):
    volume *= 700.0 ** (2 * n_final - 4)
    _, weights = rambo(n_final, 0.0, 700.0, 100, seeded())
    assert (weights / volume - 1).abs().max() < 1e-12
    assert abs(massless_volume(n_final, 700.0) / volume - 1) < 1e-12


@given(m1=st.floats(0, 300), m2=st.floats(0, 300), excess=st.floats(0.1, 5000))
@settings(max_examples=40, deadline=None)
def test_two_massive_particles_have_the_closed_volume(m1, m2, excess):
    energy = m1 + m2 + excess
    _, weights = rambo(2, [m1, m2], energy, 10, seeded())
    assert (weights / two_body_volume(energy**2, m1, m2) - 1).abs().max() < 1e-9


@pytest.mark.parametrize(
    ("energy", "masses"), [(300.0, (91.2, 0.0, 0.0)), (500.0, (173.0, 173.0, 125.0)), (40.0, (1.0, 5.0, 30.0))]
)
def test_three_massive_particles_against_a_one_dimensional_integral(energy, masses):
    truth = three_body(energy, *masses)
    momenta, weights = rambo(3, masses, energy, 100_000, seeded())
    error = weights.std() / len(weights) ** 0.5
    assert error < 0.005 * truth
    assert abs(weights.mean() - truth) < 4 * error
    moment = weights * mass(momenta[:, 0] + momenta[:, 1])  # the shape, not only the sum
    assert abs(moment.mean() - three_body(energy, *masses, f=lambda m: m)) < 4 * moment.std() / len(weights) ** 0.5


def test_a_dropped_jacobian_is_seen(monkeypatch):
    monkeypatch.setattr(phase_space, "_shrink", lambda size, E, energy: torch.ones_like(energy))
    _, weights = rambo(3, (173.0, 173.0, 125.0), 500.0, 1000, seeded())
    assert weights.mean() > 1.5 * three_body(500.0, 173.0, 173.0, 125.0)


def test_three_massless_particles_fill_the_dalitz_plot_evenly():
    momenta, _ = rambo(3, 0.0, 1.0, 50_000, seeded())
    x = mass_squared(momenta[:, 0] + momenta[:, 1])
    assert kstest(x, lambda x: 1 - (1 - x) ** 2).pvalue > 1e-3
    y = mass_squared(momenta[:, 1] + momenta[:, 2]) / (1 - x)
    assert kstest(y, "uniform").pvalue > 1e-3
    assert kstest(momenta[:, 0, 3] / momenta[:, 0, 0], "uniform", (-1, 2)).pvalue > 1e-3
    assert kstest(momenta[:, 0, 0] * 2, "uniform").pvalue < 1e-10  # the energy of one is not even: 2 x dx


def test_energy_for_each_point_and_seeds():
    energy = torch.linspace(200, 900, 50, dtype=torch.float64)
    momenta, weights = rambo(3, [91.2, 0, 0], energy, 50, seeded())
    assert torch.allclose(momenta.sum(1)[:, 0], energy, rtol=1e-12)
    again, weights_again = rambo(3, [91.2, 0, 0], energy, 50, seeded())
    assert torch.equal(momenta, again) and torch.equal(weights, weights_again)
    assert not torch.equal(momenta, rambo(3, [91.2, 0, 0], energy, 50, seeded(2))[0])
    assert momenta.dtype == weights.dtype == torch.float64
    empty, none = rambo(3, 0.0, 100.0, 0)
    assert empty.shape == (0, 3, 4) and none.shape == (0,)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((1, 0.0, 100.0, 5), "at least two"),
        ((3, [1.0, 2.0], 100.0, 5), "one number or 3"),
        ((2, [-1.0, 2.0], 100.0, 5), "non-negative"),
        ((2, 60.0, 100.0, 5), "exceed the sum of the .* masses, 120 GeV"),
        ((2, 0.0, math.nan, 5), "finite"),
        ((2, 0.0, math.inf, 5), "finite"),
        ((2, [0.0, math.nan], 100.0, 5), "non-negative"),
        ((2, 0.0, torch.ones(4), 5), "one number or 5"),
        ((2, 0.0, 100.0, -5), "n=-5"),
    ],
)
def test_bad_input_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        rambo(*arguments)


# -------------------------------------------------------------------------------------------------- chains


@pytest.mark.parametrize(
    ("decay", "n_final"),
    [
        (Decay(0.0, Decay(0.0, 0.0)), 3),
        (Decay(Decay(0.0, 0.0), Decay(0.0, 0.0)), 4),
        (Decay(0.0, Decay(0.0, Decay(0.0, 0.0, mass=60.0, width=20.0))), 4),
    ],
)
def test_chain_has_the_volume_of_massless_phase_space(decay, n_final):
    total = torch.tensor([[500.0, 0, 0, 0]]).double().expand(100_000, 4)
    momenta, weights = chain(total, decay, torch.Generator().manual_seed(1))
    assert momenta.shape == (100_000, n_final, 4)
    error = (weights.std() / weights.mean() / len(weights) ** 0.5).item()
    assert weights.mean().item() / massless_volume(n_final, 500.0) == pytest.approx(1, abs=4 * error)
    assert error < 0.03


def test_chain_and_rambo_agree_on_a_distribution():
    masses, n = [100.0, 50.0, 20.0], 100_000
    total = torch.tensor([[500.0, 0, 0, 0]]).double().expand(n, 4)
    pairs = []
    for momenta, weights in (
        chain(total, Decay(100.0, Decay(50.0, 20.0)), torch.Generator().manual_seed(1)),
        rambo(3, masses, 500.0, n, torch.Generator().manual_seed(2)),
    ):
        s = kinematics.mass_squared(momenta[:, 0] + momenta[:, 1]) / 500.0**2
        pairs.append([(weights * s**k).mean().item() for k in range(3)])
    assert pairs[0] == pytest.approx(pairs[1], rel=0.01)


def test_chain_keeps_masses_and_momentum_in_any_frame():
    total = torch.tensor([[400.0, 30, -20, 100]]).double().expand(1000, 4)
    w = Decay(0.0, 0.0, mass=80.4, width=2.1)
    momenta, weights = chain(total, Decay(125.2, Decay(4.8, w)), torch.Generator().manual_seed(1))
    assert torch.allclose(momenta.sum(1), total, atol=1e-9)
    masses = kinematics.mass(momenta)
    assert torch.allclose(masses, torch.tensor([125.2, 4.8, 0, 0]).double().expand(1000, 4), atol=1e-3)
    assert (weights > 0).all()
    near = ((kinematics.mass(momenta[:, 2] + momenta[:, 3]) - 80.4).abs() < 2.1).double().mean()
    assert 0.6 < near < 0.8  # 2 arctan(2) / pi = 0.70 within one width


def test_chain_without_room():
    with pytest.raises(ValueError, match="cannot decay"):
        chain(torch.tensor([[100.0, 0, 0, 0]]), Decay(80.0, 30.0))
