"""What an attack is given: the signals of one target and of its shadow models, checked.

Which shadows serve a target, and on which examples, is decided in `attacks.trimming`, so that it does not tell the
target's membership.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from .arrays import BoolArray, FloatArray, IntArray
from .interface import AttackUnavailable, Outputs, Scorer, TooFewShadows
from .trimming import partners, whole_pairs


@dataclass(frozen=True, eq=False)
class AttackInputs:
    """Signals of one target and its S shadows (S may be 0) on n examples with C classes and Q queries.

    labels: int64 [n], true classes. target_logits: [n, C] and shadow_logits: [S, n, C], of the plain query, or None
    (`attacks.registry.Attack.needs_logits` says who then cannot run). target_phi: [n, Q] and shadow_phi: [S, n, Q],
    logit-scaled confidences, the plain query's first. shadow_in, shadow_out: bool [S, n], trimmed membership: every
    example is IN the same number of shadows, OUT of the same number; a dropped pair is False in both.
    target_sensitivity: [n, C] and shadow_sensitivity: [S, n, C], or None; the same rows of each may be NaN, examples
    without noise queries. seed: of the random choices of trimming.
    audited: bool [n], the examples whose membership is asked, or None for all. Where given, no shadow holds an audited
    example, shadows are learned from on the others only, and either group is trimmed by itself.
    target_population: [P, Q] and shadow_population: [S, P, Q], phi of examples that no model holds, or None.
    serving: bool [S], who serves the target, or None for all; the others are on no side of any example.
    scored: bool [n], the examples that are learned from and scored, or None for all; nobody is IN or OUT on the others.

    Raises ValueError (one line) for shapes that disagree, values that are not finite, or membership that is not
    trimmed.
    """

    labels: IntArray
    target_logits: FloatArray | None
    target_phi: FloatArray
    shadow_logits: FloatArray | None
    shadow_phi: FloatArray
    shadow_in: BoolArray
    shadow_out: BoolArray
    target_sensitivity: FloatArray | None = None
    shadow_sensitivity: FloatArray | None = None
    seed: int = 0
    audited: BoolArray | None = None
    target_population: FloatArray | None = None
    shadow_population: FloatArray | None = None
    scored: BoolArray | None = None
    serving: BoolArray | None = None

    def __post_init__(self) -> None:
        _check_shapes(self)
        _check_values(self)

    @property
    def num_shadows(self) -> int:
        return int(self.shadow_phi.shape[0])

    @property
    def num_examples(self) -> int:
        return int(self.labels.shape[0])

    @property
    def num_classes(self) -> int:
        """C; without logits, one more than the largest label there is here."""
        return int(self.labels.max()) + 1 if self.target_logits is None else int(self.target_logits.shape[1])

    @property
    def num_queries(self) -> int:
        return int(self.target_phi.shape[1])

    @property
    def in_count(self) -> int:
        """IN shadows of each scored example, the same by trimming; with `audited`, ask `learned` or `asked`."""
        return int(self.shadow_in[:, self._first].sum())

    @property
    def out_count(self) -> int:
        """OUT shadows of each example, as `in_count`."""
        return int(self.shadow_out[:, self._first].sum())

    @property
    def _first(self) -> int:
        return 0 if self.scored is None else int(self.scored.argmax())

    @property
    def partners(self) -> IntArray | None:
        """Of complementary pairs each shadow's partner, [S], as `attacks.trimming.partners` finds them."""
        return partners(self.shadow_in)

    @property
    def whole_pairs(self) -> IntArray | None:
        """Of shadows that all serve in complementary pairs, the pairs, [P, 2]; else None."""
        return whole_pairs(self.partners, np.asarray((self.shadow_in | self.shadow_out).any(axis=1)))

    @property
    def has_pairs(self) -> bool:
        """Whether shadows give both member and non-member examples to learn from."""
        return self.in_count > 0 and self.out_count > 0

    @property
    def target(self) -> Outputs:
        """The target's answers on the examples that are asked about."""
        asked = self.asked
        return Outputs(asked.target_logits, asked.target_phi, asked.target_sensitivity, asked.target_population)

    @property
    def learned(self) -> AttackInputs:
        """The examples that shadows are learned from: all of them, or those that are not audited."""
        return self if self.audited is None else self._take(~self.audited)

    @property
    def asked(self) -> AttackInputs:
        """The examples that are scored: all of them, or the audited ones."""
        return self if self.audited is None else self._take(self.audited)

    @property
    def usable(self) -> AttackInputs:
        """The same on the scored examples alone, which is what an attack gets (`attacks.registry.Attack.fit`)."""
        if self.scored is None:
            return self
        return self._take(self.scored, None if self.audited is None else self.audited[self.scored])

    def spread(self, scorer: Scorer) -> Scorer:
        """What learned from `usable`, for targets that answered on all examples that are asked about."""
        if self.scored is None:
            return scorer
        rows = self.scored if self.audited is None else self.scored[self.audited]
        return lambda target: {key: one.within(rows) for key, one in scorer(target.only(rows)).items()}

    @property
    def probed(self) -> BoolArray | None:
        """The examples that have a sensitivity, bool [n]; None for all, or where nobody measured any."""
        return measured_rows(self.target_sensitivity)

    def only(self, rows: BoolArray | None) -> AttackInputs:
        """The same on some of the examples, bool [n], one at least; on all for None."""
        return self if rows is None else self._take(rows)

    def _take(self, rows: BoolArray, audited: BoolArray | None = None) -> AttackInputs:
        changed: dict[str, FloatArray | IntArray | BoolArray | None] = {"audited": audited, "scored": None}
        for name in ("labels", "target_logits", "target_phi", "target_sensitivity"):
            array = getattr(self, name)
            changed[name] = None if array is None else array[rows]
        for name in ("shadow_logits", "shadow_phi", "shadow_in", "shadow_out", "shadow_sensitivity"):
            array = getattr(self, name)
            changed[name] = None if array is None else array[:, rows]
        return replace(self, **changed)  # type: ignore[arg-type]


def require_pairs(attack: str, inputs: AttackInputs) -> None:
    """Raise AttackUnavailable unless the trimmed shadows give both members and non-members."""
    if inputs.has_pairs:
        return
    if inputs.num_shadows < 3:
        raise TooFewShadows(attack, 3, inputs.num_shadows)
    raise AttackUnavailable(
        f"{attack} needs shadows that hold and shadows that do not hold every example; "
        f"this cell has {inputs.in_count} and {inputs.out_count} per example"
    )


def _check_shapes(inputs: AttackInputs) -> None:
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


def _check_values(inputs: AttackInputs) -> None:
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
                f"{name} holds {counts.min()} to {counts.max()} shadows per example; use attacks.trimming.trim"
            )


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


def measured_rows(sensitivity: FloatArray | None) -> BoolArray | None:
    """Rows of [n, C] that are not NaN throughout, bool [n]; None for all of them."""
    if sensitivity is None:
        return None
    rows = np.logical_not(np.isnan(sensitivity).all(axis=1))
    return None if rows.all() else rows
