"""ncnn models of the user's own networks, by pnnx: they compute what the network does, or are refused in one line."""

import os
import sys
import time
from importlib.util import find_spec
from itertools import pairwise

import numpy as np
import onnx
import pytest

import fmedge
from fmedge.data.images import parity_image
from fmedge.errors import BackendUnavailable, FmedgeError, LimitExceeded, ParityError, UsageError
from fmedge.export.ncnn import pnnx
from fmedge.model.known_models import forget
from fmedge.model.ncnn_format import blob_of, name_of
from fmedge.model.parity import GATES, measure_parity
from fmedge.model.run_options import RunOptions
from fmedge.workflow.artifacts import run_batches
from support.messages import says
from support.ncnn_networks import NETWORKS, grey, inverted, odd
from support.onnx_networks import Writer, residual
from support.places import TEST_DATA

TORCH = {"preprocessing": "torch"}
SLOW = pytest.mark.slow

pytestmark = [
    pytest.mark.skipif(find_spec("ncnn") is None, reason="needs ncnn: pip install 'fmedge[ncnn]'"),
    pytest.mark.skipif(find_spec("pnnx") is None, reason=f"needs pnnx: {pnnx.INSTALL}"),
]


def options(**more):
    return fmedge.ExportOptions(format="ncnn", **more)


def computed(model, layer, image, activation="relu", **more):
    """What ONNX Runtime computes for the same sub-model as ONNX."""
    artifact = fmedge.export_submodel(layer, activation, onnx=model, options=fmedge.ExportOptions(**more), verify=False)
    return next(run_batches(artifact, [image]))


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.setenv("FMEDGE_MODELS", str(tmp_path / "models"))


BOTH = ("inverted", "excited", "grey")
KINDS = [
    pytest.param(name, precision, marks=[] if name in BOTH or (precision == "fp32" and name != "raw") else SLOW)
    for name in NETWORKS
    for precision in ("fp32", "fp16")
]


@pytest.mark.few(6)
@pytest.mark.parametrize(("name", "precision"), KINDS)
def test_kinds_of_networks(name, precision):
    network = NETWORKS[name]
    artifact = fmedge.export_submodel(
        network.layers, network.activation, onnx=network.model, options=options(precision=precision, **network.options)
    )
    card = artifact.card
    assert card.parity.snr_db >= GATES[precision].min_snr_db
    assert card.recipe.get("weights", "float32") == {"fp32": "float32", "fp16": "float16"}[precision]
    assert card.tools.keys() == {"fmedge", "onnx", "pnnx"}
    images = np.stack([parity_image(*card.options.size), parity_image(*card.options.size)[::-1]])
    found = next(run_batches(artifact, [images]))
    expected = computed(network.model, network.layers, images, network.activation, **network.options)
    for tap in network.layers:
        assert measure_parity(found[tap], expected[tap], GATES[precision]).passed


def test_a_foreign_model_runs_elsewhere_and_gives_the_same():
    artifact = fmedge.export_submodel(["stem.conv", "mean"], onnx=residual(), options=options(**TORCH))
    image = parity_image(40, 56)[np.newaxis]
    ours = next(run_batches(artifact, [image]))
    forget(artifact.card)
    theirs = next(run_batches(artifact, [image], run=RunOptions("ncnn", threads=1)))
    for name, maps in ours.items():
        np.testing.assert_allclose(theirs[name], maps, rtol=1e-4, atol=1e-5)


def test_two_taps_of_one_tensor():
    layers = ["/stem/bn/BatchNormalization", "/stem/act/Relu", "layer1.0"]
    artifact = fmedge.export_submodel(layers, onnx=residual(), options=options(**TORCH))
    found = next(run_batches(artifact, [parity_image(40, 56)[np.newaxis]]))
    np.testing.assert_array_equal(found[layers[0]], found[layers[1]])


def test_the_image_itself_is_no_layer():
    with pytest.raises(UsageError, match="lost a tap"):
        fmedge.export_submodel("to_nchw", onnx=NETWORKS["channels last"].model, options=options(preprocessing="unit"))


def test_any_size():
    model = residual()
    artifact = fmedge.export_submodel(["stem.conv", "head.conv"], onnx=model, options=options(size=None, **TORCH))
    assert artifact.card.outputs[-1].shape == (None, 12, None, None)
    for height, width in ((40, 56), (64, 96), (33, 71)):
        image = parity_image(height, width)[np.newaxis]
        found = next(run_batches(artifact, [image]))
        expected = computed(model, ["stem.conv", "head.conv"], image, size=(height, width), **TORCH)
        for name, maps in found.items():
            assert measure_parity(maps, expected[name], GATES["fp32"]).passed


def test_a_network_of_one_size_alone_is_refused_as_one_of_any():
    with pytest.raises(FmedgeError) as caught:
        fmedge.export_submodel("end", onnx=NETWORKS["shuffled"].model, options=options(size=None, **TORCH))
    assert "\n" not in caught.value.in_full()


@pytest.mark.parametrize("form", [{"input_dtype": "float32"}, {"batch": 3}, {"precision": "fp16", "batch": 1}], ids=str)
def test_forms(form):
    chosen = options(preprocessing="caffe", **form)
    artifact = fmedge.export_submodel("sum", onnx=inverted(), options=chosen, verify=False)
    images = np.stack([np.roll(parity_image(24, 32), turn, axis=1) for turn in range(form.get("batch", 2))])
    images = images.astype(form.get("input_dtype", "uint8"))
    found = next(run_batches(artifact, [images]))["sum"]
    expected = computed(inverted(), "sum", images, preprocessing="caffe", input_dtype=form.get("input_dtype", "uint8"))
    assert measure_parity(found, expected["sum"], GATES[form.get("precision", "fp32")]).passed


def test_the_luma_is_that_of_pillow():
    from PIL import Image

    artifact = fmedge.export_submodel("stem", "none", onnx=grey(), options=options(preprocessing="none"))
    image = parity_image(24, 20)
    luma = np.asarray(Image.fromarray(image).convert("L"))
    found = next(run_batches(artifact, [image[np.newaxis]]))["stem"]
    again = next(run_batches(artifact, [np.stack([luma] * 3, axis=-1)[np.newaxis]]))["stem"]
    np.testing.assert_array_equal(found, again)


def test_the_same_bytes():
    one, two = (
        fmedge.export_submodel(layers, onnx=residual(), options=options(precision="fp16", **TORCH), verify=False)
        for layers in [["stem.conv", "head.conv"]] * 2
    )
    assert (one.model, one.weights) == (two.model, two.weights)
    lines = one.model.decode().splitlines()
    assert lines[-1].startswith("#fmedge_card ")
    assert "converter" not in one.path.name
    assert "pnnx" not in one.path.name


@pytest.mark.parametrize("name", ["a/b.c:d e", "größe", "%25", "in0", "t1"])
def test_names_of_taps(name):
    assert name_of(blob_of(name)) == name
    write = Writer()
    values = write.conv("input", 3, 4, module="first", name="first")
    model = write.model((1, 3, 12, 12), write.conv(values, 4, 2, module="second", name=name))
    layers = ["first", name]
    artifact = fmedge.export_submodel(layers, "none", onnx=model, options=options(preprocessing="caffe"), verify=False)
    image = parity_image(12, 12)[np.newaxis]
    found = next(run_batches(artifact, [image]))
    expected = computed(model, layers, image, "none", preprocessing="caffe")
    for tap in layers:
        assert measure_parity(found[tap], expected[tap], GATES["fp32"]).passed


def test_a_name_too_long():
    write = Writer()
    model = write.model((1, 3, 12, 12), write.conv("input", 3, 4, module="first", name="n" * 201))
    with pytest.raises(UsageError, match="too long for ncnn"):
        fmedge.export_submodel("n" * 201, onnx=model, options=options(preprocessing="none"))


@pytest.mark.parametrize("kind", ["ThresholdedRelu", "Softsign"])
def test_operators_without_a_layer_are_named(kind):
    with pytest.raises(UsageError, check=says(rf"{kind} \('odd one'\) becomes no ncnn layer .*--format onnx")):
        fmedge.export_submodel("end", onnx=odd(kind), options=options(preprocessing="unit"))
    fmedge.export_submodel("stem", "none", onnx=odd(kind), options=options(preprocessing="unit"), verify=False)


def test_weights_too_large_for_float16(tmp_path):
    model = inverted()
    (large,) = [tensor for tensor in model.graph.initializer if tensor.name == "depth.weight"]
    large.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(large) * 1e6, large.name))
    with pytest.raises(ParityError, match=r"'depth_?.weight' holds values too large for float16"):
        fmedge.export_submodel("sum", onnx=model, options=options(precision="fp16", preprocessing="tf"), verify=False)
    assert not list((tmp_path / "models").iterdir())


def test_without_pnnx(monkeypatch, tmp_path):
    monkeypatch.setattr(pnnx, "find_spec", lambda name: None)
    with pytest.raises(BackendUnavailable, check=says("needs pnnx.*pip install --no-deps pnnx")):
        fmedge.export_submodel("sum", onnx=inverted(), options=options(preprocessing="tf"))
    assert not list((tmp_path / "models").iterdir())


def _stand_in(folder, text, monkeypatch):
    """A program in pnnx' place."""
    program = folder / "stand-in"
    program.write_text(f"#!{sys.executable}\nimport os, sys, time\n{text}\n")
    program.chmod(0o755)
    monkeypatch.setattr(pnnx, "_program", lambda: program)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("os.kill(os.getpid(), 11)", "ended by signal 11"),
        ("print('\\x1b[1mno such op\\x1b[m'); sys.exit(3)", "cannot convert the network: no such op"),
        ("sys.exit(0)", "cannot convert the network: exit code 0"),
        ("open('model.ncnn.param', 'w').write('7767517\\n0 0\\n'); open('model.ncnn.bin', 'w')", "lost a tap"),
        ("open('model.ncnn.param', 'w').write('\\n\\nReLU a 1 1 b c'); open('model.ncnn.bin', 'w')", "cannot be read"),
        ("open('model.ncnn.param', 'w').write('\\n\\nReLU a'); open('model.ncnn.bin', 'w')", "cannot be read"),
        ("open('model.ncnn.param', 'w').write('odd'); open('model.ncnn.bin', 'w')", "lost a tap"),
    ],
)
def test_what_pnnx_says_when_it_fails(text, message, monkeypatch, tmp_path):
    _stand_in(tmp_path, text, monkeypatch)
    with pytest.raises(UsageError, check=says(message)):
        fmedge.export_submodel("sum", onnx=inverted(), options=options(preprocessing="tf"))
    assert not list((tmp_path / "models").iterdir())


def test_pnnx_is_ended_when_it_takes_too_long(monkeypatch, tmp_path):
    _stand_in(tmp_path, f"open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); time.sleep(600)", monkeypatch)
    monkeypatch.setattr(pnnx, "_SECONDS", 1.0)
    with pytest.raises(LimitExceeded, match="had not converted the network after 1 s"):
        fmedge.export_submodel("sum", onnx=inverted(), options=options(preprocessing="tf"))
    process = int((tmp_path / "pid").read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


def test_pnnx_gets_no_secrets_and_leaves_nothing(monkeypatch, tmp_path):
    monkeypatch.setenv("SECRET", "x")
    _stand_in(tmp_path, "print(os.getcwd(), sorted(os.environ)); sys.exit(1)", monkeypatch)
    with pytest.raises(UsageError) as caught:
        fmedge.export_submodel("sum", onnx=inverted(), options=options(preprocessing="tf"))
    said = str(caught.value)
    assert "SECRET" not in said
    folder = said.partition(": ")[2].split(" ")[0]
    assert "fmedge-" in folder
    assert not os.path.exists(folder)  # noqa: PTH110


def test_an_interrupt_ends_pnnx(monkeypatch, tmp_path):
    _stand_in(tmp_path, f"open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); time.sleep(600)", monkeypatch)

    class Interrupted(pnnx.subprocess.Popen):
        def wait(self, timeout=None):
            if timeout is not None and timeout > 10:
                while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
                    time.sleep(0.01)
                raise KeyboardInterrupt
            return super().wait(timeout)

    monkeypatch.setattr(pnnx.subprocess, "Popen", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        fmedge.export_submodel("sum", onnx=inverted(), options=options(preprocessing="tf"))
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_commands(fmedge_inprocess, tmp_path, picture):
    onnx.save(residual(), tmp_path / "net.onnx")
    cut = ("--onnx", tmp_path / "net.onnx", "--layer", "layer1.0", "--preprocessing", "torch")
    made = fmedge_inprocess("export", *cut, "--format", "ncnn", "--precision", "fp16").stdout.split("\n")[0]
    assert made.endswith(".ncnn.param")
    assert "pnnx" in fmedge_inprocess("info", made).stdout
    fmedge_inprocess("verify", made, "--onnx", tmp_path / "net.onnx")
    fmedge_inprocess("run", picture, *cut, "--backend", "ncnn", "--output", "page.html")
    assert "CPU" in fmedge_inprocess("run", picture, "--model", made, "--output", "page.html").stderr
    said = fmedge_inprocess("export", *cut, "--format", "ncnn", "--converter", "direct", code=2).stderr
    assert "--converter pnnx" in said
    said = fmedge_inprocess("export", *cut, "--format", "tflite", code=2).stderr
    assert "Nearest possible" in said


@pytest.mark.keras
@pytest.mark.parametrize("precision", ["fp32", pytest.param("fp16", marks=pytest.mark.slow)])
def test_a_keras_model(precision):
    keras = pytest.importorskip("keras", reason="needs Keras: pip install 'fmedge[export]'")
    keras.utils.set_random_seed(3)
    image = keras.Input((32, 40, 3))
    before = keras.layers.Conv2D(8, 3, strides=2, padding="same", name="stem")(image)
    values = keras.layers.ReLU(6.0)(keras.layers.BatchNormalization()(before))
    values = keras.layers.DepthwiseConv2D(3, padding="same", activation="relu", name="depth")(values)
    values = keras.layers.Conv2DTranspose(8, 3, strides=2, padding="same", name="learnt")(values)
    values = keras.layers.UpSampling2D((1, 2), name="larger")(values)
    mean = keras.layers.GlobalAveragePooling2D(keepdims=True)(values)
    gate = keras.layers.Conv2D(8, 1, activation="sigmoid")(mean)
    values = keras.layers.Multiply(name="gated")([values, gate])
    model = keras.Model(image, keras.layers.Conv2D(4, 1, activation="softmax", name="end")(values))
    layers = ["stem", "depth", "learnt", "gated", "end"]
    chosen = options(precision=precision, preprocessing="caffe")
    artifact = fmedge.export_submodel(layers, keras=model, options=chosen)
    assert artifact.card.parity.snr_db >= GATES[precision].min_snr_db
    assert artifact.card.tools.keys() == {"fmedge", "onnx", "pnnx", "tensorflow", "tf2onnx"}


@pytest.mark.keras
def test_keras_models_of_any_size_and_of_integers():
    keras = pytest.importorskip("keras", reason="needs Keras: pip install 'fmedge[export]'")
    keras.utils.set_random_seed(4)
    image = keras.Input((None, None, 3), dtype="uint8")
    values = keras.layers.Rescaling(1 / 127.5, -1)(image)
    values = keras.layers.Conv2D(6, 3, strides=2, padding="same", name="stem", activation="relu6")(values)
    values = keras.layers.SeparableConv2D(4, 3, padding="same", name="end")(values)
    artifact = fmedge.export_submodel(["stem", "end"], keras=keras.Model(image, values), options=options())
    assert artifact.card.parity.snr_db >= 100
    for height, width in ((33, 50), (64, 31)):
        found = next(run_batches(artifact, [parity_image(height, width)[np.newaxis]]))
        assert found["end"].shape == (1, 4, -(-height // 2), -(-width // 2))


PUBLISHED = {
    "super_resolution.onnx": ("unit", ["conv2", "relu_2", "pixel_shuffle"]),
    "version-slim-320_simplified.onnx": ("unit", ["217", "classification_headers.1.2", "363"]),
    "unet_model.keras": ("unit", ["conv2d_11", "conv2d_14", "conv2d_17"]),
    "vww_96.h5": ("unit", ["activation_6", "depthwise_conv2d_8", "average_pooling2d"]),
    "fer_mini_xception.hdf5": ("tf", ["batch_normalization_5", "activation_5", "conv2d_7"]),
    "tiny_resnet.h5": ("none", ["conv2d_2", "add_1", "average_pooling2d"]),
    "tm_keras_model.h5": ("tf", ["block_4_expand_relu", "block_10_project", "model1"]),
}
"""Files that others published: how their pixels are prepared, and layers from near the beginning to the end."""


@pytest.mark.slow
@pytest.mark.keras
@pytest.mark.parametrize("name", PUBLISHED)
def test_published_networks(name):
    path = TEST_DATA / "public_models" / name
    if not path.is_file():
        pytest.skip(f"no {path}")
    preprocessing, layers = PUBLISHED[name]
    source = {"onnx" if path.suffix == ".onnx" else "keras": path}
    artifact = fmedge.export_submodel(layers, **source, options=options(preprocessing=preprocessing))
    assert artifact.card.parity.snr_db >= 100


@pytest.mark.slow
def test_every_cut_of_a_network():
    from fmedge.export.onnx_source.graph import graph_of
    from fmedge.export.onnx_source.rows import onnx_rows

    for network in NETWORKS.values():
        rows = onnx_rows(graph_of(network.model), (None, None))
        maps = [row for row in rows if row.obstacle is None and row.shape and len(row.shape) == 3]
        names = [row.name for row in maps if row.name != "to_nchw"]  # the image itself
        for pair in [*pairwise(names), names[:1]]:
            chosen = options(**network.options)
            assert fmedge.export_submodel(list(pair), onnx=network.model, options=chosen).card.parity.snr_db >= 100
