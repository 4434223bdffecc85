"""What one network says of its leakage without a shadow model: gaps, the LOSS threshold's AUC, its loss traces."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .arrays import BoolArray, Float64Array, FloatArray
from .metrics import Metric, evaluate_scores


@dataclass(frozen=True)
class Screen:
    """Of one network. loss_gap: mean cross-entropy (nats) of non-members minus that of members, positive where it fits
    members better. loss_auc: AUC of a threshold on the loss (Yeom et al. 2018), with its interval over examples; 0.5 is
    guessing."""

    loss_gap: float
    loss_auc: Metric


def losses(phi: FloatArray) -> Float64Array:
    """Cross-entropy in nats, of the shape of phi = logit of the true class's probability: log(1 + exp(-phi))."""
    return np.logaddexp(0.0, -phi.astype(np.float64))


def trace_iqr(losses: FloatArray) -> Float64Array:
    """[n] nats: of each member's losses over the epochs of its training, [E, n], the 0.75 quantile minus the 0.25
    quantile (linear between order statistics).

    LT-IQR of Pollock et al. 2024 (arXiv 2411.05743), which ranks members: the larger, the more at risk. It needs what
    only the one who trains can record, so it is no attack.
    """
    low, high = np.quantile(losses.astype(np.float64), (0.25, 0.75), axis=0)
    return np.asarray(high - low)


def screen(phi: FloatArray, membership: BoolArray, seed: int = 0) -> Screen:
    """phi: [n] of the plain query; membership: bool [n]. seed: of the bootstrap.

    Raises ValueError where shapes differ, a figure is NaN, or members or non-members are missing.
    """
    loss = losses(phi)
    auc = evaluate_scores(-loss, membership, None, seed=seed)["auc"]  # checks both
    return Screen(float(loss[~membership].mean() - loss[membership].mean()), auc)
