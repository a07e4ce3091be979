"""Op: what a differentiable operation is, and everything that all of them need once.

An operation is a class with two methods. ``forward`` takes arrays and the backend's kernels and returns an array.
``backward`` takes the gradient of that result and returns a gradient for each input; it is given tensors and is itself
written with operations, so that it can be recorded and differentiated in turn. An *instance* is one use of the
operation: calling it computes the result and, if anything asks for a gradient, makes the instance a node of the tape.

An operation states its formula and rule as text, its shapes as a contract that is checked on every call, the number of
floating-point operations it costs, and where its derivative does not exist. What it does not do is broadcast back,
convert types, add up gradients or look after memory: this file and ``tape.py`` do, for all.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, TypeVar

import numpy as np

from . import tape, versions
from .backends import Array, Backend, backend_of
from .backends.device import MixedDevicesError, explained, is_array, number_like
from .backends.dtypes import is_floating
from .contract import Contract
from .hooks import Hooks
from .lines import Line, line_text, users_line
from .tensor import Tensor, functions, wrap

Shape = tuple[int, ...]
F = TypeVar("F", bound=Callable[..., Any])
O = TypeVar("O", bound="type[Op]")  # noqa: E741

registry: dict[str, type[Op]] = {}


def register(op: O) -> O:
    """Class decorator: enter an operation in the registry under its name (``SiLUGrad`` becomes ``silu_grad``)."""
    name = op.__name__.replace("SiLU", "Silu").replace("ReLU", "Relu").replace("GELU", "Gelu")
    op.name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
    op.contract = Contract(op.shapes)
    registry[op.name] = op
    return op


def function(f: F) -> F:
    """Decorator of the functions that users call: makes them reachable from `Tensor`'s operators and methods."""
    functions[f.__name__] = f
    return f


watch = Hooks()  # after every operation: watcher(op, inputs, outputs), both sequences of arrays
around_forwards = Hooks()  # around(op, forward, kernels, *arrays) runs every forward, and returns what it returns
around_rules = Hooks()  # around(op, rule, *gradients) runs every rule, and returns what it returns
watch_pulls = Hooks()  # after every rule: watcher(op, gradients, pulled), with each gradient and the edge it goes to


class Op(tape.Node):
    """One use of an operation; a subclass says of which. Arguments that are not differentiated go to ``__init__``."""

    formula: ClassVar[str]  # y in terms of the inputs
    rule: ClassVar[str]  # gradient of each input, written with a bar: x̄ in terms of ȳ
    shapes: ClassVar[str]  # the contract, e.g. "a: ... n k, b: ... k m -> ... n m"
    symbols: ClassVar[str] = ""  # what they call an input where the contract has its argument's name: "weight: w"
    kinks: ClassVar[str] = "none"  # where there is no derivative, and what is taken instead
    integers: ClassVar[bool] = False  # does it make sense for integers?
    once_differentiable: ClassVar[bool] = False  # has the rule no derivative of its own? Then
    instead: ClassVar[str] = ""  # says what to use where a second one is wanted
    contract: ClassVar[Contract]

    _seen: tuple[int, ...] = ()  # ids of the inputs and outputs: what is held lives, so no other array has its id
    _time = 0  # when it saved, by the clock of versions.py
    _line: Line | None = None

    # -- what a subclass writes -----------------------------------------------------------------------------------
    def forward(self, kernels: Backend, *arrays: Array) -> Any:
        """The result, an array or a tuple of arrays, from the inputs' arrays."""
        raise TypeError(f"{type(self).__name__} does not say how it is computed: define forward(kernels, ...)")

    def backward(self, *gradients: Tensor) -> Tensor | tuple[Tensor | None, ...] | None:
        """A gradient for each input, or None where there is none, from the gradients of the outputs."""
        raise TypeError(f"{type(self).__name__} has no derivative")

    def flops(self, inputs: Sequence[Shape], outputs: Sequence[Shape]) -> int:
        """Floating-point operations of forward; one for each entry of the result unless a subclass knows better."""
        return sum(math.prod(shape) for shape in outputs)

    def hint(self, inputs: Sequence[Shape]) -> str:
        """What the user may have meant by shapes that break the contract."""
        return ""

    # -- what a subclass uses --------------------------------------------------------------------------------------
    def save(self, *arrays: Array) -> None:
        """Keep these arrays (inputs, outputs or others) for backward. Nothing else is kept."""
        self.held = arrays

    def saved(self) -> tuple[Tensor, ...]:
        """What was saved, as tensors; while the walk is recorded they are linked to what they were computed from.

        Raises
        ------
        RuntimeError
            One of the arrays was written to in the meantime, so that the rule would give a wrong gradient.
        """
        if self._time != versions.clock:
            self.refuse_written()
        if tape.is_grad_enabled():
            return tuple([self._linked(array) for array in self.held])
        return tuple([wrap(array if type(array) is np.ndarray else _as_array(array)) for array in self.held])

    def _linked(self, array: Array) -> Tensor:
        source = self._source(array)
        edge = None if source is None else self.edges[source] if source >= 0 else (self, ~source)
        return wrap(_as_array(array), *(edge or ()))

    def _source(self, array: Array) -> int | None:
        """Which input (0, 1, ...) or output (-1, -2, ...) a saved array is."""
        if id(array) not in self._seen:
            return None
        index, inputs = self._seen.index(id(array)), len(self._seen) - len(self.outputs)
        return index if index < inputs else inputs - index - 1

    def refuse_written(self) -> None:
        """Raise RuntimeError if something saved was written to since."""
        for i, array in enumerate(self.held):
            write = versions.last_write(array, self._time)
            if write is not None:
                raise RuntimeError(
                    f"{self.name} (made at {self.where()}) saved {self.held_name(i)}, of shape {array.shape}, "
                    f"for the backward pass, and {write.and_so()}"
                )

    def held_name(self, index: int) -> str:
        """What errors call a saved array."""
        i = self._source(self.held[index])
        return "an array" if i is None else f"input {self.contract.name_of(i)}" if i >= 0 else "the result"

    @property
    def saved_bytes(self) -> int:
        """Bytes held for the backward pass."""
        return sum(array.nbytes for array in self.held)

    # -- one use ---------------------------------------------------------------------------------------------------
    def __call__(self, *operands: Any) -> Any:
        arrays: list[Array] = []
        dtype, recorded = None, False
        for x in operands:  # one loop, and no comprehension: this is what an operation on a few numbers costs
            if not isinstance(x, Tensor):
                return self(*_unify(self, operands))
            array = x.array
            arrays.append(array)
            if dtype is None:
                dtype = array.dtype
            elif array.dtype != dtype:
                return self(*_unify(self, operands))
            if x.node is not None:
                recorded = True
        if not self.integers and dtype is not None and dtype.kind not in "fc" and not _computes(self, arrays):
            return self(*_unify(self, operands))
        recorded = recorded and tape.is_grad_enabled()
        if recorded and len(arrays) > 1:
            pair = len(arrays) == 2  # as most often, and then two are quickly compared
            if arrays[0] is arrays[1] if pair else len(set(map(id, arrays))) < len(arrays):
                arrays = [array.view() for array in arrays]  # x * x.detach(): what is saved must be told apart
        if not self.contract.fits_all:
            self.contract.check(self, arrays)
        forward = around_forwards.bind(self.forward, self) if around_forwards else self.forward
        try:
            result = forward(backend_of(arrays), *arrays)
        except (MixedDevicesError, MemoryError) as error:
            raise explained(error, self.name, self.contract.name_of, arrays) from None
        if recorded:
            self._record(operands, arrays, result if type(result) is tuple else (result,))
        node = self if recorded else None
        if type(result) is not tuple and not watch:
            return wrap(result if type(result) is np.ndarray else _as_array(result), node)
        outputs = [_as_array(y) for y in (result if type(result) is tuple else (result,))]
        for watcher in watch:
            watcher(self, arrays, outputs)
        made = tuple([wrap(y, node, i) for i, y in enumerate(outputs)])
        return made if type(result) is tuple else made[0]

    def _record(self, tensors: Sequence[Tensor], arrays: Sequence[Array], outputs: Sequence[Array]) -> None:
        if self.outputs:
            raise RuntimeError(
                f"this {type(self).__name__} was used before; an operation is made anew for each use, like "
                f"{type(self).__name__}()(x)"
            )
        self.number = tape.next_number()
        self.edges = tuple([None if t.node is None else (t.node, t.index) for t in tensors])
        self.outputs = tuple(map(_shape_and_dtype, outputs))
        if self.held:
            self._seen = tuple(map(id, (*arrays, *outputs)))
            self._time = versions.clock
        self._line = users_line(3)

    # -- as a node of the tape -------------------------------------------------------------------------------------
    def pull(self, gradients: list[Tensor | None]) -> list[tuple[tape.Edge, Tensor]]:
        """Run the rule; give each gradient its input's shape and dtype (the one place where broadcasting is undone)."""
        try:
            if self.once_differentiable and tape.is_grad_enabled():
                raise RuntimeError(f"{self.name} has no second derivative (for create_graph=True){self.instead}")
            if len(gradients) > 1:  # to one of several results, perhaps, nothing came
                xp = backend_of([dy.array for dy in gradients if dy is not None]).xp
                pairs = zip(gradients, self.outputs, strict=True)
                gradients = [wrap(xp.zeros(*output)) if dy is None else dy for dy, output in pairs]
            rule: Callable[..., Any] = around_rules.bind(self.backward, self) if around_rules else self.backward
            dxs = rule(*gradients)
            dxs = dxs if isinstance(dxs, tuple) else (dxs,)
            pulled = []
            for dx, edge in zip(dxs, self.needed, strict=True):
                if dx is not None and edge is not None:
                    shape, dtype = edge[0].outputs[edge[1]]
                    if dx.array.shape != shape:
                        dx = dx.sum_to(shape)
                    pulled.append((edge, dx if dx.array.dtype == dtype else dx.to(dtype)))
            for watcher in watch_pulls:
                watcher(self, gradients, pulled)
            return pulled
        except Exception as error:
            error.add_note(f"in the backward pass of {self.name}, which was made at {self.where()}")
            raise

    def where(self) -> str:
        return line_text(self._line)


def differentiate(
    f: Callable[..., Any], inputs: Sequence[Tensor], gradients: Sequence[Tensor]
) -> tuple[Tensor | None, ...]:
    """The backward rule of something defined by ``f``, a composition of operations: build it, and walk back over it.

    Use it inside an operation's ``backward``; like any rule, what it returns is recorded exactly if the walk is.
    """
    recorded = tape.is_grad_enabled()
    with tape.enable_grad():
        # aliases, for one input may itself depend on another, and the rule asks for the partial derivatives
        starts = [x.reshape(x.shape) if x.requires_grad else x.detach().requires_grad_() for x in inputs]
        return tape.grad(f(*starts), starts, gradients, create_graph=recorded, allow_unused=True)


def _unify(op: Op, operands: Sequence[Any]) -> list[Tensor]:
    """The operands as tensors of one dtype: numbers take that of the tensors, of two floats the wider wins."""
    given = [x for x in operands if type(x) is not float and type(x) is not int]
    if len(given) == 1 and isinstance(given[0], Tensor) and given[0].array.dtype.kind == "f":  # x * 2.0: most of them
        dtype = given[0].array.dtype
        return [x if x is given[0] else wrap(number_like(x, dtype, given[0].array)) for x in operands]
    for i, x in enumerate(operands):
        if not isinstance(x, (Tensor, int, float, np.generic, list, tuple)) and not is_array(x):
            raise TypeError(
                f"{op.name}: {op.contract.name_of(i)} is a {type(x).__name__}; expected a Tensor, an array or a number"
            )
    tensors = [x if isinstance(x, (Tensor, int, float)) else Tensor(x) for x in operands]
    dtype = common_dtype([x.dtype if isinstance(x, Tensor) else type(x) for x in tensors])
    if not op.integers:
        _refuse_integers(op, tensors, dtype)
    beside = next((x.array for x in tensors if isinstance(x, Tensor)), None)
    made = [x if isinstance(x, Tensor) else wrap(number_like(x, dtype, beside)) for x in tensors]
    return [x if x.dtype == dtype else x.to(dtype) for x in made]


def _computes(op: Op, arrays: Sequence[Array]) -> bool:
    """Whether these are bfloat16 numbers on a device; TypeError where they lie on the host, which only stores them."""
    if not is_floating(arrays[0].dtype):
        return False
    if type(arrays[0]) is np.ndarray:
        raise TypeError(
            f"{op.name}: {op.contract.name_of(0)} holds bfloat16 numbers on the host, where nothing computes with "
            "them; convert it with .float(), or move it to a GPU"
        )
    return True


def _refuse_integers(op: Op, tensors: Sequence[Any], dtype: np.dtype) -> None:
    """Numbers entry by entry take the dtype of the others; whole images or matrices of integers are a mistake."""
    whole = [i for i, x in enumerate(tensors) if isinstance(x, Tensor) and not is_floating(x.dtype)]
    if whole and (not is_floating(dtype) or not op.contract.is_trivial):
        name, found = op.contract.name_of(whole[0]), tensors[whole[0]].dtype
        raise TypeError(
            f"{op.name}: {name} holds {found} numbers, and {op.name} needs floating-point ones; convert it with "
            f"{name}.float()" + (" (and divide images of 0..255 by 255)" if found == np.uint8 else "")
        )


def common_dtype(dtypes: Sequence[Any]) -> np.dtype:
    """The dtype of a result: the widest float among the tensors; Python numbers never widen, floats beat integers."""
    arrays = [d for d in dtypes if isinstance(d, np.dtype)]
    floats = [d for d in arrays if is_floating(d)]
    if floats:
        return np.result_type(*floats)
    numbers = [d for d in dtypes if not isinstance(d, np.dtype)]
    if any([issubclass(d, float) for d in numbers]):
        return np.dtype(np.float32)
    if int in numbers and all([d == np.bool_ for d in arrays]):
        return np.dtype(np.int64)
    return np.result_type(*arrays) if arrays else np.dtype(np.bool_)


_shape_and_dtype = operator.attrgetter("shape", "dtype")


def _as_array(value: Any) -> Array:
    # NumPy turns results of shape () into scalars, which have no memory to add gradients into
    return np.asarray(value) if isinstance(value, np.generic) else value
