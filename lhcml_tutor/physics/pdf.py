"""Parton densities of the proton from a grid: differentiable, batched, on any device.

    densities = parton_densities()
    x_f = densities(x, q)                       # (n, 11): x f(x, Q) of FLAVOURS
    x_f[:, densities.column[21]]                # the gluon's

The grid is committed with the package; `make_grid` makes it anew from the set that Pythia brings (extra simulation).
"""

import functools
from pathlib import Path

import numpy as np
import torch

from ..extras import require

FLAVOURS = (21, 1, 2, 3, 4, 5, -1, -2, -3, -4, -5)  # gluon, d, u, s, c, b, and their antiquarks
STORED = (21, 1, 2, 3, 4, 5, -1, -2, -3)  # charm and bottom are made in pairs: f = fbar
X = (1e-6, 0.7)  # where the grid is held to its source
X_ENDS = (0.9e-6, 0.75)  # of its nodes
Q = (2.0, 5000.0)  # GeV
# Between its knots around the mass of 4.75 GeV the set lets the bottom quarks grow from nothing: three
# kinks that no cubic may cross, so there are four grids. The ends of the outer ones lie a little outside Q.
KNOTS = (1.96, 4.498433, 5.428629, 6.551286, 5050.0)  # GeV
NODES_Q = (14, 8, 8, 80)
NODES_X = 180
LAMBDA = 0.2  # GeV, of the variable log log Q / LAMBDA, in which densities change evenly
GRID = Path(__file__).with_name("pdf_grid.npz")


class PartonDensities:
    """x f(x, Q) of the proton, by cubic interpolation in log(x / (1 - x)) and log log(Q / 0.2 GeV).

    Arguments:
        grids: x f at the nodes between each two KNOTS, shapes (NODES_X, nodes in Q, 9).
    Shapes:
        x (n,), q (n,) or a number [GeV] -> (n, 11), the columns in the order of FLAVOURS
    Raises:
        ValueError: x outside (1e-6, 0.7), or Q outside 2 to 5000 GeV; nothing is extrapolated.
    Reference: R. D. Ball et al., Parton distributions with LHC data, arXiv:1207.1303 (NNPDF2.3, leading order, the
        default of Pythia 8.3).
    Example:
        >>> densities = parton_densities()
        >>> x_f = densities(torch.tensor([0.1], dtype=torch.float64), 91.2)
        >>> [round(float(x_f[0, densities.column[flavour]]), 2) for flavour in (21, 2, -2)]
        [0.88, 0.59, 0.07]
    """

    column = {flavour: i for i, flavour in enumerate(FLAVOURS)}

    def __init__(self, grids):
        self.grids = [torch.as_tensor(grid, dtype=torch.float64) for grid in grids]

    def __call__(self, x, q):
        x = torch.as_tensor(x)
        q = torch.as_tensor(q, dtype=x.dtype, device=x.device).expand(x.shape)
        for name, value, (least, most), unit in (("x", x, X, ""), ("Q", q, Q, " GeV")):
            if not ((value >= least) & (value <= most)).all():
                raise ValueError(f"{name} from {value.min():.3g} to {value.max():.3g}{unit}: the grid of parton "
                                 f"densities has {least:g} to {most:g}{unit}; cut the events outside")  # fmt: skip
        found = torch.zeros(len(x), len(STORED), dtype=torch.float64, device=x.device)
        for grid, low, high in zip(self.grids, KNOTS, KNOTS[1:]):
            inside = (q >= low) & (q < high)
            found = found.index_put((inside,), _interpolate(grid, x[inside], q[inside], low, high))
        return found[:, [STORED.index(f) if f in STORED else STORED.index(-f) for f in FLAVOURS]].to(x.dtype)

    def to(self, device):
        """Return the densities with their grids on a device."""
        return PartonDensities([grid.to(device) for grid in self.grids])


@functools.cache
def parton_densities() -> PartonDensities:
    """Return the densities of the committed grid.

    Example:
        >>> parton_densities()(torch.tensor([1.0]), 91.2)
        Traceback (most recent call last):
        ValueError: x from 1 to 1: the grid of parton densities has 1e-06 to 0.7; cut the events outside
    """
    with np.load(GRID, allow_pickle=False) as grid:
        return PartonDensities([grid[f"arr_{i}"] for i in range(len(NODES_Q))])


def source():
    """Return Pythia's own function (flavour, x, Q) -> x f, one point at a time; needs the extra simulation.

    Example:
        >>> callable(source)
        True
    """
    pythia = require("pythia8mc", "simulation").Pythia("", False)
    for line in ("Print:quiet = on", "ProcessLevel:all = off"):
        pythia.readString(line)
    pythia.init()
    densities = pythia.getPDFPtr(2212)

    def x_f(flavour, x, q):
        _ = pythia  # owns the densities
        return densities.xf(flavour, x, q * q)

    return x_f


def make_grid(path=GRID) -> None:
    """Write the grid from Pythia's set; the same version of Pythia writes the same numbers.

    Example:
        >>> make_grid("no such folder/grid.npz")  # doctest: +SKIP
    """
    x_f, grids = source(), []
    x = 1 / (1 + np.exp(-np.linspace(*map(float, _logit(X_ENDS)), NODES_X)))
    for low, high, nodes in zip(KNOTS, KNOTS[1:], NODES_Q):
        q = LAMBDA * np.exp(np.exp(np.linspace(*_double_log((low, high)), nodes)))
        grids.append([[[x_f(flavour, a, b) for flavour in STORED] for b in q.tolist()] for a in x.tolist()])
    np.savez_compressed(path, *map(np.float32, grids))


def _logit(x):
    x = torch.as_tensor(x, dtype=torch.float64)
    return torch.log(x / (1 - x))


def _double_log(q):
    return torch.log(torch.log(torch.as_tensor(q, dtype=torch.float64) / LAMBDA))


def _interpolate(grid, x, q, low, high):
    """Return the cubic through 4 x 4 nodes around each point, (n, 9)."""
    rows, weights_x = _stencil(_logit(x), _logit(X_ENDS), grid.shape[0])
    columns, weights_q = _stencil(_double_log(q), _double_log((low, high)), grid.shape[1])
    corners = grid[rows[:, :, None], columns[:, None, :]]  # (n, 4, 4, 9)
    return torch.einsum("ni,nj,nijf->nf", weights_x, weights_q, corners)


def _stencil(value, ends, nodes):
    """Return the four nodes around each value and Lagrange's weights for them, both (n, 4)."""
    first, last = ends.tolist()
    place = (value - first) / (last - first) * (nodes - 1)
    start = place.detach().floor().long().clamp(1, nodes - 3)
    t = place - start
    weights = (-t * (t - 1) * (t - 2) / 6, (t + 1) * (t - 1) * (t - 2) / 2,
               -(t + 1) * t * (t - 2) / 2, (t + 1) * t * (t - 1) / 6)  # fmt: skip
    return start[:, None] + torch.arange(-1, 3, device=value.device), torch.stack(weights, dim=1)
