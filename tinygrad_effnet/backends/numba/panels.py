"""Matrix products, panel by panel, between what lies in main memory and the register tiles of `tile`.

    multiply_block    y = a b         a small matrix times many columns: a convolution, or the gradient of its input
    dot_block         y += a bᵀ       dots of long rows: the gradient of a convolution's weights

A *panel* is as many columns of b as a tile is wide. The first tile of a panel reads it where it lies, row by row, and
leaves a copy without gaps; the others read the copy, from the first or second cache. So each number of b is fetched
once, and rows that lie a power of two apart in memory cannot drive each other out of the caches.

Matrices are flat arrays with a pitch, the distance from one row to the next. Blocks run on one thread; `products` and
`convolution` share them out.
"""

from __future__ import annotations

from typing import Any

from .block import block
from .jit import Index, inner
from .tile import (
    BYTES,
    ROWS,
    VECTORS,
    dot_shape,
    dot_tile,
    fence,
    outer_tile,
    outer_tile_1,
    outer_tile_keeping,
)

Shape = tuple[int, int]

DEPTH = 1024  # rows of b that are summed over at once: a panel of them fits the second cache
BURST = 4  # panels that are fetched together: memory is quicker with long pieces of few rows
SHALLOW = 256  # rows up to which so many panels fit the second cache


def panel_width(itemsize: int) -> int:
    """Columns of a panel."""
    return VECTORS * BYTES // itemsize


def scratch_size(depth: int, itemsize: int) -> int:
    """Numbers that `multiply_block` needs to work in: a panel and a tile."""
    return panel_width(itemsize) * (min(depth, DEPTH) + ROWS)


@block
def multiply_block(
    a: Any, ia: int, row: int, step: int, rows: int, b: Any, ib: int, pitch: int, depth: int, columns: int,
    y: Any, iy: int, ypitch: int, stream: bool, scratch: Any,
) -> None:  # fmt: skip
    """y[iy + i ypitch + j] = Σₖ a[ia + i row + k step] b[ib + k pitch + j] for i < rows, j < columns, k < depth."""
    wide = VECTORS * BYTES // b.itemsize
    most = min(depth, DEPTH)
    panel, tile = scratch[: most * wide], scratch[most * wide :]
    burst = BURST if depth <= SHALLOW else 1
    for k in range(0, depth, DEPTH):
        thick = min(DEPTH, depth - k)
        for j in range(0, columns, wide):
            narrow = min(wide, columns - j)
            aside = narrow < wide or k > 0
            if aside:
                copy_panel(b, ib + k * pitch + j, pitch, thick, narrow, panel, wide)
            for i in range(0, rows, ROWS):
                few = Index(min(ROWS, rows - i))
                at, to = Index(ia + i * row + k * step), Index(iy + i * ypitch + j)
                if aside:
                    multiply_aside(a, at, row, step, panel, thick, narrow, tile, few)
                    put_aside(tile, wide, y, to, ypitch, few, narrow, k > 0)
                elif i == 0:
                    outer_tile_keeping(
                        a, at, Index(row), Index(step), b, Index(ib + k * pitch + j), Index(pitch), Index(thick),
                        panel, y, to, Index(ypitch), few, stream and depth <= DEPTH,
                        Index(coming(ib + k * pitch, j // wide, wide, burst, thick, pitch)), Index(burst),
                    )  # fmt: skip
                else:
                    outer_tile(
                        a, at, Index(row), Index(step), panel, Index(0), Index(wide), Index(thick),
                        panel, y, to, Index(ypitch), few, stream and depth <= DEPTH, Index(0), Index(1),
                    )  # fmt: skip
    if stream:
        fence()


@inner
def coming(ib: int, panel: int, wide: int, burst: int, depth: int, pitch: int) -> int:
    """Where to begin to fetch what the next panels need: a share of the rows, as wide as ``burst`` panels."""
    turn = panel % burst
    return ib + (panel - turn + burst) * wide + (depth + burst - 1) // burst * turn * pitch


@inner
def copy_panel(b: Any, ib: int, pitch: int, depth: int, columns: int, panel: Any, wide: int) -> None:
    """panel[k, :columns] = b[ib + k pitch :], zero beyond."""
    for k in range(Index(depth)):
        source, target = Index(ib) + k * Index(pitch), k * Index(wide)
        for j in range(Index(columns)):
            panel[target + j] = b[source + j]
        for j in range(Index(columns), Index(wide)):
            panel[target + j] = 0


@inner
def multiply_aside(
    a: Any, at: Any, row: int, step: int, panel: Any, depth: int, columns: int, tile: Any, rows: Any
) -> None:
    """tile = a panel: what cannot be written to y at once, in no more vectors than it needs."""
    width = BYTES // panel.itemsize
    wide = Index(VECTORS * width)
    for j in range(0, columns, width):
        outer_tile_1(
            a, at, Index(row), Index(step), panel, Index(j), wide, Index(depth),
            panel, tile, Index(j), wide, rows, False, Index(0), Index(1),
        )  # fmt: skip


@inner
def put_aside(tile: Any, wide: int, y: Any, iy: Any, ypitch: int, rows: Any, columns: int, add: bool) -> None:
    """y = tile, or y += tile."""
    for i in range(rows):
        source, target = i * Index(wide), iy + i * Index(ypitch)
        if add:
            for j in range(Index(columns)):
                y[target + j] += tile[source + j]
        else:
            for j in range(Index(columns)):
                y[target + j] = tile[source + j]


def tile_counts(rows: int, columns: int, itemsize: int) -> tuple[int, int]:
    """How many dot tiles cover a matrix, down and across."""
    down, across = dot_shape(BYTES // itemsize)
    return -(-rows // down), -(-columns // across)


@block
def dot_block(
    a: Any, ia: int, apitch: int, rows: int, b: Any, ib: int, bpitch: int, columns: int, length: int,
    shape: Shape, first: int, last: int, tiles: Any, at: int, fresh: bool, edge: Any,
) -> None:  # fmt: skip
    """Add Σₚ a[ia + i apitch + p] b[ib + j bpitch + p], p < length, to the dot tiles of rows ``first`` to ``last``.

    Tile (i, j) lies at tiles[at + (i across + j) width]; ``fresh`` ones are written to, not added to. What is left of
    the rows when they are not whole vectors is copied to ``edge``, with zeros after it.
    """
    down, across = shape
    width = BYTES // a.itemsize
    whole = length // width
    rest = length - whole * width
    wide = (columns + across - 1) // across
    if rest:
        copy_ends(a, ia + whole * width, apitch, rows, rest, edge, 0, width)
        copy_ends(b, ib + whole * width, bpitch, columns, rest, edge, rows * width, width)
    for i in range(first, last):
        tall = Index(min(down, rows - i * down))
        for j in range(wide):
            broad = Index(min(across, columns - j * across))
            to = Index(at + (i * wide + j) * width)
            if whole:
                dot_tile(
                    a, Index(ia + i * down * apitch), Index(apitch), tall,
                    b, Index(ib + j * across * bpitch), Index(bpitch), broad,
                    Index(whole), tiles, to, not fresh,
                )  # fmt: skip
            if rest:
                dot_tile(
                    edge, Index(i * down * width), Index(width), tall,
                    edge, Index((rows + j * across) * width), Index(width), broad,
                    Index(1), tiles, to, whole > 0 or not fresh,
                )  # fmt: skip


@inner
def copy_ends(a: Any, ia: int, pitch: int, rows: int, count: int, edge: Any, to: int, width: int) -> None:
    """edge[to + i width + j] = a[ia + i pitch + j] for j < count, zero up to width."""
    for i in range(Index(rows)):
        source, target = Index(ia) + i * Index(pitch), Index(to) + i * Index(width)
        for j in range(Index(count)):
            edge[target + j] = a[source + j]
        for j in range(Index(count), Index(width)):
            edge[target + j] = 0


@block
def add_tiles(
    tiles: Any, segments: int, size: int, shape: Shape, first: int, last: int, rows: int, columns: int,
    y: Any, row: int, column: int,
) -> None:  # fmt: skip
    """y[i row + j column] = the sum over segments of place (i, j) in the dot tiles, for tile rows first to last."""
    down, across = shape
    wide = (columns + across - 1) // across
    width = down * across
    for i in range(first, last):
        for j in range(wide):
            at = Index((i * wide + j) * width)
            for r in range(Index(min(down, rows - i * down))):
                target = (Index(i * down) + r) * Index(row) + Index(j * across) * Index(column)
                for c in range(Index(min(across, columns - j * across))):
                    total = tiles[at + r * Index(across) + c]
                    for s in range(Index(1), Index(segments)):
                        total += tiles[s * Index(size) + at + r * Index(across) + c]
                    y[target + c * Index(column)] = total


multiply = multiply_block.call
add_dots = dot_block.call
sum_tiles = add_tiles.call
