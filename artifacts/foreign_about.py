"""What a file of signals says of its models, in the JSON text of its array `meta`, and every check on that text."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from artifacts.run_dir import COLUMNS, SAFE_NAME
from configs.experiment import CONTROLS, RECIPE, SETTING, ExperimentConfig
from pruning.registry import BUILT_IN_KNOBS, METHODS

DRAWN = "drawn"  # population_order of examples that stand in the order of `data.splits.draw_population`
NAMES = ("method", "sparsity", *SETTING, "train_seed", "control", *RECIPE, *BUILT_IN_KNOBS)
_DECLARED: tuple[Any, ...] = (ExperimentConfig, *(method.Knobs for method in METHODS.values()))
_FIELDS = {field.name: field for cls in _DECLARED for field in dataclasses.fields(cls)}
HASHES = ("data_hash", "split_hash", "fingerprint", "weights_hash")
COSTS = ("measured_sparsity", "flops", "optimizer_steps")
MEASURED = ("machine", "num_test", "parameters", "sparsity_all_parameters", *COSTS)
KINDS: dict[str, type] = {
    "name": str,
    **{name: _FIELDS[name].metadata.get("kind", str) for name in NAMES},
    "population_order": str,
    **dict.fromkeys(HASHES, str),
    "machine": dict,
    "num_test": int,
    "parameters": int,
    "sparsity_all_parameters": float,
    "measured_sparsity": float,
    "flops": int,
    "optimizer_steps": int,
}
MAX_SEED = 2**31 - 1


class Wrong(Exception):
    """What is wrong in a file, in words."""


@dataclasses.dataclass(frozen=True)
class About:
    """name: of the cell, in tables. described: by name, all of NAMES, None where the file does not say.

    sparsity: in [0, 1). population_order: DRAWN, or None where the order may mean something. data_hash, split_hash,
    fingerprint, weights_hash: of recorded evidence, the data set's, the split's, and the target's; machine: where it
    was trained. num_test: examples that `test_accuracy` was measured on. parameters, sparsity_all_parameters: of the
    target, and which share of them is zero. measured_sparsity, flops, optimizer_steps: of the target, as in its
    summary.
    """

    name: str
    described: dict[str, Any]
    population_order: str | None = None
    data_hash: str | None = None
    split_hash: str | None = None
    fingerprint: str | None = None
    weights_hash: str | None = None
    machine: dict[str, Any] | None = None
    num_test: int | None = None
    parameters: int | None = None
    sparsity_all_parameters: float | None = None
    measured_sparsity: float | None = None
    flops: int | None = None
    optimizer_steps: int | None = None

    @property
    def seed(self) -> int:
        """Of the split; 0 where the file names none."""
        return self.described["seed"] or 0


def read_about(path: Path, array: NDArray[np.generic] | None) -> About:
    """`meta`, UTF-8 JSON; the name is the file's where it gives none. Wrong, in words, where it is not allowed."""
    try:
        given: Any = {} if array is None else json.loads(array.tobytes().decode())
    except (ValueError, RecursionError):
        raise Wrong("meta is not JSON in UTF-8") from None
    unknown = sorted(set(given) - set(KINDS)) if isinstance(given, dict) else ["no object"]
    if unknown:
        raise Wrong(f"meta must be one JSON object of {', '.join(KINDS)}; got {unknown[0][:40]!r}")
    fields = {name: _checked(name, value) for name, value in given.items() if value is not None}
    described = {**dict.fromkeys(NAMES), **{name: fields[name] for name in NAMES if name in fields}}
    about = About(
        name=fields.get("name", _file_name(path)),
        described=described,
        **{name: fields[name] for name in ("population_order", *HASHES, *MEASURED) if name in fields},
    )
    _check(about)
    return about


def _checked(name: str, value: Any) -> Any:
    kinds = (int, float) if KINDS[name] is float else KINDS[name]
    if not isinstance(value, kinds) or isinstance(value, bool):
        raise Wrong(f"meta: {name} is {str(value)[:40]!r}; it must be {KINDS[name].__name__}")
    if isinstance(value, str) and (not value.isprintable() or not 0 < len(value) <= 128):
        raise Wrong(f"meta: {name} must be 1 to 128 printable characters")
    return value


def _check(about: About) -> None:
    method, sparsity = about.described["method"], about.described["sparsity"]
    if not SAFE_NAME.fullmatch(about.name) or about.name in COLUMNS:
        raise Wrong(f"meta: the name {about.name!r} is not allowed; use letters, digits, '.', '_' and '-'")
    if (method is None) != (sparsity is None) or not 0 <= (sparsity or 0) < 1:
        raise Wrong("meta: method and sparsity, a number in [0, 1), go together")
    for name in ("seed", "train_seed"):
        if not 0 <= (about.described[name] or 0) <= MAX_SEED:
            raise Wrong(f"meta: {name} must lie in 0 to {MAX_SEED}")
    if about.described["control"] not in (None, *CONTROLS):
        raise Wrong(f"meta: control must be one of {', '.join(CONTROLS)}, or left out")
    if about.num_test is not None and about.num_test < 1:
        raise Wrong(f"meta: num_test is {about.num_test}; it must be 1 or more")
    if (about.parameters or 1) < 1 or not 0 <= (about.sparsity_all_parameters or 0) < 1:
        raise Wrong("meta: parameters must be 1 or more, and sparsity_all_parameters lie in [0, 1)")
    if not 0 <= (about.measured_sparsity or 0) < 1 or min(about.flops or 0, about.optimizer_steps or 0) < 0:
        raise Wrong("meta: measured_sparsity must lie in [0, 1), and flops and optimizer_steps be 0 or more")
    if about.population_order not in (None, DRAWN):
        raise Wrong(f"meta: population_order is {about.population_order!r}; it must be {DRAWN!r}, or left out")


def _file_name(path: Path) -> str:
    allowed = [letter if SAFE_NAME.fullmatch(f"_{letter}") else "_" for letter in path.stem]
    name = ("".join(allowed).lstrip(".-") or "signals")[:128]
    return f"{name}_" if name in COLUMNS else name
