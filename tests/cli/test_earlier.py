"""Folders that were made under earlier defaults go on, and are not trained again or refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from artifacts.run_dir import RunDir
from configs.experiment import ExperimentConfig
from sweep.plan import resolve
from tests.cli.scripts import EXPERIMENT, TRAIN, call

OLD = Path(__file__).parents[1] / "fixtures" / "before_replicates" / "runs"
RECIPE = ["--dataset", "synthetic", "--layers", "8", "--epochs", "2", "--batch-size", "32", "--pool-size", "40"]
RECIPE += ["--precision", "float32", "--jobs", "1", "--device", "cpu"]
SWEEP = [*RECIPE, "--methods", "dense", "static", "dpf", "--sparsities", "0.8"]
SAID = "was trained with --split balanced, --num-shadows 3: this command goes on with that"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the runs of a sweep that was made when splits were balanced by default: 3 shadow models each."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(OLD, tmp_path / "runs")
    return tmp_path


def test_an_old_sweep_is_the_same_sweep_under_the_command_that_made_it(
    here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert call(TRAIN, [*SWEEP, "--dry-run"]) == 0
    done = capfd.readouterr()
    assert done.err.count(SAID) == 1
    assert "12 runs: 6 finished, 6 new" in done.out  # static's and dpf's shadow models are not in the fixture
    assert call(TRAIN, [*SWEEP, "--print-config", "json"]) == 0
    settings = json.loads(capfd.readouterr().out)
    assert (settings["split"], settings["num_shadows"]) == ("balanced", 3)


def test_one_model_too(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert call(EXPERIMENT, [*RECIPE, "--skip-existing"]) == 0
    done = capfd.readouterr()
    assert done.err.count(SAID) == 1
    assert "run       runs/dense/synthetic" in done.out


@pytest.mark.parametrize(
    ("flags", "code", "words"),
    [
        (["--split", "pairs"], 0, "stale"),
        (["--split", "balanced", "--num-shadows", "3"], 0, "6 finished"),
        (["--num-shadows", "9"], 0, "stale"),
        (["--epochs", "3"], 0, "stale"),
        (["--overwrite"], 0, "30 runs"),
    ],
)
def test_what_is_named_or_differs_otherwise_is_not_settled(
    here: Path, flags: list[str], code: int, words: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert call(TRAIN, [*SWEEP, *flags, "--dry-run"]) == code
    done = capfd.readouterr()
    assert words in done.out
    assert "goes on with that" not in done.err


def test_a_preset_names_nothing(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    flags = ["--preset", "quick", *SWEEP, "--augment", "standard", "--lr", "0.1"]
    assert call(TRAIN, [*flags, "--dry-run"]) == 0
    assert SAID in capfd.readouterr().err


def test_a_file_names_what_it_holds(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (here / "flags.json").write_text(json.dumps({"split": "pairs"}), encoding="utf-8")
    assert call(TRAIN, [*SWEEP, "--config", "flags.json", "--dry-run"]) == 0
    done = capfd.readouterr()
    assert "goes on with that" not in done.err
    assert "stale" in done.out


def test_a_runs_own_configuration_repeats_it_whatever_the_defaults_are_now(
    here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    stored = json.loads((here / "runs/static/sparsity_0.8/synthetic/config.json").read_text(encoding="utf-8"))
    assert "train_seed" not in stored
    stored.pop("split", None)  # as versions wrote it that knew no other split
    (here / "config.json").write_text(json.dumps(stored), encoding="utf-8")
    flags = ["--config", "config.json", "--train-shadows", "--device", "cpu"]
    assert call(EXPERIMENT, [*flags, "--print-config", "json"]) == 0
    settings = json.loads(capfd.readouterr().out)
    assert (settings["split"], settings["num_shadows"], settings["train_seed"]) == ("balanced", 3, 0)
    assert call(EXPERIMENT, [*flags, "--dry-run"]) == 0
    assert "finished runs/static/sparsity_0.8/synthetic\n" in capfd.readouterr().out


def test_digits_of_house_numbers_are_not_mirrored(capfd: pytest.CaptureFixture[str]) -> None:
    assert resolve(ExperimentConfig(dataset="svhn"), "").augment == "crop"
    assert resolve(ExperimentConfig(dataset="cifar10"), "").augment == "standard"
    assert resolve(ExperimentConfig(dataset="svhn", augment="standard"), "").augment == "standard"


def test_mirrored_house_numbers_of_an_earlier_version_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    old = resolve(ExperimentConfig(dataset="svhn", augment="standard", precision="float32"), "")
    run = RunDir.of(old, Path("runs"))
    run.path.mkdir(parents=True)
    run.config.write_text(old.to_json(), encoding="utf-8")
    flags = ["--dataset", "svhn", "--methods", "dense", "--precision", "float32", "--device", "cpu"]
    assert call(TRAIN, [*flags, "--print-config", "json"]) == 0
    done = capfd.readouterr()
    assert "was trained with --augment standard" in done.err
    assert json.loads(done.out)["augment"] == "standard"


def test_another_share_of_the_pool_takes_a_balanced_split(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    flags = [*RECIPE, "--methods", "dense", "--train-fraction", "0.25"]
    assert call(TRAIN, [*flags, "--print-config", "json"]) == 0
    done = capfd.readouterr()
    assert "--split balanced is taken: in pairs every model trains on half of the pool" in done.err
    assert json.loads(done.out)["split"] == "balanced"
    assert call(TRAIN, [*flags, "--split", "pairs", "--dry-run"]) == 2
    assert "argument --train-fraction: 0.25 needs --split balanced or disjoint" in capfd.readouterr().err
