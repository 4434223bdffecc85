"""LiRA as it is defined: example by example and query by query, to be checked against the papers.

`attacks.lira` computes the same for all examples at once (a test holds the two equal). This form is slow, and meant for
reading and checking.

Carlini et al. 2022 (arXiv 2112.03570), Algorithm 1 and eq. 4, with phi = log(p_y / (1 - p_y)) and medians as centres.
"""

from __future__ import annotations

import numpy as np
from scipy.stats import norm

from .arrays import BoolArray, Float64Array
from .inputs import AttackInputs

SPREAD_FLOOR = 0.1  # of the spread that all examples share: less is the luck of few shadow models


def lira_scores(inputs: AttackInputs) -> dict[str, Float64Array]:
    """The score of each example, [n], by variant; higher = member. Scores are means over queries.

    Needs two IN and two OUT shadow models per example.
    """
    n, queries = inputs.target_phi.shape
    # the published code's spread: of all values of models that held their example, about one common mean
    reference = inputs.shadow_phi[inputs.shadow_in].std()
    scores: dict[str, Float64Array] = {}
    for q in range(queries):
        shared_in, shared_out = (_shared_spread(inputs, side, q) for side in (inputs.shadow_in, inputs.shadow_out))
        for i in range(n):
            phi = inputs.target_phi[i, q]
            phi_in, phi_out = (inputs.shadow_phi[side[:, i], i, q] for side in (inputs.shadow_in, inputs.shadow_out))
            mu_in, mu_out = np.median(phi_in), np.median(phi_out)
            sd_in = max(phi_in.std(ddof=1), SPREAD_FLOOR * shared_in)
            sd_out = max(phi_out.std(ddof=1), SPREAD_FLOOR * shared_out)
            of_example = {
                # the likelihood ratio: a spread per example, one for all, and one for all as the published code has it
                "lira_online": norm.logpdf(phi, mu_in, sd_in) - norm.logpdf(phi, mu_out, sd_out),
                "lira_online_fixed": norm.logpdf(phi, mu_in, shared_in) - norm.logpdf(phi, mu_out, shared_out),
                "lira_online_fixed_reference": (
                    norm.logpdf(phi, mu_in, reference) - norm.logpdf(phi, mu_out, reference)
                ),
                # one-sided, without IN models; -log(1 - Phi) orders as Phi does and does not round to 1
                "lira_offline": -norm.logsf((phi - mu_out) / sd_out),
                "lira_offline_fixed": -norm.logsf((phi - mu_out) / shared_out),
                "lira_offline_reference": -norm.logpdf(phi, mu_out, sd_out),  # two-sided, as the published code has it
            }
            for variant, value in of_example.items():
                scores.setdefault(variant, np.zeros(n))[i] += value / queries
    return scores


def _shared_spread(inputs: AttackInputs, side: BoolArray, q: int) -> float:
    """The spread that all examples share: of the residuals about each example's own mean."""
    own = [inputs.shadow_phi[side[:, i], i, q].var(ddof=1) for i in range(inputs.num_examples)]
    return float(np.sqrt(np.mean(own)))
