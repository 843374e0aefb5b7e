"""Exact tree amplitudes of g g -> g ... g, in full colour and in the limit of many colours.

The current J(w) of amplitudes.py, without quarks. Incoming gluons count as outgoing ones of momentum -p. Gluon 1 stays
first in every word, the last gluon n closes it:

    A(1, w, n) = K^2 J(1 w) . e_n,                                     w: the gluons between, in any order
    sum |M|^2  = sum_{v, w} C(v, w)  sum_polarisations  A(1, v, n) A(1, w, n)

Full colour: C(v, w) is the product of two chains of structure constants. Leading colour: the squares of all (n - 1)!
orders around the circle, without what two different orders do together; they follow from the (n - 2)! orders here by
the Kleiss-Kuijf relations, so that limit is another matrix C.

Reference: Berends and Giele 1988, Nucl. Phys. B 306, 759; Del Duca, Dixon and Maltoni 2000, hep-ph/9910563.
"""

from functools import lru_cache
from itertools import permutations

import torch

from .amplitudes import current, generators, transverse_polarisations
from .spinors import METRIC, checked_momenta

CHUNK = {"cpu": 2**10, "cuda": 2**15}  # events at a time
COLOURS = 3


def gluons(momenta, colour="full", polarisations=None):
    """Return |M|^2 of g g -> g ... g at tree level, summed over spins and colours of all legs, with g_s = 1.

        for two outgoing gluons:  1152 (3 - t u / s^2 - s u / t^2 - s t / u^2)

    Multiply by g_s^2 for each gluon beyond two; divide by 256 to average over the incoming spins and colours, and by
    n_outgoing! when integrating over all momenta of the identical gluons.

    Arguments:
        momenta: two incoming gluons, then the outgoing ones, all with positive energy [GeV] and massless.
        colour: "full", or "leading" for the first order in 1/N_c^2 alone, exact for two and three outgoing gluons; or
            "both", side by side in a last axis, for little more than the time of one.
        polarisations: of each gluon; by default two transverse ones. Put a momentum in its place: zero must come out.
    Shapes:
        momenta (..., n_gluons, 4), polarisations (..., n_gluons, n_polarisations, 4) real -> (...,) float64
        [GeV^(8 - 2 n_gluons)]
    Raises:
        ValueError: fewer than four gluons, values that are not finite, an energy that is not positive, a gluon with a
            mass, momentum that is not conserved, an unknown colour.
    Example:
        >>> beams = torch.tensor([[500.0, 0, 0, 500], [500, 0, 0, -500]])
        >>> final = torch.tensor([[500.0, 300, 0, 400], [500, -300, 0, -400]])
        >>> round(gluons(torch.cat([beams, final])).item(), 2)
        107174.54

    Reference: Del Duca, Dixon and Maltoni 2000, hep-ph/9910563 (colour).
    """
    if colour not in ("full", "leading", "both"):
        raise ValueError(f"colour is 'full' or 'leading' or 'both', not {colour!r}")
    momenta = _checked(momenta)
    n = momenta.shape[-2]
    events = momenta.reshape(-1, n, 4)
    if polarisations is None:
        vectors = transverse_polarisations(events)
    else:
        vectors = polarisations.double().expand(*momenta.shape[:-1], *polarisations.shape[-2:]).flatten(0, -4)
    wanted = ("full", "leading") if colour == "both" else (colour,)
    matrices = [colour_matrix(n, kind).to(events.device) for kind in wanted]
    size = CHUNK.get(events.device.type, CHUNK["cpu"])
    parts = [_squared(p, e, matrices) for p, e in zip(events.split(size), vectors.split(size))]
    squares = torch.cat(parts).reshape(*momenta.shape[:-2], len(wanted))
    return squares if colour == "both" else squares[..., 0]


def orders(momenta, polarisations):
    """Return A(1, w, n) of every order w of the gluons between the first and the last.

    Shapes:
        momenta (n_events, n, 4), all outgoing, so that they add up to zero; polarisations (n_events, n, p, 4) real
        -> ((n - 2)!, p, ..., p, n_events), one axis of length p for each gluon
    Example:
        >>> beams = torch.tensor([[5.0, 0, 0, 5], [5, 0, 0, -5]]).double()
        >>> momenta = torch.cat([-beams, beams[:, [0, 3, 1, 2]]])[None]
        >>> orders(momenta, transverse_polarisations(momenta)).shape
        torch.Size([2, 2, 2, 2, 2, 1])
    """
    axes = range(momenta.shape[1])
    legs = [k.T.reshape(4, *[1 for _ in axes], len(k)).contiguous() for k in momenta.unbind(1)]
    vectors = [
        e.movedim(0, -1).movedim(0, 1).unflatten(1, [e.shape[1] if j == i else 1 for j in axes]).contiguous()
        for i, e in enumerate(polarisations.unbind(1))
    ]
    between, last = tuple(axes[1:-1]), axes[-1]
    J = {(i,): vectors[i] for i in axes[:-1]}
    for length in range(2, len(axes) - 1):
        for w in permutations(between, length):
            J[w] = -((-1) ** length) * J[w[::-1]] if w[::-1] in J else current(w, J, legs)  # a word read backwards
        for w in permutations(between, length - 1):
            J[0, *w] = current((0, *w), J, legs)
    metric = METRIC.to(momenta.device).reshape(4, *[1] * (len(axes) + 1))
    closing = metric * vectors[last]
    words = [(0, *w) for w in permutations(between)]
    return torch.stack([(current(w, J, legs, propagator=False) * closing).sum(0) for w in words])


@lru_cache
def colour_matrix(n_gluons, colour="full"):
    """Return the colour sum C(v, w) of two orders of the gluons between the first and the last.

        full:     sum of (F^v1 F^v2 ...)_{1n} (F^w1 F^w2 ...)_{1n}^*,    (F^a)_{bc} = i f^{bac}
        leading:  4 N_c^(n-2) (N_c^2 - 1) / 2^n  K^T K,    K the Kleiss-Kuijf matrix to all (n - 1)! orders

    Shapes:
        -> ((n - 2)!, (n - 2)!) float64, orders as in itertools.permutations
    Example:
        >>> colour_matrix(4).round().tolist()
        [[72.0, 36.0], [36.0, 72.0]]
    """
    if colour == "leading":
        K = kleiss_kuijf(n_gluons)
        return 4 * COLOURS ** (n_gluons - 2) * (COLOURS**2 - 1) / 2**n_gluons * K.T @ K
    T = generators()
    commutator = torch.einsum("aij,bjk->abik", T, T)
    commutator = commutator - commutator.transpose(0, 1)
    F = 2 * torch.einsum("abij,cji->abc", commutator, T)  # [T^a, T^b] = i f^{abc} T^c
    chain = torch.eye(8, dtype=T.dtype)
    for _ in range(n_gluons - 2):
        chain = torch.einsum("b...c,acd->b...ad", chain, F)
    places = tuple(range(1, n_gluons - 1))
    chains = torch.stack([chain.movedim(places, w).flatten() for w in permutations(places)])
    return (chains @ chains.mH).real


@lru_cache
def kleiss_kuijf(n_gluons):
    """Return the matrix that gives all orders around the circle from those with the last gluon at the end.

        A(1, a, n, b) = (-1)^|b|  sum over all ways to shuffle a with b read backwards  A(1, ..., n)

    Shapes:
        -> ((n - 1)!, (n - 2)!) float64, orders as in itertools.permutations
    Example:
        >>> kleiss_kuijf(4).sum(1).tolist()
        [1.0, -2.0, 1.0, -2.0, 1.0, 1.0]
    """
    last = n_gluons - 1
    place = {w: i for i, w in enumerate(permutations(range(1, last)))}
    rows = []
    for word in permutations(range(1, n_gluons)):
        cut = word.index(last)
        row = torch.zeros(len(place), dtype=torch.float64)
        for shuffled in _shuffles(word[:cut], word[cut + 1 :][::-1]):
            row[place[shuffled]] += (-1) ** (last - 1 - cut)
        rows.append(row)
    return torch.stack(rows)


def _shuffles(a, b):
    """Return all words made of a and b in which each keeps its order."""
    if not a or not b:
        return [a + b]
    return [a[:1] + rest for rest in _shuffles(a[1:], b)] + [b[:1] + rest for rest in _shuffles(a, b[1:])]


def _squared(momenta, polarisations, matrices):
    A = orders(torch.cat([-momenta[:, :2], momenta[:, 2:]], 1), polarisations).flatten(1, -2)
    return torch.stack([(A * torch.tensordot(matrix, A, 1)).sum((0, 1)) for matrix in matrices], -1)


def _checked(momenta):
    if not torch.is_tensor(momenta) or momenta.dim() < 2 or momenta.shape[-1] != 4 or momenta.shape[-2] < 4:
        got = tuple(momenta.shape) if torch.is_tensor(momenta) else type(momenta).__name__
        raise ValueError(f"momenta must be a tensor (..., n_gluons >= 4, 4), two of them incoming; got {got}")
    return checked_momenta(momenta, "two incoming gluons, outgoing gluons")
