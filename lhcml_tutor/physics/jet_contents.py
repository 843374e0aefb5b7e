"""Contents of jets: numbers that count what a jet is made of and how pT is shared, and do not look at angles.

    multiplicity(momenta), entropy(momenta), charged_fraction(momenta, charge)          # (n,) each

Constituents are zero-padded tensors (n, particles, 4) of (E, px, py, pz) in GeV. A jet without constituents has 0.
"""

import torch

from .. import kinematics
from .recombination import checked


def multiplicity(momenta):
    """Return the number of constituents, those with transverse momentum.

    Shapes:
        momenta (n, particles, 4) -> (n,), of the type of the momenta
    Example:
        >>> multiplicity(torch.tensor([[[5.0, 3, 0, 4], [5, -3, 0, 4], [0, 0, 0, 0]]]))
        tensor([2.])
    """
    return (checked(momenta)[..., 1:3] != 0).any(-1).sum(1).to(momenta.dtype)


def pt_dispersion(momenta):
    """Return pTD: 1 for one hard constituent, 1 / sqrt(k) for k equal ones.

        pTD = sqrt(sum_i pT_i^2) / sum_i pT_i

    Shapes:
        momenta (n, particles, 4) -> (n,)
    Example:
        >>> pt_dispersion(torch.tensor([[[5.0, 3, 0, 4], [5, -3, 0, 4]]]))
        tensor([0.7071])

    Reference: Larkoski, Thaler, Waalewijn 2014, arXiv:1408.3122.
    """
    return shares(checked(momenta).double()).norm(dim=1).to(momenta.dtype)


def entropy(momenta):
    """Return the entropy of the fractions of pT: 0 for one hard constituent, log k for k equal ones.

        S = -sum_i z_i log z_i,    z_i = pT_i / sum pT

    Shapes:
        momenta (n, particles, 4) -> (n,)
    Example:
        >>> entropy(torch.tensor([[[5.0, 3, 0, 4], [5, -3, 0, 4]]]))
        tensor([0.6931])

    Reference: Neill, Waalewijn 2018, arXiv:1811.01021 (entropy of a jet, of which this is the simplest).
    """
    return torch.special.entr(shares(checked(momenta).double())).sum(1).to(momenta.dtype)


def jet_charge(momenta, charge, kappa=0.5):
    """Return the charges of the constituents, weighted with a power of their share in pT.

        Q = sum_i q_i z_i^kappa,    z_i = pT_i / sum pT

    Shapes:
        momenta (n, particles, 4), charge (n, particles) [e] -> (n,)
    Raises:
        ValueError: the charges have another shape, or kappa is not positive.
    Example:
        >>> jet = torch.tensor([[[5.0, 3, 0, 4], [5, -3, 0, 4]]])
        >>> jet_charge(jet, torch.tensor([[1, 0]]))
        tensor([0.7071])

    Reference: Krohn, Schwartz, Lin, Waalewijn 2012, arXiv:1209.2421.
    """
    _one_each(momenta, charge, "charge")
    if not kappa > 0:
        raise ValueError(f"kappa must be positive, not {kappa:g}")
    return (charge * shares(momenta.double()) ** kappa).sum(1).to(momenta.dtype)


def charged_fraction(momenta, charge):
    """Return the part of the transverse momentum that charged particles carry, 2/3 were all of them pions.

        f = sum_{q_i != 0} z_i,    z_i = pT_i / sum pT

    Shapes:
        momenta (n, particles, 4), charge (n, particles) [e] -> (n,)
    Raises:
        ValueError: the charges have another shape.
    Example:
        >>> jet = torch.tensor([[[5.0, 3, 0, 4], [5, -3, 0, 4]]])
        >>> charged_fraction(jet, torch.tensor([[-1, 0]]))
        tensor([0.5000])
    """
    _one_each(momenta, charge, "charge")
    return ((charge != 0) * shares(momenta.double())).sum(1).to(momenta.dtype)


def identity_entropy(momenta, pdg_id):
    """Return how mixed the kinds of particles are: 0 for one kind alone, log k for k kinds in equal numbers.

        S = -sum_k f_k log f_k,    f_k: the part of the constituents that have the number k

    Shapes:
        momenta (n, particles, 4), pdg_id (n, particles), 0 for padding -> (n,)
    Raises:
        ValueError: the numbers have another shape.
    Example:
        >>> jet = torch.tensor([[[5.0, 3, 0, 4], [5, -3, 0, 4], [0, 0, 0, 0]]])
        >>> identity_entropy(jet, torch.tensor([[22, 211, 0]]))
        tensor([0.6931])
    """
    _one_each(momenta, pdg_id, "pdg_id")
    total, there = torch.zeros(len(momenta), dtype=torch.float64, device=momenta.device), pdg_id != 0
    number = there.sum(1).clamp(min=1)
    for kind in pdg_id[there].unique():
        total += torch.special.entr((pdg_id == kind).sum(1) / number)
    return total.to(momenta.dtype)


def shares(momenta):
    """Return the part of the transverse momentum that each constituent carries, in all 1.

    Shapes:
        momenta (n, particles, 4) -> (n, particles)
    Example:
        >>> shares(torch.tensor([[[5.0, 3, 0, 4], [5, -3, 0, 4], [0, 0, 0, 0]]]))
        tensor([[0.5000, 0.5000, 0.0000]])
    """
    pt = kinematics.pt(momenta)
    return pt / pt.sum(1, keepdim=True).clamp(min=torch.finfo(pt.dtype).tiny)


def _one_each(momenta, values, name):
    if values.shape != checked(momenta).shape[:2]:
        given = f"{name} {tuple(values.shape)} to momenta {tuple(momenta.shape)}"
        raise ValueError(f"give one {name} for each constituent, not {given}")
