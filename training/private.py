"""The optimiser step of DP-SGD (Abadi et al., CCS 2016, arXiv 1607.00133, algorithm 1), by Opacus.

Opacus clips, adds the noise and accounts for it. Per-example gradients are torch's own: those of Opacus 1.6 are wrong
for convolutions of inputs in channels_last, which this project's are.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional

from configs.experiment import ExperimentConfig
from configs.streams import NOISE_STREAM, stream_seed
from data.augment import Augmenter
from pruning.base import Pruner
from pruning.dp_sgd import DPSGD
from training.step import Step

# Of the Rényi divergences that are tried. Any order bounds epsilon; whole ones are quick at any noise, and cost a
# hundredth more of it at epsilon 8 than with those between them.
ORDERS = (*range(2, 64), 80, 96, 128, 192, 256, 384, 512)


@functools.lru_cache(maxsize=64)
def noise_multiplier(epsilon: float, delta: float, sample_rate: float, steps: int) -> float:
    """The noise's standard deviation, in clipping norms, that makes so many steps (epsilon, delta)-private or a
    thousandth better, for batches that each example enters with this chance, by the Rényi accountant."""
    from opacus.accountants.utils import get_noise_multiplier

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Optimal order is the")  # then the bound is a larger one, and still a bound
        found: float = get_noise_multiplier(
            target_epsilon=epsilon,
            target_delta=delta,
            sample_rate=sample_rate,
            steps=steps,
            accountant="rdp",
            epsilon_tolerance=1e-3 * epsilon,
            alphas=ORDERS,
        )
    return found


class PrivateStep(Step):
    """A step whose gradient is the noisy mean of clipped per-example gradients; the optimiser's work is as ever.

    members: how many examples batches are drawn from; steps: of the whole training. Momentum, weight decay and rates
    work on noisy gradients alone.
    """

    def __init__(
        self,
        config: ExperimentConfig,
        model: nn.Module,
        pruner: Pruner,
        augmenter: Augmenter,
        device: torch.device,
        members: int,
        steps: int,
    ) -> None:
        from opacus.optimizers import DPOptimizer

        super().__init__(config, model, pruner, augmenter, device)
        knobs = config.knobs
        assert isinstance(pruner, DPSGD)
        assert isinstance(knobs, DPSGD.Knobs)
        self.config, self.method = config, pruner
        expected = min(config.batch_size, members)
        self.sample_rate = expected / members
        self.parameters: dict[str, Any] = dict(self.model.named_parameters())  # Opacus adds attributes
        self.noise = torch.Generator(device)
        self.private = DPOptimizer(
            torch.optim.SGD(self.parameters.values(), lr=0.0),  # never stepped: it names the parameters
            noise_multiplier=noise_multiplier(knobs.epsilon, knobs.delta, self.sample_rate, steps),
            max_grad_norm=knobs.clip_norm,
            expected_batch_size=expected,
            generator=self.noise,
        )

    def batches(self, members: int, steps: int, generator: torch.Generator) -> Iterator[Tensor]:
        """Poisson samples: every example is in each batch with one chance, whatever else is in it."""
        from opacus.utils.uniform_sampler import UniformWithReplacementSampler

        sampler = UniformWithReplacementSampler(
            num_samples=members, sample_rate=self.sample_rate, generator=generator, steps=steps
        )
        return (torch.tensor(batch, dtype=torch.int64) for batch in sampler)

    def backward(self, inputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        weights = {name: parameter.detach() for name, parameter in self.parameters.items()}
        if len(labels):
            samples, (losses, logits) = vmap(grad(self._of_one, has_aux=True), in_dims=(None, 0, 0))(
                weights, inputs, labels
            )
            loss, hits = losses.mean(), (logits.argmax(1) == labels).sum()
        else:  # an empty batch is a step like any other, of noise alone
            samples = {name: value.new_zeros((0, *value.shape)) for name, value in weights.items()}
            loss = hits = torch.zeros((), device=self.device)
        for name, parameter in self.parameters.items():
            parameter.grad_sample = samples[name].float()
        self.noise.manual_seed(stream_seed(self.config, NOISE_STREAM, self.method.step))
        self.private.pre_step()
        flat = self.pruner.weights
        for name, view in zip(flat.names, flat.views(flat.grad), strict=True):
            view.copy_(self.parameters[name].grad)
            self.parameters[name].grad = view
        for parameter in self.parameters.values():
            parameter.grad_sample = parameter.summed_grad = None
        return loss, hits

    def _of_one(
        self, weights: dict[str, Tensor], example: Tensor, label: Tensor
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """The loss on one example; beside it loss and logits [C], of which there is no gradient."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16, cache_enabled=False):
            logits = functional_call(self.model, weights, (example[None],))[0].float()
        loss = functional.cross_entropy(logits, label)
        return loss, (loss.detach(), logits.detach())
