"""The ONNX model of a sub-model, built node by node from the weights. TensorFlow has no part in it."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from fmedge.artifact import ModelCard, TensorSpec
from fmedge.submodel import Activation, SubModel
from fmedge.vgg16 import LayerSpec, layers_through
from fmedge.weights import Weights

OPSET = 17
IR_VERSION = 8
"""Opset and file version of ONNX 1.12 (2022): old enough for the engines on long-lived boards."""

METADATA_KEY = "fmedge_card"
"""Entry of the file's ``metadata_props`` that holds the card's facts as JSON."""


def tool_versions() -> dict[str, str]:
    """Version of what this exporter builds with."""
    return {"onnx": onnx.__version__}


def build_model(card: ModelCard, weights: Weights) -> bytes:
    """Build the model that a card describes.

    The graph is ``image`` (uint8, (N, H, W, 3), RGB) → Transpose → Cast → Sub(mean) → Conv, Relu, MaxPool….
    The mean is subtracted before the first convolution pads with zeros, as in Keras, so that the borders
    agree too; the order blue, green, red is folded into the first kernel. Each output bears its layer's name.

    Args:
        card: What to build; only its facts are used.
        weights: Kernel and bias of every convolution up to the deepest tap.

    Returns:
        The file's content; the same card and weights give the same bytes.
    """
    nodes, initializers = _preprocessing(card)
    tensor = "pixels"
    for spec in layers_through(card.submodel.deepest):
        layer_nodes, tensor = _layer(spec, tensor, card.submodel)
        nodes.extend(layer_nodes)
        if spec.kind == "conv":
            initializers.extend(_layer_weights(spec, weights))
    graph = helper.make_graph(
        nodes,
        f"vgg16_{card.submodel.label}",
        [_value_info(spec) for spec in card.inputs],
        [_value_info(spec) for spec in card.outputs],
        initializers,
    )
    model = helper.make_model(
        graph,
        producer_name="fmedge",
        producer_version=card.tools["fmedge"],
        ir_version=IR_VERSION,
        opset_imports=[helper.make_opsetid("", OPSET)],
    )
    helper.set_model_props(model, {METADATA_KEY: json.dumps(asdict(card.facts()), sort_keys=True)})
    onnx.checker.check_model(model)  # pyright: ignore[reportUnknownMemberType]
    return model.SerializeToString(deterministic=True)


def _value_info(spec: TensorSpec) -> onnx.ValueInfoProto:
    dtype = helper.np_dtype_to_tensor_dtype(np.dtype(spec.dtype))
    shape = ["batch" if extent is None else extent for extent in spec.shape]
    return helper.make_tensor_value_info(spec.name, dtype, shape)


def _preprocessing(card: ModelCard) -> tuple[list[onnx.NodeProto], list[TensorProto]]:
    mean_rgb = np.array(card.preprocessing.mean[::-1], np.float32).reshape(1, 3, 1, 1)
    nodes = [  # transposed first, while a pixel is one byte
        helper.make_node("Transpose", [card.inputs[0].name], ["image_nchw"], "image_nchw", perm=[0, 3, 1, 2]),
        helper.make_node("Cast", ["image_nchw"], ["image_float"], "image_float", to=TensorProto.FLOAT),
        helper.make_node("Sub", ["image_float", "mean_rgb"], ["pixels"], "pixels"),
    ]
    return nodes, [numpy_helper.from_array(mean_rgb, "mean_rgb")]


def _layer(spec: LayerSpec, tensor: str, submodel: SubModel) -> tuple[list[onnx.NodeProto], str]:
    """The nodes of one layer, and the tensor that the next one reads."""
    if spec.kind == "pool":
        pool = helper.make_node("MaxPool", [tensor], [spec.name], spec.name, kernel_shape=[2, 2], strides=[2, 2])
        return [pool], spec.name
    raw_tap = spec.name in submodel.taps and submodel.activation is Activation.NONE
    before, after = (spec.name, f"{spec.name}_relu") if raw_tap else (f"{spec.name}_conv", spec.name)
    conv = helper.make_node(
        "Conv",
        [tensor, f"{spec.name}_kernel", f"{spec.name}_bias"],
        [before],
        spec.name,
        kernel_shape=[3, 3],
        pads=[1, 1, 1, 1],
    )
    if raw_tap and spec.name == submodel.deepest:
        return [conv], before
    return [conv, helper.make_node("Relu", [before], [after], f"{spec.name}_relu")], after


def _layer_weights(spec: LayerSpec, weights: Weights) -> list[TensorProto]:
    kernel, bias = weights[spec.name]
    return [
        numpy_helper.from_array(_onnx_kernel(kernel, rgb_input=spec.in_channels == 3), f"{spec.name}_kernel"),
        numpy_helper.from_array(bias, f"{spec.name}_bias"),
    ]


def _onnx_kernel(kernel: npt.NDArray[np.float32], *, rgb_input: bool) -> npt.NDArray[np.float32]:
    """Keras' (3, 3, in, out) to ONNX' (out, in, 3, 3); the first kernel's blue, green, red becomes RGB."""
    if rgb_input:
        kernel = kernel[:, :, ::-1, :]
    return np.ascontiguousarray(kernel.transpose(3, 2, 0, 1))
