"""Single numbers: arithmetic that never raises, and the way from arrays to numbers and back.

Python's floats are float64, but Python raises where IEEE 754 has an answer: 1/0, log(0), exp(1000). Arrays follow the
standard, so these functions do too: infinity where a result is too large, NaN where there is none.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ..base import Array

Place = tuple[int, ...]
Numbers = dict[Place, float]


def divide(a: float, b: float) -> float:
    """a / b; by zero an infinity of the right sign, or NaN for 0/0."""
    if b != 0:
        return a / b
    if a == 0 or math.isnan(a):
        return math.nan
    return math.copysign(math.inf, a) * math.copysign(1, b)


def power(a: float, b: float) -> float:
    """a to the power b; NaN for a negative number to a fractional power."""
    negative = math.copysign(1, a) < 0 and b % 2 == 1  # only odd powers keep the sign
    if a == 0 and b < 0:
        return -math.inf if negative else math.inf
    try:
        return math.pow(a, b)
    except OverflowError:
        return -math.inf if negative else math.inf
    except ValueError:
        return math.nan


def exp(x: float) -> float:
    """e to the power x; infinity where that is too large for a float64."""
    try:
        return math.exp(x)
    except OverflowError:
        return math.inf


def log(x: float) -> float:
    """Natural logarithm; -inf at zero, NaN below."""
    if x == 0:
        return -math.inf
    return math.nan if x < 0 else math.log(x)


def log1p(x: float) -> float:
    """log(1 + x), exact where x is small; -inf at -1, NaN below."""
    if x == -1:
        return -math.inf
    return math.nan if x < -1 else math.log1p(x)


def sqrt(x: float) -> float:
    """Square root; NaN below zero."""
    return math.nan if x < 0 else math.sqrt(x)


def sigmoid(x: float) -> float:
    """1 / (1 + exp(-x)); for negative x in the form exp(x) / (1 + exp(x)), whose exp cannot overflow."""
    if x < 0:
        return exp(x) / (1 + exp(x))
    return 1 / (1 + exp(-x))


def total(values: Iterable[float]) -> float:
    """The sum, correctly rounded (Shewchuk's algorithm in `math.fsum`) where the partial sums are finite."""
    values = list(values)
    try:
        return math.fsum(values)
    except (OverflowError, ValueError):  # too large, or inf - inf: plain addition gives IEEE's answer
        result = 0.0
        for value in values:
            result += value
        return result


def numbers(x: Array) -> Numbers:
    """The array as a dictionary from place to Python number, so that ``x[n, c, h, w]`` reads the same in either."""
    return {place: value.item() for place, value in np.ndenumerate(x)}


def zeros(shape: Sequence[int]) -> Numbers:
    """A zero at every place of an array of this shape."""
    return dict.fromkeys(np.ndindex(*shape), 0.0)


def array(values: Numbers | list[Any], shape: Sequence[int], dtype: Any) -> Array:
    """The way back: an array of this shape from a dictionary of `zeros`, or from lists, rounded to ``dtype``."""
    if isinstance(values, dict):
        values = list(values.values())
    with np.errstate(over="ignore"):  # what float32 cannot hold is infinite there, which is no error
        return np.array(values).astype(dtype).reshape(tuple(shape))
