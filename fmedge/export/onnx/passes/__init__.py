"""Small passes over the ONNX graphs that tf2onnx writes, one per module; each changes a graph in place."""

from fmedge.export.onnx.passes.biases import add_zero_biases
from fmedge.export.onnx.passes.defaults import drop_default_attributes
from fmedge.export.onnx.passes.inverse_transposes import cancel_inverse_transposes
from fmedge.export.onnx.passes.names import name_everything
from fmedge.export.onnx.passes.order import sort_nodes
from fmedge.export.onnx.passes.padding import spell_out_padding
from fmedge.export.onnx.passes.transposes import lift_input_transposes

__all__ = [
    "add_zero_biases",
    "cancel_inverse_transposes",
    "drop_default_attributes",
    "lift_input_transposes",
    "name_everything",
    "sort_nodes",
    "spell_out_padding",
]
