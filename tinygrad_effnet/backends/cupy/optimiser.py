"""Updates of all parameters of a group in one launch.

A step of NAdam written with array functions is a dozen launches for each parameter, three thousand for EfficientNet-B0,
and takes longer to launch than to compute. Here a table of addresses goes to the device (a few kilobytes, which nobody
waits for) and one kernel does them all.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from ..base import Array
from .launch import STORED, kernel
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


def _launch(name: str, slots: Sequence[Arrays], template: tuple[object, ...], scalars: Sequence[float]) -> None:
    """One launch for each dtype among the parameters."""
    import cupy

    of_dtype: dict[str, list[tuple[Array, ...]]] = {}
    for arrays in zip(*slots, strict=True):
        _check(name, arrays)
        if arrays[0].size:
            of_dtype.setdefault(arrays[0].dtype.name, []).append(arrays)
    for dtype, rows in of_dtype.items():
        addresses = np.array([[array.data.ptr for array in row] for row in rows], np.uint64)
        device = cupy.cuda.Device().id
        pieces = _pieces(tuple([row[0].size for row in rows]), device)
        launch = kernel("optimiser", name, np.dtype(dtype) if dtype != "bfloat16" else dtype, *template)
        launch((len(pieces),), (THREADS,), (cupy.asarray(addresses), pieces, *map(float, scalars)))


def _check(name: str, arrays: tuple[Array, ...]) -> None:
    """The launcher sees only addresses, so what it would check is checked here."""
    import cupy

    first, device = arrays[0], cupy.cuda.Device().id
    if first.dtype.name not in STORED:
        raise TypeError(f"{name}: a parameter is {first.dtype}; expected one of {STORED}")
    for array in arrays:
        if not isinstance(array, cupy.ndarray) or (array.shape, array.dtype) != (first.shape, first.dtype):
            raise ValueError(
                f"{name}: got a {type(array).__name__} of {array.dtype} and shape {array.shape} beside a parameter of "
                f"{first.dtype} and shape {first.shape}; expected the same, on the device"
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
