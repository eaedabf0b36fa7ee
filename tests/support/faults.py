"""Commands that write, and what has to hold of their files whatever befell them."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
import sys
import time
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from fmedge.data.bench_report import read_report
from fmedge.model.artifact import read_artifact
from fmedge.model.submodel import format_of
from fmedge.render.plotly_js import script_file
from fmedge.workflow.tuned_choice import read_tuned
from support.page_samples import Elements
from support.places import ROOT


class Job(NamedTuple):
    """A command that writes.

    Attributes:
        words: What is typed; ``PHOTO``, ``PHOTOS`` and ``MODELS`` stand for paths.
        files: What it leaves in the folder it runs in.
        seconds: About how long it takes.
    """

    words: str
    files: tuple[str, ...]
    seconds: float


def exported(name):
    pair = (name, name.replace(".param", ".bin")) if name.endswith(".param") else (name,)
    return tuple(f"models/{each}" for each in (*pair, f"{name}.json"))


EXPORT = "export --weights untrained --no-verify"
RUN = "run --weights untrained --models MODELS"
SMALL = "--size 64 --backend onnxruntime --seconds 0 --weights untrained"
NAMES = [f"{number:02}.block1_conv1" for number in range(6)]
FORMS = "--output r.json --output r.csv --output r.md --output r.html"

JOBS = {
    "onnx": Job(f"{EXPORT} --layer block3_conv1", exported("block3_conv1.relu.fp32.untrained.onnx"), 0.6),
    "ncnn": Job(
        f"{EXPORT} --layer block3_conv1 --format ncnn", exported("block3_conv1.relu.fp32.untrained.ncnn.param"), 0.6
    ),
    "tflite": Job(
        f"{EXPORT} --layer block2_conv1 --format tflite", exported("block2_conv1.relu.fp32.untrained.tflite"), 6.0
    ),
    "page": Job(
        f"{RUN} PHOTO --output p.html --save-maps m.npz --png s.png --plotlyjs file",
        ("p.html", "m.npz", "s.png", script_file()[0]),
        0.7,
    ),
    "many": Job(
        f"{RUN} PHOTOS --output pages --save-maps maps",
        (*(f"pages/{name}.html" for name in NAMES), *(f"maps/{name}.npz" for name in NAMES)),
        1.2,
    ),
    "bench": Job(
        f"bench {SMALL} --runs 3 --processes 1 --models MODELS {FORMS}", ("r.json", "r.csv", "r.md", "r.html"), 2.0
    ),
    "tune": Job(
        f"tune {SMALL} --threads 1",
        ("models/block1_conv1.untrained.64x64.tuned.json", *exported("block1_conv1.relu.fp32.untrained.64x64.onnx")),
        8.0,
    ),
}
"""By name."""


class Place:
    """A folder for the files of a job, and beside it what the job reads."""

    def __init__(self, folder, photo, models):
        self.folder = folder / "out"
        self.folder.mkdir()
        photos = folder / "photos"
        photos.mkdir()
        for number in range(len(NAMES)):
            shutil.copy(photo, photos / f"{number:02}.png")
        self.stands_for = {"PHOTO": str(photo), "PHOTOS": str(photos), "MODELS": str(models)}

    def start(self, words, before=(), **options):
        """The command, in a session of its own."""
        words = [self.stands_for.get(word, word) for word in words.split()]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3", **options.pop("env", {})}
        return subprocess.Popen(
            [*before, sys.executable, "-m", "fmedge", *words],
            cwd=self.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            **options,
        )

    def run(self, words, code=0, before=(), **options):
        """The command up to its end; what it said."""
        with self.start(words, before, **options) as process:
            shown, talk = process.communicate(timeout=300)
        assert process.returncode == code, talk
        assert "Traceback" not in talk
        return shown, talk

    def files(self):
        """Every file there is."""
        return sorted(str(path.relative_to(self.folder)) for path in self.folder.rglob("*") if not path.is_dir())

    def state(self):
        """Changes when any file does."""
        return [(entry.inode(), entry.name) for folder in self._folders() for entry in os.scandir(folder)]

    def _folders(self):
        return [self.folder, *(path for path in (self.folder / "models", self.folder / "pages") if path.is_dir())]

    def require_whole(self, *, leftovers=False):
        """Check every file: it is whole, or a temporary one where such may be left."""
        for name in self.files():
            path = self.folder / name
            if re.fullmatch(r"\..+\.[0-9a-f]{12}\.tmp", path.name):
                assert leftovers, name
            else:
                CHECKS[path.suffix](path)

    def require_good_run(self, job):
        """Check that the command works now, and leaves its own files alone."""
        self.run(job.words)
        self.require_whole()
        assert self.files() == sorted(job.files)


def wait_for_session(process):
    """Wait until none of a command's own processes is left."""
    for _ in range(600):
        left = [stat for stat in map(_stat, Path("/proc").glob("[0-9]*/stat")) if stat[3:4] == [str(process.pid)]]
        if all(stat[0] == "Z" for stat in left):
            return
        time.sleep(0.05)
    raise AssertionError(left)


def _stat(path):
    try:
        return path.read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _json(path):
    if path.name.endswith(".tuned.json"):
        read_tuned(path)
    elif format_of(path.stem):
        read_artifact(path.with_suffix(""))
    else:
        read_report(path)


def _page(path):
    page = path.read_bytes()
    assert page.rstrip().endswith(b"</html>")
    for tag, attributes, text in Elements(page).found:
        if tag == "script" and attributes.get("type") == "application/json":
            json.loads(text)
        elif tag == "script" and attributes.get("type") == "text/plain":
            zlib.decompress(base64.b64decode(text))


def _archive(path):
    with np.load(path) as archive:
        assert archive["maps"].ndim == 3
        json.loads(str(archive["card"]))


def _picture(path):
    with Image.open(path) as picture:
        picture.load()


def _script(path):
    assert path.read_bytes() == script_file()[1]


def _text(path):
    assert path.read_text().endswith("\n")


CHECKS = {
    ".json": _json,
    ".html": _page,
    ".npz": _archive,
    ".png": _picture,
    ".csv": _text,
    ".md": _text,
    ".js": _script,
    **dict.fromkeys(
        (".onnx", ".tflite", ".param", ".bin", ".fmchain"), lambda _: None
    ),  # without its card a model counts as absent
}
"""Per suffix: fails where the file is not whole."""
