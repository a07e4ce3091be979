"""Decoded pictures in one memory-mapped file: decoded once for all runs, and shared by all processes."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from .datasets import Dataset, read_picture

# The file: this line, the table's length in 8 bytes, the table (JSON), then the pixels, one picture after another.
_MAGIC = b"tinygrad_effnet pictures 1\n"


class FileCache:
    """A data set whose pictures are decoded once, reduced, and kept as uint8 in a file that is mapped into memory.

    The file is named after what it holds (names, lengths and times of the picture files, size, cut-outs), so that
    changed pictures get a new one. It is written beside its place and then renamed: it is whole or absent. The pictures
    are read-only. The data set can be sent to other processes, which map the same memory.

    Parameters
    ----------
    dataset
        What to keep.
    folder
        Where the file goes; made if missing.
    cache_size
        Shorter side of the kept pictures, pixels; smaller ones stay as they are. None keeps full size.
    workers
        Threads that decode.
    progress
        Called with (pictures done, pictures in all) while the file is made.

    Raises
    ------
    ValueError
        If ``cache_size`` is less than 1.
    ImageReadError
        If a picture cannot be decoded.
    OSError
        If the folder cannot be written or the disk is full; nothing is left behind then.
    """

    def __init__(
        self,
        dataset: Dataset,
        folder: str | os.PathLike[str],
        cache_size: int | None = None,
        workers: int = 2,
        progress: Callable[[int, int], object] = lambda done, total: None,
    ) -> None:
        if cache_size is not None and cache_size < 1:
            raise ValueError(f"cache_size: got {cache_size}, expected at least 1 pixel, or None for full size")
        self.dataset = dataset
        self.cache_size = cache_size
        self.class_names: list[str] = dataset.class_names
        self.labels: NDArray[np.int64] = dataset.labels
        Path(folder).mkdir(parents=True, exist_ok=True)
        self.path = Path(folder) / f"pictures-{fingerprint(dataset, cache_size)}.bin"
        if not self._usable():
            self._make(workers, progress)
        self._open()

    def _usable(self) -> bool:
        """Whether there is a file of the length that its table says; a copy may have been cut short."""
        try:
            start, table = _table(self.path)
            length = self.path.stat().st_size
        except (OSError, ValueError):
            return False
        return len(table) == len(self.dataset) and length == start + int(table.prod(axis=1).sum()) * 3

    def _make(self, workers: int, progress: Callable[[int, int], object]) -> None:
        # Sizes are known when all is decoded, so pixels go to one file first and follow the table in the other.
        temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}.tmp")
        pixels = temporary.with_suffix(".pixels")
        try:
            with pixels.open("wb") as file:
                sizes = self._decode_all(file, workers, progress)
            table = json.dumps(sizes).encode()
            with temporary.open("wb") as file, pixels.open("rb") as decoded:
                file.write(_MAGIC + len(table).to_bytes(8, "little") + table)
                while part := decoded.read(2**24):
                    file.write(part)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, self.path)
        finally:
            pixels.unlink(missing_ok=True)
            temporary.unlink(missing_ok=True)

    def _decode_all(
        self, file: BinaryIO, workers: int, progress: Callable[[int, int], object]
    ) -> list[tuple[int, int]]:
        sizes: list[tuple[int, int]] = []
        count, step = len(self.dataset), 64
        with ThreadPoolExecutor(max(1, workers)) as pool:
            for start in range(0, count, step):  # a few at a time: all of them need not fit into memory
                part = range(start, min(start + step, count))
                for picture in pool.map(lambda i: read_picture(self.dataset, i, self.cache_size), part):
                    file.write(np.ascontiguousarray(picture).data)
                    sizes.append((picture.shape[0], picture.shape[1]))
                progress(len(sizes), count)
        return sizes

    def _open(self) -> None:
        start, table = _table(self.path)
        self._sizes = table
        self._starts: NDArray[np.int64] = np.concatenate([[0], np.cumsum(table.prod(axis=1) * 3)[:-1]])
        self._pixels: NDArray[np.uint8] = np.memmap(self.path, np.uint8, "r", offset=start)

    def __getstate__(self) -> dict[str, Any]:
        """Without the mapping, which another process makes for itself."""
        return {key: value for key, value in self.__dict__.items() if key not in ("_pixels", "_starts", "_sizes")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._open()

    @property
    def nbytes(self) -> int:
        """Bytes of the pixels in the file."""
        return int(self._pixels.nbytes)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple[NDArray[np.uint8], int]:
        if not -len(self) <= index < len(self):
            raise IndexError(f"index: got {index}, expected less than {len(self)} (the number of pictures)")
        height, width = self._sizes[index].tolist()
        start = int(self._starts[index])
        picture = self._pixels[start : start + height * width * 3].reshape(height, width, 3)
        return np.asarray(picture), int(self.labels[index])

    def source(self, index: int) -> str:
        """What messages call picture ``index``."""
        return self.dataset.source(index)

    def describe(self) -> str:
        """The report of the underlying set."""
        return self.dataset.describe()


def fingerprint(dataset: Dataset, cache_size: int | None) -> str:
    """Sixteen letters that change when the pictures, their order, their cut-outs or the size do."""
    digest = hashlib.sha256(f"{cache_size} {len(dataset)}\n".encode())
    for index in range(len(dataset)):
        name = dataset.source(index)
        try:
            entry = os.stat(name)
            digest.update(f"{name} {entry.st_size} {entry.st_mtime_ns}\n".encode())
        except OSError:  # no file: a drawn picture, whose name says all
            digest.update(f"{name} {dataset.describe()}\n".encode())
    boxes = _boxes(dataset)
    digest.update(b"" if boxes is None else boxes.tobytes())
    return digest.hexdigest()[:16]


def _boxes(dataset: Any) -> NDArray[np.int64] | None:
    if getattr(dataset, "boxes", None) is not None:
        boxes: NDArray[np.int64] = dataset.boxes
        return boxes
    if hasattr(dataset, "indices"):
        whole = _boxes(dataset.dataset)
        return None if whole is None else whole[dataset.indices]
    return None


def _table(path: Path) -> tuple[int, NDArray[np.int64]]:
    """Where the pixels begin, and height and width of each picture, (N, 2); ValueError if it is no such file."""
    with path.open("rb") as file:
        head = file.read(len(_MAGIC) + 8)
        if head[: len(_MAGIC)] != _MAGIC:
            raise ValueError(f"{path}: not a file of kept pictures; remove it")
        length = int.from_bytes(head[len(_MAGIC) :], "little")
        if length > path.stat().st_size:
            raise ValueError(f"{path}: cut short; remove it")
        table = np.array(json.loads(file.read(length)), dtype=np.int64).reshape(-1, 2)
    return len(_MAGIC) + 8 + length, table
