"""Where arrays are computed: the choice of a backend, made once for each operation.

The array's type decides between host and device (`numpy.ndarray` or `cupy.ndarray`); `use_backend` decides which of the
host's backends runs: ``loops``, ``numpy`` or ``numba``. ``use_backend("cupy")`` decides where new tensors are made.
Nothing is imported before it is first chosen.
"""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Callable, Sequence
from types import TracebackType

import numpy as np

from . import device
from .base import Array, Backend, Block, Given, Layer, Padding, Pair, Squeeze, Statistics, Window
from .dtypes import is_floating

__all__ = [
    "Array",
    "Backend",
    "Block",
    "Given",
    "Layer",
    "Padding",
    "Pair",
    "Squeeze",
    "Statistics",
    "Window",
    "available_backends",
    "backend_of",
    "current_backend",
    "is_floating",
    "set_num_threads",
    "use_backend",
]


def _loops() -> Backend:
    from .loops import Loops

    return Loops()


def _numpy() -> Backend:
    from .vectorized import NumPy

    return NumPy()


def _numba() -> Backend:
    from .numba import Numba

    return Numba()


def _cupy() -> Backend:
    from .cupy.availability import require_device

    cupy = require_device("use_backend('cupy')")
    from .cupy.backend import CuPy

    return CuPy(cupy)


_makers: dict[str, Callable[[], Backend]] = {"loops": _loops, "numpy": _numpy, "numba": _numba, "cupy": _cupy}
_HOSTS = ("loops", "numpy", "numba")
_made: dict[str, Backend] = {}


class _Choice(threading.local):
    """The backends chosen by the ``with`` blocks that this thread is in, the innermost last."""

    def __init__(self) -> None:
        self.blocks: list[Backend] = []


_default: Backend | None = None  # chosen for the whole process by a plain call of use_backend
_default_from: use_backend | None = None  # that call
_choice = _Choice()


def available_backends() -> list[str]:
    """Names of the host's backends that can run here, from the most readable to the fastest.

    Whether ``cupy`` can run as well takes a driver to tell: ``use_backend("cupy")`` does, or says what is missing.
    """
    return [name for name in _HOSTS if name != "numba" or importlib.util.find_spec("numba")]


def _get(name: str) -> Backend:
    if name not in _made:
        if name not in _makers:
            raise ValueError(f"use_backend(name): {name!r} is not a backend; choose one of {list(_makers)}")
        if name in _HOSTS and name not in available_backends():
            raise ImportError(
                f"use_backend({name!r}) needs the package {name!r}, which is not installed: pip install {name}, "
                f"or choose one of {available_backends()}"
            )
        _made[name] = _makers[name]()
    return _made[name]


def current_backend() -> Backend:
    """The backend in use: the innermost ``with use_backend(...)``'s, else the process's, else the host's fastest."""
    global _default
    if _choice.blocks:
        return _choice.blocks[-1]
    if _default is None:
        _default = _get(available_backends()[-1])
    return _default


def backend_of(arrays: Sequence[Array]) -> Backend:
    """The backend that computes with these arrays: by their type on a device, by the user's choice on the host.

    Raises
    ------
    device.MixedDevicesError
        They lie in different memories.
    TypeError
        An array lies where no backend of ours computes.
    """
    for array in arrays:
        if type(array) is not np.ndarray:
            return _backend_of_device(arrays)
    backend = current_backend()
    return backend if backend.xp is np else _host_backend()


def _backend_of_device(arrays: Sequence[Array]) -> Backend:
    for array in arrays:
        if type(array) is not np.ndarray and not device.is_on_device(array):
            raise TypeError(
                f"an array of type {type(array).__name__} lies where no backend here computes; "
                "convert it to a numpy.ndarray"
            )
    if len({device.device_of(array) for array in arrays}) > 1:
        names = [f"argument {i}" for i in range(len(arrays))]
        raise device.MixedDevicesError(device.mixing("this operation", names, arrays), arrays)
    return _get("cupy")


def _host_backend() -> Backend:
    """The backend for the host's arrays where new ones are made on a device."""
    chosen = [backend for backend in (_default, *_choice.blocks) if backend is not None and backend.xp is np]
    return chosen[-1] if chosen else _get(available_backends()[-1])


def newborn(array: Array) -> Array:
    """A new array of the host, carried to where new tensors are made: a device inside ``use_backend("cupy")``."""
    return array if current_backend().xp is np or type(array) is not np.ndarray else device.move(array, "cuda")


def set_num_threads(n: int) -> None:
    """Compute with ``n`` threads, in compiled kernels and in matrix products alike, in the whole process.

    Raises
    ------
    ValueError
        ``n`` is not a whole number from 1 to the number of threads that Numba was started with.
    ImportError
        Neither Numba nor threadpoolctl is installed, so that nothing here has threads to set.
    """
    if "numba" in available_backends():
        from .numba import set_num_threads as set_all

        set_all(n)
        return
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        raise ValueError(f"set_num_threads(n): got {n!r}, expected a whole number from 1 up")
    try:
        from threadpoolctl import threadpool_limits
    except ImportError:
        raise ImportError("set_num_threads needs the package threadpoolctl: pip install threadpoolctl") from None
    threadpool_limits(limits=n, user_api="blas")


class use_backend:  # noqa: N801 - reads as a statement, like torch.no_grad
    """Choose the backend: for the process as a call, for one block of one thread as a context manager.

    Parameters
    ----------
    name : "loops", "numpy", "numba" or "cupy"
        ``loops`` is plain Python over scalars, to read and to test against; ``numpy`` is vectorised; ``numba`` is
        compiled and the default where Numba is installed. These compute with what lies on the host. ``cupy`` makes
        new tensors and modules on the current GPU, where the type of their arrays then chooses its kernels; what lies
        on the host already stays there (move it with ``.to("cupy")``) and is computed with on the host.

    Raises
    ------
    ValueError
        There is no such backend.
    ImportError
        The backend needs a package, a driver or a device that is not there; the message says which to install.

    Examples
    --------
    >>> use_backend("numpy")              # from here on                                        # doctest: +SKIP
    >>> with use_backend("loops"):        # in this block only
    ...     pass
    """

    def __init__(self, name: str) -> None:
        global _default, _default_from
        self._backend = _get(name)
        self._before = _default
        _default, _default_from = self._backend, self

    def __enter__(self) -> Backend:
        # only now is it known that this was no plain call: what the call did for the process is taken back
        global _default, _default_from
        if _default_from is self:
            _default, _default_from = self._before, None
        _choice.blocks.append(self._backend)
        return self._backend

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _choice.blocks.pop()

    def __repr__(self) -> str:
        return f"use_backend({self._backend.name!r})"
