"""Tensor: an array, the gradient it may receive, and the node that made it.

A tensor computes nothing itself. Its operators and methods look the operation up, by name, in `functions`, which
``ops/`` fills; so this file knows no operation, and an operation is written in one place only.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from . import tape, versions
from .backends import is_floating, newborn
from .backends.device import require_one_place
from .interop import Interop, borrow, check_numbers, check_write

Array = Any
functions: dict[str, Callable[..., Any]] = {}


def _operator(name: str) -> Callable[[Tensor, Any], Tensor]:
    def operator(self: Tensor, other: Any) -> Tensor:
        return functions[name](self, other)

    return operator


def _reflected(name: str) -> Callable[[Tensor, Any], Tensor]:
    def operator(self: Tensor, other: Any) -> Tensor:
        return functions[name](other, self)

    return operator


def _method(name: str) -> Callable[..., Tensor]:
    def method(self: Tensor, *arguments: Any, **options: Any) -> Tensor:
        return functions[name](self, *arguments, **options)

    method.__doc__ = f"`ops.{name}` of this tensor."
    return method


class Tensor(Interop):
    """A multi-dimensional array that operations on it can be differentiated through.

    Parameters
    ----------
    data : array, number, nested list or Tensor
        Copied; use `from_numpy` to share memory. Arrays keep their dtype; Python floats become float32, as in PyTorch.
    requires_grad : bool
        Record what is computed from this tensor, and collect its gradient in ``.grad`` on `backward`.
    dtype : NumPy dtype, optional
        Convert to this dtype.

    Attributes
    ----------
    array : numpy.ndarray or cupy.ndarray
        The numbers themselves. Writing to them changes the tensor, and only `detect_anomaly` notices; write with
        ``tensor[...] = value``, which the tape knows of.
    grad : Tensor or None
        Sum of the gradients of all backward passes since it was last set to None; same shape and dtype.
    node, index
        The entry of the tape that made this tensor, and which of its outputs this is; ``node`` is None when nothing is
        recorded.

    Raises
    ------
    TypeError
        The data are not numbers, or ``requires_grad`` is asked for numbers that have no gradient.

    Examples
    --------
    >>> x = Tensor([1.0, 2.0, 3.0], requires_grad=True)
    >>> y = (x * x).sum()
    >>> y.backward()
    >>> x.grad
    Tensor([2., 4., 6.])
    """

    __slots__ = ("__weakref__", "array", "grad", "index", "node")

    array: Array
    grad: Tensor | None
    node: tape.Node | None
    index: int

    def __init__(self, data: Any, requires_grad: bool = False, dtype: Any = None) -> None:
        self.array = _to_array(data, dtype)
        self.grad = None
        self.node = None
        self.index = 0
        if requires_grad:
            self.requires_grad = True

    # -- what it is ----------------------------------------------------------------------------------------------
    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    @property
    def dtype(self) -> Any:
        return self.array.dtype

    @property
    def ndim(self) -> int:
        return self.array.ndim

    @property
    def size(self) -> int:
        """Number of entries."""
        return self.array.size

    def numel(self) -> int:
        return self.array.size

    def dim(self) -> int:
        return self.array.ndim

    def __len__(self) -> int:
        if not self.ndim:
            raise TypeError("len(tensor): a tensor of shape () has no first axis; reshape(1) gives it one")
        return len(self.array)

    def item(self) -> Any:
        """The only entry, as a Python number."""
        if self.array.size != 1:
            raise ValueError(
                f"item(): the tensor has {self.array.size} entries (shape {self.shape}); index one of them first"
            )
        return self.array.item()

    def tolist(self) -> Any:
        return self.array.tolist()

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __bool__(self) -> bool:
        if self.array.size != 1:
            raise ValueError(
                f"bool(tensor): shape {self.shape} is neither true nor false; reduce it with .numpy().all() or .any()"
            )
        return bool(self.array.item())

    def __repr__(self) -> str:
        text = np.array2string(self._readable(), separator=", ", prefix="Tensor(", threshold=100)
        dtype = "" if self.dtype in (np.float32, np.int64, np.bool_) else f", dtype={self.dtype}"
        origin = "" if self.node is None else ", requires_grad=True" if self.is_leaf else f", made by {self.node.name}"
        return f"Tensor({text}{dtype}{self._place()}{origin})"

    # -- the tape ------------------------------------------------------------------------------------------------
    @property
    def requires_grad(self) -> bool:
        """True when operations on this tensor are recorded. Only a leaf's can be set."""
        return self.node is not None

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        if value == (self.node is not None):
            return
        if value:
            if not is_floating(self.dtype):
                raise TypeError(
                    f"requires_grad=True: only floating-point tensors have gradients, and this one is {self.dtype}; "
                    "convert it first, e.g. Tensor(data, dtype='float32')"
                )
            self.node = tape.Leaf(self)
        elif self.is_leaf:
            self.node = None
        else:
            raise ValueError(
                "requires_grad=False: this tensor is the result of an operation; use .detach() to cut it off"
            )

    def requires_grad_(self, value: bool = True) -> Tensor:
        self.requires_grad = value
        return self

    @property
    def is_leaf(self) -> bool:
        """True for a tensor that no recorded operation made."""
        return self.node is None or isinstance(self.node, tape.Leaf)

    def backward(self, gradient: Any = None, retain_graph: bool = False, create_graph: bool = False) -> None:
        """Add the gradient of this tensor to ``.grad`` of every leaf that it was computed from.

        Parameters
        ----------
        gradient : array or Tensor of this shape, optional
            Gradient of the final quantity with respect to this tensor; 1 when left out, for a tensor of one entry.
        retain_graph, create_graph : bool
            Keep the tape for another walk; record the walk itself. See `tape.backward`.

        Raises
        ------
        ValueError
            ``gradient`` is missing or has another shape, or nothing was recorded.
        RuntimeError
            The tape was already walked, and what it saved is gone.
        """
        if self.node is None:
            raise ValueError(
                "backward(): nothing here requires a gradient; make an input with requires_grad=True, outside no_grad()"
            )
        tape.backward([self], [self.seed_gradient(gradient)], retain_graph=retain_graph, create_graph=create_graph)

    def seed_gradient(self, gradient: Any, caller: str = "backward(gradient)") -> Tensor:
        """What a user gives as this tensor's gradient, checked and converted; None stands for 1, for one entry."""
        if gradient is None:
            if self.array.size != 1:
                raise ValueError(
                    f"{caller}: the tensor has shape {self.shape}, so its gradient is not simply 1; "
                    "pass one of that shape, or reduce the tensor to a single number first (.sum(), .mean())"
                )
            one = self.array.copy()
            one[...] = 1
            return wrap(one)
        if not isinstance(gradient, Tensor):
            gradient = wrap(_to_array(gradient, self.dtype))
        if gradient.shape != self.shape:
            raise ValueError(
                f"{caller}: the gradient has shape {gradient.shape}, but the tensor {self.shape}; they must agree"
            )
        if type(gradient.array) is not np.ndarray or type(self.array) is not np.ndarray:
            require_one_place(caller, tensor=self.array, gradient=gradient.array)
        return gradient if gradient.dtype == self.dtype else gradient.to(self.dtype)

    def accumulate_grad(self, gradient: Tensor) -> None:
        """Add to ``.grad``. The first gradient is copied, since its array may belong to others as well."""
        if self.grad is None:
            self.grad = wrap(gradient.array.copy()) if gradient.node is None else gradient
        elif gradient.node is not None or self.grad.node is not None:
            self.grad = self.grad + gradient
        else:
            versions.wrote("backward(), adding to .grad,", self.grad.array)
            self.grad.array += gradient.array

    def detach(self) -> Tensor:
        """The same numbers, cut off from the tape; memory is shared."""
        return wrap(self.array)

    def retain_grad(self) -> None:
        """Keep this tensor's gradient in ``.grad`` on backward, although it is not a leaf."""
        node = self._recorded("retain_grad()")
        if not isinstance(node, tape.Leaf):
            node.retained = {**(node.retained or {}), self.index: weakref.ref(self)}

    def register_hook(self, hook: Callable[[Tensor], Tensor | None]) -> Hook:
        """Call ``hook(gradient)`` once this tensor's gradient is complete; a result other than None replaces it."""
        node = self._recorded("register_hook()")
        node.hooks = node.hooks or {}
        node.hooks.setdefault(self.index, []).append(hook)
        return Hook(node.hooks[self.index], hook)

    def _recorded(self, caller: str) -> tape.Node:
        if self.node is None:
            raise ValueError(
                f"{caller}: this tensor does not require a gradient, so none will ever arrive; make it, or what it is "
                "computed from, with requires_grad=True"
            )
        return self.node

    # -- operators -----------------------------------------------------------------------------------------------
    __add__, __radd__ = _operator("add"), _reflected("add")
    __sub__, __rsub__ = _operator("sub"), _reflected("sub")
    __mul__, __rmul__ = _operator("mul"), _reflected("mul")
    __truediv__, __rtruediv__ = _operator("div"), _reflected("div")
    __pow__, __rpow__ = _operator("pow"), _reflected("pow")
    __matmul__, __rmatmul__ = _operator("matmul"), _reflected("matmul")
    __eq__, __ne__ = _operator("eq"), _operator("ne")  # type: ignore[assignment]
    __lt__, __le__ = _operator("lt"), _operator("le")
    __gt__, __ge__ = _operator("gt"), _operator("ge")
    __hash__ = object.__hash__  # by identity, although == compares entries
    __neg__, __abs__ = _method("neg"), _method("abs")
    __getitem__ = _operator("getitem")

    def __setitem__(self, index: Any, value: Any) -> None:
        if self.node is not None and tape.is_grad_enabled():
            raise ValueError(
                "tensor[...] = value would change numbers that the tape has recorded; write inside no_grad() for a "
                "leaf, or build a new tensor with where(), cat() or pad()"
            )
        value = value.array if isinstance(value, Tensor) else value
        check_write(self.array, value)
        self.array[plain_index(index)] = value
        versions.wrote("tensor[...] = value", self.array)

    def __iter__(self) -> Iterator[Tensor]:
        return (self[i] for i in range(len(self)))

    # -- operations as methods: each is the function of that name in ops/, with this tensor as its first argument ---
    exp, log, sqrt, abs, sin, cos, tanh = map(_method, ("exp", "log", "sqrt", "abs", "sin", "cos", "tanh"))
    clip, clamp = _method("clip"), _method("clip")
    relu, sigmoid, silu, gelu = map(_method, ("relu", "sigmoid", "silu", "gelu"))
    softmax, log_softmax, logsumexp = map(_method, ("softmax", "log_softmax", "logsumexp"))
    sum, mean, var, std = map(_method, ("sum", "mean", "var", "std"))
    max, min, amax, amin, argmax = map(_method, ("amax", "amin", "amax", "amin", "argmax"))
    transpose, flatten, squeeze, unsqueeze = map(_method, ("transpose", "flatten", "squeeze", "unsqueeze"))
    matmul, to, sum_to = map(_method, ("matmul", "to", "sum_to"))

    def reshape(self, *shape: Any) -> Tensor:
        return functions["reshape"](self, _sizes(shape))

    def permute(self, *dims: Any) -> Tensor:
        return functions["permute"](self, _sizes(dims))

    def broadcast_to(self, *shape: Any) -> Tensor:
        return functions["broadcast_to"](self, _sizes(shape))

    @property
    def T(self) -> Tensor:  # noqa: N802
        """All axes in reverse order; for a matrix, its transpose."""
        return functions["permute"](self, tuple(reversed(range(self.ndim))))

    def double(self) -> Tensor:
        return functions["cast"](self, np.float64)

    def float(self) -> Tensor:
        return functions["cast"](self, np.float32)


class Hook:
    """What registering a hook returns; ``remove()`` ends it."""

    def __init__(self, hooks: list[Callable[..., Any]], hook: Callable[..., Any]) -> None:
        self._hooks, self._hook = hooks, hook

    def remove(self) -> None:
        if self._hook in self._hooks:
            self._hooks.remove(self._hook)


def wrap(array: Array, node: tape.Node | None = None, index: int = 0) -> Tensor:
    """A tensor around an array that is already right: nothing is copied, converted or checked."""
    tensor = Tensor.__new__(Tensor)
    tensor.array = array
    tensor.grad = None
    tensor.node = node
    tensor.index = index
    return tensor


def from_numpy(array: np.ndarray) -> Tensor:
    """A tensor that shares memory with a NumPy array: writing to one changes the other."""
    if not isinstance(array, np.ndarray):
        raise TypeError(
            f"from_numpy(array): expected a numpy.ndarray, got {type(array).__name__}; use Tensor(...) for it"
        )
    return wrap(check_numbers(array))


def from_dlpack(x: Any) -> Tensor:
    """A tensor that shares memory with a PyTorch tensor, or any other array that speaks DLPack, wherever it lies.

    Writing to one changes the other, unless the other library lent the memory as read-only.

    Raises
    ------
    TypeError
        ``x`` does not speak DLPack, lies on another kind of device than CUDA's, or holds no numbers.
    """
    return wrap(check_numbers(borrow(x)))


def _to_array(data: Any, dtype: Any) -> Array:
    if isinstance(data, Tensor):
        data = data.array
    elif isinstance(data, np.generic):
        data = np.asarray(data)
    if hasattr(data, "dtype") and hasattr(data, "astype"):  # an array of the host or of a device
        return newborn(check_numbers(data.astype(dtype or data.dtype, copy=True)))
    try:
        array = np.array(plain_index(data), dtype=dtype)
    except ValueError as error:
        raise ValueError(
            f"Tensor(data): the lists cannot be made an array; are they of equal lengths? {error}"
        ) from None
    return newborn(check_numbers(array.astype(np.float32) if dtype is None and array.dtype == np.float64 else array))


def plain_index(value: Any) -> Any:
    """Tensors inside nested lists or index tuples as plain arrays."""
    if isinstance(value, Tensor):
        return value.array
    if isinstance(value, (tuple, list)):
        return type(value)(plain_index(v) for v in value)
    return value


def _sizes(arguments: Sequence[Any]) -> tuple[int, ...]:
    """``reshape(2, 3)`` and ``reshape((2, 3))`` mean the same."""
    if len(arguments) == 1 and isinstance(arguments[0], (tuple, list)):
        return tuple(arguments[0])
    return tuple(arguments)
