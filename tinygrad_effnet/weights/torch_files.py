"""PyTorch's weights files (.pth, .pt), read and written without PyTorch and without running any of what they hold.

Since PyTorch 1.6 such a file is a zip archive whose entries are not compressed: ``data.pkl`` describes the containers
and, of every tensor, the storage, offset, shape and strides; ``data/0``, ``data/1``, ... are the storages' bytes.
Before, it was a series of pickles followed by the bytes; both are read. `plain_pickle` rebuilds what they describe.
Format: https://docs.pytorch.org/docs/stable/notes/serialization.html
"""

from __future__ import annotations

import io
import math
import os
import struct
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .errors import WeightsError
from .plain_pickle import UnknownGlobalError, plain_dict, read_pickle

Array = NDArray[Any]

# What NumPy calls the numbers of each kind of storage; bfloat16, which it lacks, is widened to float32.
STORAGES = {
    "FloatStorage": "f4", "DoubleStorage": "f8", "HalfStorage": "f2", "BFloat16Storage": "bfloat16", "BoolStorage": "?",
    "LongStorage": "i8", "IntStorage": "i4", "ShortStorage": "i2", "CharStorage": "i1", "ByteStorage": "u1",
}  # fmt: skip
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LARGEST_DESCRIPTION = 1 << 26  # bytes of pickle; EfficientNet-L2's is a hundred times smaller
_LARGEST_NUMBER_OF_ENTRIES = 100_000


class Storage(NamedTuple):
    """A flat run of numbers that tensors are windows into."""

    numbers: Array


def read_torch_file(path: str | os.PathLike[str]) -> Any:
    """What a ``.pth`` or ``.pt`` file holds: dictionaries, lists and numbers as in the file, tensors as arrays.

    Parameters
    ----------
    path : path
        A file made by ``torch.save`` of a state dictionary, or of containers of tensors.

    Returns
    -------
    object
        Arrays share memory where the file's tensors share storage, and are read-only. bfloat16 comes as float32.

    Raises
    ------
    WeightsError
        The file is missing or damaged, or holds anything but plain data and tensors, which is named. Nothing in the
        file is executed, and little memory beyond a few times its length is taken.
    """
    path = Path(path)
    try:
        with open(path, "rb") as file:
            if zipfile.is_zipfile(file):
                return _read_zip(file)
            file.seek(0)
            return _read_legacy(file)
    except UnknownGlobalError as error:
        raise WeightsError(
            f"{path} names {error}, which is neither a tensor nor plain data, so it is not read: loading it would run "
            "its code. If you trust the file, open it with PyTorch, torch.load(path, weights_only=False), and save "
            "the state dictionary alone with torch.save(model.state_dict(), path)."
        ) from None
    except OSError as error:
        raise WeightsError(f"{path} cannot be read ({error.strerror or error}). Check the path.") from error
    except _DAMAGES as error:
        if _is_tar(path):
            raise WeightsError(
                f"{path} is in PyTorch's tar format of 2017, which is not read. Open it with PyTorch and save it "
                "again: torch.save(torch.load(path), path)."
            ) from None
        raise WeightsError(
            f"{path} is damaged, or no file that torch.save made ({error}). Get another copy of it."
        ) from error


# What reading damaged bytes raises: zipfile, for one, raises RuntimeError where an entry claims to be encrypted, and
# lets struct's error through where one begins too near to the end.
_DAMAGES = (ValueError, zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, MemoryError, struct.error)


def _is_tar(path: Path) -> bool:
    """Whether a file begins as tar archives do; the module `tarfile` would also unpack compressed ones to find out."""
    with open(path, "rb") as file:
        return file.read(262)[257:] == b"ustar"


# -- the zip archive of today ------------------------------------------------------------------------------------


def _read_zip(file: BinaryIO) -> Any:
    length = file.seek(0, os.SEEK_END)
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
        if len(entries) > _LARGEST_NUMBER_OF_ENTRIES:
            raise ValueError(f"{len(entries)} entries")
        by_name: dict[str, zipfile.ZipInfo] = {}
        for entry in entries:
            if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size:
                raise ValueError(f"its entry {entry.filename!r} is compressed, as torch.save never does")
            if entry.filename in by_name:
                raise ValueError(f"two entries are called {entry.filename!r}")
            by_name[entry.filename] = entry
        if sum(entry.file_size for entry in entries) > length:
            raise ValueError("its entries are longer than the file")
        pickles = [name for name in by_name if name.endswith("/data.pkl") and name.count("/") == 1]
        if len(pickles) != 1:
            raise ValueError("there is no data.pkl in it")
        folder = pickles[0][: -len("data.pkl")]
        if by_name[pickles[0]].file_size > _LARGEST_DESCRIPTION:
            raise ValueError("its data.pkl is too long")
        order = archive.read(folder + "byteorder") if folder + "byteorder" in by_name else b"little"
        if order not in (b"little", b"big"):
            raise ValueError(f"its byte order is {order[:20]!r}")
        storages: dict[str, Storage] = {}

        def persistent(reference: Any) -> Storage:
            kind, key, count = _storage_reference(reference)
            if key not in storages:
                name = f"{folder}data/{key}"
                if name not in by_name:
                    raise ValueError(f"storage {key!r} is missing")
                storages[key] = Storage(_numbers(archive.read(name), kind, order.decode()))
            return _checked(storages[key], key, count, kind)

        return read_pickle(io.BytesIO(archive.read(pickles[0])), _NAMED, persistent)


def _storage_reference(reference: Any) -> tuple[str, str, int]:
    """Kind, key and length from a persistent id ("storage", class, key, device, length[, view])."""
    if not (isinstance(reference, tuple) and len(reference) >= 5 and reference[0] == "storage"):
        raise ValueError("a reference to something that is not a storage")
    kind, key, count = getattr(reference[1], "name", None), reference[2], reference[4]
    if not isinstance(kind, str) or kind.rpartition(".")[2] not in STORAGES:
        raise ValueError("a storage of a kind that is not known")
    if not isinstance(key, str) or not isinstance(count, int):
        raise ValueError("a storage without name or length")
    return kind.rpartition(".")[2], key, count


def _numbers(data: bytes, kind: str, order: str) -> Array:
    code = "<" if order == "little" else ">"
    if kind == "BFloat16Storage":  # the upper half of a float32
        halves = np.frombuffer(data, code + "u2").astype(np.uint32)
        return (halves << 16).view(np.float32)
    numbers = np.frombuffer(data, code + STORAGES[kind])
    return numbers if order == sys.byteorder else numbers.astype(numbers.dtype.newbyteorder("="))


def _checked(storage: Storage, key: str, count: int, kind: str) -> Storage:
    expected = np.dtype("f4" if kind == "BFloat16Storage" else STORAGES[kind])
    if storage.numbers.size != count or storage.numbers.dtype != expected:
        raise ValueError(f"storage {key!r} holds {storage.numbers.size} numbers, and {count} {kind} are promised")
    return storage


# -- the series of pickles before PyTorch 1.6 --------------------------------------------------------------------


class _Within:
    """A file that is asked for no more than it has: a length that it states allocates nothing before it proves true."""

    def __init__(self, file: BinaryIO, length: int) -> None:
        self.file, self.length = file, length
        self.readline, self.tell = file.readline, file.tell

    def read(self, count: int) -> bytes:
        return self.file.read(max(0, min(count, self.length - self.file.tell())))


def _read_legacy(whole: BinaryIO) -> Any:
    length = os.fstat(whole.fileno()).st_size
    file: Any = _Within(whole, length)

    def refuse(reference: Any) -> Any:
        raise ValueError("a storage before the tensors")

    for expected in (_LEGACY_MAGIC, 1001):  # the second is the version of the format
        if read_pickle(file, {}, refuse) != expected:
            raise ValueError("it does not begin as torch.save's files do")
    system = read_pickle(file, {}, refuse)
    order = "little" if not isinstance(system, dict) or system.get("little_endian", True) else "big"
    # The tensors are described before the numbers arrive, so they are windows into arrays that are filled afterwards.
    storages: dict[str, tuple[str, Storage]] = {}
    promised = 0  # bytes

    def persistent(reference: Any) -> Storage:
        kind, key, count = _storage_reference(reference)
        if len(reference) > 5 and reference[5] is not None:
            raise ValueError("a storage that is a view of another")
        nonlocal promised
        if key not in storages:
            item = 2 if kind == "BFloat16Storage" else np.dtype(STORAGES[kind]).itemsize
            promised += count * item
            if count < 0 or promised > length:
                raise ValueError(f"storage {key!r} is longer than the file")
            dtype = "f4" if kind == "BFloat16Storage" else STORAGES[kind]
            storages[key] = kind, Storage(np.empty(count, dtype))
        return _checked(storages[key][1], key, count, kind)

    value = read_pickle(file, _NAMED, persistent)
    keys = read_pickle(file, {}, refuse)
    if not isinstance(keys, list) or any(type(key) is not str for key in keys) or sorted(keys) != sorted(storages):
        raise ValueError("the storages are not those that the tensors refer to")
    for key in keys:
        kind, storage = storages[key]
        item = 2 if kind == "BFloat16Storage" else storage.numbers.itemsize
        count = int.from_bytes(file.read(8), order)  # type: ignore[arg-type]
        data = file.read(count * item) if count == storage.numbers.size else b""
        if len(data) != storage.numbers.size * item:
            raise ValueError(f"storage {key!r} is cut off")
        storage.numbers[...] = _numbers(data, kind, order)
    return value


# -- what the description may name -------------------------------------------------------------------------------


def _rebuild_tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> Array:
    """``torch._utils._rebuild_tensor_v2``: a window into a storage, without copying."""
    whole = all(isinstance(t, tuple) and all(type(n) is int and n >= 0 for n in t) for t in (shape, strides))
    if not (isinstance(storage, Storage) and whole and type(offset) is int and offset >= 0):
        raise ValueError("a tensor without storage, offset, shape and strides")
    numbers = storage.numbers
    if len(shape) != len(strides) or len(shape) > 32:
        raise ValueError(f"a tensor of shape {shape} with strides {strides}")
    count = math.prod(shape)
    last = offset + sum((n - 1) * s for n, s in zip(shape, strides, strict=True)) if count else offset - 1
    # A tensor with more entries than its storage (a broadcast one) would be far larger in memory than in the file.
    if last >= numbers.size or count > numbers.size:
        raise ValueError(f"a tensor of shape {shape} reaches beyond its storage of {numbers.size} numbers")
    if count == 0:
        return np.zeros(shape, numbers.dtype)
    return np.lib.stride_tricks.as_strided(
        numbers[offset:], shape, [s * numbers.itemsize for s in strides], writeable=False
    )


def _not_callable(*arguments: Any) -> Any:
    raise ValueError("a storage is made by reference only")


def _rebuild_parameter(data: Any, *_: Any) -> Any:
    return data


def _ordered_dict(pairs: Any = ()) -> dict[Any, Any]:
    return plain_dict(pairs)


def _size(sides: Any) -> tuple[Any, ...]:
    """``torch.Size``, which a tuple is made into."""
    if type(sides) is not tuple:
        raise ValueError("a size that is no tuple")
    return sides


_NAMED: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": _ordered_dict,
    "torch.Size": _size,
    "torch._utils._rebuild_tensor_v2": _rebuild_tensor,
    "torch._utils._rebuild_tensor": _rebuild_tensor,
    "torch._utils._rebuild_parameter": _rebuild_parameter,
    **{f"torch.{kind}": _not_callable for kind in STORAGES},
    **{f"torch.cuda.{kind}": _not_callable for kind in STORAGES},
}
