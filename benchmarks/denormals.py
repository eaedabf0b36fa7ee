"""Measure what numbers next to zero cost: float32 below 1.2e-38, which some processors compute very slowly.

    python benchmarks/denormals.py [--layer block1_conv1,...] [--backend onnxruntime,...] [--turns 8]

Such numbers get into a convolution in two ways. Each is compared with the same model without them; the models take
turns, each in its own process:

- *input*: the model takes float32, and pixels are multiplied by 1e-39. After the mean is subtracted, nothing of that
  is left.
- *inside*: the first kernel and all biases are multiplied by 1e-41. ReLU passes factors on, so all maps are multiplied
  too: for pixels around 100 they are about 1e-39 in every layer. The network's answer is the same, times 1e-41.

Required: at most twice the time.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from fmedge.export.exporter import build_artifact
from fmedge.export.stock_network import StockNetwork
from fmedge.model.stock import STOCK, VGG16
from fmedge.model.submodel import ExportOptions, SubModel
from fmedge.model.weights import UNTRAINED, Weights, load_weights
from fmedge.runtime.backends import BACKENDS, find_backend, usable_cpus
from inference import LONGEST_S, MODULE, PAUSE_S
from turns import take_turns, workers_at_hand

Row = dict[str, Any]

INPUT_FACTOR, INSIDE_FACTOR = 1e-39, 1e-41

MOST = 2.0
"""Largest allowed time, as a multiple of that of the same model without such numbers."""


def main() -> None:
    """Measure; print a line for each model, with whether it stays within :data:`MOST`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layer", default="block1_conv1,block3_conv3,block5_conv3")
    parser.add_argument("--backend", default=",".join(row.name for row in BACKENDS if row.installed))
    parser.add_argument("--turns", type=int, default=8, help="counted turns of each model")
    parser.add_argument("--output", type=Path, help="write the figures as JSON")
    chosen = parser.parse_args()
    rows: list[Row] = []
    for layer in chosen.layer.split(","):
        for backend in chosen.backend.split(","):
            rows.append(_measure(layer, backend, chosen.turns))
            _print(rows[-1])
    if chosen.output:
        chosen.output.write_text(json.dumps(rows, indent=1) + "\n")


def _measure(layer: str, backend: str, turns: int) -> Row:
    """Measure the medians of the four models, in seconds, and both ratios."""
    plain = load_weights(UNTRAINED, layer)[0]
    threads = usable_cpus()
    with tempfile.TemporaryDirectory() as folder, workers_at_hand(MODULE) as start:
        bytes_in = _export(plain, layer, backend, "uint8", Path(folder) / "bytes")
        floats_in = _export(plain, layer, backend, "float32", Path(folder) / "floats")
        small = _export(scaled(plain, layer), layer, backend, "uint8", Path(folder) / "small")
        models = {
            "plain": {"path": bytes_in},
            "inside": {"path": small},
            "plain float": {"path": floats_in, "factor": 1.0},
            "input": {"path": floats_in, "factor": INPUT_FACTOR},
        }
        workers = {}
        for name, model in models.items():
            workers[name] = start()
            words = {"layer": layer, "backend": backend, "threads": threads, **model}
            workers[name].ask(LONGEST_S, do="load_fmedge", **words)
        seconds = take_turns(workers, turns, warm_up=1, runs=1, pause_s=PAUSE_S)
    medians = {name: statistics.median(found) for name, found in seconds.items()}
    return {
        "layer": layer,
        "backend": backend,
        "threads": threads,
        "median_s": medians,
        "runs": {name: len(found) for name, found in seconds.items()},
        "inside": medians["inside"] / medians["plain"],
        "input": medians["input"] / medians["plain float"],
    }


def scaled(weights: Weights, layer: str) -> Weights:
    """Return the weights of the same network with all maps multiplied by :data:`INSIDE_FACTOR`."""
    first, *others = [spec.name for spec in STOCK[VGG16].through(layer) if spec.kind == "conv"]
    factor = np.float32(INSIDE_FACTOR)
    kernel, bias = weights[first]
    return {
        first: (kernel * factor, bias * factor),
        **{name: (weights[name][0], weights[name][1] * factor) for name in others},
    }


def _export(weights: Weights, layer: str, backend: str, input_dtype: Any, stem: Path) -> str:  # noqa: ANN401
    form = ExportOptions(find_backend(backend).formats[0], input_dtype=input_dtype)
    network = StockNetwork(weights, UNTRAINED.facts)
    path = stem.with_name(stem.name + form.format.suffixes[0])
    return str(build_artifact(SubModel((layer,)), network, path, options=form, runner=None).path)


def _print(row: Row) -> None:
    milliseconds = {name: 1e3 * seconds for name, seconds in row["median_s"].items()}
    print(
        f"{row['layer']:13} {row['backend']:12} plain {milliseconds['plain']:8.2f} ms  "
        f"inside {milliseconds['inside']:9.2f} ms ({row['inside']:.2f})  "
        f"float in {milliseconds['plain float']:8.2f} ms  1e-39 {milliseconds['input']:8.2f} ms ({row['input']:.2f})  "
        f"{'met' if max(row['inside'], row['input']) <= MOST else 'MISSED'}",
        flush=True,
    )


if __name__ == "__main__":
    main()
