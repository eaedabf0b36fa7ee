"""Show feature maps in a notebook: a table of facts and a small picture, as HTML that needs no script."""

from __future__ import annotations

import io
from base64 import b64encode
from collections.abc import Mapping
from html import escape

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]

SHOWN_CHANNELS, SHOWN_SIDE = 16, 64
"""Channels that a notebook shows, and the longest side of each, in pixels: 70 kB at most, however large the maps."""

_ACROSS = 8
"""Channels in a row of the picture."""


def write_html(facts: Mapping[str, str], maps: FloatArray) -> str:
    """Write facts, the values' statistics and the first channels as HTML.

    Args:
        facts: Names and texts, which may come from outside.
        maps: Float32, (C, H, W).
    """
    rows = {**facts, **_statistics(maps)}
    name_style, text_style = ('style="text-align: left"',) * 2
    cells = "".join(
        f"<tr><th {name_style}>{escape(name)}</th><td {text_style}>{escape(text)}</td></tr>"
        for name, text in rows.items()
    )
    shown = min(len(maps), SHOWN_CHANNELS)
    which = "channel 0" if shown == 1 else f"channels 0 to {shown - 1}"
    caption = f"{which} of {len(maps)}, each from its minimum to its maximum"
    return (
        f"<table>{cells}</table>"
        f'<figure style="margin: 8px 0"><img alt="{caption}" src="data:image/png;base64,{_picture(maps)}">'
        f"<figcaption>{caption}</figcaption></figure>"
    )


def _statistics(maps: FloatArray) -> dict[str, str]:
    """Tell the extremes, mean and spread of all finite values, zeros, and what is no number."""
    finite = maps[np.isfinite(maps)]
    broken = maps.size - finite.size
    if not finite.size:
        return {"values": "none is finite"}
    mean, spread = finite.mean(dtype=np.float64), finite.std(dtype=np.float64)
    silent = int(np.count_nonzero(~(maps > 0).any(axis=(1, 2))))
    found = {
        "values": f"{finite.min():.6g} to {finite.max():.6g}, mean {mean:.6g}, standard deviation {spread:.6g}",
        "zeros": f"{100 * np.count_nonzero(maps == 0) / maps.size:.1f} %",
        "channels without a value above zero": f"{silent} of {len(maps)}",
    }
    return {**found, "NaN or infinite": f"{broken} of {maps.size} values"} if broken else found


def _picture(maps: FloatArray) -> str:
    """Draw the first channels beside each other as a PNG, in base64; what is not finite is drawn as zero."""
    from PIL import Image  # as for reading photos; the pages' own way of drawing lies above this room

    step = max(1, -(-max(maps.shape[1:]) // SHOWN_SIDE))
    tiles: list[npt.NDArray[np.uint8]] = []
    for channel in maps[:SHOWN_CHANNELS, ::step, ::step]:
        finite = np.nan_to_num(channel.astype(np.float64), posinf=0, neginf=0)
        low, high = finite.min(), finite.max()
        levels = ((finite - low) * (255 / (high - low) if high > low else 0)).astype(np.uint8)
        factor = max(1, SHOWN_SIDE // max(levels.shape))  # small maps can be seen, too
        tiles.append(np.pad(levels.repeat(factor, axis=0).repeat(factor, axis=1), 1, constant_values=255))
    rows = [np.hstack(tiles[start : start + _ACROSS]) for start in range(0, len(tiles), _ACROSS)]
    width = max(row.shape[1] for row in rows)
    mosaic = np.vstack([np.pad(row, ((0, 0), (0, width - row.shape[1])), constant_values=255) for row in rows])
    file = io.BytesIO()
    Image.fromarray(mosaic).save(file, "PNG")
    return b64encode(file.getvalue()).decode()
