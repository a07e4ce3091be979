"""Finding files and folders below a root, however deep an archive put them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from ..folder import class_folders, image_files
from ..images import Box
from ..listed import DatasetError

_DEPTH = 3
TRAIN_NAMES: tuple[str, ...] = ("train", "training")
VAL_NAMES: tuple[str, ...] = ("val", "valid", "validation", "test", "testing")


@dataclass(frozen=True, slots=True)
class Listing:
    """Image files with their labels (from 0) and, where they are known, boxes."""

    paths: list[Path]
    labels: list[int]
    boxes: list[Box] | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """What a folder holds: its layout in words, the classes, the files to learn from and those to check with."""

    layout: str
    class_names: list[str]
    train: Listing
    val: Listing | None = None


def first_file(root: Path, pattern: str) -> Path | None:
    """The file of that name (``*`` for anything, case ignored) nearest to ``root``; of several the first by name."""
    for folder in _folders(root):
        names = [entry.name for entry in os.scandir(folder) if entry.is_file()]
        matches = sorted(name for name in names if fnmatch(name.lower(), pattern.lower()))
        if matches:
            return folder / matches[0]
    return None


def first_folder(root: Path, names: tuple[str, ...]) -> Path | None:
    """The folder with one of these names, in their order of preference, nearest to ``root``."""
    for folder in _folders(root):
        inside = {name.lower(): name for name in class_folders(folder)}
        for name in names:
            if name in inside:
                return folder / inside[name]
    return None


def undoubled(root: Path) -> Path:
    """Step into folders that hold one folder of folders and nothing else, as ``car_data/car_data`` does."""
    inside = class_folders(root)
    while len(inside) == 1 and class_folders(root / inside[0]) and not image_files(root / inside[0]):
        root = root / inside[0]
        inside = class_folders(root)
    return root


class Pictures:
    """The image files below a folder, looked up by name.

    Raises
    ------
    DatasetError
        When looked up: several files have the name, so that a list which gives no folder cannot mean one of them.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._by_name: dict[str, list[Path]] = {}
        for inner in _folders(folder):
            for entry in os.scandir(inner):
                if entry.is_file():
                    self._by_name.setdefault(entry.name, []).append(Path(entry.path))

    def find(self, name: str) -> Path:
        """The file; where there is none, the path at which it is missing."""
        parts = name.replace("\\", "/").split("/")
        matches = self._by_name.get(parts[-1], [])
        if len(matches) > 1 and len(parts) > 1:
            matches = [path for path in matches if path.parent.name == parts[-2]]
        if len(matches) > 1:
            raise DatasetError(
                f"{self.folder}: the annotations name {name}, but there are {len(matches)} such files, for instance "
                f"{matches[0]} and {matches[1]}; expected one"
            )
        # A listed name may not lead out of the folder.
        return matches[0] if matches else self.folder / parts[-1]


def _folders(root: Path) -> Iterator[Path]:
    """``root`` and the folders below it, the near ones first."""
    level = [root]
    for _ in range(_DEPTH + 1):
        yield from level
        level = [folder / name for folder in level for name in class_folders(folder)]
