"""What the report is drawn from: the files of a results folder, and nothing else."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from artifacts.arrays import read_arrays
from artifacts.atomic_writes import file_hash, read_json
from artifacts.missing import check_results
from attacks.registry import ATTACKS, SUITE_OF_OWN, Attack, headline_of
from attacks.registry import add_own as add_attack
from configs.errors import RunError, UsageError
from configs.experiment import SETTING
from pruning.registry import add_stored, own_methods
from reporting.tables import ADDED_TABLES, EVIDENCE_TABLES, is_superseded, read_table

ABOUT, PICTURES = "evaluation.json", "exposed_pictures.npz"
# The objects in evaluation.json, by name.
PARTS = ("versions", "options", "machine", "unavailable", "notes", "inputs", "files", "own_methods", "own_attacks")


@dataclass(frozen=True, eq=False)
class Inputs:
    """The tables by name (`reporting.tables.EVIDENCE_TABLES`, without tidy and examples), the most exposed pictures by
    experiment (uint8 [k, H, W, ch]), and evaluation.json. superseded: the tables of which nothing is told any more."""

    tables: dict[str, pd.DataFrame]
    pictures: dict[str, npt.NDArray[np.uint8]]
    about: dict[str, Any]
    superseded: frozenset[str] = frozenset()

    @property
    def cells(self) -> pd.DataFrame:
        return self.tables["cells"]

    def of(self, name: str, experiments: list[str], *columns: str) -> pd.DataFrame:
        """The rows of a table whose `columns` (default: experiment) all name one of these experiments."""
        frame = self.tables[name]
        kept = frame[list(columns or ("experiment",))].isin(experiments).all(axis=1)
        chosen: pd.DataFrame = frame[kept]
        return chosen

    def of_releases(self, experiments: list[str]) -> pd.DataFrame:
        """The rows of releases.csv of which every network is among these experiments."""
        frame = self.tables["releases"]
        inside = [set(names.split(" + ")) <= set(experiments) for names in frame["experiments"]]
        chosen: pd.DataFrame = frame[np.array(inside, dtype=np.bool_)]
        return chosen

    def comparisons(self, experiments: list[str]) -> pd.DataFrame:
        """Those among these experiments, and those of one of them with a cell of another setting."""
        frame = self.tables["comparisons"]
        inside = frame["experiment_b"].isin(experiments) | (frame["kind"] == "other_recipe")
        chosen: pd.DataFrame = frame[frame["experiment_a"].isin(experiments) & inside]
        return chosen


def read_inputs(results_dir: Path) -> Inputs:
    """Read a results folder. UsageError, one line, where it holds no evaluation."""
    check_results(results_dir)
    about = read_about(results_dir / ABOUT)
    _know_own(about, results_dir / ABOUT)
    names = [name for name in EVIDENCE_TABLES if name not in ("tidy", "examples")]
    for file in (*(f"{name}.csv" for name in names), PICTURES):
        _verify(results_dir / file, about)
    unknown = {name for name in ADDED_TABLES if f"{name}.csv" not in about["files"]}
    known = [name for name in names if name not in unknown or (results_dir / f"{name}.csv").is_file()]
    tables = {name: read_table(results_dir / f"{name}.csv", EVIDENCE_TABLES[name]) for name in known}
    tables |= {name: pd.DataFrame(columns=list(EVIDENCE_TABLES[name])) for name in unknown - set(known)}
    superseded = [name for name in known if is_superseded(results_dir / f"{name}.csv", EVIDENCE_TABLES[name])]
    return Inputs(tables, _pictures(results_dir / PICTURES), about, frozenset(superseded))


def own_parts() -> dict[str, dict[str, Any]]:
    """For evaluation.json: what a report has to know of the user's own methods and attacks, without their code."""
    attacks = {
        name: {
            "title": attack.title,
            "variants": list(attack.variants),
            "trains_network": attack.trains_network,
            **(attack.source or {}),
        }
        for name, attack in ATTACKS.items()
        if attack.suite == SUITE_OF_OWN
    }
    methods = {name: {"knobs": sorted(knobs)} for name, knobs in own_methods().items()}
    return {"own_methods": methods, "own_attacks": attacks}


def _know_own(about: dict[str, Any], path: Path) -> None:
    """Take up what `own_parts` wrote."""
    try:
        for name, said in about["own_methods"].items():
            add_stored(str(name), tuple(map(str, said["knobs"])))
        for name, said in about["own_attacks"].items():
            if name not in ATTACKS:
                title, variants = str(said["title"]), tuple(map(str, said["variants"]))
                trains = said["trains_network"] is True
                add_attack(Attack(name, SUITE_OF_OWN, title, "", 0, variants, trains_network=trains))
    except (KeyError, TypeError, AttributeError):
        raise UsageError(f"{path} is not as the evaluation wrote it; evaluate again") from None


def _verify(path: Path, about: dict[str, Any]) -> None:
    """UsageError where a file is not the one that the evaluation wrote; earlier versions did not record which."""
    recorded = about["files"].get(path.name)
    if recorded is not None and path.is_file() and file_hash(path) != recorded:
        raise UsageError(f"{path} is not as the evaluation wrote it (its hash differs); evaluate again")


def _pictures(path: Path) -> dict[str, npt.NDArray[np.uint8]]:
    if not path.is_file():
        return {}
    try:
        pictures = read_arrays(path)
    except RunError as error:
        raise UsageError(f"{error}; evaluate again, or delete it") from None
    if any(array.dtype != np.uint8 or array.ndim != 4 for array in pictures.values()):
        raise UsageError(f"{path} holds no pictures; evaluate again, or delete it")
    return {name: array.astype(np.uint8, copy=False) for name, array in pictures.items()}


def read_about(path: Path) -> dict[str, Any]:
    """evaluation.json, with every part that an earlier version left out. UsageError unless it is as it was written."""
    try:
        about = read_json(path)
    except (OSError, UsageError):
        raise UsageError(f"{path} cannot be read; evaluate again") from None
    if not isinstance(about, dict):
        raise UsageError(f"{path} must hold one JSON object; evaluate again")
    # Earlier versions recorded neither.
    sealed = about_digest(about) if "files" in about else None
    whole: dict[str, Any] = {**{name: {} for name in PARTS}, "problems": [], "left_out": [], **about}
    sound = about.get("digest") == sealed and all(isinstance(whole[name], dict) for name in PARTS)
    lines = [*whole["unavailable"].values(), *whole["notes"].values()] if sound else []
    sound = sound and all(isinstance(reasons, dict) for reasons in lines)
    if not sound or not all(isinstance(whole[name], list) for name in ("problems", "left_out")):
        raise UsageError(f"{path} is not as the evaluation wrote it; evaluate again")
    return whole


def about_digest(about: dict[str, Any]) -> str:
    """sha256 of the canonical JSON of evaluation.json without this digest."""
    rest = {name: value for name, value in about.items() if name != "digest"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def settings_of(cells: pd.DataFrame) -> list[list[str]]:
    """The experiments of each data set, architecture, seed and split, in the order of the table."""
    groups: dict[str, list[str]] = {}
    for _, cell in cells.iterrows():
        groups.setdefault(str([cell[name] for name in SETTING]), []).append(cell["experiment"])
    return list(groups.values())


def headline_attack(summary: pd.DataFrame) -> str | None:
    """The attack that sentences and single-attack figures speak of, of those that have an AUC."""
    return headline_of(summary["attack"][(summary["metric"] == "auc") & summary["mean"].notna()])
