"""Follow a cut ONNX graph from the image, and gather the chain of layers that it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
from onnx import GraphProto

from fmedge.export.native.graph import (
    AXES,
    NO_BORDER,
    Border,
    Operator,
    Values,
    affine_of,
    border_of,
    layout_after,
    misfit,
    operators_of,
    require_convolution,
    require_pooling,
)
from fmedge.export.native.pixels import Pixels, channels_taken, joined
from fmedge.model.native_format import Kind

_IMAGE = -1
"""Stands for the image where a layer's number is asked for."""

_SAME = ("Identity", "Dropout", "Cast")
"""Operators that may leave everything as it is."""

_INTEGERS = (2, 4, 5, 6, 7, 12, 13)
"""Its numbers for the integers that hold every byte: uint8, uint16, int16, int32, int64, uint32, uint64."""

_ALONE = "Give it a model of its own, or use --format onnx."
"""What to do about a layer that can be shown, but not together with the others."""

_FLOAT = 1
"""ONNX' number for float32."""


@dataclass(slots=True, eq=False)
class Link:
    """A layer of a chain.

    Attributes:
        kind: A convolution or pooling.
        channels: Channels of its output.
        relu: Whether a ReLU belongs to it, or to the convolution before a pooling.
        kernel: A convolution's kernel, (output channel, input channel, row, column).
        factors: What a convolution's output is multiplied by, per channel.
        summands: What is added to it then, the bias among it.
        folded: How many operators are in these already.
    """

    kind: Kind
    channels: int
    relu: bool
    kernel: npt.NDArray[np.floating] = field(default_factory=lambda: np.empty(0), repr=False)
    factors: Values = field(default_factory=lambda: np.empty(0), repr=False)
    summands: Values = field(default_factory=lambda: np.empty(0), repr=False)
    folded: int = 0


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the chain a tensor is.

    Attributes:
        layer: Number of the layer that makes it; -1 is the image.
        relu: Whether it has been through the layer's ReLU.
        folded: How many operators after the layer it has been through.
        layout: Order of its axes.
        border: Zeros around it.
        pixels: What it is of the image; None after a layer.
    """

    layer: int
    relu: bool = False
    folded: int = 0
    layout: str = "NCHW"
    border: Border = NO_BORDER
    pixels: Pixels | None = None


class Chain:
    """A chain that grows while a graph is followed.

    Attributes:
        links: Its layers.
        places: Where in it each tensor is.
        pixels: What is done to the image before the first of them.
    """

    def __init__(self, graph: GraphProto, pixels: Pixels, size: tuple[int, int] | None) -> None:
        """Follow a graph.

        Args:
            graph: Its input is the image, (N, H, W, C), prepared already.
            pixels: How it was prepared.
            size: Height and width of the image; None for any.

        Raises:
            UsageError: An operator is not the kernels'; the message names it.
        """
        self.links: list[Link] = []
        self.pixels = pixels
        self.places = {graph.input[0].name: Place(_IMAGE, layout="NHWC", pixels=pixels)}
        self._size: tuple[int | None, int | None] = size or (None, None)
        for operator in operators_of(graph):
            self._follow(operator)

    def _follow(self, operator: Operator) -> None:
        """Find out where the outputs of an operator are."""
        places = [self.places[name] for name in operator.reads if name in self.places]
        if not places or len(places) < len(operator.reads):
            raise operator.odd()  # reads a second output, such as where a pooling found its maxima
        place, pixels = places[0], [each.pixels for each in places if each.pixels is not None]
        axis = place.layout.index("C")
        if operator.kind == "Concat" and len(pixels) == len(operator.node.input):
            if operator.settings["axis"] % AXES != axis or len({(each.layout, each.border) for each in places}) > 1:
                raise operator.odd()
            self.places[operator.node.output[0]] = replace(place, pixels=joined(pixels))
            return
        if len(places) > 1:
            raise misfit(f"'{operator.name}' ({operator.kind}) joins branches; native takes one layer after another")
        taken = channels_taken(operator, place.layout, len(pixels[0].colours)) if pixels else None
        if taken is not None:
            for output, channels in zip(operator.node.output, taken, strict=True):
                self.places[output] = replace(place, pixels=pixels[0].taken(channels))
            return
        self.places[operator.node.output[0]] = self._after(operator, place)

    def _after(self, operator: Operator, place: Place) -> Place:
        """Add what an operator does, and return where its output is."""
        if operator.kind in _SAME:
            return self._unchanged(operator, place)
        if operator.kind == "Transpose":
            layout = layout_after(operator, place.layout)
            if layout is None:
                raise operator.odd()
            return replace(place, layout=layout)
        if operator.kind == "Relu":
            return self._relu(operator, place)
        if operator.kind == "Pad":
            added = border_of(operator, place.layout)
            if added is None:
                raise operator.odd()
            top, left, bottom, right = (old + new for old, new in zip(place.border, added, strict=True))
            return replace(place, border=(top, left, bottom, right))
        self._require_end(operator, place)
        if place.layout == "NCHW" and operator.kind == "Conv":
            return self._convolution(operator, place)
        if place.layout == "NCHW" and operator.kind == "MaxPool":
            return self._pooling(operator, place)
        return self._scaled(operator, place)

    def _require_end(self, operator: Operator, place: Place) -> None:
        """Check that an operator reads what the chain gives so far, and not what came before."""
        link = self.links[-1] if self.links else None
        end = (len(self.links) - 1, link is not None and link.relu, link.folded if link else 0)
        if (place.layer, place.relu, place.folded) != end:
            raise misfit(f"'{operator.name}' ({operator.kind}) is on a branch; native takes one layer after another")

    def _channels(self, place: Place) -> int:
        return self.links[place.layer].channels if place.pixels is None else len(place.pixels.colours)

    def _unchanged(self, operator: Operator, place: Place) -> Place:
        training = operator.constants.get(2)
        training = operator.kind == "Dropout" and (
            bool(operator.settings.get("training_mode")) or (training is not None and bool(training.any()))
        )
        held = (_FLOAT, *_INTEGERS) if place.pixels and place.pixels.whole else (_FLOAT,)
        if training or (operator.kind == "Cast" and operator.settings["to"] not in held):
            raise operator.odd()
        return place

    def _relu(self, operator: Operator, place: Place) -> Place:
        if place.relu:
            return place
        link = self.links[place.layer] if place.layer != _IMAGE else None
        if link is None or not (link.relu and place.folded == link.folded):
            self._require_end(operator, place)
            first = len(self.links) - 1  # a ReLU may also come before the poolings that it follows
            while first >= 0 and self.links[first].kind is Kind.POOLING:
                first -= 1
            if first < 0:
                raise misfit(f"'{operator.name}' (ReLU) comes before the first convolution")
            for each in self.links[first:]:
                each.relu = True
        return replace(place, relu=True)

    def _convolution(self, operator: Operator, place: Place) -> Place:
        require_convolution(operator, place.border)
        kernel: npt.NDArray[np.floating] = operator.constants[1].astype(np.float32, copy=False)
        filters = len(kernel)
        bias = operator.constants.get(2, np.zeros(filters)).astype(np.float64)
        if kernel.shape[1] != self._channels(place) or bias.shape != (filters,):
            raise misfit(f"the weights of '{operator.name}' do not fit its input")
        if place.pixels is not None:
            self.pixels = self._first(operator, place.pixels)
            kernel = self.pixels.into(kernel)
        self.links.append(Link(Kind.CONVOLUTION, filters, False, kernel, np.ones(filters), bias))
        return Place(len(self.links) - 1)

    def _pooling(self, operator: Operator, place: Place) -> Place:
        if place.pixels is not None:
            self.pixels = self._first(operator, place.pixels)
            if not self.pixels.unscaled:
                raise misfit(f"'{operator.name}' pools before the first convolution, which alone can scale the image")
        require_pooling(operator, place.border, self._size)
        height, width = self._size
        self._size = height and height // 2, width and width // 2
        self.links.append(Link(Kind.POOLING, self._channels(place), place.relu))
        return Place(len(self.links) - 1, place.relu)

    def _first(self, operator: Operator, pixels: Pixels) -> Pixels:
        """Return what the first layer reads of the image, which has to be all of it."""
        if not pixels.complete or not pixels.factors.all():
            raise misfit(f"'{operator.name}' reads not every colour of the image, or one of them twice")
        return pixels

    def _scaled(self, operator: Operator, place: Place) -> Place:
        found = affine_of(operator, place.layout, self._channels(place))
        if found is None:
            raise operator.odd()
        factors, summands = found
        pooled = place.pixels is None and self.links[place.layer].kind is Kind.POOLING
        after = "ReLU" if place.relu else "pooling" if pooled else ""
        if any(place.border) or after:
            what = "a border of zeros" if any(place.border) else f"a {after}"
            raise misfit(f"'{operator.name}' ({operator.kind}) follows {what}, so that no kernel can take it in")
        if place.pixels is not None:
            return replace(place, pixels=place.pixels.scaled(factors, summands))
        link = self.links[place.layer]
        link.factors = link.factors * factors
        link.summands = link.summands * factors + summands
        link.folded += 1
        return replace(place, folded=link.folded)


def shown_at(chain: Chain, tensors: Sequence[str], taps: Sequence[str]) -> dict[int, Place]:
    """Return where the taps are, by the number of their layer.

    Args:
        chain: The chain.
        tensors: The tensors that are shown, in the order of the taps.
        taps: Names of the taps, for messages.

    Raises:
        UsageError: One is not the output of a layer of the chain, or two are of the same layer.
    """
    found: dict[int, Place] = {}
    names: dict[int, str] = {}
    for name, tensor in zip(taps, tensors, strict=True):
        place = chain.places.get(tensor, Place(_IMAGE))
        if place.layer == _IMAGE or any(place.border) or place.layout != "NCHW":
            raise misfit(f"'{name}' shows neither a convolution nor a pooling")
        link = chain.links[place.layer]
        if place.folded != link.folded:
            raise misfit(f"'{name}' is shown before a scale that native folds into its kernel", _ALONE)
        if link.kind is Kind.POOLING and link.relu and not place.relu:
            raise misfit(f"'{name}' pools before a ReLU, and is shown before it; native has the ReLU first", _ALONE)
        if place.layer in found:
            raise misfit(f"'{names[place.layer]}' and '{name}' show the same layer; native returns each once", _ALONE)
        found[place.layer], names[place.layer] = place, name
    if list(found) != sorted(found):
        raise misfit(f"'{taps[-1]}' is shown in another order than it is computed in", _ALONE)
    return found
