"""Disks that are full, files that may not grow, folders that are closed: one line, and nothing half-written."""

import json
import os
import resource
import shutil
import subprocess

import pytest

from support.faults import EXPORT, JOBS, RUN, Place
from support.measurements import measurement, report

pytestmark = pytest.mark.skipif(os.name != "posix", reason="POSIX limits and folders")


def namespace():
    """Words before a command that let it mount; None where nobody may here."""
    for words in (["unshare", "--mount"], ["unshare", "--map-root-user", "--mount"]):
        try:
            allowed = subprocess.run([*words, "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, check=False)
        except OSError:
            return None
        if allowed.returncode == 0:
            return words
    return None


MOUNTS = namespace()
needs_mounts = pytest.mark.skipif(MOUNTS is None, reason="no file system may be mounted here, or there is no unshare")


@pytest.fixture
def place(tmp_path, picture, block1):
    return Place(tmp_path, picture, block1.path.parent)


def limited(place, words, size):
    """Run a command that may write no file larger than that; its exit code."""
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))  # noqa: E731
    with place.start(words, preexec_fn=limit) as process:
        _, talk = process.communicate(timeout=300)
    place.require_whole()
    if process.returncode:
        assert process.returncode == 6, talk
        own = [line for line in talk.splitlines() if "onnxruntime:" not in line]  # its threads talk when they like
        assert own[-1].startswith(("Error: Cannot write", "Error: No folder for temporary files"))
        assert sum(line.startswith("Error") for line in own) == 1
    return process.returncode


SIZES = (0, 1, 500, 4_096, 100_000, 1_000_000, 2_000_000, 2_224_563)
"""All too small for block3_conv1, the last by a byte."""


@pytest.mark.few(4)
@pytest.mark.cases("writes")
@pytest.mark.parametrize("size", SIZES)
def test_an_export_that_may_not_grow(place, size):
    assert limited(place, JOBS["onnx"].words, size) == 6
    assert place.files() == []


@pytest.mark.cases("writes")
@pytest.mark.parametrize("size", [2_224_564 + 1_000, 1 << 30])
def test_an_export_that_may_grow(place, size):
    assert limited(place, JOBS["onnx"].words, size) == 0
    place.require_good_run(JOBS["onnx"])


@pytest.mark.cases("writes")
@pytest.mark.parametrize(
    "size",
    [
        *(0, 50_000, 4_000_000, 1 << 30),
        *(pytest.param(size, marks=pytest.mark.slow) for size in (1, 1_000, 500_000, 1_500_000, 8_000_000, 12_000_000)),
    ],
)
@pytest.mark.parametrize("name", ["page", pytest.param("many", marks=pytest.mark.slow)])
def test_a_run_that_may_not_write_large_files(place, name, size):
    assert limited(place, JOBS[name].words, size) == (0 if size == 1 << 30 else 6)
    assert len(place.files()) == (len(JOBS[name].files) if size == 1 << 30 else 0)


@pytest.mark.slow
@pytest.mark.cases("writes")
@pytest.mark.parametrize("size", [0, 100, 1_000, 10_000])
@pytest.mark.parametrize("name", ["ncnn", "bench", "tflite"])
def test_other_writers_that_may_not_grow(place, name, size):
    assert limited(place, JOBS[name].words, size) == 6


def on_disk(place, size, words, code):
    """Run a command in its folder on a disk of that many bytes, which has the folder's files and is copied back."""
    kept = place.folder.with_name("kept")
    script = (
        'mount -t tmpfs -o "size=$1" none "$3" && cp -a "$2/." "$3" && cd "$3" || exit 99; shift 3; '
        f'"$@"; code=$?; cp -a . "{kept}"; exit $code'
    )
    shutil.rmtree(kept, ignore_errors=True)
    kept.mkdir()
    disk = place.folder.with_name("disk")
    disk.mkdir(exist_ok=True)
    before = [*MOUNTS, "sh", "-c", script, "sh", str(size), str(place.folder), str(disk)]
    _, talk = place.run(words, code, before)
    shutil.rmtree(place.folder)
    kept.rename(place.folder)
    place.require_whole()
    return talk


def pages(size):
    """Bytes of a file on a tmpfs."""
    page = resource.getpagesize()
    return -(-size // page) * page


@needs_mounts
def test_a_disk_of_a_megabyte(place, cases):
    for words in (JOBS["onnx"].words, JOBS["ncnn"].words, JOBS["page"].words, JOBS["many"].words):
        talk = on_disk(place, 1 << 20, words, 6)
        assert talk.startswith("Error: Cannot write")
        assert "No space left" in talk
        assert talk.count("\n") == 1
        assert place.files() == []
    on_disk(place, 1 << 20, f"{EXPORT} --layer block2_conv1", 0)
    assert len(place.files()) == 2
    cases("writes", 5)


@needs_mounts
@pytest.mark.parametrize("model_format", ["onnx", "ncnn"])
def test_a_disk_that_is_full_when_the_card_comes(place, cases, model_format):
    """The former artifact stays as it was; without one there is nothing."""
    words = f"{EXPORT} --layer block2_conv1 --format {model_format}"
    place.run(words)
    sizes = [pages((place.folder / name).stat().st_size) for name in place.files()]
    card = next(pages((place.folder / name).stat().st_size) for name in place.files() if name.endswith(".json"))
    before = {name: (place.folder / name).read_bytes() for name in place.files()}
    talk = on_disk(place, 2 * sum(sizes) - card, words, 6)
    assert "json'" in talk
    assert {name: (place.folder / name).read_bytes() for name in place.files()} == before
    on_disk(place, 2 * sum(sizes), words, 0)
    assert {name: (place.folder / name).read_bytes() for name in place.files()} == before
    shutil.rmtree(place.folder / "models")
    assert "json'" in on_disk(place, sum(sizes) - card, words, 6)
    assert place.files() == []
    cases("writes", 3)


def closed(folder):
    """Words before a command for which a folder is read-only: for root by a mount."""
    folder.mkdir(exist_ok=True)
    if os.geteuid() != 0:
        folder.chmod(0o555)
        return []
    if MOUNTS is None:
        pytest.skip("root may write everywhere, and no file system may be mounted here")
    script = 'mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" && cd "$PWD" || exit 99; shift; "$@"'
    return [*MOUNTS, "sh", "-c", script, "sh", str(folder)]


CHEAP = "--weights untrained --backend onnxruntime"
CLOSED = {
    "models of export": "export --weights imagenet --offline --models CLOSED",
    "models of export, new": "export --weights imagenet --offline --models CLOSED/new",
    "models of run": "run PHOTO --weights imagenet --offline --models CLOSED",
    "page": f"run PHOTO {CHEAP} --output CLOSED/a.html",
    "archive": f"run PHOTO {CHEAP} --no-page --save-maps CLOSED/a.npz",
    "picture": f"run PHOTO {CHEAP} --no-page --png CLOSED/a.png",
    "pages": f"run PHOTOS {CHEAP} --output CLOSED",
    "pages, new": f"run PHOTOS {CHEAP} --output CLOSED/new/newer",
    "archives": f"run PHOTOS {CHEAP} --no-page --save-maps CLOSED",
    "layers on one page": f"run PHOTO {CHEAP} --layer block1_conv1+block1_conv2 --output CLOSED/a.html",
    "pictures beside": f"run PHOTO {CHEAP} --layer block1_conv1+block1_conv2 --output a.html --png CLOSED/new",
    "report of bench": f"bench {CHEAP} --output CLOSED/r.json",
    "models of bench": "bench --weights imagenet --offline --backend onnxruntime --models CLOSED --output r.json",
    "report of tune": f"tune {CHEAP} --output CLOSED/r.json",
    "choice of tune": "tune --weights imagenet --offline --backend onnxruntime --models CLOSED",
    "difference": "diff onnxruntime onnxruntime PHOTO --weights untrained --output CLOSED/a.html",
    "report": "report gone.json --output CLOSED/a.html",
    "a page where it is by default": f"run PHOTO {CHEAP} --models ELSEWHERE",
    "pages where they are by default": f"run PHOTOS {CHEAP} --models ELSEWHERE",
}  # fmt: skip
"""What would be done first, were it not looked at first: a model exported, weights missed, a report read."""


@pytest.mark.few(8)
@pytest.mark.cases("writes")
@pytest.mark.parametrize("what", CLOSED)
def test_a_closed_folder_is_found_before_the_work(place, what):
    folder = place.folder if "default" in what else place.folder.with_name("closed")
    elsewhere = place.folder.with_name("elsewhere")
    elsewhere.mkdir()
    before = closed(folder)
    words = CLOSED[what].replace("CLOSED", str(folder)).replace("ELSEWHERE", str(elsewhere))
    shown, talk = place.run(words, 6, before)
    assert shown == ""
    assert talk.startswith("Error: Cannot ")
    assert "ead-only" in talk or "denied" in talk
    assert talk.count("\n") == 1
    assert place.files() == []
    assert list(elsewhere.iterdir()) == []


@pytest.mark.cases("writes")
def test_a_closed_state_folder_is_no_error(place):
    folder = place.folder.with_name("closed")
    before = closed(folder)
    place.run(JOBS["onnx"].words, 0, before, env={"FMEDGE_STATE": str(folder / "state")})
    place.run(JOBS["page"].words, 0, before, env={"FMEDGE_STATE": str(folder / "state")})
    place.require_whole()


ON_OPENVINO = f"{RUN} PHOTO --backend openvino --no-page --save-maps a.npz"


@pytest.mark.cases("writes")
@pytest.mark.parametrize("words", [JOBS[name].words for name in ("onnx", "page", "bench")] + [ON_OPENVINO])
def test_nothing_is_written_elsewhere(place, words):
    """Not by engines either: some would keep a number for this machine, and what they tell their makers."""
    if words is ON_OPENVINO:
        pytest.importorskip("openvino")
    homes = [place.folder.with_name(each) for each in ("home", "temporary")]
    for home in homes:
        home.mkdir()
    keys = ("HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME")
    place.run(words, env={**dict.fromkeys(keys, str(homes[0])), "TMPDIR": str(homes[1])})
    assert [path for home in homes for path in home.rglob("*")] == []


@pytest.mark.cases("writes")
@pytest.mark.parametrize("name", ["models/block3_conv1.relu.fp32.untrained.onnx", JOBS["onnx"].files[-1]])
def test_names_of_an_artifact_that_are_no_files(place, name):
    (place.folder / name).mkdir(parents=True)
    assert "it is a folder" in place.run(JOBS["onnx"].words, 6)[1]
    (place.folder / name).rmdir()
    os.mkfifo(place.folder / name)
    assert "pipe, device or similar" in place.run(JOBS["onnx"].words, 6)[1]
    assert place.files() == [name]


@pytest.mark.cases("writes")
@pytest.mark.parametrize("words", [f"{RUN} PHOTO --output NAME.html", "report r.json --output NAME.html"])
def test_names_that_are_too_long_or_devices(place, words):
    (place.folder / "r.json").write_text(json.dumps(report(measurement()).to_dict()))
    (place.folder / "null.html").symlink_to("/dev/null")
    assert "pipe, device or similar" in place.run(words.replace("NAME", "null"), 6)[1]
    assert "too long" in place.run(words.replace("NAME", "x" * 251), 6)[1]
    place.run(words.replace("NAME", "x" * 250))
    assert place.files() == ["null.html", "r.json", "x" * 250 + ".html"]
