from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tinygrad_effnet.data import ImageReadError, probe_image, read_image


def _picture(width: int = 60, height: int = 40) -> Image.Image:
    """A smooth picture: red grows to the right, green downwards."""
    rows, columns = np.mgrid[0:height, 0:width]
    red, green = columns * 255 // (width - 1), rows * 255 // (height - 1)
    return Image.fromarray(np.stack([red, green, np.full_like(red, 90)], axis=2).astype(np.uint8))


@pytest.mark.parametrize(("suffix", "kind"), [(".jpg", "JPEG"), (".png", "PNG"), (".webp", "WEBP"), (".bmp", "BMP")])
def test_formats(tmp_path: Path, suffix: str, kind: str):
    path = tmp_path / f"a{suffix}"
    _picture().save(path, quality=95)
    info = probe_image(path)
    assert (info.format, info.width, info.height) == (kind, 60, 40)
    picture = read_image(path)
    assert picture.shape == (40, 60, 3)
    assert picture.flags.c_contiguous
    assert np.abs(picture.astype(int) - np.asarray(_picture()).astype(int)).mean() < 4


def test_content_decides_not_the_name(tmp_path: Path):
    path = tmp_path / "a.jpg"
    _picture().save(path, format="PNG")
    assert probe_image(path).format == "PNG"
    np.testing.assert_array_equal(read_image(path), np.asarray(_picture()))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int):
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = _picture().transpose(undo[orientation]) if orientation > 1 else _picture()
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "a.png"
    stored.save(path, exif=exif)
    np.testing.assert_array_equal(read_image(path), np.asarray(_picture()))


def test_grey(tmp_path: Path):
    path = tmp_path / "a.png"
    grey = _picture().convert("L")
    grey.save(path)
    np.testing.assert_array_equal(read_image(path), np.asarray(grey)[:, :, None].repeat(3, axis=2))


def test_16_bit_grey_is_scaled_not_clipped(tmp_path: Path):
    path = tmp_path / "a.png"
    values = np.arange(0, 2**16, 64, dtype=np.uint16).reshape(32, 32)
    Image.fromarray(values).save(path)
    np.testing.assert_array_equal(read_image(path)[:, :, 1], values >> 8)


def test_palette_and_transparency_become_white(tmp_path: Path):
    layered = _picture().convert("RGBA")
    layered.putalpha(Image.new("L", layered.size, 0))
    layered.save(tmp_path / "a.png")
    assert (read_image(tmp_path / "a.png") == 255).all()
    palette = _picture().quantize(8)
    palette.save(tmp_path / "b.png")
    np.testing.assert_array_equal(read_image(tmp_path / "b.png"), np.asarray(palette.convert("RGB")))


def test_cmyk(tmp_path: Path):
    path = tmp_path / "a.jpg"
    _picture().convert("CMYK").save(path, quality=95)
    picture = read_image(path)
    assert picture.shape == (40, 60, 3)
    assert np.abs(picture.astype(int) - np.asarray(_picture()).astype(int)).mean() < 8


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_shorter_side(tmp_path: Path, suffix: str, orientation: int):
    path = tmp_path / f"a{suffix}"
    exif = Image.Exif()
    exif[0x0112] = orientation
    _picture(900, 600).save(path, exif=exif)
    picture = read_image(path, 50)
    assert picture.shape == ((50, 75, 3) if orientation == 1 else (75, 50, 3))
    assert read_image(path, 5000).shape[:2] in ((600, 900), (900, 600))


def test_a_reduced_jpeg_looks_like_the_whole_one(tmp_path: Path):
    path = tmp_path / "a.jpg"
    _picture(900, 600).save(path, quality=95)
    small = np.asarray(_picture(900, 600).resize((75, 50), Image.Resampling.BOX)).astype(int)
    assert np.abs(read_image(path, 50).astype(int) - small).mean() < 3


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".bmp"])
def test_truncated_files_are_found_by_the_probe_and_named(tmp_path: Path, suffix: str):
    path = tmp_path / f"cut{suffix}"
    noise = np.random.default_rng(0).integers(0, 256, (80, 120, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    for read in (probe_image, read_image):
        with pytest.raises(ImageReadError, match=f"cut{suffix}.*"):
            read(path)


def test_bytes_after_the_end_of_a_jpeg_do_no_harm(tmp_path: Path):
    path = tmp_path / "a.jpg"
    _picture().save(path)
    path.write_bytes(path.read_bytes() + bytes(5000))
    assert probe_image(path).format == "JPEG"


def test_bombs_are_refused_by_their_header(tmp_path: Path):
    for side, message in (
        (9000, "9000x9000 pixels are more than the limit of 64,000,000"),
        (15000, "a decompression bomb"),
    ):
        path = tmp_path / f"bomb{side}.png"
        Image.new("1", (side, side)).save(path)
        for read in (probe_image, read_image):
            with pytest.raises(ImageReadError, match=f"bomb{side}.png: {message}"):
                read(path)
    with pytest.raises(ImageReadError, match="limit of 100"):
        small = tmp_path / "small.png"
        _picture().save(small)
        read_image(small, max_pixels=100)


@pytest.mark.parametrize("content", [b"", b"hello", b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n" + bytes(20)])
def test_rubbish_is_an_error_that_names_the_file(tmp_path: Path, content: bytes):
    path = tmp_path / "rubbish.jpg"
    path.write_bytes(content)
    for read in (probe_image, read_image):
        with pytest.raises(ImageReadError, match="rubbish.jpg"):
            read(path)


def test_missing_file(tmp_path: Path):
    with pytest.raises(ImageReadError, match="gone.png: no such file"):
        read_image(tmp_path / "gone.png")
