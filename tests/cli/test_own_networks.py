"""A Keras model and an ONNX network in every command and on every engine, as stock networks are."""

import json

import numpy as np
import onnx
import pytest

from fmedge.errors import UsageError
from fmedge.export.exporter import find_exporter
from fmedge.model.parity import GATES, measure_parity
from fmedge.model.stock import APPLICATIONS, STOCK
from fmedge.model.submodel import KERAS, ONNX, ExportOptions
from fmedge.runtime.backends import BACKENDS
from support.onnx_networks import residual

NETWORKS = [pytest.param(KERAS, marks=pytest.mark.keras), ONNX]
LAYERS = {
    KERAS: {"first": lambda x: np.maximum(x, 0), "second": lambda x: 1 / (1 + np.exp(-x))},
    ONNX: {"layer1.0.conv1": lambda x: x / (1 + np.exp(-x)), "head.conv": lambda x: np.where(x < 0, 0.2 * x, x)},
}
"""Two layers of each, and their activations: ReLU and sigmoid; SiLU in two operators and LeakyReLU."""

BOTH = {KERAS: "first", ONNX: "stem.bn"}
"""A layer with ReLU, of which a page can show both sides."""


def takes(backend, source):
    """How an engine's file is written; None for one that takes only chains of convolutions, which these are not."""
    if backend.special:
        return None
    try:
        return find_exporter(source, ExportOptions(backend.formats[0]))
    except UsageError:
        return None


def engines(source):
    return [row.name for row in BACKENDS if row.installed and takes(row, source)]


ENGINES = [
    pytest.param(source, row.name, marks=pytest.mark.keras if source == KERAS else ())
    for source in (KERAS, ONNX)
    for row in BACKENDS
    if takes(row, source)
]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return tmp_path_factory.mktemp("networks")


@pytest.fixture
def chosen(files):
    """The options that name a network of that source, with its folder of models."""

    def flags(source):
        path = files / f"network.{source}"
        if not path.exists():
            if source == ONNX:
                onnx.save(residual(shape=("batch", 3, 40, 56)), path)
            else:
                pytest.importorskip("tensorflow", reason="needs TensorFlow: pip install 'fmedge[export]'")
                from support.keras_models import chain, conv

                chain(
                    conv("first", activation="relu"), conv("second", 6, activation="sigmoid"), shape=(40, 56, 3)
                ).save(path)
        return (f"--{source}", path, "--preprocessing", "unit", "--models", files / "models")

    return flags


@pytest.mark.few(4)
@pytest.mark.parametrize(("source", "engine"), ENGINES)
def test_two_layers_at_once_and_both_sides_of_an_activation(
    fmedge_inprocess, tmp_path, picture, chosen, source, engine
):
    pytest.importorskip(next(row for row in BACKENDS if row.name == engine).package)
    asked = ("run", picture, *chosen(source), "--backend", engine)
    found = {}
    for activation in ("relu", "none"):
        folder = tmp_path / activation
        fmedge_inprocess(
            *(*asked, "--layer", "+".join(LAYERS[source]), "--activation", activation),
            *("--save-maps", folder, "--output", folder),
        )
        assert len(list(folder.glob("*.html"))) == 2
        for path in folder.glob("*.npz"):
            with np.load(path) as archive:
                found[str(archive["layer"]), activation] = archive["maps"]
    for layer, function in LAYERS[source].items():
        expected = function(found[layer, "none"].astype(np.float64))
        assert measure_parity(found[layer, "relu"], expected, GATES["fp32"]).passed, layer
    page = tmp_path / "both.html"
    fmedge_inprocess(*asked, "--layer", BOTH[source], "--activation", "both", "--output", page)
    assert page.exists()


@pytest.mark.parametrize(("source", "engine"), ENGINES)
def test_verify(fmedge_inprocess, files, chosen, source, engine):
    row = next(row for row in BACKENDS if row.name == engine)
    pytest.importorskip(row.package)
    flags = chosen(source)
    made = fmedge_inprocess("export", *flags, "--layer", [*LAYERS[source]][1], "--format", row.formats[0])
    model = made.stdout.splitlines()[0]
    assert "dB" in fmedge_inprocess("verify", model, *flags[:2], "--backend", engine).stdout
    other = files / f"other.{source}"
    other.write_bytes(flags[1].read_bytes() + b"\0")
    found = fmedge_inprocess("verify", model, f"--{source}", other, code=4)
    assert "Error: " in found.stderr


@pytest.mark.parametrize("source", NETWORKS)
def test_bench(fmedge_inprocess, chosen, source):
    quick = ("--runs", "1", "--seconds", "0", "--processes", "1", "--threads", "1", "--json")
    found = fmedge_inprocess("bench", *chosen(source), "--layer", ",".join(LAYERS[source]), *quick)
    report = json.loads(found.stdout)
    measured = [each["configuration"] for each in report["measurements"]]
    assert sorted((each["backend"], each["layer"]) for each in measured) == sorted(
        (engine, layer) for engine in engines(source) for layer in LAYERS[source]
    )
    assert {tuple(each["size"]) for each in measured} == {(40, 56)}
    assert all(each["reason"].startswith("Cannot write") for each in report["missing"])


@pytest.mark.few(1)
@pytest.mark.parametrize("source", NETWORKS)
def test_tune_and_run_what_it_chose(fmedge_inprocess, chosen, source, picture):
    asked = (*chosen(source), "--layer", next(iter(LAYERS[source])))
    quick = ("--seconds", "0", "--threads", "1")
    (tuned,) = json.loads(fmedge_inprocess("tune", *asked, *quick, "--json").stdout)
    assert {each["backend"] for each in tuned["front"]} <= set(engines(source))
    for words in (("--tuned",), ()):
        assert "Tuned choice: " in fmedge_inprocess("run", picture, *asked, "--no-page", *words).stderr
    others = [each if each != "unit" else "none" for each in asked]
    assert "Tuned choice: " not in fmedge_inprocess("run", picture, *others, "--no-page").stderr


@pytest.mark.parametrize("source", NETWORKS)
def test_diff(fmedge_inprocess, tmp_path, chosen, source, picture):
    first, second = engines(source)[:2]
    page = tmp_path / "difference.html"
    found = fmedge_inprocess(
        *("diff", first, second, picture, *chosen(source), "--layer", "+".join(LAYERS[source])),
        *("--min-snr", "90", "--output", page, "--json"),
    )
    layers = json.loads(found.stdout)["layers"]
    assert [each["layer"] for each in layers] == list(LAYERS[source])
    assert page.exists()


def test_networks_exclude_each_other(fmedge_inprocess, chosen, picture):
    asked = chosen(ONNX)[:2]
    for words in (
        ("run", picture),
        ("export",),
        ("layers",),
        ("bench",),
        ("tune",),
        ("diff", "onnxruntime", "openvino", picture),
    ):
        found = fmedge_inprocess(*words, *asked, "--network", "vgg19", code=2)
        assert "--network, --keras and --onnx exclude each other" in found.stderr


@pytest.mark.keras
def test_a_network_of_keras_applications_with_a_file_of_its_weights(fmedge_inprocess, tmp_path):
    pytest.importorskip("tensorflow", reason="needs TensorFlow: pip install 'fmedge[export]'")
    from fmedge.export.tensorflow.keras_import import keras

    file = tmp_path / "mobile.weights.h5"
    keras.applications.MobileNet(weights=None, include_top=False, alpha=1.0, input_shape=(64, 64, 3)).save_weights(file)
    chosen = ("--network", "MobileNet", "--weights", file)
    form = ("--layer", "conv1", "--size", "64", "--preprocessing", "tf", "--models", tmp_path)
    made = fmedge_inprocess("export", *chosen, *form)
    (model,) = made.stdout.splitlines()
    assert "parity: 1" in made.stderr
    assert "dB" in fmedge_inprocess("verify", model, *chosen).stdout
    rows = json.loads(fmedge_inprocess("layers", *chosen[:2], "--json").stdout)
    assert rows[0]["name"] == "conv1"
    assert (
        "does not hold the weights of Xception"
        in fmedge_inprocess("export", "--network", "xception", "--weights", file, *form, code=4).stderr
    )
    refused = fmedge_inprocess("export", "--network", "mobilenet", *form, code=2)
    assert "--network mobilenet needs a file of its weights" in refused.stderr


@pytest.mark.keras
def test_the_names_of_keras_applications_are_known():
    pytest.importorskip("tensorflow", reason="needs TensorFlow: pip install 'fmedge[export]'")
    from fmedge.export.tensorflow.keras_applications import application_names

    assert {*APPLICATIONS, *STOCK} == {name.lower() for name in application_names()}


def test_several_formats_and_precisions_leave_out_what_nothing_writes(fmedge_inprocess, chosen, photos_folder):
    asked = ("export", *chosen(ONNX), "--layer", "stem.conv", "--no-verify", "--calibration", photos_folder)
    made = fmedge_inprocess(*asked, "--format", "onnx,ncnn", "--precision", "fp32,int8")
    assert "Left out, since nothing writes it from this network: ncnn int8." in made.stderr
    assert [line.rpartition("/")[2].count("int8") for line in made.stdout.splitlines()] == [0, 1, 0]
    alone = fmedge_inprocess(*asked, "--format", "ncnn", "--precision", "fp32,int8", code=2)
    assert "Cannot write ncnn int8" in alone.stderr
