"""An array that lies on a device which is not there: NumPy computes, and every way to or from the host is counted.

It is as strict as CuPy, or stricter: no implicit conversion, no arithmetic with the host's arrays, no scalars as
results, no arithmetic across devices, no assignment from the host.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
from backends.cupy.standin import machine, streams
from backends.cupy.standin.machine import traffic


class ndarray:
    """What ``cupy.ndarray`` is to `cupy`."""

    __slots__ = ("__weakref__", "_pool", "_there", "base", "device")
    __array_ufunc__ = None  # NumPy's operators leave the work to ours, which refuse
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, there: np.ndarray, base: ndarray | None = None, device: Any = None) -> None:
        self._there, self.base = there, base
        self.device = device or (base.device if base is not None else machine.Device())
        self._pool = None
        if base is None:
            pool = machine.pool_of(self.device.id)
            pool.allocate(there.nbytes)
            self._pool = pool

    def __del__(self) -> None:
        if self._pool is not None:
            self._pool.used -= self._there.nbytes
            streams.keep(self._there)

    # -- what it is ------------------------------------------------------------------------------------------------
    shape = property(lambda self: self._there.shape)
    dtype = property(lambda self: self._there.dtype)
    ndim = property(lambda self: self._there.ndim)
    size = property(lambda self: self._there.size)
    itemsize = property(lambda self: self._there.itemsize)
    nbytes = property(lambda self: self._there.nbytes)
    strides = property(lambda self: self._there.strides)
    T = property(lambda self: result(self._there.T, self))

    @property
    def flags(self) -> SimpleNamespace:
        """Without ``writeable``: a device's memory has no such flag."""
        own = self._there.flags
        return SimpleNamespace(c_contiguous=own.c_contiguous, f_contiguous=own.f_contiguous, owndata=self.base is None)

    @property
    def data(self) -> SimpleNamespace:
        return SimpleNamespace(ptr=self._there.ctypes.data)

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {
            "shape": self.shape,
            "typestr": self.dtype.str,
            "data": (self.data.ptr, False),
            "strides": self.strides,
            "version": 3,
        }

    def __len__(self) -> int:
        return len(self._there)

    def __repr__(self) -> str:
        return repr(self._there)

    # -- the ways to the host --------------------------------------------------------------------------------------
    def __array__(self, *args: Any, **options: Any) -> np.ndarray:
        raise TypeError("Implicit conversion to a NumPy array is not allowed. Please use `.get()`")

    def get(self, stream: Any = None, order: str = "C", out: Any = None, blocking: bool = True) -> np.ndarray:
        traffic.note("to host", self.nbytes)
        stream = stream or streams.current()
        if blocking:
            stream.run()
            out = np.empty(self.shape, self.dtype, order=order) if out is None else out
            out[...] = self._there
            return out
        streams.require_pinned(out)
        if (out.shape, out.dtype) != (self.shape, self.dtype):
            raise ValueError(f"Shape mismatch. Expected shape: {self.shape}, actual shape: {out.shape}")
        source = self._there.copy() if stream.is_null else self._there
        stream.later(lambda: np.copyto(out, source))
        return out

    def set(self, array: np.ndarray, stream: Any = None) -> None:
        """From page-locked memory, when the stream comes to it."""
        traffic.note("to device", self.nbytes)
        streams.require_pinned(array)
        if (array.shape, array.dtype) != (self.shape, self.dtype):
            raise ValueError(f"Shape mismatch. Old shape: {self.shape}, new shape: {array.shape}")
        do(lambda: np.copyto(self._there, array), stream)

    def item(self) -> Any:
        return self.get().item()

    def tolist(self) -> Any:
        return self.get().tolist()

    def __float__(self) -> float:
        return float(self.get())

    def __int__(self) -> int:
        return int(self.get())

    def __bool__(self) -> bool:
        return bool(self.get())

    def __index__(self) -> int:
        return self.get().__index__()

    # -- places ----------------------------------------------------------------------------------------------------
    def __getitem__(self, index: Any) -> ndarray:
        place = plain_index(index)
        return computed(lambda: self._there[place], self)

    def __setitem__(self, index: Any, value: Any) -> None:
        if isinstance(value, (np.ndarray, list, tuple)):
            raise TypeError(f"Unsupported type {type(value)}")
        place, value = plain_index(index), plain(value)
        do(lambda: self._there.__setitem__(place, value))

    def __iter__(self) -> Any:
        return (self[i] for i in range(len(self)))

    # -- DLPack ----------------------------------------------------------------------------------------------------
    def __dlpack__(self, stream: Any = None, **options: Any) -> Any:
        return self._there.__dlpack__(max_version=(1, 0))

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, self.device.id


def result(value: Any, source: ndarray | None = None) -> Any:
    """What NumPy gave, as an array on the device: a view where it shows the memory of ``source``."""
    if isinstance(value, tuple):
        return tuple(result(v, source) for v in value)
    there = np.asarray(value)
    if source is not None and np.may_share_memory(there, source._there):
        return ndarray(there, source if source.base is None else source.base)
    return ndarray(there if there.base is None else there.copy())


def plain(value: Any) -> Any:
    """An operand as NumPy takes it. TypeError for an array of the host, as from CuPy."""
    if isinstance(value, ndarray):
        if value.device.id != machine.Device().id:
            raise ValueError(
                f"Array device must be same as the current device: array device = {value.device.id} "
                f"while current = {machine.Device().id}"
            )
        return value._there
    if isinstance(value, np.ndarray):
        raise TypeError(f"Unsupported type {type(value)}")
    if isinstance(value, (list, tuple)):
        return type(value)(plain(v) for v in value)
    return value


def plain_index(index: Any) -> Any:
    """An index as NumPy takes it: lists and the host's arrays are sent over, masks are counted by waiting."""
    if isinstance(index, tuple):
        return tuple(plain_index(i) for i in index)
    if isinstance(index, (list, np.ndarray)):
        traffic.note("to device", np.asarray(index).nbytes)
        return np.array(index)
    if isinstance(index, ndarray):
        if index.dtype == np.bool_:
            streams.current().synchronize()
        return index._there
    return index


def do(work: Callable[[], Any], stream: Any = None) -> None:
    """What writes to arrays that are there: at once, or when the stream comes to it."""
    traffic.launches += 1
    stream = stream or streams.current()
    work() if stream.is_null else stream.later(work)


def computed(function: Callable[[], Any], source: ndarray | None) -> Any:
    """What a function gives. Where it is for later, so are the numbers; what it gives now shows their shape."""
    stream = streams.current()
    if stream.is_null:
        found = result(function(), source)
        traffic.launches += found.base is None
        return found
    with np.errstate(all="ignore"):
        try:
            found = result(function(), source)
        except IndexError:  # of an index whose numbers are not there yet
            stream.run()
            found = result(function(), source)
    if found.base is None:
        found._there.reshape(-1).view(np.uint8)[...] = 0xFF
        stream.later(lambda: np.copyto(found._there, function()))
    return found


def of_numpy(function: Callable[..., Any], waits: bool = False, writes: bool = False) -> Callable[..., Any]:
    """A function of NumPy's for arrays on the device; ``writes`` to one of them, and gives nothing."""

    def call(*operands: Any, **options: Any) -> Any:
        if waits:
            streams.current().synchronize()
        out = options.pop("out", None)
        options = {name: plain(value) for name, value in options.items()}
        given = [plain(x) for x in operands]
        if out is not None:
            options["out"] = plain(out)
            do(lambda: function(*given, **options))
            return out
        source = next((x for x in flat(operands) if isinstance(x, ndarray)), None)
        if writes:
            do(lambda: function(*given, **options))
            return None
        if waits:
            return result(function(*given, **options), source)
        return computed(lambda: function(*given, **options), source)

    return call


def flat(operands: Any) -> Any:
    for x in operands:
        if isinstance(x, (list, tuple)):
            yield from flat(x)
        else:
            yield x


def _operator(name: str) -> Any:
    function = getattr(np.ndarray, name)
    call = of_numpy(function, writes=name == "fill")
    return lambda self, *others, **options: call(self, *others, **options)


def _in_place(name: str) -> Any:
    function = getattr(np.ndarray, name)

    def operate(self: ndarray, other: Any) -> ndarray:
        there, value = plain(self), plain(other)
        do(lambda: function(there, value))
        return self

    return operate


_METHODS = (
    "all any argmax argmin argsort astype clip copy cumsum dot fill flatten max mean min prod ravel repeat reshape "
    "squeeze std sum swapaxes take transpose var view"
)
_BINARY = "add sub mul truediv floordiv mod pow matmul and or xor"
for _name in _METHODS.split():
    setattr(ndarray, _name, _operator(_name))
for _name in _BINARY.split():
    for _form in (f"__{_name}__", f"__r{_name}__"):
        setattr(ndarray, _form, _operator(_form))
    if _name != "matmul":
        setattr(ndarray, f"__i{_name}__", _in_place(f"__i{_name}__"))
for _name in "eq ne lt le gt ge neg pos abs invert".split():
    setattr(ndarray, f"__{_name}__", _operator(f"__{_name}__"))
