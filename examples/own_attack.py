"""An attack of your own: how much surer the target is of an example's class than models that never held it.

python mia/unified_mia_evaluation.py --attacks examples/own_attack.py:surplus lira_bayes loss
"""

import numpy as np

from attacks.interface import AttackResult, AttackUnavailable


def surplus(inputs, settings):
    """phi minus its mean over the example's OUT shadow models. Learns once; what it gives back scores any target."""
    if inputs.out_count == 0:
        raise AttackUnavailable("surplus needs shadow models that did not hold the example")
    inputs = inputs.asked  # the examples whose membership is asked
    outside = inputs.shadow_out.astype(np.float64)
    shadows = inputs.shadow_phi.mean(axis=2)  # [S, n, Q]: the mean over queries
    expected = (outside * shadows).sum(axis=0) / outside.sum(axis=0)

    def score(target):
        scores = target.phi.mean(axis=1) - expected
        return {"surplus": AttackResult(scores.astype(np.float64))}

    return score


surplus.title = "Surplus over OUT models"
surplus.min_shadows = 2
