"""Attack networks: shapes, parameter counts, per-class training, random state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from attacks import network_training, networks
from attacks.inputs import AttackInputs
from attacks.interface import AttackSettings, AttackUnavailable
from benchmarks import compiled_samia
from tests.attacks.conftest import MakeCell


def parameters(network: torch.nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def test_parameter_counts() -> None:
    assert parameters(networks.build_samia(10)) == 141_886
    assert parameters(networks.build_mlp(10)) == 10 * 512 + 512 + 512 * 256 + 256 + 256 * 128 + 128 + 128 * 2 + 2
    assert parameters(networks.build_shokri(10, 10)) == 10 * (10 * 64 + 64 + 64 * 2 + 2)


def test_samia_attends_over_classes() -> None:
    assert networks.build_samia(7)(torch.randn(5, 7, 3)).shape == (5, 2)


def test_shokri_networks_are_independent_linear_layers() -> None:
    network, x = networks.build_shokri(3, 4), torch.randn(3 * 5, 4)
    hidden, out = network.hidden, network.out
    assert isinstance(hidden, torch.nn.Conv1d)
    assert isinstance(out, torch.nn.Conv1d)
    assert hidden.bias is not None
    assert out.bias is not None
    for g in range(3):
        h = x[5 * g : 5 * g + 5] @ hidden.weight[64 * g : 64 * g + 64, :, 0].T + hidden.bias[64 * g : 64 * g + 64]
        y = h.relu() @ out.weight[2 * g : 2 * g + 2, :, 0].T + out.bias[2 * g : 2 * g + 2]
        torch.testing.assert_close(network(x)[5 * g : 5 * g + 5], y)


def test_features() -> None:
    logits, labels = np.log(np.array([[0.1, 0.2, 0.3, 0.4]])), np.array([2])
    np.testing.assert_allclose(networks.top_three(logits, labels, None), [[0.4, 0.3, 0.2]], rtol=1e-6)
    np.testing.assert_allclose(
        networks.posterior_and_label(logits, labels, None), [[0.1, 0.2, 0.3, 0.4, 0, 0, 1, 0]], rtol=1e-6
    )
    tokens = networks.class_tokens(logits, labels, np.array([[5.0, 6.0, 7.0, 8.0]]))
    np.testing.assert_allclose(tokens[0, 2], [0.3, 7.0, 1.0], rtol=1e-6)


def test_batches_cover_an_epoch_and_never_leave_one_example() -> None:
    rows = network_training.rows_by_group(np.array([1, 0, 1, 1, 0, 1, 1]))
    assert rows.tolist() == [[1, 4, -1, -1, -1], [0, 2, 3, 5, 6]]
    plan = network_training.Plan(steps=3, batch=2, lr=1e-3)
    batches = list(network_training.batches(rows, plan))
    seen = torch.cat(batches, dim=1).flatten().tolist()
    assert sorted(seen) == [-1, -1, -1, 0, 1, 2, 3, 4, 5, 6]
    single = network_training.batches(
        network_training.rows_by_group(np.zeros(129, dtype=np.int64)), replace(plan, batch=128, steps=8)
    )
    assert min(batch.shape[1] for batch in single) >= 64


def test_schedules() -> None:
    rising = network_training.Plan(steps=400, batch=256, lr=5e-4, adamw=True, warmup=0.5)
    paper, name = network_training.Plans(rising, rising).choose("paper", 1280)
    assert (paper.steps, paper.batch, paper.lr, paper.adamw, name) == (1000, 128, 1e-3, False, "the published")
    assert [paper.factor_at(step) for step in (0, 499, 500, 750)] == pytest.approx([1.0, 1.0, 0.1, 0.01])
    assert [rising.factor_at(step) for step in (0, 100, 200, 300)] == pytest.approx([0.0, 0.5, 1.0, 0.5])
    assert replace(rising, warmup=0.0).factor_at(200) == pytest.approx(0.5)


def test_auto_is_the_published_recipe_while_its_steps_can_be_afforded() -> None:
    fast, short = network_training.Plan(300, 256, lr=5e-4), network_training.Plan(1000, 512, lr=1e-3)
    plans = network_training.Plans(fast, short, affordable=1000)
    assert plans.choose("auto", 1280) == plans.choose("paper", 1280)
    assert plans.choose("auto", 1281) == (short, "the short")
    assert plans.choose("auto", 10**7) == (short, "the short")
    assert plans.choose("paper", 10**7)[0].steps == 7_812_500
    assert plans.choose("fast", 10**7) == (fast, "the fast")
    assert plans.choose("fast", 2400)[0].batch == 100


def test_the_short_plan_costs_the_same_for_any_larger_pool() -> None:
    for attack in (networks.samia, networks.top3_nn, networks.class_label_nn, networks.neural_network):
        one, ten = (attack.plans.choose("auto", pairs) for pairs in (40_000, 10**7))
        assert one == ten
        assert one[0].steps * one[0].batch <= 1_024_000


def test_shokri_has_one_plan_for_all_recipes(cell: MakeCell) -> None:
    inputs = cell(4, 40, seed=0)[0]
    auto, fast, paper = (
        networks.shokri_nn(inputs, AttackSettings(recipe=recipe))(inputs.target)["shokri_nn"]
        for recipe in ("auto", "fast", "paper")
    )
    np.testing.assert_array_equal(fast.scores, paper.scores)
    np.testing.assert_array_equal(auto.scores, paper.scores)


def test_muon_has_the_hidden_matrices_and_adamw_the_rest() -> None:
    network = networks.build_samia(10)
    plan = networks.SAMIA_PLANS.short
    assert plan is not None
    adamw, muon = network_training.optimisers(network, plan)
    hidden = muon.param_groups[0]["params"]
    shapes = [(192, 64), (64, 64), (128, 64), (64, 128)] * 3 + [(64, 640)]
    assert sorted(tuple(weight.shape) for weight in hidden) == sorted(shapes)
    held = sum(weight.numel() for group in (adamw, muon) for weight in group.param_groups[0]["params"])
    assert held == parameters(network)


def test_without_dropout_training_mode_is_deterministic() -> None:
    torch.manual_seed(0)
    network, x = networks.build_samia(4), torch.randn(8, 4, 3)
    network.train()
    assert not torch.equal(network(x), network(x))
    network_training.set_dropout(network, 0.0)
    assert torch.equal(network(x), network(x))


def test_the_short_plan_learns_and_its_note_says_what_ran(cell: MakeCell) -> None:
    inputs, membership = cell(4, 600, seed=0, gap=4.0)
    assert networks.SAMIA_PLANS.short is not None
    plans = replace(networks.SAMIA_PLANS, short=replace(networks.SAMIA_PLANS.short, steps=17), affordable=10)
    result = replace(networks.samia, plans=plans)(inputs, AttackSettings())(inputs.target)["samia"]
    assert result.note == "the short recipe: 17 steps of 256 pairs, of 1200"
    assert roc_auc_score(membership, result.scores) > 0.9


def test_a_threshold_of_many_pairs_is_chosen_on_some(cell: MakeCell, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = cell(4, 600, seed=0, gap=1.0)[0]
    settings = AttackSettings(recipe="fast")
    for attack in (networks.shokri_nn, networks.top3_nn):
        whole = attack(inputs, settings)(inputs.target)[attack.name]
        monkeypatch.setattr(network_training, "CALIBRATION_PAIRS", 300)
        some = attack(inputs, settings)(inputs.target)[attack.name]
        monkeypatch.undo()
        np.testing.assert_array_equal(some.scores, whole.scores)
        assert some.threshold is not None
        assert whole.threshold is not None
        claimed = [(some.scores >= some.threshold).mean(), (whole.scores >= whole.threshold).mean()]
        assert some.threshold != whole.threshold
        assert claimed[0] == pytest.approx(claimed[1], abs=0.3)


def test_paper_recipe_runs_and_classes_may_be_missing(cell: MakeCell) -> None:
    inputs = cell(4, 40, seed=0)[0]
    inputs = replace(inputs, labels=np.where(inputs.labels == 1, 0, inputs.labels))
    for attack in (networks.shokri_nn, networks.samia):
        result = attack(inputs, AttackSettings(recipe="paper"))(inputs.target)[attack.name]
        assert result.scores.shape == (40,)
        assert result.threshold is not None


def test_global_random_state_is_untouched(cell: MakeCell) -> None:
    inputs, state = cell(4, 40, seed=0)[0], torch.random.get_rng_state()
    first, second = (
        networks.top3_nn(inputs, AttackSettings("fast", seed=s))(inputs.target)["top3_nn"].scores for s in (1, 2)
    )
    assert torch.equal(torch.random.get_rng_state(), state)
    assert not np.array_equal(first, second)


def test_samia_needs_sensitivity(cell: MakeCell) -> None:
    inputs = replace(cell(4, 40, seed=0)[0], target_sensitivity=None, shadow_sensitivity=None)
    with pytest.raises(AttackUnavailable, match="sensitivity queries"):
        networks.samia(inputs, AttackSettings())


def some_probed(inputs: AttackInputs, probed: np.ndarray) -> AttackInputs:
    assert inputs.target_sensitivity is not None
    assert inputs.shadow_sensitivity is not None
    target, shadows = inputs.target_sensitivity.copy(), inputs.shadow_sensitivity.copy()
    target[~probed], shadows[:, ~probed] = np.nan, np.nan
    return replace(inputs, target_sensitivity=target, shadow_sensitivity=shadows)


def test_samia_of_some_examples_is_samia_of_a_cell_of_those(cell: MakeCell) -> None:
    inputs, settings = cell(4, 80, seed=0)[0], AttackSettings(recipe="fast")
    probed = np.random.default_rng(0).random(80) < 0.5
    partial = some_probed(inputs, probed)
    samia = replace(
        networks.samia, plans=network_training.Plans(network_training.Plan(20, 64, lr=1e-3, adamw=True, warmup=0.1))
    )
    result = samia(partial, settings)(partial.target)["samia"]
    alone = inputs.only(probed)
    expected = samia(alone, settings)(alone.target)["samia"]
    np.testing.assert_array_equal(result.scores, expected.scores)
    assert result.threshold == expected.threshold
    np.testing.assert_array_equal(result.rows, probed)
    np.testing.assert_array_equal(np.isnan(result.spread()), ~probed)
    assert expected.rows is None


def test_samia_without_a_probed_example_is_not_defined(cell: MakeCell) -> None:
    inputs = some_probed(cell(4, 40, seed=0)[0], np.zeros(40, dtype=bool))
    with pytest.raises(AttackUnavailable, match="no example with noise queries"):
        networks.samia(inputs, AttackSettings())


def test_other_attacks_do_not_mind_missing_noise_queries(cell: MakeCell) -> None:
    inputs, settings = cell(4, 40, seed=0)[0], AttackSettings(recipe="fast")
    partial = some_probed(inputs, np.arange(40) < 10)
    whole, same = (networks.top3_nn(one, settings)(one.target)["top3_nn"].scores for one in (inputs, partial))
    np.testing.assert_array_equal(whole, same)


@pytest.mark.parametrize("kept", [0.0, 1.0])
def test_the_compiled_network_is_the_published_one(kept: float) -> None:
    torch.manual_seed(0)
    network, tokens = networks.build_samia(5).train(), torch.randn(32, 5, 3)
    masks = torch.full((compiled_samia.masks_needed(network, 32),), kept)
    ours = compiled_samia.forward(network, tokens, masks)
    with pytest.raises(RuntimeError, match="invalid for input of size"):
        compiled_samia.forward(network, tokens, masks[:-1])  # every mask is used
    network_training.set_dropout(network, 1.0 - kept)
    torch.testing.assert_close(ours, network(tokens))


@pytest.mark.parametrize("p", [0.0, 0.2])
def test_the_compiled_network_learns_as_the_published_one(p: float) -> None:
    """Without dropout the same weights, with it others, drawn by the same seed: the same again."""

    def trained(fit: Callable[..., None]) -> torch.Tensor:
        torch.manual_seed(3)
        network, features = networks.build_samia(4), torch.randn(100, 4, 3)
        network_training.set_dropout(network, p)
        is_in = (features.sum(dim=(1, 2)) > 0).long()
        fit(network, features, is_in, torch.arange(100)[None], network_training.Plan(30, 16, lr=0.1))
        return torch.cat([weight.detach().flatten() for weight in network.parameters()])

    with torch.compiler.set_stance("force_eager"):
        ours, again = trained(compiled_samia.fit), trained(compiled_samia.fit)
    assert torch.equal(ours, again)
    theirs = trained(network_training.fit)
    assert torch.allclose(ours, theirs, atol=1e-4) == (p == 0.0)


def test_only_the_published_recipe_is_compiled() -> None:
    network, x = networks.build_samia(4), torch.randn(8, 4, 3)
    with pytest.raises(ValueError, match="not SAMIA's published recipe"):
        compiled_samia.fit(network, x, torch.zeros(8).long(), torch.arange(8)[None], networks.SAMIA_PLANS.fast)
