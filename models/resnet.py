"""The ResNet for small pictures (He et al. 2016, arXiv 1512.03385, section 4.2).

Shortcuts whose shape changes are 1x1 convolutions with BatchNorm (option B of section 3.3); the paper's CIFAR networks
pad with zeros (option A), which leaves shortcuts nothing to prune.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from models.layers import conv1x1, conv3x3, initialise

BASE_WIDTHS = (16, 32, 64)


class BasicBlock(nn.Module):
    """conv-BN-ReLU-conv-BN, plus the shortcut, ReLU."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = conv3x3(in_channels, out_channels, stride)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = conv3x3(out_channels, out_channels)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.shortcut = nn.Sequential()
        if stride != 1 or in_channels != out_channels:
            self.shortcut = nn.Sequential(conv1x1(in_channels, out_channels, stride), nn.BatchNorm2d(out_channels))

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(out)) + self.shortcut(x))


class ResNet(nn.Module):
    """3x3 stem, three stages of `blocks` blocks each, the mean over the picture, one linear layer.

    `width_mult` multiplies every width, the stem's included.
    """

    def __init__(self, blocks: int, width_mult: int, in_channels: int, num_classes: int) -> None:
        super().__init__()
        widths = [width * width_mult for width in BASE_WIDTHS]
        self.conv1 = conv3x3(in_channels, widths[0])
        self.bn1 = nn.BatchNorm2d(widths[0])
        self.stage1 = _stage(widths[0], widths[0], blocks, stride=1)
        self.stage2 = _stage(widths[0], widths[1], blocks, stride=2)
        self.stage3 = _stage(widths[1], widths[2], blocks, stride=2)
        self.linear = nn.Linear(widths[2], num_classes)
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.stage3(self.stage2(self.stage1(out)))
        logits: Tensor = self.linear(out.mean(dim=(2, 3)))
        return logits


def build(layers: int, width_mult: int, in_channels: int, num_classes: int) -> ResNet:
    """ResNet with 6n + 2 `layers` (shortcut convolutions not counted, as usual)."""
    return ResNet((layers - 2) // 6, width_mult, in_channels, num_classes)


def _stage(in_channels: int, out_channels: int, blocks: int, stride: int) -> nn.Sequential:
    first = BasicBlock(in_channels, out_channels, stride)
    return nn.Sequential(first, *(BasicBlock(out_channels, out_channels, 1) for _ in range(blocks - 1)))
