"""Cells made of numbers, for attacks: no model is trained here."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from attacks.arrays import BoolArray, Float64Array
from attacks.inputs import AttackInputs
from attacks.models import from_models
from attacks.statistics import phi

Cell = tuple[AttackInputs, BoolArray]
MakeCell = Callable[..., Cell]


def balanced_membership(models: int, examples: int, rng: np.random.Generator) -> BoolArray:
    """Every example IN floor or ceil of half of the models, bool [M, n]."""
    rank = rng.random((models, examples)).argsort(axis=0).argsort(axis=0)
    halves = models // 2 + rng.integers(models % 2 + 1, size=examples)
    return rank < halves


def make_cell(
    models: int,
    examples: int,
    seed: int,
    gap: float = 0.0,
    own: float = 0.0,
    noise: float = 1.0,
    classes: int = 4,
    queries: int = 2,
) -> Cell:
    """Target 0 of a cell, and its membership. gap: extra true-class logit of members; own: spread between examples."""
    rng = np.random.default_rng(seed)
    membership = balanced_membership(models, examples, rng)
    labels = rng.integers(classes, size=examples)
    true_class = np.eye(classes)[labels]
    logits = own * rng.normal(size=(examples, classes)) + noise * rng.normal(size=(models, examples, classes))
    logits += (1.0 + gap * membership)[:, :, None] * true_class
    shifted: list[Float64Array] = [phi(logits + 0.01 * q * true_class, labels) for q in range(queries)]
    sensitivity = np.abs(own * rng.normal(size=(examples, classes)) + rng.normal(size=logits.shape))
    population = rng.normal(size=(models, 150, queries)) + own * rng.normal(size=(150, 1))
    inputs = from_models(logits, np.stack(shifted, axis=2), membership, labels, 0, seed, sensitivity, population)
    return inputs, membership[0]


@pytest.fixture
def cell() -> MakeCell:
    """The maker of cells."""
    return make_cell
