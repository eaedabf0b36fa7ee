"""Build the ONNX model of a sub-model node by node from the weights, without TensorFlow."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from fmedge.export.built import Built
from fmedge.export.calibration import Calibration
from fmedge.export.onnx.file import make_model, output_transposes
from fmedge.export.onnx.writing import written
from fmedge.export.stock_network import StockNetwork
from fmedge.model.card import ModelCard
from fmedge.model.stock import LayerSpec
from fmedge.model.submodel import Activation, SubModel
from fmedge.model.weights import Weights


def build_model(card: ModelCard, network: StockNetwork, calibration: Calibration | None = None) -> Built:
    """Build the model that a card describes.

    The graph is ``image`` ((N, H, W, 3), RGB) → Transpose → Cast → Sub(mean) → Conv, Relu, MaxPool….
    The mean is subtracted before the first convolution pads with zeros, as in Keras, so that the borders
    agree too; the order blue, green, red is folded into the first kernel. Each output has its layer's name.

    Args:
        card: The model to build; only the card's facts are used.
        network: Kernel and bias of every convolution up to the deepest tap.
        calibration: Not used: these precisions need no photos.

    Returns:
        The file's content and the finished card; the same card and weights give the same bytes.
    """
    del calibration
    return written(card, lambda card: float_model(card, network))


def float_model(card: ModelCard, network: StockNetwork) -> onnx.ModelProto:
    """Build the model in float32, not yet checked and without the card's facts."""
    nodes, initializers = _preprocessing(card)
    tensor = "pixels"
    for spec in card.submodel.stock_layers:
        layer_nodes, tensor = _layer(spec, tensor, card.submodel)
        nodes.extend(layer_nodes)
        if spec.kind == "conv":
            initializers.extend(_layer_weights(spec, network.weights))
    nodes.extend(output_transposes(nodes, card))
    return make_model(card, nodes, initializers)


def _preprocessing(card: ModelCard) -> tuple[list[onnx.NodeProto], list[TensorProto]]:
    mean_rgb = np.array(card.preprocessing.mean[::-1], np.float32).reshape(1, 3, 1, 1)
    nodes = [  # the Transpose comes first, while a channel of a pixel is one byte
        helper.make_node("Transpose", [card.inputs[0].name], ["image_nchw"], "image_nchw", perm=[0, 3, 1, 2])
    ]
    if card.options.input_dtype == "uint8":
        nodes.append(helper.make_node("Cast", ["image_nchw"], ["image_float"], "image_float", to=TensorProto.FLOAT))
    nodes.append(helper.make_node("Sub", [nodes[-1].output[0], "mean_rgb"], ["pixels"], "pixels"))
    return nodes, [numpy_helper.from_array(mean_rgb, "mean_rgb")]


def _layer(spec: LayerSpec, tensor: str, submodel: SubModel) -> tuple[list[onnx.NodeProto], str]:
    """Return the nodes of one layer, and the name of the tensor that the next layer reads."""
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
    """Turn Keras' (3, 3, in, out) into ONNX' (out, in, 3, 3), and the first kernel's order from BGR to RGB."""
    if rgb_input:
        kernel = kernel[:, :, ::-1, :]
    return np.ascontiguousarray(kernel.transpose(3, 2, 0, 1))
