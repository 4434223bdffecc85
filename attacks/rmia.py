"""RMIA, the robust membership inference attack (Zarifzadeh et al. 2024, arXiv 2312.03262), online and offline.

For each query the confidence p(x) of the target in the true class is divided by p_bar(x), what a model drawn at random
would say; the share of population examples z, held by no model, that x beats by gamma is
mean over z of [p(x) / p_bar(x) > gamma * p(z) / p_bar(z)], averaged over queries (eq. 4 and Algorithm 1).

The share is a multiple of 1 / (P Q) and, for one query, a function of the ratio p(x) / p_bar(x) that never falls: gamma
and z only merge values. `rmia_online` and `rmia_offline` are gamma = 1 with the ties broken by the ratio: share +
standing / (P Q), where the standing lies in (0, 1) and rises with the mean over queries of the ratio's logarithm. For
one query they rank exactly as the ratio does, which is BASE (arXiv 2505.24089). `rmia_published` is the share alone at
the paper's gamma and a.

p_bar(x) is half the mean over IN shadows plus half the mean over OUT shadows (online), or is guessed from the OUT
shadows alone as ((1 + a) mean_OUT + (1 - a)) / 2 (offline). No shadow holds a population example, so
p_bar(z) is always the guess.

Near p = 1 neither p nor the ratio has digits left, so 1 - p is averaged beside p, and logarithms are taken of whichever
is exact.

What is chosen or calibrated comes from shadows that play the target, served by the others, trimmed again: one shadow
fewer per side than the target itself has.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, log_expit

from .arrays import BoolArray, Float64Array, FloatArray
from .inputs import AttackInputs
from .interface import AttackResult, AttackSettings, AttackUnavailable, Outputs, Scorer
from .leave_one_out import removals
from .streams import RMIA_EXAMPLES, RMIA_PARTNERS, stream
from .thresholds import NO_PAIRS, Calibration, calibration

ONLINE, OFFLINE, PUBLISHED = "rmia_online", "rmia_offline", "rmia_published"
PUBLISHED_A = 0.3
GRID_OF_A = tuple(i / 10 for i in range(11))
CHOICE_PAIRS = 1 << 16  # pairs of a shadow and an example that choose a
TOO_FEW_PER_SIDE = "too few shadow models per side for a shadow to play the target"


@dataclass(frozen=True)
class Variant:
    """online: whether p_bar(x) is the mean over both sides; a: of the guess; gamma; breaks_ties: by the ratio."""

    online: bool
    a: float
    gamma: float
    breaks_ties: bool


@dataclass(frozen=True, eq=False)
class MeanConfidence:
    """What shadows say in the mean: those that hold each example, [2, n, Q] or None, the rest, [2, n, Q], and all of
    them on z, [2, P, Q]; p first, then 1 - p, as of `confidence`."""

    inside: Float64Array | None
    outside: Float64Array
    population: Float64Array

    def of_examples(self, variant: Variant) -> Float64Array:
        """p_bar(x) and 1 - p_bar(x), [2, n, Q]."""
        if variant.online:
            assert self.inside is not None, "an online variant without IN shadows"
            return 0.5 * (self.inside + self.outside)
        return guess(self.outside, variant.a)


def rmia(inputs: AttackInputs, settings: AttackSettings) -> Scorer:
    """rmia_online where shadows held every example, rmia_offline, rmia_published, and `rmia`, the first of them.

    a: of the settings, else `choose_a` on the shadows (rmia_published: 0.3); the choice is in each result's `chosen`.
    Raises AttackUnavailable without population queries or OUT shadows.
    """
    asked, learned = inputs.asked, inputs.learned
    if inputs.shadow_population is None or inputs.shadow_population.shape[1] == 0:
        raise AttackUnavailable("rmia needs the population queries of target and shadows; this cell's cache has none")
    if asked.out_count < 1:
        raise AttackUnavailable(
            f"rmia needs a shadow model that does not hold an example; this cell has {asked.out_count} for some example"
        )
    means, chosen = _means(asked), choose_a(learned) if settings.rmia_a is None else None
    variants = _variants(asked.in_count > 0, settings, chosen)
    learned_of = _calibrations(learned, variants) if settings.calibrate else {}

    def score(target: Outputs) -> dict[str, AttackResult]:
        assert target.population is not None, "inputs with population queries, a target without"
        results = {}
        for key, variant in variants.items():
            own = {"a": chosen} if variant.breaks_ties and chosen is not None else {}
            note = None if learned_of else _what_is_missing(learned, variant.breaks_ties and settings.rmia_a is None)
            scores = variant_scores(variant, target.phi, target.population, means)
            threshold, auc = learned_of.get(key, (None, None))
            results[key] = AttackResult(scores, threshold, note, shadow_auc=auc, chosen=own)
        return {"rmia": next(iter(results.values())), **results}

    return score


def confidence(phi: FloatArray) -> Float64Array:
    """p and 1 - p, [2, ...]."""
    values = phi.astype(np.float64)
    return np.stack([expit(values), expit(-values)])


def guess(mean_out: Float64Array, a: float | Float64Array) -> Float64Array:
    """p_bar and 1 - p_bar from OUT models alone, [2, ...]: an IN model is taken to say a * mean_OUT + 1 - a.

    Several a at once where `a` and mean_out are broadcast.
    """
    p, rest = 0.5 * (1.0 + a) * mean_out
    return np.stack([p + 0.5 * (1.0 - a), rest])


def _variants(online: bool, settings: AttackSettings, chosen: float | None) -> dict[str, Variant]:
    """The defined variants by key, the one to report first."""
    given = settings.rmia_a
    published_a = PUBLISHED_A if given is None else given
    a = next(value for value in (given, chosen, PUBLISHED_A) if value is not None)
    found = {ONLINE: Variant(True, a, 1.0, True)} if online else {}
    published = Variant(online, published_a, settings.rmia_gamma, False)
    return {**found, OFFLINE: Variant(False, a, 1.0, True), PUBLISHED: published}


def _what_is_missing(learned: AttackInputs, wants_a: bool) -> str:
    why = TOO_FEW_PER_SIDE if learned.has_pairs else NO_PAIRS
    return f"{why}; a is the published {PUBLISHED_A}" if wants_a else why


def log_ratio(phi: FloatArray, p_bar: Float64Array) -> Float64Array:
    """log(p / p_bar), [..., Q]; finite also where all shadows' p underflow. p_bar: [2, ..., Q]."""
    return np.asarray(log_expit(phi.astype(np.float64)) - _log(p_bar))


def _log(p_bar: Float64Array) -> Float64Array:
    p, rest = p_bar
    return np.asarray(
        np.where(p < 0.5, np.log(np.maximum(p, np.finfo(np.float64).tiny)), np.log1p(-np.clip(rest, 0.0, 0.5)))
    )


def variant_scores(variant: Variant, phi: FloatArray, population: FloatArray, means: MeanConfidence) -> Float64Array:
    """Scores of one model, [n]. phi: [n, Q]; population: [P, Q]; means: of the shadows that serve it."""
    ratios = log_ratio(phi, means.of_examples(variant))
    others = log_ratio(population, guess(means.population, variant.a))
    beaten = [
        np.searchsorted(np.sort(others[:, q]), ratios[:, q] - np.log(variant.gamma), side="left")
        for q in range(phi.shape[1])
    ]
    share = np.asarray(np.mean(beaten, axis=0) / len(others))
    if not variant.breaks_ties:
        return share
    return share + standing(ratios.mean(axis=1), others.mean(axis=1)) / others.size


def standing(values: Float64Array, others: Float64Array) -> Float64Array:
    """Where values [n] stand among others [P], in (0, 1), strictly rising: a common map such as the logistic one would
    leave too few digits where confident networks crowd all ratios together.

    Linear between neighbours; beyond the ends s / (1 + s) with s = log(1 + d / (range of the others)), d the distance
    to the outermost.
    """
    steps = np.unique(others)
    place = np.interp(values, steps, np.arange(1.0, steps.size + 1.0))
    unit = float(np.ptp(steps)) or 1.0
    below, above = (np.log1p(np.maximum(d, 0.0) / unit) for d in (steps[0] - values, values - steps[-1]))
    return np.asarray((place - below / (1.0 + below) + above / (1.0 + above)) / (steps.size + 1.0))


def _means(inputs: AttackInputs) -> MeanConfidence:
    inside = _side_sums(inputs.shadow_phi, inputs.shadow_in) / inputs.in_count if inputs.in_count else None
    outside = _side_sums(inputs.shadow_phi, inputs.shadow_out) / inputs.out_count
    return MeanConfidence(inside, outside, _population_sum(inputs) / _serving(inputs).sum())


def _side_sums(phi: FloatArray, side: BoolArray) -> Float64Array:
    """Confidence summed over the shadows of one side, [2, n, Q]; a shadow at a time to bound memory."""
    total = np.zeros((2, *phi.shape[1:]))
    for values, kept in zip(phi, side, strict=True):
        total += np.where(kept[:, None], confidence(values), 0.0)
    return total


def _population_sum(inputs: AttackInputs) -> Float64Array:
    assert inputs.shadow_population is not None
    serving = inputs.shadow_population[_serving(inputs)]
    total: Float64Array = sum(map(confidence, serving), np.float64(0))
    return total


def _serving(inputs: AttackInputs) -> BoolArray:
    everyone = np.ones(inputs.num_shadows, dtype=np.bool_)
    return everyone if inputs.serving is None else inputs.serving


def _can_play(inputs: AttackInputs) -> bool:
    """Whether a shadow can play the target: the others leave one per side."""
    return min(inputs.in_count, inputs.out_count) >= 2


def _in_the_targets_place(inputs: AttackInputs) -> Iterator[tuple[FloatArray, FloatArray, MeanConfidence]]:
    """Every shadow's phi [n, Q] and [P, Q], and what the others say; they are trimmed again."""
    assert inputs.shadow_population is not None
    sums_in, sums_out = (_side_sums(inputs.shadow_phi, side) for side in (inputs.shadow_in, inputs.shadow_out))
    population_sum = _population_sum(inputs)
    drawn = stream(inputs.seed, RMIA_PARTNERS).integers(1 << 62, size=inputs.shadow_in.shape)
    gone_in, gone_out = (removals(side, drawn, inputs.partners) for side in (inputs.shadow_in, inputs.shadow_out))
    every = np.arange(inputs.num_examples)
    serving = int(_serving(inputs).sum())  # of a shadow that serves nobody the caller uses nothing
    for s in range(inputs.num_shadows):
        lost_in, lost_out = (confidence(inputs.shadow_phi[gone[s], every]) for gone in (gone_in, gone_out))
        population = inputs.shadow_population[s]
        yield (
            inputs.shadow_phi[s],
            population,
            MeanConfidence(
                (sums_in - lost_in) / (inputs.in_count - 1),
                (sums_out - lost_out) / (inputs.out_count - 1),
                (population_sum - confidence(population)) / (serving - 1),
            ),
        )


def choose_a(inputs: AttackInputs) -> float | None:
    """The a of GRID_OF_A with which the offline ratio finds the members of shadows best; None where no shadow can play
    the target.

    Best: the largest sum over shadows of the AUC of the mean over queries of log(p / p_bar), each shadow in the
    target's place; the smallest a of several. Where shadows x examples exceed CHOICE_PAIRS, a part of the examples,
    drawn with the seed, stands for all.
    """
    if not _can_play(inputs):
        return None
    size = min(inputs.num_examples, max(1, CHOICE_PAIRS // inputs.num_shadows))
    rows = np.zeros(inputs.num_examples, dtype=np.bool_)
    rows[stream(inputs.seed, RMIA_EXAMPLES).permutation(inputs.num_examples)[:size]] = True
    few = inputs.only(rows)
    total, grid = np.zeros(len(GRID_OF_A)), np.array(GRID_OF_A)[:, None, None]
    for s, (phi, _, means) in enumerate(_in_the_targets_place(few)):
        pairs = few.shadow_in[s] | few.shadow_out[s]
        ratios = log_ratio(phi, guess(means.outside[:, None], grid)).mean(axis=2)[:, pairs]
        total += [_auc(values, few.shadow_in[s, pairs]) for values in ratios]
    return GRID_OF_A[int(np.argmax(total))]


def _auc(values: Float64Array, is_in: BoolArray) -> float:
    """Ties count one half; 0.5 where a side is empty."""
    inside, outside = np.sort(values[is_in]), np.sort(values[~is_in])
    if not inside.size or not outside.size:
        return 0.5
    below = sum(int(np.searchsorted(outside, inside, side).sum()) for side in ("left", "right"))
    return below / (2 * inside.size * outside.size)


def _calibrations(inputs: AttackInputs, variants: dict[str, Variant]) -> dict[str, Calibration]:
    """Best threshold and AUC by variant, from every shadow in the target's place."""
    if not _can_play(inputs):
        return {}
    scores: dict[str, list[Float64Array]] = {key: [] for key in variants}
    for phi, population, means in _in_the_targets_place(inputs):
        for key, variant in variants.items():
            scores[key].append(variant_scores(variant, phi, population, means))
    pairs = inputs.shadow_in | inputs.shadow_out
    return {key: calibration(np.stack(rows)[pairs], inputs.shadow_in[pairs]) for key, rows in scores.items()}
