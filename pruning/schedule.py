"""Target sparsity over time."""


def cubic_sparsity(final: float, step: int, ramp_steps: int) -> float:
    """`final * (1 - (1 - t/T)^3)` at optimiser step t of a ramp of T steps, then `final` (Zhu & Gupta 2017)."""
    if step >= ramp_steps:
        return final
    return final * (1.0 - (1.0 - step / ramp_steps) ** 3)
