"""ParticleNet: a jet as a cloud of points, each of which looks at its nearest neighbours."""

import itertools

import torch
from torch import nn

from ..layers import MLP
from .inputs import PLACE
from .packed import Standardised, answer, check_inputs, mean_of_each, unpacked


def canonical_order(features, mask):
    """Return features and mask with the constituents in one order, whatever order and padding they came in.

    By the columns of the features, the first counts last; real constituents before padding. Two constituents that are
    alike in all columns may change places. What is padding in all of the jets is cut away.

    Shapes:
        features (n, particles, d), mask (n, particles) bool -> the same
    Example:
        >>> features, mask = torch.tensor([[[1.0], [0.0], [3.0]]]), torch.tensor([[True, False, True]])
        >>> canonical_order(features, mask)
        (tensor([[[3.],
                 [1.]]]), tensor([[True, True]]))
    """
    order = torch.arange(mask.shape[1], device=mask.device).expand_as(mask)
    for column in (*features.unbind(-1), mask.byte()):
        order = order.gather(1, column.gather(1, order).argsort(dim=1, descending=True, stable=True))
    longest = int(mask.sum(1).max()) if len(mask) else 0
    order = order[:, :longest]
    return features.gather(1, order[..., None].expand(-1, -1, features.shape[2])), mask.gather(1, order)


def nearest_neighbours(points, mask, k):
    """Return the k nearest other constituents of each constituent, itself where there are fewer.

    On the grid of a calorimeter many distances are equal. Of equals the first is taken, so that in `canonical_order`
    neither padding nor order can change the choice.

    Shapes:
        points (n, particles, c), mask (n, particles) bool -> (n, particles, k) integers, places in the jet
    Raises:
        ValueError: k < 1.
    Example:
        >>> points = torch.tensor([[[0.0], [1.0], [3.0], [0.0]]])
        >>> nearest_neighbours(points, torch.tensor([[True, True, True, False]]), k=3)[0]
        tensor([[1, 2, 0],
                [0, 2, 1],
                [1, 0, 2],
                [3, 3, 3]])
    """
    if k < 1:
        raise ValueError(f"k is a number of neighbours, at least 1, not {k}")
    particles = mask.shape[1]
    # not by a product of matrices, whose rounding depends on their size
    distance = torch.cdist(points, points, compute_mode="donot_use_mm_for_euclid_dist")
    myself = torch.eye(particles, dtype=torch.bool, device=mask.device)
    distance = distance.masked_fill(myself | ~mask[:, None] | ~mask[..., None], torch.inf)
    distance, index = distance.sort(dim=2, stable=True)
    own = torch.arange(particles, device=mask.device)[:, None]
    index = torch.where(distance[..., :k].isinf(), own, index[..., :k])
    return torch.cat([index, own.expand(len(mask), -1, max(0, k - particles))], dim=2)


class EdgeConv(nn.Module):
    """Edge convolution: a network of each pair of neighbours, averaged over the neighbours.

        x'_i = a( S x_i + 1/k sum_j h(x_i, x_j - x_i) ),      j the k neighbours of i,  a = ReLU

    The first layer of h is linear in both: W (x_i, x_j - x_i) = (W_1 - W_2) x_i + W_2 x_j, two maps of constituents and
    not one of the k times as many pairs. Each layer of h is followed by batch normalisation and ReLU.

    Arguments:
        features: number before; channels: after each layer of h.
    Shapes:
        x (constituents, features), index (constituents, k) rows of x -> (constituents, channels[-1])
    Example:
        >>> layer = EdgeConv(5, (32, 32))
        >>> layer(torch.randn(10, 5), torch.zeros(10, 7, dtype=torch.long)).shape
        torch.Size([10, 32])

    Reference: Wang et al. 2018, arXiv:1801.07829; Qu, Gouskos 2019, arXiv:1902.08570.
    """

    def __init__(self, features, channels):
        super().__init__()
        self.own = nn.Linear(features, channels[0], bias=False)  # W_1 - W_2
        self.other = nn.Linear(features, channels[0], bias=False)  # W_2
        self.norms = nn.ModuleList(nn.BatchNorm1d(width) for width in channels)
        self.maps = nn.ModuleList(
            nn.Linear(before, after, bias=False) for before, after in itertools.pairwise(channels)
        )
        self.shortcut = nn.Sequential(nn.Linear(features, channels[-1], bias=False), nn.BatchNorm1d(channels[-1]))

    def forward(self, x, index):
        edges = self.own(x)[:, None] + self.other(x)[index]  # (constituents, k, channels)
        edges = self._normalised(edges, 0)
        for i, linear in enumerate(self.maps, start=1):
            edges = self._normalised(linear(edges), i)
        return (self.shortcut(x) + edges.mean(1)).relu()

    def _normalised(self, edges, i):
        return self.norms[i](edges.flatten(0, 1)).relu().view_as(edges)


class ParticleNet(nn.Module):
    """Dynamic graph network of the constituents of a jet.

    Neighbours are sought in eta and phi at first, then among the features that the layer before has made. The mean over
    the constituents goes through a small network.

    Arguments:
        features: number d of each constituent, of `constituent_features`.
        channels: of the layers of each edge convolution. The default is ParticleNet-Lite.
        k: neighbours.
        hidden: of the network behind the mean.
        outputs: as in `DeepSets`.
    Shapes:
        features (n, particles, d), mask (n, particles) bool -> logits (n,) or (n, outputs)
    Raises:
        ValueError: features or mask has another shape or type.
    Example:
        >>> features, mask = torch.randn(2, 30, 5), torch.ones(2, 30, dtype=torch.bool)
        >>> ParticleNet(features=5)(features, mask).shape
        torch.Size([2])

    Reference: Qu, Gouskos 2019, arXiv:1902.08570.
    """

    def __init__(self, features, channels=((32, 32, 32), (64, 64, 64)), k=7, hidden=(128,), outputs=1):
        super().__init__()
        self.features, self.k = features, k
        self.standardised = Standardised(features)
        widths = [features, *(layers[-1] for layers in channels)]
        self.layers = nn.ModuleList(
            EdgeConv(width, layers) for width, layers in zip(widths[:-1], channels, strict=True)
        )
        self.together = MLP(widths[-1], outputs, hidden, activation=nn.ReLU)

    def pooled(self, features, mask):
        """Return the means that the jet is known by; (n, particles, d), (n, particles) -> (n, width)."""
        check_inputs(features, mask, self.features)
        features, mask = canonical_order(features, mask)
        row = mask.flatten().cumsum(0).view_as(mask) - 1  # of each constituent in the list of all
        jet = torch.arange(len(mask), device=mask.device)[:, None, None]
        x, points = self.standardised(features[mask]), features[..., PLACE]
        for layer in self.layers:
            with torch.no_grad():
                index = row[jet, nearest_neighbours(points, mask, self.k)][mask]  # (constituents, k)
            x = layer(x, index)
            points = unpacked(x.detach(), mask)
        return mean_of_each(x, mask)

    def forward(self, features, mask):
        return answer(self.together(self.pooled(features, mask)))
