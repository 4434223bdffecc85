"""One optimiser step: forward, backward, update."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from configs.experiment import ExperimentConfig
from data.augment import Augmenter
from pruning.base import Pruner
from training.device import to_device


class Step:
    """A model in training with its optimiser; a call is one step. Nothing in it waits for the device.

    losses: with `trace_losses`, float32 [B] on the device: of each example of the last step, in its forward pass; the
    next step may overwrite them.
    """

    def __init__(
        self,
        config: ExperimentConfig,
        model: nn.Module,
        pruner: Pruner,
        augmenter: Augmenter,
        device: torch.device,
        trace_losses: bool = False,
    ) -> None:
        self.device, self.augmenter, self.pruner = device, augmenter, pruner
        self.trace_losses = trace_losses
        self.losses = torch.zeros(0, device=device)
        self.bfloat16 = config.precision == "bfloat16"
        self.model = to_device(model, device)
        leaf = pruner.attach(self.model)
        flat = set(pruner.weights.names)
        self.others = [parameter for name, parameter in self.model.named_parameters() if name not in flat]
        self.optimizer = torch.optim.SGD(
            [leaf, *self.others],
            lr=config.lr,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
            fused=device.type in ("cpu", "cuda"),
        )
        pruner.optimizer = self.optimizer

    def __call__(
        self, images: Tensor, labels: Tensor, batch: Tensor, draws: Tensor, rate: float
    ) -> tuple[Tensor, Tensor]:
        """Train on the examples at positions `batch` [B] of `images` and `labels`; loss and hits, on the device."""
        return self.run(images[batch], labels[batch], draws, rate)

    def run(self, pictures: Tensor, labels: Tensor, draws: Tensor, rate: float | Tensor) -> tuple[Tensor, Tensor]:
        """The step on stored examples, uint8 [B, C, H, H] or float32 [B, F].

        draws: of `Augmenter.draw`; rate: a number or a tensor of one.
        """
        loss, hits = self.backward(self.augmenter.apply(pictures, draws), labels)
        self.pruner.after_backward()
        self._set_rate(rate)
        self.optimizer.step()
        self.pruner.after_step()
        return loss, hits

    def backward(self, inputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Leave the gradient in every parameter's place for it; loss and hits."""
        # No weight is used twice in a forward, and a recording must not hold on to the cast of an earlier one.
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16, cache_enabled=False):
            logits = self.model(inputs)
        loss = functional.cross_entropy(logits.float(), labels)
        if self.trace_losses:  # beside the loss, not below its mean: the weights stay what they are without traces
            self.losses = functional.cross_entropy(logits.detach().float(), labels, reduction="none")
        self.pruner.weights.grad.zero_()
        for parameter in self.others:
            parameter.grad = None
        loss.backward()
        return loss.detach(), (logits.detach().argmax(1) == labels).sum()

    def batches(self, members: int, steps: int, generator: torch.Generator) -> Iterator[Tensor]:
        """Positions in so many members of one epoch's batches: each exactly once, in batches of nearly equal size.

        Nearly equal, so that no last batch of one or two examples disturbs BatchNorm.
        """
        yield from torch.randperm(members, generator=generator).tensor_split(steps)

    def _set_rate(self, rate: float | Tensor) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = rate

    def load_optimizer(self, state: dict[str, Any]) -> None:
        """Restore the optimiser's state dict."""
        self.optimizer.load_state_dict(state)
