"""The first events of the course: Z -> mu mu, top pairs and jets at 13 TeV, made with Pythia and committed."""

import functools

import numpy as np

from ..physics import pythia
from .events import Events
from .storage import find, manifest

DISPLAY = "jets_display"
COMMITTED = {"z_mumu": 25_000, "ttbar": 12_000, "jets": 25_000, DISPLAY: 12}  # events
DISPLAY_UNITS = {"event": "1", "momentum": "GeV", "pdg_id": "1", "jet": "1"}


def load_first_events(which: str, n: int | None = None) -> Events:
    """Return the first n events of a committed sample, all of them without n.

    Momenta are float32 (E, px, py, pz) in GeV. Beam energy 13 TeV. See `events.provenance["what"]` for the cuts.

    Arguments:
        which:
            "z_mumu": muon_minus, muon_plus (n, 4), mass_generated, n_jets, n_charged (n,).
            "ttbar": the partons b, w_plus_quark, w_plus_antiquark, bbar, w_minus_quark, w_minus_antiquark (n, 4), and
            their sums top, antitop (n, 4).
            "jets": jet_1, jet_2 (n, 4), n_constituents_1, n_constituents_2, n_jets, pt_hat (n,).
            "jets_display": every particle of the first twelve events of "jets", one row per particle: event (row in
            "jets"), momentum (m, 4), pdg_id, jet (0 the hardest, 1 the next, ..., -1 in no jet above 30 GeV).
    Raises:
        ValueError: an unknown sample, or more events than it has.
    Example:
        >>> events = load_first_events("z_mumu", n=1000)
        sample z_mumu: ...
        >>> events["muon_minus"].shape, events.units["muon_minus"]
        (torch.Size([1000, 4]), 'GeV')
    """
    _check_name(which)
    stored = manifest()[which]["events"]
    if n is not None and n < 1:
        raise ValueError(f"n = {n} events; n must be at least 1, or left out for all {stored}")
    if n is not None and n > stored:
        live = f"lt.datasets.make_first_events({which!r}, n={n}) makes more where Pythia is installed"
        raise ValueError(f"n = {n}, but the sample {which!r} has {stored} events; {live}")
    events = _complete(which, Events.load(find(which)))
    if which == DISPLAY:
        return events[events["event"] < (n or stored)]
    return events[: n or stored]


def make_first_events(which: str, n: int, seed: int = 1) -> Events:
    """Return n new events of one of the samples of `load_first_events`, made with Pythia; seed 1 made the committed.

    Raises:
        MissingExtra: Pythia is not installed: pip install "lhcml-tutor[simulation]". ValueError: an unknown sample.
    Example:
        >>> make_first_events("higgs", n=10)
        Traceback (most recent call last):
        ValueError: there is no sample 'higgs'; the first events are: z_mumu, ttbar, jets, jets_display
    """
    _check_name(which)
    return _complete(which, make_stored(which, n, seed))


def make_stored(which: str, n: int, seed: int) -> Events:
    """Return the columns that are stored in a file, without those that are sums of others.

    Example:
        >>> COMMITTED["ttbar"]
        12000
    """
    make = pythia.make_display if which == DISPLAY else functools.partial(pythia.make_first_events, which)
    return _as_stored(which, make(n, seed), seed)


def make_shard(tries: int, seed: int, which: str) -> Events | None:
    """Return those of `tries` generated events that a sample keeps, None where there are none; see registry.py.

    Example:
        >>> make_shard(10, seed=1001, which="higgs")
        Traceback (most recent call last):
        ValueError: there is no recipe 'higgs'; the recipes are: ...
    """
    if which not in pythia.RECIPES:
        raise ValueError(f"there is no recipe {which!r}; the recipes are: {', '.join(pythia.RECIPES)}")
    columns = pythia.make_tries(pythia.RECIPES[which], tries, seed)
    return _as_stored(which, columns, seed) if len(next(iter(columns.values()))) else None


def make_display(events: int, seed: int) -> Events:
    """Return every particle of the first events of the sample "jets"; see registry.py.

    Example:
        >>> make_display(0, seed=1)
        Traceback (most recent call last):
        ValueError: n = 0 events; n must be an integer of at least 1
    """
    return make_stored(DISPLAY, events, seed)


def what_is(which: str) -> str:
    """Return process, cuts and definitions of a sample in words.

    Example:
        >>> what_is("jets").partition(" ")[0]
        'QCD'
    """
    what = pythia.RECIPES["jets" if which == DISPLAY else which].what
    return f"all particles of the events: {what}" if which == DISPLAY else what


def _as_stored(which, columns, seed):
    recipe = pythia.RECIPES["jets" if which == DISPLAY else which]
    small = {k: c.astype(np.float32 if c.dtype.kind == "f" else np.int64) for k, c in columns.items()}
    provenance = {
        "what": what_is(which),
        "generator": "Pythia",
        "version": pythia.version(),
        "settings": list(recipe.settings),
        "seed": seed,
    }
    return Events(small, DISPLAY_UNITS if which == DISPLAY else recipe.units, provenance)


def _check_name(which):
    if which not in COMMITTED:
        raise ValueError(f"there is no sample {which!r}; the first events are: {', '.join(COMMITTED)}")


def _complete(which, events):
    """Add what is the sum of stored columns."""
    if which != "ttbar":
        return events
    for top, partons in (
        ("top", ("b", "w_plus_quark", "w_plus_antiquark")),
        ("antitop", ("bbar", "w_minus_quark", "w_minus_antiquark")),
    ):
        events = events.with_column(top, sum(events[name] for name in partons), "GeV")
    return events
