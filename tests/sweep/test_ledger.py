"""Who is next, who is tried again, and how each run ended; a vanished process is judged by its run folder."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from configs.errors import UsageError
from configs.experiment import ExperimentConfig
from configs.machine import EngineOptions
from sweep.engine import Ledger, Rules
from sweep.local import run_here
from sweep.worker import Job, Outcome
from tests.sweep.engine_jobs import ignore_done, ignore_epoch, job_of

Make = Callable[..., ExperimentConfig]


@pytest.fixture
def jobs(make_config: Make, tmp_path: Path) -> list[Job]:
    return [job_of(make_config(seed=seed), tmp_path, f"run_{seed}") for seed in range(3)]


def test_a_crashed_run_goes_to_the_end_of_the_queue_as_often_as_it_may(jobs: list[Job]) -> None:
    seen: list[Outcome] = []
    ledger = Ledger(jobs, Rules(retries=2), seen.append)
    order = []
    while (job := ledger.take()) is not None:
        order.append(jobs.index(job))
        if job is jobs[0]:
            ledger.vanished(job, "its process was killed by SIGKILL")
        else:
            ledger.close(Outcome(job.folder, "finished"))
    assert order == [0, 1, 2, 0, 0]
    assert not ledger.open
    assert [outcome.status for outcome in ledger.outcomes()] == ["crashed", "finished", "finished"]
    assert ledger.outcomes()[0].reason == "its process was killed by SIGKILL (3 tries)"
    assert [outcome.folder for outcome in seen] == [jobs[1].folder, jobs[2].folder, jobs[0].folder]


@pytest.mark.parametrize("status", ["failed", "locked", "finished"])
def test_an_answer_is_final(status: str, jobs: list[Job]) -> None:
    ledger = Ledger(jobs[:1], Rules(retries=5), ignore_done)
    job = ledger.take()
    assert job is not None
    ledger.report(job, Outcome(job.folder, status, "why"))
    assert (ledger.take(), ledger.open) == (None, False)
    assert ledger.outcomes() == [Outcome(job.folder, status, "why")]


def test_a_run_found_finished_is_finished_whatever_became_of_its_process(jobs: list[Job]) -> None:
    run_here(jobs[:1], 1, ignore_epoch, ignore_done)
    for timed_out in (False, True):
        ledger = Ledger(jobs[:1], Rules(), ignore_done)
        ledger.vanished(jobs[0], "its process was killed by SIGKILL", timed_out)
        assert ledger.outcomes() == [Outcome(jobs[0].folder, "finished")]


def test_half_way_means_timeout_if_this_engine_wanted_it_and_another_try_if_somebody_else_did(jobs: list[Job]) -> None:
    for timed_out, status in ((True, "timeout"), (False, "crashed")):
        ledger = Ledger(jobs[:1], Rules(retries=0, timeout=2.0), ignore_done)
        assert ledger.take() is jobs[0]
        ledger.report(jobs[0], Outcome(jobs[0].folder, "interrupted"), timed_out)
        assert [outcome.status for outcome in ledger.outcomes()] == [status]
    ledger = Ledger(jobs[:1], Rules(retries=1), ignore_done)
    taken = ledger.take()
    assert taken is not None
    ledger.report(taken, Outcome(taken.folder, "interrupted"))
    assert ledger.take() is taken


def test_jobs_travel_as_a_line(jobs: list[Job]) -> None:
    assert Job.from_json(jobs[1].to_json()) == jobs[1]
    assert "\n" not in jobs[1].to_json()
    assert dataclasses.asdict(Outcome("a", "finished")) == {"folder": "a", "status": "finished", "reason": ""}


@pytest.mark.parametrize("shards", [1, 2, 3, 7, 20])
def test_every_run_belongs_to_one_shard(shards: int) -> None:
    runs = list(range(11))
    parts = [EngineOptions(shard=f"{index}/{shards}").share(runs) for index in range(1, shards + 1)]
    assert sorted(run for part in parts for run in part) == runs
    assert list(parts[0]) == runs[::shards]
    assert EngineOptions().share(runs) == runs


@pytest.mark.parametrize("shard", ["0/4", "5/4", "1/0", "-1/4", "1", "1/4/2", "a/b", "1/ 4", "", "1.0/4"])
def test_a_bad_shard_is_refused(shard: str) -> None:
    with pytest.raises(UsageError, match=r"--shard: .* give I/N with I from 1 to N"):
        EngineOptions(shard=shard)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"ray_address": "auto"}, "--ray-address: needs --engine ray"),
        (
            {"engine": "ray", "ray_address": "nowhere"},
            "--ray-address: 'nowhere' is not allowed; give auto or HOST:PORT",
        ),
        ({"engine": "slurm"}, "--engine: 'slurm' is unknown; choose from local, ray"),
        ({"retries": -1}, "--retries: -1 is not allowed"),
        ({"timeout": 0.0}, "--timeout: 0.0 is not allowed"),
    ],
)
def test_bad_options_are_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        EngineOptions(**fields)  # type: ignore[arg-type]
