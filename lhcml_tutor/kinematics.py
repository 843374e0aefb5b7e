"""Four-momenta p = (E, px, py, pz) in GeV, metric (+,-,-,-), and what one reads off them.

Every function takes tensors (or arrays) of any leading shape (..., 4), keeps their type and device and is
differentiable wherever the quantity itself is.
"""

import math

import torch


def energy(p):
    """Return the energy E [GeV].

    Shapes:
        p (..., 4) -> (...,)
    Example:
        >>> energy(torch.tensor([5.0, 0, 3, 4]))
        tensor(5.)
    """
    return _components(p)[0]


def pt(p):
    """Return the transverse momentum pT = sqrt(px^2 + py^2) [GeV].

    Shapes:
        p (..., 4) -> (...,)
    Example:
        >>> pt(torch.tensor([13.0, 3, 4, 12]))
        tensor(5.)
    """
    _, x, y, _ = _components(p)
    return torch.hypot(x, y)


def phi(p):
    """Return the azimuth phi = atan2(py, px) in [-pi, pi]; 0 where pT = 0.

    Shapes:
        p (..., 4) -> (...,)
    Example:
        >>> phi(torch.tensor([5.0, 0, 3, 4])) / math.pi
        tensor(0.5000)
    """
    _, x, y, _ = _components(p)
    return torch.atan2(y, x)


def eta(p):
    """Return the pseudorapidity eta = asinh(pz / pT) = -log tan(theta / 2).

    Along the beam (pT = 0) it is +inf or -inf, and 0 for a momentum of zero.
    Shapes:
        p (..., 4) -> (...,)
    Example:
        >>> eta(torch.tensor([[5.0, 0, 3, 4], [4, 0, 0, -4]]))
        tensor([1.0986,   -inf])
    """
    _, x, y, z = _components(p)
    return _asinh_ratio(z, torch.hypot(x, y))


def rapidity(p):
    """Return the rapidity y = asinh(pz / mT); boosts along z shift all rapidities by the same amount.

        y = 1/2 log[(E + pz) / (E - pz)]

    mT = sqrt(E^2 - pz^2) is kept above pT: rounding cannot make y larger than eta.
    Shapes:
        p (..., 4) -> (...,)
    Example:
        >>> rapidity(torch.tensor([5.0, 0, 0, 3]))
        tensor(0.6931)
    """
    E, x, y, z = _components(p)
    return _asinh_ratio(z, torch.maximum((E - z) * (E + z), x * x + y * y).sqrt())


def dot(p, q):
    """Return the Minkowski product p . q = E_p E_q - px qx - py qy - pz qz [GeV^2].

    Shapes:
        p (..., 4), q (..., 4), broadcast -> (...,)
    Example:
        >>> dot(torch.tensor([5.0, 0, 0, 3]), torch.tensor([2.0, 0, 0, 2]))
        tensor(4.)
    """
    (E, x, y, z), (e, a, b, c) = _components(p), _components(q)
    return E * e - x * a - y * b - z * c


def mass_squared(p):
    """Return m^2 = E^2 - px^2 - py^2 - pz^2 [GeV^2]; rounding makes it slightly negative for some massless particles.

    Shapes:
        p (..., 4) -> (...,)
    Example:
        >>> mass_squared(torch.tensor([5.0, 0, 0, 3]))
        tensor(16.)
    """
    return dot(p, p)


def mass(p):
    """Return the mass m = sqrt(max(p . p, 0)) [GeV].

    Shapes:
        p (..., 4) -> (...,)
    Example:
        >>> mass(torch.tensor([5.0, 0, 0, 3]))
        tensor(4.)
    """
    return mass_squared(p).clamp(min=0).sqrt()


def delta_phi(a, b):
    """Return the angle a - b between two azimuths, taken around the circle into [-pi, pi).

    Shapes:
        a (...,), b (...,) [rad], broadcast -> (...,)
    Example:
        >>> delta_phi(torch.tensor(3.0), torch.tensor(-3.0))
        tensor(-0.2832)
    """
    return torch.remainder(a - b + math.pi, 2 * math.pi) - math.pi


def delta_r(p, q):
    """Return the distance Delta R = sqrt(Delta eta^2 + Delta phi^2) between two directions.

    Shapes:
        p (..., 4), q (..., 4), broadcast -> (...,)
    Example:
        >>> delta_r(torch.tensor([5.0, 3, 0, 4]), torch.tensor([5.0, 0, 3, 4])) / math.pi
        tensor(0.5000)
    """
    a, b = torch.broadcast_tensors(eta(p), eta(q))
    separation = torch.where(a == b, 0.0, a - b)  # also where both are infinite
    return torch.hypot(separation, delta_phi(phi(p), phi(q)))


def from_pt_eta_phi_mass(pt, eta, phi, mass):
    """Return four-momenta from pT [GeV], eta, phi and mass [GeV].

        px = pT cos phi,   py = pT sin phi,   pz = pT sinh eta,   E = sqrt(pT^2 cosh^2 eta + m^2)

    Shapes:
        pt, eta, phi, mass (...,) or numbers, broadcast -> (..., 4) of the type of pt
    Example:
        >>> from_pt_eta_phi_mass(torch.tensor(3.0), torch.tensor(0.0), torch.tensor(0.0), 4.0)
        tensor([5., 3., 0., 0.])
    """
    pt = torch.as_tensor(pt)
    eta, phi, mass = (torch.as_tensor(value, dtype=pt.dtype, device=pt.device) for value in (eta, phi, mass))
    E = torch.hypot(pt * torch.cosh(eta), mass)
    parts = torch.broadcast_tensors(E, pt * torch.cos(phi), pt * torch.sin(phi), pt * torch.sinh(eta))
    return torch.stack(parts, dim=-1)


def mandelstam(momenta):
    """Return s, t, u [GeV^2] of a + b -> c + d.

        s = (a + b)^2,   t = (a - c)^2,   u = (a - d)^2,   s + t + u = sum of the masses squared

    Shapes:
        momenta (..., 4 legs, 4): a, b incoming with positive energies, c, d -> three tensors (...,)
    Raises:
        ValueError: another number of legs.
    Example:
        >>> mandelstam(torch.tensor([[1.0, 0, 0, 1], [1, 0, 0, -1], [1, 1, 0, 0], [1, -1, 0, 0]]))
        (tensor(4.), tensor(-2.), tensor(-2.))
    """
    momenta = torch.as_tensor(momenta)
    if momenta.dim() < 2 or momenta.shape[-2] != 4:
        raise ValueError(f"mandelstam takes four momenta a, b, c, d: (..., 4, 4), not {tuple(momenta.shape)}")
    a, b, c, d = momenta.unbind(-2)
    return mass_squared(a + b), mass_squared(a - c), mass_squared(a - d)


def velocity(p):
    """Return the velocity beta = (px, py, pz) / E in units of c.

    Shapes:
        p (..., 4) -> (..., 3)
    Example:
        >>> velocity(torch.tensor([5.0, 0, 3, 0]))
        tensor([0.0000, 0.6000, 0.0000])
    """
    E, x, y, z = _components(p)
    return torch.stack([x, y, z], dim=-1) / E[..., None]


def boost(p, beta):
    """Return the momenta as seen after a push by the velocity beta: what was at rest moves with beta.

        E' = gamma (E + beta . p),   p' = p + beta gamma [E + gamma / (1 + gamma) beta . p]

    boost(p, -velocity(total)) leads into the rest frame of `total`; boost(torch.eye(4), beta).mT is the matrix.
    Shapes:
        p (..., 4), beta (..., 3), broadcast -> (..., 4)
    Raises:
        ValueError: |beta| >= 1.
    Example:
        >>> boost(torch.tensor([4.0, 0, 0, 0]), torch.tensor([0, 0, 0.6]))
        tensor([5., 0., 0., 3.])
    """
    E, p, square = _checked(p)[..., 0], _checked(p)[..., 1:], (beta * beta).sum(-1)
    if not (square < 1).all():
        raise ValueError(f"a boost needs |beta| < 1, but the largest here is {square.max().sqrt():.6g}")
    gamma = (1 - square).rsqrt()
    along = (beta * p).sum(-1)
    shift = gamma * (E + gamma / (1 + gamma) * along)
    return torch.cat([(gamma * (E + along))[..., None], p + shift[..., None] * beta], dim=-1)


def rotation_matrix(axis, angle):
    """Return the Lorentz matrix of a rotation by an angle around an axis, counter-clockwise seen from its tip.

        R v = v cos a + (n x v) sin a + n (n . v) (1 - cos a)

    Shapes:
        axis (..., 3) of any length but zero, angle (...,) [rad] -> (..., 4, 4)
    Example:
        >>> quarter = rotation_matrix(torch.tensor([0, 0, 1.0]), torch.tensor(math.pi / 2))
        >>> transform(quarter, torch.tensor([[1.0, 1, 0, 0]])).round()
        tensor([[1., -0., 1., 0.]])
    """
    n = (axis / axis.norm(dim=-1, keepdim=True))[..., None, :]
    a = torch.as_tensor(angle, dtype=axis.dtype, device=axis.device)[..., None, None]
    n = n.expand(*torch.broadcast_shapes(n.shape[:-2], a.shape[:-2]), 3, 3)
    unit = torch.eye(3, dtype=axis.dtype, device=axis.device).expand_as(n)
    images = unit * a.cos() + torch.linalg.cross(n, unit) * a.sin() + n * n.mT * (1 - a.cos())  # row j: R e_j
    time = torch.nn.functional.pad(axis.new_ones(1, 1), (0, 3, 0, 3))
    return torch.nn.functional.pad(images.mT, (1, 0, 1, 0)) + time


def random_lorentz(n, generator=None, max_rapidity=2.0, dtype=torch.float64):
    """Return n random Lorentz matrices: rotation, boost along z, rotation.

        Lambda = R_1 B_z(tanh y) R_2,   R evenly over all rotations, y evenly in [0, max_rapidity]

    Arguments:
        generator: torch.Generator; the matrices lie on its device. Default: torch's own, on the CPU.
        max_rapidity: largest boost; 0 gives rotations only.
    Shapes:
        -> (n, 4, 4)
    Raises:
        ValueError: max_rapidity is negative or not finite.
    Example:
        >>> L, g = random_lorentz(3), torch.diag(torch.tensor([1.0, -1, -1, -1], dtype=torch.float64))
        >>> torch.allclose(L.mT @ g @ L, g.expand(3, 4, 4))
        True
    """
    if not 0 <= max_rapidity < math.inf:
        raise ValueError(f"max_rapidity must be finite and not negative, but it is {max_rapidity}")
    options = {"generator": generator, "dtype": dtype, "device": generator.device if generator else "cpu"}
    q = torch.randn(2, n, 4, **options)  # quaternions (cos a/2, n sin a/2) of any length, spread evenly over directions
    left, right = rotation_matrix(q[..., 1:], 2 * torch.atan2(q[..., 1:].norm(dim=-1), q[..., 0]))
    speed = torch.tanh(max_rapidity * torch.rand(n, 1, **options))
    beta = torch.nn.functional.pad(speed, (2, 0))
    return left @ boost(torch.eye(4, dtype=dtype, device=speed.device), beta[:, None]).mT @ right


def transform(matrix, momenta):
    """Return momenta after a Lorentz transformation, one matrix for all particles of an event.

        p'^mu = Lambda^mu_nu p^nu

    Shapes:
        matrix (4, 4) or (..., 4, 4), momenta (..., particles, 4) -> (..., particles, 4)
    Raises:
        ValueError: the momenta lack the axis of particles: write momenta[:, None].
    Example:
        >>> transform(torch.eye(4), torch.ones(5, 2, 4)).shape
        torch.Size([5, 2, 4])
    """
    if matrix.shape[-2:] != (4, 4) or momenta.shape[-1:] != (4,) or momenta.dim() < max(2, matrix.dim()):
        shapes = f"{tuple(matrix.shape)} and {tuple(momenta.shape)}"
        raise ValueError(f"transform takes (..., 4, 4) and (..., particles, 4), not {shapes}; one particle: p[:, None]")
    return momenta @ matrix.mT


def _checked(p):
    """Return the four-momenta as a tensor of floating point numbers."""
    p = torch.as_tensor(p)
    if p.dim() < 1 or p.shape[-1] != 4:
        raise ValueError(f"four-momenta have the shape (..., 4) = (E, px, py, pz), not {tuple(p.shape)}")
    return p if p.is_floating_point() else p.to(torch.get_default_dtype())


def _components(p):
    """Return E, px, py, pz, each (...,)."""
    return _checked(p).unbind(-1)


def _asinh_ratio(z, r):
    """Return asinh(z / r) for r >= 0: 0 where z = 0, infinite where only r = 0."""
    return torch.where(z == 0, torch.zeros_like(z), torch.asinh(z / r))
