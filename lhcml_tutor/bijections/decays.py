"""Geometry of Z -> mu mu with jets: the Z and its decay instead of two muons, and jets that are never close.

A density with a hole is hard for an invertible network: it bends space and cannot tear it.
"""

import math

import torch
from torch import nn

from ..kinematics import delta_phi
from .splines import rational_quadratic

Z_MASS, HALF_WIDTH = 91.19, 0.0137  # GeV; half of the width of the Z over its mass
TINY = 1e-3  # GeV or 1, by which intervals are opened: float32 rounds onto their ends
NO_JET = 0.38  # between two jets of radius 0.4 there is at least this distance in eta and phi


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


def muons_to_decay(pt_1, eta_1, pt_2, eta_2, phi_2):
    """Return pT, rapidity and mass of the Z, and the direction of the first muon in its rest frame.

    Phase space itself proposes these coordinates: with massless muons and dPhi = d^3p / (2 E)

        dPhi_1 dPhi_2 = 1/8 d^4Q dcos dphi,      d^4Q = m dm pT_Z dpT_Z dphi_Z dy

    The rest frame is reached by a boost along the beam, then one along pT_Z; the angle phi is measured from pT_Z.

    Shapes:
        each (n,) -> log pT_Z, y, t = log(m / m_Z) / w, cos, phi, azimuth of the Z from the first muon, log|det|: (n,)
    Example:
        >>> log_q, y, t, cos, phi, _, _ = muons_to_decay(*torch.tensor([[30.0], [1], [50], [1], [math.pi]]).double())
        >>> log_q.exp().round(decimals=4), cos.round(decimals=4), phi.abs().round(decimals=4)
        (tensor([20.], dtype=torch.float64), tensor([0.], dtype=torch.float64), tensor([3.1416], dtype=torch.float64))
    """
    x, y = pt_1 + pt_2 * phi_2.cos(), pt_2 * phi_2.sin()  # of the Z, with the first muon along the x axis
    q2, azimuth = x * x + y * y, torch.atan2(y, x)
    q = q2.sqrt()
    t = log_mass(pt_1, eta_1, pt_2, eta_2, phi_2) / HALF_WIDTH
    m = Z_MASS * (HALF_WIDTH * t).exp()
    plus = pt_1 * eta_1.exp() + pt_2 * eta_2.exp()  # E + p_z
    transverse = (m * m + q2).sqrt()
    rapidity = (plus / transverse).log()
    cos = 2 * pt_1 * (eta_1 - rapidity).sinh() / m
    along = pt_1 * x / q  # component along pT_Z, before the second boost
    energy = pt_1 * (eta_1 - rapidity).cosh()
    s_x, s_y = 2 * (transverse * along - q * energy) / m, -2 * pt_1 * y / q  # both times m
    log_det = (2 * pt_1 * pt_2 / q2 / (HALF_WIDTH * m * m)).log()
    return 0.5 * q2.log(), rapidity, t, cos, torch.atan2(s_y, s_x), azimuth, log_det


def decay_to_muons(log_q, t, cos, phi):
    """Return pT and eta of both muons for a Z of rapidity 0, their azimuth, that of the Z, and log|det|.

    A rapidity of the Z is added to both eta. This is the inverse of muons_to_decay.

    Shapes:
        each (n,) -> pT_1, eta_1, pT_2, eta_2, phi_2, azimuth of the Z from the first muon, log|det| (n,)
    Example:
        >>> x = torch.tensor([[30.0], [1], [50], [0.5], [2.0]]).double()
        >>> log_q, y, t, cos, phi, _, _ = muons_to_decay(*x)
        >>> pt_1, eta_1, pt_2, eta_2, phi_2, _, _ = decay_to_muons(log_q, t, cos, phi)
        >>> bool(torch.allclose(torch.stack([pt_1, eta_1 + y, pt_2, eta_2 + y, phi_2]), x))
        True
    """
    q, m = log_q.exp(), Z_MASS * (HALF_WIDTH * t).exp()
    transverse = (m * m + q * q).sqrt()
    sin = (1 - cos * cos).clamp(min=0).sqrt()
    along, across, beam = transverse * sin * phi.cos(), m * sin * phi.sin() / 2, m * cos / 2
    x_1, x_2 = (q + along) / 2, (q - along) / 2
    pt_1, pt_2 = (x_1**2 + across**2).sqrt(), (x_2**2 + across**2).sqrt()
    phi_1 = torch.atan2(across, x_1)
    log_det = (HALF_WIDTH * m * m * q * q / (2 * pt_1 * pt_2)).log()
    eta_1, eta_2 = (beam / pt_1).asinh(), -(beam / pt_2).asinh()
    return pt_1, eta_1, pt_2, eta_2, delta_phi(torch.atan2(-across, x_2), phi_1), -phi_1, log_det


def close_hole(eta, phi):
    """Move two jets closer, along their distance R in eta and phi, so that they fill the plane evenly.

        R'^2 = spline(R)  from (0.38, 0) to (pi, pi^2)  where R < pi,  R' = R elsewhere,      same direction

    Jets of radius 0.4 leave a hole, and a peak at its edge from collinear radiation: about as many pairs in each step
    of R. Therefore R'^2, the area, begins linearly in R. At pi its slope is that of R^2.

    Shapes:
        eta, phi (n,) -> eta', phi' (n,), log|det| (n,)
    Example:
        >>> eta, phi, _ = close_hole(torch.tensor([0.0, 5.0]), torch.tensor([0.38001, 1.0]))
        >>> phi.round(decimals=1)
        tensor([0., 1.])
    """
    distance = (eta * eta + phi * phi).sqrt()
    area, log_slope = _area(distance)
    inside = distance < math.pi
    factor = torch.where(inside, area.clamp(min=1e-12).sqrt() / distance, 1.0)
    return eta * factor, phi * factor, torch.where(inside, log_slope - (2 * distance).log(), 0.0)


def open_hole(eta, phi):
    """Return the inverse of close_hole, and its log|det|.

    Shapes:
        eta', phi' (n,) -> eta, phi (n,), log|det| (n,)
    Example:
        >>> open_hole(torch.tensor([0.0]), torch.tensor([1e-6]))[1].round(decimals=2)
        tensor([0.3800])
    """
    area = (eta * eta + phi * phi).clamp(min=1e-12)
    distance, log_slope = _area(area, inverse=True)
    inside = area < math.pi**2
    factor = torch.where(inside, distance / area.sqrt(), 1.0)
    return eta * factor, phi * factor, torch.where(inside, log_slope + (2 * distance).log(), 0.0)


def _area(x, inverse=False):
    """Return R'^2 of R below pi, or the inverse, and the logarithm of the slope."""
    even = math.pi**2 / (math.pi - NO_JET)
    knots = ((NO_JET, math.pi), (0.0, math.pi**2), (0.8 * even, 2 * math.pi))
    return rational_quadratic(x, *(torch.tensor(k).to(x)[:, None].expand(2, len(x)) for k in knots), inverse=inverse)
