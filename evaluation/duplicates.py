"""How many pictures of each split's pool have an equal one: as the training wrote it down, else counted again."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence

from configs.errors import RunError, UsageError
from configs.machine import Places
from data.duplicates import Duplicates
from data.inputs import open_data, open_duplicates
from evaluation.attack import Targets
from evaluation.cells import Cell

log = logging.getLogger(__name__)
DUPLICATES = tuple(field.name for field in dataclasses.fields(Duplicates))


def duplicates_by_split(targets: Sequence[Targets], places: Places) -> dict[tuple[str, ...], Duplicates | None]:
    """By split, once for all of its cells; None where it is not known. Says where there are any."""
    found: dict[tuple[str, ...], Duplicates | None] = {}
    for asked in targets:
        if asked.split in found:
            continue
        found[asked.split] = duplicates = _recorded(asked) or _counted(asked, places)
        if duplicates is not None and duplicates.in_words():
            log.warning("%s: %s", asked.cell.names["dataset"], duplicates.in_words())
    return found


def _recorded(asked: Targets) -> Duplicates | None:
    summary = asked.summaries[0]
    return Duplicates(*(summary[name] for name in DUPLICATES)) if DUPLICATES[0] in summary else None


def _counted(asked: Targets, places: Places) -> Duplicates | None:
    """Of runs that an earlier version trained, where their data is at hand."""
    if not isinstance(asked.cell, Cell):
        return None
    try:
        if open_data(asked.cell.config, places.data_dir)[1] != asked.split[0]:
            return None
        return open_duplicates(asked.cell.config, places.data_dir)
    except (RunError, UsageError, OSError):
        return None
