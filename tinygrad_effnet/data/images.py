"""Reading image files safely: by content, right way up, RGB, never larger than asked, never a decompression bomb."""

from __future__ import annotations

import os
import struct
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

FORMATS: tuple[str, ...] = ("JPEG", "PNG", "WEBP", "BMP")
"""Formats that are read, as Pillow names them; the content decides, not the file's name."""

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".heic", ".heif", ".avif"}
)
"""A file with one of these names claims to be an image, so it is reported if it cannot be read."""

MAX_PIXELS = 64_000_000
"""Default limit on width times height: above any car photograph, below what would exhaust a laptop's memory."""

Box = tuple[int, int, int, int]
"""Left, top, right and bottom of a part of a picture, pixels; right and bottom lie outside."""

_ORIENTATION = 0x0112
# All that Pillow's decoders are known to raise on a damaged file.
_DECODE_ERRORS = (OSError, SyntaxError, ValueError, EOFError, struct.error, IndexError, Image.DecompressionBombError)


class ImageReadError(OSError):
    """An image file cannot be read; the message names the file and why."""


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """What the header of an image file says: format, and size in pixels as stored."""

    format: str
    width: int
    height: int


def probe_image(path: str | os.PathLike[str], max_pixels: int = MAX_PIXELS) -> ImageInfo:
    """Read a file's header and check that the file is whole, without decoding it unless its end looks wrong.

    Parameters
    ----------
    path
        Image file.
    max_pixels
        Largest width times height accepted.

    Raises
    ------
    ImageReadError
        If the file is no image of the known formats, is too large, or is truncated.
    """
    path = Path(path)
    try:
        # Pillow's own, laxer limit would add a second warning to our error.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path, formats=FORMATS) as image:
                info = ImageInfo(str(image.format), *image.size)
                _check_pixels(path, info.width, info.height, max_pixels)
                if not _ends_well(path, info.format):
                    image.load()
    except ImageReadError:
        raise
    except _DECODE_ERRORS as error:
        raise ImageReadError(_explain(path, error)) from error
    return info


def read_image(
    path: str | os.PathLike[str],
    shorter_side: int | None = None,
    max_pixels: int = MAX_PIXELS,
    box: Box | None = None,
) -> NDArray[np.uint8]:
    """Decode an image file, or a part of it, to RGB, upright.

    EXIF orientation is applied. Grey, palette, CMYK and 16-bit files become 8-bit RGB; transparent parts become white.

    Parameters
    ----------
    path
        Image file.
    shorter_side
        Reduce the picture so that its shorter side has this many pixels; smaller pictures stay as they are. Large
        JPEG files are then decoded at a fraction of their size, which is several times faster.
    max_pixels
        Largest width times height accepted.
    box
        Only this part, in pixels of the file as stored, before its EXIF orientation is applied.

    Returns
    -------
    numpy.ndarray
        (height, width, 3) uint8, C-contiguous.

    Raises
    ------
    ImageReadError
        If the file cannot be decoded, or is too large.
    """
    path = Path(path)
    try:
        with Image.open(path, formats=FORMATS) as image:
            _check_pixels(path, *image.size, max_pixels)
            width, height = image.size
            if shorter_side is not None and image.format == "JPEG":
                # Twice the wanted size leaves the final reduction enough to average over.
                part = image.size if box is None else (box[2] - box[0], box[3] - box[1])
                scale = min(1.0, 2 * shorter_side / min(part))
                image.draft(None, (max(1, round(width * scale)), max(1, round(height * scale))))
            picture = image if box is None else image.crop(_scaled(box, image.width / width, image.height / height))
            if image.getexif().get(_ORIENTATION, 1) != 1:
                picture = ImageOps.exif_transpose(picture)
            return np.array(shrink(_to_rgb(picture), shorter_side))
    except ImageReadError:
        raise
    except _DECODE_ERRORS as error:
        raise ImageReadError(_explain(path, error)) from error


def shrink(image: Image.Image, shorter_side: int | None) -> Image.Image:
    """``image`` reduced so that its shorter side has ``shorter_side`` pixels; itself if it is no larger."""
    if shorter_side is None or min(image.size) <= shorter_side:
        return image
    return image.resize(_reduced(image.size, shorter_side), Image.Resampling.BILINEAR, reducing_gap=3.0)


def _scaled(box: Box, across: float, down: float) -> Box:
    left, top = int(box[0] * across), int(box[1] * down)
    return left, top, max(left + 1, round(box[2] * across)), max(top + 1, round(box[3] * down))


def _reduced(size: tuple[int, int], shorter_side: int) -> tuple[int, int]:
    scale = min(1.0, shorter_side / min(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _check_pixels(path: Path, width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise ImageReadError(
            f"{path}: {width}x{height} pixels are more than the limit of {max_pixels:,}; a decompression bomb, or a "
            "picture to reduce first (or pass a larger max_pixels)"
        )


def _explain(path: Path, error: BaseException) -> str:
    if isinstance(error, FileNotFoundError):
        return f"{path}: no such file; restore it, or remove it from the list"
    if isinstance(error, PermissionError):
        return f"{path}: no permission to read it"
    if isinstance(error, Image.DecompressionBombError):
        # Pillow refuses the very largest itself, before their size can be compared with max_pixels.
        return f"{path}: a decompression bomb, or a picture to reduce first ({error})"
    if isinstance(error, UnidentifiedImageError):
        return f"{path}: not a readable {'/'.join(FORMATS)} file; convert or remove it"
    return f"{path}: damaged or truncated image ({error}); replace or remove it"


def _ends_well(path: Path, kind: str) -> bool:
    """Whether the end of the file looks complete. False means only: decode it to be sure."""
    with path.open("rb") as file:
        length = file.seek(0, os.SEEK_END)
        if kind in ("WEBP", "BMP"):
            file.seek(4 if kind == "WEBP" else 2)
            declared = int.from_bytes(file.read(4), "little") + (8 if kind == "WEBP" else 0)
            return length >= declared > 0
        # Some cameras and editors append data after the end marker.
        file.seek(max(0, length - 64))
        return (b"\xff\xd9" if kind == "JPEG" else b"IEND") in file.read()


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB":
        return image
    if image.mode.startswith("I;16") or image.mode == "I":
        # Pillow clips 16-bit grey at 255 instead of scaling it.
        grey = np.asarray(image, dtype=np.int64) >> 8
        return Image.fromarray(np.clip(grey, 0, 255).astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        layered = image.convert("RGBA")
        ground = Image.new("RGB", image.size, "white")
        ground.paste(layered, mask=layered.getchannel("A"))
        return ground
    return image.convert("RGB")
