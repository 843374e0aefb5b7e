"""Explorers of lecture 04: two Gaussians and the best cut between them, and a jet that is turned and boosted.

lt.explorers.classification.two_gaussians.show()    cuts, ROC curves, and a classifier that is too sure of itself
lt.explorers.classification.jet_image.show()        constituents and image of a jet that is turned, boosted and aligned

Nothing is trained: the best classifier of two Gaussians is known by formula.
"""

import math
from functools import cache
from types import SimpleNamespace

import torch
from torch.special import ndtr, ndtri

from .. import kinematics, taggers
from ..datasets.collider import load_top_jets
from ..plots import COLOURS
from .shell import Choice, Explorer, Slider

REACH = 6.0  # half of the picture of the densities
GRID = torch.linspace(-14, 14, 4001, dtype=torch.float64)  # holds both Gaussians at every setting
SCORES = torch.linspace(-5, 5, 201, dtype=torch.float64)  # where the ROC curve is computed, in sigmas of the signal
EFFICIENCIES, HALF = ndtr(SCORES), 100  # of the signal; the place of 50%
INFINITE = torch.tensor(math.inf, dtype=torch.float64)
HIGHEST, BINS = 1e4, 20  # rejection, and bins of the output, in the pictures
CUT, RATIO = {"color": "black", "linestyle": "-"}, {"color": COLOURS[2], "linestyle": "-."}

JETS = {"top 1": (1, 0), "top 2": (1, 4), "top 3": (1, 9), "QCD 1": (0, 7), "QCD 2": (0, 13), "QCD 3": (0, 3)}
BOOSTS = {"along the jet": (1.0, 0.0, 0.0), "along the beam": (0.0, 0.0, 1.0), "across both": (0.0, 1.0, 0.0)}
SIDE, TICKS = 0.8, (-0.5, 0.0, 0.5)  # half of the side of the image of a jet


def share_in(region, mean, width):
    """Return the share of a Gaussian in a region.

        sum over the intervals of Phi((high - mean) / width) - Phi((low - mean) / width)

    Shapes:
        region: list of intervals (low (...), high (...)) -> (...)
    Example:
        >>> one = torch.ones(1, dtype=torch.float64)
        >>> share_in([(-one, one)], mean=0.0, width=1.0)
        tensor([0.6827], dtype=torch.float64)
    """
    edges = [((low - mean) / width, (high - mean) / width) for low, high in region]
    return sum(torch.where(a > 0, ndtr(-a) - ndtr(-b), ndtr(b) - ndtr(a)) for a, b in edges)  # precise in both tails


def single_cut(signal, background, efficiency):
    """Return the region x > cut that keeps a share of the signal; arguments, shapes as in `best_region`."""
    mean, width = signal
    return [(mean - width * ndtri(efficiency), INFINITE)]


def best_region(signal, background, efficiency):
    """Return the region of the largest likelihood ratio that keeps a share of the signal, both classes Gaussians.

        r(x) = p_S(x) / p_B(x) > threshold

    For equal widths it is a single cut. Otherwise log r is a parabola around x_0, and the region is |x - x_0| < h, or
    > h where the signal is wider, with x_0 = (m_S / s_S^2 - m_B / s_B^2) / (1 / s_S^2 - 1 / s_B^2).

    Shapes:
        signal, background: (mean, width), the signal not to the left; efficiency (...), float64, between 0 and 1 ->
        list of one or two intervals (low (...), high (...))
    Example:
        >>> ((low, high),) = best_region((0.0, 1.0), (0.0, 2.0), torch.full((1,), 0.5, dtype=torch.float64))
        >>> low, high
        (tensor([-0.6745], dtype=torch.float64), tensor([0.6745], dtype=torch.float64))

    Reference: Cranmer, Pavez, Louppe 2015, arXiv:1506.02169, for classifiers as estimates of this ratio.
    """
    weight_s, weight_b = signal[1] ** -2, background[1] ** -2
    if math.isclose(weight_s, weight_b, rel_tol=1e-6):
        return single_cut(signal, background, efficiency)
    middle = (signal[0] * weight_s - background[0] * weight_b) / (weight_s - weight_b)

    def around(half):
        low, high = middle - half, middle + half
        return [(low, high)] if weight_s > weight_b else [(-INFINITE, low), (high, INFINITE)]

    low, high = torch.zeros_like(efficiency), torch.full_like(efficiency, 1e3)
    for _ in range(100):
        half = (low + high) / 2
        further = (share_in(around(half), *signal) < efficiency) == (weight_s > weight_b)
        low, high = torch.where(further, half, low), torch.where(further, high, half)
    return around(half)


def area(rejections):
    """Return the area under a ROC curve from its rejections 1/eps_B at EFFICIENCIES.

        AUC = 1 - integral of eps_B d eps_S,   eps_S = Phi(z):  a sum over even steps in z, weighted by a Gaussian

    Shapes:
        rejections (201,) -> number
    Example:
        >>> round(area(1 / EFFICIENCIES), 6)  # by chance
        0.5
    """
    weight = (-0.5 * SCORES**2).exp()
    return 1 - float((weight / rejections).sum() / weight.sum())


def calibration(log_ratio, probability, share, temperature):
    """Return the output of a classifier, the true fraction of signal at that output, and the calibration error.

        output = sigmoid(log r / T),   fraction = sigmoid(log r + log(share / (1 - share))),   E|fraction - output|

    For T = 1 the output is exact for equal shares; T < 1 is too sure of itself, T > 1 not sure enough.

    Shapes:
        log_ratio (n,), probability (n,) of n places, with the sum 1 -> (n,), (n,), number
    Example:
        >>> output, fraction, error = calibration(torch.tensor([-1.0, 2.0]), torch.tensor([0.5, 0.5]), 0.5, 1.0)
        >>> torch.equal(output, fraction), error
        (True, 0.0)

    Reference: Guo, Pleiss, Sun, Weinberger 2017, arXiv:1706.04599.
    """
    output = torch.sigmoid(log_ratio / temperature)
    fraction = torch.sigmoid(log_ratio + math.log(share / (1 - share)))
    return output, fraction, float((probability * (fraction - output).abs()).sum())


def _compute_two_gaussians(distance, signal_width, background_width, cut, share, temperature):
    """Select by the cut and by the ratio at the same signal efficiency, and hold the output against the truth."""
    classes = (distance / 2, signal_width), (-distance / 2, background_width)
    regions = [[(torch.full_like(INFINITE, cut), INFINITE)]]
    efficiency = share_in(regions[0], *classes[0])
    regions.append(best_region(*classes, efficiency))
    curves = [1 / share_in(choose(*classes, EFFICIENCIES), *classes[1]) for choose in (single_cut, best_region)]
    logs = [-0.5 * ((GRID - mean) / width) ** 2 - math.log(math.sqrt(2 * math.pi) * width) for mean, width in classes]
    signal, background, log_ratio = share * logs[0].exp(), (1 - share) * logs[1].exp(), logs[0] - logs[1]
    probability = (signal + background) / (signal + background).sum()
    output, fraction, error = calibration(log_ratio, probability, share, temperature)
    often, order = torch.histogram(output, BINS, range=(0, 1), weight=probability).hist, log_ratio.argsort()
    order = order[probability[order] > 1e-4 * probability.max()]
    return SimpleNamespace(
        signal=signal, background=background, cut=cut, efficiency=float(efficiency), curves=curves,
        regions=[[(max(float(low), -REACH), min(float(high), REACH)) for low, high in one] for one in regions],
        rejections=[float(1 / share_in(region, *classes[1])) for region in regions], areas=list(map(area, curves)),
        output=output[order], fraction=fraction[order], often=often, error=error, share=share,
    )  # fmt: skip


def _draw_two_gaussians(axes, result):
    densities, roc, truth = axes
    top = 1.6 * float(torch.maximum(result.signal, result.background).max())
    for y, colour, line, name in ((result.signal, COLOURS[0], "-", "signal"),
                                  (result.background, COLOURS[1], "--", "background")):  # fmt: skip
        densities.plot(GRID, y, color=colour, linestyle=line, label=name)
        kept = result.cut <= GRID
        densities.fill_between(GRID[kept].numpy(), 0, y[kept].numpy(), color=colour, alpha=0.35, linewidth=0)
    for region, height, look, name in zip(result.regions, (0.76, 0.69), (CUT, RATIO), ("cut", "ratio")):
        for i, (low, high) in enumerate(region):
            bar = {"linewidth": 6, "solid_capstyle": "butt", "label": None if i else f"kept by {name}"}
            densities.plot([low, high], [height * top] * 2, **{**look, "linestyle": "-"}, **bar)
            for edge in {low, high} - {-REACH, REACH}:
                densities.plot([edge, edge], [0, height * top], **look, linewidth=1.6)
    densities.set(xlabel="observable $x$ [1]", ylabel=r"share $\times$ density [1]", ylim=(0, top))
    densities.set(xlim=(-REACH, REACH), xticks=range(-4, 5, 2))
    densities.legend(loc="upper center", ncols=2, fontsize=12, handlelength=1.2, columnspacing=0.8)
    for i, (look, name) in enumerate(((CUT, "cut"), (RATIO, "ratio"))):
        roc.plot(EFFICIENCIES, result.curves[i], **look, linewidth=3.2 - i, label=f"{name}, AUC {result.areas[i]:.3f}")
        at = min(result.rejections[i], HIGHEST)
        marker = {"marker": "o" if at < HIGHEST else "^", "markersize": 11 - 4 * i, "clip_on": False, "zorder": 4}
        roc.plot([result.efficiency], [at], color=look["color"], **marker)
    roc.plot(EFFICIENCIES, 1 / EFFICIENCIES, color="black", linestyle=":", linewidth=1.6, label="chance")
    roc.set(xlabel=r"signal efficiency $\epsilon_S$ [1]", ylabel=r"rejection $1/\epsilon_B$ [1]", yscale="log",
            xlim=(0, 1), ylim=(1, HIGHEST))  # fmt: skip
    roc.legend(loc="lower left" if result.curves[1][HALF] > 100 else "upper right", fontsize=12, handlelength=1.8)
    truth.plot([0, 1], [0, 1], color="black", linestyle=":", linewidth=1.6, label="calibrated")
    truth.plot(result.output, result.fraction, color=COLOURS[3], linestyle="-", label=f"error {result.error:.3f}")
    often = 0.2 * result.often / result.often.max()
    truth.stairs(often, torch.linspace(0, 1, BINS + 1), fill=True, color="0.85", zorder=0, label="how often")
    truth.set(xlabel="output of the classifier [1]", ylabel="fraction of signal [1]", xlim=(0, 1), ylim=(0, 1))
    where, anchor = ("upper left", (0, 1)) if result.share <= 0.5 else ("lower right", (1, 0.19))
    truth.legend(loc=where, bbox_to_anchor=anchor, fontsize=12, handlelength=1.4)


def _say_two_gaussians(result):
    here, half = [f"{value:.3g}" for value in result.rejections], [f"{float(y[HALF]):.3g}" for y in result.curves]
    return (
        f"cut and ratio at {100 * result.efficiency:.1f}% of the signal: rejection {here[0]} and {here[1]}; at 50%: "
        f"{half[0]} and {half[1]}; AUC {result.areas[0]:.3f} and {result.areas[1]:.3f}; "
        f"calibration error {result.error:.3f}"
    )


two_gaussians = Explorer(
    "Two Gaussians: where to cut?",
    {
        "distance": Slider(0.0, 4.0, 0.25, 1.0, "distance of the means"),
        "signal_width": Slider(0.5, 2.0, 0.1, 0.6, "width of the signal"),
        "background_width": Slider(0.5, 2.0, 0.1, 1.8, "width of the background"),
        "cut": Slider(-3.0, 3.0, 0.1, 0.0, "cut: keep x above"),
        "share": Slider(0.05, 0.95, 0.05, 0.5, "share of signal"),
        "temperature": Choice([0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 4.0], 1.0, "temperature T"),
    },
    _compute_two_gaussians,
    _draw_two_gaussians,
    summary=_say_two_gaussians,
    columns=3,
    size=(12.9, 4.6),
)


@cache
def _momenta():
    """Return the chosen jets {name: (1, particles, 4)} as seen where they fly at a right angle to the beam."""
    events = load_top_jets(n=40)
    kinds = {label: events["relative"][events["label"] == label].double() for label in (0, 1)}
    parts = {name: kinds[label][nth].unbind(-1) for name, (label, nth) in JETS.items()}
    return {name: kinematics.from_pt_eta_phi_mass(*part, 0.0)[None] for name, part in parts.items()}


def moved(momenta, angle, rapidity, direction):
    """Return momenta after a rotation around the x axis, where the jet flies, and a boost; no mass changes.

    Arguments:
        angle: in degrees, from eta to phi; rapidity: of the boost; direction: one of BOOSTS.
    Shapes:
        momenta (n, particles, 4) [GeV] -> (n, particles, 4)
    Example:
        >>> moved(torch.tensor([[[5.0, 3.0, 0.0, 4.0]]]), 90, 0.0, "along the jet").round().long()
        tensor([[[5, 3, 4, 0]]])
    """
    turn = kinematics.rotation_matrix(momenta.new_tensor([-1.0, 0.0, 0.0]), math.radians(angle))
    beta = math.tanh(rapidity) * momenta.new_tensor(BOOSTS[direction])
    return kinematics.boost(kinematics.transform(turn, momenta), beta)


def _seen(momenta, align):
    """Return pT, eta, phi of the constituents, (1, particles, 3), and the image of them, (pixels, pixels)."""
    places = torch.stack([kinematics.pt(momenta), kinematics.eta(momenta), kinematics.phi(momenta)], dim=-1)
    places = taggers.aligned(places) if align == "yes" else places
    return places, taggers.jet_image(*taggers.constituent_features(places), width=2 * SIDE)[0]


def _compute_jet_image(jet, angle, rapidity, direction, align):
    """Move a jet, and compare its mass and its image with those of the jet as it was."""
    before = _momenta()[jet]
    places, image = _seen(moved(before, angle, rapidity, direction), align)
    places_before, image_before = _seen(before, align)
    pt, place = places[0, :, :1], places[0, :, 1:]
    centre = (pt * place).sum(0) / pt.sum()
    variance, directions = torch.linalg.eigh((pt * (place - centre)).mT @ (place - centre) / pt.sum())
    axis = 2 * variance[1].sqrt() * directions[:, 1]
    shown = kinematics.from_pt_eta_phi_mass(*places.unbind(-1), 0.0).sum(1)
    return SimpleNamespace(
        jet=jet, pt=pt[:, 0], place=place, ghost=places_before[0], image=image, centre=centre, axis=axis,
        mass=float(kinematics.mass(shown)), mass_before=float(kinematics.mass(before.sum(1))),
        jet_pt=float(kinematics.pt(shown)), overlap=float(torch.minimum(image, image_before).sum()),
    )  # fmt: skip


def _draw_jet_image(axes, result):
    points, image = axes
    ghost = {"facecolor": "none", "edgecolor": "0.5", "linewidth": 1, "label": "before"}
    points.scatter(*result.ghost[:, 1:].T, s=3 * result.ghost[:, 0], **ghost)
    points.scatter(*result.place.T, s=3 * result.pt, color=COLOURS[0], alpha=0.6, linewidth=0, label="now")
    ends = torch.stack([result.centre - result.axis, result.centre + result.axis]).T
    points.plot(*ends, color=COLOURS[1], linestyle="--", label="principal axis")
    points.legend(loc="lower left", ncols=3, fontsize=11, handlelength=1.3, columnspacing=0.8)
    shade = result.image.pow(0.4).T.numpy()  # the eye sees the soft ones, too
    image.imshow(shade, origin="lower", extent=(-SIDE, SIDE) * 2, cmap="Greys", vmin=0, vmax=0.6)
    words = (f"mass {result.mass_before:.1f} GeV, now {result.mass:.1f} GeV",
             f"same pixels: {100 * result.overlap:.0f}% of $p_T$")  # fmt: skip
    frame = SIDE * torch.tensor([-1, 1, 1, -1, -1])  # of the image, with room for words above and below
    square = {"xlim": (-1.06, 1.06), "ylim": (-1.06, 1.06), "aspect": "equal"}
    for ax, text in zip(axes, words, strict=True):
        ax.set(xlabel=r"$\Delta\eta$ [1]", ylabel=r"$\Delta\phi$ [rad]", xticks=TICKS, yticks=TICKS, **square)
        ax.plot(frame, frame.roll(1), color="0.5", linestyle=":", linewidth=1.2)
        ax.text(0.04, 0.96, text, transform=ax.transAxes, va="top", fontsize=13)


def _say_jet_image(result):
    return (
        f"{result.jet}: mass {result.mass_before:.2f} GeV, now {result.mass:.2f} GeV; pT {result.jet_pt:.0f} GeV, "
        f"{100 * result.overlap:.0f}% in the same pixels, {100 * float(1 - result.image.sum()):.1f}% outside"
    )


jet_image = Explorer(
    "A jet, turned and boosted",
    {
        "jet": Choice(list(JETS), "top 1", "jet"),
        "angle": Slider(0, 180, 15, 45, "turned by degrees"),
        "rapidity": Slider(-0.6, 0.6, 0.1, 0.2, "rapidity of the boost"),
        "direction": Choice(list(BOOSTS), "along the jet", "boost"),
        "align": Choice(["no", "yes"], "no", "aligned"),
    },
    _compute_jet_image,
    _draw_jet_image,
    summary=_say_jet_image,
    columns=2,
    size=(10.0, 5.0),
)
