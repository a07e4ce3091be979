"""A folder of class folders: real photographs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .images import IMAGE_SUFFIXES, MAX_PIXELS, ImageReadError, probe_image
from .listed import DatasetError, ImageList

_LAYOUT = (
    "expected one folder for each class with its images inside, such as {root}/hatchback/1.jpg, {root}/saloon/7.jpg"
)


class ImageFolder(ImageList):
    """Images in ``root/class name/file``; classes are the sorted folder names.

    Hidden files, and files that are not images, are ignored. JPEG, PNG, WebP and BMP are told apart by content. The
    headers are read at once; pictures are decoded when asked for. Unreadable files are left out with one warning that
    names them, and listed in ``unreadable``.

    Parameters
    ----------
    root
        Folder of class folders.
    classes
        Class names, in the order of their labels; default all folders, sorted. Other folders are ignored.
    strict
        Raise on the first unreadable file instead of leaving it out.
    max_pixels
        Images with more pixels than this are unreadable.
    allow_empty
        Let chosen classes be without images or folder, as in a test set that lacks a class.

    Attributes
    ----------
    class_names
        Names, by label.
    labels
        (len,) int64.
    paths
        File of each image, sorted by class and name.
    unreadable
        Messages about the files that were left out.

    Raises
    ------
    FileNotFoundError, NotADirectoryError
        If ``root`` is missing or no folder.
    DatasetError
        If the layout is wrong, a class is missing, or a class has no images.
    ImageReadError
        If ``strict`` and a file is unreadable.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        classes: Sequence[str] | None = None,
        strict: bool = False,
        max_pixels: int = MAX_PIXELS,
        allow_empty: bool = False,
    ) -> None:
        self.root = Path(root)
        check_folder(self.root)
        names = self._find_classes(classes, allow_empty)
        listed = [image_files(self.root / name) for name in names]
        empty = [name for name, paths in zip(names, listed, strict=True) if not paths]
        if empty and not allow_empty:
            raise DatasetError(_why_empty(self.root / empty[0], []))
        labels = np.repeat(np.arange(len(names)), [len(paths) for paths in listed])
        super().__init__([path for paths in listed for path in paths], labels, names, None, strict, max_pixels)
        counts = np.bincount(self.labels, minlength=len(names))
        for name, count in zip(names, counts.tolist(), strict=True):
            if not count and not allow_empty:
                folder = self.root / name
                raise DatasetError(_why_empty(folder, [why for why in self.unreadable if why.startswith(str(folder))]))

    def _find_classes(self, classes: Sequence[str] | None, allow_empty: bool) -> list[str]:
        folders = class_folders(self.root)
        layout = _LAYOUT.format(root=self.root)
        if not folders:
            loose = sum(1 for entry in os.scandir(self.root) if _claims_image(entry.name))
            what = f"{loose} image(s) but no class folders" if loose else "no class folders"
            raise DatasetError(f"root: {self.root} has {what}; {layout}")
        if classes is None:
            return folders
        missing = [name for name in classes if name not in folders]
        if missing and not allow_empty:
            raise DatasetError(
                f"classes: {self.root} has no folder for {', '.join(map(repr, missing))}; it has {', '.join(folders)}"
            )
        if not classes or len(set(classes)) != len(classes):
            raise DatasetError(f"classes: got {list(classes)!r}, expected at least one name, each once")
        return list(classes)

    def describe(self) -> str:
        """A short report: where, images, classes, range of sizes, images of each class, files left out."""
        return f"{self.root}: {super().describe()}"


def class_folders(root: Path) -> list[str]:
    """Sorted names of the folders in ``root``, without hidden ones."""
    return sorted(entry.name for entry in os.scandir(root) if entry.is_dir() and not entry.name.startswith((".", "__")))


def image_files(folder: Path) -> list[Path]:
    """Files in ``folder`` that are images by name or by content, sorted; none if there is no such folder."""
    if not folder.is_dir():
        return []
    found = []
    for entry in sorted(os.scandir(folder), key=lambda e: e.name):
        if entry.name.startswith(".") or entry.is_dir():
            continue
        if _claims_image(entry.name) or _is_image(entry.path):
            found.append(Path(entry.path))
    return found


def _is_image(path: str) -> bool:
    try:
        probe_image(path)
    except ImageReadError:
        return False
    return True


def _why_empty(folder: Path, unreadable: list[str]) -> str:
    why = (
        f"its {len(unreadable)} image file(s) are all unreadable: {unreadable[0]}" if unreadable else "no images in it"
    )
    inner = [] if unreadable else class_folders(folder)
    nested = f" (only the folders {', '.join(inner[:5])}; pass their parent as root?)" if inner else ""
    return f"class folder {folder} is empty: {why}{nested}. Add images, remove the folder, or choose others by classes="


def check_folder(root: Path) -> None:
    """Raise FileNotFoundError or NotADirectoryError where ``root`` is no folder."""
    if not root.exists():
        raise FileNotFoundError(f"root: no such folder: {root} (looked in {root.resolve().parent}); check the path")
    if not root.is_dir():
        raise NotADirectoryError(f"root: {root} is a file, expected a folder of class folders; unpack archives first")


def _claims_image(name: str) -> bool:
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES
