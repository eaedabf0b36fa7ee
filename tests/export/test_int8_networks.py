"""Int8 ONNX of networks of the user's own: never less accurate than onnxruntime's own recipe."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

import fmedge
from fmedge.cli import main
from fmedge.data.images import load_photo
from fmedge.errors import BackendUnavailable, ParityError, UsageError
from fmedge.export import judging
from fmedge.export.calibration import read_calibration
from fmedge.export.exporter import build_artifact, describe
from fmedge.export.onnx import network_int8
from fmedge.export.onnx.float_model import float_model_of
from fmedge.export.onnx.quantized import recipes
from fmedge.export.onnx.quantized.graphs import run_all
from fmedge.export.onnx_source.evaluator import evaluate
from fmedge.export.onnx_source.network import network_of_proto
from fmedge.model.run_options import RunOptions
from fmedge.model.submodel import ONNX, ExportOptions, SubModel
from fmedge.runtime.engines import onnxruntime_engine
from fmedge.workflow.artifacts import run_batches
from support.int8_networks import KINDS, by_onnxruntime, network, sqnr_db

pytest.importorskip("onnxruntime")
SIZE = (32, 40)
INT8 = ExportOptions(precision="int8", preprocessing="torch", size=SIZE)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Folders of small pictures to calibrate with, and to judge by: gradients and noise, some dark, some bright."""
    folders = []
    for name, count in (("calibration", 8), ("judges", 6)):
        folder = tmp_path_factory.mktemp(name)
        generator = np.random.default_rng(len(name))
        for index in range(count):
            coarse = generator.integers(0, 256, (2 + index % 5, 3 + index % 4, 3), dtype=np.uint8)
            picture = Image.fromarray(coarse).resize(SIZE[::-1], Image.Resampling.BICUBIC)
            noise = generator.normal(0, 12, (*SIZE, 3))
            Image.fromarray(
                (np.asarray(picture) * generator.uniform(0.4, 1) + noise).clip(0, 255).astype(np.uint8)
            ).save(folder / f"{index:02}.png")
        folders.append(folder)
    return folders


@pytest.fixture(scope="module")
def make(pictures, tmp_path_factory):
    def made(model, layers="last", activation="relu", runner=run_batches, **options):
        options = ExportOptions(**{"precision": "int8", "preprocessing": "torch", "size": SIZE, **options})
        source = network_of_proto(model, options.preprocessing)
        return build_artifact(
            SubModel(tuple(layers.split("+")), activation, ONNX),
            source,
            tmp_path_factory.mktemp("made") / "m.onnx",
            options=options,
            calibration=read_calibration(pictures[0]),
            runner=runner,
        )

    return made


def float_model(model, preprocessing="torch"):
    source = network_of_proto(model, preprocessing)
    submodel = SubModel(("last",), source=ONNX)
    return float_model_of(describe(submodel, source, replace(INT8, preprocessing=preprocessing)), source)


def images_of(folder):
    return [load_photo(path, SIZE).pixels[np.newaxis] for path in sorted(folder.iterdir())]


def accuracy(artifact, source, images, backend="onnxruntime"):
    """Per tap the signal-to-noise ratio in dB, all images together."""
    true = list(run_all(source, artifact.card.submodel.taps, images))
    found = list(run_batches(artifact, images, RunOptions(backend)))
    taps = artifact.card.submodel.taps
    return {tap: sqnr_db([each[tap] for each in found], [each[tap] for each in true]) for tap in taps}


def require_at_least_theirs(make, pictures, folder, kind, backends=("onnxruntime", "openvino")):
    model = network(kind)
    preprocessing = "unit" if kind == "grey" else "torch"
    artifact = make(model, preprocessing=preprocessing)
    source, images = float_model(model, preprocessing), images_of(pictures[1])
    theirs = by_onnxruntime(source, sorted(pictures[0].iterdir()), folder)
    true = [each["last"] for each in run_all(source, ["last"], images)]
    bar = sqnr_db([each["last"] for each in run_all(theirs, ["last"], images)], true)
    for backend in backends:
        pytest.importorskip(backend)
        assert accuracy(artifact, source, images, backend)["last"] >= bar - 0.1, (kind, backend, bar)
    return artifact


@pytest.mark.parametrize("kind", ["depthwise", "add", "concat"])
def test_no_less_accurate_than_quantize_static(make, pictures, tmp_path, kind):
    artifact = require_at_least_theirs(make, pictures, tmp_path, kind)
    assert artifact.card.recipe["chosen"] != recipes.PLAIN.words
    assert "BatchNormalization" not in artifact.card.recipe["in float"]
    assert artifact.card.predicted_db["last"] > 20


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_no_less_accurate_whatever_the_network(make, pictures, tmp_path, kind):
    require_at_least_theirs(make, pictures, tmp_path, kind)


def test_operators_that_stay_float_are_named(make):
    assert "HardSigmoid x 1" in make(network("HardSwish"), runner=None).card.recipe["in float"]
    assert make(network("plain"), runner=None).card.recipe["in float"] == "nothing"


def test_the_same_photos_give_the_same_bytes(make):
    model = network("concat")
    first, again = make(model, runner=None), make(model, runner=None)
    assert first.model == again.model


@pytest.mark.parametrize(
    ("kind", "layers", "activation", "options"),
    [
        ("add", "first+last", "none", {}),
        ("clip", "last", "none", {"output_layout": "NHWC"}),
        ("plain", "last", "relu", {"seven_bit": True, "input_dtype": "float32", "batch": 2}),
        ("grey", "last", "relu", {"preprocessing": "unit"}),
        ("nhwc", "last", "relu", {"size": None}),
    ],
)
def test_forms(make, kind, layers, activation, options):
    """Taps before and after their activations, layouts, batches, and any size: what is written passes its own check."""
    artifact = make(network(kind), layers, activation, **options)
    assert artifact.card.parity.passed
    if options.get("seven_bit"):
        weights = [onnx.numpy_helper.to_array(each) for each in onnx.load_from_string(artifact.model).graph.initializer]
        assert max(abs(each.astype(int)).max() for each in weights if each.dtype == np.int8) <= 64


def test_the_image_keeps_its_own_bits(make):
    """The first operators work on bytes: nothing is computed in float before the first convolution."""
    nodes = onnx.load_from_string(make(network("plain"), runner=None).model).graph.node
    before = [node.op_type for node in nodes[: [node.op_type for node in nodes].index("Conv")]]
    assert not {"Cast", "Mul", "Sub", "QuantizeLinear"} & set(before)


@pytest.mark.parametrize("overflows", [False, True])
def test_wide_sums_change_nothing(make, pictures, monkeypatch, overflows):
    """What is requested of ONNX Runtime on processors without VNNI works for these graphs too."""
    model = network("depthwise")
    artifact = make(model)
    monkeypatch.setattr(onnxruntime_engine, "int8_overflows", lambda *_: overflows)
    found = accuracy(artifact, float_model(model), images_of(pictures[1]))["last"]
    assert found > 20


def test_a_model_that_is_made_wrongly_is_noticed(make, monkeypatch):
    """Weights that are rounded to something else: onnxruntime's own recipe, which is always tried, then is the best."""
    right = recipes.round_weights

    def wrong(model, *arguments, **settings):
        rounded = right(model, *arguments, **settings)
        for tensor in rounded.model.graph.initializer:
            if tensor.name == "last.weight":
                values = onnx.numpy_helper.to_array(tensor)[:, ::-1]
                tensor.CopyFrom(onnx.numpy_helper.from_array(values.copy(), tensor.name))
        return rounded

    monkeypatch.setattr(recipes, "round_weights", wrong)
    assert make(network("plain"), runner=None).card.recipe["chosen"] == recipes.PLAIN.words


def test_an_engine_that_computes_something_else_is_noticed(make):
    def wrong(artifact, sets):
        for found in run_batches(artifact, sets):
            yield {name: values * 0.8 for name, values in found.items()}

    with pytest.raises(ParityError, match="does not compute"):
        make(network("plain"), runner=wrong)


def test_the_model_is_verified_again(make, tmp_path):
    model = network("add")
    artifact = make(model)
    again = judging.check(artifact, network_of_proto(model, "torch"), run_batches)
    assert again.passed
    assert again.gate.reason.startswith("4 dB less than the model gives")


def test_refusals(make, pictures, monkeypatch, tmp_path):
    path = tmp_path / "net.onnx"
    onnx.save(network("plain"), path)
    options = fmedge.ExportOptions(precision="int8", preprocessing="torch")
    with pytest.raises(UsageError, match="int8 takes its ranges from photos"):
        fmedge.export_submodel("last", onnx=path, options=options, models=tmp_path)
    few = tmp_path / "few"
    few.mkdir()
    for name in sorted(pictures[0].iterdir())[:3]:
        (few / name.name).write_bytes(name.read_bytes())
    with pytest.raises(UsageError, match="holds 3 usable photos"):
        fmedge.export_submodel("last", onnx=path, options=options, models=tmp_path, calibration=few)
    with pytest.raises(UsageError, match="tap float needs stock weights"):
        make(network("plain"), float_tap=True)
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    monkeypatch.delitem(__import__("sys").modules, network_int8.__name__)
    monkeypatch.delitem(__import__("sys").modules, "fmedge.export.onnx.quantized.graphs")
    with pytest.raises(BackendUnavailable, match="Making onnx int8 by direct needs packages not installed"):
        make(network("plain"), runner=None)


@pytest.mark.keras
def test_keras_models(pictures, tmp_path):
    """Preprocessing that is a layer of the model moves into the weights as well."""
    pytest.importorskip("tensorflow")
    from support.keras_models import chain, conv, layers

    model = chain(
        layers.Rescaling(1 / 127.5, offset=-1),
        conv("first", 8, strides=2, padding="same"),
        layers.BatchNormalization(),
        layers.ReLU(6),
        layers.DepthwiseConv2D(3, name="deep"),
        layers.ReLU(name="end"),
        shape=(*SIZE, 3),
    )
    options = fmedge.ExportOptions(precision="int8", output_layout="NHWC")
    artifact = fmedge.export_submodel("end", keras=model, options=options, calibration=pictures[0], models=tmp_path)
    assert artifact.card.parity.passed
    assert artifact.card.recipe["in float"] == "nothing"


def test_quantized_operators_are_computed_as_onnx_defines_them():
    """Halves go to the even code, and codes end where their type does."""
    scale, zero = numpy_helper.from_array(np.array(0.5, "f"), "s"), numpy_helper.from_array(np.array(10, "u1"), "z")
    graph = helper.make_graph(
        [
            helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
            helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"]),
        ],
        "codes",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [5])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [5])],
        [scale, zero],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    (found,) = evaluate(model, {"x": np.array([0.25, 0.75, -9.0, 200.0, 1.0])})
    assert found.tolist() == [0.0, 1.0, -5.0, 122.5, 1.0]


def test_the_command_line(pictures, tmp_path, capsys):
    path = tmp_path / "net.onnx"
    onnx.save(network("plain"), path)
    words = ["--onnx", str(path), "--preprocessing", "torch", "--models", str(tmp_path), "--layer", "last"]
    assert main(["export", *words, "--precision", "int8", "--calibration", str(pictures[0])]) == 0
    (written,) = tmp_path.glob("last.*.int8.*.onnx")
    capsys.readouterr()
    assert main(["info", str(written)]) == 0
    assert "recipe: chosen" in capsys.readouterr().out
    assert main(["verify", str(written), "--onnx", str(path)]) == 0
