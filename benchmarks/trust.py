"""Check on this machine whether fmedge bench and compare can be trusted.

- truth: the median of fmedge's worker against a hand-written loop over the bare engine, each in its own process, taking
  turns. Required: within 3 %.
- alarms: reports of the same thing, measured one after another, compared pair by pair. Required: at most 2 of 40
  flagged, and at least 18 of 20 where one of the pair is made 10 % slower (its recorded times are scaled).
- load: how many cores each engine keeps busy with a given number of threads.

    python benchmarks/trust.py truth
    python benchmarks/trust.py load
    python benchmarks/trust.py alarms --pairs 20 --json first.json        # and again: second.json
    python benchmarks/trust.py join first.json second.json                # the pairs of both, judged together
"""

from __future__ import annotations

import argparse
import json
import statistics
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from fmedge.bench.compare import Bound, compare_metric
from fmedge.bench.matrix import BenchMatrix, prepare_cases
from fmedge.bench.protocol import Protocol
from fmedge.bench.scheduler import measure
from fmedge.bench.worker_pipe import Worker
from fmedge.data.measurement import Measurement, Process
from fmedge.runtime.backends import usable_cpus
from turns import take_turns

CONFIGURATIONS = (
    ("onnxruntime", "block1_conv1"),
    ("onnxruntime", "block3_conv3"),
    ("openvino", "block2_conv2"),
    ("ncnn", "block3_conv3"),
)
TURNS = 30
PLANTED = 1.10
BOUND = Bound("p50", 0.05)


def check_truth(models: Path | None, repeats: int, threads: int) -> list[dict[str, object]]:
    """Measure the ratio of fmedge's median to the bare engine's, per configuration and pair of processes."""
    rows: list[dict[str, object]] = []
    for backend, layer in CONFIGURATIONS:
        matrix = BenchMatrix((layer,), (backend,), threads=(threads,), weights="untrained", models=models)
        ((case,), _) = prepare_cases(matrix)
        ratios = []
        for _ in range(repeats):
            ours, bare = Worker("fmedge.bench.worker"), Worker("bare_engine")
            path = str(case.model.absolute())
            run = {"device": "cpu", "threads": threads, "math": "fp32"}
            ours.ask(300, do="load", path=path, backend=backend, run=run, batch=1, size=[224, 224], image=None)
            bare.ask(300, do="load", path=path, backend=backend, tap=layer, threads=threads)
            seconds = take_turns({"ours": ours, "bare": bare}, TURNS)
            ours.stop()
            bare.stop()
            medians = {name: statistics.median(values) for name, values in seconds.items()}
            ratios.append(medians["ours"] / medians["bare"])
        middle = statistics.median(ratios)
        print(
            f"{backend:12} {layer:13} bare {1e3 * medians['bare']:7.2f} ms  fmedge / bare {middle:.3f}  "
            f"({min(ratios):.3f} to {max(ratios):.3f} in {repeats} pairs of processes)  "
            f"{'ok' if abs(middle - 1) <= 0.03 else 'MORE THAN 3 %'}",
            flush=True,
        )
        rows.append({"backend": backend, "layer": layer, "ratios": ratios})
    return rows


def check_load(models: Path | None) -> list[dict[str, object]]:
    """Measure how many cores each engine keeps busy with one thread and with two."""
    matrix = BenchMatrix(("block3_conv3",), threads=(1, 2), weights="untrained", models=models)
    cases, missing = prepare_cases(matrix)
    for each in missing:
        print(f"{each.configuration.describe()}: {each.reason}")
    rows: list[dict[str, object]] = []
    for each in measure(cases, Protocol(processes=2)).measurements:
        told = " ".join(each.doubts) + " idle" * each.idle
        print(f"{each.configuration.describe():48} load {each.load:.2f}  p50 {1e3 * each.p50:.1f} ms  {told}")
        rows.append({"backend": each.configuration.backend, "threads": each.configuration.threads, "load": each.load})
    return rows


def check_alarms(models: Path | None, pairs: int, backend: str, layer: str) -> list[dict[str, object]]:
    """Compute verdicts on pairs of reports of the same program, unchanged and with a slowdown planted in the second."""
    ((case,), _) = prepare_cases(BenchMatrix((layer,), (backend,), weights="untrained", models=models))
    measured: list[Measurement] = []
    for number in range(pairs + 1):
        measured += measure([case], Protocol()).measurements
        print(f"\r{number + 1} of {pairs + 1} reports", end="", flush=True)
    print()
    rows = []
    for before, after in pairwise(measured):
        slower = replace(after, processes=tuple(map(_slower, after.processes)))
        same, planted = (compare_metric(before, each, "p50", usable_cpus()) for each in (after, slower))
        if same is not None and planted is not None:
            disturbed = before.disturbed or after.disturbed
            seen = [[[statistics.median(p.seconds), p.yardstick_s] for p in each.processes] for each in (before, after)]
            rows.append({"same": _row(same), "planted": _row(planted), "disturbed": disturbed, "processes": seen})
    return rows


def _slower(process: Process) -> Process:
    return replace(process, turns=tuple(tuple(PLANTED * run for run in turn) for turn in process.turns))


def tell_alarms(rows: list[dict]) -> None:
    """Print the verdicts; those on planted slowdowns for all pairs and for the first 20."""
    print("A/A: " + " ".join(f"{100 * (row['same']['ratio'] - 1):+.1f}" for row in rows) + " %")
    print(f"{sum(row['disturbed'] for row in rows)} of {len(rows)} pairs were disturbed by other work")
    print(f"flagged {sum(row['same']['verdict'] != 'same' for row in rows)} of {len(rows)}, required: at most 2 of 40")
    print(f"beyond --fail-on p50:5%: {sum(row['same']['breaks'] for row in rows)} of {len(rows)}")
    for some in (rows[:20], rows):
        seen = sum(row["planted"]["verdict"] == "slower" for row in some)
        breaks = sum(row["planted"]["breaks"] for row in some)
        print(f"planted 10 %: seen {seen} of {len(some)}, required: 18 of 20; beyond --fail-on p50:5%: {breaks}")


def _row(change) -> dict[str, object]:  # noqa: ANN001
    interval = [change.low, change.high]
    return {"ratio": change.ratio, "interval": interval, "verdict": change.verdict, "breaks": change.breaks(BOUND)}


def main() -> None:
    """Run one of the checks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("check", choices=["truth", "alarms", "load", "join"])
    parser.add_argument("files", type=Path, nargs="*", help="join: files that alarms wrote with --json")
    parser.add_argument("--models", type=Path, help="folder of models")
    parser.add_argument("--repeats", type=int, default=5, help="truth: number of pairs of processes")
    parser.add_argument("--threads", type=int, default=2, help="truth: CPU threads")
    parser.add_argument("--pairs", type=int, default=40, help="alarms: number of pairs of reports")
    parser.add_argument("--backend", default="onnxruntime", help="alarms: the engine")
    parser.add_argument("--layer", default="block1_conv1", help="alarms: the layer")
    parser.add_argument("--json", type=Path, help="write the figures as JSON")
    chosen = parser.parse_args()
    if chosen.check == "truth":
        rows = check_truth(chosen.models, chosen.repeats, chosen.threads)
    elif chosen.check == "load":
        rows = check_load(chosen.models)
    elif chosen.check == "join":
        rows = [row for file in chosen.files for row in json.loads(file.read_text())]
        tell_alarms(rows)
    else:
        rows = check_alarms(chosen.models, chosen.pairs, chosen.backend, chosen.layer)
        tell_alarms(rows)
    if chosen.json:
        chosen.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
