"""Shape contracts: what shapes an operation accepts, written once as text and checked on every call.

    x: N C H W, w: O C/groups kh kw -> N O Ho Wo

Each input has a name and its axes. A name stands for one size wherever it appears; ``C/groups`` for that size divided
by an
attribute of the operation; a number for itself; ``...`` for any number of axes, which is not checked here (the backend
broadcasts them). What stands behind the arrow is for the reader.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class Contract:
    """A parsed contract; `check` compares arrays with it."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.operands: list[tuple[str, list[str]]] = []
        for part in text.split("->")[0].split(","):
            name, _, axes = part.partition(":")
            self.operands.append((name.strip(), axes.split()))
        self.is_trivial = all(axes == ["..."] for _, axes in self.operands)

    def name_of(self, index: int) -> str:
        """Name of an input; ``*xs`` stands for any number of them."""
        name = self.operands[min(index, len(self.operands) - 1)][0]
        return f"{name[1:]}[{index}]" if name.startswith("*") else name

    def check(self, op: Any, arrays: Sequence[Any]) -> None:
        """Raise ValueError where the arrays' shapes break the contract."""
        if self.is_trivial:
            return
        sizes: dict[str, tuple[int, str]] = {}  # of each named axis, and the input that fixed it
        for (name, axes), array in zip(self.operands, arrays, strict=True):
            for axis, symbol, size in self._named_axes(op, name, axes, array.shape, arrays):
                self._check_axis(op, name, axis, symbol, size, sizes, arrays)

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
        hint = op.hint([array.shape for array in arrays])
        raise ValueError(f"{op.name}: {problem}\n{shapes}" + (f"\n  {hint}" if hint else ""))
