"""Where a step comes from: the user's line, the line of the module between, and the user's names for values."""

from __future__ import annotations

import os
import sys
from types import FrameType
from typing import NamedTuple

from .. import nn
from ..backends import Array
from ..lines import is_ours
from ..tensor import Tensor
from .steps import Place

_layers = os.path.dirname(os.path.abspath(nn.__file__)) + os.sep
_glue = os.path.join(_layers, "module.py")  # calls every module, and says nothing of any


class Origin(NamedTuple):
    """The user's line and frame, and the innermost line of this package's modules on the way."""

    line: Place | None
    layer: Place | None
    frame: FrameType | None

    def name_of(self, array: Array) -> str:
        """The user's variable that holds this array, or nothing."""
        if self.frame is None:
            return ""
        for name, value in list(self.frame.f_locals.items()):
            if isinstance(value, Tensor) and value.array is array and not name.startswith("_"):
                return name
        return ""


def origin() -> Origin:
    """Of whatever is being computed now."""
    frame: FrameType | None = sys._getframe(1)
    layer = None
    while frame is not None:
        file = frame.f_code.co_filename
        if not is_ours(file):
            return Origin(Place(file, frame.f_lineno), layer, frame)
        if layer is None and file.startswith(_layers) and file != _glue:
            layer = Place(file, frame.f_lineno)
        frame = frame.f_back
    return Origin(None, layer, None)
