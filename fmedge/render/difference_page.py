"""Make the page of a difference: two runs of one photo, channel by channel, with the error as a map."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fmedge.data.channel_errors import ChannelErrors
from fmedge.data.feature_maps import FeatureMaps
from fmedge.data.page_options import PageOptions
from fmedge.render.captions import write_difference_captions
from fmedge.render.encoding import encode_maps
from fmedge.render.layer_data import LayerData, pack_layer, require_room
from fmedge.render.page import assemble
from fmedge.render.statistics import measure

VIEWS = ("error", "a", "b")
"""B minus A, A, and B."""


def render_difference(
    pairs: Sequence[tuple[FeatureMaps, FeatureMaps]],
    errors: Sequence[ChannelErrors],
    *,
    options: PageOptions | None = None,
) -> bytes:
    """Draw how far the first image's feature maps of two runs differ; the channels that agree least come first.

    Args:
        pairs: Per layer the maps of A, the reference, and of B, both of the same shape.
        errors: Per layer how far B is from A in every channel, over this photo or several.
        options: How the page is made; None takes the defaults.

    Returns:
        The file's content: UTF-8.

    Raises:
        LimitExceeded: There are too many values for a page.
        FmedgeError: See :func:`fmedge.render.page.render_page`.
    """
    options = options or PageOptions()
    require_room(2 * sum(first.maps[0].size for first, _ in pairs))
    packed = [_pack(number, *pair, errors[number], options) for number, pair in enumerate(pairs)]
    photos = errors[0].photos
    captions = write_difference_captions(*pairs[-1], len(pairs), photos, options)
    header = {"kind": "difference", "views": VIEWS, "single": False, "photos": photos}
    return assemble(header, captions, packed, [pairs[0][0]], options)


def _pack(
    number: int, first: FeatureMaps, second: FeatureMaps, errors: ChannelErrors, options: PageOptions
) -> LayerData:
    with np.errstate(invalid="ignore", over="ignore"):
        error = encode_maps(second.maps[0] - first.maps[0], options.values)
    reference = encode_maps(first.maps[0], options.values)
    (other,) = measure(np.ascontiguousarray(second.maps[0]).reshape(len(second.maps[0]), -1))
    return pack_layer(
        number,
        first.layer,
        {"error": error, "a": reference},
        {"error": error.statistics[0], "a": reference.statistics[0], "b": other},
        view=first.provenance.card.view_of(first.layer),
        photo=first.pixels.shape[1:3],
        errors=errors,
    )
