"""Folders of pictures: decoding, the cache, and every way a folder can be wrong."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from configs.errors import UsageError
from data import imagefolder
from data.base import ImageData
from data.registry import load_dataset


def save(path: Path, value: int, size: tuple[int, int] = (8, 8), mode: str = "RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(value).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(noise).convert(mode).save(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for part, count in (("train", 3), ("test", 2)):
        for label, name in enumerate(("cat", "dog")):
            for index in range(count):
                save(tmp_path / part / name / f"{index}.png", 10 * label + index)
    return tmp_path


def load(folder: Path, size: int | None = 8) -> ImageData:
    data = load_dataset("imagefolder", folder, size, seed=0, progress=False)
    assert isinstance(data, ImageData)
    return data


def caches(folder: Path) -> list[Path]:
    return sorted(folder.glob(".decoded-*"))


def test_pictures_labels_and_names(folder: Path) -> None:
    data = load(folder)
    assert data.class_names == ("cat", "dog")
    assert data.train_labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert data.test_labels.tolist() == [0, 0, 1, 1]
    with Image.open(folder / "train" / "dog" / "2.png") as picture:
        assert np.array_equal(data.train_images[5].permute(1, 2, 0).numpy(), np.asarray(picture))
    assert (data.mean, data.std) == ((0.5,) * 3, (0.25,) * 3)


def test_default_size_and_antialiased_resize(folder: Path) -> None:
    save(folder / "train" / "cat" / "0.png", 1, size=(100, 60))
    data = load(folder, None)
    assert data.image_size == 32
    with Image.open(folder / "train" / "cat" / "0.png") as picture:
        wanted = picture.resize((32, 32), Image.Resampling.BILINEAR)
    assert np.array_equal(data.train_images[0].permute(1, 2, 0).numpy(), np.asarray(wanted))
    # Noise shrunk without antialiasing keeps its spread; averaged over 3x2 pixels it loses about half.
    assert float(data.train_images[0].float().std()) < 60


@pytest.mark.parametrize(("name", "mode"), [("x.jpg", "L"), ("x.png", "RGBA"), ("x.png", "P"), ("x.jpeg", "CMYK")])
def test_every_mode_becomes_rgb(folder: Path, name: str, mode: str) -> None:
    picture = Image.new("RGB", (8, 8), (204, 204, 204)).convert(mode)
    picture.save(folder / "test" / "cat" / name)
    images = load(folder).test_images
    assert images.shape == (5, 3, 8, 8)
    assert int((images[2].int() - 204).abs().max()) <= 3


def test_hidden_folders_and_files_are_no_data(folder: Path) -> None:
    (folder / "train" / ".thumbnails").mkdir()
    (folder / "train" / "cat" / "._0.png").write_bytes(b"resource fork")
    (folder / "train" / "cat" / "notes.txt").write_text("not a picture")
    assert len(load(folder).train_images) == 6


def test_symlinks_are_followed(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("other")
    for part in ("train", "test"):
        (other / part).symlink_to(folder / part)
    assert load(other).data_hash() == load(folder).data_hash()


def test_cache_is_read_and_keyed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load(folder)
    assert len(caches(folder)) == 1
    monkeypatch.setattr(imagefolder, "_decode", None)
    assert load(folder).data_hash() == first.data_hash()
    monkeypatch.undo()
    load(folder, 16)
    assert len(caches(folder)) == 2
    os.utime(folder / "test" / "dog" / "0.png", ns=(1, 1))
    load(folder)
    assert len(caches(folder)) == 3
    (folder / "test" / "dog" / "0.png").rename(folder / "test" / "dog" / "9.png")
    load(folder)
    assert len(caches(folder)) == 4


@pytest.mark.parametrize("damage", ["flip", "truncate", "empty", "other"])
def test_damaged_cache_is_made_again(folder: Path, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    first = load(folder)
    (cache,) = caches(folder)
    content = bytearray(cache.read_bytes())
    content[len(content) // 3] ^= 1
    if damage == "other":
        np.savez(cache, train=np.zeros((1, 3, 8, 8), np.uint8), test=np.zeros((1, 3, 8, 8), np.uint8))
    else:
        cache.write_bytes({"flip": bytes(content), "truncate": bytes(content[:500]), "empty": b""}[damage])
    with caplog.at_level(logging.WARNING, logger="data"):
        assert load(folder).data_hash() == first.data_hash()
    assert "again" in caplog.text
    caplog.clear()
    assert load(folder).data_hash() == first.data_hash()
    assert not caplog.text


def test_folder_that_cannot_be_written(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError("read-only")

    monkeypatch.setattr(os, "replace", refuse)
    with caplog.at_level(logging.WARNING, logger="data"):
        assert len(load(folder).train_images) == 6
    assert "cannot be written" in caplog.text
    assert caches(folder) == []


def test_threads_give_the_same(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load(folder)
    caches(folder)[0].unlink()
    monkeypatch.setattr(imagefolder, "SMALL_FILE_BYTES", 0)
    monkeypatch.setattr(imagefolder, "CHUNK", 1)
    assert load(folder).data_hash() == first.data_hash()


def refused(folder: Path, *parts: str) -> None:
    with pytest.raises(UsageError) as caught:
        load(folder)
    message = str(caught.value)
    assert message.startswith("--data-dir ")
    assert "\n" not in message
    assert all(part in message for part in parts), message


def test_missing_folder(tmp_path: Path) -> None:
    refused(tmp_path / "nowhere", "nowhere", "no such folder")


@pytest.mark.parametrize("part", ["train", "test"])
def test_missing_part(folder: Path, part: str) -> None:
    (folder / part).rename(folder / "elsewhere")
    refused(folder, f"no folder {part}/")


@pytest.mark.parametrize("classes", [(), ("cat", "dog")])
def test_no_pictures(tmp_path: Path, classes: tuple[str, ...]) -> None:
    for part in ("train", "test"):
        for name in ("", *classes):
            (tmp_path / part / name).mkdir(parents=True, exist_ok=True)
    refused(tmp_path, "no pictures in train/<class>/", ".png")


def test_one_class(tmp_path: Path) -> None:
    for part in ("train", "test"):
        save(tmp_path / part / "cat" / "0.png", 0)
    refused(tmp_path, "one class only ('cat')")


@pytest.mark.parametrize(("part", "other"), [("train", "test"), ("test", "train")])
@pytest.mark.parametrize("empty", [True, False])
def test_class_in_one_part_only(folder: Path, part: str, other: str, empty: bool) -> None:
    save(folder / other / "fox" / "0.png", 0)
    if empty:
        (folder / part / "fox").mkdir()
    refused(folder, f"{part}/ holds no picture of class 'fox'")


@pytest.mark.parametrize("content", [b"", b"no picture", "half"])
def test_picture_that_cannot_be_decoded(folder: Path, content: bytes | str) -> None:
    bad = folder / "train" / "dog" / "1.png"
    bad.write_bytes(bad.read_bytes()[:100] if isinstance(content, str) else content)
    refused(folder, str(bad), "cannot be decoded")
    assert caches(folder) == []


def test_broken_link(folder: Path) -> None:
    (folder / "train" / "dog" / "7.png").symlink_to(folder / "gone.png")
    refused(folder, "7.png", "cannot be read")


def test_nothing_is_drawn_without_a_terminal(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    load_dataset("imagefolder", folder, 8, seed=0, progress=True)
    assert capfd.readouterr() == ("", "")


def test_labels_are_int64(folder: Path) -> None:
    assert load(folder).train_labels.dtype == torch.int64
