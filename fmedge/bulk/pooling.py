"""Turn the maps of a layer into a vector: one row per way, with its formula and source."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fmedge.errors import UsageError, closest

Maps = npt.NDArray[np.float32]
"""Maps of one image: (C, H, W)."""

Vector = npt.NDArray[np.float32]

GEM_FLOOR = 1e-6
"""Least value that generalized means count with, as in the authors' code: powers need something above zero."""

_LARGEST_ROOT = 1e300
"""Numbers up to this can be added up in float64, some 10**8 of them."""

_BLOCK_VALUES = 1 << 15
"""Values in float64 that fit twice into a cache of 1 MB, as the cores of small machines have."""

_OVERLAP = 0.4
"""Overlap of neighbouring regions of R-MAC, as a share of their side (Tolias et al., 2016)."""


_MAPS = "none"


class _Way(NamedTuple):
    """A way to pool.

    Attributes:
        pool: Takes maps and the number after the colon.
        default: The number where none is given; None where the way has none.
        largest: The largest number allowed.
        whole: Whether it is a whole number.
        values: Values per channel for a number; None where that depends on the size of the maps.
    """

    pool: Callable[[Maps, float], npt.NDArray[np.floating]]
    default: float | None
    largest: float
    whole: bool
    values: Callable[[float], int] | None


@dataclass(frozen=True, slots=True)
class Pool:
    """A way to pool, with its number.

    Attributes:
        name: As a user writes it, always with its number: ``gem:3``.
        way: Name of the way.
        number: Its number; 0 where it has none.
    """

    name: str
    way: str
    number: float

    @property
    def whole(self) -> bool:
        """Whether it keeps all values, so that their number depends on the size of the maps."""
        return _WAYS[self.way].values is None

    def shape(self, maps: tuple[int, int, int]) -> tuple[int, ...]:
        """Return the shape of what becomes of maps of shape (C, H, W)."""
        channels, height, width = maps
        if self.way == _MAPS:
            return maps
        values = _WAYS[self.way].values
        return (channels * (height * width if values is None else values(self.number)),)

    def __call__(self, maps: Maps) -> Vector:
        """Return the vector of an image's maps (C, H, W), or the maps: float32, computed in float64."""
        found = _WAYS[self.way].pool(maps, self.number)
        return np.ascontiguousarray(found if self.way == _MAPS else found.ravel(), dtype=np.float32)


def find_pool(words: str) -> Pool:
    """Read a way to pool: ``mean``, ``max``, ``gem[:p]``, ``grid:N``, ``rmac[:L]``, ``flatten`` or ``none``.

    Raises:
        UsageError: There is no such way, or its number is not allowed.
    """
    name, colon, text = words.partition(":")
    if name not in _WAYS:
        raise UsageError(f"Unknown pool '{name}'.{closest(name, _WAYS)} Allowed: {', '.join(_WAYS)}.")
    way = _WAYS[name]
    if way.default is None:
        if colon:
            raise UsageError(f"The pool '{name}' takes no number, not '{text}'.")
        return Pool(name, name, 0.0)
    number = way.default
    if colon:
        pattern = r"\d{1,4}" if way.whole else r"\d{1,4}(\.\d{1,6})?"
        number = float(text) if re.fullmatch(pattern, text) else 0.0
    least = 1.0
    if not least <= number <= way.largest:
        kind = "a whole number" if way.whole else "a number"
        raise UsageError(
            f"The pool '{words}' takes {kind} from {least:g} to {way.largest:g}, such as {name}:{way.default:g}."
        )
    return Pool(f"{name}:{number:g}", name, number)


def normalized(vector: Vector) -> Vector:
    """Return a vector divided by its Euclidean norm; a zero vector stays one."""
    norm = float(np.sqrt(np.sum(np.square(vector, dtype=np.float64))))
    return vector if norm == 0 else (vector / norm).astype(np.float32)


def _mean(maps: Maps, _: float) -> npt.NDArray[np.floating]:
    return maps.mean(axis=(1, 2), dtype=np.float64)


def _max(maps: Maps, _: float) -> npt.NDArray[np.floating]:
    """Return each channel's largest value (MAC; Razavian et al., "Visual instance retrieval", 2016)."""
    return maps.max(axis=(1, 2))


def _gem(maps: Maps, power: float) -> npt.NDArray[np.floating]:
    """Return generalized means, ``mean(max(x, floor)**p)**(1/p)`` (Radenović, Tolias and Chum, 2018, equation 3).

    A few channels at once, which stay in the processor's cache.
    """
    flat = maps.reshape(len(maps), -1)
    found = np.empty(len(flat))
    step = max(1, _BLOCK_VALUES // flat.shape[1])
    values, powers = np.empty((2, step, flat.shape[1]))
    for start in range(0, len(flat), step):
        count = min(step, len(flat) - start)
        block, raised = values[:count], powers[:count]
        np.maximum(flat[start : start + count], GEM_FLOOR, out=block)
        top = 1.0
        if float(block.max()) > _LARGEST_ROOT ** (1 / power):  # divided out, so that no power overflows
            top = block.max(axis=1, keepdims=True)
            block /= top
        if power == 3:  # by far the most usual, and pow() takes ten times as long without AVX-512
            np.multiply(block, block, out=raised)
            raised *= block
        else:
            np.power(block, power, out=raised)
        found[start : start + count] = np.ravel(top) * raised.mean(axis=1) ** (1 / power)
    return found


def _grid(maps: Maps, number: float) -> npt.NDArray[np.floating]:
    """Return means over N x N regions, which overlap where N does not divide the size: PyTorch's AdaptiveAvgPool2d."""
    rows, columns = (_bins(extent, int(number)) for extent in maps.shape[1:])
    return np.stack(
        [
            np.stack(
                [maps[:, top:bottom, left:right].mean(axis=(1, 2), dtype=np.float64) for left, right in columns], 1
            )
            for top, bottom in rows
        ],
        axis=1,
    )


def _bins(extent: int, number: int) -> list[tuple[int, int]]:
    return [(place * extent // number, -(-(place + 1) * extent // number)) for place in range(number)]


def _rmac(maps: Maps, levels: float) -> npt.NDArray[np.floating]:
    """Return R-MAC (Tolias, Sicre and Jégou, 2016): maxima of square regions, each normalized, added and normalized.

    Without the whitening of the paper, which needs a training set.
    """
    total = np.zeros(maps.shape[0])
    _, height, width = maps.shape
    for top, left, side in _regions(height, width, int(levels)):
        found = maps[:, top : top + side, left : left + side].max(axis=(1, 2)).astype(np.float64)
        total += _unit(found)
    return _unit(total)


def _unit(vector: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    norm = np.linalg.norm(vector)
    return vector / norm if norm > 0 else vector


def _regions(height: int, width: int, levels: int) -> list[tuple[int, int, int]]:
    """Return R-MAC's regions as top, left and side.

    At level l the side is 2 min(H, W) / (l + 1), and l regions lie along the shorter extent. Along the longer one there
    are as many more as bring the overlap of neighbours closest to 40 %, six at most.
    """
    short, long = min(height, width), max(height, width)
    extra = 0
    if long > short:
        steps = [(long - short) / (count - 1) for count in range(2, 8)]
        extra = int(np.argmin([abs((short**2 - short * step) / short**2 - _OVERLAP) for step in steps])) + 1
    found: list[tuple[int, int, int]] = []
    for level in range(1, levels + 1):
        side = max(1, 2 * short // (level + 1))
        rows = level + (extra if height > width else 0)
        columns = level + (extra if width > height else 0)
        found += [(top, left, side) for top in _starts(height, side, rows) for left in _starts(width, side, columns)]
    return found


def _starts(extent: int, side: int, count: int) -> list[int]:
    return [0] if count == 1 else [place * (extent - side) // (count - 1) for place in range(count)]


def _all(maps: Maps, _: float) -> npt.NDArray[np.floating]:
    return maps


def _one(_: float) -> int:
    return 1


def _square(number: float) -> int:
    return int(number) ** 2


_WAYS: dict[str, _Way] = {
    "mean": _Way(_mean, None, 0, True, _one),
    "max": _Way(_max, None, 0, True, _one),
    "gem": _Way(_gem, 3.0, 1000, False, _one),
    "grid": _Way(_grid, 2.0, 64, True, _square),
    "rmac": _Way(_rmac, 3.0, 8, True, _one),
    "flatten": _Way(_all, None, 0, True, None),
    _MAPS: _Way(_all, None, 0, True, None),
}
"""The ways to pool, by their names."""
