"""Strips: how depthwise convolution lays a channel's planes out in memory, so that it becomes a few long runs.

Small planes make short rows, and short rows do not vectorise. So a channel's planes are laid end to end in one *strip*
with zeros between them, as wide apart as the filter reaches; then tap (i, j) is one offset into the strip, the same for
every output, and the whole convolution is

    out[p] = sum over taps of w[tap] * strip[p + offset[tap]]         p = one long run over all planes

of which the places between planes are thrown away. A stride s splits the strip into s*s *phases*, the pixels with equal
(h mod s, w mod s): within a phase the convolution has stride 1 again. One algorithm serves every window.

The gradients use the same strip with dy in it: by x, each phase of dx gathers the taps that lead to it, with the
offsets negative; by w, each tap is the dot product of dy with the strip at that tap's offset.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from ..base import Array, Pair, Window
from .jit import Index, inner, pointwise

STRIP = 8192  # numbers in a strip, about: source and result together should fit the first or second level of cache
TILE = 1024  # numbers of a strip that all taps are applied to before the next ones
SHORT_ROW = 8  # rows shorter than this are copied number by number through a table


class Strip(NamedTuple):
    """How a strip is laid out; lengths in numbers, for one channel and ``planes`` images at a time."""

    planes: int  # images in a strip
    pitch: int  # from a row to the next
    plane: int  # from an image to the next
    phase: int  # from a phase to the next
    phases: int
    lead: int  # zeros before the first image of dy, as far as a tap reaches


class Rows(NamedTuple):
    """Where an image's rows go in a strip. A table beside it, unless empty, holds every number's place."""

    height: int
    width: int
    top: int  # padding above and to the left
    left: int
    down: int  # stride from row to row, and along one
    along: int


class Plan(NamedTuple):
    """All that kernels need to know of a window and an image size."""

    layout: tuple[Strip, Rows, Array, Rows, Array]  # pixels of x and their table, outputs and their table
    phase: Array  # of each tap, int64, kh*kw
    offset: Array  # of each tap within its phase, int64, kh*kw

    @property
    def taps(self) -> Array:
        """Each tap's offset in a strip of x."""
        return self.phase * self.layout[0].phase + self.offset


@lru_cache(maxsize=128)
def plan_of(window: Window, n: int, size: Pair) -> Plan:
    """The plan for ``n`` images of ``size``.

    Rows are as far apart as keeps an output's taps, where they leave the row, within zeros: what hangs over on the
    right falls into the padding on the left of the next row. Planes likewise.
    """
    out = window.output_size(*size)
    apart, reaches = [], []
    for length, o, k, s, d, (before, _) in zip(
        size, out, window.kernel, window.stride, window.dilation, window.padding, strict=True
    ):
        reach = (k - 1) * d // s
        apart.append(max(-(-(before + length) // s), o, o + reach - before // s))
        reaches.append(reach)
    pitch = apart[1]
    plane = apart[0] * pitch
    planes = max(1, min(n, STRIP // plane))
    lead = reaches[0] * pitch + reaches[1]
    phase = planes * plane + lead

    (sh, sw), (dh, dw), ((top, _), (left, _)) = window.stride, window.dilation, window.padding
    m = np.arange(planes)[:, None, None] * plane
    r = np.arange(size[0])[:, None] + top
    c = np.arange(size[1]) + left
    pixels = (r % sh * sw + c % sw) * phase + m + r // sh * pitch + c // sw
    outputs = m + np.arange(out[0])[:, None] * pitch + np.arange(out[1])
    i = np.arange(window.kernel[0])[:, None] * dh
    j = np.arange(window.kernel[1]) * dw

    def table_unless(by_rows: bool, table: Array) -> Array:
        return np.empty(0, np.uint32) if by_rows else table.astype(np.uint32).ravel()

    layout = (
        Strip(planes, pitch, plane, phase, sh * sw, lead),
        Rows(*size, top, left, sh, sw),
        table_unless(size[1] >= SHORT_ROW * sw and sw <= 2, pixels),
        Rows(*out, 0, 0, 1, 1),
        table_unless(out[1] >= SHORT_ROW, outputs),
    )
    return Plan(layout, (i % sh * sw + j % sw).ravel(), (i // sh * pitch + j // sw).ravel())


def taps_by_phase(plan: Plan) -> tuple[Array, Array, Array]:
    """The order of taps that sorts them by phase, where in it each phase begins, and offsets into a strip of dy."""
    strip = plan.layout[0]
    order = np.argsort(plan.phase, kind="stable")
    begins = np.searchsorted(plan.phase[order], np.arange(strip.phases + 1))
    return order, begins, strip.lead - plan.offset[order]


# -- images into a strip and out of it ---------------------------------------------------------------------------------


@inner
def row_place(rows: Any, shape: Any, image: int, h: int, parity: int) -> int:
    """Place in a strip of the numbers of row ``h`` whose column is ``parity`` modulo the stride, the first of them."""
    r, c = h + rows.top, parity + rows.left
    phase = r % rows.down * rows.along + c % rows.along
    return phase * shape.phase + image * shape.plane + r // rows.down * shape.pitch + c // rows.along


@inner
def enter(x: Any, first: int, planes: int, rows: Any, table: Any, shape: Any, strip: Any, lead: int) -> None:
    """strip <- images ``first``... of x, a channel's numbers in one row; ``lead`` numbers further on than planned."""
    numbers = rows.height * rows.width
    source = Index(first * numbers)
    if table.size:
        z = Index(lead)
        for q in range(Index(planes * numbers)):
            strip[z + Index(table[q])] = x[source + q]
    elif rows.along == 1:
        for m in range(planes):
            for h in range(rows.height):
                target = Index(lead + row_place(rows, shape, m, h, 0))
                for q in range(Index(rows.width)):
                    strip[target + q] = x[source + q]
                source += Index(rows.width)
    else:
        even, odd = Index((rows.width + 1) // 2), Index(rows.width // 2)
        for m in range(planes):
            for h in range(rows.height):
                target = Index(lead + row_place(rows, shape, m, h, 0))
                other = Index(lead + row_place(rows, shape, m, h, 1))
                for q in range(even):
                    strip[target + q] = x[source + Index(2) * q]
                for q in range(odd):
                    strip[other + q] = x[source + Index(1) + Index(2) * q]
                source += Index(rows.width)


@inner
def leave(strip: Any, rows: Any, table: Any, shape: Any, x: Any, first: int, planes: int) -> None:
    """Images ``first``... of x <- strip."""
    numbers = rows.height * rows.width
    target = Index(first * numbers)
    if table.size:
        for q in range(Index(planes * numbers)):
            x[target + q] = strip[Index(table[q])]
    elif rows.along == 1:
        for m in range(planes):
            for h in range(rows.height):
                source = Index(row_place(rows, shape, m, h, 0))
                for q in range(Index(rows.width)):
                    x[target + q] = strip[source + q]
                target += Index(rows.width)
    else:
        for m in range(planes):
            for h in range(rows.height):
                source = Index(row_place(rows, shape, m, h, 0))
                other = Index(row_place(rows, shape, m, h, 1))
                half = Index(rows.width // 2)
                for q in range(half):
                    x[target + Index(2) * q] = strip[source + q]
                    x[target + Index(2) * q + Index(1)] = strip[other + q]
                if rows.width % 2:
                    x[target + Index(2) * half] = strip[source + half]
                target += Index(rows.width)


# -- runs over a strip, in tiles that the first level of cache holds: nine, five, three taps or one in a pass ----------


@pointwise
def correlate(source: Any, w: Any, offset: Any, out: Any, start: int, n: int) -> None:
    """out[start + p] = sum over taps of w[tap] * source[p + offset[tap]], p < n."""
    for first in range(0, n, TILE):
        correlate_tile(source, w, offset, first, out, start + first, min(TILE, n - first))


@pointwise
def correlate_tile(source: Any, w: Any, offset: Any, shift: int, out: Any, start: int, n: Any) -> None:
    z = Index(start)
    n = Index(n)
    t = 0
    if w.size >= 9 and w.size % 5:
        o0, o1, o2 = Index(offset[0] + shift), Index(offset[1] + shift), Index(offset[2] + shift)
        o3, o4, o5 = Index(offset[3] + shift), Index(offset[4] + shift), Index(offset[5] + shift)
        o6, o7, o8 = Index(offset[6] + shift), Index(offset[7] + shift), Index(offset[8] + shift)
        w0, w1, w2, w3, w4, w5, w6, w7, w8 = w[0], w[1], w[2], w[3], w[4], w[5], w[6], w[7], w[8]
        for p in range(n):
            s = w0 * source[o0 + p] + w1 * source[o1 + p] + w2 * source[o2 + p]
            s += w3 * source[o3 + p] + w4 * source[o4 + p] + w5 * source[o5 + p]
            out[z + p] = s + w6 * source[o6 + p] + w7 * source[o7 + p] + w8 * source[o8 + p]
        t = 9
    else:
        for p in range(n):
            out[z + p] = out.dtype.type(0)
    while t < w.size:
        left = w.size - t
        if left >= 5:
            o0, o1, o2 = Index(offset[t] + shift), Index(offset[t + 1] + shift), Index(offset[t + 2] + shift)
            o3, o4 = Index(offset[t + 3] + shift), Index(offset[t + 4] + shift)
            w0, w1, w2, w3, w4 = w[t], w[t + 1], w[t + 2], w[t + 3], w[t + 4]
            for p in range(n):
                s = w0 * source[o0 + p] + w1 * source[o1 + p] + w2 * source[o2 + p]
                out[z + p] += s + w3 * source[o3 + p] + w4 * source[o4 + p]
            t += 5
        elif left >= 3:
            o0, o1, o2 = Index(offset[t] + shift), Index(offset[t + 1] + shift), Index(offset[t + 2] + shift)
            w0, w1, w2 = w[t], w[t + 1], w[t + 2]
            for p in range(n):
                out[z + p] += w0 * source[o0 + p] + w1 * source[o1 + p] + w2 * source[o2 + p]
            t += 3
        else:
            o0, w0 = Index(offset[t] + shift), w[t]
            for p in range(n):
                out[z + p] += w0 * source[o0 + p]
            t += 1


@inner
def dots(g: Any, start: int, source: Any, offset: Any, n: int, total: Any) -> None:
    """total[tap] += sum over p < n of g[start + p] * source[p + offset[tap]]."""
    for first in range(0, n, TILE):
        dots_tile(g, start + first, source, offset, first, min(TILE, n - first), total)


@inner
def dots_tile(g: Any, start: int, source: Any, offset: Any, shift: int, n: Any, total: Any) -> None:
    n = Index(n)
    z = Index(start)
    zero = source.dtype.type(0)
    t = 0
    while t < offset.size:
        left = offset.size - t
        if left % 5 == 0:
            o0, o1, o2 = Index(offset[t] + shift), Index(offset[t + 1] + shift), Index(offset[t + 2] + shift)
            o3, o4 = Index(offset[t + 3] + shift), Index(offset[t + 4] + shift)
            s0, s1, s2, s3, s4 = zero, zero, zero, zero, zero
            for p in range(n):
                s0 += g[z + p] * source[o0 + p]
                s1 += g[z + p] * source[o1 + p]
                s2 += g[z + p] * source[o2 + p]
                s3 += g[z + p] * source[o3 + p]
                s4 += g[z + p] * source[o4 + p]
            total[t] += s0
            total[t + 1] += s1
            total[t + 2] += s2
            total[t + 3] += s3
            total[t + 4] += s4
            t += 5
        elif left >= 3:
            o0, o1, o2 = Index(offset[t] + shift), Index(offset[t + 1] + shift), Index(offset[t + 2] + shift)
            s0, s1, s2 = zero, zero, zero
            for p in range(n):
                s0 += g[z + p] * source[o0 + p]
                s1 += g[z + p] * source[o1 + p]
                s2 += g[z + p] * source[o2 + p]
            total[t] += s0
            total[t + 1] += s1
            total[t + 2] += s2
            t += 3
        else:
            o0 = Index(offset[t] + shift)
            s0 = zero
            for p in range(n):
                s0 += g[z + p] * source[o0 + p]
            total[t] += s0
            t += 1
