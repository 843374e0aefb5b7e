"""Public reference sets, fetched from Zenodo once and read into the columns of our own jets.

    from lhcml_tutor.datasets import public
    public.names(), public.describe("top_tagging")
    events = public.fetch("top_tagging", n=50_000, part="val")       # says the size of the file before it comes

    set           record    file of a part                        columns
    top_tagging   2603256   train.h5, val.h5, test.h5             constituents, label (1 top, 0 QCD)
    quark_gluon   3164691   QG_jets.npz, QG_jets_1.npz ... _19    constituents, pdg_id, label (1 quark, 0 gluon)
    omnifold      3548091   Pythia26_Zjet_pTZ-200GeV_0.npz ...    gen_ and sim_: pt, mass [GeV], rapidity, phi,
                                                                  multiplicity, width, tau_2, z_g, groomed_mass [GeV],
                                                                  angularity
    jet_class     6619768   JetClass_Pythia_val_5M.tar ...        constituents, pdg_id, label (0 to 9, see describe)

    column        where it comes from
    constituents  (n, particles, 4) float32: (E, px, py, pz) [GeV], ordered in pT, zero-padded
                  top_tagging: values_block_0 of the pandas table: E_0, PX_0, PY_0, PZ_0, ..., PZ_199
                  quark_gluon: X = (pT, rapidity, phi, pdg id), with the mass of the particle
                  jet_class: part_energy, part_px, part_py, part_pz, the first 128
    pdg_id        (n, particles) int64, 0 for padding; jet_class tells five kinds apart: 211, 130, 22, 11, 13, by sign
    label         (n,) int64: is_signal_new; y; the one of label_QCD, label_Hbb, ... that is set

The names in the files are those that the sets' own loaders read: energyflow/datasets/qg_jets.py and zjets_delphes.py of
github.com/thaler-lab/EnergyFlow, utils/convert_top_datasets.py and dataloader.py of
github.com/jet-universe/particle_transformer.

No checksum is written here: each file is held against the one of its record, or against the one you give.
"""

from .cache import cache_folder
from .events import Events
from .public_readers import JET_CLASSES, read_jet_class, read_omnifold, read_quark_gluon, read_top_tagging
from .zenodo import download

_JETS = {"constituents": "GeV", "pdg_id": "1", "label": "1"}
_OBSERVABLES = {
    "pt": "GeV", "rapidity": "1", "phi": "rad", "mass": "GeV", "multiplicity": "1", "width": "1", "tau_2": "1",
    "z_g": "1", "groomed_mass": "GeV", "angularity": "1",
}  # fmt: skip
_NUMBERED = {str(i): f"QG_jets_{i}.npz" for i in range(1, 20)}
_TUNES = {
    f"{tune}_{i}": f"{tune}_Zjet_pTZ-200GeV_{i}.npz"
    for tune in ("Pythia26", "Pythia25", "Pythia21", "Herwig")
    for i in range(17)
}
SETS = {
    "top_tagging": {
        "what": "top quarks and QCD jets, pT 550 to 650 GeV, 14 TeV, Pythia 8 and Delphes, anti-kT 0.8, 200 particles",
        "record": 2603256,
        "reference": "Kasieczka et al., arXiv:1902.09914",
        "parts": {"train": "train.h5", "val": "val.h5", "test": "test.h5"},
        "labels": ["QCD", "top"],
        "columns": {"constituents": "GeV", "label": "1"},
        "reader": read_top_tagging,
        "checksum": None,
    },
    "quark_gluon": {
        "what": "quark and gluon jets of Z + jet, pT 500 to 550 GeV, 14 TeV, Pythia 8, anti-kT 0.4, all particles",
        "record": 3164691,
        "reference": "Komiske, Metodiev, Thaler, arXiv:1810.05165",
        "parts": {"0": "QG_jets.npz", **_NUMBERED},
        "labels": ["gluon", "quark"],
        "columns": _JETS,
        "reader": read_quark_gluon,
        "checksum": None,
    },
    "omnifold": {
        "what": "hardest jet of Z + jets, pT(Z) > 200 GeV, 14 TeV, before (gen) and after (sim) Delphes, anti-kT 0.4",
        "record": 3548091,
        "reference": "Andreassen et al., arXiv:1911.09107",
        "parts": _TUNES,
        "labels": [],
        "columns": {f"{level}_{name}": unit for level in ("gen", "sim") for name, unit in _OBSERVABLES.items()},
        "reader": read_omnifold,
        "checksum": None,
    },
    "jet_class": {
        "what": "jets of ten kinds, pT 500 to 1000 GeV, 13 TeV, Pythia 8 and Delphes, anti-kT 0.8, up to 128 particles",
        "record": 6619768,
        "reference": "Qu, Li, Qian, arXiv:2202.03772",
        "parts": {
            "val": "JetClass_Pythia_val_5M.tar",
            "test": "JetClass_Pythia_test_20M.tar",
            **{f"train_{i}": f"JetClass_Pythia_train_100M_part{i}.tar" for i in range(10)},
        },
        "labels": list(JET_CLASSES),
        "columns": _JETS,
        "reader": read_jet_class,
        "checksum": None,
    },
}


def names() -> list[str]:
    """Return the names of the public sets.

    Example:
        >>> names()
        ['top_tagging', 'quark_gluon', 'omnifold', 'jet_class']
    """
    return list(SETS)


def describe(name: str) -> dict:
    """Return what a set is: what, record, address, reference, parts (name -> file), labels, columns (name -> unit).

    Raises:
        ValueError: there is no such set.
    Example:
        >>> describe("top_tagging")["address"], describe("quark_gluon")["labels"]
        ('https://zenodo.org/records/2603256', ['gluon', 'quark'])
    """
    if name not in SETS:
        raise ValueError(f"there is no public set {name!r}; the sets are: {', '.join(SETS)}")
    entry = {key: value for key, value in SETS[name].items() if key != "reader"}
    address = f"https://zenodo.org/records/{entry['record']}"
    return {"name": name, "address": address, **entry, "parts": dict(entry["parts"]), "columns": dict(entry["columns"])}


def fetch(name, n=None, part=None, *, particles=None, checksum=None, path=None) -> Events:
    """Return the first n events of one part of a public set, fetched into the cache folder at the first use.

    Arguments:
        n: events; all of the part without. Only these are in memory.
        part: one of describe(name)["parts"], the first without.
        particles: keep so many hardest particles of each jet; all without (jet_class: 128).
        checksum: "md5:..." or "sha256:..." of the file; without it, the one of the Zenodo record.
        path: a file of the part that is here already, in place of a download.
    Shapes:
        constituents (n, particles, 4), pdg_id (n, particles), label (n,), observables (n,)
    Raises:
        ValueError: no such set or part, n < 1 or more than the part has. BadSample: another checksum or format.
        OSError: no network, a refusal, a broken connection (call again: it goes on). MissingExtra: h5py, uproot.
    Example:
        >>> fetch("top_tagging", part="validation")
        Traceback (most recent call last):
        ValueError: top_tagging has no part 'validation'; its parts are: train, val, test
    """
    entry = describe(name)
    part = next(iter(entry["parts"])) if part is None else str(part)
    if part not in entry["parts"]:
        raise ValueError(f"{name} has no part {part!r}; its parts are: {', '.join(entry['parts'])}")
    for what, value in (("n", n), ("particles", particles)):
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
            raise ValueError(f"{what} = {value!r}; it must be an integer of at least 1, or left out for all")
    key = entry["parts"][part]
    if path is None:
        folder = cache_folder() / "public" / name
        path = download(entry["record"], key, folder, checksum or entry["checksum"])
    limits = {} if particles is None else {"particles": particles}
    columns = SETS[name]["reader"](path, n, **limits)
    provenance = {key: entry[key] for key in ("what", "address", "reference", "labels")} | {"part": part, "file": key}
    return Events(columns, {column: entry["columns"][column] for column in columns}, provenance)
