"""Bayesian layers against closed forms and torch.distributions; which fault each test was seen to find stands in it."""

import math

import pytest
import torch
from torch import nn

import lhcml_tutor as lt
from lhcml_tutor.layers import MLP, BayesianLinear, fixed_weights, kl, posterior_samples


def wide_layer(seed=1, **settings):
    """A layer of float64 whose means and widths are all different."""
    torch.manual_seed(seed)
    layer = BayesianLinear(3, 2, **settings).double()
    with torch.no_grad():
        for name, parameter in layer.named_parameters():
            parameter.copy_(0.5 * torch.randn_like(parameter) - float("sigma" in name))
    return layer


def posterior_and_prior(layer):
    """The same two distributions over all parameters of a layer, flat, from torch.distributions."""
    mean = torch.cat([layer.weight.flatten(), layer.bias])
    sigma = torch.cat([layer.log_sigma_weight.flatten(), layer.log_sigma_bias]).exp()
    prior = torch.distributions.Normal(torch.zeros_like(mean), torch.full_like(mean, layer.prior_width))
    return torch.distributions.Normal(mean, sigma), prior


@pytest.mark.parametrize("prior_width", [0.3, 1.0, 5.0])
def test_kl_is_that_of_torch_distributions(prior_width):
    """Planted and red: sigma in place of sigma^2; the -1/2 dropped; the bias left out."""
    layer = wide_layer(prior_width=prior_width)
    exact = torch.distributions.kl_divergence(*posterior_and_prior(layer)).sum()
    assert torch.allclose(layer.kl(), exact, rtol=1e-12)


def test_kl_is_the_mean_of_the_log_ratio_over_draws():
    layer = wide_layer(prior_width=0.7)
    posterior, prior = posterior_and_prior(layer)
    generator = torch.Generator().manual_seed(3)
    drawn = []
    for _ in range(4000):
        weight, bias = layer.sample_weights(generator)
        drawn.append(torch.cat([weight.flatten(), bias]))
    drawn = torch.stack(drawn)
    ratio = (posterior.log_prob(drawn) - prior.log_prob(drawn)).sum(1)
    assert abs(ratio.mean() - layer.kl()) < 5 * ratio.std() / math.sqrt(len(ratio))
    # planted: the divergence the other way round is another number
    assert abs(ratio.mean() - torch.distributions.kl_divergence(prior, posterior).sum()) > 20 * ratio.std() / 63


def test_kl_of_a_network_is_the_sum_over_its_layers_and_zero_at_the_prior():
    network = MLP(3, 1, hidden=(4,), linear=BayesianLinear)
    assert torch.equal(kl(network), network.layers[0].kl() + network.layers[2].kl())
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
    assert kl(network).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("sampling", ["local", "weights"])
def test_both_ways_of_sampling_have_the_same_mean_and_variance_event_by_event(sampling):
    """Planted and red in "local": sigma in place of sigma^2, x in place of x^2, the bias without its width."""
    layer = wide_layer(sampling=sampling)
    x = torch.randn(5, 3, dtype=torch.float64)
    mean = x @ layer.weight.T + layer.bias
    variance = x.square() @ layer.log_sigma_weight.exp().square().T + layer.log_sigma_bias.exp().square()
    with torch.no_grad():
        drawn = torch.stack([layer(x) for _ in range(10_000)])
    pull_mean = (drawn.mean(0) - mean) / (variance / len(drawn)).sqrt()
    pull_variance = (drawn.var(0) / variance - 1) / math.sqrt(2 / len(drawn))
    assert pull_mean.abs().max() < 4.5
    assert pull_variance.abs().max() < 4.5
    # What differs is the correlation of two events: the same weights against independent noise.
    centred = drawn - drawn.mean(0)
    covariance = (centred[:, 0] * centred[:, 1]).mean(0)  # of events 0 and 1, for each output
    shared = (x[0] * x[1]) @ layer.log_sigma_weight.exp().square().T + layer.log_sigma_bias.exp().square()
    expected = shared if sampling == "weights" else torch.zeros(2, dtype=torch.float64)
    error = (variance[0] * variance[1] / len(drawn)).sqrt() * math.sqrt(2)
    assert ((covariance - expected) / error).abs().max() < 4.5
    assert (shared / error).abs().min() > 6, "the two could be told apart"


def test_local_noise_has_no_infinite_gradient_where_an_input_is_zero():
    """Planted and red: without the smallest variance the gradient is NaN."""
    layer = BayesianLinear(2, 1, bias=False)
    layer(torch.zeros(4, 2)).sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in layer.parameters())


def test_means_start_as_nn_linear_and_every_parameter_gets_a_gradient():
    torch.manual_seed(4)
    reference = nn.Linear(3, 2)
    torch.manual_seed(4)
    layer = BayesianLinear(3, 2, initial_sigma=0.02)
    assert torch.equal(layer.weight, reference.weight)
    assert torch.equal(layer.bias, reference.bias)
    assert torch.allclose(layer.log_sigma_weight.exp(), torch.tensor(0.02))
    layer(torch.randn(5, 3)).square().sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in layer.parameters())
    with fixed_weights(layer, mean=True):
        x = torch.randn(5, 3)
        assert torch.equal(layer(x), reference(x))


def test_the_line_of_one_weight_has_its_closed_posterior():
    """y = w x + noise has a Gaussian posterior in closed form; the ELBO must find its mean and width.

    Planted and red: the KL divided by 16 and not by the number of events; no KL at all (seen in the mean, too, which
    the prior pulls down by 10%); a noise width of 1.44 in the loss.
    """
    torch.manual_seed(1)
    n, noise, prior_width = 100, 1.0, 0.3
    x = torch.randn(n, 1)
    y = 0.8 * x + noise * torch.randn(n, 1)
    precision = x.square().sum() / noise**2 + 1 / prior_width**2
    mean, width = ((x * y).sum() / noise**2 / precision).item(), precision.rsqrt().item()

    def loss(model, batch):
        likelihood = ((model(batch["x"]) - batch["y"]) / noise).square().mean() / 2
        return {"likelihood": likelihood, "prior": kl(model) / n}

    layer = BayesianLinear(1, 1, bias=False, prior_width=prior_width)
    lt.fit(
        layer, loss, {"x": x, "y": y}, steps=700, batch_size=n, learning_rate=0.05, clip=None, progress=False, seed=1
    )
    assert layer.weight.item() == pytest.approx(mean, rel=0.02)
    assert layer.log_sigma_weight.exp().item() == pytest.approx(width, rel=0.03)
    least_squares = ((x * y).sum() / x.square().sum()).item()
    assert least_squares > 1.05 * mean, "the control: the prior is seen"
    drawn = posterior_samples(layer, torch.ones(1, 1), samples=4000)
    assert drawn.std().item() == pytest.approx(width, rel=0.05)


def test_one_sample_of_the_posterior_is_one_function_and_seeds_repeat_it():
    """Planted and red: posterior_samples without fixed weights, which gives each event noise of its own."""
    torch.manual_seed(1)
    network = MLP(3, 2, hidden=(), linear=BayesianLinear)
    x = torch.randn(20, 3)
    x[10:] = 2 * x[:10]
    drawn = posterior_samples(network, torch.cat([x, torch.zeros(1, 3)]), samples=6, seed=2, batch_size=7)
    assert drawn.shape == (6, 21, 2)
    bias = drawn[:, -1:]
    assert torch.allclose(drawn[:, 10:20] - bias, 2 * (drawn[:, :10] - bias), atol=1e-5)
    again, other = (posterior_samples(network, x, samples=6, seed=seed) for seed in (2, 3))
    assert torch.allclose(drawn[:, :20], again, atol=1e-5)
    assert (drawn[:, :20] - other).abs().max() > 1e-3
    assert len({tuple(sample[0].tolist()) for sample in drawn}) == 6


def test_fixed_weights_are_released_again():
    network = MLP(3, 1, hidden=(4,), linear=BayesianLinear)
    x = torch.randn(5, 3)
    with pytest.raises(RuntimeError), fixed_weights(network, mean=True):
        inside = network(x)
        with fixed_weights(network):
            assert not torch.equal(network(x), inside)
        assert torch.equal(network(x), inside)
        raise RuntimeError
    assert not torch.equal(network(x), network(x))


def test_gradients_pass_through_fixed_weights_to_the_input_alone():
    layer, x = BayesianLinear(3, 1), torch.randn(5, 3, requires_grad=True)
    for mean in (True, False):
        with fixed_weights(layer, mean=mean):
            (slope,) = torch.autograd.grad(layer(x).sum(), x)
            assert torch.equal(slope, layer.fixed[0].expand(5, 3))
            assert not layer(x.detach()).requires_grad


def test_a_bayesian_network_is_saved_and_loaded():
    network, other = (MLP(3, 1, hidden=(4,), linear=BayesianLinear) for _ in range(2))
    other.load_state_dict(network.state_dict())
    x = torch.randn(5, 3)
    assert torch.equal(posterior_samples(network, x, 3), posterior_samples(other, x, 3))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: BayesianLinear(3, 1, prior_width=0.0), "prior_width is the standard deviation"),
        (lambda: BayesianLinear(3, 1, initial_sigma=-1.0), "initial_sigma is the standard deviation"),
        (lambda: BayesianLinear(3, 1, sampling="none"), "'local' or 'weights'"),
        (lambda: kl(MLP(3, 1)), "no Bayesian layer"),
        (lambda: posterior_samples(MLP(3, 1), torch.zeros(2, 3)), "no Bayesian layer"),
        (lambda: posterior_samples(BayesianLinear(3, 1), torch.zeros(2, 3), samples=0), "positive integer"),
    ],
)
def test_bad_input_says_what_is_wrong(call, message):
    with pytest.raises(ValueError, match=message):
        call()
