"""Top decays moved onto the mass shell: the same event, with the masses of top and W at their central values."""

import torch

from .. import kinematics
from .constants import TOP_MASS, W_MASS


def on_shell(bottom, quark, antiquark, top_mass=TOP_MASS, w_mass=W_MASS):
    """Return the three partons of t -> b q qbar' with the masses of top and W set, all else kept.

    Kept are the three-momentum of the top, the direction of the W in the rest frame of the top, and the direction of
    the quark in the rest frame of the W. Massless partons stay massless, the b keeps its mass.

    Shapes:
        bottom, quark, antiquark (n, 4) [GeV] -> three tensors (n, 4)
    Raises:
        ValueError: masses that the decay does not allow.
    Example:
        >>> b, q, qbar = torch.tensor([[[60.0, 60, 0, 0]], [[70, 0, 70, 0]], [[50, 0, 0, 50]]]).double()
        >>> moved = on_shell(b, q, qbar)
        >>> round(kinematics.mass(sum(moved)).item(), 2), round(kinematics.mass(moved[1] + moved[2]).item(), 4)
        (172.57, 80.3692)
    """
    b_mass = kinematics.mass(bottom)
    if not top_mass > w_mass + b_mass.max() or not w_mass > 0:
        raise ValueError(
            f"a top of {top_mass:g} GeV cannot decay into a W of {w_mass:g} and a b of {b_mass.max():g} GeV"
        )
    top = bottom + quark + antiquark
    to_rest = -kinematics.velocity(top)
    w, first = (kinematics.boost(p, to_rest) for p in (quark + antiquark, quark))
    along = w[:, 1:] / w[:, 1:].norm(dim=1, keepdim=True)
    inner = kinematics.boost(first, -kinematics.velocity(w))[:, 1:]
    inner = inner / inner.norm(dim=1, keepdim=True)

    new_top = torch.cat([(top_mass**2 + (top[:, 1:] ** 2).sum(1, keepdim=True)).sqrt(), top[:, 1:]], 1)
    energy = ((top_mass**2 + w_mass**2 - b_mass**2) / (2 * top_mass))[:, None]
    new_w = torch.cat([energy, (energy**2 - w_mass**2).sqrt() * along], 1)
    half = torch.full_like(energy, w_mass / 2)
    pair = [kinematics.boost(torch.cat([half, sign * half * inner], 1), kinematics.velocity(new_w)) for sign in (1, -1)]
    new_b = torch.cat([top_mass - energy, -new_w[:, 1:]], 1)
    return tuple(kinematics.boost(p, kinematics.velocity(new_top)) for p in (new_b, *pair))
