"""What light, lens and sensor do to the drawn scene."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from .subject import LampSpot

Rng = np.random.Generator


@dataclass(frozen=True, slots=True)
class Light:
    """Light and camera of one photograph.

    Attributes
    ----------
    gain
        Factor of each channel (red, green, blue): colour and strength of the light.
    contrast, lift
        Slope about mid grey, and an offset in 0-1 units (haze).
    vignette
        Loss of light in the corners, 0 to 1.
    noise
        Standard deviation of the sensor's noise, 0-255 units.
    blur
        Radius of a Gaussian blur, as a part of the picture's side; 0 for none.
    night
        Windows are lit.
    lamps_on
        Cars have their lamps on.
    """

    gain: tuple[float, float, float]
    contrast: float
    lift: float
    vignette: float
    noise: float
    blur: float
    night: bool
    lamps_on: bool


def choose_light(rng: Rng) -> Light:
    """Day (eight in ten), dusk (three in twenty) or night (one in twenty), and what lens and sensor make of it."""
    hour = rng.random()
    night = bool(hour >= 0.95)
    if hour < 0.80:
        warm, bright = float(rng.normal(0, 0.04)), float(rng.uniform(0.80, 1.15))
        gain = (bright * (1 + warm), bright, bright * (1 - warm))
    elif not night:
        bright = float(rng.uniform(0.58, 0.80))
        gain = (bright * 1.14, bright * 0.94, bright * float(rng.uniform(0.74, 0.98)))
    else:
        bright = float(rng.uniform(0.40, 0.55))
        gain = (bright * 0.86, bright * 0.94, bright * 1.20)
    return Light(
        gain=gain,
        contrast=float(rng.uniform(0.88, 1.18)),
        lift=0.03 if night else float(rng.uniform(0.0, 0.06)),
        vignette=float(rng.uniform(0.0, 0.3)),
        noise=float(rng.uniform(1.0, 5.0)),
        blur=float(rng.uniform(0.003, 0.008)) if rng.random() < 0.15 else 0.0,
        night=night,
        lamps_on=night or bool(rng.random() < (0.12 if hour < 0.80 else 0.7)),
    )


def expose(drawn: Image.Image, size: int, light: Light, spots: list[LampSpot], rng: Rng) -> NDArray[np.uint8]:
    """The photograph: (size, size, 3) uint8, from a larger drawn picture.

    Parameters
    ----------
    drawn
        Square RGB picture, larger than ``size`` for smooth edges.
    size
        Side of the result, pixels.
    light
        Light and camera.
    spots
        Lit lamps, in pixels of ``drawn``; they glow the more, the darker the scene.
    rng
        For the noise.
    """
    small = drawn.resize((size, size), Image.Resampling.BOX)
    if light.blur:
        small = small.filter(ImageFilter.GaussianBlur(light.blur * size))
    picture = np.asarray(small, dtype=np.float32)
    gain = np.array(light.gain, dtype=np.float32) * np.float32(light.contrast)
    grey = 255 * (0.5 * (1 - light.contrast) * min(1.0, float(np.mean(light.gain))) + light.lift)
    picture = picture * gain + np.float32(grey)
    axis = np.linspace(-1, 1, size, dtype=np.float32) ** 2
    picture *= 1 - np.float32(light.vignette / 2) * (axis[:, None] + axis[None, :])[:, :, None]
    darkness = max(0.0, 1.0 - float(np.mean(light.gain)))
    pixels = np.arange(size, dtype=np.float32) + 0.5
    for spot in spots:
        x, y = spot.column * size / drawn.width, spot.row * size / drawn.width
        for spread, strength in ((1.0, 1.6), (3.2, 0.7 * darkness)):
            radius = max(0.8, spread * spot.radius * size / drawn.width)
            across = np.exp(-(((pixels - x) / radius) ** 2))
            down = np.exp(-(((pixels - y) / radius) ** 2))
            glow = np.float32(strength * darkness) * np.outer(down, across)
            picture += glow[:, :, None] * np.array(spot.colour, dtype=np.float32)
    # Luminance noise is finer and stronger than colour noise in ordinary sensors.
    picture += np.float32(light.noise) * rng.standard_normal((size, size, 1), dtype=np.float32)
    picture += np.float32(0.4 * light.noise) * rng.standard_normal((size, size, 3), dtype=np.float32)
    photograph: NDArray[np.uint8] = np.clip(picture + 0.5, 0, 255).astype(np.uint8)
    return photograph
