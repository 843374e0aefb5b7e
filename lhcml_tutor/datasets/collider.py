"""Collider samples of the chapters: Z with jets, jet counts, jets to tag; committed small, made on the spot beyond."""

import torch

from .. import kinematics
from ..physics.constants import MUON_MASS, STABLE
from ..physics.response import topo_clusters
from . import shards
from .columns import whole_number
from .events import Events
from .storage import find, manifest


def load_z_jets(n=100_000, seed=1) -> Events:
    """Return n events of Z -> mu mu with one, two or three jets of pT > 20 GeV, at 13 TeV.

    Up to the committed events, `seed` chooses n of them; more are made with Pythia, and `seed` seeds it.

    Shapes:
        muon_minus, muon_plus (n, 4), jets (n, 3, 4): momenta (E, px, py, pz) [GeV], float32, hardest jet first, zeros
        where there are fewer; n_jets (n,)
    Raises:
        ValueError: n < 1. MissingExtra: more events than are committed, and Pythia is not installed.
    Example:
        >>> events = load_z_jets(n=1000)
        sample z_jets: ...
        >>> events["jets"].shape
        torch.Size([1000, 3, 4])
    """
    stored = chosen("z_jets", n, seed)
    columns = {name: from_transverse(stored[name], MUON_MASS) for name in ("muon_minus", "muon_plus")}
    columns["jets"] = from_transverse(stored["jets"])
    units = {"muon_minus": "GeV", "muon_plus": "GeV", "jets": "GeV", "n_jets": "1"}
    return Events({**columns, "n_jets": stored["n_jets"].long()}, units, stored.provenance)


def load_jet_multiplicity(selection="hard", n=100_000, seed=1) -> Events:
    """Return the number of jets of n events of Z -> mu mu at 13 TeV, jets of pT > 20 GeV.

    Arguments:
        selection: "hard", Z recoiling from a parton of pT > 100 GeV: Poisson-like. "soft", all jets from the shower
            alike: staircase-like.
        seed: as in `load_z_jets`.
    Shapes:
        n_jets (n,)
    Example:
        >>> load_jet_multiplicity("hard", n=1000)["n_jets"].float().mean() > 1
        sample jet_multiplicity_hard: ...
        tensor(True)
    """
    if selection not in ("hard", "soft"):
        raise ValueError(f"selection is 'hard' or 'soft', not {selection!r}")
    stored = chosen(f"jet_multiplicity_{selection}", n, seed)
    return Events({"n_jets": stored["n_jets"].long()}, {"n_jets": "1"}, stored.provenance)


def load_zw_unfolding(n=5000, seed=1, process="zw") -> Events:
    """Return n events of Z W -> l l j j at 13 TeV on three levels: partons, particles, detector.

    Arguments:
        seed: as in `load_z_jets`.
        process: "zw", or "w_prime" for the same final state from a W' of 600 GeV.
    Shapes:
        parton_lepton_minus, parton_lepton_plus, parton_quark, parton_antiquark (n, 4) massless momenta [GeV];
        for LEVEL particle and detector: LEVEL_lepton_minus, LEVEL_lepton_plus (n, 4), LEVEL_jets (n, 4, 4), hardest
        first, LEVEL_n_jets (n,), which counts all; zeros where there is none; particle_complete (n,) 1 where the
        particles, too, have both leptons and two jets
    Raises:
        ValueError: another process, n < 1. MissingExtra: more events than are committed, and Pythia is not installed.
    Example:
        >>> load_zw_unfolding(n=100)["detector_jets"].shape
        sample zw_unfolding: ...
        torch.Size([100, 4, 4])
    """
    if process not in ("zw", "w_prime"):
        raise ValueError(f"process is 'zw' or 'w_prime', not {process!r}")
    stored = chosen(f"{process}_unfolding", n, seed)
    columns = {
        name: values.long() if values.ndim == 1 else from_transverse(values) for name, values in stored.columns.items()
    }
    units = {name: "1" if values.ndim == 1 else "GeV" for name, values in columns.items()}
    return Events(columns, units, stored.provenance)


def load_z_jets_unfolding(tune="monash", n=10_000, seed=1) -> Events:
    """Return the substructure of the hardest jet beside a Z of pT > 200 GeV, before (gen_) and after (sim_) a detector.

    One tune of Pythia plays the simulation, the other the data. `public.fetch("omnifold")` has the same columns, and
    a few more.

    Arguments:
        tune: "monash", Pythia's default, or "a14".
        seed: as in `load_z_jets`.
    Shapes:
        for LEVEL gen and sim: LEVEL_pt, LEVEL_mass, LEVEL_groomed_mass [GeV], LEVEL_multiplicity, LEVEL_width,
        LEVEL_angularity, LEVEL_tau_2, LEVEL_z_g, each (n,) float32; see `physics.z_unfolding_events`
    Raises:
        ValueError: another tune, n < 1. MissingExtra: more events than are committed, and Pythia is not installed.
    Example:
        >>> events = load_z_jets_unfolding("a14", n=100)
        sample z_jets_unfolding_a14: ...
        >>> (events["gen_tau_2"] / events["gen_width"]).max() < 2
        tensor(True)
    """
    if tune not in ("monash", "a14"):
        raise ValueError(f"tune is 'monash' or 'a14', not {tune!r}")
    stored = chosen(f"z_jets_unfolding_{tune}", n, seed)
    return Events({name: values.float() for name, values in stored.columns.items()}, stored.units, stored.provenance)


def from_transverse(values, mass=0.0):
    """Return float32 momenta (E, px, py, pz) [GeV] from pT, eta, phi and, where it is stored, the mass.

    Shapes:
        values (..., 3 or 4) -> (..., 4)
    Example:
        >>> from_transverse(torch.tensor([3.0, 0, 0, 4]))
        tensor([5., 3., 0., 0.])
    """
    pt, eta, phi, *own = values.double().unbind(-1)
    return kinematics.from_pt_eta_phi_mass(pt, eta, phi, own[0] if own else torch.where(pt > 0, mass, 0.0)).float()


def load_top_jets(n=20_000, seed=1, detector="nominal") -> Events:
    """Return n jets, every other one with a top (label 1), the others of QCD (label 0), in random order.

    Detector-level jets of R = 0.8 with 550 < pT < 650 GeV; see events.provenance["what"].

    Arguments:
        seed: as in `load_z_jets`.
        detector: "nominal", or "coarse" with all resolutions 1.5 times as large; other collisions than the nominal.
    Shapes:
        jet (n, 4): pT [GeV], eta, phi, mass [GeV]; constituents (n, 80, 4): massless momenta (E, px, py, pz) [GeV],
        hardest first, zero-padded; relative (n, 80, 3): their pT [GeV], eta and phi minus the jet's; label (n,)
    Raises:
        ValueError: an unknown detector.
    Example:
        >>> events = load_top_jets(n=200)
        sample top_jets_...
        >>> events["constituents"].shape, events["label"].float().mean().item()
        (torch.Size([200, 80, 4]), 0.5)
    """
    if detector not in ("nominal", "coarse"):
        raise ValueError(f"detector is 'nominal' or 'coarse', not {detector!r}")
    kind = "" if detector == "nominal" else "_coarse"
    return _labelled({f"top_jets_qcd{kind}": 0, f"top_jets_top{kind}": 1}, n, seed)


def load_quark_gluon_jets(n=20_000, seed=1, shower="pythia") -> Events:
    """Return n jets beside a Z, every other one of a quark (label 1), the others of a gluon (label 0), in random order.

    Particle-level jets of R = 0.4 with 500 < pT < 550 GeV; see events.provenance["what"]. Constituents have the masses
    of their kind: without them a light jet would lose a tenth of its own.

    Arguments:
        seed: as in `load_z_jets`.
        shower: "pythia", its own, or "vincia", another model of the shower with a tune of its own; other collisions.
    Shapes:
        as in `load_top_jets`, and pdg_id (n, 80), zero-padded
    Raises:
        ValueError: an unknown shower.
    Example:
        >>> load_quark_gluon_jets(n=200)["pdg_id"].shape
        sample quark_gluon_jets_...
        torch.Size([200, 80])
    """
    if shower not in ("pythia", "vincia"):
        raise ValueError(f"shower is 'pythia' or 'vincia', not {shower!r}")
    kind = "" if shower == "pythia" else "_vincia"
    return _labelled({f"quark_gluon_jets_gluon{kind}": 0, f"quark_gluon_jets_quark{kind}": 1}, n, seed)


def masses_of(pdg_id):
    """Return the masses of stable particles [GeV], zero for padding and unknown numbers.

    Shapes:
        pdg_id (...) -> (...) float64
    Example:
        >>> masses_of(torch.tensor([22, -211, 0]))
        tensor([0.0000, 0.1396, 0.0000], dtype=torch.float64)
    """
    masses = torch.zeros(pdg_id.shape, dtype=torch.float64, device=pdg_id.device)
    for number, mass in STABLE.items():
        masses[pdg_id.abs() == number] = mass
    return masses


def load_jet_images(n=20_000, seed=1, pixels=(40, 8), width=1.6) -> Events:
    """Return images of the jets of `load_top_jets` at two resolutions: pT in pixels of eta and phi around the axis.

    Arguments:
        pixels: along each side of the fine and the coarse image; the coarse one must divide the fine one.
        width: of an image in eta and phi.
    Shapes:
        fine (n, pixels, pixels), coarse (n, ...) [GeV], float32; label (n,)
    Raises:
        ValueError: pixels that do not divide.
    Example:
        >>> images = load_jet_images(n=100)
        sample top_jets_...
        >>> images["fine"].shape, images["coarse"].shape
        (torch.Size([100, 40, 40]), torch.Size([100, 8, 8]))
    """
    fine, coarse = pixels
    if fine % coarse:
        raise ValueError(f"pixels={pixels}: {coarse} does not divide {fine}")
    jets = load_top_jets(n, seed)
    pt, eta, phi = jets["relative"].unbind(-1)
    row, column = (((values / width + 0.5) * fine).floor().long() for values in (eta, phi))
    inside = (row >= 0) & (row < fine) & (column >= 0) & (column < fine)
    place = (row * fine + column).clamp(0, fine**2 - 1)
    image = torch.zeros(n, fine**2).scatter_add_(1, place, pt * inside).reshape(n, fine, fine)
    step = fine // coarse
    blocks = image.reshape(n, coarse, step, coarse, step).sum((2, 4))
    columns = {"fine": image, "coarse": blocks, "label": jets["label"]}
    return Events(columns, {"fine": "GeV", "coarse": "GeV", "label": "1"}, jets.provenance)


def chosen(name, n, seed) -> Events:
    """Return n stored events of a sample: chosen by the seed from the committed ones, or made with it.

    Example:
        >>> len(chosen("z_mumu", 100, seed=2))
        sample z_mumu: ...
        100
    """
    n, seed = whole_number("n", n, 1), whole_number("seed", seed, 0)
    if n > manifest().get(name, {"events": 0})["events"]:
        return Events.load(shards.make_sample(name, n, seed=max(seed, 1)))
    events = Events.load(find(name))
    return events[torch.randperm(len(events), generator=torch.Generator().manual_seed(seed))[:n]]


def load_calorimeter_clusters(n=100_000, seed=1) -> Events:
    """Return n clusters of a toy calorimeter, true and measured; see `physics.response` for the exact response.

    Shapes:
        energy (true) [GeV], rapidity, electromagnetic_fraction, pile_up_density [GeV], measured [GeV]: (n,) float64
    Raises:
        ValueError: n < 1.
    Example:
        >>> load_calorimeter_clusters(n=5)["measured"].shape
        torch.Size([5])
    """
    n, seed = whole_number("n", n, 1), whole_number("seed", seed, 0)
    columns = topo_clusters(n, torch.Generator().manual_seed(seed))
    units = dict.fromkeys(columns, "1") | dict.fromkeys(("energy", "pile_up_density", "measured"), "GeV")
    return Events(columns, units, {"what": "toy clusters of a calorimeter", "seed": seed})


def _labelled(samples, n, seed):
    """Return the jets of two samples in random order, n in all, with their labels."""
    parts, labels = [], []
    for i, (name, label) in enumerate(samples.items()):
        number = (n + 1 - i) // 2
        if number:
            parts.append(chosen(name, number, seed))
            labels.append(torch.full((number,), label))
    events = Events.join(parts)
    order = torch.randperm(len(events), generator=torch.Generator().manual_seed(seed))
    jet, relative = events["jet"].float(), events["constituents"].float()
    pt = relative[..., 0].double()
    eta, phi = jet[:, None, 1] + relative[..., 1].double(), jet[:, None, 2] + relative[..., 2].double()
    masses = masses_of(events["pdg_id"]) if "pdg_id" in events else torch.zeros_like(pt)
    momenta = kinematics.from_pt_eta_phi_mass(pt, eta, phi, torch.where(pt > 0, masses, 0.0))
    columns = {"jet": jet, "constituents": momenta.float(), "relative": relative, "label": torch.cat(labels)}
    units = {"jet": "GeV, 1, rad, GeV", "constituents": "GeV", "relative": "GeV, 1, rad", "label": "1"}
    if "pdg_id" in events:
        columns["pdg_id"], units["pdg_id"] = events["pdg_id"].long(), "1"
    what = {str(label): part.provenance.get("what") for label, part in zip(samples.values(), parts)}
    return Events(columns, units, {**events.provenance, "what": what})[order]
