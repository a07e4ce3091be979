"""Places a car can stand in: sky, what lies behind the road, and the road itself."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw

from .camera import Camera
from .canvas import Colour, shade, vertical_gradient

Draw = ImageDraw.ImageDraw
Rng = np.random.Generator

_SKIES: tuple[tuple[Colour, Colour], ...] = (
    ((92, 146, 210), (198, 220, 240)),
    ((128, 168, 214), (222, 232, 240)),
    ((158, 168, 180), (212, 216, 220)),
    ((186, 190, 196), (226, 226, 224)),
    ((70, 124, 196), (236, 214, 190)),
)
_WALLS: tuple[Colour, ...] = (
    (168, 96, 74),
    (196, 178, 150),
    (148, 146, 142),
    (214, 206, 190),
    (126, 84, 66),
    (180, 188, 194),
    (206, 170, 120),
    (110, 118, 126),
)
_GREENS: tuple[Colour, ...] = ((74, 106, 52), (96, 124, 60), (58, 88, 50), (122, 132, 66), (140, 118, 60))


def _pick(rng: Rng, options: tuple[Colour, ...]) -> Colour:
    return options[int(rng.integers(len(options)))]


def draw_scene(side: int, camera: Camera, night: bool, rng: Rng) -> Image.Image:
    """A square picture (``side`` pixels) of a place without the car, to the camera's horizon."""
    horizon = int(np.clip(camera.centre[1], 0.08 * side, 0.92 * side))
    image = Image.new("RGB", (side, side))
    top, low = _SKIES[int(rng.integers(len(_SKIES)))]
    image.paste(vertical_gradient((side, horizon + 1), ((0.0, top), (1.0, low))), (0, 0))
    draw = ImageDraw.Draw(image)
    if rng.random() < 0.6:
        _clouds(ImageDraw.Draw(image, "RGBA"), side, horizon, rng)

    def row(ahead: float) -> float:
        """Picture row of the road's surface this far behind the car's centre line, metres."""
        return horizon + camera.focal * camera.height / max(camera.distance + ahead, 0.5)

    places: tuple[Callable[[Draw, int, float, bool, Rng], None], ...] = (_town, _suburb, _country, _coast, _yard, _wood)
    place = places[int(rng.integers(len(places)))]
    far_edge = row(float(rng.uniform(2.2, 4.5)))
    verge = (
        _pick(rng, _GREENS)
        if place in (_country, _wood, _suburb)
        else shade((150, 148, 142), float(rng.uniform(0.8, 1.1)))
    )
    draw.rectangle((0, horizon, side, side), fill=verge)
    place(draw, side, horizon + 0.35 * (far_edge - horizon), night, rng)
    _road(image, side, far_edge, row, rng)
    return image


def _clouds(veil: Draw, side: int, horizon: int, rng: Rng) -> None:
    for _ in range(int(rng.integers(2, 6))):
        x, y = rng.uniform(0, side), rng.uniform(0, 0.8 * horizon)
        wide = rng.uniform(0.10, 0.30) * side
        for _ in range(4):
            dx, w = rng.uniform(-0.5, 0.5) * wide, rng.uniform(0.4, 0.9) * wide
            veil.ellipse((x + dx - w / 2, y - w * 0.12, x + dx + w / 2, y + w * 0.12), fill=(255, 255, 255, 60))


def _road(image: Image.Image, side: int, far_edge: float, row: Callable[[float], float], rng: Rng) -> None:
    tone = float(rng.uniform(0.75, 1.35))
    far, near = shade((104, 104, 106), tone), shade((78, 78, 82), tone)
    start = int(far_edge)
    if start < side:
        image.paste(vertical_gradient((side, side - start), ((0.0, far), (1.0, near))), (0, start))
    draw = ImageDraw.Draw(image)
    kerb = max(1.0, 0.012 * side)
    draw.rectangle((0, far_edge - kerb, side, far_edge), fill=shade((176, 174, 168), float(rng.uniform(0.7, 1.1))))
    markings = rng.random()
    if markings < 0.4:
        y = row(-float(rng.uniform(2.4, 3.4)))
        long, phase = float(rng.uniform(0.2, 0.5)) * side, float(rng.uniform(0, 1)) * side
        x = -phase
        while x < side:
            draw.polygon(
                [
                    (x, y),
                    (x + long, y),
                    (x + long - 0.02 * side, y + 0.018 * side),
                    (x - 0.02 * side, y + 0.018 * side),
                ],
                fill=(214, 212, 200),
            )
            x += 1.8 * long
    elif markings < 0.6:
        y = far_edge + 0.012 * side
        draw.rectangle((0, y, side, y + 0.007 * side), fill=(216, 186, 70))


def _windows(draw: Draw, box: tuple[float, float, float, float], side: int, night: bool, rng: Rng) -> None:
    """A grid of windows on the wall ``box``."""
    left, top, right, bottom = box
    pitch = float(rng.uniform(0.055, 0.10)) * side
    wide, tall = 0.5 * pitch, float(rng.uniform(0.55, 0.8)) * pitch
    glass = shade((86, 100, 116), float(rng.uniform(0.6, 1.2)))
    y = top + 0.35 * pitch
    while y + tall < bottom:
        x = left + 0.3 * pitch
        while x + wide < right:
            lit = rng.random() < (0.45 if night else 0.06)
            draw.rectangle((x, y, x + wide, y + tall), fill=(255, 226, 150) if lit else glass)
            x += pitch
        y += 1.4 * pitch


def _town(draw: Draw, side: int, base: float, night: bool, rng: Rng) -> None:
    x = -float(rng.uniform(0, 0.2)) * side
    while x < side:
        wide = float(rng.uniform(0.20, 0.45)) * side
        top = base - float(rng.uniform(0.25, 0.9)) * side
        wall = shade(_pick(rng, _WALLS), float(rng.uniform(0.75, 1.1)))
        draw.rectangle((x, top, x + wide, base), fill=wall)
        _windows(draw, (x, top, x + wide, base - 0.10 * side), side, night, rng)
        if rng.random() < 0.6:
            front = 0.09 * side
            draw.rectangle(
                (x + 0.02 * side, base - front, x + wide - 0.02 * side, base),
                fill=shade((70, 84, 96), float(rng.uniform(0.5, 1.3))),
            )
            draw.rectangle((x, base - front - 0.02 * side, x + wide, base - front), fill=shade(_pick(rng, _WALLS), 0.9))
        x += wide


def _suburb(draw: Draw, side: int, base: float, night: bool, rng: Rng) -> None:
    x = -float(rng.uniform(0, 0.3)) * side
    while x < side:
        wide = float(rng.uniform(0.28, 0.5)) * side
        tall = float(rng.uniform(0.16, 0.30)) * side
        wall = shade(_pick(rng, _WALLS), float(rng.uniform(0.85, 1.1)))
        roof = shade((128, 72, 56) if rng.random() < 0.6 else (84, 86, 92), float(rng.uniform(0.8, 1.2)))
        draw.rectangle((x, base - tall, x + wide, base), fill=wall)
        draw.polygon(
            [
                (x - 0.02 * side, base - tall),
                (x + wide * 0.25, base - 1.55 * tall),
                (x + wide * 0.75, base - 1.55 * tall),
                (x + wide * 1.02, base - tall),
            ],
            fill=roof,
        )
        _windows(draw, (x, base - tall, x + wide, base - 0.02 * side), side, night, rng)
        x += wide
        if rng.random() < 0.6:
            _tree(draw, x + 0.05 * side, base, float(rng.uniform(0.20, 0.42)) * side, rng)
            x += 0.10 * side
    if rng.random() < 0.5:
        draw.rectangle((0, base - 0.05 * side, side, base + 0.01 * side), fill=shade(_pick(rng, _GREENS), 0.8))


def _tree(draw: Draw, x: float, base: float, tall: float, rng: Rng) -> None:
    trunk = 0.05 * tall
    draw.rectangle((x - trunk, base - 0.5 * tall, x + trunk, base), fill=(78, 62, 48))
    green = shade(_pick(rng, _GREENS), float(rng.uniform(0.7, 1.1)))
    for k in range(7):
        dx, dy = float(rng.uniform(-0.25, 0.25)) * tall, float(rng.uniform(-0.25, 0.22)) * tall
        r = float(rng.uniform(0.14, 0.24)) * tall
        cx, cy = x + dx, base - 0.68 * tall + dy
        draw.ellipse((cx - r, cy - r, cx + r, cy + r), fill=shade(green, 0.82 + 0.06 * k))


def _hills(draw: Draw, side: int, base: float, colour: Colour, tall: float, rng: Rng) -> None:
    xs = np.linspace(0, side, 24)
    a, b = rng.uniform(0, 2 * np.pi, 2)
    wave = 0.5 + 0.3 * np.sin(xs / side * rng.uniform(3, 7) + a) + 0.2 * np.sin(xs / side * rng.uniform(8, 14) + b)
    line = np.column_stack([xs, base - tall * np.clip(wave, 0.05, 1)])
    draw.polygon([*map(tuple, line.tolist()), (side, base + side), (0, base + side)], fill=colour)


def _country(draw: Draw, side: int, base: float, night: bool, rng: Rng) -> None:
    for tone, tall in ((1.35, 0.22), (1.1, 0.13), (0.95, 0.06)):
        _hills(
            draw, side, base, shade(_pick(rng, _GREENS), tone, (170, 190, 210), 0.25 * (tone - 0.9)), tall * side, rng
        )
    for _ in range(int(rng.integers(0, 5))):
        _tree(draw, float(rng.uniform(0, side)), base + 0.01 * side, float(rng.uniform(0.15, 0.4)) * side, rng)
    if rng.random() < 0.4:
        for x in np.arange(float(rng.uniform(0, 0.1)) * side, side, 0.13 * side):
            draw.rectangle((x, base - 0.07 * side, x + 0.012 * side, base + 0.03 * side), fill=(132, 116, 96))
        for y in (base - 0.05 * side, base - 0.02 * side):
            draw.rectangle((0, y, side, y + 0.008 * side), fill=(144, 128, 106))


def _coast(draw: Draw, side: int, base: float, night: bool, rng: Rng) -> None:
    sea = shade((62, 112, 142), float(rng.uniform(0.8, 1.2)))
    draw.rectangle((0, base - 0.10 * side, side, base), fill=sea)
    for _ in range(8):
        x, y = float(rng.uniform(0, side)), base - float(rng.uniform(0.01, 0.09)) * side
        draw.line((x, y, x + 0.08 * side, y), fill=shade(sea, 1.25), width=1)
    if rng.random() < 0.5:
        _hills(draw, side, base - 0.10 * side, shade((110, 122, 128), 1.0), 0.10 * side, rng)
        draw.rectangle((0, base - 0.10 * side, side, base), fill=sea)
    draw.rectangle((0, base - 0.015 * side, side, base + 0.02 * side), fill=(206, 196, 166))
    for x in np.arange(0.02 * side, side, 0.11 * side):
        draw.rectangle((x, base - 0.07 * side, x + 0.01 * side, base), fill=(226, 226, 222))
    draw.rectangle((0, base - 0.07 * side, side, base - 0.058 * side), fill=(226, 226, 222))


def _yard(draw: Draw, side: int, base: float, night: bool, rng: Rng) -> None:
    wall = shade(_pick(rng, _WALLS), float(rng.uniform(0.7, 1.15)))
    top = base - float(rng.uniform(0.3, 0.8)) * side
    draw.rectangle((0, top, side, base), fill=wall)
    step = float(rng.uniform(0.03, 0.09)) * side
    for x in np.arange(0, side, step):
        draw.line((x, top, x, base), fill=shade(wall, 0.86), width=max(1, side // 140))
    x = float(rng.uniform(0, 0.6)) * side
    gate = shade((120, 132, 140), float(rng.uniform(0.6, 1.3)))
    draw.rectangle((x, base - 0.32 * side, x + 0.34 * side, base), fill=gate)
    for y in np.arange(base - 0.30 * side, base, 0.035 * side):
        draw.line((x, y, x + 0.34 * side, y), fill=shade(gate, 0.84), width=max(1, side // 140))


def _wood(draw: Draw, side: int, base: float, night: bool, rng: Rng) -> None:
    back = shade(_pick(rng, _GREENS), 0.62)
    _hills(draw, side, base, back, 0.5 * side, rng)
    draw.rectangle((0, base - 0.2 * side, side, base), fill=back)
    for x in rng.uniform(0, side, int(rng.integers(8, 18))):
        w = float(rng.uniform(0.008, 0.025)) * side
        draw.rectangle((x - w, base - 0.6 * side, x + w, base), fill=shade((92, 74, 58), float(rng.uniform(0.5, 1.1))))
    for _ in range(int(rng.integers(3, 7))):
        _tree(draw, float(rng.uniform(0, side)), base + 0.01 * side, float(rng.uniform(0.35, 0.7)) * side, rng)
