"""Where the sweeps of a runs directory stand, from its files alone: nothing is locked, hashed or written."""

from __future__ import annotations

import dataclasses
import math
import time
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from statistics import fmean
from typing import Any

from artifacts.heartbeat import Beat, read_beat
from artifacts.missing import check_runs_folder
from artifacts.run_dir import RunDir, cell_folder, inspect_run, one_line
from configs.experiment import ExperimentConfig, differences
from sweep.planned import remembered

# What makes two models cost the same, as far as that can be told before they are trained.
COST_FIELDS = ("dataset_name", "pool_size", "arch", "layers", "width_mult", "channels", "total_epochs", "precision")


@dataclasses.dataclass(frozen=True)
class RunState:
    """One run folder.

    kind: finished | running | failed | damaged | stale (another experiment is in the way) | resume | new.
    seconds: what a finished run took, without what its dense run had trained for it.
    """

    run: RunDir
    kind: str
    detail: str = ""
    seconds: float | None = None
    beat: Beat | None = None


@dataclasses.dataclass
class CellState:
    """The runs of one cell that are planned or there. expected: seconds a model of it takes, None while unknown."""

    folder: Path
    config: ExperimentConfig
    runs: list[RunState]
    expected: float | None = None

    def count(self, *kinds: str) -> int:
        """How many runs are of these kinds."""
        return sum(state.kind in kinds for state in self.runs)

    @property
    def left(self) -> int:
        """How many runs have not begun or have to go on."""
        return len(self.runs) - self.count("finished", "running", "failed")

    @property
    def work(self) -> float | None:
        """Seconds of one process until its last run is finished, None while unknown."""
        if self.left == 0 and self.count("running") == 0:
            return 0.0
        running = [_remaining(state.beat, self.expected) for state in self.runs if state.beat is not None]
        if any(one is None for one in running) or (self.left and self.expected is None):
            return None
        return sum(one for one in running if one is not None) + self.left * (self.expected or 0.0)


def survey(runs_dir: Path) -> list[CellState]:
    """Every cell that is planned or there. UsageError when there is no such directory."""
    check_runs_folder(runs_dir)
    cells = [_planned_cell(config, runs_dir) for config in remembered(runs_dir)]
    known = {state.run.path for cell in cells for state in cell.runs}
    found: dict[tuple[str, Path], CellState] = {}
    for path in sorted(runs_dir.rglob(RunDir(runs_dir).config.name)):
        run = RunDir(path.parent)
        if run.path not in known:
            config, state = _stray(run)
            folder = run.path if config.model_index == 0 else run.path.parent
            key = (config.cell_fingerprint(), folder)
            found.setdefault(key, CellState(folder, config, [])).runs.append(state)
    planned = {(cell.config.cell_fingerprint(), cell.folder): cell for cell in cells if cell.config.grows}
    for key, cell in found.items():
        if key in planned:  # models beyond the plan
            planned[key].runs += cell.runs
        else:
            cells.append(cell)
    _expect(cells)
    return cells


def time_left(cells: Iterable[CellState]) -> float | None:
    """Seconds until all is finished with as many runs at once as there are now (one, if none), None while unknown."""
    cells = list(cells)
    work = [cell.work for cell in cells]
    if any(one is None for one in work):
        return None
    return sum(one for one in work if one is not None) / max(1, sum(cell.count("running") for cell in cells))


def _planned_cell(config: ExperimentConfig, runs_dir: Path) -> CellState:
    # Which weights each model starts from is known at its start; here it matters only that it starts from some.
    started = "" if config.pretrained is not None else None
    config = dataclasses.replace(config, pretrained_hash=started)
    states = []
    for index in range(config.num_models):
        wanted = dataclasses.replace(config, model_index=index)
        states.append(_state(RunDir.of(wanted, runs_dir), wanted))
    return CellState(cell_folder(config, runs_dir), config, states)


def _stray(run: RunDir) -> tuple[ExperimentConfig, RunState]:
    """A run that no plan names: it is what it says it is."""
    try:
        config = run.read_config()
        return config, _state(run, config)
    except (OSError, ValueError, TypeError) as error:
        return ExperimentConfig(), RunState(run, "stale", f"config.json cannot be read ({one_line(error)})")


def _state(run: RunDir, wanted: ExperimentConfig) -> RunState:
    beat = read_beat(run.path)
    if beat is not None and beat.alive(time.time()) and not run.summary.is_file():
        return RunState(run, "running", f"epoch {beat.epoch}/{beat.epochs}", beat=beat)
    stored = _stored(run) or wanted
    if (stored.cell_fingerprint(), stored.model_index) != (wanted.cell_fingerprint(), wanted.model_index):
        return RunState(run, "stale", f"the folder holds another experiment ({differences(wanted, stored)})")
    status = inspect_run(run, stored, verify=False)
    return _finished(run) if status.kind == "finished" else RunState(run, status.kind, status.detail)


def _stored(run: RunDir) -> ExperimentConfig | None:
    try:
        return run.read_config()
    except (OSError, ValueError, TypeError):
        return None  # `inspect_run` says what is wrong with it


def _finished(run: RunDir) -> RunState:
    missing = [path.name for path in (run.model, run.history) if not path.is_file()]
    if missing:
        return RunState(run, "damaged", f"{missing[0]} is missing")
    try:
        summary = run.read_summary()
        seconds = float(summary["seconds"]) - float(summary.get("shared_seconds", 0.0))
        return RunState(run, "finished", seconds=seconds if 0 <= seconds < math.inf else None)
    except (OSError, ValueError, TypeError, KeyError) as error:
        return RunState(run, "damaged", f"experiment_summary.json cannot be used ({one_line(error)})")


def _expect(cells: list[CellState]) -> None:
    """Seconds a model: measured in its cell, else in cells of the same cost, else from the epochs of running ones."""
    alike: dict[Any, list[float]] = defaultdict(list)
    guessed: dict[Any, list[float]] = defaultdict(list)
    for cell in cells:
        alike[_cost(cell)] += [state.seconds for state in cell.runs if state.seconds is not None]
        beats = [state.beat for state in cell.runs if state.beat is not None]
        guessed[_cost(cell)] += [beat.epoch_seconds * beat.epochs for beat in beats if beat.epoch_seconds is not None]
    for cell in cells:
        own = [state.seconds for state in cell.runs if state.seconds is not None]
        measured = own or alike[_cost(cell)] or guessed[_cost(cell)]
        cell.expected = fmean(measured) if measured else None


def _cost(cell: CellState) -> tuple[Any, ...]:
    return tuple(getattr(cell.config, name) for name in COST_FIELDS)


def _remaining(beat: Beat, expected: float | None) -> float | None:
    """Seconds until a running model is trained."""
    share = 1.0 - beat.epoch / beat.epochs
    if beat.epoch_seconds is not None:
        return (beat.epochs - beat.epoch) * beat.epoch_seconds
    return None if expected is None else share * expected
