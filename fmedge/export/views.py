"""What a value of a layer sees of the image, worked out from layer to layer."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import inf
from typing import NamedTuple


class View(NamedTuple):
    """What a value sees along one axis: pixels from one value to the next, and pixels that one value sees.

    The stride is 0 where there is only one value, or where all are alike, and the field infinite for the whole image.
    """

    stride: Fraction
    field: Fraction | float


Views = tuple[View, ...]
"""The views along rows and columns; empty if they are not known."""

Window = tuple[int | float, Fraction]
"""How many inputs beyond one a value sees along an axis, infinitely many for all of them, and its step in inputs."""

PIXEL: Views = (View(Fraction(1), Fraction(1)),) * 2
"""What a pixel of the image sees: itself."""

POINT: list[Window] = [(0, Fraction(1))] * 2
"""The window of a layer that computes each value from the one at its place."""

WHOLE: list[Window] = [(inf, Fraction(0))] * 2
"""The window of a layer that computes one value from all of a channel."""


def views_after(windows: Sequence[Window], before: Sequence[Views]) -> Views:
    """Return what a layer's values see; of several inputs, the one that sees most counts.

    What nothing is known of sees the whole image if all that it reads does.

    Args:
        windows: The layer's, along rows and columns; empty if they are not known.
        before: What the values of each input see.
    """
    if not windows and before and all(_is_whole(views) for views in before):
        return before[0]
    if not windows or not before or not all(before):
        return ()
    return tuple(_after(views, window) for views, window in zip(zip(*before, strict=True), windows, strict=True))


def _is_whole(views: Views) -> bool:
    return bool(views) and all(view == View(Fraction(0), inf) for view in views)


def _after(views: Sequence[View], window: Window) -> View:
    """Return the view of a layer along one axis."""
    more, step = window
    widest = max(view.field for view in views)
    stride = max((view for view in views if view.stride), key=lambda view: view.field, default=views[0]).stride
    return View(stride * step, inf if inf in (more, widest) else widest + more * stride)


def as_floats(views: Views) -> tuple[tuple[float, float] | None, tuple[float, float] | None]:
    """Return strides and receptive fields, each of rows and columns; None if they are not known, or infinite."""
    if not views:
        return None, None
    strides, fields = (tuple(map(float, side)) for side in zip(*views, strict=True))
    rows, columns = strides
    height, width = fields
    return (rows, columns) if all(strides) else None, None if inf in fields else (height, width)
