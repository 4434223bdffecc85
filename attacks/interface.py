"""What an attack gives back, what it can be set to, and how it says that it cannot run.

An attack sees arrays only (`attacks.inputs`): no files, no models, and never the target's membership. It works in two
steps: it learns from shadow models once, and what it learned scores any number of targets (`Scorer`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from .arrays import BoolArray, Float64Array, FloatArray

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
    that the shadows set, by name. out_tail: from a threshold to each score's chance, [k], to lie above it where the
    example is no member, by the attack's own model; None where it has none.
    """

    scores: Float64Array
    threshold: float | None = None
    note: str | None = None
    rows: BoolArray | None = None
    shadow_auc: float | None = None
    chosen: Mapping[str, float] = field(default_factory=dict)
    out_tail: Callable[[float], Float64Array] | None = None

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
