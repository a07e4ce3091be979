"""Miniatures of Stanford Cars in the forms in which people have it. The pictures are made here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
from PIL import Image

NAMES = ["AM General Hummer SUV 2000", "Ram C/V Cargo Van Minivan 2012", "smart fortwo Convertible 2012"]
# file, box (1-based, inclusive), class (1-based); the third picture is grey, the last box does not fit 8 bits
TRAIN = [
    ("00001.jpg", (39, 16, 269, 175), 3),
    ("00002.jpg", (1, 1, 300, 200), 1),
    ("00003.jpg", (10, 20, 30, 40), 2),
    ("00004.jpg", (255, 100, 290, 180), 2),
]
TEST = [("00001.jpg", (30, 52, 246, 147), 1), ("00002.jpg", (5, 5, 60, 60), 3)]


def picture(path: Path, box: tuple[int, int, int, int], grey: bool = False) -> None:
    """300x200 pixels, white inside the box (1-based, inclusive) and black around it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.zeros((200, 300), np.uint8)
    pixels[box[1] - 1 : box[3], box[0] - 1 : box[2]] = 255
    image = Image.fromarray(pixels)
    (image if grey else image.convert("RGB")).save(path, quality=95, subsampling=0)


def pictures(folder: Path, rows: list[Any], by_class: bool = False) -> None:
    for name, box, label in rows:
        inner = folder / NAMES[label - 1].replace("/", "-") if by_class else folder
        picture(inner / name, box, grey=name == "00003.jpg")


def mat(path: Path, rows: list[Any], with_class: bool = True) -> None:
    """Annotations as MATLAB keeps them: records of numbers in 8 bits where they fit."""
    fields = ["bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2", *(["class"] if with_class else []), "fname"]
    records = np.zeros((1, len(rows)), dtype=[(field, object) for field in fields])
    for i, (name, box, label) in enumerate(rows):
        for field, value in zip(fields, (*box, label) if with_class else box, strict=False):
            records[0, i][field] = np.array([[value]], np.uint8 if value < 256 else np.uint16)
        records[0, i]["fname"] = name
    path.parent.mkdir(parents=True, exist_ok=True)
    scipy.io.savemat(path, {"annotations": records})


def meta(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    scipy.io.savemat(path, {"class_names": np.array([NAMES], dtype=object)})


def original(root: Path) -> None:
    pictures(root / "cars_train", TRAIN)
    pictures(root / "cars_test", TEST)
    meta(root / "devkit" / "cars_meta.mat")
    mat(root / "devkit" / "cars_train_annos.mat", TRAIN)
    mat(root / "devkit" / "cars_test_annos.mat", TEST, with_class=False)
    mat(root / "cars_test_annos_withlabels.mat", TEST)


def doubled(root: Path) -> None:
    """As on Kaggle: every folder within one of its name, and the labels of the test set uploaded a second time."""
    pictures(root / "cars_train" / "cars_train", TRAIN)
    pictures(root / "cars_test" / "cars_test", TEST)
    meta(root / "car_devkit" / "devkit" / "cars_meta.mat")
    mat(root / "car_devkit" / "devkit" / "cars_train_annos.mat", TRAIN)
    mat(root / "cars_test_annos_withlabels (1).mat", TEST)


def single_folder(root: Path) -> None:
    rows = [(f"{i:06d}.jpg", box, label) for i, (_, box, label) in enumerate(TRAIN + TEST, start=1)]
    pictures(root / "car_ims", rows)
    dtype = [
        (name, object) for name in ("relative_im_path", "bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2", "class", "test")
    ]
    records = np.zeros((1, len(rows)), dtype=dtype)
    for i, (name, box, label) in enumerate(rows):
        numbers = [np.array([[v]], np.uint16) for v in (*box, label)]
        records[0, i] = (f"car_ims/{name}", *numbers, np.array([[int(i >= len(TRAIN))]], np.uint8))
    scipy.io.savemat(root / "cars_annos.mat", {"annotations": records, "class_names": np.array([NAMES], dtype=object)})


def table(path: Path, rows: list[Any], header: str = "") -> None:
    lines = [",".join(map(str, (name, *box, label))) for name, box, label in rows]
    path.write_text("\n".join(([header] if header else []) + lines) + "\n")


def tables(root: Path) -> None:
    """Class folders in doubled folders, tables without a header beside them, a slash in a name."""
    pictures(root / "car_data" / "car_data" / "train", TRAIN, by_class=True)
    pictures(root / "car_data" / "car_data" / "test", TEST, by_class=True)
    table(root / "anno_train.csv", TRAIN)
    table(root / "anno_test.csv", TEST)
    (root / "names.csv").write_text("\n".join(NAMES) + "\n")


def tables_with_header(root: Path) -> None:
    """A flat folder, a header, another order of the columns, no names."""
    pictures(root / "cars_train" / "cars_train", TRAIN)
    pictures(root / "cars_test" / "cars_test", TEST)
    table(root / "anno_train.csv", TRAIN, "image_name,x_min,y_min,x_max,y_max,label")
    rows = [",".join(map(str, (label, name, *box))) for name, box, label in TEST]
    (root / "anno_test.csv").write_text("\n".join(["class,file,x1,y1,x2,y2", *rows]))


FORMS: dict[str, Callable[[Path], None]] = {
    form.__name__: form for form in (original, doubled, single_folder, tables, tables_with_header)
}


@pytest.fixture(params=FORMS)
def stanford(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A miniature in each form, one level further down than what is opened."""
    root = tmp_path / "archive"
    root.mkdir()
    FORMS[request.param](root)
    return tmp_path


@pytest.fixture
def forms() -> dict[str, Callable[[Path], None]]:
    return FORMS


@pytest.fixture
def rows() -> tuple[list[Any], list[Any], list[str]]:
    """What the miniatures hold: training rows, test rows, class names."""
    return TRAIN, TEST, NAMES
