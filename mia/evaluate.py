"""Run attacks on one target and measure them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from mia.interface import (
    AttackInputs,
    AttackResult,
    AttackSettings,
    AttackUnavailable,
    BoolArray,
    Float64Array,
    TooFewShadows,
)
from mia.metrics import evaluate_scores
from mia.registry import ATTACKS, available

Row = dict[str, str | int | float | None]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What a set of attacks found out about one target.

    rows: one per attack variant and metric, with keys attack, suite, metric, value, ci_low, ci_high (None where not
    defined), n_members, n_non_members. scores: float64 [n] by variant. unavailable: the reason by attack that did not
    run. notes: by variant, why its threshold metrics are empty.
    """

    rows: list[Row] = field(default_factory=list)
    scores: dict[str, Float64Array] = field(default_factory=dict)
    unavailable: dict[str, str] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)


def evaluate_target(
    inputs: AttackInputs,
    membership: BoolArray,
    attacks: Sequence[str],
    settings: AttackSettings,
    progress: Callable[[str], None] | None = None,
) -> Evaluation:
    """Score the target with every attack, then compare with its membership.

    membership: bool [n], of the target; read only after all scores are there. attacks: names in ATTACKS.
    progress: called with an attack's name before it runs. An attack that is not defined here is recorded, not raised.
    Raises ValueError for an unknown attack, a membership of another length, or one without members or non-members.
    """
    if membership.shape != (inputs.num_examples,):
        raise ValueError(f"membership has shape {membership.shape}, expected ({inputs.num_examples},)")
    unknown = [name for name in attacks if name not in ATTACKS]
    if unknown:
        raise ValueError(f"unknown attack {unknown[0]!r}; allowed: {', '.join(ATTACKS)}")
    evaluation = Evaluation()
    results: dict[str, dict[str, AttackResult]] = {}
    for name in attacks:
        if progress is not None:
            progress(name)
        try:
            results[name] = _run(name, inputs, settings)
        except AttackUnavailable as reason:
            evaluation.unavailable[name] = str(reason)
    for name, variants in results.items():
        for key, result in variants.items():
            _record(evaluation, key, ATTACKS[name].suite, result, membership, settings.seed)
    return evaluation


def _run(name: str, inputs: AttackInputs, settings: AttackSettings) -> dict[str, AttackResult]:
    attack = ATTACKS[name]
    if not available(name, inputs.num_shadows):
        raise TooFewShadows(name, attack.min_shadows, inputs.num_shadows)
    return attack.function()(inputs, settings)


def _record(
    evaluation: Evaluation, key: str, suite: str, result: AttackResult, membership: BoolArray, seed: int
) -> None:
    evaluation.scores[key] = result.scores
    if result.note is not None:
        evaluation.notes[key] = result.note
    members = int(membership.sum())
    for metric, figure in evaluate_scores(result.scores, membership, result.threshold, seed=seed).items():
        evaluation.rows.append(
            {
                "attack": key,
                "suite": suite,
                "metric": metric,
                "value": figure.value,
                "ci_low": figure.ci_low,
                "ci_high": figure.ci_high,
                "n_members": members,
                "n_non_members": membership.size - members,
            }
        )
