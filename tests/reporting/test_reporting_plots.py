"""Figures exist where there is something to show, say what they should, and depend on the data alone."""

from __future__ import annotations

from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
from reporting_examples import cell, evaluation, scores

from mia.registry import ATTACKS
from pruning.registry import METHODS
from reporting.charts import cell_label, mean_auc, tpr_at
from reporting.plots import _attack_curves, _slugs, write_figures
from reporting.style import attack_colours, method_colour, shades

PER_SETTING = ["roc_methods.png", "auc_vs_sparsity.png", "tradeoff.png"]


def assert_is_a_picture(path: Path) -> None:
    pixels = matplotlib.image.imread(path)
    assert min(pixels.shape[:2]) > 400
    assert len(np.unique(pixels[..., :3] @ [1.0, 10.0, 100.0])) > 20  # one number a colour


def test_every_figure_of_a_sweep(tmp_path: Path) -> None:
    grid = (("dense", 0.0), ("static", 0.8), ("dpf", 0.8))
    cells, rows, found = evaluation(grid, examples=60, targets=2)
    cells.append(cell("dpf", 0.99, reason="too few shadows", test_accuracy=None))
    written = write_figures(tmp_path, cells, rows, found)
    per_cell = ["roc_cell_dense.png", "roc_cell_static_0.8.png", "roc_cell_dpf_0.8.png"]
    assert [path.name for path in written] == [*per_cell, *PER_SETTING]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(path.name for path in written)
    for path in written:
        assert_is_a_picture(path)


def test_equal_data_gives_equal_bytes(tmp_path: Path) -> None:
    data = evaluation((("dense", 0.0), ("dpf", 0.9)), examples=40)
    first, second = (write_figures(tmp_path / name, *data) for name in ("a", "b"))
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    assert b"Software" not in first[0].read_bytes()


def test_one_dense_cell_has_its_roc_only(tmp_path: Path) -> None:
    data = evaluation((("dense", 0.0),), examples=40)
    assert [path.name for path in write_figures(tmp_path, *data)] == ["roc_cell_dense.png"]


def test_nothing_to_show(tmp_path: Path) -> None:
    assert write_figures(tmp_path / "figures", [cell("dense", 0.0, reason="no shadows")], [], {}) == []
    assert write_figures(tmp_path / "figures", [], [], {}) == []
    assert not (tmp_path / "figures").exists()


def test_each_setting_gets_its_own_comparison(tmp_path: Path) -> None:
    cells, rows, found = evaluation((("dense", 0.0), ("dpf", 0.9)), examples=40)
    for entry in cells:
        other = f"{entry['experiment']}/seed_1"
        rows += [{**line, "experiment": other, "seed": 1} for line in rows if line["experiment"] == entry["experiment"]]
        found[other] = found[entry["experiment"]]
    cells += [{**entry, "experiment": f"{entry['experiment']}/seed_1", "seed": 1} for entry in cells]
    names = {path.name for path in write_figures(tmp_path, cells, rows, found)}
    assert {"roc_methods_cifar10_resnet_20_1_0.png", "roc_methods_cifar10_resnet_20_1_1.png"} <= names
    assert "roc_cell_dpf_0.9_seed_1.png" in names


def test_file_names_differ_even_if_experiments_hardly_do() -> None:
    assert _slugs(["a/b", "a b", "a:b", "c", "../"]) == {
        "a/b": "a_b",
        "a b": "a_b-2",
        "a:b": "a_b-3",
        "c": "c",
        "../": "cell",
    }


def test_tpr_of_a_roc_known_by_hand() -> None:
    points = np.array([4.0, 3.0, 3.0, 1.0]), np.array([True, True, False, False])  # (0, .5), then a tie to (.5, 1)
    assert tpr_at(np.array([0.1, 0.49, 0.5, 1.0]), *points).tolist() == [0.5, 0.5, 1.0, 1.0]
    assert mean_auc([points]) == 0.875


def test_twins_share_a_line_and_variants_have_none() -> None:
    records = scores({"confidence": 0.5, "lira": 0.8, "lira_online": 0.8}, examples=200, targets=2, seed=0)
    curves, colours = _attack_curves(records)
    assert list(curves) == ["LiRA", "LOSS / Confidence"]
    assert list(colours) == list(curves)
    assert [len(targets) for targets in curves.values()] == [2, 2]


def test_at_most_eight_curves_and_the_baseline_among_them() -> None:
    strengths = {name: 0.5 + 0.1 * index for index, name in enumerate(ATTACKS) if name != "loss"}
    curves, _ = _attack_curves(scores(strengths, examples=200, targets=1, seed=0))
    assert len(curves) == 8
    assert [label.split(" / ")[0] for label in list(curves)[:3]] == ["LiRA", "LOSS", "LiRA, global threshold"]


def test_colours() -> None:
    assert len({method_colour(method) for method in METHODS}) == len(METHODS)
    titles = [attack.title for attack in ATTACKS.values()]
    assert attack_colours(titles[3:4])[titles[3]] == attack_colours(titles)[titles[3]]
    assert shades("dpf", 1) == [method_colour("dpf")]
    lightness = [sum(colour) for colour in shades("dpf", 5)]
    assert lightness == sorted(lightness, reverse=True)


@pytest.mark.parametrize(("method", "sparsity", "label"), [("dense", 0.0, "Dense"), ("static", 0.95, "Static 95 %")])
def test_cell_labels(method: str, sparsity: float, label: str) -> None:
    assert cell_label(method, sparsity) == label
