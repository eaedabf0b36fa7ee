"""What the values of a tap see of the image."""

from __future__ import annotations

from dataclasses import dataclass

PerAxis = tuple[float, float]
"""A number for height and one for width."""


@dataclass(frozen=True, slots=True)
class TapView:
    """What the values of a tap see of the image, in pixels along height and width.

    Attributes:
        stride: From one value to the next; below 1 where the map is larger than the image.
        receptive_field: What one value sees; None for the whole image. Where paths join it is that of the widest.
        centre: Where the middle of what the first value sees lies, from the image's upper left corner; below 0 where
            the network pads more than its layers see.
    """

    stride: PerAxis
    receptive_field: PerAxis | None
    centre: PerAxis
