"""Substructure of jets: numbers that tell a top quark from a gluon, for many jets at once.

    table = observables(momenta, charge, radius=0.8)        # name -> (n,)
    tau = n_subjettiness(momenta)                           # (n, 4)

Constituents are zero-padded tensors (n, particles, 4) of (E, px, py, pz) in GeV; distances Delta R are taken in
rapidity and azimuth, so that no number here changes under a boost along the beam. All is computed in float64, in
portions that fit into memory, and comes back in the type of the momenta. A jet without constituents has 0.
"""

import math

import torch

from .. import kinematics
from .grooming import soft_drop
from .jet_contents import charged_fraction, entropy, jet_charge, multiplicity, pt_dispersion, shares
from .recombination import by_portions, checked, recombine, separation

AXES = {"kt": False, "winner": True}  # whether the winner takes all


def jet_mass(momenta):
    """Return the mass of all constituents together.

        m^2 = (sum_i p_i)^2

    Shapes:
        momenta (n, particles, 4) -> (n,) [GeV]
    Raises:
        ValueError: a wrong shape, or momenta that are not finite; so for all functions here.
    Example:
        >>> jet_mass(torch.tensor([[[5.0, 3, 0, 4], [5, -3, 0, 4]]]))
        tensor([6.])
    """
    return kinematics.mass(checked(momenta).double().sum(1)).to(momenta.dtype)


def n_subjettiness(momenta, n_axes=4, beta=1.0, radius=0.8, axes="winner"):
    """Return tau_1 ... tau_N: how far the constituents of a jet are from its 1 ... N prongs.

        tau_N = sum_i pT_i min(Delta R_1i, ..., Delta R_Ni)^beta / (sum_i pT_i R^beta)

    The axes are the last N momenta when the jet is clustered with the kT algorithm; they are not moved afterwards to
    make tau smaller. Where the winner takes all, soft particles at wide angles do not pull the axes.

    Arguments:
        n_axes: N; beta: the power of the angle; radius: R of the jets; axes: "winner" or "kt" (momenta added up).
    Shapes:
        momenta (n, particles, 4) -> (n, n_axes)
    Raises:
        ValueError: n_axes < 1, a radius or beta that is not positive, unknown axes.
    Example:
        >>> jet = kinematics.from_pt_eta_phi_mass(torch.tensor([60.0, 40.0]), torch.tensor([0.0, 0.4]), 0.0, 0.0)
        >>> n_subjettiness(jet[None], n_axes=2)                     # 40 / 100 * 0.4 / 0.8
        tensor([[0.2000, 0.0000]])

    Reference: Thaler, Van Tilburg 2010, arXiv:1011.2268; axes "winner": Larkoski, Neill, Thaler 2014, arXiv:1401.2158.
    """
    if n_axes < 1 or not (beta > 0 and radius > 0):
        raise ValueError(f"n_axes={n_axes} must be at least 1, beta={beta:g} and radius={radius:g} positive")
    if axes not in AXES:
        raise ValueError(f"there are no axes {axes!r}; take one of: {', '.join(AXES)}")

    def of_portion(constituents):
        tau = constituents.new_zeros(len(constituents), n_axes)
        share = shares(constituents)
        for left, p, _ in recombine(constituents, "kt", AXES[axes]):
            if left <= n_axes:
                distance = separation(constituents[:, :, None], p[:, None])  # (n, particles, left)
                nearest = torch.where(p[:, None, :, 0] > 0, distance, math.inf).amin(2)
                nearest = torch.where(share > 0, nearest, 0.0)
                tau[:, left - 1] = (share * (nearest / radius) ** beta).sum(1)
        return tau

    return by_portions(of_portion, momenta, n_axes)


def subjettiness_ratio(tau, n_axes):
    """Return tau_N / tau_(N-1), small for jets with N prongs, and 0 where tau_(N-1) vanishes.

    Shapes:
        tau (n, axes) of `n_subjettiness` -> (n,)
    Raises:
        ValueError: n_axes is not one of 2 ... axes.
    Example:
        >>> subjettiness_ratio(torch.tensor([[0.2, 0.05, 0.01], [0.0, 0.0, 0.0]]), 2)
        tensor([0.2500, 0.0000])

    Reference: Thaler, Van Tilburg 2010, arXiv:1011.2268.
    """
    if not 2 <= n_axes <= tau.shape[1]:
        raise ValueError(f"tau holds tau_1 ... tau_{tau.shape[1]}, so n_axes must be 2 to {tau.shape[1]}, not {n_axes}")
    return _ratio(tau[:, n_axes - 1], tau[:, n_axes - 2], least=1e-12)  # below lies rounding


def energy_correlators(momenta, beta=1.0):
    """Return the correlations e_2 of all pairs and e_3 of all triplets of constituents.

        e_2 = sum_{i<j} z_i z_j R_ij^beta,   e_3 = sum_{i<j<k} z_i z_j z_k (R_ij R_ik R_jk)^beta,   z_i = pT_i / sum pT

    With the matrix W_ij = sqrt(z_i z_j) R_ij^beta the triplets are one product of matrices, e_3 = tr(W W W) / 6.

    Shapes:
        momenta (n, particles, 4) -> two tensors (n,)
    Raises:
        ValueError: beta is not positive.
    Example:
        >>> jet = kinematics.from_pt_eta_phi_mass(torch.tensor([60.0, 40.0]), torch.tensor([0.0, 0.5]), 0.0, 0.0)
        >>> energy_correlators(jet[None])                           # 0.6 * 0.4 * 0.5
        (tensor([0.1200]), tensor([0.]))

    Reference: Larkoski, Salam, Thaler 2013, arXiv:1305.0007.
    """
    if not beta > 0:
        raise ValueError(f"beta must be positive, not {beta:g}")

    def of_portion(constituents):
        share = shares(constituents)
        angle = separation(constituents[:, :, None], constituents[:, None]) ** beta
        root = share.sqrt()
        W = root[:, :, None] * root[:, None] * angle
        e_2 = (share * (angle @ share[..., None])[..., 0]).sum(1) / 2
        return torch.stack([e_2, ((W @ W) * W).sum((1, 2)) / 6], dim=1)

    return by_portions(of_portion, momenta, 2).unbind(1)


def correlator_ratios(e_2, e_3):
    """Return C_2 and D_2, both small for jets with two prongs and 0 where e_2 vanishes.

        C_2 = e_3 / e_2^2,    D_2 = e_3 / e_2^3

    Shapes:
        e_2, e_3 (n,) of `energy_correlators` -> two tensors (n,)
    Example:
        >>> correlator_ratios(torch.tensor([0.5]), torch.tensor([0.01]))
        (tensor([0.0400]), tensor([0.0800]))

    Reference: Larkoski, Salam, Thaler 2013, arXiv:1305.0007 (C_2); Larkoski, Moult, Neill 2014, arXiv:1409.6298 (D_2).
    """
    return _ratio(e_3, e_2**2), _ratio(e_3, e_2**3)


def girth(momenta, beta=1.0):
    """Return the width of a jet: the mean distance of its constituents from its axis, weighted with pT.

        g = sum_i z_i Delta R_i^beta,    z_i = pT_i / sum pT

    Arguments:
        beta: 1 for the girth, 2 for what the squared mass measures.
    Shapes:
        momenta (n, particles, 4) -> (n,)
    Example:
        >>> jet = kinematics.from_pt_eta_phi_mass(torch.tensor([50.0, 50.0]), torch.tensor([0.3, -0.3]), 0.0, 0.0)
        >>> girth(jet[None])
        tensor([0.3000])

    Reference: Gallicchio, Schwartz 2011, arXiv:1106.3076.
    """

    def of_portion(constituents):
        distance = separation(constituents, constituents.sum(1, keepdim=True))
        return (shares(constituents) * distance**beta).sum(1, keepdim=True)

    return by_portions(of_portion, momenta, 1)[:, 0]


def observables(momenta, charge=None, radius=0.8):
    """Return all observables of this module as a table, for boosted trees or histograms.

    Shapes:
        momenta (n, particles, 4), charge (n, particles) or None -> dict of name -> (n,); masses in GeV
    Example:
        >>> list(observables(torch.tensor([[[5.0, 3, 0, 4], [5, -3, 0, 4]]])))
        ['mass', 'multiplicity', 'tau_1', 'tau_2', 'tau_3', 'tau_4', 'tau_21', 'tau_32', 'e_2', 'e_3', 'C_2', 'D_2',
         'girth', 'pt_dispersion', 'entropy', 'groomed_mass']
    """
    tau, (e_2, e_3) = n_subjettiness(momenta, radius=radius), energy_correlators(momenta)
    c_2, d_2 = correlator_ratios(e_2, e_3)
    table = {"mass": jet_mass(momenta), "multiplicity": multiplicity(momenta)}
    table |= {f"tau_{n + 1}": tau[:, n] for n in range(4)}
    table |= {"tau_21": subjettiness_ratio(tau, 2), "tau_32": subjettiness_ratio(tau, 3)}
    table |= {"e_2": e_2, "e_3": e_3, "C_2": c_2, "D_2": d_2, "girth": girth(momenta)}
    table |= {"pt_dispersion": pt_dispersion(momenta), "entropy": entropy(momenta)}
    table["groomed_mass"] = kinematics.mass(soft_drop(momenta, radius=radius)[0].double()).to(momenta.dtype)
    if charge is not None:
        table |= {"charge": jet_charge(momenta, charge), "charged_fraction": charged_fraction(momenta, charge)}
    return table


def _ratio(a, b, least=1e-30):
    return torch.where(b > least, a / b.clamp(min=least), 0.0)
