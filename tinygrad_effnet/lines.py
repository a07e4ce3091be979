"""The user's line: which line of the user's code an operation, or a write, came from."""

from __future__ import annotations

import contextlib
import os
import sys
from types import CodeType

Line = tuple[CodeType, int]  # code and instruction; the line itself is worked out only if somebody asks

_package = os.path.dirname(os.path.abspath(__file__)) + os.sep
_contextlib = contextlib.__file__  # through which a block of ours is left that was made with it


def users_line() -> Line | None:
    """The innermost caller outside this package, of the function that called the one which asks."""
    frame = sys._getframe(2)
    code = frame.f_code
    while (file := code.co_filename).startswith(_package) or file == _contextlib:
        if frame.f_back is None:
            return None
        frame = frame.f_back
        code = frame.f_code
    return code, frame.f_lasti


def line_text(line: Line | None) -> str:
    """``file:line``, for messages."""
    if line is None:
        return "an unknown line"
    code, instruction = line
    lines = (number for start, end, number in code.co_lines() if start <= instruction < end and number)
    return f"{code.co_filename}:{next(lines, code.co_firstlineno)}"
