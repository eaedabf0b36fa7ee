"""Small ONNX networks that are chains of 3 x 3 convolutions, others that are not, and what a chain computes."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from onnx import ModelProto, TensorProto, helper

from fmedge.export.reference import convolve, max_pool
from fmedge.model.native_format import FLOAT_BYTES, HEADER, IMAGE_DTYPES, LAYER, TAPS, Flag, Kind
from support.onnx_networks import Writer

POOL = {"kernel_shape": [2, 2], "strides": [2, 2]}


class Fit(NamedTuple):
    """A network that fits, and what to cut from it."""

    model: ModelProto
    layers: list[str]
    activation: str = "relu"
    options: Mapping[str, Any] = MappingProxyType({"preprocessing": "torch"})


class Misfit(NamedTuple):
    """A network that does not fit, what to cut from it, and what is said."""

    model: ModelProto
    said: str
    layers: str | list[str] = "end"


def norm(write, values, channels, name, low=0.5):
    parts = (write.constant(write.random.uniform(low, 1.5, channels).astype(np.float32), f"{name}.{p}") for p in "abcd")
    return write.add("BatchNormalization", values, *parts, name=name, epsilon=1e-3)


def relu(write, values, name=""):
    return write.add("Relu", values, name=name)


def vgg(size=(41, 56), opset=17):
    """Two blocks with pooling, the second with BatchNorm, no bias at the end, and operators that do nothing."""
    write = Writer(seed=21, opset=opset)
    values = relu(write, write.conv("input", 3, 8, module="a", name="a"))
    values = write.add("MaxPool", write.add("Dropout", values), name="p", **POOL)
    values = norm(write, write.conv(values, 8, 20, module="b", name="b"), 20, "bn")
    values = write.add("Identity", relu(write, values, "act"))
    values = write.add("MaxPool", values, name="q", **POOL)
    kernel = write.constant(write.random.normal(0, 0.1, (6, 20, 3, 3)).astype(np.float32), "c.weight")
    values = write.add("Conv", values, kernel, name="c", auto_pad="SAME_UPPER")
    return write.model((1, 3, *size), values)


def prepares(layout="NCHW"):
    """Prepares the pixels itself: colours in another order by two operators, a scale, a mean per channel."""
    write = Writer(seed=22)
    axis = layout.index("C")
    shape = [3 if name == "C" else 1 for name in layout]
    constant = {
        "back": np.array([2, 1, 0], np.int64),
        "scale": np.full(shape, 1 / 64, np.float32),
        "mean": np.array([1.5, 1.75, 2.0], np.float32).reshape(shape),
        "spread": np.array([0.5, 2.0, -1.0], np.float32).reshape(shape),
    }
    names = {name: write.constant(values, name) for name, values in constant.items()}
    for name in "starts", "ends", "axes", "steps":
        value = {"starts": -1, "ends": -9, "axes": axis, "steps": -1}[name]
        names[name] = write.constant(np.array([value], np.int64), name)
    values = write.add("Gather", "input", names["back"], axis=axis)
    values = write.add("Slice", values, names["starts"], names["ends"], names["axes"], names["steps"])
    values = write.add("Gather", values, names["back"], axis=axis)
    values = write.add("Mul", values, names["scale"])
    values = write.add("Div", write.add("Sub", names["mean"], values), names["spread"])
    if layout == "NHWC":
        values = write.add("Transpose", values, perm=[0, 3, 1, 2])
    values = relu(write, write.conv(values, 3, 5, module="a", name="a"))
    values = write.conv(values, 5, 4, module="b", name="b")
    return write.model((1, 3, 24, 20) if layout == "NCHW" else (1, 24, 20, 3), values)


def stacked():
    """Puts the colours in another order as Keras' ``preprocess_input`` does: one by one, and a Split."""
    write = Writer(seed=23)
    numbers = {number: write.constant(np.array([number], np.int64), f"number_{number}") for number in range(4)}
    apart = [write.add("Slice", "input", numbers[k], numbers[k + 1], numbers[1]) for k in (2, 0, 1)]
    joined = write.add("Concat", *apart, axis=1)
    write.nodes.append(helper.make_node("Split", [joined], ["x", "y", "z"], axis=1))
    joined = write.add("Concat", "z", "x", "y", axis=-3)
    return write.model((1, 3, 20, 20), write.conv(joined, 3, 4, module="a", name="a"))


def padded():
    """Zeros come from operators of their own, and ReLU after the pooling."""
    write = Writer(seed=24)
    pads = write.constant(np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64), "pads")
    values = write.add("Pad", "input", pads)
    values = write.conv(values, 3, 8, module="a", name="a", pads=[0] * 4)
    values = relu(write, write.add("MaxPool", values, name="p", **POOL), "act")
    half = write.constant(np.array([0, 0, 1, 0, 0, 0, 1, 0], np.int64), "half")
    values = write.conv(write.add("Pad", values, half), 8, 5, module="b", name="b", pads=[0, 1, 0, 1])
    return write.model((1, 3, 18, 22), relu(write, values))


def pooled_first():
    write = Writer(seed=25)
    values = write.add("MaxPool", "input", name="p", ceil_mode=1, **POOL)
    return write.model((1, 3, 24, 20), write.conv(values, 3, 4, module="a", name="a"))


def scaled():
    """Factor and summand of a channel as operators of their own, twice, and a kernel that two layers share."""
    write = Writer(seed=26)
    values = write.conv("input", 3, 3, module="a", name="a")
    factors = write.constant(np.array([0.5, -2, 3], np.float32).reshape(3, 1, 1), "factors")
    values = write.add("Add", write.add("Mul", values, factors), write.constant(np.float32(7), "seven"), name="sum")
    values = norm(write, values, 3, "bn")
    shared = write.add("Identity", "a.weight")
    values = write.add("Conv", relu(write, values), shared, name="b", pads=[1] * 4)
    return write.model((1, 3, 16, 24), values)


FITS = {
    "vgg": Fit(vgg(), ["a", "p", "bn", "q", "c"]),
    "caffe": Fit(vgg(), ["a", "c"], "none", {"preprocessing": "caffe"}),
    "tf": Fit(vgg(), ["bn", "q"], "none", {"preprocessing": "tf"}),
    "before BatchNorm": Fit(vgg(), ["a", "b"]),
    "any size": Fit(vgg(), ["p", "c"], options={"preprocessing": "unit", "size": None}),
    "floats, two images, another size": Fit(
        vgg(), ["act"], options={"preprocessing": "none", "input_dtype": "float32", "batch": 2, "size": (33, 70)}
    ),
    "old": Fit(vgg(opset=9), ["p", "c"]),
    "prepares": Fit(prepares(), ["a", "b"], options={"preprocessing": "none"}),
    "prepares, too": Fit(prepares("NHWC"), ["a", "b"], "none", {"preprocessing": "caffe"}),
    "stacked": Fit(stacked(), ["a"], options={"preprocessing": "none"}),
    "padded": Fit(padded(), ["p", "b"], options={"preprocessing": "caffe"}),
    "padded, before ReLU": Fit(padded(), ["a", "b"], "none"),
    "pooled first": Fit(pooled_first(), ["p", "a"], options={"preprocessing": "none"}),
    "scaled": Fit(scaled(), ["bn", "b"]),
}
"""Networks by what is special about each."""


def _between(add, shape=(1, 3, 32, 32)):
    """A convolution with ReLU, something else, and a convolution."""
    write = Writer(seed=27)
    before = relu(write, write.conv("input", 3, 4, module="first", name="first"))
    return write.model(shape, write.conv(add(write, before), 4, 2, module="end", name="end"))


def _conv(size=3, **settings):
    def add(write, before):
        return write.conv(before, 4, 4, size, module="odd", name="odd", **settings)

    return _between(add)


def _kind(kind, constants=(), **settings):
    def add(write, before):
        names = [write.constant(np.asarray(value), f"constant_{place}") for place, value in enumerate(constants)]
        return write.add(kind, before, *names, name="odd", **settings)

    return _between(add)


def _sum():
    write = Writer(seed=28)
    first = relu(write, write.conv("input", 3, 4, module="first", name="first"))
    second = write.conv(first, 4, 4, module="second", name="second")
    both = write.add("Add", first, second, name="sum")
    third = write.conv(first, 4, 4, module="third", name="third")
    return write.model((1, 3, 32, 32), write.conv(both, 4, 2, module="end", name="end"), third)


def _grey():
    write = Writer(seed=29)
    return write.model((1, 1, 32, 32), write.conv("input", 1, 4, module="end", name="end"))


def _image(*steps):
    """Does something to the image before the first convolution."""
    write = Writer(seed=30)
    values = "input"
    for place, (kind, constants, settings) in enumerate(steps):
        names = [write.constant(np.asarray(value), f"c{len(write.weights)}") for value in constants]
        values = write.add(kind, values, *names, name=f"{kind.lower()}_{place}", **settings)
    return write.model((1, 3, 32, 32), write.conv(values, 3, 4, module="end", name="end"))


ONE = [np.float32(1)]
PADS = [[0, 0, 1, 1, 0, 0, 1, 1]]
MISFITS = {
    "5 x 5": Misfit(_conv(5), "'odd' is a 5 x 5 convolution; native takes 3 x 3. .*--format onnx"),
    "1 x 1": Misfit(_conv(1), "'odd' is a 1 x 1 convolution"),
    "stride": Misfit(_conv(strides=[2, 2]), "'odd' has stride 2; native takes stride 1"),
    "strides": Misfit(_conv(strides=[1, 2]), "'odd' has stride 1 x 2; native"),
    "dilation": Misfit(_conv(dilations=[2, 2], pads=[2] * 4), "'odd' has dilation 2; native takes dilation 1"),
    "groups": Misfit(_conv(groups=2), "'odd' convolves 2 groups of channels apart"),
    "valid": Misfit(_conv(pads=[0] * 4), r"'odd' has no border of zeros \('valid'\)"),
    "uneven": Misfit(_conv(pads=[0, 0, 2, 2]), "'odd' has a border of 0/0/2/2 zeros"),
    "wide": Misfit(_conv(pads=[2] * 4), "'odd' has a border of 2 zeros"),
    "average": Misfit(_kind("AveragePool", **POOL), "'odd' is AveragePool; native takes 3 x 3"),
    "3 x 3 pooling": Misfit(
        _kind("MaxPool", kernel_shape=[3, 3], strides=[2, 2]), "'odd' pools 3 x 3 with stride 2; native takes 2 x 2"
    ),
    "overlapping": Misfit(_kind("MaxPool", kernel_shape=[2, 2]), "'odd' pools 2 x 2 with stride 1;"),
    "padded pooling": Misfit(_kind("MaxPool", pads=[0, 0, 1, 1], **POOL), "'odd' pools beyond the last row or column"),
    "LeakyRelu": Misfit(_kind("LeakyRelu"), "'odd' is LeakyRelu"),
    "Clip": Misfit(_kind("Clip", [np.float32(0), np.float32(6)]), "'odd' is Clip"),
    "Sigmoid": Misfit(_kind("Sigmoid"), "'odd' is Sigmoid"),
    "scale after ReLU": Misfit(_kind("Mul", ONE), r"'odd' \(Mul\) follows a ReLU, so that no kernel"),
    "mirrored": Misfit(_kind("Pad", PADS, mode="reflect"), "'odd' is Pad"),
    "turned": Misfit(_kind("Transpose", perm=[0, 1, 3, 2]), "'odd' is Transpose"),
    "joined": Misfit(_sum(), r"'sum' \(Add\) joins branches"),
    "a branch": Misfit(_sum(), r"'third' \(Conv\) is on a branch", ["second", "third"]),
    "grey": Misfit(_grey(), "takes grey, .* it takes three colours. Use --format onnx"),
    "a colour": Misfit(_image(("Gather", [[0, 1, 1]], {"axis": 1})), "'end' reads not every colour"),
    "per place": Misfit(_image(("Mul", [np.ones((32, 32), np.float32)], {})), "'mul_0' is Mul"),
    "after zeros": Misfit(_image(("Pad", PADS, {}), ("Mul", ONE, {})), r"'mul_1' \(Mul\) follows a border of zeros"),
    "a ReLU first": Misfit(_image(("Relu", [], {})), r"'relu_0' \(ReLU\) comes before the first convolution"),
    "whole numbers": Misfit(
        _image(("Mul", ONE, {}), ("Cast", [], {"to": TensorProto.UINT8}), ("Cast", [], {"to": TensorProto.FLOAT})),
        "'cast_1' is Cast",
    ),
    "scaled pooling": Misfit(
        _image(("Mul", [np.float32(2)], {}), ("MaxPool", [], POOL)), "'maxpool_1' pools before the first"
    ),
    "the image": Misfit(_image(("Identity", [], {})), "'identity_0' shows neither", "identity_0"),
    "before a scale": Misfit(vgg(), "'b' is shown before a scale that native folds", ["b", "c"]),
    "twice": Misfit(vgg(), "'bn' and 'act' show the same layer", ["bn", "act"]),
    "pooling before ReLU": Misfit(padded(), "'p' pools before a ReLU, and is shown before it", ["p", "b"]),
}
"""Networks by why they do not fit."""


def computed(artifact, image):
    """What a chain computes for an image, (H, W, 3), from its file alone: per tap, (C, H, W), in float64."""
    data = artifact.model
    _, count, channels, dtype, _, mean, *_ = HEADER.unpack_from(data)
    assert IMAGE_DTYPES[dtype] == artifact.card.inputs[0].dtype
    values = image.astype(np.float64) - np.frombuffer(data, "<f4", channels, mean)
    found = []
    for place in range(count):
        kind, made, flags, _, kernel, bias = LAYER.unpack_from(data, HEADER.size + LAYER.size * place)
        if kind == Kind.POOLING:
            values = max_pool(values)
        else:
            weights = np.frombuffer(data, "<f4", made * channels * TAPS, kernel).reshape(made, channels, 3, 3)
            assert bias == kernel + weights.size * FLOAT_BYTES
            values = convolve(values, weights.transpose(2, 3, 1, 0), np.frombuffer(data, "<f4", made, bias))
        found += [values] if flags & Flag.TAP_BEFORE_RELU else []
        values = np.maximum(values, 0) if flags & Flag.RELU else values
        found += [values] if flags & Flag.TAP else []
        channels = made
    return dict(zip(artifact.card.submodel.taps, (each.transpose(2, 0, 1) for each in found), strict=True))
