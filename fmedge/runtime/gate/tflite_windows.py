"""Shapes and work of TFLite's convolutions, pools and matrix products."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from fmedge.runtime.gate.extents import product_of_matrices, reshaped, same, slid
from fmedge.runtime.gate.shapes import Call, Value, Work

_SAME_PADDING = 0
"""Number of ``Padding.SAME`` in TFLite's schema."""


def places(call: Call, extents: Sequence[int], windows: Sequence[int]) -> Sequence[int]:
    """Return how many places a window has on height and width."""
    strides = [call.option("down", 1), call.option("across", 1)]
    pairs = zip(extents, strides, windows, strict=True)
    if call.option("padding", _SAME_PADDING) == _SAME_PADDING:
        return [same(extent, stride) for extent, stride, _ in pairs]
    return [slid(extent, window, stride, 0, 0) for extent, stride, window in pairs]


def spread(call: Call, sizes: Sequence[int]) -> list[int]:
    """Return the extents of a kernel with gaps between its values."""
    apart = (call.option("apart down", 1), call.option("apart across", 1))
    return [(size - 1) * distance + 1 for size, distance in zip(sizes, apart, strict=True)]


def convolution(call: Call) -> Work:
    """Apply the rule of CONV_2D."""
    (count, height, width, channels), (filters, rows, columns, depth) = call.value(0).shape, call.value(1).shape
    if not depth or channels % depth or filters % (channels // depth):
        raise ValueError("other channels")
    shape = (count, *places(call, (height, width), spread(call, (rows, columns))), filters)
    return Work([Value(shape)], prod(shape) * rows * columns * depth)


def depthwise(call: Call) -> Work:
    """Apply the rule of DEPTHWISE_CONV_2D."""
    (count, height, width, channels), (one, rows, columns, filters) = call.value(0).shape, call.value(1).shape
    if one != 1 or filters % channels:
        raise ValueError("other channels")
    shape = (count, *places(call, (height, width), spread(call, (rows, columns))), filters)
    return Work([Value(shape)], prod(shape) * rows * columns)


def transposed_convolution(call: Call) -> Work:
    """Apply the rule of TRANSPOSE_CONV."""
    stated = call.numbers(0) or []
    count, height, width, filters = stated
    kernel, picture = call.value(1).shape, call.value(2).shape
    rows, columns = kernel[1:3]
    there = (count, *places(call, (height, width), (rows, columns)), kernel[3])
    if there != picture or filters != kernel[0]:
        raise ValueError("a size that is not that of what it is made of")
    return Work([Value(tuple(stated))], prod(picture) * rows * columns * filters)


def pooled(call: Call) -> Work:
    """Apply the rule of MAX_POOL_2D and AVERAGE_POOL_2D."""
    (count, height, width, channels), window = call.value(0).shape, (call.option("height", 0), call.option("width", 0))
    shape = (count, *places(call, (height, width), window), channels)
    return Work([Value(shape)], prod(shape) * prod(window))


def connected(call: Call) -> Work:
    """Apply the rule of FULLY_CONNECTED."""
    value, (filters, depth) = call.value(0), call.value(1).shape
    if call.option("keep", 0):
        if value.shape[-1] != depth:
            raise ValueError("other inputs")
        shape = (*value.shape[:-1], filters)
    else:
        shape = (*reshaped(value.size, (-1, depth))[:1], filters)
    return Work([Value(shape)], prod(shape) * depth)


def matrices(call: Call) -> Work:
    """Apply the rule of BATCH_MATMUL."""
    sides = [call.value(position).shape for position in (0, 1)]
    turned = [call.option("left", 0), call.option("right", 0)]
    left, right = ((*side[:-2], *side[-2:][::-1]) if turn else side for side, turn in zip(sides, turned, strict=True))
    shape, products = product_of_matrices(left, right)
    return Work([Value(shape)], products)
