"""CIFAR-10, CIFAR-100, Fashion-MNIST and SVHN, read and fetched by torchvision.

The normalisation constants are the published ones. They were once taken over whole training sets; being the same for
every model and known to everybody, they tell members and non-members of a model apart no more than the pixels do.
"""

from __future__ import annotations

import io
import os
import shutil
import socket
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import lock_descriptor
from numpy.typing import NDArray
from torch import Tensor

from artifacts.atomic_writes import NO_LINK, move_atomic
from configs.errors import UsageError
from data.base import ImageData

DOWNLOAD_TIMEOUT_S = 60.0

STAGING = ".download-"
HELD = ".held"  # in a staging folder, locked while its download is under way: Windows locks no folders


@dataclass(frozen=True)
class _Source:
    """`reader`: class in torchvision.datasets. `archives`: what it downloads, relative to `--data-dir`."""

    dataset: str
    reader: str
    train: dict[str, Any]
    test: dict[str, Any]
    archives: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]


_CIFAR10 = _Source(
    dataset="cifar10",
    reader="CIFAR10",
    train={"train": True},
    test={"train": False},
    archives=("cifar-10-python.tar.gz",),
    mean=(0.4914, 0.4822, 0.4465),
    std=(0.2470, 0.2435, 0.2616),
)
_CIFAR100 = _Source(
    dataset="cifar100",
    reader="CIFAR100",
    train={"train": True},
    test={"train": False},
    archives=("cifar-100-python.tar.gz",),
    mean=(0.5071, 0.4865, 0.4409),
    std=(0.2673, 0.2564, 0.2762),
)
_FASHION_MNIST = _Source(
    dataset="fashion_mnist",
    reader="FashionMNIST",
    train={"train": True},
    test={"train": False},
    archives=tuple(
        f"FashionMNIST/raw/{part}-idx{ndim}-ubyte.gz"
        for part, ndim in (("train-images", 3), ("train-labels", 1), ("t10k-images", 3), ("t10k-labels", 1))
    ),
    mean=(0.2860,),
    std=(0.3530,),
)
_SVHN = _Source(
    dataset="svhn",
    reader="SVHN",
    train={"split": "train"},
    test={"split": "test"},
    archives=("train_32x32.mat", "test_32x32.mat"),
    mean=(0.4377, 0.4438, 0.4728),
    std=(0.1980, 0.2010, 0.1970),
)


_SOURCES = {source.dataset: source for source in (_CIFAR10, _CIFAR100, _FASHION_MNIST, _SVHN)}


def at_hand(dataset: str, data_dir: Path) -> bool:
    """Whether a data set of this module can be read from `data_dir` without a download."""
    try:
        _read(_SOURCES[dataset], data_dir, download=False)
    except RuntimeError:  # torchvision's word for files that are missing or do not have their MD5
        return False
    except Exception:
        return True  # damaged: whoever loads it says so
    return True


def load_cifar10(data_dir: Path, image_size: int, seed: int, progress: bool) -> ImageData:
    """CIFAR-10, 50,000 + 10,000 pictures of 3x32x32; `image_size` and `seed` are not used."""
    return _load(_CIFAR10, data_dir, progress)


def load_cifar100(data_dir: Path, image_size: int, seed: int, progress: bool) -> ImageData:
    """CIFAR-100 with its 100 fine labels, 50,000 + 10,000 pictures of 3x32x32; `image_size`, `seed` are not used."""
    return _load(_CIFAR100, data_dir, progress)


def load_fashion_mnist(data_dir: Path, image_size: int, seed: int, progress: bool) -> ImageData:
    """Fashion-MNIST, 60,000 + 10,000 pictures of 1x28x28; `image_size` and `seed` are not used."""
    return _load(_FASHION_MNIST, data_dir, progress)


def load_svhn(data_dir: Path, image_size: int, seed: int, progress: bool) -> ImageData:
    """SVHN without its extra part, 73,257 + 26,032 pictures of 3x32x32; `image_size` and `seed` are not used."""
    return _load(_SVHN, data_dir, progress)


def _load(source: _Source, data_dir: Path, progress: bool) -> ImageData:
    try:
        train, test = _read(source, data_dir, download=False)
    except RuntimeError:  # torchvision's word for files that are missing or do not have their MD5
        train, test = _fetch(source, data_dir, progress)
    except Exception as error:  # its parsers raise whatever damaged bytes lead them to
        raise UsageError(
            f"--data-dir {data_dir}: the {source.dataset} files there cannot be read ({_brief(error)}); remove them"
        ) from error
    return ImageData(
        train_images=_pictures(train.data),
        train_labels=_labels(train),
        test_images=_pictures(test.data),
        test_labels=_labels(test),
        class_names=tuple(getattr(train, "classes", "0123456789")),
        mean=source.mean,
        std=source.std,
    )


def _read(source: _Source, root: Path, download: bool) -> tuple[Any, Any]:
    from torchvision import datasets

    reader = getattr(datasets, source.reader)
    with warnings.catch_warnings():
        # The CIFAR pickles hold a dtype flag as the number 0, which numpy 2.4 deprecates.
        warnings.filterwarnings("ignore", message=".*align should be passed as")
        return reader(root, download=download, **source.train), reader(root, download=download, **source.test)


def _fetch(source: _Source, data_dir: Path, progress: bool) -> tuple[Any, Any]:
    """Download beside the final place and move: a broken download leaves nothing, two at once do not mix."""
    created = not data_dir.exists()
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        _clear_leftovers(data_dir)
        with (
            tempfile.TemporaryDirectory(prefix=STAGING, dir=data_dir) as staging,
            _held(Path(staging)),
            _quiet_downloads(progress),
        ):
            _copy_archives(source, data_dir, Path(staging))
            parts = _read(source, Path(staging), download=True)
            _publish(Path(staging), data_dir)
        return parts
    except Exception as error:  # no network, no such host, no space, a proxy's page instead of the file, ...
        if created:
            with suppress(OSError):
                data_dir.rmdir()
        wanted = ", ".join(str(data_dir / archive) for archive in source.archives)
        raise UsageError(
            f"--dataset {source.dataset}: cannot download it ({_brief(error)}); use --dataset digits (embedded), "
            f"or --dataset imagefolder --data-dir DIR, or put in place yourself: {wanted}"
        ) from error


def _clear_leftovers(data_dir: Path) -> None:
    """Delete what killed downloads left; the folder of one that is under way is held."""
    for folder in data_dir.glob(f"{STAGING}*"):
        with _held(folder) as ours:
            if ours:
                shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _held(folder: Path) -> Iterator[bool]:
    """Hold a folder while this process lives; False where it is held, a link, or where the file system cannot say."""
    with ExitStack() as stack:
        ours = False
        with suppress(OSError):
            if not folder.is_symlink():
                handle = os.open(folder / HELD, os.O_RDWR | os.O_CREAT | NO_LINK, 0o600)
                stack.callback(os.close, handle)
                ours = lock_descriptor(handle, blocking=False)
        yield ours


def _copy_archives(source: _Source, data_dir: Path, staging: Path) -> None:
    for archive in source.archives:
        if (data_dir / archive).is_file():
            (staging / archive).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(data_dir / archive, staging / archive)


def _publish(staging: Path, data_dir: Path) -> None:
    for path in sorted(staging.rglob("*")):
        if path.is_file() and path.name != HELD:
            target = data_dir / path.relative_to(staging)
            target.parent.mkdir(parents=True, exist_ok=True)
            move_atomic(path, target)


@contextmanager
def _quiet_downloads(progress: bool) -> Iterator[None]:
    """Nothing on stdout, torchvision's bar on stderr only where it is wanted, and no wait without an end."""
    previous = socket.getdefaulttimeout()
    socket.setdefaulttimeout(DOWNLOAD_TIMEOUT_S)
    bar = sys.stderr if progress and sys.stderr.isatty() else io.StringIO()
    try:
        with redirect_stdout(io.StringIO()), redirect_stderr(bar):
            yield
    finally:
        socket.setdefaulttimeout(previous)


def _pictures(values: NDArray[np.uint8] | Tensor) -> Tensor:
    """uint8 [N, C, H, W] out of CIFAR's [N, H, W, 3], Fashion-MNIST's [N, H, W] or SVHN's [N, 3, H, W]."""
    images = torch.as_tensor(np.asarray(values))
    if images.dim() == 3:
        images = images[:, None]
    elif images.shape[1] != 3:
        images = images.permute(0, 3, 1, 2)
    return images.contiguous()


def _labels(part: Any) -> Tensor:
    labels = part.labels if hasattr(part, "labels") else part.targets
    return torch.as_tensor(np.asarray(labels, dtype=np.int64)).contiguous()


def _brief(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
