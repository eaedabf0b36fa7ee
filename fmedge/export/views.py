"""What a value of a layer sees of the image, worked out from layer to layer."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import inf
from typing import NamedTuple

from fmedge.model.tap_view import TapView


class View(NamedTuple):
    """What a value sees along one axis, in pixels.

    Attributes:
        stride: From one value to the next; 0 where there is only one value, or where all are alike.
        field: What one value sees; infinite for the whole image.
        centre: Where the middle of what the first value sees lies; it may lie before the image.
    """

    stride: Fraction
    field: Fraction | float
    centre: Fraction


Views = tuple[View, ...]
"""The views along rows and columns; empty if they are not known."""


class Window(NamedTuple):
    """Which of its inputs a layer's value sees along one axis.

    Attributes:
        more: How many beyond one; infinitely many for all of them.
        step: Inputs from one value to the next.
        start: Number of the input in the middle of what the first value sees, from 0; padding counts below 0.
    """

    more: float
    step: Fraction
    start: Fraction


PIXEL: Views = (View(Fraction(1), Fraction(1), Fraction(1, 2)),) * 2
"""What a pixel of the image sees: itself."""


WHOLE: list[Window] = [Window(inf, Fraction(0), Fraction(0))] * 2
"""The window of a layer that computes one value from all of a channel."""


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

    What nothing is known of sees the whole image if all that it reads does.

    Args:
        windows: The layer's, along rows and columns; empty if they are not known.
        before: What the values of each input see.
    """
    if not windows and before and all(_is_whole(views) for views in before):
        return before[0]
    if not windows or not before or not all(before):
        return ()
    return tuple(_after(views, each) for views, each in zip(zip(*before, strict=True), windows, strict=True))


def _is_whole(views: Views) -> bool:
    return bool(views) and all((view.stride, view.field) == (0, inf) for view in views)


def _after(views: Sequence[View], window: Window) -> View:
    """Return the view of a layer along one axis."""
    widest = max(view.field for view in views)
    placed = max((view for view in views if view.stride), key=lambda view: view.field, default=views[0])
    return View(
        placed.stride * window.step,
        inf if inf in (window.more, widest) else widest + window.more * placed.stride,
        placed.centre + window.start * placed.stride,
    )


def tap_view(views: Views) -> TapView | None:
    """Return views as a card holds them; None if they are not known, or there is one value."""
    if not views or not all(view.stride for view in views):
        return None
    strides, fields, centres = (tuple(map(float, side)) for side in zip(*views, strict=True))
    (down, right), (high, wide), (top, left) = strides, fields, centres
    return TapView((down, right), None if inf in fields else (high, wide), (top, left))
