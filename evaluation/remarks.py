"""What a reader should know about one variant's figures on one cell: one line, over all its targets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from attacks.interface import AttackResult

MANY_TIES = 0.1


def remarks(results: Mapping[str, Sequence[AttackResult]]) -> dict[str, str]:
    """By variant, from its results on every target, a line; variants with nothing to say are left out."""
    found = {key: "; ".join(_of(every)) for key, every in results.items()}
    return {key: line for key, line in found.items() if line}


def _of(results: Sequence[AttackResult]) -> list[str]:
    notes = [result.note for result in results if result.note is not None]
    return [*notes[-1:], *_chosen(results), *_ties(results)]


def _chosen(results: Sequence[AttackResult]) -> list[str]:
    names = dict.fromkeys(name for result in results for name in result.chosen)
    lines = []
    for name in names:
        values = [result.chosen[name] for result in results if name in result.chosen]
        low, high = min(values), max(values)
        range_ = f"{low:g}" if low == high else f"{low:g} to {high:g} (median {np.median(values):g})"
        lines.append(f"{name} is {range_}, chosen on each target's own shadow models")
    return lines


def _ties(results: Sequence[AttackResult]) -> list[str]:
    tied = float(np.mean([result.tied for result in results]))
    if tied <= MANY_TIES:
        return []
    return [
        f"{100 * tied:.0f} % of the examples share their score with another: small differences and rates at a low FPR "
        "hang on ties, which count one half"
    ]
