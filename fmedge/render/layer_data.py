"""Pack a layer for a page: facts for the header, and blocks of deflated planes."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fmedge.errors import LimitExceeded
from fmedge.model.activations import RELU, view_words
from fmedge.model.first_kernel import FirstKernel
from fmedge.model.preprocessing import Preprocessing
from fmedge.model.tap_view import TapView
from fmedge.render.encoding import EncodedMaps
from fmedge.render.statistics import Statistics

if TYPE_CHECKING:  # needed for differences alone
    from fmedge.data.channel_errors import ChannelErrors

MAX_VALUES = 256 * 1024 * 1024
"""Most values in a page: browsers refuse files with texts beyond 512 MB, and need several times that to open them."""


class LayerData(NamedTuple):
    """A layer, ready for a page.

    Attributes:
        facts: Its entry in the header.
        first: Script elements with what the mosaic of the first set needs.
        others: Script elements with all other values.
    """

    facts: dict[str, Any]
    first: list[bytes]
    others: list[bytes]


def require_room(values: int) -> None:
    """Check that a page can hold that many values.

    Raises:
        LimitExceeded: It cannot.
    """
    if values > MAX_VALUES:
        raise LimitExceeded(
            f"{values / 1e6:.0f} million values: a page holds at most {MAX_VALUES / 1e6:.0f} million.",
            hint="Draw one channel with --channel, or save only the maps with --no-page --save-maps.",
        )


def pack_layer(
    number: int,
    name: str,
    sets: dict[str, EncodedMaps],
    statistics: dict[str, Statistics],
    *,
    view: TapView | None,
    photo: tuple[int, ...],
    function: str = RELU,
    first_channel: int = 0,
    kernel: FirstKernel | None = None,
    preprocessing: Preprocessing | None = None,
    errors: ChannelErrors | None = None,
    picture: int = 0,
) -> LayerData:
    """Pack a layer.

    Args:
        number: Number of the layer in the page.
        name: Keras' name.
        sets: Its maps, those first that are shown first: ``maps`` for a page of feature maps, ``error`` and ``a`` for
            a difference.
        statistics: Per view.
        view: What its values see of the photo; None if that is not known.
        photo: Height and width of the image as the model received it, in pixels.
        function: The layer's activation; see :mod:`fmedge.model.activations`.
        first_channel: Number of the first channel in the page.
        kernel: Of a convolution that reads the photo: per channel of the page.
        preprocessing: What is done to the photo before.
        errors: For a difference: how far B is from A, per channel.
        picture: Number of its photo in the page.
    """
    shape = next(iter(sets.values())).shape
    facts: dict[str, Any] = {
        "name": name,
        "shape": shape,
        "firstChannel": first_channel,
        **_geometry(view, shape, photo),
        "sets": {key: _set_facts(f"{number}-{key}", encoded) for key, encoded in sets.items()},
        "statistics": {view: _statistics_facts(found) for view, found in statistics.items()},
    }
    if picture:
        facts["picture"] = picture
    if function != RELU:
        facts |= {"activation": function, "words": view_words(function)}
    if kernel is not None:
        facts |= {"kernel": pack_floats(kernel.weights), "bias": pack_floats(kernel.bias)}
        facts |= {} if kernel.weights.shape[1:3] == (3, 3) else {"kernelSize": kernel.weights.shape[1:3]}
        facts |= {} if preprocessing is None else _prepared(preprocessing)
    if errors is not None:
        facts["errors"] = _error_facts(errors)
    blocks = [
        b'<script type="text/plain" id="%d-%s-%d-%d">%s</script>' % (number, key.encode(), place, chunk, text)
        for key, encoded in sets.items()
        for place, chunks in enumerate(encoded.planes)
        for chunk, text in enumerate(chunks)
    ]
    shown = next(iter(sets.values()))
    count = len(shown.planes[0]) * (1 if shown.values == "12bit" else len(shown.planes))
    return LayerData(facts, blocks[:count], blocks[count:])


def _geometry(view: TapView | None, shape: tuple[int, int, int], photo: tuple[int, ...]) -> dict[str, Any]:
    """Return, in the photo's pixels, what lies between neighbouring rows and columns, and what one value sees.

    Where nothing is known, or the map does not fit the photo, it is assumed to cover the photo evenly. ``start``
    is where the first value's own place begins, if that is not the photo's corner.
    """
    sides = list(zip(shape[1:], photo, strict=True))
    fields = (view and view.receptive_field) or photo
    if view is None or not all(
        abs(count * stride - extent) <= stride + field
        for (count, extent), stride, field in zip(sides, view.stride, fields, strict=True)
    ):
        return {"step": tuple(extent / count for count, extent in sides), "field": None}
    start = tuple(centre - stride / 2 for centre, stride in zip(view.centre, view.stride, strict=True))
    field = view.receptive_field
    found = {"step": view.stride, "field": field[0] if field and len(set(field)) == 1 else field}
    return {**found, "start": start} if any(start) else found


def _prepared(preprocessing: Preprocessing) -> dict[str, Any]:
    """Return what a convolution reads of red, green and blue, 0 to 255: value * factor - offset."""
    step = -1 if preprocessing.channel_order == "BGR" else 1
    factors, offsets = (values[::step] for values in preprocessing.affine())
    return {} if len(factors) != 3 else {"factors": factors, "offsets": offsets}


def _set_facts(identity: str, encoded: EncodedMaps) -> dict[str, Any]:
    scale = {"zero": encoded.zero, "step": encoded.step, "offset": encoded.offset}
    packed = {key: pack_floats(array) for key, array in scale.items() if array is not None}
    found = {"id": identity, "chunkChannels": encoded.chunk_channels, **packed}
    return {**found, "differences": True} if encoded.differences else found


def _statistics_facts(found: Statistics) -> dict[str, str]:
    shown = ("smallest", "largest", "mean", "spread", "zeros", "negative", "broken")
    return {name: pack_floats(getattr(found, name)) for name in shown}


def _error_facts(errors: ChannelErrors) -> dict[str, str]:
    figures = {"snr": errors.snr_db, "bias": errors.bias, "largest": errors.max_error, "saturated": errors.saturated}
    if not np.isnan(errors.scale).all():
        figures |= {"scale": errors.scale, "zero": errors.zero_point}
        figures |= {"lowest": errors.lowest, "highest": errors.highest}
    return {name: pack_floats(found) for name, found in figures.items()}


def pack_floats(array: npt.NDArray[Any]) -> str:
    """Encode numbers as little-endian float32, in base64; integers below 2^24 stay exact."""
    with np.errstate(over="ignore"):
        return base64.b64encode(np.ascontiguousarray(array).astype("<f4").tobytes()).decode()
