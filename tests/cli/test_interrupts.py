"""One SIGINT or SIGTERM ends a command at any moment: in C code that does not return, too, and nothing is left."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import types
from pathlib import Path
from textwrap import indent

import numpy as np
import pytest
from PIL import Image

from fmedge.cli.interrupts import signals
from fmedge.model.artifact import card_path
from fmedge.runtime.backends import find_backend
from support.faults import RUN, Place, wait_for_session
from support.measurements import measurement, report
from support.places import ROOT
from support.processes import wait_until

pytestmark = pytest.mark.skipif(
    os.name != "posix" or not Path("/proc/self/status").is_file(), reason="POSIX signals, and Linux to see what is left"
)

END_S = 20
"""Longest wait for its end."""

SIGNALS = [pytest.param(number, id=number.name) for number in (signal.SIGINT, signal.SIGTERM)]

STUCK = """
import ctypes, importlib, pathlib, sys

module, name, marker, *sys.argv[1:] = sys.argv[1:]

def stuck(*_, **__):
    pathlib.Path(marker).touch()
    mutex, lock = ctypes.create_string_buffer(256), ctypes.CDLL(None).pthread_mutex_lock
    lock(mutex), lock(mutex)  # C code that never returns, and that no signal wakes

holder = importlib.import_module(module)
*outer, name = name.split(".")
for part in outer:
    holder = getattr(holder, part)
setattr(holder, name, stuck)
from fmedge.__main__ import entry
entry()
"""
"""A command that stays for good where one of its functions is called."""

MODEL = "models/block1_conv1.relu.fp32.untrained.onnx"

STAYS = {
    "decoding beside the opening": (
        f"{RUN} PHOTO --output a.html --size 224",
        "fmedge.data.images",
        "load_photo",
    ),
    "decoding": ("diff onnxruntime onnxruntime PHOTO --weights untrained", "fmedge.workflow.extraction", "load_photo"),
    "decoding in workers": (f"{RUN} PHOTOS --output pages", "fmedge.workflow.extraction", "load_photo"),
    "loading the engine": (f"{RUN} PHOTO --output a.html", "fmedge.runtime.opening", "_engine_for"),
    "running": (f"{RUN} PHOTO --output a.html", "fmedge.runtime.session", "Session.run"),
    "running in workers": (f"{RUN} PHOTOS --output pages", "fmedge.runtime.session", "Session.run"),
    "drawing": (f"{RUN} PHOTO --output a.html", "fmedge.workflow.outputs", "render_page"),
    "writing a page": (f"{RUN} PHOTO --output a.html", "fmedge.system.files", "_finish"),
    "writing pages": (f"{RUN} PHOTOS --output pages", "fmedge.system.files", "_finish"),
    "writing a model": ("export --weights untrained --no-verify", "fmedge.system.files", "_finish"),
    "checking a model": ("export --weights untrained", "fmedge.runtime.session", "Session.run"),
    "verifying": (f"verify {MODEL}", "fmedge.runtime.session", "Session.run"),
    "judging": ("tune --weights untrained --size 64 --seconds 0", "fmedge.bench.ways", "_judge_one"),
    "writing a report": ("report r.json --output a.html", "fmedge.system.files", "_finish"),
    "drawing a report": ("report r.json --output a.html", "fmedge.render.report", "render_report"),
    "comparing": ("compare r.json r.json", "fmedge.bench.compare", "compare_reports"),
    "asking the machine": ("bench --weights untrained --size 64 --runs 3", "fmedge.bench.scheduler", "read_clocks"),
}
"""What is typed, and the function that never returns."""


@pytest.fixture
def place(tmp_path, picture, block1):
    """A folder with a former page, a report and a model: what is there stays as it is."""
    place = Place(tmp_path, picture, block1.path.parent)
    (place.folder / "a.html").write_text("the former page</html>")
    (place.folder / "r.json").write_text(json.dumps(report(measurement()).to_dict()))
    (place.folder / "models").mkdir()
    for path in (block1.path, card_path(block1.path)):
        shutil.copy(path, place.folder / "models")
    return place


def content(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@contextlib.contextmanager
def started(place, tmp_path, words, *before):
    """The command, with a temporary folder of its own, and SIGINT as a terminal gives it."""
    words = [place.stands_for.get(word, word) for word in words.split()]
    (tmp_path / "temporary").mkdir()
    with subprocess.Popen(
        [sys.executable, *before, *words],
        cwd=place.folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path / "temporary")},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def interrupt(process, number):
    """Interrupt a command; what it said on stderr."""
    process.send_signal(number)
    _, talk = process.communicate(timeout=END_S)
    assert process.returncode == 128 + number, talk
    assert "Traceback" not in talk
    assert ("Interrupted. No incomplete file was left behind." in talk) == (number == signal.SIGINT)
    wait_for_session(process)
    return talk


def of_all(names):
    """Every name with one of the signals; with the other in the slow suite."""
    for place, name in enumerate(names):
        for number in (signal.SIGINT, signal.SIGTERM):
            marks = pytest.mark.slow if place % 2 == (number == signal.SIGINT) else ()
            yield pytest.param(name, number, marks=marks, id=f"{name}-{number.name}")


@pytest.mark.few(7)
@pytest.mark.cases("interrupts")
@pytest.mark.parametrize(("stays", "number"), list(of_all(STAYS)))
def test_c_code_that_never_returns_is_left(place, tmp_path, stays, number):
    words, *where = STAYS[stays]
    before, marker = content(place.folder), tmp_path / "marker"
    with started(place, tmp_path, words, "-c", STUCK, *where, str(marker)) as process:
        wait_until(process, marker.exists)
        interrupt(process, number)
    after = content(place.folder)
    assert {path: after[path] for path in before} == before
    assert all(path.parent.name == "models" for path in after.keys() - before.keys())
    place.require_whole()
    assert list((tmp_path / "temporary").iterdir()) == []


def test_nothing_is_raised_in_pythons_own_code_for_imports():
    """It would leave with the import lock, and every thread that imports something would wait for good."""

    def frame(file, back=None):
        return types.SimpleNamespace(f_code=types.SimpleNamespace(co_filename=file), f_back=back, f_locals={})

    importing = frame("<frozen importlib._bootstrap>", frame("a.py"))
    with signals() as came:
        obey = signal.getsignal(signal.SIGINT)
        obey(signal.SIGINT, importing)
        assert came == [signal.SIGINT]
        assert signal.getitimer(signal.ITIMER_REAL)[0] > 0  # it is tried again
        with pytest.raises(KeyboardInterrupt):
            obey(signal.SIGALRM, frame("module.py", importing))
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


def sleeps(process):
    """Whether the main thread has used no processor time for a while, once it has used some."""
    used = []
    for _ in range(2):
        used.append(Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[11:13])
        time.sleep(0.3)
    return used[0] == used[1] != ["0", "0"]


def resident(process):
    """Bytes of memory that a process has in use."""
    with contextlib.suppress(OSError, IndexError):
        return int(Path(f"/proc/{process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0


@pytest.fixture(scope="session")
def large_picture(tmp_path_factory):
    """A picture of 64 megapixels in passes over all of them, which takes seconds to decode."""
    path = tmp_path_factory.mktemp("large") / "large.jpg"
    noise = np.random.default_rng(0).integers(0, 256, (1000, 1000, 3), dtype=np.uint8)
    Image.fromarray(np.tile(noise, (8, 8, 1))).save(path, quality=95, progressive=True)
    return path


@pytest.mark.few(1)
@pytest.mark.cases("interrupts")
@pytest.mark.parametrize("number", SIGNALS)
def test_a_large_picture_in_the_midst_of_decoding(place, tmp_path, large_picture, number):
    place.stands_for["PHOTO"] = str(large_picture)
    with started(place, tmp_path, f"{RUN} PHOTO --output b.html", "-m", "fmedge") as process:
        wait_until(process, lambda: resident(process) > 200 << 20)  # its coefficients; all else takes half of that
        interrupt(process, number)
    assert not (place.folder / "b.html").exists()
    place.require_whole()


@pytest.mark.few(2)
@pytest.mark.cases("interrupts")
@pytest.mark.parametrize(("backend", "number"), list(of_all(["onnxruntime", "openvino", "ncnn", "native"])))
def test_an_engine_in_the_midst_of_its_run(place, tmp_path, untrained_models, backend, number):
    """At 1,200 x 1,200 up to block4_conv3 one thread takes seconds, and the first maps 369 MB."""
    row = find_backend(backend)
    pytest.importorskip(row.package, reason=f"{row.package} is not installed")
    Image.effect_noise((1200, 1200), 60).convert("RGB").save(tmp_path / "noise.png")
    place.stands_for["PHOTO"] = str(tmp_path / "noise.png")
    form = f"--format {row.formats[0]} --layer block4_conv3 --size dynamic"
    place.run(f"export --weights untrained --no-verify --models MODELS {form}")
    words = f"{RUN} PHOTO {form} --resize none --backend {backend} --threads 1 --output b.html"
    with started(place, tmp_path, words, "-m", "fmedge") as process:
        wait_until(process, lambda: resident(process) > 450 << 20)
        interrupt(process, number)
    assert not (place.folder / "b.html").exists()
    place.require_whole()


@pytest.mark.cases("interrupts")
@pytest.mark.parametrize("number", SIGNALS)
def test_a_reader_that_does_not_read(place, tmp_path, number):
    """Both pipes are full: neither the last line nor what waits to be written can go out."""
    script = (
        "import os\n"
        "for stream in (1, 2):\n"
        "    os.set_blocking(stream, False)\n"
        "    try:\n"
        "        while os.write(stream, bytes(1024)): pass\n"
        "    except BlockingIOError: os.set_blocking(stream, True)\n"
        "from fmedge.__main__ import entry; entry()"
    )
    with started(place, tmp_path, "layers --json", "-c", script) as process:
        wait_until(process, lambda: sleeps(process))
        process.send_signal(number)
        assert process.wait(END_S) == 128 + number


@pytest.mark.cases("interrupts")
@pytest.mark.parametrize("number", SIGNALS)
def test_two_signals_at_once_are_one(place, tmp_path, number):
    """As `timeout` sends them: to the command, and to its group."""
    words, *where = STAYS["writing a page"]
    before, marker = content(place.folder), tmp_path / "marker"
    with started(place, tmp_path, words, "-c", STUCK, *where, str(marker)) as process:
        wait_until(process, marker.exists)
        process.send_signal(number)
        interrupt(process, number)
    assert content(place.folder) == before


@pytest.mark.cases("interrupts")
def test_a_report_is_written_however_long_it_takes(place, tmp_path):
    """Ctrl-C ends the measuring; what was measured is kept, also where writing takes longer than the grace."""
    slow = (
        "import time; from fmedge.cli import interrupts\n"
        "from fmedge.system import files; finish = files._finish\n"
        "files._finish = lambda *words: (time.sleep(2 * interrupts.GRACE_S), finish(*words))\n"
        "from fmedge.__main__ import entry; entry()"
    )
    words = "bench --weights untrained --models MODELS --size 224 --backend onnxruntime --seconds 9 --output s.json"
    with started(place, tmp_path, f"{words} --processes 1", "-c", slow) as process:
        for line in process.stderr:
            if line.startswith("measuring"):
                break
        interrupt(process, signal.SIGINT)
    assert json.loads((place.folder / "s.json").read_text())["interrupted"]


def run_with_finder(folder, body, *words):
    """The command in a process that asks first how each module is found, and does this then."""
    script = (
        "import os, sys, fmedge.__main__ as command\n"
        "class Finder:\n"
        "    def find_spec(self, name, *_):\n"
        f"{indent(body, ' ' * 8)}\n"
        "sys.meta_path.insert(0, Finder())\n"
        "command.entry()"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", script, *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, cwd=folder)


@pytest.mark.cases("interrupts")
@pytest.mark.parametrize("number", SIGNALS)
def test_before_the_command_is_loaded(tmp_path, number):
    """Nothing is said, and no traceback shown, where a signal comes while modules are imported."""
    ran = run_with_finder(tmp_path, f"if name == 'fmedge.cli.main': os.kill(os.getpid(), {int(number)})")
    assert (ran.returncode, ran.stdout, ran.stderr) == (128 + number, "", "")


@pytest.mark.cases("interrupts")
@pytest.mark.parametrize("number", SIGNALS)
def test_a_library_turns_it_into_an_error(tmp_path, number):
    """As NumPy does while it is being imported."""
    body = (
        "if name == 'numpy':\n"
        f"    try: os.kill(os.getpid(), {int(number)})\n"
        "    except BaseException as error: raise ImportError('datetime') from error"
    )
    ran = run_with_finder(tmp_path, body, "run", "a.png")
    assert ran.returncode == 128 + number
    assert "Traceback" not in ran.stderr
