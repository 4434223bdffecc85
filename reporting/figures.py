"""Which figures a report has: their data, captions and files."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from artifacts.atomic_writes import write_text
from artifacts.progress import step
from attacks.registry import ATTACKS, headline_of
from pruning.registry import prunes
from reporting import charts, classes, fonts, grids, tradeoff
from reporting.exposure import pictures_caption
from reporting.frames import to_csv, to_short_csv
from reporting.inputs import Inputs, headline_attack
from reporting.labels import controls, named_pair, naming_knobs, replicates
from reporting.names import labels_of
from reporting.style import (
    COLUMN,
    LABEL_SIZE,
    PAGE,
    TITLE_SIZE,
    attack_title,
    save_figure,
)

STRICT, LOOSE = "tpr_at_fpr_0.001", "tpr_at_fpr_0.01"
RATES = {STRICT: "0.1 %", LOOSE: "1 %"}
MOST_CURVES = 8  # that a reader can tell apart in one picture
LABEL, CLASS = 1.7, 0.46  # inches that a cell's name and a picture's class may take in a figure
_UTILITY = ("train_accuracy", "heldout_accuracy", "test_accuracy", "generalisation_gap")
_NARROWER = " Hollow hexagons are dense networks with as many parameters as pruned ones keep."
_LADDER = (
    " The grey line is dense training at other accuracies: dense networks trained for fewer epochs (numbers), with "
    "their intervals as a band. A pruned network below it leaks less than dense training at its accuracy, as far as "
    "both intervals tell."
)
FOUND = 0.05  # corrected p-value below which a difference counts as found


@dataclass(frozen=True)
class Figure:
    """One figure of the report: its section, caption, alternative text, PNG and data (CSV), as the page holds them."""

    name: str
    section: str
    caption: str
    alt: str
    png: bytes
    csv: str
    width: float


class Gallery:
    """Draws the figures of one setting into a folder."""

    tradeoff_size = (COLUMN, 2.9)

    def __init__(self, inputs: Inputs, experiments: Sequence[str], folder: Path, suffix: str) -> None:
        self.inputs, self.folder, self.suffix = inputs, folder, suffix
        self.experiments = list(experiments)
        self.cells = inputs.of("cells", self.experiments)
        self.summary = inputs.of("summary", self.experiments)
        self.names = labels_of(self.cells)
        self.replicates = replicates(self.cells.to_dict("records"))
        self.controls = controls(self.cells.to_dict("records"))
        class_names = inputs.of("exposed", self.experiments)["class_name"].dropna()
        self.fonts = fonts.families([*self.names.values(), *class_names])
        self.respelled: dict[str, str] = {}
        self.labels = self._drawn(self.names)
        self.attack = headline_attack(self.summary)

    def draw(self) -> Iterator[Figure]:
        """Every figure that has something to show."""
        if self.attack is None:
            return
        yield from self._tradeoff()
        yield from self._sparsity()
        yield from self._roc()
        yield from self._comparisons()
        yield from self._transfer()
        yield from self._exposed()
        yield from self._classes()

    def _figure(
        self, name: str, section: str, size: tuple[float, float], draw: charts.Draw, data: pd.DataFrame, caption: str
    ) -> Figure:
        name = f"{name}{self.suffix}"
        step(name, say=False)
        write_text(self.folder / f"{name}.csv", to_csv(data))
        png = save_figure(self.folder / name, size, draw, self.fonts)
        return Figure(name, section, caption, caption.split(". ")[0], png, to_short_csv(data), size[0])

    def _drawn(self, names: dict[str, str]) -> dict[str, str]:
        """Cells' labels as figures draw them: in letters that there are, short enough, and no two the same."""
        legible = [self._legible(name, f"cell {i}") for i, name in enumerate(names.values(), start=1)]
        short = [fonts.fitted(name, LABEL, LABEL_SIZE, self.fonts) for name in legible]
        return fonts.distinct(dict(zip(names, short, strict=True)))

    def _legible(self, name: str, otherwise: str) -> str:
        shown = fonts.legible(name, otherwise, self.fonts)
        if shown != fonts.composed(name):
            self.respelled[shown] = name
        return shown

    def _note(self) -> str:
        """For captions: which names stand in the figure otherwise than they are written."""
        pairs = ", ".join(f"{shown} is {name}" for shown, name in self.respelled.items())
        return f" No font was found for all letters of these names: {pairs}." if pairs else ""

    def _means(self, metric: str, attack: str | None = None, held: bool = False) -> pd.DataFrame:
        """The rows of one metric, and whether each is of a `replicate`; of controls only with `held`."""
        frame = self.summary[(self.summary["metric"] == metric) & self.summary["mean"].notna()]
        frame = frame if held else frame[~frame["experiment"].isin(self.controls)]
        frame = frame.assign(replicate=frame["experiment"].isin(self.replicates))
        chosen: pd.DataFrame = frame if attack is None else frame[frame["attack"] == attack]
        return chosen

    def _hollow(self) -> str:
        """What a caption says of the cells that are trained again."""
        if not self.replicates:
            return ""
        return " Hollow points and dashed levels are the same cells trained again, from other starts and batches."

    def _tradeoff(self) -> Iterator[Figure]:
        points = self._means("auc", self.attack, held=True).merge(
            self.cells[["experiment", "control", "epochs", *_UTILITY, *naming_knobs(self.cells["method"])]]
        )
        points = points[points["test_accuracy"].notna() & points["method"].notna()]
        if len(points) > 1:
            held = set(points["control"].dropna())
            about = f"{_LADDER if 'accuracy' in held else ''}{_NARROWER if 'size' in held else ''}"
            yield self._figure(
                *("tradeoff", "utility", self.tradeoff_size, tradeoff.tradeoff(points, str(self.attack)), points),
                "Privacy against utility. Down is more private, right is more accurate: a network in the lower right "
                f"has both. Labels are sparsities; bars are {charts.INTERVAL}s.{about}{self._hollow()}",
            )

    def _sparsity(self) -> Iterator[Figure]:
        title = attack_title(str(self.attack))
        auc = self._means("auc")
        auc = auc[auc["method"].notna()]
        own = auc[auc["attack"] == self.attack]
        one = [(str(self.attack), title)]
        if any(prunes(method) for method in own["method"]):
            yield self._figure(
                *("auc_vs_sparsity", "sparsity", (COLUMN, 2.7), charts.against_sparsity(own, one, f"{title} AUC"), own),
                f"{title} AUC against sparsity. Whether a line lies apart from the dense band by more than chance, "
                f"the comparisons say; bands are {charts.INTERVAL}s, the dotted line is guessing. Points of one "
                f"sparsity stand side by side.{self._hollow()}",
            )
        for metric, rate in RATES.items():
            tpr = self._means(metric, self.attack)
            tpr = tpr[tpr["method"].notna()]
            if any(prunes(method) for method in tpr["method"]):
                draw = charts.against_sparsity(tpr, one, f"{title} TPR at {rate} FPR (%)", 100)
                yield self._figure(
                    *(f"{metric}_vs_sparsity", "sparsity", (COLUMN, 2.7), draw, tpr),
                    f"Members that {title} finds while accusing at most {rate} of non-members. This is the risk of the "
                    f"few: an average such as AUC does not show it. Bands are {charts.INTERVAL}s.{self._hollow()}",
                )
        present = set(auc["attack"][[prunes(method) for method in auc["method"]]])
        panels = [(name, attack_title(name)) for name in ATTACKS if name in present]
        if len(panels) > 1:
            shown = auc[auc["attack"].isin([name for name, _ in panels])]
            height = 1.75 * -(-len(panels) // 3) + 0.7
            yield self._figure(
                *("attacks_vs_sparsity", "sparsity", (PAGE, height)),
                charts.against_sparsity(shown, panels, "AUC"),
                shown,
                "Every attack's AUC against sparsity, on one scale. Where all panels agree, the finding does not "
                f"depend on the attack. Bands are {charts.INTERVAL}s.{self._hollow()}",
            )

    def _own_roc(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """The headline attack's rows of roc.csv, with a column `curve`, and their cells; no replicates and controls."""
        roc = self.inputs.of("roc", self.experiments)
        own = roc[(roc["attack"] == self.attack) & ~roc["experiment"].isin(self.replicates | self.controls)]
        return own.assign(curve=own["experiment"]), self.cells[self.cells["experiment"].isin(own["experiment"])]

    def _roc(self) -> Iterator[Figure]:
        own, shown = self._own_roc()
        if len(shown):
            auc = self._means("auc", self.attack).set_index("experiment")["mean"]
            legend = {name: f"{self.labels[name]} ({auc[name]:.3f})" for name in shown["experiment"]}
            draw = charts.roc_curves(own, legend, charts.cell_looks(shown))
            yield self._figure(
                *("roc_methods", "roc", (COLUMN, 3.1), draw, own),
                f"ROC curves of {attack_title(str(self.attack))} on both logarithmic axes (in brackets: AUC). The left "
                "end is what matters for privacy: members found with hardly a false accusation. On the dotted line "
                f"an attack guesses.{self._note()}",
            )
        yield from self._cell_rocs()

    def _cell_rocs(self) -> Iterator[Figure]:
        roc = self.inputs.of("roc", self.experiments)
        for name in self.experiments:
            yield from self._cell_roc(name, roc[(roc["experiment"] == name) & roc["attack"].isin(list(ATTACKS))])

    def _cell_roc(self, experiment: str, roc: pd.DataFrame) -> Iterator[Figure]:
        auc = self._means("auc")
        own = auc[auc["experiment"] == experiment].set_index("attack")["mean"]
        order = [name for name in own.sort_values(ascending=False).index if name in ATTACKS]
        attacks = list(dict.fromkeys(name for name in (headline_of(order) or "", "loss") if name in order))
        named = ", ".join(map(attack_title, attacks))
        attacks += [name for name in order if name not in attacks][: MOST_CURVES - len(attacks)]
        if not attacks:
            return
        shown = roc[roc["attack"].isin(attacks)].assign(curve=lambda frame: frame["attack"])
        legend = {name: f"{attack_title(name)} ({own[name]:.3f})" for name in attacks}
        yield self._figure(
            *(f"roc_cell_{slug(experiment)}", "roc_cells", (COLUMN, 3.1)),
            charts.roc_curves(shown, legend, charts.attack_looks(attacks)),
            shown,
            f"ROC curves of the attacks on {self.names[experiment]} (in brackets: AUC): {named} and the strongest "
            "others. Where attacks rank examples alike, one shows in the gaps of the other.",
        )

    def _compared(self) -> pd.DataFrame:
        """The headline attack's differences in AUC, and whether each is `found`."""
        rows = self.inputs.of("comparisons", self.experiments, "experiment_a", "experiment_b")
        rows = rows[(rows["attack"] == self.attack) & (rows["metric"] == "auc") & rows["difference"].notna()]
        found: pd.DataFrame = rows.assign(found=(rows["p_holm"] < FOUND) & (rows["num_targets"] > 1))
        return found

    def _comparisons(self) -> Iterator[Figure]:
        rows = self._compared()
        rows = rows[rows["kind"] != "other_recipe"]
        if len(rows):
            pairs = [named_pair(row, self.labels) for _, row in rows.iterrows()]
            names = [" - ".join(named_pair(row, self.names)) for _, row in rows.iterrows()]
            rows = rows.assign(label=names)
            labels = [f"{a} - {b}" for a, b in pairs]
            height = 0.2
            if max(fonts.width(label, LABEL_SIZE, self.fonts) for label in labels) > LABEL:
                labels, height = [f"{a}\n- {b}" for a, b in pairs], 0.32
            draw = charts.differences(rows.assign(label=labels))
            yield self._figure(
                *("differences", "comparisons", (COLUMN, 0.7 + height * len(rows)), draw, rows),
                f"Differences in {attack_title(str(self.attack))} AUC between two cells, paired by example and by "
                "target; left of zero the first is lower. Filled: the difference survives Holm's "
                "correction, over the planned comparisons or, of the others, over the others; hollow: it does not, or "
                f"was not tested.{self._note()}",
            )

    def _transfer(self) -> Iterator[Figure]:
        rows = self.inputs.of("transfer", self.experiments, "target_experiment", "shadows_experiment")
        rows = rows[rows["metric"] == "auc"]
        longest = max(fonts.width(label, LABEL_SIZE, self.fonts) for label in self.labels.values())
        for attack in [name for name in ATTACKS if name in set(rows["attack"])]:
            part = rows[rows["attack"] == attack]
            names = [name for name in self.experiments if name in set(part["target_experiment"])]
            sources = [name for name in self.experiments if name in set(part["shadows_experiment"])]
            values = part.pivot(index="target_experiment", columns="shadows_experiment", values="mean")
            values = values.reindex(index=names, columns=sources)
            values = values.rename(index=self.labels, columns=self.labels)
            size = (max(COLUMN, 0.9 + longest + 0.42 * len(sources)), 0.9 + 0.6 * longest + 0.26 * len(names))
            yield self._figure(
                *(
                    f"transfer_{attack}",
                    "transfer",
                    size,
                    grids.heat_map(values, "Whose shadow models", "Target"),
                    part,
                ),
                f"{attack_title(attack)} AUC when the adversary's shadow models (columns) are trained otherwise than "
                "the target (rows). Bold: the target's own pipeline. A row that stays bright leaks even to an "
                f"adversary who guesses the pruning wrong.{self._note()}",
            )

    def _exposed(self) -> Iterator[Figure]:
        rows = self.inputs.of("exposed", self.experiments)
        pictures, titles = {}, {}
        for name in self._pictured():
            part = rows[rows["experiment"] == name].sort_values("rank")
            if name in self.inputs.pictures and len(part) == len(self.inputs.pictures[name]) > 0:
                pictures[self.labels[name]] = self.inputs.pictures[name]
                titles[self.labels[name]] = [self._picture_title(row) for _, row in part.iterrows()]
        if pictures:
            yield self._figure(
                *("exposed", "exposure", (PAGE, 0.3 + 0.68 * len(pictures))),
                grids.exposed_pictures(pictures, titles),
                rows,
                pictures_caption(
                    self.inputs.of("exposure", self.experiments, "experiment_a"),
                    self.labels,
                    [name for name in self.experiments if self.labels[name] in pictures],
                    superseded="exposure" in self.inputs.superseded,
                )
                + self._note(),
            )

    def _classes(self) -> Iterator[Figure]:
        first = self.cells[~self.cells["experiment"].isin(self.replicates)]
        rows = classes.class_rows(self.inputs.of("risk", self.experiments), first, self._pictured())
        panels = classes.panels_of(rows)
        if panels and rows["x"].nunique() > 1:
            draw = classes.by_class(rows, panels, self.labels, charts.cell_colours(self.cells))
            yield self._figure(
                *("leakage_by_class", "risk", classes.panels_size(len(panels)), draw, rows),
                "Members that Bayes LiRA finds at 1 % FPR, by class, of pruned cells beside dense training. Bars are "
                f"{charts.INTERVAL}s over examples; there is none where nothing varies.{self._note()}",
            )

    def _pictured(self) -> list[str]:
        """The cells whose most exposed examples are shown."""
        return self.experiments

    def _picture_title(self, row: pd.Series) -> str:
        number = f"class {row['label']}"
        name = self._legible(str(row["class_name"] or number), number)
        return f"{fonts.fitted(name, CLASS, TITLE_SIZE, self.fonts)}\n#{row['index']}"


def slug(text: str) -> str:
    """A text as a file name."""
    return re.sub(r"[^A-Za-z0-9._]+", "_", text).strip("_.") or "cell"


def unique_slugs(names: Sequence[str]) -> list[str]:
    """A file name for each, unique even where two differ in forbidden characters only."""
    slugs = [slug(name) for name in names]
    return [one if slugs.count(one) == 1 else f"{one}-{i}" for i, one in enumerate(slugs, start=1)]


def is_number(value: object) -> bool:
    """Whether a field of a table holds a figure."""
    return isinstance(value, int | float | np.number) and not np.isnan(float(value))
