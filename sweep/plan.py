"""Cells to runs: every configuration of a sweep, completed and checked, with what its folder holds."""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from artifacts.atomic_writes import file_hash
from artifacts.missing import check_arrays, check_file
from artifacts.run_dir import SAFE_NAME, RunDir, RunStatus, control_part, inspect_run, training_folder
from configs import own_code
from configs.errors import UsageError
from configs.experiment import OWN_DENSE, ExperimentConfig
from configs.knobs import flag_name
from configs.limits import AUGMENTATIONS, DEFAULT_IMAGE_SIZE
from configs.machine import EngineOptions
from configs.suggest import did_you_mean
from configs.sweep import SweepOptions
from data.registry import DATASETS, DatasetEntry, file_name, folder_name
from models.registry import ARCHITECTURES, OWN, Architecture, completed, entry_of, other_channels
from pruning.registry import BASELINE, METHODS, all_knobs, narrows, sparsities_of
from sweep.chains import chained, check_chain, with_chains
from sweep.controls import with_controls

log = logging.getLogger(__name__)
# What a cell that models start from must share with the cell that starts: otherwise a model would start from weights
# that have seen its non-members.
SPLIT_FIELDS = ("dataset_name", "dataset_hash", "pool_size", "train_fraction", "split", "seed")


PAIRS_FRACTION = 0.5  # of the pool: a fair coin


@dataclasses.dataclass(frozen=True)
class PlannedRun:
    """One model of the sweep."""

    config: ExperimentConfig
    run: RunDir
    status: RunStatus


def resolve(config: ExperimentConfig, data_dir: str, knobs: Mapping[str, Any] | None = None) -> ExperimentConfig:
    """Fill in what a configuration leaves to its method, architecture and data set, and drop what does not apply.

    knobs: values of the methods' own knobs by name; None, and what is missing, leave it to the method. Raises
    UsageError naming the flag for combinations that make no sense.
    """
    method = METHODS[config.method]
    if config.split == "pairs" and config.train_fraction != PAIRS_FRACTION:
        raise UsageError(
            f"argument --train-fraction: {config.train_fraction:g} needs --split balanced or disjoint; in pairs every "
            "model trains on half of the pool"
        )
    layers, width = completed(config.arch, config.layers, config.width_mult)
    own_method, own_arch = own_code.named(config.method), own_code.named(config.arch)
    network = entry_of(config.arch) or OWN
    entry = DATASETS[config.dataset]
    if method.networks and config.arch not in method.networks:
        unknown = "what to put in the place of BatchNorm" if method.private else "which channels belong together"
        raise UsageError(
            f"argument --arch: {config.method} needs to know {unknown}, and does not for "
            f"{config.arch}; give {', '.join(method.networks)}"
        )
    if method.private and config.pretrained is not None:
        raise UsageError(
            f"argument --pretrained: {config.method} guarantees nothing for weights that were trained before; leave "
            "the flag out"
        )
    if method.package is not None and importlib.util.find_spec(method.package) is None:
        raise UsageError(
            f"argument --methods: {config.method} needs the package {method.package}, which is not installed; "
            f"pip install {method.package}"
        )
    if config.image_size is not None and not entry.needs_folder:
        raise UsageError(f"argument --image-size: --dataset {config.dataset} has a fixed size; leave the flag out")
    if entry.table:
        _check_table(config, network)
    return dataclasses.replace(
        config,
        method_file=None if own_method is None else own_method.path,
        method_hash=None if own_method is None else own_method.sha256,
        sparsity=sparsities_of(config.method, (config.sparsity,))[0],
        dataset_name=_name_of(config, entry, Path(data_dir)),
        dataset_hash=_hash_of(Path(data_dir).expanduser(), config.dataset) if entry.needs_file else None,
        augment=config.augment or entry.augment,
        image_size=(config.image_size or DEFAULT_IMAGE_SIZE) if entry.needs_folder else None,
        arch_file=None if own_arch is None else own_arch.path,
        arch_hash=None if own_arch is None else own_arch.sha256,
        layers=layers,
        width_mult=width,
        channels=other_channels(config.arch, config.channels),
        prune_layers=config.prune_layers or network.prune_layers,
        knobs=method.Knobs.completed(knobs or {}, config.epochs),
    )


def _check_table(config: ExperimentConfig, network: Architecture) -> None:
    """Refuse for a table what only pictures have. A network of the user's own is tried out with the data's shape."""
    if not network.tables and network is not OWN:
        fitting = " or ".join(name for name, entry in ARCHITECTURES.items() if entry.tables)
        raise UsageError(
            f"argument --arch: {config.arch} takes pictures, and --dataset {config.dataset} is a table; give {fitting}"
        )
    if config.augment not in (None, "none"):
        raise UsageError(
            f"argument --augment: {config.augment} needs pictures, and --dataset {config.dataset} is a table; leave "
            "the flag out"
        )


def _name_of(config: ExperimentConfig, entry: DatasetEntry, data_dir: Path) -> str:
    """The data set's name for people, which its cells' folders have."""
    if entry.needs_folder:
        return folder_name(data_dir)
    return file_name(data_dir) if entry.needs_file else config.dataset


def _hash_of(path: Path, dataset: str) -> str:
    check_arrays(path, dataset)
    about = path.stat()
    return _hashed(path, about.st_mtime_ns, about.st_size)


@functools.lru_cache(maxsize=4)
def _hashed(path: Path, mtime_ns: int, size: int) -> str:
    """sha256 of a file; every cell of a plan asks for it."""
    return file_hash(path)


def check_names(config: ExperimentConfig) -> None:
    """Refuse a configuration (from a stranger's file, say) that names what this version does not know."""
    names: tuple[tuple[str, str, Iterable[str]], ...] = (
        ("method", config.method, METHODS),
        ("dataset", config.dataset, DATASETS),
        ("arch", config.arch, ARCHITECTURES),
        ("augment", str(config.augment), AUGMENTATIONS),
    )
    for name, value, allowed in names:
        own = name == "arch" and (_is_own(config.arch, config.arch_hash) or entry_of(config.arch) is not None)
        if value not in allowed and not own:
            raise UsageError(f"unknown {name} {value!r}; known are {', '.join(allowed)}")
    if not isinstance(config.dataset_name, str) or not SAFE_NAME.fullmatch(config.dataset_name):
        raise UsageError(f"dataset_name {config.dataset_name!r} is no folder name")


def _is_own(name: str, sha256: str | None) -> bool:
    """Whether a stored configuration can mean an object in a file of somebody's own."""
    return sha256 is not None and own_code.HASH.fullmatch(sha256) is not None and SAFE_NAME.fullmatch(name) is not None


def check_knobs_apply(knobs: Mapping[str, Any], methods: Iterable[str]) -> None:
    """Refuse a flag that no method of the command reads."""
    methods = tuple(methods)
    for name in all_knobs():
        owners = [method for method, entry in METHODS.items() if name in entry.Knobs.names()]
        if knobs.get(name) is not None and not set(owners) & set(methods):
            raise UsageError(f"argument {flag_name(name)}: applies to {', '.join(owners)} only; leave the flag out")


def plan_cells(
    template: ExperimentConfig, sweep: SweepOptions, data_dir: str, knobs: Mapping[str, Any] | None = None
) -> list[ExperimentConfig]:
    """The target configuration of every cell, in the order of the methods given; controls follow the dense cell, and a
    cell's replicates follow it.

    knobs: as `resolve` takes them.
    """
    check_knobs_apply(knobs or {}, sweep.methods)
    cells = [
        resolve(dataclasses.replace(template, method=method, sparsity=sparsity), data_dir, knobs)
        for method in sweep.methods
        for sparsity in sparsities_of(method, sweep.sparsities)
    ]
    cells = with_controls(with_chains(cells), sweep, data_dir)
    _check_replicated(cells, sweep)
    cells = [one for cell in cells for one in (cell, *_replicates(cell, sweep))]
    check_chain(cells)
    return cells


def _replicates(cell: ExperimentConfig, sweep: SweepOptions) -> list[ExperimentConfig]:
    """The further trainings of a cell that `--replicates` asks for."""
    if sweep.replicate_cells and not set(_names(cell)) & set(sweep.replicate_cells):
        return []
    seeds = range(cell.train_seed + 1, cell.train_seed + sweep.replicates + 1)
    return [dataclasses.replace(cell, train_seed=seed) for seed in seeds]


def _names(cell: ExperimentConfig) -> tuple[str, ...]:
    """What `--replicate-cells` may call a cell: its method, and its sparsity after that where it is pruned; a control
    by what makes it one, such as dense_epochs_5."""
    if cell.control is not None:
        return (f"{cell.method}_{control_part(cell)}",)
    return (cell.method, f"{cell.method}_{cell.sparsity:g}") if METHODS[cell.method].prunes else (cell.method,)


def _check_replicated(cells: Iterable[ExperimentConfig], sweep: SweepOptions) -> None:
    known = list(dict.fromkeys(name for cell in cells for name in _names(cell)))
    unknown = next((name for name in sweep.replicate_cells if name not in known), None)
    if unknown is not None:
        raise UsageError(
            f"argument --replicate-cells: {unknown!r} is no cell of this sweep; choose from {', '.join(known)}"
            f"{did_you_mean(unknown, known)}"
        )


def plan_runs(
    cells: Iterable[ExperimentConfig], runs_dir: Path, name: str | None = None, shadows: bool = True
) -> list[PlannedRun]:
    """Every model of every cell with the state of its folder; targets come first, so that results appear early, and of
    either the dense ones, from which others go on."""
    runs: list[PlannedRun] = []
    cells = list(cells)
    _say_what_is_shared(cells)
    for cell in cells:
        for index in range(cell.num_models if shadows else 1):
            config = dataclasses.replace(cell, model_index=index)
            own = config.pretrained == OWN_DENSE
            config = chained(config, cells, runs_dir) if own else with_start(config)
            run = RunDir.of(config, runs_dir, name)
            if not run.path.resolve().is_relative_to(runs_dir.resolve()):
                raise UsageError(f"argument --runs-dir: {run.path} is a link that leaves it; remove the link")
            runs.append(PlannedRun(config, run, inspect_run(run, config)))
    return sorted(runs, key=lambda planned: (planned.config.model_index > 0, planned.config.method != BASELINE))


def _say_what_is_shared(cells: Iterable[ExperimentConfig]) -> None:
    """A weights file is one start for all trainings; that replicates share it is worth a word."""
    for cell in cells:
        if cell.train_seed and cell.pretrained not in (None, OWN_DENSE) and Path(cell.pretrained or "").is_file():
            log.warning("all train seeds start from %s: their trainings differ in batches alone", cell.pretrained)
            return


def of_shard(runs: Sequence[PlannedRun], engine: EngineOptions) -> list[PlannedRun]:
    """The runs that `--shard` leaves to this command; what starts from a run of the sweep goes where that one goes."""
    own = {one.run.path for one in engine.share([one for one in runs if one.config.pretrained_run is None])}
    return [one for one in runs if _origin(one) in own]


def _origin(one: PlannedRun) -> Path:
    config = one.config
    return one.run.path if config.pretrained_run is None else Path(str(config.pretrained)).parent


def with_start(config: ExperimentConfig) -> ExperimentConfig:
    """Resolve `--pretrained`: the file itself, or this model's counterpart in the folder of a cell.

    A replicate starts from the replicate of that cell with its own train seed: from one start, two trainings would
    agree in more than their memberships.
    """
    if config.pretrained is None:
        return config
    path = Path(config.pretrained)
    if path.is_dir():
        cell = _training_of(path, config.train_seed)
        start = RunDir(cell if config.model_index == 0 else cell / f"shadow_{config.model_index - 1:03d}")
        _check_counterpart(config, start)
        path = start.model
    elif (path.parent / RunDir(path.parent).config.name).is_file():
        raise UsageError(
            f"argument --pretrained: {path} was trained on one model's members; give its folder {path.parent}, "
            "so that every model starts from its own counterpart"
        )
    check_file(path, "--pretrained")
    return dataclasses.replace(config, pretrained=str(path), pretrained_hash=file_hash(path))


def _training_of(folder: Path, train_seed: int) -> Path:
    """The folder of the training with this train seed, given that of any training of its cell."""
    try:
        own = RunDir(folder).read_config().train_seed
    except (OSError, ValueError):
        return folder  # what is wrong with it is said where it is used
    if own == train_seed:
        return folder
    return training_folder(folder.parent if own else folder, train_seed)


def _check_counterpart(config: ExperimentConfig, start: RunDir) -> None:
    if not start.summary.is_file():
        again = f"; a model of train seed {config.train_seed} starts from one of that train seed"
        raise UsageError(
            f"argument --pretrained: {start.path} holds no finished run to start from"
            + (again if config.train_seed else "")
        )
    theirs = start.read_config()
    if narrows(theirs.method):
        raise UsageError(
            f"argument --pretrained: {start.path} was pruned by {theirs.method} and lacks channels of the network that "
            "would start from it; give the folder of another cell"
        )
    if theirs.train_seed != config.train_seed:
        raise UsageError(
            f"argument --pretrained: {start.path} has train seed {theirs.train_seed}, here {config.train_seed}; "
            "give the folder of a cell that has a training of this train seed"
        )
    for name in (*SPLIT_FIELDS, *(() if config.grows else ("num_shadows",))):
        if getattr(theirs, name) != getattr(config, name):
            raise UsageError(
                f"argument --pretrained: {start.path} has another split ({name} {getattr(theirs, name)}, "
                f"here {getattr(config, name)}); its weights have seen this run's non-members"
            )
