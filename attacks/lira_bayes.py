"""Bayes LiRA: an example's few shadow models combined with what all examples say together.

`attacks.lira_bayes_definition` has the formulas and is the plain form of the same; `attacks.lira_bayes_model` is the
model for all examples at once. Here is which shadows serve: every example's values enter as sums and sums of squares
about a centre, for each side and transform, and of complementary pairs as sums of the partners' products, so that
leaving a model or a pair out is a subtraction.

Thresholds: shadows play the target, served by the others, trimmed again: one shadow fewer per side than the target
itself has, fitted anew, with the transform and the form of rho that were chosen with all. Of many shadows, a few drawn
with the seed do, CALIBRATING or more since models differ, as examples do: about CALIBRATION_PAIRS pairs are scored.

`lira_bayes`, the variant to report, is online where every asked example has two IN shadows, else offline.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from .arrays import BoolArray, Float64Array, FloatArray, IntArray
from .inputs import AttackInputs
from .interface import AttackResult, AttackSettings, AttackUnavailable, Outputs, Scorer, TooFewShadows
from .leave_one_out import NOBODY, Side, left_out, left_out_pairs, make_side, skipping
from .lira_bayes_definition import TRANSFORMS, Choice, Shadows, transform
from .lira_bayes_model import Predictive, by_out_level, criteria, learn_offline, predict_online
from .models import Models
from .streams import LIRA_PAIRS, LIRA_PARTNERS, stream
from .thresholds import Calibration, calibration
from .trimming import mutual_pairs, trim_keys, whole_pairs

ONLINE, OFFLINE = "lira_bayes_online", "lira_bayes_offline"
MIN_SHADOWS = 5  # gives two per side after leave-one-out and trimming
CALIBRATION_PAIRS = 1 << 16
CALIBRATING = 8
LARGEST_PHI = 1e30  # beyond it squares would overflow


@dataclass(frozen=True, eq=False)
class Sums:
    """One side under one transform: sum and sum of squares about the centre, [n] each, over `kept` models."""

    total: Float64Array
    squares: Float64Array
    kept: int

    def without(self, values: Float64Array, kept: int) -> Sums:
        """Less some models' values about the centre, [G, n], 0 where there are fewer; kept: how many that leaves."""
        return Sums(self.total - values.sum(axis=0), self.squares - (values**2).sum(axis=0), kept)

    def moments(self, centre: Float64Array) -> tuple[int, Float64Array, Float64Array]:
        """How many models, their mean and their sum of squares about it."""
        away = self.total / self.kept
        return self.kept, centre + away, np.maximum(self.squares - self.total * away, 0.0)


@dataclass(frozen=True, eq=False)
class Sides:
    """Both sides under one transform. products: sum over complementary pairs of the product of the partners' values
    about the centre, [n]; None where the models do not come in whole pairs."""

    inside: Sums
    outside: Sums
    products: Float64Array | None


@dataclass(frozen=True, eq=False)
class Cell:
    """R models on n examples, each on one side of an example or on neither.

    phi: [R, n], the mean over queries. sides: IN and OUT. centres: [n] by transform; sums: of both sides by transform,
    over all models of the side and all pairs; slopes: sum of log h' over both sides, by transform.
    """

    phi: Float64Array
    sides: tuple[Side, Side]
    centres: dict[float, Float64Array]
    sums: dict[float, Sides]
    slopes: dict[float, float]


def mean_phi(phi: FloatArray) -> Float64Array:
    """The mean over queries, [..., n, Q] to [..., n]."""
    return np.asarray(np.clip(phi, -LARGEST_PHI, LARGEST_PHI).mean(axis=-1, dtype=np.float64))


def log_slope(phi: Float64Array, c: float) -> Float64Array:
    """log h'(phi)."""
    return np.asarray(-0.5 * np.log1p((phi / c) ** 2))


def make_cell(phi: FloatArray, inside: BoolArray, outside: BoolArray, pairs: IntArray | None) -> Cell:
    """phi: [R, n, Q]; inside, outside: bool [R, n]; pairs: [P, 2], of complementary pairs, or None."""
    values = mean_phi(phi)
    middle = values.mean(axis=0)
    centres = {c: transform(middle, c) for c in TRANSFORMS}
    sums = {c: _sum(values, inside, outside, c, centres[c], pairs) for c in TRANSFORMS}
    slopes = dict.fromkeys(TRANSFORMS, 0.0)
    for c in TRANSFORMS:
        for own, serves in zip(values, inside | outside, strict=True):
            slopes[c] += float(log_slope(own[serves], c).sum())
    sides = make_side(phi[:, :, :0], inside), make_side(phi[:, :, :0], outside)
    return Cell(values, sides, centres, sums, slopes)


def _sum(
    values: Float64Array, inside: BoolArray, outside: BoolArray, c: float, centre: Float64Array, pairs: IntArray | None
) -> Sides:
    """Of all models; one at a time to bound memory."""
    total, squares = np.zeros((2, 2, centre.size))
    for own, *held in zip(values, inside, outside, strict=True):
        away = transform(own, c) - centre
        for side, on in enumerate(held):
            here = np.where(on, away, 0.0)
            total[side] += here
            squares[side] += here**2
    sides = Sums(total[0], squares[0], 0), Sums(total[1], squares[1], 0)
    if pairs is None:
        return Sides(*sides, None)
    products = np.zeros(centre.size)
    for pair in pairs:
        one, other = (transform(values[model], c) - centre for model in pair)
        products += one * other
    return Sides(*sides, products)


@dataclass(frozen=True, eq=False)
class Serving:
    """The shadow models of one target: a cell, and who of it does not serve.

    rows: [S], the shadows among the R models. gone: int64 [G, n] per side, on it and left out, NOBODY where there are
    fewer. kept: shadows per side that are left, the same for every example. partners: int64 [R] of complementary
    pairs, else None. whole: whether those that serve come in whole pairs; row g of both sides of `gone` is one then.
    """

    cell: Cell
    rows: IntArray
    gone: tuple[IntArray, IntArray]
    kept: tuple[int, int]
    seed: int
    partners: IntArray | None
    whole: bool

    @cached_property
    def lost(self) -> tuple[Float64Array, Float64Array]:
        """phi of who is gone, [G, n] per side, NaN for NOBODY."""
        every = np.arange(self.cell.phi.shape[1])
        inside, outside = (np.where(one == NOBODY, np.nan, self.cell.phi[one, every]) for one in self.gone)
        return inside, outside

    def sums(self, c: float) -> Sides:
        """Of both sides under the transform c, what is left."""
        sums = self.cell.sums[c]
        return self.less(sums if self.whole else replace(sums, products=None), c, self.lost, self.kept)

    def less(self, sums: Sides, c: float, lost: tuple[Float64Array, Float64Array], kept: tuple[int, int]) -> Sides:
        """Sums without the models whose phi [G, n] is `lost`, side by side; of whole pairs, row by row a pair."""
        away_in, away_out = (np.nan_to_num(transform(away, c) - self.cell.centres[c], copy=False) for away in lost)
        products = None if sums.products is None else sums.products - (away_in * away_out).sum(axis=0)
        return Sides(sums.inside.without(away_in, kept[0]), sums.outside.without(away_out, kept[1]), products)

    def shadows(self, sums: Sides, c: float) -> Shadows:
        """Means, sums of squares about them, levels, and products about the means."""
        (k_in, mean_in, rss_in), (k_out, mean_out, rss_out) = (
            side.moments(self.cell.centres[c]) for side in (sums.inside, sums.outside)
        )
        level = (k_in * mean_in + k_out * mean_out) / (k_in + k_out)
        cross = None if sums.products is None else sums.products - sums.inside.total * sums.outside.total / k_in
        return Shadows(k_in, k_out, mean_in, mean_out, rss_in, rss_out, level, cross)

    def learn(self) -> dict[str, Knowledge]:
        """By variant, what is chosen on these shadows, and what they say under that transform."""
        best: dict[str, tuple[float, Knowledge]] = {}
        for c in TRANSFORMS:
            sums = self.sums(c)
            shadows = self.shadows(sums, c)
            slopes = self.cell.slopes[c] - sum(float(np.nansum(log_slope(away, c))) for away in self.lost)
            for key in (ONLINE, OFFLINE):
                for terms, value in enumerate(criteria(_seen(key, shadows), slopes)):
                    if key not in best or value > best[key][0]:
                        best[key] = value, Knowledge(Choice(c, terms), sums, shadows)
        return {key: knowledge for key, (_, knowledge) in best.items()}

    def calibrations(self, learned: dict[str, Knowledge]) -> dict[str, Calibration]:
        """Best threshold and AUC by variant, from shadows in the target's place."""
        kept = self.kept[0] - 1, self.kept[1] - 1
        scores: dict[str, list[Float64Array]] = {key: [] for key in learned}
        inside = []
        for shadow, serves, goes in self._in_the_targets_place():
            inside.append(self.cell.sides[0].held[serves, shadow])
            x = self.cell.phi[shadow, serves]
            for key, own in learned.items():
                c = own.choice.c
                left = self.shadows(self.less(own.sums, c, goes, kept), c)
                scores[key].append(_predict(key, left, own.choice).only(serves).scores(x))
        is_in = np.concatenate(inside)
        return {key: calibration(np.concatenate(values), is_in) for key, values in scores.items()}

    def _in_the_targets_place(self) -> Iterator[tuple[int, IntArray, tuple[Float64Array, Float64Array]]]:
        """Shadows that play the target, examples to score that each serves, and phi of who goes then, [1, n] per side:
        the shadow itself where it serves, else its partner, or a random one (trimming again)."""
        n, rng = self.cell.phi.shape[1], stream(self.seed, LIRA_PAIRS)
        wanted = min(len(self.rows), max(CALIBRATING, -(-CALIBRATION_PAIRS // n)))
        shadows = self.rows[np.sort(rng.choice(len(self.rows), wanted, replace=False))]
        examples = np.sort(rng.choice(n, min(n, -(-CALIBRATION_PAIRS // wanted)), replace=False))
        drawn = stream(self.seed, LIRA_PARTNERS).integers(1 << 62, size=(wanted, n))
        others = [self._left(side, drawn) for side in (0, 1)]
        every = np.arange(n)
        for place, shadow in enumerate(shadows):
            serves = [
                side.held[:, shadow] & (gone != shadow).all(axis=0)
                for side, gone in zip(self.cell.sides, self.gone, strict=True)
            ]
            partner = NOBODY if self.partners is None else int(self.partners[shadow])
            goes_in, goes_out = (
                self.cell.phi[np.where(on, shadow, other[place] if partner == NOBODY else partner), every][None]
                for on, other in zip(serves, others, strict=True)
            )
            yield int(shadow), examples[(serves[0] | serves[1])[examples]], (goes_in, goes_out)

    def _left(self, side: int, drawn: IntArray) -> IntArray:
        """A model of a side for each random number >= 0, [..., n], among those that serve."""
        own, gone, every = self.cell.sides[side], self.gone[side], np.arange(drawn.shape[-1])
        taken = np.where(gone == NOBODY, own.held.shape[1], own.place[every, gone]).astype(np.int64)
        return np.asarray(own.members[every, skipping(drawn % self.kept[side], taken)], dtype=np.int64)


@dataclass(frozen=True, eq=False)
class Knowledge:
    """A choice, and what the shadows are under its transform."""

    choice: Choice
    sums: Sides
    shadows: Shadows


def _seen(key: str, shadows: Shadows) -> Shadows:
    return shadows if key == ONLINE else by_out_level(shadows)


def _predict(key: str, shadows: Shadows, choice: Choice) -> Predictive:
    """For the very examples that were learned from."""
    if key == ONLINE:
        return predict_online(shadows, choice)
    return learn_offline(_seen(key, shadows), choice).predict(shadows.m_out, shadows.k_out)


def _scorer(predictions: dict[str, Predictive], learned: dict[str, Calibration]) -> Scorer:
    def score(target: Outputs) -> dict[str, AttackResult]:
        phi, results = mean_phi(target.phi), {}
        for key, predicted in predictions.items():
            threshold, auc = learned.get(key, (None, None))
            chosen = {"c": predicted.choice.c}
            results[key] = AttackResult(
                predicted.scores(phi), threshold, shadow_auc=auc, chosen=chosen, out_tail=predicted.out_tail
            )
        return {"lira_bayes": next(iter(results.values())), **results}

    return score


def _of_inputs(inputs: AttackInputs) -> Serving:
    inside, outside = inputs.shadow_in, inputs.shadow_out
    nobody = np.empty((0, inputs.num_examples), dtype=np.int64)
    serves, found = np.asarray((inside | outside).any(axis=1)), inputs.partners
    pairs = whole_pairs(found, serves)
    cell = make_cell(inputs.shadow_phi, inside, outside, pairs)
    counts = inputs.in_count, inputs.out_count
    return Serving(cell, np.flatnonzero(serves), (nobody, nobody), counts, inputs.seed, found, pairs is not None)


def lira_bayes(inputs: AttackInputs, settings: AttackSettings) -> Scorer:
    """lira_bayes_online where shadows held all asked examples, lira_bayes_offline, and `lira_bayes`, the first of them.

    The transform's c is in each result's `chosen` (infinite: the identity). Raises TooFewShadows with fewer than 5
    shadows, AttackUnavailable with fewer than 2 on a side of an example to learn from, or fewer than 2 that do not hold
    an asked example.
    """
    if inputs.num_shadows < MIN_SHADOWS:
        raise TooFewShadows("lira_bayes", MIN_SHADOWS, inputs.num_shadows)
    asked, learned = inputs.asked, inputs.learned
    if min(asked.out_count, learned.out_count, learned.in_count) < 2:
        raise AttackUnavailable(
            "lira_bayes needs 2 shadow models that hold an example and 2 that do not; "
            f"this cell has {learned.in_count} and {min(asked.out_count, learned.out_count)} for some example"
        )
    serving = _of_inputs(learned)
    found = serving.learn()
    if learned is asked:
        predictions = {key: _predict(key, own.shadows, own.choice) for key, own in found.items()}
    else:
        found = {OFFLINE: found[OFFLINE]}
        predictions = {OFFLINE: _predict_asked(found[OFFLINE], asked)}
    return _scorer(predictions, serving.calibrations(found) if settings.calibrate else {})


def _predict_asked(own: Knowledge, asked: AttackInputs) -> Predictive:
    """For examples that nobody holds."""
    m_out = np.zeros(asked.num_examples)
    for phi, outside in zip(asked.shadow_phi, asked.shadow_out, strict=True):
        m_out += np.where(outside, transform(mean_phi(phi), own.choice.c), 0.0) / asked.out_count
    return learn_offline(_seen(OFFLINE, own.shadows), own.choice).predict(m_out, asked.out_count)


def lira_bayes_each(models: Models, settings: AttackSettings) -> Callable[[int], Scorer] | None:
    """Bayes LiRA with any of the M models as the target and the others as its shadows: what `lira_bayes` gives, with
    one pass over the models' values for all targets.

    None where that is not simpler than M times `lira_bayes`: an audited group, examples that some target's shadows do
    not score, or a side of some example with fewer than two models left for some target.
    """
    held = models.membership
    if models.audited is not None:
        return None
    services = [models.service(target) for target in range(len(held))]
    if any(who.scored is not None or min(who.kept) < 2 for who in services):
        return None
    pairs = None if models.partners is None else mutual_pairs(models.partners)
    cell = make_cell(models.phi, held, ~held, pairs)
    counts = tuple(side.count for side in cell.sides)
    keys = [np.ascontiguousarray(drawn.T) for drawn in trim_keys((len(held) - 1, held.shape[1]), models.seed)]

    def fit(target: int) -> Scorer:
        away = np.append(target, np.flatnonzero(services[target].tied))
        serves = ~np.isin(np.arange(len(held)), away)
        whole = whole_pairs(models.partners, serves) is not None
        left = [count - side.held[:, away].sum(axis=1) for side, count in zip(cell.sides, counts, strict=True)]
        kept = int(left[0].min()), int(left[1].min())
        if whole and pairs is not None:
            gone = left_out_pairs(cell.sides[0].held, away, pairs)
        else:
            gone_in, gone_out = (
                left_out(side.held, away, own - least, drawn)
                for side, own, least, drawn in zip(cell.sides, left, kept, keys, strict=True)
            )
            gone = gone_in, gone_out
        serving = Serving(cell, np.flatnonzero(serves), gone, kept, models.seed, models.partners, whole)
        found = serving.learn()
        predictions = {key: _predict(key, own.shadows, own.choice) for key, own in found.items()}
        return _scorer(predictions, serving.calibrations(found) if settings.calibrate else {})

    return fit
