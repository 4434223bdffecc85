"""Finding a Ray cluster, joining it, or starting Ray on this machine."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from artifacts import stopping
from artifacts.children import cores, import_path
from artifacts.run_dir import one_line
from configs.errors import UsageError
from configs.machine import Machine
from sweep.local import jobs_and_threads

log = logging.getLogger(__name__)
CONNECT_SECONDS = 5.0
OBJECT_STORE_BYTES = 80 * 2**20  # Ray's least: results are a line each, everything else travels through run folders
CURRENT_CLUSTER = Path("ray") / "ray_current_cluster"  # written by `ray start`
SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",  # a task uses the environment that its node was started in
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


def check_ray(machine: Machine, address: str) -> None:
    """UsageError when Ray is not installed, its address does not answer, or a device is named that it hands out."""
    import_ray()
    if ":" in machine.device:
        raise UsageError(
            f"argument --device: {machine.device} cannot go with --engine ray, which hands out the GPUs; give cuda"
        )
    _find_cluster(address)


def import_ray() -> Any:
    """Ray with its settings; UsageError when it is not installed."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    try:
        import ray
        import ray.exceptions
        import ray.util.queue
        import ray.util.scheduling_strategies
    except ImportError:
        raise UsageError(
            "argument --engine: ray is not installed; pip install -r requirements-ray.txt, or give local"
        ) from None
    return ray


def connect(ray: Any, address: str, machine: Machine, num_jobs: int) -> int:
    """Join the cluster, or start Ray here; returns the CPU threads of each task."""
    cluster = _find_cluster(address)
    threads = machine.num_threads or 1
    options: dict[str, Any] = {"address": cluster}
    if cluster is None:
        processes, share = jobs_and_threads(machine.jobs, machine.num_threads, num_jobs)
        threads = share if machine.device == "cpu" else threads
        here = {"include_dashboard": False, "object_store_memory": OBJECT_STORE_BYTES}
        options = {"address": "local", "num_cpus": max(cores(), processes * threads), **here}
    environment = {"PYTHONPATH": import_path(), "OMP_NUM_THREADS": str(threads), **SETTINGS}
    with handlers_kept():  # Ray takes SIGTERM for itself
        try:
            ray.init(
                **options,
                runtime_env={"env_vars": environment},
                log_to_driver=False,
                logging_level=logging.ERROR,
                namespace=uuid.uuid4().hex,
            )
        except (ConnectionError, ValueError, RuntimeError, OSError) as error:
            raise UsageError(f"argument --ray-address: Ray cannot be reached or started ({one_line(error)})") from None
    where = f"the cluster at {cluster}" if cluster else "this machine"
    log.info("training %d models with Ray on %s, %d CPU threads each", num_jobs, where, threads)
    return threads


def _find_cluster(address: str) -> str | None:
    """HOST:PORT of the cluster to join; None where Ray has to be started. Ray itself would wait for minutes."""
    if address != "auto":
        if not _answers(address):
            raise UsageError(f"argument --ray-address: no Ray cluster answers at {address}; start one (ray start)")
        return address
    named = os.environ.get("RAY_ADDRESS", "auto")
    if named not in ("auto", "local", ""):
        if not _answers(named):
            raise UsageError(f"argument --ray-address: no Ray cluster answers at {named} (from RAY_ADDRESS)")
        return named
    with contextlib.suppress(OSError):
        known = (Path(os.environ.get("RAY_TMPDIR", "/tmp")) / CURRENT_CLUSTER).read_text(encoding="utf-8").strip()
        if _answers(known):
            return known
    return None


def _answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=CONNECT_SECONDS):
            return True
    except (OSError, ValueError, OverflowError):
        return False


@contextlib.contextmanager
def handlers_kept() -> Iterator[None]:
    """Signal handlers are afterwards what they were before."""
    before = {number: signal.getsignal(number) for number in stopping.SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
