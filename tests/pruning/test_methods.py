"""Random masks, GMP, SET, RigL, SNIP and 2:4: by hand on four weights, and against plain masks on two layers."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from configs.errors import UsageError
from configs.experiment import ExperimentConfig
from configs.streams import MASK_STREAM, stream_seed
from pruning.base import Pruner
from pruning.densities import kept_by_layer
from pruning.registry import METHODS, build_pruner
from pruning.schedule import cubic_sparsity
from tests.pruning import plain_masks
from tests.pruning.one_layer import GRADIENT, MOMENTUM, RATE, START, Run, config_of


def started(method: str, mask: list[int], **knobs: object) -> Run:
    """A run whose first mask is given, not drawn."""
    run = Run(config_of(method, 0.5, **knobs))
    run.pruner.take(torch.tensor(mask))  # type: ignore[attr-defined]
    return run


def momentum(run: Run) -> list[float]:
    buffer: Tensor = run.optimizer.state[run.leaf]["momentum_buffer"]
    return buffer.tolist()


def test_random_is_dense_and_then_keeps_its_mask_for_good() -> None:
    config = config_of("random", 0.5, prune_epoch=2)
    run, dense = Run(config).go(4), Run(config_of("dense", 0.0)).go(4)
    assert run.used[:2] == dense.used[:2]
    mask = plain_masks.random_mask(stream_seed(config, MASK_STREAM, 2), (4,), [2])
    assert run.pruner.mask.tolist() == mask
    for used in run.used[2:]:
        assert [int(weight != 0) for weight in used] == mask
    assert [int(weight != 0) for weight in run.weights] == mask


def test_gmp_masks_more_and_more_and_what_is_masked_stays() -> None:
    # begins at step 1, ends at step 3: sparsities 0, 0.5 * 0.875, 0.5, that is 0, 2 and 2 of four weights
    run = Run(config_of("gmp", 0.5, prune_freq=1, begin_epoch=1, target_epoch=3))
    reached = []
    for _ in range(4):
        run.go()
        reached.append((run.pruner.mask.tolist().count(0), run.pruner.at_target(run.step)))
    assert reached == [(0, False), (0, False), (2, False), (2, True)]
    # dense until then: w0 = 1 - 0.1 * 10 * (1 + 1.5) = -1.5, w1 = -2.25: the two smallest
    assert run.used[2] == pytest.approx([0.0, 0.0, 3.25, -4.25])
    assert run.weights[:2] == [0.0, 0.0]


def test_gmp_never_trades_a_masked_weight_for_one_that_happens_to_be_zero() -> None:
    run = Run(config_of("gmp", 0.5, prune_freq=1, target_epoch=0)).go(1)
    assert run.pruner.mask.tolist() == [0, 0, 1, 1]
    run.pruner.mask.copy_(torch.tensor([1.0, 0.0, 0.0, 1.0]))
    run.pruner.weights.values.copy_(torch.tensor([0.0, 0.0, 0.0, -4.0]))
    run.pruner._reach(0.5)  # type: ignore[attr-defined]
    assert run.pruner.mask.tolist() == [1, 0, 0, 1]


@pytest.mark.parametrize(("begin", "target"), [(0, 4), (2, 2), (4, 4), (1, 3), (0, 0)])
def test_gmp_reaches_full_sparsity_whatever_the_frequency(begin: int, target: int) -> None:
    run = Run(config_of("gmp", 0.5, prune_freq=100, begin_epoch=begin, target_epoch=target)).go(4)
    run.pruner.finish()
    assert run.pruner.sparsity() == 0.5
    assert run.pruner.at_target(4)


def test_set_drops_the_smallest_and_a_random_one_grows_from_rest() -> None:
    run = started("set", [0, 1, 0, 1], update_freq=1, drop_fraction=0.5).go(1)
    assert run.weights == pytest.approx([0.0, -2.1, 0.0, -4.1])
    run.go(1)
    # w1 is dropped; of w0, w1 and w2 the one with the highest score grows, at zero
    drawn = plain_masks.scores(stream_seed(config_of("set", 0.5), MASK_STREAM, 1), 4)
    grown = max(range(3), key=lambda position: drawn[position])
    assert run.used[1] == pytest.approx([0.0, 0.0, 0.0, -4.1])
    assert run.pruner.mask.tolist() == [int(position in (grown, 3)) for position in range(4)]
    expected = [0.0, 0.0, 0.0, 1.5]
    expected[grown] = GRADIENT[grown]  # not 1.5 times it: at rest
    assert momentum(run) == pytest.approx(expected)
    assert run.pruner.state().returned == (0.0 if grown == 1 else 0.25)


def test_rigl_grows_where_the_gradient_is_largest() -> None:
    run = started("rigl", [0, 1, 0, 1], update_freq=1, drop_fraction=0.5, freeze_epoch=-1).go(2)
    # T_end = 4, so that the update at step 1 replaces 0.25 (1 + cos(pi / 4)) = 0.43 of two weights, that is one: w1
    # goes, w0 grows, and the step that follows moves it by its own gradient
    assert run.used[1] == pytest.approx([0.0, -2.1, 0.0, -4.1])  # the gradient is taken at the old mask
    assert run.pruner.mask.tolist() == [1, 0, 0, 1]
    assert run.weights == pytest.approx([-RATE * 10, 0.0, 0.0, -4.1 - RATE * 1.5])
    assert momentum(run) == pytest.approx([10.0, 0.0, 0.0, 1.5])
    assert run.pruner.state().returned == 0.25
    run.go(2)  # 0.25 and 0.07 of two weights round to none
    assert run.pruner.mask.tolist() == [1, 0, 0, 1]


def test_rigl_replaces_less_and_less_until_it_freezes() -> None:
    pruner = build_pruner(config_of("rigl", 0.9, update_freq=10, freeze_epoch=3), steps_per_epoch=20)
    updates = [step for step in range(80) if pruner.is_update(step)]  # type: ignore[attr-defined]
    assert updates == [10, 20, 30, 40, 50]
    shares = [pruner.share(step) for step in (0, 20, 30, 40)]  # type: ignore[attr-defined]
    assert shares == pytest.approx([0.3, 0.225, 0.15, 0.075])
    pruner = build_pruner(config_of("set", 0.9, update_freq=20), steps_per_epoch=20)
    assert [step for step in range(80) if pruner.is_update(step)] == [20, 40, 60]  # type: ignore[attr-defined]


def test_snip_keeps_the_largest_products_of_gradient_and_weight() -> None:
    # |g w| = 10, 2, 3, 4: magnitude alone would keep the two others
    run = Run(config_of("snip", 0.5)).go(1)
    assert run.used[0] == START
    assert run.pruner.mask.tolist() == [1, 0, 0, 1]
    assert run.weights == pytest.approx([1.0 - RATE * 10, 0.0, 0.0, -4.0 - RATE], abs=1e-6)
    run.go(2)
    assert run.used[1] == pytest.approx([0.0, 0.0, 0.0, -4.1], abs=1e-6)
    assert run.pruner.mask.tolist() == [1, 0, 0, 1]


def test_two_four_by_hand() -> None:
    run = Run(config_of("two_four", 0.5, prune_epoch=1)).go(2)
    assert 0.0 not in run.used[0]
    # after one step w = 0, -2.1, 3.1, -4.1
    assert run.pruner.mask.tolist() == [0, 0, 1, 1]
    assert run.used[1] == pytest.approx([0.0, 0.0, 3.1, -4.1])


class Network(nn.Module):
    """Two convolutions; the first has three input channels, of which no group of four can be made."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Conv2d(3, 8, 2, bias=False), nn.Conv2d(8, 4, 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.second(self.first(x).relu())
        return answer


SIZES, SHAPES, STEPS = (96, 128), [(8, 3, 2, 2), (4, 8, 2, 2)], 3
Seen = list[tuple[list[float], list[float], list[int], list[float]]]


def test_two_four_on_a_network() -> None:
    model = Network()
    before = model.second.weight.detach().clone()
    pruner = build_pruner(config_of("two_four", 0.5, prune_epoch=0), STEPS)
    pruner.attach(model)
    pruner.before_forward(0)
    assert bool((model.first.weight != 0).all())
    for out in range(4):
        for row, column in ((0, 0), (0, 1), (1, 0), (1, 1)):
            for group in (range(0, 4), range(4, 8)):
                old = {channel: before[out, channel, row, column].item() for channel in group}
                kept = {channel for channel in group if model.second.weight[out, channel, row, column] != 0}
                assert kept == set(sorted(group, key=lambda channel: abs(old[channel]))[2:])
    # the first layer is dense, and what is measured says so
    assert pruner.sparsity() == pytest.approx(64 / 224)
    assert pruner.at_target(1)


def config(method: str, **knobs: object) -> ExperimentConfig:
    return config_of(method, 0.7, **{"update_freq": 2, "prune_freq": 2, "target_epoch": 3, **knobs})


def watched(method: str, **knobs: object) -> tuple[Pruner, Seen]:
    """Train `Network`, most methods for 12 steps: before each step's update the weights and the raw gradient, after it
    the rest."""
    made = config(method, **knobs)
    model, pruner = Network(), build_pruner(made, STEPS)
    leaf = pruner.attach(model)
    optimizer = pruner.optimizer = torch.optim.SGD([leaf], lr=0.05, momentum=MOMENTUM)
    seen = []
    for step in range(made.total_epochs * STEPS):
        pictures = torch.randn(5, 3, 4, 4, generator=torch.Generator().manual_seed(step))
        before = pruner.weights.values.tolist()
        pruner.before_forward(step)
        pruner.weights.grad.zero_()
        (model(pictures) ** 2).mean().backward()
        gradient = pruner.weights.grad.tolist()
        pruner.after_backward()
        optimizer.step()
        pruner.after_step()
        seen.append((before, gradient, [int(one) for one in pruner.mask.tolist()], pruner.weights.values.tolist()))
    pruner.finish()
    return pruner, seen


@pytest.mark.parametrize("method", ["set", "rigl"])
@pytest.mark.parametrize("densities", ["erk", "uniform"])
def test_dynamic_masks_and_weights_are_those_of_the_plain_implementation(method: str, densities: str) -> None:
    made = config(method, densities=densities)
    kept = kept_by_layer(densities, SHAPES, 0.7)
    assert sum(kept) == 224 - round(0.7 * 224)
    mask = plain_masks.random_mask(stream_seed(made, MASK_STREAM, 0), SIZES, kept)
    _, seen = watched(method, densities=densities)
    weights, speed = [weight * one for weight, one in zip(seen[0][0], mask, strict=True)], [0.0] * 224
    changed = 0
    for step, (_, gradient, theirs, after) in enumerate(seen):
        share = 0.3 if method == "set" else 0.15 * (1 + math.cos(math.pi * step / 9))
        if step in (2, 4, 6, 8):
            random = plain_masks.scores(stream_seed(made, MASK_STREAM, step), 224)
            growth = random if method == "set" else [abs(one) for one in gradient]
            stay, new = plain_masks.replaced(weights, mask, growth, SIZES, share)
            changed += new != mask
            mask = new
            weights = [weight * one for weight, one in zip(weights, stay, strict=True)]
            speed = [v * one for v, one in zip(speed, stay, strict=True)]
        speed = [MOMENTUM * v + g * one for v, g, one in zip(speed, gradient, mask, strict=True)]
        weights = [weight - 0.05 * v for weight, v in zip(weights, speed, strict=True)]
        assert theirs == mask, step
        assert after == pytest.approx(weights, abs=1e-4), step
        weights = after
    assert changed == (4 if method == "set" else 3)  # RigL's last share is less than half a weight


def test_gmp_masks_are_those_of_the_plain_implementation() -> None:
    _, seen = watched("gmp", begin_epoch=1)
    mask, counts = [1] * 224, []
    for step, (before, _, theirs, after) in enumerate(seen):
        if 3 <= step <= 9 and (step % 2 == 1 or step == 9):
            mask = plain_masks.shrunk(before, mask, round(224 * cubic_sparsity(0.7, step - 3, 6)))
        counts.append(mask.count(0))
        assert theirs == mask, step
        assert all(weight == 0 for weight, one in zip(after, mask, strict=True) if not one)
    assert counts == sorted(counts)
    assert (counts[2], counts[-1]) == (0, round(0.7 * 224))


def test_snip_masks_are_those_of_the_plain_implementation() -> None:
    _, seen = watched("snip")
    products = [weight * slope for weight, slope in zip(seen[0][0], seen[0][1], strict=True)]
    mask = plain_masks.shrunk(products, [1] * 224, round(0.7 * 224))
    assert all(theirs == mask for _, _, theirs, _ in seen)


EXACT = [
    ("random", "global"),
    ("random", "uniform"),
    ("random", "erk"),
    ("set", "uniform"),
    ("rigl", "erk"),
    ("gmp", ""),
]


@pytest.mark.parametrize(("method", "densities"), EXACT)
def test_the_sparsity_is_exact_and_masked_weights_are_zero(method: str, densities: str) -> None:
    pruner, seen = watched(method, **({"densities": densities} if densities else {}))
    assert pruner.mask.tolist().count(0) == round(0.7 * 224)
    assert bool((pruner.evaluation_weights()[pruner.mask == 0] == 0).all())
    assert bool((pruner.evaluation_weights()[pruner.mask == 1] != 0).all())
    if densities not in ("", "global"):
        kept = kept_by_layer(densities, SHAPES, 0.7)
        assert all([int(part.sum()) for part in torch.tensor(mask).split(SIZES)] == kept for _, _, mask, _ in seen[9:])


def layer_counts(pruner: Pruner) -> list[int]:
    return [int(part.sum()) for part in pruner.mask.split(SIZES)]


def test_global_densities_are_those_of_magnitude_with_other_weights() -> None:
    masks = {}
    for method in ("static", "random"):
        pruner = build_pruner(config(method, prune_epoch=0), STEPS)
        pruner.attach(Network())
        pruner.before_forward(0)
        masks[method] = pruner
    assert layer_counts(masks["static"]) == layer_counts(masks["random"])
    assert layer_counts(masks["static"]) != kept_by_layer("uniform", SHAPES, 0.7)
    assert not torch.equal(masks["static"].mask, masks["random"].mask)


def test_the_mask_has_a_stream_of_its_own() -> None:
    def start(method: str, **fields: object) -> list[float]:
        own = METHODS[method].Knobs.completed({"densities": "erk", "prune_epoch": 0}, epochs=4)
        made = ExperimentConfig(method=method, sparsity=0.7, epochs=4, knobs=own, **fields)  # type: ignore[arg-type]
        pruner = build_pruner(made, STEPS)
        pruner.attach(Network())
        state = torch.random.get_rng_state()
        pruner.before_forward(0)
        assert torch.equal(torch.random.get_rng_state(), state)
        found: list[float] = pruner.mask.tolist()
        return found

    first = start("random")
    assert start("random") == start("set") == start("rigl") == first
    for other in ({"model_index": 1}, {"seed": 1}, {"train_seed": 1}):
        assert start("random", **other) != first


def test_knobs_that_do_not_go_together_are_refused() -> None:
    with pytest.raises(UsageError, match="--begin-epoch: 3 is after --target-epoch 2; give at most 2"):
        config_of("gmp", 0.5, begin_epoch=3, target_epoch=2)
    for method in ("set", "rigl"):
        with pytest.raises(UsageError, match="--densities: 'global' is unknown; choose from uniform, erk"):
            config_of(method, 0.5, densities="global")
