"""Recombination of constituents: many jets are clustered at once, in portions that fit into memory."""

import math

import torch

from .. import kinematics

POWERS = {"anti-kt": -1, "cambridge": 0, "kt": 1}  # p of the distance min(pT_i^2p, pT_j^2p) Delta R_ij^2
PAIRS = 2**21  # pairs of constituents in memory at once, 16 MB for each tensor of them


def by_portions(function, momenta, width):
    """Return what a function makes of jets, applied to one portion of `chunks` after the other.

    Arguments:
        function: of constituents (m, most, 4) float64, to results (m, width); width: the number of results.
    Shapes:
        momenta (n, particles, 4) -> (n, width), of the type of the momenta
    Example:
        >>> by_portions(lambda constituents: constituents.sum(1), torch.ones(5, 3, 4), width=4)[0]
        tensor([3., 3., 3., 3.])
    """
    found = torch.zeros(len(checked(momenta)), width, dtype=torch.float64, device=momenta.device)
    for rows, constituents in chunks(momenta):
        found[rows] = function(constituents)
    return found.to(momenta.dtype)


def chunks(momenta):
    """Yield jets in portions that fit into memory, those with most constituents first, with the rows they come from.

    Within a jet the hardest constituent comes first and padding last; padding that no jet of a portion needs is cut.
    A particle without transverse momentum has no direction here and counts as padding.

    Shapes:
        momenta (n, particles, 4) -> tuples of rows (m,), constituents (m, most of them, 4) float64
    Raises:
        ValueError: a wrong shape, or momenta that are not finite.
    Example:
        >>> jets = torch.tensor([[[0.0, 0, 0, 0], [5, 3, 4, 0]], [[2, 0, 2, 0], [3, 3, 0, 0]]])
        >>> [(rows.tolist(), kinematics.pt(constituents).tolist()) for rows, constituents in chunks(jets)]
        [([1, 0], [[3.0, 2.0], [5.0, 0.0]])]
    """
    checked(momenta)
    multiplicity = (momenta[..., 1:3] != 0).any(-1).sum(-1)
    order = multiplicity.argsort(descending=True, stable=True)
    while len(order):
        most = max(1, int(multiplicity[order[0]]))
        rows, order = order.tensor_split([max(1, PAIRS // most**2)])
        p = momenta[rows].double()
        yield rows, hardest(torch.where(kinematics.pt(p)[..., None] > 0, p, 0.0), most)


def recombine(constituents, algorithm="kt", winner_takes_all=False):
    """Merge the closest pair of each jet again and again; yield what there is after each step.

    Each constituent remembers its nearest neighbour, so that a step costs as much as there are constituents, not
    pairs. A jet with fewer constituents than others waits until they have come down to its number.

    Arguments:
        constituents: a portion that `chunks` yields; algorithm and winner_takes_all: as in `subjets`.
    Shapes:
        constituents (n, particles, 4) -> tuples of
            left: most momenta that a jet still has, from `particles` down to 1
            momenta (n, left, 4): a view, which the next step overwrites; zero where a jet never had so many
            pair: None before the first step, else slots i < j (m,) and momenta (m, 2, 4) that went from i and j into
                i, while slot `left` moved into j; the first m jets took part
    Example:
        >>> jet = torch.tensor([[[5.0, 3, 4, 0], [10, 6, 8, 0], [2, 2, 0, 0]]]).double()
        >>> [(left, kinematics.pt(p).round().tolist()) for left, p, _ in recombine(jet)]
        [(3, [[5.0, 10.0, 2.0]]), (2, [[15.0, 2.0]]), (1, [[16.0]])]

    Reference: Cacciari, Salam 2005, arXiv:hep-ph/0512210 (nearest neighbours).
    """
    state = _State(constituents, power_of(algorithm, ("kt", "cambridge")))
    yield constituents.shape[1], state.p, None
    for left in range(constituents.shape[1] - 1, 0, -1):
        busy = int((state.multiplicity > left).sum())  # jets come with most constituents first
        i, j = state.closest(busy, left + 1)
        pair = torch.stack([state.p[:busy][state.rows[:busy], slot] for slot in (i, j)], dim=1)
        merged = pair.sum(1)
        if winner_takes_all:
            pt = kinematics.pt(pair)
            winner = pt.argmax(1)
            merged = pair[state.rows[:busy], winner] * (pt.sum(1) / pt.amax(1))[:, None]
        state.merge(i, j, merged, left)
        yield left, state.p[:, :left], (i, j, pair)


def separation(p, q):
    """Return the distance of two momenta in rapidity and azimuth, which boosts along the beam do not change.

        Delta R^2 = Delta y^2 + Delta phi^2

    Shapes:
        p (..., 4), q (..., 4), broadcast -> (...,)
    Example:
        >>> separation(torch.tensor([5.0, 3, 4, 0]), torch.tensor([5.0, 4, 3, 0]))
        tensor(0.2838)
    """
    azimuth = azimuth_between(kinematics.phi(p), kinematics.phi(q))
    return torch.hypot(kinematics.rapidity(p) - kinematics.rapidity(q), azimuth)


def hardest(momenta, number):
    """Return the momenta with the largest pT of each jet, hardest first.

    Shapes:
        momenta (n, particles, 4) -> (n, number, 4)
    Example:
        >>> hardest(torch.tensor([[[1.0, 1, 0, 0], [5, 3, 4, 0]]]), 1)
        tensor([[[5., 3., 4., 0.]]])
    """
    order = kinematics.pt(momenta).topk(number, dim=1).indices
    return momenta.gather(1, order[..., None].expand(-1, -1, 4))


def azimuth_between(a, b):
    """Return the size of the angle between two azimuths, in [0, pi].

    Shapes:
        a (...,), b (...,) in [-pi, pi], broadcast -> (...,)
    Example:
        >>> azimuth_between(torch.tensor(3.0), torch.tensor(-3.0))
        tensor(0.2832)
    """
    angle = (a - b).abs()
    return torch.minimum(angle, 2 * math.pi - angle)


def power_of(algorithm, known=tuple(POWERS)):
    """Return the power p of a clustering algorithm, whose distances are min(pT_i^2p, pT_j^2p) Delta R_ij^2.

    Raises:
        ValueError: an algorithm that is not among the known ones. Scalars, no shapes.
    Example:
        >>> power_of("anti-kt")
        -1
    """
    if algorithm not in known:
        raise ValueError(f"there is no algorithm {algorithm!r} here; take one of: {', '.join(known)}")
    return POWERS[algorithm]


def checked(momenta):
    """Return the constituents of jets, or say what is wrong with them.

    Shapes:
        momenta (n, particles, 4) -> the same
    Raises:
        ValueError: a wrong shape or type, momenta that are not finite or have no positive energy.
    Example:
        >>> checked(torch.ones(3, 4))
        Traceback (most recent call last):
        ValueError: momenta must be a floating point tensor (n, particles, 4), zero-padded; got (3, 4)
    """
    is_tensor = torch.is_tensor(momenta)
    if not is_tensor or momenta.dim() != 3 or momenta.shape[-1] != 4 or not momenta.is_floating_point():
        got = tuple(momenta.shape) if is_tensor else type(momenta).__name__
        raise ValueError(f"momenta must be a floating point tensor (n, particles, 4), zero-padded; got {got}")
    if not momenta.isfinite().all():
        raise ValueError("momenta hold NaN or infinity; keep the rest: momenta[momenta.isfinite().all(-1).all(-1)]")
    if ((momenta[..., 0] <= 0) & (momenta != 0).any(-1)).any():
        raise ValueError("a constituent has no positive energy; momenta are (E, px, py, pz), padding is zero")
    return momenta


class _State:
    """Jets while they are merged: momenta, and the nearest neighbour of each. Empty slots lie infinitely far away."""

    def __init__(self, constituents, power):
        self.p, self.power = constituents.clone(), power
        self.rows = torch.arange(len(constituents), device=constituents.device)
        self.multiplicity = (constituents[..., 0] > 0).sum(1)
        self.places = self._places(constituents)  # (3, n, particles): pT^2p, y, phi
        distance = self._distance(self.places[..., None], self.places[:, :, None])
        distance.diagonal(dim1=1, dim2=2).fill_(math.inf)
        self.best, self.near = distance.min(2)

    def closest(self, busy, slots):
        """Return the slots i < j of the closest pair of each of the first jets."""
        i = self.best[:busy, :slots].argmin(1)
        j = self.near[self.rows[:busy], i]
        return torch.minimum(i, j), torch.maximum(i, j)

    def merge(self, i, j, merged, left):
        """Put merged momenta into slots i, what is in the last slot into j, and search neighbours anew where needed."""
        rows = self.rows[: len(i)]
        best, near = self.best[: len(i)], self.near[: len(i)]
        lost = (near == i[:, None]) | (near == j[:, None])
        near.copy_(torch.where(near == left, j[:, None], near))
        for part in (self.p, best, near, lost):
            part[rows, j] = part[rows, left]
        self.places[:, rows, j] = self.places[:, rows, left]
        self.p[rows, i], self.places[:, rows, i] = merged, self._places(merged)
        best, near, lost = best[:, :left], near[:, :left], lost[:, :left]
        distance = self._from(self.places[:, : len(i), :left], i)
        closer = distance < best
        best.copy_(torch.where(closer, distance, best))
        near.copy_(torch.where(closer, i[:, None], near))
        best[rows, i], near[rows, i] = distance.min(1)
        lost[rows, i] = False
        jets, slots = lost.nonzero(as_tuple=True)
        best[jets, slots], near[jets, slots] = self._from(self.places[:, jets, :left], slots).min(1)

    def _places(self, p):
        y = torch.where(p[..., 0] > 0, kinematics.rapidity(p), math.inf)
        return torch.stack([kinematics.pt(p) ** (2 * self.power), y, kinematics.phi(p)])

    def _from(self, places, slot):
        """Return d_ij of one slot i of each jet to all of its slots, (3, m, left), (m,) -> (m, left)."""
        row = torch.arange(len(slot), device=slot.device)
        distance = self._distance(places[:, row, slot, None], places)
        distance[row, slot] = math.inf
        return distance

    @staticmethod
    def _distance(a, b):
        y, phi = a[1] - b[1], azimuth_between(a[2], b[2])
        distance = (y * y).addcmul_(phi, phi).mul_(torch.minimum(a[0], b[0]))
        return distance.nan_to_num_(nan=math.inf, posinf=math.inf)  # inf - inf or 0 * inf: an empty slot
