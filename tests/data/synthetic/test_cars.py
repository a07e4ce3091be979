from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tinygrad_effnet
from tinygrad_effnet.data import SyntheticCars, contact_sheet
from tinygrad_effnet.data.synthetic import CLASS_NAMES
from tinygrad_effnet.data.synthetic.camera import Camera

ROOT = Path(tinygrad_effnet.__file__).parent.parent


def _digest(dataset: SyntheticCars, indices: list[int]) -> str:
    return hashlib.sha256(b"".join(dataset[i][0].tobytes() for i in indices)).hexdigest()


def test_at_least_ten_classes_with_readable_names():
    assert len(CLASS_NAMES) >= 10
    assert len(set(CLASS_NAMES)) == len(CLASS_NAMES)
    assert list(CLASS_NAMES) == sorted(CLASS_NAMES)
    for kind in ("Hatchback", "Saloon", "Estate", "Coupe", "SUV", "Pick-up", "Van", "Minibus", "Lorry", "Cabriolet"):
        assert any(name.endswith(kind) for name in CLASS_NAMES)


@pytest.mark.parametrize("size", [16, 96, 161])
def test_pictures_are_uint8_rgb_of_the_size_asked_for(size):
    dataset = SyntheticCars("val", images_per_class=2, size=size)
    for index in range(len(dataset)):
        picture, label = dataset[index]
        assert picture.shape == (size, size, 3)
        assert picture.dtype == np.uint8
        assert picture.flags.c_contiguous
        assert label == dataset.labels[index]
        assert picture.std() > 4


def test_classes_are_balanced():
    dataset = SyntheticCars("train", images_per_class=7)
    assert np.bincount(dataset.labels).tolist() == [7] * len(CLASS_NAMES)


def test_more_models_than_ten():
    dataset = SyntheticCars("train", images_per_class=3, size=32, models=13)
    assert dataset.class_names[:10] == list(CLASS_NAMES)
    assert dataset.class_names[10:] == ["Alder Hatchback Mk 2", "Birch Saloon Mk 2", "Cedar Estate Mk 2"]
    assert np.bincount(dataset.labels).tolist() == [3] * 13
    assert [dataset[i][1] for i in (0, 12, 13, 38)] == [0, 12, 0, 12]
    assert "39 rendered pictures of 13 fictional models" in dataset.describe()


def test_a_picture_depends_neither_on_order_nor_on_the_set_size():
    small, large = SyntheticCars("train", 2, size=32), SyntheticCars("train", 5, size=32)
    backwards = {i: small[i][0] for i in reversed(range(len(small)))}
    for i in range(len(small)):
        np.testing.assert_array_equal(backwards[i], large[i][0])
        assert small.labels[i] == large.labels[i]


def test_another_process_renders_the_same_bytes():
    indices = [0, 3, 8, 9, 17]
    code = (
        "import hashlib; from tinygrad_effnet.data import SyntheticCars; d = SyntheticCars('val', 2, 48, 5);"
        f"print(hashlib.sha256(b''.join(d[i][0].tobytes() for i in {indices})).hexdigest())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == _digest(SyntheticCars("val", 2, 48, 5), indices)


def test_splits_and_seeds_share_no_picture():
    sets = [SyntheticCars(split, 3, 32, seed) for split in ("train", "val") for seed in (0, 1, 2**32, 2**32 + 1)]
    digests = [_digest(dataset, [i]) for dataset in sets for i in range(len(dataset))]
    assert len(set(digests)) == len(digests)


def test_pictures_of_one_class_differ_and_classes_are_tellable_apart():
    # A nearest-mean classifier on grey pictures must beat chance, and must not solve the set.
    train, val = SyntheticCars("train", 24, 32), SyntheticCars("val", 8, 32)

    def features(dataset: SyntheticCars) -> np.ndarray:
        grey = np.stack([dataset[i][0].mean(axis=2) for i in range(len(dataset))])
        edges = np.abs(np.diff(grey, axis=1))[:, :, 1:] + np.abs(np.diff(grey, axis=2))[:, 1:]
        edges = np.maximum(edges, edges[:, :, ::-1]).reshape(len(grey), -1)
        return (edges - edges.mean(1, keepdims=True)) / edges.std(1, keepdims=True)

    known, asked = features(train), features(val)
    means = np.stack([known[train.labels == c].mean(axis=0) for c in range(len(CLASS_NAMES))])
    accuracy = float(np.mean((asked @ means.T).argmax(axis=1) == val.labels))
    assert 1.5 / len(CLASS_NAMES) < accuracy < 0.9


def test_camera_frames_what_it_is_given():
    rng = np.random.default_rng(3)
    corners = rng.uniform(-1, 1, (12, 3)) * np.array([2.0, 0.7, 0.9]) + np.array([2.0, 0.7, 0.0])
    camera = Camera(0.4, 1.5, 9.0, 2.0, (1.02, 0.97, 1.0), 0.03).framed(corners, 200, 0.8, (0.5, 0.6))
    flat = camera.project(corners)
    low, high = flat.min(axis=0), flat.max(axis=0)
    assert (high - low).max() == pytest.approx(160)
    assert ((low + high) / 2).tolist() == pytest.approx([100, 120])


def test_positive_yaw_brings_the_front_nearer():
    front, rear = np.array([[0.0, 0.5, 0.0]]), np.array([[4.0, 0.5, 0.0]])
    for yaw in (0.5, -0.5):
        camera = Camera(yaw, 1.5, 9.0, 2.0)
        assert (camera.depth(front)[0] < camera.depth(rear)[0]) == (yaw > 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "test"}, "split: got 'test'"),
        ({"images_per_class": 0}, "images_per_class: got 0"),
        ({"size": 8}, "size: got 8"),
        ({"seed": -1}, "seed: got -1"),
        ({"models": 0}, "models: got 0"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        SyntheticCars(**arguments)


def test_index_out_of_range():
    dataset = SyntheticCars("val", 1, 16)
    with pytest.raises(IndexError, match=f"got {len(dataset)}"):
        dataset[len(dataset)]
    np.testing.assert_array_equal(dataset[-1][0], dataset[len(dataset) - 1][0])


def test_contact_sheet_shows_a_row_for_each_class():
    dataset = SyntheticCars("val", 2, 32)
    sheet = contact_sheet(dataset, columns=2, rows=3)
    pixels = np.asarray(sheet)
    assert sheet.mode == "RGB"
    for row in range(3):
        strip = pixels[row * 34 + 2 : row * 34 + 34]
        for column, index in enumerate(np.flatnonzero(dataset.labels == row)[:2]):
            left = sheet.width - (2 - column) * 34 - 2
            np.testing.assert_array_equal(strip[:, left : left + 32], dataset[int(index)][0])
    with pytest.raises(ValueError, match="columns: got 0"):
        contact_sheet(dataset, columns=0)


def test_descriptions_say_that_the_set_is_synthetic():
    dataset = SyntheticCars("train", 1, 16, seed=9)
    assert "synthetic" in dataset.describe()
    assert dataset.source(4) == "synthetic train picture 4 (seed 9)"
