"""Sub-models and the names of their files."""

import re

import pytest

from fmedge.errors import UsageError
from fmedge.model.submodel import Activation, ExportOptions, Format, Precision, SubModel, artifact_name, find_activation


def test_taps_stand_in_the_networks_order():
    assert SubModel(("block3_pool", "block1_conv1")).taps == ("block1_conv1", "block3_pool")
    assert SubModel(("block3_pool", "block1_conv1")).deepest == "block3_pool"


@pytest.mark.parametrize(
    ("taps", "activation", "message"),
    [
        ((), Activation.RELU, "No layer given"),
        (("block9_conv1",), Activation.RELU, "Unknown layer"),
        (("block1_conv1", "block1_conv1"), Activation.RELU, "named twice"),
        (("block1_pool",), Activation.NONE, "has no ReLU to leave out"),
        (("block1_conv1", "block2_pool"), Activation.NONE, "'block2_pool' is a pooling layer"),
    ],
)
def test_nonsense_is_refused(taps, activation, message):
    with pytest.raises(UsageError, match=message):
        SubModel(taps, activation)


def test_default_choices_keep_the_short_name():
    submodel = SubModel(("block1_conv1",))
    assert artifact_name(submodel, ExportOptions()) == "block1_conv1.relu.fp32.onnx"
    raw = SubModel(("block1_conv1", "block2_conv1"), Activation.NONE)
    chosen = ExportOptions(Format.TFLITE, Precision.INT8, None, "float32", (320, 240), 8, "NCHW", "vgg16", True, True)
    assert artifact_name(raw, chosen, "untrained") == (
        "block1_conv1+block2_conv1.none.int8.untrained.float32in.320x240.b8.nchw.tapfloat.7bit.tflite"
    )


def test_names_of_own_layers_are_made_fit_for_a_file():
    one, two = (SubModel((name,), source="keras").label for name in ("a/b:c", "a/b;c"))
    assert one != two
    assert not set("/:;") & set(one + two)


def test_unknown_activation_suggests():
    with pytest.raises(UsageError, match="Closest: 'relu'"):
        find_activation("rellu")


@pytest.mark.parametrize("name", ["CON", "nul", "Aux", "com1", "LPT9"])
def test_no_file_is_called_as_a_device(name):
    """Windows has no files of these names, whatever suffix follows."""
    assert re.fullmatch(rf"{name}-[0-9a-f]{{8}}", SubModel((name,), source="onnx").label)
    assert SubModel((f"{name}x",), source="onnx").label == f"{name}x"
