"""Data and models that the tests share."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fmedge.model.submodel import SubModel
from fmedge.model.weights import UNTRAINED, load_weights
from fmedge.system.processor import missing_features
from support.places import ROOT, TEST_DATA

if missing_features("TensorFlow"):  # importing it would end the tests by a signal: it counts as not installed
    sys.modules.update(dict.fromkeys(("tensorflow", "keras", "tf2onnx")))


def pytest_collection_modifyitems(items):
    for item in items:
        if mark := item.get_closest_marker("cases"):
            item.user_properties.append(("cases", (mark.args[0], 1)))
        if item.get_closest_marker("imagenet") and not TEST_DATA.is_dir():
            item.add_marker(pytest.mark.skip(reason=f"no real weights and photos in {TEST_DATA}: set FMEDGE_TEST_DATA"))


def pytest_terminal_summary(terminalreporter):
    """How many hostile files, faults and odd inputs were gone through, of each subject."""
    counts = Counter()
    for report in terminalreporter.stats.get("passed", ()):
        for subject, number in (value for name, value in report.user_properties if name == "cases"):
            counts[subject] += number
    if counts:
        each = "; ".join(f"{subject} {number:,}" for subject, number in sorted(counts.items()))
        terminalreporter.write_line(f"{counts.total():,} cases answered as they should be: {each}")


@pytest.fixture
def cases(record_property):
    """Say ``cases(subject, number)``: so many cases of a subject were gone through. They are told at the end."""
    return lambda subject, number: record_property("cases", (subject, number))


@pytest.fixture(scope="session", autouse=True)
def _own_state(tmp_path_factory):
    """What is known of models lasts as long as the artifacts that tests share."""
    kept = os.environ.get("FMEDGE_TEST_MODELS")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FMEDGE_STATE", str(Path(kept, "state") if kept else tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(autouse=True)
def _own_surroundings(monkeypatch, tmp_path_factory):
    """No test sees the user's weights, models or caches, or reaches the network by them."""
    home = tmp_path_factory.mktemp("home")
    for name in ("FMEDGE_WEIGHTS", "FMEDGE_MODELS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "cache"))
    monkeypatch.setenv("KERAS_HOME", str(home / "keras"))


@pytest.fixture(scope="session")
def real_weights() -> Path:
    return next((TEST_DATA / "vgg16").glob("*.h5"))


@pytest.fixture(scope="session")
def photos() -> list[Path]:
    return sorted(path for path in (TEST_DATA / "photos").iterdir() if path.suffix in {".png", ".jpg"})


@pytest.fixture(scope="session")
def picture(tmp_path_factory) -> Path:
    """A small picture, taller than wide, of which no two corners or colours are alike."""
    generator = np.random.default_rng(7)
    pixels = generator.integers(0, 60, (90, 60, 3), dtype=np.uint8)
    pixels[:30, :20] += np.array([180, 0, 0], np.uint8)
    pixels[60:, :20] += np.array([0, 180, 0], np.uint8)
    pixels[:30, 40:] += np.array([0, 0, 180], np.uint8)
    path = tmp_path_factory.mktemp("picture") / "picture.png"
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture(scope="session")
def untrained_models(tmp_path_factory) -> Path:
    """A folder of models that tests may add to; FMEDGE_TEST_MODELS names one that outlives the tests."""
    kept = os.environ.get("FMEDGE_TEST_MODELS")
    return Path(kept) if kept else tmp_path_factory.mktemp("models")


@pytest.fixture(scope="session")
def untrained_weights():
    """Seeded weights of the whole network."""
    return load_weights(UNTRAINED, "block5_pool")[0]


@pytest.fixture(scope="session")
def untrained_network(untrained_weights):
    """Those weights as a network to cut."""
    from fmedge.export.stock_network import StockNetwork

    return StockNetwork(untrained_weights, UNTRAINED.facts)


@pytest.fixture
def block1(untrained_models):
    """The artifact of block1_conv1 with untrained weights."""
    from fmedge.workflow.artifacts import obtain_artifact
    from fmedge.workflow.request import request_artifact

    request = request_artifact("block1_conv1", weights="untrained", models=untrained_models)
    return obtain_artifact(request)


@pytest.fixture
def submodel() -> SubModel:
    return SubModel(("block1_conv1",))


@pytest.fixture(scope="session")
def photos_folder(tmp_path_factory) -> Path:
    """Eighteen small pictures to calibrate with: soft noise of several sizes and colours."""
    folder = tmp_path_factory.mktemp("calibration")
    generator = np.random.default_rng(11)
    for index in range(18):
        coarse = generator.integers(0, 256, (3 + index, 4 + index, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((256, 224), Image.Resampling.BICUBIC).save(folder / f"{index:02}.png")
    return folder


@pytest.fixture
def fmedge(tmp_path):
    """The command as a user types it, in a process of its own and a folder of the test's."""

    def run(*words, code=0, before=("-m", "fmedge"), **environment):
        process = subprocess.run(
            [sys.executable, *before, *map(str, words)],
            cwd=tmp_path,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
                **environment,
            },
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert process.returncode == code, process.stderr
        return process

    return run
