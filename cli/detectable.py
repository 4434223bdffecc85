"""Which difference in AUC so many models per cell would find, said before they are trained: `train.py --dry-run`."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

FILE = Path(__file__).with_name("detectable.csv")  # made by benchmarks/detectable.py

Found = Mapping[int, Sequence[float]]


def recorded(path: Path = FILE) -> tuple[Found, str]:
    """The detectable differences of the recorded comparisons by number of models, and what they rest on, in words."""
    found: dict[int, list[float]] = defaultdict(list)
    with path.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    for row in rows:
        found[int(row["num_models"])].append(float(row["detectable"]))
    cells = {row[side] for row in rows for side in ("experiment_a", "experiment_b")}
    examples = int(rows[0]["num_examples"])
    return found, f"{len(cells)} recorded cells of {rows[0]['dataset']}, {examples:,} examples, {rows[0]['network']}"


def forecast(models: int, found: Found, words: str) -> str:
    """One line for `models` per cell: the median over recorded comparisons, its range, and other numbers measured.

    found, words: of `recorded`. A number that was not measured gets no figure.
    """
    basis = f"from {words}, every model a target; other data and networks may differ"
    if models not in found:
        low, high = min(found), max(found)
        known = ", ".join(f"{number}: {median(found[number]):.3f}" for number in sorted(found))
        outside = "outside" if not low <= models <= high else "not among"
        return (
            f"{models} models per cell: which difference in AUC would be found is not known, for that is {outside} "
            f"what was measured ({known}; from {words})"
        )
    own = found[models]
    line = (
        f"{models} models per cell: true differences of {median(own):.3f} AUC or more ({min(own):.3f} to "
        f"{max(own):.3f} by comparison) would be found by lira_bayes with a chance of 80 % ({basis})"
    )
    others = [f"{number}: {median(found[number]):.3f}" for number in sorted(found) if number != models]
    return "; ".join([line, *others])
