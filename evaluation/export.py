"""A finished network for use elsewhere: a small sparse file, a plain state dict, and a model card beside them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from artifacts.atomic_writes import file_hash, write_atomic, write_text
from artifacts.checkpoint import load_model
from artifacts.run_dir import CARD_FILE, DENSE_FILE, MODEL_FILE, SPARSE_FILE, RunDir
from artifacts.sparse import save_sparse
from configs.errors import RunError
from configs.experiment import RECIPE, ExperimentConfig
from data.base import DataSet
from data.inputs import open_data
from models.registry import OWN, entry_of
from reporting.card import Card, write_card
from reporting.tables import EVIDENCE_TABLES, read_table
from training.ask import load_for_query


@dataclass(frozen=True)
class Exported:
    """The three files that were written."""

    sparse: Path
    dense: Path
    card: Path


def export_run(run: RunDir, data_dir: str, results_dir: Path) -> Exported:
    """Write the export of a finished run into its folder `export/`, replacing an earlier one.

    data_dir: where the data set is, of which the card and the header need class names and normalisation. results_dir:
    of the evaluation whose figures the card quotes, if it attacked these very weights. RunError or UsageError, one
    line, where the run is not finished or its files or data are not what it was trained with.
    """
    if not run.summary.is_file():
        raise RunError(f"{run.path} cannot be exported: it is not finished")
    damage = run.damage()
    if damage is not None:
        raise RunError(f"{run.path} cannot be exported: {damage}")
    config, summary = run.read_config(), run.read_summary()
    data, data_hash = open_data(config, data_dir)
    if data_hash != summary["data_hash"]:
        raise RunError(f"{run.path} cannot be exported: --data-dir {data_dir} holds other data than it was trained on")
    load_for_query(
        config, data, run, torch.device("cpu"), summary["hashes"][MODEL_FILE]
    )  # refuses weights that are not of this architecture
    stored = load_model(run.model)
    masks = {name: mask.numpy() for name, mask in stored.masks.items() if not mask.all()}
    tensors = {name: _canonical(value, masks.get(name)) for name, value in stored.weights.items()}
    about = describe(config, data, summary)
    files = Exported(run.export / SPARSE_FILE, run.export / DENSE_FILE, run.export / CARD_FILE)
    hashes = {
        SPARSE_FILE: save_sparse(files.sparse, tensors, masks, about),
        DENSE_FILE: _save_dense(files.dense, tensors),
        MODEL_FILE: file_hash(run.model),
    }
    sizes = {path.name: path.stat().st_size for path in (files.sparse, files.dense)}
    shapes = {name: list(value.shape) for name, value in tensors.items()}
    attacks = attack_rows(results_dir, summary["hashes"][MODEL_FILE])
    card = Card(about, recipe(config), summary, data.class_names, shapes, sizes, hashes, attacks)
    write_text(files.card, write_card(card))
    return files


def describe(config: ExperimentConfig, data: DataSet, summary: dict[str, Any]) -> dict[str, Any]:
    """What someone needs to rebuild the network and to feed it, as JSON can say it."""
    return {
        "experiment": summary["experiment"],
        "fingerprint": summary["fingerprint"],
        "method": config.method,
        "sparsity": summary["measured_sparsity"],
        "arch": config.arch,
        **({} if config.arch_hash is None else {"arch_hash": config.arch_hash}),
        "layers": config.layers,
        "width_mult": config.width_mult,
        "prune_layers": config.prune_layers,
        "inputs": (entry_of(config.arch) or OWN).inputs_of(data.example_shape),
        "channels": config.channels,
        "num_classes": data.num_classes,
        "example_shape": list(data.example_shape),
        "mean": list(data.mean),
        "std": list(data.std),
        "dataset": config.dataset_name,
        "seed": config.seed,
        "train_seed": config.train_seed,
        "data_hash": summary["data_hash"],
    }


def recipe(config: ExperimentConfig) -> dict[str, Any]:
    """How the network was trained, as its card says it: RECIPE, its method's knobs and both seeds."""
    described = config.described()
    return {name: described[name] for name in (*RECIPE, *config.knobs.names(), "seed", "train_seed")}


def _canonical(value: Tensor, mask: NDArray[np.bool_] | None) -> NDArray[Any]:
    """The tensor's bits, but +0.0 for a dropped weight: training leaves -0.0 where it dropped a negative one."""
    array: NDArray[Any] = value.contiguous().numpy()
    return array if mask is None else np.where(mask, array, array.dtype.type(0))


def _save_dense(path: Path, tensors: dict[str, NDArray[Any]]) -> str:
    """A plain state dict; returns the sha256."""
    state = {name: torch.from_numpy(np.array(value)) for name, value in tensors.items()}
    return write_atomic(path, lambda stream: torch.save(state, stream))


def attack_rows(results_dir: Path, weights_hash: str) -> list[dict[str, Any]] | None:
    """Rows of summary.csv on the cell whose target has these weights; None where no evaluation attacked them."""
    if not (results_dir / "cells.csv").is_file():
        return None
    cells = read_table(results_dir / "cells.csv", EVIDENCE_TABLES["cells"])
    own = cells[(cells["weights_hash"] == weights_hash) & (cells["num_targets"] > 0)]
    if own.empty:
        return None
    summary = read_table(results_dir / "summary.csv", EVIDENCE_TABLES["summary"])
    rows = summary[summary["experiment"] == own.iloc[0]["experiment"]].to_dict("records")
    return [{**row, "num_shadows": int(own.iloc[0]["num_shadows"])} for row in rows]
