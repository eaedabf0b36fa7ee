"""Small ONNX networks of the kinds that pnnx has to convert, with the layers to cut at."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from onnx import ModelProto

from support.onnx_networks import Writer, channels_last, residual


class Network(NamedTuple):
    """A network, and what to cut from it."""

    model: ModelProto
    layers: list[str]
    activation: str = "relu"
    options: Mapping[str, Any] = MappingProxyType({})


def _norm(write, values, channels, name):
    parts = (write.constant(write.random.uniform(0.5, 1.5, channels).astype(np.float32), f"{name}.{p}") for p in "abcd")
    return write.add("BatchNormalization", values, *parts, name=name)


def inverted():
    """MobileNet's block: BatchNorm, ReLU6, depthwise with a border at one end alone, an average, a sum."""
    write = Writer(seed=7)
    zero, six = (write.constant(np.float32(value), name) for value, name in ((0, "zero"), (6, "six")))
    stem = write.add(
        "Clip", _norm(write, write.conv("input", 3, 8, module="stem"), 8, "bn"), zero, six, name="stem_act"
    )
    wide = write.add("Relu", write.conv(stem, 8, 16, 1, module="wide"), name="wide_act")
    pads = write.constant(np.array([0, 0, 0, 0, 0, 0, 1, 1], np.int64), "pads")
    values = write.add("Pad", wide, pads, name="border")  # as tf2onnx leaves it: no mode, no value
    values = write.conv(values, 16, 16, module="depth", name="depth", groups=16, strides=[2, 2], pads=[0] * 4)
    short = write.add("AveragePool", stem, kernel_shape=[2, 2], strides=[2, 2])
    values = write.add("Add", write.conv(values, 16, 8, 1, module="narrow", name="narrow"), short, name="sum")
    return write.model((1, 3, 24, 32), values)


def branches():
    """GoogLeNet's block: four ways that are joined, pools of several kinds, LeakyRelu, ELU and HardSwish."""
    write = Writer(seed=8)
    stem = write.add("LeakyRelu", write.conv("input", 3, 8, module="stem", name="stem"), alpha=0.1)
    pooled = write.add("MaxPool", stem, kernel_shape=[3, 3], strides=[1, 1], pads=[1] * 4)
    mean = write.add("AveragePool", stem, kernel_shape=[3, 3], strides=[1, 1], pads=[1] * 4, count_include_pad=1)
    ways = [
        write.add("Elu", write.conv(stem, 8, 4, 1, module="one")),
        write.add("HardSwish", write.conv(stem, 8, 4, 5, module="five")),
        write.conv(pooled, 8, 4, 1, module="pooled"),
        write.add("Tanh", write.conv(mean, 8, 4, 3, module="mean")),
    ]
    joined = write.add("Concat", *ways, name="joined", axis=1)
    half = write.add("MaxPool", joined, name="half", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)
    return write.model((1, 3, 25, 31), write.conv(half, 16, 4, module="end", name="end/conv (last)"))


def excited():
    """EfficientNet's block: SiLU in two operators, a mean of each channel, dense layers, a gate."""
    write = Writer(seed=9)
    values = write.conv("input", 3, 12, module="stem", name="stem", strides=[2, 2])
    trunk = write.add("Mul", values, write.add("Sigmoid", values))
    mean = write.add("GlobalAveragePool", trunk, name="mean")
    gate = write.add("Relu", write.conv(mean, 12, 4, 1, module="down", name="down"))
    gate = write.add("Sigmoid", write.conv(gate, 4, 12, 1, module="up", name="up"))
    gated = write.add("Mul", trunk, gate, name="gated")
    return write.model((1, 3, 32, 32), write.conv(gated, 12, 6, 1, module="end", name="end", groups=3))


def decoder():
    """U-Net's way up: enlarged twice, by rule and by weights, joined with what came before."""
    write = Writer(seed=10)
    before = write.add("Relu", write.conv("input", 3, 6, module="stem", name="stem"))
    deep = write.conv(before, 6, 8, module="deep", name="deep", strides=[2, 2])
    scales = write.constant(np.array([1, 1, 2, 2], np.float32), "scales")
    near = write.add("Resize", deep, "", scales, name="near", mode="nearest")
    linear = write.add("Resize", deep, "", scales, mode="linear", coordinate_transformation_mode="half_pixel")
    kernel = write.constant(write.random.normal(0, 0.2, (8, 5, 2, 2)).astype(np.float32), "kernel")
    learnt = write.add("ConvTranspose", deep, kernel, name="learnt", kernel_shape=[2, 2], strides=[2, 2])
    joined = write.add("Concat", before, near, linear, learnt, axis=1)
    return write.model((1, 3, 20, 28), write.conv(joined, 27, 2, module="end", name="end"))


def shuffled():
    """ShuffleNet's groups, halves of channels, and super-resolution's pixel shuffle."""
    write = Writer(seed=11)
    values = write.conv("input", 3, 16, module="stem", name="stem")
    shapes = {"apart": (1, 2, 8, 12, 14), "together": (1, 16, 12, 14)}
    apart, together = (write.constant(np.array(shape, np.int64), name) for name, shape in shapes.items())
    values = write.add("Transpose", write.add("Reshape", values, apart), perm=[0, 2, 1, 3, 4])
    values = write.add("Reshape", values, together, name="shuffled")
    slope = write.constant(np.full((16, 1, 1), 0.2, np.float32), "slope")
    values = write.add("PRelu", values, slope, name="prelu")
    shapes = {"blocks": (1, 4, 2, 2, 12, 14), "pixels": (1, 4, 24, 28)}
    blocks, pixels = (write.constant(np.array(shape, np.int64), name) for name, shape in shapes.items())
    values = write.add("Transpose", write.add("Reshape", values, blocks), perm=[0, 1, 4, 2, 5, 3])
    values = write.add("Reshape", values, pixels, name="larger")
    return write.model((1, 3, 12, 14), write.conv(values, 4, 3, module="end", name="end"))


def grey():
    """A network of grey pixels."""
    write = Writer(seed=12)
    values = write.add("Relu", write.conv("input", 1, 5, module="stem", name="stem"))
    return write.model((1, 1, 24, 20), write.conv(values, 5, 3, module="end", name="end"))


def odd(kind="ThresholdedRelu", **settings):
    """A network with an operator for which pnnx has no layer."""
    write = Writer(seed=13)
    values = write.add(kind, write.conv("input", 3, 4, module="stem", name="stem"), name="odd one", **settings)
    return write.model((1, 3, 16, 16), write.conv(values, 4, 2, module="end", name="end"))


NETWORKS = {
    "residual": Network(residual(), ["layer1.0", "head.conv"], options={"preprocessing": "torch"}),
    "one mean": Network(residual(), ["stem.conv", "mean"], "none", {"preprocessing": "caffe"}),
    "channels last": Network(channels_last(), ["first", "to_nhwc"], options={"preprocessing": "unit"}),
    "inverted": Network(inverted(), ["wide", "sum"], options={"preprocessing": "tf"}),
    "raw": Network(inverted(), ["wide", "narrow"], "none", {"preprocessing": "tf"}),
    "branches": Network(branches(), ["joined", "end/conv (last)"], options={"preprocessing": "none"}),
    "excited": Network(excited(), ["gated", "end"], options={"preprocessing": "unit"}),
    "decoder": Network(decoder(), ["near", "end"], options={"preprocessing": "caffe"}),
    "shuffled": Network(shuffled(), ["stem", "end"], options={"preprocessing": "torch"}),
    "grey": Network(grey(), ["stem", "end"], options={"preprocessing": "tf"}),
}
"""The networks by what is special about each."""
