"""What a cell's figures are of: what must be equal for two to be compared, and what tells them apart. One rule, here.

`evaluation.pairing` compares cells by it, and tables and the report carry it as a line, so that figures of different
evaluations are compared only where the first part of their lines is the same. Numbers of shadow models and targets
stand in the line too; within one evaluation they are made equal (`evaluation.common`).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from artifacts.run_dir import MODEL_FILE
from attacks.registry import ATTACKS, headline_of
from configs.experiment import RECIPE, SETTING
from configs.version import VERSION
from evaluation.attack import CellScores, Targets
from models.registry import ARCHITECTURES
from pruning.registry import METHODS, is_private, knobs_of

DIGITS = 8  # of a digest, in hexadecimal


def conditions(asked: Targets) -> dict[str, Any]:
    """What cells must share to be compared, by name: data, who is held, setting, recipe and queries.

    Two unknown values count as shared.
    """
    names, (data, split) = asked.cell.names, asked.split
    shared = {name: names[name] for name in (*SETTING, *RECIPE)}
    return {"data_hash": data, "split_hash": split, **shared, "queries": asked.form[1]}


def knobs(asked: Targets) -> dict[str, Any]:
    """The method's own, by name; none of a method that is not known here."""
    names = asked.cell.names
    return {name: names.get(name) for name in knobs_of(str(names["method"]))} if names["method"] in METHODS else {}


def identity(asked: Targets) -> dict[str, Any]:
    """What tells apart cells that may be compared, by name: method, sparsity, the method's own knobs, train seed."""
    names = asked.cell.names
    kind = {"method": names["method"], "sparsity": names["sparsity"]}
    return {**kind, **knobs(asked), "train_seed": names["train_seed"]}


def differing(a: Targets, b: Targets) -> dict[str, tuple[Any, Any]]:
    """What two cells do not share beside method and sparsity, by name; of two methods not their own knobs."""
    same_method = a.cell.names["method"] == b.cell.names["method"]
    order = dict.fromkeys((*SETTING, "train_seed"))
    ours, theirs = (
        {**order, **conditions(one), **(knobs(one) if same_method else {}), "train_seed": one.cell.names["train_seed"]}
        for one in (a, b)
    )
    ours, theirs = ours | by_method(a), theirs | by_method(b)
    return {name: (value, theirs.get(name)) for name, value in ours.items() if value != theirs.get(name)}


def by_method(asked: Targets) -> dict[str, Any]:
    """What a method brings along beside what it is named for, by name: DP-SGD draws its batches in another way, and
    has GroupNorm where others have BatchNorm."""
    names = asked.cell.names
    private = is_private(str(names["method"]))
    entry = ARCHITECTURES.get(str(names["arch"]))
    found = {"batches": "Poisson" if private else "shuffled"}
    return found if entry is None or entry.tables else {**found, "norm": "GroupNorm" if private else "BatchNorm"}


def signature_columns(scored: Sequence[CellScores]) -> dict[str, dict[str, str]]:
    """By experiment, the column `signature`: of the headline attack of all these cells, where it has scores."""
    headline = headline_of({attack for one in scored for attack in one.results})
    return {
        one.asked.experiment: {"signature": signature(one, headline)}
        for one in scored
        if headline is not None and headline in one.results
    }


def signature(one: CellScores, attack: str) -> str:
    """Two parts with a space between: what must be equal, and what identifies."""
    held, weights = conditions(one.asked), one.asked.summaries[0]["hashes"].get(MODEL_FILE)
    equal = {
        "version": VERSION,
        "attack": _variant(one, attack),
        "shadows": one.asked.cell.num_shadows,
        "targets": len(one.results[attack]),
        "queries": held.pop("queries"),
        "data": held.pop("data_hash")[:DIGITS],
        "members": held.pop("split_hash")[:DIGITS],
        **{name: held.pop(name) for name in SETTING},
        "recipe": _digest(held),
    }
    return f"{_line(equal)} {_line({**identity(one.asked), 'weights': weights and weights[:DIGITS]})}"


def _variant(one: CellScores, attack: str) -> str:
    """The variant that the attack's name stands for here."""
    known = [key for key in ATTACKS[attack].variants if key in one.results]
    return [attack, *(key for key in known if one.results[key][0] is one.results[attack][0])][-1]


def _digest(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:DIGITS]


def _line(values: Mapping[str, Any]) -> str:
    """`name:value` with bars between; of what is not known nothing."""
    known = {name: value for name, value in values.items() if value is not None}
    return "|".join(f"{name}:{_word(value)}" for name, value in known.items())


def _word(value: Any) -> str:
    """Without what separates: names of data sets and networks are the user's own."""
    return re.sub(r"[|:\s]+", "_", f"{value:g}" if isinstance(value, float) else str(value))
