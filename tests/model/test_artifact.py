"""Cards, and the pair of model and card."""

import json
import os
import stat
from dataclasses import asdict
from pathlib import Path

import pytest

from fmedge.errors import ArtifactError
from fmedge.model.artifact import card_path, read_artifact, write_artifact
from fmedge.model.card import ModelCard
from fmedge.model.submodel import ExportOptions


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

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(KeyboardInterrupt):
        write_artifact(path, b"other", block1.card)
    assert not card_path(path).exists()


def test_the_card_takes_its_name_last_and_all_is_on_the_disk_before(block1, tmp_path, monkeypatch):
    events = []
    fsync, replace, unlink = os.fsync, Path.replace, Path.unlink

    def synced(descriptor):
        events.append("file" if stat.S_ISREG(os.fstat(descriptor).st_mode) else "folder")
        fsync(descriptor)

    def renamed(path, target):
        events.append(target.name)
        return replace(path, target)

    def removed(path, missing_ok=False):
        events.append(f"no {path.name}")
        unlink(path, missing_ok)

    path = tmp_path / "m.onnx"
    write_artifact(path, block1.model, block1.card)
    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", renamed)
    monkeypatch.setattr(Path, "unlink", removed)
    write_artifact(path, block1.model, block1.card)
    assert events[:8] == ["file", "file", "no m.onnx.json", "folder", "m.onnx", "folder", "m.onnx.json", "folder"]


@pytest.mark.skipif(os.name != "posix", reason="POSIX locks")
def test_two_commits_in_one_folder_follow_one_another(block1, tmp_path):
    """Each writer's files stay together: no model of one with the card of another."""
    from concurrent.futures import ProcessPoolExecutor

    path = tmp_path / "m.onnx"
    with ProcessPoolExecutor(4) as pool:
        list(pool.map(_commit_often, [path] * 4, [block1] * 4, (b"a", b"b", b"c", b"d")))
    assert read_artifact(path).model in {block1.model + letter for letter in (b"a", b"b", b"c", b"d")}
    assert len(os.listdir(tmp_path)) == 2


@pytest.mark.skipif(os.name != "posix", reason="POSIX locks")
def test_an_artifact_is_never_read_in_the_middle_of_a_commit(block1, tmp_path):
    from concurrent.futures import ProcessPoolExecutor

    path = tmp_path / "m.onnx"
    write_artifact(path, block1.model, block1.card)
    with ProcessPoolExecutor(2) as pool:
        writers = pool.map(_commit_often, [path] * 2, [block1] * 2, (b"a", b"b"))
        for _ in range(300):
            read_artifact(path)
        list(writers)


def _commit_often(path, artifact, end):
    for _ in range(50):
        write_artifact(path, artifact.model + end, artifact.card)


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
