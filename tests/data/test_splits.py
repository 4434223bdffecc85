"""Pool and membership: balanced, stratified, seeded, and pinned for good."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs.errors import UsageError
from data.splits import Split, draw_disjoint, draw_membership, draw_pairs, draw_pool, draw_population


def test_membership_is_pinned() -> None:
    small = draw_membership(n=12, num_models=4, train_fraction=0.5, seed=1)
    assert ["".join(map(str, row)) for row in small.astype(int)] == [
        "111110101001",
        "000101010100",
        "010001001111",
        "101010110010",
    ]
    split = Split(np.arange(1000), draw_membership(n=1000, num_models=5, train_fraction=0.3, seed=7))
    assert split.split_hash() == "95215d285fca73fc112d53e28753ebc45063090b0dceb7857a87d7e776416786"


def test_pool_is_pinned() -> None:
    labels = np.array([0, 0, 0, 0, 0, 0, 1, 1, 1, 2])
    assert draw_pool(labels, 3, seed=0).tolist() == [0, 7, 9]
    assert draw_pool(labels, 6, seed=0).tolist() == [0, 3, 4, 7, 8, 9]


@given(
    n=st.integers(40, 120),
    num_models=st.integers(1, 9),
    train_fraction=st.floats(0.2, 0.8),
    seed=st.integers(0, 2**64),
)
@settings(max_examples=60, deadline=None)
def test_every_example_is_in_floor_or_ceil_of_its_models(
    n: int, num_models: int, train_fraction: float, seed: int
) -> None:
    membership = draw_membership(n, num_models, train_fraction, seed)
    counts = membership.sum(axis=0)
    assert membership.shape == (num_models, n)
    assert membership.dtype == np.bool_
    assert set(counts) <= {int(np.floor(train_fraction * num_models)), int(np.ceil(train_fraction * num_models))}
    assert np.array_equal(membership, draw_membership(n, num_models, train_fraction, seed))


@pytest.mark.parametrize("num_models", [2, 4, 64])
def test_half_of_an_even_number_of_models_is_exact(num_models: int) -> None:
    membership = draw_membership(2000, num_models, 0.5, seed=1)
    assert np.all(membership.sum(axis=0) == num_models // 2)


@pytest.mark.parametrize(("num_models", "fraction"), [(1, 0.5), (3, 0.5), (5, 0.3), (4, 0.9), (10, 0.7)])
def test_a_models_share_is_the_fraction(num_models: int, fraction: float) -> None:
    share = draw_membership(20_000, num_models, fraction, seed=2).mean(axis=1)
    assert np.abs(share - fraction).max() < 0.02


def test_fraction_one_is_everything() -> None:
    assert draw_membership(7, 3, 1.0, seed=0).all()


def test_models_and_seeds_differ() -> None:
    membership = draw_membership(500, 4, 0.5, seed=0)
    assert 0.2 < np.mean(membership[0] == membership[1]) < 0.6
    assert 0.3 < np.mean(membership == draw_membership(500, 4, 0.5, seed=1)) < 0.7


@pytest.mark.parametrize("fraction", [0.0, -0.1, 1.1, float("nan")])
def test_train_fraction_range(fraction: float) -> None:
    with pytest.raises(UsageError, match=r"--train-fraction .*: out of range"):
        draw_membership(10, 2, fraction, 0)


@pytest.mark.parametrize(("fraction", "side"), [(1e-9, "no member"), (1 - 1e-9, "no non-member")])
def test_a_model_without_one_side_is_refused(fraction: float, side: str) -> None:
    with pytest.raises(UsageError, match=rf"--train-fraction .* {side}.*--pool-size"):
        draw_membership(10, 2, fraction, 0)


@pytest.mark.parametrize(("n", "models"), [(0, 2), (10, 0)])
def test_empty_split_is_refused(n: int, models: int) -> None:
    with pytest.raises(UsageError, match="1 or more"):
        draw_membership(n, models, 0.5, 0)


def test_negative_seed_is_refused() -> None:
    with pytest.raises(UsageError, match="--seed -1"):
        draw_membership(10, 2, 0.5, -1)


@pytest.mark.parametrize("size", [None, 10, 11])
def test_pool_of_everything(size: int | None) -> None:
    pool = draw_pool(np.zeros(10, dtype=np.int64), size, 0)
    assert pool.tolist() == list(range(10))
    assert pool.dtype == np.int64


def test_pool_is_stratified_nested_and_sorted() -> None:
    labels = np.repeat(np.arange(4), [400, 200, 100, 3])
    np.random.default_rng(0).shuffle(labels)
    previous: set[int] = set()
    for size in (4, 70, 351, 600):
        pool = draw_pool(labels, size, seed=5)
        assert pool.tolist() == sorted(set(pool.tolist()))
        counts = np.bincount(labels[pool], minlength=4)
        assert counts.sum() == size
        assert counts.min() >= 1
        assert np.abs(counts - size * np.array([400, 200, 100, 3]) / 703).max() <= 2
        assert previous <= set(pool.tolist())
        previous = set(pool.tolist())
    assert not np.array_equal(draw_pool(labels, 70, seed=5), draw_pool(labels, 70, seed=6))


def test_pool_smaller_than_the_classes_is_refused() -> None:
    with pytest.raises(UsageError, match=r"--pool-size 3: too small; allowed: 4 \(one a class\) or more"):
        draw_pool(np.arange(4).repeat(5), 3, 0)


def test_split_positions() -> None:
    split = Split(np.array([3, 5, 9]), np.array([[True, False, True], [False, True, False]]))
    assert split.members(0).tolist() == [0, 2]
    assert split.non_members(0).tolist() == [1]


def test_split_hash_sees_pool_and_membership() -> None:
    pool, membership = np.array([3, 5, 9]), np.array([[True, False, True]])
    hashes = {
        Split(pool, membership).split_hash(),
        Split(pool + 1, membership).split_hash(),
        Split(pool, ~membership).split_hash(),
    }
    assert len(hashes) == 3


@pytest.mark.parametrize(
    ("pool", "membership"),
    [
        (np.array([0.0, 1.0]), np.ones((1, 2), dtype=bool)),
        (np.array([0, 1]), np.ones((1, 2))),
        (np.array([0, 1]), np.ones((1, 3), dtype=bool)),
        (np.array([0, 1]), np.ones(2, dtype=bool)),
    ],
)
def test_split_refuses_what_does_not_fit(pool: np.ndarray, membership: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"pool|membership"):
        Split(pool, membership)


@pytest.mark.parametrize(("n", "models", "fraction"), [(200, 9, 0.5), (201, 4, 0.3), (60, 1, 0.5), (40, 3, 1.0)])
def test_disjoint_halves(n: int, models: int, fraction: float) -> None:
    membership, audited = draw_disjoint(n, models, fraction, seed=3)
    split = Split(np.arange(n), membership, audited)
    assert audited.sum() == n // 2
    assert membership[0].sum() == round(fraction * (n // 2))
    assert not membership[0, ~audited].any()
    assert not membership[1:, audited].any()
    counts = membership[1:, ~audited].sum(axis=0)
    assert counts.max() - counts.min() <= 1
    for model in range(models):
        own = split.own(model)
        assert np.array_equal(own, audited if model == 0 else ~audited)
        both = [*split.members(model), *split.non_members(model)]
        assert sorted(both) == np.flatnonzero(own).tolist()
    again = draw_disjoint(n, models, fraction, seed=3)
    assert np.array_equal(membership, again[0])
    assert np.array_equal(audited, again[1])
    assert not np.array_equal(audited, draw_disjoint(n, models, fraction, seed=4)[1])


def test_disjoint_is_pinned_and_in_the_hash() -> None:
    membership, audited = draw_disjoint(12, 3, 0.5, seed=1)
    assert "".join(map(str, audited.astype(int))) == "100000111101"
    assert "".join(map(str, membership[0].astype(int))) == "000000011100"
    pool = np.arange(12)
    hashes = {
        Split(pool, membership).split_hash(),
        Split(pool, membership, audited).split_hash(),
        Split(pool, membership, ~audited).split_hash(),
    }
    assert len(hashes) == 3


def test_disjoint_refuses_what_it_cannot_cut() -> None:
    with pytest.raises(UsageError, match="--split disjoint needs 4 examples"):
        draw_disjoint(3, 2, 0.5, seed=0)
    with pytest.raises(UsageError, match=r"--train-fraction 0\.01"):
        draw_disjoint(20, 1, 0.01, seed=0)
    with pytest.raises(UsageError, match=r"--train-fraction 1\.5"):
        draw_disjoint(20, 2, 1.5, seed=0)
    with pytest.raises(ValueError, match="audited must be bool"):
        Split(np.arange(3), np.ones((1, 3), dtype=bool), np.ones(2, dtype=bool))


def test_population_is_a_prefix_of_one_permutation() -> None:
    every = draw_population(100, 1000)
    assert sorted(every) == list(range(100))
    assert draw_population(100, 7).tolist() == every[:7].tolist()
    assert every[:3].tolist() == [93, 31, 25]


def test_pairs_are_complements_of_fair_coins() -> None:
    membership = draw_pairs(4000, 8, seed=3)
    assert membership.shape == (8, 4000)
    assert np.array_equal(membership[0::2], ~membership[1::2])
    assert np.array_equal(membership.sum(axis=0), np.full(4000, 4))
    share = membership[0::2].mean(axis=1)
    assert np.abs(share - 0.5).max() < 4 * 0.5 / np.sqrt(4000)
    r = np.asarray(np.corrcoef(membership[0::2]))[np.triu_indices(4, 1)]
    assert np.abs(r).max() < 4 / np.sqrt(4000)


def test_pairs_are_added_and_none_of_those_there_changes() -> None:
    few, more = draw_pairs(60, 8, seed=1), draw_pairs(60, 16, seed=1)
    assert np.array_equal(more[:8], few)
    assert np.array_equal(draw_pairs(60, 7, seed=1), few[:7])  # the last has no partner
    assert not np.array_equal(draw_pairs(60, 8, seed=2), few)
    pool = np.arange(60)
    hashes = {Split(pool, drawn, pairs_seed=1).split_hash() for drawn in (few, more)}
    assert len(hashes) == 1
    assert hashes != {Split(pool, few, pairs_seed=2).split_hash()}
    assert hashes != {Split(pool[::-1].copy(), few, pairs_seed=1).split_hash()}
    assert hashes != {Split(pool, few).split_hash()}


def test_pairs_are_pinned() -> None:
    assert np.packbits(draw_pairs(16, 4, seed=0)).tobytes().hex() == "f677098896d3692c"


def test_pairs_of_a_pool_that_is_too_small() -> None:
    with pytest.raises(UsageError, match="--pool-size 1: a model has no member or no non-member"):
        draw_pairs(1, 2, seed=0)
