"""The car in front of the camera: which model, how it is painted, and where it is drawn."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .body import Array, CarModel
from .canvas import Canvas, Colour

SKY: Colour = (206, 222, 240)
"""What upward faces and glass reflect."""
RUBBER: Colour = (26, 26, 28)
PLASTIC: Colour = (44, 45, 48)
GLASS: Colour = (38, 48, 58)
DARK: Colour = (15, 15, 17)
"""Hollows that no light reaches."""


@dataclass(frozen=True, slots=True)
class Finish:
    """What differs between two cars of one model: paint and fittings.

    Attributes
    ----------
    paint, roof, cargo
        Colours of the body, of the roof, and of a lorry's box or an open car's seats.
    rim, spokes
        Colour of the wheel rims and number of their spokes; 0 is a plain disc.
    tint
        How dark the glass is, 0 to 1.
    trim
        Colour of window surrounds, grille bars and roof rails.
    stripe
        Colour of a band along the side, or None.
    lamps_on
        The lamps are lit.
    sun
        Brightness of the side towards the camera, about 1.
    """

    paint: Colour
    roof: Colour
    cargo: Colour
    rim: Colour
    spokes: int
    tint: float
    trim: Colour
    stripe: Colour | None
    lamps_on: bool
    sun: float


@dataclass(frozen=True, slots=True)
class LampSpot:
    """A lit lamp in the picture: position and size in pixels, and colour."""

    column: float
    row: float
    radius: float
    colour: Colour


@dataclass(frozen=True, slots=True)
class Subject:
    """One car on one canvas; ``spots`` collects its lit lamps that the camera sees."""

    canvas: Canvas
    model: CarModel
    finish: Finish
    spots: list[LampSpot] = field(default_factory=list)

    @property
    def shows_front(self) -> bool:
        """The camera sees the front rather than the rear."""
        return self.canvas.camera.yaw > 0

    def note_lamp(self, points: Array, colour: Colour) -> None:
        """Remember a lit lamp whose glass is the polygon ``points``, (N, 3) metres."""
        flat = self.canvas.camera.project(points)
        column, row = flat.mean(axis=0)
        self.spots.append(LampSpot(float(column), float(row), float(np.ptp(flat[:, 1])) / 2 + 1.0, colour))
