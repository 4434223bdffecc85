"""`--fail-above`: below, above or undecided, a line for each limit, and bad limits refused before anything is read."""

from __future__ import annotations

import shlex
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import yaml
from scipy import stats

from attacks.intervals import Sample, half_width, mean_interval, targets_for
from cli import evaluation
from cli.gate import judge
from cli.main import SOME_FAILED
from cli.parser import parse
from mia.unified_mia_evaluation import build_parser
from tests.cli.scripts import UNIFIED, call
from tests.repository import REPOSITORY

OLD = REPOSITORY / "tests" / "fixtures" / "before_replicates"


def evidence(*figures: dict[str, Any], **cell: Any) -> Any:
    """An evaluation of a cell for each of these figures of Bayes LiRA."""
    names = [f"cell_{number}" for number in range(len(figures))]
    known = {"reason": "", "split": "pairs", "epsilon_lower": None, "epsilon_reason": "no coins", **cell}
    row = {"attack": "lira_bayes", "metric": "auc", "num_targets": 8, "common": 0.0}
    return SimpleNamespace(
        cells=[{"experiment": name, **known} for name in names],
        summary=[{"experiment": name, **row, **own} for name, own in zip(names, figures, strict=True)],
        scored=[
            SimpleNamespace(asked=SimpleNamespace(experiment=name), results={"lira_bayes": []}, unavailable={})
            for name in names
        ],
    )


def figure(mean: float, half: float, **changes: Any) -> dict[str, Any]:
    return {"mean": mean, "ci_low": mean - half, "ci_high": mean + half, **changes}


def judged(found: Any, *limits: str, all_targets: bool = False) -> tuple[int, list[str]]:
    args = parse(build_parser(), ["--fail-above", *limits])
    return judge(found, args.fail_above, all_targets)


def test_below_above_and_undecided() -> None:
    low, high, across = figure(0.5, 0.0625), figure(0.7, 0.02), figure(0.59, 0.02)
    assert judged(evidence(low), "auc=0.5625") == (
        0,
        ["gate auc=0.5625 of Bayes LiRA: passed: cell_0 0.500 [0.438, 0.562]"],
    )
    code, (line,) = judged(evidence(low, high, across), "auc=0.6")
    assert (code, line) == (5, "gate auc=0.6 of Bayes LiRA: failed: cell_1 0.700 [0.680, 0.720]")
    code, (line,) = judged(evidence(low, across), "auc=0.6")
    assert code == 6
    assert "undecided, not enough evidence: cell_1 0.590 [0.570, 0.610] (about 18 more models would do" in line
    assert "--num-targets all" in line  # of more than 16 models not all are attacked
    assert "--num-targets" not in judged(evidence(across), "auc=0.6", all_targets=True)[1][0]
    assert judged(evidence(high, control="size"), "auc=0.6")[0] == 0  # a control is nobody's release


def test_what_more_models_would_not_tell_is_said() -> None:
    for changes, words in (
        ({"common": 0.00009}, "more models alone would not do"),
        ({"num_targets": 1, "common": None}, "of one target network"),
    ):
        code, (line,) = judged(evidence(figure(0.59, 0.02, **changes)), "auc=0.6")
        assert code == 6
        assert words in line


def test_what_is_missing_is_not_passed() -> None:
    none = {"mean": None, "ci_low": None, "ci_high": None}
    for found, limit, words in (
        (evidence({}, reason="no shadow models"), "auc=0.6", "cell_0 was not attacked (no shadow models)"),
        (evidence(none), "auc=0.6", "cell_0 has no such figure (it is not defined here)"),
        (evidence(none), "tpr_at_fpr_0.01=0.05", "it takes 500 non-members of every target"),
        (evidence({**none, "mean": 0.5}), "auc=0.6", "cell_0 0.500 in every target and resample"),
        (evidence({}), "epsilon_lower=1", "cell_0 has no bound (no coins)"),
    ):
        code, (line,) = judged(found, limit)
        assert code == 6
        assert words in line


def test_what_never_varies_is_above_a_lower_limit() -> None:
    code, (line,) = judged(evidence({"mean": 1.0, "ci_low": None, "ci_high": None}), "auc=0.6")
    assert code == 5
    assert line.endswith("failed: cell_0 1.000 in every target and resample")


def test_a_bound_is_compared_itself_and_proves_nothing_below() -> None:
    code, (line,) = judged(evidence({}, epsilon_lower=0.4399), "epsilon_lower=1")
    assert code == 0
    assert line.endswith("passed, which proves nothing, being a lower bound: cell_0 0.439")
    assert judged(evidence({}, epsilon_lower=1.01), "epsilon_lower=1")[0] == 5


def test_every_limit_counts_however_it_is_given() -> None:
    args = parse(build_parser(), ["--fail-above", "auc=0.6", "--fail-above", "accuracy=1", "epsilon_lower=0"])
    assert [limit.metric for limit in args.fail_above] == ["auc", "accuracy", "epsilon_lower"]
    code, lines = judge(evidence(figure(0.7, 0.02), epsilon_lower=0.0), args.fail_above, False)
    assert code == 5
    assert len(lines) == 3


@pytest.mark.parametrize(
    ("limit", "words"),
    [
        ("aux=0.6", "'aux' is no metric; give METRIC=X, METRIC of auc, accuracy"),
        ("auc", "'auc' is not allowed; give auc= and a number from 0 to 1"),
        *((f"auc={bad}", "a number from 0 to 1") for bad in ("1.1", "-0.1", "nan", "inf", "much", "")),
        *((f"epsilon_lower={bad}", "a number of at least 0") for bad in ("-1", "inf", "nan")),
    ],
)
def test_bad_limits_are_one_line_and_nothing_is_read(
    limit: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert call(UNIFIED, [f"--fail-above={limit}", "--runs-dir", "nowhere"]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert "argument --fail-above: " in err
    assert words in err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("mean", "ends"), [(0.7, 5), (0.5, 3)])
def test_an_evaluation_ends_with_the_gate(
    mean: float, ends: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its lines follow what the evaluation prints; what went wrong otherwise still counts where all limits are met."""
    found = evidence(figure(mean, 0.02), epsilon_lower=0.5)
    monkeypatch.setattr(evaluation, "evaluate", lambda *_: found)
    monkeypatch.setattr(evaluation, "finish", lambda *_: print("the table") or SOME_FAILED)
    argv = ["--runs-dir", str(OLD / "runs"), "--results-dir", str(tmp_path), "--summary-dir", str(tmp_path)]
    assert call(UNIFIED, [*argv, "--fail-above", "auc=0.6", "--fail-above", "epsilon_lower=1", "--quiet"]) == ends
    table, auc, epsilon = capsys.readouterr().out.splitlines()
    assert table == "the table"
    assert auc.startswith("gate auc=0.6 of Bayes LiRA: ")
    assert epsilon.startswith("gate epsilon_lower=1 of Bayes LiRA: passed, which proves nothing")


def test_as_many_targets_as_the_intervals_formula_says() -> None:
    rng, targets = np.random.default_rng(0), 6
    shared = rng.normal(size=400) * 0.01
    found = Sample(0.6 + rng.normal(size=targets) * 0.03, 0.6 + shared + rng.normal(size=(targets, 400)) * 0.004)
    over, half, between = mean_interval(found, "auc"), half_width(found), found.values.var(ddof=1)
    assert over.common is not None
    assert over.common == pytest.approx(1e-4, rel=0.3)

    def slow(number: int) -> float:
        variance = over.common + between / number
        dof = (number - 1) * (variance / (between / number)) ** 2
        return float(stats.t.ppf(0.975, dof) * np.sqrt(variance))

    assert slow(targets) == pytest.approx(half)
    assert targets_for(half, half, over.common, targets) == targets
    for wanted in (half * 0.95, half * 0.9, half * 0.8):
        number = targets_for(wanted, half, over.common, targets)
        assert number is not None
        assert slow(number) <= wanted < slow(number - 1)
    assert targets_for(1.9 * np.sqrt(over.common), half, over.common, targets) is None


def test_the_example_workflow_runs_the_gate() -> None:
    steps = yaml.safe_load((REPOSITORY / "examples/release_gate.yml").read_text())["jobs"]["gate"]["steps"]
    (command,) = [step["run"] for step in steps if "--fail-above" in step.get("run", "")]
    python, script, *flags = shlex.split(command)
    assert (python, script) == ("python", "mia/unified_mia_evaluation.py")
    assert len(parse(build_parser(), flags).fail_above) == 3
