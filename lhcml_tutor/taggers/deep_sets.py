"""Deep sets, known as particle flow networks: one function of each constituent, added up, and one of the sum."""

from torch import nn

from ..layers import MLP
from .inputs import jet_image
from .packed import Standardised, answer, check_inputs, sum_of_each

TYPICAL = 50  # constituents of a jet; a constant, so that the sum still counts them


class DeepSets(nn.Module):
    """Deep set of the constituents of a jet, or particle flow network.

        logit = F( 1/50 sum_i Phi(x_i) )

    Every function of a set that does not care for order can be written like this. The sum, not the mean: it counts.

    Arguments:
        features: number d of each constituent.
        hidden: width of the hidden layers of Phi and of F.
        latent: number of sums.
        outputs: 1 for signal against background, else the number of classes.
    Shapes:
        features (n, particles, d), mask (n, particles) bool -> logits (n,), or (n, outputs) for more than one
    Raises:
        ValueError: features or mask has another shape or type.
    Example:
        >>> import torch
        >>> model = DeepSets(features=5)
        >>> model(torch.zeros(2, 80, 5), torch.ones(2, 80, dtype=torch.bool)).shape
        torch.Size([2])

    Reference: Zaheer et al. 2017, arXiv:1703.06114; Komiske, Metodiev, Thaler 2018, arXiv:1810.05165.
    """

    def __init__(self, features, hidden=(128, 128), latent=128, outputs=1):
        super().__init__()
        self.features = features
        self.standardised = Standardised(features)
        self.each = MLP(features, latent, hidden)  # Phi
        self.together = MLP(latent, outputs, hidden)  # F

    def pooled(self, features, mask):
        """Return the sums that the jet is known by; (n, particles, d), (n, particles) -> (n, latent)."""
        check_inputs(features, mask, self.features)
        return sum_of_each(self.each(self.standardised(features[mask])), mask) / TYPICAL

    def forward(self, features, mask):
        return answer(self.together(self.pooled(features, mask)))


class ImageNetwork(nn.Module):
    """Convolutional network that looks at a jet as an image of pixels.

    Three times two convolutions of 3 x 3 pixels and a pooling of 2 x 2, the mean over what is left, and a linear map.

    Arguments:
        pixels: along each side, a multiple of 8; width: of the image in eta and phi.
        channels: after each pooling.
        outputs: as in `DeepSets`.
    Shapes:
        features (n, particles, d) of `constituent_features`, mask (n, particles) bool -> logits (n,) or (n, outputs)
    Raises:
        ValueError: features or mask has another shape or type, or pixels is no multiple of 8.
    Example:
        >>> import torch
        >>> ImageNetwork()(torch.zeros(2, 80, 5), torch.ones(2, 80, dtype=torch.bool)).shape
        torch.Size([2])

    Reference: de Oliveira et al. 2015, arXiv:1511.05190; Macaluso, Shih 2018, arXiv:1803.00107.
    """

    def __init__(self, pixels=32, width=1.6, channels=(16, 32, 64), outputs=1):
        if pixels % 8:
            raise ValueError(f"three poolings halve an image; pixels must be a multiple of 8, not {pixels}")
        super().__init__()
        self.pixels, self.width = pixels, width
        layers, before = [], 1
        for after in channels:
            for i in range(2):
                layers += [
                    nn.Conv2d(before if i == 0 else after, after, 3, padding=1),
                    nn.BatchNorm2d(after),
                    nn.ReLU(),
                ]
            layers.append(nn.MaxPool2d(2))
            before = after
        self.layers = nn.Sequential(*layers)
        self.together = MLP(channels[-1], outputs, hidden=(64,))

    def pooled(self, features, mask):
        """Return the means of the last images; (n, particles, d), (n, particles) -> (n, channels)."""
        check_inputs(features, mask, features.shape[-1])
        image = jet_image(features, mask, self.pixels, self.width).sqrt()  # a few hard pixels would drown the others
        return self.layers(image[:, None]).mean((2, 3))

    def forward(self, features, mask):
        return answer(self.together(self.pooled(features, mask)))
