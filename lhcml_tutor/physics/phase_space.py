"""Phase space: momenta of n outgoing particles, evenly spread over all that energy and momentum allow.

Reference: Kleiss, Stirling and Ellis 1986, Comput. Phys. Commun. 40, 359 (RAMBO).
"""

import math

import torch


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
