"""Is there a GPU to compute on? If not, what is missing, and what to install."""

from __future__ import annotations

import ctypes
import importlib.util
import sys
from typing import Any, NamedTuple

_LIBRARIES = ("libcuda.so.1", "nvcuda.dll")


class NoDeviceError(ImportError):
    """CuPy, a driver or a device is missing; the message says which, what was found, and what to install."""


def require_device(caller: str) -> Any:
    """CuPy, imported, on a machine where it has a device to compute on.

    Raises
    ------
    NoDeviceError
        It has not.
    """
    try:
        import cupy
    except ImportError as error:
        raise NoDeviceError(f"{caller} needs CuPy, {_missing(error)} {_advice(driver_version())}") from None
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except RuntimeError as error:
        found = driver_version()
        driver = "no NVIDIA driver" if found is None else f"a driver for CUDA {_dotted(found)}"
        raise NoDeviceError(
            f"{caller}: CuPy {cupy.__version__} is installed, but finds no device: {error}. This machine has {driver}. "
            + ("Install the driver of the GPU, or compute on the host" if found is None else _advice(found))
        ) from None
    if not count:
        raise NoDeviceError(
            f"{caller}: CuPy {cupy.__version__} and a driver are installed, but show no device; "
            "CUDA_VISIBLE_DEVICES may hide it, or this machine has none. Compute on the host instead, "
            'as with use_backend("numba")'
        )
    return cupy


class Facts(NamedTuple):
    """What a device is; memory in bytes."""

    name: str
    capability: str  # of compute: "9.0" for an H100
    processors: int
    total: int
    free: int

    def __str__(self) -> str:
        memory = f"{self.free / 2**30:.1f} of {self.total / 2**30:.1f} GiB free"
        return f"{self.name}, compute capability {self.capability}, {self.processors} multiprocessors, {memory}"


def devices(caller: str) -> list[Facts]:
    """Every device that CuPy sees, by number.

    Raises
    ------
    NoDeviceError
        There is none.
    """
    cupy, found = require_device(caller), []
    for number in range(cupy.cuda.runtime.getDeviceCount()):
        says = cupy.cuda.runtime.getDeviceProperties(number)
        with cupy.cuda.Device(number) as device:
            free, total = device.mem_info
        capability = f"{says['major']}.{says['minor']}"
        found.append(Facts(says["name"].decode(), capability, says["multiProcessorCount"], total, free))
    return found


def software() -> str:
    """The driver and the CUDA that CuPy was built for, in words."""
    import cupy

    runtime = cupy.cuda.runtime
    return f"driver for CUDA {_dotted(runtime.driverGetVersion())}, CUDA {_dotted(runtime.runtimeGetVersion())} in CuPy"


def driver_version() -> int | None:
    """The newest CUDA that the installed driver can run, 1000 · major + 10 · minor; None without a driver."""
    for name in _LIBRARIES:
        try:
            library = ctypes.CDLL(name)
        except OSError:
            continue
        version = ctypes.c_int(0)
        if library.cuDriverGetVersion(ctypes.byref(version)) == 0:
            return version.value
    return None


def _missing(error: ImportError) -> str:
    if importlib.util.find_spec("cupy") is None and "cupy" not in sys.modules:
        return "which is not installed."
    return f"which is installed but cannot be imported: {error}."


def _advice(driver: int | None) -> str:
    """Which of our extras fits the driver."""
    install = 'pip install "tinygrad_effnet[{}]"'
    if driver is None:
        return (
            "No NVIDIA driver was found on this machine either. On one with a GPU, "
            f"{install.format('cuda12')} suits drivers for CUDA 12, {install.format('cuda13')} those for CUDA 13 "
            "(nvidia-smi shows it)"
        )
    extra = "cuda13" if driver >= 13000 else "cuda12"
    return f"The driver here is one for CUDA {_dotted(driver)}: {install.format(extra)}"


def _dotted(version: int) -> str:
    return f"{version // 1000}.{version % 1000 // 10}"
