"""Explicit vectors: the inner loops of depthwise convolution that a compiler does not find by itself.

LLVM vectorises a plain loop over p, one load for each tap. What is wanted here is *register blocking*: `ROWS` rows of
results at once, so that a number once loaded serves every row whose window covers it. For a 5x5 filter that is 40 loads
for four rows instead of 100. So these loops are written as Python that emits LLVM's instructions, a vector of numbers
at a time; the loops over rows and taps run while it emits and leave straight lines of code.

Everything is counted in numbers from the start of an array, which must be long enough: nothing is checked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from llvmlite import ir
from numba import extending, types
from numba.core import cgutils

from ..base import Array
from .cache import config
from .tile import BYTES

LANES = 8  # numbers in a vector that copies: rows are short
WIDE = 16 if BYTES == 64 else LANES  # the most in one that computes: columns of a strip are multiples of it
ROWS = 4  # rows of results at once: with 25 weights and 25 sums still within 32 registers
# Sizes of filter with code of their own: 3x3 and 5x5, and what a stride of two leaves of them in each phase. `strip`
# takes any other filter apart into single taps.
FILTERS = ((1, 1), (1, 2), (2, 1), (2, 2), (2, 3), (3, 2), (3, 3), (5, 5))

INT = ir.IntType(64)
FUSED = ("contract", "reassoc", "nsz")  # a product and a sum may become one instruction


class _Emitter:
    """The instructions used below, for one number type and vectors of ``lanes`` numbers."""

    def __init__(self, context: Any, builder: ir.IRBuilder, dtype: Any, lanes: int = LANES) -> None:
        self.context, self.builder, self.lanes = context, builder, lanes
        self.number = context.get_data_type(dtype)
        self.vector = ir.VectorType(self.number, lanes)
        self.align = context.get_abi_sizeof(self.number)

    def pointer(self, array: Any, array_type: Any) -> ir.Value:
        return self.context.make_array(array_type)(self.context, self.builder, array).data

    def at(self, first: Any, *offsets: Any) -> Any:
        """The sum of places."""
        for offset in offsets:
            first = self.builder.add(first, INT(offset) if isinstance(offset, int) else offset)
        return first

    def times(self, place: Any, factor: int) -> Any:
        return self.builder.mul(place, INT(factor))

    def load(self, pointer: Any, place: Any) -> Any:
        return self.builder.load(self._vector_at(pointer, place), align=self.align)

    def store(self, vector: Any, pointer: Any, place: Any) -> None:
        self.builder.store(vector, self._vector_at(pointer, place), align=self.align)

    def _vector_at(self, pointer: Any, place: Any) -> Any:
        return self.builder.bitcast(self.builder.gep(pointer, [place]), self.vector.as_pointer())

    def number_at(self, pointer: Any, place: Any) -> Any:
        return self.builder.load(self.builder.gep(pointer, [place]))

    def zero(self) -> Any:
        return ir.Constant(self.vector, None)

    def filled(self, number: Any) -> Any:
        """A vector with ``number`` in every lane."""
        one = self.builder.insert_element(self.zero(), number, INT(0))
        return self.chosen((one, one), [0] * self.lanes)

    def chosen(self, pair: Any, lanes: Any) -> Any:
        """A vector of the lanes named, of two vectors taken together."""
        return self.builder.shuffle_vector(*pair, ir.Constant(ir.VectorType(ir.IntType(32), len(lanes)), list(lanes)))

    def multiply_add(self, a: Any, b: Any, c: Any) -> Any:
        return self.builder.fadd(self.builder.fmul(a, b, flags=FUSED), c, flags=FUSED)

    def total(self, vector: Any) -> Any:
        """The sum of a vector's lanes, float64."""
        double = ir.DoubleType()
        total = ir.Constant(double, 0.0)
        for lane in range(self.lanes):
            x = self.builder.extract_element(vector, INT(lane))
            total = self.builder.fadd(total, x if self.number == double else self.builder.fpext(x, double))
        return total

    def truth(self, flag: Any) -> Any:
        """A boolean as one bit, whatever Numba keeps it in."""
        return self.builder.icmp_unsigned("!=", flag, flag.type(0))

    @contextmanager
    def range(self, stop: Any, step: int) -> Iterator[Any]:
        with cgutils.for_range_slice(self.builder, INT(0), stop, INT(step), INT) as (i, _):
            yield i


def _by_filter(name: str, context: Any, builder: ir.IRBuilder, dtype: Any, size: Any, args: Any, emit: Any) -> None:
    """Call one function for each of FILTERS, whose body ``emit(emitter, shape, *args)`` writes; size: height, width.

    Functions of their own, or LLVM would copy them to wherever they are used and compile every copy.
    """
    lanes = max(LANES, min(WIDE, BYTES // (dtype.bitwidth // 8)))
    for shape in FILTERS:
        full_name = f"{name}_{dtype}_{shape[0]}x{shape[1]}"
        function = builder.module.globals.get(full_name)
        if function is None:
            signature = ir.FunctionType(ir.VoidType(), [arg.type for arg in args])
            function = ir.Function(builder.module, signature, full_name)
            function.linkage = "linkonce_odr"
            function.attributes.add("noinline")
            body = ir.IRBuilder(function.append_basic_block())
            emit(_Emitter(context, body, dtype, lanes), shape, *function.args)
            body.ret_void()
        same = [builder.icmp_signed("==", x, INT(n)) for x, n in zip(size, shape, strict=True)]
        with builder.if_then(builder.and_(*same)):
            builder.call(function, args)


def emitted(formula: Callable[..., None]) -> Callable[..., Any]:
    """Decorator of what emits instructions; where Numba compiles nothing, ``formula`` runs in its place."""
    if config.DISABLE_JIT:
        return lambda emit: formula
    intrinsic: Any = extending.intrinsic
    return intrinsic


# -- the formulas ------------------------------------------------------------------------------------------------------


def _up(n: int) -> int:
    """n, up to a multiple of LANES."""
    return -(-n // LANES) * LANES


def _copied(source: Array, at: int, target: Array, to: int, n: int) -> None:
    target[to : to + _up(n)] = source[at : at + _up(n)].copy()


def _split(source: Array, evens: Array, odds: Array, n: int) -> None:
    evens[: _up(n)], odds[: _up(n)] = source[: 2 * _up(n) : 2], source[1 : 2 * _up(n) : 2]


def _joined(evens: Array, odds: Array, target: Array, to: int, n: int) -> None:
    target[to : to + 2 * n : 2], target[to + 1 : to + 2 * n : 2] = evens[:n], odds[:n]


def _zeroed(target: Array, to: int) -> None:
    target[to : to + LANES] = 0


def _correlated(
    source: Array,
    at: int,
    pitch: int,
    weights: Array,
    first: int,
    height: int,
    width: int,
    out: Array,
    to: int,
    rows: int,
    columns: int,
    adds: bool,
) -> None:
    for r in range(rows):
        y = out[to + r * pitch :][:columns]
        y[:] = y if adds else 0
        for t in range(height * width):
            y += weights[first + t] * source[at + (r + t // width) * pitch + t % width :][:columns]


def _dotted(
    g: Array,
    start: int,
    source: Array,
    at: int,
    pitch: int,
    total: Array,
    first: int,
    height: int,
    width: int,
    rows: int,
    columns: int,
) -> None:
    for r in range(rows):
        up = g[start + r * pitch :][:columns]
        for t in range(height * width):
            total[first + t] += up @ source[at + (r + t // width) * pitch + t % width :][:columns]


# -- the instructions --------------------------------------------------------------------------------------------------


@emitted(_copied)
def copy_run(typing: Any, source: Any, at: Any, target: Any, to: Any, n: Any) -> Any:
    """target[to...] = source[at...] of ``n`` numbers, and of up to LANES - 1 more."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        e = _Emitter(context, builder, source.dtype)
        a, b = e.pointer(args[0], source), e.pointer(args[2], target)
        with e.range(args[4], LANES) as i:
            e.store(e.load(a, e.at(args[1], i)), b, e.at(args[3], i))
        return context.get_dummy_value()

    i = types.int64
    return types.void(source, i, target, i, i), emit


@emitted(_split)
def split_run(typing: Any, source: Any, evens: Any, odds: Any, n: Any) -> Any:
    """evens[q] = source[2 q], odds[q] = source[2 q + 1], q < n, and up to LANES - 1 more."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        e = _Emitter(context, builder, source.dtype)
        x, even, odd = e.pointer(args[0], source), e.pointer(args[1], evens), e.pointer(args[2], odds)
        with e.range(args[3], LANES) as q:
            pair = [e.load(x, e.at(e.times(q, 2), half)) for half in (0, LANES)]
            e.store(e.chosen(pair, range(0, 2 * LANES, 2)), even, q)
            e.store(e.chosen(pair, range(1, 2 * LANES, 2)), odd, q)
        return context.get_dummy_value()

    return types.void(source, evens, odds, types.int64), emit


@emitted(_joined)
def join_run(typing: Any, evens: Any, odds: Any, target: Any, to: Any, n: Any) -> Any:
    """target[to + 2 q] = evens[q], target[to + 2 q + 1] = odds[q], q < n, a multiple of LANES."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        e = _Emitter(context, builder, target.dtype)
        even, odd, x = e.pointer(args[0], evens), e.pointer(args[1], odds), e.pointer(args[2], target)
        with e.range(args[4], LANES) as q:
            pair = [e.load(half, q) for half in (even, odd)]
            for half in (0, LANES // 2):
                lanes = [lane for i in range(half, half + LANES // 2) for lane in (i, LANES + i)]
                e.store(e.chosen(pair, lanes), x, e.at(args[3], e.times(q, 2), 2 * half))
        return context.get_dummy_value()

    i = types.int64
    return types.void(evens, odds, target, i, i), emit


@emitted(_zeroed)
def zero_run(typing: Any, target: Any, to: Any) -> Any:
    """target[to...] = 0, LANES numbers of it."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        e = _Emitter(context, builder, target.dtype)
        e.store(e.zero(), e.pointer(args[0], target), args[1])
        return context.get_dummy_value()

    return types.void(target, types.int64), emit


@emitted(_correlated)
def correlate_filter(
    typing: Any,
    source: Any,
    at: Any,
    pitch: Any,
    weights: Any,
    first: Any,
    height: Any,
    width: Any,
    out: Any,
    to: Any,
    rows: Any,
    columns: Any,
    adds: Any,
) -> Any:
    """out[to + r * pitch + c] = sum over i, j of weights[first + i * width + j] * source[at + (r + i) * pitch + c + j]

    for r < rows and c < columns, multiples of ROWS and WIDE; a filter of ``height`` x ``width``, one of FILTERS. Where
    ``adds``, it is added to what is there.
    """

    def emit_filter(
        e: _Emitter,
        shape: tuple[int, int],
        x: Any,
        at: Any,
        pitch: Any,
        w: Any,
        first: Any,
        y: Any,
        to: Any,
        rows: Any,
        columns: Any,
        adds: Any,
    ) -> None:
        kh, kw = shape
        taps = [e.filled(e.number_at(w, e.at(first, t))) for t in range(kh * kw)]
        with e.range(rows, ROWS) as r, e.range(columns, e.lanes) as c:
            corner = e.at(e.builder.mul(r, pitch), c)
            places = [e.at(to, corner, e.times(pitch, i)) for i in range(ROWS)]
            sums = [e.builder.select(adds, e.load(y, p), e.zero()) for p in places]
            for row in range(ROWS + kh - 1):
                for j in range(kw):
                    v = e.load(x, e.at(at, corner, e.times(pitch, row), j))
                    for i in range(max(0, row - ROWS + 1), min(kh, row + 1)):
                        sums[row - i] = e.multiply_add(v, taps[i * kw + j], sums[row - i])
            for p, s in zip(places, sums, strict=True):
                e.store(s, y, p)

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        e = _Emitter(context, builder, source.dtype)
        x, w, y = e.pointer(args[0], source), e.pointer(args[3], weights), e.pointer(args[7], out)
        rest = [x, args[1], args[2], w, args[4], y, *args[8:11], e.truth(args[11])]
        _by_filter("correlate", context, builder, source.dtype, args[5:7], rest, emit_filter)
        return context.get_dummy_value()

    i = types.int64
    return types.void(source, i, i, weights, i, i, i, out, i, i, i, types.boolean), emit


@emitted(_dotted)
def dots_filter(
    typing: Any,
    g: Any,
    start: Any,
    source: Any,
    at: Any,
    pitch: Any,
    total: Any,
    first: Any,
    height: Any,
    width: Any,
    rows: Any,
    columns: Any,
) -> Any:
    """total[first + i * width + j] += sum over r, c of g[start + r * pitch + c] * source[at + (r + i) * pitch + c + j]

    for r < rows and c < columns, multiples of ROWS and WIDE; a filter of ``height`` x ``width``, one of FILTERS.
    ``total`` is float64, but what is summed here is summed in the numbers' own type.
    """

    def emit_filter(
        e: _Emitter,
        shape: tuple[int, int],
        up: Any,
        start: Any,
        x: Any,
        at: Any,
        pitch: Any,
        totals: Any,
        first: Any,
        rows: Any,
        columns: Any,
    ) -> None:
        kh, kw = shape
        sums = [cgutils.alloca_once_value(e.builder, e.zero()) for _ in range(kh * kw)]
        with e.range(rows, ROWS) as r, e.range(columns, e.lanes) as c:
            corner = e.at(e.builder.mul(r, pitch), c)
            gs = [e.load(up, e.at(start, corner, e.times(pitch, i))) for i in range(ROWS)]
            now = [e.builder.load(s) for s in sums]
            for row in range(ROWS + kh - 1):
                for j in range(kw):
                    v = e.load(x, e.at(at, corner, e.times(pitch, row), j))
                    for i in range(max(0, row - ROWS + 1), min(kh, row + 1)):
                        now[i * kw + j] = e.multiply_add(v, gs[row - i], now[i * kw + j])
            for s, value in zip(sums, now, strict=True):
                e.builder.store(value, s)
        for t, s in enumerate(sums):
            place = e.builder.gep(totals, [e.at(first, t)])
            e.builder.store(e.builder.fadd(e.builder.load(place), e.total(e.builder.load(s))), place)

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        e = _Emitter(context, builder, source.dtype)
        up, x, totals = e.pointer(args[0], g), e.pointer(args[2], source), e.pointer(args[5], total)
        rest = [up, args[1], x, args[3], args[4], totals, args[6], *args[9:11]]
        _by_filter("dots", context, builder, source.dtype, args[7:9], rest, emit_filter)
        return context.get_dummy_value()

    i = types.int64
    return types.void(g, i, source, i, i, total, i, i, i, i, i), emit
