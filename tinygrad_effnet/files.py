"""Files that are written whole or not at all."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO


def atomic_write(path: str | os.PathLike[str], write: Callable[[BinaryIO], object]) -> None:
    """Write a file so that a reader, a crash or a power cut sees the old contents or the new, never a mixture.

    Parameters
    ----------
    path
        The file; its folder must exist.
    write
        Called with a binary file open for writing. If it raises, the old file stays as it was.

    Raises
    ------
    OSError
        If the folder is missing or not writable, or the disk is full.

    Notes
    -----
    The data reach a temporary file in the same folder, which is flushed to the disk and then renamed over the target.
    One writer at a time may write a given file: the temporary name is fixed, so that a killed process leaves at most
    one leftover, which the next write replaces.
    """
    target = Path(path)
    temporary = target.with_name(f".{target.name}.tmp")
    try:
        with open(temporary, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if os.name == "posix":  # Windows cannot open folders
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            # Makes the rename outlast a power cut. Some network file systems refuse; the file is in place by now.
            with contextlib.suppress(OSError):
                os.fsync(folder)
        finally:
            os.close(folder)
