"""Cut an ONNX network of the user's own: our input and preprocessing before, its own operators, the taps as outputs."""
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper, version_converter

from fmedge.errors import UsageError
from fmedge.export.built import Built
from fmedge.export.calibration import Calibration
from fmedge.export.onnx.file import OPSET, make_model
from fmedge.export.onnx.writing import written
from fmedge.export.onnx_source.folding import Shape, fold_constants, fold_shapes
from fmedge.export.onnx_source.graph import layouts_of, shapes_of, with_size
from fmedge.export.onnx_source.network import OnnxNetwork, extract, require_cut
from fmedge.export.onnx_source.reading import opset_of
from fmedge.export.pixels import LUMA_PARTS
from fmedge.model.card import ModelCard
from fmedge.model.preprocessing import Preprocessing

_TO_NCHW, _TO_NHWC = [0, 3, 1, 2], [0, 2, 3, 1]


def build_model(card: ModelCard, network: OnnxNetwork, calibration: Calibration | None = None) -> Built:
    """Build the model that a card describes.

    Args:
        card: The model to build; only the card's facts are used.
        network: The network to cut.
        calibration: Not used: these precisions need no photos.

    Returns:
        The file's content and the finished card; the same card and network give the same bytes.

    Raises:
        UsageError: The network cannot be cut like this.
        ParityError: With fp16: a weight is too large.
    """
    del calibration
    try:
        return written(card, lambda card: float_model(card, network))
    except onnx.checker.ValidationError as error:
        said = str(error).strip().partition("\n")[0][:90]
        raise UsageError(
            f"The ONNX model breaks ONNX's own rules: {said}.", hint="Repair it, or cut earlier."
        ) from error


def float_model(card: ModelCard, network: OnnxNetwork) -> ModelProto:
    """Build the model in float32, not yet checked and without the card's facts."""
    graph, taps = network.graph, network.taps(card.submodel)
    require_cut(graph, taps)
    size = card.options.size or (None, None)
    shapes = shapes_of(graph, size)
    layouts = layouts_of(graph, shapes)
    part = extract(with_size(graph, card.options.batch, size), graph.image, [tap.tensor for tap in taps])
    known = shapes if card.options.batch == 1 else {name: (None, *shape[1:]) for name, shape in shapes.items()}
    fold_shapes(part.graph, known)
    fold_constants(part.graph, part.opset_import)
    if card.options.batch != 1:
        _open_reshapes(part.graph, shapes)
    part = _in_opset(_pruned(part))
    tensors = {name for node in part.graph.node for name in (*node.input, *node.output)}
    taken = {*tensors, *card.submodel.taps, card.inputs[0].name}
    shown: dict[str, str] = {}

    def fresh(name: str) -> str:
        while name in taken:
            name += "_"
        taken.add(name)
        return name

    prepare = _Preparation(fresh)
    pixels = prepare.pixels(card, network.preprocessing, graph.layout)
    names = {name: fresh(name) for name in {*card.submodel.taps, card.inputs[0].name} & tensors}
    names[graph.image] = pixels
    ends = list[NodeProto]()
    for tap in taps:
        if layouts[tap.tensor] == card.options.layout and tap.tensor not in (*shown, graph.image):
            names[tap.tensor] = shown[tap.tensor] = tap.name
            continue
        same = layouts[tap.tensor] == card.options.layout
        order: dict[str, Any] = {} if same else {"perm": _TO_NCHW if card.options.layout == "NCHW" else _TO_NHWC}
        kind, own = "Identity" if same else "Transpose", fresh(f"{tap.name}_output")
        ends.append(helper.make_node(kind, [tap.tensor], [tap.name], own, **order))
    for node in (*part.graph.node, *ends):
        node.input[:] = [names.get(name, name) for name in node.input]
    for node in part.graph.node:
        node.output[:] = [names.get(name, name) for name in node.output]
    for tensor in part.graph.initializer:
        tensor.name = names.get(tensor.name, tensor.name)
    nodes = [*prepare.nodes, *part.graph.node, *ends]
    initializers = [*prepare.constants, *part.graph.initializer]
    model = make_model(card, nodes, initializers)
    model.opset_import[0].version = opset_of(part)
    model.ir_version = max(model.ir_version, helper.find_min_ir_version_for(model.opset_import))
    if card.options.batch is None:
        _require_batches(model)
    return model


def _open_reshapes(graph: onnx.GraphProto, shapes: Mapping[str, Shape]) -> None:
    """Let reshapes that were written for one image keep any number of images, in place.

    The number of images is a factor of the first extent, before and after. The parity check, on two images, would show
    it if a network did otherwise.
    """
    constants = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        before = shapes.get(node.input[0])
        if node.op_type != "Reshape" or not before or node.input[1] not in constants:
            continue
        target = [int(extent) for extent in numpy_helper.to_array(constants[node.input[1]]).reshape(-1)]
        zeros = any(attribute.name == "allowzero" and attribute.i for attribute in node.attribute)
        if not target or target[0] <= 0 or zeros or (-1 in target and before[0] != target[0]):
            continue
        target[0] = 0 if -1 in target else -1  # as in the input, or what is left
        name = f"{node.input[1]}_any_batch"
        if name not in constants:
            constants[name] = numpy_helper.from_array(np.array(target, np.int64), name)
            graph.initializer.append(constants[name])
        node.input[1] = name


def _require_batches(model: ModelProto) -> None:
    """Check that a model takes more than one image at a time.

    Raises:
        UsageError: It does not.
    """
    copy = ModelProto()
    copy.CopyFrom(model)
    copy.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2
    for output in copy.graph.output:
        output.type.tensor_type.shape.dim[0].dim_value = 2
    try:
        onnx.shape_inference.infer_shapes(copy, strict_mode=True, data_prop=True)
    except (onnx.shape_inference.InferenceError, ValueError) as error:
        raise UsageError(
            "The ONNX model takes one image at a time: it has sizes for one.", hint="Use --batch 1."
        ) from error


def _pruned(model: ModelProto) -> ModelProto:
    """Return a model without what its outputs do not need."""
    return extract(model, model.graph.input[0].name, [output.name for output in model.graph.output])


def _in_opset(model: ModelProto) -> ModelProto:
    """Return a model in our opset where it was written in an older one; newer ones stay."""
    if opset_of(model) >= OPSET:
        return model
    try:
        return version_converter.convert_version(model, OPSET)
    except (RuntimeError, ValueError) as error:  # what the converter raises where it has no rule
        said = str(error).strip().splitlines()[-1][:90]
        raise UsageError(
            f"Opset {opset_of(model)} of the ONNX model cannot be brought to {OPSET}: {said}",
            hint="Export it with a newer opset.",
        ) from error


class _Preparation:
    """The operators that turn our input into what the network takes, and their constants."""

    def __init__(self, fresh: Callable[[str], str]) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []
        self._fresh = fresh

    def pixels(self, card: ModelCard, preprocessing: Preprocessing, layout: str) -> str:
        """Add the operators; return the tensor that holds the prepared image in this layout."""
        image, axis = card.inputs[0].name, layout.index("C")
        if layout == "NCHW":  # comes first, while a channel of a pixel is one byte
            image = self._add("Transpose", image, name="image_nchw", perm=_TO_NCHW)
        if preprocessing.channel_order == "BGR":
            order = self._constant(np.array([2, 1, 0], np.int64), "reversed_order")
            image = self._add("Gather", image, order, name="image_reversed", axis=axis)
        if card.options.input_dtype == "uint8":
            image = self._add("Cast", image, name="image_float", to=TensorProto.FLOAT)
        if preprocessing.channel_order == "GREY":
            image = self._luma(image, axis)
        shape = [-1 if index == axis else 1 for index in range(4)]
        factors, offsets = (np.array(values, np.float32).reshape(shape) for values in preprocessing.affine())
        if not (factors == 1).all():
            image = self._add("Mul", image, self._constant(factors, "factors"), name="image_scaled")
        if offsets.any():
            image = self._add("Sub", image, self._constant(offsets, "offsets"), name="image_prepared")
        return image

    def _luma(self, image: str, axis: int) -> str:
        parts = list[str]()
        for number, (weights, unit) in enumerate(LUMA_PARTS):
            shape = [-1 if index == axis else 1 for index in range(4)]
            weighted = np.array(weights, np.float32).reshape(shape)
            part = self._add("Mul", image, self._constant(weighted, f"luma_{number}"), name=f"image_luma_{number}")
            axes = self._constant(np.array([axis], np.int64), f"luma_axis_{number}")
            part = self._add("ReduceSum", part, axes, name=f"image_grey_{number}", keepdims=1)
            scale = self._constant(np.float32(unit), f"luma_unit_{number}")
            parts.append(self._add("Mul", part, scale, name=f"image_part_{number}"))
        both = self._add("Add", *parts, name="image_grey")
        both = self._add("Add", both, self._constant(np.float32(0.5), "half"), name="image_grey_half")
        return self._add("Floor", both, name="image_luma")

    def _constant(self, value: object, name: str) -> str:
        name = self._fresh(name)
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def _add(self, kind: str, *inputs: str, name: str, **attributes: Any) -> str:  # noqa: ANN401 - as ONNX takes them
        output = self._fresh(name)
        self.nodes.append(helper.make_node(kind, list(inputs), [output], output, **attributes))
        return output
