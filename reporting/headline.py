"""The sentences that lead a report: each says only what a row of the tables says, with its interval."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from attacks.registry import STRONGEST
from data.duplicates import Duplicates
from pruning.registry import BASELINE, prunes
from reporting.controls import control_sentences, grouped
from reporting.dissent import dissent
from reporting.figures import RATES, is_number
from reporting.inputs import Inputs, headline_attack
from reporting.labels import controls
from reporting.names import labels_of
from reporting.style import attack_title
from reporting.verdicts import comparison

MOST_SENTENCES = 4  # of methods against dense; beyond, those of which the same is said share one
ANY = ("Whatever its accuracy and size", "Whatever their accuracies and sizes")
NOTHING = "No cell could be attacked; the reasons are listed below."


def sentences(inputs: Inputs, experiments: list[str]) -> list[str]:
    """What leaked, what pruning changed, and how sure that is, for the cells of one setting."""
    cells, summary = inputs.of("cells", experiments), inputs.of("summary", experiments)
    attack = headline_attack(summary)
    if attack is None:
        return [NOTHING]
    labels = labels_of(cells)
    auc = summary[(summary["metric"] == "auc") & summary["mean"].notna()]
    own = auc[auc["attack"] == attack]
    held = controls(cells.to_dict("records"))
    dense = own[(own["method"] == BASELINE) & ~own["experiment"].isin(held)]
    row = (dense if len(dense) else own).iloc[0]  # the baseline: the dense cell, or the first that was attacked
    name = "the dense network" if len(dense) == 1 else labels[row["experiment"]]
    compared = inputs.comparisons(experiments)
    named = {**dict(zip(inputs.cells["experiment"], inputs.cells["experiment"], strict=True)), **labels}
    return [
        _leak(row, name, summary, attack),
        *_strongest(inputs, auc[auc["experiment"] == row["experiment"]], attack, name),
        *control_sentences(compared, attack, named),
        *_changes(compared, attack, named, held),
        *dissent(compared, named),
        *_optimistic(cells, labels),
        _sureness(own, cells),
    ]


def _strongest(inputs: Inputs, auc: pd.DataFrame, attack: str, name: str) -> Iterator[str]:
    """The baseline's AUC under the attack that is strongest on each target's shadows, where that is not the same.

    Never the largest of several AUCs on the target itself: that is more than any one attack has. auc: of the baseline.
    """
    found = auc[auc["attack"] == STRONGEST]
    if found.empty:
        return
    row = found.iloc[0]
    # what follows a semicolon is about the interval
    choice = str(inputs.about["notes"].get(row["experiment"], {}).get(STRONGEST, "")).split("; ")[0]
    if choice != attack_title(attack):
        yield (
            f"The strongest attack on {name}, chosen for each target on its own shadow models ({choice}), has an AUC "
            f"of {level(row)}."
        )


def _leak(row: pd.Series, name: str, summary: pd.DataFrame, attack: str) -> str:
    """The baseline's leak; row: its AUC."""
    text = f"{attack_title(attack)} tells members of {name} from non-members with an AUC of {level(row)}"
    for metric, rate in RATES.items():
        tpr = summary[(summary["attack"] == attack) & (summary["metric"] == metric)]
        tpr = tpr[(tpr["experiment"] == row["experiment"]) & tpr["mean"].notna()]
        if len(tpr):
            one = tpr.iloc[0]
            return f"{text}, and finds {level(one, 100, 1)} % of them at {rate} false positives (guessing: {rate})."
    return f"{text} (0.5 is guessing)."


def _changes(rows: pd.DataFrame, attack: str, labels: dict[str, str], held: set[str]) -> Iterator[str]:
    """The highest sparsity of each method against dense, with the null beside it; then methods against each other.

    Of cells that were not trained here, the two that differ most. rows: of comparisons.csv; held: the controls.
    """
    rows = rows[(rows["attack"] == attack) & (rows["metric"] == "auc")]
    against = rows[rows["kind"] == "against_dense"]
    highest = against.loc[against.groupby("method_a", sort=False)["sparsity_a"].idxmax()]
    many = len(highest) > MOST_SENTENCES
    yield from (grouped(highest, labels, ANY) if many else (comparison(row, labels) for _, row in highest.iterrows()))
    for _, row in rows[rows["kind"] == "replicate"].iterrows():
        if not prunes(row["method_a"]) and row["experiment_a"] not in held:
            yield comparison(row, labels)
    same = rows[rows["kind"] == "same_sparsity"]
    if many and len(same):
        same = same[same["sparsity_a"] == same["sparsity_a"].max()]
        yield from grouped(same, labels, ("At one sparsity",) * 2, labels[same.iloc[0]["experiment_b"]])
    elif len(same):
        yield comparison(same.loc[same["sparsity_a"].idxmax()], labels)
    given = rows[rows["kind"] == "given"]
    if len(given):
        yield comparison(given.loc[given["difference"].abs().idxmax()], labels)
    unlike = rows[rows["kind"] == "other_recipe"]
    if len(unlike):
        yield (
            f"Cells that differ in more than method and sparsity (such as {unlike.iloc[0]['differing']}) are listed "
            f"below without a verdict (pairs: {len(unlike)}), for their differences say nothing about pruning."
        )


def _optimistic(cells: pd.DataFrame, labels: dict[str, str]) -> Iterator[str]:
    best = cells["experiment"][(cells["select"] == "best") & (cells["num_targets"] > 0)]
    if len(best):
        which = "All test accuracies" if len(best) == len(cells) else f"Test accuracies of {_listed(best, labels)}"
        yield f"{which} are optimistic: the epoch was chosen on the test set (--select best)."


def _listed(experiments: pd.Series, labels: dict[str, str]) -> str:
    return ", ".join(labels[name] for name in experiments)


def duplicate_sentences(cells: pd.DataFrame) -> list[str]:
    """Where examples of a pool are equal, once for each data set and split; nothing where there are none."""
    known = cells[cells["duplicates_in_pool"].notna() & cells["duplicates_in_test"].notna()]
    once = known.drop_duplicates(["dataset", "split_hash"])
    counted = [
        (row["dataset"], Duplicates(int(row["duplicates_in_pool"]), int(row["duplicates_in_test"])))
        for _, row in once.iterrows()
    ]
    return [f"{dataset}: {duplicates.in_words()}." for dataset, duplicates in counted if duplicates.in_words()]


def level(row: pd.Series, scale: float = 1.0, digits: int = 3) -> str:
    """`0.659 [0.642, 0.676]`."""
    text = f"{scale * row['mean']:.{digits}f}"
    if is_number(row["ci_low"]) and is_number(row["ci_high"]):
        text += f" [{scale * row['ci_low']:.{digits}f}, {scale * row['ci_high']:.{digits}f}]"
    return text


def _sureness(auc: pd.DataFrame, cells: pd.DataFrame) -> str:
    targets = sorted(set(auc["num_targets"].dropna().astype(int)) - {0})
    examples = sorted(set(cells["num_examples"].dropna().astype(int)))
    pool = " to ".join(f"{count:,}" for count in dict.fromkeys([examples[0], examples[-1]]))
    if targets == [1]:
        return (
            f"Intervals are 95 %, over {pool} examples and one target network per cell: every statement above is about "
            "these trained networks, and training again may say otherwise (--num-targets all attacks every model)."
        )
    counts = " to ".join(str(count) for count in dict.fromkeys([targets[0], targets[-1]]))
    return f"Intervals are 95 %, over {pool} examples and {counts} target networks per cell."
