"""Run attacks and measure them: learn from shadow models once, score any number of targets, compare with the truth."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

from .arrays import BoolArray
from .inputs import AttackInputs
from .interface import AttackResult, AttackSettings, AttackUnavailable, Outputs, Scorer
from .metrics import allowed_false_positives, evaluate_scores, expected_fpr
from .models import Models
from .registry import ATTACKS, STRONGEST
from .trimming import LEFT_OUT

Row = dict[str, str | int | float | None]

LEARNERS = min(os.cpu_count() or 1, 4)  # targets learned at once by attacks that prepare for all of them
FEWEST_PER_SIDE = 10  # members and non-members among the examples that a partial result has to have


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
    progress: Callable[[int, str], None] | None = None,
) -> Iterator[Knowledge]:
    """As `learn` for each target in turn, the other models being its shadows; forgotten before the next.

    targets: positions among the M models. most: the number of targets, from the first on, of attacks that do not get
    all of them. An attack that has a cheaper way for many targets takes it (`Attack.each`), and the shadows' arrays are
    copied only where one has not. progress: called with a target's place among `targets` and an attack's name before
    that learns.
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
    for number, target in enumerate(targets):
        told: Callable[[str], None] = _nothing if progress is None else partial(progress, number)
        others = [name for name in attacks if name not in cheap and number < most.get(name, len(targets))]
        found = learn(models.leave_out(target), others, settings, told) if others else Knowledge()
        scorers = found.scorers
        for name, learned in ahead.items():
            told(name)
            scorers |= {name: next(learned)}
        ordered = {name: scorers[name] for name in attacks if name in scorers}
        yield Knowledge(ordered, found.unavailable)


def _nothing(name: str) -> None:
    """Where nobody wants to be told."""


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


def suites() -> dict[str, str]:
    """The suite of every key that a result may have, in registry order."""
    return {variant: attack.suite for attack in ATTACKS.values() for variant in attack.variants} | {STRONGEST: "chosen"}


def score(knowledge: Knowledge, target: Outputs) -> dict[str, AttackResult]:
    """The results of every attack that learned something, by variant; one that cannot score becomes unavailable."""
    results: dict[str, AttackResult] = {}
    for name in knowledge.scorers:
        results |= _scored(knowledge, name, target)
    return results


def _scored(knowledge: Knowledge, name: str, target: Outputs) -> dict[str, AttackResult]:
    try:
        return knowledge.scorers[name](target)
    except AttackUnavailable as reason:
        knowledge.unavailable[name] = str(reason)
        return {}


def measure(
    results: Mapping[str, AttackResult],
    membership: BoolArray,
    seed: int,
    memberships: BoolArray | None = None,
    resamples: int = 1000,
) -> list[Row]:
    """One row per variant and metric: attack, suite, metric, value, ci_low, ci_high, n_members, n_non_members, tied,
    false_positives and expected_fpr (of a TPR at low FPR: how many non-members it may accuse, and what FPR that means).

    membership: bool [n] of the target, of all examples; the first time that anyone reads it. memberships: bool [T, n]
    of all targets of its cell, which are allowed the same false positives; None for this target alone. A variant that
    scored only some examples is measured on those, and its counts are theirs. tied: of `AttackResult`. Fields are None
    where they are not defined. resamples: of the intervals; 0 for none. Raises ValueError as
    `attacks.metrics.evaluate_scores` does.
    """
    targets, suite_of = membership[None] if memberships is None else memberships, suites()
    return [
        {
            "attack": key,
            "suite": suite_of[key],
            "metric": metric,
            "value": figure.value,
            "ci_low": figure.ci_low,
            "ci_high": figure.ci_high,
            "n_members": int(inside.sum()),
            "n_non_members": int((~inside).sum()),
            "false_positives": allowed.get(metric),
            "expected_fpr": expected_fpr(allowed[metric], int((~inside).sum())) if metric in allowed else None,
            "tied": tied,
        }
        for key, result in results.items()
        for inside, tied in [(result.among(membership), result.tied)]
        for allowed in [allowed_false_positives(result.among(targets))]
        for metric, figure in evaluate_scores(
            result.scores, inside, result.threshold, resamples, seed, allowed=allowed
        ).items()
    ]


def too_few(result: AttackResult, membership: BoolArray) -> str | None:
    """Why a result on some of the examples is not measured; None where it is. membership: as of `measure`."""
    inside = result.among(membership)
    members, others = int(inside.sum()), int((~inside).sum())
    if result.rows is None or min(members, others) >= FEWEST_PER_SIDE:
        return None
    few = f"its {inside.size} examples hold {members} members and {others} non-members of a target, and "
    capped = " (--samia-examples)" if result.rows.mean() < 1.0 - LEFT_OUT else ""
    return f"{few}{FEWEST_PER_SIDE} of each are needed{capped}"
