"""VGG-16 with BatchNorm (Simonyan & Zisserman 2015, arXiv 1409.1556, configuration D), for small pictures.

The head is one linear layer, as is usual on CIFAR. ImageNet's, two hidden layers of 4,096 with dropout, which the code
of Yuan & Zhang (2022) keeps, would hold 18.9 of 33.6 million weights. Convolutions have no bias: BatchNorm follows.
"""

from __future__ import annotations

from torch import Tensor, nn

from models.layers import conv3x3, initialise

STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


class VGG16(nn.Module):
    """Thirteen 3x3 convolutions with BatchNorm and ReLU in five stages, a 2x2 maximum after each, the mean over what is
    left, one linear layer.

    A maximum at the border of a picture of odd size is over fewer pixels, so that pictures of less than 32 pixels have
    something left.
    """

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = in_channels
        for widths in STAGES:
            for width in widths:
                layers += [conv3x3(channels, width), nn.BatchNorm2d(width), nn.ReLU()]
                channels = width
            layers.append(nn.MaxPool2d(2, ceil_mode=True))
        self.features = nn.Sequential(*layers)
        self.linear = nn.Linear(channels, num_classes)
        made = [place for place, layer in enumerate(layers) if isinstance(layer, nn.Conv2d)]
        readers = [*(f"features.{place}" for place in made[1:]), "linear"]
        # of `pruning.narrow`: every convolution's channels go to the next one alone, the last one's to the classifier
        self.removable = [
            (f"features.{place}", f"features.{place + 1}", reader) for place, reader in zip(made, readers, strict=True)
        ]
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.linear(self.features(x).mean(dim=(2, 3)))
        return logits


def build(in_channels: int, num_classes: int) -> VGG16:
    """VGG-16 with BatchNorm."""
    return VGG16(in_channels, num_classes)
