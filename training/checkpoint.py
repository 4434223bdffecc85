"""Saving and loading of training states and final models."""

from __future__ import annotations

import dataclasses
import pickle
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from artifacts.files import write_atomic
from artifacts.run_dir import one_line
from configs.errors import RunError

FORMAT = 1


@dataclasses.dataclass(frozen=True)
class TrainedModel:
    """What the attacks evaluate: masked weights (and BatchNorm statistics) and the masks (bool, True = kept)."""

    weights: dict[str, Tensor]
    masks: dict[str, Tensor]


def save_torch(path: Path, content: dict[str, Any]) -> str:
    """Write atomically; returns the sha256."""
    return write_atomic(path, lambda stream: torch.save({"format": FORMAT, **content}, stream))


def load_torch(path: Path, keys: tuple[str, ...]) -> dict[str, Any]:
    """Load a file of tensors and plain values on the CPU; RunError in one line when it is damaged or foreign.

    `weights_only=True` is passed explicitly: torch's default can be turned off from outside.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, pickle.UnpicklingError, EOFError, ValueError, KeyError, AttributeError) as error:
        raise RunError(f"{path} cannot be loaded as a checkpoint ({one_line(error)[:120]})") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT or not all(key in content for key in keys):
        raise RunError(f"{path} is not a checkpoint of this project")
    return content


def save_model(path: Path, model: TrainedModel, fingerprint: str) -> str:
    """Write `best_model.pth`; returns the sha256."""
    return save_torch(path, {"fingerprint": fingerprint, "weights": model.weights, "masks": model.masks})


def load_model(path: Path) -> TrainedModel:
    """Read `best_model.pth`."""
    content = load_torch(path, ("fingerprint", "weights", "masks"))
    return TrainedModel(content["weights"], content["masks"])


def load_start_weights(path: Path) -> dict[str, Tensor]:
    """Weights to start from: a `best_model.pth`, or a plain state dict made by any framework code."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, pickle.UnpicklingError, EOFError, ValueError, KeyError, AttributeError) as error:
        raise RunError(f"--pretrained {path} cannot be loaded ({one_line(error)[:120]})") from None
    weights = content.get("weights", content.get("state_dict", content)) if isinstance(content, dict) else None
    if not isinstance(weights, dict) or not all(isinstance(value, Tensor) for value in weights.values()):
        raise RunError(f"--pretrained {path} holds no state dict")
    return weights
