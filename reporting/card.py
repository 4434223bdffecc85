"""The model card (Markdown) of an exported network: what it is, how good, how private, how to load it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Any

from attacks.registry import ATTACKS
from models.registry import entry_of
from pruning.registry import METHODS, is_private, narrows, prunes
from reporting.columns import filled
from reporting.frames import is_empty

METRICS = {
    "auc": "AUC",
    "accuracy": "balanced accuracy",
    "tpr_at_fpr_0.001": "TPR@0.1%FPR",
    "tpr_at_fpr_0.01": "TPR@1%FPR",
}
_SPECIAL = re.compile(r"([\\`*_{}\[\]()#+!|<>&~$])")


@dataclass(frozen=True)
class Card:
    """What a card is made of: `evaluation.export.describe`, the settings of the training by name, the run's summary,
    class names, shapes by tensor, sizes in bytes and sha256 by file name, and rows of summary.csv, or None where the
    network was not attacked."""

    about: dict[str, Any]
    recipe: dict[str, Any]
    summary: dict[str, Any]
    classes: Sequence[str]
    shapes: dict[str, list[int]]
    sizes: dict[str, int]
    hashes: dict[str, str]
    attacks: list[dict[str, Any]] | None


def write_card(card: Card) -> str:
    """The card's text; names that come from folders or files are escaped."""
    parts = (_what, _use, _accuracy, _sparsity, _attacks, _recipe, _loading, _hashes)
    return "\n".join(line for part in parts for line in (*part(card), "")).rstrip() + "\n"


def escaped(text: object) -> str:
    """Text such that Markdown shows it as it is: one line, nothing in it a mark-up."""
    return _SPECIAL.sub(r"\\\1", " ".join(str(text).split()))


def _table(heading: Sequence[str], rows: Sequence[Sequence[object]]) -> Iterator[str]:
    """A table without the columns that hold no value."""
    fields = [[escaped(field) for field in row] for row in rows]
    kept = filled(fields) if fields else [True] * len(heading)
    yield f"| {' | '.join(compress(heading, kept))} |"
    yield f"|{'---|' * sum(kept)}"
    for row in fields:
        yield f"| {' | '.join(compress(row, kept))} |"


def _percent(value: Any) -> str:
    return "-" if is_empty(value) else f"{100 * value:.2f} %"


def _what(card: Card) -> Iterator[str]:
    about = card.about
    title = METHODS[about["method"]].title if about["method"] in METHODS else about["method"]
    share = _percent(card.summary["measured_sparsity"])
    pruned = f"pruned ({title}) to {share} zeros among {_prunable(about)}"
    if narrows(about["method"]):
        pruned = f"pruned ({title}) of channels, {share} of {_prunable(about)} left out"
    kind = pruned if prunes(about["method"]) else "not pruned"
    if is_private(about["method"]):
        kind = (
            f"not pruned, trained by {title} for (epsilon, delta)-differential privacy with epsilon "
            f"{card.recipe['epsilon']:g} and delta {card.recipe['delta']:g}, which does not hold for those who know "
            "its seed"
        )
    yield f"# {escaped(about['experiment'])}"
    yield ""
    depth = "" if about["layers"] is None else f"-{about['layers']}"
    width = "" if about["width_mult"] is None else f", width {about['width_mult']}"
    yield (
        f"A classifier of {'rows of a table' if _is_table(about) else 'images'}: "
        f"{escaped(about['arch'])}{depth}{width}, {kind}, trained on {escaped(about['dataset'])} "
        f"({about['num_classes']} classes, {' x '.join(map(str, about['example_shape']))} "
        f"{'features' if _is_table(about) else 'pixels'})."
    )


def _is_table(about: dict[str, Any]) -> bool:
    return len(about["example_shape"]) == 1


def _prunable(about: dict[str, Any]) -> str:
    """The weights that the sparsity is a share of."""
    both = "the weights of convolutions and of all linear layers but the last"
    return both if about["prune_layers"] == "all" else "convolution weights"


def _use(card: Card) -> Iterator[str]:
    yield "## Intended use and limits"
    yield ""
    yield (
        "For research on what pruning does to a network's privacy: as the target of membership inference attacks, or "
        "to compare with other networks of the same split. It was trained on "
        f"{card.summary['num_members']:,} of {card.summary['num_pool']:,} examples so that non-members are left, hence "
        "it is less accurate than the same network trained on all of them. It was not made for decisions about people. "
        "A network can give away who was in its training set: think twice before publishing one of private data. A low "
        "attack figure below means that these attacks found little, not that there is nothing to find."
    )


def _accuracy(card: Card) -> Iterator[str]:
    yield "## Accuracy"
    yield ""
    rows = [
        (name, _percent(card.summary[f"{key}_accuracy"]), _number(card.summary[f"{key}_loss"]))
        for key, name in (("test", _test_set(card)), ("train", "members"), ("heldout", "non-members of the pool"))
    ]
    yield from _table(("on", "accuracy", "loss"), rows)


def _test_set(card: Card) -> str:
    best = card.summary.get("select") == "best"
    return "test set (optimistic: the epoch was chosen on it)" if best else "test set"


def _number(value: Any) -> str:
    return "-" if is_empty(value) else f"{value:.4g}"


def _sparsity(card: Card) -> Iterator[str]:
    summary = card.summary
    yield "## Size and sparsity"
    yield ""
    yield (
        f"{summary['parameters']:,} parameters, {summary['prunable_parameters']:,} of them prunable "
        f"({_prunable(card.about)}); zeros: {_percent(summary['measured_sparsity'])} of the prunable weights, "
        f"{_percent(summary['sparsity_all_parameters'])} of all. Multiply-adds an example: {summary['flops']:,} with "
        f"the kept weights, {summary['flops_dense']:,} dense."
    )
    if narrows(card.about["method"]):
        left = round(summary["parameters"] * (1.0 - summary["sparsity_all_parameters"]))
        yield ""
        yield (
            f"What is pruned is left out, not zero: the files hold a network with fewer channels and {left:,} "
            f"parameters, which takes {summary['flops'] / summary['flops_dense']:.3g} of the dense one's multiply-adds."
        )
    yield ""
    yield from _table(("file", "bytes"), [(name, f"{size:,}") for name, size in card.sizes.items()])
    yield ""
    layers = summary["layer_sparsities"].items()
    yield from _table(
        ("layer", "shape", "zeros"),
        [(name, " x ".join(map(str, card.shapes[name])), _percent(share)) for name, share in layers],
    )


def _attacks(card: Card) -> Iterator[str]:
    yield "## Membership inference"
    yield ""
    rows = [row for row in card.attacks or () if row["attack"] in ATTACKS]
    if not rows:
        yield "Not attacked yet. `train.py` and the scripts in `mia/` attack it; exporting again then fills this in."
        return
    found = {(row["attack"], row["metric"]): row for row in rows}
    names = [name for name in ATTACKS if (name, "auc") in found]
    counts, shadows = sorted({int(row["num_targets"]) for row in rows} - {0}), rows[0]["num_shadows"]
    over = "this network" if counts == [1] else f"{counts[-1]} networks of this very pipeline, this one among them"
    over += " (attacks that train networks: this one alone)" if len(counts) > 1 else ""
    yield (
        f"With {shadows} shadow models, over {over}; 95 % intervals in brackets. An AUC of 0.5 is guessing, and so is "
        "an accuracy of 50 % or a TPR that equals its FPR."
    )
    yield ""
    table = [[ATTACKS[name].title, *(_figure(found.get((name, metric))) for metric in METRICS)] for name in names]
    yield from _table(("attack", *METRICS.values()), table)


def _figure(row: dict[str, Any] | None) -> str:
    if row is None or is_empty(row["mean"]):
        return "-"
    ends = "" if is_empty(row["ci_low"]) else f" [{row['ci_low']:.3f}, {row['ci_high']:.3f}]"
    return f"{row['mean']:.3f}{ends}"


def _recipe(card: Card) -> Iterator[str]:
    yield "## Recipe"
    yield ""
    known = [(name, value) for name, value in card.recipe.items() if value is not None]
    yield from _table(("setting", "value"), [*known, ("pruning method", card.about["method"])])


def _normalisation(about: dict[str, Any]) -> str:
    if _is_table(about):  # which may have thousands of features
        return "each feature minus its `mean` and divided by its `std`, lists in the header of `sparse.safetensors`"
    return f"pixels in 0 to 1, each channel minus {about['mean']} and divided by {about['std']}"


def _building(about: dict[str, Any]) -> tuple[str, str, str, str]:
    """Module, function and arguments that make the network, and what that needs, in words."""
    entry = entry_of(about["arch"])
    if entry is None:  # in a file of somebody's own
        module, _, function = about["arch"].rpartition(".")
        arguments = f"num_classes={about['num_classes']}, in_channels={about['inputs']}"
        return module, function, arguments, f"the file `{module}.py`, whose sha256 is {about['arch_hash']}"
    module, function = entry.build.split(":")
    sizes = (about[name] for name in ("layers", "width_mult", "inputs", "num_classes", "channels"))
    arguments = ", ".join(f"{name}={value!r}" for name, value in entry.arguments(*sizes).items())
    files = [f"{module.replace('.', '/')}.py", *(["models/layers.py"] if entry.name is None else ["configs/errors.py"])]
    files += ["pruning/narrow.py"] if narrows(about["method"]) else []
    files += ["models/group_norm.py"] if is_private(about["method"]) else []
    named = " and ".join(f"`{file}`" for file in files)
    return module, function, arguments, f"nothing of the project but the files {named}"


def _loading(card: Card) -> Iterator[str]:
    about = card.about
    shape = f"[B, {', '.join(map(str, about['example_shape']))}]"
    module, function, arguments, needs = _building(about)
    names = ", ".join(escaped(name) for name in card.classes[:20]) + (", ..." if len(card.classes) > 20 else "")
    yield "## How to load it"
    yield ""
    yield (
        f"Input: float32 {shape}, {_normalisation(about)}. "
        f"Output: logits [B, {about['num_classes']}], classes in this order: {names}."
    )
    yield ""
    yield (
        "`state_dict.pth` is a plain state dict. Any network whose parameters have these names and shapes takes it; "
        f"the one it was trained as needs {needs}:"
    )
    yield ""
    yield "```python"
    yield "import torch"
    yield f"from {module} import {function}"
    if narrows(about["method"]):
        yield "from pruning.narrow import fitted"
    if is_private(about["method"]):
        yield "from models.group_norm import group_normed"
    yield ""
    yield 'weights = torch.load("state_dict.pth", weights_only=True)'
    built = f"{function}({arguments})"
    built = f"group_normed({built})" if is_private(about["method"]) else built
    yield f"model = {f'fitted({built}, weights)' if narrows(about['method']) else built}"
    yield "model.load_state_dict(weights)"
    yield "model.eval()"
    yield "```"
    yield ""
    yield (
        "`sparse.safetensors` holds the same bits: of a pruned tensor NAME its kept weights (`NAME.values`) and a bit "
        "a weight (`NAME.mask`). `artifacts.sparse.load_sparse` reads and verifies it; without the project:"
    )
    yield ""
    yield "```python"
    yield "import json"
    yield "import numpy as np"
    yield "from safetensors import safe_open"
    yield ""
    yield 'with safe_open("sparse.safetensors", framework="numpy") as file:'
    yield '    shapes = json.loads(file.metadata()["sparse"])["shapes"]'
    yield "    tensors = {name: file.get_tensor(name) for name in file.keys()}"
    yield "for name, shape in shapes.items():"
    yield '    values, packed = tensors.pop(name + ".values"), tensors.pop(name + ".mask")'
    yield "    mask = np.unpackbits(packed, count=int(np.prod(shape))).astype(bool).reshape(shape)"
    yield "    tensors[name] = np.zeros(shape, values.dtype)"
    yield "    tensors[name][mask] = values"
    yield "```"
    yield ""
    yield "<details><summary>Names and shapes</summary>"
    yield ""
    yield from _table(("tensor", "shape"), [(name, size) for name, size in card.shapes.items()])
    yield ""
    yield "</details>"


def _hashes(card: Card) -> Iterator[str]:
    yield "## Hashes"
    yield ""
    data = {"fingerprint of the configuration": card.about["fingerprint"], "data set": card.about["data_hash"]}
    split = {"split": card.summary["split_hash"]}
    yield from _table(("of", "sha256"), list({**card.hashes, **data, **split}.items()))
