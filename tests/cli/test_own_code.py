"""Networks, pruning methods and attacks in files of one's own, by the examples: trained, killed, resumed, refused.

One file, longer than others: one sweep serves most tests. Its pruner is the example's, but that the first process which
trains it is killed.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from artifacts.atomic_writes import file_hash
from artifacts.signals import QuerySettings
from cli import own_parts
from configs import own_code
from configs.experiment import RECIPE, SETTING
from configs.machine import Machine, Places, Tracking
from pruning.own import RESERVED
from pruning.registry import BUILT_IN_KNOBS
from reporting import tables
from sweep.worker import Job, run_job
from tests.cli.scripts import EXPERIMENT, ONE_CELL, TRAIN, UNIFIED, call, read
from tests.cli.test_completion import complete, needed
from tests.repository import REPOSITORY

EXAMPLES = REPOSITORY / "examples"
# Once: at step 5 of the first training that comes to it, in the middle of its second epoch.
KILLED = """
        import os, pathlib, signal
        if step == 5 and not pathlib.Path("killed").exists():
            pathlib.Path("killed").touch()
            os.kill(os.getpid(), signal.SIGKILL)
"""
FLAGS = [
    *("--dataset", "synthetic", "--pool-size", "96", "--epochs", "2", "--batch-size", "12", "--augment", "none"),
    *("--precision", "float32", "--device", "cpu", "--num-threads", "1", "--num-shadows", "3", "--lr", "0.05"),
    *("--arch", "net.py:small", "--drop-epoch", "1"),
]
SWEEP = [*FLAGS, "--methods", "dense", "prune.py:PerLayer", "--sparsities", "0.5"]
OWN_RUN = "runs/prune.PerLayer/sparsity_0.5/synthetic"


def example(name: str) -> str:
    return (EXAMPLES / name).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the three files and the whole sweep, through worker processes of which the first was killed."""
    folder = tmp_path_factory.mktemp("own")
    begin = "    def before_forward(self, step):\n"
    (folder / "prune.py").write_text(example("own_pruner.py").replace(begin, begin + KILLED), encoding="utf-8")
    (folder / "net.py").write_text(example("own_network.py"), encoding="utf-8")
    (folder / "attack.py").write_text(example("own_attack.py"), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        flags = ["--attacks", "attack.py:surplus", "loss", "--jobs", "1", "--retries", "1", "--checkpoint-seconds", "0"]
        assert call(TRAIN, [*SWEEP, *flags, "--export"]) == 0
        assert (folder / "killed").exists()
    yield folder
    own_parts.forget()


@pytest.fixture
def here(swept: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(swept)
    return swept


def refused(script: str, argv: list[str], capfd: pytest.CaptureFixture[str], *words: str) -> None:
    capfd.readouterr()
    assert call(script, argv) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert len(err.strip().splitlines()) == 1, err
    for word in words:
        assert word in err, err


def test_they_go_through_workers_to_report_and_card(here: Path) -> None:
    stored = json.loads((here / OWN_RUN / "config.json").read_text(encoding="utf-8"))
    assert (stored["method"], stored["method_file"], stored["drop_epoch"]) == ("prune.PerLayer", "prune.py", 1)
    assert stored["method_hash"] == file_hash(here / "prune.py")
    assert (stored["arch"], stored["arch_hash"]) == ("net.small", file_hash(here / "net.py"))
    cells = {row["method"]: row for row in read(here / "results/mia/cells.csv")}
    assert list(cells) == ["dense", "prune.PerLayer"]
    assert [cells[name]["drop_epoch"] for name in cells] == ["", "1"]
    (trained,) = [row for row in read(here / "training_results.csv") if row["method"] == "prune.PerLayer"]
    assert (trained["measured_sparsity"], trained["drop_epoch"], trained["arch"]) == ("0.5", "1", "net.small")
    summary = {(row["method"], row["attack"], row["suite"]) for row in read(here / "results/mia/summary.csv")}
    assert {("prune.PerLayer", "attack.surplus", "own"), ("dense", "attack.surplus", "own")} <= summary
    compared = {(row["kind"], row["attack"]) for row in read(here / "results/mia/comparisons.csv")}
    assert ("against_dense", "attack.surplus") in compared
    page = (here / "results/mia/report.html").read_text(encoding="utf-8")
    assert "prune.PerLayer 50 %" in page
    assert "Surplus over OUT models" in page
    card = (here / OWN_RUN / "export/MODEL_CARD.md").read_text(encoding="utf-8")
    assert "from net import small" in card
    assert file_hash(here / "net.py") in card


def test_what_was_killed_went_on_to_the_same_weights(here: Path) -> None:
    """Trained again without interruption, in this process; the killed one is the first, the target."""
    flags = ["--prune", "--prune-method", "prune.py:PerLayer", "--sparsity", "0.5", "--name", "again"]
    assert call(EXPERIMENT, [*FLAGS, *flags, "--quiet"]) == 0
    hashes = [file_hash(here / run / "best_model.pth") for run in (OWN_RUN, "runs/again")]
    assert hashes[0] == hashes[1]
    assert "resuming" in (here / OWN_RUN / "run.log").read_text(encoding="utf-8")
    shutil.rmtree(here / "runs/again")


def test_a_changed_file_makes_its_runs_stale(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    text = (here / "prune.py").read_text(encoding="utf-8")
    try:
        (here / "prune.py").write_text(text + "# changed\n", encoding="utf-8")
        assert call(TRAIN, [*SWEEP, "--dry-run"]) == 0
        out = capfd.readouterr().out
        assert "8 runs: 4 finished, 4 stale" in out
        assert f"stale    {OWN_RUN}  (prune.py has changed)" in out
        refused(TRAIN, [*SWEEP, "--skip-existing"], capfd, "another experiment (prune.py has changed)", "--overwrite")
    finally:
        (here / "prune.py").write_text(text, encoding="utf-8")
    assert call(TRAIN, [*SWEEP, "--dry-run"]) == 0
    assert "8 runs: 8 finished" in capfd.readouterr().out


@pytest.fixture
def elsewhere(swept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The runs alone, in another folder, beside files of these names that must not be executed."""
    shutil.copytree(swept / "runs", tmp_path / "runs")
    for name in ("net.py", "prune.py"):
        (tmp_path / name).write_text("import pathlib\npathlib.Path('executed').touch()\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    assert not (tmp_path / "executed").exists()


def test_a_folder_is_read_and_attacked_without_the_code(
    elsewhere: Path, swept: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert call(UNIFIED, ["--attacks", "loss", "--summary-dir", ".", "--device", "cpu", "--quiet"]) == 0
    rows = {row["method"]: row for row in read(elsewhere / "comprehensive_mia_results.csv")}
    before = {row["method"]: row for row in read(swept / "comprehensive_mia_results.csv")}
    for name in ("loss_auc", "drop_epoch", "fingerprint", "arch", "test_accuracy"):
        assert rows["prune.PerLayer"][name] == before["prune.PerLayer"][name], name
    capfd.readouterr()
    assert call(TRAIN, ["--status"]) == 0
    assert "prune.PerLayer/sparsity_0.5/synthetic" in capfd.readouterr().out


def test_what_needs_the_network_needs_trust(elsewhere: Path, swept: Path, capfd: pytest.CaptureFixture[str]) -> None:
    cell = ["--run-dir", OWN_RUN, "--attacks", "loss", "--num-queries", "2", "--device", "cpu", "--quiet"]
    assert call(ONE_CELL, cell) == 3  # its only cell is left out
    assert "net.small is code in net.py, which only a configuration names" in capfd.readouterr().err
    assert call(ONE_CELL, [*cell, "--trust-code"]) == 3
    assert "net.py has changed" in capfd.readouterr().err
    assert call(ONE_CELL, [*cell, "--trust-code", str(swept / "net.py")]) == 0


def test_a_configuration_alone_executes_nothing(elsewhere: Path, capfd: pytest.CaptureFixture[str]) -> None:
    stored = ["--config", f"{OWN_RUN}/config.json", "--dry-run"]
    words = ("prune.py:PerLayer is named by the configuration file alone", "--trust-code")
    refused(EXPERIMENT, stored, capfd, *words)
    (elsewhere / "flags.yaml").write_text("methods: [dense, 'prune.py:PerLayer']\n", encoding="utf-8")
    refused(TRAIN, ["--config", "flags.yaml", "--dry-run"], capfd, *words)
    (elsewhere / "flags.yaml").write_text("arch: net.py:small\nattacks: ['net.py:small']\n", encoding="utf-8")
    refused(TRAIN, ["--config", "flags.yaml", "--dry-run"], capfd, "--arch: net.py:small is named by", "--trust-code")
    refused(TRAIN, ["--config", "flags.yaml", "--arch", "resnet", "--dry-run"], capfd, "--attacks: net.py:small")
    (elsewhere / "flags.yaml").write_text("trust_code: true\n", encoding="utf-8")
    refused(TRAIN, ["--config", "flags.yaml", "--dry-run"], capfd, "'trust_code', which is no flag")


def test_a_run_repeats_from_its_configuration_with_trust(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert call(EXPERIMENT, ["--config", f"{OWN_RUN}/config.json", "--trust-code", "--dry-run"]) == 0
    assert "1 runs: 1 finished" in capfd.readouterr().out
    assert call(TRAIN, [*SWEEP, "--print-config"]) == 0
    shown = capfd.readouterr().out
    assert "- prune.py:PerLayer" in shown
    assert "arch: net.py:small" in shown


def test_a_worker_refuses_a_file_that_has_changed_since(swept: Path, tmp_path: Path) -> None:
    from artifacts.run_dir import RunDir

    config = RunDir(swept / OWN_RUN).read_config()
    places = Places(runs_dir=str(tmp_path))
    job = Job(config, str(tmp_path / "run"), places, Machine(), QuerySettings(), Tracking(), "group")
    own_code.trust(())
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(tmp_path)
            shutil.copyfile(swept / "net.py", tmp_path / "net.py")
            (tmp_path / "prune.py").write_text("raise SystemExit\n", encoding="utf-8")
            outcome = run_job(Job.from_json(job.to_json()))
    finally:
        own_parts.forget()
    assert outcome.status == "failed"
    assert outcome.reason.startswith("prune.py has changed: prune.PerLayer is the code whose sha256 is")


def test_flags_and_completion_follow(here: Path, tmp_path: Path) -> None:
    text = (here / "prune.py").read_text(encoding="utf-8")
    light = text.replace("import torch\n", "").replace("from pruning.weights import magnitude_mask\n", "")
    (tmp_path / "prune.py").write_text(light, encoding="utf-8")
    given = f"{tmp_path}/prune.py:PerLayer"
    command = [sys.executable, "-X", "importtime", str(REPOSITORY / "train.py"), "--methods", given, "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, "COLUMNS": "80"})
    assert "prune.PerLayer: epoch at which the mask is taken" in " ".join(done.stdout.split())
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert not any(line.rsplit("|", 1)[-1].strip() == "torch" for line in done.stderr.splitlines())


@needed
def test_knobs_of_a_named_method_are_completed(tmp_path: Path) -> None:
    text = PRUNER.format(more="")
    (tmp_path / "prune.py").write_text(text, encoding="utf-8")
    found = complete("train.py", f"--methods dense {tmp_path}/prune.py:Mine --strength", tmp_path)
    assert found == {"--strength"}


PRUNER = """
from dataclasses import dataclass
from configs.knobs import MethodKnobs, knob
from pruning.base import Pruner
class Mine(Pruner):
    prunes = True
    @dataclass(frozen=True, kw_only=True)
    class Knobs(MethodKnobs):
        strength: float = knob(0.5, "how much", kind=float, low=0.0)
{more}
"""
NET = "from torch import nn\ndef make(num_classes, in_channels):\n    {body}\n"
BAD_METHODS: list[tuple[str, str, list[str]]] = [
    ("def Mine(:\n    pass\n", "Mine", ["--methods: bad.py, line 1: ", "invalid syntax"]),
    ("import os\nimport nothing_like_it\n", "Mine", ["bad.py, line 2: ModuleNotFoundError", "nothing_like_it"]),
    ("raise SystemExit(3)\n", "Mine", ["bad.py, line 1: SystemExit: 3"]),
    (PRUNER.format(more=""), "Nine", ["bad.py has no Nine; it defines Mine"]),
    ("Mine = 3\n", "Mine", ["bad.py, line 1: Mine is no class"]),
    ("\nclass Mine:\n    pass\n", "Mine", ["bad.py, line 2: Mine is no subclass of pruning.base.Pruner"]),
    (PRUNER.replace("prunes = True", "pass").format(more=""), "Mine", ["line 5: Mine does not say prunes = True"]),
    (PRUNER.format(more="    def __init__(self): pass"), "Mine", ["line 5: Mine must be made by"]),
    (PRUNER.replace("strength", "epochs").format(more=""), "Mine", ["Mine.Knobs.epochs cannot be --epochs"]),
    (PRUNER.replace("strength", "seconds").format(more=""), "Mine", ["Mine.Knobs.seconds cannot be --seconds"]),
    (PRUNER.replace("kind=float", "kind=bool").format(more=""), "Mine", ["Knobs.strength must be declared by"]),
    (PRUNER.replace("    @dataclass(frozen=True, kw_only=True)\n", "").format(more=""), "Mine", ["is no @dataclass"]),
    (PRUNER.format(more="    def finish(self):\n        1 / 0"), "Mine", ["bad.py, line 11: ZeroDivisionError"]),
    (PRUNER.format(more="    def finish(self):\n        self.mask.fill_(0)"), "Mine", ["its mask drops are not 0"]),
    (PRUNER.format(more="    def state(self):\n        return self.nothing"), "Mine", ["line 11: AttributeError"]),
]
BAD_NETWORKS: list[tuple[str, list[str]]] = [
    ("return nn.Flatten()", ["--arch: bad.make: ", "no convolution"]),
    ("return 3", ["gave back a int"]),
    ("return nn.Conv2d(in_channels, num_classes, 3)", ["its output is [2, 10, 14, 14]; it must be [2, 10]"]),
    ("return nn.Conv2d(in_channels + 1, num_classes, 3)", ["bad.make", "RuntimeError", "channels"]),
    ("raise ValueError('not today')", ["bad.py, line 3: ValueError: not today"]),
]
BAD_ATTACKS: list[tuple[str, list[str]]] = [
    ("def look(inputs):\n    pass\n", ["--attacks: bad.py, line 1: look must be callable as look(inputs, settings)"]),
    ("def look(inputs, settings):\n    return inputs.nothing\n", ["bad.py, line 2: AttributeError"]),
    ("def look(inputs, settings):\n    return lambda target: 3\n", ["bad.py, line 1: TypeError"]),
    ("def look(i, s): pass\nlook.min_shadows = 'two'\n", ["bad.py, line 1: look.min_shadows is 'two'", "int"]),
    ("def look(i, s): pass\nlook.variants = ('peek',)\n", ["look.variants must be", "'look' first"]),
]
TRY = ["--dataset", "synthetic", "--pool-size", "60", "--epochs", "2", "--num-shadows", "3", "--device", "cpu"]


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def check_refused(source: str, flags: list[str], words: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    Path("bad.py").write_text(source, encoding="utf-8")
    refused(TRAIN, [*TRY, *flags, "--quiet"], capfd, *words)
    assert [path.name for path in Path().iterdir()] == ["bad.py"]


@pytest.mark.parametrize(("source", "name", "words"), BAD_METHODS)
def test_what_is_wrong_with_a_method_is_one_line(
    source: str, name: str, words: list[str], empty: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    flags = ["--methods", f"bad.py:{name}", "--sparsities", "0.5", "--layers", "8"]
    check_refused(source, flags, words, capfd)


@pytest.mark.parametrize(("body", "words"), BAD_NETWORKS)
def test_what_is_wrong_with_a_network_is_one_line(
    body: str, words: list[str], empty: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    check_refused(NET.format(body=body), ["--arch", "bad.py:make", "--methods", "dense"], words, capfd)


@pytest.mark.parametrize(("source", "words"), BAD_ATTACKS)
def test_what_is_wrong_with_an_attack_is_one_line(
    source: str, words: list[str], empty: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    check_refused(source, ["--attacks", "bad.py:look", "--methods", "dense", "--layers", "8"], words, capfd)


def test_files_that_cannot_be_named_or_found(empty: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (empty / "a b.py").write_text(PRUNER.format(more=""), encoding="utf-8")
    refused(TRAIN, [*TRY, "--methods", "a b.py:Mine"], capfd, "a b.py: its name becomes that of folders", "letters")
    refused(TRAIN, [*TRY, "--methods", "nowhere.py:Mine"], capfd, "--methods: nowhere.py cannot be read (No such file")
    refused(TRAIN, [*TRY, "--arch", "nowhere:make"], capfd, "FILE.py:function, torchvision:NAME, timm:NAME")
    (empty / "other").mkdir()
    for folder, more in ((empty, ""), (empty / "other", "    title = 'else'")):
        (folder / "prune.py").write_text(PRUNER.format(more=more), encoding="utf-8")
    both = ["--methods", "prune.py:Mine", "other/prune.py:Mine"]
    refused(TRAIN, [*TRY, *both], capfd, "other/prune.py would be prune.Mine", "prune.py's name as well", "rename")
    refused(TRAIN, [*TRY, "--methods", "prune.py:Mine", "prune.py:Mine"], capfd, "given twice")


def test_an_attack_that_fails_on_a_cell_leaves_the_others(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """On the made-up cell of the trial it works."""
    source = example("own_attack.py").replace("    outside =", "    if len(inputs.labels) == 96: 1 / 0\n    outside =")
    (here / "weak.py").write_text(source, encoding="utf-8")
    argv = ["--run-dir", OWN_RUN, "--attacks", "weak.py:surplus", "loss", "--results-dir", "weak", "--device", "cpu"]
    assert call(ONE_CELL, argv) == 3
    line = source[: source.index("1 / 0")].count("\n") + 1
    assert f"weak.py, line {line}: ZeroDivisionError: division by zero" in capfd.readouterr().err
    (row,) = read(here / "weak/mia_results.csv")
    assert row["loss_auc"]
    about = json.loads((here / "weak/evaluation.json").read_text(encoding="utf-8"))
    assert "ZeroDivisionError" in next(iter(about["unavailable"].values()))["weak.surplus"]
    assert about["own_attacks"]["weak.surplus"]["sha256"] == file_hash(here / "weak.py")


def test_the_report_is_drawn_again_without_the_code(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = here / "results/mia/report.html"
    before = page.read_bytes()
    page.unlink()
    assert call("mia.report", ["--results-dir", "results/mia"]) == 0
    assert page.read_bytes() == before


def test_no_knob_takes_the_place_of_a_column() -> None:
    settings = {"method", "sparsity", *SETTING, "train_seed", *RECIPE, *BUILT_IN_KNOBS}
    assert {*tables.CELLS_COLUMNS, *tables.TRAINING_COLUMNS} - settings - {"pool_size"} <= RESERVED


def test_networks_of_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from configs.errors import UsageError
    from models.registry import build_model, entry_of

    torch.manual_seed(0)
    built: Any = build_model("torchvision:shufflenet_v2_x0_5", None, None, 1, 4)
    torch.manual_seed(0)
    again = build_model("torchvision:shufflenet_v2_x0_5", None, None, 1, 4).state_dict()
    assert all(torch.equal(value, again[name]) for name, value in built.state_dict().items())
    assert built(torch.zeros(2, 1, 32, 32)).shape == (2, 4)
    with pytest.raises(UsageError, match="torchvision has no classifier of this name"):
        build_model("torchvision:raft_large", None, None, 3, 4)
    with pytest.raises(UsageError, match="--layers 8: torchvision:resnet18 has one depth"):
        build_model("torchvision:resnet18", 8, None, 3, 4)
    assert entry_of("torchvision:../up") is None
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(UsageError, match=r"timm is not installed; pip install timm"):
        build_model("timm:vit_tiny", None, None, 3, 4)
