"""Branch coverage of the gates: of every module that reads what comes from outside.

    python tests/gate_coverage.py [--keep FOLDER] [PYTEST'S WORDS]

Runs the tests of these modules, with their child processes, prints a table and ends with 1 where less than 90 % of a
module's branches were taken in both directions. Wants `coverage` 7.10 or later; `make coverage` installs it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from contextlib import nullcontext
from pathlib import Path

import coverage

from support.places import ROOT

GATES = """
data/bench_report data/image_bounds data/images model/artifact model/card model/h5_weights model/known_models
runtime/engines/onnx_weights runtime/gate/bounds runtime/gate/checks runtime/gate/flatbuffer runtime/gate/ncnn_reader
runtime/gate/ncnn_layers runtime/gate/ncnn_moves runtime/gate/ncnn_parameters runtime/gate/ncnn_rules
runtime/gate/native_reader
model/ncnn_format
runtime/gate/onnx_kernels runtime/gate/onnx_operators runtime/gate/onnx_reader runtime/gate/onnx_relu_count
runtime/gate/onnx_shapes runtime/gate/protobuf runtime/gate/relu_count runtime/gate/shape_rules runtime/gate/shapes
runtime/gate/tflite_operators runtime/gate/tflite_reader runtime/gate/tflite_shapes runtime/isolated
runtime/gate/onnx_windows runtime/gate/tflite_windows runtime/isolated_child system/serde workflow/tuned_choice
"""

TESTS = """
tests/fuzz tests/runtime/test_gate.py tests/runtime/test_gate_odd.py tests/runtime/test_ncnn.py
tests/runtime/test_ncnn_gate.py tests/runtime/test_ncnn_layers.py tests/runtime/test_native_gate.py
tests/runtime/test_onnx_weights.py tests/runtime/test_relu_count.py
tests/runtime/test_isolated.py tests/runtime/test_shapes.py
tests/data/test_image_bounds.py tests/data/test_images.py
tests/model/test_artifact.py tests/model/test_h5_hostile.py tests/model/test_h5_weights.py
tests/data/test_measurement.py tests/data/test_odd_images.py tests/model/test_known_models.py
tests/workflow/test_tuned_choice.py
"""
"""Those that are about the gates, of the default suite."""

WANTED = 0.90

SETTINGS = """[run]
branch = true
parallel = true
patch = _exit
data_file = {folder}/data
include = {modules}
[report]
exclude_also = if TYPE_CHECKING:
"""

START = """import os
os.environ.setdefault("COVERAGE_PROCESS_START", {settings!r})
try:
    import coverage
except ImportError:
    pass
else:
    coverage.process_startup()
"""
"""Python runs this when it starts: in child processes, too, whose environment may hold nothing but the path to it."""


def main() -> int:
    """Run the tests, print the table, tell whether it is enough."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", type=Path, help="folder for what was found, which stays")
    chosen, words = parser.parse_known_args()
    with nullcontext(chosen.keep) if chosen.keep else tempfile.TemporaryDirectory() as name:
        folder = Path(name).absolute()
        (folder / "start").mkdir(parents=True, exist_ok=True)
        settings = folder / "settings"
        modules = ",".join(str(ROOT / "fmedge" / f"{gate}.py") for gate in GATES.split())
        settings.write_text(SETTINGS.format(folder=folder, modules=modules))
        (folder / "start/sitecustomize.py").write_text(START.format(settings=str(settings)))
        others = [each for each in os.environ.get("PYTHONPATH", "").split(os.pathsep) if each]
        ran = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", *TESTS.split(), *words],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(folder / "start"), str(ROOT), *others])},
            check=False,
        )
        return ran.returncode or _report(folder, settings)


def _report(folder: Path, settings: Path) -> int:
    measured = coverage.Coverage(config_file=str(settings))
    measured.combine([str(folder)], keep=True)
    found = folder / "found.json"
    measured.json_report(outfile=str(found))
    files = {Path(name).resolve(): each for name, each in json.loads(found.read_text())["files"].items()}
    short: list[str] = []
    taken = there = 0
    print(f"{'module':32}{'branches':>10}{'taken':>9}   lines from which one was not")
    for gate in GATES.split():
        row = files.get((ROOT / "fmedge" / f"{gate}.py").resolve())
        if row is None:
            short.append(f"{gate} was not run at all")
            continue
        covered, branches = row["summary"]["covered_branches"], row["summary"]["num_branches"]
        taken, there = taken + covered, there + branches
        share = covered / branches if branches else 1.0
        lines = sorted({abs(line) for line, _ in row["missing_branches"]})
        print(f"{gate:32}{branches:10}{share:9.1%}   {', '.join(map(str, lines))}")
        if share < WANTED:
            short.append(f"{gate}: {share:.1%} of the branches, wanted are {WANTED:.0%}")
    print(f"{'all':32}{there:10}{taken / max(1, there):9.1%}")
    for line in short:
        print(line)
    return 1 if short else 0


if __name__ == "__main__":
    sys.exit(main())
