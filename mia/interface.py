"""What an attack is given, what it gives back, and how it says that it cannot run.

An attack sees arrays only: no files, no models, and never the target's membership. It works in two steps: it learns
from shadow models once, and what it learned scores any number of targets (`Scorer`).

Trimming. The split is balanced, so every example is IN a fixed number k of the M models. Leave the target out, and the
number of IN shadows of an example is k - 1 if the target holds it and k if not: the count *is* the label. Whatever
depends on counts (a per-example spread, a network that memorises examples) would find members in pure noise. `trim`
therefore keeps the same number of IN shadows for every example, and the same number of OUT shadows, from the shadows'
membership alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.floating]
Float64Array = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]

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
    2024), None to choose it for each target on its own shadows (rmia_published: 0.3).
    """

    recipe: str = "auto"
    seed: int = 0
    device: str = "cpu"
    rmia_gamma: float = 2.0
    rmia_a: float | None = None

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

    logits: [n, C] of the plain query; phi: [n, Q]; sensitivity: [n, C] or None; population: phi, [P, Q], or None.
    Examples without noise queries have NaN as their whole row of the sensitivity.
    """

    logits: FloatArray
    phi: FloatArray
    sensitivity: FloatArray | None = None
    population: FloatArray | None = None

    def only(self, rows: BoolArray | None) -> Outputs:
        """The same on some of the examples, bool [n], or on all for None; the population stays."""
        if rows is None:
            return self
        sensitivity = None if self.sensitivity is None else self.sensitivity[rows]
        return Outputs(self.logits[rows], self.phi[rows], sensitivity, self.population)


Scorer = Callable[[Outputs], dict[str, AttackResult]]


@dataclass(frozen=True, eq=False)
class AttackInputs:
    """Signals of one target and its S shadows (S may be 0) on n examples with C classes and Q queries.

    labels: int64 [n], true classes. target_logits: [n, C] and shadow_logits: [S, n, C], of the plain query.
    target_phi: [n, Q] and shadow_phi: [S, n, Q], logit-scaled confidences. shadow_in, shadow_out: bool [S, n], trimmed
    membership: every example is IN the same number of shadows, OUT of the same number; a dropped pair is False in both.
    target_sensitivity: [n, C] and shadow_sensitivity: [S, n, C], or None; the same rows of each may be NaN, examples
    without noise queries. seed: of the random choices of trimming.
    audited: bool [n], the examples whose membership is asked, or None for all. Where given, no shadow holds an audited
    example, shadows are learned from on the others only, and either group is trimmed by itself.
    target_population: [P, Q] and shadow_population: [S, P, Q], phi of examples that no model holds, or None.

    Raises ValueError (one line) for shapes that disagree, values that are not finite, or membership that is not
    trimmed.
    """

    labels: IntArray
    target_logits: FloatArray
    target_phi: FloatArray
    shadow_logits: FloatArray
    shadow_phi: FloatArray
    shadow_in: BoolArray
    shadow_out: BoolArray
    target_sensitivity: FloatArray | None = None
    shadow_sensitivity: FloatArray | None = None
    seed: int = 0
    audited: BoolArray | None = None
    target_population: FloatArray | None = None
    shadow_population: FloatArray | None = None

    def __post_init__(self) -> None:
        _check_shapes(self)
        _check_values(self)

    @property
    def num_shadows(self) -> int:
        return int(self.shadow_phi.shape[0])

    @property
    def num_examples(self) -> int:
        return int(self.labels.shape[0])

    @property
    def num_classes(self) -> int:
        return int(self.target_logits.shape[1])

    @property
    def num_queries(self) -> int:
        return int(self.target_phi.shape[1])

    @property
    def in_count(self) -> int:
        """IN shadows of each example, the same for all by trimming; with `audited`, ask `learned` or `asked`."""
        return int(self.shadow_in[:, 0].sum())

    @property
    def out_count(self) -> int:
        """OUT shadows of each example, as `in_count`."""
        return int(self.shadow_out[:, 0].sum())

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
    def probed(self) -> BoolArray | None:
        """The examples that have a sensitivity, bool [n]; None for all, or where nobody measured any."""
        return _measured_rows(self.target_sensitivity)

    def only(self, rows: BoolArray | None) -> AttackInputs:
        """The same on some of the examples, bool [n], one at least; on all for None."""
        return self if rows is None else self._take(rows)

    def _take(self, rows: BoolArray) -> AttackInputs:
        changed: dict[str, FloatArray | IntArray | BoolArray | None] = {"audited": None}
        for name in ("labels", "target_logits", "target_phi", "target_sensitivity"):
            array = getattr(self, name)
            changed[name] = None if array is None else array[rows]
        for name in ("shadow_logits", "shadow_phi", "shadow_in", "shadow_out", "shadow_sensitivity"):
            array = getattr(self, name)
            changed[name] = None if array is None else array[:, rows]
        return replace(self, **changed)  # type: ignore[arg-type]


def _check_shapes(inputs: AttackInputs) -> None:
    if inputs.labels.ndim != 1 or inputs.target_logits.ndim != 2 or inputs.target_phi.ndim != 2:
        raise ValueError("labels must be [n], target_logits [n, C], target_phi [n, Q]")
    n, classes = inputs.labels.shape[0], inputs.target_logits.shape[1]
    queries, shadows = inputs.target_phi.shape[1], inputs.shadow_phi.shape[0]
    if n == 0 or classes < 2 or queries == 0:
        raise ValueError(f"attacks need examples, two classes and a query; got n={n}, C={classes}, Q={queries}")
    expected = {
        "target_logits": (n, classes),
        "target_phi": (n, queries),
        "shadow_logits": (shadows, n, classes),
        "shadow_phi": (shadows, n, queries),
        "shadow_in": (shadows, n),
        "shadow_out": (shadows, n),
        "target_sensitivity": (n, classes),
        "shadow_sensitivity": (shadows, n, classes),
        "audited": (n,),
    }
    if inputs.target_population is not None:
        population = inputs.target_population.shape[:1]
        expected |= {
            "target_population": (*population, queries),
            "shadow_population": (shadows, *population, queries),
        }
    for name, shape in expected.items():
        array = getattr(inputs, name)
        if array is not None and array.shape != shape:
            raise ValueError(f"{name} has shape {array.shape}, expected {shape}")
    for name in ("sensitivity", "population"):
        if (getattr(inputs, f"target_{name}") is None) != (getattr(inputs, f"shadow_{name}") is None):
            raise ValueError(f"target_{name} and shadow_{name} must be given together")


def _check_values(inputs: AttackInputs) -> None:
    if inputs.labels.dtype != np.int64 or inputs.labels.min() < 0 or inputs.labels.max() >= inputs.num_classes:
        raise ValueError(f"labels must be int64 in [0, {inputs.num_classes}), got {inputs.labels.dtype}")
    if inputs.shadow_in.dtype != np.bool_ or inputs.shadow_out.dtype != np.bool_:
        raise ValueError("shadow_in and shadow_out must be bool")
    for name in ("target_logits", "target_phi", "shadow_logits", "shadow_phi"):
        _check_finite(name, getattr(inputs, name))
    for name in ("target_population", "shadow_population"):
        if getattr(inputs, name) is not None:
            _check_finite(name, getattr(inputs, name))
    if inputs.target_sensitivity is not None and inputs.shadow_sensitivity is not None:
        rows = _measured_rows(inputs.target_sensitivity)
        for name in ("target_sensitivity", "shadow_sensitivity"):
            _check_sensitivity(name, getattr(inputs, name), rows)
    if (inputs.shadow_in & inputs.shadow_out).any():
        raise ValueError("a shadow cannot be both IN and OUT for an example")
    if inputs.audited is None:
        _check_trimmed(inputs, slice(None))
        return
    if inputs.audited.dtype != np.bool_ or not inputs.audited.any():
        raise ValueError("audited must be bool with an example to ask about")
    if inputs.shadow_in[:, inputs.audited].any():
        raise ValueError("a shadow holds an audited example")
    for group in (inputs.audited, ~inputs.audited):
        _check_trimmed(inputs, group)


def _check_trimmed(inputs: AttackInputs, group: BoolArray | slice) -> None:
    for name in ("shadow_in", "shadow_out"):
        counts = getattr(inputs, name)[:, group].sum(axis=0)
        if counts.size and counts.min() != counts.max():
            raise ValueError(
                f"{name} holds {counts.min()} to {counts.max()} shadows per example; use mia.interface.trim"
            )


def _measured_rows(sensitivity: FloatArray | None) -> BoolArray | None:
    """Rows of [n, C] that are not NaN throughout, bool [n]; None for all of them."""
    if sensitivity is None:
        return None
    rows = np.logical_not(np.isnan(sensitivity).all(axis=1))
    return None if rows.all() else rows


def _check_sensitivity(name: str, array: FloatArray, rows: BoolArray | None) -> None:
    """[..., n, C] must be finite in the measured rows and NaN in the others."""
    if rows is not None and not np.isnan(array[..., ~rows, :]).all():
        raise ValueError(f"{name} is missing for other examples than the target's; the same rows have to be NaN in all")
    _check_finite(name, array if rows is None else array[..., rows, :])


def _check_finite(name: str, array: FloatArray) -> None:
    if not np.issubdtype(array.dtype, np.floating):
        raise ValueError(f"{name} must be floating point, got {array.dtype}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} holds NaN or infinite values")


def trim(membership_shadows: BoolArray, seed: int, audited: BoolArray | None = None) -> tuple[BoolArray, BoolArray]:
    """Keep equally many IN shadows, and equally many OUT shadows, for every example.

    membership_shadows: bool [S, n]. Returns (shadow_in, shadow_out), bool [S, n]; surplus pairs, chosen at random with
    the seed, are False in both. A side whose smallest count is 0 is empty. audited: bool [n] or None; where given, the
    audited examples and the others are trimmed apart.
    """
    rng = np.random.default_rng([seed, 0])
    if audited is None:
        return _cap(membership_shadows, rng), _cap(~membership_shadows, rng)
    shadow_in, shadow_out = np.zeros_like(membership_shadows), np.zeros_like(membership_shadows)
    for group in (audited, ~audited):
        side = membership_shadows[:, group]
        shadow_in[:, group], shadow_out[:, group] = _cap(side, rng), _cap(~side, rng)
    return shadow_in, shadow_out


def trim_keys(shape: tuple[int, int], seed: int) -> tuple[FloatArray, FloatArray]:
    """The random keys [S, n] by which `trim` drops shadows of a side, IN and OUT: those with the largest go.

    Only where there is no audited group and both sides keep a shadow. The same for every target of a cell.
    """
    rng = np.random.default_rng([seed, 0])
    return rng.random(shape, dtype=np.float32), rng.random(shape, dtype=np.float32)


def _cap(side: BoolArray, rng: np.random.Generator) -> BoolArray:
    """Keep min over examples of the True count in every column of `side`, the kept ones chosen at random."""
    kept = np.zeros_like(side)
    cap = int(side.sum(axis=0).min()) if side.size else 0
    if cap:
        keys = rng.random(side.shape, dtype=np.float32)
        keys[~side] = 2.0  # random keys lie in [0, 1): what is not on this side sorts last
        np.put_along_axis(kept, np.argsort(keys, axis=0)[:cap], True, axis=0)
    return kept


def from_models(
    logits: FloatArray,
    phi: FloatArray,
    membership: BoolArray,
    labels: IntArray,
    target: int,
    seed: int,
    sensitivity: FloatArray | None = None,
    population: FloatArray | None = None,
    audited: BoolArray | None = None,
) -> AttackInputs:
    """Leave-one-out inputs: model `target` is attacked, the other M - 1 models are its shadows.

    logits: [M, n, C]; phi: [M, n, Q]; membership: bool [M, n]; labels: int64 [n]; sensitivity: [M, n, C] or None;
    population: [M, P, Q] or None; audited: bool [n] or None. Of `membership`, the target's row is not used.
    """
    if not 0 <= target < membership.shape[0]:
        raise ValueError(f"target is {target}; allowed: 0 to {membership.shape[0] - 1}")
    shadow_in, shadow_out = trim(np.delete(membership, target, axis=0), seed, audited)
    return AttackInputs(
        labels=labels,
        target_logits=logits[target],
        target_phi=phi[target],
        shadow_logits=np.delete(logits, target, axis=0),
        shadow_phi=np.delete(phi, target, axis=0),
        shadow_in=shadow_in,
        shadow_out=shadow_out,
        target_sensitivity=None if sensitivity is None else sensitivity[target],
        shadow_sensitivity=None if sensitivity is None else np.delete(sensitivity, target, axis=0),
        seed=seed,
        audited=audited,
        target_population=None if population is None else population[target],
        shadow_population=None if population is None else np.delete(population, target, axis=0),
    )


@dataclass(frozen=True, eq=False)
class Models:
    """Signals of all M models of a cell, each of which may be the target with the others as its shadows.

    Arrays as in `from_models`. seed: of the random choices of trimming.
    """

    logits: FloatArray
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
            logits=self.logits[target],
            phi=self.phi[target],
            sensitivity=None if self.sensitivity is None else self.sensitivity[target],
            population=None if self.population is None else self.population[target],
        ).only(self.audited)

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
