"""Where compiled kernels lie on disk, so that a machine compiles them once.

Numba's cache files are pickles: whoever may write to the folder may run code as the user who reads it. The folder is
therefore the user's own, mode 0700, and one that belongs to somebody else or that others may write to is not used.
Its name holds a hash of the kernels' sources and of the versions of Numba and NumPy, because Numba itself looks only at
the file that defines a kernel and would otherwise serve a kernel whose helper has changed. Folders that no process has
asked for in a month, of versions long replaced, are removed.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import re
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numba
import numpy as np

STALE = 30 * 24 * 3600  # seconds without a use after which a folder is removed

logger = logging.getLogger("tinygrad_effnet")
config: Any = numba.config  # its attributes are made at import, where no type checker sees them


def user_cache() -> Path:
    """The folder where this platform keeps a user's caches."""
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def fingerprint() -> str:
    """Hash of everything that a compiled kernel depends on, save the processor, which Numba itself keeps track of."""
    digest = hashlib.sha256(f"{numba.__version__} {np.__version__} {sys.version}".encode())
    for source in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(source.name.encode() + b"\0" + source.read_bytes())
    return digest.hexdigest()[:16]


def private_folder(folder: Path) -> Path:
    """Make ``folder`` (mode 0700) where it is missing; return it.

    Raises
    ------
    PermissionError
        It belongs to another user, or others may write to it.
    OSError
        It cannot be made or written to.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if hasattr(os, "getuid"):
        status = folder.stat()
        if status.st_uid != os.getuid():
            raise PermissionError(f"{folder} belongs to user {status.st_uid}, not to you")
        if stat.S_IMODE(status.st_mode) & (stat.S_IWGRP | stat.S_IWOTH):
            raise PermissionError(f"{folder} can be written to by others; run: chmod 700 '{folder}'")
    with tempfile.TemporaryFile(dir=folder):
        pass
    return folder


def kernel_cache() -> Path | None:
    """The folder for this version of the kernels, or None (with a logged warning) where there is no safe one.

    ``NUMBA_CACHE_DIR``, where the user has set it, takes the place of the platform's cache folder.
    """
    try:
        chosen = os.environ.get("NUMBA_CACHE_DIR")
        parent = private_folder(Path(chosen) if chosen else user_cache() / "tinygrad_effnet")
        folder = private_folder(parent / f"kernels-{fingerprint()}")
        os.utime(folder)  # the time of its last use, for `prune`
        prune(folder)
        return folder
    except (OSError, RuntimeError) as problem:  # RuntimeError: no home folder
        logger.warning("compiled kernels are not kept, each process compiles them anew: %s", problem)
        return None


def prune(used: Path) -> None:
    """Remove the folders beside ``used`` that bear our name and were last used longer than `STALE` ago."""
    for folder in used.parent.iterdir():
        ours = re.fullmatch(r"kernels-[0-9a-f]{16}", folder.name) and folder.is_dir() and not folder.is_symlink()
        if ours and folder != used:
            with contextlib.suppress(OSError):  # another process may be removing it as well
                if time.time() - folder.stat().st_mtime > STALE:
                    shutil.rmtree(folder)
                    logger.info("removed kernels of another version, unused for a month: %s", folder)


def current_folder() -> Path | None:
    """The folder that kernels decorated now cache in."""
    return Path(config.CACHE_DIR) if config.CACHE_DIR else None


@contextlib.contextmanager
def caching_in(folder: Path | None) -> Iterator[None]:
    """Kernels that are decorated in this block cache in ``folder``; Numba's own setting is put back afterwards."""
    before = config.CACHE_DIR
    config.CACHE_DIR = str(folder or "")
    try:
        yield
    finally:
        config.CACHE_DIR = before
