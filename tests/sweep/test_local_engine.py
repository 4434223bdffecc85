"""Worker processes that are killed, stopped, too slow or orphaned: the same bytes in the end, and none left behind."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from artifacts.forks import Forks
from artifacts.locks import locked
from artifacts.run_dir import RunDir, inspect_run
from configs.experiment import ExperimentConfig
from sweep import local
from sweep.engine import Rules
from sweep.local import run_jobs
from sweep.worker import Job
from tests.repository import REPOSITORY
from tests.sweep.engine_jobs import contents, gone, ignore_done, ignore_epoch, job_of, kill, shorten, undisturbed, when

Make = Callable[..., ExperimentConfig]
TWO = ["cpu", "cpu"]


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[str]]:
    """Every worker process that the test starts, in order."""
    processes: list[subprocess.Popen[str]] = []
    launch = local._launch

    def recording(*words: Any) -> subprocess.Popen[str]:
        processes.append(launch(*words))
        return processes[-1]

    monkeypatch.setattr(local, "_launch", recording)
    return processes


def test_a_killed_worker_is_replaced_and_its_run_resumes(
    launched: list[subprocess.Popen[str]], make_config: Make, tmp_path: Path
) -> None:
    """And a run that starts from the state of the one that was killed waits for it."""
    configs = [make_config(epochs=6), make_config(method="static", sparsity=0.6, epochs=6, prune_epoch=4)]
    jobs = [job_of(config, tmp_path / "runs", f"run_{index}") for index, config in enumerate(configs)]
    jobs[0] = dataclasses.replace(jobs[0], forks=Forks(keep=(4,)))
    forks = Forks(source=jobs[0].folder, epoch=4, fingerprint=configs[0].fingerprint())
    jobs[1] = dataclasses.replace(jobs[1], forks=forks)
    hook = when(jobs[0].folder, 2, lambda: kill(launched[0].pid))
    outcomes = run_jobs(jobs, TWO, 1, Rules(), hook, ignore_done)
    assert [outcome.status for outcome in outcomes] == ["finished", "finished"]
    assert launched[0].returncode == -signal.SIGKILL
    assert "resuming" in RunDir(Path(jobs[0].folder)).log.read_text(encoding="utf-8")
    assert contents(jobs) == undisturbed(configs, tmp_path / "undisturbed")
    assert RunDir(Path(jobs[1].folder)).read_summary()["shared_epochs"] == 4
    assert all(process.returncode is not None for process in launched)


def test_a_run_that_always_dies_is_given_up_and_the_others_go_on(
    launched: list[subprocess.Popen[str]], make_config: Make, tmp_path: Path
) -> None:
    jobs = [job_of(make_config(seed=seed, epochs=30 if seed == 0 else 1), tmp_path, f"run_{seed}") for seed in range(3)]

    def hook(folder: str, row: dict[str, Any]) -> None:
        if folder == jobs[0].folder:
            kill(launched[-1].pid)

    outcomes = run_jobs(jobs, ["cpu"], 1, Rules(), hook, ignore_done)
    assert [outcome.status for outcome in outcomes] == ["crashed", "finished", "finished"]
    assert outcomes[0].reason == "its process was killed by SIGKILL (2 tries)"
    assert [process.returncode for process in launched] == [-signal.SIGKILL] * 2


def test_a_stopped_worker_is_noticed_and_replaced(
    launched: list[subprocess.Popen[str]], make_config: Make, tmp_path: Path
) -> None:
    config = make_config(epochs=5)
    jobs = [job_of(config, tmp_path / "runs", "run")]
    hook = when(jobs[0].folder, 1, lambda: os.kill(launched[0].pid, signal.SIGSTOP))
    outcomes = run_jobs(jobs, ["cpu"], 1, Rules(silence=4.0), hook, ignore_done)
    assert [outcome.status for outcome in outcomes] == ["finished"]
    assert launched[0].returncode == -signal.SIGKILL
    assert len(launched) == 2
    assert contents(jobs) == undisturbed([config], tmp_path / "undisturbed")


def test_a_run_over_its_time_stops_in_order_and_can_go_on(
    launched: list[subprocess.Popen[str]], make_config: Make, tmp_path: Path
) -> None:
    config = make_config(epochs=100_000)
    job, rules = job_of(config, tmp_path, "long"), Rules(timeout=3600.0)
    (outcome,) = run_jobs([job], TWO, 1, rules, when(job.folder, 1, lambda: shorten(rules)), ignore_done)
    assert outcome.status == "timeout"
    assert outcome.reason == "took longer than --timeout 0.1; --skip-existing goes on with it"
    assert launched[0].returncode == 128 + signal.SIGTERM
    assert inspect_run(RunDir(tmp_path / "long"), config).kind == "resume"


def test_errors_and_held_folders_are_not_tried_again(
    launched: list[subprocess.Popen[str]], make_config: Make, tmp_path: Path
) -> None:
    broken = make_config(pretrained=str(tmp_path / "nothing.pth"), epochs=1)
    jobs = [job_of(broken, tmp_path, "broken"), job_of(make_config(epochs=1), tmp_path, "held")]
    with locked(tmp_path / "held"):
        outcomes = run_jobs(jobs, ["cpu"], 1, Rules(retries=3), ignore_epoch, ignore_done)
    assert [outcome.status for outcome in outcomes] == ["failed", "locked"]
    assert "nothing.pth" in outcomes[0].reason
    assert len(launched) == 2  # the failed run's process is not used again


SWEEP = """
import sys
from pathlib import Path
from artifacts import stopping
from sweep import local
from sweep.engine import Rules
from sweep.worker import Job

launch = local._launch
def announce(*words):
    process = launch(*words)
    print("pid", process.pid, flush=True)
    return process
local._launch = announce
stopping.install()
jobs = [Job.from_json(line) for line in Path(sys.argv[1]).read_text().splitlines()]
def epoch(folder, row):
    print("epoch", folder, flush=True)
try:
    local.run_jobs(jobs, ["cpu", "cpu"], 1, Rules(), epoch, print)
except KeyboardInterrupt as stop:
    sys.exit(128 + stop.signum)
"""


@pytest.fixture
def sweep(make_config: Make, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], list[int], list[Job]]]:
    """A sweep of two endless runs as a process of its own, both under way, and its workers' process ids."""
    jobs = [job_of(make_config(seed=seed, epochs=100_000), tmp_path, f"run_{seed}") for seed in range(2)]
    (tmp_path / "jobs").write_text("\n".join(job.to_json() for job in jobs), encoding="utf-8")
    command = [sys.executable, "-c", SWEEP, str(tmp_path / "jobs")]
    process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stdout is not None
    pids, begun = [], set()
    for line in process.stdout:
        kind, word = line.split()
        if kind == "pid":
            pids.append(int(word))
        else:
            begun.add(word)
        if len(begun) == 2:
            break
    yield process, pids, jobs
    if process.poll() is None:
        process.kill()
    process.stdout.close()
    process.wait()
    for pid in pids:
        if not gone(pid):
            kill(pid)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_workers_after_a_checkpoint(
    number: signal.Signals, sweep: tuple[subprocess.Popen[str], list[int], list[Job]]
) -> None:
    process, pids, jobs = sweep
    process.send_signal(number)
    assert process.wait(timeout=30) == 128 + number
    assert all(gone(pid, 0.5) for pid in pids)
    assert [inspect_run(RunDir(Path(job.folder)), job.config).kind for job in jobs] == ["resume", "resume"]


def test_a_worker_told_to_stop_while_it_starts_leaves_quietly() -> None:
    code = """if True:
        import os, signal, sys
        from sweep import worker
        listen = worker._Engine.listen
        def told_meanwhile(engine, seconds):
            os.kill(os.getpid(), signal.SIGTERM)
            listen(engine, seconds)
        worker._Engine.listen = told_meanwhile
        sys.argv[1:] = ["1", "20", "60"]
        worker.main()
    """
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=REPOSITORY, input="", capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (128 + signal.SIGTERM, "")


def test_workers_of_a_killed_engine_end_by_themselves(
    sweep: tuple[subprocess.Popen[str], list[int], list[Job]],
) -> None:
    process, pids, jobs = sweep
    process.kill()
    process.wait()
    assert all(gone(pid) for pid in pids)
    for job in jobs:
        assert inspect_run(RunDir(Path(job.folder)), job.config).kind == "resume"
        with locked(Path(job.folder)):  # free for whoever comes next
            pass


def test_a_second_interrupt_ends_engine_and_workers_at_once(
    sweep: tuple[subprocess.Popen[str], list[int], list[Job]],
) -> None:
    process, pids, _ = sweep
    os.kill(pids[0], signal.SIGSTOP)  # so that the orderly stop would take its 25 seconds
    process.send_signal(signal.SIGINT)
    assert gone(pids[1], 25.0)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=10) == 128 + signal.SIGINT
    os.kill(pids[0], signal.SIGCONT)
    assert gone(pids[0], 10.0)
