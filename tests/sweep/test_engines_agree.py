"""One sweep by worker processes, by two shards and by Ray: the same weights, signals and tables, byte by byte, whether
static runs start from their dense runs' states or have none to start from. Network, data set, a method and an attack of
the sweep are in files of the user's own."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np
import pytest

import train
from artifacts.locks import locked
from tests.repository import REPOSITORY

TINY = [
    *("--epochs", "2", "--pool-size", "120", "--augment", "none", "--batch-size", "32", "--lr", "0.05"),
    *("--precision", "float32", "--device", "cpu", "--num-threads", "1", "--sparsities", "0.6", "--num-shadows", "5"),
    "--quiet",
]
FLAGS = [*TINY, "--dataset", "synthetic", "--layers", "8", "--methods", "dense", "static", "--attacks", "lira", "loss"]
EXAMPLES = f"{REPOSITORY}/examples"
# Without the data set, which `sweep` writes. Runs of one's own code need more than a configuration to be made.
OWN = [
    *(*TINY, "--arch", f"{EXAMPLES}/own_network.py:small"),
    *("--methods", "dense", "static", f"{EXAMPLES}/own_pruner.py:PerLayer"),
    *("--attacks", f"{EXAMPLES}/own_attack.py:surplus", "lira", "loss"),
]
RUNS = 18


def results(folder: Path) -> dict[str, bytes]:
    """What must not depend on the engine, by name."""
    patterns = ("runs/**/config.json", "runs/**/*.pth", "runs/**/signals.npz", "*mia_results.csv", "results/**/*.csv")
    files = [path for pattern in (*patterns, "results/**/*.npz") for path in folder.glob(pattern)]
    kept = [path for path in files if path.name != "checkpoint.pth" and not path.name.startswith("checkpoint")]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in kept}


def shared(folder: Path) -> list[int]:
    """The epochs that the dense runs trained for the static ones; nothing of them is left."""
    assert not list((folder / "runs").rglob("fork_*"))
    found = (folder / "runs" / "static").rglob("experiment_summary.json")
    return [json.loads(path.read_text(encoding="utf-8"))["shared_epochs"] for path in found]


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The sweep's flags, with a file of pictures: noise, a little brighter in every second one."""
    x, y = np.random.default_rng(0).integers(0, 200, (160, 12, 12), dtype=np.uint8), np.arange(160) % 2
    x[y == 1] += 20
    file = tmp_path_factory.mktemp("data") / "pictures.npz"
    np.savez(file, train_x=x[:120], train_y=y[:120], test_x=x[120:], test_y=y[120:])
    return [*OWN, "--dataset", str(file)]


@pytest.fixture(scope="module")
def by_local(sweep: list[str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The sweep by two worker processes."""
    folder = tmp_path_factory.mktemp("local")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert train.main([*sweep, "--jobs", "2"]) == 0
    found = results(folder)
    assert shared(folder) == [1] * 6
    assert sum(name.endswith("best_model.pth") for name in found) == RUNS
    assert {"comprehensive_mia_results.csv", "results/mia/tidy.csv"} <= set(found)
    assert sum(name.startswith("runs/own_pruner.PerLayer/") for name in found if name.endswith("best_model.pth")) == 6
    config = json.loads(found["runs/own_pruner.PerLayer/sparsity_0.6/pictures/config.json"])
    assert (config["dataset_name"], config["arch"]) == ("pictures", "own_network.small")
    assert b"own_attack.surplus" in found["results/mia/summary.csv"]
    return found


def test_two_shards_and_a_last_command(
    by_local: dict[str, bytes],
    sweep: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    for shard in ("2/2", "1/2"):
        assert train.main([*sweep, "--jobs", "1", "--shard", shard]) == 0
        assert f"{shard}: 9 of its 9 runs are finished" in capfd.readouterr().out
        assert not list(tmp_path.glob("*.csv"))
    assert train.main([*sweep, "--skip-existing"]) == 0
    assert results(tmp_path) == by_local
    assert 0 in shared(tmp_path)


@pytest.mark.ray
def test_ray_on_this_machine(
    by_local: dict[str, bytes], sweep: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray", reason="Ray is not installed (requirements-ray.txt)")
    monkeypatch.chdir(tmp_path)
    with tempfile.TemporaryDirectory(prefix="ray", dir="/tmp") as own:  # a short path: sockets lie below it
        monkeypatch.setenv("RAY_TMPDIR", own)  # else it joins the cluster of a test in another process
        assert train.main([*sweep, "--engine", "ray", "--jobs", "2"]) == 0
    assert results(tmp_path) == by_local
    assert shared(tmp_path) == [1] * 6
    assert not list(tmp_path.glob("runs/.shared-*"))


def test_a_dry_run_shows_the_shard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert train.main([*FLAGS, "--shard", "2/4", "--dry-run", "--quiet"]) == 0
    assert capfd.readouterr().out.splitlines() == [
        "new      runs/static/sparsity_0.6/synthetic",
        "new      runs/dense/synthetic/shadow_003",
        "new      runs/static/sparsity_0.6/synthetic/shadow_002",
        "3 runs of shard 2/4: 3 new",
    ]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--shard", "3/2"], "argument --shard: '3/2' is not allowed; give I/N with I from 1 to N, such as 1/4"),
        (
            ["--shard", "1/2", "--export"],
            "argument --export: cannot go with --shard; the last command, which attacks, exports",
        ),
        (["--ray-address", "auto"], "argument --ray-address: needs --engine ray; leave it out"),
        (["--engine", "ray", "--ray-address", "127.0.0.1:1"], "argument --ray-address: no Ray cluster answers at"),
        (["--timeout", "0"], "argument --timeout: '0' is not allowed; give a number of at least 1"),
    ],
)
def test_bad_engines_end_in_one_line(
    flags: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    if "ray" in flags:
        pytest.importorskip("ray", reason="Ray is not installed (requirements-ray.txt)")
    assert train.main([*FLAGS, *flags]) == 2
    error = capfd.readouterr().err
    assert error.startswith(f"{Path(train.build_parser().prog).name}: error: {message}")
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_runs_that_another_process_holds_are_code_4_unless_worse_happened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    flags = [*FLAGS, "--epochs", "1", "--num-shadows", "0", "--no-mia", "--jobs", "1"]
    with locked(tmp_path / "runs/dense/synthetic"):
        assert train.main(flags) == 4
        target = tmp_path / "runs/static/sparsity_0.6/synthetic"
        assert (target / "experiment_summary.json").is_file()
        (target / "best_model.pth").write_bytes(b"not a model")
        with monkeypatch.context() as patch:
            patch.setattr("training.run.open_data", broken_data)
            assert train.main([*flags, "--skip-existing"]) == 3
    assert train.main([*flags, "--skip-existing"]) == 0


def broken_data(*_: object) -> object:
    """Data that cannot be opened."""
    raise OSError("the disk is on fire")
