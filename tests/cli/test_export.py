"""`--export`: the network of the run, bit by bit, for those who have this project and for those who do not."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from artifacts.checkpoint import load_model
from artifacts.run_dir import RunDir
from artifacts.signals import load_signals
from artifacts.sparse import load_sparse
from data.augment import augmenter_for
from data.inputs import open_data
from reporting.card import escaped
from tests.cli.scripts import EXPERIMENT, TINY, call
from tests.repository import REPOSITORY
from training.query import predict_logits

ARGV = [*TINY, "--epochs", "2", "--prune", "--prune-method", "static", "--sparsity", "0.9", "--num-shadows", "1"]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an exported static run."""
    folder = tmp_path_factory.mktemp("export")
    assert call(EXPERIMENT, [*ARGV, "--runs-dir", str(folder / "runs"), "--export", "--quiet"]) == 0
    return folder / "runs/static/sparsity_0.9/synthetic"


def bits(tensor: torch.Tensor) -> bytes:
    return tensor.numpy().tobytes()


def test_both_files_are_the_network_that_was_attacked(exported: Path) -> None:
    dense = torch.load(exported / "export/state_dict.pth", weights_only=True)
    sparse = load_sparse(exported / "export/sparse.safetensors")
    model = load_model(exported / "best_model.pth")
    assert list(dense) == list(model.weights)
    assert set(sparse.tensors) == set(dense)
    for name, tensor in dense.items():
        assert bits(tensor) == sparse.tensors[name].tobytes()
        assert tensor.dtype == model.weights[name].dtype
        kept = model.masks.get(name, torch.ones_like(tensor, dtype=torch.bool))
        assert bits(tensor[kept]) == bits(model.weights[name][kept])
        assert bits(tensor[~kept]) == bytes(tensor[~kept].nbytes)
    assert {
        name: bool(mask.all()) for name, mask in model.masks.items() if not mask.all()
    }.keys() == sparse.masks.keys()
    assert dense["bn1.num_batches_tracked"].dtype == torch.int64
    assert sparse.about["method"] == "static"
    assert sparse.about["sparsity"] == pytest.approx(0.9, abs=0.001)
    sizes = [(exported / "export" / name).stat().st_size for name in ("sparse.safetensors", "state_dict.pth")]
    assert sizes[0] < sizes[1] / 4


def test_the_cards_own_lines_load_both_files(exported: Path) -> None:
    """As a stranger would: the architecture's two files, and nothing else of this project."""
    card = (exported / "export/MODEL_CARD.md").read_text(encoding="utf-8")
    dense, sparse = re.findall(r"```python\n(.*?)```", card, flags=re.DOTALL)
    check = (
        "import sys\n"
        "for name, tensor in model.state_dict().items():\n"
        "    assert tensor.numpy().tobytes() == tensors[name].tobytes(), name\n"
        "ours = {name.split('.')[0] for name in sys.modules}\n"
        "assert not ours & {'training', 'artifacts', 'mia', 'configs', 'sweep', 'evaluation'}, ours\n"
        "print(model(torch.zeros(2, 3, 8, 8)).shape)\n"
    )
    import shutil

    (exported / "export/models").mkdir(exist_ok=True)
    for name in ("resnet.py", "layers.py"):
        shutil.copy(REPOSITORY / "models" / name, exported / "export/models" / name)
    done = subprocess.run(
        [sys.executable, "-c", dense + sparse + check], cwd=exported / "export", capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "torch.Size([2, 10])"


def test_the_card_says_what_there_is_to_say(exported: Path) -> None:
    card = (exported / "export/MODEL_CARD.md").read_text(encoding="utf-8")
    for word in (
        "90.00 %",
        "Not attacked yet",
        "limits",
        "Multiply-adds",
        "stage1.0.conv1.weight",
        "weights_only=True",
    ):
        assert word in card, word
    assert "## Hashes" in card


def test_a_finished_run_is_exported_later_and_quotes_its_own_figures(
    exported: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from tests.cli.scripts import ONE_CELL

    runs, results = exported.parents[2], exported.parents[3] / "results"
    argv = ["--run-dir", str(exported), "--attacks", "loss", "--results-dir", str(results), "--quiet"]
    assert call(ONE_CELL, argv) == 0
    again = [*ARGV, "--runs-dir", str(runs), "--skip-existing", "--export", "--results-dir", str(results), "--quiet"]
    before = (exported / "export/sparse.safetensors").read_bytes()
    assert call(EXPERIMENT, again) == 0
    assert "export    " in capfd.readouterr().out
    assert (exported / "export/sparse.safetensors").read_bytes() == before
    card = (exported / "export/MODEL_CARD.md").read_text(encoding="utf-8")
    assert "| LOSS |" in card
    # figures of other weights are not this network's
    cells = results / "cells.csv"
    hashes = re.findall(r"[0-9a-f]{64}", cells.read_text())
    cells.write_text(cells.read_text().replace(hashes[1], "0" * 64))
    assert call(EXPERIMENT, again) == 0
    assert "Not attacked yet" in (exported / "export/MODEL_CARD.md").read_text(encoding="utf-8")


def test_what_cannot_be_exported_says_so(exported: Path, capfd: pytest.CaptureFixture[str]) -> None:
    runs = str(exported.parents[2])
    assert call(EXPERIMENT, [*ARGV, "--runs-dir", runs, "--results-dir", "x", "--quiet"]) == 2
    assert "--results-dir: needs --export" in capfd.readouterr().err
    from artifacts.run_dir import RunDir
    from configs.errors import RunError
    from evaluation.export import export_run

    with pytest.raises(RunError, match="not finished"):
        export_run(RunDir(exported / "nothing"), "datasets", exported)


def test_training_again_removes_the_export_of_the_old_weights(exported: Path, tmp_path: Path) -> None:
    import shutil

    from artifacts.run_dir import RunDir

    shutil.copytree(exported, tmp_path / "run")
    RunDir(tmp_path / "run").clear()
    assert not any((tmp_path / "run/export").glob("*.safetensors"))


def test_names_are_shown_as_they_are() -> None:
    assert escaped("a|b <script>\n# `x`") == "a\\|b \\<script\\> \\# \\`x\\`"
    assert np.all([letter in escaped(letter) for letter in "*_[]!"])


def test_a_network_without_some_channels_is_loaded_by_its_cards_lines(tmp_path: Path) -> None:
    """The exported files are the smaller network, and give the outputs of the one that was attacked."""
    argv = [*TINY, "--num-threads", "1", "--prune", "--prune-method", "channel", "--sparsity", "0.6"]
    assert call(EXPERIMENT, [*argv, "--num-shadows", "1", "--runs-dir", str(tmp_path), "--export", "--quiet"]) == 0
    folder = tmp_path / "channel/sparsity_0.6/synthetic"
    card = (folder / "export/MODEL_CARD.md").read_text(encoding="utf-8")
    (lines, _) = re.findall(r"```python\n(.*?)```", card, flags=re.DOTALL)
    assert "`models/resnet.py` and `models/layers.py` and `pruning/narrow.py`" in card
    found: dict[str, torch.nn.Module] = {}
    exec(lines.replace('"state_dict.pth"', repr(str(folder / "export/state_dict.pth"))), found)
    model, stored = found["model"], load_model(folder / "best_model.pth")
    assert all(bits(value) == bits(stored.weights[name]) for name, value in model.state_dict().items())
    sparse = load_sparse(folder / "export/sparse.safetensors")
    assert not sparse.masks
    assert {name: value.shape for name, value in sparse.tensors.items()} == {
        name: tuple(value.shape) for name, value in stored.weights.items()
    }
    parameters = sum(value.numel() for value in model.parameters())
    assert f"fewer channels and {parameters:,} parameters" in card
    assert "left out" in card.splitlines()[2]
    signals = load_signals(folder / "signals.npz")
    config = RunDir(folder).read_config()
    data, _ = open_data(config, "datasets")
    logits = predict_logits(
        model, data.train_inputs[torch.from_numpy(signals.pool)], augmenter_for(data, "none", "cpu")
    )
    assert signals.logits is not None
    assert np.allclose(logits, signals.logits, atol=1e-4)
