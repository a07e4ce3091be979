from __future__ import annotations

import multiprocessing
import operator
import os
from multiprocessing.reduction import ForkingPickler
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tinygrad_effnet.data import FileCache, ImageFolder, ImageList, ImageReadError, Subset, SyntheticCars, read_picture


@pytest.fixture
def photographs(tmp_path: Path) -> ImageFolder:
    rng = np.random.default_rng(0)
    for i in range(7):
        folder = tmp_path / "photographs" / "ab"[i % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (40 + i, 60, 3), dtype=np.uint8)).save(folder / f"{i}.png")
    return ImageFolder(tmp_path / "photographs")


def test_it_gives_what_the_data_set_gives(photographs: ImageFolder, tmp_path: Path):
    cache = FileCache(photographs, tmp_path / "cache", 30)
    assert len(cache) == len(photographs)
    for i in (3, 0, -1, 6):
        picture, label = cache[i]
        np.testing.assert_array_equal(picture, read_picture(photographs, i % 7, 30))
        assert label == photographs.labels[i]
    assert cache.source(2) == photographs.source(2)
    with pytest.raises(IndexError, match="got 7"):
        cache[7]
    with pytest.raises(ValueError, match="read-only"):
        cache[0][0][0] = 1


def test_it_is_made_once_and_again_when_something_changed(photographs: ImageFolder, tmp_path: Path, counting):
    made: list[int] = []

    def cached(dataset, size=30) -> FileCache:
        return FileCache(dataset, tmp_path / "cache", size, progress=lambda done, total: made.append(done))

    cached(photographs)
    assert made == [7]
    for _ in range(2):
        cached(photographs)
    assert made == [7]
    cached(photographs, 20)
    cached(Subset(photographs, [0, 2]))
    boxes = np.tile([0, 0, 30, 30], (7, 1))
    first = cached(ImageList(photographs.paths, photographs.labels, photographs.class_names, boxes))
    assert made == [7, 7, 2, 7]
    assert first[0][0].shape == (30, 30, 3)
    os.utime(photographs.paths[3], ns=(1, 1))
    cached(photographs)
    assert len(made) == 5
    cars = SyntheticCars("train", 1, 32)
    np.testing.assert_array_equal(cached(cars, None)[4][0], cars[4][0])
    np.testing.assert_array_equal(
        cached(SyntheticCars("train", 1, 32, seed=5), None)[4][0], cars.__class__("train", 1, 32, 5)[4][0]
    )


@pytest.mark.parametrize("fault", ["truncated", "lengthened", "other"])
def test_a_damaged_file_is_made_again(photographs: ImageFolder, tmp_path: Path, fault: str):
    path = FileCache(photographs, tmp_path / "cache", 30).path
    whole = path.read_bytes()
    path.write_bytes({"truncated": whole[:-1], "lengthened": whole + b"x", "other": b"something else"}[fault])
    cache = FileCache(photographs, tmp_path / "cache", 30)
    np.testing.assert_array_equal(cache[6][0], read_picture(photographs, 6, 30))
    assert path.read_bytes() == whole


def test_nothing_is_left_behind_when_a_picture_cannot_be_read(photographs: ImageFolder, tmp_path: Path):
    photographs.paths[4].write_bytes(b"overwritten")
    with pytest.raises(ImageReadError, match=photographs.paths[4].name):
        FileCache(photographs, tmp_path / "cache", 30)
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, which is a full disk")
def test_a_full_disk_is_an_error_and_leaves_nothing(photographs: ImageFolder, tmp_path: Path, monkeypatch):
    real = Path.open

    def full(self: Path, mode: str = "r", *rest, **options):
        return real(Path("/dev/full") if self.suffix == ".pixels" and "w" in mode else self, mode, *rest, **options)

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(OSError, match="No space left"):
        FileCache(photographs, tmp_path / "cache", 30)
    assert list((tmp_path / "cache").iterdir()) == []


def test_sent_to_a_process_it_is_a_name_and_no_pixels(photographs: ImageFolder, tmp_path: Path):
    cache = FileCache(photographs, tmp_path / "cache", 30)
    assert cache.nbytes > 18_000 > len(ForkingPickler.dumps(cache))
    with multiprocessing.get_context("spawn").Pool(1) as other:
        picture, label = other.apply(operator.getitem, (cache, 5))
    np.testing.assert_array_equal(picture, cache[5][0])
    assert label == cache[5][1]


def test_bad_size(photographs: ImageFolder, tmp_path: Path):
    with pytest.raises(ValueError, match="cache_size: got 0"):
        FileCache(photographs, tmp_path, 0)
