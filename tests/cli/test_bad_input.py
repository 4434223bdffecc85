"""Bad input: one line that names the flag, exit code 2, nothing written."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pruning.registry import METHODS
from tests.cli.scripts import ADVANCED, CHECK, EXPERIMENT, ONE_CELL, SCRIPTS, TINY, TRAIN, UNIFIED, WEMEM, call


def picture(path: Path, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def refused(script: str, argv: list[str], capfd: pytest.CaptureFixture[str], *words: str) -> str:
    """Assert exit code 2 and one line on standard error that holds all `words`; returns the line."""
    capfd.readouterr()
    assert call(script, argv) == 2
    out, err = capfd.readouterr()
    assert out == ""
    lines = err.strip().splitlines()
    assert len(lines) == 1, err
    assert "Traceback" not in err
    for word in words:
        assert word in lines[0], lines[0]
    return lines[0]


def tree(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


TRAINING_CASES = [
    (["--nonsense"], ["--nonsense"]),
    (["--methods", "dense", "magic"], ["--methods", "magic", "static"]),
    (["--methods", "dense", "dense"], ["--methods", "twice"]),
    (["--sparsities", "1.0"], ["--sparsities", "[0, 1)"]),
    (["--sparsities", "-0.2"], ["--sparsities"]),
    (["--sparsities", "abc"], ["--sparsities", "[0, 1)"]),
    (["--sparsities", "nan"], ["--sparsities"]),
    (["--sparsities", "0.8", "0.9", "0.8"], ["--sparsities", "0.8", "twice"]),
    (["--epochs", "0"], ["--epochs", "at least 1"]),
    (["--split", "halves"], ["--split", "balanced", "disjoint"]),
    (["--split", "disjoint", "--pool-size", "11", "--num-shadows", "8"], ["--pool-size"]),
    (["--num-targets", "every"], ["--num-targets", "whole number from 1 to 4097, or all"]),
    (["--num-targets", "0"], ["--num-targets", "or all"]),
    (["--rmia-gamma", "0.5"], ["--rmia-gamma", "at least 1"]),
    (["--rmia-a", "1.5"], ["--rmia-a", "from 0 to 1"]),
    (["--rmia-population", "0"], ["--rmia-population", "from 1"]),
    (["--samia-examples", "99"], ["--samia-examples", "at least 100"]),
    (["--samia-examples", "many"], ["--samia-examples", "whole number"]),
    (["--shadows-from", "nobody"], ["--shadows-from", "nobody", "dense_"]),
    (["--shadows-from", "all", "dense_synthetic"], ["--shadows-from", "stand alone"]),
    (["--epochs", "two"], ["--epochs", "whole number"]),
    (["--epochs", "10", "--target-epoch", "11"], ["--target-epoch", "--epochs 10"]),
    (["--epochs", "10", "--prune-epoch", "11"], ["--prune-epoch", "at most 10"]),
    (["--epochs", "10", "--target-epoch", "8", "--freeze-epoch", "4"], ["--freeze-epoch", "-1"]),
    (["--layers", "21"], ["--layers", "6n+2"]),
    (["--arch", "wideresnet", "--layers", "20"], ["--layers", "6n+4"]),
    (["--arch", "vgg"], ["--arch", "resnet"]),
    (["--device", "cuda:99"], ["--device"]),
    (["--device", "cpu", "--models-per-device", "2"], ["--models-per-device", "CUDA", "--jobs"]),
    (["--models-per-device", "0"], ["--models-per-device", "from 1 to 64, or auto"]),
    (["--cuda-graphs", "on"], ["--cuda-graphs", "auto"]),
    (["--device", "tpu"], ["--device", "cpu"]),
    (["--dataset", "mnist"], ["--dataset", "digits"]),
    (["--dataset", "digits", "--image-size", "16"], ["--image-size"]),
    (["--dataset", "digits", "--pool-size", "5"], ["--pool-size", "10"]),
    (["--pool-size", "1"], ["--pool-size", "at least 2"]),
    (["--train-fraction", "0"], ["--train-fraction"]),
    (["--train-fraction", "1.5"], ["--train-fraction"]),
    (["--batch-size", "0"], ["--batch-size"]),
    (["--lr", "-1"], ["--lr"]),
    (["--scheduler", "step"], ["--scheduler", "cosine"]),
    (["--precision", "float16"], ["--precision", "bfloat16"]),
    (["--seed", "-1"], ["--seed"]),
    (["--num-shadows", "-1"], ["--num-shadows"]),
    (["--num-shadows", "2", "--attacks", "lira"], ["--attacks", "lira", "--num-shadows 5"]),
    (["--attacks", "nothing"], ["--attacks", "lira"]),
    (["--num-queries", "19"], ["--num-queries", "18"]),
    (["--methods", "dense", "--prune-freq", "8"], ["--prune-freq", "dpf"]),
    (["--methods", "static", "--target-epoch", "3"], ["--target-epoch", "dpf"]),
    (["--methods", "rigl", "--densities", "global"], ["--densities", "uniform, erk"]),
    (["--methods", "gmp", "--begin-epoch", "3", "--target-epoch", "2"], ["--begin-epoch", "at most 2"]),
    (["--pretrained", "missing.pth"], ["--pretrained", "missing.pth"]),
    (["--methods", "static", "--pretrained", "dense"], ["--pretrained", "add dense to --methods"]),
    (["--methods", "dense", "--pretrained", "dense"], ["--pretrained", "--methods has none"]),
    (["--preset", "huge"], ["--preset", "quick"]),
    (["--config", "missing.json"], ["--config", "missing.json"]),
    (["--quiet", "--verbose"], ["--quiet", "--verbose"]),
    (["--skip-existing", "--overwrite"], ["--skip-existing"]),
    (["--dataset", "imagefolder", "--data-dir", "nowhere"], ["--data-dir", "nowhere"]),
    (["--epo", "3"], ["--epo"]),
]


@pytest.mark.parametrize(("argv", "words"), TRAINING_CASES, ids=[" ".join(argv) for argv, _ in TRAINING_CASES])
def test_train_refuses(
    argv: list[str], words: list[str], capfd: pytest.CaptureFixture[str], empty_folder: Path
) -> None:
    refused(TRAIN, [*TINY[:2], *argv] if "--dataset" not in argv else argv, capfd, *words)
    assert tree(empty_folder) == []


EXPERIMENT_CASES = [
    (["--sparsity", "0.8"], ["--sparsity", "--prune"]),
    (["--prune"], ["--prune", "--prune-method"]),
    (["--prune", "--prune-method", "static"], ["--prune", "--sparsity"]),
    (["--prune", "--prune-method", "dense", "--sparsity", "0.5"], ["--prune-method", "static"]),
    (["--prune", "--prune-method", "two_four", "--sparsity", "0.9"], ["--sparsity", "two_four", "0.5", "leave"]),
    (
        ["--prune", "--prune-method", "channel", "--sparsity", "0.5", "--arch", "mlp"],
        ["--arch", "channel", "vgg16"],
    ),
    (["--prune", "--prune-method", "dpf", "--sparsity", "1"], ["--sparsity", "[0, 1)"]),
    (["--name", "../escape"], ["--name"]),
    (["--pretrained", "dense"], ["--pretrained", "dense cell of a sweep", "train.py"]),
    (["--name", "a/b"], ["--name"]),
    (["--name", ".."], ["--name"]),
    (["--name", "index"], ["--name"]),
]


@pytest.mark.parametrize(("argv", "words"), EXPERIMENT_CASES, ids=[" ".join(argv) for argv, _ in EXPERIMENT_CASES])
def test_run_experiment_refuses(
    argv: list[str], words: list[str], capfd: pytest.CaptureFixture[str], empty_folder: Path
) -> None:
    refused(EXPERIMENT, [*TINY, *argv], capfd, *words)
    assert tree(empty_folder) == []


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_script_refuses_an_unknown_flag(script: str, capfd: pytest.CaptureFixture[str]) -> None:
    refused(script, ["--unknown-flag", "3"], capfd)


@pytest.mark.parametrize("script", [CHECK, UNIFIED, ADVANCED, WEMEM])
def test_runs_directory_missing_or_empty(script: str, capfd: pytest.CaptureFixture[str], empty_folder: Path) -> None:
    refused(script, ["--runs-dir", "nowhere"], capfd, "--runs-dir", "nowhere", "does not exist")
    (empty_folder / "empty").mkdir()
    refused(script, ["--runs-dir", "empty"], capfd, "--runs-dir", "holds no run")
    assert tree(empty_folder) == ["empty"]


def test_run_dir_missing(capfd: pytest.CaptureFixture[str]) -> None:
    refused(ONE_CELL, ["--run-dir", "nowhere"], capfd, "--run-dir", "nowhere")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", ["--config", "not valid JSON"]),
        ("[1]", ["--config", "JSON object"]),
        ('{"colour": 3}', ["--config", "colour"]),
        ('{"epochs": "many"}', ["--epochs"]),
        ('{"epochs": 0}', ["--epochs"]),
    ],
)
def test_configuration_files(
    text: str, words: list[str], capfd: pytest.CaptureFixture[str], empty_folder: Path
) -> None:
    (empty_folder / "c.json").write_text(text)
    refused(TRAIN, ["--config", "c.json"], capfd, *words)
    assert tree(empty_folder) == ["c.json"]


def test_image_folders(capfd: pytest.CaptureFixture[str], empty_folder: Path) -> None:
    base = empty_folder / "pictures"
    argv = ["--dataset", "imagefolder", "--data-dir", str(base), *TINY[2:]]
    base.mkdir()
    refused(TRAIN, argv, capfd, "--data-dir")
    (base / "train").mkdir()
    (base / "test").mkdir()
    refused(TRAIN, argv, capfd, "--data-dir")
    picture(base / "train" / "cat" / "1.png")
    picture(base / "test" / "cat" / "1.png")
    refused(TRAIN, argv, capfd, "one class")
    picture(base / "train" / "dog" / "1.png")
    refused(TRAIN, argv, capfd, "dog")
    assert not (empty_folder / "runs").exists()


def test_no_network_names_the_ways_out(
    capfd: pytest.CaptureFixture[str], empty_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import urllib.request
    from urllib.error import URLError

    def no_network(*_: object, **__: object) -> None:
        raise URLError("no network")

    monkeypatch.setattr(urllib.request, "urlopen", no_network)
    argv = ["--dataset", "cifar10", "--layers", "8", "--epochs", "1"]
    refused(TRAIN, argv, capfd, "--dataset digits", "--data-dir", "cifar-10-python.tar.gz")
    assert not (empty_folder / "runs").exists()


class TestWithOneRun:
    """What a folder with a finished run makes the scripts refuse."""

    argv = (*TINY, "--methods", "dense", "--num-shadows", "0", "--no-mia", "--quiet")

    @pytest.fixture
    def run(self, empty_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
        kept = tmp_path_factory.getbasetemp() / "one-run"
        if not kept.exists():
            assert call(TRAIN, [*self.argv, "--runs-dir", str(kept), "--summary-dir", "."]) == 0
            (empty_folder / "training_results.csv").unlink()
        shutil.copytree(kept, empty_folder / "runs")
        return empty_folder / "runs" / "dense" / "synthetic"

    def test_finished_runs_are_in_the_way(self, run: Path, capfd: pytest.CaptureFixture[str]) -> None:
        before = (run / "best_model.pth").read_bytes()
        refused(TRAIN, list(self.argv), capfd, "runs/dense/synthetic", "--skip-existing", "--overwrite")
        assert (run / "best_model.pth").read_bytes() == before

    def test_another_experiment_is_named_field_by_field(self, run: Path, capfd: pytest.CaptureFixture[str]) -> None:
        before = tree(run)
        for extra in ([], ["--skip-existing"]):
            refused(TRAIN, [*self.argv, "--epochs", "3", *extra], capfd, "epochs: 2 -> 3", "another experiment")
        assert tree(run) == before

    def test_too_few_shadows(self, run: Path, capfd: pytest.CaptureFixture[str], empty_folder: Path) -> None:
        before = tree(empty_folder)
        refused(ADVANCED, ["--attacks", "lira"], capfd, "lira", "at least 5", "--num-shadows")
        refused(ONE_CELL, ["--run-dir", str(run), "--attacks", "samia"], capfd, "samia", "--num-shadows")
        assert tree(empty_folder) == before

    def test_an_attack_of_another_suite(self, run: Path, capfd: pytest.CaptureFixture[str]) -> None:
        refused(WEMEM, ["--attacks", "lira"], capfd, "--attacks", "lira", "confidence")

    def test_a_file_where_the_runs_belong(self, run: Path, capfd: pytest.CaptureFixture[str]) -> None:
        Path("a-file").write_text("")
        refused(TRAIN, [*self.argv, "--runs-dir", "a-file"], capfd, "--runs-dir", "a-file")

    def test_a_path_named_as_the_own_dense_cell(
        self, capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        Path("dense").mkdir()
        refused(TRAIN, [*TINY[:2], "--pretrained", "dense"], capfd, "--pretrained", "give ./dense for the path")

    def test_pretrained_must_not_have_seen_non_members(self, run: Path, capfd: pytest.CaptureFixture[str]) -> None:
        argv = [*self.argv, "--runs-dir", "other", "--pretrained"]
        refused(TRAIN, [*argv, str(run / "best_model.pth")], capfd, "--pretrained", "give its folder")
        refused(TRAIN, [*argv, str(run), "--seed", "1"], capfd, "--pretrained", "another split")

    def test_a_foreign_checkpoint_is_named_and_the_rest_evaluated(
        self, run: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        good = run.parent.parent / "good"
        shutil.copytree(run, good)
        config = json.loads((good / "config.json").read_text())
        (run / "best_model.pth").write_bytes(b"not a checkpoint")
        assert config["method"] == "dense"
        capfd.readouterr()
        assert call(UNIFIED, []) == 3
        out, err = capfd.readouterr()
        assert "best_model.pth" in err
        assert str(run.relative_to(Path.cwd())) in err
        assert "Traceback" not in err
        assert "Dense" in out


NEAR_MISSES = [
    (TRAIN, ["--num-shadow", "3"], "unrecognized arguments: --num-shadow 3; did you mean --num-shadows?"),
    (TRAIN, ["--epoch=3"], "unrecognized arguments: --epoch=3; did you mean --epochs?"),
    (TRAIN, ["-epochs", "3"], "; did you mean --epochs?"),
    (EXPERIMENT, ["--prune-methods", "dpf"], "; did you mean --prune-method?"),
    (UNIFIED, ["--run-dir", "x"], "; did you mean --runs-dir?"),
    (ONE_CELL, ["--signal", "x.npz"], "; did you mean --signals?"),
    (CHECK, ["--runsdir", "x"], "; did you mean --runs-dir?"),
    (WEMEM, ["--QUIET"], "; did you mean --quiet?"),
    ("mia.report", ["--result-dir", "x"], "; did you mean --results-dir?"),
    (
        TRAIN,
        ["--methods", "dense", "statc"],
        f"--methods: 'statc' is unknown; choose from {', '.join(METHODS)}, FILE.py:Class; did you",
    ),
    (TRAIN, ["--methods", "dense", "statc"], "; did you mean static?"),
    (ADVANCED, ["--attacks", "liar"], "; did you mean lira?"),
    (TRAIN, [*TINY, "--replicates", "1", "--replicate-cells", "dens"], "; did you mean dense?"),
    (TRAIN, ["--preset", "quik"], "; did you mean quick?"),
    (TRAIN, ["--split", "disjiont"], "; did you mean disjoint?"),
    (TRAIN, [*TINY, "--methods", "dense", "--shadows-from", "dense_synthetc"], "; did you mean dense_synthetic?"),
]


@pytest.mark.parametrize(("script", "argv", "words"), NEAR_MISSES, ids=[" ".join(argv) for _, argv, _ in NEAR_MISSES])
def test_near_misses_are_named(
    script: str, argv: list[str], words: str, capfd: pytest.CaptureFixture[str], empty_folder: Path
) -> None:
    refused(script, argv, capfd, words)
    assert tree(empty_folder) == []


def test_what_is_near_nothing_is_not_guessed_at(capfd: pytest.CaptureFixture[str]) -> None:
    assert "did you mean" not in refused(TRAIN, ["--xyzzy"], capfd, "--xyzzy")
    assert "did you mean" not in refused(TRAIN, ["surplus"], capfd, "unrecognized arguments: surplus")
    assert "did you mean" not in refused(TRAIN, ["--methods", "magic"], capfd, "choose from dense, static, dpf")


def test_a_near_miss_in_a_file_is_named(capfd: pytest.CaptureFixture[str], empty_folder: Path) -> None:
    (empty_folder / "flags.json").write_text('{"num_shadow": 3}')
    refused(TRAIN, ["--config", "flags.json"], capfd, "sets 'num_shadow'", "; did you mean num_shadows?")
