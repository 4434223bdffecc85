"""Asking a trained model for its outputs: eval mode, float32 (never TF32), the same seeded queries for all models."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import log_softmax
from torch import Tensor, nn

from artifacts import stopping
from artifacts.signals import QuerySettings, phi
from configs.errors import RunError
from data.augment import Augmenter, laid_out, query_views

# Part of the definition: the SAMIA noise is drawn chunk by chunk.
CHUNK = 250
NOISE_SEED = 20220203
# Largest batch on a GPU, in chunks; halved while it does not fit. A CPU is no faster with more than one.
CUDA_CHUNKS = 64


Result = TypeVar("Result")


def device_of(model: nn.Module) -> torch.device:
    """Where the model's parameters are."""
    return next(model.parameters()).device


def largest_batches(device: torch.device, run: Callable[[int], Result]) -> Result:
    """`run(batch)` with the largest batch that fits, a multiple of CHUNK. RunError if one chunk does not."""
    chunks = CUDA_CHUNKS if device.type == "cuda" else 1
    while True:
        try:
            return run(chunks * CHUNK)
        except torch.OutOfMemoryError:
            if chunks == 1:
                raise RunError(
                    f"the device has no room to ask about {CHUNK} examples at once; train fewer models on it, or give "
                    "--device cpu"
                ) from None
        # here the failed attempt's tensors are free again
        chunks //= 2
        torch.cuda.empty_cache()


@contextlib.contextmanager
def full_float32() -> Iterator[None]:
    """Within it, float32 is float32 on CUDA too: cuDNN's own default from Ampere on is TF32, with 10 bits of mantissa.

    The settings that were there before come back, also after an error.
    """
    cublas: Any = torch.backends.cuda.matmul
    cudnn: Any = torch.backends.cudnn
    switches = (cublas, cudnn.conv, cudnn.rnn)
    before = [switch.fp32_precision for switch in switches]
    try:
        for switch in switches:
            switch.fp32_precision = "ieee"
        yield
    finally:
        for switch, precision in zip(switches, before, strict=True):
            switch.fp32_precision = precision


@full_float32()
def predict_logits(model: nn.Module, images: Tensor, augmenter: Augmenter, view: int = 0) -> NDArray[np.float32]:
    """Logits [n, C] of stored examples, uint8 [n, ch, H, W] or float32 [n, F], each seen through query view `view`."""
    model.eval()
    device = device_of(model)

    def run(batch: int) -> NDArray[np.float32]:
        outputs = []
        with torch.inference_mode():
            for part in images.split(batch):
                stopping.check()  # where signals wait for a safe moment, the next batch is one
                inputs = augmenter.normalise(query_views(part.to(device), view))
                outputs.append(model(inputs).float())
            return torch.cat(outputs).cpu().numpy()

    return largest_batches(device, run)


@full_float32()
def sensitivity(
    model: nn.Module,
    images: Tensor,
    logits: NDArray[np.float32],
    augmenter: Augmenter,
    settings: QuerySettings,
    probed: NDArray[np.bool_] | None = None,
) -> NDArray[np.float32]:
    """SAMIA's `s_c = mean_j |p_c(x + eps u_j) - p_c(x)| / eps` (Yuan & Zhang 2022): [n, C], u_j ~ N(0, 1).

    The noise is added to the normalised input and is the same for every model. probed: bool [n], the examples that are
    asked about, or None for all; the others' rows are NaN, and an example's noise does not depend on who is asked.
    """
    model.eval()
    device = device_of(model)
    plain = torch.from_numpy(logits).double().softmax(1)
    chosen = torch.ones(len(images), dtype=torch.bool) if probed is None else torch.from_numpy(probed)

    def run(batch: int) -> NDArray[np.float32]:
        generator = torch.Generator().manual_seed(NOISE_SEED)
        sums = torch.full_like(plain, torch.nan)
        with torch.inference_mode():
            for rows in torch.arange(len(images)).split(batch):
                own = chosen[rows]
                asked = rows[own]
                inputs = augmenter.normalise(images[asked].to(device))
                total = torch.zeros_like(plain[asked])
                for noise in _noise(images[rows], settings.draws, generator):
                    if not len(asked):
                        continue  # drawn all the same: the noise of later examples follows it
                    noisy = inputs + settings.eps * noise[own].to(device)
                    found = model(laid_out(noisy))
                    total += (found.cpu().double().softmax(1) - plain[asked]).abs()
                sums[asked] = total / (settings.draws * settings.eps)
        return sums.float().numpy()

    return largest_batches(device, run)


def _noise(images: Tensor, draws: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Each draw's noise for a batch of any size, in its shape: drawn chunk by chunk, all draws of one before the next.

    A single chunk's draws are made one at a time, those of more are kept, for their order is the chunks'.
    """
    chunks = images.split(CHUNK)
    if len(chunks) == 1:
        yield from (torch.randn(images.shape, generator=generator) for _ in range(draws))
        return
    kept = [[torch.randn(chunk.shape, generator=generator) for _ in range(draws)] for chunk in chunks]
    yield from (torch.cat([chunk[j] for chunk in kept]) for j in range(draws))


def query(
    model: nn.Module,
    images: Tensor,
    labels: NDArray[np.int64],
    augmenter: Augmenter,
    settings: QuerySettings,
    probed: NDArray[np.bool_] | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32] | None]:
    """Logits [n, C] of the plain query, phi [n, Q] of each query, and the SAMIA sensitivity [n, C] if asked for.

    probed: bool [n], the examples with a sensitivity, or None for all.
    """
    logits = predict_logits(model, images, augmenter)
    noise = sensitivity(model, images, logits, augmenter, settings, probed) if settings.samia else None
    return logits, view_phi(model, images, labels, augmenter, settings.num_queries, logits), noise


def view_phi(
    model: nn.Module,
    images: Tensor,
    labels: NDArray[np.int64],
    augmenter: Augmenter,
    num_queries: int,
    logits: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """phi [n, Q] of the first Q query views; logits: of the plain query, where they are known."""
    views = [predict_logits(model, images, augmenter) if logits is None else logits]
    views += [predict_logits(model, images, augmenter, view) for view in range(1, num_queries)]
    return np.stack([phi(view, labels) for view in views], axis=1).astype(np.float32)


def accuracy_and_loss(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> tuple[float, float]:
    """Top-1 accuracy in [0, 1] and mean cross-entropy in nats."""
    log_p = log_softmax(logits.astype(np.float64), axis=1)
    return float((logits.argmax(axis=1) == labels).mean()), float(-log_p[np.arange(len(labels)), labels].mean())
