"""Attack networks: shapes, parameter counts, per-class training, random state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from mia import networks
from mia.interface import AttackSettings, AttackUnavailable


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
    rows = networks._rows(np.array([1, 0, 1, 1, 0, 1, 1]))
    assert rows.tolist() == [[1, 4, -1, -1, -1], [0, 2, 3, 5, 6]]
    plan = networks.Plan(steps=3, batch=2, lr=1e-3)
    batches = list(networks._batches(rows, plan))
    seen = torch.cat(batches, dim=1).flatten().tolist()
    assert sorted(seen) == [-1, -1, -1, 0, 1, 2, 3, 4, 5, 6]
    single = networks._batches(networks._rows(np.zeros(129, dtype=np.int64)), replace(plan, batch=128, steps=8))
    assert min(batch.shape[1] for batch in single) >= 64


def test_schedules() -> None:
    rising = networks.Plan(steps=400, batch=256, lr=5e-4, adamw=True, warmup=0.5)
    paper = networks.make_plan("paper", 1280, rising)
    assert (paper.steps, paper.batch, paper.adamw) == (1000, 128, False)
    assert [paper.lr_at(step) for step in (0, 499, 500, 750)] == pytest.approx([1e-3, 1e-3, 1e-4, 1e-5])
    fast = networks.make_plan("fast", 10**7, rising)
    assert (fast.steps, fast.batch, fast.adamw) == (400, 256, True)
    assert [fast.lr_at(step) for step in (0, 100, 200, 300)] == pytest.approx([0.0, 2.5e-4, 5e-4, 2.5e-4])
    assert replace(fast, warmup=0.0).lr_at(200) == pytest.approx(2.5e-4)


def test_shokri_has_one_plan_for_both_recipes(cell: Callable) -> None:
    inputs = cell(4, 40, seed=0)[0]
    fast, paper = (
        networks.shokri_nn(inputs, AttackSettings(recipe=r))(inputs.target)["shokri_nn"] for r in ("fast", "paper")
    )
    np.testing.assert_array_equal(fast.scores, paper.scores)


def test_paper_recipe_runs_and_classes_may_be_missing(cell: Callable) -> None:
    inputs = cell(4, 40, seed=0)[0]
    inputs = replace(inputs, labels=np.where(inputs.labels == 1, 0, inputs.labels))
    for attack in (networks.shokri_nn, networks.samia):
        result = attack(inputs, AttackSettings(recipe="paper"))(inputs.target)[attack.name]
        assert result.scores.shape == (40,)
        assert result.threshold is not None


def test_global_random_state_is_untouched(cell: Callable) -> None:
    inputs, state = cell(4, 40, seed=0)[0], torch.random.get_rng_state()
    first, second = (
        networks.top3_nn(inputs, AttackSettings("fast", seed=s))(inputs.target)["top3_nn"].scores for s in (1, 2)
    )
    assert torch.equal(torch.random.get_rng_state(), state)
    assert not np.array_equal(first, second)


def test_samia_needs_sensitivity(cell: Callable) -> None:
    inputs = replace(cell(4, 40, seed=0)[0], target_sensitivity=None, shadow_sensitivity=None)
    with pytest.raises(AttackUnavailable, match="sensitivity queries"):
        networks.samia(inputs, AttackSettings())
