"""Depthwise kernels against `loops`: special and any windows, cut planes, several blocks a channel, odd sizes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from backends.cupy.comparing import ORACLE, Data, dtypes, near, pieces, seeds, sizes, small_pieces, windows
from backends.cupy.emulator.device import kernel_device
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_effnet.backends import Window
from tinygrad_effnet.backends.cupy import depthwise
from tinygrad_effnet.backends.cupy.layout import channel_major
from tinygrad_effnet.backends.vectorized import NumPy

shapes = st.tuples(st.integers(1, 3), st.integers(1, 3))


@pytest.mark.parametrize("special", [True, False])
@given(st.data(), seeds, dtypes, shapes, pieces)
def test_all_three(special: bool, data: Any, seed: int, dtype: str, leading: tuple[int, int], piece: Any) -> None:
    window = data.draw(windows(special))
    size = data.draw(sizes(window))
    out = window.output_size(*size)
    draw = Data(seed, dtype)
    with kernel_device(), small_pieces(*piece):
        (x, x_exact), (w, w_exact), (dy, dy_exact) = (
            draw(*leading, *size),
            draw(leading[1], 1, *window.kernel),
            draw(*leading, *out),
        )
        terms = w[0].size
        near(depthwise.depthwise_conv2d(x, w, window), ORACLE.depthwise_conv2d(x_exact, w_exact, window), dtype, terms)
        near(
            depthwise.depthwise_conv2d_input_grad(dy, w, window, size),
            ORACLE.depthwise_conv2d_input_grad(dy_exact, w_exact, window, size),
            dtype,
            terms,
        )
        near(
            depthwise.depthwise_conv2d_weight_grad(x, dy, window),
            ORACLE.depthwise_conv2d_weight_grad(x_exact, dy_exact, window),
            dtype,
            dy[:, 0].size,
        )


@pytest.mark.parametrize("widest", [5, 64])
@pytest.mark.parametrize(("side", "stride"), [(3, 1), (3, 2), (5, 1), (5, 2)])
@given(seed=seeds, dtype=dtypes)
def test_rows_of_whole_accesses(side: int, stride: int, widest: int, seed: int, dtype: str) -> None:
    """Padding of several kinds, so that rows begin early by any number; tiles cut across, and whole planes."""
    draw = Data(seed, dtype)
    before, after = draw.rng.integers(0, 4, 2).tolist()
    window, size = Window((side, side), (stride, stride), ((1, after), (before, 1))), (9, 32)
    out = window.output_size(*size)
    with kernel_device(), small_pieces(16, 4608, widest, 2):
        (x, x_exact), (w, w_exact), (dy, dy_exact) = draw(2, 2, *size), draw(2, 1, side, side), draw(2, 2, *out)
        assert depthwise.access(channel_major(x)) == (2 if dtype == "float64" else 4)
        y = depthwise.depthwise_conv2d(x, w, window)
        near(y, ORACLE.depthwise_conv2d(x_exact, w_exact, window), dtype, side * side)
        dx = depthwise.depthwise_conv2d_input_grad(dy, w, window, size)
        near(dx, ORACLE.depthwise_conv2d_input_grad(dy_exact, w_exact, window, size), dtype, side * side)
        dw = depthwise.depthwise_conv2d_weight_grad(x, dy, window)
        near(dw, ORACLE.depthwise_conv2d_weight_grad(x_exact, dy_exact, window), dtype, dy[:, 0].size)


@pytest.mark.parametrize(
    ("side", "stride", "size"), [(3, 1, (70, 131)), (3, 1, (70, 132)), (5, 2, (141, 152)), (5, 1, (40, 68))]
)
def test_large_planes_are_cut(side: int, stride: int, size: tuple[int, int]) -> None:
    window = Window((side, side), (stride, stride), ((side // 2, side // 2), (side // 2, side // 2)))
    out = window.output_size(*size)
    assert depthwise.output_tiles(window, 2, out, 4).number > 2
    draw = Data(0, "float32")
    with kernel_device():
        (x, x_exact), (w, w_exact), (dy, dy_exact) = draw(2, 2, *size), draw(2, 1, side, side), draw(2, 2, *out)
        oracle = NumPy()
        y = depthwise.depthwise_conv2d(x, w, window)
        near(y, oracle.depthwise_conv2d(x_exact, w_exact, window), "float32", side * side)
        dx = depthwise.depthwise_conv2d_input_grad(dy, w, window, size)
        near(dx, oracle.depthwise_conv2d_input_grad(dy_exact, w_exact, window, size), "float32", side * side)
        dw = depthwise.depthwise_conv2d_weight_grad(x, dy, window)
        near(dw, oracle.depthwise_conv2d_weight_grad(x_exact, dy_exact, window), "float32", 200)


@given(st.data(), st.integers(1, 70), st.sampled_from([1, 2, 4]))
def test_tiles_cover_every_plane_and_fit(data: Any, images: int, full: int) -> None:
    window = data.draw(windows(True))
    size = data.draw(sizes(window, most=260))
    for tiles, results in (
        (depthwise.output_tiles(window, images, window.output_size(*size), full), window.output_size(*size)),
        (depthwise.input_tiles(window, images, size, full), None),
    ):
        assert tiles.planes * (tiles.number // (tiles.across * tiles.down)) >= images
        assert tiles.planes == 1 or tiles.across * tiles.down == 1
        # beside the sums of a block, in double: 25 numbers of 32 warps; doubles come by two
        assert tiles.staged * (8 if full < 4 else 4) + 25 * 32 * 8 + 1024 <= 48 * 1024
        if results:
            assert tiles.down * tiles.height >= results[0] and tiles.across * tiles.width >= results[1]
            assert (tiles.down - 1) * tiles.height < results[0] and (tiles.across - 1) * tiles.width < results[1]


def test_a_nan_stays_in_its_window() -> None:
    window = Window((3, 3), (1, 1), ((1, 1), (1, 1)))
    with kernel_device():
        x, _ = Data(1, "float32")(2, 2, 9, 8)
        w, _ = Data(2, "float32")(2, 1, 3, 3)
        x[1, 0, 4, 4] = np.nan
        y = np.asarray(depthwise.depthwise_conv2d(x, w, window))
    assert np.argwhere(np.isnan(y)).tolist() == [[1, 0, h, c] for h in (3, 4, 5) for c in (3, 4, 5)]


def test_wrong_shapes_never_reach_a_kernel() -> None:
    window = Window((3, 3), (1, 1), ((1, 1), (1, 1)))
    draw = Data(0, "float32")
    with kernel_device():
        (x, _), (w, _), (dy, _) = draw(2, 3, 6, 6), draw(3, 1, 5, 5), draw(2, 3, 6, 5)
        with pytest.raises(ValueError, match=r"w: got an array of shape \(3, 1, 5, 5\), expected \(3, 1, 3, 3\)"):
            depthwise.depthwise_conv2d(x, w, window)
        with pytest.raises(ValueError, match=r"dy: got an array of shape \(2, 3, 6, 5\), expected \(2, 3, 6, 6\)"):
            depthwise.depthwise_conv2d_weight_grad(x, dy, window)
