"""What tells cells apart in words: the method, the sparsity, and which training of the same cell it is."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from configs.experiment import RECIPE, SETTING
from pruning.registry import all_knobs
from reporting.frames import is_empty

Row = Mapping[Any, Any]  # str keys; those of a frame are Hashable to a type checker
KIND = ("method", "sparsity")


def again(train_seed: Any) -> str:
    """` (train seed 1)`, to follow the name of a cell; nothing for the first training, or where it is not known."""
    return "" if is_empty(train_seed) or not train_seed else f" (train seed {int(train_seed)})"


def _trained() -> tuple[str, ...]:
    return (*KIND, *SETTING, *RECIPE, *all_knobs())


def _values(cell: Row, names: Sequence[str]) -> tuple[Hashable, ...]:
    return tuple(None if is_empty(cell.get(name)) else cell[name] for name in names)


def told_apart(cells: Sequence[Row]) -> bool:
    """Whether method, sparsity and train seed are a name for each of these cells.

    Not where a method is unknown, nor where cells of one method and sparsity differ in setting or recipe.
    """
    if any(is_empty(cell["method"]) for cell in cells):
        return False
    trained = _trained()
    recipes = {_values(cell, trained) for cell in cells}
    return len(recipes) == len({_values(cell, KIND) for cell in cells}) and len(cells) == len(
        {_values(cell, (*KIND, "train_seed")) for cell in cells}
    )


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
