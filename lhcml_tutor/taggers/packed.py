"""Jets of different lengths as one long list: padding is left out, so that nothing can depend on it.

x = features[mask]                    # (all constituents of all jets, d)
total = sum_of_each(x, mask)          # (n, d)
"""

import torch
from torch import nn


def check_inputs(features, mask, expected):
    """Raise ValueError where a tagger cannot work with features and mask.

    Shapes:
        features (n, particles, expected), mask (n, particles) bool
    Example:
        >>> check_inputs(torch.zeros(2, 3, 5), torch.zeros(2, 3), 5)
        Traceback (most recent call last):
        ValueError: mask is torch.float32, it must be bool: True where there is a constituent
    """
    if features.ndim != 3 or features.shape[2] != expected:
        raise ValueError(f"features must be (n, particles, {expected}), not {tuple(features.shape)}")
    if mask.dtype != torch.bool:
        raise ValueError(f"mask is {mask.dtype}, it must be bool: True where there is a constituent")
    if mask.shape != features.shape[:2]:
        raise ValueError(f"mask must be {tuple(features.shape[:2])} like the features, not {tuple(mask.shape)}")


def sum_of_each(x, mask):
    """Return the sum over the constituents of each jet.

    Shapes:
        x (constituents, d), the rows where mask is True; mask (n, particles) bool -> (n, d)
    Example:
        >>> sum_of_each(torch.tensor([[1.0], [2.0], [5.0]]), torch.tensor([[True, True], [True, False]]))
        tensor([[3.],
                [5.]])
    """
    return x.new_zeros(len(mask), x.shape[1]).index_add(0, mask.nonzero()[:, 0], x)


def mean_of_each(x, mask):
    """Return the mean over the constituents of each jet, 0 for a jet without.

    Shapes:
        x (constituents, d), mask (n, particles) bool -> (n, d)
    Example:
        >>> mean_of_each(torch.tensor([[1.0], [2.0], [5.0]]), torch.tensor([[True, True], [True, False]]))
        tensor([[1.5000],
                [5.0000]])
    """
    return sum_of_each(x, mask) / mask.sum(1, keepdim=True).clamp(min=1)


def unpacked(x, mask):
    """Return the list as a padded tensor again.

    Shapes:
        x (constituents, d), mask (n, particles) bool -> (n, particles, d), zero where mask is False
    Example:
        >>> unpacked(torch.tensor([[1.0], [2.0]]), torch.tensor([[True, False], [True, False]]))[..., 0]
        tensor([[1., 0.],
                [2., 0.]])
    """
    dense = x.new_zeros(*mask.shape, x.shape[1])
    dense[mask] = x
    return dense


def answer(logits):
    """Return (n, outputs) as it is, and (n, 1) as (n,)."""
    return logits[:, 0] if logits.shape[1] == 1 else logits


class Standardised(nn.BatchNorm1d):
    """Features of constituents with mean 0 and width 1: batch normalisation without learned numbers.

    Shapes:
        x (constituents, d) -> (constituents, d)
    Example:
        >>> Standardised(3)(torch.randn(1000, 3)).std(0, correction=0).round(decimals=2)
        tensor([1., 1., 1.])

    Reference: Ioffe, Szegedy 2015, arXiv:1502.03167.
    """

    def __init__(self, features):
        super().__init__(features, affine=False)
