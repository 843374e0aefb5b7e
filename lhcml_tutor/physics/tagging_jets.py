"""Jets to tell apart, from Pythia: tops against QCD behind a detector, quarks against gluons particle by particle.

Recipes for physics/pythia.py. Constituents are pT [GeV], eta and phi relative to the jet's, hardest first, zero-padded.
"""

from dataclasses import replace
from functools import partial

import numpy as np
import torch

from ..extras import require
from . import jets as jet_finder
from .detector import ATLAS, detect
from .event_records import padded, particles, to_numpy, turn, within
from .pythia import COMMON, MASSES, NO_MPI, Recipe

MOST_CONSTITUENTS = 80
# Radiation makes some jets much harder than their parton, and these are heavy. With a start at 420 GeV they would be
# missing, and tops too easy to tell apart (trees on mass and N-subjettiness: AUC 0.981, here 0.978).
WINDOW = ("PhaseSpace:pTHatMin = 330.", "PhaseSpace:pTHatMax = 850.")
TOP_JET = {"radius": 0.8, "pt": (550.0, 650.0), "eta_max": 2.0}
PARTON_JET = {"radius": 0.4, "pt": (500.0, 550.0), "eta_max": 1.7}


def with_resolution(factor, parameters=ATLAS):
    """Return the parameters of a detector that measures worse: every resolution is `factor` times as large.

    Shapes:
        a table as `detector.ATLAS` -> the same
    Example:
        >>> with_resolution(1.5)["hadronic"]["resolution"][1]
        (3.2, 1.059, 0.07500000000000001, 0.0)
    """
    tracks = {
        kind: tuple(tuple(factor * value for value in row) for row in rows)
        for kind, rows in parameters["track_resolution"].items()
    }
    calorimeters = {
        name: {
            **parameters[name],
            "resolution": tuple((eta, *(factor * v for v in row)) for eta, *row in parameters[name]["resolution"]),
        }
        for name in ("electromagnetic", "hadronic")
    }
    return {**parameters, "track_resolution": tracks, **calorimeters}


def seen_by_detector(record, generator, parameters=ATLAS):
    """Return the candidates of an energy flow for stable particles, as records px, py, pz, E, kind, charge."""
    ak = require("awkward", "simulation")
    width = int(ak.max(ak.num(record)))
    momenta = np.stack([padded(record[name], width) for name in ("E", "px", "py", "pz")], -1)
    seen = detect(torch.from_numpy(momenta), torch.from_numpy(padded(record.id, width)), generator, parameters)
    there = seen["momenta"][..., 0] > 0
    counts, flat = there.sum(1).numpy(), seen["momenta"][there].numpy()
    fields = {name: flat[:, i] for i, name in enumerate(("E", "px", "py", "pz"))}
    fields |= {name: seen[name][there].numpy() for name in ("kind", "charge")}
    return ak.unflatten(ak.zip(fields), counts)


def hardest_jets(record, radius, pt, eta_max):
    """Return the hardest jet of each event that has it in the window, its constituents, and the rows of the events."""
    ak = require("awkward", "simulation")
    jets, indices = jet_finder.cluster(record, radius=radius, pt_min=pt[0])
    some = ak.num(jets) > 0
    jet, index = jets[some][:, 0], indices[some][:, 0]
    inside = (jet.pt < pt[1]) & (abs(jet.eta) < eta_max)
    return jet[inside], record[some][inside][index[inside]], np.flatnonzero(to_numpy(some))[to_numpy(inside)]


def columns_of(jet, constituents, names=()):
    """Return jets as columns: jet (n, 4) as pT, eta, phi, mass, constituents (n, 80, 3), and more fields of these."""
    ak = require("awkward", "simulation")
    pt = np.hypot(constituents.px, constituents.py)
    order = ak.argsort(pt, axis=1, ascending=False)
    constituents, pt = constituents[order], pt[order]
    eta = np.arcsinh(constituents.pz / pt) - jet.eta
    phi = turn(np.arctan2(constituents.py, constituents.px) - jet.phi)
    return {
        "jet": np.stack([to_numpy(values) for values in (jet.pt, jet.eta, jet.phi, jet.mass)], -1),
        "constituents": np.stack([padded(values, MOST_CONSTITUENTS) for values in (pt, eta, phi)], -1),
        **{name: padded(constituents[field], MOST_CONSTITUENTS) for name, field in names},
    }


def small(constituents):
    """Return constituents as float16, angles rounded to 1 / 2048: finer than any detector, small when compressed.

    Shapes:
        (n, particles, 3) of pT, eta, phi -> the same
    Example:
        >>> small(np.array([[[100.04, 0.1, -0.2]]]))
        array([[[100.06  ,   0.1001,  -0.2002]]], dtype=float16)
    """
    rounded = constituents.copy()
    rounded[..., 1:] = np.round(rounded[..., 1:] * 2048) / 2048
    return rounded.astype(np.float16)


def _distance(jet, p):
    """Return Delta R between jets (n,) and momenta (n, ..., 4) of (E, px, py, pz)."""
    place = [to_numpy(values).reshape(-1, *[1] * (p.ndim - 2)) for values in (jet.eta, jet.phi)]
    eta = np.arcsinh(p[..., 3] / np.hypot(p[..., 1], p[..., 2]))
    return np.hypot(eta - place[0], turn(np.arctan2(p[..., 2], p[..., 1]) - place[1]))


def hard_partons(batch, numbers):
    """Return the outgoing partons of the hard process with these numbers, one of each, (n, len(numbers), 4)."""
    p = batch.prt
    momenta = [p.p[name] for name in ("e", "px", "py", "pz")]
    found = []
    for choice in numbers:
        mask = (abs(p.status) == 23) & (sum(p.id == number for number in choice) > 0)
        found.append(np.stack([to_numpy(values[mask])[:, 0] for values in momenta], -1))
    return np.stack(found, 1)


def _top_jets(batch, generator, parameters=ATLAS):
    """Return jets with all three quarks of a top within their radius of the axis."""
    record, visible = particles(batch)
    stable = record[visible & within(record, 0.0, 5.0)]
    jet, constituents, rows = hardest_jets(seen_by_detector(stable, generator, parameters), **TOP_JET)
    quarks = hard_partons(batch, [*TOP_QUARKS, *[[-number for number in choice] for choice in TOP_QUARKS]])[rows]
    apart = _distance(jet, quarks).reshape(-1, 2, 3).max(2).min(1)  # of the farthest quark of the nearer top
    held = apart < TOP_JET["radius"]
    return columns_of(jet[held], constituents[held])


def _qcd_jets(batch, generator, parameters=ATLAS):
    record, visible = particles(batch)
    stable = record[visible & within(record, 0.0, 5.0)]
    return columns_of(*hardest_jets(seen_by_detector(stable, generator, parameters), **TOP_JET)[:2])


def _parton_jets(batch):
    """Return the hardest jet beside the Z of each event: the Z itself decays into neutrinos and is not seen."""
    record, visible = particles(batch)
    stable = record[visible & within(record, 0.0, PARTON_JET["eta_max"] + 1.0)]
    jet, constituents, _ = hardest_jets(stable, **PARTON_JET)
    return columns_of(jet, constituents, names=[("pdg_id", "id")])


TOP_QUARKS = ([5], [2, 4], [-1, -3])  # of t -> b W+ -> b u dbar; the antitop's are minus these
SMALL = (("constituents", small), ("pdg_id", "int16"))
JET_UNITS = {"jet": "GeV, 1, rad, GeV", "constituents": "GeV, 1, rad"}
DETECTOR = (
    "detector of physics/detector.py, anti-kT R = 0.8 over its candidates; the hardest jet, 550 < pT < 650 GeV, "
    "|eta| < 2"
)
SHARES = "constituents: up to 80, hardest first: pT, eta and phi relative to the jet; jet: pT, eta, phi, mass"
Z_TO_NEUTRINOS = ("23:onMode = off", "23:onIfAny = 12 14 16", "23:mMin = 66.", "23:mMax = 116.")
Z_WINDOW = ("PhaseSpace:pTHatMin = 420.", "PhaseSpace:pTHatMax = 720.")
TAGGING_RECIPES = {
    "top_jets_top": Recipe(
        f"t tbar at 13 TeV, all hadronic, pTHat 330 to 850 GeV, showers and hadrons, no multiple interactions; "
        f"{DETECTOR}, with all three quarks of a top within 0.8 of its axis; {SHARES}",
        (
            *COMMON, *MASSES, *NO_MPI, *WINDOW, "Top:gg2ttbar = on", "Top:qqbar2ttbar = on",
            "6:onMode = off", "6:onIfMatch = 24 5", "24:onMode = off", "24:onIfMatch = 1 2", "24:onIfMatch = 3 4",
        ),
        _top_jets, JET_UNITS, random=True, types=SMALL,
    ),
    "top_jets_qcd": Recipe(
        f"QCD 2 -> 2 at 13 TeV, pTHat 330 to 850 GeV, showers and hadrons, no multiple interactions; "
        f"{DETECTOR}; {SHARES}",
        (*COMMON, *MASSES, *NO_MPI, *WINDOW, "HardQCD:all = on"),
        _qcd_jets, JET_UNITS, random=True, types=SMALL,
    ),
    **{
        f"quark_gluon_jets_{flavour}": Recipe(
            f"{process} at 13 TeV, Z -> neutrinos, pTHat 420 to 720 GeV, showers and hadrons, no multiple "
            "interactions; anti-kT R = 0.4 over all visible particles, no detector; hardest jet, 500 < pT < 550 GeV, "
            f"|eta| < 1.7; {SHARES}; pdg_id of each constituent",
            (*COMMON, *MASSES, *NO_MPI, *Z_WINDOW, *Z_TO_NEUTRINOS, f"WeakBosonAndParton:{switch} = on"),
            _parton_jets, {**JET_UNITS, "pdg_id": "1"}, types=SMALL,
        )
        for flavour, process, switch in (("quark", "q g -> Z q", "qg2gmZq"), ("gluon", "q qbar -> Z g", "qqbar2gmZg"))
    },
}  # fmt: skip
WORSE = 1.5  # times every resolution of the detector
for _name, _columns in (("top", _top_jets), ("qcd", _qcd_jets)):
    _nominal = TAGGING_RECIPES[f"top_jets_{_name}"]
    TAGGING_RECIPES[f"top_jets_{_name}_coarse"] = replace(
        _nominal,
        what=_nominal.what.replace("detector.py,", f"detector.py with all resolutions {WORSE:g} times as large,"),
        columns=partial(_columns, parameters=with_resolution(WORSE)),
    )
VINCIA = ("PartonShowers:model = 2",)  # antennae instead of dipoles, its own alpha_s and tuned hadronisation
for _name in ("quark", "gluon"):
    _nominal = TAGGING_RECIPES[f"quark_gluon_jets_{_name}"]
    TAGGING_RECIPES[f"quark_gluon_jets_{_name}_vincia"] = replace(
        _nominal,
        what=_nominal.what.replace("showers and hadrons", "showers of Vincia and hadrons"),
        settings=(*_nominal.settings, *VINCIA),
    )
