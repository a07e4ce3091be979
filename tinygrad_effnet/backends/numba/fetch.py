"""Fetching from memory what will be needed next, while something else is computed.

A loop that computes with a block and then waits for the next one takes the sum of both times. A processor fetches ahead
by itself on long runs, but a block of a channel is short, and over before that has begun.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from ..base import Array
from .layout import LINE
from .vectors import INT, emitted


def _fetched(source: Array, at: int, n: int) -> None:
    """Nothing: it saves time, and changes no number."""


@emitted(_fetched)
def fetch_run(typing: Any, source: Any, at: Any, n: Any) -> Any:
    """Begin to fetch ``n`` numbers of source[at...] into the second cache. There need be none: nothing is read."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        array, first, count = args
        data = context.make_array(source)(context, builder, array).data
        byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
        prefetch = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        read, second_cache, of_data = number(0), number(2), number(1)
        step = INT(LINE // context.get_abi_sizeof(context.get_data_type(source.dtype)))
        with cgutils.for_range_slice(builder, INT(0), count, step, INT) as (i, _):
            place = builder.gep(data, [builder.add(first, i)])
            builder.call(prefetch, [builder.bitcast(place, byte), read, second_cache, of_data])
        return context.get_dummy_value()

    return types.void(source, types.int64, types.int64), emit
