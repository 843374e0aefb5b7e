"""Z W -> l l j j from Pythia as partons, as particles and as a detector sees them: pairs of levels to unfold.

Recipes for physics/pythia.py. Leptons are pT [GeV], eta, phi; jets pT, eta, phi, mass, zeros where there are fewer.
"""

import numpy as np

from ..extras import require
from . import jets as jet_finder
from .detector import KINDS
from .event_records import particles, to_numpy, within
from .pythia import COMMON, MASSES, NO_MPI, Recipe
from .tagging_jets import seen_by_detector
from .z_events import padded_jets, transverse

MOST_JETS = 4
LEPTON_PT, LEPTON_ETA = 15.0, 2.5
JET_PT, JET_ETA = 25.0, 2.5


def _hard(batch, numbers):
    """Return the outgoing fermions of the decays whose number is one of `numbers`, (n,), records px, py, pz."""
    ak = require("awkward", "simulation")
    p = batch.prt
    record = ak.zip({"px": p.p.px, "py": p.p.py, "pz": p.p.pz, "E": p.p.e, "id": p.id})
    mask = (abs(p.status) == 23) & (sum(p.id == number for number in numbers) > 0)
    return record[mask][:, 0]


def _level(record, is_lepton):
    """Return the hardest l-, l+ and the jets of each event at one level, and which events have both and two jets."""
    ak = require("awkward", "simulation")
    central = record[is_lepton & within(record, LEPTON_PT, LEPTON_ETA)]
    leptons = []
    for sign in (-1, 1):
        own = central[central.charge == sign]
        leptons.append(ak.firsts(own[ak.argsort(own.px**2 + own.py**2, axis=1, ascending=False)]))
    both = ~ak.is_none(leptons[0]) & ~ak.is_none(leptons[1])
    rest = record[~(is_lepton & within(record, LEPTON_PT, LEPTON_ETA))]
    jets, _ = jet_finder.cluster(rest, radius=0.4, pt_min=JET_PT)
    jets = jets[abs(jets.eta) < JET_ETA]
    return leptons, jets, both & (ak.num(jets) >= 2)


def _or_zeros(lepton):
    """Return pT, eta, phi of leptons of which some are missing, zeros for these."""
    ak = require("awkward", "simulation")
    there = ~ak.is_none(lepton)
    filled = ak.zip({name: ak.fill_none(lepton[name], 1.0) for name in ("px", "py", "pz")})
    return transverse(filled) * to_numpy(there)[:, None]


def _pairs(batch, generator):
    """Return the events with two leptons and two jets in the detector, at all levels."""
    ak = require("awkward", "simulation")
    record, visible = particles(batch)
    stable = record[visible & within(record, 0.0, 5.0)]
    kind = abs(stable.id)
    charge = ak.where((kind == 11) | (kind == 13), -np.sign(stable.id), 0)
    stable = ak.with_field(stable, charge, "charge")
    seen = seen_by_detector(stable, generator)
    codes = [KINDS.index(name) for name in ("electron", "muon")]
    levels = {
        "particle": _level(stable, (kind == 11) | (kind == 13)),
        "detector": _level(seen, (seen.kind == codes[0]) | (seen.kind == codes[1])),
    }
    keep = levels["detector"][2]
    columns = {
        name: transverse(_hard(batch, numbers)[keep])
        for name, numbers in (
            ("parton_lepton_minus", (11, 13)), ("parton_lepton_plus", (-11, -13)),
            ("parton_quark", (1, 2, 3, 4)), ("parton_antiquark", (-1, -2, -3, -4)),
        )
    }  # fmt: skip
    for level, (leptons, jets, _) in levels.items():
        for name, lepton in zip(("minus", "plus"), leptons):
            columns[f"{level}_lepton_{name}"] = _or_zeros(lepton[keep])
        columns[f"{level}_jets"] = padded_jets(jets[keep], MOST_JETS)
        columns[f"{level}_n_jets"] = to_numpy(ak.num(jets[keep]))
    columns["particle_complete"] = to_numpy(levels["particle"][2][keep]).astype(np.int64)
    return columns


DIRECTION, JET = "GeV, 1, rad", "GeV, 1, rad, GeV"
UNITS = {
    **dict.fromkeys(("parton_lepton_minus", "parton_lepton_plus", "parton_quark", "parton_antiquark"), DIRECTION),
    **{
        f"{level}_{name}": unit
        for level in ("particle", "detector")
        for name, unit in (("lepton_minus", DIRECTION), ("lepton_plus", DIRECTION), ("jets", JET), ("n_jets", "1"))
    },
    "particle_complete": "1",
}
DECAYS = (
    "23:onMode = off", "23:onIfAny = 11 13", "23:mMin = 66.", "23:mMax = 116.", "24:onMode = off",
    *(f"24:onIfMatch = {up} {down}" for up in (2, 4) for down in (1, 3)),
)  # fmt: skip
LEVELS = (
    f"two leptons of opposite charge, pT > {LEPTON_PT:g} GeV, |eta| < {LEPTON_ETA}, and at least two jets, anti-kT "
    f"R = 0.4 over the rest, pT > {JET_PT:g} GeV, |eta| < {JET_ETA}, in the detector of physics/detector.py; the first "
    "four jets of all; particle_complete: the same holds for the particles; leptons and partons as pT, eta, phi, jets "
    "as pT, eta, phi, mass, zeros where there are fewer"
)
SMALL = tuple((name, "uint8") for name in UNITS if name.endswith(("n_jets", "complete")))
DIBOSON_RECIPES = {
    "zw_unfolding": Recipe(
        f"Z W -> l l j j at 13 TeV, showers and hadrons, no multiple interactions; {LEVELS}",
        (*COMMON, *MASSES, *NO_MPI, *DECAYS, "WeakDoubleBoson:ffbar2ZW = on"),
        _pairs, UNITS, random=True, types=SMALL,
    ),
    "w_prime_unfolding": Recipe(
        f"W' of 600 GeV -> Z W -> l l j j at 13 TeV, showers and hadrons, no multiple interactions; {LEVELS}",
        (
            *COMMON, *MASSES, *NO_MPI, *DECAYS, "NewGaugeBoson:ffbar2Wprime = on", "34:m0 = 600.",
            "34:doForceWidth = on", "34:mWidth = 20.", "34:onMode = off", "34:onIfMatch = 23 24", "Wprime:coup2WZ = 1.",
        ),
        _pairs, UNITS, random=True, types=SMALL,
    ),
}  # fmt: skip
