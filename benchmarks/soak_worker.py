"""The process of one engine in a soak, which resembles a server: it lives long and does a bit of everything.

`prepare` makes photos and models in a folder, in a separate process, since some models need TensorFlow. Then `open`
loads them, and `turn` works for a while. The work comes in rounds: each round does every piece of work once, in random
order, so that all rounds contain the same.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

import fmedge
from flatness import descriptors, resident_bytes, threads
from fmedge.bench.worker_pipe import serve
from fmedge.data.images import load_photo
from fmedge.model.artifact import Artifact
from fmedge.model.submodel import Precision
from fmedge.runtime.backends import find_backend
from fmedge.workflow.artifacts import obtain_artifact
from fmedge.workflow.model_files import open_model
from fmedge.workflow.pages import make_page
from fmedge.workflow.request import request_artifact

MODELS = (
    ("block1_conv1", "relu", "fp32"),
    ("block1_conv1", "relu", "int8"),
    ("block2_conv2", "none", "fp32"),
    ("block3_conv3", "relu", "fp32"),
)
"""The deepest takes most of the time: 50 to 100 ms on two cores."""

PHOTOS: dict[str, tuple[int, int, dict[str, Any]]] = {
    "small.png": (224, 224, {}),
    "clear.png": (300, 420, {"mode": "RGBA"}),
    "upright.jpg": (600, 900, {"exif": 6, "quality": 90}),
    "large.jpg": (1500, 2000, {"progressive": True}),
    "grey.jpg": (480, 640, {"mode": "L"}),
    "web.webp": (600, 800, {}),
}
"""Height, width and options of the photos, by file name."""

RARE = 4
"""One in so many rounds runs an unknown model, in a separate process, which takes as long as the rest of a round."""

CALIBRATION = 16
"""Number of calibration photos for int8, whose values do not matter here."""

PLAIN_SIDE = 224
"""Side in pixels to which photos are resized where models are made for smaller images."""


def prepare(folder: str, backends: list[str], side: int, seed: int) -> dict[str, object]:
    """Make photos, some broken ones, and the models of every engine; return which models there are and which not."""
    home, generator = Path(folder), np.random.default_rng(seed)
    for name, (height, width, how) in PHOTOS.items():
        _write_photo(home / "photos" / name, generator, height * side // PLAIN_SIDE, width * side // PLAIN_SIDE, **how)
    for number in range(CALIBRATION):
        _write_photo(home / "calibration" / f"{number:02}.png", generator, side, side)
    broken = home / "broken"
    broken.mkdir()
    whole = (home / "photos/large.jpg").read_bytes()
    (broken / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (broken / "words.png").write_text("no picture")
    (broken / "bomb.png").write_bytes(_header_of((home / "photos/small.png").read_bytes(), 60_000))
    made: dict[str, list[str]] = {}
    missing: list[str] = []
    for backend in backends:
        made[backend] = []
        plain = fmedge.ExportOptions(find_backend(backend).formats[0])
        for layer, activation, precision in MODELS:
            form = replace(plain, size=(side, side), precision=Precision(precision))
            try:
                made[backend].append(str(_make_model(home, layer, activation, form)))
            except fmedge.FmedgeError as error:
                missing.append(f"{backend}, {layer} {precision}: {error}")
        if made[backend]:
            _make_model(home, MODELS[0][0], MODELS[0][1], plain)  # what `extract` asks for
    return {"models": made, "missing": missing}


def _make_model(home: Path, layer: str, activation: str, form: fmedge.ExportOptions) -> Path:
    """Make a model and return its path; an existing one, made for another engine, is used again."""
    request = request_artifact(layer, activation, weights="untrained", models=home / "models", options=form)
    photos = home / "calibration" if form.precision is Precision.INT8 else None
    return obtain_artifact(request, calibration=photos, verify=False).path


def _write_photo(
    path: Path, generator: np.random.Generator, height: int, width: int, mode: str = "RGB", exif: int = 1, **how: object
) -> None:
    """Write a photo of soft blots with grain, as cameras give."""
    path.parent.mkdir(exist_ok=True)
    channels = {"L": 1, "RGB": 3, "RGBA": 4}[mode]
    coarse = generator.integers(0, 256, (6, 8, channels), dtype=np.uint8).squeeze()
    soft = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC), np.int16)
    grain = soft + generator.integers(-8, 9, soft.shape)
    tags = Image.Exif()
    tags[0x0112] = exif  # orientation
    Image.fromarray(grain.clip(0, 255).astype(np.uint8)).save(path, **(how | {"exif": tags} if exif > 1 else how))


def _header_of(png: bytes, side: int) -> bytes:
    """Return a PNG whose header states that height and width."""
    return png[:16] + side.to_bytes(4, "big") * 2 + png[24:]


class Work(NamedTuple):
    """A piece of work: its kind in the timings, what it does, and how often: in every round, every fourth and so on."""

    kind: str
    do: Callable[[], object]
    every: int = 1


class Soak:
    """Models, photos and the work with them; each public method serves one request and returns its answer."""

    def __init__(self) -> None:
        self._runs = self._rounds = 0
        self._ended: list[dict[str, Any]] = []

    def open(self, folder: str, backend: str, models: list[str], seed: int) -> dict[str, object]:
        """Load the models and do every piece of work once, so that nothing is done for the first time later."""
        self._home, self._own = Path(folder), Path(folder) / backend
        (self._own / "temporary").mkdir(parents=True)
        os.environ["TMPDIR"] = str(self._own / "temporary")
        self._options = fmedge.RunOptions(backend, spinning=False)  # idle threads sleep during others' turns
        layer, activation, _ = MODELS[0]
        self._asked: dict[str, Any] = {"layer": layer, "activation": activation, "weights": "untrained"}
        self._asked |= {"models": self._home / "models", "run": self._options}
        self._artifacts = [fmedge.read_artifact(Path(path)) for path in models]
        self._sessions = [fmedge.open_session(artifact, self._options) for artifact in self._artifacts]
        self._lot = random.Random(seed)
        self._work = list(self._pieces())
        self._waiting: list[Work] = []
        for work in self._work:
            work.do()
        return {"kinds": list(dict.fromkeys(work.kind for work in self._work))}

    def turn(self, seconds: float) -> dict[str, object]:
        """Work for some seconds; return each run's end, kind, seconds and memory after it, and the rounds' ends."""
        found: list[tuple[float, str, float, int]] = []
        self._ended = []
        until = time.perf_counter() + seconds
        while not found or time.perf_counter() < until:
            self._waiting = self._waiting or self._next_round()
            work = self._waiting.pop()
            start = time.perf_counter()
            work.do()
            found.append((time.time(), work.kind, time.perf_counter() - start, resident_bytes()))
            self._runs += 1
            if not self._waiting:
                self._ended.append(
                    {
                        "run": self._runs,
                        "descriptors": descriptors(),
                        "threads": _threads_at_rest(),
                        "left": self._left_behind(),
                    }
                )
        return {"runs": found, "rounds": self._ended}

    def _next_round(self) -> list[Work]:
        work = [each for each in self._work if self._rounds % each.every == 0]
        self._lot.shuffle(work)
        self._rounds += 1
        return work

    def _left_behind(self) -> list[str]:
        """Return the files in this engine's folders that nobody asked for."""
        asked = {self._own / name for name in ("page.html", "maps.npz", "sheet.png")}
        files = (path for path in self._own.rglob("*") if path.is_file())
        return sorted(str(path.relative_to(self._own)) for path in files if path not in asked)

    def _pieces(self) -> Iterator[Work]:
        """Yield all pieces of work."""
        photos, broken = (sorted((self._home / name).iterdir()) for name in ("photos", "broken"))
        broken += [self._home / "nowhere.png", self._home]
        for artifact, session in zip(self._artifacts, self._sessions, strict=True):
            name = artifact.path.name.partition(".untrained")[0]
            for photo in photos:
                yield Work(f"run {name}", lambda s=session, p=photo: self._run(s, p))
        first, last = self._artifacts[0], self._artifacts[-1]
        yield Work("page", lambda: make_page(first, photos[0], self._own / "page.html", run=self._options))
        sheet = {"save_maps": self._own / "maps.npz", "save_sheet": self._own / "sheet.png"}
        yield Work("archive, picture", lambda: make_page(last, photos[0], None, run=self._options, **sheet))
        for model in (first, last):
            yield Work("open", lambda m=model: self._open(m))
        yield Work("extract", lambda: fmedge.extract(photos[1], **self._asked))
        yield Work("extract_many", lambda: self._many([*photos, *broken]))
        yield Work("unknown model", lambda: self._open(self._stranger(first)), RARE)
        for photo in broken:
            yield Work("refused image", lambda p=photo: self._refuse(lambda: fmedge.extract(p, **self._asked)))
        yield Work("refused layer", lambda: self._refuse(lambda: fmedge.extract(photos[0], "block9_conv1")))
        yield Work("refused array", lambda: self._refuse(lambda: self._sessions[0].run(np.zeros((1, 2, 2), np.uint8))))
        for damage in (_cut, _blurred):
            model = replace(first, model=damage(first.model), weights=damage(first.weights))
            yield Work("refused model", lambda m=model: self._refuse(lambda: self._open(m)))
        yield Work("refused file", lambda: self._refuse(lambda: open_model(photos[0])))

    def _run(self, session: fmedge.Session, photo: Path) -> None:
        session.run(load_photo(photo, session.card.options.size).pixels[np.newaxis])

    def _open(self, artifact: Artifact) -> None:
        height, width = artifact.card.options.size or (PLAIN_SIDE, PLAIN_SIDE)
        with fmedge.open_session(artifact, self._options) as session:
            session.run(np.zeros((1, height, width, 3), np.uint8))

    def _stranger(self, artifact: Artifact) -> Artifact:
        """Return the same artifact under an unknown hash, so that it runs in a separate process."""
        digest = f"{self._lot.getrandbits(256):064x}"
        return replace(artifact, card=replace(artifact.card, file_sha256=digest))

    def _many(self, photos: list[Path]) -> None:
        refused: list[Path] = []
        taken = [
            photo
            for photo, _ in fmedge.extract_many(photos, on_error=lambda photo, _: refused.append(photo), **self._asked)
        ]
        if len(taken) != len(PHOTOS) or len(taken) + len(refused) != len(photos):
            raise RuntimeError(f"of {len(photos)} photos {len(taken)} were taken, {len(refused)} refused")

    def _refuse(self, work: Callable[[], object]) -> None:
        with suppress(fmedge.FmedgeError):
            work()
            raise RuntimeError("what is wrong was taken")


def _threads_at_rest() -> int:
    """Count the threads that stay: one that is asked to end still exists for a moment."""
    found = threads()
    for _ in range(20):
        time.sleep(0.005)
        found = min(found, threads())
    return found


def _cut(content: bytes) -> bytes:
    return content[: 2 * len(content) // 3]


def _blurred(content: bytes) -> bytes:
    """Return the content with every 64th byte of its first 4096 inverted."""
    return bytes(255 - byte if place % 64 == 0 and place < 4096 else byte for place, byte in enumerate(content))


if __name__ == "__main__":
    soak = Soak()
    serve({"prepare": prepare, "open": soak.open, "turn": soak.turn})
