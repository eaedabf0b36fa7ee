"""Assemble the page: template, style, script, plotly.js and data in one file."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from fmedge.data.feature_maps import FeatureMaps
from fmedge.data.page_options import MOST_PHOTOS, PageOptions
from fmedge.errors import UsageError
from fmedge.model.activations import RELU
from fmedge.model.first_kernel import FirstKernel
from fmedge.render import plotly_js
from fmedge.render.captions import VIEW_WORDS, Captions, views_of, write_captions
from fmedge.render.document import asset, assets, comment, fill, json_block, policy, script, script_hash
from fmedge.render.encoding import VALUES_NOTES, encode_maps
from fmedge.render.layer_data import LayerData, pack_layer, require_room
from fmedge.render.png import encode_png
from fmedge.system.choices import require_record

SCRIPTS = (
    "embedded.js",
    "data.js",
    "colours.js",
    "csv.js",
    "npy.js",
    "gif.js",
    "layers.js",
    "ranges.js",
    "filters.js",
    "state.js",
    "correlation.js",
    "likeness.js",
    "shown.js",
    "legend.js",
    "difference.js",
    "bitmap.js",
    "mosaic.js",
    "smooth.js",
    "detail.js",
    "channel.js",
    "strongest.js",
    "convolution.js",
    "pointing.js",
    "copying.js",
    "print.js",
    "player.js",
    "saving.js",
    "controls.js",
    "channel_figures.js",
    "channel_table.js",
    "pairs.js",
    "scatter.js",
    "viewer.js",
    "start.js",
)
"""The page's own script in parts; each may use what others define, but while it is loaded only of those before it."""

Kernels = Mapping[str, FirstKernel]
"""Per layer."""


def render_page(
    maps: FeatureMaps | Sequence[FeatureMaps],
    *,
    channel: int | None = None,
    options: PageOptions | None = None,
    kernels: Kernels | None = None,
) -> bytes:
    """Draw the first image's feature maps as one self-contained HTML page.

    The page needs no network and holds the values themselves. The same maps give the same bytes.

    Args:
        maps: Float32, (N, C, H, W), every extent at least 1; ``maps[0]`` is shown. Several layers of one run make one
            page, on which the reader can step from layer to layer; those of up to four photos, one photo after the
            other, a page that shows the photos side by side.
        channel: Number of the one channel to hold, counted from 0; None holds all of them.
        options: How the page is made; None takes the defaults.
        kernels: Kernels of layers that see the photo itself, where they are known.

    Returns:
        The file's content: UTF-8. With ``plotlyjs="file"``, put :func:`fmedge.render.plotly_js.script_file` next to it.

    Raises:
        UsageError: There is no such channel, ``both`` is requested for maps for which a page cannot compute it, a
            value is too large for float16, or there are more than four photos or photos of several sizes.
        LimitExceeded: There are too many values for a page.
        BackendUnavailable: With style ``grid``: the plotly package is not installed.
    """
    require_record("options", options, PageOptions)
    layers, options = [maps] if isinstance(maps, FeatureMaps) else list(maps), options or PageOptions()
    if options.style == "grid":
        from fmedge.render.figures import render_grid

        return render_grid(layers, channel, options)
    for each in layers:
        if channel is not None:
            each.require_channel(channel)
    require_room(sum(each.maps[0].size if channel is None else each.maps[0, channel].size for each in layers))
    views = views_of(layers, options)
    photos = photos_of(layers)
    packed = [_pack(number, each, photos, channel, views, options, kernels or {}) for number, each in enumerate(layers)]
    captions = write_captions(layers, channel, options)
    header = {"kind": "maps", "views": views, "single": channel is not None}
    return assemble(header, captions, packed, photos, options)


def photos_of(layers: Sequence[FeatureMaps]) -> list[FeatureMaps]:
    """Return the first maps of every photo, in order.

    Raises:
        UsageError: There are too many photos for one page, or photos of several sizes.
    """
    found: list[FeatureMaps] = []
    for each in layers:
        if not any(_same_photo(each, other) for other in found):
            found.append(each)
    if len(found) > MOST_PHOTOS:
        raise UsageError(f"{len(found)} photos: one page shows at most {MOST_PHOTOS} side by side.")
    if len({each.pixels.shape[1:3] for each in found}) > 1:
        raise UsageError("Photos on one page must have one size for the model.", hint="Use a model of fixed size.")
    return found


def _same_photo(one: FeatureMaps, other: FeatureMaps) -> bool:
    if one.provenance.image_name != other.provenance.image_name:
        return False
    return one.pixels is other.pixels or np.array_equal(one.pixels[0], other.pixels[0])


def _pack(
    number: int,
    maps: FeatureMaps,
    photos: Sequence[FeatureMaps],
    channel: int | None,
    views: Sequence[str],
    options: PageOptions,
    kernels: Kernels,
) -> LayerData:
    part = slice(None) if channel is None else slice(channel, channel + 1)
    encoded = encode_maps(maps.maps[0, part], options.values, relu=len(views) > 1 and maps.function == RELU)
    sides = encoded.statistics * (len(views) // len(encoded.statistics))  # without an activation both are the same
    kernel = kernels.get(maps.layer)
    return pack_layer(
        number,
        maps.layer,
        {"maps": encoded},
        dict(zip(reversed(views), sides, strict=True)),  # in measured order: raw, then after ReLU
        view=maps.provenance.card.view_of(maps.layer),
        photo=maps.pixels.shape[1:3],
        function=maps.function,
        first_channel=channel or 0,
        kernel=None if kernel is None else FirstKernel(kernel.weights[part], kernel.bias[part]),
        preprocessing=maps.provenance.card.preprocessing,
        picture=next(place for place, each in enumerate(photos) if _same_photo(maps, each)),
    )


def assemble(
    header: dict[str, Any],
    captions: Captions,
    layers: Sequence[LayerData],
    photos: Sequence[FeatureMaps],
    options: PageOptions,
) -> bytes:
    """Assemble the viewer's page.

    Args:
        header: What is specific to this kind of page.
        captions: Its texts.
        layers: Its data.
        photos: Maps of every photo that is shown.
        options: How the page is made.
    """
    pictures = [{"image": each.provenance.image_name, "original": each.provenance.image_size} for each in photos]
    common = {
        "captions": asdict(captions),
        "viewWords": VIEW_WORDS,
        "values": options.values,
        "valuesNote": VALUES_NOTES[options.values],
        "photo": photos[0].pixels.shape[1:3],
        "pictures": pictures,
        "layers": [layer.facts for layer in layers],
    }
    plotly = plotly_js.place(options.plotlyjs)
    own = script(*SCRIPTS)
    return fill(
        asset("page.html"),
        {
            "policy": policy(script_hash(own), plotly.allowed),
            "licence": comment(plotly.licence),
            "heading": html.escape(captions.title).encode("utf-8", "replace"),
            "title": html.escape(f"{captions.title}, {captions.subtitle}").encode("utf-8", "replace"),
            "style": assets(
                "theme.css", "captions.css", "viewer.css", "viewer_parts.css", "difference.css", "viewer_layout.css"
            ),
            "photos": b"".join(_photo(number, each) for number, each in enumerate(photos)),
            "header": json_block({**header, **common}),
            "plotly": plotly.element,
            "first": b"\n".join(layers[0].first),
            "data": b"\n".join(
                [*layers[0].others, *(each for layer in layers[1:] for each in layer.first + layer.others)]
            ),
            "script": own,
        },
    )


def _photo(number: int, maps: FeatureMaps) -> bytes:
    name = f"photo-{number}" if number else "photo"
    hidden = " hidden" if number else ""
    picture = base64.b64encode(encode_png(maps.pixels[0])).decode()
    return f'<img id="{name}" class="photo" src="data:image/png;base64,{picture}" alt=""{hidden}>'.encode()
