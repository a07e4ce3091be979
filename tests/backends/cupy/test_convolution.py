"""Columns and products, and products without columns, against `loops`."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
from backends.cupy.comparing import ORACLE, Data, dtypes, near, seeds, sizes, windows
from backends.cupy.emulator.device import kernel_device
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_effnet.backends import Window
from tinygrad_effnet.backends.cupy import convolution, implicit
from tinygrad_effnet.backends.cupy.launch import LARGEST_INDEX


def compare(
    module: ModuleType, draw: Data, window: Window, size: Any, n: int, groups: int, io: tuple[int, int]
) -> None:
    inputs, outputs = io
    out = window.output_size(*size)
    with kernel_device():
        (x, x_exact), (w, w_exact), (dy, dy_exact) = (
            draw(n, inputs * groups, *size),
            draw(outputs * groups, inputs, *window.kernel),
            draw(n, outputs * groups, *out),
        )
        y = module.conv2d(x, w, window, groups)
        near(y, ORACLE.conv2d(x_exact, w_exact, window, groups), draw.dtype, 30)
        dx = module.conv2d_input_grad(dy, w, window, groups, size)
        # with columns, each is rounded to what is stored before they are summed
        rounded = module is convolution and draw.dtype.endswith("16")
        terms = window.kernel[0] * window.kernel[1] * 2**16 if rounded else 30
        near(dx, ORACLE.conv2d_input_grad(dy_exact, w_exact, window, groups, size), draw.dtype, terms)
        dw = module.conv2d_weight_grad(x, dy, window, groups)
        near(dw, ORACLE.conv2d_weight_grad(x_exact, dy_exact, window, groups), draw.dtype, 200)


@pytest.fixture
def columns_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convolution, "THIN", 0)


@pytest.mark.usefixtures("columns_only")
@given(st.data(), seeds, dtypes, st.integers(1, 3), st.integers(1, 2), st.integers(1, 2), st.integers(1, 2))
def test_all_three_by_columns(data: Any, seed: int, dtype: str, n: int, groups: int, inputs: int, outputs: int) -> None:
    window = data.draw(st.one_of(windows(), st.just(Window((1, 1)))))
    compare(convolution, Data(seed, dtype), window, data.draw(sizes(window, 6)), n, groups, (inputs, outputs))


@given(st.data(), seeds, dtypes, st.integers(1, 3), st.integers(1, 2), st.integers(1, 7), st.integers(1, 7))
def test_all_three_without_columns(
    data: Any, seed: int, dtype: str, n: int, groups: int, inputs: int, outputs: int
) -> None:
    window = data.draw(windows())
    compare(implicit, Data(seed, dtype), window, data.draw(sizes(window, 6)), n, groups, (inputs, outputs))


@pytest.mark.parametrize("chunk", [64, 4096])
@pytest.mark.parametrize("stride", [1, 2])
def test_several_blocks_each_way(chunk: int, stride: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """More rows, columns, steps and shares than one block has, none of them a whole number."""
    monkeypatch.setattr(implicit, "CHUNK", chunk)
    window = Window((3, 3), (stride, stride), ((0, 1), (1, 0)))
    compare(implicit, Data(3, "float32"), window, (9, 11), 3, 2, (17, 35))


def test_thin_products_have_no_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    window, size = Window((3, 3), (2, 2), ((1, 1), (1, 1))), (8, 8)
    made: list[int] = []
    columns, fold = convolution.columns, convolution.fold
    monkeypatch.setattr(convolution, "columns", lambda *args: made.append(1) or columns(*args))
    monkeypatch.setattr(convolution, "fold", lambda *args: made.append(1) or fold(*args))
    found = []
    for outputs in (16, 17, 64, 65):
        draw = Data(0, "float32")
        with kernel_device():
            (x, _), (w, _), (dy, _) = draw(1, 2, *size), draw(outputs, 2, 3, 3), draw(1, outputs, 4, 4)
            for call in (
                lambda x=x, w=w: convolution.conv2d(x, w, window, 1),
                lambda dy=dy, w=w: convolution.conv2d_input_grad(dy, w, window, 1, size),
                lambda x=x, dy=dy: convolution.conv2d_weight_grad(x, dy, window, 1),
            ):
                made.clear()
                call()
                found.append(bool(made))
    # the gradient of the input counts each output four times: once for each pixel that a stride of 2 x 2 skips
    assert found == [False, False, False, False, True, False, False, True, False, True, True, True]


def test_columns_that_no_kernel_could_index_are_not_made() -> None:
    out = (2**10, 2**10)
    assert 2**8 * 9 * 2**20 > LARGEST_INDEX
    assert convolution.is_thin(1, 2**8, 2**10, Window((3, 3)), out)
    assert not convolution.is_thin(1, 2**6, 2**10, Window((3, 3)), out)
    assert not convolution.is_thin(1, 2**12, 2**10, Window((1, 1)), out)  # these lie there already


def test_a_pointwise_convolution_launches_no_kernel_and_copies_nothing() -> None:
    draw = Data(0, "float32")
    with kernel_device() as device:
        (x, _), (w, _) = draw.put(draw.rng.standard_normal((4, 2, 3, 3)).astype("float32")), draw(5, 4, 1, 1)
        x = device.ascontiguousarray(x).swapaxes(0, 1)  # channel-major
        columns = convolution._columns(x, Window((1, 1)), 1)
        assert columns.ctypes.data == x.ctypes.data
        y = convolution.conv2d(x, w, Window((1, 1)), 1)
        assert y.swapaxes(0, 1).flags.c_contiguous
