"""The optimiser step as a CUDA graph: recorded once for each shape, replayed for every model of that shape.

A ResNet-20 step is hundreds of small kernels, and launching them one by one takes the CPU longer than they take a GPU.
A recording holds addresses, so a model in training stays where it is: the next model of the process moves into the
same memory. Nothing here has run on a GPU yet; what a recording does is therefore compared with the plain step before
it is trusted, and any doubt ends in the plain step.
"""

from __future__ import annotations

import dataclasses
import gc
import logging
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from artifacts.run_dir import one_line
from configs.experiment import ExperimentConfig
from data.augment import Augmenter
from data.base import DataSet
from pruning.base import Pruner
from training.step import Step

# A recording's first calls for each model are compared with the plain step: the first finds inputs that were recorded
# as constants, the second a state that was.
COMPARED = 2
WARM_UPS = 3
# Largest difference between the two, as a share of how far the step moved a tensor. Kernels that add in any order
# differ by far less, a stale input by about 1.
TOLERANCE = 0.05
log = logging.getLogger(__name__)


class Recorder(Protocol):
    """Turns work on fixed memory into something that repeats it."""

    def warm_up(self, work: Callable[[], None]) -> None:
        """Run it as often as libraries need to settle."""

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        """What repeats `work` on the same memory; whether recording runs it is left open."""


class CudaRecorder:
    """CUDA graphs in one memory pool: they are never replayed at once, and keep nothing in it from one to the next."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.stream = torch.cuda.Stream(device)
        self.pool = torch.cuda.graph_pool_handle()

    def warm_up(self, work: Callable[[], None]) -> None:
        with torch.cuda.device(self.device):
            self.stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self.stream):
                for _ in range(WARM_UPS):
                    work()
            torch.cuda.current_stream().wait_stream(self.stream)

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        with torch.cuda.device(self.device):
            graph, outside = torch.cuda.CUDAGraph(), torch.cuda.current_stream()
            try:
                with torch.cuda.graph(graph, pool=self.pool, stream=self.stream):
                    work()
            finally:
                # a recording that fails at its end leaves its own stream current
                torch.cuda.set_stream(outside)
        return graph.replay


def recorder_for(device: torch.device, wanted: str) -> Callable[[], Recorder] | None:
    """What `--cuda-graphs` asks for on this device; None: nothing is recorded."""
    return partial(CudaRecorder, device) if device.type == "cuda" and wanted == "auto" else None


@dataclasses.dataclass
class _Recording:
    """One batch size in one phase of the pruner, with the memory that it reads and writes."""

    pictures: Tensor
    labels: Tensor
    draws: Tensor
    loss: Tensor
    hits: Tensor
    losses: Tensor
    replay: Callable[[], None] | None = None
    compared: int = 0


class RecordedStep(Step):
    """A step that records itself, and that one model after another can be trained in."""

    def __init__(
        self,
        config: ExperimentConfig,
        model: nn.Module,
        pruner: Pruner,
        augmenter: Augmenter,
        device: torch.device,
        recorder: Recorder,
        trace_losses: bool = False,
    ) -> None:
        super().__init__(config, model, pruner, augmenter, device, trace_losses)
        self.recorder = recorder
        self.rate = torch.zeros((), device=device)
        self.recordings: dict[tuple[int, int], _Recording] = {}
        self.trusted = True
        self.momentum = {}
        if config.momentum:
            # SGD's first step makes a buffer of the gradient; a step from zeros gives the same, in fixed memory.
            parameters = self.optimizer.param_groups[0]["params"]
            self.momentum = {parameter: torch.zeros_like(parameter) for parameter in parameters}
        self._set_momentum()

    def move_in(self, model: nn.Module, pruner: Pruner) -> None:
        """Start another model of the same shape in this one's memory."""
        pruner.move_in(self.pruner)
        self.pruner = pruner
        self.model.load_state_dict(model.state_dict())
        with torch.no_grad():
            pruner.leaf.copy_(pruner.weights.values)
            for buffer in self.momentum.values():
                buffer.zero_()
        for recording in self.recordings.values():
            recording.compared = 0

    def load_optimizer(self, state: dict[str, Any]) -> None:
        super().load_optimizer(state)
        for parameter, buffer in self.momentum.items():
            loaded = self.optimizer.state.get(parameter, {}).get("momentum_buffer")
            buffer.copy_(loaded) if loaded is not None else buffer.zero_()
        self._set_momentum()

    def _set_momentum(self) -> None:
        for parameter, buffer in self.momentum.items():
            self.optimizer.state[parameter]["momentum_buffer"] = buffer

    def __call__(
        self, images: Tensor, labels: Tensor, batch: Tensor, draws: Tensor, rate: float
    ) -> tuple[Tensor, Tensor]:
        phase = self.pruner.phase()
        if not self.trusted or phase is None:
            return super().__call__(images, labels, batch, draws, rate)
        key = (len(batch), phase)
        recording = self.recordings.get(key)
        if recording is None:
            recording = self.recordings[key] = self._room(images, labels, len(batch))
        if recording.compared < COMPARED:
            return self._compared(recording, images, labels, batch, draws, rate)
        self._fill(recording, images, labels, batch, draws, rate)
        return self._replay(recording)

    def _room(self, images: Tensor, labels: Tensor, size: int) -> _Recording:
        return _Recording(
            pictures=images.new_zeros((size, *images.shape[1:])),
            labels=labels.new_zeros(size),
            draws=torch.zeros((2, size), dtype=torch.int64, device=self.device),
            loss=torch.zeros((), device=self.device),
            hits=torch.zeros((), dtype=torch.int64, device=self.device),
            losses=torch.zeros(size if self.trace_losses else 0, device=self.device),
        )

    def _fill(self, to: _Recording, images: Tensor, labels: Tensor, batch: Tensor, draws: Tensor, rate: float) -> None:
        torch.index_select(images, 0, batch, out=to.pictures)
        torch.index_select(labels, 0, batch, out=to.labels)
        to.draws.copy_(draws)
        self.rate.fill_(rate)
        # what a checkpoint would say; the recording reads the tensor
        self._set_rate(rate)

    def _replay(self, recording: _Recording) -> tuple[Tensor, Tensor]:
        assert recording.replay is not None
        recording.replay()
        self.losses = recording.losses
        # copies: a caller may keep what the next step overwrites
        return recording.loss.clone(), recording.hits.clone()

    def _work(self, recording: _Recording) -> None:
        loss, hits = self.run(recording.pictures, recording.labels, recording.draws, self.rate)
        recording.loss.copy_(loss)
        recording.hits.copy_(hits)
        recording.losses.copy_(self.losses)

    def _compared(
        self, recording: _Recording, images: Tensor, labels: Tensor, batch: Tensor, draws: Tensor, rate: float
    ) -> tuple[Tensor, Tensor]:
        """The step by the recording, made first if there is none, held against the plain one; else the plain one."""
        before = [tensor.clone() for tensor in self._state()]
        inputs = (images[batch], labels[batch], draws, rate)
        try:
            if recording.replay is None:
                self._record(recording, before)
            plain_loss = self.run(*inputs)[0]
            plain_losses = self.losses
            plain = [tensor.clone() for tensor in self._state()]
            self._restore(before)
            self._fill(recording, images, labels, batch, draws, rate)
            loss, hits = self._replay(recording)
            start = [*before, torch.zeros_like(loss), torch.zeros_like(plain_losses)]
            found = [*self._state(), loss, self.losses]
            moved = zip(start, [*plain, plain_loss, plain_losses], found, strict=True)
            agree = all(agrees(*three) for three in moved)
            reason = "" if agree else "it does not do what the plain step does"
        except RuntimeError as error:
            reason = one_line(error)[:160]
        if not reason:
            recording.compared += 1
            return loss, hits
        self._restore(before)
        self.trusted = False
        self.recordings.clear()
        log.warning("the optimiser step is not recorded as a CUDA graph, so training is slower: %s", reason)
        return self.run(*inputs)

    def _record(self, recording: _Recording, before: list[Tensor]) -> None:
        """Record while the inputs' memory holds zeros: what is taken for a constant is then found out."""
        self.recorder.warm_up(lambda: self._work(recording))
        self._restore(before)
        recording.replay = self.recorder.record(lambda: self._work(recording))
        self._restore(before)

    def _state(self) -> list[Tensor]:
        """Everything that a step changes."""
        pruner = self.pruner
        parts = [pruner.weights.values, pruner.leaf.detach(), *(other.detach() for other in self.others)]
        return [*parts, *self.model.buffers(), *self.momentum.values()]

    def _restore(self, saved: list[Tensor]) -> None:
        for tensor, value in zip(self._state(), saved, strict=True):
            tensor.copy_(value)


def agrees(before: Tensor, plain: Tensor, recorded: Tensor) -> bool:
    """Whether two results of one step are the same, up to TOLERANCE of what the step changed and rounding.

    Two results that are not finite agree: the run ends for another reason.
    """
    if not plain.is_floating_point():
        return torch.equal(plain, recorded)
    before, plain, recorded = before.double(), plain.double(), recorded.double()
    gap, move, size = (recorded - plain).norm(), (plain - before).norm(), plain.norm()
    if not torch.isfinite(move):
        return not bool(torch.isfinite(recorded).all())
    return bool(gap <= TOLERANCE * move + 1e-6 * size)


@dataclasses.dataclass
class _Kept:
    """The step that the next model of the same shape moves into, once its owner is gone."""

    shape: tuple[object, ...]
    step: RecordedStep
    owner: weakref.ref[Any]


_kept: _Kept | None = None


def forget() -> None:
    """Free the memory of the kept step."""
    global _kept
    if _kept is not None:
        _kept = None
        gc.collect()
        if torch.cuda.is_initialized():
            torch.cuda.empty_cache()


def open_step(
    owner: object,
    config: ExperimentConfig,
    data: DataSet,
    model: nn.Module,
    pruner: Pruner,
    augmenter: Augmenter,
    device: torch.device,
    recorder: Callable[[], Recorder],
    trace_losses: bool = False,
) -> RecordedStep:
    """A recorded step for a new model: the kept one where it has the same shape and nobody trains in it any more."""
    global _kept
    shape = (*_shape(config, data, device), trace_losses)
    if _kept is not None and _kept.owner() is not None:
        gc.collect()
    if _kept is not None and _kept.shape == shape and _kept.owner() is None:
        _kept.step.move_in(model, pruner)
        _kept.owner = weakref.ref(owner)
        return _kept.step
    forget()
    step = RecordedStep(config, model, pruner, augmenter, device, recorder(), trace_losses)
    _kept = _Kept(shape, step, weakref.ref(owner))
    return step


def _shape(config: ExperimentConfig, data: DataSet, device: torch.device) -> tuple[object, ...]:
    """All that a recording holds as a constant, apart from batch size and phase. The number of members is not there."""
    sizes = (config.layers, config.width_mult, config.channels, config.prune_layers, data.num_classes)
    network = (config.method, config.arch, *sizes)
    examples = (data.example_shape, tuple(data.mean), tuple(data.std), config.augment)
    return (*network, *examples, config.precision, config.momentum, config.weight_decay, str(device))
