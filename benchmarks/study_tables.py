"""Print the tables of docs/study.md and of the READMEs' first lines from a study's recorded tables.

    python benchmarks/study_tables.py           # of benchmarks/results/study
    python benchmarks/study_tables.py digits    # of another study that has a ladder of controls

A test holds the pages to what this prints. Figures are those of `summary.csv`, `comparisons.csv` and `cells.csv`
(benchmarks/remake_tables.py makes these from signals); "p" is corrected by Holm within its family.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.remake_tables import RESULTS
from benchmarks.scale_estimate import table
from cli.main import DONE, run_main
from cli.parser import new_parser
from configs.errors import UsageError
from reporting.labels import named_pair
from reporting.names import labels_of

HEADLINE, AUC, TPR, LOW_TPR = "lira_bayes", "auc", "tpr_at_fpr_0.01", "tpr_at_fpr_0.001"
OTHERS = {"lira": "LiRA", "rmia": "RMIA", "loss": "LOSS"}
PLANNED = ("against_dense", "same_sparsity", "replicate")
PER_CENT = 100.0


def build_parser() -> argparse.ArgumentParser:
    """The flags of this script."""
    parser = new_parser("Print a study's tables as its pages have them.", "python benchmarks/study_tables.py")
    parser.add_argument("study", nargs="?", default="study", metavar="STUDY", help="folder below benchmarks/results")
    return parser


def body(args: argparse.Namespace) -> int:
    """Print every table."""
    folder = RESULTS / args.study
    if not (folder / "summary.csv").is_file():
        raise UsageError(f"argument STUDY: {folder} has no recorded tables (summary.csv)")
    for lines in tables_of(folder).values():
        print("\n".join(lines), end="\n\n")
    return DONE


def tables_of(folder: Path) -> dict[str, list[str]]:
    """Lines of Markdown by table: `networks`, `planned` comparisons, `at_its_accuracy`, `by_attack`, and `together`."""
    names = ("cells", "summary", "comparisons", "releases")
    cells, summary, comparisons, releases = (pd.read_csv(folder / f"{name}.csv") for name in names)
    labels = labels_of(cells)
    return {
        "networks": _networks(cells, summary, labels),
        "planned": _planned(comparisons, labels),
        "at_its_accuracy": _at_its_accuracy(comparisons, labels),
        "by_attack": _by_attack(comparisons, labels),
        "together": _together(releases, labels),
    }


def _networks(cells: pd.DataFrame, summary: pd.DataFrame, labels: dict[str, str]) -> list[str]:
    """A row per cell: accuracies, and what the attacks find, means over its targets."""
    found = summary.set_index(["experiment", "attack", "metric"])
    rows = []
    for _, cell in cells.iterrows():
        name = cell["experiment"]
        levels = [found.loc[(name, HEADLINE, metric)] for metric in (AUC, TPR, LOW_TPR)]
        rows.append(
            [
                labels[name],
                *(f"{PER_CENT * cell[column]:.1f}" for column in ("train_accuracy", "test_accuracy")),
                f"**{levels[0]['mean']:.3f}** {_ends(levels[0], 1, '.3f')}",
                *(_per_cent(level) for level in levels[1:]),
                *(f"{found.loc[(name, attack, AUC)]['mean']:.3f}" for attack in OTHERS),
            ]
        )
    head = ["network", "train acc %", "test acc %", "**Bayes LiRA AUC** [95 % CI]"]
    head += ["its TPR@1%FPR %", "its TPR@0.1%FPR %"]
    return table([*head, *(f"{title} AUC" for title in OTHERS.values())], rows)


def _planned(comparisons: pd.DataFrame, labels: dict[str, str]) -> list[str]:
    """A row per planned pair of the headline attack; a replicate's is the null, in no family."""
    rows = []
    for auc, tpr in _pairs(comparisons, HEADLINE, PLANNED):
        accuracy = {"difference": auc["accuracy_difference"], "ci_low": auc["accuracy_ci_low"]}
        accuracy["ci_high"] = auc["accuracy_ci_high"]
        figures = [_difference(auc, 1, "+.3f"), _p(auc), _difference(tpr, PER_CENT, "+.1f"), _p(tpr)]
        rows.append([" - ".join(named_pair(auc, labels)), *figures, _difference(accuracy, PER_CENT, "+.1f")])
    head = ["a - b", "Bayes LiRA AUC [95 % CI]", "p", "TPR@1%FPR, points [95 % CI]", "p"]
    return table([*head, "test accuracy, points [95 % CI]"], rows)


def _at_its_accuracy(comparisons: pd.DataFrame, labels: dict[str, str]) -> list[str]:
    """A row per pruned cell: which stretch of the ladder has its accuracy, and the differences to that."""
    rows = []
    for auc, tpr in _pairs(comparisons, HEADLINE, ("equal_accuracy",)):
        figures = [_difference(auc, 1, "+.3f"), _p(auc), f"{auc['detectable']:.3f}"]
        rows.append(
            [labels[auc["experiment_a"]], auc["control"], *figures, _difference(tpr, PER_CENT, "+.1f"), _p(tpr)]
        )
    head = ["network", "dense at its accuracy", "Bayes LiRA AUC [95 % CI]", "p", "could be found"]
    return table([*head, "TPR@1%FPR, points [95 % CI]", "p"], rows)


def _by_attack(comparisons: pd.DataFrame, labels: dict[str, str]) -> list[str]:
    """A row per comparison: its AUC difference by each of the other attacks, with the corrected p if there is one."""
    rows: dict[tuple[str, str], list[str]] = {}
    for attack in OTHERS:
        for auc, _ in _pairs(comparisons, attack, (*PLANNED, "equal_accuracy")):
            p = _p(auc)
            words = _difference(auc, 1, "+.3f") + (f", p {p}" if p != "-" else "")
            rows.setdefault(named_pair(auc, labels), []).append(words)
    head = ["a - b", *(f"{title} AUC [95 % CI]" for title in OTHERS.values())]
    return table(head, [[" - ".join(pair), *words] for pair, words in rows.items()])


def _together(releases: pd.DataFrame, labels: dict[str, str]) -> list[str]:
    """A row per set of networks of the same members: the AUC of Bayes LiRA of all, and its gain over the better one."""
    rows = []
    for _, row in releases[releases["metric"] == AUC].iterrows():
        gain = {"difference": row["gain"], "ci_low": row["gain_low"], "ci_high": row["gain_high"]}
        names = " + ".join(labels[name] for name in row["experiments"].split(" + "))
        rows.append([names, f"{row['together']:.3f}", _difference(gain, 1, "+.3f"), _p(row)])
    return table(["networks together", "Bayes LiRA AUC", "gain over the better one [95 % CI]", "p"], rows)


def _pairs(comparisons: pd.DataFrame, attack: str, kinds: Sequence[str]) -> Iterator[tuple[Any, Any]]:
    """The rows of AUC and of TPR@1%FPR of every comparison of these kinds, in their order."""
    own = comparisons[comparisons["attack"] == attack]
    for kind in kinds:
        of_kind = own[own["kind"] == kind]
        names = ["experiment_a", "experiment_b"]
        tprs = of_kind[of_kind["metric"] == TPR].set_index(names)
        for _, auc in of_kind[of_kind["metric"] == AUC].iterrows():
            yield auc, tprs.loc[tuple(auc[names])]


def _per_cent(level: Any) -> str:
    """A rate of summary.csv; `-` where it is empty, for too few non-members."""
    return "-" if pd.isna(level["mean"]) else f"{PER_CENT * level['mean']:.2f} {_ends(level, PER_CENT, '.2f')}"


def _ends(level: Any, scale: float, form: str) -> str:
    return f"[{scale * level['ci_low']:{form}}, {scale * level['ci_high']:{form}}]"


def _difference(row: Any, scale: float, form: str) -> str:
    return "-" if pd.isna(row["difference"]) else f"{scale * row['difference']:{form}} {_ends(row, scale, form)}"


def _p(row: Any) -> str:
    value = row["p_holm"]
    return "-" if pd.isna(value) else "< 0.0001" if value < 1e-4 else f"{value:.2g}"


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return run_main(build_parser, body, argv)


if __name__ == "__main__":
    sys.exit(main())
