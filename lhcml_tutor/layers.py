"""Network layers that the chapters share; each is built by hand in its own chapter first."""

import itertools
import math
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.functional import linear as linear_map


class MLP(nn.Module):
    """Multilayer perceptron: linear maps with a fixed non-linear function between them.

        h_0 = x,    h_i = a(W_i h_(i-1) + b_i),    MLP(x) = W h_last + b

    Arguments:
        features: number of inputs d.
        outputs: number of outputs k.
        hidden: width of each hidden layer; () makes it one linear map.
        activation: class of the non-linear function a, such as nn.SiLU or nn.ReLU.
        linear: class of the linear maps; BayesianLinear, or a functools.partial of it, makes it a Bayesian network.
    Shapes:
        x (..., features) -> (..., outputs)
    Raises:
        ValueError: a width is not a positive integer.
    Example:
        >>> network = MLP(features=3, outputs=1, hidden=(128, 128, 128))
        >>> network(torch.zeros(10, 3)).shape, sum(w.numel() for w in network.parameters())
        (torch.Size([10, 1]), 33665)
    """

    def __init__(self, features, outputs, hidden=(128, 128, 128), activation=nn.SiLU, linear=nn.Linear):
        widths = (features, *hidden, outputs)
        if any(not isinstance(width, int) or width < 1 for width in widths):
            raise ValueError(f"the widths of an MLP are positive integers, not {widths} (features, *hidden, outputs)")
        super().__init__()
        layers = []
        for before, after in itertools.pairwise(widths):
            layers += [linear(before, after), activation()]  # (n, before) -> (n, after)
        self.layers = nn.Sequential(*layers[:-1])  # no activation behind the last layer: outputs may take any value

    def forward(self, x):
        return self.layers(x)


class BayesianLinear(nn.Linear):
    """Linear map whose weights and biases are independent Gaussians, each with a learned mean and width.

        q(w) = N(mean, sigma),      prior p(w) = N(0, prior_width)
        y = x W^T + b with W, b ~ q                                                      sampling = "weights"
        y = mean_y + sigma_y eps,   mean_y = x mean_W^T + mean_b,   sigma_y^2 = x^2 sigma_W^2^T + sigma_b^2     "local"

    The means are `weight` and `bias` of nn.Linear, in its shapes and with its initial values. "weights" draws one
    matrix for all events of a batch. "local" draws each output of each event for itself, which has the same
    distribution event by event and far less noise in the gradient of a batch (local reparametrisation). Only with one
    set of weights for all events is a prediction a function: see fixed_weights and posterior_samples.

    Arguments:
        in_features, out_features: numbers of inputs and outputs.
        bias: whether there is one.
        prior_width: standard deviation of the Gaussian prior of each weight.
        initial_sigma: of each weight before training; small, so that training starts like that of nn.Linear.
        sampling: "local" or "weights".
    Shapes:
        x (..., in_features) -> (..., out_features)
    Raises:
        ValueError: a width is not positive, or the name of the sampling is unknown.
    Example:
        >>> layer = BayesianLinear(3, 2)
        >>> layer(torch.ones(5, 3)).shape, layer.kl().item() > 0
        (torch.Size([5, 2]), True)

    Reference: Blundell et al. 2015, arXiv:1505.05424; Kingma et al. 2015, arXiv:1506.02557 (local reparametrisation).
    """

    def __init__(self, in_features, out_features, *, bias=True, prior_width=1.0, initial_sigma=0.01, sampling="local"):
        for name, value in (("prior_width", prior_width), ("initial_sigma", initial_sigma)):
            if not 0 < value < math.inf:
                raise ValueError(f"{name} is the standard deviation of a weight, a positive number, not {value!r}")
        if sampling not in ("local", "weights"):
            raise ValueError(f"sampling must be 'local' or 'weights', not {sampling!r}")
        super().__init__(in_features, out_features, bias=bias)
        self.prior_width, self.sampling = prior_width, sampling
        self.log_sigma_weight = nn.Parameter(torch.full_like(self.weight, math.log(initial_sigma)))
        self.log_sigma_bias = nn.Parameter(torch.full_like(self.bias, math.log(initial_sigma))) if bias else None
        self.fixed = None  # (weight, bias) for all events, while fixed_weights holds

    def forward(self, x):
        if self.fixed is not None:
            return linear_map(x, *self.fixed)
        if self.sampling == "weights":
            return linear_map(x, *self.sample_weights())
        mean = linear_map(x, self.weight, self.bias)  # (..., out_features)
        bias_variance = None if self.bias is None else (2 * self.log_sigma_bias).exp()
        variance = linear_map(x.square(), (2 * self.log_sigma_weight).exp(), bias_variance)
        smallest = torch.finfo(variance.dtype).tiny  # the root has no gradient at zero
        return mean + variance.clamp(min=smallest).sqrt() * torch.randn_like(mean)

    def sample_weights(self, generator=None):
        """Draw a weight matrix (out_features, in_features) and a bias (out_features,) or None from the posterior."""
        pairs = ((self.weight, self.log_sigma_weight), (self.bias, self.log_sigma_bias))
        return tuple(
            None if mean is None else mean + log_sigma.exp() * normal_noise(mean.shape, mean, generator)
            for mean, log_sigma in pairs
        )

    def kl(self):
        """Return the Kullback-Leibler divergence KL(q || p) of the posterior to the prior in nats, a scalar.

        KL = sum over weights [ log(prior_width / sigma) + (sigma^2 + mean^2) / (2 prior_width^2) - 1/2 ]
        """
        total = 0.0
        for mean, log_sigma in ((self.weight, self.log_sigma_weight), (self.bias, self.log_sigma_bias)):
            if mean is not None:
                ratio = ((2 * log_sigma).exp() + mean.square()) / (2 * self.prior_width**2)
                total = total + (math.log(self.prior_width) - log_sigma + ratio - 0.5).sum()
        return total

    def extra_repr(self):
        return f"{super().extra_repr()}, prior_width={self.prior_width}, sampling={self.sampling!r}"


def kl(network):
    """Return the Kullback-Leibler divergence KL(q || p) of posterior to prior, summed over all layers, in nats.

        ELBO = sum over n events log p(y_i|w) - KL,      loss per event = mean of -log p(y_i|w) + KL / n

    where n counts the training events, not those of a batch.

    Shapes:
        network -> scalar ()
    Raises:
        ValueError: the network has no Bayesian layer.
    Example:
        >>> network = MLP(3, 1, hidden=(16,), linear=BayesianLinear)
        >>> kl(network).shape
        torch.Size([])
    """
    return sum(layer.kl() for layer in _bayesian_layers(network))


@contextmanager
def fixed_weights(network, generator=None, mean=False):
    """Hold one set of weights for all events inside a with block: a draw from the posterior, or its means.

    Fixed weights are numbers: gradients pass through them to x, not to the posterior.

    Arguments:
        network: with Bayesian layers.
        generator: torch.Generator of the draw; None uses torch's own random numbers.
        mean: use the means of the weights instead of a draw.
    Shapes:
        inside, network(x) with x (n, d) is one function of each event
    Raises:
        ValueError: the network has no Bayesian layer.
    Example:
        >>> network = MLP(3, 1, hidden=(16,), linear=BayesianLinear)
        >>> x = torch.ones(2, 3)
        >>> with fixed_weights(network, torch.Generator().manual_seed(1)):
        ...     bool(torch.equal(network(x), network(x)))
        True
    """
    layers = _bayesian_layers(network)
    before = [layer.fixed for layer in layers]
    try:
        for layer in layers:
            chosen = (layer.weight, layer.bias) if mean else layer.sample_weights(generator)
            layer.fixed = tuple(part if part is None else part.detach() for part in chosen)
        yield network
    finally:
        for layer, fixed in zip(layers, before, strict=True):
            layer.fixed = fixed


@torch.no_grad()
def posterior_samples(network, x, samples=50, seed=1, batch_size=8192):
    """Evaluate a Bayesian network with several sets of weights from its posterior, each the same for all events.

    Arguments:
        network: with Bayesian layers.
        samples: how many sets M of weights are drawn.
        seed: of the draws.
        batch_size: events that are evaluated at once; it bounds the memory, not the result.
    Shapes:
        x (n, features) -> (samples, n, outputs)
    Raises:
        ValueError: the network has no Bayesian layer, or samples is not a positive integer.
    Example:
        >>> network = MLP(3, 1, hidden=(16,), linear=BayesianLinear)
        >>> posterior_samples(network, torch.ones(5, 3), samples=20).shape
        torch.Size([20, 5, 1])
    """
    if not isinstance(samples, int) or samples < 1:
        raise ValueError(f"samples counts sets of weights, a positive integer, not {samples!r}")
    generator = torch.Generator().manual_seed(seed)
    drawn = []
    for _ in range(samples):
        with fixed_weights(network, generator):
            drawn.append(torch.cat([network(part) for part in x.split(batch_size)]))  # (n, outputs)
    return torch.stack(drawn)


def _bayesian_layers(network):
    layers = [layer for layer in network.modules() if isinstance(layer, BayesianLinear)]
    if not layers:
        raise ValueError("the network has no Bayesian layer; make one with MLP(..., linear=BayesianLinear)")
    return layers


def normal_noise(shape, like, generator=None):
    """Draw standard normal numbers where the generator lives, so that one seed gives the same on every device.

    Arguments:
        like: tensor whose type and place they get.
        generator: None uses torch's own random numbers.
    Shapes:
        shape (n, d), such as (1000, 2) -> (n, d)
    Example:
        >>> normal_noise((3, 2), like=torch.zeros(1), generator=torch.Generator().manual_seed(1)).shape
        torch.Size([3, 2])
    """
    place = generator.device if generator else like.device
    return torch.randn(shape, generator=generator, dtype=like.dtype, device=place).to(like.device)
