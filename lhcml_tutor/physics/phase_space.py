"""Phase space: momenta of n outgoing particles, evenly spread over all that energy and momentum allow, or in a chain.

Reference: Kleiss, Stirling and Ellis 1986, Comput. Phys. Commun. 40, 359 (RAMBO).
"""

import math
from typing import NamedTuple

import torch

from .. import kinematics


def rambo(n_final, masses, energy, n, generator=None):
    """Draw n phase-space points in the rest frame of the outgoing particles, with their weights.

        d Phi = (2 pi)^4 delta^4(P - sum p_i)  prod_i d^3 p_i / ((2 pi)^3 2 E_i),    mean(weight f) = int d Phi f

    Massless momenta are drawn isotropically and boosted and scaled to momentum zero and the energy asked for: evenly
    distributed, weight constant. For massive particles all three-momenta shrink by one factor xi, the same for all
    particles of an event, until the energies add up again; the weight corrects for the shrinking.

    Arguments:
        n_final: number of outgoing particles, at least 2.
        masses: their masses [GeV]: a sequence of n_final numbers, or one number for all.
        energy: total energy [GeV]: a number, or a tensor (n,), one for each point.
        generator: torch.Generator; the points lie on its device. Default: torch's own, on the CPU.
    Shapes:
        -> momenta (n, n_final, 4) float64 [GeV], weights (n,) float64 [GeV^(2 n_final - 4)]
    Raises:
        ValueError: fewer than two particles, a negative number of points, masses that do not fit or are negative, an
            energy that is not finite or does not exceed the sum of the masses.
    Example:
        >>> momenta, weights = rambo(2, 0.0, 1000.0, 5, torch.Generator().manual_seed(1))
        >>> momenta.sum(1)[0].abs().round(), round(weights[0].item() * 8 * math.pi, 12)
        (tensor([1000.,    0.,    0.,    0.], dtype=torch.float64), 1.0)

    Reference: Kleiss, Stirling and Ellis 1986, Comput. Phys. Commun. 40, 359.
    """
    device = generator.device if generator is not None else "cpu"
    masses, energy = _checked(n_final, masses, energy, n, device)
    r = torch.rand(4, n, n_final, dtype=torch.float64, device=device, generator=generator)
    cosine, azimuth = 2 * r[0] - 1, 2 * math.pi * r[1]
    E = -((1 - r[2]) * (1 - r[3])).log()  # 1 - r is never zero
    sine = (1 - cosine**2).sqrt()
    q = torch.stack([E, E * sine * azimuth.cos(), E * sine * azimuth.sin(), E * cosine], dim=-1)

    total = q.sum(1, keepdim=True)  # boost into the rest frame of the sum, scale its mass to the energy
    mass = (total[..., 0] ** 2 - (total[..., 1:] ** 2).sum(-1)).sqrt()
    b, gamma = -total[..., 1:] / mass[..., None], total[..., 0] / mass
    along = (b * q[..., 1:]).sum(-1)
    shift = E + along / (1 + gamma)
    scale = energy[:, None] / mass
    k = scale[..., None] * (q[..., 1:] + b * shift[..., None])
    size = k.norm(dim=-1)  # (n, n_final) massless: energies

    xi = (1 - (masses.sum() / energy) ** 2).sqrt()
    for _ in range(50):  # Newton; the sum of energies is convex in xi
        root = (masses**2 + (xi[:, None] * size) ** 2).sqrt()
        step = (root.sum(1) - energy) / (xi[:, None] * size**2 / root).sum(1)
        xi = xi - step
        if (step.abs() <= 1e-14).all():
            break
    k, size = xi[:, None, None] * k, xi[:, None] * size
    E = (masses**2 + size**2).sqrt()
    return torch.cat([E[..., None], k], dim=-1), massless_volume(n_final, energy) * _shrink(size, E, energy)


class Decay(NamedTuple):
    """A particle that decays into two: each a mass [GeV], or another Decay; with a resonance, its peak is followed.

    Example:
        >>> w = Decay(0.0, 0.0, mass=80.37, width=2.085)
        >>> top = Decay(4.8, w, mass=172.57, width=1.42)
        >>> top.least
        4.8
    """

    first: "float | Decay"
    second: "float | Decay"
    mass: float | None = None
    width: float | None = None

    @property
    def least(self):
        """The sum of the masses it ends in [GeV]."""
        return sum(part.least if isinstance(part, Decay) else part for part in self[:2])


def chain(total, decay, generator=None):
    """Draw the decay products of particles of momenta `total`, two at a time, with their weights.

        d Phi_n(P; 1 ... n) = d Phi_2(P; A, B)  ds_A / (2 pi) d Phi(A)  ds_B / (2 pi) d Phi(B)

    The mass of a resonance is drawn from its Breit-Wigner peak, other masses evenly in s; directions are isotropic in
    the rest frame of what decays. mean(weight f) = int d Phi f, as for `rambo`.

    Arguments:
        total: momenta of what decays, in any frame. decay: a Decay; its own mass is that of `total`.
    Shapes:
        total (n, 4) -> momenta (n, n_final, 4) float64 [GeV] in the order in which the Decay names them, weights (n,)
    Raises:
        ValueError: a total mass that does not exceed the sum of the masses it ends in.
    Example:
        >>> w = Decay(0.0, 0.0, mass=80.37, width=2.085)
        >>> total = torch.tensor([[172.57, 0, 0, 0]]).double().expand(5, 4)
        >>> momenta, weights = chain(total, Decay(0.0, w), torch.Generator().manual_seed(1))
        >>> momenta.shape, momenta.sum(1).round()[0]
        (torch.Size([5, 3, 4]), tensor([173.,   0.,   0.,   0.], dtype=torch.float64))

    Reference: Byckling and Kajantie 1969, Nucl. Phys. B 9, 568.
    """
    total = total.double()
    mass = kinematics.mass(total)
    if not (mass > decay.least).all():
        raise ValueError(f"a mass of {mass.min():.6g} GeV cannot decay into masses of {decay.least:.6g} GeV together")
    weights, masses, left = 1.0, [], mass
    rest = [part.least if isinstance(part, Decay) else part for part in decay[:2]]
    for i, part in enumerate(decay[:2]):
        if isinstance(part, Decay):
            other = rest[1] if i == 0 else masses[0]
            u = torch.rand(len(total), dtype=torch.float64, device=total.device, generator=generator)
            own, weight = draw_mass(u, part, rest[i], left - other)
            masses.append(own)
            weights = weights * weight
        else:
            masses.append(torch.full_like(mass, part))
    u = torch.rand(2, len(total), dtype=torch.float64, device=total.device, generator=generator)
    pair, weight = two_body(total, *masses, u)
    weights, found = weights * weight, []
    for momentum, part in zip(pair.unbind(1), decay[:2]):
        if isinstance(part, Decay):
            products, weight = chain(momentum, part, generator)
            weights = weights * weight
            found.append(products)
        else:
            found.append(momentum[:, None])
    return torch.cat(found, 1), weights


def two_body(total, mass_1, mass_2, u):
    """Return two momenta that add up to `total`, isotropic in its rest frame, and the weight of such a point.

        weight = lambda^(1/2)(s, m_1^2, m_2^2) / (8 pi s)

    Arguments:
        mass_1, mass_2: numbers or tensors (n,) [GeV]. u: random numbers in 0 ... 1, for cos theta and phi.
    Shapes:
        total (n, 4), u (2, n) -> momenta (n, 2, 4), weight (n,)
    Example:
        >>> momenta, weight = two_body(torch.tensor([[10.0, 0, 0, 0]]), 0.0, 0.0, torch.tensor([[1.0], [0.0]]))
        >>> momenta[0], round(weight.item() * 8 * math.pi, 6)
        (tensor([[ 5.,  0.,  0.,  5.],
                [ 5.,  0.,  0., -5.]]), 1.0)

    Reference: Particle Data Group 2024, Review of Particle Physics, section Kinematics.
    """
    mass = kinematics.mass(total)
    E_1 = (mass**2 + mass_1**2 - mass_2**2) / (2 * mass)
    size = (E_1**2 - mass_1**2).clamp(min=0).sqrt()
    cosine, azimuth = 2 * u[0] - 1, 2 * math.pi * u[1]
    sine = (1 - cosine**2).clamp(min=0).sqrt()
    k = size[:, None] * torch.stack([sine * azimuth.cos(), sine * azimuth.sin(), cosine], -1)
    at_rest = torch.stack([torch.cat([E_1[:, None], k], -1), torch.cat([(mass - E_1)[:, None], -k], -1)], 1)
    return kinematics.boost(at_rest, kinematics.velocity(total)[:, None]), size / (4 * math.pi * mass)


def draw_mass(u, decay, low, high):
    """Return masses between low and high [GeV], and weights (ds / 2 pi) / density; peaks of resonances are followed.

        density of s = (m Gamma / ((s - m^2)^2 + (m Gamma)^2)) / (arctan(high) - arctan(low))

    Shapes:
        u (n,), low and high numbers or (n,) -> masses (n,), weights (n,)
    Example:
        >>> u = torch.tensor([0.5]).double()
        >>> round(draw_mass(u, Decay(0.0, 0.0, mass=80.0, width=2.0), 0.0, 1000.0)[0].item())
        80
    """
    low, high = (torch.as_tensor(edge, dtype=u.dtype, device=u.device) ** 2 for edge in (low, high))
    if decay.mass is None:
        return (low + u * (high - low)).sqrt(), (high - low) / (2 * math.pi)
    square, scale = decay.mass**2, decay.mass * decay.width
    first, last = (torch.atan((edge - square) / scale) for edge in (low, high))
    s = (square + scale * torch.tan(first + u * (last - first))).clamp(low, high)
    return s.sqrt(), ((s - square) ** 2 + scale**2) / scale * (last - first) / (2 * math.pi)


def massless_volume(n_final, energy):
    """Return the volume of the phase space of n massless particles.

        Phi_n(E) = (2 pi)^(4 - 3n) (pi / 2)^(n - 1) E^(2n - 4) / ((n - 1)! (n - 2)!),    Phi_2 = 1 / (8 pi)

    Shapes:
        energy: number or tensor [GeV] -> the same [GeV^(2 n_final - 4)]
    Example:
        >>> round(massless_volume(2, 91.2) * 8 * math.pi, 12)
        1.0

    Reference: Kleiss, Stirling and Ellis 1986, Comput. Phys. Commun. 40, 359.
    """
    volume = (2 * math.pi) ** (4 - 3 * n_final) * (math.pi / 2) ** (n_final - 1)
    return volume / math.factorial(n_final - 1) / math.factorial(n_final - 2) * energy ** (2 * n_final - 4)


def _shrink(size, E, energy):
    """Return the ratio of massive to massless weight, from momenta |k_i| (n, n_final) and energies E_i.

    (sum |k| / E)^(2n - 3)  prod(|k_i| / E_i)  E / sum(|k|^2 / E_i)
    """
    power = 2 * size.shape[1] - 3
    return (size.sum(1) / energy) ** power * (size / E).prod(1) * energy / (size**2 / E).sum(1)


def _checked(n_final, masses, energy, n, device):
    """Return masses (n_final,) and energies (n,) as float64, or say what is wrong."""
    if n_final < 2:
        raise ValueError(f"phase space needs at least two outgoing particles, not n_final={n_final}")
    if n < 0:
        raise ValueError(f"the number of points cannot be negative, n={n}")
    masses = torch.as_tensor(masses, dtype=torch.float64, device=device)
    if masses.dim() > 1 or masses.numel() not in (1, n_final):
        raise ValueError(f"masses must be one number or {n_final} (n_final) of them, not shape {tuple(masses.shape)}")
    masses = masses.expand(n_final)
    energy = torch.as_tensor(energy, dtype=torch.float64, device=device)
    if energy.dim() > 1 or energy.numel() not in (1, n):
        raise ValueError(f"energy must be one number or {n} (n) of them, not shape {tuple(energy.shape)}")
    if not (masses >= 0).all() or not masses.isfinite().all():
        raise ValueError(f"masses must be finite and non-negative, not {masses.tolist()} GeV")
    if not energy.isfinite().all() or not (energy > masses.sum()).all():
        needed = f"must be finite and exceed the sum of the outgoing masses, {masses.sum():.6g} GeV"
        raise ValueError(f"the energy {needed}; the lowest energy given is {energy.min():.6g} GeV")
    return masses, energy.expand(n)
