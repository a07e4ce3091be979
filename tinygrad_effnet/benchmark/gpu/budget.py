"""The time that all may take together, and what is left of it for each turn."""

from __future__ import annotations

import time
from collections.abc import Callable

LONGEST, SHORTEST = 1.0, 0.2  # seconds of a turn, where time allows
BEGINNING, PREPARING = 0.4, 0.6  # shares of the time until which preparing may begin, and must be over


class Budget:
    """So many ``seconds`` from now on. ``clock`` tells the time, in seconds."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds, self._clock = seconds, clock
        self._begin = clock()

    @property
    def used(self) -> float:
        return self._clock() - self._begin

    @property
    def left(self) -> float:
        return max(0.0, self.seconds - self.used)

    @property
    def may_begin(self) -> bool:
        """Whether somebody may still begin to get ready."""
        return self.used < self.seconds * BEGINNING

    @property
    def left_to_prepare(self) -> float:
        return max(0.0, self.seconds * PREPARING - self.used)

    def turn(self, turns: int, reserved: float = 0.0) -> float:
        """Seconds for each of so many turns that are still to come, `reserved` of what is left being others'."""
        share = (self.left - reserved) / (2 * max(turns, 1))  # the other half goes to warming up
        return min(LONGEST, max(SHORTEST, share))
