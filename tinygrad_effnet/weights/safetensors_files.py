"""Safetensors files read as arrays, bfloat16 included. Format: https://github.com/huggingface/safetensors#format"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
from numpy.typing import NDArray

from .errors import WeightsError

_DTYPES = {
    "BOOL": "?", "I8": "<i1", "I16": "<i2", "I32": "<i4", "I64": "<i8", "U8": "<u1", "U16": "<u2", "U32": "<u4",
    "U64": "<u8", "F16": "<f2", "F32": "<f4", "F64": "<f8", "BF16": "<u2",
}  # fmt: skip


def read_notes(path: str | os.PathLike[str]) -> dict[str, str]:
    """The texts in the header of a safetensors file; none if it is of another format, or damaged."""
    try:
        with safetensors.safe_open(Path(path), framework="numpy") as file:
            return dict(file.metadata() or {})
    except (OSError, safetensors.SafetensorError, ValueError, TypeError, OverflowError):
        return {}


def read_safetensors(path: str | os.PathLike[str]) -> dict[str, NDArray[Any]]:
    """Arrays by name, in the order of the names; bfloat16 comes as float32.

    Raises
    ------
    WeightsError
        The file is missing, truncated, damaged or of another format, or holds a type that NumPy lacks.
    """
    path = Path(path)
    try:
        entries = safetensors.deserialize(path.read_bytes())
    except OSError as error:
        raise WeightsError(f"{path} cannot be read ({error.strerror or error}). Check the path.") from error
    except (safetensors.SafetensorError, ValueError, OverflowError) as error:
        raise WeightsError(f"{path} is damaged, or no safetensors file ({error}). Get another copy of it.") from error
    arrays = {}
    for name, entry in sorted(entries, key=lambda named: named[0]):  # they come in another order each time
        kind = entry["dtype"]
        if kind not in _DTYPES:
            raise WeightsError(
                f"{path}: {name!r} has type {kind}, which NumPy lacks. Convert it to F32 where it was made."
            )
        numbers = np.frombuffer(entry["data"], _DTYPES[kind])
        if kind == "BF16":  # the upper half of a float32
            numbers = (numbers.astype(np.uint32) << 16).view(np.float32)
        try:
            arrays[name] = numbers.astype(numbers.dtype.newbyteorder("="), copy=False).reshape(entry["shape"])
        except ValueError as error:  # more axes, or longer ones, than NumPy's arrays have
            raise WeightsError(f"{path} is damaged: {name!r} has a shape that no array has ({error}).") from error
    return arrays
