"""Where the choice of the attack decides what a planned comparison says."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from attacks.intervals import holm
from attacks.registry import ATTACKS
from reporting.figures import FOUND
from reporting.labels import named_pair
from reporting.style import attack_title
from reporting.verdicts import LESS, LOST, MORE, NONE, SAME, detectable, difference, verdict

_PAIR = ("kind", "experiment_a", "experiment_b")
SHOWN = 4  # pairs that are spelled out; the others are counted


def dissent(rows: pd.DataFrame, labels: dict[str, str]) -> list[str]:
    """A sentence for each planned pair about which another attack says something else than the headline attack.

    rows: of comparisons.csv. Asked are the other attacks that train no network, on the planned pairs and metrics, all
    corrected together (Holm). One says something else where it finds a difference in AUC of the other sign, or finds
    one where the headline attack finds none.
    """
    primary = rows[rows["family"] == "primary"]
    found, others = [], _others(rows, primary)
    for pair, headline in _by_pair(primary[primary["metric"] == "auc"]):
        own = [row for of, row in _by_pair(pd.DataFrame(others)) if of == pair]
        apart = [row for row in own if _says(row) != verdict(headline) and verdict(headline) in _WORDS]
        if apart:
            sides = [[row for row in apart if _says(row) == said] for said in (LESS, MORE)]
            said = [_headline(headline), *(_clause(rows) for rows in sides if rows)]
            found.append(f"Attacks disagree about {' and '.join(named_pair(headline, labels))}: {'; '.join(said)}.")
    if len(found) > SHOWN:
        found[SHOWN:] = [f"Attacks disagree about {len(found) - SHOWN} more pairs; see the comparisons below."]
    return found


_WORDS = {
    LESS: "the first leaks less",
    MORE: "the first leaks more",
    LOST: "a difference does not survive correction",
    NONE: "no difference was found",
    SAME: "no difference was found",
}


def _headline(row: pd.Series) -> str:
    found = f"; {detectable(row)}" if verdict(row) == NONE else ""
    return f"by {attack_title(row['attack'])}, {_WORDS[verdict(row)]} ({difference(row)}{found})"


def _clause(rows: list[pd.Series]) -> str:
    """Attacks that say the same."""
    named = ", ".join(f"{attack_title(row['attack'])} ({difference(row)})" for row in rows)
    return f"by {named}, {_WORDS[_says(rows[0])]}"


def _by_pair(rows: pd.DataFrame) -> Iterator[tuple[tuple[str, ...], pd.Series]]:
    for _, row in rows.iterrows():
        yield tuple(row[name] for name in _PAIR), row


def _others(rows: pd.DataFrame, primary: pd.DataFrame) -> list[pd.Series]:
    """AUC differences of other attacks on planned pairs that hold after correction for all that is asked here."""
    planned = {pair for pair, _ in _by_pair(primary)}
    metrics, headline = set(primary["metric"]), set(primary["attack"])
    asked = [name for name in ATTACKS if name not in headline and not ATTACKS[name].trains_network]
    own = [
        row
        for pair, row in _by_pair(
            rows[rows["attack"].isin(asked) & rows["metric"].isin(metrics) & rows["family"].notna()]
        )
        if pair in planned and row["num_targets"] > 1
    ]
    corrected = holm([None if pd.isna(row["p_value"]) else float(row["p_value"]) for row in own])
    found = zip(own, corrected, strict=True)
    return [row for row, p in found if row["metric"] == "auc" and p is not None and p < FOUND]


def _says(row: pd.Series) -> str:
    return LESS if row["difference"] < 0 else MORE
