"""Which cells are compared, and how their difference is estimated on the split they share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations, pairwise
from typing import Any

from evaluation.attack import Asked
from evaluation.estimates import Measured, sample
from mia.inference import difference, holm
from mia.metrics import METRICS
from pruning.registry import METHODS

MATCHED = 0.01  # difference in test accuracy up to which two cells count as equally accurate

Found = Mapping[str, Mapping[int, Measured]]  # by experiment, then by target


def pairs(cells: Sequence[Asked]) -> list[tuple[str, Asked, Asked]]:
    """(kind, a, b) for every comparison a - b among cells that share split and setting.

    against_dense: a pruned cell and the dense one. same_sparsity: two pruning methods, the later in the registry minus
    the earlier. neighbouring_sparsity: one method, the higher sparsity minus the next lower one. matched_accuracy: two
    methods whose mean test accuracies differ by at most MATCHED, where no other kind compares them. given: cells that
    were not trained here, each minus those before it, where no other kind compares them.
    """
    found: list[tuple[str, Asked, Asked]] = []
    settings = dict.fromkeys((asked.split, asked.setting) for asked in cells)
    for setting in settings:
        group = [asked for asked in cells if (asked.split, asked.setting) == setting]
        known = [asked for asked in group if _method(asked) in METHODS]
        found += _setting_pairs(known)
        compared = {frozenset((a.experiment, b.experiment)) for _, a, b in found}
        given = [asked for asked in group if not asked.cell.trained_here]
        found += [
            ("given", a, b)
            for b, a in combinations(given, 2)
            if frozenset((a.experiment, b.experiment)) not in compared
        ]
    return found


def _setting_pairs(group: Sequence[Asked]) -> Iterator[tuple[str, Asked, Asked]]:
    pruned = sorted((asked for asked in group if _prunes(asked)), key=_rank)
    unpruned = [asked for asked in group if not _prunes(asked)]
    known: set[tuple[str, str]] = set()

    def pair(kind: str, a: Asked, b: Asked) -> tuple[str, Asked, Asked]:
        known.update({(a.experiment, b.experiment), (b.experiment, a.experiment)})
        return kind, a, b

    for a in pruned:
        for b in unpruned:
            yield pair("against_dense", a, b)
    for b, a in combinations(pruned, 2):
        if _sparsity(a) == _sparsity(b) and _method(a) != _method(b):
            yield pair("same_sparsity", a, b)
    for b, a in pairwise(pruned):
        if _method(a) == _method(b) and _sparsity(a) != _sparsity(b):
            yield pair("neighbouring_sparsity", a, b)
    for b, a in combinations(pruned, 2):
        apart = accuracy_difference(a, b)
        close = apart is not None and abs(apart) <= MATCHED
        if close and _method(a) != _method(b) and (a.experiment, b.experiment) not in known:
            yield pair("matched_accuracy", a, b)


def _method(asked: Asked) -> str:
    return str(asked.cell.names["method"])


def _sparsity(asked: Asked) -> float | None:
    sparsity: float | None = asked.cell.names["sparsity"]
    return sparsity


def _prunes(asked: Asked) -> bool:
    return METHODS[_method(asked)].prunes


def _rank(asked: Asked) -> tuple[int, float]:
    return list(METHODS).index(_method(asked)), _sparsity(asked) or 0.0


def mean_test_accuracy(asked: Asked) -> float | None:
    """Mean over the targets, in [0, 1]; None where it is not known."""
    values = [summary["test_accuracy"] for summary in asked.summaries]
    return None if None in values else sum(map(float, values)) / len(values)


def accuracy_difference(a: Asked, b: Asked) -> float | None:
    """Mean test accuracy of a minus that of b; None where one is not known."""
    ours, theirs = mean_test_accuracy(a), mean_test_accuracy(b)
    return None if ours is None or theirs is None else ours - theirs


def compare(kind: str, a: Asked, b: Asked, attack: str, found: Found) -> Iterator[dict[str, Any]]:
    """A row of comparisons.csv for every metric that both cells define, over the targets that both have."""
    targets = [target for target in a.targets if target in b.targets]
    for metric in METRICS:
        ours, theirs = (sample(found[asked.experiment], metric, targets) for asked in (a, b))
        if ours is None or theirs is None or ours.values.shape != theirs.values.shape:
            continue
        outcome = difference(ours, theirs)
        yield {
            "kind": kind,
            "experiment_a": a.experiment,
            "experiment_b": b.experiment,
            "method_a": a.cell.names["method"],
            "sparsity_a": _sparsity(a),
            "method_b": b.cell.names["method"],
            "sparsity_b": _sparsity(b),
            "attack": attack,
            "metric": metric,
            "difference": outcome.difference,
            "ci_low": outcome.ci_low,
            "ci_high": outcome.ci_high,
            "p_value": outcome.p_value,
            "num_targets": outcome.num_targets,
            "n": found[a.experiment][targets[0]].num_examples,
            "test_accuracy_a": mean_test_accuracy(a),
            "test_accuracy_b": mean_test_accuracy(b),
            "accuracy_difference": accuracy_difference(a, b),
        }


def correct(rows: list[dict[str, Any]]) -> None:
    """Holm's correction in place: p_holm over the whole table, p_holm_family over the pairs of one attack x metric."""
    for row, p in zip(rows, holm([row["p_value"] for row in rows]), strict=True):
        row["p_holm"] = p
    for family in dict.fromkeys((row["attack"], row["metric"]) for row in rows):
        members = [row for row in rows if (row["attack"], row["metric"]) == family]
        for row, p in zip(members, holm([row["p_value"] for row in members]), strict=True):
            row["p_holm_family"] = p
