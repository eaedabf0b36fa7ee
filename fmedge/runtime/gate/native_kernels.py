"""Find, in a chain of convolutions, the kernels of the one that sees the image itself."""

from __future__ import annotations

import numpy as np

from fmedge.model.card import ModelCard
from fmedge.model.first_kernel import FirstKernel
from fmedge.model.native_format import HEADER, LAYER, TAPS, Flag, Kind

_COLOURS = 3


def first_kernels(data: bytes, card: ModelCard) -> dict[str, FirstKernel]:
    """Read the kernels of a tap whose convolution reads the image, from a file that has passed the gate.

    A chain subtracts the mean from the colours and has all factors in its kernels. Those of the preprocessing are taken
    out of them again.

    Args:
        data: The file's content.
        card: Its card: names of the taps, and the preprocessing.

    Returns:
        The tap's kernels and biases. Nothing where the first layer is no tap, for images of another number of channels,
        and for a network that subtracts something else than the card says.
    """
    _, _, colours, _, _, mean, *_ = HEADER.unpack_from(data)
    kind, channels, flags, _, kernel, bias = LAYER.unpack_from(data, HEADER.size)
    if colours != _COLOURS or kind != Kind.CONVOLUTION or not flags & (Flag.TAP | Flag.TAP_BEFORE_RELU):
        return {}
    factors, subtracted = _of_colours(card)
    if not np.allclose(np.frombuffer(data, "<f4", colours, mean), subtracted, rtol=1e-6):
        return {}
    values = np.frombuffer(data, "<f4", channels * colours * TAPS, kernel).reshape(channels, colours, 3, 3)
    weights = np.divide(values.transpose(0, 2, 3, 1), factors, dtype=np.float32)
    return {card.submodel.taps[0]: FirstKernel(weights, np.frombuffer(data, "<f4", channels, bias).astype(np.float32))}


def _of_colours(card: ModelCard) -> tuple[list[float], list[float]]:
    """Return the factor of red, green and blue, and what is subtracted from each before."""
    if not card.preprocessing.in_model:
        return [1.0] * _COLOURS, [0.0] * _COLOURS
    factors, offsets = card.preprocessing.affine()
    pairs = list(zip(factors, offsets, strict=True))[:: -1 if card.preprocessing.channel_order == "BGR" else 1]
    return [factor for factor, _ in pairs], [offset / factor for factor, offset in pairs]
