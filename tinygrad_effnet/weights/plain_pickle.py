"""What a pickle describes, without running it.

A pickle is a program for a small stack machine, and two of its instructions (REDUCE and BUILD) call whatever function
the file names: loading one with `pickle.load` runs the code of whoever wrote the file. Here the program is read by a
machine of our own that knows numbers, texts and containers, and only those functions that the caller hands to it; any
other name is an error that says which. The instructions themselves are taken apart by the standard library's
`pickletools`, which executes nothing.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Iterable, Mapping
from typing import Any, BinaryIO


class UnknownGlobalError(ValueError):
    """A pickle names a function or class that is not among those it may name."""


class Named:
    """A function or class that a pickle may name: called with what the file gives, and never anything else."""

    def __init__(self, name: str, call: Callable[..., Any]) -> None:
        self.name, self.call = name, call


def read_pickle(file: BinaryIO, named: Mapping[str, Callable[..., Any]], persistent: Callable[[Any], Any]) -> Any:
    """The value that the pickle at the file's position describes; the position moves behind it.

    Parameters
    ----------
    file : binary file
    named : mapping of str to callable
        What ``module.name`` in the file may stand for.
    persistent : callable
        Given a persistent id (PyTorch's way to refer to stored numbers), returns what it refers to.

    Raises
    ------
    UnknownGlobalError
        The pickle names something else.
    ValueError
        The bytes are no such pickle: damaged, or an instruction that no plain data need.
    """
    machine = _Machine(named, persistent)
    try:
        for instruction, argument, _ in pickletools.genops(file):
            machine.spend(1)
            machine.step(instruction.name, argument)
    except UnknownGlobalError:
        raise
    except (ValueError, IndexError, TypeError, KeyError, AttributeError, OverflowError) as error:
        raise ValueError(f"not a pickle of plain data: {error or type(error).__name__}") from error
    if len(machine.stack) != 1:
        raise ValueError(f"not a pickle of plain data: {len(machine.stack)} values are left at its end, not one")
    return machine.stack[0]


_CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
}
_LITERALS = frozenset(
    "BININT BININT1 BININT2 LONG1 BINFLOAT BINUNICODE SHORT_BINUNICODE BINUNICODE8 BINSTRING SHORT_BINSTRING "
    "BINBYTES SHORT_BINBYTES BINBYTES8".split()
)
_NOTHING_TO_DO = frozenset(["PROTO", "FRAME", "STOP"])

# An empty dictionary is one byte of a pickle and sixty-four of memory, and an instruction can copy what thousands
# built: so what a file may ask for is counted. The largest published network needs less than a tenth of this.
MOST_STEPS = 1_000_000

# What may be a key. A tuple may not: one that holds the one before it twice, sixty times over, is a few hundred bytes
# of pickle and would be hashed for years; one nested deep enough ends the process.
_KEYS = frozenset([str, int, float, bool, bytes, type(None)])


def plain_dict(pairs: Iterable[tuple[Any, Any]]) -> dict[Any, Any]:
    """A dictionary; ValueError where a key is more than a text or a number."""
    made = {}
    for key, value in pairs:
        if type(key) not in _KEYS:
            raise ValueError(f"a {type(key).__name__} as the key of a dictionary")
        made[key] = value
    return made


class _Machine:
    def __init__(self, named: Mapping[str, Callable[..., Any]], persistent: Callable[[Any], Any]) -> None:
        self.named, self.persistent = named, persistent
        self.stack: list[Any] = []
        self.marks: list[int] = []  # where on the stack the entries of a container begin
        self.memo: dict[int, Any] = {}
        self.steps = 0

    def spend(self, steps: int) -> None:
        """Count what is done, so that little is done for a file that asks for much."""
        self.steps += steps
        if self.steps > MOST_STEPS:
            raise ValueError(f"more than {MOST_STEPS} steps to its end")

    def step(self, name: str, argument: Any) -> None:
        if name in _LITERALS:
            self.stack.append(argument)
        elif name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name]())
        elif name not in _NOTHING_TO_DO:
            method = getattr(self, "do_" + name.lower(), None)
            if method is None:
                raise ValueError(f"instruction {name} is not needed for tensors")
            method(argument)

    def since_mark(self) -> list[Any]:
        """Take everything above the last mark from the stack, and the mark."""
        at = self.marks.pop()
        values = self.stack[at:]
        del self.stack[at:]
        return values

    def do_mark(self, _: None) -> None:
        self.marks.append(len(self.stack))

    # -- memory --------------------------------------------------------------------------------------------------
    def do_binput(self, index: int) -> None:
        self.memo[index] = self.stack[-1]

    do_long_binput = do_binput

    def do_memoize(self, _: None) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def do_binget(self, index: int) -> None:
        self.stack.append(self.memo[index])

    do_long_binget = do_binget

    # -- containers ----------------------------------------------------------------------------------------------
    def do_tuple(self, _: None) -> None:
        self.stack.append(tuple(self.since_mark()))

    def do_tuple1(self, _: None) -> None:
        self._tuple(1)

    def do_tuple2(self, _: None) -> None:
        self._tuple(2)

    def do_tuple3(self, _: None) -> None:
        self._tuple(3)

    def _tuple(self, count: int) -> None:
        values = tuple(self.stack[-count:])
        if len(values) < count:
            raise ValueError("a tuple of more than there is")
        self.stack[-count:] = [values]

    def do_append(self, _: None) -> None:
        value = self.stack.pop()
        self._top(list).append(value)

    def do_appends(self, _: None) -> None:
        values = self.since_mark()
        self._top(list).extend(values)

    def do_setitem(self, _: None) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._top(dict).update(plain_dict([(key, value)]))

    def do_setitems(self, _: None) -> None:
        values = self.since_mark()
        self._top(dict).update(plain_dict(zip(values[::2], values[1::2], strict=True)))

    def _top(self, kind: type) -> Any:
        if type(self.stack[-1]) is not kind:
            raise ValueError(f"a {type(self.stack[-1]).__name__} where a {kind.__name__} should be filled")
        return self.stack[-1]

    # -- names and calls -----------------------------------------------------------------------------------------
    def do_global(self, argument: str) -> None:
        self._name(*argument.split(" ", 1))

    def do_stack_global(self, _: None) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        self._name(module, name)

    def _name(self, module: Any, name: Any) -> None:
        if type(module) is not str or type(name) is not str:
            raise ValueError("a name that is no text")
        full = f"{module}.{name}"
        if full not in self.named:
            raise UnknownGlobalError(full)
        self.stack.append(Named(full, self.named[full]))

    def do_reduce(self, _: None) -> None:
        arguments, what = self.stack.pop(), self.stack.pop()
        if type(what) is not Named or type(arguments) is not tuple:
            raise ValueError("a call of something that has no name")
        self.spend(sum(len(argument) for argument in arguments if isinstance(argument, (list, tuple, dict))))
        self.stack.append(what.call(*arguments))

    def do_build(self, _: None) -> None:
        # Attributes of an object, such as the `_metadata` that PyTorch hangs on a state dictionary: no numbers in it.
        self.stack.pop()
        if not self.stack:
            raise ValueError("attributes of nothing")

    def do_binpersid(self, _: None) -> None:
        self.stack.append(self.persistent(self.stack.pop()))
