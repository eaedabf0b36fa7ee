"""How to make a page: which values it holds, and where it gets plotly.js from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from fmedge.system.choices import one_of, require_switch

Values = Literal["12bit", "float16", "float32"]
"""Numbers that a page holds: 12 bits of each channel's range, or floats of 16 or 32 bits."""

PlotlyPlace = Literal["embed", "cdn", "file"]
"""plotly.js: inside the page, from Plotly's server, or from a file next to the page."""

Style = Literal["viewer", "grid"]
"""Kind of page: the viewer, or one figure with a heatmap for every channel."""


MOST_PHOTOS = 4
"""Photos on one page: more would leave each too little room beside its maps."""


@dataclass(frozen=True, slots=True)
class PageOptions:
    """Choices for a page.

    Attributes:
        values: Number format of its values.
        plotlyjs: Where plotly.js is.
        both: For maps before ReLU: whether the page shows them after ReLU too.
        style: The viewer, or a grid of heatmaps.

    Raises:
        UsageError: A value is not allowed.
    """

    values: Values = "12bit"
    plotlyjs: PlotlyPlace = "embed"
    both: bool = False
    style: Style = "viewer"

    def __post_init__(self) -> None:
        require_switch("both", self.both)
        object.__setattr__(self, "values", one_of("values", self.values, get_args(Values)))
        object.__setattr__(self, "plotlyjs", one_of("plotlyjs", self.plotlyjs, get_args(PlotlyPlace)))
        object.__setattr__(self, "style", one_of("style", self.style, get_args(Style)))
