"""Run attacks and measure them: learn from shadow models once, score any number of targets, compare with the truth."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from mia.interface import (
    AttackInputs,
    AttackResult,
    AttackSettings,
    AttackUnavailable,
    BoolArray,
    Models,
    Outputs,
    Scorer,
)
from mia.metrics import evaluate_scores
from mia.registry import ATTACKS, STRONGEST

Row = dict[str, str | int | float | None]

LEARNERS = min(os.cpu_count() or 1, 4)  # targets learned at once by attacks that prepare for all of them
FEWEST_A_SIDE = 10  # members and non-members among the examples that a partial result has to have
SUITE_OF = {variant: attack.suite for attack in ATTACKS.values() for variant in attack.variants}
SUITE_OF |= {STRONGEST: "chosen"}
ATTACK_OF = {variant: attack for attack in ATTACKS.values() for variant in attack.variants}


@dataclass(frozen=True, eq=False)
class Knowledge:
    """What attacks learned from shadow models.

    scorers: by attack name. unavailable: the reason, one line, by name of an attack that is not defined here.
    """

    scorers: dict[str, Scorer] = field(default_factory=dict)
    unavailable: dict[str, str] = field(default_factory=dict)


def learn(
    inputs: AttackInputs,
    attacks: Sequence[str],
    settings: AttackSettings,
    progress: Callable[[str], None] | None = None,
) -> Knowledge:
    """Let every attack learn from the shadows of `inputs`; the target's outputs are not looked at.

    attacks: names in ATTACKS. progress: called with an attack's name before it learns. Raises ValueError for an unknown
    attack.
    """
    _check_names(attacks)
    knowledge = Knowledge()
    for name in attacks:
        if progress is not None:
            progress(name)
        try:
            knowledge.scorers[name] = ATTACKS[name].fit(inputs, settings)
        except AttackUnavailable as reason:
            knowledge.unavailable[name] = str(reason)
    return knowledge


def learn_each(
    models: Models,
    targets: Sequence[int],
    attacks: Sequence[str],
    settings: AttackSettings,
    most: Mapping[str, int] | None = None,
) -> Iterator[Knowledge]:
    """As `learn` for each target in turn, the other models being its shadows; forgotten before the next.

    targets: positions among the M models. most: the number of targets, from the first on, of attacks that do not get
    all of them. An attack that has a cheaper way for many targets takes it (`Attack.each`),
    and the shadows' arrays are copied only where one has not.
    """
    _check_names(attacks)
    most = most or {}
    cheap = {}
    for name in attacks if len(targets) > 1 else ():
        if name in most:
            continue
        learner = ATTACKS[name].fit_each(models, settings)
        if learner is not None:
            cheap[name] = learner
    ahead = {name: _ahead(learner, targets) for name, learner in cheap.items()}
    for i, target in enumerate(targets):
        others = [name for name in attacks if name not in cheap and i < most.get(name, len(targets))]
        found = learn(models.leave_out(target), others, settings) if others else Knowledge()
        scorers = found.scorers | {name: next(learned) for name, learned in ahead.items()}
        ordered = {name: scorers[name] for name in attacks if name in scorers}
        yield Knowledge(ordered, found.unavailable)


def _ahead(learner: Callable[[int], Scorer], targets: Sequence[int]) -> Iterator[Scorer]:
    """The scorers of the targets in turn, the next ones being learned meanwhile: numpy leaves other threads room."""
    with ThreadPoolExecutor(LEARNERS) as pool:
        waiting: deque[Future[Scorer]] = deque()
        for target in targets:
            waiting.append(pool.submit(learner, target))
            if len(waiting) > LEARNERS:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _check_names(attacks: Sequence[str]) -> None:
    unknown = [name for name in attacks if name not in ATTACKS]
    if unknown:
        raise ValueError(f"unknown attack {unknown[0]!r}; allowed: {', '.join(ATTACKS)}")


def evaluate(
    inputs: AttackInputs,
    membership: BoolArray,
    attacks: Sequence[str] | None = None,
    settings: AttackSettings | None = None,
) -> list[Row]:
    """Attack one target and measure every metric, with intervals: the rows of `measure`.

    membership: bool [n] of the target on all n examples; only those that are asked about are looked at, and no attack
    sees it. attacks: names in ATTACKS, each of which must be defined on these inputs; None for all that are. settings:
    None for the defaults, with the inputs' seed.

    Raises AttackUnavailable for a named attack that is not defined here, and ValueError for an unknown one, for
    membership of another shape or without both sides.
    """
    if membership.shape != inputs.labels.shape or membership.dtype != bool:
        raise ValueError(f"membership is {membership.dtype} {membership.shape}; it must be bool {inputs.labels.shape}")
    settings = settings or AttackSettings(seed=inputs.seed)
    knowledge = learn(inputs, tuple(ATTACKS) if attacks is None else attacks, settings)
    if attacks is not None and knowledge.unavailable:
        raise AttackUnavailable(next(iter(knowledge.unavailable.values())))
    asked = membership if inputs.audited is None else membership[inputs.audited]
    return measure(score(knowledge, inputs.target), asked, settings.seed)


def score(knowledge: Knowledge, target: Outputs) -> dict[str, AttackResult]:
    """The results of every attack that learned something, by variant."""
    results: dict[str, AttackResult] = {}
    for scorer in knowledge.scorers.values():
        results |= scorer(target)
    return results


def measure(results: Mapping[str, AttackResult], membership: BoolArray, seed: int, resamples: int = 1000) -> list[Row]:
    """One row per variant and metric: attack, suite, metric, value, ci_low, ci_high, n_members, n_non_members.

    membership: bool [n] of the target, of all examples; the first time that anyone reads it. A variant that scored only
    some of them is measured on those, and its counts are theirs. Fields are None where they are not defined.
    resamples: of the intervals; 0 for none. Raises ValueError as `mia.metrics.evaluate_scores` does.
    """
    return [
        {
            "attack": key,
            "suite": SUITE_OF[key],
            "metric": metric,
            "value": figure.value,
            "ci_low": figure.ci_low,
            "ci_high": figure.ci_high,
            "n_members": int(inside.sum()),
            "n_non_members": int((~inside).sum()),
        }
        for key, result in results.items()
        for inside in [result.among(membership)]
        for metric, figure in evaluate_scores(result.scores, inside, result.threshold, resamples, seed).items()
    ]


def too_few(result: AttackResult, membership: BoolArray) -> str | None:
    """Why a result on some of the examples is not measured; None where it is. membership: as of `measure`."""
    inside = result.among(membership)
    members, others = int(inside.sum()), int((~inside).sum())
    if result.rows is None or min(members, others) >= FEWEST_A_SIDE:
        return None
    return (
        f"its {inside.size} examples hold {members} members and {others} non-members of a target, and "
        f"{FEWEST_A_SIDE} of each are needed (--samia-examples)"
    )
