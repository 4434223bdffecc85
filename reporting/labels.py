"""What tells cells apart in words: the method, the sparsity, and which training of the same cell it is."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

from configs.experiment import RECIPE, SETTING
from pruning.registry import METHODS, all_knobs
from reporting.frames import is_empty

Row = Mapping[Any, Any]  # str keys; those of a frame are Hashable to a type checker
KIND = ("method", "sparsity")


def again(train_seed: Any) -> str:
    """` (train seed 1)`, to follow the name of a cell; nothing for the first training, or where it is not known."""
    return "" if is_empty(train_seed) or not train_seed else f" (train seed {int(train_seed)})"


def _trained() -> tuple[str, ...]:
    return (*KIND, *SETTING, *RECIPE, *all_knobs())


def control_words(cell: Row) -> str:
    """`, epochs 5` or `, channels 7`, to follow the name of a control; nothing for any other cell."""
    name = {"accuracy": "epochs", "size": "channels"}.get(str(cell.get("control")))
    return f", {name} {int(cell[name])}" if name else ""


def naming_knobs(methods: Iterable[Any]) -> list[str]:
    """The columns that `knob_words` reads for cells of these methods."""
    found = dict.fromkeys(METHODS[method].named_by for method in methods if method in METHODS)
    return [name for name in found if name is not None]


def knob_words(cell: Row) -> str:
    """` epsilon 8`, to follow the name of a method whose cells are named by a knob; nothing for any other."""
    name = METHODS[cell["method"]].named_by if cell["method"] in METHODS else None
    return "" if name is None or is_empty(cell.get(name)) else f" {name} {cell[name]:g}"


def _values(cell: Row, names: Sequence[str]) -> tuple[Hashable, ...]:
    return tuple(None if is_empty(cell.get(name)) else cell[name] for name in names)


def told_apart(cells: Sequence[Row]) -> bool:
    """Whether method, sparsity, what makes a control, and train seed are a name for each of these cells.

    Not where a method is unknown, nor where cells of one method and sparsity differ in setting or recipe.
    """
    if any(is_empty(cell["method"]) for cell in cells):
        return False
    trained = _trained()
    kinds = {(*_values(cell, KIND), control_words(cell)) for cell in cells}
    names = {(*_values(cell, (*KIND, "train_seed")), control_words(cell)) for cell in cells}
    return len(kinds) == len({_values(cell, trained) for cell in cells}) and len(names) == len(cells)


def controls(cells: Sequence[Row]) -> set[str]:
    """The experiments that are there for pruned cells to be held against."""
    return {str(cell["experiment"]) for cell in cells if not is_empty(cell.get("control"))}


def named_pair(row: Any, labels: Mapping[str, str]) -> tuple[str, str]:
    """What a row of comparisons.csv compares, in words."""
    a, b = labels[row["experiment_a"]], labels[row["experiment_b"]]
    return a, f"{b} at its accuracy" if row["kind"] == "equal_accuracy" else b


def replicates(cells: Sequence[Row]) -> set[str]:
    """The experiments that train another one again: the same setting, recipe and split, and a higher train seed."""
    alike: dict[tuple[Hashable, ...], list[Row]] = {}
    for cell in cells:
        if not is_empty(cell.get("train_seed")):
            alike.setdefault(_values(cell, (*_trained(), "data_hash", "split_hash")), []).append(cell)
    lowest = {kind: min(cell["train_seed"] for cell in group) for kind, group in alike.items()}
    return {
        str(cell["experiment"]) for kind, group in alike.items() for cell in group if cell["train_seed"] > lowest[kind]
    }
