"""What a car body is made of: outlines, glass, wheels and lamps, in metres.

Each model is one or two *shells*: an outline seen from the side, extruded across the car. Outlines start at the lower
front corner, go up the nose, along bonnet, windscreen, roof and tail, and end at the lower rear corner. x = 0 is the
front bumper, y = 0 the road.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Point = tuple[float, float]
Vertex = tuple[float, float, float]  # x, y, radius of the rounded corner
Array = NDArray[np.float64]

# Over this length, in metres, the sides draw in towards the front and rear ends.
_CORNER_LENGTH = 0.6


def rounded(vertices: Sequence[Vertex], steps: int = 3) -> tuple[Array, list[int]]:
    """Points (N, 2) of a line with rounded corners, and the segment on which each piece lies (-1: in a corner).

    A corner is a quadratic Bezier curve of ``steps`` pieces. It leaves the line at the corner's radius, or before the
    middle of a short segment.
    """
    xy = np.array([v[:2] for v in vertices], dtype=np.float64)
    points: list[Array] = []
    owners: list[int] = []
    for i, (_, _, radius) in enumerate(vertices):
        if radius <= 0 or i in (0, len(xy) - 1):
            points.append(xy[i])
            owners.append(i)
            continue
        back, ahead = xy[i - 1] - xy[i], xy[i + 1] - xy[i]
        enter = xy[i] + back * min(0.48, radius / float(np.hypot(*back)))
        leave = xy[i] + ahead * min(0.48, radius / float(np.hypot(*ahead)))
        for t in np.linspace(0.0, 1.0, steps + 1):
            points.append((1 - t) ** 2 * enter + 2 * t * (1 - t) * xy[i] + t**2 * leave)
            owners.append(-1)
        owners[-1] = i
    return np.array(points), owners


@dataclass(frozen=True)
class Shell:
    """One extruded part of a car's body.

    Attributes
    ----------
    outline
        Vertices (x, y, corner radius) from lower front to lower rear.
    width
        Overall width.
    belt
        Height at which the sides begin to lean inwards; the glass stands above it.
    lean
        Part of the width lost between ``belt`` and the roof.
    corner
        How far the sides draw in at the front and rear ends, seen from above.
    panes
        Numbers of the outline's segments that carry glass across the car (windscreen, rear window).
    wells
        Numbers of the segments that are open at the top (load bed, cockpit).
    glass
        Outline of the side windows, or empty.
    pillars
        (x at the foot, x at the head, width) of each pillar between side windows.
    doors
        x of each upright door line.
    handles
        x of each door handle.
    cargo
        The shell is a box for goods, with its own colour.
    """

    outline: tuple[Vertex, ...]
    width: float
    belt: float
    lean: float = 0.12
    corner: float = 0.14
    panes: tuple[int, ...] = ()
    wells: tuple[int, ...] = ()
    glass: tuple[Point, ...] = ()
    pillars: tuple[Vertex, ...] = ()
    doors: tuple[float, ...] = ()
    handles: tuple[float, ...] = ()
    cargo: bool = False

    @cached_property
    def curve(self) -> tuple[Array, list[int]]:
        """The outline with rounded corners, see :func:`rounded`."""
        return rounded(self.outline)

    @cached_property
    def bottom(self) -> float:
        """Height of the lower edge."""
        return self.outline[0][1]

    @cached_property
    def top(self) -> float:
        """Height of the roof."""
        return max(v[1] for v in self.outline)

    @cached_property
    def front(self) -> float:
        """The foremost x."""
        return min(v[0] for v in self.outline)

    @cached_property
    def rear(self) -> float:
        """The rearmost x."""
        return max(v[0] for v in self.outline)

    def half_width(self, x: Array, y: Array) -> Array:
        """Distance of the side from the centre line at (x, y): it leans in above the belt and draws in at the ends."""
        up = np.minimum(np.maximum(y - self.belt, 0.0) / max(self.top - self.belt, 1e-6), 1.0)
        half = self.width / 2 * (1.0 - self.lean * up)
        if self.corner:
            near_end = np.minimum(x - self.front, self.rear - x)
            part = np.minimum(np.maximum(1.0 - near_end / _CORNER_LENGTH, 0.0), 1.0)
            half = half - self.corner * part * part
        return half

    def half_width_at(self, x: float, y: float) -> float:
        """:meth:`half_width` at one point."""
        return float(self.half_width(np.array([x]), np.array([y]))[0])

    def on_side(self, xy: Sequence[Point] | Array) -> Array:
        """World points (N, 3) on the near side, at positions (N, 2)."""
        flat = np.asarray(xy, dtype=np.float64)
        points = np.empty((len(flat), 3))
        points[:, :2] = flat
        points[:, 2] = -self.half_width(flat[:, 0], flat[:, 1])
        return points


@dataclass(frozen=True, slots=True)
class CarModel:
    """A fictional car model.

    Attributes
    ----------
    name
        Readable class name.
    length, height
        Overall size.
    shells
        Body parts from front to rear.
    axles
        x of each axle; ``wheel`` is the tyre's radius.
    head_lamp, tail_lamp
        Lower and upper edge of the lamps.
    grille
        Lower and upper edge of the radiator grille.
    mirror
        Where the door mirror is fixed.
    cladding
        Height up to which sills and arches are unpainted plastic; 0 for none.
    rails
        (front, rear, height) of roof rails, or None.
    open_top
        The car has no roof: windscreen frame and seats are drawn above the body.
    chassis
        (front, rear, lower, upper) of an open ladder frame below the shells, or None.
    tall
        A van, a bus or a lorry: doors at the rear, large mirrors, the paint of a firm.
    """

    name: str
    length: float
    height: float
    shells: tuple[Shell, ...]
    axles: tuple[float, ...]
    wheel: float
    head_lamp: Point
    tail_lamp: Point
    grille: Point
    mirror: Point
    cladding: float = 0.0
    rails: tuple[float, float, float] | None = None
    open_top: bool = False
    chassis: tuple[float, float, float, float] | None = None
    tall: bool = False
