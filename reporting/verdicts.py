"""What a row of comparisons.csv allows to be said, and in which words."""

from __future__ import annotations

import pandas as pd

from pruning.registry import is_private
from reporting.figures import FOUND, is_number

LESS, MORE = "less", "more"
LOST = "lost"  # below 0.05 by itself, not after correction
NONE = "none"
ONE_TARGET, UNTESTED, NULL, RECIPES = "one target", "untested", "null", "recipes"
NO_CONTROL = "no control"
# Comparisons of a pruned cell with one of its controls.
CONTROLLED = ("equal_accuracy", "equal_size")
SAME = "same"  # not found, and the interval lies within NO_LESS
NO_LESS = 0.01  # of AUC, either way


def verdict(row: pd.Series) -> str:
    """One of the words above, from kind, num_targets, p_value, p_holm and the sign; never more than the row allows.

    One target has no p-value, and no verdict even where an older table has one. Cells of different recipes have none,
    nor has a cell trained again.
    """
    if row["kind"] == "replicate":
        return NULL
    if row["kind"] == "other_recipe":
        return RECIPES
    if without_control(row):
        return NO_CONTROL
    if row["num_targets"] == 1:
        return ONE_TARGET
    if not is_number(row["p_value"]) or not is_number(row["p_holm"]):
        return UNTESTED
    if row["p_holm"] < FOUND:
        return LESS if row["difference"] < 0 else MORE
    if row["p_value"] < FOUND:
        return LOST
    same = row["kind"] in CONTROLLED and row["metric"] == "auc" and farthest(row) <= NO_LESS
    return SAME if same else NONE


def farthest(row: pd.Series) -> float:
    """The largest difference, either way, that its interval holds."""
    return float(max(abs(row["ci_low"]), abs(row["ci_high"])))


def without_control(row: pd.Series) -> bool:
    """Whether the row is of a comparison whose control there is not."""
    return row["kind"] in CONTROLLED and not is_number(row["difference"])


def finding(row: pd.Series) -> str:
    """The verdict as a field of a table."""
    if without_control(row):
        return str(row["control"])
    words = {
        LESS: "first leaks less",
        MORE: "first leaks more",
        LOST: "does not survive correction",
        NONE: _nothing_found(row),
        SAME: f"no less and no more, to within {NO_LESS:g}",
        ONE_TARGET: "one target network each: not tested",
        UNTESTED: "not tested",
        NULL: "the null: no pruning differs",
        RECIPES: "no verdict",
    }[verdict(row)]
    exploratory = verdict(row) in (LESS, MORE) and row["family"] == "exploratory"
    if row["kind"] in CONTROLLED:
        words += f"; control: {row['control']}"
        words += f", {row['size_ratio']:.2f} of its size" if is_number(row["size_ratio"]) else ""
    differing = f" ({row['differing']})" if isinstance(row["differing"], str) and row["differing"] else ""
    return f"{words}{' (exploratory)' if exploratory else ''}{differing}"


def _nothing_found(row: pd.Series) -> str:
    if row["kind"] in CONTROLLED and is_number(row["ci_low"]):
        return f"no difference of more than {farthest(row):.3f} found"
    return f"no difference found; {detectable(row)}"


def detectable(row: pd.Series) -> str:
    """The smallest difference that this many models could have found, in words."""
    if not is_number(row["detectable"]):
        return "how small a one could have been found is not recorded"
    return f"a true one of {row['detectable']:.3f} would have been found with a chance of 80 %"


def difference(row: pd.Series) -> str:
    """`-0.050 [-0.070, -0.030]`."""
    if not is_number(row["difference"]):
        return "-"
    ends = f" [{row['ci_low']:+.3f}, {row['ci_high']:+.3f}]" if is_number(row["ci_low"]) else ""
    return f"{row['difference']:+.3f}{ends}"


def comparison(row: pd.Series, labels: dict[str, str]) -> str:
    """One row of comparisons.csv as a sentence; "no difference was found" is never "equal"."""
    a, b = labels[row["experiment_a"]], labels[row["experiment_b"]]
    interval = f"AUC difference {difference(row)}"
    tail = accuracy(row) + _method_brings(row)
    return {
        LESS: f"{a} leaks less than {b}: {interval}; {tail}.",
        MORE: f"{a} leaks more than {b}: {interval}; {tail}.",
        LOST: f"{a} against {b}: {interval}, which does not survive correction for all tests of its kind; {tail}.",
        NONE: f"No difference was found between {a} and {b}: {interval}; {detectable(row)}; {tail}.",
        ONE_TARGET: f"The {a} network and the {b} network: these two networks differ by {difference(row)} in AUC, "
        f"which says nothing of other networks trained alike; {tail}.",
        UNTESTED: f"{a} against {b}: {interval}, without a spread to test it by; {tail}.",
        NULL: f"For comparison, {a} and {b}, the same trained again, differ by {difference(row)} in AUC: that much is "
        "the chance of training.",
        RECIPES: f"{a} against {b}: {interval}; no verdict, for their recipes differ ({row['differing']}); {tail}.",
    }[verdict(row)]


def _method_brings(row: pd.Series) -> str:
    """What differs beside what a private method is named for, to follow what a sentence says of it."""
    if not (is_private(row["method_a"]) or is_private(row["method_b"])) or not isinstance(row["differing"], str):
        return ""
    return f"; they differ in more than noise and clipping ({row['differing']})"


def accuracy(row: pd.Series) -> str:
    """What the first cell's test accuracy is beside the second's, in words."""
    value = row["accuracy_difference"]
    if not is_number(value):
        return "their test accuracies are not known"
    points = 100 * float(value)
    sign = "higher" if points > 0 else "lower"
    words = (
        f"its test accuracy is {abs(points):.1f} points {sign}"
        if abs(points) >= 0.05
        else "their test accuracies differ by less than 0.1 points"
    )
    if not is_number(row["accuracy_ci_low"]):
        return words
    low, high = 100 * float(row["accuracy_ci_low"]), 100 * float(row["accuracy_ci_high"])
    unsure = ", within sampling error" if low <= 0 <= high else ""
    return f"{words} [{low:+.1f}, {high:+.1f}]{unsure}"


def accuracy_field(row: pd.Series) -> str:
    """`+0.5 [-0.7, +1.7]`, in points, as a field of a table."""
    if not is_number(row["accuracy_difference"]):
        return "-"
    text = f"{100 * row['accuracy_difference']:+.1f}"
    if is_number(row["accuracy_ci_low"]):
        text += f" [{100 * row['accuracy_ci_low']:+.1f}, {100 * row['accuracy_ci_high']:+.1f}]"
    return text


def steps(value: object) -> str:
    """Optimiser steps as a field of a table."""
    return f"{int(value):,}" if is_number(value) else "-"  # type: ignore[call-overload]


def steps_field(row: pd.Series) -> str:
    """`600 / 240 (2.5)`: the optimiser steps of either cell, where one of them was trained longer, and how many
    trainings of the second the first took."""
    a, b = row["optimizer_steps_a"], row["optimizer_steps_b"]
    if not (is_number(a) and is_number(b)) or a == b:
        return "-"
    return f"{steps(a)} / {steps(b)}" + (f" ({a / b:.3g})" if b else "")
