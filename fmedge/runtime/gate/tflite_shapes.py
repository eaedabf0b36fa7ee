"""The shape rule of each TFLite operator; see :mod:`fmedge.runtime.gate.shapes`. Axes are those of NHWC.

The rules are those of TensorFlow Lite's kernels. Options have the numbers of TFLite's schema, version 3. Types are
those that the file declares for an operator's outputs.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

from fmedge.runtime.gate.bounds import Shape, forbidden
from fmedge.runtime.gate.extents import axis_of, broadcast, reduced, reshaped, sliced
from fmedge.runtime.gate.shape_rules import (
    ARITHMETIC,
    concatenated,
    gathered,
    joined_along,
    split_along,
    stretched,
    taken,
    tiled,
    unchanged,
)
from fmedge.runtime.gate.shapes import Call, Rule, Value, Work, computed
from fmedge.runtime.gate.tflite_windows import (
    connected,
    convolution,
    depthwise,
    matrices,
    pooled,
    transposed_convolution,
)

INTEGERS: Mapping[str, Mapping[str, int]] = {
    "CONV_2D": {"padding": 0, "across": 1, "down": 2, "apart across": 4, "apart down": 5},
    "DEPTHWISE_CONV_2D": {"padding": 0, "across": 1, "down": 2, "apart across": 5, "apart down": 6},
    "AVERAGE_POOL_2D": {"padding": 0, "across": 1, "down": 2, "width": 3, "height": 4},
    "MAX_POOL_2D": {"padding": 0, "across": 1, "down": 2, "width": 3, "height": 4},
    "TRANSPOSE_CONV": {"padding": 0, "across": 1, "down": 2},
    "FULLY_CONNECTED": {"keep": 2},
    "BATCH_MATMUL": {"left": 0, "right": 1},
    "CONCATENATION": {"axis": 0},
    "SPACE_TO_DEPTH": {"block": 0},
    "DEPTH_TO_SPACE": {"block": 0},
    "GATHER": {"axis": 0, "batch": 1},
    "PACK": {"axis": 1},
    "UNPACK": {"axis": 1},
    "STRIDED_SLICE": {"open start": 0, "open end": 1, "ellipsis": 2, "new": 3, "gone": 4, "offset": 5},
    **{name: {"keep": 0} for name in ("MEAN", "SUM", "REDUCE_PROD", "REDUCE_MAX", "REDUCE_MIN")},
}
"""For each operator the options that state sizes, by fmedge's names, and their fields."""

LISTS: Mapping[str, Mapping[str, int]] = {"RESHAPE": {"shape": 0}, "SQUEEZE": {"axes": 0}}
"""For each operator the options that are lists of numbers, and their fields."""

BYTES = frozenset(("padding", "keep", "left", "right", "offset"))
"""Options that take one byte; the others are 32-bit numbers."""


def _cast(call: Call) -> Value:
    return call.value(0)


def _chosen(call: Call) -> Value:
    if call.step.operator == "SELECT":
        return Value(call.value(1).shape)
    return Value(broadcast([call.value(position).shape for position in range(3)]))


def _summed(call: Call) -> Work:
    value, axes = call.value(0), call.numbers(1)
    if axes is None:
        raise ValueError("no axes")
    known = None
    if call.step.operator == "REDUCE_PROD" and value.known is not None and len(value.shape) == 1 and axes:
        known = (float(prod(int(number) for number in value.known)),)
    return Work([Value(reduced(value.shape, axes, keep=bool(call.option("keep", 0))), known=known)], value.size)


def _reshaped(call: Call) -> Value:
    value = call.value(0)
    wanted = call.numbers(1)
    if wanted is None:
        wanted = list(call.step.integers.get("shape", ()))
    return Value(reshaped(value.size, wanted), known=value.known)


def _to_depth(call: Call) -> Value:
    (count, height, width, channels), block = call.value(0).shape, call.option("block", 0)
    if height % block or width % block:
        raise ValueError("a picture that is no blocks")
    return Value((count, height // block, width // block, channels * block * block))


def _to_space(call: Call) -> Value:
    (count, height, width, channels), block = call.value(0).shape, call.option("block", 0)
    if channels % (block * block):
        raise ValueError("channels that are no blocks")
    return Value((count, height * block, width * block, channels // (block * block)))


def _gathered(call: Call) -> Value:
    if call.option("batch", 0):
        raise forbidden("GATHER that differs per image", "GATHER from the same positions in every image")
    return gathered(call, call.option("axis", 0), call.value(1))


def _blocks(call: Call) -> tuple[Value, list[int], list[tuple[int, int]]]:
    """Return a value, its blocks, and what is added or cut off on each of their axes."""
    value, blocks, sides = call.value(0), call.numbers(1), call.numbers(2)
    if blocks is None or sides is None or len(sides) != 2 * len(blocks) or len(value.shape) < len(blocks) + 1:
        raise ValueError("blocks of other axes")
    return value, blocks, list(zip(sides[::2], sides[1::2], strict=True))


def _batch_to_space(call: Call) -> Value:
    value, blocks, crops = _blocks(call)
    count, rest = value.shape[0], value.shape[len(blocks) + 1 :]
    if count % prod(blocks):
        raise ValueError("images that are no blocks")
    pairs = zip(value.shape[1:], blocks, crops, strict=False)
    extents = [extent * block - before - after for extent, block, (before, after) in pairs]
    if min(extents) < 0:
        raise ValueError("less than nothing")
    return Value((count // prod(blocks), *extents, *rest))


def _space_to_batch(call: Call) -> Value:
    value, blocks, pads = _blocks(call)
    rest = value.shape[len(blocks) + 1 :]
    pairs = zip(value.shape[1:], blocks, pads, strict=False)
    padded = [(extent + before + after, block) for extent, block, (before, after) in pairs]
    if any(extent % block for extent, block in padded):
        raise ValueError("a picture that is no blocks")
    return Value((value.shape[0] * prod(blocks), *(extent // block for extent, block in padded), *rest))


def _transposed(call: Call) -> Value:
    value, order = call.value(0), call.numbers(1)
    if order is None or sorted(order) != list(range(len(value.shape))):
        raise ValueError("no order of the axes")
    return Value(tuple(value.shape[axis] for axis in order))


def _squeezed(call: Call) -> Value:
    value = call.value(0)
    axes = call.step.integers.get("axes") or [axis for axis, extent in enumerate(value.shape) if extent == 1]
    if any(value.shape[axis_of(axis, len(value.shape))] != 1 for axis in axes):
        raise ValueError("an axis of several places")
    return Value(reduced(value.shape, axes, keep=False), known=value.known)


def _strided(call: Call) -> Value:
    value, begins, ends, steps = call.value(0), call.numbers(1), call.numbers(2), call.numbers(3)
    if begins is None or ends is None or steps is None:
        raise ValueError("no places")
    if call.option("ellipsis", 0) or call.option("new", 0) or call.option("offset", 0):
        raise forbidden("STRIDED_SLICE with new axes", "STRIDED_SLICE of existing axes")
    open_start, open_end, gone = (call.option(name, 0) for name in ("open start", "open end", "gone"))
    places: list[range | None] = [None] * len(value.shape)
    lost: list[int] = []
    for axis, (begin, end, step) in enumerate(zip(begins, ends, steps, strict=True)):
        extent = value.shape[axis]
        if gone >> axis & 1:
            first = axis_of(begin, extent)
            places[axis] = range(first, first + 1)
            lost.append(axis)
            continue
        start = (0 if step > 0 else extent - 1) if open_start >> axis & 1 else begin
        stop = (extent if step > 0 else -extent - 1) if open_end >> axis & 1 else end
        places[axis] = sliced(extent, start, stop, step)
    part = taken(value, places)
    return Value(reduced(part.shape, lost, keep=False), known=part.known)


def _sliced(call: Call) -> Value:
    value, begins, sizes = call.value(0), call.numbers(1), call.numbers(2)
    if begins is None or sizes is None:
        raise ValueError("no places")
    places: list[range | None] = []
    for extent, begin, size in zip(value.shape, begins, sizes, strict=True):
        end = extent if size == -1 else begin + size
        if not 0 <= begin <= end <= extent:
            raise ValueError("places outside")
        places.append(range(begin, end))
    return taken(value, places)


def _split(call: Call) -> Work:
    axis, value = call.numbers(0) or [0], call.value(1)
    parts = len(call.step.results)
    extent = value.shape[axis_of(axis[0], len(value.shape))]
    return Work(split_along(value, axis[0], [extent // parts] * parts))


def _split_by(call: Call) -> Work:
    value, sizes, axis = call.value(0), call.numbers(1), call.numbers(2)
    if sizes is None or axis is None or len(sizes) != len(call.step.results):
        raise ValueError("another number of parts")
    rest = value.shape[axis_of(axis[0], len(value.shape))] - sum(size for size in sizes if size != -1)
    return Work(split_along(value, axis[0], [rest if size == -1 else size for size in sizes]))


def _with_axis(call: Call) -> Value:
    value, axis = call.value(0), call.numbers(1)
    if axis is None or len(axis) != 1:
        raise ValueError("no axis")
    place = axis_of(axis[0], len(value.shape) + 1)
    return Value((*value.shape[:place], 1, *value.shape[place:]), known=value.known)


def _packed(call: Call) -> Value:
    values = [call.value(position) for position in range(len(call.values))]
    if len({value.shape for value in values}) != 1:
        raise ValueError("other extents")
    axis = axis_of(call.option("axis", 0), len(values[0].shape) + 1)
    longer = [Value((*value.shape[:axis], 1, *value.shape[axis:]), known=value.known) for value in values]
    return joined_along(longer, axis)


def _unpacked(call: Call) -> Work:
    value = call.value(0)
    axis = axis_of(call.option("axis", 0), len(value.shape))
    if value.shape[axis] != len(call.step.results):
        raise ValueError("another number of parts")
    return Work([Value(reduced(value.shape, [axis], keep=False))] * value.shape[axis])


def _shape(call: Call) -> Value:
    shape: Shape = call.value(0).shape
    return Value((len(shape),), known=tuple(map(float, shape)))


def _padded(call: Call) -> Value:
    value, sides = call.value(0), call.numbers(1)
    if sides is None:
        raise ValueError("no borders")
    rows = zip(value.shape, sides[::2], sides[1::2], strict=True)
    return Value(tuple(extent + before + after for extent, before, after in rows))


def _resized(call: Call) -> Value:
    (count, _, _, channels), size = call.value(0).shape, call.numbers(1)
    if size is None:
        raise computed(call.step.operator)
    height, width = size
    return Value((count, height, width, channels))


_NAMES: Mapping[str, str] = {"max": "MAXIMUM", "min": "MINIMUM"}

_STRETCHED = "LESS GREATER GREATER_EQUAL LESS_EQUAL EQUAL NOT_EQUAL POW LOGICAL_OR LOGICAL_AND SQUARED_DIFFERENCE ADD_N"
_UNCHANGED = (
    "DEQUANTIZE QUANTIZE FLOOR EXP NEG LOG SQRT RSQRT LOGICAL_NOT SQUARE ABS CEIL ROUND SIGN LOGISTIC RELU "
    "RELU_N1_TO_1 RELU6 SOFTMAX TANH LOG_SOFTMAX PRELU LEAKY_RELU ELU HARD_SWISH GELU RELU_0_TO_1 L2_NORMALIZATION "
    "LOCAL_RESPONSE_NORMALIZATION REVERSE_V2"
)

RULES: Mapping[str, Rule] = {
    **dict.fromkeys(_STRETCHED.split(), stretched()),
    **{_NAMES.get(name, name.upper()): stretched(operator) for name, operator in ARITHMETIC.items()},
    **dict.fromkeys(_UNCHANGED.split(), unchanged),
    **dict.fromkeys(("MEAN", "SUM", "REDUCE_PROD", "REDUCE_MAX", "REDUCE_MIN"), _summed),
    **dict.fromkeys(("AVERAGE_POOL_2D", "MAX_POOL_2D"), pooled),
    **dict.fromkeys(("PAD", "PADV2", "MIRROR_PAD"), _padded),
    **dict.fromkeys(("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"), _resized),
    **dict.fromkeys(("SELECT", "SELECT_V2"), _chosen),
    "CAST": _cast,
    "CONV_2D": convolution,
    "DEPTHWISE_CONV_2D": depthwise,
    "TRANSPOSE_CONV": transposed_convolution,
    "FULLY_CONNECTED": connected,
    "BATCH_MATMUL": matrices,
    "CONCATENATION": concatenated,
    "RESHAPE": _reshaped,
    "SPACE_TO_DEPTH": _to_depth,
    "DEPTH_TO_SPACE": _to_space,
    "GATHER": _gathered,
    "BATCH_TO_SPACE_ND": _batch_to_space,
    "SPACE_TO_BATCH_ND": _space_to_batch,
    "TRANSPOSE": _transposed,
    "SQUEEZE": _squeezed,
    "STRIDED_SLICE": _strided,
    "SLICE": _sliced,
    "SPLIT": _split,
    "SPLIT_V": _split_by,
    "EXPAND_DIMS": _with_axis,
    "PACK": _packed,
    "UNPACK": _unpacked,
    "SHAPE": _shape,
    "TILE": tiled,
}
"""The shape rule of each operator that fmedge runs."""
