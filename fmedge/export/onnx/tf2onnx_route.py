"""Build the ONNX model of a sub-model with TensorFlow and tf2onnx, then tidy up its graph."""
# pyright: reportMissingTypeStubs=false, reportMissingImports=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

from importlib.metadata import version

import onnx

from fmedge.errors import UsageError
from fmedge.export.built import Built
from fmedge.export.calibration import Calibration
from fmedge.export.onnx import passes
from fmedge.export.onnx.file import OPSET, make_model
from fmedge.export.onnx.writing import written
from fmedge.export.tensorflow.tf_import import Function, tf
from fmedge.export.tensorflow.trace import TfNetwork, cannot_convert, trace
from fmedge.model.card import ModelCard
from fmedge.system.stderr import quietly

with quietly():
    import tf2onnx.convert


def build_model(card: ModelCard, network: TfNetwork, calibration: Calibration | None = None) -> Built:
    """Build the model that a card describes.

    Args:
        card: The model to build; only the card's facts are used.
        network: A stock network or a Keras model.
        calibration: Not used: these precisions need no photos.

    Returns:
        The file's content and the finished card; the same card and network give the same bytes.

    Raises:
        UsageError: The network cannot be cut like this, or has an operation that ONNX lacks.
        ParityError: With fp16: a weight is too large.
    """
    del calibration
    tools = {"tf2onnx": version("tf2onnx"), "tensorflow": tf.__version__}
    return written(card, lambda card: float_model(card, network), tools)


def float_model(card: ModelCard, network: TfNetwork) -> onnx.ModelProto:
    """Build the model in float32, not yet checked and without the card's facts."""
    traced = trace(card, network)
    graph = _convert(traced.function)
    passes.cancel_inverse_transposes(graph)
    passes.lift_input_transposes(graph)
    passes.spell_out_padding(graph)
    passes.add_zero_biases(graph)
    passes.sort_nodes(graph)
    passes.drop_default_attributes(graph)
    passes.name_everything(graph, card.submodel.taps, traced.layers, card.inputs[0].name)
    return make_model(card, graph.node, graph.initializer)


def _convert(function: Function) -> onnx.GraphProto:
    """Convert a concrete function to ONNX with tf2onnx."""
    try:
        with quietly():
            model, _ = tf2onnx.convert.from_graph_def(
                function.graph.as_graph_def(),
                input_names=[tensor.name for tensor in function.inputs],
                output_names=[tensor.name for tensor in function.outputs],
                opset=OPSET,
            )
    except Exception as error:  # an odd model can make TensorFlow and tf2onnx raise anything
        raise cannot_convert("tf2onnx", error) from error
    foreign = sorted({node.op_type for node in model.graph.node if node.domain or not onnx.defs.has(node.op_type)})
    if foreign:
        raise UsageError(
            f"ONNX has no operator for {', '.join(foreign)}.", hint="Cut before it, or use --format tflite."
        )
    return model.graph
