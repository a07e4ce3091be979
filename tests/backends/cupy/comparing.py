"""What the kernels' tests share: data on the emulated device, small pieces of work, and how near a result must be."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from backends.cupy.emulator import device
from hypothesis import strategies as st

from tinygrad_effnet.backends import Window
from tinygrad_effnet.backends.cupy import depthwise, fused, layout
from tinygrad_effnet.backends.loops import Loops

ORACLE = Loops()
STORED = ("float32", "float64", "float16", "bfloat16")
EPS = {"float32": 2.0**-23, "float64": 2.0**-52, "float16": 2.0**-10, "bfloat16": 2.0**-7}

dtypes = st.sampled_from(STORED)
seeds = st.integers(0, 2**32 - 1)


def number(dtype: str) -> Any:
    """The dtype of this name; NumPy has no bfloat16 of its own."""
    if dtype != "bfloat16":
        return np.dtype(dtype)
    import ml_dtypes

    return np.dtype(ml_dtypes.bfloat16)


class Data:
    """Random arrays of one dtype, each as the device has it and as the oracle takes it (float64)."""

    def __init__(self, seed: int, dtype: str) -> None:
        self.rng, self.dtype = np.random.default_rng(seed), dtype

    def __call__(self, *shape: int, positive: bool = False) -> tuple[Any, np.ndarray]:
        x = self.rng.standard_normal(shape).astype(number(self.dtype))
        return self.put(abs(x) if positive else x)

    def put(self, x: np.ndarray) -> tuple[Any, np.ndarray]:
        """An array of more than two axes lies channel-major, or not, or with gaps."""
        exact = x.astype(np.float64) if x.dtype.kind != "i" else x
        kind = self.rng.integers(3) if x.ndim > 2 else 1
        if kind == 0:
            return device.asarray(x.swapaxes(0, 1)).swapaxes(0, 1), exact
        if kind == 1:
            return device.asarray(x), exact
        gaps = device.empty((*x.shape[:-1], 2 * x.shape[-1]), x.dtype)
        gaps[..., ::2] = x
        return gaps[..., ::2], exact


@contextmanager
def small_pieces(roomy: int, tile: int, widest: int, filling: int) -> Iterator[None]:
    """Share out work among many blocks, or give one block many pieces, as with large arrays, though these are small."""
    small = {
        layout: {"ROOMY": roomy, "UNIT": 16, "FILLING": filling},
        depthwise: {"TILE": tile, "WIDEST": widest, "FILLING": filling},
        fused: {"PLANE_BLOCKS": filling, "LARGE_PLANE": roomy},
    }
    before = {module: {name: getattr(module, name) for name in names} for module, names in small.items()}

    def put(values: Any) -> None:
        for module, names in values.items():
            for name, value in names.items():
                setattr(module, name, value)
        depthwise.tiles_of.cache_clear()

    put(small)
    try:
        yield
    finally:
        put(before)


pieces = st.tuples(
    st.sampled_from([16, 40, 4096]),
    st.sampled_from([30, 200, 4096]),
    st.sampled_from([3, 64]),
    st.sampled_from([2, 1024]),
)


def near(result: Any, expected: Any, dtype: str, terms: int = 1, name: str = "") -> None:
    """Within the rounding of what is stored, and of sums of so many terms; relative to the largest number."""
    got, wanted = np.asarray(result).astype(np.float64), np.asarray(expected, np.float64)
    assert got.shape == wanted.shape, name
    finite = wanted[np.isfinite(wanted)]
    computing = EPS["float64" if dtype == "float64" else "float32"]
    scale = np.abs(finite).max(initial=1.0)
    np.testing.assert_allclose(
        got, wanted, rtol=0, atol=scale * (2 * EPS[dtype] + (8 + terms) * computing), err_msg=name
    )


@st.composite
def windows(draw: st.DrawFn, special: bool | None = None) -> Window:
    """Any window; ``special`` for those with, or without, depthwise kernels of their own."""
    sides = st.tuples(st.integers(0, 3), st.integers(0, 3))
    while True:
        k, s = draw(st.sampled_from([3, 5])), draw(st.integers(1, 2))
        window = Window((k, k), (s, s), draw(st.tuples(sides, sides)))
        if special is not True:
            window = Window(
                draw(st.tuples(st.integers(1, 4), st.integers(1, 4))),
                draw(st.tuples(st.integers(1, 3), st.integers(1, 3))),
                window.padding,
                draw(st.tuples(st.integers(1, 2), st.integers(1, 2))),
            )
        if special is None or depthwise.has_kernel(window) == special:
            return window


def sizes(window: Window, most: int = 9) -> st.SearchStrategy[tuple[int, int]]:
    """Heights and widths that the window fits into."""
    spans = [
        max(1, d * (k - 1) + 1 - before - after)
        for k, d, (before, after) in zip(window.kernel, window.dilation, window.padding, strict=True)
    ]
    return st.tuples(*[st.integers(least, max(least, most)) for least in spans])
