"""Updates of all parameters of a group in one launch.

A step of NAdam written with array functions is a dozen launches for each parameter, three thousand for EfficientNet-B0,
and takes longer to launch than to compute. Here a table of addresses goes to the device (a few kilobytes, which nobody
waits for) and one kernel does them all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from ..base import Array
from .launch import STORED, kernel, wide
from .layout import THREADS, plain

PIECE = 8192  # numbers that a block does

Arrays = Sequence[Array]  # one for each parameter


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

    Raises
    ------
    ValueError, TypeError
        An array does not fit its parameter, or one that is written to is not contiguous.
    """
    slots = [params, [plain(g) for g in grads], exp_avg, exp_avg_sq, *([] if largest is None else [largest])]
    scalars = -1.0 if maximize else 1.0, shrink, decay, *betas, of_gradient, of_momentum, correction, eps
    _launch("adam", slots, (largest is not None,), scalars)


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

    Raises
    ------
    ValueError, TypeError
        As for `adam`.
    """
    kind = "PLAIN" if buffers is None else "NESTEROV" if nesterov else "MOMENTUM"
    slots = [params, [plain(g) for g in grads], *([] if buffers is None else [buffers])]
    _launch("sgd", slots, (kind,), (-1.0 if maximize else 1.0, decay, momentum, share, lr))


def ema(averages: Arrays, arrays: Arrays, share: float) -> None:
    """average += share (x - average), in place, for every array.

    Raises
    ------
    ValueError, TypeError
        As for `adam`.
    """
    _launch("ema", [averages, [plain(x) for x in arrays]], (), (share,))


def norm(arrays: Arrays) -> Array:
    """The Euclidean norm of all numbers together, as one of float64 on the device; arrays of at most 32 bits a number.

    Raises
    ------
    ValueError, TypeError
        As for `adam`.
    """
    import cupy

    found = [cupy.zeros(1, "float64")]
    for stored, addresses, pieces in _tables("norm", [[plain(x) for x in arrays]]):
        sums = cupy.empty(len(pieces), "float64")
        kernel("optimiser", "squares", stored)((len(pieces),), (THREADS,), (addresses, pieces, sums))
        found.append(sums)
    return cupy.sqrt(cupy.concatenate(found).sum())


def scale(arrays: Arrays, factor: Array) -> None:
    """x *= factor, in place, for every array; ``factor`` is one float64 on the device.

    Raises
    ------
    ValueError, TypeError
        As for `adam`.
    """
    _launch("scale", [arrays], (), (factor,))


def narrow(results: Arrays, arrays: Arrays) -> None:
    """Each array rounded to its result's dtype; arrays are in the dtype that kernels compute with there.

    Raises
    ------
    ValueError, TypeError
        As for `adam`.
    """
    _launch("narrow", [results, [plain(x) for x in arrays]], (), (), wide_slot=1)


def widen(results: Arrays, arrays: Arrays, divisor: float, adds: bool) -> None:
    """Each array / divisor, put into its result or added to it; results are in the dtype that kernels compute with.

    Raises
    ------
    ValueError, TypeError
        As for `adam`.
    """
    _launch("widen", [results, [plain(x) for x in arrays]], (adds,), (divisor,), wide_slot=0)


def _launch(
    name: str,
    slots: Sequence[Arrays],
    template: tuple[object, ...],
    numbers: Sequence[Any],
    wide_slot: int | None = None,
) -> None:
    """One launch for each dtype among the parameters. Numbers may lie on the device."""
    for stored, addresses, pieces in _tables(name, slots, wide_slot):
        args = [float(x) if isinstance(x, (int, float)) else x for x in numbers]
        launch = kernel("optimiser", name, stored, *template)
        launch((len(pieces),), (THREADS,), (addresses, pieces, *args))


def _tables(name: str, slots: Sequence[Arrays], wide_slot: int | None = None) -> Iterator[tuple[Any, Array, Array]]:
    """For each dtype among the parameters: what is stored, the arrays' addresses, and the pieces of work."""
    import cupy

    of_dtype: dict[str, list[tuple[Array, ...]]] = {}
    for arrays in zip(*slots, strict=True):
        stored = arrays[1 if wide_slot == 0 else 0].dtype.name
        _check(name, arrays, stored, wide_slot)
        if arrays[0].size:
            of_dtype.setdefault(stored, []).append(arrays)
    for stored, rows in of_dtype.items():
        addresses = np.array([[array.data.ptr for array in row] for row in rows], np.uint64)
        pieces = _pieces(tuple([row[0].size for row in rows]), cupy.cuda.Device().id)
        yield stored if stored == "bfloat16" else np.dtype(stored), cupy.asarray(addresses), pieces


def _check(name: str, arrays: tuple[Array, ...], stored: str, wide_slot: int | None) -> None:
    """The launcher sees only addresses, so what it would check is checked here."""
    import cupy

    first, device = arrays[0], cupy.cuda.Device().id
    if stored not in STORED:
        raise TypeError(f"{name}: a parameter is {stored}; expected one of {STORED}")
    for slot, array in enumerate(arrays):
        dtype = wide(stored) if slot == wide_slot else stored
        if not isinstance(array, cupy.ndarray) or array.shape != first.shape or array.dtype.name != dtype:
            raise ValueError(
                f"{name}: got a {type(array).__name__} of {array.dtype} and shape {array.shape} beside a parameter of "
                f"{stored} and shape {first.shape}; expected {dtype} and the same shape, on the device"
            )
        if not array.flags.c_contiguous or array.device.id != device:
            raise ValueError(
                f"{name}: an array of shape {array.shape} is not contiguous, or not on device {device}, the current one"
            )


@lru_cache(maxsize=64)
def _pieces(sizes: tuple[int, ...], device: int) -> Array:
    """(parameter, first, count) of each piece, int32, on the device; the same in every step."""
    import cupy

    rows = [
        (number, first, min(PIECE, size - first))
        for number, size in enumerate(sizes)
        for first in range(0, size, PIECE)
    ]
    return cupy.asarray(np.array(rows, np.int32))
