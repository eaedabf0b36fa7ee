"""The arithmetic of extents: what stretching, sliding, reshaping and multiplying make of shapes, in any format.

Every function raises ValueError where shapes do not fit each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from math import prod

from fmedge.runtime.gate.bounds import Shape


def broadcast(shapes: Sequence[Shape]) -> Shape:
    """The shape to which others are stretched, aligned at their last axes.

    Raises:
        ValueError: They cannot be.
    """
    found: list[int] = []
    for extents in zip_longest(*(reversed(shape) for shape in shapes), fillvalue=1):
        wide = {extent for extent in extents if extent != 1}
        if len(wide) > 1:
            raise ValueError(f"{sorted(wide)}")
        found.append(wide.pop() if wide else 1)
    return tuple(reversed(found))


def axis_of(axis: int, axes: int) -> int:
    """An axis counted from the front.

    Raises:
        ValueError: There is none.
    """
    if not -axes <= axis < axes:
        raise ValueError(f"axis {axis}")
    return axis % axes


def slid(extent: int, window: int, stride: int, before: int, after: int, *, up: bool = False) -> int:
    """Places of a window on an axis.

    Raises:
        ValueError: It does not fit once.
    """
    room = extent + before + after - window
    if room < 0:
        raise ValueError("a window larger than what it slides over")
    places = (-(-room // stride) if up else room // stride) + 1
    # A window that would begin beyond the picture and its border before it does not count: ONNX' and Caffe's rule.
    return places - 1 if up and (places - 1) * stride >= extent + before else places


def same(extent: int, stride: int) -> int:
    """Places of a window on an axis that is padded so that each stride has one."""
    return -(-extent // stride)


def reshaped(count: int, wanted: Sequence[int]) -> Shape:
    """A shape in which one extent may be -1, and is then worked out.

    Raises:
        ValueError: The numbers of elements differ.
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
    """A shape without some axes, or with 1 in their place."""
    gone = {axis_of(axis, len(shape)) for axis in axes}
    kept = [(1 if axis in gone else extent) for axis, extent in enumerate(shape) if keep or axis not in gone]
    return tuple(kept)


def sliced(extent: int, start: int, end: int, step: int) -> range:
    """Places that a slice takes of an axis, as NumPy does.

    Raises:
        ValueError: The step is 0.
    """
    return range(*slice(start, end, step).indices(extent))


def product_of_matrices(left: Shape, right: Shape) -> tuple[Shape, int]:
    """Shape of a product of stacks of matrices, and its multiplications; vectors count as NumPy counts them.

    Raises:
        ValueError: They do not fit.
    """
    rows, columns = left if len(left) > 1 else (1, *left), right if len(right) > 1 else (*right, 1)
    if rows[-1] != columns[-2]:
        raise ValueError("inner extents differ")
    whole = (*broadcast((rows[:-2], columns[:-2])), rows[-2], columns[-1])
    kept = [*whole[:-2], *whole[-2:-1][: len(left) > 1], *whole[-1:][: len(right) > 1]]
    return tuple(kept), prod(whole) * rows[-1]
