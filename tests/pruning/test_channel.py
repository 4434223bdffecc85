"""Channel pruning: which channels go, by hand and against plain Python, and that the smaller network is the same."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from artifacts.checkpoint import TrainedModel, load_model
from configs.errors import UsageError
from data.inputs import open_data
from models.flops import layer_flops
from models.registry import ARCHITECTURES, build_model
from pruning.base import Pruner
from pruning.channel import ChannelPruner
from pruning.narrow import channels_of, fitted, kept_channels, with_channels
from pruning.registry import build_pruner
from pruning.weights import prunable_weights
from sweep.plan import with_start
from tests.pruning.one_layer import config_of
from tests.training.interruptions import Make, train
from training.narrowed import narrowed
from training.networks import blank_model, new_model


class Two(nn.Module):
    """A convolution of four filters with one weight each, which a second one with three reads."""

    removable = (("conv", "norm", "reader"),)

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.reader = nn.Conv2d(1, 4, 1, bias=False), nn.BatchNorm2d(4), nn.Conv2d(4, 3, 1)
        with torch.no_grad():
            self.conv.weight.copy_(torch.tensor([0.3, -4.0, 0.1, 2.0]).view(4, 1, 1, 1))
            self.norm.bias.fill_(1.0)

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.reader(self.norm(self.conv(x)).relu())
        return answer


def attached(model: nn.Module, sparsity: float, steps: int = 1, **knobs: object) -> tuple[Pruner, torch.optim.SGD]:
    pruner = build_pruner(config_of("channel", sparsity, **knobs), steps)
    leaf = pruner.attach(model)
    others = [value for name, value in model.named_parameters() if name not in pruner.weights.names]
    pruner.optimizer = torch.optim.SGD([leaf, *others], lr=0.1, momentum=0.5, weight_decay=0.01)
    return pruner, pruner.optimizer


def test_by_hand() -> None:
    """A channel is four weights of 16: one, and three that read it. Of 6.4 weights, hence 6, one and two channels are
    as far, and the fewer go; to 7.2, hence 7, two are nearer. The largest stays."""
    for sparsity, gone in ((0.4, [2]), (0.45, [0, 2]), (0.9, [0, 2, 3]), (0.0, [])):
        model = Two()
        pruner, _ = attached(model, sparsity, prune_epoch=0)
        pruner.before_forward(0)
        left = [float(position not in gone) for position in range(4)]
        assert model.conv.weight.flatten().ne(0).tolist() == [bool(one) for one in left]
        assert pruner.weights.by_name(pruner.mask)["reader.weight"].tolist() == [[[[one]] for one in left]] * 3
        assert (model.norm.weight.tolist(), model.norm.bias.tolist()) == (left, left)
        assert pruner.sparsity() == len(gone) / 4


def test_a_channel_that_is_gone_stays_so_whatever_momentum_it_had() -> None:
    model = Two()
    pruner, optimizer = attached(model, 0.5, prune_epoch=2)
    for step in range(5):
        pruner.before_forward(step)
        optimizer.zero_grad(set_to_none=False)
        pruner.leaf.grad = pruner.weights.grad
        pictures = torch.randn(4, 1, 2, 2, generator=torch.Generator().manual_seed(step))
        (model(pictures) ** 2).mean().backward()
        pruner.after_backward()
        optimizer.step()
        pruner.after_step()
        assert (pruner.sparsity() == 0.5) == (step >= 2) == pruner.at_target(step)
    kept = pruner.kept.bool().tolist()  # type: ignore[attr-defined]
    assert sum(kept) == 2
    for value in (model.conv.weight.flatten(), model.norm.weight, model.norm.bias, model.reader.weight[0].flatten()):
        assert value.ne(0).tolist() == kept


def plain(model: nn.Module, sparsity: float, densities: str, norm: str) -> dict[str, set[int]]:
    """By convolution, the channels that go: channel by channel, every count of weights taken from a built network."""
    channels, weights = channels_of(model), dict(model.named_parameters())
    order = []
    for one in channels:
        filters = weights[f"{one.convolution}.weight"].detach()
        sizes = [float(row.abs().mean() if norm == "l1" else row.square().mean()) for row in filters]
        ranked = sorted(range(len(sizes)), key=lambda position: sizes[position])
        for rank, position in enumerate(ranked[:-1]):
            key = (rank + 0.5) / len(sizes) if densities == "uniform" else sizes[position]
            order.append((key, one.convolution, position))
    order.sort(key=lambda entry: entry[0])
    total = sum(weight.numel() for weight in prunable_weights(model).values())
    wanted = total - round(sparsity * total)
    counts = {one.convolution: len(weights[f"{one.convolution}.weight"]) for one in channels}
    shapes = {name: list(weight.shape) for name, weight in prunable_weights(model).items()}
    gone: dict[str, set[int]] = {name: set() for name in counts}
    best, nearest = {name: set(found) for name, found in gone.items()}, abs(total - wanted)
    for _, name, position in order:
        gone[name].add(position)
        for one in channels:
            if one.convolution == name:
                shapes[f"{name}.weight"][0] -= 1
                if f"{one.reader}.weight" in shapes:
                    shapes[f"{one.reader}.weight"][1] -= 1
        left = sum(torch.Size(shape).numel() for shape in shapes.values())
        if abs(left - wanted) < nearest:
            best, nearest = {key: set(found) for key, found in gone.items()}, abs(left - wanted)
    return best


CASES = [("resnet", 0.5, "uniform", "l1"), ("wideresnet", 0.8, "global", "l2"), ("resnet", 0.99, "global", "l1")]
SMALL = {"resnet": (8, 1, 4), "wideresnet": (10, 1, 4), "vgg16": (None, None, None)}


def small(arch: str) -> nn.Module:
    layers, width, channels = SMALL[arch]
    return build_model(arch, layers, width, 1, 3, channels)


@pytest.mark.parametrize(("arch", "sparsity", "densities", "norm"), CASES)
def test_the_channels_that_go_are_those_of_the_plain_implementation(
    arch: str, sparsity: float, densities: str, norm: str
) -> None:
    torch.manual_seed(0)
    model = small(arch)
    found = plain(model, sparsity, densities, norm)
    pruner, _ = attached(model, sparsity, prune_epoch=0, densities=densities, channel_norm=norm)
    pruner.before_forward(0)
    masks = pruner.weights.by_name(pruner.mask.bool())
    for one, kept in zip(channels_of(model), kept_channels(masks, channels_of(model)), strict=True):
        assert set(range(len(masks[f"{one.convolution}.weight"]))) - set(kept.tolist()) == found[one.convolution]
        assert len(kept)
    if sparsity < 0.99:
        assert pruner.sparsity() == pytest.approx(sparsity, abs=0.03)


def busy(model: nn.Module) -> nn.Module:
    """With statistics and shifts of a trained network."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.bias, std=0.3)
            nn.init.normal_(module.running_mean, std=0.3)  # type: ignore[arg-type]
            nn.init.uniform_(module.running_var, 0.5, 2.0)  # type: ignore[arg-type]
    return model


@pytest.mark.parametrize("arch", ChannelPruner.networks)
def test_the_smaller_network_gives_the_same_outputs(arch: str, make_config: Make) -> None:
    torch.manual_seed(0)
    layers = SMALL.get(arch, (None,))[0]
    config = make_config(method="channel", sparsity=0.6, arch=arch, layers=layers)
    data, _ = open_data(config, "datasets")
    model = busy(new_model(config, data))
    pruner, _ = attached(model, 0.6, prune_epoch=0)
    pruner.before_forward(0)
    masks = pruner.weights.by_name(pruner.mask.bool())
    weights = {name: value.detach().clone() for name, value in model.state_dict().items()}
    smaller = narrowed(config, data, TrainedModel(weights, masks))
    assert all(bool(mask.all()) for mask in smaller.masks.values())
    left = sum(smaller.weights[name].numel() for name in smaller.masks)
    assert left == int(pruner.mask.sum())  # nothing that is masked is stored
    other = fitted(blank_model(config, data), smaller.weights)
    other.load_state_dict(smaller.weights, assign=True)
    pictures = data.test_inputs[:8].float() / 255
    with torch.no_grad():
        ours, theirs = model.eval()(pictures), other.eval()(pictures)
    assert torch.allclose(ours, theirs, atol=1e-4, rtol=1e-4)
    assert ours.std() > 0.01
    flops = [sum(layer_flops(one, data.example_shape).values()) for one in (model, other)]
    assert flops[1] < 0.7 * flops[0]


def test_what_can_be_removed_is_known_of_these_networks_alone() -> None:
    with torch.device("meta"):
        known = [
            name for name in ARCHITECTURES if channels_of(build_model(name, None, None, 64 if name == "mlp" else 3, 10))
        ]
    assert tuple(known) == ChannelPruner.networks


def test_weights_that_do_not_belong_to_a_network_make_it_no_larger() -> None:
    model = small("resnet")
    weights = {f"{one.convolution}.weight": torch.zeros(999, 1) for one in channels_of(model)}
    weights["stage1.0.conv1.weight"] = torch.zeros(())
    weights["stage2.0.conv1.weight"] = torch.zeros(0, 1)
    del weights["stage3.0.conv1.weight"]
    widths = [len(model.get_parameter(f"{one.convolution}.weight")) for one in channels_of(model)]
    assert widths == [4, 8, 16]
    fitted(model, weights)
    assert [len(model.get_parameter(f"{one.convolution}.weight")) for one in channels_of(model)] == [4, 1, 16]


def test_other_networks_are_refused(make_config: Make) -> None:
    for change in ({"arch": "mlp", "layers": None}, {"arch": "torchvision:resnet18", "layers": None}):
        with pytest.raises(UsageError, match="--arch: channel needs to know which channels belong together"):
            make_config(method="channel", sparsity=0.5, **change)


def test_a_run_stores_the_smaller_network_and_says_its_size(make_config: Make, tmp_path: Path) -> None:
    config = make_config(method="channel", sparsity=0.5, epochs=2, prune_epoch=1)
    run = train(config, tmp_path / "run")
    summary, stored = run.read_summary(), load_model(run.model)
    data, _ = open_data(config, "datasets")
    full = new_model(config, data)
    parameters = [name for name, _ in full.named_parameters()]
    assert summary["parameters"] == sum(value.numel() for value in full.parameters())
    left = sum(stored.weights[name].numel() for name in parameters)
    assert left == round(summary["parameters"] * (1 - summary["sparsity_all_parameters"]))
    kept = sum(mask.numel() for mask in stored.masks.values())
    assert 1 - kept / summary["prunable_parameters"] == pytest.approx(summary["measured_sparsity"])
    assert summary["measured_sparsity"] == pytest.approx(0.5, abs=0.01)
    assert all(bool((stored.weights[name] != 0).any(dim=(1, 2, 3)).all()) for name in stored.masks)
    dense = sum(layer_flops(full, data.example_shape).values())
    assert summary["flops_dense"] == dense
    smaller = fitted(new_model(config, data), stored.weights)
    assert summary["flops"] == sum(layer_flops(smaller, data.example_shape).values()) < 0.7 * dense
    with pytest.raises(UsageError, match=r"--pretrained: .* was pruned by channel and lacks channels of the network"):
        with_start(make_config(method="dense", pretrained=str(run.path)))
    assert with_channels(smaller, [torch.tensor([0])] * 3).get_parameter("stage3.0.conv2.weight").shape[1] == 1
