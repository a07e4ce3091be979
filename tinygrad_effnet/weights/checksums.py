"""Whether a file is the one that was published."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from .errors import WeightsError
from .public_files import digits_in, public_file


def verify(path: str | os.PathLike[str], sha256: str | None = None) -> str:
    """Compare a file with the SHA-256 that is known of it, whole or its first digits; returns the whole.

    Parameters
    ----------
    path : path
    sha256 : str, optional
        Hexadecimal. When left out the digits in the file's name count, as torch.hub has it: ``name-7f5810bc.pth``.

    Raises
    ------
    WeightsError
        It is another one, nothing is known of it, or the file cannot be read.
    """
    path = Path(path)
    public = public_file(path.name)
    known = (sha256 or (public.sha256 if public else digits_in(path.name))).lower()
    if not known:
        raise WeightsError(f"verify(sha256): the name {path.name} has no digits of a SHA-256 in it; give them")
    try:
        with open(path, "rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise WeightsError(f"{path} cannot be read ({error.strerror or error}). Check the path.") from error
    if not found.startswith(known):
        raise WeightsError(
            f"{path} is not the file that was published, or not all of it: its SHA-256 is {found}, and should begin "
            f"with {known}. Get another copy of it; or rename it, if it was changed on purpose."
        )
    return found
