"""Decide which images are decoded: limits on pixels, metadata, scans and memory, so that every file takes bounded time.

Pillow limits only the number of pixels. It reads all metadata, in Python, and joins the segments of a JPEG one by one,
so a file of 100 MB can keep it busy for minutes. Here the parts of each format are skipped by their lengths, without
reading them, before Pillow opens the file. Together the limits keep decoding within 5 s and 1 GB.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from PIL import Image

from fmedge.errors import LimitExceeded

DEFAULT_PIXELS = 89_478_485
"""Largest image accepted by default, in pixels: where Pillow begins to warn of a decompression bomb, 1/4 GiB as RGB."""

MAX_PIXELS = 2 * DEFAULT_PIXELS
"""Highest limit that can be set: above it Pillow refuses every image."""

MAX_BYTES = 10 * DEFAULT_PIXELS
"""Most memory that decoding may take at the default limit on pixels, in bytes: that of a progressive JPEG of
:data:`DEFAULT_PIXELS` without subsampled channels (4 for the image, 6 for its coefficients). Images that are decoded at
the same time take no more together."""

MAX_RUN_LENGTH_STEPS = 16_000_000
"""Most pixels and bytes of a run-length coded BMP: Pillow decodes those one by one, in Python."""

MAX_FILE_BYTES = 512 << 20
"""Largest file that is opened: the size of a 16-bit PNG of 89 megapixels that does not compress at all."""

MAX_JPEG_BYTES = 3 * DEFAULT_PIXELS
"""Largest JPEG that is opened: a progressive one of noise at full quality has 3 bytes per pixel."""

MAX_PARTS = 512
"""Most segments or chunks that hold no pixels. A colour profile takes at most 255 segments of a JPEG (it counts them in
one byte; ICC.1:2022, B.4), as does a thermal image; Google's depth maps (extended XMP) take 100 to 150."""

MAX_METADATA_BYTES = 32 << 20
"""Most bytes of all those together: the same number of full JPEG segments, 64 KiB each."""

MAX_EXIF_BYTES = 4 << 20
"""Most bytes of EXIF, which is 64 KiB in a JPEG (Exif 2.32, 4.7.2); some writers use several segments, and PNG and WebP
allow any size."""

MAX_DATA_CHUNKS = 1 << 18
"""Most chunks of pixels in a PNG: libpng writes 8 KiB into each."""

MAX_SCANS = 64
"""Most scans of a JPEG. libjpeg's own script for a progressive file has 10, and mozjpeg tries 64 candidates but writes
no more than that. Each scan is a pass over the whole image, however few bytes it has."""

_MAX_JUNK_BYTES = 64 << 10
"""Most bytes between the segments of a JPEG that belong to none: Pillow skips them one by one."""

_WINDOW_BYTES = 1 << 18


@dataclass(slots=True)
class _Count:
    """Metadata counted so far in one file."""

    path: Path
    file_bytes: int
    parts: int = 0
    metadata_bytes: int = 0
    exif_bytes: int = 0

    def add(self, size: int, *, exif: bool = False) -> None:
        """Count one part.

        Raises:
            LimitExceeded: A limit is exceeded.
            EOFError: The file is shorter than the part.
        """
        self.parts += 1
        self.metadata_bytes += size
        self.exif_bytes += size if exif else 0
        if self.metadata_bytes > self.file_bytes:
            raise EOFError
        for got, most, unit in (
            (self.parts, MAX_PARTS, "parts of metadata"),
            (self.metadata_bytes, MAX_METADATA_BYTES, "bytes of metadata"),
            (self.exif_bytes, MAX_EXIF_BYTES, "bytes of EXIF"),
        ):
            if got > most:
                raise _too_much(self.path, f"more than {most:,} {unit}")


def count_scans(file: IO[bytes], path: Path) -> int:
    """Skip through the parts of an image file and count the passes over its pixels.

    Counting ends where a file is cut or damaged; Pillow decides whether it can be decoded.

    Args:
        file: The file, at its start; it is left where the count ended.
        path: Its name.

    Returns:
        Scans of a JPEG whose coefficients are kept until all scans have been read (progressive, or channel by channel);
        1 for any other image.

    Raises:
        LimitExceeded: The file is too large, or has too much metadata or too many scans.
        OSError: It cannot be read.
    """
    size = file_bytes(file)
    _require_size(path, size, MAX_FILE_BYTES)
    start = file.read(12)
    try:
        for magic, step in _FORMATS:
            if re.match(magic, start, re.DOTALL):
                return step(file, _Count(path, size))
    except (struct.error, EOFError):  # the file ends within a part
        pass
    return 1


def file_bytes(file: IO[bytes]) -> int:
    """Size of a file in bytes; it is left at its start."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    return size


def require_decodable(image: Image.Image, path: Path, scans: int, most: int, size: int) -> int:
    """Check an open image before its pixels are decoded.

    Args:
        image: The image, not yet loaded.
        path: Its file.
        scans: The result of :func:`count_scans`.
        most: Most pixels allowed.
        size: Of its file, in bytes.

    Returns:
        Memory that decoding takes, in bytes.

    Raises:
        LimitExceeded: It has too many pixels, or would take too long or more memory than allowed.
    """
    pixels = image.width * image.height
    if pixels > most:
        raise too_large(path, f"{image.height} x {image.width} pixels", most, can_raise=pixels <= MAX_PIXELS)
    if _codec(image) == "bmp_rle" and pixels + size > MAX_RUN_LENGTH_STEPS:
        raise LimitExceeded(f"'{path}' is too large for a run-length encoded BMP. Save it as PNG.")
    wanted = decoding_bytes(image, scans, size)
    allowed = MAX_BYTES * max(most, DEFAULT_PIXELS) // DEFAULT_PIXELS
    if wanted > allowed:
        raise LimitExceeded(
            f"Decoding '{path}' needs about {wanted / 1e9:.1f} GB; at most {allowed / 1e9:.1f} GB allowed. "
            "Make it smaller."
        )
    return wanted


def decoding_bytes(image: Image.Image, scans: int, size: int) -> int:
    """Estimate the memory that Pillow and its libraries take to decode an image, in bytes.

    Args:
        image: The image, open.
        scans: The result of :func:`count_scans`.
        size: Size of its file, in bytes.
    """
    pixels = image.width * image.height
    if image.format == "WEBP":  # 4 each: libwebp's two canvases, frame, image; 1 for alpha
        return pixels * 17 + size
    per_pixel = float(_BYTES_PER_PIXEL.get(image.mode, 4))
    if scans > 1 or "progressive" in image.info:  # 16-bit coefficients of every channel, as sampled
        layers: list[tuple[int, int, int, int]] = getattr(image, "layer", [])
        downs, acrosses = [layer[1] for layer in layers], [layer[2] for layer in layers]
        samples = sum(down * across for down, across in zip(downs, acrosses, strict=True))
        per_pixel += 2 * samples / max(1, max(downs, default=1) * max(acrosses, default=1))
    return round(pixels * per_pixel)


_BYTES_PER_PIXEL = {"1": 1, "L": 1, "P": 1, "I;16": 2}
"""Bytes per pixel of an image in Pillow's memory; 4 in every other mode, RGB too."""


def _codec(image: Image.Image) -> str:
    tiles: Any = getattr(image, "tile", None)
    return str(tiles[0][0]) if tiles else ""


def too_large(path: Path, got: str, most: int, *, can_raise: bool) -> LimitExceeded:
    """Return the error for an image with too many pixels; it suggests a higher limit only where one can be set."""
    advice = ", or raise --max-pixels" if can_raise else ""
    return LimitExceeded(f"'{path}' has {got}; at most {most:,} pixels allowed.", hint=f"Make it smaller{advice}.")


def _too_much(path: Path, got: str) -> LimitExceeded:
    return LimitExceeded(f"'{path}' has {got}. Save it again without them.")


def _require_size(path: Path, size: int, most: int) -> None:
    if size > most:
        raise LimitExceeded(f"'{path}' has {size:,} bytes; at most {most:,} allowed. Make it smaller.")


def _jpeg(file: IO[bytes], count: _Count) -> int:
    _require_size(count.path, count.file_bytes, MAX_JPEG_BYTES)
    file.seek(2)
    progressive, channels = False, 0
    while (marker := _next_marker(file, count.path)) != _SOS:
        if marker in _BARE:
            continue
        size, head = _segment(file)
        count.add(size, exif=marker == _APP1 and head.startswith(b"Exif\0\0"))
        if marker in _FRAMES:
            progressive, channels = marker in _PROGRESSIVE, head[5]
    _, head = _segment(file)
    return _scans(file, count.path) if progressive or head[0] < channels else 1


_SOS, _EOI, _APP1 = 0xDA, 0xD9, 0xE1
_BARE = frozenset({0x01, *range(0xD0, 0xDA)})
"""Markers without a segment: TEM, RST0 to RST7, SOI, EOI."""

_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Markers that start a frame (ITU-T T.81, table B.1); the three left out in this range do not."""

_PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})

_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]")
"""The marker that ends the coded pixels: within them, 0xFF is followed only by 0 or a restart marker."""


def _next_marker(file: IO[bytes], path: Path) -> int:
    junk = 0
    before = b""
    while byte := file.read(1):
        if before == b"\xff" and byte not in {b"\0", b"\xff"}:
            return byte[0]
        before = byte
        junk += 1
        if junk > _MAX_JUNK_BYTES:
            raise _too_much(path, f"more than {_MAX_JUNK_BYTES:,} bytes that belong to no segment")
    raise EOFError


def _segment(file: IO[bytes]) -> tuple[int, bytes]:
    """Return the size and first bytes of a segment, and skip it."""
    (size,) = struct.unpack(">H", file.read(2))
    head = file.read(min(size - 2, 8)) if size > 2 else b""
    file.seek(max(0, size - 2 - len(head)), 1)
    return size, head.ljust(8, b"\0")


def _scans(file: IO[bytes], path: Path) -> int:
    """Count the scans up to the end of the image; the file is inside the first one."""
    scans = 1
    while window := file.read(_WINDOW_BYTES):
        found = _MARKER.search(window)
        if found is None:
            if len(window) > 1:
                file.seek(-1, 1)  # it may be the first half of a marker
            continue
        file.seek(found.end() - len(window), 1)
        marker = found.group()[1]
        if marker == _EOI:
            break
        scans += marker == _SOS
        if scans > MAX_SCANS:
            raise LimitExceeded(f"'{path}' has more than the {MAX_SCANS} scans allowed. Save it as a baseline JPEG.")
        _segment(file)
    return scans


def _png(file: IO[bytes], count: _Count) -> int:
    file.seek(8)
    data_chunks = 0
    while True:
        size, kind = struct.unpack(">I4s", file.read(8))
        if kind == b"IEND":
            return 1
        if kind in {b"IDAT", b"fdAT", b"fcTL"}:
            data_chunks += 1
            if data_chunks > MAX_DATA_CHUNKS:
                raise LimitExceeded(
                    f"'{count.path}' has more than {MAX_DATA_CHUNKS:,} chunks of pixel data. Save it again."
                )
        else:
            count.add(size, exif=kind == b"eXIf")
        file.seek(size + 4, 1)


def _webp(file: IO[bytes], count: _Count) -> int:
    while True:
        kind, size = struct.unpack("<4sI", file.read(8))
        if kind not in {b"ANMF", b"VP8 ", b"VP8L", b"ALPH"}:
            count.add(size, exif=kind == b"EXIF")
        file.seek(size + size % 2, 1)


_FORMATS: tuple[tuple[bytes, Callable[[IO[bytes], _Count], int]], ...] = (
    (rb"\xff\xd8\xff", _jpeg),
    (rb"\x89PNG\r\n\x1a\n", _png),
    (rb"RIFF....WEBP", _webp),
)
"""First bytes of a file, and the function that skips through its parts; BMP needs none."""
