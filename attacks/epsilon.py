"""A lower bound on epsilon from networks that are trained once (Steinke, Nasr & Jagielski 2023, arXiv 2305.08846).

A training is (epsilon, delta)-differentially private where adding one example to its training set, or removing one,
changes the probability of any set of outcomes by the factor e^epsilon at most, and delta on top. Let every one of m
examples be a member or not by a fair coin of its own, and let somebody who sees what was trained, and nothing else that
depends on these coins, guess r of them. Whoever guesses a private training is right too seldom to have seen much:
v right guesses or more come (Theorem 5.2) with a probability of at most

    p = f(v) + 2 m delta max over i = 1, ..., v of (f(v - i) - f(v)) / i,    f(v) = P[W >= v],

W ~ Binomial(r, e^epsilon / (1 + e^epsilon)): what randomised response would give, and what delta can add to it. (For
i > v the quotient only falls, since f is 1 there.) An epsilon with p < 1 - confidence is refuted. Refuted ones come
from v alone, and if any one at the truth or above it is refuted by v, then by no smaller v than some v*, for which the
bound above holds: the largest refuted epsilon is above the truth with a probability below 1 - confidence.

The guesses here are fixed shares of a target's examples, at both ends of an attack's scores, so that nothing about them
is chosen by looking at who is a member. Of T targets the largest bound is taken, each at confidence 1 - 0.05 / T.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from scipy.special import expit
from scipy.stats import binom

from .arrays import BoolArray, Float64Array

DELTA = 1e-5
CONFIDENCE = 0.95
GUESSED = 0.05  # of the examples, at either end of the scores: fixed by simulation (docs/attacks.md), not by results
STEPS = 40  # halvings of the interval in which the bound is searched


def p_value(examples: int, guesses: int, right: int, epsilon: float, delta: float = DELTA) -> float:
    """The chance that an (epsilon, delta)-private training allows `right` right guesses or more, at most.

    examples: m, those whose membership is a fair coin; guesses: r of them. ValueError unless 0 <= v <= r <= m.
    """
    if not 0 <= right <= guesses <= examples:
        raise ValueError(f"right, guesses and examples must be 0 <= v <= r <= m, not {right}, {guesses} and {examples}")
    q = expit(epsilon)
    below = binom.pmf(np.arange(right - 1, -1, -1), guesses, q)  # P[W = v - 1], P[W = v - 2], ...
    added = (np.cumsum(below) / np.arange(1, right + 1)).max(initial=0.0)
    return float(min(binom.sf(right - 1, guesses, q) + 2.0 * examples * delta * added, 1.0))


@lru_cache(maxsize=4096)
def lower_bound(examples: int, guesses: int, right: int, confidence: float = CONFIDENCE, delta: float = DELTA) -> float:
    """The largest epsilon >= 0 that these guesses refute, from below, to 1e-9 or so; 0 where they refute none.

    Arguments and errors as of `p_value`.
    """
    level = 1.0 - confidence
    if p_value(examples, guesses, right, 0.0, delta) >= level:
        return 0.0
    low, high = 0.0, 1.0
    while p_value(examples, guesses, right, high, delta) < level:
        low, high = high, 2.0 * high
    for _ in range(STEPS):
        middle = (low + high) / 2.0
        if p_value(examples, guesses, right, middle, delta) < level:
            low = middle
        else:
            high = middle
    return low


def right_guesses(scores: Float64Array, membership: BoolArray) -> tuple[int, int]:
    """(guesses, right ones): the GUESSED share with the highest scores as members, as many with the lowest as not.

    scores: [m], higher = member; membership: bool [m], by fair coins. Of equal scores the earlier example ranks lower,
    which no coin has a part in.
    """
    each = int(GUESSED * scores.size)
    order = np.argsort(scores, kind="stable")
    members = membership[order[scores.size - each :]]
    others = membership[order[:each]]
    return 2 * each, int(members.sum() + (~others).sum())


def epsilon_lower(scores: Sequence[Float64Array], memberships: Sequence[BoolArray]) -> float:
    """The lower bound on epsilon of a training that made T networks, at CONFIDENCE.

    scores: [m] of each network, of an attack that has seen nothing else that depends on this network's coins: not its
    memberships, nor any model trained by them. memberships: bool [m] of each.
    """
    confidence = 1.0 - (1.0 - CONFIDENCE) / len(scores)
    return max(
        lower_bound(own.size, *right_guesses(own, membership), confidence)
        for own, membership in zip(scores, memberships, strict=True)
    )
