"""The particle transformer: attention between constituents that knows how far apart they are."""

import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention

from ..layers import MLP
from .inputs import LOG_PT, PLACE
from .packed import Standardised, answer, check_inputs, unpacked

FAR_AWAY = -1e9  # added to a logit of attention, it forbids; -inf would make NaN of a jet without constituents


def pair_features(features, smallest=1e-3):
    """Return what is known of pairs of constituents.

        ln Delta,    ln kT = ln(min(pT_a, pT_b) Delta),    ln z = ln(min(pT_a, pT_b) / (pT_a + pT_b)),    ln m^2

    with Delta^2 = (eta_a - eta_b)^2 + (phi_a - phi_b)^2 and m^2 = pT_a pT_b Delta^2, which holds for massless momenta
    at small angles. Shifted and scaled by constants, so that they are around 0 with a width around 1.

    Arguments:
        features: of `constituent_features`; smallest: the angle that is taken where two are at one place [rad].
    Shapes:
        features (n, particles, d) -> (n, particles, particles, 4)
    Example:
        >>> features = torch.tensor([[[0.0, 0.0, 1.0], [0.3, 0.4, 1.0]]])
        >>> pair_features(features)[0, 0, 1].round(decimals=2)
        tensor([1.0100, 0.8700, 1.0100, 0.7800])

    Reference: Qu, Li, Qian 2022, arXiv:2202.03772, section 4.
    """
    place, log_pt = features[..., PLACE], features[..., LOG_PT]
    square = sum((place[..., None, i] - place[:, None, :, i]).square() for i in range(2))
    log_delta = square.clamp(min=smallest**2).log() / 2
    a, b = log_pt[..., None], log_pt[:, None]
    least = torch.minimum(a, b)
    log_z = least - torch.logaddexp(a, b)
    pairs = torch.stack([log_delta, least + log_delta, log_z, a + b + 2 * log_delta], dim=-1)
    shift, width = pairs.new_tensor([[-2.0, -1.0, -2.0, -1.5], [1.3, 1.5, 1.3, 2.7]])
    return (pairs - shift) / width


class Attention(nn.Module):
    """Multi-head attention with a bias for each pair.

        y = concat_h( softmax(Q_h K_h^T / sqrt(d_h) + U_h) V_h ) W

    Arguments:
        width: of the features, a multiple of heads.
    Shapes:
        queries (n, q, width), keys (n, particles, width), bias (n, heads or 1, q or 1, particles) -> (n, q, width)
    Example:
        >>> x = torch.randn(2, 10, 16)
        >>> Attention(16, heads=4)(x, x, torch.zeros(2, 1, 1, 10)).shape
        torch.Size([2, 10, 16])

    Reference: Vaswani et al. 2017, arXiv:1706.03762, eq. 1; the bias: Qu, Li, Qian 2022, arXiv:2202.03772.
    """

    def __init__(self, width, heads):
        if width % heads:
            raise ValueError(f"the width {width} must be a multiple of the number of heads {heads}")
        super().__init__()
        self.heads = heads
        self.query, self.key_value, self.out = (
            nn.Linear(width, width),
            nn.Linear(width, 2 * width),
            nn.Linear(width, width),
        )

    def forward(self, queries, keys, bias):
        q, k, v = (
            x.unflatten(2, (self.heads, -1)).transpose(1, 2)  # (n, heads, particles, width / heads)
            for x in (self.query(queries), *self.key_value(keys).chunk(2, dim=2))
        )
        return self.out(scaled_dot_product_attention(q, k, v, attn_mask=bias).transpose(1, 2).flatten(2))


class Block(nn.Module):
    """One layer of a transformer: attention, then a network of each constituent, both added to what was there.

        x = x + Attention(norm(x)),    x = x + MLP(norm(x))

    Shapes:
        queries (n, q, width), keys (n, particles, width) or None for the queries themselves, bias as in `Attention`
    Example:
        >>> Block(16, heads=4)(torch.randn(2, 10, 16), None, torch.zeros(2, 1, 1, 10)).shape
        torch.Size([2, 10, 16])
    """

    def __init__(self, width, heads, expansion=2):
        super().__init__()
        self.before_attention, self.before_mlp = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.mlp = MLP(width, width, hidden=(expansion * width,), activation=nn.GELU)

    def forward(self, queries, keys, bias):
        x = self.before_attention(queries)
        queries = queries + self.attention(x, x if keys is None else keys, bias)
        return queries + self.mlp(self.before_mlp(queries))


class ParticleTransformer(nn.Module):
    """Transformer of the constituents of a jet whose attention is biased by the features of pairs.

    Constituents pass blocks of attention, all with the same bias U = network(pair features). Then one more token, which
    is learned, looks at all of them in blocks of class attention, and a linear map of it is the answer.

    Arguments:
        features: number d of each constituent, of `constituent_features`.
        width: of the network; heads: of its attention; blocks: of constituents; class_blocks: of the class token.
        pairs: whether the attention knows the features of pairs.
        outputs: as in `DeepSets`.
    Shapes:
        features (n, particles, d), mask (n, particles) bool -> logits (n,) or (n, outputs)
    Raises:
        ValueError: features or mask has another shape or type, or width is no multiple of heads.
    Example:
        >>> features, mask = torch.randn(2, 30, 5), torch.ones(2, 30, dtype=torch.bool)
        >>> ParticleTransformer(features=5)(features, mask).shape
        torch.Size([2])

    Reference: Qu, Li, Qian 2022, arXiv:2202.03772.
    """

    def __init__(self, features, width=64, heads=4, blocks=3, class_blocks=1, pairs=True, outputs=1):
        super().__init__()
        self.features = features
        self.standardised = Standardised(features)
        self.embed = MLP(features, width, hidden=(width,), activation=nn.GELU)
        self.bias = MLP(4, heads, hidden=(16,), activation=nn.GELU) if pairs else None
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(blocks))
        self.class_token = nn.Parameter(0.02 * torch.randn(1, 1, width))
        self.before_class = nn.LayerNorm(width)
        self.class_blocks = nn.ModuleList(Block(width, heads) for _ in range(class_blocks))
        self.together = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, outputs))

    def pooled(self, features, mask):
        """Return the class token after it has seen the jet; (n, particles, d), (n, particles) -> (n, width)."""
        check_inputs(features, mask, self.features)
        x = unpacked(self.embed(self.standardised(features[mask])), mask)
        forbidden = torch.where(mask, 0.0, FAR_AWAY).to(x)[:, None, None]  # (n, 1, 1, particles)
        bias = forbidden
        if self.bias is not None:
            bias = forbidden + self.bias(pair_features(features)).permute(
                0, 3, 1, 2
            )  # (n, heads, particles, particles)
        for block in self.blocks:
            x = block(x, None, bias)
        x, token = self.before_class(x), self.class_token.expand(len(x), -1, -1)
        for block in self.class_blocks:
            token = block(token, x, forbidden)
        return token[:, 0]

    def forward(self, features, mask):
        return answer(self.together(self.pooled(features, mask)))
