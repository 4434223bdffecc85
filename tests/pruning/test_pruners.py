"""Dense, static and DPF step by step on a layer of four weights, small enough to check by hand."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from pruning.base import Pruner
from pruning.registry import METHODS, build_pruner
from tests.pruning.one_layer import GRADIENT, RATE, START, Run, config_of


def test_dense_is_plain_sgd() -> None:
    run = Run(config_of("dense", 0.0)).go(2)
    # step 1: w - 0.1 g; step 2: momentum 0.5 g + g
    expected = [w - RATE * g - RATE * 1.5 * g for w, g in zip(START, GRADIENT, strict=True)]
    assert run.weights == pytest.approx(expected)
    assert type(run.pruner) is Pruner
    assert run.pruner.sparsity() == 0.0


def test_static_at_initialisation_keeps_pruned_weights_at_zero() -> None:
    run = Run(config_of("static", 0.5, prune_epoch=0)).go(3)
    # |w| = 1, 2 are the two smallest; they never move. The others follow SGD with their own gradient.
    assert run.used[0] == [0.0, 0.0, 3.0, -4.0]
    assert run.weights[:2] == [0.0, 0.0]
    moved = 1.0 + 1.5 + 1.75
    assert run.weights[2:] == pytest.approx([3.0 + RATE * moved, -4.0 - RATE * moved])


def test_static_momentum_does_not_revive_a_pruned_weight() -> None:
    run = Run(config_of("static", 0.25, prune_epoch=2)).go(2)
    # Dense until epoch 2: w0 = 1 - 0.1 * 10 * (1 + 1.5) = -1.5, w1 = -2.25, w2 = 3.25, w3 = -4.25
    assert run.weights == pytest.approx([-1.5, -2.25, 3.25, -4.25])
    run.go(2)
    assert run.used[2][0] == 0.0
    assert run.optimizer.state[run.leaf]["momentum_buffer"][0] != 0.0
    run.pruner.finish()
    assert run.weights[0] == 0.0
    assert run.pruner.mask.tolist() == [0, 1, 1, 1]


def test_static_mask_never_changes() -> None:
    run = Run(config_of("static", 0.5, prune_epoch=1)).go(1)
    run.go()
    mask = run.pruner.mask.clone()
    run.go(2)
    assert torch.equal(run.pruner.mask, mask)


def test_static_prunes_at_the_end_if_that_is_its_epoch() -> None:
    run = Run(config_of("static", 0.5, prune_epoch=4)).go(4)
    assert 0.0 not in run.weights
    assert not run.pruner.at_target(4)
    run.pruner.finish()
    assert run.pruner.sparsity() == 0.5
    assert run.weights.count(0.0) == 2


def test_dpf_applies_the_sparse_gradient_to_dense_weights() -> None:
    # The gradient of the loss does not depend on w here; what matters is that forward uses w * mask
    # while every dense weight, masked ones included, receives the gradient.
    run = Run(config_of("dpf", 0.5, prune_freq=1, target_epoch=0, freeze_epoch=-1)).go(1)
    assert run.used[0] == [0.0, 0.0, 3.0, -4.0]
    assert run.leaf.tolist() == pytest.approx([0.0, -2.1, 3.1, -4.1], abs=1e-6)
    run.go(1)
    # step 2: momentum 1.5 g; |w| = 0, 2.1 are masked; w0 = 0 - 0.1 * 15 = -1.5
    assert run.used[1] == pytest.approx([0.0, 0.0, 3.1, -4.1])
    assert run.leaf.tolist() == pytest.approx([-1.5, -2.25, 3.25, -4.25])
    assert run.weights[0] == 0.0


def test_dpf_gradient_is_taken_at_the_masked_weights() -> None:
    # loss = (sum w * mask)^2 / 2: its gradient is the sum, -1 at the masked weights (0, 0, 3, -4), -2 at the dense ones
    config = config_of("dpf", 0.5, prune_freq=1, target_epoch=0, freeze_epoch=-1)
    run = Run(config, [1.0, 1.0, 1.0, 1.0], power=2).go(1)
    assert run.leaf.tolist() == pytest.approx([w + RATE for w in START])


def test_dpf_masked_weights_move_and_return() -> None:
    run = Run(config_of("dpf", 0.5, prune_freq=1, target_epoch=0, freeze_epoch=-1), [10.0, 0.0, 0.0, 0.0]).go(4)
    # w0: 1, 0, -1.5, -3.25, -5.125: masked at first, the largest at the end
    assert run.used[0][0] == 0.0
    assert run.leaf[0].item() == pytest.approx(-5.125)
    assert run.used[3] == pytest.approx([-3.25, 0.0, 0.0, -4.0])
    assert run.pruner.state().returned == 0.25


def test_dpf_result_is_dense_weights_times_mask_at_the_end() -> None:
    run = Run(config_of("dpf", 0.5, prune_freq=1, target_epoch=2, freeze_epoch=3)).go(4)
    run.pruner.finish()
    assert run.weights == pytest.approx((run.leaf.detach() * run.pruner.mask).tolist())
    assert run.weights.count(0.0) == 2


@pytest.mark.parametrize(("target", "freeze"), [(1, 1), (1, 2), (2, 4), (3, -1), (4, 4), (4, -1), (0, 0)])
def test_dpf_reaches_full_sparsity_whatever_the_frequency(target: int, freeze: int) -> None:
    run = Run(config_of("dpf", 0.5, prune_freq=100, target_epoch=target, freeze_epoch=freeze)).go(4)
    run.pruner.finish()
    assert run.pruner.sparsity() == 0.5
    assert run.pruner.at_target(4)


def test_dpf_updates_at_the_frequency_and_freezes() -> None:
    config = dataclasses.replace(config_of("dpf", 0.9, prune_freq=16, target_epoch=2, freeze_epoch=3))
    pruner = build_pruner(config, steps_per_epoch=40)
    updates = [step for step in range(160) if pruner.is_update(step)]  # type: ignore[attr-defined]
    assert updates == [0, 16, 32, 48, 64, 80, 96, 112, 120]


def test_dpf_is_not_at_target_before_the_ramp_ends() -> None:
    run = Run(config_of("dpf", 0.5, prune_freq=1, target_epoch=3, freeze_epoch=-1))
    reached = []
    for _ in range(4):
        run.go()
        reached.append(run.pruner.at_target(run.step))
    assert reached == [False, False, False, True]


@pytest.mark.parametrize("method", [name for name, method in METHODS.items() if not method.narrows])
def test_state_round_trip_continues_identically(method: str) -> None:
    config = config_of(method, 0.5 if METHODS[method].prunes else 0.0, prune_freq=1, update_freq=1)
    straight = Run(config).go(4)
    first = Run(config).go(2)
    second = Run(config)
    second.pruner.weights.values.copy_(first.pruner.weights.values)
    second.pruner.load_state_dict(first.pruner.state_dict())
    second.optimizer.load_state_dict(first.optimizer.state_dict())
    second.step = 2
    second.go(2)
    assert second.leaf.tolist() == straight.leaf.tolist()
    assert second.weights == straight.weights
