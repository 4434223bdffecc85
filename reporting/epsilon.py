"""The lower bounds on epsilon in words: what they say, and of which cells there are none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pandas as pd

from attacks.epsilon import CONFIDENCE, DELTA, GUESSED


def epsilon_sentences(cells: pd.DataFrame, attack: str, labels: Mapping[str, str]) -> Iterator[str]:
    """What the column says, where a cell has a bound; and why others have none. attack: the headline's title.

    Nothing of tables that an earlier version wrote, which have neither.
    """
    if cells["epsilon_lower"].notna().any():
        yield (
            f"Epsilon, at least: a lower bound on the epsilon that this training could claim, in (epsilon, "
            f"{DELTA:g})-differential privacy of adding or removing one example, for these examples and under this "
            f"attack, with {100 * CONFIDENCE:g} % confidence for each cell by itself. {attack} calls the "
            f"{100 * GUESSED:g} % of a network's examples that score highest its members, and as many that score "
            "lowest not; it is right too often for any smaller epsilon. 0 proves nothing, and no bound is a guarantee: "
            "another attack may find more."
        )
    guaranteed = cells[cells["epsilon"].notna() & (cells["delta"] <= DELTA)]
    for _, cell in guaranteed[guaranteed["epsilon_lower"] > guaranteed["epsilon"]].iterrows():
        yield (
            f"Something is wrong with {labels[cell['experiment']]}: it is guaranteed an epsilon of "
            f"{cell['epsilon']:g}, and the lower bound is {cell['epsilon_lower']:.3g}. By chance that happens to one "
            f"cell in {round(1 / (1 - CONFIDENCE))} at most; else its training is not private, or the bound is wrong."
        )
    known = cells[cells["epsilon_reason"].notna()]
    for reason, own in known.groupby("epsilon_reason", sort=False)["experiment"]:
        names = "any cell" if len(own) == len(cells) else ", ".join(labels[name] for name in own)
        yield f"No lower bound on epsilon of {names}: {reason}."
