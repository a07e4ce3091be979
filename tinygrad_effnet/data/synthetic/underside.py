"""What stands on the road: shadow, underbody, ladder frame and wheels."""

from __future__ import annotations

import numpy as np

from .body import Array
from .canvas import Colour, shade
from .subject import DARK, RUBBER, Subject

_ROUND = np.linspace(0, 2 * np.pi, 22, endpoint=False)
_COS, _SIN = np.cos(_ROUND), np.sin(_ROUND)
# A superellipse: the shadow of a box with soft corners.
_SHADOW_X = np.sign(_COS) * np.sqrt(np.abs(_COS))
_SHADOW_Z = np.sign(_SIN) * np.sqrt(np.abs(_SIN))


def draw_shadow(car: Subject) -> None:
    """The soft shadow on the road: wide and faint to narrow and dark."""
    length, half = car.model.length, car.model.shells[-1].width / 2
    for grow, opacity in ((0.34, 0.16), (0.20, 0.22), (0.06, 0.30)):
        x = length / 2 + (length / 2 + grow) * _SHADOW_X
        z = (half + grow) * _SHADOW_Z
        car.canvas.film(np.column_stack([x, np.zeros_like(x), z]), (8, 8, 12), opacity)


def draw_underbody(car: Subject) -> None:
    """The dark floor between the wheels, and a lorry's frame."""
    shell = car.model.shells[0]
    half = shell.width / 2 - 0.12
    _upright(car, 0.25, car.model.length - 0.25, 0.17, shell.bottom + 0.2, half)
    if car.model.chassis is not None:
        _draw_chassis(car, *car.model.chassis)


def _upright(car: Subject, front: float, rear: float, low: float, high: float, half: float) -> None:
    for z in (half, -half):
        car.canvas.polygon([(front, low, z), (rear, low, z), (rear, high, z), (front, high, z)], DARK)


def _draw_chassis(car: Subject, front: float, rear: float, low: float, high: float) -> None:
    half = car.model.shells[-1].width / 2
    _upright(car, front, rear, low, high, half - 0.35)
    edge = 0.08 - half
    start, end = front + 0.75, front + 1.85
    tank = [(start, 0.45, edge), (end, 0.45, edge), (end, high, edge), (start, high, edge)]
    car.canvas.polygon(tank, (96, 98, 102))
    car.canvas.film([tank[0], tank[1], (end, 0.6, edge), (start, 0.6, edge)], DARK, 0.45)
    guard = car.model.axles[-1] - 0.75
    for y in (0.56, 0.74):
        car.canvas.line([(end + 0.15, y, edge), (guard, y, edge)], (120, 122, 126), 0.06)


def draw_far_wheels(car: Subject) -> None:
    """The wheels beyond the car, of which little is seen."""
    half = car.model.shells[0].width / 2
    for x in car.model.axles:
        for z in (half - 0.05, half - 0.25):
            car.canvas.polygon(_disc(x, car.model.wheel, car.model.wheel, z), DARK)


def draw_near_wheels(car: Subject) -> None:
    """Tyres, rims and spokes."""
    radius, rim = car.model.wheel, car.finish.rim
    face = 0.01 - car.model.shells[0].width / 2
    for x in car.model.axles:

        def disc(part: float, z: float, fill: Colour, x: float = x) -> None:
            car.canvas.polygon(_disc(x, radius, part * radius, z), fill)

        for inner in (0.24, 0.12):
            disc(1.0, face + inner, DARK)
        disc(1.0, face, RUBBER)
        disc(0.74, face, shade(rim, 0.55))
        if car.finish.spokes:
            disc(0.68, face + 0.03, (34, 34, 37))
            _draw_spokes(car, x, face)
        else:
            disc(0.66, face, rim)
            disc(0.36, face, shade(rim, 0.7))
        disc(0.18, face, shade(rim, 0.9))


def _draw_spokes(car: Subject, x: float, z: float) -> None:
    count, radius = car.finish.spokes, car.model.wheel
    wide = min(0.30, 1.1 / count)
    reach = np.array([0.16, 0.16, 0.70, 0.70]) * radius
    for k in range(count):
        fan = 2 * np.pi * k / count + 0.3 + wide * np.array([-1.0, 1.0, 0.8, -0.8])
        points = np.column_stack([x + reach * np.cos(fan), radius + reach * np.sin(fan), np.full(4, z)])
        car.canvas.polygon(points, car.finish.rim)


def _disc(x: float, y: float, radius: float, z: float) -> Array:
    points = np.empty((len(_COS), 3))
    points[:, 0], points[:, 1], points[:, 2] = x + radius * _COS, y + radius * _SIN, z
    return points
