"""Exact tree amplitude of b q -> t H q' with a Yukawa coupling of any CP angle, with and without the top's decay.

The light quark line sends out a W. Either the W radiates the Higgs and then turns the b into a top, or the top
radiates it. With L^mu = chi(q')^dagger sigmabar^mu chi(q), q = p_q - p_q', k = q - p_H, P = p_t + p_H:

    eta_W = 2 m_W^2 / v  [L - k (k.L) / m_W^2]_mu / ((q^2 - m_W^2) (k^2 - m_W^2))  sigmabar^mu chi(b)
    eta_t = m_t / v  L_mu / ((q^2 - m_W^2) (P^2 - m_t^2))  sigmabar^mu chi(b)
    X_R = eta_W + (cos a + 2/3 i sin a) m_t eta_t,    X_L = (cos a - 2/3 i sin a) sigma.P eta_t
    sum |M|^2 = 9 (g^2 / 2)^2  Xbar (p_t.gamma + m_t) X

The W takes left-handed fermions alone, so only the spin of the top is summed. Nothing couples to the mass of the b.

Reference: the angle and the factor 2/3, which keeps g g -> H as it is, are those of Demartin et al. 2015,
arXiv:1504.00611.
"""

import torch

from .constants import TOP_MASS, TOP_WIDTH, W_MASS, W_WIDTH
from .spinors import SIGMA, SIGMA_BAR, checked_momenta, dot, line, row_times, slash, spinor, times

VACUUM = 246.21965  # GeV, (sqrt(2) G_F)^(-1/2)
COLOURS = 3
LEGS = {5: "b, q, t, H, q'", 7: "b, q, b from the top, charged lepton, neutrino, H, q'"}


def bq_to_thq(momenta, cp_angle=0.0, antiquark=False):
    """Return |M|^2 of b q -> t H q', or of b q -> (b l nu) H q', summed over spins and colours of all legs.

    Couplings are the physical ones: g = 2 m_W / v, Yukawa coupling m_t / v (cos a + 2/3 i sin a gamma_5). Divide by 36
    to average over the incoming spins and colours. With the decay, the factors of the W and top propagators are
    Breit-Wigner's and top and W may be off their mass shells; all spin correlations are kept. For t -> b q qbar
    multiply by three colours. The charge conjugates are the same.

    Arguments:
        momenta: b, q, t, H, q', or b, q, b from the top, charged lepton, neutrino, H, q'; energies positive [GeV].
        cp_angle: a [rad], 0 the Standard Model's, pi the opposite sign; a number or a tensor (...). Differentiable.
        antiquark: the light line is that of an antiquark, such as b dbar -> t H ubar.
    Shapes:
        momenta (..., 5 or 7, 4) -> (...,) float64 [GeV^-2, or GeV^-6 with the decay]
    Raises:
        ValueError: a wrong shape, values that are not finite, an energy that is not positive, momentum that is not
            conserved.
    Example:
        >>> beams = torch.tensor([[250.0, 0, 0, 250], [250, 0, 0, -250]])
        >>> q = torch.tensor([100.0, 60, 0, -80])
        >>> from lhcml_tutor.physics.constants import HIGGS_MASS, TOP_MASS
        >>> from lhcml_tutor.physics.phase_space import two_body
        >>> t, H = two_body((beams.sum(0) - q)[None], TOP_MASS, HIGGS_MASS, torch.tensor([[0.5], [0.5]]))[0][0]
        >>> even, odd = (bq_to_thq(torch.stack([*beams, t, H, q]), a) for a in (0.0, torch.pi))
        >>> bool(odd > 3 * even)
        True
    """
    momenta = _checked(momenta)
    cp_angle = torch.as_tensor(cp_angle, dtype=momenta.dtype, device=momenta.device)
    legs = momenta.movedim((-2, -1), (0, 1))
    b, quark, *top, higgs, jet = legs
    P_top = sum(top)
    m = TOP_MASS

    ends = (quark, jet) if not antiquark else (jet, quark)
    L = line(spinor(ends[1]), spinor(ends[0]))
    q = quark - jet
    k, P = q - higgs, P_top + higgs
    first = 1 / (dot(q, q) - W_MASS**2)
    V = (L - k * dot(k, L) / W_MASS**2) * (2 * W_MASS**2 / VACUUM) * first / (dot(k, k) - W_MASS**2)
    chi = spinor(b)
    eta_w = times(slash(SIGMA_BAR, V), chi)
    eta_t = times(slash(SIGMA_BAR, L * (m / VACUUM) * first / (dot(P, P) - m**2)), chi)
    even, odd = cp_angle.cos(), 2 / 3 * cp_angle.sin()
    X_R = eta_w + torch.complex(even, odd) * m * eta_t
    X_L = torch.complex(even, -odd) * times(slash(SIGMA, P), eta_t)

    coupling = 2 * W_MASS**2 / VACUUM**2  # g^2 / 2
    left = m * X_L + times(slash(SIGMA, P_top), X_R)
    if len(top) == 1:
        right = times(slash(SIGMA_BAR, P_top), X_L) + m * X_R
        return COLOURS**2 * coupling**2 * (X_R.conj() * left + X_L.conj() * right).sum(0).real
    bottom, lepton, neutrino = top
    W = lepton + neutrino
    row = row_times(spinor(bottom).conj(), slash(SIGMA_BAR, line(spinor(neutrino), spinor(lepton))))
    M = (row * left).sum(0).abs() ** 2
    peaks = breit_wigner(dot(W, W)[0], W_MASS, W_WIDTH) * breit_wigner(dot(P_top, P_top)[0], m, TOP_WIDTH)
    return COLOURS**2 * coupling**4 * M * peaks


def breit_wigner(s, mass, width):
    """Return 1 / ((s - m^2)^2 + (m Gamma)^2).

    Example:
        >>> breit_wigner(100.0, 10.0, 0.1)
        1.0
    """
    return 1 / ((s - mass**2) ** 2 + (mass * width) ** 2)


def _checked(momenta):
    if not torch.is_tensor(momenta) or momenta.dim() < 2 or momenta.shape[-1] != 4 or momenta.shape[-2] not in LEGS:
        got = tuple(momenta.shape) if torch.is_tensor(momenta) else type(momenta).__name__
        raise ValueError(f"momenta must be a tensor (..., 5, 4): {LEGS[5]}; or (..., 7, 4): {LEGS[7]}; got {got}")
    n = momenta.shape[-2]
    return checked_momenta(momenta, LEGS[n], (2, 3) if n == 5 else (5,))
