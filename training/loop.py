"""The training loop. It knows members and hooks; which pruning method it runs, it never asks."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from artifacts.checkpoint import TrainedModel, check_like
from artifacts.run_dir import one_line
from configs.errors import BadNumbers, RunError
from configs.experiment import ExperimentConfig
from configs.streams import EPOCH_STREAM, STEP_STREAM, stream_seed
from data.augment import augmenter_for
from data.base import DataSet
from pruning.registry import build_pruner, is_private
from training.graphs import Recorder, open_step
from training.lr import learning_rate
from training.networks import new_model
from training.private import PrivateStep
from training.query import accuracy_and_loss, predict_logits
from training.step import Step


class Trainer:
    """One model in training.

    members: int64 positions in the training set that may enter a batch, and no others.
    recorder: records its steps (`graphs.recorder_for`); None: every operation is launched by itself.
    traces: with `trace_losses`, float16 [epochs, members] on the device: each member's cross-entropy (nats) in the
    forward pass of its step of the epoch, so on the augmented picture and before that step's update; else None.
    """

    def __init__(
        self,
        config: ExperimentConfig,
        data: DataSet,
        members: NDArray[np.int64],
        device: torch.device,
        recorder: Callable[[], Recorder] | None = None,
        trace_losses: bool = False,
    ) -> None:
        self.config, self.data, self.device = config, data, device
        self.members = torch.from_numpy(np.asarray(members, dtype=np.int64))
        self.images = data.train_inputs[self.members].to(device)
        self.labels = data.train_labels[self.members].to(device)
        assert config.augment is not None  # filled in by sweep.plan.resolve
        self.augmenter = augmenter_for(data, config.augment, device)
        self.steps_per_epoch = math.ceil(len(self.members) / config.batch_size)
        self.total_steps = config.total_epochs * self.steps_per_epoch
        model = new_model(config, data)
        self.step_count = 0
        self._seed()
        self.pruner = build_pruner(config, self.steps_per_epoch)
        self.step: Step
        if is_private(config.method):
            sizes = (len(self.members), self.total_steps)
            self.step = PrivateStep(config, model, self.pruner, self.augmenter, device, *sizes)
        elif recorder is None:
            self.step = Step(config, model, self.pruner, self.augmenter, device, trace_losses)
        else:
            parts = (model, self.pruner, self.augmenter, device, recorder, trace_losses)
            self.step = open_step(self, config, data, *parts)
        self.model, self.optimizer = self.step.model, self.step.optimizer
        # Of the epoch under way: sums on the device, seconds, and each step's loss since this process took it up.
        self.loss_sum, self.correct = torch.zeros((), device=device), torch.zeros((), device=device)
        self.seconds = 0.0
        self.losses = torch.zeros(self.steps_per_epoch, device=device)
        self.traces: Tensor | None = None
        if trace_losses:
            shape = (config.total_epochs, len(self.members))
            self.traces = torch.full(shape, math.nan, dtype=torch.float16, device=device)
        self.row: dict[str, Any] | None = None
        self.history: list[dict[str, Any]] = []
        self.best: dict[str, Any] | None = None

    def _seed(self) -> None:
        """Before code that is not this project's, which may draw from torch's generator: the same draws for a step
        wherever it is trained, and whether it is trained after a resume."""
        if not self.config.built_in:
            torch.manual_seed(stream_seed(self.config, STEP_STREAM, self.step_count))

    def start_from(self, weights: dict[str, Tensor]) -> None:
        """Replace the initial weights; RunError when they do not fit the architecture."""
        try:
            self.model.load_state_dict(weights)
        except RuntimeError as error:
            raise RunError(f"--pretrained does not fit {self.config.arch}: {one_line(error)[:160]}") from None
        if not all_finite(self.model.state_dict().values()):
            raise RunError("--pretrained holds weights that are not finite")
        with torch.no_grad():
            self.pruner.leaf.copy_(self.pruner.weights.values)

    @property
    def epoch(self) -> int:
        """Epochs finished."""
        return self.step_count // self.steps_per_epoch

    def batches(self, generator: torch.Generator) -> Iterator[Tensor]:
        """Positions in `members` of one epoch, as the step wants them drawn."""
        return self.step.batches(len(self.members), self.steps_per_epoch, generator)

    def epoch_batches(self, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of one epoch with their augmentation draws, on the device.

        Everything random is drawn on the CPU, so that every device sees the same pictures, and moved in two copies: a
        copy a step would have the CPU wait for the device.
        """
        batches = list(self.batches(generator))
        sizes = [len(batch) for batch in batches]
        draws = torch.cat([self.augmenter.draw(size, generator) for size in sizes], dim=1).to(self.device)
        return zip(torch.cat(batches).to(self.device).split(sizes), draws.split(sizes, dim=1), strict=True)

    def run_epoch(self, after_step: Callable[[], None] = lambda: None) -> dict[str, Any]:
        """Train what is left of the epoch; returns its history row, which `close_epoch` adds to the history.

        The device is read once, at the end. after_step: called after each step, when the state may be saved; what it
        raises leaves the epoch under way. BadNumbers where a loss or a weight is not finite.
        """
        started = time.perf_counter() - self.seconds
        first = len(self.history) * self.steps_per_epoch
        generator = torch.Generator().manual_seed(stream_seed(self.config, EPOCH_STREAM, len(self.history)))
        self.model.train()
        batches = list(self.epoch_batches(generator))
        drawn = max(1, sum(len(batch) for batch, _ in batches))  # the members, each once, but of DP-SGD
        for batch, draws in islice(batches, self.step_count - first, None):
            rate = learning_rate(self.config, self.step_count, self.steps_per_epoch)
            loss, hits = self.train_step(batch, rate, draws)
            self.losses[self.step_count - first] = loss
            self.loss_sum += loss * len(batch)
            self.correct += hits
            if self.traces is not None:
                self.traces[len(self.history)].index_copy_(0, batch, self.step.losses.to(torch.float16))
            self.step_count += 1
            self.seconds = time.perf_counter() - started
            after_step()
        self.check_finite()
        state = self.pruner.state()
        self.row = {
            "epoch": self.epoch,
            "lr": learning_rate(self.config, self.step_count - 1, self.steps_per_epoch),
            "train_loss": float(self.loss_sum) / drawn,
            "train_accuracy": float(self.correct) / drawn,
            "test_loss": None,
            "test_accuracy": None,
            "target_sparsity": state.target_sparsity,
            "sparsity": state.sparsity,
            "returned": state.returned,
            "seconds": time.perf_counter() - started,
        }
        return self.row

    def close_epoch(self) -> None:
        """Add the finished epoch's row to the history and make ready for the next."""
        assert self.row is not None
        self.history.append(self.row)
        self.row = None
        self.seconds = 0.0
        for tensor in (self.loss_sum, self.correct, self.losses):
            tensor.zero_()

    def check_finite(self) -> None:
        """BadNumbers, with the step named, where a loss, a weight, a statistic or a momentum is not finite.

        Waits for the device, so it is called once an epoch and before a state is saved.
        """
        bad = torch.nonzero(~torch.isfinite(self.losses)).flatten()
        if len(bad):
            step = len(self.history) * self.steps_per_epoch + int(bad[0]) + 1
            raise BadNumbers(f"the loss is not finite in epoch {len(self.history) + 1} (step {step}); lower --lr")
        moving = [value for slots in self.optimizer.state.values() for value in slots.values()]
        if not all_finite([*self.model.state_dict().values(), self.pruner.leaf, *moving]):
            raise BadNumbers(
                f"the weights are not finite in epoch {len(self.history) + 1} (by step {self.step_count}); lower --lr"
            )

    def train_step(self, batch: Tensor, rate: float, draws: Tensor) -> tuple[Tensor, Tensor]:
        """One optimiser step on the members at positions `batch` [B]; loss and number of hits, left on the device.

        draws: int64 [2, B], of `Augmenter.draw`. Both tensors are on the device.
        """
        self._seed()
        self.pruner.before_forward(self.step_count)
        return self.step(self.images, self.labels, batch, draws, rate)

    def finish_pruning(self) -> None:
        """The pruner's last word, after the last step."""
        self._seed()
        self.pruner.finish()

    def test(self) -> tuple[float, float]:
        """Accuracy and loss on the test set, with the weights that this moment's model stands for."""
        self.pruner.weights.values.copy_(self.pruner.evaluation_weights())
        logits = predict_logits(self.model, self.data.test_inputs, self.augmenter)
        return accuracy_and_loss(logits, self.data.test_labels.numpy())

    def consider_best(self, test_accuracy: float) -> None:
        """Keep the present model if it is the best so far and at full target sparsity."""
        if self.pruner.at_target(self.step_count) and (self.best is None or test_accuracy > self.best["test_accuracy"]):
            model = self.export()
            self.best = {
                "test_accuracy": test_accuracy,
                "epoch": self.epoch,
                "weights": model.weights,
                "masks": model.masks,
            }

    def export(self) -> TrainedModel:
        """The present model, masked, as contiguous tensors on the CPU; masked positions are exactly 0.0."""
        self.pruner.weights.values.copy_(self.pruner.evaluation_weights())
        weights = {name: value.detach().cpu().contiguous().clone() for name, value in self.model.state_dict().items()}
        masks = self.pruner.weights.by_name(self.pruner.mask.bool().cpu())
        return TrainedModel(weights, masks)

    def state_dict(self) -> dict[str, Any]:
        """Everything an exact resume needs, at any step.

        Random streams are derived from the epoch and the place in it follows from the step, so there are none to save.
        """
        return {
            "step": self.step_count,
            "model": self.model.state_dict(),
            "pruner": self.pruner.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "sums": {"loss": self.loss_sum, "correct": self.correct},
            "epoch_seconds": self.seconds,
            "row": self.row,
            "history": self.history,
            "best": self.best,
            "traces": self.traces,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` saved; RunError, with nothing changed, where it is not of this model.

        Of a state without traces there will be none, for those of its epochs are gone.
        """
        try:
            self._check_state(state)
        except (KeyError, TypeError, AttributeError) as error:
            raise RunError(f"its parts are not those of a training state ({one_line(error)[:80]})") from None
        self.model.load_state_dict(state["model"])
        self.pruner.load_state_dict(state["pruner"])
        self.step.load_optimizer(state["optimizer"])
        self.loss_sum.copy_(state["sums"]["loss"])
        self.correct.copy_(state["sums"]["correct"])
        self.step_count, self.seconds, self.row = state["step"], state["epoch_seconds"], state["row"]
        self.history, self.best = state["history"], state["best"]
        self._take_traces(state.get("traces"))

    def fork_state(self) -> dict[str, Any]:
        """At the end of an epoch, what other methods' runs of this number can go on from: nothing of the pruner."""
        return {
            "step": self.step_count,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "history": self.history,
            "traces": None if self.traces is None else self.traces[: len(self.history)].clone(),
        }

    def _take_traces(self, traces: Tensor | None) -> None:
        if self.traces is not None and traces is not None:
            self.traces[: len(traces)].copy_(traces)
        else:
            self.traces = None

    def fork_from(self, state: dict[str, Any]) -> None:
        """Go on from where a dense run of this number stood at the end of an epoch, with the pruner as it is at the
        start. RunError, with nothing changed, where it is no such state, or this method would not be there the same.
        """
        pruner, row = self.pruner, dataclasses.asdict(self.pruner.state())
        try:
            check_like(state["step"], self.step_count, "step")
            check_like(state["model"], self.model.state_dict(), "model")
            self._check_optimizer(state["optimizer"])
            history = [{**one, **row} for one in state["history"]]
            if self.traces is not None:
                if state.get("traces") is None:
                    raise RunError("it has no loss traces, which --trace-losses asks for here")
                check_like(state["traces"], self.traces[: len(history)], "traces")
        except (KeyError, TypeError, AttributeError) as error:
            raise RunError(f"its parts are not those of a training state ({one_line(error)[:80]})") from None
        if not 0 < state["step"] == len(history) * self.steps_per_epoch < self.total_steps:
            raise RunError("its step does not fit its history")
        if state["step"] > pruner.dense_steps:
            raise RunError(f"{self.config.method} is the dense run for {pruner.dense_steps} steps only")
        ends = range(self.steps_per_epoch, state["step"] + 1, self.steps_per_epoch)
        if self.config.select == "best" and any(pruner.at_target(end) for end in ends):
            raise RunError(f"it holds no best epoch, and {self.config.method} would have one")
        self.model.load_state_dict(state["model"])
        with torch.no_grad():
            pruner.leaf.copy_(pruner.weights.values)
        self.step.load_optimizer(state["optimizer"])
        self.step_count, self.history = state["step"], history
        self._take_traces(state.get("traces"))

    def _check_optimizer(self, state: dict[str, Any]) -> None:
        check_like(state["param_groups"], self.optimizer.state_dict()["param_groups"], "optimizer")
        parameters = dict(enumerate(self.optimizer.param_groups[0]["params"]))
        for index, slots in state["state"].items():
            for name, value in slots.items():
                if value is not None:
                    check_like(value, parameters[index].detach(), name)

    def _check_state(self, state: dict[str, Any]) -> None:
        ours = self.state_dict()
        for name in ("step", "model", "pruner", "sums", "epoch_seconds"):
            check_like(state[name], ours[name], name)
        self._check_optimizer(state["optimizer"])
        rows = state["history"] + ([] if state["row"] is None else [state["row"]])
        if not all(isinstance(row, dict) for row in rows):
            raise RunError("history is not a list of rows")
        steps = state["step"] - len(state["history"]) * self.steps_per_epoch
        if not 0 <= steps <= self.steps_per_epoch or len(rows) > self.config.total_epochs:
            raise RunError("its step does not fit its history")
        if self.traces is not None and state.get("traces") is not None:
            check_like(state["traces"], self.traces, "traces")
        if state["best"] is not None:
            check_like(state["best"]["weights"], ours["model"], "best")
            check_like(state["best"]["masks"], self.pruner.weights.by_name(self.pruner.mask.bool()), "best")


def all_finite(tensors: Iterable[Tensor]) -> bool:
    """Whether no floating point tensor holds NaN or infinity; one wait for the device."""
    found = [
        torch.isfinite(tensor).all() for tensor in tensors if isinstance(tensor, Tensor) and tensor.is_floating_point()
    ]
    return not found or bool(torch.stack(found).all())
