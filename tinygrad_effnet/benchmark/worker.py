"""The process of one contestant: it prepares the workload, then runs steps when it is told to.

It reads a JSON object a line from standard input and answers each with one on what was standard output when it
started; whatever a library prints goes to standard error.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Callable
from typing import Any, TextIO

from .. import memory
from .settings import Settings


class Worker:
    """Answers requests; each public method is one kind of request, and its arguments are what the request says."""

    def __init__(self) -> None:
        self._step: Callable[[], float] | None = None
        self._steps = self._faults = 0
        self._before = self._first_peak = 0

    def prepare(
        self, kind: str, settings: list[Any], task: str, options: dict[str, Any], warm_ups: int = 2
    ) -> dict[str, Any]:
        """Build everything and do some steps, so that what is compiled or tuned at first use is ready.

        Returns the seconds of the first and of the last of them.
        """
        prepare = _preparer(kind)
        self._before = _told(memory.resident)
        self._step = prepare(Settings(*settings), task, **options)
        seconds = [self._timed() for _ in range(warm_ups)] or [0.0]
        self._first_peak = _told(memory.peak)
        _told(memory.reset_peak)
        return {"first": seconds[0], "last": seconds[-1]}

    def run(self, steps: int, warm_up: bool) -> dict[str, Any]:
        """The seconds of each of so many steps, after one that is not counted where ``warm_up`` is asked for."""
        if warm_up:
            self._timed()
        faults = _page_faults()
        seconds = [self._timed() for _ in range(steps)]
        self._faults += _page_faults() - faults
        self._steps += steps
        return {"seconds": seconds}

    def memory(self) -> dict[str, Any]:
        """Bytes: before the network was built, the peak of all measured steps, the peak with all that came before."""
        steps = _told(memory.peak)
        return {
            "before": self._before,
            "peak": steps,
            "peak_with_start": max(steps, self._first_peak),
            "page_faults_per_step": self._faults / max(self._steps, 1),
        }

    def check(self, settings: list[Any]) -> dict[str, Any]:
        from . import pytorch

        return dict(pytorch.check(Settings(*settings)))

    def export(self, settings: list[Any], file: str) -> dict[str, Any]:
        from . import onnx_runtime

        onnx_runtime.export(Settings(*settings), file)
        return {}

    def _timed(self) -> float:
        begin = time.perf_counter()
        self._checked()
        return time.perf_counter() - begin

    def _checked(self) -> None:
        if self._step is None:
            raise RuntimeError("run: nothing is prepared; send prepare first")
        value = self._step()
        if not math.isfinite(value):
            raise ArithmeticError(f"a step gave {value}: the time of a network that overflows says nothing")


def _preparer(kind: str) -> Callable[..., Callable[[], float]]:
    if kind == "ours":
        from . import ours

        return ours.prepare
    # The others' processes build the network of this package to take its weights. What its compiled kernels ask of the
    # allocator would make PyTorch's step half again as fast as it is for its own users.
    os.environ["TINYGRAD_EFFNET_KEEP_MEMORY"] = "0"
    if kind == "torch":
        from . import pytorch

        return pytorch.prepare
    from . import onnx_runtime

    return onnx_runtime.prepare


def _told(ask: Callable[[], int | None]) -> int:
    """What the system tells, or 0 where it does not."""
    try:
        return ask() or 0
    except NotImplementedError:
        return 0


def _page_faults() -> int:
    try:
        import resource
    except ImportError:  # Windows
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def serve(requests: TextIO, answers: TextIO, worker: Any) -> None:
    """Answer requests until there are no more. A request that fails is answered with ``{"error": ...}``."""
    for line in requests:
        request = json.loads(line)
        try:
            answer = getattr(worker, request.pop("do"))(**request)
        except Exception as error:  # whatever a library may raise: the other side must hear of it
            answer = {"error": f"{type(error).__name__}: {error}".splitlines()[0]}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    serve(sys.stdin, answers, Worker())
