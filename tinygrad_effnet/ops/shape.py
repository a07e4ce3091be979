"""Operations that move numbers and compute none: reshape, transpose, index, join, pad, broadcast."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..backends import Array, Backend
from ..contract import expect_arrays
from ..op import Op, Shape, function, register
from ..tensor import Tensor, plain_index


class _Move(Op):
    """No arithmetic is done, so none is counted."""

    integers = True
    shapes = "x: ... -> ..."

    def flops(self, inputs: Sequence[Shape], outputs: Sequence[Shape]) -> int:
        return 0


@register
class Reshape(_Move):
    """The same entries in the same order under another shape."""

    formula = "y = x under another shape"
    rule = "x̄ = ȳ under the shape of x"

    def __init__(self, shape: Shape) -> None:
        self.shape = shape

    def forward(self, kernels: Backend, x: Array) -> Array:
        self.source = x.shape
        return x.reshape(self.shape)

    def backward(self, dy: Tensor) -> Tensor:
        return Reshape(self.source)(dy)


@register
class Permute(_Move):
    """Axes in another order."""

    formula = "y[i_p(1), i_p(2), …] = x[i₁, i₂, …]"
    rule = "x̄ = ȳ with its axes put back"

    def __init__(self, dims: tuple[int, ...]) -> None:
        self.dims = dims

    def forward(self, kernels: Backend, x: Array) -> Array:
        return x.transpose(self.dims)

    def backward(self, dy: Tensor) -> Tensor:
        return Permute(tuple(self.dims.index(i) for i in range(len(self.dims))))(dy)


@register
class BroadcastTo(_Move):
    """Repeat along axes of size 1, and along new leading axes."""

    formula = "y = x, repeated"
    rule = "x̄ = Σ ȳ over the repetitions"

    def __init__(self, shape: Shape) -> None:
        self.shape = shape

    def forward(self, kernels: Backend, x: Array) -> Array:
        self.source = x.shape
        return kernels.xp.broadcast_to(x, self.shape)

    def backward(self, dy: Tensor) -> Tensor:
        return SumTo(self.source)(dy)


@register
class SumTo(Op):
    """Undo a broadcast: sum over the axes along which ``shape`` was repeated. The engine's un-broadcasting."""

    formula = "y = Σ x over the axes along which it was repeated"
    rule = "x̄ = ȳ, repeated"
    shapes = "x: ... -> ..."
    integers = True

    def __init__(self, shape: Shape) -> None:
        self.shape = shape

    def forward(self, kernels: Backend, x: Array) -> Array:
        self.source = x.shape
        new = x.ndim - len(self.shape)
        repeated = [i + new for i, n in enumerate(self.shape) if n == 1 and x.shape[i + new] != 1]
        axes = (*range(new), *repeated)
        return kernels.sum(x, axes, True).reshape(self.shape) if axes else x.reshape(self.shape)

    def backward(self, dy: Tensor) -> Tensor:
        return BroadcastTo(self.source)(dy)

    def flops(self, inputs: Sequence[Shape], outputs: Sequence[Shape]) -> int:
        return math.prod(inputs[0])


@register
class Getitem(_Move):
    """Indexing with anything NumPy takes: numbers, slices, None, ..., integer or boolean arrays."""

    formula = "y = x[index]"
    rule = "x̄ = zeros with ȳ added at [index]"

    def __init__(self, index: Any) -> None:
        self.index = index

    def forward(self, kernels: Backend, x: Array) -> Array:
        self.source = x.shape
        return x[self.index]

    def backward(self, dy: Tensor) -> Tensor:
        return ScatterAdd(self.index, self.source)(dy)


@register
class ScatterAdd(Op):
    """Zeros with x added at [index]; an entry that is indexed twice receives both."""

    formula = "y = zeros with x added at [index]"
    rule = "x̄ = ȳ[index]"
    shapes = "x: ... -> ..."
    integers = True

    def __init__(self, index: Any, shape: Shape) -> None:
        self.index, self.shape = index, shape

    def forward(self, kernels: Backend, x: Array) -> Array:
        if not _is_basic(self.index):
            return kernels.scatter_add(x, self.index, self.shape)
        y = kernels.xp.zeros(self.shape, x.dtype)
        y[self.index] = x  # basic indices name no entry twice
        return y

    def backward(self, dy: Tensor) -> Tensor:
        return Getitem(self.index)(dy)

    def flops(self, inputs: Sequence[Shape], outputs: Sequence[Shape]) -> int:
        return math.prod(inputs[0])


def _own(part: Any) -> Any:
    return part.copy() if hasattr(part, "dtype") else part


def _is_basic(index: Any) -> bool:
    parts = index if isinstance(index, tuple) else (index,)
    return all(part is None or part is Ellipsis or type(part) in (int, slice) for part in parts)


@register
class Cat(_Move):
    """Tensors one after the other along an axis."""

    formula = "y = x₁, x₂, … one after the other"
    rule = "x̄ᵢ = the part of ȳ that came from xᵢ"
    shapes = "*tensors: ... -> ..."

    def __init__(self, dim: int) -> None:
        self.dim = dim

    def forward(self, kernels: Backend, *tensors: Array) -> Array:
        self.sizes = [x.shape[self.dim] for x in tensors]
        return kernels.xp.concatenate(tensors, axis=self.dim)

    def backward(self, dy: Tensor) -> tuple[Tensor | None, ...]:
        parts, start, before = [], 0, (slice(None),) * self.dim
        for size, needed in zip(self.sizes, self.needed, strict=True):
            parts.append(dy[(*before, slice(start, start + size))] if needed else None)
            start += size
        return tuple(parts)


@register
class Pad(_Move):
    """A border of one value around a tensor."""

    formula = "y = x inside a border of one value"
    rule = "x̄ = ȳ without the border"

    def __init__(self, widths: tuple[tuple[int, int], ...], value: float) -> None:
        self.widths, self.value = widths, value

    def forward(self, kernels: Backend, x: Array) -> Array:
        self.inside = tuple(slice(before, before + n) for (before, _), n in zip(self.widths, x.shape, strict=True))
        return kernels.xp.pad(x, self.widths, constant_values=self.value)

    def backward(self, dy: Tensor) -> Tensor:
        return dy[self.inside]


# -- functions -----------------------------------------------------------------------------------------------------


@function
def reshape(x: Tensor, shape: Sequence[int]) -> Tensor:
    """The same entries under another shape; one size may be -1 and is worked out. ValueError if the counts differ."""
    shape = tuple(map(int, shape))
    known = -math.prod(shape) if -1 in shape else math.prod(shape)
    if (
        shape.count(-1) > 1
        or min(shape, default=0) < -1
        or (x.size != known if -1 not in shape else known == 0 or x.size % known)
    ):
        raise ValueError(
            f"reshape(shape): {shape} does not hold the {x.size} entries of a tensor of shape {x.shape}; the sizes "
            "must multiply to that number, and one of them may be -1"
        )
    return Reshape(shape)(x)


@function
def permute(x: Tensor, dims: Sequence[int]) -> Tensor:
    """Axes in the order ``dims``. ValueError unless every axis is named once."""
    ndim = x.ndim
    order = tuple([d % ndim if -ndim <= d < ndim else d for d in dims])
    if sorted(order) != list(range(ndim)):
        raise ValueError(
            f"permute(dims): {tuple(dims)} must name each of the {x.ndim} axes of x (shape {x.shape}) once, such as "
            f"{tuple(reversed(range(x.ndim)))}"
        )
    return Permute(order)(x)


@function
def transpose(x: Tensor, dim0: int, dim1: int) -> Tensor:
    """Two axes exchanged."""
    order = list(range(x.ndim))
    first, second = checked_axis("transpose", x, dim0), checked_axis("transpose", x, dim1)
    order[first], order[second] = second, first
    return Permute(tuple(order))(x)


@function
def flatten(x: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """Axes ``start_dim`` to ``end_dim``, both included, become one."""
    if not x.ndim:
        return reshape(x, (1,))
    start, end = checked_axis("flatten", x, start_dim), checked_axis("flatten", x, end_dim)
    if start > end:
        raise ValueError(
            f"flatten(start_dim, end_dim): axis {start} comes after axis {end} of shape {x.shape}; swap them"
        )
    return reshape(x, (*x.shape[:start], math.prod(x.shape[start : end + 1]), *x.shape[end + 1 :]))


@function
def squeeze(x: Tensor, dim: int) -> Tensor:
    """Drop axis ``dim`` if its size is 1."""
    axis = checked_axis("squeeze", x, dim)
    return reshape(x, (*x.shape[:axis], *x.shape[axis + 1 :])) if x.shape[axis] == 1 else x


@function
def unsqueeze(x: Tensor, dim: int) -> Tensor:
    """A new axis of size 1 at place ``dim``."""
    if not -x.ndim - 1 <= dim <= x.ndim:
        raise ValueError(f"unsqueeze(dim): place {dim} is outside {-x.ndim - 1} to {x.ndim} for shape {x.shape}")
    place = dim % (x.ndim + 1)
    return reshape(x, (*x.shape[:place], 1, *x.shape[place:]))


@function
def broadcast_to(x: Tensor, shape: Sequence[int]) -> Tensor:
    """x repeated to ``shape`` by NumPy's rule. ValueError if it does not fit."""
    shape = tuple(shape)
    try:
        fits = np.broadcast_shapes(x.shape, shape) == shape
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(
            f"broadcast_to(shape): {x.shape} cannot be repeated to {shape}; from the right, each size must agree or "
            "be 1"
        )
    return BroadcastTo(shape)(x)


@function
def sum_to(x: Tensor, shape: Sequence[int]) -> Tensor:
    """Sum over the axes along which a tensor of ``shape`` would be repeated to the shape of x."""
    shape = tuple(shape)
    try:
        fits = np.broadcast_shapes(x.shape, shape) == x.shape
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(
            f"sum_to(shape): {shape} cannot have been repeated to {x.shape}; from the right, each of its sizes must be "
            "that of x or 1"
        )
    return SumTo(shape)(x)


@function
def getitem(x: Tensor, index: Any) -> Tensor:
    """x[index], for any index NumPy takes; tensors of integers or booleans may be part of it."""
    index = plain_index(index)
    if x.requires_grad:  # the rule needs it as it is now, whatever the user writes to it later
        index = tuple(map(_own, index)) if isinstance(index, tuple) else _own(index)
    try:
        return Getitem(index)(x)
    except IndexError as error:
        raise IndexError(f"tensor[index]: {error}; the tensor has shape {x.shape}, counted from 0") from None


@function
def cat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Tensors one after the other along ``dim``; all other axes must agree. ValueError where they do not."""
    _joinable("cat", tensors)
    axis = checked_axis("cat", tensors[0], dim)
    for i, x in enumerate(tensors):
        if x.ndim != tensors[0].ndim or any(
            n != m for k, (n, m) in enumerate(zip(x.shape, tensors[0].shape, strict=True)) if k != axis
        ):
            raise ValueError(
                f"cat(tensors): tensors[{i}] has shape {x.shape} and tensors[0] {tensors[0].shape}; only axis {axis} "
                "may differ, so choose another dim, or reshape one of them"
            )
    return Cat(axis)(*tensors)


concat = cat


@function
def stack(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Tensors of one shape side by side along a new axis at place ``dim``."""
    _joinable("stack", tensors)
    for i, x in enumerate(tensors):
        if x.shape != tensors[0].shape:
            raise ValueError(
                f"stack(tensors): tensors[{i}] has shape {x.shape} and tensors[0] {tensors[0].shape}; they must agree. "
                "Use cat() to join along an axis that they have"
            )
    if not -tensors[0].ndim - 1 <= dim <= tensors[0].ndim:
        ends = f"{-tensors[0].ndim - 1} to {tensors[0].ndim}"
        raise ValueError(f"stack(dim): place {dim} is outside {ends} for tensors of shape {tensors[0].shape}")
    return cat([unsqueeze(x, dim) for x in tensors], dim % (tensors[0].ndim + 1))


@function
def pad(x: Tensor, pad: Sequence[int], value: float = 0.0) -> Tensor:
    """A border of ``value``: ``pad`` = (left, right, top, bottom, ...) from the last axis backwards, as in PyTorch.

    Raises
    ------
    ValueError
        ``pad`` is not pairs of non-negative widths for at most all axes.
    """
    pairs = list(zip(pad[::2], pad[1::2], strict=False))
    if len(pad) % 2 or len(pairs) > x.ndim or any(n < 0 for n in pad):
        raise ValueError(
            f"pad(pad): {tuple(pad)} must be pairs of widths >= 0, last axis first, at most one pair for each of the "
            f"{x.ndim} axes of x (shape {x.shape})"
        )
    widths = ((0, 0),) * (x.ndim - len(pairs)) + tuple(reversed(pairs))
    return Pad(widths, value)(x)


def _joinable(name: str, tensors: Sequence[Tensor]) -> None:
    if isinstance(tensors, Tensor) or not len(tensors):
        came = f"one tensor of shape {tensors.shape}" if isinstance(tensors, Tensor) else "nothing"
        raise ValueError(f"{name}(tensors): got {came} to join; expected a list of at least one tensor")
    for i, x in enumerate(tensors):
        if not isinstance(x, Tensor):
            raise TypeError(
                f"{name}(tensors): tensors[{i}] is a {type(x).__name__}; expected a Tensor, as Tensor(...) gives"
            )


def checked_axis(name: str, x: Tensor, dim: int) -> int:
    """``dim`` counted from the front; ValueError, in the name of the function ``name``, if x has no such axis."""
    expect_arrays(name, x=x)
    if not -x.ndim <= dim < x.ndim:
        choice = f"use {-x.ndim} to {x.ndim - 1}" if x.ndim else "it has none"
        raise ValueError(f"{name}(dim): axis {dim} does not exist in a tensor of shape {x.shape}; {choice}")
    return dim % x.ndim
