"""An ONNX file of the user's own as a network to cut."""
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from math import prod
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from onnx import ModelProto, ValueInfoProto
from onnx.utils import Extractor

from fmedge.errors import UsageError, WeightsError
from fmedge.export.network import Images
from fmedge.export.onnx_source.evaluator import EVALUATOR_ERRORS, evaluate
from fmedge.export.onnx_source.graph import OnnxGraph, graph_of, layouts_of, shapes_of, with_size
from fmedge.export.onnx_source.products import multiplications
from fmedge.export.onnx_source.reading import obstacle_of_node, parse_whole, read_onnx
from fmedge.export.onnx_source.rows import views_of
from fmedge.export.onnx_source.taps import Tap, find_tap, network_order, require_maps
from fmedge.export.pixels import prepared
from fmedge.export.room import require_room
from fmedge.export.views import tap_view
from fmedge.model.card import WeightsFacts
from fmedge.model.preprocessing import Preprocessing, for_channels
from fmedge.model.stock import INPUT_SIZE
from fmedge.model.submodel import ONNX, SubModel
from fmedge.model.tap_view import TapView
from fmedge.model.weights import WeightsChoice

_FLOAT_BYTES = 4

_SUMS = ("Conv", "ConvTranspose", "MatMul")
"""Operators that sum many products, so that their values may be large."""


@dataclass(frozen=True, slots=True, eq=False)
class OnnxNetwork:
    """An ONNX network; see :class:`fmedge.export.network.Network`.

    Attributes:
        graph: The network; it is not changed.
        facts: Which file it is.
        preprocessing: What it needs done to pixels; this becomes part of the model file.
    """

    graph: OnnxGraph
    facts: WeightsFacts
    preprocessing: Preprocessing

    def ordered(self, submodel: SubModel) -> SubModel:
        """Return the sub-model with its taps in the network's order.

        Raises:
            UsageError: A layer does not exist.
        """
        return SubModel(network_order(self.graph, submodel.taps), submodel.activation, ONNX)

    def taps(self, submodel: SubModel) -> list[Tap]:
        """Return what to show of each layer.

        Raises:
            UsageError: A layer does not exist.
        """
        return [find_tap(self.graph, name, submodel.activation) for name in submodel.taps]

    def functions(self, submodel: SubModel) -> tuple[str, ...]:
        """See :meth:`fmedge.export.network.Network.functions`."""
        return tuple(tap.function for tap in self.taps(submodel))

    def output_shape(self, layer: str, size: tuple[int, int] | None) -> tuple[int, int | None, int | None]:
        """See :meth:`fmedge.export.network.Network.output_shape`.

        Raises:
            UsageError: There is no such layer, it has no feature maps, or the network does not work at this size.
        """
        (tap,) = self.taps(SubModel((layer,), source=ONNX))
        require_cut(self.graph, [tap])
        shapes = shapes_of(self.graph, size or (None, None))
        layouts = layouts_of(self.graph, shapes)
        require_maps(layer, tap.tensor, shapes, layouts)
        channels, height, width = (shapes[tap.tensor][layouts[tap.tensor].index(axis)] for axis in "CHW")
        if any(extent is not None and extent < 1 for extent in (height, width)):
            asked = "x".join(map(str, size or ()))
            raise UsageError(f"size {asked} is too small for {layer}. Give a larger one.", flags=("--size",))
        self._require_room(tap, size or INPUT_SIZE)
        return cast("int", channels), height, width

    def views(self, submodel: SubModel, size: tuple[int, int] | None) -> tuple[TapView | None, ...]:
        """See :meth:`fmedge.export.network.Network.views`."""
        shapes = shapes_of(self.graph, size or (None, None))
        views = views_of(self.graph, shapes, layouts_of(self.graph, shapes))
        return tuple(tap_view(views[tap.tensor]) for tap in self.taps(submodel))

    def _require_room(self, tap: Tap, size: tuple[int, int]) -> None:
        """Check that computing a tap takes no more than is usual; a tensor of which no size is known could be any."""
        shapes = shapes_of(self.graph, size)
        wanted = products = 0
        for node in extract(self.graph.model, self.graph.image, [tap.tensor]).graph.node:
            names = [name for name in (*node.input, *node.output) if name and name not in self.graph.constants]
            unknown = [name for name in names if None in shapes.get(name, (None,))]
            if unknown:
                raise UsageError(
                    f"'{node.name or node.output[0]}' ({node.op_type}) has a size that is known only at a run.",
                    hint="Cut before it.",
                )
            wanted = max(wanted, sum(prod(cast("tuple[int, ...]", shapes[name])) for name in names) * _FLOAT_BYTES)
            products += multiplications(self.graph, node, shapes) or 0
        require_room(tap.name, wanted, products, size)

    def reference(self, submodel: SubModel, images: Images) -> Mapping[str, npt.NDArray[np.floating]]:
        """See :meth:`fmedge.export.network.Network.reference`.

        The operators of the file itself, in the opset in which they were written, are computed in float64 by onnx's
        reference evaluator.
        """
        taps = self.taps(submodel)
        height, width = images.shape[1:3]
        layouts = layouts_of(self.graph, shapes_of(self.graph, (height, width)))
        pixels = prepared(images, self.preprocessing)
        tensors = list(dict.fromkeys(tap.tensor for tap in taps))
        each = [self._evaluated(tensors, image[np.newaxis]) for image in pixels]
        found = {name: np.concatenate(values) for name, values in zip(tensors, zip(*each, strict=True), strict=True)}
        return {
            tap.name: found[tap.tensor].transpose([layouts[tap.tensor].index(axis) for axis in "NCHW"]) for tap in taps
        }

    def largest_values(self, submodel: SubModel, images: Images) -> Mapping[str, float]:
        """See :meth:`fmedge.export.network.Network.largest_values`; covers the convolutions and the taps."""
        taps = [tap.tensor for tap in self.taps(submodel)]
        nodes = extract(self.graph.model, self.graph.image, taps).graph.node
        tensors = list(dict.fromkeys([*(node.output[0] for node in nodes if node.op_type in _SUMS), *taps]))
        values = self._evaluated(tensors, prepared(images[:1], self.preprocessing))
        return {name: float(np.abs(value).max(initial=0.0)) for name, value in zip(tensors, values, strict=True)}

    def _evaluated(self, tensors: Sequence[str], pixels: npt.NDArray[np.float64]) -> list[npt.NDArray[np.float64]]:
        """Compute tensors of the network for one prepared image, (1, H, W, C)."""
        model = extract(with_size(self.graph, 1, _pair(pixels)), self.graph.image, tensors)
        feed = pixels if self.graph.layout == "NHWC" else pixels.transpose(0, 3, 1, 2)
        try:
            return evaluate(model, {self.graph.image: feed})
        except EVALUATOR_ERRORS as error:
            said = str(error).strip().partition("\n")[0][:90] or type(error).__name__
            raise UsageError(
                f"onnx cannot compute this model for the parity check: {said}.", hint="Use --no-verify."
            ) from error


def _pair(images: npt.NDArray[Any]) -> tuple[int, int]:
    return int(images.shape[1]), int(images.shape[2])


def load_onnx_network(choice: WeightsChoice, preprocessing: str | Preprocessing) -> OnnxNetwork:
    """Load an ONNX network.

    Args:
        choice: From :func:`fmedge.model.weights.choose_onnx_file`; weights in other files must lie in its folder.
        preprocessing: The preprocessing put before it in the model file; see :mod:`fmedge.model.preprocessing`.

    Raises:
        WeightsError: The file cannot be read.
        UsageError: The network cannot be cut.
    """
    if choice.path is None:
        raise WeightsError("No ONNX file was given.", hint="Name one with --onnx.")
    return _network(read_onnx(choice.path), choice.facts, preprocessing)


def network_of_proto(model: ModelProto, preprocessing: str | Preprocessing) -> OnnxNetwork:
    """Wrap an ``onnx.ModelProto`` as a network; its facts hold a hash of its content.

    Args:
        model: With its weights; it is not changed.
        preprocessing: As in :func:`load_onnx_network`.

    Raises:
        WeightsError: It is no such network.
        UsageError: It cannot be cut.
    """
    content = model.SerializeToString(deterministic=True)
    return _network(parse_whole("model", content), WeightsFacts("onnx", sha256(content).hexdigest()), preprocessing)


def _network(model: ModelProto, facts: WeightsFacts, preprocessing: str | Preprocessing) -> OnnxNetwork:
    graph = graph_of(model)
    return OnnxNetwork(graph, facts, for_channels(preprocessing, graph.takes.channels))


def require_cut(graph: OnnxGraph, taps: Sequence[Tap]) -> None:
    """Check that nothing before the taps is beyond what is cut.

    Raises:
        UsageError: An operator is; the message names it.
    """
    for node in extract(graph.model, graph.image, [tap.tensor for tap in taps]).graph.node:
        if obstacle := obstacle_of_node(node):
            raise UsageError(f"The ONNX model cannot be cut here: {obstacle}.", hint="Cut before it.")


def extract(model: ModelProto, image: str, tensors: Sequence[str]) -> ModelProto:
    """Return the part of a network that some tensors need, by onnx's own extractor; they are its outputs."""
    extractor = Extractor(model)
    extractor.value_infos = {entry.name: entry for entry in model.graph.input}  # stale shapes are of no use
    extractor.value_infos |= {name: ValueInfoProto(name=name) for name in tensors if name != image}
    return extractor.extract_model([image], list(dict.fromkeys(tensors)))
