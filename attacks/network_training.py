"""How attack networks are trained: plans of steps and rates, batches of groups, scores and thresholds.

A network may hold several groups side by side, one for each class, say: rows [G, largest group] list each group's
entries, padded with -1.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from .arrays import BoolArray, Float64Array, IntArray
from .streams import NETWORK_PAIRS, stream
from .thresholds import best_threshold

if TYPE_CHECKING:
    import torch
    from torch import nn

MEMBER, NON_MEMBER = 1, 0
PREDICT_BATCH = 8192
WEIGHT_DECAY = 5e-4
CALIBRATION_PAIRS = 1 << 16  # of more, that many stand for all, drawn with the seed


@dataclass(frozen=True)
class Plan:
    """How one network is trained: optimiser steps, pairs per step, peak learning rate, optimiser, schedule.

    adamw: AdamW, else SGD with momentum 0.9. muon_lr: peak rate of Muon (Jordan et al. 2024), which then takes the
    weight matrices and leaves the rest to AdamW. warmup: the fraction of the steps in which the rate rises from 0,
    before it falls to 0 as a cosine; None: no warm-up, and x0.1 at one half and at three quarters. dropout: whether the
    network's dropout is used; it has no purpose where every pair is seen a few times only.
    """

    steps: int
    batch: int
    lr: float
    adamw: bool = False
    warmup: float | None = None
    muon_lr: float | None = None
    dropout: bool = True

    def factor_at(self, step: int) -> float:
        """What the peak rates are multiplied by in a step, counted from 0."""
        done = step / self.steps
        if self.warmup is None:
            return 1.0 if done < 0.5 else 0.1 if done < 0.75 else 0.01
        if done < self.warmup:
            return done / self.warmup
        return 0.5 * (1.0 + math.cos(math.pi * (done - self.warmup) / (1.0 - self.warmup)))


@dataclass(frozen=True)
class Plans:
    """The plans of one network.

    fast: of the recipe of that name. short: instead of the published plan where that has more than `affordable` steps;
    None: `fast` is the one plan of all recipes.
    """

    fast: Plan
    short: Plan | None = None
    affordable: int = 0

    def choose(self, recipe: str, pairs: int) -> tuple[Plan, str]:
        """The plan for so many training pairs of one network, and its name."""
        paper = Plan(100 * math.ceil(pairs / 128), 128, lr=1e-3)
        if self.short is None or recipe == "fast":
            name = "its only" if self.short is None else "the fast"
            return replace(self.fast, batch=min(max(pairs // 24, 64), self.fast.batch)), name
        if recipe == "paper" or paper.steps <= self.affordable:
            return paper, "the published"
        return self.short, "the short"


def rows_by_group(groups: IntArray, count: int = 0) -> torch.Tensor:
    """Indices of each group's entries, int64 [G, largest group], padded with -1. groups: [N], values 0 to G - 1.

    G is `count`, or more where a larger group occurs.
    """
    import torch

    counts = np.bincount(groups, minlength=count)
    rows = np.full((counts.size, counts.max()), -1)
    rows[np.arange(counts.max()) < counts[:, None]] = np.argsort(groups, kind="stable")
    return torch.from_numpy(rows)


def batches(rows: torch.Tensor, plan: Plan) -> Iterator[torch.Tensor]:
    """`plan.steps` index batches [G, about plan.batch], epoch after epoch, every row shuffled with its padding last."""
    import torch

    step, parts = 0, math.ceil(rows.shape[1] / plan.batch)
    while True:
        order = (torch.rand(rows.shape) + (rows < 0)).argsort(dim=1)
        # near-equal parts: batch normalisation cannot train on the single example a plain split may leave over
        for batch in rows.gather(1, order).tensor_split(parts, dim=1):
            if step == plan.steps:
                return
            yield batch
            step += 1


def optimisers(network: nn.Module, plan: Plan) -> list[torch.optim.Optimizer]:
    from torch import optim

    learned = list(network.parameters())
    if not plan.adamw:
        return [optim.SGD(learned, lr=plan.lr, momentum=0.9, weight_decay=WEIGHT_DECAY)]
    if plan.muon_lr is None:
        return [optim.AdamW(learned, lr=plan.lr, weight_decay=WEIGHT_DECAY)]
    # matrices between hidden layers: the few rows or columns of an input or output layer have nothing to orthogonalise
    hidden = [weight for weight in learned if weight.ndim == 2 and min(weight.shape) > 3]
    chosen = {id(weight) for weight in hidden}
    rest = [weight for weight in learned if id(weight) not in chosen]
    return [
        optim.AdamW(rest, lr=plan.lr, betas=(0.9, 0.99), weight_decay=WEIGHT_DECAY),
        optim.Muon(hidden, lr=plan.muon_lr, weight_decay=0.0, adjust_lr_fn="match_rms_adamw"),
    ]


def set_dropout(network: nn.Module, p: float) -> None:
    from torch import nn

    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = p
        elif isinstance(module, nn.MultiheadAttention):
            module.dropout = p


def fit(network: nn.Module, features: torch.Tensor, is_in: torch.Tensor, rows: torch.Tensor, plan: Plan) -> None:
    """Train in place; the loss is the sum over groups of the mean cross-entropy over a group's part of the batch."""
    from torch.nn.functional import cross_entropy

    each = optimisers(network, plan)
    peaks = [optimiser.defaults["lr"] for optimiser in each]
    if not plan.dropout:
        set_dropout(network, 0.0)
    network.train()
    for step, batch in enumerate(batches(rows, plan)):
        index, weight = batch.clamp(min=0).to(features.device), (batch >= 0).to(features)
        logits = network(features[index.flatten()])
        losses = cross_entropy(logits, is_in[index.flatten()], reduction="none").reshape(index.shape)
        network.zero_grad()
        ((losses * weight).sum(dim=1) / weight.sum(dim=1).clamp(min=1)).sum().backward()
        for optimiser, peak in zip(each, peaks, strict=True):
            optimiser.param_groups[0]["lr"] = peak * plan.factor_at(step)
            optimiser.step()


def predict(network: nn.Module, features: torch.Tensor, rows: torch.Tensor) -> Float64Array:
    """Member logit minus non-member logit, float64 [N]."""
    import torch

    scores = torch.empty(features.shape[0], dtype=torch.float64)
    network.eval()
    with torch.no_grad():
        for batch in rows.split(max(1, PREDICT_BATCH // rows.shape[0]), dim=1):
            index = batch.clamp(min=0).flatten()
            logits = network(features[index.to(features.device)]).double().cpu()
            valid = batch.flatten() >= 0
            scores[index[valid]] = (logits[:, MEMBER] - logits[:, NON_MEMBER])[valid]
    return scores.numpy()


def threshold(network: nn.Module, features: torch.Tensor, rows: torch.Tensor, is_in: BoolArray, seed: int) -> float:
    """The best threshold on the pairs that trained the network; rows: [G, largest group], of `rows_by_group`."""
    import torch

    if len(is_in) > CALIBRATION_PAIRS:
        groups = np.empty(len(is_in), dtype=np.int64)
        group, place = torch.nonzero(rows >= 0, as_tuple=True)
        groups[rows[group, place].numpy()] = group.numpy()
        chosen = stream(seed, NETWORK_PAIRS).choice(len(is_in), CALIBRATION_PAIRS, replace=False)
        features, is_in = features[torch.from_numpy(chosen).to(features.device)], is_in[chosen]
        rows = rows_by_group(groups[chosen], rows.shape[0])
    return best_threshold(predict(network, features, rows), is_in)
