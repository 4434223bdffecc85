"""The dataset registry: cheap to import, complete, strict about its arguments."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from pkgutil import resolve_name

import numpy as np
import pytest
import torch

from configs.errors import UsageError
from data.registry import DATASETS, folder_name, load_dataset
from data.splits import draw_pool

EMBEDDED = ("digits", "synthetic", "digits_table", "synthetic_table")


def test_import_is_light() -> None:
    code = (
        "import sys, data.registry, models.registry;"
        "print({'torch', 'torchvision', 'numpy', 'sklearn', 'PIL'} & set(sys.modules) or 'light')"
    )
    root = Path(__file__).resolve().parents[2]
    answer = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "light"


def test_pictures_of_the_users_own_come_from_a_folder() -> None:
    assert DATASETS["imagefolder"].needs_folder
    assert not any(DATASETS[name].needs_folder for name in (*EMBEDDED, "cifar10", "svhn"))


@pytest.mark.parametrize("name", DATASETS)
def test_loaders_resolve(name: str) -> None:
    assert callable(resolve_name(DATASETS[name].load))
    assert DATASETS[name].summary


@pytest.mark.parametrize("name", EMBEDDED)
def test_embedded_sets_need_no_files(name: str, tmp_path: Path) -> None:
    data = load_dataset(name, tmp_path / "absent", None, seed=3, progress=False)
    again = load_dataset(name, tmp_path / "absent", None, seed=3, progress=True)
    assert data.data_hash() == again.data_hash()
    assert not list(tmp_path.iterdir())
    count = data.example_shape[0]
    scale = 16 if name == "digits_table" else 1
    assert (data.mean, data.std) == ((0.5 * scale,) * count, (0.25 * scale,) * count)


def test_unknown_dataset(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--dataset mnist: unknown dataset; allowed: "):
        load_dataset("mnist", tmp_path, None, 0, False)


def test_image_size_belongs_to_imagefolder(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--image-size 16: --dataset digits has a fixed picture size"):
        load_dataset("digits", tmp_path, 16, 0, False)


@pytest.mark.parametrize("size", [0, 3, 1025])
def test_image_size_range(size: int, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"--image-size {size}: out of range; allowed: 4 to 1024"):
        load_dataset("imagefolder", tmp_path, size, 0, False)


def test_digits() -> None:
    data = load_dataset("digits", Path(), None, 0, False)
    assert data.train_inputs.shape == (1400, 1, 8, 8)
    assert data.test_inputs.shape == (397, 1, 8, 8)
    assert (int(data.train_inputs.min()), int(data.train_inputs.max())) == (0, 255)
    assert data.class_names == tuple("0123456789")
    share = torch.bincount(data.train_labels) / (torch.bincount(data.train_labels) + torch.bincount(data.test_labels))
    assert float((share - 1400 / 1797).abs().max()) < 0.01
    # Same pictures in every version of every package, or results stop being comparable.
    assert data.data_hash() == "14068b074dc8a3132b721d4a57b1840e84eb6d5c997ddb8ebad1a2eb9df07b32"


def test_digits_keep_every_picture_once() -> None:
    from sklearn.datasets import load_digits

    values, labels = load_digits(return_X_y=True)
    data = load_dataset("digits", Path(), None, 0, False)
    both = torch.cat([data.train_inputs, data.test_inputs]).reshape(1797, 64).double() * 16 / 255
    assert np.allclose(np.sort(both.round().sum(dim=1)), np.sort(values.sum(axis=1)))
    assert torch.bincount(torch.cat([data.train_labels, data.test_labels])).tolist() == np.bincount(labels).tolist()
    assert data.train_labels[0] == labels[draw_pool(labels, 1400, 1797)[0]]


def test_synthetic_is_seeded_balanced_noise() -> None:
    first, second = (load_dataset("synthetic", Path(), None, seed, False) for seed in (0, 1))
    assert first.data_hash() != second.data_hash()
    assert first.train_inputs.shape == (512, 3, 16, 16)
    assert first.test_inputs.shape == (128, 3, 16, 16)
    counts = torch.bincount(first.train_labels)
    assert int(counts.max() - counts.min()) <= 1
    assert abs(float(first.train_inputs.float().mean()) - 127.5) < 1


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("/data/my pictures (2)", "my-pictures-2"),
        ("/data/cats_v1.0/", "cats_v1.0"),
        ("/data/x/..", "data"),
        ("/data/.hidden", "hidden"),
        ("/", "imagefolder"),
        ("/data/ねこ", "imagefolder"),
        ("/data/...", "imagefolder"),
    ],
)
def test_folder_name(folder: str, name: str) -> None:
    assert folder_name(Path(folder)) == name


def test_folder_name_of_the_current_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "flowers").mkdir()
    monkeypatch.chdir(tmp_path / "flowers")
    assert folder_name(Path()) == "flowers"
