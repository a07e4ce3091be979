"""An optimiser's step for all parameters at once: one pass over memory, whatever the number of parameters.

Written with array functions, a step of NAdam is a dozen passes for each of two hundred parameters, most of them small.
Here a table of addresses goes to one kernel, which cuts large parameters into pieces and shares them out. The formulas
are those of `optim`, number by number in the same order, so that the bits are the same. The functions are those of
`backends.cupy.optimiser`, and for clipping `norms` and `scale`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numba import carray, extending, prange
from numba.core import types

from ..base import Array
from .jit import Index, inner, kernel, pointwise
from .layout import plain, real

PIECE = 16_384  # numbers that a thread takes at a time
Arrays = Sequence[Array]  # one for each parameter
intrinsic: Any = extending.intrinsic


@intrinsic
def pointer(typingctx: Any, address: Any, like: Any) -> Any:
    """``address`` as a pointer to numbers of the dtype of the array ``like``."""
    to = types.CPointer(like.dtype)

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.inttoptr(values[0], context.get_value_type(to))

    return to(types.uint64, like), generate


@pointwise
def adam_piece(p: Any, g: Any, m: Any, v: Any, largest: Any, numbers: Any, first: int, last: int) -> None:
    """See `optim.Adam` and `optim.NAdam`, whose formula this is."""
    sign, shrink, decay, beta1, rest1, beta2, rest2, of_gradient, of_momentum, correction, eps, amsgrad = numbers
    for i in range(Index(first), Index(last)):
        x, d = p[i] * shrink, g[i] * sign
        d = d + decay * p[i] if decay != 0 else d
        m[i] = m[i] * beta1 + rest1 * d
        v[i] = v[i] * beta2 + rest2 * (d * d)
        big = v[i]
        if amsgrad != 0:
            big = big if big > largest[i] or big != big else largest[i]
            largest[i] = big
        p[i] = x - (of_gradient * d + of_momentum * m[i]) / (np.sqrt(big / correction) + eps)


@pointwise
def sgd_piece(p: Any, g: Any, b: Any, numbers: Any, first: int, last: int) -> None:
    """See `optim.SGD`."""
    sign, decay, momentum, share, lr, remembers, nesterov = numbers
    for i in range(Index(first), Index(last)):
        d = g[i] * sign
        d = d + decay * p[i] if decay != 0 else d
        if remembers != 0:
            b[i] = b[i] * momentum + share * d
            d = d + momentum * b[i] if nesterov != 0 else b[i]
        p[i] = p[i] - lr * d


@pointwise
def ema_piece(average: Any, x: Any, share: Any, first: int, last: int) -> None:
    """See `optim.EMA`."""
    for i in range(Index(first), Index(last)):
        average[i] = average[i] + share * (x[i] - average[i])


@pointwise
def scale_piece(x: Any, factor: Any, first: int, last: int) -> None:
    """See `optim.clip_grad_norm_`."""
    for i in range(Index(first), Index(last)):
        x[i] = x[i] * factor


@inner
def sum_of_squares(x: Any, first: int, last: int) -> Any:
    total = 0.0
    for i in range(Index(first), Index(last)):
        total += np.float64(x[i]) * np.float64(x[i])
    return total


@inner
def sum_of_powers(x: Any, p: float, first: int, last: int) -> Any:
    total = 0.0
    for i in range(Index(first), Index(last)):
        total += abs(np.float64(x[i])) ** p
    return total


@inner
def largest_size(x: Any, first: int, last: int) -> Any:
    largest = 0.0
    for i in range(Index(first), Index(last)):
        size = abs(np.float64(x[i]))
        largest = size if size > largest or size != size else largest  # a NaN stays: nothing is larger
    return largest


@kernel
def adam_kernel(addresses: Any, pieces: Any, numbers: Any) -> None:
    """addresses: parameters x (p, g, m, v, largest); pieces: (parameter, first, last)."""
    for piece in prange(len(pieces)):
        row, first, last = pieces[piece]
        at = addresses[row]
        adam_piece(
            carray(pointer(at[0], numbers), last), carray(pointer(at[1], numbers), last),
            carray(pointer(at[2], numbers), last), carray(pointer(at[3], numbers), last),
            carray(pointer(at[4], numbers), last), numbers, first, last,
        )  # fmt: skip


@kernel
def sgd_kernel(addresses: Any, pieces: Any, numbers: Any) -> None:
    """addresses: parameters x (p, g, b); pieces: (parameter, first, last)."""
    for piece in prange(len(pieces)):
        row, first, last = pieces[piece]
        at = addresses[row]
        sgd_piece(
            carray(pointer(at[0], numbers), last), carray(pointer(at[1], numbers), last),
            carray(pointer(at[2], numbers), last), numbers, first, last,
        )  # fmt: skip


@kernel
def ema_kernel(addresses: Any, pieces: Any, numbers: Any) -> None:
    """addresses: arrays x (average, x); pieces: (array, first, last)."""
    for piece in prange(len(pieces)):
        row, first, last = pieces[piece]
        at = addresses[row]
        ema_piece(carray(pointer(at[0], numbers), last), carray(pointer(at[1], numbers), last), numbers[0], first, last)


@kernel
def scale_kernel(addresses: Any, pieces: Any, numbers: Any) -> None:
    """addresses: arrays x (x,); pieces: (array, first, last)."""
    for piece in prange(len(pieces)):
        row, first, last = pieces[piece]
        scale_piece(carray(pointer(addresses[row][0], numbers), last), numbers[0], first, last)


@kernel
def norms_kernel(addresses: Any, pieces: Any, like: Any, p: float, found: Any) -> None:
    """addresses: arrays x (x,), of the dtype of ``like``; pieces: (array, first, last) -> found: the norm of each."""
    for piece in prange(len(pieces)):
        row, first, last = pieces[piece]
        x = carray(pointer(addresses[row][0], like), last)
        if p == 2:
            found[piece] = math.sqrt(sum_of_squares(x, first, last))
        elif p == math.inf:
            found[piece] = largest_size(x, first, last)
        else:
            found[piece] = sum_of_powers(x, p, first, last) ** (1 / p)


def adam(
    params: Arrays,
    grads: Arrays,
    exp_avg: Arrays,
    exp_avg_sq: Arrays,
    largest: Arrays | None,
    *,
    betas: tuple[float, float],
    of_gradient: float,
    of_momentum: float,
    correction: float,
    eps: float,
    decay: float = 0.0,
    shrink: float = 1.0,
    maximize: bool = False,
) -> None:
    """p -= (of_gradient g + of_momentum m) / (sqrt(v / correction) + eps), in place, for every parameter.

    m and v are moved first, ``g + decay * p`` and ``p * shrink`` before that (`optim.Adam`, `optim.NAdam`);
    ``largest`` is AMSGrad's. Nothing is written to ``grads``.
    """
    (beta1, beta2), sign = betas, -1.0 if maximize else 1.0
    rates = beta1, 1 - beta1, beta2, 1 - beta2, of_gradient, of_momentum
    slots = [params, exp_avg, exp_avg_sq, exp_avg_sq if largest is None else largest]
    _run(adam_kernel, slots, grads, (sign, shrink, decay, *rates, correction, eps, float(largest is not None)))


def sgd(
    params: Arrays,
    grads: Arrays,
    buffers: Arrays | None,
    *,
    lr: float,
    decay: float = 0.0,
    momentum: float = 0.0,
    share: float = 1.0,
    nesterov: bool = False,
    maximize: bool = False,
) -> None:
    """p -= lr b with b = momentum b + share (g + decay p), in place, for every parameter (`optim.SGD`).

    Without ``buffers`` b is g + decay p.
    """
    numbers = -1.0 if maximize else 1.0, decay, momentum, share, lr, float(buffers is not None), float(nesterov)
    _run(sgd_kernel, [params, params if buffers is None else buffers], grads, numbers)


def ema(averages: Arrays, arrays: Arrays, share: float) -> None:
    """average += share (x - average), in place, for every array."""
    _run(ema_kernel, [averages], arrays, (share,))


def scale(arrays: Arrays, factor: float) -> None:
    """x *= factor, in place, for every array."""
    _run(scale_kernel, [arrays], None, (factor,))


def norms(arrays: Arrays, p: float) -> list[float]:
    """The p-norms of pieces of which all the arrays together consist, summed in float64; p may be infinite."""
    found: list[float] = []
    for dtype, rows in _by_dtype(arrays):
        flat = [_without_gaps(row) for row in rows]
        pieces = _pieces(tuple([x.size for (x,) in flat]))
        each = np.zeros(len(pieces))
        if len(pieces):
            norms_kernel(_addresses(flat), pieces, np.empty(1, dtype), float(p), each)
        found += each.tolist()
    return found


def _run(step: kernel, written: Sequence[Arrays], read: Arrays | None, numbers: tuple[float, ...]) -> None:
    """``step`` for each dtype among the arrays; of a parameter come what is written, what is read, what is written."""
    first, *others = written
    for dtype, rows in _by_dtype(first, *([] if read is None else [read]), *others):
        flat = [_without_gaps(row) for row in rows]
        pieces = _pieces(tuple([row[0].size for row in flat]))
        if len(pieces):
            step(_addresses(flat), pieces, np.array(numbers, dtype))
        for row, copies in zip(rows, flat, strict=True):
            for array, copy in zip((row[0], *row[2:]), (copies[0], *copies[2:]), strict=True):
                if copy is not array:
                    array[...] = copy


def _by_dtype(*slots: Arrays) -> Iterator[tuple[Any, list[tuple[Array, ...]]]]:
    """Rows of arrays, one row a parameter, sorted by the parameter's dtype."""
    rows: dict[Any, list[tuple[Array, ...]]] = {}
    for row in zip(*slots, strict=True):
        rows.setdefault(row[0].dtype, []).append(row)
    yield from rows.items()


def _without_gaps(row: tuple[Array, ...]) -> tuple[Array, ...]:
    """`_flat` of each, one copy for what stands in two places."""
    made = {id(array): _flat(array, row[0]) for array in row}
    return tuple([made[id(array)] for array in row])


def _flat(array: Array, beside: Array) -> Array:
    """``array`` without gaps: itself, or a copy. It must be like its parameter, because kernels see only addresses."""
    if not real(array, beside) or array.shape != beside.shape:
        raise ValueError(
            f"optimiser: got {array.dtype} of shape {array.shape} beside a parameter of {beside.dtype} and shape "
            f"{beside.shape}; expected the same, float32 or float64"
        )
    return plain(array)


def _addresses(rows: Sequence[tuple[Array, ...]]) -> Array:
    return np.array([[array.__array_interface__["data"][0] for array in row] for row in rows], np.uint64)


@lru_cache(maxsize=16)
def _pieces(sizes: tuple[int, ...]) -> Array:
    """(array, first, last) of each piece, int64; the same in every step."""
    return np.array(list(_cut(sizes)), np.int64).reshape(-1, 3)


def _cut(sizes: tuple[int, ...]) -> Iterator[tuple[int, int, int]]:
    for number, size in enumerate(sizes):
        for first in range(0, size, PIECE):
            yield number, first, min(first + PIECE, size)
