"""RMIA, the robust membership inference attack (Zarifzadeh et al. 2024, arXiv 2312.03262), online and offline.

For each query the confidence p(x) of the target in the true class is divided by p_bar(x), what a model drawn at random
would say; the score is the share of population examples z, held by no model, that x beats by gamma:
p(x) / p_bar(x) > gamma * p(z) / p_bar(z), averaged over queries.

p_bar(x) is half the mean over IN shadows plus half the mean over OUT shadows (online), or is guessed from the OUT
shadows alone as ((1 + a) mean_OUT + (1 - a)) / 2 (offline). No shadow holds a population example, so
p_bar(z) is always the guess. The score is a multiple of 1 / (P Q): few population examples make ties.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from mia.interface import (
    AttackInputs,
    AttackResult,
    AttackSettings,
    AttackUnavailable,
    BoolArray,
    Float64Array,
    FloatArray,
    Outputs,
    Scorer,
    removals,
)
from mia.mia_classic import NO_PAIRS, Calibration, calibration

ONLINE, OFFLINE = "rmia_online", "rmia_offline"


@dataclass(frozen=True, eq=False)
class Reference:
    """What models drawn at random say: p_bar(x) by variant, [n, Q] each, and p_bar(z), [P, Q]."""

    examples: dict[str, Float64Array]
    population: Float64Array


def rmia(inputs: AttackInputs, settings: AttackSettings) -> Scorer:
    """rmia_online where shadows held every example, rmia_offline, and `rmia`, the first of the two that is defined.

    Thresholds: every shadow plays the target once, against the others. Raises AttackUnavailable without population
    queries or OUT shadows.
    """
    asked, learned = inputs.asked, inputs.learned
    if inputs.shadow_population is None or inputs.shadow_population.shape[1] == 0:
        raise AttackUnavailable("rmia needs the population queries of target and shadows; this cell's cache has none")
    if asked.out_count < 1:
        raise AttackUnavailable(
            f"rmia needs a shadow model that does not hold an example; this cell has {asked.out_count} for some example"
        )
    reference = _reference(asked, settings.rmia_a)
    learned_of = _calibrations(learned, settings)
    missing = "too few shadow models a side for a shadow to play the target" if learned.has_pairs else NO_PAIRS

    def score(target: Outputs) -> dict[str, AttackResult]:
        assert target.population is not None, "inputs with population queries, a target without"
        results = {}
        for key, p_bar in reference.examples.items():
            scores = _scores(target.phi, p_bar, target.population, reference.population, settings.rmia_gamma)
            found = learned_of.get(key)
            results[key] = (
                AttackResult(scores, note=missing)
                if found is None
                else AttackResult(scores, found.threshold, shadow_auc=found.auc)
            )
        return {"rmia": results[ONLINE if ONLINE in results else OFFLINE], **results}

    return score


def guess(mean_out: Float64Array, a: float) -> Float64Array:
    """p_bar from OUT models alone, [...]: an IN model is taken to say a * mean_OUT + 1 - a."""
    return 0.5 * ((1.0 + a) * mean_out + (1.0 - a))


def _reference(inputs: AttackInputs, a: float) -> Reference:
    mean_out = _side_sums(inputs.shadow_phi, inputs.shadow_out) / inputs.out_count
    examples = {OFFLINE: guess(mean_out, a)}
    if inputs.in_count:
        mean_in = _side_sums(inputs.shadow_phi, inputs.shadow_in) / inputs.in_count
        examples = {ONLINE: 0.5 * (mean_in + mean_out), **examples}
    return Reference(examples, guess(_population_sum(inputs) / inputs.num_shadows, a))


def _side_sums(phi: FloatArray, side: BoolArray) -> Float64Array:
    """Confidence summed over the shadows of one side, [n, Q]; a shadow at a time to bound memory."""
    total = np.zeros(phi.shape[1:])
    for values, kept in zip(phi, side, strict=True):
        total += np.where(kept[:, None], expit(values.astype(np.float64)), 0.0)
    return total


def _population_sum(inputs: AttackInputs) -> Float64Array:
    assert inputs.shadow_population is not None
    total: Float64Array = sum((expit(values.astype(np.float64)) for values in inputs.shadow_population), np.float64(0))
    return total


def _scores(
    phi: FloatArray, p_bar: Float64Array, population: FloatArray, population_bar: Float64Array, gamma: float
) -> Float64Array:
    """The share of z that x beats, [n]. phi and p_bar: [n, Q]; population and population_bar: [P, Q]."""
    ratios = expit(phi.astype(np.float64)) / p_bar / gamma
    others = np.sort(expit(population.astype(np.float64)) / population_bar, axis=0)
    beaten = [np.searchsorted(others[:, q], ratios[:, q], side="left") for q in range(phi.shape[1])]
    return np.asarray(np.mean(beaten, axis=0) / len(others))


def _calibrations(inputs: AttackInputs, settings: AttackSettings) -> dict[str, Calibration]:
    """Best threshold and AUC by variant, every shadow in the target's place, served by the others, trimmed again."""
    if min(inputs.in_count, inputs.out_count) < 2:
        return {}
    assert inputs.shadow_population is not None
    sums_in, sums_out = (_side_sums(inputs.shadow_phi, side) for side in (inputs.shadow_in, inputs.shadow_out))
    population_sum = _population_sum(inputs)
    partner = np.random.default_rng([inputs.seed, 3]).integers(1 << 62, size=inputs.shadow_in.shape)
    gone_in, gone_out = removals(inputs.shadow_in, partner), removals(inputs.shadow_out, partner)
    every = np.arange(inputs.num_examples)
    scores: dict[str, list[Float64Array]] = {ONLINE: [], OFFLINE: []}
    for s in range(inputs.num_shadows):
        lost_in, lost_out = (
            expit(inputs.shadow_phi[gone[s], every].astype(np.float64)) for gone in (gone_in, gone_out)
        )
        mean_in = (sums_in - lost_in) / (inputs.in_count - 1)
        mean_out = (sums_out - lost_out) / (inputs.out_count - 1)
        population = inputs.shadow_population[s]
        rest = (population_sum - expit(population.astype(np.float64))) / (inputs.num_shadows - 1)
        for key, p_bar in ((ONLINE, 0.5 * (mean_in + mean_out)), (OFFLINE, guess(mean_out, settings.rmia_a))):
            arguments = (p_bar, population, guess(rest, settings.rmia_a), settings.rmia_gamma)
            scores[key].append(_scores(inputs.shadow_phi[s], *arguments))
    pairs = inputs.shadow_in | inputs.shadow_out
    return {key: calibration(np.stack(rows)[pairs], inputs.shadow_in[pairs]) for key, rows in scores.items()}
