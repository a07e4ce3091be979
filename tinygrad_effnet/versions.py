"""Versions: has memory been written to since the tape saved it?

One clock counts the writes of the whole process. A write notes the time at the memory that it changed; an operation
notes the time when it saves. Memory belongs to the array that owns it, so that all views of it, from ``detach()``,
``reshape`` or basic indexing, and the NumPy array behind ``from_numpy``, are one thing here. To save costs one integer,
and to compare costs nothing while nobody writes.

Writes that no public function makes are not seen: ``tensor.array[...] = value``, or a change of the array that was
given to ``from_numpy``. `detect_anomaly` finds those.
"""

from __future__ import annotations

import threading
import weakref
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from .lines import Line, line_text, users_line

Array = Any

clock = 0  # number of writes so far


class Write(NamedTuple):
    """The last write to some memory: its time on the clock, who wrote, and from which line of the user's code."""

    time: int
    writer: str
    line: Line | None

    def and_so(self) -> str:
        """The end of an error's sentence about what was saved before."""
        return (
            f"{self.writer} at {line_text(self.line)} has written to its memory since; the gradient would be wrong. "
            "Make a new tensor instead of writing (x = x * 0.9, not x[...] = x * 0.9), write after backward(), or give "
            "the operation a copy"
        )


# by id of the owner, for as long as that lives; plain tuples, since they are made at every write and seldom read
_writes: dict[int, tuple[weakref.ref[Any], int, str, Line | None]] = {}
_lock = threading.Lock()


def wrote(writer: str, *arrays: Array) -> None:
    """Note that ``writer`` (a function's name, for messages) changes these arrays in place.

    Every function that writes into a tensor's array calls this; so must an operation or kernel of your own.
    """
    global clock
    line = users_line()
    with _lock:
        clock += 1
        for array in arrays:
            owner = array if array.base is None else owner_of(array)
            key = id(owner)
            known = _writes.get(key)
            reference = weakref.ref(owner, partial(_forget, key)) if known is None else known[0]
            _writes[key] = reference, clock, writer, line


def _forget(key: int, reference: weakref.ref[Any]) -> None:
    _writes.pop(key, None)


def last_write(array: Array, since: int) -> Write | None:
    """The last write to the array's memory later than the time ``since``, or None."""
    known = _writes.get(id(owner_of(array)))
    return Write(*known[1:]) if known is not None and known[1] > since else None


def owner_of(array: Array) -> Array:
    """The array whose memory this one shows."""
    owner = array
    base = array.base
    while base is not None:
        if isinstance(base, np.ndarray) or type(base) is type(array):
            owner = base
        base = getattr(base, "base", None)  # as_strided puts an object of its own between the two
    return owner
