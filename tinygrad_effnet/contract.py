"""Shape contracts: what shapes an operation accepts, written once as text and checked on every call.

    x: N C H W, w: O C/groups kh kw -> N O Ho Wo

Each input has a name and its axes. A name stands for one size wherever it appears; ``C/groups`` for that size divided
by an attribute of the operation; a number for itself; ``...`` for any number of axes, which broadcast with those behind
the ``...`` of other inputs. What stands behind the arrow is for the reader.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

Shape = tuple[int, ...]
MOST_REMEMBERED = 4096  # combinations of shapes that are known to fit, and not checked again; for each operation


class Contract:
    """A parsed contract; `check` compares arrays with it."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.operands: list[tuple[str, list[str]]] = []
        for part in text.split("->")[0].split(","):
            name, _, axes = part.partition(":")
            self.operands.append((name.strip(), axes.split()))
        self.is_trivial = all(axes == ["..."] for _, axes in self.operands)
        self.broadcasts = sum("..." in axes for _, axes in self.operands) > 1
        self.fits_all = self.is_trivial and not self.broadcasts  # one input, of any shape
        self.attributes = [a.partition("/")[2] for _, axes in self.operands for a in axes if "/" in a]
        self._fitting: set[tuple[Any, ...]] = set()  # shapes, and attributes, that were found to fit

    def name_of(self, index: int) -> str:
        """Name of an input; ``*xs`` stands for any number of them."""
        name = self.operands[min(index, len(self.operands) - 1)][0]
        return f"{name[1:]}[{index}]" if name.startswith("*") else name

    def axis_of(self, index: int) -> int | None:
        """Which axis of the first input this one counts along, such as channels; None where it broadcasts as usual."""
        first, own = self.operands[0][1], self.operands[min(index, len(self.operands) - 1)][1]
        if len(own) != 1 or own[0] not in first[:-1]:
            return None
        axis = first.index(own[0])
        return None if "..." in first[: axis + 1] else axis

    def check(self, op: Any, arrays: Sequence[Any]) -> None:
        """Raise ValueError where the arrays' shapes break the contract."""
        if self.is_trivial:
            if self.broadcasts:
                shape = arrays[0].shape
                for array in arrays:
                    if array.shape != shape:
                        self._check_broadcast(op, tuple([array.shape for array in arrays]))
                        break
            return
        key: tuple[Any, ...] = tuple([array.shape for array in arrays])
        if self.attributes:
            key += tuple([getattr(op, attribute) for attribute in self.attributes])
        if key not in self._fitting:
            self._check_axes(op, arrays)
            if len(self._fitting) < MOST_REMEMBERED:
                self._fitting.add(key)

    def _check_axes(self, op: Any, arrays: Sequence[Any]) -> None:
        sizes: dict[str, tuple[int, str]] = {}  # of each named axis, and the input that fixed it
        for (name, axes), array in zip(self.operands, arrays, strict=True):
            for axis, symbol, size in self._named_axes(op, name, axes, array.shape, arrays):
                self._check_axis(op, name, axis, symbol, size, sizes, arrays)
        if self.broadcasts:
            self._check_free_axes(op, arrays)

    def _check_broadcast(self, op: Any, shapes: tuple[Shape, ...]) -> None:
        if not broadcastable(shapes):
            refuse_broadcast(op.name, dict(zip([name for name, _ in self.operands], shapes, strict=True)))

    def _check_free_axes(self, op: Any, arrays: Sequence[Any]) -> None:
        free = {}
        for (name, axes), array in zip(self.operands, arrays, strict=True):
            if "..." in axes:
                first = axes.index("...")
                free[name] = array.shape[first : array.ndim - (len(axes) - first - 1)]
        if not broadcastable(tuple(free.values())):
            listed = " and ".join(f"{shape} (of {name})" for name, shape in free.items())
            self._fail(op, arrays, f"the axes ... are {listed}; {_RULE}")

    def _named_axes(
        self, op: Any, name: str, axes: list[str], shape: tuple[int, ...], arrays: Sequence[Any]
    ) -> list[tuple[int, str, int]]:
        fixed = [a for a in axes if a != "..."]
        if "..." not in axes:
            if len(shape) != len(axes):
                self._fail(op, arrays, f"{name} must have {len(axes)} axes ({' '.join(axes)}), but has {len(shape)}")
            return list(zip(range(len(axes)), axes, shape, strict=True))
        if len(shape) < len(fixed):
            self._fail(
                op, arrays, f"{name} must have at least {len(fixed)} axes ({' '.join(axes)}), but has {len(shape)}"
            )
        first = axes.index("...")
        places = [*range(first), *range(len(shape) - (len(fixed) - first), len(shape))]
        return [(axis, symbol, shape[axis]) for axis, symbol in zip(places, fixed, strict=True)]

    def _check_axis(
        self,
        op: Any,
        name: str,
        axis: int,
        symbol: str,
        size: int,
        sizes: dict[str, tuple[int, str]],
        arrays: Sequence[Any],
    ) -> None:
        if symbol.isdigit():
            if size != int(symbol):
                self._fail(op, arrays, f"axis {axis} of {name} must be {symbol}, but is {size}")
            return
        symbol, _, attribute = symbol.partition("/")
        if symbol not in sizes:
            sizes[symbol] = size, name
            return
        expected, giver = sizes[symbol]
        rule = f"{symbol} = {expected} (from {giver})"
        if attribute:
            parts = getattr(op, attribute)
            if expected % parts:
                self._fail(
                    op, arrays, f"{symbol} = {expected} (from {giver}) cannot be divided by {attribute} = {parts}"
                )
            expected //= parts
            rule = f"{symbol}/{attribute} = {expected}"
        if size != expected:
            self._fail(op, arrays, f"axis {axis} of {name} must be {rule}, but is {size}")

    def _fail(self, op: Any, arrays: Sequence[Any], problem: str) -> None:
        shapes = "\n".join(
            f"  {name}: {' '.join(axes)} = {tuple(array.shape)}"
            for (name, axes), array in zip(self.operands, arrays, strict=True)
        )
        hint = op.hint([array.shape for array in arrays]) or "Reshape, permute or unsqueeze what does not fit."
        raise ValueError(f"{op.name}: {problem}\n{shapes}\n  {hint}")


def expect_arrays(caller: str, **values: Any) -> None:
    """Raise TypeError for an argument, given by name, that is no tensor and no array."""
    for name, value in values.items():
        if not hasattr(value, "ndim"):
            raise TypeError(
                f"{caller}({name}): got a {type(value).__name__}; expected a Tensor, as Tensor({name}) makes it"
            )


_RULE = "from the right, each size must agree or be 1"


@functools.lru_cache(MOST_REMEMBERED)
def broadcastable(shapes: tuple[Shape, ...]) -> bool:
    """Do arrays of these shapes broadcast, by NumPy's rule?"""
    for axis in range(1, max(map(len, shapes)) + 1):
        sizes = {shape[-axis] for shape in shapes if len(shape) >= axis}
        if len(sizes - {1}) > 1:
            return False
    return True


def refuse_broadcast(name: str, shapes: dict[str, Shape]) -> None:
    """Raise the ValueError of an operation whose operands, given by name, do not broadcast."""
    listed = ", ".join(f"{operand} {shape}" for operand, shape in shapes.items())
    raise ValueError(f"{name}: shapes do not broadcast: {listed}; {_RULE}.{_suggestion(shapes)}")


def _suggestion(shapes: dict[str, Shape]) -> str:
    """How a shorter operand would fit: by axes of size 1 at its end, or transposed."""
    (widest, most), *_ = sorted(shapes.items(), key=lambda item: -len(item[1]))
    for name, shape in shapes.items():
        missing = len(most) - len(shape)
        if shape and missing and most[: len(shape)] == shape:
            return f" If {name} goes with the first axes of {widest}: {name}.reshape{(*shape, *(1,) * missing)}."
        if len(shape) == len(most) > 1 and shape != most and broadcastable((shape[::-1], most)):
            return f" Is {name} transposed? {name}.T would fit."
    return " Reshape or unsqueeze one of them."
