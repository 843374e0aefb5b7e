"""The samples that can be made: what each one holds, and the function that makes one shard of it.

A shard is the work of one process and one seed; a sample is the first N accepted events of shards 0, 1, 2, ...

To add a Pythia sample, write its Recipe in physics/ (z_events.py, tagging_jets.py, ...) and one line in SAMPLES:

    "wz": _pythia("wz", events=20_000),

Any other sample is a function of the package, `make(tries, seed, **settings) -> Events` (None where no try passed),
whose numbers depend on its arguments alone, and an entry:

    "z_jets_unfolding_monash": _pythia("z_jets_unfolding_monash", 50_000, *SUBSTRUCTURE),
    "z_jets_unfolding_a14": _pythia("z_jets_unfolding_a14", 50_000, *SUBSTRUCTURE),
    "toy": Sample("lhcml_tutor.datasets.spectrum:make_spectrum", what="process; cuts", units={"pt": "GeV"},
                  events=1000, per_shard=5000, settings={"slope": 30.0}),

`lhcml data make NAME` then makes it, and `python -m lhcml_tutor.datasets.commit NAME` makes it part of data/.
"""

import difflib
from dataclasses import dataclass, field
from importlib import import_module

from ..physics.pythia import RECIPES, SHARD
from . import pythia_samples
from .first_events import COMMITTED, DISPLAY, DISPLAY_UNITS, what_is

MOST_SHARDS = 1000  # of one seed: the next seed's shards follow; as SEEDS in physics/pythia.py
MOST_SEED = 899_000  # Pythia takes no seed above 900,000,000
PYTHIA = ("pythia8mc", "fastjet", "awkward")


@dataclass(frozen=True)
class Sample:
    """How a sample is made: `make` is "module:function", called with (tries, seed, **arguments, **settings).

    what: "process; cuts and definitions". units: of each column. events: as many are committed, or made by default.
    per_shard: tries of one shard; None: the sample cannot be split, and its one shard makes all `events`.
    settings: what may be changed, with its default. arguments: what may not. packages: what the function needs.
    shown: the columns of its figure, by default the first six.
    """

    make: str
    what: str
    units: dict
    events: int
    per_shard: int | None
    settings: dict = field(default_factory=dict)
    arguments: dict = field(default_factory=dict)
    packages: tuple = ()
    shown: tuple = ()

    @property
    def extra(self):
        return "simulation" if self.packages else None


def sample(name: str) -> Sample:
    """Return how a sample is made.

    Raises:
        ValueError: no such sample; names the nearest.
    Example:
        >>> sample("ttbar").per_shard
        5000
        >>> sample("tbar")
        Traceback (most recent call last):
        ValueError: there is no sample 'tbar' that can be made; did you mean 'ttbar'? There are: ...
    """
    if name not in SAMPLES:
        near = difflib.get_close_matches(str(name), SAMPLES, n=1, cutoff=0.5)
        guess = f"did you mean {near[0]!r}? There are" if near else "there are"
        raise ValueError(f"there is no sample {name!r} that can be made; {guess}: {', '.join(SAMPLES)}")
    return SAMPLES[name]


def function(make: str):
    """Return the function of "module:function".

    Example:
        >>> function("math:sqrt")(4)
        2.0
    """
    module, _, name = make.partition(":")
    return getattr(import_module(module), name)


def shard_seed(seed: int, shard: int) -> int:
    """Return the seed of one shard, the same wherever it is made; no two shards of all seeds share one.

    Example:
        >>> shard_seed(1, 3)
        1003
    """
    return seed * MOST_SHARDS + shard


def checked_settings(name: str, given: dict) -> dict:
    """Return all settings of a sample, the given ones as the type of their defaults.

    Raises:
        ValueError: a setting that the sample does not have, or a value of another type.
    Example:
        >>> checked_settings("toy", {"slope": "20"})
        {'slope': 20.0, 'threshold': 20.0}
    """
    settings = dict(sample(name).settings)
    for key, value in given.items():
        if key not in settings:
            known = ", ".join(settings) or "none at all"
            raise ValueError(f"the sample {name!r} has no setting {key!r}; it has: {known}")
        kind = type(settings[key])
        try:
            settings[key] = kind(value)
        except (TypeError, ValueError):
            raise ValueError(f"{key}={value!r}: it must be of type {kind.__name__}, as {settings[key]!r}") from None
    return settings


def _pythia(which, events, *shown):
    """Return the entry of a recipe of physics/."""
    first = which in RECIPES
    recipe = RECIPES[which] if first else pythia_samples.RECIPES[which]
    make = f"lhcml_tutor.datasets.{'first_events' if first else 'pythia_samples'}:make_shard"
    return Sample(
        make, recipe.what, recipe.units, events, SHARD, arguments={"which": which}, packages=PYTHIA, shown=shown
    )


JET, CONSTITUENTS = ("jet", "jet.eta", "jet.mass"), ("constituents", "constituents.eta", "constituents.phi")
LEVELS = (
    *("parton_lepton_minus", "detector_lepton_minus", "parton_quark"),
    *("detector_jets", "detector_jets.mass", "detector_n_jets"),
)
SUBSTRUCTURE = tuple(f"sim_{name}" for name in ("mass", "multiplicity", "width", "tau_2", "z_g", "groomed_mass"))
SAMPLES = {
    **{name: _pythia(name, events) for name, events in COMMITTED.items() if name != DISPLAY},
    DISPLAY: Sample(
        "lhcml_tutor.datasets.first_events:make_display", what_is(DISPLAY), DISPLAY_UNITS, COMMITTED[DISPLAY], None,
        packages=PYTHIA, shown=("momentum", "jet"),
    ),
    "z_jets": _pythia("z_jets", 150_000, "muon_minus", "muon_minus.eta", "n_jets", "jets", "jets.eta", "jets.mass"),
    "jet_multiplicity_hard": _pythia("jet_multiplicity_hard", 200_000),
    "jet_multiplicity_soft": _pythia("jet_multiplicity_soft", 2_000_000),
    "top_jets_top": _pythia("top_jets_top", 15_000, *JET, *CONSTITUENTS),
    "top_jets_qcd": _pythia("top_jets_qcd", 15_000, *JET, *CONSTITUENTS),
    "top_jets_top_coarse": _pythia("top_jets_top_coarse", 2000, *JET, *CONSTITUENTS),
    "top_jets_qcd_coarse": _pythia("top_jets_qcd_coarse", 2000, *JET, *CONSTITUENTS),
    "quark_gluon_jets_quark": _pythia("quark_gluon_jets_quark", 15_000, *JET, *CONSTITUENTS),
    "quark_gluon_jets_gluon": _pythia("quark_gluon_jets_gluon", 15_000, *JET, *CONSTITUENTS),
    "quark_gluon_jets_quark_vincia": _pythia("quark_gluon_jets_quark_vincia", 2000, *JET, *CONSTITUENTS),
    "quark_gluon_jets_gluon_vincia": _pythia("quark_gluon_jets_gluon_vincia", 2000, *JET, *CONSTITUENTS),
    "ttbar_jets": _pythia("ttbar_jets", 3000, "b", "w_plus_quark", "n_jets", "jets", "jets.eta"),
    "zw_unfolding": _pythia("zw_unfolding", 6000, *LEVELS),
    "w_prime_unfolding": _pythia("w_prime_unfolding", 1500, *LEVELS),
    "z_jets_unfolding_monash": _pythia("z_jets_unfolding_monash", 50_000, *SUBSTRUCTURE),
    "z_jets_unfolding_a14": _pythia("z_jets_unfolding_a14", 50_000, *SUBSTRUCTURE),
    "toy": Sample(
        "lhcml_tutor.datasets.spectrum:make_spectrum",
        "falling spectrum exp(-pt / slope), azimuth even; pt > threshold", {"pt": "GeV", "phi": "rad"},
        events=1000, per_shard=1000, settings={"slope": 30.0, "threshold": 20.0},
    ),
}  # fmt: skip
