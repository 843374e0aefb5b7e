"""Couplings, splines and flows: the examination of every bijection, and parity with outside libraries."""

import math
from functools import partial

import pytest
import torch
from test_bijections import examine

from lhcml_tutor.bijections import AffineCoupling, Permute, SplineCoupling, rational_quadratic, spline_knots
from lhcml_tutor.flows import CouplingFlow
from lhcml_tutor.layers import BayesianLinear, fixed_weights

STAYS = torch.tensor([True, False, True])


def points(n=64, d=3, scale=2.0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(3), dtype=torch.float64) * scale


def stirred(model, size=0.5, seed=1):
    """Move all weights away from where they start, so that nothing is near the identity."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.data += size * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
    return model.double()


BIJECTIONS = {
    "affine": lambda: AffineCoupling(STAYS),
    "spline": lambda: SplineCoupling(STAYS, bins=5),
    "spline, narrow": lambda: SplineCoupling(STAYS, bins=8, bound=1.0),
    "permute": lambda: Permute([2, 0, 1]),
    "affine flow": lambda: CouplingFlow(3, kind="affine", blocks=4, hidden=(16,)),
    "spline flow": lambda: CouplingFlow(3, blocks=4, hidden=(16,)),
}


@pytest.mark.parametrize("name", BIJECTIONS)
def test_conformance(name):
    torch.manual_seed(1)
    examine(stirred(BIJECTIONS[name](), 0.3), points())


class LogDetDropped(SplineCoupling):
    def _move(self, moved, raw, inverse):
        y, log_slope = super()._move(moved, raw, inverse)
        return y, torch.zeros_like(log_slope)


class OneLayerOff(CouplingFlow):
    def inverse(self, z, condition=None):
        self.layers = self.layers[:-1]
        return super().inverse(z, condition)


class NotComplementary(AffineCoupling):
    """The network sees a feature that it moves: the determinant is no longer a product."""

    def _apply_to(self, x, condition, present, inverse):
        self.stays = torch.tensor([0, 1])
        return super()._apply_to(x, condition, present, inverse)


@pytest.mark.parametrize(
    "make",
    [lambda: LogDetDropped(STAYS, bins=5), lambda: OneLayerOff(3, blocks=4, hidden=(16,)),
     lambda: NotComplementary(STAYS)],
    ids=["log-det dropped", "inverse off by one layer", "mask not complementary"],
)  # fmt: skip
def test_a_broken_coupling_fails_the_examination(make):
    torch.manual_seed(1)
    with pytest.raises(AssertionError):
        examine(stirred(make(), 0.3), points())


def test_the_affine_coupling_is_that_of_torch_distributions():
    layer, x = stirred(AffineCoupling(STAYS, limit=2.0)), points()
    z, log_det = layer(x)
    s, t = layer.network(x[:, STAYS])[:, 0], layer.network(x[:, STAYS])[:, 1]
    transform = torch.distributions.AffineTransform(t, (2.0 * (s / 2.0).tanh()).exp())
    assert torch.allclose(z[:, 1], transform(x[:, 1]), atol=1e-12) and torch.equal(z[:, STAYS], x[:, STAYS])
    assert torch.allclose(log_det, transform.log_abs_det_jacobian(x[:, 1], z[:, 1]), atol=1e-12)


def test_the_spline_is_that_of_zuko_at_equal_knots():
    zuko = pytest.importorskip("zuko", reason="pip install zuko")
    generator = torch.Generator().manual_seed(1)
    free = [torch.randn(200, k, generator=generator, dtype=torch.float64) for k in (8, 8, 7)]
    theirs = zuko.transforms.MonotonicRQSTransform(*free, bound=3.0)
    knots_x, knots_y = theirs.horizontal.T, theirs.vertical.T  # (K + 1, n)
    slopes = theirs.derivatives.T
    x = torch.randn(200, generator=generator, dtype=torch.float64) * 2.5  # some outside
    y, log_slope = rational_quadratic(x, knots_x, knots_y, slopes)
    assert torch.allclose(y, theirs(x), atol=1e-12)
    assert torch.allclose(log_slope, theirs.log_abs_det_jacobian(x, y), atol=1e-10)
    again, log_back = rational_quadratic(y, knots_x, knots_y, slopes, inverse=True)
    assert torch.allclose(again, x, atol=1e-10) and torch.allclose(log_back, -log_slope, atol=1e-9)
    moved, _ = rational_quadratic(x, knots_x, knots_y, slopes.roll(1, 0))  # control: slopes at the wrong knots
    assert (moved - y).abs().max() > 1e-2


def test_a_spline_goes_through_its_knots_with_its_slopes_and_rises():
    raw = torch.randn(3 * 6 - 1, 50, generator=torch.Generator().manual_seed(2), dtype=torch.float64) * 3
    x, y, slopes = spline_knots(raw, bound=4.0)
    for k in range(1, 6):
        value, log_slope = rational_quadratic(x[k], x, y, slopes)
        assert torch.allclose(value, y[k], atol=1e-10) and torch.allclose(log_slope.exp(), slopes[k], rtol=1e-8)
    grid = torch.linspace(-5, 5, 2001, dtype=torch.float64)
    rows = [part[:, :1].expand(-1, 2001) for part in (x, y, slopes)]
    values, _ = rational_quadratic(grid, *rows)
    assert (values.diff() > 0).all() and values[0] == -5 and values[-1] == 5
    assert torch.equal(spline_knots(torch.zeros(17), 4.0)[0], spline_knots(torch.zeros(17), 4.0)[1])  # the identity


def test_steep_and_flat_splines_in_float32_stay_finite():
    raw = torch.randn(29, 20_000, generator=torch.Generator().manual_seed(1)) * 20
    x = torch.randn(20_000, generator=torch.Generator().manual_seed(2)) * 3
    for inverse in (False, True):
        leaf = raw.clone().requires_grad_()
        y, log_slope = rational_quadratic(x, *spline_knots(leaf, 5.0), inverse=inverse)
        (y.sum() + log_slope.sum()).backward()
        assert torch.isfinite(y).all() and torch.isfinite(log_slope).all() and torch.isfinite(leaf.grad).all()


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: spline_knots(torch.zeros(6), 1.0), "3 K - 1"),
        (lambda: rational_quadratic(torch.zeros(2), torch.zeros(3), torch.zeros(3), torch.zeros(3)), r"\(K \+ 1"),
        (lambda: AffineCoupling([True, True]), "some must move"),
        (lambda: AffineCoupling([0, 1]), "some must move"),
        (lambda: SplineCoupling([True, False], bins=1), "two bins"),
        (lambda: Permute([0, 0, 1]), "once each"),
        (lambda: AffineCoupling([True, False])(torch.zeros(3, 3)), "2 features"),
        (lambda: AffineCoupling([True, False], condition=2)(torch.zeros(3, 2)), "needs a condition"),
        (lambda: AffineCoupling([True, False])(torch.zeros(3, 2), torch.zeros(3, 1)), "takes none"),
        (lambda: CouplingFlow(3, condition=2).log_prob(torch.zeros(4, 3), torch.zeros(4, 3)), "row by row"),
        (lambda: CouplingFlow(3).log_prob(torch.full((4, 3), math.nan)), "NaN or inf"),
        (lambda: CouplingFlow(3).log_prob(torch.zeros(4)), "one row per event"),
        (lambda: CouplingFlow(1), "two features"),
        (lambda: CouplingFlow(3, kind="glow"), "spline"),
        (lambda: CouplingFlow(3, condition=2, present=torch.ones(3, 2, dtype=torch.bool)), "present"),
    ],
)  # fmt: skip
def test_bad_input_is_named(call, text):
    with pytest.raises(ValueError, match=text):
        call()


def test_a_bayesian_flow_is_one_density_for_one_set_of_weights():
    torch.manual_seed(1)
    flow = CouplingFlow(2, blocks=2, hidden=(16,), linear=partial(BayesianLinear, initial_sigma=0.1))
    x = torch.randn(50, 2)
    with fixed_weights(flow, torch.Generator().manual_seed(1)):
        first, again = flow.log_prob(x), flow.log_prob(x)
        z, _ = flow(x)
        back, _ = flow.inverse(z)
    with fixed_weights(flow, torch.Generator().manual_seed(2)):
        other = flow.log_prob(x)
    assert torch.equal(first, again) and not torch.allclose(first, other)
    assert (back - x).abs().max() < 1e-4
