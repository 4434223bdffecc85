"""Wide residual networks (Zagoruyko & Komodakis 2016, arXiv 1605.07146): WRN-D-K, pre-activated, without dropout."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from models.layers import conv1x1, conv3x3, initialise

STAGES = (1, 2, 4)  # channels of each stage, in those of the first


class WideBlock(nn.Module):
    """BN-ReLU-conv-BN-ReLU-conv, plus the shortcut.

    A shortcut whose shape changes is a 1x1 convolution of the activated input, as in the authors' code, so that it
    shares the first BatchNorm and has none of its own.
    """

    removable = (("conv1", "bn2", "conv2"),)  # of `pruning.narrow`: the channels that the sum does not see

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = conv3x3(in_channels, out_channels, stride)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.conv2 = conv3x3(out_channels, out_channels)
        changes_shape = stride != 1 or in_channels != out_channels
        self.shortcut = conv1x1(in_channels, out_channels, stride) if changes_shape else None

    def forward(self, x: Tensor) -> Tensor:
        activated = F.relu(self.bn1(x))
        out = self.conv2(F.relu(self.bn2(self.conv1(activated))))
        result: Tensor = out + (x if self.shortcut is None else self.shortcut(activated))
        return result


class WideResNet(nn.Module):
    """3x3 stem of `channels`, three stages of `blocks` blocks, BN, ReLU, the mean over the picture, one linear layer.

    The stages have `channels` (the paper: 16), twice and four times as many, which `width_mult` multiplies; it leaves
    the stem alone.
    """

    def __init__(self, blocks: int, width_mult: int, in_channels: int, num_classes: int, channels: int) -> None:
        super().__init__()
        widths = [channels * width_mult * times for times in STAGES]
        self.conv1 = conv3x3(in_channels, channels)
        self.stage1 = _stage(channels, widths[0], blocks, stride=1)
        self.stage2 = _stage(widths[0], widths[1], blocks, stride=2)
        self.stage3 = _stage(widths[1], widths[2], blocks, stride=2)
        self.bn = nn.BatchNorm2d(widths[2])
        self.linear = nn.Linear(widths[2], num_classes)
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        out = self.stage3(self.stage2(self.stage1(self.conv1(x))))
        logits: Tensor = self.linear(F.relu(self.bn(out)).mean(dim=(2, 3)))
        return logits


def build(layers: int, width_mult: int, in_channels: int, num_classes: int, channels: int = 16) -> WideResNet:
    """WRN-`layers`-`width_mult` with 6n + 4 `layers`."""
    return WideResNet((layers - 4) // 6, width_mult, in_channels, num_classes, channels)


def _stage(in_channels: int, out_channels: int, blocks: int, stride: int) -> nn.Sequential:
    first = WideBlock(in_channels, out_channels, stride)
    return nn.Sequential(first, *(WideBlock(out_channels, out_channels, 1) for _ in range(blocks - 1)))
