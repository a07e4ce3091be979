"""The complex step: derivatives without subtraction, exact to rounding (Squire and Trapp 1998).

For an analytic function, f(x + i h v) = f(x) + i h · J v + O(h²). With h = 1e-200 the square is no number any more, so
the imaginary part, divided by h, is J v to the last digits; a difference would have lost half of them.

Kernels of the ``numpy`` backend are code for any kind of number. Those that ask which of two numbers is larger, or for
an absolute value, are continued here as they are on the real line near x, so that whatever is analytic by pieces can be
checked away from its kinks.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from .. import backends, tape
from ..backends import Array
from ..backends.vectorized import NumPy
from ..tensor import Tensor

STEP = 1e-200


class ComplexNumPy(NumPy):
    """The ``numpy`` backend for numbers a step beside the real line; comparisons look at the real parts."""

    name = "complex"  # max needs no line here: NumPy orders complex numbers by their real parts first

    def maximum(self, a: Array, b: Array) -> Array:
        return np.where(np.real(a) >= np.real(b), a, b)

    def minimum(self, a: Array, b: Array) -> Array:
        return np.where(np.real(a) <= np.real(b), a, b)

    def clip(self, x: Array, low: float, high: float) -> Array:
        return np.where(x.real < low, low, np.where(x.real > high, high, x))

    def absolute(self, x: Array) -> Array:
        return np.where(x.real < 0, -x, x)

    def sign(self, x: Array) -> Array:
        return np.sign(x.real).astype(x.dtype)

    def sigmoid(self, x: Array) -> Array:
        e = np.exp(-self.absolute(x))
        return np.where(x.real >= 0, 1, e) / (1 + e)

    def uniform(self, generator: Any, shape: Sequence[int], dtype: Any) -> Array:
        return generator.random(tuple(shape))


_backend = ComplexNumPy()


@contextmanager
def beside_the_real_line(inputs: Sequence[Tensor], directions: dict[int, np.ndarray]) -> Iterator[None]:
    """Inside the block, input i has moved by i · h · ``directions[i]``, and complex kernels compute."""
    before = [(x.array, x.node, x.index) for x in inputs]
    backends._choice.blocks.append(_backend)
    try:
        for i, x in enumerate(inputs):
            x.array = x.array.astype(np.complex128)
            if i in directions:
                x.array.imag = STEP * directions[i]
            if x.node is not None:  # the tape knows the dtype of what it leads to
                x.node, x.index = tape.Leaf(x), 0
        with warnings.catch_warnings(), np.errstate(under="ignore"):
            warnings.simplefilter("error", np.exceptions.ComplexWarning)
            yield
    finally:
        backends._choice.blocks.pop()
        for x, (array, node, index) in zip(inputs, before, strict=True):
            x.array, x.node, x.index = array, node, index


def complex_step(
    fn: Callable[..., Tensor | Sequence[Tensor]], inputs: Tensor | Sequence[Tensor], directions: Any
) -> tuple[np.ndarray, ...]:
    """How the outputs of ``fn(*inputs)`` change along ``directions``, exact to rounding.

    Parameters
    ----------
    fn : function of the inputs that returns a Tensor or a sequence of them
        Composed of operations that are analytic near the inputs, or analytic by pieces.
    inputs : float64 Tensor or sequence of them
    directions : array or sequence of arrays
        One for each input, of its shape.

    Returns
    -------
    tuple of float64 arrays
        One for each output, of its shape.

    Raises
    ------
    numpy.exceptions.ComplexWarning
        ``fn`` converts to real numbers on the way, so that this method does not apply.

    Examples
    --------
    >>> complex_step(lambda x: x.exp(), Tensor([0.0], dtype="float64"), [[2.0]])
    (array([2.]),)
    """
    alone = isinstance(inputs, Tensor)
    tensors = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    along = [np.asarray(directions[0] if alone and len(directions) == 1 else directions)] if alone else directions
    with beside_the_real_line(tensors, {i: np.asarray(v).reshape(tensors[i].shape) for i, v in enumerate(along)}):
        result = fn(*tensors)
    return tuple([slope(y) for y in ([result] if isinstance(result, Tensor) else result)])


def slope(y: Tensor) -> np.ndarray:
    """The derivative that an output computed beside the real line carries."""
    return np.asarray(np.imag(y.array) / STEP)
