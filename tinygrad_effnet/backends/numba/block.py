"""Pieces of kernels that are compiled once and called by their address.

What a kernel calls, Numba compiles anew inside each kernel, and again inside that kernel's loop and its wrapper. For
the tiles of a matrix product that came to four seconds a kernel. A `block` is machine code of its own: kernels receive
its address as an argument and jump there, at the cost of a function call.
"""

from __future__ import annotations

import threading
import typing
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from . import cache
from .jit import FAST

# One thread compiles. A second would put another copy in the place of the first, which then goes while the first thread
# runs it; and the cache folder is a setting of the whole process.
_compiling = threading.Lock()


class block:  # noqa: N801 - a decorator
    """A function of flat arrays of one dtype (``Any``), ``int``, ``bool`` and tuples of int, which returns nothing.

    ``function.call`` is what kernels write, under a name of their own: call(address, *arguments), with the ``address``
    that `address` gives for the arrays' dtype.
    """

    def __init__(self, function: Callable[..., None]) -> None:
        self.function = function
        self.__doc__ = function.__doc__
        self.hints = [hint for name, hint in typing.get_type_hints(function).items() if name != "return"]
        self.folder = cache.current_folder()
        self.made: dict[Any, Any] = {}  # by dtype; machine code lives no longer than the object that holds it
        self.call = self._caller()

    def address(self, dtype: np.dtype[Any]) -> int:
        """Where the machine code for arrays of ``dtype`` lies; it is compiled, or read from disk, at the first call."""
        if dtype not in self.made:
            with _compiling, cache.caching_in(self.folder):
                if dtype not in self.made:
                    signature = self._signature(numba.from_dtype(dtype))
                    self.made[dtype] = numba.cfunc(signature, cache=self.folder is not None, **FAST)(self.function)
        address: int = self.made[dtype].address
        return address

    def _signature(self, number: Any) -> Any:
        return types.void(*[self._type(hint, number) for hint in self.hints])

    @staticmethod
    def _type(hint: Any, number: Any) -> Any:
        if hint is Any:
            return types.Array(number, 1, "C")
        if typing.get_origin(hint) is tuple:
            return types.UniTuple(types.int64, len(typing.get_args(hint)))
        return {int: types.int64, bool: types.boolean}[hint]

    def _caller(self) -> Any:
        owner = self

        @intrinsic
        def call(typingctx: Any, address: Any, *arguments: Any) -> Any:
            numbers = {argument.dtype for argument in arguments if isinstance(argument, types.Array)}
            if len(numbers) != 1 or len(arguments) != len(owner.hints):
                return None  # Numba then says that no such function takes these arguments
            wanted = owner._signature(numbers.pop()).args
            given = types.BaseTuple.from_types(arguments)

            def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
                address, packed = values
                parts = cgutils.unpack_tuple(builder, packed)
                casts = [context.cast(builder, *part) for part in zip(parts, arguments, wanted, strict=True)]
                kind = ir.FunctionType(ir.IntType(8).as_pointer(), [context.get_value_type(t) for t in wanted])
                builder.call(builder.inttoptr(address, kind.as_pointer()), casts)
                return context.get_dummy_value()

            return types.void(types.int64, given), generate

        return call
