"""Turn a decoded image upright, convert it to RGB and resize it, one strip at a time.

Turning or converting the whole image would hold it two or three times, and a phone's image is 100 to 200 MB. Both work
on each pixel by itself, so strips give the same values. A resize that uses neighbouring pixels goes along the strips
first and then across, in Pillow's order, with rounding to 8 bits in between.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

Resize = Literal["nearest", "bilinear", "bicubic"]
"""How an image is resized to the model's input size."""

_FILTERS: dict[str, Image.Resampling] = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}

RESIZES = ("nearest", *_FILTERS)

STRIP_PIXELS = 1 << 18
"""Pixels of a strip, unless a single row (or column) has more."""

_ROW_PIXELS = 1 << 14
"""Pixels that are converted to RGB in the time in which a row is cut out of an image (about 40 µs): where rows that are
wanted have fewer between them, those are converted with them."""

_STRIP_BYTES = 16
"""Bytes per pixel that a strip takes while it is converted to RGB: itself, RGBA, white below it, and the sum."""


class _Turn(NamedTuple):
    """How a stored image becomes an upright one.

    Attributes:
        method: Pillow's name for it.
        swapped: Whether rows become columns.
        rows_reversed, columns_reversed: In the stored image.
    """

    method: Image.Transpose | None
    swapped: bool
    rows_reversed: bool
    columns_reversed: bool


_TURNS: dict[Hashable, _Turn] = {  # EXIF 2.32, tag 0x0112
    1: _Turn(None, False, False, False),
    2: _Turn(Image.Transpose.FLIP_LEFT_RIGHT, False, False, True),
    3: _Turn(Image.Transpose.ROTATE_180, False, True, True),
    4: _Turn(Image.Transpose.FLIP_TOP_BOTTOM, False, True, False),
    5: _Turn(Image.Transpose.TRANSPOSE, True, False, False),
    6: _Turn(Image.Transpose.ROTATE_270, True, True, False),
    7: _Turn(Image.Transpose.TRANSVERSE, True, True, True),
    8: _Turn(Image.Transpose.ROTATE_90, True, False, True),
}


@dataclass(frozen=True, slots=True)
class Upright:
    """A decoded image with the orientation in which it is to be viewed.

    Attributes:
        stored: The image as decoded; it is not changed.
        orientation: EXIF's number, 1 to 8; anything else counts as 1.
    """

    stored: Image.Image
    orientation: Hashable = 1

    @property
    def size(self) -> tuple[int, int]:
        """Height and width, in pixels."""
        width, height = self.stored.size
        return (width, height) if self._turn.swapped else (height, width)

    def pixels(self, size: tuple[int, int] | None, resize: Resize) -> npt.NDArray[np.uint8]:
        """Return the image in RGB, (height, width, 3), 0 to 255; resized unless ``size`` is None."""
        if size is None:
            whole = np.empty((*self.size, 3), np.uint8)
            for top, strip in self._strips(standing=False):
                whole[top : top + strip.height] = np.asarray(strip)
            return whole
        return self._nearest(*size) if resize == "nearest" else self._resampled(*size, _FILTERS[resize])

    def working_bytes(self, size: tuple[int, int] | None, resize: Resize) -> int:
        """Estimate the memory that :meth:`pixels` takes in addition to the stored image, in bytes."""
        height, width = self.size
        wanted = size or self.size
        result = wanted[0] * wanted[1] * 7  # Pillow's and NumPy's
        if resize == "nearest" and size is not None:
            return STRIP_PIXELS * _STRIP_BYTES + result
        first = 0
        strip = width
        if size is not None:
            standing = _columns_first(self.size, size)
            strip = height if standing else width
            first = (width * size[0] if standing else height * size[1]) * 4
        return max(STRIP_PIXELS, strip) * _STRIP_BYTES + first + result

    @property
    def _turn(self) -> _Turn:
        return _TURNS.get(self.orientation, _TURNS[1])

    def _strips(self, *, standing: bool) -> Iterator[tuple[int, Image.Image]]:
        """Yield strips of the upright image in RGB, with the number of their first row, or column if ``standing``."""
        turn = self._turn
        height, width = self.size
        length, other = (width, height) if standing else (height, width)
        step = max(1, STRIP_PIXELS // other)
        of_rows = standing == turn.swapped  # of the stored image
        backward = turn.rows_reversed if of_rows else turn.columns_reversed
        for start in range(0, length, step):
            stop = min(length, start + step)
            first, last = (length - stop, length - start) if backward else (start, stop)
            strip = to_rgb(self.stored.crop((0, first, other, last) if of_rows else (first, 0, last, other)))
            yield start, strip if turn.method is None else strip.transpose(turn.method)

    def _resampled(self, height: int, width: int, how: Image.Resampling) -> npt.NDArray[np.uint8]:
        """Resize each strip along its length, and then the result across."""
        standing = _columns_first(self.size, (height, width))
        first = Image.new("RGB", (self.size[1], height) if standing else (width, self.size[0]))
        for start, strip in self._strips(standing=standing):
            if standing:
                first.paste(strip.resize((strip.width, height), how), (start, 0))
            else:
                first.paste(strip.resize((width, strip.height), how), (0, start))
        return np.asarray(first.resize((width, height), how), np.uint8)

    def _nearest(self, height: int, width: int) -> npt.NDArray[np.uint8]:
        """Take only the wanted rows and columns out of the stored image, then turn them."""
        turn = self._turn
        if turn.method is None and self.stored.mode in ("RGB", "L"):  # the same pixels, six times as fast
            return np.array(to_rgb(self.stored.resize((width, height), Image.Resampling.NEAREST)))
        rows, columns = (nearest_indices(*pair) for pair in zip(self.size, (height, width), strict=True))
        if turn.swapped:
            rows, columns = columns, rows
        if turn.rows_reversed:
            rows = self.stored.height - 1 - rows[::-1]
        if turn.columns_reversed:
            columns = self.stored.width - 1 - columns[::-1]
        taken = np.empty((len(rows), len(columns), 3), np.uint8)
        spread = (int(rows[-1]) - int(rows[0]) + 1) * self.stored.width  # pixels from the first row to the last
        for down in _runs(rows, max(1, STRIP_PIXELS // self.stored.width) if spread < len(rows) * _ROW_PIXELS else 1):
            for across in _runs(columns, STRIP_PIXELS):
                taken[down, across] = self._taken(rows[down], columns[across])
        taken = taken[:: -1 if turn.rows_reversed else 1, :: -1 if turn.columns_reversed else 1]
        return np.ascontiguousarray(taken.transpose(1, 0, 2) if turn.swapped else taken)

    def _taken(self, rows: npt.NDArray[np.int64], columns: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        top, left = int(rows[0]), int(columns[0])
        box = (left, top, int(columns[-1]) + 1, int(rows[-1]) + 1)
        return np.asarray(to_rgb(self.stored.crop(box)))[rows - top][:, columns - left]


def _columns_first(stored: tuple[int, int], wanted: tuple[int, int]) -> bool:
    """Return whether Pillow resizes along the columns before the rows.

    It does where the height shrinks by more than twice what the width does (ImagingResampleInner in
    src/libImaging/Resample.c).
    """
    down, across = (before - after for before, after in zip(stored, wanted, strict=True))
    return down > 0 and down > 2 * across


def nearest_indices(stored: int, wanted: int) -> npt.NDArray[np.int64]:
    """Return the indices of the rows (or columns) that Pillow takes when it resizes to the nearest, in rising order.

    Pillow adds up the scale in float64 (ImagingScaleAffine in src/libImaging/Geometry.c), which decides where two are
    equally near; ``cumsum`` adds in the same order.
    """
    scale = float(np.float32(stored)) / wanted  # its box is float32
    steps = np.full(wanted, scale)
    steps[0] = scale * 0.5
    return steps.cumsum().astype(np.int64).clip(0, stored - 1)


def _runs(indices: npt.NDArray[np.int64], longest: int) -> Iterator[slice]:
    """Cut rising indices into runs whose first and last are less than ``longest`` apart."""
    values: list[int] = indices.tolist()
    start = 0
    while start < len(values):
        end = bisect_left(values, values[start] + longest)
        yield slice(start, end)
        start = end


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert an image of any mode to RGB, with transparent pixels laid over white."""
    if image.mode.startswith(("I", "F")):
        image = _sixteen_bit_to_grey(image)
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, layer).convert("RGB")
    return image.convert("RGB")


def _sixteen_bit_to_grey(image: Image.Image) -> Image.Image:
    """Convert 16-bit grey (0 to 65,535) to 8-bit, rounded; ``Image.convert`` would clip at 255 instead."""
    values = np.asarray(image).astype(np.int64)
    scaled = (values.clip(0, 65535) * 255 + 32767) // 65535
    grey = Image.fromarray(scaled.astype(np.uint8))
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        opaque = Image.fromarray(np.where(values == transparent, 0, 255).astype(np.uint8))
        return Image.merge("LA", (grey, opaque))
    return grey
