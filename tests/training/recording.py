"""A recorder for CPUs that is as blind as a CUDA graph: it repeats operations on the memory that they used."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class _Tape(TorchDispatchMode):
    """Notes every operation with the very tensors and numbers that it was given."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations: list[tuple[Any, Any, Any, Any]] = []

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = operation(*args, **(kwargs or {}))
        self.operations.append((operation, args, kwargs or {}, result))
        return result


class TapeRecorder:
    """Python between the operations, and whatever it read from tensors, is gone at the replay."""

    recorded = 0

    def warm_up(self, work: Callable[[], None]) -> None:
        work()

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        type(self).recorded += 1
        with _Tape() as tape:
            work()

        def replay() -> None:
            with torch.no_grad():
                for operation, args, kwargs, result in tape.operations:
                    again = operation(*args, **kwargs)
                    for old, new in zip(tree_leaves(result), tree_leaves(again), strict=True):
                        if isinstance(old, Tensor) and old.data_ptr() != new.data_ptr():
                            old.detach().copy_(new)

        return replay
