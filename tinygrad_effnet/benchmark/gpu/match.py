"""All entrants: they prepare side by side, then take turns on a card that nobody else uses meanwhile.

Preparing is compiling for the most part, which takes minutes where it is done one after another and leaves the card
idle. Nothing is timed until all are ready. Who is not ready in time is left out, and named.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

from ..contestants import Contestant
from ..processes import ContestantError
from ..rounds import Result
from .budget import SHORTEST, Budget
from .entrants import Team, takes_part, teams
from .plan import Heat

LATE = "not ready in time"
NO_TIME = "no time was left for it"
AROUND = 0.3  # seconds that a turn takes to begin and to end, about
CORES_EACH = 4  # of those that prepare side by side


class Asked(Protocol):
    """What answers requests: a process whose module is `worker`."""

    def ask(self, do: str, timeout: float | None = None, **arguments: Any) -> dict[str, Any]: ...

    def close(self) -> None: ...


class Match:
    """The processes of a comparison, and what came of each heat.

    Parameters
    ----------
    entrants, heats
        Who does what; heats in the order of what matters.
    threads
        Of each process.
    budget
        The time for all of it.
    start
        Makes a process.
    say
        Told what is going on.
    """

    def __init__(
        self,
        entrants: Sequence[Contestant],
        heats: Sequence[Heat],
        threads: int,
        budget: Budget,
        start: Callable[[], Asked],
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.entrants, self.heats, self.threads, self.budget = entrants, heats, threads, budget
        self._start, self._say = start, say
        self.results = {
            heat: [Result(e.name, heat.task, problem=e.missing()) for e in entrants if takes_part(e, heat)]
            for heat in heats
        }
        self._running: dict[tuple[Heat, str], Asked] = {}
        self._steps: dict[tuple[Heat, str], float] = {}
        self._made: list[Asked] = []

    def result(self, heat: Heat, entrant: Contestant) -> Result:
        return next(result for result in self.results[heat] if result.name == entrant.name)

    # -- getting ready ---------------------------------------------------------------------------------------------
    def prepare(self) -> None:
        """Let all get ready, those of the earliest heats first, as many side by side as there are cores for."""
        waiting = [team for team in teams(self.entrants, self.heats) if not team.entrant.missing()]
        with ThreadPoolExecutor(max(2, self.threads // CORES_EACH)) as pool:
            list(pool.map(self._prepare_team, waiting))
        # what found the card full of what the others were trying is tried again, alone
        for heat, results in self.results.items():
            for result in results:
                process = self._running.get((heat, result.name))
                if process is not None and _is_shortage(result.problem):
                    entrant = next(e for e in self.entrants if e.name == result.name)
                    self._prepare(process, entrant, heat)

    def _prepare_team(self, team: Team) -> None:
        if not self.budget.may_begin:
            for heat in team.heats:
                self.result(heat, team.entrant).problem = LATE
            return
        process = self._start()
        self._made.append(process)
        for heat in team.heats:
            self._say(f"{team.entrant.name} prepares: {heat.title}")
            self._running[heat, team.entrant.name] = process
            self._prepare(process, team.entrant, heat)

    def _prepare(self, process: Asked, entrant: Contestant, heat: Heat) -> None:
        result, time = self.result(heat, entrant), self.budget.left_to_prepare
        result.problem = "" if self.budget.may_begin else LATE
        if result.problem:
            return
        request = {"kind": entrant.kind, "heat": list(heat), "threads": self.threads, "options": entrant.options}
        try:
            times = process.ask("prepare", timeout=time, **request)
        except ContestantError as error:
            result.problem = str(error)
            return
        result.first_step, self._steps[heat, entrant.name] = times["first"], times["last"]

    # -- taking turns ----------------------------------------------------------------------------------------------
    def run(self, rounds: int, reserved: float = 0.0, done: Callable[[Heat], None] = lambda heat: None) -> None:
        """Heat by heat, so many rounds each, every other one in reverse order; ``reserved`` seconds are left over.

        ``done`` is called with each heat that is over.
        """
        for number, heat in enumerate(self.heats):
            ready = [result for result in self.results[heat] if not result.problem]
            turns = rounds * sum(len([r for r in self.results[h] if not r.problem]) for h in self.heats[number:])
            least = sum(SHORTEST + AROUND + 4 * self._steps[heat, result.name] for result in ready)  # of a round
            for i in range(rounds):
                if self.budget.left - reserved < least:
                    break
                self._say(f"{heat.title}: round {i + 1} of {rounds}")
                seconds = self.budget.turn(turns, reserved)
                for result in ready if i % 2 == 0 else ready[::-1]:
                    self._turn(heat, result, i, seconds)
            for result in ready:
                if not result.rates and not result.problem:
                    result.problem = NO_TIME
            done(heat)

    def _turn(self, heat: Heat, result: Result, number: int, seconds: float) -> None:
        if result.problem:
            return
        process = self._running[heat, result.name]
        try:
            found = process.ask("run", timeout=max(self.budget.left, 1.0), heat=list(heat), seconds=seconds)
        except ContestantError as error:
            result.problem = str(error)
            return
        result.rates[number] = heat.batch / found["step"]
        result.memory["peak"] = max(result.memory.get("peak", 0), found["held"])

    def close(self) -> None:
        """End all processes, side by side: each may take seconds to leave."""
        with ThreadPoolExecutor(max(1, len(self._made))) as pool:
            list(pool.map(lambda process: process.close(), self._made))

    def __enter__(self) -> Match:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _is_shortage(problem: str) -> bool:
    return any(words in problem.lower() for words in ("out of memory", "no room", "memoryerror"))
