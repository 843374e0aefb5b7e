"""Exercise of tutorial 00, find the mistake in this sample: files of Z -> mu mu, most of them spoiled on purpose."""

import math

import torch
from scipy.stats import ks_2samp

from .. import kinematics
from ..physics.constants import MUON_MASS, Z_MASS, Z_WIDTH
from .exercises import NotYet, exercise

WORDS = ("unit", "duplicate", "cut", "none")
IN_MEV, TWICE = 0.03, 0.05  # shares of the events
HARD, CENTRAL = 20.0, 2.4  # the two cuts: least pT [GeV] and largest |eta| of both muons
BEAMS = 13_000.0  # GeV, both together
SEED = 19  # of the check's files: no good one differs from another by a chance below 0.002, so 1e-3 passes
CHANCE = 1e-6  # below which a difference is no accident


def spoil(momenta, mistake, generator, cut="pt"):
    """Return most events of a sample, 80 to 100%, with one mistake: some in MeV, some twice, or a cut.

    Arguments:
        momenta: of the mu- and the mu+ [GeV]; mistake: "unit", "duplicate", "cut" or "none".
        cut: on the softer muon's pT, "pt", or on |eta| of both muons, "eta".
    Shapes:
        momenta (n, 2, 4) -> (m, 2, 4) in random order; m says nothing about the mistake, but for the cut
    Raises:
        ValueError: another mistake.
    Example:
        >>> events = z_to_muons(1000, torch.Generator().manual_seed(1))
        >>> spoiled = spoil(events, "duplicate", torch.Generator().manual_seed(2))
        >>> len(spoiled), len(torch.unique(spoiled, dim=0))
        (922, 876)
    """
    if mistake not in WORDS:
        raise ValueError(f"there is no mistake {mistake!r}; there are: {', '.join(WORDS)}")
    n = int((0.8 + 0.2 * torch.rand((), generator=generator)) * len(momenta))
    momenta = momenta[torch.rand(len(momenta), generator=generator).argsort()[:n]].clone()
    if mistake == "unit":
        momenta[: int(IN_MEV * n)] *= 1000
    elif mistake == "duplicate":
        twice = int(TWICE * n)
        momenta[:twice] = momenta[twice : 2 * twice]
    elif mistake == "cut":
        passes = kinematics.pt(momenta) > HARD if cut == "pt" else kinematics.eta(momenta).abs() < CENTRAL
        momenta = momenta[passes.all(1)]
    return momenta[torch.rand(len(momenta), generator=generator).argsort()]


def hand_out(momenta, seed=1):
    """Return four files "A" to "D" of other events, one with each mistake and one without, and a file that is good.

    Shapes:
        momenta (n, 2, 4) of the mu- and the mu+ [GeV] -> dict of four (n / 5 or fewer, 2, 4), and (n / 5, 2, 4)
    Raises:
        ValueError: a wrong shape, or fewer than 5000 events.
    Example:
        >>> files, good = hand_out(z_to_muons(20_000, torch.Generator().manual_seed(1)))
        >>> list(files), good.shape
        (['A', 'B', 'C', 'D'], torch.Size([4000, 2, 4]))
    """
    if momenta.ndim != 3 or momenta.shape[1:] != (2, 4) or len(momenta) < 5000:
        raise ValueError(f"give at least 5000 events of two muons, (n, 2, 4), not {tuple(momenta.shape)}")
    generator = torch.Generator().manual_seed(seed)
    good, *others = momenta.chunk(5)
    order = torch.rand(4, generator=generator).argsort().tolist()
    return {name: spoil(part, WORDS[i], generator) for name, part, i in zip("ABCD", others, order)}, good


def z_to_muons(n, generator):
    """Return the muons of n toy events: a Breit-Wigner, some pT, a flat rapidity, and an isotropic decay.

    With the digits of a file, float32: single energies then agree by chance, whole events do not.

    Shapes:
        (n, 2, 4) [GeV], float64
    Example:
        >>> pair = z_to_muons(1000, torch.Generator().manual_seed(1)).sum(1)
        >>> kinematics.mass(pair).median().round()
        tensor(91., dtype=torch.float64)
    """
    u = torch.rand(6, n, dtype=torch.float64, generator=generator)
    low, high = (math.atan((m**2 - Z_MASS**2) / (Z_MASS * Z_WIDTH)) for m in (66.0, 116.0))
    mass = (Z_MASS**2 + Z_MASS * Z_WIDTH * torch.tan(low + (high - low) * u[0])).sqrt()
    cosine, phi = 2 * u[1] - 1, 2 * math.pi * u[2]
    momentum = (mass**2 / 4 - MUON_MASS**2).sqrt()
    sine = (1 - cosine**2).sqrt()
    three = momentum[:, None] * torch.stack([sine * phi.cos(), sine * phi.sin(), cosine], 1)
    rest = torch.stack([torch.cat([(mass / 2)[:, None], sign * three], 1) for sign in (1, -1)], 1)
    pt, y, azimuth = -12 * torch.log1p(-u[3]), 8 * u[4] - 4, 2 * math.pi * u[5]
    transverse_mass = (mass**2 + pt**2).sqrt()
    z = torch.stack([transverse_mass * y.cosh(), pt * azimuth.cos(), pt * azimuth.sin(), transverse_mass * y.sinh()], 1)
    return kinematics.boost(rest, kinematics.velocity(z)[:, None]).float().double()


def find_the_mistake_reference(sample, good):
    """Return "unit", "duplicate", "cut" or "none" for a sample (n, 2, 4) of muon pairs, next to a good one [GeV]."""
    if (sample[..., 0].sum(1) > BEAMS).any():
        return "unit"
    if len(torch.unique(sample.flatten(1), dim=0)) < len(sample):
        return "duplicate"
    chances = [
        ks_2samp(quantity(sample[:, i]), quantity(good[:, i])).pvalue
        for quantity in (kinematics.pt, kinematics.eta, kinematics.phi)
        for i in (0, 1)
    ]
    return "cut" if min(chances) < CHANCE else "none"


HINTS = {
    "unit": f"In {100 * IN_MEV:.0f}% of its events energies and momenta are in MeV. Means shift, medians hardly "
    "move, and a histogram ends before such numbers begin. Look at the largest: two protons bring 13,000 GeV.",
    "duplicate": f"{100 * TWICE:.0f}% of its events stand in it twice, not side by side. No histogram shows it. "
    "Compare whole rows: torch.unique(sample.flatten(1), dim=0).",
    "cut": "Events with a soft muon, or with a forward one, are missing. Hold each of pT, eta and phi of both muons "
    "against the good file, in a ratio panel, with chi^2 per bin or with scipy.stats.ks_2samp.",
    "none": "Nothing is wrong with it. Two good samples differ by chance, and whoever makes six comparisons meets a "
    "p-value below 5% in about one case out of four. Ask for something like 1e-6. And single energies agree by chance "
    "at the digits of a file: compare whole events.",
}


@exercise(reference=find_the_mistake_reference)
def find_the_mistake(answer):
    """Files of toy events, ten good ones and three with each mistake, that the student has not seen."""
    generator = torch.Generator().manual_seed(SEED)
    good = z_to_muons(4000, generator)
    cases = [(mistake, cut) for mistake in WORDS[:3] for cut in ("pt", "eta", "pt")] + [("none", "")] * 10
    for mistake, cut in cases:
        found = answer(spoil(z_to_muons(4000, generator), mistake, generator, cut), good)
        if not isinstance(found, str) or found not in WORDS:
            raise NotYet(f"return one of {', '.join(map(repr, WORDS))}, not {found!r}.")
        if found != mistake:
            raise NotYet(f"a file with the mistake {mistake!r} was called {found!r}. {HINTS[mistake]}")
    return "nine spoiled files and ten good ones told apart"


def _mistaken(**replaced):
    """Return the reference with one of its three tests replaced."""

    def find(sample, good):
        unit = replaced.get("unit", lambda s, _: bool((s[..., 0].sum(1) > BEAMS).any()))
        duplicate = replaced.get("duplicate", lambda s, _: len(torch.unique(s.flatten(1), dim=0)) < len(s))
        cut = replaced.get("cut", lambda s, g: find_the_mistake_reference(s, g) == "cut")
        for word, test in (("unit", unit), ("duplicate", duplicate), ("cut", cut)):
            if test(sample, good):
                return word
        return "none"

    return find


def _p_value(chance):
    def different(sample, good):
        values = [kinematics.pt, kinematics.eta, kinematics.phi]
        return min(ks_2samp(f(sample[:, i]), f(good[:, i])).pvalue for f in values for i in (0, 1)) < chance

    return different


MISTAKES = {
    "find_the_mistake": [
        (_mistaken(unit=lambda s, g: bool(s[..., 0].median() > 2 * g[..., 0].median())), "medians hardly move"),
        (_mistaken(duplicate=lambda s, g: bool((s[1:] == s[:-1]).flatten(1).all(1).any())), "not side by side"),
        (_mistaken(cut=lambda s, g: False), "soft muon"),
        (_mistaken(cut=_p_value(0.05)), "one case out of four"),
        (lambda s, g: True, "return one of"),
    ]
}
