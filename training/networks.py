"""The network that a configuration names, with its first weights or without any."""

from __future__ import annotations

import torch
from torch import nn

from configs.experiment import ExperimentConfig
from configs.streams import INIT_STREAM, stream_seed
from data.base import DataSet
from models.group_norm import group_normed
from models.registry import OWN, build_model, build_own, entry_of
from pruning.registry import is_private


def new_model(config: ExperimentConfig, data: DataSet) -> nn.Module:
    """An initialised float32 model; the global random state is left as it was.

    RunError where it is of a file of the user's own that is not at hand.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream_seed(config, INIT_STREAM))
        inputs = (entry_of(config.arch) or OWN).inputs_of(data.example_shape)
        if config.arch_hash is not None:
            return build_own(config.arch, config.arch_file or "", config.arch_hash, inputs, data.num_classes)
        sizes = (config.layers, config.width_mult, inputs, data.num_classes, config.channels)
        model = build_model(config.arch, *sizes)
        return group_normed(model) if is_private(config.method) else model


def blank_model(config: ExperimentConfig, data: DataSet) -> nn.Module:
    """A model whose weights say nothing: without memory where the network is this project's, as others may not bear."""
    if not config.built_in:
        return new_model(config, data)
    with torch.device("meta"):
        return new_model(config, data)
