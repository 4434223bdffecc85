"""Who starts from whose state in a plan, who waits for whom, and what is left of states in the end: nothing."""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path
from typing import Any

import pytest

import train
from artifacts.forks import Forks
from artifacts.run_dir import RunDir
from artifacts.signals import QuerySettings
from benchmarks.scaling import planned_zoo, trained_steps
from configs.experiment import ExperimentConfig
from configs.sweep import SweepOptions
from data.inputs import open_data
from sweep.engine import Ledger, Rules
from sweep.forks import ForkPlan, dense_of, fork_epoch
from sweep.plan import PlannedRun, plan_cells, plan_runs
from sweep.space import run_bytes
from sweep.status import survey
from sweep.worker import Job, Outcome
from tests.repository import REPOSITORY
from tests.sweep.engine_jobs import ignore_done, job_of
from tests.training.interruptions import Make
from training.loop import Trainer

FLAGS = [
    *("--dataset", "synthetic", "--layers", "8", "--epochs", "2", "--pool-size", "60", "--augment", "none"),
    *("--batch-size", "64", "--lr", "0.05", "--precision", "float32", "--device", "cpu", "--num-threads", "1"),
    *("--methods", "static", "gmp", "dense", "--sparsities", "0.6", "--num-shadows", "1", "--no-mia", "--quiet"),
    *("--begin-epoch", "1", "--jobs", "1"),
]
SWEEP = {"methods": ("dense", "static", "dpf"), "sparsities": (0.5, 0.7, 0.8, 0.9, 0.95)}


def planned(template: ExperimentConfig, runs_dir: Path, **sweep: Any) -> list[PlannedRun]:
    return plan_runs(plan_cells(template, SweepOptions(**sweep), "datasets"), runs_dir)


def test_the_sweep_of_eleven_cells_costs_eight_and_a_half(make_config: Make, tmp_path: Path) -> None:
    runs = planned(make_config(epochs=40), tmp_path, **SWEEP)
    plan = ForkPlan(runs)
    saved, every = plan.saved_epochs(runs)
    assert (every / 4 / 40, (every - saved) / 4 / 40) == (11, 8.5)
    for one in runs:
        dense = RunDir.of(dense_of(one.config), tmp_path)
        kept = Forks(source=str(dense.path), epoch=20, fingerprint=plan.of_run(one.run).fingerprint)
        expected = {"dense": Forks(keep=(20,)), "static": kept, "dpf": Forks()}
        assert plan.of_run(one.run) == expected[one.config.method]
    assert [one.config.method for one in runs[:2]] == ["dense", "static"]


def test_every_dense_run_keeps_what_its_own_number_needs_and_no_other(make_config: Make, tmp_path: Path) -> None:
    sweep = {"methods": ("random", "two_four", "gmp", "set", "rigl", "snip", "dense"), "sparsities": (0.8,)}
    template = make_config(epochs=8, begin_epoch=None)
    options = SweepOptions(**sweep, replicates=1, control_epochs=(4,))  # type: ignore[arg-type]
    runs = plan_runs(plan_cells(template, options, "datasets", {"prune_epoch": 3, "begin_epoch": 2}), tmp_path)
    plan = ForkPlan(runs)
    kept = {one.run.path.relative_to(tmp_path).as_posix(): plan.of_run(one.run).keep for one in runs}
    named = {name: epochs for name, epochs in kept.items() if epochs}
    folders = ["", "/shadow_000", "/shadow_001", "/shadow_002"]
    assert named == {f"dense/synthetic{seed}{folder}": (2, 3) for seed in ("", "/train_seed_1") for folder in folders}
    for one in runs:
        source = plan.of_run(one.run).source
        if source is not None:
            theirs = next(other.config for other in runs if str(other.run.path) == source)
            assert (theirs.model_index, theirs.train_seed) == (one.config.model_index, one.config.train_seed)
    assert {one.config.method for one in runs if plan.of_run(one.run).source} == {"random", "two_four", "gmp"}


def test_nobody_forks_from_another_recipe_or_from_a_dense_run_that_is_not_planned(
    make_config: Make, tmp_path: Path
) -> None:
    alone = planned(make_config(), tmp_path, methods=("static",))
    assert all(ForkPlan(alone).of_run(one.run) == Forks() for one in alone)
    other = planned(make_config(lr=0.1), tmp_path, methods=("dense",))
    assert all(ForkPlan([*alone, *other]).of_run(one.run) == Forks() for one in alone)
    assert fork_epoch(make_config(method="static", sparsity=0.6, prune_epoch=0)) == 0


def test_a_state_goes_once_everybody_is_past_it(make_config: Make, tmp_path: Path) -> None:
    """Whoever ends last, the dense run too: others, of another shard say, may have begun without it."""
    runs = planned(make_config(num_shadows=0), tmp_path, methods=("dense", "static"), sparsities=(0.5, 0.6))
    dense, one, other = (run.run for run in runs)
    state, plan = dense.fork_state(2), ForkPlan(runs)
    for run in (dense, one, other):
        run.path.mkdir(parents=True)
    for ended, written in ((one, one.summary), (other, other.older_checkpoint), (dense, None)):
        state.touch()
        plan.tidy(ended.path)
        assert state.is_file() == (written is not None)
        if written is not None:
            written.touch()


@pytest.fixture
def family(make_config: Make, tmp_path: Path) -> list[Job]:
    """A dense run, two that start from its state, and one that does not."""
    dense = job_of(make_config(), tmp_path, "dense")
    forks = Forks(source=dense.folder, epoch=2, fingerprint=dense.config.fingerprint())
    statics = [job_of(make_config(method="static", sparsity=part), tmp_path, f"static_{part}") for part in (0.5, 0.6)]
    others = [dataclasses.replace(job, forks=forks) for job in statics]
    return [dense, *others, job_of(make_config(method="dpf", sparsity=0.6), tmp_path, "dpf")]


def test_a_run_waits_for_the_state_that_its_dense_run_is_training(family: list[Job]) -> None:
    ledger = Ledger(family, Rules(), ignore_done)
    assert [ledger.take(), ledger.take(), ledger.take()] == [family[0], family[3], None]
    state = family[1].forks.state
    assert state is not None
    state.parent.mkdir()
    state.touch()
    assert [ledger.take(), ledger.take(), ledger.take()] == [family[1], family[2], None]


@pytest.mark.parametrize("status", ["failed", "timeout", "finished"])
def test_nobody_waits_for_a_run_that_has_ended(status: str, family: list[Job]) -> None:
    ledger = Ledger(family, Rules(retries=1), ignore_done)
    assert ledger.take() == family[0]
    ledger.vanished(family[0], "its process was killed by SIGKILL")
    assert [ledger.take(), ledger.take(), ledger.take()] == [family[3], family[0], None]  # it is tried again
    ledger.close(Outcome(family[0].folder, status))
    assert [ledger.take(), ledger.take(), ledger.take()] == [family[1], family[2], None]


def test_nobody_waits_for_another_command_or_in_spite_of_a_checkpoint(family: list[Job]) -> None:
    assert Ledger(family[1:], Rules(), ignore_done).take() == family[1]
    own = RunDir(Path(family[2].folder))
    own.path.mkdir()
    own.checkpoint.touch()
    ledger = Ledger(family, Rules(), ignore_done)
    assert [ledger.take(), ledger.take()] == [family[0], family[2]]


def test_a_job_with_forks_travels_as_a_line(family: list[Job]) -> None:
    kept = dataclasses.replace(family[0], forks=Forks(keep=(2, 3)))
    assert [Job.from_json(job.to_json()) for job in (family[1], kept)] == [family[1], kept]


def test_states_count_as_room(make_config: Make) -> None:
    config = make_config()
    data, asked = open_data(config, "datasets")[0], QuerySettings(1, samia=False)
    one, two = (run_bytes(config, data, asked, kept=kept) for kept in (1, 2))
    assert one - run_bytes(config, data, asked) == two - one > 600_000  # weights and momentum of 78,042 parameters


@pytest.fixture
def epochs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The methods of the epochs that are trained in this process, an epoch being one step here."""
    taken: list[str] = []
    inner = Trainer.train_step

    def train_step(trainer: Trainer, *args: Any) -> Any:
        taken.append(trainer.config.method)
        return inner(trainer, *args)

    monkeypatch.setattr(Trainer, "train_step", train_step)
    return taken


def files(folder: Path) -> dict[str, bytes]:
    """Models and signals, by name."""
    found = [path for name in ("best_model.pth", "signals.npz") for path in (folder / "runs").rglob(name)]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def states(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder / "runs").as_posix() for path in (folder / "runs").rglob("fork_*"))


@pytest.fixture(scope="module")
def forked(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What a sweep in one process leaves."""
    folder = tmp_path_factory.mktemp("forked")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert train.main(FLAGS) == 0
    assert states(folder) == []
    assert [run.read_summary()["shared_epochs"] for run in runs_of(folder, "static")] == [1, 1]
    assert [run.read_summary()["shared_epochs"] for run in runs_of(folder, "dense")] == [0, 0]
    assert trained_steps(folder / "runs") == (2 * (2 + 1 + 1), 2 * 2)
    return files(folder)


def runs_of(folder: Path, method: str) -> list[RunDir]:
    return [RunDir(path.parent) for path in sorted((folder / "runs" / method).rglob("experiment_summary.json"))]


def test_without_forks_all_is_trained_again_to_the_same_and_kept(
    forked: dict[str, bytes],
    epochs: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """A method a command, and then the whole sweep over the folder, made without forks but for one run of it."""
    monkeypatch.chdir(tmp_path)
    for method in ("static", "dense"):
        assert train.main([*FLAGS[: FLAGS.index("--begin-epoch")], "--methods", method, "--jobs", "1"]) == 0
    assert epochs == ["static"] * 4 + ["dense"] * 4
    capfd.readouterr()
    for command in ([*FLAGS, "--skip-existing"], FLAGS):
        assert train.main([*command, "--dry-run"]) == 0
        assert "instead of" not in capfd.readouterr().out  # the dense runs are finished, and kept no state
    (RunDir(tmp_path / "runs/dense/synthetic").summary).unlink()
    RunDir(tmp_path / "runs/dense/synthetic").checkpoint.unlink()
    assert train.main([*FLAGS, "--dry-run"]) == 0
    assert capfd.readouterr().out.splitlines()[-1] == (
        "5 epochs to train instead of 6: what pruned runs share with their dense run is trained once"
    )
    epochs.clear()
    assert train.main([*FLAGS, "--skip-existing"]) == 0
    assert epochs == ["dense"] * 2 + ["gmp"] + ["gmp"] * 2
    assert (files(tmp_path), states(tmp_path)) == (forked, [])


def test_shards_leave_states_for_each_other_and_nothing_in_the_end(
    forked: dict[str, bytes], epochs: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The plan: dense, static, gmp, and the same of the shadow model; the last shard has dense and gmp's shadow."""
    monkeypatch.chdir(tmp_path)
    assert train.main([*FLAGS, "--shard", "2/3"]) == 0  # static of both, before any dense run
    assert epochs == ["static"] * 4
    assert train.main([*FLAGS, "--shard", "1/3"]) == 0
    assert states(tmp_path) == ["dense/synthetic/fork_1.pth", "dense/synthetic/shadow_000/fork_1.pth"]
    cells = {cell.config.method: cell for cell in survey(tmp_path / "runs")}
    assert {method: cell.count("finished") for method, cell in cells.items()} == {"static": 2, "gmp": 0, "dense": 2}
    epochs.clear()
    assert train.main([*FLAGS, "--shard", "3/3"]) == 0
    assert epochs == ["gmp"] * 2
    assert (files(tmp_path), states(tmp_path)) == (forked, [])


def test_a_state_stays_until_the_run_that_needs_it_is_past_it(
    forked: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped between the dense run and those that start from it, a sweep goes on from the state; --status counts what
    a forked run trained itself."""
    monkeypatch.chdir(tmp_path)
    assert train.main([*FLAGS, "--models", "0", "--shard", "1/3"]) == 0
    assert states(tmp_path) == ["dense/synthetic/fork_1.pth"]
    dense = RunDir(tmp_path / "runs/dense/synthetic")
    dense.fork_state(7).touch()  # of a plan that nobody has any more
    assert train.main([*FLAGS, "--models", "0", "--skip-existing"]) == 0
    assert states(tmp_path) == []
    own = RunDir(tmp_path / "runs/static/sparsity_0.6/synthetic")
    summary = own.read_summary()
    assert summary["shared_epochs"] == 1
    cell = next(cell for cell in survey(tmp_path / "runs") if cell.config.method == "static")
    assert cell.runs[0].seconds == pytest.approx(summary["seconds"] - summary["shared_seconds"])
    assert (
        files(tmp_path)["runs/gmp/sparsity_0.6/synthetic/signals.npz"]
        == forked["runs/gmp/sparsity_0.6/synthetic/signals.npz"]
    )
    dense.fork_state(1).touch()
    dense.clear()
    assert dense.fork_states == []


def test_the_recorded_cost_of_the_zoo_is_that_of_its_plan() -> None:
    """26 cells of 8 models, an epoch of six steps; the dense cell trains 320 epochs."""
    found = planned_zoo()
    with open(REPOSITORY / "benchmarks/results/forks.csv", encoding="utf-8", newline="") as file:
        recorded = [row for row in csv.DictReader(file) if row["sweep"] == "zoo"]
    assert [{name: str(value) for name, value in row.items()} for row in found] == recorded
    assert [row["dense_cells"] for row in found] == [6840 / 320, 8600 / 320]
