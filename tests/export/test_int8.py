"""int8: the recipe, both formats, and what photos have to do with it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from fmedge.data.images import load_photo
from fmedge.errors import UsageError
from fmedge.export.calibration import read_calibration
from fmedge.export.exporter import EXPORTERS, require_options
from fmedge.export.int8 import recipe as int8_recipe
from fmedge.export.int8.ranges import Histogram, best_ranges
from fmedge.export.int8.rounding import round_kernel
from fmedge.export.stock_network import StockNetwork
from fmedge.model.stock import VGG16_LAYERS
from fmedge.model.submodel import ExportOptions, Format, Precision, SubModel
from fmedge.model.weights import choose_weights, load_weights
from fmedge.workflow.artifacts import run_batches
from support.builds import build_with, require_parity, sha256, sqnr_db

CASES = [
    (spec.name, activation)
    for spec in VGG16_LAYERS
    if spec.name < "block4"
    for activation in (("relu", "none") if spec.kind == "conv" else ("relu",))
]
SIZE = (24, 32)
"""Of the images, unless a test says otherwise: plans are worked out in seconds."""

FEW = [("block1_conv1", "relu"), ("block1_conv2", "none"), ("block1_pool", "relu")]


@pytest.fixture(params=sorted({row.format for row in EXPORTERS if Precision.INT8 in row.precisions}))
def model_format(request):
    if request.param is Format.TFLITE:
        pytest.importorskip("ai_edge_litert", reason="needs LiteRT: pip install 'fmedge[litert]'")
    return request.param


@pytest.fixture(scope="module")
def calibration(photos_folder):
    return read_calibration(photos_folder)


@pytest.fixture(scope="module")
def real_network(real_weights):
    return StockNetwork(*load_weights(choose_weights(str(real_weights)), "block3_pool"))


@pytest.fixture(scope="module")
def photo_calibration(photos, tmp_path_factory):
    """The first sixteen photos by name; the next eight judge."""
    folder = tmp_path_factory.mktemp("sixteen")
    for photo in photos[:16]:
        (folder / photo.name).symlink_to(photo)
    return read_calibration(folder)


def int8(network, calibration, layers, activation="relu", **options):
    options = {"precision": Precision.INT8, "size": SIZE, **options}
    return build_with(network, calibration, layers, activation, **options)


@pytest.mark.parametrize(
    ("layers", "activation"), [*FEW, ("block1_conv1+block1_pool", "relu"), ("block1_conv1+block1_conv2", "none")]
)
def test_parity_of_every_kind_of_tap(untrained_network, calibration, model_format, layers, activation):
    artifact = int8(untrained_network, calibration, layers, activation, format=model_format)
    require_parity(artifact, untrained_network, calibration)
    assert "GPTQ" in artifact.card.recipe["weights"]
    assert "16 photos" in artifact.card.recipe["calibration"]


@pytest.mark.parametrize(
    "options",
    [
        {"float_tap": True, "size": (48, 64)},
        {"seven_bit": True},
        {"input_dtype": "float32"},
        {"batch": 2},
        {"size": (32, 24)},
    ],
)
def test_parity_of_every_option(untrained_network, calibration, model_format, options):
    artifact = int8(untrained_network, calibration, "block1_conv2", format=model_format, **options)
    parity = require_parity(artifact, untrained_network, calibration)
    if "float_tap" in options:
        plain = int8(untrained_network, calibration, "block1_conv2", format=model_format, size=options["size"])
        assert parity.snr_db > require_parity(plain, untrained_network, calibration).snr_db + 3


def test_layouts_and_open_sizes(untrained_network, calibration):
    few = replace(calibration, photos=calibration.photos[:2])  # they are taken at 224 x 224 where the size is open
    onnx_nhwc = int8(untrained_network, few, "block1_pool", size=None, output_layout="NHWC")
    require_parity(onnx_nhwc, untrained_network)
    with pytest.raises(UsageError, match="needs a size"):
        require_options(SubModel(("block1_conv1",)), ExportOptions(Format.TFLITE, Precision.INT8, size=None))
    with pytest.raises(UsageError, match="'block1_pool' is a pool"):
        require_options(SubModel(("block1_pool",)), ExportOptions(precision=Precision.INT8, float_tap=True))


def test_onnx_computes_in_integers(untrained_network, calibration, tmp_path):
    """ONNX Runtime fuses the pairs around each convolution; only the scale of the tap is left in float."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.log_severity_level = 3
    model = int8(untrained_network, calibration, "block1_pool").model
    onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    kinds = [node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node]
    wanted = ["Pad", "QLinearConv", "QLinearConv", "MaxPool", "DequantizeLinear"]
    assert [kind.removeprefix("Nhwc") for kind in kinds if kind != "Transpose"] == wanted


def test_tflite_computes_in_integers(untrained_network, calibration):
    interpreter = pytest.importorskip("ai_edge_litert.interpreter", reason="needs LiteRT: pip install 'fmedge[litert]'")
    model = int8(untrained_network, calibration, "block1_conv2", format=Format.TFLITE).model
    opened = interpreter.Interpreter(
        model_content=model, experimental_op_resolver_type=interpreter.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    )
    kinds = [operator["op_name"] for operator in opened._get_ops_details()]
    assert kinds == ["QUANTIZE", "PADV2", "CONV_2D", "CONV_2D", "DEQUANTIZE"]


@pytest.mark.parametrize(("seven_bit", "limit"), [(False, 127), (True, 64)])
def test_weights_keep_their_bits(untrained_network, calibration, seven_bit, limit):
    model = onnx.load_model_from_string(int8(untrained_network, calibration, "block1_conv2", seven_bit=seven_bit).model)
    kernels = [numpy_helper.to_array(tensor) for tensor in model.graph.initializer if tensor.name.endswith("_kernel")]
    assert [kernel.dtype for kernel in kernels] == [np.int8, np.int8]
    assert max(int(np.abs(kernel.astype(int)).max()) for kernel in kernels) == limit


def test_same_bytes_again(untrained_network, calibration, model_format, monkeypatch):
    found = set()
    for _ in range(2):
        monkeypatch.setattr(int8_recipe, "_latest", None)
        found.add(sha256(int8(untrained_network, calibration, "block1_conv2", format=model_format)))
    assert len(found) == 1


def test_same_bytes_in_another_process(model_format, photos_folder, tmp_path, fmedge_inprocess, fmedge_process):
    words = ["export", "--weights", "untrained", "--no-verify", "--precision", "int8", "--size", "24x32"]
    words += ["--format", model_format, "--calibration", photos_folder]
    fmedge_inprocess(*words, "--models", "one")
    fmedge_process(*words, "--models", "two")
    (one,), (two,) = (list((tmp_path / name).glob(f"*.{model_format}")) for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()


def test_relu_of_nothing_is_exactly_zero(untrained_network, calibration, model_format):
    artifact = int8(untrained_network, calibration, "block1_conv2", format=model_format)
    maps = next(run_batches(artifact, [np.stack(list(calibration.images(SIZE)))[:1]]))["block1_conv2"]
    assert maps.min() == 0.0


def test_ranges_cover_what_pays():
    values = np.random.default_rng(0).normal(0, 1, (1000, 1000, 1))
    values[0, 0, 0] = 20  # one outlier among a million is not worth a step four times as coarse
    histogram = Histogram(1)
    histogram.add(values)
    assert histogram.means[0] == pytest.approx(values.mean(), abs=1e-3)
    (high,), (low,) = best_ranges(histogram.counts)
    assert 3 < high < 15
    assert 1 < low < 5


def test_rounding_with_feedback_beats_rounding_to_the_nearest():
    generator = np.random.default_rng(0)
    seen = generator.normal(size=(5000, 36)) @ generator.normal(size=(36, 36))  # inputs that go together
    kernel = generator.normal(size=(36, 8))
    unit = np.abs(kernel).max(axis=0) / 7
    steps = round_kernel(kernel, unit, np.cov(seen.T), 7)
    nearest = np.rint(kernel / unit)
    errors = [np.square(seen @ (kernel - rounded * unit)).mean() for rounded in (steps, nearest)]
    assert errors[0] < 0.7 * errors[1]


def test_calibration_folder(tmp_path, picture, caplog):
    with pytest.raises(UsageError, match="No calibration folder"):
        read_calibration(tmp_path / "none")
    with pytest.raises(UsageError, match="holds 0 usable photos"):
        read_calibration(tmp_path)
    for index in range(5):
        (tmp_path / f"{index}.png").write_bytes(picture.read_bytes())
    (tmp_path / "broken.jpg").write_text("no image")
    (tmp_path / "notes.txt").write_text("not looked at")
    found = read_calibration(tmp_path)
    assert [path.name for path in found.photos] == [f"{index}.png" for index in range(5)]
    assert [text.split(":")[0] for text in caplog.messages] == ["Skipped", "Only 5 photos for calibration"]


def _judge(network, calibration, photos, layer, activation, **options):
    """Mean SQNR over photos that were not used in calibration."""
    images = np.stack([load_photo(photo, (224, 224)).pixels for photo in photos])
    artifact = int8(network, calibration, layer, activation, size=(224, 224), **options)
    float_model = build_with(network, None, layer, activation)
    pairs = zip(run_batches(artifact, images[:, None]), run_batches(float_model, images[:, None]), strict=True)
    return float(np.mean([sqnr_db(found[layer], true[layer]) for found, true in pairs]))


@pytest.mark.imagenet
@pytest.mark.parametrize(
    ("layer", "onnx_db", "tflite_db"),
    # stock recipes on this split: 34.8 and 30.7 dB in ONNX Runtime, the same in TensorFlow's converter
    [("block1_conv1", 37.8, 35.8), pytest.param("block2_conv2", 33.2, 32.2, marks=pytest.mark.slow)],
)
def test_real_weights_pass_the_stock_recipe(real_network, photo_calibration, photos, layer, onnx_db, tflite_db):
    assert _judge(real_network, photo_calibration, photos[16:24], layer, "relu") > onnx_db
    assert _judge(real_network, photo_calibration, photos[16:24], layer, "relu", format=Format.TFLITE) > tflite_db


@pytest.mark.imagenet
@pytest.mark.slow
@pytest.mark.parametrize(("layer", "activation"), CASES)
def test_every_layer_of_the_real_weights(real_network, photo_calibration, model_format, layer, activation):
    artifact = int8(real_network, photo_calibration, layer, activation, format=model_format, size=(224, 224))
    require_parity(artifact, real_network, photo_calibration)


def test_folder_names_do_not_matter(photos_folder, tmp_path):
    other = tmp_path / "copy"
    other.mkdir()
    for path in sorted(Path(photos_folder).iterdir()):
        (other / path.name).write_bytes(path.read_bytes())
    hashes = {read_calibration(folder).sha256 for folder in (photos_folder, other)}
    assert len(hashes) == 1
