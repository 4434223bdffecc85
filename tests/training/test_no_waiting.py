"""No step of an epoch waits for the device: nothing between the first batch and the last reads a tensor."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from configs.experiment import ExperimentConfig
from data.inputs import open_data, open_split
from pruning.registry import always_there
from tests.training.recording import TapeRecorder
from training import graphs
from training.loop import Trainer

Make = Callable[..., ExperimentConfig]
# What makes the CPU wait: values read, sizes that depend on values, copies between devices.
OPERATIONS = (
    "_local_scalar_dense",
    "nonzero",
    "masked_select",
    "unique",
    "_unique2",
    "is_nonzero",
    "equal",
    "bincount",
)
CALLS = ("item", "cpu", "cuda", "to", "numpy", "tolist", "__bool__", "__float__", "__int__", "__index__", "__array__")


class Waited(AssertionError):
    """A step read something back."""


class NoReads(TorchDispatchMode):
    """Below autograd, the backward pass included."""

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = operation.overloadpacket.__name__
        by_mask = name in ("index", "index_put_") and any(t is not None and t.dtype == torch.bool for t in args[1])
        if name in OPERATIONS or by_mask:
            raise Waited(f"aten.{name}")
        return operation(*args, **(kwargs or {}))


class NoCalls(TorchFunctionMode):
    """On a CPU these read without an operation of their own."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(function, "__name__", "")
        if name in CALLS and not (name == "to" and isinstance(args[1], torch.dtype)):
            raise Waited(name)
        return function(*args, **(kwargs or {}))


class Watch:
    """Whether step loops run under the guards, and how many steps did."""

    on, steps = True, 0


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Iterator[Watch]:
    """Everything from an epoch's first batch to its last, the loop's own lines included."""
    original, watch = Trainer.epoch_batches, Watch()

    def batches(self: Trainer, *args: Any, **kwargs: Any) -> Iterator[tuple[Tensor, Tensor]]:
        made = list(original(self, *args, **kwargs))
        if not watch.on:
            yield from made
            return
        with NoReads(), NoCalls():  # type: ignore[no-untyped-call]
            for batch in made:
                watch.steps += 1
                yield batch

    monkeypatch.setattr(Trainer, "epoch_batches", batches)
    graphs.forget()
    yield watch
    graphs.forget()


def trainer_of(config: ExperimentConfig, recorder: Any = None) -> Trainer:
    data, _ = open_data(config, "datasets")
    split = open_split(config, data)
    return Trainer(config, data, split.pool[split.members(0)], torch.device("cpu"), recorder)


def knobs_of(method: str) -> dict[str, object]:
    """One-shot methods prune, and the others update their masks, in the guarded epochs."""
    knobs: dict[str, dict[str, object]] = {
        "static": {"prune_epoch": 2, "sparsity": 0.5},
        "dpf": {"prune_freq": 2, "sparsity": 0.6},
        "random": {"prune_epoch": 2, "sparsity": 0.5},
        "gmp": {"prune_freq": 1, "sparsity": 0.6},
        "imp": {"rounds": 2, "rewind": "weights", "sparsity": 0.6},
        "set": {"update_freq": 3, "sparsity": 0.6},
        "rigl": {"update_freq": 3, "sparsity": 0.6},
        "snip": {"sparsity": 0.5},
        "two_four": {"prune_epoch": 2},
        "channel": {"prune_epoch": 2, "sparsity": 0.5, "densities": "global"},
    }
    return knobs.get(method, {})


@pytest.mark.parametrize("method", always_there())
def test_no_step_reads_the_device(method: str, watch: Watch, make_config: Make) -> None:
    config = make_config(method=method, augment="standard", precision="bfloat16", **knobs_of(method))
    trainer = trainer_of(config)
    masks = [trainer.pruner.mask.clone()]
    for _ in range(config.total_epochs):
        trainer.run_epoch()
        trainer.close_epoch()
        masks.append(trainer.pruner.mask.clone())
    assert watch.steps == trainer.step_count == config.total_epochs * trainer.steps_per_epoch
    changed = [not torch.equal(a, b) for a, b in pairwise(masks)]
    assert any(changed) == (method != "dense")


@pytest.mark.parametrize("method", ["dense", "static", "dpf", "rigl"])
def test_nor_does_a_recorded_step_once_it_is_compared(method: str, watch: Watch, make_config: Make) -> None:
    config = make_config(method=method, augment="standard", epochs=8, **knobs_of(method))
    trainer = trainer_of(config, TapeRecorder)
    watch.on = False
    for _ in range(4):
        trainer.run_epoch()
        trainer.close_epoch()
    watch.on = True
    for _ in range(4):
        trainer.run_epoch()
        trainer.close_epoch()
    assert watch.steps == 4 * trainer.steps_per_epoch
    assert trainer.step.trusted  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "read", [float, bool, int, Tensor.item, Tensor.tolist, Tensor.cpu, Tensor.numpy, Tensor.nonzero, lambda t: t[t > 0]]
)
def test_the_guard_notices(read: Callable[[Tensor], Any]) -> None:
    tensor = torch.ones(1)
    with NoReads(), NoCalls(), pytest.raises(Waited):  # type: ignore[no-untyped-call]
        read(tensor)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("wanted", ["auto", "off"])
@pytest.mark.parametrize("method", always_there())
def test_cuda_sees_no_wait(method: str, wanted: str, make_config: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """torch itself refuses to wait; the first epochs, which record, and the step that prunes are left out."""
    config = make_config(method=method, augment="standard", precision="bfloat16", epochs=8, **knobs_of(method))
    data, _ = open_data(config, "datasets")
    split = open_split(config, data)
    device = torch.device("cuda")
    members = split.pool[split.members(0)]
    trainer = Trainer(config, data, members, device, graphs.recorder_for(device, wanted))
    original = Trainer.epoch_batches

    def batches(self: Trainer, *args: Any, **kwargs: Any) -> Iterator[tuple[Tensor, Tensor]]:
        made = list(original(self, *args, **kwargs))
        guard = wanted == "off" or self.epoch > 5
        torch.cuda.set_sync_debug_mode("error" if guard else "default")
        try:
            yield from made
        finally:
            torch.cuda.set_sync_debug_mode("default")

    monkeypatch.setattr(Trainer, "epoch_batches", batches)
    for _ in range(config.epochs):
        trainer.run_epoch()
        trainer.close_epoch()
    graphs.forget()
