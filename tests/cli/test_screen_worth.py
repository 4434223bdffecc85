"""What benchmarks/screen.py records: rank correlations with their intervals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import screen


def test_the_correlation_is_of_ranks_and_its_interval_knows_noise() -> None:
    order = np.array([1.0, 2.0, 4.0, 3.0])
    leakage = np.array([0.5, 0.6, 0.7, 0.9])
    found = screen.correlation(order, leakage)
    assert found["spearman"] == pytest.approx(1 - 6 * 2 / (4 * 15))  # ranks differ by 1 twice
    assert screen.correlation(order, order) == pytest.approx({"spearman": 1.0, "ci_low": 1.0, "ci_high": 1.0})
    draws = np.random.default_rng(0)
    inside = 0
    for seed in range(40):
        noise = screen.correlation(draws.normal(size=26), draws.normal(size=26), seed)
        inside += noise["ci_low"] <= 0.0 <= noise["ci_high"]
    assert inside >= 35


def test_a_study_without_signals_is_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    argv = ["none", "--results", str(tmp_path), "--output", str(tmp_path / "screen.csv")]
    assert screen.main(argv) == 2
    assert "has no recorded signals" in capfd.readouterr().err
    assert not (tmp_path / "screen.csv").exists()
