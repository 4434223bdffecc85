"""Invented results that resemble real ones: single records, and whole results folders."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from attacks.metrics import FPR_LIMITS, METRICS
from attacks.registry import ATTACKS
from reporting.tables import EVIDENCE_TABLES, write_table

GRID = (("dense", 0.0), ("static", 0.8), ("static", 0.95), ("dpf", 0.8), ("dpf", 0.95))
SHOWN = ("lira", "lira_online", "rmia", "samia", "loss")


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
        "split": "balanced",
        "num_shadows": 16,
        "num_targets": 1,
        "num_examples": 4000,
        "finished_models": 17,
        "planned_models": 17,
        "train_accuracy": 0.99,
        "heldout_accuracy": 0.87,
        "test_accuracy": 0.88 - 0.06 * sparsity,
        "generalisation_gap": 0.12,
        "majority_baseline": 0.5,
        "fingerprint": "0" * 64,
        "weights_hash": "1e10" * 16,
        "data_hash": "2" * 64,
        "split_hash": "3" * 64,
        "reason": "",
        **changes,
    }


def row(experiment: str, attack: str, metric: str, mean: float | None, **changes: Any) -> dict[str, Any]:
    """One summary row; the suite is the registry's where it knows the attack."""
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
        "metric": metric,
        "mean": mean,
        "sd": None,
        "ci_low": None if mean is None else mean - 0.02,
        "ci_high": None if mean is None else mean + 0.02,
        "num_targets": 1,
        "false_positives": None,
        "expected_fpr": None,
        "tied": 0.0,
        **changes,
    }


def summary_of(cells: Sequence[dict[str, Any]], targets: int = 1) -> list[dict[str, Any]]:
    """Every metric of SHOWN on every cell: pruning leaks less, TPR at 0.1 % FPR undefined."""
    rows = []
    for one in cells:
        for i, attack in enumerate(SHOWN):
            auc = 0.5 + 0.02 * (8 - i) * (1 - 0.6 * one["sparsity"])
            for metric in METRICS:
                mean = None if metric == "tpr_at_fpr_0.001" else auc - 0.45 if metric in FPR_LIMITS else auc
                setting = {name: one[name] for name in ("experiment", "method", "sparsity", "dataset", "arch", "seed")}
                rows.append({**row("dense", attack, metric, mean, num_targets=targets), **setting})
    return rows


def compared(a: dict[str, Any], b: dict[str, Any], kind: str, **changes: Any) -> dict[str, Any]:
    """One row of comparisons.csv."""
    return {
        "kind": kind,
        **{f"{name}_{side}": one[name] for side, one in (("a", a), ("b", b)) for name in _SIDE},
        **{f"test_accuracy_{side}": one["test_accuracy"] for side, one in (("a", a), ("b", b))},
        "attack": "lira",
        "metric": "auc",
        "difference": -0.05,
        "ci_low": -0.07,
        "ci_high": -0.03,
        "p_value": 1e-5,
        "family": "exploratory" if kind == "neighbouring_sparsity" else "primary",
        "p_holm": 1e-4,
        "detectable": 0.028,
        "num_targets": 9,
        "num_models": 17,
        "n": 4000,
        "accuracy_difference": a["test_accuracy"] - b["test_accuracy"],
        **changes,
    }


_SIDE = ("experiment", "method", "sparsity")


def write_results(
    folder: Path, grid: Sequence[tuple[str, float]] = GRID, targets: int = 1, **changes: Any
) -> list[dict[str, Any]]:
    """A complete results folder; returns its cells. changes: of every cell."""
    cells = [cell(method, sparsity, num_targets=targets, **changes) for method, sparsity in grid]
    write_folder(folder, cells, targets)
    return cells


def write_folder(folder: Path, cells: Sequence[dict[str, Any]], targets: int = 1) -> None:
    """The files of an evaluation of these cells; those with a reason have no figures."""
    attacked = [one for one in cells if not one["reason"]]
    tables: dict[str, list[dict[str, Any]]] = {name: [] for name in EVIDENCE_TABLES}
    tables["cells"], tables["summary"] = list(cells), summary_of(attacked, targets)
    rates = np.geomspace(1e-3, 1.0, 40)
    pictures = {}
    for i, one in enumerate(attacked):
        name = one["experiment"]
        tables["roc"] += [
            {"experiment": name, "attack": attack, "fpr": fpr, "tpr": fpr ** (0.7 + 0.05 * j)}
            for j, attack in enumerate(SHOWN)
            for fpr in rates
        ]
        tables["exposed"] += [
            {"experiment": name, "rank": k, "index": 10 * i + k, "label": k % 3, "class_name": f"class {k % 3}",
             "exposure": 9.0 - k}
            for k in range(1, 5)
        ]  # fmt: skip
        pictures[name] = np.random.default_rng(i).integers(0, 256, (4, 8, 8, 3), dtype=np.uint8)
        for other in attacked if len(attacked) > 1 else ():
            sides = {
                f"{side}_{key}": which[key] for side, which in (("target", one), ("shadows", other)) for key in _SIDE
            }
            for attack in ("lira", "loss"):
                tables["transfer"].append(
                    {**sides, "attack": attack, "metric": "auc", "mean": 0.55, "ci_low": 0.5, "ci_high": 0.6,
                     "num_targets": targets}
                )  # fmt: skip
    for b, a in combinations(attacked, 2):
        kind = "against_dense" if b["method"] == "dense" else "neighbouring_sparsity"
        kind = "same_sparsity" if a["sparsity"] == b["sparsity"] else kind
        lost = {"p_value": 0.4, "p_holm": 1.0, "ci_low": -0.09} if kind == "same_sparsity" else {}
        tested = {} if targets > 1 else {"p_value": None, "p_holm": None, "detectable": None}
        tables["comparisons"].append(compared(a, b, kind, **{**lost, **tested}, num_targets=targets))
    tables["exposure"] = [
        {"kind": "reliability", "experiment_a": one["experiment"], "train_seed_a": 0, "reason": "trained once"}
        for one in attacked
    ]
    for name, columns in EVIDENCE_TABLES.items():
        write_table(folder / f"{name}.csv", tables[name], columns)
    np.savez(folder / "exposed_pictures.npz", allow_pickle=False, **pictures)
    about = {"versions": {"project": "0"}, "options": {"attacks": ["lira"]}, "machine": {"device": "cpu"}}
    (folder / "evaluation.json").write_text(json.dumps({**about, "problems": [], "left_out": []}))


def words_of(page: Path) -> str:
    """A report's text: styles, script and tags removed, white space folded."""
    body = re.sub(r"<(style|script)\b.*?</\1>", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    body = re.sub(r"</?a\b[^>]*>", "", body)  # a link is a part of its sentence
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", body)).split())
