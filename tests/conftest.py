"""Data and models that the tests share, and the command, in a process of its own or in this one."""

from __future__ import annotations

import compileall
import contextlib
import functools
import itertools
import os
import signal
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path
from py_compile import PycInvalidationMode

import numpy as np
import pytest
import typer.main
from PIL import Image

from fmedge.cli import main
from fmedge.model.submodel import SubModel
from fmedge.model.weights import UNTRAINED, load_weights
from fmedge.system.processor import missing_features
from support.locks import locked
from support.places import ROOT, TEST_DATA

if missing_features("TensorFlow"):  # importing it would end the tests by a signal: it counts as not installed
    sys.modules.update(dict.fromkeys(("tensorflow", "keras", "tf2onnx")))

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # in a shell's background; children would ignore it, too
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_configure(config):
    """Before workers start: what lets several of them, and the commands that they run, share the cores.

    Threads of NumPy and ncnn spin while they wait for each other, and take the cores from other workers: NumPy gets
    one, and ncnn's go to sleep. The package is compiled: where Python may keep no bytecode, every command would do it
    anew. Bytecode is held against its source by a hash: a file may change twice in a second, as planted faults do.
    """
    if config.getoption("numprocesses", None) and not hasattr(config, "workerinput"):
        for name, value in (("OPENBLAS_NUM_THREADS", "1"), ("OMP_WAIT_POLICY", "passive")):
            os.environ.setdefault(name, value)
        compileall.compile_dir(ROOT / "fmedge", quiet=2, invalidation_mode=PycInvalidationMode.CHECKED_HASH)


@pytest.hookimpl(tryfirst=True)  # before those that are slow are left out
def pytest_collection_modifyitems(items):
    matrices = defaultdict(list)
    for item in items:
        if (mark := item.get_closest_marker("few")) and not item.get_closest_marker("slow"):
            matrices[item.nodeid.partition("[")[0], mark.args[0]].append(item)
        if mark := item.get_closest_marker("cases"):
            item.user_properties.append(("cases", (mark.args[0], 1)))
        if item.get_closest_marker("imagenet") and not TEST_DATA.is_dir():
            item.add_marker(pytest.mark.skip(reason=f"no real weights and photos in {TEST_DATA}: set FMEDGE_TEST_DATA"))
    for (_, number), cases in matrices.items():
        kept = {place * (len(cases) - 1) // max(1, number - 1) for place in range(number)}
        for item in (item for place, item in enumerate(cases) if place not in kept):
            item.add_marker(pytest.mark.slow)


def _common_folder(config) -> Path | None:
    """The folder that the workers of this run share; None where there are no workers."""
    if not hasattr(config, "workerinput"):
        return None
    return config._tmp_path_factory.getbasetemp().parent


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    """A test marked ``alone`` runs while no other worker runs a test.

    Every test holds one lock, which those share that are not alone; whoever comes asks for it at a gate, so that a test
    that waits to be alone is the next.
    """
    common = _common_folder(item.config)
    if common is None:
        return (yield)
    with contextlib.ExitStack() as held:
        with locked(common / "gate.lock"):
            held.enter_context(locked(common / "machine.lock", shared=not item.get_closest_marker("alone")))
        return (yield)


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


@pytest.fixture(scope="session")
def untrained_models(pytestconfig, tmp_path_factory) -> Path:
    """A folder of models that tests may add to, one for all workers; FMEDGE_TEST_MODELS names one that lasts."""
    if kept := os.environ.get("FMEDGE_TEST_MODELS"):
        return Path(kept)
    common = _common_folder(pytestconfig)
    if common is None:
        return tmp_path_factory.mktemp("models")
    (common / "models").mkdir(exist_ok=True)
    return common / "models"


@pytest.fixture(scope="session", autouse=True)
def _own_state(untrained_models):
    """What is known of models lasts as long as the artifacts that tests share."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FMEDGE_STATE", str(untrained_models / "state"))
        yield


@pytest.fixture(scope="session", autouse=True)
def _commands_built_once():
    """Typer builds every command anew at each call, which takes longer than what most of them do."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(typer.main, "get_command", functools.cache(typer.main.get_command))
        yield


@pytest.fixture(scope="session")
def _homes(tmp_path_factory):
    """Folders, one after the other: pytest would look through all former ones for each."""
    folder = tmp_path_factory.mktemp("homes")
    return (folder / str(number) for number in itertools.count())


@pytest.fixture(autouse=True)
def _own_surroundings(monkeypatch, _homes):
    """No test sees the user's weights, models or caches, or reaches the network by them."""
    home = next(_homes)
    home.mkdir()
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
    """The artifact of block1_conv1 with untrained weights, an ONNX file.

    Beside it lies what runs take by default: no command that looks there exports it first.
    """
    from fmedge.model.submodel import ExportOptions
    from fmedge.workflow.request import default_options, request_artifact
    from support.models import artifact_for

    def made(options):
        request = request_artifact("block1_conv1", weights="untrained", models=untrained_models, options=options)
        return artifact_for(request)

    made(default_options())
    return made(ExportOptions())


@pytest.fixture
def submodel() -> SubModel:
    return SubModel(("block1_conv1",))


@pytest.fixture(scope="session")
def photos_folder(tmp_path_factory) -> Path:
    """Sixteen small pictures to calibrate with: soft noise of several sizes and colours."""
    folder = tmp_path_factory.mktemp("calibration")
    generator = np.random.default_rng(11)
    for index in range(16):
        coarse = generator.integers(0, 256, (3 + index, 4 + index, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((256, 224), Image.Resampling.BICUBIC).save(folder / f"{index:02}.png")
    return folder


@pytest.fixture
def fmedge_process(tmp_path):
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


@pytest.fixture
def fmedge_inprocess(tmp_path, monkeypatch, capsys):
    """The same in this process: faster, for what neither signals, streams nor limits of a process have to do with."""
    monkeypatch.chdir(tmp_path)

    def run(*words, code=0, **environment):
        words = list(map(str, words))
        capsys.readouterr()
        with monkeypatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value)
            found = main(words)
        said = subprocess.CompletedProcess(words, found, *capsys.readouterr())
        assert said.returncode == code, said.stderr
        return said

    return run
