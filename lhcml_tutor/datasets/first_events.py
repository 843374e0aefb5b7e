"""The first events of the course: Z -> mu mu, top pairs and jets at 13 TeV, made with Pythia and committed.

python -m lhcml_tutor.datasets.first_events         # makes the files of data/ and their entries in the manifest anew
"""

import json
from pathlib import Path

import numpy as np

from ..physics import pythia
from .events import Events
from .storage import MANIFEST, ROOT, find, manifest

DISPLAY = "jets_display"
COMMITTED = {"z_mumu": 25_000, "ttbar": 12_000, "jets": 25_000, DISPLAY: 12}  # events
MAKER = "lhcml_tutor.datasets.first_events:make_stored"
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
    recipe = pythia.RECIPES["jets" if which == DISPLAY else which]
    columns = pythia.make_display(n, seed) if which == DISPLAY else pythia.make_first_events(which, n, seed)
    small = {k: c.astype(np.float32 if c.dtype.kind == "f" else np.int64) for k, c in columns.items()}
    provenance = {
        "what": f"all particles of the events: {recipe.what}" if which == DISPLAY else recipe.what,
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


def commit(folder=ROOT / "data", path=MANIFEST, seed=1, only=COMMITTED) -> None:
    """Make the committed samples anew and write them and their entries in the manifest.

    Example:
        >>> commit(only=())
    """
    entries = manifest() if Path(path).exists() else {}
    for which in only:
        events, file = make_stored(which, COMMITTED[which], seed), f"{which}.npz"
        sha256 = events.save(Path(folder) / file)
        entries[which] = {
            "file": file,
            "sha256": sha256,
            "bytes": (Path(folder) / file).stat().st_size,
            "events": COMMITTED[which],
            "maker": MAKER,
            "settings": {"which": which, "n": COMMITTED[which], "seed": seed},
            "columns": {
                k: {"shape": list(c.shape), "dtype": str(c.dtype).removeprefix("torch."), "unit": events.units[k]}
                for k, c in events.columns.items()
            },
            "provenance": events.provenance,
        }
        print(f"{file}: {entries[which]['bytes'] / 1e6:.2f} MB")
        text = "# Written by `python -m lhcml_tutor.datasets.first_events`; do not edit.\n"
        Path(path).write_text(text + "".join(_toml(name, entry) for name, entry in entries.items()))


def _toml(name, entry):
    """Return a table of plain values and one level of tables; JSON's texts, numbers and lists are TOML's, too."""
    plain = {k: v for k, v in entry.items() if not isinstance(v, dict)}
    lines = [f"\n[{name}]", *(f"{k} = {json.dumps(v)}" for k, v in plain.items())]
    for key, table in entry.items():
        if isinstance(table, dict):
            lines.append(f"[{name}.{key}]")
            lines += [f"{k} = {_inline(v)}" for k, v in table.items()]
    return "\n".join(lines) + "\n"


def _inline(value):
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{k} = {json.dumps(v)}" for k, v in value.items()) + " }"
    return json.dumps(value)


if __name__ == "__main__":
    commit()
