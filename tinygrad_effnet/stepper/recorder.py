"""The recorder: looks on while the engine works, and writes down every step."""

from __future__ import annotations

import threading
import time
import unicodedata
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np

from .. import memory, versions
from ..backends import Array, current_backend
from ..nn.module import Module, around_calls
from ..op import Op, around_forwards, around_rules, watch, watch_pulls
from ..optim.optimizer import Optimizer, around_updates
from ..tape import Edge, Leaf, Node, around_walks
from ..tensor import Tensor
from . import differences, replay
from .places import origin
from .recipes import Recipe
from .run import Run
from .snapshot import WHOLE, Snapshot, take
from .steps import BACKWARD, FORWARD, UPDATE, Arrival, Operand, Step
from .terms import has_terms, work_out


@contextmanager
def record(whole: int | None = WHOLE, check_rules: bool = True) -> Iterator[Run]:
    """Write down everything that the engine does inside the block: forward, backward, and the optimiser's updates.

    Parameters
    ----------
    whole : int or None
        Keep arrays of up to so many entries whole, and of larger ones statistics and a grid of exact entries; None
        keeps every array whole, so that every step can be replayed.
    check_rules : bool
        Compare each rule with a central difference, at one entry of each input (see `steps.Difference`). This takes
        as long as two more forward passes for each input.

    Yields
    ------
    Run
        Complete when the block ends; also when it ends with an error, with the steps up to there.

    Notes
    -----
    Only this thread is recorded. What is computed is what would be computed without: nothing is changed or repeated,
    though arrays are read, and so it takes longer; the seconds that are noted are those of the operations alone. To see
    every module at work, build networks with ``fused=False``.

    Examples
    --------
    >>> import tinygrad_effnet as tg
    >>> w = tg.Tensor(3.0, requires_grad=True)
    >>> with tg.stepper.record() as run:
    ...     (w * w).backward()
    >>> [(step.phase, step.op) for step in run.steps]
    [('forward', 'mul'), ('backward', 'mul'), ('backward', 'leaf')]
    """
    recorder = Recorder(whole, check_rules)
    with ExitStack() as stack:
        usage = recorder.usage = stack.enter_context(memory.track())  # first, so that it has counted when we look
        usage.reset_peak()
        for hooks, function, call in (
            (around_forwards, recorder.around_forward, 1),
            (watch, recorder.after_forward, None),
            (around_rules, recorder.around_rule, 1),
            (watch_pulls, recorder.after_pull, None),
            (around_walks, recorder.around_walk, 0),
            (around_calls, recorder.around_call, 1),
            (around_updates, recorder.around_update, 1),
        ):
            stack.enter_context(hooks(recorder.here(function, call)))
        yield recorder.run


class Recorder:
    """Turns what the engine's hooks tell into steps."""

    usage: memory.Usage

    def __init__(self, whole: int | None, check_rules: bool) -> None:
        self.whole, self.check_rules = whole, check_rules
        self.run = Run()
        self.thread = threading.get_ident()
        self.modules = _Modules()
        self.recipes: list[tuple[Recipe, float, Any]] = []  # of forwards under way: how, seconds, backend
        self.made_by: dict[int, int] = {}  # number of a node: its step
        self.forwards: dict[int, tuple[Recipe, list[weakref.ref[Any]]]] = {}  # step: how, and from what
        self.seen: dict[int, tuple[weakref.ref[Any], int, Snapshot, int | None, int]] = {}  # arrays by id
        self.arrivals: dict[Edge, list[Arrival]] = {}
        self.totals: dict[Leaf, Array] = {}  # what has arrived at leaves
        self.names: dict[Leaf, str] = {}
        self.walks = self.rules = 0
        self.rule_seconds = 0.0
        self.inner: list[str] = []

    def here(self, function: Callable[..., Any], call: int | None) -> Callable[..., Any]:
        """The function, for this thread; in others, what it would have run: its argument number ``call``, if any."""

        def hook(*arguments: Any) -> Any:
            if threading.get_ident() == self.thread:
                return function(*arguments)
            return None if call is None else arguments[call](*arguments[call + 1 :])

        return hook

    # -- forward ---------------------------------------------------------------------------------------------------
    def around_forward(self, op: Op, forward: Callable[..., Any], kernels: Any, *arrays: Array) -> Any:
        if self.walks:
            return forward(kernels, *arrays)
        recipe = Recipe(op)
        self.usage.reset_peak()
        start = time.perf_counter()
        result = forward(kernels, *arrays)
        self.recipes.append((recipe, time.perf_counter() - start, kernels))
        return result

    def after_forward(self, op: Op, inputs: Sequence[Array], outputs: Sequence[Array]) -> None:
        if self.walks:
            self.inner.append(op.name)
            return
        recipe, seconds, kernels = self.recipes.pop()
        where = origin()
        step = self._new(FORWARD, op.name, self.modules.path, seconds, type(op))
        step.line, step.layer, step.settings = where.line, where.layer, recipe.described()
        edges = op.edges or (None,) * len(inputs)
        for i, (x, edge) in enumerate(zip(inputs, edges, strict=True)):
            operand = self._operand(symbol(op, i), x, edge)
            operand.label = self.modules.names.get(id(x), "") or where.name_of(x)
            if edge is not None and isinstance(edge[0], Leaf):
                operand.label = operand.label or self.names.get(edge[0], "")
                self.names[edge[0]] = operand.label or f"a leaf of shape {x.shape}"
            step.inputs.append(operand)
        for i, y in enumerate(outputs):
            value = take(y, self.whole)
            self._remember(y, value, step.index, i)
            step.outputs.append(Operand("y" if len(outputs) == 1 else f"y{i + 1}", value, "", step.index, i))
        step.flops = op.flops([x.shape for x in inputs], [y.shape for y in outputs])
        if op.outputs:
            self.made_by[op.number] = step.index
            self.forwards[step.index] = recipe, [weakref.ref(x) for x in inputs]
            step.saved = [(op.held_name(i), array.nbytes) for i, array in enumerate(op.held)]
        if has_terms(op.name):
            step.worked = work_out(step, step, inputs[:2], None)
        if all(operand.value.is_whole for operand in step.inputs):
            step.again = replay.forward(recipe, kernels, step)

    def _operand(self, name: str, array: Array, edge: Edge | None) -> Operand:
        known = self.seen.get(id(array))
        if known is not None and known[0]() is array and versions.last_write(array, known[1]) is None:
            return Operand(name, known[2], "", known[3], known[4])
        step = None if edge is None else self.made_by.get(edge[0].number)
        value = take(array, self.whole)
        self._remember(array, value, step, edge[1] if edge else 0)
        return Operand(name, value, "", step, edge[1] if edge else 0)

    def _remember(self, array: Array, value: Snapshot, step: int | None, output: int) -> None:
        key = id(array)
        reference = weakref.ref(array, lambda _: self.seen.pop(key, None))
        self.seen[key] = reference, versions.clock, value, step, output

    # -- backward --------------------------------------------------------------------------------------------------
    def around_walk(
        self, walk: Callable[..., Any], outputs: Sequence[Tensor], gradients: Sequence[Tensor], *rest: Any
    ) -> Any:
        if self.walks:  # the walk of a rule that is defined by a composition: part of that rule
            return walk(outputs, gradients, *rest)
        self.walks += 1
        try:
            for y, dy in zip(outputs, gradients, strict=True):
                if y.node is not None:
                    self._arrive((y.node, y.index), Arrival(None, "", take(dy.array, self.whole)), dy.array)
            found = walk(outputs, gradients, *rest)
            self._rest(-1)
            return found
        finally:
            self.walks -= 1
            self.arrivals.clear()
            self.totals.clear()
            self.inner.clear()

    def around_rule(self, op: Op, rule: Callable[..., Any], *gradients: Tensor) -> Any:
        if self.rules or not self.walks:
            return rule(*gradients)
        self._rest(op.number)
        self.inner.clear()
        self.usage.reset_peak()
        self.rules += 1
        start = time.perf_counter()
        try:
            return rule(*gradients)
        finally:
            self.rule_seconds = time.perf_counter() - start
            self.rules -= 1

    def after_pull(self, op: Op, gradients: Sequence[Tensor], pulled: Sequence[tuple[Edge, Tensor]]) -> None:
        if self.rules:
            return
        forward = self.made_by.get(op.number)
        made = None if forward is None else self.run.steps[forward]
        step = self._new(BACKWARD, op.name, made.module if made else "", self.rule_seconds, type(op))
        step.forward, step.inner = forward, list(self.inner)
        step.line, step.layer = (made.line, made.layer) if made else (None, None)
        step.settings = made.settings if made else {}
        step.saved = [(op.held_name(i), array.nbytes) for i, array in enumerate(op.held)]
        for i, dy in enumerate(gradients):
            name = "ȳ" if len(gradients) == 1 else f"ȳ{i + 1}"
            step.inputs.append(self._operand(name, dy.array, None))
            step.arrivals.append(self.arrivals.pop((op, i), []))
        for i, edge, dx in self._of_inputs(op, pulled):
            name = barred(symbol(op, i))
            source = self.made_by.get(edge[0].number)
            label = self.names.get(edge[0], "") if isinstance(edge[0], Leaf) else ""
            value = take(dx.array, self.whole)
            step.outputs.append(Operand(name, value, label, source, edge[1], i))
            self._remember(dx.array, value, step.index, i)
            self._arrive(edge, Arrival(step.index, name, value), dx.array)
        if made is not None:
            self._second_opinion(op, step, made, gradients, pulled)

    def _of_inputs(self, op: Op, pulled: Sequence[tuple[Edge, Tensor]]) -> Iterator[tuple[int, Edge, Tensor]]:
        numbers = {id(edge): i for i, edge in enumerate(op.edges)}
        for edge, dx in pulled:
            yield numbers[id(edge)], edge, dx

    def _second_opinion(
        self, op: Op, step: Step, made: Step, gradients: Sequence[Tensor], pulled: Sequence[tuple[Edge, Tensor]]
    ) -> None:
        """Compare the rule with differences, and say how to run it again, where its inputs are still known."""
        recipe, references = self.forwards[made.index]
        kept = [operand.value.kept if operand.value.is_whole else None for operand in made.inputs]
        if all(array is not None for array in kept) and all(operand.value.is_whole for operand in step.inputs):
            step.again = replay.rule(recipe, current_backend(), made, step, tuple(map(bool, op.needed)))
        inputs = [ref() if array is None else array for array, ref in zip(kept, references, strict=True)]
        if has_terms(op.name):
            step.worked = work_out(made, step, inputs[:2], gradients[0].array)
        if not self.check_rules or op.name in differences.WITHOUT or made.flops > differences.MOST:
            return
        if all(isinstance(array, np.ndarray) for array in inputs):
            found = [(i, barred(symbol(op, i)), dx.array) for i, _, dx in self._of_inputs(op, pulled)]
            step.differences = differences.differences(recipe, inputs, [dy.array for dy in gradients], found)

    def _arrive(self, edge: Edge, arrival: Arrival, array: Array) -> None:
        node = edge[0]
        self.arrivals.setdefault(edge, []).append(arrival)
        if isinstance(node, Leaf):
            so_far = self.totals.get(node)
            self.totals[node] = array if so_far is None else so_far + array  # in the order of the walk, and so its bits

    def _rest(self, number: int) -> None:
        """The leaves that the walk has passed on its way down to this number: there the gradients come to rest."""
        for leaf in sorted((leaf for leaf in self.totals if leaf.number > number), key=_number, reverse=True):
            step = self._new(BACKWARD, "leaf", "", 0.0)
            value = take(self.totals.pop(leaf), self.whole)
            step.arrivals = [self.arrivals.pop((leaf, 0), [])]
            label = self.names.get(leaf, f"a leaf of shape {value.shape}")
            step.module = label.rpartition(".")[0] if label in self.modules.names.values() else ""
            step.inputs = [Operand("ḡ", value, label)]
            step.outputs = [Operand("grad", value, label)]

    # -- modules and updates ---------------------------------------------------------------------------------------
    def around_call(self, module: Module, forward: Callable[..., Any], *inputs: Any) -> Any:
        with self.modules.calling(module):
            return forward(*inputs)

    def around_update(
        self,
        optimizer: Optimizer,
        update: Callable[..., Any],
        param: Array,
        grad: Array,
        state: dict[str, Any],
        group: dict[str, Any],
    ) -> None:
        options = {name: group[name] for name in optimizer.defaults}
        slots = optimizer.slots(group)
        numbers = {name: state[name] for name in optimizer.numbers}
        before = [("θ", take(param, self.whole)), ("g", take(grad, self.whole))]
        before += [(name, take(state[name], self.whole)) for name in slots]
        self.usage.reset_peak()
        start = time.perf_counter()
        update(param, grad, state, group)
        step = self._new(UPDATE, type(optimizer).__name__, "", time.perf_counter() - start, type(optimizer))
        label = self.modules.names.get(id(param)) or self._leaf_name(optimizer, param)
        step.module = label.rpartition(".")[0]
        step.line = origin().line
        step.settings = {**options, "before": numbers, "after": {name: state[name] for name in optimizer.numbers}}
        step.inputs = [Operand(name, value, label) for name, value in before]
        step.outputs = [Operand("θ", take(param, self.whole), label)]
        step.outputs += [Operand(name, take(state[name], self.whole), label) for name in slots]
        if all(value.is_whole for _, value in before):
            step.again = replay.update(optimizer, step, options, numbers, slots)

    def _leaf_name(self, optimizer: Optimizer, param: Array) -> str:
        for group in optimizer.param_groups:
            for i, tensor in enumerate(group["params"]):
                if tensor.array is param:
                    node = tensor.node
                    known = self.names.get(node, "") if isinstance(node, Leaf) else ""
                    return (group["param_names"][i] if "param_names" in group else "") or known or f"parameter {i}"
        return "a parameter"

    def _new(self, phase: str, op: str, module: str, seconds: float, kind: type[Any] | None = None) -> Step:
        step = Step(len(self.run.steps), phase, op, module, kind=kind, seconds=seconds)
        step.live, step.peak = self.usage.allocated, self.usage.max_allocated
        self.run.steps.append(step)
        return step


def symbol(op: Op, i: int) -> str:
    """What the operation's formula calls its input."""
    name = op.contract.name_of(i)
    return dict(pair.split(": ") for pair in op.symbols.split(", ") if pair).get(name, name)


def barred(name: str) -> str:
    """The name of a gradient: x̄ of x, in the one way that formulas write it."""
    return unicodedata.normalize("NFC", f"{name}\u0304")


def _number(node: Node) -> int:
    return node.number


class _Modules:
    """Which module is being called, and what its network calls it; and the names of the network's arrays."""

    def __init__(self) -> None:
        self.paths: dict[int, str] = {}
        self.names: dict[int, str] = {}  # by id of the array
        self.roots: list[Module] = []  # held, so that ids stay theirs
        self.stack: list[str] = []

    @property
    def path(self) -> str:
        return self.stack[-1] if self.stack else ""

    @contextmanager
    def calling(self, module: Module) -> Iterator[None]:
        if id(module) not in self.paths:
            self._enter(module)
        elif not self.stack and any(module is root for root in self.roots):
            self._name_arrays(module)  # conversion to another dtype, or loading, may have given it other arrays
        self.stack.append(self.paths[id(module)])
        try:
            yield
        finally:
            self.stack.pop()

    def _enter(self, module: Module) -> None:
        above = f"{self.path}." if self.path else ""
        root = f"{above}{type(module).__name__}" if above or any(self.roots) else ""
        for name, part in module.named_modules(root):
            self.paths.setdefault(id(part), name or type(module).__name__)
        self.roots.append(module)
        self._name_arrays(module)

    def _name_arrays(self, module: Module) -> None:
        prefix = self.paths[id(module)]
        first = module is self.roots[0]
        for name, tensor in (*module.named_parameters(), *module.named_buffers()):
            self.names[id(tensor.array)] = name if first else f"{prefix}.{name}"
