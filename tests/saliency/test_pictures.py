from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tinygrad_effnet.saliency import draw_explanation

RNG = np.random.default_rng(0)
GREY = np.full((64, 64, 3), 128, np.uint8)


def panels(path: Path) -> list[np.ndarray]:
    """The three pictures in the drawing, (h, w, 3): the columns between white gaps."""
    drawn = np.asarray(Image.open(path).convert("RGB"))
    middle = drawn[int(len(drawn) * 0.4)]  # where none of the pictures is white
    inked = (middle != 255).any(axis=1)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], inked.astype(int), [0]])))
    spans = [(a, b) for a, b in zip(edges[::2], edges[1::2], strict=True) if b - a > 150]
    return [drawn[:, a:b] for a, b in spans[:3]]


def test_heat_and_pixels_are_where_they_were_found(tmp_path: Path):
    cam = np.zeros((2, 2))
    cam[0, 1] = 3.0  # right above
    gradient = np.zeros((3, 64, 64))
    gradient[1, 40:, :24] = -1.0  # left below
    answers = [("50 $ car, cheap", 0.75), ("a very long name of a class that fits nowhere", 0.25)]
    path = draw_explanation(tmp_path / "p.png", GREY, cam, gradient, answers)
    _, heat, pixels = panels(path)
    square = slice(int(len(heat) * 0.25), int(len(heat) * 0.85))
    heat, pixels = heat[square], pixels[square]
    half = heat.shape[1] // 2
    coloured = np.ptp(heat.astype(int), axis=2)
    top, bottom = slice(0, len(heat) // 3), slice(2 * len(heat) // 3, None)
    assert coloured[top, half:].mean() > 5 * coloured[bottom, :half].mean() + 5
    assert pixels[bottom, : half // 2].mean() > 200
    assert pixels[top, half:].mean() < 20
    assert not list(tmp_path.glob(".*"))


def test_nothing_found_is_drawn_as_nothing(tmp_path: Path):
    flat = draw_explanation(tmp_path / "p.png", GREY, np.zeros((2, 2)), np.zeros((3, 64, 64)), [("a", 1.0)])
    _, heat, _ = panels(flat)
    inside = heat[len(heat) // 3 : len(heat) // 2, 20:-20]
    assert np.ptp(inside.astype(int), axis=2).max() == 0


def test_the_same_is_drawn_the_same_and_written_whole(tmp_path: Path, monkeypatch):
    given = (GREY, RNG.random((3, 3)), RNG.standard_normal((3, 64, 64)), [("a", 0.6), ("b", 0.4)])
    first = draw_explanation(tmp_path / "1.png", *given).read_bytes()
    assert draw_explanation(tmp_path / "2.png", *given).read_bytes() == first
    with pytest.raises(FileNotFoundError):
        draw_explanation(tmp_path / "none" / "1.png", *given)
