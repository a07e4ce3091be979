"""The user's line: which line of the user's code an operation, or a write, came from."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
from types import CodeType, FrameType

Line = tuple[CodeType, int]  # code and instruction; the line itself is worked out only if somebody asks

_package = os.path.dirname(os.path.abspath(__file__)) + os.sep
_contextlib = contextlib.__file__  # through which a block of ours is left that was made with it


@functools.cache
def is_ours(file: str) -> bool:
    return file.startswith(_package) or file == _contextlib


def users_line(depth: int = 2) -> Line | None:
    """The innermost caller outside this package, starting ``depth`` calls up: by default with the caller's caller.

    To look at a frame is to make an object of it, so known ones are better stepped over.
    """
    frame: FrameType | None = sys._getframe(depth)
    while frame is not None:
        code = frame.f_code
        if not is_ours(code.co_filename):
            return code, frame.f_lasti
        frame = frame.f_back
    return None


def line_text(line: Line | None) -> str:
    """``file:line``, for messages."""
    if line is None:
        return "an unknown line"
    code, instruction = line
    lines = (number for start, end, number in code.co_lines() if start <= instruction < end and number)
    return f"{code.co_filename}:{next(lines, code.co_firstlineno)}"
