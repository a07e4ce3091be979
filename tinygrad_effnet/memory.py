"""Where the memory goes: what a tape holds, what operations have alive, what the process takes.

Three views, from the nearest to the farthest:

* `report` reads a tape: the bytes that each operation saved for the backward pass, by operation and by module;
* `track` watches a block of code: bytes of results that are alive, the most there were, and whose they were then;
* `resident` and `peak` ask the system, which also sees what kernels take for themselves and what is kept for reuse.

Nothing here costs anything while it is not used. Arrays on a device are counted alike by the first two.
"""

from __future__ import annotations

import sys
import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import RLock
from typing import Any, NamedTuple, Protocol

from .op import Op, around_rules, watch
from .tape import Leaf, Node
from .tensor import Tensor
from .versions import owner_of

__all__ = ["Report", "Row", "Usage", "peak", "report", "reset_peak", "resident", "track"]


class _HasParameters(Protocol):
    def named_parameters(self) -> Iterator[tuple[str, Any]]: ...


class Row(NamedTuple):
    """One line of a `Report`: an operation or a module, how many nodes of the tape, and the bytes they hold."""

    name: str
    nodes: int
    bytes: int


class Report(NamedTuple):
    """What a tape holds: bytes in all, and by operation and module, the largest first. ``print`` it for the table."""

    bytes: int  # memory that several operations saved is counted once, for the one that saved it first
    nodes: int  # operations on the tape
    by_op: list[Row]
    by_module: list[Row]  # empty where no module was given

    def __str__(self) -> str:
        lines = [f"the tape holds {_in_words(self.bytes)} in {self.nodes} operations"]
        for title, rows in (("operation", self.by_op), ("module", self.by_module)):
            if rows:
                width = max(len(title), *[len(row.name) for row in rows])
                lines += ["", f"{title:<{width}}  {'uses':>5}  {'held':>10}  share"]
                lines += [
                    f"{row.name:<{width}}  {row.nodes:>5}  {_in_words(row.bytes):>10}  "
                    f"{row.bytes / max(self.bytes, 1):>5.1%}"
                    for row in rows
                ]
        return "\n".join(lines)


def report(
    outputs: Tensor | Sequence[Tensor], module: _HasParameters | None = None, depth: int | None = None
) -> Report:
    """What the tape that led to ``outputs`` holds for the backward pass.

    Parameters
    ----------
    outputs : Tensor or sequence of Tensor
        Results whose tape is read; after a backward pass that freed it, it holds nothing.
    module : Module, optional
        Names the modules: an operation belongs to the module whose parameters it uses, or, if it uses none, to that of
        the operation before it.
    depth : int, optional
        Cut module names to so many parts: with 1, ``stages.0.1.norm`` counts for ``stages``.

    Notes
    -----
    The arrays of parameters are not counted: they are the module's own, whether there is a tape or not. What the first
    operation saves of the network's input is counted, since the tape keeps it alive.
    """
    nodes = _nodes([outputs] if isinstance(outputs, Tensor) else outputs)
    seen = {id(owner_of(tensor.array)) for node in nodes if (tensor := _leaf_tensor(node)) is not None}
    operations = [node for node in nodes if isinstance(node, Op)]
    modules = _modules_of(operations, module, depth) if module is not None else None
    held: Counter[str] = Counter()
    held_by_module: Counter[str] = Counter()
    for i, node in enumerate(operations):
        new = {id(owner): owner.nbytes for array in _arrays(vars(node)) if id(owner := owner_of(array)) not in seen}
        seen.update(new)
        held[node.name] += sum(new.values())
        if modules is not None:
            held_by_module[modules[i]] += sum(new.values())
    return Report(
        sum(held.values()),
        len(operations),
        _rows(held, Counter(node.name for node in operations)),
        _rows(held_by_module, Counter(modules)) if modules is not None else [],
    )


def _nodes(outputs: Sequence[Tensor]) -> list[Node]:
    """Every node that the outputs depend on, in the order in which they were made."""
    found: set[Node] = set()
    stack = [output.node for output in outputs if output.node is not None]
    while stack:
        node = stack.pop()
        if node not in found:
            found.add(node)
            stack.extend(edge[0] for edge in node.edges if edge is not None)
    return sorted(found, key=lambda node: node.number)


def _leaf_tensor(node: Node) -> Tensor | None:
    return node.retained[0]() if type(node) is Leaf and node.retained else None


def _modules_of(operations: Sequence[Op], module: _HasParameters, depth: int | None) -> list[str]:
    owners = {id(parameter): name.rpartition(".")[0] for name, parameter in module.named_parameters()}
    names, last = [], "(before any parameter)"
    for node in operations:
        tensors = [_leaf_tensor(edge[0]) for edge in node.edges if edge is not None]
        own = [owners[id(tensor)] for tensor in tensors if id(tensor) in owners]
        if own:
            last = ".".join(own[0].split(".")[:depth]) or "(the module itself)"
        names.append(last)
    return names


def _arrays(value: Any) -> Iterator[Any]:
    """The arrays among a node's attributes: what it saved, and what else it computed and kept."""
    if isinstance(value, dict):
        value = tuple(value.values())
    if isinstance(value, (tuple, list)):
        for part in value:
            yield from _arrays(part)
    elif hasattr(value, "nbytes") and hasattr(value, "strides"):
        yield value


def _rows(held: Counter[str], uses: Counter[str]) -> list[Row]:
    rows = [Row(name, count, held[name]) for name, count in uses.items()]
    return sorted(rows, key=lambda row: (-row.bytes, row.name))


# -- results that are alive ----------------------------------------------------------------------------------------


class Usage:
    """Bytes of the results of operations, counted while a `track` block runs.

    Attributes
    ----------
    allocated : int
        Bytes alive now. Views share memory and are counted once.
    max_allocated : int
        The most there were at any time.
    at_peak : dict of str to int
        Whose results were alive at that time, in bytes by operation.
    """

    def __init__(self) -> None:
        self.allocated = self.max_allocated = 0
        self.at_peak: dict[str, int] = {}
        self._alive: Counter[str] = Counter()
        self._known: dict[int, weakref.ref[Any]] = {}
        self._lock = RLock()  # the death of an array may come in the middle of counting another

    def reset_peak(self) -> None:
        """Count the peak from what is alive now."""
        with self._lock:
            self._note_peak()

    def _count_results(self, op: Op, inputs: Sequence[Any], outputs: Sequence[Any]) -> None:
        self._count(op.name, inputs, outputs)

    def _count_rule(self, op: Op, rule: Callable[..., Any], *gradients: Tensor) -> Any:
        """Run a rule; what it computed without operations, as fused ones do, is counted for it."""
        result = rule(*gradients)
        made = [t.array for t in (result if isinstance(result, tuple) else (result,)) if t is not None]
        self._count(f"{op.name} backward", [*op.held, *[gradient.array for gradient in gradients]], made)
        return result

    def _count(self, name: str, given: Sequence[Any], made: Sequence[Any]) -> None:
        with self._lock:
            own = {id(owner_of(x)) for x in given}  # a view of what was given is nothing new, whoever made that
            for owner in map(owner_of, made):
                if id(owner) not in own and id(owner) not in self._known:
                    self._add(name, owner)
            if self.allocated > self.max_allocated:
                self._note_peak()

    def _add(self, name: str, owner: Any) -> None:
        key, size = id(owner), owner.nbytes

        def died(_: weakref.ref[Any]) -> None:
            with self._lock:
                del self._known[key]
                self._alive[name] -= size
                self.allocated -= size

        self._known[key] = weakref.ref(owner, died)
        self._alive[name] += size
        self.allocated += size

    def _note_peak(self) -> None:
        self.max_allocated = self.allocated
        self.at_peak = {name: size for name, size in self._alive.most_common() if size > 0}

    def __str__(self) -> str:
        peak = ", ".join(f"{name} {_in_words(size)}" for name, size in self.at_peak.items())
        return f"{_in_words(self.allocated)} alive, {_in_words(self.max_allocated)} at the peak: {peak or 'nothing'}"


@contextmanager
def track() -> Iterator[Usage]:
    """Count the memory of all results that operations make inside the block, forward and backward, in any thread.

    Not counted are: what was alive before, what a kernel takes and frees while it runs, and the copies in which
    parameters collect their gradients (`peak` sees all of these).

    Examples
    --------
    >>> import tinygrad_effnet as tg
    >>> x = tg.Tensor([1.0, 2.0])
    >>> with track() as usage:
    ...     y = (x + 1.0) * x  # the sum dies as soon as the product is there
    >>> usage.allocated, usage.max_allocated
    (8, 16)
    """
    usage = Usage()
    with watch(usage._count_results), around_rules(usage._count_rule):
        yield usage


# -- the process ---------------------------------------------------------------------------------------------------


def resident() -> int:
    """Bytes of memory that the process has now, whoever in it took them.

    Raises
    ------
    NotImplementedError
        The system does not tell (it does on Linux).
    """
    return _status("VmRSS")


def peak() -> int:
    """The most bytes of memory that the process had at any time since its start, or since `reset_peak`."""
    if sys.platform == "linux":
        return _status("VmHWM")
    try:
        import resource
    except ImportError:
        raise NotImplementedError(f"peak(): {sys.platform} does not tell a process its memory") from None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def reset_peak() -> None:
    """Count `peak` from what the process has now.

    Raises
    ------
    NotImplementedError
        The system cannot forget a peak (Linux can, where ``/proc/self/clear_refs`` may be written).
    """
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError as error:
        raise NotImplementedError(f"reset_peak(): the system does not allow it here ({error})") from None


def _status(field: str) -> int:
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        raise NotImplementedError(f"resident(): {sys.platform} does not tell a process its memory") from None
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:")) * 1024


def _in_words(size: int) -> str:
    amount = float(size)
    for unit in ("B", "kB", "MB", "GB"):  # powers of 1000, as on a disk's label
        if amount < 1000 or unit == "GB":
            break
        amount /= 1000
    return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.3g} {unit}"
