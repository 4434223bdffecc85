"""One walk over the registry: what every attack must do, and the evaluation that runs them all."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields, replace
from pkgutil import resolve_name

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from attacks.evaluate import learn, measure, score
from attacks.inputs import AttackInputs
from attacks.interface import AttackResult, AttackSettings
from attacks.metrics import METRICS
from attacks.registry import ATTACKS, SUITES, headline_of
from attacks.statistics import phi
from tests.attacks.conftest import MakeCell

SETTINGS = AttackSettings(recipe="fast")


def arrays(inputs: AttackInputs) -> dict[str, np.ndarray]:
    values = {field.name: getattr(inputs, field.name) for field in fields(inputs)}
    return {name: value for name, value in values.items() if isinstance(value, np.ndarray)}


def run(name: str, inputs: AttackInputs) -> dict[str, AttackResult]:
    return ATTACKS[name].run(inputs, SETTINGS)


def aucs(name: str, made: tuple[AttackInputs, np.ndarray]) -> dict[str, float]:
    """AUC by variant."""
    inputs, membership = made
    return {key: float(roc_auc_score(membership, result.scores)) for key, result in run(name, inputs).items()}


@pytest.mark.usefixtures("few_steps")
@pytest.mark.parametrize("name", ATTACKS)
def test_finite_seeded_and_inputs_untouched(name: str, cell: MakeCell) -> None:
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
def test_separable_data_is_separated(name: str, cell: MakeCell) -> None:
    found = aucs(name, cell(9, 300, seed=0, gap=9.0, noise=0.5))
    found.pop("lira_offline_reference", None)  # two-sided: far below is as unlikely as far above
    assert min(found.values()) > 0.95, found


@pytest.mark.parametrize("name", ATTACKS)
def test_independent_noise_holds_nothing(name: str, cell: MakeCell) -> None:
    for key, auc in aucs(name, cell(6, 3000, seed=1, classes=2, queries=1)).items():
        assert abs(auc - 0.5) < 0.03, key


@pytest.mark.parametrize("name", ATTACKS)
def test_noise_that_knows_its_example_holds_nothing(name: str, cell: MakeCell) -> None:
    """Each example repeats its own signal in every model; only the count of IN shadows could tell a member."""
    for key, auc in aucs(name, cell(7, 3000, seed=1, own=3.0, noise=0.05, classes=2, queries=1)).items():
        assert abs(auc - 0.5) < 0.03, key


@pytest.mark.parametrize("name", ["lira", "rmia", "confidence", "entropy", "modified_entropy", "loss", "lira_global"])
def test_confident_networks_do_not_tie(name: str, cell: MakeCell) -> None:
    """Margins of 38 to 60, where p_y rounds to 1 in float64: what the definitions tell apart stays apart."""
    inputs = cell(7, 300, seed=2, gap=2.0, classes=3)[0]
    assert inputs.shadow_logits is not None
    assert inputs.target_logits is not None
    assert inputs.shadow_population is not None
    assert inputs.target_population is not None
    surer = 44.0 * np.eye(3)[inputs.labels]
    shadow_logits, target_logits = inputs.shadow_logits + surer, inputs.target_logits + surer
    shadow_phi = np.stack([phi(logits, inputs.labels)[:, None] for logits in shadow_logits])
    sure = replace(
        inputs,
        target_logits=target_logits,
        shadow_logits=shadow_logits,
        target_phi=phi(target_logits, inputs.labels)[:, None],
        shadow_phi=shadow_phi,
        target_population=inputs.target_population[..., :1] + 44.0,
        shadow_population=inputs.shadow_population[..., :1] + 44.0,
    )
    for key, result in run(name, sure).items():
        if key != "rmia_published":  # a share of few population examples, by definition
            assert result.tied < 0.01, key


def test_registry_entries_agree_with_their_code() -> None:
    assert headline_of(ATTACKS) == "lira_bayes"
    keys = [key for attack in ATTACKS.values() for key in attack.variants]
    assert len(keys) == len(set(keys))
    for name, attack in ATTACKS.items():
        assert attack.name == name
        assert attack.suite in SUITES
        assert callable(resolve_name(attack.implementation))


def test_registry_stays_light() -> None:
    code = (
        "import sys, attacks.registry; print([m for m in ('numpy', 'torch', 'scipy', 'sklearn') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_evaluation_reports_rows_scores_and_reasons(cell: MakeCell) -> None:
    inputs, membership = cell(4, 200, seed=0, gap=2.0)
    names: list[str] = []
    knowledge = learn(inputs, ["lira", "confidence", "loss"], SETTINGS, names.append)
    assert names == ["lira", "confidence", "loss"]
    assert knowledge.unavailable == {"lira": "lira needs at least 5 shadow models; this cell has 3 (--num-shadows)"}
    results = score(knowledge, inputs.target)
    assert set(results) == {"confidence", "loss"}
    rows = measure(results, membership, seed=0)
    assert [(row["attack"], row["metric"]) for row in rows] == [
        (key, metric) for key in ("confidence", "loss") for metric in METRICS
    ]
    assert (rows[0]["suite"], rows[0]["n_members"]) == ("wemem", int(membership.sum()))
    assert rows[0]["value"] == pytest.approx(roc_auc_score(membership, results["confidence"].scores))


def test_evaluation_without_shadows_keeps_threshold_metrics_empty(cell: MakeCell) -> None:
    inputs, membership = cell(1, 200, seed=0)
    membership = np.arange(200) < 100
    knowledge = learn(inputs, list(ATTACKS), SETTINGS)
    results = score(knowledge, inputs.target)
    assert set(results) == {"loss", "lira_global"}
    assert all(result.note for result in results.values())
    rows = measure(results, membership, seed=0)
    assert all(row["value"] is None for row in rows if row["metric"] == "accuracy")
    assert len(knowledge.unavailable) == len(ATTACKS) - 2


@pytest.mark.usefixtures("few_steps")
@pytest.mark.parametrize("name", ATTACKS)
def test_what_was_learned_scores_another_target(name: str, cell: MakeCell) -> None:
    """Learning looks at the shadows alone: another target gets the scores it would have got as the first."""
    inputs = cell(6, 60, seed=0, gap=1.0)[0]
    assert inputs.target_logits is not None
    moved = replace(inputs, target_logits=inputs.target_logits[::-1].copy(), target_phi=inputs.target_phi[::-1].copy())
    scorer = ATTACKS[name].fit(inputs, SETTINGS)
    scorer(inputs.target)
    for key, result in ATTACKS[name].run(moved, SETTINGS).items():
        np.testing.assert_array_equal(scorer(moved.target)[key].scores, result.scores)


def test_learning_refuses_an_unknown_attack(cell: MakeCell) -> None:
    with pytest.raises(ValueError, match="unknown attack 'magic'; allowed: "):
        learn(cell(4, 30, seed=0)[0], ["magic"], SETTINGS)
