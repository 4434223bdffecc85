"""The networks: sizes known from elsewhere, shapes, initial weights, and what is refused."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from configs.errors import UsageError
from models import registry
from models.registry import ARCHITECTURES, build_model, completed, other_channels


def parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def on_meta(
    arch: str, layers: int | None = None, width_mult: int | None = None, inputs: int = 3, classes: int = 10
) -> nn.Module:
    with torch.device("meta"):
        return build_model(arch, layers, width_mult, inputs, classes)


@pytest.mark.parametrize(
    ("layers", "count"),
    [(8, 78_042), (14, 175_258), (20, 272_474), (32, 466_906), (44, 661_338), (56, 855_770), (110, 1_730_714)],
)
def test_resnet_parameters(layers: int, count: int) -> None:
    assert parameters(on_meta("resnet", layers, 1)) == count


@pytest.mark.parametrize(
    ("layers", "width_mult", "count"),
    [
        (16, 4, 2_748_890),
        (22, 2, 1_079_642),
        (28, 2, 1_467_610),
        (28, 4, 5_849_050),
        (28, 8, 23_354_842),
        (28, 10, 36_479_194),
    ],
)
def test_wideresnet_parameters(layers: int, width_mult: int, count: int) -> None:
    assert parameters(on_meta("wideresnet", layers, width_mult)) == count


def test_resnet18_parameters() -> None:
    model = on_meta("resnet18")
    assert parameters(model) == 11_173_962
    convolutions = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    assert len(convolutions) == 17 + 3
    assert (convolutions[0].kernel_size, convolutions[0].stride) == ((3, 3), (1, 1))
    assert not any(isinstance(module, nn.MaxPool2d) for module in model.modules())


def test_vgg16_parameters() -> None:
    model = on_meta("vgg16")
    assert parameters(model) == 14_724_042
    kinds = [sum(isinstance(module, kind) for module in model.modules()) for kind in (nn.Conv2d, nn.BatchNorm2d)]
    assert kinds == [13, 13]
    (head,) = (module for module in model.modules() if isinstance(module, nn.Linear))
    assert (head.in_features, head.out_features) == (512, 10)


def test_pooling_loses_nothing_of_a_picture_of_32_pixels() -> None:
    """Up to 32 pixels and powers of two the maximum is over 2x2 pixels; a border counts for pictures of other sizes."""
    pools = nn.Sequential(*(module for module in on_meta("vgg16").modules() if isinstance(module, nn.MaxPool2d)))
    for size, left in ((32, 1), (64, 2), (8, 1), (4, 1), (17, 1)):
        assert pools(torch.zeros(1, 1, size, size)).shape[2:] == (left, left)
    picture = torch.randn(1, 1, 32, 32)
    assert torch.equal(pools(picture), picture.amax(dim=(2, 3), keepdim=True))
    picture = torch.zeros(1, 1, 17, 17)
    picture[0, 0, 16, 16] = 1
    assert pools(picture).item() == 1


@pytest.mark.parametrize(
    ("layers", "width_mult", "hidden", "count"),
    [
        (5, 1, [1024, 512, 256, 128], 1_317_348),
        (3, 1, [256, 128], 199_652),
        (2, 1, [128], 89_828),
        (2, 3, [384], 600 * 384 + 384 + 384 * 100 + 100),
        (7, 1, [1024, 1024, 1024, 512, 256, 128], 1_317_348 + 2 * (1024 * 1024 + 1024)),
    ],
)
def test_mlp_on_purchase100(layers: int, width_mult: int, hidden: list[int], count: int) -> None:
    model = on_meta("mlp", layers, width_mult, inputs=600, classes=100)
    linear = [module for module in model.modules() if isinstance(module, nn.Linear)]
    assert [module.in_features for module in linear] == [600, *hidden]
    assert parameters(model) == count


def test_what_a_network_is_told_of_its_examples() -> None:
    assert ARCHITECTURES["resnet18"].inputs_of((3, 32, 32)) == 3
    assert ARCHITECTURES["mlp"].inputs_of((3, 32, 32)) == 3072
    assert ARCHITECTURES["mlp"].inputs_of((64,)) == 64
    assert ARCHITECTURES["mlp"].arguments(3, 1, 64, 10) == {
        **{"layers": 3, "width_mult": 1},
        **{"in_features": 64, "num_classes": 10},
    }


def test_convolution_weights_of_resnet20() -> None:
    convolutions = [module for module in on_meta("resnet", 20, 1).modules() if isinstance(module, nn.Conv2d)]
    assert sum(convolution.weight.numel() for convolution in convolutions) == 270_256
    assert all(convolution.bias is None for convolution in convolutions)
    assert len(convolutions) == 19 + 2


@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize(
    ("channels", "size", "classes"), [(1, 4, 2), (1, 8, 10), (3, 17, 7), (1, 28, 10), (3, 32, 100)]
)
def test_any_input(arch: str, channels: int, size: int, classes: int) -> None:
    entry = ARCHITECTURES[arch]
    smallest = entry.depths[0] if entry.layers is not None else None
    inputs = entry.inputs_of((channels, size, size))
    model = on_meta(arch, smallest, entry.width_mult and 1, inputs, classes)
    assert model(torch.zeros(2, channels, size, size, device="meta")).shape == (2, classes)


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_defaults_are_allowed_and_the_seed_decides(arch: str) -> None:
    models = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        models.append(build_model(arch, None, None, 3, 10).state_dict())
    assert all(torch.equal(models[0][name], models[1][name]) for name in models[0])
    assert not all(torch.equal(models[0][name], models[2][name]) for name in models[0])


@pytest.mark.parametrize(("arch", "layers"), [("resnet", 20), ("wideresnet", 16)])
def test_initial_weights(arch: str, layers: int) -> None:
    torch.manual_seed(0)
    for module in build_model(arch, layers, 2, 3, 10).modules():
        if isinstance(module, nn.Conv2d) and module.weight.numel() > 4000:
            fan_out = module.out_channels * module.kernel_size[0] * module.kernel_size[1]
            assert float(module.weight.detach().std()) == pytest.approx((2 / fan_out) ** 0.5, rel=0.05)
        elif isinstance(module, nn.BatchNorm2d):
            assert torch.all(module.weight == 1)
            assert torch.all(module.bias == 0)


@pytest.mark.parametrize("arch", ["resnet", "wideresnet"])
def test_channels_of_the_first_stage_scale_every_width(arch: str) -> None:
    layers, _ = completed(arch, None, None)
    whole, half = (build_model(arch, layers, 1, 3, 10, channels).state_dict() for channels in (None, 8))
    assert whole["conv1.weight"].shape[0] == 16
    for name, tensor in half.items():
        for size, other in zip(tensor.shape, whole[name].shape, strict=True):
            assert size in (other // 2, other)
    assert half["linear.weight"].shape == (10, 32)


def test_width_multiplies_resnet() -> None:
    model = build_model("resnet", 8, 2, 3, 10)
    assert model.state_dict()["conv1.weight"].shape[0] == 32
    assert model.state_dict()["linear.weight"].shape == (10, 128)


@pytest.mark.parametrize("layers", [-4, 0, 2, 7, 9, 18, 52])
def test_resnet_depth(layers: int) -> None:
    with pytest.raises(UsageError, match=rf"--layers {layers}: resnet needs 6n\+2: 8, 14, 20"):
        build_model("resnet", layers, 1, 3, 10)


@pytest.mark.parametrize("layers", [-2, 0, 4, 8, 20, 27])
def test_wideresnet_depth(layers: int) -> None:
    with pytest.raises(UsageError, match=rf"--layers {layers}: wideresnet needs 6n\+4: 10, 16, 22, 28"):
        build_model("wideresnet", layers, 2, 3, 10)


@pytest.mark.parametrize("arch", [arch for arch, entry in ARCHITECTURES.items() if entry.width_mult is not None])
@pytest.mark.parametrize("width_mult", [0, -1])
def test_width_range(arch: str, width_mult: int) -> None:
    with pytest.raises(UsageError, match=f"--width-mult {width_mult}: out of range; allowed: 1 and above"):
        completed(arch, None, width_mult)


def test_unknown_architecture() -> None:
    with pytest.raises(UsageError, match="--arch vgg: unknown architecture; allowed: "):
        build_model("vgg", 16, 1, 3, 10)


def test_family_without_a_choice_of_depth_and_width(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.ARCHITECTURES, "plain", registry.Architecture(f"{__name__}:plain", "one layer"))
    assert completed("plain", None, None) == (None, None)
    assert parameters(build_model("plain", None, None, 3, 10)) == 40
    with pytest.raises(UsageError, match="--layers 18: resnet18 has one depth; leave the flag out"):
        completed("resnet18", 18, None)
    with pytest.raises(UsageError, match="--layers 1: mlp needs 2, 3, 4, 5, "):
        completed("mlp", 1, None)
    with pytest.raises(UsageError, match="--layers 8: plain has one depth; leave the flag out"):
        completed("plain", 8, None)
    with pytest.raises(UsageError, match="--width-mult 2: plain has one width; leave the flag out"):
        completed("plain", None, 2)
    assert other_channels("plain", None) is None
    with pytest.raises(UsageError, match="--channels 8: plain has no choice of them"):
        other_channels("plain", 8)


def plain(in_channels: int, num_classes: int) -> nn.Module:
    return nn.Linear(in_channels, num_classes)
