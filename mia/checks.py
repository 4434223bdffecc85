"""What arrays must be to be attacked: shapes that agree, finite values, trimmed membership."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mia.trimming import BoolArray, FloatArray

if TYPE_CHECKING:
    from mia.interface import AttackInputs


def check_shapes(inputs: AttackInputs) -> None:
    logits = inputs.target_logits
    if inputs.labels.ndim != 1 or (logits is not None and logits.ndim != 2) or inputs.target_phi.ndim != 2:
        raise ValueError("labels must be [n], target_logits [n, C], target_phi [n, Q]")
    n, queries, shadows = inputs.labels.shape[0], inputs.target_phi.shape[1], inputs.shadow_phi.shape[0]
    given = logits if logits is not None else inputs.target_sensitivity
    classes = 2 if given is None else given.shape[-1]
    if n == 0 or classes < 2 or queries == 0:
        raise ValueError(f"attacks need examples, two classes and a query; got n={n}, C={classes}, Q={queries}")
    expected = {
        "target_logits": (n, classes),
        "target_phi": (n, queries),
        "shadow_logits": (shadows, n, classes),
        "shadow_phi": (shadows, n, queries),
        "shadow_in": (shadows, n),
        "shadow_out": (shadows, n),
        "target_sensitivity": (n, classes),
        "shadow_sensitivity": (shadows, n, classes),
        "audited": (n,),
        "scored": (n,),
    }
    if inputs.target_population is not None:
        population = inputs.target_population.shape[:1]
        expected |= {
            "target_population": (*population, queries),
            "shadow_population": (shadows, *population, queries),
        }
    for name, shape in expected.items():
        array = getattr(inputs, name)
        if array is not None and array.shape != shape:
            raise ValueError(f"{name} has shape {array.shape}, expected {shape}")
    for name in ("logits", "sensitivity", "population"):
        if (getattr(inputs, f"target_{name}") is None) != (getattr(inputs, f"shadow_{name}") is None):
            raise ValueError(f"target_{name} and shadow_{name} must be given together")


def check_values(inputs: AttackInputs) -> None:
    if inputs.labels.dtype != np.int64 or inputs.labels.min() < 0 or inputs.labels.max() >= inputs.num_classes:
        raise ValueError(f"labels must be int64 in [0, {inputs.num_classes}), got {inputs.labels.dtype}")
    if inputs.shadow_in.dtype != np.bool_ or inputs.shadow_out.dtype != np.bool_:
        raise ValueError("shadow_in and shadow_out must be bool")
    for name in ("target_phi", "shadow_phi"):
        _check_finite(name, getattr(inputs, name))
    for name in ("target_logits", "shadow_logits", "target_population", "shadow_population"):
        if getattr(inputs, name) is not None:
            _check_finite(name, getattr(inputs, name))
    if inputs.target_sensitivity is not None and inputs.shadow_sensitivity is not None:
        rows = measured_rows(inputs.target_sensitivity)
        for name in ("target_sensitivity", "shadow_sensitivity"):
            _check_sensitivity(name, getattr(inputs, name), rows)
    if (inputs.shadow_in & inputs.shadow_out).any():
        raise ValueError("a shadow cannot be both IN and OUT for an example")
    scored = np.ones(inputs.num_examples, dtype=np.bool_) if inputs.scored is None else inputs.scored
    if scored.dtype != np.bool_ or not scored.any() or (inputs.shadow_in | inputs.shadow_out)[:, ~scored].any():
        raise ValueError("scored must be bool with an example to score, and nobody IN or OUT on the others")
    if inputs.audited is None:
        _check_trimmed(inputs, scored)
        return
    if inputs.audited.dtype != np.bool_ or not inputs.audited.any():
        raise ValueError("audited must be bool with an example to ask about")
    if inputs.shadow_in[:, inputs.audited].any():
        raise ValueError("a shadow holds an audited example")
    for group in (inputs.audited, ~inputs.audited):
        _check_trimmed(inputs, group & scored)


def _check_trimmed(inputs: AttackInputs, group: BoolArray) -> None:
    for name in ("shadow_in", "shadow_out"):
        counts = getattr(inputs, name)[:, group].sum(axis=0)
        if counts.size and counts.min() != counts.max():
            raise ValueError(
                f"{name} holds {counts.min()} to {counts.max()} shadows per example; use mia.trimming.trim"
            )


def measured_rows(sensitivity: FloatArray | None) -> BoolArray | None:
    """Rows of [n, C] that are not NaN throughout, bool [n]; None for all of them."""
    if sensitivity is None:
        return None
    rows = np.logical_not(np.isnan(sensitivity).all(axis=1))
    return None if rows.all() else rows


def _check_sensitivity(name: str, array: FloatArray, rows: BoolArray | None) -> None:
    """[..., n, C] must be finite in the measured rows and NaN in the others."""
    if rows is not None and not np.isnan(array[..., ~rows, :]).all():
        raise ValueError(f"{name} is missing for other examples than the target's; the same rows have to be NaN in all")
    _check_finite(name, array if rows is None else array[..., rows, :])


def _check_finite(name: str, array: FloatArray) -> None:
    if not np.issubdtype(array.dtype, np.floating):
        raise ValueError(f"{name} must be floating point, got {array.dtype}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} holds NaN or infinite values")
