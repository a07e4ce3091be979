"""What a network computes, written down while it computes it: the steps from its input to its outputs.

The engine tells its watchers of every operation (`op.watch`), recorded or not, so that nothing of the network need be
known here. An array that no operation made of the input is a constant: a parameter, or what was computed of parameters
alone, which is computed once, here, and leaves no step.

What depends on the number of images does not show in one run. So there are two, with other images and another number
of them; a size that differs is that number's, and anything else that differs cannot be exported.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ... import tape
from ...backends import Array, use_backend
from ...backends.device import HOST, move
from ...nn import Module
from ...nn.module import around_calls, place_of
from ...op import Op, watch
from ...tensor import Tensor, from_numpy, wrap
from ..errors import WeightsError

Sizes = tuple[int | None, ...]  # None: depends on the number of images


@dataclass(eq=False)
class Value:
    """What goes into a step or comes out: the input, a result, or a ``constant``."""

    sizes: Sizes
    constant: np.ndarray | None = None
    name: str = ""  # of a parameter or buffer, or of what was computed of one


@dataclass(eq=False)
class Step:
    """One operation: what it was given, what came out, and the dotted name of the module that used it."""

    op: Op
    inputs: list[Value]
    outputs: list[Value]
    module: str


@dataclass
class Trace:
    """The steps of one run, in order, from ``input`` to ``outputs``."""

    input: Value
    steps: list[Step] = field(default_factory=list)
    outputs: list[Value] = field(default_factory=list)


def trace_twice(model: Module, shape: Sequence[int], dynamic_batch: bool) -> tuple[Trace, Trace]:
    """Two runs in eval mode, with other numbers in the input and, if ``dynamic_batch``, another size of its first axis.

    Raises
    ------
    WeightsError
        The runs took different steps, or the result is not a tensor or a list of them.
    """
    counts = (2, 3) if dynamic_batch else (shape[0], shape[0])  # not 1, which broadcasts
    rng = np.random.default_rng(0)
    images = [rng.standard_normal((count, *shape[1:])).astype(np.float32) for count in counts]
    with _in_eval_mode(model), tape.no_grad(), use_backend("numpy"):  # the backend with nothing to compile
        first, second = (_Recorder(model).run(x) for x in images)
    different = next(
        (a for a, b in zip(first.steps, second.steps, strict=False) if (a.op.name, a.module) != (b.op.name, b.module)),
        None,
    )
    if different or len(first.steps) != len(second.steps) or len(first.outputs) != len(second.outputs):
        place = f" from {different.op.name} in {different.module or 'the network itself'} on" if different else ""
        raise WeightsError(
            f"export_onnx(model): two runs took different steps{place}, so what the network computes depends on the "
            "numbers in its input, or on how many images there are. A file holds one sequence of steps; "
            "dynamic_batch=False fixes the number of images."
        )
    for a, b in zip(_values(first), _values(second), strict=True):
        if a.constant is None and len(a.sizes) == len(b.sizes):
            a.sizes = b.sizes = tuple([n if n == m else None for n, m in zip(a.sizes, b.sizes, strict=True)])
    return first, second


def _values(trace: Trace) -> Iterator[Value]:
    yield trace.input
    for step in trace.steps:
        yield from step.outputs


class _Recorder:
    def __init__(self, model: Module) -> None:
        self.model = model
        self.paths = {id(module): name for name, module in reversed(list(model.named_modules()))}
        self.running: list[str] = []
        # By id. Results are not held, for those of a large network need more memory than there is: an id counts only
        # while the array that had it lives.
        self.known: dict[int, tuple[Callable[[], Any], Value]] = {}
        self.held: list[Array] = []  # constants, whose ids must stay theirs
        self.thread = threading.get_ident()

    def run(self, images: np.ndarray) -> Trace:
        for name, tensor in self.model.state_dict().items():
            self._constant(tensor.array, name)
        x = from_numpy(images).to(place_of(self.model))
        self.trace = Trace(self._made(x.array))
        with around_calls(self._called), watch(self._computed):
            result = self.model(x)
        outputs = [result] if isinstance(result, Tensor) else result
        if not isinstance(outputs, list | tuple) or not all(isinstance(y, Tensor) for y in outputs) or not outputs:
            raise WeightsError(
                f"export_onnx(model): the network returns a {type(result).__name__}; expected a Tensor, or a list of "
                "Tensors"
            )
        self.trace.outputs = [self._value(y.array) for y in outputs]
        if any(value.constant is not None for value in self.trace.outputs):
            raise WeightsError(
                "export_onnx(model): a result was not computed from the input by operations of this package; leave "
                "out what converts to NumPy and back"
            )
        return self.trace

    def _called(self, module: Module, forward: Callable[..., Any], *inputs: Any) -> Any:
        self.running.append(self.paths.get(id(module), ""))
        try:
            return forward(*inputs)
        finally:
            self.running.pop()

    def _computed(self, op: Op, inputs: Sequence[Array], outputs: Sequence[Array]) -> None:
        if threading.get_ident() != self.thread:
            return
        given = [self._value(x) for x in inputs]
        if all(value.constant is not None for value in given):
            name = next((value.name for value in given if value.name), "")
            for y in outputs:
                self._constant(y, name)
            return
        composed = getattr(op, "composed", None)
        if composed is not None:  # an operation that is defined by smaller ones, such as a fused one, is those
            results = composed(*[wrap(x) for x in inputs])
            for y, result in zip(outputs, results if isinstance(results, tuple) else (results,), strict=True):
                self._note(y, self._value(result.array))
            return
        made = [self._made(y) for y in outputs]
        self.trace.steps.append(Step(op, given, made, self.running[-1] if self.running else ""))

    def _value(self, array: Array) -> Value:
        alive, value = self.known.get(id(array), (None, None))
        return value if alive is not None and value is not None and alive() is array else self._constant(array, "")

    def _made(self, array: Array) -> Value:
        return self._note(array, Value(array.shape))

    def _note(self, array: Array, value: Value) -> Value:
        self.known[id(array)] = weakref.ref(array), value
        return value

    def _constant(self, array: Array, name: str) -> Value:
        self.held.append(array)
        return self._note(array, Value(array.shape, move(array, HOST), name))


@contextmanager
def _in_eval_mode(model: Module) -> Iterator[None]:
    modes = [(module, module.training) for module in model.modules()]
    try:
        model.eval()
        yield
    finally:
        for module, training in modes:
            module.training = training
