"""The figures of a report on many pruning methods: rows, panels and fields instead of lines that nobody tells apart."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from attacks.registry import ATTACKS
from pruning.registry import is_held, prunes
from reporting import charts, dots, grids
from reporting.figures import RATES, Figure, Gallery
from reporting.inputs import Inputs
from reporting.style import COLUMN, MOST_LINES, PAGE, attack_title, cell_label

COLUMN_TITLES = {
    "against_dense": "minus dense",
    "equal_accuracy": "minus dense at its accuracy",
    "equal_size": "minus dense of its size",
}


def gallery(inputs: Inputs, experiments: list[str], folder: Path, suffix: str) -> Gallery:
    """What draws the figures of these cells."""
    methods = inputs.of("cells", experiments)["method"].dropna()
    many = sum(map(is_held, dict.fromkeys(methods))) > MOST_LINES
    return (ManyMethods if many else Gallery)(inputs, experiments, folder, suffix)


class ManyMethods(Gallery):
    """Draws the figures of one setting with more than MOST_LINES pruning methods."""

    tradeoff_size = (PAGE, 3.4)

    def _sparsity(self) -> Iterator[Figure]:
        title = attack_title(str(self.attack))
        auc = self._means("auc")
        auc = auc[auc["method"].notna()]
        own = auc[auc["attack"] == self.attack]
        yield self._rows(
            "auc_by_cell",
            own,
            f"{title} AUC",
            f"{title} AUC of every pruned cell, by method, the method that leaks most on top. Bars are "
            f"{charts.INTERVAL}s, the band is dense training, the dotted line is guessing.",
        )
        for metric, rate in RATES.items():
            tpr = self._means(metric, self.attack)
            tpr = tpr[tpr["method"].notna()]
            if any(prunes(method) for method in tpr["method"]):
                yield self._rows(
                    f"{metric}_by_cell",
                    tpr,
                    f"{title} TPR at {rate} FPR (%)",
                    f"Members that {title} finds while accusing at most {rate} of non-members. This is the risk of the "
                    "few: an average such as AUC does not show it.",
                    100,
                )
        yield from self._attacks(own, auc[~auc["replicate"]])

    def _rows(self, name: str, frame: pd.DataFrame, xlabel: str, caption: str, scale: float = 1.0) -> Figure:
        rows = self._order()
        size = (COLUMN, 0.6 + dots.height_of(rows))
        draw = dots.by_cell(frame, rows, self.labels, xlabel, scale)
        return self._figure(name, "sparsity", size, draw, frame, f"{caption}{self._hollow()}")

    def _order(self) -> pd.DataFrame:
        """The rows that all figures have."""
        return dots.sorted_cells(self._means("auc", self.attack))

    def _attacks(self, own: pd.DataFrame, auc: pd.DataFrame) -> Iterator[Figure]:
        """Every attack on every cell, in the order of the rows above."""
        order = [
            *own["experiment"][[not is_held(method) for method in own["method"]]],
            *dots.sorted_cells(own)["experiment"],
        ]
        attacks = [name for name in ATTACKS if name in set(auc["attack"])]
        if len(attacks) > 1:
            values = auc.pivot(index="experiment", columns="attack", values="mean").reindex(order, columns=attacks)
            values = values.rename(index=self.labels, columns={name: attack_title(name) for name in attacks})
            shown = auc[auc["attack"].isin(attacks)]
            size = (1.6 + 0.55 * len(attacks), 1.2 + 0.2 * len(order))
            yield self._figure(
                *("attacks_by_cell", "sparsity", size, grids.heat_map(values, "Attack", "Cell"), shown),
                "Every attack's AUC on every cell. Where all columns order the cells alike, the finding does not "
                "depend on the attack.",
            )

    def _roc(self) -> Iterator[Figure]:
        roc, shown = self._own_roc()
        if len(shown):
            auc = self._means("auc", self.attack).set_index("experiment")["mean"]
            names = {
                cell["experiment"]: f"{self._short(cell)} ({auc[cell['experiment']]:.3f})"
                for _, cell in shown.iterrows()
            }
            size = dots.roc_size(sum(map(prunes, dict.fromkeys(shown["method"]))), PAGE)
            yield self._figure(
                *("roc_methods", "roc", size, dots.roc_by_method(roc, shown, names), roc),
                f"ROC curves of {attack_title(str(self.attack))} on both logarithmic axes, a panel per method beside "
                "dense training (in brackets: AUC). The left end is what matters for privacy: members found with "
                f"hardly a false accusation. On the dotted line an attack guesses.{self._note()}",
            )
        yield from self._cell_rocs()

    def _short(self, cell: pd.Series) -> str:
        """Its sparsity where that is a name within its method."""
        label, whole = cell_label(cell.to_dict()), self.labels[cell["experiment"]]
        return f"{charts.percent(cell['sparsity'])} %" if prunes(cell["method"]) and label == whole else whole

    def _pictured(self) -> list[str]:
        """Of each method the cell of its highest sparsity."""
        first = self.cells[~self.cells["experiment"].isin(self.replicates | self.controls)]
        highest = first.loc[first.dropna(subset="sparsity").groupby("method", sort=False)["sparsity"].idxmax()]
        return list(highest["experiment"])

    def _comparisons(self) -> Iterator[Figure]:
        compared = self._compared()
        kinds = {kind: title for kind, title in COLUMN_TITLES.items() if kind in set(compared["kind"])}
        rows = self._order()
        compared = compared[compared["kind"].isin(list(kinds))]
        if kinds and len(rows):
            draw = dots.differences_by_kind(rows, compared, kinds, self.labels)
            size = (PAGE if len(kinds) > 1 else COLUMN, 0.7 + dots.height_of(rows))
            yield self._figure(
                *("differences", "comparisons", size, draw, compared),
                f"Differences in {attack_title(str(self.attack))} AUC to dense training, and to dense training of the "
                "same accuracy and of the same size where there is such a control; left of zero the pruned cell is "
                "lower. Filled: the difference survives Holm's correction over the planned comparisons; hollow: it "
                f"does not, or was not tested. The table has all other pairs.{self._note()}",
            )
