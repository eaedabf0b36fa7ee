"""Turning, converting and resizing in strips gives the same bytes as doing it with the whole image."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from fmedge.data import upright
from fmedge.data.images import load_photo
from fmedge.data.upright import Upright, nearest_indices
from support.places import ROOT

RNG = np.random.default_rng(20)
TALL, WIDE = (83, 47), (47, 83)  # Pillow resizes one of them along the columns first
SIZES = ((17, 29), (83, 47), (100, 60), (1, 1))


def whole(image, size, resize):
    """Do it the plain way, which holds the image several times: turn, convert, lay over white, resize."""
    turned = ImageOps.exif_transpose(image)
    if turned.has_transparency_data:
        layer = turned.convert("RGBA")
        turned = Image.alpha_composite(Image.new("RGBA", layer.size, (255,) * 4), layer)
    rgb = turned.convert("RGB")
    return np.asarray(rgb if size is None else rgb.resize(size[::-1], Image.Resampling[resize.upper()]))


def pictures(height, width):
    blocks = RNG.integers(0, 256, (height // 4 + 1, width // 4 + 1, 4), np.uint8).repeat(4, 0).repeat(4, 1)
    rgba = Image.fromarray(blocks[:height, :width] ^ RNG.integers(0, 8, (height, width, 4), np.uint8))
    modes = {mode: rgba.convert(mode) for mode in ("RGB", "L", "LA", "1", "CMYK")}
    keyed = {mode: modes[mode].copy() for mode in ("RGB", "L", "1")}
    for image in keyed.values():
        image.info["transparency"] = image.getpixel((3, 3))
    palette = modes["RGB"].quantize(64)
    return [rgba, *modes.values(), *keyed.values(), palette, rgba.quantize(64)]


@pytest.fixture
def _narrow_strips(monkeypatch):
    monkeypatch.setattr(upright, "STRIP_PIXELS", 300)  # 3 to 6 rows


@pytest.mark.usefixtures("_narrow_strips")
@pytest.mark.parametrize("resize", upright.RESIZES)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_strips_equal_the_whole(cases, orientation, resize):
    for image in (*pictures(*TALL), *pictures(*WIDE)):
        image.getexif()[0x0112] = orientation
        for size in (None, *SIZES):
            turned = Upright(image, orientation)
            wanted = whole(image, size, resize)
            np.testing.assert_array_equal(turned.pixels(size, resize), wanted, f"{image.mode} {size}")
            assert turned.size == whole(image, None, resize).shape[:2]
            cases("images", 1)


@pytest.mark.parametrize("stored", [1, 2, 3, 7, 224, 448, 1000, 3024, 4032, 8064, 65_535])
def test_nearest_indices_are_those_that_pillow_takes(stored):
    line = Image.fromarray(np.arange(stored, dtype=np.int32)[np.newaxis])
    for wanted in (1, 2, 3, 7, 97, 223, 224, 225, 448, 1000):
        taken = np.asarray(line.resize((wanted, 1), Image.Resampling.NEAREST))[0]
        np.testing.assert_array_equal(nearest_indices(stored, wanted), taken, f"{stored} to {wanted}")


@pytest.mark.parametrize("orientation", [1, 3, 6, 7])
@pytest.mark.parametrize(
    ("kind", "options"), [("JPEG", {}), ("JPEG", {"progressive": True}), ("PNG", {}), ("WEBP", {})]
)
def test_large_files_of_all_formats(tmp_path, kind, options, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    small = Image.fromarray(RNG.integers(0, 256, (60, 80, 3), np.uint8))
    small.resize((1200, 903), Image.Resampling.BICUBIC).save(tmp_path / "a", kind, exif=exif, **options)
    with Image.open(tmp_path / "a") as image:
        for resize in upright.RESIZES:
            photo = load_photo(tmp_path / "a", (224, 224), resize)
            np.testing.assert_array_equal(photo.pixels, whole(image, (224, 224), resize))


def test_anything_else_is_no_orientation():
    image = Image.fromarray(RNG.integers(0, 256, (3, 5, 3), np.uint8))
    for orientation in (0, 9, -1, 6.5, "6", (6,), None):
        assert Upright(image, orientation).size == (3, 5)


def test_memory_that_is_asked_for():
    image = Image.new("L", (100, 100_000))
    assert Upright(image).working_bytes((224, 224), "nearest") < 10e6
    assert Upright(Image.new("L", (100_000, 3))).working_bytes((224, 224), "bilinear") > 100_000 * 16
    assert Upright(Image.new("L", (300, 100_000))).working_bytes((9000, 224), "bilinear") > 300 * 9000 * 4
    assert Upright(image).working_bytes(None, "nearest") > 100 * 100_000 * 3


PEAK = """
import sys
from pathlib import Path
from PIL import Image
from fmedge.system.memory import peak_bytes
if sys.argv[2] == "pillow":
    Image.open(sys.argv[1]).load()
else:
    from fmedge.data.images import load_photo
    load_photo(Path(sys.argv[1]), (224, 224), sys.argv[2])
print(peak_bytes())
"""


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="a process' own peak is told by Linux alone")
@pytest.mark.parametrize(("kind", "mode"), [("JPEG", "RGB"), ("PNG", "RGBA")])
def test_a_phone_photo_is_held_once(tmp_path, kind, mode):
    """24 megapixels, stored on their side, take at most 1.5 times the memory that Pillow takes to decode them."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new(mode, (6000, 4000), (9, 90, 200, 99)[: len(mode)]).save(tmp_path / "a", kind, exif=exif)
    words = [sys.executable, "-c", PEAK, tmp_path / "a"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}

    def peak(how):
        return int(subprocess.run([*words, how], env=environment, capture_output=True, check=True, text=True).stdout)

    alone = peak("pillow")
    assert alone > 90e6
    for resize in upright.RESIZES:
        assert peak(resize) <= 1.5 * alone, resize
