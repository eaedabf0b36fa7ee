"""``fmedge run`` and ``fmedge diff``: what their pages are asked to be."""

import json
import shutil

import numpy as np
import pytest

from fmedge.render.plotly_js import script_file


@pytest.fixture
def here(tmp_path, monkeypatch, picture, block1):
    """A folder with a photo, where random weights are the default."""
    shutil.copy(picture, tmp_path / "a.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FMEDGE_WEIGHTS", "untrained")
    monkeypatch.setenv("FMEDGE_MODELS", str(block1.path.parent))
    return tmp_path


def header(path):
    content = path.read_bytes()
    start = content.index(b'id="header">') + len(b'id="header">')
    return json.loads(content[start:].split(b"</script>")[0])


def test_both_sides_of_relu(here, fmedge_inprocess):
    said = fmedge_inprocess("run", "a.png", "--activation", "both", "--save-maps", "m.npz", "--png", "s.png")
    assert said.stdout == "a.block1_conv1.both.html\n"
    assert header(here / "a.block1_conv1.both.html")["views"] == ["relu", "raw"]
    with np.load(here / "m.npz") as saved:  # what was computed: ReLU is one step from it
        assert str(saved["activation"]) == "none"
        assert saved["maps"].min() < 0
    assert (here / "s.png").read_bytes()[:4] == b"\x89PNG"


def test_both_of_many(here, fmedge_inprocess):
    words = ["run", "a.png", "--activation", "both", "--output", "p", "--save-maps", "m", "--png", "s"]
    fmedge_inprocess(*words, "--layer", "block1_conv1+block1_conv2")
    assert sorted(path.name for path in (here / "p").iterdir()) == [
        "a.block1_conv1.both.html",
        "a.block1_conv2.both.html",
    ]
    assert sorted(path.name for path in (here / "m").iterdir()) == [
        "a.block1_conv1.none.npz",
        "a.block1_conv2.none.npz",
    ]
    assert len(list((here / "s").glob("*.both.png"))) == 2


def test_several_layers_on_one_page(here, fmedge_inprocess):
    words = ["run", "a.png", "--layer", "block1_conv1+block1_pool", "--output", "walk.html", "--save-maps", "m"]
    said = fmedge_inprocess(*words)
    assert said.stdout == "walk.html\n"
    assert [layer["name"] for layer in header(here / "walk.html")["layers"]] == ["block1_conv1", "block1_pool"]
    assert len(list((here / "m").iterdir())) == 2
    said = fmedge_inprocess(*words, "--json")
    rows = json.loads(said.stdout)
    assert [(row["layer"], row["page"]) for row in rows] == [
        ("block1_conv1", "walk.html"),
        ("block1_pool", "walk.html"),
    ]


def test_values_style_and_plotly(here, fmedge_inprocess):
    fmedge_inprocess("run", "a.png", "--values", "float32", "--plotlyjs", "file", "--output", "x.html")
    assert header(here / "x.html")["values"] == "float32"
    assert len(list(here.glob("plotly-*.min.js"))) == 1
    fmedge_inprocess("run", "a.png", "--style", "grid", "--channel", "3")
    assert (here / "a.block1_conv1.channel3.grid.html").is_file()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--activation", "both", "--model", "MODEL"], "are after ReLU"),
        (["--activation", "both", "--layer", "block1_pool"], "is a pool"),
        (["--activation", "both", "--style", "grid"], "--style viewer"),
        (["--png", "s.jpg"], "ends in .png"),
        (["--png", "a.png"], "is one of the images"),
        (["--layer", "block1_conv1+block1_conv2", "--output", "x.html", "--channel", "3"], "one channel of one layer"),
        (["--layer", "block1_conv1+block1_conv2", "--output", "x.html", "--png", "s.png"], "Name a folder"),
        (["--values", "8bit"], "8bit"),
    ],
)
def test_wrong_requests_are_one_line(here, block1, words, message, fmedge_inprocess):
    named = [str(block1.path) if word == "MODEL" else word for word in words]
    said = fmedge_inprocess("run", "a.png", *named, code=2)
    error = said.stderr
    assert message in error
    assert error.splitlines()[-1].startswith("Error: ")
    assert not (here / "x.html").exists()


def test_the_page_of_a_difference(here, block1, fmedge_inprocess):
    path = str(block1.path)
    said = fmedge_inprocess("diff", path, path, "a.png", "--output", "diff.html")
    assert said.stdout.splitlines()[-1] == "diff.html"
    found = header(here / "diff.html")
    assert found["kind"] == "difference"
    assert found["views"] == ["error", "a", "b"]
    first = (here / "diff.html").read_bytes()
    fmedge_inprocess("diff", path, path, "a.png", "--output", "diff.html", "--json")
    assert (here / "diff.html").read_bytes() == first
    fmedge_inprocess("diff", path, path, "a.png", "--output", "diff.txt", code=2)


@pytest.mark.parametrize("lies_there", [b"", b"alert(1)", None, "cut", "longer"])
def test_a_script_that_lies_beside_the_page_is_ours(here, lies_there, fmedge_inprocess):
    """Whatever was there under that name: the page would run it."""
    name, script = script_file()
    if lies_there is not None:
        others = {"cut": script[:-1], "longer": script + b"//"}
        (here / name).write_bytes(others.get(lies_there, lies_there))
    fmedge_inprocess("run", "a.png", "--plotlyjs", "file", "--output", "x.html")
    assert (here / name).read_bytes() == script
    written = (here / name).stat().st_ino
    fmedge_inprocess("run", "a.png", "--plotlyjs", "file", "--output", "x.html")
    assert (here / name).stat().st_ino == written  # a right one stays


def test_several_photos_on_one_page(here, fmedge_inprocess):
    shutil.copy("a.png", "b.png")
    said = fmedge_inprocess("run", "a.png", "b.png", "--output", "both.html", "--save-maps", ".")
    assert said.stdout.split() == ["both.html"]
    assert "of 2 images on one page" in said.stderr
    found = header(here / "both.html")
    assert [each["image"] for each in found["pictures"]] == ["a.png", "b.png"]
    assert [each.get("picture", 0) for each in found["layers"]] == [0, 1]
    assert len(list(here.glob("*.npz"))) == 2
    for name in "cde":
        shutil.copy("a.png", f"{name}.png")
    said = fmedge_inprocess("run", *(f"{name}.png" for name in "abcde"), "--output", "six.html", code=2)
    assert "at most 4 images side by side" in said.stderr
    assert not (here / "six.html").exists()
