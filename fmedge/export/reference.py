"""The stock networks in NumPy and float64: the reference that every export of them is judged by."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from fmedge.model.preprocessing import MEAN_BGR
from fmedge.model.stock import LayerSpec
from fmedge.model.submodel import Activation, SubModel
from fmedge.model.weights import Weights

Float64Array = npt.NDArray[np.float64]

_Number = TypeVar("_Number", bound=np.number)

_STRIP_BYTES = 1 << 25
"""Bytes for the unfolded patches of one strip of rows: large enough for GEMM to run at full speed."""


def reference_outputs(submodel: SubModel, weights: Weights, image: npt.NDArray[np.number]) -> dict[str, Float64Array]:
    """Compute a sub-model as Keras defines it, in float64.

    Args:
        submodel: The sub-model to compute.
        weights: Kernel and bias of every convolution up to the deepest tap.
        image: (H, W, 3), RGB, 0 to 255.

    Returns:
        Per tap: (C, H, W).
    """
    outputs: dict[str, Float64Array] = {}
    for name, raw, values in walk(submodel.stock_layers, weights, image):
        seen = raw if submodel.activation is Activation.NONE else values
        if name in submodel.taps:
            outputs[name] = seen.transpose(2, 0, 1)
    return outputs


def walk(
    layers: Sequence[LayerSpec], weights: Weights, image: npt.NDArray[np.number]
) -> Iterator[tuple[str, Float64Array, Float64Array]]:
    """Compute the layers one after another without keeping any.

    Args:
        layers: The layers of a stock network, from the first on.
        weights: Kernel and bias of every convolution among them.
        image: (H, W, 3), RGB, 0 to 255.

    Yields:
        The layer's name, its output before ReLU and its output after it, both (H, W, C); for a pool the same array
        twice.
    """
    values = image[:, :, ::-1].astype(np.float64) - np.array(MEAN_BGR)
    for spec in layers:
        raw = max_pool(values) if spec.kind == "pool" else convolve(values, *weights[spec.name])
        values = raw if spec.kind == "pool" else np.maximum(raw, 0.0)
        yield spec.name, raw, values


def convolve(
    values: npt.NDArray[np.number], kernel: npt.NDArray[np.number], bias: npt.NDArray[np.number]
) -> Float64Array:
    """Compute a zero-padded 3x3 convolution, one matrix product per strip of rows: (H, W, in) → (H, W, out).

    It computes in float64, so that sums of integers are exact as long as they stay below 2**53.
    """
    height, width, channels = values.shape
    matrix = kernel.astype(np.float64).reshape(-1, kernel.shape[-1])
    padded = np.pad(values.astype(np.float64, copy=False), ((1, 1), (1, 1), (0, 0)))
    rows = max(1, _STRIP_BYTES // (width * matrix.shape[0] * 8))
    result = np.empty((height, width, kernel.shape[-1]))
    for top in range(0, height, rows):
        strip = padded[top : min(top + rows, height) + 2]
        windows = np.lib.stride_tricks.sliding_window_view(strip, (3, 3), axis=(0, 1))  # (rows, W, in, 3, 3)
        patches = windows.transpose(0, 1, 3, 4, 2).reshape(-1, 9 * channels)
        result[top : top + rows] = (patches @ matrix + bias).reshape(-1, width, kernel.shape[-1])
    return result


def max_pool(values: npt.NDArray[_Number]) -> npt.NDArray[_Number]:
    """Take the 2x2 maximum with stride 2, dropping an odd last row or column: (H, W, C) → (H//2, W//2, C)."""
    height, width, channels = values.shape
    even = values[: height // 2 * 2, : width // 2 * 2]
    return even.reshape(height // 2, 2, width // 2, 2, channels).max(axis=(1, 3))
