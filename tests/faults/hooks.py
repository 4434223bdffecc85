"""What is done to a forked command before it starts: each function is called in the child, by name.

Nothing here is part of the product; every hook replaces a function of the standard library or of torch, or (for bad
numbers) one step of the training.
"""

from __future__ import annotations

import errno
import os
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

P = TypeVar("P", bound=Path)
StrOrBytesPath = str | bytes | os.PathLike[str] | os.PathLike[bytes]


def plain_pictures() -> None:
    """Skip the rasterising of figures, which takes most of a small sweep's time; all files are still written."""
    from matplotlib.figure import Figure

    from reporting import style

    def savefig(figure: Figure, stream: Any, **_: Any) -> None:
        stream.write(f"{figure.get_size_inches()} {len(figure.axes)}".encode())

    Figure.savefig = savefig  # type: ignore[method-assign, assignment]
    style.for_page = lambda png: png  # what was not drawn is no picture


class _Countdown:
    """Kills this process with signal 9 before the k-th write step (never for 0), and keeps count in a file."""

    def __init__(self, k: int, count_file: str) -> None:
        self.k, self.count, self.file, self.inside = k, 0, count_file, False

    def step(self, what: str, half: Callable[[], None] | None = None) -> None:
        if self.inside:  # a function of pathlib that calls one of os is one step
            return
        self.count += 1
        if self.count == self.k:
            if half is not None:
                half()
            os.kill(os.getpid(), signal.SIGKILL)
        if self.k == 0:
            self.inside = True
            with open(self.file, "a", encoding="utf-8") as stream:
                stream.write(what + "\n")
            self.inside = False

    def wrap(self, owner: Any, name: str) -> None:
        """Make each call of a function a step."""
        original = getattr(owner, name)

        def stepping(*arguments: Any, **named: Any) -> Any:
            self.step(f"{name} {arguments[0] if arguments else ''}")
            outer, self.inside = self.inside, True
            try:
                return original(*arguments, **named)
            finally:
                self.inside = outer

        setattr(owner, name, stepping)


def die_at_write_step(k: int, count_file: str) -> None:
    """kill -9 at the k-th step that writes; k = 0 only lists the steps in `count_file`, a line each.

    Steps: a temporary file's creation, its first write (of which half is done), each fsync, chmod, rename, link,
    removal, and each new folder. What lies between two steps changes nothing on the disk but the length of a
    temporary file.
    """
    countdown = _Countdown(k, count_file)
    for name in ("fsync", "replace", "rename", "unlink", "remove", "mkdir", "rmdir", "link", "symlink", "chmod"):
        countdown.wrap(os, name)
    for name in ("replace", "rename", "unlink", "mkdir", "rmdir", "chmod"):
        countdown.wrap(Path, name)
    countdown.wrap(tempfile, "mkstemp")
    original = os.fdopen

    def fdopen(descriptor: int, mode: str = "r", *arguments: Any, **named: Any) -> Any:
        stream = original(descriptor, mode, *arguments, **named)
        return _Watched(stream, _first_half(stream, countdown)) if "w" in mode else stream

    os.fdopen = fdopen  # type: ignore[assignment]


def _first_half(stream: Any, countdown: _Countdown) -> Callable[[Any], None]:
    seen: list[bool] = []

    def before(data: Any) -> None:
        def half() -> None:
            content = bytes(data)
            stream.write(content[: max(1, len(content) // 2)])
            stream.flush()

        if not seen:
            seen.append(True)
            countdown.step("write", half)

    return before


class _Watched:
    """A binary stream with something to do before each write."""

    def __init__(self, stream: Any, before: Callable[[Any], None]) -> None:
        self._stream, self._before = stream, before

    def write(self, data: Any) -> Any:
        self._before(data)
        return self._stream.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def __enter__(self) -> _Watched:
        return self

    def __exit__(self, *details: Any) -> Any:
        return self._stream.__exit__(*details)


def die_before_rename(name: str, count: int) -> None:
    """kill -9 before the `count`-th rename of a file to `name`."""
    left, original = [count], os.replace

    def replace(
        src: StrOrBytesPath, dst: StrOrBytesPath, *, src_dir_fd: int | None = None, dst_dir_fd: int | None = None
    ) -> None:
        if Path(os.fsdecode(dst)).name == name:
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        original(src, dst, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)

    def replace_path(self: P, target: str | os.PathLike[str]) -> P:
        os.replace(self, target)
        return type(self)(target)

    os.replace = replace
    # Python 3.10's pathlib keeps the original function of os
    Path.replace = replace_path  # type: ignore[method-assign]


def no_space_after(total: int) -> None:
    """Writes through `os.fdopen` fail with ENOSPC once `total` bytes are written: a full disk where none is mounted."""
    left = [total]

    def before(data: Any) -> None:
        left[0] -= memoryview(data).nbytes
        if left[0] < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    original = os.fdopen

    def fdopen(descriptor: int, mode: str = "r", *arguments: Any, **named: Any) -> Any:
        stream = original(descriptor, mode, *arguments, **named)
        return _Watched(stream, before) if "w" in mode else stream

    os.fdopen = fdopen  # type: ignore[assignment]


def bad_number(kind: str, value: float, step: int, where: str, witness: str) -> None:
    """At optimiser step `step` of the run whose folder ends in `where`, put `value` into its loss, a weight, a
    gradient or a BatchNorm statistic, and add a line to the file `witness`, with the steps of an epoch last.
    """
    import torch

    from training.loop import Trainer

    original = Trainer.train_step

    def stepping(self: Trainer, *arguments: Any, **named: Any) -> Any:
        if self.step_count != step or f"{self.config.method}/{self.config.model_index}" != where:
            return original(self, *arguments, **named)
        with Path(witness).open("a", encoding="utf-8") as stream:
            stream.write(f"{kind} {value} {step} {self.steps_per_epoch}\n")
        with torch.no_grad():
            if kind == "weight":
                self.pruner.leaf.fill_(value)
                self.pruner.weights.values.fill_(value)
            elif kind == "statistic":
                norm = next(m for m in self.model.modules() if isinstance(m, torch.nn.BatchNorm2d))
                assert norm.running_mean is not None
                norm.running_mean[0] = value
        if kind == "gradient":
            after = self.pruner.after_backward

            def poisoned() -> None:
                self.pruner.weights.grad.fill_(value)
                self.pruner.after_backward = after  # type: ignore[method-assign]
                after()

            self.pruner.after_backward = poisoned  # type: ignore[method-assign]
        if kind == "loss":
            from torch.nn import functional

            entropy = functional.cross_entropy

            def infinite(*inputs: Any, **settings: Any) -> Any:
                functional.cross_entropy = entropy
                return entropy(*inputs, **settings) * value

            functional.cross_entropy = infinite
        return original(self, *arguments, **named)

    Trainer.train_step = stepping  # type: ignore[method-assign]


def load_unsafely(path: str) -> None:
    """What a forged file would do to a program that trusts it; ends this process."""
    import numpy
    import torch

    if path.endswith(".npz"):
        with numpy.load(path, allow_pickle=True) as stored:
            for name in stored.files:
                stored[name]
    else:
        torch.load(path, weights_only=False)
    os._exit(0)


def without_package(name: str) -> None:
    """Importing the package fails as if it were not installed."""
    import sys

    sys.modules[name] = None  # type: ignore[assignment]
