"""Pruning methods by name. A new one is a file with a subclass of `Pruner`, and one line here.

Beside them stand, for the length of a command, those in files of the user's own (`pruning.own`). Light to import, for
`--help` reads the declarations: a method's file imports torch where it computes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pkgutil import resolve_name
from typing import Any

from configs import own_code
from configs.errors import UsageError
from configs.experiment import FIRST_KNOBS, ExperimentConfig
from configs.knobs import MethodKnobs
from pruning.base import Pruner
from pruning.own import StoredMethod, checked, stored_method

_CLASSES = {
    "dense": "pruning.base:Pruner",
    "static": "pruning.static:StaticPruner",
    "dpf": "pruning.dpf:DPFPruner",
    "random": "pruning.random:RandomPruner",
    "gmp": "pruning.gmp:GMPPruner",
    "imp": "pruning.imp:IMPPruner",
    "set": "pruning.set:SETPruner",
    "rigl": "pruning.rigl:RigLPruner",
    "snip": "pruning.snip:SNIPPruner",
    "two_four": "pruning.two_four:TwoFourPruner",
    "channel": "pruning.channel:ChannelPruner",
    "dp_sgd": "pruning.dp_sgd:DPSGD",
}
BASELINE = "dense"  # of "pruned minus dense", and of controls
METHODS: dict[str, type[Pruner]] = {name: resolve_name(where) for name, where in _CLASSES.items()}
# Of the project's own methods, each once.
BUILT_IN_KNOBS = tuple(dict.fromkeys(name for method in METHODS.values() for name in method.Knobs.names()))
# Those of them whose values are words.
TEXT_KNOBS = frozenset(
    field.name
    for method in METHODS.values()
    for field in dataclasses.fields(method.Knobs)
    if field.metadata["kind"] is str
)
_stored_knobs: dict[str, set[str]] = {}  # of methods that folders name, by name


def all_knobs() -> tuple[str, ...]:
    """The names of all methods' own knobs, each once: columns of the tables."""
    own = {knob for knobs in own_methods().values() for knob in knobs}
    return (*BUILT_IN_KNOBS, *sorted(own))


def trainable() -> dict[str, type[Pruner]]:
    """The methods whose code is at hand."""
    return {name: method for name, method in METHODS.items() if not issubclass(method, StoredMethod)}


def knobs_of(method: str) -> tuple[str, ...]:
    """The names of a method's knobs, also where its code is not at hand."""
    names = METHODS[method].Knobs.names()
    return (*names, *sorted(_stored_knobs.get(method, set()) - set(names)))


def own_methods() -> dict[str, tuple[str, ...]]:
    """By name, the knobs that are theirs alone of the methods that are not this project's."""
    own = [name for name in METHODS if name not in _CLASSES]
    return {name: tuple(knob for knob in knobs_of(name) if knob not in BUILT_IN_KNOBS) for name in own}


def add_own(given: str, flag: str, flags: Mapping[str, type]) -> str:
    """Take up the class that the command names as FILE.py:Class; returns its name.

    flags: of the project, with the kinds of values of those that a knob may share. UsageError as `own_code.load`, and
    where the class is no pruning method.
    """
    code = own_code.load(given, flag, _CLASSES)
    _add(code.name, checked(code, flag, flags))
    return code.name


def add_stored(name: str, knobs: tuple[str, ...] = ()) -> None:
    """Take note of a method of somebody's own that a folder names, and of its knobs."""
    _stored_knobs.setdefault(name, set()).update(knobs)
    if name not in METHODS:
        _add(name, type("StoredMethod", (StoredMethod,), {"title": name}))


def forget_own() -> None:
    """Only the project's own methods are known from now on."""
    _stored_knobs.clear()
    for name in [name for name in METHODS if name not in _CLASSES]:
        del METHODS[name]


def _add(name: str, method: type[Pruner]) -> None:
    """After the project's own, by name: colours and rows shall not hang on what a command named first."""
    others = {one: METHODS.pop(one) for one in list(METHODS) if one not in _CLASSES}
    METHODS.update(sorted({**others, name: method}.items()))


def prunes(method: str | None) -> bool:
    """Whether a method has a sparsity, hence a cell for each one of the grid; a method of that name here unknown does,
    where no method is known (None) there is none."""
    return method is not None and (method not in METHODS or METHODS[method].prunes)


def narrows(method: str) -> bool:
    """Whether a method's networks are stored without the channels that it masks."""
    return method in METHODS and METHODS[method].narrows


def is_held(method: str | None) -> bool:
    """Whether a method's cells are held against dense training: all but the baseline's own, and those of which no
    method is known."""
    return method not in (None, BASELINE)


def always_there() -> list[str]:
    """The project's own methods that need no package beside what it needs itself."""
    return [name for name in _CLASSES if METHODS[name].package is None]


def is_private(method: str) -> bool:
    """Whether a method trains with differential privacy."""
    return method in METHODS and METHODS[method].private


def sparsities_of(method: str, grid: Sequence[float]) -> Sequence[float]:
    """The sparsities at which a method has a cell, given those of the grid: 0 where it does not prune."""
    declared = METHODS[method]
    if not declared.prunes:
        return (0.0,)
    return grid if declared.fixed_sparsity is None else (declared.fixed_sparsity,)


def build_pruner(config: ExperimentConfig, steps_per_epoch: int) -> Pruner:
    """The pruner of one run."""
    return METHODS[config.method](config, steps_per_epoch)


def stored_config(fields: Any) -> ExperimentConfig:
    """Read back what `ExperimentConfig.to_json` wrote; UsageError for unknown or ill-typed fields.

    Of a method in a file of the user's own nothing is executed: its knobs are what the fields say.
    """
    method = fields.get("method") if isinstance(fields, dict) else None
    if isinstance(method, str) and method not in _CLASSES and isinstance(fields.get("method_hash"), str):
        return ExperimentConfig.from_dict(fields, _knobs_of_own(method, fields))
    if isinstance(method, str) and method not in _CLASSES:
        raise UsageError(f"unknown method {method[:80]!r}; known are {', '.join(_CLASSES)}")
    return ExperimentConfig.from_dict(fields, METHODS[method].Knobs if isinstance(method, str) else Pruner.Knobs)


def _knobs_of_own(method: str, fields: dict[str, Any]) -> type[MethodKnobs]:
    if not own_code.HASH.fullmatch(fields["method_hash"]):
        raise UsageError(f"method_hash {fields['method_hash'][:80]!r} is no sha256")
    code = own_code.named(method)
    if code is not None and code.sha256 == fields["method_hash"] and method in METHODS:
        return METHODS[method].Knobs
    knobs = stored_method(method, fields)
    add_stored(method, tuple(name for name in knobs.names() if name not in FIRST_KNOBS))
    return knobs


def with_code(config: ExperimentConfig) -> ExperimentConfig:
    """A configuration that is about to be trained, its own method's class at hand (`own_code.trusted`).

    UsageError where the file has changed since it was planned, or is not there.
    """
    if config.method_hash is None or config.method_file is None:
        return config
    code = own_code.trusted(config.method, config.method_file, config.method_hash)
    cls = METHODS.get(config.method)
    if cls is not code.found:
        cls = checked(code, "--methods", {})
        _add(config.method, cls)
    values = {name: value for name, value in vars(config.knobs).items() if name in cls.Knobs.names()}
    return dataclasses.replace(config, knobs=cls.Knobs(**values))
