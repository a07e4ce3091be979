"""What every entrant's file gives: a workload that can be put on the card, run, and taken off again."""

from __future__ import annotations

from typing import Any, Protocol


class Workload(Protocol):
    """One heat as one entrant does it. Between turns it leaves the card to the others."""

    def wake(self) -> None:
        """Put the batch on the card."""

    def step(self) -> Any:
        """Do one step, perhaps without waiting for it, and return what `read` makes a number of."""

    def read(self, result: Any) -> float:
        """A number made from a step's result: finite, where all is well. Waits for the card."""

    def wait(self) -> None:
        """Until the card has done all that was asked of it."""

    def held(self) -> int:
        """The most bytes of the card that its pool held since it woke; 0 where nothing tells."""

    def rest(self) -> None:
        """Take the batch off the card, and give back what the pool holds."""
