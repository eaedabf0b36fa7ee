"""Check whether memory stays flat: many runs with fresh input, and many sessions opened and closed, per engine.

    python benchmarks/endurance.py [--runs 10000] [--sessions 300] [--json FILE]

The slope is that of a straight line through the resident memory after each run, without the first 500. Each engine has
its own process.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from flatness import resident_bytes, slope_per_run
from fmedge.model.run_options import RunOptions
from fmedge.model.submodel import ExportOptions
from fmedge.runtime.backends import BACKENDS
from fmedge.runtime.opening import open_session
from fmedge.workflow.artifacts import obtain_artifact
from fmedge.workflow.request import request_artifact

LAYER = "block1_conv2"
SIZE = (64, 64)
"""Small, so that 10,000 runs take a minute; two convolutions, so that there are values in between."""

SETTLED = 500
"""Runs after which allocators and caches have reached their final size."""

LAST_SESSIONS = 200


def measure(backend: str, runs: int, sessions: int) -> dict[str, object]:
    """Run the model many times, then open and close many sessions, and read the memory after each."""
    row = next(row for row in BACKENDS if row.name == backend)
    request = request_artifact(LAYER, weights="untrained", options=ExportOptions(row.formats[0], size=SIZE))
    artifact = obtain_artifact(request, verify=False)
    generator = np.random.default_rng(0)
    used = np.empty(runs)
    with open_session(artifact, RunOptions(backend)) as session:
        for number in range(runs):
            session.run(generator.integers(0, 256, (1, *SIZE, 3), dtype=np.uint8))
            used[number] = resident_bytes()
    settled = used[SETTLED:]
    slope = slope_per_run(settled)
    after: list[int] = []
    image = np.zeros((1, *SIZE, 3), np.uint8)
    for _ in range(sessions):
        with open_session(artifact, RunOptions(backend)) as session:
            session.run(image)
        after.append(resident_bytes())
    return {
        "backend": backend,
        "runs": runs,
        "slope_bytes_per_run": slope.line,
        "slope_without_steps": slope.robust,
        "sessions": sessions,
        "growth_bytes": after[-1] - after[-min(LAST_SESSIONS, sessions)],
        "resident_bytes": after[-1],
    }


def main() -> None:
    """Measure each requested engine and print a line for it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--sessions", type=int, default=300)
    parser.add_argument("--backend", nargs="+", default=[row.name for row in BACKENDS if row.installed])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--one", metavar="BACKEND", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.one, options.runs, options.sessions)))
        return
    rows = []
    for backend in options.backend:
        words = ["--runs", str(options.runs), "--sessions", str(options.sessions), "--one", backend]
        ran = subprocess.run([sys.executable, __file__, *words], stdout=subprocess.PIPE, check=True)
        found = json.loads(ran.stdout.splitlines()[-1])
        rows.append(found)
        print(
            f"{backend:12} {found['slope_bytes_per_run']:+8.1f} bytes per run over {options.runs:,} runs, "
            f"{found['growth_bytes'] / 1e6:+.2f} MB over the last {LAST_SESSIONS} of {options.sessions} sessions"
        )
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
