"""The arrays of an evaluation are named after cells, and a cell may be called anything."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from evaluation.write import write_arrays


def test_a_cell_may_be_called_what_numpy_calls_its_parameters(tmp_path: Path) -> None:
    arrays = {"file": np.arange(3), "allow_pickle": np.array([[True, False]]), "target_000/lira": np.array([0.5, -0.0])}
    first = write_arrays(tmp_path / "a.npz", arrays)
    with np.load(tmp_path / "a.npz", allow_pickle=False) as stored:
        assert set(stored.files) == set(arrays)
        for name, array in arrays.items():
            assert stored[name].dtype == array.dtype
            assert stored[name].tobytes() == array.tobytes()
    assert write_arrays(tmp_path / "b.npz", arrays) == first
