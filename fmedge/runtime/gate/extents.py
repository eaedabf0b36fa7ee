"""Arithmetic of extents, for any format: shapes after broadcasting, sliding windows, reshaping and multiplying.

Every function raises ValueError where shapes do not fit each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from math import prod

from fmedge.runtime.gate.bounds import Shape


def broadcast(shapes: Sequence[Shape]) -> Shape:
    """Return the shape to which several shapes are broadcast, aligned at their last axes.

    Raises:
        ValueError: They cannot be broadcast.
    """
    found: list[int] = []
    for extents in zip_longest(*(reversed(shape) for shape in shapes), fillvalue=1):
        wide = {extent for extent in extents if extent != 1}
        if len(wide) > 1:
            raise ValueError(f"{sorted(wide)}")
        found.append(wide.pop() if wide else 1)
    return tuple(reversed(found))


def axis_of(axis: int, axes: int) -> int:
    """Return the number of an axis counted from the front, where ``axis`` may be negative.

    Raises:
        ValueError: There is no such axis.
    """
    if not -axes <= axis < axes:
        raise ValueError(f"axis {axis}")
    return axis % axes


def slid(extent: int, window: int, stride: int, before: int, after: int, *, up: bool = False) -> int:
    """Return how many places a window has on an axis.

    Args:
        extent: Extent of the axis.
        window: Extent of the window, gaps included.
        stride: Distance between places.
        before: Padding before the axis.
        after: Padding after it.
        up: Whether the number is rounded up.

    Raises:
        ValueError: The window does not fit even once.
    """
    room = extent + before + after - window
    if room < 0:
        raise ValueError("a window larger than what it slides over")
    places = (-(-room // stride) if up else room // stride) + 1
    # A window that starts beyond the image and the padding before it does not count: the rule of ONNX and Caffe.
    return places - 1 if up and (places - 1) * stride >= extent + before else places


def same(extent: int, stride: int) -> int:
    """Return how many places a window has on an axis that is padded so that each stride has one."""
    return -(-extent // stride)


def reshaped(count: int, wanted: Sequence[int]) -> Shape:
    """Return the shape after a reshape of ``count`` elements; one wanted extent may be -1, and is then computed.

    Raises:
        ValueError: The numbers of elements differ, or more than one extent is open.
    """
    open_places = [place for place, extent in enumerate(wanted) if extent == -1]
    if len(open_places) > 1 or any(extent < -1 for extent in wanted):
        raise ValueError("two open extents")
    rest = prod(extent for extent in wanted if extent != -1)
    shape = tuple(count // rest if extent == -1 else extent for extent in wanted)
    if prod(shape) != count:
        raise ValueError("another number of elements")
    return shape


def reduced(shape: Shape, axes: Sequence[int], *, keep: bool) -> Shape:
    """Return a shape without some of its axes, or with 1 in their place."""
    gone = {axis_of(axis, len(shape)) for axis in axes}
    kept = [(1 if axis in gone else extent) for axis, extent in enumerate(shape) if keep or axis not in gone]
    return tuple(kept)


def sliced(extent: int, start: int, end: int, step: int) -> range:
    """Return the places on an axis that a slice takes, by NumPy's rules.

    Raises:
        ValueError: The step is 0.
    """
    return range(*slice(start, end, step).indices(extent))


def product_of_matrices(left: Shape, right: Shape) -> tuple[Shape, int]:
    """Return the shape of a product of stacks of matrices and its multiplications; vectors are treated as by NumPy.

    Raises:
        ValueError: They do not fit.
    """
    rows, columns = left if len(left) > 1 else (1, *left), right if len(right) > 1 else (*right, 1)
    if rows[-1] != columns[-2]:
        raise ValueError("inner extents differ")
    whole = (*broadcast((rows[:-2], columns[:-2])), rows[-2], columns[-1])
    kept = [*whole[:-2], *whole[-2:-1][: len(left) > 1], *whole[-1:][: len(right) > 1]]
    return tuple(kept), prod(whole) * rows[-1]
