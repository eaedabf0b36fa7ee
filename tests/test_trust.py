"""Which models are known, and where that is remembered."""

import hashlib
import os
import stat
import subprocess
import sys

import pytest
from conftest import ROOT

from fmedge import trust
from fmedge.provision import create_artifact
from fmedge.request import request_artifact

HASH = "ab" * 32


@pytest.fixture(autouse=True)
def state(monkeypatch, tmp_path):
    monkeypatch.setenv("FMEDGE_STATE", str(tmp_path / "state"))
    monkeypatch.setattr(trust, "_made_here", set())
    return tmp_path / "state"


def test_nothing_is_known_at_first(state):
    assert not trust.is_known(HASH, "onnxruntime-1")
    assert not state.exists()


def test_what_was_made_is_known_to_every_engine(monkeypatch):
    trust.remember_made(HASH)
    monkeypatch.setattr(trust, "_made_here", set())
    assert trust.is_known(HASH, "onnxruntime-1")
    assert trust.is_known(HASH, "litert-2")
    assert not trust.is_known("cd" * 32, "litert-2")


def test_what_was_tried_is_known_to_that_engine_alone():
    trust.remember_tried(HASH, "onnxruntime-1.31.1")
    assert trust.is_known(HASH, "onnxruntime-1.31.1")
    assert not trust.is_known(HASH, "onnxruntime-1.32.0")
    assert not trust.is_known(HASH, "litert-2.3.0")


def test_what_does_not_last_is_known_to_this_process_alone(state):
    trust.remember_made(HASH, lasting=False)
    assert trust.is_known(HASH, "litert-2")
    assert not state.exists()


def test_an_export_is_remembered_by_its_hash_alone(state, tmp_path):
    artifact = create_artifact(request_artifact("block1_conv1", weights="untrained", models=tmp_path), verify=False)
    (marker,) = (state / "made").iterdir()
    assert marker.name == hashlib.sha256(artifact.model).hexdigest() == artifact.card.file_sha256
    assert marker.stat().st_size == 0
    if os.name == "posix":
        assert stat.S_IMODE(marker.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("place", ["/proc/nowhere", "file"])
def test_where_nothing_can_be_written_nothing_fails(monkeypatch, tmp_path, place):
    (tmp_path / "file").touch()
    monkeypatch.setenv("FMEDGE_STATE", place if place.startswith("/") else str(tmp_path / place))
    trust.remember_tried(HASH, "litert-2")
    assert not trust.is_known(HASH, "litert-2")
    trust.remember_made(HASH)
    assert trust.is_known(HASH, "litert-2")  # in this process


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the folder is spelled out for Linux alone")
@pytest.mark.parametrize("data", ["", "relative", "/somewhere/data"])
def test_the_folder_is_the_one_platformdirs_names(monkeypatch, data):
    import platformdirs

    monkeypatch.delenv("FMEDGE_STATE")
    monkeypatch.setenv("XDG_DATA_HOME", data)
    if data != "relative":  # which the standard wants ignored
        assert str(trust.state_folder()) == platformdirs.user_data_dir("fmedge", appauthor=False)
    assert trust.state_folder().is_absolute()


def test_no_engine_is_imported():
    script = "import sys, fmedge.trust; assert not {'numpy', 'onnxruntime', 'platformdirs'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT)


def test_the_folder_is_this_users_alone_whatever_the_umask(monkeypatch, tmp_path):
    """And every folder above it that is created on the way."""
    former = os.umask(0)
    try:
        for number, name in enumerate(("one", "two/deep", "three/deeper/still")):
            monkeypatch.setenv("FMEDGE_STATE", str(tmp_path / "there" / name))
            (tmp_path / "there").mkdir(exist_ok=True)
            trust.remember_made(HASH)
            monkeypatch.setattr(trust, "_made_here", set())
            assert trust.is_known(HASH, "any"), number
    finally:
        os.umask(former)
    created = list((tmp_path / "there").rglob("*"))
    assert len(created) == 3 + 3 + 3 + 3
    assert {stat.S_IMODE(path.stat().st_mode) for path in created if path.is_dir()} == {0o700}
    assert {stat.S_IMODE(path.stat().st_mode) for path in created if path.is_file()} == {0o600}
