"""What the page's figure is drawn from is what the tables say."""

from __future__ import annotations

from pathlib import Path

from reporting.choices import choices
from reporting.inputs import read_inputs
from reporting.labels import named_pair
from tests.reporting.reporting_examples import write_results


def test_every_attack_metric_and_difference_is_there_as_the_tables_have_it(tmp_path: Path) -> None:
    write_results(tmp_path, targets=9)
    inputs = read_inputs(tmp_path)
    summary, compared = inputs.tables["summary"], inputs.tables["comparisons"]
    labels = {name: name.upper() for name in inputs.cells["experiment"]}
    titles = {"auc": "AUC"}, {"against_dense": "A", "same_sparsity": "B"}
    made = choices(summary, compared, labels, labels, titles)
    assert [name for name, _ in made["attacks"]] == ["lira", "rmia", "samia", "loss"]
    assert ["auc", "AUC", 1] in made["metrics"]
    assert "tpr_at_fpr_0.001" not in [name for name, _, _ in made["metrics"]]  # undefined everywhere
    level, dense, same = made["views"]
    assert level["guessing"] == {"auc": 0.5, "tpr_at_fpr_0.01": 0.01}
    for attack, by_metric in level["rows"].items():
        for metric, rows in by_metric.items():
            own = summary[(summary["attack"] == attack) & (summary["metric"] == metric)]
            assert [level["names"][row[0]] for row in rows] == [labels[name] for name in own["experiment"]]
            assert [row[1] for row in rows] == [float(f"{value:.5g}") for value in own["mean"]]
    own = compared[compared["kind"] == "against_dense"]
    assert dense["names"] == [" - ".join(named_pair(row, labels)) for _, row in own.iterrows()]
    assert [made["notes"][row[4]] for row in dense["rows"]["lira"]["auc"]] == [["first leaks less", True]] * 4
    assert [made["notes"][row[4]] for row in same["rows"]["lira"]["auc"]] == [["no difference found", False]] * 2
