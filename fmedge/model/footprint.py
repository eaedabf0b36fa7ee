"""Estimate the work, sizes and memory of sub-models of stock networks from the layer table alone, without any file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fmedge.model.stock import INPUT_SIZE, LayerSpec
from fmedge.model.submodel import ExportOptions, Precision, SubModel

_BYTES = {Precision.FP32: 4, Precision.FP16: 2, Precision.INT8: 1}
_FLOAT_BYTES = 4
_ARRAYS = 3
"""Arrays of a layer's size that an engine holds at once: its input, its output, and a reordered copy."""

_FRAME_BYTES = 4_000
"""Bytes of graph, names and card in the file, without the weights: about 3 to 5 kB."""


@dataclass(frozen=True, slots=True)
class ExportPlan:
    """Figures of a sub-model of a stock network.

    Attributes:
        outputs: (channels, height, width) per tap, at ``size``.
        size: Height and width of the image that the figures are for, in pixels.
        parameters: Weights and biases in the file.
        macs: Multiply-accumulate operations per image.
        receptive_field: Height and width, in pixels, of what a value of the deepest tap can see.
        size_bytes: Estimated size of the model file.
    """

    outputs: dict[str, tuple[int, int, int]]
    size: tuple[int, int]
    parameters: int
    macs: int
    receptive_field: int
    size_bytes: int


def plan_export(submodel: SubModel, options: ExportOptions) -> ExportPlan:
    """Compute the shapes, work and size of an export of a stock network.

    Args:
        submodel: What would be cut.
        options: In which form; where the size is open, the network's own is assumed.
    """
    size = options.size or INPUT_SIZE
    layers = submodel.stock_layers
    parameters = sum(spec.parameters for spec in layers)
    return ExportPlan(
        outputs={spec.name: spec.output_shape(*size) for spec in layers if spec.name in submodel.taps},
        size=size,
        parameters=parameters,
        macs=sum(spec.macs(*size) for spec in layers),
        receptive_field=layers[-1].receptive_field,
        size_bytes=parameters * _BYTES[options.precision] + _FRAME_BYTES,
    )


def run_bytes(layers: Sequence[LayerSpec], images: int, height: int, width: int) -> int:
    """Estimate the bytes for values when layers run, from the largest of them, for images of this size."""
    return max(layer_bytes(spec, images, height, width) for spec in layers) * _ARRAYS


def weight_bytes(layers: Sequence[LayerSpec]) -> int:
    """Return the bytes of the weights of layers."""
    return sum(spec.parameters for spec in layers) * _FLOAT_BYTES


def layer_bytes(spec: LayerSpec, images: int, height: int, width: int) -> int:
    """Return the bytes of the feature maps of a layer, for this many images of this size."""
    channels, rows, columns = spec.output_shape(height, width)
    return images * channels * rows * columns * _FLOAT_BYTES
