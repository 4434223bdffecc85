"""A few tries of every fault; `make faults` runs them all."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.run import Hall, spread
from tests.faults.table import FAULTS
from tests.faults.trials import Fault


@pytest.fixture(scope="module")
def hall(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hall]:
    """One fork server for all tries."""
    with Hall(tmp_path_factory.mktemp("faults"), threads=1, seed=0) as opened:
        yield opened


@pytest.mark.parametrize("fault", FAULTS, ids=[fault.name for fault in FAULTS])
def test_a_few_tries_of_every_fault_survive(fault: Fault, hall: Hall) -> None:
    missing = fault.needs()
    if missing:
        pytest.skip(missing)
    total = hall.tries(fault)
    numbers = spread(total, fault.share / total)
    tallies = hall.run(fault, numbers)
    assert len(tallies) == len(numbers)
    for tally in tallies:
        assert tally.injected, tally.detail
        assert tally.survived, tally.detail
