"""The architectures by name. Importing this module costs nothing: a builder is looked up when a model is asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pkgutil import resolve_name
from typing import TYPE_CHECKING

from configs.errors import UsageError

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Architecture:
    """One family of networks.

    `build` is "module:function" of a `(layers, width_mult, in_channels, num_classes) -> nn.Module`.
    `check(layers, width_mult)` raises UsageError, with the allowed form, where the family has no such network.
    `uses_width` says whether `--width-mult` means anything to the family; where not, only `default_width` is accepted.
    """

    build: str
    check: Callable[[int, int], None]
    default_layers: int
    default_width: int
    uses_width: bool


def check_resnet(layers: int, width_mult: int) -> None:
    """Refuse what is not 6n + 2 layers or a width below 1."""
    _check_depth("resnet", "6n+2: 8, 14, 20, 26, 32, 44, 56, 110, ...", layers, extra=2)
    _check_width(width_mult)


def check_wideresnet(layers: int, width_mult: int) -> None:
    """Refuse what is not 6n + 4 layers or a width below 1."""
    _check_depth("wideresnet", "6n+4: 10, 16, 22, 28, 34, 40, ...", layers, extra=4)
    _check_width(width_mult)


ARCHITECTURES = {
    "resnet": Architecture("models.resnet:build", check_resnet, default_layers=20, default_width=1, uses_width=True),
    "wideresnet": Architecture(
        "models.wideresnet:build", check_wideresnet, default_layers=28, default_width=2, uses_width=True
    ),
}


def check_architecture(arch: str, layers: int, width_mult: int) -> None:
    """Raise UsageError, naming the flag and what is allowed, where there is no such network."""
    if arch not in ARCHITECTURES:
        raise UsageError(f"--arch {arch}: unknown architecture; allowed: {', '.join(ARCHITECTURES)}")
    entry = ARCHITECTURES[arch]
    if not entry.uses_width and width_mult != entry.default_width:
        raise UsageError(f"--width-mult {width_mult}: {arch} has one width; allowed: {entry.default_width}")
    entry.check(layers, width_mult)


def build_model(arch: str, layers: int, width_mult: int, in_channels: int, num_classes: int) -> nn.Module:
    """A freshly initialised network, float32 on the CPU, [B, in_channels, H, W] -> logits [B, num_classes].

    H and W may be anything from 4 pixels up: features are averaged over what is left after two halvings.
    Weights are drawn from torch's global generator, so the caller's `torch.manual_seed` decides them.
    """
    check_architecture(arch, layers, width_mult)
    build: Callable[[int, int, int, int], nn.Module] = resolve_name(ARCHITECTURES[arch].build)
    return build(layers, width_mult, in_channels, num_classes)


def _check_depth(arch: str, allowed: str, layers: int, extra: int) -> None:
    if layers < 6 + extra or layers % 6 != extra:
        raise UsageError(f"--layers {layers}: {arch} needs {allowed}")


def _check_width(width_mult: int) -> None:
    if width_mult < 1:
        raise UsageError(f"--width-mult {width_mult}: out of range; allowed: 1 and above")
