"""Random numbers of the attacks: one stream per purpose, each from the seed and a tag.

The tags are those that recorded results were made with, so they never change; two pairs of purposes share one.
"""

from __future__ import annotations

import numpy as np

TRIMMING = 0  # which surplus shadow models are dropped
BOOTSTRAP = 0  # which examples a resample draws
LIRA_PARTNERS = 2  # who is dropped beside a shadow model that plays the target
RMIA_PARTNERS = 3
LIRA_PAIRS = 4  # which pairs of a shadow model and an example calibrate
NETWORK_PAIRS = 5
RMIA_EXAMPLES = 5  # which examples choose a


def stream(seed: int, tag: int) -> np.random.Generator:
    """The generator of one purpose."""
    return np.random.default_rng([seed, tag])
