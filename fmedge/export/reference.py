"""What the network computes, in NumPy and float64: the judge of every export."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fmedge.image import MEAN_BGR
from fmedge.submodel import Activation, SubModel
from fmedge.vgg16 import layers_through
from fmedge.weights import Weights

Float64Array = npt.NDArray[np.float64]

_STRIP_BYTES = 1 << 25
"""Memory for the unfolded patches of one strip of rows: large enough for GEMM to run at full speed."""


def reference_outputs(submodel: SubModel, weights: Weights, image: npt.NDArray[np.number]) -> dict[str, Float64Array]:
    """Compute a sub-model the way Keras defines it, in float64.

    Args:
        submodel: What to compute.
        weights: Kernel and bias of every convolution up to the deepest tap.
        image: (H, W, 3), RGB, 0 to 255.

    Returns:
        Per tap: (C, H, W).
    """
    values = image[:, :, ::-1].astype(np.float64) - np.array(MEAN_BGR)
    outputs: dict[str, Float64Array] = {}
    for spec in layers_through(submodel.deepest):
        if spec.kind == "pool":
            values = _max_pool(values)
            seen = values
        else:
            raw = _convolve(values, *weights[spec.name])
            values = np.maximum(raw, 0.0)
            seen = raw if submodel.activation is Activation.NONE else values
        if spec.name in submodel.taps:
            outputs[spec.name] = seen.transpose(2, 0, 1)
    return outputs


def _convolve(values: Float64Array, kernel: npt.NDArray[np.float32], bias: npt.NDArray[np.float32]) -> Float64Array:
    """3x3 convolution, zero-padded, as one matrix product per strip of rows. (H, W, in) → (H, W, out)."""
    height, width, channels = values.shape
    matrix = kernel.astype(np.float64).reshape(-1, kernel.shape[-1])
    padded = np.pad(values, ((1, 1), (1, 1), (0, 0)))
    rows = max(1, _STRIP_BYTES // (width * matrix.shape[0] * 8))
    result = np.empty((height, width, kernel.shape[-1]))
    for top in range(0, height, rows):
        strip = padded[top : min(top + rows, height) + 2]
        windows = np.lib.stride_tricks.sliding_window_view(strip, (3, 3), axis=(0, 1))  # (rows, W, in, 3, 3)
        patches = windows.transpose(0, 1, 3, 4, 2).reshape(-1, 9 * channels)
        result[top : top + rows] = (patches @ matrix + bias).reshape(-1, width, kernel.shape[-1])
    return result


def _max_pool(values: Float64Array) -> Float64Array:
    """2x2 maximum, stride 2; an odd last row or column is dropped. (H, W, C) → (H//2, W//2, C)."""
    height, width, channels = values.shape
    even = values[: height // 2 * 2, : width // 2 * 2]
    return even.reshape(height // 2, 2, width // 2, 2, channels).max(axis=(1, 3))
