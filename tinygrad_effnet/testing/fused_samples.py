"""Samples for fused operations: batch and given statistics, windows with either stride, masks with a sample dropped."""

from __future__ import annotations

import numpy as np

from ..backends import Given, Window
from ..op import Op
from .samples import Rng, Sample, apart, fixed, samples_of

EPS = 1e-3
SHAPES = ((2, 3, 4, 5), (3, 1, 2, 2), (1, 2, 5, 3))
EMPTY = (0, 2, 3, 3)  # with given statistics only: nothing has no mean


def _norms(rng: Rng, shape: tuple[int, ...]) -> list[tuple[str, Given]]:
    given = rng.standard_normal(shape[1]), rng.uniform(0.5, 2, shape[1])
    batch = [] if 0 in shape else [("batch statistics", None)]
    return [*batch, ("given statistics", given)]


def _operands(rng: Rng, shape: tuple[int, ...]) -> list[np.ndarray]:
    """x, gamma and beta."""
    return [rng.standard_normal(shape) * 2 + 1, apart(rng, shape[1:2]), rng.standard_normal(shape[1])]


@samples_of("norm_silu")
def _norm_silu(op: type[Op], rng: Rng) -> list[Sample]:
    return [
        Sample(f"{label}, x {shape}", fixed(op, EPS, given), _operands(rng, shape))
        for shape in (*SHAPES, EMPTY)
        for label, given in _norms(rng, shape)
    ]


@samples_of("norm_silu_depthwise")
def _norm_silu_depthwise(op: type[Op], rng: Rng) -> list[Sample]:
    one, two, none = ((1, 1), (1, 1)), ((2, 2), (2, 2)), ((0, 0), (0, 0))
    cases = (
        ((2, 3, 4, 5), Window((3, 3), (1, 1), one)),
        ((1, 2, 5, 7), Window((5, 5), (2, 2), two)),
        ((3, 1, 2, 3), Window((3, 3), (2, 2), ((0, 1), (1, 1)))),
        ((2, 2, 3, 3), Window((1, 2), (1, 1), none)),
        (EMPTY, Window((3, 3), (1, 1), one)),
    )
    return [
        Sample(
            f"{label}, x {shape}, {window.kernel} by {window.stride}",
            fixed(op, window, EPS, given),
            [*_operands(rng, shape), rng.standard_normal((shape[1], 1, *window.kernel))],
        )
        for shape, window in cases
        for label, given in _norms(rng, shape)
    ]


@samples_of("norm_silu_squeeze_excite")
def _norm_silu_squeeze_excite(op: type[Op], rng: Rng) -> list[Sample]:
    made = []
    for (n, channels, *size), squeezed in zip((*SHAPES, EMPTY), (2, 1, 3, 1), strict=True):
        shape = (n, channels, *size)
        weights = (squeezed, channels, 1, 1), (squeezed,), (channels, squeezed, 1, 1), (channels,)
        for label, given in _norms(rng, shape):
            arrays = [*_operands(rng, shape), *[rng.standard_normal(s) for s in weights]]
            made.append(Sample(f"{label}, y {shape} squeezed to {squeezed}", fixed(op, EPS, given), arrays))
    return made


@samples_of("norm_add")
def _norm_add(op: type[Op], rng: Rng) -> list[Sample]:
    made = []
    for shape, dropping in zip((*SHAPES, EMPTY), (True, True, False, False), strict=True):
        mask = np.where(np.arange(shape[0]) == 1, 0.0, 1.25) if dropping else None
        for label, given in _norms(rng, shape):
            arrays = [*_operands(rng, shape), rng.standard_normal(shape)]
            made.append(Sample(f"{label}, v {shape}, mask {mask}", fixed(op, mask, EPS, given), arrays))
    return made
