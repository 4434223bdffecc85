"""What an evaluation asks of a cell, whether this project trained its models or a file holds their signals."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from artifacts.loss_traces import LossTraces
from artifacts.signals import QuerySettings, Signals
from configs.machine import Places
from pruning.registry import METHODS


class Attackable(ABC):
    """A target and its shadows.

    experiment: its name in tables, unique among the cells of an evaluation. models: by model index (0 = target),
    whatever the kind of cell knows them by. problems: models that are there and cannot be used, in words.
    unfinished: models that are planned and not there.
    """

    experiment: str
    models: dict[int, Any]
    problems: list[str]
    unfinished: int

    @property
    def num_shadows(self) -> int:
        """Shadows that can be asked."""
        return len(self.models) - (0 in self.models)

    @property
    @abstractmethod
    def reason(self) -> str:
        """Why the cell cannot be attacked; empty when it can."""

    @property
    @abstractmethod
    def names(self) -> dict[str, Any]:
        """What names the cell in every table: experiment, method, sparsity and its setting; None where not known."""

    @property
    @abstractmethod
    def trained_here(self) -> bool:
        """Whether this project trained the models, so that `names` is all that tells the cell from others."""

    @property
    @abstractmethod
    def seed(self) -> int:
        """Of trimming, attack networks and resampling."""

    @property
    @abstractmethod
    def planned_models(self) -> int | None:
        """M, when all are finished."""

    @abstractmethod
    def more_shadows(self, needed: int) -> str:
        """How the user gets at least `needed` shadow models, in words."""

    @abstractmethod
    def queries(
        self, num_queries: int | None, samia: bool, population: int, samia_examples: int | None = None
    ) -> QuerySettings:
        """What its models are asked. num_queries: None for the cell's own default; samia_examples: None for all.

        UsageError where they cannot be.
        """

    @abstractmethod
    def origin(self, index: int) -> str:
        """Where a model comes from, for messages."""

    @abstractmethod
    def files_of(self, index: int) -> dict[str, str]:
        """The files that a model's figures rest on: where they are, and their sha256."""

    @abstractmethod
    def ask(self, index: int, places: Places, device: str, queries: QuerySettings) -> Signals:
        """The signals of one model, which may hold more than was asked. RunError when they cannot be had."""

    @abstractmethod
    def summary_of(self, index: int) -> dict[str, Any]:
        """train_accuracy, heldout_accuracy, test_accuracy, num_members, num_pool, hashes, fingerprint, data_hash and
        split_hash of one model; None where not known. num_test, test examples, where that was recorded."""

    def traces_of(self, index: int) -> LossTraces | None:
        """The loss traces of one model; None where none were kept. RunError when they cannot be used."""
        return None

    def summary(self) -> dict[str, Any] | None:
        """The target's, if it is there."""
        return self.summary_of(0) if 0 in self.models else None


def order(names: Mapping[str, Any]) -> tuple[Any, ...]:
    """Where a cell stands among others, from its `Attackable.names`: by setting, method (of METHODS) and sparsity; the
    controls follow the cells that they are controls of, fewest epochs first."""
    setting = (names["dataset"], names["arch"], names["layers"], names["seed"])
    control = [
        names.get("control"),
        *(names[name] if names.get("control") else None for name in ("epochs", "channels")),
    ]
    known = tuple((value is not None, value) for value in (*setting, names["sparsity"], *control, names["train_seed"]))
    return (*known[:4], list(METHODS).index(names["method"]), *known[4:])
