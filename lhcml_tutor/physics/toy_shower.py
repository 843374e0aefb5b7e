"""A toy shower of quark and gluon jets whose likelihood is known, and with it the best possible tagger.

shower = ToyShower()
emissions = shower.sample(torch.tensor([1, 0]), generator)    # (2, m, 3): a quark's and a gluon's, zero-padded
shower.log_likelihood_ratio(emissions)                        # (2,), exact: no tagger separates better
shower.constituents(emissions)                                # (2, m + 1, 4), GeV: what a network sees
shower.counting_auc(), shower.optimal_auc()                   # of the number of emissions, of the likelihood ratio

What it is not: emissions do not emit, the coupling does not run, nothing hadronises.
"""

import math

import torch

from .. import kinematics

CASIMIR = {1: 4 / 3, 0: 3.0}  # quark C_F, gluon C_A
T_R = 1 / 2
QUARK, GLUON = 1, 0


class ToyShower:
    """Emissions off a hard quark or gluon, ordered in angle, with Sudakov factors in closed form.

        dP = (2 alpha_s / pi) d(theta)/theta dz P_i(z) d(phi)/(2 pi),    theta < R,  z theta pT > kt_min,  z < z_max
        P_q(z) = C_F (1 + (1 - z)^2) / (2 z)
        P_g(z) = C_A ((1 - z) / z + z (1 - z) / 2) + n_f T_R (z^2 + (1 - z)^2) / 2

    z is the part of what is left of the hard parton that an emission takes. kT = z theta pT is meant with the initial
    pT, so that an emission does not change the odds of the next: they are a Poisson process in ln 1/theta, ln kT, phi,

        p(emissions) = Sudakov prod_k (alpha_s / pi^2) z_k P_i(z_k),    Sudakov = exp(-mean number)

    without a factorial, as they are ordered. The gluon's P_gg has all of its soft pole at z = 0, as its two daughters
    are alike. hard_collinear=False leaves C_i / z alone, and z_max = 1 then makes the ratio of the means C_A / C_F.

    The two differ in z, too: P_q / P_g runs from C_F / C_A = 0.44 for soft emissions to 7.5 at z = 0.98, so that their
    number is not all. Gluons that split to quarks (n_f > 0) hide this, and are left out unless asked for.

    Arguments:
        pt: of the jet [GeV]; radius: R; kt_min: cut-off [GeV]; n_f: flavours of g -> q qbar.
    Shapes:
        emissions (n, m, 3): ln(R / theta), ln(kT / GeV), phi; rows of zeros are no emissions. flavour: 1 quark, 0 gluon
    Raises:
        ValueError: settings that leave no room for emissions, or another flavour.
    Reference: Ellis, Stirling, Webber, QCD and Collider Physics, chapter 5, for the splitting functions.
    Example:
        >>> shower = ToyShower()
        >>> emissions = shower.sample(torch.tensor([1, 0, 0]), torch.Generator().manual_seed(1))
        >>> kinematics.pt(shower.constituents(emissions)).sum(1).round()
        tensor([500., 500., 500.], dtype=torch.float64)
    """

    def __init__(self, pt=500.0, radius=0.4, alpha_s=0.3, kt_min=2.0, z_max=0.98, n_f=0, hard_collinear=True):
        if not (0 < kt_min < z_max * pt * radius and 0 < z_max <= 1 and alpha_s > 0 and radius > 0):
            raise ValueError(
                f"{pt=}, {radius=}, {alpha_s=}, {kt_min=} must be positive, 0 < {z_max=} <= 1, kt_min < z_max pt radius"
            )
        if not (isinstance(n_f, int) and 0 <= n_f <= 6):
            raise ValueError(f"{n_f=} must be a number of flavours, 0 to 6")
        self.pt, self.radius, self.kt_min, self.z_max = pt, radius, kt_min, z_max
        self.coupling = 2 * alpha_s / math.pi
        self.z_min = kt_min / (pt * radius)  # at the largest angle
        self.depth = math.log(z_max / self.z_min)  # largest ln(R / theta)
        pairs = n_f * T_R / 2
        self.powers = {  # P_i(z) = C_i / z + sum_k c_k z^k
            QUARK: [-CASIMIR[QUARK], CASIMIR[QUARK] / 2, 0.0],
            GLUON: [-CASIMIR[GLUON] + pairs, CASIMIR[GLUON] / 2 - 2 * pairs, -CASIMIR[GLUON] / 2 + 2 * pairs],
        }
        if not hard_collinear:
            self.powers = {QUARK: [0.0, 0.0, 0.0], GLUON: [0.0, 0.0, 0.0]}

    def splitting(self, z, flavour):
        """Return P_i(z).

        Shapes:
            z, any; flavour 0 or 1 -> as z
        """
        return CASIMIR[flavour] / z + sum(c * z**k for k, c in enumerate(self.powers[flavour]))

    def expected(self, first, last, flavour):
        """Return the mean number of emissions with first < ln(R / theta) < last, in closed form.

            N = (2 alpha_s / pi) int dt int_{z_min e^t}^{z_max} dz P_i(z),    Sudakov factor = exp(-N)

        Shapes:
            two numbers, 0 <= first <= last <= depth; flavour 0 or 1 -> a number
        """
        low, high, top = (math.log(self.z_min) + first, math.log(self.z_min) + last, math.log(self.z_max))
        c = CASIMIR[flavour]
        total = c * top * (last - first) - c * (high**2 - low**2) / 2
        for k, power in enumerate(self.powers[flavour], start=1):
            difference = math.exp(k * high) - math.exp(k * low)
            total += power * (self.z_max**k / k * (last - first) - difference / k**2)
        return self.coupling * total

    def mean_multiplicity(self, flavour):
        """Return the mean number of emissions of a jet; the number is Poisson's."""
        return self.expected(0.0, self.depth, _known(flavour))

    def sample(self, flavour, generator):
        """Return the emissions of one jet per flavour.

        Candidates are thrown evenly over the triangle of the Lund plane with the density C_i of soft emissions, and
        kept with the probability z P_i(z) / C_i <= 1: the veto algorithm.

        Shapes:
            flavour (n,) of 0 and 1 -> (n, m, 3) float64, m the largest number of emissions, at least 1
        """
        place, flavour = generator.device, torch.as_tensor(flavour, device=generator.device)
        if flavour.ndim != 1 or len(flavour) == 0 or not ((flavour == QUARK) | (flavour == GLUON)).all():
            raise ValueError("flavour must be a tensor (n,) of 1 (quark) and 0 (gluon), with n at least 1")
        quark = (flavour == QUARK)[:, None]
        casimir = torch.where(quark, CASIMIR[QUARK], CASIMIR[GLUON]).double()
        number = torch.poisson(self.coupling * casimir * self.depth**2 / 2, generator=generator)
        most = max(int(number.max()), 1)
        u = torch.rand(4, len(flavour), most, dtype=torch.float64, generator=generator, device=place)
        side = self.depth * u[0].sqrt()
        t, z = side * u[1], self.z_max * (-side * (1 - u[1])).exp()
        kept = torch.where(quark, self.splitting(z, QUARK), self.splitting(z, GLUON)) * z > u[2] * casimir
        kept &= torch.arange(most, device=place) < number
        log_kt = (z * self.pt * self.radius).log() - t
        emissions = torch.stack([t, log_kt, math.pi * (2 * u[3] - 1)], dim=2)
        order = torch.where(kept, t, math.inf).argsort(1)[:, : max(int(kept.sum(1).max()), 1)]
        emissions = emissions.gather(1, order[:, :, None].expand(-1, -1, 3))
        return torch.where(kept.gather(1, order)[:, :, None], emissions, 0.0)

    @staticmethod
    def present(emissions):
        """Tell which rows of emissions are no padding; (n, m, 3) -> (n, m) bool."""
        return (emissions != 0).any(-1)

    def fractions(self, emissions):
        """Return z = kT / (theta pT) of emissions, 0 for padding; (n, m, 3) -> (n, m)."""
        z = (emissions[..., 0] + emissions[..., 1]).exp() / (self.pt * self.radius)
        return torch.where(self.present(emissions), z, torch.zeros_like(z))

    def log_prob(self, emissions, flavour):
        """Return the exact log of the density of ordered emissions in (ln R/theta, ln kT, phi).

            log p = -N_i + sum_k log((alpha_s / pi^2) z_k P_i(z_k))

        Shapes:
            emissions (n, m, 3); flavour 0, 1 or a tensor (n,) of them -> (n,); -inf where no such jet can be
        """
        if isinstance(flavour, torch.Tensor) and flavour.ndim:
            return torch.where(flavour == QUARK, *(self.log_prob(emissions, kind) for kind in (QUARK, GLUON)))
        mask, t, log_kt = self.present(emissions), emissions[..., 0], emissions[..., 1]
        z = self.fractions(emissions)
        safe = torch.where(mask & (z <= 1), z, torch.full_like(z, self.z_max / 2))
        rate = (self.coupling / (2 * math.pi) * safe * self.splitting(safe, _known(flavour))).log()
        slack = 1e-9  # of rounding at the borders
        good = (t >= 0) & (log_kt >= math.log(self.kt_min) - slack) & (z <= self.z_max * (1 + slack))
        good &= emissions[..., 2].abs() <= math.pi
        ordered = (t[:, 1:] >= t[:, :-1]) & mask[:, :-1] | ~mask[:, 1:]
        possible = (good | ~mask).all(1) & ordered.all(1)
        value = torch.where(mask, rate, torch.zeros_like(rate)).sum(1) - self.mean_multiplicity(flavour)
        return torch.where(possible, value, torch.full_like(value, -math.inf))

    def log_likelihood_ratio(self, emissions):
        """Return log p(emissions | quark) - log p(emissions | gluon).

        Shapes:
            emissions (n, m, 3) -> (n,); nan where neither can be
        """
        return self.log_prob(emissions, QUARK) - self.log_prob(emissions, GLUON)

    def constituents(self, emissions):
        """Return massless particles of a jet around eta = phi = 0, whose transverse momenta add up to pt.

        Emission k takes z_k of what is left, at the distance theta_k from the parton, which recoils: the centre of the
        jet, weighted with transverse momenta, stays where it is.

        Shapes:
            emissions (n, m, 3) -> (n, m + 1, 4) [GeV], ordered in pT, zero-padded
        """
        z, theta = self.fractions(emissions), self.radius * (-emissions[..., 0]).exp()
        kick = theta[..., None] * torch.stack([emissions[..., 2].cos(), emissions[..., 2].sin()], dim=-1)
        left, centre, pts, places = torch.full_like(z[:, 0], self.pt), torch.zeros_like(kick[:, 0]), [], []
        for k in range(z.shape[1]):
            pts.append(left * z[:, k])
            places.append(centre + (1 - z[:, k, None]) * kick[:, k])
            left, centre = left * (1 - z[:, k]), centre - z[:, k, None] * kick[:, k]
        pt, place = torch.stack([*pts, left], dim=1), torch.stack([*places, centre], dim=1)
        pt, order = pt.sort(dim=1, descending=True)
        place = place.gather(1, order[:, :, None].expand_as(place))
        return kinematics.from_pt_eta_phi_mass(pt, place[..., 0], place[..., 1], 0.0)

    def counting_auc(self):
        """Return the area under the ROC curve of a tagger that knows the number of emissions alone; quark is signal."""
        quark, gluon = (_poisson(self.mean_multiplicity(flavour), self.mean_multiplicity(GLUON)) for flavour in CASIMIR)
        return float((quark * (1 - gluon.cumsum(0) + gluon / 2)).sum())

    def optimal_auc(self, bins=2**17, step=1e-3):
        """Return the area under the ROC curve of the likelihood ratio, the largest there is.

        The sum of log(P_q / P_g) over the emissions is compound Poisson; its distribution is the Fourier transform of
        exp(N_i (c_i - 1)), c_i the transform of the distribution of one term. Error below 1e-4, from the bins.
        """
        log_z = torch.linspace(math.log(self.z_min), math.log(self.z_max), 200_001, dtype=torch.float64)
        z = ((log_z[1:] + log_z[:-1]) / 2).exp()
        place = (self.splitting(z, QUARK) / self.splitting(z, GLUON)).log() / step
        below = place.floor()
        cumulative = {}
        for flavour in (QUARK, GLUON):
            weight = self.coupling * z * self.splitting(z, flavour) * (z / self.z_min).log() * (log_z[1] - log_z[0])
            rate = torch.zeros(bins, dtype=torch.float64)
            rate.index_add_(0, below.long() % bins, weight * (1 - place + below))
            rate.index_add_(0, (below.long() + 1) % bins, weight * (place - below))
            characteristic = (torch.fft.rfft(rate) - rate.sum()).exp()
            cumulative[flavour] = torch.fft.irfft(characteristic, n=bins).roll(bins // 2)
        quark, gluon = cumulative[QUARK], cumulative[GLUON]
        return float((quark * (gluon.cumsum(0) - gluon / 2)).sum())


def _poisson(mean, largest):
    """Return the probabilities of 0, 1, 2, ... events, as far as they count for the largest mean."""
    n = torch.arange(int(largest + 20 * largest**0.5 + 50), dtype=torch.float64)
    return (n * math.log(mean) - mean - torch.lgamma(n + 1)).exp()


def _known(flavour):
    if (number := int(flavour)) not in CASIMIR:
        raise ValueError(f"flavour {flavour!r}; it must be 1 (quark) or 0 (gluon)")
    return number
