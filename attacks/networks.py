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
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from .arrays import BoolArray, FloatArray, IntArray
from .inputs import AttackInputs, require_pairs
from .interface import AttackResult, AttackSettings, AttackUnavailable, Outputs, Scorer
from .network_training import Plan, Plans, fit, predict, rows_by_group, threshold
from .statistics import log_softmax

if TYPE_CHECKING:
    import torch
    from torch import nn

Float32Array = npt.NDArray[np.float32]


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
        rows = rows_by_group(pair_groups)
        plan, called = self.plans.choose(settings.recipe, rows.shape[1])
        note = f"{called} recipe: {plan.steps} steps of {plan.batch} pairs, of {rows.shape[1]}"
        with torch.random.fork_rng(devices=[] if device.type == "cpu" else [device]):
            torch.manual_seed(settings.seed)
            network = self.build(rows.shape[0], features.shape[1:]).to(device)
            x, y = torch.from_numpy(features).to(device), torch.from_numpy(is_in.astype(np.int64)).to(device)
            fit(network, x, y, rows, plan)
        decides = threshold(network, x, rows, is_in, settings.seed)
        labels = asked.labels
        asked_rows = rows_by_group(asked_groups, rows.shape[0])

        def score(target: Outputs) -> dict[str, AttackResult]:
            known = target.only(scored)
            assert known.logits is not None, "the registry declares who needs logits"
            x = torch.from_numpy(self.features(known.logits, labels, known.sensitivity)).to(device)
            return {self.name: AttackResult(predict(network, x, asked_rows), decides, note, scored)}

        return score

    def plan(self, pairs: int, num_classes: int, recipe: str) -> Plan:
        """How it would train on so many (shadow, example) pairs of classes that are about equally frequent."""
        rows = math.ceil(pairs / num_classes) if self.per_class else pairs
        return self.plans.choose(recipe, rows)[0]

    def step_seconds(self, plan: Plan, num_classes: int, device: str, steps: int = 10) -> float:
        """Seconds of one step of a plan here, from some steps on made-up outputs. The global random state of torch is
        left as it was."""
        import torch

        groups = num_classes if self.per_class else 1
        labels = np.arange(groups * plan.batch) % num_classes
        zeros = np.zeros((len(labels), num_classes), dtype=np.float32)
        place = torch.device(device)
        features = torch.from_numpy(self.features(zeros, labels, zeros)).to(place)
        is_in = torch.arange(len(labels), device=place) % 2
        rows = rows_by_group(labels if self.per_class else np.zeros_like(labels))
        with torch.random.fork_rng(devices=[] if place.type == "cpu" else [place]):
            network = self.build(groups, tuple(features.shape[1:])).to(place)
            fit(network, features, is_in, rows, replace(plan, steps=2))  # the first is not like the others
            started = time.perf_counter()
            fit(network, features, is_in, rows, replace(plan, steps=steps))
        return (time.perf_counter() - started) / steps

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
