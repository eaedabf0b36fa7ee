"""The page: frame, style, script, plotly.js and data put together into one file."""

from __future__ import annotations

import base64
import html
from dataclasses import asdict
from typing import Any

from fmedge.feature_maps import FeatureMaps
from fmedge.render import plotly_js
from fmedge.render.captions import Captions, write_captions
from fmedge.render.document import asset, assets, comment, fill, json_block, policy, script_hash
from fmedge.render.encoding import ENCODING, EncodedMaps, encode_maps
from fmedge.render.png import encode_png

SCRIPTS = ("embedded.js", "data.js", "views.js", "viewer.js")
"""The page's own script in parts; each uses what those before it define."""


def render_page(maps: FeatureMaps, *, channel: int | None = None) -> bytes:
    """Draw the first image's feature maps as one self-contained HTML page.

    The page needs no network and holds the values themselves, to 12 bits of each channel's range. The same
    maps give the same bytes.

    Args:
        maps: Float32, (N, C, H, W), every extent at least 1; ``maps[0]`` is shown.
        channel: Number of the one channel to show, counted from 0; None shows all of them as a mosaic.

    Returns:
        The file's content: UTF-8.

    Raises:
        UsageError: There is no such channel, or a value is NaN or infinite.
        BackendUnavailable: The plotly package, which brings plotly.js, is not installed.
    """
    if channel is not None:
        maps.require_channel(channel)
    first = channel or 0
    shown = maps.maps[0] if channel is None else maps.maps[0, channel : channel + 1]
    encoded = encode_maps(shown, first_channel=first)
    captions = write_captions(maps, channel)
    plotly = plotly_js.prepare()
    script = assets(*SCRIPTS)
    return fill(
        asset("page.html"),
        {
            "policy": policy(script_hash(script), plotly.sha256),
            "licence": comment(plotly.licence),
            "title": html.escape(f"{captions.title}, {captions.subtitle}").encode(),
            "style": assets("theme.css", "viewer.css"),
            "photo": base64.b64encode(encode_png(maps.pixels[0])),
            "header": json_block(_header(captions, encoded, channel)),
            "plotly": plotly.deflated,
            "data": b"\n".join(_data_blocks(encoded)),
            "script": script,
        },
    )


def _header(captions: Captions, encoded: EncodedMaps, channel: int | None) -> dict[str, Any]:
    """What the script has to know, besides the planes."""
    return {
        "view": "overview" if channel is None else "channel",
        "captions": asdict(captions),
        "encoding": ENCODING,
        "shape": encoded.shape,
        "firstChannel": channel or 0,
        "chunkChannels": encoded.chunk_channels,
        "offset": base64.b64encode(encoded.offset.astype("<f4").tobytes()).decode(),
        "step": base64.b64encode(encoded.step.astype("<f4").tobytes()).decode(),
    }


def _data_blocks(encoded: EncodedMaps) -> list[bytes]:
    planes = {b"high": encoded.high, b"low": encoded.low}
    return [
        b'<script type="text/plain" id="%s-%d">%s</script>' % (name, number, plane)
        for name, chunks in planes.items()
        for number, plane in enumerate(chunks)
    ]
