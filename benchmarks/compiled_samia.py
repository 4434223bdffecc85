"""SAMIA's attack network trained as by `attacks.networks`, compiled: the published recipe in half the time, on a CPU.

Same network, initial weights, loss, optimiser and schedule. Batches and dropout masks are drawn alike and are other
draws. The masks are taken, a random stretch a step, from a stock that is drawn anew every epoch: a million fresh ones
for every step would cost a tenth of it. Compiling needs a C++ compiler, so this is no path of the product.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from attacks.network_training import WEIGHT_DECAY, Plan, batches

STOCK_STEPS = 64  # as many steps' masks are in stock


def masks_needed(network: nn.Module, batch: int) -> int:
    """How many elements a training forward of so many examples drops or keeps."""
    encoder, classes = network[5], network[7].in_features // network[7].out_features  # type: ignore[index]
    layer = encoder.layers[0]
    width, heads, inner = layer.linear1.in_features, layer.self_attn.num_heads, layer.linear1.out_features
    return batch * classes * (heads * classes + inner + 2 * width) * len(encoder.layers)  # type: ignore[no-any-return]


def forward(network: nn.Module, tokens: Tensor, masks: Tensor) -> Tensor:
    """Logits [N, 2] of `attacks.networks.build_samia`'s network in training mode; tokens: [N, C, 3].

    masks: float32 [at least `masks_needed`], 0 where an element is dropped, else 1 / (1 - p).
    """
    assert isinstance(network, nn.Sequential)
    _, normalise, _, embed, _, encoder, _, hidden, _, out = network
    assert isinstance(encoder, nn.TransformerEncoder)
    used = 0

    def drop(x: Tensor) -> Tensor:
        nonlocal used
        used += x.numel()
        return x * masks[used - x.numel() : used].view(x.shape)

    examples, classes, _ = tokens.shape
    x = functional.gelu(embed(normalise(tokens.flatten(1)).view(tokens.shape)))
    for layer in encoder.layers:
        attention, shape = layer.self_attn, (examples, classes, 3, layer.self_attn.num_heads, -1)
        projected = functional.linear(x, attention.in_proj_weight, attention.in_proj_bias).view(shape)
        q, k, v = projected.permute(2, 0, 3, 1, 4)
        weights = torch.softmax(q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5, dim=-1)
        heads = (drop(weights) @ v).transpose(1, 2).flatten(2)
        x = layer.norm1(x + drop(attention.out_proj(heads)))
        x = layer.norm2(x + drop(layer.linear2(drop(functional.gelu(layer.linear1(x))))))
    logits: Tensor = out(functional.relu(hidden(x.flatten(1))))
    return logits


def fit(network: nn.Module, features: Tensor, is_in: Tensor, rows: Tensor, plan: Plan) -> None:
    """Train in place, as `attacks.network_training.fit` does by SGD with dropout; without dropout the same batches."""
    if plan.adamw or not plan.dropout or len(rows) != 1:
        raise ValueError(f"not SAMIA's published recipe: {plan}, {len(rows)} networks")

    def loss_of(tokens: Tensor, labels: Tensor, masks: Tensor) -> Tensor:
        return functional.cross_entropy(forward(network, tokens, masks), labels)

    compiled = torch.compile(loss_of, dynamic=False)
    optimiser = torch.optim.SGD(network.parameters(), lr=plan.lr, momentum=0.9, weight_decay=WEIGHT_DECAY, fused=True)
    p = network[5].layers[0].dropout.p  # type: ignore[index]
    rng = np.random.default_rng(torch.initial_seed())
    epoch = -(-rows.shape[1] // plan.batch)
    network.train()
    for step, batch in enumerate(batches(rows, plan)):
        index = batch.flatten()
        needed = masks_needed(network, len(index))
        if step % epoch == 0:
            kept = rng.random(STOCK_STEPS * needed, dtype=np.float32) >= p
            stock = torch.from_numpy(kept.astype(np.float32) / np.float32(1.0 - p))
        start = int(rng.integers(len(stock) - needed + 1))
        loss = compiled(features[index], is_in[index], stock[start : start + needed])
        network.zero_grad()
        loss.backward()
        optimiser.param_groups[0]["lr"] = plan.lr * plan.factor_at(step)
        optimiser.step()
