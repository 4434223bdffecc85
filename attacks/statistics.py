"""Per-example statistics of logits, or of phi alone, all in float64 and exact where softmax saturates.

What needs all classes comes from `log_probabilities`, which takes log p and log(1 - p) from the logits themselves:
near p = 1 neither is recovered from the other, so no statistic needs an epsilon and none is capped. Logits are
[..., C], labels broadcast to [...].
"""

from __future__ import annotations

import numpy as np
from scipy.special import expit, logsumexp

from .arrays import Float64Array, FloatArray, IntArray


def log_probabilities(logits: FloatArray) -> tuple[Float64Array, Float64Array]:
    """log p and log(1 - p) of the softmax, float64 [..., C] each, for C >= 2.

    The largest class is treated apart: its 1 - p is the sum of the others, which may be 1e-400 and still has a
    logarithm. Every other class has p <= 1/2, where log1p(-p) is exact.
    """
    z = np.asarray(logits, dtype=np.float64)
    z = z - z.max(axis=-1, keepdims=True)
    top = np.expand_dims(z.argmax(axis=-1), -1)
    others = z.copy()
    np.put_along_axis(others, top, -np.inf, axis=-1)
    rest = logsumexp(others, axis=-1, keepdims=True)
    total = np.logaddexp(0.0, rest)
    log_p = z - total
    below_half = log_p.copy()
    np.put_along_axis(below_half, top, -np.inf, axis=-1)
    log_not_p = np.log1p(-np.exp(below_half))
    np.put_along_axis(log_not_p, top, rest - total, axis=-1)
    return log_p, log_not_p


def phi(logits: FloatArray, labels: IntArray) -> Float64Array:
    """`z_y - logsumexp_{c != y} z_c`, the logit of the true class's probability (Carlini et al. 2022, stable form).

    logits [..., C] with C >= 2, labels broadcast to [...]; float64 [...], higher = more confident in the true class.
    """
    z = np.array(logits, dtype=np.float64)
    index = np.broadcast_to(labels, z.shape[:-1])[..., None]
    true = np.take_along_axis(z, index, axis=-1)[..., 0]
    np.put_along_axis(z, index, -np.inf, axis=-1)
    return np.asarray(true - logsumexp(z, axis=-1))


def log_confidence(phi: FloatArray) -> Float64Array:
    """log p_y, [...], the negative cross-entropy loss, from phi = log p_y - log(1 - p_y)."""
    return np.asarray(-np.logaddexp(0.0, -np.asarray(phi, dtype=np.float64)))


def confidence(phi: FloatArray) -> Float64Array:
    """p_y, [...], in [0, 1], from phi = log p_y - log(1 - p_y)."""
    return np.asarray(expit(np.asarray(phi, dtype=np.float64)))


def log_softmax(logits: FloatArray) -> Float64Array:
    """log p, float64 [..., C]."""
    return log_probabilities(logits)[0]


def doubt(phi: FloatArray) -> Float64Array:
    """1 - p_y, [...], in [0, 1], with all its digits where p_y rounds to 1."""
    return confidence(-np.asarray(phi, dtype=np.float64))


def entropy(logits: FloatArray, labels: IntArray) -> Float64Array:
    """Negative entropy `sum_c p_c log p_c`, [...], <= 0 (Song & Mittal 2021); the labels are not used."""
    log_p = log_softmax(logits)
    return np.asarray((np.exp(log_p) * log_p).sum(axis=-1))


def modified_entropy(logits: FloatArray, labels: IntArray) -> Float64Array:
    """Negative modified entropy `(1 - p_y) log p_y + sum_{c != y} p_c log(1 - p_c)`, [...] (Song & Mittal 2021)."""
    log_p, log_not_p = log_probabilities(logits)
    wrong = np.exp(log_p) * log_not_p
    right = np.exp(_of_class(log_not_p, labels)) * _of_class(log_p, labels)
    np.put_along_axis(wrong, _index(wrong, labels), 0.0, axis=-1)
    return np.asarray(right + wrong.sum(axis=-1))


def _of_class(values: Float64Array, labels: IntArray) -> Float64Array:
    return np.take_along_axis(values, _index(values, labels), axis=-1)[..., 0]


def _index(values: Float64Array, labels: IntArray) -> IntArray:
    return np.broadcast_to(labels, values.shape[:-1])[..., None]
