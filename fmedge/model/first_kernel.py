"""The first convolution of a network, which reads the image itself."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True, eq=False)
class FirstKernel:
    """Kernels of a convolution that reads the prepared pixels.

    Attributes:
        weights: Float32, (channels, rows, columns, 3), the last axis red, green, blue.
        bias: Float32, (channels,); zeros where the convolution adds none.
    """

    weights: npt.NDArray[np.float32] = field(repr=False)
    bias: npt.NDArray[np.float32] = field(repr=False)
