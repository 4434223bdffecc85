"""What one model is (ExperimentConfig, fingerprinted) and the settings around it (never fingerprinted)."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Sequence
from typing import Any, TypeVar

from configs.errors import UsageError
from configs.knobs import check_fields, flag_name, knob, later_fields

# Raised when the meaning of a field or the training code changes results: older runs then count as another experiment.
SCHEMA_VERSION = 1
# The fields whose values always enter a run's identity. Closed for good: a field that is added declares `absent`.
FIRST_FIELDS = frozenset(
    (
        *(
            "method",
            "sparsity",
            "dataset",
            "dataset_name",
            "image_size",
            "pool_size",
            "train_fraction",
            "arch",
            "layers",
        ),
        *("width_mult", "epochs", "batch_size", "lr", "momentum", "weight_decay", "scheduler", "augment", "precision"),
        *("select", "pretrained", "pretrained_hash", "prune_epoch", "prune_freq", "target_epoch", "freeze_epoch"),
        *("seed", "num_shadows", "model_index"),
    )
)
# What names a cell beside method and sparsity; a report has a block for each.
SETTING = ("dataset", "arch", "layers", "width_mult", "seed", "split")
# How a cell was trained, apart from what its pruning method alone has a say in. Data and pool count by their hashes.
RECIPE = (
    *("epochs", "batch_size", "lr", "momentum", "weight_decay", "scheduler", "augment", "precision", "select"),
    "pretrained",
)
# The fields that belong to one pruning method each.
PRUNING_KNOBS = ("prune_epoch", "prune_freq", "target_epoch", "freeze_epoch")
ALL_TARGETS = 4097  # no cell has more models
MOST_TARGETS = 16  # that are attacked where nobody says how many
SHARD = re.compile(r"([0-9]{1,6})/([0-9]{1,6})")
ADDRESS = re.compile(r"[A-Za-z0-9._-]+:[0-9]{1,5}")
T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class ExperimentConfig:
    """Everything that decides one model's weights, and nothing else.

    A field that does not apply to the method is None (see `sweep.plan.resolve`). Adding a field, or changing a default,
    leaves the runs there are what they are: a field that is none of FIRST_FIELDS declares the value that its absence
    means (`absent`), and only another value enters the identity. What `absent` is of a method's knob, every run of that
    method made before had.
    """

    method: str = "dense"
    sparsity: float = knob(
        0.0, "fraction of zeros among prunable weights, in [0, 1)", kind=float, low=0.0, below=1.0, metavar="S"
    )
    dataset: str = knob("cifar10", "data set", choices="datasets")
    dataset_name: str = ""
    image_size: int | None = knob(
        None, "side in pixels that an image folder is resized to", kind=int, low=4, high=1024, shown="32"
    )
    pool_size: int | None = knob(
        None, "cap on the pool (members and non-members together)", kind=int, low=2, shown="the whole training set"
    )
    train_fraction: float = knob(
        0.5,
        "share of the pool that trains each model; 1.0 leaves no non-members, so such a run cannot be attacked",
        kind=float,
        low=0.01,
        high=1.0,
    )
    split: str = knob(
        "balanced",
        "who trains on what: every model on its own half of one pool, or (disjoint) the target in one half of the pool "
        "and its shadow models in the other",
        choices=("balanced", "disjoint"),
        absent="balanced",
    )
    arch: str = knob("resnet", "architecture", choices="architectures")
    layers: int | None = knob(None, "depth", kind=int, low=1, shown="20 for resnet, 28 for wideresnet")
    width_mult: int | None = knob(
        None, "channel multiplier", kind=int, low=1, high=64, shown="1 for resnet, 2 for wideresnet"
    )
    epochs: int = knob(200, "passes over the members", kind=int, low=1)
    batch_size: int = knob(128, "examples per step", kind=int, low=1)
    lr: float = knob(0.1, "peak learning rate of SGD", kind=float, low=0.0)
    momentum: float = knob(0.9, "momentum of SGD", kind=float, low=0.0, below=1.0)
    weight_decay: float = knob(5e-4, "weight decay of SGD", kind=float, low=0.0)
    scheduler: str = knob(
        "multistep",
        "learning-rate schedule; multistep is x0.1 at 50 and 75 percent of the epochs",
        choices=("multistep", "cosine", "onecycle"),
    )
    augment: str = knob("standard", "standard is random crop and mirror", choices="augmentations")
    precision: str = knob(
        "auto",
        "arithmetic of training; queries are always float32. auto takes bfloat16 where the hardware has it",
        choices=("auto", "float32", "bfloat16"),
    )
    select: str = knob(
        "last",
        "which epoch's model is kept; best is by test accuracy among the epochs at full target sparsity",
        choices=("last", "best"),
    )
    pretrained: str | None = knob(
        None,
        "start from these weights: a .pth file, or the folder of a cell, whose models then start their counterparts",
        shown="random initialisation",
        metavar="PATH",
    )
    pretrained_hash: str | None = None
    prune_epoch: int | None = knob(
        None,
        "static: epoch at which the mask is taken; 0 is before training",
        kind=int,
        low=0,
        shown="half of --epochs",
    )
    prune_freq: int | None = knob(None, "dpf: optimiser steps between two mask updates", kind=int, low=1, shown="16")
    target_epoch: int | None = knob(
        None, "dpf: epoch at which the full sparsity is reached", kind=int, low=0, shown="half of --epochs"
    )
    freeze_epoch: int | None = knob(
        None, "dpf: epoch after which the mask is fixed; -1 is never", kind=int, low=-1, shown="nine tenths of --epochs"
    )
    seed: int = knob(0, "seed of the split, the initialisations and the batches", kind=int, low=0, high=2**31 - 1)
    train_seed: int = knob(
        0,
        "seed of initialisations and batches alone: cells that differ in nothing else are replicates, trained on the "
        "same memberships from other starts",
        kind=int,
        low=0,
        high=2**31 - 1,
        absent=0,
    )
    num_shadows: int = knob(8, "shadow models per cell", kind=int, low=0, high=4096)
    model_index: int = 0

    def __post_init__(self) -> None:
        check_fields(self)
        if not 0 <= self.model_index <= self.num_shadows:
            raise UsageError(f"model index {self.model_index} is not allowed; give 0 to {self.num_shadows}")

    @property
    def num_models(self) -> int:
        """M: the target and its shadows; the split is drawn for all of them."""
        return self.num_shadows + 1

    def described(self) -> dict[str, Any]:
        """What names and describes the cell in tables: method, sparsity, SETTING, train_seed, RECIPE, PRUNING_KNOBS.

        dataset: its name for people, an image folder's own; pretrained: yes or no.
        """
        names = ("method", "sparsity", *SETTING, "train_seed", *RECIPE, *PRUNING_KNOBS)
        values = {name: getattr(self, name) for name in names}
        return {**values, "dataset": self.dataset_name, "pretrained": "no" if self.pretrained is None else "yes"}

    def identity(self) -> dict[str, Any]:
        """The fields that decide this model's weights. Paths are left out: data and weights count by their hashes."""
        fields = dataclasses.asdict(self)
        del fields["pretrained"]
        for name, absent in later_fields(self).items():
            if fields[name] in (absent, None):  # None: a knob of another method
                del fields[name]
        return {"schema_version": SCHEMA_VERSION, **fields}

    def fingerprint(self) -> str:
        """sha256 of the canonical JSON of `identity`."""
        return _hash(self.identity())

    def cell_fingerprint(self) -> str:
        """The same for the cell: what a target and its shadows have in common."""
        identity = self.identity()
        # Each model of a cell may start from its own counterpart's weights; the cell is told apart by the rest.
        for own in ("model_index", "pretrained_hash"):
            del identity[own]
        return _hash({**identity, "pretrained": self.pretrained_hash is not None})

    def to_json(self) -> str:
        """The configuration and its fingerprint, as written to `config.json`."""
        fields = {**dataclasses.asdict(self), "schema_version": SCHEMA_VERSION, "fingerprint": self.fingerprint()}
        return json.dumps(fields, indent=2) + "\n"

    @classmethod
    def from_dict(cls, fields: Any) -> ExperimentConfig:
        """Read back what `to_json` wrote, also before fields were added; UsageError for unknown or ill-typed ones."""
        if not isinstance(fields, dict):
            raise UsageError("a configuration must be a JSON object")
        known = {field.name: field for field in dataclasses.fields(cls)}
        extra = sorted(set(fields) - set(known) - {"schema_version", "fingerprint"})
        if extra:
            raise UsageError(f"unknown configuration field {extra[0]!r}")
        values = later_fields(cls) | {name: value for name, value in fields.items() if name in known}
        for name, value in values.items():
            kind = known[name].metadata.get("kind", int if name == "model_index" else str)
            allowed = (int, float) if kind is float else kind
            if isinstance(value, bool) or not (isinstance(value, allowed) or value is known[name].default is None):
                raise UsageError(f"configuration field {name!r} has the value {str(value)[:80]!r} of another type")
        return cls(**values)


def _hash(fields: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def differing_fields(ours: dict[str, Any], theirs: dict[str, Any]) -> list[str]:
    """`name: theirs -> ours` for each field of two identities that differs."""
    names = sorted(set(ours) | set(theirs))
    return [f"{name}: {theirs.get(name)} -> {ours.get(name)}" for name in names if ours.get(name) != theirs.get(name)]


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
class AttackOptions:
    """Which attacks, on how many targets, with which queries."""

    attacks: tuple[str, ...] | None = knob(None, "attacks to run", choices="attacks", many=True, shown="all of them")
    num_targets: int | None = knob(
        None,
        "models of a cell that play the target in turn, or all; one number for all attacks and --shadows-from",
        kind=int,
        low=1,
        high=ALL_TARGETS,
        shown=f"all, {MOST_TARGETS} at most; 1 for attacks that train networks, and for other cells' shadow models",
        word=("all", ALL_TARGETS),
    )
    shadows_from: tuple[str, ...] | None = knob(
        None,
        "whose shadow models attack a target beside its own: all (of its setting), own (none), or names of cells; "
        "where given, they attack as many targets as its own do",
        many=True,
        shown="all, one target",
        metavar="CELL",
    )
    num_queries: int | None = knob(
        None,
        "queries per example: itself, its mirror image, shifted copies of both (18 in all)",
        kind=int,
        low=1,
        high=18,
        shown="2 where training mirrored its pictures, else 1",
    )
    attack_recipe: str = knob(
        "auto",
        "training of the attack networks: the published one (paper), a short one of fixed cost where that would take "
        "too long (auto), or one of seconds whose figures differ (fast)",
        choices=("auto", "paper", "fast"),
    )
    samia_examples: int | None = knob(
        None,
        "samia: examples of the pool, drawn with the seed, that get its noise queries; it attacks these only",
        kind=int,
        low=100,
        shown="all",
    )
    rmia_gamma: float = knob(
        2.0,
        "rmia_published: ratio by which an example has to beat a population example (rmia: 1, ties broken)",
        kind=float,
        low=1.0,
    )
    rmia_a: float | None = knob(
        None,
        "rmia: how an IN model's confidence follows from an OUT model's, a * p + 1 - a",
        kind=float,
        low=0.0,
        high=1.0,
        shown="chosen on each target's own shadow models; rmia_published 0.3",
    )
    rmia_population: int = knob(
        10_000, "rmia: population examples, drawn from the test set", kind=int, low=1, high=1_000_000
    )

    def targets_of(self, trains_network: bool) -> int:
        """How many targets an attack is given, at most."""
        if self.num_targets is not None:
            return self.num_targets
        return 1 if trains_network else MOST_TARGETS

    @property
    def crossed_targets(self) -> int:
        """How many targets other cells' shadow models are sent against, at most."""
        return 1 if self.num_targets is None and self.shadows_from is None else self.targets_of(trains_network=False)


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


@dataclasses.dataclass(frozen=True)
class SweepOptions:
    """The grid of cells."""

    methods: tuple[str, ...] = knob(("dense", "static", "dpf"), "pruning methods", choices="methods", many=True)
    sparsities: tuple[float, ...] = knob(
        (0.5, 0.7, 0.8, 0.9, 0.95),
        "sparsities of every pruned method, in [0, 1)",
        kind=float,
        low=0.0,
        below=1.0,
        many=True,
        metavar="S",
    )
    replicates: int = knob(
        0,
        "further trainings of a cell, with the train seeds that follow --train-seed: the same memberships, other "
        "initialisations and batches",
        kind=int,
        low=0,
        high=1000,
    )
    replicate_cells: tuple[str, ...] = knob(
        (),
        "cells that --replicates trains again, by method or method_sparsity, such as dense dpf_0.95",
        many=True,
        shown="every cell",
        metavar="CELL",
    )

    def __post_init__(self) -> None:
        check_fields(self)
        for name in ("methods", "sparsities", "replicate_cells"):
            values = getattr(self, name)
            twice = next((value for i, value in enumerate(values) if value in values[:i]), None)
            if twice is not None:
                raise UsageError(f"argument {flag_name(name)}: {twice} is given twice; name each once")
        if self.replicate_cells and not self.replicates:
            raise UsageError("argument --replicate-cells: needs --replicates, how often these cells are trained again")
