"""What is kept of the weights of fmedge's own kernels, and that no run depends on it."""

import os
from pathlib import Path

import numpy as np
import pytest

from fmedge.export.native import direct
from fmedge.model.run_options import RunOptions
from fmedge.model.submodel import Format
from fmedge.runtime.engines import packed_weights
from fmedge.runtime.opening import open_session
from support.builds import build

KEPT = np.arange(50_000, dtype=np.uint32).view(np.uint8)


@pytest.fixture
def folder():
    return Path(os.environ["XDG_CACHE_HOME"]) / "fmedge" / "packed"


def test_what_is_kept_is_found(folder):
    packed_weights.keep("a.avx2", KEPT)
    assert [file.name for file in folder.iterdir()] == ["a.avx2"]
    found = packed_weights.find("a.avx2", KEPT.size)
    assert found is not None
    np.testing.assert_array_equal(found, KEPT)
    assert not found.flags.writeable
    assert found.ctypes.data % 64 == 0


def test_another_size_or_name_is_not_found():
    packed_weights.keep("a.avx2", KEPT)
    assert packed_weights.find("a.avx2", KEPT.size - 1) is None
    assert packed_weights.find("b.avx2", KEPT.size) is None


def test_what_the_disk_would_have_to_read_is_not_used(monkeypatch):
    packed_weights.keep("a.avx2", KEPT)
    monkeypatch.setattr(packed_weights, "_part_in_memory", lambda _: 0.5)
    assert packed_weights.find("a.avx2", KEPT.size) is None


def test_the_oldest_make_room(folder, monkeypatch):
    monkeypatch.setattr(packed_weights, "MOST_BYTES", 2 * KEPT.size)
    for number, name in enumerate(("a", "b", "c")):
        packed_weights.keep(name, KEPT)
        os.utime(folder / name, (number, number))
    assert {file.name for file in folder.iterdir()} == {"b", "c"}
    assert packed_weights.find("b", KEPT.size) is not None  # it is used now, so c is the oldest
    packed_weights.keep("d", KEPT)
    assert {file.name for file in folder.iterdir()} == {"b", "d"}


@pytest.mark.parametrize("obstacle", ["no home", "a file in the way", "little space"])
def test_where_nothing_can_be_kept_nothing_happens(folder, monkeypatch, obstacle):
    if obstacle == "no home":
        monkeypatch.delenv("HOME")
    elif obstacle == "a file in the way":
        folder.parent.mkdir(parents=True)
        folder.write_bytes(b"")
    else:
        monkeypatch.setattr(packed_weights, "_SPARE", 1e12)
    packed_weights.keep("a", KEPT)
    assert packed_weights.find("a", KEPT.size) is None


@pytest.fixture
def model(untrained_network, monkeypatch):
    pytest.importorskip("fmedge_native", reason="needs fmedge-native: pip install ./native")
    monkeypatch.setattr(packed_weights, "LEAST_BYTES", 0)
    return build(direct, untrained_network, "block1_conv2", "none", size=(37, 53), format=Format.NATIVE)


def maps_of(model):
    image = np.random.default_rng(3).integers(0, 256, (1, 37, 53, 3), dtype=np.uint8)
    with open_session(model, RunOptions(backend="native")) as session:
        return session.run(image)["block1_conv2"]


def test_runs_with_and_without_kept_weights_agree(model, folder, monkeypatch):
    expected = maps_of(model)
    (file,) = folder.iterdir()
    assert file.name.startswith(f"{model.card.file_sha256}.")
    monkeypatch.setattr(packed_weights, "new", None)  # from now on they are not packed
    np.testing.assert_array_equal(maps_of(model), expected)


@pytest.mark.parametrize("place", [0, 8, 40, 2_000, -1])
def test_damaged_weights_are_packed_anew(model, folder, place):
    expected = maps_of(model)
    (file,) = folder.iterdir()
    content = file.read_bytes()
    damaged = bytearray(content)
    damaged[place] ^= 1
    file.write_bytes(damaged)
    np.testing.assert_array_equal(maps_of(model), expected)
    assert file.read_bytes() == content


def test_kept_weights_of_another_model_are_not_used(untrained_network, model, folder):
    other = build(direct, untrained_network, "block1_conv2", "relu", size=(37, 53), format=Format.NATIVE)
    maps_of(other)
    (file,) = folder.iterdir()
    expected = maps_of(model)
    (own,) = set(folder.iterdir()) - {file}
    file.replace(own)
    np.testing.assert_array_equal(maps_of(model), expected)
    assert (expected < 0).any()
