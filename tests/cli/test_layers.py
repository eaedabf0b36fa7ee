"""``fmedge layers`` for stock VGG16."""

import json

import pytest

from fmedge.cli import main
from fmedge.errors import UsageError
from fmedge.model.stock import VGG16_LAYERS
from fmedge.workflow.layers import list_layers
from support.messages import says


def test_stock_vgg16(capsys):
    assert main(["layers", "--json", "--size", "64x96"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in rows] == [spec.name for spec in VGG16_LAYERS]
    conv = next(row for row in rows if row["name"] == "block3_conv3")
    assert (conv["kind"], conv["activation"], conv["shape"]) == ("conv", "relu", [256, 16, 24])
    assert (conv["stride"], conv["receptive_field"], conv["parameters"]) == ([4, 4], [40, 40], 590_080)
    assert conv["macs"] == 16 * 24 * 256 * 256 * 9
    assert {row["obstacle"] for row in rows} == {None}


def test_images_too_small_for_vgg16():
    with pytest.raises(UsageError, check=says("--size 20x64: VGG16 halves")):
        list_layers(size=(20, 64))
