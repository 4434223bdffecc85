"""Threshold attacks on one statistic of the output: confidence, entropy, modified entropy, loss.

Song & Mittal 2021 (arXiv 2003.10595), as evaluated by WeMeM (Shang et al., NDSS 2025): one threshold for each class,
chosen on the shadows. The score is the statistic minus its class's threshold and a member is claimed at score >= 0, so
AUC and accuracy describe one and the same attack.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from . import statistics
from .arrays import BoolArray, Float64Array, FloatArray, IntArray
from .inputs import AttackInputs, require_pairs
from .interface import AttackResult, AttackSettings, Outputs, Scorer

Statistic = Callable[[Outputs, IntArray], Float64Array]  # of [n] examples and their labels
NO_PAIRS = "no shadow pairs of both sides to calibrate a threshold on"


class Calibration(NamedTuple):
    """What shadows in the target's place teach of a score: the threshold, and the AUC among them (ties count half)."""

    threshold: float
    auc: float


def best_threshold(values: Float64Array, is_in: BoolArray) -> float:
    """The t among `values` that maximises `(P(in >= t) + P(out < t)) / 2`; the smallest such t on ties.

    values: [k]; is_in: bool [k]. O(k log k). Raises ValueError unless both sides have a value.
    """
    return calibration(values, is_in).threshold


def calibration(values: Float64Array, is_in: BoolArray) -> Calibration:
    """`best_threshold` and the AUC of the same values, in one sort. Raises as `best_threshold` does."""
    members = int(is_in.sum())
    others = is_in.size - members
    if members == 0 or others == 0:
        raise ValueError("a threshold needs values of members and of non-members")
    order = np.argsort(values, kind="stable")
    ordered, inside = values[order], is_in[order]
    starts = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))  # of runs of equal values
    in_below = np.concatenate(([0], np.cumsum(inside)))[starts]
    out_below = starts - in_below
    # integers, so that two thresholds of equal worth compare equal
    gain = out_below * members - in_below * others
    in_run = np.diff(np.append(in_below, members))
    pairs = int((in_run * (out_below + np.append(out_below[1:], others))).sum())  # twice those in the right order
    return Calibration(float(ordered[starts[np.argmax(gain)]]), pairs / (2 * members * others))


def shadow_values(inputs: AttackInputs, statistic: Statistic) -> Float64Array:
    """A statistic of every shadow on every example, float64 [S, n]; one shadow at a time to bound memory."""
    values = np.empty((inputs.num_shadows, inputs.num_examples))
    for s in range(inputs.num_shadows):
        logits = None if inputs.shadow_logits is None else inputs.shadow_logits[s]
        values[s] = statistic(Outputs(logits, inputs.shadow_phi[s]), inputs.labels)
    return values


def of_phi(function: Callable[[FloatArray], Float64Array]) -> Statistic:
    """The statistic of the plain query's phi: what the probability of the true class alone decides."""
    return lambda outputs, labels: function(outputs.phi[:, 0])


def of_logits(function: Callable[[FloatArray, IntArray], Float64Array]) -> Statistic:
    """The statistic of the logits."""

    def statistic(outputs: Outputs, labels: IntArray) -> Float64Array:
        assert outputs.logits is not None, "the registry declares who needs logits"
        return function(outputs.logits, labels)

    return statistic


def calibrate(inputs: AttackInputs, values: Float64Array) -> Callable[[Float64Array], AttackResult]:
    """What makes a target's scores a result: one threshold from the shadows' values [S, n], or why there is none."""
    if not inputs.has_pairs:
        return lambda scores: AttackResult(scores, None, NO_PAIRS)
    pairs = inputs.shadow_in | inputs.shadow_out
    learned = calibration(values[pairs], inputs.shadow_in[pairs])
    return lambda scores: AttackResult(scores, learned.threshold, shadow_auc=learned.auc)


def class_thresholds(inputs: AttackInputs, values: Float64Array, classes: int) -> Float64Array:
    """A threshold for each of the classes, float64 [C]; one without pairs of both sides takes that of all of them."""
    pairs = inputs.shadow_in | inputs.shadow_out
    is_in, kept = inputs.shadow_in[pairs], values[pairs]
    class_of = np.broadcast_to(inputs.labels, pairs.shape)[pairs]
    thresholds = np.full(classes, best_threshold(kept, is_in))
    for c in np.unique(class_of):
        own = class_of == c
        if 0 < is_in[own].sum() < own.sum():
            thresholds[c] = best_threshold(kept[own], is_in[own])
    return thresholds


def _per_class(name: str, statistic: Statistic, inputs: AttackInputs) -> Scorer:
    """shadow_auc is that of the shadows whose values chose the thresholds, a number for each class."""
    learned = inputs.learned
    require_pairs(name, learned)
    values = shadow_values(learned, statistic)
    thresholds = class_thresholds(learned, values, inputs.num_classes)
    labels, pairs = inputs.asked.labels, learned.shadow_in | learned.shadow_out
    auc = calibration((values - thresholds[learned.labels])[pairs], learned.shadow_in[pairs]).auc

    def score(target: Outputs) -> dict[str, AttackResult]:
        scores = statistic(target, labels) - thresholds[labels]
        return {name: AttackResult(scores, threshold=0.0, shadow_auc=auc)}

    return score


def confidence(inputs: AttackInputs, settings: AttackSettings) -> Scorer:
    """p_y against its class's threshold. Raises AttackUnavailable without shadow pairs of both sides."""
    # from 1 - p_y, so that confident networks do not tie at p_y = 1: p_y - t = (1 - t) - (1 - p_y)
    return _per_class("confidence", of_phi(lambda phi: -statistics.doubt(phi)), inputs)


def entropy(inputs: AttackInputs, settings: AttackSettings) -> Scorer:
    """`sum_c p_c log p_c` against its class's threshold. Raises as `confidence` does."""
    return _per_class("entropy", of_logits(statistics.entropy), inputs)


def modified_entropy(inputs: AttackInputs, settings: AttackSettings) -> Scorer:
    """Modified entropy against its class's threshold. Raises as `confidence` does."""
    return _per_class("modified_entropy", of_logits(statistics.modified_entropy), inputs)


def loss(inputs: AttackInputs, settings: AttackSettings) -> Scorer:
    """log p_y, one threshold for all examples (Yeom et al. 2018); without shadows it has scores but no threshold."""
    as_result: Callable[[Float64Array], AttackResult] = AttackResult
    if settings.calibrate:
        as_result = calibrate(inputs.learned, shadow_values(inputs.learned, of_phi(statistics.log_confidence)))

    def score(target: Outputs) -> dict[str, AttackResult]:
        return {"loss": as_result(statistics.log_confidence(target.phi[:, 0]))}

    return score
