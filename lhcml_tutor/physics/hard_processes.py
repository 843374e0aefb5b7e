"""Z + gluons and t H q from proton collisions at leading order, with the exact density of each event.

process = ZGluons(1, pt_min=30)
momenta = process.sample(10_000, generator)           # (10000, 2, 4): Z, g in the laboratory, unweighted
process.log_density(momenta)                          # (10000,), of (pT, y, phi) of the gluon and y of the Z
"""

import math
from itertools import combinations

import torch

from .. import kinematics
from .amplitudes import qqbar_to_z_gluons
from .collisions import PICOBARN, Collisions
from .constants import HIGGS_MASS, TOP_MASS, W_MASS, W_WIDTH, Z_MASS
from .drell_yan import FLAVOURS, weak_coupling
from .pdf import Q, X, parton_densities
from .phase_space import Decay, chain
from .single_top_higgs import bq_to_thq

MOST_DECAY = 0.0034  # GeV^-4; the weight of a decay of the top reaches 0.0029
NEAR = (0.5, 3.0)  # width and reach in rapidity of a particle thrown beside another; the width holds for the azimuth


class Recoil(Collisions):
    """n particles, of which the first takes the recoil of the others; coordinates pT, y, phi of these, and its own y.

        d sigma = sum f_1(x_1) f_2(x_2) / (36 * 2 s) sum |M|^2  (2 / S) (2 pi)^4
                  prod_{i > 1} pT_i dpT_i dy_i dphi_i / (2 (2 pi)^3)   dy_1 / (2 (2 pi)^3)

    The two integrals over x_{1,2} = sum_i m_Ti e^{+-y_i} / sqrt(S) use up the energy and the momentum along the beam.
    Transverse momenta are thrown from 1 / (pT + scale)^power, rapidities from 1 / (1 + (y / width)^2), of the first as
    it is, of the others around it; azimuths evenly. A part `close` of them is thrown beside the one before instead.
    """

    masses: tuple  # of the outgoing particles [GeV], the recoiling one first
    power = 2.3
    close = 0.0  # the part of all particles thrown beside the one before
    y_most = 6.0  # of the rapidities thrown
    widths = (2.5, 1.9)  # of the rapidity of the first particle, and of those of the others around it

    def __init__(self, energy=13_000.0):
        self.energy = energy

    def inside(self, momenta):
        """Tell which events (n, particles, 4) pass the cuts."""
        raise NotImplementedError

    def partonic(self, momenta, x_1, x_2):
        """Return sum f_1 f_2 sum |M|^2 of events with the incoming legs in front, (n, 2 + particles, 4)."""
        raise NotImplementedError

    def least_pt(self):
        """Return the scale [GeV] at which the thrown transverse momenta begin to fall, and their lowest value."""
        raise NotImplementedError

    def density(self, momenta):
        """Return d sigma / (dpT_2 dy_2 dphi_2 ... dy_1) [pb / GeV^(n - 1)] of events, zero outside the cuts."""
        legs, x_1, x_2 = self._with_beams(momenta.double())
        inside = self.inside(momenta) & (x_1 < X[1]) & (x_2 < X[1]) & (x_1 > X[0]) & (x_2 > X[0])
        value = torch.zeros(len(momenta), dtype=torch.float64, device=momenta.device)
        if not inside.any():
            return value
        legs, x_1, x_2 = legs[inside], x_1[inside], x_2[inside]
        partonic = self.partonic(legs, x_1, x_2) / (36 * 2 * x_1 * x_2 * self.energy**2)
        measure = 2 / self.energy**2 * (2 * math.pi) ** 4 * (2 * (2 * math.pi) ** 3) ** -len(self.masses)
        value[inside] = partonic * measure * kinematics.pt(legs[:, 3:]).prod(1) * PICOBARN
        return value

    def _with_beams(self, momenta):
        """Return events with the incoming partons in front, and the shares x of the protons' momenta they carry."""
        E, pz = momenta[..., 0].sum(1), momenta[..., 3].sum(1)
        x_1, x_2 = (E + pz) / self.energy, (E - pz) / self.energy
        zero, half = torch.zeros_like(x_1), self.energy / 2
        beams = [torch.stack([x * half, zero, zero, sign * x * half], -1) for x, sign in ((x_1, 1), (x_2, -1))]
        return torch.cat([torch.stack(beams, 1), momenta], 1), x_1, x_2

    def weighted(self, n, generator):
        """Return points and weights as `Collisions.weighted`."""
        others = len(self.masses) - 1
        u = torch.rand(4, others + 1, n, dtype=torch.float64, generator=generator, device=generator.device)
        scale, low = self.least_pt()
        a, most = self.power - 1, self.energy / 2
        first, last = (low + scale) ** -a, (most + scale) ** -a
        pt = (first + u[0, 1:] * (last - first)) ** (-1 / a) - scale
        pt_density = a * (pt + scale) ** -self.power / (first - last)
        wide, around = (self.widths[0], self.y_most), (self.widths[1], self.y_most)
        y, phi = [_peak(u[1, 0], *wide)], [torch.zeros_like(u[0, 0])]
        proposal = _peak_density(y[0], *wide) * pt_density.prod(0)
        for i in range(1, others + 1):
            share = self.close if i > 1 else 0.0
            close = u[3, i] < share
            y.append(torch.where(close, y[-1] + _peak(u[1, i], *NEAR), y[0] + _peak(u[1, i], *around)))
            turn = torch.where(close, phi[-1] + _peak(u[2, i], NEAR[0], math.pi), 2 * math.pi * u[2, i])
            apart = torch.remainder(turn - phi[-1] + math.pi, 2 * math.pi) - math.pi
            beside = _peak_density(y[i] - y[i - 1], *NEAR) * _peak_density(apart, NEAR[0], math.pi)
            proposal *= share * beside + (1 - share) * _peak_density(y[i] - y[0], *around) / (2 * math.pi)
            phi.append(turn)
        momenta = self.from_coordinates(pt.T, torch.stack(y[1:], 1), torch.stack(phi[1:], 1), y[0])
        return momenta, self.density(momenta) / proposal

    def from_coordinates(self, pt, y, phi, y_first):
        """Return momenta from transverse momenta [GeV], rapidities and azimuths of all but the first particle.

        Shapes:
            pt, y, phi (n, particles - 1), y_first (n,) -> (n, particles, 4)
        """
        px, py = pt * phi.cos(), pt * phi.sin()
        px, py = torch.cat([-px.sum(1, True), px], 1), torch.cat([-py.sum(1, True), py], 1)
        m_t = (torch.tensor(self.masses, dtype=pt.dtype, device=pt.device) ** 2 + px**2 + py**2).sqrt()
        y = torch.cat([y_first[:, None], y], 1)
        return torch.stack([m_t * y.cosh(), px, py, m_t * y.sinh()], -1)


class ZGluons(Recoil):
    """q qbar -> Z g ... g from two protons, the Z on its mass shell, quark flavours d, u, s, c, b.

    Events are the Z, then the gluons in no order. Of the points thrown, 27% are kept for one gluon, 9% for two.

    Arguments:
        n_gluons: how many. energy: of the two protons together [GeV].
        pt_min: least transverse momentum of each gluon [GeV], above zero; eta_max: their largest |pseudorapidity|.
        delta_r_min: least distance between two gluons.
        alpha_s: strong coupling, a constant. Densities of the protons are taken at the transverse mass of the Z.
    Raises:
        ValueError: no gluon, or cuts that leave a divergence inside.
    Example:
        >>> process = ZGluons(1)
        >>> momenta = process.sample(100, torch.Generator().manual_seed(1))
        >>> momenta.shape, bool(process.log_density(momenta).isfinite().all())
        (torch.Size([100, 2, 4]), True)
    """

    close = 0.35

    def __init__(self, n_gluons=1, energy=13_000.0, *, pt_min=30.0, eta_max=4.0, delta_r_min=0.4, alpha_s=0.118):
        if n_gluons < 1 or not pt_min > 0 or not 0 < eta_max < math.inf or (n_gluons > 1 and not delta_r_min > 0):
            raise ValueError(
                f"n_gluons={n_gluons}, pt_min={pt_min:g} GeV, eta_max={eta_max:g}, delta_r_min={delta_r_min:g}: all "
                "must be above zero; soft and collinear gluons diverge"
            )
        super().__init__(energy)
        self.power = 3.0 if n_gluons == 1 else 2.3
        self.masses = (Z_MASS, *[0.0] * n_gluons)
        self.pt_min, self.eta_max, self.delta_r_min, self.alpha_s = pt_min, eta_max, delta_r_min, alpha_s

    def inside(self, momenta):
        """Tell which events (n, 1 + n_gluons, 4), the Z first, pass the cuts."""
        gluons = momenta[:, 1:]
        keep = (kinematics.pt(gluons) >= self.pt_min).all(1) & (kinematics.eta(gluons).abs() <= self.eta_max).all(1)
        for i, j in combinations(range(gluons.shape[1]), 2):
            keep &= kinematics.delta_r(gluons[:, i], gluons[:, j]) >= self.delta_r_min
        return keep

    def least_pt(self):
        return 20.0, self.pt_min

    def partonic(self, momenta, x_1, x_2):
        first, second, column = _densities(momenta, x_1, x_2, self._scale(momenta))
        n_gluons = momenta.shape[1] - 3
        total = 0.0
        for flavour, quark in FLAVOURS.items():
            i, j = column[flavour], column[-flavour]
            coupling = sum(weak_coupling(quark, "Z", left) ** 2 for left in (True, False))
            total = total + coupling * (first[:, i] * second[:, j] + first[:, j] * second[:, i])
        strong = (4 * math.pi * self.alpha_s) ** n_gluons / math.factorial(n_gluons)
        return total * strong * qqbar_to_z_gluons(momenta, left=1.0, right=0.0)

    @staticmethod
    def _scale(momenta):
        return (Z_MASS**2 + kinematics.pt(momenta[:, 2]) ** 2).sqrt()


class TopHiggsJet(Recoil):
    """b q -> t H q' from two protons: top quarks alone, no antitops, at any CP angle.

    Events are H, t, q'; H and t on their mass shells, no cuts but the one on q'. Densities of the protons are taken at
    (m_t + m_H) / 2. Of the points thrown, 0.5% are kept at angle 0: where the diagrams cancel, no simple map follows.

    Arguments:
        cp_angle: of the Yukawa coupling [rad]; see `bq_to_thq`.
        energy: of the two protons together [GeV]. pt_min: least transverse momentum of q' [GeV].
    Example:
        >>> process = TopHiggsJet(cp_angle=0.0)
        >>> momenta = process.sample(100, torch.Generator().manual_seed(1))
        >>> momenta.shape, bool(process.log_density(momenta).isfinite().all())
        (torch.Size([100, 3, 4]), True)
        >>> process.decayed(momenta, torch.Generator().manual_seed(2)).shape
        torch.Size([100, 5, 4])
    """

    points = 2**16
    masses = (HIGGS_MASS, TOP_MASS, 0.0)
    power = 4.3
    y_most = 6.5
    widths = (2.7, 4.0)

    def __init__(self, cp_angle=0.0, energy=13_000.0, *, pt_min=0.0):
        super().__init__(energy)
        self.cp_angle, self.pt_min = cp_angle, pt_min

    def inside(self, momenta):
        """Tell which events (n, 3, 4) of H, t, q' pass the cut."""
        return kinematics.pt(momenta[:, 2]) >= self.pt_min

    def least_pt(self):
        return 300.0, 0.0  # the cut is on q' alone

    def partonic(self, momenta, x_1, x_2):
        return sum(flux * bq_to_thq(*legs) for flux, legs in self._channels(momenta, x_1, x_2))

    def _channels(self, momenta, x_1, x_2):
        """Return the flux of partons and the arguments of the amplitude of each way to make events (n, 5, 4)."""
        scale = torch.full_like(x_1, (TOP_MASS + HIGGS_MASS) / 2)
        first, second, column = _densities(momenta, x_1, x_2, scale)
        partners = {False: [column[2], column[4]], True: [column[-1], column[-3]]}  # q is u, c or dbar, sbar
        for one, other, order in ((first, second, [0, 1]), (second, first, [1, 0])):
            for antiquark, quarks in partners.items():
                flux = one[:, column[5]] * other[:, quarks].sum(1)
                yield flux, (momenta[:, [*order, 3, 2, 4]], self.cp_angle, antiquark)

    def decayed(self, momenta, generator):
        """Return events with the top decayed, t -> b l nu with all spin correlations, by hit-or-miss.

        Shapes:
            momenta (n, 3, 4) of H, t, q' -> (n, 5, 4): H, b, charged lepton, neutrino, q'
        """
        legs, x_1, x_2 = self._with_beams(momenta)
        rates = torch.stack([flux * bq_to_thq(*way) for flux, way in self._channels(legs, x_1, x_2)], 1)
        channel = torch.multinomial(rates, 1, generator=generator)[:, 0]
        made = torch.zeros(len(momenta), 5, 4, dtype=torch.float64, device=momenta.device)
        w = Decay(0.0, 0.0, mass=W_MASS, width=W_WIDTH)
        for i, (_, (own, angle, antiquark)) in enumerate(self._channels(legs, x_1, x_2)):
            missing = (channel == i).nonzero()[:, 0]
            while len(missing):
                event = own[missing]  # b, q, t, H, q'
                products, weight = chain(event[:, 2], Decay(0.0, w), generator)
                whole = torch.cat([event[:, :2], products, event[:, 3:]], 1)
                weight = weight * bq_to_thq(whole, angle, antiquark) / bq_to_thq(event, angle, antiquark)
                u = torch.rand(len(weight), dtype=torch.float64, device=weight.device, generator=generator)
                good = u * MOST_DECAY < weight
                made[missing[good]] = whole[good][:, [5, 2, 3, 4, 6]]
                missing = missing[~good]
        return made


def _densities(momenta, x_1, x_2, scale):
    """Return f(x, Q), not x f, of both protons (n, 11), and which column holds which parton."""
    densities = parton_densities().to(x_1.device)
    scale = scale.clamp(*Q)
    return *(densities(x, scale) / x[:, None] for x in (x_1, x_2)), densities.column


def _peak(u, width, most):
    """Return values in -most ... most, drawn from 1 / (1 + (x / width)^2) by the random numbers u."""
    return width * torch.tan(math.atan(most / width) * (2 * u - 1))


def _peak_density(x, width, most):
    return torch.where(x.abs() <= most, 1 / (2 * math.atan(most / width) * width * (1 + (x / width) ** 2)), 0.0)
