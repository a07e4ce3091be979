"""Things between the camera and the car: posts, trunks, passers-by, bushes, the edge of another car."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw

from .canvas import Colour, shade

Draw = ImageDraw.ImageDraw
Rng = np.random.Generator

_CLOTHES: tuple[Colour, ...] = (
    (60, 66, 92),
    (150, 52, 48),
    (58, 84, 66),
    (206, 196, 180),
    (36, 36, 40),
    (190, 140, 60),
)
_PAINTS: tuple[Colour, ...] = ((60, 64, 70), (188, 190, 192), (116, 32, 34), (42, 60, 98), (226, 226, 222))


def draw_obstacle(image: Image.Image, rng: Rng) -> None:
    """Draw one thing in front of the car, hiding about a twentieth to a fifth of it."""
    kinds: tuple[Callable[[Draw, int, Rng], None], ...] = (_post, _trunk, _passer_by, _bush, _next_car)
    kinds[int(rng.integers(len(kinds)))](ImageDraw.Draw(image), image.width, rng)


def _post(draw: Draw, side: int, rng: Rng) -> None:
    x, w = float(rng.uniform(0.1, 0.9)) * side, float(rng.uniform(0.008, 0.018)) * side
    metal = shade((118, 120, 122), float(rng.uniform(0.5, 1.3)))
    foot = float(rng.uniform(0.88, 1.0)) * side
    draw.rectangle((x - w, 0, x + w, foot), fill=metal)
    draw.rectangle((x - w, 0, x - w * 0.4, foot), fill=shade(metal, 1.3))
    draw.rectangle((x - 1.6 * w, foot - 0.06 * side, x + 1.6 * w, foot), fill=shade(metal, 0.7))
    if rng.random() < 0.5:
        r, y = 0.06 * side, float(rng.uniform(0.06, 0.16)) * side
        draw.ellipse((x - r, y - r, x + r, y + r), fill=(196, 40, 40))
        draw.ellipse((x - 0.75 * r, y - 0.75 * r, x + 0.75 * r, y + 0.75 * r), fill=(236, 236, 232))


def _trunk(draw: Draw, side: int, rng: Rng) -> None:
    x, w = (
        float(rng.choice([rng.uniform(0.06, 0.30), rng.uniform(0.70, 0.94)])) * side,
        float(rng.uniform(0.025, 0.05)) * side,
    )
    bark = shade((94, 76, 60), float(rng.uniform(0.6, 1.2)))
    foot = float(rng.uniform(0.90, 1.0)) * side
    draw.polygon([(x - w, 0), (x + w, 0), (x + 1.2 * w, foot), (x - 1.3 * w, foot)], fill=bark)
    for _ in range(6):
        dx, y = float(rng.uniform(-0.8, 0.8)) * w, float(rng.uniform(0, foot - 0.1 * side))
        draw.line((x + dx, y, x + dx * 1.1, y + 0.1 * side), fill=shade(bark, 0.75), width=max(1, side // 120))


def _passer_by(draw: Draw, side: int, rng: Rng) -> None:
    x, foot = float(rng.uniform(0.08, 0.92)) * side, float(rng.uniform(0.90, 1.02)) * side
    tall = float(rng.uniform(0.42, 0.56)) * side
    coat = _CLOTHES[int(rng.integers(len(_CLOTHES)))]
    legs = shade(_CLOTHES[int(rng.integers(len(_CLOTHES)))], 0.7)
    skin = shade((214, 172, 140), float(rng.uniform(0.45, 1.05)))
    u, swing = tall / 8, float(rng.uniform(-0.8, 0.8))
    for sign in (-1, 1):
        lean = sign * swing * u
        draw.polygon(
            [
                (x - 0.5 * u, foot - 4 * u),
                (x + 0.5 * u, foot - 4 * u),
                (x + lean + 0.35 * u, foot),
                (x + lean - 0.35 * u, foot),
            ],
            fill=shade(legs, 1.0 + 0.15 * sign),
        )
    draw.rounded_rectangle((x - 0.85 * u, foot - 6.8 * u, x + 0.85 * u, foot - 3.6 * u), radius=0.5 * u, fill=coat)
    for sign in (-1, 1):
        hand = x + sign * 0.95 * u - sign * swing * 0.5 * u
        draw.line(
            (x + sign * 0.75 * u, foot - 6.4 * u, hand, foot - 4.0 * u),
            fill=shade(coat, 0.8),
            width=max(1, int(0.42 * u)),
        )
    draw.ellipse((x - 0.5 * u, foot - 8 * u, x + 0.5 * u, foot - 6.8 * u), fill=skin)
    draw.chord(
        (x - 0.55 * u, foot - 8.1 * u, x + 0.55 * u, foot - 6.9 * u),
        180,
        360,
        fill=shade((70, 50, 36), float(rng.uniform(0.3, 1.6))),
    )


def _bush(draw: Draw, side: int, rng: Rng) -> None:
    green = shade((66, 98, 50), float(rng.uniform(0.7, 1.3)))
    centre, wide = (
        float(rng.choice([rng.uniform(0.0, 0.25), rng.uniform(0.75, 1.0)])) * side,
        float(rng.uniform(0.14, 0.26)) * side,
    )
    for k in range(16):
        x = centre + float(rng.normal(0, 0.45)) * wide
        r = float(rng.uniform(0.03, 0.06)) * side
        y = side - float(rng.uniform(0.0, 0.13)) * side
        draw.ellipse((x - r, y - r, x + r, y + r), fill=shade(green, 0.7 + 0.03 * k))


def _next_car(draw: Draw, side: int, rng: Rng) -> None:
    """The corner of a car parked nearer to the camera, cut off by the picture's edge."""
    paint = shade(_PAINTS[int(rng.integers(len(_PAINTS)))], float(rng.uniform(0.8, 1.1)))
    reach, top = float(rng.uniform(0.10, 0.22)), float(rng.uniform(0.66, 0.78))
    left = bool(rng.random() < 0.5)

    def at(x: float, y: float) -> tuple[float, float]:
        return ((x if left else 1.0 - x) * side, y * side)

    draw.polygon(
        [
            at(0, top),
            at(0.75 * reach, top + 0.015),
            at(reach, top + 0.06),
            at(reach + 0.01, 0.93),
            at(reach - 0.02, 1.0),
            at(0, 1.0),
        ],
        fill=paint,
    )
    draw.polygon(
        [at(0, top), at(0.75 * reach, top + 0.015), at(reach, top + 0.06), at(0, top + 0.05)],
        fill=shade(paint, 1.2, amount=0.1),
    )
    draw.polygon(
        [at(reach - 0.06, top + 0.07), at(reach, top + 0.075), at(reach, top + 0.12), at(reach - 0.05, top + 0.12)],
        fill=(206, 214, 222),
    )
    draw.polygon([at(0, 0.94), at(reach, 0.92), at(reach - 0.02, 1.0), at(0, 1.0)], fill=(38, 38, 40))
