from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tinygrad_effnet.data import DatasetError, open_data


def _folder(root: Path, counts: dict[str, int]) -> Path:
    for name, count in counts.items():
        (root / name).mkdir(parents=True)
        for i in range(count):
            Image.new("RGB", (30, 20), (i, 0, 0)).save(root / name / f"{i:02d}.png")
    return root


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


def test_doubled_folders_are_stepped_into(tmp_path: Path):
    _folder(tmp_path / "car_data" / "car_data" / "train" / "train", {"a": 3, "b": 2})
    _folder(tmp_path / "car_data" / "car_data" / "test", {"a": 1})
    split = open_data(tmp_path)
    assert split.class_names == ["a", "b"]
    assert (len(split.train), len(split.val)) == (5, 1)
    assert "1 class(es) without images for validation: b" in split.description
    single = _folder(tmp_path / "single", {"only": 4})
    assert open_data(single, val_fraction=0.5).class_names == ["only"]


def test_a_fraction_is_learnt_from_and_all_of_validation_stays(tmp_path: Path):
    root = _folder(tmp_path, {"a": 20, "b": 10, "c": 2})
    whole, part, less = (open_data(root, fraction=f) for f in (1.0, 0.5, 0.1))
    assert len(part.val) == len(whole.val)
    assert np.bincount(part.train.labels).tolist() == [8, 4, 1]
    assert np.bincount(less.train.labels).tolist() == [2, 1, 1]
    names = [{split.train.source(i) for i in range(len(split.train))} for split in (less, part, whole)]
    assert names[0] < names[1] < names[2]
    assert "learning from 13 of the" in part.description
    for bad in (0.0, 1.5, float("nan")):
        with pytest.raises(ValueError, match="fraction: got"):
            open_data(root, fraction=bad)


@pytest.mark.parametrize("path", [None, "folder"])
def test_boxes_need_annotations(tmp_path: Path, path: str | None):
    root = None if path is None else _folder(tmp_path, {"a": 2})
    with pytest.raises(DatasetError, match="crop_boxes: .* leave it out"):
        open_data(root, crop_boxes=True)


def test_identical_files_on_both_sides_of_our_own_split_are_reported(tmp_path: Path):
    root = _folder(tmp_path, {"a": 5})
    for path in sorted((root / "a").iterdir())[1:]:
        path.write_bytes((root / "a" / "00.png").read_bytes())
    assert "1 file(s) for validation are among the training files" in open_data(root).description


def test_many_classes_are_summed_up(tmp_path: Path):
    root = _folder(tmp_path, {f"model {i:02d}": 2 + (i == 7) for i in range(25)})
    description = open_data(root).description
    assert "2 (model 00) to 3 (model 07) of a class" in description
    assert "model 11" not in description
    (root / "model 07" / "00.png").unlink()
    assert "\n  2 of each class" in open_data(root).description
