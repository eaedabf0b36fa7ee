"""Streams that are closed, full or have no reader, and a current folder that is gone: the work is done all the same."""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fmedge.bench.report_formats import FORMS
from fmedge.model.artifact import card_path
from fmedge.system.temp_files import open_temporary
from support.faults import EXPORT, RUN, SMALL, Place
from support.measurements import measurement, report
from support.places import ROOT

pytestmark = [
    pytest.mark.skipif(os.name != "posix" or not Path("/dev/full").exists(), reason="POSIX shells, Linux' full device"),
]

NCNN = "models/block1_conv1.relu.fp32.untrained.ncnn.bin"

COMMANDS = {
    "help": ("--help", 0, (), True),
    "help of a command": ("run --help", 0, (), True),
    "no words": ("", 0, (), True),
    "version": ("--version", 0, (), True),
    "layers": ("layers --json", 0, (), True),
    "a wrong command": ("layerz", 2, (), False),
    "a wrong option": ("run --layerz", 2, (), False),
    "a wrong layer": ("run PHOTO --layer block9", 2, (), False),
    "run": (f"{RUN} PHOTO --output a.html", 0, ("a.html",), True),
    "run as JSON": (f"{RUN} PHOTO --output a.html --json", 0, ("a.html",), True),
    "run many": (f"{RUN} PHOTOS --no-page --save-maps maps", 0, ("maps/05.block1_conv1.npz",), True),
    "run on nothing": (f"{RUN} nothing.png", 3, (), False),
    "export": (f"{EXPORT} --format onnx,ncnn", 0, (NCNN,), True),
    "export to be": ("export --dry-run", 0, (), True),
    "info": ("info m.onnx", 0, (), True),
    "info of nothing": ("info nothing.onnx", 4, (), False),
    "verify": ("verify m.onnx", 0, (), True),
    "diff": ("diff m.onnx m.onnx PHOTO --output d.html", 0, ("d.html",), True),
    "compare": ("compare r.json r.json", 0, (), True),
    "report": ("report r.json --output r.html", 0, ("r.html",), True),
    "bench": (f"bench {SMALL} --runs 2 --processes 1 --models MODELS --output b.json", 0, ("b.json",), True),
    "tune": (f"tune {SMALL} --threads 1", 0, ("models/block1_conv1.untrained.64x64.tuned.json",), True),
    "doctor": ("doctor", None, (), True),
}  # fmt: skip
"""What is typed, how it ends, files that it makes, and whether it prints data."""

SLOW = ("bench", "tune", "doctor")

CLOSED = (">&-", "2>&-", "<&-", ">&- 2>&-", "<&- >&- 2>&-")
FULL = (">/dev/full", "2>/dev/full", ">/dev/full 2>/dev/full", "1</dev/null", "2</dev/null")


@pytest.fixture
def place(tmp_path, picture, block1):
    place = Place(tmp_path, picture, block1.path.parent)
    shutil.copy(block1.path, place.folder / "m.onnx")
    shutil.copy(card_path(block1.path), card_path(place.folder / "m.onnx"))
    (place.folder / "r.json").write_text(FORMS[".json"](report(measurement())))
    return place


def shell(place, words, redirection="", before=""):
    """The command between others and a redirection or pipe: its exit code, and what reached both streams."""
    words = shlex.join([sys.executable, "-m", "fmedge", *(place.stands_for.get(word, word) for word in words.split())])
    ran = subprocess.run(
        ["bash", "-c", f"{before}{words} {redirection}\nexit ${{PIPESTATUS[0]}}"],
        cwd=place.folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "Traceback" not in ran.stdout + ran.stderr
    return ran


def of_all(redirections):
    """A third of the table, in turn, by default; all of it in the slow suite."""
    number = 0
    for name in COMMANDS:
        for redirection in redirections:
            marks = pytest.mark.slow if name in SLOW or number % 3 else ()
            yield pytest.param(name, redirection, marks=marks, id=f"{name} {redirection}")
            number += 1


@pytest.mark.few(40)
@pytest.mark.cases("streams")
@pytest.mark.parametrize(("name", "redirection"), list(of_all((*CLOSED, *FULL, "| head -1", "2>&1 | true"))))
def test_the_work_is_done_and_the_exit_code_true(place, name, redirection):
    words, code, files, prints = COMMANDS[name]
    if code is None:
        code = shell(place, words, "").returncode  # as the engines here are
    lost = prints and (">/dev/full" in redirection.split() or "1</dev/null" in redirection)
    ran = shell(place, words, redirection)
    assert ran.returncode == (6 if lost else code), ran.stderr
    if lost and "2>" not in redirection:
        assert ran.stderr.splitlines()[-1].startswith("Error: Cannot write to standard output: ")
    for file in files:
        assert (place.folder / file).stat().st_size > 0
    place.require_whole()


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1, 2)])
def test_a_file_of_ours_never_takes_a_streams_number(tmp_path, closed):
    """In a program of somebody else's, too, whose libraries may print there."""
    script = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from fmedge.system.temp_files import open_temporary, discard\n"
        f"for number in {closed}: os.close(number)\n"
        "opened = [open_temporary(Path('a.bin')) for _ in range(4)]\n"
        "for path, _ in opened: discard(path)\n"
        "os._exit(10 + min(number for _, number in opened))"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ran = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=environment, check=False, timeout=60)
    assert ran.returncode >= 13
    assert list(tmp_path.iterdir()) == []


def test_a_number_that_is_no_streams_stays(tmp_path):
    path, descriptor = open_temporary(tmp_path / "a.bin")
    os.write(descriptor, b"a")
    os.close(descriptor)
    assert path.read_bytes() == b"a"


HERE = ("help", "version", "layers", "a wrong command", "info of nothing", "export to be")
"""What needs no current folder, and ends as it does elsewhere."""


@pytest.mark.cases("streams")
@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in SLOW])
def test_in_a_folder_that_is_gone(place, name):
    words, code, files, _ = COMMANDS[name]
    ran = shell(place, words, before="mkdir gone; cd gone; rmdir ../gone; ")
    if ran.returncode:
        assert ran.returncode in (2, 3, 4, 6)
        errors = [line for line in ran.stderr.splitlines() if line.startswith("Error: ")]
        assert len(errors) == 1
    else:
        assert not files
    assert ran.returncode == code or name not in HERE
