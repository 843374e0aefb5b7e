"""Z -> mu mu with jets from Pythia: exclusive jets, jet counts, and a pair of simulations to unfold.

Recipes for physics/pythia.py; a shape such as (n, 3) means pT [GeV], eta, phi of one particle.
"""

import numpy as np

from ..extras import require
from . import jets as jet_finder
from .event_records import padded, particles, to_numpy, within
from .pythia import COMMON, MASSES, NO_MPI, Recipe

Z_AND_PARTON = (
    *COMMON, *MASSES, *NO_MPI, "WeakBosonAndParton:qqbar2gmZg = on", "WeakBosonAndParton:qg2gmZq = on",
    "23:onMode = off", "23:onIfAny = 13", "23:mMin = 66.", "23:mMax = 116.",
)  # fmt: skip
MOST_JETS = 3
JETS = "anti-kT R = 0.4 over all visible particles but the two muons"


def _muons_and_jets(batch, pt_min, eta_max):
    """Return the hardest mu- and mu+ of each event that has both, its jets, hardest first, and which events have."""
    ak = require("awkward", "simulation")
    record, visible = particles(batch)
    found = {}
    for number in (13, -13):
        muons = record[visible & (record.id == number)]
        found[number] = muons[ak.argsort(muons.px**2 + muons.py**2, axis=1, ascending=False)]
    both = (ak.num(found[13]) > 0) & (ak.num(found[-13]) > 0)
    record, visible = record[both], visible[both]
    minus, plus = (found[number][both][:, 0] for number in (13, -13))
    rest = record[visible & (record.row != minus.row) & (record.row != plus.row)]
    jets, _ = jet_finder.cluster(rest[within(rest, 0.0, eta_max + 0.5)], radius=0.4, pt_min=pt_min)
    return minus, plus, jets[abs(jets.eta) < eta_max], both


def transverse(p):
    """Return records px, py, pz as pT, eta, phi (..., 3)."""
    px, py, pz = (to_numpy(p[name]) for name in ("px", "py", "pz"))
    pt = np.hypot(px, py)
    return np.stack([pt, np.arcsinh(pz / pt), np.arctan2(py, px)], -1)


def padded_jets(jets, most):
    """Return the hardest jets as pT, eta, phi, mass (n, most, 4), zeros where there are fewer."""
    columns = (jets.pt, jets.eta, jets.phi, jets.mass)
    return np.stack([padded(c, most) for c in columns], -1)


def _z_jets(batch):
    ak = require("awkward", "simulation")
    minus, plus, jets, _ = _muons_and_jets(batch, 20.0, 4.5)
    number = ak.num(jets)
    keep = (number >= 1) & (number <= MOST_JETS)
    for muon in (minus, plus):
        keep = keep & within(muon, 10.0, 2.5)
    minus, plus, jets = minus[keep], plus[keep], jets[keep]
    return {
        "muon_minus": transverse(minus),
        "muon_plus": transverse(plus),
        "jets": padded_jets(jets, MOST_JETS),
        "n_jets": to_numpy(number[keep]),
    }


def _counts(batch):
    ak = require("awkward", "simulation")
    _, _, jets, _ = _muons_and_jets(batch, 20.0, 4.5)
    return {"n_jets": to_numpy(ak.num(jets))}


MOMENTUM = "GeV, 1, rad"
Z_RECIPES = {
    "z_jets": Recipe(
        f"Z/gamma* -> mu mu with a parton at 13 TeV, pTHat > 15 GeV, 66 < m < 116 GeV, showers and hadrons, no "
        f"multiple interactions; muons pT > 10 GeV, |eta| < 2.5; 1, 2 or 3 jets, {JETS}, pT > 20 GeV, |eta| < 4.5, no "
        "other such jet; muons as pT, eta, phi, jets as pT, eta, phi, mass, zeros where there are fewer",
        (*Z_AND_PARTON, "PhaseSpace:pTHatMin = 15."),
        _z_jets,
        {"muon_minus": MOMENTUM, "muon_plus": MOMENTUM, "jets": "GeV, 1, rad, GeV", "n_jets": "1"},
        types=(("n_jets", "uint8"),),
    ),
    "jet_multiplicity_hard": Recipe(
        f"Z/gamma* -> mu mu with a parton of pTHat > 100 GeV at 13 TeV, showers without hadrons or multiple "
        f"interactions; number of jets, {JETS}, pT > 20 GeV, |eta| < 4.5; one hard scale: Poisson-like",
        (*Z_AND_PARTON, "PhaseSpace:pTHatMin = 100.", "HadronLevel:all = off"),
        _counts, {"n_jets": "1"}, types=(("n_jets", "uint8"),),
    ),
    "jet_multiplicity_soft": Recipe(
        f"Z/gamma* -> mu mu at 13 TeV, 66 < m < 116 GeV, all jets from the shower, without hadrons or multiple "
        f"interactions; number of jets, {JETS}, pT > 20 GeV, |eta| < 4.5; no hard scale, all jets alike: "
        "staircase-like",
        (
            *COMMON, *MASSES, *NO_MPI, "WeakSingleBoson:ffbar2gmZ = on", "23:onMode = off", "23:onIfAny = 13",
            "PhaseSpace:mHatMin = 66.", "PhaseSpace:mHatMax = 116.", "HadronLevel:all = off",
        ),
        _counts, {"n_jets": "1"}, types=(("n_jets", "uint8"),),
    ),
}  # fmt: skip
