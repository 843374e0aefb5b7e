"""Samples with tops: pairs as six partons, on and off their mass shells, and single tops with a Higgs."""

import math

import torch

from ..physics.hard_processes import TopHiggsJet
from ..physics.on_shell import on_shell
from ..physics.phase_space import two_body
from ..physics.response import smear_objects
from .collider import chosen, from_transverse
from .columns import whole_number
from .events import Events
from .storage import cached

PARTONS = ("b", "w_plus_quark", "w_plus_antiquark", "bbar", "w_minus_quark", "w_minus_antiquark")


def load_ttbar(n=10_000, seed=1, masses="natural") -> Events:
    """Return n events of t tbar -> six partons at 13 TeV, each parton assigned to its top and W.

    Arguments:
        seed: as in `load_z_jets`.
        masses: "natural", with the widths of top and W, or "on-shell": the very same events with both at their central
            masses, see `physics.on_shell`.
    Shapes:
        b, w_plus_quark, w_plus_antiquark, bbar, w_minus_quark, w_minus_antiquark (n, 4) [GeV], float32
    Raises:
        ValueError: n < 1, or other masses. MissingExtra: more events than are committed, and Pythia is not installed.
    Example:
        >>> events = load_ttbar(n=100, masses="on-shell")
        sample ttbar: ...
        >>> from lhcml_tutor.kinematics import mass
        >>> mass((events["w_plus_quark"] + events["w_plus_antiquark"]).double()).mean().round()
        tensor(80., dtype=torch.float64)
    """
    if masses not in ("natural", "on-shell"):
        raise ValueError(f"masses are 'natural' or 'on-shell', not {masses!r}")
    events = chosen("ttbar", n, seed)
    columns = {name: events[name] for name in PARTONS}
    if masses == "on-shell":
        moved = [on_shell(*(columns[name].double() for name in PARTONS[i : i + 3])) for i in (0, 3)]
        columns = {name: p.float() for name, p in zip(PARTONS, [*moved[0], *moved[1]])}
    return Events(columns, dict.fromkeys(columns, "GeV"), {**events.provenance, "masses": masses})


def load_ttbar_jets(n=3000, seed=1) -> Events:
    """Return n events of t tbar -> six partons at 13 TeV with none, one or two jets of pT > 30 GeV beside them.

    Arguments:
        seed: as in `load_z_jets`.
    Shapes:
        the partons as in `load_ttbar`; jets (n, 2, 4) [GeV], hardest first, zeros where there are fewer; n_jets (n,)
    Example:
        >>> load_ttbar_jets(n=100)["jets"].shape
        sample ttbar_jets: ...
        torch.Size([100, 2, 4])
    """
    stored = chosen("ttbar_jets", n, seed)
    columns = {name: stored[name] for name in PARTONS} | {"jets": from_transverse(stored["jets"])}
    columns["n_jets"] = stored["n_jets"].long()
    return Events(columns, dict.fromkeys(columns, "GeV") | {"n_jets": "1"}, stored.provenance)


def load_thj(n=1000, cp_angle=0.0, seed=1) -> Events:
    """Return n unweighted events of p p -> t H q', t -> b l nu, H -> gamma gamma at 13 TeV, true and measured.

    Made on the spot, with exact amplitudes and all spin correlations, and kept in the cache; the measured momenta
    follow the transfer functions of `physics.response`, whose density is known.

    Arguments:
        cp_angle: of the top's Yukawa coupling [rad], 0 in the Standard Model.
    Shapes:
        b, lepton, neutrino, photon_1, photon_2, jet, top, higgs (n, 4): true momenta [GeV], float64;
        b_measured, lepton_measured (a muon), photon_1_measured, photon_2_measured, jet_measured (n, 4);
        missing (n, 2): transverse momentum that balances what was measured
    Raises:
        ValueError: n < 1, or an angle that is not finite.
    Example:
        >>> events = load_thj(n=50, cp_angle=math.pi)
        sample thj: ...
        >>> events["lepton_measured"].shape
        torch.Size([50, 4])
    """
    n, seed = whole_number("n", n, 1), whole_number("seed", seed, 0)
    if isinstance(cp_angle, bool) or not isinstance(cp_angle, (int, float)) or not math.isfinite(cp_angle):
        raise ValueError(f"cp_angle must be a number [rad], not {cp_angle!r}")
    return cached("thj", make_thj, n=n, cp_angle=float(cp_angle), seed=seed)


def make_thj(n, cp_angle, seed):
    """Make the sample of `load_thj` anew.

    Example:
        >>> len(make_thj(20, 3.14, seed=1))
        20
    """
    generator = torch.Generator().manual_seed(seed)
    process = TopHiggsJet(cp_angle)
    produced = process.sample(n, generator)
    higgs, b, lepton, neutrino, jet = process.decayed(produced, generator).unbind(1)
    u = torch.rand(2, n, dtype=torch.float64, generator=generator)
    photons = two_body(higgs, 0.0, 0.0, u)[0].unbind(1)
    true = {"b": b, "lepton": lepton, "photon_1": photons[0], "photon_2": photons[1], "jet": jet}
    kinds = {"b": "jet", "lepton": "muon", "photon_1": "photon", "photon_2": "photon", "jet": "jet"}
    measured = {f"{name}_measured": smear_objects(p, kinds[name], generator) for name, p in true.items()}
    missing = -sum(measured.values())[:, 1:3]
    columns = {**true, "neutrino": neutrino, "top": produced[:, 1], "higgs": higgs, **measured, "missing": missing}
    provenance = {
        "what": "p p -> t H q', t -> b l nu, H -> gamma gamma at 13 TeV, leading order, top quarks alone, no cuts",
        "cp_angle": cp_angle, "seed": seed, "cross_section_pb": process.cross_section[0],
        "generator": "lhcml_tutor.physics.hard_processes",
    }  # fmt: skip
    return Events(columns, dict.fromkeys(columns, "GeV"), provenance)
