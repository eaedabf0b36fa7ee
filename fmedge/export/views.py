"""What a value of a layer sees of the image, worked out from layer to layer."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

from fmedge.model.tap_view import TapView


class View(NamedTuple):
    """What a value sees along one axis, in pixels.

    Attributes:
        stride: From one value to the next.
        field: What one value sees.
        centre: Where the middle of what the first value sees lies; it may lie before the image.
    """

    stride: Fraction
    field: Fraction
    centre: Fraction


Views = tuple[View, ...]
"""The views along rows and columns; empty if they are not known."""


class Window(NamedTuple):
    """Which of its inputs a layer's value sees along one axis.

    Attributes:
        more: How many beyond one.
        step: Inputs from one value to the next.
        start: Number of the input in the middle of what the first value sees, from 0; padding counts below 0.
    """

    more: int
    step: Fraction
    start: Fraction


PIXEL: Views = (View(Fraction(1), Fraction(1), Fraction(1, 2)),) * 2
"""What a pixel of the image sees: itself."""


def point(skipped: tuple[int, int] = (0, 0)) -> list[Window]:
    """Return the windows of a layer that computes each value from one place.

    Args:
        skipped: Rows and columns that it cuts off at the start; below 0 where it pads.
    """
    return [Window(0, Fraction(1), Fraction(each)) for each in skipped]


def window(size: int, step: int, padding: int, dilation: int = 1) -> Window:
    """Return the window of a convolution or pool along one axis, with so much padding at the start."""
    more = (size - 1) * dilation
    return Window(more, Fraction(step), Fraction(more, 2) - padding)


def transposed(size: int, step: int, padding: int) -> Window:
    """Return the window of a transposed convolution: a value sees the inputs whose spread out kernels reach it."""
    return Window(-(-size // step) - 1, Fraction(1, step), Fraction(2 * padding - size + 1, 2 * step))


def resized(before: int, after: int, *, smooth: bool) -> Window:
    """Return the window of an enlargement or reduction whose outer edges stay where they are."""
    step = Fraction(before, after)
    return Window(1 if smooth else 0, step, (step - 1) / 2)


def same_padding(extent: int | None, size: int, step: int, dilation: int = 1) -> int:
    """Return the padding at the start with which a window gives ceil(extent / step) values, as TensorFlow's SAME.

    The odd pixel goes to the end. An unknown extent counts as a multiple of the step.
    """
    rest = (extent or 0) % step or step
    return max((size - 1) * dilation + 1 - rest, 0) // 2


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
        View(view.stride * each.step, view.field + each.more * view.stride, view.centre + each.start * view.stride)
        for view, each in zip(widest, windows, strict=True)
    )


def tap_view(views: Views) -> TapView | None:
    """Return views as a card holds them; None if they are not known."""
    if not views:
        return None
    rows, columns = views
    return TapView(
        (float(rows.stride), float(columns.stride)),
        (float(rows.field), float(columns.field)),
        (float(rows.centre), float(columns.centre)),
    )
