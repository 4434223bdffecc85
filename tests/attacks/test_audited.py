"""--split disjoint as attacks see it: shadows never held an audited example and are learned from on the others."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from attacks.arrays import BoolArray
from attacks.inputs import AttackInputs
from attacks.interface import AttackSettings
from attacks.models import from_models
from attacks.registry import ATTACKS
from attacks.statistics import phi

SETTINGS = AttackSettings(recipe="fast")
ONLINE = {"lira_online", "lira_online_fixed", "lira_online_fixed_reference", "rmia_online"}


def disjoint_cell(models: int, examples: int, seed: int, gap: float = 0.0) -> tuple[AttackInputs, BoolArray]:
    """Target 0 with half of the first half of the examples; shadows with halves of the second. Membership [n / 2]."""
    rng = np.random.default_rng(seed)
    half, classes = examples // 2, 3
    audited = np.arange(examples) < half
    membership = np.zeros((models, examples), dtype=np.bool_)
    membership[0, rng.permutation(half)[: half // 2]] = True
    membership[1:, half:] = rng.random((models - 1, examples - half)).argsort(axis=0).argsort(axis=0) < models // 2
    labels = rng.integers(classes, size=examples)
    logits = rng.normal(size=(models, examples, classes)) + rng.normal(size=(examples, classes))
    logits += (1.0 + gap * membership)[:, :, None] * np.eye(classes)[labels]
    sensitivity = np.abs(rng.normal(size=logits.shape))
    population = rng.normal(size=(models, 200, 1)) + rng.normal(size=(200, 1))
    phis = phi(logits, labels)[:, :, None]
    inputs = from_models(logits, phis, membership, labels, 0, seed, sensitivity, population, audited)
    return inputs, membership[0, audited]


def test_the_groups_are_trimmed_apart() -> None:
    inputs = disjoint_cell(8, 400, seed=0)[0]
    assert (inputs.asked.in_count, inputs.asked.out_count) == (0, 7)
    assert inputs.learned.in_count + inputs.learned.out_count == 7
    assert inputs.asked.num_examples == inputs.learned.num_examples == 200
    assert inputs.target.logits is not None
    assert inputs.target_logits is not None
    assert np.array_equal(inputs.target.logits, inputs.target_logits[:200])


@pytest.mark.parametrize("name", ATTACKS)
def test_members_are_found_with_calibrated_thresholds(name: str) -> None:
    inputs, membership = disjoint_cell(9, 800, seed=1, gap=6.0)
    results = ATTACKS[name].run(inputs, SETTINGS)
    assert not set(results) & ONLINE
    for key, result in results.items():
        assert result.scores.shape == (400,)
        assert result.threshold is not None
        if key != "lira_offline_reference":  # two-sided: far below is as unlikely as far above
            assert roc_auc_score(membership, result.scores) > 0.9, key
            claimed = result.scores >= result.threshold
            assert (claimed[membership].mean() + (~claimed)[~membership].mean()) / 2 > 0.8, key


@pytest.mark.parametrize("name", ATTACKS)
def test_noise_holds_nothing(name: str) -> None:
    inputs, membership = disjoint_cell(7, 6000, seed=2)
    for key, result in ATTACKS[name].run(inputs, SETTINGS).items():
        assert abs(roc_auc_score(membership, result.scores) - 0.5) < 0.04, key


def test_headlines_are_offline() -> None:
    inputs = disjoint_cell(9, 200, seed=3)[0]
    lira, rmia = ATTACKS["lira"].run(inputs, SETTINGS), ATTACKS["rmia"].run(inputs, SETTINGS)
    assert lira["lira"] is lira["lira_offline"]
    assert rmia["rmia"] is rmia["rmia_offline"]


def test_a_shadow_that_holds_an_audited_example_is_refused() -> None:
    inputs = disjoint_cell(7, 100, seed=4)[0]
    held = inputs.shadow_in.copy()
    held[:, 0] = True
    with pytest.raises(ValueError, match="a shadow holds an audited example"):
        AttackInputs(
            **{name: getattr(inputs, name) for name in ("labels", "target_logits", "target_phi", "shadow_logits")},
            shadow_phi=inputs.shadow_phi,
            shadow_in=held,
            shadow_out=inputs.shadow_out & ~held,
            audited=inputs.audited,
        )
