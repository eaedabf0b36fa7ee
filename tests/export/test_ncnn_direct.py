"""ncnn's pair of files: the graph, the weights, and that they are always the same."""

import json
import struct
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from fmedge.errors import ArtifactError, ParityError, UsageError
from fmedge.export.exporter import require_options
from fmedge.export.ncnn import direct as ncnn_direct
from fmedge.model.artifact import card_path, read_artifact, weights_path, write_artifact
from fmedge.model.stock import VGG16_LAYERS
from fmedge.model.submodel import ExportOptions, Format, Precision, SubModel, artifact_name, format_of
from fmedge.runtime.opening import open_session
from fmedge.workflow.model_files import describe_model, open_model
from support.builds import ALL_CASES, FEW_CASES, FORMS, build, hashes_in_another_process, require_parity, sha256
from support.messages import says

NCNN = {"format": Format.NCNN}

engine = pytest.mark.skipif(find_spec("ncnn") is None, reason="needs ncnn: pip install 'fmedge[ncnn]'")
"""Writing the files needs no ncnn; running them does."""


def layers(artifact):
    """Kind and parameters of every layer."""
    lines = [line.split() for line in artifact.model.decode().splitlines()[2:-1]]
    return [(words[0], {word for word in words if "=" in word}) for words in lines]


def kinds(artifact):
    return [kind for kind, _ in layers(artifact)]


@engine
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize(("names", "activation"), FEW_CASES)
def test_parity(untrained_network, names, activation, precision):
    artifact = build(
        ncnn_direct, untrained_network, names, activation, precision=Precision(precision), size=(96, 80), **NCNN
    )
    require_parity(artifact, untrained_network)


@engine
@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize(("layer", "activation"), ALL_CASES)
def test_parity_of_every_layer(untrained_network, layer, activation, precision):
    artifact = build(ncnn_direct, untrained_network, layer, activation, precision=Precision(precision), **NCNN)
    require_parity(artifact, untrained_network)


@engine
@pytest.mark.parametrize("options", FORMS, ids="-".join)
def test_every_form(untrained_network, options):
    artifact = build(ncnn_direct, untrained_network, "block1_pool+block2_conv1+block3_conv1", **options, **NCNN)
    require_parity(artifact, untrained_network)


@engine
@pytest.mark.parametrize("activation", ["relu", "none"])
def test_all_taps_at_once(untrained_network, activation):
    """Every tap keeps its own value, though what follows reads it too."""
    names = [name for name in (spec.name for spec in VGG16_LAYERS) if activation == "relu" or "conv" in name]
    artifact = build(ncnn_direct, untrained_network, "+".join(names), activation, size=(64, 48), **NCNN)
    require_parity(artifact, untrained_network)


def test_the_graph_is_clean(untrained_network):
    artifact = build(ncnn_direct, untrained_network, "block2_conv1", **NCNN)
    assert kinds(artifact) == ["Input", "Scale", "Convolution", "Convolution", "Pooling", "Convolution"]
    assert all("9=1" in values for kind, values in layers(artifact) if kind == "Convolution")
    raw = build(ncnn_direct, untrained_network, "block1_conv1+block1_conv2", "none", **NCNN)
    assert kinds(raw) == ["Input", "Scale", "Convolution", "Split", "ReLU", "Convolution"]
    assert not any("9=1" in values for _, values in layers(raw))
    assert {"0=224", "1=224", "2=3"} == layers(artifact)[0][1]
    assert layers(build(ncnn_direct, untrained_network, "block1_conv1", size=None, **NCNN))[0] == ("Input", set())


def test_weights_are_stored_as_they_are(untrained_network):
    artifact = build(ncnn_direct, untrained_network, "block1_conv1", **NCNN)
    kernel, bias = untrained_network.weights["block1_conv1"]
    stored = np.frombuffer(artifact.weights, "<f4")
    assert struct.unpack("<I", artifact.weights[24:28]) == (0,)
    np.testing.assert_allclose(stored[:6], [1, 1, 1, -123.68, -116.779, -103.939])
    np.testing.assert_array_equal(stored[7:-64].reshape(64, 3, 3, 3), kernel[:, :, ::-1].transpose(3, 2, 0, 1))
    np.testing.assert_array_equal(stored[-64:], bias)


def test_half_is_half(untrained_network):
    whole, half = (
        build(ncnn_direct, untrained_network, "block3_conv3", precision=precision, **NCNN)
        for precision in (Precision.FP32, Precision.FP16)
    )
    assert half.size <= 0.51 * whole.size
    assert half.card.recipe["weights"] == "float16"


def test_weights_beyond_half_are_refused(untrained_network):
    kernel, bias = untrained_network.weights["block1_conv1"]
    network = replace(untrained_network, weights={"block1_conv1": (kernel * np.float32(1e6), bias)})
    with pytest.raises(ParityError, match="'block1_conv1' holds values too large for float16"):
        build(ncnn_direct, network, "block1_conv1", precision=Precision.FP16, **NCNN)


@pytest.mark.parametrize("precision", ["FP32", "FP16"])
def test_same_bytes_twice_and_in_another_process(untrained_network, precision):
    options = {"precision": Precision[precision], **NCNN}
    one, two = (build(ncnn_direct, untrained_network, "block1_conv2+block2_conv1", **options) for _ in range(2))
    assert (one.model, one.weights) == (two.model, two.weights)
    words = f"dict(format=Format.NCNN, precision=Precision.{precision})"
    assert hashes_in_another_process(ncnn_direct, "block1_conv2+block2_conv1", words) == [sha256(one)]


def test_names():
    submodel = SubModel(("block1_conv1",))
    assert artifact_name(submodel, ExportOptions(**NCNN)) == "block1_conv1.relu.fp32.ncnn.param"
    assert format_of("a.fp32.ncnn.param") is Format.NCNN
    assert format_of("a.fp32.onnx") is Format.ONNX
    assert format_of("a.param") is None
    assert weights_path(Path("a/b.ncnn.param"), Format.NCNN) == Path("a/b.ncnn.bin")
    assert weights_path(Path("a/b.onnx"), Format.ONNX) is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"output_layout": "NHWC"}, "NCHW"),
        ({"precision": Precision.INT8}, "Cannot write ncnn int8 by direct"),
    ],
)
def test_what_cannot_be_written(options, message):
    with pytest.raises(UsageError, check=says(message)):
        require_options(SubModel(("block1_conv1",)), ExportOptions(**options, **NCNN))


@pytest.fixture
def written(untrained_network, tmp_path):
    artifact = build(ncnn_direct, untrained_network, "block1_conv1", **NCNN)
    return write_artifact(tmp_path / "m.ncnn.param", artifact.model, artifact.card, artifact.weights)


def test_artifact_is_read_as_written(written):
    assert read_artifact(written.path) == written
    assert describe_model(written.path) == (written.card, True)
    assert [path.name for path in sorted(written.path.parent.iterdir())] == [
        "m.ncnn.bin",
        "m.ncnn.param",
        "m.ncnn.param.json",
    ]


@engine
def test_ncnn_reads_the_files_as_they_lie(written):
    """By its own loaders, which stop before the facts."""
    import ncnn

    image = np.random.default_rng(5).integers(0, 256, (224, 224, 3), dtype=np.uint8)
    with open_session(written) as session:
        expected = session.run(image[np.newaxis])["block1_conv1"][0]
    net = ncnn.Net()
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
    assert net.load_param(str(written.path)) == 0
    assert net.load_model(str(weights_path(written.path, Format.NCNN))) == 0
    with net.create_extractor() as extractor:
        extractor.input("image", ncnn.Mat.from_pixels(image, ncnn.Mat.PixelType.PIXEL_RGB, 224, 224))
        code, found = extractor.extract("block1_conv1")
    assert code == 0
    np.testing.assert_allclose(np.array(found), expected, atol=1e-5 * np.ptp(expected))


def test_facts_of_a_graph_alone(written):
    card_path(written.path).unlink()
    assert open_model(written.path).card == replace(written.card, parity=None)
    assert json.loads(written.model.decode().splitlines()[-1].partition(" ")[2])["submodel"]["taps"] == ["block1_conv1"]


@pytest.mark.parametrize("change", [lambda content: content[:-4], lambda content: content + b"\0", lambda _: b""])
def test_other_weights_are_refused(written, change):
    path = weights_path(written.path, Format.NCNN)
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(ArtifactError, match=r"or 'm.ncnn.bin' is not what the card describes \(hash differs\)"):
        read_artifact(written.path)


def test_missing_weights(written):
    weights_path(written.path, Format.NCNN).unlink()
    with pytest.raises(ArtifactError, match=r"No weights 'm.ncnn.bin' beside"):
        read_artifact(written.path)


def test_the_weights_are_not_the_model(written):
    for read in (read_artifact, open_model, describe_model):
        with pytest.raises(
            ArtifactError, match=r"holds only weights. Name the file beside it that ends in .ncnn.param"
        ):
            read(weights_path(written.path, Format.NCNN))


@pytest.mark.parametrize("failing", [0, 1, 2])
def test_a_crash_leaves_a_whole_artifact_or_none(written, monkeypatch, failing):
    """The old card goes before the first of the new files comes."""
    done = []
    replace = Path.replace

    def replace_some(path, target):
        if len(done) == failing:
            raise KeyboardInterrupt
        done.append(target)
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", replace_some)
    with pytest.raises(KeyboardInterrupt):
        write_artifact(written.path, written.model + b"x", written.card, written.weights + b"x")
    with pytest.raises(ArtifactError, match="No card"):
        read_artifact(written.path)


def test_bare_file_without_facts(tmp_path):
    path = tmp_path / "m.ncnn.param"
    weights_path(path, Format.NCNN).touch()
    for content, message in ((b"7767517\n1 1\n", "damaged"), (b"", "damaged"), (b"\xff", "damaged")):
        path.write_bytes(content)
        with pytest.raises(ArtifactError, check=says(message)):
            open_model(path)
