"""The multilayer perceptron of the tables that membership inference is studied on (Purchase100, Texas100, Location).

Five `layers`, hidden ones of 1024, 512, 256 and 128 numbers, are the network of Nasr et al. (CCS 2018) for Texas100,
here with ReLU. The shallower ones of this family are as wide as others that were published: three layers (256, 128) are
those of Yuan & Zhang (USENIX Security 2022), two (128) those of Shokri et al. (IEEE S&P 2017). No dropout: it is a
defence, and would be part of what is compared.
"""

from __future__ import annotations

from torch import Tensor, nn

NARROWEST = 128
DOUBLINGS = 3


class MLP(nn.Module):
    """`layers` linear layers with ReLU between them; an example of any shape is read as one row of numbers.

    Hidden widths double from 128 towards the input, up to 1024, times `width_mult`.
    """

    def __init__(self, layers: int, width_mult: int, in_features: int, num_classes: int) -> None:
        super().__init__()
        hidden = [NARROWEST * width_mult * 2 ** min(place, DOUBLINGS) for place in reversed(range(layers - 1))]
        parts: list[nn.Module] = [nn.Flatten()]
        for inner, outer in zip([in_features, *hidden], hidden, strict=False):
            parts += [nn.Linear(inner, outer), nn.ReLU()]
        self.hidden = nn.Sequential(*parts)
        self.linear = nn.Linear(hidden[-1], num_classes)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.linear(self.hidden(x))
        return logits


def build(layers: int, width_mult: int, in_features: int, num_classes: int) -> MLP:
    """A perceptron of `layers` linear layers for examples of `in_features` numbers."""
    return MLP(layers, width_mult, in_features, num_classes)
