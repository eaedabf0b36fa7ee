"""Write a chain of convolutions and pooling layers as a file; :mod:`fmedge.model.native_format` describes it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from fmedge.model.card import ModelCard
from fmedge.model.native_format import FACTS, HEADER, IMAGE_DTYPES, LAYER, MAGIC, Flag, Kind

Array = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """A layer of a chain.

    Attributes:
        kind: A convolution or pooling.
        channels: Channels of its output.
        flags: ReLU and taps.
        weights: Kernel, (output channel, input channel, row, column), and bias; none for pooling.
    """

    kind: Kind
    channels: int
    flags: Flag
    weights: tuple[Array, ...] = field(default=(), repr=False)


def convolution(kernel: Array, bias: Array, flags: Flag) -> Layer:
    """Return a 3 x 3 convolution with its bias."""
    return Layer(Kind.CONVOLUTION, len(kernel), flags, (kernel, bias))


def pooling(channels: int, flags: Flag) -> Layer:
    """Return a pooling layer."""
    return Layer(Kind.POOLING, channels, flags)


def flags_of(*, relu: bool, tapped: bool, raw: bool, last: bool) -> Flag:
    """Return the flags of a layer.

    Args:
        relu: Whether a ReLU belongs to it.
        tapped: Whether its values leave the chain.
        raw: Whether those before the ReLU do.
        last: Whether the chain ends here; a ReLU that nothing reads is left out.
    """
    own = Flag.RELU if relu else Flag(0)
    if not tapped:
        return own
    if not (relu and raw):
        return own | Flag.TAP
    return Flag.TAP if last else own | Flag.TAP_BEFORE_RELU


def write_chain(layers: list[Layer], mean: Array, card: ModelCard) -> bytes:
    """Return the content of a file.

    Args:
        layers: The layers in order; the last one is a tap.
        mean: What is subtracted from the images, per channel.
        card: Gives the type of the images, and the facts at the end.
    """
    arrays: list[Array] = [mean]
    offset = HEADER.size + LAYER.size * len(layers)
    end, table = offset + mean.nbytes, list[bytes]()
    for layer in layers:
        offsets = [0, 0]
        for place, array in enumerate(layer.weights):
            offsets[place] = end
            arrays.append(array)
            end += array.nbytes
        table.append(LAYER.pack(layer.kind, layer.channels, layer.flags, 0, *offsets))
    dtype = IMAGE_DTYPES.index(card.inputs[0].dtype)
    header = HEADER.pack(MAGIC, len(layers), mean.size, dtype, 0, offset, end, bytes(24))
    weights = [np.ascontiguousarray(array, "<f4").tobytes() for array in arrays]
    return b"".join([header, *table, *weights, FACTS, card.facts_json().encode(), b"\n"])
