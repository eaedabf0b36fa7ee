"""Restore the all-zero biases that tf2onnx drops: engines and readers expect a Conv with three inputs."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import numpy_helper


def add_zero_biases(graph: onnx.GraphProto) -> None:
    """Give every Conv without a bias one of zeros."""
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Conv" and len(node.input) == 2 and node.input[1] in shapes:
            name = f"{node.input[1]}_zero_bias"
            if name not in shapes:
                zeros = np.zeros(shapes[node.input[1]][0], np.float32)
                graph.initializer.append(numpy_helper.from_array(zeros, name))
                shapes[name] = zeros.shape
            node.input.append(name)
