"""Z + gluons and t H q from protons: densities against independent integrals, exact maps, unweighted events."""

import math

import pytest
import torch

from lhcml_tutor import kinematics
from lhcml_tutor.physics.collisions import PICOBARN
from lhcml_tutor.physics.constants import HIGGS_MASS, TOP_MASS
from lhcml_tutor.physics.drell_yan import DrellYan
from lhcml_tutor.physics.hard_processes import TopHiggsJet, ZGluons
from lhcml_tutor.physics.phase_space import rambo


def generator(seed=1):
    return torch.Generator().manual_seed(seed)


def by_rambo(process, n, low, seed=3):
    """Return the cross section and its error by another way: x_1, x_2 and flat phase space in the partonic frame."""
    g = generator(seed)
    S, least = process.energy**2, low**2
    u = torch.rand(2, n, dtype=torch.float64, generator=g)
    span = math.log(0.49 * S / least)
    tau = least / S * torch.exp(u[0] * span)
    half = -0.5 * tau.log()
    y = half * (2 * u[1] - 1)
    final, weights = rambo(len(process.masses), list(process.masses), (tau * S).sqrt(), n, g)
    x_1, x_2 = tau.sqrt() * y.exp(), tau.sqrt() * (-y).exp()
    beta = torch.tanh(y)
    velocity = torch.stack([0 * beta, 0 * beta, beta], -1)
    final = kinematics.boost(final, velocity[:, None])
    keep = process.inside(final) & (x_1 < 0.7) & (x_2 < 0.7)
    value = torch.zeros(n, dtype=torch.float64)
    zero, e = torch.zeros_like(x_1), process.energy / 2
    beams = torch.stack([torch.stack([x * e, zero, zero, sign * x * e], -1) for x, sign in ((x_1, 1), (x_2, -1))], 1)
    legs = torch.cat([beams, final], 1)[keep]
    partonic = process.partonic(legs, x_1[keep], x_2[keep]) / (36 * 2 * tau[keep] * S)
    value[keep] = partonic * weights[keep] * tau[keep] * span * 2 * half[keep] * PICOBARN
    return value.mean().item(), (value.std() / n**0.5).item()


@pytest.mark.parametrize(
    ("process", "n", "low"),
    [
        (ZGluons(1, pt_min=60), 200_000, 150.0),
        (ZGluons(2, pt_min=80, delta_r_min=1.0), 200_000, 250.0),
        (TopHiggsJet(math.pi), 400_000, TOP_MASS + HIGGS_MASS + 1e-6),
        (TopHiggsJet(math.pi, pt_min=80), 400_000, TOP_MASS + HIGGS_MASS + 1e-6),
    ],
)
def test_cross_section_equals_an_independent_integral(process, n, low):
    value, error = process.cross_section
    truth, truth_error = by_rambo(process, n, low)
    assert abs(value - truth) < 4 * math.hypot(error, truth_error)
    assert error < 0.03 * value and truth_error < 0.05 * truth


@pytest.mark.parametrize(
    ("process", "tolerance"), [(ZGluons(1), 0.01), (ZGluons(2), 0.02), (DrellYan(pt_min=20, eta_max=2.5), 0.015)]
)
def test_log_density_integrates_to_one_by_importance_sampling(process, tolerance):
    """Events from the sampler, weights one over a density that is asked for: their mean is the volume they fill."""
    momenta, weights = process.weighted(200_000, generator(5))
    inside = weights > 0
    proposal = process.density(momenta[inside]) / weights[inside]
    ratio = torch.zeros(len(momenta), dtype=torch.float64)
    ratio[inside] = process.log_density(momenta[inside]).exp() / proposal
    assert ratio.mean().item() == pytest.approx(1, abs=tolerance)
    assert 3 * (ratio.std() / len(ratio) ** 0.5).item() < tolerance


def test_sampled_events_follow_the_density():
    """mean of g / p over events of p is the integral of g: a Gaussian in y and 1 / pT^3 know theirs."""
    process = ZGluons(1, eta_max=5.0)
    momenta = process.sample(30_000, generator(6))
    pt, y = kinematics.pt(momenta[:, 1]), kinematics.rapidity(momenta)
    normal = torch.exp(-(y**2) / 2).prod(1) / (2 * math.pi)
    test = 2 * 40.0**2 / pt**3 * (pt > 40) * normal / (2 * math.pi)
    ratio = test / process.log_density(momenta).exp()
    assert ratio.mean().item() == pytest.approx(1, abs=4 * (ratio.std() / len(ratio) ** 0.5).item())
    assert (ratio.std() / len(ratio) ** 0.5).item() < 0.02


def test_a_wrong_jacobian_is_seen(monkeypatch):
    process = ZGluons(1, pt_min=60)
    truth, error = by_rambo(process, 100_000, 150.0)
    right = ZGluons.density
    monkeypatch.setattr(ZGluons, "density", lambda self, p: right(self, p) / kinematics.pt(p[:, 1]) * 100)
    wrong, wrong_error = ZGluons(1, pt_min=60).cross_section
    assert abs(wrong - truth) > 6 * math.hypot(error, wrong_error)


@pytest.mark.parametrize(
    ("process", "least"), [(ZGluons(1), 0.2), (ZGluons(2), 0.05), (DrellYan(), 0.05), (TopHiggsJet(math.pi), 5e-4)]
)
def test_unweighting_efficiency(process, least):
    assert process.efficiency > least


@pytest.mark.parametrize("process", [ZGluons(1), ZGluons(2), TopHiggsJet(0.5, pt_min=30)])
def test_events_are_physical(process):
    momenta = process.sample(200, generator(7))
    masses = kinematics.mass(momenta)
    assert torch.allclose(masses, torch.tensor(process.masses).double().expand_as(masses), atol=1e-2)
    assert kinematics.pt(momenta.sum(1)).max() < 1e-8
    assert process.inside(momenta).all() and process.log_density(momenta).isfinite().all()
    assert torch.equal(momenta, process.sample(200, generator(7)))
    rest = momenta.clone()
    rest[:, 1:] = rest[:, 1:] * 0.1  # outside the cuts, or off balance
    if process.masses[-1] == 0 and isinstance(process, ZGluons):
        assert (process.log_density(rest) == -math.inf).all()


def test_cross_section_is_a_quadratic_form_of_the_angle():
    """sigma(a) = A cos^2 a + B sin^2 a + C cos a + D: three points give the sum, a fourth must lie on it.

    The flipped sign is an order of magnitude above the Standard Model, 12.4 +- 0.3 times for the densities here.
    """
    even, odd, flipped, half = (TopHiggsJet(a).cross_section for a in (0.0, math.pi / 2, math.pi, math.pi / 3))
    c, s = math.cos(math.pi / 3), math.sin(math.pi / 3)
    through = (even[0] + flipped[0]) / 2 * c**2 + odd[0] * s**2 + (even[0] - flipped[0]) / 2 * c
    assert abs(half[0] / through - 1) < 4 * math.hypot(half[1] / half[0], flipped[1] / flipped[0])
    assert 11 < flipped[0] / even[0] < 13.5


@pytest.mark.parametrize(
    "arguments", [{"n_gluons": 0}, {"pt_min": 0.0}, {"eta_max": math.inf}, {"n_gluons": 2, "delta_r_min": 0.0}]
)
def test_cuts_that_leave_a_divergence(arguments):
    with pytest.raises(ValueError, match="diverge"):
        ZGluons(**arguments)
