"""From an image file to the pixels VGG16 takes."""

from __future__ import annotations

import importlib
import stat
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from fmedge.choices import one_of, require_whole
from fmedge.errors import ImageError, LimitExceeded, UsageError

MEAN_BGR = (103.939, 116.779, 123.68)
"""Mean of the ImageNet training pixels per channel, 0 to 255, blue first: subtracted by Keras'
``vgg16.preprocess_input`` (its "caffe" mode), which scales nothing."""

FORMATS = ("JPEG", "PNG", "WEBP", "BMP")
"""The formats that are opened, as Pillow names them. Pillow knows forty more; some of them run other
programs or read other files."""

_PLUGINS = ("Jpeg", "Png", "WebP", "Bmp")

MAX_PIXELS = 89_478_485
"""Largest image accepted where nobody says otherwise, in pixels: where Pillow begins to warn of a decompression bomb,
1/4 GiB as RGB."""

MOST_PIXELS = 2 * MAX_PIXELS
"""Largest bound that can be set: above it Pillow refuses every image."""

Resize = Literal["nearest", "bilinear", "bicubic"]
"""How an image is brought to the model's size."""

_FILTERS: dict[str, Image.Resampling] = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}


@dataclass(frozen=True, slots=True)
class Photo:
    """A decoded and resized image.

    Attributes:
        pixels: uint8, (height, width, 3), RGB, 0 to 255.
        name: The file's name, without its folder; with a ? for every byte of it that is no UTF-8.
        original_size: Height and width as decoded and turned upright, in pixels, before resizing.
    """

    pixels: npt.NDArray[np.uint8]
    name: str
    original_size: tuple[int, int]


def load_photo(
    path: Path, size: tuple[int, int] | None, resize: Resize = "nearest", max_pixels: int | None = None
) -> Photo:
    """Open an image, turn it upright as its EXIF orientation says, bring it to RGB and resize it.

    Grey and palette images become RGB, transparent pixels are laid over white, 16-bit values keep
    their upper 8 bits' scale, CMYK is converted. An embedded colour profile is not applied.

    Args:
        path: JPEG, PNG, WebP or BMP, whatever its suffix says.
        size: Height and width wanted, in pixels; the aspect ratio is not kept (Keras does not either).
            None leaves the image as it is.
        resize: ``nearest`` is what Keras' ``load_img`` does by default.
        max_pixels: Most pixels that are decoded, up to :data:`MOST_PIXELS`; None means :data:`MAX_PIXELS`. Larger
            images are told by their header.

    Returns:
        The pixels and where they come from.

    Raises:
        UsageError: There is no such way to resize, or no such bound.
        ImageError: The file is missing, no image, of another format, or damaged.
        LimitExceeded: The image has more pixels than allowed.
    """
    require_image_file(path)
    one_of("resize", resize, _FILTERS)
    require_whole("max_pixels", max_pixels, unset="as many as usual")
    for plugin in _PLUGINS:  # where one is missing when it is needed, Pillow loads all forty
        importlib.import_module(f"PIL.{plugin}ImagePlugin")
    most = MAX_PIXELS if max_pixels is None else max_pixels
    if not 1 <= most <= MOST_PIXELS:
        raise UsageError(f"--max-pixels {most}: allowed are 1 to {MOST_PIXELS}, above which nothing is decoded.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # malformed metadata and large images: the bounds here are our own
            with Image.open(path, formats=FORMATS) as opened:
                if opened.width * opened.height > most:
                    raise _too_large(path, f"{opened.height} x {opened.width} pixels", most)
                depth = _png_depth(opened)
                opened.load()
                _scale_transparency(opened, depth)
                upright = _upright(opened)
                rgb = _to_rgb(upright)
    except Image.DecompressionBombError as error:
        raise _too_large(path, f"more than {MOST_PIXELS:,} pixels", most) from error
    except MemoryError as error:
        raise LimitExceeded(f"'{path}' needs more memory than there is to decode. Make it smaller first.") from error
    except (OSError, SyntaxError, ValueError, IndexError, KeyError, TypeError, EOFError) as error:
        # Pillow's decoders raise any of these on damaged files; UnidentifiedImageError is an OSError.
        raise ImageError(f"Cannot decode '{path}' as an image. Allowed: JPEG, PNG, WebP, BMP, undamaged.") from error
    resized = rgb if size is None else rgb.resize((size[1], size[0]), _FILTERS[resize])
    name = path.name.encode(errors="replace").decode()
    return Photo(np.asarray(resized, dtype=np.uint8), name, (rgb.height, rgb.width))


def require_image_file(path: Path) -> None:
    """Check that there is a file worth decoding; its content is not looked at.

    Raises:
        ImageError: It is missing, empty, or a folder, pipe or device.
    """
    try:
        status = path.stat()
    except (OSError, ValueError) as error:
        raise ImageError(f"No image '{path}': no such file, or not readable. Check the path.") from error
    if not stat.S_ISREG(status.st_mode):
        raise ImageError(f"'{path}' is not a regular file. Give a JPEG, PNG, WebP or BMP file.")
    if status.st_size == 0:
        raise ImageError(f"'{path}' is empty (0 bytes). Give a JPEG, PNG, WebP or BMP file.")


def _too_large(path: Path, got: str, most: int) -> LimitExceeded:
    return LimitExceeded(
        f"'{path}' has {got}; at most {most:,} pixels allowed. Make it smaller, or raise --max-pixels."
    )


def _png_depth(image: Image.Image) -> int:
    """Bits per sample of a PNG that Pillow will change to 8; 8 for all others."""
    tiles: Any = getattr(image, "tile", None)
    rawmode = str(tiles[0].args) if image.format == "PNG" and tiles else ""
    return {"L;2": 2, "L;4": 4, "RGB;16B": 16}.get(rawmode, 8)


def _scale_transparency(image: Image.Image, depth: int) -> None:
    """Bring a PNG's transparent colour to 8 bits; Pillow does so with the pixels alone."""
    colour: Any = image.info.get("transparency")
    if isinstance(colour, int) and depth < 8:
        image.info["transparency"] = colour * 255 // (2**depth - 1)
    elif isinstance(colour, tuple) and depth == 16:
        image.info["transparency"] = tuple(int(value) >> 8 for value in cast("tuple[int, ...]", colour))


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except (OSError, SyntaxError, ValueError, IndexError, KeyError, TypeError, ZeroDivisionError, EOFError):
        return image  # the metadata is damaged, the pixels are not: shown as stored, as viewers do


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith(("I", "F")):
        image = _sixteen_bit_to_grey(image)
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, layer).convert("RGB")
    return image.convert("RGB")


def _sixteen_bit_to_grey(image: Image.Image) -> Image.Image:
    """16-bit grey (0 to 65,535) to 8-bit, rounded; ``Image.convert`` would clip at 255 instead."""
    values = np.asarray(image).astype(np.int64)
    grey = Image.fromarray(((values.clip(0, 65535) * 255 + 32767) // 65535).astype(np.uint8))
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        opaque = Image.fromarray(np.where(values == transparent, 0, 255).astype(np.uint8))
        return Image.merge("LA", (grey, opaque))
    return grey


_IMAGE_SEED = 20140904
"""Seed of the parity image: the day VGG16's paper appeared."""


def parity_image(height: int, width: int) -> npt.NDArray[np.uint8]:
    """An image that would show a swapped axis or colour: three different ramps, and noise of every size.

    Returns:
        uint8, (height, width, 3), RGB; always the same for one size.
    """
    rows = np.linspace(0, 200, height)[:, np.newaxis]
    columns = np.linspace(180, 20, width)[np.newaxis, :]
    ramps = np.stack([rows + 0 * columns, columns + 0 * rows, (rows + columns) / 2], axis=-1)
    noise = np.random.Generator(np.random.PCG64(_IMAGE_SEED)).integers(0, 56, (height, width, 3))
    return (ramps + noise).astype(np.uint8)
