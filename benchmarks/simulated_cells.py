"""Simulated cells whose truth is known, for `benchmarks/coverage.py`, where the two models are described."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from attacks.arrays import BoolArray, Float64Array
from attacks.evaluate import learn_each, score
from attacks.interface import AttackResult, AttackSettings
from attacks.intervals import Sample
from attacks.metrics import allowed_false_positives, evaluate_scores, roc
from attacks.models import Models
from evaluation.deletion import Deletions, deletions
from evaluation.estimates import Measured, measured, sample

MODELS, LIRA_MODELS, PAIRED_MODELS = 18, 9, 8
EXAMPLES = {"crossed": 1400, "lira": 1000, "pairs": 1000}  # by model; a TPR at 1 % FPR needs the 1,400
THRESHOLD = 1.0
STRENGTHS = (1.0, 0.7)  # of the two cells
SPREADS = {"none": 0.0, "equal": 0.09, "large": 0.18}  # of `effect` with 1,000 examples
LOW_FPR = "tpr_at_fpr_0.01"
METRICS = {"crossed": ("auc", LOW_FPR, "advantage"), "lira": ("auc", "advantage"), "pairs": ("auc", "advantage")}
RATES = np.linspace(0.007, 0.014, 15)  # (k + 1) / (n_t + 1) lies within
TRUE_EXAMPLES = 1_000_000
LIRA_SETTINGS = AttackSettings(calibrate=False)


@dataclass(frozen=True)
class Setting:
    """One line of the design: which model, how many targets, how far networks differ."""

    model: str
    targets: int
    regime: str

    @property
    def name(self) -> str:
        """As `--only` selects it."""
        return f"{self.model}_{self.targets}_{self.regime}"

    @property
    def examples(self) -> int:
        """n."""
        return EXAMPLES[self.model]

    @property
    def spread(self) -> float:
        """Standard deviation of `effect`: so that of AUC over networks keeps its ratio to that over examples."""
        return SPREADS[self.regime] * float(np.sqrt(1000 / self.examples))

    @property
    def lines(self) -> dict[str, str | int]:
        """The columns that say which setting a line is of."""
        return {"model": self.model, "targets": self.targets, "networks": self.regime, "examples": self.examples}


CROSSED = [Setting("crossed", targets, regime) for targets in (1, 3, 9) for regime in SPREADS]
CROSSED += [Setting("crossed", 17, "equal")]
LIRA = [Setting("lira", targets, regime) for targets in (3, 9) for regime in SPREADS]
PAIRS = [Setting("pairs", PAIRED_MODELS, regime) for regime in SPREADS]
ATTACK = {"lira": "lira", "pairs": "lira_bayes"}  # of the models whose targets are attacked


def balanced(models: int, n: int, rng: np.random.Generator) -> BoolArray:
    """Membership, bool [models, n]: every example in floor or ceil of half of the models."""
    rank = rng.random((models, n)).argsort(axis=0).argsort(axis=0)
    return rank < models // 2 + rng.integers(models % 2 + 1, size=n)


def crossed_scores(
    strength: float, effects: Float64Array, membership: BoolArray, difficulty: Float64Array, leak: Float64Array,
    rng: np.random.Generator,
) -> Float64Array:  # fmt: skip
    """Scores [T, n]; effects: [T]; membership: [T, n]; difficulty and leak: [n]."""
    return difficulty + membership * (strength * leak + effects[:, None]) + rng.normal(size=membership.shape)


def examples_of(n: int, rng: np.random.Generator) -> tuple[Float64Array, Float64Array]:
    """Difficulty and leak, [n] each; leaks are skewed, as memorisation is."""
    return rng.normal(size=n), rng.exponential(0.5, size=n)


@dataclass(frozen=True)
class Truth:
    """What one pipeline's figures are on endless examples, as polynomials of a network's effect.

    curves: by metric; of the TPR at a low FPR one for each of RATES. spread: of the effects.
    """

    curves: dict[str, list[np.poly1d]]
    spread: float

    def at(self, metric: str, effects: Float64Array, rates: Float64Array) -> float:
        """Mean over networks with these effects [T], each at its own FPR [T]."""
        if metric != LOW_FPR:
            return float(np.mean(self.curves[metric][0](effects)))
        grid = np.stack([curve(effects) for curve in self.curves[metric]], axis=1)
        return float(np.mean([np.interp(rate, RATES, row) for rate, row in zip(rates, grid, strict=True)]))

    def mean(self, metric: str, rates: Float64Array) -> float:
        """Mean over all networks."""
        nodes, shares = np.polynomial.hermite_e.hermegauss(9)
        values = [self.at(metric, np.full(len(rates), node * self.spread), rates) for node in nodes]
        return float(np.dot(shares / shares.sum(), values))

    def network_sd(self) -> float:
        """Standard deviation of AUC over networks."""
        nodes, shares = np.polynomial.hermite_e.hermegauss(9)
        values = self.curves["auc"][0](nodes * self.spread)
        shares = shares / shares.sum()
        return float(np.sqrt(np.dot(shares, (values - np.dot(shares, values)) ** 2)))


def crossed_truth(strength: float, spread: float) -> Truth:
    """By quadrature: common random numbers at thirteen effects keep the curves smooth."""
    at = np.linspace(-4.5, 4.5, 13) * max(spread, 0.05)
    found: dict[str, list[list[float]]] = {metric: [] for metric in METRICS["crossed"]}
    for effect in at:
        rng = np.random.default_rng(99)
        difficulty, leak = examples_of(TRUE_EXAMPLES, rng)
        membership = (np.arange(TRUE_EXAMPLES) % 2 == 0)[None]
        scores = crossed_scores(strength, np.array([effect]), membership, difficulty, leak, rng)[0]
        figures = evaluate_scores(scores, membership[0], THRESHOLD, resamples=0)
        for metric in ("auc", "advantage"):
            found[metric].append([float(figures[metric].value or 0.0)])
        found[LOW_FPR].append(np.interp(RATES, *roc(scores, membership[0])).tolist())
    curves = {
        metric: [np.poly1d(np.polyfit(at, column, 4)) for column in np.array(values).T]
        for metric, values in found.items()
    }
    return Truth(curves, spread)


@dataclass(frozen=True, eq=False)
class SimulatedCell:
    """Scores [T, n] of a cell's targets, their networks' effects [T]; where attacked, its models and the attack."""

    scores: Float64Array
    effects: Float64Array
    models: Models | None = None
    attack: str = ""

    def samples(self, membership: BoolArray, weights: np.ndarray) -> dict[str, Sample]:
        """By metric, the values of all targets and their resamples, by the project's own code."""
        allowed = allowed_false_positives(membership)
        results = [AttackResult(scores, THRESHOLD) for scores in self.scores]
        without: list[Deletions] = [{}] * len(results)
        if self.models is not None:
            cell = self.models, self.models.groups, range(len(results)), membership
            without = deletions(*cell, {self.attack: results}, LIRA_SETTINGS, weights)[0][self.attack]
        found: dict[int, Measured] = {}
        for target, (result, inside, deleted) in enumerate(zip(results, membership, without, strict=True)):
            values = evaluate_scores(result.scores, inside, THRESHOLD, resamples=0, allowed=allowed)
            found[target] = measured(result, inside, values, weights, allowed, deleted)
        metrics = METRICS["crossed" if self.models is None else "lira"]
        samples = {metric: sample(found, metric) for metric in metrics}
        return {metric: one for metric, one in samples.items() if one is not None}


def attacked_cell(
    strength: float, spread: float, membership: BoolArray, difficulty: Float64Array, leak: Float64Array, targets: int,
    rng: np.random.Generator, attack: str,
) -> SimulatedCell:  # fmt: skip
    """The first targets of a cell, attacked from all others that serve them."""
    effects = spread * rng.normal(size=len(membership))
    phi = crossed_scores(strength, effects, membership, 2.0 * difficulty, leak, rng)
    logits = np.stack([phi, np.zeros_like(phi)], axis=2)
    models = Models(logits, phi[:, :, None], membership, np.zeros(phi.shape[1], dtype=np.int64), seed=0)
    learned = enumerate(learn_each(models, range(targets), [attack], LIRA_SETTINGS))
    results = [score(knowledge, models.outputs(target)) for target, knowledge in learned]
    variant = {"lira": "lira_online_fixed", "lira_bayes": "lira_bayes_online"}[attack]
    assert all(found[attack] is found[variant] for found in results)
    scores = np.stack([found[attack].scores for found in results])
    return SimulatedCell(scores, effects[:targets], models, attack)


def cells(setting: Setting, strengths: Sequence[float], seed: Sequence[int]) -> tuple[list[SimulatedCell], BoolArray]:
    """The cells of one replicate, and the membership [T, n] of the targets, which they share."""
    rng = np.random.default_rng(list(seed))
    spread, targets = setting.spread, setting.targets
    difficulty, leak = examples_of(setting.examples, rng)
    if setting.model in ATTACK:
        if setting.model == "lira":
            membership = balanced(LIRA_MODELS, setting.examples, rng)
        else:
            coins = rng.random((PAIRED_MODELS // 2, setting.examples)) < 0.5
            membership = np.stack([coins, ~coins], axis=1).reshape(PAIRED_MODELS, setting.examples)
        of = spread, membership, difficulty, leak, targets, rng, ATTACK[setting.model]
        return [attacked_cell(strength, *of) for strength in strengths], membership[:targets]
    membership = balanced(MODELS, setting.examples, rng)[:targets]
    effects = spread * rng.normal(size=(len(strengths), targets))
    found = [
        SimulatedCell(crossed_scores(strength, effect, membership, difficulty, leak, rng), effect)
        for strength, effect in zip(strengths, effects, strict=True)
    ]
    return found, membership
