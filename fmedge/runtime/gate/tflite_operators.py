"""The TFLite operators that fmedge runs, and the limits of their options and inputs.

Numbers are those of TFLite's schema, version 3.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from fmedge.runtime.gate.bounds import MAX_SCALE, MAX_WINDOW, Range

_GROUPS: Mapping[str, dict[str, int]] = {
    "windows over an image": {
        "AVERAGE_POOL_2D": 1, "CONV_2D": 3, "DEPTHWISE_CONV_2D": 4, "MAX_POOL_2D": 17, "TRANSPOSE_CONV": 67,
    },
    "8-bit arithmetic": {"DEQUANTIZE": 6, "QUANTIZE": 114},
    "value by value": {
        "ADD": 0, "FLOOR": 8, "MUL": 18, "SUB": 41, "DIV": 42, "EXP": 47, "CAST": 53, "MAXIMUM": 55, "MINIMUM": 57,
        "LESS": 58, "NEG": 59, "GREATER": 61, "GREATER_EQUAL": 62, "LESS_EQUAL": 63, "SELECT": 64, "EQUAL": 71,
        "NOT_EQUAL": 72, "LOG": 73, "SQRT": 75, "RSQRT": 76, "POW": 78, "LOGICAL_OR": 84, "LOGICAL_AND": 86,
        "LOGICAL_NOT": 87, "SQUARE": 92, "SQUARED_DIFFERENCE": 99, "ABS": 101, "CEIL": 104, "ADD_N": 106,
        "ROUND": 116, "SELECT_V2": 123, "SIGN": 158,
    },
    "activations": {
        "LOGISTIC": 14, "RELU": 19, "RELU_N1_TO_1": 20, "RELU6": 21, "SOFTMAX": 25, "TANH": 28, "LOG_SOFTMAX": 50,
        "PRELU": 54, "LEAKY_RELU": 98, "ELU": 111, "HARD_SWISH": 117, "GELU": 150, "RELU_0_TO_1": 152,
    },
    "normalisation": {"L2_NORMALIZATION": 11, "LOCAL_RESPONSE_NORMALIZATION": 13},
    "sums over axes": {"MEAN": 40, "SUM": 74, "REDUCE_PROD": 81, "REDUCE_MAX": 82, "REDUCE_MIN": 89},
    "products of matrices, bounded by their constants": {"FULLY_CONNECTED": 9, "BATCH_MATMUL": 126},
    "moving values": {
        "CONCATENATION": 2, "DEPTH_TO_SPACE": 5, "RESHAPE": 22, "SPACE_TO_DEPTH": 26, "GATHER": 36,
        "BATCH_TO_SPACE_ND": 37, "SPACE_TO_BATCH_ND": 38, "TRANSPOSE": 39, "SQUEEZE": 43, "STRIDED_SLICE": 45,
        "SPLIT": 49, "SLICE": 65, "EXPAND_DIMS": 70, "PACK": 83, "UNPACK": 88, "SPLIT_V": 102, "REVERSE_V2": 105,
    },
    "shapes, as TensorFlow's converter computes them": {"SHAPE": 77},
    "larger by a bounded constant": {
        "RESIZE_BILINEAR": 23, "PAD": 34, "PADV2": 60, "TILE": 69, "RESIZE_NEAREST_NEIGHBOR": 97, "MIRROR_PAD": 100,
    },
}  # fmt: skip
"""Groups of built-in operators: those that convolutional networks consist of.

Left out on purpose: CUSTOM and DELEGATE; operators that make large data from small without a constant that says how
large (FILL, RANGE, BROADCAST_TO, ONE_HOT, the random ones); those that call graphs (IF, WHILE, CALL, CALL_ONCE);
variables and hash tables; recurrent layers, and all of StableHLO.
"""

OPERATORS: Mapping[int, str] = {code: name for group in _GROUPS.values() for name, code in group.items()}
"""Names of all operators that fmedge runs, by their numbers."""


class Options(NamedTuple):
    """The options that an operator needs.

    Attributes:
        kind: Number of their table in the union. Another table would leave them at 0, and engines divide by a stride.
        bounds: The allowed range of each field; all are 32-bit.
        default: The value of each field if it is missing; 0 for fields that are not listed.
    """

    kind: int
    bounds: Mapping[int, Range]
    default: Mapping[int, int]


_WINDOW = Range(1, MAX_WINDOW)
_POOL = Options(5, dict.fromkeys((1, 2, 3, 4), _WINDOW), {})
_BLOCK = {0: Range(1, MAX_SCALE)}

OPTIONS: Mapping[str, Options] = {
    "CONV_2D": Options(1, dict.fromkeys((1, 2, 4, 5), _WINDOW), {4: 1, 5: 1}),
    "DEPTHWISE_CONV_2D": Options(2, {**dict.fromkeys((1, 2, 5, 6), _WINDOW), 3: Range(0, 1 << 16)}, {5: 1, 6: 1}),
    "AVERAGE_POOL_2D": _POOL,
    "MAX_POOL_2D": _POOL,
    "TRANSPOSE_CONV": Options(49, dict.fromkeys((1, 2), _WINDOW), {}),
    "SPACE_TO_DEPTH": Options(19, _BLOCK, {}),
    "DEPTH_TO_SPACE": Options(94, _BLOCK, {}),
    "SPLIT": Options(35, {0: Range(1, MAX_WINDOW)}, {}),
    "UNPACK": Options(64, {0: Range(1, MAX_WINDOW)}, {}),
}
"""Limits of strides, dilations, windows, blocks and numbers of parts."""

_PAD = Range(0, MAX_WINDOW)
_SIZE = Range(1, MAX_WINDOW * MAX_SCALE)

SIZES: Mapping[tuple[str, int], Range] = {
    ("PAD", 1): _PAD,
    ("PADV2", 1): _PAD,
    ("MIRROR_PAD", 1): _PAD,
    ("TILE", 1): Range(1, MAX_SCALE),
    ("RESIZE_BILINEAR", 1): _SIZE,
    ("RESIZE_NEAREST_NEIGHBOR", 1): _SIZE,
    ("SPACE_TO_BATCH_ND", 1): _WINDOW,
    ("SPACE_TO_BATCH_ND", 2): _PAD,
    ("BATCH_TO_SPACE_ND", 1): _WINDOW,
    ("BATCH_TO_SPACE_ND", 2): _PAD,
}
"""Inputs, by operator and position, that say how much larger the output is: constants within these limits."""

CONVOLUTIONS = frozenset(("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV"))
"""Operators that a ReLU can follow as part of the same layer."""

KEEPING = frozenset(
    (
        *_GROUPS["moving values"],
        *("QUANTIZE", "DEQUANTIZE", "CAST", "PAD", "PADV2", "TILE", "MAX_POOL_2D", "AVERAGE_POOL_2D", "MUL", "DIV"),
    )
)
"""Operators that turn no value negative. MUL and DIV use scales here, which are positive."""

FUSED: Mapping[str, int] = {
    **dict.fromkeys(("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV"), 3),
    **dict.fromkeys(("ADD", "SUB", "MUL", "DIV", "FULLY_CONNECTED"), 0),
    **dict.fromkeys(("MAX_POOL_2D", "AVERAGE_POOL_2D"), 5),
    "CONCATENATION": 1,
}
"""Operators with a built-in activation, and the field of their options that says which."""

FUSED_RELU = 1
"""The value of that field for ReLU; 2 is RELU_N1_TO_1, 3 is RELU6."""
