"""Compare what fmedge tune chooses with the best that its engines reach by hand at the same accuracy.

Per layer: tune; then fmedge's worker with the choice, and hand-written loops over the engines' own APIs with models of
the same accuracy class, each in its own process, taking turns. Required: never more than 3 % slower than the best.

    python benchmarks/tuned.py --layer block1_conv1,block3_conv3 --weights weights.h5
    python benchmarks/tuned.py --layer block3_conv3 --min-snr 20 --calibration photos
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from dataclasses import replace
from pathlib import Path

from bare_engine import CALLS
from fmedge.bench.matrix import BenchMatrix, Case, load_order, prepare_cases
from fmedge.bench.protocol import Protocol
from fmedge.bench.tune import tune
from fmedge.bench.ways import Goal
from fmedge.bench.worker_pipe import Worker
from fmedge.model.submodel import Precision
from fmedge.runtime.backends import usable_cpus
from fmedge.workflow.tuned_choice import Candidate

TURNS = 30
PROCESSES = 3


def compare(matrix: BenchMatrix, goal: Goal) -> dict[str, object]:
    """Tune one layer and compare the choice with the hand-written loops."""
    choice = tune(matrix, goal, Protocol()).tuned.choice
    alike = (Precision.FP32,) if choice.exact else (Precision.INT8,)
    by_hand = replace(matrix, backends=tuple(CALLS), precisions=alike, threads=(usable_cpus(),))
    cases, _ = prepare_cases(by_hand)
    medians: dict[str, list[float]] = {}
    for _ in range(PROCESSES):
        for name, seconds in _measure(cases, choice, matrix).items():
            medians.setdefault(name, []).append(statistics.median(seconds))
    found = {name: statistics.median(each) for name, each in medians.items()}
    ours = found.pop("fmedge")
    best = min(found, key=found.__getitem__)
    snr_db = choice.parity.snr_db
    print(f"{matrix.layers[0]:13} fmedge tune: {choice.describe():38} {1e3 * ours:7.2f} ms  {snr_db:5.1f} dB")
    for name, seconds in sorted(found.items(), key=lambda item: item[1]):
        print(f"{'':13} by hand:     {name:38} {1e3 * seconds:7.2f} ms")
    print(f"{'':13} tuned / best by hand: {ours / found[best]:.3f}", flush=True)
    return {"layer": matrix.layers[0], "choice": choice.describe(), "fmedge_s": ours, "by_hand_s": found}


def _measure(cases: list[Case], choice: Candidate, matrix: BenchMatrix) -> dict[str, list[float]]:
    workers: dict[str, Worker] = {}
    for case in cases:
        what = case.configuration
        worker = workers[f"{what.backend}, {what.form}, {what.threads} threads"] = Worker("bare_engine")
        worker.ask(
            300, do="load", path=str(case.model.absolute()), backend=what.backend, tap=what.layer, threads=what.threads
        )
    worker = workers["fmedge"] = Worker("fmedge.bench.worker")
    order = load_order(cases[0])
    path = cases[0].model.with_name(choice.model)
    run = {"device": choice.device, "threads": choice.threads, "math": choice.math}
    worker.ask(300, **order | {"path": str(path.absolute()), "backend": choice.backend, "run": run})
    seconds: dict[str, list[float]] = {name: [] for name in workers}
    for turn in range(TURNS + 2):
        for name, worker in workers.items():
            found = worker.ask(300, do="turn", runs=3, seconds=0.1)["seconds"]
            seconds[name] += found if turn >= 2 else []
    for worker in workers.values():
        worker.stop()
    return seconds


def main() -> None:
    """Compare the layers one after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layer", default="block1_conv1,block2_conv2,block3_conv3,block5_conv3")
    parser.add_argument("--weights", default="untrained", help="imagenet, untrained or a Keras .h5 file")
    parser.add_argument("--min-snr", type=float, default=100.0, help="minimum SNR against the reference, in dB")
    parser.add_argument("--calibration", type=Path, help="folder of photos for int8")
    parser.add_argument("--models", type=Path, help="folder of models")
    parser.add_argument("--json", type=Path, help="write the figures as JSON")
    chosen = parser.parse_args()
    photos = tuple(sorted(chosen.calibration.glob("*.jpg"))) if chosen.calibration else ()
    with tempfile.TemporaryDirectory() as folder:
        rows = [
            compare(
                BenchMatrix(
                    (layer,),
                    weights=chosen.weights,
                    models=chosen.models or Path(folder),
                    calibration=chosen.calibration,
                ),
                Goal("latency", chosen.min_snr, photos),
            )
            for layer in chosen.layer.split(",")
        ]
    if chosen.json:
        chosen.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
