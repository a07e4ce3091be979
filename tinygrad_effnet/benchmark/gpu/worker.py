"""The process of one entrant on a GPU: it prepares its workloads, then runs them when it is told to.

Requests and answers are those of `benchmark.worker`: a JSON object a line.
"""

from __future__ import annotations

import importlib
import math
import os
import sys
import time
from statistics import median
from typing import Any

from ..settings import Settings
from ..worker import serve
from .plan import Heat
from .workload import Workload

FILES = {"ours": "ours", "torch": "pytorch", "onnxruntime": "onnx_runtime"}
WARM_UPS = 2  # before each turn, whose first step finds an empty pool
MOST_STEPS = 2000


class Worker:
    """Answers requests; each public method is one kind of request, and its arguments are what the request says."""

    def __init__(self) -> None:
        self._ready: dict[Heat, Workload] = {}

    def prepare(self, kind: str, heat: list[Any], threads: int, options: dict[str, Any]) -> dict[str, Any]:
        """Build the workload and do some steps, so that what is compiled or tuned at first use is ready.

        Returns the seconds of the first of them, building included, and of the last.
        """
        key = Heat(*heat)
        begin = time.perf_counter()
        make = importlib.import_module(f".{FILES[kind]}", __package__).prepare
        workload: Workload = make(key.settings(threads), key.task, key.precision, **options)
        try:
            workload.wake()
            _checked(workload, workload.step())
            first = time.perf_counter() - begin
            last = [_block(workload, 1) for _ in range(WARM_UPS)][-1]
        finally:
            workload.rest()
        self._ready[key] = workload
        return {"first": first, "last": last}

    def run(self, heat: list[Any], seconds: float) -> dict[str, Any]:
        """A turn of so many seconds. Returns those of a step, how many steps there were, and bytes that were held."""
        key = Heat(*heat)
        workload = self._ready[key]
        try:
            workload.wake()
            last = [_block(workload, 1) for _ in range(WARM_UPS)][-1]
            steps = min(max(round(seconds / max(last, 1e-6)), 1), MOST_STEPS)
            if key.is_latency:
                step = median(_block(workload, 1) for _ in range(steps))
            else:
                step = _block(workload, steps) / steps
            held = workload.held()
        finally:
            workload.rest()
        return {"step": step, "steps": steps, "held": held}

    def card(self, precisions: list[str]) -> dict[str, Any]:
        """What the card is, and the rates that it was seen to reach."""
        from . import card

        return card.describe() | {"rates": card.measure(precisions)._asdict()}

    def epoch(self, precision: str, images: int, size: int, batch: int, threads: int) -> dict[str, Any]:
        from . import epoch

        return epoch.measure(precision, images, size, batch, threads)._asdict()

    def check(self, settings: list[Any]) -> dict[str, Any]:
        from .. import pytorch

        return dict(pytorch.check(Settings(*settings)))


def _block(workload: Workload, steps: int) -> float:
    """Seconds of so many steps, the last of which is waited for."""
    workload.wait()
    begin = time.perf_counter()
    for _ in range(steps):
        result = workload.step()
    workload.wait()
    seconds = time.perf_counter() - begin
    _checked(workload, result)
    return seconds


def _checked(workload: Workload, result: Any) -> None:
    value = workload.read(result)
    if not math.isfinite(value):
        raise ArithmeticError(f"a step gave {value}: the time of a network that overflows says nothing")


if __name__ == "__main__":
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    serve(sys.stdin, answers, Worker())
