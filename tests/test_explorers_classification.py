"""The explorers of lecture 04 against samples, integrals and what Lorentz transformations leave alone."""

import math

import numpy as np
import pytest
import torch
from scipy import integrate
from scipy.stats import multivariate_normal, norm

import lhcml_tutor as lt
from lhcml_tutor import datasets, kinematics, taggers
from lhcml_tutor.explorers import classification

N = 200_000  # events of each class in a sample
ALMOST_EQUAL = (1.2, 1.1)  # the second cut is so far away that nothing can be won in 64 bits
WIDTHS = [(1.0, 1.0), (0.6, 1.8), (1.9, 0.7), (0.5, 2.0), ALMOST_EQUAL]


def computed(explorer, **chosen):
    return explorer.compute(**explorer.values(chosen))


def classes(distance, widths):
    return (distance / 2, widths[0]), (-distance / 2, widths[1])


def sampled(distance, widths, seed=1):
    rng = np.random.default_rng(seed)
    return [rng.normal(mean, width, N) for mean, width in classes(distance, widths)]


def log_ratio(x, distance, widths):
    signal, background = classes(distance, widths)
    return norm.logpdf(x, *signal) - norm.logpdf(x, *background)


def inside(region, x):
    return sum((float(low) < x) & (x < float(high)) for low, high in region).astype(bool)


def corners(explorer):
    """Yield the defaults, each control at its minimum, middle and maximum, and all controls at one end."""
    yield explorer.defaults
    stops = {name: control.stops for name, control in explorer.controls.items()}
    yield from ({**explorer.defaults, name: stop} for name, values in stops.items() for stop in values)
    yield from ({name: values[end] for name, values in stops.items()} for end in (0, -1))


# two Gaussians --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("low", "high"), [(-1.0, 2.0), (-math.inf, -9.0), (8.0, 9.0), (12.0, math.inf)])
def test_the_share_is_precise_in_the_tails(low, high):
    region = [(torch.tensor(low, dtype=torch.float64), torch.tensor(high, dtype=torch.float64))]
    wanted = integrate.quad(norm(0.3, 1.1).pdf, max(low, -40), min(high, 40), epsabs=0, epsrel=1e-10)[0]
    assert float(classification.share_in(region, 0.3, 1.1)) == pytest.approx(wanted, rel=1e-8)


@pytest.mark.parametrize("widths", WIDTHS)
@pytest.mark.parametrize("distance", [0.0, 1.0, 3.5])
def test_areas_are_those_of_closed_forms(distance, widths):
    """AUC of the cut: Phi(d / sqrt(s_S^2 + s_B^2)). Of the ratio: which of two events is nearer to the middle x_0.

    |a| < |b| where a - b and a + b have different signs, and these two are a Gaussian in two dimensions.
    """
    result = computed(
        classification.two_gaussians, distance=distance, signal_width=widths[0], background_width=widths[1]
    )
    square = np.square(widths)
    assert result.areas[0] == pytest.approx(norm.cdf(distance / math.sqrt(square.sum())), abs=2e-6)
    if widths[0] == widths[1]:
        assert result.areas[1] == result.areas[0]
        return
    middle = distance / 2 * square.sum() / (square[1] - square[0])
    covariance = [[square.sum(), square[0] - square[1]], [square[0] - square[1], square.sum()]]
    both = multivariate_normal([distance, -2 * middle], covariance)  # x_S - x_B and x_S + x_B - 2 x_0
    negative = norm.cdf(0, distance, math.sqrt(square.sum())) + norm.cdf(0, -2 * middle, math.sqrt(square.sum()))
    nearer = negative - 2 * both.cdf([0, 0])
    assert result.areas[1] == pytest.approx(nearer if widths[0] < widths[1] else 1 - nearer, abs=1e-5)
    assert result.areas[1] >= result.areas[0] and (widths == ALMOST_EQUAL or result.areas[1] > result.areas[0])


@pytest.mark.parametrize("widths", WIDTHS)
def test_areas_and_rejections_are_those_of_a_sample(widths):
    signal, background = sampled(1.5, widths)
    label = np.repeat([1, 0], N)
    result = computed(classification.two_gaussians, distance=1.5, signal_width=widths[0], background_width=widths[1])
    both = np.concatenate([signal, background])
    scores = both, log_ratio(both, 1.5, widths)
    for score, area, curve in zip(scores, result.areas, result.curves, strict=True):
        assert lt.metrics.auc(score, label) == pytest.approx(area, abs=5 / math.sqrt(6 * N))
        for place in (80, classification.HALF, 120):
            efficiency = float(classification.EFFICIENCIES[place])
            passed, wanted = 1 / lt.metrics.rejection(score, label, efficiency).value, 1 / curve
            # the cut itself is known to sqrt(eps_S (1 - eps_S) / n) of the signal, times the slope of the curve
            slope = (wanted[place + 1] - wanted[place - 1]) / (
                classification.EFFICIENCIES[place + 1] - classification.EFFICIENCIES[place - 1]
            )
            error = math.hypot(slope * math.sqrt(efficiency * (1 - efficiency) / N), math.sqrt(wanted[place] / N))
            assert abs(passed - float(wanted[place])) < 5 * error + 1 / N
            assert abs(passed - float(wanted[place + 10])) > 5 * error + 1 / N or wanted[place + 10] < 20 / N
    assert float(classification.EFFICIENCIES[classification.HALF]) == pytest.approx(0.5)


@pytest.mark.parametrize("widths", WIDTHS)
@pytest.mark.parametrize("cut", [-1.0, 0.3, 1.5])
def test_the_best_region_has_one_ratio_at_its_edges_and_no_region_is_better(widths, cut):
    signal, background = classes(1.0, widths)
    efficiency = torch.tensor(norm.sf(cut, *signal), dtype=torch.float64)
    region = classification.best_region(signal, background, efficiency)
    assert float(classification.share_in(region, *signal)) == pytest.approx(float(efficiency), rel=1e-9)
    edges = [float(edge) for pair in region for edge in pair if math.isfinite(edge)]
    ratios = log_ratio(np.array(edges), 1.0, widths)
    assert len(edges) == (1 if widths[0] == widths[1] else 2) and np.ptp(ratios) < 1e-7
    x = np.random.default_rng(2).normal(0, 4, 2000)
    kept = inside(region, x)
    assert (kept == (log_ratio(x, 1.0, widths) > ratios[0])).all() and kept.any() and not kept.all()
    passed = float(classification.share_in(region, *background))
    for start in np.linspace(0, float(efficiency), 7)[1:-1]:  # other regions: an interval below, the rest above
        hole = norm.ppf(start, *signal), norm.ppf(start + 1 - float(efficiency), *signal)
        assert norm.cdf(hole[0], *background) + norm.sf(hole[1], *background) > passed
        window = norm.ppf((1 - float(efficiency)) * start / float(efficiency), *signal)
        other = norm.ppf(min(norm.cdf(window, *signal) + float(efficiency), 1.0), *signal)
        assert norm.cdf(other, *background) - norm.cdf(window, *background) > passed * (1 - 1e-9)
    single = norm.sf(cut, *background)
    assert passed <= single * (1 + 1e-9) and (widths in ((1.0, 1.0), ALMOST_EQUAL) or passed < 0.999 * single)


@pytest.mark.parametrize(("share", "temperature"), [(0.5, 1.0), (0.1, 1.0), (0.5, 0.25), (0.8, 2.0)])
def test_the_calibration_curve_is_that_of_a_sample(share, temperature):
    widths = (0.6, 1.8)
    rng = np.random.default_rng(3)
    label = rng.random(N) < share
    signal, background = sampled(1.0, widths)
    output = 1 / (1 + np.exp(-log_ratio(np.where(label, signal, background), 1.0, widths) / temperature))
    result = computed(classification.two_gaussians, share=share, temperature=temperature)
    bins = np.minimum((output * 20).astype(int), 19)
    often = np.bincount(bins, minlength=20) / N
    # the exact histogram is a sum over a grid of x, whose points fall into one bin or the next
    np.testing.assert_allclose(result.often, often, rtol=0, atol=0.006)
    fraction = np.interp(output, result.output, result.fraction)
    pulls, gaps = [], []
    for i in range(20):
        here = bins == i
        if here.sum() > 100:
            error = math.sqrt(max((fraction[here] * (1 - fraction[here])).sum(), 1))
            pulls.append((label[here].sum() - fraction[here].sum()) / error)
            gaps.append((label[here].sum() - output[here].sum()) / error)
    assert max(map(abs, pulls)) < 4.5 and len(pulls) > 5
    diagonal = share == 0.5 and temperature == 1.0
    assert (max(map(abs, gaps)) < 4.5) == diagonal  # the check can tell a curve from the diagonal
    assert result.error == pytest.approx(np.abs(fraction - output).mean(), abs=0.004)
    assert (result.error < 1e-12) == diagonal


def test_the_calibration_error_is_an_integral():
    share, temperature, widths = 0.3, 2.0, (0.6, 1.8)
    signal, background = classes(1.0, widths)

    def integrand(x):
        ratio = log_ratio(x, 1.0, widths)
        fraction = share * norm.pdf(x, *signal)
        mixture = fraction + (1 - share) * norm.pdf(x, *background)
        return abs(fraction - mixture / (1 + math.exp(-ratio / temperature)))

    wanted = integrate.quad(integrand, -14, 14, limit=500, points=[-2, -1, 0, 0.5, 1, 2])[0]
    assert computed(classification.two_gaussians, share=share, temperature=temperature).error == pytest.approx(
        wanted, abs=1e-4
    )


def test_temperature_and_share_move_the_calibration_and_not_the_roc_curve():
    usual = computed(classification.two_gaussians)
    for change in ({"temperature": 0.25}, {"temperature": 4.0}, {"share": 0.1}):
        other = computed(classification.two_gaussians, **change)
        assert all(torch.equal(one, two) for one, two in zip(usual.curves, other.curves, strict=True))
        assert usual.areas == other.areas and other.error > 0.05
    moved = computed(classification.two_gaussians, distance=1.25)
    assert not torch.equal(usual.curves[1], moved.curves[1])


def test_the_prior_that_is_undone_by_a_shift_of_the_logit():
    """At T = 1 and share 0.2 an output of 1/2 means a fraction of 0.2; overconfident outputs lie beyond the truth."""
    result = computed(classification.two_gaussians, share=0.2)
    assert np.interp(0.5, result.output, result.fraction) == pytest.approx(0.2, abs=1e-3)
    for temperature, sign in ((0.5, 1), (2.0, -1)):
        result = computed(classification.two_gaussians, temperature=temperature)
        high = (result.output > 0.6) & (result.output < 0.75)
        assert high.any() and (sign * (result.output - result.fraction)[high] > 0.02).all()


@pytest.mark.parametrize("settings", list(corners(classification.two_gaussians)))
def test_every_setting_of_the_cut_is_consistent(settings):
    result = classification.two_gaussians.compute(**settings)
    cut, best = result.curves
    assert (cut >= 1).all() and (best >= cut * (1 - 1e-9)).all() and torch.isfinite(best).all()
    assert (best.diff() <= 1e-9 * best[:-1]).all()
    assert result.rejections[1] >= result.rejections[0] * (1 - 1e-9)
    assert 0.5 - 1e-9 <= result.areas[0] <= result.areas[1] + 1e-9 <= 1 + 2e-9 and 0 <= result.error <= 1
    mixture = torch.trapezoid(result.signal + result.background, classification.GRID)
    assert float(mixture) == pytest.approx(1, abs=1e-6) and float(result.often.sum()) == pytest.approx(1)
    assert f"calibration error {result.error:.3f}" in classification.two_gaussians.summary(result)


# jets -----------------------------------------------------------------------------------------------------------------


def test_the_jets_are_what_their_names_say():
    events = datasets.load_top_jets(n=40)
    masses, stored = kinematics.mass(events["constituents"].double().sum(1)), events["jet"][:, 3]
    for name in classification.JETS:
        mass = computed(classification.jet_image, jet=name).mass_before
        nearest = (masses - mass).abs().argmin()
        assert mass == pytest.approx(float(masses[nearest]), rel=1e-4)  # their frame flies along the beam
        assert events["label"][nearest] == name.startswith("top")
        assert 0.95 < mass / float(stored[nearest]) < 1.02  # constituents beyond the 80 hardest are missing
        assert not name.startswith("top") or 150 < mass < 190


@pytest.mark.parametrize("name", classification.JETS)
def test_no_rotation_and_no_boost_changes_the_mass_but_turning_the_picture_does(name):
    for direction in classification.BOOSTS:
        for angle, rapidity in ((45, 0.6), (105, -0.6), (180, 0.0)):
            result = computed(classification.jet_image, jet=name, angle=angle, rapidity=rapidity, direction=direction)
            assert result.mass == pytest.approx(result.mass_before, rel=1e-8)
            assert float(result.image.sum()) <= 1 + 1e-9
    still = computed(classification.jet_image, jet=name, angle=0, rapidity=0.0)
    assert still.overlap == pytest.approx(1) and torch.allclose(still.place, still.ghost[:, 1:])
    turned = taggers.rotated(still.ghost[None], torch.tensor([math.pi / 2], dtype=torch.float64))
    mass = float(kinematics.mass(kinematics.from_pt_eta_phi_mass(*turned.unbind(-1), 0.0).sum(1)))
    assert abs(mass / still.mass_before - 1) > 1e-6  # the check can tell
    harder = still.ghost[None] * torch.tensor([1.2, 1.0, 1.0], dtype=torch.float64)  # a boost of the pT alone
    mass = float(kinematics.mass(kinematics.from_pt_eta_phi_mass(*harder.unbind(-1), 0.0).sum(1)))
    assert mass == pytest.approx(1.2 * still.mass_before)


@pytest.mark.parametrize("angle", [30, 90, 135])
def test_the_picture_turns_by_the_angle_and_the_axis_with_it(angle):
    start = computed(classification.jet_image, angle=0, rapidity=0.0)
    result = computed(classification.jet_image, angle=angle, rapidity=0.0)
    turned = taggers.rotated(start.ghost[None], torch.tensor([math.radians(angle)], dtype=torch.float64))[0]
    hard = start.pt > 10
    torch.testing.assert_close(result.place[hard], turned[hard, 1:], rtol=0, atol=0.02)
    assert (result.place[hard] - start.place[hard]).norm(dim=1).max() > 0.1
    between = [math.degrees(math.atan2(*r.axis.flip(0).tolist())) for r in (result, start)]
    assert abs((between[0] - between[1] - angle + 90) % 180 - 90) < 5
    assert result.overlap < 0.3


def test_a_boost_along_the_jet_makes_it_narrow_and_one_along_the_beam_shifts_it():
    start = computed(classification.jet_image, angle=0, rapidity=0.0)
    for rapidity in (-0.5, 0.5):
        result = computed(classification.jet_image, angle=0, rapidity=rapidity)
        assert float(result.axis.norm() / start.axis.norm()) == pytest.approx(math.exp(-rapidity), rel=0.1)
        assert result.jet_pt == pytest.approx(start.jet_pt * math.exp(rapidity), rel=0.1)
        result = computed(classification.jet_image, angle=0, rapidity=rapidity, direction="along the beam")
        there = start.pt > 0
        shift = torch.tensor([rapidity, 0.0], dtype=torch.float64).expand_as(start.place[there])
        torch.testing.assert_close(result.place[there] - start.place[there], shift)
        assert result.jet_pt == pytest.approx(start.jet_pt)


@pytest.mark.parametrize("name", classification.JETS)
def test_alignment_undoes_a_shift_and_most_of_a_rotation(name):
    shifted = {"jet": name, "angle": 0, "rapidity": 0.5, "direction": "along the beam"}
    assert computed(classification.jet_image, **shifted).overlap < 0.1
    assert computed(classification.jet_image, **shifted, align="yes").overlap > 0.98
    turned = {"jet": name, "angle": 90, "rapidity": 0.0}
    plain, better = (computed(classification.jet_image, **turned, align=a) for a in ("no", "yes"))
    assert better.overlap > plain.overlap and abs(float(better.axis[1])) < 1e-6 < abs(float(better.axis[0]))
    assert better.mass != pytest.approx(
        better.mass_before, rel=1e-6
    )  # turning the picture is no Lorentz transformation


@pytest.mark.parametrize("settings", list(corners(classification.jet_image)))
def test_every_setting_of_the_jet_is_consistent(settings):
    result = classification.jet_image.compute(**settings)
    assert 0 <= result.overlap <= 1 + 1e-9 and torch.isfinite(result.place).all()
    assert result.image.shape == (32, 32) and float(result.image.sum()) > 0.5
    assert f"{result.mass_before:.2f} GeV" in classification.jet_image.summary(result)


@pytest.mark.parametrize("explorer", [classification.two_gaussians, classification.jet_image])
def test_figures_have_labels_with_units(explorer, tmp_path, monkeypatch):
    monkeypatch.setenv("LHCML_FIGURES", str(tmp_path))
    lt.show(explorer.figure(), "The explorer as it starts, for those who cannot see it")
    assert len(list(tmp_path.glob("*.png"))) == 1
