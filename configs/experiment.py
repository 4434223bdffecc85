"""What one model is: the fields that decide its weights, its fingerprint, and what cells of a comparison share."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs.errors import UsageError
from configs.knobs import MethodKnobs, check_fields, knob, later_fields, typed

if TYPE_CHECKING:
    from typing_extensions import Self

# Raised when the meaning of a field or the training code changes results: older runs then count as another experiment.
SCHEMA_VERSION = 1
# The methods' knobs that every stored configuration has, None where they are another method's. Closed for good.
FIRST_KNOBS = ("prune_epoch", "prune_freq", "target_epoch", "freeze_epoch")
# The fields whose values always enter a run's identity. Closed for good: a field that is added declares `absent`.
FIRST_FIELDS = frozenset(
    (
        *("method", "sparsity", "dataset", "dataset_name", "image_size", "pool_size", "train_fraction", "arch"),
        *("layers", "width_mult", "epochs", "batch_size", "lr", "momentum", "weight_decay", "scheduler", "augment"),
        *("precision", "select", "pretrained", "pretrained_hash", *FIRST_KNOBS, "seed", "num_shadows", "model_index"),
    )
)
# What names a cell beside method and sparsity; a report has a block for each.
SETTING = ("dataset", "arch", "layers", "width_mult", "seed", "split")
# What a dense cell of a sweep is a control for, and then made otherwise than the sweep: at equal accuracy, with fewer
# epochs; at equal size, with fewer channels.
CONTROLS = ("accuracy", "size")
# What tells the models of one cell apart.
OF_ONE_MODEL = ("model_index", "pretrained_hash", "pretrained_run")
# The value of `pretrained` that means the dense cell of the same sweep.
OWN_DENSE = "dense"
# How a cell was trained, apart from what its pruning method alone has a say in. Data and pool count by their hashes.
RECIPE = (
    "channels",
    *("epochs", "batch_size", "lr", "momentum", "weight_decay", "scheduler", "augment", "precision", "select"),
    *("pretrained", "prune_layers"),
)


@dataclasses.dataclass(frozen=True)
class ExperimentConfig:
    """Everything that decides one model's weights, and what the cell is there for (`control`).

    control: one of CONTROLS, in a folder and with a name of its own, or None; it decides no weights and is in no
    fingerprint. pretrained_hash: sha256 of the weights that it starts from; pretrained_run: in its place the
    fingerprint of the run whose weights they are, where the same sweep trains that run and nobody knows them before.
    knobs: of its pruning method, declared beside its class. method_file, arch_file: of a method or network
    in a file of the user's own, where it lay; method_hash, arch_hash: that file's sha256, which is part of the
    identity. `sweep.plan.resolve` completes a configuration. Adding a field or a knob, or changing a default, leaves
    the runs there are what they are: a field that is none of FIRST_FIELDS, and a knob that a method gains later,
    declare the value that their absence means (`absent`), and only another value enters the identity.
    """

    method: str = "dense"
    method_file: str | None = dataclasses.field(default=None, metadata={"absent": None})
    method_hash: str | None = dataclasses.field(default=None, metadata={"absent": None})
    sparsity: float = knob(
        0.0, "fraction of zeros among prunable weights, in [0, 1)", kind=float, low=0.0, below=1.0, metavar="S"
    )
    dataset: str = knob("cifar10", "data set", choices="datasets", also=("FILE.npz",))
    dataset_name: str = ""
    image_size: int | None = knob(
        None, "side in pixels that an image folder is resized to", kind=int, low=4, high=1024, shown="32"
    )
    pool_size: int | None = knob(
        None, "cap on the pool (members and non-members together)", kind=int, low=2, shown="the whole training set"
    )
    train_fraction: float = knob(
        0.5,
        "share of the pool that trains each model; 1.0 leaves no non-members, so such a run cannot be attacked",
        kind=float,
        low=0.01,
        high=1.0,
    )
    split: str = knob(
        "pairs",
        "who trains on what: models 2j and 2j + 1 on the two sides of a coin per example (pairs), every model on its "
        "own half of one pool, each example in half of the models (balanced), or the target in one half of the pool "
        "and its shadow models in the other (disjoint)",
        choices=("pairs", "balanced", "disjoint"),
        absent="balanced",
    )
    arch: str = knob(
        "resnet", "architecture", choices="architectures", also=("FILE.py:function", "torchvision:NAME", "timm:NAME")
    )
    arch_file: str | None = dataclasses.field(default=None, metadata={"absent": None})
    arch_hash: str | None = dataclasses.field(default=None, metadata={"absent": None})
    layers: int | None = knob(None, "depth", kind=int, low=1, shown="the architecture's")
    width_mult: int | None = knob(None, "channel multiplier", kind=int, low=1, high=64, shown="the architecture's")
    channels: int | None = knob(
        None,
        "channels of the network's first stage, which all its widths are multiples of",
        kind=int,
        low=1,
        high=1024,
        shown="the architecture's",
        absent=None,
    )
    epochs: int = knob(200, "passes over the members", kind=int, low=1)
    batch_size: int = knob(128, "examples per step", kind=int, low=1)
    lr: float = knob(0.1, "peak learning rate of SGD", kind=float, low=0.0)
    momentum: float = knob(0.9, "momentum of SGD", kind=float, low=0.0, below=1.0)
    weight_decay: float = knob(5e-4, "weight decay of SGD", kind=float, low=0.0)
    scheduler: str = knob(
        "multistep",
        "learning-rate schedule; multistep is x0.1 at 50 and 75 percent of the epochs",
        choices=("multistep", "cosine", "onecycle"),
    )
    augment: str | None = knob(
        None, "standard is random crop and mirror", choices="augmentations", shown="standard; crop for svhn"
    )
    precision: str = knob(
        "auto",
        "arithmetic of training; queries are always float32. auto takes bfloat16 where the hardware has it",
        choices=("auto", "float32", "bfloat16"),
    )
    select: str = knob(
        "last",
        "which epoch's model is kept; best is by test accuracy among the epochs at full target sparsity",
        choices=("last", "best"),
    )
    pretrained: str | None = knob(
        None,
        "start from these weights: a .pth file; the folder of a cell, whose models then start their counterparts; or "
        "dense, in train.py: every pruned model starts from the dense one of its number, once this sweep has it",
        shown="random initialisation",
        metavar="PATH",
    )
    pretrained_hash: str | None = None
    pretrained_run: str | None = dataclasses.field(default=None, metadata={"absent": None})
    prune_layers: str | None = knob(
        None,
        "layers that are pruned: every convolution (conv), linear layers as well (all); never the last linear layer, "
        "which is the classifier",
        choices=("conv", "all"),
        shown="conv; all for mlp",
        absent="conv",
    )
    knobs: MethodKnobs = dataclasses.field(default_factory=MethodKnobs)
    seed: int = knob(0, "seed of the split, the initialisations and the batches", kind=int, low=0, high=2**31 - 1)
    train_seed: int = knob(
        0,
        "seed of initialisations and batches alone: cells that differ in nothing else are replicates, trained on the "
        "same memberships from other starts",
        kind=int,
        low=0,
        high=2**31 - 1,
        absent=0,
    )
    control: str | None = dataclasses.field(default=None, metadata={"absent": None})
    num_shadows: int = knob(9, "shadow models per cell", kind=int, low=0, high=4096)
    model_index: int = 0
    # sha256 of the file, where the data set is one of the user's own.
    dataset_hash: str | None = dataclasses.field(default=None, metadata={"absent": None})

    def __post_init__(self) -> None:
        check_fields(self)
        if self.control not in (None, *CONTROLS):
            raise UsageError(f"{self.control!r} is no control; known are {', '.join(CONTROLS)}")
        if not 0 <= self.model_index <= self.num_shadows:
            raise UsageError(f"model index {self.model_index} is not allowed; give 0 to {self.num_shadows}")

    @property
    def grows(self) -> bool:
        """Whether models can be added to the cell and leave those there what they are."""
        return self.split == "pairs"

    @property
    def built_in(self) -> bool:
        """Whether network and method are this project's; of others it cannot be known what they draw at random."""
        return self.method_hash is None and self.arch_hash is None and ":" not in self.arch

    @property
    def total_epochs(self) -> int:
        """Passes over the members that the training makes in all: `epochs`, but for methods that train longer."""
        return self.knobs.total_epochs(self.epochs)

    @property
    def num_models(self) -> int:
        """M: the target and its shadows; the split is drawn for all of them."""
        return self.num_shadows + 1

    def flat(self) -> dict[str, Any]:
        """Every field by name, in order, the method's knobs in the place of `knobs`."""
        fields: dict[str, Any] = {}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            fields |= {**dict.fromkeys(FIRST_KNOBS), **vars(value)} if field.name == "knobs" else {field.name: value}
        return fields

    def described(self) -> dict[str, Any]:
        """What names and describes the cell in tables: method, sparsity, SETTING, train_seed, control, RECIPE,
        the knobs.

        dataset: its name for people, an image folder's own; pretrained: yes or no.
        """
        fields = self.flat()
        names = ("method", "sparsity", *SETTING, "train_seed", "control", *RECIPE, *FIRST_KNOBS, *self.knobs.names())
        values = {name: fields[name] for name in names}
        return {**values, "dataset": self.dataset_name, "pretrained": "no" if self.pretrained is None else "yes"}

    def identity(self) -> dict[str, Any]:
        """The fields that decide this model's weights. Paths are left out: data and weights count by their hashes."""
        fields = self.flat()
        # an own method's file has its hash: nothing about its knobs has to outlive a change of it
        later = later_fields(self.knobs) if self.method_hash is None else {}
        del fields["control"]
        for name, absent in (later_fields(self) | later).items():
            if name in fields and fields[name] == absent:
                del fields[name]
        for path in ("pretrained", "method_file", "arch_file"):
            fields.pop(path, None)
        if self.grows:
            del fields["num_shadows"]
        return {"schema_version": SCHEMA_VERSION, **fields}

    def fingerprint(self) -> str:
        """sha256 of the canonical JSON of `identity`."""
        return _hash(self.identity())

    def cell_fingerprint(self) -> str:
        """The same for the cell: what a target and its shadows have in common."""
        identity = self.identity()
        # Each model of a cell may start from its own counterpart's weights; the cell is told apart by the rest.
        for own in OF_ONE_MODEL:
            identity.pop(own, None)
        started = self.pretrained_hash is not None or self.pretrained_run is not None
        return _hash({**identity, "pretrained": started})

    def to_json(self) -> str:
        """The configuration and its fingerprint, as written to `config.json`."""
        fields = {**self.flat(), "schema_version": SCHEMA_VERSION, "fingerprint": self.fingerprint()}
        return json.dumps(fields, indent=2) + "\n"

    @classmethod
    def from_dict(cls, fields: Any, method_knobs: type[MethodKnobs] = MethodKnobs) -> Self:
        """Read back what `to_json` or `flat` wrote, also before fields were added.

        method_knobs: what its method declares (`pruning.registry.stored_config` knows). UsageError for unknown or
        ill-typed fields.
        """
        if not isinstance(fields, dict):
            raise UsageError("a configuration must be a JSON object")
        known = {field.name: field for field in dataclasses.fields(cls) if field.name != "knobs"}
        own = {field.name: field for field in dataclasses.fields(method_knobs)}
        others = {name for name in FIRST_KNOBS if name not in own and fields.get(name) is None}
        extra = sorted(set(fields) - {*known, *own, *others, "schema_version", "fingerprint"})
        if extra:
            raise UsageError(f"unknown configuration field {extra[0]!r}")
        values = {name: typed(name, field, fields[name]) for name, field in known.items() if name in fields}
        knobs = {name: typed(name, field, fields[name]) for name, field in own.items() if name in fields}
        missing = sorted(set(own) - set(knobs) - set(later_fields(method_knobs)))
        if missing:
            raise UsageError(f"configuration field {missing[0]!r} is missing")
        return cls(**later_fields(cls) | values, knobs=method_knobs(**later_fields(method_knobs) | knobs))


def _hash(fields: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def differing_fields(ours: dict[str, Any], theirs: dict[str, Any]) -> list[str]:
    """`name: theirs -> ours` for each field of two identities that differs."""
    names = sorted(set(ours) | set(theirs))
    return [f"{name}: {theirs.get(name)} -> {ours.get(name)}" for name in names if ours.get(name) != theirs.get(name)]


def differences(config: ExperimentConfig, stored: ExperimentConfig) -> str:
    """What tells a model from the one that is stored, in words; of own code that is another now, its file."""
    ours, theirs = config.identity(), stored.identity()
    changed = []
    for part, file in (("method", config.method_file), ("arch", config.arch_file)):
        old, new = theirs.pop(f"{part}_hash", None), ours.pop(f"{part}_hash", None)
        if file is not None and old != new and ours[part] == theirs[part]:
            changed.append(f"{Path(file).name} has changed")
    return "; ".join([*dict.fromkeys(changed), *differing_fields(ours, theirs)])
