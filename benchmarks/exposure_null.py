"""Does the report say "partly other examples are exposed" of cells that expose the same? Simulated cells, known truth.

    python benchmarks/exposure_null.py                      # writes benchmarks/results/exposure_null.csv
    python benchmarks/exposure_null.py --replicates 20      # a quick look

Cells A and B, each trained twice (train seeds 0 and 1) on one split, in pairs or balanced; model m of a cell answers
example i with

    phi = level_i + member_mi (gap + strength exposure_i) + shift_m + split share_mi + noise (start_mi + own_mi)

Exposures are skewed (exponential, sd 1). A network's noise has the sd `noise`, differs between examples, and has a part
that a class shares (sd `class_noise` on either side, ten classes); cells of one train seed share `shared_starts` of its
variance. `share_mi`: what the other members of model m do to example i, the same in all cells and trainings of the
split; `own_split` is such a part of either cell alone, stable over its trainings. In pairs, what one model was given
the other was not, so these parts are equal with opposite signs (on digits the answers of partners, less the means of
their sides, correlate by -0.16 dense and -0.04 DPF 90 %, those of other models by -0.01 and -0.02). The scale is that
of the quick preset on digits, where exposures have an sd of 1.1 (dense) and 0.7 (DPF 90 %), noise 0.8 to 1.4, class
parts 0.3 to 0.6, and answers of dense and DPF networks with one membership and start correlate by 0.35 to 0.42.

Kind "no_change": B exposes the same examples in the same order, or nothing stable, so the sentence is false; "change":
a part of B's exposures is dealt out anew. Rules: `report` is what the report applies; `below_1` asks the same figures
to lie below 1; `pearson_below_1` asks it of the plain correlations only, and so takes for a change which other examples
were drawn. `found`: share of replicates with the sentence. `no_reliability`: share where a cell does not agree with
itself. Medians are of corrected correlations (mean of both pairings) and of A's and B's reliability across models.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from artifacts.atomic_writes import write_text
from attacks.arrays import BoolArray, Float64Array
from attacks.exposure import STATISTICS, Crossing, crossings, has_changed, is_reliable
from attacks.metrics import example_weights
from cli.help_layout import HelpText

# Models, examples: small and large.
SIZES = {"balanced": ((9, 1400), (16, 4000)), "pairs": ((8, 1400), (16, 4000))}
CLASSES = 10
BENDS: dict[str, Callable[[Float64Array], Float64Array]] = {
    "straight": lambda x: x,
    "root": np.sqrt,
    "saturating": np.tanh,
}


@dataclass(frozen=True)
class Setting:
    """One line of the design; pairs are of cells A and B."""

    name: str
    kind: str = "no_change"
    strength: tuple[float, float] = (1.0, 1.0)
    noise: float = 1.0
    class_noise: float = 0.3
    shared_starts: float = 0.4
    split: tuple[float, float] = (0.0, 0.0)
    own_split: float = 0.0
    split_of_members: bool = False
    class_split: float = 0.0
    bend: str = "straight"  # of B's exposures
    skewed: bool = False  # lognormal exposures
    dealt_anew: float = 0.0  # share of the examples
    large: bool = False  # measured at both sizes, where narrow intervals put the rule to the test


class SplitNoise(TypedDict):
    """The field that settings with the same split noise share."""

    split: tuple[float, float]


SPLIT: SplitNoise = {"split": (0.6, 0.6)}
SETTINGS = [
    Setting("same_pipeline"),
    Setting("half_as_strong", strength=(1.0, 0.5), large=True),
    Setting("half_as_strong_separate_starts", strength=(1.0, 0.5), shared_starts=0.0),
    Setting("half_as_strong_skewed", strength=(1.0, 0.5), skewed=True),
    Setting("half_as_strong_class_noise", strength=(1.0, 0.5), class_noise=0.6),
    Setting("half_as_strong_noisy", strength=(1.0, 0.5), noise=2.5),
    Setting("no_leak_in_b", strength=(1.0, 0.0), large=True),
    Setting("no_leak_in_either", strength=(0.0, 0.0)),
    Setting("split_noise", **SPLIT),
    Setting("split_noise_half_as_strong", strength=(1.0, 0.5), **SPLIT),
    Setting("split_noise_by_class", strength=(1.0, 0.5), class_split=0.4, **SPLIT),
    Setting("split_noise_unequal", split=(0.8, 0.3), large=True),
    Setting("split_noise_noisy", strength=(1.0, 0.5), noise=2.5, split=(1.5, 0.6)),
    Setting("split_noise_of_members", split=(0.9, 0.3), split_of_members=True),
    Setting("split_noise_of_each_cell", own_split=0.6, large=True),
    Setting("split_noise_of_each_cell_no_leak", strength=(0.0, 0.0), own_split=0.6, **SPLIT),
    Setting("bent_root", bend="root"),
    Setting("bent_saturating", bend="saturating", large=True),
    Setting("bent_saturating_split_noise", strength=(1.0, 0.7), bend="saturating", own_split=0.4, **SPLIT, large=True),
    Setting("half_dealt_anew", "change", dealt_anew=0.5),
    Setting("half_dealt_anew_half_as_strong", "change", strength=(1.0, 0.5), dealt_anew=0.5, **SPLIT),
    Setting("third_dealt_anew_weaker", "change", strength=(1.0, 0.7), dealt_anew=0.33),
    Setting("half_dealt_anew_noisy", "change", noise=2.5, dealt_anew=0.5, large=True),
]


def balanced(models: int, examples: int, rng: np.random.Generator) -> BoolArray:
    """Membership, bool [M, n]: every example in floor or ceil of half of the models."""
    rank = rng.random((models, examples)).argsort(axis=0).argsort(axis=0)
    return rank < models // 2 + rng.integers(models % 2 + 1, size=examples)


def in_pairs(models: int, examples: int, rng: np.random.Generator) -> BoolArray:
    """Membership, bool [M, n]: models 2j and 2j + 1 hold the two sides of a coin per example."""
    heads = rng.random((models // 2, examples)) < 0.5
    return np.stack([heads, ~heads], axis=1).reshape(models, examples)


def answers(
    setting: Setting, models: int, examples: int, seed: Sequence[int], split: str = "balanced"
) -> tuple[list[Float64Array], BoolArray]:
    """phi [M, n] of A, A', B and B', and their membership."""
    rng = np.random.default_rng(list(seed))
    membership = (in_pairs if split == "pairs" else balanced)(models, examples, rng)
    label, spread = rng.integers(CLASSES, size=examples), np.exp(0.3 * rng.normal(size=examples))
    first, second = exposures(setting, examples, rng)
    level = 2.0 * rng.normal(size=examples) - first

    def by_class(size: float) -> Float64Array:
        inside, outside = size * rng.normal(size=(2, models, CLASSES))[:, :, label]
        chosen: Float64Array = np.where(membership, inside, outside)
        return chosen

    def network() -> Float64Array:
        return setting.noise * (spread * rng.normal(size=membership.shape) + by_class(setting.class_noise))

    def others(class_part: float = 0.0) -> Float64Array:
        share = rng.normal(size=membership.shape) + by_class(class_part)
        if split == "pairs":
            share[1::2] = -share[::2]
        return share * membership if setting.split_of_members else share

    common, own = others(setting.class_split), [others(), others()]
    found: dict[tuple[int, int], Float64Array] = {}
    for training in range(2):
        start = network()
        for cell, exposed in enumerate((first, second)):
            noise = np.sqrt(setting.shared_starts) * start + np.sqrt(1.0 - setting.shared_starts) * network()
            shift = 0.5 * rng.normal(size=(models, 1)) + membership * 0.3 * rng.normal(size=(models, 1))
            luck = setting.split[cell] * common + setting.own_split * own[cell]
            phi = level + membership * (0.3 + setting.strength[cell] * exposed)
            found[cell, training] = phi + shift + luck + noise
    return [found[cell, training] for cell in range(2) for training in range(2)], membership


def exposures(setting: Setting, examples: int, rng: np.random.Generator) -> tuple[Float64Array, Float64Array]:
    """Those of A and of B at strength 1, [n] each."""
    first = np.exp(rng.normal(size=examples)) / 2.16 if setting.skewed else rng.exponential(size=examples)
    second = np.array(BENDS[setting.bend](first), dtype=np.float64)
    anew = np.flatnonzero(rng.random(examples) < setting.dealt_anew)
    second[anew] = second[rng.permutation(anew)]
    return first, second


def said(pairings: Sequence[Sequence[Crossing]], statistics: Sequence[str], limit: float | None) -> bool:
    """Whether a rule writes the sentence; limit: None for the report's."""
    used = [one for pairing in pairings for one in pairing if one.statistic in statistics]
    if not is_reliable(one.reliability_a.low for one in used) or not is_reliable(one.reliability_b.low for one in used):
        return False
    highs = [one.corrected.high for one in used]
    return has_changed(highs) if limit is None else all(high is not None and high < limit for high in highs)


def one_replicate(
    setting: Setting, models: int, examples: int, resamples: int, split: str, replicate: int
) -> dict[str, Any]:
    """What the rules say of one pair of cells, and its figures."""
    phis, membership = answers(setting, models, examples, (models, examples, replicate), split)
    pairings = crossings(phis, membership, example_weights(membership, resamples, replicate))
    row: dict[str, Any] = {
        "report": said(pairings, STATISTICS, None),
        "below_1": said(pairings, STATISTICS, 1.0),
        "pearson_below_1": said(pairings, STATISTICS[:1], 1.0),
    }
    lows = [low for one in pairings[0] for low in (one.reliability_a.low, one.reliability_b.low)]
    row["no_reliability"] = not is_reliable(lows)
    for first, second in zip(*pairings, strict=True):
        known = [one.corrected.value for one in (first, second) if one.corrected.value is not None]
        row[f"corrected_{first.statistic}"] = np.mean(known) if known else np.nan
        if first.statistic == "pearson_across_models":
            row |= {"reliability_a": first.reliability_a.value, "reliability_b": first.reliability_b.value}
    return row


def measure(
    setting: Setting, split: str, models: int, examples: int, options: argparse.Namespace, pool: Any
) -> list[dict[str, Any]]:
    """The lines of one setting and size, one per rule."""
    work = partial(one_replicate, setting, models, examples, options.resamples, split)
    frame = pd.DataFrame(list(pool.map(work, range(options.replicates), chunksize=5)))
    medians = {f"median_{name}": float(frame[name].median()) for name in frame.columns[4:]}
    lines = []
    for rule in ("report", "below_1", "pearson_below_1"):
        share = float(frame[rule].mean())
        head = {"split": split, "kind": setting.kind, "setting": setting.name, "models": models, "examples": examples}
        error = float(np.sqrt(share * (1 - share) / len(frame)))
        found = {"rule": rule, "replicates": len(frame), "found": share, "error": error}
        lines.append({**head, **found, "no_reliability": float(frame["no_reliability"].mean()), **medians})
    return lines


def main(argv: Sequence[str] | None = None) -> int:
    """Run the simulation and write its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=HelpText)
    parser.add_argument("--replicates", type=int, default=200, help="of each setting and size")
    parser.add_argument("--resamples", type=int, default=200, help="of the examples in each replicate")
    parser.add_argument("--splits", nargs="+", choices=list(SIZES), default=list(SIZES), help="of the cells")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results", help="folder of the table")
    options = parser.parse_args(argv)
    started, lines = time.perf_counter(), []
    with ProcessPoolExecutor(options.jobs) as pool:
        for split, size in product(options.splits, range(2)):
            models, examples = SIZES[split][size]
            for setting in [one for one in SETTINGS if one.large or not size]:
                lines += measure(setting, split, models, examples, options, pool)
                rules = (f"{line['rule']} {line['found']:.3f}" for line in lines[-3:])
                print(*rules, setting.name, split, models, flush=True)
                table = pd.DataFrame(lines).round(4).to_csv(index=False, lineterminator="\n")
                write_text(options.output / "exposure_null.csv", table)
    print(f"{time.perf_counter() - started:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
