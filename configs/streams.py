"""The random streams of one model, by name: what one purpose draws changes no other's."""

from __future__ import annotations

from configs.experiment import ExperimentConfig

INIT_STREAM, EPOCH_STREAM, MASK_STREAM, STEP_STREAM, NOISE_STREAM = 0, 1, 2, 3, 4


def stream_seed(config: ExperimentConfig, *stream: int) -> int:
    """A 63-bit seed for one purpose of one model.

    The method is left out: methods share starts and batches, at one train seed. Train seed 0 draws what was drawn
    before there were others.
    """
    import numpy as np

    replicate = (config.train_seed,) if config.train_seed else ()
    sequence = np.random.SeedSequence([config.seed, config.model_index, *stream], spawn_key=replicate)
    return int(sequence.generate_state(1, np.uint64)[0] >> 1)
