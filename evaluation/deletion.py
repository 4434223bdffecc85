"""A cell's figures without each of its models in turn (`attacks.jackknife`), measured as the figures themselves are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from attacks.arrays import BoolArray, Float64Array
from attacks.interface import AttackResult, AttackSettings
from attacks.jackknife import MOST_GROUPS, TRIMMINGS, Deletion, Groups, delete_each
from attacks.metrics import METRICS, WeightArray, allowed_false_positives, resampled_values
from attacks.models import Models
from attacks.registry import ATTACKS

RESAMPLES = 25  # each gives a variance for every group, and only the sum over groups counts
# What shadows are dropped matters more to these than to attacks of one threshold for all.
FITTED_PER_EXAMPLE = ("lira_bayes", "lira", "rmia")
WORD = "its intervals do not see what shadow models that targets share do to all of them"
# Of one target: by metric [G, 1 + B], the figure on the examples, then on each resample; NaN where it is deleted.
Deletions = Mapping[str, Float64Array]
Results = Mapping[str, Sequence[AttackResult]]  # by variant, of every target


def deletions(
    models: Models,
    groups: Groups,
    targets: Sequence[int],
    membership: BoolArray,
    results: Results,
    settings: AttackSettings,
    weights: WeightArray,
) -> tuple[dict[str, list[Deletions]], dict[str, str]]:
    """By variant, each target's figures without each group; and, of a variant that lacks them, why, in words.

    targets: positions among the models; membership: bool [T, n] of theirs; results: with every model; weights: [B, n].
    Metrics of a threshold are left out: calibrating one costs more than all the rest. Of one target there is nothing to
    say: its interval holds for that network alone.
    """
    if any(all(target in group for target in targets) for group in groups):
        return {}, {}
    if len(groups) > MOST_GROUPS:
        return {}, dict.fromkeys(results, f"{WORD}: more than {MOST_GROUPS} models are not deleted in turn")
    standing = _standing(results)
    deleted = _delete(models, groups, targets, [name for name in ATTACKS if name in standing], settings)
    outside = np.array([[target not in group for group in groups] for target in targets])
    measured = measure_deleted(deleted, targets, membership, set(standing.values()), outside, weights)
    found = {key: measured[name] for key, name in standing.items() if measured[name][0]}
    return found, _words(results, standing, found, membership)


def _standing(results: Results) -> dict[str, str]:
    """By variant of an attack that is fitted again, the one to fit: of a headline the variant that it is.

    With a model fewer the headline might be another.
    """
    standing = {}
    for attack in ATTACKS.values():
        for key in attack.variants if attack.name in results and not attack.trains_network else ():
            if key in results:
                same = [one for one in attack.variants if one in results and results[one][0] is results[key][0]]
                standing[key] = same[-1]
    return standing


def _delete(
    models: Models, groups: Groups, targets: Sequence[int], names: Sequence[str], settings: AttackSettings
) -> Iterator[Deletion]:
    scores_only = replace(settings, calibrate=False)
    several = TRIMMINGS if models.partners is None else 1  # of complementary pairs nothing is trimmed
    for per_example, trimmings in ((True, several), (False, 1)):
        own = [name for name in names if (name in FITTED_PER_EXAMPLE) == per_example]
        yield from delete_each(models, groups, targets, own, scores_only, trimmings)


def _words(
    results: Results, standing: Mapping[str, str], found: Mapping[str, Sequence[Deletions]], membership: BoolArray
) -> dict[str, str]:
    words = {}
    for key, of in results.items():
        missing = _defined(of[0], membership) - set(found[key][0] if key in found else ())
        if missing and len(of) > 1:
            named = ", ".join(metric for metric in METRICS if metric in missing)
            why = (
                "it is not defined with a model fewer, on the same examples"
                if key in standing
                else "it is not fitted again"
            )
            words[key] = f"{WORD} ({named}): {why}"
    return words


def _defined(result: AttackResult, membership: BoolArray) -> set[str]:
    allowed = allowed_false_positives(membership)
    once = np.ones((1, result.scores.size), dtype=np.uint8)
    return set(resampled_values(result.scores, result.among(membership[0]), None, once, allowed))


def measure_deleted(
    deleted: Iterable[Deletion],
    targets: Sequence[int],
    membership: BoolArray,
    keys: Iterable[str],
    outside: BoolArray,
    weights: WeightArray,
) -> dict[str, list[Deletions]]:
    """By variant, each target's metrics that are defined without every group that it is outside of, bool [T, G].

    deleted: for every group and target outside it; targets, membership, weights: as of `deletions`; keys: the variants.
    """
    drawn = np.vstack([np.ones_like(weights[:1]), weights[:RESAMPLES]])
    allowed = allowed_false_positives(membership)
    shape = *outside.shape, len(drawn)
    sums: dict[str, dict[str, Float64Array]] = {key: {} for key in keys}
    counts: dict[tuple[str, str], Float64Array] = {}
    for g, target, results in deleted:
        row = targets.index(target)
        for key in results.keys() & sums.keys():
            if results[key].rows is not None:
                continue  # with a model fewer other examples are scored
            found = resampled_values(results[key].scores, membership[row], None, drawn, allowed)
            for metric, values in found.items():
                sums[key].setdefault(metric, np.zeros(shape))[row, g] += values
                counts.setdefault((key, metric), np.zeros(outside.shape))[row, g] += 1
    return {key: _means(of, {metric: counts[key, metric] for metric in of}, outside) for key, of in sums.items()}


def _means(sums: Mapping[str, Float64Array], counts: Mapping[str, Float64Array], outside: BoolArray) -> list[Deletions]:
    """Means over the trimmings, for each target; metrics that lack one of them anywhere are left out."""
    whole = [metric for metric, count in counts.items() if (count[outside] == count.max()).all()]
    means = {
        metric: np.where(outside[:, :, None], sums[metric] / np.maximum(counts[metric], 1)[:, :, None], np.nan)
        for metric in whole
    }
    return [{metric: values[row] for metric, values in means.items()} for row in range(len(outside))]
