"""Whole batches from uint8 to network input, on the device that holds them: augmentation, normalisation, queries."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from configs.errors import UsageError
from configs.limits import AUGMENTATIONS, MAX_QUERIES, MIRRORED
from data.base import DataSet, ImageData


def padding(image_size: int) -> int:
    """How far a picture is shifted at most, in pixels: 4 of 32, as is usual for CIFAR; in proportion, at least 1."""
    return max(1, image_size // 8)


class Augmenter:
    """uint8 batches [B, C, H, H] to normalised float32 batches in channels_last, without a host synchronisation.

    `standard` is a random crop out of the picture with a black border of `padding(H)` pixels (zero before the
    normalisation, as torchvision's RandomCrop pads pictures) and a horizontal flip with probability 1/2;
    `crop` and `flip` are one of the two alone; `none` only normalises. Flip and crop are one gather: for each draw a
    table holds the offsets of the rows, another those of the columns, forwards or backwards.
    """

    def __init__(
        self, mode: str, mean: Sequence[float], std: Sequence[float], image_size: int, device: torch.device | str
    ) -> None:
        if mode not in AUGMENTATIONS:
            raise UsageError(f"--augment {mode}: unknown; allowed: {', '.join(AUGMENTATIONS)}")
        self.mode = mode
        self._pad = padding(image_size) if mode in ("standard", "crop") else 0
        tables = _offset_tables(image_size, self._pad, mode in MIRRORED)
        self._rows, self._columns = (table.to(device) for table in tables)
        means, stds = torch.tensor(mean, dtype=torch.float64), torch.tensor(std, dtype=torch.float64)
        self._scale = (1 / (255 * stds)).float().view(1, -1, 1, 1).to(device)
        self._shift = (-means / stds).float().view(1, -1, 1, 1).to(device)

    def apply(self, images: Tensor, draws: Tensor) -> Tensor:
        """Augmented and normalised copies of `images`, moved as `draws` says, a tensor of `draw` on their device."""
        return self.normalise(images if self.mode == "none" else self.crop_and_flip(images, draws))

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """int64 [2, count] on the generator's device: which row offset and which column offset each picture takes.

        A generator on the CPU gives the same pictures on every device; one on the pictures' device needs no transfer.

        Without augmentation nothing is drawn, and the tensor says nothing.
        """
        if self.mode == "none":
            return torch.empty(2, count, dtype=torch.int64, device=generator.device)
        return torch.randint(len(self._rows), (2, count), generator=generator, device=generator.device)

    def crop_and_flip(self, images: Tensor, draws: Tensor) -> Tensor:
        """uint8 [B, C, H, H]: the pictures moved as `draws` [2, B] says.

        With p the padding, draw r of the rows starts the crop at r mod (2p + 1), a column draw likewise; a column
        draw of 2p + 1 and above is mirrored, but for `crop`.
        """
        pad = self._pad
        flat = F.pad(images, (pad, pad, pad, pad)).flatten(2)
        index = self._rows[draws[0]][:, :, None] + self._columns[draws[1]][:, None, :]
        return flat.gather(2, index.flatten(1)[:, None, :].expand(-1, flat.shape[1], -1)).view(images.shape)

    def normalise(self, images: Tensor) -> Tensor:
        """`(images / 255 - mean) / std`, float32 [B, C, H, H] in channels_last."""
        # In place: on a CPU, fresh pages for a temporary cost more than the arithmetic.
        return laid_out(images.to(torch.float32).mul_(self._scale).add_(self._shift))


class Standardiser(Augmenter):
    """float32 rows [B, F] to `(row - mean) / std`: the `Augmenter` of a table, which knows no augmentation."""

    def __init__(self, mode: str, mean: Sequence[float], std: Sequence[float], device: torch.device | str) -> None:
        if mode != "none":
            raise UsageError(f"--augment {mode}: is for pictures; a table has none")
        self.mode = mode
        self._mean = torch.tensor(mean, dtype=torch.float32, device=device)
        self._scale = (1 / torch.tensor(std, dtype=torch.float64)).float().to(device)

    def normalise(self, images: Tensor) -> Tensor:
        """Standardised copies of rows, float32 [B, F]."""
        # The mean first: a feature far from zero would lose its digits otherwise.
        return (images - self._mean).mul_(self._scale)


def augmenter_for(data: DataSet, mode: str, device: torch.device | str) -> Augmenter:
    """What turns stored examples of this data set into a network's inputs; mode: one of AUGMENTATIONS."""
    if isinstance(data, ImageData):
        return Augmenter(mode, data.mean, data.std, data.image_size, device)
    return Standardiser(mode, data.mean, data.std, device)


def laid_out(batch: Tensor) -> Tensor:
    """A batch in the memory format that networks are fastest in: channels_last where it has channels."""
    return batch.contiguous(memory_format=torch.channels_last) if batch.dim() == 4 else batch.contiguous()


def query_views(images: Tensor, query: int) -> Tensor:
    """The uint8 pictures [B, C, H, H] as query number `query` shows them to every model; rows [B, F] as they are.

    0: as they are. 1: mirrored. From 2 on in pairs, shifted and mirrored-then-shifted, over the eight (dy, dx) of
    {-p, 0, p}^2 other than (0, 0), in reading order, p = `padding(H)`; what is shifted in is black.

    Raises ValueError for a query outside 0..17, and for another than 0 of a table.
    """
    most = MAX_QUERIES if images.dim() == 4 else 1
    if not 0 <= query < most:
        raise ValueError(f"query {query}: allowed are 0 to {most - 1}")
    views = images.flip(3) if query % 2 else images
    if query < 2:
        return views
    step = padding(images.shape[-1])
    offsets = [(dy, dx) for dy in (-step, 0, step) for dx in (-step, 0, step) if (dy, dx) != (0, 0)]
    dy, dx = offsets[query // 2 - 1]
    # Negative padding cuts: one call moves the picture and blackens the strip it leaves.
    return F.pad(views, (dx, -dx, dy, -dy))


def _offset_tables(size: int, pad: int, mirrored: bool) -> tuple[Tensor, Tensor]:
    """int64 [2 (2 pad + 1), size] each: offsets into a flattened padded picture, of rows and of columns."""
    starts, width = 2 * pad + 1, size + 2 * pad
    forward = torch.arange(starts)[:, None] + torch.arange(size)
    return torch.cat([forward, forward]) * width, torch.cat([forward, forward.flip(1) if mirrored else forward])
