"""A ReLU that is lost, doubled or too much is found by reading the graph: no engine, no numbers."""

from copy import deepcopy
from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from fmedge.errors import ArtifactError
from fmedge.export.calibration import read_calibration
from fmedge.export.exporter import EXPORTERS, build_artifact, describe, own_artifact
from fmedge.export.int8.plan import QuantizedConv
from fmedge.export.onnx import file as onnx_file
from fmedge.export.onnx import int8 as onnx_int8
from fmedge.model.native_format import HEADER, LAYER, Flag, Kind
from fmedge.model.stock import VGG16, VGG16_LAYERS
from fmedge.model.submodel import Activation, Converter, ExportOptions, Format, Precision, SubModel, every_tap
from fmedge.runtime.gate import checks
from fmedge.runtime.gate.relu_count import IMAGE, joined, wrong_rectifiers
from fmedge.runtime.opening import open_session
from support.messages import says

ROWS = [
    pytest.param(row, precision, id=f"{row.format}-{row.converter}-{precision}")
    for row in EXPORTERS
    if VGG16 in row.sources
    for precision in row.precisions
]
BOTH = list(Activation)
DEEPEST = "block2_conv1"
"""Three convolutions and a pool deep."""


@pytest.fixture(scope="module")
def make(untrained_network, photos_folder, tmp_path_factory):
    """Makes models of 32 x 32 pixels, each once."""
    folder = tmp_path_factory.mktemp("rectifiers")
    calibration = read_calibration(photos_folder)
    made = {}

    def build(row, precision, activation, *taps):
        for package in {"litert": ["ai_edge_litert"], "export": ["tensorflow", "tf2onnx"]}.get(row.extra, []):
            pytest.importorskip(package, reason=f"needs {package}: pip install 'fmedge[{row.extra}]'")
        submodel = SubModel(taps or (DEEPEST,), activation)
        key = (row, precision, submodel)
        if key not in made:
            options = ExportOptions(row.format, precision, row.converter, size=(32, 32))
            path = folder / f"m{len(made)}{row.format.suffixes[0]}"
            made[key] = build_artifact(
                submodel, untrained_network, path, options=options, calibration=calibration, runner=None
            )
        return made[key]

    return build


class OnnxFault:
    """Changes of an ONNX file, whose ReLUs are nodes, or zero points where its convolutions give 8-bit codes."""

    def __init__(self, artifact):
        self._artifact = artifact
        self._model = onnx.load_model_from_string(artifact.model)
        nodes = self._model.graph.node
        kind = "QuantizeLinear" if artifact.card.precision is Precision.INT8 else "Relu"
        self.nodes = nodes
        self.places = [index for index, node in enumerate(nodes) if node.op_type == kind]

    def lost(self, which):
        node = self.nodes[self.places[which]]
        if node.op_type == "Relu":
            node.op_type = "Identity"
        else:
            self._model.graph.initializer.append(numpy_helper.from_array(np.uint8(128), "planted"))
            node.input[2] = "planted"

    def doubled(self, which, operator="Relu"):
        self._behind(self.places[which], operator)

    def too_much(self):
        last = max(index for index, node in enumerate(self.nodes) if node.op_type == "Conv")
        if self.nodes[last + 1 :] and self.nodes[last + 1].op_type == "QuantizeLinear":
            self.nodes[last + 1].input[2] = "zero"
        else:
            self._behind(last, "Relu")

    def _behind(self, index, operator):
        node = self.nodes[index]
        output, node.output[0] = node.output[0], "planted"
        bounds = []
        if operator == "Clip":
            self._model.graph.initializer.append(numpy_helper.from_array(np.float32(0), "lowest"))
            bounds = ["lowest"]
        steps = [helper.make_node(operator, ["planted", *bounds], [output])]
        if node.op_type == "QuantizeLinear":  # a ReLU takes no codes
            steps = [
                helper.make_node("DequantizeLinear", ["planted", "one", node.input[2]], ["wide"]),
                helper.make_node(operator, ["wide", *bounds], ["bare"]),
                helper.make_node("QuantizeLinear", ["bare", "one", node.input[2]], [output]),
            ]
        for step in reversed(steps):
            self.nodes.insert(index + 1, step)

    def artifact(self):
        return replace(self._artifact, model=self._model.SerializeToString())


class TfliteFault:
    """Changes of a TFLite file, whose ReLUs are options of convolutions and zero points of their outputs."""

    def __init__(self, artifact):
        from ai_edge_litert import schema_py_generated as schema

        self._schema = schema
        self._artifact = artifact
        self._model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(artifact.model))
        self._graph = self._model.subgraphs[0]
        codes = [code.builtinCode for code in self._model.operatorCodes]
        self._convolutions = [op for op in self._graph.operators if codes[op.opcodeIndex] == 3]

    def _fuse(self, convolution, activation, zero_point):
        convolution.builtinOptions.fusedActivationFunction = activation
        quantization = self._graph.tensors[convolution.outputs[0]].quantization
        if quantization is not None and quantization.zeroPoint is not None:
            quantization.zeroPoint = np.array([zero_point])

    def lost(self, which):
        self._fuse(self._convolutions[which], 0, 3)

    def too_much(self):
        self._fuse(self._convolutions[-1], 1, -128)

    def doubled(self, which, operator="Relu"):
        assert operator == "Relu"
        convolution, code = self._convolutions[which], self._schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = 19
        code.version = 1
        self._model.operatorCodes.append(code)
        output = convolution.outputs[0]
        tensor = deepcopy(self._graph.tensors[output])
        tensor.name = b"planted"
        self._graph.tensors.append(tensor)
        relu = self._schema.OperatorT()
        relu.opcodeIndex = len(self._model.operatorCodes) - 1
        convolution.outputs = [len(self._graph.tensors) - 1]
        relu.inputs, relu.outputs = convolution.outputs, [output]
        self._graph.operators.insert(self._graph.operators.index(convolution) + 1, relu)

    def artifact(self):
        import flatbuffers

        builder = flatbuffers.Builder(1 << 16)
        builder.Finish(self._model.Pack(builder), b"TFL3")
        return replace(self._artifact, model=bytes(builder.Output()))


class NcnnFault:
    """Changes of an ncnn graph, whose ReLUs are parameter 9 of convolutions."""

    def __init__(self, artifact):
        self._artifact = artifact
        self._lines = artifact.model.decode().split("\n")
        self._places = [index for index, line in enumerate(self._lines) if line.startswith("Convolution")]

    def lost(self, which):
        place = self._places[which]
        self._lines[place] = self._lines[place].replace(" 9=1", "")

    def too_much(self):
        self._lines[self._places[-1]] += " 9=1"

    def doubled(self, which, operator="Relu"):
        assert operator == "Relu"
        place = self._places[which]
        words = self._lines[place].split(" ")
        output, words[5] = words[5], "planted"
        self._lines[place] = " ".join(words)
        self._lines.insert(place + 1, f"ReLU planted_relu 1 1 planted {output}")
        self._lines[1] = " ".join(str(int(count) + 1) for count in self._lines[1].split())

    def artifact(self):
        return replace(self._artifact, model="\n".join(self._lines).encode())


class NativeFault:
    """Changes of a file for our own kernels, whose ReLUs are flags of convolutions: none can stand alone."""

    def __init__(self, artifact):
        self._artifact = artifact
        self._model = bytearray(artifact.model)
        count = HEADER.unpack_from(artifact.model)[1]
        rows = [HEADER.size + LAYER.size * place for place in range(count)]
        self._places = [row + 8 for row in rows if self._model[row] == Kind.CONVOLUTION]

    def lost(self, which):
        self._model[self._places[which]] &= ~Flag.RELU

    def too_much(self):
        self._model[self._places[-1]] |= Flag.RELU

    def artifact(self):
        return replace(self._artifact, model=bytes(self._model))


FAULTS = {
    Format.ONNX: OnnxFault,
    Format.TFLITE: TfliteFault,
    Format.NCNN: NcnnFault,
    Format.NATIVE: NativeFault,
}


def require_refused(fault, message):
    with pytest.raises(ArtifactError, match=message) as caught:
        checks.require_artifact(fault.artifact())
    assert caught.value.exit_code == 4
    assert len(caught.value.in_full()) <= 200
    assert caught.value.hint == "Export it again: fmedge export."


@pytest.mark.few(6)
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("row", "precision"), ROWS)
def test_planted_faults_are_found_in_the_graph(row, precision, make, cases):
    plant = FAULTS[row.format]
    relu, raw = (make(row, precision, activation) for activation in BOTH)
    for artifact in (relu, raw):
        checks.require_artifact(artifact)

    fault = plant(relu)
    fault.lost(-1)
    require_refused(fault, "2 ReLUs up to 'block2_conv1', none at its end; its card says 3 ReLUs, one at its end")
    for artifact, had, end in ((relu, 3, "one"), (raw, 2, "none")):
        fault = plant(artifact)
        fault.lost(0)
        require_refused(fault, rf"{had - 1} ReLUs? up to 'block2_conv1', {end} at its end; its card says {had} ReLUs")
        if hasattr(plant, "doubled"):
            fault = plant(artifact)
            fault.doubled(0)
            require_refused(fault, "two ReLUs in a row on the way to 'block2_conv1'")
    if hasattr(plant, "doubled"):
        fault = plant(relu)
        fault.doubled(-1)
        require_refused(fault, "two ReLUs in a row on the way to 'block2_conv1'")
    fault = plant(raw)
    fault.too_much()
    require_refused(fault, "3 ReLUs up to 'block2_conv1', one at its end; its card says 2 ReLUs, none at its end")
    for artifact, other in ((relu, raw), (raw, relu)):  # right in itself, and not what the card says
        with pytest.raises(ArtifactError, check=says("its card says")):
            checks.require_artifact(replace(artifact, model=other.model, weights=other.weights))
    cases("numbers", 9)


@pytest.mark.cases("numbers")
@pytest.mark.parametrize("operator", ["Clip", "Max"])
def test_a_relu_by_another_name(operator, make):
    """Behind a ReLU it is one too many; in place of it, as good."""
    row, _ = ROWS[0].values
    fault = OnnxFault(make(row, Precision.FP32, Activation.RELU))
    if operator == "Clip":
        fault.doubled(-1, "Clip")
        require_refused(fault, "two ReLUs in a row")
    model = onnx.load_model_from_string(make(row, Precision.FP32, Activation.RELU).model)
    model.graph.initializer.append(numpy_helper.from_array(np.float32(0), "lowest"))
    node = next(node for node in model.graph.node if node.op_type == "Relu")
    node.op_type = operator
    node.input.append("lowest")
    artifact = replace(make(row, Precision.FP32, Activation.RELU), model=model.SerializeToString())
    checks.require_artifact(artifact)
    if operator == "Clip":
        model.graph.initializer.append(numpy_helper.from_array(np.float32(6), "highest"))
        node.input.append("highest")
        with pytest.raises(ArtifactError, check=says("2 ReLUs up to")):
            checks.require_artifact(replace(artifact, model=model.SerializeToString()))


@pytest.mark.cases("numbers")
def test_a_relu_in_a_convolution_of_codes(make):
    """QLinearConv has its zero point itself; one that is left out of QuantizeLinear is the lowest."""
    row = next(row for row in EXPORTERS if row.format is Format.ONNX and Precision.INT8 in row.precisions)
    good = make(row, Precision.INT8, Activation.RELU)
    for positions, wanted in ((2, None), (3, "2 ReLUs")):
        model = onnx.load_model_from_string(good.model)
        last = [node for node in model.graph.node if node.op_type == "QuantizeLinear"][-1]
        last.input[:] = last.input[:positions]
        if wanted:
            model.graph.initializer.append(helper.make_tensor("typed", TensorProto.UINT8, [], [7]))
            last.input[2] = "typed"
            with pytest.raises(ArtifactError, match=wanted):
                checks.require_artifact(replace(good, model=model.SerializeToString()))
        else:
            checks.require_artifact(replace(good, model=model.SerializeToString()))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("row", "precision"), ROWS)
def test_models_of_several_taps(row, precision, make, cases):
    taps = ("block1_conv1", "block1_conv2")
    for activation in BOTH:
        checks.require_artifact(make(row, precision, activation, *taps))
    fault = FAULTS[row.format](make(row, precision, Activation.RELU, *taps))
    fault.lost(0)
    require_refused(fault, "ReLUs? up to 'block1_conv")
    cases("numbers", 3)


def test_it_is_told_before_an_engine_sees_the_model(make):
    row, precision = ROWS[0].values
    fault = OnnxFault(make(row, precision, Activation.RELU))
    fault.lost(-1)
    with pytest.raises(ArtifactError, check=says(r"its card says 3 ReLUs, one at its end\. Export it again")):
        open_session(fault.artifact())


def test_ways_meet():
    behind = IMAGE.convolved().relu()
    assert joined([]) is None
    assert joined([behind]) is behind
    assert joined([behind, behind.convolved()]) == behind.convolved()
    assert not behind.clamped().twice
    assert IMAGE.clamped() == IMAGE
    assert wrong_rectifiers(SubModel(("anything",), source="keras"), {}) == ""
    assert wrong_rectifiers(SubModel(("block1_conv1",)), {}).startswith("0 ReLUs up to 'block1_conv1'")


def plan_without_photos():
    """A plan of all layers with numbers of no meaning: what a graph is made of does not depend on them."""
    plan = []
    for spec in VGG16_LAYERS:
        if spec.kind == "conv":
            entering, ones = spec.in_channels + (spec.in_channels == 3), np.ones(spec.channels)
            kernel = np.zeros((3, 3, entering, spec.channels), np.int8)
            reach = np.ones((2, spec.channels))
            plan.append(QuantizedConv(spec.name, None, kernel, ones, 0 * ones, ones, reach, np.ones(2), 1.0))
    return plan


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("activation", BOTH)
@pytest.mark.parametrize(("row", "precision"), ROWS)
def test_every_cut_that_we_export_passes(row, precision, activation, make, untrained_network, tmp_path, cases):
    taps = every_tap(VGG16, activation)
    for cut in [(tap,) for tap in taps] + [taps]:
        if precision is Precision.INT8 and row.converter is Converter.DIRECT:
            options = ExportOptions(row.format, precision, row.converter, size=(32, 32))
            card = describe(SubModel(cut, activation), untrained_network, options)
            if row.format is Format.ONNX:
                model = onnx_file.finish(onnx_int8.plan_model(plan_without_photos(), card, untrained_network), card)
            else:
                pytest.importorskip("flatbuffers")
                from fmedge.export.tflite import file as tflite_file
                from fmedge.export.tflite import int8 as tflite_int8

                model = tflite_file.finish(
                    tflite_int8.plan_model(plan_without_photos(), card, untrained_network), card, ()
                )
            checks.require_artifact(own_artifact(tmp_path / "m", card, model, lasting=False))
        else:
            checks.require_artifact(make(row, precision, activation, *cut))
    cases("numbers", len(taps) + 1)
