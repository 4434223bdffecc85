"""The downloaded sets, on tiny files in their real formats; no test touches a network."""

from __future__ import annotations

import gzip
import os
import pickle
import shutil
import tarfile
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import pytest
import scipy.io
from torchvision.datasets import cifar, mnist, svhn, utils

from configs.errors import UsageError
from data import torchvision_sets
from data.registry import load_dataset

NAMES = ("cifar10", "cifar100", "fashion_mnist", "svhn")
RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        print("a line for stdout")
        raise URLError("no\nroute")

    monkeypatch.setattr(utils, "_urlretrieve", refuse)
    monkeypatch.setattr(utils, "_get_redirect_url", refuse)


@pytest.fixture
def any_md5(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the tiny files below pass for the published ones."""
    for module in (cifar, mnist, svhn, utils):
        monkeypatch.setattr(module, "check_integrity", lambda path, md5=None: os.path.isfile(path))


def write_cifar(root: Path, fine: bool) -> None:
    folder = root / ("cifar-100-python" if fine else "cifar-10-batches-py")
    folder.mkdir(parents=True)
    classes = 100 if fine else 10
    batches = ["train", "test"] if fine else [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]
    key = "fine_labels" if fine else "labels"
    for batch in batches:
        data = RNG.integers(0, 256, (classes, 3072), dtype=np.uint8)
        (folder / batch).write_bytes(pickle.dumps({"data": data, key: list(range(classes))}))
    meta, names = ("meta", "fine_label_names") if fine else ("batches.meta", "label_names")
    (folder / meta).write_bytes(pickle.dumps({names: [f"name{i}" for i in range(classes)]}))


def idx(values: np.ndarray) -> bytes:
    header = bytes([0, 0, 8, values.ndim]) + b"".join(size.to_bytes(4, "big") for size in values.shape)
    return header + values.tobytes()


def write_fashion(root: Path) -> None:
    raw = root / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for part, count in (("train", 30), ("t10k", 20)):
        pictures = RNG.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        (raw / f"{part}-images-idx3-ubyte").write_bytes(idx(pictures))
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(idx((np.arange(count) % 10).astype(np.uint8)))


def write_svhn(root: Path) -> None:
    root.mkdir(exist_ok=True)
    for part, count in (("train", 30), ("test", 20)):
        pictures = RNG.integers(0, 256, (32, 32, 3, count), dtype=np.uint8)
        labels = (np.arange(count) % 10 + 1).astype(np.uint8)[:, None]
        scipy.io.savemat(root / f"{part}_32x32.mat", {"X": pictures, "y": labels})


def write(name: str, root: Path) -> None:
    if name.startswith("cifar"):
        write_cifar(root, fine=name == "cifar100")
    else:
        {"fashion_mnist": write_fashion, "svhn": write_svhn}[name](root)


@pytest.mark.usefixtures("any_md5")
@pytest.mark.parametrize(
    ("name", "shape", "train", "test"),
    [
        ("cifar10", (3, 32, 32), 50, 10),
        ("cifar100", (3, 32, 32), 100, 100),
        ("fashion_mnist", (1, 28, 28), 30, 20),
        ("svhn", (3, 32, 32), 30, 20),
    ],
)
def test_present_files_need_no_network(
    name: str, shape: tuple[int, ...], train: int, test: int, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write(name, tmp_path)
    data = load_dataset(name, tmp_path, None, seed=0, progress=True)
    assert data.train_inputs.shape == (train, *shape)
    assert data.test_inputs.shape == (test, *shape)
    assert data.num_classes == (100 if name == "cifar100" else 10)
    assert len(data.mean) == shape[0]
    assert data.mean != (0.5,) * shape[0]
    assert capfd.readouterr() == ("", "")


@pytest.mark.usefixtures("any_md5")
def test_layout_is_channels_rows_columns(tmp_path: Path) -> None:
    write_cifar(tmp_path, fine=False)
    write_svhn(tmp_path)
    batch = pickle.loads((tmp_path / "cifar-10-batches-py" / "test_batch").read_bytes())
    cifar10 = load_dataset("cifar10", tmp_path, None, 0, False)
    assert np.array_equal(cifar10.test_inputs[3].numpy(), batch["data"][3].reshape(3, 32, 32))
    assert cifar10.class_names[2] == "name2"
    stored = scipy.io.loadmat(tmp_path / "test_32x32.mat")
    svhn_data = load_dataset("svhn", tmp_path, None, 0, False)
    assert np.array_equal(svhn_data.test_inputs[9].numpy(), stored["X"][:, :, :, 9].transpose(2, 0, 1))
    assert int(svhn_data.test_labels[9]) == 0  # the file's label for the digit 0 is 10


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("cifar10", "cifar-10-python.tar.gz"),
        ("cifar100", "cifar-100-python.tar.gz"),
        ("fashion_mnist", "FashionMNIST/raw/t10k-labels-idx1-ubyte.gz"),
        ("svhn", "test_32x32.mat"),
    ],
)
@pytest.mark.parametrize("present", [True, False])
def test_download_that_fails(
    name: str, file: str, present: bool, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "pictures"
    if present:
        folder.mkdir()
    with pytest.raises(UsageError) as caught:
        load_dataset(name, folder, None, seed=0, progress=True)
    message = str(caught.value)
    assert "\n" not in message
    for part in (f"--dataset {name}: cannot download", "--dataset digits", "--dataset imagefolder --data-dir DIR"):
        assert part in message
    assert str(folder / file) in message
    assert capfd.readouterr() == ("", "")
    assert folder.exists() == present
    assert list(tmp_path.rglob("*")) == [folder] * present


def test_a_download_clears_what_a_killed_one_left_and_nothing_else(tmp_path: Path) -> None:
    left, under_way, elsewhere = tmp_path / ".download-left", tmp_path / ".download-busy", tmp_path / "elsewhere"
    for folder in (left, under_way, elsewhere):
        folder.mkdir()
        (folder / "part").write_bytes(b"half")
    (tmp_path / ".download-link").symlink_to(elsewhere)
    with torchvision_sets._held(under_way) as ours:
        assert ours
        with pytest.raises(UsageError):
            load_dataset("cifar10", tmp_path, None, seed=0, progress=False)
    assert not left.exists()
    assert (under_way / "part").exists()
    assert (elsewhere / "part").exists()


@pytest.mark.parametrize("name", NAMES)
def test_archives_listed_are_those_torchvision_wants(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[str] = []

    def note(url: str, root: Any, filename: str, md5: str) -> None:
        asked.append(filename)
        raise URLError("stop")

    for module, function in ((cifar, "download_and_extract_archive"), (mnist, "download_and_extract_archive")):
        monkeypatch.setattr(module, function, lambda url, download_root, filename, md5: note(url, "", filename, md5))
    monkeypatch.setattr(svhn, "download_url", note)
    with pytest.raises(UsageError) as caught:
        load_dataset(name, tmp_path, None, 0, False)
    assert asked
    assert all(f"/{file}" in str(caught.value) for file in asked)


def test_archive_put_in_place_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = tmp_path / "made"
    write_cifar(made, fine=False)
    folder = tmp_path / "pictures"
    folder.mkdir()
    with tarfile.open(folder / "cifar-10-python.tar.gz", "w:gz") as archive:
        archive.add(made / "cifar-10-batches-py", "cifar-10-batches-py")
    for module in (cifar, utils):
        monkeypatch.setattr(module, "check_integrity", lambda path, md5=None: os.path.isfile(path))
    monkeypatch.setattr(utils, "_extract_tar", lambda source, target, _: shutil.unpack_archive(source, target, "gztar"))
    monkeypatch.setattr(shutil, "unpack_archive", unpack)
    first = load_dataset("cifar10", folder, None, 0, False)
    assert sorted(path.name for path in folder.iterdir()) == ["cifar-10-batches-py", "cifar-10-python.tar.gz"]
    (folder / "cifar-10-python.tar.gz").unlink()
    assert load_dataset("cifar10", folder, None, 0, False).data_hash() == first.data_hash()


def unpack(source: str, target: str, _: str) -> None:
    """Unpack with the filter named: from 3.12 on, leaving it out is a DeprecationWarning."""
    with tarfile.open(source) as archive:
        archive.extractall(target, filter="data")


def test_fashion_archives_put_in_place_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_fashion(tmp_path)
    raw = tmp_path / "FashionMNIST" / "raw"
    for path in list(raw.iterdir()):
        (raw / f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    for module in (mnist, utils):
        monkeypatch.setattr(module, "check_integrity", lambda path, md5=None: os.path.isfile(path))
    assert len(load_dataset("fashion_mnist", tmp_path, None, 0, False).train_inputs) == 30
    assert (raw / "train-images-idx3-ubyte").is_file()


@pytest.mark.usefixtures("any_md5")
def test_damaged_files_are_named(tmp_path: Path) -> None:
    write_fashion(tmp_path)
    path = tmp_path / "FashionMNIST" / "raw" / "train-images-idx3-ubyte"
    path.write_bytes(b"\x00\x00\x08\x03")
    with pytest.raises(UsageError, match="fashion_mnist"):
        load_dataset("fashion_mnist", tmp_path, None, 0, False)
    write_svhn(tmp_path)
    (tmp_path / "train_32x32.mat").write_bytes(b"junk")
    with pytest.raises(UsageError, match=r"--data-dir .*svhn files there cannot be read .*remove them"):
        load_dataset("svhn", tmp_path, None, 0, False)
