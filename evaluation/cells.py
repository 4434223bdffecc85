"""From a runs directory back to cells: what is there, which of it can be trusted, and its signals as arrays."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from artifacts.atomic_writes import file_hash
from artifacts.loss_traces import LossTraces, load_traces
from artifacts.missing import check_runs
from artifacts.progress import step
from artifacts.run_dir import RunDir, experiment_name, inspect_run, one_line
from artifacts.signals import QuerySettings, Signals
from attacks.interface import Outputs
from attacks.models import Models
from configs.errors import RunError, UsageError
from configs.experiment import ExperimentConfig
from configs.limits import MIRRORED
from configs.machine import Places
from data.registry import DATASETS
from data.splits import draw_probed
from evaluation.attackable import Attackable, order
from models.registry import OWN, entry_of
from pruning.registry import all_knobs
from sweep.plan import check_names
from sweep.planned import remembered
from training.ask import ensure_signals

log = logging.getLogger(__name__)
STACKED = ("logits", "phi", "sensitivity", "membership", "population_phi")


@dataclasses.dataclass
class Cell(Attackable):
    """A target and its shadows that this project trained, found by configuration.

    experiment: its name in tables, unique among the cells found. folder: of the target, or of the first shadow found.
    models: the finished runs by model index (0 = target). problems: runs that exist and cannot be used, in words.
    readable: False for a lone run whose configuration cannot be used; `config` then says nothing.
    started: False for a cell that a sweep planned and never came to.
    """

    config: ExperimentConfig
    experiment: str
    folder: Path
    models: dict[int, RunDir] = dataclasses.field(default_factory=dict)
    problems: list[str] = dataclasses.field(default_factory=list)
    unfinished: int = 0
    readable: bool = True
    started: bool = True

    def plan(self, num_shadows: int) -> None:
        """Take note of a plan for so many shadow models, where models can be added to the cell."""
        if self.config.grows and num_shadows > self.config.num_shadows:
            self.config = dataclasses.replace(self.config, num_shadows=num_shadows)

    @property
    def reason(self) -> str:
        if not self.started:
            return "not started: the sweep that planned it has not come to it (--skip-existing goes on)"
        if 0 not in self.models:
            return "; ".join(self.problems) or "the target model is not finished"
        if self.config.train_fraction >= 1.0:
            return "trained on the whole pool (--train-fraction 1.0): no non-members to tell from members"
        return ""

    @property
    def names(self) -> dict[str, Any]:
        described = {**dict.fromkeys(all_knobs()), **self.config.described()}
        if self.readable:
            described["channels"] = self.config.channels or (entry_of(self.config.arch) or OWN).channels
        return {"experiment": self.experiment, **(described if self.readable else dict.fromkeys(described))}

    @property
    def trained_here(self) -> bool:
        return True

    @property
    def seed(self) -> int:
        return self.config.seed

    @property
    def planned_models(self) -> int | None:
        return self.config.num_models if self.readable else None

    def more_shadows(self, needed: int) -> str:
        return f"--num-shadows {max(needed, self.config.num_shadows)}"

    def queries(
        self, num_queries: int | None, samia: bool, population: int, samia_examples: int | None = None
    ) -> QuerySettings:
        return queries_of(self.config, num_queries, samia, population, samia_examples)

    def origin(self, index: int) -> str:
        return str(self.models[index].path)

    def files_of(self, index: int) -> dict[str, str]:
        run = self.models[index]
        weights = run.read_summary()["hashes"][run.model.name]
        return {"folder": run.path.as_posix(), "weights": weights, "signals": file_hash(run.signals)}

    def ask(self, index: int, places: Places, device: str, queries: QuerySettings) -> Signals:
        run = self.models[index]
        return ensure_signals(run, run.read_config(), places, device, queries)

    def summary_of(self, index: int) -> dict[str, Any]:
        return self.models[index].read_summary()

    def traces_of(self, index: int) -> LossTraces | None:
        run = self.models[index]
        return load_traces(run.traces, self.files_of(index)["weights"]) if run.traces.is_file() else None


@dataclasses.dataclass(frozen=True)
class CellSignals:
    """The signals of a cell's models, stacked in the order of `indices` (model indices, the target first).

    logits [M, n, C] or None, phi [M, n, Q], sensitivity [M, n, C] or None, membership bool [M, n], labels and pool
    int64 [n], audited bool [n] or None, population_phi [M, P, Q] or None.
    """

    indices: tuple[int, ...]
    logits: NDArray[np.float32] | None
    phi: NDArray[np.float32]
    sensitivity: NDArray[np.float32] | None
    membership: NDArray[np.bool_]
    population_phi: NDArray[np.float32] | None
    labels: NDArray[np.int64]
    pool: NDArray[np.int64]
    audited: NDArray[np.bool_] | None

    def only(self, indices: Sequence[int]) -> CellSignals:
        """The same of some of the models, by model index."""
        rows = [self.indices.index(index) for index in indices]
        changed = {name: array[rows] for name in STACKED if (array := getattr(self, name)) is not None}
        return dataclasses.replace(self, indices=tuple(indices), **changed)

    def models(self, seed: int) -> Models:
        """The arrays as attacks take them; seed: of the random choices of trimming."""
        return Models(
            logits=self.logits,
            phi=self.phi,
            membership=self.membership,
            labels=self.labels,
            seed=seed,
            sensitivity=self.sensitivity,
            population=self.population_phi,
            audited=self.audited,
        )


def find_cells(runs_dir: Path, flag: str = "--runs-dir") -> list[Cell]:
    """Every cell below a directory, in the order of methods and sparsities.

    UsageError, naming `flag`, when the directory does not exist or holds no run at all.
    """
    check_runs(runs_dir, flag)
    cells: dict[str, Cell] = {}
    strays: list[Cell] = []
    for path in sorted(runs_dir.rglob("config.json")):
        run = RunDir(path.parent)
        try:
            config = run.read_config()
            check_names(config)
        except (OSError, ValueError, TypeError) as error:
            if run.model.exists() or run.summary.exists():
                problem = f"{run.path}: config.json cannot be used ({one_line(error)})"
                strays.append(Cell(ExperimentConfig(), run.path.name, run.path, problems=[problem], readable=False))
            continue
        cell = cells.setdefault(config.cell_fingerprint(), Cell(config, experiment_name(config, run), run.path))
        _add_run(cell, config, run)
    if not cells and not strays:
        raise UsageError(f"argument {flag}: {runs_dir} holds no run; train something first (python train.py)")
    for config in remembered(runs_dir):
        if config.cell_fingerprint() in cells:
            cells[config.cell_fingerprint()].plan(config.num_shadows)
        elif not _replaced(config, runs_dir):
            run = RunDir.of(config, runs_dir)
            never = Cell(config, experiment_name(config, run), run.path, started=False)
            cells[config.cell_fingerprint()] = never
    found = sorted(cells.values(), key=lambda cell: order(cell.config.described())) + strays
    _tell_apart(found, runs_dir)
    return found


def _tell_apart(cells: list[Cell], runs_dir: Path) -> None:
    """Cells of one name are called by their folders, and numbered where even these read alike."""
    names = [cell.experiment for cell in cells]
    for cell in cells:
        if names.count(cell.experiment) > 1:
            cell.experiment = "_".join(cell.folder.relative_to(runs_dir).parts) or cell.experiment
    taken: set[str] = set()
    for cell in cells:
        name, number = cell.experiment, 1
        while cell.experiment in taken:
            number += 1
            cell.experiment = f"{name}_{number}"
        taken.add(cell.experiment)


def find_cell(run_dir: Path) -> Cell:
    """The one cell whose target lives in `run_dir`; other cells in folders below it (other seeds) are left out."""
    cells = find_cells(run_dir, "--run-dir")
    run = RunDir(run_dir)
    if not run.config.is_file():
        raise UsageError(f"argument --run-dir: {run_dir} holds no run itself; give the folder of a target model")
    try:
        config = run.read_config()
    except (OSError, ValueError):
        return next(cell for cell in cells if cell.problems)
    if config.model_index != 0:
        raise UsageError(f"argument --run-dir: {run_dir} is a shadow model; give the folder of its target")
    return next(cell for cell in cells if cell.config.cell_fingerprint() == config.cell_fingerprint())


def _add_run(cell: Cell, config: ExperimentConfig, run: RunDir) -> None:
    status = inspect_run(run, config)
    if status.kind in ("damaged", "failed"):
        cell.problems.append(f"{run.path}: {status.detail}")
    elif status.kind != "finished":
        cell.unfinished += 1
    elif config.model_index in cell.models:
        log.warning("%s is the same model as %s; the latter is used", run.path, cell.models[config.model_index].path)
    else:
        cell.models[config.model_index] = run
        if config.model_index == 0:
            planned = cell.config.num_shadows
            cell.config, cell.experiment, cell.folder = config, experiment_name(config, run), run.path
            cell.plan(planned)
    cell.plan(config.num_shadows)


def _replaced(config: ExperimentConfig, runs_dir: Path) -> bool:
    """Whether the folder of a planned cell holds a run by now: that run speaks for itself."""
    return RunDir.of(config, runs_dir).config.is_file()


def queries_of(
    config: ExperimentConfig,
    num_queries: int | None,
    samia: bool,
    population: int = 0,
    samia_examples: int | None = None,
) -> QuerySettings:
    """The queries of a cell. A mirror image is only asked about where training showed mirror images, and a table's rows
    only as they are."""
    default = 2 if config.augment in MIRRORED else 1
    return QuerySettings(
        num_queries=1 if DATASETS[config.dataset].table else num_queries or default,
        samia=samia,
        population=population,
        samia_examples=samia_examples if samia else None,
    )


def read_models(
    cell: Attackable, places: Places, device: str, queries: QuerySettings, models: int | None = None
) -> Iterator[tuple[int, Signals]]:
    """Model index and signals of the finished models, one at a time, queried again where the cache does not serve.

    models: how many at most. A shadow whose signals cannot be had, or whose pool is not the target's, is named in
    `cell.problems` and left out; RunError when it is the target.
    """
    first: Signals | None = None
    asked = sorted(cell.models)[:models]
    for number, index in enumerate(asked, start=1):
        step(f"model {number} of {len(asked)}", say=False)
        try:
            signals = cell.ask(index, places, device, queries)
        except (RunError, UsageError, OSError, MemoryError) as error:
            cell.problems.append(f"{cell.origin(index)}: {one_line(error)}")
            if index == 0:
                raise RunError(cell.problems[-1]) from None
            del cell.models[index]
            continue
        first = first or signals
        if signals.data_hash != first.data_hash or not np.array_equal(signals.pool, first.pool):
            cell.problems.append(f"{cell.origin(index)}: its pool is not the target's")
            del cell.models[index]
            continue
        yield index, _cut(signals, queries, cell.seed)


def _cut(signals: Signals, queries: QuerySettings, seed: int) -> Signals:
    """Exactly what was asked for, of a cache that may hold more. seed: of the cell."""
    population = signals.population_phi
    return dataclasses.replace(
        signals,
        phi=signals.phi[:, : queries.num_queries],
        sensitivity=_cut_sensitivity(signals, queries, seed) if queries.samia else None,
        population_phi=population[: queries.population, : queries.num_queries]
        if population is not None and queries.population
        else None,
    )


def _cut_sensitivity(signals: Signals, queries: QuerySettings, seed: int) -> NDArray[np.float32] | None:
    if signals.sensitivity is None or queries.samia_examples is None:
        return signals.sensitivity
    probed = draw_probed(len(signals.pool), queries.samia_examples, seed)
    return np.where(probed[:, None], signals.sensitivity, np.float32(np.nan))


def load_cell(cell: Attackable, places: Places, device: str, queries: QuerySettings) -> CellSignals:
    """Signals of all finished models of a cell, stacked as they are read. Problems and errors as in `read_models`."""
    indices: list[int] = []
    stacks: dict[str, NDArray[Any]] = {}
    first: Signals | None = None
    for index, signals in read_models(cell, places, device, queries):
        first = first or signals
        for name in STACKED:
            array = getattr(signals, name)
            if array is None:
                continue
            if name not in stacks:
                # room for all at once: a list of arrays, stacked at the end, would need twice the memory
                stacks[name] = np.empty((len(cell.models), *array.shape), dtype=array.dtype)
            stacks[name][len(indices)] = array
        indices.append(index)
    assert first is not None, "read_models raises when there is no target"
    found = {name: stacks[name][: len(indices)] if name in stacks else None for name in STACKED}
    return CellSignals(tuple(indices), **found, labels=first.labels, pool=first.pool, audited=first.audited)  # type: ignore[arg-type]


def load_model(cell: Attackable, index: int, places: Places, device: str, queries: QuerySettings) -> Outputs:
    """What one finished model answered on the examples that are asked about; RunError when it cannot be had."""
    signals = _cut(cell.ask(index, places, device, queries), queries, cell.seed)
    outputs = Outputs(signals.logits, signals.phi, signals.sensitivity, signals.population_phi)
    return outputs.only(signals.audited)
