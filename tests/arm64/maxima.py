"""Holds feature maps computed on 64-bit Arm against those of x86-64.

    python -m arm64.maxima make FOLDER       on x86-64: exports the models, runs them, keeps the maps
    python -m arm64.maxima compare FOLDER    on Arm: runs the same models, compares, prints a table

float32 models whose exporter needs no TensorFlow are exported again on Arm, since boards do that, too; the others are
taken as x86-64 wrote them.
"""

from __future__ import annotations

import math
import os
import platform
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path

import numpy as np
from PIL import Image

from fmedge.data.images import load_photo, parity_image
from fmedge.errors import UsageError
from fmedge.export.exporter import find_exporter
from fmedge.model.artifact import Artifact, read_artifact
from fmedge.model.parity import GATES, gate_for, measure_parity
from fmedge.model.run_options import RunOptions
from fmedge.model.stock import INPUT_SIZE
from fmedge.model.submodel import VGG16, ExportOptions, Precision
from fmedge.runtime.backends import BACKENDS, Backend, find_backend
from fmedge.runtime.opening import open_session
from fmedge.workflow.artifacts import create_artifact
from fmedge.workflow.request import ArtifactSpec, request_artifact
from support.places import TEST_DATA

LAYERS = ("block1_conv1", "block2_conv2", "block3_conv3")
PRECISIONS = (Precision.FP32, Precision.INT8)

DIGITS = 5
"""Significant digits to which the maximum of a float32 tap has to agree."""

LINE = "{:<12}{:<44}{:<18}{:>12}{:>12}{:>8}{:>9}{:>8}{:>10}{:>5}"
TITLES = ("engine", "model", "exported", "max x86-64", "max here", "digits", "maps", "dB", "dB float", "s")
"""``digits``: how far the two maxima agree; ``maps``: how many maps' maxima agree to DIGITS; ``dB``: agreement of all
values with x86-64 on the same engine; ``dB float``: with ONNX Runtime's float32 there; ``s``: export and run."""


@dataclass(frozen=True, slots=True)
class Subject:
    """Weights, an image to run, photos to calibrate with, and the layers worth the time."""

    weights: str
    image: np.ndarray
    photos: Path
    layers: tuple[str, ...] = LAYERS


@dataclass(frozen=True, slots=True)
class Case:
    """A model on an engine."""

    backend: Backend
    request: ArtifactSpec
    subject: Subject

    @property
    def layer(self) -> str:
        return self.request.submodel.deepest

    @property
    def precision(self) -> Precision:
        return self.request.options.precision

    @property
    def maps_file(self) -> Path:
        """Where x86-64 keeps the maps."""
        return self.request.folder / f"{self.backend.name}.{self.request.path.name}.npy"

    @property
    def judge_file(self) -> Path:
        """The float32 maps that are right: those of ONNX Runtime."""
        judge = find_backend("onnxruntime")
        options = ExportOptions(format=judge.formats[0])
        folder, weights = self.request.folder, self.subject.weights
        request = request_artifact(self.layer, weights=weights, models=folder, options=options)
        return Case(judge, request, self.subject).maps_file


def subjects(folder: Path) -> Iterator[Subject]:
    """Untrained weights with a drawn image; real ones with a photo, where they are, which then do the deep layers."""
    drawn = folder / "drawn"
    drawn.mkdir(parents=True, exist_ok=True)
    image = parity_image(*INPUT_SIZE)
    for shift in range(0, 200, 25):
        Image.fromarray(np.roll(image, shift, axis=1)).save(drawn / f"{shift:03}.png")
    real, photos = sorted((TEST_DATA / "vgg16").glob("*.h5")), sorted((TEST_DATA / "photos").glob("*.png"))
    if real and photos:
        yield Subject("untrained", image, drawn, LAYERS[:1])
        yield Subject(str(real[0]), load_photo(photos[0], INPUT_SIZE).pixels, photos[0].parent)
    else:
        print("No real weights and photos: untrained weights alone. To add them, set FMEDGE_TEST_DATA.")
        yield Subject("untrained", image, drawn)


def cases(folder: Path) -> Iterator[Case]:
    """Every engine that is installed, with every precision and layer that can be exported for it."""
    for subject in subjects(folder):
        for backend in BACKENDS:
            if not backend.installed:
                print(f"{backend.name} is not installed on {platform.machine()}: left out.")
                continue
            for precision in PRECISIONS:
                options = ExportOptions(format=backend.formats[0], precision=precision)
                if not can_export(options):
                    continue
                for layer in subject.layers:
                    request = request_artifact(layer, weights=subject.weights, models=folder, options=options)
                    yield Case(backend, request, subject)


def can_export(options: ExportOptions) -> bool:
    try:
        find_exporter(VGG16, options)
    except UsageError:
        return False
    return True


def run(case: Case, artifact: Artifact) -> np.ndarray:
    """The maps of the subject's image: float32, (channels, height, width)."""
    with open_session(artifact, RunOptions(case.backend.name, spinning=False)) as session:
        return session.run(case.subject.image[np.newaxis])[case.layer][0]


def describe_machine() -> str:
    """Processor and versions, for one line."""
    seen = {found.name: found.version for found in distributions()}
    names = ("numpy", "onnx", *(backend.package.replace("_", "-") for backend in BACKENDS))
    versions = [f"{name} {seen[name]}" for name in dict.fromkeys(names) if name in seen]
    return f"{platform.machine()}: Python {platform.python_version()}, {', '.join(versions)}"


def make(folder: Path) -> int:
    """Export every model, run it, keep the maps."""
    for case in cases(folder):
        photos = case.subject.photos if case.precision is Precision.INT8 else None
        np.save(case.maps_file, run(case, create_artifact(case.request, calibration=photos)))
    return 0


def artifact_here(case: Case, folder: Path) -> tuple[Artifact, str]:
    """The case's model, exported here where that is possible, and a word on where it comes from."""
    given = read_artifact(case.request.path)
    options = case.request.options
    if case.precision is Precision.INT8 or find_exporter(VGG16, options).extra == "export":
        return given, "x86-64"
    own = request_artifact(case.layer, weights=case.subject.weights, models=folder / "own", options=options)
    artifact = create_artifact(own, verify=case.layer == LAYERS[0])
    same = (artifact.model, artifact.weights) == (given.model, given.weights)
    return artifact, "here, same bytes" if same else "here, other bytes"


def digits(found: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Significant digits to which values agree: 5 where they differ by a hundred-thousandth of their size."""
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.abs(found.astype(float) - expected) / np.abs(expected)
        return np.where(found == expected, math.inf, -np.log10(share))


def shown(agreement: float) -> str:
    return "equal" if math.isinf(agreement) else f"{agreement:.1f}"


def compare(folder: Path) -> int:
    """Run every model that x86-64 kept maps of and print what was seen; 1 where a bound is broken."""
    print(LINE.format(*TITLES))
    bad = [case for case in cases(folder) if case.maps_file.is_file() and not kept(case, folder)]
    for case in bad:
        print(f"Beyond its bounds: {case.request.path.name} on {case.backend.name}.")
    return 1 if bad else 0


def kept(case: Case, folder: Path) -> bool:
    """Compare one case and print its row.

    float32 has to keep float32's gate against x86-64 on the same engine, and the maximum its digits. int8's kernels
    may round differently: it has to keep its own gate against the float32 maps, as at every export.
    """
    started = time.monotonic()
    artifact, origin = artifact_here(case, folder)
    found, expected = run(case, artifact), np.load(case.maps_file)
    seconds = time.monotonic() - started
    same = measure_parity(found, expected, GATES[Precision.FP32])
    judged = measure_parity(found, np.load(case.judge_file), gate_for(case.precision, case.layer))
    agreed = float(digits(found.max(keepdims=True), expected.max(keepdims=True)).item())
    maps = digits(found.max(axis=(1, 2)), expected.max(axis=(1, 2))) >= DIGITS
    print(
        LINE.format(
            case.backend.name,
            case.request.path.name,
            origin,
            f"{expected.max():.6g}",
            f"{found.max():.6g}",
            shown(agreed),
            f"{maps.sum()}/{len(maps)}",
            shown(same.snr_db),
            shown(judged.snr_db),
            f"{seconds:.0f}",
        ),
        flush=True,
    )
    return judged.passed and (case.precision is Precision.INT8 or (same.passed and agreed >= DIGITS))


if __name__ == "__main__":
    action, where = sys.argv[1:]
    os.environ.setdefault("FMEDGE_STATE", str(Path(where).resolve() / "state"))  # both machines: one user's models
    print(describe_machine(), flush=True)
    raise SystemExit({"make": make, "compare": compare}[action](Path(where).resolve()))
