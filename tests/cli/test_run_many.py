"""``fmedge run`` over many images and layers."""

import json
import os
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest

from fmedge.model.parity import GATES
from support.places import ROOT
from support.processes import wait_until


@pytest.fixture
def here(tmp_path, monkeypatch, picture, block1):
    """A folder with three photos, one of them in a folder of its own, where random weights are the default."""
    for name in ("photos/b.png", "photos/a.png", "more/c.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(picture, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FMEDGE_WEIGHTS", "untrained")
    monkeypatch.setenv("FMEDGE_MODELS", str(block1.path.parent))
    return tmp_path


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_files_folders_and_patterns(here, fmedge_inprocess):
    words = ["run", "more/c.png", "photos", "photos/a.png", "--output", "pages", "--save-maps", "maps"]
    said = fmedge_inprocess(*words, "--threads", "1", "--backend", "onnxruntime")
    assert said.stdout.splitlines() == [f"pages{os.sep}{name}.block1_conv1.html" for name in "cab"]
    assert "3 of 3 images" in said.stderr
    assert "CPUExecutionProvider" in said.stderr
    assert names(here / "pages") == [f"{name}.block1_conv1.html" for name in "abc"]
    assert names(here / "maps") == [f"{name}.block1_conv1.npz" for name in "abc"]
    fmedge_inprocess("run", "**/*.png", "--output", "all")
    assert names(here / "all") == names(here / "pages")
    fmedge_inprocess("run", "photos/a.png", "--threads", "1", "--backend", "onnxruntime")
    assert (here / "a.block1_conv1.html").read_bytes() == (here / "pages/a.block1_conv1.html").read_bytes()


def test_every_layer_has_its_page(here, fmedge_inprocess):
    said = fmedge_inprocess("run", "photos/a.png", "--layer", "all", "--size", "64", "--output", "pages")
    assert len(names(here / "pages")) == 18
    assert "block5_pool" in said.stdout.splitlines()[-1]
    words = ["run", "photos/a.png", "--activation", "none", "--size", "64", "--no-page", "--save-maps"]
    said = fmedge_inprocess(*words, "maps", "--layer", "all", "--json", "--backend", "onnxruntime")
    rows = json.loads(said.stdout)
    assert [row["layer"] for row in rows] == [name.split(".")[1] for name in names(here / "maps")]
    assert len(rows) == 13
    assert rows[0]["page"] is None
    assert rows[0]["placement"] == "13/13 Conv on CPUExecutionProvider"
    fmedge_inprocess(*words, "one.npz", "--layer", "block3_conv2")
    with np.load("one.npz") as one, np.load("maps/a.block3_conv2.none.npz") as both:
        allowed = GATES["fp32"].max_error_over_range * np.ptp(one["maps"])
        np.testing.assert_allclose(one["maps"], both["maps"], rtol=0, atol=allowed)


def test_two_layers_in_one_pass(here, fmedge_inprocess):
    said = fmedge_inprocess("run", "photos/a.png", "--layer", "block1_conv1+block1_conv2", "--channel", "3")
    assert said.stdout.splitlines() == ["a.block1_conv1.channel3.html", "a.block1_conv2.channel3.html"]


def test_bad_files_are_skipped(here, fmedge_inprocess):
    (here / "photos/aa.png").write_text("not an image")
    said = fmedge_inprocess("run", "photos", "gone.png", "--output", "pages", "--json", code=9)
    rows = json.loads(said.stdout)
    assert [(row["image"], "error" in row) for row in rows] == [
        (f"photos{os.sep}a.png", False),
        (f"photos{os.sep}aa.png", True),
        (f"photos{os.sep}b.png", False),
        ("gone.png", True),
    ]
    assert said.stderr.count("Skipped: ") == 2
    assert "2 of 4 images skipped" in said.stderr.splitlines()[-1]
    assert len(names(here / "pages")) == 2
    said = fmedge_inprocess("run", "photos/aa.png", "gone.png", code=3)
    assert "None of the 2 images" in said.stderr
    said = fmedge_inprocess("run", "photos/aa.png", "--layer", "block1_conv1+block1_conv2", code=3)
    assert said.stderr.splitlines()[-1].startswith("Error: Cannot decode")


@pytest.mark.parametrize(
    ("code", "words", "message"),
    [
        (2, ["photos", "--style", "grid", "--output", "pages.html"], "one layer of one image"),
        (2, ["photos", "--save-maps", "maps.npz"], "Name a folder"),
        (2, ["photos", "--layer", "block1_conv1+block1_conv2", "--png", "a.png"], "Name a folder"),
        (2, ["photos/a.png", "--output", "pages"], "ends in .html"),
        (2, ["photos/a.png", "--save-maps", "maps"], "ends in .npz"),
        (2, ["photos", "--no-page", "--output", "pages"], "Leave out --output"),
        (2, ["photos", "--layer", "block1_conv1,block1_conv2"], "--layer block1_conv1+block1_conv2"),
        (2, ["photos", "--layer", "block1_conv1+block1_conv2", "--channel", "64"], "No channel 64"),
        (2, ["photos", "--threads", "0"], "out of range. Allowed: 1 to"),
        (2, ["photos", "--cpus", "a"], "not a core number"),
        (2, ["photos", "--device", "abacus"], "Unknown device"),
        (2, ["photos", "--model", "MODEL", "--channel", "64"], "No channel 64"),
        (3, ["empty"], "No images in the folder 'empty'"),
        (3, ["photos/*.jpg"], "Nothing matches"),
        (6, ["photos", "--output", "photos/a.png"], "Cannot write"),
        (6, ["photos", "--output", "photos/a.png/pages"], "Cannot write"),
    ],
)
def test_wrong_requests_are_one_line(here, block1, code, words, message, fmedge_inprocess):
    (here / "empty").mkdir()
    words = [str(block1.path) if word == "MODEL" else word for word in words]
    before = sorted(here.rglob("*"))
    said = fmedge_inprocess("run", *words, code=code)
    assert message in said.stderr
    assert said.stderr.startswith("Error: ")
    assert said.stderr.count("\n") == 1
    assert said.stdout == ""
    assert sorted(here.rglob("*")) == before


def test_a_folder_that_is_there_takes_a_single_page_too(here, fmedge_inprocess):
    (here / "pages").mkdir()
    said = fmedge_inprocess("run", "photos/a.png", "--output", "pages")
    assert said.stdout.strip() == str(here.__class__("pages/a.block1_conv1.html"))


def test_one_image_gives_one_object(here, fmedge_inprocess):
    said = fmedge_inprocess("run", "photos/a.png", "--no-page", "--json", "--threads", "1", "--backend", "onnxruntime")
    facts = json.loads(said.stdout)
    assert facts["page"] is facts["maps"] is None
    assert (facts["device"], facts["math"], facts["threads"]) == ("cpu", "fp32", 1)
    assert facts["placement"] == "1/1 Conv on CPUExecutionProvider"
    said = fmedge_inprocess("run", "photos/a.png", "--no-page", "--save-maps", "a.npz")
    assert said.stdout == "a.npz\n"


def test_no_image_is_written_over(here, picture, fmedge_inprocess):
    shutil.copy(picture, here / "a.html")
    content = (here / "a.html").read_bytes()
    said = fmedge_inprocess("run", "a.html", "--output", "a.html", code=2)
    assert "overwritten" in said.stderr
    assert (here / "a.html").read_bytes() == content


@pytest.mark.skipif(os.name != "posix", reason="POSIX signals")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_in_mid_run(here, picture, number, code):
    (here / "lots").mkdir()
    for index in range(300):
        (here / "lots" / f"{index:03}.png").symlink_to(picture)
    process = subprocess.Popen(
        [sys.executable, "-m", "fmedge", "run", "lots", "--layer", "block1_conv1+block1_conv2", "--output", "pages"],
        cwd=here,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_until(process, lambda: any(here.glob("pages/*.html")))
    process.send_signal(number)
    _, talk = process.communicate(timeout=60)
    assert process.returncode == code
    assert "Traceback" not in talk
    written = list((here / "pages").iterdir())
    assert 0 < len(written) < 600
    assert {path.suffix for path in written} == {".html"}
    assert all(path.read_bytes().rstrip().endswith(b"</html>") for path in written)


def test_a_full_disk_ends_the_run(here, picture):
    import resource

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    process = subprocess.run(
        [sys.executable, "-m", "fmedge", "run", "photos", "more", "--output", "pages"],
        cwd=here,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        preexec_fn=limit,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert process.returncode == 6
    assert "Error: Cannot write" in process.stderr
    assert names(here / "pages") == []
