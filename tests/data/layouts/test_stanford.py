"""Every form of Stanford Cars gives the same pictures, labels, names and boxes; every trap is sprung once."""

from __future__ import annotations

import shutil
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from PIL import Image

from tinygrad_effnet.data import DatasetError, ImageReadError, open_data


def test_every_form_holds_the_same(stanford: Path, rows):
    train, test, names = rows
    split = open_data(stanford)
    assert split.train.labels.tolist() == [label - 1 for _, _, label in train]  # 1-based labels
    assert split.val.labels.tolist() == [label - 1 for _, _, label in test]
    if (stanford / "archive" / "anno_train.csv").exists() and not (stanford / "archive" / "names.csv").exists():
        assert split.class_names == ["class 001", "class 002", "class 003"]
    else:
        assert split.class_names == names
    assert "Stanford Cars" in split.description
    assert "4 for training, 2 held out" in split.description
    # class 2 is missing among the test pictures, and keeps its label
    assert "1 class(es) without images for validation: " in split.description
    grey, _ = split.train[2]
    assert grey.shape == (200, 300, 3)


def test_boxes_cut_out_the_car_exactly(stanford: Path, rows):
    split = open_data(stanford, crop_boxes=True)
    for dataset, part in ((split.train, rows[0]), (split.val, rows[1])):
        for i, (_, (x1, y1, x2, y2), _) in enumerate(part):
            picture, _ = dataset[i]
            assert picture.shape == (y2 - y1 + 1, x2 - x1 + 1, 3)
            assert picture.min() > 215  # nothing of the black surroundings, but for what JPEG smears
    assert "cut to the box around each car" in split.description


def test_reduced_pictures_show_the_same_part(stanford: Path):
    split = open_data(stanford, crop_boxes=True)
    for i in range(4):
        reduced = split.train.read(i, 16)
        assert min(reduced.shape[:2]) == 16
        assert reduced.mean() > 235


def test_chosen_classes(stanford: Path):
    names = open_data(stanford).class_names
    split = open_data(stanford, classes=[names[2], names[0]])
    assert split.class_names == [names[2], names[0]]
    assert split.train.labels.tolist() == [0, 1]
    assert split.val.labels.tolist() == [1, 0]
    with pytest.raises(DatasetError, match="no class 'Lorry'"):
        open_data(stanford, classes=["Lorry"])


def test_without_labels_for_the_test_set_a_part_is_held_out(tmp_path: Path, forms):
    """The devkit's own test annotations have no class, and their fifth field is the file's name."""
    forms["original"](tmp_path)
    (tmp_path / "cars_test_annos_withlabels.mat").unlink()
    split = open_data(tmp_path, val_fraction=0.5)
    assert "no labels for cars_test" in split.description
    assert (len(split.train), len(split.val)) == (3, 1)
    assert split.train.source(0).endswith("cars_train/00001.jpg")


def test_boxes_that_reach_out_are_cut_and_counted(tmp_path: Path, forms):
    forms["tables"](tmp_path)
    table = tmp_path / "anno_train.csv"
    table.write_text(table.read_text().replace("1,1,300,200", "1,1,305,200").replace("10,20,30,40", "500,20,600,40"))
    split = open_data(tmp_path, crop_boxes=True)
    assert split.train[1][0].shape == (200, 300, 3)
    assert split.train[2][0].shape == (200, 300, 3)
    assert "2 reached out of their picture" in split.description


def test_boxes_follow_a_turned_photograph(tmp_path: Path, forms):
    forms["tables"](tmp_path)
    path = next(tmp_path.rglob("train/*/00001.jpg"))
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(path) as image:
        image.copy().save(path, quality=95, exif=exif)
    picture, _ = open_data(tmp_path, crop_boxes=True).train[0]
    assert picture.shape == (231, 160, 3)
    assert picture.min() > 200


def test_missing_and_damaged_files_are_counted_named_or_refused(tmp_path: Path, forms):
    forms["original"](tmp_path)
    (tmp_path / "cars_train" / "00004.jpg").unlink()
    (tmp_path / "cars_train" / "00001.jpg").write_bytes(b"\xff\xd8 broken")
    with pytest.warns(UserWarning, match="2 unreadable") as caught:
        split = open_data(tmp_path)
    assert "00004.jpg: no such file" in str(caught[0].message)
    assert "00001.jpg" in str(caught[0].message)
    assert split.train.labels.tolist() == [0, 1]
    assert "2 unreadable file(s) left out" in split.description
    with pytest.raises(ImageReadError, match=r"00001\.jpg"):
        open_data(tmp_path, strict=True)


def test_bombs_are_left_out(tmp_path: Path, forms):
    forms["original"](tmp_path)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 0, 0, 0, 0)
    bomb = (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )
    (tmp_path / "cars_train" / "00001.jpg").write_bytes(bomb)
    with pytest.warns(UserWarning, match="decompression bomb"):
        assert len(open_data(tmp_path).train) == 3


def test_files_in_both_parts_are_reported(tmp_path: Path, forms):
    forms["original"](tmp_path)
    assert "flatter" not in open_data(tmp_path).description
    shutil.copy(tmp_path / "cars_train" / "00003.jpg", tmp_path / "cars_test" / "00002.jpg")
    description = open_data(tmp_path).description
    assert "1 file(s) for validation are among the training files as well" in description
    assert "00003.jpg" in description


def test_half_a_data_set_says_what_is_missing(tmp_path: Path, forms):
    forms["original"](tmp_path)
    shutil.rmtree(tmp_path / "cars_train")
    with pytest.raises(DatasetError, match="not the folder cars_train"):
        open_data(tmp_path)
    (tmp_path / "devkit" / "cars_meta.mat").unlink()
    with pytest.raises(DatasetError, match=r"no cars_meta\.mat"):
        open_data(tmp_path)


def test_labels_beyond_the_names_are_refused(tmp_path: Path, forms):
    forms["original"](tmp_path)
    scipy.io.savemat(tmp_path / "devkit" / "cars_meta.mat", {"class_names": np.array([["a", "b"]], dtype=object)})
    with pytest.raises(DatasetError, match="class 3 is not one of the 2 named ones"):
        open_data(tmp_path)


@pytest.mark.parametrize("contents", [b"", b"no matlab", b"MATLAB 5.0 MAT-file" + bytes(300)])
def test_damaged_annotations_are_named(tmp_path: Path, forms, contents: bytes):
    forms["original"](tmp_path)
    (tmp_path / "devkit" / "cars_train_annos.mat").write_bytes(contents)
    with pytest.raises(DatasetError, match=r"cars_train_annos\.mat"):
        open_data(tmp_path)


def test_another_matlab_file_is_refused(tmp_path: Path, forms):
    forms["original"](tmp_path)
    scipy.io.savemat(tmp_path / "devkit" / "cars_train_annos.mat", {"annotations": np.arange(3)})
    with pytest.raises(DatasetError, match="no records"):
        open_data(tmp_path)
    scipy.io.savemat(tmp_path / "devkit" / "cars_train_annos.mat", {"other": np.arange(3)})
    with pytest.raises(DatasetError, match="holds no annotations"):
        open_data(tmp_path)
