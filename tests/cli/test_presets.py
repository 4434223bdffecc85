"""What the zoo, chain and laptop presets plan, also where flags name other methods."""

from __future__ import annotations

from typing import Any

import pytest

import run_experiment
import train
from cli.parser import parse
from configs.attacks import AttackOptions
from configs.experiment import ExperimentConfig
from configs.knobs import from_args
from configs.presets import PRESETS
from configs.sweep import SweepOptions
from pruning.registry import METHODS
from pruning.static import StaticPruner
from sweep.plan import plan_cells


def zoo(*flags: str, script: Any = train) -> Any:
    return parse(script.build_parser(), ["--preset", "zoo", *flags])


def test_it_has_every_method_at_two_sparsities_and_both_controls() -> None:
    args = zoo()
    cells = plan_cells(
        from_args(ExperimentConfig, args, precision="float32"),
        from_args(SweepOptions, args),
        "datasets",
        {"update_freq": args.update_freq},
    )
    for name, method in METHODS.items():
        expected = 0 if method.package else 2 if method.prunes and method.fixed_sparsity is None else 1
        assert len([one for one in cells if one.method == name and one.control is None]) == expected
    assert {one.control for one in cells} == {None, "accuracy", "size"}
    assert {one.num_models for one in cells} == {8}
    assert args.shadows_from == ["own"]


def test_what_it_shares_with_quick_is_the_same_models() -> None:
    args, quick = zoo(), parse(train.build_parser(), ["--preset", "quick"])
    own = {"methods", "controls", "update_freq", "shadows_from"}
    assert own == set(PRESETS["zoo"]) - set(PRESETS["quick"]) | {"methods"}
    assert all(getattr(args, name) == getattr(quick, name) for name in set(PRESETS["quick"]) - own)


@pytest.mark.parametrize(
    ("flags", "frequency", "controls"),
    [
        (["--methods", "dense", "static"], None, ["accuracy", "size"]),
        (["--methods", "set"], 12, []),
        (["--methods", "static", "--controls", "size"], None, ["size"]),
        (["--methods", "static", "--update-freq", "3"], 3, []),
    ],
)
def test_other_methods_leave_out_what_they_have_no_use_for(
    flags: list[str], frequency: int | None, controls: list[str]
) -> None:
    args = zoo(*flags)
    assert args.update_freq == frequency  # what a flag says stays, and is refused where the cells are planned
    assert list(args.controls) == controls


def test_a_single_model_takes_of_it_what_its_method_has() -> None:
    assert zoo(script=run_experiment).update_freq is None
    assert zoo("--prune", "--prune-method", "rigl", script=run_experiment).update_freq == 12


def chain(*flags: str, script: Any = train) -> Any:
    return parse(script.build_parser(), ["--preset", "chain", *flags])


def test_a_chain_prunes_the_dense_networks_of_quick_at_once() -> None:
    args = chain()
    template = from_args(ExperimentConfig, args, precision="float32")
    cells = plan_cells(template, from_args(SweepOptions, args), "datasets", {"prune_epoch": args.prune_epoch})
    named = [(one.method, one.sparsity, one.train_seed, one.pretrained) for one in cells]
    pruned = [(method, sparsity, 0, "dense") for method in ("static", "dpf") for sparsity in (0.8, 0.95)]
    assert named == [("dense", 0.0, 0, None), ("dense", 0.0, 1, None), *pruned]
    assert {one.knobs.prune_epoch for one in cells if isinstance(one.knobs, StaticPruner.Knobs)} == {0}
    quick = from_args(ExperimentConfig, parse(train.build_parser(), ["--preset", "quick"]), precision="float32")
    dense, *_ = plan_cells(quick, SweepOptions(methods=("dense",)), "datasets")
    assert cells[0].fingerprint() == dense.fingerprint()


def test_a_chain_leaves_out_what_other_flags_have_no_use_for() -> None:
    assert chain("--methods", "dense", "dpf").prune_epoch is None
    assert list(chain("--replicates", "0").replicate_cells) == []
    alone = chain("--prune", "--prune-method", "static", script=run_experiment)
    assert (alone.pretrained, alone.prune_epoch) == (None, 0)


def laptop(*flags: str, script: Any = train) -> Any:
    return parse(script.build_parser(), ["--preset", "laptop", *flags])


def test_a_laptop_s_study_has_its_null_and_its_controls() -> None:
    """Dense, trained again and for fewer epochs; static and DPF at three sparsities; eight models, each a target."""
    args = laptop()
    template = from_args(ExperimentConfig, args, precision="float32")
    cells = plan_cells(template, from_args(SweepOptions, args), "datasets")
    named = [(one.method, one.sparsity, one.train_seed, one.epochs) for one in cells]
    pruned = [(method, sparsity, 0, 24) for method in ("static", "dpf") for sparsity in (0.7, 0.9, 0.95)]
    assert named == [("dense", 0.0, 0, 24), ("dense", 0.0, 1, 24), *[("dense", 0.0, 0, n) for n in (3, 6, 12)], *pruned]
    assert {(one.num_models, one.pool_size, one.augment, one.split) for one in cells} == {(8, 20_000, "flip", "pairs")}
    assert from_args(AttackOptions, args).targets_of(trains_network=False) >= 8


def test_a_laptop_s_study_fits_other_flags() -> None:
    assert laptop("--arch", "mlp").layers is None
    assert list(laptop("--methods", "static").controls) == []
    assert list(laptop("--replicates", "0").replicate_cells) == []
    assert laptop("--prune", "--prune-method", "dpf", script=run_experiment).pool_size == 20_000
