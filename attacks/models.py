"""All models of a cell, each of which may be the target with the others as its shadow models."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .arrays import BoolArray, FloatArray, IntArray
from .inputs import AttackInputs
from .interface import Outputs
from .trimming import Service, drawn_together, partners, service, trim_sides


@dataclass(frozen=True, eq=False)
class Models:
    """Signals of all M models of a cell, each of which may be the target with the others as its shadows.

    Arrays as in `from_models`. seed: of the random choices of trimming.
    """

    logits: FloatArray | None
    phi: FloatArray
    membership: BoolArray
    labels: IntArray
    seed: int
    sensitivity: FloatArray | None = None
    population: FloatArray | None = None
    audited: BoolArray | None = None

    def outputs(self, target: int) -> Outputs:
        """What a model answered on the examples that are asked about."""
        return Outputs(
            logits=None if self.logits is None else self.logits[target],
            phi=self.phi[target],
            sensitivity=None if self.sensitivity is None else self.sensitivity[target],
            population=None if self.population is None else self.population[target],
        ).only(self.audited)

    def service(self, target: int) -> Service:
        """Who serves model `target` as a shadow, and on which examples."""
        return service(self.membership, target, self.audited, self._held_by, self.partners)

    @cached_property
    def partners(self) -> IntArray | None:
        """Of complementary pairs, each model's partner, as `attacks.trimming.partners` finds them."""
        return partners(self.membership)

    @property
    def groups(self) -> list[list[int]]:
        """The models that were drawn together: pairs of complements, else each model by itself."""
        return drawn_together(self.partners, len(self.membership))

    @cached_property
    def _held_by(self) -> IntArray:
        return np.asarray(self.membership.sum(axis=0))

    def leave_out(self, target: int) -> AttackInputs:
        """Model `target` attacked, the others its shadows (copies of their arrays)."""
        return from_models(
            self.logits,
            self.phi,
            self.membership,
            self.labels,
            target,
            self.seed,
            self.sensitivity,
            self.population,
            self.audited,
        )


def from_models(
    logits: FloatArray | None,
    phi: FloatArray,
    membership: BoolArray,
    labels: IntArray,
    target: int,
    seed: int,
    sensitivity: FloatArray | None = None,
    population: FloatArray | None = None,
    audited: BoolArray | None = None,
) -> AttackInputs:
    """Leave-one-out inputs: model `target` is attacked, the other M - 1 models are its shadows (`attacks.trimming`).

    logits: [M, n, C] or None; phi: [M, n, Q]; membership: bool [M, n]; labels: int64 [n]; sensitivity: [M, n, C] or
    None; population: [M, P, Q] or None; audited: bool [n] or None.
    Who serves an example does not depend on the target's membership of it. With memberships drawn independently, up to
    5 % of the examples, those with the fewest shadows per side, are neither learned from nor scored.
    """
    if not 0 <= target < membership.shape[0]:
        raise ValueError(f"target is {target}; allowed: 0 to {membership.shape[0] - 1}")
    who = service(membership, target, audited, paired=partners(membership))
    others, serving = np.delete(membership, target, axis=0), ~np.delete(who.tied, target)
    inside, outside = others & serving[:, None], ~others & serving[:, None]
    shadow_in, shadow_out = trim_sides(inside, outside, seed, audited, who.scored)
    return AttackInputs(
        labels=labels,
        target_logits=None if logits is None else logits[target],
        target_phi=phi[target],
        shadow_logits=None if logits is None else np.delete(logits, target, axis=0),
        shadow_phi=np.delete(phi, target, axis=0),
        shadow_in=shadow_in,
        shadow_out=shadow_out,
        target_sensitivity=None if sensitivity is None else sensitivity[target],
        shadow_sensitivity=None if sensitivity is None else np.delete(sensitivity, target, axis=0),
        seed=seed,
        audited=audited,
        target_population=None if population is None else population[target],
        shadow_population=None if population is None else np.delete(population, target, axis=0),
        scored=who.scored,
        serving=serving,
    )
