"""Columns and products against `loops`."""

from __future__ import annotations

from typing import Any

from backends.cupy.comparing import ORACLE, Data, dtypes, near, seeds, sizes, windows
from backends.cupy.emulator.device import kernel_device
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_effnet.backends import Window
from tinygrad_effnet.backends.cupy import convolution


@given(st.data(), seeds, dtypes, st.integers(1, 3), st.integers(1, 2), st.integers(1, 2), st.integers(1, 2))
def test_all_three(data: Any, seed: int, dtype: str, n: int, groups: int, inputs: int, outputs: int) -> None:
    window = data.draw(st.one_of(windows(), st.just(Window((1, 1)))))
    size = data.draw(sizes(window, 6))
    out = window.output_size(*size)
    draw = Data(seed, dtype)
    with kernel_device():
        (x, x_exact), (w, w_exact), (dy, dy_exact) = (
            draw(n, inputs * groups, *size),
            draw(outputs * groups, inputs, *window.kernel),
            draw(n, outputs * groups, *out),
        )
        y = convolution.conv2d(x, w, window, groups)
        near(y, ORACLE.conv2d(x_exact, w_exact, window, groups), dtype, 30)
        dx = convolution.conv2d_input_grad(dy, w, window, groups, size)
        # each column is rounded to what is stored before the columns are summed
        columns = window.kernel[0] * window.kernel[1] * 2**16 if dtype.endswith("16") else 30
        near(dx, ORACLE.conv2d_input_grad(dy_exact, w_exact, window, groups, size), dtype, columns)
        dw = convolution.conv2d_weight_grad(x, dy, window, groups)
        near(dw, ORACLE.conv2d_weight_grad(x_exact, dy_exact, window, groups), dtype, 200)


def test_a_pointwise_convolution_launches_no_kernel_and_copies_nothing() -> None:
    draw = Data(0, "float32")
    with kernel_device() as device:
        (x, _), (w, _) = draw.put(draw.rng.standard_normal((4, 2, 3, 3)).astype("float32")), draw(5, 4, 1, 1)
        x = device.ascontiguousarray(x).swapaxes(0, 1)  # channel-major
        columns = convolution._columns(x, Window((1, 1)), 1)
        assert columns.ctypes.data == x.ctypes.data
        y = convolution.conv2d(x, w, Window((1, 1)), 1)
        assert y.swapaxes(0, 1).flags.c_contiguous
