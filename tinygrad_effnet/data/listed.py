"""Photographs given by a list of files: read, checked and, if asked, cut to the car."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .images import MAX_PIXELS, Box, ImageReadError, probe_image, read_image


class DatasetError(ValueError):
    """A folder does not hold a data set; the message says what was found and what was expected."""


class ImageList:
    """Image files with labels, and boxes around the cars where they are known.

    The files' headers are read at once, pictures when asked for. Unreadable files are left out with one warning that
    names them.

    Parameters
    ----------
    paths
        Image files.
    labels
        (N,) integers, positions in ``class_names``.
    class_names
        Names, by label. A class may be without images.
    boxes
        (N, 4) integers, left, top, right and bottom in pixels, right and bottom outside; None to use whole pictures.
        A box that reaches out of its picture is cut to it, and one that misses it is not used; ``mended_boxes`` counts
        both.
    strict
        Raise on the first unreadable file instead of leaving it out.
    max_pixels
        Images with more pixels than this are unreadable.

    Attributes
    ----------
    paths, labels, class_names
        Of the readable files.
    boxes
        (len, 4) int64, inside the pictures, or None.
    sizes
        (len, 2) int64, width and height of each file.
    unreadable
        Messages about the files that were left out.

    Raises
    ------
    ImageReadError
        If ``strict`` and a file is unreadable.
    DatasetError
        If no file is readable.
    """

    def __init__(
        self,
        paths: Sequence[str | os.PathLike[str]],
        labels: ArrayLike,
        class_names: Sequence[str],
        boxes: ArrayLike | None = None,
        strict: bool = False,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        self.class_names: list[str] = list(class_names)
        self.max_pixels = max_pixels
        self.unreadable: list[str] = []
        self.mended_boxes = 0
        kept, sizes = self._probe([Path(path) for path in paths], strict)
        self.paths: list[Path] = [Path(paths[i]) for i in kept]
        self.labels: NDArray[np.int64] = np.asarray(labels, dtype=np.int64).reshape(-1)[kept]
        self.sizes: NDArray[np.int64] = np.array(sizes, dtype=np.int64).reshape(-1, 2)
        if not self.paths:
            why = f"; the first: {self.unreadable[0]}" if self.unreadable else ""
            raise DatasetError(f"paths: none of {len(paths)} image files can be read{why}")
        self.boxes: NDArray[np.int64] | None = None
        if boxes is not None:
            self.boxes = self._inside(np.asarray(boxes, dtype=np.int64).reshape(-1, 4)[kept])
        self._warn()

    def _probe(self, paths: Sequence[Path], strict: bool) -> tuple[list[int], list[tuple[int, int]]]:
        kept: list[int] = []
        sizes: list[tuple[int, int]] = []
        for index, path in enumerate(paths):
            try:
                info = probe_image(path, self.max_pixels)
            except ImageReadError as error:
                if strict:
                    raise
                self.unreadable.append(str(error))
            else:
                kept.append(index)
                sizes.append((info.width, info.height))
        return kept, sizes

    def _inside(self, boxes: NDArray[np.int64]) -> NDArray[np.int64]:
        width, height = self.sizes.T
        right = np.stack([width, height, width, height], axis=1)
        cut = np.clip(boxes, 0, right)
        misses = (cut[:, 2] <= cut[:, 0]) | (cut[:, 3] <= cut[:, 1])
        cut[misses] = right[misses] * np.array([0, 0, 1, 1])
        self.mended_boxes = int((cut != boxes).any(axis=1).sum())
        return cut

    def _warn(self) -> None:
        if self.unreadable:
            shown = "\n  ".join(self.unreadable[:5])
            more = f"\n  and {len(self.unreadable) - 5} more" if len(self.unreadable) > 5 else ""
            where = os.path.commonpath([path.parent for path in self.paths])
            warnings.warn(
                f"{len(self.unreadable)} unreadable image file(s) left out of {where}:\n  {shown}{more}", stacklevel=3
            )

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
        box: Box | None = None
        if self.boxes is not None:
            left, top, right, bottom = self.boxes[index].tolist()
            box = (left, top, right, bottom)
        return read_image(self.paths[index], shorter_side, self.max_pixels, box)

    def source(self, index: int) -> str:
        """Path of image ``index``, for messages."""
        return str(self.paths[index])

    def describe(self) -> str:
        """A short report: images, classes, range of sizes, images of each class, files left out."""
        (w0, h0), (w1, h1) = self.sizes.min(axis=0), self.sizes.max(axis=0)
        lines = [
            f"{len(self)} images of {len(self.class_names)} classes, "
            f"{w0}x{h0} to {w1}x{h1} pixels (least and greatest width and height)",
            *count_lines(self.class_names, np.bincount(self.labels, minlength=len(self.class_names))),
        ]
        if self.boxes is not None:
            mended = f"; {self.mended_boxes} reached out of their picture" if self.mended_boxes else ""
            lines.append(f"  cut to the box around each car{mended}")
        if self.unreadable:
            lines.append(f"  {len(self.unreadable)} unreadable file(s) left out")
        return "\n".join(lines)


def count_lines(class_names: Sequence[str], counts: NDArray[np.int64], most: int = 20) -> list[str]:
    """Images of each class, one a line; of more than ``most`` classes the fewest and the most only."""
    if len(class_names) <= most:
        wide = max(map(len, class_names))
        return [f"  {name:<{wide}}  {count:6d}" for name, count in zip(class_names, counts.tolist(), strict=True)]
    low, high = int(counts.argmin()), int(counts.argmax())
    if counts[low] == counts[high]:
        return [f"  {counts[low]} of each class"]
    return [f"  {counts[low]} ({class_names[low]}) to {counts[high]} ({class_names[high]}) of a class"]
