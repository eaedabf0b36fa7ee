"""Compare int8 with the engines' stock recipes: accuracy on photos not used in calibration, speed, file size.

The first photos by name calibrate, the next ones judge. Stock is onnxruntime's `quantize_static` (QDQ, per-channel
weights, MinMax) and TensorFlow's converter with a representative data set. Accuracy is 10*log10(sum(true^2)/
sum(error^2)) of the whole tensor, averaged over the photos; true is float32. Speed: every model in its own worker
process, taking turns. On x86 without VNNI the rows show what fmedge requests of each engine there.

    python benchmarks/int8.py --weights vgg16.h5 --photos photos/
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx

from fmedge.data.images import load_photo
from fmedge.export.exporter import own_artifact
from fmedge.export.onnx.file import finish
from fmedge.model.artifact import Artifact, read_artifact, write_artifact
from fmedge.model.run_options import RunOptions
from fmedge.model.submodel import Converter, ExportOptions, Format, Precision
from fmedge.runtime.backends import BACKENDS
from fmedge.runtime.opening import open_session
from fmedge.workflow.artifacts import run_batches
from fmedge.workflow.exports import export_submodel

LAYERS = ("block1_conv1", "block2_conv2", "block3_conv3")
SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp"}
INT8 = {
    "onnx": ExportOptions(precision=Precision.INT8),
    "onnx float tap": ExportOptions(precision=Precision.INT8, float_tap=True),
    "onnx 7 bits": ExportOptions(precision=Precision.INT8, seven_bit=True),
    "tflite": ExportOptions(Format.TFLITE, Precision.INT8),
    "tflite stock": ExportOptions(Format.TFLITE, Precision.INT8, Converter.TENSORFLOW),
}


def main() -> None:
    """Measure, print a table, write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", required=True, help="a Keras .h5 file of VGG16, or imagenet")
    parser.add_argument("--photos", required=True, type=Path)
    parser.add_argument("--calibrate", type=int, default=16, help="number of photos for calibration")
    parser.add_argument("--judge", type=int, default=8, help="number of photos for judging")
    parser.add_argument("--rounds", type=int, default=9, help="turns of every model when timed")
    parser.add_argument("--output", type=Path, help="write the figures as JSON")
    chosen = parser.parse_args()
    photos = sorted(path for path in chosen.photos.iterdir() if path.suffix.lower() in SUFFIXES)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        calibration = folder / "calibration"
        calibration.mkdir()
        for photo in photos[: chosen.calibrate]:
            (calibration / photo.name).symlink_to(photo.resolve())
        judges = photos[chosen.calibrate : chosen.calibrate + chosen.judge]
        images = np.stack([load_photo(photo, (224, 224)).pixels for photo in judges])
        rows = [row for layer in LAYERS for row in _rows(layer, chosen, folder, calibration, images)]
    if chosen.output:
        chosen.output.write_text(json.dumps(rows, indent=2) + "\n")


def _rows(
    layer: str, chosen: argparse.Namespace, folder: Path, calibration: Path, images: np.ndarray
) -> Iterator[dict[str, object]]:
    float_model = export_submodel(layer, weights=chosen.weights, models=folder)
    true = list(run_batches(float_model, images[:, np.newaxis]))
    artifacts = {"onnx fp32": float_model, "onnx stock": stock_onnx(float_model, calibration, folder)}
    for name, options in INT8.items():
        artifacts[name] = export_submodel(
            layer, weights=chosen.weights, models=folder, options=options, calibration=calibration, verify=False
        )
    ways = {
        f"{name}, {row.name}" if row.name != "onnxruntime" else name: (artifact, row.name)
        for name, artifact in artifacts.items()
        for row in BACKENDS
        if artifact.card.format in row.formats and row.installed
    }
    times = times_of(ways, chosen.rounds)
    for name, (artifact, backend) in ways.items():
        found = run_batches(artifact, images[:, np.newaxis], RunOptions(backend))
        accuracy = [sqnr_db(result[layer], expected[layer]) for result, expected in zip(found, true, strict=True)]
        row = {
            "layer": layer,
            "model": name,
            "sqnr_db": statistics.mean(accuracy),
            "latency_s": statistics.median(times[name]),
            "size_bytes": len(artifact.model),
        }
        share = len(artifact.model) / len(float_model.model)
        print(
            f"{layer:13} {name:24} {row['sqnr_db']:7.2f} dB {row['latency_s'] * 1e3:7.2f} ms {share:6.1%} of fp32",
            flush=True,
        )
        yield row


def stock_onnx(float_model: Artifact, calibration: Path, folder: Path, *, prepare: bool = False) -> Artifact:
    """Quantize the float model with `onnxruntime.quantization.quantize_static`, after `quant_pre_process` if wanted."""
    from onnxruntime.quantization import (
        CalibrationDataReader,
        CalibrationMethod,
        QuantFormat,
        quant_pre_process,
        quantize_static,
    )

    name, size = float_model.card.inputs[0].name, float_model.card.options.size

    class Photos(CalibrationDataReader):
        def __init__(self) -> None:
            self.files = iter(sorted(calibration.iterdir()))

        def get_next(self) -> dict[str, np.ndarray] | None:
            photo = next(self.files, None)
            return None if photo is None else {name: load_photo(photo, size).pixels[np.newaxis]}

    source = float_model.path
    if prepare:
        source = folder / f"prepared.{float_model.path.name}"
        quant_pre_process(str(float_model.path), str(source), skip_symbolic_shape=True)
    target = folder / f"stock.{float_model.path.name}"
    quantize_static(
        str(source), str(target), Photos(), quant_format=QuantFormat.QDQ, per_channel=True,
        calibrate_method=CalibrationMethod.MinMax,
    )  # fmt: skip
    options = replace(float_model.card.options, precision=Precision.INT8)
    card = replace(float_model.card, options=options, parity=None)
    model = onnx.load(target)
    artifact = own_artifact(target, card, finish(model, card))  # it runs in this process, too
    return write_artifact(target, artifact.model, artifact.card)


def sqnr_db(found: np.ndarray, true: np.ndarray) -> float:
    """Return 10*log10(sum(true^2)/sum((found-true)^2))."""
    noise = np.square(found.astype(float) - true).sum()
    return float("inf") if noise == 0 else float(10 * np.log10(np.square(true.astype(float)).sum() / noise))


def times_of(ways: dict[str, tuple[Artifact, str]], rounds: int) -> dict[str, list[float]]:
    """Measure the median latency of every way in each round; a worker sleeps while the others have their turn."""
    workers = {
        name: subprocess.Popen(
            [sys.executable, str(Path(__file__).resolve()), "--worker", str(artifact.path), backend],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for name, (artifact, backend) in ways.items()
    }  # fmt: skip
    times: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds + 1):
        for name, worker in workers.items():
            worker.stdin.write("\n")
            worker.stdin.flush()
            seconds = float(worker.stdout.readline())
            if turn:
                times[name].append(seconds)
    for worker in workers.values():
        worker.communicate()
    return times


def _work(path: Path, backend: str) -> None:
    """Answer every line with the median latency of 15 runs. Threads sleep between turns: `spinning=False`."""
    artifact = read_artifact(path)
    images = np.random.default_rng(0).integers(0, 256, (1, *artifact.card.options.size, 3), dtype=np.uint8)
    with open_session(artifact, RunOptions(backend, spinning=False)) as session:
        for _ in sys.stdin:
            seconds = []
            for _ in range(15):
                start = time.perf_counter()
                session.run(images)
                seconds.append(time.perf_counter() - start)
            print(statistics.median(seconds), flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        _work(Path(sys.argv[2]), sys.argv[3])
    else:
        main()
