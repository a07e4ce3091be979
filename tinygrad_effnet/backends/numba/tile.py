"""Register tiles: the innermost loops of a matrix product, where the sums stay in the processor's registers.

A product is quick when each number that is loaded meets many others before it leaves the registers. Two tiles do it,
both in vectors of as many numbers as a register holds:

    outer_tile    y[i, j] = Σₖ a[i, k] b[k, j]    ROWS x (vectors of) columns, one rank-1 update a step of k
    dot_tile      y[i, j] = Σₚ a[i, p] b[j, p]    DOT_ROWS x DOT_COLUMNS dot products side by side along p

LLVM's vectoriser cannot find either from a scalar loop (it would have to keep a block of y in registers over k), so
they are written here in LLVM's own language, in which vectors are values: ``<16 x float>`` is one register of AVX-512,
two of AVX2, four of NEON. The rest of a product (`panels`) is ordinary code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from llvmlite import ir
from numba import extending
from numba.core import cgutils, codegen, types

from .cache import config

intrinsic: Any = extending.intrinsic  # it adds an argument to calls, which no type checker can know
INT = ir.IntType(64)
INT32 = ir.IntType(32)


def _registers() -> tuple[int, int]:
    """(bytes in a vector register, how many of them there are) on the processor that Numba compiles for."""
    named = config.CPU_FEATURES
    if named is None:
        named = codegen.get_host_cpu_features()  # less what Numba does without, as AVX on the first processors with it
    features = {name[1:]: name[0] == "+" for name in named.split(",") if name}
    if features.get("avx512f"):
        return 64, 32
    if features.get("avx"):
        return 32, 16
    return 16, 32 if features.get("neon") else 16


BYTES, REGISTERS = _registers()
ROWS = 8 if REGISTERS == 32 else 4  # times VECTORS: sums in registers, with room for the operands of a step
VECTORS = 3


def width(dtype: Any) -> int:
    """How many numbers of ``dtype`` (NumPy's) a register holds."""
    return BYTES // int(dtype.itemsize)


class Code:
    """Writes vector code into a function that Numba is compiling."""

    def __init__(self, context: Any, builder: Any, number: Any) -> None:
        self.context, self.builder = context, builder
        self.number = context.get_value_type(number)
        self.width = BYTES * 8 // number.bitwidth
        self.vector = ir.VectorType(self.number, self.width)
        self.nothing = ir.Constant(INT, 0)
        self.zero = ir.Constant(self.vector, [0.0] * self.width)
        suffix = f"v{self.width}f{number.bitwidth}"
        triple = ir.FunctionType(self.vector, [self.vector] * 3)
        # not llvm.fma: where a processor has no such instruction it would call a function for every number
        self.fma = cgutils.get_or_insert_function(builder.module, triple, f"llvm.fmuladd.{suffix}")

    def pointer(self, array_type: Any, array: Any, index: Any) -> Any:
        """&array[index] of a flat array."""
        data = cgutils.create_struct_proxy(array_type)(self.context, self.builder, value=array).data
        return self.builder.gep(data, [index])

    def lines(self, pitch: Any, count: Any, most: int) -> list[Any]:
        """Where the first ``most`` rows begin; from ``count`` on, where the last does, so that all can be read."""
        builder = self.builder
        last = builder.sub(count, ir.Constant(INT, 1))
        numbers = [ir.Constant(INT, i) for i in range(most)]
        return [builder.mul(pitch, builder.select(builder.icmp_unsigned("<", i, last), i, last)) for i in numbers]

    def at(self, pointer: Any, index: Any) -> Any:
        """``pointer`` advanced by ``index`` numbers, as a pointer to a vector."""
        index = ir.Constant(INT, index) if isinstance(index, int) else index
        return self.builder.bitcast(self.builder.gep(pointer, [index]), self.vector.as_pointer())

    def load(self, pointer: Any, index: Any) -> Any:
        return self.builder.load(self.at(pointer, index), align=1)

    def store(self, vector: Any, pointer: Any, stream: bool = False) -> None:
        store = self.builder.store(vector, pointer, align=BYTES if stream else 1)
        if stream:
            store.set_metadata("nontemporal", self.builder.module.add_metadata([ir.Constant(INT32, 1)]))

    def broadcast(self, number: Any) -> Any:
        """A vector that holds ``number`` everywhere."""
        nothing = ir.Constant(self.vector, ir.Undefined)
        first = self.builder.insert_element(nothing, number, ir.Constant(INT32, 0))
        return self.builder.shuffle_vector(first, nothing, ir.Constant(ir.VectorType(INT32, self.width), None))

    def multiply_add(self, a: Any, b: Any, c: Any) -> Any:
        return self.builder.call(self.fma, [a, b, c])

    def prefetch(self, pointer: Any, index: int) -> None:
        """Begin to fetch ``pointer[index]`` into the second-level cache; no harm if there is no such place."""
        byte = ir.IntType(8).as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [byte, INT32, INT32, INT32])
        fetch = cgutils.get_or_insert_function(self.builder.module, kind, "llvm.prefetch.p0")
        place = self.builder.bitcast(self.builder.gep(pointer, [ir.Constant(INT, index)]), byte)
        read, near, data = 0, 2, 1
        self.builder.call(fetch, [place, *[ir.Constant(INT32, choice) for choice in (read, near, data)]])

    def loop(self, count: Any, first: list[Any], body: Callable[[Any, list[Any]], Iterable[Any]]) -> list[Any]:
        """``for i in range(count): values = body(i, values)``, once at least; returns the values."""
        builder, before = self.builder, self.builder.block
        block, after = builder.append_basic_block("step"), builder.append_basic_block("after")
        builder.branch(block)
        builder.position_at_end(block)
        start = [self.nothing, *first]
        variables = [builder.phi(value.type) for value in start]
        following = list(body(variables[0], variables[1:]))
        i = builder.add(variables[0], ir.Constant(INT, 1))
        last = builder.block
        for variable, from_before, from_last in zip(variables, start, [i, *following], strict=True):
            variable.add_incoming(from_before, before)
            variable.add_incoming(from_last, last)
        builder.cbranch(builder.icmp_unsigned("<", i, count), block, after)
        builder.position_at_end(after)
        return following

    def sums(self, vectors: list[Any]) -> Any:
        """The sum of each of ``width`` vectors, as a vector: neighbours are added until one of each is left."""
        indices = ir.VectorType(INT32, self.width)
        even = ir.Constant(indices, list(range(0, 2 * self.width, 2)))
        odd = ir.Constant(indices, list(range(1, 2 * self.width, 2)))
        while len(vectors) > 1:
            vectors = [
                self.builder.fadd(self.builder.shuffle_vector(a, b, even), self.builder.shuffle_vector(a, b, odd))
                for a, b in zip(vectors[::2], vectors[1::2], strict=True)
            ]
        return vectors[0]


def _outer_tile(vectors: int, keeps: bool) -> Any:
    """An `outer_tile` of so many vectors of columns; one that ``keeps`` leaves a copy of what it read in the panel."""

    @intrinsic
    def outer_tile(
        typingctx: Any, a: Any, ia: Any, row: Any, step: Any, b: Any, ib: Any, pitch: Any, k: Any,
        panel: Any, y: Any, iy: Any, ystep: Any, rows: Any, stream: Any, ahead: Any, burst: Any,
    ) -> Any:  # fmt: skip
        """y[iy + i ystep + j] = Σₖ a[ia + i row + k step] b[ib + k pitch + j], i < rows; all arrays flat.

        ``panel``, written at [k VECTORS width + j], holds the same columns close together for the tiles that follow.
        """
        signature = types.void(a, ia, row, step, b, ib, pitch, k, panel, y, iy, ystep, rows, stream, ahead, burst)

        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            a_, ia_, row_, step_, b_, ib_, pitch_, k_, panel_, y_, iy_, ystep_, rows_, stream_, ahead_, burst_ = values
            code = Code(context, builder, y.dtype)
            lines = code.lines(row_, rows_, ROWS)
            places = [j * code.width for j in range(vectors)]

            wide = ir.Constant(INT, VECTORS * code.width)
            last = builder.sub(burst_, ir.Constant(INT, 1))
            to_next_row = builder.sub(pitch_, builder.mul(last, wide))

            def rank_one(k: Any, state: list[Any]) -> list[Any]:
                pa, pb, kept, coming, *sums = state
                seen = [code.load(pb, place) for place in places]
                if keeps:
                    for place, vector in zip(places, seen, strict=True):
                        code.store(vector, code.at(kept, place))
                        code.prefetch(coming, place)
                    turn = builder.icmp_unsigned("==", builder.and_(k, last), last)
                    coming = builder.gep(coming, [builder.select(turn, to_next_row, wide)])
                weights = [code.broadcast(builder.load(builder.gep(pa, [line]))) for line in lines]
                pairs = [(weight, vector) for weight in weights for vector in seen]
                sums = [code.multiply_add(*pair, s) for pair, s in zip(pairs, sums, strict=True)]
                down = ir.Constant(INT, VECTORS * code.width if keeps else 0)
                return [builder.gep(pa, [step_]), builder.gep(pb, [pitch_]), builder.gep(kept, [down]), coming, *sums]

            pointers = [code.pointer(a, a_, ia_), code.pointer(b, b_, ib_), code.pointer(panel, panel_, code.nothing)]
            pointers.append(code.pointer(b, b_, ahead_))
            _, _, _, _, *sums = code.loop(k_, [*pointers, *[code.zero] * (ROWS * vectors)], rank_one)
            target = code.pointer(y, y_, iy_)

            def write(stream: bool) -> None:
                for i in range(ROWS):
                    with builder.if_then(builder.icmp_unsigned("<", ir.Constant(INT, i), rows_)):
                        line = builder.gep(target, [builder.mul(ystep_, ir.Constant(INT, i))])
                        for j, place in enumerate(places):
                            code.store(sums[i * vectors + j], code.at(line, place), stream)

            if vectors < VECTORS:
                write(False)
            else:
                with builder.if_else(stream_) as (past, into):
                    with past:
                        write(True)
                    with into:
                        write(False)
            return context.get_dummy_value()

        return signature, generate

    return outer_tile


outer_tile_keeping = _outer_tile(VECTORS, keeps=True)
outer_tile = _outer_tile(VECTORS, keeps=False)
outer_tile_1 = _outer_tile(1, keeps=False)


def dot_shape(width: int) -> tuple[int, int]:
    """Rows of a and rows of b in a `dot_tile`: as many products as a vector has places for their sums."""
    down = 1 << (width.bit_length() - 1) // 2
    return down, width // down


@intrinsic
def dot_tile(
    typingctx: Any, a: Any, ia: Any, apitch: Any, arows: Any, b: Any, ib: Any, bpitch: Any, brows: Any,
    steps: Any, y: Any, iy: Any, add: Any,
) -> Any:  # fmt: skip
    """y[iy + i across + j] (+)= Σₚ a[ia + i apitch + p] b[ib + j bpitch + p], p < steps width; all arrays flat.

    (down, across) = `dot_shape`; of places with i >= arows or j >= brows nothing is to be expected.
    """
    signature = types.void(a, ia, apitch, arows, b, ib, bpitch, brows, steps, y, iy, add)

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        a_, ia_, apitch_, arows_, b_, ib_, bpitch_, brows_, steps_, y_, iy_, add_ = values
        code = Code(context, builder, y.dtype)
        down, across = dot_shape(code.width)
        lines, columns = code.lines(apitch_, arows_, down), code.lines(bpitch_, brows_, across)

        def multiply(_: Any, state: list[Any]) -> list[Any]:
            pa, pb, *sums = state
            left = [code.load(pa, line) for line in lines]
            right = [code.load(pb, column) for column in columns]
            pairs = [(x, y) for x in left for y in right]
            sums = [code.multiply_add(*pair, s) for pair, s in zip(pairs, sums, strict=True)]
            along = ir.Constant(INT, code.width)
            return [builder.gep(pa, [along]), builder.gep(pb, [along]), *sums]

        pointers = code.pointer(a, a_, ia_), code.pointer(b, b_, ib_)
        _, _, *sums = code.loop(steps_, [*pointers, *[code.zero] * code.width], multiply)
        target, total = code.at(code.pointer(y, y_, iy_), 0), code.sums(sums)
        before = builder.select(add_, builder.load(target, align=1), code.zero)
        code.store(builder.fadd(before, total), target)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def fence(typingctx: Any) -> Any:
    """Nothing that is written after this is seen before what was written until now, streams included."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        builder.fence("seq_cst")
        return context.get_dummy_value()

    return types.void(), generate
