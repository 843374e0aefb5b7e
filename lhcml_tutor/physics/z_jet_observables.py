"""Observables of Z -> mu mu with one, two or three jets; for the features see `bijections.z_jet_features`."""

import torch

from .. import kinematics
from ..bijections.z_jet_features import z_jet_momenta

PAIRS = ((0, 1), (0, 2), (1, 2))


def z_jet_observables(x):
    """Return observables of events as a dict of columns, NaN where an event has no such jet.

        m_mumu, pt_z, pt_mu-, pt_mu+, pt_j1 ... pt_j3 [GeV]; balance, the pT of all muons and jets together [GeV];
        eta_mu-, eta_mu+, eta_j1 ... eta_j3 [1]; dr_mumu, dr_j1j2, dr_j1j3, dr_j2j3: distances in eta and phi [1];
        phi_mumu in 0 ... pi, phi_j1 ... phi_j3 relative to the Z in -pi ... pi [rad]

    Shapes:
        x (n, 14) -> 21 columns (n,), float64
    Example:
        >>> x = torch.tensor([[30.0, 1.0, 60.0, 1.0, 3.14159265, 35.0, 2.0, -0.5] + 6 * [0.0]])
        >>> found = z_jet_observables(x)
        >>> found["pt_z"].round(), found["dr_j1j2"]
        (tensor([30.], dtype=torch.float64), tensor([nan], dtype=torch.float64))
    """
    x = x.double()
    momenta, there = z_jet_momenta(x), x[:, [5, 8, 11]] > 0
    minus, plus, jets = momenta[:, 0], momenta[:, 1], momenta[:, 2:]
    z = minus + plus
    found = {
        "m_mumu": kinematics.mass(z), "pt_z": kinematics.pt(z), "balance": kinematics.pt(z + jets.sum(1)),
        "dr_mumu": kinematics.delta_r(minus, plus), "phi_mumu": x[:, 4].abs(), "pt_mu-": x[:, 0], "pt_mu+": x[:, 2],
        "eta_mu-": x[:, 1], "eta_mu+": x[:, 3],
    }  # fmt: skip
    phi_z = kinematics.phi(z)
    for k in range(3):
        pt, eta, phi = x[:, 5 + 3 * k], x[:, 6 + 3 * k], kinematics.delta_phi(x[:, 7 + 3 * k], phi_z)
        for name, column in (("pt", pt), ("eta", eta), ("phi", phi)):
            found[f"{name}_j{k + 1}"] = torch.where(there[:, k], column, torch.nan)
    for i, j in PAIRS:
        eta, phi = x[:, 6 + 3 * i] - x[:, 6 + 3 * j], kinematics.delta_phi(x[:, 7 + 3 * i], x[:, 7 + 3 * j])
        found[f"dr_j{i + 1}j{j + 1}"] = torch.where(there[:, j], (eta**2 + phi**2).sqrt(), torch.nan)
    return found
