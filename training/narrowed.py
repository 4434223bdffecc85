"""A finished network without the channels that its masks take away."""

from __future__ import annotations

import torch

from artifacts.checkpoint import TrainedModel
from configs.experiment import ExperimentConfig
from data.base import DataSet
from pruning.narrow import channels_of, kept_channels, with_channels
from training.networks import blank_model


def narrowed(config: ExperimentConfig, data: DataSet, masked: TrainedModel) -> TrainedModel:
    """The smaller network, which gives the outputs of the masked one up to rounding; of it, its masks keep all."""
    model = blank_model(config, data)
    model.load_state_dict(masked.weights, assign=True)
    with_channels(model, kept_channels(masked.masks, channels_of(model)))
    weights = {name: value.detach().contiguous() for name, value in model.state_dict().items()}
    return TrainedModel(weights, {name: torch.ones_like(weights[name], dtype=torch.bool) for name in masked.masks})
