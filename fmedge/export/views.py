"""What a value of a layer sees of the image, worked out from layer to layer."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple


class View(NamedTuple):
    """What a value sees along one axis: pixels from one value to the next, and pixels that one value sees."""

    stride: Fraction
    field: Fraction


Views = tuple[View, ...]
"""The views along rows and columns; empty if they are not known."""

Window = tuple[int, Fraction]
"""How many inputs beyond one a value sees along an axis, and its step in inputs."""

PIXEL: Views = (View(Fraction(1), Fraction(1)),) * 2
"""What a pixel of the image sees: itself."""

POINT: list[Window] = [(0, Fraction(1))] * 2
"""The window of a layer that computes each value from the one at its place."""


def views_after(windows: Sequence[Window], before: Sequence[Views]) -> Views:
    """Return what a layer's values see; of several inputs, the one that sees most counts.

    Args:
        windows: The layer's, along rows and columns; empty if they are not known.
        before: What the values of each input see.
    """
    if not windows or not before or not all(before):
        return ()
    widest = [max(views, key=lambda view: view.field) for views in zip(*before, strict=True)]
    return tuple(
        View(view.stride * step, view.field + more * view.stride)
        for view, (more, step) in zip(widest, windows, strict=True)
    )


def as_floats(views: Views) -> tuple[tuple[float, float] | None, tuple[float, float] | None]:
    """Return strides and receptive fields, each of rows and columns; None if they are not known."""
    if not views:
        return None, None
    rows, columns = views
    return (float(rows.stride), float(columns.stride)), (float(rows.field), float(columns.field))
