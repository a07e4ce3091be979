"""What users may write for windows, and TensorFlow's "same" padding by its known values."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_effnet.backends import Window
from tinygrad_effnet.ops.window import pair, window_of


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "expected"),
    [
        (224, 3, 2, (0, 1)),
        (112, 5, 2, (1, 2)),
        (225, 3, 2, (1, 1)),
        (15, 5, 2, (2, 2)),
        (7, 3, 1, (1, 1)),
        (7, 5, 1, (2, 2)),
        (7, 2, 1, (0, 1)),
        (8, 1, 2, (0, 0)),
        (1, 3, 2, (1, 1)),
    ],
)
def test_same_padding_is_tensorflows(size: int, kernel: int, stride: int, expected: tuple[int, int]) -> None:
    window = window_of("conv2d", kernel, stride, "same", 1, (size, size))
    assert window.padding == (expected, expected)


@given(*[st.integers(1, 30)] * 2, *[st.integers(1, 5)] * 4, st.integers(1, 3))
def test_same_padding_gives_the_size_divided_by_the_stride(
    height: int, width: int, kh: int, kw: int, sh: int, sw: int, dilation: int
) -> None:
    window = window_of("conv2d", (kh, kw), (sh, sw), "same", dilation, (height, width))
    assert window.output_size(height, width) == (-(-height // sh), -(-width // sw))
    for before, after in window.padding:
        assert 0 <= after - before <= 1


def test_what_may_be_written() -> None:
    expected = Window((3, 3), (2, 2), ((1, 1), (1, 1)), (1, 1))
    assert window_of("f", 3, 2, 1, 1, (8, 8)) == window_of("f", (3, 3), [2, 2], (1, 1), 1, (8, 8)) == expected
    assert window_of("f", 3, 1, "valid", 1, (8, 8)).padding == ((0, 0), (0, 0))
    assert window_of("f", 3, 1, (0, 2), 1, (8, 8)).padding == ((0, 0), (2, 2))


@pytest.mark.parametrize("value", [0, -1, 1.5, "3", (1,), (1, 2, 3), (1, 0), None])
def test_what_may_not(value: Any) -> None:
    with pytest.raises(ValueError, match=r"conv2d\(stride\): .* expected a whole number >= 1, or a pair of them"):
        pair("conv2d", "stride", value)


def test_errors() -> None:
    with pytest.raises(ValueError, match=r"conv2d\(padding\): 'full'; expected 'same', 'valid', a number"):
        window_of("conv2d", 3, 1, "full", 1, (8, 8))
    with pytest.raises(ValueError, match=r"the window covers 7x3 pixels, but the image has 4x4"):
        window_of("conv2d", (4, 2), 1, 0, 2, (4, 4))
