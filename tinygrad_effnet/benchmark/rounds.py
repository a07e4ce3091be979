"""Contestants in alternation: each has a turn in every round, so that what slows the machine slows all of them."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from .contestants import Contestant
from .processes import ContestantError, Process
from .settings import Settings

TURN_SECONDS = 2.0  # a turn lasts about so long, and is one step at least
MOST_STEPS = 100
SLOW_STEP = 5.0  # a step as long as this takes part in two rounds only, and needs no warming up


@dataclass
class Result:
    """What a contestant did in one task: its rates in images/s, a number a round, or why there are none."""

    name: str
    task: str
    rates: dict[int, float] = field(default_factory=dict)  # by round: images/s, from the median step of the turn
    first_step: float = 0.0  # seconds; compilation included
    memory: dict[str, float] = field(default_factory=dict)
    problem: str = ""

    @property
    def rate(self) -> float:
        """Median of the rounds, images/s; nan where it did not run."""
        return median(self.rates.values()) if self.rates else math.nan

    def ratios(self, other: Result) -> list[float]:
        """How many times faster this one was than the other, in each round that both had a turn in."""
        return [rate / other.rates[i] for i, rate in self.rates.items() if i in other.rates]


def compete(
    contestants: Sequence[Contestant],
    settings: Settings,
    task: str,
    rounds: int,
    say: Callable[[str], None] = lambda text: None,
) -> list[Result]:
    """Let all that can take part run ``task`` in ``rounds`` rounds, in alternation, each in a process of its own.

    All processes are there through all rounds, one computing and the others waiting. Every other round goes in reverse
    order, so that none profits from who came before.
    """
    results = [Result(c.name, task, problem=c.missing()) for c in contestants if task in c.tasks]
    with ExitStack() as stack:
        running: list[tuple[Result, Process, float]] = []
        for result, contestant in zip(results, [c for c in contestants if task in c.tasks], strict=True):
            if not result.problem:
                say(f"{task}: {contestant.name} prepares")
                process = stack.enter_context(Process(settings.threads))
                try:
                    options = contestant.options | _file_for(contestant, settings, stack)
                    request: dict[str, Any] = {
                        "kind": contestant.kind,
                        "settings": list(settings),
                        "task": task,
                        "options": options,
                    }
                    times = process.ask("prepare", **request)
                except ContestantError as error:
                    result.problem = str(error)
                    process.close()
                    continue
                result.first_step = times["first"]
                running.append((result, process, times["last"]))
        for i in range(rounds):
            say(f"{task}: round {i + 1} of {rounds}")
            for result, process, step in running if i % 2 == 0 else running[::-1]:
                if not result.problem and (step < SLOW_STEP or i < 2):
                    _turn(result, process, step, i, settings.batch)
        for result, process, _ in running:
            if not result.problem:
                result.memory = process.ask("memory")
    return results


def _turn(result: Result, process: Process, step: float, number: int, batch: int) -> None:
    steps = min(max(round(TURN_SECONDS / max(step, 1e-6)), 1), MOST_STEPS)
    try:
        seconds = process.ask("run", steps=steps, warm_up=step < SLOW_STEP)["seconds"]
        result.rates[number] = batch / median(seconds)
    except ContestantError as error:
        result.problem = str(error)


def _file_for(contestant: Contestant, settings: Settings, stack: ExitStack) -> dict[str, Any]:
    """The model file that ONNX Runtime reads, written by a process that ends before the rounds begin."""
    if contestant.kind != "onnxruntime":
        return {}
    file = str(Path(stack.enter_context(tempfile.TemporaryDirectory())) / "model.onnx")
    with Process(settings.threads) as process:
        process.ask("export", settings=list(settings), file=file)
    return {"file": file}
