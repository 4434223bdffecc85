"""Weights per layer, and random masks: exact, the same everywhere, and as likely as they should be."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.registry import build_model
from pruning.densities import kept_by_layer
from pruning.random_scores import random_mask, random_scores
from pruning.weights import prunable_weights
from tests.pruning import plain_masks

CPU = torch.device("cpu")
RESNET20 = [tuple(weight.shape) for weight in prunable_weights(build_model("resnet", 20, 1, 3, 10)).values()]


def test_densities_by_hand() -> None:
    shapes = [(2, 1, 1, 1), (4, 2, 1, 1), (10, 9)]  # 2, 8 and 90 weights; 5, 8 and 19 rows and columns
    assert kept_by_layer("uniform", shapes, 0.5) == [1, 4, 45]
    # 32 to share: 5, 8 and 19 of them; the first has 2 alone, so that 30 go to the others, 8 to 19: 8.89 and 21.11
    # of which the second, too, has room for 8 alone
    assert kept_by_layer("erk", shapes, 0.68) == [2, 8, 22]
    # 16 to share: 2.5 are more than the first has; of 14 it is 8 to 19: 4.15 and 9.85
    assert kept_by_layer("erk", shapes, 0.84) == [2, 4, 10]
    assert kept_by_layer("erk", shapes, 0.0) == [2, 8, 90]


@pytest.mark.parametrize("sparsity", [0.5, 0.8, 0.95, 0.99])
def test_erk_is_that_of_another_implementation(sparsity: float) -> None:
    for ours, exact in zip(kept_by_layer("erk", RESNET20, sparsity), plain_masks.erk(RESNET20, sparsity), strict=True):
        assert abs(ours - exact) < 1


SHAPES = st.lists(st.tuples(*[st.integers(1, 9)] * 4) | st.tuples(*[st.integers(1, 40)] * 2), min_size=1, max_size=8)


@given(SHAPES, st.floats(0, 0.999), st.sampled_from(["uniform", "erk"]))
@settings(max_examples=60, deadline=None)
def test_the_total_is_exact_and_no_layer_has_more_than_it_can(
    shapes: list[tuple[int, ...]], sparsity: float, densities: str
) -> None:
    sizes = [math.prod(shape) for shape in shapes]
    kept = kept_by_layer(densities, shapes, sparsity)
    assert sum(kept) == sum(sizes) - round(sparsity * sum(sizes))
    assert all(0 <= count <= size for count, size in zip(kept, sizes, strict=True))


def test_scores_are_those_of_splitmix64() -> None:
    published = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]  # outputs from the seed 0
    assert random_scores(0, 3, CPU).tolist() == [output >> 1 for output in published]
    for seed in (1, 2**62 + 12345, 2**63 - 1):
        assert random_scores(seed, 50, CPU).tolist() == plain_masks.scores(seed, 50)


def test_a_random_mask_is_that_of_the_plain_implementation() -> None:
    sizes, kept = (5, 12, 1), [2, 0, 1]
    for seed in range(5):
        assert random_mask(seed, sizes, kept, CPU).tolist() == plain_masks.random_mask(seed, sizes, kept)
    counts = [torch.tensor(float(count)) for count in kept]
    assert random_mask(3, sizes, counts, CPU).tolist() == plain_masks.random_mask(3, sizes, kept)


def test_every_weight_is_as_likely_and_a_denser_mask_keeps_more() -> None:
    drawn = torch.stack([random_mask(seed, (30, 20), [12, 5], CPU) for seed in range(1000)]).float()
    assert torch.equal(drawn[:, :30].sum(1), torch.full((1000,), 12.0))
    shares = drawn.mean(0)
    # five standard errors of 1,000 draws
    assert (shares[:30] - 0.4).abs().max() < 5 * math.sqrt(0.4 * 0.6 / 1000)
    assert (shares[30:] - 0.25).abs().max() < 5 * math.sqrt(0.25 * 0.75 / 1000)
    denser = random_mask(0, (30, 20), [13, 9], CPU)
    assert bool((denser | ~random_mask(0, (30, 20), [12, 5], CPU)).all())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_draws_the_same() -> None:
    for seed in (0, 2**63 - 1):
        cuda = random_mask(seed, (300, 700), [100, 30], torch.device("cuda"))
        assert torch.equal(cuda.cpu(), random_mask(seed, (300, 700), [100, 30], CPU))
