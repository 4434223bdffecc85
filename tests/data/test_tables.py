"""Tables: what is refused, how rows are standardised, and that they are asked about as they are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from artifacts.signals import QuerySettings
from configs.errors import UsageError
from data.augment import Augmenter, Standardiser, augmenter_for, query_views
from data.base import ImageData, TableData
from data.registry import load_dataset
from models.registry import build_model
from training.query import NOISE_SEED, query


@pytest.fixture
def data() -> TableData:
    return TableData(
        train_features=torch.arange(6.0).reshape(3, 2),
        train_labels=torch.tensor([0, 1, 0]),
        test_features=torch.zeros(2, 2),
        test_labels=torch.tensor([1, 0]),
        class_names=("no", "yes"),
        mean=(1.0, 2.0),
        std=(0.5, 4.0),
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train_features": torch.zeros(3, 2, dtype=torch.float64)}, "features must be contiguous float32"),
        ({"test_features": torch.zeros(2, 2, 1)}, "test set: features must be contiguous float32"),
        ({"test_features": torch.zeros(2, 3)}, "differ in their number of features: 2 and 3"),
        ({"train_features": torch.zeros(3, 0)}, "rows need one feature or more"),
        ({"test_features": torch.tensor([[0.0, torch.inf], [0.0, 0.0]])}, "test set: a feature is NaN or infinite"),
        ({"train_labels": torch.tensor([0, 1, 2])}, "labels run from 0 to 2, allowed: 0 to 1"),
        ({"mean": (1.0,)}, "finite mean and std > 0 are needed for each of 2 features"),
        ({"mean": (1.0, float("nan"))}, "finite mean"),
        ({"std": (1.0, 0.0)}, "std > 0"),
    ],
)
def test_refuses(data: TableData, change: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        replace(data, **change)


def test_hash_covers_the_features(data: TableData) -> None:
    assert replace(data).data_hash() == data.data_hash()
    assert replace(data, train_features=data.train_features + 1).data_hash() != data.data_hash()


def test_rows_are_standardised_and_left_alone(data: TableData) -> None:
    augmenter = augmenter_for(data, "none", "cpu")
    before = data.train_features.clone()
    generator = torch.Generator().manual_seed(0)
    state = generator.get_state()
    found = augmenter.apply(data.train_features, augmenter.draw(3, generator))
    assert torch.equal(found, torch.tensor([[-2.0, -0.25], [2.0, 0.25], [6.0, 0.75]]))
    assert torch.equal(data.train_features, before)
    assert torch.equal(generator.get_state(), state)


def test_a_feature_far_from_zero_keeps_its_digits() -> None:
    rows = torch.tensor([[1e6], [1e6 + 1]])
    assert Standardiser("none", [1e6], [1e-3], "cpu").normalise(rows).flatten().tolist() == [0.0, 1000.0]


def test_nothing_is_augmented_and_there_is_one_query(data: TableData) -> None:
    with pytest.raises(UsageError, match="--augment flip: is for pictures"):
        augmenter_for(data, "flip", "cpu")
    assert query_views(data.train_features, 0) is data.train_features
    with pytest.raises(ValueError, match="query 1: allowed are 0 to 0"):
        query_views(data.train_features, 1)


def test_the_digits_as_a_table_are_the_digits() -> None:
    pictures, table = (load_dataset(name, Path(), None, 0, False) for name in ("digits", "digits_table"))
    assert isinstance(pictures, ImageData)
    assert (table.example_shape, len(table.train_labels), len(table.test_labels)) == ((64,), 1400, 397)
    assert torch.equal(table.train_labels, pictures.train_labels)
    assert float(table.train_inputs.max()) == 16
    inputs = augmenter_for(table, "none", "cpu").normalise(table.test_inputs)
    augmenter = augmenter_for(pictures, "none", "cpu")
    assert isinstance(augmenter, Augmenter)
    seen = augmenter.normalise(pictures.test_images).flatten(1)
    assert float((inputs - seen).abs().max()) < 4 / 255 / 2 + 1e-6  # the pictures' rounding to bytes


def test_the_synthetic_table_is_seeded_noise() -> None:
    first, again, second = (load_dataset("synthetic_table", Path(), None, seed, False) for seed in (0, 0, 1))
    assert first.data_hash() == again.data_hash() != second.data_hash()
    assert (first.example_shape, len(first.train_labels), len(first.test_labels)) == ((32,), 512, 128)
    assert float(first.train_inputs.mean()) == pytest.approx(0.5, abs=0.01)


def test_samia_adds_its_noise_to_the_standardised_row() -> None:
    data = load_dataset("synthetic_table", Path(), None, 0, False)
    model = build_model("mlp", 2, None, 32, 10).eval()
    augmenter = augmenter_for(data, "none", "cpu")
    rows, labels = data.train_inputs[:7], data.train_labels[:7].numpy()
    logits, phis, found = query(model, rows, labels, augmenter, QuerySettings(1, samia=True, draws=2, eps=0.1))
    assert phis.shape == (7, 1)
    generator = torch.Generator().manual_seed(NOISE_SEED)
    total = torch.zeros(7, 10, dtype=torch.float64)
    with torch.no_grad():
        inputs = (rows - 0.5) / 0.25
        plain = model(inputs).double().softmax(1)
        for _ in range(2):
            noisy = inputs + 0.1 * torch.randn(7, 32, generator=generator)
            total += (model(noisy).double().softmax(1) - plain).abs()
    assert found is not None
    np.testing.assert_allclose(found, total / (2 * 0.1), rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(logits, model(inputs).detach(), rtol=1e-5)
