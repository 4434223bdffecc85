"""Rows of comparisons.csv: the difference of two cells, and which tests are corrected together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from attacks.intervals import difference, holm
from attacks.metrics import METRICS, THRESHOLD_METRICS
from evaluation.accuracy import Summaries, accuracy_difference, mean_test_accuracy
from evaluation.attack import Targets
from evaluation.estimates import Measured, paired_samples
from evaluation.ladder import Control, against, control, in_words
from evaluation.pairing import PLANNED, Pair

PRIMARY_METRICS = ("auc", "tpr_at_fpr_0.01")
FAMILIES = ("primary", "exploratory")

ByTarget = Mapping[int, Measured]


def compare(pair: Pair, attack: str, *found: ByTarget) -> Iterator[dict[str, Any]]:
    """A row for every metric that all cells of the pair define, over the targets that all have.

    found: the attack on each of `pair.cells`, by target, on the models that all have. At equal accuracy the second cell
    of a row is dense training, and its test accuracy the control's; where there is none, a row has no figures, and its
    `control` says why. Of one target there is no p-value
    and no detectable difference: its interval is about two networks, not about what trained them. Nor have figures at a
    threshold: it is learned from shadow models that the targets share, which the intervals do not see. (Simulated, 5 to
    26 % of differences between equal pipelines would have p < 0.05; benchmarks/results/null.csv.)
    """
    targets = [target for target in found[0] if all(target in one for one in found)]
    summaries = [_summaries(asked, targets) for asked in pair.cells]
    held = control(summaries[0], summaries[1:]) if pair.ladder else pair.none or None
    head = _head(pair, summaries, held)
    for metric in METRICS:
        samples = paired_samples(found, metric, targets)
        if samples is None:
            continue
        if isinstance(held, str):
            yield {**head, "attack": attack, "metric": metric, "num_targets": len(samples[0].values)}
            continue
        outcome = difference(*samples) if held is None else against(samples[0], samples[1:], held)
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
            "n": found[0][targets[0]].num_examples,
        }


def _summaries(asked: Targets, targets: Sequence[int]) -> list[dict[str, Any]]:
    return [one for target, one in zip(asked.targets, asked.summaries, strict=True) if target in targets]


def _head(pair: Pair, summaries: Sequence[Summaries], held: Control | str | None) -> dict[str, Any]:
    """What the rows of one pair and attack have in common.

    summaries: of the targets compared, of each of `pair.cells`; held: the control, or why there is none.
    """
    ours, *others = summaries
    theirs: Summaries | None = others[0]
    words: dict[str, Any] = {}
    if isinstance(held, Control):
        theirs = held.nearest.summaries(others)
        words = {"control": in_words(held, [asked.cell.names for asked in pair.cells[1:]])}
    elif held is not None:
        theirs, words = None, {"control": f"none: {held}"}
    elif pair.kind == "equal_size":
        words = {"control": f"channels {pair.b.cell.names['channels']}"}
    apart = accuracy_difference(ours, theirs) if theirs is not None else None
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
        "test_accuracy_b": mean_test_accuracy(theirs) if theirs is not None else None,
        "accuracy_difference": apart and apart.difference,
        "accuracy_ci_low": apart and apart.ci_low,
        "accuracy_ci_high": apart and apart.ci_high,
        "size_ratio": pair.size_ratio,
        "optimizer_steps_a": ours[0].get("optimizer_steps"),
        # a ladder's control lies between trainings
        "optimizer_steps_b": None if pair.ladder or theirs is None else theirs[0].get("optimizer_steps"),
        **words,
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
        values = [row.get(name) for name in _SAME_FIGURES]
        figures = *(row[name] for name in _SAME_PAIR), *(value and round(value, 12) for value in values)
        known = row["metric"] == "advantage" or figures in seen
        seen.add(figures)
        row["family"] = None if known or row["kind"] == "replicate" else _family(row, headline)
    for family in FAMILIES:
        members = [row for row in rows if row["family"] == family]
        for row, p in zip(members, holm([row.get("p_value") for row in members]), strict=True):
            row["p_holm"] = p


# Scores that rank alike give the same figures up to the last digit.
_SAME_PAIR, _SAME_FIGURES = ("kind", "experiment_a", "experiment_b", "metric"), ("difference", "ci_low", "ci_high")


def _family(row: Mapping[str, Any], headline: str | None) -> str:
    planned = row["kind"] in PLANNED and row["metric"] in PRIMARY_METRICS and row["attack"] == headline
    return FAMILIES[0] if planned else FAMILIES[1]
