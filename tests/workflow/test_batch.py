"""Many images: shared out, in order, a few at a time."""

import signal
import subprocess
import sys
import threading
import weakref
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import fmedge
from fmedge.errors import ImageError, LimitExceeded, UsageError, WriteError
from fmedge.model.parity import GATES, measure_parity
from fmedge.model.run_options import RunOptions
from fmedge.model.submodel import ExportOptions
from fmedge.runtime.backends import BACKENDS, find_backend
from fmedge.runtime.opening import open_session
from fmedge.runtime.session import Session
from fmedge.workflow import batch
from fmedge.workflow.batch import MAX_WORKERS, run_many, share_out
from fmedge.workflow.pipeline import run_artifact
from fmedge.workflow.request import request_artifact
from support.messages import says
from support.models import artifact_for, name_of_run
from support.places import ROOT


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Twelve pictures, the first by far the largest: it takes longest to decode."""
    folder = tmp_path_factory.mktemp("pictures")
    generator = np.random.default_rng(3)
    for number in range(12):
        size = (1500, 1500, 3) if number == 0 else (30 + number, 40, 3)
        Image.fromarray(generator.integers(0, 256, size, dtype=np.uint8)).save(folder / f"{number:02}.png")
    return sorted(folder.iterdir())


def test_same_maps_as_one_by_one_in_order(pictures, untrained_models):
    options = {"weights": "untrained", "models": untrained_models}
    layer = "block1_conv2+block2_conv1"
    found = list(fmedge.extract_many(pictures, layer, run=RunOptions(threads=3), **options))
    assert [path for path, _ in found] == pictures
    for path, taps in found:
        assert list(taps) == ["block1_conv2", "block2_conv1"]
        alone = fmedge.extract(path, layer, **options)
        np.testing.assert_array_equal(taps["block2_conv1"].maps, alone.maps)  # whatever the number of threads
        assert taps["block1_conv2"].provenance.image_name == path.name
        assert taps["block1_conv2"].maps.shape == (1, 64, 224, 224)


def test_every_tap_of_a_model(picture, untrained_models):
    options = {"weights": "untrained", "models": untrained_models}
    ((_, taps),) = fmedge.extract_many([picture], "all", **options)
    assert len(taps) == 18
    for layer in ("block1_conv1", "block3_pool", "block5_conv3"):
        alone = fmedge.extract(picture, layer, **options)
        np.testing.assert_allclose(taps[layer].maps, alone.maps, atol=1e-5 * alone.maps.max())
    ((_, bare),) = fmedge.extract_many(str(picture), "all", "none", **options)
    assert len(bare) == 13
    assert min(maps.maps.min() for maps in bare.values()) < 0
    assert (untrained_models / name_of_run("all", "none")).is_file()


def test_bad_files_are_passed_over_or_raised_in_their_turn(pictures, block1, tmp_path):
    (tmp_path / "text.jpg").write_text("not an image")
    images = [pictures[1], tmp_path / "text.jpg", pictures[2], tmp_path / "gone.png"]
    options = {"weights": "untrained", "models": block1.path.parent}
    bad = []
    good = [path for path, _ in fmedge.extract_many(images, on_error=lambda *told: bad.append(told), **options)]
    assert good == [pictures[1], pictures[2]]
    assert [path.name for path, _ in bad] == ["text.jpg", "gone.png"]
    assert all(isinstance(error, ImageError) for _, error in bad)
    seen = []
    with pytest.raises(ImageError, match=r"text\.jpg"):
        seen += [path for path, _ in fmedge.extract_many(images, **options)]


@pytest.mark.parametrize(
    ("run", "images", "threads"),
    [
        (RunOptions(threads=1), None, (1,)),
        (RunOptions(threads=2), None, (1, 1)),
        (RunOptions(threads=6), None, (2, 2, 1, 1)),
        (RunOptions(threads=16), None, (4, 4, 4, 4)),
        (RunOptions(threads=6), 1, (6,)),
        (RunOptions(threads=6), 2, (3, 3)),
        (RunOptions(cpus=(0,)), None, (1,)),
        (RunOptions(cpus=(0,), threads=2), None, (1, 1)),
        (RunOptions(device="cuda", threads=2), None, (2,)),
        (RunOptions(threads=0), None, (0,)),
    ],
)
def test_cores_are_shared_out(block1, run, images, threads):
    plan = share_out(block1, run, "nearest", images)
    assert plan.threads == threads
    assert plan.window <= 2 * (MAX_WORKERS if run.device == "cpu" else 8)


def test_one_thread_each_on_every_core(block1):
    """So that no value depends on how many there are; a device computes by itself."""
    for threads in (1, 3, 16):
        plan = share_out(block1, RunOptions(threads=threads), "nearest", single_threaded=True)
        assert plan.threads == (1,) * threads
        assert plan.workers == threads
    assert share_out(block1, RunOptions(threads=16), "nearest", 2, single_threaded=True).threads == (1, 1)
    assert share_out(block1, RunOptions(device="cuda", threads=3), "nearest", single_threaded=True).threads == (3,)


def test_beside_a_device_threads_is_how_many_work(block1):
    assert share_out(block1, RunOptions(device="cuda", threads=1), "nearest").workers == 1
    assert share_out(block1, RunOptions(device="cuda", threads=5), "nearest").workers == 5
    assert share_out(block1, RunOptions(device="cuda", threads=64), "nearest").workers == 8


def test_a_device_without_memory_ends_the_run_and_blames_no_image(pictures, block1, monkeypatch):
    """Every further image takes as much; only where photos keep their sizes may another one fit."""

    def full(*_):
        raise LimitExceeded("Not enough memory on CUDAExecutionProvider to run the model.")

    monkeypatch.setattr(batch, "open_session", lambda artifact, run: open_session(artifact, replace(run, device="cpu")))
    monkeypatch.setattr(Session, "run", full)
    with pytest.raises(LimitExceeded, match="Not enough memory on CUDA"):
        list(run_many(block1, pictures, lambda *_: None, run=RunOptions("onnxruntime", "cuda", threads=2)))
    found = list(run_many(block1, pictures, lambda *_: None, run=RunOptions("onnxruntime", threads=2)))
    assert all(isinstance(each, LimitExceeded) for _, each in found)


def test_what_takes_much_memory_is_not_done_at_once(block1):
    huge = replace(block1, card=replace(block1.card, options=replace(block1.card.options, batch=5000)))
    assert share_out(huge, RunOptions(threads=4), "nearest").threads == (4,)
    own_size = replace(block1, card=replace(block1.card, options=replace(block1.card.options, size=None)))
    assert share_out(own_size, RunOptions(threads=4), "none").workers == 1
    assert share_out(own_size, RunOptions(threads=4), "nearest").workers == 4


def test_few_images_are_held_at_a_time(pictures, block1):
    """As many as the window says, and the one that is looked at."""
    plan = share_out(block1, RunOptions(threads=2), "nearest")
    lock, alive, most, taken, given = threading.Lock(), 0, 0, 0, 0

    def gone():
        nonlocal alive
        with lock:
            alive -= 1

    def finish(_, maps):
        nonlocal alive, most
        with lock:
            alive += 1
            most = max(most, alive)
        weakref.finalize(maps.maps, gone)
        return maps

    def images():
        nonlocal taken
        for _ in range(4):
            for path in pictures:
                taken += 1
                assert taken - given <= plan.window + 1
                yield path

    with closing(run_many(block1, images(), finish, run=RunOptions(threads=2))) as results:
        for _ in results:
            given += 1
    del _
    assert given == 48
    assert 1 < most <= plan.window + 1
    assert alive == 0


def test_leaving_early_leaves_no_thread(pictures, block1):
    before = threading.active_count()
    with closing(run_many(block1, pictures, lambda _, maps: maps.maps.max())) as results:
        next(results)
        assert threading.active_count() > before
    assert threading.active_count() == before


INTERRUPTED_TWICE = """
import signal, sys, time
from contextlib import closing
from pathlib import Path
from fmedge.model.artifact import read_artifact
from fmedge.workflow.batch import run_many

begun, ended, came = [], [], []

def slow(path, maps):
    begun.append(path)
    if len(begun) == 1:
        signal.setitimer(signal.ITIMER_REAL, 0.1)
    while len(came) < 2:
        time.sleep(0.01)
    ended.append(path)

def interrupt(number, frame):
    came.append(number)
    if len(came) == 1:
        signal.setitimer(signal.ITIMER_REAL, 0.2)
    raise KeyboardInterrupt

signal.signal(signal.SIGALRM, interrupt)
try:
    with closing(run_many(read_artifact(Path(sys.argv[1])), list(map(Path, sys.argv[2:])), slow)) as results:
        list(results)
except KeyboardInterrupt:
    print(len(came), len(ended), sorted(begun) == sorted(ended))
"""


@pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="POSIX signals")
def test_two_interrupts_wait_for_the_images_in_work(pictures, block1):
    """The second comes while the first is waiting, as it may where C code that is being imported swallows one."""
    words = [sys.executable, "-c", INTERRUPTED_TWICE, str(block1.path), *map(str, pictures)]
    ran = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, (ran.returncode, ran.stderr)
    came, ended, all_of_them = ran.stdout.split()
    assert (came, all_of_them) == ("2", "True")
    assert int(ended) > 0


def test_what_concerns_the_run_ends_it(pictures, block1):
    def fail(path: Path, _):
        raise WriteError(f"Cannot write {path.name}.")

    with pytest.raises(WriteError, match=r"00\.png"):
        list(run_many(block1, pictures, fail))
    with pytest.raises(UsageError, check=says("--threads 0")):
        list(run_many(block1, pictures, lambda *_: None, run=RunOptions(threads=0)))
    with pytest.raises(UsageError, match="Unknown backend"):
        list(run_many(block1, pictures, lambda *_: None, run=RunOptions(backend="abacus")))


@pytest.mark.few(3)
@pytest.mark.parametrize("name", [backend.name for backend in BACKENDS])
def test_every_engine_gives_the_same_many_at_a_time(name, pictures, untrained_models):
    backend = find_backend(name)
    pytest.importorskip(backend.package, reason=f"{backend.package} is not installed")
    options = ExportOptions(format=backend.formats[0])
    request = request_artifact("block2_conv1", weights="untrained", models=untrained_models, options=options)
    artifact = artifact_for(request)
    many = run_many(artifact, pictures[1:9], lambda _, maps: maps, run=RunOptions(name, threads=4))
    for path, found in many:
        alone = run_artifact(artifact, path, run=RunOptions(name, threads=1))
        parity = measure_parity(found["block2_conv1"].maps, alone.maps, GATES["fp32"])
        assert parity.passed, parity.describe()
