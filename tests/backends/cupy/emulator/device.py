"""A device for kernels: as much of ``cupy`` as launching one takes, with memory that notices what a kernel does to it.

Every array lies between guards, which no kernel may write; what is not written yet, and the guards, are NaNs, so that
reading either spoils the result. Kernels run in the emulator, their threads in another order at every launch.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
from backends.cupy.emulator import emulator

from tinygrad_effnet.backends.cupy import launch
from tinygrad_effnet.backends.cupy.instances import FAMILIES, instances

GUARD = 64  # bytes before and after each array, all ones, which is a NaN in every floating dtype

_guarded: list[tuple[np.ndarray, int]] = []  # memory of arrays with its guards, and the array's bytes
_families = {launch.source(family): family for family in FAMILIES}


class CompileException(Exception):
    """As ``cupy.cuda.compiler`` has it."""


class Device:
    """The only one."""

    def __init__(self, number: int = 0) -> None:
        self.id = number


class ndarray(np.ndarray):
    """An array in guarded memory."""

    device = Device()

    @property
    def data(self) -> Any:
        return SimpleNamespace(ptr=self.ctypes.data)


def empty(shape: Any, dtype: Any = "float64") -> ndarray:
    number, shape = np.dtype(dtype), (shape,) if isinstance(shape, int) else tuple(shape)
    size = int(np.prod(shape)) * number.itemsize
    memory = np.full(size + 2 * GUARD + 16, 0xFF, np.uint8)
    memory = memory[-memory.ctypes.data % 16 :][: size + 2 * GUARD]  # a device's arrays begin on 16 bytes at least
    _guarded.append((memory, size))
    return memory[GUARD : GUARD + size].view(number).reshape(shape).view(ndarray)


def asarray(x: Any, dtype: Any = None) -> ndarray:
    source = np.asarray(x, dtype)
    array = empty(source.shape, source.dtype)
    array[...] = source
    return array


def empty_like(x: ndarray) -> ndarray:
    return empty(x.shape, x.dtype)


def zeros(shape: Any, dtype: Any = "float64") -> ndarray:
    array = empty(shape, dtype)
    array[...] = 0
    return array


def matmul(a: ndarray, b: ndarray) -> ndarray:
    """cuBLAS's part: sums in float32 at least."""
    wide = np.result_type(a.dtype, np.float32)
    return asarray(np.matmul(np.asarray(a, wide), np.asarray(b, wide)).astype(a.dtype))


@cache
def _library(family: str, dtype: str) -> dict[str, emulator.Call]:
    """All of a family's kernels for a dtype: compiling them together takes hardly longer than one of them."""
    names = [instance.expression for instance in instances(family, dtype)]
    return emulator.build(launch.source(family), launch.OPTIONS, names)


class RawModule:
    """Compiles for the emulator."""

    def __init__(self, *, code: str, options: Sequence[str], name_expressions: Sequence[str]) -> None:
        self.code, self.options = code, options

    def get_function(self, name: str) -> Any:
        family = _families.get(self.code, "")
        found = [
            _library(family, dtype)[name]
            for dtype in launch.STORED
            if family and name in [i.expression for i in instances(family, dtype)]
        ]
        assert found or not family, f"{family}: {name} is not in instances.py, so nobody compiles it for a device"
        try:
            call = found[0] if found else emulator.build(self.code, self.options, [name])[name]
        except emulator.CompileError as error:
            raise CompileException(str(error)) from error

        def run(grid: Any, block: Any, args: Any, *, shared_mem: int = 0) -> None:
            run.launches += 1
            call(grid, block, args, shared_mem, run.launches)

        run.launches = 0
        return run


def check_guards() -> None:
    """Fail where a kernel wrote beside its arrays; forget the arrays."""
    damaged = [
        size for memory, size in _guarded if (memory[:GUARD] != 255).any() or (memory[GUARD + size :] != 255).any()
    ]
    _guarded.clear()
    assert not damaged, f"a kernel wrote beside an array, of {damaged[0]} bytes"


@contextmanager
def kernel_device() -> Iterator[ModuleType]:
    """``import cupy`` gives this device, for a block; afterwards all guards are whole."""
    module = ModuleType("cupy")
    compiler = SimpleNamespace(CompileException=CompileException)
    module.__dict__.update(
        ndarray=ndarray,
        empty=empty,
        asarray=asarray,
        ascontiguousarray=asarray,
        empty_like=empty_like,
        zeros=zeros,
        matmul=matmul,
        RawModule=RawModule,
        cuda=SimpleNamespace(Device=Device, compiler=compiler),
    )
    before = sys.modules.get("cupy")
    sys.modules["cupy"] = module
    _guarded.clear()
    try:
        yield module
        check_guards()
    finally:
        launch.kernel.cache_clear()  # what was compiled belongs to this device
        if before is None:
            del sys.modules["cupy"]
        else:
            sys.modules["cupy"] = before
