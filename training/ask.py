"""Finished model to signals: asking it on its whole pool, or taking its cached answers where they still hold."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from artifacts.run_dir import RunDir, one_line
from artifacts.signals import QuerySettings, Signals, load_signals, save_signals
from configs.config import ExperimentConfig, Places
from configs.errors import RunError
from data.augment import Augmenter
from data.base import ImageData
from data.splits import Split
from pruning.weights import prunable_weights
from training.checkpoint import load_model
from training.device import pick_device, to_device
from training.inputs import open_data, open_split
from training.loop import new_model
from training.query import accuracy_and_loss, query

log = logging.getLogger(__name__)


def load_for_query(config: ExperimentConfig, data: ImageData, run: RunDir, device: torch.device) -> nn.Module:
    """The finished model of a run, in eval mode, float32, channels_last; RunError when its weights do not fit."""
    stored = load_model(run.model)
    model = new_model(config, data)
    if set(stored.masks) != set(prunable_weights(model)):
        raise RunError(f"{run.model} is of another architecture")
    try:
        model.load_state_dict(stored.weights)
    except RuntimeError as error:
        raise RunError(f"{run.model} does not fit {config.arch}: {one_line(error)[:160]}") from None
    return to_device(model, device).eval()


def ask(
    model: nn.Module,
    config: ExperimentConfig,
    data: ImageData,
    data_hash: str,
    split: Split,
    queries: QuerySettings,
    weights_hash: str,
    device: torch.device,
) -> Signals:
    """Query a model on its whole pool; the membership is the split that its training used."""
    labels = data.train_labels.numpy()[split.pool]
    augmenter = Augmenter("none", data.mean, data.std, data.image_size, device)
    logits, phis, noise = query(model, data.train_images[torch.from_numpy(split.pool)], labels, augmenter, queries)
    if not np.isfinite(logits).all():
        raise RunError(f"the model {config.method} {config.sparsity:g} gives outputs that are not finite")
    membership = split.membership[config.model_index]
    return Signals(split.pool, labels, membership, logits, phis, noise, weights_hash, data_hash, queries)


def ensure_signals(
    run: RunDir, config: ExperimentConfig, places: Places, device: str, queries: QuerySettings
) -> Signals:
    """The cached signals of a finished run, or new ones when the cache is missing, damaged or of other settings.

    Raises RunError when they cannot be had.
    """
    summary = run.read_summary()
    if run.signals.is_file():
        try:
            cached = load_signals(run.signals)
            if _answers(cached, summary, queries):
                return cached
            reason = "it was made from other weights, data or query settings"
        except RunError as error:
            reason = str(error)
        log.warning("querying %s again: %s", run.path, reason)
    data, data_hash = open_data(config, places.data_dir)
    if data_hash != summary["data_hash"]:
        raise RunError(f"{run.path} was trained on other data than --data-dir {places.data_dir} holds")
    split = open_split(config, data)
    if split.split_hash() != summary["split_hash"]:
        raise RunError(f"{run.path} was trained on another split than its configuration gives")
    where = pick_device(device)
    model = load_for_query(config, data, run, where)
    signals = ask(model, config, data, data_hash, split, queries, summary["hashes"][run.model.name], where)
    save_signals(run.signals, signals)
    return signals


def _answers(cached: Signals, summary: dict[str, Any], queries: QuerySettings) -> bool:
    return (
        cached.weights_hash == summary["hashes"]["best_model.pth"]
        and cached.data_hash == summary["data_hash"]
        and cached.settings.serves(queries)
    )


def member_figures(signals: Signals) -> dict[str, float | None]:
    """Accuracy and loss on members (train) and on the pool's other examples (held-out; None when there are none)."""
    figures: dict[str, float | None] = {}
    for name, side in (("train", signals.membership), ("heldout", ~signals.membership)):
        accuracy, loss = _figures_of(signals.logits, signals.labels, side)
        figures |= {f"{name}_accuracy": accuracy, f"{name}_loss": loss}
    return figures


def _figures_of(
    logits: NDArray[np.float32], labels: NDArray[np.int64], side: NDArray[np.bool_]
) -> tuple[float | None, float | None]:
    return accuracy_and_loss(logits[side], labels[side]) if side.any() else (None, None)
