"""Lecture 08: what it builds by hand equals what the package offers from then on, and its formulas hold."""

import math

import pytest
import torch
from by_hand import defined_in

from lhcml_tutor.diffusion import Diffusion, noise_schedule
from lhcml_tutor.flow_matching import (
    FlowMatching,
    TimeNetwork,
    exact_divergence,
    flow_matching_loss,
    integrate,
    integrate_with_divergence,
)
from lhcml_tutor.layers import MLP

DEFINED = ("TimeNetwork", "flow_loss", "diffusion_loss", "denoise", "euler", "rk4", "divergence", "flow_log_prob",
           "gaussian_velocity", "exact_velocity", "exact_noise", "log_density")  # fmt: skip
T = 40
ALPHA_BAR = noise_schedule(T)


def by_hand():
    real = torch.float64
    weights, means, widths = torch.tensor([[0.65, 0.35], [-0.7, 1.3], [0.35, 0.25]], dtype=real)
    beta = torch.cat([torch.zeros(1, dtype=real), 1 - ALPHA_BAR[1:] / ALPHA_BAR[:-1]])
    given = {"T": T, "alpha_bar": ALPHA_BAR, "beta": beta, "alpha": 1 - beta, "MLP": MLP, "real": real, "m": 2.0}
    given |= {"s": 0.5, "weights": weights, "means": means, "widths": widths}
    return defined_in("L08", DEFINED, generator=torch.Generator().manual_seed(7), **given)


def numbers(*shape, seed=3):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def same_network(hand, package):
    """Copy the weights of the notebook's network; the package's orders its time features differently."""
    package.load_state_dict({f"mlp.{name}": values for name, values in hand.mlp.state_dict().items()})
    k = len(hand.k)
    order = [0, 1] + [2 + i + j * k for i in range(k) for j in range(2)]  # x, t, cos 1, sin 1, cos 2, ...
    first = package.mlp.layers[0]
    with torch.no_grad():
        first.weight.copy_(hand.mlp.layers[0].weight[:, order])
    return package


def test_the_network_by_hand_is_the_package_s():
    hand = by_hand()["TimeNetwork"]().double()
    package = same_network(hand, TimeNetwork(1, hidden=(32, 32, 32)).double())
    x, t = numbers(9, 1), torch.linspace(0, 1, 9, dtype=torch.float64)
    torch.testing.assert_close(hand(x, t), package(x, t))


@pytest.mark.parametrize("kind", ["flow", "diffusion"])
def test_the_losses_by_hand_are_the_package_s(kind):
    tools, x = by_hand(), numbers(64, 1).float()
    hand = tools["TimeNetwork"]()
    torch.manual_seed(5)
    value = tools[f"{kind}_loss"](hand, {"x": x})
    torch.manual_seed(5)
    if kind == "flow":
        model = FlowMatching(1, hidden=(32, 32, 32))
        same_network(hand, model.network)
        torch.manual_seed(5)
        package = flow_matching_loss(model, x)
    else:
        model = Diffusion(1, hidden=(32, 32, 32), steps=T)
        same_network(hand, model.network)
        torch.manual_seed(5)
        x_t, t, noise = model.noise_batch(x)
        package = (model.predict_noise(x_t, t) - noise).square().mean()
    torch.testing.assert_close(value, package)


@pytest.mark.parametrize("method", ["euler", "rk4"])
def test_the_solvers_by_hand_are_the_package_s(method):
    tools, x = by_hand(), numbers(9, 1)
    for times in ((0.0, 1.0), (1.0, 0.2)):
        hand = tools[method](tools["gaussian_velocity"], x, *times, 7)
        torch.testing.assert_close(hand, integrate(tools["gaussian_velocity"], x, *times, 7, method))


def test_the_density_by_hand_is_the_package_s():
    tools, x = by_hand(), numbers(9, 3)
    model = FlowMatching(3, hidden=(16,)).double()
    v, div = tools["divergence"](model.velocity, x, 0.3)
    torch.testing.assert_close(v, model.velocity(x, 0.3))
    torch.testing.assert_close(div, exact_divergence(model.velocity, x, 0.3))
    torch.testing.assert_close(tools["flow_log_prob"](model.velocity, x, 5), model.log_prob(x, steps=5))


def test_the_chain_back_by_hand_is_the_package_s():
    tools, model = by_hand(), Diffusion(1, hidden=(8,), steps=T).double()
    generator = torch.Generator().manual_seed(7)
    package = model.sample(50, generator=generator)
    start = torch.randn(50, 1, generator=tools["generator"], dtype=torch.float64)
    hand = tools["denoise"](model.predict_noise, start)
    torch.testing.assert_close(hand, package)


def test_the_schedule_by_hand_is_the_package_s():
    angle = torch.linspace(0.0125, math.acos(0.01), 101, dtype=torch.float64)  # as in the notebook
    alpha_bar = (angle.cos() / angle[0].cos()) ** 2
    torch.testing.assert_close(alpha_bar, noise_schedule(100, "cosine"), rtol=0.02, atol=1e-4)


def test_exact_velocity_and_noise_belong_to_the_toy():
    tools, x_0 = by_hand(), numbers(9, 1)
    x, integral = integrate_with_divergence(tools["exact_velocity"], x_0, 0.0, 1.0, 200)
    log_p = -0.5 * x_0[:, 0] ** 2 - 0.5 * math.log(2 * math.pi) - integral
    torch.testing.assert_close(log_p, tools["log_density"](x), rtol=0, atol=1e-5)
    x_t, t = numbers(9, 1), 17  # the mean of the noise by an integral over events
    events = torch.linspace(-4, 4, 4001, dtype=torch.float64)
    a = ALPHA_BAR[t]
    log_weight = tools["log_density"](events[:, None]) - (x_t - a.sqrt() * events) ** 2 / (2 * (1 - a))
    mean = torch.softmax(log_weight, dim=1) @ events
    torch.testing.assert_close(tools["exact_noise"](x_t, t)[:, 0], (x_t[:, 0] - a.sqrt() * mean) / (1 - a).sqrt())


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.95])
def test_the_constant_is_s_theta_sin_theta(rho):
    s, theta, t = 0.5, math.acos(rho), torch.linspace(0, 1, 100_001, dtype=torch.float64)
    variance = (1 - t) ** 2 + t**2 * s**2 + 2 * rho * s * t * (1 - t)
    covariance = t * s**2 - (1 - t) + rho * s * (1 - 2 * t)
    rest = 1 + s**2 - 2 * rho * s - covariance**2 / variance  # Var(x_1 - x_0 | x_t)
    torch.testing.assert_close(rest, s**2 * (1 - rho**2) / variance)
    assert float(torch.trapezoid(rest, t)) == pytest.approx(s * theta * math.sin(theta), abs=1e-8)
