"""Two-component spinors of massless fermions and the vectors that connect them; events come last in every tensor."""

import torch

METRIC = torch.tensor([1.0, -1.0, -1.0, -1.0], dtype=torch.float64)
SIGMA = torch.tensor([[[1, 0], [0, 1]], [[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]]).to(torch.complex128)
SIGMA_BAR = METRIC[:, None, None] * SIGMA  # sigma^mu = (1, sigma_i), sigmabar^mu = (1, -sigma_i)


def spinor(p):
    """Return the left-handed spinor of a massless momentum, psi psi^dagger = sigma.p, finite in every direction.

    Shapes:
        p (4, ...) -> (2, ...) complex128
    Example:
        >>> spinor(torch.tensor([2.0, 0, 0, 2]).double()).abs()
        tensor([0., 2.], dtype=torch.float64)
    """
    E, x, y, z = p
    along, across = E + z.abs(), torch.complex(x, y)
    large, small = torch.complex(along, 0 * z), -torch.where(z < 0, across, across.conj())
    return torch.stack([torch.where(z < 0, large, small), torch.where(z < 0, small, large)]) / along.sqrt()


def slash(sigma, v):
    """Return the matrix sigma^mu v_mu.

    Shapes:
        sigma (4, 2, 2), v (4, ...) -> (2, 2, ...) complex128
    Example:
        >>> slash(SIGMA, torch.tensor([3.0, 0, 0, 1])).real
        tensor([[2., 0.],
                [0., 4.]], dtype=torch.float64)
    """
    lowered = sigma.to(v.device) * METRIC.to(v.device)[:, None, None]
    return torch.einsum("mab,m...->ab...", lowered, v.to(lowered.dtype))


def times(matrix, psi):
    """Return matrix (2, 2, ...) times column (2, ...)."""
    return (matrix * psi).sum(1)


def row_times(chi, matrix):
    """Return row (2, ...) times matrix (2, 2, ...)."""
    return (chi[:, None] * matrix).sum(0)


def line(chi, psi):
    """Return the vector chi^dagger sigmabar^mu psi.

    Shapes:
        chi, psi (2, ...) -> (4, ...)
    Example:
        >>> p = torch.tensor([5.0, 3, 0, 4]).double()
        >>> (line(spinor(p), spinor(p)).real / 2).round()
        tensor([5., 3., 0., 4.], dtype=torch.float64)
    """
    product = chi.conj()[:, None] * psi[None]
    return torch.einsum("mab,ab...->m...", SIGMA_BAR.to(product.device), product)


def dot(a, b):
    """Return the Minkowski product over the first axis, which stays with length 1.

    Example:
        >>> dot(torch.tensor([2.0, 1, 0, 0]), torch.tensor([3.0, 1, 0, 0]))
        tensor([5.])
    """
    return (a[0] * b[0] - a[1] * b[1] - a[2] * b[2] - a[3] * b[3]).unsqueeze(0)


def checked_momenta(momenta, legs, massive=()):
    """Return momenta as float64 if they can be those of an amplitude, or say what is wrong with them.

    Arguments:
        legs: in words, in order, two of them incoming. massive: places that may have a mass.
    Shapes:
        momenta (..., n_legs, 4) -> the same
    Raises:
        ValueError: values that are not finite, an energy that is not positive, momentum that is not conserved, a mass
            where none belongs.
    Example:
        >>> checked_momenta(torch.full((4, 4), torch.nan), "two gluons, two photons")
        Traceback (most recent call last):
        ValueError: momenta hold NaN or infinity; ...
    """
    p = momenta.double()
    if not p.isfinite().all():
        raise ValueError(
            "momenta hold NaN or infinity; keep the good events: momenta[momenta.isfinite().all(-1).all(-1)]"
        )
    if not (p[..., 0] > 0).all():
        raise ValueError("all energies must be positive, also those of the incoming particles")
    missing = (p[..., :2, :].sum(-2) - p[..., 2:, :].sum(-2)).abs().amax(-1)
    if (missing > 1e-4 * p[..., :2, 0].sum(-1)).any():
        raise ValueError(f"momentum is not conserved; the order of the legs is {legs}")
    massless = p[..., [i for i in range(p.shape[-2]) if i not in massive], :]
    if ((massless**2 @ METRIC.to(p.device)).abs() > 1e-5 * massless[..., 0] ** 2).any():
        raise ValueError(f"a leg that must be massless has a mass; the order of the legs is {legs}")
    return p
