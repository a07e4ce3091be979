"""One picture: choose a view, paint and light by chance, draw from far to near, and take the photograph."""

from __future__ import annotations

import colorsys

import numpy as np
from numpy.typing import NDArray

from ..images import Box
from .body import CarModel
from .camera import Camera
from .canvas import Canvas, Colour, shade
from .fittings import draw_cockpit, draw_mirrors, draw_rails
from .flank import draw_flank
from .obstacles import draw_obstacle
from .photograph import choose_light, expose
from .scenery import draw_scene
from .skin import draw_end, draw_skin
from .subject import Finish, Subject
from .underside import draw_far_wheels, draw_near_wheels, draw_shadow, draw_underbody

Rng = np.random.Generator

_OBSTACLE_PART = 0.2
# Hue, saturation and value of the paints, and how often each is seen on the road.
_PAINTS: tuple[tuple[float, float, float, float], ...] = (
    (0.60, 0.02, 0.92, 0.18),
    (0.60, 0.03, 0.72, 0.14),
    (0.60, 0.06, 0.44, 0.14),
    (0.62, 0.10, 0.17, 0.12),
    (0.61, 0.75, 0.55, 0.12),
    (0.00, 0.80, 0.68, 0.11),
    (0.36, 0.50, 0.40, 0.06),
    (0.07, 0.85, 0.85, 0.04),
    (0.14, 0.75, 0.88, 0.04),
    (0.09, 0.35, 0.62, 0.05),
)


def render(
    model: CarModel, size: int, rng: Rng, fill: tuple[float, float] = (0.84, 1.02)
) -> tuple[NDArray[np.uint8], Box]:
    """One photograph-like picture, and the box around the car in it; all choices are drawn from ``rng``.

    Parameters
    ----------
    model
        What stands before the camera.
    size
        Side of the picture, pixels.
    rng
        Chooses view, paint, light, place and noise.
    fill
        Least and greatest part of the picture's side that the car takes.

    Returns
    -------
    tuple
        Picture (size, size, 3) uint8 RGB, and left, top, right and bottom of the car in pixels, right and bottom
        outside, cut to the picture. What stands in the way may hide the car in part.
    """
    # Edges are smoothed by drawing larger; beyond 160 pixels twice is enough.
    side = size * (3 if size <= 160 else 2)
    light = choose_light(rng)
    camera = _choose_camera(model, side, fill, rng)
    mirrored = bool(rng.random() < 0.5)
    image = draw_scene(side, camera, light.night, rng)
    car = Subject(Canvas(image, camera), model, _choose_finish(model, light.lamps_on, rng))
    draw_car(car)
    if rng.random() < _OBSTACLE_PART:
        draw_obstacle(image, rng)
    photograph = expose(image, size, light, car.spots, rng)
    left, top, right, bottom = _box(model, camera, size / side, size)
    if mirrored:
        return np.ascontiguousarray(photograph[:, ::-1]), (size - right, top, size - left, bottom)
    return photograph, (left, top, right, bottom)


def draw_car(car: Subject) -> None:
    """Draw the car on its canvas, from the far side to the near one."""
    draw_shadow(car)
    draw_underbody(car)
    draw_far_wheels(car)
    for shell in car.model.shells[::-1] if car.shows_front else car.model.shells:
        draw_skin(car, shell)
        draw_end(car, shell)
        if car.model.open_top:
            draw_cockpit(car, shell)
        draw_flank(car, shell)
    draw_near_wheels(car)
    draw_rails(car)
    draw_mirrors(car)


def _box(model: CarModel, camera: Camera, scale: float, size: int) -> Box:
    """Around body and wheels, in a picture that is ``scale`` times as large as the drawn one and has that ``size``."""
    points = []
    for shell in model.shells:
        xy = shell.curve[0]
        half = shell.half_width(xy[:, 0], xy[:, 1])
        points += [np.column_stack([xy, -half]), np.column_stack([xy, half])]
    side = model.shells[0].width / 2
    # The windscreen of an open car stands above its body, where the mirrors are.
    ends = [(x + reach, 0.0) for x in model.axles for reach in (-model.wheel, model.wheel)]
    ends += [(model.mirror[0], model.height)] if model.open_top else []
    points.append(np.array([(x, y, z) for x, y in ends for z in (-side, side)]))
    flat = camera.project(np.concatenate(points)) * scale
    left, top = np.floor(flat.min(axis=0)).clip(0, size - 1).astype(int).tolist()
    right, bottom = np.ceil(flat.max(axis=0)).clip(1, size).astype(int).tolist()
    return left, top, right, bottom


def _choose_camera(model: CarModel, side: int, fill: tuple[float, float], rng: Rng) -> Camera:
    x_stretch, y_stretch = rng.normal(1.0, 0.022, 2).clip(0.95, 1.05).tolist()
    yaw = float(rng.uniform(0.06, 0.55)) * (1.0 if rng.random() < 0.55 else -1.0)
    view = Camera(
        yaw=yaw,
        height=float(rng.uniform(0.9, 2.3)) * (1.25 if model.tall else 1.0),
        distance=float(rng.uniform(1.7, 2.6)) * model.length,
        pivot=model.length / 2,
        stretch=(x_stretch, y_stretch, 1.0),
        roll=float(rng.normal(0, 0.02)),
    )
    half = max(shell.width for shell in model.shells) / 2
    corners = np.array([(x, y, z) for x in (0.0, model.length) for y in (0.0, model.height) for z in (-half, half)])
    part = float(rng.uniform(*fill))
    centre = (float(rng.uniform(0.47, 0.53)), float(rng.uniform(0.52, 0.64)))
    return view.framed(corners, side, part, centre)


def _choose_paint(rng: Rng) -> Colour:
    weights = np.array([p[3] for p in _PAINTS])
    hue, saturation, value, _ = _PAINTS[int(np.searchsorted(np.cumsum(weights), rng.random() * weights.sum()))]
    hue += float(rng.normal(0, 0.015))
    saturation = min(1.0, max(0.0, saturation + float(rng.normal(0, 0.04))))
    value = min(1.0, max(0.08, value * (1 + float(rng.normal(0, 0.08)))))
    return shade([255 * c for c in colorsys.hsv_to_rgb(hue % 1.0, saturation, value)], 1.0)


def _choose_finish(model: CarModel, lamps_on: bool, rng: Rng) -> Finish:
    body, second, third = _choose_paint(rng), _choose_paint(rng), _choose_paint(rng)
    # Firms paint their vans and lorries, and white boxes are the commonest.
    cargo = (228, 228, 224) if model.chassis is not None and rng.random() < 0.35 else third
    return Finish(
        paint=body,
        roof=second if rng.random() < 0.15 else body,
        cargo=cargo,
        rim=shade((196, 198, 202), float(rng.uniform(0.45, 1.15))),
        spokes=(0, 5, 6, 7, 10)[int(rng.integers(5))],
        tint=float(rng.uniform(0.1, 1.0)),
        trim=(30, 31, 33) if rng.random() < 0.6 else (176, 180, 184),
        stripe=second if rng.random() < (0.45 if model.tall else 0.08) else None,
        lamps_on=lamps_on,
        sun=float(rng.uniform(0.84, 1.10)),
    )
