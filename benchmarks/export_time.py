"""Compare the export by fmedge with that by Keras and tf2onnx, from process start to the ONNX file, taking turns.

fmedge exports with its default check, which compares the model with the float64 reference before it is written, and
without it.

    python benchmarks/export_time.py --layer block1_conv1,block5_conv3
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from fmedge.model.submodel import ExportOptions
from fmedge.workflow.request import request_artifact
from programs import Program, median_run, run_in_turns, times_as_fast
from weights_file import write_weights

PROGRAM = "Keras + tf2onnx"


def main() -> None:
    """Measure, print a table, write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layer", default="block1_conv1,block3_conv3,block5_conv3", help="layers, separated by commas")
    parser.add_argument("--runs", type=int, default=5, help="counted runs of each, after one uncounted run")
    parser.add_argument("--output", type=Path, help="write the figures as JSON")
    parser.add_argument("--convert", nargs=3, metavar=("WEIGHTS", "LAYER", "FILE"), help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.convert:
        _convert(*chosen.convert)
        return
    with tempfile.TemporaryDirectory() as name:
        weights = Path(name) / "seeded.h5"
        write_weights(weights)
        results = [_compare(layer, weights, chosen.runs) for layer in chosen.layer.split(",")]
    if chosen.output:
        chosen.output.write_text(json.dumps(results, indent=1) + "\n")


def _convert(weights: str, layer: str, file: str) -> None:
    """Export as users of Keras do."""
    from peers.keras_predict import cut_vgg16
    from peers.plain_onnxruntime import convert

    convert(cut_vgg16(Path(weights), layer), Path(file))


def _compare(layer: str, weights: Path, runs: int) -> dict[str, object]:
    theirs = weights.with_name("theirs.onnx")
    programs = {PROGRAM: Program([sys.executable, __file__, "--convert", weights, layer, theirs], theirs)}
    for name, words in (("fmedge", []), ("fmedge, unchecked", ["--no-verify"])):
        models = weights.with_name(name.replace(" ", "_"))  # of its own, so that neither finds the other's file
        file = request_artifact(layer, weights=str(weights), models=models, options=ExportOptions()).path
        fmedge = Path(sys.executable).with_name("fmedge")
        programs[name] = Program(
            [fmedge, "export", "--layer", layer, "--weights", weights, "--models", models, *words], file
        )
    found = run_in_turns(programs, runs)
    for name, rows in found.items():
        row = median_run(rows)
        print(f"{layer:13} {name:17} {row.wall_s:6.2f} s {row.peak_bytes / 1e6:6.0f} MB", flush=True)
    faster = times_as_fast(found["fmedge"], found[PROGRAM])
    print(f"{layer:13} fmedge is {faster:.1f} times as fast, including its check", flush=True)
    return {
        "layer": layer,
        "faster": faster,
        "runs": {name: [vars(run) for run in rows] for name, rows in found.items()},
    }


if __name__ == "__main__":
    main()
