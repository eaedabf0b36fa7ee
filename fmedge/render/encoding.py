"""Encode feature maps as compact text: values in planes of bytes, deflated, in base64.

There are three ways to write a value:

- ``12bit``: a code of 12 bits. ``(code - zero) * step + offset`` restores the value to within half a step, with a
  ``zero``, ``step`` and ``offset`` for each channel. Where a channel has values of both signs, zero has its own code,
  so that ReLU can be applied afterwards. The last three codes are minus infinity, infinity and NaN. Plane 0 holds the
  upper 8 bits of each code, plane 1 the lower 4, two values per byte, the earlier one in the lower half; a channel
  with an odd number of values ends in an unused half byte.
- ``float16``, ``float32``: IEEE 754, one plane for each byte, the most significant one first.

Planes are used because the high bits of a picture deflate well and the low ones hardly at all. Channels follow one
another, row by row. Several channels form a chunk, whose planes are deflated separately, so that a page can inflate
only the channels it needs.

Where most values are not zero, plane 0 of the 12-bit codes holds differences modulo 256: of every byte to the one on
its left, then of these to the one above, with 0 beyond the edges. Real maps before ReLU deflate to four fifths so;
after ReLU, whose zeros come in runs, they would deflate less well.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fmedge.data.page_options import Values
from fmedge.errors import UsageError
from fmedge.model.submodel import MAX_FLOAT16
from fmedge.render.statistics import Statistics, join_statistics, measure

FloatArray = npt.NDArray[np.float32]

VALUES_NOTES: dict[Values, str] = {
    "12bit": "12 bits of each channel's range",
    "float16": "16-bit floats",
    "float32": "32-bit floats, as computed",
}
"""The ways to write a value, described for readers of a page."""

MAX_CODE = 4092
"""Largest code of a finite value; the last three of the 12-bit codes are MINUS_INFINITY, INFINITY and NAN."""

MINUS_INFINITY, INFINITY, NAN = 4093, 4094, 4095

CHUNK_VALUES = 512 * 1024
"""Most values of a chunk (a single channel may be larger): 7 chunks for 64 x 224 x 224 keep two threads evenly busy,
and a browser inflates one in a few milliseconds."""

DEFLATE_LEVEL, STRATEGY = 1, zlib.Z_RLE
"""Runs of equal bytes are found, other repetitions are not: real maps have none. So plane 0 of block1_conv1 takes 30 ms
and 2.1 MB; by zlib's default strategy 110 ms and 2.3 MB, at level 6 220 ms and 2.3 MB."""

THREADS = 2
"""Chunks encoded at once; zlib and NumPy release the interpreter's lock."""


@dataclass(frozen=True, slots=True, eq=False)
class EncodedMaps:
    """Feature maps, ready for a page.

    Attributes:
        values: How they are written.
        shape: Channels, rows, columns.
        zero: With 12bit: int32, (C,), the code that stands for ``offset``; None otherwise.
        step: With 12bit: float32, (C,), the difference between neighbouring codes; 0 where all values of a channel are
            equal.
        offset: With 12bit: float32, (C,).
        chunk_channels: Channels in each chunk; the last one may hold fewer.
        differences: Whether plane 0 holds differences.
        planes: Per plane, per chunk: deflated (zlib format), in base64.
        statistics: Of the values as they are, and after ReLU where requested.
    """

    values: Values
    shape: tuple[int, int, int]
    zero: npt.NDArray[np.int32] | None = field(repr=False)
    step: FloatArray | None = field(repr=False)
    offset: FloatArray | None = field(repr=False)
    chunk_channels: int
    differences: bool
    planes: tuple[tuple[bytes, ...], ...] = field(repr=False)
    statistics: tuple[Statistics, ...]


class _Chunk(NamedTuple):
    scale: tuple[npt.NDArray[np.int32], FloatArray, FloatArray] | None
    planes: tuple[bytes, ...]
    statistics: tuple[Statistics, ...]


def encode_maps(maps: FloatArray, values: Values = "12bit", *, relu: bool = False) -> EncodedMaps:
    """Encode feature maps as deflated planes, and compute their statistics at the same time.

    Args:
        maps: Float32, (C, H, W), no extent 0.
        values: How a value is written.
        relu: Whether to compute the statistics after ReLU, too.

    Raises:
        UsageError: With float16: a finite value is too large for it.
    """
    channels, rows, columns = maps.shape
    chunk_channels = _channels_per_chunk(channels, rows * columns)
    flat = maps.reshape(channels, rows * columns)
    differences = values == "12bit" and bool(2 * np.count_nonzero(maps) > maps.size)

    def encode(start: int) -> _Chunk:
        part = np.ascontiguousarray(flat[start : start + chunk_channels], np.float32)
        statistics = measure(part, relu=relu)
        scale, planes = _WRITERS[values](part, statistics[0])
        if differences:
            planes = (_subtract_neighbours(planes[0].reshape(-1, rows, columns)), *planes[1:])
        return _Chunk(scale, tuple(map(_deflate, planes)), statistics)

    with ThreadPoolExecutor(THREADS) as pool:
        chunks = list(pool.map(encode, range(0, channels, chunk_channels)))
    scales = [chunk.scale for chunk in chunks if chunk.scale is not None]
    zero, step, offset = map(np.concatenate, zip(*scales, strict=True)) if scales else (None, None, None)
    return EncodedMaps(
        values=values,
        shape=(channels, rows, columns),
        zero=zero,
        step=step,
        offset=offset,
        chunk_channels=chunk_channels,
        differences=differences,
        planes=tuple(zip(*(chunk.planes for chunk in chunks), strict=True)),
        statistics=tuple(map(join_statistics, zip(*(chunk.statistics for chunk in chunks), strict=True))),
    )


def _channels_per_chunk(channels: int, values: int) -> int:
    """Distribute the channels evenly over as few chunks as possible; ``values`` is the number of values per channel."""
    most = max(1, CHUNK_VALUES // values)
    chunks = -(-channels // most)
    return -(-channels // chunks)


Scale = tuple[npt.NDArray[np.int32], FloatArray, FloatArray]
Planes = tuple[npt.NDArray[np.uint8], ...]


def _write_12bit(values: FloatArray, found: Statistics) -> tuple[Scale, Planes]:
    with np.errstate(over="ignore"):
        exact = bool(found.broken.any()) or not np.isfinite(found.largest - found.smallest).all()
    kind = np.float64 if exact else np.float32
    low, high = found.smallest.astype(np.float64), found.largest.astype(np.float64)
    signed = (low < 0) & (high > 0)
    step = ((high - low) / np.where(signed, MAX_CODE - 1, MAX_CODE)).astype(np.float32)
    divisor = np.where(step > 0, step, np.float32(1)).astype(kind)
    zero = np.where(signed, np.ceil(-low / divisor), 0).astype(np.int32)
    offset = np.where(signed, 0, low).astype(np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        codes = _codes(values, offset.astype(kind), divisor, zero)
    if found.broken.any():
        for code, places in (
            (MINUS_INFINITY, values == -np.inf),
            (INFINITY, values == np.inf),
            (NAN, np.isnan(values)),
        ):
            codes[places] = code
    return (zero, step, offset), ((codes >> 4).astype(np.uint8), _pack_low_bits(codes))


def _codes(
    values: FloatArray, offset: npt.NDArray[np.floating], divisor: npt.NDArray[np.floating], zero: npt.NDArray[np.int32]
) -> npt.NDArray[np.uint16]:
    scaled = values - offset[:, None]
    scaled /= divisor[:, None]
    scaled += zero[:, None].astype(scaled.dtype) + scaled.dtype.type(0.5)  # truncated below, so this rounds
    if scaled.dtype == np.float64:  # some are not finite: their codes come later
        scaled = np.clip(np.nan_to_num(scaled), 0, MAX_CODE)
    return np.minimum(scaled.astype(np.uint16), np.uint16(MAX_CODE))


def _pack_low_bits(codes: npt.NDArray[np.uint16]) -> npt.NDArray[np.uint8]:
    """Pack the lower 4 bits of codes (channels, values), two in a byte: uint8, (channels, ceil(values / 2))."""
    bits = codes.astype(np.uint8) & np.uint8(15)
    packed = bits[:, ::2].copy()
    packed[:, : bits.shape[1] // 2] |= bits[:, 1::2] << np.uint8(4)
    return packed


def _subtract_neighbours(plane: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return differences, modulo 256, of bytes (channels, rows, columns) to the left, and of these to those above."""
    found = plane.copy()
    found[:, :, 1:] -= plane[:, :, :-1]
    left = found.copy()
    found[:, 1:] -= left[:, :-1]
    return found


def _write_float16(values: FloatArray, found: Statistics) -> tuple[None, Planes]:
    largest = max(abs(found.smallest.min()), abs(found.largest.max()))
    if largest > MAX_FLOAT16:
        raise UsageError(
            f"float16 ends at {MAX_FLOAT16:.0f}; the maps reach {largest:.6g}.", hint="Use --values float32."
        )
    return None, _byte_planes(values.astype("<f2"))


def _write_float32(values: FloatArray, found: Statistics) -> tuple[None, Planes]:
    del found
    return None, _byte_planes(values.astype("<f4", copy=False))


def _byte_planes(values: npt.NDArray[np.floating]) -> Planes:
    """Return a plane for each byte of little-endian floats, the most significant one first."""
    size = values.dtype.itemsize
    split = values.view(np.uint8).reshape(*values.shape, size)
    return tuple(np.ascontiguousarray(split[:, :, place]) for place in reversed(range(size)))


_WRITERS: dict[Values, Callable[[FloatArray, Statistics], tuple[Scale | None, Planes]]] = {
    "12bit": _write_12bit,
    "float16": _write_float16,
    "float32": _write_float32,
}


def _deflate(plane: npt.NDArray[np.uint8]) -> bytes:
    packer = zlib.compressobj(DEFLATE_LEVEL, strategy=STRATEGY)
    return base64.b64encode(packer.compress(plane.data) + packer.flush())
