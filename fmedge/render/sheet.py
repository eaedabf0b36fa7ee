"""Draw all channels as one PNG picture, without a browser."""

from __future__ import annotations

import io
import math

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from fmedge.data.feature_maps import FeatureMaps
from fmedge.data.page_options import PageOptions
from fmedge.errors import LimitExceeded, printable
from fmedge.model.activations import view_words
from fmedge.render.captions import views_of, write_captions
from fmedge.system.choices import require_record

MAX_PIXELS = 64_000_000
"""Most pixels of a sheet; a grey picture of that many is held in memory twice."""

LEAST_TILE = 56
"""Minimum width of a tile in pixels, so that its number can be read: small maps are enlarged by a whole factor."""

PAPER, INK = 255, 20
GAP, MARGIN, LINE = 4, 16, 22
"""Distances in pixels; PAPER and INK are grey levels."""


def render_sheet(maps: FeatureMaps, *, channel: int | None = None, options: PageOptions | None = None) -> bytes:
    """Draw the first image's feature maps as a grey PNG picture; each is scaled from its own minimum to its maximum.

    Args:
        maps: Float32, (N, C, H, W).
        channel: Number of the one channel to draw, counted from 0; None draws all.
        options: Their ``both`` draws the maps before ReLU and after it, one below the other.

    Returns:
        The file's content. NaN and infinity are mid-grey.

    Raises:
        UsageError: There is no such channel, or ``both`` is requested for maps for which it cannot be computed.
        LimitExceeded: The picture would be too large.
    """
    require_record("options", options, PageOptions)
    options = options or PageOptions()
    if channel is not None:
        maps.require_channel(channel)
    values = maps.maps[0] if channel is None else maps.maps[0, channel : channel + 1]
    factor = max(1, -(-LEAST_TILE // values.shape[2]))
    views = views_of([maps], options)[::-1]
    _require_room(values, factor, len(views))
    captions = write_captions([maps], channel, options)
    rectified = len(views) > 1  # other maps are shown as they are
    parts = [
        _mosaic(np.maximum(values, 0) if rectified and view == "relu" else values, channel or 0, factor)
        for view in views
    ]
    width = max(part.width for part in parts) + 2 * MARGIN
    height = sum(part.height + 2 * LINE for part in parts) + LINE + MARGIN
    sheet = Image.new("L", (width, height), PAPER)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(15)
    pen.text((MARGIN, 8), printable(f"{maps.layer}  {captions.subtitle}  {captions.note}")[:200], INK, font)
    top = LINE + 8
    for view, part in zip(views, parts, strict=True):
        pen.text((MARGIN, top), view_words(maps.function)[view], INK, font)
        sheet.paste(part, (MARGIN, top + LINE))
        top += part.height + 2 * LINE
    file = io.BytesIO()
    sheet.save(file, "PNG")
    return file.getvalue()


def _require_room(values: npt.NDArray[np.float32], factor: int, views: int) -> None:
    channels, rows, columns = values.shape
    pixels = channels * (rows * factor + GAP) * (columns * factor + GAP) * views
    if pixels > MAX_PIXELS:
        raise LimitExceeded(
            f"The picture would have {pixels / 1e6:.0f} million pixels. Allowed: {MAX_PIXELS / 1e6:.0f}.",
            hint="Draw one channel with --channel, or a page instead of --png.",
        )


def _mosaic(values: npt.NDArray[np.float32], first_channel: int, factor: int) -> Image.Image:
    channels, rows, columns = values.shape
    across = math.ceil(math.sqrt(channels))
    down = math.ceil(channels / across)
    high, wide = rows * factor + GAP, columns * factor + GAP
    pixels = np.full((down * high - GAP, across * wide - GAP), PAPER, np.uint8)
    for index in range(channels):
        top, left = index // across * high, index % across * wide
        tile = _grey(values[index]).repeat(factor, axis=0).repeat(factor, axis=1)
        pixels[top : top + rows * factor, left : left + columns * factor] = tile
    picture = Image.fromarray(pixels)
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(11)
    for index in range(channels):
        corner = (index % across * wide, index // across * high)
        text = str(first_channel + index)
        pen.rectangle((corner, (corner[0] + pen.textlength(text, font) + 4, corner[1] + 13)), 0)
        pen.text((corner[0] + 2, corner[1]), text, PAPER, font)
    return picture


def _grey(values: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """Return levels 0 to 255 from the smallest to the largest finite value."""
    exact = values.astype(np.float64)
    finite = np.isfinite(exact)
    low, high = (exact[finite].min(), exact[finite].max()) if finite.any() else (0.0, 0.0)
    levels = (np.where(finite, exact, (low + high) / 2) - low) * (255 / (high - low) if high > low else 0)
    return np.rint(levels).astype(np.uint8)
