"""Many numbers to one: sums and maxima along axes, products of matrices, batch statistics, scattered sums."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from ..base import Array, Axes, Backend
from .scalars import array, divide, exp, log, numbers, sqrt, total, zeros


def lines(shape: Sequence[int], axes: Sequence[int]) -> Iterator[tuple[Any, ...]]:
    """Indices that cut an array of this shape into the parts that are reduced together: whole along ``axes``."""
    kept = [1 if axis in axes else size for axis, size in enumerate(shape)]
    for place in np.ndindex(*kept):
        yield tuple(slice(None) if axis in axes else i for axis, i in enumerate(place))


def reduce(rule: Callable[[list[float]], float], x: Array, axis: Axes, keepdims: bool, dtype: Any) -> Array:
    """One result of ``rule`` for every line of x along ``axis``."""
    axes = tuple(range(x.ndim)) if axis is None else normalize_axis_tuple(axis, x.ndim)
    results = [rule(np.ravel(x[line]).tolist()) for line in lines(x.shape, axes)]
    shape = [1 if a in axes else size for a, size in enumerate(x.shape) if keepdims or a not in axes]
    return array(results, shape, dtype)


def first_largest(values: Sequence[float]) -> int:
    """Index of the first largest number; a NaN counts as larger than everything."""
    if not values:
        raise ValueError("max, argmax: nothing to choose from, an axis that is reduced has size 0; give it an entry")
    best = 0
    for i, value in enumerate(values):
        if math.isnan(value):
            return i
        if value > values[best]:
            best = i
    return best


def shift(values: Sequence[float]) -> float:
    """What to subtract so that exp cannot overflow: the maximum."""
    return values[first_largest(values)] if values else 0.0


def logsumexp(values: Sequence[float]) -> float:
    """log Σ exp(v), as m + log Σ exp(v - m)."""
    m = shift(values)
    m = m if math.isfinite(m) else 0.0  # inf - inf is NaN; 0 leaves exp(-inf) = 0 and exp(inf) = inf
    return m + log(total(exp(v - m) for v in values))


def softmax(values: Sequence[float]) -> list[float]:
    """exp(v) / Σ exp(v), both divided by exp(m)."""
    m = shift(values)
    shares = [exp(v - m) for v in values]
    whole = total(shares)
    return [divide(share, whole) for share in shares]


def log_softmax(values: Sequence[float]) -> list[float]:
    """v - log Σ exp(v), the shift taken from both."""
    m = shift(values)
    normaliser = log(total(exp(v - m) for v in values))
    return [v - m - normaliser for v in values]


def along(rule: Callable[[list[float]], list[float]], x: Array, axis: int) -> Array:
    """``rule`` takes every line of x along ``axis`` to a line of the result."""
    dtype = real(x.dtype)
    y = np.empty(x.shape, dtype)
    for line in lines(x.shape, normalize_axis_tuple(axis, x.ndim)):
        y[line] = array(rule(x[line].tolist()), (x.shape[axis],), dtype)
    return y


def real(dtype: Any) -> Any:
    """The dtype of a result that is no whole number."""
    return dtype if np.issubdtype(dtype, np.inexact) else np.dtype(np.float64)


class Reductions(Backend):
    """Kernels whose results each depend on many elements, but on no neighbourhood."""

    def sum(self, x: Array, axis: Axes, keepdims: bool) -> Array:
        if np.issubdtype(x.dtype, np.inexact):
            return reduce(total, x, axis, keepdims, x.dtype)
        return reduce(sum, x, axis, keepdims, np.int64)

    def max(self, x: Array, axis: Axes, keepdims: bool) -> Array:
        return reduce(lambda values: values[first_largest(values)], x, axis, keepdims, x.dtype)

    def argmax(self, x: Array, axis: int | None, keepdims: bool) -> Array:
        return reduce(first_largest, x, axis, keepdims, np.int64)

    def logsumexp(self, x: Array, axis: Axes, keepdims: bool) -> Array:
        return reduce(logsumexp, x, axis, keepdims, real(x.dtype))

    def softmax(self, x: Array, axis: int) -> Array:
        return along(softmax, x, axis)

    def log_softmax(self, x: Array, axis: int) -> Array:
        return along(log_softmax, x, axis)

    def softmax_cross_entropy(self, x: Array, goal: Array) -> tuple[Array, Array]:
        # x, goal: N K -> loss: N, slope: N K
        losses, slopes = [], []
        for scores, wanted in zip(x.tolist(), goal.tolist(), strict=True):
            losses.append(-total(g * log_share for g, log_share in zip(wanted, log_softmax(scores), strict=True)))
            whole = total(wanted)
            slopes += [share * whole - g for g, share in zip(wanted, softmax(scores), strict=True)]
        return array(losses, x.shape[:1], x.dtype), array(slopes, x.shape, x.dtype)

    def label_cross_entropy(
        self, x: Array, labels: Array, smoothing: float, scale: float | None
    ) -> tuple[Array, Array]:
        # x: N K, labels: N -> loss: N or (), slope: N K
        losses, slopes = [], []
        for scores, label in zip(x.tolist(), labels.tolist(), strict=True):
            kept, classes = label >= 0, len(scores)
            goal = [kept * ((1 - smoothing) * (k == label) + smoothing / classes) for k in range(classes)]
            losses.append(-total(g * log_share for g, log_share in zip(goal, log_softmax(scores), strict=True) if g))
            slopes += [
                (share * kept - g) * (1 if scale is None else scale)
                for g, share in zip(goal, softmax(scores), strict=True)
            ]
        loss = array(losses, x.shape[:1], x.dtype) if scale is None else array([total(losses) * scale], (), x.dtype)
        return loss, array(slopes, x.shape, x.dtype)

    # -- products ------------------------------------------------------------------------------------------------
    def matmul(self, a: Array, b: Array) -> Array:
        # a: ... n k, b: ... k m -> y: ... n m
        (n, k), m = a.shape[-2:], b.shape[-1]
        if b.shape[-2] != k:
            raise ValueError(f"matmul(a, b): a has {k} columns and b has {b.shape[-2]} rows; they must be as many")
        leading = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
        dtype = np.result_type(a, b)
        left = numbers(np.broadcast_to(a, (*leading, n, k)))
        right = numbers(np.broadcast_to(b, (*leading, k, m)))
        y = zeros((*leading, n, m))
        for *which, row, column in y:
            y[*which, row, column] = total(left[*which, row, i] * right[*which, i, column] for i in range(k))
        return array(y, (*leading, n, m), dtype)

    # -- normalisation -------------------------------------------------------------------------------------------
    def batch_norm(self, x: Array, gamma: Array, beta: Array, eps: float) -> tuple[Array, Array, Array]:
        # x: N C ..., gamma, beta: C -> y: N C ..., mean, var: C
        y, means, variances = [], [], []
        for c, (scale, shift) in enumerate(zip(gamma.tolist(), beta.tolist(), strict=True)):
            channel = x[:, c].ravel().tolist()
            mean = divide(total(channel), len(channel))
            var = divide(total((v - mean) * (v - mean) for v in channel), len(channel))
            inv_std = divide(1, sqrt(var + eps))
            y.append([scale * inv_std * (v - mean) + shift for v in channel])
            means.append(mean)
            variances.append(var)
        return _channels(y, x), array(means, gamma.shape, x.dtype), array(variances, gamma.shape, x.dtype)

    def batch_norm_grad(
        self, x: Array, gamma: Array, dy: Array, mean: Array, var: Array, eps: float
    ) -> tuple[Array, Array, Array]:
        # x, dy: N C ..., gamma, mean, var: C -> dx: N C ..., dgamma, dbeta: C   (Ioffe and Szegedy 2015, section 3)
        dx, dgamma, dbeta = [], [], []
        for c, scale in enumerate(gamma.tolist()):
            inv_std = divide(1, sqrt(var[c].item() + eps))
            normal = [(v - mean[c].item()) * inv_std for v in x[:, c].ravel().tolist()]
            upstream = dy[:, c].ravel().tolist()
            dbeta.append(total(upstream))
            dgamma.append(total(d * z for d, z in zip(upstream, normal, strict=True)))
            # every x moves the mean and the variance a little: what they would take away again is subtracted here
            by_mean, by_var = divide(dbeta[c], len(normal)), divide(dgamma[c], len(normal))
            dx.append([scale * inv_std * (d - by_mean - z * by_var) for d, z in zip(upstream, normal, strict=True)])
        return _channels(dx, x), array(dgamma, gamma.shape, x.dtype), array(dbeta, gamma.shape, x.dtype)

    def scale_shift(self, x: Array, scale: Array, shift: Array) -> Array:
        # x: N C ..., scale, shift: C -> y: N C ...
        y = []
        for c, (a, b) in enumerate(zip(scale.tolist(), shift.tolist(), strict=True)):
            y.append([v * a + b for v in x[:, c].ravel().tolist()])
        return _channels(y, x)

    # -- indexing and random numbers -----------------------------------------------------------------------------
    def scatter_add(self, dy: Array, index: Any, shape: Sequence[int]) -> Array:
        # number the places of the result, and let the index choose among the numbers: any index NumPy knows will do
        places = np.arange(math.prod(shape)).reshape(shape)[index]
        y = [dy.dtype.type(0).item()] * math.prod(shape)
        for place, value in zip(np.ravel(places), np.broadcast_to(dy, np.shape(places)).ravel().tolist(), strict=True):
            y[place] += value
        return array(y, shape, dy.dtype)

    def uniform(self, generator: Any, shape: Sequence[int], dtype: Any) -> Array:
        y = np.empty(tuple(shape), dtype)
        for place in np.ndindex(y.shape):
            y[place] = generator.random(dtype=dtype)
        return y


def _channels(values: list[list[float]], like: Array) -> Array:
    """Channel by channel the values of an array N C ..., to that array."""
    n, c, *rest = like.shape
    return array(values, (c, n, *rest), like.dtype).swapaxes(0, 1)
