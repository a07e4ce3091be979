"""Strips: how depthwise convolution lays a channel's planes out in memory, so that all its loops are long ones.

Small planes make short rows, and short rows waste vectors. So the planes of several images stand side by side in one
wide *strip* with zeros between them, as wide apart as the filter reaches; then tap (i, j) is one offset into the strip,
the same for every output, and the whole convolution is

    out[p] = sum over taps of w[tap] * strip[p + offset[tap]]

of which the places between planes are thrown away. A stride s splits the strip into s*s *phases*, the pixels with equal
(h mod s, w mod s): within a phase the convolution has stride 1 again, with the taps that meet it: a *piece* of the
filter. One algorithm serves every window.

The gradients use the same layout for dy: by x, each phase of dx gathers the taps that lead to it, with the offsets
negative, which is the same piece turned around; by w, each tap is the dot product of dy with the strip at its offset.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import groupby, pairwise, product
from typing import Any, NamedTuple

import numpy as np

from ..base import Array, Pair, Window
from .jit import Index, inlined, inner
from .vectors import FILTERS, LANES, ROWS, WIDE, copy_run, correlate_filter, dots_filter, join_run, split_run, zero_run

STRIP = 8192  # numbers in a strip, about: source and result together should fit the first or second level of cache


class Strip(NamedTuple):
    """How a strip is laid out; lengths in numbers, for one channel and ``planes`` images at a time."""

    planes: int  # images in a strip
    plane: int  # from an image to the next
    pitch: int  # from a row to the next
    phase: int  # from a phase to the next
    phases: int
    rows: int  # of outputs, up to a multiple of ROWS
    back_rows: int  # of one phase of pixels, likewise
    back_width: int  # columns of one phase of an image's pixels
    lead: int  # zeros before the first image of dy, as far as a tap reaches


class Rows(NamedTuple):
    """Rows of an image, as they go into a strip: each in ``along`` parts, the numbers of equal column modulo it."""

    height: int
    width: int
    along: int


class Piece(NamedTuple):
    """Taps that meet one phase, and one rectangle of it."""

    phase: int
    at: int  # offset of the first tap in a strip of x
    first: int  # of its weights
    height: int
    width: int
    back_at: int  # offset of the last tap in a strip of dy, seen from the first pixel
    adds_back: int  # 0 for the first piece of its phase


class Plan(NamedTuple):
    """All that kernels need to know of a window and an image size, in the order of their arguments."""

    strip: Strip
    pixels: Rows
    outputs: Rows
    places: tuple[Array, ...]  # of rows of x, dx, y and dy in strips: parts by height, int64
    pieces: Array  # int64, pieces by the fields of `Piece`
    order: Array  # the taps, piece by piece
    back_order: Array  # those of each piece turned around


def _up(n: int, unit: int) -> int:
    return -(-n // unit) * unit


@lru_cache(maxsize=128)
def plan_of(window: Window, n: int, size: Pair) -> Plan:
    """The plan for ``n`` images of ``size``.

    Planes are as far apart as keeps an output's taps, where they leave the row, within zeros: what hangs over on the
    right falls into the padding on the left of the next plane. Rows likewise.
    """
    out = window.output_size(*size)
    (sh, sw), (dh, dw), ((top, _), (left, _)) = window.stride, window.dilation, window.padding
    down, along = (window.kernel[0] - 1) * dh // sh, (window.kernel[1] - 1) * dw // sw  # how far a tap reaches
    skipped = top // sh, left // sw  # rows and columns of a phase that are padding
    plane = max(_up(left + size[1], sw) // sw, out[1] + along - skipped[1])
    back = _up(top % sh + size[0], sh) // sh, _up(left % sw + size[1], sw) // sw
    rows, back_rows = _up(out[0], ROWS), _up(back[0], ROWS)
    planes = max(1, min(n, STRIP // (plane * (rows + down) * sh * sw)))
    planes = -(-n // -(-n // planes))  # as many in the last strip as in the others, or nearly
    # much padding lets a row of outputs hang over: `covered` must not reach into the next row, which would count twice
    pitch = _up((planes - 1) * plane + max(plane, out[1]), WIDE)
    lead, origin = down * pitch + along, skipped[0] * pitch + skipped[1]
    phase = lead + max(rows, skipped[0] + back_rows + 1) * pitch + origin + 2 * WIDE
    pieces, order, back_order = _pieces(window, pitch, phase, lead + origin)

    places = (
        _places(window.stride, pitch, phase, size[0], (top, left)),
        _places(window.stride, pitch, phase, size[0], (top % sh, left % sw)),
        _places((1, 1), pitch, phase, out[0], (0, 0)),
        _places((1, 1), pitch, phase, out[0], (0, 0)) + lead,
    )
    strip = Strip(planes, plane, pitch, phase, sh * sw, rows, back_rows, back[1], lead)
    return Plan(strip, Rows(*size, sw), Rows(*out, 1), places, pieces, order, back_order)


def _places(stride: Pair, pitch: int, phase: int, height: int, before: Pair) -> Array:
    """Where the parts of each row of the first image begin, after rows and columns of padding."""
    r = np.arange(height) + before[0]
    c = np.arange(stride[1])[:, None] + before[1]
    phases = r % stride[0] * stride[1] + c % stride[1]
    return phases * phase + r // stride[0] * pitch + c // stride[1]


def _pieces(window: Window, pitch: int, phase: int, back_lead: int) -> tuple[Array, Array, Array]:
    """The filter in pieces, the order of taps, and the order with each piece turned around."""

    def along(axis: int) -> list[tuple[int, list[tuple[int, int]]]]:
        """For each phase along an axis its taps, as (tap, offset within the phase)."""
        k, s, d = window.kernel[axis], window.stride[axis], window.dilation[axis]
        taps = sorted((i * d % s, i, i * d // s) for i in range(k))
        return [(p, [(i, offset) for _, i, offset in group]) for p, group in groupby(taps, lambda tap: tap[0])]

    pieces: list[Piece] = []
    order: list[int] = []
    back_order: list[int] = []
    for (p, rows), (q, columns) in product(along(0), along(1)):
        steps = {after - offset for taps in (rows, columns) for (_, offset), (_, after) in pairwise(taps)}
        whole = steps <= {1} and (len(rows), len(columns)) in FILTERS
        number = p * window.stride[1] + q
        adds = 0
        for part in [(rows, columns)] if whole else [([r], [c]) for r, c in product(rows, columns)]:
            places = [u * pitch + v for (_, u), (_, v) in product(*part)]
            taps = [i * window.kernel[1] + j for (i, _), (j, _) in product(*part)]
            size = len(part[0]), len(part[1])
            pieces.append(Piece(number, number * phase + places[0], len(order), *size, back_lead - places[-1], adds))
            order += taps
            back_order += taps[::-1]
            adds = 1
    return np.array(pieces, np.int64), np.array(order), np.array(back_order)


# -- images into a strip and out of it ---------------------------------------------------------------------------------


@inner
def copy(source: Any, first: int, n: int, target: Any, start: int) -> None:
    """target[start...] = source[first...], n numbers."""
    at, to = Index(first), Index(start)
    for q in range(Index(n)):
        target[to + q] = source[at + q]


@inner
def enter(x: Any, planes: int, rows: Any, places: Any, shape: Any, strip: Any, evens: Any, odds: Any) -> None:
    """strip <- images x, 2 * LANES numbers longer than they are.

    What is copied too much of a row is put right: by zeros, then by the row that follows. A stride of two has all
    numbers sorted into ``evens`` and ``odds`` first, since it is short rows that are slow.
    """
    if rows.along == 2:
        split_run(x, evens, odds, (planes * rows.height * rows.width + 1) >> 1)
    for h in range(rows.height):
        for m in range(planes):
            at = (m * rows.height + h) * rows.width
            for part in range(rows.along):
                to = places[part, h] + m * shape.plane
                if rows.along == 1:
                    copy_run(x, at, strip, to, rows.width)
                    zero_run(strip, to + rows.width)
                elif rows.along == 2:
                    n = (rows.width + 1 - part) >> 1
                    copy_run(odds if (at + part) & 1 else evens, (at + part) >> 1, strip, to, n)
                    zero_run(strip, to + n)
                else:
                    for q in range(part, rows.width, rows.along):
                        strip[to] = x[at + q]
                        to += 1


@inlined
def leave_row(strip: Any, at: int, x: Any, to: int, n: int) -> None:
    """A row of ``n`` numbers out of the strip; what is copied too much, the row that follows puts right."""
    if to + n + LANES <= x.size:
        copy_run(strip, at, x, to, n)
    else:
        for q in range(Index(n)):
            x[Index(to) + q] = strip[Index(at) + q]


@inner
def leave(
    strip: Any, rows: Any, places: Any, shape: Any, x: Any, first: int, planes: int, evens: Any, odds: Any
) -> None:
    """Images ``first``... of x <- strip, as in `enter`."""
    numbers = rows.height * rows.width
    start = first * numbers
    for m in range(planes):
        for h in range(rows.height):
            at = (m * rows.height + h) * rows.width
            for part in range(rows.along):
                place = places[part, h] + m * shape.plane
                if rows.along == 1:
                    leave_row(strip, place, x, start + at, rows.width)
                elif rows.along == 2:
                    half = odds if (at + part) & 1 else evens
                    leave_row(strip, place, half, (at + part) >> 1, (rows.width + 1 - part) >> 1)
                else:
                    for q in range(part, rows.width, rows.along):
                        x[start + at + q] = strip[place]
                        place += 1
    if rows.along == 2:
        whole = planes * numbers // (2 * LANES) * LANES
        join_run(evens, odds, x, start, whole)
        for q in range(2 * whole, planes * numbers):
            x[start + q] = odds[q >> 1] if q & 1 else evens[q >> 1]


# -- the convolution and its gradients, from strip to strip ------------------------------------------------------------


@inlined
def covered(planes: int, width: int, shape: Any) -> int:
    """Columns of a strip that hold ``planes`` images of ``width``, up to a multiple of WIDE."""
    return ((planes - 1) * shape.plane + width + WIDE - 1) // WIDE * WIDE


@inner
def correlate_piece(
    source: Any, at: int, taps: Any, piece: Any, shape: Any, columns: int, out: Any, to: int, rows: int, adds: bool
) -> None:
    """A piece of the filter, wherever it is needed: compiled once."""
    first, height, width = piece[2], piece[3], piece[4]
    correlate_filter(source, at, shape.pitch, taps, first, height, width, out, to, rows, columns, adds)


@inner
def correlate(strip: Any, taps: Any, pieces: Any, shape: Any, columns: int, out: Any) -> None:
    """out <- convolution of the strip; ``taps``: the weights in the plan's order."""
    for q in range(len(pieces)):
        correlate_piece(strip, pieces[q, 1], taps, pieces[q], shape, columns, out, 0, shape.rows, q > 0)


@inner
def correlate_back(up: Any, taps: Any, pieces: Any, shape: Any, columns: int, back: Any) -> None:
    """back <- the gradient by x, from a strip of dy; ``taps``: the weights in the plan's backward order."""
    for q in range(len(pieces)):
        to, rows = pieces[q, 0] * shape.phase, shape.back_rows
        correlate_piece(up, pieces[q, 5], taps, pieces[q], shape, columns, back, to, rows, pieces[q, 6] > 0)


@inner
def dots(up: Any, strip: Any, pieces: Any, shape: Any, columns: int, total: Any) -> None:
    """total += the gradient by w in the plan's order, float64; ``up`` holds zeros wherever it holds no dy."""
    for q in range(len(pieces)):
        _, at, first, height, width, _, _ = pieces[q]
        dots_filter(up, shape.lead, strip, at, shape.pitch, total, first, height, width, shape.rows, columns)
