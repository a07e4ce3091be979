from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tinygrad_effnet.data import (
    Dataset,
    DatasetError,
    ImageFolder,
    MemoryCache,
    Subset,
    SyntheticCars,
    open_data,
    read_picture,
    stratified_split,
)


class Counting:
    """Pictures of growing width that count how often they are made."""

    def __init__(self, count: int = 6) -> None:
        self.class_names = ["even", "odd"]
        self.labels = np.arange(count, dtype=np.int64) % 2
        self.made: list[int] = []

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        self.made.append(index)
        return np.full((20, 20 + 10 * index, 3), index, dtype=np.uint8), int(self.labels[index])

    def source(self, index: int) -> str:
        return f"number {index}"

    def describe(self) -> str:
        return "counting"


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


def test_subset_maps_everything():
    part = Subset(Counting(), [4, 1])
    assert isinstance(part, Dataset)
    assert len(part) == 2
    assert part.labels.tolist() == [0, 1]
    assert part[0][0].shape == (20, 60, 3)
    assert part.source(1) == "number 1"
    assert "2 of 6 pictures" in part.describe()
    assert part.read(0, 10).shape == (10, 30, 3)


@pytest.mark.parametrize("index", [-1, 6])
def test_subset_out_of_range(index: int):
    with pytest.raises(IndexError, match=f"indices: {index} lies outside"):
        Subset(Counting(), [0, index])


def test_read_picture_never_enlarges():
    assert read_picture(Counting(), 0, 100).shape == (20, 20, 3)
    assert read_picture(Counting(), 1, 10).shape == (10, 15, 3)


def test_cache_decodes_once_and_reduces():
    dataset = Counting()
    cache = MemoryCache(dataset, cache_size=10)
    for _ in range(3):
        for i in range(len(cache)):
            picture, label = cache[i]
            assert picture.shape == (10, round((20 + 10 * i) / 2), 3)
            assert (picture == i).all()
            assert label == i % 2
    assert sorted(dataset.made) == list(range(6))
    assert cache.nbytes == sum(10 * round((20 + 10 * i) / 2) * 3 for i in range(6))
    assert cache[-1][0].shape == cache[5][0].shape
    with pytest.raises(IndexError, match="got 6"):
        cache[6]


def test_cache_keeps_to_its_memory_limit():
    dataset = Counting()
    cache = MemoryCache(dataset, max_bytes=20 * 20 * 3)
    for _ in range(2):
        for i in range(len(cache)):
            assert (cache[i][0] == i).all()
    assert cache.nbytes == 20 * 20 * 3
    assert dataset.made.count(0) == 1
    assert dataset.made.count(1) == 2


def test_cached_pictures_cannot_be_spoilt():
    picture, _ = MemoryCache(Counting())[0]
    with pytest.raises(ValueError, match="read-only"):
        picture[0] = 1


def test_cache_arguments():
    with pytest.raises(ValueError, match="cache_size: got 0"):
        MemoryCache(Counting(), 0)
    with pytest.raises(ValueError, match="max_bytes: got -1"):
        MemoryCache(Counting(), max_bytes=-1)


def test_protocol_is_met_by_all_sets(tmp_path: Path):
    folder = ImageFolder(_folder(tmp_path, {"a": 1}))
    for dataset in (folder, SyntheticCars("val", 1, 16), MemoryCache(folder), Subset(folder, [0])):
        assert isinstance(dataset, Dataset)


def test_open_data_without_a_path_is_synthetic():
    split = open_data(None, size=16, seed=4, images_per_class=(3, 2))
    assert "synthetic" in split.description
    assert len(split.train) == 3 * len(split.class_names)
    assert len(split.val) == 2 * len(split.class_names)
    assert split.train[0][0].shape == (16, 16, 3)


def test_open_data_splits_a_folder(tmp_path: Path):
    split = open_data(_folder(tmp_path, {"a": 10, "b": 5}), val_fraction=0.2)
    assert split.class_names == ["a", "b"]
    assert np.bincount(split.train.labels).tolist() == [8, 4]
    assert np.bincount(split.val.labels).tolist() == [2, 1]
    train, val = ({d.source(i) for i in range(len(d))} for d in (split.train, split.val))
    assert not train & val
    assert "12 for training, 3 held out" in split.description


@pytest.mark.parametrize("names", [("train", "val"), ("Train", "Test"), ("training", "validation")])
def test_open_data_takes_a_given_split(tmp_path: Path, names: tuple[str, str]):
    _folder(tmp_path / names[0], {"a": 3, "b": 2})
    _folder(tmp_path / names[1], {"a": 1, "b": 2})
    split = open_data(tmp_path)
    assert (len(split.train), len(split.val)) == (5, 3)
    assert split.class_names == ["a", "b"]


def test_given_split_must_have_the_same_classes(tmp_path: Path):
    _folder(tmp_path / "train", {"a": 3})
    _folder(tmp_path / "val", {"a": 1, "c": 1})
    with pytest.raises(DatasetError, match="lacks: c"):
        open_data(tmp_path)


def test_chosen_classes_apply_to_both_parts_of_a_given_split(tmp_path: Path):
    _folder(tmp_path / "train", {"a": 3, "b": 1})
    _folder(tmp_path / "val", {"a": 1, "c": 1})
    split = open_data(tmp_path, classes=["a"])
    assert split.class_names == ["a"]
    assert (len(split.train), len(split.val)) == (3, 1)


def test_open_data_errors(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        open_data(tmp_path / "nowhere")
    with pytest.raises(DatasetError, match="none can be held out"):
        open_data(_folder(tmp_path / "single", {"a": 1, "b": 1}))
