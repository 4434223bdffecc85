"""Ray as the engine: one sweep on two nodes while workers, nodes and drivers are lost, and what is refused."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from artifacts import stopping
from artifacts.atomic_writes import write_text
from artifacts.run_dir import RunDir, inspect_run
from configs.errors import UsageError
from configs.experiment import ExperimentConfig
from configs.machine import Machine
from sweep import ray_cluster, ray_engine
from sweep.engine import Rules
from sweep.ray_engine import Site, run_on_ray
from sweep.worker import Job
from tests.repository import REPOSITORY
from tests.sweep.engine_jobs import MACHINE, contents, ignore_done, ignore_epoch, job_of, shorten, undisturbed, when

ray = pytest.importorskip("ray", reason="Ray is not installed (requirements-ray.txt)")
pytestmark = pytest.mark.ray
Make = Callable[..., ExperimentConfig]
RULES = Rules(retries=2)


class Nodes:
    """A cluster of nodes of one processor each, as processes of this machine; the head has none."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        head = {"num_cpus": 0, "include_dashboard": False, "object_store_memory": 80 * 2**20}
        self.cluster = Cluster(initialize_head=True, head_node_args=head)
        self.nodes = [self.cluster.add_node(num_cpus=1, object_store_memory=80 * 2**20) for _ in range(2)]
        self.address = str(self.cluster.address)

    def remove(self, node_id: str) -> None:
        """Kill a node with everything on it, and start another in its place."""
        (node,) = [one for one in self.nodes if one.node_id == node_id]
        self.nodes.remove(node)
        self.cluster.remove_node(node, allow_graceful=False)
        self.nodes.append(self.cluster.add_node(num_cpus=1, object_store_memory=80 * 2**20))


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    """Two nodes for all tests of this file."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ray_cluster.SETTINGS.items():
            patch.setenv(name, value)
        started = Nodes()
        yield started
        started.cluster.shutdown()


@pytest.fixture
def flights(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The engine's tasks by run folder, with the node and process of each, as the engine learns of them."""
    found: dict[str, Any] = {}
    hear = ray_engine._Fleet._hear

    def listening(self: Any, flight: Any, kind: str, words: list[Any]) -> None:
        found[flight.job.folder] = flight
        hear(self, flight, kind, words)

    monkeypatch.setattr(ray_engine._Fleet, "_hear", listening)
    return found


def jobs_of(make_config: Make, runs_dir: Path, epochs: int = 5, count: int = 3) -> list[Job]:
    return [job_of(make_config(seed=seed, epochs=epochs), runs_dir, f"run_{seed}") for seed in range(count)]


def test_a_killed_worker_a_hung_one_and_a_removed_node_change_no_byte(
    nodes: Nodes, flights: dict[str, Any], make_config: Make, tmp_path: Path
) -> None:
    # long beside the moment that it takes until an epoch is heard of
    jobs = jobs_of(make_config, tmp_path / "runs", epochs=40)
    broken = job_of(make_config(epochs=1, pretrained=str(tmp_path / "nothing.pth")), tmp_path / "runs", "broken")
    killed, removed, hung = (job.folder for job in jobs)
    hooks = [
        when(killed, 2, lambda: os.kill(flights[killed].pid, signal.SIGKILL)),
        when(removed, 2, lambda: nodes.remove(flights[removed].node)),
        when(hung, 2, lambda: os.kill(flights[hung].pid, signal.SIGSTOP)),
    ]
    seen: list[str] = []

    def on_epoch(folder: str, row: dict[str, Any]) -> None:
        for hook in hooks:
            hook(folder, row)

    rules = Rules(retries=3, silence=8.0)
    everything = [*jobs, broken]
    outcomes = run_on_ray(everything, MACHINE, nodes.address, rules, on_epoch, lambda done: seen.append(done.folder))
    assert [outcome.status for outcome in outcomes] == ["finished", "finished", "finished", "failed"]
    assert "nothing.pth" in outcomes[3].reason
    assert sorted(seen) == sorted(job.folder for job in everything)  # each of them once
    assert contents(jobs) == undisturbed([job.config for job in jobs], tmp_path / "undisturbed")
    for job in jobs:
        assert "resuming" in RunDir(Path(job.folder)).log.read_text(encoding="utf-8")


DRIVER = """
import sys
from pathlib import Path
from artifacts import stopping
from artifacts.atomic_writes import write_text
from configs.machine import Machine
from sweep.engine import Rules
from sweep.ray_engine import run_on_ray
from sweep.worker import Job

stopping.install()
jobs = [Job.from_json(line) for line in Path(sys.argv[1]).read_text().splitlines()]
def epoch(folder, row):
    print(folder, flush=True)
try:
    run_on_ray(jobs, Machine(device="cpu", num_threads=1), sys.argv[2], Rules(retries=2), epoch, lambda outcome: None)
except KeyboardInterrupt as stop:
    sys.exit(128 + stop.signum)
"""


def test_two_drivers_are_stopped_and_the_third_finishes(nodes: Nodes, make_config: Make, tmp_path: Path) -> None:
    jobs = jobs_of(make_config, tmp_path / "runs", epochs=60, count=2)
    (tmp_path / "jobs").write_text("\n".join(job.to_json() for job in jobs), encoding="utf-8")
    command = [sys.executable, "-c", DRIVER, str(tmp_path / "jobs"), nodes.address]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    for number, code in ((signal.SIGKILL, -signal.SIGKILL), (signal.SIGTERM, 128 + signal.SIGTERM)):
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as driver:
            assert driver.stdout is not None
            assert driver.stdout.readline().strip() in [job.folder for job in jobs]
            driver.send_signal(number)
            driver.stdout.read()
        assert driver.returncode == code
        kinds = [inspect_run(RunDir(Path(job.folder)), job.config).kind for job in jobs]
        assert "finished" not in kinds
    assert "resume" in kinds
    outcomes = run_on_ray(jobs, MACHINE, nodes.address, RULES, ignore_epoch, ignore_done)
    assert [outcome.status for outcome in outcomes] == ["finished"] * 2
    assert contents(jobs) == undisturbed([job.config for job in jobs], tmp_path / "undisturbed")


def test_a_run_over_its_time_can_go_on(nodes: Nodes, make_config: Make, tmp_path: Path) -> None:
    config = make_config(epochs=100_000)
    job, rules = job_of(config, tmp_path, "long"), Rules(timeout=3600.0)
    hook = when(job.folder, 1, lambda: shorten(rules))
    (outcome,) = run_on_ray([job], MACHINE, nodes.address, rules, hook, ignore_done)
    assert outcome.status == "timeout"
    assert inspect_run(RunDir(tmp_path / "long"), config).kind == "resume"
    assert stopping.requested() is None


def test_a_node_that_does_not_see_the_runs_directory_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    node = socket.gethostname()
    (tmp_path / "marker").write_text("token", encoding="utf-8")
    Site(str(tmp_path), str(tmp_path / "marker"), "token").enter()
    for marker, token in (("marker", "another"), ("elsewhere", "token")):
        with pytest.raises(Exception, match=f"node {node} does not see {tmp_path}; --runs-dir must be on storage"):
            Site(str(tmp_path), str(tmp_path / marker), token).enter()
    with pytest.raises(Exception, match=f"node {node} has no folder {tmp_path}/nowhere"):
        Site(str(tmp_path / "nowhere"), str(tmp_path / "marker"), "token").enter()


def test_nodes_are_asked_before_anything_is_trained(
    nodes: Nodes, make_config: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = jobs_of(make_config, tmp_path / "runs", count=1)
    monkeypatch.setattr(ray_engine, "write_text", lambda path, text: write_text(path, "of another storage"))
    with pytest.raises(UsageError, match=r"argument --runs-dir: node .* does not see"):
        run_on_ray(jobs, MACHINE, nodes.address, RULES, ignore_epoch, ignore_done)
    assert list((tmp_path / "runs").iterdir()) == []


def test_what_cannot_be_used_is_refused_at_once(
    make_config: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = jobs_of(make_config, tmp_path, count=1)

    def run(address: str = "auto", device: str = "cpu") -> None:
        run_on_ray(jobs, Machine(device=device), address, RULES, ignore_epoch, ignore_done)

    with pytest.raises(UsageError, match=r"--ray-address: no Ray cluster answers at 127\.0\.0\.1:1; start one"):
        run("127.0.0.1:1")
    with pytest.raises(UsageError, match="--device: cuda:1 cannot go with --engine ray"):
        run(device="cuda:1")
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    with pytest.raises(UsageError, match="from RAY_ADDRESS"):
        run()
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match=r"--engine: ray is not installed; pip install -r requirements-ray\.txt"):
        run()
    assert list(tmp_path.iterdir()) == []
