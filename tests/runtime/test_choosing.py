"""Which engine and which format are taken unless they are named, whatever engines are installed here."""

import pytest

from fmedge.errors import UsageError
from fmedge.model.run_options import RunOptions
from fmedge.model.submodel import Converter, ExportOptions, Format, Precision
from fmedge.runtime.backends import BACKENDS, Backend, Wish
from fmedge.runtime.opening import choose_backend, default_format, export_format
from fmedge.workflow.request import default_options, export_options

OWN = Wish.of(None, "net.keras")
INT8 = Wish(precisions=(Precision.FP32, Precision.INT8))
CHANNELS_LAST = Wish(layout="NHWC")
TENSORFLOW = Wish(converter=Converter.TF2ONNX)
NAMES = [row.name for row in BACKENDS]


@pytest.fixture
def install(monkeypatch):
    """Let these engines, and no others, count as installed."""

    def installed(*names):
        assert {*names} <= {*NAMES}
        monkeypatch.setattr(Backend, "installed", property(lambda row: row.name in names))

    return installed


@pytest.mark.parametrize(
    ("names", "ran", "exported"),
    [
        (NAMES, "native", "onnx"),
        (("native", "ncnn"), "native", "ncnn"),
        (("native",), "native", "native"),
        (("onnxruntime", "ncnn"), "onnx", "onnx"),
        (("ncnn",), "ncnn", "ncnn"),
        (("litert",), "tflite", "tflite"),
        ((), "onnx", "onnx"),
    ],
    ids=lambda value: "+".join(value) or "none" if isinstance(value, tuple) else None,
)
def test_a_run_takes_the_fastest_engine_and_an_export_a_file_for_others(install, names, ran, exported):
    install(*names)
    assert (default_format(), export_format()) == (ran, exported)
    assert (default_options(), export_options()) == (ExportOptions(Format(ran)), ExportOptions(Format(exported)))


@pytest.mark.parametrize("wish", [OWN, INT8, CHANNELS_LAST, TENSORFLOW], ids=["own", "int8", "nhwc", "tensorflow"])
def test_what_an_engine_for_some_networks_cannot_run_is_left_to_others(install, wish):
    install("native", "openvino")
    assert choose_backend(RunOptions(), wish=Wish()).name == "native"
    assert choose_backend(RunOptions(), wish=wish).name == "openvino"
    assert (default_format(wish=wish), export_format(wish)) == (Format.ONNX, Format.ONNX)


def test_an_engine_that_is_named_decides(install):
    install(*NAMES)
    for row in BACKENDS:
        assert default_options(RunOptions(row.name)).format is row.formats[0]


@pytest.mark.parametrize(("backend", "allowed"), [("native", "cpu"), ("ncnn", "cpu, gpu, vulkan")])
def test_a_wrong_device_is_told_those_that_the_engine_has(backend, allowed):
    with pytest.raises(UsageError, match=f"for {backend}.*Allowed: {allowed}\\.$"):
        choose_backend(RunOptions(backend, "coreml" if backend == "ncnn" else "gpu"))
