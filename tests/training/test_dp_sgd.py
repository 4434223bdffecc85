"""DP-SGD: clipping and noise by hand, its batches, its noise by a formula of its own, its resume, and its cells."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from attacks.epsilon import DELTA
from configs.errors import UsageError
from configs.experiment import ExperimentConfig
from configs.streams import NOISE_STREAM, stream_seed
from data.inputs import open_data, open_split
from evaluation.pairing import pairs
from models.group_norm import group_normed, groups_of
from models.registry import ARCHITECTURES, build_model
from pruning.dp_sgd import DPSGD
from reporting.epsilon import epsilon_sentences
from reporting.frames import to_frame
from reporting.style import cell_label, method_colour
from reporting.tables import CELLS_COLUMNS
from reporting.verdicts import comparison
from sweep.plan import resolve
from tests.cli.scripts import EXPERIMENT, TINY, TRAIN, call
from tests.evaluation.asked_cells import asked
from tests.reporting.reporting_examples import cell, compared
from tests.training.interruptions import Interruption
from training.loop import Trainer
from training.private import PrivateStep, noise_multiplier

Make = Callable[..., ExperimentConfig]
needed = pytest.mark.skipif(importlib.util.find_spec("opacus") is None, reason="opacus is not installed")


@pytest.fixture
def without_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether or not it is installed."""
    there = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *_: None if name == "opacus" else there(name))


@pytest.fixture
def with_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """As far as a plan asks."""
    there = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *_: object() if name == "opacus" else there(name))


def trainer_of(config: ExperimentConfig) -> Trainer:
    data, _ = open_data(config, "datasets")
    split = open_split(config, data)
    return Trainer(config, data, split.pool[split.members(config.model_index)], torch.device("cpu"))


def by_hand(trainer: Trainer, batch: Tensor, clip: float, noise: float, expected: int) -> dict[str, Tensor]:
    """Algorithm 1 of Abadi et al., an example at a time: the gradient of every parameter."""
    model = trainer.model
    sums = {name: torch.zeros_like(value) for name, value in model.named_parameters()}
    for position in batch:
        inputs = trainer.augmenter.normalise(trainer.images[position][None])
        loss = functional.cross_entropy(model(inputs), trainer.labels[position][None])
        found = torch.autograd.grad(loss, list(model.parameters()))
        norm = math.sqrt(sum(float((one.double() ** 2).sum()) for one in found))
        for name, one in zip(sums, found, strict=True):
            sums[name] += one * min(1.0, clip / norm)
    generator = torch.Generator().manual_seed(stream_seed(trainer.config, NOISE_STREAM, trainer.step_count))
    return {
        name: (value + torch.normal(0.0, noise * clip, value.shape, generator=generator)) / expected
        for name, value in sums.items()
    }


def gradients(trainer: Trainer, batch: Tensor) -> dict[str, Tensor]:
    trainer.pruner.before_forward(trainer.step_count)
    inputs = trainer.augmenter.normalise(trainer.images[batch])
    trainer.step.backward(inputs, trainer.labels[batch])
    found = {name: parameter.grad for name, parameter in trainer.model.named_parameters()}
    return {name: value for name, value in found.items() if value is not None}


@needed
@pytest.mark.parametrize(("arch", "layers"), [("mlp", 2), ("resnet", 8)])
@pytest.mark.parametrize("clip", [0.5, 100.0])
def test_clipping_and_noise_are_those_of_the_algorithm(arch: str, layers: int, clip: float, make_config: Make) -> None:
    """With a norm that cuts every example's gradient, and one that cuts none; the ResNet is in channels_last."""
    trainer = trainer_of(make_config(method="dp_sgd", arch=arch, layers=layers, clip_norm=clip))
    trainer.step_count = 3  # the noise is that of the step
    step = trainer.step
    assert isinstance(step, PrivateStep)
    members = len(trainer.members)
    noise = noise_multiplier(8.0, 1e-5, 32 / members, trainer.total_steps)
    batch = torch.tensor([4, 0, 7])
    expected = by_hand(trainer, batch, clip, noise, expected=32)
    found = gradients(trainer, batch)
    assert set(found) == set(expected)
    for name, value in expected.items():
        assert torch.allclose(found[name], value, atol=1e-5 * clip), name
    flat = trainer.pruner.weights
    for name, view in zip(flat.names, flat.views(flat.grad), strict=True):  # what the optimiser reads
        assert torch.equal(view, found[name])


@needed
def test_a_batch_of_nobody_is_a_step_of_noise(make_config: Make) -> None:
    trainer = trainer_of(make_config(method="dp_sgd", epsilon=2.0))
    nobody = torch.empty(0, dtype=torch.int64)
    noise = noise_multiplier(2.0, 1e-5, 32 / len(trainer.members), trainer.total_steps)
    expected = by_hand(trainer, nobody, 1.0, noise, 32)
    found = gradients(trainer, nobody)
    for name, value in expected.items():
        assert torch.allclose(found[name], value, atol=1e-7), name
    loss, hits = trainer.train_step(nobody, 0.1, torch.empty(2, 0, dtype=torch.int64))
    assert (float(loss), int(hits)) == (0.0, 0)


@needed
def test_batches_are_poisson_samples(make_config: Make) -> None:
    """Each member enters each batch with one chance, on its own: sizes vary as a binomial number does."""
    trainer = trainer_of(make_config(method="dp_sgd", arch="mlp", layers=2))
    generator = torch.Generator().manual_seed(0)
    batches = [batch for _ in range(500) for batch in trainer.batches(generator)]
    members = len(trainer.members)
    assert len(batches) == 500 * trainer.steps_per_epoch == 1000
    rate = 32 / members
    sizes = np.array([len(batch) for batch in batches])
    counts = np.bincount(torch.cat(batches).numpy(), minlength=members)
    assert len(counts) == members
    assert all(len(set(batch.tolist())) == len(batch) for batch in batches)
    spread = math.sqrt(members * rate * (1 - rate))
    assert abs(sizes.mean() - members * rate) < 4 * spread / math.sqrt(len(sizes))
    assert abs(sizes.std() / spread - 1) < 0.1
    assert (abs(counts - 1000 * rate) < 5 * math.sqrt(1000 * rate * (1 - rate))).all()


@needed
@pytest.mark.parametrize(("epsilon", "delta", "steps"), [(8.0, 1e-5, 40), (0.5, 1e-5, 40), (30.0, 1e-3, 7)])
def test_the_noise_is_what_a_formula_of_the_gaussian_mechanism_asks_for(
    epsilon: float, delta: float, steps: int
) -> None:
    """Of batches of everybody the Rényi divergence of order a is a steps / (2 noise^2) (Mironov 2017, corollary 3); the
    step from there to epsilon is proposition 12 of Canonne, Kamath & Steinke 2020."""

    def reached(noise: float) -> float:
        orders = np.concatenate([np.arange(2, 64), [80, 96, 128, 192, 256, 384, 512]]).astype(float)
        divergence = orders * steps / (2 * noise**2)
        return float((divergence + np.log1p(-1 / orders) - (math.log(delta) + np.log(orders)) / (orders - 1)).min())

    noise = noise_multiplier(epsilon, delta, 1.0, steps)
    assert 0.998 * epsilon < reached(noise) <= epsilon * (1 + 1e-9)


@needed
def test_more_steps_larger_batches_and_less_epsilon_take_more_noise() -> None:
    first = noise_multiplier(8.0, 1e-5, 0.1, 100)
    others = [(8.0, 1e-5, 0.1, 200), (8.0, 1e-5, 0.2, 100), (4.0, 1e-5, 0.1, 100), (8.0, 1e-6, 0.1, 100)]
    assert all(noise_multiplier(*one) > first for one in others)


@needed
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_resume_in_an_epoch_gives_the_same_bytes(precision: str, make_config: Make) -> None:
    config = make_config(method="dp_sgd", epochs=2, batch_size=20, augment="standard", precision=precision)
    straight, first, second = (trainer_of(config) for _ in range(3))
    last = straight.steps_per_epoch + 1
    straight.run_epoch()
    straight.close_epoch()
    straight.run_epoch()

    def stop() -> None:
        if first.step_count == last:
            raise Interruption

    first.run_epoch(stop)
    first.close_epoch()
    with pytest.raises(Interruption):
        first.run_epoch(stop)
    second.load_state_dict(first.state_dict())
    row = second.run_epoch()
    assert straight.row is not None
    assert row["train_loss"] == straight.row["train_loss"]
    assert 0 <= row["train_accuracy"] <= 1
    for name, value in straight.model.state_dict().items():
        assert torch.equal(value, second.model.state_dict()[name]), name


@needed
def test_an_exported_network_is_loaded_by_its_cards_lines(tmp_path: Path) -> None:
    flags = ["--prune", "--prune-method", "dp_sgd", "--epsilon", "4", "--epochs", "1", "--num-shadows", "1", "--export"]
    assert call(EXPERIMENT, [*TINY, *flags, "--runs-dir", str(tmp_path), "--quiet"]) == 0
    folder = tmp_path / "dp_sgd/synthetic"
    card = (folder / "export/MODEL_CARD.md").read_text(encoding="utf-8")
    assert "trained by DP-SGD for (epsilon, delta)-differential privacy with epsilon 4 and delta 1e-05" in card
    lines = card.split("```python\n")[1].split("```")[0]
    found: dict[str, Any] = {}
    exec(lines.replace('"state_dict.pth"', repr(str(folder / "export/state_dict.pth"))), found)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in found["model"].modules())
    flags = ["--config", str(folder / "config.json"), "--runs-dir", str(tmp_path), "--skip-existing", "--dry-run"]
    assert call(EXPERIMENT, flags) == 0  # a run's own settings name that run


@pytest.mark.parametrize("arch", [name for name, entry in ARCHITECTURES.items() if not entry.tables])
def test_no_network_keeps_a_batchnorm(arch: str) -> None:
    with torch.device("meta"):
        before, model = (build_model(arch, None, None, 3, 10) for _ in range(2))
        model = group_normed(model)
    counts = [sum(isinstance(one, nn.BatchNorm2d) for one in before.modules())]
    counts += [sum(isinstance(one, nn.GroupNorm) for one in model.modules())]
    assert counts[0] == counts[1] > 0
    assert not any(isinstance(one, nn.modules.batchnorm._BatchNorm) for one in model.modules())
    assert {name: value.shape for name, value in model.named_parameters()} == {
        name: value.shape for name, value in before.named_parameters()
    }
    assert set(DPSGD.networks) == set(ARCHITECTURES)


def test_groups_divide_the_channels() -> None:
    assert [groups_of(channels) for channels in (1, 3, 6, 16, 18, 64, 512)] == [1, 1, 1, 4, 2, 16, 32]
    assert all(channels % groups_of(channels) == 0 for channels in range(1, 200))


def test_without_the_package_nothing_is_written(
    without_package: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = tmp_path / "runs"
    flags = ["--methods", "dense", "dp_sgd", "--runs-dir", str(runs), "--results-dir", str(tmp_path / "results")]
    assert call(TRAIN, [*TINY, *flags]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "--methods: dp_sgd needs the package opacus, which is not installed; pip install opacus" in line
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("changes", "knobs", "words"),
    [
        (
            {"pretrained": "start.pth"},
            {},
            "--pretrained: dp_sgd guarantees nothing for weights that were trained before",
        ),
        ({"arch": "torchvision:resnet18"}, {}, "--arch: dp_sgd needs to know what to put in the place of BatchNorm"),
        ({}, {"epsilon": 0.0}, "--epsilon: 0.0 is not allowed; give a number from 0.1 to 100"),
        ({}, {"delta": 0.5}, "--delta: 0.5 is not allowed; give a number from 1e-10 to 0.01"),
        ({}, {"clip_norm": 0.0}, "--clip-norm: 0.0 is not allowed; give a number from 1e-06 to 1e+06"),
    ],
)
def test_what_has_no_guarantee_is_refused(
    changes: dict[str, Any], knobs: dict[str, float], words: str, with_package: None
) -> None:
    with pytest.raises(UsageError) as error:
        resolve(ExperimentConfig(method="dp_sgd", dataset="synthetic", **changes), "", knobs)
    assert words in str(error.value)


def test_its_comparison_says_what_else_differs(with_package: None) -> None:
    (pair,) = pairs([asked("dense", name="d"), asked("dp_sgd", name="p")])
    assert (pair.kind, pair.a.experiment, pair.b.experiment) == ("against_dense", "p", "d")
    assert pair.differing == "batches: Poisson / shuffled; norm: GroupNorm / BatchNorm"
    table: dict[str, Any] = {"arch": "mlp", "dataset": "digits", "augment": "none"}
    (pair,) = pairs([asked("dense", **table), asked("dp_sgd", **table)])
    assert pair.differing == "batches: Poisson / shuffled"


def test_a_sentence_about_it_says_what_else_differs() -> None:
    one, dense = cell("dp_sgd", 0.0, epsilon=8.0), cell("dense", 0.0)
    labels = {row["experiment"]: cell_label(row) for row in (one, dense)}
    apart = {"differing": "batches: Poisson / shuffled", "accuracy_ci_low": None, "accuracy_ci_high": None}
    row = pd.Series(compared(one, dense, "against_dense", **apart))
    said = comparison(row, labels)
    assert said.startswith("DP-SGD epsilon 8 leaks less than Dense: AUC difference -0.050 [-0.070, -0.030]; ")
    assert said.endswith("; they differ in more than noise and clipping (batches: Poisson / shuffled).")


def test_the_report_names_it_by_its_epsilon_and_calls_out_a_bound_above_it() -> None:
    one = cell("dp_sgd", 0.0, epsilon=8.0, delta=DELTA, epsilon_lower=1.5)
    assert cell_label(one) == "DP-SGD epsilon 8"
    assert method_colour("dp_sgd") != method_colour("dense")
    labels = {one["experiment"]: cell_label(one)}

    def said(**changes: float) -> str:
        return " ".join(epsilon_sentences(to_frame([{**one, **changes}], CELLS_COLUMNS), "Bayes LiRA", labels))

    wrong = "Something is wrong with DP-SGD epsilon 8: it is guaranteed an epsilon of 8, and the lower bound is 9.5."
    assert wrong in said(epsilon_lower=9.5)
    assert "Something is wrong" not in said()
    assert "Something is wrong" not in said(epsilon_lower=9.5, delta=1e-3)  # the bound is at another delta


def test_its_losses_are_not_traced(with_package: None, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    argv = [*TINY, "--methods", "dense", "dp_sgd", "--trace-losses", "--runs-dir", str(tmp_path / "runs")]
    assert call(TRAIN, argv) == 2
    assert "argument --trace-losses: dp_sgd draws its batches by chance" in capfd.readouterr().err
    assert not (tmp_path / "runs").exists()
