"""Feature maps as a few bytes of text: 12 bits of each channel's own range, in planes, deflated.

A value becomes a code of 0 to 4095; ``code * step + offset`` gives it back to within half a step. The codes
are split in two planes, because the high bits of a picture deflate well and the low ones hardly at all, and
because a page can paint from the high plane alone:

- high: the upper 8 bits of each code, one byte per value;
- low: the lower 4 bits, two values per byte, the earlier one in the lower half; a channel with an odd number
  of values ends in an unused half byte.

Channels stand one after the other, row by row. Several of them make a chunk, whose two planes are deflated
each for itself, so that a page can inflate the channels it needs.
"""

from __future__ import annotations

import base64
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fmedge.errors import UsageError

ENCODING = "u12-planes"
"""Name of this encoding in the page's header; another encoding gets another name."""

PRECISION_NOTE = "12 bits of each channel's range"
"""The same for people."""

MAX_CODE = 4095
"""Largest code of 12 bits."""

CHUNK_BYTES = 768 * 1024
"""Planes of a chunk before deflating, at most (one channel may be larger): 7 chunks for 64 x 224 x 224 keep
two threads evenly busy, and one inflates in a few milliseconds in the browser."""

DEFLATE_LEVEL = 1
"""Level 6 saves 3 % on real maps and takes five times as long."""

THREADS = 2
"""Chunks encoded at once; zlib and NumPy let go of the interpreter's lock."""


@dataclass(frozen=True, slots=True)
class EncodedMaps:
    """Feature maps, ready to stand in a page.

    Attributes:
        shape: Channels, rows, columns.
        offset: Float32, (C,): the value of code 0, which is the channel's minimum.
        step: Float32, (C,): what one code adds; 0 where all values of a channel are equal.
        chunk_channels: Channels in each chunk; the last one may hold fewer.
        high: The high plane of each chunk: deflated (zlib format), in base64.
        low: The low planes, likewise.
    """

    shape: tuple[int, int, int]
    offset: npt.NDArray[np.float32]
    step: npt.NDArray[np.float32]
    chunk_channels: int
    high: tuple[bytes, ...]
    low: tuple[bytes, ...]


def encode_maps(maps: npt.NDArray[np.float32], *, first_channel: int = 0) -> EncodedMaps:
    """Quantize, split and deflate feature maps; a zero that is its channel's minimum stays exactly zero.

    Args:
        maps: Float32, (C, H, W), none of them 0.
        first_channel: Number of ``maps[0]`` in its layer, for the message of an error.

    Raises:
        UsageError: A channel holds NaN or infinity, or spans more than a float32 can say.
    """
    channels, rows, columns = maps.shape
    chunk_channels = _channels_per_chunk(channels, rows * columns)
    flat = maps.reshape(channels, rows * columns)

    def encode(start: int) -> _Chunk:
        return _encode_chunk(flat[start : start + chunk_channels], first_channel + start)

    starts = range(0, channels, chunk_channels)
    with ThreadPoolExecutor(THREADS) as pool:
        chunks = list(pool.map(encode, starts))
    return EncodedMaps(
        shape=(channels, rows, columns),
        offset=np.concatenate([chunk.offset for chunk in chunks]),
        step=np.concatenate([chunk.step for chunk in chunks]),
        chunk_channels=chunk_channels,
        high=tuple(chunk.high for chunk in chunks),
        low=tuple(chunk.low for chunk in chunks),
    )


@dataclass(frozen=True, slots=True)
class _Chunk:
    offset: npt.NDArray[np.float32]
    step: npt.NDArray[np.float32]
    high: bytes
    low: bytes


def _channels_per_chunk(channels: int, values: int) -> int:
    """Share the channels out evenly over as few chunks as their size allows; ``values`` is per channel."""
    channel_bytes = values + (values + 1) // 2
    most = max(1, CHUNK_BYTES // channel_bytes)
    chunks = -(-channels // most)
    return -(-channels // chunks)


def _encode_chunk(values: npt.NDArray[np.float32], first_channel: int) -> _Chunk:
    """Encode float32 values (channels, values per channel); the number of the first one is for the message."""
    offset = values.min(axis=1)
    step = _steps(offset, values.max(axis=1), first_channel)
    divisor = np.where(step > 0, step, np.float32(1))
    scaled = (values - offset[:, None]) / divisor[:, None]
    codes = np.rint(scaled, out=scaled).astype(np.uint16)
    high = (codes >> 4).astype(np.uint8)
    return _Chunk(offset, step, _deflate(high), _deflate(_pack_low_bits(codes)))


def _steps(low: npt.NDArray[np.float32], high: npt.NDArray[np.float32], first_channel: int) -> npt.NDArray[np.float32]:
    with np.errstate(over="ignore", invalid="ignore"):
        span = high - low
    broken = np.flatnonzero(~np.isfinite(span))
    if broken.size:
        raise UsageError(
            f"Channel {first_channel + broken[0]} holds NaN, infinity or numbers too far apart for float32: "
            "it cannot be drawn. Look at the model or save the array instead."
        )
    return (span / np.float32(MAX_CODE)).astype(np.float32)


def _pack_low_bits(codes: npt.NDArray[np.uint16]) -> npt.NDArray[np.uint8]:
    """The lower 4 bits of codes (channels, values), two in a byte: uint8, (channels, ceil(values / 2))."""
    bits = codes.astype(np.uint8) & np.uint8(15)
    packed = bits[:, ::2].copy()
    packed[:, : bits.shape[1] // 2] |= bits[:, 1::2] << np.uint8(4)
    return packed


def _deflate(plane: npt.NDArray[np.uint8]) -> bytes:
    return base64.b64encode(zlib.compress(plane.data, DEFLATE_LEVEL))
