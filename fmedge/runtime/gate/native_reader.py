"""The gate for models of fmedge's own kernels: read and check a file before their library gets it.

A file passes if it is what our exporters write: every byte is a number of the tables, a weight or a part of the facts.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from math import prod
from typing import NamedTuple

from fmedge.model.card import ModelCard
from fmedge.model.native_format import (
    FACTS,
    FLOAT_BYTES,
    HEADER,
    IMAGE_DTYPES,
    LAYER,
    MAGIC,
    MAX_CHANNELS,
    MAX_LAYERS,
    TAPS,
    Flag,
    Kind,
)
from fmedge.runtime.gate.bounds import (
    MAX_VALUES,
    Declared,
    ModelFacts,
    Needs,
    Shape,
    damaged,
    facts_text,
    require_count,
    require_extents,
    require_range,
    require_shape,
)
from fmedge.runtime.gate.relu_count import IMAGE, Way

_BLOCK = 16
"""Channels are computed in blocks of this many, as wide as the widest vectors."""

_FLAGS = {
    Kind.CONVOLUTION: frozenset(
        (
            *(Flag(0), Flag.RELU, Flag.TAP, Flag.RELU | Flag.TAP),
            Flag.RELU | Flag.TAP_BEFORE_RELU,
        )
    ),
    Kind.POOLING: frozenset((Flag(0), Flag.TAP)),
}
"""The flags that a layer may have."""

_IS_TAP = Flag.TAP | Flag.TAP_BEFORE_RELU


class _Layer(NamedTuple):
    """A layer as the file declares it.

    Attributes:
        kind: A convolution or pooling.
        inputs: Channels of its input.
        channels: Channels of its output.
        flags: ReLU and taps.
    """

    kind: Kind
    inputs: int
    channels: int
    flags: Flag

    @property
    def is_tap(self) -> bool:
        """Whether values leave the chain here."""
        return bool(self.flags & _IS_TAP)


def inspect_native(data: bytes) -> ModelFacts:
    """Read a file strictly.

    The format has no names: those of the input and the outputs are taken from the facts at the end.

    Args:
        data: The file's content: the very bytes that the library will get.

    Raises:
        ArtifactError: It is malformed, or its facts do not fit it; without the file's name.
        LimitExceeded: It exceeds a limit; without the file's name.
    """
    if len(data) < HEADER.size or not data.startswith(MAGIC):
        raise damaged("not a chain of convolutions")
    _, count, channels, dtype, *others = HEADER.unpack_from(data)
    zero, mean, size, rest = others
    require_range("The number of layers", (count,), 1, MAX_LAYERS)
    require_range("The number of channels of the images", (channels,), 1, MAX_CHANNELS)
    if dtype >= len(IMAGE_DTYPES):
        raise damaged(f"images of type {dtype}")
    if zero or any(rest):
        raise damaged("numbers in the header where zeros belong")
    if not HEADER.size <= size <= len(data):
        raise damaged(f"{len(data):,} bytes, {size:,} announced")
    layers = _layers(data, count, channels, mean, size)
    facts = _facts(data, size)
    image, taps = _names(facts, sum(layer.is_tap for layer in layers))
    return ModelFacts(
        (Declared(image, IMAGE_DTYPES[dtype]),),
        tuple(Declared(tap, "float32") for tap in taps),
        facts,
        dict(zip(taps, _ways(layers), strict=True)),
        partial(_needs, layers, taps, channels),
    )


def _layers(data: bytes, count: int, channels: int, mean: int, size: int) -> list[_Layer]:
    """Read the table of layers, and check that the arrays follow it, one after the other up to ``size``."""
    end = HEADER.size + LAYER.size * count
    if end > size:
        raise damaged(f"{size:,} bytes, a table of layers up to byte {end:,}")
    _require_place("the mean", mean, end)
    end += channels * FLOAT_BYTES
    layers: list[_Layer] = []
    for place in range(count):
        number, made, flags, zero, *offsets = LAYER.unpack_from(data, HEADER.size + LAYER.size * place)
        name = f"layer {place}"
        if number not in (*Kind,):
            raise damaged(f"{name} of unknown kind {number}")
        kind = Kind(number)
        require_range(f"The number of channels of {name}", (made,), 1, MAX_CHANNELS)
        if flags not in _FLAGS[kind] or zero:
            raise damaged(f"{name} with flags {flags} and {zero}")
        if kind is Kind.POOLING:
            if made != channels or any(offsets):
                raise damaged(f"{name}, pooling, with other channels than its input, or with weights")
        else:
            sizes = require_shape(name, (made, channels, TAPS), 8 * FLOAT_BYTES), made * FLOAT_BYTES
            for offset, length in zip(offsets, sizes, strict=True):
                _require_place(f"weights of {name}", offset, end)
                end += length
        layers.append(_Layer(kind, channels, made, Flag(flags)))
        channels = made
    if end != size:
        raise damaged(f"weights up to byte {end:,}, {size:,} announced")
    if not layers[-1].is_tap:
        raise damaged("a last layer whose values are not returned")
    return layers


def _require_place(what: str, offset: int, wanted: int) -> None:
    if offset != wanted:
        raise damaged(f"{what} at byte {offset:,} instead of {wanted:,}")


def _facts(data: bytes, start: int) -> str | None:
    if start == len(data):
        return None
    if not data.startswith(FACTS, start) or not data.endswith(b"\n"):
        raise damaged("something else than a card after the weights")
    return facts_text(data, start + len(FACTS), len(data) - 1)


def _names(facts: str | None, taps: int) -> tuple[str, tuple[str, ...]]:
    """Return the names of the input and of the outputs; places stand for them in a file without facts."""
    if facts is None:
        return "image", tuple(f"tap {place}" for place in range(taps))
    card = ModelCard.from_json(facts)
    if len(card.submodel.taps) != taps:
        raise damaged(f"{taps} outputs, its facts name {len(card.submodel.taps)}")
    return card.inputs[0].name, card.submodel.taps


def _ways(layers: Sequence[_Layer]) -> list[Way]:
    """Return, for each tap, what happens on the way from the image."""
    found: list[Way] = []
    way = IMAGE
    for layer in layers:
        if layer.kind is Kind.CONVOLUTION:
            way = way.convolved()
        if layer.flags & Flag.TAP_BEFORE_RELU:
            found.append(way)
        if layer.flags & Flag.RELU:
            way = way.relu()
        if layer.flags & Flag.TAP:
            found.append(way)
    return found


def _needs(layers: Sequence[_Layer], taps: Sequence[str], channels: int, images: Shape) -> Needs:
    """Work out what a run on images takes; see :class:`ModelFacts`. Images are computed together."""
    count, height, width, planes = images
    if planes != channels:
        raise damaged(f"images of {channels} channels instead of {planes}")
    shapes: list[Shape] = []
    most = products = 0
    before = _values("the image", channels, height, width)
    for place, layer in enumerate(layers):
        if layer.kind is Kind.POOLING:
            height, width = height // 2, width // 2
        after = _values(f"layer {place}", layer.channels, height, width)
        most = max(most, before + after)
        work = TAPS * layer.inputs if layer.kind is Kind.CONVOLUTION else TAPS
        products += prod((layer.channels, height, width)) * (1 + work)
        if layer.is_tap:
            shapes.append((count, layer.channels, height, width))
        before = after
    memory = (count * most + sum(map(prod, shapes))) * FLOAT_BYTES
    return Needs(dict(zip(taps, shapes, strict=True)), memory, products * count)


def _values(name: str, channels: int, height: int, width: int) -> int:
    """Return how many values a tensor has in memory, whose channels fill whole blocks."""
    require_extents(name, (channels, height, width))
    values = -(-channels // _BLOCK) * _BLOCK * height * width
    require_count(f"values in '{name}'", values, MAX_VALUES)
    return values
