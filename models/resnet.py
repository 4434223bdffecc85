"""The ResNet for small pictures (He et al. 2016, arXiv 1512.03385, section 4.2).

Shortcuts whose shape changes are 1x1 convolutions with BatchNorm (option B of section 3.3); the paper's CIFAR networks
pad with zeros (option A), which leaves shortcuts nothing to prune.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from models.layers import conv3x3, initialise, residual_stage

STAGES = (1, 2, 4)  # channels of each stage, in those of the first


class ResNet(nn.Module):
    """3x3 stem, three stages of `blocks` blocks each, the mean over the picture, one linear layer.

    The stages have `channels`, twice and four times as many (the paper: 16); `width_mult` multiplies every width, the
    stem's included.
    """

    def __init__(self, blocks: int, width_mult: int, in_channels: int, num_classes: int, channels: int) -> None:
        super().__init__()
        widths = [channels * width_mult * times for times in STAGES]
        self.conv1 = conv3x3(in_channels, widths[0])
        self.bn1 = nn.BatchNorm2d(widths[0])
        self.stage1 = residual_stage(widths[0], widths[0], blocks, stride=1)
        self.stage2 = residual_stage(widths[0], widths[1], blocks, stride=2)
        self.stage3 = residual_stage(widths[1], widths[2], blocks, stride=2)
        self.linear = nn.Linear(widths[2], num_classes)
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.stage3(self.stage2(self.stage1(out)))
        logits: Tensor = self.linear(out.mean(dim=(2, 3)))
        return logits


def build(layers: int, width_mult: int, in_channels: int, num_classes: int, channels: int = 16) -> ResNet:
    """ResNet with 6n + 2 `layers` (shortcut convolutions not counted, as usual)."""
    return ResNet((layers - 2) // 6, width_mult, in_channels, num_classes, channels)
