"""What the amplitude takes and gives: shapes, types, devices, gradients, and what it says about bad input."""

import math

import pytest
import torch

from lhcml_tutor.kinematics import boost, mandelstam
from lhcml_tutor.physics import amplitudes
from lhcml_tutor.physics.amplitudes import qqbar_to_z_gluons, transverse_polarisations
from lhcml_tutor.physics.phase_space import rambo

MASS_Z = 91.1876
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"))]


def points(n_gluons, n, energy=500.0):
    masses = [MASS_Z] + [0.0] * n_gluons
    final, _ = rambo(n_gluons + 1, masses, energy, n, torch.Generator().manual_seed(5))
    beams = energy / 2 * torch.tensor([[1, 0, 0, 1], [1, 0, 0, -1]], dtype=torch.float64)
    return torch.cat([beams.expand(n, 2, 4), final], dim=1)


@pytest.mark.parametrize("n_gluons", [1, 2, 3])
def test_any_batch_shape(n_gluons):
    momenta = points(n_gluons, 6)
    truth = qqbar_to_z_gluons(momenta)
    assert truth.shape == (6,) and truth.dtype == torch.float64 and (truth > 0).all()
    assert torch.allclose(qqbar_to_z_gluons(momenta.reshape(2, 1, 3, -1, 4)), truth.reshape(2, 1, 3), rtol=1e-13)
    assert torch.allclose(qqbar_to_z_gluons(momenta[4]), truth[4], rtol=1e-13)
    assert qqbar_to_z_gluons(momenta[:0]).shape == (0,)
    assert torch.allclose(qqbar_to_z_gluons(momenta.flip(0)[::2]), truth.flip(0)[::2], rtol=1e-13)


def test_chunks_do_not_matter(monkeypatch):
    momenta = points(2, 50)
    vectors = transverse_polarisations(momenta[:, 3:])
    truth = qqbar_to_z_gluons(momenta)
    monkeypatch.setitem(amplitudes.CHUNK, "cpu", 7)
    assert torch.allclose(qqbar_to_z_gluons(momenta), truth, rtol=1e-13)
    assert torch.allclose(qqbar_to_z_gluons(momenta, vectors), truth, rtol=1e-13)


def test_polarisations_broadcast_over_events():
    momenta = points(2, 1).expand(4, 5, 4)
    vectors = transverse_polarisations(momenta[0, 3:])
    assert torch.allclose(qqbar_to_z_gluons(momenta, vectors), qqbar_to_z_gluons(momenta), rtol=1e-13)
    alone = qqbar_to_z_gluons(momenta[0], vectors[:, :1]) + qqbar_to_z_gluons(momenta[0], vectors[:, 1:])
    assert alone < qqbar_to_z_gluons(momenta[0])  # two of the four combinations


def test_single_precision_is_computed_in_double():
    momenta = points(2, 50)
    single = qqbar_to_z_gluons(momenta.float())
    assert single.dtype == torch.float64
    assert (single / qqbar_to_z_gluons(momenta) - 1).abs().median() < 1e-5


@pytest.mark.parametrize("device", DEVICES)
def test_result_lives_on_the_device_of_the_momenta(device):
    momenta = points(2, 50)
    there = qqbar_to_z_gluons(momenta.to(device))
    assert there.device.type == device
    assert torch.allclose(there.cpu(), qqbar_to_z_gluons(momenta), rtol=1e-9)


def test_input_is_left_as_it_was():
    momenta = points(2, 5)
    before = momenta.clone()
    qqbar_to_z_gluons(momenta)
    assert torch.equal(momenta, before)


def scattered(cosine, energy=500.0):
    """Return the momenta of q qbar -> Z g with a gluon at an angle, differentiable in its cosine."""
    E = (energy**2 - MASS_Z**2) / (2 * energy)
    zero, sine = torch.zeros_like(cosine), (1 - cosine**2).sqrt()
    gluon = E * torch.stack([torch.ones_like(cosine), sine, zero, cosine], -1)
    beams = energy / 2 * torch.tensor([[1, 0, 0, 1], [1, 0, 0, -1]], dtype=torch.float64)
    z = beams.sum(0) - gluon
    return torch.stack([beams[0].expand_as(z), beams[1].expand_as(z), z, gluon], dim=-2)


def test_gradient_along_the_angle_equals_that_of_the_closed_formula():
    cosine = torch.linspace(-0.95, 0.95, 20, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(qqbar_to_z_gluons(scattered(cosine)).sum(), cosine)
    s, t, u = mandelstam(scattered(cosine))
    (truth,) = torch.autograd.grad((32 * (t**2 + u**2 + 2 * s * MASS_Z**2) / (t * u)).sum(), cosine)
    assert torch.allclose(slope, truth, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("n_gluons", [1, 2, 3])
def test_gradient_with_respect_to_momenta_equals_finite_differences(n_gluons):
    momenta = points(n_gluons, 10).requires_grad_()
    noise = torch.randn(momenta.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    step = 1e-6 * noise * momenta[..., :1].detach()
    (gradient,) = torch.autograd.grad(qqbar_to_z_gluons(momenta).sum(), momenta)
    with torch.no_grad():
        truth = (qqbar_to_z_gluons(momenta + step) - qqbar_to_z_gluons(momenta - step)) / 2
    assert torch.allclose((gradient * step).sum((1, 2)), truth, rtol=1e-5)


def test_gradient_does_not_see_a_boost():
    momenta = points(2, 10)
    rapidity = torch.zeros(10, dtype=torch.float64, requires_grad=True)
    beta = torch.tanh(rapidity)[:, None, None] * torch.tensor([0.6, 0.0, 0.8], dtype=torch.float64)
    (slope,) = torch.autograd.grad(qqbar_to_z_gluons(boost(momenta, beta)).sum(), rapidity)
    assert (slope / qqbar_to_z_gluons(momenta)).abs().max() < 1e-8


def bad_inputs():
    good = points(2, 3)
    nan, outgoing, lost = good.clone(), good.clone(), good.clone()
    nan[1, 4, 2] = torch.nan
    outgoing[:, :2] *= -1
    lost[0, 3, 1] += 1.0
    vectors = transverse_polarisations(good[:, 3:])
    return {
        "no gluon": (good[:, :3], None, "3 \\+ n_gluons"),
        "three components": (good[..., :3], None, "quark, antiquark, Z, gluons; got \\(3, 5, 3\\)"),
        "one momentum": (good[0, 0], None, "got \\(4,\\)"),
        "a list": (good.tolist(), None, "got list"),
        "NaN": (nan, None, "NaN or infinity"),
        "infinity": (good * torch.inf, None, "NaN or infinity"),
        "incoming legs counted as outgoing": (outgoing, None, "energies must be positive"),
        "momentum lost": (lost, None, "momentum is not conserved"),
        "Z among the gluons": (good[:, [0, 1, 3, 2, 4]], None, "must be massless has a mass"),
        "MeV beside GeV": (torch.cat([good[:, :3], good[:, 3:] * 1000], 1), None, "not conserved"),
        "vectors of one gluon": (good, vectors[:, :1], "n_gluons = 2"),
        "one vector": (good, vectors[0, 0], "polarisations must be"),
        "three-vectors": (good, vectors[..., 1:], "polarisations must be"),
        "vectors of another sample": (good, vectors[:2], "fit neither one event nor all \\(3,\\)"),
    }


@pytest.mark.parametrize("case", bad_inputs())
def test_bad_input_is_named(case):
    momenta, vectors, message = bad_inputs()[case]
    with pytest.raises(ValueError, match=message):
        qqbar_to_z_gluons(momenta, vectors)


@pytest.mark.parametrize("z", [1.0, -1.0, 1 - 1e-12, -1 + 1e-12, 0.0, -0.0, 0.3, -0.3])
def test_polarisations_are_orthonormal_in_every_direction(z):
    across = math.sqrt(1 - z * z)
    k = 7.0 * torch.tensor([1.0, 0.6 * across, -0.8 * across, z], dtype=torch.float64)
    vectors = transverse_polarisations(k)
    metric = torch.diag(torch.tensor([1.0, -1, -1, -1], dtype=torch.float64))
    assert torch.allclose(vectors @ metric @ vectors.T, -torch.eye(2, dtype=torch.float64), atol=1e-10)
    assert (vectors @ metric @ k).abs().max() < 1e-10
