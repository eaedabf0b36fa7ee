"""The ONNX operators that fmedge runs, and the limits of their attributes and inputs."""

from __future__ import annotations

from collections.abc import Mapping

from fmedge.runtime.gate.bounds import MAX_EXTENT, MAX_SCALE, MAX_WINDOW, Range

_GROUPS: Mapping[str, str] = {
    "windows over an image": "Conv ConvTranspose MaxPool AveragePool GlobalAveragePool GlobalMaxPool LRN",
    "8-bit arithmetic": "QLinearConv QLinearMatMul QuantizeLinear DequantizeLinear",
    "value by value": "Add Sub Mul Div Pow Max Min Sum Mean Neg Abs Sign Sqrt Exp Log Reciprocal Erf Floor Ceil Round "
    "Clip Cast Identity Where Not And Or Less LessOrEqual Greater GreaterOrEqual Equal",
    "activations": "Relu LeakyRelu PRelu ThresholdedRelu Elu Selu Celu Sigmoid HardSigmoid HardSwish Tanh Softplus "
    "Softsign Softmax LogSoftmax Gelu Mish",
    "normalisation": "BatchNormalization InstanceNormalization LayerNormalization GroupNormalization",
    "sums over axes": "ReduceMean ReduceSum ReduceMax ReduceMin ReduceProd ReduceL2 ReduceSumSquare",
    "products of matrices, bounded by their constants": "MatMul Gemm",
    "moving values": "Transpose Reshape Flatten Squeeze Unsqueeze Concat Split Slice Gather DepthToSpace SpaceToDepth",
    "shapes, as tf2onnx computes them": "Shape Constant",
    "larger by a bounded constant": "Pad Resize Tile",
}
"""Groups of operators: those that convolutional networks consist of.

Left out on purpose: operators that make large data from small without a constant that says how large (ConstantOfShape,
Expand, Range, OneHot, EyeLike, NonZero, the random ones); those that contain graphs (If, Loop, Scan, SequenceMap);
strings, sequences and optionals; recurrent layers, and everything from other domains.
"""

OPERATORS = frozenset(name for names in _GROUPS.values() for name in names.split())
"""Names of all operators that fmedge runs, all from the default domain."""


ATTRIBUTES: Mapping[str, Range] = {
    "kernel_shape": Range(1, MAX_WINDOW),
    "strides": Range(1, MAX_WINDOW),
    "dilations": Range(1, MAX_WINDOW),
    "pads": Range(0, MAX_WINDOW),
    "output_padding": Range(0, MAX_WINDOW),
    "output_shape": Range(1, MAX_WINDOW * MAX_SCALE),
    "blocksize": Range(1, MAX_SCALE),
    "group": Range(1, 1 << 16),
    "size": Range(1, MAX_WINDOW),
}
"""Limits of the attributes that decide how much is computed. A group has at least one channel; LRN's size is a
window."""

OTHER = Range(-(1 << 20), 1 << 20)
"""Limits of all other integers: axes, types, switches."""

SIZES: Mapping[tuple[str, int], Range] = {
    ("Pad", 1): Range(0, MAX_WINDOW),
    ("Tile", 1): Range(1, MAX_SCALE),
    ("Resize", 2): Range(0, MAX_SCALE),
    ("Resize", 3): Range(1, MAX_WINDOW * MAX_SCALE),
    ("Slice", 4): Range(-MAX_EXTENT, MAX_EXTENT),  # the step, which engines negate: the lowest int64 cannot be
}
"""Inputs, by operator and position, that set the size of the output: they must be constants within these limits."""
