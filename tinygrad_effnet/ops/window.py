"""What users may write for kernel size, stride, padding and dilation, and the `Window` that it means."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..backends import Padding, Pair, Window

PairLike = int | Sequence[int]
PaddingLike = int | Sequence[int] | str


def pair(name: str, argument: str, value: Any, least: int = 1) -> Pair:
    """A number for both directions, or (vertical, horizontal); ValueError below ``least``."""
    both = (value, value) if isinstance(value, int) else tuple(value) if isinstance(value, Sequence) else ()
    if len(both) != 2 or any(not isinstance(n, int) or n < least for n in both):
        raise ValueError(
            f"{name}({argument}): {value!r}; expected a whole number >= {least}, or a pair of them (vertical, "
            "horizontal)"
        )
    return both[0], both[1]


def check_window(
    name: str, kernel: PairLike, stride: PairLike, padding: PaddingLike = 0, dilation: PairLike = 1
) -> None:
    """Refuse, with a ValueError, what makes no window whatever the size of the image."""
    kernel, stride = pair(name, "kernel_size", kernel), pair(name, "stride", stride)
    _padding(name, padding, kernel, stride, pair(name, "dilation", dilation), (1, 1))


def window_of(
    name: str, kernel: PairLike, stride: PairLike, padding: PaddingLike, dilation: PairLike, size: Pair
) -> Window:
    """The window for an image of (height, width) = ``size``.

    ``padding`` is a number of pixels, a pair (vertical, horizontal), "valid" (none) or "same" as TensorFlow means it:
    the output has ceil(size / stride) pixels, and an odd total puts its extra pixel at the bottom and right.

    Raises
    ------
    ValueError
        An argument makes no sense, or the window does not fit into the padded image.
    """
    kernel, stride = pair(name, "kernel_size", kernel), pair(name, "stride", stride)
    dilation = pair(name, "dilation", dilation)
    window = Window(kernel, stride, _padding(name, padding, kernel, stride, dilation, size), dilation)
    if min(window.output_size(*size)) < 1 and min(size) > 0:
        reach = tuple(d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True))
        raise ValueError(
            f"{name}: the window covers {reach[0]}x{reach[1]} pixels, but the image has {size[0]}x{size[1]} with "
            f"padding {window.padding}; use a larger image, more padding or a smaller kernel"
        )
    return window


def _padding(name: str, padding: PaddingLike, kernel: Pair, stride: Pair, dilation: Pair, size: Pair) -> Padding:
    if padding == "valid":
        return (0, 0), (0, 0)
    if padding == "same":
        vertical, horizontal = (_same(*each) for each in zip(size, kernel, stride, dilation, strict=True))
        return vertical, horizontal
    if isinstance(padding, str):
        raise ValueError(
            f"{name}(padding): {padding!r}; expected 'same', 'valid', a number of pixels or a pair of them"
        )
    vertical_both, horizontal_both = pair(name, "padding", padding, least=0)
    return (vertical_both, vertical_both), (horizontal_both, horizontal_both)


def _same(size: int, kernel: int, stride: int, dilation: int) -> Pair:
    total = max((-(-size // stride) - 1) * stride + dilation * (kernel - 1) + 1 - size, 0)
    return total // 2, total - total // 2
