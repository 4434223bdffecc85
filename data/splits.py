"""Who trains on what: the pool, and for every model of a cell its members.

Both are functions of their arguments alone. Neither the pruning method nor the sparsity is one of them, so cells with
the same dataset, seed and number of models share their split: their differences are paired example by example. (In
complementary pairs they share that of the models that both have.)

Random numbers are `Generator(PCG64(SeedSequence([seed, tag]))).random`, one tag for each purpose, so that a pool and a
membership drawn from one seed are independent. Only uniform float64 draws and stable sorting are used, which do not
change between numpy releases; a test pins the result.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from artifacts.signals import pairs_hash, split_hash
from configs.errors import UsageError

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

POOL_TAG = 0x9001
MEMBERSHIP_TAG = 0x3E3B
HALVES_TAG = 0x4A1F
POPULATION_TAG = 0x909A
PROBED_TAG = 0x5A31
PAIRS_TAG = 0xC012


@dataclass(frozen=True, eq=False)
class Split:
    """`pool` [n]: indices into the training set, ascending. `membership` [M, n]: whether model m trained on pool[i].

    `audited` [n]: the half of the pool that belongs to model 0 alone, the other models sharing the rest; None where all
    models share the whole pool. Membership is asked about audited examples only. `pairs_seed`: what the membership was
    drawn from as complementary pairs, None where it was drawn otherwise.

    Raises ValueError where the two do not fit together.
    """

    pool: IntArray
    membership: BoolArray
    audited: BoolArray | None = None
    pairs_seed: int | None = None

    def __post_init__(self) -> None:
        if self.pool.dtype != np.int64 or self.pool.ndim != 1:
            raise ValueError(f"pool must be int64 [n], got {self.pool.dtype} {list(self.pool.shape)}")
        if self.membership.dtype != np.bool_ or self.membership.ndim != 2:
            raise ValueError(f"membership must be bool [M, n], got {self.membership.dtype} {self.membership.shape}")
        if self.membership.shape[1] != len(self.pool):
            raise ValueError(f"membership is for {self.membership.shape[1]} examples, the pool holds {len(self.pool)}")
        if self.audited is not None and (self.audited.dtype != np.bool_ or self.audited.shape != self.pool.shape):
            raise ValueError(f"audited must be bool {self.pool.shape}, got {self.audited.dtype} {self.audited.shape}")

    def own(self, model: int) -> BoolArray:
        """The part of the pool that `model` is trained and held out on, bool [n]."""
        if self.audited is None:
            return np.ones(len(self.pool), dtype=np.bool_)
        return self.audited if model == 0 else ~self.audited

    def members(self, model: int) -> IntArray:
        """Positions in the pool (not in the training set) on which `model` trains, ascending."""
        return np.flatnonzero(self.membership[model]).astype(np.int64)

    def non_members(self, model: int) -> IntArray:
        """Positions of the model's part of the pool on which it does not train, ascending."""
        return np.flatnonzero(~self.membership[model] & self.own(model)).astype(np.int64)

    def split_hash(self) -> str:
        """SHA-256 (hex) over the shape, the pool's indices and every membership bit; of pairs, over pool and seed."""
        if self.pairs_seed is not None:
            return pairs_hash(self.pool, self.pairs_seed)
        return split_hash(self.pool, self.membership, self.audited)


def draw_pool(labels: IntArray, pool_size: int | None, seed: int) -> IntArray:
    """`pool_size` of the N examples, as ascending indices; all of them for None or a size of N and more.

    Stratified by class: examples are ranked at random within their class and taken in the order rank / class size, ties
    at random. Rank 0 of every class present in `labels` [N] comes before all others, so every class is in the pool;
    and for one seed a smaller pool is a subset of a larger one.

    Raises UsageError where the pool has fewer examples than there are classes.
    """
    labels = np.asarray(labels)
    if pool_size is None or pool_size >= len(labels):
        return np.arange(len(labels), dtype=np.int64)
    _, class_of, class_sizes = np.unique(labels, return_inverse=True, return_counts=True)
    if pool_size < len(class_sizes):
        raise UsageError(f"--pool-size {pool_size}: too small; allowed: {len(class_sizes)} (one a class) or more")
    luck = _generator(seed, POOL_TAG).random(len(labels))
    by_class = np.lexsort((luck, class_of))
    rank = np.empty(len(labels), dtype=np.int64)
    rank[by_class] = np.arange(len(labels)) - np.repeat(np.cumsum(class_sizes) - class_sizes, class_sizes)
    order = np.lexsort((luck, rank / class_sizes[class_of]))
    return np.sort(order[:pool_size]).astype(np.int64)


def draw_membership(n: int, num_models: int, train_fraction: float, seed: int) -> BoolArray:
    """Balanced membership [M, n] of n pool examples in M models.

    One uniform number a (model, example) is sorted along the models; example i trains the k_i models with the smallest
    numbers, k_i = floor(f M + v_i) with one more uniform v_i an example. So an example is IN floor or ceil of f M
    models, a model's expected share is f, and for f M whole (f = 0.5 and even M) the count is exact. f = 1: all IN.

    Raises UsageError for values out of range and where a model would have no member, or (f < 1) no non-member.
    """
    if n < 1 or num_models < 1:
        raise UsageError(f"--pool-size {n} with {num_models} models: both have to be 1 or more")
    if not 0 < train_fraction <= 1:
        raise UsageError(f"--train-fraction {train_fraction}: out of range; allowed: above 0, up to 1")
    generator = _generator(seed, MEMBERSHIP_TAG)
    order = np.argsort(generator.random((num_models, n)), axis=0, kind="stable")
    whole, part = divmod(train_fraction * num_models, 1.0)
    # floor(whole + part + v) without the addition, which would round v just below 1 up to the next whole number.
    held_by = int(whole) + (generator.random(n) >= 1.0 - part)
    membership = np.zeros((num_models, n), dtype=np.bool_)
    np.put_along_axis(membership, order, np.arange(num_models)[:, None] < held_by, axis=0)
    _check_both_sides(membership, train_fraction)
    return membership


def draw_pairs(n: int, num_models: int, seed: int) -> BoolArray:
    """Membership [M, n] of n pool examples in M models, in complementary pairs; of an odd M the last has no partner.

    For pair j every example throws a fair coin of its own: model 2j trains on the heads, model 2j + 1 on the tails. So
    without a target and its partner every example is IN exactly as many models as OUT. A pair depends on n, the seed
    and its number alone: models can be added, and none of those there changes. Raises UsageError for values out of
    range and where a model would have no member.
    """
    if n < 1 or num_models < 1:
        raise UsageError(f"--pool-size {n} with {num_models} models: both have to be 1 or more")
    heads = [_generator(seed, PAIRS_TAG, pair).random(n) < 0.5 for pair in range((num_models + 1) // 2)]
    membership = np.stack([side for coins in heads for side in (coins, ~coins)])[:num_models]
    if not (membership.any(axis=1) & ~membership.all(axis=1)).all():
        raise UsageError(f"--pool-size {n}: a model has no member or no non-member; choose a larger one")
    return membership


def draw_disjoint(n: int, num_models: int, train_fraction: float, seed: int) -> tuple[BoolArray, BoolArray]:
    """Membership [M, n] with model 0 in one half of the pool and all others in the other, and model 0's half [n].

    The halves are cut at random (model 0's has floor(n / 2) examples). Model 0 trains on round(f n / 2) of its half;
    the others' memberships are balanced over theirs as in `draw_membership`. Raises as that does.
    """
    if n < 4:
        raise UsageError(f"--pool-size {n}: --split disjoint needs 4 examples or more")
    luck = _generator(seed, HALVES_TAG).random(n)
    order = np.argsort(luck, kind="stable")[: n // 2]
    audited = np.zeros(n, dtype=np.bool_)
    audited[order] = True
    membership = np.zeros((num_models, n), dtype=np.bool_)
    if not 0 < train_fraction <= 1:
        raise UsageError(f"--train-fraction {train_fraction}: out of range; allowed: above 0, up to 1")
    membership[0, order[: round(train_fraction * len(order))]] = True
    _check_both_sides(membership[:1, audited], train_fraction)
    if num_models > 1:
        membership[1:, ~audited] = draw_membership(n - n // 2, num_models - 1, train_fraction, seed)
    return membership, audited


def draw_population(n: int, count: int) -> IntArray:
    """`count` of the n test examples (all, for n and more) at random, the same for every model there is.

    A smaller draw is the beginning of a larger one. No model trains on the test set, so nobody holds these.
    """
    return np.argsort(_generator(0, POPULATION_TAG).random(n), kind="stable")[:count].astype(np.int64)


def draw_probed(n: int, count: int | None, seed: int) -> BoolArray:
    """Which of the n pool examples get SAMIA's noise queries, bool [n]: `count` at random; all for None, or n and more.

    A smaller draw is part of a larger one. Membership plays no role, so every model of a pool is asked alike.
    """
    probed = np.zeros(n, dtype=np.bool_)
    probed[np.argsort(_generator(seed, PROBED_TAG).random(n), kind="stable")[:count]] = True
    return probed


def _check_both_sides(membership: BoolArray, train_fraction: float) -> None:
    share = membership.mean(axis=1)
    side = "member" if share.min() == 0 else "non-member"
    if share.min() == 0 or (train_fraction < 1 and share.max() == 1):
        n = membership.shape[1]
        raise UsageError(
            f"--train-fraction {train_fraction} of {n} pool examples: a model has no {side}; "
            "choose a fraction nearer to 0.5, more models or a larger --pool-size"
        )


def _generator(seed: int, *tags: int) -> np.random.Generator:
    if seed < 0:
        raise UsageError(f"--seed {seed}: out of range; allowed: 0 and above")
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, *tags])))
