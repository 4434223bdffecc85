"""What the attacks that train nothing find with few shadow models, from recorded signals of trained cells.

    python benchmarks/evidence.py
    python benchmarks/evidence.py cell.npz --shadow-models 5 7 --targets 8 --output evidence.csv

Each file holds one cell: `phi`, float [M, n, Q], the logit-scaled confidences of M models, `membership`, bool [M, n],
who trained on what, and `labels` [n]; file names name the cells. Without files: the recorded evidence. For a number S
of shadow models, the cell as it would be with S + 1 models is attacked: of complementary pairs the target, its partner,
and (S - 1) / 2 of the other pairs; of other splits each example keeps (S - 1) / 2 of the other models that hold it and
as many of those that do not. Which ones is drawn with the seed, for each target anew. A number that the cell has too
few models for is left out.

`base` is RMIA's online ratio p / p_bar (BASE, arXiv 2505.24089), the mean over queries of its logarithm, by which
`rmia` ranks: no population is needed. The table: AUC and TPR at 1 % FPR (in percent), means over targets. The CSV: a
line for each cell, number, attack and metric, with 95 % t intervals over targets of the mean and of its difference from
Bayes LiRA on the same targets. (Targets share examples, and the models that the draws share: the intervals describe
this cell's networks.) Below the table: how many shadow models `lira` needs for the AUC of Bayes LiRA with 7.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from scipy import stats

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from artifacts.atomic_writes import write_text
from attacks import statistics
from attacks.arrays import BoolArray, Float64Array, FloatArray, IntArray
from attacks.inputs import AttackInputs
from attacks.interface import AttackSettings
from attacks.metrics import evaluate_scores
from attacks.models import from_models
from attacks.registry import ATTACKS
from attacks.rmia import confidence, log_ratio
from attacks.trimming import ALONE, partners
from benchmarks.lira_spreads import leave_out, most_a_side
from cli.help_layout import HelpText

RESULTS = Path(__file__).resolve().parent / "results" / "evidence"
BAYES, COMPARED = "lira_bayes", 7
OF_LIRA = ("lira", "lira_online", "lira_online_fixed", "lira_offline_fixed")
MEASURED = ("loss", "confidence", *OF_LIRA, "base", BAYES)
METRICS = {"auc": "AUC", "tpr_at_fpr_0.01": "TPR at 1 % FPR"}


class Cell(NamedTuple):
    """phi [M, n, Q], membership [M, n], labels [n] and, of complementary pairs, each model's partner."""

    name: str
    phi: FloatArray
    membership: BoolArray
    labels: IntArray
    partners: IntArray | None

    def inputs(self, target: int, kept: int, seed: int) -> AttackInputs:
        """One target and `kept` shadow models per side."""
        if self.partners is None:
            inputs = leave_out(self.phi, self.membership, target, kept, seed)
            return from_labels(inputs, self.labels)
        rng = np.random.default_rng([seed, target, kept])
        others = [i for i, p in enumerate(self.partners) if i < p and target not in (i, p)]
        pairs = [(i, int(self.partners[i])) for i in rng.choice(others, kept, replace=False)]
        own = [target, int(self.partners[target])] if self.partners[target] != ALONE else [target]
        rows = [*own, *(model for pair in pairs for model in pair)]
        return from_models(None, self.phi[rows], self.membership[rows], self.labels, 0, seed)

    @property
    def most(self) -> int:
        """How many shadow models per side every target can have."""
        if self.partners is None:
            return most_a_side(self.membership)
        return int((self.partners != ALONE).sum()) // 2 - 1


def from_labels(inputs: AttackInputs, labels: IntArray) -> AttackInputs:
    """The same with these labels, and without logits."""
    fields = {name: getattr(inputs, name) for name in ("target_phi", "shadow_phi", "shadow_in", "shadow_out", "seed")}
    return AttackInputs(labels=labels, target_logits=None, shadow_logits=None, **fields)


def read_cell(path: Path) -> Cell:
    """A signals file."""
    with np.load(path, allow_pickle=False) as arrays:
        phi, membership = arrays["phi"], arrays["membership"]
        labels = arrays["labels"] if "labels" in arrays else np.zeros(phi.shape[1])
    return Cell(path.stem, phi, membership, labels.astype(np.int64), partners(membership))


def base(inputs: AttackInputs) -> Float64Array:
    """The mean over queries of log(p / p_bar), [n]; p_bar: half the mean over IN plus half that over OUT shadows."""
    p, n = confidence(inputs.shadow_phi), inputs.num_examples
    inside, outside = (
        np.where(side[..., None], p, 0.0).sum(axis=1) / count
        for side, count in ((inputs.shadow_in, inputs.in_count), (inputs.shadow_out, inputs.out_count))
    )
    return np.asarray(log_ratio(inputs.target_phi, 0.5 * (inside + outside)).reshape(n, -1).mean(axis=1))


def scores_of(inputs: AttackInputs) -> dict[str, Float64Array]:
    """Scores of one target by attack, [n] each."""
    settings = AttackSettings(seed=inputs.seed, calibrate=False)
    found = {
        key: result.scores
        for name in ("lira", "confidence", BAYES)
        for key, result in ATTACKS[name].run(inputs, settings).items()
    }
    found |= {"loss": statistics.log_confidence(inputs.target_phi[:, 0]), "base": base(inputs)}
    return {attack: found[attack] for attack in MEASURED}


def measure(scores: Float64Array, inside: BoolArray) -> list[float]:
    """METRICS of one target; NaN where one is not defined."""
    found = evaluate_scores(scores, inside, None, resamples=0)
    values = [found[metric].value for metric in METRICS]
    return [np.nan if value is None else value for value in values]


def compare(cell: Cell, kept: int, targets: int, seed: int) -> Iterator[dict[str, Any]]:
    """The CSV's lines of one cell and one number of shadow models per side."""
    found: dict[str, list[list[float]]] = {attack: [] for attack in MEASURED}
    for target in range(min(targets, len(cell.membership))):
        for attack, scores in scores_of(cell.inputs(target, kept, seed)).items():
            found[attack].append(measure(scores, cell.membership[target]))
    values = {attack: np.array(rows) for attack, rows in found.items()}  # [targets, metrics]
    for attack, own in values.items():
        for column, metric in enumerate(METRICS):
            gap = own[:, column] - values[BAYES][:, column]
            yield {
                "cell": cell.name,
                "shadow_models": 2 * kept + 1,
                "attack": attack,
                "metric": metric,
                "targets": len(own),
                **dict(zip(("mean", "ci_low", "ci_high"), interval(own[:, column]), strict=True)),
                **dict(zip(("minus_bayes", "minus_ci_low", "minus_ci_high"), interval(gap), strict=True)),
            }


def interval(values: Float64Array) -> tuple[float, float, float]:
    """The mean and its 95 % t interval; no interval of one value."""
    if values.size < 2:
        return float(values.mean()), np.nan, np.nan
    half = stats.t.ppf(0.975, values.size - 1) * values.std(ddof=1) / np.sqrt(values.size)
    return float(values.mean()), float(values.mean() - half), float(values.mean() + half)


def for_people(rows: pd.DataFrame) -> str:
    """A line for each cell and number, a column for each attack: AUC / TPR at 1 % FPR in percent."""
    wide = rows.pivot(index=["cell", "shadow_models", "attack"], columns="metric", values="mean")
    auc, tpr = (wide[metric] for metric in METRICS)
    words = auc.map("{:.3f}".format) + " / " + (100.0 * tpr).map("{:.1f}".format)
    return str(words.unstack("attack")[list(MEASURED)].to_string())


def needed(rows: pd.DataFrame) -> Iterator[str]:
    """For each cell, the fewest shadow models with which `lira` has the AUC of Bayes LiRA with COMPARED."""
    auc = rows[rows["metric"] == "auc"].set_index(["cell", "attack", "shadow_models"])["mean"]
    for cell in dict.fromkeys(rows["cell"]):
        if (cell, BAYES, COMPARED) in auc.index:
            wanted, lira = auc[cell, BAYES, COMPARED], auc[cell]["lira"]
            enough = lira.index[lira >= wanted]
            words = f"needs {enough.min()}" if len(enough) else f"has not got there with {lira.index.max()}"
            yield f"{cell}: Bayes LiRA with {COMPARED} shadow models has AUC {wanted:.3f}; lira {words}"


def draw(rows: pd.DataFrame, path: Path) -> None:
    """AUC and TPR against trainings per cell, one column for each cell."""
    import matplotlib.style

    from reporting.style import PALETTE, STYLE, attack_place

    cells = list(dict.fromkeys(rows["cell"]))
    shown = {BAYES: "Bayes LiRA", "lira": "LiRA", "base": "RMIA", "loss": "LOSS"}
    with matplotlib.style.context(STYLE):
        figure = Figure(figsize=(1.75 * len(cells), 3.4), layout="constrained", dpi=200)
        FigureCanvasAgg(figure)
        axes = figure.subplots(2, len(cells), sharex=True, squeeze=False)
        for column, cell in enumerate(cells):
            for axis, (metric, title) in zip(axes[:, column], METRICS.items(), strict=True):
                for attack, label in shown.items():
                    own = rows[(rows["cell"] == cell) & (rows["metric"] == metric) & (rows["attack"] == attack)]
                    colour = PALETTE[attack_place("rmia" if attack == "base" else attack)]
                    trainings, scale = own["shadow_models"] + 1, 100.0 if metric != "auc" else 1.0
                    axis.plot(trainings, scale * own["mean"], marker="o", color=colour, label=label)
                    axis.fill_between(
                        trainings, scale * own["ci_low"], scale * own["ci_high"], color=colour, alpha=0.15, linewidth=0
                    )
                axis.set_xscale("log", base=2, subs=[])
                axis.set_xticks([6, 8, 16, 32, 64], ["6", "8", "16", "32", "64"])
                if column == 0:
                    axis.set_ylabel(title if metric == "auc" else f"{title} (%)")
            axes[0, column].set_title(cell)
        figure.supxlabel("trained models per cell")
        handles, labels = axes[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=len(shown))
        figure.savefig(path)


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=HelpText)
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="cells (default: the recorded ones)")
    parser.add_argument("--shadow-models", nargs="+", type=int, default=[5, 7, 9, 15, 31, 63], metavar="S")
    parser.add_argument("--targets", type=int, default=64, metavar="T", help="of each cell, the first; at most")
    parser.add_argument("--seed", type=int, default=0, help="of the models that are kept")
    parser.add_argument("--output", type=Path, help="CSV file; default: the table is only printed")
    parser.add_argument("--figure", type=Path, help="picture; default: none is drawn")
    args = parser.parse_args(argv)
    if args.targets < 1:
        parser.error(f"argument --targets: {args.targets} is not at least 1")
    files = args.files or sorted((RESULTS / "signals").glob("*.npz"))
    rows: list[dict[str, Any]] = []
    for cell in map(read_cell, files):
        for kept in sorted({(shadows - 1) // 2 for shadows in args.shadow_models}):
            if 2 <= kept <= cell.most:
                rows += compare(cell, kept, args.targets, args.seed)
    if not rows:
        parser.error("argument --shadow-models: no number is from 5 to what the cells have models for")
    table = pd.DataFrame(rows)
    print(for_people(table))
    print(*needed(table), sep="\n")
    if args.output is not None:
        write_text(args.output, table.round(5).to_csv(index=False, lineterminator="\n"))
    if args.figure is not None:
        draw(table, args.figure)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
