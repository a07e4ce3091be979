"""As many fictional car models as are asked for: the ten drawn by hand, then others that differ in their measures.

Model 10 k + i has the kind of body of model i, and measures of its own, which are a function of its number: a list of
more models begins with those of a shorter one. Lengths and heights are stretched piece by piece between *joints*, so
that windows, doors and lamps stay where the body wants them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from .body import CarModel, Point, Shell
from .commercial import LORRY, MINIBUS, PICKUP, VAN
from .passenger import CABRIOLET, COUPE, ESTATE, HATCHBACK, SALOON, SUV

CAR_MODELS: tuple[CarModel, ...] = (
    HATCHBACK,
    SALOON,
    ESTATE,
    COUPE,
    SUV,
    PICKUP,
    VAN,
    MINIBUS,
    LORRY,
    CABRIOLET,
)
"""The ten models drawn by hand, in the order of their labels."""

# x at which nose, windscreen, roof and tail meet, and the least and greatest stretch of each of the four. Pictures of
# one model differ by some hundredths in their proportions (render.py), so models must differ by more.
_JOINTS: tuple[tuple[float, float, float], ...] = (
    (0.92, 1.62, 3.48),
    (1.28, 2.02, 3.42),
    (1.22, 1.94, 4.28),
    (1.62, 2.32, 3.10),
    (1.10, 1.66, 4.22),
    (1.24, 1.80, 3.12),
    (0.78, 1.52, 5.14),
    (0.42, 0.98, 5.94),
    (1.00, 1.82, 6.50),
    (1.30, 2.20, 3.22),
)
_STRETCH: tuple[tuple[float, float], ...] = ((0.75, 1.3), (0.75, 1.35), (0.75, 1.25), (0.7, 1.35))
_GLASSHOUSE = (0.8, 1.25)
_FIXED = (1.0, 1.0)


@lru_cache
def car_models(count: int) -> tuple[CarModel, ...]:
    """The first ``count`` models; those after the tenth are drawn from their number.

    Raises
    ------
    ValueError
        If ``count`` is less than 1.
    """
    if count < 1:
        raise ValueError(f"models: got {count}, expected at least 1")
    return tuple(CAR_MODELS[n] if n < len(CAR_MODELS) else _drawn(n) for n in range(count))


@dataclass(frozen=True, slots=True)
class _Warp:
    """A rising function in pieces: ``joints`` go to ``targets``, what lies beyond moves with the last of them."""

    joints: Sequence[float]
    targets: Sequence[float]

    def __call__(self, value: float) -> float:
        if value <= self.joints[0]:
            return value + self.targets[0] - self.joints[0]
        if value >= self.joints[-1]:
            return value + self.targets[-1] - self.joints[-1]
        return float(np.interp(value, self.joints, self.targets))

    @classmethod
    def stretching(cls, joints: Sequence[float], factors: Sequence[float], start: float) -> _Warp:
        """Pieces between ``joints`` become so many times as long; the first begins at ``start``."""
        return cls(joints, np.cumsum([start, *np.diff(joints) * factors]).tolist())


def _drawn(number: int) -> CarModel:
    """Model ``number``: a body of one of the ten kinds with other measures."""
    kind = CAR_MODELS[number % len(CAR_MODELS)]
    rng = np.random.default_rng(np.random.SeedSequence(0, spawn_key=(number,)))
    body = kind.shells[0]

    # The seats and windscreen of an open car have their size, wherever its bonnet ends.
    stretch = (_STRETCH[0], _FIXED, _FIXED, _STRETCH[3]) if kind.open_top else _STRETCH
    along = _Warp.stretching(
        (0.0, *_JOINTS[number % len(CAR_MODELS)], kind.length), [rng.uniform(*limits) for limits in stretch], 0.0
    )
    up = _Warp.stretching(
        (body.bottom, body.belt, kind.height),
        [rng.uniform(0.88, 1.14), rng.uniform(*(_FIXED if kind.open_top else _GLASSHOUSE))],
        body.bottom + rng.uniform(-0.05, 0.10),
    )
    wide, lean, corner = rng.uniform(0.94, 1.07), rng.uniform(0.6, 1.5), rng.uniform(0.5, 1.7)
    wheel = kind.wheel * rng.uniform(0.87, 1.15)
    length, lowest = along(kind.length), up(body.bottom)
    front, rear = (along(x) + rng.uniform(-0.10, 0.10) for x in (kind.axles[0], kind.axles[-1]))

    def lamps(edges: Point) -> Point:
        """At another height, and flatter or taller."""
        middle = (up(edges[0]) + up(edges[1])) / 2 + rng.uniform(-0.05, 0.05)
        half = (edges[1] - edges[0]) / 2 * rng.uniform(0.5, 1.8)
        return max(middle - half, lowest + 0.05), middle + half

    return replace(
        kind,
        name=f"{kind.name} Mk {number // len(CAR_MODELS) + 1}",
        length=length,
        height=up(kind.height),
        shells=tuple(_warped(shell, along, up, wide, lean, corner) for shell in kind.shells),
        axles=(max(front, 1.2 * wheel), min(rear, length - 1.2 * wheel)),
        wheel=wheel,
        head_lamp=lamps(kind.head_lamp),
        tail_lamp=lamps(kind.tail_lamp),
        grille=lamps(kind.grille),
        mirror=(along(kind.mirror[0]), up(kind.mirror[1])),
        cladding=lowest + rng.uniform(0.14, 0.26) if rng.random() < (0.7 if kind.cladding else 0.25) else 0.0,
        rails=_rails(kind, along, up, rng),
        chassis=kind.chassis
        and (along(kind.chassis[0]), along(kind.chassis[1]), up(kind.chassis[2]), up(kind.chassis[3])),
    )


def _warped(shell: Shell, along: _Warp, up: _Warp, wide: float, lean: float, corner: float) -> Shell:
    return replace(
        shell,
        outline=tuple((along(x), up(y), radius) for x, y, radius in shell.outline),
        width=shell.width * wide,
        belt=up(shell.belt),
        lean=shell.lean * lean,
        corner=shell.corner * corner,
        glass=tuple((along(x), up(y)) for x, y in shell.glass),
        pillars=tuple((along(foot), along(head), width) for foot, head, width in shell.pillars),
        doors=tuple(map(along, shell.doors)),
        handles=tuple(map(along, shell.handles)),
    )


def _rails(kind: CarModel, along: _Warp, up: _Warp, rng: np.random.Generator) -> tuple[float, float, float] | None:
    """Roof rails, on some of the models whose kind has them."""
    if kind.rails is None or rng.random() < 0.4:
        return None
    front, rear, height = kind.rails
    return along(front), along(rear), up(height)
