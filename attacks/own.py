"""An attack that is a function of the user's own, made one like those of the registry, whatever goes wrong in it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from .registry import SUITE_OF_OWN, Attack

# What a function may say of itself, as attributes, and the kind of each; what it does not say is as in `own_attack`.
ATTRIBUTES: dict[str, type] = {
    "title": str,
    "min_shadows": int,
    "variants": tuple,
    "needs_logits": bool,
    "needs_sensitivity": bool,
    "needs_population": bool,
    "trains_network": bool,
}
MIN_SHADOWS = 1


def own_attack(
    function: Any, name: str, source: dict[str, str], failed: Callable[[BaseException], str], wrong: str
) -> Attack:
    """The attack of a function `(AttackInputs, AttackSettings) -> Scorer`.

    name: `<file's stem>.<function's name>`. By default it needs phi and one shadow model, attacks every target, and
    gives back one result, under the function's name; further ones are named in `variants`, and every result goes by its
    key with the file's stem before it. source: path and sha256. failed: words for an error in it, which is then the
    reason why the attack is not defined there. ValueError, beginning with `wrong`, where the function cannot be one.
    """
    own = name.rpartition(".")[2]
    if not callable(function):
        raise ValueError(f"{wrong}{own} is no function (inputs, settings)")
    try:
        inspect.signature(function).bind(None, None)
    except (TypeError, ValueError):
        raise ValueError(f"{wrong}{own} must be callable as {own}(inputs, settings)") from None
    said = {key: getattr(function, key) for key in ATTRIBUTES if hasattr(function, key)}
    for key, value in said.items():
        if type(value) is not ATTRIBUTES[key]:
            raise ValueError(f"{wrong}{own}.{key} is {value!r}; it must be {ATTRIBUTES[key].__name__}")
    keys = said.pop("variants", (own,))
    sound = all(isinstance(key, str) and key.isidentifier() and key.isascii() for key in keys)
    if not sound or not keys or keys[0] != own or len(set(keys)) < len(keys):
        raise ValueError(f"{wrong}{own}.variants must be the names of its results, each once, {own!r} first")
    if said.get("min_shadows", MIN_SHADOWS) < 0:
        raise ValueError(f"{wrong}{own}.min_shadows is {said['min_shadows']}; it must be 0 or more")
    stem = name.removesuffix(own)
    return Attack(
        name=name,
        suite=SUITE_OF_OWN,
        title=said.pop("title", name),
        implementation="",
        min_shadows=said.pop("min_shadows", MIN_SHADOWS),
        variants=tuple(stem + key for key in keys),
        function=_guarded(function, stem, keys, failed),
        source=source,
        **said,
    )


def _guarded(
    function: Callable[..., Any], stem: str, keys: tuple[str, ...], failed: Callable[[BaseException], str]
) -> Callable[..., Any]:
    from .interface import AttackResult, AttackUnavailable, Outputs

    def guard(work: Callable[[], Any]) -> Any:
        try:
            return work()
        except AttackUnavailable:
            raise
        except Exception as error:
            raise AttackUnavailable(failed(error)) from None

    def attack(inputs: Any, settings: Any) -> Callable[[Outputs], dict[str, AttackResult]]:
        scorer = guard(lambda: function(inputs, settings))

        def score(target: Outputs) -> dict[str, AttackResult]:
            def scored() -> dict[str, AttackResult]:
                results = dict(scorer(target))
                for key, result in results.items():
                    if key not in keys:
                        raise KeyError(f"it gave back {key!r}, and its results are {', '.join(keys)}")
                    if not isinstance(result, AttackResult):
                        raise TypeError(f"{key} is no AttackResult")
                    if result.scores.size != len(target.phi) and result.rows is None:
                        raise ValueError(f"{key} has {result.scores.size} scores for {len(target.phi)} examples")
                return {stem + key: result for key, result in results.items()}

            found: dict[str, AttackResult] = guard(scored)
            return found

        return score

    return attack


def try_out(attack: Attack) -> str | None:
    """What goes wrong when the attack is run on a small made-up cell of noise; None where nothing does.

    That it says itself that it is not defined there is nothing wrong.
    """
    import numpy as np

    from .interface import AttackSettings, AttackUnavailable
    from .models import Models
    from .statistics import phi

    rng = np.random.default_rng(0)
    models, examples, classes = max(attack.min_shadows, 8) + 1, 240, 3
    labels = np.arange(examples) % classes
    membership = rng.random((models, examples)).argsort(axis=0) < models // 2
    logits = rng.normal(size=(models, examples, classes)).astype(np.float32)
    confidence = phi(logits, labels)[:, :, None].astype(np.float32)
    population = rng.normal(size=(models, 60, 1)).astype(np.float32)
    cell = Models(logits, confidence, membership, labels, 0, np.abs(logits), population)
    try:
        attack.run(cell.leave_out(0), AttackSettings(recipe="fast"))
    except AttackUnavailable as reason:
        return str(reason)
    return None
