"""Asking a trained model for its outputs: eval mode, float32, the same seeded queries for all models."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import log_softmax
from torch import Tensor, nn

from artifacts.signals import QuerySettings, phi
from data.augment import Augmenter, query_views

# Part of the definition: the SAMIA noise is drawn chunk by chunk.
CHUNK = 250
NOISE_SEED = 20220203


def device_of(model: nn.Module) -> torch.device:
    """Where the model's parameters are."""
    return next(model.parameters()).device


def predict_logits(model: nn.Module, images: Tensor, augmenter: Augmenter, view: int = 0) -> NDArray[np.float32]:
    """Logits [n, C] of uint8 images [n, ch, H, W], each seen through query view `view`."""
    model.eval()
    device = device_of(model)
    outputs = []
    with torch.inference_mode():
        for chunk in images.split(CHUNK):
            inputs = augmenter.normalise(query_views(chunk.to(device), view))
            outputs.append(model(inputs).float())
        return torch.cat(outputs).cpu().numpy()


def sensitivity(
    model: nn.Module, images: Tensor, logits: NDArray[np.float32], augmenter: Augmenter, settings: QuerySettings
) -> NDArray[np.float32]:
    """SAMIA's `s_c = mean_j |p_c(x + eps u_j) - p_c(x)| / eps` (Yuan & Zhang 2022): [n, C], u_j ~ N(0, 1).

    The noise is added to the normalised input and is the same for every model.
    """
    model.eval()
    device = device_of(model)
    generator = torch.Generator().manual_seed(NOISE_SEED)
    plain = torch.from_numpy(logits).double().softmax(1)
    sums = []
    with torch.inference_mode():
        for chunk, reference in zip(images.split(CHUNK), plain.split(CHUNK), strict=True):
            inputs = augmenter.normalise(chunk.to(device))
            total = torch.zeros_like(reference)
            for _ in range(settings.draws):
                noise = torch.randn(chunk.shape, generator=generator).to(device)
                noisy = model((inputs + settings.eps * noise).contiguous(memory_format=torch.channels_last))
                total += (noisy.cpu().double().softmax(1) - reference).abs()
            sums.append(total / (settings.draws * settings.eps))
    return torch.cat(sums).float().numpy()


def query(
    model: nn.Module, images: Tensor, labels: NDArray[np.int64], augmenter: Augmenter, settings: QuerySettings
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32] | None]:
    """Logits [n, C] of the plain query, phi [n, Q] of each query, and the SAMIA sensitivity [n, C] if asked for."""
    logits = predict_logits(model, images, augmenter)
    noise = sensitivity(model, images, logits, augmenter, settings) if settings.samia else None
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
