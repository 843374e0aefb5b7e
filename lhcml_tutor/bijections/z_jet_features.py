"""Events of Z -> mu mu with one, two or three jets as rows of features, and back to momenta.

An event is a row of 14 features, with the azimuth of the first muon turned to 0 (the beam knows no azimuth):

    pt_1, eta_1, pt_2, eta_2, phi_2              muons, mu- first
    pt_jet, eta_jet, phi_jet                     for each of three jets, the hardest first; zeros where there is none

The condition is one-hot in the number of jets, so an event has 8, 11 or 14 dimensions; `Z_JETS_PRESENT` says which.
"""

import math

import torch
from torch.nn.functional import one_hot

from .. import kinematics
from ..kinematics import delta_phi
from .decays import TINY, decay_to_muons, muons_to_decay
from .maps import _check_shape

MUON_PT, MUON_ETA, JET_PT, JET_ETA = 10.0, 2.5, 20.0, 4.5  # cuts of the sample, GeV and 1
JETS, ETAS, PHIS = (5, 8, 11), (1, 3, 6, 9, 12), (4, 7, 10, 13)  # columns of the pT of jets, of all eta and phi
FILLED = torch.tensor([40.0, 0, 40, 1, 3, 50, 0, 0, 40, 1, 2, 30, -1, -2])  # in place of what is not there
Z_JETS_PRESENT = torch.tensor([[i < 5 + 3 * jets for i in range(14)] for jets in (1, 2, 3)])  # (3, 14) bool


def z_jet_features(muon_minus, muon_plus, jets, n_jets):
    """Return events of Z -> mu mu with jets as rows of features, and their condition.

    Shapes:
        muon_minus, muon_plus (n, 4), jets (n, 3, 4) [GeV], n_jets (n,) -> features (n, 14), condition (n, 3)
    Raises:
        ValueError: n_jets is not 1, 2 or 3 everywhere.
    Example:
        >>> p = kinematics.from_pt_eta_phi_mass(*torch.tensor([[30.0, 1.0, 2.0, 0.0], [40, 0, -1, 0]]).T)
        >>> x, condition = z_jet_features(p[:1], p[1:], torch.zeros(1, 3, 4) + p[1], torch.tensor([1]))
        >>> x[0, :4].round(decimals=3), condition
        (tensor([30.,  1., 40.,  0.]), tensor([[1., 0., 0.]]))
    """
    if not ((n_jets >= 1) & (n_jets <= 3)).all():
        raise ValueError(f"events have 1, 2 or 3 jets, not {sorted(set(n_jets.tolist()) - {1, 2, 3})}")
    first = kinematics.phi(muon_minus)
    columns = [kinematics.pt(muon_minus), kinematics.eta(muon_minus)]
    columns += [kinematics.pt(muon_plus), kinematics.eta(muon_plus), delta_phi(kinematics.phi(muon_plus), first)]
    for k in range(3):
        there = k < n_jets
        jet = torch.where(there[:, None], jets[:, k], jets[:, 0])
        part = [kinematics.pt(jet), kinematics.eta(jet), delta_phi(kinematics.phi(jet), first)]
        columns += [torch.where(there, column, 0.0) for column in part]
    return torch.stack(columns, 1), one_hot(n_jets.long() - 1, 3).to(columns[0])


def z_jet_momenta(x):
    """Return the momenta of rows of features, massless, with the first muon at azimuth 0.

    Shapes:
        x (n, 14) -> (n, 5, 4): mu-, mu+, three jets (E, px, py, pz) [GeV], zeros where there is no jet
    Example:
        >>> z_jet_momenta(torch.tensor([[30.0, 0, 40, 0, 0, 70, 0, 3.14159265] + 6 * [0.0]])).sum(1)[0, 1].round()
        tensor(0.)
    """
    _check_shape(x, 14)
    pt = x[:, [0, 2, 5, 8, 11]]
    eta = x[:, [1, 3, 6, 9, 12]]
    phi = torch.cat([torch.zeros_like(x[:, :1]), x[:, [4, 7, 10, 13]]], 1)
    return kinematics.from_pt_eta_phi_mass(pt, eta, phi, torch.zeros_like(pt))


def mirror_images(x):
    """Return events and their three mirror images: eta -> -eta, phi -> -phi, and both.

    Both at once are half a turn around an axis across the beam, which two equal protons do not notice. One alone is
    parity: the Z violates it, but at leading order azimuths do not show it.

    Shapes:
        x (n, 14) -> (4 n, 14): the n events first, then n images of each kind
    Example:
        >>> mirror_images(FILLED[None])[:, 9]
        tensor([ 1., -1.,  1., -1.])
    """
    etas, phis = (torch.tensor(columns, device=x.device) for columns in (ETAS, PHIS))
    x = torch.cat([x, x.index_copy(1, etas, -x[:, etas])])
    return torch.cat([x, x.index_copy(1, phis, -x[:, phis])])


def beyond_muon_cut(x, generator, tries=30):
    """Return events like these with a muon below the cut on pT, what the cut took away, and the rows they are made of.

    A density that ends at a cut is hard to learn, and costs nothing to continue: the generator drops what it makes
    beyond. A Z decays like 1 + cos^2 around the beam (nearly so), and the cut has no say in it. So it decays anew until
    both muons pass; what failed on the way, by pT alone, are the events beyond. They continue the density: a line
    through the ten GeV above the cut tells their number in the GeV below it to 3%.

    Arguments:
        generator: torch.Generator, on the CPU.
        tries: most new decays of one Z.
    Shapes:
        x (n, 14) -> events (m, 14), rows of x that they are made of (m,)
    Example:
        >>> some, rows = beyond_muon_cut(FILLED.repeat(100, 1), torch.Generator().manual_seed(1))
        >>> bool((some[:, [0, 2]].amin(1) < MUON_PT).all()), bool((some[:, 5] == FILLED[5]).all())
        (True, True)
    """
    _check_shape(x, 14)
    log_q, y, t, _, _, azimuth, _ = muons_to_decay(*x[:, :5].unbind(1))
    alive, found, parents = torch.arange(len(x), device=x.device), [], []
    for _ in range(tries):
        u = torch.rand(2, len(alive), dtype=torch.float64, generator=generator).to(x)
        new = x[alive]
        a = 4 * u[0] - 2  # the density 3/8 (1 + cos^2) makes cos^3 + 3 cos = 8 u - 4: Cardano's formula
        root = (a.abs() + (a * a + 1).sqrt()) ** (1 / 3)
        cos = a.sign() * (root - 1 / root)
        decay = decay_to_muons(log_q[alive], t[alive], cos, 2 * math.pi * u[1] - math.pi)
        new[:, 0], new[:, 1], new[:, 2], new[:, 3], new[:, 4] = decay[:5]
        new[:, [1, 3]] += y[alive, None]
        for i in JETS:
            turned = delta_phi(new[:, i + 2], azimuth[alive] - decay[5])
            new[:, i + 2] = torch.where(new[:, i] > 0, turned, 0.0)
        seen = (new[:, [1, 3]].abs() < MUON_ETA).all(1)
        hard = (new[:, [0, 2]] > MUON_PT).all(1)
        found.append(new[seen & ~hard])
        parents.append(alive[seen & ~hard])
        alive = alive[~(seen & hard)]
    return torch.cat(found), torch.cat(parents)


def inside_cuts(x, there, muon_pt=MUON_PT):
    """Return which of the muons and jets pass the cuts of the sample; those that are not there pass.

    Shapes:
        x (n, 14), there (n, 14) bool -> (n, 5) bool
    Example:
        >>> inside_cuts(FILLED[None], torch.ones(1, 14, dtype=torch.bool)).all()
        tensor(True)
    """
    least = torch.tensor([muon_pt, muon_pt] + 3 * [JET_PT]).to(x) - TINY / 2  # float32 rounds onto the cuts
    most = torch.tensor([MUON_ETA, MUON_ETA] + 3 * [JET_ETA]).to(x) + TINY / 2
    passed = (x[:, [0, 2, *JETS]] > least) & (x[:, list(ETAS)].abs() < most)
    return passed | ~there[:, [0, 2, *JETS]]


def check_cuts(x, there, ordered=True, muon_pt=MUON_PT):
    """Say which event is outside of the cuts of the sample.

    Shapes:
        x (n, 14), there (n, 14) bool
    Raises:
        ValueError: a muon or a jet is outside, or jets are not in order.
    Example:
        >>> check_cuts(FILLED[None], torch.ones(1, 14, dtype=torch.bool))
    """
    bad = ~inside_cuts(x, there, muon_pt)
    if bad.any():
        row, column = (int(i) for i in bad.nonzero()[0])
        pt, eta = x[row, [0, 2, *JETS][column]], x[row, ETAS[column]]
        raise ValueError(
            f"row {row}: {('mu-', 'mu+', 'jet 1', 'jet 2', 'jet 3')[column]} has pT = {pt:.4g} GeV, eta = {eta:.4g}; "
            f"these coordinates are for muons of pT > {muon_pt:g} GeV, |eta| < {MUON_ETA}, and jets of pT > "
            f"{JET_PT:g} GeV, |eta| < {JET_ETA}; cut the events first"
        )
    unordered = _unordered(x, there)
    if ordered and unordered.any():
        raise ValueError(f"row {int(unordered.nonzero()[0, 0])}: its jets are not in order; put the hardest first")


def _unordered(x, there):
    return (there[:, [8, 11]] & (x[:, [5, 8]] < x[:, [8, 11]] - TINY / 2)).any(1)
