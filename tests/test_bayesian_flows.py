"""Tutorial 06b: its losses and maps by hand against the package, and its fit error against fits."""

import math

import torch
from by_hand import defined_in
from scipy.stats import beta

import lhcml_tutor as lt
from lhcml_tutor.bijections import Compose, Standardise

DEFINED = ("flow_nll", "bayesian_loss", "density_pull", "fit_error", "augmentation_weight", "behind", "divergences")


def by_hand():
    given = {"Compose": Compose, "Standardise": Standardise, "BayesianLinear": lt.layers.BayesianLinear}
    return defined_in("06b", DEFINED, **given)


def numbers(*shape, seed=3):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_the_loss_by_hand_is_the_package_s():
    tools = by_hand()
    flow = lt.flows.CouplingFlow(2, blocks=2, hidden=(8,), linear=lt.layers.BayesianLinear).double()
    x = numbers(200, 2)
    with lt.layers.fixed_weights(flow, torch.Generator().manual_seed(1)):
        log_prob = flow.log_prob(x)
        torch.testing.assert_close(tools["flow_nll"](*flow(x)), -log_prob.mean())
    ours = tools["bayesian_loss"](log_prob, tools["divergences"](flow), 5000)
    torch.testing.assert_close(ours, -log_prob.mean() + lt.layers.kl(flow) / 5000)


def test_the_pull_of_one_draw_more_or_less_sure():
    tools = by_hand()
    truth = numbers(2000)
    draws = (truth.exp() * (1 + 0.1 * numbers(30, 2000, seed=4))).log()
    pull, relative = tools["density_pull"](draws, truth)
    assert abs(relative.mean() - 0.1) < 0.003
    assert abs(pull.square().mean().sqrt() * math.sqrt(30) - 1) < 0.1


def test_the_error_of_the_fit_is_the_scatter_of_fits():
    """Fit two exponents to toys by Newton's method; the density at some points must scatter as predicted."""
    n, toys, x = 2000, 300, torch.tensor([0.05, 0.4, 0.7, 0.95], dtype=torch.float64)
    generator = torch.Generator().manual_seed(5)
    for power in (1, 2):
        events = torch.rand(toys, n, dtype=torch.float64, generator=generator) ** (1 / (power + 1))
        mean = torch.stack([events.log().mean(1), torch.log1p(-events).mean(1)], dim=1)  # (toys, 2)
        theta = torch.tensor([power + 1.0, 1.0], dtype=torch.float64).expand(toys, 2).clone()
        for _ in range(8):
            total = theta.sum(1, keepdim=True)
            gradient = mean - torch.digamma(theta) + torch.digamma(total)
            information = torch.diag_embed(torch.polygamma(1, theta)) - torch.polygamma(1, total)[:, :, None]
            theta = theta + torch.linalg.solve(information, gradient)
        fits = torch.stack([torch.from_numpy(beta.pdf(x.numpy(), *row.tolist())) for row in theta])
        scatter = fits.std(0) / ((power + 1) * x**power)
        predicted = by_hand()["fit_error"](x, power, n)
        assert ((scatter / predicted - 1).abs() < 5 / math.sqrt(2 * toys)).all()


def test_the_weight_is_one_without_an_uncertainty():
    weight = by_hand()["augmentation_weight"]
    pt = torch.tensor([15.0, 115.0])
    torch.testing.assert_close(weight(pt, torch.tensor([3.0, 3.0])), torch.tensor([1.0, 4.0]))
