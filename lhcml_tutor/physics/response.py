"""What a detector makes of one cluster or one object, with a density that is known exactly.

    clusters = topo_clusters(100_000, generator)                # to calibrate energies, with mean and sigma to compare
    measured = smear_objects(momenta, "jet", generator)         # a transfer function to sample from ...
    log_prob_objects(measured, momenta, "jet")                  # ... and to evaluate

Both are toys: their numbers are of the size of those of ATLAS and CMS, but no detector has been measured for them.
"""

import math

import torch

from .. import kinematics

ENERGY, RAPIDITY, DENSITY = (1.0, 1000.0), 2.5, 30.0  # GeV, evenly in the logarithm; largest |y|; GeV per unit area
AREA = 0.03  # of a cluster in (y, phi): what pile-up adds is its density times this
HADRONIC, GROWTH, SCALE = 0.72, 0.045, 10.0  # response to hadrons at the scale of 10 GeV; it grows like a logarithm
GAP, DEPTH, WIDTH = 1.5, 0.18, 0.2  # where barrel and end-cap meet, energy is lost in dead material
STOCHASTIC, CONSTANT, NOISE, PILE_UP = (0.10, 0.55), 0.02, 0.15, 0.012  # (electromagnetic, hadronic) sqrt(GeV); GeV

# Energy: the narrow Gaussian of resolution a sqrt(E) (+) b E (+) c; the share of a wider one, its shift relative to E
# and how many times wider it is. Directions: standard deviations of eta and phi.
TRANSFER = {
    "electron": {"resolution": (0.10, 0.007, 0.2), "tail": (0.05, -0.03, 3.0), "direction": (0.002, 0.002)},
    "muon": {"resolution": (0.0, 0.02, 0.1), "tail": (0.0, 0.0, 1.0), "direction": (0.001, 0.001)},
    "photon": {"resolution": (0.10, 0.01, 0.2), "tail": (0.0, 0.0, 1.0), "direction": (0.003, 0.003)},
    "jet": {"resolution": (0.80, 0.05, 2.0), "tail": (0.20, -0.10, 2.0), "direction": (0.04, 0.04)},
}


def topo_clusters(n, generator):
    """Return clusters of calorimeter cells of a toy detector: what is true, what is measured, and how it came about.

        log(measured / energy) ~ N(log R - s^2 / 2, s^2),    s^2 = log(1 + (sigma / R)^2)

    so that the response measured / energy has exactly the mean R and the standard deviation sigma of
    `response_mean` and `response_sigma`. The logarithm of the energy is even in 1 to 1000 GeV, rapidity in -2.5 to 2.5,
    the electromagnetic fraction in 0 to 1, the density of pile-up in 0 to 30 GeV per unit of y times phi.

    Returns:
        dict of float64 columns of shape (n,): energy (true) [GeV], rapidity, electromagnetic_fraction,
        pile_up_density [GeV], measured [GeV].
    Raises:
        ValueError: n < 1.
    Example:
        >>> clusters = topo_clusters(3, torch.Generator().manual_seed(1))
        >>> list(clusters), clusters["measured"].shape
        (['energy', 'rapidity', 'electromagnetic_fraction', 'pile_up_density', 'measured'], torch.Size([3]))

    Reference: a toy of ours; the task is that of the ATLAS collaboration 2024, arXiv:2412.04370.
    """
    if n < 1:
        raise ValueError(f"n={n} clusters; n must be at least 1")
    u = torch.rand(4, n, dtype=torch.float64, device=generator.device, generator=generator)
    low, high = ENERGY
    truth = {
        "energy": low * (high / low) ** u[0],
        "rapidity": RAPIDITY * (2 * u[1] - 1),
        "electromagnetic_fraction": u[2],
        "pile_up_density": DENSITY * u[3],
    }
    location, s = log_response(*truth.values())
    normal = torch.randn(n, dtype=torch.float64, device=generator.device, generator=generator)
    return {**truth, "measured": truth["energy"] * torch.exp(location + s * normal)}


def response_mean(energy, rapidity, electromagnetic_fraction, pile_up_density):
    """Return the mean response R, the exact mean of measured / energy.

        R = [f + (1 - f) h(E)] [1 - 0.18 exp(-(|y| - 1.5)^2 / (2 0.2^2))] + 0.03 rho / E
        h(E) = 0.72 + 0.045 log(1 + E / 10 GeV)

    Hadrons lose energy to nuclei, the less the more energy they have; pile-up counts most at low energy.

    Shapes:
        energy [GeV], rapidity, electromagnetic_fraction, pile_up_density [GeV] (n,) -> (n,)
    Example:
        >>> round(float(response_mean(*torch.tensor([10.0, 0.0, 1.0, 20.0]))), 4)      # 1 + 0.03 * 20 / 10
        1.06
    """
    hadronic = HADRONIC + GROWTH * torch.log1p(energy / SCALE)
    visible = electromagnetic_fraction + (1 - electromagnetic_fraction) * hadronic
    return visible * (1 - DEPTH * _gap(rapidity)) + AREA * pile_up_density / energy


def response_sigma(energy, rapidity, electromagnetic_fraction, pile_up_density):
    """Return the exact standard deviation of the response measured / energy.

        sigma^2 = a^2 / E + 0.02^2 + (0.15^2 + 0.012^2 rho^2) / E^2
        a = [0.10 f + 0.55 (1 - f)] [1 + exp(-(|y| - 1.5)^2 / (2 0.2^2))]

    Shapes:
        energy [GeV], rapidity, electromagnetic_fraction, pile_up_density [GeV] (n,) -> (n,)
    Example:
        >>> round(float(response_sigma(*torch.tensor([100.0, 0.0, 0.0, 0.0]))), 4)     # 0.55 / 10 (+) 0.02
        0.0585
    """
    f, (electromagnetic, hadronic) = electromagnetic_fraction, STOCHASTIC
    stochastic = (electromagnetic * f + hadronic * (1 - f)) * (1 + _gap(rapidity))
    noise = NOISE**2 + (PILE_UP * pile_up_density) ** 2
    return (stochastic**2 / energy + CONSTANT**2 + noise / energy**2).sqrt()


def log_response(energy, rapidity, electromagnetic_fraction, pile_up_density):
    """Return mean and standard deviation of log(measured / energy), which is exactly Gaussian.

        log R - s^2 / 2   and   s,    s^2 = log(1 + (sigma / R)^2)

    Shapes:
        energy [GeV], rapidity, electromagnetic_fraction, pile_up_density [GeV] (n,) -> two tensors (n,)
    Example:
        >>> [round(float(value), 4) for value in log_response(*torch.tensor([100.0, 0.0, 1.0, 0.0]))]
        [-0.0003, 0.0224]
    """
    cluster = (energy, rapidity, electromagnetic_fraction, pile_up_density)
    mean, sigma = response_mean(*cluster), response_sigma(*cluster)
    square = torch.log1p((sigma / mean) ** 2)
    return mean.log() - square / 2, square.sqrt()


def calibrated(measured, rapidity, electromagnetic_fraction, pile_up_density, points=2000):
    """Return mean and standard deviation of log(energy / GeV) given what is measured: the best calibration there is.

        p(log E | measured, ...) ~ p(log measured | E, ...),    log E even in log 1 to log 1000

    What a network that regresses log E can learn at best, mean and uncertainty, by a sum over `points` energies.

    Shapes:
        measured [GeV], rapidity, electromagnetic_fraction, pile_up_density [GeV] (n,) -> two tensors (n,)
    Example:
        >>> mean, sigma = calibrated(*torch.tensor([[100.0], [0.0], [1.0], [0.0]]))
        >>> round(float(mean.exp())), round(float(sigma), 3)
        (100, 0.022)
    """
    low, high = (math.log(end) for end in ENERGY)
    step = (high - low) / points
    grid = low + step * (torch.arange(points, dtype=measured.dtype, device=measured.device) + 0.5)
    found = []
    for portion in torch.stack([measured, rapidity, electromagnetic_fraction, pile_up_density]).split(1000, dim=1):
        value, *cluster = portion[..., None]
        location, s = log_response(grid.exp(), *cluster)  # (n, points)
        weight = torch.softmax(-0.5 * ((value.log() - grid - location) / s) ** 2 - s.log(), dim=1)
        mean = (weight * grid).sum(1)
        found.append(torch.stack([mean, (weight * (grid - mean[:, None]) ** 2).sum(1).sqrt()]))
    return torch.cat(found, dim=1).unbind(0)


def smear_objects(momenta, kind, generator):
    """Return objects as a detector measures them, drawn from a transfer function whose density is known.

        E ~ (1 - w) N(E_true, sigma^2) + w N((1 + d) E_true, (k sigma)^2), cut off below the mass
        sigma^2 = a^2 E_true + b^2 E_true^2 + c^2,    eta ~ N(eta_true, sigma_eta^2),    phi ~ N(phi_true, sigma_phi^2)

    The mass stays. The numbers of each kind stand in TRANSFER.

    Arguments:
        kind: "electron", "muon", "photon" or "jet", the same for all momenta.
        generator: torch.Generator on the device of the momenta.
    Shapes:
        momenta (..., 4) [GeV] -> (..., 4)
    Raises:
        ValueError: an unknown kind, momenta that are not finite or lie along the beam.
    Example:
        >>> muon = torch.tensor([[100.0, 60, 80, 0]])
        >>> smear_objects(muon, "muon", torch.Generator().manual_seed(1)).shape
        torch.Size([1, 4])

    Reference: double Gaussians as in MadWeight, Artoisenet, Lemaitre, Maltoni, Mattelaer 2010, arXiv:1007.3300.
    """
    shares, means, sigmas, mass = _energy(momenta, kind)
    u = torch.rand(2, *mass.shape, dtype=torch.float64, device=momenta.device, generator=generator)
    first = (u[0] * shares.sum(0) < shares[0]).to(torch.float64)  # shares of what lies above the mass
    mean, sigma = (torch.where(first > 0, *pair) for pair in (means, sigmas))
    below = torch.special.ndtr((mass - mean) / sigma)
    above = (1 - below) * (1 - u[1])  # counted from the upper end, where no digits are lost
    energy = torch.maximum(mean - sigma * torch.special.ndtri(above), mass)
    normal = torch.randn(2, *mass.shape, dtype=torch.float64, device=momenta.device, generator=generator)
    p, widths = momenta.double(), TRANSFER[kind]["direction"]
    eta, phi = kinematics.eta(p) + widths[0] * normal[0], kinematics.phi(p) + widths[1] * normal[1]
    size = (energy**2 - mass**2).clamp(min=0).sqrt()
    return kinematics.from_pt_eta_phi_mass(size / eta.cosh(), eta, phi, mass).to(momenta.dtype)


def log_prob_objects(measured, momenta, kind):
    """Return the log density of measured objects given the true ones, in E [1 / GeV], eta and phi of the measured.

    It is the density that `smear_objects` draws from, and integrates to one. Per d^3p it is larger by
    cosh(eta)^2 / (|p| E) of the measured momentum.

    Shapes:
        measured (..., 4), momenta (..., 4) [GeV], broadcast -> (...,) float64; -inf below the mass
    Example:
        >>> muon = torch.tensor([100.0, 60, 80, 0], dtype=torch.float64)
        >>> round(float(log_prob_objects(muon, muon, "muon").exp() * (2 * math.pi) ** 1.5 * 0.001**2), 4)   # 1 / sigma
        0.4994

    Reference: double Gaussians as in MadWeight, Artoisenet, Lemaitre, Maltoni, Mattelaer 2010, arXiv:1007.3300.
    """
    seen, true = torch.broadcast_tensors(_check(measured).double(), momenta.double())
    shares, means, sigmas, mass = _energy(true, kind)
    E = seen[..., 0]
    normal = torch.exp(-0.5 * ((E - means) / sigmas) ** 2) / (math.sqrt(2 * math.pi) * sigmas)
    weights = torch.tensor(_weights(kind), dtype=torch.float64, device=E.device).reshape(2, *[1] * mass.dim())
    log_prob = torch.where(mass <= E, (weights * normal).sum(0) / shares.sum(0), 0.0).log()
    turn = kinematics.delta_phi(kinematics.phi(seen), kinematics.phi(true))
    offsets = kinematics.eta(seen) - kinematics.eta(true), turn
    for offset, width in zip(offsets, TRANSFER[kind]["direction"]):
        log_prob = log_prob - 0.5 * (offset / width) ** 2 - math.log(math.sqrt(2 * math.pi) * width)
    return log_prob


def _gap(rapidity):
    return torch.exp(-((rapidity.abs() - GAP) ** 2) / (2 * WIDTH**2))


def _weights(kind):
    return 1 - TRANSFER[kind]["tail"][0], TRANSFER[kind]["tail"][0]


def _energy(momenta, kind):
    """Return shares above the mass, means and standard deviations of both Gaussians (2, ...), and the mass (...,)."""
    if kind not in TRANSFER:
        raise ValueError(f"there is no transfer function of {kind!r}; the kinds are: {', '.join(TRANSFER)}")
    p = _check(momenta).double()
    (a, b, c), (_, shift, wider) = TRANSFER[kind]["resolution"], TRANSFER[kind]["tail"]
    E, mass = p[..., 0], kinematics.mass(p)
    sigma = (a**2 * E + (b * E) ** 2 + c**2).sqrt()
    means, sigmas = torch.stack([E, (1 + shift) * E]), torch.stack([sigma, wider * sigma])
    above = torch.special.ndtr((means - mass) / sigmas)
    return torch.stack([share * part for share, part in zip(_weights(kind), above)]), means, sigmas, mass


def _check(momenta):
    """Return the momenta, or say what is wrong with them."""
    if not momenta.isfinite().all():
        raise ValueError("momenta hold NaN or infinity; keep the rest: momenta[momenta.isfinite().all(-1)]")
    if not (kinematics.pt(momenta) > 0).all():
        raise ValueError("an object flies along the beam or is padding: it has no direction to smear; leave it out")
    return momenta
