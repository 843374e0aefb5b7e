"""Geometry of Z -> mu mu with jets: coordinates without holes for two muons, and for two jets that are never close.

Both are maps of the plane. A density with a hole is hard for an invertible network: it bends space and cannot tear it.
"""

import math

import torch
from torch import nn

Z_MASS, HALF_WIDTH = 91.19, 0.0137  # GeV; half of the width of the Z over its mass
TINY = 1e-3  # GeV or 1, by which intervals are opened: float32 rounds onto their ends
NO_JET = 0.38  # between two jets of radius 0.4 there is at least this distance in eta and phi


def wrap(phi):
    """Bring an angle to -pi ... pi by whole turns.

    Shapes:
        phi (...) -> (...)
    Example:
        >>> wrap(torch.tensor([3.5])).item() < 0
        True
    """
    return torch.remainder(phi + math.pi, 2 * math.pi) - math.pi


def open_interval(x, half):
    """Return log((a + x) / (a - x)) and the logarithm of its slope, with a slightly beyond half.

    Shapes:
        x (n,) in -half ... half -> (n,), (n,)
    Example:
        >>> open_interval(torch.tensor([0.0]), 2.5)[0]
        tensor([0.])
    """
    a = half + TINY
    return ((a + x) / (a - x)).log(), (2 * a / ((a + x) * (a - x))).log()


def close_interval(z, half):
    """Return the inverse of open_interval and the logarithm of its slope.

    Shapes:
        z (n,) -> (n,), (n,)
    Example:
        >>> close_interval(torch.tensor([0.0]), 2.5)[0]
        tensor([0.])
    """
    a = half + TINY
    return a * (z / 2).tanh(), math.log(2 * a) + nn.functional.logsigmoid(z) + nn.functional.logsigmoid(-z)


def log_mass(pt_1, eta_1, pt_2, eta_2, phi_2):
    """Return log(m / m_Z) of two massless muons, the first at azimuth 0.

        m^2 = 2 pT_1 pT_2 (cosh(eta_1 - eta_2) - cos phi_2)

    Shapes:
        each (n,) -> (n,)
    Example:
        >>> round(log_mass(*torch.tensor([[45.595], [0], [45.595], [0], [math.pi]])).item(), 5)
        0.0
    """
    return 0.5 * (2 * pt_1 * pt_2 * ((eta_1 - eta_2).cosh() - phi_2.cos())).log() - math.log(Z_MASS)


def muons_to_polar(pt_1, eta_1, pt_2, eta_2, phi_2):
    """Return log pT_Z, t = log(m / m_Z) / w and an angle psi in place of pT_1, pT_2 and phi_2.

    Few events have a Z at rest, which in (pT_1, pT_2, phi_2) is a hole. It becomes the far end of log pT_Z. With
    a = log(pT_1 / pT_2), delta = phi_2 - pi, C = cosh(eta_1 - eta_2), u = sinh(a / 2), v = sin(delta / 2):

        m^2 = 2 pT_1 pT_2 (C + cos delta),      k = (pT_Z / m)^2 = 2 (u^2 + v^2) / (C + cos delta)

    At fixed k, (u, v) lies on the ellipse u^2 + (1 + k) v^2 = r^2 with r^2 = k (C + 1) / 2, cut at |v| = 1:

        sin psi = v / min(1, r / sqrt(1 + k)),      the sign of cos psi is that of u

    Shapes:
        each (n,) -> log pT_Z, t, psi (n,), and log|det| (n,)
    Example:
        >>> log_q, t, psi, _ = muons_to_polar(*torch.tensor([[30.0], [1], [50], [0.5], [math.pi]]))
        >>> round(log_q.exp().item(), 4), psi.item()
        (20.0, 3.1415927410125732)
    """
    half, delta = (pt_1 / pt_2).log() / 2, wrap(phi_2 - math.pi)
    u, v = half.sinh(), (delta / 2).sin()
    both = (eta_1 - eta_2).cosh() + delta.cos()
    k = 2 * (u * u + v * v) / both
    t = log_mass(pt_1, eta_1, pt_2, eta_2, phi_2) / HALF_WIDTH
    round_ = u * u + (1 + k) * v * v < 1 + k  # a whole ellipse
    psi = torch.atan2(torch.where(round_, v * (1 + k).sqrt(), v), torch.where(round_, u, _signed(1 - v * v, u)))
    log_q = math.log(Z_MASS) + HALF_WIDTH * t + 0.5 * k.log()
    return log_q, t, psi, _log_det(half, delta, both, k, round_) - (2 * HALF_WIDTH * k * pt_1 * pt_2).log()


def polar_to_muons(log_q, eta_1, t, eta_2, psi):
    """Return pT_1, pT_2 and phi_2, and log|det|; the inverse of muons_to_polar.

    Shapes:
        each (n,) -> pT_1, pT_2, phi_2 (n,), and log|det| (n,)
    Example:
        >>> x = torch.tensor([[30.0], [1], [50], [0.5], [2.0]])
        >>> log_q, t, psi, _ = muons_to_polar(*x)
        >>> torch.stack(polar_to_muons(log_q, x[1], t, x[3], psi)[:3]).flatten()
        tensor([30.0000, 50.0000,  2.0000])
    """
    log_m = math.log(Z_MASS) + HALF_WIDTH * t
    k = (2 * (log_q - log_m)).exp()
    cosh = (eta_1 - eta_2).cosh()
    r2 = k * (cosh + 1) / 2
    round_ = r2 < 1 + k
    v = psi.sin() * torch.where(round_, (r2 / (1 + k)).sqrt(), 1.0)
    u = torch.where(round_, r2.sqrt() * psi.cos(), _signed(r2 - (1 + k) * v * v, psi.cos()))
    half, delta = u.asinh(), 2 * v.asin()
    both = cosh + delta.cos()
    mean = (log_m - 0.5 * (2 * both).log()).exp()  # root of pT_1 pT_2
    pt_1, pt_2 = mean * half.exp(), mean * (-half).exp()
    log_det = (2 * HALF_WIDTH * k * pt_1 * pt_2).log() - _log_det(half, delta, both, k, round_)
    return pt_1, pt_2, wrap(delta + math.pi), log_det


def _log_det(half, delta, both, k, round_):
    """Return log|d(k, psi) / d(a, delta)|, (n,)."""
    ellipse = (1 + k).sqrt() * half.cosh() * (delta / 2).cos() / both
    cut = (2 * half).sinh().abs() / (2 * both)
    return torch.where(round_, ellipse, cut).log()


def _signed(square, like):
    """Return the root of a square with the sign of something."""
    return torch.copysign(square.clamp(min=0).sqrt(), like)


def close_hole(eta, phi):
    """Pull the distance of two jets in eta and phi towards 0, so that it has no hole; (eta, phi) -> (eta', phi').

        R'^2 = (R^2 - r^2) pi^2 / (pi^2 - r^2)  where R < pi,  R' = R elsewhere,      r = 0.38, same direction

    It scales all areas inside by the same number, so what was even stays even.

    Shapes:
        eta, phi (n,) -> eta', phi' (n,), log|det| (n,)
    Example:
        >>> eta, phi, _ = close_hole(torch.tensor([0.0, 5.0]), torch.tensor([0.38001, 1.0]))
        >>> phi.round(decimals=1)
        tensor([0., 1.])
    """
    square = eta * eta + phi * phi
    grow = math.pi**2 / (math.pi**2 - NO_JET**2)
    inside = square < math.pi**2
    factor = torch.where(inside, ((1 - NO_JET**2 / square) * grow).clamp(min=1e-12), 1.0).sqrt()
    return eta * factor, phi * factor, torch.where(inside, math.log(grow), 0.0).to(eta)


def open_hole(eta, phi):
    """Return the inverse of close_hole, and its log|det|.

    Shapes:
        eta', phi' (n,) -> eta, phi (n,), log|det| (n,)
    Example:
        >>> open_hole(torch.tensor([0.0]), torch.tensor([1e-6]))[1].round(decimals=2)
        tensor([0.3800])
    """
    square = (eta * eta + phi * phi).clamp(min=1e-12)
    grow = math.pi**2 / (math.pi**2 - NO_JET**2)
    inside = square < math.pi**2
    factor = torch.where(inside, 1 / grow + NO_JET**2 / square, 1.0).sqrt()
    return eta * factor, phi * factor, torch.where(inside, -math.log(grow), 0.0).to(eta)
