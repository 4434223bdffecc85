"""Attack networks: trained on the shadows' outputs and memberships, applied to targets' outputs.

Shokri-NN (Shokri et al. 2017), Top3-NN, ClassLabel-NN and SAMIA (Yuan & Zhang 2022), neural network (WeMeM, Shang et
al. 2025). The score is the member logit minus the non-member logit. The loss is plain cross-entropy also when the sides
are unequal: that shifts all scores by one constant, which the threshold absorbs. The threshold maximises balanced
accuracy on the very pairs that trained the network; holding pairs out would change the attack, and these networks see
far more pairs than they can memorise.

Recipes. "paper": SGD with the published hyper-parameters: 100 epochs, hours where pairs are many. "auto", the default:
the published recipe up to a number of steps, and beyond it a short plan whose cost does not grow with the pool. Below
that number the published schedule is far from converged, so that no cheaper one gives its figures; above it, a better
optimiser gets as far in fewer steps. "fast": seconds, and figures that differ; a choice and never the default.
`benchmarks/attack_recipes.py` compares them. Shokri et al. publish no training hyper-parameters, so Shokri-NN has one
plan for all recipes. What ran is in the result's note.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from attacks.arrays import BoolArray, Float64Array, FloatArray, IntArray
from attacks.inputs import AttackInputs, require_pairs
from attacks.interface import AttackResult, AttackSettings, AttackUnavailable, Outputs, Scorer
from attacks.statistics import log_softmax
from attacks.streams import NETWORK_PAIRS, stream
from attacks.thresholds import best_threshold

if TYPE_CHECKING:
    import torch
    from torch import nn

Float32Array = npt.NDArray[np.float32]
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


def build_mlp(inputs: int) -> nn.Module:
    """in-512-256-128-2, ReLU, dropout 0.2 after the first two layers, Xavier-normal weights: [N, inputs] -> [N, 2]."""
    from torch import nn

    widths = (inputs, 512, 256, 128)
    layers: list[nn.Module] = []
    for i, (width_in, width_out) in enumerate(pairwise(widths)):
        layers += [nn.Linear(width_in, width_out), nn.ReLU()] + ([nn.Dropout(0.2)] if i < 2 else [])
    network = nn.Sequential(*layers, nn.Linear(128, 2))
    for layer in network:
        if isinstance(layer, nn.Linear):
            nn.init.xavier_normal_(layer.weight)
            nn.init.zeros_(layer.bias)
    return network


def build_samia(num_classes: int) -> nn.Module:
    """SAMIA's transformer over the classes, one token (p_c, s_c, onehot_c) each: [N, C, 3] -> [N, 2]; no positions."""
    from torch import nn

    layer = nn.TransformerEncoderLayer(64, 4, 128, dropout=0.2, activation="gelu", batch_first=True, norm_first=False)
    return nn.Sequential(
        nn.Flatten(),
        nn.BatchNorm1d(3 * num_classes),
        nn.Unflatten(1, (num_classes, 3)),
        nn.Linear(3, 64),
        nn.GELU(),
        nn.TransformerEncoder(layer, 3, enable_nested_tensor=False),
        nn.Flatten(),
        nn.Linear(64 * num_classes, 64),
        nn.ReLU(),
        nn.Linear(64, 2),
    )


def build_shokri(groups: int, inputs: int) -> nn.Module:
    """One in-64-2 network per group, side by side: [groups * b, inputs], group after group, -> [groups * b, 2].

    A grouped convolution of width 1 over b positions is one linear layer per group.
    """
    from torch import nn

    class PerGroup(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.hidden = nn.Conv1d(groups * inputs, groups * 64, 1, groups=groups)
            self.out = nn.Conv1d(groups * 64, groups * 2, 1, groups=groups)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            channels = x.reshape(groups, -1, inputs).transpose(1, 2).reshape(1, groups * inputs, -1)
            y: torch.Tensor = self.out(self.hidden(channels).relu())
            return y.reshape(groups, 2, -1).transpose(1, 2).reshape(-1, 2)

    return PerGroup()


def _rows(groups: IntArray, count: int = 0) -> torch.Tensor:
    """Indices of each group's entries, int64 [G, largest group], padded with -1. groups: [N], values 0 to G - 1.

    G is `count`, or more where a larger group occurs.
    """
    import torch

    counts = np.bincount(groups, minlength=count)
    rows = np.full((counts.size, counts.max()), -1)
    rows[np.arange(counts.max()) < counts[:, None]] = np.argsort(groups, kind="stable")
    return torch.from_numpy(rows)


def _batches(rows: torch.Tensor, plan: Plan) -> Iterator[torch.Tensor]:
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


def _optimisers(network: nn.Module, plan: Plan) -> list[torch.optim.Optimizer]:
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


def _set_dropout(network: nn.Module, p: float) -> None:
    from torch import nn

    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = p
        elif isinstance(module, nn.MultiheadAttention):
            module.dropout = p


def _fit(network: nn.Module, features: torch.Tensor, is_in: torch.Tensor, rows: torch.Tensor, plan: Plan) -> None:
    """Train in place; the loss is the sum over groups of the mean cross-entropy over a group's part of the batch."""
    from torch.nn.functional import cross_entropy

    optimisers = _optimisers(network, plan)
    peaks = [optimiser.defaults["lr"] for optimiser in optimisers]
    if not plan.dropout:
        _set_dropout(network, 0.0)
    network.train()
    for step, batch in enumerate(_batches(rows, plan)):
        index, weight = batch.clamp(min=0).to(features.device), (batch >= 0).to(features)
        logits = network(features[index.flatten()])
        losses = cross_entropy(logits, is_in[index.flatten()], reduction="none").reshape(index.shape)
        network.zero_grad()
        ((losses * weight).sum(dim=1) / weight.sum(dim=1).clamp(min=1)).sum().backward()
        for optimiser, peak in zip(optimisers, peaks, strict=True):
            optimiser.param_groups[0]["lr"] = peak * plan.factor_at(step)
            optimiser.step()


def _predict(network: nn.Module, features: torch.Tensor, rows: torch.Tensor) -> Float64Array:
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


def _threshold(network: nn.Module, features: torch.Tensor, rows: torch.Tensor, is_in: BoolArray, seed: int) -> float:
    """The best threshold on the pairs that trained the network; rows: [G, largest group], of `_rows`."""
    import torch

    if len(is_in) > CALIBRATION_PAIRS:
        groups = np.empty(len(is_in), dtype=np.int64)
        group, place = torch.nonzero(rows >= 0, as_tuple=True)
        groups[rows[group, place].numpy()] = group.numpy()
        chosen = stream(seed, NETWORK_PAIRS).choice(len(is_in), CALIBRATION_PAIRS, replace=False)
        features, is_in = features[torch.from_numpy(chosen).to(features.device)], is_in[chosen]
        rows = _rows(groups[chosen], rows.shape[0])
    return best_threshold(_predict(network, features, rows), is_in)


def posterior(logits: FloatArray, labels: IntArray, sensitivity: FloatArray | None) -> Float32Array:
    """p, unsorted, float32 [n, C]."""
    return np.exp(log_softmax(logits)).astype(np.float32)


def top_three(logits: FloatArray, labels: IntArray, sensitivity: FloatArray | None) -> Float32Array:
    """The three largest probabilities, descending, float32 [n, min(3, C)]."""
    return -np.sort(-posterior(logits, labels, sensitivity), axis=1)[:, :3]


def posterior_and_label(logits: FloatArray, labels: IntArray, sensitivity: FloatArray | None) -> Float32Array:
    """p joined with one-hot y, float32 [n, 2C]."""
    return np.concatenate([posterior(logits, labels, sensitivity), _one_hot(labels, logits.shape[1])], axis=1)


def class_tokens(logits: FloatArray, labels: IntArray, sensitivity: FloatArray | None) -> Float32Array:
    """SAMIA's tokens (p_c, s_c, onehot(y)_c), float32 [n, C, 3]."""
    if sensitivity is None:
        raise AttackUnavailable("samia needs the sensitivity queries of target and shadows; this cell's cache has none")
    columns = (posterior(logits, labels, None), sensitivity.astype(np.float32), _one_hot(labels, logits.shape[1]))
    return np.stack(columns, axis=2)


def _one_hot(labels: IntArray, num_classes: int) -> Float32Array:
    return np.eye(num_classes, dtype=np.float32)[labels]


@dataclass(frozen=True)
class NetworkAttack:
    """What tells one attack network from another.

    features: of [n] examples, float32 [n, ...]; build: (groups, feature shape) -> network; per_class: one network a
    class; probing: whether it learns from and scores only examples with noise queries.
    """

    name: str
    features: Callable[[FloatArray, IntArray, FloatArray | None], Float32Array]
    build: Callable[[int, tuple[int, ...]], nn.Module]
    plans: Plans
    per_class: bool = False
    probing: bool = False

    def __call__(self, inputs: AttackInputs, settings: AttackSettings) -> Scorer:
        """Train on the shadows' pairs; the global random state of torch is left as it was.

        Raises AttackUnavailable without shadow pairs of both sides, or without an input that the attack needs.
        """
        import torch

        learned, asked = inputs.learned, inputs.asked
        scored = asked.probed if self.probing else None
        if self.probing:
            learned, asked = self._with_noise_queries(learned), self._with_noise_queries(asked)
        require_pairs(self.name, learned)
        learned_groups, asked_groups = self._groups(learned.labels, asked.labels)
        features, is_in, pair_groups = self._pairs(learned, learned_groups)
        device = torch.device(settings.device)
        rows = _rows(pair_groups)
        plan, called = self.plans.choose(settings.recipe, rows.shape[1])
        note = f"{called} recipe: {plan.steps} steps of {plan.batch} pairs, of {rows.shape[1]}"
        with torch.random.fork_rng(devices=[] if device.type == "cpu" else [device]):
            torch.manual_seed(settings.seed)
            network = self.build(rows.shape[0], features.shape[1:]).to(device)
            x, y = torch.from_numpy(features).to(device), torch.from_numpy(is_in.astype(np.int64)).to(device)
            _fit(network, x, y, rows, plan)
        threshold = _threshold(network, x, rows, is_in, settings.seed)
        labels = asked.labels
        asked_rows = _rows(asked_groups, rows.shape[0])

        def score(target: Outputs) -> dict[str, AttackResult]:
            known = target.only(scored)
            assert known.logits is not None, "the registry declares who needs logits"
            x = torch.from_numpy(self.features(known.logits, labels, known.sensitivity)).to(device)
            return {self.name: AttackResult(_predict(network, x, asked_rows), threshold, note, scored)}

        return score

    def _with_noise_queries(self, inputs: AttackInputs) -> AttackInputs:
        """The examples that have a sensitivity. Raises AttackUnavailable where none has."""
        rows = inputs.probed
        if rows is not None and not rows.any():
            raise AttackUnavailable(f"{self.name} has no example with noise queries (--samia-examples)")
        return inputs.only(rows)

    def _groups(self, learned: IntArray, asked: IntArray) -> tuple[IntArray, IntArray]:
        """The network of each learned and of each asked example, by labels: classes numbered without gaps, or all 0."""
        if not self.per_class:
            return np.zeros_like(learned), np.zeros_like(asked)
        classes, groups = np.unique(learned, return_inverse=True)
        if not np.isin(asked, classes).all():
            raise AttackUnavailable(f"{self.name} trains a network a class; the shadow models know not every class")
        return np.asarray(groups, dtype=np.int64), np.searchsorted(classes, asked).astype(np.int64)

    def _pairs(self, inputs: AttackInputs, example_groups: IntArray) -> tuple[Float32Array, BoolArray, IntArray]:
        """The trimmed (shadow, example) pairs: features [P, ...], IN or OUT [P], groups [P]."""
        assert inputs.shadow_logits is not None, "the registry declares who needs logits"
        features, is_in, groups = [], [], []
        for s in range(inputs.num_shadows):
            kept = inputs.shadow_in[s] | inputs.shadow_out[s]
            sensitivity = None if inputs.shadow_sensitivity is None else inputs.shadow_sensitivity[s][kept]
            features.append(self.features(inputs.shadow_logits[s][kept], inputs.labels[kept], sensitivity))
            is_in.append(inputs.shadow_in[s][kept])
            groups.append(example_groups[kept])
        return np.concatenate(features), np.concatenate(is_in), np.concatenate(groups)


def _mlp(groups: int, shape: tuple[int, ...]) -> nn.Module:
    return build_mlp(shape[0])


def _shokri(groups: int, shape: tuple[int, ...]) -> nn.Module:
    return build_shokri(groups, shape[0])


def _samia(groups: int, shape: tuple[int, ...]) -> nn.Module:
    return build_samia(shape[0])


# No paper recipe to follow for Shokri-NN: the schedule of the other attacks leaves it under-trained.
SHOKRI_PLANS = Plans(fast=Plan(300, 256, lr=1e-3, adamw=True, warmup=0.0))
MLP_PLANS = Plans(
    fast=Plan(300, 256, lr=5e-4, adamw=True, warmup=0.0),
    short=Plan(1000, 1024, lr=5e-4, adamw=True, warmup=0.0),
    affordable=25_000,
)
SAMIA_PLANS = Plans(
    fast=Plan(500, 64, lr=1e-3, adamw=True, warmup=0.1),
    short=Plan(1000, 256, lr=1e-3, adamw=True, warmup=0.1, muon_lr=1.5e-3, dropout=False),
    affordable=10_000,
)

shokri_nn = NetworkAttack("shokri_nn", posterior, _shokri, SHOKRI_PLANS, per_class=True)
top3_nn = NetworkAttack("top3_nn", top_three, _mlp, MLP_PLANS)
class_label_nn = NetworkAttack("class_label_nn", posterior_and_label, _mlp, MLP_PLANS)
samia = NetworkAttack("samia", class_tokens, _samia, SAMIA_PLANS, probing=True)
neural_network = NetworkAttack("neural_network", posterior, _mlp, MLP_PLANS)
