"""Cells in complementary pairs grow: models are added, and those there stay what they are."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from artifacts.run_dir import RunDir
from configs.errors import UsageError
from configs.experiment import ExperimentConfig
from evaluation.cells import find_cells
from sweep.plan import resolve
from sweep.planned import remember, remembered
from sweep.status import survey
from tests.cli.scripts import TINY, TRAIN, call, read

Make = Callable[..., ExperimentConfig]
FLAGS = [*TINY, "--split", "pairs", "--methods", "dense", "--attacks", "loss", "--num-threads", "1", "--quiet"]


def test_the_number_of_models_is_no_part_of_a_models_identity(make_config: Make) -> None:
    few, more = make_config(split="pairs", num_shadows=3), make_config(split="pairs", num_shadows=9)
    assert few.fingerprint() == more.fingerprint()
    assert few.cell_fingerprint() == more.cell_fingerprint()
    assert "num_shadows" not in few.identity()
    balanced = make_config(split="balanced", num_shadows=3)
    assert balanced.fingerprint() != make_config(split="balanced", num_shadows=9).fingerprint()
    assert balanced.fingerprint() != few.fingerprint()


def test_the_larger_plan_is_kept(make_config: Make, tmp_path: Path) -> None:
    few, more = make_config(split="pairs", num_shadows=3), make_config(split="pairs", num_shadows=5)
    for plans in ([few, more], [more, few]):
        for plan in plans:
            remember([plan], tmp_path)
        assert [cell.num_shadows for cell in remembered(tmp_path)] == [5]
    remember([make_config(split="balanced", num_shadows=2)], tmp_path)
    assert [cell.num_shadows for cell in remembered(tmp_path)] == [2]  # another experiment takes its place


def test_pairs_give_every_model_half_of_the_pool() -> None:
    with pytest.raises(UsageError, match=r"--train-fraction: 0\.25 needs --split balanced or disjoint"):
        resolve(ExperimentConfig(dataset="synthetic", split="pairs", train_fraction=0.25), "")


def digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in ("planned_cells.json",)
    }


def test_a_sweep_that_goes_on_with_more_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert call(TRAIN, [*FLAGS, "--num-shadows", "3"]) == 0
    before = digests(Path("runs"))
    assert sum(name.endswith("best_model.pth") for name in before) == 4
    assert call(TRAIN, [*FLAGS, "--num-shadows", "5", "--skip-existing"]) == 0
    after = digests(Path("runs"))
    assert {name: after[name] for name in before} == before
    assert sum(name.endswith("best_model.pth") for name in after) == 6
    (row,) = read(Path("results/mia/cells.csv"))
    assert (row["finished_models"], row["planned_models"], row["num_targets"]) == ("6", "6", "6")
    # fewer again: nothing to train, nothing forgotten
    assert call(TRAIN, [*FLAGS, "--num-shadows", "3", "--skip-existing"]) == 0
    assert digests(Path("runs")) == after
    (cell,) = find_cells(Path("runs"))
    assert (cell.planned_models, len(cell.models)) == (6, 6)
    assert [len(one.runs) for one in survey(Path("runs"))] == [6]


def test_models_train_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    alone = [*FLAGS, "--num-shadows", "3", "--no-mia"]
    assert call(TRAIN, [*alone, "--models", "2", "3"]) == 0
    assert sorted(path.parent.name for path in Path("runs").rglob("best_model.pth")) == ["shadow_001", "shadow_002"]
    (cell,) = survey(Path("runs"))
    assert (cell.count("finished"), cell.left) == (2, 2)
    assert call(TRAIN, [*alone, "--models", "4"]) == 2
    assert "argument --models: 4 is not planned; give 0 to 3, or more --num-shadows" in capfd.readouterr().err
    assert call(TRAIN, [*alone, "--skip-existing"]) == 0
    assert len(list(Path("runs").rglob("best_model.pth"))) == 4
    stored = [json.loads(path.read_text()) for path in Path("runs").rglob("config.json")]
    assert {one["split"] for one in stored} == {"pairs"}


def test_a_model_whose_partner_is_missing_is_a_target_and_no_shadow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert call(TRAIN, [*FLAGS, "--num-shadows", "5", "--no-mia"]) == 0
    (cell,) = find_cells(Path("runs"))
    RunDir(cell.models[3].path).model.write_bytes(b"broken")
    capfd.readouterr()
    assert call("mia.unified_mia_evaluation", ["--attacks", "loss", "rmia"]) in (0, 3)
    said = capfd.readouterr().err
    assert "without its partner a model serves no target as a shadow: model 2" in said
    (row,) = read(Path("results/mia/cells.csv"))
    assert (row["finished_models"], row["planned_models"], row["num_targets"]) == ("5", "6", "5")


def test_a_start_has_the_split_of_its_counterpart_whatever_the_number_of_models(make_config: Make) -> None:
    few = make_config(split="pairs", num_shadows=3)
    assert (
        dataclasses.replace(few, num_shadows=7, model_index=2).fingerprint()
        == dataclasses.replace(few, model_index=2).fingerprint()
    )
