"""Grooming of jets: what is left when soft radiation at wide angles is taken away."""

import torch

from .. import kinematics
from .recombination import by_portions, hardest, recombine, separation


def soft_drop(momenta, z_cut=0.1, beta=0.0, radius=0.8):
    """Return the jet after soft radiation at wide angles was taken away, and the first splitting that is hard enough.

        min(pT_1, pT_2) / (pT_1 + pT_2) > z_cut (Delta R_12 / R)^beta

    The jet is clustered with Cambridge/Aachen, which orders by angle, and taken apart again: while its two parts fail
    the condition, the softer one is dropped.

    Arguments:
        z_cut, beta: the condition; beta = 0 does not look at the angle. radius: R of the jets.
    Shapes:
        momenta (n, particles, 4) -> momentum (n, 4) [GeV], z (n,), Delta R_12 (n,); z = Delta R_12 = 0 and the hardest
        constituent where no splitting passes
    Raises:
        ValueError: z_cut outside 0 to 0.5, or a radius that is not positive.
    Example:
        >>> pt, eta = torch.tensor([60.0, 38.0, 2.0]), torch.tensor([0.0, 0.2, -0.7])
        >>> momentum, z, distance = soft_drop(kinematics.from_pt_eta_phi_mass(pt, eta, 0.0, 0.0)[None])
        >>> kinematics.pt(momentum).round(), z, distance
        (tensor([98.]), tensor([0.3878]), tensor([0.2000]))

    Reference: Larkoski, Marzani, Soyez, Thaler 2014, arXiv:1402.2657.
    """
    if not (0 <= z_cut <= 0.5 and radius > 0):
        raise ValueError(f"z_cut={z_cut:g} must lie in 0 to 0.5, and radius={radius:g} be positive")

    def of_portion(constituents):
        steps = [(left, *pair) for left, _, pair in recombine(constituents, "cambridge") if pair is not None]
        slot = torch.zeros(len(constituents), dtype=torch.long, device=constituents.device)
        found = torch.cat([hardest(constituents, 1)[:, 0], constituents.new_zeros(len(constituents), 2)], dim=1)
        looking = torch.ones_like(slot, dtype=torch.bool)
        for left, i, j, pair in reversed(steps):  # back in time; `slot` is where the jet was
            m = len(i)
            splits, here = looking[:m] & (slot[:m] == i), slot[:m]
            pt, distance = kinematics.pt(pair), separation(pair[:, 0], pair[:, 1])
            z = pt.amin(1) / pt.sum(1)
            passes = splits & (z > z_cut * (distance / radius) ** beta)
            splitting = torch.cat([pair.sum(1), z[:, None], distance[:, None]], dim=1)
            found[:m] = torch.where(passes[:, None], splitting, found[:m])
            looking[:m] &= ~passes
            earlier = torch.where(here == j, left, here)
            slot[:m] = torch.where(splits & (pt[:, 1] > pt[:, 0]), j, earlier)
        return found

    found = by_portions(of_portion, momenta, 6)
    return found[:, :4], found[:, 4], found[:, 5]
