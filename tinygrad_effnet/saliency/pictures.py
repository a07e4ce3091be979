"""Explanations drawn beside the photograph that they explain."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from ..files import atomic_write

HEAT = "inferno"
SIDE = 384  # of each picture, pixels
_GREY = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601 luma


def enlarged(values: NDArray[Any], height: int, width: int) -> NDArray[np.float32]:
    """A map (h, w) spread over (height, width), linearly between the middles of its cells."""
    image = Image.fromarray(np.ascontiguousarray(values, dtype=np.float32))
    return np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))


def draw_explanation(
    path: str | os.PathLike[str],
    photograph: NDArray[np.uint8],
    cam: NDArray[Any],
    gradient: NDArray[Any],
    answers: list[tuple[str, float]],
) -> Path:
    """Write one PNG: the photograph, where the evidence lies in it, which pixels matter, and the likeliest classes.

    Parameters
    ----------
    path : path
        The file; it is written whole or not at all.
    photograph : array
        (H, W, 3) uint8: the part that the network saw.
    cam : array
        (h, w), from `grad_cam` for the first of the answers; drawn from 0 to its largest value.
    gradient : array
        (C, h, w), from `input_gradient`; of each pixel the largest of the channels' absolute values is drawn, up to
        that which one in a hundred exceeds.
    answers : list of (str, float)
        Classes and their probabilities, likeliest first.
    """
    figure = Figure(figsize=(13.2, 4.2), dpi=100, facecolor="white", layout="constrained")
    photo, where, pixels, bars = figure.subplots(1, 4, gridspec_kw={"width_ratios": (1, 1, 1, 0.75)})
    for axes in (photo, where, pixels):
        axes.set_axis_off()
    photo.imshow(photograph)
    where.imshow(_heated(photograph, cam))
    pixels.imshow(_strengths(gradient), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    titles = (
        "what the network saw",
        f"Grad-CAM: {_short(answers[0][0])}",
        "gradient: pixels that matter",
    )
    for axes, title in zip((photo, where, pixels), titles, strict=True):
        axes.set_title(title, fontsize=11)
    _draw_answers(bars, answers)
    FigureCanvasAgg(figure)

    def write(file: BinaryIO) -> None:
        figure.savefig(file, format="png", metadata={"Software": None})

    atomic_write(path, write)
    return Path(path)


def _heated(photograph: NDArray[np.uint8], cam: NDArray[Any]) -> NDArray[np.float64]:
    """The photograph in grey, coloured where there is evidence, the more the stronger."""
    height, width = photograph.shape[:2]
    heat = enlarged(cam / max(float(cam.max()), np.finfo(np.float32).tiny), height, width)[..., None].clip(0, 1)
    grey = np.repeat((photograph / 255 @ _GREY)[..., None], 3, axis=2)
    share = 0.65 * heat
    mixed: NDArray[np.float64] = (1 - share) * grey + share * colormaps[HEAT](heat[..., 0])[..., :3]
    return mixed


def _strengths(gradient: NDArray[Any]) -> NDArray[Any]:
    """(C, h, w) to (h, w) from 0 to 1."""
    strengths = np.abs(gradient).max(axis=0)
    most = float(np.percentile(strengths, 99))
    return np.clip(strengths / most, 0, 1) if most > 0 else strengths


def _draw_answers(axes: Any, answers: list[tuple[str, float]]) -> None:
    names = [_short(name) for name, _ in answers]
    shares = [share for _, share in answers]
    places = np.arange(len(answers))
    axes.barh(places, shares, height=0.35, color=["#b33a3a"] + ["#c9c9c9"] * (len(answers) - 1))
    for place, name, share in zip(places, names, shares, strict=True):
        axes.text(0, place - 0.26, f"{name}  {share:.1%}".replace("%", " %"), fontsize=10, va="bottom")
    axes.set(xlim=(0, 1), ylim=(len(answers) - 0.4, -0.75))
    axes.set_axis_off()


def _short(name: str) -> str:
    """As much as there is room for; dollar signs would begin a formula."""
    return (name if len(name) <= 28 else f"{name[:27]}…").replace("$", r"\$")
