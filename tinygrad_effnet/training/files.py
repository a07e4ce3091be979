"""Folders of runs, which are never written over, and the names that files may have."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path


class FileNameError(ValueError):
    """A name cannot be that of a file or folder; the message says what is expected."""


class StorageError(OSError):
    """Results cannot be written; the message says where, why and what to do."""

    def __str__(self) -> str:
        return str(self.strerror)


def new_run_folder(root: str | os.PathLike[str], name: str | None = None, *, stem: str = "run") -> Path:
    """Create a folder for one run and return it; an existing run is never written over.

    Parameters
    ----------
    root
        The folder of all runs; made if missing.
    name
        The run's name. Without one: `<stem>-1`, `<stem>-2`, ..., one above the highest there is.
    stem
        What nameless runs are called, such as the model's name.

    Raises
    ------
    FileExistsError
        If `root/name` exists.
    FileNameError
        If `name` or `stem` is not a plain file name.
    """
    parent = Path(root)
    if parent.exists() and not parent.is_dir():
        raise NotADirectoryError(f"root: expected a folder for runs, but {parent} is a file. Choose another folder.")
    try:
        return _new_folder(parent, name, stem)
    except (FileExistsError, FileNameError):
        raise
    except OSError as error:
        raise StorageError(
            error.errno,
            f"root: no folder for the run can be made in {parent} ({error.strerror}). Choose another with --out, or "
            "make room there",
        ) from error


def _new_folder(parent: Path, name: str | None, stem: str) -> Path:
    parent.mkdir(parents=True, exist_ok=True)
    if name is not None:
        folder = parent / plain_name(name, "name")
        try:
            folder.mkdir()
        except FileExistsError:
            raise FileExistsError(
                f"name: {folder} already exists. Go on with that run with --resume {folder}, or choose another name."
            ) from None
        return folder
    plain_name(stem, "stem")
    taken = [re.fullmatch(rf"{re.escape(stem)}-(\d{{1,18}})", entry.name) for entry in parent.iterdir()]
    number = max((int(match[1]) for match in taken if match), default=0) + 1
    while True:
        # mkdir decides, not a look beforehand: two runs started together get two folders.
        with contextlib.suppress(FileExistsError):
            folder = parent / f"{stem}-{number}"
            folder.mkdir()
            return folder
        number += 1


def plain_name(name: str, argument: str) -> str:
    """``name`` itself, if every common file system takes it as one file's name."""
    if (
        not isinstance(name, str)
        or not re.fullmatch(r"[^\x00-\x1f<>:\"/\\|?*]{1,100}", name)
        or name != name.strip(" .")
    ):
        raise FileNameError(
            f'{argument}: expected a plain file name (no folders, no \\ / : * ? " < > |, no dot or space at either '
            f"end, at most 100 characters), got {name!r}."
        )
    return name
