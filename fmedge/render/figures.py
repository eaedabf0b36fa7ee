"""Draw feature maps as a Plotly figure, for notebooks, and as a page that holds only that figure."""
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

import base64
import html
import math
import zlib
from typing import TYPE_CHECKING

from fmedge.data.feature_maps import FeatureMaps
from fmedge.data.page_options import PageOptions
from fmedge.errors import BackendUnavailable, LimitExceeded, UsageError
from fmedge.render import plotly_js
from fmedge.render.captions import write_captions
from fmedge.render.document import asset, assets, comment, fill, json_block, policy, script, script_hash
from fmedge.render.elements import element, to_html

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

MAX_SUBPLOTS = 1024
"""Most heatmaps in a figure: 512 already take a browser 14 s to draw."""

DEFLATE_LEVEL = 1
"""Level 6 saves 3 % on real maps and takes five times as long."""

SIDE, SINGLE_SIDE = 800, 400
"""Height and width of the grid and of one channel, in pixels."""


def figure(maps: FeatureMaps, channel: int | None = None) -> Figure:
    """Draw the first image's feature maps as grey heatmaps in a square grid, or one channel alone; row 0 is the top.

    Args:
        maps: Float32, (N, C, H, W).
        channel: Number of the one channel to draw, counted from 0; None draws all.

    Returns:
        A ``plotly.graph_objects.Figure``: titled with the layer's name, each map scaled from its own minimum to its
        maximum.

    Raises:
        UsageError: There is no such channel.
        LimitExceeded: There are more channels than a figure can hold.
        BackendUnavailable: The plotly package is not installed.
    """
    try:
        from plotly import graph_objects
        from plotly.subplots import make_subplots
    except ImportError as error:
        raise BackendUnavailable(
            "A figure needs the plotly package.", hint="Install it: pip install plotly."
        ) from error
    layer = html.escape(maps.layer)  # Plotly reads some HTML in titles
    if channel is not None:
        heatmap = graph_objects.Heatmap(z=maps.channel(channel), colorscale="gray", showscale=False)
        made = graph_objects.Figure(heatmap)
        made.update_layout(title=f"{layer} - Feature Map {channel}", width=SINGLE_SIDE, height=SINGLE_SIDE)
    else:
        channels = maps.maps.shape[1]
        if channels > MAX_SUBPLOTS:
            raise LimitExceeded(f"{channels} channels: a figure holds {MAX_SUBPLOTS}. Name one, or use the viewer.")
        side = math.ceil(math.sqrt(channels))
        made = make_subplots(rows=side, cols=side)
        for index in range(channels):
            heatmap = graph_objects.Heatmap(z=maps.channel(index), colorscale="gray", showscale=False)
            made.add_trace(heatmap, row=index // side + 1, col=index % side + 1)
        made.update_layout(title=layer, width=SIDE, height=SIDE)
    made.update_yaxes(autorange="reversed")
    return made


def render_grid(layers: list[FeatureMaps], channel: int | None, options: PageOptions) -> bytes:
    """Return a page with :func:`figure` in it.

    Args:
        layers: One layer.
        channel: As in :func:`figure`.
        options: Say where plotly.js is; the values are float32.

    Raises:
        UsageError: There are several layers, or two views are requested.
        FmedgeError: See :func:`figure`.
    """
    if len(layers) > 1 or options.both:
        raise UsageError(
            "style grid shows one layer, either before or after its activation.",
            hint="Use --style viewer for more.",
            flags=("--style",),
        )
    (maps,) = layers
    made = figure(maps, channel).to_json()
    _, channels, rows, columns = maps.maps.shape
    header = {"first": channel or 0, "shape": (rows, columns)}
    captions = write_captions(layers, channel, options)
    plotly = plotly_js.place(options.plotlyjs)
    own = script("embedded.js", "grid.js")
    return fill(
        asset("grid.html"),
        {
            "policy": policy(script_hash(own), plotly.allowed),
            "licence": comment(plotly.licence),
            "title": _escaped(captions.title),
            "subtitle": _escaped(captions.subtitle),
            "note": to_html(element("p", captions.note, id="note")) if captions.note else b"",
            "count": f"{channels if channel is None else 1} maps, {rows} rows by {columns} columns".encode(),
            "style": assets("theme.css", "captions.css", "grid.css"),
            "header": json_block(header),
            "plotly": plotly.element,
            "figure": base64.b64encode(zlib.compress(str(made).encode(), DEFLATE_LEVEL)),
            "script": own,
        },
    )


def _escaped(text: str) -> bytes:
    return html.escape(text).encode("utf-8", "replace")
