"""The kinds of layers that pass in ncnn's graphs, with what each of their parameters may be, and their rules.

They are what fmedge's own writer and pnnx make of convolution networks. Whatever else ncnn knows, such as int8, layers
that take their weights from other layers or sizes from expressions, is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from fmedge.runtime.gate import ncnn_moves as moves
from fmedge.runtime.gate import ncnn_rules as rules
from fmedge.runtime.gate.bounds import MAX_EXTENT, MAX_SCALE, MAX_WINDOW
from fmedge.runtime.gate.ncnn_parameters import Allowed, Float, Floats, Text, Wholes

MAX_CHANNELS = 1 << 16
"""Most channels of a tensor: dense layers have up to 25,088, convolutions 4,096."""


class Kind(NamedTuple):
    """A kind of layer.

    Attributes:
        rule: Its rule; None for the input.
        needed: The parameters that it must have, and what each may be.
        optional: Those that it may have.
        inputs: How many tensors it may read.
        outputs: How many it may make.
    """

    rule: rules.Rule | None
    needed: Mapping[int, Allowed] = {}
    optional: Mapping[int, Allowed] = {}
    inputs: range = range(1, 2)
    outputs: range = range(1, 2)


def _only(*values: int) -> range:
    return range(values[0], values[-1] + 1)


_CHANNELS, _EXTENT = range(1, MAX_CHANNELS + 1), range(1, MAX_EXTENT + 1)
_WINDOW, _BORDER, _SWITCH = range(1, MAX_WINDOW + 1), range(MAX_WINDOW + 1), range(2)
_COUNT = range(1, 1 << 31)
_AXES, _AXIS = Wholes(range(-4, 4)), range(-4, 4)
_MANY = range(1, 1 << 10)
_FACTOR = Float(2.0**-10, float(MAX_SCALE))
_SOME = Float()

_ACTIVATION: Mapping[int, Allowed] = {9: range(7), 10: Floats()}
"""A convolution's own activation: ReLU, leaky ReLU, clip, sigmoid, Mish, HardSwish; and its numbers."""

_OR_SAME = range(-233, MAX_WINDOW + 1)
"""A border of a convolution; the rules refuse other numbers below 0 than -233."""

_KERNEL: Mapping[int, Allowed] = {0: _CHANNELS, 1: _WINDOW, 4: _OR_SAME, 5: _SWITCH, 6: _COUNT}
_WINDOWS: Mapping[int, Allowed] = {
    **dict.fromkeys((2, 3, 11, 12, 13), _WINDOW),
    **dict.fromkeys((14, 15, 16), _OR_SAME),
    **_ACTIVATION,
}
_CONVOLUTION = Kind(rules.convolution, _KERNEL, {**_WINDOWS, 18: _SOME, 31: _only(64)})
_GROUPS: Mapping[int, Allowed] = {7: _CHANNELS}
_ENLARGED: Mapping[int, Allowed] = {**_WINDOWS, 18: _BORDER, 19: _BORDER}
_PLAIN = Kind(rules.same)
_SHAPE = re.compile(r"(?:-1|[1-9][0-9]{0,6}|[0-9][whdc])(?:,(?:-1|[1-9][0-9]{0,6}|[0-9][whdc])){0,3}")

KINDS: Mapping[str, Kind] = {
    "Input": Kind(None, {}, {0: _EXTENT, 1: _EXTENT, 2: _only(3)}, inputs=_only(0)),
    "Split": Kind(rules.split, outputs=_MANY),
    "MemoryData": Kind(
        rules.memory_data, {0: _EXTENT}, {1: _EXTENT, 2: _EXTENT, 11: _EXTENT, 21: _SWITCH}, inputs=_only(0)
    ),
    "Convolution": _CONVOLUTION,
    "ConvolutionDepthWise": _CONVOLUTION._replace(needed=_KERNEL | _GROUPS),
    "Deconvolution": Kind(rules.deconvolution, _KERNEL, _ENLARGED),
    "DeconvolutionDepthWise": Kind(rules.deconvolution, _KERNEL | _GROUPS, _ENLARGED),
    "InnerProduct": Kind(rules.inner_product, {0: _CHANNELS, 2: _COUNT}, {1: _SWITCH, **_ACTIVATION}),
    # Rows times a stored matrix that is transposed, plus a stored row.
    "Gemm": Kind(
        rules.gemm,
        {3: _only(1), 5: _only(1), 6: _only(1), 8: _CHANNELS, 9: _CHANNELS, 10: _only(4)},
        {2: _only(0), 4: _only(0), 7: _EXTENT},
    ),
    "Pooling": Kind(
        rules.pooling,
        {0: _SWITCH},
        {
            **dict.fromkeys((1, 2, 11, 12), _WINDOW),
            **dict.fromkeys((3, 13, 14, 15), _BORDER),
            **dict.fromkeys((4, 5, 6, 7), _SWITCH),
            **dict.fromkeys((8, 18), range(-233, MAX_EXTENT + 1)),
        },
    ),
    "Scale": Kind(rules.scale, {0: _CHANNELS}, {1: _SWITCH}),
    "BatchNorm": Kind(rules.per_channel(4), {0: _CHANNELS}, {1: _SOME}),
    "LayerNorm": Kind(rules.layer_norm, {0: _COUNT}, {1: _SOME, 2: _SWITCH}),
    "GroupNorm": Kind(rules.group_norm, {0: _CHANNELS, 1: _CHANNELS}, {2: _SOME, 3: _SWITCH}),
    "InstanceNorm": Kind(rules.per_channel(2, affine=2), {0: _CHANNELS}, {1: _SOME, 2: _SWITCH}),
    "LRN": Kind(rules.lrn, {}, {0: _SWITCH, 1: range(1, 64), 2: _SOME, 3: _SOME, 4: _SOME}),
    "PReLU": Kind(rules.prelu, {0: _CHANNELS}),
    "ReLU": Kind(rules.same, {}, {0: _SOME}),
    **dict.fromkeys(("Clip", "SELU", "HardSigmoid", "HardSwish"), Kind(rules.same, {}, {0: _SOME, 1: _SOME})),
    **dict.fromkeys(("ELU", "CELU", "Dropout"), Kind(rules.same, {}, {0: _SOME})),
    **dict.fromkeys(("Mish", "Swish", "Sigmoid", "TanH", "Softplus"), _PLAIN),
    "GELU": Kind(rules.same, {}, {0: _SWITCH}),
    "Softmax": Kind(rules.softmax, {0: _AXIS, 1: _only(1)}),
    "UnaryOp": Kind(rules.same, {0: range(28)}),
    "BinaryOp": Kind(moves.binary, {0: range(19)}, {1: _SWITCH, 2: _SOME}, inputs=range(1, 3)),
    "Eltwise": Kind(moves.eltwise, {0: range(3)}, {1: Floats()}, inputs=range(2, 1 << 10)),
    "Concat": Kind(moves.concat, {0: _AXIS}, inputs=_MANY),
    "Slice": Kind(
        moves.slices,
        {},
        {0: Wholes(range(-233, MAX_EXTENT)), 1: _AXIS, 2: Wholes(range(-MAX_EXTENT, MAX_EXTENT))},
        outputs=_MANY,
    ),
    "Crop": Kind(
        moves.crop, {9: Wholes(range(-MAX_EXTENT, MAX_EXTENT)), 10: Wholes(range(-MAX_EXTENT, 1 << 31)), 11: _AXES}
    ),
    "Padding": Kind(
        moves.padding,
        dict.fromkeys(range(4), _BORDER),
        {4: range(3), 5: _SOME, 6: _only(0), 7: _only(0), 8: _only(0)},
    ),
    "Reshape": Kind(
        moves.reshape,
        {},
        {**dict.fromkeys((0, 1, 2, 11), range(-1, MAX_EXTENT + 1)), 6: Text(_SHAPE)},
        inputs=range(1, 5),
    ),
    "Flatten": Kind(moves.flatten),
    "Squeeze": Kind(moves.squeeze, {3: _AXES}),
    "ExpandDims": Kind(moves.expand, {3: _AXES}),
    "Permute": Kind(moves.permute, {0: range(24)}),
    "ShuffleChannel": Kind(moves.shuffle, {0: _CHANNELS}, {1: _SWITCH}),
    "PixelShuffle": Kind(moves.pixel_shuffle, {0: range(1, MAX_SCALE + 1)}, {1: _SWITCH}),
    "Reorg": Kind(moves.reorganise, {0: range(1, MAX_SCALE + 1)}, {1: _SWITCH}),
    "Interp": Kind(
        moves.interp,
        {0: range(1, 4)},
        {1: _FACTOR, 2: _FACTOR, 3: range(MAX_EXTENT + 1), 4: range(MAX_EXTENT + 1), 5: _only(0), 6: _SWITCH},
    ),
    "Reduction": Kind(rules.reduction, {0: range(11), 1: _only(0), 3: _AXES, 5: _only(1)}, {2: _SOME, 4: _SWITCH}),
}
"""What passes, by kind: :data:`fmedge.model.ncnn_format.LAYERS`."""
