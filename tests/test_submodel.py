"""Sub-models and the names of their files."""

import pytest

from fmedge.errors import UsageError
from fmedge.submodel import Activation, Format, Precision, SubModel, find_activation


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
        (("block1_conv1", "block2_pool"), Activation.NONE, "'block2_pool' is a pool"),
    ],
)
def test_nonsense_is_refused(taps, activation, message):
    with pytest.raises(UsageError, match=message):
        SubModel(taps, activation)


def test_default_choices_keep_the_short_name():
    submodel = SubModel(("block1_conv1",))
    assert submodel.artifact_name(Format.ONNX, Precision.FP32, "") == "block1_conv1.relu.fp32.onnx"
    raw = SubModel(("block1_conv1", "block2_conv1"), Activation.NONE)
    assert raw.artifact_name(Format.ONNX, Precision.FP32, "untrained") == (
        "block1_conv1+block2_conv1.none.fp32.untrained.onnx"
    )


def test_unknown_activation_suggests():
    with pytest.raises(UsageError, match="Closest: 'relu'"):
        find_activation("rellu")
