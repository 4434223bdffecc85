"""Networks of torchvision and timm by name, never with trained weights, for pictures with any number of channels."""

from __future__ import annotations

from torch import nn

from configs.errors import UsageError


def torchvision_network(name: str, in_channels: int, num_classes: int) -> nn.Module:
    """`torchvision.models.get_model` for so many classes. Where pictures do not have the 3 channels that these networks
    take, the first convolution is replaced by one that differs in nothing else."""
    from torchvision import models

    if name not in models.list_models(module=models):
        raise UsageError(f"--arch torchvision:{name}: torchvision has no classifier of this name")
    model: nn.Module = models.get_model(name, weights=None, num_classes=num_classes)
    if in_channels != 3:
        _replace_first_convolution(model, in_channels)
    return model


def timm_network(name: str, in_channels: int, num_classes: int) -> nn.Module:
    """`timm.create_model` for so many channels and classes. UsageError where timm, an optional package, is missing."""
    try:
        import timm
    except ImportError:
        raise UsageError(
            f"--arch timm:{name}: timm is not installed; pip install timm, or give torchvision:NAME"
        ) from None
    if not timm.is_model(name):
        raise UsageError(f"--arch timm:{name}: timm has no network of this name")
    model: nn.Module = timm.create_model(name, pretrained=False, in_chans=in_channels, num_classes=num_classes)
    return model


def _replace_first_convolution(model: nn.Module, in_channels: int) -> None:
    name, first = next((name, part) for name, part in model.named_modules() if isinstance(part, nn.Conv2d))
    settings = {key: getattr(first, key) for key in ("kernel_size", "stride", "padding", "dilation", "padding_mode")}
    parent, _, child = name.rpartition(".")
    new = nn.Conv2d(in_channels, first.out_channels, bias=first.bias is not None, **settings)
    setattr(model.get_submodule(parent), child, new)
