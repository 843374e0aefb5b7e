"""Exact tree amplitudes of q qbar -> Z g, Z gg, ... with all colours and spins.

A massless quark keeps its helicity, so one left-handed line of two-component spinors, chi^dagger ... psi, carries
the whole amplitude; the right-handed line is its mirror image. Gluons are attached to it by recursion. A word w
such as (1, 0) names gluons in the order in which the quark meets them, uv is the word u followed by the word v,
and K_w is the sum of the momenta in w. All sums run over the ways to cut w:

    J(w)   = ( sum_uv [J(u), J(v)] + sum_uvx {J(u), J(v), J(x)} ) / K_w^2                gluon that decays into w
    psi(w) = sigma.k / k^2  sum_uv  sigmabar.J(v) psi(u),       k = p_quark - K_w        quark that has emitted w
    chi(w) = sum_uv  chi(v) sigmabar.J(u)  sigma.k / k^2,       k = K_w - p_antiquark    antiquark that has emitted w
    V(w)   = sum_uv  chi(v) sigmabar^mu psi(u)                                           what the Z couples to

Tensors are (components, polarisation of gluon 1, of gluon 2, ..., events). Gluon i owns axis i, of length 1 wherever
it does not take part, so nothing is computed twice; events come last, which keeps them contiguous in memory.

Reference: Berends and Giele 1988, Nucl. Phys. B 306, 759.
"""

import math
from functools import lru_cache
from itertools import combinations, permutations

import torch

from .spinors import METRIC, SIGMA, SIGMA_BAR, checked_momenta, dot, slash, spinor, times

CHUNK = {"cpu": 2**11, "cuda": 2**17}  # events at a time: enough to keep the device busy, few enough for its memory


def qqbar_to_z_gluons(momenta, polarisations=None, left=1.0, right=1.0):
    """Return |M|^2 of q qbar -> Z g ... g at tree level, summed over spins and colours of all legs.

        sum |M|^2 = (left^2 + right^2)  sum_{orders v, w} C(v, w)  sum_polarisations  -V(v) . V(w)^*
        for one gluon:  16 (left^2 + right^2) (t^2 + u^2 + 2 s m_Z^2) / (t u)

    The couplings are g_s = 1 and gamma^mu (left P_L + right P_R). Multiply by g_s^2 for each gluon and by the weak
    coupling squared for a real quark; divide by 36 to average over the incoming spins and colours, and by
    (n_gluons)! when integrating over all momenta of the identical gluons.

    Arguments:
        momenta: incoming quark and antiquark, Z, gluons, all with positive energy [GeV] and on their mass shells.
            Gradients are physical along directions that keep the masses and the momentum sum.
        polarisations: the gluons' polarisation vectors, real or complex; by default two transverse ones each.
            Put the momentum of one gluon in its place and the amplitude must vanish.
        left, right: couplings of the Z to left- and right-handed quarks.
    Shapes:
        momenta (..., 3 + n_gluons, 4), polarisations (..., n_gluons, n_polarisations, 4)
        -> (...,) float64 [GeV^(2 - 2 n_gluons)]
    Raises:
        ValueError: a wrong shape, values that are not finite, an energy that is not positive, momentum that is not
            conserved, a massive leg where a massless one belongs.
    Example:
        >>> quark, antiquark = torch.tensor([[500.0, 0, 0, 500], [500, 0, 0, -500]])
        >>> gluon = (500 - 91.1876**2 / 2000) * torch.tensor([1, 0.6, 0, 0.8])
        >>> z = quark + antiquark - gluon
        >>> round(qqbar_to_z_gluons(torch.stack([quark, antiquark, z, gluon])).item(), 2)
        297.57

    Reference: Berends and Giele 1988, Nucl. Phys. B 306, 759.
    """
    momenta = _checked(momenta)
    events = momenta.reshape(-1, *momenta.shape[-2:])
    chunks = events.split(CHUNK.get(events.device.type, CHUNK["cpu"]))
    if polarisations is None:
        vectors = (transverse_polarisations(chunk[:, 3:]) for chunk in chunks)
    else:
        vectors = _checked_polarisations(polarisations, momenta).split(len(chunks[0]) or 1)
    left_handed = torch.cat([_left_handed(*chunk) for chunk in zip(chunks, vectors)])
    return (left**2 + right**2) * left_handed.reshape(momenta.shape[:-2])


def estimate_z_gluons(momenta, generator, left=1.0, right=1.0):
    """Return an estimate of `qqbar_to_z_gluons` from one random polarisation of each gluon and one random colour.

        e = sqrt(2) (e_1 cos a + e_2 sin a),    sum |M|^2 = mean over a, c of (left^2 + right^2) |sum_w c_w V(w)|^2

    with a even in 0 ... 2 pi and c normal with covariance C(v, w). The mean of each event is exact, one draw scatters
    by 1.5 to 1.7 of it. For three gluons it is three times, for four six times faster than the exact sum.

    Arguments:
        generator: torch.Generator on the device of the momenta.
    Shapes:
        momenta (..., 3 + n_gluons, 4) -> (...,) float64 [GeV^(2 - 2 n_gluons)]
    Example:
        >>> quark, antiquark = torch.tensor([[500.0, 0, 0, 500], [500, 0, 0, -500]])
        >>> gluon = (500 - 91.1876**2 / 2000) * torch.tensor([1, 0.6, 0, 0.8])
        >>> event = torch.stack([quark, antiquark, quark + antiquark - gluon, gluon]).expand(20_000, 4, 4)
        >>> round(estimate_z_gluons(event, torch.Generator().manual_seed(1)).mean().item() / 297.57, 1)
        1.0
    """
    momenta = _checked(momenta)
    random = {"dtype": torch.float64, "device": momenta.device, "generator": generator}
    angle = 2 * math.pi * torch.rand(*momenta.shape[:-2], momenta.shape[-2] - 3, 1, **random)
    pair = transverse_polarisations(momenta[..., 3:, :])
    vectors = 2**0.5 * (angle.cos() * pair[..., 0, :] + angle.sin() * pair[..., 1, :]).unsqueeze(-2)
    events, vectors = momenta.reshape(-1, *momenta.shape[-2:]), vectors.reshape(-1, *vectors.shape[-3:])
    colours = torch.linalg.cholesky(colour_matrix(momenta.shape[-2] - 3)).to(momenta.device)
    weights = torch.randn(len(events), len(colours), **random) @ colours.T
    size = CHUNK.get(events.device.type, CHUNK["cpu"])
    drawn = [_left_handed(*chunk) for chunk in zip(events.split(size), vectors.split(size), weights.split(size))]
    return (left**2 + right**2) * torch.cat(drawn).reshape(momenta.shape[:-2])


def _left_handed(momenta, polarisations, colours=None):
    """Return the summed square of the left-handed line; (n, 3 + n_gluons, 4), (n, n_gluons, n_pol, 4) -> (n,).

    With colours (n, n_gluons!) the square of one combination of all orders stands for the sum over colours.
    """
    gluons = range(momenta.shape[-2] - 3)
    legs = [p.T.reshape(4, *[1 for _ in gluons], len(p)).contiguous() for p in momenta.unbind(1)]
    vectors = [
        e.movedim(0, -1).movedim(0, 1).unflatten(1, [e.shape[1] if j == i else 1 for j in gluons]).contiguous()
        for i, e in enumerate(polarisations.unbind(1))
    ]
    V = torch.view_as_real(currents(legs[0], legs[1], legs[3:], vectors)).flatten(2, -3)
    metric = METRIC.to(V.device)
    if colours is not None:
        V = torch.einsum("nv,vmpnr->mpnr", colours, V)
        return -torch.einsum("m,mpnr->n", metric, V**2)
    colour = colour_matrix(len(gluons)).to(V.device)
    return -torch.einsum("m,vmpnr,vmpnr->n", metric, V, torch.tensordot(colour, V, 1))  # r: real, imaginary part


def currents(quark, antiquark, gluons, polarisations):
    """Return V(w) of the left-handed quark line for every order w of the gluons; equations and layout stand above.

    Arguments:
        quark, antiquark, gluons: momenta; gluons and polarisations are lists with one entry for each gluon.
    Shapes:
        quark, antiquark and each gluon (4, 1, ..., 1, n), each polarisation (4, 1, .., n_polarisations, .., 1, n)
        -> (n_gluons!, 4, n_polarisations, ..., n_polarisations, n) complex128
    Example:
        >>> quark, antiquark = torch.tensor([[500.0, 0, 0, 500], [500, 0, 0, -500]]).double()[:, :, None, None]
        >>> gluon, vector = torch.tensor([[5.0, 3, 0, 4], [0, 0, 1, 0]]).double()[:, :, None, None]
        >>> currents(quark, antiquark, [gluon], [vector]).shape
        torch.Size([1, 4, 1, 1])
    """
    orders = list(permutations(range(len(gluons))))
    J, psi, chi = {}, {(): spinor(quark)}, {(): spinor(antiquark).conj()}
    for length in range(1, len(gluons) + 1):
        for w in permutations(range(len(gluons)), length):
            K = sum(gluons[i] for i in w)
            J[w] = polarisations[w[0]] if length == 1 else current(w, J, gluons)
            k = quark - K
            met = sum(times(slash(SIGMA_BAR, J[v]), psi[u]) for u, v in _cuts(w) if v)
            psi[w] = times(slash(SIGMA, k / dot(k, k)), met)
            k = K - antiquark
            met = sum(_rowtimes(chi[v], slash(SIGMA_BAR, J[u])) for u, v in _cuts(w) if u)
            chi[w] = _rowtimes(met, slash(SIGMA, k / dot(k, k)))
    lines = torch.stack([sum(chi[v][:, None] * psi[u] for u, v in _cuts(w)) for w in orders])
    return torch.einsum("mab,oab...->om...", SIGMA_BAR.to(lines.device), lines)


def current(w, J, gluons, propagator=True):
    """Return J(w), two letters or more, from the currents of shorter words: three- and four-gluon vertices.

    Arguments:
        J: the currents of all pieces of w. gluons: outgoing momenta; layout as above.
        propagator: divide by K_w^2; without it the current can be closed with one more gluon on its mass shell.
    """
    total, K = 0, {u: sum(gluons[i] for i in u) for cut in _cuts(w) for u in cut}
    for u, v in _cuts(w)[1:-1]:
        total = total + 2 * dot(K[v], J[u]) * J[v] - 2 * dot(K[u], J[v]) * J[u] + dot(J[u], J[v]) * (K[u] - K[v])
    for i, j in combinations(range(1, len(w)), 2):
        a, b, c = J[w[:i]], J[w[i:j]], J[w[j:]]
        total = total + 2 * dot(a, c) * b - dot(b, c) * a - dot(a, b) * c
    return total / dot(K[w], K[w]) if propagator else total


def transverse_polarisations(k):
    """Return two real polarisation vectors of each gluon, orthogonal to its direction n and to each other.

        e . k = 0,    sum_pol e_i e_j = delta_ij - n_i n_j

    A sum over polarisations does not depend on their basis; real vectors keep all gluon currents real.

    Shapes:
        k (..., 4) -> (..., 2, 4)
    Example:
        >>> transverse_polarisations(torch.tensor([5.0, 0, 0, 5])).abs()
        tensor([[0., 1., 0., 0.],
                [0., 0., 1., 0.]])

    Reference: Duff et al. 2017, Journal of Computer Graphics Techniques 6 (1), 1.
    """
    x, y, z = (k[..., 1:] / k[..., 1:].norm(dim=-1, keepdim=True)).unbind(-1)
    sign = torch.where(z < 0, -1.0, 1.0).to(z)  # either sign alone fails for one direction along z
    a, zero = 1 / (sign + z), torch.zeros_like(z)
    first = torch.stack([zero, 1 - sign * a * x * x, -sign * a * x * y, -sign * x], dim=-1)
    second = torch.stack([zero, -a * x * y, sign - a * y * y, -y], dim=-1)
    return torch.stack([first, second], dim=-2)


def generators():
    """Return the colour matrices T^a of a quark, half the Gell-Mann matrices, (8, 3, 3) complex128.

    Example:
        >>> T = generators()
        >>> torch.einsum("aij,bji->ab", T, T).real.allclose(torch.eye(8).double() / 2)
        True
    """
    T = torch.zeros(8, 3, 3, dtype=torch.complex128)  # Gell-Mann matrices / 2
    for a, (i, j) in zip([0, 3, 5], combinations(range(3), 2)):
        T[a, i, j] = T[a, j, i] = 0.5
        T[a + 1, i, j], T[a + 1, j, i] = -0.5j, 0.5j
    T[2] = torch.diag(torch.tensor([0.5, -0.5, 0]))
    T[7] = torch.diag(torch.tensor([1.0, 1, -2]).double()) / 12**0.5
    return T


@lru_cache
def colour_matrix(n_gluons):
    """Return the colour sum C(v, w) of two orders of the gluons along the quark line.

        C(v, w) = sum_{a1, a2, ...} Tr[T^a_v1 T^a_v2 ... (T^a_w1 T^a_w2 ...)^dagger],    Tr T^a T^b = delta_ab / 2

    Shapes:
        -> (n_gluons!, n_gluons!) float64, orders as in itertools.permutations
    Example:
        >>> (colour_matrix(2) * 3).round().tolist()
        [[16.0, -2.0], [-2.0, 16.0]]
    """
    T = generators()
    places, product = tuple(range(n_gluons)), torch.eye(3, dtype=T.dtype)
    for _ in places:
        product = torch.einsum("...ij,ajk->...aik", product, T)
    chains = torch.stack([product.movedim(places, w).flatten() for w in permutations(places)])
    return (chains @ chains.mH).real


def _cuts(word):
    """Return all (u, v) with word = uv; the first u and the last v are empty."""
    return [(word[:i], word[i:]) for i in range(len(word) + 1)]


def _rowtimes(chi, matrix):
    return (chi[:, None] * matrix).sum(0)


def _checked(momenta):
    """Return the momenta as float64, or say what is wrong with them."""
    if not torch.is_tensor(momenta) or momenta.dim() < 2 or momenta.shape[-1] != 4 or momenta.shape[-2] < 4:
        got = tuple(momenta.shape) if torch.is_tensor(momenta) else type(momenta).__name__
        raise ValueError(f"momenta must be a tensor (..., 3 + n_gluons, 4): quark, antiquark, Z, gluons; got {got}")
    return checked_momenta(momenta, "quark, antiquark, Z, gluons", (2,))


def _checked_polarisations(polarisations, momenta):
    """Return the vectors of each event, (n, n_gluons, n_polarisations, 4), or say what is wrong."""
    lead, n_gluons, got = momenta.shape[:-2], momenta.shape[-2] - 3, tuple(polarisations.shape)
    if len(got) < 3 or got[-1] != 4 or got[-3] != n_gluons or len(got) - 3 > len(lead):
        raise ValueError(f"polarisations must be (..., n_gluons = {n_gluons}, n_polarisations, 4), not {got}")
    if any(size not in (1, events) for size, events in zip(got[-4::-1], lead[::-1])):
        raise ValueError(f"polarisations {got} fit neither one event nor all {tuple(lead)} of them")
    vectors = polarisations.to(torch.complex128 if polarisations.is_complex() else torch.float64)
    return vectors.expand(*lead, *got[-3:]).reshape(-1, *got[-3:])
