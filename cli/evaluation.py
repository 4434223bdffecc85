"""Attacking every cell of a runs directory and writing what came out: shared by train.py and the mia scripts."""

from __future__ import annotations

import argparse
import dataclasses
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from tqdm import tqdm

from artifacts.files import write_atomic
from cli.main import DONE, FAILED, SOME_FAILED
from configs.config import AttackOptions, Places
from configs.errors import RunError, UsageError
from configs.knobs import from_args
from mia.evaluate import evaluate_target
from mia.interface import AttackSettings, from_models
from mia.registry import ATTACKS
from reporting import plots, tables
from sweep.cells import Cell, CellSignals, load_cell, queries_of
from sweep.local import cores
from training.device import pick_device
from training.tracking import Tracker

log = logging.getLogger(__name__)
SUITE_FOLDERS = ("advanced", "wemem")
AVERAGED = ("train_accuracy", "heldout_accuracy", "test_accuracy")


@dataclasses.dataclass
class Results:
    """Everything an evaluation found.

    cells: a row a cell, attacked or not. rows: a row a cell x attack x target x metric. scores: per experiment and
    target the membership and each attack's scores. problems: what could not be used, in words.
    """

    cells: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    rows: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    scores: dict[str, list[dict[str, Any]]] = dataclasses.field(default_factory=dict)
    indices: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
    problems: list[str] = dataclasses.field(default_factory=list)


def attack_names(options: AttackOptions, suites: Sequence[str]) -> list[str]:
    """The attacks to run: those asked for, or all of the script's suites."""
    if options.attacks is None:
        return [name for name, attack in ATTACKS.items() if attack.suite in suites]
    outside = [name for name in options.attacks if ATTACKS[name].suite not in suites]
    if outside:
        allowed = ", ".join(name for name, attack in ATTACKS.items() if attack.suite in suites)
        raise UsageError(f"argument --attacks: {outside[0]} is not in this suite; choose from {allowed}")
    return list(dict.fromkeys(options.attacks))


def check_shadows(options: AttackOptions, num_shadows: int, what: str) -> None:
    """Refuse an attack asked for by name that this many shadows cannot serve."""
    for name in options.attacks or ():
        needed = ATTACKS[name].min_shadows
        if num_shadows < needed:
            raise UsageError(
                f"argument --attacks: {name} needs at least {needed} shadow models and {what} has {num_shadows}; "
                f"train them with --num-shadows {needed} or more"
            )


def evaluate(
    cells: Sequence[Cell], names: Sequence[str], options: AttackOptions, places: Places, device: str
) -> Results:
    """Attack every cell that can be attacked; the others stay in the tables with the reason."""
    results = Results()
    bar = tqdm(cells, desc="attacking", unit="cell", disable=not sys.stderr.isatty(), file=sys.stderr, leave=False)
    for cell in bar:
        bar.set_postfix_str(cell.experiment)
        reason = cell.reason
        figures: list[dict[str, Any]] = []
        if not reason:
            try:
                figures = _attack_cell(cell, names, options, places, device, results)
            except RunError as error:
                reason = str(error)
        results.problems += cell.problems
        if cell.unfinished:
            log.warning("%s: %d of its models are not finished and were left out", cell.experiment, cell.unfinished)
        results.cells.append(_cell_row(cell, figures, reason))
    return results


def _attack_cell(
    cell: Cell, names: Sequence[str], options: AttackOptions, places: Places, device: str, results: Results
) -> list[dict[str, Any]]:
    samia = any(ATTACKS[name].needs_sensitivity for name in names) and cell.num_shadows > 0
    signals = load_cell(cell, places, device, queries_of(cell.config, options.num_queries, samia))
    _say_what_is_missing(cell, names)
    figures = []
    scores = []
    for position in range(min(options.num_targets, len(signals.indices))):
        settings = AttackSettings(options.attack_recipe, cell.config.seed, str(pick_device(device)))
        scores.append(_attack_target(cell, signals, position, names, settings, results))
        figures.append(cell.models[signals.indices[position]].read_summary())
    results.scores[cell.experiment] = scores
    results.indices[cell.experiment] = {"index": signals.pool, "label": signals.labels}
    return figures


def _attack_target(
    cell: Cell,
    signals: CellSignals,
    position: int,
    names: Sequence[str],
    settings: AttackSettings,
    results: Results,
) -> dict[str, Any]:
    inputs = from_models(
        signals.logits, signals.phi, signals.membership, signals.labels, position, settings.seed, signals.sensitivity
    )
    membership = signals.membership[position]
    evaluation = evaluate_target(inputs, membership, names, settings)
    head = _names_of(cell)
    results.rows += [{**head, **row, "target": signals.indices[position]} for row in evaluation.rows]
    return {"target": signals.indices[position], "membership": membership, **evaluation.scores}


def _names_of(cell: Cell) -> dict[str, Any]:
    config = cell.config
    setting = {
        "method": config.method,
        "sparsity": config.sparsity,
        "dataset": config.dataset_name,
        "arch": config.arch,
        "layers": config.layers,
        "width_mult": config.width_mult,
        "seed": config.seed,
    }
    return {"experiment": cell.experiment, **(setting if cell.readable else dict.fromkeys(setting))}


def _cell_row(cell: Cell, summaries: list[dict[str, Any]], reason: str) -> dict[str, Any]:
    known = summaries or [summary for summary in [cell.summary()] if summary is not None]
    row: dict[str, Any] = {**_names_of(cell), "num_shadows": cell.num_shadows, "num_targets": len(summaries)}
    for name in AVERAGED:
        values = [summary[name] for summary in known if summary[name] is not None]
        row[name] = float(np.mean(values)) if values else None
    both = row["train_accuracy"] is not None and row["heldout_accuracy"] is not None
    row["generalisation_gap"] = row["train_accuracy"] - row["heldout_accuracy"] if both else None
    shares = [summary["num_members"] / summary["num_pool"] for summary in known]
    row["majority_baseline"] = float(np.mean([max(share, 1 - share) for share in shares])) if shares else None
    return {**row, "reason": reason}


def _say_what_is_missing(cell: Cell, names: Sequence[str]) -> None:
    waiting = [name for name in names if ATTACKS[name].min_shadows > cell.num_shadows]
    if waiting:
        log.warning(
            "%s has %d shadow models: --num-shadows %d would add %s",
            cell.experiment,
            cell.num_shadows,
            max(8, cell.config.num_shadows),
            ", ".join(waiting),
        )


def write_results(results: Results, results_dir: Path, wide_file: Path) -> list[Path]:
    """Tidy table, means over targets, wide table, per-example scores and figures; returns the figures' paths."""
    tables.write_tidy(results_dir / "tidy.csv", results.rows)
    tables.write_csv(results_dir / "summary.csv", tables.over_targets(results.rows))
    tables.write_csv(wide_file, tables.wide_table(results.cells, results.rows))
    suites = {row["suite"] for row in results.rows}
    for suite in suites & set(SUITE_FOLDERS) if len(suites) > 1 else ():
        of_suite = [row for row in results.rows if row["suite"] == suite]
        tables.write_csv(results_dir / suite / "mia_results.csv", tables.wide_table(results.cells, of_suite))
    for experiment, targets in results.scores.items():
        _write_scores(results_dir / "scores" / f"{experiment}.npz", results.indices[experiment], targets)
    return plots.write_figures(results_dir / "figures", results.cells, results.rows, results.scores)


def _write_scores(path: Path, indices: dict[str, Any], targets: list[dict[str, Any]]) -> None:
    """Per-example scores: `index` and `label` [n], then `target_000/membership`, `target_000/<attack>` [n] a target."""
    arrays = dict(indices)
    for target in targets:
        name = f"target_{target['target']:03d}"
        arrays |= {f"{name}/{key}": value for key, value in target.items() if key != "target"}

    def write(stream: IO[bytes]) -> None:
        np.savez_compressed(stream, **arrays)

    write_atomic(path, write)


def training_rows(cells: Sequence[Cell]) -> list[dict[str, Any]]:
    """A row a cell for `training_results.csv`: the target's figures, or why there are none."""
    rows = []
    for cell in cells:
        summary = cell.summary() or {}
        row = {**(cell.config.identity() if cell.readable else {}), **summary, **_names_of(cell)}
        row["pool_size"] = summary.get("num_pool")
        row["device"] = summary.get("machine", {}).get("device")
        row["reason"] = "" if summary else cell.reason
        rows.append(row)
    return rows


def finish(results: Results, results_dir: Path, wide_file: Path, tracker: Tracker) -> int:
    """Write, print the table to standard output, and give the exit code."""
    figures = write_results(results, results_dir, wide_file)
    _track(results, figures, tracker)
    print(tables.summary_text(results.cells, results.rows))
    print(f"table    {wide_file}\ndetails  {results_dir / 'tidy.csv'}")
    if figures:
        print(f"figures  {figures[0].parent} ({len(figures)} pictures)")
    for problem in results.problems:
        log.error("left out: %s", problem)
    if not results.rows and all(row["majority_baseline"] == 1.0 for row in results.cells):
        return DONE  # every model was trained on the whole pool, on purpose: the table says so
    if not results.rows:
        log.error("no cell could be attacked; the reasons are in %s", wide_file)
        return SOME_FAILED if results.problems else FAILED
    return SOME_FAILED if results.problems else DONE


def _track(results: Results, figures: list[Path], tracker: Tracker) -> None:
    for row in tables.wide_table(results.cells, results.rows).to_dict("records"):
        with tracker.job("attack", str(row["experiment"]), {"figures": [path.name for path in figures]}) as track:
            track({str(name): value for name, value in row.items() if isinstance(value, float) and value == value})


def run_evaluation(args: argparse.Namespace, suites: Sequence[str], cells: Sequence[Cell], wide_file: Path) -> int:
    """The body of every mia script once its cells are known."""
    import torch

    torch.set_num_threads(args.num_threads or cores())
    options: AttackOptions = from_args(AttackOptions, args)
    names = attack_names(options, suites)
    most = max(cells, key=lambda cell: cell.num_shadows)
    check_shadows(options, most.num_shadows, most.experiment)
    results = evaluate(cells, names, options, from_args(Places, args), args.device)
    return finish(results, Path(args.results_dir), wide_file, Tracker())
