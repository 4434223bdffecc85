"""Configurations: checks, fingerprints, JSON both ways."""

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import pytest

from configs.attacks import ALL_TARGETS, AttackOptions
from configs.errors import UsageError
from configs.experiment import ExperimentConfig, differing_fields
from configs.knobs import check_value
from configs.machine import Machine
from configs.sweep import SweepOptions
from pruning.registry import stored_config

Make = Callable[..., ExperimentConfig]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("sparsity", 1.0),
        ("sparsity", -0.1),
        ("sparsity", float("nan")),
        ("epochs", 0),
        ("epochs", 2.5),
        ("epochs", True),
        ("batch_size", 0),
        ("lr", float("inf")),
        ("momentum", 1.0),
        ("scheduler", "linear"),
        ("precision", "float16"),
        ("train_fraction", 0.0),
        ("num_shadows", -1),
    ],
)
def test_bad_values_name_the_flag(field: str, value: object) -> None:
    with pytest.raises(UsageError, match=f"argument --{field.replace('_', '-')}"):
        ExperimentConfig(**{field: value})  # type: ignore[arg-type]


def test_json_round_trip(make_config: Make) -> None:
    config = make_config(method="dpf", sparsity=0.9)
    stored = json.loads(config.to_json())
    assert stored_config(stored) == config
    assert stored["fingerprint"] == config.fingerprint()
    with pytest.raises(UsageError, match="unknown configuration field 'colour'"):
        stored_config({**stored, "colour": 1})


def test_fingerprint_depends_on_every_field_that_affects_results(make_config: Make) -> None:
    config = make_config(method="dpf", sparsity=0.9, split="balanced")
    changes: dict[str, Any] = {
        "sparsity": 0.8,
        "lr": 0.2,
        "seed": 1,
        "model_index": 2,
        "num_shadows": 4,
        "knobs": dataclasses.replace(config.knobs, prune_freq=8),  # type: ignore[call-arg]
        "epochs": 5,
    }
    prints = {dataclasses.replace(config, **{name: value}).fingerprint() for name, value in changes.items()}
    assert len(prints | {config.fingerprint()}) == len(changes) + 1


def test_knobs_of_another_method_do_not_change_a_run(make_config: Make) -> None:
    assert make_config(method="dense").fingerprint() == make_config(method="dense", prune_freq=4).fingerprint()
    static = make_config(method="static", sparsity=0.5)
    assert static.fingerprint() == make_config(method="static", sparsity=0.5, target_epoch=1).fingerprint()
    assert static.flat()["prune_epoch"] == 2


def test_models_of_a_cell_share_the_cell_fingerprint(make_config: Make) -> None:
    target, shadow = make_config(), make_config(model_index=2)
    assert target.cell_fingerprint() == shadow.cell_fingerprint()
    assert target.fingerprint() != shadow.fingerprint()
    assert make_config(seed=1).cell_fingerprint() != target.cell_fingerprint()


def test_differing_fields_are_named(make_config: Make) -> None:
    lines = differing_fields(make_config(epochs=5).identity(), make_config().identity())
    assert lines == ["epochs: 4 -> 5"]


def test_pinned_fingerprint() -> None:
    """A change here makes every earlier run stale: raise SCHEMA_VERSION knowingly, or undo the change."""
    of_that_time = {"split": "balanced", "augment": "standard", "prune_layers": "conv"}
    first = ExperimentConfig(**of_that_time, num_shadows=8)  # type: ignore[arg-type]
    assert first.fingerprint() == PINNED


PINNED = "c21ed6596b955e36584af1c724f4c4b297ade9d2a077ded0d28051a6ac5ef2c1"


def test_twice_is_refused() -> None:
    with pytest.raises(UsageError, match=r"--sparsities: 0\.8 is given twice"):
        SweepOptions(sparsities=(0.8, 0.9, 0.8))
    with pytest.raises(UsageError, match="--methods: dense is given twice"):
        SweepOptions(methods=("dense", "dense"))


def test_a_field_added_later_leaves_older_runs_what_they_are(make_config: Make) -> None:
    config = make_config(split="balanced")
    assert "split" not in config.identity()
    old = {name: value for name, value in json.loads(config.to_json()).items() if name != "split"}
    assert stored_config(old) == config
    disjoint = dataclasses.replace(config, split="disjoint")
    assert disjoint.identity()["split"] == "disjoint"
    assert disjoint.fingerprint() != config.fingerprint()
    assert disjoint.cell_fingerprint() != config.cell_fingerprint()


def test_a_word_may_stand_for_a_number() -> None:
    field = next(field for field in dataclasses.fields(AttackOptions) if field.name == "num_targets")
    assert check_value("num_targets", field.metadata, "all") == ALL_TARGETS
    assert check_value("num_targets", field.metadata, "3") == 3
    with pytest.raises(
        UsageError, match="--num-targets: 'none' is not allowed; give a whole number from 1 to 4097, or all"
    ):
        check_value("num_targets", field.metadata, "none")


def test_jobs_auto_is_the_default_spelled_out() -> None:
    field = next(field for field in dataclasses.fields(Machine) if field.name == "jobs")
    assert check_value("jobs", field.metadata, "auto") is field.default is None
    assert check_value("jobs", field.metadata, "2") == 2
    with pytest.raises(UsageError, match="--jobs: '0' is not allowed; give a whole number from 1 to 1024, or auto"):
        check_value("jobs", field.metadata, "0")
