"""Masks and schedules, against torch's own pruning and numbers known by hand."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils import prune

from configs.errors import RunError, UsageError
from models.registry import build_model
from pruning.schedule import cubic_sparsity
from pruning.sparsity import measure_sparsity
from pruning.weights import FlatWeights, magnitude_mask, prunable_weights


@pytest.mark.parametrize("sparsity", [0.0, 0.3, 0.5, 0.9, 0.95])
def test_mask_equals_torch_global_unstructured(sparsity: float) -> None:
    torch.manual_seed(0)
    model = build_model("resnet", 8, 1, 3, 10)
    flat = FlatWeights(model)
    ours = flat.by_name(magnitude_mask(flat.values, sparsity))
    reference = build_model("resnet", 8, 1, 3, 10)
    reference.load_state_dict(model.state_dict())
    convolutions = [(m, "weight") for m in reference.modules() if isinstance(m, nn.Conv2d)]
    prune.global_unstructured(convolutions, pruning_method=prune.L1Unstructured, amount=sparsity)
    names = [name for name, module in reference.named_modules() if isinstance(module, nn.Conv2d)]
    for name, (module, _) in zip(names, convolutions, strict=True):
        mask = module.weight_mask
        assert isinstance(mask, Tensor), name
        assert torch.equal(ours[f"{name}.weight"], mask), name


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=40), st.floats(0, 0.99))
@settings(max_examples=100, deadline=None)
def test_mask_removes_exactly_the_count_even_with_ties(values: list[int], sparsity: float) -> None:
    weights = torch.tensor(values, dtype=torch.float32)
    mask = magnitude_mask(weights, sparsity)
    assert int((mask == 0).sum()) == round(sparsity * len(values))
    if 0 < mask.sum() < len(values):
        assert weights.abs()[mask == 0].max() <= weights.abs()[mask == 1].min()


def test_ties_are_broken_by_position() -> None:
    assert magnitude_mask(torch.tensor([1.0, -1.0, 1.0, 1.0]), 0.5).tolist() == [0, 0, 1, 1]


def test_flat_views_share_memory_and_keep_every_value() -> None:
    model = build_model("resnet", 8, 1, 1, 10)
    before = {name: weight.detach().clone() for name, weight in prunable_weights(model).items()}
    flat = FlatWeights(model)
    for name, weight in prunable_weights(model).items():
        assert torch.equal(weight, before[name])
    flat.values.mul_(2.0)
    for name, weight in prunable_weights(model).items():
        assert torch.equal(weight, before[name] * 2)
        assert weight.is_contiguous(memory_format=torch.channels_last)


class Mixed(nn.Module):
    """A convolution, a hidden linear layer and a classifier, which is not the last to be used."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 3)
        self.norm = nn.BatchNorm2d(3)
        self.hidden = nn.Linear(3, 5)
        self.classifier = nn.Linear(5, 4)


def test_masks_on_linear_layers_equal_torchs() -> None:
    torch.manual_seed(0)
    model, reference = Mixed(), Mixed()
    reference.load_state_dict(model.state_dict())
    flat = FlatWeights(model, "all")
    assert flat.names == ("conv.weight", "hidden.weight")
    ours = flat.by_name(magnitude_mask(flat.values, 0.6))
    layers = [(reference.conv, "weight"), (reference.hidden, "weight")]
    prune.global_unstructured(layers, pruning_method=prune.L1Unstructured, amount=0.6)
    for name, (module, _) in zip(flat.names, layers, strict=True):
        mask = module.weight_mask
        assert isinstance(mask, Tensor)
        assert torch.equal(ours[name], mask), name


def test_a_linear_layer_is_a_view_of_the_flat_weights() -> None:
    model = Mixed()
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    flat = FlatWeights(model, "all")
    assert torch.equal(flat.values[-15:], before["hidden.weight"].flatten())
    flat.values.mul_(2.0)
    assert torch.equal(model.hidden.weight, before["hidden.weight"] * 2)
    assert torch.equal(model.conv.weight, before["conv.weight"] * 2)
    assert torch.equal(model.classifier.weight, before["classifier.weight"])
    model.hidden(torch.ones(1, 3)).sum().backward()
    assert torch.equal(flat.grad, torch.cat([torch.zeros(54), torch.ones(15)]))


@pytest.mark.parametrize("arch", ["resnet", "resnet18", "vgg16"])
def test_convolutions_stand_in_the_order_they_always_had(arch: str) -> None:
    """Ties are broken by it, and checkpoints hold flat vectors; these networks' only linear layer is the classifier."""
    with torch.device("meta"):
        named = {choice: prunable_weights(build_model(arch, None, None, 3, 10), choice) for choice in ("conv", "all")}
    assert list(named["conv"]) == list(named["all"])
    model = build_model("resnet", 8, 1, 3, 10)
    parts = [module.weight.permute(0, 2, 3, 1).flatten() for module in model.modules() if isinstance(module, nn.Conv2d)]
    assert torch.equal(FlatWeights(model, "all").values, torch.cat(parts).detach())


def test_a_network_without_a_prunable_layer_is_refused() -> None:
    with pytest.raises(
        UsageError, match=r"argument --prune-layers: with conv the network has no convolution.*give all"
    ):
        FlatWeights(build_model("mlp", 2, None, 4, 3))
    with pytest.raises(UsageError, match="with all the network has no convolution and no linear layer but its classif"):
        FlatWeights(nn.Sequential(nn.Linear(4, 3)), "all")


def test_resnet20_has_270256_prunable_weights() -> None:
    assert FlatWeights(build_model("resnet", 20, 1, 3, 10)).values.numel() == 270_256


@pytest.mark.parametrize(("share", "value"), [(0.25, 0.5203), (0.5, 0.7875), (0.75, 0.8859), (1.0, 0.9)])
def test_cubic_schedule_published_values(share: float, value: float) -> None:
    assert cubic_sparsity(0.9, round(1000 * share), 1000) == pytest.approx(value, abs=5e-5)


def test_cubic_schedule_edges() -> None:
    assert cubic_sparsity(0.9, 0, 1000) == 0.0
    assert cubic_sparsity(0.9, 0, 0) == 0.9
    assert cubic_sparsity(0.9, 5000, 1000) == 0.9


def test_report_counts_zeros_and_refuses_a_cut_layer() -> None:
    parameters = {"a": torch.tensor([0.0, 1.0, 0.0, 2.0]), "bias": torch.tensor([0.0, 1.0])}
    report = measure_sparsity(parameters, ("a",))
    assert (report.sparsity, report.sparsity_all_parameters) == (0.5, 0.5)
    assert (report.parameters, report.prunable_parameters) == (6, 4)
    with pytest.raises(RunError, match="layer a is at sparsity"):
        measure_sparsity({"a": torch.zeros(3), "bias": torch.ones(1)}, ("a",))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_takes_the_same_mask() -> None:
    weights = torch.randn(5000, generator=torch.Generator().manual_seed(0)).round(decimals=2)
    for sparsity in (0.001, 0.5, 0.9, 1.0):
        assert torch.equal(magnitude_mask(weights.cuda(), sparsity).cpu(), magnitude_mask(weights, sparsity))
