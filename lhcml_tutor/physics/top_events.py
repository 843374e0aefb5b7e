"""Top pairs with jets from Pythia: six partons of the decays, and what was radiated before, clustered into jets.

A recipe for physics/pythia.py.
"""

from ..extras import require
from . import jets as jet_finder
from .event_records import to_numpy
from .pythia import COMMON, MASSES, NO_MPI, Recipe
from .tagging_jets import TOP_QUARKS, hard_partons
from .z_events import padded_jets

MOST_JETS = 2
NAMES = ("b", "w_plus_quark", "w_plus_antiquark", "bbar", "w_minus_antiquark", "w_minus_quark")


def _ttbar_jets(batch):
    """Return the partons of both tops and the jets of all other partons, of events with at most two jets."""
    ak = require("awkward", "simulation")
    p = batch.prt
    record = ak.zip({"px": p.p.px, "py": p.p.py, "pz": p.p.pz, "E": p.p.e})
    radiated = record[(p.status > 0) & (p.status != 23) & (p.status != 63)]  # neither the decays nor the remnants
    jets, _ = jet_finder.cluster(radiated, radius=0.4, pt_min=30.0)
    jets = jets[abs(jets.eta) < 4.5]
    keep = to_numpy(ak.num(jets) <= MOST_JETS)
    quarks = hard_partons(batch, [*TOP_QUARKS, *[[-number for number in choice] for choice in TOP_QUARKS]])[keep]
    return {
        **{name: quarks[:, i] for i, name in enumerate(NAMES)},
        "jets": padded_jets(jets[keep], MOST_JETS),
        "n_jets": to_numpy(ak.num(jets[keep])),
    }


TOP_RECIPES = {
    "ttbar_jets": Recipe(
        "t tbar -> b q qbar' bbar q qbar' at 13 TeV with initial- and final-state radiation of the production, none of "
        "the decays, no multiple interactions, no hadrons; 0, 1 or 2 jets, anti-kT R = 0.4 of all partons but these "
        "six, pT > 30 GeV, |eta| < 4.5, no other such jet; jets as pT, eta, phi, mass, zeros where there are fewer",
        (
            *COMMON, *MASSES, *NO_MPI, "PartonLevel:FSRinResonances = off", "HadronLevel:all = off",
            "Top:gg2ttbar = on", "Top:qqbar2ttbar = on", "6:onMode = off", "6:onIfMatch = 24 5", "24:onMode = off",
            "24:onIfMatch = 1 2", "24:onIfMatch = 3 4",
        ),
        _ttbar_jets,
        {**dict.fromkeys(NAMES, "GeV"), "jets": "GeV, 1, rad, GeV", "n_jets": "1"},
        types=(("n_jets", "uint8"),),
    ),
}  # fmt: skip
