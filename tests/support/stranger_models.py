"""Models of strangers, made anew from a seed: small on one picture and huge on another, or huge on every one.

Every one has one input ``image`` of pixels, (N, 32, 32, 3), and one output ``t``.
"""

import random
from collections.abc import Callable

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIDE = 32
SHAPE = (1, SIDE, SIDE, 3)

SIZES = {
    "Reshape": lambda size: ("Reshape", ["flat", size]),
    "Slice, its starts": lambda size: ("Slice", ["flat", size, "far", "zero"]),
    "Slice, its ends": lambda size: ("Slice", ["flat", "zero", size, "zero"]),
    "Slice, its axes": lambda size: ("Slice", ["flat", "zero", "one", size]),
    "Slice, its steps": lambda size: ("Slice", ["flat", "zero", "far", "zero", size]),
    "Split": lambda size: ("Split", ["flat", size]),
    "Pad": lambda size: ("Pad", ["flat", size]),
    "Tile": lambda size: ("Tile", ["flat", size]),
    "Resize to": lambda size: ("Resize", ["flat", "", "", size]),
    "Gather": lambda size: ("Gather", ["flat", size]),
    "Squeeze": lambda size: ("Squeeze", ["flat", size]),
    "Unsqueeze": lambda size: ("Unsqueeze", ["flat", size]),
    "ReduceMean": lambda size: ("ReduceMean", ["flat", size]),
}
"""Operators that a computed value tells what to cut, where, or how large: what they read, with the value's name."""

BETWEEN = {
    "Add": ["zero"],
    "Mul": ["one"],
    "Max": ["one"],
    "Min": ["far"],
    "Sub": ["zero"],
    "Identity": [],
    "Abs": [],
    "Neg": [],
    "Squeeze": [],
}
"""What the value goes through on its way, and what else that reads."""


TOLD = ("ReduceMean", "ReduceMax", "ReduceSum")


def by_pixels(seed: int) -> bytes:
    """An ONNX model in which something is cut or enlarged by a value that follows from the picture."""
    dice = random.Random(seed)
    constants = [("zero", [0]), ("one", [1]), ("far", [1 << 20]), ("row", [-1]), ("all", [0, 1, 2, 3])]
    nodes = [
        helper.make_node("Cast", ["image"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("Reshape", ["pixels", "row"], ["flat"]),
        helper.make_node(
            dice.choice(("ReduceMean", "ReduceMax", "ReduceSum")), ["pixels", "all"], ["told"], keepdims=0
        ),
        helper.make_node("Cast", ["told"], ["number"], to=TensorProto.INT64),
        helper.make_node("Reshape", ["number", "row"], ["size0"]),
    ]
    name = "size0"
    for step in range(dice.randrange(4)):
        operator = dice.choice([*BETWEEN])
        following = f"size{step + 1}"
        nodes.append(helper.make_node(operator, [name, *BETWEEN[operator]], [following]))
        if operator == "Squeeze":
            nodes.append(helper.make_node("Reshape", [following, "row"], [f"{following}_row"]))
            following = f"{following}_row"
        name = following
    kind = [*SIZES][seed % len(SIZES)]
    operator, reads = SIZES[kind](name)
    nodes += [
        helper.make_node(operator, reads, ["cut", "rest"] if operator == "Split" else ["cut"]),
        helper.make_node("ReduceMean", ["cut"], ["mean"], keepdims=1),
        helper.make_node("Add", ["pixels", "mean" if dice.random() < 0.5 else "told"], ["t"]),
    ]
    return _model(nodes, constants)


def by_constants(seed: int) -> bytes:
    """An ONNX model that every picture makes huge: each step is allowed, all together are not."""
    dice = random.Random(seed)
    nodes, constants, name, values = [helper.make_node("Cast", ["image"], ["v"], to=TensorProto.FLOAT)], [], "v", 3072
    while values < 1 << 33:
        step, following = len(nodes), f"v{len(nodes)}"
        operator = dice.choice(["Tile", "Resize", "Concat", "MatMul"])
        times = dice.randrange(4, 17)
        if operator == "Tile":
            constants.append((f"c{step}", [1, times, 1, 1]))
            nodes.append(helper.make_node("Tile", [name, f"c{step}"], [following]))
        elif operator == "Resize":
            constants.append((f"c{step}", np.float32([1, 1, times, 1])))
            nodes.append(helper.make_node("Resize", [name, "", f"c{step}"], [following]))
        elif operator == "Concat":
            nodes.append(helper.make_node("Concat", [name] * times, [following], axis=1 + dice.randrange(3)))
        else:  # an outer product
            constants += [(f"c{step}", [-1, 1]), (f"d{step}", [1, -1]), (f"e{step}", [1, 1, -1, 1])]
            nodes += [
                helper.make_node("Reshape", [name, f"c{step}"], [f"{following}c"]),
                helper.make_node("Reshape", [name, f"d{step}"], [f"{following}d"]),
                helper.make_node("MatMul", [f"{following}c", f"{following}d"], [f"{following}p"]),
                helper.make_node("Reshape", [f"{following}p", f"e{step}"], [following]),
            ]
            times = values
        name, values = following, values * times
    nodes += [
        helper.make_node("ReduceMean", [name], ["mean"], keepdims=1),
        helper.make_node("Add", ["v", "mean"], ["t"]),
    ]
    return _model(nodes, constants)


def long_running(seed: int) -> bytes:
    """An ONNX model that computes for long: products of matrices in a row, or values that are slow to get."""
    dice = random.Random(seed)
    side, operator = dice.choice((8, 16, 32)), dice.choice(("MatMul", "Pow", "Exp", "Erf"))
    times = dice.randrange(2, 3_000)
    constants = [("rows", [3072, 1]), ("across", [1, side]), ("half", np.float32(0.5))]
    nodes = [
        helper.make_node("Cast", ["image"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("Reshape", ["pixels", "rows"], ["column"]),
        helper.make_node("Tile", ["column", "across"], ["v0"]),
    ]
    constants.append(("square", np.full((side, side), 1 / side, np.float32)))
    for step in range(times):
        reads = [f"v{step}", "square"] if operator == "MatMul" else [f"v{step}"]
        if operator == "Pow":
            reads.append("half")
        nodes.append(helper.make_node(operator, reads, [f"v{step + 1}"]))
    nodes.append(helper.make_node("ReduceMean", [f"v{times}"], ["mean"], keepdims=0))
    nodes.append(helper.make_node("Add", ["pixels", "mean"], ["t"]))
    return _model(nodes, constants)


def no_numbers(seed: int) -> bytes:
    """An ONNX model that gives NaN or infinity on a picture that is not grey all over."""
    dice = random.Random(seed)
    operator = dice.choice(("Sqrt", "Log", "Reciprocal", "Exp"))
    nodes = [
        helper.make_node("Cast", ["image"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["pixels"], ["mean"], keepdims=1),
        helper.make_node("Sub", ["mean", "grey"], ["off"]),
        helper.make_node("Mul", ["off", "off"], ["far"]),
        helper.make_node("Mul", ["far", "scale"], ["odd"]),
        helper.make_node(operator, ["odd"], ["number"]),
        helper.make_node("Add", ["pixels", "number"], ["t"]),
    ]
    scale = {"Exp": 1e9, "Reciprocal": 0.0}.get(operator, -1.0)
    return _model(nodes, [("grey", np.float32(127.5)), ("scale", np.float32(scale))])


def card_of(good: dict, kind: str) -> dict:
    """The card of such a model: a good one's, with other facts."""
    shape, layout = ([1, SIDE, SIDE, 3], {"onnx": "NCHW", "tflite": "NHWC"}[kind])
    good = {key: value for key, value in good.items() if key not in ("functions", "predicted_db")}
    return {
        **good,
        "submodel": {"taps": ["t"], "activation": "relu", "source": "keras"},
        "options": {**good["options"], "format": kind, "size": [SIDE, SIDE], "batch": 1},
        "weights": {"kind": "keras", "sha256": "0" * 64, "recipe": None},
        "inputs": [{"name": "image", "dtype": "uint8", "shape": shape, "layout": "NHWC"}],
        "outputs": [{"name": "t", "dtype": "float32", "shape": shape, "layout": layout}],
        "parity": None,
    }


def _model(nodes, constants) -> bytes:
    values = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants]
    inputs = [helper.make_tensor_value_info("image", TensorProto.UINT8, SHAPE)]
    outputs = [helper.make_tensor_value_info("t", TensorProto.FLOAT, SHAPE)]
    graph = helper.make_graph(nodes, "g", inputs, outputs, values)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def tensorflow_kinds(tf) -> dict[str, Callable]:
    """What a TFLite model does with a size that follows from the picture: functions of pixels and that size."""
    kernel = tf.ones((3, 3, 3, 3))
    return {
        "slice": lambda x, size: tf.slice(x, (0, 0, 0, 0), tf.stack([1, size, 2, 3])),
        "start": lambda x, size: tf.slice(x, tf.stack([0, size, 0, 0]), (1, 1, 2, 3)),
        "strided": lambda x, size: x[:, :size],
        "step": lambda x, size: x[:, ::size],
        "reshape": lambda x, size: tf.reshape(x, tf.stack([size, -1])),
        "tile": lambda x, size: tf.tile(x, tf.stack([1, size, 1, 1])),
        "pad": lambda x, size: tf.pad(x, tf.stack([[0, 0], tf.stack([size, 0]), [0, 0], [0, 0]])),
        "resize": lambda x, size: tf.image.resize(x, tf.stack([size, 4])),
        "nearest": lambda x, size: tf.image.resize(x, tf.stack([4, size]), "nearest"),
        "gather": lambda x, size: tf.gather(x, tf.stack([size]), axis=1),
        "axes": lambda x, size: tf.reduce_mean(x, tf.stack([size])),
        "transposed": lambda x, size: tf.nn.conv2d_transpose(x, kernel, tf.stack([1, size, 64, 3]), 2, "SAME"),
        "split": lambda x, size: tf.split(x, tf.stack([size, 32 - size]), 1, num=2)[0],
        "fill": lambda x, size: tf.fill(tf.stack([size]), 1.0) + x[0, 0, 0, 0],
        "range": lambda x, size: tf.cast(tf.range(size), tf.float32) + x[0, 0, 0, 0],
    }


def tflite_by_pixels(seed: int, folder: str) -> bytes:
    """A TFLite model in which something is cut or enlarged by a value that follows from the picture."""
    import tensorflow as tf

    dice = random.Random(seed)
    kinds = tensorflow_kinds(tf)
    kind = [*kinds][seed % len(kinds)]
    told = dice.choice((tf.reduce_mean, tf.reduce_max, tf.reduce_sum))
    factor, more = dice.randrange(1, 9), dice.randrange(9)

    def call(image):
        pixels = tf.cast(image, tf.float32)
        size = tf.cast(told(pixels), tf.int32) * factor + more
        return {"t": pixels + tf.reduce_mean(kinds[kind](pixels, size))}

    module = tf.Module()
    module.call = tf.function(call, input_signature=[tf.TensorSpec(SHAPE, tf.uint8, name="image")])
    tf.saved_model.save(module, folder, signatures=module.call.get_concrete_function())
    return tf.lite.TFLiteConverter.from_saved_model(folder).convert()
