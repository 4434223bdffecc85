"""Do the intervals hold? Simulated cells whose truth is known, the project's intervals beside others.

    python benchmarks/coverage.py                      # an hour on two cores; writes benchmarks/results/*.csv
    python benchmarks/coverage.py --resume             # goes on where it was stopped
    python benchmarks/coverage.py --replicates 40 --only lira_9     # a quick look

Model "crossed": example i has a difficulty that every model and both cells share, and a leak of its own; target t of
cell k trained on a random half (balanced over 18 models, the same in both cells), and its network leaks more or less
than its siblings:

    score = difficulty_i + member_ti (strength_k leak_i + effect_kt) + noise_kti

The standard deviation of a network's AUC over `effect` is 0, 1 or 2 times that over a draw of its examples ("none",
"equal", "large"). Model "lira" draws phi in this way for 9 models and scores every target with LiRA (online, fixed
spread) from the other eight, so that targets also share their shadow models. Model "pairs" is the same with 8 models in
complementary pairs and Bayes LiRA: a target and its partner hold opposite examples, and six models serve each.

The truth is the mean over examples and networks. For one target it is the value of that very network as its examples
grow without end: an interval from one network can claim no more. crossed: AUC, TPR at low FPR and advantage by
quadrature over `effect` on a million examples; a TPR that k false positives of n define is judged against the true
ROC at (k + 1) / (n_t + 1), in the mean over targets. lira, pairs: AUC, which is unbiased, so its mean over all
replicates.

Methods: ours; of lira and pairs also without_deletions (no jackknife over models); pairs (every (target, example) pair
drawn by itself); targets (t interval over the T values); examples (examples drawn as we do, networks held fixed).
coverage.csv: how often 95 % intervals of a level and of a difference between two cells cover the truth. null.csv: five
cells of one pipeline, all ten differences: how often a difference is found at p < 0.05, and how often any of the ten is
after Holm's correction.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd
from scipy import stats

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from artifacts.atomic_writes import write_text
from attacks.intervals import Sample, difference, holm, mean_interval
from attacks.metrics import Metric, allowed_false_positives, evaluate_scores, example_weights, expected_fpr
from benchmarks.simulated_cells import (
    ATTACK,
    CROSSED,
    LIRA,
    LOW_FPR,
    PAIRS,
    STRENGTHS,
    THRESHOLD,
    Setting,
    Truth,
    cells,
    crossed_truth,
)
from cli.help_layout import HelpText

RESAMPLES = 200
Result = TypeVar("Result")


def naive(sample: Sample, method: str) -> tuple[float, float]:
    """Ends of the interval of a method that overlooks something."""
    mean, targets = sample.values.mean(), len(sample.values)
    if method == "targets":
        half = stats.t.ppf(0.975, targets - 1) * sample.values.std(ddof=1) / np.sqrt(targets) if targets > 1 else np.nan
    elif method == "pairs":
        half = 1.96 * np.sqrt(sample.resampled.var(axis=1, ddof=1).mean() / targets)
    else:
        half = 1.96 * sample.resampled.mean(axis=0).std(ddof=1)
    return float(mean - half), float(mean + half)


Row = tuple[str, str, str, float, float, float, float]  # quantity, metric, method, value, low, high, truth


def intervals(
    a: Sample, b: Sample, metric: str, own: Metric | None
) -> dict[tuple[str, str], tuple[float, float, float]]:
    """Value and ends by quantity and method; NaN where there is none. own: the interval of a single target of a."""
    found: dict[tuple[str, str], tuple[float, float, float]] = {}
    paired = replace(a.minus(b), deleted=None)
    ours = [("ours", a, b)]
    if a.deleted is not None:
        ours.append(("without_deletions", replace(a, deleted=None), replace(b, deleted=None)))
    for method, first, second in ours:
        mean, apart = mean_interval(first, metric), difference(first, second)
        found["level", method] = mean.mean, _or_nan(mean.ci_low), _or_nan(mean.ci_high)
        found["difference", method] = apart.difference, _or_nan(apart.ci_low), _or_nan(apart.ci_high)
    if own is not None:
        found["level", "ours"] = _or_nan(own.value), _or_nan(own.ci_low), _or_nan(own.ci_high)
    for method in ("pairs", "targets", "examples"):
        found["level", method] = float(a.values.mean()), *naive(a, method)
        found["difference", method] = float(paired.values.mean()), *naive(paired, method)
    return found


def _or_nan(end: float | None) -> float:
    return np.nan if end is None else end


def one_replicate(setting: Setting, truths: Sequence[Truth], replicate: int) -> list[Row]:
    """Every interval of one replicate, and what it should cover (NaN where that is not known)."""
    found, membership = cells(setting, STRENGTHS, (1, replicate))
    weights = example_weights(membership, RESAMPLES, replicate)
    first, second = (cell.samples(membership, weights) for cell in found)
    count = allowed_false_positives(membership).get(LOW_FPR, 0)
    rates = np.array([expected_fpr(count, int((~inside).sum())) for inside in membership])
    own: Mapping[str, Metric] = {}
    if setting.targets == 1:
        own = evaluate_scores(found[0].scores[0], membership[0], THRESHOLD, RESAMPLES, replicate)
    rows: list[Row] = []
    for metric in first:
        known = [
            truth.at(metric, cell.effects, rates) if setting.targets == 1 else truth.mean(metric, rates)
            for truth, cell in zip(truths, found[: len(truths)], strict=True)
        ]
        aims = {"level": known[0], "difference": known[0] - known[1]} if known else {}
        for (quantity, method), ends in intervals(first[metric], second[metric], metric, own.get(metric)).items():
            rows.append((quantity, metric, method, *ends, aims.get(quantity, np.nan)))
    return rows


def coverage(setting: Setting, replicates: int, jobs: int) -> pd.DataFrame:
    """The lines of coverage.csv for one setting."""
    truths = [crossed_truth(strength, setting.spread) for strength in STRENGTHS] if setting.model == "crossed" else []
    rows = [row for found in run(partial(one_replicate, setting, truths), replicates, jobs) for row in found]
    frame = pd.DataFrame(rows, columns=["quantity", "metric", "method", "value", "low", "high", "truth"])
    if setting.model in ATTACK:
        frame = frame[frame["metric"] == "auc"]  # the only unbiased one: its mean over replicates is the truth
        frame["truth"] = frame.groupby("quantity")["value"].transform("mean")
    lines = []
    for (quantity, metric, method), group in frame.groupby(["quantity", "metric", "method"], sort=False):
        if method == "targets" and setting.targets == 1:
            continue
        inside = (group["low"] <= group["truth"]) & (group["truth"] <= group["high"])
        share = float(inside.mean())
        lines.append(
            {
                **setting.lines,
                "quantity": quantity,
                "metric": metric,
                "method": method,
                "replicates": len(group),
                "truth": float(group["truth"].mean()),
                "coverage": share,
                "coverage_error": np.sqrt(share * (1 - share) / len(group)),
                "mean_width": float((group["high"] - group["low"]).mean()),
                "sd_of_estimates": float((group["value"] - group["truth"]).std()),
                "network_sd_of_auc": truths[0].network_sd() if truths else np.nan,
            }
        )
    table: pd.DataFrame = pd.DataFrame(lines)
    return table


PValues = dict[tuple[str, str], list[float]]  # of the ten differences, by metric and method


def null_replicate(setting: Setting, replicate: int) -> PValues:
    """p-values among five cells of one pipeline."""
    found, membership = cells(setting, [STRENGTHS[0]] * 5, (2, replicate))
    weights = example_weights(membership, RESAMPLES, replicate)
    samples = [cell.samples(membership, weights) for cell in found]
    p_values: PValues = {}
    for metric in samples[0]:
        of = [one[metric] for one in samples]
        methods = {"ours": of}
        if of[0].deleted is not None:
            methods["without_deletions"] = [replace(one, deleted=None) for one in of]
        for method, chosen in methods.items():
            p_values[metric, method] = [difference(a, b).p_value or 1.0 for a, b in combinations(chosen, 2)]
    return p_values


def null(setting: Setting, replicates: int, jobs: int) -> pd.DataFrame:
    """The lines of null.csv for one setting."""
    found = run(partial(null_replicate, setting), replicates, jobs)
    lines = []
    for metric, method in found[0]:
        p = np.array([one[metric, method] for one in found])
        family = np.array([min(one for one in holm(list(row)) if one is not None) for row in p])
        lines.append(
            {
                **setting.lines,
                "metric": metric,
                "method": method,
                "replicates": replicates,
                "differences_found": float((p < 0.05).mean()),
                # ten differences of five cells are not independent: the error over replicates
                "differences_found_error": float((p < 0.05).mean(axis=1).std() / np.sqrt(replicates)),
                "families_with_any_after_holm": float((family < 0.05).mean()),
                "families_error": float(np.sqrt(0.05 * 0.95 / replicates)),
            }
        )
    table: pd.DataFrame = pd.DataFrame(lines)
    return table


def run(work: Callable[[int], Result], replicates: int, jobs: int) -> list[Result]:
    """The work on every replicate, in order."""
    if jobs == 1:
        return [work(replicate) for replicate in range(replicates)]
    with ProcessPoolExecutor(jobs) as pool:
        return list(pool.map(work, range(replicates), chunksize=5))


def tabulate(
    path: Path, settings: Sequence[Setting], lines_of: Callable[[Setting], pd.DataFrame], resume: bool
) -> None:
    """Write a table, setting by setting as they are done; with `resume`, keep the settings that it has."""
    frame = pd.read_csv(path) if resume and path.is_file() else pd.DataFrame()
    for setting in settings:
        if len(frame) and (frame[list(setting.lines)] == list(setting.lines.values())).all(axis=1).any():
            continue
        frame = pd.concat([frame, lines_of(setting).round(5)], ignore_index=True)
        write_text(path, frame.to_csv(index=False, lineterminator="\n"))


def main(argv: Sequence[str] | None = None) -> int:
    """Run both simulations and write their tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=HelpText)
    parser.add_argument(
        "--replicates", type=int, default=400, help="of each setting; lira, pairs half; null.csv a fifth"
    )
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--only", default="", help="part of the names of settings, such as lira_9 or crossed_1_none")
    parser.add_argument("--resume", action="store_true", help="keep the settings that the tables have")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results", help="folder of the tables")
    args = parser.parse_args(argv)
    started = time.perf_counter()

    def replicates(setting: Setting, share: int) -> int:
        wanted: int = args.replicates
        return max(1, wanted // (share * (2 if setting.model in ATTACK else 1)))

    chosen = [setting for setting in [*CROSSED, *LIRA, *PAIRS] if args.only in setting.name]
    few = [setting for setting in chosen if setting.targets in (1, 3, 8, 9)]
    covered, nulls = args.output / "coverage.csv", args.output / "null.csv"
    tabulate(covered, chosen, lambda one: coverage(one, replicates(one, 1), args.jobs), args.resume)
    tabulate(nulls, few, lambda one: null(one, replicates(one, 5), args.jobs), args.resume)
    frame = pd.read_csv(covered)
    ours = frame[frame["method"].isin(["ours", "without_deletions"])].pivot_table(
        index=["model", "targets", "networks", "method"], columns=["quantity", "metric"], values="coverage"
    )
    print(ours.round(3).to_string(), "\n")
    if few:
        print(pd.read_csv(nulls).to_string(index=False))
    print(f"\n{time.perf_counter() - started:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
