"""The strongest attack is chosen without the target."""

from __future__ import annotations

import numpy as np
import pytest

from attacks.evaluate import learn, score
from attacks.interface import AttackResult, AttackSettings
from attacks.models import Models
from attacks.registry import ATTACKS
from attacks.thresholds import best_threshold, calibration
from evaluation.strongest import choice_in_words, strongest


def result(shadow_auc: float | None) -> AttackResult:
    return AttackResult(np.zeros(2), shadow_auc=shadow_auc)


def test_the_choice_is_by_shadows_among_attacks_that_train_nothing() -> None:
    found = {"lira": result(0.6), "rmia": result(0.7), "lira_online": result(0.9), "samia": result(0.95)}
    assert strongest(found) == "rmia"
    assert strongest({"lira": result(0.6), "loss": result(None)}) is None
    assert strongest({"loss": result(0.6), "lira": result(0.6)}) == "lira"


def test_the_choice_in_words() -> None:
    assert choice_in_words(["rmia"] * 3) == "RMIA"
    assert choice_in_words(["lira", "rmia", "rmia"]) == "RMIA for 2 targets, LiRA for 1"


def test_what_trains_a_network_is_declared() -> None:
    networks = {name for name, attack in ATTACKS.items() if attack.implementation.startswith("attacks.networks:")}
    assert {name for name, attack in ATTACKS.items() if attack.trains_network} == networks


@pytest.mark.parametrize("seed", range(5))
def test_calibration_by_counting_pairs(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values, is_in = rng.integers(0, 6, 40) / 2, rng.random(40) < 0.4
    pairs = [(a > b) + 0.5 * (a == b) for a in values[is_in] for b in values[~is_in]]
    assert calibration(values, is_in).auc == pytest.approx(np.mean(pairs), abs=1e-12)
    gains = {t: (values[is_in] >= t).mean() + (values[~is_in] < t).mean() for t in np.unique(values)}
    assert best_threshold(values, is_in) == min(t for t, gain in gains.items() if gain > max(gains.values()) - 1e-12)


def test_shadow_auc_does_not_see_the_target() -> None:
    """Another target with other answers leaves it as it is; and it is what the attack does to shadows."""
    rng = np.random.default_rng(3)
    membership = rng.random((9, 400)).argsort(axis=0).argsort(axis=0) < 4
    phi = rng.normal(size=(9, 400, 1)) + 1.5 * membership[:, :, None]
    logits = np.concatenate([phi, np.zeros_like(phi)], axis=2).astype(np.float32)
    population = rng.normal(size=(9, 50, 1)).astype(np.float32)
    models = Models(logits, phi.astype(np.float32), membership, np.zeros(400, np.int64), 0, population=population)
    names = [name for name, attack in ATTACKS.items() if not attack.trains_network]
    learned = learn(models.leave_out(0), names, AttackSettings())
    own, other = (score(learned, models.outputs(target)) for target in (0, 1))
    for name in names:
        assert own[name].shadow_auc == other[name].shadow_auc
        auc = own[name].shadow_auc
        assert auc is not None
        assert auc > 0.65
