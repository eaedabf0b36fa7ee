"""Texts that would steer a terminal or forge a line, wherever they come from: none reaches a stream of any command."""

import contextlib
import hashlib
import json
import os
import random
import re
import shutil
from dataclasses import replace

import onnx
import pytest
from PIL import Image, PngImagePlugin

from fmedge.cli import main
from fmedge.data.bench_report import Missing
from fmedge.model.artifact import card_path
from fmedge.model.submodel import ExportOptions
from fmedge.workflow.request import default_options, request_artifact
from support.measurements import measurement, report
from support.models import artifact_for

pytestmark = pytest.mark.skipif(os.name != "posix", reason="file names of any bytes")

C0 = [chr(code) for code in (*range(1, 32), 127)]
C1 = [chr(code) for code in range(128, 160)]
BIDI = list("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
ENDS = list("\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029")
STEERING = [*C0, *C1, *BIDI, *ENDS]
RAW_C1 = [chr(0xDC00 + code) for code in range(0x80, 0xA0)]
"""Bytes of a file's name that are no UTF-8 and steer 8-bit terminals, as Python reads them."""

FORGERIES = [
    "\nsha256  " + "0" * 64 + " (checked)",
    "\x1b]0;owned\x07",
    "\x1b[2J\x1b[H",
    "\x9b31m",
    "\r\x1b[K",
    "\x1b[8m",
    "\u2028Error: ",
    "\u202egnp.exe",
    "\x1bP$q\x1b\\",
    "\b\b\b\b",
]


def texts(count, seed, more=()):
    """Words with such letters among them; every letter is in one of the first hundred."""
    generator = random.Random(seed)
    letters = [*STEERING, *more]
    for number in range(count):
        some = [*generator.choices([*letters, *FORGERIES], k=generator.randrange(1, 5)), letters[number % len(letters)]]
        generator.shuffle(some)
        yield "x" + "y".join(some) + "z"


def require_clean(said, lines=None):
    """Check what a command wrote on a stream; lines is how many it may have."""
    text = said.decode(errors="surrogateescape")
    steering = {letter for letter in text if letter in STEERING or letter in RAW_C1} - {"\n"}
    assert not steering, (steering, text)
    assert lines is None or text.count("\n") == lines, text


@pytest.fixture
def said(capfdbinary):
    """Runs a command, looks at both streams, and counts their lines; one that fails has one."""

    def run(*words, code, lines=None):
        got = main([str(word) for word in words])
        out, err = capfdbinary.readouterr()
        assert got in (code if isinstance(code, tuple) else (code,)), err
        wanted = (0, 1) if got not in (0, 9) else lines or (None, None)
        require_clean(out, wanted[0])
        require_clean(err, wanted[1])
        return out.count(b"\n"), err.count(b"\n")

    return run


@pytest.fixture
def here(tmp_path, monkeypatch, block1, picture):
    """A folder with a photo and a small model, an ONNX file; what ``--size 32`` takes is there, too."""
    small = [
        artifact_for(
            request_artifact(
                "block1_conv1",
                weights="untrained",
                models=block1.path.parent,
                options=replace(form, size=(32, 32)),
            )
        )
        for form in (default_options(), ExportOptions())
    ][-1]
    shutil.copy(picture, tmp_path / "photo.png")
    shutil.copy(small.path, tmp_path / "m.onnx")
    shutil.copy(card_path(small.path), tmp_path / "m.onnx.json")
    monkeypatch.setenv("FMEDGE_MODELS", str(block1.path.parent))
    monkeypatch.chdir(tmp_path)
    return tmp_path


WORDS = {
    "a command": (["TEXT"], 2),
    "an option": (["run", "--TEXT"], 2),
    "a value": (["run", "photo.png", "--resize", "TEXT"], 2),
    "a layer": (["run", "photo.png", "--layer", "TEXT"], 2),
    "a layer to export": (["export", "--layer", "TEXT"], 2),
    "a size": (["export", "--size", "TEXT"], 2),
    "an engine": (["run", "photo.png", "--backend", "TEXT"], 2),
    "a device": (["run", "photo.png", "--device", "TEXT", "--weights", "untrained"], 2),
    "a photo that is missing": (["run", "TEXT", "--weights", "untrained"], 3),
    "a page": (["run", "photo.png", "--output", "TEXT", "--weights", "untrained"], 2),
    "a folder that is missing": (["run", "photo.png", "--output", "TEXT/a.html", "--weights", "untrained"], 6),
    "weights": (["run", "photo.png", "--weights", "TEXT"], 4),
    "a Keras model": (["export", "--keras", "TEXT", "--preprocessing", "caffe"], 4),
    "a model": (["run", "photo.png", "--model", "TEXT"], 4),
    "a model to show": (["info", "TEXT"], 4),
    "a model to verify": (["verify", "TEXT"], 4),
    "sides": (["diff", "TEXT", "onnxruntime", "photo.png"], 4),
    "reports": (["compare", "TEXT", "TEXT"], 2),
    "a metric": (["compare", "TEXT", "TEXT", "--metric", "TEXT"], 2),
    "a report": (["report", "TEXT"], 2),
    "a layer to time": (["bench", "--layer", "TEXT"], 2),
    "a form": (["bench", "--output", "TEXT"], 2),
    "photos for calibration": (["export", "--precision", "int8", "--calibration", "TEXT"], 2),
    "a layer to tune": (["tune", "--layer", "TEXT"], 2),
}
"""What is typed, and how it ends."""


@pytest.mark.parametrize("what", WORDS)
def test_words_that_are_typed(here, said, what, cases):
    words, code = WORDS[what]
    count = 0
    for text in texts(60, what):
        if "/" in text and any("TEXT/" in word for word in words):
            continue
        said(*(word.replace("TEXT", text) for word in words), code=code)
        count += 1
    cases("texts", count)


@pytest.mark.parametrize("name", ["FMEDGE_WEIGHTS", "FMEDGE_MODELS"])
def test_variables_of_the_environment(here, said, monkeypatch, name, cases):
    for text in texts(60, name):
        monkeypatch.setenv(name, f"nowhere/{text}/a\n")
        said("run", "photo.png", "--offline", "--no-page", "--save-maps", "no/m.npz", code=4 if "W" in name else 6)
    cases("texts", 60)


def named(text):
    """A text as a file's name."""
    return text.replace("/", "_").encode("utf-8", "surrogateescape")[:200].decode("utf-8", "surrogateescape")


def test_names_of_photos_and_folders(here, said, cases):
    """A page of each: its path is a line of stdout."""
    run = ["run", "--weights", "untrained", "--size", "32", "--style", "grid", "--channel", "0", "--plotlyjs", "cdn"]
    for text in texts(30, "names", RAW_C1):
        folder = here / named(text)
        folder.mkdir()
        shutil.copy("photo.png", folder / f"{named(text)}.png")
        said(*run, folder / f"{named(text)}.png", code=0, lines=(1, 2))
        said(*run, folder / f"{named(text)}.png", "--output", folder / "a.html", code=0, lines=(1, 2))
        said(*run, folder, "--no-page", "--save-maps", folder, code=0)
        said(*run, folder, "--output", folder, "--json", code=0)
        (folder / "broken.png").write_bytes(b"\x89PNG")
        said(*run, folder, "--output", folder, code=9)
        with contextlib.suppress(OSError):
            shutil.rmtree(folder)
        for page in here.glob("*.html"):
            page.unlink()
    cases("texts", 30 * 5)


def test_names_of_models(here, said, cases):
    good = said("info", "m.onnx", code=0)
    for text in texts(24, "models", RAW_C1):
        model = here / f"{named(text)}.onnx"
        shutil.copy("m.onnx", model)
        shutil.copy("m.onnx.json", card_path(model))
        said("info", model, code=0, lines=good)
        said("run", "photo.png", "--model", model, "--json", "--no-page", code=0)
        said("verify", model, code=0, lines=(1, 0))
        card_path(model).unlink()
        said("info", model, code=0)
        model.write_bytes(b"none")
        said("info", model, code=4)
        model.unlink()
    cases("texts", 24 * 5)


def places(data, path=()):
    """Every text of a document, and every name of an object, as the way to it."""
    for key, value in data.items() if isinstance(data, dict) else enumerate(data):
        yield (*path, key)
        if isinstance(value, (dict, list)):
            yield from places(value, (*path, key))


def put(data, path, text):
    """A copy with that text in a place; behind a name's own in an object of names of one's own."""
    data = json.loads(json.dumps(data))
    holder = data
    for key in path[:-1]:
        holder = holder[key]
    if isinstance(holder[path[-1]], str):
        holder[path[-1]] += text
    elif isinstance(holder, dict):
        holder[path[-1] + text] = holder.pop(path[-1])
    else:
        holder[path[-1]] = text
    return data


def test_texts_in_a_card(here, said, cases):
    """Read or refused: in both cases the number of lines is that of a good card.

    The file has no facts inside, which the card would have to repeat.
    """
    model = onnx.load(here / "m.onnx")
    del model.metadata_props[:]
    onnx.save(model, here / "m.onnx")
    card = json.loads((here / "m.onnx.json").read_text())
    card["file_sha256"] = hashlib.sha256((here / "m.onnx").read_bytes()).hexdigest()
    card["recipe"] = {"ranges": "of photos"}
    (here / "m.onnx.json").write_text(json.dumps(card))
    good = said("info", "m.onnx", code=0)
    generator, ways = random.Random(3), list(places(card))
    for number, text in enumerate(texts(200, "card")):
        way = ways[number] if number < len(ways) else generator.choice(ways)
        (here / "m.onnx.json").write_text(json.dumps(put(card, way, text)))
        said("info", "m.onnx", code=(0, 4, 7), lines=good)
    for number, text in enumerate(["\n" + FORGERIES[0][1:], "a\tb", "a\n\nb"]):
        (here / "m.onnx.json").write_text(json.dumps({**card, "recipe": {f"ranges{number}": text}}))
        said("info", "m.onnx", code=0, lines=good)
        said("info", "m.onnx", "--json", code=0)
    cases("texts", 203)


def test_texts_in_reports(here, said, cases):
    """Reasons of engines may have several lines; nothing else is let in."""
    missing = Missing(replace(measurement().configuration, layer="block1_conv2"), "a reason", 7)
    document = report(measurement(), missing=(missing,)).to_dict()
    (here / "good.json").write_text(json.dumps(document))
    good = said("compare", "good.json", "good.json", code=0)
    drawn = said("report", "good.json", code=0)
    generator, ways = random.Random(5), list(places(document))
    for number, text in enumerate(texts(200, "report")):
        way = ways[number] if number < len(ways) else generator.choice(ways)
        (here / "r.json").write_text(json.dumps(put(document, way, text)))
        said("report", "r.json", code=(0, 2), lines=drawn)
        said("compare", "good.json", "r.json", code=(0, 2))
    assert good[0] == 2
    cases("texts", 200)


def test_texts_in_a_picture(here, said, cases):
    """Its metadata is never shown; a file that is damaged names itself alone."""
    for text in texts(60, "picture"):
        notes = PngImagePlugin.PngInfo()
        notes.add_itxt("Title", text)
        exif = Image.Exif()
        exif[0x010E], exif[0x010F] = text, text
        Image.open("photo.png").save("noted.png", pnginfo=notes, exif=exif)
        run = ["run", "noted.png", "--weights", "untrained", "--size", "32", "--no-page", "--save-maps", "m.npz"]
        said(*run, code=0, lines=(1, 2))
    cases("texts", 60)


def test_a_bug_of_ours_shows_no_such_letter(fmedge_process):
    """Nor what an engine said before it."""
    script = (
        "import os, fmedge.cli.run_job as running, fmedge.system.stderr as quiet\n"
        "def run(_):\n"
        "    with quiet.quietly():\n"
        "        os.write(2, 'said \\x1b[31m \\x9b2J\\r\\n'.encode())\n"
        "        raise ZeroDivisionError('\\x1b]0;x\\x07 \\u202e\\n')\n"
        "running.run = run\n"
        "from fmedge.__main__ import entry; entry()"
    )
    ran = fmedge_process("run", "a.png", code=1, before=["-c", script])
    require_clean(ran.stderr.encode())
    assert "Traceback" in ran.stderr
    assert re.search(r"said \?\[31m \?2J", ran.stderr)
