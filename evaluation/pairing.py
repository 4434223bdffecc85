"""Which cells are compared, and which comparisons were planned before anyone saw a figure."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from itertools import combinations, pairwise
from typing import Any

from evaluation import signature
from evaluation.accuracy import MATCHED, accuracy_difference
from evaluation.attack import Targets
from pruning.registry import BASELINE, METHODS, is_held
from sweep.controls import SAME_SIZE

# Kinds whose comparisons are planned: what a pair of cells is trained for, or two files are handed over for.
PLANNED = ("against_dense", "same_sparsity", "equal_accuracy", "equal_size", "given")

Variant = Sequence[Targets]  # one method at one sparsity with one set of its own knobs: a cell for each train seed


@dataclasses.dataclass(frozen=True, eq=False)
class Pair:
    """A comparison a - b. ladder: of equal_accuracy, the shorter trainings of b, which the control comes from with b.
    none: of equal_size, why there is no control, in words; b is then the dense cell.

    kinds: against_dense: a pruned cell and the dense one of all epochs. equal_accuracy: a pruned cell and dense
    training at its test accuracy (`evaluation.ladder`). equal_size: a pruned cell and a narrower dense one with about
    as many parameters as it keeps. same_sparsity: a pruning method minus the first in the registry of those that are
    compared (static, where it is there). other_methods: two others at one sparsity, the later in the registry minus
    the earlier: not planned, for their number grows with the square of that of the methods. neighbouring_sparsity: one
    method, the higher sparsity minus the next lower one. other_knobs: one method at one sparsity, with other values of
    its own knobs. matched_accuracy: two methods whose test accuracies lie within a point and cannot be told apart,
    where no other kind compares them. replicate: a cell minus itself trained again from another train seed, the null
    of all comparisons. given: cells that do not say what they are, each minus those before it. other_recipe: cells of
    one split whose setting or recipe differ: no like is compared with like.
    """

    kind: str
    a: Targets
    b: Targets
    ladder: tuple[Targets, ...] = ()
    none: str = ""

    @property
    def size_ratio(self) -> float | None:
        """Parameters of b by those that a keeps, of equal_size."""
        ours, theirs = kept_parameters(self.a), kept_parameters(self.b)
        return theirs / ours if self.kind == "equal_size" and not self.none and ours and theirs else None

    @property
    def cells(self) -> tuple[Targets, ...]:
        """All cells that have a part in it, a and b first."""
        return (self.a, self.b, *self.ladder)

    @property
    def differing(self) -> str:
        """`name: a's value / b's value` of what the two cells do not share, beside method and sparsity; at equal size
        not the channels, which are meant to differ."""
        apart = signature.differing(self.a, self.b)
        meant = ("channels",) if self.kind == "equal_size" else ()
        return "; ".join(f"{name}: {_word(a)} / {_word(b)}" for name, (a, b) in apart.items() if name not in meant)

    @property
    def models(self) -> tuple[int, ...] | None:
        """The models that all cells have, where one of them lacks some; None where all have the same."""
        each = [set(asked.cell.models) for asked in self.cells]
        common = set.intersection(*each)
        return None if all(models == common for models in each) else tuple(sorted(common))


def _word(value: Any) -> str:
    if value is None:
        return "not known"
    return f"{value:g}" if isinstance(value, float) else str(value)


def pairs(cells: Sequence[Targets]) -> list[Pair]:
    """Every comparison among cells that share data and split (see `Pair` for the kinds).

    Cells are alike where `evaluation.signature.conditions` agree; method, sparsity, train seed and the knobs that a
    method declares as its own may differ. Cells of one train seed share initialisations and batches, so they are
    paired within it; across train seeds only where two methods or sparsities have none in common. A control is compared
    with nothing but what it is the control of, and with itself trained again.
    """
    found: list[Pair] = []
    for split in dict.fromkeys(asked.split for asked in cells):
        own = [asked for asked in cells if asked.split == split]
        controls = [asked for asked in own if asked.control is not None]
        groups: dict[tuple[Any, ...], list[Targets]] = {}
        for asked in own:
            if asked.control is None:
                groups.setdefault(_conditions(asked), []).append(asked)
        for group in groups.values():
            found += _alike(group)
            found += _at_equal_accuracy(group, controls)
            found += _at_equal_size(group, controls)
        found += _trained_again(controls)
        for earlier, later in combinations(groups.values(), 2):
            found += _unlike(earlier, later)
    return found


def _conditions(asked: Targets, but: str = "") -> tuple[Any, ...]:
    return tuple(value for name, value in signature.conditions(asked).items() if name != but)


def _at_equal_accuracy(group: Sequence[Targets], controls: Sequence[Targets]) -> Iterator[Pair]:
    """Every pruned cell with the ladder of its train seed: the dense cell and its shorter trainings."""
    ladders = {
        dense.experiment: tuple(
            asked
            for asked in controls
            if asked.control == "accuracy"
            and _train_seed(asked) == _train_seed(dense)
            and _conditions(asked, "epochs") == _conditions(dense, "epochs")
        )
        for dense in group
        if _method(dense) == BASELINE
    }
    whole = [dense for dense in group if ladders.get(dense.experiment)]
    for pruned in _held_variants(group):
        for pair in _by_train_seed("equal_accuracy", pruned, whole) if whole else ():
            yield dataclasses.replace(pair, ladder=ladders[pair.b.experiment])


def kept_parameters(asked: Targets) -> int | None:
    """Parameters of a cell's target that are not zero; None where that is not known."""
    summary = asked.summaries[0]
    parameters, zeros = summary.get("parameters"), summary.get("sparsity_all_parameters")
    return None if parameters is None or zeros is None else round(parameters * (1.0 - zeros))


def _at_equal_size(group: Sequence[Targets], controls: Sequence[Targets]) -> Iterator[Pair]:
    """Every pruned cell with the narrower dense one that is nearest to it in size, or with none near enough."""
    whole = [asked for asked in group if _method(asked) == BASELINE]
    narrower = [
        asked
        for asked in controls
        if asked.control == "size"
        and kept_parameters(asked)
        and any(_conditions(asked, "channels") == _conditions(dense, "channels") for dense in whole)
    ]
    for variant in _held_variants(group) if narrower else ():
        kept = kept_parameters(variant[0])
        if not kept:
            continue
        apart = {str(_conditions(one)): abs((kept_parameters(one) or 0) / kept - 1.0) for one in [*narrower, *whole]}
        nearest = min(apart, key=lambda conditions: apart[conditions])
        near = [one for one in narrower if str(_conditions(one)) == nearest]
        if near and apart[nearest] <= SAME_SIZE:
            yield from _by_train_seed("equal_size", variant, near)
        elif near or apart[nearest] > SAME_SIZE:
            words = f"no dense network here comes within {100 * SAME_SIZE:g} % of the {kept:,} parameters that it keeps"
            yield from (dataclasses.replace(pair, none=words) for pair in _by_train_seed("equal_size", variant, whole))


def _trained_again(cells: Sequence[Targets]) -> Iterator[Pair]:
    """Each cell and itself from another train seed."""
    for variant in _variants(cells):
        for a, b in combinations(variant, 2):
            if _train_seed(a) != _train_seed(b) and _conditions(a) == _conditions(b):
                yield Pair("replicate", a, b)


def _alike(group: Sequence[Targets]) -> list[Pair]:
    found = list(_planned_pairs([asked for asked in group if _known(asked)]))
    compared = {frozenset((pair.a.experiment, pair.b.experiment)) for pair in found}
    found += [pair for pair in _matched(group) if frozenset((pair.a.experiment, pair.b.experiment)) not in compared]
    compared |= {frozenset((pair.a.experiment, pair.b.experiment)) for pair in found}
    given = [asked for asked in group if not asked.cell.trained_here]
    return found + [
        Pair("given", a, b)
        for b, a in combinations(given, 2)
        if frozenset((a.experiment, b.experiment)) not in compared and _says_nothing(a, b)
    ]


def is_trained_again(a: Targets, b: Targets) -> bool:
    """Whether two cells are one, from different train seeds."""
    same = _known(a) and _known(b) and _variant(a) == _variant(b) and _conditions(a) == _conditions(b)
    return same and _train_seed(a) != _train_seed(b)


def is_baseline(asked: Targets) -> bool:
    """Whether a cell is the dense one that all are compared with."""
    return _method(asked) == BASELINE and asked.control is None


def _says_nothing(a: Targets, b: Targets) -> bool:
    """Whether two files do not say what tells them apart."""
    return not (_known(a) and _known(b)) or _variant(a) == _variant(b)


def _planned_pairs(group: Sequence[Targets]) -> Iterator[Pair]:
    variants, pruned = _variants(group), _held_variants(group)
    yield from _trained_again(group)
    for one in pruned:
        for dense in variants:
            if _method(dense[0]) == BASELINE:
                yield from _by_train_seed("against_dense", one, dense)
    for earlier, later in combinations(pruned, 2):
        if _sparsity(earlier[0]) == _sparsity(later[0]):
            first = "same_sparsity" if _method(earlier[0]) == _method(pruned[0][0]) else "other_methods"
            kind = "other_knobs" if _method(earlier[0]) == _method(later[0]) else first
            yield from _by_train_seed(kind, later, earlier)
    for lower, higher in _neighbours(pruned):
        yield from _by_train_seed("neighbouring_sparsity", higher, lower)


def _neighbours(pruned: Sequence[Variant]) -> Iterator[tuple[Variant, Variant]]:
    """(lower, higher) sparsity of one method, one step apart; of several sets of knobs, those with the same ones."""
    for method in dict.fromkeys(_method(one[0]) for one in pruned):
        own = [one for one in pruned if _method(one[0]) == method]
        steps = list(dict.fromkeys(_sparsity(one[0]) for one in own))
        for low, high in pairwise(steps):
            lower, higher = ([one for one in own if _sparsity(one[0]) == step] for step in (low, high))
            every = [(b, a) for b in lower for a in higher]
            same = [(b, a) for b, a in every if _knobs(b[0]) == _knobs(a[0])]
            yield from same or every


def _matched(group: Sequence[Targets]) -> Iterator[Pair]:
    """Two methods within MATCHED of each other's test accuracy whose difference could be the test pictures' chance.

    That is: the interval of the difference covers 0, or is not known. It does not say that they are equally accurate.
    """
    for b, a in combinations(_held_variants(group), 2):
        for pair in _by_train_seed("matched_accuracy", a, b):
            apart = accuracy_difference(pair.a.summaries, pair.b.summaries)
            if _method(pair.a) != _method(pair.b) and apart is not None and apart.cannot_be_told_apart(MATCHED):
                yield pair


def _unlike(earlier: Sequence[Targets], later: Sequence[Targets]) -> Iterator[Pair]:
    """Like for like across two recipes: a pruned cell and a dense one, two methods, or one, at one sparsity."""
    for a, b in ((a, b) for b in _variants(earlier) for a in _variants(later)):
        same_method = _method(a[0]) == _method(b[0])
        if (_known(a[0]) and _known(b[0]) and _is_held(a[0]) != _is_held(b[0])) or _sparsity(a[0]) == _sparsity(b[0]):
            swap = not same_method and _known(a[0]) and not _is_held(a[0])
            yield from _by_train_seed("other_recipe", *((b, a) if swap else (a, b)))


def _variants(group: Sequence[Targets]) -> list[Variant]:
    found: dict[tuple[Any, ...], list[Targets]] = {}
    for asked in group:
        found.setdefault(_variant(asked), []).append(asked)
    return [sorted(cells, key=lambda asked: _train_seed(asked) or 0) for cells in found.values()]


def _held_variants(group: Sequence[Targets]) -> list[Variant]:
    """In the order of methods and sparsities."""
    known = _variants([asked for asked in group if _known(asked)])
    return sorted((one for one in known if _is_held(one[0])), key=lambda one: _rank(one[0]))


def _by_train_seed(kind: str, a: Variant, b: Variant) -> list[Pair]:
    same = [Pair(kind, ours, theirs) for ours in a for theirs in b if _train_seed(ours) == _train_seed(theirs)]
    return same or [Pair(kind, a[0], b[0])]


def _variant(asked: Targets) -> tuple[Any, ...]:
    return _method(asked), _sparsity(asked), _knobs(asked)


def _knobs(asked: Targets) -> tuple[Any, ...]:
    return tuple(signature.knobs(asked).values())


def _method(asked: Targets) -> str:
    return str(asked.cell.names["method"])


def _known(asked: Targets) -> bool:
    return _method(asked) in METHODS


def _sparsity(asked: Targets) -> float | None:
    sparsity: float | None = asked.cell.names["sparsity"]
    return sparsity


def _train_seed(asked: Targets) -> int | None:
    seed: int | None = asked.cell.names["train_seed"]
    return seed


def _is_held(asked: Targets) -> bool:
    return is_held(_method(asked))


def _rank(asked: Targets) -> tuple[int, float]:
    return list(METHODS).index(_method(asked)), _sparsity(asked) or 0.0
