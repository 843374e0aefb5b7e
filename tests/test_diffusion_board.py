"""The pieces that tutorial 08a writes by hand against those of the package: same weights, same numbers."""

import itertools

import pytest
import torch
from by_hand import defined_in

from lhcml_tutor.bijections import Z_JETS_PRESENT, Standardise
from lhcml_tutor.checks import diffusion_board
from lhcml_tutor.diffusion import Diffusion
from lhcml_tutor.diffusion import noised as package_noised
from lhcml_tutor.flow_matching import FlowMatching, exact_divergence, integrate, mean_square
from lhcml_tutor.flow_matching import flow_matching_loss as package_loss
from lhcml_tutor.layers import BayesianLinear, kl, normal_noise

NAMES = (
    "GaussianDiffusion", "bayesian_loss", "denoise", "diffusion_loss", "divergence", "flow", "flow_log_prob",
    "flow_matching_loss", "log_density", "noised", "path_and_velocity", "runge_kutta_step",
)  # fmt: skip


@pytest.fixture(scope="module")
def hand():
    given = {"present": Z_JETS_PRESENT.float(), "Z_JETS_PRESENT": Z_JETS_PRESENT, "itertools": itertools,
             "Diffusion": Diffusion, "kl": kl, "normal_noise": normal_noise}  # fmt: skip
    tools = defined_in("08a", NAMES, **given)
    tools["p"] = type("Parameters", (), {"n_train": 1000})
    return tools


def batch(n=64):
    generator = torch.Generator().manual_seed(1)
    c = torch.eye(3)[torch.randint(3, (n,), generator=generator)]
    return {"z": torch.randn(n, 14, generator=generator) * (c @ Z_JETS_PRESENT.float()), "c": c}


def model(kind=FlowMatching, **settings):
    torch.manual_seed(2)
    return kind(14, condition=3, hidden=(16, 16), present=Z_JETS_PRESENT, **settings)


def test_the_losses_by_hand_are_those_of_the_package(hand):
    b, flow, chain = batch(), model(), model(Diffusion, steps=50)
    torch.manual_seed(3)
    by_hand = hand["flow_matching_loss"](flow, b)
    torch.manual_seed(3)
    torch.testing.assert_close(by_hand, package_loss(flow, b["z"], b["c"]))
    torch.manual_seed(3)
    by_hand = hand["diffusion_loss"](chain, b)
    torch.manual_seed(3)
    z_t, t, noise = chain.noise_batch(b["z"], b["c"])
    package = mean_square(chain.predict_noise(z_t, t, b["c"]) - noise, chain.network.there(b["c"], 64))
    torch.testing.assert_close(by_hand, package)
    torch.manual_seed(4)  # negative control: other noise gives another loss
    assert abs(hand["diffusion_loss"](chain, b) - package) > 1e-4


def test_the_bayesian_loss_is_half_the_square_per_event_and_the_kl(hand):
    b, flow = batch(), model(linear=BayesianLinear)
    torch.manual_seed(3)
    found = hand["bayesian_loss"](flow, b)
    torch.manual_seed(3)
    x_t, t, target = flow.path_batch(b["z"], condition=b["c"])
    error = flow.velocity(x_t, t, b["c"]) - target
    torch.testing.assert_close(found["velocity"], 0.5 * error.square().sum(1).mean())
    torch.testing.assert_close(found["KL"], kl(flow) / 1000)


@pytest.mark.parametrize("steps", [20, 5])
def test_the_samplers_by_hand_are_those_of_the_package(hand, steps):
    chain, c = model(Diffusion, steps=20), batch()["c"]

    def noise():
        generator = torch.Generator().manual_seed(5)
        return torch.randn(64, 14, generator=generator) * (c @ Z_JETS_PRESENT.float()), generator

    z, _ = noise()
    package = chain.sample_ddim(64, c, steps=steps, generator=torch.Generator().manual_seed(5))
    torch.testing.assert_close(hand["denoise"](chain, z, c, steps, 0.0), package, rtol=1e-4, atol=1e-4)
    if steps == chain.steps:
        z, generator = noise()
        package = chain.sample(64, c, generator=torch.Generator().manual_seed(5))
        torch.testing.assert_close(hand["denoise"](chain, z, c, steps, 1.0, generator), package, rtol=1e-4, atol=1e-4)


def test_the_flow_and_its_density_by_hand_are_those_of_the_package(hand):
    flow, b = model().double(), {name: values.double() for name, values in batch().items()}
    package = integrate(lambda y, t: flow.velocity(y, t, b["c"]), b["z"], 0.0, 1.0, 6)
    torch.testing.assert_close(hand["flow"](flow, b["z"], b["c"], 6), package.detach())
    found = hand["divergence"](lambda y, t: flow.velocity(y, t, b["c"]), b["z"], 0.3)
    package = exact_divergence(lambda y, t: flow.velocity(y, t, b["c"]), b["z"], 0.3)
    torch.testing.assert_close(found, package)

    def to_network(x, c):
        return x, x.new_zeros(len(x))

    found = hand["flow_log_prob"](flow, b["z"], b["c"], to_network, steps=6)
    torch.testing.assert_close(found, flow.log_prob(b["z"], b["c"], steps=6))
    plain = FlowMatching(2, hidden=(16,), preprocess=Standardise(2)).double()
    x = b["z"][:, :2]
    found = hand["flow_log_prob"](plain, x, None, plain.preprocess, steps=6)
    torch.testing.assert_close(found, plain.log_prob(x, steps=6))


def test_the_known_part_of_the_noise_is_that_of_a_gaussian(hand):
    chain = model(hand["GaussianDiffusion"], steps=100)
    for parameter in chain.network.mlp.layers[-1].parameters():
        torch.nn.init.zeros_(parameter)  # the network says nothing
    b = batch(20_000)
    made = hand["denoise"](chain, b["z"], b["c"], 100, 0.0)
    there = b["c"] @ Z_JETS_PRESENT.float() > 0.5
    assert abs(made[there].std() - 1) < 0.02 and (made[~there] == 0).all()
    a = torch.linspace(0.1, 1, 5)
    torch.testing.assert_close(hand["noised"](b["z"][:5], b["z"][5:10], a), package_noised(b["z"][:5], b["z"][5:10], a))


def test_marginals_become_gaussian_and_come_back():
    given = {"present": Z_JETS_PRESENT.double(), "Z_JETS_PRESENT": Z_JETS_PRESENT}
    marginals = defined_in("08a", ("GaussianMarginals",), **given)["GaussianMarginals"]
    b = {name: values.double() for name, values in batch(20_000).items()}
    z = b["z"].exp() * (b["z"] != 0)  # far from Gaussian
    map_ = marginals(z, b["c"])
    flat, log_det = map_(z, b["c"])
    there = b["c"] @ Z_JETS_PRESENT.double() > 0.5
    assert (flat[~there] == 0).all() and abs(flat[there].mean()) < 0.02 and abs(flat[there].std() - 1) < 0.02
    back, inverse = map_.inverse(flat, b["c"])
    torch.testing.assert_close(back, z)
    torch.testing.assert_close(inverse, -log_det)
    far = z[:50] * 3 + 1.0 * there[:50]  # beyond the outermost knots, too
    rows = torch.autograd.functional.jacobian(lambda y: map_(y, b["c"][:50])[0], far)  # (n, d, n, d)
    slopes = torch.stack([rows[i, :, i].diagonal() for i in range(50)])
    expected = torch.where(there[:50], slopes, 1.0).log().sum(1)
    torch.testing.assert_close(map_(far, b["c"][:50])[1], expected)


def accumulated(velocity, x, t, dt):
    total, slope = torch.zeros_like(x), torch.zeros_like(x)
    for weight, part in ((1, 0.0), (2, 0.5), (2, 0.5), (1, 1.0)):
        slope = velocity(x + part * dt * slope, t + part * dt)
        total.add_(slope, alpha=weight / 6)
    return torch.add(x, total, alpha=dt)


def in_place(velocity, x, t, dt):
    return x.copy_(accumulated(velocity, x, t, dt))


def by_jacobian(velocity, x, t):
    whole = torch.autograd.functional.jacobian(lambda y: velocity(y, t), x)  # (n, d, n, d)
    return torch.einsum("nini->n", whole)


OTHER_STYLES = {
    "noised": lambda x, e, a: torch.einsum("n,nd->nd", a.sqrt(), x).add_(e * (1 - a).sqrt().unsqueeze(1)),
    "path_and_velocity": lambda a, b, t: [torch.lerp(a, b, t.reshape(-1, 1)), b.clone().sub_(a)],
    "runge_kutta_step": accumulated,
    "divergence": by_jacobian,
    "log_density": lambda z, integral, log_det, there: (
        torch.distributions.Normal(0.0, 1.0).log_prob(z).masked_fill(~there, 0.0).sum(1).sub_(integral) + log_det
    ),
}


@pytest.mark.parametrize("name", OTHER_STYLES)
def test_right_answers_in_another_style_pass(name, capsys):
    getattr(diffusion_board, name)(OTHER_STYLES[name])
    assert capsys.readouterr().out.startswith(f"PASS  {name}")


def test_a_step_in_place_leaves_the_noise_alone(hand):
    flow, b = model(), batch()
    before = b["z"].clone()
    found = hand["flow"](flow, b["z"], b["c"], 3, in_place)
    assert torch.equal(b["z"], before)
    torch.testing.assert_close(found, hand["flow"](flow, before, b["c"], 3))
