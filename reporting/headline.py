"""The sentences that lead a report: each says only what a row of the tables says, with its interval."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from mia.registry import ATTACKS
from reporting.figures import FOUND, RATES, is_number, labels_of
from reporting.inputs import Inputs, headline_attack
from reporting.style import attack_title, prunes

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
    dense = own[[not prunes(method) for method in own["method"]]]
    row = (dense if len(dense) else own).iloc[0]  # the baseline: the dense cell, or the first that was attacked
    name = "the dense network" if len(dense) == 1 else labels[row["experiment"]]
    found = [_leak(row, name, summary, attack), *_strongest(auc[auc["experiment"] == row["experiment"]], attack, name)]
    return [*found, *_changes(inputs, experiments, attack, labels), _sureness(own, cells)]


def _strongest(auc: pd.DataFrame, attack: str, name: str) -> Iterator[str]:
    """The attack of highest AUC on the baseline, where it is another one: a leak is at least what any attack finds."""
    auc = auc[auc["attack"].isin(list(ATTACKS))]
    best = auc.sort_values("mean").iloc[-1]
    if best["attack"] != attack:
        yield f"The strongest of {len(auc)} attacks on {name} is {attack_title(best['attack'])}: AUC {level(best)}."


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


def _changes(inputs: Inputs, experiments: list[str], attack: str, labels: dict[str, str]) -> Iterator[str]:
    """The highest sparsity of each method against dense, then the methods against each other there.

    Of cells that were not trained here, the two that differ most.
    """
    rows = inputs.of("comparisons", experiments, "experiment_a", "experiment_b")
    rows = rows[(rows["attack"] == attack) & (rows["metric"] == "auc")]
    against = rows[rows["kind"] == "against_dense"]
    for method in dict.fromkeys(against["method_a"]):
        part = against[against["method_a"] == method]
        yield comparison(part.loc[part["sparsity_a"].idxmax()], labels)
    same = rows[rows["kind"] == "same_sparsity"]
    if len(same):
        yield comparison(same.loc[same["sparsity_a"].idxmax()], labels)
    given = rows[rows["kind"] == "given"]
    if len(given):
        yield comparison(given.loc[given["difference"].abs().idxmax()], labels)


def comparison(row: pd.Series, labels: dict[str, str]) -> str:
    """One row of comparisons.csv in words; "no difference was found" is never "equal"."""
    a, b = labels[row["experiment_a"]], labels[row["experiment_b"]]
    interval = f"AUC difference {row['difference']:+.3f}"
    if is_number(row["ci_low"]):
        interval += f" [{row['ci_low']:+.3f}, {row['ci_high']:+.3f}]"
    accuracy = _accuracy(row["accuracy_difference"])
    if is_number(row["p_holm"]) and row["p_holm"] < FOUND:
        a, b = (f"The {a} network", f"the {b} network") if row["num_targets"] == 1 else (a, b)
        return f"{a} leaks {'less' if row['difference'] < 0 else 'more'} than {b}: {interval}; {accuracy}."
    if is_number(row["p_value"]) and row["p_value"] < FOUND:
        return f"{a} against {b}: {interval}, which does not hold after correction for all comparisons; {accuracy}."
    return f"No difference was found between {a} and {b}: {interval}; {accuracy}."


def _accuracy(difference: float) -> str:
    if not is_number(difference):
        return "their test accuracies are not known"
    points = 100 * float(difference)
    if abs(points) < 0.05:
        return "their test accuracies are alike"
    return f"its test accuracy is {abs(points):.1f} points {'higher' if points > 0 else 'lower'}"


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
            f"Intervals are 95 %, over {pool} examples and one target network a cell: every statement above is about "
            "these trained networks, and training again may say otherwise (--num-targets all attacks every model)."
        )
    counts = " to ".join(str(count) for count in dict.fromkeys([targets[0], targets[-1]]))
    return f"Intervals are 95 %, over {pool} examples and {counts} target networks a cell."
