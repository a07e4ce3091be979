"""``history.jsonl``: one JSON object an epoch, with what the table of epochs has no column for."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...files import atomic_write


def append_line(path: Path, values: Mapping[str, Any]) -> None:
    """Add ``values``, which have an "epoch", as a line; lines of that epoch and later ones are dropped first.

    The file is rewritten whole, atomically. NaN and infinities, which JSON lacks, become null.
    """
    kept = []
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                if json.loads(line)["epoch"] < values["epoch"]:
                    kept.append(line)
            except (ValueError, KeyError, TypeError):
                continue  # a line that is none: the table of epochs is what a run resumes from
    plain = {
        key: None if isinstance(value, float) and not math.isfinite(value) else value for key, value in values.items()
    }
    text = "".join(f"{line}\n" for line in [*kept, json.dumps(plain, allow_nan=False)])
    atomic_write(path, lambda file: file.write(text.encode()))


def peak_memory() -> int | None:
    """Most memory that this process has held so far, bytes; None where the system does not tell."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak if sys.platform == "darwin" else peak * 1024)
