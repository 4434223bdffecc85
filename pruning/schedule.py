"""Target sparsity over time."""

from __future__ import annotations

from dataclasses import dataclass

from configs.knobs import DERIVED, MethodKnobs, knob


@dataclass(frozen=True, kw_only=True)
class RampKnobs(MethodKnobs):
    """Of methods whose sparsity rises."""

    prune_freq: int = knob(16, "optimiser steps between two mask updates", kind=int, low=1)
    target_epoch: int = knob(
        DERIVED,
        "epoch at which the full sparsity is reached",
        kind=int,
        low=0,
        share=0.5,
        shown="half of --epochs",
    )


def cubic_sparsity(final: float, step: int, ramp_steps: int) -> float:
    """`final * (1 - (1 - t/T)^3)` at optimiser step t of a ramp of T steps, then `final` (Zhu & Gupta 2017)."""
    if step >= ramp_steps:
        return final
    return final * (1.0 - (1.0 - step / ramp_steps) ** 3)
