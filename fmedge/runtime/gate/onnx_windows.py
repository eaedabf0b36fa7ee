"""Shapes and work of ONNX's convolutions, pools and matrix products."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from fmedge.runtime.gate.bounds import Shape
from fmedge.runtime.gate.extents import product_of_matrices, same, slid
from fmedge.runtime.gate.shapes import Call, Rule, Value, Work


def places(call: Call, extents: Shape, kernel: Sequence[int], *, up: bool = False) -> tuple[int, ...]:
    """Return how many places a window has on each axis of an image."""
    axes = len(extents)
    integers, padding = call.step.integers, call.step.words.get("auto_pad", "NOTSET")
    strides = integers.get("strides") or [1] * axes
    dilations = integers.get("dilations") or [1] * axes
    pads = integers.get("pads") or [0] * 2 * axes
    if {len(kernel), len(strides), len(dilations), len(pads) / 2} != {axes}:
        raise ValueError("a window of other axes")
    if padding in ("SAME_UPPER", "SAME_LOWER"):
        return tuple(same(extent, stride) for extent, stride in zip(extents, strides, strict=True))
    if padding == "VALID":
        pads = [0] * 2 * axes
    elif padding != "NOTSET":
        raise ValueError(padding)
    windows = [(width - 1) * apart + 1 for width, apart in zip(kernel, dilations, strict=True)]
    rows = zip(extents, windows, strides, pads[:axes], pads[axes:], strict=True)
    return tuple(slid(*row, up=up) for row in rows)


def convolution(kernel_input: int, dtype_input: int = 0) -> Rule:
    """Return the rule of a convolution: which input is its kernel, and which input has the type of its output."""

    def rule(call: Call) -> Work:
        picture, kernel = call.value(0).shape, call.value(kernel_input).shape
        stated = call.step.integers.get("kernel_shape")
        if len(picture) < 3 or len(picture) != len(kernel) or tuple(stated or kernel[2:]) != kernel[2:]:
            raise ValueError("a kernel of another shape")
        group = call.option("group", 1)
        if picture[1] != kernel[1] * group or kernel[0] % group:
            raise ValueError("other channels")
        shape = (picture[0], kernel[0], *places(call, picture[2:], kernel[2:]))
        return Work([Value(shape, call.value(dtype_input).dtype)], prod(shape) * prod(kernel[1:]))

    return rule


def transposed_convolution(call: Call) -> Work:
    """Apply the rule of ConvTranspose."""
    picture, kernel = call.value(0).shape, call.value(1).shape
    axes, integers, padding = len(picture) - 2, call.step.integers, call.step.words.get("auto_pad", "NOTSET")
    group = call.option("group", 1)
    if axes < 1 or len(kernel) != len(picture) or picture[1] != kernel[0] or kernel[0] % group:
        raise ValueError("other channels")
    strides = integers.get("strides") or [1] * axes
    stated = list(integers.get("output_shape", ()))[-axes:]
    if stated:
        extents = stated
    elif padding in ("SAME_UPPER", "SAME_LOWER"):
        extents = [extent * stride for extent, stride in zip(picture[2:], strides, strict=True)]
    else:
        pads = integers.get("pads") or [0] * 2 * axes
        more = integers.get("output_padding") or [0] * axes
        apart = integers.get("dilations") or [1] * axes
        rows = zip(picture[2:], kernel[2:], strides, apart, pads[:axes], pads[axes:], more, strict=True)
        extents = [
            stride * (extent - 1) + extra + (width - 1) * dilation + 1 - before - after
            for extent, width, stride, dilation, before, after, extra in rows
        ]
    if min(extents) < 1:
        raise ValueError("nothing left")
    shape = (picture[0], kernel[1] * group, *extents)
    return Work([Value(shape, call.value(0).dtype)], prod(picture) * prod(kernel[1:]))


def pooled(call: Call) -> Work:
    """Apply the rule of MaxPool and AveragePool."""
    value = call.value(0)
    kernel = call.step.integers.get("kernel_shape", ())
    shape = (*value.shape[:2], *places(call, value.shape[2:], kernel, up=call.option("ceil_mode", 0) == 1))
    return Work([Value(shape, value.dtype), Value(shape, "int64")], prod(shape) * prod(kernel))


def pooled_whole(call: Call) -> Work:
    """Apply the rule of GlobalMaxPool and GlobalAveragePool."""
    value = call.value(0)
    shape = (*value.shape[:2], *(1 for _ in value.shape[2:]))
    return Work([Value(shape, value.dtype)], value.size)


def matrices(right_input: int, dtype_input: int = 0) -> Rule:
    """Return the rule of a matrix product: which input is the right matrix, and which has the type of the output."""

    def rule(call: Call) -> Work:
        shape, products = product_of_matrices(call.value(0).shape, call.value(right_input).shape)
        return Work([Value(shape, call.value(dtype_input).dtype)], products)

    return rule


def gemm(call: Call) -> Work:
    """Apply the rule of Gemm."""
    left, right = call.value(0), call.value(1).shape
    if len(left.shape) != 2 or len(right) != 2:
        raise ValueError("no matrices")
    rows = left.shape[::-1] if call.option("transA", 0) else left.shape
    shape, products = product_of_matrices(rows, right[::-1] if call.option("transB", 0) else right)
    return Work([Value(shape, left.dtype)], products)
