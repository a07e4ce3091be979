"""Where a training step's time goes: every operation against what this machine can do at most.

Floating-point operations come from the operations' own cost (`Op.flops`); bytes are the least that must move: each
operand read once and each result written once, nothing for a view. An operation far below both roofs wastes time
somewhere; one at the roof of bandwidth gets faster only by moving less, that is, by being fused with its neighbours.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass, field
from functools import wraps
from typing import Any

from .. import ops, optim
from ..backends import set_num_threads
from ..op import Op, around_rules, registry, watch
from ..tensor import Tensor, from_numpy
from ..versions import owner_of
from . import ours
from .machine import Roofs, roofs
from .settings import Settings
from .tables import table

BACKWARD = " backward"  # after the name of an operation whose rule computes by itself
SMALL = 0.001  # share of the time below which an operation is counted among the others
OPTIMIZER, REST = "optimizer step", "tape, modules, Python"


@dataclass
class Entry:
    """What one kind of operation took, summed over all measured steps."""

    name: str
    calls: int = 0
    seconds: float = 0.0
    flops: int = 0
    bytes: int = 0
    launches: int = 0  # of kernels, where a stopwatch counts them

    def add(self, seconds: float, flops: int, size: int, launches: int = 0) -> None:
        self.calls += 1
        self.seconds += seconds
        self.flops += flops
        self.bytes += size
        self.launches += launches


@dataclass
class Profile:
    """A profile of ``steps`` training steps, which took ``seconds`` in all."""

    roofs: Roofs
    steps: int = 0
    seconds: float = 0.0
    entries: dict[str, Entry] = field(default_factory=dict)  # by operation
    shapes: dict[str, Entry] = field(default_factory=dict)  # by operation and shapes

    @property
    def covered(self) -> float:
        """Share of the time that was spent in operations and the optimiser."""
        return sum(entry.seconds for entry in self.entries.values()) / self.seconds

    def add(
        self,
        name: str,
        shapes: Sequence[tuple[int, ...]],
        seconds: float,
        flops: int,
        size: int,
        launches: int = 0,
    ) -> None:
        label = f"{name} {' '.join('x'.join(map(str, shape)) for shape in shapes if len(shape) > 1)}".rstrip()
        for entries, key in ((self.entries, name), (self.shapes, label)):
            entries.setdefault(key, Entry(key)).add(seconds, flops, size, launches)


class Stopwatch:
    """Tells moments, and the seconds from one to another, by the host's clock; that of a GPU is in gpu/profile.py."""

    def now(self) -> Any:
        return time.perf_counter()

    def between(self, begin: Any, end: Any) -> float:
        return float(end - begin)

    def launched(self) -> int:
        """Kernels launched so far; 0 where nobody counts."""
        return 0


def profile(
    settings: Settings, steps: int = 3, backend: str = "numba", roofs_of: Callable[[], Roofs] = roofs
) -> Profile:
    """Profile training steps of the network (forward, cross-entropy, backward, NAdam), after two to warm up."""
    with ours.backends.use_backend(backend):
        if backend == "numba":
            set_num_threads(settings.threads)
        found = Profile(roofs_of())
        model = ours.build(settings).train()
        optimizer = optim.NAdam(model.parameters(), lr=1e-3)
        images, labels = from_numpy(settings.images()), settings.labels()
        parameters = sum(parameter.array.nbytes for parameter in model.parameters())

        def step() -> float:
            optimizer.zero_grad()
            ops.cross_entropy(model(images), labels).backward()
            begin = time.perf_counter()
            optimizer.step()
            return time.perf_counter() - begin

        step(), step()
        with operations_into(found):
            for _ in range(steps):
                begin = time.perf_counter()
                optimising = step()
                found.seconds += time.perf_counter() - begin
                # reads weight, gradient and two moments, writes weight and moments
                found.add(OPTIMIZER, [], optimising, 0, 7 * parameters)
        found.steps = steps
        # a shared machine has better moments and worse ones: before and after, the better counts
        before, after = found.roofs, roofs_of()
        found.roofs = Roofs(max(before.flops, after.flops), max(before.bandwidth, after.bandwidth))
        return found


@contextmanager
def operations_into(found: Profile, stopwatch: Stopwatch | None = None) -> Iterator[None]:
    """Note every operation that runs inside the block, and every rule that computes without operations, at its end."""
    clock = _Clock(stopwatch or Stopwatch())
    with watch(clock.forward_done), around_rules(clock.rule), _timed_forwards(clock):
        yield
    clock.report(found)


class _Span:
    """From one moment to another, and what was launched in between."""

    __slots__ = ("begin", "end", "launches")

    def __init__(self, stopwatch: Stopwatch) -> None:
        self.launches, self.begin = -stopwatch.launched(), stopwatch.now()
        self.end: Any = None

    def close(self, stopwatch: Stopwatch) -> None:
        self.end = stopwatch.now()
        self.launches += stopwatch.launched()


class _Clock:
    """Puts the span of each forward together with its cost, which is known when the operation is over."""

    def __init__(self, stopwatch: Stopwatch) -> None:
        self.stopwatch = stopwatch
        self.last = _Span(stopwatch)  # of the forward that was just run
        self.inside = 0  # how many operations were seen so far: a rule that made none computed by itself
        self.noted: list[tuple[str, list[tuple[int, ...]], _Span, int, int]] = []

    def report(self, found: Profile) -> None:
        """What was noted; only now, for reading a clock may mean waiting."""
        for name, shapes, span, flops, size in self.noted:
            found.add(name, shapes, self.stopwatch.between(span.begin, span.end), flops, size, span.launches)

    def forward_done(self, op: Op, inputs: Sequence[Any], outputs: Sequence[Any]) -> None:
        self.inside += 1
        flops = op.flops([x.shape for x in inputs], [y.shape for y in outputs])
        self.noted.append((op.name, [x.shape for x in inputs], self.last, flops, traffic(inputs, outputs)))

    def rule(self, op: Op, rule: Callable[..., Any], *gradients: Tensor) -> Any:
        before, held = self.inside, op.held
        span = _Span(self.stopwatch)
        result = rule(*gradients)
        span.close(self.stopwatch)
        made = [t.array for t in (result if isinstance(result, tuple) else (result,)) if t is not None]
        given = [*held, *[gradient.array for gradient in gradients]]
        if self.inside == before and (moved := traffic(given, made)):
            # its cost is not stated anywhere: as a convolution's, that of two gradients is taken as twice the result's
            flops = 2 * op.flops([x.shape for x in held], [shape for shape, _ in op.outputs])
            self.noted.append((op.name + BACKWARD, [x.shape for x in held], span, flops, moved))
        return result


@contextmanager
def _timed_forwards(clock: _Clock) -> Iterator[None]:
    """Have each operation's forward leave its span with the clock."""

    def timed(forward: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(forward)
        def run(*arguments: Any) -> Any:
            span = _Span(clock.stopwatch)
            result = forward(*arguments)
            span.close(clock.stopwatch)
            clock.last = span
            return result

        return run

    before = {op: op.__dict__.get("forward") for op in registry.values()}
    replacements = {op: timed(op.forward) for op in before}
    try:
        for op, replacement in replacements.items():
            setattr(op, "forward", replacement)  # noqa: B010 - a class's method, for as long as the block lasts
        yield
    finally:
        for op, own in before.items():
            if own is None:
                delattr(op, "forward")
            else:
                setattr(op, "forward", own)  # noqa: B010


def traffic(inputs: Sequence[Any], outputs: Sequence[Any]) -> int:
    """Bytes that must move at the least; what is repeated by a stride of 0 lies there once."""
    sources = {id(owner_of(x)) for x in inputs}
    results = {id(owner): y for y in outputs if id(owner := owner_of(y)) not in sources}
    if not results:
        return 0
    operands = {id(x): x for x in inputs}.values()
    return sum(_bytes(array) for array in [*operands, *results.values()])


def _bytes(array: Any) -> int:
    size = array.itemsize
    for length, stride in zip(array.shape, array.strides, strict=True):
        size *= length if stride else 1
    return size


def in_order(found: Profile, rest: str = REST) -> list[Entry]:
    """The entries, the longest first: those that matter, the others together, and ``rest``, the time between them."""
    between = Entry(rest, 0, found.seconds * (1 - found.covered))
    large = [entry for entry in found.entries.values() if entry.seconds >= SMALL * found.seconds]
    small = [entry for entry in found.entries.values() if entry.seconds < SMALL * found.seconds]
    others = Entry(
        f"{len(small)} others", *[sum(values) for values in zip(*[astuple(e)[1:] for e in small], strict=True)]
    )
    order = sorted([*large, *([others] if small else []), between], key=lambda entry: -entry.seconds)
    return [entry for entry in order if entry.seconds > 0]


def in_words(found: Profile, most: int = 12) -> str:
    """Tables: by operation, with what is left of the step; and the ``most`` expensive ones by shape."""
    head = ["ms a step", "share", "calls", "GFLOP/s", "of the roof", "GB/s", "of the roof"]
    by_shape = sorted(found.shapes.values(), key=lambda entry: -entry.seconds)[:most]
    return "\n".join(
        [
            f"roofs: a product of large matrices {found.roofs.flops / 1e9:.0f} GFLOP/s, "
            f"an addition of large arrays {found.roofs.bandwidth / 1e9:.1f} GB/s",
            f"a step takes {found.seconds / found.steps * 1e3:.1f} ms, "
            f"of which operations and optimiser cover {found.covered:.1%}",
            "",
            table(["operation", *head], [_row(entry, found) for entry in in_order(found)]),
            "",
            table([f"the {len(by_shape)} most expensive", *head], [_row(entry, found) for entry in by_shape]),
        ]
    )


def _row(entry: Entry, found: Profile) -> list[str]:
    flops, bandwidth = entry.flops / entry.seconds, entry.bytes / entry.seconds
    return [
        entry.name,
        f"{entry.seconds / found.steps * 1e3:.2f}",
        f"{entry.seconds / found.seconds:.1%}",
        f"{entry.calls // found.steps}",
        f"{flops / 1e9:.1f}" if entry.flops else "-",
        f"{flops / found.roofs.flops:.0%}" if entry.flops else "-",
        f"{bandwidth / 1e9:.1f}" if entry.bytes else "-",
        f"{bandwidth / found.roofs.bandwidth:.0%}" if entry.bytes else "-",
    ]


def as_document(found: Profile) -> dict[str, Any]:
    """For JSON: roofs, and the entries by operation, summed over ``steps`` steps."""
    return {
        "steps": found.steps,
        "seconds": found.seconds,
        "covered": found.covered,
        "roofs": found.roofs._asdict(),
        "operations": [vars(entry) for entry in found.entries.values()],
        "shapes": [vars(entry) for entry in found.shapes.values()],
    }
