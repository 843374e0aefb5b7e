"""Parton densities: equal to their source, sum rules, derivatives, clear errors."""

import numpy as np
import pytest
import torch

from lhcml_tutor.physics import pdf

D = pdf.parton_densities()
COLUMN = D.column


def points(n, seed=1):
    rng = np.random.default_rng(seed)
    x = np.concatenate([10 ** rng.uniform(-6, np.log10(0.6999), n // 2), rng.uniform(1e-3, 0.6999, n - n // 2)])
    return torch.as_tensor(x), torch.as_tensor(np.exp(rng.uniform(np.log(2.0001), np.log(4999), n)))


def test_the_grid_equals_its_source():
    pytest.importorskip("pythia8mc")
    source, (x, q) = pdf.source(), points(20_000)
    true = np.array([[source(f, a, b) for f in pdf.FLAVOURS] for a, b in zip(x.tolist(), q.tolist(), strict=True)])
    deviation = np.abs(D(x, q).numpy() - true) / np.maximum(true, 1e-4)  # the floor of x f, for b at its threshold
    assert deviation.max() < 1e-3


def test_a_wrong_scale_would_be_seen():
    pytest.importorskip("pythia8mc")
    source, (x, q) = pdf.source(), points(500)
    true = np.array([[source(21, a, 1.1 * b)] for a, b in zip(x.tolist(), q.tolist(), strict=True)])
    assert np.median(np.abs(D(x, q).numpy()[:, :1] / true - 1)) > 5e-3


@pytest.mark.parametrize("q", [2.0, 5.0, 91.2, 1000.0, 5000.0])
def test_sum_rules(q):
    """Two u and one d more than antiquarks; and momentum, of which photons (below 1%) and tops are not in the grid."""
    u = torch.linspace(np.log(1e-6), np.log(0.7), 20_001, dtype=torch.float64)
    x = u.exp()
    x_f = D(x, q)
    count = {f: torch.trapezoid(x_f[:, COLUMN[f]] - x_f[:, COLUMN[-f]], u) for f in (1, 2, 3)}
    assert abs(count[2] - 2) < 0.01 and abs(count[1] - 1) < 0.005 and abs(count[3]) < 0.01
    momentum = float(torch.trapezoid(x_f.sum(1) * x, u))
    assert 0.97 < momentum < 1.001


def test_smooth_and_differentiable():
    x, _ = points(200)
    x = x[(x > 2e-6) & (x < 0.69)].requires_grad_()
    x_f = D(x, 91.2)[:, COLUMN[21]]
    (slope,) = torch.autograd.grad(x_f.sum(), x)
    step = 1e-5 * x.detach()
    numeric = (D(x.detach() + step, 91.2) - D(x.detach() - step, 91.2))[:, COLUMN[21]] / (2 * step)
    assert torch.allclose(slope, numeric, rtol=1e-3, atol=1e-6)


def test_bottom_vanishes_below_its_threshold():
    x, _ = points(100)
    assert (D(x, 4.0)[:, [COLUMN[5], COLUMN[-5]]].abs() < 1e-8).all()
    assert (D(x, 20.0)[:, COLUMN[5]] > 0).all()


@pytest.mark.parametrize(
    ("x", "q", "said"),
    [
        (0.8, 91.2, "x from 0.1 to 0.8"),
        (1e-7, 91.2, "x from 1e-07"),
        (0.1, 1.0, "Q from 1 to 1 GeV"),
        (0.1, 9000.0, "cut the"),
    ],
)
def test_nothing_is_extrapolated(x, q, said):
    with pytest.raises(ValueError, match=said):
        D(torch.tensor([0.1, x]), q)


def test_types_and_shapes():
    x = torch.tensor([0.1, 0.2])
    assert D(x, 100.0).dtype == torch.float32 and D(x, torch.tensor([10.0, 20.0])).shape == (2, 11)
    assert torch.equal(D.to("cpu")(x, 100.0), D(x, 100.0))
