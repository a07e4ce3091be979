"""Elementwise kernels: each is a formula in single numbers, which a decorator applies to whole arrays."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..base import Array, Backend
from . import scalars
from .scalars import array


def each(formula: Callable[..., float], operands: Sequence[Array], dtype: Any) -> Array:
    """Call ``formula`` once for every element of the operands, broadcast against each other."""
    stretched = np.broadcast_arrays(*operands)
    columns = [operand.ravel().tolist() for operand in stretched]
    return array([formula(*values) for values in zip(*columns, strict=True)], stretched[0].shape, dtype)


def elementwise(formula: Callable[..., float]) -> Callable[..., Array]:
    """Make a kernel of a formula in numbers; its result has the dtype that NumPy's promotion gives the operands."""
    return _kernel(formula, whole=True)


def elementwise_real(formula: Callable[..., float]) -> Callable[..., Array]:
    """Like `elementwise` for formulas with no answer in whole numbers: from integers they make float64."""
    return _kernel(formula, whole=False)


def _kernel(formula: Callable[..., float], whole: bool) -> Callable[..., Array]:
    signature = inspect.signature(formula)

    @functools.wraps(formula)
    def kernel(*args: Array, **named: Array) -> Array:
        self, *operands = signature.bind(*args, **named).args
        dtype = np.result_type(*operands)
        if not whole and not np.issubdtype(dtype, np.inexact):
            dtype = np.dtype(np.float64)
        return each(functools.partial(formula, self), operands, dtype)

    return kernel


class Elementwise(Backend):
    """Kernels whose every result depends on one element of each operand."""

    # -- two operands --------------------------------------------------------------------------------------------
    @elementwise
    def add(self, a: float, b: float) -> float:
        return a + b

    @elementwise
    def subtract(self, a: float, b: float) -> float:
        return a - b

    @elementwise
    def multiply(self, a: float, b: float) -> float:
        return a * b

    @elementwise_real
    def divide(self, a: float, b: float) -> float:
        return scalars.divide(a, b)

    @elementwise
    def power(self, a: float, b: float) -> float:
        if isinstance(a, int) and isinstance(b, int):
            if b < 0:
                raise ValueError(
                    f"power(a, b): the whole number {a} to the power {b} is no whole number; make one of them floating"
                )
            return int(a**b)
        return scalars.power(a, b)

    @elementwise
    def maximum(self, a: float, b: float) -> float:
        if math.isnan(a) or math.isnan(b):
            return math.nan
        return a if a > b else b

    @elementwise
    def minimum(self, a: float, b: float) -> float:
        if math.isnan(a) or math.isnan(b):
            return math.nan
        return a if a < b else b

    def where(self, condition: Array, a: Array, b: Array) -> Array:
        return each(lambda chosen, x, y: x if chosen else y, (condition, a, b), np.result_type(a, b))

    # -- one operand ---------------------------------------------------------------------------------------------
    @elementwise
    def negative(self, x: float) -> float:
        return -x

    @elementwise
    def absolute(self, x: float) -> float:
        return abs(x)

    @elementwise
    def sign(self, x: float) -> float:
        if math.isnan(x):
            return math.nan
        return 1 if x > 0 else -1 if x < 0 else 0

    @elementwise_real
    def exp(self, x: float) -> float:
        return scalars.exp(x)

    @elementwise_real
    def log(self, x: float) -> float:
        return scalars.log(x)

    @elementwise_real
    def log1p(self, x: float) -> float:
        return scalars.log1p(x)

    @elementwise_real
    def sqrt(self, x: float) -> float:
        return scalars.sqrt(x)

    @elementwise_real
    def sin(self, x: float) -> float:
        return math.nan if math.isinf(x) else math.sin(x)

    @elementwise_real
    def cos(self, x: float) -> float:
        return math.nan if math.isinf(x) else math.cos(x)

    @elementwise_real
    def tanh(self, x: float) -> float:
        return math.tanh(x)

    @elementwise_real
    def erf(self, x: float) -> float:
        return math.erf(x)

    @elementwise
    def clip(self, x: float, low: float, high: float) -> float:
        return low if x < low else high if x > high else x

    # -- activations ---------------------------------------------------------------------------------------------
    @elementwise_real
    def sigmoid(self, x: float) -> float:
        return scalars.sigmoid(x)

    @elementwise_real
    def silu(self, x: float) -> float:
        return x * scalars.sigmoid(x)

    @elementwise_real
    def silu_grad(self, x: float, dy: float) -> float:
        s = scalars.sigmoid(x)
        return dy * s * (1 + x * (1 - s))
