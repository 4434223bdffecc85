"""Code of the user's own, tried on a few examples before a sweep begins: what is wrong in it is said at once."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor, nn

from configs import own_code
from configs.errors import RunError, UsageError
from configs.experiment import ExperimentConfig
from data.base import DataSet
from pruning.weights import prunable_weights
from training.loop import Trainer
from training.networks import new_model

EXAMPLES = 8


def needed(configs: Iterable[ExperimentConfig]) -> list[ExperimentConfig]:
    """One configuration for each network and method that is not this project's."""
    found = {(one.arch, one.method, one.knobs): one for one in configs if not one.built_in}
    return list(found.values())


def try_out(config: ExperimentConfig, data: DataSet) -> None:
    """Build the network, ask it, and take one step, the pruner's end and a resume. UsageError, one line, where an
    error comes up, where the output is no [B, classes] or where nothing could be pruned."""
    flags = f"argument --arch: {config.arch}: "
    try:
        with torch.random.fork_rng(devices=[]):
            _check_network(new_model(config, data), data, config.prune_layers or "conv", flags)
            flags = f"argument --methods: {config.method}: "
            _check_method(config, data)
    except UsageError:
        raise
    except RunError as error:
        raise UsageError(f"{flags}{error}") from None
    except Exception as error:
        place = own_code.place_of(error)
        raise UsageError(f"{flags}{'' if place is None else f'{place}: '}{own_code.in_words(error)}") from None


def _check_network(model: nn.Module, data: DataSet, prune_layers: str, wrong: str) -> None:
    if not isinstance(model, nn.Module):
        raise UsageError(f"{wrong}it gave back a {type(model).__name__}, and must give a torch.nn.Module")
    try:
        prunable_weights(model, prune_layers)
    except UsageError as error:
        raise UsageError(f"{wrong}{str(error).removeprefix('argument ')}") from None
    examples = torch.zeros(2, *data.example_shape)
    shape = list(examples.shape)
    for training in (True, False):
        output = model.train(training)(examples)
        if not isinstance(output, Tensor):
            raise UsageError(f"{wrong}its output is a {type(output).__name__}, and must be a tensor of logits")
        if list(output.shape) != [2, data.num_classes] or not output.is_floating_point():
            raise UsageError(
                f"{wrong}for examples {shape} its output is {list(output.shape)}; it must be [2, {data.num_classes}]"
            )


def _check_method(config: ExperimentConfig, data: DataSet) -> None:
    """A step at the beginning, then the end: hooks that wait for a later step are first met there."""
    members = np.arange(min(EXAMPLES, len(data.train_labels)))
    config = dataclasses.replace(config, precision="float32", batch_size=len(members))
    trainer = Trainer(config, data, members, torch.device("cpu"))
    generator = torch.Generator().manual_seed(0)
    for batch, draws in trainer.epoch_batches(generator):
        trainer.train_step(batch, config.lr, draws)
    trainer.pruner.at_target(1)
    trainer.pruner.state()
    trainer.pruner.phase()
    trainer.finish_pruning()
    trainer.load_state_dict({**trainer.state_dict(), "step": 0})
    model = trainer.export()
    for name, mask in model.masks.items():
        if model.weights[name][~mask].any():
            raise RunError(f"after finish(), weights of {name} that its mask drops are not 0")
