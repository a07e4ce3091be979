"""The last steps of a chain as numbers: what Pillow and NumPy would do to a picture, for a device to do instead."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from .base import Compose, Picture, Rng, Transform, check_picture
from .colour import Colours, Normalize


@dataclass(slots=True)
class Plan:
    """A cut of a part that is resized, perhaps mirrored, and its change of colours.

    Attributes
    ----------
    size : (height, width)
        Of the result of the steps so far, pixels.
    box : (left, top, right, bottom)
        The part of the picture that is resized; its edges may lie between pixels.
    resized : (height, width)
        What it is resized to.
    corner : (top, left)
        Of the cut in that.
    mirrored : bool
    colours : Colours, optional
    """

    size: tuple[int, int]
    box: tuple[float, float, float, float]
    resized: tuple[int, int]
    corner: tuple[int, int] = (0, 0)
    mirrored: bool = False
    colours: Colours | None = None

    @classmethod
    def of(cls, picture: Picture) -> Plan:
        """The plan that leaves a picture as it is."""
        height, width = picture.shape[:2]
        return cls((height, width), (0, 0, width, height), (height, width))


@runtime_checkable
class Plannable(Protocol):
    """A step that can enter what it would do into a plan, drawing the same numbers; ``turn`` is its place in one."""

    turn: int

    def plan(self, plan: Plan, rng: Rng) -> None: ...


@dataclass(frozen=True, slots=True)
class Planned:
    """A picture, (H, W, 3) uint8, and what is still to be done with it."""

    picture: Picture
    plan: Plan
    normal: Normalize

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the result."""
        return (3, *self.plan.size)


class Planner:
    """A chain whose last steps are planned instead of done: as many as a plan has room for.

    The others are done, so a chain with `RandAugment` in the middle is planned from there on. What chance decides is
    drawn in the same order, so that the results are those of the chain.

    Raises
    ------
    ValueError
        The chain does not end in `Normalize`.
    """

    def __init__(self, transform: Transform) -> None:
        steps: Sequence[Any] = transform.transforms if isinstance(transform, Compose) else [transform]
        normal = steps[-1] if steps else None
        if not isinstance(normal, Normalize):
            raise ValueError(f"transform: {transform!r} cannot be planned, since it does not end in Normalize")
        first, turn = len(steps) - 1, normal.turn
        while first and isinstance(steps[first - 1], Plannable) and steps[first - 1].turn < turn:
            first -= 1
            turn = steps[first].turn
        self.normal = normal
        self.done: Sequence[Transform] = steps[:first]
        self.planned: Sequence[Plannable] = steps[first:-1]

    def __call__(self, picture: NDArray[np.uint8], rng: Rng) -> Planned:
        for transform in self.done:
            picture = transform(picture, rng)
        check_picture(picture)
        plan = Plan.of(picture)
        for step in self.planned:
            step.plan(plan, rng)
        return Planned(picture, plan, self.normal)
