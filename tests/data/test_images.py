"""Decoding gives what a viewer would show, or one clear line."""

import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, features

from fmedge.data.images import load_photo
from fmedge.errors import ImageError, LimitExceeded, UsageError

SIZE = (8, 8)


def save(path, image, **options):
    image.save(path, **options)
    return path


def pixel(path, row=0, column=0):
    return tuple(int(value) for value in load_photo(path, SIZE).pixels[row, column])


@pytest.mark.parametrize("colour", [(255, 0, 0), (0, 255, 0), (0, 0, 255)])
@pytest.mark.parametrize("suffix", ["png", "bmp", "webp"])
def test_colours_are_red_green_blue(tmp_path, colour, suffix):
    options = {"lossless": True} if suffix == "webp" else {}
    path = save(tmp_path / f"a.{suffix}", Image.new("RGB", (5, 9), colour), **options)
    photo = load_photo(path, SIZE)
    assert photo.pixels.shape == (8, 8, 3)
    assert photo.pixels.dtype == np.uint8
    assert photo.original_size == (9, 5)
    assert (photo.pixels == np.array(colour, np.uint8)).all()


def test_size_is_height_by_width(picture):
    assert load_photo(picture, (10, 20)).pixels.shape == (10, 20, 3)
    assert load_photo(picture, SIZE).original_size == (90, 60)


def test_nearest_is_what_keras_load_img_does(picture):
    expected = np.asarray(Image.open(picture).convert("RGB").resize((224, 224), Image.Resampling.NEAREST))
    np.testing.assert_array_equal(load_photo(picture, (224, 224)).pixels, expected)
    assert (load_photo(picture, (224, 224), "bicubic").pixels != expected).any()
    with pytest.raises(UsageError, match="Closest: 'bilinear'"):
        load_photo(picture, SIZE, "bilinea")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path, orientation):
    upright = np.zeros((4, 6, 3), np.uint8)
    upright[0, 0], upright[0, -1], upright[-1, 0] = (250, 0, 0), (0, 250, 0), (0, 0, 250)
    stored = {  # how a camera stores the upright picture; EXIF 2.3, tag 0x0112
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path / "a.png", Image.fromarray(np.ascontiguousarray(stored)), exif=exif)
    photo = load_photo(path, (4, 6))
    assert photo.original_size == (4, 6)
    np.testing.assert_array_equal(photo.pixels, upright)


def test_transparent_pixels_are_laid_over_white(tmp_path):
    rgba = Image.new("RGBA", (4, 4), (200, 0, 0, 0))
    assert pixel(save(tmp_path / "a.png", rgba)) == (255, 255, 255)
    half = Image.new("RGBA", (4, 4), (0, 0, 0, 128))
    assert pixel(save(tmp_path / "b.png", half)) == (127, 127, 127)
    grey_alpha = Image.new("LA", (4, 4), (10, 0))
    assert pixel(save(tmp_path / "c.png", grey_alpha)) == (255, 255, 255)


def test_palette_and_its_transparent_colour(tmp_path):
    image = Image.new("P", (4, 4), 1)
    image.putpalette([0, 0, 0, 10, 20, 30, 40, 50, 60])
    assert pixel(save(tmp_path / "a.png", image)) == (10, 20, 30)
    assert pixel(save(tmp_path / "b.png", image, transparency=1)) == (255, 255, 255)
    assert pixel(save(tmp_path / "c.png", image, transparency=2)) == (10, 20, 30)


@pytest.mark.parametrize(("mode", "colour", "expected"), [("L", 77, (77,) * 3), ("1", 1, (255,) * 3)])
def test_grey_and_bilevel(tmp_path, mode, colour, expected):
    assert pixel(save(tmp_path / "a.png", Image.new(mode, (4, 4), colour))) == expected
    assert pixel(save(tmp_path / "b.png", Image.new(mode, (4, 4), colour), transparency=colour)) == (255,) * 3


@pytest.mark.parametrize(("value", "expected"), [(0, 0), (65535, 255), (257 * 100, 100), (300, 1)])
def test_sixteen_bit_grey_is_scaled_not_clipped(tmp_path, value, expected):
    image = Image.fromarray(np.full((4, 4), value, np.uint16))
    assert pixel(save(tmp_path / "a.png", image)) == (expected,) * 3


def test_sixteen_bit_grey_with_a_transparent_value(tmp_path):
    values = np.full((8, 8), 40_000, np.uint16)
    values[0, 0] = 500
    path = tmp_path / "a.png"
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 16, 0, 0, 0, 0)) + chunk(b"tRNS", struct.pack(">H", 500))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))
    assert pixel(path, 0, 0) == (255, 255, 255)
    assert pixel(path, 0, 1) == (156, 156, 156)


@pytest.mark.parametrize(
    ("depth", "colour_type", "row", "key", "expected"),
    [
        (4, 0, b"\x53", struct.pack(">H", 5), [(255,) * 3, (51,) * 3]),
        (2, 0, b"\x90", struct.pack(">H", 2), [(255,) * 3, (85,) * 3]),
        (
            16,
            2,
            struct.pack(">6H", 800, 1800, 2900, 9000, 8000, 7000),
            struct.pack(">3H", 800, 1800, 2900),
            [(255,) * 3, (35, 31, 27)],
        ),
    ],
    ids=["4-bit grey", "2-bit grey", "16-bit colour"],
)
def test_transparent_colour_of_other_depths(tmp_path, depth, colour_type, row, key, expected):
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 1, depth, colour_type, 0, 0, 0)) + chunk(b"tRNS", key)
    path = tmp_path / "a.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" + row)) + chunk(b"IEND", b""))
    pixels = load_photo(path, None).pixels[0]
    assert [tuple(int(value) for value in pixel) for pixel in pixels] == expected


def test_cmyk(tmp_path):
    path = save(tmp_path / "a.jpg", Image.new("CMYK", (16, 16), (0, 255, 255, 0)), quality=100)
    red, green, blue = pixel(path)
    assert red > 245
    assert green < 10
    assert blue < 10


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "PPM", "ICO", "PDF", "EPS"])
def test_other_formats_are_refused_under_any_name(tmp_path, kind):
    path = tmp_path / "photo.jpg"
    Image.new("RGB", (16, 16)).save(path, format=kind)
    with pytest.raises(ImageError, match="Allowed: undamaged JPEG, PNG, WebP or BMP"):
        load_photo(path, SIZE)


def test_files_that_are_no_images(tmp_path):
    text = tmp_path / "text.jpg"
    text.write_text("hello")
    empty = tmp_path / "empty.jpg"
    empty.touch()
    for path, message in [
        (text, "Cannot decode"),
        (empty, "is empty"),
        (tmp_path, "not a regular file"),
        (tmp_path / "gone.jpg", "No image"),
        (tmp_path / "nul\0.jpg", "No image"),
        (tmp_path / ("x" * 300), "No image"),
    ]:
        with pytest.raises(ImageError, match=message):
            load_photo(path, SIZE)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
def test_pipes_are_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(ImageError, match="not a regular file"):
        load_photo(tmp_path / "pipe.jpg", SIZE)


def test_truncated_photo_is_refused(tmp_path, picture):
    whole = save(tmp_path / "a.jpg", Image.open(picture)).read_bytes()
    path = tmp_path / "cut.jpg"
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ImageError, match="Cannot decode"):
        load_photo(path, SIZE)


@pytest.mark.parametrize("side", [10_000, 65_000])
def test_decompression_bombs(tmp_path, side):
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    path = tmp_path / "bomb.png"
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))
    )
    with pytest.raises(LimitExceeded, match="89,478,485 pixels allowed"):
        load_photo(path, SIZE)


def test_webp_is_built_in():
    assert features.check("webp")
