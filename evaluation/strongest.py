"""The strongest attack on a target, chosen without the target: by what it does to shadows in the target's place."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from attacks.interface import AttackResult
from attacks.registry import ATTACKS


def strongest(results: Mapping[str, AttackResult]) -> str | None:
    """The attack of the highest AUC on the target's shadows, each in the target's place and served by the others.

    results: of one target, by variant. Attacks that train networks are not asked, nor are an attack's variants; the
    first of the registry wins a tie. None where fewer than two attacks have such an AUC. The choice sees neither the
    target's outputs nor its membership, so the target's own AUC under it is not the largest of several.
    """
    rivals = {
        name: results[name].shadow_auc for name in ATTACKS if name in results and not ATTACKS[name].trains_network
    }
    known = {name: auc for name, auc in rivals.items() if auc is not None}
    return max(known, key=lambda name: known[name]) if len(known) > 1 else None


def choice_in_words(chosen: Sequence[str]) -> str:
    """`RMIA for 7 targets, LiRA for 2`; chosen: an attack's name for each target."""
    counts = Counter(chosen).most_common()
    if len(counts) == 1:
        return ATTACKS[counts[0][0]].title
    (first, count), *others = counts
    rest = [f"{ATTACKS[name].title} for {number}" for name, number in others]
    return ", ".join([f"{ATTACKS[first].title} for {count} target{'s' if count > 1 else ''}", *rest])
