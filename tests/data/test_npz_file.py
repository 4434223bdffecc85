"""Data of the user's own in one file: what is read, what it is normalised with, and what is refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from configs.errors import UsageError
from data.base import DataSet, ImageData, TableData
from data.npz_file import kind_of
from data.registry import file_name, load_dataset
from tests.repository import REPOSITORY

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (12, 3, 8, 8), dtype=np.uint8)
ROWS = RNG.normal(size=(12, 5))
LABELS = np.arange(8) % 2
BAD = Path("bad.npz")


def parts(x: Any, **others: Any) -> dict[str, Any]:
    """The arrays of a file: the first eight examples for training, the others for testing."""
    return {"train_x": x[:8], "train_y": LABELS, "test_x": x[8:], "test_y": LABELS[:4].astype(np.uint8), **others}


def load(path: Path, arrays: dict[str, Any]) -> DataSet:
    np.savez(path, **arrays)
    return load_dataset(kind_of(path), path, None, seed=0, progress=False)


def test_both_orders_of_axes_are_the_same_pictures(tmp_path: Path) -> None:
    first = load(tmp_path / "a.npz", parts(PIXELS))
    last = load(tmp_path / "b.npz", parts(PIXELS.transpose(0, 2, 3, 1)))
    assert isinstance(first, ImageData)
    assert torch.equal(first.train_images, torch.from_numpy(PIXELS[:8]))
    assert (first.mean, first.std, first.class_names) == ((0.5,) * 3, (0.25,) * 3, ("0", "1"))
    assert first.train_labels.tolist() == LABELS.tolist()
    assert last.data_hash() == first.data_hash()


def test_pictures_without_channels_have_one(tmp_path: Path) -> None:
    data = load(tmp_path / "a.npz", parts(PIXELS[:, 0], mean=np.array([0.4]), std=np.array([0.3])))
    assert data.example_shape == (1, 8, 8)
    assert (data.mean, data.std) == ((0.4,), (0.3,))


def test_a_table_is_normalised_by_the_range_of_its_test_set(tmp_path: Path) -> None:
    rows = ROWS.copy()
    rows[8:, 3] = 2.0  # does not vary in the test set
    rows[:, 4] = [0, 1] * 6  # yes or no
    rows[0, 4] = -0.0
    data = load(tmp_path / "a.npz", parts(rows))
    assert isinstance(data, TableData)
    test = rows[8:].astype(np.float32)
    assert data.mean == pytest.approx(test.min(0))
    assert data.std == pytest.approx([*np.ptp(test[:, :3], axis=0), 1, 1])
    assert torch.equal(data.train_features, torch.from_numpy(rows[:8].astype(np.float32)))
    assert not torch.signbit(
        data.train_features[0, 4]
    )  # equal numbers, equal bytes: or equal rows would not be counted
    rows[:8] *= 100
    assert load(tmp_path / "b.npz", parts(rows)).mean == data.mean


def test_constants_of_its_own_come_first_and_every_array_counts(tmp_path: Path) -> None:
    own = {"mean": np.arange(5), "std": np.full(5, 2, np.float32)}
    data = load(tmp_path / "a.npz", parts(ROWS, **own))
    assert (data.mean, data.std) == ((0.0, 1.0, 2.0, 3.0, 4.0), (2.0,) * 5)
    changed = ROWS.copy()
    changed[11, 4] += 1
    hashes = [load(tmp_path / "b.npz", arrays).data_hash() for arrays in (parts(ROWS), parts(changed, **own))]
    assert len({data.data_hash(), *hashes}) == 3


def test_the_file_names_the_cell() -> None:
    assert file_name(Path("/data/purchase100.npz")) == "purchase100"
    assert file_name(Path("my table (2).v1.npz")) == "my-table-2-.v1"
    assert file_name(Path("データ.npz")) == "npz"


NAN, LARGE = ROWS.copy(), ROWS.copy()
NAN[3, 2], LARGE[3, 2] = np.nan, 1e300
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no test_y": ({name: array for name, array in parts(ROWS).items() if name != "test_y"}, "has no array test_y"),
    "another array": (parts(ROWS, names=np.zeros(2)), "has an array 'names', which is none of train_x, "),
    "float pictures": (parts(PIXELS / 255), r"train_x of float64 \[8, 3, 8, 8\]; pictures are uint8"),
    "integer table": (parts(ROWS.astype(np.int64)), r"train_x of int64 \[8, 5\]; .* a table is float \[N, F\]"),
    "two kinds": (parts(ROWS, test_x=PIXELS[8:]), "train_x of float64 and a test_x of uint8; they must be of one kind"),
    "NaN": (parts(NAN), "training set: a feature is NaN or infinite"),
    "beyond float32": (parts(LARGE), "training set: a feature is NaN or infinite"),
    "columns": (parts(ROWS, test_x=ROWS[8:, :4]), "differ in their number of features: 5 and 4"),
    "no test row": (parts(ROWS, test_x=ROWS[:0], test_y=LABELS[:0]), r"test_x of shape \[0, 5\]"),
    "one number": (parts(ROWS, test_x=np.float64(1)), r"test_x of shape \[1\]"),
    "negative": (parts(ROWS, train_y=LABELS - 1), r"has the labels -1, 0, 1; they must be 0 to K - 1, each there"),
    "from 1": (parts(ROWS, train_y=LABELS + 1, test_y=LABELS[:4] + 1), "has the labels 1, 2; they must be 0 to K - 1"),
    "a gap": (parts(ROWS, train_y=LABELS * 10**9), "has the labels 0, 1, 1000000000; they must be"),
    "unseen class": (parts(ROWS, test_y=np.zeros(4, int)), "test set: class '1' has no example"),
    "float labels": (parts(ROWS, train_y=LABELS / 2), r"train_y of float64 \[8\]; it must be integers \[8\]"),
    "few labels": (parts(ROWS, train_y=LABELS[:7]), r"train_y of int64 \[7\]; it must be integers \[8\]"),
    "mean alone": (parts(ROWS, mean=np.zeros(5)), "has mean alone; mean and std go together"),
    "constants": (parts(ROWS, mean=np.zeros(5), std=np.ones(4)), r"a std of float64 \[4\]; it must be numbers \[5\]"),
    "std of 0": (parts(ROWS, mean=np.zeros(5), std=np.zeros(5)), "finite mean and std > 0 are needed"),
    "no channel axis": (parts(RNG.integers(0, 9, (12, 8, 8, 8), dtype=np.uint8)), "which may be .N, C, H, H. or "),
    "not square": (parts(PIXELS[:, :, :, :7]), r"train_x of shape \[8, 3, 8, 7\]; pictures must be square"),
    "small": (parts(PIXELS[:, :, :3, :3][:, :1]), "4 pixels or more a side"),
    "pickled": (parts(ROWS, train_y=np.array([{}] * 8)), "is refused: an array in it holds object, not numbers"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals_name_the_file_in_one_line(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    arrays, words = REFUSED[case]
    with pytest.raises(UsageError, match=words) as refusal:
        load(BAD, arrays)
    assert str(refusal.value).startswith("--dataset bad.npz: ")
    assert "\n" not in str(refusal.value)


def test_what_is_no_archive_or_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    with pytest.raises(UsageError, match=r"a\.npz: does not exist"):
        kind_of(path)
    np.savez(path, **parts(ROWS))
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], b"no archive", b""):
        path.write_bytes(content)
        with pytest.raises(UsageError, match=r"a\.npz: cannot be read as arrays"):
            kind_of(path)
    damaged = bytearray(whole)
    damaged[whole.index(ROWS[:8].tobytes()) + 9] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(UsageError, match=r"a\.npz: cannot be read as arrays \(BadZipFile\)"):
        load_dataset(kind_of(path), path, None, 0, False)


def test_a_file_of_the_other_kind(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **parts(ROWS))
    with pytest.raises(UsageError, match=r"a\.npz: holds a table now; give it as --dataset "):
        load_dataset("npz", tmp_path / "a.npz", None, 0, False)


def test_the_pages_lines_convert_the_classics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On files of the forms that the page names, a few rows each."""
    monkeypatch.chdir(tmp_path)
    text = (REPOSITORY / "docs" / "data.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    bits = RNG.integers(0, 2, (40, 6))
    labels = np.arange(40) % 2 + 1
    for name, label in (("dataset_purchase", "{}"), ("bangkok", '"{}"')):
        lines = [",".join([label.format(one), *map(str, row)]) for one, row in zip(labels, bits, strict=True)]
        Path(name).write_text("\n".join(lines) + "\n")
    Path("texas/100").mkdir(parents=True)
    Path("texas/100/feats").write_text("\n".join(",".join(map(str, row)) for row in bits))
    Path("texas/100/labels").write_text("\n".join(map(str, labels)))
    exec(code, {})
    found = [load_dataset("npz_table", Path(f"{name}.npz"), None, 0, False) for name in ("purchase100", "location")]
    found.append(load_dataset("npz_table", Path("texas100.npz"), None, 0, False))
    for data in found:
        assert (len(data.train_labels), len(data.test_labels), data.num_classes) == (36, 4, 2)
        both = torch.cat([data.train_inputs, data.test_inputs])
        assert sorted(both.tolist()) == sorted(bits.tolist())
        assert data.data_hash() == found[0].data_hash()
