"""Drell-Yan pairs, q qbar -> photon, Z, Z' -> l- l+: the amplitude, and proton collisions whose density is exact.

process = DrellYan(mass=(60, 120), pt_min=20, eta_max=2.5)
momenta = process.sample(10_000, generator)           # (10000, 2, 4): l-, l+ in the laboratory, unweighted
process.log_density(momenta)                          # (10000,), of (mass, y, cos theta*, phi), normalised
"""

import math

import torch

from .. import kinematics
from .collisions import PICOBARN, Collisions
from .constants import Z_MASS, Z_WIDTH
from .pdf import parton_densities

ALPHA, SINE2 = 1 / 128.0, 0.231  # electromagnetic coupling at the Z mass, sine of the weak mixing angle squared
UP, DOWN, LEPTON = (2 / 3, 0.5), (-1 / 3, -0.5), (-1.0, -0.5)  # charge Q, weak isospin T of the left-handed
FLAVOURS = {1: DOWN, 2: UP, 3: DOWN, 4: UP, 5: DOWN}
BOSONS = ("photon", "Z", "Z'")
COLOURS = 3


def drell_yan(momenta, quark=UP, bosons=("photon", "Z"), z_prime=(1000.0, 30.0)):
    """Return the squared amplitude of q qbar -> l- l+, summed over spins and colours of all legs.

        sum |M|^2 = 4 N_c [u^2 (|P_LL|^2 + |P_RR|^2) + t^2 (|P_LR|^2 + |P_RL|^2)],
        P_ij = sum_V g_i^V(quark) g_j^V(lepton) / (s - M_V^2 + i M_V Gamma_V)

    The photon couples with e Q, the Z and the Z' (a heavy copy of the Z) with e (T - Q s_w^2) / (s_w c_w), T = 0 for
    right-handed particles. Terms separate: what two bosons do together minus what each does alone is interference.

    Arguments:
        quark: UP or DOWN, charge and isospin.
        bosons: which are exchanged, of "photon", "Z", "Z'".
        z_prime: mass and width of the Z' [GeV].
    Shapes:
        momenta (..., 4, 4) of q, qbar, l-, l+ as (E, px, py, pz) [GeV], incoming with positive energies -> (...)
    Raises:
        ValueError: an unknown boson, or momenta of another shape.
    Example:
        >>> beams = torch.tensor([[50.0, 0, 0, 50], [50, 0, 0, -50]], dtype=torch.float64)
        >>> event = torch.cat([beams, beams[:, [0, 3, 1, 2]]])       # leptons at 90 degrees
        >>> round(float(drell_yan(event, bosons=("photon",)) / (4 * math.pi * ALPHA) ** 2), 4)   # 3 * 4 * (2/3)^2
        5.3333
    """
    if momenta.shape[-2:] != (4, 4):
        raise ValueError(f"momenta must have the shape (..., 4, 4): q, qbar, l-, l+; not {tuple(momenta.shape)}")
    q, qbar, lepton, _ = momenta.unbind(-2)
    s, t = kinematics.mass_squared(q + qbar), kinematics.mass_squared(q - lepton)
    return _amplitude(s, t, -s - t, quark, bosons, z_prime)


class DrellYan(Collisions):
    """Lepton pairs from proton collisions at leading order, with the density of each event.

        d sigma / (dm dy dcos dphi) = sum_q [f_q(x_1) f_qbar(x_2) sigma(cos) + f_qbar(x_1) f_q(x_2) sigma(-cos)] 2m / S,
        x_{1,2} = (m / sqrt(S)) e^{+-y},    sigma = sum |M|^2 / (36 * 2 m^2 * 32 pi^2)

    with the angle theta* of l- to the first proton in the rest frame of the pair, and densities at the scale m.

    Arguments:
        energy: of the two protons together [GeV].
        mass: lowest and highest mass of the pair [GeV], within 2 to 5000.
        bosons, z_prime: as in `drell_yan`.
        pt_min: least transverse momentum of each lepton [GeV]; eta_max: largest |pseudorapidity|.
    Raises:
        ValueError: a mass window that is empty or leaves the grid of densities, or cuts that no event can pass.
    Example:
        >>> process = DrellYan(mass=(80, 100))
        >>> momenta = process.sample(100, torch.Generator().manual_seed(1))
        >>> momenta.shape, bool(process.log_density(momenta).isfinite().all())
        (torch.Size([100, 2, 4]), True)
    """

    points = 2**18

    def __init__(self, energy=13_000.0, mass=(60.0, 120.0), bosons=("photon", "Z"), z_prime=(1000.0, 30.0), *,
                 pt_min=0.0, eta_max=math.inf):  # fmt: skip
        low, high = mass
        if not 2 <= low < high <= min(5000, 0.7 * energy):
            raise ValueError(
                f"the mass window {low:g} to {high:g} GeV must rise, and lie in 2 to 5000 GeV and 0.7 energy"
            )
        if not (0 <= 2 * pt_min < high and eta_max > 0):
            raise ValueError(f"no pair passes pt_min={pt_min:g} GeV, eta_max={eta_max:g} in {low:g} to {high:g} GeV")
        self.energy, self.mass, self.bosons, self.z_prime = energy, mass, _known(bosons), z_prime
        self.pt_min, self.eta_max = pt_min, eta_max

    def differential(self, mass, y, cosine):
        """Return d sigma / (dm dy dcos dphi) [pb / GeV], before cuts on the leptons.

        Shapes:
            mass [GeV], y, cosine (n,) -> (n,)
        """
        x = torch.stack([mass / self.energy * y.exp(), mass / self.energy * (-y).exp()])
        inside = ((x > 1e-6) & (x < 0.7)).all(0)
        densities = parton_densities()
        first, second = (densities.to(mass.device)(part.clamp(1e-6, 0.7), mass) for part in x)  # (n, 11) x f
        s, total = mass**2, 0.0
        t = -s / 2 * (1 - cosine)
        for flavour, quark in FLAVOURS.items():
            i, j = densities.column[flavour], densities.column[-flavour]
            total = total + first[:, i] * second[:, j] * _amplitude(s, t, -s - t, quark, self.bosons, self.z_prime)
            total = total + first[:, j] * second[:, i] * _amplitude(s, -s - t, t, quark, self.bosons, self.z_prime)
        partonic = total / x.prod(0) / (36 * 2 * s * 32 * math.pi**2)
        return torch.where(inside, partonic * 2 * mass / self.energy**2 * PICOBARN, torch.zeros_like(mass))

    def density(self, momenta):
        """Return d sigma / (dm dy dcos dphi) [pb / GeV] of events (n, 2, 4), zero outside the cuts."""
        mass, y, cosine = coordinates(momenta)
        low, high = self.mass
        inside = (mass >= low) & (mass <= high)
        inside &= (kinematics.pt(momenta) >= self.pt_min).all(1) & (kinematics.eta(momenta).abs() <= self.eta_max).all(
            1
        )
        value = self.differential(mass.clamp(low, high), y, cosine)
        return torch.where(inside, value, torch.zeros_like(value))

    def weighted(self, n, generator):
        """Return points momenta (n, 2, 4) and weights (n,) [pb] with mean(weights) = cross section inside the cuts.

        The mass is drawn from Breit-Wigner peaks of the massive bosons and from 1 / m^3, in equal shares; the rapidity
        evenly over what the mass allows; the angle from 1 + cos^2.
        """
        u = torch.rand(5, n, dtype=torch.float64, generator=generator, device=generator.device)
        mass, mass_density = self._draw_mass(u[0], u[1])
        y_max = torch.log(0.7 * self.energy / mass)
        y = y_max * (2 * u[2] - 1)
        a = 4 * u[3] - 2  # c^3 + 3 c = 2 a has one real root
        root = (a + (a**2 + 1).sqrt()).pow(1 / 3)
        cosine = root - 1 / root
        momenta = from_coordinates(mass, y, cosine, 2 * math.pi * u[4])
        proposal = mass_density / (2 * y_max) * 3 / 8 * (1 + cosine**2) / (2 * math.pi)
        return momenta, self.density(momenta) / proposal

    def _draw_mass(self, u, choice):
        """Return masses (n,) and their density (n,) [1 / GeV]."""
        low, high = self.mass
        peaks = [peak for name, peak in (("Z", (Z_MASS, Z_WIDTH)), ("Z'", self.z_prime)) if name in self.bosons]
        ends = [[math.atan((end**2 - m**2) / (m * width)) for end in (low, high)] for m, width in peaks]
        candidates = [1 / (low**-2 + u * (high**-2 - low**-2)).sqrt()]
        for (m, width), (first, last) in zip(peaks, ends):
            candidates.append((m**2 + m * width * torch.tan(first + u * (last - first))).clamp(min=low**2).sqrt())
        which = (choice * len(candidates)).long().clamp(max=len(candidates) - 1)
        mass = torch.stack(candidates).gather(0, which[None])[0].clamp(low, high)
        density = 2 * mass**-3 / (low**-2 - high**-2)
        for (m, width), (first, last) in zip(peaks, ends):
            density = density + 2 * mass * m * width / ((mass**2 - m**2) ** 2 + (m * width) ** 2) / (last - first)
        return mass, density / len(candidates)


def coordinates(momenta):
    """Return mass [GeV], rapidity and cos theta* of pairs l-, l+ without transverse momentum.

        cos theta* = tanh((y(l-) - y(l+)) / 2)

    Shapes:
        momenta (n, 2, 4) -> three tensors (n,)
    Example:
        >>> pairs = from_coordinates(*torch.tensor([[91.0], [0.5], [0.2], [1.0]], dtype=torch.float64))
        >>> [round(float(value), 6) for value in coordinates(pairs)]
        [91.0, 0.5, 0.2]
    """
    total, y = momenta.sum(1), kinematics.rapidity(momenta)
    return kinematics.mass(total), kinematics.rapidity(total), torch.tanh((y[:, 0] - y[:, 1]) / 2)


def from_coordinates(mass, y, cosine, phi):
    """Return the momenta of l- and l+ in the laboratory.

    Shapes:
        mass [GeV], y, cosine, phi (n,) -> (n, 2, 4)
    Example:
        >>> from_coordinates(*torch.tensor([[100.0], [0.0], [0.0], [0.0]]))[0, 0].round()
        tensor([50., 50., 0., 0.])
    """
    sine = (1 - cosine**2).clamp(min=0).sqrt()
    direction = torch.stack([sine * phi.cos(), sine * phi.sin(), cosine], dim=1)
    pair = torch.stack(
        [torch.cat([torch.ones_like(mass)[:, None], sign * direction], dim=1) for sign in (1, -1)], dim=1
    )
    E, px, py, pz = (pair * mass[:, None, None] / 2).unbind(-1)
    cosh, sinh = y.cosh()[:, None], y.sinh()[:, None]
    return torch.stack([E * cosh + pz * sinh, px, py, pz * cosh + E * sinh], dim=-1)


def _amplitude(s, t, u, quark, bosons, z_prime):
    total = 0.0
    for i in (True, False):  # left-handed quark
        for j in (True, False):  # left-handed lepton
            propagators = 0.0
            for boson in _known(bosons):
                mass, width = {"photon": (0.0, 0.0), "Z": (Z_MASS, Z_WIDTH), "Z'": z_prime}[boson]
                coupling = weak_coupling(quark, boson, i) * weak_coupling(LEPTON, boson, j)
                propagators = propagators + coupling / torch.complex(s - mass**2, torch.full_like(s, mass * width))
            total = total + (u if i == j else t) ** 2 * (propagators.real**2 + propagators.imag**2)
    return 4 * COLOURS * total


def weak_coupling(particle, boson, left):
    """Return the coupling of a left- or right-handed particle (charge, isospin) to a photon, Z or Z'.

    Example:
        >>> round(weak_coupling(LEPTON, "photon", True), 4)      # -e
        -0.3133
    """
    charge, isospin = particle
    e = math.sqrt(4 * math.pi * ALPHA)
    if boson == "photon":
        return e * charge
    return e * (isospin * left - charge * SINE2) / math.sqrt(SINE2 * (1 - SINE2))


def _known(bosons):
    if not bosons or (unknown := set(bosons) - set(BOSONS)):
        raise ValueError(
            f"bosons must be some of {', '.join(BOSONS)}, not {', '.join(sorted(unknown)) if bosons else 'none'}"
        )
    return tuple(bosons)
