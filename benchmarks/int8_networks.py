"""Compare int8 of networks of your own with onnxruntime's `quantize_static`: accuracy on unseen photos, and speed.

Of the photos by name, two of three calibrate and the others judge. `quantize_static` (QDQ, per-channel weights, MinMax)
gets fmedge's float model, after `quant_pre_process`. Accuracy is 10*log10(sum(true^2)/sum(error^2)) of a tap, averaged
over the photos; true is float32. Speed: every model in its own worker process, taking turns.

    python benchmarks/int8_networks.py --photos photos/ net.onnx,layer2.0.conv2,torch my.keras,conv2d_3+conv2d_4,unit

With --weights, stock VGG16 is one of the networks, written as an ONNX file of the user's own.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx

from fmedge.data.images import load_photo
from fmedge.model.artifact import Artifact
from fmedge.model.run_options import RunOptions
from fmedge.model.submodel import ExportOptions, Precision
from fmedge.runtime.backends import BACKENDS
from fmedge.workflow.artifacts import run_batches
from fmedge.workflow.exports import export_submodel
from int8 import SUFFIXES, sqnr_db, stock_onnx, times_of

STOCK_LAYERS = ("block2_conv2", "block3_conv3")


def main() -> None:
    """Measure, print a table, write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", help="FILE,LAYERS,PREPROCESSING")
    parser.add_argument("--weights", help="a Keras .h5 file of VGG16, or imagenet")
    parser.add_argument("--photos", required=True, type=Path)
    parser.add_argument("--rounds", type=int, default=9, help="turns of every model when timed")
    parser.add_argument("--output", type=Path, help="write the figures as JSON")
    chosen = parser.parse_args()
    photos = sorted(path for path in chosen.photos.iterdir() if path.suffix.lower() in SUFFIXES)
    print(f"{_processor()}: " + ", ".join(row.name for row in BACKENDS if row.installed), flush=True)
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        calibration = folder / "calibration"
        calibration.mkdir()
        for number, photo in enumerate(photos):
            if number % 3:
                (calibration / photo.name).symlink_to(photo.resolve())
        networks = [tuple(each.rsplit(",", 2)) for each in chosen.networks]
        if chosen.weights:
            networks += [(_stock(layer, chosen.weights, folder), layer, "caffe") for layer in STOCK_LAYERS]
        for file, layers, preprocessing in networks:
            for row in _rows(Path(file), layers, preprocessing, chosen.rounds, folder, calibration, photos[::3]):
                rows.append(row)
                print(
                    f"{row['network']:32.32} {row['tap']:22.22} {row['backend']:12} fmedge {row['sqnr_db']:6.2f} dB "
                    f"{row['latency_s'] * 1e3:8.3f} ms, quantize_static {row['their_sqnr_db']:6.2f} dB "
                    f"{row['their_latency_s'] * 1e3:8.3f} ms, float {row['float_latency_s'] * 1e3:8.3f} ms",
                    flush=True,
                )
    if chosen.output:
        chosen.output.write_text(json.dumps(rows, indent=2) + "\n")


def _rows(
    file: Path, layers: str, preprocessing: str, rounds: int, folder: Path, calibration: Path, judges: list[Path]
) -> Iterator[dict[str, object]]:
    source = {"onnx" if file.suffix == ".onnx" else "keras": file}
    options = ExportOptions(preprocessing=preprocessing)
    float_model = export_submodel(layers, **source, models=folder, options=options, verify=False)
    ours = export_submodel(
        layers, **source, models=folder, options=replace(options, precision=Precision.INT8), calibration=calibration
    )
    theirs = stock_onnx(float_model, calibration, folder, prepare=True)
    images = np.stack([load_photo(photo, float_model.card.options.size).pixels for photo in judges])
    true = list(run_batches(float_model, images[:, np.newaxis]))
    backends = [row.name for row in BACKENDS if float_model.card.format in row.formats and row.installed]
    models = {"float": float_model, "ours": ours, "theirs": theirs}
    times = times_of({f"{name} {each}": (models[name], each) for name in models for each in backends}, rounds)
    for backend in backends:
        accuracy = {name: _accuracy(models[name], images, true, backend) for name in ("ours", "theirs")}
        for tap in float_model.card.submodel.taps:
            yield {
                "network": file.name,
                "tap": tap,
                "backend": backend,
                "sqnr_db": accuracy["ours"][tap],
                "their_sqnr_db": accuracy["theirs"][tap],
                "latency_s": statistics.median(times[f"ours {backend}"]),
                "their_latency_s": statistics.median(times[f"theirs {backend}"]),
                "float_latency_s": statistics.median(times[f"float {backend}"]),
                "recipe": ours.card.recipe["chosen"],
            }


def _accuracy(
    artifact: Artifact, images: np.ndarray, true: list[dict[str, np.ndarray]], backend: str
) -> dict[str, float]:
    found = list(run_batches(artifact, images[:, np.newaxis], RunOptions(backend)))
    pairs = list(zip(found, true, strict=True))
    return {tap: statistics.mean(sqnr_db(each[tap], expected[tap]) for each, expected in pairs) for tap in true[0]}


def _stock(layer: str, weights: str, folder: Path) -> Path:
    """Write stock VGG16 up to a layer as an ONNX network that takes a prepared image, channels first."""
    model = onnx.load(export_submodel(layer, weights=weights, models=folder, verify=False).path)
    first = next(node for node in model.graph.node if node.op_type == "Conv").input[0]
    part = onnx.utils.Extractor(onnx.shape_inference.infer_shapes(model)).extract_model([first], [layer])
    for extent, value in zip(part.graph.input[0].type.tensor_type.shape.dim, (None, 3, 224, 224), strict=True):
        extent.Clear()
        if value:
            extent.dim_value = value
    target = folder / f"vgg16_{layer}.onnx"
    onnx.save(part, target)
    return target


def _processor() -> str:
    names = [line.partition(":")[2].strip() for line in _read("/proc/cpuinfo") if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _read(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).exists() else []


if __name__ == "__main__":
    main()
