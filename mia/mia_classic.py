"""Threshold attacks on one statistic of the output: confidence, entropy, modified entropy, loss.

Song & Mittal 2021 (arXiv 2003.10595), as evaluated by WeMeM (Shang et al., NDSS 2025): one threshold for each class,
chosen on the shadows. The score is the statistic minus its class's threshold and a member is claimed at score >= 0, so
AUC and accuracy describe one and the same attack.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mia import signals
from mia.interface import (
    AttackInputs,
    AttackResult,
    AttackSettings,
    BoolArray,
    Float64Array,
    FloatArray,
    IntArray,
    Outputs,
    Scorer,
    require_pairs,
)

Statistic = Callable[[Outputs, IntArray], Float64Array]  # of [n] examples and their labels
NO_PAIRS = "no shadow pairs of both sides to calibrate a threshold on"


def best_threshold(values: Float64Array, is_in: BoolArray) -> float:
    """The t among `values` that maximises `(P(in >= t) + P(out < t)) / 2`; the smallest such t on ties.

    values: [k]; is_in: bool [k]. O(k log k). Raises ValueError unless both sides have a value.
    """
    members = int(is_in.sum())
    others = is_in.size - members
    if members == 0 or others == 0:
        raise ValueError("a threshold needs values of members and of non-members")
    order = np.argsort(values, kind="stable")
    ordered, inside = values[order], is_in[order]
    in_below = np.concatenate(([0], np.cumsum(inside)[:-1]))
    out_below = np.arange(is_in.size) - in_below
    first = np.concatenate(([True], ordered[1:] != ordered[:-1]))  # only a run's first entry has all below it counted
    # integers, so that two thresholds of equal worth compare equal
    gain = np.where(first, out_below * members - in_below * others, -(members * others) - 1)
    return float(ordered[np.argmax(gain)])


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


def calibrate(inputs: AttackInputs, values: Float64Array) -> tuple[float | None, str | None]:
    """One threshold from the shadows' values [S, n] on their trimmed pairs, or (None, why not)."""
    if not inputs.has_pairs:
        return None, NO_PAIRS
    pairs = inputs.shadow_in | inputs.shadow_out
    return best_threshold(values[pairs], inputs.shadow_in[pairs]), None


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
    learned = inputs.learned
    require_pairs(name, learned)
    thresholds = class_thresholds(learned, shadow_values(learned, statistic), inputs.num_classes)
    labels = inputs.asked.labels

    def score(target: Outputs) -> dict[str, AttackResult]:
        return {name: AttackResult(statistic(target, labels) - thresholds[labels], threshold=0.0)}

    return score


def confidence(inputs: AttackInputs, settings: AttackSettings) -> Scorer:
    """p_y against its class's threshold. Raises AttackUnavailable without shadow pairs of both sides."""
    return _per_class("confidence", of_phi(signals.confidence), inputs)


def entropy(inputs: AttackInputs, settings: AttackSettings) -> Scorer:
    """`sum_c p_c log p_c` against its class's threshold. Raises as `confidence` does."""
    return _per_class("entropy", of_logits(signals.entropy), inputs)


def modified_entropy(inputs: AttackInputs, settings: AttackSettings) -> Scorer:
    """Modified entropy against its class's threshold. Raises as `confidence` does."""
    return _per_class("modified_entropy", of_logits(signals.modified_entropy), inputs)


def loss(inputs: AttackInputs, settings: AttackSettings) -> Scorer:
    """log p_y, one threshold for all examples (Yeom et al. 2018); without shadows it has scores but no threshold."""
    learned = inputs.learned
    threshold, note = calibrate(learned, shadow_values(learned, of_phi(signals.log_confidence)))

    def score(target: Outputs) -> dict[str, AttackResult]:
        return {"loss": AttackResult(signals.log_confidence(target.phi[:, 0]), threshold, note)}

    return score
