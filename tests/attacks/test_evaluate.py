"""The library's one call, and memberships that nobody balanced."""

from __future__ import annotations

import numpy as np
import pytest

from attacks.evaluate import evaluate, learn, learn_each, score
from attacks.interface import AttackSettings, AttackUnavailable
from attacks.metrics import evaluate_scores
from attacks.models import Models
from attacks.registry import ATTACKS
from attacks.statistics import phi
from tests.attacks.conftest import MakeCell

SHADOWLESS = {name for name, attack in ATTACKS.items() if attack.min_shadows == 0}


def uneven(gap: float, seed: int = 0) -> Models:
    """13 models; an example is held by 5 to 10 of them."""
    rng = np.random.default_rng(seed)
    membership = rng.random((13, 300)).argsort(axis=0) < rng.integers(5, 11, size=300)
    labels = rng.integers(4, size=300)
    logits = rng.normal(size=(13, 300, 4)) + (1 + gap * membership)[:, :, None] * np.eye(4)[labels]
    return Models(logits, phi(logits, labels)[:, :, None], membership, labels, seed)


def test_rows_are_the_metrics_of_the_scores(cell: MakeCell) -> None:
    inputs, membership = cell(9, 200, 0, gap=1.0)
    rows = evaluate(inputs, membership, attacks=["loss"], settings=AttackSettings(seed=3))
    found = score(learn(inputs, ["loss"], AttackSettings(seed=3)), inputs.target)["loss"]
    expected = evaluate_scores(found.scores, membership, found.threshold, seed=3)
    assert {row["metric"]: (row["value"], row["ci_low"], row["ci_high"]) for row in rows} == {
        name: (figure.value, figure.ci_low, figure.ci_high) for name, figure in expected.items()
    }
    assert {(row["attack"], row["suite"], row["n_members"]) for row in rows} == {
        ("loss", "baseline", int(membership.sum()))
    }


def test_all_that_is_defined_by_default_and_a_named_attack_or_an_error() -> None:
    models = uneven(1.0)
    assert models.logits is not None
    alone = Models(models.logits[:1], models.phi[:1], models.membership[:1], models.labels, 0)
    rows = evaluate(alone.leave_out(0), alone.membership[0])
    assert {row["attack"] for row in rows} == SHADOWLESS
    with pytest.raises(AttackUnavailable, match="lira needs at least 5"):
        evaluate(alone.leave_out(0), alone.membership[0], attacks=["loss", "lira"])
    with pytest.raises(ValueError, match="unknown attack 'magic'"):
        evaluate(alone.leave_out(0), alone.membership[0], attacks=["magic"])
    with pytest.raises(ValueError, match="bool"):
        evaluate(alone.leave_out(0), alone.membership[0].astype(int), attacks=["loss"])


def test_only_audited_examples_are_measured() -> None:
    models = uneven(1.0)
    audited = np.arange(300) < 100
    membership = models.membership.copy()
    membership[1:, audited] = False
    held = Models(models.logits, models.phi, membership, models.labels, 0, audited=audited)
    (row,) = [row for row in evaluate(held.leave_out(0), membership[0], ["loss"]) if row["metric"] == "auc"]
    assert row["n_members"] == int(membership[0, audited].sum())


def test_uneven_memberships_give_nothing_away() -> None:
    """With every count different, noise is still noise, for every target at once and one at a time."""
    models = uneven(gap=0.0)
    settings = AttackSettings(seed=0)
    values = []
    for target, knowledge in enumerate(learn_each(models, range(13), ["lira", "confidence"], settings)):
        results = score(knowledge, models.outputs(target))
        alone = score(learn(models.leave_out(target), ["lira", "confidence"], settings), models.outputs(target))
        for name, result in results.items():
            assert np.allclose(result.scores, alone[name].scores, rtol=1e-6, atol=1e-9), name
        inside = models.membership[target]
        values.append([_auc(results[name].scores, results[name].among(inside)) for name in ("lira", "confidence")])
    assert np.abs(np.mean(values, axis=0) - 0.5).max() < 0.03


def test_uneven_memberships_still_show_what_leaks() -> None:
    models = uneven(gap=2.0)
    rows = evaluate(models.leave_out(0), models.membership[0], ["lira", "confidence"])
    auc = {row["attack"]: row["value"] for row in rows if row["metric"] == "auc"}
    assert float(auc["lira"] or 0) > 0.75
    assert float(auc["confidence"] or 0) > 0.75


def _auc(scores: np.ndarray, membership: np.ndarray) -> float:
    value = evaluate_scores(scores, membership, None, resamples=0)["auc"].value
    assert value is not None
    return value
