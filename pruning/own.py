"""Pruning methods in files of the user's own: what such a class must be, and what stands for one without its file."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from configs.errors import UsageError
from configs.experiment import ExperimentConfig
from configs.knobs import MethodKnobs, flag_name, knob
from configs.own_code import OwnCode
from pruning.base import Pruner

MOST_KNOBS = 32
KINDS = (int, float, str)
# Columns of the tables and names of a summary: a knob of such a name would stand in another's place.
RESERVED = frozenset(
    (
        *(
            "experiment",
            "control",
            "reason",
            "fingerprint",
            "weights_hash",
            "data_hash",
            "split_hash",
            "selected_epoch",
        ),
        *("train_accuracy", "heldout_accuracy", "test_accuracy", "train_loss", "heldout_loss", "test_loss"),
        *("generalisation_gap", "majority_baseline", "num_members", "num_pool", "num_test", "num_shadows"),
        *("num_targets", "num_examples", "finished_models", "planned_models", "duplicates_in_pool"),
        *("duplicates_in_test", "measured_sparsity", "sparsity_all_parameters", "layer_sparsities", "parameters"),
        *("prunable_parameters", "flops", "flops_dense", "optimizer_steps", "seconds", "shared_epochs"),
        *(
            "epsilon_lower",
            "epsilon_reason",
            "signature",
            "shared_seconds",
            "device",
            "machine",
            "hashes",
            "schema_version",
        ),
    )
)


class StoredMethod(Pruner):
    """A method of the user's own that a runs folder names, without its code: it can be read about, not trained."""

    prunes = True


def checked(code: OwnCode, flag: str, taken: Mapping[str, type]) -> type[Pruner]:
    """The class, if it is a pruning method with knobs that can be flags. UsageError, with its line, where it is not.

    taken: names that are flags already, with the kind of value that a knob shared with the project's methods has.
    """
    cls, name, wrong = code.found, code.name.rpartition(".")[2], f"argument {flag}: {code.place}: "
    if not isinstance(cls, type):
        raise UsageError(f"{wrong}{name} is no class; a pruning method is a subclass of pruning.base.Pruner")
    if not issubclass(cls, Pruner):
        raise UsageError(f"{wrong}{name} is no subclass of pruning.base.Pruner")
    if not cls.prunes:
        raise UsageError(f"{wrong}{name} does not say prunes = True, so there would be no sparsity to train it at")
    _check_signature(cls, wrong)
    knobs = cls.Knobs
    if not isinstance(knobs, type) or not issubclass(knobs, MethodKnobs) or not dataclasses.is_dataclass(knobs):
        raise UsageError(f"{wrong}{name}.Knobs must be a dataclass that derives from configs.knobs.MethodKnobs")
    for field in dataclasses.fields(knobs):
        _check_knob(field, f"{wrong}{name}.Knobs.{field.name} ", taken)
    if "Knobs" in vars(cls) and set(vars(knobs).get("__annotations__", {})) - set(knobs.names()):
        raise UsageError(f"{wrong}{name}.Knobs is no @dataclass(frozen=True, kw_only=True) of its own")
    # in figures and tables it goes by the name that also those commands know which have only its results
    cls.title = code.name
    return cls


def _check_signature(cls: type[Pruner], wrong: str) -> None:
    try:
        inspect.signature(cls).bind(None, 1)
    except (TypeError, ValueError):
        raise UsageError(f"{wrong}{cls.__name__} must be made by (config, steps_per_epoch)") from None


def _check_knob(field: dataclasses.Field[Any], wrong: str, taken: Mapping[str, type]) -> None:
    kind = field.metadata.get("kind")
    if kind not in KINDS or field.metadata["many"]:
        raise UsageError(f"{wrong}must be declared by configs.knobs.knob with kind=int, float or str")
    if field.name in RESERVED or taken.get(field.name, kind) is not kind:
        raise UsageError(f"{wrong}cannot be {flag_name(field.name)}: that name is taken; give it another")


def stored_method(name: str, fields: Mapping[str, Any]) -> type[MethodKnobs]:
    """The knobs of a method without its code, from a stored configuration. UsageError where they cannot be knobs."""
    known = {field.name for field in dataclasses.fields(ExperimentConfig)} | {"schema_version", "fingerprint"}
    own = {key: value for key, value in fields.items() if key not in known and value is not None}
    if len(own) > MOST_KNOBS or not all(_is_knob(key, value) for key, value in own.items()):
        raise UsageError(f"what it says of the method {name[:80]!r} are no knobs")
    return _knobs_of(tuple((key, type(value)) for key, value in own.items()))


def _is_knob(name: str, value: Any) -> bool:
    if not name.isidentifier() or not name.isascii() or len(name) > 60 or name in RESERVED or type(value) not in KINDS:
        return False
    return not isinstance(value, str) or (value.isprintable() and len(value) <= 128)


@lru_cache(maxsize=256)
def _knobs_of(kinds: tuple[tuple[str, type], ...]) -> type[MethodKnobs]:
    # declared without a range: what was allowed is known to the code alone, and these values were
    fields = [(name, kind, knob(dataclasses.MISSING, "", kind=kind)) for name, kind in kinds]
    made: type[MethodKnobs] = dataclasses.make_dataclass(
        "Knobs", fields, bases=(MethodKnobs,), frozen=True, kw_only=True
    )
    return made
