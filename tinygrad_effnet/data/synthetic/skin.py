"""Everything that runs across the car: nose, bonnet, windscreen, roof and tail, and what is fitted to its two ends."""

from __future__ import annotations

import numpy as np

from .body import Array, Shell
from .canvas import Colour, shade
from .subject import DARK, GLASS, PLASTIC, SKY, Subject

_FRONT_PLATE: Colour = (236, 236, 230)
_REAR_PLATE: Colour = (232, 200, 60)


def draw_skin(car: Subject, shell: Shell) -> None:
    """The pieces of the outline, extruded, that face the camera; the farthest first."""
    camera = car.canvas.camera
    xy, owners = shell.curve
    half = shell.half_width(xy[:, 0], xy[:, 1])
    near, far = np.column_stack([xy, -half]), np.column_stack([xy, half])
    flat_near, flat_far = camera.project(near), camera.project(far)
    distance = camera.depth(np.column_stack([xy, np.zeros(len(xy))]))
    steps = np.diff(xy, axis=0)
    upward = steps[:, 0] / np.maximum(np.hypot(steps[:, 0], steps[:, 1]), 1e-9)
    edges, across = np.diff(flat_near, axis=0), (flat_far - flat_near)[1:]
    # The outline runs clockwise as seen from the near side, so faces towards the camera have one sign.
    facing = edges[:, 0] * across[:, 1] - edges[:, 1] * across[:, 0] < 0
    for i in np.argsort(-(distance[:-1] + distance[1:]), kind="stable").tolist():
        if not facing[i]:
            continue
        quad = [*flat_near[i], *flat_near[i + 1], *flat_far[i + 1], *flat_far[i]]
        up = max(float(upward[i]), 0.0)
        height = float(xy[i, 1]) / shell.top
        light = 1.08 * (0.60 + 0.28 * up) * (0.80 + 0.20 * min(1.0, height * 1.6))
        car.canvas.draw.polygon(quad, fill=shade(_paint(car, shell, height, up), light, SKY, 0.22 * up * up))
        if owners[i] in shell.panes:
            _draw_pane(car, near[i], near[i + 1], up)
        elif owners[i] in shell.wells:
            inset = np.array([near[i], near[i + 1], near[i + 1], near[i]])
            inset[:, 2] = 0.88 * np.array([-half[i], -half[i + 1], half[i + 1], half[i]])
            car.canvas.polygon(inset, DARK)


def _paint(car: Subject, shell: Shell, height: float, up: float) -> Colour:
    if shell.cargo:
        return car.finish.cargo
    return car.finish.roof if height > 0.93 and up > 0.8 and not car.model.open_top else car.finish.paint


def _draw_pane(car: Subject, start: Array, end: Array, up: float) -> None:
    """Glass across the car on the piece of the outline from ``start`` to ``end`` (points of the near side)."""
    a, b = start + 0.02 * (end - start), start + 0.98 * (end - start)
    a[2] *= 0.90
    b[2] *= 0.88
    mirror = np.array([1.0, 1.0, -1.0])
    fill = shade(GLASS, 1.25 - 0.5 * car.finish.tint, SKY, 0.10 + 0.30 * up)
    car.canvas.polygon([a, b, b * mirror, a * mirror], fill)
    upper, lower = (b, a) if b[1] > a[1] else (a, b)
    middle = lower + 0.45 * (upper - lower)
    car.canvas.film([upper, upper * mirror, middle * np.array([1.0, 1.0, -0.4]), middle], SKY, 0.22)


def draw_end(car: Subject, shell: Shell) -> None:
    """Grille, bumper, plate, doors and lamps of whichever end the camera sees."""
    if shell.cargo:
        if not car.shows_front:
            _draw_cargo_doors(car, shell)
            _draw_hanging_lamps(car, shell)
    elif car.shows_front:
        _draw_front(car, shell)
    elif car.model.chassis is None:
        _draw_rear(car, shell)


def _draw_front(car: Subject, shell: Shell) -> None:
    low, high = car.model.grille
    bottom = shell.bottom
    _rectangle(car, shell, (bottom + 0.03, bottom + 0.17), (-0.70, 0.70), (24, 24, 26))
    _rectangle(car, shell, (low, high), (-0.48, 0.48), (28, 28, 31))
    for y in np.linspace(low, high, 4)[1:-1].tolist():
        _rectangle(car, shell, (y - 0.008, y + 0.008), (-0.48, 0.48), car.finish.trim)
    _rectangle(car, shell, (bottom + 0.19, bottom + 0.30), (-0.30, 0.30), _FRONT_PLATE)
    lit = car.finish.lamps_on
    _draw_lamps(car, shell, car.model.head_lamp, 0.56, (255, 250, 226) if lit else (214, 222, 228), (255, 240, 200))


def _draw_rear(car: Subject, shell: Shell) -> None:
    bottom, tall = shell.bottom, car.model.tall
    _rectangle(car, shell, (bottom, bottom + 0.20), (-0.86, 0.86), PLASTIC)
    if tall:
        panes = (shell.belt + 0.12, car.model.height - 0.42)
        for part in ((-0.78, -0.08), (0.08, 0.78)):
            _rectangle(car, shell, panes, part, shade(GLASS, 1.1))
        gap = _on_end(car, shell, [(bottom + 0.2, 0.0), (car.model.height - 0.2, 0.0)])
        car.canvas.line(gap, (40, 40, 42), 0.03)
    plate = bottom + (0.32 if tall else 0.28)
    _rectangle(car, shell, (plate, plate + 0.12), (-0.28, 0.28), _REAR_PLATE)
    lit = car.finish.lamps_on
    _draw_lamps(car, shell, car.model.tail_lamp, 0.74, (255, 48, 36) if lit else (170, 22, 26), (255, 40, 30))


def _draw_lamps(
    car: Subject, shell: Shell, edges: tuple[float, float], inner: float, fill: Colour, glow: Colour
) -> None:
    low, high = edges
    for sign in (-1.0, 1.0):
        _rectangle(car, shell, (low - 0.02, high + 0.02), (sign * (inner - 0.03), sign * 0.99), PLASTIC)
        points = _rectangle(car, shell, edges, (sign * inner, sign * 0.97), fill)
        if car.finish.lamps_on:
            car.note_lamp(points, glow)


def _draw_cargo_doors(car: Subject, shell: Shell) -> None:
    rear, half = shell.rear + 0.01, shell.width / 2
    for z, tone, wide in ((0.0, 0.45, 0.04), (-0.5 * half, 0.62, 0.03), (0.5 * half, 0.62, 0.03)):
        car.canvas.line([(rear, shell.bottom, z), (rear, shell.top, z)], shade(car.finish.cargo, tone), wide)


def _draw_hanging_lamps(car: Subject, shell: Shell) -> None:
    """A lorry's tail lamps and plate hang on a bar below its box."""
    low, high = car.model.tail_lamp
    rear, half = shell.rear - 0.05, shell.width / 2
    fill: Colour = (255, 48, 36) if car.finish.lamps_on else (170, 22, 26)

    def panel(left: float, right: float, colour: Colour) -> Array:
        points = np.array([(rear, y, half * z) for y, z in ((low, left), (high, left), (high, right), (low, right))])
        car.canvas.polygon(points, colour)
        return points

    panel(-0.97, 0.97, PLASTIC)
    panel(-0.25, 0.25, _REAR_PLATE)
    for sign in (-1.0, 1.0):
        points = panel(sign * 0.66, sign * 0.95, fill)
        if car.finish.lamps_on:
            car.note_lamp(points, (255, 40, 30))


def _rectangle(
    car: Subject, shell: Shell, heights: tuple[float, float], parts: tuple[float, float], fill: Colour
) -> Array:
    """Fill a rectangle on the end that the camera sees: between two heights and two parts of the half width."""
    (low, high), (left, right) = heights, parts
    points = _on_end(car, shell, [(low, left), (high, left), (high, right), (low, right)])
    car.canvas.polygon(points, fill)
    return points


def _on_end(car: Subject, shell: Shell, places: list[tuple[float, float]]) -> Array:
    """World points (N, 3) just before the front or behind the rear, at (height, part of the half width)."""
    y, part = np.array(places).T
    outline = np.array([v[:2] for v in shell.outline])
    peak = int(np.argmax(outline[:, 1]))
    face, out = (outline[:peak], -0.005) if car.shows_front else (outline[: peak - 1 : -1], 0.005)
    x = np.interp(y, face[:, 1], face[:, 0]) + out
    return np.column_stack([x, y, part * shell.half_width(x, y)])
