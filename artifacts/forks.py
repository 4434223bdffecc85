"""What runs of one number share, told to each by the plan: plain values that travel with a job."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from artifacts.run_dir import RunDir


@dataclass(frozen=True)
class Forks:
    """Of a dense run, and of a pruned one that is the same training until it begins to prune.

    keep: the numbers of epochs after which a dense run keeps its state for others. source: the folder of the dense run
    whose state after `epoch` epochs this run starts from, if it is there; fingerprint: that dense run's.
    """

    keep: tuple[int, ...] = ()
    source: str | None = None
    epoch: int = 0
    fingerprint: str = ""

    @property
    def state(self) -> Path | None:
        """The file to start from; None where there is nothing to share."""
        return None if self.source is None else RunDir(Path(self.source)).fork_state(self.epoch)
