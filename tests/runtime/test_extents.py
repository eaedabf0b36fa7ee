"""Models in which an operator leaves nothing over: one line, in every format and on every engine."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from fmedge.cli import main
from fmedge.errors import FmedgeError, UsageError
from fmedge.model.artifact import write_artifact
from fmedge.model.card import TensorSpec, WeightsFacts
from fmedge.model.run_options import RunOptions
from fmedge.model.submodel import KERAS, ExportOptions, Format, SubModel
from fmedge.runtime.gate.bounds import Needs
from fmedge.runtime.opening import open_session
from fmedge.runtime.session import Session
from support.builds import build_with
from support.hostile import constant

IMAGES = np.full((1, 32, 32, 3), 80, np.uint8)
KERNEL = constant("k", np.ones((1, 3, 40, 40)), np.float32)
NODES = {
    "slice": (("Slice", "zero", "zero", "axis"), {}),
    "slice behind the end": (("Slice", "far", "end", "axis"), {}),
    "step that has no opposite": (("Slice", "zero", "end", "axis", "least"), {}),
    "split": (("Split", "parts"), {"axis": 2}),
    "gather": (("Gather", "none"), {"axis": 2}),
    "reshape": (("Reshape", "empty"), {"allowzero": 1}),
    "resize": (("Resize", "", "scales"), {}),
    "negative pad": (("Pad", "minus"), {}),
    "max pool": (("MaxPool",), {"kernel_shape": [40, 40]}),
    "average pool": (("AveragePool",), {"kernel_shape": [40, 40]}),
    "convolution": (("Conv", "k"), {}),
    "tile": (("Tile", "never"), {}),
}
"""Operators on (N, 3, 32, 32): what they read, by name, and their attributes."""

CONSTANTS = [
    *(constant("zero", [0]), constant("axis", [2]), constant("far", [99]), constant("end", [1 << 62])),
    *(constant("least", [-(1 << 63)]), constant("parts", [0, 32]), constant("none", np.zeros(0))),
    *(constant("empty", [1, 3, 0, 32]), constant("scales", [1, 1, 0.01, 0.01], np.float32)),
    *(constant("minus", [0, 0, -16, 0, 0, 0, -16, 0]), constant("never", [1, 1, 0, 1]), KERNEL),
]


def stranger(path, model, card, kind=Format.ONNX):
    """An artifact of a model that is nobody's stock network: one output ``t`` of open size."""
    options = ExportOptions(kind, size=(32, 32))
    shape = (None, 1, None, None) if kind is Format.ONNX else (1, None, None, 1)
    facts = replace(
        card,
        submodel=SubModel(("t",), source=KERAS),
        options=options,
        weights=WeightsFacts("keras", "0" * 64),
        inputs=(TensorSpec("image", "uint8", (None, 32, 32, 3), "NHWC"),),
        outputs=(TensorSpec("t", "float32", shape, options.layout),),
        parity=None,
    )
    return write_artifact(path, model, facts)


@pytest.fixture(params=NODES)
def empty(request, block1, tmp_path):
    """An ONNX model that gives nothing."""
    (operator, *names), attributes = NODES[request.param]
    results = ["y", "rest"] if operator == "Split" else ["y"]
    nodes = [
        helper.make_node("Cast", ["image"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["f"], ["x"], perm=[0, 3, 1, 2]),
        helper.make_node(operator, ["x", *names], results, **attributes),
        helper.make_node("ReduceMean", ["y"], ["t"], axes=[1], keepdims=1),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["n", 32, 32, 3])],
        [helper.make_tensor_value_info("t", TensorProto.FLOAT, ["n", 1, "h", "w"])],
        [each for each in CONSTANTS if each.name in names],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return stranger(tmp_path / "empty.onnx", model.SerializeToString(), block1.card)


@pytest.mark.few(6)
@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_an_onnx_model_that_gives_nothing_is_refused(empty, backend):
    pytest.importorskip(backend, reason=f"needs {backend}")
    with pytest.raises(FmedgeError) as caught, open_session(empty, RunOptions(backend=backend)) as session:
        session.run(IMAGES)
    assert caught.value.exit_code in (4, 7)
    assert str(caught.value).isprintable()


@pytest.mark.few(6)
def test_a_run_says_one_line_of_it(empty, picture, capfd):
    assert main(["run", str(picture), "--model", str(empty.path)]) in (4, 7)
    said = capfd.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert "Error: " in said.err


class Nothing:
    """An engine that gives a tap of no rows, in the model's layout."""

    name = active_provider = "nothing"
    errors = ()
    owned = True

    def __init__(self, shape):
        self.shape = shape
        self.placement = {}

    def compute(self, images, out):
        del images, out
        return {"t": np.zeros(self.shape, np.float32)}

    def close(self):
        pass


@pytest.mark.parametrize(
    ("kind", "shape"), [(Format.TFLITE, (1, 0, 32, 1)), (Format.NCNN, (1, 1, 32, 0)), (Format.ONNX, (1, 1, 0, 0))]
)
def test_no_engines_nothing_passes_a_session(block1, tmp_path, kind, shape):
    artifact = stranger(tmp_path / f"m{kind.suffixes[0]}", b"", block1.card, kind)
    session = Session(Nothing(shape), artifact.card, 1, "fp32", None, lambda _: Needs({"t": shape}, 0, 0))
    with pytest.raises(FmedgeError, match="output 't' is empty"):
        session.run(IMAGES)


@pytest.mark.parametrize(
    ("kind", "backend"),
    [(Format.ONNX, "onnxruntime"), (Format.ONNX, "openvino"), (Format.NCNN, "ncnn"), (Format.TFLITE, "litert")],
)
def test_images_smaller_than_the_pools_are_refused(untrained_network, kind, backend):
    pytest.importorskip("ai_edge_litert" if backend == "litert" else backend, reason=f"needs {backend}")
    artifact = build_with(untrained_network, None, "block2_conv1", size=None, format=kind)
    with open_session(artifact, RunOptions(backend=backend)) as session:
        for height, width in ((1, 1), (1, 5), (5, 1)):
            with pytest.raises(UsageError, match=f"{height} x {width} are too small for block2_conv1.*2 x 2 or larger"):
                session.run(np.zeros((1, height, width, 3), np.uint8))
        assert session.run(np.zeros((1, 2, 3, 3), np.uint8))["block2_conv1"].shape == (1, 128, 1, 1)


def test_what_is_left_over_is_run(block1, tmp_path):
    nodes = [
        helper.make_node("Cast", ["image"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["f"], ["x"], perm=[0, 3, 1, 2]),
        helper.make_node("Slice", ["x", "zero", "one", "axis"], ["y"]),
        helper.make_node("ReduceMean", ["y"], ["t"], axes=[1], keepdims=1),
    ]
    ends = [helper.make_tensor_value_info("image", TensorProto.UINT8, ["n", 32, 32, 3])]
    taps = [helper.make_tensor_value_info("t", TensorProto.FLOAT, ["n", 1, "h", "w"])]
    constants = [constant("zero", [0]), constant("one", [1]), constant("axis", [2])]
    model = helper.make_model(
        helper.make_graph(nodes, "g", ends, taps, constants),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    onnx.checker.check_model(model)
    artifact = stranger(tmp_path / "row.onnx", model.SerializeToString(), block1.card)
    with open_session(artifact) as session:
        maps = session.run(IMAGES)["t"]
    assert maps.shape == (1, 1, 1, 32)
    assert (maps == 80).all()
