"""Which models are known, and where that is recorded."""

import os
import stat
import subprocess
import sys
from dataclasses import replace

import pytest

from fmedge import export_submodel
from fmedge.model import known_models
from fmedge.model.submodel import ExportOptions
from fmedge.workflow.artifacts import create_artifact
from fmedge.workflow.request import request_artifact
from support.places import ROOT

OPTIONS = ExportOptions(size=(32, 32))


@pytest.fixture(autouse=True)
def state(monkeypatch, tmp_path):
    monkeypatch.setenv("FMEDGE_STATE", str(tmp_path / "state"))
    monkeypatch.setattr(known_models, "_made_here", set())
    return tmp_path / "state"


@pytest.fixture(scope="module")
def card(tmp_path_factory):
    models = tmp_path_factory.mktemp("m")
    return export_submodel("block1_conv1", weights="untrained", models=models, options=OPTIONS, verify=False).card


def test_nothing_is_known_at_first(state, card):
    assert not known_models.is_known(card)
    assert not state.exists()


def test_what_is_remembered_is_a_file_with_its_card(monkeypatch, state, card):
    known_models.remember(card)
    monkeypatch.setattr(known_models, "_made_here", set())
    assert known_models.is_known(card)
    assert known_models.is_known(replace(card, parity=None))
    assert not known_models.is_known(replace(card, file_sha256="cd" * 32))
    assert not known_models.is_known(replace(card, options=replace(card.options, size=(64, 64))))
    (marker,) = (state / "made").iterdir()
    assert len(marker.name) == 64
    assert marker.stat().st_size == 0
    if os.name == "posix":
        assert stat.S_IMODE(marker.parent.stat().st_mode) == 0o700


def test_what_is_forgotten_is_not_known(state, card):
    known_models.forget(card)
    known_models.remember(card)
    known_models.forget(card)
    assert not known_models.is_known(card)
    assert not list((state / "made").iterdir())


def test_what_does_not_last_is_known_to_this_process_alone(state, card):
    known_models.remember(card, lasting=False)
    assert known_models.is_known(card)
    assert not state.exists()


def test_an_export_is_remembered(monkeypatch, tmp_path):
    artifact = create_artifact(request_artifact("block1_conv1", weights="untrained", models=tmp_path), verify=False)
    monkeypatch.setattr(known_models, "_made_here", set())
    assert known_models.is_known(artifact.card)


@pytest.mark.parametrize("place", ["/proc/nowhere", "file"])
def test_where_nothing_can_be_written_nothing_fails(monkeypatch, tmp_path, place, card):
    (tmp_path / "file").touch()
    monkeypatch.setenv("FMEDGE_STATE", place if place.startswith("/") else str(tmp_path / place))
    assert not known_models.is_known(card)
    known_models.remember(card)
    assert known_models.is_known(card)  # in this process


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the folder is spelled out for Linux alone")
@pytest.mark.parametrize("data", ["", "relative", "/somewhere/data"])
def test_the_folder_is_the_one_platformdirs_names(monkeypatch, data):
    import platformdirs

    monkeypatch.delenv("FMEDGE_STATE")
    monkeypatch.setenv("XDG_DATA_HOME", data)
    if data != "relative":  # the standard says to ignore relative paths
        assert str(known_models.state_folder()) == platformdirs.user_data_dir("fmedge", appauthor=False)
    assert known_models.state_folder().is_absolute()


def test_no_engine_is_imported():
    script = (
        "import sys, fmedge.model.known_models; assert not {'numpy', 'onnxruntime', 'platformdirs'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT)


def test_the_folder_is_this_users_alone_whatever_the_umask(monkeypatch, tmp_path, card):
    """So is every folder above it that is created on the way."""
    former = os.umask(0)
    try:
        for number, name in enumerate(("one", "two/deep", "three/deeper/still")):
            monkeypatch.setenv("FMEDGE_STATE", str(tmp_path / "there" / name))
            (tmp_path / "there").mkdir(exist_ok=True)
            known_models.remember(card)
            monkeypatch.setattr(known_models, "_made_here", set())
            assert known_models.is_known(card), number
    finally:
        os.umask(former)
    created = list((tmp_path / "there").rglob("*"))
    assert len(created) == 3 + 3 + 3 + 3
    assert {stat.S_IMODE(path.stat().st_mode) for path in created if path.is_dir()} == {0o700}
    assert {stat.S_IMODE(path.stat().st_mode) for path in created if path.is_file()} == {0o600}
