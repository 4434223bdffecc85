"""Several releases in words: what an adversary gains who holds two networks or more that were trained on the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from reporting.frames import is_empty

LEVEL = 0.05
Labels = Mapping[str, str]
KINDS = {"pair": "Two cells", "replicate": "One cell, trained twice", "all": "All cells at once"}


def release_sentences(rows: pd.DataFrame, baseline: set[str], labels: Labels) -> Iterator[str]:
    """What every pruned cell adds to a dense one, and what a second dense training would add; AUC alone.

    rows: of releases.csv, of one setting. baseline: the dense cells. "Adds" only where the gain over the better of the
    two alone survives Holm's correction over all rows of the table that are no replicates.
    """
    own = rows[rows["metric"] == "auc"]
    pairs = own[own["kind"] == "pair"]
    mixed = pairs[pairs["experiment_a"].isin(baseline) != pairs["experiment_b"].isin(baseline)]
    said: dict[str, list[str]] = {}
    for _, row in mixed.iterrows():
        said.setdefault(_verdict(row), []).append(_cell(row, baseline, labels))
    for verdict in _VERDICTS:
        if verdict in said:
            yield f"{_VERDICTS[verdict]}: {'; '.join(said[verdict])}."
    again = own[(own["kind"] == "replicate") & own["experiment_a"].isin(baseline)]
    if len(mixed) and again.empty:
        yield (
            "What a second dense network would add, which two trainings do whatever is done to one of them, is not "
            "known here (--replicates 1 --replicate-cells dense)."
        )
    for _, row in again.iterrows():
        yield (
            f"The null: a second training of {labels[row['experiment_a']]} adds {figure(row, 'gain')} AUC to the "
            "better of the two, though nothing was done to either."
        )


_VERDICTS = {
    "adds": "Released with the dense network it adds to what the dense one gives away",
    "lost": "A gain over the better network alone does not survive correction",
    "takes": "The joint attack finds less than the attack on the better network alone, so the second release is not "
    "found to add anything",
    "none": "Released with the dense network it is not found to add anything",
    "untested": "Two target networks, of which nothing follows for others trained alike",
}


def _verdict(row: pd.Series) -> str:
    if is_empty(row["p_holm"]):
        return "untested"
    if row["p_holm"] < LEVEL:
        return "adds" if row["gain"] > 0 else "takes"
    return "lost" if row["gain"] > 0 and row["p_value"] < LEVEL else "none"


def _cell(row: pd.Series, baseline: set[str], labels: Labels) -> str:
    pruned = row["experiment_b"] if row["experiment_a"] in baseline else row["experiment_a"]
    beyond = "" if is_empty(row["beyond_null"]) else f", {figure(row, 'beyond_null')} beyond the null"
    return f"{labels[pruned]} ({figure(row, 'gain')} AUC{beyond})"


def figure(row: pd.Series, name: str) -> str:
    """A signed figure with its interval."""
    if is_empty(row[name]):
        return "-"
    if is_empty(row[f"{name}_low"]):
        return f"{row[name]:+.3f}"
    return f"{row[name]:+.3f} [{row[f'{name}_low']:+.3f}, {row[f'{name}_high']:+.3f}]"


def release_table(rows: pd.DataFrame, labels: Labels, metrics: Mapping[str, str]) -> list[dict[str, Any]]:
    """A line for each release and metric, for the report."""
    lines = []
    for _, row in rows.iterrows():
        interval = "" if is_empty(row["ci_low"]) else f" [{row['ci_low']:.3f}, {row['ci_high']:.3f}]"
        names = [labels[name] for name in row["experiments"].split(" + ")]
        lines.append(
            {
                "release": "all cells" if row["kind"] == "all" else " + ".join(names),
                "kind": KINDS[row["kind"]],
                "metric": metrics[row["metric"]],
                "together": f"{row['together']:.3f}{interval}",
                "alone": f"{row['alone']:.3f} ({labels[row['better']]})",
                "gain": figure(row, "gain"),
                "p_holm": "-" if is_empty(row["p_holm"]) else f"{row['p_holm']:.2g}",
                "null": "-" if is_empty(row["null_gain"]) else f"{row['null_gain']:+.3f}",
                "beyond": figure(row, "beyond_null"),
            }
        )
    return lines
