from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tinygrad_effnet.data import (
    Dataset,
    ImageFolder,
    MemoryCache,
    Subset,
    SyntheticCars,
    read_picture,
    stratified_split,
)


def _folder(root: Path, counts: dict[str, int]) -> Path:
    for name, count in counts.items():
        (root / name).mkdir(parents=True)
        for i in range(count):
            Image.new("RGB", (30, 20), (i, 0, 0)).save(root / name / f"{i:02d}.png")
    return root


@given(st.lists(st.integers(0, 5), max_size=80), st.floats(0.05, 0.95), st.integers(0, 2**40))
def test_stratified_split_holds_out_a_part_of_each_class(labels, fraction, seed):
    train, val = stratified_split(np.array(labels, dtype=np.int64), fraction, seed)
    assert sorted([*train.tolist(), *val.tolist()]) == list(range(len(labels)))
    assert train.tolist() == sorted(train.tolist())
    assert val.tolist() == sorted(val.tolist())
    chosen = np.array(labels, dtype=np.int64)[val]
    for label in set(labels):
        count, held = labels.count(label), int((chosen == label).sum())
        if count < 2:
            assert held == 0
        else:
            assert 1 <= held <= count - 1
            assert abs(held - fraction * count) <= 1
    again = stratified_split(np.array(labels, dtype=np.int64), fraction, seed)
    np.testing.assert_array_equal(val, again[1])


def test_seeds_split_differently():
    labels = np.repeat(np.arange(3), 20)
    assert stratified_split(labels, 0.2, 0)[1].tolist() != stratified_split(labels, 0.2, 1)[1].tolist()


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, float("nan")])
def test_bad_fraction(fraction: float):
    with pytest.raises(ValueError, match="fraction: got"):
        stratified_split([0, 0, 1, 1], fraction)


def test_labels_must_be_flat():
    with pytest.raises(ValueError, match=r"labels: got shape \(1, 2\)"):
        stratified_split([[0, 1]])


def test_subset_maps_everything(counting):
    part = Subset(counting(), [4, 1])
    assert isinstance(part, Dataset)
    assert len(part) == 2
    assert part.labels.tolist() == [0, 1]
    assert part[0][0].shape == (20, 60, 3)
    assert part.source(1) == "number 1"
    assert "2 of 6 pictures" in part.describe()
    assert part.read(0, 10).shape == (10, 30, 3)


@pytest.mark.parametrize("index", [-1, 6])
def test_subset_out_of_range(counting, index: int):
    with pytest.raises(IndexError, match=f"indices: {index} lies outside"):
        Subset(counting(), [0, index])


def test_read_picture_never_enlarges(counting):
    assert read_picture(counting(), 0, 100).shape == (20, 20, 3)
    assert read_picture(counting(), 1, 10).shape == (10, 15, 3)


def test_protocol_is_met_by_all_sets(tmp_path: Path):
    folder = ImageFolder(_folder(tmp_path, {"a": 1}))
    for dataset in (folder, SyntheticCars("val", 1, 16), MemoryCache(folder), Subset(folder, [0])):
        assert isinstance(dataset, Dataset)
