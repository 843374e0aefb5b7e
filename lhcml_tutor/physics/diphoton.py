"""One-loop amplitude of g g -> gamma gamma through a box of massless quarks.

Without masses it depends on the scattering angle alone. With all legs outgoing and X = ln(t/u):

    M(++++) = M(-+++) = 1,    M(--++) = -1/2 (t^2 + u^2) / s^2 (X^2 + pi^2) - (t - u) / s X - 1

and the helicities (-+-+), (+--+) by exchanging s with u, s with t; there ln(-s) = ln s - i pi.

Reference: Bern, De Freitas and Dixon 2001, hep-ph/0109078.
"""

import math

import torch

from .. import kinematics

CHARGES = (2 / 3, -1 / 3, 2 / 3, -1 / 3, -1 / 3)  # u, d, c, s, b; a top is too heavy to count as massless


def gg_to_gamma_gamma(momenta, charges=CHARGES):
    """Return |M|^2 of g g -> gamma gamma at one loop, summed over spins and colours of all legs.

        sum |M|^2 = 8 (sum_q Q_q^2 / (4 pi^2))^2  sum_{16 helicities} |M_h|^2,    g_s = e = 1

    Multiply by (4 pi)^4 alpha_s^2 alpha^2 for the physical couplings; divide by 256 to average over the incoming spins
    and colours and by 2 for the identical photons.

    Arguments:
        charges: of the quarks in the loop, in units of e.
    Shapes:
        momenta (..., 4, 4): two gluons, two photons [GeV] -> (...,) float64, a pure number
    Raises:
        ValueError: another shape, or a scattering angle of exactly 0 or pi, where the logarithms diverge.
    Example:
        >>> beams = torch.tensor([[50.0, 0, 0, 50], [50, 0, 0, -50]], dtype=torch.float64)
        >>> event = torch.cat([beams, beams[:, [0, 3, 1, 2]]])       # photons at 90 degrees
        >>> round(gg_to_gamma_gamma(event).item(), 4)
        0.3272
    """
    if momenta.shape[-2:] != (4, 4):
        raise ValueError(
            f"momenta must have the shape (..., 4, 4): two gluons, two photons; not {tuple(momenta.shape)}"
        )
    p = momenta.double()
    s = kinematics.mass_squared(p[..., 0, :] + p[..., 1, :])
    t = kinematics.mass_squared(p[..., 0, :] - p[..., 2, :])
    u = kinematics.mass_squared(p[..., 0, :] - p[..., 3, :])
    if not ((t < 0) & (u < 0)).all():
        raise ValueError("a photon flies along a gluon (t = 0 or u = 0), where the amplitude diverges; cut on its pT")
    coupling = 8 * (sum(charge**2 for charge in charges) / (4 * math.pi**2)) ** 2
    opposite = sum(helicity_amplitude(*channel).abs() ** 2 for channel in ((s, t, u), (u, t, s), (t, s, u)))
    return coupling * (2 * (1 + opposite) + 8)


def helicity_amplitude(s, t, u):
    """Return M(--++) where the two equal helicities sit in the channel of s; any of s, t, u may be the positive one.

    Shapes:
        s, t, u (...) with s + t + u = 0 -> (...) complex128
    Example:
        >>> s, t, u = torch.tensor([[1.0], [-0.5], [-0.5]]).double()
        >>> helicity_amplitude(s, t, u).real.item() == -math.pi**2 / 4 - 1
        True
    """
    X = _log(t) - _log(u)
    return -0.5 * (t**2 + u**2) / s**2 * (X**2 + math.pi**2) - (t - u) / s * X - 1


def _log(x):
    """Return ln(-x), just above the axis: ln x - i pi for positive x."""
    return torch.complex(x.abs().log(), torch.where(x > 0, -math.pi, 0.0).to(x))
