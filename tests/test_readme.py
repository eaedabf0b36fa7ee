"""What the README shows works."""

import hashlib
import re
import shlex

import pytest

from fmedge.cli import main
from fmedge.model import weights
from fmedge.model.stock import STOCK, VGG16
from fmedge.workflow import doctor
from support.places import ROOT

OFFICIAL = STOCK[VGG16].weights
README = (ROOT / "README.md").read_text()
COMMANDS = [
    line.partition("#")[0].strip()
    for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    for line in block.splitlines()
]


@pytest.fixture
def reader(tmp_path, monkeypatch):
    """Someone with a photo, and with the official weights in the cache (seeded values stand in for them)."""
    from draw_picture import draw
    from weights_file import write_weights

    official = weights.cache_folder() / OFFICIAL.name
    official.parent.mkdir(parents=True)
    write_weights(official)
    content = official.read_bytes()
    stand_in = OFFICIAL._replace(md5=hashlib.md5(content).hexdigest(), size_bytes=len(content))
    monkeypatch.setitem(STOCK, VGG16, STOCK[VGG16]._replace(weights=stand_in))
    monkeypatch.chdir(tmp_path)
    draw().save("photo.jpg")
    (tmp_path / "photos" / "deep").mkdir(parents=True)
    for name in ("one.jpg", "two.jpg", "deep/three.jpg"):
        draw().save(tmp_path / "photos" / name)
    return tmp_path


SHORTER = {"bench": "--processes 1", "--batch 8": "--batch 2", "--layer all": "--size 64"}
"""What is said beside such words of the README, for less of the same."""


def test_commands(reader, capsys, monkeypatch):
    any_network = [row for row in doctor.BACKENDS if not row.special]
    monkeypatch.setattr(doctor, "BACKENDS", any_network[:1])  # all engines: tests/cli/test_diff_doctor.py
    words = [shlex.split(command) for command in COMMANDS if command.startswith("fmedge ")]
    assert len(words) >= 7
    for command in words:
        more = [word for part, shorter in SHORTER.items() if part in " ".join(command) for word in shorter.split()]
        assert main([*command[1:], *more]) == 0, command
    produced = {str(path.relative_to(reader)) for path in reader.rglob("*") if path.is_file()}
    assert {"models/block1_conv1.relu.fp32.onnx", "photo.block1_conv1.html", "five.html", "maps.npz"} <= produced
    assert "untrained" not in capsys.readouterr().err


def test_python_example(reader, capsys):
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    exec(compile(example, "README.md", "exec"), {})
    assert "(1, 128, 112, 112) float32" in capsys.readouterr().out
    assert (reader / "page.html").stat().st_size > 1_000_000


def test_targets_of_make_exist():
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"make (\w+)", README))
    assert named
    assert named <= targets


def test_the_example_picture_is_always_the_same():
    from draw_picture import draw

    assert draw().size == (448, 448)
    assert draw().tobytes() == draw().tobytes()
