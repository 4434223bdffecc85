"""The training loop. It knows members and hooks; which pruning method it runs, it never asks."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from artifacts.run_dir import one_line
from configs.config import ExperimentConfig
from configs.errors import RunError
from data.augment import Augmenter
from data.base import ImageData
from models.registry import build_model
from pruning.registry import build_pruner
from training.checkpoint import TrainedModel
from training.graphs import Recorder, open_step
from training.lr import learning_rate
from training.query import accuracy_and_loss, predict_logits
from training.step import Step

INIT_STREAM, EPOCH_STREAM = 0, 1


def stream_seed(config: ExperimentConfig, *stream: int) -> int:
    """A 63-bit seed for one purpose of one model. The method is left out: methods share starts and batches."""
    sequence = np.random.SeedSequence([config.seed, config.model_index, *stream])
    return int(sequence.generate_state(1, np.uint64)[0] >> 1)


def new_model(config: ExperimentConfig, data: ImageData) -> nn.Module:
    """An initialised float32 model; the global random state is left as it was."""
    assert config.layers is not None  # filled in by sweep.plan.resolve
    assert config.width_mult is not None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream_seed(config, INIT_STREAM))
        return build_model(config.arch, config.layers, config.width_mult, data.channels, data.num_classes)


class Trainer:
    """One model in training.

    members: int64 positions in the training set that may enter a batch, and no others.
    recorder: records its steps (`graphs.recorder_for`); None: every operation is launched by itself.
    """

    def __init__(
        self,
        config: ExperimentConfig,
        data: ImageData,
        members: NDArray[np.int64],
        device: torch.device,
        recorder: Callable[[], Recorder] | None = None,
    ) -> None:
        self.config, self.data, self.device = config, data, device
        self.members = torch.from_numpy(np.asarray(members, dtype=np.int64))
        self.images = data.train_images[self.members].to(device)
        self.labels = data.train_labels[self.members].to(device)
        self.augmenter = Augmenter(config.augment, data.mean, data.std, data.image_size, device)
        self.steps_per_epoch = math.ceil(len(self.members) / config.batch_size)
        self.pruner = build_pruner(config, self.steps_per_epoch)
        model = new_model(config, data)
        if recorder is None:
            self.step = Step(config, model, self.pruner, self.augmenter, device)
        else:
            self.step = open_step(self, config, data, model, self.pruner, self.augmenter, device, recorder)
        self.model, self.optimizer = self.step.model, self.step.optimizer
        self.step_count = 0
        self.history: list[dict[str, Any]] = []
        self.best: dict[str, Any] | None = None

    def start_from(self, weights: dict[str, Tensor]) -> None:
        """Replace the initial weights; RunError when they do not fit the architecture."""
        try:
            self.model.load_state_dict(weights)
        except RuntimeError as error:
            raise RunError(f"--pretrained does not fit {self.config.arch}: {one_line(error)[:160]}") from None
        with torch.no_grad():
            self.pruner.leaf.copy_(self.pruner.weights.values)

    @property
    def epoch(self) -> int:
        """Epochs finished."""
        return self.step_count // self.steps_per_epoch

    def batches(self, generator: torch.Generator) -> Iterator[Tensor]:
        """Positions in `members` of one epoch: each exactly once, in batches of nearly equal size.

        Nearly equal, so that no last batch of one or two examples disturbs BatchNorm.
        """
        order = torch.randperm(len(self.members), generator=generator)
        yield from order.tensor_split(self.steps_per_epoch)

    def epoch_batches(self, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of one epoch with their augmentation draws, on the device.

        Everything random is drawn on the CPU, so that every device sees the same pictures, and moved in two copies: a
        copy a step would have the CPU wait for the device.
        """
        batches = list(self.batches(generator))
        sizes = [len(batch) for batch in batches]
        draws = torch.cat([self.augmenter.draw(size, generator) for size in sizes], dim=1).to(self.device)
        return zip(torch.cat(batches).to(self.device).split(sizes), draws.split(sizes, dim=1), strict=True)

    def run_epoch(self) -> dict[str, Any]:
        """Train one epoch; returns its history row. The device is read once, at the end."""
        started = time.perf_counter()
        generator = torch.Generator().manual_seed(stream_seed(self.config, EPOCH_STREAM, self.epoch))
        self.model.train()
        loss_sum = torch.zeros((), device=self.device)
        correct = torch.zeros((), device=self.device)
        rate = 0.0
        for batch, draws in self.epoch_batches(generator):
            rate = learning_rate(self.config, self.step_count, self.steps_per_epoch)
            loss, hits = self.train_step(batch, rate, draws)
            loss_sum += loss * len(batch)
            correct += hits
            self.step_count += 1
        train_loss = float(loss_sum) / len(self.members)
        if not math.isfinite(train_loss):
            raise RunError(f"the loss is not finite in epoch {self.epoch} (step {self.step_count}); lower --lr")
        state = self.pruner.state()
        row = {
            "epoch": self.epoch,
            "lr": rate,
            "train_loss": train_loss,
            "train_accuracy": float(correct) / len(self.members),
            "test_loss": None,
            "test_accuracy": None,
            "target_sparsity": state.target_sparsity,
            "sparsity": state.sparsity,
            "returned": state.returned,
            "seconds": time.perf_counter() - started,
        }
        self.history.append(row)
        return row

    def train_step(self, batch: Tensor, rate: float, draws: Tensor) -> tuple[Tensor, Tensor]:
        """One optimiser step on the members at positions `batch` [B]; loss and number of hits, left on the device.

        draws: int64 [2, B], of `Augmenter.draw`. Both tensors are on the device.
        """
        self.pruner.before_forward(self.step_count)
        return self.step(self.images, self.labels, batch, draws, rate)

    def test(self) -> tuple[float, float]:
        """Accuracy and loss on the test set, with the weights that this moment's model stands for."""
        self.pruner.weights.values.copy_(self.pruner.evaluation_weights())
        logits = predict_logits(self.model, self.data.test_images, self.augmenter)
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
        """Everything an exact resume needs. Random streams are derived from the epoch, so there is none to save."""
        return {
            "step": self.step_count,
            "model": self.model.state_dict(),
            "pruner": self.pruner.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "history": self.history,
            "best": self.best,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` saved."""
        self.model.load_state_dict(state["model"])
        self.pruner.load_state_dict(state["pruner"])
        self.step.load_optimizer(state["optimizer"])
        self.step_count, self.history, self.best = state["step"], state["history"], state["best"]
