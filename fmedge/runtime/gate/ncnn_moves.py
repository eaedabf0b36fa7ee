"""Rules of the ncnn layers that join, cut and reorder values, or combine several tensors; see ``ncnn_rules.py``."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from itertools import pairwise
from math import prod

from fmedge.runtime.gate.bounds import MAX_SCALE
from fmedge.runtime.gate.extents import axis_of, reshaped
from fmedge.runtime.gate.ncnn_rules import Call, Made, Shape, WrongError, known, leading, same, values


def binary(call: Call) -> Made:
    """Combine two tensors, one of them stretched where the other is longer, or a tensor and a number."""
    alone = bool(call.parameters.whole(1))
    if len(call.shapes) != 2 - alone:
        raise WrongError("a wrong number of inputs")
    if alone:
        return Made([call.shapes[0]])
    left, right = call.shapes
    pairs = zip(_widened(left, right), _widened(right, left), strict=True)
    return Made([tuple(_stretched(*pair) for pair in pairs)])


def _widened(shape: Shape, other: Shape) -> Shape:
    """Give a shape as many axes as another has, as ncnn does it: a vector along the first axis or else the last."""
    missing = len(other) - len(shape)
    if missing <= 0:
        return shape
    if len(shape) == 1 and shape[0] not in (1, other[0]):
        return (1,) * missing + shape
    return shape + (1,) * missing


def _stretched(left: int | None, right: int | None) -> int | None:
    if left == right or right == 1:
        return left
    if left == 1:
        return right
    raise ValueError("other extents")


def eltwise(call: Call) -> Made:
    """Combine tensors of the same shape."""
    if len(set(call.shapes)) != 1 or len(call.parameters.float_lists.get(1, call.shapes)) != len(call.shapes):
        raise ValueError("other shapes")
    return Made([call.shapes[0]])


def concat(call: Call) -> Made:
    """Join tensors along an axis."""
    axes = len(call.shapes[0])
    axis = axis_of(call.parameters.whole(0), axes)
    if len({(*shape[:axis], *shape[axis + 1 :]) for shape in call.shapes}) != 1:
        raise ValueError("other extents")
    if {len(shape) for shape in call.shapes} != {axes}:
        raise ValueError("other axes")
    whole = sum(known([shape[axis] for shape in call.shapes]))
    return Made([(*call.shapes[0][:axis], whole, *call.shapes[0][axis + 1 :])])


def slices(call: Call) -> Made:
    """Cut a tensor along an axis into parts of given sizes; -233 stands for an equal share of what is left."""
    shape = call.shapes[0]
    axis = axis_of(call.parameters.whole(1), len(shape))
    (extent,) = known([shape[axis]])
    left, parts = extent, list[int]()
    for index, size in enumerate(_sizes(call, extent)):
        parts.append(left // (call.makes - index) if size == -233 else size)
        left -= parts[-1]
    if len(parts) != call.makes or left or min(parts) < 1:
        raise ValueError("parts that are not the whole")
    return Made([(*shape[:axis], part, *shape[axis + 1 :]) for part in parts])


def _sizes(call: Call, extent: int) -> Sequence[int]:
    lists = call.parameters.lists
    if (0 in lists) == (2 in lists):
        raise WrongError("a slice needs the sizes of its parts or their places")
    places = [0, *(place % extent for place in lists.get(2, ())), extent]
    return lists.get(0) or [after - before for before, after in pairwise(places)]


def crop(call: Call) -> Made:
    """Cut a part out of a tensor: from a place on some axes up to another one; negative ones count from the end."""
    shape = list(call.known())
    starts, ends, axes = (call.parameters.lists[number] for number in (9, 10, 11))
    if not len(starts) == len(ends) == len(axes) == len({axis_of(axis, len(shape)) for axis in axes}):
        raise WrongError("places that do not fit each other")
    for start, end, axis in zip(starts, ends, axes, strict=True):
        extent = shape[axis]
        first = 0 if start == -233 else start + extent * (start < 0)
        last = extent if end in (-233, 2147483647) else min(end + extent * (end < 0), extent)
        if not 0 <= first < last <= extent:
            raise ValueError("nothing is left")
        shape[axis] = last - first
    return Made([tuple(shape)])


_NAMED = {1: "w", 2: "hw", 3: "chw", 4: "cdhw"}
"""Names of a tensor's axes, from the outermost."""

_NUMBERS = {"w": 0, "h": 1, "d": 11, "c": 2}
"""Numbers of Reshape's parameters that state extents."""


def reshape(call: Call) -> Made:
    """Give a tensor another shape: numbers, where 0 keeps an extent and -1 is what is left, or extents of inputs."""
    shape, whole = call.known(), call.parameters.wholes
    own = dict(zip(_NAMED[len(shape)], shape, strict=True))
    if text := call.parameters.texts.get(6):
        if whole:
            raise WrongError("a shape in numbers and in words")
        words = text.split(",")
        if len(call.shapes) != 1 + max((int(word[0]) for word in words if word[-1].isalpha()), default=0):
            raise WrongError("a wrong number of inputs")
        wanted = [_told(call, word) for word in words]
    else:
        if len(call.shapes) != 1:
            raise WrongError("a wrong number of inputs")
        given = {axis: whole[number] for axis, number in _NUMBERS.items() if number in whole}
        if "".join(given) not in ("w", "wh", "whc", "whdc"):
            raise WrongError("an incomplete shape")
        wanted = [extent or own.get(axis, 1) for axis, extent in given.items()]
    return Made([reshaped(prod(shape), wanted[::-1])])


def _told(call: Call, word: str) -> int:
    """Return an extent in words: a number, or an input's number and the letter of its axis."""
    if word[-1].isdigit():
        return int(word)
    shape = call.known(int(word[0]))
    return dict(zip(_NAMED[len(shape)], shape, strict=True)).get(word[1], 1)


def padding(call: Call) -> Made:
    """Put borders around each channel."""
    channels, height, width = call.source(3)
    whole = call.parameters.whole
    sides = (height, whole(0), whole(1)), (width, whole(2), whole(3))
    mirrors = whole(4) == 2
    if mirrors and any(extent is None or max(before, after) >= extent for extent, before, after in sides):
        raise ValueError("borders as wide as the image")
    return Made([(channels, *(extent and extent + before + after for extent, before, after in sides))])


def interp(call: Call) -> Made:
    """Resize each channel; a vector becomes flat channels."""
    source = call.source(1, 3)
    height, width = source[1:] or (1, 1)
    parameters = call.parameters
    out = [parameters.whole(3), parameters.whole(4)]
    if 0 in out:
        factors = parameters.floats.get(1, 1.0), parameters.floats.get(2, 1.0)
        shape = (source[0], _scaled(height, factors[0]), _scaled(width, factors[1]))
    else:
        shape = (source[0], *out)
        if any(wanted > MAX_SCALE * extent for extent, wanted in zip(known((height, width)), out, strict=True)):
            raise ValueError("too large")
    return Made([shape], products=16 * values(shape))


def _scaled(extent: int | None, factor: float) -> int | None:
    """Return an extent times a factor as ncnn works it out, in float32."""
    return None if extent is None else int(_float32(_float32(factor) * extent))


def _float32(value: float) -> float:
    return struct.unpack("<f", struct.pack("<f", value))[0]


def shuffle(call: Call) -> Made:
    """Exchange channels between groups."""
    if leading(call.source(3)) % call.parameters.whole(0):
        raise ValueError("groups that are not whole")
    return same(call)


def pixel_shuffle(call: Call) -> Made:
    """Turn channels into rows and columns."""
    channels, *extents = call.source(3)
    factor = call.parameters.whole(0)
    if channels is None or channels % factor**2:
        raise ValueError("channels that are not whole")
    return Made([(channels // factor**2, *(extent and extent * factor for extent in extents))])


def reorganise(call: Call) -> Made:
    """Turn rows and columns into channels."""
    channels, *extents = call.source(3)
    stride = call.parameters.whole(0)
    if channels is None or any((extent or 0) % stride for extent in extents):
        raise ValueError("rows that are not whole")
    return Made([(channels * stride**2, *(extent and extent // stride for extent in extents))])


def flatten(call: Call) -> Made:
    """Give all values in one row."""
    return Made([(prod(call.known()),)])


def squeeze(call: Call) -> Made:
    """Leave out axes of extent 1."""
    shape = call.known()
    gone = {axis_of(axis, len(shape)) for axis in call.parameters.lists[3]}
    kept = tuple(extent for axis, extent in enumerate(shape) if axis not in gone or extent != 1)
    return Made([kept or (1,)])


def expand(call: Call) -> Made:
    """Add axes of extent 1."""
    shape, axes = call.known(), call.parameters.lists[3]
    count = len(shape) + len(axes)
    new = {axis_of(axis, count) for axis in axes}
    if count > 4 or len(new) != len(axes):
        raise ValueError("other axes")
    rest = iter(shape)
    return Made([tuple(1 if axis in new else next(rest) for axis in range(count))])


_ORDERS = {
    2: ("wh", "hw"),
    3: ("whc", "hwc", "wch", "cwh", "hcw", "chw"),
    4: (
        *("whdc", "hwdc", "wdhc", "dwhc", "hdwc", "dhwc", "whcd", "hwcd", "wchd", "cwhd", "hcwd", "chwd"),
        *("wdch", "dwch", "wcdh", "cwdh", "dcwh", "cdwh", "hdcw", "dhcw", "hcdw", "chdw", "dchw", "cdhw"),
    ),
}
"""Orders of the axes by number, the innermost first, as ncnn numbers them in ``permute.cpp``."""


def permute(call: Call) -> Made:
    """Exchange axes."""
    shape = call.shapes[0]
    if len(shape) == 1:
        return Made([shape])
    own = dict(zip(_NAMED[len(shape)], shape, strict=True))
    orders, number = _ORDERS[len(shape)], call.parameters.whole(0)
    if number >= len(orders):
        raise ValueError("no such order")
    return Made([tuple(own[axis] for axis in reversed(orders[number]))])
