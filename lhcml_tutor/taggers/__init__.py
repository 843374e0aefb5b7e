"""Taggers: what made this jet? Each is called in the same way, and does not care for order or padding.

features, mask = constituent_features(events["relative"], most=40)      # (n, particles, d), (n, particles)
model = ParticleNet(features=features.shape[2])
model(features, mask)                                                   # logits (n,): log of signal to background

DeepSets               a function of each constituent, added up         packed.py: how padding is left out
ImageNetwork           convolutions of an image of the jet
ParticleNet            constituents look at their neighbours
ParticleTransformer    constituents look at all others
"""

from .deep_sets import DeepSets, ImageNetwork
from .inputs import aligned, constituent_features, jet_image, rotated
from .packed import Standardised, mean_of_each, sum_of_each
from .particle_net import EdgeConv, ParticleNet, nearest_neighbours
from .particle_transformer import Attention, ParticleTransformer, pair_features

__all__ = [
    "Attention", "DeepSets", "EdgeConv", "ImageNetwork", "ParticleNet", "ParticleTransformer", "Standardised",
    "aligned",
    "constituent_features", "jet_image", "mean_of_each", "nearest_neighbours", "pair_features", "rotated",
    "sum_of_each",
]  # fmt: skip
