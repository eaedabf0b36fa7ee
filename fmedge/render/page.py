"""The page: frame, style, script, plotly.js and data put together into one file."""

from __future__ import annotations

import base64
import html
import json
import re
from dataclasses import asdict
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import Any

from fmedge.feature_maps import FeatureMaps
from fmedge.render import plotly_js
from fmedge.render.captions import Captions, write_captions
from fmedge.render.encoding import ENCODING, EncodedMaps, encode_maps
from fmedge.render.png import encode_png

SCRIPTS = ("data.js", "views.js", "viewer.js")
"""The page's own script in parts; each uses what those before it define."""

_PLACEHOLDER = re.compile(rb"\{\{(\w+)\}\}")

_JSON_ESCAPES = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})
"""So that no text can end the script element it stands in; json.dumps itself escapes all but ASCII."""


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
    script = b"\n".join(_asset(name) for name in SCRIPTS)
    return _fill(
        _asset("page.html"),
        {
            "policy": _policy(_hash(script), plotly.sha256).encode(),
            "licence": _comment(plotly.licence),
            "title": html.escape(f"{captions.title}, {captions.subtitle}").encode(),
            "style": _asset("viewer.css"),
            "photo": base64.b64encode(encode_png(maps.pixels[0])),
            "header": _json(_header(captions, encoded, channel)),
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


def _policy(*hashes: str) -> str:
    """A Content-Security-Policy: these scripts, Plotly's inline styles, pictures in the page, nothing else."""
    scripts = " ".join(f"'sha256-{value}'" for value in hashes)
    return (
        f"default-src 'none'; script-src {scripts}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )


def _hash(script: bytes) -> str:
    return base64.b64encode(sha256(script).digest()).decode()


def _comment(text: str) -> bytes:
    """Text that cannot end the HTML comment it stands in."""
    return text.replace(">", "&gt;").encode()


def _json(data: dict[str, Any]) -> bytes:
    return json.dumps(data, allow_nan=False).translate(_JSON_ESCAPES).encode()


def _fill(template: bytes, values: dict[str, bytes]) -> bytes:
    """Replace every ``{{name}}``; the values are not looked into."""
    return _PLACEHOLDER.sub(lambda match: values[match[1].decode()], template)


@cache
def _asset(name: str) -> bytes:
    """A file of render/assets with line ends as a browser reads them, or the script's hash would differ."""
    return (files("fmedge.render") / "assets" / name).read_bytes().replace(b"\r\n", b"\n")
