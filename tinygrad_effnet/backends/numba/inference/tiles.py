"""Tiles with channels side by side: the innermost loops of a network that is used, not trained.

Here a pixel's channels lie together in memory (N H W C), so that a vector holds as many channels of one pixel. Nothing
of an image's width or height matters then: a row of seven pixels is as quick as one of a hundred, a border is a zero
pixel, and a mean over pixels is a sum of vectors. Two tiles of `PIXELS` pixels, both with their sums in registers:

    product_tile    y[p, c] = finish(shift[c] + Σₖ x[p, k] w[k, c])                   a 1x1 convolution
    window_tile     y[p, c] = finish(shift[c] + Σᵢⱼ x[i, p stride + j, c] w[i, j, c])   a depthwise one

where ``finish`` is one of `FINISHES`: what follows is computed before the sums leave the registers. Weights carry batch
norm's scale and are packed in *groups* of up to `GROUP` channels, zeros after the last (see `pack`). Written in LLVM's
language, for the reasons given in `tile`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types

from ..tile import BYTES, INT, INT32, REGISTERS, VECTORS, Code, intrinsic

PIXELS = 7 if REGISTERS == 32 else 4  # of a tile: 224 and what its halves are end in sevens
LANES = BYTES // 4  # channels in a vector, float32
GROUP = VECTORS * LANES  # channels of a panel of weights
FINISHES = "none", "silu", "relu6", "add"  # the last adds what is given: a skip connection
WINDOWS = (3, 1), (3, 2), (5, 1), (5, 2)  # size and stride of the depthwise filters that have a tile
NONE, SILU, RELU6, ADD = range(4)

LOG2_E = 1.44269504
# 2^f for |f| <= 1/2, from the constant on, with the least relative error (8e-8) that a polynomial of degree 5 can have
POWER = 1.0000001192, 0.6931469440, 0.2402212023, 0.05550713092, 0.00967554096, 0.001327647129


class _Float32(Code):
    """Code for float32, and the functions that results go through."""

    def __init__(self, context: Any, builder: Any) -> None:
        super().__init__(context, builder, types.float32)
        self.whole = ir.VectorType(INT32, self.width)

    def filled(self, number: float) -> Any:
        return ir.Constant(self.vector, [number] * self.width)

    def least(self, a: Any, b: Any) -> Any:
        """The smaller; ``a`` where it is NaN."""
        return self.builder.select(self.builder.fcmp_unordered("<", a, b), a, b)

    def most(self, a: Any, b: Any) -> Any:
        """The larger; ``a`` where it is NaN."""
        return self.builder.select(self.builder.fcmp_unordered(">", a, b), a, b)

    def silu(self, x: Any) -> Any:
        """x / (1 + 2^t), t = -x log2(e): 2^t is 2^f, a polynomial, times 2^n, n whole, which goes into the exponent."""
        builder = self.builder
        t = builder.fmul(x, self.filled(-LOG2_E))
        t = self.most(self.least(t, self.filled(126.0)), self.filled(-126.0))
        one = ir.FunctionType(self.vector, [self.vector])
        rint = cgutils.get_or_insert_function(builder.module, one, f"llvm.rint.v{self.width}f32")
        n = builder.call(rint, [t])
        f = builder.fsub(t, n)
        power = self.filled(POWER[-1])
        for coefficient in POWER[-2::-1]:
            power = self.multiply_add(power, f, self.filled(coefficient))
        exponent = builder.shl(builder.fptosi(n, self.whole), ir.Constant(self.whole, [23] * self.width))
        power = builder.bitcast(builder.add(builder.bitcast(power, self.whole), exponent), self.vector)
        return builder.fdiv(x, builder.fadd(power, self.filled(1.0)))

    def relu6(self, x: Any) -> Any:
        return self.least(self.most(x, self.zero), self.filled(6.0))

    def mask(self, lanes: Any) -> Any:
        """True for the first ``lanes`` numbers of a vector."""
        builder = self.builder
        wanted = builder.insert_element(ir.Constant(self.whole, ir.Undefined), builder.trunc(lanes, INT32), INT32(0))
        wanted = builder.shuffle_vector(wanted, wanted, ir.Constant(self.whole, [0] * self.width))
        return builder.icmp_unsigned("<", ir.Constant(self.whole, list(range(self.width))), wanted)

    def masked(self, do: str, pointer: Any, mask: Any, vector: Any = None) -> Any:
        """Load or store the numbers of a vector that ``mask`` names."""
        place = pointer.type
        name = f"llvm.masked.{do}.v{self.width}f32.p0"
        if do == "store":
            kind = ir.FunctionType(ir.VoidType(), [self.vector, place, INT32, mask.type])
            operands = [vector, pointer, INT32(4), mask]
        else:
            kind = ir.FunctionType(self.vector, [place, INT32, mask.type, self.vector])
            operands = [pointer, INT32(4), mask, self.zero]
        return self.builder.call(cgutils.get_or_insert_function(self.builder.module, kind, name), operands)

    def write(self, finish: int, sums: list[Any], line: Any, skip: Any, lanes: Any) -> list[Any]:
        """Store the vectors of one pixel; of the last only ``lanes`` numbers. Returns what was stored."""
        done = [self.silu(s) if finish == SILU else self.relu6(s) if finish == RELU6 else s for s in sums]
        last = len(done) - 1
        mask = self.mask(lanes)
        for j, vector in enumerate(done):
            if finish == ADD:
                place = self.at(skip, j * self.width)
                before = self.masked("load", place, mask) if j == last else self.builder.load(place, align=4)
                vector = self.builder.fadd(vector, before)
            place = self.at(line, j * self.width)
            if j == last:
                self.masked("store", place, mask, vector)
            else:
                self.builder.store(vector, place, align=4)
        return done


def _each(name: str, context: Any, builder: Any, kinds: Any, wanted: Any, args: Any, emit: Callable[..., None]) -> None:
    """Call the function for the kind that is ``wanted``, numbers that are known when it runs.

    Each is a function of its own, so that its code exists once, however often it is called.
    """
    for kind in kinds:
        full_name = "_".join([name, *map(str, kind)])
        function = builder.module.globals.get(full_name)
        if function is None:
            signature = ir.FunctionType(ir.VoidType(), [arg.type for arg in args])
            function = ir.Function(builder.module, signature, full_name)
            function.linkage = "linkonce_odr"
            function.attributes.add("noinline")
            body = ir.IRBuilder(function.append_basic_block())
            emit(_Float32(context, body), *kind, *function.args)
            body.ret_void()
        same = [builder.icmp_signed("==", x, INT(n)) for x, n in zip(wanted, kind, strict=True)]
        condition = same[0]
        for other in same[1:]:
            condition = builder.and_(condition, other)
        with builder.if_then(condition):
            builder.call(function, args)


def _product(
    code: _Float32, finish: int, vectors: int, x: Any, row: Any, term: Any, depth: Any, w: Any, shift: Any, y: Any,
    skip: Any, column: Any, width: Any, step: Any, gap: Any, count: Any, lanes: Any, ahead: Any,
) -> None:  # fmt: skip
    builder = code.builder
    lines = code.lines(row, count, PIXELS)
    places = [j * code.width for j in range(vectors)]

    def rank_one(_: Any, state: list[Any]) -> list[Any]:
        px, pw, coming, *sums = state
        seen = [code.load(pw, place) for place in places]
        code.prefetch(coming, 0)
        numbers = [code.broadcast(builder.load(builder.gep(px, [line]))) for line in lines]
        pairs = [(number, vector) for number in numbers for vector in seen]
        sums = [code.multiply_add(*pair, s) for pair, s in zip(pairs, sums, strict=True)]
        return [
            builder.gep(px, [term]),
            builder.gep(pw, [INT(vectors * code.width)]),
            builder.gep(coming, [INT(code.width)]),
            *sums,
        ]

    start = [code.load(shift, place) for place in places]
    _, _, _, *sums = code.loop(depth, [x, w, ahead, *start * PIXELS], rank_one)
    at = INT(0)
    last = builder.sub(width, INT(1))
    for i in range(PIXELS):
        with builder.if_then(builder.icmp_unsigned("<", INT(i), count)):
            code.write(finish, sums[i * vectors :][:vectors], builder.gep(y, [at]), builder.gep(skip, [at]), lanes)
        ends = builder.icmp_unsigned("==", column, last)  # of a row of the image, after which y goes on elsewhere
        at = builder.add(at, builder.select(ends, gap, step))
        column = builder.select(ends, INT(0), builder.add(column, INT(1)))


@intrinsic
def product_tile(
    typingctx: Any, finish: Any, vectors: Any, x: Any, ix: Any, row: Any, term: Any, depth: Any, w: Any, iw: Any,
    shift: Any, ishift: Any, y: Any, iy: Any, skip: Any, iskip: Any, column: Any, width: Any, step: Any, gap: Any,
    count: Any, lanes: Any, ahead: Any,
) -> Any:  # fmt: skip
    """y[p, c] = finish(shift[c] + Σₖ x[p, k] w[k, c]) for ``count`` pixels p and the channels of ``vectors`` vectors.

    x[p, k] lies at ix + p row + k term. The first of y begins at iy and is in ``column`` of an image ``width`` pixels
    wide; the next begins ``step`` further on, or ``gap`` where a row of the image ends. Only ``lanes`` numbers of the
    last vector are written. ``skip`` lies as y does. Meanwhile ``depth`` vectors from w[ahead] on are fetched into the
    second cache: of a single image the weights are most of what is read, each once.
    """
    i = types.int64
    signature = types.void(i, i, x, i, i, i, i, w, i, shift, i, y, i, skip, i, i, i, i, i, i, i, i)

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        f, v, x_, ix_, row_, term_, depth_, w_, iw_, s_, is_, y_, iy_, skip_, iskip_, *rest, ahead_ = values
        code = _Float32(context, builder)
        px, pw, ps = code.pointer(x, x_, ix_), code.pointer(w, w_, iw_), code.pointer(shift, s_, is_)
        py, pskip = code.pointer(y, y_, iy_), code.pointer(skip, skip_, iskip_)
        pa = code.pointer(w, w_, ahead_)
        kinds = [(f, v) for f in range(len(FINISHES)) for v in range(1, VECTORS + 1)]
        _each(
            "product",
            context,
            builder,
            kinds,
            (f, v),
            [px, row_, term_, depth_, pw, ps, py, pskip, *rest, pa],
            _product,
        )
        return context.get_dummy_value()

    return signature, generate


def _window(
    code: _Float32, finish: int, size: int, stride: int, x: Any, rows: Any, pitch: Any, w: Any, shift: Any, y: Any,
    step: Any, total: Any, count: Any, lanes: Any,
) -> None:  # fmt: skip
    builder = code.builder

    def row(_: Any, state: list[Any]) -> list[Any]:
        px, pw, *sums = state
        taps = [code.load(pw, j * GROUP) for j in range(size)]
        for column in range((PIXELS - 1) * stride + size):
            seen = code.load(px, column * GROUP)
            for p in range(PIXELS):
                if 0 <= column - p * stride < size:
                    sums[p] = code.multiply_add(seen, taps[column - p * stride], sums[p])
        return [builder.gep(px, [pitch]), builder.gep(pw, [INT(size * GROUP)]), *sums]

    # ``rows`` is ``size``, but LLVM must not know: it would unroll the loop, and compute one pixel after the other
    _, _, *sums = code.loop(rows, [x, w, *[code.load(shift, 0)] * PIXELS], row)
    place = code.at(total, 0)
    whole = cgutils.alloca_once_value(builder, builder.load(place, align=4))
    for p, s in enumerate(sums):
        with builder.if_then(builder.icmp_unsigned("<", INT(p), count)):
            (done,) = code.write(finish, [s], builder.gep(y, [builder.mul(step, INT(p))]), y, lanes)
            builder.store(builder.fadd(builder.load(whole), done), whole)
    builder.store(builder.load(whole), place, align=4)


@intrinsic
def window_tile(
    typingctx: Any, finish: Any, size: Any, stride: Any, x: Any, ix: Any, pitch: Any, w: Any, iw: Any, shift: Any,
    ishift: Any, y: Any, iy: Any, step: Any, total: Any, itotal: Any, count: Any, lanes: Any,
) -> Any:  # fmt: skip
    """y[p, c] = finish(shift[c] + Σᵢⱼ x[i, p stride + j, c] w[i, j, c]) for ``count`` pixels p of a row, one vector.

    Pixels of x, and taps of w, lie GROUP numbers apart, its rows ``pitch``; pixels of y lie ``step`` apart. Their sum
    is added to ``total``. Of y only ``lanes`` numbers are written. x is read for all PIXELS, whatever ``count`` is.
    """
    i = types.int64
    signature = types.void(i, i, i, x, i, i, w, i, shift, i, y, i, i, total, i, i, i)

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        f, k, s, x_, ix_, pitch_, w_, iw_, s_, is_, y_, iy_, step_, t_, it_, count_, lanes_ = values
        code = _Float32(context, builder)
        px, pw, ps = code.pointer(x, x_, ix_), code.pointer(w, w_, iw_), code.pointer(shift, s_, is_)
        py, pt = code.pointer(y, y_, iy_), code.pointer(total, t_, it_)
        kinds = [(f, k, s) for f in (SILU, RELU6) for k, s in WINDOWS]
        args = [px, k, pitch_, pw, ps, py, step_, pt, count_, lanes_]
        _each("window", context, builder, kinds, (f, k, s), args, _window)
        return context.get_dummy_value()

    return signature, generate
