"""Measure how fmedge's time and memory grow with the number of pixels, of images in a batch, and of threads.

    python benchmarks/growth.py [--axis pixels,batch,threads] [--layer ...] [--backend ...]

Required: time per pixel constant within 20 % from 224 x 224 to 896 x 896, memory on a straight line, and at least as
many images per second in batches of 16 as one at a time. Every point has its own process; those of a line take turns.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from fmedge.runtime.backends import usable_cpus
from inference import LONGEST_S, MODULE, PAUSE_S
from turns import take_turns, workers_at_hand
from weights_file import write_weights

Row = dict[str, Any]

AXES: dict[str, list[Row]] = {
    "pixels": [{"size": [side, side]} for side in (112, 224, 448, 672, 896)],
    "batch": [{"batch": batch} for batch in (1, 2, 4, 8, 16, 32)],
    "threads": [{"threads": threads} for threads in range(1, usable_cpus() + 1)],
}
"""The values that differ between the points of a line, by its axis; the defaults are one 224 x 224 photo on all
cores."""

SMALLEST = 224
"""Side in pixels from which the limits apply: below it, starting threads takes too large a share."""

FLAT = 0.20
"""Largest allowed difference between the most and the least time per pixel, relative to the least."""

STRAIGHT = 0.10
"""Largest allowed distance of the memory from its straight line, relative to the memory."""

SAME = 0.03
"""Relative difference below which two medians count as the same."""


def main() -> None:
    """Measure, print the points and whether the limits are kept, write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--axis", default=",".join(AXES), help="one or more of pixels, batch and threads, separated by commas"
    )
    parser.add_argument("--layer", default="block1_conv1,block3_conv3")
    parser.add_argument("--backend", default="native,onnxruntime,ncnn")
    parser.add_argument("--turns", type=int, default=8, help="counted turns of each point")
    parser.add_argument("--output", type=Path, help="write the figures as JSON")
    chosen = parser.parse_args()
    found: list[Row] = []
    with tempfile.TemporaryDirectory() as name:
        weights = Path(name) / "seeded.h5"
        write_weights(weights)
        for axis in chosen.axis.split(","):
            for layer in chosen.layer.split(","):
                for backend in chosen.backend.split(","):
                    line = _measure(axis, layer, backend, weights, chosen.turns)
                    _print(line)
                    found += line
    for verdict in verdicts(found):
        print(verdict["text"])
    if chosen.output:
        chosen.output.write_text(json.dumps(found, indent=1) + "\n")


def _measure(axis: str, layer: str, backend: str, weights: Path, turns: int) -> list[Row]:
    """Measure the points of a line."""
    points = [{"size": [224, 224], "batch": 1, "threads": usable_cpus(), **point} for point in AXES[axis]]
    what = {"layer": layer, "backend": backend}
    with workers_at_hand(MODULE) as start:
        workers = {}
        for number, point in enumerate(points):
            folder = str(weights.parent / "models")
            maker = start()
            made = maker.ask(LONGEST_S, do="export", weights=str(weights), folder=folder, size=point["size"], **what)
            maker.stop()
            workers[str(number)] = start()
            workers[str(number)].ask(LONGEST_S, do="load_fmedge", **made, **what, **point)
        seconds = take_turns(workers, turns, warm_up=1, runs=1, pause_s=PAUSE_S)
        return [
            {
                "axis": axis,
                **what,
                **point,
                "median_s": statistics.median(seconds[number]),
                "runs": len(seconds[number]),
                "peak_bytes": workers[number].ask(LONGEST_S, do="end")["peak_bytes"],
            }
            for number, point in zip(workers, points, strict=True)
        ]


def _print(line: list[Row]) -> None:
    for row in line:
        nanoseconds = 1e9 * row["median_s"] / (row["batch"] * row["size"][0] * row["size"][1])
        print(
            f"{row['axis']:8} {row['layer']:13} {row['backend']:12} {row['size'][0]:4} px  batch {row['batch']:2}  "
            f"{row['threads']} threads {1e3 * row['median_s']:9.2f} ms  {nanoseconds:8.1f} ns per pixel  "
            f"{row['batch'] / row['median_s']:8.1f} images/s  {row['peak_bytes'] / 1e6:6.0f} MB",
            flush=True,
        )


def verdicts(rows: list[Row]) -> list[Row]:
    """Judge whether each line keeps its limits: ``met`` and a ``text``; lines without a limit are left out.

    Args:
        rows: As :func:`main` writes them.
    """
    found: list[Row] = []
    lines = dict.fromkeys((row["axis"], row["layer"], row["backend"]) for row in rows)
    for axis, layer, backend in lines:
        line = [row for row in rows if (row["axis"], row["layer"], row["backend"]) == (axis, layer, backend)]
        who = f"{layer} on {backend}"
        if axis == "pixels":
            found += [_flat(line, who), _straight(line, who)]
        elif axis == "batch" and {1, 16} <= {row["batch"] for row in line}:
            found.append(_batches(line, who))
    return found


def _flat(line: list[Row], who: str) -> Row:
    per_pixel = [row["median_s"] / row["size"][0] ** 2 for row in line if row["size"][0] >= SMALLEST]
    spread = max(per_pixel) / min(per_pixel) - 1
    return _verdict(
        spread <= FLAT,
        f"{who}: time per pixel constant within {spread:.0%} from 224 x 224 upwards (required {FLAT:.0%})",
    )


def _straight(line: list[Row], who: str) -> Row:
    line = [row for row in line if row["size"][0] >= SMALLEST]
    pixels = np.array([row["size"][0] ** 2 for row in line], float)
    memory = np.array([row["peak_bytes"] for row in line], float)
    slope, base = np.polyfit(pixels, memory, 1)
    away = float(np.max(np.abs(slope * pixels + base - memory) / memory))
    return _verdict(
        away <= STRAIGHT,
        f"{who}: memory is {base / 1e6:.0f} MB and {slope:,.0f} bytes per pixel, within {away:.0%} "
        f"(required {STRAIGHT:.0%})",
    )


def _batches(line: list[Row], who: str) -> Row:
    rates = {row["batch"]: row["batch"] / row["median_s"] for row in line}
    ratio = rates[16] / rates[1]
    text = f"{who}: {ratio:.2f} times as many images/s in batches of 16 (required: at least 1, within {SAME:.0%})"
    return _verdict(ratio >= 1 - SAME, text)


def _verdict(met: bool, text: str) -> Row:
    return {"met": met, "text": f"{'met' if met else 'MISSED'}: {text}"}


if __name__ == "__main__":
    main()
