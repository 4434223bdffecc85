"""Who serves a target: in every design of memberships noise holds nothing, and what would give it away is found."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from attacks.arrays import BoolArray
from attacks.evaluate import evaluate, learn, learn_each, score
from attacks.inputs import AttackInputs
from attacks.interface import AttackSettings
from attacks.models import Models
from attacks.registry import ATTACKS
from attacks.trimming import mutual_pairs, partners, scored_examples, service, tied_models, trim, whole_pairs

EXAMPLES = 4000
ATTACKED = ("lira_bayes", "lira", "rmia", "confidence", "loss")
SETTINGS = AttackSettings()
Design = Callable[[np.random.Generator], BoolArray]


def balanced(models: int, rng: np.random.Generator, held: int | None = None) -> BoolArray:
    """Each example in `held` of the models, or in floor or ceil of half of them."""
    rank = rng.random((models, EXAMPLES)).argsort(axis=0).argsort(axis=0)
    return rank < (models // 2 + rng.integers(models % 2 + 1, size=EXAMPLES) if held is None else held)


def coins(models: int, rng: np.random.Generator) -> BoolArray:
    return rng.random((models, EXAMPLES)) < 0.5


def uneven(rng: np.random.Generator) -> BoolArray:
    """Independent, examples being held by a third or by two thirds of the models."""
    return rng.random((18, EXAMPLES)) < np.where(np.arange(EXAMPLES) % 2, 1 / 3, 2 / 3)


def complements(rng: np.random.Generator) -> BoolArray:
    """Pairs (0, 1), (2, 3), ...: each example in exactly one of either."""
    half = coins(6, rng)
    return np.stack([half, ~half], axis=1).reshape(12, EXAMPLES)


def one_alone(rng: np.random.Generator) -> BoolArray:
    """Pairs of complements, and model 4 whose partner is missing."""
    return np.delete(complements(rng), 5, axis=0)


def nearly_complements(rng: np.random.Generator) -> BoolArray:
    return complements(rng) ^ (rng.random((12, EXAMPLES)) < 0.005)


def twins(rng: np.random.Generator) -> BoolArray:
    """Pairs trained on the same members, the pairs balanced."""
    return balanced(8, rng).repeat(2, axis=0)


def folds(rng: np.random.Generator) -> BoolArray:
    """Each example in exactly one of 7 models."""
    return balanced(7, rng, held=1)


def partitions(rng: np.random.Generator) -> BoolArray:
    """Five partitions into three: each example in exactly one model of every block."""
    return np.concatenate([balanced(3, rng, held=1) for _ in range(5)])


def blocks(rng: np.random.Generator) -> BoolArray:
    """Two groups of models, each balanced by itself."""
    return np.concatenate([balanced(6, rng), balanced(6, rng)])


DESIGNS: dict[str, Design] = {
    "balanced, even": lambda rng: balanced(10, rng),
    "balanced, odd": lambda rng: balanced(9, rng),
    "coins": lambda rng: coins(17, rng),
    "uneven": uneven,
    "complements": complements,
    "complements, one alone": one_alone,
    "nearly complements": nearly_complements,
    "twins": twins,
    "folds": folds,
    "partitions": partitions,
    "blocks": blocks,
}


def noise(membership: BoolArray, seed: int = 0) -> Models:
    """Signals that no membership enters: models differ from each other far more than answers of one do."""
    rng = np.random.default_rng([seed, 1])
    models = len(membership)
    phi = rng.normal(size=EXAMPLES) + 3.0 * rng.normal(size=(models, 1)) + rng.normal(size=(models, EXAMPLES))
    population = 3.0 * rng.normal(size=(models, 1)) + rng.normal(size=(models, 300))
    labels = rng.integers(3, size=EXAMPLES)
    return Models(None, phi[:, :, None], membership, labels, seed=0, population=population[:, :, None])


def errors_from_half(inputs: AttackInputs, membership: BoolArray) -> dict[str, float]:
    """By variant, how far the AUC is from 0.5, in standard errors under the null."""
    found = {}
    for key, result in score(learn(inputs, ATTACKED, SETTINGS), inputs.target).items():
        inside = result.among(membership)
        error = np.sqrt((inside.size + 1) / (12 * inside.sum() * (~inside).sum()))
        found[key] = (roc_auc_score(inside, result.scores) - 0.5) / error
    return found


@pytest.mark.parametrize("name", DESIGNS)
def test_noise_holds_nothing(name: str) -> None:
    models = noise(DESIGNS[name](np.random.default_rng(3)))
    for target in (0, 5):
        for key, errors in errors_from_half(models.leave_out(target), models.membership[target]).items():
            assert abs(errors) < 4, (target, key)


@pytest.mark.parametrize("name", ["complements", "twins", "partitions"])
def test_noise_would_be_found_if_tied_models_served(name: str) -> None:
    """The test above has the power to see what it rules out."""
    models = noise(DESIGNS[name](np.random.default_rng(3)))
    inputs, rest = models.leave_out(0), models.membership[1:]
    shadow_in, shadow_out = trim(rest, 0)
    served = AttackInputs(
        **{field: getattr(inputs, field) for field in ("labels", "target_logits", "target_phi", "shadow_logits")},
        shadow_phi=inputs.shadow_phi,
        shadow_in=shadow_in,
        shadow_out=shadow_out,
        target_population=inputs.target_population,
        shadow_population=inputs.shadow_population,
    )
    assert max(map(abs, errors_from_half(served, models.membership[0]).values())) > 6


@pytest.mark.parametrize(
    ("name", "tied"),
    [
        ("balanced, even", []),
        ("balanced, odd", []),
        ("coins", []),
        ("uneven", []),
        ("complements", [5]),
        ("complements, one alone", []),
        ("nearly complements", [5]),
        ("twins", [5]),
        ("folds", []),  # all others are alike, so that trimming is enough
        ("partitions", [3, 5]),
        ("blocks", [0, 1, 2, 3, 5]),
    ],
)
def test_ties_are_found(name: str, tied: list[int]) -> None:
    found = tied_models(DESIGNS[name](np.random.default_rng(3)), 4)
    assert np.flatnonzero(found).tolist() == tied


def test_of_pairs_neither_the_partner_nor_a_model_without_one_serves() -> None:
    rng = np.random.default_rng(3)
    whole, lacking = noise(complements(rng)), noise(one_alone(rng))
    assert whole.groups == [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9], [10, 11]]
    assert lacking.groups == [[0, 1], [2, 3], [4], [5, 6], [7, 8], [9, 10]]
    for models, target, gone in ((whole, 2, [3]), (whole, 3, [2]), (lacking, 0, [1, 4]), (lacking, 4, [])):
        who = models.service(target)
        assert np.flatnonzero(who.tied).tolist() == gone
        inputs = models.leave_out(target)
        pairs = (len(models.membership) - 1 - len(gone)) // 2
        assert (inputs.in_count, inputs.out_count) == who.kept == (pairs, pairs)  # nothing is trimmed
        assert (who.held_by == pairs).all()


def test_models_of_other_designs_have_no_partners() -> None:
    rng = np.random.default_rng(3)
    for name in ("balanced, even", "balanced, odd", "coins", "uneven", "twins", "folds", "partitions", "blocks"):
        assert partners(DESIGNS[name](rng)) is None, name
    half = coins(1, rng)
    assert partners(np.concatenate([half, ~half])) is None  # two balanced models are complements, and no design
    few = np.concatenate([complements(rng)[:4], coins(5, rng)])
    assert partners(few) is None  # a pair by chance or by hand among models that have none
    assert np.flatnonzero(service(few, 0).tied).tolist() == [1]  # the tie itself is found


@pytest.mark.parametrize("attack", ["lira", "rmia"])
def test_a_shadow_in_the_targets_place_is_not_served_by_its_partner(attack: str) -> None:
    """On noise, what is learned about thresholds and strength says nothing, also not through a partner's membership."""
    models = noise(complements(np.random.default_rng(3)))
    for target in (0, 5):
        for key, result in score(learn(models.leave_out(target), [attack], SETTINGS), models.outputs(target)).items():
            assert result.shadow_auc is not None
            assert abs(result.shadow_auc - 0.5) < 0.03, (target, key)


def test_a_larger_block_of_the_targets_own_serves_it() -> None:
    """Models 0 to 5 are balanced, 6 to 8 too: to model 0 the three others are the odd ones out."""
    rng = np.random.default_rng(0)
    membership = np.concatenate([balanced(6, rng), balanced(3, rng)])
    assert np.flatnonzero(tied_models(membership, 0)).tolist() == [6, 7, 8]


def test_few_examples_and_few_models_have_no_ties() -> None:
    rng = np.random.default_rng(0)
    half = rng.random(36) < 0.5
    assert not tied_models(np.stack([half, ~half, rng.random(36) < 0.5]), 0).any()
    membership = coins(2, rng)
    membership[1] = ~membership[0]
    assert not tied_models(membership, 0).any()  # trimming leaves nobody: its count says it all
    assert service(membership, 0).kept == (0, 0)
    assert not tied_models(membership[:1], 0).any()
    constant = coins(5, rng)
    constant[3] = True
    assert not tied_models(constant, 0).any()


def test_the_largest_k_that_leaves_95_percent() -> None:
    held_by = np.full(100, 8)
    held_by[:3], held_by[3:6] = 0, 5  # of 16 shadows: 3 without any, 3 with 5; a twentieth of 100 is 5
    scored, k = scored_examples(held_by, 16)
    assert k == 5
    assert scored is not None
    assert np.flatnonzero(~scored).tolist() == [0, 1, 2]
    assert scored_examples(16 - held_by, 16)[1] == 5  # both sides count
    held_by[3:9] = 0
    assert scored_examples(held_by, 16) == (None, 0)  # nine of a hundred are too many
    assert scored_examples(np.array([0] + [1] * 99), 16) == (None, 0)  # k would be 1
    assert scored_examples(np.array([3] + [4] * 49 + [5] * 50), 8) == (None, 3)  # balanced: nothing is left out


def test_one_sided_examples_do_not_stop_the_attacks() -> None:
    rng = np.random.default_rng(0)
    membership = coins(17, rng)
    membership[:, 10:12], membership[:, 12] = False, True
    models = noise(membership)
    inputs = models.leave_out(0)
    who = models.service(0)
    assert inputs.scored is not None
    assert not inputs.scored[10:13].any()
    assert inputs.scored.mean() >= 0.95
    assert inputs.usable.in_count >= who.fewest >= 4
    flipped = membership.copy()
    flipped[0] = rng.random(EXAMPLES) < 0.5
    again = noise(flipped).leave_out(0)
    assert again.scored is not None
    assert np.array_equal(again.scored, inputs.scored)
    assert np.array_equal(again.shadow_in, inputs.shadow_in)
    rows = evaluate(inputs, membership[0], ["loss"])
    counts = {(row["n_members"], row["n_non_members"]) for row in rows}
    assert counts == {(int(membership[0, inputs.scored].sum()), int((~membership[0, inputs.scored]).sum()))}


def test_results_name_the_scored_examples() -> None:
    models = noise(coins(17, np.random.default_rng(0)))
    inputs = models.leave_out(2)
    assert inputs.scored is not None
    usable = inputs.usable
    for name in ATTACKED:
        for key, result in ATTACKS[name].run(inputs, SETTINGS).items():
            assert result.rows is not None
            assert np.array_equal(result.rows, inputs.scored), key
            assert np.isnan(result.spread()[~inputs.scored]).all()
            assert np.array_equal(result.scores, ATTACKS[name].run(usable, SETTINGS)[key].scores), key


@pytest.mark.parametrize("name", ["complements", "complements, one alone", "partitions", "balanced, odd", "coins"])
def test_all_targets_at_once_are_the_targets_one_by_one(name: str) -> None:
    models = noise(DESIGNS[name](np.random.default_rng(3))[:, :300])
    models = Models(None, models.phi[:, :300], models.membership, models.labels[:300], seed=0)
    targets = range(len(models.membership))
    for target, knowledge in zip(targets, learn_each(models, targets, ["lira"], SETTINGS), strict=True):
        inputs = models.leave_out(target)
        for key, result in ATTACKS["lira"].run(inputs, SETTINGS).items():
            found = score(knowledge, inputs.target)[key]
            np.testing.assert_allclose(found.spread(), result.spread(), rtol=1e-9, atol=1e-9, err_msg=key)
            assert found.threshold == pytest.approx(result.threshold, rel=1e-9), key


def test_pairs_are_whole_where_every_model_that_serves_has_its_partner() -> None:
    coins = np.random.default_rng(0).random((3, 60)) < 0.5
    membership = np.concatenate([coins, ~coins])  # model i and model i + 3
    found, every = partners(membership), np.ones(6, dtype=bool)
    assert found is not None
    assert mutual_pairs(found).tolist() == [[0, 3], [1, 4], [2, 5]]
    without = every.copy()
    without[[1, 4]] = False
    pairs = whole_pairs(found, without)
    assert pairs is not None
    assert pairs.tolist() == [[0, 3], [2, 5]]
    without[0] = False
    assert whole_pairs(found, without) is None
    assert whole_pairs(None, every) is None
    twice = np.concatenate([membership, coins[:1]])  # model 6 holds what model 0 does: model 3's partner is the first
    again = partners(twice)
    assert again is not None
    assert again[6] == 3
    assert mutual_pairs(again).tolist() == [[0, 3], [1, 4], [2, 5]]
    assert whole_pairs(again, np.ones(7, dtype=bool)) is None
