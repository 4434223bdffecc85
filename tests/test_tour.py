"""The notebook of examples/: its code runs, on networks of the quick preset, and finds what the project finds."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest

from artifacts.signals import QuerySettings, Signals, save_signals
from tests.repository import REPOSITORY

NOTEBOOK = REPOSITORY / "examples" / "tour.ipynb"
DIGITS = REPOSITORY / "benchmarks" / "results" / "digits"
CELLS = {"dense/digits": "dense_digits", "dpf/sparsity_0.95/digits": "dpf_0.95_digits"}
SHOWN = {("Dense", "dense_digits"), ("DPF 95 %", "dpf_0.95_digits")}


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """The recorded signals, as a sweep leaves them: a file per model."""
    for cell, name in CELLS.items():
        with np.load(DIGITS / "signals" / f"{name}.npz") as kept:
            phi, logits = kept["phi"], kept["logits"].astype(np.float32)
            membership, labels, index = kept["membership"], kept["labels"], kept["index"]
        for model in range(len(phi)):
            folder = tmp_path / "runs" / cell / ("" if model == 0 else f"shadow_{model - 1:03}")
            folder.mkdir(parents=True, exist_ok=True)
            settings = QuerySettings(num_queries=phi.shape[2], samia=False)
            answers = (membership[model], logits[model], phi[model], None)
            signals = Signals(index, labels, *answers, weights_hash="weights", data_hash="data", settings=settings)
            save_signals(folder / "signals.npz", signals)
    return tmp_path / "runs"


def test_its_code_runs_and_agrees_with_the_recorded_table(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(runs.parent)
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    names: dict[str, Any] = {}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            exec("".join(cell["source"]), names)
    figures = [plt.figure(number) for number in plt.get_fignums()]
    assert len(figures) == 2
    assert [len(figure.axes[0].lines) for figure in figures] == [2 * 4 + 1, 3]
    plt.close("all")
    with (DIGITS / "summary.csv").open(encoding="utf-8", newline="") as stream:
        recorded = {(row["experiment"], row["attack"]): row for row in csv.DictReader(stream) if row["metric"] == "auc"}
    for shown, name in SHOWN:
        for attack, variant in (("lira_bayes", "lira_bayes"), ("loss", "loss")):
            found = np.mean(names["areas"][shown, attack])
            assert found == pytest.approx(float(recorded[name, variant]["mean"]), abs=1e-6), (shown, attack)
