"""A layer of a network as a table lists it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fmedge.model.activations import RELU
from fmedge.model.stock import LayerSpec
from fmedge.model.tap_view import PerAxis


@dataclass(frozen=True, slots=True)
class LayerRow:
    """A layer, and what a cut after it would give.

    Attributes:
        name: The name to request it by.
        kind: Class of the layer; in stock networks ``conv`` or ``pool``.
        activation: The activation that belongs to it, as in a card; None if there is none.
        shape: Shape of the output for one image: (channels, height, width) of feature maps, and whatever other layers
            give; None stands for an extent that the image's size decides. The shape itself is None if there are
            several outputs.
        stride: Input pixels between two neighbouring values of the output, of rows and of columns; below 1 where the
            output is larger than the image. None if that is not known.
        receptive_field: Height and width, in input pixels, of what one value can see; None if that is not known, or is
            the whole image. Where paths join it is that of the widest.
        parameters: Number of weights.
        macs: Multiply-accumulate operations of this layer alone for one image; None if its size is open.
        obstacle: Why no feature maps can be cut there; None if they can.
    """

    name: str
    kind: str
    activation: str | None
    shape: tuple[int | None, ...] | None
    stride: PerAxis | None
    receptive_field: PerAxis | None
    parameters: int
    macs: int | None
    obstacle: str | None = None


def stock_rows(layers: Sequence[LayerSpec], height: int, width: int) -> list[LayerRow]:
    """Return the layers of a stock network for an image of that size in pixels."""
    rows = list[LayerRow]()
    for spec in layers:
        stride, field = (spec.stride, spec.stride), (spec.receptive_field, spec.receptive_field)
        activation = RELU if spec.kind == "conv" else None
        macs = spec.macs(height, width)
        shape = spec.output_shape(height, width)
        rows.append(LayerRow(spec.name, spec.kind, activation, shape, stride, field, spec.parameters, macs))
    return rows
