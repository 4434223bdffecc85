"""`epsilon_lower` of whole evaluations: which cells have one, on what it rests, and what the report says of it."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from attacks.epsilon import CONFIDENCE, lower_bound, right_guesses
from attacks.registry import SUITE_OF_OWN, Attack, add_own, forget_own
from configs.attacks import ALL_TARGETS, AttackOptions
from configs.machine import Places
from data.splits import draw_membership, draw_pairs
from evaluation import deletion
from evaluation.attack import Attacker
from evaluation.epsilon import epsilon_columns
from evaluation.foreign_cells import read_cells
from evaluation.gather import Evidence, gather
from reporting.epsilon import epsilon_sentences
from reporting.frames import to_frame
from reporting.tables import CELLS_COLUMNS
from tests.reporting.reporting_examples import GRID, cell, write_results
from tests.reporting.test_report import page

EXAMPLES = 240
REASONS = {
    "halves": "memberships are not known to be fair coins",
    "claimed": "too few models are in complementary pairs",
    "four": "lira_bayes needs at least 5 shadow models",
}
ALL = AttackOptions(num_targets=ALL_TARGETS)


def file_of(folder: Path, name: str, gap: float, membership: Any, **about: object) -> Path:
    """Models that know their members by `gap`, as a file."""
    rng = np.random.default_rng(0)
    phi = rng.normal(size=(*membership.shape, 1)) + gap * membership[:, :, None]
    meta = np.frombuffer(json.dumps({"name": name, **about}).encode(), np.uint8)
    np.savez(
        folder / f"{name}.npz",
        allow_pickle=False,
        **{"phi": phi, "labels": np.arange(EXAMPLES) % 4, "membership": membership, "meta": meta},
    )
    return folder / f"{name}.npz"


def evaluated(*files: Path, attacks: tuple[str, ...] = ("lira_bayes", "loss")) -> Evidence:
    return gather(read_cells(files, ALL), Attacker(attacks, ALL, Places(), "cpu"))


def test_the_headline_attack_on_every_target_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deletion, "MOST_GROUPS", 0)  # intervals are not looked at
    pairs = draw_pairs(EXAMPLES, 6, 3)
    files = [
        file_of(tmp_path, "leaks", 3.0, pairs, split="pairs", seed=3),
        file_of(tmp_path, "silent", 0.0, pairs, split="pairs", seed=3),
        file_of(tmp_path, "halves", 3.0, np.roll(pairs, 1, axis=1), split="balanced"),
        # said to be pairs, but no model has a complement
        file_of(tmp_path, "claimed", 3.0, draw_membership(EXAMPLES, 6, 0.5, 0), split="pairs"),
        file_of(tmp_path, "four", 3.0, draw_pairs(EXAMPLES, 4, 3), split="pairs", seed=3),
    ]
    evidence = evaluated(*files)
    rows = {row["experiment"]: row for row in evidence.cells}
    one = next(one for one in evidence.scored if one.asked.experiment == "leaks")
    each = [
        lower_bound(EXAMPLES, *right_guesses(result.scores, membership), 1 - (1 - CONFIDENCE) / 6)
        for _, result, membership in one.measured_targets("lira_bayes")
    ]
    assert len(each) == 6
    assert rows["leaks"]["epsilon_lower"] == max(each) > 1
    assert rows["leaks"]["epsilon_reason"] is None
    assert "|attack:lira_bayes_online|shadows:5|targets:6|queries:1|" in rows["leaks"]["signature"]
    assert "signature" not in rows["four"]
    assert rows["silent"]["epsilon_lower"] == 0.0
    for name, reason in REASONS.items():
        assert rows[name]["epsilon_lower"] is None
        assert rows[name]["epsilon_reason"].startswith(reason)


def test_another_headline_attack_decides_where_there_is_no_other(tmp_path: Path) -> None:
    (alone,) = evaluated(file_of(tmp_path, "four", 3.0, draw_pairs(EXAMPLES, 4, 3), split="pairs", seed=3)).cells
    assert alone["epsilon_lower"] > 0


def test_an_attack_of_the_users_own_gives_no_bound() -> None:
    asked = SimpleNamespace(experiment="dense", cell=SimpleNamespace(names={"split": "pairs"}))
    one: Any = SimpleNamespace(asked=asked, results={"mine": []}, unavailable={}, answers=None)
    add_own(Attack("mine", SUITE_OF_OWN, "mine", "", 0, ("mine",)))
    try:
        found = epsilon_columns([one])["dense"]
    finally:
        forget_own()
    assert found["epsilon_lower"] is None
    assert found["epsilon_reason"].startswith("what mine looks at is not known here")


def cells(**changes: Any) -> pd.DataFrame:
    return to_frame([cell("dense", 0.0, **changes), cell("static", 0.8)], CELLS_COLUMNS)


def test_the_report_says_what_it_means_where_there_is_one() -> None:
    labels = {"dense": "Dense", "static_0.8": "Static 80 %"}
    (said,) = epsilon_sentences(cells(epsilon_lower=0.0), "Bayes LiRA", labels)
    assert "a lower bound on the epsilon that this training could claim" in said
    assert "Bayes LiRA calls the 5 % of" in said
    assert "0 proves nothing" in said
    assert list(epsilon_sentences(cells(epsilon_reason="no coins"), "Bayes LiRA", labels)) == [
        "No lower bound on epsilon of Dense: no coins."
    ]
    assert list(epsilon_sentences(cells(), "Bayes LiRA", labels)) == []  # of an earlier version


@pytest.mark.usefixtures("undrawn")
def test_the_page_has_the_bound_beside_the_accuracies_and_never_rounds_it_up(tmp_path: Path) -> None:
    write_results(tmp_path, GRID[:1], epsilon_lower=0.439, signature="version:1|seed:0 method:dense")
    text = page(tmp_path)
    assert "TPR@1%FPR % Epsilon, at least Dense" in text
    assert " 0.43 " in text
    assert "0.44" not in text
    assert "version:1|seed:0 1 cell dense: method:dense" in text
