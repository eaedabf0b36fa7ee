"""Measure what a Session costs beyond the engine's own call, on the same loaded model, taking turns.

    python benchmarks/session_overhead.py [--runs 101] [--layer block1_conv1 ...] [--json FILE]

The engine's own call is written as its users would write it, and has to return what ``Session.run`` returns: a new
float32 array (1, C, H, W) that the caller owns. Each engine has its own process.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from fmedge.model.run_options import RunOptions
from fmedge.model.submodel import ExportOptions
from fmedge.runtime.backends import BACKENDS
from fmedge.runtime.opening import open_session
from fmedge.workflow.artifacts import obtain_artifact
from fmedge.workflow.request import request_artifact

Call = Callable[[np.ndarray], np.ndarray]


def own_call(session: Any, tap: str) -> Call:  # noqa: ANN401 - looks behind the session's back
    """Return the engine's own call on the model that a session has loaded."""
    engine = session._engine
    name = engine.name
    if name == "onnxruntime":
        return lambda image: engine._session.run([tap], {"image": image})[0]
    if name == "openvino":
        request = engine._compiled.create_infer_request()
        return lambda image: request.infer({0: image})[0].copy()
    if name == "litert":

        def run_interpreter(image: np.ndarray) -> np.ndarray:
            engine._interpreter.set_tensor(engine._input, image)
            engine._interpreter.invoke()
            return np.ascontiguousarray(engine._interpreter.get_tensor(engine._outputs[tap]).transpose(0, 3, 1, 2))

        return run_interpreter
    import ncnn

    def run_extractor(image: np.ndarray) -> np.ndarray:
        extractor = engine._net.create_extractor()
        height, width = image.shape[1:3]
        extractor.input("image", ncnn.Mat.from_pixels(image[0], ncnn.Mat.PixelType.PIXEL_RGB, width, height))
        return np.array(extractor.extract(tap)[1])[np.newaxis]

    return run_extractor


def measure(backend: str, layer: str, runs: int) -> dict[str, object]:
    """Measure the median seconds of both calls, and of the extra cost of one over the other in a pair."""
    row = next(row for row in BACKENDS if row.name == backend)
    request = request_artifact(layer, weights="untrained", options=ExportOptions(row.formats[0]))
    artifact = obtain_artifact(request)
    image = np.random.default_rng(0).integers(0, 256, (1, 224, 224, 3), dtype=np.uint8)
    with open_session(artifact, RunOptions(backend)) as session:
        plain = own_call(session, layer)
        ways = {"session": lambda: session.run(image)[layer], "engine": lambda: plain(image)}
        np.testing.assert_array_equal(ways["session"](), ways["engine"]())
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        for turn in range(runs + 5):
            for name, call in ways.items():
                start = time.perf_counter()
                maps = call()
                if turn >= 5:
                    seconds[name].append(time.perf_counter() - start)
                del maps
    own, ours = (statistics.median(seconds[name]) for name in ("engine", "session"))
    pairs = [after - before for after, before in zip(seconds["session"], seconds["engine"], strict=True)]
    return {
        "backend": backend,
        "layer": layer,
        "engine_s": own,
        "session_s": ours,
        "extra_s": statistics.median(pairs),
        "ratio": ours / own,
        "runs": runs,
    }


def main() -> None:
    """Measure every installed engine and print a line for it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=101)
    parser.add_argument("--layer", nargs="+", default=["block1_conv1", "block3_conv3"])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--one", nargs=2, metavar=("BACKEND", "LAYER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(*options.one, options.runs)))
        return
    rows = []
    for layer in options.layer:
        for row in [row for row in BACKENDS if row.installed]:
            command = [sys.executable, __file__, "--runs", str(options.runs), "--one", row.name, layer]
            found = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout.splitlines()[-1])
            rows.append(found)
            print(
                f"{layer:13} {row.name:12} engine {found['engine_s'] * 1e3:7.2f} ms  "
                f"session {found['session_s'] * 1e3:7.2f} ms  "
                f"{100 * (found['ratio'] - 1):+.1f} %  {found['extra_s'] * 1e3:+.3f} ms"
            )
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
