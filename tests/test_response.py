"""Toy clusters and transfer functions: samples agree with the stated moments and densities."""

import math

import pytest
import torch
from scipy.integrate import quad
from scipy.stats import kstest, lognorm, norm

from lhcml_tutor import kinematics
from lhcml_tutor.physics import response
from lhcml_tutor.physics.response import (
    TRANSFER,
    calibrated,
    log_prob_objects,
    log_response,
    response_mean,
    response_sigma,
    smear_objects,
    topo_clusters,
)

FEATURES = ("energy", "rapidity", "electromagnetic_fraction", "pile_up_density")


def seeded(seed=1):
    return torch.Generator().manual_seed(seed)


def one_object(mass=0.0, energy=50.0):
    p = math.sqrt(energy**2 - mass**2)
    direction = torch.tensor([0.6, -0.48, 0.64], dtype=torch.float64)
    return torch.cat([torch.tensor([energy], dtype=torch.float64), p * direction])


def test_pulls_of_the_response_have_mean_zero_and_width_one_in_every_region():
    clusters = topo_clusters(100_000, seeded())
    truth = [clusters[name] for name in FEATURES]
    pull = (clusters["measured"] / truth[0] - response_mean(*truth)) / response_sigma(*truth)
    for values in truth:
        for part in values.argsort().chunk(5):
            assert abs(pull[part].mean()) < 5 / math.sqrt(len(part))
            assert abs(pull[part].square().mean() - 1) < 10 / math.sqrt(len(part))  # skew tails at low energy
    wrong = (clusters["measured"] / truth[0] - response_mean(truth[0], 0 * truth[1], *truth[2:])) / response_sigma(
        *truth
    )
    assert abs(wrong.mean()) > 5 / math.sqrt(len(wrong)), "the control: a response that forgets rapidity"


def test_the_logarithm_of_the_response_is_gaussian():
    clusters = topo_clusters(20_000, seeded(2))
    location, s = log_response(*(clusters[name] for name in FEATURES))
    standard = ((clusters["measured"] / clusters["energy"]).log() - location) / s
    assert kstest(standard.numpy(), "norm").pvalue > 1e-3
    assert kstest(1.03 * standard.numpy(), "norm").pvalue < 1e-1 or kstest(1.1 * standard.numpy(), "norm").pvalue < 1e-6
    assert (clusters["measured"] > 0).all()


@pytest.mark.parametrize("index", range(4))
def test_response_and_resolution_depend_on_every_feature(index):
    low, high = [100.0, 0.2, 0.5, 5.0], [100.0, 0.2, 0.5, 5.0]
    low[index], high[index] = [(20.0, 200.0), (0.2, 1.5), (0.1, 0.9), (0.0, 30.0)][index]
    low[0], high[0] = (20.0, 20.0) if index == 3 else (low[0], high[0])  # pile-up counts at low energy
    for function in (response_mean, response_sigma):
        a, b = (float(function(*torch.tensor(values, dtype=torch.float64))) for values in (low, high))
        assert abs(a / b - 1) > 0.005


def test_the_response_by_hand():
    """20 GeV, middle of the gap, half electromagnetic, 10 GeV of pile-up per area."""
    cluster = torch.tensor([20.0, -1.5, 0.5, 10.0], dtype=torch.float64)
    hadrons = 0.72 + 0.045 * math.log(3)
    assert response_mean(*cluster).item() == pytest.approx((0.5 + 0.5 * hadrons) * 0.82 + 0.3 / 20)
    variance = (2 * 0.325) ** 2 / 20 + 0.02**2 + (0.15**2 + 0.12**2) / 20**2
    assert response_sigma(*cluster).item() == pytest.approx(math.sqrt(variance))


def test_the_best_calibration_has_pulls_of_width_one():
    """Pulls of the truth under the posterior have mean 0 and mean square 1, in slices of what is measured."""
    clusters = topo_clusters(5_000, seeded(3))
    mean, sigma = calibrated(clusters["measured"], *(clusters[name] for name in FEATURES[1:]))
    pull = (clusters["energy"].log() - mean) / sigma
    for part in clusters["measured"].argsort().chunk(5):
        assert abs(pull[part].mean()) < 5 / math.sqrt(len(part))
        assert abs(pull[part].square().mean() - 1) < 10 / math.sqrt(len(part))
    naive = (clusters["energy"].log() - clusters["measured"].log()) / sigma
    assert naive.square().mean() > 1.5, "the control: no calibration"


def test_the_best_calibration_of_one_soft_cluster_by_another_integral():
    """Bayes with scipy's log-normal density of the measured energy and an even prior in log E."""
    measured, others = 3.0, torch.tensor([1.4, 0.2, 20.0], dtype=torch.float64)

    def moment(power):
        def integrand(log_energy):
            location, s = log_response(torch.tensor(math.exp(log_energy), dtype=torch.float64), *others)
            energy_scale = math.exp(log_energy + float(location))
            return log_energy**power * lognorm.pdf(measured, float(s), scale=energy_scale)

        return quad(integrand, 0, math.log(1000), points=[1.0], limit=200)[0]

    total, first, second = (moment(power) for power in range(3))
    mean, sigma = (float(value[0]) for value in calibrated(torch.tensor([measured]).double(), *others[:, None]))
    assert mean == pytest.approx(first / total, rel=1e-4)
    assert sigma == pytest.approx(math.sqrt(second / total - (first / total) ** 2), rel=1e-4)


@pytest.mark.parametrize(
    ("kind", "mass"), [("jet", 0.0), ("jet", 12.0), ("electron", 0.0), ("muon", 0.106), ("photon", 0.0)]
)
def test_the_transfer_function_integrates_to_one_and_is_what_is_sampled(kind, mass):
    true = one_object(mass, energy=30.0)
    directions = torch.tensor(TRANSFER[kind]["direction"], dtype=torch.float64)
    eta, phi = kinematics.eta(true), kinematics.phi(true)
    peak = math.log(2 * math.pi * directions.prod())  # of the Gaussians in eta and phi

    def density(energy):
        energy = torch.as_tensor(energy, dtype=torch.float64)
        size = (energy**2 - mass**2).clamp(min=0).sqrt()
        seen = kinematics.from_pt_eta_phi_mass(size / torch.cosh(eta), eta, phi, mass)
        return (log_prob_objects(seen, true, kind) + peak).exp()

    end = 30.0 + 300 * TRANSFER[kind]["resolution"][1] + 60
    total = quad(lambda energy: float(density(energy)), mass + 1e-9, end, points=[25.0, 30.0, 35.0], limit=300)[0]
    assert total == pytest.approx(1, abs=1e-5)

    seen = smear_objects(true.expand(20_000, 4), kind, seeded())
    grid = torch.linspace(mass + 1e-6, end, 20_001, dtype=torch.float64)
    cumulative = torch.cumulative_trapezoid(density(grid), grid)
    uniform = cumulative[((seen[:, 0] - grid[0]) / (grid[1] - grid[0])).long().clamp(max=19_999)]
    assert kstest(uniform.numpy(), "uniform").pvalue > 1e-4
    narrower = 30 + 0.9 * (seen[:, 0] - 30)
    shifted = cumulative[((narrower - grid[0]) / (grid[1] - grid[0])).long().clamp(0, 19_999)]
    assert kstest(shifted.numpy(), "uniform").pvalue < 1e-4, "the control: 10% too narrow"

    offsets = torch.stack([kinematics.eta(seen) - eta, kinematics.delta_phi(kinematics.phi(seen), phi)])
    for offset, width in zip(offsets, directions):
        assert kstest((offset / width).numpy(), "norm").pvalue > 1e-4
    assert (kinematics.mass(seen) - mass).abs().max() < 1e-4


def test_log_prob_by_hand_and_in_directions():
    """A muon has one Gaussian, so its density is a product of three."""
    true = one_object(energy=100.0)
    seen = kinematics.from_pt_eta_phi_mass(
        torch.tensor(102.0).double() / torch.cosh(kinematics.eta(true) + 0.002),
        kinematics.eta(true) + 0.002, kinematics.phi(true) - 0.001, 0.0,
    )  # fmt: skip
    sigma = math.hypot(2.0, 0.1)
    expected = -0.5 * (4 / sigma**2 + 4 + 1) - math.log(sigma * 0.001**2) - 1.5 * math.log(2 * math.pi)
    assert log_prob_objects(seen, true, "muon").item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("energy", [10.0, 42.0, 75.0])
def test_energies_of_jets_by_hand(energy):
    """80% of N(50, sigma) and 20% of N(45, 2 sigma) GeV, without what lies below zero."""
    true, sigma = one_object(), math.sqrt(0.8**2 * 50 + 0.05**2 * 50**2 + 2**2)
    narrow, wide = norm(50, sigma), norm(45, 2 * sigma)
    expected = 0.8 * narrow.pdf(energy) + 0.2 * wide.pdf(energy)
    expected /= 0.8 * narrow.sf(0) + 0.2 * wide.sf(0)
    found = log_prob_objects(true * energy / 50, true, "jet").exp() * 2 * math.pi * 0.04**2
    assert found.item() == pytest.approx(expected, rel=1e-9)


def test_the_expected_log_prob_is_largest_for_the_true_object():
    """Gibbs: samples of a density have no larger mean log density under any other one; a jet 5% harder is another."""
    true = one_object(energy=80.0).expand(20_000, 4)
    seen = smear_objects(true, "jet", seeded())
    best = log_prob_objects(seen, true, "jet").mean()
    assert all(log_prob_objects(seen, scale * true, "jet").mean() < best - 1e-3 for scale in (0.95, 1.05))


def test_no_object_falls_below_its_mass_and_shapes_are_kept():
    heavy = one_object(mass=15.0, energy=15.5).float().expand(50, 7, 4)
    seen = smear_objects(heavy, "jet", seeded())
    assert seen.shape == heavy.shape and seen.dtype == torch.float32 and seen.isfinite().all()
    assert (seen[..., 0] >= 14.99).all() and log_prob_objects(seen.double(), heavy[0, 0].double(), "jet").shape == (
        50,
        7,
    )
    below = one_object(mass=5.0, energy=14.0)
    assert log_prob_objects(below, heavy[0, 0].double(), "jet") == -math.inf


def test_the_seam_at_phi_equal_pi():
    true = kinematics.from_pt_eta_phi_mass(torch.tensor(50.0).double(), 0.3, math.pi - 0.01, 0.0)
    seen = kinematics.from_pt_eta_phi_mass(torch.tensor(50.0).double(), 0.3, -math.pi + 0.01, 0.0)
    inside = kinematics.from_pt_eta_phi_mass(torch.tensor(50.0).double(), 0.3, math.pi - 0.03, 0.0)
    assert log_prob_objects(seen, true, "jet").item() == pytest.approx(log_prob_objects(inside, true, "jet").item())


def test_the_generator_decides():
    first, again, other = (smear_objects(one_object()[None], "jet", seeded(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)
    first, again, other = (topo_clusters(5, seeded(seed))["measured"] for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_bad_input_is_named():
    for call, message in (
        (lambda: topo_clusters(0, seeded()), "at least 1"),
        (lambda: smear_objects(one_object(), "tau", seeded()), "electron, muon, photon, jet"),
        (lambda: smear_objects(one_object() * math.nan, "jet", seeded()), "NaN or infinity"),
        (lambda: log_prob_objects(one_object() * math.nan, one_object(), "jet"), "NaN or infinity"),
        (lambda: smear_objects(torch.zeros(4), "jet", seeded()), "along the beam"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    assert set(response.TRANSFER) == {"electron", "muon", "photon", "jet"}
