"""Stanford Cars as copies of it come: ``anno_train.csv``, ``anno_test.csv`` and ``names.csv`` beside the pictures."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from ..images import Box
from ..listed import DatasetError
from .places import TRAIN_NAMES, VAL_NAMES, Found, Listing, Pictures, first_file, first_folder

# What copies call the columns; without a header they come in this order.
_COLUMNS = {
    "file": ("file", "fname", "filename", "file_name", "image", "image_name", "relative_im_path"),
    "x1": ("x1", "x_min", "xmin", "bbox_x1"),
    "y1": ("y1", "y_min", "ymin", "bbox_y1"),
    "x2": ("x2", "x_max", "xmax", "bbox_x2"),
    "y2": ("y2", "y_max", "ymax", "bbox_y2"),
    "class": ("class", "label", "class_id"),
}


@dataclass(frozen=True, slots=True)
class _Row:
    file: str
    box: Box
    label: int


def find_tables(root: Path) -> Found | None:
    """The data set below ``root``, or None if there is no ``anno_train.csv``.

    Raises
    ------
    DatasetError
        A table cannot be read, or its pictures are missing.
    """
    table = first_file(root, "anno_train*.csv")
    if table is None:
        return None
    test_table = first_file(root, "anno_test*.csv")
    rows = _read(table)
    test_rows = [] if test_table is None else _read(test_table)
    first = min(row.label for row in rows + test_rows)
    if first not in (0, 1):  # the lowest class may be missing; the original counts from 1
        first = 1
    pictures = _pictures(root, ("cars_train", *TRAIN_NAMES), table)
    names = _names(root, max(row.label for row in rows + test_rows) - first + 1, rows, pictures, first)
    train = _listing(rows, pictures, first)
    if test_table is None:
        return Found(f"Stanford Cars ({table.name})", names, train)
    val = _listing(test_rows, _pictures(root, ("cars_test", *VAL_NAMES), test_table), first)
    return Found(f"Stanford Cars ({table.name} and {test_table.name})", names, train, val)


def _listing(rows: list[_Row], pictures: Pictures, first: int) -> Listing:
    paths = [pictures.find(row.file) for row in rows]
    return Listing(paths, [row.label - first for row in rows], [row.box for row in rows])


def _pictures(root: Path, names: tuple[str, ...], table: Path) -> Pictures:
    folder = first_folder(root, names)
    if folder is None:
        raise DatasetError(f"{root}: {table.name} is there, but no folder {' or '.join(names)} with its pictures")
    return Pictures(folder)


def _names(root: Path, count: int, rows: list[_Row], pictures: Pictures, first: int) -> list[str]:
    """Of ``names.csv``; without it the class folders' names, or numbers where there are none."""
    listed = first_file(root, "names.csv")
    if listed is not None:
        names = [line.strip().strip('"') for line in listed.read_text(encoding="utf-8-sig").splitlines()]
        names = [name for name in names if name]
        if len(names) < count:
            raise DatasetError(f"{listed}: it names {len(names)} classes, but the tables have {count}")
        return names
    folders = {row.label - first: pictures.find(row.file).parent for row in rows}
    if len(folders) == count and len(set(folders.values())) == count:
        return [folders[label].name for label in range(count)]
    return [f"class {label + first:03d}" for label in range(count)]


def _read(path: Path) -> list[_Row]:
    try:
        lines = [line for line in csv.reader(path.read_text(encoding="utf-8-sig").splitlines()) if line]
    except (UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{path}: not a readable table ({error}); expected comma-separated text") from error
    at = _positions(lines[0], path) if lines else {}
    if lines and not _is_number(lines[0][at["class"]]):
        lines = lines[1:]
    if not lines:
        raise DatasetError(f"{path}: it has no rows")
    return [_row(line, at, f"{path}, row {number}") for number, line in enumerate(lines, start=1)]


def _positions(head: list[str], path: Path) -> dict[str, int]:
    names = [name.strip().lower() for name in head]
    found = {key: names.index(name) for key, known in _COLUMNS.items() for name in known if name in names}
    if len(found) == len(_COLUMNS):
        return found
    if len(head) != len(_COLUMNS) or not all(map(_is_number, head[1:])):
        raise DatasetError(
            f"{path}: its first row is {','.join(head)}; expected six columns: file,x1,y1,x2,y2,class, with or "
            "without such a header"
        )
    return {key: position for position, key in enumerate(_COLUMNS)}


def _row(line: list[str], at: dict[str, int], where: str) -> _Row:
    try:
        x1, y1, x2, y2, label = (int(float(line[at[key]])) for key in ("x1", "y1", "x2", "y2", "class"))
        return _Row(line[at["file"]].strip(), (x1 - 1, y1 - 1, x2, y2), label)
    except (IndexError, ValueError, OverflowError):
        raise DatasetError(f"{where}: got {','.join(line)}, expected a file name and five whole numbers") from None


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
