"""Z + jets from Pythia in two tunes, each before and after the detector: a simulation to unfold with, and "data".

Recipes for physics/pythia.py: the substructure of the hardest jet beside a Z that recoils, as particles and as seen.
"""

import torch

from .. import kinematics
from ..extras import require
from . import jets as jet_finder
from .event_records import padded, particles, to_numpy, within
from .grooming import soft_drop
from .pythia import COMMON, MASSES, NO_MPI, Recipe
from .substructure import girth, jet_mass, multiplicity, n_subjettiness
from .tagging_jets import Z_TO_NEUTRINOS, seen_by_detector

RADIUS, JET_PT, JET_ETA, Z_PT = 0.4, 30.0, 2.0, 200.0
Z_CUT = 0.1


def jet_observables(constituents):
    """Return the observables of jets of R = 0.4 that are unfolded.

        width = sum_i z_i Delta R_i / R,    angularity = sum_i z_i (Delta R_i / R)^(1/2),    z_i = pT_i / sum pT

    tau_2 with kT axes; z_g and groomed_mass after soft drop with z_cut = 0.1, beta = 0, of jets clustered with R.

    Shapes:
        constituents (n, particles, 4) of (E, px, py, pz) [GeV], zero-padded -> dict of name -> (n,) float64
    Example:
        >>> pair = kinematics.from_pt_eta_phi_mass(torch.tensor([60.0, 40.0]), torch.tensor([0.0, 0.2]), 0.0, 0.0)
        >>> found = jet_observables(pair[None])
        >>> round(found["width"].item(), 3), round(found["z_g"].item(), 3), found["multiplicity"].item()
        (0.24, 0.4, 2.0)

    Reference: Andreassen, Komiske, Metodiev, Nachman, Thaler 2019, arXiv:1911.09107 (OmniFold's choice of them).
    """
    groomed, z_g, _ = soft_drop(constituents, z_cut=Z_CUT, radius=RADIUS)
    return {
        "pt": kinematics.pt(constituents.sum(1)),
        "mass": jet_mass(constituents),
        "multiplicity": multiplicity(constituents),
        "width": girth(constituents) / RADIUS,
        "angularity": girth(constituents, beta=0.5) / RADIUS**0.5,
        "tau_2": n_subjettiness(constituents, n_axes=2, radius=RADIUS, axes="kt")[:, 1],
        "z_g": z_g,
        "groomed_mass": kinematics.mass(groomed),
    }


def _hardest(record):
    """Return the constituents (n, particles, 4) of the hardest central jet of each event, and which events have one."""
    ak = require("awkward", "simulation")
    jets, indices = jet_finder.cluster(record, RADIUS, pt_min=JET_PT)
    central = abs(jets.eta) < JET_ETA
    jets, indices = jets[central], indices[central]
    there = to_numpy(ak.num(jets) > 0)
    members = ak.firsts(indices)[there]
    constituents = record[there][members]
    width = int(ak.max(ak.num(constituents), initial=1))
    columns = [torch.from_numpy(padded(constituents[name], width)) for name in ("E", "px", "py", "pz")]
    return torch.stack(columns, -1).double(), there


def _pairs(batch, generator):
    """Return the observables of the hardest jet at both levels, of events with a hard Z and a jet at each."""
    record, visible = particles(batch)
    z = record[record.id == 23][:, -1]  # the last copy, which decays
    hard = to_numpy(within(z, Z_PT, 20.0))
    stable = record[visible & within(record, 0.0, 5.0)][hard]
    found = {"gen": _hardest(stable), "sim": _hardest(seen_by_detector(stable, generator))}
    both = found["gen"][1] & found["sim"][1]
    columns = {}
    for level, (constituents, there) in found.items():
        table = jet_observables(constituents[torch.from_numpy(both[there])])
        columns |= {f"{level}_{name}": values.numpy() for name, values in table.items()}
    return columns


UNITS = {
    f"{level}_{name}": "GeV" if name in ("pt", "mass", "groomed_mass") else "1"
    for level in ("gen", "sim")
    for name in ("pt", "mass", "multiplicity", "width", "angularity", "tau_2", "z_g", "groomed_mass")
}
SMALL = tuple((name, "uint8") for name in UNITS if name.endswith("multiplicity"))
TUNES = {  # alpha_s(m_Z) of the final-state shower: 0.1365 and 0.111, so the jets of the second are narrower
    "monash": ("Pythia's default tune, Monash 2013", ("Tune:pp = 14",)),
    "a14": ("the tune A14 of ATLAS with NNPDF2.3, variation 2-", ("Tune:pp = 26",)),
}
Z_UNFOLDING_RECIPES = {
    f"z_jets_unfolding_{tune}": Recipe(
        f"Z + jet at 13 TeV, Z -> neutrinos, pTHat > 150 GeV, pT of the Z > {Z_PT:g} GeV, showers and hadrons of "
        f"{name}, no multiple interactions; the hardest jet, anti-kT R = {RADIUS}, pT > {JET_PT:g} GeV, "
        f"|eta| < {JET_ETA:g}, of all visible particles (gen_) and of the candidates of physics/detector.py (sim_); "
        "multiplicity: constituents; width and angularity: sum of z (Delta R / R)^beta, beta = 1 and 1/2; z_g and "
        f"groomed_mass: soft drop, z_cut = {Z_CUT}, beta = 0; tau_21 = tau_2 / width",
        (
            *COMMON, *settings, *MASSES, *NO_MPI, *Z_TO_NEUTRINOS, "WeakBosonAndParton:qqbar2gmZg = on",
            "WeakBosonAndParton:qg2gmZq = on", "PhaseSpace:pTHatMin = 150.",
        ),
        _pairs, UNITS, random=True, types=SMALL,
    )
    for tune, (name, settings) in TUNES.items()
}  # fmt: skip
