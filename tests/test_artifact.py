"""Cards, and the pair of model and card."""

import json
from dataclasses import asdict

import pytest

from fmedge.artifact import card_path, read_artifact, write_artifact
from fmedge.card import ModelCard
from fmedge.errors import ArtifactError
from fmedge.submodel import ExportOptions


def test_card_survives_json(block1):
    assert ModelCard.from_json(block1.card.to_json()) == block1.card


def test_artifact_is_read_as_written(block1):
    read = read_artifact(block1.path)
    assert read == block1
    assert read.card.parity is not None


def test_model_that_is_not_the_cards_is_refused(block1, tmp_path):
    path = tmp_path / "m.onnx"
    write_artifact(path, block1.model, block1.card)
    path.write_bytes(block1.model[:-1] + b"\x00")
    with pytest.raises(ArtifactError, match="hash differs"):
        read_artifact(path)


def test_model_without_card_counts_as_absent(block1, tmp_path):
    path = tmp_path / "m.onnx"
    write_artifact(path, block1.model, block1.card)
    card_path(path).unlink()
    with pytest.raises(ArtifactError, match="No card"):
        read_artifact(path)


def test_old_card_goes_before_the_new_model_comes(block1, tmp_path, monkeypatch):
    path = tmp_path / "m.onnx"
    write_artifact(path, block1.model, block1.card)

    def fail(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("fmedge.files.write_bytes", fail)
    with pytest.raises(KeyboardInterrupt):
        write_artifact(path, b"other", block1.card)
    assert not card_path(path).exists()


@pytest.mark.parametrize(
    "change",
    [
        {"schema": 99},
        {"submodel": None},
        {"submodel": {"taps": ["nope"], "activation": "relu", "source": "vgg16"}},
        {"submodel": {"taps": [], "activation": "relu", "source": "vgg16"}},
        {"options": {"format": "exe"}},
        {"options": {"format": "onnx", "precision": "fp32", "converter": None, "size": [1, 2, 3, "x"], "sise": 1}},
        {"recipe": None},
        {"options": {**asdict(ExportOptions()), "batch": -1}},
        {"options": {**asdict(ExportOptions()), "batch": "x"}},
        {"options": {**asdict(ExportOptions()), "size": [1, 2]}},
        {"outputs": [{"name": "other", "dtype": "float32", "shape": [None, 64, 224, 224], "layout": "NCHW"}]},
        {"outputs": [{"name": "block1_conv1", "dtype": "float32", "shape": [None, 64, 224, 224], "layout": "NHWC"}]},
        {"outputs": [{"name": "block1_conv1", "dtype": "float32", "shape": [None, -4, 224, 224], "layout": "NCHW"}]},
        {"inputs": [{"name": "image", "dtype": "complex64", "shape": [None, 224, 224, 3], "layout": "NHWC"}]},
        {"inputs": []},
        {"outputs": []},
        {"inputs": [{"name": "image", "dtype": "uint8", "shape": ["x"], "layout": ""}]},
        {"weights": {"kind": "imagenet", "sha256": None, "extra": 1}},
        {"preprocessing": {"channel_order": "BGR", "mean": [1, 2], "in_model": True}},
        {"parity": {"gate": {}}},
        {"tools": []},
    ],
)
def test_damaged_cards_are_refused_in_one_line(block1, change):
    text = json.dumps({**json.loads(block1.card.to_json()), **change})
    with pytest.raises(ArtifactError) as caught:
        ModelCard.from_json(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "null", "{", "[" * 100_000])
def test_text_that_is_no_card(text):
    with pytest.raises(ArtifactError):
        ModelCard.from_json(text)
