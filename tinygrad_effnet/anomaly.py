"""Anomaly detection: find the first operation that goes wrong, and writes that nobody announced."""

from __future__ import annotations

import threading
import weakref
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from .backends import Array, backend_of
from .backends.dtypes import is_floating
from .lines import line_text, users_line
from .op import Op, around_rules, watch
from .tensor import Tensor


@contextmanager
def detect_anomaly(infinities: bool = True) -> Iterator[None]:
    """Inside the block, report the first NaN or infinity, and silent changes of what the tape saved.

    Every result of an operation is checked as it is computed, and every gradient as a rule returns it. What is saved
    for the backward pass gets a checksum, which is compared just before it is used: so a change is found that the tape
    was not told of, such as one of the array given to `from_numpy`, of ``tensor.array``, or by a library that shares
    the memory through DLPack. Rules are checked as a whole, not step by step, since a step may be masked by the next.

    This reads each result and each gradient once more and each saved array twice; a training step takes about one and a
    half times as long. Off by default. It holds for all threads. Operations from before the block have no checksum.

    Parameters
    ----------
    infinities : bool
        Report infinities as well as NaN; with False, they may stand, as in masks of -inf.

    Raises
    ------
    FloatingPointError
        From the operation, or the backward pass, that gave the first such number; names it, the index and the user's
        line.
    RuntimeError
        A saved array is not what it was.

    Examples
    --------
    >>> import tinygrad_effnet as tg
    >>> x = tg.Tensor([1.0, float("nan")])
    >>> with tg.detect_anomaly():
    ...     try:
    ...         y = x * 2.0
    ...     except FloatingPointError as error:
    ...         print(str(error).split(". ")[-1])
    Its input a held nan at index (1,) of shape (2,), already: look for where that was made.
    """
    detector = _Detector(infinities)
    with watch(detector.after_forward), around_rules(detector.around_rule):
        yield


class _Depth(threading.local):
    rules = 0  # that run in this thread, one inside the other


class _Detector:
    def __init__(self, infinities: bool) -> None:
        self.infinities = infinities
        self.checksums: weakref.WeakKeyDictionary[Op, tuple[int, ...]] = weakref.WeakKeyDictionary()
        self.depth = _Depth()

    def after_forward(self, op: Op, inputs: Sequence[Array], outputs: Sequence[Array]) -> None:
        if op.outputs:  # it was recorded
            self.checksums[op] = tuple([_checksum(array) for array in op.held])
        if self.depth.rules:
            return
        for y in outputs:
            fault = self._fault(y)
            if fault:
                raise FloatingPointError(
                    f"detect_anomaly: {op.name}, at {line_text(users_line())}, gave {fault}. "
                    f"{self._blame(op, inputs, y)}{_kinks(op)}"
                )

    def around_rule(self, op: Op, rule: Callable[..., Any], *gradients: Tensor) -> Any:
        self._verify(op)
        if self.depth.rules:
            return rule(*gradients)
        for dy in gradients:
            fault = self._fault(dy.array)
            if fault:
                raise FloatingPointError(
                    f"detect_anomaly: the gradient that reaches {op.name}, made at {op.where()}, holds {fault}. It "
                    "comes from the gradient given to backward(), a hook, or a sum of gradients that overflows"
                )
        self.depth.rules += 1
        try:
            results = rule(*gradients)
        finally:
            self.depth.rules -= 1
        for i, dx in enumerate(results if isinstance(results, tuple) else (results,)):
            fault = None if dx is None or not op.needed[i] else self._fault(dx.array)
            if fault:
                raise FloatingPointError(
                    f"detect_anomaly: the backward pass of {op.name}, made at {op.where()}, gave {fault}, as the "
                    f"gradient of its input {op.contract.name_of(i)}. The rule is {op.rule}.{_kinks(op)}"
                )
        return results

    def _fault(self, array: Array) -> str | None:
        """The first bad entry, its index, and how many there are; None where all is well."""
        if not is_floating(array.dtype):
            return None
        bad = self._bad(array)
        count = int(bad.sum())
        if not count:
            return None
        index = tuple(int(i) for i in np.unravel_index(int(bad.argmax()), array.shape))
        others = "" if count == 1 else f", the first of {count} such entries"
        return f"{array[index]} at index {index} of shape {array.shape}{others}"

    def _bad(self, array: Array) -> Array:
        xp = backend_of([array]).xp
        return ~xp.isfinite(array) if self.infinities else xp.isnan(array)

    def _blame(self, op: Op, inputs: Sequence[Array], y: Array) -> str:
        for i, x in enumerate(inputs):
            fault = self._fault(x)
            if fault:
                return f"Its input {op.contract.name_of(i)} held {fault}, already: look for where that was made."
        place = np.unravel_index(int(self._bad(y).argmax()), y.shape)
        there = [f"{op.contract.name_of(i)} = {x[place]}" for i, x in enumerate(inputs) if x.shape == y.shape]
        return "Its inputs are sound" + (f": {', '.join(there)} there." if there else ".")

    def _verify(self, op: Op) -> None:
        for i, (array, before) in enumerate(zip(op.held, self.checksums.get(op, ()), strict=False)):
            if _checksum(array) != before:
                op.refuse_written()  # a write that the tape knows of has a better message
                raise RuntimeError(
                    f"detect_anomaly: {op.held_name(i)} of {op.name}, of shape {array.shape}, was saved at "
                    f"{op.where()} and has changed since, without the tape's knowledge; the gradient would be wrong. "
                    "Something writes to this memory from outside: to the array given to from_numpy(), to "
                    "tensor.array, or through DLPack. Use Tensor(array), which copies, or write with "
                    "tensor[...] = value under no_grad()"
                )


def _kinks(op: Op) -> str:
    return "" if op.kinks == "none" else f" Where {op.name} has no derivative or no value: {op.kinks}"


def _checksum(array: Array) -> int:
    host: Any = np.ascontiguousarray(array.get() if hasattr(array, "get") else array)
    return zlib.crc32(host)
