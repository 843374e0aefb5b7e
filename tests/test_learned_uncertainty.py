"""Tutorial 02a: what it builds by hand equals what the package offers from then on."""

import math

import torch
from by_hand import defined_in

from lhcml_tutor import calibration, likelihoods, metrics

DEFINED = ("heteroscedastic_loss", "mean_amplitude", "pull", "coverage_curve", "mixture_log_likelihood",
           "mixture_of", "DeepSets", "LearnedMetric", "inputs")  # fmt: skip


class Parameters:
    width, representation = 16, "invariants"


def by_hand():
    return defined_in(
        "02a", DEFINED, p=Parameters, dtype=torch.float64, kinematics=__import__("lhcml_tutor").kinematics
    )


def numbers(*shape, seed=3):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_the_loss_by_hand_is_the_package_s():
    mean, log_sigma, target = numbers(3, 500)
    hand = by_hand()["heteroscedastic_loss"](mean, log_sigma, target)
    torch.testing.assert_close(hand, likelihoods.heteroscedastic_loss(mean, log_sigma, target).mean())
    wrong = likelihoods.heteroscedastic_loss(mean, 2 * log_sigma, target).mean()
    assert not torch.isclose(hand, wrong)


def test_the_pull_by_hand_is_the_package_s():
    mean, log_sigma, target = numbers(3, 500)
    hand = by_hand()["pull"](mean, log_sigma.exp(), target)
    torch.testing.assert_close(hand, torch.as_tensor(metrics.pulls(mean, log_sigma.exp(), target)))


def test_the_mixture_by_hand_is_the_package_s_for_any_k():
    tools = by_hand()
    target, x = numbers(200), numbers(200, 9, seed=4)
    log_weights, means, log_sigmas = tools["mixture_of"](lambda x: x, x)
    assert means.shape == (200, 3)
    hand = tools["mixture_log_likelihood"](log_weights, means, log_sigmas, target)
    torch.testing.assert_close(hand, likelihoods.mixture_log_prob(*x.chunk(3, dim=1), target[:, None])[:, 0])
    one = tools["mixture_log_likelihood"](*tools["mixture_of"](lambda x: x[:, :2], x), target)
    torch.testing.assert_close(one, likelihoods.gaussian_log_prob(x[:, 0], x[:, 1], target))


def test_the_coverage_by_hand_is_the_package_s():
    pulls, levels = 1.3 * numbers(2000), torch.linspace(0.05, 0.95, 19, dtype=torch.float64)
    hand = by_hand()["coverage_curve"](pulls, levels)
    package = calibration.coverage_curve(torch.special.ndtr(pulls), levels)
    torch.testing.assert_close(hand, torch.as_tensor(package.observed), rtol=0, atol=1e-12)


def test_the_mean_of_a_log_normal_amplitude():
    drawn = torch.exp(0.3 + 0.1 * numbers(400_000))
    mean = by_hand()["mean_amplitude"](torch.tensor(0.3), torch.tensor(0.1))
    assert abs(float(mean / drawn.mean()) - 1) < 5 * 0.1 / math.sqrt(len(drawn))


def test_deep_sets_do_not_know_an_order_and_the_learned_metric_starts_where_it_can_learn():
    tools = by_hand()
    momenta = numbers(20, 4, 4).float()
    network = tools["DeepSets"](2, 4)
    phi = torch.cat([momenta, network.labels.expand(20, -1, -1)], dim=-1)
    swapped = phi[:, [0, 1, 3, 2]]
    torch.testing.assert_close(network.rho(network.phi(swapped).sum(1)), network(momenta))
    metric = tools["LearnedMetric"](2, 5)
    metric(numbers(20, 5, 4).float().abs()).sum().backward()
    assert torch.isfinite(metric.w.grad).all() and (metric.w.grad != 0).all()
