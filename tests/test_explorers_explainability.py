"""The explorers of lecture 14 against samples, brute force and the package's own count of nodes."""

import math

import numpy as np
import pytest
import torch

from lhcml_tutor import explain, metrics
from lhcml_tutor.explorers import explainability

N = 100_000


def computed(explorer, **chosen):
    return explorer.compute(**explorer.values(chosen))


# principal axes -------------------------------------------------------------------------------------------------------

SETTINGS = [
    {},
    {"scale": 10.0},
    {"scale": 10.0, "standardised": "yes"},
    {"correlation": -0.7, "angle": 30, "distance": 3.0, "scale": 0.3},
    {"correlation": 0.0, "angle": 0},
]


def sample(correlation, scale, angle, distance, standardised):
    rng, radians = np.random.default_rng(1), math.radians(angle)
    x = rng.multivariate_normal([0, 0], [[1, correlation], [correlation, 1]], 2 * N)
    label = np.repeat([1, 0], N)
    x += (label[:, None] - 0.5) * distance * np.array([math.cos(radians), math.sin(radians)])
    x[:, 1] *= scale
    return (x / x.std(0) if standardised == "yes" else x), label


@pytest.mark.parametrize("chosen", SETTINGS, ids=str)
def test_variances_and_areas_are_those_of_a_sample(chosen):
    values = explainability.principal_axes.values(chosen)
    result, (x, label) = computed(explainability.principal_axes, **chosen), sample(**values)
    found = explain.principal_components(torch.from_numpy(x), standardised=False)
    assert result.share == pytest.approx(found.share.tolist(), abs=0.005)
    torch.testing.assert_close((result.axes @ found.directions.T).abs(), torch.eye(2).double(), rtol=0, atol=0.05)
    for k in range(2):
        area = metrics.auc(x @ result.axes[k].numpy(), label)
        assert result.auc[k] == pytest.approx(max(area, 1 - area), abs=0.005)
    fisher = np.linalg.solve(np.cov(x[label == 1].T), x[label == 1].mean(0) - x[label == 0].mean(0))
    assert result.auc[2] == pytest.approx(metrics.auc(x @ fisher, label), abs=0.005)
    assert result.auc[2] >= max(result.auc[:2]) - 1e-12


def test_units_change_the_axes_and_not_the_best_combination():
    usual, other = (computed(explainability.principal_axes, scale=scale) for scale in (1.0, 10.0))
    assert other.share[0] > 0.98 > 0.85 > usual.share[0] and other.auc[2] == pytest.approx(usual.auc[2])
    assert abs(other.auc[0] - usual.auc[0]) > 0.1
    one, two = (computed(explainability.principal_axes, scale=s, standardised="yes") for s in (1.0, 10.0))
    assert one.share == pytest.approx(two.share) and one.auc == pytest.approx(two.auc)


def test_the_long_axis_can_know_nothing():
    result = computed(explainability.principal_axes, correlation=0.9, angle=135, distance=0.5)
    assert result.share[0] > 0.9 and result.auc[0] == pytest.approx(0.5) and result.auc[1] > 0.8


# formulas -------------------------------------------------------------------------------------------------------------


def test_nodes_are_counted_as_in_the_package():
    sympy = pytest.importorskip("sympy", reason="needs sympy: pip install lhcml-tutor[explain]")
    x, y = explain.expressions.symbols("xy")
    terms = {"1": 1, "x": x, "y": y, "tanh": sympy.tanh(x), "xy": x * y, "x2": x**2, "y2": y**2}
    assert list(terms) == list(explainability.TERMS)
    for names in explainability.FORMULAS:
        formula = sympy.Add(*((2.5 + 0.1 * i) * terms[name] for i, name in enumerate(names)))
        assert explainability.nodes(names) == explain.complexity(formula), names
        for name in names:
            points = torch.tensor([0.3, -1.2]).double(), torch.tensor([0.7, 0.4]).double()
            value = sympy.lambdify([x, y], terms[name], "numpy")(*(v.numpy() for v in points))
            assert np.allclose(explainability.TERMS[name][0](*points), value)


def test_every_formula_is_tried_once():
    assert len(set(explainability.FORMULAS)) == 2 ** len(explainability.TERMS) - 1


def test_constants_are_those_of_least_squares_even_with_fewer_points_than_constants():
    x, y = explainability.cloud(50, 0.5, seed=1)
    columns = explainability.table(x, y)
    target = 2 * x - y**2 + torch.randn(50, generator=torch.Generator().manual_seed(2)).double()
    wanted = np.linalg.lstsq(columns.numpy(), target.numpy(), rcond=None)[0]
    np.testing.assert_allclose(explainability.fitted(columns, target), wanted, rtol=1e-8)
    few = explainability.fitted(columns[:4], target[:4])
    torch.testing.assert_close(columns[:4] @ few, target[:4])


def test_the_front_is_what_no_shorter_formula_beats():
    result = computed(explainability.formulas, noise=1.0, points=50)
    sizes, seen, _ = zip(*result.front, strict=True)
    assert list(sizes) == sorted(set(sizes)) and list(seen) == sorted(seen, reverse=True)
    for size, error in zip(sizes, seen, strict=True):
        shorter = [e for c, e in zip(result.complexity, result.seen, strict=True) if c <= size]
        assert error == pytest.approx(min(shorter), rel=0.006)


@pytest.mark.parametrize(("target", "names"), [("product", ("x", "xy")), ("saturating", ("y", "tanh"))])
def test_a_target_among_the_formulas_is_found_and_one_that_is_not_is_not(target, names):
    result = computed(explainability.formulas, target=target, noise=0.0, longest=32)
    assert result.names == names and result.chosen[1] < 1e-9 and result.chosen[2] < 1e-9
    other = computed(explainability.formulas, target="quotient", noise=0.0, longest=32, points=5000)
    assert other.chosen[2] > 0.1


def test_long_formulas_learn_the_noise():
    result = computed(explainability.formulas, noise=1.0, points=20, longest=32)
    short = computed(explainability.formulas, noise=1.0, points=20, longest=9)
    assert result.chosen[1] < short.chosen[1] and result.chosen[1] < result.noise < result.chosen[2]
    many = computed(explainability.formulas, noise=1.0, points=5000, longest=32)
    assert many.chosen[2] < 0.1 and many.chosen[1] == pytest.approx(many.noise, rel=0.05)


def test_the_limit_of_length_is_kept_and_the_title_says_the_formula():
    for longest in (1, 5, 9, 20, 32):
        result = computed(explainability.formulas, longest=longest)
        assert result.chosen[0] <= longest and result.chosen[0] == explainability.nodes(result.names)
    fig = explainability.formulas.figure(longest=9, noise=0.0)
    assert fig.axes[1].get_title() == "$1.5 x - x y$"
