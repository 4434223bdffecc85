"""LiRA, the likelihood-ratio attack (Carlini et al. 2022, arXiv 2112.03570), for all examples at once.

`attacks.lira_definition` is the plain form of the same.

For each example and query, Gaussians are fitted to phi of the shadows that held it (IN) and of those that did not
(OUT): centre = median, spread = standard deviation (n - 1 in the denominator). Scores are averaged over queries.

A per-example spread is not allowed below a tenth of the typical one (the fixed spread): below that it is the luck of
few shadows rather than a property of the example, and it would decide the whole score. A spread of zero becomes 1e-6.

Thresholds: every shadow plays the target, served by the others, trimmed again: one shadow fewer per side than the
target itself has, so with few shadows they sit on scores that are noisier than the target's. Where shadows x examples
exceed `CALIBRATION_PAIRS`, that many pairs, drawn with the seed, stand for all.

`lira`, the variant to report, has per-example spreads from ONLINE_SHADOWS per side on. Below, the fixed spread won in
every cell and metric that was measured (benchmarks/lira_spreads.py). At 31, the most that 64 models allow, the two tie
in AUC on dense digits; on networks pruned by DPF to 90 %, and in TPR at 1 % FPR, the fixed spread is still .005 to .01
ahead.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import log_ndtr

from .arrays import Float64Array, FloatArray, IntArray
from .inputs import AttackInputs
from .interface import AttackResult, AttackSettings, AttackUnavailable, Outputs, Scorer, TooFewShadows
from .leave_one_out import NOBODY, Moments, Side, left_out, make_side, moments, skipping
from .models import Models
from .streams import LIRA_PAIRS, LIRA_PARTNERS, stream
from .thresholds import NO_PAIRS, Calibration, calibrate, calibration
from .trimming import trim_keys

ONLINE_SHADOWS = 31  # per side and example, from which the headline uses per-example spreads
MIN_SHADOWS = 5  # gives two per side after leave-one-out and trimming
SPREAD_FLOOR = 0.1  # of the fixed spread
SMALLEST_SPREAD = 1e-6
CALIBRATION_PAIRS = 1 << 16
TOO_FEW_PER_SIDE = "too few shadow models per side for a shadow to play the target"


@dataclass(frozen=True)
class Gaussians:
    """One side's Gaussians for one query: centre [n], spread per example [n] or None, fixed spread."""

    centre: Float64Array
    spread: Float64Array | None
    fixed: float


Ends = tuple[Gaussians | None, Gaussians, float | None]  # IN, OUT and the reference spread, of one query


@dataclass(frozen=True)
class SharedSpreads:
    """Spreads common to all examples: IN and OUT by query, [Q]; `reference` is one number; None without IN shadows."""

    inside: Float64Array | None
    outside: Float64Array
    reference: float | None


def gaussians(left: Moments, fixed: float) -> Gaussians:
    """The Gaussians of what is left of a side; no per-example spread from a single model."""
    if left.kept < 2:
        return Gaussians(left.centre, None, fixed)
    spread = np.sqrt(left.squares / (left.kept - 1))
    return Gaussians(left.centre, np.maximum(spread, SPREAD_FLOOR * fixed), fixed)


def log_density(x: Float64Array, centre: Float64Array, spread: Float64Array | float) -> Float64Array:
    """log N(x; centre, spread), broadcast."""
    return np.asarray(-0.5 * ((x - centre) / spread) ** 2 - np.log(spread) - 0.5 * np.log(2.0 * np.pi))


def variant_scores(
    x: Float64Array, inside: Gaussians | None, outside: Gaussians, reference: float | None
) -> dict[str, Float64Array]:
    """Scores of every defined variant for phi `x` [n] of one query.

    lira_online_fixed shares the pooled centred residuals' spread, IN and OUT apart; `_reference` forms are the
    published code's: the spread of all raw IN values for both sides, and for offline the two-sided density.
    lira_offline is -log(1 - Phi(z)), which orders as Phi(z) does (eq. 4) but does not round to ties near 1.
    """
    scores = {}
    if inside is not None and reference is not None:
        if inside.spread is not None and outside.spread is not None:
            scores["lira_online"] = log_density(x, inside.centre, inside.spread) - log_density(
                x, outside.centre, outside.spread
            )
        for key, spread_in, spread_out in (
            ("lira_online_fixed", inside.fixed, outside.fixed),
            ("lira_online_fixed_reference", reference, reference),
        ):
            scores[key] = log_density(x, inside.centre, spread_in) - log_density(x, outside.centre, spread_out)
    if outside.spread is not None:
        scores["lira_offline"] = -log_ndtr(-(x - outside.centre) / outside.spread)
        scores["lira_offline_reference"] = -log_density(x, outside.centre, outside.spread)
    scores["lira_offline_fixed"] = -log_ndtr(-(x - outside.centre) / outside.fixed)
    return scores


def pooled_spread(left: Moments) -> float:
    """The spread common to all examples of one query.

    With m shadows per side, residuals about an example's own mean are too small by (m - 1) / m in variance: the sum of
    squares is divided by n (m - 1), which matters when m is 2.
    """
    return max(float(np.sqrt(left.squares.sum() / (left.squares.size * (left.kept - 1)))), SMALLEST_SPREAD)


def raw_spread(left: list[Moments]) -> float:
    """The spread of all values of one side, over examples, shadows and queries, about one common mean."""
    means = np.stack([one.mean for one in left])
    squares = sum(float(one.squares.sum()) for one in left) + left[0].kept * float(((means - means.mean()) ** 2).sum())
    return max(float(np.sqrt(squares / (means.size * left[0].kept))), SMALLEST_SPREAD)


def shared_spreads(inside: list[Moments] | None, outside: list[Moments]) -> SharedSpreads:
    """Spreads common to all examples, from what is left of the sides, a Moments a query."""
    return SharedSpreads(
        inside=None if inside is None else np.array([pooled_spread(one) for one in inside]),
        outside=np.array([pooled_spread(one) for one in outside]),
        reference=None if inside is None else raw_spread(inside),
    )


@dataclass(frozen=True, eq=False)
class Shadows:
    """The shadow models of one target: two sides of R models, and who of them does not serve.

    phi: [R, n, Q]. rows: [S], the shadows among the R models. gone: int64 [G, n] per side, on it and left out. kept:
    shadows per side that are left, the same for every example. partners: int64 [R] of complementary pairs, else None.
    """

    phi: FloatArray
    sides: tuple[Side, Side]
    rows: IntArray
    gone: tuple[IntArray, IntArray]
    kept: tuple[int, int]
    seed: int
    partners: IntArray | None = None

    @property
    def online(self) -> bool:
        """Whether there are IN shadows enough for a Gaussian."""
        return self.kept[0] >= 2

    def fit(self) -> tuple[list[Ends], SharedSpreads]:
        """The Gaussians of each query, and the spreads that examples share."""
        inside, outside = (self._moments(side) if self.kept[side] >= 2 else None for side in (0, 1))
        assert outside is not None, "lira needs two OUT shadows"
        shared = shared_spreads(inside, outside)
        ends: list[Ends] = []
        for q, out in enumerate(outside):
            held = None
            if inside is not None and shared.inside is not None:
                held = gaussians(inside[q], float(shared.inside[q]))
            ends.append((held, gaussians(out, float(shared.outside[q])), shared.reference))
        return ends, shared

    def _moments(self, side: int) -> list[Moments]:
        every = np.arange(self.phi.shape[1])
        return [moments(self.sides[side], q, every, self.gone[side], self.kept[side]) for q in range(self.phi.shape[2])]

    def calibrations(self, shared: SharedSpreads) -> dict[str, Calibration]:
        """Best threshold and AUC by variant, from shadows in the target's place; none without IN shadows to judge by.

        The fixed spreads stay those of the whole pool (one number over all examples).
        """
        if not self.online or shared.inside is None:
            return {}
        shadow, column, drawn = self._pairs()
        is_in = self.sides[0].held[column, shadow]
        gone = [np.vstack([self.gone[side][:, column], self._removed(side, shadow, column, drawn)]) for side in (0, 1)]
        scores: dict[str, Float64Array] = {}
        for q in range(self.phi.shape[2]):
            inside, outside = (
                gaussians(moments(self.sides[side], q, column, gone[side], self.kept[side] - 1), float(fixed[q]))
                for side, fixed in ((0, shared.inside), (1, shared.outside))
            )
            x = self.phi[shadow, column, q].astype(np.float64)
            _accumulate(scores, variant_scores(x, inside, outside, shared.reference), self.phi.shape[2])
        return {key: calibration(values, is_in) for key, values in scores.items()}

    def _pairs(self) -> tuple[IntArray, IntArray, IntArray]:
        """The (model, example) pairs that calibrate, and a random number each."""
        total = len(self.rows) * self.phi.shape[1]
        if total <= CALIBRATION_PAIRS:
            chosen = np.arange(total)
        else:
            rng = stream(self.seed, LIRA_PAIRS)
            chosen = rng.choice(total, CALIBRATION_PAIRS, replace=False, shuffle=False)
        drawn = stream(self.seed, LIRA_PARTNERS).integers(1 << 62, size=chosen.size)
        shadow, column = self.rows[chosen // self.phi.shape[1]], chosen % self.phi.shape[1]
        serves = np.zeros(chosen.size, dtype=np.bool_)
        for side, gone in zip(self.sides, self.gone, strict=True):
            serves |= side.held[column, shadow] & (gone[:, column] != shadow).all(axis=0)
        return shadow[serves], column[serves], drawn[serves]

    def _removed(self, side: int, shadow: IntArray, column: IntArray, drawn: IntArray) -> IntArray:
        """Which shadow of a side goes when `shadow` plays the target: itself, its partner, or a random one, [P]."""
        own, gone = self.sides[side], self.gone[side][:, column]
        taken = np.where(gone == NOBODY, own.held.shape[1], own.place[column, gone]).astype(np.int64)
        other = own.members[column, skipping(drawn % self.kept[side], taken)].astype(np.int64)
        if self.partners is not None:
            other = np.where(self.partners[shadow] != NOBODY, self.partners[shadow], other)
        return np.where(own.held[column, shadow], shadow, other)


def _accumulate(totals: dict[str, Float64Array], scores: dict[str, Float64Array], queries: int) -> None:
    for key, values in scores.items():
        totals[key] = totals[key] + values / queries if key in totals else values / queries


def _scorer(ends: list[Ends], learned: dict[str, Calibration], headline: str, missing: str) -> Scorer:
    def result(key: str, scores: Float64Array) -> AttackResult:
        if key not in learned:
            return AttackResult(scores, note=missing)
        return AttackResult(scores, learned[key].threshold, shadow_auc=learned[key].auc)

    def score(target: Outputs) -> dict[str, AttackResult]:
        totals: dict[str, Float64Array] = {}
        for q, (inside, outside, reference) in enumerate(ends):
            x = target.phi[:, q].astype(np.float64)
            _accumulate(totals, variant_scores(x, inside, outside, reference), len(ends))
        results = {key: result(key, values) for key, values in totals.items()}
        return {"lira": results[headline], **results}

    return score


def _headline(kept: tuple[int, int]) -> str:
    if kept[0] < 2:
        return "lira_offline"
    return "lira_online" if min(kept) >= ONLINE_SHADOWS else "lira_online_fixed"


def _of_inputs(inputs: AttackInputs) -> Shadows:
    phi, nobody = inputs.shadow_phi, np.empty((0, inputs.num_examples), dtype=np.int64)
    sides = (make_side(phi, inputs.shadow_in), make_side(phi, inputs.shadow_out))
    serving = (inputs.shadow_in | inputs.shadow_out).any(axis=1)
    rows, kept = np.flatnonzero(serving), (inputs.in_count, inputs.out_count)
    return Shadows(phi, sides, rows, (nobody, nobody), kept, inputs.seed, inputs.partners)


def lira(inputs: AttackInputs, settings: AttackSettings) -> Scorer:
    """Every variant of LiRA that the shadows allow, and `lira`, the one to report.

    `lira` is lira_online with 31 shadows per side or more, else lira_online_fixed; lira_offline where the shadows held
    no example. Raises TooFewShadows with fewer than 5 shadows, AttackUnavailable with fewer than 2 OUT shadows per
    example.
    """
    asked = inputs.asked
    if inputs.num_shadows < MIN_SHADOWS:
        raise TooFewShadows("lira", MIN_SHADOWS, inputs.num_shadows)
    if asked.out_count < 2:
        raise AttackUnavailable(
            f"lira needs 2 shadow models that do not hold an example; this cell has {asked.out_count} for some example"
        )
    shadows = _of_inputs(asked)
    ends, shared = shadows.fit()
    learned = inputs.learned
    if learned is not asked and learned.out_count >= 2:
        shadows = _of_inputs(learned)  # offline thresholds: nobody held what is asked, so the others calibrate
        shared = shadows.fit()[1]
    missing = TOO_FEW_PER_SIDE if learned.has_pairs else NO_PAIRS
    learned_of = shadows.calibrations(shared) if settings.calibrate else {}
    return _scorer(ends, learned_of, _headline((asked.in_count, asked.out_count)), missing)


def lira_each(models: Models, settings: AttackSettings) -> Callable[[int], Scorer] | None:
    """LiRA with any of the M models as the target and the others as its shadows: what `lira` gives, M sorts cheaper.

    None where that is not simpler than M times `lira`: an audited group, examples that some target's shadows do not
    score, or a side of some example with fewer than two models left for some target.
    """
    held = models.membership
    if models.audited is not None:
        return None
    services = [models.service(target) for target in range(len(held))]
    if any(who.scored is not None or min(who.kept) < 2 for who in services):
        return None
    sides = (make_side(models.phi, held), make_side(models.phi, ~held))
    counts = tuple(side.count for side in sides)
    keys = [np.ascontiguousarray(drawn.T) for drawn in trim_keys((len(held) - 1, held.shape[1]), models.seed)]

    def fit(target: int) -> Scorer:
        away = np.append(target, np.flatnonzero(services[target].tied))
        gone, kept = [], []
        for side, count, drawn in zip(sides, counts, keys, strict=True):
            left = count - side.held[:, away].sum(axis=1)
            kept.append(int(left.min()))
            gone.append(left_out(side.held, away, left - kept[-1], drawn))
        rows = np.delete(np.arange(len(held)), away)
        shadows = Shadows(models.phi, sides, rows, (gone[0], gone[1]), (kept[0], kept[1]), models.seed, models.partners)
        ends, shared = shadows.fit()
        learned = shadows.calibrations(shared) if settings.calibrate else {}
        return _scorer(ends, learned, _headline(shadows.kept), TOO_FEW_PER_SIDE)

    return fit


def lira_global(inputs: AttackInputs, settings: AttackSettings) -> Scorer:
    """phi itself, averaged over queries, one threshold for all examples; without shadows it has no threshold."""
    learned = inputs.learned
    values = np.empty((learned.num_shadows, learned.num_examples))
    for s in range(learned.num_shadows):
        values[s] = learned.shadow_phi[s].mean(axis=-1, dtype=np.float64)
    as_result = calibrate(learned, values)

    def score(target: Outputs) -> dict[str, AttackResult]:
        return {"lira_global": as_result(target.phi.mean(axis=-1, dtype=np.float64))}

    return score
