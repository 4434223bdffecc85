"""Which shadow models serve a target, and on which examples, so that who serves does not tell its membership.

Trimming. Where the split is balanced, every example is IN a fixed number k of the M models. Leave the target out, and
the number of IN shadows of an example is k - 1 if the target holds it and k if not: the count *is* the label. Whatever
depends on counts (a per-example spread, a network that memorises examples) would find members in pure noise. `trim`
therefore keeps the same number of IN shadows for every example, and the same number of OUT shadows, from the shadows'
membership alone. Where models are exchangeable (an example's memberships are as likely in any order), who is then IN
and who is OUT has one and the same distribution for members and non-members.

Scored examples. Memberships drawn independently give counts that differ, and the rarest example would decide for all.
`scored_examples` leaves up to a twentieth of the examples out, by the shadows' counts alone, so that the others keep
more shadows. Nothing is said about an example that is left out; among the others the argument above holds as before,
for it holds for every count. Counts of at most three neighbouring values are those of a balanced split: there nothing
is gained, and nothing left out.

Tied models. Exchangeable they are not where a design ties one shadow to the target more than others: its complement (of
a pair, each example in exactly one), its twin (trained again on the same members), its fellows in a block (of several
partitions, or balanced groups of models). A tied shadow is IN where the target is OUT, say, and whatever tells that
model from others tells the target's membership. `tied_models` finds them by the correlation of their memberships with
the target's, over all examples, and they do not serve it. Not found: ties of three models or more that no pair shows
(membership by parity, say), and any ties where there are fewer than 37 examples.

Complementary pairs. Where most models have an exact complement among the others (`partners`), the design is one of
pairs: each pair's coins are its own, and the target's partner does not serve. Of the other pairs each example is IN
exactly one model and OUT of one, whatever the target holds: nothing is trimmed, and no count says anything. A model
without a partner would make the counts of examples differ, hence models be dropped at random: it is attacked, and
serves nobody.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .arrays import BoolArray, Float64Array, FloatArray, IntArray
from .streams import TRIMMING, stream

LEFT_OUT = 0.05  # of the examples, at most
FEWEST_PER_SIDE = 2  # shadows for which examples are left out
BALANCED_RANGE = 2  # IN shadows of an example, most minus fewest, under a balanced split of any number of models
FEWEST_PAIRED = 3  # models of which more than half have a complement: two models are complements by balance alone
ALONE = -1
TIE_ERRORS = 6.0  # standard errors of a correlation over the examples, by which a tie differs from the other models


def partners(membership: BoolArray) -> IntArray | None:
    """Of a design in complementary pairs each model's partner, int64 [M], ALONE for one without; None of others.

    membership: bool [M, n]. A partner holds exactly the examples that the model does not; of several, the first.
    """
    held = membership.astype(np.float32)
    joint, each = held @ held.T, held.sum(axis=1)
    apart = (joint == 0) & (each[:, None] + each == membership.shape[1])
    found = np.where(apart.any(axis=1), apart.argmax(axis=1), ALONE)
    paired = int((found != ALONE).sum())
    return found if len(found) >= FEWEST_PAIRED and 2 * paired > len(found) else None


def mutual_pairs(found: IntArray) -> IntArray:
    """The pairs of models that are each other's partner, int64 [P, 2], ascending. found: of `partners`."""
    every = np.arange(len(found))
    return np.asarray(np.stack([every, found], axis=1)[(found > every) & (found[found] == every)])


def whole_pairs(found: IntArray | None, serving: BoolArray) -> IntArray | None:
    """The complementary pairs that serve, int64 [P, 2]; None unless every model that serves is in one.

    found: of `partners`; serving: bool [M].
    """
    if found is None:
        return None
    pairs = mutual_pairs(found)
    pairs = pairs[serving[pairs].all(axis=1)]
    return pairs if 2 * len(pairs) == int(serving.sum()) else None


def drawn_together(found: IntArray | None, models: int) -> list[list[int]]:
    """The models whose memberships were drawn together: pairs of complements, else each model by itself.

    found: of `partners`.
    """
    if found is None:
        return [[model] for model in range(models)]
    return [[i, int(p)] if p != ALONE else [i] for i, p in enumerate(found) if p == ALONE or i < p]


def tied_models(membership: BoolArray, target: int) -> BoolArray:
    """Which of the M models are tied to the target, bool [M], itself not among them. membership: bool [M, n].

    The correlations of memberships with the target's are compared: those of one size (all of a balanced split, or 0)
    are no ties. With several sizes the most frequent one is that of the models that serve, of equally frequent ones the
    one nearest to 0. A correlation differs by more than 6 standard errors, 6 / sqrt(n).
    """
    tied = np.zeros(len(membership), dtype=np.bool_)
    others = np.delete(np.arange(len(membership)), target)
    if not others.size:
        return tied
    r, width = _correlations(membership, target)[others], TIE_ERRORS / np.sqrt(membership.shape[1])
    middle = np.median(r)
    if np.abs(r - middle).max() > width:
        near = np.abs(r[:, None] - r) <= width
        count = near.sum(axis=1)
        middle = np.median(r[near[np.lexsort((np.abs(r), -count))[0]]])
    tied[others] = np.abs(r - middle) > width
    return tied


def _correlations(membership: BoolArray, target: int) -> Float64Array:
    """Pearson's r of every model's membership with the target's, [M]; 0 for a model that holds all or nothing."""
    examples = membership.shape[1]
    held = membership.sum(axis=1).astype(np.float64)
    joint = membership[:, membership[target]].sum(axis=1)
    spread = np.sqrt(held * (examples - held) * held[target] * (examples - held[target]))
    covariance = examples * joint - held * held[target]
    return np.asarray(np.divide(covariance, spread, out=np.zeros_like(spread), where=spread > 0))


def scored_examples(held_by: IntArray, shadows: int) -> tuple[BoolArray | None, int]:
    """Which examples have k shadows or more on both sides, bool [n], or None for all, and k.

    held_by: int [n], how many of the shadows hold an example. k is the largest that leaves 95 % of the examples; where
    it is below 2, or the split is balanced, all are kept and k is the smallest count.
    """
    fewer = np.minimum(held_by, shadows - held_by)
    k = int(np.sort(fewer)[int(LEFT_OUT * fewer.size + 1e-9)])
    if k < FEWEST_PER_SIDE or fewer.min() >= k or np.ptp(held_by) <= BALANCED_RANGE:
        return None, int(fewer.min())
    return fewer >= k, k


@dataclass(frozen=True, eq=False)
class Service:
    """Who serves one target as a shadow, and on which examples.

    tied: bool [M], the models that do not serve, beside the target itself. shadows: how many serve. held_by: int [n],
    how many of these hold an example. scored: bool [n], or None for all. fewest: shadows per side of a scored example,
    at least (with an audited group: of the others).
    """

    tied: BoolArray
    shadows: int
    held_by: IntArray
    scored: BoolArray | None
    fewest: int

    @property
    def kept(self) -> tuple[int, int]:
        """Shadows that hold an example and that do not, after trimming, where all examples are scored."""
        return int(self.held_by.min()), self.shadows - int(self.held_by.max())


def service(
    membership: BoolArray,
    target: int,
    audited: BoolArray | None = None,
    held_by: IntArray | None = None,
    paired: IntArray | None = None,
) -> Service:
    """Who serves model `target`. membership: bool [M, n]; audited: bool [n] or None; held_by: [n], by all M models.

    paired: what `partners` finds. Of the target's membership, only its correlation with each model's, over all
    examples, is looked at.
    """
    tied = tied_models(membership, target) if audited is None else np.zeros(len(membership), dtype=np.bool_)
    if paired is not None:
        tied |= (paired == ALONE) | (paired == target)
        tied[target] = False
    shadows = len(membership) - 1 - int(tied.sum())
    total = membership.sum(axis=0) if held_by is None else held_by
    left = np.asarray(total - membership[target] - membership[tied].sum(axis=0))
    if audited is None or audited.all():
        return Service(tied, shadows, left, *scored_examples(left, shadows))
    scored, fewest = scored_examples(left[~audited], shadows)
    if scored is not None:
        whole = np.ones(left.size, dtype=np.bool_)
        whole[~audited] = scored
        scored = whole
    return Service(tied, shadows, left, scored, fewest)


def trim(membership_shadows: BoolArray, seed: int, audited: BoolArray | None = None) -> tuple[BoolArray, BoolArray]:
    """Keep equally many IN shadows, and equally many OUT shadows, for every example.

    membership_shadows: bool [S, n]. Returns (shadow_in, shadow_out), bool [S, n]; surplus pairs, chosen at random with
    the seed, are False in both. A side whose smallest count is 0 is empty. audited: bool [n] or None; where given, the
    audited examples and the others are trimmed apart.
    """
    return trim_sides(membership_shadows, ~membership_shadows, seed, audited, None)


def trim_sides(
    inside: BoolArray, outside: BoolArray, seed: int, audited: BoolArray | None, scored: BoolArray | None
) -> tuple[BoolArray, BoolArray]:
    """As `trim`, of sides [S, n]; a shadow may be on neither.

    scored: bool [n] or None for all; of the other examples nobody is kept.
    """
    rng = stream(seed, TRIMMING)
    if audited is None and scored is None:
        return _cap(inside, rng), _cap(outside, rng)
    shadow_in, shadow_out = np.zeros_like(inside), np.zeros_like(outside)
    every = np.ones(inside.shape[1], dtype=np.bool_)
    kept = every if scored is None else scored
    for group in (every,) if audited is None else (audited, ~audited):
        rows = group & kept
        shadow_in[:, rows], shadow_out[:, rows] = _cap(inside[:, rows], rng), _cap(outside[:, rows], rng)
    return shadow_in, shadow_out


def trim_keys(shape: tuple[int, int], seed: int) -> tuple[FloatArray, FloatArray]:
    """The random keys [S, n] by which `trim` drops shadows of a side, IN and OUT: those with the largest go.

    Only where all examples are scored, there is no audited group and both sides keep a shadow. The same for every
    target of a cell.
    """
    rng = stream(seed, TRIMMING)
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
