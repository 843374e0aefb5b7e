"""Plots: what is drawn is what was asked for, and bad input says what is wrong with it."""

import re

import numpy as np
import pytest
import torch
from matplotlib.container import ErrorbarContainer

import lhcml_tutor as lt
from lhcml_tutor import plots


def drawn(ax):
    """Return {label: heights} of the step functions in a panel."""
    return {patch.get_label(): patch.get_data().values for patch in ax.patches if hasattr(patch, "get_data")}


# histogram ------------------------------------------------------------------------------------------------------------


def test_histogram_counts_and_errors_by_hand():
    _, (main, low) = plots.figure(ratio=True)
    data = {
        "truth": torch.tensor([0.5, 0.5, 1.5, 9.0]),
        "model": (np.array([0.5, 1.5, 1.5]), np.array([2.0, 1.0, 3.0])),
    }
    plots.histogram(data, [0, 1, 2], ax=(main, low), xlabel="x", reference="truth")
    assert drawn(main)["truth"].tolist() == [2, 1]  # 9.0 lies outside
    assert drawn(main)["model"].tolist() == [2, 4]
    bands = [path.get_paths()[0].vertices[:, 1] for path in main.collections]
    assert (bands[0].min(), bands[0].max()) == pytest.approx((1 - 1, 2 + np.sqrt(2)))
    assert (bands[1].min(), bands[1].max()) == pytest.approx((2 - 2, 4 + np.sqrt(1 + 9)))  # sqrt(sum w^2)
    (points,) = [c for c in low.containers if isinstance(c, ErrorbarContainer)]
    assert points.lines[0].get_ydata().tolist() == [1, 4]
    segments = points.lines[2][0].get_segments()  # each sample's own error over the reference's value
    assert [(top - bottom)[1] / 2 for bottom, top in segments] == pytest.approx([2 / 2, np.sqrt(10) / 1])
    band = low.collections[0].get_paths()[0].vertices[:, 1]  # the reference's relative error around 1
    assert (band.min(), band.max()) == pytest.approx((0, 2))


def test_density_counts_events_outside_the_bins():
    _, ax = plots.figure()
    plots.histogram({"x": np.array([0.5, 0.5, 1.5, 9.0])}, [0, 1, 2], ax=ax, xlabel="m [GeV]", density=True)
    assert drawn(ax)["x"].tolist() == [0.5, 0.25]
    assert ax.get_ylabel() == "density [1/GeV]"


def test_ratio_outside_the_panel_is_marked_at_its_edge():
    _, (main, low) = plots.figure(ratio=True)
    data = {"truth": np.repeat([0.5, 1.5, 2.5], [100, 100, 100]), "model": np.repeat([0.5, 1.5, 2.5], [100, 300, 10])}
    plots.histogram(data, [0, 1, 2, 3], ax=(main, low), ratio_range=(0.5, 1.5))
    marks = {line.get_marker(): line.get_xdata().tolist() for line in low.lines if line.get_marker() in "^v"}
    assert marks == {"^": [1.5], "v": [2.5]}
    assert low.get_ylim() == (0.5, 1.5)


@pytest.mark.parametrize(("shift", "half"), [(0.0, 0.022), (0.15, 0.22)])
def test_ratio_range_follows_the_precise_points(shift, half):
    _, (main, low) = plots.figure(ratio=True)
    x = np.tile(np.arange(10) + 0.5, 4000)
    weights = np.full(len(x), 1 + shift)
    plots.histogram({"truth": x, "model": (x, weights)}, np.arange(11), ax=(main, low))
    assert low.get_ylim() == pytest.approx((1 - half, 1 + half))


@pytest.mark.parametrize(
    ("bins", "xlabel", "wanted"),
    [
        (np.arange(0, 11, 2), "$p_T$ [GeV]", "events / 2 GeV"),
        ([0, 1, 5], "$p_T$ [GeV]", "events / bin"),
        ([0, 0.5, 1], "cosine", "events / 0.5"),
        ([0, 0.5, 1], "mass ratio [1]", "events / 0.5"),
    ],
)
def test_histogram_names_its_y_axis(bins, xlabel, wanted):
    _, ax = plots.figure()
    plots.histogram({"x": [0.2, 0.8]}, bins, ax=ax, xlabel=xlabel)
    assert ax.get_ylabel() == wanted


@pytest.mark.parametrize(
    ("samples", "options", "message"),
    [
        ({}, {}, "no samples"),
        ({"Z": []}, {}, "'Z' has no events"),
        ({"Z": [1.0, np.nan, np.inf]}, {}, "2 of 3 events"),
        ({"Z": ([1.0], [np.nan])}, {}, "1 of 1 events"),
        ({"Z": ([1.0, 2.0], [1.0])}, {}, "must both have the shape"),
        ({"Z": torch.ones(3, 2)}, {}, r"\(3, 2\)"),
        ({"Z": [1.0]}, {"reference": "tt"}, "'tt' is not one of the samples: Z"),
        ({"Z": [50.0]}, {}, "outside the bins"),
    ],
)
def test_histogram_refuses(samples, options, message):
    _, ax = plots.figure()
    with pytest.raises(ValueError, match=message):
        plots.histogram(samples, [0, 1, 2], ax=ax, **options)


def test_histogram_takes_tensors_with_gradient_and_log_axes():
    _, ax = plots.figure(ratio=True)
    x = torch.linspace(0.1, 2, 50, requires_grad=True)
    assert plots.histogram({"x": x, "y": x * 0.5}, [0, 1, 2], ax=ax, log=True) is ax
    assert ax[0].get_yscale() == "log"


# curves ---------------------------------------------------------------------------------------------------------------


def test_pulls_states_mean_width_and_what_lies_beyond():
    values = np.random.default_rng(1).normal(0.5, 2, 20_000)
    _, ax = plots.figure()
    plots.pulls(torch.as_tensor(values), ax)
    text = ax.get_legend().get_texts()[0].get_text()
    outside = 100 * np.mean(np.abs(values) > 5)
    assert f"mean ${values.mean():.3f}" in text and f"width ${values.std(ddof=1):.3f} \\pm 0.010" in text
    assert f"{outside:.2g}% beyond" in text
    unit = next(line for line in ax.lines if line.get_label() == "unit Gaussian")
    assert np.trapezoid(unit.get_ydata(), unit.get_xdata()) == pytest.approx(1, abs=1e-4)


def test_residuals_draws_the_quantiles_of_each_bin():
    rng = np.random.default_rng(1)
    x = np.concatenate([np.full(4000, 0.5), np.full(4000, 1.5), np.full(5, 2.5)])
    delta = np.concatenate([rng.normal(0, 1, 4000), rng.normal(3, 2, 4000), np.zeros(5)])
    _, ax = plots.figure()
    plots.residuals(x, delta, [0, 1, 2, 3], ax, xlabel="x")
    median = drawn(ax)["median"]
    assert median[0] == np.median(delta[:4000]) and median[1] == np.median(delta[4000:8000])
    assert np.isnan(median[2])  # five entries are too few
    wide, narrow = (np.concatenate([p.vertices for p in c.get_paths()])[:, 1] for c in ax.collections[:2])
    assert np.nanmax(narrow) == pytest.approx(np.quantile(delta[4000:8000], 0.84))
    assert np.nanmin(wide) == pytest.approx(min(np.quantile(delta[:4000], 0.025), np.quantile(delta[4000:8000], 0.025)))


@pytest.mark.parametrize(
    ("x", "delta", "message"),
    [
        ([1.0], [1.0, 2.0], "shape"),
        ([], [], "n > 0"),
        ([1.0, 2.0], [np.nan, 1], "1 of 2"),
        ([1.0], [1.0], "ten entries"),
    ],
)
def test_residuals_refuses(x, delta, message):
    with pytest.raises(ValueError, match=message):
        plots.residuals(x, delta, [0, 1, 2], plots.figure()[1])


def test_loss_curves_draws_what_fit_returns_and_loops_by_hand():
    steps = torch.arange(1, 1001, dtype=torch.float64)
    history = lt.training.History(
        steps=steps, loss=1 / steps, valid_steps=steps[99::100], valid_loss=1.1 / steps[99::100]
    )
    _, ax = plots.figure()
    plots.loss_curves(history, ax)
    lines = {line.get_label(): line for line in ax.lines if not line.get_label().startswith("_")}
    assert list(lines) == ["training", "validation"] and ax.get_yscale() == "log"
    assert lines["validation"].get_ydata() == pytest.approx((1.1 / steps[99::100]).numpy())
    assert lines["training"].get_ydata()[0] == pytest.approx((1 / steps[:13]).mean().item())  # running mean
    _, ax = plots.figure()
    plots.loss_curves({"Adam": [3.0, 2.0, -1.0], "SGD": history}, ax)
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["Adam", "SGD, training", "SGD, validation"]
    assert ax.get_yscale() == "linear"
    with pytest.raises(ValueError, match="no losses"):
        plots.loss_curves({"training": []}, plots.figure()[1])


def test_learning_curve_finds_the_power_law():
    x = np.array([1e3, 1e4, 1e5, 1e6])
    noise = np.exp(0.05 * np.random.default_rng(1).normal(size=(4, 5)))
    _, ax = plots.figure()
    plots.learning_curve(x, {"MLP": 3 * x[:, None] ** -0.5 * noise}, ax)
    label = ax.get_legend().get_texts()[0].get_text()
    exponent, error = (float(part) for part in re.findall(r"-?\d\.\d+", label))
    assert abs(exponent + 0.5) < 4 * error and 0 < error < 0.02
    for bad, message in (
        ([[1.0], [2.0]], "k = 4"),
        ([[1.0]] * 3 + [[-1.0]], "positive"),
        ([[1.0]] * 3 + [[np.nan]], "pos"),
    ):
        with pytest.raises(ValueError, match=message):
            plots.learning_curve(x, {"MLP": bad}, plots.figure()[1])
