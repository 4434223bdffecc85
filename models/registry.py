"""The architectures by name. A new one is a file with a builder, and one line here.

Beside them stand those of libraries (`torchvision:NAME`) and functions in files of the user's own. Importing this
module costs nothing: a builder is looked up when a model is asked for.
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pkgutil import resolve_name
from typing import TYPE_CHECKING

from configs import own_code
from configs.errors import RunError, UsageError

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Architecture:
    """One family of networks.

    build: "module:function" of a function `(in_channels, num_classes) -> nn.Module`, which also takes `layers` and
    `width_mult` where the family has a choice of them, and `channels`, `in_features` in the place of `in_channels`
    where it is one for tables, and `name` where it is a library of them.
    layers: the depth where none is given; None for a family without a choice. depths: (smallest, step) of its depths.
    width_mult: the same for the channel multiplier, which is then any whole number from 1 up; channels: for the
    channels of the first stage, which all widths are multiples of. summary: a line for the README. tables: whether it
    takes rows of numbers, and pictures as such rows; the others take pictures alone. prune_layers: which layers are
    pruned where nobody says (`pruning.weights.prunable_weights`).
    """

    build: str
    summary: str
    layers: int | None = None
    depths: tuple[int, int] = (1, 1)
    width_mult: int | None = None
    channels: int | None = None
    tables: bool = False
    prune_layers: str = "conv"
    name: str | None = None

    def inputs_of(self, shape: Sequence[int]) -> int:
        """What `build` is told of examples of this shape, [C, H, H] or [F]: their channels, or how many numbers."""
        return math.prod(shape) if self.tables else shape[0]

    def arguments(
        self, layers: int | None, width_mult: int | None, inputs: int, num_classes: int, channels: int | None = None
    ) -> dict[str, int | str]:
        """What `build` is called with, by name; inputs: of `inputs_of`."""
        given = {
            "name": self.name,
            "layers": layers,
            "width_mult": width_mult,
            "in_features" if self.tables else "in_channels": inputs,
            "num_classes": num_classes,
            "channels": channels,
        }
        return {name: value for name, value in given.items() if value is not None}


ARCHITECTURES = {
    "resnet": Architecture(
        "models.resnet:build",
        "the CIFAR ResNets: 6n+2 `--layers`",
        layers=20,
        depths=(8, 6),
        width_mult=1,
        channels=16,
    ),
    "wideresnet": Architecture(
        "models.wideresnet:build",
        "wide residual networks: 6n+4 `--layers`",
        layers=28,
        depths=(10, 6),
        width_mult=2,
        channels=16,
    ),
    "resnet18": Architecture("models.resnet18:build", "ResNet-18 for small pictures: 3x3 stem, 64 to 512 channels"),
    "vgg16": Architecture(
        "models.vgg16:build", "VGG-16 for small pictures: BatchNorm, and one linear layer as its head"
    ),
    "mlp": Architecture(
        "models.mlp:build",
        "for tables: 2 or more linear `--layers`, hidden ones of 1024, 512, 256 and 128 with 5",
        layers=5,
        depths=(2, 1),
        width_mult=1,
        tables=True,
        prune_layers="all",
    ),
}


LIBRARIES = {"torchvision": "models.libraries:torchvision_network", "timm": "models.libraries:timm_network"}


LIBRARY_FORM = re.compile(rf"({'|'.join(LIBRARIES)}):([A-Za-z0-9_.]{{1,60}})")


OWN = Architecture("", "in a file of the user's own")


def entry_of(arch: str) -> Architecture | None:
    """What is declared of an architecture; None of one in a file of the user's own, which has neither depth nor width.

    A network of a library has neither as well.
    """
    of_library = LIBRARY_FORM.fullmatch(arch)
    if of_library is not None:
        return Architecture(LIBRARIES[of_library[1]], "", name=of_library[2])
    return ARCHITECTURES.get(arch)


def add_own(given: str, flag: str) -> str:
    """Take up the function that the command names as FILE.py:function; returns the architecture's name.

    UsageError as `own_code.load`, and where it cannot be called as one.
    """
    code = own_code.load(given, flag, ARCHITECTURES)
    name = given.rpartition(":")[2]
    if not callable(code.found):
        raise UsageError(f"argument {flag}: {code.place}: {name} is no function (num_classes, in_channels)")
    try:
        inspect.signature(code.found).bind(num_classes=2, in_channels=3)
    except (TypeError, ValueError):
        raise UsageError(
            f"argument {flag}: {code.place}: {name} must be callable as {name}(num_classes=..., in_channels=...)"
        ) from None
    return code.name


def completed(arch: str, layers: int | None, width_mult: int | None) -> tuple[int | None, int | None]:
    """Depth and channel multiplier of a network, the family's own where they are None.

    UsageError, naming the flag and what is allowed, where there is no such network.
    """
    entry = entry_of(arch)
    if entry is None and own_code.named(arch) is None:
        raise UsageError(f"--arch {arch}: unknown architecture; allowed: {', '.join(ARCHITECTURES)}")
    entry = entry or OWN
    if layers is not None and entry.layers is None:
        raise UsageError(f"--layers {layers}: {arch} has one depth; leave the flag out")
    if width_mult is not None and entry.width_mult is None:
        raise UsageError(f"--width-mult {width_mult}: {arch} has one width; leave the flag out")
    layers = entry.layers if layers is None else layers
    width_mult = entry.width_mult if width_mult is None else width_mult
    smallest, step = entry.depths
    if layers is not None and (layers < smallest or (layers - smallest) % step):
        some = ", ".join(str(smallest + step * i) for i in range(4))
        form = f"{step}n+{smallest % step}: " if step > 1 else ""
        raise UsageError(f"--layers {layers}: {arch} needs {form}{some}, ...")
    if width_mult is not None and width_mult < 1:
        raise UsageError(f"--width-mult {width_mult}: out of range; allowed: 1 and above")
    return layers, width_mult


def other_channels(arch: str, channels: int | None) -> int | None:
    """Channels of the first stage where they are not the family's own, else None. UsageError as of `completed`."""
    own = (entry_of(arch) or OWN).channels
    if channels is not None and own is None:
        raise UsageError(f"--channels {channels}: {arch} has no choice of them; leave the flag out")
    return None if channels == own else channels


def build_model(
    arch: str,
    layers: int | None,
    width_mult: int | None,
    inputs: int,
    num_classes: int,
    channels: int | None = None,
) -> nn.Module:
    """A freshly initialised network, float32 on the CPU, [B, inputs, H, W] -> logits [B, num_classes].

    H and W may be anything from 4 pixels up: features are averaged over what is left after the halvings.
    A network for tables takes [B, ...] with `inputs` numbers in all behind the first axis (`Architecture.inputs_of`).
    layers, width_mult, channels (of the first stage): None for the family's own. Weights are drawn from torch's global
    generator, so the caller's `torch.manual_seed` decides them.
    """
    layers, width_mult = completed(arch, layers, width_mult)
    entry = entry_of(arch)
    assert entry is not None, "a network of the user's own is built by `build_own`"
    build: Callable[..., nn.Module] = resolve_name(entry.build)
    channels = other_channels(arch, channels)
    return build(**entry.arguments(layers, width_mult, inputs, num_classes, channels))


def build_own(arch: str, path: str, sha256: str, in_channels: int, num_classes: int) -> nn.Module:
    """The same by the function of a file with this sha256. RunError where that is not at hand (`own_code.trusted`)."""
    try:
        code = own_code.trusted(arch, path, sha256)
    except UsageError as error:
        raise RunError(str(error)) from None
    model: nn.Module = code.found(num_classes=num_classes, in_channels=in_channels)
    return model
