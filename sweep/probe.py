"""A process that measures: trains one model for as many seconds as each line of standard input says.

Started by `sweep.capacity` and `sweep.cost`; its argument is JSON: config, device, data_dir, cuda_graphs, threads. It
answers in lines of JSON: {"ready": true} once it is warm, then a `capacity.Reading` for each number. A line with
another configuration, as JSON, is answered by {"ready": true} once a model of that one is warm.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import sys
import time
from collections.abc import Iterator
from typing import Any

import torch

from configs import own_code
from configs.experiment import ExperimentConfig
from data.inputs import open_data, open_split
from pruning.registry import stored_config, with_code
from sweep.capacity import Reading
from training.device import CONTEXT_MIB, own_share, pick_device
from training.graphs import COMPARED, recorder_for
from training.loop import Trainer
from training.lr import learning_rate

# Enough for a recording to be made and compared; where none is made, a first step that is not like the others.
WARM_STEPS = {"cuda": 2 * COMPARED + 4}
FEW_WARM_STEPS = 2
# A look at the clock makes a device wait, which a CPU does anyway.
STEPS_BETWEEN_LOOKS = {"cuda": 16}


def steps(trainer: Trainer) -> Iterator[int]:
    """Examples of each step, for ever."""
    generator = torch.Generator().manual_seed(0)
    trainer.model.train()
    while True:
        for batch, draws in trainer.epoch_batches(generator):
            rate = learning_rate(trainer.config, trainer.step_count, trainer.steps_per_epoch)
            trainer.train_step(batch, rate, draws)
            trainer.step_count += 1
            yield len(batch)


def read(trainer: Trainer, work: Iterator[int], seconds: float) -> Reading:
    """Train for about `seconds`; pictures a second and memory."""
    device, done = trainer.device, 0
    _wait(device)
    started = time.perf_counter()
    while time.perf_counter() - started < seconds:
        done += sum(next(work) for _ in range(STEPS_BETWEEN_LOOKS.get(device.type, 1)))
        _wait(device)
    rate = done / (time.perf_counter() - started)
    one, free = 0.0, math.inf
    if device.type == "cuda":
        one = CONTEXT_MIB + torch.cuda.max_memory_reserved(device) / 2**20
        free = torch.cuda.mem_get_info(device)[0] / 2**20
    return Reading(rate, one, free, len(trainer.members))


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def prepared(config: ExperimentConfig, device: torch.device, task: dict[str, Any]) -> tuple[Trainer, Iterator[int]]:
    """A model in training that has taken its first steps."""
    data, _ = open_data(config, task["data_dir"])
    split = open_split(config, data)
    members = split.pool[split.members(config.model_index)]
    trainer = Trainer(
        config, data, members, device, recorder_for(device, task["cuda_graphs"] if config.built_in else "off")
    )
    work = steps(trainer)
    for _ in range(WARM_STEPS.get(device.type, FEW_WARM_STEPS)):
        next(work)
    return trainer, work


def main() -> None:
    """Serve until standard input ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a library prints must not be taken for an answer
    task = json.loads(sys.argv[1])
    own_code.trust(())  # what its task names, the command that started it named
    device = pick_device(task["device"])
    own_share(device, 1)
    torch.set_num_threads(task["threads"])
    trainer, work = prepared(with_code(stored_config(task["config"])), device, task)
    print(json.dumps({"ready": True}), file=answers, flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        if isinstance(asked, dict):
            trainer, work = prepared(with_code(stored_config(asked)), device, task)
            answer: dict[str, Any] = {"ready": True}
        else:
            answer = dataclasses.asdict(read(trainer, work, float(asked)))
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
