"""Public options: words work like members of enumerations, and anything else is refused before any work."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest

from fmedge import (
    ExportOptions,
    PageOptions,
    RunOptions,
    SubModel,
    embed,
    export_submodel,
    extract,
    extract_many,
    figure,
    open_session,
    render_page,
    render_sheet,
)
from fmedge.bench.matrix import BenchMatrix
from fmedge.data.images import load_photo
from fmedge.errors import UsageError, WeightsError
from fmedge.model.submodel import Activation, Converter, Format, Precision, artifact_name
from fmedge.workflow.request import request_artifact
from support.page_samples import make_maps, random_maps

ENUMS = [
    *((ExportOptions, {}, "format", member) for member in Format),
    *((ExportOptions, {}, "precision", member) for member in Precision),
    *((ExportOptions, {}, "converter", member) for member in Converter),
    *((SubModel, {"taps": ("block1_conv1",)}, "activation", member) for member in Activation),
]

WORDS = [
    *((ExportOptions, {}, "input_dtype", word) for word in ("uint8", "float32")),
    *((ExportOptions, {"format": "tflite"}, "output_layout", word) for word in ("NCHW",)),
    *((ExportOptions, {}, "preprocessing", word) for word in ("caffe", "tf", "torch", "unit", "none")),
    *((SubModel, {"taps": ("a",)}, "source", word) for word in ("keras",)),
    *((RunOptions, {}, "math", word) for word in ("fp32", "bf16")),
    *((PageOptions, {}, "values", word) for word in ("12bit", "float16", "float32")),
    *((PageOptions, {}, "plotlyjs", word) for word in ("embed", "cdn", "file")),
    *((PageOptions, {}, "style", word) for word in ("viewer", "grid")),
    *((BenchMatrix, {}, "activation", word) for word in ("relu", "none")),
    *((BenchMatrix, {"batch": 1}, "scenario", word) for word in ("single-stream", "offline")),
]


def _label(value: object) -> str:
    return getattr(value, "__name__", str(value))


@pytest.mark.parametrize(("kind", "rest", "name", "member"), ENUMS, ids=_label)
def test_a_word_is_the_member_of_its_enumeration(kind, rest, name, member):
    spelled, meant = kind(**rest, **{name: str(member)}), kind(**rest, **{name: member})
    assert getattr(spelled, name) is member
    assert spelled == meant
    assert hash(spelled) == hash(meant)


@pytest.mark.parametrize(("kind", "rest", "name", "word"), WORDS, ids=_label)
def test_words_that_are_allowed(kind, rest, name, word):
    assert getattr(kind(**rest, **{name: word}), name) == word


@pytest.mark.parametrize(
    ("kind", "rest", "name"),
    list({(row[0], row[2]): (row[0], row[1], row[2]) for row in (*ENUMS, *WORDS)}.values()),
    ids=_label,
)
@pytest.mark.parametrize("wrong", ["fp17", "", 16, 1.5, True, b"fp16", ["fp16"], object], ids=str)
def test_everything_else_is_refused(kind, rest, name, wrong):
    with pytest.raises(UsageError, match=r"Allowed: \w+") as caught:
        kind(**rest, **{name: wrong})
    assert name.split("_")[-1] in str(caught.value)
    assert len(str(caught.value)) <= 190


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: ExportOptions(precision="fp61"),
            "Unknown precision 'fp61'. Closest: 'fp16'. Allowed: fp32, fp16, int8",
        ),
        (lambda: ExportOptions(format="onxx"), "Unknown format 'onxx'. Closest: 'onnx'. Allowed: onnx, tflite, ncnn"),
        (
            lambda: SubModel(("block1_conv1",), "rleu"),
            "Unknown activation 'rleu'. Closest: 'relu'. Allowed: relu, none",
        ),
        (lambda: PageOptions("12bits"), "Unknown values '12bits'. Closest: '12bit'."),
        (lambda: RunOptions(math="fp16"), "Allowed: fp32, bf16."),
    ],
)
def test_the_closest_word_is_named(make, message):
    with pytest.raises(UsageError) as caught:
        make()
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        (ExportOptions, {"float_tap": "no"}),
        (ExportOptions, {"seven_bit": 1}),
        (ExportOptions, {"batch": "8"}),
        (ExportOptions, {"batch": 1.5}),
        (ExportOptions, {"batch": True}),
        (ExportOptions, {"size": 224}),
        (ExportOptions, {"size": "224x224"}),
        (ExportOptions, {"size": (224,)}),
        (ExportOptions, {"size": (224, "224")}),
        (ExportOptions, {"size": (224.0, 224)}),
        (RunOptions, {"threads": "2"}),
        (RunOptions, {"threads": True}),
        (RunOptions, {"cpus": "0,1"}),
        (RunOptions, {"cpus": 0}),
        (RunOptions, {"cpus": (0, "1")}),
        (RunOptions, {"device": None}),
        (RunOptions, {"device": 0}),
        (RunOptions, {"backend": 0}),
        (RunOptions, {"allow_fallback": "no"}),
        (RunOptions, {"spinning": None}),
        (RunOptions, {"once": 1}),
        (RunOptions, {"max_pixels": "10"}),
        (PageOptions, {"both": "no"}),
        (BenchMatrix, {"precisions": ("fp17",)}),
        (BenchMatrix, {"maths": ("fp17",)}),
        (BenchMatrix, {"batch": "1"}),
    ],
    ids=str,
)
def test_switches_and_numbers_of_a_wrong_type(kind, wrong):
    with pytest.raises(UsageError, match="Allowed: "):
        kind(**wrong)


@pytest.mark.parametrize("taps", ["block1_conv1", ("block1_conv1", 2), (None,)])
def test_layers_of_a_wrong_type(taps):
    with pytest.raises(UsageError, match="a tuple of layer names"):
        SubModel(taps)


def test_numbers_of_other_libraries_and_lists_do():
    options = ExportOptions(size=[np.int64(32), 48])
    assert options == ExportOptions(size=(32, 48))
    assert json.dumps(asdict(options))
    assert RunOptions(cpus=[0]).cpus == (0,)


@pytest.mark.parametrize("precision", ["fp16", "fp32"])
def test_what_is_written_is_what_its_name_says(precision, tmp_path):
    """A word that was taken for the default wrote float32 under the name of fp16."""
    pytest.importorskip("onnxruntime")
    import onnx

    options = ExportOptions(precision=precision, size=(32, 32))
    artifact = export_submodel("block1_conv1", weights="untrained", models=tmp_path, options=options)
    assert artifact.card.precision is Precision(precision)
    assert artifact.path.name == f"block1_conv1.relu.{precision}.untrained.32x32.onnx"
    kinds = {tensor.data_type for tensor in onnx.load(str(artifact.path)).graph.initializer if tensor.dims[:1] == [64]}
    assert kinds == {onnx.TensorProto.FLOAT16 if precision == "fp16" else onnx.TensorProto.FLOAT}
    assert artifact.card.parity is not None
    assert artifact.card.parity.gate.min_snr_db == {"fp16": 55, "fp32": 100}[precision]


def test_a_name_is_the_same_however_it_was_spelled():
    spelled = artifact_name(
        SubModel(("block1_conv1",), "none"), ExportOptions("tflite", "fp16", "tensorflow", output_layout="NHWC")
    )
    assert spelled == "block1_conv1.none.fp16.tensorflow.tflite"


@pytest.mark.parametrize("activation", ["none", Activation.NONE])
def test_functions_take_words_and_members(activation, tmp_path):
    assert request_artifact("block1_conv1", activation, models=tmp_path).submodel.activation is Activation.NONE


@pytest.mark.parametrize("wrong", ["ReLU", "", "both", 0, b"relu"])
@pytest.mark.parametrize("function", [extract, extract_many, export_submodel])
def test_functions_refuse_other_activations(function, wrong, picture, tmp_path):
    first = {} if function is export_submodel else {("images" if function is extract_many else "image"): picture}
    with pytest.raises(UsageError, match="Unknown activation"):
        function(**first, activation=wrong, weights="untrained", models=tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("wrong", ["lanczos", "", None, 1])
@pytest.mark.parametrize("function", [extract, extract_many])
def test_functions_refuse_other_ways_to_resize_before_any_export(function, wrong, picture, tmp_path):
    with pytest.raises(UsageError, match="Allowed: nearest, bilinear, bicubic, none"):
        function(picture, weights="untrained", models=tmp_path, resize=wrong)
    assert list(tmp_path.iterdir()) == []


def test_a_photo_is_opened_with_words_that_exist(picture):
    for wrong in ("lanczos", None, 1):
        with pytest.raises(UsageError, match="Unknown resize"):
            load_photo(picture, (8, 8), wrong)
    with pytest.raises(UsageError, match="max_pixels"):
        load_photo(picture, (8, 8), max_pixels="many")


@pytest.mark.parametrize("wrong", [3, ["block1_conv1", 3], b"block1_conv1"])
def test_a_layer_is_a_name(wrong, tmp_path):
    with pytest.raises(UsageError, match="layer: got"):
        extract(tmp_path, wrong, weights="untrained", models=tmp_path)


WRONG_RECORDS = {
    "options of an export": lambda maps, folder: export_submodel(models=folder, options="fp16"),
    "run of an export": lambda maps, folder: export_submodel(models=folder, run="onnxruntime"),
    "verify": lambda maps, folder: export_submodel(models=folder, verify="no"),
    "offline": lambda maps, folder: export_submodel(models=folder, offline="no"),
    "offline of extract": lambda maps, folder: extract("photo.png", models=folder, offline=1),
    "run": lambda maps, folder: extract("photo.png", models=folder, run="onnxruntime"),
    "run of many": lambda maps, folder: extract_many(["photo.png"], models=folder, run=ExportOptions()),
    "options of a page": lambda maps, folder: render_page(maps, options="grid"),
    "options of a picture": lambda maps, folder: render_sheet(maps, options={"both": True}),
    "weights": lambda maps, folder: extract("photo.png", models=folder, weights=3),
    "options of a frame": lambda maps, folder: embed(maps, options="grid"),
    "height": lambda maps, folder: embed(maps, height="720px"),
    "channel of a page": lambda maps, folder: render_page(maps, channel="3"),
    "channel of a picture": lambda maps, folder: render_sheet(maps, channel=1.0),
    "channel of a figure": lambda maps, folder: figure(maps, channel=True),
}


@pytest.mark.parametrize("label", WRONG_RECORDS)
def test_arguments_of_a_wrong_type(label, tmp_path):
    with pytest.raises(UsageError, match=r"got .* Allowed: ") as caught:
        WRONG_RECORDS[label](make_maps(random_maps(4, 2, 2)), tmp_path)
    assert str(caught.value).startswith(label.split()[0])
    assert list(tmp_path.iterdir()) == []


def test_a_session_takes_options_of_a_run(block1):
    with pytest.raises(UsageError, match=r"Allowed: fmedge.RunOptions\(...\), or None"):
        open_session(block1, "onnxruntime")


def test_weights_may_be_a_path(tmp_path):
    with pytest.raises(WeightsError, match=r"missing\.h5"):
        extract("photo.png", weights=tmp_path / "missing.h5", models=tmp_path)
