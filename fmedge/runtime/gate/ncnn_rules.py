"""Rules of ncnn's layers: the shapes that they make, the weights that they read, and the work that they take.

A shape has one to four extents, the outermost first: (width), (height, width), (channels, height, width) or (channels,
depth, height, width). An extent is None where any size is allowed; rules of windows and of single values take that.

The rules follow ncnn's documentation ("operators", "binaryop-broadcasting") and its reference code in ``src/layer``.
A rule raises :class:`WrongError` with a message, or ValueError where extents do not fit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import NamedTuple

from fmedge.runtime.gate.extents import axis_of, reduced, slid
from fmedge.runtime.gate.extents import same as same_places
from fmedge.runtime.gate.ncnn_parameters import Parameters

Shape = tuple[int | None, ...]
"""Extents of a tensor, the outermost first; None where any number is allowed."""


class WrongError(ValueError):
    """A layer does not fit what it reads; the message says in a few words how."""


class Call(NamedTuple):
    """A layer with the shapes that it reads: the argument of a rule.

    Attributes:
        kind: Its kind.
        parameters: Its parameters, each of an allowed value.
        shapes: The shapes of its inputs.
        makes: Number of its outputs.
    """

    kind: str
    parameters: Parameters
    shapes: Sequence[Shape]
    makes: int

    def source(self, *axes: int) -> Shape:
        """Return the shape of the first input, which must have so many axes.

        Raises:
            ValueError: It has another number.
        """
        if len(self.shapes[0]) not in axes:
            raise ValueError("other axes")
        return self.shapes[0]

    def known(self, position: int = 0) -> tuple[int, ...]:
        """Return the shape of an input whose extents must be known.

        Raises:
            WrongError: One is open.
        """
        return known(self.shapes[position])


class Made(NamedTuple):
    """The result of a rule.

    Attributes:
        shapes: The shapes of its outputs.
        weights: The arrays that it reads, in order: the number of values, and whether a tag precedes them.
        products: Multiplications and the like, beyond one for every value that it makes.
        scratch: Number of values that it needs beside its inputs and outputs.
    """

    shapes: Sequence[Shape]
    weights: Sequence[tuple[int, bool]] = ()
    products: int = 0
    scratch: int = 0


Rule = Callable[[Call], Made]


def values(shape: Shape) -> int:
    """Return the number of values of a tensor; open extents count as 1."""
    return prod(extent or 1 for extent in shape)


def known(shape: Sequence[int | None]) -> tuple[int, ...]:
    """Return a shape whose extents must be known.

    Raises:
        WrongError: One is open.
    """
    extents = tuple(extent for extent in shape if extent is not None)
    if len(extents) != len(shape):
        raise WrongError("a layer that works at one size only, where any is allowed")
    return extents


def leading(shape: Shape) -> int:
    """Return the first extent of a shape, which must be known.

    Raises:
        ValueError: It is open.
    """
    first = shape[0]
    if first is None:
        raise ValueError("open channels")
    return first


def same(call: Call) -> Made:
    """Change single values only."""
    return Made([call.shapes[0]])


def split(call: Call) -> Made:
    """Give several layers the same values."""
    return Made([call.shapes[0]] * call.makes)


def per_channel(arrays: int, number: int = 0, affine: int | None = None, word: str = "factors") -> Rule:
    """Return the rule of a layer that reads so many arrays with a value for each channel.

    Args:
        arrays: How many.
        number: The parameter that states how many channels there are.
        affine: The parameter that says whether there are any arrays; None where there always are.
        word: What its values are.
    """

    def rule(call: Call) -> Made:
        stated, channels = call.parameters.whole(number), leading(call.shapes[0])
        if stated != channels:
            raise WrongError(f"{stated} {word} for {channels} channels")
        some = affine is None or call.parameters.whole(affine, 1)
        return Made([call.shapes[0]], [(channels, False)] * (arrays if some else 0), 4 * values(call.shapes[0]))

    return rule


def scale(call: Call) -> Made:
    """Multiply each channel by a factor and add an offset."""
    return per_channel(1 + call.parameters.whole(1))(call)


def prelu(call: Call) -> Made:
    """Multiply values below zero by a factor: one for all, or one for each channel."""
    count = call.parameters.whole(0)
    if count != 1 and count != leading(call.shapes[0]):
        raise WrongError(f"{count} factors for {leading(call.shapes[0])} channels")
    return Made([call.shapes[0]], [(count, False)])


def group_norm(call: Call) -> Made:
    """Normalise groups of channels."""
    if call.parameters.whole(1) % call.parameters.whole(0):
        raise ValueError("groups that are not whole")
    return per_channel(2, number=1, affine=3)(call)


def layer_norm(call: Call) -> Made:
    """Normalise rows, or the whole of each channel."""
    shape, size = call.known(), call.parameters.whole(0)
    if size != shape[-1] and (len(shape) != 3 or size != shape[1] * shape[2]):
        raise WrongError(f"{size} factors for rows of {shape[-1]} values")
    return Made([shape], [(size, False)] * (2 * call.parameters.whole(2, 1)), 4 * values(shape))


class _Window(NamedTuple):
    """A window along an axis; borders of :data:`_SAME` are such that each stride has a place."""

    size: int
    stride: int
    before: int
    after: int


_SAME = -233
"""How ncnn writes borders that depend on the size, as ONNX' ``SAME_UPPER``."""


def _windows(parameters: Parameters, *, pool: bool) -> tuple[_Window, _Window]:
    """Return the windows along the height and the width, gaps included."""
    whole = parameters.whole
    # A convolution numbers dilation, stride and padding from 2, a pool, which has no dilation, stride and padding.
    stride, left, right, bottom = (2, 3, 14, 15) if pool else (3, 4, 15, 16)
    top = left + 10
    gaps = (1, 1) if pool else (whole(12, whole(2, 1)), whole(2, 1))
    sizes = whole(11, whole(1)), whole(1)
    extents = [gap * (size - 1) + 1 for gap, size in zip(gaps, sizes, strict=True)]
    strides = whole(stride + 10, whole(stride, 1)), whole(stride, 1)
    left_pad, top_pad = whole(left), whole(top, whole(left))
    height = _Window(extents[0], strides[0], top_pad, whole(bottom, top_pad))
    width = _Window(extents[1], strides[1], left_pad, whole(right, left_pad))
    if min(*height, *width) < 0 and {*height[2:], *width[2:]} != {_SAME}:
        raise WrongError("borders below zero")
    if _SAME in height and any(window.size < window.stride for window in (height, width)):
        raise WrongError("borders below zero")  # of a window that leaves places out
    return height, width


def _places(extent: int | None, window: _Window, *, up: bool = False) -> int | None:
    if extent is None:
        return None
    if window.before == _SAME:
        return same_places(extent, window.stride)
    room = extent + window.before + window.after - window.size
    return -(-room // window.stride) + 1 if up and room >= 0 else slid(extent, *window)


def _padded(shape: Shape, windows: Sequence[_Window]) -> int:
    """Return the number of values of an input with the borders that are put around it; 0 where there are none."""
    if not any(window.before or window.after for window in windows):
        return 0
    borders = (max(window.before + window.after, window.size) + window.stride for window in windows)
    return values((shape[0], *((extent or 1) + more for extent, more in zip(shape[1:], borders, strict=True))))


def _kernel(call: Call, stated: int, count: int, bias: bool) -> list[tuple[int, bool]]:
    """Return the arrays of a kernel with so many values, and check what follows it."""
    if stated != count:
        raise WrongError(f"a kernel of {stated:,} values, {count:,} needed")
    wanted = {2: 1, 3: 2, 6: 2}.get(call.parameters.whole(9), 0)
    if len(call.parameters.float_lists.get(10, ())) != wanted:
        raise WrongError(f"an activation without its {wanted} numbers")
    return [(count, True), *([(call.parameters.whole(0), False)] if bias else [])]


def convolution(call: Call) -> Made:
    """Slide a kernel over all channels, or over each group of them."""
    channels, height, width = call.source(3)
    out, groups, area = _outputs(call, channels)
    windows = _windows(call.parameters, pool=False)
    shape = out, *(_places(*pair) for pair in zip((height, width), windows, strict=True))
    count = out * ((channels or 0) // groups) * area
    weights = _kernel(call, call.parameters.whole(6), count, bool(call.parameters.whole(5)))
    return Made([shape], weights, values(shape[1:]) * count, _padded(call.shapes[0], windows))


def deconvolution(call: Call) -> Made:
    """Spread each value over a window of the result."""
    channels, *extents = call.source(3)
    out, groups, area = _outputs(call, channels)
    windows = _windows(call.parameters, pool=False)
    if min(window.before for window in windows) < 0:
        raise WrongError("borders below zero")
    more = call.parameters.whole(19, call.parameters.whole(18)), call.parameters.whole(18)
    whole = [
        None if extent is None else (extent - 1) * window.stride + window.size + extra
        for extent, window, extra in zip(extents, windows, more, strict=True)
    ]
    shape = (
        out,
        *(
            None if extent is None else extent - window.before - window.after
            for extent, window in zip(whole, windows, strict=True)
        ),
    )
    if any(extent is not None and extent < 1 for extent in shape):
        raise ValueError("nothing is left")
    count = out * ((channels or 0) // groups) * area
    weights = _kernel(call, call.parameters.whole(6), count, bool(call.parameters.whole(5)))
    return Made([shape], weights, values(call.shapes[0][1:]) * count, values((out, *whole)))


def _outputs(call: Call, channels: int | None) -> tuple[int, int, int]:
    """Return the number of output channels, of groups, and of a kernel's values for a pair of channels."""
    out, groups = call.parameters.whole(0), call.parameters.whole(7, 1)
    if out % groups or (channels or 0) % groups:
        raise WrongError(f"{groups} groups for {channels} and {out} channels")
    width = call.parameters.whole(1)
    return out, groups, width * call.parameters.whole(11, width)


def inner_product(call: Call) -> Made:
    """Multiply a vector, each row, or a whole input by a matrix."""
    shape, out, stated = call.known(), call.parameters.whole(0), call.parameters.whole(2)
    rows = shape[0] if len(shape) == 2 else 1
    result = (rows, out) if len(shape) == 2 else (out,)
    count = prod(shape) // rows * out
    return Made([result], _kernel(call, stated, count, bool(call.parameters.whole(1))), rows * count)


def gemm(call: Call) -> Made:
    """Multiply rows by a stored matrix and add a stored vector."""
    rows, inner = known(call.source(2))
    out, depth = call.parameters.whole(8), call.parameters.whole(9)
    if depth != inner:
        raise WrongError(f"rows of {inner} values for a matrix of {depth}")
    return Made([(rows, out)], [(out * depth, True), (out, True)], rows * out * depth)


def pooling(call: Call) -> Made:
    """Take the largest or the mean of each window, or of each channel."""
    channels, height, width = call.source(3)
    whole = call.parameters.whole
    if whole(4):
        return Made([(channels,)], products=values(call.shapes[0]))
    if whole(7):
        out = (whole(18, whole(8)), height), (whole(8), width)
        if any(wanted != -233 and wanted < 1 for wanted, _ in out):
            raise WrongError("a pool of no size")
        shape = (channels, *(own if wanted == -233 else wanted for wanted, own in out))
        known(shape)
        return Made([shape], products=2 * values(call.shapes[0]) + 4 * values(shape))
    if not {1, 5} <= set(call.parameters.wholes):
        raise WrongError("a pool without a window")
    windows = _windows(call.parameters, pool=True)
    up = whole(5) == 0
    shape = (channels, *(_places(*pair, up=up) for pair in zip((height, width), windows, strict=True)))
    area = whole(1) * whole(11, whole(1))
    return Made([shape], products=values(shape) * area, scratch=_padded(call.shapes[0], windows))


def memory_data(call: Call) -> Made:
    """Give stored values."""
    given = [call.parameters.whole(number) for number in (0, 1, 11, 2)]
    width, height, depth, channels = given
    shape = tuple(extent for extent in (channels, depth, height, width) if extent)
    complete = all(given[:1]) and (height or not channels) and (channels or not depth)
    if not complete:
        raise WrongError("stored values with an incomplete shape")
    return Made([shape], [(prod(shape), not call.parameters.whole(21, 1))])


def reduction(call: Call) -> Made:
    """Sum up some axes, or the like."""
    shape, axes = call.known(), call.parameters.lists[3]
    if len({axis_of(axis, len(shape)) for axis in axes}) != len(axes):
        raise ValueError("an axis twice")
    found = reduced(shape, axes, keep=bool(call.parameters.whole(4)))
    return Made([found or (1,)], products=2 * values(shape))


def softmax(call: Call) -> Made:
    """Make values along an axis positive with the sum 1."""
    axis_of(call.parameters.whole(0), len(call.shapes[0]))
    return Made([call.shapes[0]], products=8 * values(call.shapes[0]))


def lrn(call: Call) -> Made:
    """Divide each value by what its neighbours are."""
    window = call.parameters.whole(1, 5) ** (1 + call.parameters.whole(0))
    shape = call.source(3)
    return Made([shape], products=values(shape) * (window + 8), scratch=2 * values(shape))
