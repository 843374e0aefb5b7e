"""The explorers of lecture 06 against what holds for every invertible map."""

import math

import pytest
import torch

import lhcml_tutor as lt
from lhcml_tutor.explorers import flows


@pytest.mark.parametrize("toy", flows.TOYS)
@pytest.mark.parametrize("direction", [flows.FORWARD, flows.INVERSE])
@pytest.mark.parametrize("layers", [0, 1, flows.LAYERS])
def test_the_way_back_returns_the_points(toy, direction, layers):
    result = flows.push.compute(toy=toy, layers=layers, direction=direction)
    flow, n = flows.trained_flow(flows.TOYS[toy]), len(result.start)
    y, back = result.y, torch.zeros(n)
    chosen = flow.layers[flows.LAYERS - layers :] if result.back else reversed(flow.layers[:layers])
    for layer in chosen:
        y, log_det = (layer if result.back else layer.inverse)(y)
        back = back + log_det.detach()
    torch.testing.assert_close(y.detach(), result.start, atol=2e-3, rtol=0)
    torch.testing.assert_close(back, -result.log_det, atol=1e-2, rtol=0)
    assert torch.isfinite(result.grid).all()
    if layers == 0:
        assert torch.equal(result.y, result.start) and not result.log_det.any()


@pytest.mark.parametrize("direction", [flows.FORWARD, flows.INVERSE])
def test_the_number_under_the_picture_falls_with_the_layers(direction):
    gaps = [flows.push.compute(toy="two moons", layers=k, direction=direction).gap for k in (0, flows.LAYERS)]
    assert gaps[0] > 0.2 and gaps[1] < 0.3 * gaps[0]


def test_without_layers_the_gap_is_that_of_two_gaussians():
    """Shift and scale alone: the best density that is a Gaussian in each feature."""
    truth = lt.datasets.make_toy("two_moons")
    result = flows.push.compute(toy="two moons", layers=0, direction=flows.FORWARD)
    scales = flows.trained_flow("two_moons").preprocess.std.log().sum()
    wanted = float(1 + math.log(2 * math.pi) + scales) - lt.datasets.toys.entropy(truth)[0]
    assert abs(result.gap - wanted) < 5 * result.error + 0.01


def test_points_keep_their_colour_in_both_directions():
    """The colour is the place in the Gaussian: with all layers applied it is where the point is."""
    forward = flows.push.compute(toy="ring", layers=flows.LAYERS, direction=flows.FORWARD)
    assert torch.equal(forward.place, forward.y)
    backward = flows.push.compute(toy="ring", layers=4, direction=flows.INVERSE)
    assert torch.equal(backward.place, backward.start)


def corners():
    names = list(flows.spline.controls)
    stops = [control.stops for control in flows.spline.controls.values()]
    yield flows.spline.defaults
    for pick in (0, -1):
        yield {name: values[pick] for name, values in zip(names, stops, strict=True)}
        for name, values in zip(names, stops, strict=True):
            yield {**flows.spline.defaults, name: values[pick]}


@pytest.mark.parametrize("settings", list(corners()))
def test_the_density_has_the_integral_one_and_the_curve_its_knots(settings):
    result = flows.spline.compute(**settings)
    assert abs(result.integral - 1) < 1e-3
    assert (result.z.diff() > 0).all() and (result.slope > 0).all()
    x, y, slopes = result.knots
    at = torch.searchsorted(result.x, x)
    torch.testing.assert_close(result.z[at], y, rtol=0, atol=1e-9)
    torch.testing.assert_close(result.slope[at], slopes, rtol=1e-6, atol=0)
    middle = result.x[1:-1], (result.z[2:] - result.z[:-2]) / (result.x[2:] - result.x[:-2])
    smooth = (middle[0] - x[:, None]).abs().min(0).values > 0.05
    torch.testing.assert_close(middle[1][smooth], result.slope[1:-1][smooth], rtol=0.02, atol=0.02)
    assert f"{result.integral:.4f}" in flows.spline.summary(result)


def test_equal_shares_and_slopes_of_one_are_the_identity():
    result = flows.spline.compute(height_1=0.25, height_2=0.5, width=0.5, slope_1=1.0, slope_2=1.0)
    torch.testing.assert_close(result.z, result.x, rtol=0, atol=1e-12)
    torch.testing.assert_close(result.density, result.gaussian, rtol=1e-9, atol=0)


def test_the_random_numbers_of_the_notebook_go_on():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    flows.trained_flow("grid_of_gaussians", steps=3)
    flows.push.compute(toy="ring", layers=2, direction=flows.INVERSE)
    assert torch.equal(torch.rand(3), expected)
