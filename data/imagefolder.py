"""Folders of pictures, DIR/train/<class>/* and DIR/test/<class>/*, decoded once and kept beside the pictures."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

import numpy as np
import torch
from numpy.typing import NDArray
from torchvision.datasets import ImageFolder
from torchvision.datasets.folder import IMG_EXTENSIONS

from artifacts.arrays import read_arrays
from artifacts.atomic_writes import clear_temporaries, write_atomic
from artifacts.missing import check_pictures
from configs.errors import DiskFull, RunError, UsageError
from data.base import ImageData, unpublished_normalisation

Pictures = NDArray[np.uint8]

PARTS = ("train", "test")
CACHE_FORMAT = 1
CHUNK = 256
THREADS = 8
SMALL_FILE_BYTES = 4000

_log = logging.getLogger("data")


class _Listing(ImageFolder):  # type: ignore[misc] # torchvision is not typed
    """torchvision's listing without hidden folders and files, which are thumbnails and the like, not pictures."""

    def __init__(self, root: Path) -> None:
        super().__init__(str(root), allow_empty=True, is_valid_file=_is_picture)

    def find_classes(self, directory: str | Path) -> tuple[list[str], dict[str, int]]:
        names = sorted(entry.name for entry in os.scandir(directory) if entry.is_dir() and entry.name[0] != ".")
        return names, {name: index for index, name in enumerate(names)}

    def counts(self) -> list[int]:
        counts: list[int] = np.bincount(np.asarray(self.targets, dtype=np.int64), minlength=len(self.classes)).tolist()
        return counts


def load(data_dir: Path, image_size: int, seed: int, progress: bool) -> ImageData:
    """The pictures below `data_dir`, as RGB, resized to `image_size` squared; `seed` is not used.

    A picture of another size is resized by Pillow's antialiased bilinear filter, without regard to its proportions.
    The decoded arrays are cached as `.decoded-<key>.npz` in `data_dir`, the key being a hash of names, sizes, times
    and the picture size; a cache that cannot be written is a warning, one that cannot be read is written again.

    Raises UsageError naming --data-dir where folders, classes or pictures are missing or a picture cannot be decoded.
    """
    check_pictures(data_dir)
    train, test = (_list(data_dir, part) for part in PARTS)
    _check_classes(data_dir, train, test)
    images = _decoded(data_dir, {"train": train, "test": test}, image_size, progress)
    return ImageData(
        train_images=torch.from_numpy(images["train"]),
        train_labels=torch.tensor(train.targets),
        test_images=torch.from_numpy(images["test"]),
        test_labels=torch.tensor(test.targets),
        class_names=tuple(train.classes),
        **unpublished_normalisation(3),
    )


def _is_picture(path: str) -> bool:
    return not os.path.basename(path).startswith(".") and path.lower().endswith(IMG_EXTENSIONS)


def _list(data_dir: Path, part: str) -> _Listing:
    try:
        listing: _Listing | None = _Listing(data_dir / part)
    except OSError as error:
        raise UsageError(f"--data-dir {data_dir}: {part}/ cannot be listed ({error})") from error
    except ValueError:  # torchvision's word for a folder without class folders
        listing = None
    if listing is None or not listing.samples:
        allowed = " ".join(IMG_EXTENSIONS)
        raise UsageError(f"--data-dir {data_dir}: no pictures in {part}/<class>/; allowed are files in {allowed}")
    return listing


def _check_classes(data_dir: Path, train: _Listing, test: _Listing) -> None:
    held = {
        part: {name for name, count in zip(listing.classes, listing.counts(), strict=True) if count}
        for part, listing in zip(PARTS, (train, test), strict=True)
    }
    for part, listing, other in (("test", test, train), ("train", train, test)):
        missing = sorted((set(other.classes) | set(listing.classes)) - held[part])
        if missing:
            names = ", ".join(map(repr, missing))
            raise UsageError(f"--data-dir {data_dir}: {part}/ holds no picture of class {names}; every class needs one")
    if len(train.classes) < 2:
        raise UsageError(f"--data-dir {data_dir}: one class only ({train.classes[0]!r}); at least two are needed")


def _decoded(data_dir: Path, listings: dict[str, _Listing], size: int, progress: bool) -> dict[str, Pictures]:
    cache = data_dir / f".decoded-{_cache_key(data_dir, listings, size)}.npz"
    shapes: dict[str, tuple[int, ...]] = {
        part: (len(listing.samples), 3, size, size) for part, listing in listings.items()
    }
    images = _read_cache(cache, shapes)
    if images is None:
        images = _decode_all(data_dir, listings, size, progress)
        _write_cache(cache, images)
    return images


def _cache_key(data_dir: Path, listings: dict[str, _Listing], size: int) -> str:
    digest = hashlib.sha256(json.dumps([CACHE_FORMAT, size]).encode("ascii"))
    for listing in listings.values():
        for path, _ in listing.samples:
            try:
                status = os.stat(path)
            except OSError as error:
                raise UsageError(f"--data-dir {data_dir}: {path} cannot be read ({error})") from error
            line = [os.path.relpath(path, data_dir), status.st_size, status.st_mtime_ns]
            digest.update(json.dumps(line).encode("ascii"))
    return digest.hexdigest()[:16]


def _read_cache(cache: Path, shapes: dict[str, tuple[int, ...]]) -> dict[str, Pictures] | None:
    if not cache.is_file():
        return None
    try:
        images = read_arrays(cache)
    except RunError as error:  # a cache is never worth a failure
        _log.warning("%s: decoding the pictures again", error)
        return None
    if images.keys() != shapes.keys():
        _log.warning("%s does not hold these pictures: decoding them again", cache)
        return None
    if any(images[part].shape != shape or images[part].dtype != np.uint8 for part, shape in shapes.items()):
        _log.warning("%s does not hold these pictures: decoding them again", cache)
        return None
    return {part: images[part].astype(np.uint8, copy=False) for part in shapes}


def _write_cache(cache: Path, images: dict[str, Pictures]) -> None:
    def write(stream: IO[bytes]) -> None:
        np.savez(stream, train=images["train"], test=images["test"])

    try:
        clear_temporaries(cache.parent, ".decoded-")
        write_atomic(cache, write)
    except (OSError, DiskFull) as error:
        _log.warning("%s cannot be written (%s): the pictures will be decoded again next time", cache, error)


def _decode_all(data_dir: Path, listings: dict[str, _Listing], size: int, progress: bool) -> dict[str, Pictures]:
    from tqdm import tqdm

    total = sum(len(listing.samples) for listing in listings.values())
    images = {}
    with tqdm(
        total=total, desc="decoding", unit="picture", file=sys.stderr, disable=not (progress and sys.stderr.isatty())
    ) as bar:
        for part, listing in listings.items():
            paths = [path for path, _ in listing.samples]
            images[part] = np.empty((len(paths), 3, size, size), dtype=np.uint8)
            chunks = [slice(start, start + CHUNK) for start in range(0, len(paths), CHUNK)]
            with ThreadPoolExecutor(_threads(paths)) as pool:
                tasks = [pool.submit(_decode, data_dir, paths[chunk], images[part][chunk]) for chunk in chunks]
                try:
                    for task in tasks:
                        bar.update(task.result())
                except BaseException:
                    pool.shutdown(cancel_futures=True)
                    raise
    return images


def _threads(paths: list[str]) -> int:
    """Threads only where files are big: Pillow decodes without the interpreter's lock, but opens and wraps up with it.

    32x32 JPEGs are decoded half as fast by two threads as by one, 128x128 ones (3.4 kB) 1.6 times as fast.
    """
    first = paths[:CHUNK]
    small = sum(map(os.path.getsize, first)) < SMALL_FILE_BYTES * len(first)
    return 1 if small else min(THREADS, os.cpu_count() or 1)


def _decode(data_dir: Path, paths: list[str], out: Pictures) -> int:
    """Fill `out` [len(paths), 3, size, size]; how many pictures were decoded."""
    from PIL import Image

    size = (out.shape[3], out.shape[2])
    for position, path in enumerate(paths):
        try:
            with Image.open(path) as file:
                picture = file.convert("RGB")
        except Exception as error:  # Pillow's readers raise whatever damaged bytes lead them to
            raise UsageError(f"--data-dir {data_dir}: {path} cannot be decoded ({error})") from error
        if picture.size != size:
            picture = picture.resize(size, Image.Resampling.BILINEAR)
        out[position] = np.asarray(picture).transpose(2, 0, 1)
    return len(paths)
