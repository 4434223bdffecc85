"""Which runs of a plan are the same training at first, so that it is done once: a pruned run is the dense run of its
number until it begins to prune."""

from __future__ import annotations

import contextlib
import dataclasses
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from artifacts.forks import Forks
from artifacts.run_dir import RunDir
from configs.experiment import ExperimentConfig
from configs.knobs import MethodKnobs
from pruning.registry import BASELINE, build_pruner
from sweep.plan import PlannedRun

# Steps of an epoch, for plans, which know no data: a number of steps that does not grow with it is then no epoch.
NOMINAL = 10_000
# States of a run folder that will not start from the beginning.
BEGUN = ("finished", "resume", "failed")


def dense_of(config: ExperimentConfig) -> ExperimentConfig:
    """The dense run with which a run shares start, batches and recipe."""
    dense = dataclasses.replace(config, method=BASELINE, sparsity=0.0, knobs=MethodKnobs())
    return dataclasses.replace(dense, method_file=None, method_hash=None)


def fork_epoch(config: ExperimentConfig) -> int:
    """How many whole epochs a run is its dense run. Its last epoch is always its own: in it a method has its say."""
    try:
        pruner = build_pruner(config, NOMINAL)
        steps = min(int(pruner.dense_steps), (config.total_epochs - 1) * NOMINAL)
        return max(0, min(steps // NOMINAL, config.epochs))
    except Exception:
        if config.method_hash is None:
            raise
        return 0  # what is wrong with code of the user's own is said where it is tried out


class ForkPlan:
    """Who starts from whose state among all runs of a plan, of other shards as well.

    overwrite: whether runs that are there are trained again.
    """

    def __init__(self, planned: Sequence[PlannedRun], overwrite: bool = False) -> None:
        self.overwrite = overwrite
        self.dense = {one.config.fingerprint(): one.run for one in planned if one.config.method == BASELINE}
        self.of: dict[Path, Forks] = {}
        self.users: dict[Path, list[RunDir]] = defaultdict(list)
        keep: dict[Path, set[int]] = defaultdict(set)
        for one in planned:
            epoch = fork_epoch(one.config)
            fingerprint = dense_of(one.config).fingerprint() if epoch else ""
            source = self.dense.get(fingerprint)
            if source is None:
                continue
            self.of[one.run.path] = Forks(source=str(source.path), epoch=epoch, fingerprint=fingerprint)
            self.users[source.fork_state(epoch)].append(one.run)
            if self._begins(one):
                keep[source.path].add(epoch)
        self.of |= {path: Forks(keep=tuple(sorted(epochs))) for path, epochs in keep.items()}

    def _begins(self, one: PlannedRun) -> bool:
        """Whether a run would start from the beginning."""
        return self.overwrite or one.status.kind not in BEGUN

    def of_run(self, run: RunDir) -> Forks:
        """What a run has to know."""
        return self.of.get(run.path, Forks())

    def saved_epochs(self, runs: Sequence[PlannedRun]) -> tuple[int, int]:
        """Epochs that those of these runs that begin need not train, for states that are there or sure to come when the
        runs are trained together; and all epochs of those that begin."""
        new = [one for one in runs if self._begins(one)]
        coming = {str(one.run.path) for one in new if one.config.method == BASELINE}
        found = [self.of_run(one.run) for one in new]
        sure = [one for one in found if one.source in coming or (one.state is not None and one.state.is_file())]
        return sum(one.epoch for one in sure), sum(one.config.total_epochs for one in new)

    def tidy(self, ended: Path | None = None) -> None:
        """Delete states that nobody planned needs any more; ended: only those that this run kept or could start from.

        Needed is one while a planned run has neither ended nor a checkpoint of its own.
        """
        dense = self.dense.values() if ended is None else [RunDir(ended)]
        states = [state for run in dense for state in run.fork_states]
        own = None if ended is None else self.of.get(ended, Forks()).state
        for state in states if own is None else [*states, own]:
            if all(one.has_state for one in self.users.get(state, [])):
                with contextlib.suppress(OSError):  # being read, where that is in the way
                    state.unlink(missing_ok=True)
