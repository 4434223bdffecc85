"""One walk over the registry: what every attack must do, and the evaluation that runs them all."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from mia.evaluate import evaluate_target
from mia.interface import AttackInputs, AttackResult, AttackSettings
from mia.metrics import METRICS
from mia.registry import ATTACKS, SUITES, available

SETTINGS = AttackSettings(recipe="fast")


def arrays(inputs: AttackInputs) -> dict[str, np.ndarray]:
    values = {field.name: getattr(inputs, field.name) for field in fields(inputs)}
    return {name: value for name, value in values.items() if isinstance(value, np.ndarray)}


def run(name: str, inputs: AttackInputs) -> dict[str, AttackResult]:
    return ATTACKS[name].function()(inputs, SETTINGS)


def aucs(name: str, made: tuple[AttackInputs, np.ndarray]) -> dict[str, float]:
    """AUC by variant."""
    inputs, membership = made
    return {key: float(roc_auc_score(membership, result.scores)) for key, result in run(name, inputs).items()}


@pytest.mark.parametrize("name", ATTACKS)
def test_finite_seeded_and_inputs_untouched(name: str, cell: Callable) -> None:
    inputs = cell(6, 60, seed=0, gap=1.0)[0]
    before = {key: value.copy() for key, value in arrays(inputs).items()}
    first, second = run(name, inputs), run(name, inputs)
    assert all(np.array_equal(value, before[key]) for key, value in arrays(inputs).items())
    assert set(first) <= set(ATTACKS[name].variants)
    for key, result in first.items():
        assert result.scores.shape == (60,)
        assert result.scores.dtype == np.float64
        assert np.isfinite(result.scores).all()
        assert np.array_equal(result.scores, second[key].scores)
        assert result.threshold == second[key].threshold


@pytest.mark.parametrize("name", ATTACKS)
def test_separable_data_is_separated(name: str, cell: Callable) -> None:
    found = aucs(name, cell(9, 300, seed=0, gap=9.0, noise=0.5))
    found.pop("lira_offline_reference", None)  # two-sided: far below is as unlikely as far above
    assert min(found.values()) > 0.95, found


@pytest.mark.parametrize("name", ATTACKS)
def test_independent_noise_holds_nothing(name: str, cell: Callable) -> None:
    for key, auc in aucs(name, cell(6, 3000, seed=1, classes=2, queries=1)).items():
        assert abs(auc - 0.5) < 0.03, key


@pytest.mark.parametrize("name", ATTACKS)
def test_noise_that_knows_its_example_holds_nothing(name: str, cell: Callable) -> None:
    """Each example repeats its own signal in every model; only the count of IN shadows could tell a member."""
    for key, auc in aucs(name, cell(7, 3000, seed=1, own=3.0, noise=0.05, classes=2, queries=1)).items():
        assert abs(auc - 0.5) < 0.03, key


def test_registry_entries_agree_with_their_code() -> None:
    assert list(ATTACKS) == [
        "lira", "shokri_nn", "top3_nn", "class_label_nn", "samia",
        "confidence", "entropy", "modified_entropy", "neural_network", "loss", "lira_global",
    ]  # fmt: skip
    keys = [key for attack in ATTACKS.values() for key in attack.variants]
    assert len(keys) == len(set(keys))
    for name, attack in ATTACKS.items():
        assert attack.name == name
        assert attack.suite in SUITES
        assert callable(attack.function())
    assert not available("lira", 4)
    assert available("lira", 5)
    assert available("loss", 0)


def test_registry_stays_light() -> None:
    code = "import sys, mia.registry; print([m for m in ('numpy', 'torch', 'scipy', 'sklearn') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_evaluation_reports_rows_scores_and_reasons(cell: Callable) -> None:
    inputs, membership = cell(4, 200, seed=0, gap=2.0)
    names: list[str] = []
    evaluation = evaluate_target(inputs, membership, ["lira", "confidence", "loss"], SETTINGS, names.append)
    assert names == ["lira", "confidence", "loss"]
    assert evaluation.unavailable == {"lira": "lira needs at least 5 shadow models; this cell has 3 (--num-shadows)"}
    assert set(evaluation.scores) == {"confidence", "loss"}
    assert [(row["attack"], row["metric"]) for row in evaluation.rows] == [
        (key, metric) for key in ("confidence", "loss") for metric in METRICS
    ]
    first = evaluation.rows[0]
    assert (first["suite"], first["n_members"]) == ("wemem", int(membership.sum()))
    assert first["value"] == pytest.approx(roc_auc_score(membership, evaluation.scores["confidence"]))


def test_evaluation_without_shadows_keeps_threshold_metrics_empty(cell: Callable) -> None:
    inputs, membership = cell(1, 200, seed=0)
    membership = np.arange(200) < 100
    evaluation = evaluate_target(inputs, membership, list(ATTACKS), SETTINGS)
    assert set(evaluation.scores) == {"loss", "lira_global"} == set(evaluation.notes)
    assert all(row["value"] is None for row in evaluation.rows if row["metric"] == "accuracy")
    assert len(evaluation.unavailable) == len(ATTACKS) - 2


def test_evaluation_refuses_what_it_does_not_know(cell: Callable) -> None:
    inputs, membership = cell(4, 30, seed=0)
    with pytest.raises(ValueError, match="unknown attack 'magic'; allowed: lira, "):
        evaluate_target(inputs, membership, ["magic"], SETTINGS)
    with pytest.raises(ValueError, match="membership has shape"):
        evaluate_target(inputs, membership[:5], ["loss"], SETTINGS)
