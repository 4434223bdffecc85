"""Where models are trained and how: folders, devices, engines, tracking, messages. Nothing here changes a result."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from typing import TypeVar

from configs.errors import UsageError
from configs.knobs import check_fields, knob

SHARD = re.compile(r"([0-9]{1,6})/([0-9]{1,6})")
ADDRESS = re.compile(r"[A-Za-z0-9._-]+:[0-9]{1,5}")
T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Places:
    """Where things are read and written."""

    runs_dir: str = knob("runs", "folder of the trained models", metavar="DIR")
    results_dir: str = knob("results/mia", "folder of tables and figures", metavar="DIR")
    summary_dir: str = knob(".", "folder of the two summary CSVs", metavar="DIR")
    data_dir: str = knob("datasets", "folder of downloads, or the image folder itself", metavar="DIR")


@dataclasses.dataclass(frozen=True)
class Machine:
    """How the work is spread over this machine; nothing here changes what is computed."""

    device: str = knob(
        "auto", "auto, cpu, cuda, cuda:N or mps; auto and cuda train on every CUDA device there is", metavar="DEVICE"
    )
    num_threads: int | None = knob(
        None, "CPU threads of each process", kind=int, low=1, high=1024, shown="cores / --jobs"
    )
    cuda_graphs: str = knob(
        "auto",
        "CUDA devices only: auto records the optimiser step once as a CUDA graph and replays it for every model, if "
        "the two are found to agree; off launches its operations one by one",
        choices=("auto", "off"),
    )
    models_per_device: int | None = knob(
        None,
        "CUDA devices only: models trained at once on each, a process each; auto measures how many pay and fit, and is "
        "one with --engine ray or in one process",
        kind=int,
        low=1,
        high=64,
        shown="auto",
        word=("auto", None),
    )
    jobs: int | None = knob(
        None,
        "models trained at once, a process each; auto is one a core on a CPU, and --models-per-device on each GPU. A "
        "single model, or --jobs 1, trains in this process unless --retries, --timeout or --silence is given",
        kind=int,
        low=1,
        high=1024,
        shown="auto",
        word=("auto", None),
    )
    checkpoint_seconds: float = knob(
        60.0,
        "least time between two checkpoints of a run, in mid-epoch as well; 0 writes one after every epoch",
        kind=float,
        low=0.0,
    )
    eval_every: int | None = knob(
        None,
        "epochs between test evaluations in the history",
        kind=int,
        low=1,
        shown="ten in all for a target, one at the end for a shadow",
    )
    trace_losses: bool = knob(
        False,
        "keep each member's loss at every epoch (loss_traces.npz), from the forward passes of training itself; "
        "--screen ranks members by it",
        kind=bool,
    )


@dataclasses.dataclass(frozen=True)
class EngineOptions:
    """Who trains the models of a sweep, and what happens to those that crash, hang or take too long."""

    engine: str = knob(
        "local",
        "local: processes on this machine; ray: a Ray cluster, or Ray on this machine where there is none",
        choices=("local", "ray"),
    )
    ray_address: str | None = knob(
        None,
        "ray: HOST:PORT of the cluster; auto takes the one this machine belongs to, or starts Ray here",
        shown="auto",
        metavar="ADDRESS",
    )
    retries: int | None = knob(
        None,
        "tries more for a run whose process crashed or hung; errors are final",
        kind=int,
        low=0,
        high=100,
        shown="1",
    )
    timeout: float | None = knob(
        None,
        "seconds a run may take at a time; then it writes its checkpoint and counts as failed",
        kind=float,
        low=1.0,
        shown="no limit",
        metavar="SECONDS",
    )
    silence: float | None = knob(
        None,
        "seconds without a sign of life after which a run's process counts as hung",
        kind=float,
        low=1.0,
        shown="60",
        metavar="SECONDS",
    )
    shard: str | None = knob(
        None,
        "train every N-th run of the plan, from the I-th on (1/4, 2/4, 3/4, 4/4 for four machines), and attack nothing",
        shown="all runs",
        metavar="I/N",
    )

    def __post_init__(self) -> None:
        check_fields(self)
        if self.shard is not None:
            _parse_shard(self.shard)
        if self.ray_address is not None and self.engine != "ray":
            raise UsageError("argument --ray-address: needs --engine ray; leave it out")
        if self.ray_address not in (None, "auto") and not ADDRESS.fullmatch(self.ray_address or ""):
            raise UsageError(f"argument --ray-address: {self.ray_address!r} is not allowed; give auto or HOST:PORT")

    @property
    def watches(self) -> bool:
        """Whether the command line asks for what only a process of its own can give a run."""
        return any(value is not None for value in (self.retries, self.timeout, self.silence))

    def share(self, runs: Sequence[T]) -> Sequence[T]:
        """Those of a plan's runs that `--shard` leaves to this command."""
        if self.shard is None:
            return runs
        first, step = _parse_shard(self.shard)
        return runs[first - 1 :: step]


def _parse_shard(text: str) -> tuple[int, int]:
    match = SHARD.fullmatch(text)
    first, step = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= first <= step:
        raise UsageError(f"argument --shard: {text!r} is not allowed; give I/N with I from 1 to N, such as 1/4")
    return first, step


@dataclasses.dataclass(frozen=True)
class Tracking:
    """Weights & Biases and TensorBoard (optional packages)."""

    wandb: bool = knob(False, "log to Weights & Biases; offline without a key", kind=bool)
    wandb_project: str = knob("pruning-mia", "project", metavar="NAME")
    wandb_entity: str | None = knob(None, "user or team", shown="your own", metavar="NAME")
    wandb_tags: tuple[str, ...] = knob((), "tags", many=True, shown="none", metavar="TAG")
    tensorboard: bool = knob(False, "write event files for TensorBoard below the runs and results folders", kind=bool)


@dataclasses.dataclass(frozen=True)
class Talk:
    """How much is said on standard error."""

    verbose: bool = knob(False, "a log line for each epoch", kind=bool)
    quiet: bool = knob(False, "warnings and results only", kind=bool)
