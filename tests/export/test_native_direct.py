"""Models for fmedge's own kernels: what is in the file, that it is always the same and computes the network."""

from importlib.util import find_spec

import numpy as np
import pytest

from fmedge.errors import UsageError
from fmedge.export.exporter import require_options
from fmedge.export.native import direct as native_direct
from fmedge.model.artifact import card_path, read_artifact, write_artifact
from fmedge.model.native_format import FACTS, HEADER, LAYER, Flag, Kind
from fmedge.model.stock import VGG16_LAYERS
from fmedge.model.submodel import Converter, ExportOptions, Format, Precision, SubModel, artifact_name, format_of
from fmedge.workflow.model_files import describe_model, open_model
from fmedge.workflow.outputs import first_kernels
from support.builds import ALL_CASES, FEW_CASES, FORMS, build, hashes_in_another_process, require_parity, sha256
from support.messages import says

NATIVE = {"format": Format.NATIVE}

engine = pytest.mark.skipif(
    find_spec("fmedge_native") is None, reason="needs fmedge's own kernels: pip install ./native"
)
"""Writing the files needs no kernels; running them does."""


def table(artifact):
    """Every layer's row."""
    count = HEADER.unpack_from(artifact.model)[1]
    return [LAYER.unpack_from(artifact.model, HEADER.size + LAYER.size * place) for place in range(count)]


def flags(artifact):
    return [Flag(row[2]) for row in table(artifact)]


@engine
@pytest.mark.parametrize(("layers", "activation"), FEW_CASES)
def test_parity(untrained_network, layers, activation):
    require_parity(
        build(native_direct, untrained_network, layers, activation, size=(96, 80), **NATIVE), untrained_network
    )


@engine
@pytest.mark.slow
@pytest.mark.parametrize(("layer", "activation"), ALL_CASES)
def test_parity_of_every_layer(untrained_network, layer, activation):
    require_parity(build(native_direct, untrained_network, layer, activation, **NATIVE), untrained_network)


@engine
@pytest.mark.parametrize("options", FORMS, ids="-".join)
def test_every_form(untrained_network, options):
    artifact = build(native_direct, untrained_network, "block1_pool+block2_conv1+block3_conv1", **options, **NATIVE)
    require_parity(artifact, untrained_network)


@engine
@pytest.mark.parametrize("activation", ["relu", "none"])
def test_all_taps_at_once(untrained_network, activation):
    """Every tap keeps its own value, though what follows reads it too."""
    names = [spec.name for spec in VGG16_LAYERS if activation == "relu" or spec.kind == "conv"]
    artifact = build(native_direct, untrained_network, "+".join(names), activation, size=(64, 48), **NATIVE)
    require_parity(artifact, untrained_network)


def test_the_table_is_the_network(untrained_network):
    artifact = build(native_direct, untrained_network, "block1_conv2+block2_conv1", **NATIVE)
    convolution, pooling = Kind.CONVOLUTION, Kind.POOLING
    assert [row[:2] for row in table(artifact)] == [
        *((convolution, 64), (convolution, 64), (pooling, 64), (convolution, 128)),
    ]
    relu = Flag.RELU
    assert flags(artifact) == [relu, relu | Flag.TAP, Flag(0), relu | Flag.TAP]
    raw = build(native_direct, untrained_network, "block1_conv2+block2_conv1", "none", **NATIVE)
    assert flags(raw) == [relu, relu | Flag.TAP_BEFORE_RELU, Flag(0), Flag.TAP]  # of the last one nobody reads a ReLU


def test_weights_are_stored_as_they_are(untrained_network):
    artifact = build(native_direct, untrained_network, "block1_conv1", **NATIVE)
    kernel, bias = untrained_network.weights["block1_conv1"]
    _, _, channels, _, _, mean, end, _ = HEADER.unpack_from(artifact.model)
    stored = np.frombuffer(artifact.model[mean:end], "<f4")
    assert channels == 3
    np.testing.assert_allclose(stored[:3], [123.68, 116.779, 103.939])
    np.testing.assert_array_equal(stored[3:-64].reshape(64, 3, 3, 3), kernel[:, :, ::-1].transpose(3, 2, 0, 1))
    np.testing.assert_array_equal(stored[-64:], bias)
    assert artifact.model[end:] == FACTS + artifact.card.facts_json().encode() + b"\n"


def test_same_bytes_twice_and_in_another_process(untrained_network):
    one, two = (build(native_direct, untrained_network, "block1_conv2+block2_conv1", **NATIVE) for _ in range(2))
    assert one.model == two.model
    words = "dict(format=Format.NATIVE)"
    assert hashes_in_another_process(native_direct, "block1_conv2+block2_conv1", words) == [sha256(one)]


def test_names():
    assert artifact_name(SubModel(("block1_conv1",)), ExportOptions(**NATIVE)) == "block1_conv1.relu.fp32.fmchain"
    assert format_of("a.fp32.fmchain") is Format.NATIVE


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"output_layout": "NHWC"}, "NCHW"),
        ({"precision": Precision.FP16}, "Cannot write native fp16 by direct"),
        ({"precision": Precision.INT8}, "Cannot write native int8 by direct"),
        ({"converter": Converter.TF2ONNX}, "Cannot write native fp32 by tf2onnx"),
    ],
    ids=lambda value: None if isinstance(value, str) else "-".join(value),
)
def test_what_cannot_be_written(options, message):
    with pytest.raises(UsageError, check=says(message)):
        require_options(SubModel(("block1_conv1",)), ExportOptions(**options, **NATIVE))


def test_artifact_is_read_as_written_with_its_card_and_without(untrained_network, tmp_path):
    artifact = build(native_direct, untrained_network, "block1_conv1", **NATIVE)
    written = write_artifact(tmp_path / "m.fmchain", artifact.model, artifact.card)
    assert read_artifact(written.path) == written
    assert describe_model(written.path) == (written.card, True)
    card_path(written.path).unlink()
    assert open_model(written.path).card.facts() == written.card.facts()


def test_the_kernels_of_the_first_layer_are_those_of_the_weights(untrained_network, untrained_weights):
    (found,) = first_kernels(build(native_direct, untrained_network, "block1_conv1", **NATIVE)).values()
    keras, bias = untrained_weights["block1_conv1"]  # rows, columns, blue green red, channels
    np.testing.assert_array_equal(found.weights, keras[:, :, ::-1].transpose(3, 0, 1, 2))
    np.testing.assert_array_equal(found.bias, bias)
