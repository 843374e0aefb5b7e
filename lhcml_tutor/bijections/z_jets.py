"""Coordinates for Z -> mu mu with one, two or three jets: the same event, in numbers that a network likes."""

import math

import torch
from torch import nn

from ..kinematics import delta_phi
from .couplings import check_condition, present_features
from .decays import (
    HALF_WIDTH,
    TINY,
    close_hole,
    close_interval,
    decay_to_muons,
    log_mass,
    muons_to_decay,
    open_hole,
    open_interval,
)
from .maps import _check_shape
from .z_jet_features import (
    ETAS,
    FILLED,
    JET_ETA,
    JET_PT,
    JETS,
    MUON_ETA,
    MUON_PT,
    Z_JETS_PRESENT,
    _unordered,
    check_cuts,
    inside_cuts,
)

MOVED = 0.5  # more than `close_hole` moves a jet
SOFT = 10.0  # GeV, added in quadrature to the recoil of the jets
COORDINATES = ("plain", "circle", "mass", "physics")


class ZJetCoordinates(nn.Module):
    """Map the features of Z -> mu mu with jets to coordinates on the whole line, each with mean 0 and width 1.

    The first three choices each hold the one before:

        "plain"    log(pT - cut); eta and phi opened by log((a + x) / (a - x)) with a = 2.5 or 4.5, and pi
        "circle"   each circle is cut where few events are: phi_2 opposite of the muon, jets opposite of the Z
        "mass"     asinh(log(m / m_Z) / w) in place of the second muon's pT:  m^2 = 2 pT_1 pT_2 (cosh d_eta - cos phi_2)
        "physics"  those in which phase space factorises, without holes and narrow ridges. Jets in order:
                   log(pT_k - pT_(k+1)); jets 2 and 3 by their distance to jet 1, see `close_hole`. The Z by its log pT
                   over the one that balances the jets, phi relative to what balances them, mass as before, and y
                   between the ends where a muon would leave its cut. Its decay by cos and phi in its rest frame.

    All of them are triangular: a coordinate depends on its own feature and on some that were decoded before.

    Arguments:
        coordinates: one of the four names.
    Shapes:
        x (n, 14), condition (n, 3) one-hot in the number of jets -> z (n, 14), log_det (n,); zeros stay zeros where
        there is no jet, and do not count
    Raises:
        ValueError: an unknown name, or an event outside of the cuts (with its row).
    Example:
        >>> x = torch.tensor([[30.0, 1.0, 60.0, 0.5, 3.0, 35.0, 2.0, -0.5] + 6 * [0.0]], dtype=torch.float64)
        >>> condition = torch.tensor([1.0, 0.0, 0.0])
        >>> coordinates = ZJetCoordinates("physics")
        >>> z, log_det = coordinates(x, condition)
        >>> bool((coordinates.inverse(z, condition)[0] - x).abs().max() < 1e-12)
        True

    Reference: the idea of coordinates for peaks and cuts: Butter et al. 2021, arXiv:2110.13632.
    """

    def __init__(self, coordinates="physics"):
        super().__init__()
        if coordinates not in COORDINATES:
            raise ValueError(f"coordinates are one of {', '.join(COORDINATES)}, not {coordinates!r}")
        self.coordinates = coordinates
        self.register_buffer("mean", torch.zeros(14, dtype=torch.float64))
        self.register_buffer("std", torch.ones(14, dtype=torch.float64))
        self.register_buffer("present", Z_JETS_PRESENT.clone())

    @classmethod
    def fit(cls, x, condition, coordinates="physics"):
        """Return the map whose coordinates have mean 0 and standard deviation 1 on these events.

        Example:
            >>> x = torch.tensor([[30.0, 1.0, 60.0, 0.5, 3.0, 35.0, 2.0, -0.5] + 6 * [0.0]]).repeat(2, 1).double()
            >>> x[1] = x[1] * 1.01
            >>> z, _ = (m := ZJetCoordinates.fit(x, torch.tensor([1.0, 0.0, 0.0])))(x, torch.tensor([1.0, 0, 0]))
            >>> bool(z.mean(0).abs().max() < 1e-6)
            True
        """
        new = cls(coordinates).to(x.device)
        z, _ = new(x.detach().double(), condition)
        there = new._present(condition, len(x), z)
        count = there.sum(0).clamp(min=1)
        new.mean = torch.where(there, z, 0.0).sum(0) / count
        variance = torch.where(there, z - new.mean, 0.0).square().sum(0) / count
        new.std = torch.where(variance > 0, variance, 1.0).sqrt()
        return new

    def forward(self, x, condition=None):
        _check_shape(x, 14)
        there = self._present(condition, len(x), x)
        free = self.coordinates == "physics"  # of the cut on the pT of muons, and bound to the order of jets
        check_cuts(x, there, ordered=free, muon_pt=0.0 if free else MUON_PT)
        x = torch.where(there, x, FILLED.to(x)).unbind(1)
        there = there.unbind(1)
        z, logs = [torch.zeros_like(x[0])] * 14, [torch.zeros_like(x[0])] * 14  # logs: of the slopes
        for i in ETAS if self.coordinates != "physics" else ETAS[2:]:
            z[i], logs[i] = open_interval(x[i], MUON_ETA if i < 5 else JET_ETA)
        for i in JETS:
            z[i] = (x[i] - self._floor(x, there, i) + TINY).log()
            logs[i] = -z[i]
        if self.coordinates == "physics":
            self._physics(x, there, z, logs)
        else:
            z[0] = (x[0] - MUON_PT + TINY).log()
            z[2] = (x[2] - MUON_PT + TINY).log()
            logs[0], logs[2] = -z[0], -z[2]
            if self.coordinates == "mass":
                z[2] = log_mass(*x[:5]) / HALF_WIDTH
                logs[2] = -(2 * HALF_WIDTH * x[2]).log()
            z[4], logs[4] = open_interval(delta_phi(x[4], self._cut), math.pi)
            for i in JETS:
                z[i + 2], logs[i + 2] = open_interval(delta_phi(x[i + 2], self._away(x)), math.pi)
        if self.coordinates in ("mass", "physics"):  # t -> asinh t
            logs[2] = logs[2] - 0.5 * (1 + z[2] ** 2).log()
            z[2] = z[2].asinh()
        z, logs, there = torch.stack(z, 1), torch.stack(logs, 1), torch.stack(there, 1)
        mean, std = self.mean.to(z), self.std.to(z)
        return torch.where(there, (z - mean) / std, 0.0), torch.where(there, logs - std.log(), 0.0).sum(1)

    def inverse(self, z, condition=None):
        _check_shape(z, 14)
        there = self._present(condition, len(z), z)
        mean, std = self.mean.to(z), self.std.to(z)
        z = list(torch.where(there, z * std + mean, 0.0).unbind(1))
        there = there.unbind(1)
        x, logs = [torch.zeros_like(z[0])] * 14, [torch.zeros_like(z[0])] * 14
        if self.coordinates in ("mass", "physics"):
            t = z[2].clamp(-8, 8).sinh()  # e^8 half-widths are far beyond any collider
            logs[2] = 0.5 * (1 + t * t).log()
            z[2] = t
        for i in ETAS if self.coordinates != "physics" else ETAS[2:]:
            x[i], logs[i] = close_interval(z[i], MUON_ETA if i < 5 else JET_ETA)
        for i in reversed(JETS):
            logs[i] = z[i]
            x[i] = z[i].exp() + self._floor(x, there, i) - TINY
        if self.coordinates == "physics":
            self._physics_inverse(z, there, x, logs)
        else:
            x[0] = z[0].exp() + MUON_PT - TINY
            phi, logs[4] = close_interval(z[4], math.pi)
            x[4] = delta_phi(phi, -self._cut)
            logs[0] = z[0]
            if self.coordinates == "mass":
                one = torch.ones_like(z[2])
                x[2] = (2 * (HALF_WIDTH * z[2] - log_mass(x[0], x[1], one, x[3], x[4]))).exp()
                logs[2] = logs[2] + (2 * HALF_WIDTH * x[2]).log()
            else:
                x[2] = z[2].exp() + MUON_PT - TINY
                logs[2] = z[2]
            for i in JETS:
                phi, logs[i + 2] = close_interval(z[i + 2], math.pi)
                x[i + 2] = delta_phi(phi, -self._away(x))
        x, logs, there = torch.stack(x, 1), torch.stack(logs, 1), torch.stack(there, 1)
        return torch.where(there, x, 0.0), torch.where(there, logs + std.log(), 0.0).sum(1)

    def inside(self, x, condition):
        """Return which events x (n, 14) are inside of the cuts of the sample, jets in order, (n,) bool."""
        there = self._present(condition, len(x), x)
        finite = torch.where(there, x, 0.0).isfinite().all(1)
        return finite & inside_cuts(x, there).all(1) & ~_unordered(x, there)

    def _physics(self, x, there, z, logs):
        """Fill in what is not separate: the decay of the Z, jets relative to the first jet."""
        for i in JETS[1:]:
            eta, phi, hole = close_hole(x[i + 1] - x[6], delta_phi(x[i + 2], x[7]))
            opened, slope = open_interval(x[6] + eta, JET_ETA + MOVED)
            z[i + 1], logs[i + 1] = opened - z[6], slope + hole
            z[i + 2], logs[i + 2] = open_interval(phi, math.pi)
        log_j, phi_j = _sum_of_jets(x, there, [delta_phi(x[i + 2], x[7]) for i in JETS[1:]])
        log_q, y, z[2], cos, phi, azimuth, logs[0] = muons_to_decay(*x[:5])
        z[0] = log_q - log_j
        low, half = _rapidities(x[1] - y, x[3] - y)
        z[1], logs[1] = open_interval((y - low) / half - 1, 1.0)
        logs[1] = logs[1] - half.log()
        z[3], logs[3] = open_interval(cos, 1.0)
        z[4], logs[4] = open_interval(phi, math.pi)
        z[7], logs[7] = open_interval(delta_phi(azimuth - x[7] - phi_j, math.pi), math.pi)

    def _physics_inverse(self, z, there, x, logs):
        relative = []
        for i in JETS[1:]:
            eta, logs[i + 1] = close_interval(z[i + 1] + z[6], JET_ETA + MOVED)
            phi, logs[i + 2] = close_interval(z[i + 2], math.pi)
            eta, phi, hole = open_hole(eta - x[6], phi)
            x[i + 1], logs[i + 1] = x[6] + eta, logs[i + 1] + hole
            relative.append(phi)
        log_j, phi_j = _sum_of_jets(x, there, relative)
        cos, logs[3] = close_interval(z[3], 1.0)
        phi, logs[4] = close_interval(z[4], math.pi)
        x[0], eta_1, x[2], eta_2, x[4], azimuth, logs[0] = decay_to_muons(z[0] + log_j, z[2], cos, phi)
        low, half = _rapidities(eta_1, eta_2)
        y, logs[1] = close_interval(z[1], 1.0)
        y, logs[1] = low + half * (1 + y), logs[1] + half.log()
        x[1], x[3] = y + eta_1, y + eta_2
        phi, logs[7] = close_interval(z[7], math.pi)
        x[7] = delta_phi(azimuth - phi - phi_j, math.pi)
        for i, phi in zip(JETS[1:], relative, strict=True):
            x[i + 2] = delta_phi(x[7], -phi)

    @property
    def _cut(self):
        return 0.0 if self.coordinates == "plain" else math.pi

    def _away(self, x):
        """Return the azimuth opposite of the Z, (n,); 0 in plain coordinates."""
        return torch.zeros_like(x[0]) if self.coordinates == "plain" else delta_phi(_phi_z(x), math.pi)

    def _floor(self, x, there, i):
        """Return the least pT that the jet in column i can have, (n,)."""
        if self.coordinates != "physics" or i == JETS[-1]:
            return torch.full_like(x[0], JET_PT)
        return torch.where(there[i + 3], x[i + 3], JET_PT)

    def _present(self, condition, n, like):
        return present_features(self.present, check_condition(condition, 3, n), like)


def _phi_z(x):
    """Return the azimuth of the muon pair relative to the first muon, (n,)."""
    return torch.atan2(x[2] * x[4].sin(), x[0] + x[2] * x[4].cos())


def _rapidities(eta_1, eta_2):
    """Return the lower end and half of the length of the interval of y in which both muons pass the cut, (n,).

    Muons farther apart than the cut allows have no such interval; they get a tiny one, and fail the cut.
    """
    low, high = -MUON_ETA - torch.minimum(eta_1, eta_2), MUON_ETA - torch.maximum(eta_1, eta_2)
    return low, ((high - low) / 2).clamp(min=TINY)


def _sum_of_jets(x, there, relative):
    """Return log sqrt(pT^2 + SOFT^2) of the sum of the jets, and its azimuth relative to the first jet, both (n,)."""
    along, across = x[5], torch.zeros_like(x[5])
    for i, phi in zip(JETS[1:], relative, strict=True):
        pt = torch.where(there[i], x[i], 0.0)
        along, across = along + pt * phi.cos(), across + pt * phi.sin()
    return 0.5 * (along**2 + across**2 + SOFT**2).log(), torch.atan2(across, along)
