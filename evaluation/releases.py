"""Rows of releases.csv: what an adversary gains who holds several of a sweep's networks at once.

The networks of one index were trained on the same members, so whoever holds a dense network and its pruned version
scores an example by both (`attacks.releases`). For every index the target and its partner are left out of every cell:
the same memberships trained them all.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from artifacts.progress import announced
from attacks.arrays import BoolArray, Float64Array
from attacks.interface import AttackResult, TooFewShadows
from attacks.intervals import Difference, Sample, difference, holm, mean_interval
from attacks.jackknife import MOST_GROUPS, TRIMMINGS, Deletion
from attacks.metrics import WeightArray, allowed_false_positives, evaluate_scores
from attacks.models import from_models
from attacks.releases import Network, joint_scores, learn_network
from attacks.trimming import drawn_together, partners
from evaluation.attack import CellScores
from evaluation.compare import PRIMARY_METRICS
from evaluation.deletion import Deletions, measure_deleted
from evaluation.estimates import Measured, measured, paired_samples
from evaluation.pairing import is_baseline, is_trained_again

ATTACK = "lira_bayes"  # which the joint attack is an extension of
MOST_PAIRS = 30  # beyond it, of pairs without a dense network only a cell with itself trained again
WeightsOf = Callable[[tuple[str, ...], BoolArray | None], WeightArray]


@dataclasses.dataclass(frozen=True, eq=False)
class Release:
    """Cells whose networks are released together. kind: pair; replicate: one cell, trained twice; all: one training of
    every cell."""

    kind: str
    cells: tuple[CellScores, ...]

    @property
    def experiments(self) -> tuple[str, ...]:
        return tuple(one.asked.experiment for one in self.cells)


def planned_releases(cells: Sequence[CellScores]) -> tuple[list[Release], bool]:
    """What is released together of the cells of one split, and whether pairs were left out for their number."""
    found = [
        Release("replicate" if is_trained_again(a.asked, b.asked) else "pair", (a, b))
        for a, b in combinations(cells, 2)
    ]
    many = len(found) > MOST_PAIRS
    if many:
        found = [one for one in found if one.kind == "replicate" or any(is_baseline(cell.asked) for cell in one.cells)]
    once = [
        one for i, one in enumerate(cells) if not any(is_trained_again(one.asked, other.asked) for other in cells[:i])
    ]
    if len(once) > 2:
        found.append(Release("all", tuple(once)))
    return found, many


def release_rows(scored: Sequence[CellScores], weights_of: WeightsOf) -> tuple[list[dict[str, Any]], list[str]]:
    """The rows, and in words what is not among them. weights_of: the resamples of a split, of some of its examples."""
    rows: list[dict[str, Any]] = []
    notes: list[str] = []
    whole = [one for one in scored if ATTACK in one.results and one.answers is not None and one.asked.control is None]
    splits = list(dict.fromkeys(one.asked.split for one in whole))
    groups = [[one for one in whole if one.asked.split == split] for split in splits]
    together = [cells for cells in groups if len(cells) > 1]
    for cells in announced(together, "releasing together", lambda one: str(one[0].asked.cell.names["dataset"])):
        chosen, many = planned_releases(cells)
        if many:
            count = len(cells) * (len(cells) - 1) // 2
            notes.append(
                f"of {len(cells)} cells, pairs with a dense one, a cell with itself trained again, and all at once are "
                f"released together; the other pairs, of {count} in all, are not"
            )
        try:
            rows += _rows(chosen, _Shared.of(cells), weights_of)
        except TooFewShadows as error:
            notes.append(f"nothing is said of several releases: {error}")
    tested = [row for row in rows if row["kind"] != "replicate"]
    for row, p in zip(tested, holm([row["p_value"] for row in tested]), strict=True):
        row["p_holm"] = p
    return rows, notes


@dataclasses.dataclass(frozen=True, eq=False)
class _Shared:
    """The models that all cells of a split have. indices: their numbers, [M]; phi: by experiment, [M, n]; targets: the
    numbers of those that play the target in every cell."""

    indices: tuple[int, ...]
    phi: Mapping[str, Float64Array]
    membership: BoolArray
    targets: tuple[int, ...]
    first: CellScores

    @classmethod
    def of(cls, cells: Sequence[CellScores]) -> _Shared:
        answers = [(one, one.answers) for one in cells if one.answers is not None]
        common = sorted(set.intersection(*(set(known.indices) for _, known in answers)))
        targets = set.intersection(*(set(one.asked.targets) for one in cells)) & set(common)
        phi, membership = {}, None
        for one, known in answers:
            rows = [known.indices.index(index) for index in common]
            phi[one.asked.experiment] = known.phi[rows]
            own = known.membership[rows]
            assert membership is None or np.array_equal(membership, own), "one split, and other members"
            membership = own
        assert membership is not None
        return cls(tuple(common), phi, membership, tuple(sorted(targets)), cells[0])

    @property
    def groups(self) -> list[list[int]]:
        """The positions of the models that were drawn together."""
        return drawn_together(partners(self.membership), len(self.indices))

    def attack(
        self, releases: Sequence[tuple[str, ...]], target: int, gone: Sequence[int] = (), trimming: int = 0
    ) -> dict[tuple[str, ...], AttackResult]:
        """Every release's joint attack on a target, by position, without the models at the positions `gone`."""
        kept = [place for place in range(len(self.indices)) if place not in gone]
        place, asked = kept.index(target), self.first.asked
        some = next(iter(self.phi.values()))[kept][:, :, None]
        inputs = from_models(None, some, self.membership[kept], asked.label, place, asked.cell.seed + trimming)
        rows = inputs.scored
        columns = slice(None) if rows is None else rows
        inside, outside, pairs = inputs.shadow_in[:, columns], inputs.shadow_out[:, columns], inputs.whole_pairs
        networks: dict[str, Network] = {}
        for experiment in dict.fromkeys(name for names in releases for name in names):
            shadows = np.delete(self.phi[experiment][kept], place, axis=0)[:, columns]
            networks[experiment] = learn_network(shadows, inside, outside)
        x = {experiment: self.phi[experiment][target][columns] for experiment in networks}
        return {
            names: AttackResult(
                joint_scores(
                    np.stack([x[name] for name in names]), [networks[name] for name in names], inside, outside, pairs
                ),
                rows=rows,
            )
            for names in releases
        }


Found = dict[tuple[str, ...], dict[int, Measured]]  # by what is released, then by target


def _measure(shared: _Shared, releases: Sequence[tuple[str, ...]], weights_of: WeightsOf) -> Found:
    positions = [shared.indices.index(target) for target in shared.targets]
    membership = shared.membership[positions]
    results = {position: shared.attack(releases, position) for position in positions}
    without = _deleted(shared, releases, positions, membership, weights_of)
    found: Found = {names: {} for names in releases}
    for row, (target, position) in enumerate(zip(shared.targets, positions, strict=True)):
        for names in releases:
            result, own = results[position][names], membership[row]
            allowed = allowed_false_positives(result.among(membership))
            values = evaluate_scores(result.scores, result.among(own), None, resamples=0, allowed=allowed)
            few = {metric: values[metric] for metric in PRIMARY_METRICS if metric in values}
            drawn = weights_of(shared.first.asked.split, result.rows)
            deleted = without[names][row] if without else None
            found[names][target] = measured(result, own, few, drawn, allowed, deleted)
    return found


def _deleted(
    shared: _Shared,
    releases: Sequence[tuple[str, ...]],
    positions: Sequence[int],
    membership: BoolArray,
    weights_of: WeightsOf,
) -> dict[tuple[str, ...], list[Deletions]]:
    """By release, each target's figures without each group of models, as `evaluation.deletion` has them of one cell."""
    groups = shared.groups
    if len(groups) > MOST_GROUPS or any(set(positions) <= set(group) for group in groups):
        return {}
    trimmings = 1 if partners(shared.membership) is not None else TRIMMINGS
    outside = np.array([[position not in group for group in groups] for position in positions])

    def attacked() -> Iterator[Deletion]:
        for g, group in enumerate(groups):
            for position in (one for one in positions if one not in group):
                for trimming in range(trimmings):
                    results = shared.attack(releases, position, group, trimming)
                    yield g, position, {" ".join(names): result for names, result in results.items()}

    keys = {" ".join(names): names for names in releases}
    try:
        every = weights_of(shared.first.asked.split, None)
        found = measure_deleted(attacked(), positions, membership, keys, outside, every)
    except TooFewShadows:  # with a pair less
        return {}
    return {names: found[key] for key, names in keys.items() if found[key][0]}


def _rows(chosen: Sequence[Release], shared: _Shared, weights_of: WeightsOf) -> Iterator[dict[str, Any]]:
    if not shared.targets:
        return
    alone = [(name,) for name in shared.phi]
    found = _measure(shared, [*alone, *(one.experiments for one in chosen)], weights_of)
    again = next((one for one in chosen if one.kind == "replicate" and is_baseline(one.cells[0].asked)), None)
    for metric in PRIMARY_METRICS:
        null = None if again is None else _gain(again, found, metric, shared.targets)
        for release in chosen:
            gained = _gain(release, found, metric, shared.targets)
            if gained is not None:
                same = release is again
                yield _row(release, metric, gained, None if same else null, len(shared.indices))


@dataclasses.dataclass(frozen=True, eq=False)
class _Gain:
    """One metric of one release. together: with all networks; alone: with each; better: the place of the one that
    alone has the highest mean."""

    together: Sample
    alone: list[Sample]
    better: int

    @property
    def sample(self) -> Sample:
        return self.together.minus(self.alone[self.better])


def _gain(release: Release, found: Found, metric: str, targets: Sequence[int]) -> _Gain | None:
    which = [release.experiments, *((name,) for name in release.experiments)]
    samples = paired_samples([found[names] for names in which], metric, targets)
    if samples is None:
        return None
    together, *alone = samples
    return _Gain(together, alone, int(np.argmax([one.values.mean() for one in alone])))


def _row(release: Release, metric: str, gained: _Gain, null: _Gain | None, models: int) -> dict[str, Any]:
    names = release.experiments
    over = mean_interval(gained.together, metric)
    gain = difference(gained.together, gained.alone[gained.better])
    several = gain.num_targets > 1
    row: dict[str, Any] = {
        "kind": release.kind,
        "experiments": " + ".join(names),
        "metric": metric,
        "together": over.mean,
        "ci_low": over.ci_low,
        "ci_high": over.ci_high,
        "better": names[gained.better],
        "alone": float(gained.alone[gained.better].values.mean()),
        **_figures("gain", gain),
        "p_value": gain.p_value if several and release.kind != "replicate" else None,
        "num_targets": gain.num_targets,
        "num_models": models,
    }
    if len(names) == 2:
        row |= {"experiment_a": names[0], "experiment_b": names[1]}
        row |= {f"alone_{side}": float(one.values.mean()) for side, one in zip("ab", gained.alone, strict=True)}
    if null is not None:
        row["null_gain"] = float(null.sample.values.mean())
        row |= _figures("beyond_null", difference(gained.sample, null.sample))
    return row


def _figures(name: str, found: Difference) -> dict[str, Any]:
    return {name: found.difference, f"{name}_low": found.ci_low, f"{name}_high": found.ci_high}
