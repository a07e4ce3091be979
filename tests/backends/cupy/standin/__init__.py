"""A ``cupy`` for machines without a GPU: strict about what CuPy is strict about, with kernels run by the emulator."""

from __future__ import annotations

import importlib.machinery
import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
from backends.cupy.emulator import device as emulated
from backends.cupy.emulator import emulator
from backends.cupy.standin import machine, streams
from backends.cupy.standin.array import do, ndarray, of_numpy, plain, result
from backends.cupy.standin.machine import traffic

from tinygrad_effnet import backends
from tinygrad_effnet.backends.cupy import launch, optimiser

__all__ = ["available", "machine", "ndarray", "products", "standin_cupy", "streams", "traffic"]

_SAME = (
    "add subtract multiply divide power maximum minimum where negative absolute abs sign exp log log1p sqrt sin cos "
    "tanh clip argmax argsort isfinite isnan square take_along_axis concatenate stack broadcast_to transpose "
    "swapaxes reshape pad flip expand_dims squeeze moveaxis ascontiguousarray sum max min mean all any floor "
    "zeros_like ones_like full_like zeros ones full arange array_equal tensordot"
)
_WAITING = "nonzero flatnonzero unique"


def available() -> bool:
    """Whether kernels can be compiled for the host here."""
    return emulator.available()


def asarray(x: Any, dtype: Any = None) -> ndarray:
    """Sent over, where it is not there already."""
    if isinstance(x, ndarray) and (dtype is None or x.dtype == dtype):
        if x.device == machine.Device():
            return x
        streams.current().run()
        return result(x._there.copy())
    if isinstance(x, ndarray):
        return x.astype(dtype)
    there = np.array(x, dtype)
    if streams.current().is_capturing():
        raise RuntimeError("the current stream is capturing, so H2D transfers are disallowed")
    traffic.note("to device", there.nbytes)
    return result(there)


def array(x: Any, dtype: Any = None) -> ndarray:
    streams.current().run()
    return result(np.array(plain(x), dtype)) if isinstance(x, ndarray) else asarray(x, dtype)


def empty(shape: Any, dtype: Any = "float64") -> ndarray:
    """Whatever lay there: ones in every bit, which as a float is NaN, so that reading it spoils the result."""
    there = np.zeros(shape, dtype)
    if machine.runs_kernels[-1]:
        there.reshape(-1).view(np.uint8)[...] = 0xFF
    return ndarray(there)


def asnumpy(x: Any) -> np.ndarray:
    return x.get() if isinstance(x, ndarray) else np.asarray(x)


def from_dlpack(x: Any) -> ndarray:
    """Shares the memory of another stand-in's array."""
    kind, number = x.__dlpack_device__()
    if kind != 2:
        raise TypeError("CPU arrays cannot be directly imported to CuPy")
    lender = type("Lender", (), {"__dlpack__": lambda s, **o: x.__dlpack__(), "__dlpack_device__": lambda s: (1, 0)})
    with machine.Device(number):
        return ndarray(np.from_dlpack(lender()))


class RawModule(emulated.RawModule):
    """Compiled for the emulator, launched on our arrays."""

    def get_function(self, name: str) -> Any:
        if not machine.runs_kernels[-1]:
            return lambda grid, block, args, *, shared_mem=0: do(lambda: None)
        call = super().get_function(name)

        def run(grid: Any, block: Any, args: Any, *, shared_mem: int = 0) -> None:
            given = [a._there if isinstance(a, ndarray) else a for a in args]
            do(lambda: call(grid, block, given, shared_mem=shared_mem))

        return run


def matmul(a: ndarray, b: ndarray) -> ndarray:
    """cuBLAS's part, which cannot be recorded."""
    if streams.current().is_capturing():
        raise NotImplementedError("calling cuBLAS API during stream capture is currently unsupported")
    return _matmul(a, b)


@of_numpy
def _matmul(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """In 16 bits, factors are rounded and sums are not."""
    stored = np.result_type(a, b)
    wide = np.float32 if stored.itemsize == 2 else stored
    return np.matmul(a.astype(wide), b.astype(wide)).astype(stored)


products = SimpleNamespace(COMPUTE_TYPE_DEFAULT=1, COMPUTE_TYPE_TF32=7, kinds={})
products.set_compute_type = lambda dtype, kind: products.kinds.update({dtype.name: kind})


@of_numpy
def erf(x: np.ndarray) -> np.ndarray:
    return np.vectorize(math.erf, otypes=[x.dtype])(x)


def _module(name: str, **members: Any) -> ModuleType:
    module = ModuleType(name)
    module.__spec__ = importlib.machinery.ModuleSpec(name, None)
    module.__dict__.update(members)
    return module


def _modules() -> dict[str, ModuleType]:
    runtime = SimpleNamespace(
        getDeviceCount=lambda: machine.DEVICES,
        CUDARuntimeError=machine.CUDARuntimeError,
        getDeviceProperties=machine.properties,
        driverGetVersion=lambda: 13010,
        runtimeGetVersion=lambda: 13000,
        deviceSynchronize=streams.synchronize_all,
    )
    cuda = _module(
        "cupy.cuda",
        Device=machine.Device,
        Stream=streams.Stream,
        Event=streams.Event,
        get_current_stream=streams.current,
        alloc_pinned_memory=streams.alloc_pinned_memory,
        get_elapsed_time=streams.elapsed,
        MemoryPool=machine.Pool,
        using_allocator=machine.using_allocator,
        runtime=runtime,
        compiler=SimpleNamespace(CompileException=emulated.CompileException),
        memory=SimpleNamespace(OutOfMemoryError=machine.OutOfMemoryError),
    )
    cupy = _module(
        "cupy",
        __version__="14.0.standin",
        ndarray=ndarray,
        asarray=asarray,
        array=array,
        asnumpy=asnumpy,
        from_dlpack=from_dlpack,
        RawModule=RawModule,
        empty=empty,
        matmul=matmul,
        empty_like=lambda x, dtype=None: empty(x.shape, dtype or x.dtype),
        cuda=cuda,
        get_default_memory_pool=lambda: machine.pools[machine.Device().id],
        **{name: getattr(np, name) for name in ("float32", "float64", "int64", "int32", "bool_", "newaxis", "inf")},
        **{name: of_numpy(getattr(np, name)) for name in _SAME.split()},
        **{name: of_numpy(getattr(np, name), waits=True) for name in _WAITING.split()},
        copyto=of_numpy(np.copyto, writes=True),
    )
    special = _module("cupyx.scipy.special", erf=erf)
    return {
        "cupy": cupy,
        "cupy.cuda": cuda,
        "cupy._core": _module("cupy._core", _routines_linalg=products),
        "cupyx": _module("cupyx"),
        "cupyx.scipy": _module("cupyx.scipy"),
        "cupyx.scipy.special": special,
    }


_MODULES = _modules()  # the same in every block, so that what was compiled stays


def _forget() -> None:
    streams.forget()
    launch.kernel.cache_clear()
    for kept in vars(optimiser).values():
        if hasattr(kept, "cache_clear"):
            kept.cache_clear()
    backends._made.pop("cupy", None)


@contextmanager
def standin_cupy(memory: int = machine.MEMORY, runs_kernels: bool = True) -> Iterator[ModuleType]:
    """``import cupy`` gives the stand-in, for a block.

    ``memory`` is that of each device, in bytes. Without ``runs_kernels`` our own kernels are checked and launched, but
    do nothing, and new memory holds zeros: for tests of what goes where, on networks too large for the emulator.
    """
    before = {name: sys.modules.get(name) for name in _MODULES}
    _forget()
    sys.modules.update(_MODULES)
    traffic.clear()
    machine.runs_kernels.append(runs_kernels)
    machine.pools[:] = [machine.Pool(memory) for _ in range(machine.DEVICES)]
    try:
        yield _MODULES["cupy"]
    finally:
        _forget()
        machine.runs_kernels.pop()
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module
