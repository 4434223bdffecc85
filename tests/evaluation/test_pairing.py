"""Which cells are compared with which, by hand."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import pytest

from configs.experiment import RECIPE, SETTING
from evaluation.attack import Targets
from evaluation.pairing import PLANNED, Pair, pairs
from pruning.registry import all_knobs
from tests.evaluation.asked_cells import asked, with_names


def told(found: Sequence[Pair]) -> set[tuple[str, str, str]]:
    return {(pair.kind, pair.a.experiment, pair.b.experiment) for pair in found}


def test_one_recipe_has_every_planned_pair_and_no_other() -> None:
    cells = [asked("dense", name="d")]
    cells += [asked(m, s, name=f"{m[0]}{s:g}") for m in ("static", "dpf") for s in (0.8, 0.95)]
    assert told(pairs(cells)) == {
        *(("against_dense", name, "d") for name in ("s0.8", "s0.95", "d0.8", "d0.95")),
        *(("same_sparsity", f"d{s}", f"s{s}") for s in ("0.8", "0.95")),
        *(("neighbouring_sparsity", f"{m}0.95", f"{m}0.8") for m in ("s", "d")),
    }
    assert {pair.differing for pair in pairs(cells)} == {""}


def test_a_methods_own_knobs_are_no_other_recipe() -> None:
    """prune_epoch and the three of DPF differ between static and DPF by their nature."""
    (pair,) = pairs([asked("static", 0.8, prune_epoch=10), asked("dpf", 0.8, target_epoch=90, freeze_epoch=-1)])
    assert (pair.kind, pair.differing) == ("same_sparsity", "")


def test_another_recipe_is_named_and_never_a_planned_pair() -> None:
    """The case that was paired as same_sparsity: DPF for 4 epochs, static for 2 at another learning rate."""
    cells = [asked("static", 0.8, epochs=2, lr=0.05, name="s"), asked("dpf", 0.8, epochs=4, lr=0.1, name="d")]
    (pair,) = pairs(cells)
    assert (pair.kind, pair.a.experiment, pair.b.experiment) == ("other_recipe", "d", "s")
    assert pair.differing == "epochs: 4 / 2; lr: 0.1 / 0.05"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"epochs": 3}, "epochs: 3 / 200"),
        ({"batch_size": 64}, "batch_size: 64 / 128"),
        ({"augment": "none"}, "augment: none / standard"),
        ({"scheduler": "cosine"}, "scheduler: cosine / multistep"),
        ({"precision": "float32"}, "precision: float32 / auto"),
        ({"select": "best"}, "select: best / last"),
        ({"arch": "wideresnet", "layers": 28}, "arch: wideresnet / resnet; layers: 28 / 20; width_mult: 2 / 1"),
    ],
)
def test_every_field_of_setting_and_recipe_counts(change: dict[str, Any], words: str) -> None:
    (pair,) = pairs([asked("dense"), asked("dense", **change)])
    assert (pair.kind, pair.differing) == ("other_recipe", words)


def test_two_recipes_are_paired_like_for_like() -> None:
    first = [asked("dense", name="d"), asked("static", 0.8, name="s8"), asked("static", 0.95, name="s95")]
    again = [
        asked("dense", epochs=9, name="D"),
        asked("static", 0.8, epochs=9, name="S8"),
        asked("dpf", 0.8, epochs=9, name="P8"),
    ]
    unlike = {pair for pair in told(pairs([*first, *again])) if pair[0] == "other_recipe"}
    like_for_like = [("D", "d"), ("S8", "s8"), ("P8", "s8"), ("S8", "d"), ("P8", "d"), ("s8", "D"), ("s95", "D")]
    assert unlike == {("other_recipe", a, b) for a, b in like_for_like}


def test_a_cell_trained_again_is_the_null_and_is_paired_within_its_train_seed() -> None:
    cells = [asked("dense", name="d0"), asked("dense", train_seed=1, name="d1")]
    cells += [
        asked("dpf", 0.95, name="p0"),
        asked("dpf", 0.95, train_seed=1, name="p1"),
        asked("static", 0.95, name="s0"),
    ]
    found = pairs(cells)
    assert told(found) == {
        ("replicate", "d0", "d1"),
        ("replicate", "p0", "p1"),
        ("against_dense", "p0", "d0"),
        ("against_dense", "p1", "d1"),
        ("against_dense", "s0", "d0"),
        ("same_sparsity", "p0", "s0"),
    }
    assert {pair.differing for pair in found if pair.kind == "replicate"} == {"train_seed: 0 / 1"}


def test_of_many_methods_each_is_planned_against_the_first() -> None:
    """All pairs of eight methods would be 28 planned ones at each sparsity, and Holm would pay for each."""
    methods = ["rigl", "static", "gmp", "dpf"]
    found = told(pairs([asked("dense", name="dense"), *(asked(name, 0.9, name=name) for name in methods)]))
    at_one = {pair for pair in found if pair[0] != "against_dense"}
    planned = {("same_sparsity", name, "static") for name in ("dpf", "gmp", "rigl")}
    others = {("other_methods", a, b) for a, b in (("gmp", "dpf"), ("rigl", "dpf"), ("rigl", "gmp"))}
    assert at_one == planned | others
    assert "other_methods" not in PLANNED
    without = told(pairs([asked(name, 0.9, name=name) for name in ("gmp", "dpf", "rigl")]))
    assert without == {("same_sparsity", name, "dpf") for name in ("gmp", "rigl")} | {("other_methods", "rigl", "gmp")}


def test_without_a_train_seed_in_common_the_first_ones_are_paired() -> None:
    (pair,) = pairs([asked("dense", name="d0"), asked("dpf", 0.9, train_seed=2, name="p2")])
    assert (pair.kind, pair.differing) == ("against_dense", "train_seed: 2 / 0")


def test_one_method_with_other_knobs_has_a_kind_of_its_own() -> None:
    cells = [asked("dense", name="d")]
    cells += [asked("dpf", s, freeze_epoch=f, name=f"p{s:g}-{f}") for s in (0.8, 0.9) for f in (100, 180)]
    found = pairs(cells)
    assert {pair for pair in told(found) if pair[0] not in ("against_dense",)} == {
        ("other_knobs", "p0.8-180", "p0.8-100"),
        ("other_knobs", "p0.9-180", "p0.9-100"),
        ("neighbouring_sparsity", "p0.9-100", "p0.8-100"),
        ("neighbouring_sparsity", "p0.9-180", "p0.8-180"),
    }
    assert {pair.differing for pair in found if pair.kind == "other_knobs"} == {"freeze_epoch: 180 / 100"}


def test_files_that_say_nothing_are_given_pairs_and_a_known_recipe_is_not_an_unknown_one() -> None:
    unknown: dict[str, Any] = dict.fromkeys(("method", "sparsity", *SETTING, "train_seed", *RECIPE, *all_knobs()))
    files = [with_names(unknown, name) for name in ("first", "second", "third")]
    assert told(pairs(files)) == {
        ("given", "second", "first"),
        ("given", "third", "first"),
        ("given", "third", "second"),
    }
    one, other = with_names(unknown, "first"), with_names({**unknown, "epochs": 5}, "told")
    (pair,) = pairs([one, other])
    assert (pair.kind, pair.differing) == ("other_recipe", "epochs: 5 / not known")


def test_cells_of_other_splits_are_not_paired() -> None:
    apart = dataclasses.replace(asked("static", 0.8), split=("data", "other"))
    assert pairs([asked("dense"), apart]) == []


@pytest.mark.parametrize(
    ("accuracies", "num_test", "matched"),
    [
        ((0.950, 0.952), 397, True),
        ((0.950, 0.965), 397, False),  # more than a point
        ((0.950, 0.958), 397, True),  # within sampling error of 397 pictures
        ((0.950, 0.958), 100_000, False),  # of 100,000 it is not
        ((0.950, 0.958), None, True),
        ((None, 0.958), 397, False),
    ],
)
def test_matched_means_not_told_apart(
    accuracies: tuple[float | None, float | None], num_test: int | None, matched: bool
) -> None:
    methods: list[tuple[str, float]] = [("static", 0.8), ("dpf", 0.95)]
    cells: list[Targets] = [
        asked(*method, accuracy=accuracy, num_test=num_test)
        for method, accuracy in zip(methods, accuracies, strict=True)
    ]
    assert [pair.kind for pair in pairs(cells)] == (["matched_accuracy"] if matched else [])


def test_models_that_both_have() -> None:
    (pair,) = pairs([asked("dense", models=9), asked("static", 0.8, models=7)])
    assert pair.models == tuple(range(7))
    (pair,) = pairs([asked("dense", models=9), asked("static", 0.8, models=9)])
    assert pair.models is None
