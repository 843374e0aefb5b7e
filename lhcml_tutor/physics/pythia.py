"""Events from Pythia 8: one table of settings per sample, batches as arrays, never a loop over particles.

    columns = make_first_events("z_mumu", n=1000, seed=1)       # name -> array (1000, ...), GeV

Needs the extra `simulation`. The same seed gives the same events, and more events begin with the fewer.
"""

import importlib.metadata
from dataclasses import dataclass

import numpy as np
import torch

from ..extras import require
from . import jets as jet_finder
from .constants import TOP_MASS, TOP_WIDTH, W_MASS, W_WIDTH, Z_MASS, Z_WIDTH
from .detector import CHARGES
from .event_records import four_momenta, particles, to_numpy, within

SHARD = 5000  # generated events per seed; a sample is a row of shards
BATCH = 250  # events in memory at once; does not change what is generated
SEEDS = 1000  # shards that one seed may have

COMMON = ("Beams:idA = 2212", "Beams:idB = 2212", "Beams:eCM = 13000.", "Print:quiet = on", "Next:numberCount = 0")
NO_MPI = ("PartonLevel:MPI = off",)  # four to ten times faster; soft activity is then too low
PARTONS_ONLY = (
    *("PartonLevel:ISR = off", "PartonLevel:FSR = off", "PartonLevel:MPI = off", "PartonLevel:Remnants = off"),
    *("HadronLevel:all = off", "Check:event = off"),  # PartonLevel:all = off would empty the record
)
# Pythia would work out the widths itself without doForceWidth; for the Z it does so
# all the same (8.317: 2.5042 GeV, whatever is set), which is 0.3% more.
PDG = {"Z": (23, Z_MASS, Z_WIDTH), "W": (24, W_MASS, W_WIDTH), "top": (6, TOP_MASS, TOP_WIDTH)}  # id, mass, width
MASSES = (
    *(f"{number}:m0 = {mass}" for number, mass, _ in PDG.values()),
    *(f"{number}:doForceWidth = on" for number in (24, 6)),
    *(f"{number}:mWidth = {width}" for number, _, width in PDG.values() if number != 23),
)


@dataclass(frozen=True)
class Recipe:
    """How one sample is made: Pythia's settings, and the function that turns a batch into columns."""

    what: str
    settings: tuple
    columns: object
    units: dict
    random: bool = False  # columns(batch, generator) draws random numbers of its own, for a detector
    types: tuple = ()  # (column, type or function that makes it small); otherwise float32 and int64


def make_first_events(which: str, n: int, seed: int = 1) -> dict:
    """Return n events of one of the first samples as columns.

    Arguments:
        which: "z_mumu" (Z/gamma* -> mu mu with showers), "ttbar" (six partons) or "jets" (two hard jets), at 13 TeV.
        seed: 1 to 899,000.
    Returns:
        dict of name -> float64 or integer array (n, ...); momenta are (E, px, py, pz); RECIPES[which].units.
    Raises:
        MissingExtra: Pythia is not installed: pip install "lhcml-tutor[simulation]".
        ValueError: an unknown sample, n < 1, or a seed out of range.
    Example:
        >>> make_first_events("higgs", n=10)
        Traceback (most recent call last):
        ValueError: there is no recipe 'higgs'; the recipes are: z_mumu, ttbar, jets
    """
    if which not in RECIPES:
        raise ValueError(f"there is no recipe {which!r}; the recipes are: {', '.join(RECIPES)}")
    if not (isinstance(n, int) and n >= 1):
        raise ValueError(f"n = {n!r} events; n must be an integer of at least 1")
    return _collect(RECIPES[which], n, seed)


def make_tries(recipe: "Recipe", tries: int, seed: int) -> dict:
    """Return those of `tries` generated events that pass, as columns, from Pythia's own seed: one shard of a sample.

    Shapes:
        (n, ...) each, n from 0 to tries
    Raises:
        MissingExtra: Pythia is not installed. ValueError: a setting that Pythia does not take.
    Example:
        >>> make_tries(Recipe("nothing", ("No:such = setting",), None, {}), 10, seed=1001)
        Traceback (most recent call last):
        ValueError: Pythia does not take the setting 'No:such = setting'
    """
    parts = list(_batches(recipe, tries, seed))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def make_display(n: int, seed: int = 1) -> dict:
    """Return every particle of the first n events of the sample "jets", one row per particle, to draw events.

    Returns:
        event (m,): row of the event in the sample "jets"; momentum (m, 4) [GeV]; pdg_id (m,); jet (m,): 0 for the
        hardest jet, 1 for the next above 30 GeV, -1 outside all of them.
    Example:
        >>> make_display(n=0)
        Traceback (most recent call last):
        ValueError: n = 0 events; n must be an integer of at least 1
    """
    if not (isinstance(n, int) and n >= 1):
        raise ValueError(f"n = {n!r} events; n must be an integer of at least 1")
    rows = _collect(Recipe("particles", RECIPES["jets"].settings, _particles_of_dijets, {}), n, seed)["particles"]
    columns = {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}
    return {"event": np.repeat(np.arange(n), [len(row["jet"]) for row in rows]), **columns}


def version() -> str:
    """Return the version of the installed Pythia package.

    Example:
        >>> version().startswith("8.")
        True
    """
    return importlib.metadata.version(require("pythia8mc", "simulation").__name__)


def start(settings, seed):
    """Return a Pythia that is ready to make events.

    Raises:
        MissingExtra: pythia8mc is not installed. ValueError: a setting that Pythia does not know, or it cannot start.
    Example:
        >>> start(["No:such = setting"], seed=1)
        Traceback (most recent call last):
        ValueError: Pythia does not take the setting 'No:such = setting'
    """
    pythia = require("pythia8mc", "simulation").Pythia("", False)
    for line in (*settings, "Random:setSeed = on", f"Random:seed = {seed}"):
        if not pythia.readString(line, False):
            raise ValueError(f"Pythia does not take the setting {line!r}")
    if not pythia.init():
        raise ValueError(f"Pythia cannot start with the settings {settings}")
    return pythia


def _collect(recipe, n, seed):
    if not (isinstance(seed, int) and 1 <= seed <= 900_000_000 // SEEDS - 1000):
        raise ValueError(f"seed = {seed!r}; it must be an integer from 1 to {900_000_000 // SEEDS - 1000}")
    parts, found = [], 0
    for shard in range(SEEDS):
        for part in _batches(recipe, SHARD, seed * SEEDS + shard):
            parts.append(part)
            found += len(next(iter(part.values())))
            if found >= n:
                return {name: np.concatenate([part[name] for part in parts])[:n] for name in part}
    raise ValueError(f"only {found} of {n} events after {SEEDS * SHARD} tries; take another seed for the rest")


def _batches(recipe, tries, seed):
    pythia = start(recipe.settings, seed)
    random = (torch.Generator().manual_seed(seed),) if recipe.random else ()
    for begin in range(0, tries, BATCH):
        yield recipe.columns(pythia.nextBatch(min(BATCH, tries - begin)), *random)


def _z_mumu(batch):
    """Return both muons of the Z, after their photon radiation, and what else is in the event."""
    ak = require("awkward", "simulation")
    record, visible = particles(batch)
    muons = record[visible & (abs(record.id) == 13)]
    source = muons.row
    while ak.any(still := abs(record.id[source]) == 13):  # climb from copy to copy, mu -> mu gamma
        source = ak.where(still, record.mother[source], source)
    muons = muons[record.id[source] == 23]
    minus, plus = muons[muons.id == 13][:, 0], muons[muons.id == -13][:, 0]
    rest = record[visible & (record.row != minus.row) & (record.row != plus.row)]
    jets, _ = jet_finder.cluster(rest, radius=0.4, pt_min=30.0)
    charged = ak.zeros_like(rest.id, dtype=bool)
    for number in CHARGED:
        charged = charged | (abs(rest.id) == number)
    return {
        "muon_minus": four_momenta(minus),
        "muon_plus": four_momenta(plus),
        "n_jets": to_numpy(ak.sum(within(jets, 30.0, 4.5), axis=1)),
        "n_charged": to_numpy(ak.sum(charged & within(rest, 0.5, 2.5), axis=1)),
        "mass_generated": to_numpy(batch.info.mHat),
    }


def _ttbar(batch):
    """Return the six partons of each event, told apart by the mothers that the record names."""
    p = batch.prt
    number, mother = to_numpy(p.id), to_numpy(p.mother1)  # (n, 15): without showers all records are alike
    momenta = np.stack([to_numpy(p.p[name]) for name in ("e", "px", "py", "pz")], axis=-1)  # (n, 15, 4)
    event = np.arange(len(number))

    def the_one(mask):
        if not (mask.sum(1) == 1).all():
            raise ValueError("an event has not exactly one top, W and quark of each kind; look at the settings")
        return mask.argmax(1)

    columns = {}
    for sign, bottom, w_boson in ((1, "b", "w_plus"), (-1, "bbar", "w_minus")):
        top, w = the_one(number == 6 * sign), the_one(number == 24 * sign)
        of_top, of_w = mother == top[:, None], mother == w[:, None]
        columns[bottom] = momenta[event, the_one((number == 5 * sign) & of_top)]
        columns[f"{w_boson}_quark"] = momenta[event, the_one((number > 0) & of_w)]
        columns[f"{w_boson}_antiquark"] = momenta[event, the_one((number < 0) & of_w)]
    return columns


def _dijets(record, visible):
    """Return the particles, jets and constituents of the events whose two hardest jets pass the cuts."""
    ak = require("awkward", "simulation")
    particles = record[visible & within(record, 0.0, 5.0)]
    jets, indices = jet_finder.cluster(particles, radius=0.4, pt_min=30.0)
    passes = ak.sum(within(jets[:, :2], JET_PT_MIN, 2.5), axis=1) == 2
    return particles[passes], jets[passes], indices[passes], passes


def _jets(batch):
    """Return the two hardest jets of the events in which both have pT > 150 GeV and |eta| < 2.5."""
    ak = require("awkward", "simulation")
    _, jets, indices, passes = _dijets(*particles(batch))
    return {
        "jet_1": four_momenta(jets[:, 0]),
        "jet_2": four_momenta(jets[:, 1]),
        "n_constituents_1": to_numpy(ak.num(indices, axis=2)[:, 0]),
        "n_constituents_2": to_numpy(ak.num(indices, axis=2)[:, 1]),
        "n_jets": to_numpy(ak.num(jets, axis=1)),
        "pt_hat": np.sqrt(to_numpy(batch.info.pT2Hat[passes])),
    }


def _particles_of_dijets(batch):
    """Return the particles of each event that passes, as an array of dicts, one per event."""
    members_of, _, indices, _ = _dijets(*particles(batch))
    rows = np.empty(len(members_of), dtype=object)
    for i in range(len(members_of)):  # for a handful of pictures; samples are never made like this
        jet = np.full(len(members_of[i]), -1)
        for number, members in enumerate(indices[i]):
            jet[np.asarray(members)] = number
        rows[i] = {"momentum": four_momenta(members_of[i]), "pdg_id": to_numpy(members_of[i].id), "jet": jet}
    return {"particles": rows}


CHARGED = tuple(CHARGES)  # what Pythia leaves undecayed and has charge
JET_PT_MIN = 150.0  # GeV, both jets
MOMENTUM = "GeV"

RECIPES = {
    "z_mumu": Recipe(
        "q qbar -> Z/gamma* -> mu mu at 13 TeV, generated mass 60-120 GeV, with showers and hadrons, no multiple "
        "interactions; muons after photon radiation, without cuts; jets anti-kT R = 0.4, pT > 30 GeV, |eta| < 4.5; "
        "n_charged: pT > 0.5 GeV, |eta| < 2.5, without the two muons; mass_generated: of the pair before any photon",
        (
            *COMMON, *MASSES, *NO_MPI, "WeakSingleBoson:ffbar2gmZ = on", "23:onMode = off", "23:onIfAny = 13",
            "PhaseSpace:mHatMin = 60.", "PhaseSpace:mHatMax = 120.",
        ),
        _z_mumu,
        {"muon_minus": MOMENTUM, "muon_plus": MOMENTUM, "n_jets": "1", "n_charged": "1",
         "mass_generated": MOMENTUM},
    ),
    "ttbar": Recipe(
        "g g, q qbar -> t tbar -> b q qbar' bbar q qbar' at 13 TeV, partons without showers, all events, no cuts; "
        "top = b + w_plus_quark + w_plus_antiquark",
        (
            *COMMON, *MASSES, *PARTONS_ONLY, "Top:gg2ttbar = on", "Top:qqbar2ttbar = on", "6:onMode = off",
            "6:onIfMatch = 24 5", "24:onMode = off", "24:onIfMatch = 1 2", "24:onIfMatch = 3 4",
        ),
        _ttbar,
        dict.fromkeys(
            ("b", "w_plus_quark", "w_plus_antiquark", "bbar", "w_minus_quark", "w_minus_antiquark"), MOMENTUM
        ),
    ),
    "jets": Recipe(
        f"QCD 2 -> 2 at 13 TeV with showers and hadrons, no multiple interactions; anti-kT R = 0.4 over visible "
        f"particles with |eta| < 5; both hardest jets pT > {JET_PT_MIN:g} GeV, |eta| < 2.5; n_jets: pT > 30 GeV; "
        "pt_hat: of the two partons",
        (*COMMON, *NO_MPI, "HardQCD:all = on", "PhaseSpace:pTHatMin = 110."),
        _jets,
        {"jet_1": MOMENTUM, "jet_2": MOMENTUM, "n_constituents_1": "1", "n_constituents_2": "1", "n_jets": "1",
         "pt_hat": MOMENTUM},
    ),
}  # fmt: skip
