"""Stanford Cars as its authors gave it out: annotations in MATLAB files (Krause et al. 2013).

``devkit/cars_train_annos.mat`` belongs to ``cars_train``, ``cars_test_annos_withlabels.mat`` to ``cars_test``; an older
release has one ``cars_annos.mat`` for all pictures. Fields are read by name: their order differs between the files, and
the test annotations of the devkit have no ``class``. Classes count from 1, boxes count pixels from 1 with the last one
inside, and the numbers are stored in 8 bits where they fit, so that arithmetic on them would overflow.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..images import Box
from ..listed import DatasetError
from .places import Found, Listing, Pictures, first_file, first_folder

_BOX = ("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2")


def find_stanford(root: Path) -> Found | None:
    """The data set below ``root``, or None if there are no such annotations.

    Raises
    ------
    DatasetError
        A file is damaged, or the pictures that it speaks of are missing.
    """
    annotations = first_file(root, "cars_train_annos.mat")
    if annotations is not None:
        return _two_folders(root, annotations)
    annotations = first_file(root, "cars_annos.mat")
    return None if annotations is None else _one_folder(root, annotations)


def _two_folders(root: Path, annotations: Path) -> Found:
    meta = first_file(root, "cars_meta.mat")
    if meta is None:
        raise DatasetError(f"{root}: found {annotations} but no cars_meta.mat beside it, which names the classes")
    names = _class_names(_load(meta), meta)
    train = _listing(_records(annotations), _pictures(root, "cars_train", annotations), names, annotations)
    # Downloads that meet a file of the same name become "... (1).mat".
    labelled = first_file(root, "cars_test_annos_withlabels*.mat")
    if labelled is None:
        return Found("Stanford Cars (cars_train and devkit; no labels for cars_test)", names, train)
    val = _listing(_records(labelled), _pictures(root, "cars_test", labelled), names, labelled)
    return Found("Stanford Cars (cars_train, cars_test and devkit)", names, train, val)


def _one_folder(root: Path, annotations: Path) -> Found:
    contents = _load(annotations)
    names = _class_names(contents, annotations)
    records = _field(contents, "annotations", annotations)
    pictures = _pictures(root, "car_ims", annotations)
    test = np.array([int(value) for value in _column(records, "test", annotations)]) != 0
    parts = [_listing(records[chosen], pictures, names, annotations) for chosen in (~test, test)]
    return Found("Stanford Cars (car_ims and cars_annos.mat)", names, parts[0], parts[1])


def _listing(records: Any, pictures: Pictures, names: list[str], source: Path) -> Listing:
    fields = records.dtype.names
    file_field = "fname" if "fname" in fields else "relative_im_path"
    labels = [int(value) for value in _column(records, "class", source)]
    outside = [label for label in labels if not 1 <= label <= len(names)]
    if outside:
        raise DatasetError(f"{source}: class {outside[0]} is not one of the {len(names)} named ones, counted from 1")
    corners = zip(*(_column(records, name, source) for name in _BOX), strict=True)
    boxes: list[Box] = [(int(x1) - 1, int(y1) - 1, int(x2), int(y2)) for x1, y1, x2, y2 in corners]
    paths = [pictures.find(str(value)) for value in _column(records, file_field, source)]
    return Listing(paths, [label - 1 for label in labels], boxes)


def _pictures(root: Path, folder: str, annotations: Path) -> Pictures:
    found = first_folder(root, (folder,))
    if found is None:
        raise DatasetError(f"{root}: {annotations.name} is there, but not the folder {folder} with its pictures")
    return Pictures(found)


def _records(path: Path) -> Any:
    return _field(_load(path), "annotations", path)


def _load(path: Path) -> dict[str, Any]:
    import scipy.io

    try:
        contents: dict[str, Any] = scipy.io.loadmat(path, squeeze_me=True)
    except Exception as error:  # SciPy's reader raises whatever a damaged file makes it stumble over
        raise DatasetError(
            f"{path}: not a readable MATLAB file of version 5 to 7.2 ({error}); unpack it again"
        ) from error
    return contents


def _field(contents: dict[str, Any], name: str, path: Path) -> Any:
    if name not in contents:
        raise DatasetError(f"{path}: it holds no {name}; expected a file of Stanford Cars' devkit")
    values = np.atleast_1d(contents[name])
    if name == "annotations" and values.dtype.names is None:
        raise DatasetError(f"{path}: annotations are no records; expected a file of Stanford Cars' devkit")
    return values


def _column(records: Any, name: str, path: Path) -> Any:
    if name not in (records.dtype.names or ()):
        raise DatasetError(f"{path}: its records have no {name}; they have {', '.join(records.dtype.names)}")
    return records[name]


def _class_names(contents: dict[str, Any], path: Path) -> list[str]:
    return [str(name) for name in _field(contents, "class_names", path)]
