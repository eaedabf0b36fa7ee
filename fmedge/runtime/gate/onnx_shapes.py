"""The shape rule of each ONNX operator, after ONNX's Operators.md; see :mod:`fmedge.runtime.gate.shapes`."""

from __future__ import annotations

from collections.abc import Mapping
from math import floor, prod

from fmedge.runtime.gate.bounds import forbidden
from fmedge.runtime.gate.extents import axis_of, broadcast, reduced, reshaped, sliced
from fmedge.runtime.gate.onnx_windows import (
    convolution,
    gemm,
    matrices,
    pooled,
    pooled_whole,
    transposed_convolution,
)
from fmedge.runtime.gate.shape_rules import (
    ARITHMETIC,
    concatenated,
    gathered,
    split_along,
    stretched,
    taken,
    tiled,
    unchanged,
)
from fmedge.runtime.gate.shapes import Call, Rule, Value, Work, computed

DTYPES: Mapping[int, tuple[str, int, int]] = {
    1: ("float32", 4, 4),
    2: ("uint8", 1, 5),
    3: ("int8", 1, 5),
    4: ("uint16", 2, 5),
    5: ("int16", 2, 5),
    6: ("int32", 4, 5),
    7: ("int64", 8, 7),
    9: ("bool", 1, 5),
    10: ("float16", 2, 5),
    11: ("float64", 8, 10),
    12: ("uint32", 4, 11),
}
"""For each ONNX type: NumPy's name, bytes per value, and the field of values that are not stored raw."""

_WHOLE = frozenset(name for name, _, _ in DTYPES.values() if "int" in name)


def _identity(call: Call) -> Value:
    return call.value(0)


def _with_zero_point(position: int, left_out: str) -> Rule:
    """Return the rule for codes, which have the type of their zero point, or ``left_out`` where there is none."""

    def rule(call: Call) -> Value:
        given = call.values[position] if position < len(call.values) else None
        return Value(call.value(0).shape, left_out if given is None else given.dtype)

    return rule


def _dequantized(call: Call) -> Value:
    return Value(call.value(0).shape, call.value(1).dtype)


def _chosen(call: Call) -> Value:
    values = [call.value(position) for position in range(3)]
    return Value(broadcast([value.shape for value in values]), values[1].dtype)


def _cast(call: Call) -> Value:
    value = call.value(0)
    number = call.option("to", 0)
    if number not in DTYPES:
        raise forbidden(f"Cast to ONNX type {number}", ", ".join(name for name, _, _ in DTYPES.values()))
    dtype = DTYPES[number][0]
    known = value.known
    if known is not None and dtype in _WHOLE:
        known = tuple(int(each) for each in known)
    return Value(value.shape, dtype, known)


def _axes(call: Call, position: int) -> list[int] | None:
    """Return the axes, which are an option in older versions of an operator and an input in newer ones."""
    stated = call.step.integers.get("axes")
    return list(stated) if stated is not None else call.numbers(position)


def _summed(call: Call) -> Work:
    value = call.value(0)
    axes = _axes(call, 1)
    if not axes:
        axes = [] if call.option("noop_with_empty_axes", 0) else list(range(len(value.shape)))
    keep = call.option("keepdims", 1) == 1
    known = None
    if call.step.operator == "ReduceProd" and value.known is not None and len(value.shape) == 1 and axes:
        known = (float(prod(int(number) for number in value.known)),)
    return Work([Value(reduced(value.shape, axes, keep=keep), value.dtype, known)], value.size)


def _transposed(call: Call) -> Value:
    value = call.value(0)
    order = call.step.integers.get("perm") or range(len(value.shape))[::-1]
    if sorted(order) != list(range(len(value.shape))):
        raise ValueError("no order of the axes")
    return Value(tuple(value.shape[axis] for axis in order), value.dtype)


def _reshaped(call: Call) -> Value:
    value, wanted = call.value(0), call.numbers(1)
    if wanted is None:
        raise ValueError("no shape")
    if not call.option("allowzero", 0):
        wanted = [value.shape[place] if extent == 0 else extent for place, extent in enumerate(wanted)]
    return Value(reshaped(value.size, wanted), value.dtype, value.known)


def _flattened(call: Call) -> Value:
    value = call.value(0)
    axis = call.option("axis", 1)
    axis = axis if axis == len(value.shape) else axis_of(axis, len(value.shape))
    return Value((prod(value.shape[:axis]), prod(value.shape[axis:])), value.dtype)


def _squeezed(call: Call) -> Value:
    value, axes = call.value(0), _axes(call, 1)
    if axes is None:
        axes = [axis for axis, extent in enumerate(value.shape) if extent == 1]
    gone = {axis_of(axis, len(value.shape)) for axis in axes}
    if any(value.shape[axis] != 1 for axis in gone):
        raise ValueError("an axis of several places")
    return Value(reduced(value.shape, list(gone), keep=False), value.dtype, value.known)


def _unsqueezed(call: Call) -> Value:
    value, axes = call.value(0), _axes(call, 1)
    if axes is None:
        raise ValueError("no axes")
    total = len(value.shape) + len(axes)
    new = {axis_of(axis, total) for axis in axes}
    if len(new) != len(axes):
        raise ValueError("an axis twice")
    old = iter(value.shape)
    return Value(tuple(1 if axis in new else next(old) for axis in range(total)), value.dtype, value.known)


def _split(call: Call) -> Work:
    value, axis = call.value(0), call.option("axis", 0)
    stated = call.step.integers.get("split")
    sizes = list(stated) if stated is not None else call.numbers(1)
    if sizes is None:
        extent, parts = value.shape[axis_of(axis, len(value.shape))], len(call.step.results)
        size = -(-extent // parts)
        sizes = [*[size] * (parts - 1), extent - size * (parts - 1)]
    if len(sizes) != len(call.step.results):
        raise ValueError("another number of parts")
    return Work(split_along(value, axis, sizes))


def _sliced(call: Call) -> Value:
    value, integers = call.value(0), call.step.integers
    starts = list(integers["starts"]) if "starts" in integers else call.numbers(1)
    ends = list(integers["ends"]) if "ends" in integers else call.numbers(2)
    if starts is None or ends is None:
        raise ValueError("no places")
    axes = _axes(call, 3)
    axes = list(range(len(starts))) if axes is None else axes
    steps = call.numbers(4) or [1] * len(starts)
    places: list[range | None] = [None] * len(value.shape)
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        place = axis_of(axis, len(value.shape))
        places[place] = sliced(value.shape[place], start, end, step)
    return taken(value, places)


def _gathered(call: Call) -> Value:
    return gathered(call, call.option("axis", 0), call.value(1))


def _to_space(call: Call) -> Value:
    (count, channels, height, width), size = call.value(0).shape, call.option("blocksize", 1)
    if channels % (size * size):
        raise ValueError("channels that are no blocks")
    return Value((count, channels // (size * size), height * size, width * size), call.value(0).dtype)


def _to_depth(call: Call) -> Value:
    (count, channels, height, width), size = call.value(0).shape, call.option("blocksize", 1)
    if height % size or width % size:
        raise ValueError("a picture that is no blocks")
    return Value((count, channels * size * size, height // size, width // size), call.value(0).dtype)


def _shape(call: Call) -> Value:
    shape = call.value(0).shape
    end = call.step.integers.get("end")
    part = shape[call.option("start", 0) : end[0] if end else None]
    return Value((len(part),), "int64", tuple(map(float, part)))


def _padded(call: Call) -> Value:
    value = call.value(0)
    stated = call.step.integers.get("pads")
    pads = list(stated) if stated is not None else call.numbers(1)
    axes = call.numbers(3) or list(range(len(value.shape)))
    if pads is None or len(pads) != 2 * len(axes):
        raise ValueError("borders of other axes")
    extents = list(value.shape)
    for axis, before, after in zip(axes, pads[: len(axes)], pads[len(axes) :], strict=True):
        extents[axis_of(axis, len(extents))] += before + after
    if min(extents, default=1) < 0:
        raise ValueError("less than nothing")
    return Value(tuple(extents), value.dtype)


def _resized(call: Call) -> Value:
    value, words = call.value(0), call.step.words
    policy = words.get("keep_aspect_ratio_policy", "stretch")
    if policy != "stretch" or words.get("coordinate_transformation_mode") == "tf_crop_and_resize":
        raise forbidden(f"Resize by '{policy}' or of part of an image", "Resize of the whole image")
    first = 1 if len(call.values) == 2 else 2  # in ONNX opset 10 there is no region before the scales
    scales = call.values[first] if first < len(call.values) else None
    sizes = call.numbers(3)
    axes = list(call.step.integers.get("axes", range(len(value.shape))))
    extents = list(value.shape)
    if sizes:
        wanted = sizes
    elif scales is not None and scales.known is None and scales.size:
        raise computed("Resize")
    else:
        factors = () if scales is None else scales.known or ()
        wanted = [floor(extents[axis] * factor) for axis, factor in zip(axes, factors, strict=True)]
    for axis, extent in zip(axes, wanted, strict=True):
        extents[axis_of(axis, len(extents))] = extent
    return Value(tuple(extents), value.dtype)


_SAME = (
    "Relu LeakyRelu PRelu ThresholdedRelu Elu Selu Celu Sigmoid HardSigmoid HardSwish Tanh Softplus Softsign Softmax "
    "LogSoftmax Gelu Mish Clip Not Abs Sign Sqrt Exp Log Reciprocal Erf Neg Floor Ceil Round LRN BatchNormalization "
    "InstanceNormalization LayerNormalization GroupNormalization"
)

_COMPARED = "And Or Less LessOrEqual Greater GreaterOrEqual Equal"
_SUMMED = "ReduceMean ReduceSum ReduceMax ReduceMin ReduceProd ReduceL2 ReduceSumSquare"

RULES: Mapping[str, Rule] = {
    **dict.fromkeys(_SAME.split(), unchanged),
    **dict.fromkeys(_COMPARED.split(), stretched(dtype="bool")),
    **dict.fromkeys(("Pow", "Sum", "Mean"), stretched()),
    **{name.title(): stretched(operator) for name, operator in ARITHMETIC.items()},
    **dict.fromkeys(_SUMMED.split(), _summed),
    "Identity": _identity,
    "Cast": _cast,
    "Where": _chosen,
    "Conv": convolution(1),
    "ConvTranspose": transposed_convolution,
    "MaxPool": pooled,
    "AveragePool": pooled,
    "GlobalAveragePool": pooled_whole,
    "GlobalMaxPool": pooled_whole,
    "QLinearConv": convolution(3, 7),
    "QLinearMatMul": matrices(3, 7),
    "QuantizeLinear": _with_zero_point(2, "uint8"),
    "DequantizeLinear": _dequantized,
    "MatMul": matrices(1),
    "Gemm": gemm,
    "Transpose": _transposed,
    "Reshape": _reshaped,
    "Flatten": _flattened,
    "Squeeze": _squeezed,
    "Unsqueeze": _unsqueezed,
    "Concat": concatenated,
    "Split": _split,
    "Slice": _sliced,
    "Gather": _gathered,
    "DepthToSpace": _to_space,
    "SpaceToDepth": _to_depth,
    "Shape": _shape,
    "Pad": _padded,
    "Resize": _resized,
    "Tile": tiled,
}
"""The shape rule of each operator that fmedge runs; Constant is not one of them."""
