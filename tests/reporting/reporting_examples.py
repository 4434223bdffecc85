"""Invented results that resemble real ones: cells, tidy rows and scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mia.metrics import evaluate_scores
from mia.registry import ATTACKS

STRENGTHS = {"lira": 0.45, "lira_online": 0.45, "shokri_nn": 0.2, "samia": 0.3, "confidence": 0.25, "entropy": 0.1}
GRID = (("dense", 0.0), ("static", 0.8), ("static", 0.95), ("dpf", 0.8), ("dpf", 0.95))


def cell(method: str, sparsity: float, **changes: Any) -> dict[str, Any]:
    """One attacked cell."""
    experiment = method if method == "dense" else f"{method}_{sparsity:g}"
    return {
        "experiment": experiment,
        "method": method,
        "sparsity": sparsity,
        "dataset": "cifar10",
        "arch": "resnet",
        "layers": 20,
        "width_mult": 1,
        "seed": 0,
        "num_shadows": 16,
        "num_targets": 1,
        "train_accuracy": 0.99,
        "heldout_accuracy": 0.87,
        "test_accuracy": 0.88 - 0.05 * sparsity,
        "generalisation_gap": 0.12,
        "majority_baseline": 0.5,
        "reason": "",
        **changes,
    }


def row(experiment: str, attack: str, metric: str, value: float | None, **changes: Any) -> dict[str, Any]:
    """One tidy row; the suite is the registry's where it knows the attack."""
    method, _, sparsity = experiment.partition("_")
    return {
        "experiment": experiment,
        "method": method,
        "sparsity": float(sparsity or 0),
        "dataset": "cifar10",
        "arch": "resnet",
        "seed": 0,
        "suite": ATTACKS[attack].suite if attack in ATTACKS else "advanced",
        "attack": attack,
        "target": 0,
        "metric": metric,
        "value": value,
        "ci_low": None if value is None else value - 0.02,
        "ci_high": None if value is None else value + 0.02,
        "n_members": 500,
        "n_non_members": 500,
        **changes,
    }


def scores(strengths: dict[str, float], examples: int, targets: int, seed: int) -> list[dict[str, Any]]:
    """Scores of each target, members shifted upwards by each attack's strength; `loss` is a twin of `confidence`."""
    rng = np.random.default_rng(seed)
    records = []
    for _ in range(targets):
        membership = rng.permutation(np.arange(examples) % 2 == 0)
        shared = rng.standard_t(4, examples)
        record: dict[str, Any] = {"membership": membership}
        for attack, strength in strengths.items():
            own = 0.7 * shared + 0.5 * rng.standard_normal(examples)
            record[attack] = own + strength * membership * (1 + rng.random(examples))
        record["loss"] = np.arctan(record["confidence"])
        records.append(record)
    return records


def evaluation(
    grid: Sequence[tuple[str, float]] = GRID, examples: int = 1000, targets: int = 1
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], dict[str, list[dict[str, Any]]]]:
    """Cells, rows and scores of a whole evaluation."""
    cells = [cell(method, sparsity, num_targets=targets) for method, sparsity in grid]
    rows: list[dict[str, Any]] = []
    all_scores: dict[str, list[dict[str, Any]]] = {}
    for index, entry in enumerate(cells):
        shrink = 1 - 0.5 * entry["sparsity"] * (0.7 if entry["method"] == "dpf" else 1)
        strengths = {attack: strength * shrink for attack, strength in STRENGTHS.items()}
        records = scores(strengths, examples, targets, seed=index)
        all_scores[entry["experiment"]] = records
        for target, record in enumerate(records):
            for attack in [key for key in record if key != "membership"]:
                metrics = evaluate_scores(record[attack], record["membership"], 0.5, resamples=50)
                rows += [
                    row(entry["experiment"], attack, name, found.value, ci_low=found.ci_low, ci_high=found.ci_high)
                    | {"target": target}
                    for name, found in metrics.items()
                ]
    return cells, rows, all_scores
