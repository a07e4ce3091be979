"""What one thread does with one image, or with some of its channels or rows: pieces of `kernels`.

Images are N H W C, flat. A pass goes over an image once, tile by tile, and what it leaves for the next lies in cache:

    inside      h = act(widen(x)), z = act(depthwise(h))    for one group of channels, a few rows at a time
    weigh       gate = σ(expand(silu(reduce(mean z))))        squeeze-and-excitation
    scale       z * gate, for a few pixels
    see         what a few output pixels see of x, side by side ("im2col")
    multiply    y = finish(x w + shift), a few pixels times all weights
"""

from __future__ import annotations

from typing import Any

from ..activation import sigmoid
from ..block import block
from ..convolution import copy_run, reach
from ..jit import Index, inner, pointwise
from .tiles import GROUP, LANES, PIXELS, product_tile, window_tile

Inside = tuple[int, int, int, int, int, int, int, int, int, int, int, int]
Seen = tuple[int, int, int, int, int, int, int, int, int, int, int, int]
BAND = 24 << 10  # numbers of h that are made at once, about: with the weights they fit the second cache


@inner
def vectors_of(group: int, channels: int) -> tuple[int, int]:
    """How many vectors a group has, and how many channels there are in the last."""
    left = min(GROUP, channels - group * GROUP)
    vectors = (left + LANES - 1) // LANES
    return vectors, left - (vectors - 1) * LANES


@inner
def clear(x: Any, start: int, count: int) -> None:
    for o in range(Index(start), Index(start) + Index(count)):
        x[o] = 0


def band(size: int, stride: int, pitch: int, out_height: int) -> int:
    """Rows of outputs that are made at once."""
    return int(max(1, min(out_height, (BAND // (GROUP * pitch) - size) // stride + 1)))


@inner
def widen(
    x: Any, image: int, sizes: Inside, group: int, first: int, last: int, above: int, pitch: int, w: Any, shift: Any,
    h: Any,
) -> None:  # fmt: skip
    """Rows ``first`` to ``last`` of h, the uppermost in which is row ``above``, for a group of channels."""
    height, width, depth, channels, _, _, _, _, _, left, act, _ = sizes
    vectors, _ = vectors_of(group, channels)
    p, end, tile = first * width, last * width, 0
    while p < end:
        row, column = p // width, p % width
        count = min(PIXELS, end - p)
        to = ((row - above) * pitch + left + column) * GROUP
        product_tile(
            act, vectors, x, (image * height * width + p) * depth, depth, 1, depth, w, group * depth * GROUP,
            shift, group * GROUP, h, to, h, to, column, width, GROUP, (pitch - width + 1) * GROUP, count, LANES,
            (group + 1) * depth * GROUP + tile * depth * LANES,
        )  # fmt: skip
        p += count
        tile = min(tile + 1, vectors)


@inner
def take(x: Any, image: int, sizes: Inside, group: int, first: int, last: int, above: int, pitch: int, h: Any) -> None:
    """The same where nothing is widened: h = x."""
    height, width, depth, _, _, _, _, _, _, left, _, _ = sizes
    count = min(GROUP, depth - group * GROUP)
    for row in range(first, last):
        for column in range(width):
            at = ((image * height + row) * width + column) * depth + group * GROUP
            to = ((row - above) * pitch + left + column) * GROUP
            for c in range(Index(count)):
                h[Index(to) + c] = x[Index(at) + c]
            clear(h, to + count, GROUP - count)


@block
def inside(
    x: Any, image: int, sizes: Inside, group: int, first: int, last: int, tall: int, w: Any, shift: Any, taps: Any,
    shift2: Any, z: Any, sums: Any, h: Any,
) -> None:  # fmt: skip
    """z = act(depthwise(act(widen(x)))), output rows ``first`` to ``last``, for a group of channels; z: Ho Wo C.

    ``tall`` rows of outputs at a time: h holds the rows of the widened image that they see, with zeros where the filter
    reaches over its border. ``sums`` receives the sum over each row of z.
    """
    height, width, _, channels, _, out_width, size, stride, top, left, act, widens = sizes
    pitch = max(left + width, (out_width - 1) * stride + size)
    rows = (tall - 1) * stride + size
    vectors, lanes = vectors_of(group, channels)
    padded = (channels + GROUP - 1) // GROUP * GROUP
    for r in range(rows):
        clear(h, r * pitch * GROUP, left * GROUP)
        clear(h, (r * pitch + left + width) * GROUP, (pitch - left - width) * GROUP)
    have = 0  # rows of h that the last band has left
    for o in range(first, last, tall):
        outs = min(tall, last - o)
        above = o * stride - top
        need = (outs - 1) * stride + size
        begin, end = min(max(above + have, 0), height), max(0, min(above + need, height))
        for r in range(have, need):
            if above + r < 0 or above + r >= height:
                clear(h, (r * pitch + left) * GROUP, width * GROUP)
        if widens:
            widen(x, image, sizes, group, begin, end, above, pitch, w, shift, h)
        else:
            take(x, image, sizes, group, begin, end, above, pitch, h)
        for q in range(outs):
            clear(sums, (o + q) * padded + group * GROUP, GROUP)
            for c in range(0, out_width, PIXELS):
                for v in range(vectors):
                    channel = group * GROUP + v * LANES
                    window_tile(
                        act, size, stride, h, (q * stride * pitch + c * stride) * GROUP + v * LANES, pitch * GROUP,
                        taps, group * size * size * GROUP + v * LANES, shift2, channel,
                        z, ((o + q) * out_width + c) * channels + channel, channels,
                        sums, (o + q) * padded + channel, min(PIXELS, out_width - c),
                        lanes if v == vectors - 1 else LANES,
                    )  # fmt: skip
        have = max(0, need - tall * stride)
        shifted = tall * stride * pitch * GROUP
        for i in range(Index(have * pitch * GROUP)):
            h[i] = h[i + Index(shifted)]


@block
def weigh(
    sums: Any, height: int, area: int, channels: int, padded: int, squeezed: int, reduce_w: Any, reduce_b: Any,
    expand_w: Any, expand_b: Any, gate: Any,
) -> None:  # fmt: skip
    """gate = σ(expand(silu(reduce(mean)))), the mean from the ``sums`` of rows; reduce_w: S C, expand_w: S C."""
    for o in range(1, height):
        for c in range(Index(channels)):
            sums[c] += sums[Index(o * padded) + c]
    for c in range(Index(channels)):
        gate[c] = expand_b[c]
    for s in range(squeezed):
        total = reduce_b.dtype.type(0)
        for c in range(Index(channels)):
            total += sums[c] * reduce_w[Index(s * channels) + c]
        t = total / gate.dtype.type(area) + reduce_b[s]
        active = t * sigmoid(t)
        for c in range(Index(channels)):
            gate[c] += active * expand_w[Index(s * channels) + c]
    finish_gate(gate, channels)


@pointwise
def finish_gate(gate: Any, channels: int) -> None:
    for c in range(Index(channels)):
        gate[c] = sigmoid(gate[c])


@block
def scale(z: Any, first: int, count: int, channels: int, gate: Any, scaled: Any) -> None:
    """scaled = z * gate for ``count`` pixels from ``first`` on."""
    for p in range(count):
        at, to = Index((first + p) * channels), Index(p * channels)
        for c in range(Index(channels)):
            scaled[to + c] = z[at + c] * gate[c]


@block
def see(x: Any, image: int, sizes: Seen, first: int, count: int, seen: Any, pixel: int, term: int) -> None:
    """What output pixel ``first`` + q sees at tap (i, j), 0 outside the image; x lies by its strides.

    Pixels of ``seen`` lie ``pixel`` numbers apart, and the terms (i, j, c) of one of them ``term``.
    """
    height, width, channels, out_width, size, stride, top, left, by_image, by_row, by_column, by_channel = sizes
    done = 0
    while done < count:  # the outputs of one row at a time
        row, start = (first + done) // out_width * stride - top, (first + done) % out_width
        run = min(out_width - start, count - done)
        for i in range(size):
            for j in range(size):
                to = done * pixel + (i * size + j) * channels * term
                begin, end = reach(j, stride, 1, left, width, out_width)
                begin, end = max(begin - start, 0), min(end - start, run)  # of the outputs that meet a real pixel
                if row + i < 0 or row + i >= height or begin >= end:
                    begin, end = run, run
                at = image * by_image + (row + i) * by_row + ((start + begin) * stride - left + j) * by_column
                if term == 1:
                    for q in range(run):
                        if begin <= q < end:
                            copy_run(
                                x, at + (q - begin) * stride * by_column, by_channel, channels, seen, to + q * pixel
                            )
                        else:
                            clear(seen, to + q * pixel, channels)
                else:
                    for c in range(channels):
                        clear(seen, to + c * term, begin)
                        copy_run(x, at + c * by_channel, stride * by_column, end - begin, seen, to + c * term + begin)
                        clear(seen, to + c * term + end, run - end)
        done += run


@block
def multiply(
    x: Any, ix: int, row: int, term: int, depth: int, count: int, w: Any, shift: Any, first: int, last: int,
    channels: int, finish: int, y: Any, iy: int, skip: Any,
) -> None:  # fmt: skip
    """y[iy + p channels + c] = finish(shift[c] + Σₖ x[ix + p row + k term] w[k, c]), groups ``first`` to ``last``."""
    for group in range(first, last):
        vectors, lanes = vectors_of(group, channels)
        for p in range(0, count, PIXELS):
            to = iy + p * channels + group * GROUP
            product_tile(
                finish, vectors, x, ix + p * row, row, term, depth, w, group * depth * GROUP, shift, group * GROUP,
                y, to, skip, to, 0, PIXELS + 1, channels, channels, min(PIXELS, count - p), lanes,
                (group + 1) * depth * GROUP + min(p // PIXELS, vectors) * depth * LANES,
            )  # fmt: skip


widen_and_convolve = inside.call
weigh_channels = weigh.call
scale_channels = scale.call
look = see.call
multiply_pixels = multiply.call
