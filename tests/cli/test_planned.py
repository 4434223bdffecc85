"""The plan of a runs directory: what never started is known by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from configs.experiment import ExperimentConfig
from sweep.planned import FILE, remember, remembered

Make = Callable[..., ExperimentConfig]


def test_a_later_plan_adds_and_replaces_by_folder(make_config: Make, tmp_path: Path) -> None:
    dense, static = make_config(), make_config(method="static", sparsity=0.5)
    remember([dense, static], tmp_path)
    assert remembered(tmp_path) == [dense, static]
    longer, other = make_config(epochs=9), make_config(method="static", sparsity=0.9)
    remember([longer, other], tmp_path)
    assert remembered(tmp_path) == [longer, static, other]


def test_a_plan_that_cannot_be_read_is_no_plan(make_config: Make, tmp_path: Path) -> None:
    assert remembered(tmp_path) == []
    for text in ("", "{", "3", '[{"colour": 1}]', "[1]"):
        (tmp_path / FILE).write_text(text)
        assert remembered(tmp_path) == []
    outside = {**make_config().flat(), "dataset_name": "../.."}
    (tmp_path / FILE).write_text(json.dumps([outside]))
    assert remembered(tmp_path) == []
    remember([make_config()], tmp_path)
    assert len(remembered(tmp_path)) == 1
