"""Writing weights as PyTorch does, so that ``torch.load`` reads them: the counterpart of `torch_files`.

The description of the tensors is a pickle that is spelled out here instruction by instruction, for the pickler of the
standard library can name only classes that are installed, and PyTorch need not be.
"""

from __future__ import annotations

import os
import struct
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..files import atomic_write
from .errors import WeightsError
from .torch_files import STORAGES

_STORAGE_OF = {np.dtype(code): kind for kind, code in STORAGES.items() if kind != "BFloat16Storage"}

# Instructions of a pickle, version 2 (Lib/pickletools.py describes each).
_PROTO2, _STOP, _MARK, _TUPLE, _EMPTY_TUPLE, _REDUCE, _SETITEMS = b"\x80\x02", b".", b"(", b"t", b")", b"R", b"u"
_FALSE, _PERSISTENT_ID = b"\x89", b"Q"


def write_torch_file(path: str | os.PathLike[str], arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write named arrays as the state dictionary that ``torch.save(model.state_dict(), path)`` would write, atomically.

    Parameters
    ----------
    path : path
        The file; its folder must exist.
    arrays : mapping of str to array
        float16, float32, float64, bool, uint8 or signed integers, of any shape and layout.

    Raises
    ------
    WeightsError
        An array is of a dtype that PyTorch's storages lack. Nothing is written.
    """
    entries: dict[str, bytes] = {}
    described = []
    for index, (name, array) in enumerate(arrays.items()):
        native = array.dtype.newbyteorder("=")
        if native not in _STORAGE_OF:
            raise WeightsError(
                f"write_torch_file(arrays): {name!r} is {array.dtype}, which no PyTorch storage holds; "
                f"convert it to one of {', '.join(str(dtype) for dtype in _STORAGE_OF)}"
            )
        described.append(_text(name) + _tensor(str(index), _STORAGE_OF[native], array.shape))
        entries[f"data/{index}"] = np.asarray(array, native.newbyteorder("<"), order="C").tobytes()
    pickled = _PROTO2 + _ordered_dict() + _MARK + b"".join(described) + _SETITEMS + _STOP
    # torch.save's order: the description first, the version last
    contents = {"data.pkl": pickled, "byteorder": b"little", **entries, "version": b"3\n"}

    def write(file: Any) -> None:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            for name, data in contents.items():
                archive.writestr(zipfile.ZipInfo(f"archive/{name}"), data)

    atomic_write(path, write)


def _tensor(key: str, storage: str, shape: tuple[int, ...]) -> bytes:
    strides = [1]
    for n in shape[:0:-1]:
        strides.insert(0, strides[0] * max(n, 1))
    reference = _tuple(_text("storage"), _name("torch", storage), _text(key), _text("cpu"), _int(int(np.prod(shape))))
    arguments = (
        reference + _PERSISTENT_ID,
        _int(0),
        _tuple(*map(_int, shape)),
        _tuple(*map(_int, strides[: len(shape)])),
        _FALSE,
        _ordered_dict(),
    )
    return _name("torch._utils", "_rebuild_tensor_v2") + _tuple(*arguments) + _REDUCE


def _ordered_dict() -> bytes:
    return _name("collections", "OrderedDict") + _EMPTY_TUPLE + _REDUCE


def _name(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


def _text(text: str) -> bytes:
    data = text.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def _int(number: int) -> bytes:
    if number < 1 << 31:
        return b"J" + struct.pack("<i", number)
    return b"\x8a\x08" + struct.pack("<q", number)


def _tuple(*parts: bytes) -> bytes:
    return _MARK + b"".join(parts) + _TUPLE
