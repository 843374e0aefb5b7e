"""A latent space that is made to be read: few numbers, uncorrelated, which hold what was known and the class."""

import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

from ..layers import MLP


class DisentangledClassifier(nn.Module):
    """Classifier through a few latent numbers from which its input can be made again.

        z = E(x),      x' = D(z),      logit = C(z)

    Arguments:
        features: number d of inputs, such as the pooled representation of a tagger, standardised.
        latent: number of latent numbers.
        hidden: widths of the networks E and D; C has one hidden layer of the last.
    Shapes:
        x (n, d) -> z (n, latent), x' (n, d), logit (n,)
    Example:
        >>> z, again, logit = DisentangledClassifier(features=64, latent=5)(torch.zeros(10, 64))
        >>> z.shape, again.shape, logit.shape
        (torch.Size([10, 5]), torch.Size([10, 64]), torch.Size([10]))
    """

    def __init__(self, features, latent=5, hidden=(64, 64)):
        super().__init__()
        self.encoder = MLP(features, latent, hidden)
        self.decoder = MLP(latent, features, hidden[::-1])
        self.head = MLP(latent, 1, hidden[-1:])

    def forward(self, x):
        z = self.encoder(x)
        return z, self.decoder(z), self.head(z)[:, 0]


def correlation_matrix(z):
    """Return the correlation coefficients of latent numbers in a batch; 0 with one that is constant.

        C_ij = < (z_i - <z_i>) (z_j - <z_j>) > / (sigma_i sigma_j)

    Shapes:
        z (n, d) -> (d, d)
    Example:
        >>> correlation_matrix(torch.tensor([[1.0, 2.0], [2.0, 1.0], [3.0, 0.0]])).round(decimals=4)
        tensor([[ 1., -1.],
                [-1.,  1.]])
    """
    z = z - z.mean(0)
    z = z / (z.square().mean(0) + 1e-12).sqrt()
    return z.T @ z / len(z)


def off_diagonal(matrix):
    """Return the entries of a square matrix that are not on its diagonal, (d, d) -> (d (d - 1),).

    Example:
        >>> off_diagonal(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
        tensor([2., 3.])
    """
    return matrix[~torch.eye(len(matrix), dtype=torch.bool, device=matrix.device)]


def disentangled_loss(model, batch, correlation=1.0):
    """Return the three aims of a disentangled classifier: keep what was known, know the class, repeat nothing.

        L = < |x' - x|^2 > / d  -  < y log p + (1 - y) log(1 - p) >  +  correlation sum_(i != j) C_ij^2

    Arguments:
        model: DisentangledClassifier.
        batch: "x" and "label", 1 for signal.
        correlation: weight of the third.
    Shapes:
        batch["x"] (n, d), batch["label"] (n,) -> three scalars by name, for `fit`
    Example:
        >>> batch = {"x": torch.randn(100, 8), "label": torch.ones(100)}
        >>> list(disentangled_loss(DisentangledClassifier(8, latent=2), batch))
        ['reconstruction', 'class', 'correlation']

    Reference: Cogswell et al. 2015, arXiv:1511.06068 (decorrelation).
    """
    z, again, logit = model(batch["x"])
    return {
        "reconstruction": (again - batch["x"]).square().mean(),
        "class": binary_cross_entropy_with_logits(logit, batch["label"].to(logit)),
        "correlation": correlation * off_diagonal(correlation_matrix(z)).square().sum(),
    }
