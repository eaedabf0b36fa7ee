"""Sizes that the gates work out, held against what the engines compute; and models whose sizes follow from pixels."""

import re

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from fmedge.errors import ArtifactError, LimitExceeded
from fmedge.runtime.gate.onnx_operators import OPERATORS
from fmedge.runtime.gate.onnx_reader import inspect_onnx
from fmedge.runtime.gate.onnx_shapes import RULES
from fmedge.runtime.gate.tflite_operators import OPERATORS as TFLITE_OPERATORS
from fmedge.runtime.gate.tflite_reader import inspect_tflite
from fmedge.runtime.gate.tflite_shapes import RULES as TFLITE_RULES
from support import stranger_models

PICTURE = (2, 4, 13, 9)


def ints(*values):
    return np.array(values, np.int64)


def floats(*shape):
    return np.ones(shape, np.float32)


def onnx_model(shape, nodes, constants=(), outputs=("y",), opset=21, dtype=TensorProto.FLOAT):
    inputs = [helper.make_tensor_value_info("x", dtype, shape)]
    results = [onnx.ValueInfoProto(name=name) for name in outputs]
    values = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants]
    graph = helper.make_graph(nodes, "g", inputs, results, values)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)


def typed(model):
    """The same with the outputs' types, which a file has to say."""
    return onnx.shape_inference.infer_shapes(model).SerializeToString()


VALUE_BY_VALUE = (
    "Relu LeakyRelu Elu Selu Sigmoid Tanh Softplus Abs Sign Exp Neg Floor Erf Ceil Round Sqrt Log Reciprocal Softmax "
    "LogSoftmax Identity"
)

ONE = [
    *[(name, PICTURE, (), {}) for name in VALUE_BY_VALUE.split()],
    ("LRN", PICTURE, (), {"size": 3}),
    ("Clip", PICTURE, (np.float32(0), np.float32(6)), {}),
    ("PRelu", PICTURE, (floats(4, 1, 1),), {}),
    ("BatchNormalization", PICTURE, [floats(4)] * 4, {}),
    ("InstanceNormalization", PICTURE, [floats(4)] * 2, {}),
    ("LayerNormalization", PICTURE, (floats(9),), {}),
    ("Add", PICTURE, (floats(13, 1),), {}),
    ("Sub", PICTURE, (floats(1, 1, 4, 1, 1),), {}),
    ("Mul", (13, 9), (floats(2, 4, 1, 1),), {}),
    ("Div", PICTURE, (np.float32(3),), {}),
    ("Pow", PICTURE, (np.float32(2),), {}),
    ("Max", PICTURE, (floats(1), floats(5, 1, 1, 1, 1)), {}),
    ("Greater", PICTURE, (floats(9),), {}),
    ("Conv", PICTURE, (floats(6, 4, 3, 2),), {}),
    ("Conv", PICTURE, (floats(6, 2, 3, 2),), {"group": 2, "pads": [1, 0, 2, 1], "strides": [2, 3]}),
    ("Conv", PICTURE, (floats(6, 4, 3, 2),), {"dilations": [2, 3], "strides": [2, 2]}),
    ("Conv", PICTURE, (floats(6, 4, 3, 2),), {"auto_pad": "VALID", "strides": [3, 2]}),
    ("Conv", (2, 4, 13), (floats(6, 4, 3),), {}),
    ("ConvTranspose", PICTURE, (floats(4, 3, 3, 2),), {}),
    (
        "ConvTranspose",
        PICTURE,
        (floats(4, 3, 3, 2),),
        {"strides": [2, 3], "pads": [1, 0, 0, 1], "output_padding": [1, 2]},
    ),
    ("ConvTranspose", PICTURE, (floats(4, 3, 3, 2),), {"strides": [2, 2], "dilations": [2, 1], "group": 2}),
    ("ConvTranspose", PICTURE, (floats(4, 3, 3, 3),), {"strides": [2, 2], "auto_pad": "SAME_UPPER"}),
    ("ConvTranspose", PICTURE, (floats(4, 3, 3, 3),), {"strides": [2, 2], "output_shape": [26, 18]}),
    ("MaxPool", PICTURE, (), {"kernel_shape": [3, 2], "strides": [2, 2]}),
    ("MaxPool", PICTURE, (), {"kernel_shape": [3, 2], "strides": [2, 2], "ceil_mode": 1, "pads": [1, 1, 1, 0]}),
    ("MaxPool", PICTURE, (), {"kernel_shape": [2, 2], "strides": [3, 3], "ceil_mode": 1, "pads": [0, 1, 1, 1]}),
    ("MaxPool", PICTURE, (), {"kernel_shape": [3, 3], "dilations": [2, 2]}),
    ("AveragePool", PICTURE, (), {"kernel_shape": [3, 3], "auto_pad": "SAME_LOWER", "strides": [2, 2]}),
    ("AveragePool", PICTURE, (), {"kernel_shape": [4, 4], "strides": [4, 4], "ceil_mode": 1}),
    ("GlobalAveragePool", PICTURE, (), {}),
    ("GlobalMaxPool", PICTURE, (), {}),
    ("ReduceMean", PICTURE, (ints(2, 3),), {"keepdims": 0}),
    ("ReduceMean", PICTURE, (ints(-1),), {}),
    ("ReduceMax", PICTURE, (), {}),
    ("ReduceSum", PICTURE, (), {"noop_with_empty_axes": 1}),
    ("ReduceL2", PICTURE, (ints(0),), {"keepdims": 0}),
    ("MatMul", PICTURE, (floats(9, 5),), {}),
    ("MatMul", PICTURE, (floats(9),), {}),
    ("MatMul", (9,), (floats(4, 9, 5),), {}),
    ("MatMul", (4, 1, 3, 9), (floats(6, 9, 2),), {}),
    ("Gemm", (3, 5), (floats(5, 2), floats(2)), {}),
    ("Gemm", (5, 3), (floats(2, 5),), {"transA": 1, "transB": 1}),
    ("Transpose", PICTURE, (), {"perm": [0, 2, 3, 1]}),
    ("Transpose", PICTURE, (), {}),
    ("Reshape", PICTURE, (ints(0, -1, 13),), {}),
    ("Reshape", PICTURE, (ints(-1),), {}),
    ("Flatten", PICTURE, (), {}),
    ("Flatten", PICTURE, (), {"axis": -1}),
    ("Flatten", PICTURE, (), {"axis": 4}),
    ("Squeeze", (1, 4, 1), (ints(0),), {}),
    ("Squeeze", (1, 4, 1), (), {}),
    ("Unsqueeze", PICTURE, (ints(0, -1),), {}),
    ("Concat", PICTURE, (floats(2, 1, 13, 9),), {"axis": 1}),
    ("Slice", PICTURE, (ints(1, -4), ints(99, -1), ints(1, 3)), {}),
    ("Slice", PICTURE, (ints(-1), ints(-(1 << 62)), ints(2), ints(-2)), {}),
    ("Slice", PICTURE, (ints(0, 1), ints(1 << 62, 3)), {}),
    ("Gather", PICTURE, (ints(2, 1, 0, -1),), {"axis": 1}),
    ("Gather", PICTURE, (np.int64(1),), {"axis": 3}),
    ("DepthToSpace", PICTURE, (), {"blocksize": 2}),
    ("SpaceToDepth", (1, 3, 4, 6), (), {"blocksize": 2}),
    ("Shape", PICTURE, (), {}),
    ("Shape", PICTURE, (), {"start": 1, "end": -1}),
    ("Pad", PICTURE, (ints(0, 0, 1, 2, 0, 1, 3, 0),), {}),
    ("Pad", PICTURE, (ints(1, 2, 3, 4), np.float32(0), ints(2, -1)), {}),
    ("Tile", PICTURE, (ints(1, 2, 1, 3),), {}),
    ("QuantizeLinear", PICTURE, (np.float32(1), np.int8(0)), {}),
    ("Cast", PICTURE, (), {"to": TensorProto.FLOAT16}),
]
"""Operators that give one output: name, shape of what is fed, constants, options."""

MORE = {
    "Resize by factors": (PICTURE, [("Resize", ["x", "", "f"], ["y"], {})], [("f", np.float32([1, 1, 2, 1.5]))]),
    "Resize to a size": (
        PICTURE,
        [("Resize", ["x", "", "", "s"], ["y"], {"axes": [2, 3]})],
        [("s", ints(7, 20))],
    ),
    "Split in parts": (PICTURE, [("Split", ["x", "s"], ["y", "z"], {"axis": 2})], [("s", ints(5, 8))]),
    "Split in equal parts": (PICTURE, [("Split", ["x"], ["y", "z"], {"axis": 2, "num_outputs": 2})], []),
    "places of the largest": (PICTURE, [("MaxPool", ["x"], ["y", "z"], {"kernel_shape": [2, 2]})], []),
    "Where": (PICTURE, [("Greater", ["x", "t"], ["c"], {}), ("Where", ["c", "x", "t"], ["y"], {})], [("t", floats(9))]),
    "a size that follows from shapes, as tf2onnx writes it": (
        PICTURE,
        [
            ("Shape", ["x"], ["shape"], {}),
            ("Slice", ["shape", "two", "four", "zero"], ["extents"], {}),
            ("Mul", ["extents", "twice"], ["larger"], {}),
            ("Slice", ["shape", "zero", "two", "zero"], ["rest"], {}),
            ("Concat", ["rest", "larger"], ["all"], {"axis": 0}),
            ("Resize", ["x", "", "", "all"], ["y"], {"mode": "nearest"}),
        ],
        [("zero", ints(0)), ("two", ints(2)), ("four", ints(4)), ("twice", ints(2, 3))],
    ),
    "flattened for each image": (
        PICTURE,
        [
            ("Shape", ["x"], ["shape"], {}),
            ("Gather", ["shape", "first"], ["count"], {}),
            ("Unsqueeze", ["count", "axis"], ["counts"], {}),
            ("Concat", ["counts", "rest"], ["all"], {"axis": 0}),
            ("Reshape", ["x", "all"], ["y"], {}),
        ],
        [("first", np.int64(0)), ("axis", ints(0)), ("rest", ints(-1))],
    ),
    "half of a size": (
        PICTURE,
        [
            ("Shape", ["x"], ["shape"], {"start": 2}),
            ("Cast", ["shape"], ["real"], {"to": TensorProto.FLOAT}),
            ("Div", ["real", "halves"], ["half"], {}),
            ("Floor", ["half"], ["down"], {}),
            ("Cast", ["half"], ["whole"], {"to": TensorProto.INT64}),
            ("Slice", ["x", "zeros", "whole", "axes"], ["y"], {}),
        ],
        [("halves", np.float32([2, 2])), ("zeros", ints(0, 0)), ("axes", ints(2, 3))],
    ),
    "codes": (
        PICTURE,
        [
            ("QuantizeLinear", ["x", "s", "z"], ["c"], {}),
            ("QLinearConv", ["c", "s", "z", "w", "s", "z", "s", "z"], ["d"], {"strides": [2, 2]}),
            ("DequantizeLinear", ["d", "s", "z"], ["y"], {}),
        ],
        [("s", np.float32(0.1)), ("z", np.int8(0)), ("w", np.ones((5, 4, 3, 3), np.int8))],
    ),
}


def compare(model, shape):
    """Hold the shapes that are worked out against those that ONNX Runtime computes."""
    content = typed(model)
    facts = inspect_onnx(content)
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    found = session.run(None, {"x": np.ones(shape, np.float32)})
    expected = {spec.name: value.shape for spec, value in zip(session.get_outputs(), found, strict=True)}
    needs = facts.needs(shape)
    assert needs.shapes == expected
    assert needs.memory >= 4 * np.prod(shape)
    assert needs.products >= sum(value.size for value in found)


@pytest.mark.parametrize("row", ONE, ids=lambda row: f"{row[0]} {row[3]}")
def test_onnx(row):
    operator, shape, constants, options = row
    names = [f"c{index}" for index in range(len(constants))]
    node = helper.make_node(operator, ["x", *names], ["y"], **options)
    compare(onnx_model(shape, [node], zip(names, constants, strict=True)), shape)


@pytest.mark.parametrize("name", MORE)
def test_onnx_graphs(name):
    shape, nodes, constants = MORE[name]
    made = [helper.make_node(operator, reads, gives, **options) for operator, reads, gives, options in nodes]
    outputs = [output for output in ("y", "z") if any(output in gives for _, _, gives, _ in nodes)]
    compare(onnx_model(shape, made, constants, outputs), shape)


def test_every_operator_has_a_rule():
    assert set(RULES) == OPERATORS - {"Constant"}
    assert set(TFLITE_RULES) == set(TFLITE_OPERATORS.values())


def tensorflow_functions(tf):
    """Functions of a picture, (N, H, W, C), that TensorFlow's converter turns into other operators."""
    kernel = tf.ones((3, 2, 4, 6))
    return {
        "conv same": lambda x: tf.nn.conv2d(x, kernel, 2, "SAME"),
        "conv valid": lambda x: tf.nn.conv2d(x, kernel, [1, 3, 2, 1], "VALID"),
        "conv dilated": lambda x: tf.nn.conv2d(x, kernel, 1, "VALID", dilations=2),
        "conv in groups": lambda x: tf.nn.conv2d(x, tf.ones((3, 3, 2, 6)), 1, "SAME"),
        "depthwise": lambda x: tf.nn.depthwise_conv2d(x, tf.ones((3, 3, 4, 2)), [1, 2, 2, 1], "SAME"),
        "transposed": lambda x: tf.nn.conv2d_transpose(x, tf.ones((3, 3, 5, 4)), (2, 26, 18, 5), 2, "SAME"),
        "transposed, any number": lambda x: tf.nn.conv2d_transpose(
            x, tf.ones((3, 3, 5, 4)), tf.stack([tf.shape(x)[0], 27, 19, 5]), 2, "VALID"
        ),
        "pools": lambda x: tf.nn.avg_pool2d(tf.nn.max_pool2d(x, (3, 2), 2, "SAME"), 2, 2, "VALID"),
        "dense": lambda x: tf.matmul(tf.reshape(x, (-1, 13 * 9 * 4)), tf.ones((13 * 9 * 4, 7))),
        "dense of pixels": lambda x: tf.linalg.matmul(x, tf.ones((4, 7))),
        "matrices": lambda x: tf.matmul(x, x, transpose_b=True),
        "mean": lambda x: tf.reduce_mean(x, (1, 2)),
        "largest": lambda x: tf.reduce_max(x, 3, keepdims=True),
        "joined": lambda x: tf.concat([x, tf.ones((2, 13, 9, 2))], -1),
        "turned": lambda x: tf.transpose(x, (0, 3, 1, 2)),
        "halves": lambda x: tf.split(x, 2, 3)[1],
        "parts": lambda x: tf.split(x, [3, 1], 3)[1],
        "slice": lambda x: tf.slice(x, (0, 1, 2, 0), (-1, 5, -1, 2)),
        "strided": lambda x: x[:, 1:-2:3, ::-1, 2],
        "gathered": lambda x: tf.gather(x, [2, 1, 0], axis=3),
        "padded": lambda x: tf.pad(x, ((0, 0), (1, 2), (3, 0), (0, 0))),
        "mirrored": lambda x: tf.pad(x, ((0, 0), (1, 2), (3, 0), (0, 0)), "REFLECT"),
        "resized": lambda x: tf.image.resize(x, (20, 7)),
        "twice as large": lambda x: tf.image.resize(x, tf.shape(x)[1:3] * 2, "nearest"),
        "tiled": lambda x: tf.tile(x, (1, 2, 1, 3)),
        "to depth": lambda x: tf.nn.space_to_depth(x[:, :12, :8], 2),
        "to space": lambda x: tf.nn.depth_to_space(x, 2),
        "new axis": lambda x: tf.expand_dims(x, 1),
        "no axis": lambda x: tf.squeeze(x[:, :1], 1),
        "stack": lambda x: tf.stack([x, x], 2),
        "unstack": lambda x: tf.unstack(x, axis=3)[0],
        "flattened": lambda x: tf.reshape(x, tf.stack([tf.shape(x)[0], -1])),
        "chosen": lambda x: tf.where(x > 0.5, x, tf.zeros((9, 1))),
        "reversed": lambda x: tf.reverse(x, [1]),
        "values": lambda x: tf.nn.softmax(tf.nn.leaky_relu(tf.nn.elu(x) / 2 - 1) * tf.ones((13, 1, 1))),
        "norm": lambda x: tf.nn.l2_normalize(x, -1) + tf.nn.local_response_normalization(x),
    }


OPEN = ("transposed, any number", "twice as large", "flattened")
"""Those that leave extents of the picture open, and compute sizes out of them."""


@pytest.mark.parametrize("names", ["fixed", "open"])
def test_tflite(tmp_path, names):
    tf = pytest.importorskip("tensorflow")
    interpreters = pytest.importorskip("ai_edge_litert.interpreter")
    functions = {
        name: function for name, function in tensorflow_functions(tf).items() if (name in OPEN) == (names == "open")
    }
    shape = (2, 13, 9, 4)
    spec = tf.TensorSpec((None, None, None, 4) if names == "open" else shape, tf.float32, name="x")
    module = tf.Module()
    module.call = tf.function(
        lambda x: {f"y{number}": function(x) for number, function in enumerate(functions.values())},
        input_signature=[spec],
    )
    tf.saved_model.save(module, str(tmp_path), signatures=module.call.get_concrete_function())
    content = tf.lite.TFLiteConverter.from_saved_model(str(tmp_path)).convert()
    interpreter = interpreters.Interpreter(model_content=content)
    found = interpreter.get_signature_runner("serving_default")(x=np.ones(shape, np.float32))
    shapes = inspect_tflite(content).needs(shape).shapes
    for number, name in enumerate(functions):
        assert shapes[f"y{number}"] == found[f"y{number}"].shape, name
    met = {operator["op_name"] for operator in interpreter._get_ops_details()} & set(TFLITE_RULES)
    assert len(met) >= (5 if names == "open" else 35), sorted(met)


FEW, MANY = range(39), range(39, 239)
"""Seeds of the default suite: three per operator; and of the slow one."""

slow = pytest.mark.slow


def run_of(content, inspect):
    facts = inspect(content)
    return facts.needs(stranger_models.SHAPE)


def require_refused_by_pixels(content, inspect, seed):
    try:
        needs = run_of(content, inspect)
    except ArtifactError as error:
        assert re.search(r"with a size computed from values|has the operator", str(error)), (seed, str(error))
    else:
        raise AssertionError((seed, needs))


@pytest.mark.parametrize("seeds", [FEW, pytest.param(MANY, marks=slow)], ids=["few", "many"])
def test_what_pixels_say_is_no_size(seeds, cases):
    for seed in seeds:
        require_refused_by_pixels(stranger_models.by_pixels(seed), inspect_onnx, seed)
    cases("ONNX, sizes by pixels", len(seeds))


@pytest.mark.parametrize("seeds", [range(15), pytest.param(range(15, 215), marks=slow)], ids=["few", "many"])
def test_what_pixels_say_is_no_size_in_tflite(tmp_path, seeds, cases):
    pytest.importorskip("tensorflow")
    for seed in seeds:
        require_refused_by_pixels(
            stranger_models.tflite_by_pixels(seed, str(tmp_path / str(seed))), inspect_tflite, seed
        )
    cases("TFLite, sizes by pixels", len(seeds))


@pytest.mark.parametrize("seeds", [FEW, pytest.param(MANY, marks=slow)], ids=["few", "many"])
def test_what_is_huge_for_every_picture(seeds, cases):
    """Nothing of that size is allocated: the shapes alone say so."""
    for seed in seeds:
        try:
            assert run_of(stranger_models.by_constants(seed), inspect_onnx).memory > 1 << 33, seed
        except LimitExceeded as error:
            assert "Allowed" in str(error)
    cases("ONNX, huge", len(seeds))
