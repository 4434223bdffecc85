"""Do the intervals hold? Simulated cells whose truth is known, the project's intervals beside the naive ones.

    python benchmarks/coverage.py                      # half an hour on two cores; writes benchmarks/results/*.csv
    python benchmarks/coverage.py --replicates 100     # a quick look

Model "crossed": example i has a difficulty that every model and both cells share, and a leak of its own; target t of
cell k trained on a random half (balanced over 18 models, the same in both cells), and its network leaks more or less
than its siblings:

    score = difficulty_i + member_ti (strength_k leak_i + effect_kt) + noise_kti

The standard deviation of a network's AUC over `effect` is 0, 1 or 2 times that over a draw of its examples ("none",
"equal", "large"). Model "lira" draws phi in this way for 9 models and scores every target with LiRA (online, fixed
spread) from the other eight, so that targets also share their shadow models.

The truth is the mean over examples and networks. For one target it is the value of that very network as its examples
grow without end: an interval from one network can claim no more. crossed: AUC, TPR at 1 % FPR and advantage by
quadrature over `effect` on 400,000 examples; lira: AUC, which is unbiased, so its mean over all replicates.

Methods: ours; pairs (every (target, example) pair drawn by itself); targets (t interval over the T values); examples
(examples drawn as we do, networks held fixed). coverage.csv: how often 95 % intervals of a level and of a difference
between two cells cover the truth. null.csv: five cells of one pipeline, all ten differences: how often a difference is
found at p < 0.05, and how often any of the ten is after Holm's correction.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from artifacts.files import write_text
from cli.help_text import HelpText
from mia.inference import Sample, difference, holm, mean_interval
from mia.interface import AttackSettings, BoolArray, Float64Array, from_models
from mia.metrics import evaluate_scores, example_weights, resampled_values
from mia.registry import ATTACKS

MODELS, LIRA_MODELS = 18, 9
EXAMPLES = 1000
RESAMPLES = 200
THRESHOLD = 1.0
STRENGTHS = (1.0, 0.7)  # of the two cells
SPREADS = {"none": 0.0, "equal": 0.09, "large": 0.18}  # of `effect`; coverage.csv says what AUC varies by
METRICS = ("auc", "tpr_at_fpr_0.01", "advantage")


@dataclass(frozen=True)
class Setting:
    """One line of the design: which model, how many targets, how far networks differ."""

    model: str
    targets: int
    regime: str


CROSSED = [Setting("crossed", targets, regime) for targets in (1, 3, 9) for regime in SPREADS]
CROSSED += [Setting("crossed", 17, "equal")]
LIRA = [Setting("lira", targets, regime) for targets in (3, 9) for regime in SPREADS]


def balanced(models: int, rng: np.random.Generator) -> BoolArray:
    """Membership, bool [models, EXAMPLES]: every example in floor or ceil of half of the models."""
    rank = rng.random((models, EXAMPLES)).argsort(axis=0).argsort(axis=0)
    return rank < models // 2 + rng.integers(models % 2 + 1, size=EXAMPLES)


def crossed_scores(
    strength: float, effects: Float64Array, membership: BoolArray, difficulty: Float64Array, leak: Float64Array,
    rng: np.random.Generator,
) -> Float64Array:  # fmt: skip
    """Scores [T, n]; effects: [T]; membership: [T, n]; difficulty and leak: [n]."""
    return difficulty + membership * (strength * leak + effects[:, None]) + rng.normal(size=membership.shape)


def examples_of(n: int, rng: np.random.Generator) -> tuple[Float64Array, Float64Array]:
    """Difficulty and leak, [n] each; leaks are skewed, as memorisation is."""
    return rng.normal(size=n), rng.exponential(0.5, size=n)


def crossed_truth(strength: float, spread: float) -> tuple[dict[str, float], dict[str, np.poly1d], float]:
    """Mean over networks by metric; the value as a function of a network's effect; sd of AUC over networks."""
    nodes, shares = np.polynomial.hermite_e.hermegauss(9)
    at = np.linspace(-4.5, 4.5, 13) * max(spread, 0.05)
    values: dict[str, list[float]] = {metric: [] for metric in METRICS}
    for effect in at:
        rng = np.random.default_rng(99)  # common numbers keep the curve smooth
        n = 400_000
        difficulty, leak = examples_of(n, rng)
        membership = (np.arange(n) % 2 == 0)[None]
        scores = crossed_scores(strength, np.array([effect]), membership, difficulty, leak, rng)[0]
        figures = evaluate_scores(scores, membership[0], THRESHOLD, resamples=0)
        for metric in METRICS:
            values[metric].append(float(figures[metric].value or 0.0))
    curves = {metric: np.poly1d(np.polyfit(at, values[metric], 4)) for metric in METRICS}
    shares = shares / shares.sum()
    truth = {metric: float((shares * curve(nodes * spread)).sum()) for metric, curve in curves.items()}
    sd = float(np.sqrt((shares * (curves["auc"](nodes * spread) - truth["auc"]) ** 2).sum()))
    return truth, curves, sd


def lira_scores(
    strength: float, spread: float, membership: BoolArray, difficulty: Float64Array, leak: Float64Array,
    rng: np.random.Generator,
) -> Float64Array:  # fmt: skip
    """LiRA (online, fixed spread) of every model from all others, [M, n]."""
    effects = spread * rng.normal(size=len(membership))
    phi = crossed_scores(strength, effects, membership, 2.0 * difficulty, leak, rng)
    logits = np.stack([phi, np.zeros_like(phi)], axis=2)
    labels = np.zeros(EXAMPLES, dtype=np.int64)
    scores = []
    for target in range(len(membership)):
        inputs = from_models(logits, phi[:, :, None], membership, labels, target, seed=0)
        scores.append(ATTACKS["lira"].run(inputs, AttackSettings())["lira_online_fixed"].scores)
    return np.stack(scores)


def cells(
    setting: Setting, strengths: Sequence[float], seed: Sequence[int]
) -> tuple[list[Float64Array], BoolArray, Float64Array]:
    """Scores of one replicate, [T, n] a cell, the membership they share, and the networks' effects [cells, T]."""
    rng = np.random.default_rng(list(seed))
    spread, targets = SPREADS[setting.regime], setting.targets
    difficulty, leak = examples_of(EXAMPLES, rng)
    if setting.model == "lira":
        membership = balanced(LIRA_MODELS, rng)
        found = [lira_scores(strength, spread, membership, difficulty, leak, rng)[:targets] for strength in strengths]
        return found, membership[:targets], np.zeros((len(strengths), targets))
    membership = balanced(MODELS, rng)[:targets]
    effects = spread * rng.normal(size=(len(strengths), targets))
    found = [
        crossed_scores(strength, effect, membership, difficulty, leak, rng)
        for strength, effect in zip(strengths, effects, strict=True)
    ]
    return found, membership, effects


def sampled(scores: Float64Array, membership: BoolArray, weights: np.ndarray) -> dict[str, Sample]:
    """By metric, the values of all targets and their resamples."""
    points, drawn = [], []
    for one, inside in zip(scores, membership, strict=True):
        points.append(evaluate_scores(one, inside, THRESHOLD, resamples=0))
        drawn.append(resampled_values(one, inside, THRESHOLD, weights))
    return {
        metric: Sample(np.array([one[metric].value for one in points]), np.stack([one[metric] for one in drawn]))
        for metric in METRICS
    }


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


Row = tuple[str, str, str, float, float, float, float]  # quantity, metric, method, value, low, high, own truth


def one_replicate(setting: Setting, curves: Sequence[dict[str, np.poly1d]], replicate: int) -> list[Row]:
    """Every interval of one replicate; own truth: of these very networks (NaN where not known)."""
    scores, membership, effects = cells(setting, STRENGTHS, (1, replicate))
    weights = example_weights(membership, RESAMPLES, replicate)
    first, second = (sampled(one, membership, weights) for one in scores)
    rows: list[Row] = []
    for metric in METRICS:
        a, b = first[metric], second[metric]
        paired = Sample(a.values - b.values, a.resampled - b.resampled)
        own = [
            float(np.mean(curve[metric](effect))) for curve, effect in zip(curves, effects[: len(curves)], strict=True)
        ]
        mean, apart = mean_interval(a, metric), difference(a, b)
        level = (own or [np.nan])[0]
        gap = own[0] - own[1] if own else np.nan
        ends = {
            "level": (mean.mean, mean.ci_low, mean.ci_high, level, a),
            "difference": (apart.difference, apart.ci_low, apart.ci_high, gap, paired),
        }
        for quantity, (value, low, high, truth, sample) in ends.items():
            both = (np.nan, np.nan) if low is None or high is None else (low, high)
            rows.append((quantity, metric, "ours", value, *both, truth))
            others = ("pairs", "targets", "examples")
            rows += [(quantity, metric, method, value, *naive(sample, method), truth) for method in others]
    return rows


def coverage(setting: Setting, replicates: int, pool: ProcessPoolExecutor) -> pd.DataFrame:
    """The lines of coverage.csv for one setting."""
    spread = SPREADS[setting.regime]
    known = [crossed_truth(strength, spread) for strength in STRENGTHS] if setting.model == "crossed" else []
    work = partial(one_replicate, setting, [curves for _, curves, _ in known])
    rows = [row for found in pool.map(work, range(replicates), chunksize=10) for row in found]
    frame = pd.DataFrame(rows, columns=["quantity", "metric", "method", "value", "low", "high", "own"])
    if setting.model == "lira":
        frame = frame[frame["metric"] == "auc"]  # the only unbiased one: its mean over replicates is the truth
    lines = []
    for (quantity, metric, method), group in frame.groupby(["quantity", "metric", "method"], sort=False):
        if method == "targets" and setting.targets == 1:
            continue
        levels = [truth[metric] for truth, _, _ in known]
        if not known:
            truth = float(group["value"].mean())
        else:
            truth = levels[0] if quantity == "level" else levels[0] - levels[1]
        aim = group["own"] if setting.targets == 1 else truth
        inside = (group["low"] <= aim) & (aim <= group["high"])
        share, spread_of = float(inside.mean()), float(group["value"].std())
        lines.append(
            {
                "model": setting.model,
                "targets": setting.targets,
                "networks": setting.regime,
                "quantity": quantity,
                "metric": metric,
                "method": method,
                "replicates": len(group),
                "truth": truth,
                "coverage": share,
                "coverage_error": np.sqrt(share * (1 - share) / len(group)),
                "mean_width": float((group["high"] - group["low"]).mean()),
                "sd_of_estimates": spread_of,
                "network_sd_of_auc": known[0][2] if known else np.nan,
            }
        )
    return pd.DataFrame(lines)


def null_replicate(setting: Setting, replicate: int) -> list[list[float]]:
    """p-values of the ten differences among five cells of one pipeline, a list a metric."""
    scores, membership, _ = cells(setting, [STRENGTHS[0]] * 5, (2, replicate))
    weights = example_weights(membership, RESAMPLES, replicate)
    found = [sampled(one, membership, weights) for one in scores]
    return [[difference(a[metric], b[metric]).p_value or 1.0 for a, b in combinations(found, 2)] for metric in METRICS]


def null(setting: Setting, replicates: int, pool: ProcessPoolExecutor) -> pd.DataFrame:
    """The lines of null.csv for one setting."""
    p_values = np.array(list(pool.map(partial(null_replicate, setting), range(replicates), chunksize=5)))
    lines = []
    for m, metric in enumerate(METRICS):
        p = p_values[:, m]
        family = np.array([min(one for one in holm(list(row)) if one is not None) for row in p])
        lines.append(
            {
                "model": setting.model,
                "targets": setting.targets,
                "networks": setting.regime,
                "metric": metric,
                "replicates": replicates,
                "differences_found": float((p < 0.05).mean()),
                "families_with_any_after_holm": float((family < 0.05).mean()),
                "error": float(np.sqrt(0.05 * 0.95 / replicates)),
            }
        )
    return pd.DataFrame(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Run both simulations and write their tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=HelpText)
    parser.add_argument("--replicates", type=int, default=1000, help="of each setting; null.csv takes a fifth")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results", help="folder of the tables")
    args = parser.parse_args(argv)
    started = time.perf_counter()
    with ProcessPoolExecutor(args.jobs) as pool:
        covered = pd.concat([coverage(setting, args.replicates, pool) for setting in [*CROSSED, *LIRA]])
        write_text(args.output / "coverage.csv", covered.round(5).to_csv(index=False, lineterminator="\n"))
        settings = [setting for setting in CROSSED if setting.targets in (1, 3, 9)] + LIRA
        found = pd.concat([null(setting, max(1, args.replicates // 5), pool) for setting in settings])
        write_text(args.output / "null.csv", found.round(5).to_csv(index=False, lineterminator="\n"))
    ours = covered[covered["method"] == "ours"].pivot_table(
        index=["model", "targets", "networks"], columns=["quantity", "metric"], values="coverage"
    )
    print(ours.round(3).to_string(), "\n")
    print(found.to_string(index=False))
    print(f"\n{time.perf_counter() - started:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
