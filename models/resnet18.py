"""ResNet-18 (He et al. 2016, arXiv 1512.03385, table 1) with the stem that small pictures are given.

The first convolution is 3x3 with stride 1 instead of 7x7 with stride 2, and no pooling follows it, so that a picture of
32 pixels keeps its size up to the second stage. Shortcuts are 1x1 convolutions where the shape changes (option B).
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from models.layers import conv3x3, initialise, residual_stage

WIDTHS = (64, 128, 256, 512)
BLOCKS = 2


class ResNet18(nn.Module):
    """3x3 stem, four stages of two blocks, the mean over the picture, one linear layer."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.conv1 = conv3x3(in_channels, WIDTHS[0])
        self.bn1 = nn.BatchNorm2d(WIDTHS[0])
        self.stage1 = residual_stage(WIDTHS[0], WIDTHS[0], BLOCKS, stride=1)
        self.stage2 = residual_stage(WIDTHS[0], WIDTHS[1], BLOCKS, stride=2)
        self.stage3 = residual_stage(WIDTHS[1], WIDTHS[2], BLOCKS, stride=2)
        self.stage4 = residual_stage(WIDTHS[2], WIDTHS[3], BLOCKS, stride=2)
        self.linear = nn.Linear(WIDTHS[3], num_classes)
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.stage4(self.stage3(self.stage2(self.stage1(out))))
        logits: Tensor = self.linear(out.mean(dim=(2, 3)))
        return logits


def build(in_channels: int, num_classes: int) -> ResNet18:
    """ResNet-18."""
    return ResNet18(in_channels, num_classes)
