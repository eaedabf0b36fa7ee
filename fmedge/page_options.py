"""How a page is made: which values it holds, and where it has plotly.js from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Values = Literal["12bit", "float16", "float32"]
"""Numbers that a page holds: 12 bits of each channel's range, or floats of 16 or 32 bits."""

PlotlyPlace = Literal["embed", "cdn", "file"]
"""plotly.js: inside the page, from Plotly's server, or from a file beside the page."""

Style = Literal["viewer", "grid"]
"""What a page is: the viewer, or one figure with a heatmap for every channel."""


@dataclass(frozen=True, slots=True)
class PageOptions:
    """Choices for a page.

    Attributes:
        values: Numbers that it holds.
        plotlyjs: Where plotly.js is.
        both: Of maps before ReLU: whether the page shows them after ReLU too.
        style: The viewer, or a grid of heatmaps.
    """

    values: Values = "12bit"
    plotlyjs: PlotlyPlace = "embed"
    both: bool = False
    style: Style = "viewer"
