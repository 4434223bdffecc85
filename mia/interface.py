"""What an attack is given, what it gives back, and how it says that it cannot run.

An attack sees arrays only: no files, no models, and never the target's membership. It works in two steps: it learns
from shadow models once, and what it learned scores any number of targets (`Scorer`).

Which shadows serve a target, and on which examples, is decided in `mia.trimming`, so that it does not tell the target's
membership.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from mia.checks import check_shapes, check_values, measured_rows
from mia.trimming import BoolArray, FloatArray, IntArray, Service, service, trim_sides

Float64Array = npt.NDArray[np.float64]

RECIPES = ("auto", "paper", "fast")


class AttackUnavailable(Exception):
    """An attack is not defined on these inputs; the message is one line that says why."""


class TooFewShadows(AttackUnavailable):
    """An attack needs more shadow models than the cell has."""

    def __init__(self, attack: str, needed: int, have: int) -> None:
        super().__init__(f"{attack} needs at least {needed} shadow models; this cell has {have} (--num-shadows)")
        self.needed = needed
        self.have = have


@dataclass(frozen=True)
class AttackSettings:
    """Knobs of the attacks.

    recipe: how attack networks are trained, one of RECIPES; seed: of the attack networks and of the bootstrap;
    device: torch device string for the attack networks. rmia_gamma: the ratio over a population example's that counts
    as one in rmia_published; rmia_a: how an IN model's confidence is guessed from an OUT model's (Zarifzadeh et al.
    2024), None to choose it for each target on its own shadows (rmia_published: 0.3). calibrate: whether thresholds are
    wanted; an attack may leave out what scores do not need.
    """

    recipe: str = "auto"
    seed: int = 0
    device: str = "cpu"
    rmia_gamma: float = 2.0
    rmia_a: float | None = None
    calibrate: bool = True

    def __post_init__(self) -> None:
        if self.recipe not in RECIPES:
            raise ValueError(f"recipe is {self.recipe!r}; allowed: {', '.join(RECIPES)}")


@dataclass(frozen=True, eq=False)
class AttackResult:
    """Scores of one attack on one target.

    scores: float64 [k], finite, higher = member. threshold: a member is claimed where score >= threshold; None where
    the shadows cannot calibrate one. note: one line for the reader, such as why there is no threshold. rows: bool [n],
    the k of the n examples that have a score; None: all. shadow_auc: the attack's AUC on shadows in the target's place,
    from the very scores that calibrated the threshold; None where there is no threshold, or nobody asked. chosen: knobs
    that the shadows set, by name.
    """

    scores: Float64Array
    threshold: float | None = None
    note: str | None = None
    rows: BoolArray | None = None
    shadow_auc: float | None = None
    chosen: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.scores.dtype != np.float64 or self.scores.ndim != 1 or not np.isfinite(self.scores).all():
            raise ValueError(f"scores must be finite float64 [n], got {self.scores.dtype} {self.scores.shape}")
        if self.rows is not None and self.scores.size != self.rows.sum():
            raise ValueError(f"{self.scores.size} scores for {self.rows.sum()} examples")

    @property
    def tied(self) -> float:
        """The share of the scored examples whose score equals another's, in [0, 1]."""
        counts = np.unique(self.scores, return_counts=True)[1]
        return float(counts[counts > 1].sum() / max(self.scores.size, 1))

    def among(self, membership: BoolArray) -> BoolArray:
        """Of the membership [..., n] of all examples, that of the scored ones, [..., k]."""
        return membership if self.rows is None else membership[..., self.rows]

    def within(self, rows: BoolArray) -> AttackResult:
        """The same for more examples, bool [n], of which those of this result are the True ones."""
        scored = rows.copy()
        if self.rows is not None:
            scored[rows] = self.rows
        return replace(self, rows=scored)

    def spread(self) -> Float64Array:
        """A score for each of all examples, float64 [n], NaN where there is none."""
        if self.rows is None:
            return self.scores
        scores = np.full(self.rows.size, np.nan)
        scores[self.rows] = self.scores
        return scores


@dataclass(frozen=True, eq=False)
class Outputs:
    """One model's answers on the n examples whose membership is asked, and on P population examples.

    logits: [n, C] of the plain query, or None; phi: [n, Q], the plain query's first; sensitivity: [n, C] or None;
    population: phi, [P, Q], or None. Examples without noise queries have NaN as their whole row of the sensitivity.
    """

    logits: FloatArray | None
    phi: FloatArray
    sensitivity: FloatArray | None = None
    population: FloatArray | None = None

    def only(self, rows: BoolArray | None) -> Outputs:
        """The same on some of the examples, bool [n], or on all for None; the population stays."""
        if rows is None:
            return self
        logits, sensitivity = (None if one is None else one[rows] for one in (self.logits, self.sensitivity))
        return Outputs(logits, self.phi[rows], sensitivity, self.population)


Scorer = Callable[[Outputs], dict[str, AttackResult]]


@dataclass(frozen=True, eq=False)
class AttackInputs:
    """Signals of one target and its S shadows (S may be 0) on n examples with C classes and Q queries.

    labels: int64 [n], true classes. target_logits: [n, C] and shadow_logits: [S, n, C], of the plain query, or None
    (`mia.registry.Attack.needs_logits` says who then cannot run). target_phi: [n, Q] and shadow_phi: [S, n, Q],
    logit-scaled confidences, the plain query's first. shadow_in, shadow_out: bool [S, n], trimmed membership: every
    example is IN the same number of shadows, OUT of the same number; a dropped pair is False in both.
    target_sensitivity: [n, C] and shadow_sensitivity: [S, n, C], or None; the same rows of each may be NaN, examples
    without noise queries. seed: of the random choices of trimming.
    audited: bool [n], the examples whose membership is asked, or None for all. Where given, no shadow holds an audited
    example, shadows are learned from on the others only, and either group is trimmed by itself.
    target_population: [P, Q] and shadow_population: [S, P, Q], phi of examples that no model holds, or None.
    scored: bool [n], the examples that are learned from and scored, or None for all; nobody is IN or OUT on the others.

    Raises ValueError (one line) for shapes that disagree, values that are not finite, or membership that is not
    trimmed.
    """

    labels: IntArray
    target_logits: FloatArray | None
    target_phi: FloatArray
    shadow_logits: FloatArray | None
    shadow_phi: FloatArray
    shadow_in: BoolArray
    shadow_out: BoolArray
    target_sensitivity: FloatArray | None = None
    shadow_sensitivity: FloatArray | None = None
    seed: int = 0
    audited: BoolArray | None = None
    target_population: FloatArray | None = None
    shadow_population: FloatArray | None = None
    scored: BoolArray | None = None

    def __post_init__(self) -> None:
        check_shapes(self)
        check_values(self)

    @property
    def num_shadows(self) -> int:
        return int(self.shadow_phi.shape[0])

    @property
    def num_examples(self) -> int:
        return int(self.labels.shape[0])

    @property
    def num_classes(self) -> int:
        """C; without logits, one more than the largest label there is here."""
        return int(self.labels.max()) + 1 if self.target_logits is None else int(self.target_logits.shape[1])

    @property
    def num_queries(self) -> int:
        return int(self.target_phi.shape[1])

    @property
    def in_count(self) -> int:
        """IN shadows of each scored example, the same by trimming; with `audited`, ask `learned` or `asked`."""
        return int(self.shadow_in[:, self._first].sum())

    @property
    def out_count(self) -> int:
        """OUT shadows of each example, as `in_count`."""
        return int(self.shadow_out[:, self._first].sum())

    @property
    def _first(self) -> int:
        return 0 if self.scored is None else int(self.scored.argmax())

    @property
    def has_pairs(self) -> bool:
        """Whether shadows give both member and non-member examples to learn from."""
        return self.in_count > 0 and self.out_count > 0

    @property
    def target(self) -> Outputs:
        """The target's answers on the examples that are asked about."""
        asked = self.asked
        return Outputs(asked.target_logits, asked.target_phi, asked.target_sensitivity, asked.target_population)

    @property
    def learned(self) -> AttackInputs:
        """The examples that shadows are learned from: all of them, or those that are not audited."""
        return self if self.audited is None else self._take(~self.audited)

    @property
    def asked(self) -> AttackInputs:
        """The examples that are scored: all of them, or the audited ones."""
        return self if self.audited is None else self._take(self.audited)

    @property
    def usable(self) -> AttackInputs:
        """The same on the scored examples alone, which is what an attack gets (`mia.registry.Attack.fit`)."""
        if self.scored is None:
            return self
        return self._take(self.scored, None if self.audited is None else self.audited[self.scored])

    def spread(self, scorer: Scorer) -> Scorer:
        """What learned from `usable`, for targets that answered on all examples that are asked about."""
        if self.scored is None:
            return scorer
        rows = self.scored if self.audited is None else self.scored[self.audited]
        return lambda target: {key: one.within(rows) for key, one in scorer(target.only(rows)).items()}

    @property
    def probed(self) -> BoolArray | None:
        """The examples that have a sensitivity, bool [n]; None for all, or where nobody measured any."""
        return measured_rows(self.target_sensitivity)

    def only(self, rows: BoolArray | None) -> AttackInputs:
        """The same on some of the examples, bool [n], one at least; on all for None."""
        return self if rows is None else self._take(rows)

    def _take(self, rows: BoolArray, audited: BoolArray | None = None) -> AttackInputs:
        changed: dict[str, FloatArray | IntArray | BoolArray | None] = {"audited": audited, "scored": None}
        for name in ("labels", "target_logits", "target_phi", "target_sensitivity"):
            array = getattr(self, name)
            changed[name] = None if array is None else array[rows]
        for name in ("shadow_logits", "shadow_phi", "shadow_in", "shadow_out", "shadow_sensitivity"):
            array = getattr(self, name)
            changed[name] = None if array is None else array[:, rows]
        return replace(self, **changed)  # type: ignore[arg-type]


def from_models(
    logits: FloatArray | None,
    phi: FloatArray,
    membership: BoolArray,
    labels: IntArray,
    target: int,
    seed: int,
    sensitivity: FloatArray | None = None,
    population: FloatArray | None = None,
    audited: BoolArray | None = None,
) -> AttackInputs:
    """Leave-one-out inputs: model `target` is attacked, the other M - 1 models are its shadows (`mia.trimming`).

    logits: [M, n, C] or None; phi: [M, n, Q]; membership: bool [M, n]; labels: int64 [n]; sensitivity: [M, n, C] or
    None; population: [M, P, Q] or None; audited: bool [n] or None.
    Who serves an example does not depend on the target's membership of it. With memberships drawn independently, up to
    5 % of the examples, those with the fewest shadows a side, are neither learned from nor scored.
    """
    if not 0 <= target < membership.shape[0]:
        raise ValueError(f"target is {target}; allowed: 0 to {membership.shape[0] - 1}")
    who = service(membership, target, audited)
    others, serving = np.delete(membership, target, axis=0), ~np.delete(who.tied, target)[:, None]
    shadow_in, shadow_out = trim_sides(others & serving, ~others & serving, seed, audited, who.scored)
    return AttackInputs(
        labels=labels,
        target_logits=None if logits is None else logits[target],
        target_phi=phi[target],
        shadow_logits=None if logits is None else np.delete(logits, target, axis=0),
        shadow_phi=np.delete(phi, target, axis=0),
        shadow_in=shadow_in,
        shadow_out=shadow_out,
        target_sensitivity=None if sensitivity is None else sensitivity[target],
        shadow_sensitivity=None if sensitivity is None else np.delete(sensitivity, target, axis=0),
        seed=seed,
        audited=audited,
        target_population=None if population is None else population[target],
        shadow_population=None if population is None else np.delete(population, target, axis=0),
        scored=who.scored,
    )


@dataclass(frozen=True, eq=False)
class Models:
    """Signals of all M models of a cell, each of which may be the target with the others as its shadows.

    Arrays as in `from_models`. seed: of the random choices of trimming.
    """

    logits: FloatArray | None
    phi: FloatArray
    membership: BoolArray
    labels: IntArray
    seed: int
    sensitivity: FloatArray | None = None
    population: FloatArray | None = None
    audited: BoolArray | None = None

    def outputs(self, target: int) -> Outputs:
        """What a model answered on the examples that are asked about."""
        return Outputs(
            logits=None if self.logits is None else self.logits[target],
            phi=self.phi[target],
            sensitivity=None if self.sensitivity is None else self.sensitivity[target],
            population=None if self.population is None else self.population[target],
        ).only(self.audited)

    def service(self, target: int) -> Service:
        """Who serves model `target` as a shadow, and on which examples."""
        return service(self.membership, target, self.audited, self._held_by)

    @cached_property
    def _held_by(self) -> IntArray:
        return np.asarray(self.membership.sum(axis=0))

    def leave_out(self, target: int) -> AttackInputs:
        """Model `target` attacked, the others its shadows (copies of their arrays)."""
        return from_models(
            self.logits,
            self.phi,
            self.membership,
            self.labels,
            target,
            self.seed,
            self.sensitivity,
            self.population,
            self.audited,
        )


def removals(side: BoolArray, partner: IntArray) -> IntArray:
    """Which shadow of this side goes when s plays the target: s itself, or a random one (trimming again), [S, n].

    side: bool [S, n]; partner: random integers >= 0, [S, n]. The same shadow goes for all queries.
    """
    count = int(side[:, 0].sum())
    members = np.argsort(~side, axis=0, kind="stable")[:count]
    drawn = np.take_along_axis(members, partner % count, axis=0)
    return np.where(side, np.arange(side.shape[0])[:, None], drawn)


def require_pairs(attack: str, inputs: AttackInputs) -> None:
    """Raise AttackUnavailable unless the trimmed shadows give both members and non-members."""
    if inputs.has_pairs:
        return
    if inputs.num_shadows < 3:
        raise TooFewShadows(attack, 3, inputs.num_shadows)
    raise AttackUnavailable(
        f"{attack} needs shadows that hold and shadows that do not hold every example; "
        f"this cell has {inputs.in_count} and {inputs.out_count} per example"
    )
