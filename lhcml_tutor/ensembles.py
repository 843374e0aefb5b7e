"""Ensembles: many networks of one architecture that train side by side as one module.

    ensemble = Ensemble(lambda: MLP(6, 2), members=128, seed=1)

    def loss(model, batch):
        prediction, log_sigma = model(batch["x"]).chunk(2, dim=-1)                      # each (members, n, 1)
        return heteroscedastic_loss(prediction, log_sigma, batch["y"]).mean(dim=(1, 2)).sum()

    lt.fit(ensemble, loss, data, steps=..., batch_size=..., clip=None)

With the *sum* over members the gradient of each member is what it would be alone, and so is its training: AdamW and
SGD move every parameter by its own gradient. Two things mix members. Clipping looks at the norm of all of them
together, so train with clip=None. And keep_best chooses one step for all.
"""

import math

import torch
from torch import nn

from .layers import MLP


class BatchedLinear(nn.Module):
    """Several linear maps side by side, one for each member of an ensemble, in one batched matrix product.

        y_m = x_m W_m + b_m,      m = 1 ... members

    Arguments:
        layers: one nn.Linear for each member, all of one shape; their numbers are copied.
    Shapes:
        x (members, n, in_features) -> (members, n, out_features)
    Raises:
        ValueError: no layers, or layers of different shapes.
    Example:
        >>> layer = BatchedLinear([nn.Linear(3, 2) for _ in range(8)])
        >>> layer(torch.zeros(8, 5, 3)).shape
        torch.Size([8, 5, 2])
    """

    def __init__(self, layers):
        super().__init__()
        if len({(layer.weight.shape, layer.bias is None) for layer in layers}) != 1:
            raise ValueError("the layers of an ensemble must be at least one, and of one shape")
        self.weight = nn.Parameter(torch.stack([layer.weight.detach().T for layer in layers]))  # (members, in, out)
        self.bias = None
        if layers[0].bias is not None:
            self.bias = nn.Parameter(torch.stack([layer.bias.detach()[None] for layer in layers]))  # (members, 1, out)

    def forward(self, x):
        return x @ self.weight if self.bias is None else torch.baddbmm(self.bias, x, self.weight)

    def member(self, m):
        """Return a copy of one map as nn.Linear."""
        layer = nn.Linear(*self.weight.shape[1:], bias=self.bias is not None).to(self.weight)
        with torch.no_grad():
            layer.weight.copy_(self.weight[m].T)
            if self.bias is not None:
                layer.bias.copy_(self.bias[m, 0])
        return layer

    def extra_repr(self):
        members, before, after = self.weight.shape
        return f"members={members}, in_features={before}, out_features={after}, bias={self.bias is not None}"


class Ensemble(nn.Module):
    """Networks of one architecture and different random initial weights, evaluated and trained together.

    Member m starts exactly like the network that is made after torch.manual_seed(seed + m), m = 0, 1, ...

    Arguments:
        make: function without arguments -> an MLP, or nn.Sequential of nn.Linear and functions element by element.
        members: how many networks.
        seed: of the first member.
    Shapes:
        x (n, features), the same events for all members, or (members, n, features) -> (members, n, outputs)
    Raises:
        ValueError: members is not a positive integer, a layer cannot be batched, or x has another shape.
    Example:
        >>> ensemble = Ensemble(lambda: MLP(3, 1, hidden=(16, 16)), members=8)
        >>> ensemble(torch.zeros(5, 3)).shape
        torch.Size([8, 5, 1])

    Reference: Lakshminarayanan et al. 2016, arXiv:1612.01474.
    """

    def __init__(self, make, members=8, seed=1):
        super().__init__()
        if not isinstance(members, int) or members < 1:
            raise ValueError(f"members counts networks, a positive integer, not {members!r}")
        networks = []
        with torch.random.fork_rng(devices=[]):
            for m in range(members):
                torch.default_generator.manual_seed(seed + m)  # of the CPU alone: others keep their state
                networks.append(make())
        kind = type(networks[0])
        if kind not in (MLP, nn.Sequential):  # another class may do more in its forward than its layers say
            raise ValueError(f"an ensemble needs an MLP or nn.Sequential, not {kind.__name__}")
        if kind is MLP:
            networks = [network.layers for network in networks]
        self.members = members
        self.layers = nn.Sequential(*(_batched(layers) for layers in zip(*networks, strict=True)))

    def forward(self, x):
        if x.ndim == 2:
            x = x.expand(self.members, *x.shape)  # a view: no copy for each member
        if x.ndim != 3 or len(x) != self.members:
            raise ValueError(f"x must be (n, features) or ({self.members}, n, features), not {tuple(x.shape)}")
        return self.layers(x)

    @torch.no_grad()
    def predict(self, x, batch_size=1024):
        """Evaluate all members without gradient, batch_size events at once to bound the memory.

        Shapes:
            x (n, features) -> (members, n, outputs)
        """
        return torch.cat([self(part) for part in x.split(batch_size)], dim=1)

    def member(self, m):
        """Return a copy of one member as nn.Sequential, features -> outputs."""
        return nn.Sequential(*(layer.member(m) if isinstance(layer, BatchedLinear) else layer for layer in self.layers))


def member_rows(n, members, seed=1, bootstrap=False):
    """Row numbers that give each member its own order of the events, or its own sample of them.

    Put them into the data of `fit` and look the events up in the loss, which holds one copy of them for all:

        data = {"row": member_rows(len(x), members)}
        row = batch["row"].T                                                    # (members, batch_size)
        prediction = model(x[row])                                              # x[row] is (members, batch_size, d)

    Arguments:
        n: number of events.
        members: of the ensemble.
        seed: of the orders.
        bootstrap: False: each member sees every event once an epoch, in its own order. True: each member has n events
            drawn with replacement, so that it never sees about 37% of them.
    Shapes:
        n -> (n, members), integers from 0 to n - 1
    Raises:
        ValueError: n or members is not a positive integer.
    Example:
        >>> rows = member_rows(100, members=8)
        >>> rows.shape, bool((rows.sort(dim=0).values[:, 3] == torch.arange(100)).all())
        (torch.Size([100, 8]), True)
    """
    for name, value in (("n", n), ("members", members)):
        if not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} must be a positive integer, not {value!r}")
    generator = torch.Generator().manual_seed(seed)
    if bootstrap:
        return torch.randint(n, (n, members), generator=generator)
    return torch.stack([torch.randperm(n, generator=generator) for _ in range(members)], dim=1)


def member_distance(first, second=None):
    """Distance between every two members: the root mean square difference of their outputs over the events.

        d_ij^2 = < |f_i(x) - f_j(x)|^2 >,      mean over events and outputs

    Arguments:
        first: outputs of the members.
        second: of others; None compares the members with themselves.
    Shapes:
        first (members, n, outputs), second (others, n, outputs) -> (members, others)
    Raises:
        ValueError: the outputs are not (members, n, outputs).
    Example:
        >>> outputs = torch.tensor([0.0, 3.0])[:, None, None].expand(2, 4, 1)
        >>> member_distance(outputs).tolist()
        [[0.0, 3.0], [3.0, 0.0]]
    """
    second = first if second is None else second
    if first.ndim != 3 or first.shape[1:] != second.shape[1:]:
        raise ValueError(f"outputs must be (members, n, outputs), not {tuple(first.shape)} and {tuple(second.shape)}")
    # Not by |f|^2 - 2 f g + |g|^2: members that nearly agree would lose their difference to rounding.
    exact = "donot_use_mm_for_euclid_dist"
    return torch.cdist(first.flatten(1), second.flatten(1), compute_mode=exact) / math.sqrt(first[0].numel())


def repulsion(outputs, bandwidth=None):
    """Repulsive term of an ensemble: the logarithm of the density of members at each member, in function space.

        R = sum_i log( 1/N sum_j k(f_i, f_j) ),      k = exp(-d_ij^2 / (2 h^2)),      no gradient through f_j
        loss per event = sum_i mean of -log p(y|f_i) + (beta / n) R,      n training events

    With beta = 1 the members move until the density of the kernels around them is the posterior of the functions: it
    draws them to the likelihood and keeps them apart. beta = 0 is an ordinary ensemble; beta tempers the posterior.

    Arguments:
        outputs: what the members predict for the events of a batch.
        bandwidth: h, in the units of the outputs; None takes h^2 = median_(i != j) d_ij^2 / (2 log(N + 1)).
    Shapes:
        outputs (members, n, outputs) -> scalar, at most 0; 0 where all members agree
    Raises:
        ValueError: the outputs are not (members, n, outputs) of two members or more, or h is not positive.
    Example:
        >>> repulsion(torch.tensor([0.0, 1.0])[:, None, None], bandwidth=1.0)
        tensor(-0.4381)

    Reference: D'Angelo and Fortuin 2021, arXiv:2106.11642.
    """
    if len(outputs) < 2:
        raise ValueError(f"repulsion needs two members or more, not {len(outputs)}")
    if bandwidth is not None and not bandwidth > 0:
        raise ValueError(f"bandwidth is a distance between members, a positive number, not {bandwidth!r}")
    squares = member_distance(outputs, outputs.detach()).square()  # (members, members)
    if bandwidth is None:
        apart = ~torch.eye(len(squares), dtype=torch.bool, device=squares.device)
        variance = squares.detach()[apart].median() / (2 * math.log(len(squares) + 1))
        variance = variance.clamp(min=torch.finfo(squares.dtype).tiny)  # all members may agree
    else:
        variance = bandwidth**2
    return ((-squares / (2 * variance)).logsumexp(dim=1) - math.log(len(squares))).sum()


def _batched(layers):
    """Return one layer for all members in place of their own at one position."""
    if all(type(layer) is nn.Linear for layer in layers):
        return BatchedLinear(layers)
    if any(True for layer in layers for _ in (*layer.parameters(), *layer.buffers())):
        raise ValueError(f"an ensemble batches nn.Linear and layers without parameters, not {type(layers[0]).__name__}")
    return layers[0]
