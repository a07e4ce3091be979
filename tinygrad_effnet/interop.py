"""Interop: how a tensor meets NumPy, DLPack, ``copy`` and ``pickle``. `Tensor` inherits all of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .backends.cupy.availability import require_device
from .backends.device import device_of, is_array, is_on_device, on_host, require_one_place
from .backends.dtypes import is_floating

if TYPE_CHECKING:
    from .tensor import Tensor

_HOST, _CUDA = 1, 2  # DLPack's numbers for a CPU and for an NVIDIA GPU (dlpack.h, DLDeviceType)

# what a ufunc means for a tensor: its method when the tensor stands first, and when it stands second
_UFUNCS = {
    "add": ("__add__", "__radd__"),
    "subtract": ("__sub__", "__rsub__"),
    "multiply": ("__mul__", "__rmul__"),
    "divide": ("__truediv__", "__rtruediv__"),
    "power": ("__pow__", "__rpow__"),
    "matmul": ("__matmul__", "__rmatmul__"),
    "equal": ("__eq__", "__eq__"),
    "not_equal": ("__ne__", "__ne__"),
    "less": ("__lt__", "__gt__"),
    "less_equal": ("__le__", "__ge__"),
    "greater": ("__gt__", "__lt__"),
    "greater_equal": ("__ge__", "__le__"),
    "negative": ("__neg__", ""),
    "absolute": ("__abs__", ""),
    "exp": ("exp", ""),
    "log": ("log", ""),
    "sqrt": ("sqrt", ""),
    "sin": ("sin", ""),
    "cos": ("cos", ""),
    "tanh": ("tanh", ""),
}


class Interop:
    """The part of `Tensor` that other libraries see."""

    __slots__ = ()

    array: Any

    # -- NumPy -----------------------------------------------------------------------------------------------------
    def numpy(self) -> np.ndarray:
        """The numbers as a read-only NumPy array that shares memory; ``.numpy().copy()`` gives one to write to.

        Raises
        ------
        TypeError
            The tensor lies on a device, whose memory NumPy cannot share.
        """
        if is_on_device(self.array):
            raise TypeError(
                f"numpy(): the tensor (shape {self.array.shape}) lies on {self.device}, and NumPy reads the host's "
                "memory only; copy it there first: x.cpu().numpy()"
            )
        view = self.array.view()
        view.flags.writeable = False
        return view

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.numpy(), dtype=dtype, copy=copy)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        """``ndarray * Tensor`` and ``np.exp(Tensor)`` are tensors, recorded like any other result."""
        name = ufunc.__name__
        if options.get("out"):
            raise TypeError(
                f"np.{name}(..., out=ndarray), as in `ndarray {_symbol(name)}= Tensor`: an array cannot hold what the "
                "tape needs. Make a new tensor (a = a * x), or use the numbers alone (a *= x.numpy())"
            )
        if method != "__call__" or options or name not in _UFUNCS:
            call = name if method == "__call__" else f"{name}.{method}"
            raise TypeError(
                f"np.{call}(Tensor): the tape does not record it. Use an operation of tinygrad_effnet, or the numbers "
                f"alone: np.{call}(x.numpy())"
            )
        first, second = _UFUNCS[name]
        if isinstance(inputs[0], Interop):
            return getattr(inputs[0], first)(*inputs[1:])
        return getattr(inputs[1], second)(inputs[0])

    # -- devices ---------------------------------------------------------------------------------------------------
    @property
    def device(self) -> str:
        """Where the numbers lie: "cpu", or "cuda:0", "cuda:1", ..."""
        return device_of(self.array)

    def cpu(self) -> Tensor:
        """This tensor in the host's memory; itself where it lies there."""
        return self.to("cpu")  # type: ignore[attr-defined]

    def cuda(self, device: int | None = None) -> Tensor:
        """This tensor on a GPU: the current one, or that of the number given; itself where it lies there."""
        return self.to("cuda" if device is None else f"cuda:{device}")  # type: ignore[attr-defined]

    def _readable(self) -> np.ndarray:
        """The numbers for ``repr``, which may look at what lies anywhere."""
        return on_host(self.array) if is_on_device(self.array) else self.array

    def _place(self) -> str:
        """What ``repr`` says of the device; nothing on the host."""
        return f", device={self.device!r}" if is_on_device(self.array) else ""

    # -- DLPack ----------------------------------------------------------------------------------------------------
    def __dlpack__(self, **options: Any) -> Any:
        """Lend the memory to another library, as in ``torch.from_dlpack(tensor)``; nothing is copied.

        Raises
        ------
        BufferError
            The tensor is recorded, and the other library's tape would know nothing of ours.
        """
        if self.requires_grad:  # type: ignore[attr-defined]
            raise BufferError(
                "__dlpack__: this tensor requires a gradient, which another library cannot pass on; lend x.detach()"
            )
        return self.array.__dlpack__(**{name: value for name, value in options.items() if value is not None})

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.array.__dlpack_device__()

    # -- copies ----------------------------------------------------------------------------------------------------
    def __reduce__(self) -> Any:
        raise TypeError(
            "a Tensor cannot be pickled; save .numpy(), or a module's state_dict() with "
            "training.checkpoint.save_weights"
        )

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        if not self.is_leaf:  # type: ignore[attr-defined]
            raise ValueError(
                "deepcopy: only leaves can be copied, and this tensor is the result of an operation; use .detach()"
            )
        kind: Any = type(self)
        return kind(self, requires_grad=self.requires_grad)  # type: ignore[attr-defined]


def borrow(x: Any) -> Any:
    """The array behind an object that speaks DLPack, without copying. TypeError for what has none of ours."""
    if not hasattr(x, "__dlpack__") or not hasattr(x, "__dlpack_device__"):
        raise TypeError(
            f"from_dlpack(x): a {type(x).__name__} does not speak DLPack (it has no __dlpack__); use Tensor(x)"
        )
    kind, number = x.__dlpack_device__()
    if kind == _CUDA:
        return require_device("from_dlpack(x)").from_dlpack(x)
    if kind != _HOST:
        raise TypeError(
            f"from_dlpack(x): the memory of this {type(x).__name__} lies on device {number} of DLPack's kind {kind!r}, "
            "neither the host nor an NVIDIA GPU; move it to the host first, in PyTorch with x.cpu()"
        )
    return np.from_dlpack(x)


def check_numbers(array: Any) -> Any:
    """The array, if it holds numbers; TypeError otherwise."""
    if not (array.dtype.kind in "biu" or is_floating(array.dtype)) or np.ma.isMaskedArray(array):
        kind = "a masked array; fill it first" if np.ma.isMaskedArray(array) else f"dtype {array.dtype}"
        raise TypeError(f"Tensor(data): numbers expected, got {kind}")
    return np.asarray(array) if isinstance(array, np.ndarray) else array  # a memory map is an array like any other


def check_write(array: Any, value: Any) -> None:
    """Refuse ``tensor[...] = value`` where the tensor's memory is read-only, or the value lies elsewhere."""
    if not getattr(array.flags, "writeable", True):  # a device's memory always is
        raise ValueError(
            f"tensor[...] = value: the memory of this tensor (shape {array.shape}) is read-only, as its owner or a "
            "broadcast left it; write to a copy, Tensor(x)"
        )
    if is_array(value):
        require_one_place("tensor[...] = value", tensor=array, value=value)


def _symbol(ufunc: str) -> str:
    symbols = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/", "power": "**", "matmul": "@"}
    return symbols.get(ufunc, "?")
