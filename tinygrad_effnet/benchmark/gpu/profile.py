"""Where a training step's time goes on the card: every operation against the least that it can take there.

The least is the larger of two times: of moving its bytes (each operand read once, each result written once) at the rate
of a copy, and of its floating-point operations at the rate of a product of large matrices, both measured on this card
in this run. Times are those of events on the card. Before each measured step the card is given products that keep it
busy while the host queues the step, so that an operation's time is its kernels', and not the host's to launch them.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...backends.cupy.availability import require_device
from ...backends.cupy.launch import Kernel
from ..floors import PRODUCTS
from ..machine import Roofs
from ..profile import OPTIMIZER, Entry, Profile, Stopwatch, in_order, operations_into
from ..profile import as_document as plain_document
from ..settings import Settings
from ..tables import table
from . import card
from .ours import Ours

BETWEEN = "between operations"
STEPS, WARM_UPS = 3, 3
AHEAD = 1.5  # times the host's own time of a step, for which the card is kept busy
MOST_PRODUCTS = 100  # the card's queue has an end


@dataclass
class CardProfile:
    """A profile of training steps on the card.

    Attributes
    ----------
    found : Profile
        By operation, in seconds on the card.
    rates : card.Rates
    alone : float
        Seconds of a step as it is run, nothing noted and nothing queued before it.
    host : float
        Seconds that the host takes to queue one.
    """

    settings: Settings
    precision: str
    rates: card.Rates
    found: Profile
    alone: float = 0.0
    host: float = 0.0

    def floor(self, entry: Entry) -> float:
        """The least seconds of what an entry did."""
        rate = self.rates.product(self.precision if entry.name in PRODUCTS else "float32")
        return max(entry.bytes / self.rates.bandwidth, entry.flops / rate)


class CardStopwatch(Stopwatch):
    """Events on the card's current stream. ``launches`` are counted by `counting`."""

    def __init__(self, cupy: Any) -> None:
        self.cupy, self.launches = cupy, 0

    def now(self) -> Any:
        event = self.cupy.cuda.Event()
        event.record()
        return event

    def between(self, begin: Any, end: Any) -> float:
        end.synchronize()
        return float(self.cupy.cuda.get_elapsed_time(begin, end)) / 1e3

    def launched(self) -> int:
        return self.launches

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Count launches of our own kernels, and products, inside the block."""
        launch, product = Kernel.__call__, self.cupy.matmul

        def counted(function: Callable[..., Any]) -> Callable[..., Any]:
            def run(*arguments: Any, **options: Any) -> Any:
                self.launches += 1
                return function(*arguments, **options)

            return run

        try:
            setattr(Kernel, "__call__", counted(launch))  # noqa: B010 - for as long as the block lasts
            self.cupy.matmul = counted(product)
            yield
        finally:
            setattr(Kernel, "__call__", launch)  # noqa: B010
            self.cupy.matmul = product


def profile(
    settings: Settings,
    precision: str,
    steps: int = STEPS,
    rates_of: Callable[[list[str]], card.Rates] = card.measure,
    side: int = card.SIDE,
) -> CardProfile:
    """Profile training steps (forward, cross-entropy, backward, NAdam) in a precision, after some to warm up.

    ``side`` is that of the matrices whose products keep the card busy.
    """
    cupy = require_device("benchmark --profile")
    rates = rates_of(list(dict.fromkeys(["float32", precision])))
    roofs = Roofs(rates.product(precision), rates.bandwidth)
    made = CardProfile(settings, precision, rates, Profile(roofs))
    workload, stopwatch = Ours(settings, "training", precision), CardStopwatch(cupy)
    workload.wake()
    for _ in range(WARM_UPS):
        begin = time.perf_counter()
        result = workload.step()
        made.host = time.perf_counter() - begin
        workload.wait()
        made.alone = time.perf_counter() - begin
    workload.read(result)
    parameters = sum(parameter.array.nbytes for parameter in workload.model.parameters())
    busy = cupy.asarray(np.ones((side, side), np.float32))
    rate, multiply = rates.product("tf32" if precision == "tf32" else "float32"), cupy.matmul
    products = min(MOST_PRODUCTS, math.ceil(AHEAD * made.host * rate / (2 * side**3)))
    spans, updates = [], []
    update = workload.optimizer.step

    def timed_update() -> None:
        begin, launches = stopwatch.now(), stopwatch.launched()
        update()
        updates.append((begin, stopwatch.now(), stopwatch.launched() - launches))

    workload.optimizer.step = timed_update  # type: ignore[method-assign]
    with operations_into(made.found, stopwatch), stopwatch.counting():
        for _ in range(steps):
            for _ in range(products):
                multiply(busy, busy)
            begin = stopwatch.now()
            workload.step()
            spans.append((begin, stopwatch.now()))
    made.found.steps = steps
    made.found.seconds = sum(stopwatch.between(*span) for span in spans)
    for begin, end, launches in updates:
        # reads weight, gradient and two moments, writes weight and moments
        made.found.add(OPTIMIZER, [], stopwatch.between(begin, end), 0, 7 * parameters, launches)
    workload.rest()
    return made


def in_words(made: CardProfile, most: int = 12) -> str:
    """Tables: by operation, with what lies between them; and the ``most`` expensive ones by shape."""
    found, settings = made.found, made.settings
    head = ["floor, ms", "ms a step", "reaches", "share", "calls", "launches", "GFLOP/s", "GB/s", "of the roof"]
    by_shape = sorted(found.shapes.values(), key=lambda entry: -entry.seconds)[:most]
    floor = sum(made.floor(entry) for entry in found.entries.values()) / found.steps
    launches = sum(entry.launches for entry in found.entries.values()) // found.steps
    return "\n".join(
        [
            f"{settings.model.upper()}, {settings.size} px, batch {settings.batch}, {made.precision}",
            f"roofs: a product of large matrices {found.roofs.flops / 1e12:.3g} TFLOP/s "
            f"(float32: {made.rates.product('float32') / 1e12:.3g}), a copy {found.roofs.bandwidth / 1e9:,.0f} GB/s",
            f"the card takes {found.seconds / found.steps * 1e3:.2f} ms for a step where the host is ahead of it, at "
            f"the least {floor * 1e3:.2f} ms; {launches} launches of our kernels and products (CuPy's own not counted)",
            f"as it is run a step takes {made.alone * 1e3:.2f} ms, of which the host needs {made.host * 1e3:.2f} ms to "
            "queue it",
            "",
            table(["operation", *head], [_row(entry, made) for entry in in_order(found, BETWEEN)]),
            "",
            table([f"the {len(by_shape)} most expensive", *head], [_row(entry, made) for entry in by_shape]),
        ]
    )


def _row(entry: Entry, made: CardProfile) -> list[str]:
    found, floor = made.found, made.floor(entry)
    bandwidth = entry.bytes / entry.seconds if entry.seconds else 0.0
    return [
        entry.name,
        f"{floor / found.steps * 1e3:.3f}" if floor else "-",
        f"{entry.seconds / found.steps * 1e3:.3f}",
        f"{floor / entry.seconds:.0%}" if floor and entry.seconds else "-",
        f"{entry.seconds / found.seconds:.1%}",
        f"{entry.calls // found.steps}",
        f"{entry.launches // found.steps}" if entry.launches else "-",
        f"{entry.flops / entry.seconds / 1e9:,.0f}" if entry.flops and entry.seconds else "-",
        f"{bandwidth / 1e9:,.0f}" if entry.bytes else "-",
        f"{bandwidth / found.roofs.bandwidth:.0%}" if entry.bytes else "-",
    ]


def as_document(made: CardProfile) -> dict[str, Any]:
    """For JSON: as the host's, with the rates of the card and the floor of each operation, summed over ``steps``."""
    document = plain_document(made.found)
    floors = {name: made.floor(entry) for name, entry in made.found.entries.items()}
    return document | {
        "settings": made.settings._asdict(),
        "precision": made.precision,
        "rates": made.rates._asdict(),
        "floors": floors,
        "step_seconds": made.alone,
        "host_seconds": made.host,
    }
