"""The 8-bit codes in which an int8 model computes the values of a tap, before it hands them out as floats."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True, eq=False)
class TapCodes:
    """What a tap's codes stand for: ``(code - zero_point) * scale``.

    Attributes:
        scale: Float32, (1,) for the whole tensor or (C,) per channel.
        zero_point: Int32, of the same shape.
        lowest: The smallest code: 0 or -128.
        highest: The largest code: 255 or 127.
    """

    scale: npt.NDArray[np.float32] = field(repr=False)
    zero_point: npt.NDArray[np.int32] = field(repr=False)
    lowest: int
    highest: int

    def bounds(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Return the smallest and the largest value that there are codes for: float32, of the scale's shape."""
        low, high = ((code - self.zero_point).astype(np.float32) * self.scale for code in (self.lowest, self.highest))
        return low, high
