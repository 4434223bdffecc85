"""The recorded step against the plain one: on a CPU through a recorder of operations, on a GPU through CUDA graphs."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch

from configs.experiment import ExperimentConfig
from data.base import ImageData
from data.inputs import open_data, open_split
from tests.training.recording import TapeRecorder
from training import graphs
from training.loop import Trainer

Make = Callable[..., ExperimentConfig]
METHODS = [("dense", 0.0), ("static", 0.5), ("dpf", 0.6)]
CPU = torch.device("cpu")
gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


@pytest.fixture(autouse=True)
def no_kept_step() -> Iterator[None]:
    graphs.forget()
    TapeRecorder.recorded = 0
    yield
    graphs.forget()


def config_of(make_config: Make, method: str, sparsity: float, **fields: object) -> ExperimentConfig:
    """Epochs of 2 batches of different sizes; static prunes and DPF updates its mask in between."""
    mask = {"dpf": {"prune_freq": 3}, "static": {"prune_epoch": 5}}.get(method, {})
    common = {"augment": "standard", "epochs": 26, "scheduler": "onecycle", "num_shadows": 2, "split": "balanced"}
    small = {"channels": 4, "batch_size": 8, "pool_size": 24}
    return make_config(method=method, sparsity=sparsity, **{**common, **small, **mask, **fields})


def trainer_of(config: ExperimentConfig, device: torch.device = CPU, recorder: object = TapeRecorder) -> Trainer:
    data, _ = open_data(config, "datasets")
    split = open_split(config, data)
    members = split.pool[split.members(config.model_index)]
    return Trainer(config, data, members, device, recorder)  # type: ignore[arg-type]


def trained(trainer: Trainer, epochs: int) -> Trainer:
    for _ in range(epochs):
        epoch(trainer)
    return trainer


def epoch(trainer: Trainer) -> None:
    trainer.run_epoch()
    trainer.close_epoch()


def same(one: Trainer, other: Trainer) -> bool:
    """Weights, masks, momentum and history, to the last bit."""
    ours, theirs = one.export(), other.export()
    states = [t.optimizer.state_dict()["state"] for t in (one, other)]
    buffers = [[state[i]["momentum_buffer"] for i in sorted(state)] for state in states]
    rows = [[(row["train_loss"], row["train_accuracy"], row["lr"]) for row in t.history] for t in (one, other)]
    return (
        all(torch.equal(ours.weights[name], value) for name, value in theirs.weights.items())
        and all(torch.equal(ours.masks[name], value) for name, value in theirs.masks.items())
        and all(torch.equal(a, b) for a, b in zip(*buffers, strict=True))
        and rows[0] == rows[1]
    )


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize(("method", "sparsity"), METHODS)
def test_fifty_recorded_steps_are_fifty_plain_ones(
    method: str, sparsity: float, precision: str, make_config: Make
) -> None:
    config = config_of(make_config, method, sparsity, precision=precision)
    recorded, plain = trained(trainer_of(config), 26), trained(trainer_of(config, recorder=None), 26)
    assert recorded.step_count >= 50
    assert isinstance(recorded.step, graphs.RecordedStep)
    assert recorded.step.trusted
    sizes = {size for size, _ in recorded.step.recordings}
    assert len(sizes) == 2
    assert TapeRecorder.recorded == len(recorded.step.recordings) == (4 if method == "static" else 2)
    assert same(recorded, plain)


@pytest.mark.parametrize("method", ["snip", "rigl"])
def test_a_step_of_its_own_is_never_recorded(method: str, make_config: Make) -> None:
    """SNIP's first, and those at which RigL changes its mask: in between they replay, in the next model as well."""
    config = config_of(make_config, method, 0.5, epochs=8, update_freq=4)
    plain = trained(trainer_of(config, recorder=None), 8)
    first = trained(trainer_of(config), 8)
    assert same(first, plain)
    step = first.step
    del first
    second = trained(trainer_of(config), 8)
    assert second.step is step
    assert step.trusted  # type: ignore[attr-defined]
    assert {phase for _, phase in step.recordings} == {1}  # type: ignore[attr-defined]
    assert same(second, plain)
    assert plain.pruner.sparsity() == pytest.approx(0.5, abs=1e-5)


@pytest.mark.parametrize(
    ("method", "knobs"),
    [
        ("imp", {"epochs": 3, "rounds": 2, "round_epochs": 2, "rewind": "weights"}),
        ("channel", {"epochs": 6, "prune_epoch": 3}),
    ],
)
def test_what_happens_between_recordings_is_seen_by_them_and_by_the_next_model(
    method: str, knobs: dict[str, object], make_config: Make
) -> None:
    """IMP rewinds weights and momentum, and channels fall silent behind their BatchNorm."""
    config = config_of(make_config, method, 0.6, **knobs)
    plain = trained(trainer_of(config, recorder=None), config.total_epochs)
    step = trained(trainer_of(config), config.total_epochs).step
    second = trained(trainer_of(config), config.total_epochs)
    assert second.step is step
    assert step.trusted  # type: ignore[attr-defined]
    assert same(second, plain)


@pytest.mark.parametrize(("method", "sparsity"), METHODS)
def test_a_resume_goes_on_in_the_recorded_memory(method: str, sparsity: float, make_config: Make) -> None:
    config = config_of(make_config, method, sparsity)
    straight = trained(trainer_of(config, recorder=None), 8)
    first = trained(trainer_of(config), 4)
    state = copy.deepcopy(first.state_dict())
    assert isinstance(state["optimizer"]["param_groups"][0]["lr"], float)
    second = trainer_of(config)  # while the first lives: memory of its own
    trained(second, 2)
    second.load_state_dict(state)
    assert same(trained(second, 4), straight)
    plain = trainer_of(config, recorder=None)
    plain.load_state_dict(trained(trainer_of(config), 4).state_dict())
    assert same(trained(plain, 4), straight)


class Stop(Exception):
    """Stands for a request to stop."""


@pytest.mark.parametrize(("method", "sparsity"), METHODS)
def test_a_resume_between_two_steps_of_an_epoch(method: str, sparsity: float, make_config: Make) -> None:
    config = config_of(make_config, method, sparsity)
    first = trained(trainer_of(config), 3)

    def stop() -> None:
        raise Stop

    with pytest.raises(Stop):
        first.run_epoch(stop)
    assert first.step_count == 3 * first.steps_per_epoch + 1
    second = trainer_of(config)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    assert same(trained(second, 5), trained(trainer_of(config, recorder=None), 8))


@pytest.mark.parametrize(("method", "sparsity"), METHODS)
def test_the_next_model_moves_into_the_same_memory(method: str, sparsity: float, make_config: Make) -> None:
    def model(index: int) -> ExperimentConfig:
        return config_of(make_config, method, sparsity, model_index=index)

    alone = [trained(trainer_of(model(index), recorder=None), 8) for index in (0, 1)]
    first = trained(trainer_of(model(0)), 8)
    first.pruner.finish()
    alone[0].pruner.finish()
    first.test()
    assert same(first, alone[0])
    step = first.step
    del first
    second = trainer_of(model(1))
    assert second.step is step
    assert second.pruner.sparsity() == 0.0
    assert same(trained(second, 8), alone[1])
    del second
    third = trained(trainer_of(model(0)), 8)
    third.pruner.finish()
    assert same(third, alone[0])
    assert TapeRecorder.recorded == len(step.recordings)  # type: ignore[attr-defined]


def test_a_model_in_training_keeps_its_memory(make_config: Make) -> None:
    config = config_of(make_config, "dense", 0.0)
    one, two = trainer_of(config), trainer_of(config)
    assert one.step is not two.step
    alone = trained(trainer_of(config, recorder=None), 2)
    for _ in range(2):
        epoch(one)
        epoch(two)
    assert same(one, alone)
    assert same(two, alone)


def test_another_shape_is_recorded_anew_and_the_old_one_freed(make_config: Make) -> None:
    first = trainer_of(config_of(make_config, "dense", 0.0))
    step = first.step
    del first
    for fields in ({"momentum": 0.5}, {"weight_decay": 0.0}, {"precision": "bfloat16"}, {"augment": "flip"}):
        other = trainer_of(config_of(make_config, "dense", 0.0, **fields))
        assert other.step is not step
        step = other.step
        del other


class Broken(TapeRecorder):
    """Cannot record."""

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        raise RuntimeError("operation not permitted when stream is capturing")


class Deaf(TapeRecorder):
    """Replays a step of its own: inputs, rate or state of the moment do not reach it."""

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        return lambda: None


class Stale(TapeRecorder):
    """Right at the first step of each model; afterwards it goes on from where that one began."""

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        replay, calls = super().record(work), []

        def once() -> None:
            calls.append(1)
            if len(calls) == 1:
                replay()

        return once


@pytest.mark.parametrize(
    ("recorder", "reason"), [(Broken, "stream is capturing"), (Deaf, "does not do what"), (Stale, "does not do what")]
)
def test_whatever_goes_wrong_the_plain_step_takes_over(
    recorder: type, reason: str, make_config: Make, caplog: pytest.LogCaptureFixture
) -> None:
    config = config_of(make_config, "dpf", 0.6)
    with caplog.at_level(logging.WARNING):
        broken = trained(trainer_of(config, recorder=recorder), 6)
        assert same(broken, trained(trainer_of(config, recorder=None), 6))
        del broken
        trained(trainer_of(config, recorder=recorder), 1)
    (record,) = caplog.records
    assert reason in record.getMessage()


def test_results_agree_within_what_a_step_moves() -> None:
    before, plain = torch.zeros(4), torch.ones(4)
    assert graphs.agrees(before, plain, plain + 0.01)
    assert not graphs.agrees(before, plain, before)
    assert not graphs.agrees(before + 1000, plain + 1000, before + 1000)
    assert not graphs.agrees(before, plain, torch.full((4,), torch.nan))
    assert graphs.agrees(before, torch.full((4,), torch.inf), torch.full((4,), torch.nan))
    assert not graphs.agrees(torch.tensor(1), torch.tensor(2), torch.tensor(1))


def test_without_momentum_nothing_is_kept_for_it(make_config: Make) -> None:
    config = config_of(make_config, "static", 0.5, momentum=0.0)
    recorded, plain = trained(trainer_of(config), 7), trained(trainer_of(config, recorder=None), 7)
    assert recorded.step.trusted  # type: ignore[attr-defined]
    for name, value in plain.export().weights.items():
        assert torch.equal(recorded.export().weights[name], value)


def cuda_data() -> ImageData:
    """Noise of CIFAR's shape with labels that can be memorised."""
    rng = np.random.default_rng(0)
    images = torch.from_numpy(rng.integers(0, 256, (300, 3, 32, 32), dtype=np.uint8))
    labels = torch.arange(300) % 10
    names = tuple(map(str, range(10)))
    return ImageData(images, labels, images[:100], labels[:100], names, (0.5,) * 3, (0.25,) * 3)


def cuda_trainer(config: ExperimentConfig, wanted: str) -> Trainer:
    device = torch.device("cuda")
    return Trainer(config, cuda_data(), np.arange(255), device, graphs.recorder_for(device, wanted))


@gpu
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize(("method", "sparsity"), METHODS)
def test_fifty_steps_of_a_cuda_graph(method: str, sparsity: float, precision: str, make_config: Make) -> None:
    config = config_of(
        make_config, method, sparsity, layers=20, channels=16, batch_size=128, lr=0.01, precision=precision
    )
    recorded = trained(cuda_trainer(config, "auto"), 25)
    plain = trained(cuda_trainer(config, "off"), 25)
    assert recorded.step.trusted  # type: ignore[attr-defined]
    theirs = plain.export().weights
    for name, value in recorded.export().weights.items():
        gap = (value.double() - theirs[name].double()).norm()
        assert gap <= 0.05 * theirs[name].double().norm(), name


@gpu
@pytest.mark.parametrize(("method", "sparsity"), METHODS)
def test_accuracies_of_cuda_graphs_lie_within_seed_noise(method: str, sparsity: float, make_config: Make) -> None:
    found: dict[str, list[float]] = {"auto": [], "off": []}
    for wanted, accuracies in found.items():
        for seed in range(3):
            config = config_of(
                make_config, method, sparsity, seed=seed, channels=16, batch_size=64, precision="bfloat16"
            )
            accuracies.append(trained(cuda_trainer(config, wanted), 26).history[-1]["train_accuracy"])
    noise = max(float(np.std(found["off"], ddof=1)), 0.02)
    assert abs(np.mean(found["auto"]) - np.mean(found["off"])) <= 3 * noise


@gpu
@pytest.mark.parametrize(("method", "sparsity"), METHODS)
def test_the_second_model_of_a_cuda_graph_is_the_first_one_again(
    method: str, sparsity: float, make_config: Make
) -> None:
    config = config_of(make_config, method, sparsity, layers=20, channels=16, batch_size=128, lr=0.01)
    first = trained(cuda_trainer(config, "auto"), 8)
    step, weights = first.step, first.export().weights
    first.test()
    del first
    second = trained(cuda_trainer(config, "auto"), 8)
    assert second.step is step
    for name, value in second.export().weights.items():
        torch.testing.assert_close(value, weights[name], rtol=1e-2, atol=1e-3)
