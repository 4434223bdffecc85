"""The job array example runs what it says, and docs/scale.md holds what its script computes."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.repository import REPOSITORY


def test_a_task_of_the_job_array_takes_its_share(tmp_path: Path) -> None:
    srun = tmp_path / "bin" / "srun"
    srun.parent.mkdir()
    srun.write_text('#!/bin/bash\nexec "$@"\n', encoding="utf-8")
    srun.chmod(0o755)
    slurm = {"SLURM_ARRAY_TASK_ID": "2", "SHARDS": "4", "PYTHON": sys.executable}
    flags = [
        "--dataset",
        "synthetic",
        "--methods",
        "dense",
        "--runs-dir",
        str(tmp_path / "runs"),
        "--dry-run",
        "--quiet",
    ]
    done = subprocess.run(
        ["bash", "examples/slurm.sbatch", *flags],
        cwd=REPOSITORY,
        env={**os.environ, **slurm, "PATH": f"{srun.parent}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == [
        f"new      {tmp_path}/runs/dense/synthetic/shadow_000",
        f"new      {tmp_path}/runs/dense/synthetic/shadow_004",
        f"new      {tmp_path}/runs/dense/synthetic/shadow_008",
        "3 runs of shard 2/4: 3 new",
    ]


def test_the_page_on_scale_holds_the_tables_of_its_script(capsys: pytest.CaptureFixture[str]) -> None:
    estimate = importlib.import_module("benchmarks.scale_estimate")
    assert estimate.main([]) == 0
    blocks = capsys.readouterr().out.strip().split("\n\n")
    page = (REPOSITORY / "docs" / "scale.md").read_text(encoding="utf-8")
    assert len(blocks) == 3
    for block in blocks:
        assert block in page


def test_waves_and_work_by_hand() -> None:
    from benchmarks.scale_estimate import Sizes, hours

    tiny = Sizes("tiny", pool=100, classes=10, test=60, epochs=4, picture=1, queries=2, population=15)
    assert tiny.trained == 200
    assert tiny.asked == 100 * (2 + 10) + 60 + 30
    assert tiny.work() == pytest.approx(200 + 1290 / 3)
    assert tiny.signal_bytes("logits") == 100 * 10 * 4
    assert tiny.signal_bytes("population_phi") == 15 * 2 * 4
    assert tiny.signal_bytes("membership") == 100
    assert hours(models=9, devices=4, rate=630 / 3600, sizes=tiny) == pytest.approx(3.0)
