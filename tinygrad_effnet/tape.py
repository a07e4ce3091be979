"""The tape: what was computed, and the walk backwards over it.

Every recorded use of an operation is a `Node`. A tensor points to the node that made it, a node points to the nodes
that made its inputs, and nothing points forward: the tape is held by the results computed on it and dies with them.

Nodes are numbered as they are made, so a node's number is larger than those of all it depends on. The walk needs no
more than that: always take the waiting node with the largest number. When its turn comes, everything that used its
output has been visited, so its gradient is complete. There is no recursion, and each node is visited once.
"""

from __future__ import annotations

import itertools
import threading
import weakref
from collections.abc import Callable, Sequence
from contextlib import ContextDecorator
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any

from .hooks import Hooks

if TYPE_CHECKING:
    from .tensor import Tensor

Edge = tuple["Node", int]  # a node, and which of its outputs

next_number = itertools.count().__next__
around_walks = Hooks()  # around(walk, outputs, gradients, ...) runs every walk, and returns what it returns


class Node:
    """One entry of the tape: where a gradient arrives, and where it is passed on.

    Attributes
    ----------
    number : int
        Larger than the number of every node that this one depends on.
    edges : tuple of (Node, int) or None
        For each input, which output of which node it is; None for an input that needs no gradient.
    outputs : tuple of (shape, dtype)
        Of each output, and so of the gradient that arrives for it.
    """

    name = "node"
    number: int
    edges: tuple[Edge | None, ...] = ()
    outputs: tuple[tuple[tuple[int, ...], Any], ...] = ()
    needed: tuple[Any, ...] = ()  # for each input: its edge, where the walk under way follows that, or None
    held: tuple[Any, ...] = ()  # arrays that the rule will need
    released = False
    hooks: dict[int, list[Callable[[Tensor], Tensor | None]]] | None = None
    retained: dict[int, weakref.ref[Tensor]] | None = None

    def pull(self, gradients: list[Tensor | None]) -> list[tuple[Edge, Tensor]]:
        """Gradients of the outputs in, gradients of the inputs that need one out, each with where it goes."""
        raise TypeError(f"{type(self).__name__} has no inputs")

    def release(self) -> None:
        """Forget what only another walk would need."""
        self.edges = self.held = ()
        self.released = True

    def where(self) -> str:
        """File and line of the user's code that made this node."""
        return "an unknown line"

    def __repr__(self) -> str:
        return f"<{self.name} made at {self.where()}>"


class Leaf(Node):
    """Where gradients come to rest: a tensor that the user made with ``requires_grad=True``."""

    name = "leaf"

    def __init__(self, tensor: Tensor) -> None:
        self.number = next_number()
        self.outputs = ((tensor.shape, tensor.dtype),)
        self.retained = {0: weakref.ref(tensor)}  # weak: the tensor holds its leaf, and a cycle would outlive both


class _Mode(threading.local):
    recording = True


_mode = _Mode()


def is_grad_enabled() -> bool:
    """True where operations are recorded (in this thread)."""
    return _mode.recording


class _set_recording(ContextDecorator):  # noqa: N801
    recording: bool

    def __init__(self) -> None:
        self._before: list[bool] = []

    def _recreate_cm(self) -> _set_recording:
        return type(self)()  # a decorated function may run in several threads at once

    def __enter__(self) -> None:
        self._before.append(_mode.recording)
        _mode.recording = self.recording

    def __exit__(self, *error: object) -> None:
        _mode.recording = self._before.pop()


class no_grad(_set_recording):  # noqa: N801 - the field's name for it
    """Record nothing: ``with no_grad():`` for a block, ``@no_grad()`` for a function. Holds for this thread."""

    recording = False


class enable_grad(_set_recording):  # noqa: N801
    """Record again inside a `no_grad` block."""

    recording = True


def backward(
    outputs: Sequence[Tensor],
    gradients: Sequence[Tensor],
    *,
    retain_graph: bool = False,
    create_graph: bool = False,
) -> None:
    """Add the gradient of ``sum(outputs * gradients)`` to ``.grad`` of every leaf behind it; of none where it raises.

    Parameters
    ----------
    outputs, gradients : tensors, pairwise of one shape
    retain_graph : bool
        Keep what the tape saved, so that it can be walked again. Otherwise a second walk is an error.
    create_graph : bool
        Record the walk itself, so that the gradients can be differentiated in turn.
    """
    walk = around_walks.bind(_walk) if around_walks else _walk
    found = walk(outputs, gradients, None, retain_graph or create_graph, create_graph)
    with enable_grad() if create_graph else no_grad():
        for (node, index), total in found.items():  # only now: a walk that fails on its way has changed no .grad
            reference = node.retained.get(index) if node.retained else None
            if reference is not None and (tensor := reference()) is not None:
                tensor.accumulate_grad(total)


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Tensor | Sequence[Tensor] | None = None,
    *,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool = False,
) -> tuple[Tensor | None, ...]:
    """Gradients of ``sum(outputs * grad_outputs)`` with respect to ``inputs``, leaving every ``.grad`` alone.

    Parameters
    ----------
    outputs, inputs : Tensor or sequence of Tensor
        ``inputs`` may be leaves or results on the way.
    grad_outputs : Tensor or sequence of Tensor, optional
        One for each output, of its shape; may be left out for outputs of a single number.
    retain_graph, create_graph : bool
        As in `backward`; ``retain_graph`` defaults to ``create_graph``.
    allow_unused : bool
        Give None, rather than an error, for an input that the outputs do not depend on.

    Returns
    -------
    tuple of Tensor
        One for each input, of its shape and dtype.

    Raises
    ------
    ValueError
        Shapes differ, a gradient is missing, or an input was not used.
    """
    outputs, inputs = _as_list(outputs), _as_list(inputs)
    given = [None] * len(outputs) if grad_outputs is None else _as_list(grad_outputs)
    if len(given) != len(outputs):
        raise ValueError(f"grad(grad_outputs): {len(given)} gradients for {len(outputs)} outputs; give one for each")
    seeds = [output.seed_gradient(g) for output, g in zip(outputs, given, strict=True)]
    for i, tensor in enumerate(inputs):
        if tensor.node is None:
            raise ValueError(f"grad(inputs): inputs[{i}] does not require a gradient; make it with requires_grad=True")
    wanted = [(tensor.node, tensor.index) for tensor in inputs]
    retain_graph = create_graph if retain_graph is None else retain_graph
    walk = around_walks.bind(_walk) if around_walks else _walk
    found = walk(outputs, seeds, wanted, retain_graph, create_graph)
    for i, edge in enumerate(wanted):
        if edge not in found and not allow_unused:
            raise ValueError(
                f"grad(inputs): the outputs do not depend on inputs[{i}]; "
                "leave it out, or pass allow_unused=True to receive None for it"
            )
    return tuple(found.get(edge) for edge in wanted)


def _walk(
    outputs: Sequence[Tensor],
    gradients: Sequence[Tensor],
    wanted: Sequence[Edge] | None,
    retain_graph: bool,
    create_graph: bool,
) -> dict[Edge, Tensor]:
    """Pass gradients from the outputs back to all that keeps one, or only to what is ``wanted``; return those."""
    seeds = [((y.node, y.index), dy) for y, dy in zip(outputs, gradients, strict=True) if y.node is not None]
    asked = set(wanted or ())
    useful = None if wanted is None else _leading_to({node for node, _ in asked}, [node for (node, _), _ in seeds])
    found: dict[Edge, Tensor] = {}
    arrived: dict[Node, list[Tensor | None]] = {}  # gradients so far, of each output of each waiting node
    owned: set[Edge] = set()  # sums of our own making, which may be added to in place
    waiting: list[tuple[int, Node]] = []  # heap: largest number first

    def deliver(edge: Edge, gradient: Tensor) -> None:
        node, index = edge
        totals = arrived.get(node)
        if totals is None:
            totals = arrived[node] = [None] * len(node.outputs)
            heappush(waiting, (-node.number, node))
        so_far = totals[index]
        if so_far is None:
            totals[index] = gradient  # borrowed: others may hold the same array
        elif edge in owned:
            so_far.array += gradient.array
        else:
            totals[index] = so_far + gradient
            if not create_graph:
                owned.add(edge)

    with enable_grad() if create_graph else no_grad():
        for edge, dy in seeds:
            if useful is None or edge[0] in useful:
                deliver(edge, dy)
        while waiting:
            node = heappop(waiting)[1]
            totals = arrived.pop(node)  # complete: whatever used this node's outputs has a larger number
            if node.hooks:
                _call_hooks(node, totals)
            if wanted is not None or node.retained:
                for i, total in enumerate(totals):
                    if total is not None and (wanted is None or (node, i) in asked):
                        found[node, i] = total
            if type(node) is Leaf:
                continue
            if useful is None:
                _refuse_released(node)
            edges = node.edges
            node.needed = edges if useful is None else tuple([e if e and e[0] in useful else None for e in edges])
            if not any(node.needed):  # wanted itself, and nothing beyond it
                continue
            for edge, dx in node.pull(totals):
                deliver(edge, dx)
            if not retain_graph:
                node.release()
    return found


def _leading_to(targets: set[Node], roots: Sequence[Node]) -> set[Node]:
    """The nodes between roots and targets: those reachable from a root from which a target can be reached."""
    reachable: set[Node] = set()
    stack = list(roots)
    while stack:
        node = stack.pop()
        if node not in reachable:
            if {node} != targets:  # what lies beyond the only target does not matter
                _refuse_released(node)
            reachable.add(node)
            stack.extend(edge[0] for edge in node.edges if edge is not None)
    useful = targets & reachable
    for node in sorted(reachable, key=lambda node: node.number):  # inputs before what uses them
        if any(edge is not None and edge[0] in useful for edge in node.edges):
            useful.add(node)
    return useful


def _refuse_released(node: Node) -> None:
    if node.released:
        raise RuntimeError(
            f"backward reached {node.name} (made at {node.where()}) a second time, after its saved arrays were freed. "
            "Pass retain_graph=True to the first backward, or compute the result anew."
        )


def _call_hooks(node: Node, totals: list[Tensor | None]) -> None:
    for index, hooks in (node.hooks or {}).items():
        for hook in tuple(hooks):
            total = totals[index]
            replacement = None if total is None else hook(total)
            if total is not None and replacement is not None:
                totals[index] = total.seed_gradient(replacement, f"hook of {node.name} (made at {node.where()})")


def _as_list(tensors: Any) -> list[Any]:
    return list(tensors) if isinstance(tensors, (list, tuple)) else [tensors]
