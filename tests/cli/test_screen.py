"""`--screen`: a row per cell from its target alone, with shadow models or without."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from artifacts.signals import load_signals
from tests.cli.scripts import ONE_CELL, UNIFIED, call, read


def test_every_cell_is_screened_with_shadow_models_or_without(
    home: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    runs = tmp_path / "runs"
    shutil.copytree(home / "runs", runs)
    for shadow in (runs / "dense/synthetic").glob("shadow_*"):
        shutil.rmtree(shadow)
    assert call(UNIFIED, ["--runs-dir", str(runs), "--screen", "--results-dir", str(tmp_path / "out")]) == 0
    rows = read(tmp_path / "out/screen.csv")
    assert [row["method"] for row in rows] == ["dense", "static", "dpf"]
    signals = load_signals(runs / "dense/synthetic/signals.npz")
    loss = np.log1p(np.exp(-signals.phi[:, 0].astype(float)))
    inside = signals.membership
    order = (loss[inside][:, None] < loss[~inside]).mean() + 0.5 * (loss[inside][:, None] == loss[~inside]).mean()
    assert float(rows[0]["loss_auc"]) == pytest.approx(order)
    assert float(rows[0]["loss_gap"]) == pytest.approx(loss[~inside].mean() - loss[inside].mean())
    assert float(rows[0]["accuracy_gap"]) > 0.3  # synthetic pictures can only be memorised
    assert all(float(row["ci_low"]) <= float(row["loss_auc"]) <= float(row["ci_high"]) for row in rows)
    shown = capfd.readouterr().out.splitlines()
    assert shown[0].startswith("cell ")
    assert shown[1].startswith("dense_synthetic")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["screen.csv"]
    (runs / "dpf/sparsity_0.6/synthetic/best_model.pth").unlink()
    (runs / "dpf/sparsity_0.6/synthetic/signals.npz").unlink()
    one = ["--run-dir", str(runs / "dpf/sparsity_0.6/synthetic"), "--screen", "--results-dir", str(tmp_path / "one")]
    assert call(ONE_CELL, one) == 1
    assert read(tmp_path / "one/screen.csv")[0]["reason"]


@pytest.mark.parametrize("more", [["--attacks", "loss"], ["--fail-above", "auc=0.6"]])
def test_what_only_attacks_answer_is_refused(more: list[str], home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert call(UNIFIED, ["--screen", *more, "--results-dir", "nothing"]) == 2
    assert (
        capfd.readouterr()
        .err.splitlines()[-1]
        .endswith(f"argument --screen: runs no attack; leave out {more[0]}, or --screen")
    )
    assert not (home / "nothing").exists()
