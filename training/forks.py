"""What runs of one number share is trained once: the dense run keeps its state, and a pruned run starts from it."""

from __future__ import annotations

import logging
from typing import Any

from artifacts.checkpoint import check_like, load_state, save_state
from artifacts.forks import Forks
from artifacts.run_dir import RunDir, one_line
from configs.errors import RunError
from training.device import describe_machine
from training.loop import Trainer

FORK_KEYS = (
    *("fingerprint", "data_hash", "split_hash", "machine", "seconds"),
    *("step", "model", "optimizer", "history"),
)
TESTS = ("test_loss", "test_accuracy")
log = logging.getLogger(__name__)


def keep_state(trainer: Trainer, run: RunDir, forks: Forks, keys: dict[str, Any], seconds: float) -> None:
    """Between two epochs, keep the state for those that fork here, if any do. A disk that is full stops nobody: they
    train themselves what they would have shared."""
    epoch = len(trainer.history)
    if epoch not in forks.keep or trainer.row is not None or trainer.step_count != epoch * trainer.steps_per_epoch:
        return
    path = run.fork_state(epoch)
    machine = describe_machine(trainer.device)
    try:
        save_state(path, {**keys, **trainer.fork_state(), "machine": machine, "seconds": seconds})
    except (RunError, OSError) as error:
        log.warning("%s is not kept for others: %s", path, one_line(error))


def take_state(trainer: Trainer, forks: Forks, keys: dict[str, Any], every: int) -> dict[str, Any] | None:
    """Start a new run where its dense run stood when it kept its state; returns that state.

    None, with nothing changed, where there is no such state or it does not serve: the run then trains to the same
    weights by itself. every: epochs between the run's own test evaluations; the history has test figures there alone.
    """
    path = forks.state
    if path is None:
        return None
    try:
        state = load_state(path, FORK_KEYS)
        if state["fingerprint"] != forks.fingerprint:
            raise RunError("it is of another experiment")
        if any(state[name] != keys[name] for name in ("data_hash", "split_hash")):
            raise RunError("it was written with other data")
        check_like(state["seconds"], 0.0, "seconds")
        trainer.fork_from({**state, "history": [_as_tested(row, every) for row in state["history"]]})
    except FileNotFoundError:
        log.debug("%s is not there: every epoch is trained here", path)
        return None
    except (RunError, OSError, TypeError, KeyError) as error:
        log.warning("%s does not serve (%s): every epoch is trained here", path, one_line(error))
        return None
    return state


def _as_tested(row: dict[str, Any], every: int) -> dict[str, Any]:
    """A row of the dense history with test figures where a run that is not pruned yet has them, and nowhere else."""
    if row["epoch"] % every:
        return {**row, **dict.fromkeys(TESTS)}
    if any(row[name] is None for name in TESTS):
        raise RunError(f"epoch {row['epoch']} was not tested, as --eval-every asks for here")
    return row
