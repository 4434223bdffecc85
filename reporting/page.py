"""One self-contained page from a results folder, with its figures."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2
import pandas as pd
from markupsafe import Markup

from artifacts.atomic_writes import clear_temporaries, write_text
from artifacts.progress import announced
from attacks.metrics import METRICS
from attacks.registry import ATTACKS
from configs.errors import UsageError
from pruning.registry import BASELINE
from reporting import exposure, glossary, headline, verdicts
from reporting.choices import choices
from reporting.columns import without_empty_columns
from reporting.epsilon import epsilon_sentences
from reporting.figures import (
    LOOSE,
    STRICT,
    Figure,
    is_number,
    slug,
    unique_slugs,
)
from reporting.inputs import Inputs, headline_attack, read_inputs, settings_of
from reporting.labels import named_pair
from reporting.many import gallery
from reporting.names import labels_of, methods_in, setting_title
from reporting.releases import release_sentences, release_table
from reporting.risk import risk_sentences, risk_table
from reporting.settings import own_settings, shared_settings, shown, signatures
from reporting.style import attack_title
from reporting.tables import attack_order

KINDS = {
    "against_dense": "Pruned minus dense",
    "equal_accuracy": "Pruned minus dense training at the same test accuracy",
    "equal_size": "Pruned minus a dense network of the same size",
    "replicate": "The null: a cell minus the same trained again",
    "same_sparsity": "Methods at the same sparsity",
    "other_methods": "Other methods at the same sparsity",
    "given": "Later cell minus earlier, in the order given",
    "neighbouring_sparsity": "One step of sparsity up",
    "other_knobs": "One method at one sparsity, its own settings differ",
    "matched_accuracy": "Methods whose test accuracies are within a point, as far as the test pictures tell",
    "other_recipe": "Cells whose recipes differ: no verdict",
}
MOST_ROWS = 40  # of comparisons that a page shows open; with more, those that were not planned are folded
NOT_PLANNED = ("other_methods", "neighbouring_sparsity", "other_knobs", "matched_accuracy", "other_recipe")
METRIC_TITLES = {"auc": "AUC", STRICT: "TPR@0.1%FPR", LOOSE: "TPR@1%FPR"}
HERE = Path(__file__).parent
WIDE = 5.0  # inches: a figure that takes a line of the page
SECTIONS = ("utility", "sparsity", "roc", "roc_cells", "comparisons", "transfer", "exposure", "risk")


@dataclass(frozen=True)
class Block:
    """The cells of one data set, architecture, seed and split: everything that the template shows of them."""

    title: str
    sentences: list[str]
    figures: dict[str, list[Figure]]
    utility: list[dict[str, str]]
    epsilon: list[str]
    comparisons: list[dict[str, Any]]
    folded_comparisons: list[dict[str, Any]]
    all_comparisons: list[dict[str, str]]
    releases: list[str]
    release_table: list[dict[str, Any]]
    risk: list[str]
    risk_table: dict[str, Any]
    agreement: list[dict[str, Any]]
    exposure: list[str]
    attacks: list[dict[str, Any]]
    choices: dict[str, Any]
    attack: str
    strict_empty: bool
    num_targets: int
    transfer_is_empty: bool
    optimistic: bool


def write_report(results_dir: Path) -> list[Path]:
    """Draw <results_dir>/report.html and figures/ from the tables beside them; returns the files, the page first.

    UsageError, one line, where the folder does not hold an evaluation.
    """
    inputs = read_inputs(results_dir)
    groups = settings_of(inputs.cells)
    titles = [setting_title(inputs.of("cells", group)) for group in groups]
    suffixes = [f"_{name}" for name in unique_slugs(titles)] if len(groups) > 1 else [""]
    blocks = [
        _block(inputs, group, title, results_dir / "figures", suffix)
        for group, title, suffix in announced(
            list(zip(groups, titles, suffixes, strict=True)), "drawing the report", lambda one: one[1]
        )
    ]
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "data_uri": _data_uri, "slug": slug, "linked": glossary.linked, "rows_of_two": _rows_of_two,
    }  # fmt: skip
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "allow_nan": False}
    page = environment.get_template("report.html.j2").render(
        style=Markup(_text("report.css")),
        script=Markup(_text("report.js")),
        glossary=glossary,
        blocks=blocks,
        choices=[block.choices for block in blocks if block.choices["attacks"]],
        sections=SECTIONS,
        statistics=list(exposure.TITLES.values()),
        superseded="exposure" in inputs.superseded,
        cells=_cell_rows(inputs.cells),
        unfinished=_unfinished(inputs.cells),
        attacked=int((inputs.cells["num_targets"] > 0).sum()),
        methods=methods_in(inputs.cells),
        num_attacks=len(set(inputs.tables["summary"]["attack"]) & set(ATTACKS)),
        num_planned=_num_planned(inputs.tables["comparisons"]),
        shared_settings=shared_settings(inputs.cells),
        own_settings=own_settings(inputs.cells),
        about=inputs.about,
        signatures=signatures(inputs.cells),
        duplicates=headline.duplicate_sentences(inputs.cells),
        unavailable=_grouped(inputs.about.get("unavailable", {})),
        notes=_grouped(inputs.about.get("notes", {})),
    )
    path = results_dir / "report.html"
    write_text(path, glossary.with_headings(without_empty_columns(page)))
    drawn = [figure for block in blocks for figures in block.figures.values() for figure in figures]
    return [path, *(results_dir / "figures" / f"{figure.name}.png" for figure in drawn)]


def clear_folders(results_dir: Path) -> None:
    """Delete what a killed evaluation or report left half-written in a results folder.

    UsageError for a folder in it that is a link: what is written there would land elsewhere.
    """
    folders = [path for path in sorted(results_dir.glob("*")) if path.is_dir()]
    for folder in folders:
        if folder.is_symlink():
            raise UsageError(f"argument --results-dir: {folder} is a link; results are written to no other place")
    for folder in (results_dir, *folders):
        clear_temporaries(folder)


def _block(inputs: Inputs, experiments: list[str], title: str, folder: Path, suffix: str) -> Block:
    figures: dict[str, list[Figure]] = {section: [] for section in SECTIONS}
    for figure in gallery(inputs, experiments, folder, suffix).draw():
        figures[figure.section].append(figure)
    cells, summary = inputs.of("cells", experiments), inputs.of("summary", experiments)
    attack, labels = headline_attack(summary) or "", labels_of(cells)
    compared = inputs.comparisons(experiments)
    named = {**dict(zip(inputs.cells["experiment"], inputs.cells["experiment"], strict=True)), **labels}
    transfer = inputs.of("transfer", experiments, "target_experiment", "shadows_experiment")
    exposed = inputs.of("exposure", experiments, "experiment_a")
    released, risks = inputs.of_releases(experiments), inputs.of("risk", experiments)
    dense = {str(name) for name in cells["experiment"][(cells["method"] == BASELINE) & cells["control"].isna()]}
    superseded = "exposure" in inputs.superseded
    strict = summary[(summary["attack"] == attack) & (summary["metric"] == STRICT)]
    own = compared[(compared["attack"] == attack) & (compared["metric"] == "auc")]
    folded = own["kind"].isin(NOT_PLANNED) & (len(own) > MOST_ROWS)
    return Block(
        title=title,
        sentences=headline.sentences(inputs, experiments),
        figures=figures,
        utility=_utility(cells, summary, attack, labels),
        epsilon=list(epsilon_sentences(cells, attack_title(attack), labels)),
        comparisons=_by_kind(own[~folded], named),
        folded_comparisons=_by_kind(own[folded], named),
        all_comparisons=[
            _compared(row, named)
            for _, row in compared.iterrows()
            if row["attack"] in ATTACKS and row["metric"] in METRIC_TITLES
        ],
        releases=list(release_sentences(released, dense, labels)),
        release_table=release_table(released, labels, METRIC_TITLES),
        risk=list(risk_sentences(risks, labels)),
        risk_table=risk_table(risks, labels),
        agreement=exposure.agreement_table(exposed, labels),
        exposure=[exposure.SUPERSEDED] if superseded else exposure.exposure_sentences(exposed, cells, labels),
        attacks=_attacks(summary, cells, labels),
        choices={"attack": attack, **choices(summary, compared, labels, named, (METRIC_TITLES, KINDS))},
        attack=attack_title(attack),
        strict_empty=bool(strict["mean"].isna().all()),
        num_targets=int(cells["num_targets"].max()),
        transfer_is_empty=transfer.empty,
        optimistic=bool((cells["select"] == "best").any()),
    )


def _utility(cells: pd.DataFrame, summary: pd.DataFrame, attack: str, labels: dict[str, str]) -> list[dict[str, str]]:
    rows = []
    for _, cell in cells[cells["num_targets"] > 0].iterrows():
        own = summary[(summary["experiment"] == cell["experiment"]) & (summary["attack"] == attack)]
        figures = {row["metric"]: row for _, row in own.iterrows()}
        row = {"cell": labels[cell["experiment"]]}
        for name in ("train_accuracy", "heldout_accuracy", "test_accuracy", "generalisation_gap"):
            row[name] = _number(cell[name], 100, 1)
        row["test_accuracy"] += " (optimistic)" if cell["select"] == "best" else ""
        row["steps"] = verdicts.steps(cell["optimizer_steps"]) if cells["optimizer_steps"].nunique() > 1 else "-"
        row["auc"] = headline.level(figures["auc"]) if "auc" in figures else "-"
        for metric in (STRICT, LOOSE):
            known = metric in figures and is_number(figures[metric]["mean"])
            row[metric] = headline.level(figures[metric], 100, 2) if known else "-"
        row["epsilon_lower"] = _at_least(cell["epsilon_lower"])
        rows.append(row)
    return rows


def _by_kind(rows: pd.DataFrame, labels: dict[str, str]) -> list[dict[str, Any]]:
    groups = [(title, rows[rows["kind"] == kind]) for kind, title in KINDS.items()]
    return [
        {"title": title, "rows": [_compared(row, labels) for _, row in group.iterrows()], "count": len(group)}
        for title, group in groups
        if len(group)
    ]


def _compared(row: pd.Series, labels: dict[str, str]) -> dict[str, str]:
    return {
        "pair": " - ".join(named_pair(row, labels)),
        "attack": attack_title(row["attack"]),
        "metric": METRIC_TITLES.get(row["metric"], row["metric"]),
        "difference": verdicts.difference(row),
        "p": _p_value(row["p_value"]),
        "p_holm": _p_value(row["p_holm"]),
        "verdict": verdicts.finding(row),
        "accuracy": verdicts.accuracy_field(row),
        "steps": verdicts.steps_field(row),
        "found": "yes" if verdicts.verdict(row) in (verdicts.LESS, verdicts.MORE) else "",
    }


def _num_planned(rows: pd.DataFrame) -> int:
    """Tests that are corrected together as planned ones."""
    return int(((rows["family"] == "primary") & rows["p_value"].notna()).sum())


def _p_value(value: Any) -> str:
    if not is_number(value):
        return "-"
    return "< 0.0001" if value < 1e-4 else f"{value:.4f}" if value < 0.1 else f"{value:.2f}"


def _number(value: Any, scale: float = 1.0, digits: int = 3) -> str:
    return f"{scale * float(value):.{digits}f}" if is_number(value) else "-"


def _at_least(value: Any) -> str:
    """A lower bound to two digits, never rounded up."""
    return f"{math.floor(100 * value) / 100:.2f}" if is_number(value) else "-"


def _attacks(summary: pd.DataFrame, cells: pd.DataFrame, labels: dict[str, str]) -> list[dict[str, Any]]:
    """Every variant on every cell: AUC with its interval, and the other metrics' means."""
    rows = []
    for _, cell in cells.iterrows():
        own = summary[summary["experiment"] == cell["experiment"]]
        utility = [_number(cell[name], 100, 1) for name in ("train_accuracy", "heldout_accuracy", "test_accuracy")]
        utility.append(_number(cell["generalisation_gap"], 100, 1))
        for attack in attack_order(set(own["attack"])):
            figures = {row["metric"]: row for _, row in own[own["attack"] == attack].iterrows()}
            known = "auc" in figures and is_number(figures["auc"]["mean"])
            values = [_number(figures[m]["mean"]) if m in figures else "-" for m in METRICS[1:]]
            auc = headline.level(figures["auc"]) if known else "-"
            name = attack_title(attack) if attack in ATTACKS else attack
            targets = f"{int(own['num_targets'][own['attack'] == attack].max())}"
            row = {"cell": labels[cell["experiment"]], "attack": name, "targets": targets, "auc": auc}
            rows.append({**row, "values": [*values, *utility]})
    return rows


def _cell_rows(cells: pd.DataFrame) -> list[dict[str, str]]:
    """What cells.csv says beside the settings, as text; hashes shortened, since the CSV has them in full."""

    def text(name: str, value: Any) -> str:
        if value is None or (isinstance(value, float) and value != value):
            return "-"
        if name.endswith(("hash", "fingerprint")):
            return str(value)[:10]
        return f"{value:g}" if isinstance(value, float) else str(value)

    names = [name for name in cells.columns if name not in (*shown(), "epsilon_reason", "signature")]  # told elsewhere
    return [{name: text(name, row[name]) for name in names} for _, row in cells.iterrows()]


def _unfinished(cells: pd.DataFrame) -> list[dict[str, str]]:
    rows = []
    for _, cell in cells.iterrows():
        short = is_number(cell["planned_models"]) and cell["finished_models"] < cell["planned_models"]
        if cell["reason"] or short:
            planned = int(cell["planned_models"]) if is_number(cell["planned_models"]) else "?"
            state = f"{int(cell['finished_models'])} of {planned} models are finished"
            rows.append({"cell": cell["experiment"], "state": state, "reason": cell["reason"] or ""})
    return rows


def _grouped(by_experiment: dict[str, dict[str, str]]) -> list[tuple[str, str, list[str]]]:
    """(attack, why, experiments): the same reason once."""
    groups: dict[tuple[str, str], list[str]] = {}
    for experiment, reasons in by_experiment.items():
        for attack, why in reasons.items():
            groups.setdefault((attack, why), []).append(experiment)
    return [(attack_title(attack), why, names) for (attack, why), names in groups.items()]


def _rows_of_two(figures: Sequence[Figure]) -> list[list[Figure]]:
    """Figures as they stand beside each other: a wide one by itself, of the others two, and one where one is left."""
    rows: list[list[Figure]] = []
    for figure in figures:
        joins = rows and len(rows[-1]) == 1 and max(figure.width, rows[-1][0].width) <= WIDE
        if joins:
            rows[-1].append(figure)
        else:
            rows.append([figure])
    return rows


def _text(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8").strip()


def _data_uri(content: bytes | str, kind: str) -> str:
    if isinstance(content, str):  # a third shorter than in base 64
        return f"data:{kind};charset=utf-8,{quote(content, safe=',;:()[]')}"
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
