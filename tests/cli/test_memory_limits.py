"""Little address space (``ulimit -v``): a result, or exit 7 with one line that says what to do; nothing in between."""

import os
import re
import subprocess
import sys

import pytest

from fmedge.model.submodel import ExportOptions, Format, Precision
from fmedge.runtime.backends import find_backend
from fmedge.system.address_space import FLOORS
from fmedge.workflow.request import request_artifact
from support.messages import bare
from support.models import artifact_for
from support.places import ROOT

resource = pytest.importorskip("resource", reason="this system has no limit on address space")
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux keeps a limit on address space")

SLOW = pytest.mark.slow
MB = 1 << 20
STEP = 32 * MB
OPTIONS = {
    "onnxruntime": ExportOptions(),
    "openvino": ExportOptions(),
    "ncnn": ExportOptions(format=Format.NCNN),
    "litert": ExportOptions(format=Format.TFLITE, precision=Precision.INT8),  # written without TensorFlow
    "native": ExportOptions(format=Format.NATIVE),
}


@pytest.fixture
def model(untrained_models, photos_folder):
    """The model file of an engine and a layer."""

    def make(backend, layer="block1_conv1"):
        package = find_backend(backend).package
        pytest.importorskip(package, reason=f"{package} is not installed")
        request = request_artifact(layer, weights="untrained", models=untrained_models, options=OPTIONS[backend])
        return artifact_for(request, photos_folder).path

    return make


@pytest.fixture
def limited(tmp_path, cases):
    """The command under a limit: what it ended with and said, looked at as far as it has to be the same everywhere."""

    def bound(limit):
        _, most = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (limit, most))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    def run(limit, *words):
        process = subprocess.run(
            [sys.executable, "-m", "fmedge", *map(str, words)],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=120,
            preexec_fn=lambda: bound(limit),
            check=False,
        )
        said = f"{limit // MB} MB: {process.returncode} {process.stderr}"
        assert process.returncode in (0, 7), said
        if process.returncode == 7:
            (line,) = process.stderr.splitlines()
            assert line.startswith("Error: "), said
            assert len(bare(line)) <= 200, said
            assert process.stdout == "", said
        cases("memory", 1)
        return process

    return run


@pytest.fixture
def page_of(limited, picture, tmp_path):
    """Whether ``fmedge run`` makes a page under a limit, and what it says where it does not."""

    def run(limit, *words):
        page = tmp_path / "page.html"
        page.unlink(missing_ok=True)
        process = limited(limit, "run", picture, "--output", page, *words)
        assert list(tmp_path.glob("*")) == ([page] if process.returncode == 0 else [])
        if process.returncode == 0:
            assert process.stdout == f"{page}\n"
            note, line, *guard = process.stderr.splitlines()
            assert all("fmedge trust" in words for words in guard)
            assert note.startswith("Note: untrained weights.")
            assert re.match(r"block\d_conv\d: \d+ x ", line)
            content = page.read_bytes()
            assert content.startswith(b"<!DOCTYPE html>")
            assert content.endswith(b"</html>\n")
        return process

    return run


def advised(process):
    """Bytes that a refused command was told to ask for, as ``ulimit -v`` takes them."""
    return int(re.search(r"\(ulimit -v (\d+)\)", process.stderr)[1]) * 1024


@pytest.mark.few(2)
@pytest.mark.parametrize("backend", OPTIONS)
def test_what_is_refused_says_how_much_is_enough(model, page_of, backend):
    """On as many threads as there are cores, so as much as the product itself asks for on this machine."""
    words, limit, refused = ("--model", model(backend), "--backend", backend), 32 * MB, []
    while (process := page_of(limit, *words)).returncode:
        refused.append(limit)
        limit, former = advised(process), limit
        assert limit > former
    assert refused == [32 * MB, *refused[1:]]
    assert len(refused) <= 3  # the command, the engine, the model on these threads
    assert page_of(limit - 1024, *words).returncode == 7
    assert page_of(limit + STEP, *words).returncode == 0


@pytest.mark.parametrize("backend", ["onnxruntime", *(pytest.param(name, marks=SLOW) for name in [*OPTIONS][1:])])
def test_more_threads_ask_for_more(model, page_of, backend):
    words = ("--model", model(backend), "--backend", backend)
    limit = FLOORS[backend].total(2)
    process = page_of(limit, *words, "--threads", 24)
    assert "with 24 threads needs" in process.stderr
    assert "use --threads 1" in process.stderr
    assert page_of(limit, *words, "--threads", 1).returncode == 0
    assert page_of(advised(process), *words, "--threads", 24).returncode == 0


@pytest.mark.parametrize("words", [("--version",), ("--help",), ("run", "--help"), ("layers",)])
def test_what_needs_no_numbers_needs_little(limited, words):
    assert limited(96 * MB, *words).returncode == 0


def test_many_photos_are_run_one_after_the_other(model, limited, picture, tmp_path):
    (tmp_path / "photos").mkdir()
    for number in range(4):
        (tmp_path / "photos" / f"{number}.png").symlink_to(picture)
    words = ("run", "photos", "--model", model("onnxruntime"), "--threads", 4, "--output", tmp_path)
    assert limited(FLOORS["onnxruntime"].total(4) + MB, *words).returncode == 0
    assert len(list(tmp_path.glob("*.html"))) == 4


@pytest.mark.parametrize("engine", ["onnxruntime", "ncnn"])
def test_an_export_that_does_not_fit_is_not_begun(limited, tmp_path, engine):
    form = OPTIONS[engine].format
    words = ("export", "--layer", "block5_conv3", "--weights", "untrained", "--models", tmp_path, "--format", form)
    process = limited(64 * MB, *words)
    assert process.stderr.startswith("Error: fmedge export needs")
    process = limited(advised(process), *words)
    assert "with a model of 59 MB needs" in process.stderr
    assert list(tmp_path.glob("*")) == []


def test_an_unknown_model_is_tried_within_the_limit(model, page_of, tmp_path_factory, monkeypatch):
    path = model("onnxruntime")
    monkeypatch.setenv("FMEDGE_STATE", str(tmp_path_factory.mktemp("state")))  # knows no model
    words = ("--model", path, "--backend", "onnxruntime", "--threads", 1)
    assert page_of(FLOORS["onnxruntime"].total() + MB, *words).returncode == 0


LIBRARY = """
import resource, sys
from pathlib import Path
from fmedge import FmedgeError, RunOptions, open_session, read_artifact
artifact = read_artifact(Path(sys.argv[1]))
mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (mapped + int(sys.argv[2]),) * 2)
try:
    open_session(artifact, RunOptions(backend="onnxruntime", threads=1)).close()
except FmedgeError as error:
    print(error.exit_code, error)
"""


@pytest.mark.parametrize(("left", "code"), [(20 * MB, "7 "), (60 * MB, "7 onnxruntime needs "), (400 * MB, "")])
def test_a_program_with_little_left_is_told_so(model, left, code, cases):
    """What the program has mapped itself is counted, too."""
    command = [sys.executable, "-c", LIBRARY, str(model("onnxruntime")), str(left)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.run(command, capture_output=True, text=True, env=environment, check=True, timeout=60)
    assert process.stdout.startswith(code)
    assert bool(process.stdout) == bool(code) == ("needs" in process.stdout)
    assert process.stderr == ""
    cases("memory", 1)


@SLOW
@pytest.mark.parametrize("threads", [(), ("--threads", 1)], ids=["cores", "one"])
@pytest.mark.parametrize("layer", ["block1_conv1", "block3_conv3", "block5_conv3"])
@pytest.mark.parametrize("backend", OPTIONS)
def test_every_step_to_a_gigabyte(model, page_of, backend, layer, threads):
    """Once a result, always a result above."""
    words = ("--model", model(backend, layer), "--backend", backend, *threads)
    codes = [page_of(limit, *words).returncode for limit in range(STEP, 1024 * MB + 1, STEP)]
    assert codes == sorted(codes, reverse=True)
    assert codes[-1] == 0 or not threads


@SLOW
@pytest.mark.parametrize(
    "words",
    [
        ("info", "{model}"),
        ("verify", "{model}"),
        ("export", "--layer", "block1_conv1", "--weights", "untrained", "--models", "made"),
        ("run", "{picture}", "--layer", "block2_conv1", "--weights", "untrained", "--models", "made", "--no-page"),
    ],
    ids=lambda words: words[0],
)
def test_every_step_of_other_commands(model, limited, picture, words):
    given = [word.format(model=model("onnxruntime"), picture=picture) for word in words]
    codes = [limited(limit, *given).returncode for limit in range(STEP, 1024 * MB + 1, 2 * STEP)]
    assert codes == sorted(codes, reverse=True)
