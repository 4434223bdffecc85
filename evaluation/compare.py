"""Rows of comparisons.csv: the difference of two cells, and which tests are corrected together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from attacks.intervals import difference, holm
from attacks.metrics import METRICS, THRESHOLD_METRICS
from evaluation.accuracy import accuracy_difference, mean_test_accuracy
from evaluation.estimates import Measured, paired_samples
from evaluation.pairing import PLANNED, Pair

PRIMARY_METRICS = ("auc", "tpr_at_fpr_0.01")
FAMILIES = ("primary", "exploratory")

ByTarget = Mapping[int, Measured]


def compare(pair: Pair, attack: str, ours: ByTarget, theirs: ByTarget) -> Iterator[dict[str, Any]]:
    """A row for every metric that both cells define, over the targets that both have.

    ours, theirs: the attack on both cells, by target, on the models that both have. Of one target there is no p-value
    and no detectable difference: its interval is about two networks, not about what trained them. Nor have figures at a
    threshold: it is learned from shadow models that the targets share, which the intervals do not see. (Simulated, 5 to
    26 % of differences between equal pipelines would have p < 0.05; benchmarks/results/null.csv.)
    """
    targets = [target for target in ours if target in theirs]
    head = _head(pair, targets)
    for metric in METRICS:
        paired = paired_samples(ours, theirs, metric, targets)
        if paired is None:
            continue
        outcome = difference(*paired)
        tested = outcome.num_targets > 1 and metric not in THRESHOLD_METRICS
        yield {
            **head,
            "attack": attack,
            "metric": metric,
            "difference": outcome.difference,
            "ci_low": outcome.ci_low,
            "ci_high": outcome.ci_high,
            "p_value": outcome.p_value if tested else None,
            "detectable": outcome.detectable if tested else None,
            "num_targets": outcome.num_targets,
            "n": ours[targets[0]].num_examples,
        }


def _head(pair: Pair, targets: list[int]) -> dict[str, Any]:
    """What the rows of one pair and attack have in common; accuracies are those of the targets compared."""
    ours, theirs = (
        [one for target, one in zip(asked.targets, asked.summaries, strict=True) if target in targets]
        for asked in (pair.a, pair.b)
    )
    apart = accuracy_difference(ours, theirs)
    return {
        "kind": pair.kind,
        **{f"experiment_{side}": asked.experiment for side, asked in (("a", pair.a), ("b", pair.b))},
        **{
            f"{name}_{side}": asked.cell.names[name]
            for side, asked in (("a", pair.a), ("b", pair.b))
            for name in ("method", "sparsity")
        },
        "differing": pair.differing,
        "num_models": len(pair.a.cell.models) if pair.models is None else len(pair.models),
        "test_accuracy_a": mean_test_accuracy(ours),
        "test_accuracy_b": mean_test_accuracy(theirs),
        "accuracy_difference": apart and apart.difference,
        "accuracy_ci_low": apart and apart.ci_low,
        "accuracy_ci_high": apart and apart.ci_high,
    }


def correct(rows: list[dict[str, Any]], headline: str | None) -> None:
    """Declare families in place, and correct each (`holm`): columns family and p_holm.

    primary: the headline attack's AUC and TPR at 1 % FPR on planned pairs, fixed before any figure is seen.
    exploratory: everything else. No family, hence no p_holm: replicates, which are no claim but the null; and rows that
    repeat another: an attack and the variant that it stands for, attacks that rank examples alike, advantage
    (2 x accuracy - 1) beside accuracy.
    """
    seen: set[tuple[Any, ...]] = set()
    for row in rows:
        figures = *(row[name] for name in _SAME_PAIR), *(row[name] and round(row[name], 12) for name in _SAME_FIGURES)
        known = row["metric"] == "advantage" or figures in seen
        seen.add(figures)
        row["family"] = None if known or row["kind"] == "replicate" else _family(row, headline)
    for family in FAMILIES:
        members = [row for row in rows if row["family"] == family]
        for row, p in zip(members, holm([row["p_value"] for row in members]), strict=True):
            row["p_holm"] = p


# Scores that rank alike give the same figures up to the last digit.
_SAME_PAIR, _SAME_FIGURES = ("experiment_a", "experiment_b", "metric"), ("difference", "ci_low", "ci_high")


def _family(row: Mapping[str, Any], headline: str | None) -> str:
    planned = row["kind"] in PLANNED and row["metric"] in PRIMARY_METRICS and row["attack"] == headline
    return FAMILIES[0] if planned else FAMILIES[1]
