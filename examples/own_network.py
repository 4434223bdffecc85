"""A network of your own: a function of the data's classes and channels.

python train.py --arch examples/own_network.py:small --dataset digits --epochs 40 --methods dense static
"""

from torch import nn


def small(num_classes, in_channels):
    """Three convolutions for pictures of any size; their weights are what is pruned, the last layer's are not."""
    layers, channels = [], in_channels
    for width in (16, 32, 32):
        layers += [nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
        channels = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * channels, num_classes))
