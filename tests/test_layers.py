"""Layers against torch's own at equal weights."""

import pytest
import torch
from torch import nn

from lhcml_tutor.layers import MLP


@pytest.mark.parametrize("activation", [nn.SiLU, nn.ReLU])
def test_mlp_equals_torch_at_equal_weights(activation):
    torch.manual_seed(1)
    network = MLP(features=4, outputs=2, hidden=(8, 6), activation=activation)
    reference = nn.Sequential(nn.Linear(4, 8), activation(), nn.Linear(8, 6), activation(), nn.Linear(6, 2))
    linear = [layer for layer in reference if isinstance(layer, nn.Linear)]
    own = [layer for layer in network.modules() if isinstance(layer, nn.Linear)]
    with torch.no_grad():
        for layer, from_layer in zip(linear, own, strict=True):
            layer.weight.copy_(from_layer.weight)
            layer.bias.copy_(from_layer.bias)
    x = torch.randn(5, 7, 4)
    assert torch.equal(network(x), reference(x))
    assert network(x).shape == (5, 7, 2)


def test_mlp_ends_without_activation_and_every_parameter_gets_a_gradient():
    torch.manual_seed(1)
    network = MLP(3, 1, hidden=(16,), activation=nn.ReLU)
    out = network(torch.randn(200, 3))
    assert (out < 0).any()  # a closing ReLU would cut these
    out.sum().backward()
    assert all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in network.parameters())


def test_mlp_without_hidden_layers_is_one_linear_map():
    network = MLP(3, 2, hidden=())
    x, y = torch.randn(2, 10, 3)
    zero = torch.zeros(10, 3)
    assert torch.allclose(network(x) + network(y), network(x + y) + network(zero), atol=1e-6)


def test_default_mlp_has_the_stated_number_of_parameters():
    count = sum(weight.numel() for weight in MLP(3, 1).parameters())
    assert count == (3 * 128 + 128) + 2 * (128 * 128 + 128) + (128 + 1)


@pytest.mark.parametrize("widths", [{"features": 0}, {"outputs": 1.0}, {"hidden": (8, -1)}])
def test_bad_widths_are_named(widths):
    with pytest.raises(ValueError, match="widths of an MLP are positive integers"):
        MLP(**{"features": 2, "outputs": 1, **widths})
