"""The toy shower: counts, density, ratio and momenta are what the closed forms say, by roads that do not meet in it."""

import math

import pytest
import torch
from scipy import stats
from scipy.integrate import dblquad

from lhcml_tutor import kinematics
from lhcml_tutor.datasets import toys
from lhcml_tutor.metrics import auc
from lhcml_tutor.physics.toy_shower import ToyShower

SETTINGS = [{}, {"n_f": 5, "kt_min": 1.0}, {"alpha_s": 0.12, "z_max": 0.9, "pt": 1000.0, "radius": 0.8}]
KINDS = {"quark": 1, "gluon": 0}


def generator(seed=1):
    return torch.Generator().manual_seed(seed)


def jets(shower, flavour, n, seed=1):
    return shower.sample(torch.full((n,), flavour), generator(seed))


def splitting(z, flavour, n_f=0):
    """P_i(z) as the books write it, half of P_gg with its soft pole at z = 0 alone."""
    if flavour == 1:
        return 4 / 3 * (1 + (1 - z) ** 2) / (2 * z)
    return 3 * ((1 - z) / z + z * (1 - z) / 2) + n_f * 0.5 * (z**2 + (1 - z) ** 2) / 2


def integral(shower, settings, flavour, last=None):
    """The mean number of emissions by quadrature over t and log z, without the closed form."""
    z_min, n_f = shower.kt_min / (shower.pt * shower.radius), settings.get("n_f", 0)

    def rate(log_z, t):
        z = math.exp(log_z)
        return 2 * settings.get("alpha_s", 0.3) / math.pi * z * splitting(z, flavour, n_f)

    top = math.log(shower.z_max)
    end = math.log(shower.z_max / z_min) if last is None else last
    return dblquad(rate, 0, end, lambda t: math.log(z_min) + t, lambda t: top)[0]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("flavour", KINDS.values(), ids=KINDS)
def test_the_multiplicity_is_poissons_with_the_mean_in_closed_form(settings, flavour):
    shower, n = ToyShower(**settings), 60_000
    mean = shower.mean_multiplicity(flavour)
    assert mean == pytest.approx(integral(shower, settings, flavour), rel=1e-7)
    number = shower.present(jets(shower, flavour, n)).sum(1)
    assert abs(float(number.double().mean()) - mean) < 4 * (mean / n) ** 0.5
    most = int(mean + 3 * mean**0.5)
    found = torch.bincount(number.clamp(max=most + 1), minlength=most + 2).double().numpy()
    expected = [n * stats.poisson.pmf(k, mean) for k in range(most + 1)] + [n * stats.poisson.sf(most, mean)]
    assert stats.chisquare(found, expected).pvalue > 0.001


@pytest.mark.parametrize("flavour", KINDS.values(), ids=KINDS)
def test_sudakov_factor_is_the_odds_of_no_emission_down_to_an_angle(flavour):
    shower, n = ToyShower(), 60_000
    emissions = jets(shower, flavour, n, seed=2)
    first = torch.where(shower.present(emissions)[:, 0], emissions[:, 0, 0], math.inf)
    for t in (0.5, 1.5, 3.0):
        odds = math.exp(-shower.expected(0.0, t, flavour))
        assert odds == pytest.approx(math.exp(-integral(shower, {}, flavour, t)), rel=1e-7)
        assert abs(float((first > t).double().mean()) - odds) < 4 * (odds * (1 - odds) / n) ** 0.5


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("flavour", KINDS.values(), ids=KINDS)
def test_the_density_integrates_to_one_over_all_numbers_of_emissions(settings, flavour):
    """Points from another density: Poisson numbers, emissions even over the Lund triangle."""
    shower, n, mean = ToyShower(**settings), 100_000, 1.2 * ToyShower(**settings).mean_multiplicity(flavour) + 0.5
    number = torch.poisson(torch.full((n,), mean), generator=generator(3)).long()
    u = torch.rand(3, n, int(number.max()), dtype=torch.float64, generator=generator(4))
    flip = u[0] + u[1] > 1
    t, s = (torch.where(flip, 1 - x, x) * shower.depth for x in (u[0], u[1]))
    log_kt = math.log(shower.kt_min) + s
    mask = torch.arange(u.shape[2]) < number[:, None]
    order = torch.where(mask, t, math.inf).argsort(1)
    emissions = torch.stack([t, log_kt, 2 * math.pi * u[2] - math.pi], dim=2).gather(
        1, order[:, :, None].expand(-1, -1, 3)
    )
    emissions = emissions * mask[:, :, None]
    thrown = number * math.log(mean / (shower.depth**2 / 2 * 2 * math.pi)) - mean
    weight = (shower.log_prob(emissions, flavour) - thrown).exp()
    error = float(weight.std()) / n**0.5
    assert error < 0.05 and abs(float(weight.mean()) - 1) < 4 * error


@pytest.mark.parametrize("flavour", KINDS.values(), ids=KINDS)
def test_emissions_have_the_spectrum_of_the_splitting_function(flavour):
    shower = ToyShower(pt=2000.0)
    emissions = jets(shower, flavour, 20_000, seed=5)
    z = shower.fractions(emissions)[shower.present(emissions)]
    nodes = torch.linspace(math.log(shower.z_min), math.log(shower.z_max), 5001, dtype=torch.float64)
    rate = nodes.exp() * splitting(nodes.exp(), flavour) * (nodes - nodes[0])
    cumulative = torch.cat([torch.zeros(1), torch.cumulative_trapezoid(rate, nodes)])
    place = torch.searchsorted(nodes, z.log()).clamp(max=5000)
    assert stats.kstest((cumulative[place] / cumulative[-1]).numpy(), "uniform").pvalue > 0.001


@pytest.mark.parametrize("settings", SETTINGS[:2], ids=str)
def test_the_mean_ratio_is_one(settings):
    shower, n = ToyShower(**settings), 100_000
    for flavour, sign in ((0, 1), (1, -1)):
        ratio = (sign * shower.log_likelihood_ratio(jets(shower, flavour, n, seed=6))).exp()
        assert abs(float(ratio.mean()) - 1) < 4 * float(ratio.std()) / n**0.5 < 0.2


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_auc_of_ratio_and_of_counting_are_those_without_samples(settings):
    shower, n = ToyShower(**settings), 100_000
    label = torch.arange(n) % 2
    emissions = shower.sample(label, generator(7))
    error = 0.0012  # below sqrt(A (1 - A) / 25,000) / 2, binomial with 50,000 of each
    best, counting = auc(shower.log_likelihood_ratio(emissions), label), auc(-shower.present(emissions).sum(1), label)
    assert abs(best - shower.optimal_auc()) < 4 * error and abs(counting - shower.counting_auc()) < 4 * error
    assert shower.optimal_auc() > shower.counting_auc()


def test_the_optimal_classifier_beats_counting_by_far_more_than_the_error():
    shower = ToyShower()
    assert shower.optimal_auc() - shower.counting_auc() > 0.012
    assert shower.optimal_auc() == pytest.approx(shower.optimal_auc(bins=2**18, step=5e-4), abs=1e-4)


def test_casimir_scaling_is_exact_for_soft_emissions_and_the_number_is_then_all():
    shower = ToyShower(hard_collinear=False, z_max=1.0)
    assert shower.mean_multiplicity(0) / shower.mean_multiplicity(1) == pytest.approx(9 / 4, rel=1e-14)
    # alpha_s C / pi ln^2(pT R / kt_min): the area of the Lund triangle
    assert shower.mean_multiplicity(1) == pytest.approx(0.3 * 4 / 3 / math.pi * math.log(100) ** 2, rel=1e-12)
    assert shower.optimal_auc() == pytest.approx(shower.counting_auc(), abs=2e-4)
    hard = ToyShower(n_f=5, kt_min=1e-30, z_max=1.0)
    soft = ToyShower(kt_min=1e-30, hard_collinear=False, z_max=1.0)
    for flavour, b in ((1, -3 / 4), (0, -11 / 12 + 5 / 18)):  # the known hard-collinear coefficients B_q, B_g
        casimir, log = {1: 4 / 3, 0: 3.0}[flavour], math.log(200 / 1e-30)
        shift = hard.mean_multiplicity(flavour) - soft.mean_multiplicity(flavour)
        assert shift == pytest.approx(2 * 0.3 * casimir / math.pi * b * log, rel=0.03)


def test_momenta_add_up_and_are_ordered():
    shower = ToyShower()
    emissions = jets(shower, 0, 2000, seed=8)
    constituents = shower.constituents(emissions)
    pt, eta, phi = kinematics.pt(constituents), kinematics.eta(constituents), kinematics.phi(constituents)
    assert torch.allclose(pt.sum(1), torch.full((2000,), 500.0, dtype=torch.float64))
    assert (pt[:, 1:] <= pt[:, :-1]).all() and torch.equal((pt > 0).sum(1), shower.present(emissions).sum(1) + 1)
    for place in (eta, phi):
        assert (pt * place.nan_to_num()).sum(1).abs().max() < 1e-9
    assert kinematics.mass_squared(constituents).abs().max() < 1e-6


def test_one_emission_has_its_angle_and_transverse_momentum():
    shower = ToyShower()
    emission = torch.tensor([[[1.0, 2.0, 0.7]]], dtype=torch.float64)  # theta = 0.4 / e, kT = e^2
    first, second = shower.constituents(emission)[0]
    theta = 0.4 / math.e
    z = math.e**2 / theta / 500
    assert float(kinematics.delta_r(first, second)) == pytest.approx(theta)
    assert float(kinematics.pt(second)) == pytest.approx(500 * z)
    expected = -shower.mean_multiplicity(1) + math.log(0.3 / math.pi**2 * z * splitting(z, 1))
    assert float(shower.log_prob(emission, 1)) == pytest.approx(expected)


def test_what_no_jet_can_be_has_no_density():
    shower = ToyShower()
    good = [[1.0, 2.0, 0.0], [2.0, 1.0, 0.0]]
    impossible = [good[::-1], [[-0.1, 2.0, 0.0]], [[1.0, 0.6, 0.0]], [[4.0, 2.0, 0.0]], [[1.0, 2.0, 4.0]],
                  [[0.0, 0.0, 0.0], [1.0, 2.0, 0.0]]]  # fmt: skip
    assert shower.log_prob(torch.tensor([good], dtype=torch.float64), 1).isfinite().all()
    for jet in impossible:
        assert shower.log_prob(torch.tensor([jet], dtype=torch.float64), 1).tolist() == [-math.inf], jet


def test_padding_changes_nothing_and_gradients_are_finite():
    shower = ToyShower()
    label = torch.tensor([0, 1] * 50)
    emissions = shower.sample(label, generator(9))
    padded = torch.cat([emissions, torch.zeros(100, 4, 3)], dim=1)
    assert torch.allclose(shower.log_prob(padded, label), shower.log_prob(emissions, label), rtol=1e-14)
    assert torch.equal(shower.log_prob(emissions, label)[::2], shower.log_prob(emissions, 0)[::2])
    emissions.requires_grad_()
    (gradient,) = torch.autograd.grad(shower.log_likelihood_ratio(emissions).sum(), emissions)
    assert gradient.isfinite().all() and gradient.abs().max() > 0


def test_the_sample_holds_jets_label_and_ratio():
    events, again = (toys.load_toy_shower(500, seed=2) for _ in range(2))
    assert torch.equal(events["constituents"], again["constituents"])
    assert events.units["constituents"] == "GeV" and set(events["label"].tolist()) == {0, 1}
    assert torch.equal(events["mask"], (events["emissions"] != 0).any(-1))
    assert events["constituents"].shape[1] == events["emissions"].shape[1] + 1
    assert torch.equal((events["constituents"][:, :, 0] > 0).sum(1), events["mask"].sum(1) + 1)
    shower = ToyShower()
    assert torch.allclose(events["log_likelihood_ratio"], shower.log_likelihood_ratio(events["emissions"]))


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: ToyShower(kt_min=500.0), r"kt_min < z_max pt radius"),
        (lambda: ToyShower(z_max=1.5), r"0 < z_max=1.5 <= 1"),
        (lambda: ToyShower(n_f=-1), r"n_f=-1 must be a number of flavours"),
        (lambda: ToyShower().mean_multiplicity(21), r"flavour 21; it must be 1 \(quark\) or 0"),
        (lambda: ToyShower().sample(torch.tensor([2]), generator()), r"1 \(quark\) and 0"),
        (lambda: ToyShower().sample(torch.tensor([]), generator()), r"n at least 1"),
        (lambda: toys.load_toy_shower(-1), "n must be an integer >= 1, not -1"),
        (lambda: toys.load_toy_shower(5, seed=-1), "seed must be an integer >= 0, not -1"),
    ],
)
def test_what_cannot_be_is_named(call, said):
    with pytest.raises(ValueError, match=said):
        call()
