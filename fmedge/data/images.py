"""Turn an image file into the pixels that VGG16 takes."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import stat
from collections.abc import Hashable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image

from fmedge.data.image_bounds import (
    DEFAULT_PIXELS,
    MAX_BYTES,
    MAX_PIXELS,
    count_scans,
    file_bytes,
    require_decodable,
    too_large,
)
from fmedge.data.upright import RESIZES, Resize, Upright
from fmedge.errors import ImageError, LimitExceeded, UsageError
from fmedge.system.choices import StrPath, find_path, one_of, require_whole
from fmedge.system.memory import require_memory, reserved_memory
from fmedge.system.reading import open_regular

FORMATS = ("JPEG", "PNG", "WEBP", "BMP")
"""The formats that are opened, by Pillow's names. Pillow knows forty more; some of them run other programs or read
other files."""

_PLUGINS = ("Jpeg", "Png", "WebP", "Bmp")


ImageSource = StrPath | bytes | Image.Image | npt.NDArray[np.uint8]
"""An image: the path of a file, the content of one, an image of Pillow's, or pixels: uint8, (height, width, 3), RGB."""

OpenedSource = Path | bytes | Image.Image | npt.NDArray[np.uint8]
"""The same, with a path as :func:`find_image` returns it."""


def find_image(source: object) -> OpenedSource:
    """An image that was given, with its path as a :class:`pathlib.Path`.

    Raises:
        UsageError: It is none, or an array of another type or shape.
    """
    if isinstance(source, (bytes, Image.Image)):
        return source
    if isinstance(source, np.ndarray):
        array = cast("npt.NDArray[Any]", source)
        if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or 0 in array.shape:
            got = f"{array.dtype}, {' x '.join(map(str, array.shape))}"
            raise UsageError(f"image: got an array of {got}. Allowed: uint8, (height, width, 3), RGB.")
        return array
    if isinstance(source, (str, os.PathLike)):
        return find_path("image", cast("StrPath", source))
    raise UsageError(
        f"image: got {type(source).__name__}. Allowed: a path, the bytes of an image file, a PIL image, "
        "or a uint8 array (height, width, 3)."
    )


def label_of(source: OpenedSource) -> Path:
    """What an image is called in messages and results: its path, or ``<bytes>``, ``<image>`` or ``<array>``."""
    if isinstance(source, Path):
        return source
    return Path("<bytes>" if isinstance(source, bytes) else "<image>" if isinstance(source, Image.Image) else "<array>")


@dataclass(frozen=True, slots=True, eq=False)
class Photo:
    """A decoded and resized image.

    Attributes:
        pixels: uint8, (height, width, 3), RGB, 0 to 255.
        name: The file's name, without its folder; every byte that is not valid UTF-8 is shown as a ?. For an image that
            is not a file, see :func:`label_of`.
        original_size: Height and width as decoded and turned upright, in pixels, before resizing.
    """

    pixels: npt.NDArray[np.uint8] = field(repr=False)
    name: str
    original_size: tuple[int, int]


def load_photo(
    source: OpenedSource, size: tuple[int, int] | None, resize: Resize = "nearest", max_pixels: int | None = None
) -> Photo:
    """Open an image, turn it upright by its EXIF orientation, convert it to RGB and resize it.

    Grey and palette images become RGB, transparent pixels are laid over white, 16-bit values are scaled to 8 bits, CMYK
    is converted. An embedded colour profile is not applied.

    Args:
        source: The path of a JPEG, PNG, WebP or BMP file, whatever its suffix is; or the bytes of one; or a Pillow
            image, which is decoded if it was not yet; or pixels: uint8, (height, width, 3), RGB.
        size: Height and width wanted, in pixels; the aspect ratio is not kept (Keras does not either). None leaves the
            image as it is.
        resize: ``nearest`` is the default of Keras' ``load_img``.
        max_pixels: Most pixels that are decoded, up to :data:`MAX_PIXELS`; None means :data:`DEFAULT_PIXELS`. Larger
            images are recognised by their header.

    Returns:
        The pixels and where they come from.

    Raises:
        UsageError: There is no such way to resize, or the limit cannot be set.
        ImageError: The file is missing, not an image, of another format, or damaged.
        LimitExceeded: The image has more pixels, metadata or scans than allowed, or needs more memory (see
            :mod:`fmedge.data.image_bounds`).
    """
    path = label_of(source)
    if isinstance(source, Path):
        require_image_file(source)
    one_of("resize", resize, RESIZES)
    require_whole("max_pixels", max_pixels, unset="the usual limit")
    for plugin in _PLUGINS:  # if a needed one is missing, Pillow loads all forty
        importlib.import_module(f"PIL.{plugin}ImagePlugin")
    most = DEFAULT_PIXELS if max_pixels is None else max_pixels
    if not 1 <= most <= MAX_PIXELS:
        raise UsageError(
            f"max_pixels {most} is out of range. Allowed: 1 to {MAX_PIXELS}; larger images are never decoded.",
            flags=("--max-pixels",),
        )
    try:
        with contextlib.ExitStack() as files:
            opened, wanted = _opened(source, path, files, most)
            depth = _png_depth(opened)
            with reserved_memory(f"Decoding '{path}'", wanted, MAX_BYTES):
                opened.load()
                _scale_transparency(opened, depth)
                upright = Upright(opened, _orientation(opened))
                require_memory(f"Resizing '{path}'", upright.working_bytes(size, resize))
                pixels, original_size = upright.pixels(size, resize), upright.size
                if opened is not source:
                    opened.close()  # frees its memory
    except Image.DecompressionBombError as error:
        raise too_large(path, f"more than {MAX_PIXELS:,} pixels", most, can_raise=False) from error
    except Image.DecompressionBombWarning as error:  # raised if warnings are errors, like the next
        raise too_large(path, f"more than {DEFAULT_PIXELS:,} pixels", DEFAULT_PIXELS, can_raise=False) from error
    except Warning as error:  # about odd metadata
        raise ImageError(f"Pillow warns about '{path}', and warnings are errors here: {error}") from error
    except MemoryError as error:
        raise LimitExceeded(f"Not enough memory to decode '{path}'. Make the image smaller first.") from error
    except (OSError, SyntaxError, ValueError, IndexError, KeyError, TypeError, EOFError) as error:
        # Pillow's decoders raise any of these on damaged files; UnidentifiedImageError is an OSError.
        raise ImageError(f"Cannot decode '{path}' as an image. Allowed: undamaged JPEG, PNG, WebP or BMP.") from error
    return Photo(pixels, path.name.encode(errors="replace").decode(), original_size)


def _opened(source: OpenedSource, path: Path, files: contextlib.ExitStack, most: int) -> tuple[Image.Image, int]:
    """An image that may be decoded, and the bytes of memory that this takes; ``files`` closes what is opened here.

    Raises:
        LimitExceeded: It has more pixels than allowed, or more metadata, scans or need of memory.
        OSError: It cannot be read.
    """
    if isinstance(source, np.ndarray):
        pixels = source.shape[0] * source.shape[1]
        if pixels > most:
            raise too_large(path, f"{source.shape[0]} x {source.shape[1]} pixels", most, can_raise=pixels <= MAX_PIXELS)
        require_memory(f"Copying '{path}'", pixels * 4)
        return files.enter_context(Image.fromarray(source)), pixels * 4
    if isinstance(source, Image.Image):  # which stays open
        return source, require_decodable(source, path, 1, most, 0)
    file = files.enter_context(io.BytesIO(source) if isinstance(source, bytes) else open_regular(source))
    scans = count_scans(file, path)
    size = file_bytes(file)
    opened = files.enter_context(Image.open(file, formats=FORMATS))
    return opened, require_decodable(opened, path, scans, most, size)


def require_image_file(path: Path) -> None:
    """Check that a file is worth decoding; its content is not read.

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


def _png_depth(image: Image.Image) -> int:
    """Return the bits per sample of a PNG that Pillow will convert to 8; 8 for all other images."""
    tiles: Any = getattr(image, "tile", None)
    rawmode = str(tiles[0].args) if image.format == "PNG" and tiles else ""
    return {"L;2": 2, "L;4": 4, "RGB;16B": 16}.get(rawmode, 8)


def _scale_transparency(image: Image.Image, depth: int) -> None:
    """Scale a PNG's transparent colour to 8 bits; Pillow scales only the pixels."""
    colour: Any = image.info.get("transparency")
    if isinstance(colour, int) and depth < 8:
        image.info["transparency"] = colour * 255 // (2**depth - 1)
    elif isinstance(colour, tuple) and depth == 16:
        image.info["transparency"] = tuple(int(value) >> 8 for value in cast("tuple[int, ...]", colour))


def _orientation(image: Image.Image) -> Hashable:
    """Return EXIF's number for the orientation of the image; 1 where its metadata cannot be read."""
    try:
        return image.getexif().get(ExifTags.Base.Orientation, 1)
    except (OSError, SyntaxError, ValueError, IndexError, KeyError, TypeError, ZeroDivisionError, EOFError):
        return 1  # only the metadata is damaged: show as stored, like viewers


_IMAGE_SEED = 20140904
"""Seed of the parity image: the day VGG16's paper appeared."""


def parity_image(height: int, width: int) -> npt.NDArray[np.uint8]:
    """Draw an image that reveals a swapped axis or colour: three different ramps, and noise of every size.

    Returns:
        uint8, (height, width, 3), RGB; always the same for a given size.
    """
    return _ramps_and_noise(height, width, (0, 200), (180, 20), np.random.PCG64(_IMAGE_SEED))


def secret_image(height: int, width: int) -> npt.NDArray[np.uint8]:
    """Draw an image like :func:`parity_image` that nobody can know beforehand and tailor a model to.

    Returns:
        uint8, (height, width, 3), RGB; a different one each time.
    """
    import secrets

    first, second, third, fourth = (secrets.randbelow(200) for _ in range(4))
    return _ramps_and_noise(height, width, (first, second), (third, fourth), np.random.PCG64(secrets.randbits(64)))


def _ramps_and_noise(
    height: int, width: int, down: tuple[int, int], across: tuple[int, int], bits: np.random.PCG64
) -> npt.NDArray[np.uint8]:
    """Draw ramps (red down, green across, blue both), each between two given values, plus noise from 0 to 55."""
    rows = np.linspace(*down, height)[:, np.newaxis]
    columns = np.linspace(*across, width)[np.newaxis, :]
    ramps = np.stack([rows + 0 * columns, columns + 0 * rows, (rows + columns) / 2], axis=-1)
    noise = np.random.Generator(bits).integers(0, 56, (height, width, 3))
    return (ramps + noise).astype(np.uint8)
