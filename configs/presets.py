"""Named starting points for `--preset`; an explicit flag overrides a preset's value."""

from __future__ import annotations

from typing import Any

from configs.experiment import OWN_DENSE

EVERY = ["every"]  # in the place of names: all that a flag's registry has of this project
# Minutes on two CPU cores, no network. With augmentation, digits leak next to nothing.
QUICK: dict[str, Any] = {
    "dataset": "digits",
    "arch": "resnet",
    "layers": 8,
    "augment": "none",
    "epochs": 40,
    # at 0.1 a ResNet-8 with 95 percent of its weights masked does not always recover
    "lr": 0.05,
    "methods": ["dense", "static", "dpf"],
    "sparsities": [0.8, 0.95],
    "num_shadows": 7,
    "attack_recipe": "fast",
    # all that train nothing, and one that trains networks: the four others take most of an evaluation's time
    "attacks": [
        *("lira_bayes", "lira", "rmia", "shokri_nn", "confidence", "entropy", "modified_entropy", "loss"),
        "lira_global",
    ],
}
PRESETS: dict[str, dict[str, Any]] = {
    "quick": QUICK,
    # Every method with both controls, within half an hour on two CPU cores. The cells of quick are among them.
    "zoo": {
        **QUICK,
        "methods": EVERY,
        "controls": ["accuracy", "size"],
        # an epoch has six steps: every other one SET and RigL change their masks
        "update_freq": 12,
        # between all pairs of so many cells it would take longer than everything else
        "shadows_from": ["own"],
    },
    # The dense networks of quick, and what is pruned from them, as it is done to a network that is there: pruned at
    # once, and then trained on by the same schedule. Dense twice, for what a second dense network would add.
    "chain": {
        **QUICK,
        "pretrained": OWN_DENSE,
        "prune_epoch": 0,
        "replicates": 1,
        "replicate_cells": ["dense"],
    },
    # A night on two CPU cores: a network that memorises some of its pictures at a respectable accuracy. With random
    # crops as well the gap between members and others is a third of this one (docs/study.md).
    "laptop": {
        "dataset": "cifar10",
        "pool_size": 20_000,
        "arch": "resnet",
        "layers": 8,
        "augment": "flip",
        "epochs": 24,
        "methods": ["dense", "static", "dpf"],
        "sparsities": [0.7, 0.9, 0.95],
        "num_shadows": 7,
        "controls": ["accuracy"],
        "replicates": 1,
        "replicate_cells": ["dense"],
        "attack_recipe": "fast",
        "attacks": QUICK["attacks"],
        "shadows_from": ["own"],
    },
    # A night on one GPU.
    "standard": {
        "dataset": "cifar10",
        "arch": "resnet",
        "layers": 20,
        "epochs": 100,
        "methods": ["dense", "static", "dpf"],
        "sparsities": [0.5, 0.7, 0.8, 0.9, 0.95],
        "num_shadows": 15,
        "num_targets": 4,
    },
    # Publication size: 11 cells of 64 models.
    "paper": {
        "dataset": "cifar10",
        "arch": "resnet",
        "layers": 20,
        "epochs": 200,
        "methods": ["dense", "static", "dpf"],
        "sparsities": [0.5, 0.7, 0.8, 0.9, 0.95],
        "num_shadows": 63,
        "num_targets": 8,
        "num_queries": 18,
    },
}
