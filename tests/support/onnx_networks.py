"""Small ONNX networks as tools write them."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper


class Writer:
    """Collects operators and weights; every method returns the tensor that it makes."""

    def __init__(self, seed=3, opset=17):
        self.nodes, self.weights, self.opset = [], [], opset
        self.random = np.random.default_rng(seed)

    def constant(self, values, name):
        self.weights.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def add(self, kind, *inputs, name="", **settings):
        output = f"{name or kind.lower() + str(len(self.nodes))}_output"
        self.nodes.append(helper.make_node(kind, list(inputs), [output], name, **settings))
        return output

    def conv(self, before, channels, filters, size=3, *, module, name="", groups=1, **settings):
        shape = filters, channels // groups, size, size
        kernel = self.random.normal(0, (2 / np.prod(shape[1:])) ** 0.5, shape)
        weights = self.constant(kernel.astype(np.float32), f"{module}.weight")
        bias = self.constant(self.random.normal(0, 0.1, filters).astype(np.float32), f"{module}.bias")
        settings = {"pads": [size // 2] * 4, "group": groups, **settings}
        return self.add("Conv", before, weights, bias, name=name, kernel_shape=[size, size], **settings)

    def model(self, shape, *outputs, image="input", dtype=TensorProto.FLOAT):
        graph = helper.make_graph(
            self.nodes,
            "network",
            [helper.make_tensor_value_info(image, dtype, shape)],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
            self.weights,
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=8)


def residual(opset=17, shape=(1, 3, 40, 56)):
    """PyTorch's names; BatchNorm, a residual, a depthwise convolution, SiLU in two operators, a head."""
    write = Writer(opset=opset)
    values = write.conv("input", 3, 8, module="stem.conv", name="/stem/conv/Conv", strides=[2, 2])
    scale, shift, mean, spread = (
        write.constant(write.random.uniform(0.5, 1.5, 8).astype(np.float32), f"stem.bn.{part}") for part in "abcd"
    )
    values = write.add("BatchNormalization", values, scale, shift, mean, spread, name="/stem/bn/BatchNormalization")
    trunk = write.add("Relu", values, name="/stem/act/Relu")
    values = write.conv(trunk, 8, 8, module="layer1.0.conv1", name="/layer1/layer1.0/conv1/Conv", groups=8)
    gate = write.add("Sigmoid", values, name="/layer1/layer1.0/act/Sigmoid")
    values = write.add("Mul", values, gate, name="/layer1/layer1.0/act/Mul")
    values = write.conv(values, 8, 8, 1, module="layer1.0.conv2", name="/layer1/layer1.0/conv2/Conv")
    values = write.add("Add", values, trunk, name="/layer1/layer1.0/Add")
    values = write.add("MaxPool", values, name="/pool/MaxPool", kernel_shape=[3, 3], strides=[2, 2])
    values = write.conv(values, 8, 12, module="head.conv", name="/head/conv/Conv")
    values = write.add("LeakyRelu", values, name="/head/act/LeakyRelu", alpha=0.2)
    values = write.add("GlobalAveragePool", values, name="/mean/GlobalAveragePool")
    return write.model(shape, write.add("Flatten", values, name="/Flatten"))


def channels_last():
    """As tf2onnx writes it: channels last outside, transposed before the first convolution and after the last."""
    write = Writer(seed=5)
    values = write.add("Transpose", "input", name="to_nchw", perm=[0, 3, 1, 2])
    values = write.conv(values, 3, 6, module="first", name="first")
    values = write.add("Relu", values, name="first_relu")
    values = write.conv(values, 6, 4, module="last", name="last")
    return write.model((1, 32, 48, 3), write.add("Transpose", values, name="to_nhwc", perm=[0, 2, 3, 1]))


def activation(write, form, x):
    """An activation as several operators; returns its output."""

    def number(value):
        return write.constant(np.float32(value), f"number_{len(write.weights)}")

    if form == "silu":
        return write.add("Mul", x, write.add("Sigmoid", x))
    if form == "hard_silu":  # x * relu6(x + 3) / 6
        clipped = write.add("Clip", write.add("Add", x, number(3)), number(0), number(6))
        return write.add("Div", write.add("Mul", x, clipped), number(6))
    if form == "hard_silu by HardSigmoid":
        return write.add("Mul", x, write.add("HardSigmoid", x, alpha=1 / 6, beta=0.5))
    if form == "mish":
        return write.add("Mul", x, write.add("Tanh", write.add("Softplus", x)))
    if form == "gelu":  # as PyTorch writes it: the half last
        error = write.add("Erf", write.add("Div", x, number(2**0.5)))
        return write.add("Mul", write.add("Mul", x, write.add("Add", error, number(1))), number(0.5))
    if form == "gelu, the half first":
        error = write.add("Add", write.add("Erf", write.add("Mul", x, number(0.5**0.5))), number(1))
        return write.add("Mul", write.add("Mul", x, number(0.5)), error)
    if form == "gelu(approximate=True)":
        cubed = write.add("Mul", write.add("Mul", x, x), x)
        inner = write.add("Add", x, write.add("Mul", cubed, number(0.044715)))
        tanh = write.add("Tanh", write.add("Mul", inner, number((2 / np.pi) ** 0.5)))
        return write.add("Mul", write.add("Mul", x, number(0.5)), write.add("Add", tanh, number(1)))
    if form == "scaled":  # no activation
        return write.add("Mul", write.add("Add", x, number(1)), number(2))
    raise ValueError(form)
