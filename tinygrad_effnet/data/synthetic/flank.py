"""The side towards the camera: paint and its reflections, windows, doors, sills and wheel arches."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from .body import Shell
from .canvas import Canvas, shade
from .subject import DARK, GLASS, PLASTIC, SKY, Subject

_ARCH = np.linspace(0, np.pi, 14)


def draw_flank(car: Subject, shell: Shell) -> None:
    """Draw the near side: everything goes on a layer of its own, which the shell's outline then cuts out."""
    layer = car.canvas.layer()
    _draw_paint(car, shell, layer)
    if shell.glass:
        _draw_windows(car, shell, layer)
    if not shell.cargo:
        _draw_details(car, shell, layer)
        _draw_lamps(car, shell, layer)
        _draw_arches(car, shell, layer)
    car.canvas.through(shell.on_side(shell.curve[0]), layer.image)


def _band(shell: Shell, low: float, high: float) -> list[tuple[float, float, float]]:
    """A horizontal band of the side, longer than the car at both ends."""
    middle = (shell.front + shell.rear) / 2
    below, above = shell.half_width_at(middle, low), shell.half_width_at(middle, high)
    left, right = shell.front - 0.4, shell.rear + 0.4
    return [(left, low, -below), (right, low, -below), (right, high, -above), (left, high, -above)]


def _draw_paint(car: Subject, shell: Shell, layer: Canvas) -> None:
    """Bands of reflection: bright shoulder, dark horizon below it, lit flank, dark sill."""
    base = car.finish.cargo if shell.cargo else car.finish.paint
    bottom, belt, top = shell.bottom, shell.belt, shell.top
    knots: tuple[float, ...] = (bottom, bottom + 0.10, 0.45 * (bottom + belt), belt - 0.17, belt - 0.06, belt, top)
    tones: tuple[float, ...] = (0.50, 0.72, 0.98, 0.80, 1.16, 1.04, 0.98)
    if shell.cargo:
        knots, tones = (bottom, top), (0.86, 1.0)
    levels = np.linspace(bottom - 0.05, top + 0.05, 15)
    lightness = np.interp((levels[:-1] + levels[1:]) / 2, knots, tones) * car.finish.sun
    for low, high, tone in zip(levels[:-1].tolist(), levels[1:].tolist(), lightness.tolist(), strict=True):
        layer.polygon(_band(shell, low, high), shade(base, tone, SKY, 0.10 * max(0.0, tone - 0.85)))
    if car.finish.roof != car.finish.paint and not shell.cargo and not car.model.open_top:
        edge = top - 0.10 * (top - belt) - 0.02
        layer.polygon(_band(shell, edge, top + 0.1), shade(car.finish.roof, car.finish.sun * 0.95))
    if car.finish.stripe is not None:
        low = 0.5 * (bottom + belt) + (0.3 * (top - bottom) if shell.cargo else 0.05)
        wide = 0.5 if shell.cargo else 0.08
        layer.polygon(_band(shell, low, low + wide), shade(car.finish.stripe, car.finish.sun))
    if shell.cargo:
        rib = shade(base, 0.88 * car.finish.sun)
        for x in np.arange(shell.front + 0.6, shell.rear - 0.3, 0.6).tolist():
            layer.line(shell.on_side([(x, bottom), (x, top)]), rib, 0.02)
        layer.polygon(_band(shell, bottom - 0.05, bottom + 0.10), shade(base, 0.55))


def _draw_windows(car: Subject, shell: Shell, layer: Canvas) -> None:
    outline = np.array(shell.glass)
    (left, low), (right, high) = outline.min(axis=0), outline.max(axis=0)
    surround = outline + 0.035 * np.sign(outline - outline.mean(axis=0))
    layer.polygon(shell.on_side(surround), shade(car.finish.trim, 0.9))
    panes = layer.layer()
    dark = 1.45 - 0.75 * car.finish.tint
    levels = np.linspace(low, high + 0.02, 7).tolist()
    for k, (below, above) in enumerate(pairwise(levels)):
        panes.polygon(_band(shell, below, above), shade(GLASS, dark * (0.75 + 0.10 * k), SKY, 0.035 * k))
    # Seat backs, seen against the light from the other side.
    back = low + 0.55 * (high - low)
    for x in np.arange(left + 0.55, right - 0.25, 0.85).tolist():
        seat = [(x, low - 0.1), (x + 0.03, back), (x + 0.25, back), (x + 0.28, low - 0.1)]
        panes.polygon(shell.on_side(seat), shade(GLASS, 0.45 * dark))
    slant, length = 0.4 * (high - low), right - left
    for at, wide in ((0.18, 0.10), (0.46, 0.04), (0.70, 0.12)):
        start, end = left + at * length, left + (at + wide) * length
        streak = [(start, low - 0.02), (end, low - 0.02), (end + slant, high + 0.02), (start + slant, high + 0.02)]
        panes.film(shell.on_side(streak), SKY, 0.17)
    layer.through(shell.on_side(outline), panes.image)
    for foot, head, wide in shell.pillars:
        half = wide / 2
        post = [
            (foot - half, low - 0.02),
            (foot + half, low - 0.02),
            (head + half, high + 0.01),
            (head - half, high + 0.01),
        ]
        layer.polygon(shell.on_side(post), (20, 21, 23))


def _draw_details(car: Subject, shell: Shell, layer: Canvas) -> None:
    """Door lines, handles, the crease along the flank, sills and cladding."""
    bottom, belt, paint = shell.bottom, shell.belt, car.finish.paint
    seam = shade(paint, 0.42)
    for x in shell.doors:
        layer.line(shell.on_side([(x, bottom + 0.06), (x + 0.02, 0.5 * (bottom + belt)), (x, belt)]), seam, 0.022)
    if len(shell.doors) > 1:
        layer.line(shell.on_side([(shell.doors[0], bottom + 0.07), (shell.doors[-1], bottom + 0.07)]), seam, 0.02)
    crease = [(shell.front + 0.45, belt - 0.20), (shell.rear - 0.3, belt - 0.15)]
    layer.line(shell.on_side(crease), shade(paint, 0.66), 0.02)
    for x in shell.handles:
        layer.line(shell.on_side([(x - 0.09, belt - 0.13), (x + 0.07, belt - 0.13)]), shade(paint, 0.5), 0.05)
        layer.line(
            shell.on_side([(x - 0.09, belt - 0.115), (x + 0.07, belt - 0.115)]), shade(paint, 1.25, amount=0.15), 0.022
        )
    layer.polygon(
        _band(shell, 0.0, car.model.cladding or bottom + 0.05), PLASTIC if car.model.cladding else (30, 30, 32)
    )


def _draw_lamps(car: Subject, shell: Shell, layer: Canvas) -> None:
    """The part of the lamps that reaches round the corner."""
    lit, front, rear = car.finish.lamps_on, shell.front, shell.rear
    low, high = car.model.head_lamp
    lamp = [(front - 0.2, low), (front + 0.26, low + 0.03), (front + 0.38, high), (front - 0.2, high)]
    layer.polygon(shell.on_side(lamp), (255, 248, 222) if lit else (208, 216, 224))
    if car.model.chassis is None:
        low, high = car.model.tail_lamp
        lamp = [(rear - 0.16, low), (rear + 0.3, low), (rear + 0.3, high), (rear - 0.22, high)]
        layer.polygon(shell.on_side(lamp), (255, 44, 36) if lit else (160, 24, 28))


def _draw_arches(car: Subject, shell: Shell, layer: Canvas) -> None:
    half, wheel = shell.width / 2, car.model.wheel
    rings = ((1.34, PLASTIC), (1.14, DARK)) if car.model.cladding else ((1.13, DARK),)
    for x in car.model.axles:
        if not shell.front < x < shell.rear:
            continue
        for grow, fill in rings:
            r = wheel * grow
            arch = np.column_stack([x + r * np.cos(_ARCH), wheel + r * np.sin(_ARCH), np.full(len(_ARCH), -half)])
            layer.polygon(np.vstack([arch, [(x - r, 0.0, -half), (x + r, 0.0, -half)]]), fill)
