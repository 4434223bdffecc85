"""Every attack by name. Importing this module loads no numerical library, so that `--help` stays fast.

A new attack is one function `(AttackInputs, AttackSettings) -> Scorer` and one entry here. The first entry is the
headline attack (`headline_of`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .inputs import AttackInputs
    from .interface import AttackResult, AttackSettings, Scorer
    from .models import Models

SUITES = ("advanced", "wemem", "baseline")
SUITE_OF_OWN = "own"  # of functions in files of the user's own: run where they are named, never with a suite


@dataclass(frozen=True)
class Attack:
    """One attack.

    title: for people; implementation: "module:function"; min_shadows: below it the attack is not defined;
    needs_logits: whether it looks at all classes, where phi, of the true class, is not enough; needs_sensitivity:
    whether the SAMIA queries must have been made;
    needs_population: whether population examples must have been queried; variants: the keys that it can return.
    trains_network: whether it trains a network for each target, which is what makes many targets expensive.
    each: "module:function" of a cheaper way to attack every model of a cell in turn, with the same results.
    function, source: of an attack in a file of the user's own, the function itself, and its path and sha256.
    """

    name: str
    suite: str
    title: str
    implementation: str
    min_shadows: int
    variants: tuple[str, ...]
    needs_logits: bool = False
    needs_sensitivity: bool = False
    needs_population: bool = False
    trains_network: bool = False
    each: str | None = None
    function: Callable[[AttackInputs, AttackSettings], Scorer] | None = None
    source: Mapping[str, str] | None = None

    def fit(self, inputs: AttackInputs, settings: AttackSettings) -> Scorer:
        """Learn from the shadows; imports the attack's module. Raises AttackUnavailable where it is not defined."""
        if inputs.num_shadows < self.min_shadows:
            from .interface import TooFewShadows

            raise TooFewShadows(self.name, self.min_shadows, inputs.num_shadows)
        if self.needs_logits and inputs.target_logits is None:
            from .interface import AttackUnavailable

            raise AttackUnavailable(f"{self.name} needs logits; these signals hold phi alone")
        attack: Callable[[AttackInputs, AttackSettings], Scorer] = self.function or _named(self.implementation)
        return inputs.spread(attack(inputs.usable, settings))

    def fit_each(self, models: Models, settings: AttackSettings) -> Callable[[int], Scorer] | None:
        """What learns from the shadows of any target among the models; None where `fit` has to, target by target."""
        if self.each is None or len(models.membership) <= self.min_shadows:
            return None
        prepare: Callable[[Models, AttackSettings], Callable[[int], Scorer] | None] = _named(self.each)
        return prepare(models, settings)

    def run(self, inputs: AttackInputs, settings: AttackSettings) -> dict[str, AttackResult]:
        """Learn from the shadows and score their own target. Raises as `fit` does."""
        return self.fit(inputs, settings)(inputs.target)


def _named(implementation: str) -> Any:
    """What `attacks.lira:lira` names, also where this package goes by another name (`pruning_mia.attacks`)."""
    return resolve_name(f"{__package__}{implementation.removeprefix('attacks')}")


LIRA_VARIANTS = (
    "lira",
    "lira_online",
    "lira_online_fixed",
    "lira_online_fixed_reference",
    "lira_offline",
    "lira_offline_fixed",
    "lira_offline_reference",
)

ATTACKS: dict[str, Attack] = {
    "lira_bayes": Attack(
        "lira_bayes",
        "advanced",
        "Bayes LiRA",
        "attacks.lira_bayes:lira_bayes",
        5,
        ("lira_bayes", "lira_bayes_online", "lira_bayes_offline"),
        each="attacks.lira_bayes:lira_bayes_each",
    ),
    "lira": Attack("lira", "advanced", "LiRA", "attacks.lira:lira", 5, LIRA_VARIANTS, each="attacks.lira:lira_each"),
    "rmia": Attack(
        "rmia",
        "advanced",
        "RMIA",
        "attacks.rmia:rmia",
        1,
        ("rmia", "rmia_online", "rmia_offline", "rmia_published"),
        needs_population=True,
    ),
    "shokri_nn": Attack(
        "shokri_nn",
        "advanced",
        "Shokri-NN",
        "attacks.networks:shokri_nn",
        3,
        ("shokri_nn",),
        needs_logits=True,
        trains_network=True,
    ),
    "top3_nn": Attack(
        "top3_nn",
        "advanced",
        "Top3-NN",
        "attacks.networks:top3_nn",
        3,
        ("top3_nn",),
        needs_logits=True,
        trains_network=True,
    ),
    "class_label_nn": Attack(
        "class_label_nn",
        "advanced",
        "ClassLabel-NN",
        "attacks.networks:class_label_nn",
        3,
        ("class_label_nn",),
        needs_logits=True,
        trains_network=True,
    ),
    "samia": Attack(
        "samia",
        "advanced",
        "SAMIA",
        "attacks.networks:samia",
        3,
        ("samia",),
        needs_logits=True,
        needs_sensitivity=True,
        trains_network=True,
    ),
    "confidence": Attack("confidence", "wemem", "Confidence", "attacks.thresholds:confidence", 3, ("confidence",)),
    "entropy": Attack("entropy", "wemem", "Entropy", "attacks.thresholds:entropy", 3, ("entropy",), needs_logits=True),
    "modified_entropy": Attack(
        "modified_entropy",
        "wemem",
        "Modified entropy",
        "attacks.thresholds:modified_entropy",
        3,
        ("modified_entropy",),
        needs_logits=True,
    ),
    "neural_network": Attack(
        "neural_network",
        "wemem",
        "Neural network",
        "attacks.networks:neural_network",
        3,
        ("neural_network",),
        needs_logits=True,
        trains_network=True,
    ),
    "loss": Attack("loss", "baseline", "LOSS", "attacks.thresholds:loss", 0, ("loss",)),
    "lira_global": Attack(
        "lira_global", "baseline", "LiRA, global threshold", "attacks.lira:lira_global", 0, ("lira_global",)
    ),
}

_BUILT_IN = tuple(ATTACKS)


def add_own(attack: Attack) -> None:
    """Take up an attack beside the project's own, for the length of a command; in the order of names."""
    others = {name: ATTACKS.pop(name) for name in list(ATTACKS) if name not in _BUILT_IN}
    ATTACKS.update(sorted({**others, attack.name: attack}.items()))


def forget_own() -> None:
    """Only the project's own attacks are known from now on."""
    for name in [name for name in ATTACKS if name not in _BUILT_IN]:
        del ATTACKS[name]


def attack_of(variant: str) -> Attack | None:
    """The attack that gives this key back; None for a key of no attack."""
    return next((attack for attack in ATTACKS.values() if variant in attack.variants), None)


# On every target the scores of the attack that was strongest on the shadows in its place (`evaluation.attack`).
STRONGEST = "strongest"


def headline_of(present: Iterable[str]) -> str | None:
    """The attack that sentences and the primary comparisons speak of: the first of the registry that is present.

    Those that train no network come first: they attack every target, so their differences can be tested.
    """
    present = set(present)
    return next(
        (name for name in sorted(ATTACKS, key=lambda name: ATTACKS[name].trains_network) if name in present), None
    )
