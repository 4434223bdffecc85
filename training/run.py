"""One model from its configuration to its finished folder: the only way a model is trained in this project."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

from artifacts import stopping
from artifacts.atomic_writes import clear_temporaries, write_text
from artifacts.checkpoint import load_start_weights, load_state, save_model, save_state
from artifacts.forks import Forks
from artifacts.locks import locked
from artifacts.logs import log_file
from artifacts.loss_traces import LossTraces, save_traces
from artifacts.run_dir import RunDir, experiment_name, inspect_run, one_line
from artifacts.signals import QuerySettings, save_signals
from configs.errors import BadNumbers, RunError, StopRequested
from configs.experiment import ExperimentConfig
from configs.machine import Machine, Places
from data.augment import augmenter_for
from data.base import DataSet
from data.duplicates import Duplicates
from data.inputs import open_data, open_duplicates, open_split
from data.splits import Split
from models.flops import layer_flops
from pruning.registry import narrows
from pruning.sparsity import measure_sparsity
from training.ask import ask, load_for_query, member_figures
from training.device import describe_machine, memory_errors, own_share, pick_device
from training.forks import keep_state, take_state
from training.graphs import recorder_for
from training.history import in_words, write_history
from training.loop import Trainer
from training.narrowed import narrowed
from training.networks import blank_model
from training.query import accuracy_and_loss, predict_logits
from training.start import what_starts
from training.tracking import Tracker

EpochHook = Callable[[dict[str, Any]], None]
CHECKPOINT_KEYS = (
    *("fingerprint", "data_hash", "split_hash", "machine", "seconds"),
    *("step", "model", "pruner", "optimizer", "sums", "epoch_seconds", "row", "history", "best"),
)
# Of a training, the epochs and seconds that its dense run did for it; checkpoints of earlier versions do not say.
NOTHING_SHARED = {"shared_epochs": 0, "shared_seconds": 0.0}
# Of `describe_machine`: what may change the last bits of a result.
MATTERING = ("torch", "cuda", "device", "processor", "threads")
log = logging.getLogger(__name__)


def run_one(
    config: ExperimentConfig,
    run: RunDir,
    places: Places,
    machine: Machine,
    queries: QuerySettings,
    on_epoch: EpochHook | None = None,
    tracker: Tracker | None = None,
    forks: Forks | None = None,
) -> dict[str, Any]:
    """Train (or resume) one model, query it, and finish its folder; returns the summary.

    forks: what it shares with other runs; it changes how much is trained here, and no result. The folder must be new,
    resumable or already finished; what to do about others is the caller's decision. Raises RunError when the run cannot
    be finished (BadNumbers when it never can, RunLocked when another process has it), UsageError when its inputs are
    wrong, and StopRequested once the training state is saved.
    """
    with locked(run.path), log_file(run.log):
        clear_temporaries(run.path)
        status = inspect_run(run, config)
        if status.kind == "finished":
            return run.read_summary()
        if status.kind == "failed":
            raise BadNumbers(status.detail)
        if status.kind == "stale":
            raise RunError(f"{run.path} holds another experiment ({status.detail})")
        if status.kind == "damaged":
            run.clear()
        try:
            with memory_errors(config.batch_size):
                hooks = (on_epoch, tracker or Tracker(), forks or Forks())
                return _train_and_finish(config, run, places, machine, queries, *hooks)
        except BadNumbers as error:
            run.write_failure(config, one_line(error))
            raise


def _train_and_finish(
    config: ExperimentConfig,
    run: RunDir,
    places: Places,
    machine: Machine,
    queries: QuerySettings,
    on_epoch: EpochHook | None,
    tracker: Tracker,
    forks: Forks,
) -> dict[str, Any]:
    started = time.perf_counter()
    device = pick_device(machine.device)
    own_share(device, machine.models_per_device or 1)
    data, data_hash = open_data(config, places.data_dir)
    split = open_split(config, data)
    write_text(run.config, config.to_json())
    members = split.pool[split.members(config.model_index)]
    # what a stranger's hooks do beside tensors on the device would not be in a recording
    recorder = recorder_for(device, machine.cuda_graphs if config.built_in else "off")
    trainer = Trainer(config, data, members, device, recorder, machine.trace_losses)
    keys: dict[str, Any] = {"fingerprint": config.fingerprint(), "data_hash": data_hash}
    keys["split_hash"] = split.split_hash()
    keys |= what_starts(config)
    spent, shared = _resume(trainer, run, keys, forks, epochs_between_tests(config, machine))
    keys |= shared
    log.debug("training %s on %s: %d members, %d epochs", run.path, device, len(trainer.members), config.total_epochs)
    with tracker.run(config, run, trainer.history) as tracked:

        def report(row: dict[str, Any]) -> None:
            tracked.epoch(row)
            if on_epoch is not None:
                on_epoch(row)

        _train(trainer, run, keys, machine, report, started - spent, forks)
        seconds = time.perf_counter() - started + spent
        summary = _finish(trainer, run, keys, split, queries, seconds, open_duplicates(config, places.data_dir))
        tracked.summary(summary)
    return summary


def _resume(
    trainer: Trainer, run: RunDir, keys: dict[str, Any], forks: Forks, every: int
) -> tuple[float, dict[str, float]]:
    """Load the newest checkpoint that is sound, else start where the dense run stood, else at the beginning.

    Returns the seconds already spent on this training, and what of it the dense run did: epochs and seconds.
    """
    config = trainer.config
    there = [path for path in (run.checkpoint, run.older_checkpoint) if path.is_file()]
    wanted = trainer.traces is not None
    for path in there:
        try:
            state = load_state(path, CHECKPOINT_KEYS)
            if state["fingerprint"] != keys["fingerprint"]:
                raise RunError(f"{path} belongs to another experiment")
            _check_data(path, state, keys)
            if config.pretrained_run is not None and state.get("pretrained_hash") != keys["pretrained_hash"]:
                raise _OtherData(
                    f"{path} began with other weights than {config.pretrained} has now; --overwrite starts again"
                )
            if len(NOTHING_SHARED.keys() & state.keys()) == 1:  # none of them: of an earlier version
                raise RunError(f"{path} lacks a part of what was shared")
            trainer.load_state_dict(state)
        except _OtherData:
            raise
        except (RunError, OSError) as error:
            older = path == run.checkpoint and run.older_checkpoint in there
            then = f"going back to {run.older_checkpoint.name}" if older else "training starts again"
            log.warning("%s cannot be resumed from (%s): %s", path, one_line(error), then)
            continue
        log.info("resuming %s at epoch %d, step %d", run.path, len(trainer.history), trainer.step_count)
        if wanted and trainer.traces is None:
            log.warning("%s gets no loss traces: it was begun without --trace-losses", run.path)
        _compare_machines(run, state["machine"], describe_machine(trainer.device))
        return float(state["seconds"]), {
            **{name: state.get(name, none) for name, none in NOTHING_SHARED.items()},
            **{name: state[name] for name in ("pretrained_steps",) if name in state},
        }
    taken = take_state(trainer, forks, keys, every)
    if taken is not None:
        log.info("%s starts after epoch %d of %s", run.path, forks.epoch, forks.source)
        _compare_machines(run, taken["machine"], describe_machine(trainer.device))
        seconds = float(taken["seconds"])
        return seconds, {"shared_epochs": len(trainer.history), "shared_seconds": seconds}
    if config.pretrained is not None:
        known = keys["pretrained_hash"] if config.pretrained_run is not None else config.pretrained_hash
        trainer.start_from(load_start_weights(Path(config.pretrained), known))
    return 0.0, NOTHING_SHARED


class _OtherData(RunError):
    pass


def _check_data(path: Path, state: dict[str, Any], keys: dict[str, Any]) -> None:
    for name in ("data_hash", "split_hash"):
        if state[name] != keys[name]:
            raise _OtherData(f"{path} was written with other data ({name} differs); --overwrite starts again")


def _compare_machines(run: RunDir, then: Any, now: dict[str, Any]) -> None:
    """Say what could change the last bits of a resumed run."""
    then = then if isinstance(then, dict) else {}
    changed = [f"{name} {then.get(name)} -> {now[name]}" for name in MATTERING if then.get(name) != now[name]]
    if changed:
        log.warning("%s resumes on another machine (%s): its last bits may differ", run.path, ", ".join(changed))


def epochs_between_tests(config: ExperimentConfig, machine: Machine) -> int:
    """Epochs between two test evaluations of a history; as a target's of the dense run, which others start from."""
    return machine.eval_every or (max(1, config.epochs // 10) if config.model_index == 0 else config.total_epochs)


def _train(
    trainer: Trainer,
    run: RunDir,
    keys: dict[str, Any],
    machine: Machine,
    report: EpochHook,
    started: float,
    forks: Forks,
) -> None:
    """Train to the end. A request to stop ends it after the step under way, once the state is saved."""
    config = trainer.config
    epochs, every = config.total_epochs, epochs_between_tests(config, machine)
    describing = describe_machine(trainer.device)
    saved = time.perf_counter()

    def save() -> None:
        nonlocal saved
        trainer.check_finite()
        state = {**keys, **trainer.state_dict(), "machine": describing, "seconds": time.perf_counter() - started}
        save_state(run.checkpoint, state, keep=run.older_checkpoint)
        saved = time.perf_counter()

    def due() -> bool:
        return time.perf_counter() - saved >= machine.checkpoint_seconds

    def after_step() -> None:
        stopping.check()
        # with 0 seconds a state is saved every epoch, not every step
        if machine.checkpoint_seconds and due():
            save()

    with stopping.postponed():
        try:
            while trainer.row is not None or len(trainer.history) < epochs:
                keep_state(trainer, run, forks, keys, time.perf_counter() - started)
                row = trainer.row or trainer.run_epoch(after_step)
                _test_epoch(trainer, row, every)
                trainer.close_epoch()
                log.debug("%s %s", run.path, in_words(row, epochs))
                report(row)
                if len(trainer.history) == epochs or due():
                    save()
                stopping.check()
            keep_state(trainer, run, forks, keys, time.perf_counter() - started)
        except StopRequested:
            save()
            log.info("stopping %s at step %d: its state is saved", run.path, trainer.step_count)
            raise


def _test_epoch(trainer: Trainer, row: dict[str, Any], every: int) -> None:
    """Test the model of a finished epoch where it is due. Done again, it gives the same."""
    config = trainer.config
    last = row["epoch"] == config.total_epochs
    if last:
        trainer.finish_pruning()
        state = trainer.pruner.state()
        row.update(target_sparsity=state.target_sparsity, sparsity=state.sparsity)
    selecting = config.select == "best" and trainer.pruner.at_target(trainer.step_count)
    if last or selecting or row["epoch"] % every == 0:
        row["test_accuracy"], row["test_loss"] = trainer.test()
    if selecting:
        trainer.consider_best(row["test_accuracy"])


def _finish(
    trainer: Trainer,
    run: RunDir,
    keys: dict[str, Any],
    split: Split,
    queries: QuerySettings,
    seconds: float,
    duplicates: Duplicates,
) -> dict[str, Any]:
    """Export, query, and write the summary last."""
    config, data, device = trainer.config, trainer.data, trainer.device
    best = trainer.best
    model_file = trainer.export()
    if best is not None:
        model_file = dataclasses.replace(model_file, weights=best["weights"], masks=best["masks"])
    prunable = tuple(model_file.masks)
    learned = {name for name, _ in trainer.model.named_parameters()}
    report = measure_sparsity({name: model_file.weights[name] for name in learned}, prunable)
    if narrows(config.method):
        model_file = narrowed(config, data, model_file)
        left = sum(model_file.weights[name].numel() for name in learned)
        report = dataclasses.replace(report, sparsity_all_parameters=1.0 - left / report.parameters)
    weights_hash = save_model(run.model, model_file, config.fingerprint())
    write_history(run.history, trainer.history)
    model = load_for_query(config, data, run, device, weights_hash)
    signals = ask(model, config, data, keys["data_hash"], split, queries, weights_hash, device)
    save_signals(run.signals, signals)
    if trainer.traces is not None:
        traces = LossTraces(trainer.members.numpy(), trainer.traces.cpu().numpy(), weights_hash)
        save_traces(run.traces, traces)
    test_logits = predict_logits(model, data.test_inputs, augmenter_for(data, "none", device))
    test_accuracy, test_loss = accuracy_and_loss(test_logits, data.test_labels.numpy())
    summary = {
        **config.identity(),
        **keys,
        "experiment": experiment_name(config, run),
        "selected_epoch": best["epoch"] if best else config.total_epochs,
        "optimizer_steps": trainer.step_count + keys.get("pretrained_steps", 0),
        **member_figures(signals, split.own(config.model_index)),
        "test_accuracy": test_accuracy,
        "test_loss": test_loss,
        "num_members": int(signals.membership.sum()),
        "num_test": int(data.test_labels.shape[0]),
        "num_pool": int(split.own(config.model_index).sum()),
        **dataclasses.asdict(duplicates),
        "measured_sparsity": report.sparsity,
        "sparsity_all_parameters": report.sparsity_all_parameters,
        "layer_sparsities": report.layers,
        "parameters": report.parameters,
        "prunable_parameters": report.prunable_parameters,
        **_flops(model, config, data, report.layers),
        "seconds": seconds,
        "machine": describe_machine(device),
    }
    run.older_checkpoint.unlink(missing_ok=True)  # the last state is complete, and stays
    run.write_summary(summary)
    log.debug("finished %s: test accuracy %.4f", run.path, test_accuracy)
    return run.read_summary()


def _flops(
    model: nn.Module, config: ExperimentConfig, data: DataSet, layer_sparsities: dict[str, float]
) -> dict[str, int]:
    """Multiply-adds an example: of the dense network, and counting only the weights that are kept."""
    device = "meta" if config.built_in else "cpu"
    counts = layer_flops(model, data.example_shape, device)
    if narrows(config.method):
        dense = layer_flops(blank_model(config, data), data.example_shape, device)
        return {"flops_dense": sum(dense.values()), "flops": sum(counts.values())}
    kept = sum(count * (1.0 - layer_sparsities.get(f"{name}.weight", 0.0)) for name, count in counts.items())
    return {"flops_dense": sum(counts.values()), "flops": round(kept)}
