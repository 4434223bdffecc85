"""Attacking every cell of a runs directory and saying what came out: shared by train.py and the mia scripts."""

from __future__ import annotations

import argparse
import contextlib
import logging
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from artifacts.atomic_writes import clear_temporaries
from artifacts.children import cores
from artifacts.locks import locked
from attacks.registry import ATTACKS, SUITE_OF_OWN
from cli import own_parts
from cli.gate import Limit, judge
from cli.main import DONE, FAILED, SOME_FAILED
from configs.attacks import ALL_TARGETS, AttackOptions
from configs.errors import UsageError
from configs.experiment import SETTING
from configs.knobs import from_args
from configs.machine import Places
from evaluation.attack import Attacker, check_names
from evaluation.attackable import Attackable
from evaluation.cells import Cell
from evaluation.gather import Evidence, gather
from evaluation.network_time import is_long, seconds, trainings
from evaluation.publish import publish
from evaluation.record import check_whole
from evaluation.write import write_evidence
from reporting import tables
from reporting.controls import sentences_of
from reporting.page import clear_folders
from reporting.terminal import output_width
from sweep.cost import duration
from training.device import pick_device
from training.tracking import Tracker

log = logging.getLogger(__name__)
# What a tracked table of comparisons shows; comparisons.csv, in the artifact, has the rest.
COMPARED = (
    "kind",
    "experiment_a",
    "experiment_b",
    "attack",
    "metric",
    "difference",
    "ci_low",
    "ci_high",
    "family",
    "p_holm",
)


def attack_names(options: AttackOptions, suites: Sequence[str]) -> list[str]:
    """The attacks to run: those asked for, or all of the script's suites."""
    if options.attacks is None:
        return [name for name, attack in ATTACKS.items() if attack.suite in suites]
    outside = [name for name in options.attacks if ATTACKS[name].suite not in (*suites, SUITE_OF_OWN)]
    if outside:
        allowed = ", ".join(name for name, attack in ATTACKS.items() if attack.suite in suites)
        raise UsageError(f"argument --attacks: {outside[0]} is not in this suite; choose from {allowed}")
    return list(dict.fromkeys(options.attacks))


def check_shadows(options: AttackOptions, num_shadows: int, what: str, remedy: str | None = None) -> None:
    """Refuse an attack asked for by name that this many shadows cannot serve. remedy: how there come to be more."""
    for name in options.attacks or ():
        needed = ATTACKS[name].min_shadows
        if num_shadows < needed:
            raise UsageError(
                f"argument --attacks: {name} needs at least {needed} shadow models and {what} has {num_shadows}; "
                f"{remedy or f'--num-shadows {needed} or more'} would do"
            )


def attacker_of(args: argparse.Namespace, suites: Sequence[str]) -> Attacker:
    """The attacker that a command line describes."""
    options: AttackOptions = from_args(AttackOptions, args)
    return Attacker(tuple(attack_names(options, suites)), options, from_args(Places, args), args.device)


def evaluate(cells: Sequence[Attackable], attacker: Attacker) -> Evidence:
    """`gather`, with a word on cells that lack models."""
    for cell in cells:
        if cell.unfinished:
            log.warning("%s: %d of its models are not finished and were left out", cell.experiment, cell.unfinished)
        if not cell.reason:
            _say_what_is_missing(cell, attacker.names)
    _say_how_long_networks_take(cells, attacker)
    evidence = gather(cells, attacker)
    evidence.problems += own_parts.failures
    return evidence


def _say_how_long_networks_take(cells: Sequence[Attackable], attacker: Attacker) -> None:
    """Where the recipe makes an evaluation long, before it begins."""
    planned = trainings([cell for cell in cells if isinstance(cell, Cell)], attacker.names, attacker.options)
    if is_long(planned):
        recipe = attacker.options.attack_recipe
        takes = duration(seconds(planned, str(pick_device(attacker.device))))
        also = "" if recipe == "fast" else "; --attack-recipe fast takes seconds for each, and its figures differ"
        log.info("%d attack networks to train, about %s (--attack-recipe %s%s)", len(planned), takes, recipe, also)


def _say_what_is_missing(cell: Attackable, names: Sequence[str]) -> None:
    waiting = [name for name in names if ATTACKS[name].min_shadows > cell.num_shadows]
    if waiting:
        log.warning(
            "%s has %d shadow models: %s would add %s",
            cell.experiment,
            cell.num_shadows,
            cell.more_shadows(8),
            ", ".join(waiting),
        )


def training_rows(cells: Sequence[Cell]) -> list[dict[str, Any]]:
    """A row per cell for `training_results.csv`: the target's figures, or why there are none."""
    rows = []
    for cell in cells:
        summary = cell.summary() or {}
        row = {**(cell.config.identity() if cell.readable else {}), **summary, **cell.names}
        row["pool_size"] = summary.get("num_pool")
        row["weights_hash"] = summary.get("hashes", {}).get("best_model.pth")
        row["device"] = summary.get("machine", {}).get("device")
        row["reason"] = "" if summary else cell.reason
        rows.append(row)
    return rows


def finish(evidence: Evidence, attacker: Attacker, wide_file: Path, tracker: Tracker) -> int:
    """Write, print the table to standard output, and give the exit code."""
    results_dir = Path(attacker.places.results_dir)
    report, *figures = write_evidence(evidence, attacker, results_dir, wide_file)
    _track(evidence, [report, *figures], tracker, results_dir)
    width = output_width()
    print(tables.summary_text(evidence.cells, evidence.summary, width))
    for sentence in sentences_of(evidence.comparisons, evidence.cells):
        print(textwrap.fill(sentence, width))
    # controls are trained otherwise, and compared with what they are controls of
    signed = [str(row["signature"]) for row in evidence.cells if row.get("signature") and row.get("control") is None]
    for equal in dict.fromkeys(one.split()[0] for one in signed):
        print(f"signature {equal}")
    print(f"table    {wide_file}\ndetails  {results_dir / 'tidy.csv'}\nreport   {report}")
    for note in evidence.notes:
        log.warning("%s", note)
    for problem in evidence.problems:
        log.error("left out: %s", problem)
    if not evidence.tidy and all(row["majority_baseline"] == 1.0 for row in evidence.cells):
        return DONE  # every model was trained on the whole pool, on purpose: the table says so
    if not evidence.tidy:
        log.error("no cell could be attacked; the reasons are in %s", wide_file)
        return SOME_FAILED if evidence.problems else FAILED
    return SOME_FAILED if evidence.problems else DONE


def _track(evidence: Evidence, files: list[Path], tracker: Tracker, results_dir: Path) -> None:
    """A job per cell, with its figures and a table of its attacks, and one with the report and all that it shows."""
    wide = tables.wide_table(evidence.cells, evidence.summary).to_dict("records")
    for cell, figures in zip(evidence.cells, wide, strict=True):
        name = str(cell["experiment"])
        config = {key: cell[key] for key in ("method", "sparsity", *SETTING, "train_seed")}
        events = results_dir / "tensorboard" / name
        with tracker.job("attack", name, config, str(cell.get("fingerprint", name)), events) as job:
            job.summary({str(key): value for key, value in figures.items()})
            job.show({"attacks": [_attack_row(row) for row in evidence.summary if row["experiment"] == name]})
    with tracker.job("report", "report", {}, str(results_dir.resolve()), results_dir / "tensorboard") as job:
        shown = {
            "cells": [{str(key): _or_none(value) for key, value in row.items()} for row in wide],
            "comparisons": [{key: _or_none(row.get(key)) for key in COMPARED} for row in evidence.comparisons],
        }
        written = [results_dir / f"{name}.csv" for name in tables.EVIDENCE_TABLES]
        job.show(shown, [path for path in files if path.suffix == ".png"], [*files, *written])


def _attack_row(row: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _or_none(row.get(key)) for key in ("attack", "metric", "mean", "ci_low", "ci_high", "num_targets")}


def _or_none(value: Any) -> Any:
    return None if isinstance(value, float) and value != value else value


def run_evaluation(
    args: argparse.Namespace, suites: Sequence[str], cells: Sequence[Attackable], wide_file: Path
) -> int:
    """The body of every mia script once its cells are known."""
    import torch

    torch.set_num_threads(args.num_threads or cores())
    attacker = attacker_of(args, suites)
    most = max(cells, key=lambda cell: cell.num_shadows)
    needed = max((ATTACKS[name].min_shadows for name in attacker.options.attacks or ()), default=0)
    check_shadows(attacker.options, most.num_shadows, most.experiment, most.more_shadows(needed))
    check_names(attacker.options, [cell.experiment for cell in cells])
    limits: Sequence[Limit] = getattr(args, "fail_above", None) or ()
    signals_folder = getattr(args, "export_signals", None)
    trained = [cell for cell in cells if isinstance(cell, Cell)] if signals_folder is not None else []
    for cell in trained:
        check_whole(cell)
    with results_folder(attacker, wide_file):
        evidence = evaluate(cells, attacker)
        code = finish(evidence, attacker, wide_file, Tracker())
        if signals_folder is not None:
            folder = Path(signals_folder)
            total = publish(trained, evidence.cells, attacker.places, args.device, folder, attacker.options)
            print(f"signals  {folder} ({len(trained)} cells, {total:,} bytes)")
    outcome, lines = judge(evidence, limits, attacker.options.num_targets == ALL_TARGETS)
    for line in lines:
        print(line)
    return outcome or code


@contextlib.contextmanager
def results_folder(attacker: Attacker, wide_file: Path) -> Iterator[None]:
    """This process alone evaluates into the results folder; what a killed one left half-written there goes."""
    folder = Path(attacker.places.results_dir)
    with locked(folder):
        clear_folders(folder)
        if wide_file.parent.is_dir():
            clear_temporaries(wide_file.parent, wide_file.name)
        yield
