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
