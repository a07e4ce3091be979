"""Numbers that count what is done with them: the independent witness of every operation's ``flops``.

NumPy computes with arrays of any objects that know arithmetic. The kernels of the ``numpy`` backend, fed with arrays of
`Counted`, so carry out their every addition and multiplication one by one, and leave a tally. Additions,
multiplications, divisions, powers, elementary functions, changes of sign and choices of the larger count one each;
moves, comparisons that only steer and constants count nothing.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygrad_effnet.backends.vectorized import NumPy


class Tally:
    count = 0


def _value(x: Any) -> float:
    return x.value if isinstance(x, Counted) else float(x)


def _counting(f: Callable[..., float]) -> Callable[..., Counted]:
    def operation(*operands: Any) -> Counted:
        Tally.count += 1
        return Counted(f(*map(_value, operands)))

    return operation


def _steering(f: Callable[[float, float], bool]) -> Callable[[Any, Any], bool]:
    return lambda a, b: f(_value(a), _value(b))


class Counted:
    """A float whose every operation adds one to the tally."""

    def __init__(self, value: float) -> None:
        self.value = value

    __add__ = __radd__ = _counting(lambda a, b: a + b)
    __mul__ = __rmul__ = _counting(lambda a, b: a * b)
    __sub__, __rsub__ = _counting(lambda a, b: a - b), _counting(lambda a, b: b - a)
    __truediv__, __rtruediv__ = _counting(lambda a, b: a / b), _counting(lambda a, b: b / a)
    __pow__, __rpow__ = _counting(lambda a, b: a**b), _counting(lambda a, b: b**a)
    __neg__, __abs__ = _counting(lambda a: -a), _counting(abs)
    exp, log, log1p, sqrt = map(_counting, (math.exp, math.log, math.log1p, math.sqrt))
    sin, cos, tanh, erf = map(_counting, (math.sin, math.cos, math.tanh, math.erf))
    square = _counting(lambda a: a * a)
    __lt__, __le__ = _steering(lambda a, b: a < b), _steering(lambda a, b: a <= b)
    __gt__, __ge__ = _steering(lambda a, b: a > b), _steering(lambda a, b: a >= b)
    __eq__ = _steering(lambda a, b: a == b)  # type: ignore[assignment]
    __hash__ = None  # type: ignore[assignment]


def _chosen(f: Callable[[float, float], float]) -> Any:
    return np.frompyfunc(_counting(f), 2, 1)


class CountingNumPy(NumPy):
    """The ``numpy`` backend for arrays of `Counted`, where NumPy needs telling how."""

    name = "counting"
    _larger, _smaller = _chosen(max), _chosen(min)

    def maximum(self, a: Any, b: Any) -> Any:
        return self._larger(a, b)

    def minimum(self, a: Any, b: Any) -> Any:
        return self._smaller(a, b)

    def clip(self, x: Any, low: float, high: float) -> Any:
        for bound, limit in ((low, self._larger), (high, self._smaller)):
            x = x if math.isinf(bound) else limit(x, bound)
        return x

    def erf(self, x: Any) -> Any:
        return np.frompyfunc(lambda v: v.erf(), 1, 1)(x)

    def max(self, x: Any, axis: Any, keepdims: bool) -> Any:
        axes = tuple(range(x.ndim)) if axis is None else (axis,) if isinstance(axis, int) else axis
        for each in axes:
            x = self._larger.reduce(x, axis=each, keepdims=True)
        return np.asarray(x if keepdims else np.squeeze(x, axes), dtype=object)

    def max_pool2d(self, x: Any, window: Any) -> tuple[Any, Any]:
        out = window.output_size(*x.shape[2:])
        seen = [view for _, _, view in self._taps(self._pad(x, window, -math.inf), window, out)]
        largest = functools.reduce(self._larger, seen)
        return largest, np.zeros(largest.shape, int)

    def _finite_max(self, x: Any, axis: Any) -> Any:
        return self.max(x, axis, True) if x.size else self._max_or_zeros(x, axis)

    def uniform(self, generator: Any, shape: Sequence[int], dtype: Any) -> Any:
        return generator.random(tuple(shape))


def counted(x: np.ndarray) -> np.ndarray:
    """The array with every number `Counted`."""
    result = np.empty(x.shape, object)
    for place in np.ndindex(x.shape):
        result[place] = Counted(float(x[place]))
    return result


def count_operations(op: Any, arrays: Sequence[np.ndarray]) -> tuple[tuple[Any, ...], int]:
    """Run an operation's forward with numbers that count; its results, and how many operations they took."""
    numbers = [counted(a) for a in arrays]
    Tally.count = 0
    results = op.forward(CountingNumPy(), *numbers)
    return results if isinstance(results, tuple) else (results,), Tally.count
