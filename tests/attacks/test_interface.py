"""AttackInputs: trimming, leave-one-out, validation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attacks.interface import AttackResult, AttackSettings, TooFewShadows
from attacks.models import from_models
from attacks.trimming import trim
from tests.attacks.conftest import MakeCell


@given(st.integers(1, 9), st.integers(1, 30), st.floats(0.0, 1.0), st.integers(0, 5))
def test_trim_keeps_equal_counts_on_the_right_side(shadows: int, examples: int, share: float, seed: int) -> None:
    membership = np.random.default_rng(seed).random((shadows, examples)) < share
    shadow_in, shadow_out = trim(membership, seed)
    assert not (shadow_in & ~membership).any()
    assert not (shadow_out & membership).any()
    assert (shadow_in.sum(axis=0) == membership.sum(axis=0).min()).all()
    assert (shadow_out.sum(axis=0) == (~membership).sum(axis=0).min()).all()


def test_trim_is_seeded() -> None:
    membership = np.random.default_rng(0).random((8, 200)).argsort(axis=0) < 4
    membership[0] = True
    assert all(np.array_equal(a, b) for a, b in zip(trim(membership, 1), trim(membership, 1), strict=True))
    assert not np.array_equal(trim(membership, 1)[0], trim(membership, 2)[0])


@pytest.mark.parametrize("models", [6, 7, 9])
def test_counts_do_not_tell_the_target(models: int, cell: MakeCell) -> None:
    """Leave-one-out counts are the label; trimmed counts are constant."""
    inputs, _ = cell(models, 300, seed=models)
    assert inputs.in_count >= models // 2 - 1
    assert (inputs.shadow_in.sum(axis=0) == inputs.in_count).all()
    assert (inputs.shadow_out.sum(axis=0) == inputs.out_count).all()


def test_the_targets_membership_row_is_not_used() -> None:
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(4, 10, 3)), rng.integers(3, size=10)
    membership = rng.random((4, 10)) < 0.5
    flipped = membership.copy()
    flipped[2] = ~flipped[2]
    a = from_models(logits, logits[:, :, :1], membership, labels, 2, 0)
    b = from_models(logits, logits[:, :, :1], flipped, labels, 2, 0)
    assert np.array_equal(a.shadow_in, b.shadow_in)
    assert a.target_logits is not None
    assert a.shadow_logits is not None
    assert np.array_equal(a.target_logits, logits[2])
    assert np.array_equal(a.shadow_logits, logits[[0, 1, 3]])


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("target_phi", np.zeros((5, 2)), "target_phi has shape"),
        ("target_logits", np.full((40, 4), np.nan), "target_logits holds NaN"),
        ("labels", np.full(40, 4), "labels must be int64"),
        ("shadow_in", np.zeros((5, 40)), "must be bool"),
        ("shadow_in", np.ones((5, 40), dtype=bool), "both IN and OUT"),
        ("shadow_in", np.eye(5, 40, dtype=bool), "use attacks.trimming.trim"),
        ("target_sensitivity", None, "given together"),
    ],
)
def test_bad_inputs_are_one_line_errors(field: str, value: object, words: str, cell: MakeCell) -> None:
    inputs = cell(6, 40, seed=0)[0]
    clean = replace(inputs, shadow_out=np.zeros_like(inputs.shadow_out)) if "trim" in words else inputs
    with pytest.raises(ValueError, match=words) as error:
        replace(clean, **{field: value})  # type: ignore[arg-type]
    assert "\n" not in str(error.value)


def test_settings_and_results_are_checked() -> None:
    with pytest.raises(ValueError, match="allowed: auto, paper, fast"):
        AttackSettings(recipe="slow")
    with pytest.raises(ValueError, match="finite float64"):
        AttackResult(np.array([np.inf]))
    assert str(TooFewShadows("lira", 5, 2)) == ("lira needs at least 5 shadow models; this cell has 2 (--num-shadows)")
