"""Network layers that the chapters share; each is built by hand in its own chapter first."""

import itertools

from torch import nn


class MLP(nn.Module):
    """Multilayer perceptron: linear maps with a fixed non-linear function between them.

        h_0 = x,    h_i = a(W_i h_(i-1) + b_i),    MLP(x) = W h_last + b

    Arguments:
        features: number of inputs d.
        outputs: number of outputs k.
        hidden: width of each hidden layer; () makes it one linear map.
        activation: class of the non-linear function a, such as nn.SiLU or nn.ReLU.
    Shapes:
        x (..., features) -> (..., outputs)
    Raises:
        ValueError: a width is not a positive integer.
    Example:
        >>> import torch
        >>> network = MLP(features=3, outputs=1, hidden=(128, 128, 128))
        >>> network(torch.zeros(10, 3)).shape, sum(w.numel() for w in network.parameters())
        (torch.Size([10, 1]), 33665)
    """

    def __init__(self, features, outputs, hidden=(128, 128, 128), activation=nn.SiLU):
        widths = (features, *hidden, outputs)
        if any(not isinstance(width, int) or width < 1 for width in widths):
            raise ValueError(f"the widths of an MLP are positive integers, not {widths} (features, *hidden, outputs)")
        super().__init__()
        layers = []
        for before, after in itertools.pairwise(widths):
            layers += [nn.Linear(before, after), activation()]  # (n, before) -> (n, after)
        self.layers = nn.Sequential(*layers[:-1])  # no activation behind the last layer: outputs may take any value

    def forward(self, x):
        return self.layers(x)
