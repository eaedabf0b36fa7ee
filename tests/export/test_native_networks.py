"""Models for fmedge's own kernels from networks of the user's own: they compute the same, or are refused in one line.

What a file holds is computed by NumPy, so most of this needs no engine.
"""

import random
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import onnx
import pytest

import fmedge
from fmedge.data.images import parity_image
from fmedge.errors import BackendUnavailable, FmedgeError, UsageError
from fmedge.export.onnx_source.network import network_of_proto
from fmedge.model.known_models import forget
from fmedge.model.parity import GATES, measure_parity
from fmedge.model.preprocessing import NONE
from fmedge.model.run_options import RunOptions
from fmedge.runtime.gate.checks import require_artifact
from fmedge.workflow.artifacts import run_batches
from fmedge.workflow.outputs import first_kernels
from support.messages import says
from support.native_networks import FITS, MISFITS, computed, padded, vgg

ENGINE = pytest.mark.skipif(find_spec("fmedge_native") is None, reason="needs fmedge's own kernels: fmedge-native")


def options(preprocessing=NONE, **more):
    return fmedge.ExportOptions(format="native", preprocessing=preprocessing, **more)


def built(fit):
    return fmedge.export_submodel(
        fit.layers, fit.activation, onnx=fit.model, options=options(**fit.options), verify=False
    )


def expected(fit, artifact, images):
    network = network_of_proto(fit.model, fit.options["preprocessing"])
    return network.reference(artifact.card.submodel, images)


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.setenv("FMEDGE_MODELS", str(tmp_path / "models"))


def images_for(artifact, turns=1):
    image = parity_image(*(artifact.card.options.size or (31, 45)))
    return np.stack([np.roll(image, turn, axis=1) for turn in range(turns)])


@pytest.mark.parametrize("name", FITS)
def test_what_fits(name):
    fit = FITS[name]
    artifact = built(fit)
    require_artifact(artifact)
    assert artifact.card.tools.keys() == {"fmedge", "onnx"}
    assert artifact.path.name.endswith(".fmchain")
    assert "direct" not in artifact.path.name
    images = images_for(artifact)
    found = computed(artifact, images[0].astype(artifact.card.inputs[0].dtype))
    true = expected(fit, artifact, images)
    assert [*found] == [*true] == fit.layers
    for tap, maps in found.items():
        assert measure_parity(maps[np.newaxis], true[tap], GATES["fp32"]).passed, tap


@ENGINE
@pytest.mark.parametrize("name", FITS)
def test_what_fits_on_the_engine(name):
    fit = FITS[name]
    artifact = fmedge.export_submodel(fit.layers, fit.activation, onnx=fit.model, options=options(**fit.options))
    assert artifact.card.parity.snr_db >= GATES["fp32"].min_snr_db
    images = images_for(artifact, turns=2).astype(artifact.card.inputs[0].dtype)
    true = expected(fit, artifact, images)
    for tap, maps in next(run_batches(artifact, [images])).items():
        assert measure_parity(maps, true[tap], GATES["fp32"]).passed, tap


@pytest.mark.parametrize("name", MISFITS)
def test_what_does_not_fit(name, tmp_path):
    misfit = MISFITS[name]
    with pytest.raises(UsageError, check=says(f"Cannot write native: .*{misfit.said}")):
        fmedge.export_submodel(
            misfit.layers,
            "none" if "pooling before" in name else "relu",
            onnx=misfit.model,
            options=options(),
            verify=False,
        )
    assert not list((tmp_path / "models").iterdir())


def test_what_damage_leaves_is_refused_or_written_as_it_is(tmp_path):
    """Numbers and wires of networks that fit, and of others, at random: what is written passes the gate."""
    written = 0
    for seed in range(40):
        chance = random.Random(seed)
        fit = FITS[chance.choice([*FITS])]
        model = onnx.ModelProto()
        model.CopyFrom(fit.model)
        damage(model, chance)
        try:
            artifact = built(fit._replace(model=model))
        except FmedgeError as error:
            assert "\n" not in error.in_full()
        else:
            written += 1
            require_artifact(artifact)
    assert written > 3


def damage(model, chance):
    """Change a number of an operator, the operator itself, what it reads, or a constant's shape."""
    node = chance.choice(model.graph.node)
    numbers = [attribute for each in model.graph.node for attribute in each.attribute if attribute.ints]
    kind = chance.randrange(4)
    if kind == 0:
        attribute = chance.choice(numbers or [onnx.helper.make_attribute("none", [0])])
        attribute.ints[chance.randrange(len(attribute.ints))] = chance.choice((0, -1, 1, 2, 3, 1 << 40))
    elif kind == 1:
        node.op_type = chance.choice(("Pad", "Slice", "Gather", "Split", "Concat", "Mul", "Relu", "Identity", "Cast"))
    elif kind == 2:
        node.input[chance.randrange(len(node.input))] = chance.choice(model.graph.node).output[0]
    else:
        tensor = chance.choice(model.graph.initializer)
        tensor.dims[:] = chance.choice(([1, *tensor.dims], tensor.dims[::-1]))


def test_pooling_that_rounds_up_fits_where_it_rounds_nothing():
    model = vgg((32, 48))
    for node in model.graph.node:
        if node.op_type == "MaxPool":
            node.attribute.append(onnx.helper.make_attribute("auto_pad", "SAME_UPPER"))
    fmedge.export_submodel("q", onnx=model, options=options(), verify=False)
    for size in (None, (33, 48), (32, 50)):
        with pytest.raises(UsageError, match="pools beyond the last row"):
            fmedge.export_submodel("q", onnx=model, options=options(size=size), verify=False)


def test_the_weights_of_a_kernel_that_nothing_changes_stay_as_they_are():
    model = padded()
    artifact = fmedge.export_submodel("a", onnx=model, options=options("caffe"), verify=False)
    kernel = next(each for each in model.graph.initializer if each.name == "a.weight")
    assert np.ascontiguousarray(onnx.numpy_helper.to_array(kernel)[:, ::-1]).tobytes() in artifact.model
    again = fmedge.export_submodel("a", onnx=model, options=options("caffe"), verify=False)
    assert again.model == artifact.model


@pytest.mark.parametrize("wrong", [{"precision": "fp16"}, {"output_layout": "NHWC"}, {"converter": "pnnx"}], ids=str)
def test_forms_that_native_does_not_have(wrong):
    with pytest.raises(UsageError, check=says("native")):
        fmedge.export_submodel("a", onnx=vgg(), options=options(**wrong))


def test_without_the_engine(tmp_path, monkeypatch):
    if find_spec("fmedge_native") is not None:
        pytest.skip("fmedge's own kernels are installed")
    with pytest.raises(BackendUnavailable, check=says("native")):
        fmedge.export_submodel("a", onnx=vgg(), options=options())
    assert not list((tmp_path / "models").iterdir())


@ENGINE
def test_a_foreign_model_runs_elsewhere_and_gives_the_same():
    artifact = fmedge.export_submodel(["a", "q"], onnx=vgg(), options=options("caffe"))
    images = images_for(artifact)
    ours = next(run_batches(artifact, [images]))
    forget(artifact.card)
    theirs = next(run_batches(replace(artifact), [images], run=RunOptions("native", threads=1)))
    for tap, maps in ours.items():
        np.testing.assert_allclose(theirs[tap], maps, rtol=1e-4, atol=1e-4)


@ENGINE
def test_commands(fmedge_inprocess, tmp_path, picture):
    onnx.save(vgg(), tmp_path / "net.onnx")
    network = ("--onnx", tmp_path / "net.onnx", "--preprocessing", "torch")
    cut = (*network, "--layer", "a+bn")
    made = fmedge_inprocess("export", *cut, "--format", "native").stdout.split("\n")[0]
    assert made.endswith(".fmchain")
    assert "(x * 0.00392157" in fmedge_inprocess("info", made).stdout
    assert "dB" in fmedge_inprocess("verify", made, "--onnx", tmp_path / "net.onnx").stdout
    for words in ((*cut, "--backend", "native"), ("--model", made)):
        assert "Convolution on CPU" in fmedge_inprocess("run", picture, *words, "--output", "page.html").stderr
    said = fmedge_inprocess("run", picture, *network, "--layer", "b+c", "--backend", "native", "--no-page", code=2)
    assert "Cannot write native: 'b' is shown before a scale" in said.stderr


KERAS = pytest.mark.keras


def keras_models():
    return pytest.importorskip("support.keras_models", reason="needs Keras: pip install 'fmedge[export]'")


def require_keras_parity(model, layers, activation="relu", **form):
    from fmedge.export.tensorflow.keras_network import network_of_model

    artifact = fmedge.export_submodel(layers, activation, keras=model, options=options(**form), verify=False)
    require_artifact(artifact)
    assert artifact.card.tools.keys() == {"fmedge", "onnx", "tensorflow", "tf2onnx"}
    images = images_for(artifact)
    network = network_of_model(model, artifact.card.preprocessing)
    found, true = computed(artifact, images[0]), network.reference(artifact.card.submodel, images)
    for tap in layers:
        assert measure_parity(found[tap][np.newaxis], true[tap], GATES["fp32"]).passed, tap


@KERAS
def test_a_sequential_keras_model():
    make = keras_models()
    model = make.chain(
        make.conv("a", 8, padding="same", activation="relu"),
        make.layers.MaxPooling2D(name="p"),
        make.layers.Dropout(0.3),
        make.layers.Conv2D(6, 3, padding="same", use_bias=False, name="b"),
        make.layers.BatchNormalization(name="n"),
        make.layers.ReLU(),
        make.conv("c", padding="same"),
        make.layers.Conv2D(4, 3, 2, padding="same", name="d"),
        shape=(27, 36, 3),
    )
    random = np.random.default_rng(5)
    norm = model.get_layer("n")
    norm.set_weights([random.uniform(0.5, 1.5, values.shape) for values in norm.get_weights()])
    require_keras_parity(model, ["a", "p", "n", "c"], preprocessing="caffe")
    require_keras_parity(model, ["a", "n"], "none", preprocessing="torch", size=None)
    with pytest.raises(UsageError, check=says("Cannot write native: 'd' has stride 2; native takes stride 1")):
        fmedge.export_submodel("d", keras=model, options=options(), verify=False)


@KERAS
def test_a_functional_keras_model_that_prepares_its_pixels(fmedge_inprocess, tmp_path, picture):
    make = keras_models()
    image = make.keras.Input((32, 40, 3))
    values = make.keras.applications.vgg16.preprocess_input(image)
    values = make.conv("a", 8, padding="same", activation="relu")(make.layers.ZeroPadding2D(0)(values))
    values = make.layers.MaxPooling2D(padding="same", name="p")(values)
    values = make.conv("b", 4)(make.layers.ZeroPadding2D(1)(values))
    model = make.keras.Model(image, make.layers.LeakyReLU(name="leaky")(values))
    require_keras_parity(model, ["a", "p", "b"], "none")
    if find_spec("fmedge_native"):
        model.save(tmp_path / "net.keras")
        cut = ("--keras", tmp_path / "net.keras", "--preprocessing", "none", "--backend", "native", "--no-page")
        assert "Convolution on CPU" in fmedge_inprocess("run", picture, *cut, "--layer", "p").stderr
        said = fmedge_inprocess("run", picture, *cut, "--layer", "leaky", code=2).stderr
        assert "Cannot write native: 'leaky' is LeakyRelu" in said


@KERAS
def test_a_keras_model_of_integers_and_any_size():
    make = keras_models()
    image = make.keras.Input((None, None, 3), dtype="uint8")
    values = make.layers.Rescaling(1 / 127.5, -1)(image)
    model = make.keras.Model(image, make.conv("a", 8, padding="same", activation="relu")(values))
    require_keras_parity(model, ["a"])
    with pytest.raises(UsageError, check=says("is Cast; native")):
        fmedge.export_submodel("a", keras=model, options=options(input_dtype="float32"), verify=False)


@pytest.mark.parametrize("preprocessing", ["none", "caffe", "torch", "tf"])
def test_the_kernels_of_the_first_layer(preprocessing):
    artifacts = [
        fmedge.export_submodel(
            "a", onnx=vgg(), options=fmedge.ExportOptions(format=kind, preprocessing=preprocessing), verify=False
        )
        for kind in ("native", "onnx")
    ]
    (native,), (original,) = (first_kernels(artifact).values() for artifact in artifacts)
    np.testing.assert_allclose(native.weights, original.weights, rtol=1e-6)
    np.testing.assert_array_equal(native.bias, original.bias)


def test_no_kernels_where_the_network_prepares_the_pixels_itself_or_another_layer_is_shown():
    for fit in (FITS["prepares"], FITS["vgg"]._replace(layers=["b"])):
        assert first_kernels(built(fit)) == {}
