"""The line that says what figures are of: its first part is the very rule by which cells are compared."""

from __future__ import annotations

import dataclasses
from itertools import combinations
from types import SimpleNamespace
from typing import Any

import pandas as pd

from configs.version import VERSION
from evaluation.attack import Targets
from evaluation.pairing import pairs
from evaluation.signature import differing, signature, signature_columns
from reporting.settings import signatures
from tests.evaluation.asked_cells import asked


def scored(cell: Targets, *keys: str) -> Any:
    """A cell whose targets have results of these variants, the first two of the same scores."""
    results = {key: [SimpleNamespace()] * 9 for key in keys}
    results |= dict.fromkeys(keys[:2], results[keys[0]])
    for summary in cell.summaries:
        summary["hashes"] = {"best_model.pth": "abcdef0123456789"}
    trained: Any = cell.cell
    trained.num_shadows = 8
    return SimpleNamespace(asked=cell, results=results)


def line(cell: Targets) -> str:
    return signature(scored(cell, "lira", "lira_online_fixed", "lira_offline"), "lira")


def test_both_parts_name_what_they_are_made_of() -> None:
    first, second = line(asked("static", 0.8, dataset="digits", prune_epoch=7)).split()
    assert first.startswith(
        f"version:{VERSION}|attack:lira_online_fixed|shadows:8|targets:9|queries:1|data:data|members:split|"
        "dataset:digits|arch:resnet|"
    )
    assert "|seed:0|split:pairs|recipe:" in first
    assert second == "method:static|sparsity:0.8|prune_epoch:7|train_seed:0|weights:abcdef01"


def test_cells_are_compared_where_the_first_part_is_the_same() -> None:
    base = asked("dense", name="base")
    cells = [
        base,
        asked("static", 0.8, name="static"),
        asked("dense", train_seed=1, name="again"),
        asked("dense", epochs=7, name="shorter"),
        asked("dense", lr=0.05, name="slower"),
        asked("static", 0.8, seed=1, name="other_seed"),
        dataclasses.replace(asked("static", 0.8, name="asked_twice"), form=(10, 2, 0, False)),
    ]
    kinds = {frozenset((pair.a.experiment, pair.b.experiment)): pair.kind for pair in pairs(cells)}
    for a, b in combinations(cells, 2):
        kind = kinds.get(frozenset((a.experiment, b.experiment)))
        if line(a).split()[0] == line(b).split()[0]:
            assert kind in ("against_dense", "replicate", None), (a.experiment, b.experiment)
        else:
            assert kind in ("other_recipe", None), (a.experiment, b.experiment)
    assert kinds[frozenset(("base", "static"))] == "against_dense"
    assert kinds[frozenset(("base", "asked_twice"))] == "other_recipe"
    assert differing(cells[-1], cells[1]) == {"queries": (2, 1)}


def test_names_of_the_users_own_cannot_break_the_line() -> None:
    cell = asked("static", 0.8)
    cell.cell.names["dataset"] = "my data|v:2"
    assert "|dataset:my_data_v_2|" in line(cell).split()[0]


def test_cells_without_the_headline_attack_have_none() -> None:
    with_bayes, without = (
        scored(asked("dense", name="a"), "lira_bayes", "loss"),
        scored(asked("dense", name="b"), "loss"),
    )
    assert list(signature_columns([with_bayes, without])) == ["a"]
    assert signature_columns([]) == {}


def test_the_report_says_what_is_shared_once() -> None:
    lines = {"dense": "version:1 method:dense", "static": "version:1 method:static", "later": "version:2 method:dense"}
    cells = pd.DataFrame({"experiment": [*lines, "none"], "signature": [*lines.values(), None]})
    assert signatures(cells) == [
        ("version:1", [("dense", "method:dense"), ("static", "method:static")]),
        ("version:2", [("later", "method:dense")]),
    ]
