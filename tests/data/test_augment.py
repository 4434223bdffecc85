"""Batched augmentation against a loop over pictures, and the eighteen query views."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from configs.errors import UsageError
from configs.limits import AUGMENTATIONS, MAX_QUERIES, MIRRORED
from data.augment import Augmenter, padding, query_views

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)


def augmented(augmenter: Augmenter, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """One batch with draws of its own, as the training loop makes them."""
    return augmenter.apply(images, augmenter.draw(len(images), generator).to(images.device))


def pictures(count: int = 64, channels: int = 3, size: int = 32) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (count, channels, size, size), dtype=torch.uint8, generator=generator)


def one_by_one(images: Tensor, draws: Tensor, pad: int, mirror: bool) -> Tensor:
    """What the batched code has to give: pad, cut and mirror picture by picture."""
    size, starts = images.shape[-1], 2 * pad + 1
    out = np.zeros_like(images.numpy())
    for picture, (row, column), target in zip(images.numpy(), draws.T.tolist(), out, strict=True):
        padded = np.pad(picture, ((0, 0), (pad, pad), (pad, pad)))
        top, left = row % starts, column % starts
        cut = padded[:, top : top + size, left : left + size]
        target[:] = cut[:, :, ::-1] if mirror and column >= starts else cut
    return torch.from_numpy(out)


def normalised(images: Tensor) -> Tensor:
    shape = (1, 3, 1, 1)
    return ((images.double() / 255 - torch.tensor(MEAN).view(shape)) / torch.tensor(STD).view(shape)).float()


@pytest.mark.parametrize("size", [4, 8, 17, 32])
@pytest.mark.parametrize("mode", ["standard", "crop", "flip"])
def test_batch_equals_loop(mode: str, size: int) -> None:
    images = pictures(size=size)
    augmenter = Augmenter(mode, MEAN, STD, size, "cpu")
    draws = augmenter.draw(len(images), torch.Generator().manual_seed(0))
    batch = augmented(augmenter, images, torch.Generator().manual_seed(0))
    wanted = one_by_one(images, draws, 0 if mode == "flip" else padding(size), mode in MIRRORED)
    assert torch.equal(augmenter.crop_and_flip(images, draws), wanted)
    assert torch.allclose(batch, normalised(wanted), atol=1e-6)


@pytest.mark.parametrize("mode", AUGMENTATIONS)
def test_output_form_and_untouched_input(mode: str) -> None:
    images = pictures()
    before = images.clone()
    batch = augmented(Augmenter(mode, MEAN, STD, 32, "cpu"), images, torch.Generator().manual_seed(0))
    assert batch.dtype == torch.float32
    assert batch.shape == images.shape
    assert batch.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(images, before)


def test_none_is_normalisation() -> None:
    images = pictures()
    generator = torch.Generator().manual_seed(0)
    state = generator.get_state()
    augmenter = Augmenter("none", MEAN, STD, 32, "cpu")
    assert torch.allclose(augmented(augmenter, images, generator), normalised(images), atol=1e-6)
    assert torch.equal(generator.get_state(), state)


def test_only_the_generator_decides() -> None:
    images = pictures()
    augmenter = Augmenter("standard", MEAN, STD, 32, "cpu")
    first = augmented(augmenter, images, torch.Generator().manual_seed(3))
    torch.manual_seed(99)
    assert torch.equal(first, augmented(augmenter, images, torch.Generator().manual_seed(3)))
    assert not torch.equal(first, augmented(augmenter, images, torch.Generator().manual_seed(4)))


def test_all_crops_and_both_directions_are_equally_frequent() -> None:
    augmenter = Augmenter("standard", (0.0,), (1.0,), 8, "cpu")
    spot = torch.zeros(1, 1, 8, 8, dtype=torch.uint8)
    spot[0, 0, 4, 2] = 255
    count = 18_000
    draws = augmenter.draw(count, torch.Generator().manual_seed(0))
    moved = augmenter.crop_and_flip(spot.expand(count, -1, -1, -1), draws).flatten(1).argmax(dim=1)
    places = torch.bincount(moved, minlength=64).view(8, 8)
    assert int((places > 0).sum()) == 18
    assert float((places[places > 0] / count - 1 / 18).abs().max()) < 0.01


def test_border_is_black_before_normalisation() -> None:
    images = torch.full((200, 3, 32, 32), 255, dtype=torch.uint8)
    batch = augmented(Augmenter("standard", MEAN, STD, 32, "cpu"), images, torch.Generator().manual_seed(0))
    assert torch.allclose(batch.amin(dim=(0, 2, 3)), -torch.tensor(MEAN) / torch.tensor(STD))


def test_channels_last_input_gives_the_same() -> None:
    images = pictures()
    augmenter = Augmenter("standard", MEAN, STD, 32, "cpu")
    other = augmented(augmenter, images.contiguous(memory_format=torch.channels_last), torch.Generator().manual_seed(0))
    assert torch.equal(other, augmented(augmenter, images, torch.Generator().manual_seed(0)))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_device_gives_what_the_cpu_gives() -> None:
    images = pictures()
    on_cpu = augmented(Augmenter("standard", MEAN, STD, 32, "cpu"), images, torch.Generator().manual_seed(0))
    augmenter = Augmenter("standard", MEAN, STD, 32, "cuda")
    on_gpu = augmented(augmenter, images.cuda(), torch.Generator().manual_seed(0))
    assert torch.allclose(on_gpu.cpu(), on_cpu, atol=1e-6)
    native = augmented(augmenter, images.cuda(), torch.Generator("cuda").manual_seed(0))
    assert native.is_contiguous(memory_format=torch.channels_last)


def test_unknown_mode() -> None:
    with pytest.raises(UsageError, match="--augment cutout: unknown; allowed: standard, crop, flip, none"):
        Augmenter("cutout", MEAN, STD, 32, "cpu")


def test_query_views_by_hand() -> None:
    picture = torch.arange(1, 17, dtype=torch.uint8).view(1, 1, 4, 4)
    assert torch.equal(query_views(picture, 0), picture)
    assert query_views(picture, 1)[0, 0, 0].tolist() == [4, 3, 2, 1]
    up_left = query_views(picture, 2)[0, 0]
    assert up_left.tolist() == [[6, 7, 8, 0], [10, 11, 12, 0], [14, 15, 16, 0], [0, 0, 0, 0]]
    assert query_views(picture, 3)[0, 0, 0].tolist() == [7, 6, 5, 0]
    down = query_views(picture, 14)[0, 0]
    assert down.tolist() == [[0, 0, 0, 0], [1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12]]


def test_query_views_are_eighteen_different_ones() -> None:
    images = pictures(2)
    views = [query_views(images, query) for query in range(MAX_QUERIES)]
    assert MAX_QUERIES == 18
    assert all(view.shape == images.shape and view.dtype == torch.uint8 for view in views)
    assert len({view.numpy().tobytes() for view in views}) == MAX_QUERIES
    assert torch.equal(views[0], pictures(2))


@pytest.mark.parametrize("query", range(2, MAX_QUERIES))
def test_query_shifts_by_an_eighth(query: int) -> None:
    images = pictures(2)
    offsets = [(dy, dx) for dy in (-4, 0, 4) for dx in (-4, 0, 4) if dy or dx]
    dy, dx = offsets[(query - 2) // 2]
    source = np.pad((images.flip(3) if query % 2 else images).numpy(), ((0, 0), (0, 0), (4, 4), (4, 4)))
    wanted = source[:, :, 4 - dy : 36 - dy, 4 - dx : 36 - dx]
    assert np.array_equal(query_views(images, query).numpy(), wanted)


@pytest.mark.parametrize("query", [-1, MAX_QUERIES])
def test_query_out_of_range(query: int) -> None:
    with pytest.raises(ValueError, match="0 to 17"):
        query_views(pictures(1), query)
