"""What training a plan will take: the arithmetic by hand, finished runs, one measurement for real, and the words."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest

import train
from artifacts.run_dir import RunDir, RunStatus
from artifacts.signals import QuerySettings
from cli import cost as words
from configs.experiment import ExperimentConfig
from configs.machine import Machine
from data.base import DataSet
from data.registry import load_dataset
from sweep import cost
from sweep.cost import cost_of, duration, pictures, setting, timed_rates
from sweep.forks import ForkPlan
from sweep.plan import PlannedRun

Make = Callable[..., ExperimentConfig]
HERE = {"device": "cpu", "processor": "somewhat", "threads": 1}
ASKED = QuerySettings(num_queries=2, samia=True, draws=10, samia_examples=30, population=50)


@pytest.fixture(scope="module")
def data() -> DataSet:
    """512 examples in the pool, 128 in the test set."""
    return load_dataset("synthetic", Path("datasets"), None, 0, False)


@pytest.fixture
def planned(make_config: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., PlannedRun]:
    """A planned run; with seconds, one that this machine has finished in so many, of which others were shared ones."""
    monkeypatch.setattr(RunDir, "read_summary", lambda run: json.loads(run.summary.read_text(encoding="utf-8")))

    def plan(
        index: int, seconds: float | None = None, shared: float = 0.0, epochs: int = 0, **fields: object
    ) -> PlannedRun:
        config = make_config(model_index=index, num_shadows=9, **fields)
        run = RunDir.of(config, tmp_path)
        if seconds is None:
            return PlannedRun(config, run, RunStatus("new"))
        run.path.mkdir(parents=True)
        told: dict[str, object] = {
            "seconds": seconds,
            "shared_seconds": shared,
            "shared_epochs": epochs,
            "machine": HERE,
        }
        run.summary.write_text(json.dumps(told), encoding="utf-8")
        return PlannedRun(config, run, RunStatus("finished"))

    return plan


def asked(config: ExperimentConfig) -> QuerySettings:
    return ASKED


def known(runs: list[PlannedRun], data: DataSet, processes: int = 2, overwrite: bool = False) -> cost.Cost | None:
    forks = ForkPlan(runs, overwrite)
    return cost_of(runs, runs, forks, Machine(), "datasets", lambda _: data, asked, ["cpu"] * processes, 1)


def test_work_by_hand(make_config: Make, data: DataSet) -> None:
    """4 epochs of 60 members. A shadow is tested once by the way and once at the end, 128 pictures each; asked about
    are 120 + 50 pictures in two views, and 30 with ten draws of noise; a question is a third of a training picture."""
    shadow = make_config(model_index=1)
    asked = 128 + 128 + 2 * (120 + 50) + 30 * 10
    assert pictures(shadow, data, ASKED, Machine()) == pytest.approx(4 * 60 + asked / 3)
    target = make_config()  # tested in every one of its four epochs
    assert pictures(target, data, ASKED, Machine()) == pytest.approx(4 * 60 + (asked + 3 * 128) / 3)
    assert pictures(shadow, data, ASKED, Machine(), shared_epochs=3) == pytest.approx(60 + asked / 3)
    few = dataclasses.replace(ASKED, samia=False, population=10_000)
    assert pictures(shadow, data, few, Machine()) == pytest.approx(4 * 60 + (128 + 128 + 2 * (120 + 128)) / 3)


def test_finished_runs_say_how_fast_the_rest_will_be(
    planned: Callable[..., PlannedRun], data: DataSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is measured then; the sum is shared by the processes, and no sweep is shorter than its longest run."""
    monkeypatch.setattr(cost, "describe_machine", lambda device: {**HERE, "threads": 16})
    monkeypatch.setattr(cost, "Probe", None)  # not to be called
    one = [planned(1, seconds=7.0), *(planned(index) for index in (2, 3, 5, 7))]
    found = known(one, data)
    assert found == cost.Cost(4, 14.0, 2, "from the runs that are finished")
    assert (
        str(found) == "4 models to train: about 14 seconds on this machine (2 at once; from the runs that are finished)"
    )
    assert known(one[:2], data) == cost.Cost(1, 7.0, 2, "from the runs that are finished")
    assert known(one[:1], data) is None
    again = known(one, data, overwrite=True)
    assert again is not None
    assert again.models == 5
    assert again.seconds == pytest.approx(17.5)


def test_what_the_dense_run_did_is_not_counted_twice(
    planned: Callable[..., PlannedRun], data: DataSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Finished: a static run that took 3 of its 4 epochs over, in 5 of its 9 seconds. To train: one that can do so too
    (its dense run is planned) takes as long; alone it trains all four epochs."""
    monkeypatch.setattr(cost, "describe_machine", lambda device: {**HERE, "threads": 16})
    pruned = {"method": "static", "sparsity": 0.5, "prune_epoch": 3}
    finished = planned(1, seconds=9.0, shared=5.0, epochs=3, **pruned)
    dense, static = planned(3), planned(3, **pruned)
    own, whole = (pictures(static.config, data, ASKED, Machine(), shared) for shared in (3, 0))
    alone = known([finished, static], data)
    assert alone is not None
    assert alone.seconds == pytest.approx(4.0 * whole / own)
    monkeypatch.setattr(cost, "timed_rates", lambda configs, *_: {setting(one): 1e12 for one in configs})
    both = known([finished, dense, static], data)
    assert both is not None
    assert both.seconds == pytest.approx(4.0, rel=1e-3)


def test_other_machines_say_nothing(
    planned: Callable[..., PlannedRun], data: DataSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cost, "describe_machine", lambda device: {**HERE, "processor": "another"})
    monkeypatch.setattr(cost, "timed_rates", lambda configs, *_: {})
    assert known([planned(1, seconds=7.0), planned(2)], data) is None


def test_settings_without_time_count_as_the_slowest(
    planned: Callable[..., PlannedRun], data: DataSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [planned(1), planned(1, method="dpf", sparsity=0.5)]
    monkeypatch.setattr(cost, "timed_rates", lambda configs, *_: {setting(configs[0]): 100.0})
    found = known(runs, data, processes=1)
    assert found is not None
    assert found.seconds == pytest.approx(2 * pictures(runs[0].config, data, ASKED, Machine()) / 100)
    assert found.source.endswith("1 of 2 settings taken for as slow as the slowest")


def test_sparsities_and_seeds_are_one_setting(make_config: Make) -> None:
    one = make_config(method="dpf", sparsity=0.5)
    assert setting(one) == setting(make_config(method="dpf", sparsity=0.9, train_seed=3, model_index=2, epochs=9))
    assert setting(one) != setting(make_config())
    assert setting(one) != setting(make_config(method="dpf", sparsity=0.5, batch_size=16))


def test_a_measurement(make_config: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real process, which trains a model of one setting and then of the other."""
    monkeypatch.setattr(cost, "MEASURED_SECONDS", 0.05)
    both = [make_config(), make_config(method="dpf", sparsity=0.5)]
    rates = timed_rates(both, Machine(), ["cpu"], "datasets", 1)
    assert set(rates) == {setting(one) for one in both}
    assert all(rate > 0 for rate in rates.values())


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.2, "1 seconds"), (119, "119 seconds"), (120, "2 minutes"), (7300, "2 hours"), (349_200, "4 days")],
)
def test_durations(seconds: float, said: str) -> None:
    assert duration(seconds) == said


SWEEP = ["--dataset", "synthetic", "--methods", "dense", "--num-shadows", "1", "--epochs", "2", "--no-mia"]


def test_before_anything_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """--dry-run always says it, a long training before it begins, and --quiet nothing."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cost, "timed_rates", lambda configs, *_: {setting(one): 100.0 for one in configs})
    assert train.main([*SWEEP, "--dry-run"]) == 0
    line = next(line for line in capfd.readouterr().out.splitlines() if "to train: about" in line)
    assert line.startswith("2 models to train: about ")
    assert line.endswith(" MB on the disk; attacks are not in it")
    assert train.main([*SWEEP, "--dry-run", "--quiet"]) == 0
    assert "to train: about" not in capfd.readouterr().out
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(words, "SHORT_PLAN", 0)
    monkeypatch.setattr("cli.training.SHORT_PLAN", 0)
    assert train.main([*SWEEP, "--jobs", "1"]) == 0
    assert "2 models to train: about " in capfd.readouterr().err
    assert train.main([*SWEEP, "--dry-run"]) == 0
    assert capfd.readouterr().out.splitlines()[-1] == "2 runs: 2 finished"


def test_where_it_cannot_be_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Nothing is downloaded for it, and machines of a cluster are not guessed at."""
    monkeypatch.chdir(tmp_path)
    flags = ["--methods", "dense", "--num-shadows", "1", "--no-mia", "--dry-run"]
    assert train.main(flags) == 0
    assert "how long training takes is not known before cifar10 is downloaded" in capfd.readouterr().out
    assert train.main([*SWEEP, "--dry-run", "--engine", "ray"]) == 0
    assert "is not known: --engine ray trains on machines that are not measured from here" in capfd.readouterr().out
    monkeypatch.setattr(cost, "timed_rates", lambda configs, *_: {})
    assert train.main([*SWEEP, "--dry-run"]) == 0
    assert "is not known: no step could be timed" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("flags", "rate", "said"),
    [
        ([], 0.001, True),
        ([], 1000.0, False),  # nothing long is planned
        (["--num-shadows", "0"], 0.001, False),  # less than laptop would take
    ],
)
def test_a_long_plan_names_the_preset_for_laptops(
    flags: list[str],
    rate: float,
    said: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """With the user's own data set, and a folder in which nothing of theirs is in its way."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cost, "timed_rates", lambda configs, *_: {setting(one): rate for one in configs})
    assert train.main(["--dataset", "synthetic", "--device", "cpu", "--runs-dir", "my runs", "--dry-run", *flags]) == 0
    line = next(line for line in capfd.readouterr().out.splitlines() if "to train: about" in line)
    assert (
        "--preset laptop --dataset synthetic --data-dir datasets --runs-dir 'my runs/laptop': 88 models" in line
    ) is said


def test_a_table_is_nothing_for_the_preset_for_laptops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cost, "timed_rates", lambda configs, *_: {setting(one): 0.001 for one in configs})
    assert train.main(["--dataset", "digits_table", "--arch", "mlp", "--device", "cpu", "--dry-run"]) == 0
    line = next(line for line in capfd.readouterr().out.splitlines() if "to train: about" in line)
    assert line.endswith("attacks are not in it")
