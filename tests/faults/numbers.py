"""NaN and infinities in a training: the run stops with the step named and is never trained again."""

from __future__ import annotations

import csv
import re

from tests.faults.sweeps import sweep
from tests.faults.trials import Tally, Trial

SWEEP = (
    *("--methods", "dense", "dpf", "--sparsities", "0.6", "--num-shadows", "3", "--epochs", "3"),
    *("--attacks", "confidence", "loss"),
)
CELLS = {"dense": "dense/synthetic", "dpf": "dpf/sparsity_0.6/synthetic"}
SHADOWS = 3
STEPS = 3  # every run has as many: an epoch of the least members is one
KINDS = ("loss", "weight", "gradient", "statistic")
VALUES = ("nan", "inf", "-inf")
SOME_FAILED = 3


def bad_number(trial: Trial) -> Tally:
    """One number of one run of a sweep of two cells."""
    kind, value = KINDS[trial.number % len(KINDS)], VALUES[trial.number // len(KINDS) % len(VALUES)]
    method = str(trial.rng.choice(sorted(CELLS)))
    model = int(trial.rng.integers(SHADOWS + 1))
    step = int(trial.rng.integers(STEPS))
    witness, folder = trial.folder / "witness", trial.folder / "work"
    folder.mkdir()
    hook = ("bad_number", (kind, float(value), step, f"{method}/{model}", str(witness)))
    first = sweep(trial, SWEEP, folder, [hook])
    if not witness.exists():
        return Tally(False, False, f"{method}/{model} had no step {step}")
    *_, steps_per_epoch = witness.read_text().split()
    last = (step // int(steps_per_epoch) + 1) * int(steps_per_epoch)
    wrong = _wrong(first.code, first.err, step + 1, last) or _pool(trial, method, model)
    again = sweep(trial, SWEEP, folder, [hook])
    if len(witness.read_text().splitlines()) != 1:
        wrong = wrong or "the run was trained again"
    wrong = wrong or ("" if again.code == SOME_FAILED else f"second time: exit code {again.code}: {again.err[-300:]}")
    wrong = wrong or _pool(trial, method, model)
    return Tally(True, not wrong, f"{value} in a {kind} of {method}/{model} at step {step + 1}: {wrong}")


def _wrong(code: int | None, err: str, first: int, last: int) -> str:
    if code != SOME_FAILED:
        return f"exit code {code}: {err[-300:]}"
    if "Traceback" in err:
        return f"a traceback: {err[-300:]}"
    named = re.search(r"step (\d+)", err)
    if named is None:
        return f"no step named: {err[-300:]}"
    return "" if first <= int(named.group(1)) <= last else f"step {named.group(1)} named, not {first} to {last}"


def _pool(trial: Trial, method: str, model: int) -> str:
    """Whether the failed run, and no other, is missing from what is attacked."""
    work = trial.folder / "work"
    run = work / "runs" / CELLS[method]
    run = run if model == 0 else run / f"shadow_{model - 1:03d}"
    if (run / "experiment_summary.json").exists():
        return "the run counts as finished"
    finished = len(list((work / "runs").rglob("experiment_summary.json")))
    if finished != 2 * (SHADOWS + 1) - 1:
        return f"{finished} runs finished"
    with (work / "comprehensive_mia_results.csv").open(encoding="utf-8", newline="") as stream:
        rows = {row["method"]: row for row in csv.DictReader(stream)}
    if model == 0:
        return "" if rows[method]["loss_auc"] == "" and rows[method]["reason"] else "a failed target was attacked"
    count = rows[method]["num_shadows"]
    return "" if int(float(count)) == SHADOWS - 1 else f"{count} shadow models in the pool"
