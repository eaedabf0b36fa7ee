"""Files from strangers that ask for more than they are: one line, an exit code, little memory, nothing left behind."""

import functools
import os
import shutil
import subprocess
import sys

import pytest

from support.places import ROOT
from support.processes import has_mapped, wait_until
from support.strangers import KINDS, case, measured, wrong

pytestmark = [
    pytest.mark.keras,
    pytest.mark.skipif(sys.platform != "linux", reason="what a process took is told in kilobytes by Linux alone"),
]
pytest.importorskip("tensorflow", reason="needs TensorFlow: pip install 'fmedge[export]'")
pytest.importorskip("ai_edge_litert", reason="needs LiteRT: pip install 'fmedge[litert]'")

FEW, MANY = 2, 200


@pytest.fixture(scope="module")
def good_of(tmp_path_factory):
    """What became of a good file of a kind; several kinds have the same."""

    @functools.cache
    def outcome(make):
        place = tmp_path_factory.mktemp("good")
        good = measured(make(place), place)
        assert (good.code, good.left) == (0, []), good.said
        return good

    return lambda kind: outcome(KINDS[kind].good)


def gone_through(kind, numbers, tmp_path, cases, good):
    """Each file of a kind, against a good one."""
    faults = {}
    for number in numbers:
        folder = tmp_path / str(number)
        outcome = case(kind, number, folder)
        shutil.rmtree(folder)
        if what := wrong(outcome, good.megabytes):
            faults[number] = (what, outcome)
    cases("strangers' files", len(numbers))
    assert not faults


@pytest.mark.parametrize("kind", KINDS)
def test_some_of_each_kind(kind, tmp_path, cases, good_of):
    gone_through(kind, range(FEW), tmp_path, cases, good_of(kind))


@pytest.mark.parametrize(("kind", "number"), [("layers by configuration", 75)])
def test_those_that_once_went_through(kind, number, tmp_path, cases, good_of):
    """75: a shape that overflows as tf2onnx reads the graph."""
    gone_through(kind, [number], tmp_path, cases, good_of(kind))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_many_of_each_kind(kind, tmp_path, cases, good_of):
    gone_through(kind, range(FEW, FEW + MANY), tmp_path, cases, good_of(kind))


LOADED = {
    "the file's reader": "_multiarray_umath",
    "TensorFlow begins": "libtensorflow_framework",
    "TensorFlow is there": "_pywrap_profiler_plugin",
    "onnx is being set up": "onnx_cpp2py_export",
    "the converter": "_bounded_integers",
}
"""How far an export came, and a library that it has loaded then."""


@pytest.mark.few(2)
@pytest.mark.parametrize("library", LOADED.values(), ids=LOADED)
def test_an_export_that_is_ended_leaves_no_folder(library, tmp_path):
    """Wherever it is: while TensorFlow is imported, while Keras reads the file, or while it is converted."""
    words = KINDS["members of .keras files"].good(tmp_path)
    start = "from fmedge.cli.main import entry; entry()"
    place = tmp_path / "tmp"
    place.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(place)}
    with subprocess.Popen(
        [sys.executable, "-c", start, *map(str, words)], env=environment, cwd=tmp_path, stderr=subprocess.PIPE
    ) as process:
        wait_until(process, lambda: has_mapped(process.pid, library))
        process.terminate()
        process.communicate(timeout=60)
    assert process.returncode in (143, 0)
    assert list(place.iterdir()) == []
    assert {path.suffix for path in tmp_path.rglob("*") if path.is_file()} <= {".keras", ".onnx", ".json"}
