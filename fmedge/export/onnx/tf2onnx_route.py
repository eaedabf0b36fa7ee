"""Build the ONNX model of a sub-model with TensorFlow and tf2onnx, then tidy up its graph."""
# pyright: reportMissingTypeStubs=false, reportMissingImports=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import numpy as np
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
                _opened(function.graph.as_graph_def()),
                input_names=[tensor.name for tensor in function.inputs],
                output_names=[tensor.name for tensor in function.outputs],
                opset=OPSET,
                custom_op_handlers={"Erfc": (_write_erfc, [])},
            )
    except Exception as error:  # an odd model can make TensorFlow and tf2onnx raise anything
        raise cannot_convert("tf2onnx", error) from error
    foreign = sorted({node.op_type for node in model.graph.node if node.domain or not onnx.defs.has(node.op_type)})
    if foreign:
        raise UsageError(
            f"ONNX has no operator for {', '.join(foreign)}.", hint="Cut before it, or use --format tflite."
        )
    return model.graph


_APART = ("_XlaMustCompile", "_noinline")
"""Marks of a function that stays one, because XLA must compile it: Keras' convolutions in groups are such functions."""


def _opened(graph: Any) -> Any:  # noqa: ANN401 - a GraphDef
    """Take the marks from the functions of a graph, so that tf2onnx puts what they compute in their place."""
    inner = [node for function in graph.library.function for node in function.node_def]
    for marked in (*graph.node, *inner, *graph.library.function):
        for name in _APART:
            marked.attr.pop(name, None)
    return graph


def _write_erfc(graph: Any, node: Any, name: str, args: Any) -> None:  # noqa: ANN401 - tf2onnx has no types
    """Write erfc(x), which gelu needs and ONNX lacks, as 1 - erf(x).

    The difference is off by up to 2**-24, so that gelu, x / 2 * erfc(-x / sqrt(2)), is off by half of that times x.
    """
    del args
    shapes, dtypes = node.output_shapes, node.output_dtypes
    graph.remove_node(name)
    one = graph.make_const(f"{name}/one", np.ones((), np.float32))
    erf = graph.make_node("Erf", node.input, name=f"{name}/erf", shapes=shapes, dtypes=dtypes)
    rest = [one.output[0], erf.output[0]]
    graph.make_node("Sub", rest, outputs=node.output, name=name, shapes=shapes, dtypes=dtypes)
