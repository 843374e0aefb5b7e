"""Tutorial 03a: what it builds by hand equals what the package offers from then on."""

import functools

import torch
from by_hand import defined_in

import lhcml_tutor as lt

DEFINED = ("gaussian_nll", "gaussian_kl", "output_moments", "BayesianLinear", "split_variance", "repulsion",
           "evidential_log_prob", "evidence", "evidential_loss", "coverage_curve")  # fmt: skip


def by_hand():
    return defined_in("03a", DEFINED, functools=functools)


def numbers(*shape, seed=3):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_the_bayesian_layer_by_hand_is_the_package_s():
    hand, package = by_hand()["BayesianLinear"](4, 3).double(), lt.layers.BayesianLinear(4, 3).double()
    package.load_state_dict(hand.state_dict())
    x, outputs = numbers(9, 4), []
    for layer in (hand, package):
        torch.manual_seed(1)
        outputs.append(layer(x))
    torch.testing.assert_close(*outputs)
    torch.testing.assert_close(hand.kl(), package.kl())


def test_the_kl_by_hand_is_the_integral():
    mean, log_sigma = torch.tensor(0.7, dtype=torch.float64), torch.tensor(-0.4, dtype=torch.float64)
    q, p = torch.distributions.Normal(mean, log_sigma.exp()), torch.distributions.Normal(0.0, 1.5)
    w = torch.linspace(-8, 8, 100_001, dtype=torch.float64)
    integral = torch.trapezoid(q.log_prob(w).exp() * (q.log_prob(w) - p.log_prob(w)), w)
    torch.testing.assert_close(by_hand()["gaussian_kl"](mean, log_sigma, 1.5), integral, rtol=1e-6, atol=0)


def test_the_loss_and_the_split_by_hand_are_the_package_s():
    tools, outputs, y = by_hand(), numbers(9, 2), numbers(9, seed=4)
    package = lt.likelihoods.heteroscedastic_loss(*outputs.unbind(dim=1), y)
    torch.testing.assert_close(tools["gaussian_nll"](outputs, y), package)
    means, sigmas = numbers(6, 50), numbers(6, 50, seed=5).exp()
    statistical, systematic = tools["split_variance"](means, sigmas)
    package = lt.calibration.split_uncertainty(means, sigmas)
    torch.testing.assert_close(statistical, package.statistical)
    torch.testing.assert_close(systematic, package.systematic)


def test_the_repulsion_by_hand_is_the_package_s_with_its_gradient():
    f = numbers(6, 50)
    values, gradients = [], []
    for function, shape in ((by_hand()["repulsion"], (6, 50)), (lt.ensembles.repulsion, (6, 50, 1))):
        free = f.clone().requires_grad_()
        values.append(function(free.reshape(shape)))
        gradients.append(torch.autograd.grad(values[-1], free)[0])
    torch.testing.assert_close(*values)
    torch.testing.assert_close(*gradients)


def test_the_evidential_loss_by_hand_is_the_package_s():
    tools, outputs, y = by_hand(), numbers(9, 4), numbers(9, seed=4)
    hand = sum(tools["evidential_loss"](lambda x: x, {"x": outputs, "y": y}).values())
    package = lt.likelihoods.evidential_loss(lt.likelihoods.evidence(outputs), y[:, None]).mean()
    torch.testing.assert_close(hand, package)


def test_the_coverage_by_hand_is_the_package_s():
    u, levels = torch.rand(500, dtype=torch.float64), torch.tensor([0.3, 0.9], dtype=torch.float64)
    package = lt.calibration.coverage_curve(u, levels).observed
    torch.testing.assert_close(by_hand()["coverage_curve"](u, levels), package)
