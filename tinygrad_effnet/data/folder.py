"""A folder of class folders: real photographs."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .images import IMAGE_SUFFIXES, MAX_PIXELS, ImageReadError, probe_image, read_image

_LAYOUT = (
    "expected one folder for each class with its images inside, such as {root}/hatchback/1.jpg, {root}/saloon/7.jpg"
)


class DatasetError(ValueError):
    """A folder does not hold a data set; the message says what was found and what was expected."""


class ImageFolder:
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
    ) -> None:
        self.root = Path(root)
        self.max_pixels = max_pixels
        _check_folder(self.root)
        self.class_names: list[str] = self._find_classes(classes)
        self.paths: list[Path] = []
        self.unreadable: list[str] = []
        labels: list[int] = []
        sizes: list[tuple[int, int]] = []
        for label, name in enumerate(self.class_names):
            found = self._scan(self.root / name, strict)
            self.paths.extend(path for path, _ in found)
            sizes.extend(size for _, size in found)
            labels.extend([label] * len(found))
        self.labels: NDArray[np.int64] = np.array(labels, dtype=np.int64)
        self.sizes: NDArray[np.int64] = np.array(sizes, dtype=np.int64).reshape(-1, 2)
        if self.unreadable:
            shown = "\n  ".join(self.unreadable[:5])
            more = f"\n  and {len(self.unreadable) - 5} more" if len(self.unreadable) > 5 else ""
            warnings.warn(
                f"{len(self.unreadable)} unreadable image file(s) left out of {self.root}:\n  {shown}{more}",
                stacklevel=2,
            )

    def _find_classes(self, classes: Sequence[str] | None) -> list[str]:
        folders = class_folders(self.root)
        layout = _LAYOUT.format(root=self.root)
        if not folders:
            loose = sum(1 for entry in os.scandir(self.root) if _claims_image(entry.name))
            what = f"{loose} image(s) but no class folders" if loose else "no class folders"
            raise DatasetError(f"root: {self.root} has {what}; {layout}")
        if classes is None:
            return folders
        missing = [name for name in classes if name not in folders]
        if missing:
            raise DatasetError(
                f"classes: {self.root} has no folder for {', '.join(map(repr, missing))}; it has {', '.join(folders)}"
            )
        if not classes or len(set(classes)) != len(classes):
            raise DatasetError(f"classes: got {list(classes)!r}, expected at least one name, each once")
        return list(classes)

    def _scan(self, folder: Path, strict: bool) -> list[tuple[Path, tuple[int, int]]]:
        """Readable images of one class with their sizes (width, height)."""
        found: list[tuple[Path, tuple[int, int]]] = []
        inner: list[str] = []
        broken = 0
        for entry in sorted(os.scandir(folder), key=lambda e: e.name):
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                inner.append(entry.name)
                continue
            try:
                info = probe_image(entry.path, self.max_pixels)
            except ImageReadError as error:
                if not _claims_image(entry.name):
                    continue
                if strict:
                    raise
                self.unreadable.append(str(error))
                broken += 1
            else:
                found.append((Path(entry.path), (info.width, info.height)))
        if not found:
            why = (
                f"its {broken} image file(s) are all unreadable: {self.unreadable[-1]}" if broken else "no images in it"
            )
            nested = f" (only the folders {', '.join(inner[:5])}; pass their parent as root?)" if inner else ""
            raise DatasetError(
                f"class folder {folder} is empty: {why}{nested}. "
                "Add images, remove the folder, or choose others by classes="
            )
        return found

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[NDArray[np.uint8], int]:
        """Picture (H, W, 3) uint8 RGB and its label.

        Raises
        ------
        ImageReadError
            If the file cannot be decoded.
        """
        return self.read(index), int(self.labels[index])

    def read(self, index: int, shorter_side: int | None = None) -> NDArray[np.uint8]:
        """Picture (H, W, 3) uint8 RGB, reduced to ``shorter_side`` pixels while it is decoded if that is given."""
        return read_image(self.paths[index], shorter_side, self.max_pixels)

    def source(self, index: int) -> str:
        """Path of image ``index``, for messages."""
        return str(self.paths[index])

    def describe(self) -> str:
        """A short report: classes, images of each, range of sizes, files left out."""
        counts = np.bincount(self.labels, minlength=len(self.class_names))
        (w0, h0), (w1, h1) = self.sizes.min(axis=0), self.sizes.max(axis=0)
        lines = [
            f"{self.root}: {len(self)} images of {len(self.class_names)} classes, "
            f"{w0}x{h0} to {w1}x{h1} pixels (least and greatest width and height)"
        ]
        wide = max(map(len, self.class_names))
        lines += [f"  {name:<{wide}}  {count:6d}" for name, count in zip(self.class_names, counts, strict=True)]
        if self.unreadable:
            lines.append(f"  {len(self.unreadable)} unreadable file(s) left out")
        return "\n".join(lines)


def class_folders(root: Path) -> list[str]:
    """Sorted names of the folders in ``root``, without hidden ones."""
    return sorted(entry.name for entry in os.scandir(root) if entry.is_dir() and not entry.name.startswith((".", "__")))


def _check_folder(root: Path) -> None:
    if not root.exists():
        raise FileNotFoundError(f"root: no such folder: {root} (looked in {root.resolve().parent}); check the path")
    if not root.is_dir():
        raise NotADirectoryError(f"root: {root} is a file, expected a folder of class folders; unpack archives first")


def _claims_image(name: str) -> bool:
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES
