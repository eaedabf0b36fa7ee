"""ncnn: its values, its options, its memory."""

import gc
import os
import subprocess
import sys
import threading
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from fmedge.errors import ArtifactError, ProviderUnavailable
from fmedge.export.ncnn import direct as ncnn_direct
from fmedge.model.artifact import write_artifact
from fmedge.model.parity import GATES, measure_parity
from fmedge.model.run_options import RunOptions
from fmedge.model.submodel import Format
from fmedge.runtime.gate import checks
from fmedge.runtime.opening import open_session
from support.builds import build
from support.places import ROOT

NCNN = {"format": Format.NCNN}


@pytest.fixture(scope="module")
def ncnn():
    return pytest.importorskip("ncnn", reason="needs ncnn: pip install 'fmedge[ncnn]'")


@pytest.fixture(scope="module")
def small(untrained_network):
    """Two taps of a picture that is no multiple of anything."""
    return build(ncnn_direct, untrained_network, "block1_conv2+block2_conv1", "none", size=(37, 53), **NCNN)


@pytest.fixture(scope="module")
def opened(untrained_network):
    """A model of any size."""
    return build(ncnn_direct, untrained_network, "block2_conv1", size=None, **NCNN)


def pictures(count, height=37, width=53):
    return np.random.default_rng(3).integers(0, 256, (count, height, width, 3), dtype=np.uint8)


def test_a_batch_is_its_images(ncnn, small):
    images = pictures(3)
    with open_session(small, RunOptions(threads=1)) as session:
        every = session.run(images)
        alone = [session.run(image[np.newaxis]) for image in images]
    for name, maps in every.items():
        assert maps.flags.c_contiguous
        np.testing.assert_array_equal(maps, np.concatenate([maps_of[name] for maps_of in alone]))


def test_out_is_filled(ncnn, small):
    images = pictures(2)
    with open_session(small, RunOptions(threads=1)) as session:
        expected = session.run(images)
        out = {name: np.empty_like(maps) for name, maps in expected.items()}
        found = session.run(images, out)
    for name, maps in expected.items():
        assert found[name] is out[name]
        np.testing.assert_array_equal(out[name], maps)


def test_every_size_agrees_with_the_reference(ncnn, opened, untrained_network):
    with open_session(opened, RunOptions(threads=2)) as session:
        for height, width in ((2, 2), (3, 5), (17, 2), (37, 53), (64, 1 + 64), (224, 224)):
            images = pictures(1, height, width)
            found = session.run(images)["block2_conv1"]
            expected = untrained_network.reference(opened.card.submodel, images)["block2_conv1"]
            assert found.shape == expected.shape
            np.testing.assert_allclose(found, expected, atol=1e-5 * np.ptp(expected))


def test_outputs_outlive_the_session(ncnn, small):
    with open_session(small) as session:
        found = session.run(pictures(1))
    kept = {name: maps.copy() for name, maps in found.items()}
    del session
    gc.collect()
    for name, maps in found.items():
        np.testing.assert_array_equal(maps, kept[name])


def test_a_net_may_outlive_its_session(ncnn, small):
    """As where an error's frames hold it: its memory is still there to be given back to."""
    for _ in range(3):
        session = open_session(small)
        session.run(pictures(1))
        net = session._engine._net
        del session
        gc.collect()
        net.clear()
        del net


def test_images_stay_as_they_are(ncnn, untrained_network):
    artifact = build(ncnn_direct, untrained_network, "block1_conv1", size=(16, 16), input_dtype="float32", **NCNN)
    images = pictures(2, 16, 16).astype(np.float32)
    kept = images.copy()
    with open_session(artifact) as session:
        session.run(images)
    np.testing.assert_array_equal(images, kept)


def test_one_thread_after_the_other(ncnn, small):
    """A session opened in one thread and used in others gives the same values."""
    images = pictures(1)
    found = []
    with open_session(small, RunOptions(threads=2)) as session:
        found.append(session.run(images))
        for _ in range(4):
            thread = threading.Thread(target=lambda: found.append(session.run(images)))
            thread.start()
            thread.join()
    assert len(found) == 5
    for other in found[1:]:
        for name, maps in other.items():
            np.testing.assert_array_equal(maps, found[0][name])


def test_threads_do_not_change_the_values_much(ncnn, small):
    found = []
    for threads in (1, 2, 3):
        with open_session(small, RunOptions(threads=threads)) as session:
            assert session.threads == threads
            found.append(session.run(pictures(1))["block2_conv1"])
    for other in found[1:]:
        np.testing.assert_allclose(other, found[0], atol=1e-5 * np.ptp(found[0]))


def test_float32_unless_asked(ncnn, small, untrained_network):
    images = pictures(1)
    expected = untrained_network.reference(small.card.submodel, images)["block2_conv1"]
    errors = {}
    for math in ("fp32", "bf16"):
        with open_session(small, RunOptions(math=math)) as session:
            errors[math] = np.abs(session.run(images)["block2_conv1"] - expected).max() / np.ptp(expected)
    assert errors["fp32"] < 1e-5
    assert errors["bf16"] < 2e-2


def test_placement(ncnn, small):
    with open_session(small) as session:
        assert session.active_provider == "CPU"
        assert session.placement == {"CPU": {"Scale": 1, "Convolution": 3, "ReLU": 1, "Pooling": 1}}


def test_no_graphics_card(ncnn, small, monkeypatch):
    from fmedge.runtime.engines import ncnn_engine

    monkeypatch.setattr(ncnn_engine.ncnn, "get_gpu_count", lambda: 0)
    with pytest.raises(ProviderUnavailable, match="no GPU with Vulkan"):
        open_session(small, RunOptions(device="vulkan"))
    with open_session(small, RunOptions(device="vulkan", allow_fallback=True)) as session:
        assert session.active_provider == "CPU"


VULKAN = """
import sys, numpy as np
from pathlib import Path
from fmedge import RunOptions, open_session, read_artifact
from fmedge.errors import ProviderUnavailable
from fmedge.model import known_models
from fmedge.runtime.engines import ncnn_engine
if ncnn_engine.ncnn.get_gpu_count() == 0:
    sys.exit(77)
artifact, images = read_artifact(Path(sys.argv[1])), np.load(sys.argv[2])
known_models.remember(artifact.card, lasting=False)  # or it would run in a process that does not take Mesa's card
if ncnn_engine._graphics_card() is None:
    try:
        open_session(artifact, RunOptions(device="vulkan"))
    except ProviderUnavailable as error:
        assert "no GPU with Vulkan" in str(error)
    ncnn_engine._SOFTWARE = -1
with open_session(artifact, RunOptions(device="vulkan")) as session:
    assert session.active_provider.startswith("Vulkan ("), session.active_provider
    assert set(session.placement) == {session.active_provider}, session.placement
    tap, maps = session.run(images).popitem()
np.save(sys.argv[2], maps)
"""


def test_vulkan_computes_the_same(ncnn, small, tmp_path):
    """On a graphics card; where there is none, on Mesa's, which the CPU computes, and which is refused as a device."""
    pixels = tmp_path / "pixels.npy"
    images = np.random.default_rng(1).integers(0, 256, (2, *small.card.options.size, 3), dtype=np.uint8)
    np.save(pixels, images)
    write_artifact(tmp_path / "small.ncnn.param", small.model, small.card, small.weights)
    words = [sys.executable, "-c", VULKAN, str(tmp_path / "small.ncnn.param"), str(pixels)]
    ran = subprocess.run(words, capture_output=True, text=True, cwd=ROOT)
    if ran.returncode == 77:
        pytest.skip("no Vulkan device, not even Mesa's: apt install mesa-vulkan-drivers")
    assert ran.returncode == 0, ran.stderr
    with open_session(small) as session:
        _, expected = session.run(images).popitem()
    parity = measure_parity(np.load(pixels), expected, GATES["fp32"])
    assert parity.passed, parity.describe()


def test_layers_that_vulkan_does_not_know_are_not_hidden(ncnn, small, monkeypatch):
    """With a card that is not there: every layer says that it is for the CPU alone."""
    from fmedge.runtime.engines import ncnn_engine

    monkeypatch.setattr(ncnn_engine, "_choose", lambda *_: ("Vulkan", None))
    with pytest.raises(ProviderUnavailable, match="Vulkan cannot run Convolution, Pooling, ReLU, Scale"):
        open_session(small, RunOptions(device="vulkan"))
    layers = [SimpleNamespace(type="Convolution", support_vulkan=True), SimpleNamespace(type="X", support_vulkan=False)]
    assert ncnn_engine._placement(layers, "Vulkan") == {"Vulkan": {"Convolution": 1}, "CPU": {"X": 1}}
    assert ncnn_engine._placement(layers, "CPU") == {"CPU": {"Convolution": 1, "X": 1}}


def test_weights_are_never_read_beyond_their_end(ncnn, small, monkeypatch):
    """Even without the gate."""
    facts = checks.require_artifact(small)
    monkeypatch.setattr("fmedge.runtime.opening.require_artifact", lambda _: facts)
    for length in (0, 2, 25, 100, len(small.weights) - 1):
        with pytest.raises(ArtifactError, match="ncnn cannot load"):
            open_session(replace(small, weights=small.weights[:length]))


MEMORY = """
import sys
sys.path.insert(0, {tests!r})
import numpy as np
from support.builds import build
from fmedge.export.ncnn import direct as ncnn_direct
from fmedge.export.stock_network import StockNetwork
from fmedge.model.run_options import RunOptions
from fmedge.runtime.opening import open_session
from fmedge.model.submodel import Format
from fmedge.model.weights import UNTRAINED, load_weights
network = StockNetwork(*load_weights(UNTRAINED, "block2_conv1"))
artifact = build(ncnn_direct, network, "block1_conv2+block2_conv1", "none", size=(32, 32), format=Format.NCNN)
image = np.zeros((1, 32, 32, 3), np.uint8)
def resident():
    for line in open("/proc/self/status"):
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
opened, runs = int(sys.argv[1]), int(sys.argv[2])
for number in range(opened):
    if number == opened // 3:
        before = resident()
    with open_session(artifact, RunOptions(threads=1)) as session:
        session.run(image)
print(resident() - before)
with open_session(artifact, RunOptions(threads=1)) as session:
    for number in range(runs):
        if number == runs // 10:
            before = resident()
        session.run(image)
print(resident() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(("opened", "runs"), [(30, 200), pytest.param(300, 10_000, marks=pytest.mark.slow)])
def test_memory_does_not_grow(ncnn, opened, runs):
    script = MEMORY.format(tests=str(ROOT / "tests"))
    command = [sys.executable, "-c", script, str(opened), str(runs)]
    run = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=600, check=True)
    sessions, calls = map(float, run.stdout.split())
    assert sessions < 10
    assert calls < 10


SHORT = """
import resource, sys
sys.path.insert(0, {tests!r})
import numpy as np
from support.builds import build
from fmedge.errors import LimitExceeded
from fmedge.export.ncnn import direct as ncnn_direct
from fmedge.export.stock_network import StockNetwork
from fmedge.model.run_options import RunOptions
from fmedge.runtime.opening import open_session
from fmedge.model.submodel import Format
from fmedge.model.weights import UNTRAINED, load_weights
network = StockNetwork(*load_weights(UNTRAINED, "block3_conv1"))
artifact = build(ncnn_direct, network, "block3_conv1", size=None, format=Format.NCNN)
small, large = np.zeros((1, 32, 32, 3), np.uint8), np.zeros((1, 1200, 1200, 3), np.uint8)
with open_session(artifact, RunOptions(threads=1)) as session:
    session.run(small)
    used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + int(sys.argv[1]) * 2**20,) * 2)
    try:
        session.run(large)
    except LimitExceeded as error:
        print(error)
    session.run(small)
    try:
        open_session(artifact, RunOptions(threads=1)).close()
    except LimitExceeded as error:
        print(error)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="sets a limit that Linux keeps")
@pytest.mark.parametrize(("megabytes", "loads"), [(4, False), (12, False), (200, True)])
def test_memory_runs_out_in_one_line(ncnn, megabytes, loads):
    script = SHORT.format(tests=str(ROOT / "tests"))
    command = [sys.executable, "-c", script, str(megabytes)]
    run = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=300, check=True)
    lines = run.stdout.splitlines()
    assert lines[0].startswith("A run on 1 x 1,200 x 1,200 pixels needs about")
    assert len(lines) == (1 if loads else 2)
    assert loads or "needs about 38.5 MB of memory" in lines[1]  # asked before the engine is
    assert run.stderr == ""


WAITING = """
import os
import sys
seen = {}
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "ncnn" and not seen:
            seen.update({word: os.environ.get(word) for word in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")})
sys.meta_path.insert(0, Finder())
import contextlib
from fmedge.system.stderr import own_process
with own_process() if sys.argv[1] == "ours" else contextlib.nullcontext():
    import fmedge.runtime.engines.ncnn_engine
print(*seen.values(), *(os.environ.get(word) for word in seen))
"""


@pytest.mark.parametrize(
    ("whose", "given", "wanted"),
    [
        ("ours", {}, "passive 3000 None None"),
        ("ours", {"OMP_WAIT_POLICY": "active"}, "active None active None"),
        ("ours", {"GOMP_SPINCOUNT": "7"}, "None 7 None 7"),
        ("somebody's", {}, "None None None None"),
    ],
)
def test_threads_wait_as_they_are_told(ncnn, whose, given, wanted):
    """The library reads the environment when it is loaded; afterwards it is as it was. Somebody else's is let alone."""
    kept = {name: value for name, value in os.environ.items() if name not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    process = subprocess.run(
        [sys.executable, "-c", WAITING, whose],
        env={**kept, **given, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert process.stdout.strip() == wanted
