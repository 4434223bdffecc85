"""Kept weights and bit-packed masks: bit by bit back, small, and no stranger's file is believed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st

from artifacts.sparse import digest_of, load_sparse, save_sparse
from configs.errors import RunError


def network(seed: int = 0, density: float = 0.1) -> tuple[dict[str, Any], dict[str, Any]]:
    rng = np.random.default_rng(seed)
    mask = rng.random((16, 9, 3, 3)) < density
    mask.flat[:2] = True
    weight = np.where(mask, rng.normal(size=mask.shape), 0).astype(np.float32)
    weight.flat[0], weight.flat[1] = -0.0, 1e-42  # a kept weight may be -0.0 or subnormal
    tensors = {
        "conv.weight": weight,
        "bn.bias": np.array([-0.0, 0.0, np.float32(np.nan)], dtype=np.float32),
        "bn.num_batches_tracked": np.array(2**40 + 1),
        "linear.weight": rng.normal(size=(3, 5)).astype(np.float32),
    }
    return tensors, {"conv.weight": mask}


def same_bits(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return a.keys() == b.keys() and digest_of(a) == digest_of(b)


def test_every_bit_comes_back(tmp_path: Path) -> None:
    tensors, masks = network()
    save_sparse(tmp_path / "x.safetensors", tensors, masks, {"arch": "résnet"})
    found = load_sparse(tmp_path / "x.safetensors")
    assert same_bits(found.tensors, tensors)
    assert found.tensors["bn.num_batches_tracked"].shape == ()
    assert found.tensors["bn.num_batches_tracked"].dtype == np.int64
    assert np.signbit(found.tensors["conv.weight"].flat[0])
    assert np.array_equal(found.masks["conv.weight"], masks["conv.weight"])
    assert found.about == {"arch": "résnet"}


def test_packing_by_hand(tmp_path: Path) -> None:
    mask = np.array([[True, False, False], [False, True, True], [False, False, True]])
    save_sparse(tmp_path / "x", {"w": np.where(mask, 7, 0).astype(np.float32)}, {"w": mask}, {})
    stored = safetensors.numpy.load_file(tmp_path / "x")
    assert stored["w.mask"].tolist() == [0b10001100, 0b10000000]
    assert stored["w.values"].tolist() == [7.0] * 4


def test_dropped_negative_zeros_become_zero(tmp_path: Path) -> None:
    weight, mask = np.array([-0.0, 2.0], dtype=np.float32), np.array([False, True])
    save_sparse(tmp_path / "x", {"w": weight}, {"w": mask}, {})
    assert not np.signbit(load_sparse(tmp_path / "x").tensors["w"]).any()


def test_the_file_is_small(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    mask = rng.random(100_000) < 0.05
    save_sparse(tmp_path / "x", {"w": np.where(mask, 1.5, 0).astype(np.float32)}, {"w": mask}, {})
    assert (tmp_path / "x").stat().st_size < 4 * int(mask.sum()) + 100_000 // 8 + 1000


@given(st.lists(st.integers(0, 5), max_size=3), st.integers(0, 2**32 - 1))
def test_any_shape(shape: list[int], seed: int) -> None:
    import tempfile

    rng = np.random.default_rng(seed)
    mask = np.asarray(rng.random(shape) < 0.5)
    weight = np.asarray(np.where(mask, rng.normal(size=shape), 0.0))
    with tempfile.TemporaryDirectory() as folder:
        save_sparse(Path(folder) / "x", {"w": weight}, {"w": mask}, {})
        found = load_sparse(Path(folder) / "x")
    assert same_bits(found.tensors, {"w": weight})
    assert np.array_equal(found.masks["w"], mask)


def test_masks_must_fit(tmp_path: Path) -> None:
    weight = np.ones(3, dtype=np.float32)
    with pytest.raises(ValueError, match="mask of w"):
        save_sparse(tmp_path / "x", {"w": weight}, {"w": np.array([True, False, True])}, {})
    with pytest.raises(ValueError, match="mask of w"):
        save_sparse(tmp_path / "x", {"w": weight}, {"w": np.ones(2, dtype=bool)}, {})
    assert not (tmp_path / "x").exists()


def forge(path: Path, values: Any, packed: Any, shape: Any, **header: Any) -> None:
    plain = {"format": "bit-packed masks 1", "shapes": {"w": shape}, "digest": "0", "about": {}}
    stored = {"w.values": np.asarray(values, dtype=np.float32), "w.mask": np.asarray(packed)}
    path.write_bytes(safetensors.numpy.save(stored, metadata={"sparse": json.dumps({**plain, **header})}))


BYTE = np.array([0b11000000], dtype=np.uint8)


@pytest.mark.parametrize(
    ("values", "packed", "shape", "header", "words"),
    [
        ([1], BYTE, [2], {}, "1 weights for 2 places"),
        ([1, 2], BYTE, [9], {}, "does not fit"),
        ([1, 2], BYTE, [1 << 40, 1 << 40], {}, "does not fit"),
        ([1, 2], BYTE, [-2], {}, "no sound shape"),
        ([1, 2], BYTE, "two", {}, "no sound shape"),
        ([1, 2], BYTE, [2.0], {}, "no sound shape"),
        ([1, 2], BYTE, [True], {}, "no sound shape"),
        ([1], np.array([0b11000000], dtype=np.uint8), [1], {}, "does not fit"),
        ([1, 2], BYTE.astype(np.int16), [2], {}, "no sound shape"),
        ([1, 2], BYTE, [2], {}, "digest"),
        ([1, 2], BYTE, [2], {"format": "another"}, "not a file"),
        ([1, 2], BYTE, [2], {"shapes": []}, "header"),
        ([1, 2], BYTE, [2], {"shapes": {"other": [2]}}, "cannot be read"),
        ([1, 2], BYTE, [2], {"about": 3}, "header"),
    ],
)
def test_forged_files_are_refused(
    values: Any, packed: Any, shape: Any, header: dict[str, Any], words: str, tmp_path: Path
) -> None:
    forge(tmp_path / "x", values, packed, shape, **header)
    with pytest.raises(RunError, match=words) as refusal:
        load_sparse(tmp_path / "x")
    assert "\n" not in str(refusal.value)


def test_a_flipped_bit_is_noticed_anywhere(tmp_path: Path) -> None:
    tensors, masks = network()
    save_sparse(tmp_path / "x", tensors, masks, {"mean": [0.5]})
    content = bytearray((tmp_path / "x").read_bytes())
    for place in np.random.default_rng(0).integers(len(content), size=60):
        damaged = bytearray(content)
        damaged[place] ^= 1
        (tmp_path / "y").write_bytes(damaged)
        try:
            found = load_sparse(tmp_path / "y")
        except RunError:
            continue
        assert same_bits(found.tensors, tensors)  # white space of the header, say
        assert found.about == {"mean": [0.5]}


@pytest.mark.parametrize("content", [b"", b"hello", b"\xff" * 100])
def test_what_is_no_safetensors_file_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(RunError, match="cannot be read"):
        load_sparse(tmp_path / "x")
    with pytest.raises(RunError, match="does not exist"):
        load_sparse(tmp_path / "absent")
