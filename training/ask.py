"""Finished model to signals: asking it on its whole pool, or taking its cached answers where they still hold."""

from __future__ import annotations

import dataclasses
import logging
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from artifacts.atomic_writes import clear_temporaries
from artifacts.checkpoint import check_like, load_model
from artifacts.progress import step
from artifacts.run_dir import RunDir, one_line
from artifacts.signals import QuerySettings, Signals, load_signals, save_signals
from configs.errors import BadNumbers, RunError
from configs.experiment import ExperimentConfig
from configs.machine import Places
from data.augment import augmenter_for
from data.base import DataSet
from data.inputs import open_data, open_split
from data.splits import Split, draw_population, draw_probed
from pruning.narrow import fitted
from pruning.registry import narrows
from pruning.weights import prunable_weights
from training.device import pick_device, to_device
from training.networks import blank_model
from training.query import accuracy_and_loss, query, view_phi

log = logging.getLogger(__name__)


def load_for_query(
    config: ExperimentConfig, data: DataSet, run: RunDir, device: torch.device, weights_hash: str
) -> nn.Module:
    """The finished model of a run, in eval mode, float32, channels_last.

    RunError when its file is not the one with this sha256, when its weights do not fit, or when its network is code of
    the user's own that is not at hand. A network of this project is built without memory first, so that a configuration
    of any size costs nothing before its weights are there to fill it.
    """
    stored = load_model(run.model, weights_hash)
    model = blank_model(config, data)
    if narrows(config.method):
        model = fitted(model, stored.weights)
    try:
        check_like(stored.weights, model.state_dict())
        weights = prunable_weights(model, config.prune_layers or "conv")
        masks = {name: torch.empty(weight.shape, dtype=torch.bool, device="meta") for name, weight in weights.items()}
        check_like(stored.masks, masks)
    except RunError as error:
        raise RunError(f"{run.model} does not fit {config.arch}: {one_line(error)}") from None
    model.load_state_dict(stored.weights, assign=True)
    return to_device(model, device).eval()


def ask(
    model: nn.Module,
    config: ExperimentConfig,
    data: DataSet,
    data_hash: str,
    split: Split,
    queries: QuerySettings,
    weights_hash: str,
    device: torch.device,
) -> Signals:
    """Query a model on its whole pool; the membership is the split that its training used."""
    labels = data.train_labels.numpy()[split.pool]
    inputs = data.train_inputs[torch.from_numpy(split.pool)]
    probed = draw_probed(len(labels), queries.samia_examples, config.seed)
    if probed.all():
        queries = dataclasses.replace(queries, samia_examples=None)
    logits, phis, noise = query(model, inputs, labels, augmenter_for(data, "none", device), queries, probed)
    measured = (logits, phis, None if noise is None else noise[probed])
    if not all(np.isfinite(array).all() for array in measured if array is not None):
        raise BadNumbers("the trained model gives outputs that are not finite; lower --lr")
    return Signals(
        pool=split.pool,
        labels=labels,
        membership=split.membership[config.model_index],
        logits=logits,
        phi=phis,
        sensitivity=noise,
        weights_hash=weights_hash,
        data_hash=data_hash,
        settings=queries,
        audited=split.audited,
        population_phi=ask_population(model, data, queries, device) if queries.population else None,
    )


def ask_population(
    model: nn.Module, data: DataSet, queries: QuerySettings, device: torch.device
) -> NDArray[np.float32]:
    """phi [P, Q] of the population examples, through the same query views as the pool."""
    index = torch.from_numpy(draw_population(len(data.test_labels), queries.population))
    labels = data.test_labels[index].numpy()
    augmenter = augmenter_for(data, "none", device)
    return view_phi(model, data.test_inputs[index], labels, augmenter, queries.num_queries)


def ensure_signals(
    run: RunDir, config: ExperimentConfig, places: Places, device: str, queries: QuerySettings
) -> Signals:
    """The cached signals of a finished run, or new ones when the cache is missing, damaged or lacks an answer.

    What a sound cache holds beyond `queries` is kept, so that commands which ask for different things can alternate.
    Raises RunError when they cannot be had.
    """
    summary = run.read_summary()
    cached, wanted = _sound_cache(run, summary), queries
    if cached is not None:
        if cached.settings.serves(queries):
            return cached
        joined = cached.settings.joined(queries)
        cached, wanted = (cached, joined) if joined is not None else (None, queries)
        log.debug("asking %s what its cache lacks", run.path)
    data, data_hash = open_data(config, places.data_dir)
    if data_hash != summary["data_hash"]:
        raise RunError(f"{run.path} was trained on other data than --data-dir {places.data_dir} holds")
    split = open_split(config, data)
    if split.split_hash() != summary["split_hash"]:
        raise RunError(f"{run.path} was trained on another split than its configuration gives")
    step(f"querying {run.path}")
    where = pick_device(device)
    weights_hash = summary["hashes"][run.model.name]
    model = load_for_query(config, data, run, where, weights_hash)
    if cached is not None and dataclasses.replace(cached.settings, population=wanted.population) == wanted:
        population = ask_population(model, data, wanted, where)
        signals = dataclasses.replace(cached, settings=wanted, population_phi=population)
    else:
        signals = ask(model, config, data, data_hash, split, wanted, weights_hash, where)
    clear_temporaries(run.path, run.signals.name)
    save_signals(run.signals, signals)
    return signals


def _sound_cache(run: RunDir, summary: dict[str, Any]) -> Signals | None:
    """The cache of these very weights and data; None, with a word on why, where there is none."""
    if not run.signals.is_file():
        return None
    try:
        cached = load_signals(run.signals)
        if cached.weights_hash == summary["hashes"][run.model.name] and cached.data_hash == summary["data_hash"]:
            return cached
        reason = "it was made from other weights or data"
    except RunError as error:
        reason = str(error)
    log.warning("querying %s again: %s", run.path, reason)
    return None


def member_figures(signals: Signals, own: NDArray[np.bool_]) -> dict[str, float | None]:
    """Accuracy and loss on members (train) and on the other examples of `own` (held-out; None when there are none).

    own: bool [n], the part of the pool that this model is trained and held out on.
    """
    assert signals.logits is not None, "a trained model's own answers have them"
    figures: dict[str, float | None] = {}
    for name, side in (("train", signals.membership), ("heldout", ~signals.membership & own)):
        accuracy, loss = _figures_of(signals.logits, signals.labels, side)
        figures |= {f"{name}_accuracy": accuracy, f"{name}_loss": loss}
    return figures


def _figures_of(
    logits: NDArray[np.float32], labels: NDArray[np.int64], side: NDArray[np.bool_]
) -> tuple[float | None, float | None]:
    return accuracy_and_loss(logits[side], labels[side]) if side.any() else (None, None)
